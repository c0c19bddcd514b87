"""What one side of an acknowledged link must remember: pure, without a socket.

Parcels carry the sender's epoch, a sequence and the oldest sequence that is not acknowledged. The receiver takes
them in order, once for each epoch of the sender, and acknowledges after its commit. What an ended incarnation had
received and not acknowledged is sent once more to its successor: whoever hears must be idempotent across falls.
"""

import struct
from collections import deque
from enum import IntEnum
from typing import NamedTuple

from runtime.errors import WireError

_HEADER = struct.Struct("<BIQQ")


class Kind(IntEnum):
    """What a frame is."""

    PARCEL = 1
    RECEIPT = 2
    DATAGRAM = 3
    ITEM = 4
    HEAD = 5
    VOLATILE = 6


class Header(NamedTuple):
    """The first frame behind the address.

    For a parcel ``second`` is the sender's oldest unacknowledged sequence; for a receipt ``sequence`` is the last
    one taken in order and ``second`` the epoch whose parcels it acknowledges; for a stream's item ``second`` is the
    sequence before it on the same topic.
    """

    kind: int
    epoch: int
    sequence: int
    second: int

    def encode(self) -> bytes:
        """Give the 21 bytes of this header."""
        return _HEADER.pack(self.kind, self.epoch, self.sequence, self.second)

    @classmethod
    def decode(cls, data: bytes) -> "Header":
        """Read a header.

        Raises:
            WireError: The frame has another length.
        """
        if len(data) != _HEADER.size:
            msg = f"a header of {len(data)} bytes"
            raise WireError(msg)
        return cls(*_HEADER.unpack(data))


class Outgoing:
    """Parcels that the other side has not acknowledged, oldest first."""

    def __init__(self, epoch: int, waiting_max: int) -> None:
        """Start empty. ``waiting_max`` bounds what may wait; past it ``add`` raises."""
        self._epoch = epoch
        self._waiting_max = waiting_max
        self._last = 0
        self.waiting: deque[tuple[int, bytes]] = deque()

    def add(self, body: bytes) -> bytes:
        """Take a new parcel and give its header.

        Raises:
            OverflowError: The other side has not acknowledged for too long; the owner must fall or refuse loudly.
        """
        if len(self.waiting) >= self._waiting_max:
            msg = f"{self._waiting_max} parcels wait for an acknowledgement"
            raise OverflowError(msg)
        self._last += 1
        self.waiting.append((self._last, body))
        return self._header(self._last)

    def again(self) -> list[tuple[bytes, bytes]]:
        """Give (header, body) of everything that waits, oldest first."""
        return [(self._header(sequence), body) for sequence, body in self.waiting]

    def acknowledged(self, header: Header) -> None:
        """Forget what a receipt covers; a receipt for another epoch of ours says nothing."""
        if header.second != self._epoch:
            return
        while self.waiting and self.waiting[0][0] <= header.sequence:
            self.waiting.popleft()

    def _header(self, sequence: int) -> bytes:
        return Header(Kind.PARCEL, self._epoch, sequence, self.waiting[0][0]).encode()


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

    def takes(self, header: Header) -> bool:
        """Say whether this parcel is the next one; repeated, early and outdated ones are not."""
        if not self.saw(header.epoch):
            return False
        if header.second > self.taken + 1:  # what lies between was acknowledged by an incarnation before this one
            self.taken = self._acknowledged = header.second - 1
        if header.sequence != self.taken + 1:
            if header.sequence <= self._acknowledged:
                self._acknowledged = header.sequence - 1  # the receipt was lost: say it again
            return False
        self.taken = header.sequence
        return True

    def receipt(self, own_epoch: int) -> bytes | None:
        """Give the receipt that is due after a commit, or None where everything is acknowledged."""
        if self.taken == self._acknowledged:
            return None
        self._acknowledged = self.taken
        return Header(Kind.RECEIPT, own_epoch, self.taken, self.epoch).encode()
