"""A strategy's room without its process: a market and an execution that answer it, a real store, and falls."""

import hashlib
import random
from collections import deque
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import msgspec
from typing_extensions import override

from actors.evaluator import Evaluator
from actors.makers import arguments_in_force
from actors.settings import StrategySettings
from actors.strategy import StrategyRoom
from actors.strategy_arguments import StrategyArguments
from actors.strategy_memory import Memory
from actors.topics import bar_topic
from actors.words import StrategyTurn
from desk.executions import fill_of
from desk.messages import (
    Bar,
    BarsGiven,
    BarsWanted,
    Effect,
    EventsGiven,
    EventsWanted,
    FillBooked,
    Intent,
    IntentJudged,
    JournalBody,
    JournalRecord,
    LevelsChanged,
    Order,
    OrderAccepted,
    OrderCancelled,
    OrderChanged,
    OrderFilled,
    OrderState,
    Purpose,
    VenueReport,
)
from desk.order import advance, course, order_from_judgement
from desk.portfolio import ClosedTrade
from desk.units import MINUTE_NS, ONE, ZERO
from runtime.bus_words import StreamItem
from runtime.effects import Effects
from runtime.log import Log
from runtime.store import Store
from runtime.words import RestartWanted, Turn
from strategies.base import Action, Decision, NoTrade, NoTradeCode, Signal, Strategy, View
from tests.runtime.fakes import HandClock

NAME = "lone"
SYMBOLS = ("SPY", "QQQ")
T0 = 1_704_724_200 * 1_000_000_000
STEPS_TO_SETTLE_MAX = 50


class ChroniclerParameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How often it buys (one in so many digests), and of which part it may be told while it holds something."""

    one_in: int = 3
    share: Decimal = Decimal("0.1")
    note: str = ""


class Chronicler(Strategy):
    """Digests every byte that it is told, and lets the digest decide: one byte of difference, and it trades otherwise."""

    Parameters: ClassVar[type[msgspec.Struct]] = ChroniclerParameters
    live_parameters: ClassVar[frozenset[str]] = frozenset({"note"})
    parameters: ChroniclerParameters

    @override
    def initialize(self) -> None:
        self.digest = ""
        self.told: list[str] = []
        self.flat_with: dict[str, bool] = {}

    def _take(self, what: str, *words: Any) -> None:
        said = b"".join(msgspec.msgpack.encode(word, order="deterministic") for word in words)
        self.digest = hashlib.blake2b(self.digest.encode() + what.encode() + said, digest_size=8).hexdigest()
        self.told.append(what)

    @override
    def on_order(self, order: Order) -> None:
        self._take("order", order)

    @override
    def on_fill(self, fill: FillBooked) -> None:
        self._take("fill", fill)

    @override
    def on_position_closed(self, trade: ClosedTrade) -> None:
        self._take("trade", trade)

    @override
    def on_parameters(self, before: ChroniclerParameters) -> None:
        self._take("parameters", before, self.parameters)

    @override
    def on_missed_bar(self, bar: Bar, view: View) -> None:
        self._take("missed", bar, view)

    @override
    def on_bar(self, bar: Bar, view: View) -> Decision:
        self._take("bar", bar, view, self.parameters)
        is_flat = not (view.positions or view.entry_pending or view.exit_pending)
        self.flat_with.setdefault(str(self.parameters.one_in), is_flat)
        number = int(self.digest, 16)
        held = view.position(bar.symbol)
        if bar.symbol in view.exit_pending or bar.symbol in view.entry_pending:
            return NoTrade(NoTradeCode.ENTRY_PENDING)
        if held is not None and number % 3 == 0:
            return (Signal(symbol=bar.symbol, action=Action.CLOSE, tag=held.tag),)
        if number % self.parameters.one_in:
            return NoTrade(NoTradeCode.NO_SIGNAL)
        stop = Decimal(str(bar.close)) * Decimal("0.99")
        tag = f"t{number % 2}"
        return (Signal(symbol=bar.symbol, action=Action.BUY, quantity=ONE, stop_loss=stop, tag=tag),)

    @override
    def get_state(self) -> dict[str, Any]:
        return {"digest": self.digest, "told": self.told, "flat_with": self.flat_with}

    @override
    def load_state(self, state: dict[str, Any]) -> None:
        self.digest, self.told, self.flat_with = state["digest"], list(state["told"]), dict(state["flat_with"])


class Outcome(NamedTuple):
    """What a run came to: the intents in order, and the strategy's own record of all that it was told."""

    intents: list[bytes]
    state: dict[str, Any]
    facts: dict[str, Any]


class Lone:
    """Feeds one strategy's room as the desk does. ``fall`` is a kill: what was not committed is gone."""

    def __init__(
        self,
        folder: Path,
        seed: int,
        *,
        is_stepped: bool,
        kind: type[Strategy] = Chronicler,
        parameters: msgspec.Struct | None = None,
        hears_strays: bool = False,
    ) -> None:
        """Start the room on a fresh store. All chance follows from the seed and from what is decided upon.

        With ``hears_strays`` it also hears answers that are late, and such as its predecessor had asked for.
        """
        self.folder, self._seed, self._is_stepped = folder, seed, is_stepped
        self.kind, self.parameters = kind, parameters if parameters is not None else ChroniclerParameters()
        self.timeframe = "1m"
        self.symbols: tuple[str, ...] = SYMBOLS
        self.unknown: dict[str, Any] = {}
        self.module = "chronicler"
        self.code = ""
        self.flat_at = -1
        self._chance = random.Random(seed)
        self.clock = HandClock()
        self._bars: list[Bar] = []
        self.journal: list[JournalRecord] = []
        self._foreign = 0
        self._orders: dict[str, Order] = {}
        self._intents: dict[str, Intent] = {}
        self._due: dict[int, list[tuple[str, int, str]]] = {}
        self._step = 0
        self._report = 0
        self._epoch = 0
        self._last_own = 0
        self._hears_strays = hears_strays
        self.store: Store | None = None
        self.start()

    # --- life ---------------------------------------------------------------------------------

    def start(self) -> None:
        """Make the process anew; its store is what the last one left."""
        self._epoch += 1
        self.store = Store.open(self.folder / "store", is_synced=False, map_bytes=64 << 20)
        started_with = self.told()
        told = arguments_in_force(Memory(self.store, ""), started_with)
        self.evaluator = Evaluator(self.kind, told, self._epoch, self.store, Log("strategies/lone"))
        self.room = StrategyRoom(self.evaluator, told, self.clock, started_with if told is not started_with else None)
        self.wants_restart = False
        self._posts: deque[Any] = deque()
        self._linked: set[str] = set()
        self._carry_out(self.room.recover())
        self._confirm()
        if self._is_stepped:
            self._link("market_data")
        self._stray()
        self._answer()

    def _confirm(self) -> None:
        """Say the heads of the streams to which it listens."""
        self._last_own = self.journal[-1].sequence if self.journal else 0
        own = StreamItem(NAME, self._last_own, self._last_own, None, has_memory=True)
        self._carry_out(self.room.hear_stream("execution", own, None))
        for symbol in self.symbols:
            last = max((bar.sequence for bar in self._bars if bar.symbol == symbol), default=0)
            head = StreamItem(bar_topic(symbol, self.timeframe), len(self._bars), last, None, has_memory=True)
            self._carry_out(self.room.hear_stream("market_data", head, None))

    def _link(self, peer: str) -> None:
        self._linked.add(peer)
        self._carry_out(self.room.connected(peer))

    def _stray(self) -> None:
        """Let what a predecessor asked for last be answered, and then what it asked for first."""
        if not (self._hears_strays and self.journal and self._bars):
            return
        last, bar = self.journal[-1], self._bars[-1]
        words = (
            ("execution", EventsGiven(NAME, last.sequence - 1, (last,), last.sequence, is_complete=True)),
            ("execution", EventsGiven(NAME, 0, (), 0, is_complete=True)),
            (
                "market_data",
                BarsGiven(
                    bar.symbol, self.timeframe, bar.sequence - 1, (bar,), bar.sequence, is_complete=True, market_ns=0
                ),
            ),
        )
        for peer, word in words:
            self._carry_out(self.room.hear(peer, 1, word))

    def told(self) -> StrategyArguments:
        """Give the arguments that the configuration wants now."""
        entry = StrategySettings(
            name=NAME,
            symbols=self.symbols,
            strategy=self.module,
            timeframe=self.timeframe,
            parameters=msgspec.to_builtins(self.parameters) | self.unknown,
            flat_at=self.flat_at,
        )
        return StrategyArguments(entry, Decimal(10_000), self._is_stepped, "", self.code)

    def reconfigure(self) -> None:
        """Tell the running room what the configuration wants now."""
        self._carry_out(self.room.reconfigured(msgspec.msgpack.encode(self.told())))
        self._answer()

    def fall(self) -> None:
        """End the process as a kill does, and start its successor."""
        self.close()
        self.start()

    def close(self) -> None:
        """Close the store."""
        assert self.store is not None, "it was never started"
        self.store.close()

    # --- the step -----------------------------------------------------------------------------

    def step(self, fall: str = "") -> None:
        """Let one bar come, with the own news before it.

        Args:
            fall: "" for none; ``before`` the news, ``heard`` (news and bar are heard, nothing is kept),
                ``uncommitted`` (it has decided, and nothing is kept), ``unsent`` (kept, and nothing left).
        """
        self._step += 1
        if fall == "before":
            self.fall()
        news = self._happen()
        bar = self._next_bar()
        for record in news:
            self._tell(record)
        if fall == "heard":
            self.fall()
        topic = bar_topic(bar.symbol, self.timeframe)
        previous = max((b.sequence for b in self._bars[:-1] if b.symbol == bar.symbol), default=0)
        item = StreamItem(topic, bar.sequence, previous, b"", has_memory=True)
        effects = self.room.hear_stream("market_data", item, bar)
        turn = Turn(self._step, 2, bar.end_ns, b"")
        offer = StrategyTurn((bar.sequence,), None, bar.journal_sequence, self._last_own)
        if self._is_stepped:
            effects.add(self.room.begin(turn, offer))
        if fall == "uncommitted":
            self.fall()
            effects = self.room.begin(turn, offer) if self._is_stepped else Effects()
        elif fall == "unsent":
            self._commit(effects)
            self.fall()
            effects = self.room.begin(turn, offer) if self._is_stepped else Effects()
        self._carry_out(effects)
        self._settle(turn, bar)

    def _settle(self, turn: Turn, bar: Bar) -> None:
        def is_done() -> bool:
            is_over = self.room.settle(turn) is not None if self._is_stepped else True
            return is_over and self.evaluator.last[bar_topic(bar.symbol, self.timeframe)] >= bar.sequence

        self._work_until(is_done)

    def _work_until(self, is_done: Callable[[], bool]) -> None:
        """Answer whatever it asks, and let it ask again, until something has come about."""
        for _ in range(STEPS_TO_SETTLE_MAX):
            self._answer()
            if is_done():
                return
            self._carry_out(self.room.timer("ask"))
        msg = f"step {self._step} does not come to its end"
        raise AssertionError(msg)

    def offer_what_is_none_of_its_own(self) -> None:
        """Give it a turn with a bar of another symbol: one that was begun while another strategy bore its name."""
        self._step += 1
        bar = self._next_bar()
        while bar.symbol in self.symbols:
            bar = self._next_bar()
        turn = Turn(self._step, 2, bar.end_ns, b"")
        offer = StrategyTurn((bar.sequence,), None, bar.journal_sequence, self._last_own)
        self._carry_out(self.room.begin(turn, offer))
        self._work_until(lambda: self.room.settle(turn) is not None)

    def outcome(self) -> Outcome:
        """Say what it came to."""
        kept = self.evaluator._strategy.get_state()
        facts = self.evaluator.facts()
        return Outcome([msgspec.msgpack.encode(_of_no_epoch(i)) for i in self._intents.values()], kept, facts)

    def lose_records(self, count: int) -> None:
        """Take the last records out of the journal, and with them every bar's word that they had been there."""
        del self.journal[-count:]
        head = self._last_own = self.journal[-1].sequence
        self._bars = [
            msgspec.structs.replace(bar, journal_sequence=min(bar.journal_sequence, head)) for bar in self._bars
        ]

    # --- market and execution -------------------------------------------------------------------

    def _next_bar(self) -> Bar:
        number = len(self._bars)
        close = 100.0 + self._chance.random() * 5
        ts_ns = T0 + number * 17 * MINUTE_NS  # so that days change too
        head = self.journal[-1].sequence if self.journal else 0
        bar = Bar(
            SYMBOLS[number % 2], self.timeframe, ts_ns, ts_ns + MINUTE_NS, close, close + 1, close - 1, close, 10.0,
            sequence=number + 1, journal_sequence=head if self._is_stepped else 0,
        )  # fmt: skip
        self._bars.append(bar)
        return bar

    def _happen(self) -> list[JournalRecord]:
        """Let everything happen to the orders that is due before the next bar."""
        begin = len(self.journal)
        for intent_id, number, what in self._due.pop(self._step, []):
            self._act(intent_id, number, what)
        return self.journal[begin:]

    def _act(self, intent_id: str, number: int, what: str) -> None:
        self._report += 1
        ts_ns = T0 + self._step * 17 * MINUTE_NS - 1
        if what == "levels":
            intent = self._intents[intent_id]
            key = (NAME, intent.symbol, intent.tag)
            self._write(LevelsChanged(*key, Decimal("90.5"), Decimal("120.25"), ts_ns))
            return
        order = self._orders.get(intent_id)
        if order is None:
            intent = self._intents[intent_id]
            purpose = Purpose.ENTRY if intent.effect is Effect.OPEN else Purpose.EXIT
            reasons: tuple[str, ...] = ("LIMIT: too much",) if what == "reject" else ()
            quantity = intent.quantity or ONE
            judged = IntentJudged(f"o{len(self._orders)}", intent, ZERO if reasons else quantity, reasons, ts_ns)
            order = order_from_judgement(judged, purpose, ts_ns=ts_ns)
            self._change(intent_id, order, "")
            if what == "reject":
                self._change(
                    intent_id, advance(order, OrderState.REJECTED, ts_ns=ts_ns, reason="; ".join(reasons)), "PENDING"
                )
            return
        left = order.quantity - order.filled_quantity
        part = left if what == "fill" else (left / 3).quantize(Decimal("0.0001"))
        price = Decimal(100) + Decimal(number) / 7
        report: VenueReport
        if what == "accept":
            report = OrderAccepted(self._report, order.order_id, f"v{order.order_id}", ts_ns)
        elif what == "cancel":
            report = OrderCancelled(self._report, order.order_id, "VENUE", is_expired=False, ts_ns=ts_ns)
        else:
            fee = price * part / 10_000
            execution = f"{order.order_id}/{self._report}"
            report = OrderFilled(
                self._report,
                order.order_id,
                execution,
                part,
                price,
                fee,
                is_maker=False,
                leaves=left - part,
                ts_ns=ts_ns,
            )
            self._write(fill_of(order, report, "", ""))
        previous = order
        for changed in course(order, report):
            self._change(intent_id, changed, previous.state.value)
            previous = changed

    def _change(self, intent_id: str, order: Order, previous: str) -> None:
        self._orders[intent_id] = order
        self._write(OrderChanged(order, previous, "venue", order.changed_ns))

    def _write(self, body: JournalBody) -> None:
        """Add an own record; others' records lie between."""
        last = self.journal[-1].sequence if self.journal else 0
        self.journal.append(JournalRecord(last + 1 + self._report % 3, 0, body))

    def _tell(self, record: JournalRecord) -> None:
        item = StreamItem(NAME, record.sequence, self._last_own, b"", has_memory=True)
        self._last_own = record.sequence
        self._carry_out(self.room.hear_stream("execution", item, record))

    def _plan(self, intent: Intent) -> None:
        """Say once what becomes of an intent; it follows from the intent alone."""
        chance = random.Random(f"{self._seed} {intent.intent_id}")
        ways = (
            ("reject",),
            ("open", "accept", "fill"),
            ("open", "accept", "part", "fill", "levels"),
            ("open", "accept", "part", "cancel"),
        )
        at = self._step + 1
        for what in chance.choice(ways):
            self._due.setdefault(at, []).append((intent.intent_id, chance.randrange(70), what))
            at += chance.randrange(4)

    # --- carrying out -------------------------------------------------------------------------

    def _commit(self, effects: Effects) -> None:
        assert self.store is not None, "it was never started"
        if effects.writes:
            self.store.commit(effects.writes)

    def _carry_out(self, effects: Effects) -> None:
        self._commit(effects)
        self._posts.extend(post.word for post in effects.posts)

    def _answer(self) -> None:
        while self._posts:
            word = self._posts.popleft()
            peer = _PEERS.get(type(word), "")
            if peer and peer not in self._linked:  # such a question is lost: the link comes with it
                self._link(peer)
            elif isinstance(word, Intent):
                if word.intent_id not in self._intents:
                    self._intents[word.intent_id] = word
                    self._plan(word)
                else:
                    assert _of_no_epoch(self._intents[word.intent_id]) == _of_no_epoch(word)
            elif isinstance(word, RestartWanted):
                self.wants_restart = True
            elif isinstance(word, EventsWanted):
                records = tuple(r for r in self.journal if r.sequence > word.after)[:5]
                head = self.journal[-1].sequence if self.journal else 0
                is_complete = not records or records[-1].sequence == head
                self._last_own = max(self._last_own, head if is_complete else 0)
                given = EventsGiven(NAME, word.after, records, head, is_complete)
                self._carry_out(self.room.hear("execution", 1, given))
            elif isinstance(word, BarsWanted):
                mine = [b for b in self._bars if b.symbol == word.symbol and b.sequence > word.after]
                now_ns = self._bars[-1].end_ns if self._bars else 0
                bars = tuple(mine[:4])
                given = BarsGiven(
                    word.symbol, word.timeframe, word.after, bars, len(self._bars), len(mine) <= 4, now_ns
                )
                self._carry_out(self.room.hear("market_data", 1, given))


_PEERS = {EventsWanted: "execution", BarsWanted: "market_data"}


def _of_no_epoch(intent: Intent) -> Intent:
    return msgspec.structs.replace(intent, epoch=0)
