"""What one side of an acknowledged link must remember: pure, without a socket.

Parcels carry the sender's epoch, a sequence and the oldest sequence that is not acknowledged. The receiver takes
them in order, once for each epoch of the sender, and acknowledges after its commit. What an ended incarnation had
received and not acknowledged is sent once more to its successor: whoever hears must be idempotent across falls.

A frame is a header and behind it a body, or a run: the bodies of parcels that follow each other, each behind its
length.
"""

import struct
from collections import deque
from collections.abc import Iterable, Iterator
from enum import IntEnum
from itertools import chain
from typing import NamedTuple

from runtime.errors import WireError

_HEADER = struct.Struct("<BIQQ")
_LENGTH = struct.Struct("<I")
HEADER_BYTES = _HEADER.size
#: Kind, epoch, sequence, second -> what ``Header.encode`` gives.
pack_header = _HEADER.pack
#: A frame -> kind, epoch, sequence, second, as ``Header.decode`` does; ``struct.error`` where it is shorter than that.
unpack_header = _HEADER.unpack_from
#: How many parcels one run has at most, and how many bytes unless a single one is larger.
RUN_MAX = 64
RUN_BYTES_MAX = 256 * 1024


class Kind(IntEnum):
    """What a frame is."""

    PARCEL = 1
    RECEIPT = 2
    DATAGRAM = 3
    ITEM = 4
    HEAD = 5
    VOLATILE = 6
    RUN = 7
    ITEMS = 8


class Header(NamedTuple):
    """What a frame begins with.

    For a parcel ``second`` is the sender's oldest unacknowledged sequence; of a run ``sequence`` is the first one's.
    For a receipt ``sequence`` is the last one taken in order and ``second`` the epoch whose parcels it acknowledges;
    for a stream's item ``second`` is the sequence before it on the same topic, and of several, for the first one.
    """

    kind: int
    epoch: int
    sequence: int
    second: int

    def encode(self) -> bytes:
        """Give the 21 bytes of this header."""
        return _HEADER.pack(self.kind, self.epoch, self.sequence, self.second)

    @classmethod
    def decode(cls, data: bytes, at: int = 0) -> "Header":
        """Read the header that begins in a frame at ``at``; what lies behind it is not looked at.

        Raises:
            WireError: There are fewer bytes than a header has.
        """
        try:
            return cls(*_HEADER.unpack_from(data, at))
        except struct.error as error:
            msg = f"{max(0, len(data) - at)} bytes are no header"
            raise WireError(msg) from error


def bodies_of(frame: bytes) -> list[bytes]:
    """Give the bodies of a run, in order.

    Raises:
        WireError: The lengths do not add up to the frame.
    """
    found: list[bytes] = []
    at, end = HEADER_BYTES, len(frame)
    size, length = _LENGTH.size, _LENGTH.unpack_from
    while (begin := at + size) <= end:
        at = begin + length(frame, at)[0]
        found.append(frame[begin:at])
    if at != end or not found:
        msg = f"a run of {end} bytes that ends at {at}"
        raise WireError(msg)
    return found


class Outgoing:
    """Parcels that the other side has not acknowledged, oldest first."""

    def __init__(self, epoch: int, waiting_max: int) -> None:
        """Start empty. ``waiting_max`` bounds what may wait; past it ``add`` raises."""
        self._epoch = epoch
        self._waiting_max = waiting_max
        self._last = 0
        self.waiting: deque[tuple[int, bytes]] = deque()

    def add(self, body: bytes) -> bytes:
        """Take a new parcel and give the frame that carries it.

        Raises:
            OverflowError: The other side has not acknowledged for too long; the owner must fall or refuse loudly.
        """
        waiting = self.waiting
        if len(waiting) >= self._waiting_max:
            msg = f"{self._waiting_max} parcels wait for an acknowledgement"
            raise OverflowError(msg)
        sequence = self._last = self._last + 1
        waiting.append((sequence, body))
        return _HEADER.pack(Kind.PARCEL, self._epoch, sequence, waiting[0][0]) + body

    def add_all(self, bodies: Iterable[bytes]) -> Iterator[bytes]:
        """Take new parcels, all or none, and give the frames that carry them: as few as that takes.

        Raises:
            OverflowError: As ``add`` does. None of them was taken then.
        """
        bodies = tuple(bodies)
        if len(self.waiting) + len(bodies) > self._waiting_max:
            msg = f"{self._waiting_max} parcels wait for an acknowledgement"
            raise OverflowError(msg)
        first = self._last + 1
        self.waiting.extend(enumerate(bodies, first))
        self._last += len(bodies)
        return self._frames(first, bodies)

    def again(self) -> Iterator[bytes]:
        """Give the frames of everything that waits, oldest first."""
        return self._frames(self._last + 1 - len(self.waiting), tuple(body for _, body in self.waiting))

    def acknowledged(self, header: Header) -> None:
        """Forget what a receipt covers; a receipt for another epoch of ours says nothing."""
        if header.second != self._epoch:
            return
        while self.waiting and self.waiting[0][0] <= header.sequence:
            self.waiting.popleft()

    def _frames(self, first: int, bodies: tuple[bytes, ...]) -> Iterator[bytes]:
        """Give the frames of parcels that follow each other from ``first`` on; all of them wait."""
        at = 0
        while at < len(bodies):
            run = bodies[at : at + RUN_MAX]
            if sum(map(len, run)) > RUN_BYTES_MAX:
                run = _shorter(run)
            yield self._frame(first + at, run)
            at += len(run)

    def _frame(self, first: int, run: tuple[bytes, ...]) -> bytes:
        oldest = self.waiting[0][0] if self.waiting else first
        if len(run) == 1:
            return _HEADER.pack(Kind.PARCEL, self._epoch, first, oldest) + run[0]
        header = _HEADER.pack(Kind.RUN, self._epoch, first, oldest)
        return header + b"".join(chain.from_iterable(zip(map(_LENGTH.pack, map(len, run)), run, strict=True)))


def _shorter(run: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """Give as much of the beginning of a run as one frame may have, and one body in any case."""
    size = 0
    for number, body in enumerate(run):
        size += len(body)
        if number and size > RUN_BYTES_MAX:
            return run[:number]
    return run


class Incoming:
    """What has been taken from the other side, and how far it was acknowledged."""

    def __init__(self) -> None:
        """Know nothing of the other side yet."""
        self.epoch = 0
        self.taken = -1
        self._acknowledged = -1

    def saw(self, epoch: int) -> bool:
        """Note the sender's epoch; False for an incarnation that has a successor."""
        if epoch > self.epoch:
            self.epoch, self.taken, self._acknowledged = epoch, -1, -1
        return epoch == self.epoch

    def follows(self, sequence: int, oldest: int, count: int = 1) -> bool:
        """Take ``count`` parcels of the present epoch where they are the next ones, and say so; else nothing changes.

        That is what nearly all of them are. Of any others ``takes`` says what they are.
        """
        if sequence != self.taken + 1 or oldest > sequence:
            return False
        self.taken += count
        return True

    def takes(self, header: Header, count: int = 1) -> int:
        """Say how many parcels of a run of ``count``, its last ones, are news.

        Repeated, early and outdated ones are not; so of a single parcel it says whether it is the next one.
        """
        if not self.saw(header.epoch):
            return 0
        if header.second > self.taken + 1:  # what lies between was acknowledged by an incarnation before this one
            self.taken = self._acknowledged = header.second - 1
        first, last = header.sequence, header.sequence + count - 1
        if first <= self._acknowledged:
            self._acknowledged = first - 1  # the receipt was lost: say it again
        if first > self.taken + 1 or last <= self.taken:
            return 0
        news, self.taken = last - self.taken, last
        return news

    def receipt(self, own_epoch: int) -> bytes | None:
        """Give the receipt that is due after a commit, or None where everything is acknowledged."""
        if self.taken == self._acknowledged:
            return None
        self._acknowledged = self.taken
        return Header(Kind.RECEIPT, own_epoch, self.taken, self.epoch).encode()
