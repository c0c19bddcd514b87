"""One strategy with its book and its memory: each event is evaluated once, and kept before anything leaves."""

from collections import Counter
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, cast

import msgspec

from actors.calendar import NewYork
from actors.chapters import Chapters
from actors.own_book import OwnBook
from actors.signal_door import Door, MalformedSignalError, effect_of, intent_of, well_formed
from actors.strategy_arguments import StrategyArguments
from actors.strategy_memory import VERSION, Kept, Memory, MemoryUnfitError, Recalled, not_plain
from actors.strategy_parameters import changes, in_force_next, plain, taken_up
from actors.topics import bar_topic
from desk.messages import Bar, Effect, Intent, JournalRecord, OrderChanged, Tick
from desk.units import NS_PER_S
from runtime.effects import Effects
from runtime.errors import words_of
from runtime.log import Log
from runtime.store import Reader
from strategies.base import Decision, Instance, NoTrade, NoTradeCode, Signal, Strategy

#: How long an intent is good for, in market time.
INTENT_TTL_NS = 90 * NS_PER_S
#: How much of the digest of its code a strategy shows.
CODE_SHORT = 12


class Evaluator:
    """Whatever a strategy is told, it is told here, and what it answers is turned into intents here.

    After a fall the event that was being evaluated is evaluated again, from the state before it, and yields the same
    intents. What cannot be gone on from is left aside: then ``last`` and ``journal_sequence`` begin at 0, and whoever
    feeds the evaluator brings all bars and all own records again.
    """

    def __init__(
        self,
        kind: type[Strategy],
        told: StrategyArguments,
        epoch: int,
        store: Reader,
        log: Log,
        *,
        is_silent: bool = False,
    ) -> None:
        """Take a strategy's class and the arguments that are in force; ``recall`` gives it its past.

        A silent one evaluates and keeps as any other, but wants nothing of anybody: no intent leaves.

        Raises:
            msgspec.ValidationError: The class does not take the parameters, and none that it takes were kept.
        """
        self._kind, self._told, self._epoch, self._log = kind, told, epoch, log
        self._arguments = msgspec.msgpack.encode(told)
        self._chapters = Chapters(store, epoch, is_stepped=told.is_stepped)
        self._is_silent = is_silent
        self._instance = instance_of(told)
        self._memory = Memory(store, f"{told.entry.strategy} {told.entry.timeframe} {kind.state_version}")
        self._refused_parameters = ""
        values = self._memory.parameters(told.entry.strategy)
        kept = None if values is None else taken_up(kind.Parameters, values)
        self._wanted = self._wished(told, kept)
        self._is_kept_with = kept is not None and self._memory.arguments() == self._arguments
        self._rebuilt_reason = ""
        self._rebuilt = self._memory.rebuilt().count
        self._begin_new(self._wanted if kept is None else kept)

    def _wished(self, told: StrategyArguments, instead: msgspec.Struct | None) -> msgspec.Struct:
        """Read the wanted parameters; those that the running code does not take change nothing where it has others."""
        self._refused_parameters = ""
        try:
            return msgspec.convert(told.entry.parameters, type=self._kind.Parameters, strict=False)
        except ValueError as error:
            if instead is None:
                raise
            self._refused_parameters = str(error)
            self._log.warning("parameters.refused", reason=str(error))
            return instead

    def _begin_new(self, parameters: msgspec.Struct) -> None:
        self._strategy = self._made(parameters)
        self._book = OwnBook(self._told.balance, NewYork())
        self._book.is_changed = True
        self.last = {bar_topic(symbol, self._instance.timeframe): 0 for symbol in self._instance.symbols}
        #: Of each topic: up to which bar somebody decided of whom nothing is remembered; None where nobody can tell.
        self.decided: dict[str, int | None] = dict.fromkeys(self.last, 0)
        self.journal_sequence = 0
        self._strange: set[str] = set()
        self._pending: dict[str, Intent] = {}
        self._why_not: Counter[str] = Counter()
        self.counters: Counter[str] = Counter()
        self._last_tick_ns = 0

    def _made(self, parameters: msgspec.Struct) -> Strategy:
        made = self._kind(parameters, self._instance)
        made.initialize()
        return made

    @property
    def wants_ticks(self) -> bool:
        """Whether ticks are to be evaluated."""
        return self._strategy.wants_ticks

    # --- the past -----------------------------------------------------------------------------

    def recall(self, effects: Effects) -> None:
        """Go on from what was kept; intents that nobody has answered are sent again."""
        try:
            recalled = self._memory.recall()
            if recalled is not None:
                self._take_up(recalled)
        except MemoryUnfitError as error:
            self.leave_aside(str(error), effects)
        if not self._is_silent:
            for intent in self._pending.values():
                effects.post("risk", intent)

    def _take_up(self, recalled: Recalled) -> None:
        """Give the strategy and the book their state.

        Raises:
            MemoryUnfitError: The strategy refuses its state, or the book contradicts itself.
        """
        kept = recalled.kept
        try:
            self._strategy.load_state(kept.state)
            recalled.restore(self._book)
        except Exception as error:  # What a strategy raises at its own former state is its own; it begins anew.
            msg = f"load_state raised {words_of(error)}"
            raise MemoryUnfitError(msg) from error
        known = {} if recalled.was_aside else kept.last
        self.decided |= {topic: self._memory.last_bar() for topic in self.last if topic not in known}
        self.last |= {topic: sequence for topic, sequence in kept.last.items() if topic in self.last}
        self.journal_sequence = kept.journal_sequence
        self._pending = {intent.intent_id: intent for intent in kept.pending if self._is_still_meant(intent)}
        self._why_not, self.counters = Counter(kept.why_not), Counter(kept.counters)
        self._last_tick_ns = kept.last_tick_ns

    def _is_still_meant(self, intent: Intent) -> bool:
        """Say whether an intent may leave again: nothing is opened in a symbol that this strategy trades no more."""
        return intent.effect is not Effect.OPEN or intent.symbol in self._instance.symbols

    def leave_aside(self, reason: str, effects: Effects) -> None:
        """Begin anew: from the journal and the bar store, under the parameters that were in force."""
        rebuilt = self._memory.leave_aside(reason, effects)
        self._rebuilt, self._rebuilt_reason = rebuilt.count, reason
        self._log.warning("state.rebuilt", reason=reason, count=rebuilt.count)
        self._begin_new(self._strategy.parameters)
        self.decided = dict.fromkeys(self.last, self._memory.last_bar())

    # --- parameters ---------------------------------------------------------------------------

    def want(self, told: StrategyArguments) -> None:
        """Hear other arguments of the same module, symbols and timeframe; they hold as soon as they may."""
        self._wanted = self._wished(told, self._strategy.parameters)
        self._told, self._instance = told, instance_of(told)
        self._arguments = msgspec.msgpack.encode(told)
        self._is_kept_with = False

    @property
    def is_flat(self) -> bool:
        """True where it holds nothing, nothing of it works, and nobody owes it an answer."""
        return self._book.is_flat and not self._pending

    def _settle_parameters(self, effects: Effects) -> bool:
        """Take wanted parameters into use as far as they may be, between two events; say whether that is to be kept."""
        before = self._strategy.parameters
        after = in_force_next(before, self._wanted, self._kind.live_parameters, is_flat=self.is_flat)
        if after is not before:
            state = msgspec.msgpack.decode(msgspec.msgpack.encode(self._state()))
            self._strategy = self._made(after)
            self._strategy.load_state(state)
            self._strategy.on_parameters(before)
            self._is_kept_with = False
            self._log.info("parameters.changed", changed=changes(before, after), waiting=changes(after, self._wanted))
        if self._is_kept_with:
            return False
        self._memory.keep_parameters(self._told.entry.strategy, plain(after), effects)
        self._memory.keep_arguments(self._arguments, effects)
        self._is_kept_with = True
        return True

    # --- telling ------------------------------------------------------------------------------

    @property
    def refused_parameters(self) -> str:
        """Why the class does not take the wanted parameters, "" where it does."""
        return self._refused_parameters

    def hear_tick(self, ts_ns: int) -> None:
        """Count a tick."""
        self.counters["ticks"] += 1
        self._last_tick_ns = ts_ns

    def take(self, record: JournalRecord) -> None:
        """Take the next own record into the book, and tell the strategy of it."""
        assert record.sequence > self.journal_sequence, "own records come once, in order"
        if isinstance(record.body, OrderChanged):
            self._pending.pop(record.body.order.intent_id, None)
        self._book.take(record.body, self._strategy)
        self.journal_sequence = record.sequence

    def owe(self, bar: int, intents: Iterable[Intent]) -> None:
        """Count these as the intents of a bar, and no others: for a replay that goes on from what was sent then."""
        others = {name: intent for name, intent in self._pending.items() if intent.bar_sequence != bar}
        self._pending = {**others, **{intent.intent_id: intent for intent in intents}}

    def evaluate_bar(self, bar: Bar, effects: Effects, *, is_live: bool) -> None:
        """Evaluate a bar, or take it in without trading where it is not live any more."""
        self._settle_parameters(effects)
        under = (self._rebuilt, is_live, self._arguments)
        self._chapters.evaluates(bar.sequence, self.journal_sequence, under, effects)
        self._book.mark(bar.symbol, bar.close)
        view = self._book.view(bar.ts_ns, self._pending.values())
        if is_live:
            decision = _decided(self._strategy.on_bar(bar, view), "on_bar")
            self.counters["bars"] += 1
        else:
            self._strategy.on_missed_bar(bar, view)
            decision = NoTrade(NoTradeCode.MISSED_BAR)
            self.counters["missed"] += 1
        self.last[bar_topic(bar.symbol, bar.timeframe)] = bar.sequence
        self._carry(decision, (bar.timeframe, bar.ts_ns), bar.end_ns, bar.sequence, effects)

    def evaluate_tick(self, tick: Tick, number: int, market_ns: int, effects: Effects, *, is_step: bool) -> None:
        """Evaluate a tick. One that is nothing to evaluate is kept where it is a step: it does not come again.

        It is kept as well where other parameters took hold: they and the state are of one moment.
        """
        is_to_keep = self._settle_parameters(effects) or is_step
        self._book.mark(tick.symbol, tick.price)
        decision = self._strategy.on_tick(tick, self._book.view(tick.ts_ns, self._pending.values()))
        if decision is not None:
            self._carry(_decided(decision, "on_tick"), (f"tick{number}", tick.ts_ns), market_ns, 0, effects)
        elif is_to_keep:
            self._keep(effects)

    def shutdown(self) -> None:
        """Let the strategy say good-bye."""
        self._strategy.shutdown()

    # --- answers ------------------------------------------------------------------------------

    def _carry(
        self, decision: Decision, place: tuple[str, int], decided_ns: int, sequence: int, effects: Effects
    ) -> None:
        """Turn signals into intents, keep everything in one transaction, then send."""
        intents: list[Intent] = []
        door = self._door(decided_ns)
        if isinstance(decision, NoTrade):
            self._why_not[decision.code] += 1
        else:
            for number, said in enumerate(decision):
                self.counters["signals"] += 1
                try:
                    signal = well_formed(said, self._instance.symbols)
                except MalformedSignalError as fault:
                    self.counters["malformed"] += 1
                    self._why_not[NoTradeCode.MALFORMED_SIGNAL] += 1
                    self._log.warning("signal.malformed", reason=str(fault))
                    continue
                intents += [
                    intent_of(
                        signal,
                        strategy=self._strategy,
                        place=(*place, number),
                        reference_price=self._book.mark_of(signal.symbol),
                        position=aim.position,
                        tag=aim.tag,
                        part=aim.part,
                        decided_ns=decided_ns,
                        expires_ns=decided_ns + INTENT_TTL_NS,
                        epoch=self._epoch,
                        bar_sequence=sequence,
                    )
                    for aim in self._book.aims(signal, (*self._pending.values(), *intents))
                    if door.admits(effect_of(signal))
                ]
        self._count(door)
        for intent in intents:
            self.counters["intents"] += 1
            if self._is_silent:
                continue
            self._pending[intent.intent_id] = intent
            effects.post("risk", intent)
        self._keep(effects)

    def _door(self, decided_ns: int) -> Door:
        """Open the door for one event. All that it depends on is kept, so a successor holds back the same."""
        rate = self._told.entry.limits.message_rate
        if rate is None:
            return Door(self._pending.values(), None)
        second = decided_ns // NS_PER_S
        if self.counters["rate_second"] != second:
            self.counters["rate_second"], self.counters["rate_opened"] = second, 0
        return Door(self._pending.values(), rate - self.counters["rate_opened"])

    def _count(self, door: Door) -> None:
        if self._told.entry.limits.message_rate is not None:
            self.counters["rate_opened"] += door.opened
        if door.held_back:
            self.counters["held_back"] += door.held_back
            self._why_not[NoTradeCode.TOO_MANY_INTENTS] += door.held_back
            self._log.warning("intents.held_back", count=door.held_back, unanswered=len(self._pending))

    def _keep(self, effects: Effects) -> None:
        kept = Kept(
            VERSION,
            self._memory.maker,
            dict(self.last),
            self.journal_sequence,
            self._state(),
            tuple(self._pending.values()),
            dict(self._why_not),
            dict(self.counters),
            self._last_tick_ns,
            self._book.marks,
        )
        self._memory.keep(kept, self._book, effects)

    def _state(self) -> dict[str, Any]:
        """Ask the strategy for its state.

        Raises:
            TypeError: It gave what it could not be given back; a fall later nobody would know why.
        """
        state: object = self._strategy.get_state()
        if not isinstance(state, dict) or not all(isinstance(key, str) for key in cast("dict[object, object]", state)):
            kind = "a dict with a key that is no text" if isinstance(state, dict) else f"a {type(state).__name__}"
            msg = f"get_state gave {kind}; write a dict with texts as keys"
            raise TypeError(msg)
        strange = not_plain(state)
        if strange and strange not in self._strange:
            self._strange.add(strange)
            self._log.warning(
                "state.converted", kind=strange, meaning="after a fall load_state is given its plain form"
            )
        return state

    def facts(self) -> dict[str, Any]:
        """Say of oneself what the status shows."""
        book, in_force = self._book, self._strategy.parameters
        waiting = plain(self._wanted) if in_force != self._wanted else {}
        return {
            "signals_generated": self.counters["signals"],
            "orders_sent": self.counters["intents"],
            "ticks_processed": self.counters["ticks"],
            "bars_evaluated": self.counters["bars"],
            "bars_missed": self.counters["missed"],
            "malformed_signals": self.counters["malformed"],
            "held_back_signals": self.counters["held_back"],
            "message_rate": self._told.entry.limits.message_rate,
            "last_tick_ns": self._last_tick_ns,
            "last_bars": dict(self.last),
            "why_not": dict(self._why_not),
            "pnl_day": str(book.day_pnl),
            "pnl": str(book.total_pnl),
            "position": {p.symbol: str(p.quantity) for p in book.positions},
            "intents_waiting": len(self._pending),
            "pending_parameters": {name: waiting[name] for name in changes(in_force, self._wanted)} if waiting else {},
            "code": self._told.code[:CODE_SHORT],
            "refused_parameters": self._refused_parameters,
            "rebuilt": self._rebuilt,
            "rebuilt_reason": self._rebuilt_reason,
        }


def _decided(said: object, by: str) -> Decision:
    """Give a strategy's answer as what it has to be.

    Raises:
        TypeError: It is something else; the text says what to write instead.
    """
    if isinstance(said, NoTrade):
        if isinstance(said.code, str):
            return said
        msg = f"{by} gave a NoTrade with a {type(said.code).__name__} for its code; give a NoTradeCode"
        raise TypeError(msg)
    if isinstance(said, tuple | list):
        signals = tuple(one for one in cast("Sequence[object]", said) if isinstance(one, Signal))
        if len(signals) == len(said):
            return signals
        said = next(one for one in cast("Sequence[object]", said) if not isinstance(one, Signal))
        by = f"{by}, in its answer,"
    msg = f"{by} gave a {type(said).__name__}; give a tuple of Signal, an empty one too, or NoTrade with its reason"
    raise TypeError(msg)


def instance_of(told: StrategyArguments) -> Instance:
    """Give a strategy's entry as the strategy sees it."""
    entry = told.entry
    risk = msgspec.to_builtins(entry.risk_config, builtin_types=(Decimal,))
    return Instance(entry.name, entry.symbols, entry.timeframe, risk)
