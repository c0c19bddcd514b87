"""The places of the tree: what supervision remembers of each worker and node, and what can be read off it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING

from runtime.errors import SpecError
from runtime.restart import Exit, RestartType, Strategy
from runtime.spec import ChildSpec, NodeSpec, WorkerSpec
from runtime.supervision_words import ChildState

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

WITH_PROCESS = (ChildState.STARTING, ChildState.RUNNING, ChildState.STOPPING)
"""The states in which a worker has a process, and a node may have some below it."""


class Rung(Enum):
    """How far the end of a process has been pressed."""

    NONE = auto()
    ASKED = auto()
    TERMINATED = auto()
    KILLED = auto()


class Then(Enum):
    """What a node does when the last of its children is down."""

    REST = auto()
    """Stay down: whoever ordered it knows the rest."""
    FALL = auto()
    """Be a fallen child of its own supervisor."""
    REOPEN = auto()
    """Start afresh."""
    QUARANTINE = auto()
    """Stay open with its workers put away, so that its supervisor sees no fall."""


@dataclass(slots=True, eq=False, kw_only=True)
class Place:
    """What workers and nodes have in common."""

    path: str
    parent: NodePlace | None
    state: ChildState = ChildState.STOPPED
    since_ns: int = 0
    deadline_ns: int | None = None
    """When this state ends by itself; None where it does not."""
    up_since_ns: int | None = None
    """Since when it is READY, or all its children have come up; None before that."""
    falls_in_row: int = 0
    """Falls since it was last healthy."""
    restarts_ns: tuple[int, ...] = ()
    """Restarts inside the window, newest first: a worker's own, or those a node counted of its children."""
    restarts_total: int = 0
    last_exit: str = ""
    last_error: str = ""
    is_attempted: bool = False
    """Whether it came up, or fell, since its supervisor opened: it holds up no parallel start any more."""
    is_cycling: bool = False
    """Whether its supervisor takes it down in order to bring it up again."""
    is_leaving: bool = False
    """Whether it is taken down in order to be forgotten."""
    successor: ChildSpec | None = None
    """What takes its place when it has left."""

    @property
    def is_down(self) -> bool:
        """True where it has no process."""
        return self.state not in WITH_PROCESS


@dataclass(slots=True, eq=False, kw_only=True)
class WorkerPlace(Place):
    """One process, or the place where it would be."""

    spec: WorkerSpec
    epoch: int
    is_enabled: bool
    is_quarantined: bool
    is_finished: bool = False
    """Whether it ended in a way that its restart type does not undo."""
    is_recalled: bool = False
    """Whether an operator wants it back after this stop, whatever its restart type."""
    has_waited: bool = False
    """Whether its next start comes after a backoff."""
    rung: Rung = Rung.NONE
    doom: Exit | None = None
    """Why supervision killed it, where that counts as its own fall."""

    @property
    def is_excused(self) -> bool:
        """True where nobody expects it to be up, so that nobody waits for it."""
        return not self.is_enabled or self.is_quarantined or self.is_finished or self.is_leaving


@dataclass(slots=True, eq=False, kw_only=True)
class NodePlace(Place):
    """One supervisor. It is down when all its children are, and not before."""

    spec: NodeSpec
    children: list[WorkerPlace | NodePlace] = field(default_factory=list["WorkerPlace | NodePlace"])
    then: Then = Then.REST
    is_stirred: bool = True
    """Whether something at or below it is another than when it was last looked at."""
    stirred: set[WorkerPlace | NodePlace] = field(default_factory=set["WorkerPlace | NodePlace"])
    """The children at or below which that is so."""
    straggler: WorkerPlace | NodePlace | None = None
    """A child that held up the start when this was asked last: asked first, it spares a look at a thousand others."""

    @property
    def is_crowd(self) -> bool:
        """True where no child's turn depends on a sibling, so that each can be looked at alone."""
        return self.spec.start == "parallel" and self.spec.strategy is Strategy.ONE_FOR_ONE

    @property
    def is_open(self) -> bool:
        """True where it brings its children up and keeps them up."""
        return self.state is ChildState.STARTING or self.state is ChildState.RUNNING

    @property
    def is_closing(self) -> bool:
        """True where it, or a node above it, goes down: then nothing below starts, and no fall below counts."""
        node: NodePlace | None = self
        while node is not None:
            if node.state is ChildState.STOPPING or node.is_cycling or node.is_leaving:
                return True
            node = node.parent
        return False


ChildPlace = WorkerPlace | NodePlace


def is_settled(child: ChildPlace) -> bool:
    """Say whether the start need not wait for this child any more.

    A node is settled when its children are. In a parallel node a child that has fallen since, or is disabled
    or quarantined, holds up nobody; in an ordered one a fallen child does, until it is READY again.
    """
    if isinstance(child, WorkerPlace):
        return child.is_excused or child.state is ChildState.RUNNING
    if child.is_leaving:
        return True
    if not child.is_open:
        return False
    straggler = child.straggler  # one that has left the tree since is settled, and so holds up nobody
    if straggler is None or not _holds_up(straggler, child):
        straggler = next((each for each in reversed(child.children) if _holds_up(each, child)), None)
        child.straggler = straggler  # the last one is born last, so it is found soon, and seldom
    return straggler is None


def _holds_up(child: ChildPlace, node: NodePlace) -> bool:
    """Say whether the start of a node waits for this child."""
    return not ((node.spec.start == "parallel" and child.is_attempted) or is_settled(child))


def places(place: ChildPlace) -> Iterator[ChildPlace]:
    """Walk a place and all below it in the order of their start, each node before its children."""
    yield place
    if isinstance(place, NodePlace):
        for child in place.children:
            if isinstance(child, NodePlace):
                yield from places(child)
            else:
                yield child


def workers(place: ChildPlace) -> Iterator[WorkerPlace]:
    """Walk the workers at and below a place in the order of their start."""
    return (each for each in places(place) if isinstance(each, WorkerPlace))


def stir(place: ChildPlace) -> None:
    """Let a place, and all nodes above it, be looked at with the next advance."""
    if isinstance(place, NodePlace):
        place.is_stirred = True
    child, node = place, place.parent
    while node is not None:
        node.is_stirred = True
        node.stirred.add(child)
        child, node = node, node.parent


class Memory:
    """What outlives a place: desired states, quarantine and epochs by path, also of workers not in the tree."""

    def __init__(self, desired: Mapping[str, bool], quarantined: frozenset[str], epochs: Mapping[str, int]) -> None:
        """Begin with what was durable. A path without an entry is enabled, free, and was never started."""
        self.desired = dict(desired)
        self.quarantined = set(quarantined)
        self.epochs = dict(epochs)

    def is_enabled(self, path: str) -> bool:
        """Say what is desired of a worker: its own entry, or that of the nearest node above it, else True."""
        while True:
            if path in self.desired:
                return self.desired[path]
            if "/" not in path:
                return True
            path = path.rpartition("/")[0]


def build(spec: ChildSpec, parent: NodePlace, memory: Memory) -> ChildPlace:
    """Make the places for a spec and all below it, all of them down. It does not enter them in the parent's list."""
    prefix = f"{parent.path}/" if parent.parent is not None else ""
    if isinstance(spec, NodeSpec):
        node = NodePlace(path=prefix + spec.id, parent=parent, spec=spec)
        node.children.extend(build(child, node, memory) for child in spec.children)
        return node
    path = parent.path if parent.parent is not None and parent.spec.is_collapsed else prefix + spec.id
    return WorkerPlace(
        path=path,
        parent=parent,
        spec=spec,
        epoch=memory.epochs.get(path, 0),
        is_enabled=memory.is_enabled(path),
        is_quarantined=path in memory.quarantined,
    )


def build_root(spec: NodeSpec, memory: Memory) -> NodePlace:
    """Make the whole tree. The root's own path is its id; it is no prefix of its children's paths.

    Raises:
        SpecError: A child of the root has the root's id, or the root would be put into quarantine.
    """
    check_root(spec)
    root = NodePlace(path=spec.id, parent=None, spec=spec)
    root.children.extend(build(child, root, memory) for child in spec.children)
    return root


def check_root(spec: NodeSpec) -> None:
    """Refuse a tree that cannot be one.

    Raises:
        SpecError: A child of the root has the root's id, or the root would be put into quarantine.
    """
    if any(child.id == spec.id for child in spec.children):
        msg = f"node {spec.id}: a child of the root cannot have the root's id"
        raise SpecError(msg)
    if spec.gives_up != "escalate":
        msg = f"node {spec.id}: the root cannot be put into quarantine, nobody would be left to serve"
        raise SpecError(msg)


def is_restarted_afresh(worker: WorkerPlace) -> bool:
    """Say whether a worker that had finished runs again when its supervisor restarts it among others.

    Source: supervisor.erl, restart_multiple_children: a transient child that ended normally keeps its place and is
    started with the rest; a temporary one has lost it.
    """
    return worker.spec.restart is not RestartType.TEMPORARY
