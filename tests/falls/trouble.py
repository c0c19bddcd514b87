"""What goes wrong at one seam of the order path: the n-th call there fails as it was told to, once."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from typing_extensions import override

from runtime.effects import Append, Write
from runtime.store import Store

Item = TypeVar("Item")


class Killed(BaseException):
    """The process ended here, without a word."""


class Trouble:
    """Counts how often its seam is passed, and raises at the n-th time. A seam's name ends where the call stands.

    ``store.*.before``, ``.inside`` (written, not committed) and ``.behind`` a commit; ``post.*.before`` and
    ``.behind`` a word that leaves; ``port.CALL.before``, ``.behind`` a call to the venue.
    """

    def __init__(self, seam: str = "", nth: int = 0, what: Callable[[], BaseException] = Killed) -> None:
        """Choose the seam by its name or the end of it; without one nothing ever goes wrong."""
        self.seam, self._nth, self._what = seam, nth, what
        self.passed = 0
        self.came = False

    def at(self, seam: str) -> None:
        """Pass a seam.

        Raises:
            BaseException: This is the time.
        """
        if self.came or not self.seam or not seam.endswith(self.seam):
            return
        self.passed += 1
        if self.passed == self._nth:
            self.came = True
            raise self._what()


class Mined(list[Item]):
    """A list that passes a seam when it has been walked through to its end."""

    def __init__(self, items: Sequence[Item], at_end: Callable[[], None]) -> None:
        """Take the items, and what happens behind the last one."""
        super().__init__(items)
        self._at_end = at_end

    @override
    def __iter__(self) -> Iterator[Item]:
        yield from super().__iter__()
        self._at_end()


def _nothing(_where: str, _writes: Sequence[Write]) -> None:
    """Let a store be opened in peace."""


class TroubledStore(Store):
    """The real store; before, inside and behind each commit there is a seam."""

    seam: Callable[[str, Sequence[Write]], None] = staticmethod(_nothing)

    @override
    def commit(self, writes: Sequence[Write], *, is_durable: bool = False) -> None:
        self.seam("before", writes)
        super().commit(Mined(writes, lambda: self.seam("inside", writes)), is_durable=is_durable)
        self.seam("behind", writes)


def appends(writes: Sequence[Write]) -> list[bytes]:
    """Give the log records of one commit."""
    return [write.data for write in writes if isinstance(write, Append)]
