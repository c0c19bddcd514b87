"""One strategy in its own process: bars and own events in, intents out, its state kept before they leave."""

from collections import Counter, deque
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import msgspec
from typing_extensions import override

from actors.calendar import NewYork
from actors.own_book import OwnBook
from actors.signal_door import intent_of, malformed
from actors.topics import bar_topic
from actors.words import Joined, StrategyTurn
from desk.messages import (
    Bar,
    BarsGiven,
    BarsWanted,
    EventsGiven,
    EventsWanted,
    Intent,
    JournalRecord,
    OrderChanged,
    Tick,
)
from desk.units import NS_PER_MS, NS_PER_S
from runtime.bus_words import StreamItem
from runtime.clock import Clock
from runtime.codec import Codec
from runtime.effects import Effects
from runtime.room import Room
from runtime.store import Store
from runtime.words import Turn
from strategies.base import Decision, NoTrade, NoTradeCode, Strategy

#: How long an intent is good for, in market time.
INTENT_TTL_NS = 90 * NS_PER_S
#: How long a question or a missing item goes unanswered before it is asked (again).
ASK_AGAIN_NS = 100 * NS_PER_MS


class _Kept(msgspec.Struct, frozen=True, array_like=True):
    """What one transaction keeps for each evaluated bar."""

    last: dict[str, int]
    journal_sequence: int
    state: dict[str, Any]
    pending: tuple[Intent, ...]
    why_not: dict[str, int]
    counters: dict[str, int]
    last_tick_ns: int


class StrategyRoom(Room):
    """Feeds one strategy exactly once with each bar, in order, after its own events up to that bar.

    A bar that the market's step does not offer any more is taken in without trading. After a fall the bar that was
    being evaluated is evaluated again, from the state before it, and yields the same intents.
    """

    def __init__(  # noqa: PLR0913 - a room's constructor takes its world
        self,
        *,
        strategy: Strategy,
        balance: Decimal,
        epoch: int,
        store: Store,
        codec: Codec,
        clock: Clock,
        is_stepped: bool,
    ) -> None:
        """Take a strategy that was just made; ``recover`` gives it its state back."""
        self._strategy, self._name = strategy, strategy.instance.name
        self._epoch, self._store, self._codec, self._clock = epoch, store, codec, clock
        self._is_stepped = is_stepped
        self._book = OwnBook(balance, NewYork())
        self._topics = {bar_topic(symbol, strategy.instance.timeframe): symbol for symbol in strategy.instance.symbols}
        self._last = dict.fromkeys(self._topics, 0)
        self._heard = dict.fromkeys(self._topics, 0)
        self._bars: dict[int, Bar] = {}
        self._missed: set[int] = set()
        self._pending: dict[str, Intent] = {}
        self._why_not: Counter[str] = Counter()
        self._counters: Counter[str] = Counter()
        self._last_tick_ns = 0
        self._kept_sequence = 0
        self._events: deque[JournalRecord] = deque()
        self._events_upto = -1
        self._events_last = 0
        self._bars_asked: set[str] = set(self._topics)
        self._turn: Turn | None = None
        self._offer: StrategyTurn | None = None
        self._has_joined = False
        self._is_armed = False

    # --- life ---------------------------------------------------------------------------------

    @override
    def recover(self) -> Effects:
        effects = Effects()
        data = self._store.get("kept", b"now")
        if data is not None:
            kept = msgspec.msgpack.decode(data, type=_Kept)
            self._last |= {topic: sequence for topic, sequence in kept.last.items() if topic in self._topics}
            self._heard = dict(self._last)
            self._kept_sequence = kept.journal_sequence
            self._strategy.load_state(kept.state)
            self._why_not, self._counters = Counter(kept.why_not), Counter(kept.counters)
            self._last_tick_ns = kept.last_tick_ns
            for intent in kept.pending:
                self._pending[intent.intent_id] = intent
                effects.post("risk", intent)
        return effects

    @override
    def stopping(self) -> Effects:
        self._strategy.shutdown()
        return Effects()

    @override
    def facts(self) -> dict[str, Any]:
        book = self._book
        return {
            "signals_generated": self._counters["signals"],
            "orders_sent": self._counters["intents"],
            "ticks_processed": self._counters["ticks"],
            "bars_evaluated": self._counters["bars"],
            "bars_missed": self._counters["missed"],
            "malformed_signals": self._counters["malformed"],
            "last_tick_ns": self._last_tick_ns,
            "last_bars": dict(self._last),
            "why_not": dict(self._why_not),
            "pnl_day": str(book.day_pnl),
            "pnl": str(book.total_pnl),
            "position": {p.symbol: str(p.quantity) for p in book.positions},
            "intents_waiting": len(self._pending),
        }

    @override
    def connected(self, peer: str) -> Effects:
        effects = Effects()
        if peer == "execution":
            self._ask_events(effects)
        elif peer == "market_data":
            self._has_joined = False
            self._bars_asked = set(self._topics)
            self._ask_bars(effects)
        self._look_after(effects)
        return effects

    @override
    def timer(self, name: str) -> Effects:
        effects = Effects()
        self._is_armed = False
        if self._events_upto < 0 or self._is_behind():
            self._ask_events(effects)
        if self._is_missing_bar():
            self._bars_asked = set(self._topics)
        self._ask_bars(effects)
        self._look_after(effects)
        return effects

    def _look_after(self, effects: Effects) -> None:
        """Ask again later where something is awaited; a strategy that has all it needs sleeps."""
        awaits = self._events_upto < 0 or self._bars_asked or self._is_behind() or self._is_missing_bar()
        if awaits and not self._is_armed:
            self._is_armed = True
            effects.timer("ask", self._clock.monotonic_ns() + ASK_AGAIN_NS)

    # --- hearing ------------------------------------------------------------------------------

    @override
    def hear(self, peer: str, epoch: int, word: Any) -> Effects:
        effects = Effects()
        if isinstance(word, EventsGiven) and peer == "execution":
            self._take_events(word.records)
            if word.is_complete:
                self._events_upto = max(self._events_upto, word.head)
            else:
                self._ask_events(effects)
        elif isinstance(word, BarsGiven) and peer == "market_data":
            self._take_bars(word, effects)
        self._go_on(effects)
        return effects

    @override
    def hear_stream(self, peer: str, item: StreamItem, word: Any) -> Effects:
        effects = Effects()
        if peer == "execution":
            self._hear_own(item, word, effects)
        elif not item.has_memory:
            self._hear_tick(item, word, effects)
        elif item.topic in self._topics:
            self._hear_bar(item, word, effects)
        self._go_on(effects)
        return effects

    def _hear_own(self, item: StreamItem, record: Any, effects: Effects) -> None:
        """Take own records as they come; a gap is asked for."""
        last = item.previous if record is None else item.sequence
        if isinstance(record, JournalRecord) and item.previous <= self._events_last:
            self._take_events((record,))
        if self._events_last >= last:
            self._events_upto = max(self._events_upto, item.sequence) if self._events_upto >= 0 else -1
        elif self._events_upto >= 0:
            self._ask_events(effects)

    def _hear_bar(self, item: StreamItem, bar: Any, effects: Effects) -> None:
        heard = self._heard[item.topic]
        last = item.previous if bar is None else item.sequence
        if isinstance(bar, Bar) and item.previous <= heard < bar.sequence:
            self._bars[bar.sequence] = bar
            self._heard[item.topic] = bar.sequence
        elif last > heard:
            self._bars_asked.add(item.topic)
            self._ask_bars(effects)

    def _hear_tick(self, item: StreamItem, event: Any, effects: Effects) -> None:
        self._counters["ticks"] += 1
        self._last_tick_ns = event.ts_ns
        if isinstance(event, Tick) and self._strategy.wants_ticks and not self._is_stepped and self._has_caught_up():
            self._apply_events(None)
            self._evaluate_tick(event, item.sequence, event.ts_ns, effects)

    def _take_events(self, records: Iterable[JournalRecord]) -> None:
        for record in records:
            if record.sequence > self._events_last:
                self._events_last = record.sequence
                self._events.append(record)

    def _take_bars(self, given: BarsGiven, effects: Effects) -> None:
        topic = bar_topic(given.symbol, given.timeframe)
        if topic not in self._topics:
            return
        for bar in given.bars:
            if bar.sequence > self._last[topic]:
                self._bars[bar.sequence] = bar
                self._heard[topic] = max(self._heard[topic], bar.sequence)
                if bar.end_ns + INTENT_TTL_NS <= given.market_ns:
                    self._missed.add(bar.sequence)
        if given.is_complete:
            self._bars_asked.discard(topic)
        else:
            self._ask_bars(effects)

    def _ask_events(self, effects: Effects) -> None:
        effects.post("execution", EventsWanted(self._name, self._events_last), is_sure=False, is_gated=False)

    def _ask_bars(self, effects: Effects) -> None:
        for topic in sorted(self._bars_asked):
            wanted = BarsWanted(self._topics[topic], self._strategy.instance.timeframe, self._heard[topic], 500)
            effects.post("market_data", wanted, is_sure=False, is_gated=False)

    # --- turns --------------------------------------------------------------------------------

    @override
    def begin(self, turn: Turn, payload: Any) -> Effects:
        effects = Effects()
        assert isinstance(payload, StrategyTurn), "a strategy's turn offers bars or a tick"
        self._turn, self._offer = turn, payload
        self._go_on(effects)
        return effects

    @override
    def settle(self, turn: Turn) -> bytes | None:
        return b"" if self._turn is None else None

    def _has_caught_up(self) -> bool:
        return self._events_upto >= 0 and not self._bars_asked

    def _is_behind(self) -> bool:
        return self._offer is not None and self._events_last < self._offer.own_last

    def _is_missing_bar(self) -> bool:
        """Say whether a bar of the offer is neither here nor evaluated before."""
        if self._offer is None:
            return False
        newest = max(self._last.values())
        return any(sequence not in self._bars and sequence > newest for sequence in self._offer.bars)

    def _go_on(self, effects: Effects) -> None:
        """Evaluate what can be evaluated now."""
        self._look_after(effects)
        if not self._has_caught_up():
            return
        if not self._is_stepped:
            for sequence in sorted(self._bars):
                self._apply_events(None)
                self._evaluate_bar(self._bars.pop(sequence), effects, is_live=sequence not in self._missed)
                self._missed.discard(sequence)
            return
        if not self._has_joined:
            self._has_joined = True
            effects.post("market_data", Joined(), is_gated=False)
        offer, turn = self._offer, self._turn
        if turn is None or offer is None or self._is_behind() or self._is_missing_bar():
            return
        self._turn = self._offer = None
        newest = max(offer.bars, default=0)
        for sequence in sorted(sequence for sequence in self._bars if sequence <= newest):
            bar = self._bars.pop(sequence)
            self._apply_events(bar.journal_sequence)
            self._evaluate_bar(bar, effects, is_live=sequence in offer.bars)
        if offer.tick is not None and self._counters["last_tick_step"] < turn.step:
            self._counters["last_tick_step"] = turn.step
            self._apply_events(offer.journal_head)
            self._evaluate_tick(offer.tick, turn.step, turn.market_ns, effects)

    def _apply_events(self, upto: int | None) -> None:
        """Take own events into the book, and tell the strategy of those it has not heard before."""
        while self._events and (upto is None or self._events[0].sequence <= upto):
            record = self._events.popleft()
            is_news = record.sequence > self._kept_sequence
            if isinstance(record.body, OrderChanged):
                self._pending.pop(record.body.order.intent_id, None)
            self._book.take(record.body, self._strategy if is_news else None)
            if is_news:
                self._kept_sequence = record.sequence

    # --- evaluating ---------------------------------------------------------------------------

    def _evaluate_bar(self, bar: Bar, effects: Effects, *, is_live: bool) -> None:
        self._book.mark(bar.symbol, bar.close)
        view = self._book.view(bar.ts_ns, self._pending.values())
        if is_live:
            decision: Decision = self._strategy.on_bar(bar, view)
            self._counters["bars"] += 1
        else:
            self._strategy.on_missed_bar(bar, view)
            decision = NoTrade(NoTradeCode.MISSED_BAR)
            self._counters["missed"] += 1
        self._last[bar_topic(bar.symbol, bar.timeframe)] = bar.sequence
        self._carry(decision, bar.timeframe, bar.ts_ns, bar.end_ns, bar.sequence, effects)

    def _evaluate_tick(self, tick: Tick, number: int, market_ns: int, effects: Effects) -> None:
        self._book.mark(tick.symbol, tick.price)
        decision = self._strategy.on_tick(tick, self._book.view(tick.ts_ns, self._pending.values()))
        if decision is not None:
            self._carry(decision, f"tick{number}", tick.ts_ns, market_ns, 0, effects)

    def _carry(
        self, decision: Decision, timeframe: str, ts_ns: int, decided_ns: int, sequence: int, effects: Effects
    ) -> None:
        """Turn signals into intents, keep everything in one transaction, then send."""
        intents: list[Intent] = []
        if isinstance(decision, NoTrade):
            self._why_not[decision.code] += 1
        else:
            for number, signal in enumerate(decision):
                self._counters["signals"] += 1
                fault = malformed(signal, self._strategy.instance.symbols)
                if fault:
                    self._counters["malformed"] += 1
                    self._why_not[NoTradeCode.MALFORMED_SIGNAL] += 1
                    continue
                intents.append(
                    intent_of(
                        signal,
                        strategy=self._strategy,
                        place=(timeframe, ts_ns, number),
                        reference_price=self._book.mark_of(signal.symbol),
                        position=self._book.held(signal),
                        decided_ns=decided_ns,
                        expires_ns=decided_ns + INTENT_TTL_NS,
                        epoch=self._epoch,
                        bar_sequence=sequence,
                    )
                )
        for intent in intents:
            self._counters["intents"] += 1
            self._pending[intent.intent_id] = intent
            effects.post("risk", intent)
        self._keep(effects)

    def _keep(self, effects: Effects) -> None:
        kept = _Kept(
            dict(self._last),
            self._kept_sequence,
            self._strategy.get_state(),
            tuple(self._pending.values()),
            dict(self._why_not),
            dict(self._counters),
            self._last_tick_ns,
        )
        effects.put("kept", b"now", msgspec.msgpack.encode(kept))
