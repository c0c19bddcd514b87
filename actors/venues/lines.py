"""Threads that make a room's blocking calls, so that its loop never waits: one call at a time on each line."""

import heapq
import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable
from typing import Any, Generic, NamedTuple, TypeVar

from runtime.clock import NS_PER_S, Clock

Word = TypeVar("Word")


class Defect(NamedTuple):
    """A call raised, which none should: what it was about, and what it raised."""

    about: Any
    error: Exception


class Results(Generic[Word]):
    """Where threads leave what came of their calls, and the room fetches it."""

    def __init__(self) -> None:
        """Start empty; nobody is woken before ``wake`` is set."""
        self._left: deque[Word] = deque()
        #: Called from any thread after something was left.
        self.wake: Callable[[], None] = lambda: None

    def leave(self, word: Word) -> None:
        """Leave something for the room; from any thread."""
        self._left.append(word)
        self.wake()

    def fetch(self) -> list[Word]:
        """Take everything that was left, oldest first."""
        return [self._left.popleft() for _ in range(len(self._left))]


class _Call(NamedTuple):
    urgency: int
    number: int
    about: Hashable
    make: Callable[[], Any]


class Line:
    """One thread that makes one call after another: the most urgent first, of the same urgency in order.

    What a call returns goes to the results, None does not; what it raises goes there as a ``Defect``.
    """

    def __init__(self, name: str, results: Results[Any], clock: Clock) -> None:
        """Start the thread. It ends with the process, whatever it is doing."""
        self._results, self._clock = results, clock
        self._waiting: list[_Call] = []
        self._numbers = itertools.count()
        self._now: _Call | None = None
        self._since_ns = 0
        self._is_closed = False
        self._news = threading.Condition()
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def put(self, make: Callable[[], Any], about: Hashable = None, urgency: int = 0) -> None:
        """Have a call made; the lower its urgency the sooner.

        No call overtakes an earlier one that is about the same thing.
        """
        with self._news:
            same = [call.urgency for call in self._waiting if call.about == about and about is not None]
            heapq.heappush(self._waiting, _Call(max([urgency, *same]), next(self._numbers), about, make))
            self._news.notify()

    def about(self) -> set[Hashable]:
        """Say what the calls that wait or are under way are about."""
        with self._news:
            calls = [*self._waiting, *([self._now] if self._now is not None else [])]
        return {call.about for call in calls}

    def depth(self) -> int:
        """Count the calls that wait or are under way."""
        with self._news:
            return len(self._waiting) + (self._now is not None)

    def busy_ns(self) -> int:
        """Say for how long the present call has been under way, 0 while there is none."""
        with self._news:
            return self._clock.monotonic_ns() - self._since_ns if self._now is not None else 0

    def close(self) -> None:
        """Make no further call. The present one is not ended; whoever owns what it waits for closes that."""
        with self._news:
            self._is_closed = True
            self._waiting.clear()
            self._news.notify()

    def _run(self) -> None:
        while (call := self._next()) is not None:
            try:
                result = call.make()
            except Exception as error:  # noqa: BLE001 - the room has to hear of whatever an adapter raises
                result = Defect(call.about, error)
            with self._news:
                self._now = None
            if result is not None:
                self._results.leave(result)

    def _next(self) -> _Call | None:
        with self._news:
            self._news.wait_for(lambda: self._waiting or self._is_closed)
            if self._is_closed:
                return None
            self._now, self._since_ns = heapq.heappop(self._waiting), self._clock.monotonic_ns()
            return self._now


class Threads:
    """What makes a room's calls beside its loop. A simulation hands a gateway another one with the same methods."""

    def line(self, name: str, results: Results[Any], clock: Clock) -> Line:
        """Begin a line; what its calls bring goes to ``results``."""
        return Line(name, results, clock)

    def pause(self, seconds: float) -> None:
        """Let a call wait, on its own line."""
        time.sleep(seconds)


#: The one that every real gateway uses.
THREADS = Threads()


class Pauses:
    """The pauses of a line that tries again and again; ``end`` cuts the present one short."""

    def __init__(self, first_s: float, longest_s: float) -> None:
        """Begin with the first pause; each is twice as long as the one before, up to the longest."""
        self._first_s = self._next_s = first_s
        self._longest_s = longest_s
        self._is_over = threading.Event()

    def wait(self) -> bool:
        """Wait for the next pause to pass; say whether to go on."""
        is_over = self._is_over.wait(self._next_s)
        self._next_s = min(2 * self._next_s, self._longest_s)
        return not is_over

    def begin_anew(self) -> None:
        """Begin with the first pause again: something succeeded."""
        self._next_s = self._first_s

    def end(self) -> None:
        """Go on no more."""
        self._is_over.set()

    @property
    def is_over(self) -> bool:
        """True once it was ended."""
        return self._is_over.is_set()


def seconds(span_ns: int) -> float:
    """Give a span in seconds, for whoever reads it."""
    return round(span_ns / NS_PER_S, 3)
