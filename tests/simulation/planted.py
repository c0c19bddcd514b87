"""Mistakes that one makes on an order path, each built into a desk that is otherwise the real one.

A mistake takes the place of one piece of the desk: it is handed to the simulation as a maker that builds the real room
and lets one of its parts be a wrong one. What no maker hands in (the shell around a room, a function of a module) is
swapped as long as ``built_in`` lasts, and put back. Nothing here is known to the product.
"""

import operator
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager
from decimal import Decimal
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import msgspec
from typing_extensions import override

import actors.day_watch
import actors.evaluator
import actors.execution.room
import actors.market_steps
import actors.simulation.course
import actors.simulation.link
import actors.simulation.world
import actors.venues.gateway
from actors import makers
from actors.evaluator import Evaluator
from actors.execution.once import Once
from actors.execution.orders import Orders
from actors.execution.protection import PROTECTIVE, Protection
from actors.execution.reconciling import Reconciler
from actors.execution.remembering import RememberingExecution
from actors.execution.resolving import TIMER as RESOLVE
from actors.execution.resolving import Resolver
from actors.execution.room import PROTECT
from actors.journal import Journal, _Memory
from actors.market_data import LiveMarketData
from actors.risk import Risk
from actors.simulation.campaign import Drawing, judged
from actors.simulation.course import Outcome
from actors.simulation.link import Frame, Side
from actors.simulation.scenario import ALPACA_DESK, AS_DRAWN, KRAKEN_DESK, PAPER_DESK, Draw
from actors.simulation.shell import Heard, Shell
from actors.simulation.world import Maker
from actors.step import Barrier
from actors.strategy import StrategyRoom
from actors.strategy_memory import Recalled
from actors.venues.calls import Calls
from actors.venues.gateway import Gateway
from actors.venues.paper import PaperVenue
from actors.venues.port import UnclearError
from desk.day import DayFigures, counted
from desk.exposure import RiskLimits, RiskPicture
from desk.messages import (
    Bar,
    Effect,
    Intent,
    IntentJudged,
    JournalBody,
    JournalRecord,
    OperatorAnswered,
    Order,
    OrderAccepted,
    OrderFilled,
    OrderRejected,
    OrderState,
    Purpose,
    SubmitOrder,
    VenueOrder,
    VenueSnapshot,
    VenueWanted,
)
from desk.order import OPEN, REASON_TTL, TERMINAL, order_from_judgement
from desk.units import NS_PER_S, ZERO
from runtime.child import Context, Made
from runtime.disk import Disk
from runtime.effects import Append, Effects
from runtime.errors import StoreError
from runtime.room import Room

EXECUTION, RISK, STRATEGY, MARKET, PAPER = (
    f"actors.makers:{name}" for name in ("execution", "risk", "strategy", "market_data", "paper")
)
_REAL: dict[str, Maker] = {
    EXECUTION: makers.execution,
    RISK: makers.risk,
    STRATEGY: makers.strategy,
    MARKET: makers.market_data,
    PAPER: makers.paper,
}


class Swap(NamedTuple):
    """What of a module or class is another one meanwhile."""

    owner: Any
    name: str
    wrong: Any


class Mistake(NamedTuple):
    """One mistake, and the faults under which it shows soonest."""

    name: str
    what: str
    draw: Draw
    makers: Mapping[str, Maker]
    swaps: tuple[Swap, ...] = ()


@contextmanager
def built_in(mistake: Mistake) -> Generator[dict[str, Maker]]:
    """Let the desk have a mistake, and give the makers to run it with."""
    with ExitStack() as stack:
        for owner, name, wrong in mistake.swaps:
            stack.callback(setattr, owner, name, getattr(owner, name))
            setattr(owner, name, wrong)
        yield dict(mistake.makers)


class Catch(NamedTuple):
    """At which seed a mistake was found, after how many seeds, and how it showed."""

    seed: int
    seeds: int
    outcome: Outcome


def catch(mistake: Mistake, draw: Draw, most: int, first: int = 0) -> Catch | None:
    """Run seed after seed, up to so many, until the mistake is found; None where it is not."""
    drawing = Drawing(draw)
    with built_in(mistake) as replaced:
        for seed in range(first, first + most):
            outcome = judged(drawing(seed), replaced).outcome
            if outcome.violations:
                return Catch(seed, seed - first + 1, outcome)
    return None


def _with(entry: str, change: Callable[[Any], object]) -> dict[str, Maker]:
    """Build the real room, and then change it."""

    def make(context: Context, arguments: bytes) -> Made:
        made = _REAL[entry](context, arguments)
        change(made.room)
        return made

    return {entry: make}


def _as(entry: str, kind: type[Room]) -> dict[str, Maker]:
    """Let the room be one of this kind, which has one method wrong."""
    return _with(entry, lambda room: _becomes(room, kind))


def _part(name: str, kind: type, entry: str = EXECUTION) -> dict[str, Maker]:
    """Let one part of a room, execution if no other is named, be one of this kind."""
    return _with(entry, lambda room: _becomes(operator.attrgetter(name)(room), kind))


def _becomes(part: Any, kind: type) -> None:
    assert issubclass(kind, type(part)), "a wrong part is the right one with something wrong in it"
    part.__class__ = kind


class _Unsynced(Disk):
    """A disk that says of everything that it is on the platter."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    @override
    def store(self, path: Any, *, is_synced: bool = True, **rest: Any) -> Any:
        return self._disk.store(path, is_synced=False, **rest)

    @override
    def reader(self, path: Any) -> Any:
        return self._disk.reader(path)

    @override
    def sentinel(self, state: Any) -> Any:
        return self._disk.sentinel(state)


def _execution_unsynced(context: Context, arguments: bytes) -> Made:
    return makers.execution(context._replace(disk=_Unsynced(context.disk)), arguments)


# --- doubt ------------------------------------------------------------------------------------


class _BelievesAtOnce(Resolver):
    @override
    def _believe_absent(self, order: Order, asked_ns: int, effects: Effects) -> None:
        super()._believe_absent(order, order.deadline_ns + self._orders.traits.margin_ns + 1, effects)


class _SendsTheSameAgain(Resolver):
    @override
    def _believe_absent(self, order: Order, asked_ns: int, effects: Effects) -> None:
        if order.state is OrderState.UNKNOWN:
            self._orders.send_again(order, effects)


class _KnowsNoMargin(Resolver):
    @override
    def _believe_absent(self, order: Order, asked_ns: int, effects: Effects) -> None:
        super()._believe_absent(order, asked_ns + self._orders.traits.margin_ns, effects)

    @override
    def _set_timer(self, in_doubt: list[Order], effects: Effects) -> None:
        super()._set_timer(in_doubt, effects)
        effects.timer(RESOLVE, self._clock.monotonic_ns() + NS_PER_S // 4)


class _LateIsFine(RememberingExecution):
    @override
    def _hear_venue(self, word: Any, effects: Effects) -> None:
        if isinstance(word, OrderRejected) and word.is_deadline:
            word = OrderAccepted(0, word.order_id, "v", word.ts_ns)
        super()._hear_venue(word, effects)


class _BelievesRefusals(Orders):
    @override
    def is_repeated(self, client_id: str) -> bool:
        return False


class _DoubtsNothing(Orders):
    @override
    def lose_venue(self, effects: Effects) -> None:
        self._on_wire.clear()
        self.venue_epoch = 0


class _NeverLooksAgain(RememberingExecution):
    @override
    def timer(self, name: str) -> Effects:
        return Effects() if name == RESOLVE else super().timer(name)


class _MissesNothing(Reconciler):
    @override
    def _doubt_what_is_missing(self, snapshot: VenueSnapshot, effects: Effects) -> None:
        pass


class _SendsTwice(Orders):
    @override
    def send(self, order: Order, effects: Effects) -> None:
        self._on_wire.discard(order.client_id)
        super().send(order, effects)


class _TakesForeignOrders(Gateway):
    @override
    def _hear_submit(self, order: SubmitOrder, effects: Effects) -> None:
        super()._hear_submit(msgspec.structs.replace(order, venue_epoch=self._epoch), effects)


class _ShowsOldLooks(Gateway):
    @override
    def _hear_snapshot(self, look: Any, effects: Effects) -> None:
        self._told.clear()
        super()._hear_snapshot(look._replace(number=2), effects)


class _EndsDoubtByTime(Resolver):
    @override
    def ask(self, effects: Effects) -> None:
        for order in self.in_doubt():
            if order.state is OrderState.UNKNOWN and self._clock.wall_ns() > order.changed_ns + 2 * NS_PER_S:
                self._orders.change(order, OrderState.EXPIRED, "TIMEOUT", "ours", effects)
        super().ask(effects)


class _AlwaysWants(Resolver):
    @override
    def _may_try_again(self, order: Order) -> bool:
        return True


class _BelievesEnds(Resolver):
    @override
    def _see_end(self, theirs: VenueOrder, effects: Effects) -> None:
        super()._see_end(msgspec.structs.replace(theirs, filled_quantity=ZERO), effects)


class _TriesAgain(Calls):
    @override
    def _try(self, name: str, call: Any, may_repeat: Any = lambda: True) -> Any:
        try:
            return super()._try(name, call, may_repeat)
        except UnclearError:
            return super()._try(name, call, may_repeat)


class _TrustsEachClock(Reconciler):
    @override
    def _against_clock(self, snapshot: VenueSnapshot) -> str:
        return ""


# --- keeping and sending ----------------------------------------------------------------------


class _SendsFirst(Shell):
    """Execution's words leave, and then what they follow from is kept."""

    @override
    def _carry_out(self, heard: Heard) -> None:
        effects = heard.effects
        if self.path == "execution" and effects.writes and effects.posts:
            self._say(heard)
            effects.posts, effects.published = [], []
        super()._carry_out(heard)


class _AcknowledgesFirst(Shell):
    """Risk says that it has an intent, and then keeps it."""

    @override
    def _carry_out(self, heard: Heard) -> None:
        if self.path == "risk" and self.unanswered:
            self._acknowledge()
        super()._carry_out(heard)


class _CommitsTwice(Shell):
    """The journal's records are one transaction, and what belongs to them another one."""

    @override
    def _commit(self, heard: Heard) -> None:
        writes = heard.effects.writes
        records = [write for write in writes if isinstance(write, Append)]
        if self.path == "execution" and records and len(records) < len(writes):
            assert self.store is not None, "execution has a store"
            self.store.commit(records)
            self.may_die("between")
            heard.effects.writes = [write for write in writes if not isinstance(write, Append)]
            self.store.commit(heard.effects.writes)
            heard.effects.writes = writes
            self.world.on_commit(self, heard)
            self.may_die("committed")
        else:
            super()._commit(heard)


class _GoesOnWithAFullDisk(Shell):
    """That execution could not keep something is no reason not to do it."""

    @override
    def _commit(self, heard: Heard) -> None:
        try:
            super()._commit(heard)
        except StoreError:
            if self.path != "execution":
                raise


class _HearsTheDead(Side):
    """A side of a link to which every incarnation is as good as the last one."""

    @override
    def saw(self, epoch: int) -> bool:
        super().saw(epoch)
        return True


class _TakesAgain(Side):
    """A side of a link that takes what comes, also when it came before."""

    @override
    def takes(self, parcel: Frame) -> bool:
        super().takes(parcel)
        return True


class _WaitsForOne(Barrier):
    @override
    def settled(self, path: str, epoch: int, step: int, phase: int, sent: int) -> bool:
        is_news = super().settled(path, epoch, step, phase, sent)
        if is_news:
            self.waiting.clear()
        return is_news


class _LeavesNothingAgain(RememberingExecution):
    @override
    def _leave(self, effects: Effects) -> None:
        pass


class _TellsOfNoGap(Journal):
    @override
    def write(self, body: JournalBody, effects: Effects) -> None:
        super().write(body, effects)
        effects.published[-1] = msgspec.structs.replace(effects.published[-1], previous=0)


class _TellsOfBarsEarly(LiveMarketData):
    @override
    def _publish(self, bars: list[Bar], effects: Effects) -> None:
        super()._publish(bars, effects)
        effects.is_durable = False


class _PaperWithoutUnread(PaperVenue):
    @override
    def _snapshot(self, wanted: VenueWanted) -> Effects:
        effects = super()._snapshot(wanted)
        for number, post in enumerate(effects.posts):
            if isinstance(post.word, VenueSnapshot):
                word = msgspec.structs.replace(post.word, unread=())
                effects.posts[number] = msgspec.structs.replace(post, word=word)
        return effects


class _PaperSaysOnce(PaperVenue):
    @override
    def _snapshot(self, wanted: VenueWanted) -> Effects:
        effects = super()._snapshot(wanted)
        effects.posts = [post for post in effects.posts if isinstance(post.word, VenueSnapshot)]
        return effects


# --- books ------------------------------------------------------------------------------------


class _ForgetsExecutions(_Memory):
    @override
    def knows(self, execution: tuple[str, str, str]) -> bool:
        return False


class TakesPartsForWholes(RememberingExecution):
    """An execution to which each part that trades is all that was left."""

    @override
    def _book(self, order: Order, report: OrderFilled, effects: Effects) -> bool:
        left = order.quantity - order.filled_quantity
        return super()._book(
            order, msgspec.structs.replace(report, quantity=left if left > ZERO else report.quantity), effects
        )


class _DropsOvertaken(RememberingExecution):
    @override
    def _book(self, order: Order, report: OrderFilled, effects: Effects) -> bool:
        if order.state is OrderState.PENDING_CANCEL or order.state in TERMINAL:
            return False
        return super()._book(order, report, effects)


class _TakesEachVerdict(Journal):
    @override
    def knows(self, order_id: str) -> bool:
        return False


class _AnswersAnew(Once):
    @override
    def answered(self, request: str) -> OperatorAnswered | None:
        return None


class _AssumesCancelled(Orders):
    @override
    def ask_cancel(self, order: Order, effects: Effects) -> None:
        super().ask_cancel(order, effects)
        self.change(order, OrderState.CANCELLED, order.reason, "ours", effects)


class _KnowsNoTime(Orders):
    @override
    def cancel(self, order: Order, reason: str, effects: Effects) -> None:
        if reason != REASON_TTL:
            super().cancel(order, reason, effects)


class _DropsFees(RememberingExecution):
    @override
    def _book(self, order: Order, report: OrderFilled, effects: Effects) -> bool:
        return super()._book(order, msgspec.structs.replace(report, fee=ZERO), effects)


class _HaltsNothing(RememberingExecution):
    @override
    def _halt(self, reason: str) -> None:
        pass


class _LivesByTheWall(RememberingExecution):
    @override
    def _pass_time(self, market_ns: int, effects: Effects) -> None:
        for order in self._orders.working():
            if 0 < order.expires_ns <= self._clock.wall_ns():
                self._orders.cancel(order, REASON_TTL, effects)
        self._orders.market_ns, self._orders.is_time_heard = max(self._orders.market_ns, market_ns), True


def _lives_twice(judged: IntentJudged, purpose: Purpose, **rest: Any) -> Order:
    intent = msgspec.structs.replace(judged.intent, order_ttl_ns=2 * judged.intent.order_ttl_ns)
    return order_from_judgement(msgspec.structs.replace(judged, intent=intent), purpose, **rest)


# --- around a position ------------------------------------------------------------------------


def _nothing(*_arguments: object) -> None:
    pass


def _never(*_arguments: object) -> bool:
    return False


def _places_no_stop_after_a_fall(context: Context, arguments: bytes) -> Made:
    made = makers.execution(context, arguments)
    room: Any = made.room
    if context.epoch > 1:
        kind = type("_PlacesNoneForOld", (Protection,), {"_place": _nothing})
        room._protection.__class__ = kind
    return made


class _SeesOpenStopsOnly(Orders):
    @override
    def around(self, key: tuple[str, str, str], purposes: Any) -> list[Order]:
        found = super().around(key, purposes)
        return [order for order in found if order.state in OPEN] if purposes is PROTECTIVE else found


class _DoesNotWaitForStops(Protection):
    @override
    def settle(self, key: tuple[str, str, str], effects: Effects) -> None:
        exits = self._orders.around(key, {Purpose.EXIT})
        position = self._journal.ledger.position(*key)
        if exits and position is not None:
            self._release(exits, position, effects)
        super().settle(key, effects)


class _LeavesStopsAsTheyAre(Protection):
    @override
    def _rest(self, key: tuple[str, str, str], position: Any, resting: list[Order], effects: Effects) -> None:
        if not resting:
            super()._rest(key, position, resting, effects)


class _LeavesLevelsAsTheyAre(Protection):
    @override
    def _rest(self, key: tuple[str, str, str], position: Any, resting: list[Order], effects: Effects) -> None:
        held = abs(position.quantity)
        if not resting or any(order.quantity - order.filled_quantity != held for order in resting):
            super()._rest(key, position, resting, effects)


class _SellsWhatIsWished(Protection):
    @override
    def _release(self, exits: list[Order], position: Any, effects: Effects) -> None:
        for order in exits:
            if order.state is OrderState.PENDING and not self._orders.has_left(order):
                self._orders.send(order, effects)


class _WatchesNoTarget(Protection):
    @override
    def watch(self, symbol: str, price: Any, effects: Effects) -> None:
        pass


class _PlacesApart(Protection):
    @override
    def _place(self, key: Any, position: Any, levels: Any, beside: list[Order], effects: Effects) -> None:
        super()._place(key, position, levels, [], effects)


class _ProtectsOnce(RememberingExecution):
    @override
    def _wait_to_protect(self, key: Any, report: OrderRejected, effects: Effects) -> None:
        super()._wait_to_protect(key, report, effects)
        effects.timers = tuple(timer for timer in effects.timers if timer[0] != PROTECT)


def _forgets_wishes(room: Any) -> None:
    room._protection._wanted_flat.clear()


class _KeepsFirstLevels(Protection):
    @override
    def _wanted_levels(self, key: Any, position: Any) -> Any:
        first = self._journal.entries.get(key)
        stop = position.stop_loss if first is None or position.stop_loss is None else first.stop_loss
        return super()._wanted_levels(key, msgspec.structs.replace(position, stop_loss=stop))


# --- what may be opened -----------------------------------------------------------------------


class _Blind:
    """A sentinel that is written to and not looked at."""

    def __init__(self, sentinel: Any) -> None:
        self._sentinel = sentinel
        self.write = sentinel.write

    @staticmethod
    def reason() -> None:
        return None


def _look_away(room: Any) -> None:
    room._sentinel = _Blind(room._sentinel)


class _SeesNoUnknown(Orders):
    @override
    def unknown_in(self, symbol: str) -> list[str]:
        return []


class _StopsExitsToo(RememberingExecution):
    @override
    def _reasons_against_new(self, order: Order, asked: Decimal) -> tuple[str, ...]:
        return super()._reasons_against_new(msgspec.structs.replace(order, purpose=Purpose.ENTRY), asked)


class _NeedsNoComparison(Reconciler):
    @override
    def lose_venue(self, why: str) -> None:
        pass


def _open_gate(room: Any) -> None:
    _becomes(room._reconciler, _NeedsNoComparison)
    room._reconciler.gate, room._reconciler.is_reconciled = "", True


class _RiskWithoutHalt(Risk):
    @override
    def _picture(self, intent: Intent) -> RiskPicture:
        return msgspec.structs.replace(super()._picture(intent), halt_reason="")


class _RiskWithoutDoubt(Risk):
    @override
    def _picture(self, intent: Intent) -> RiskPicture:
        return msgspec.structs.replace(super()._picture(intent), unknown_orders=())


class _ReservesNothing(Risk):
    @override
    def _reservations(self) -> Any:
        return []


class _RemembersOneHalt(RememberingExecution):
    @override
    def _halt_reason(self, *, is_written: bool = False) -> str | None:
        if self._looked == 0:
            self._looked, self._halted = 1, self._sentinel.reason()
        return self._halted


class _SendsWithheld(RememberingExecution):
    @override
    def _leave(self, effects: Effects) -> None:
        self._withheld = set()
        super()._leave(effects)


class _KnowsNobodyAway(Risk):
    @override
    def _is_enabled(self, strategy: str) -> bool:
        return True


class _KnowsNoExpiry(Risk):
    @override
    def _picture(self, intent: Intent) -> RiskPicture:
        return msgspec.structs.replace(super()._picture(intent), market_ns=0)


class _KnowsNoBadDay(Risk):
    @override
    def _picture(self, intent: Intent) -> RiskPicture:
        return msgspec.structs.replace(super()._picture(intent), day_reason="")


def _lets_one_more(room: Any) -> None:
    most = room._desk_limits.max_positions
    desk = room._desk_limits = msgspec.structs.replace(room._desk_limits, max_positions=most + 1)
    room._limits = {name: (own, desk) for name, (own, _) in room._limits.items()}


class _CountsPositionsOnly(Risk):
    @override
    def _reservations(self) -> Any:
        return [msgspec.structs.replace(one, price=ZERO) for one in super()._reservations()]


class _ApprovesMore(Risk):
    @override
    def _judge(self, intent: Intent) -> IntentJudged:
        judged = super()._judge(intent)
        more = judged.quantity + 1 if judged.is_approved and intent.effect is Effect.CLOSE else judged.quantity
        return msgspec.structs.replace(judged, quantity=more)


class _LeaksReservations(Risk):
    @override
    def _read_ledger(self, effects: Effects) -> None:
        before = dict(self._unbooked)
        super()._read_ledger(effects)
        self._unbooked = before | self._unbooked


class _LosesReservations(Risk):
    @override
    def recover(self) -> Effects:
        effects = super().recover()
        self._unbooked.clear()
        return effects


def _begins_the_day(room: Any) -> None:
    room._day._figures = None


def _lives_in_greenwich(room: Any) -> None:
    room._day._zone = ZoneInfo("UTC")


def _counted_as_gain(figures: DayFigures, **now: Any) -> DayFigures:
    return msgspec.structs.replace(counted(figures, **now), start_equity=figures.start_equity)


class _SaysVerdictsOnce(Risk):
    @override
    def recover(self) -> Effects:
        effects = super().recover()
        effects.posts.clear()
        return effects


def _risk_without_memory_of_limits(context: Context, arguments: bytes) -> Made:
    made = makers.risk(context, arguments)
    room: Any = made.room
    if context.epoch > 1:
        room._limits, room._desk_limits = {}, RiskLimits()
    return made


# --- strategies -------------------------------------------------------------------------------


class _SkipsBars(StrategyRoom):
    @override
    def _hear_bar(self, item: Any, bar: Any, effects: Effects) -> None:
        if isinstance(bar, Bar) and bar.sequence > self._heard[item.topic]:
            self._bars[bar.sequence] = bar
            self._heard[item.topic] = bar.sequence
        else:
            super()._hear_bar(item, bar, effects)


class _SkipsOwnRecords(StrategyRoom):
    @override
    def _hear_own(self, item: Any, record: Any, effects: Effects) -> None:
        if isinstance(record, JournalRecord):
            self._take_events((record,))
        super()._hear_own(item, record, effects)


class _EvaluatesTwice(Evaluator):
    @override
    def _take_up(self, recalled: Recalled) -> None:
        super()._take_up(recalled)
        self.last = {topic: max(0, sequence - 1) for topic, sequence in self.last.items()}


class _AsksOnce(Evaluator):
    @override
    def recall(self, effects: Effects) -> None:
        before = len(effects.posts)
        super().recall(effects)
        del effects.posts[before:]


def _intent_of_this_life(*arguments: Any, epoch: int, **named: Any) -> Intent:
    made = _real_intent_of(*arguments, epoch=epoch, **named)
    return msgspec.structs.replace(made, intent_id=f"{made.intent_id}{epoch}")


_real_intent_of = actors.evaluator.intent_of


def _draw(desk_name: str, *kinds: str, bars: int = 16) -> Draw:
    return Draw(desk_name, kinds, bars)


def _shell(kind: type[Shell]) -> tuple[Swap, ...]:
    return (Swap(actors.simulation.world, "Shell", kind),)


def _gateway(kind: type[Gateway]) -> tuple[Swap, ...]:
    return (Swap(actors.simulation.course, "Gateway", kind),)


def _risk(name: str, what: str, kind: type[Risk]) -> Mistake:
    return Mistake(name, what, AS_DRAWN, _as(RISK, kind))


def _executing(name: str, what: str, kind: type[RememberingExecution]) -> Mistake:
    return Mistake(name, what, AS_DRAWN, _as(EXECUTION, kind))


K, A, P = KRAKEN_DESK, ALPACA_DESK, PAPER_DESK
MISTAKES: tuple[Mistake, ...] = (
    Mistake(
        "believes-at-once",
        "an order that is not found at once is sent again under another id",
        _draw(K, "late", "lost", "unread"),
        _part("_resolver", _BelievesAtOnce),
    ),
    Mistake(
        "no-margin",
        "absence is believed at the deadline, without a margin for a venue that answers late",
        _draw(K, "brink"),
        _part("_resolver", _KnowsNoMargin),
    ),
    Mistake(
        "same-id-again",
        "the same id is sent again to a venue that knows ids only while they are open",
        _draw(K, "lost", "unread", "kill"),
        _part("_resolver", _SendsTheSameAgain),
    ),
    Mistake(
        "late-is-fine",
        "a refusal because of the deadline is taken for an answer like any other",
        _draw(K, "sluggish"),
        _as(EXECUTION, _LateIsFine),
    ),
    Mistake(
        "refusal-of-repeat",
        "the refusal of a repeated sending is believed of the first one too",
        _draw(A, "late", "lost", "refused"),
        _part("_orders", _BelievesRefusals),
    ),
    Mistake(
        "doubts-nothing",
        "what a fallen venue's process was asked to do is taken for undone",
        _draw(K, "kill", "late"),
        _part("_orders", _DoubtsNothing),
    ),
    Mistake(
        "looks-once",
        "the timer that asks for what is in doubt is lost",
        _draw(K, "lost", "unread"),
        _as(EXECUTION, _NeverLooksAgain),
    ),
    Mistake(
        "misses-nothing",
        "an order that is not open at the venue any more is not asked for",
        _draw(A, "untold", "ended"),
        _part("_reconciler", _MissesNothing),
    ),
    Mistake(
        "sends-twice",
        "nobody looks whether an order has left already",
        _draw(K, "kill", "delay", "parts"),
        _part("_orders", _SendsTwice),
    ),
    Mistake(
        "foreign-orders",
        "the gateway carries out what was addressed to its forerunner",
        _draw(K, "kill", "cut"),
        {},
        _gateway(_TakesForeignOrders),
    ),
    Mistake(
        "old-looks",
        "a look at the account that was overtaken by an execution is passed on",
        _draw(K, "sluggish", "parts"),
        {},
        _gateway(_ShowsOldLooks),
    ),
    Mistake("no-sync", "the write-ahead journal is not synced", _draw(K, "power"), {EXECUTION: _execution_unsynced}),
    Mistake("sends-first", "an order is sent, and then journalled", _draw(K, "kill"), {}, _shell(_SendsFirst)),
    Mistake(
        "acknowledges-first",
        "risk acknowledges an intent, and then keeps it",
        _draw(K, "kill"),
        {},
        _shell(_AcknowledgesFirst),
    ),
    Mistake(
        "two-commits",
        "the journal and what belongs to it are two transactions",
        _draw(P, "kill"),
        {},
        _shell(_CommitsTwice),
    ),
    Mistake(
        "full-disk", "what could not be kept is done all the same", _draw(K, "full"), {}, _shell(_GoesOnWithAFullDisk)
    ),
    Mistake(
        "hears-the-dead",
        "words of an incarnation that has a successor are heard",
        _draw(K, "kill", "delay", "hang"),
        {},
        (Swap(actors.simulation.link, "Side", _HearsTheDead),),
    ),
    Mistake(
        "parcels-twice",
        "a parcel that comes twice is taken twice",
        AS_DRAWN,
        {},
        (Swap(actors.simulation.link, "Side", _TakesAgain),),
    ),
    Mistake(
        "barrier",
        "a step waits for the first who is ready, not for all",
        _draw(P, "slow", "delay"),
        {},
        (Swap(actors.market_steps, "Barrier", _WaitsForOne),),
    ),
    Mistake(
        "never-left",
        "an order that was journalled and not sent is not sent after a fall",
        _draw(P, "kill"),
        _as(EXECUTION, _LeavesNothingAgain),
    ),
    Mistake(
        "gaps-untold",
        "records are published without saying which one came before",
        _draw(P, "drop"),
        _part("_journal", _TellsOfNoGap),
    ),
    Mistake(
        "bars-early",
        "the number of a bar is told before it is on the disk",
        _draw(K, "power"),
        _as(MARKET, _TellsOfBarsEarly),
    ),
    Mistake(
        "paper-unread",
        "the paper venue's snapshot leaves out what is on its way",
        _draw(P, "kill", "delay"),
        _as(PAPER, _PaperWithoutUnread),
    ),
    Mistake("paper-once", "the paper venue says each report once", _draw(P, "kill"), _as(PAPER, _PaperSaysOnce)),
    Mistake(
        "books-twice",
        "executions are not told apart by their ids",
        _draw(K, "retold", "lost"),
        _part("_journal._memory", _ForgetsExecutions),
    ),
    Mistake(
        "parts-are-wholes",
        "a part of an order is taken for the whole",
        _draw(K, "parts"),
        _as(EXECUTION, TakesPartsForWholes),
    ),
    Mistake(
        "drops-overtaken",
        "an execution that overtakes a cancel, or comes after the end, is dropped",
        _draw(K, "untold", "parts", "lost"),
        _as(EXECUTION, _DropsOvertaken),
    ),
    Mistake(
        "verdicts-twice",
        "a verdict that comes again becomes another order",
        _draw(P, "kill"),
        _part("_journal", _TakesEachVerdict),
    ),
    Mistake(
        "wishes-twice",
        "an operator's request that comes again is carried out again",
        _draw(K, "wish", "cut", "delay"),
        _part("_wishes._once", _AnswersAnew),
    ),
    Mistake(
        "assumes-cancelled",
        "an order is cancelled as soon as that was asked for",
        _draw(K, "lost"),
        _part("_orders", _AssumesCancelled),
    ),
    Mistake(
        "hidden-fills",
        "a cancelled order is believed to have traded what was heard of it",
        _draw(A, "untold", "parts", "ended"),
        {},
        (Swap(actors.execution.room, "_leaves_open_how_it_ended", _never),),
    ),
    Mistake(
        "no-time-to-live",
        "an order's time to live is not looked after",
        _draw(K, bars=48),
        _part("_orders", _KnowsNoTime),
    ),
    Mistake(
        "no-stop-after-a-fall",
        "after a fall no stop is placed for what is held",
        _draw(K, "kill"),
        {EXECUTION: _places_no_stop_after_a_fall},
    ),
    Mistake(
        "two-stops",
        "a stop of which nobody knows is placed once more",
        _draw(K, "lost", "unread", "parts"),
        _part("_orders", _SeesOpenStopsOnly),
    ),
    Mistake(
        "exit-beside-stop",
        "an exit leaves before its stop's cancel is confirmed",
        _draw(K),
        _part("_protection", _DoesNotWaitForStops),
    ),
    Mistake(
        "stop-not-resized",
        "a stop keeps its quantity when a part of the position is sold",
        _draw(K, "parts"),
        _part("_protection", _LeavesStopsAsTheyAre),
    ),
    Mistake(
        "level-not-moved",
        "a stop keeps its level when the strategy changes it",
        _draw(K),
        _part("_protection", _LeavesLevelsAsTheyAre),
    ),
    Mistake(
        "oversells",
        "exits leave for what was wished, not for what is held",
        _draw(K, "kill", "slow", "wish"),
        _part("_protection", _SellsWhatIsWished),
    ),
    Mistake(
        "no-target", "nobody watches the target where it cannot rest", _draw(K), _part("_protection", _WatchesNoTarget)
    ),
    Mistake("halt-unseen", "execution does not look at the halt", _draw(K, "brake"), _with(EXECUTION, _look_away)),
    Mistake(
        "doubt-unseen",
        "execution opens beside an order of which nobody knows",
        _draw(K, "lost", "unread", "slow"),
        _part("_orders", _SeesNoUnknown),
    ),
    Mistake(
        "exits-halted", "what stops entries stops exits", _draw(K, "lost", "unread"), _as(EXECUTION, _StopsExitsToo)
    ),
    Mistake(
        "open-gate",
        "the gate is open before the books are compared with the venue's",
        _draw(K, "kill", "outage"),
        _with(EXECUTION, _open_gate),
    ),
    Mistake(
        "risk-halt",
        "risk lets things be opened while the desk is halted",
        _draw(K, "wish"),
        _as(RISK, _RiskWithoutHalt),
    ),
    Mistake(
        "risk-doubt",
        "risk lets things be opened while an order is in doubt",
        _draw(K, "lost", "unread"),
        _as(RISK, _RiskWithoutDoubt),
    ),
    Mistake(
        "no-reservations",
        "risk counts what is held, not what was just approved",
        _draw(K, "slow", "delay"),
        _as(RISK, _ReservesNothing),
    ),
    Mistake(
        "limits-forgotten", "risk has no limits after a fall", _draw(K, "kill"), {RISK: _risk_without_memory_of_limits}
    ),
    Mistake(
        "verdicts-once",
        "a verdict that was kept and not sent is not sent after a fall",
        _draw(P, "kill"),
        _as(RISK, _SaysVerdictsOnce),
    ),
    Mistake(
        "bars-skipped", "a strategy does not notice a gap in the bars", _draw(K, "drop"), _as(STRATEGY, _SkipsBars)
    ),
    Mistake(
        "records-skipped",
        "a strategy does not notice a gap in its own records",
        _draw(P, "drop"),
        _as(STRATEGY, _SkipsOwnRecords),
    ),
    Mistake(
        "bar-twice",
        "a strategy evaluates its last bar again after a fall",
        _draw(P, "kill"),
        _part("_evaluator", _EvaluatesTwice, STRATEGY),
    ),
    Mistake(
        "asks-once",
        "an intent that was kept and not sent is not sent after a fall",
        _draw(P, "kill"),
        _part("_evaluator", _AsksOnce, STRATEGY),
    ),
    Mistake(
        "id-of-this-life",
        "an intent's id has the incarnation in it",
        _draw(P, "kill"),
        {},
        (Swap(actors.evaluator, "intent_of", _intent_of_this_life),),
    ),
    Mistake(
        "doubt-by-time",
        "an order in doubt is taken for none after two seconds",
        AS_DRAWN,
        _part("_resolver", _EndsDoubtByTime),
    ),
    Mistake(
        "always-wanted",
        "an attempt that never arrived is followed by another, wanted or not",
        AS_DRAWN,
        _part("_resolver", _AlwaysWants),
    ),
    Mistake(
        "believes-ends",
        "an order that is over at the venue is over, whatever of it is not booked yet",
        _draw(A, "untold", "parts", "ended", "lagging"),
        _part("_resolver", _BelievesEnds),
    ),
    Mistake(
        "tries-unclear",
        "a call of which nobody knows how it ended is made once more",
        AS_DRAWN,
        {},
        (Swap(actors.venues.gateway, "Calls", _TriesAgain),),
    ),
    Mistake(
        "late-is-final",
        "a refusal because of the deadline does not begin another attempt",
        AS_DRAWN,
        {},
        (Swap(actors.execution.room, "_UNSEEN", frozenset[OrderState]()),),
    ),
    Mistake(
        "wrong-clock",
        "a venue's clock that is wrong closes no gate",
        AS_DRAWN,
        _part("_reconciler", _TrustsEachClock),
    ),
    _executing("no-fees", "executions are booked without their fees", _DropsFees),
    _executing("overfill", "the desk does not halt when the venue trades more than was ordered", _HaltsNothing),
    _executing("wall-time", "an order's time to live is counted by the machine's clock", _LivesByTheWall),
    Mistake(
        "lives-twice",
        "an order lives twice as long as was wished",
        AS_DRAWN,
        {},
        (Swap(actors.execution.room, "order_from_judgement", _lives_twice),),
    ),
    Mistake(
        "apart",
        "a stop that is placed anew is no group with the target that rests",
        AS_DRAWN,
        _part("_protection", _PlacesApart),
    ),
    _executing("protects-once", "a stop that was refused is not placed again", _ProtectsOnce),
    Mistake(
        "wish-forgotten",
        "after a fall nobody knows what an operator wanted flat",
        _draw(A, "wish", "kill", "refused", "outage"),
        _with(EXECUTION, _forgets_wishes),
    ),
    Mistake(
        "first-levels",
        "a stop rests where the entry wanted it, not where the strategy moved it",
        AS_DRAWN,
        _part("_protection", _KeepsFirstLevels),
    ),
    _executing("halt-once", "execution looks at the halt once in its life", _RemembersOneHalt),
    Mistake(
        "withheld", "what a halt kept back at the start is sent", _draw(P, "brake"), _as(EXECUTION, _SendsWithheld)
    ),
    Mistake("away", "a strategy that was put away may open something", _draw(P, "brake"), _as(RISK, _KnowsNobodyAway)),
    _risk("expired", "an intent that is over is approved", _KnowsNoExpiry),
    _risk("bad-day", "a day that has lost too much goes on", _KnowsNoBadDay),
    Mistake("one-more", "one position more is let in than may be", AS_DRAWN, _with(RISK, _lets_one_more)),
    _risk("value-of-held", "the value of what was just approved counts for nothing", _CountsPositionsOnly),
    _risk("sells-more", "an exit is approved for more than is held", _ApprovesMore),
    _risk("leaks", "what was approved counts for ever", _LeaksReservations),
    _risk("lost-reservations", "after a fall risk does not count what it had approved", _LosesReservations),
    Mistake("day-anew", "after a fall the day begins anew", AS_DRAWN, _with(RISK, _begins_the_day)),
    Mistake("greenwich", "the day ends at Greenwich's midnight", AS_DRAWN, _with(RISK, _lives_in_greenwich)),
    Mistake(
        "paid-is-gained",
        "what is paid in counts as a gain of the day",
        AS_DRAWN,
        {},
        (Swap(actors.day_watch, "counted", _counted_as_gain),),
    ),
)

#: Mistakes that show within a few seeds under the faults that are best for them.
QUICK = frozenset({
    "always-wanted", "assumes-cancelled", "bar-twice", "barrier", "believes-at-once", "books-twice", "doubt-by-time",
    "doubt-unseen", "doubts-nothing", "drops-overtaken", "exit-beside-stop", "exits-halted", "halt-once",
    "halt-unseen", "hidden-fills", "late-is-final", "late-is-fine", "limits-forgotten", "lives-twice", "looks-once",
    "misses-nothing", "never-left", "no-fees", "no-margin", "no-reservations", "open-gate", "overfill", "paper-once",
    "parts-are-wholes", "refusal-of-repeat", "risk-doubt", "same-id-again", "sends-twice", "tries-unclear",
    "two-commits", "two-stops", "wrong-clock",
})  # fmt: skip
#: Mistakes that no run has shown so far: the desk has a second guard against them, or the judge does not see them.
ELUSIVE = frozenset({"id-of-this-life", "lost-reservations", "old-looks"})
