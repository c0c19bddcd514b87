"""Strategies that look at all their markets together, every so many minutes, instead of at each bar."""

from collections import deque
from statistics import median
from typing import Any, ClassVar

import msgspec

from desk.messages import Bar
from desk.units import DAY_NS, MINUTE_NS
from strategies.base import Decision, Instance, NoTrade, NoTradeCode, Signal, Strategy, View

SPREAD_CANDLES = 100


class SymbolData(msgspec.Struct, frozen=True, kw_only=True):
    """One market as a scan sees it.

    ``candles`` are complete bars of the strategy's timeframe, oldest first. ``spread`` is a share of the price,
    estimated as the median of (high - low) / close over the last 100 candles. ``volume_24h`` sums what the
    window holds of the last day. Fees are in percent: 0.25 is 0.25 %.
    """

    symbol: str
    current_price: float
    candles: tuple[Bar, ...]
    spread: float
    volume_24h: float
    maker_fee_pct: float
    taker_fee_pct: float


class ScanStrategy(Strategy):
    """Base of strategies that answer ``analyze`` for all their symbols at once.

    Bars of the same end form a round. A round is scanned when every symbol has delivered its bar, or, where one
    stays out, when the first bar of a later round comes; the missing symbol then shows its older candles, and a
    symbol without any candle is left out. A scan is due ``scan_interval_minutes`` after the last one.

    A subclass that keeps state of its own extends ``get_state`` and ``load_state``.
    """

    #: Minutes between scans, at least one.
    scan_interval_minutes: ClassVar[int] = 5
    #: How many candles of each symbol are kept, and written with each bar.
    candles_max: ClassVar[int] = 300
    maker_fee_pct: ClassVar[float] = 0.25
    taker_fee_pct: ClassVar[float] = 0.40

    def __init__(self, parameters: Any, instance: Instance) -> None:
        """Start without candles."""
        super().__init__(parameters, instance)
        self._candles: dict[str, deque[Bar]] = {symbol: deque(maxlen=self.candles_max) for symbol in instance.symbols}
        self._round_ns = 0
        self._scanned_ns = 0

    def analyze(self, markets: dict[str, SymbolData], portfolio: View, timestamp: int) -> list[Signal]:
        """Look at all markets; give the signals, or an empty list.

        Args:
            markets: Each own symbol that has candles.
            portfolio: The own account.
            timestamp: The end of the newest candles, in nanoseconds.
        """
        raise NotImplementedError

    def on_bar(self, bar: Bar, view: View) -> Decision:
        """Take in the bar and scan where a round is over and a scan is due."""
        signals: list[Signal] = []
        is_late = bar.end_ns > self._round_ns and self._is_due(self._round_ns)
        if is_late:
            signals += self._scan(self._round_ns, view)
        self._candles[bar.symbol].append(bar)
        self._round_ns = max(self._round_ns, bar.end_ns)
        is_whole = all(candles and candles[-1].end_ns == self._round_ns for candles in self._candles.values())
        if is_whole and self._is_due(self._round_ns):
            signals += self._scan(self._round_ns, view)
        elif not is_late:
            return NoTrade(NoTradeCode.SCAN_NOT_DUE)
        return tuple(signals) or NoTrade(NoTradeCode.NO_SIGNAL)

    def get_state(self) -> dict[str, Any]:
        """Give the candles and the times of the round and of the last scan."""
        return {
            "candles": {
                symbol: [[bar.ts_ns, bar.end_ns, bar.open, bar.high, bar.low, bar.close, bar.volume] for bar in candles]
                for symbol, candles in self._candles.items()
            },
            "round_ns": self._round_ns,
            "scanned_ns": self._scanned_ns,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Take back what ``get_state`` gave; symbols that are no longer ours are forgotten."""
        for symbol, rows in state["candles"].items():
            if symbol in self._candles:
                self._candles[symbol].clear()
                self._candles[symbol].extend(Bar(symbol, self.instance.timeframe, *row) for row in rows)
        self._round_ns = state["round_ns"]
        self._scanned_ns = state["scanned_ns"]

    def _is_due(self, now_ns: int) -> bool:
        return now_ns - self._scanned_ns >= self.scan_interval_minutes * MINUTE_NS

    def _scan(self, now_ns: int, view: View) -> list[Signal]:
        self._scanned_ns = now_ns
        markets = {symbol: self._market(symbol, now_ns) for symbol, candles in self._candles.items() if candles}
        return self.analyze(markets, view, now_ns)

    def _market(self, symbol: str, now_ns: int) -> SymbolData:
        candles = tuple(self._candles[symbol])
        return SymbolData(
            symbol=symbol,
            current_price=candles[-1].close,
            candles=candles,
            spread=median((bar.high - bar.low) / bar.close for bar in candles[-SPREAD_CANDLES:]),
            volume_24h=sum(bar.volume for bar in candles if bar.ts_ns >= now_ns - DAY_NS),
            maker_fee_pct=self.maker_fee_pct,
            taker_fee_pct=self.taker_fee_pct,
        )
