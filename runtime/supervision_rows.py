"""How what is supervised is: the rows of the status dump, and what its peers are told."""

from runtime.supervision_places import ChildPlace, NodePlace
from runtime.supervision_words import PUT_AWAY, ChildState, Row
from runtime.words import REMOVED, Peer


def row(place: ChildPlace, now_ns: int) -> Row:
    """Say how a worker or a node is, with the restarts still inside its supervisor's window at this time."""
    is_node = isinstance(place, NodePlace)
    limit = place.spec.limit if is_node else _supervisor(place).spec.limit
    return Row(
        path=place.path,
        kind="node" if is_node else place.spec.kind,
        state=place.state,
        epoch=0 if is_node else place.epoch,
        restarts_total=place.restarts_total,
        restarts_in_window=sum(now_ns - restart_ns <= limit.window_ns for restart_ns in place.restarts_ns),
        restarts_max=limit.restarts_max,
        window_ns=limit.window_ns,
        since_ns=place.since_ns,
        last_exit=place.last_exit,
        last_error=place.last_error,
    )


def peer_of(path: str, epoch: int, state: ChildState | None) -> Peer:
    """Say to its peers how a process is, and which of its incarnations they may still hear.

    What was put away or has left the tree says nothing any more: of it every incarnation so far, also this one, is
    over. While it is only down, its last words may still be under way and count.

    Args:
        path: The worker's place in the tree.
        epoch: Its incarnation, the last one where it is down; >= 0.
        state: How its supervisor sees it; None where it is no more in the tree.
    """
    is_over = state is None or state in PUT_AWAY
    return Peer(path, epoch + is_over, REMOVED if state is None else state.value)


def _supervisor(place: ChildPlace) -> NodePlace:
    assert place.parent is not None, "a worker has a supervisor"
    return place.parent
