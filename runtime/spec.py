"""The supervision tree as data: what a child is, how it is started, stopped and limited.

A bad spec is refused where it is made, so that it never reaches a tree.
"""

import re
from collections import Counter
from enum import StrEnum
from typing import Literal, get_args

import msgspec

from runtime.errors import SpecError
from runtime.restart import Backoff, RestartLimit, RestartType, Strategy

Start = Literal["ordered", "parallel"]
"""How a node brings up its children: each after the one before it is READY, or all at once."""

GivesUp = Literal["escalate", "quarantine"]
"""What a node does past its limit: fall itself, or put its workers away until an operator releases them."""

ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
NICE_MAX = 19
ENTRY = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


def _require(claim: object, msg: str) -> None:
    if not claim:
        raise SpecError(msg)


def _require_member(value: object, family: type[StrEnum], owner: str) -> None:
    # A bare text would compare equal to its member and yet not be it: decoded specs carry members.
    _require(isinstance(value, family), f"{owner} must be a {family.__name__} of {', '.join(family)}, not {value!r}")


def _require_id(spec_id: str) -> None:
    _require(
        ID.fullmatch(spec_id),
        f"an id is 1 to 64 letters, digits, '_', '.' or '-' and begins with a letter or digit, not {spec_id!r}",
    )


class Limits(msgspec.Struct, frozen=True):
    """What one process may use. 0 means that this is not limited."""

    memory_soft_bytes: int
    """Resident memory above which the operator is told."""
    memory_hard_bytes: int
    """Resident memory above which the process is killed."""
    address_space_bytes: int
    """RLIMIT_AS: virtual, so far above what is resident."""
    open_files: int
    """RLIMIT_NOFILE: files, sockets and pipes that it may hold open."""
    cpu_s_per_handler: float
    """Processor time that one turn of its loop may take; past it the kernel ends the process."""
    processes: int = 0
    """How many it may be with all that it starts. 1: the kernel refuses every fork. More are counted by root."""
    output_bytes: int = 0
    """How long the file of its standard streams may grow before it is cut. Cut again and again, it is ended."""
    file_bytes: int = 0
    """RLIMIT_FSIZE: no file that it writes grows past this, its store included."""
    nice: int = 0
    """How far it stands back for others, once it is READY, when processors are short; 0..19."""

    def __post_init__(self) -> None:
        """Refuse limits that contradict each other.

        Raises:
            SpecError: A negative limit, a soft one above its hard one, or a nice that no kernel knows.
        """
        for name in self.__struct_fields__:
            value: float = getattr(self, name)
            _require(value >= 0, f"{name} must be at least 0, not {value}")
        _require(self.nice <= NICE_MAX, f"nice must be at most {NICE_MAX}, not {self.nice}")
        _require(
            not self.memory_hard_bytes or self.memory_soft_bytes <= self.memory_hard_bytes,
            f"memory_soft_bytes {self.memory_soft_bytes} is above memory_hard_bytes {self.memory_hard_bytes}",
        )


class Fence(msgspec.Struct, frozen=True):
    """Which files one process may touch, besides the interpreter, the code, its own logs and the sockets."""

    readable: tuple[str, ...] = ()
    """What it may read, with all below; from the state folder where it is no absolute path. What is not there is
    left out."""
    writable: tuple[str, ...] = ()
    """What it may change, with all below, from the state folder too. Where it is missing a folder is made."""


class WorkerSpec(msgspec.Struct, frozen=True, tag="worker"):
    """One process."""

    id: str
    """Unique among its siblings."""
    kind: str
    """What sort of worker it is, in the words of whoever built the tree. The runtime only shows it."""
    restart: RestartType
    shutdown_ns: int
    """How long it may take to leave after it was asked to; then SIGTERM, then SIGKILL."""
    start_timeout_ns: int
    """How long it may take to become READY; then SIGKILL, and the start has failed."""
    progress_timeout_ns: int
    """How long its own loop may make no progress. Supervision itself does not measure that."""
    limits: Limits
    entry: str
    """``module:function`` that the process runs."""
    arguments: bytes
    """What the entry gets; the runtime does not look into it."""
    fence: Fence | None = None
    """What of the machine it may touch; None for a process that is trusted with everything."""

    def __post_init__(self) -> None:
        """Refuse a worker that could not be run or stopped.

        Raises:
            SpecError: The first thing that is wrong with it, in words.
        """
        _require_id(self.id)
        _require(self.kind, f"worker {self.id}: kind must not be empty")
        _require_member(self.restart, RestartType, f"worker {self.id}: restart")
        for name in ("shutdown_ns", "start_timeout_ns", "progress_timeout_ns"):
            value: int = getattr(self, name)
            _require(value > 0, f"worker {self.id}: {name} must be positive, not {value}")
        _require(ENTRY.fullmatch(self.entry), f"worker {self.id}: entry must read module:function, not {self.entry!r}")


class NodeSpec(msgspec.Struct, frozen=True, tag="node"):
    """One supervisor and its children, in the order in which they start. It is no process of its own."""

    id: str
    """Unique among its siblings."""
    strategy: Strategy
    limit: RestartLimit
    backoff: Backoff
    children: "tuple[WorkerSpec | NodeSpec, ...]"
    start: Start = "ordered"
    gives_up: GivesUp = "escalate"

    def __post_init__(self) -> None:
        """Refuse a node whose children could not be told apart.

        Raises:
            SpecError: The first thing that is wrong with it, in words.
        """
        _require_id(self.id)
        _require_member(self.strategy, Strategy, f"node {self.id}: strategy")
        _require(
            self.start in get_args(Start),
            f"node {self.id}: start must be one of {', '.join(get_args(Start))}, not {self.start!r}",
        )
        _require(
            self.gives_up in get_args(GivesUp),
            f"node {self.id}: gives_up must be one of {', '.join(get_args(GivesUp))}, not {self.gives_up!r}",
        )
        twice = [name for name, count in Counter(child.id for child in self.children).items() if count > 1]
        _require(not twice, f"node {self.id}: two children share the id {', '.join(twice)}")

    @property
    def is_collapsed(self) -> bool:
        """True where node and only child share a name: they share a path too, and one line in the status."""
        return len(self.children) == 1 and isinstance(self.children[0], WorkerSpec) and self.children[0].id == self.id


ChildSpec = WorkerSpec | NodeSpec
