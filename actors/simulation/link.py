"""A link without its wire: the promise of ``runtime/link.py``, on words instead of bytes.

Parcels are taken in order, once for each epoch of the sender, and acknowledged after the commit. What an ended
incarnation had taken and not acknowledged comes once more to its successor. A datagram comes or does not.
"""

from collections import deque
from typing import Any

import msgspec

from runtime.bus_words import StreamItem

DATAGRAM, PARCEL, RECEIPT, ITEM = range(4)


class Frame(msgspec.Struct, frozen=True):
    """What one process sends to another.

    Of a parcel ``oldest`` is the sender's oldest sequence without a receipt; of a receipt ``sequence`` is the last one
    taken, and ``oldest`` the epoch whose parcels it acknowledges. ``item`` belongs to what a stream says.
    """

    sender: str
    epoch: int
    word: Any
    kind: int = DATAGRAM
    sequence: int = 0
    oldest: int = 0
    item: StreamItem | None = None


class Way:
    """One direction between two processes, of a link or of a stream: what leaves on it comes in its order."""

    __slots__ = ("is_stream", "last_ns", "peer")

    def __init__(self, peer: str, *, is_stream: bool = False) -> None:
        """Lead to ``peer``; nothing is under way yet."""
        self.peer, self.is_stream = peer, is_stream
        #: When the last of what has left arrives.
        self.last_ns = 0


class Ways(dict[str, Way]):
    """The ways of one process, by whom they lead to; each is there as soon as it is asked for."""

    def __init__(self, *, are_streams: bool = False) -> None:
        """Begin without any, those of links or those of the own stream."""
        super().__init__()
        self._are_streams = are_streams

    def __missing__(self, peer: str) -> Way:
        """Lay a new one out."""
        way = self[peer] = Way(peer, is_stream=self._are_streams)
        return way


Out = dict[Way, list[Frame]]
"""Frames that leave together, by the ways on which they do."""


class Side:
    """One side of a link: what it has sent without a receipt, and what it has taken."""

    __slots__ = ("_acknowledged", "_epoch", "_last", "_path", "other", "taken", "waiting")

    def __init__(self, path: str, epoch: int) -> None:
        """Begin, as this incarnation, with nothing sent and nothing taken."""
        self._path, self._epoch = path, epoch
        self._last = 0
        self.waiting: deque[tuple[int, Any]] = deque()
        self.other = 0
        self.taken = self._acknowledged = -1

    def parcel(self, word: Any) -> Frame:
        """Take a new parcel; it waits for its receipt."""
        self._last += 1
        self.waiting.append((self._last, word))
        return Frame(self._path, self._epoch, word, PARCEL, self._last, self.waiting[0][0])

    def again(self) -> list[Frame]:
        """Give everything that waits, oldest first."""
        return [
            Frame(self._path, self._epoch, word, PARCEL, sequence, self.waiting[0][0])
            for sequence, word in self.waiting
        ]

    def acknowledged(self, receipt: Frame) -> None:
        """Forget what a receipt covers; one for another incarnation of ours says nothing."""
        if receipt.oldest == self._epoch:
            while self.waiting and self.waiting[0][0] <= receipt.sequence:
                self.waiting.popleft()

    def saw(self, epoch: int) -> bool:
        """Note the other side's epoch; False for an incarnation that has a successor."""
        if epoch > self.other:
            self.other, self.taken, self._acknowledged = epoch, -1, -1
        return epoch == self.other

    def takes(self, parcel: Frame) -> bool:
        """Say whether this parcel is the next one; repeated and early ones are not."""
        if parcel.oldest > self.taken + 1:  # what lies between was acknowledged by an incarnation before this one
            self.taken = self._acknowledged = parcel.oldest - 1
        if parcel.sequence != self.taken + 1:
            if parcel.sequence <= self._acknowledged:
                self._acknowledged = parcel.sequence - 1  # the receipt was lost: say it again
            return False
        self.taken = parcel.sequence
        return True

    def receipt(self) -> Frame | None:
        """Give the receipt that is due after a commit, or None where everything is acknowledged."""
        if self.taken == self._acknowledged:
            return None
        self._acknowledged = self.taken
        return Frame(self._path, self._epoch, None, RECEIPT, self.taken, self.other)


class Sides(dict[str, Side]):
    """The sides of one process, by the paths of the others; each is there as soon as it is asked for."""

    def __init__(self, path: str, epoch: int) -> None:
        """Begin, as this incarnation, without having spoken with anybody."""
        super().__init__()
        self._path, self._epoch = path, epoch

    def __missing__(self, other: str) -> Side:
        """Begin with somebody new."""
        side = self[other] = Side(self._path, self._epoch)
        return side
