"""What a process is at this moment, readable from outside while it hangs: one page of memory in a file of its own."""

import mmap
import os
import struct
from pathlib import Path
from typing import NamedTuple

_TURN = struct.Struct("<QQ")
_WORD_BYTES = 48
_SIZE = _TURN.size + _WORD_BYTES
_FRESH = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
#: How the files of beacons end.
SUFFIX = ".now"
#: What a process may be at: a word's type, or a name.
Kind = type | str


class Now(NamedTuple):
    """What a process is at: ``began_ns`` (monotonic) is 0 while it waits; ``word`` is the last word that it began."""

    began_ns: int
    turn: int
    word: str


def beacon_file(sockets: Path, path: str) -> Path:
    """Say where the beacon of a process lies."""
    return sockets / f"{path.replace('/', '.')}{SUFFIX}"


class Beacon:
    """The writer's end. Writing is an assignment to memory: no system call, and nobody waits for it."""

    def __init__(self, sockets: Path, path: str) -> None:
        """Make the page anew; a reader of an older incarnation's page sees that one's end."""
        file = f"{sockets}/{path.replace('/', '.')}{SUFFIX}"
        try:
            descriptor = os.open(file, _FRESH, 0o600)
        except FileExistsError:
            os.unlink(file)  # noqa: PTH108 - every birth comes by here
            descriptor = os.open(file, _FRESH, 0o600)
        try:
            os.ftruncate(descriptor, _SIZE)
            self._page = mmap.mmap(descriptor, _SIZE)
        finally:
            os.close(descriptor)
        self._kind: Kind = ""
        self._names: dict[Kind, bytes] = {}

    def turn(self, began_ns: int, turn: int) -> None:
        """Say that a turn began at that time (monotonic ns), or with 0 that the process waits."""
        _TURN.pack_into(self._page, 0, began_ns, turn)

    def word(self, kind: Kind) -> None:
        """Say what is begun: a kind of word or, for what is no word of ours, a name."""
        if kind is self._kind:
            return
        self._kind = kind
        name = self._names.get(kind)
        if name is None:
            name = self._names[kind] = word_name(kind).encode()[:_WORD_BYTES].ljust(_WORD_BYTES, b"\0")
        self._page[_TURN.size :] = name

    def close(self) -> None:
        """Let go of the page; nothing can be said any more."""
        self._page.close()

    @property
    def last(self) -> str:
        """The name of what was begun last; "" before the first."""
        return word_name(self._kind)


def word_name(kind: Kind) -> str:
    """Name a kind of word as the wire does."""
    if isinstance(kind, str):
        return kind
    tag = getattr(getattr(kind, "__struct_config__", None), "tag", None)
    return tag if isinstance(tag, str) else kind.__name__


def read_beacon(sockets: Path, path: str) -> Now | None:
    """Read what a process is at; None where it never said. What is torn by a write is only a figure for people."""
    try:
        data = beacon_file(sockets, path).read_bytes()
        began_ns, turn = _TURN.unpack_from(data)
    except (OSError, struct.error):
        return None
    return Now(began_ns, turn, data[_TURN.size :].rstrip(b"\0").decode("ascii", "replace"))
