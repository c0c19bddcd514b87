"""What supervision says: the actions that its caller carries out, and the rows of the status dump."""

from enum import StrEnum
from typing import Literal

import msgspec

from runtime.spec import WorkerSpec

Context = Literal["start_error", "child_terminated", "shutdown", "shutdown_error"]
"""When something went wrong, in Erlang's words: on the way up, while up, on giving up or by wish, on the way down."""

Level = Literal["info", "warning", "error"]


class ChildState(StrEnum):
    """Where a worker or a node is in its life."""

    STOPPED = "STOPPED"
    """Down; nobody brings it up by itself."""
    WAITING = "WAITING"
    """Down; its turn has not come."""
    STARTING = "STARTING"
    """A worker: not yet READY. A node: not all of its children have come up once."""
    RUNNING = "RUNNING"
    STOPPING = "STOPPING"
    """On the way down, or killed and not yet reaped."""
    BACKOFF = "BACKOFF"
    """Down after a fall, until a time."""
    DISABLED = "DISABLED"
    """Down until it is enabled."""
    QUARANTINED = "QUARANTINED"
    """Down after too many falls, until it is released."""


class EpochChanged(msgspec.Struct, frozen=True):
    """Make this epoch durable before any Spawn of the same list is carried out."""

    path: str
    epoch: int


class Spawn(msgspec.Struct, frozen=True):
    """Start this process. No process of an earlier epoch of the path is alive."""

    path: str
    epoch: int
    spec: WorkerSpec
    is_gentle: bool = False
    """Whether it had to wait after falls in a row: nobody is in a hurry for it, and its birth shall disturb nobody."""


class AskStop(msgspec.Struct, frozen=True):
    """Ask the process to leave in good order. May come a second time when the first ask was before READY."""

    path: str
    epoch: int


class Signal(msgspec.Struct, frozen=True):
    """Send this signal to the process group."""

    path: str
    epoch: int
    number: int


class Report(msgspec.Struct, frozen=True):
    """Something for the log, with the four fields of every Erlang supervisor report."""

    supervisor: str
    context: Context
    reason: str
    offender: str
    level: Level


class Quarantined(msgspec.Struct, frozen=True):
    """This worker may not run until it is released. Make it durable, and revoke its rights, before anything else."""

    path: str
    reason: str


class Released(msgspec.Struct, frozen=True):
    """This worker is out of quarantine. Make it durable."""

    path: str


class Change(msgspec.Struct, frozen=True):
    """What a worker is now. ``state`` is None where it is no longer in the tree."""

    path: str
    epoch: int
    state: ChildState | None


class Reconfigure(msgspec.Struct, frozen=True):
    """Tell this process that it has other arguments from now on. Its next incarnation starts with them."""

    path: str
    epoch: int
    arguments: bytes


class PeersChanged(msgspec.Struct, frozen=True):
    """Some worker's state or epoch is another one. Tell the rooms, before the Spawns of the same list.

    Which ones, ``Supervision.take_changes`` says.
    """


class AllStopped(msgspec.Struct, frozen=True):
    """The wish to stop is fulfilled: no process is left. Nothing follows."""


class GiveUp(msgspec.Struct, frozen=True):
    """The root fell too often itself. No process is left. Nothing follows."""

    reason: str


Action = (
    EpochChanged
    | Spawn
    | AskStop
    | Signal
    | Report
    | Quarantined
    | Released
    | Reconfigure
    | PeersChanged
    | AllStopped
    | GiveUp
)


#: Who is like this comes back by a person's wish only.
PUT_AWAY = frozenset({ChildState.QUARANTINED, ChildState.DISABLED})


class Outbox:
    """The actions of one input, in the order in which the caller has to carry them out."""

    def __init__(self) -> None:
        """Begin empty."""
        self.absent: set[str] = set()
        """The workers that shall run and do not, by path; told change by change, so that nobody has to look at all."""
        self._is_changed = False
        self._changes: dict[str, Change] = {}
        self._actions: list[Action] = []
        self._epochs: list[Action] = []
        self._spawns: list[Action] = []
        self._last: list[Action] = []

    def add(self, action: Action) -> None:
        """Note one action. It is not carried out, and nothing is sent."""
        match action:
            case EpochChanged():
                self._epochs.append(action)
            case Spawn():
                self._spawns.append(action)
            case AllStopped() | GiveUp():
                self._last.append(action)
            case _:
                self._actions.append(action)

    def change(self, path: str, epoch: int, state: ChildState | None) -> None:
        """Note how a worker is now; of several notes on one path the last one counts."""
        self._is_changed = True
        self._changes[path] = Change(path=path, epoch=epoch, state=state)
        if state is None or state is ChildState.RUNNING or state in PUT_AWAY:
            self.absent.discard(path)
        else:
            self.absent.add(path)

    def take(self) -> list[Action]:
        """Hand over what was noted and begin anew.

        Epochs come before all spawns, so that one durable write serves them all; peers are told of a fall before
        its replacement runs.
        """
        told: list[Action] = [PeersChanged()] if self._is_changed else []
        actions = [*self._actions, *self._epochs, *told, *self._spawns, *self._last]
        self._actions, self._epochs, self._spawns, self._last = [], [], [], []
        self._is_changed = False
        return actions

    def take_changes(self) -> list[Change]:
        """Hand over how those workers are now that were noted since the last call, each once."""
        changes, self._changes = list(self._changes.values()), {}
        return changes


class Row(msgspec.Struct, frozen=True):
    """One worker or node in the status dump."""

    path: str
    kind: str
    """``node``, or the kind of the worker's spec."""
    state: ChildState
    epoch: int
    """0 for a node, and for a worker that was never started."""
    restarts_total: int
    """Counted falls: a worker's own, or those of all children of a node."""
    restarts_in_window: int
    restarts_max: int
    """Of the supervisor that counts: a worker's node, or the node itself."""
    window_ns: int
    since_ns: int
    """Monotonic time since which it is in this state."""
    last_exit: str
    """How it ended the last time, whoever wanted it; empty where it never did."""
    last_error: str
    """Why it last fell, gave up, or was disabled; empty where it never was."""
