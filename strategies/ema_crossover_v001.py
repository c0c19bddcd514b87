"""EMA crossover with volume: buy when the fast average crosses above the slow one on volume, sell when it falls back.

Written for five-minute bars of a market that trades around the clock. Crosses that also carry volume are rare, so
days without a signal are normal; round-trip fees of 0.65-0.80 % eat moves below about 1.5 %.
The protective stop and the target rest at the venue.

Source: seeds' Trading Brain, strategy v001.
"""

from decimal import Decimal
from typing import Any, ClassVar

import msgspec

from desk.indicators import Ema, Rsi, Sma
from desk.messages import Bar, ProtectiveStop
from desk.units import ONE, decimal_of
from strategies.base import Action, Decision, Horizon, Instance, NoTrade, NoTradeCode, Signal, Strategy, View
from strategies.setting import require, require_fraction, require_positive

CONFIDENCE = 0.8
RSI_MAX = 100.0


class EmaParameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings of one instance. Percentages are fractions; spans and windows count bars."""

    candles_min: int = 30
    ema_fast: int = 9
    ema_slow: int = 21
    rsi_period: int = 14
    rsi_low: float = 30.0
    rsi_high: float = 70.0
    volume_window: int = 20
    volume_factor: float = 1.2
    default_trade_pct: Decimal = Decimal("0.03")
    stop_loss_pct: Decimal = Decimal("0.02")
    take_profit_pct: Decimal = Decimal("0.04")

    def __post_init__(self) -> None:
        """Refuse settings that cannot be meant.

        Raises:
            ValueError: Names the setting, what it is and what it must be.
        """
        for name, count in (
            ("ema_fast", self.ema_fast),
            ("rsi_period", self.rsi_period),
            ("volume_window", self.volume_window),
        ):
            require(name, count, "1 or more", holds=count >= 1)
        is_slower = self.ema_slow > self.ema_fast
        require("ema_slow", self.ema_slow, f"above ema_fast ({self.ema_fast})", holds=is_slower)
        needed = max(self.rsi_period + 1, self.volume_window)
        has_history = self.candles_min >= needed
        require("candles_min", self.candles_min, f"{needed} or more for these windows", holds=has_history)
        is_range = 0.0 <= self.rsi_low < self.rsi_high <= RSI_MAX
        require("rsi_low", self.rsi_low, "0 or more and below rsi_high, which is at most 100", holds=is_range)
        is_factor = 0.0 <= self.volume_factor < float("inf")
        require("volume_factor", self.volume_factor, "0 or more", holds=is_factor)
        require_fraction("default_trade_pct", self.default_trade_pct)
        require_fraction("stop_loss_pct", self.stop_loss_pct)
        require_positive("take_profit_pct", self.take_profit_pct)


class _Averages:
    """The indicators of one symbol."""

    __slots__ = ("count", "fast", "rsi", "slow", "volume")

    def __init__(self, parameters: EmaParameters) -> None:
        self.count = 0
        self.fast = Ema(parameters.ema_fast)
        self.slow = Ema(parameters.ema_slow)
        self.rsi = Rsi(parameters.rsi_period)
        self.volume = Sma(parameters.volume_window)

    def get_state(self) -> dict[str, Any]:
        parts = {"fast": self.fast, "slow": self.slow, "rsi": self.rsi, "volume": self.volume}
        return {"count": self.count} | {name: part.get_state() for name, part in parts.items()}

    def load_state(self, state: dict[str, Any]) -> None:
        self.count = state["count"]
        self.fast.load_state(state["fast"])
        self.slow.load_state(state["slow"])
        self.rsi.load_state(state["rsi"])
        self.volume.load_state(state["volume"])


class EmaCrossoverV001(Strategy):
    """Follow the crosses of two exponential averages, each symbol by itself.

    The first ``candles_min`` bars of a symbol are only remembered; a cross is one between two later neighbours.
    """

    Parameters: ClassVar[type[msgspec.Struct]] = EmaParameters
    protective_stop: ClassVar[ProtectiveStop] = ProtectiveStop.VENUE
    bars_needed: ClassVar[int] = 31
    #: What decides over entries alone: stop and target go to the venue with the entry and rest there.
    live_parameters: ClassVar[frozenset[str]] = frozenset(
        {"rsi_low", "rsi_high", "volume_factor", "default_trade_pct", "stop_loss_pct", "take_profit_pct"}
    )
    parameters: EmaParameters

    def __init__(self, parameters: EmaParameters, instance: Instance) -> None:
        """Start with empty averages."""
        super().__init__(parameters, instance)
        self.initialize()

    def initialize(self) -> None:
        """Empty the averages."""
        self._averages = {symbol: _Averages(self.parameters) for symbol in self.instance.symbols}

    def on_bar(self, bar: Bar, view: View) -> Decision:
        """Compare the averages before and with this bar."""
        averages = self._averages[bar.symbol]
        fast_before, slow_before = averages.fast.value, averages.slow.value
        fast, slow = averages.fast.add(bar.close), averages.slow.add(bar.close)
        averages.rsi.add(bar.close)
        averages.volume.add(bar.volume)
        averages.count += 1
        # The bar that completes the history is the first one that is only remembered.
        if averages.count <= self.parameters.candles_min or fast_before is None or slow_before is None:
            return NoTrade(NoTradeCode.WARMUP, f"{averages.count} of {self.parameters.candles_min + 1} bars")
        if fast_before <= slow_before and fast > slow:
            return self._on_cross_up(bar, view, averages)
        if fast_before >= slow_before and fast < slow:
            return self._on_cross_down(bar, view)
        return NoTrade(NoTradeCode.NO_CROSSOVER)

    def get_state(self) -> dict[str, Any]:
        """Give the averages of each symbol."""
        return {"averages": {symbol: averages.get_state() for symbol, averages in self._averages.items()}}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take back what ``get_state`` gave; symbols that are no longer ours are forgotten."""
        for symbol, kept in state["averages"].items():
            if symbol in self._averages:
                self._averages[symbol].load_state(kept)

    def on_parameters(self, before: EmaParameters) -> None:
        """Forget averages of other spans: half of each would be the old one's."""
        if _windows(before) != _windows(self.parameters):
            self.initialize()

    def _on_cross_up(self, bar: Bar, view: View, averages: _Averages) -> Decision:
        busy = _busy(bar.symbol, view)
        if busy is not None:
            return NoTrade(busy)
        parameters = self.parameters
        rsi, volume_mean = averages.rsi.value, averages.volume.value
        if rsi is None or volume_mean is None:
            return NoTrade(NoTradeCode.INDICATOR_INVALID)
        if not parameters.rsi_low < rsi < parameters.rsi_high:
            return NoTrade(NoTradeCode.RSI_OUT_OF_RANGE, f"RSI {rsi:.1f}")
        if bar.volume <= parameters.volume_factor * volume_mean:
            return NoTrade(NoTradeCode.VOLUME_TOO_LOW, f"{bar.volume:g} on a mean of {volume_mean:g}")
        price = decimal_of(bar.close)
        entry = Signal(
            symbol=bar.symbol,
            action=Action.BUY,
            size_pct=parameters.default_trade_pct,
            stop_loss=price * (ONE - parameters.stop_loss_pct),
            take_profit=price * (ONE + parameters.take_profit_pct),
            horizon=Horizon.DAY,
            confidence=CONFIDENCE,
            reasoning=f"EMA {parameters.ema_fast} crossed above EMA {parameters.ema_slow} on volume, RSI {rsi:.1f}",
        )
        return (entry,)

    def _on_cross_down(self, bar: Bar, view: View) -> Decision:
        position = view.position(bar.symbol)
        if position is None:
            return NoTrade(NoTradeCode.NO_POSITION)
        if bar.symbol in view.exit_pending:
            return NoTrade(NoTradeCode.EXIT_PENDING)
        parameters = self.parameters
        reasoning = f"EMA {parameters.ema_fast} crossed below EMA {parameters.ema_slow}"
        leave = Signal(
            symbol=bar.symbol, action=Action.CLOSE, confidence=CONFIDENCE, reasoning=reasoning, tag=position.tag
        )
        return (leave,)


STRATEGY = EmaCrossoverV001


def _windows(parameters: EmaParameters) -> tuple[int, int, int, int]:
    return parameters.ema_fast, parameters.ema_slow, parameters.rsi_period, parameters.volume_window


def _busy(symbol: str, view: View) -> NoTradeCode | None:
    """Say what already stands or runs in this symbol, or None."""
    if symbol in view.exit_pending:
        return NoTradeCode.EXIT_PENDING
    if view.position(symbol) is not None:
        return NoTradeCode.IN_POSITION
    return NoTradeCode.ENTRY_PENDING if symbol in view.entry_pending else None
