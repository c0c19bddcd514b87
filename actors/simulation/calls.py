"""The gateway's lines without threads: a call is made at one moment of virtual time, and answered at a later one."""

import heapq
import itertools
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple, Protocol

from typing_extensions import override

from actors.simulation.clock import VirtualClock
from actors.simulation.faults import Trouble
from actors.venues.gateway import Broke, Reported
from actors.venues.lines import Defect, Line, Results, Threads
from desk.messages import VenueReport
from runtime.clock import NS_PER_MS, NS_PER_S, Clock

#: How often the stream shows that it still looks; the real one does so each second.
LOOK_NS = 10 * NS_PER_S
#: What a call, and its answer, take each, and what they take at most where the venue is sluggish.
CALL_NS_MIN, CALL_NS_MAX, SLUGGISH_NS_MAX = NS_PER_MS, 10 * NS_PER_MS, 7 * NS_PER_S


class Owner(Protocol):
    """The process whose calls these are."""

    @property
    def is_alive(self) -> bool:
        """False once it has fallen."""
        ...

    def may_die(self, place: str) -> None:
        """Fall here, perhaps: raises ``Killed``."""
        ...


class Host(Protocol):
    """The world around: time and chance."""

    clock: VirtualClock
    trouble: Trouble

    def later(self, in_ns: int, do: Callable[[], object]) -> None:
        """Let something happen so many ns from now."""
        ...

    def draw_ns(self, least_ns: int, most_ns: int) -> int:
        """Draw a span."""
        ...

    def guarded(self, shell: Any, do: Callable[[], object]) -> None:
        """Let a process do something, unless it is dead; what it raises ends it."""
        ...


class _Waiting(NamedTuple):
    urgency: int
    number: int
    about: Hashable
    make: Callable[[], Any]


class StepLine(Line):
    """One call after another, the most urgent first, as the real line; each takes some virtual milliseconds.

    Where its process falls while a call is under way, the request may have left or not.
    """

    def __init__(  # pyright: ignore[reportMissingSuperCall] - no thread
        self, results: Results[Any], host: Host, owner: Owner, held_ns: Callable[[], int] = lambda: 0
    ) -> None:
        """Begin without a call. ``held_ns`` says how much longer the answer to the call just made takes."""
        self._results, self._host, self._owner, self._held_ns = results, host, owner, held_ns
        self._queue: list[_Waiting] = []
        self._numbers = itertools.count()
        self._under_way: _Waiting | None = None
        self._since_ns = 0

    @override
    def put(self, make: Callable[[], Any], about: Hashable = None, urgency: int = 0) -> None:
        same = [call.urgency for call in self._queue if call.about == about and about is not None]
        heapq.heappush(self._queue, _Waiting(max([urgency, *same]), next(self._numbers), about, make))
        self._begin()

    def _begin(self) -> None:
        if self._under_way is None and self._queue:
            self._under_way, self._since_ns = heapq.heappop(self._queue), self._host.clock.monotonic_ns()
            self._host.later(self._takes_ns(), self._make)

    def _takes_ns(self) -> int:
        is_sluggish = self._host.trouble.happens("sluggish")
        return self._host.draw_ns(CALL_NS_MIN, SLUGGISH_NS_MAX if is_sluggish else CALL_NS_MAX)

    def _make(self) -> None:
        """The request arrives, also from a process that has fallen meanwhile: by half of the chances."""
        call = self._under_way
        assert call is not None, "a call was begun"
        if not self._owner.is_alive:
            if self._host.draw_ns(0, 2):
                self._try(call)
            return
        self._host.guarded(self._owner, lambda: self._carry_out(call))

    def _carry_out(self, call: _Waiting) -> None:
        self._owner.may_die("call")
        result = self._try(call)
        self._host.later(self._takes_ns() + self._held_ns(), lambda: self._answer(result))

    @staticmethod
    def _try(call: _Waiting) -> Any:
        try:
            return call.make()
        except Exception as error:  # noqa: BLE001 - as the real line does
            return Defect(call.about, error)

    def _answer(self, result: Any) -> None:
        self._host.guarded(self._owner, lambda: self._leave_answer(result))

    def _leave_answer(self, result: Any) -> None:
        self._owner.may_die("answer")
        self._under_way = None
        self._results.leave(result)
        self._begin()

    @override
    def about(self) -> set[Hashable]:
        return {call.about for call in (*self._queue, *([self._under_way] if self._under_way is not None else []))}

    @override
    def depth(self) -> int:
        return len(self._queue) + (self._under_way is not None)

    @override
    def busy_ns(self) -> int:
        return self._host.clock.monotonic_ns() - self._since_ns if self._under_way is not None else 0

    @override
    def close(self) -> None:
        self._queue.clear()


class StreamLine(StepLine):
    """The line on which the venue tells of its own accord: what the engine tells is left for the room later."""

    @override
    def put(self, make: Callable[[], Any], about: Hashable = None, urgency: int = 0) -> None:
        """Stand as soon as the room listens; the loop that would block is never run."""
        self._host.later(self._host.draw_ns(NS_PER_MS, 50 * NS_PER_MS), self._look)

    def _look(self) -> None:
        self._leave(Reported(()))
        if self._owner.is_alive:
            self._host.later(LOOK_NS, self._look)

    def tell(self, report: VenueReport, in_ns: int) -> None:
        """Leave a report for the room after a while."""
        self._host.later(in_ns, lambda: self._leave(Reported((report,))))

    def breaks(self, for_ns: int) -> None:
        """Break, and stand again after a while."""
        self._leave(Broke("the stream broke"))
        self._host.later(for_ns, lambda: self._leave(Reported(())))

    def _leave(self, word: Reported | Broke) -> None:
        if self._owner.is_alive:
            self._results.leave(word)


class Steps(Threads):
    """The lines of one gateway in virtual time."""

    def __init__(self, host: Host, owner: Owner, held_ns: Callable[[], int]) -> None:
        """Take the world, the process that calls, and what holds the answer to a change back."""
        self._host, self._owner, self._held_ns = host, owner, held_ns
        self.stream: StreamLine | None = None

    @override
    def line(self, name: str, results: Results[Any], clock: Clock) -> Line:
        if name != "stream":
            return StepLine(results, self._host, self._owner, self._held_ns if name == "changes" else lambda: 0)
        self.stream = StreamLine(results, self._host, self._owner)
        return self.stream

    @override
    def pause(self, seconds: float) -> None:
        """A call is one moment: nothing passes."""
