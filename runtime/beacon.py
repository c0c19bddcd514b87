"""What a process is at this moment, and what it last said of itself: memory in a file of its own, read from outside.

It can be read while the process hangs, and when it has ended. A report that is said replaces the one before: nothing
queues, nobody is woken, and a report that is torn by a write is seen to be, and left for the next look.
"""

import mmap
import os
import struct
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

_TURN = struct.Struct("<QQ")
_WORD_BYTES = 48
#: When the report was said last (monotonic ns), and which one it is, its length and checksum; the report follows.
_SAID, _SAID_AT = struct.Struct("<QIII"), _TURN.size + _WORD_BYTES
_TIME = struct.Struct("<Q")
_REPORT_AT = _SAID_AT + _SAID.size
_SIZE = 4096
#: More of a report is not looked at: whoever says it could make root read without end.
REPORT_BYTES_MAX = 1 << 20
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
        """Make the page anew; a reader of an older incarnation's page sees that one's end.

        Raises:
            OSError: The disk is full, or the folder is not to be written to.
        """
        file = f"{sockets}/{path.replace('/', '.')}{SUFFIX}"
        try:
            descriptor = os.open(file, _FRESH, 0o600)
        except FileExistsError:
            os.unlink(file)  # noqa: PTH108 - every birth comes by here
            descriptor = os.open(file, _FRESH, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, _SIZE)  # to write to memory for which there is no room ends a process
            self._page = mmap.mmap(descriptor, _SIZE)
        except OSError:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        self._number = 0
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
        self._page[_TURN.size : _SAID_AT] = name

    def say(self, report: bytes, now_ns: int) -> bool:
        """Say another report, at that time (monotonic ns); False where it has no room, and nothing was said."""
        end = _REPORT_AT + len(report)
        if len(report) > REPORT_BYTES_MAX or (end > len(self._page) and not self._grow(-(-end // _SIZE) * _SIZE)):
            return False
        self._number += 1
        self._page[_REPORT_AT:end] = report
        _SAID.pack_into(self._page, _SAID_AT, now_ns, self._number, len(report), crc32(report))
        return True

    def _grow(self, size: int) -> bool:
        try:
            os.posix_fallocate(self._descriptor, 0, size)
        except OSError:
            return False
        self._page.resize(size)
        return True

    def say_again(self, now_ns: int) -> None:
        """Say that the last report holds still."""
        _TIME.pack_into(self._page, _SAID_AT, now_ns)

    def close(self) -> None:
        """Let go of the page; nothing can be said any more."""
        self._page.close()
        os.close(self._descriptor)

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


class Sight:
    """A reader's end, for what one process says of itself. It trusts nothing of what it reads."""

    def __init__(self, sockets: Path, path: str) -> None:
        """Look at the beacon of this process, which need not be there yet."""
        self._file, self._descriptor, self._number = beacon_file(sockets, path), -1, 0
        self.said_ns = 0
        """When the last report was said last, by its own word; 0 where there was none yet."""

    def look(self) -> bytes | None:
        """Give a report that is another than the last one; None where there is none, or it is not said to its end.

        Whoever learns from it that this is the file of a process before must ``close``: the next look opens it anew.
        """
        try:
            if self._descriptor < 0:
                self._descriptor = os.open(self._file, os.O_RDONLY | os.O_CLOEXEC)
            data = os.pread(self._descriptor, _SIZE - _SAID_AT, _SAID_AT)
            said_ns, number, length, checksum = _SAID.unpack_from(data)
            if not number:
                self.close()  # nobody has said anything here yet, and perhaps nobody will: another file may come
                return None
            if number == self._number:
                self.said_ns = max(self.said_ns, said_ns)  # what is torn by a write may seem to be older
                return None
            if _SAID.size + length > len(data) and length <= REPORT_BYTES_MAX:
                data = os.pread(self._descriptor, _SAID.size + length, _SAID_AT)
        except (OSError, struct.error):
            self._let_go()
            return None
        report = data[_SAID.size : _SAID.size + length]
        if len(report) != length or crc32(report) != checksum:
            self._let_go()  # it may be torn for good, by the end of a process before: another file may come
            return None
        self._number, self.said_ns = number, said_ns
        return report

    def close(self) -> None:
        """Let go of the file, and of what was read there."""
        self._let_go()
        self._number, self.said_ns = 0, 0

    def _let_go(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1


def read_beacon(sockets: Path, path: str) -> Now | None:
    """Read what a process is at; None where it never said. What is torn by a write is only a figure for people."""
    try:
        with beacon_file(sockets, path).open("rb") as file:
            data = file.read(_SAID_AT)
        began_ns, turn = _TURN.unpack_from(data)
    except (OSError, struct.error):
        return None
    return Now(began_ns, turn, data[_TURN.size : _SAID_AT].rstrip(b"\0").decode("ascii", "replace"))
