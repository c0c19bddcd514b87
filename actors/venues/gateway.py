"""The gateway: one venue behind a wire, in a process of its own. It keeps nothing on disk: the journal is the truth.

A command is carried out in the incarnation that it is addressed to, and nowhere else: what was sent to a forerunner may
have been carried out by that one, so it is answered as unclear. Calls are made on threads (``lines``): changes one
after another, cancels before replacements, those before exits, entries last; questions beside them; the venue's own
reports on a third thread. The room itself never waits.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec
from typing_extensions import override

from actors.arguments import GatewayArguments
from actors.venues.calls import Calls, Tried
from actors.venues.lines import THREADS, Defect, Line, Pauses, Results, Threads, seconds
from actors.venues.port import UnreachableError, VenuePort
from actors.venues.sound import with_figures
from desk.messages import (
    CancelOrder,
    CancelUnclear,
    OrderFilled,
    OrdersFound,
    OrdersWanted,
    OrderType,
    OrderUnclear,
    ReplaceOrder,
    SubmitOrder,
    VenueReport,
    VenueSnapshot,
    VenueWanted,
)
from desk.venue import IdRule
from runtime.clock import NS_PER_S, Clock
from runtime.effects import Effects
from runtime.log import Log
from runtime.room import NOTHING, Room

EXECUTION = "execution"
WATCH = "watch"
WATCH_NS = NS_PER_S
#: A call that is under way for longer than this will not end: the process falls, and its successor asks the venue.
CALL_NS_MAX = 60 * NS_PER_S
#: How long one look at the stream waits before it looks whether the desk goes on.
STREAM_S = 1.0
PAUSE_S_MIN, PAUSE_S_MAX = 0.2, 5.0
#: While the stream is down, the venue is asked this often for what it did not tell.
BROKEN_LOOK_NS = 2 * NS_PER_S
#: A snapshot that was overtaken by an execution is taken again so often, by anything else once.
LOOKS_MAX = 5
#: Executions told lately that are remembered; many more than there can be during one look.
TOLD_MAX = 10_000

#: Cancels first, entries last.
CANCEL, REPLACE, EXIT, ENTRY = range(4)


class Reported(NamedTuple):
    """The stream told something; with () it only stands."""

    reports: tuple[VenueReport, ...]


class Broke(NamedTuple):
    """The stream broke."""

    why: str


class HungError(Exception):
    """A call into the adapter does not come back."""


class Gateway(Room):
    """Speaks with execution in words and with the venue in calls."""

    def __init__(
        self,
        port: VenuePort,
        symbols: Sequence[str],
        *,
        epoch: int,
        clock: Clock,
        log: Log,
        threads: Threads = THREADS,
    ) -> None:
        """Take the port; no thread runs before ``recover``.

        Args:
            port: The adapter. Nobody else uses it.
            symbols: What the desk trades, for the venue's demands of orders.
            epoch: The own incarnation, to which commands have to be addressed.
            clock: The machine's clocks; deadlines are held against its wall time.
            log: The own log.
            threads: What makes the calls beside the loop: threads of this process, but in a simulation.
        """
        self._threads = threads
        self._port, self._epoch, self._clock, self._log = port, epoch, clock, log
        self._results: Results[Any] = Results()
        self._calls = Calls(port, tuple(symbols), clock, threads.pause)
        self._pauses = Pauses(PAUSE_S_MIN, PAUSE_S_MAX)
        self._changes: Line | None = None
        self._looks: Line | None = None
        self._stream: Line | None = None
        #: Client ids taken in this life, each with its deadline: no id leaves twice where that could be two orders.
        self._taken: dict[str, int] = {}
        self._is_connected = False
        self._is_broken = False
        self._asked_ns = self._answered_ns = 0
        #: How often execution was told something, and at which of these it was told of which execution.
        self._news = 0
        self._told: deque[tuple[int, str]] = deque(maxlen=TOLD_MAX)
        self._has_asked = False
        self._listened_ns = clock.monotonic_ns()
        self._open_orders = 0
        self._unclear = self._breaks = self._failed_looks = 0
        self._last_failure = ""

    # --- life ---------------------------------------------------------------------------------

    @override
    def take_waker(self, wake: Callable[[], None]) -> None:
        self._results.wake = wake

    @override
    def recover(self) -> Effects:
        self._changes = self._threads.line("changes", self._results, self._clock)
        self._looks = self._threads.line("looks", self._results, self._clock)
        self._stream = self._threads.line("stream", self._results, self._clock)
        self._stream.put(self._listen)
        effects = Effects()
        effects.timer(WATCH, self._clock.monotonic_ns() + WATCH_NS)
        return effects

    @override
    def stopping(self) -> Effects:
        for line in (self._changes, self._looks, self._stream):
            if line is not None:
                line.close()
        self._pauses.end()
        self._port.close()
        return NOTHING

    @override
    def reconfigured(self, arguments: bytes) -> Effects:
        """Hear that the desk trades other symbols; everything else takes a start."""
        told = msgspec.msgpack.decode(arguments, type=GatewayArguments)
        self._calls.trade(told.symbols)
        return NOTHING

    @override
    def facts(self) -> dict[str, Any]:
        calls, error_rate = self._calls.figures()
        now_ns = self._clock.monotonic_ns()
        return {
            "connected": self._is_connected,
            "answered_s_ago": seconds(now_ns - self._answered_ns) if self._answered_ns else None,
            "calls": calls,
            "under_way": 0 if self._changes is None else self._changes.depth(),
            "unclear": self._unclear,
            "stream_breaks": self._breaks,
            "failed_looks": self._failed_looks,
            "error_rate": round(error_rate, 3),
            "orders_open": self._open_orders,
            "last_failure": self._last_failure,
        }

    @override
    def timer(self, name: str) -> Effects:
        """Look after the lines, and ask for what a broken stream does not tell."""
        effects, now_ns = Effects(), self._clock.monotonic_ns()
        hung_ns = max([now_ns - self._listened_ns, *(line.busy_ns() for line in (self._changes, self._looks) if line)])
        if hung_ns > CALL_NS_MAX:
            msg = f"a call to the venue has not come back for {hung_ns // NS_PER_S} s"
            raise HungError(msg)
        if self._is_broken and now_ns - self._asked_ns > BROKEN_LOOK_NS:
            self._look_unasked()
        for order_id, deadline_ns in tuple(self._taken.items()):
            if 0 < deadline_ns < self._clock.wall_ns():
                del self._taken[order_id]  # behind its deadline it would not be sent again anyway
        effects.timer(WATCH, now_ns + WATCH_NS)
        return effects

    # --- commands and questions ---------------------------------------------------------------

    @override
    def hear(self, peer: str, epoch: int, word: Any) -> Effects:
        if peer != EXECUTION:
            return NOTHING
        effects = Effects()
        match word:
            case SubmitOrder():
                self._hear_submit(word, effects)
            case CancelOrder():
                self._hear_cancel(word, effects)
            case ReplaceOrder():
                self._hear_replace(word, effects)
            case VenueWanted():
                self._has_asked = True
                self._look(word)
            case OrdersWanted():
                self._put_look(lambda: self._calls.find(word))
            case _:
                self._log.warning("gateway.unknown_word", word=type(word).__name__)
        return effects

    def _hear_submit(self, order: SubmitOrder, effects: Effects) -> None:
        if order.venue_epoch != self._epoch:
            self._say(self._unclear_submit(order.order_id, _other(order.venue_epoch)), effects)
            return
        if order.order_id in self._taken:
            self._say(self._unclear_submit(order.order_id, "it was sent before, under the same id"), effects)
            return
        if self._port.traits.ids is IdRule.WHILE_OPEN:
            self._taken[order.order_id] = order.deadline_ns
        is_pressing = order.is_exit or order.type is OrderType.STOP
        self._change(lambda: self._calls.submit(order), order, EXIT if is_pressing else ENTRY)

    def _hear_cancel(self, order: CancelOrder, effects: Effects) -> None:
        if order.venue_epoch != self._epoch:
            reason = _other(order.venue_epoch)
            self._say(CancelUnclear(0, order.order_id, reason, self._clock.wall_ns()), effects)
            return
        self._change(lambda: self._calls.cancel(order), order, CANCEL)

    def _hear_replace(self, order: ReplaceOrder, effects: Effects) -> None:
        if order.venue_epoch != self._epoch:
            self._say(self._unclear_submit(order.order_id, _other(order.venue_epoch)), effects)
            return
        self._change(lambda: self._calls.replace(order), order, REPLACE)

    def _change(self, make: Callable[[], Tried], order: SubmitOrder | CancelOrder | ReplaceOrder, urgency: int) -> None:
        assert self._changes is not None, "nothing is heard before recovery"
        self._changes.put(lambda: _about(order, make), order.order_id, urgency)

    def _look(self, wanted: VenueWanted, look: int = 1) -> None:
        """Take a snapshot; what is told from here on may be newer than it."""
        self._asked_ns = self._clock.monotonic_ns()
        news = self._news
        self._put_look(lambda: _Look(wanted, look, news, self._calls.snapshot(wanted)))

    def _look_unasked(self) -> None:
        """Tell execution the whole state of the account, once it has said what it knows already."""
        if self._has_asked:
            self._look(VenueWanted(0, 0, self._calls.since_ns))

    def _put_look(self, make: Callable[[], Any]) -> None:
        assert self._looks is not None, "nothing is heard before recovery"
        self._looks.put(make)

    # --- what the threads bring ---------------------------------------------------------------

    @override
    def awake(self) -> Effects:
        effects = Effects()
        for result in self._results.fetch():
            match result:
                case Reported():
                    self._hear_stream_of_venue(result, effects)
                case Broke():
                    self._hear_break(result)
                case _Changed():
                    self._hear_change(result, effects)
                case _Look():
                    self._hear_snapshot(result, effects)
                case OrdersFound():
                    self._hear_found(result, effects)
                case Defect():
                    raise result.error  # ours: what an adapter raises, the calls take for unclear
                case _:
                    assert False, result  # noqa: B011, PT015 - every result is above
        return effects

    def _hear_stream_of_venue(self, reported: Reported, effects: Effects) -> None:
        self._listened_ns = self._clock.monotonic_ns()
        if not self._is_connected:
            self._is_connected, self._is_broken = True, False
            self._log.info("stream.stands")
            self._look_unasked()  # whatever was told while nobody listened
        self._answered_ns = self._clock.monotonic_ns()
        for report in reported.reports:
            self._say(report, effects)

    def _hear_break(self, broke: Broke) -> None:
        self._listened_ns = self._clock.monotonic_ns()
        if not self._is_broken:
            self._log.warning("stream.broke", why=broke.why)
            self._look_unasked()
        self._breaks += 1
        self._is_connected, self._is_broken = False, True
        self._last_failure = broke.why

    def _hear_change(self, changed: "_Changed", effects: Effects) -> None:
        if changed.tried.is_answered:
            self._answered_ns = self._clock.monotonic_ns()
        else:
            self._last_failure = changed.tried.failure
            self._log.warning("call.unclear", order_id=changed.order_id, why=changed.tried.failure)
        for word in changed.tried.words:
            self._unclear += isinstance(word, OrderUnclear | CancelUnclear)
            self._say(word, effects)

    def _hear_snapshot(self, look: "_Look", effects: Effects) -> None:
        """Pass a snapshot on, unless the venue told of something newer meanwhile: then look again."""
        snapshot = look.snapshot
        if snapshot.failure:
            self._fail_look(snapshot.failure)
        else:
            self._answered_ns = self._clock.monotonic_ns()
            self._open_orders = len(snapshot.orders)
            known = {each.execution_id for each in snapshot.unread if isinstance(each, OrderFilled)}
            is_overtaken = any(news > look.news and each not in known for news, each in self._told)
            has_news = look.news != self._news and look.number == 1
            if has_news or (is_overtaken and look.number < LOOKS_MAX):
                self._look(look.wanted, look.number + 1)
                return
            if is_overtaken:
                failure = "the account changes faster than it can be looked at"
                snapshot = msgspec.structs.replace(VenueSnapshot(0, (), {}, snapshot.cash, (), 0), failure=failure)
        self._post(msgspec.structs.replace(snapshot, query=look.wanted.query), effects, is_sure=False)

    def _hear_found(self, found: OrdersFound, effects: Effects) -> None:
        """Pass an answer on; what is still on its way is not absent."""
        if found.failure:
            self._fail_look(found.failure)
        else:
            self._answered_ns = self._clock.monotonic_ns()
            assert self._changes is not None, "nothing is heard before recovery"
            under_way = self._changes.about()
            absent = tuple(order_id for order_id in found.absent if order_id not in under_way)
            found = msgspec.structs.replace(found, absent=absent)
        self._note_executions(found)
        self._post(found, effects, is_sure=False)

    def _fail_look(self, why: str) -> None:
        self._failed_looks += 1
        if why != self._last_failure:
            self._log.warning("look.failed", why=why)
        self._last_failure = why

    def _say(self, word: Any, effects: Effects) -> None:
        """Tell execution; a look that began before may be outdated by it."""
        self._note_executions(word)
        self._post(word, effects, is_sure=True)

    def _note_executions(self, word: Any) -> None:
        self._news += 1
        fills = word.fills if isinstance(word, OrdersFound) else (word,)
        self._told.extend((self._news, fill.execution_id) for fill in fills if isinstance(fill, OrderFilled))

    def _post(self, word: Any, effects: Effects, *, is_sure: bool) -> None:
        effects.post(EXECUTION, word, is_sure=is_sure, is_gated=False)

    def _unclear_submit(self, order_id: str, reason: str) -> OrderUnclear:
        self._unclear += 1
        return OrderUnclear(0, order_id, reason, self._clock.wall_ns())

    # --- the stream's thread ------------------------------------------------------------------

    def _listen(self) -> None:
        """Hear the venue for as long as the desk runs; each break is told, and mended after a pause."""
        stands = False
        while not self._pauses.is_over:
            try:
                reports = with_figures(self._port.reports(STREAM_S if stands else 0.0))
            except UnreachableError as error:
                stands = False
                self._results.leave(Broke(str(error)))
                self._pauses.wait()
                continue
            except Exception as error:  # noqa: BLE001 - a defect of the adapter is a break too
                stands = False
                self._results.leave(Broke(f"defect of the adapter: {type(error).__name__}: {error}"))
                self._pauses.wait()
                continue
            self._results.leave(Reported(reports))  # also when there are none: it still looks
            stands = True
            self._pauses.begin_anew()


class _Changed(NamedTuple):
    order_id: str
    tried: Tried


class _Look(NamedTuple):
    wanted: VenueWanted
    number: int
    news: int
    snapshot: VenueSnapshot


def _about(order: SubmitOrder | CancelOrder | ReplaceOrder, make: Callable[[], Tried]) -> _Changed:
    return _Changed(order.order_id, make())


def _other(epoch: int) -> str:
    return f"it was addressed to incarnation {epoch} of the venue's process, which may have sent it"
