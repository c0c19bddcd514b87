"""The rows of the status dump."""

from runtime.supervision_places import ChildPlace, NodePlace
from runtime.supervision_words import Row


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


def _supervisor(place: ChildPlace) -> NodePlace:
    assert place.parent is not None, "a worker has a supervisor"
    return place.parent
