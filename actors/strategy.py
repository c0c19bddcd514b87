"""One strategy in its own process: bars and own events in, intents out, its state kept before they leave."""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

from typing_extensions import override

from actors.evaluator import INTENT_TTL_NS, Evaluator
from actors.strategy_arguments import StrategyArguments, read_arguments, whole_change
from actors.topics import bar_topic
from actors.words import Joined, StrategyTurn
from desk.messages import (
    Bar,
    BarsGiven,
    BarsWanted,
    EventsGiven,
    EventsWanted,
    JournalRecord,
    Tick,
)
from desk.units import NS_PER_MS
from runtime.bus_words import StreamItem
from runtime.clock import Clock
from runtime.effects import Effects
from runtime.room import Room
from runtime.words import RestartWanted, Turn

#: How long a question or a missing item goes unanswered before it is asked (again); twice as long each time, up to
#: the most.
ASK_AGAIN_NS = 100 * NS_PER_MS
ASK_AGAIN_NS_MAX = 1600 * NS_PER_MS
#: How long one that was started for an entry that it is not waits for the restart that it asks for. Root grants one for
#: each entry, and may have granted it.
LEAVE_NS = 5000 * NS_PER_MS
#: How long the heads of the streams may fail to come before it asks without them. They come with the connection;
#: whoever sends them may come up last, and a thousand wait.
HEADS_NS = 30_000 * NS_PER_MS
#: Bars that are evaluated in one turn of the loop. Of a year there are hundred thousands: more than a turn's processor
#: time is good for, and than memory holds of what is to be kept.
BARS_AT_ONCE_MAX = 500
#: For how long bars are evaluated one behind another before the turn ends: each may take long, and a turn may not.
WORK_NS = 100 * NS_PER_MS
#: A pause between two bars from which on that time begins anew.
REST_NS = 10 * NS_PER_MS
#: The timer by which it goes on with the rest.
BARS_LEFT = "bars"


class EntryChangedError(Exception):
    """The entry became another strategy while the desk was down or this process was; the text says which."""


class StrategyRoom(Room):
    """Feeds one strategy exactly once with each bar, in order, after its own events up to that bar.

    A bar that the market's step does not offer any more is taken in without trading. After a fall it goes on from what
    was kept. The head of each stream, which comes as the subscription's confirmation, says whether there are bars or
    own records behind that; only then it asks for them, so one that missed nothing speaks to nobody.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        told: StrategyArguments,
        clock: Clock,
        later: StrategyArguments | None = None,
        *,
        is_recorded: bool = False,
    ) -> None:
        """Take a strategy with its memory; ``recover`` lets it remember.

        ``told`` are the arguments in force; ``later`` those that the process was started with, where they are another
        strategy's and this one must first leave what it holds. What is recorded does on each word what a replay of
        the record will, so no clock decides how much that is.
        """
        self._is_recorded = is_recorded
        self._evaluator, self._clock, self._told, self._is_stepped = evaluator, clock, told, told.is_stepped
        self._name, self._timeframe = told.entry.name, told.entry.timeframe
        self._topics = {bar_topic(symbol, self._timeframe): symbol for symbol in told.entry.symbols}
        self._leaves_for = "" if later is None else whole_change(told, later)
        self._may_ask_for_restart = False
        self._has_asked_for_restart = False
        self._turn: Turn | None = None
        self._offer: StrategyTurn | None = None
        self._has_joined = False
        self._is_armed = False
        self._awaits_heads = False
        self._is_pausing = False
        self._ask_again_ns = ASK_AGAIN_NS
        self._worked_since_ns = self._worked_until_ns = 0
        self._start_over()

    def _start_over(self) -> None:
        """Know nothing but what the evaluator remembers."""
        self._heard = dict(self._evaluator.last)
        #: Of each topic: up to where market data has said that it has no other bar.
        self._known_to = dict(self._heard)
        #: Where this life's own questions begin; what answers an earlier one was asked for by a predecessor.
        self._bars_from = dict(self._heard)
        self._bars: dict[int, Bar] = {}
        self._missed: set[int] = set()
        self._events: deque[JournalRecord] = deque()
        self._events_upto = -1
        self._events_from = self._events_last = self._evaluator.journal_sequence
        #: The newest own record of which the stream has told, whether it is here or not.
        self._events_known = 0
        self._has_asked_events = False
        self._bars_asked: set[str] = set()
        #: Topics of bars of which it is not known yet whether anything is missing.
        self._unheard: set[str] = set(self._topics)

    # --- life ---------------------------------------------------------------------------------

    @override
    def recover(self) -> Effects:
        effects = Effects()
        self._evaluator.recall(effects)
        self._start_over()
        self._awaits_heads = True
        effects.timer("heads", self._clock.monotonic_ns() + HEADS_NS)
        return effects

    @override
    def stopping(self) -> Effects:
        self._evaluator.shutdown()
        return Effects()

    @override
    def facts(self) -> dict[str, Any]:
        return {**self._evaluator.facts(), "waits_to_become": self._leaves_for}

    @override
    def reconfigured(self, arguments: bytes) -> Effects:
        """Take other parameters as soon as they may hold; become another strategy once this one is flat."""
        effects = Effects()
        told = read_arguments(arguments)
        self._leaves_for = whole_change(self._told, told)
        self._may_ask_for_restart = True
        if self._leaves_for:
            self._leave(effects)
        else:
            self._told = told
            self._evaluator.want(told)
        return effects

    def _leave(self, effects: Effects) -> None:
        """Make room for the strategy that this entry has become, as soon as nothing is held."""
        if self._has_asked_for_restart or not self._evaluator.is_flat:
            return
        self._has_asked_for_restart = True
        effects.post("root", RestartWanted(self._leaves_for), is_gated=False)
        if not self._may_ask_for_restart:
            effects.timer("leave", self._clock.monotonic_ns() + LEAVE_NS)

    @override
    def connected(self, peer: str) -> Effects:
        effects = Effects()
        if peer == "execution":
            self._ask_events(effects)
        elif peer == "market_data":
            self._has_joined = False
            self._ask_bars(self._topics, effects)
        self._is_armed, self._ask_again_ns = False, ASK_AGAIN_NS
        self._look_after(effects)
        return effects

    @override
    def timer(self, name: str) -> Effects:
        """Ask again, go on with the bars that are left, or leave.

        Raises:
            EntryChangedError: It leaves, and a restart in good order is not to be had: this process falls, and its
                successor is the other strategy.
        """
        if name == "leave":
            raise EntryChangedError(self._leaves_for)
        effects = Effects()
        if name == "heads":
            if self._events_upto < 0:
                self._ask_events(effects)
            self._ask_bars(self._unheard, effects)
        elif name == BARS_LEFT:
            self._is_pausing = False
            self._worked_since_ns = self._clock.monotonic_ns()
            self._go_on(effects)
        else:
            self._is_armed = False
            if self._has_asked_events or self._is_behind():
                self._ask_events(effects)
            self._ask_bars(self._topics if self._is_missing_bar() else self._bars_asked, effects)
        self._look_after(effects)
        return effects

    def _look_after(self, effects: Effects) -> None:
        """Ask again later where something is awaited; a strategy that has all it needs sleeps."""
        if not (self._has_asked_events or self._bars_asked or self._is_behind() or self._is_missing_bar()):
            self._ask_again_ns = ASK_AGAIN_NS
        elif not self._is_armed:
            self._is_armed = True
            effects.timer("ask", self._clock.monotonic_ns() + self._ask_again_ns)
            self._ask_again_ns = min(2 * self._ask_again_ns, ASK_AGAIN_NS_MAX)

    # --- hearing ------------------------------------------------------------------------------

    @override
    def hear(self, peer: str, epoch: int, word: Any) -> Effects:
        effects = Effects()
        if isinstance(word, EventsGiven) and peer == "execution":
            self._hear_events(word, effects)
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

    def _hear_events(self, given: EventsGiven, effects: Effects) -> None:
        if not self._events_from <= given.after <= self._events_last:  # it answers a predecessor
            return
        if given.head < given.after:  # an answer that is merely late was asked for before those records were known
            known = self._evaluator.journal_sequence
            if given.head < known:
                self._evaluator.leave_aside(f"it knows record {known} of a journal that ends at {given.head}", effects)
            self._start_over()
            self._ask_events(effects)
            self._ask_bars(self._topics, effects)
            return
        self._take_events(given.records)
        if given.is_complete and self._events_last < self._events_known:
            return  # a predecessor asked for it, before there were those records; our own question is under way
        if given.is_complete:
            self._events_upto = max(self._events_upto, given.head)
            self._has_asked_events = False
        else:
            self._ask_events(effects)

    def _hear_own(self, item: StreamItem, record: Any, effects: Effects) -> None:
        """Take own records as they come; a gap is asked for, and at first the head says whether there is one."""
        last = item.previous if record is None else item.sequence
        self._events_known = max(self._events_known, last)
        if isinstance(record, JournalRecord) and item.previous <= self._events_last:
            self._take_events((record,))
        if self._events_upto >= 0:
            if self._events_last >= last:
                self._events_upto = max(self._events_upto, item.sequence)
            else:
                self._ask_events(effects)
        elif record is None and not self._has_asked_events:
            if last <= self._events_last <= item.sequence:
                self._events_upto = item.sequence
            else:  # it also asks where the journal ends before what it knows
                self._ask_events(effects)

    def _hear_bar(self, item: StreamItem, bar: Any, effects: Effects) -> None:
        heard = self._heard[item.topic]
        last = item.previous if bar is None else item.sequence
        if isinstance(bar, Bar) and item.previous <= heard < bar.sequence:
            self._bars[bar.sequence] = bar
            self._heard[item.topic] = bar.sequence
        elif last > heard:
            self._ask_bars_of(item.topic, effects)
        elif bar is None:
            self._know(item.topic, item.sequence)

    def _hear_tick(self, item: StreamItem, event: Any, effects: Effects) -> None:
        self._evaluator.hear_tick(event.ts_ns)
        if self._is_stepped or self._is_pausing or self._has_asked_for_restart or not self._has_caught_up():
            return
        if isinstance(event, Tick) and self._evaluator.wants_ticks:
            self._apply_events(None)
            self._evaluator.evaluate_tick(event, item.sequence, event.ts_ns, effects, is_step=False)

    def _take_events(self, records: Iterable[JournalRecord]) -> None:
        for record in records:
            if record.sequence > self._events_last:
                self._events_last = record.sequence
                self._events.append(record)

    def _take_bars(self, given: BarsGiven, effects: Effects) -> None:
        topic = bar_topic(given.symbol, given.timeframe)
        if topic not in self._topics:
            return
        if not self._bars_from[topic] <= given.after <= self._heard[topic]:  # it answers a predecessor
            return
        decided = self._evaluator.decided[topic]
        if decided is None:
            decided = self._evaluator.decided[topic] = given.head
        for bar in given.bars:
            if bar.sequence > self._evaluator.last[topic]:
                self._bars[bar.sequence] = bar
                self._heard[topic] = max(self._heard[topic], bar.sequence)
                if bar.sequence <= decided or bar.end_ns + INTENT_TTL_NS <= given.market_ns:
                    self._missed.add(bar.sequence)
        if given.is_complete:
            self._bars_asked.discard(topic)
            self._know(topic, given.head)
        else:
            self._ask_bars_of(topic, effects)

    def _know(self, topic: str, head: int) -> None:
        """Note that market data has no bar of a topic up to ``head`` but those that were heard."""
        self._unheard.discard(topic)
        self._known_to[topic] = max(self._known_to[topic], head)

    def _ask_events(self, effects: Effects) -> None:
        self._has_asked_events = True
        effects.post("execution", EventsWanted(self._name, self._events_last), is_sure=False, is_gated=False)

    def _ask_bars(self, topics: Iterable[str], effects: Effects) -> None:
        for topic in sorted(topics):
            self._ask_bars_of(topic, effects)

    def _ask_bars_of(self, topic: str, effects: Effects) -> None:
        self._bars_asked.add(topic)
        wanted = BarsWanted(self._topics[topic], self._timeframe, self._heard[topic], 500)
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
        return self._events_upto >= 0 and not self._bars_asked and not self._unheard

    def _is_behind(self) -> bool:
        return self._offer is not None and self._events_last < self._offer.own_last

    def _is_missing_bar(self) -> bool:
        """Say whether a bar of the offer is neither here nor evaluated before.

        One that market data does not know of any own topic was offered to whoever bore this name before.
        """
        offer = self._offer
        if offer is None:
            return False
        missing = [sequence for sequence in offer.bars if sequence not in self._bars]
        if not missing:
            return False
        newest = max(*self._evaluator.last.values(), min(self._known_to.values()))
        return max(missing) > newest

    def _go_on(self, effects: Effects) -> None:
        """Evaluate what can be evaluated now; who waits for the restart leaves it to the successor."""
        self._look_after(effects)
        if not self._has_caught_up() or self._has_asked_for_restart or self._is_pausing:
            return
        if self._awaits_heads:
            self._awaits_heads = False
            effects.timer("heads", 0)
        self._evaluate(effects)
        if self._leaves_for:
            self._leave(effects)

    def _evaluate(self, effects: Effects) -> None:
        if not self._is_stepped:
            for sequence in self._next_bars(max(self._bars, default=0), effects):
                self._apply_events(None)
                self._evaluator.evaluate_bar(self._bars.pop(sequence), effects, is_live=sequence not in self._missed)
                self._missed.discard(sequence)
            return
        if not self._has_joined:
            self._has_joined = True
            effects.post("market_data", Joined(), is_gated=False)
        offer, turn = self._offer, self._turn
        if turn is None or offer is None or self._is_behind() or self._is_missing_bar():
            return
        newest = max(offer.bars or self._bars, default=0)  # a tick comes behind all bars that are here
        for sequence in self._next_bars(newest, effects):
            bar = self._bars.pop(sequence)
            self._apply_events(bar.journal_sequence)
            self._evaluator.evaluate_bar(bar, effects, is_live=sequence in offer.bars)
        if self._is_pausing:
            return
        self._turn = self._offer = None
        counters, symbols = self._evaluator.counters, self._told.entry.symbols
        if offer.tick is not None and offer.tick.symbol in symbols and counters["last_tick_step"] < turn.step:
            counters["last_tick_step"] = turn.step
            self._apply_events(offer.journal_head)
            self._evaluator.evaluate_tick(offer.tick, turn.step, turn.market_ns, effects, is_step=True)

    def _next_bars(self, newest: int, effects: Effects) -> Iterator[int]:
        """Give the next bars up to ``newest``, oldest first; where those are too many for once, the loop comes back."""
        due = sorted(sequence for sequence in self._bars if sequence <= newest)
        for number, sequence in enumerate(due):
            now_ns = self._clock.monotonic_ns()
            if now_ns - self._worked_until_ns > REST_NS:
                self._worked_since_ns = now_ns
            is_long = now_ns - self._worked_since_ns >= WORK_NS and not self._is_recorded
            if is_long or number == BARS_AT_ONCE_MAX:
                self._is_pausing = True
                effects.timer(BARS_LEFT, now_ns)
                return
            yield sequence
            self._worked_until_ns = self._clock.monotonic_ns()

    def _apply_events(self, upto: int | None) -> None:
        """Tell the strategy of its own records, up to one of the journal or all that are here."""
        while self._events and (upto is None or self._events[0].sequence <= upto):
            self._evaluator.take(self._events.popleft())
