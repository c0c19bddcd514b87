"""A desk of one strategy: fills its market orders whole and at once, without cost. For tests only."""

from collections.abc import Iterable

import msgspec

from actors.calendar import NewYork
from desk.messages import Bar
from desk.portfolio import Position
from desk.units import ZERO, decimal_of
from strategies.base import Action, Signal, Strategy
from tests.strategies.oracle_vwap import Trade
from tests.strategies.views import EMPTY_VIEW


class Backtest:
    """Drive one strategy over bars; ``trades`` are the closed ones, oldest first."""

    def __init__(self, strategy: Strategy, fill: str) -> None:
        """Start flat; ``fill`` is ``next_open`` or ``close``."""
        self.trades: list[Trade] = []
        self._strategy = strategy
        self._fill = fill
        self._calendar = NewYork()
        self._wanted: Signal | None = None
        self._held: Position | None = None
        self._day = ""
        self._day_pnl = ZERO

    def run(self, bars: Iterable[Bar]) -> list[Trade]:
        """Feed all bars; give the trades."""
        for bar in bars:
            self._step(bar)
        return self.trades

    def _step(self, bar: Bar) -> None:
        moment = self._calendar.moment(bar.ts_ns)
        if moment.day != self._day:
            self._day, self._day_pnl = moment.day, ZERO
        if self._wanted is not None:
            self._execute(self._wanted, bar.ts_ns, bar.open)
            self._wanted = None
        positions = () if self._held is None else (self._held,)
        seen = msgspec.structs.replace(EMPTY_VIEW, moment=moment, positions=positions, day_pnl=self._day_pnl)
        decision = self._strategy.on_bar(bar, seen)
        if not isinstance(decision, tuple):
            return
        (signal,) = decision
        if self._fill == "next_open":
            self._wanted = signal
        else:
            self._execute(signal, bar.ts_ns, bar.close)

    def _execute(self, signal: Signal, ts_ns: int, price: float) -> None:
        if signal.action is Action.BUY:
            assert self._held is None, "a second entry"
            assert signal.quantity is not None, "an entry without a size"
            self._held = Position("tested", signal.symbol, "", signal.quantity, decimal_of(price), ZERO, ts_ns)
            return
        held = self._held
        assert held is not None, "an exit of nothing"
        self._day_pnl += (decimal_of(price) - held.average_price) * held.quantity
        entry, quantity = float(held.average_price), float(held.quantity)
        self.trades.append(Trade(held.opened_ns, entry, ts_ns, price, quantity, signal.reason))
        self._held = None
