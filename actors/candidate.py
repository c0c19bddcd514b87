"""A candidate: new code for a strategy, tried beside it on a copy of what it keeps. It can send nothing."""

from typing import Any

import msgspec
from typing_extensions import override

from actors.arguments import MARKET_DATA
from actors.evaluator import Evaluator
from actors.strategy import StrategyRoom
from actors.strategy_arguments import CandidateArguments, StrategyArguments, whole_change
from desk.messages import BarsGiven
from runtime.bus_words import StreamItem
from runtime.clock import Clock
from runtime.effects import Effects
from runtime.room import NOTHING


class CandidateRoom(StrategyRoom):
    """Evaluates the bars that the strategy evaluates, after the same news, outside of the market's steps.

    Nobody waits for it, and it has no link to risk. Bars up to ``live_from`` are those that the strategy had evaluated
    when the copy was made; behind them it counts. Its verdict stands in its facts: "" while there is none, "ok", or
    why not. What it raises, or where it hangs, its supervisor hears, as of any process.
    """

    def __init__(
        self, evaluator: Evaluator, told: StrategyArguments, clock: Clock, *, bars: int, live_from: int | None
    ) -> None:
        """Take a silent evaluator. Where nothing was kept, it counts from the first bar that comes after its start."""
        super().__init__(evaluator, told, clock)
        self._bars_wanted, self._live_from, self._tried = bars, live_from, 0
        # The market's steps offer ticks to those whose entry says so, which is what the old code declares.
        self._lacks_ticks = evaluator.wants_ticks and told.is_stepped and not told.entry.wants_ticks
        self._other_entry = ""

    @override
    def facts(self) -> dict[str, Any]:
        return {**super().facts(), "verdict": self._verdict(), "bars_tried": self._tried}

    def _verdict(self) -> str:
        if self._other_entry:
            return f"its entry became another strategy meanwhile: {self._other_entry}"
        if self._evaluator.refused_parameters:
            return f"the new code does not take the parameters: {self._evaluator.refused_parameters}"
        if self._lacks_ticks:
            return "it waits for ticks, and the market offers it none before the desk is stopped and started again"
        return "ok" if self._tried >= self._bars_wanted else ""

    @override
    def reconfigured(self, arguments: bytes) -> Effects:
        """Go on with what it was started with, but say so where that is no use any more."""
        self._other_entry = whole_change(self._told, msgspec.msgpack.decode(arguments, type=CandidateArguments).told)
        return NOTHING

    @override
    def hear(self, peer: str, epoch: int, word: Any) -> Effects:
        if self._live_from is None and isinstance(word, BarsGiven):
            self._live_from = word.head
        return super().hear(peer, epoch, word)

    @override
    def hear_stream(self, peer: str, item: StreamItem, word: Any) -> Effects:
        if self._live_from is None and word is None and peer == MARKET_DATA:
            self._live_from = item.sequence
        return super().hear_stream(peer, item, word)

    @override
    def _is_behind(self) -> bool:
        """Say whether a bar waits for news that have not come: the journal it was stamped with goes further."""
        return self._is_stepped and any(bar.journal_sequence > self._events_upto for bar in self._bars.values())

    @override
    def _evaluate(self, effects: Effects) -> None:
        for sequence in self._next_bars(max(self._bars, default=0), effects):
            bar = self._bars[sequence]
            if self._is_stepped and bar.journal_sequence > self._events_upto:
                return
            self._apply_events(bar.journal_sequence if self._is_stepped else None)
            del self._bars[sequence]
            is_new = self._live_from is not None and sequence > self._live_from
            self._evaluator.evaluate_bar(bar, effects, is_live=is_new)
            self._tried += is_new
