"""VWAP micro mean reversion: buy a share that fell a little below its day's average price, sell at the average.

Long only. Every rule is judged at a complete bar's close. The volume-weighted average price (VWAP) is that of New
York's day so far, the judged bar included; windows and the flat time use New York's wall clock at the bar's open and
include both ends. A trade counts when its entry is sent, filled or not.

Known failure regimes:

* Gap below the stop. The stop is judged at bar closes and sent as a market order, so a gap (overnight, after a
  trading pause) sells far below it; the loss then exceeds ``risk_dollars_per_trade``. Seen as a fill below the stop.
  ``flat_time`` keeps positions out of the night; a position that survives it is counted in
  ``overnight_position_found``.
* Thin markets and wide spreads. Where the spread exceeds about 0.2 % it eats the whole ``entry_deviation_pct``, and
  limit entries rest unfilled until ``entry_limit_ttl_seconds`` cancels them. Seen as entries cancelled by TTL.
* Few shares traded. Below about 1000 shares since midnight one print moves the VWAP by more than the deviation, so
  entries mean nothing. Seen as entries that are followed at once by their stop. ``vwap_min_bars`` counts bars, not
  shares, and so does not protect; premarket bars count as the day's.
* Daily loss limit and day-trade rules. Several stops in a row reach ``daily_loss_limit_usd``; this strategy is then
  silent until the next day, but signals from elsewhere are not. The limits that bind everyone are risk's; brokers'
  rules on day trades may block the exit of the same day.

Source: seeds' MiniQuantDesk, VWAPMicroMeanReversion.
"""

from decimal import Decimal
from typing import Any, ClassVar, Literal

import msgspec

from desk.indicators import SessionVwap
from desk.messages import Bar, ProtectiveStop
from desk.portfolio import Position
from desk.units import BPS, MINUTE_NS, ONE, ZERO, decimal_of, round_down
from strategies.base import Action, Decision, Instance, Moment, NoTrade, NoTradeCode, Signal, Strategy, View
from strategies.setting import FRACTION, require, require_fraction, require_positive, second_of_day

QUANTITY_STEP = Decimal("0.001")


class VwapParameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings of one instance. Percentages are fractions: 0.003 is 0.3 %. None switches a rule off.

    ``take_profit_pct`` and ``max_time_in_trade_minutes`` (0: off) are judged at bar closes, like the stop.
    The ``entry_limit_…`` settings apply to limit entries only; a TTL of 0 lets them rest without end.
    """

    vwap_min_bars: int = 20
    entry_deviation_pct: float = 0.003
    stop_loss_pct: Decimal = Decimal("0.003")
    take_profit_pct: Decimal | None = None
    risk_dollars_per_trade: Decimal = Decimal("1.20")
    max_notional_usd: Decimal | None = None
    max_trades_per_day: int | None = None
    daily_loss_limit_usd: Decimal | None = None
    trade_start_time: str = "10:00"
    trade_end_time: str = "11:30"
    flat_time: str = "15:55"
    entry_order_type: Literal["limit", "market"] = "limit"
    entry_limit_offset_bps: Decimal = ZERO
    entry_limit_ttl_seconds: int = 90
    max_time_in_trade_minutes: int = 0

    def __post_init__(self) -> None:
        """Refuse settings that cannot be meant.

        Raises:
            ValueError: Names the setting, what it is and what it must be.
        """
        _require_counts(self)
        deviation = self.entry_deviation_pct
        require("entry_deviation_pct", deviation, FRACTION, holds=0.0 < deviation < 1.0)
        require_fraction("stop_loss_pct", self.stop_loss_pct)
        require_positive("take_profit_pct", self.take_profit_pct)
        require_positive("risk_dollars_per_trade", self.risk_dollars_per_trade)
        require_positive("max_notional_usd", self.max_notional_usd)
        require_positive("daily_loss_limit_usd", self.daily_loss_limit_usd)
        offset = self.entry_limit_offset_bps
        is_offset = offset.is_finite() and ZERO <= offset < BPS
        require("entry_limit_offset_bps", offset, "0 or more, below 10000", holds=is_offset)
        start = second_of_day("trade_start_time", self.trade_start_time)
        end = second_of_day("trade_end_time", self.trade_end_time)
        second_of_day("flat_time", self.flat_time)
        require("trade_end_time", self.trade_end_time, f"{self.trade_start_time} or later", holds=start <= end)


class _Day:
    """What is known of one symbol's day in New York."""

    __slots__ = ("bars", "day", "trades", "vwap")

    def __init__(self) -> None:
        self.day = ""
        self.bars = 0
        self.trades = 0
        self.vwap = SessionVwap()


class VwapMicroMeanReversion(Strategy):
    """Judge exits first, then the reasons not to trade in their fixed order, then enter."""

    Parameters: ClassVar[type[msgspec.Struct]] = VwapParameters
    protective_stop: ClassVar[ProtectiveStop] = ProtectiveStop.BAR_CLOSE
    bars_needed: ClassVar[int] = 20
    #: What decides over entries alone. How a position is left stays as it was when it was entered.
    live_parameters: ClassVar[frozenset[str]] = frozenset(
        {
            "vwap_min_bars",
            "entry_deviation_pct",
            "risk_dollars_per_trade",
            "max_notional_usd",
            "max_trades_per_day",
            "daily_loss_limit_usd",
            "trade_start_time",
            "trade_end_time",
            "entry_order_type",
            "entry_limit_offset_bps",
            "entry_limit_ttl_seconds",
        }
    )
    parameters: VwapParameters

    def __init__(self, parameters: VwapParameters, instance: Instance) -> None:
        """Keep the settings in the units of the judgement."""
        super().__init__(parameters, instance)
        self._window_start_s = second_of_day("trade_start_time", parameters.trade_start_time)
        self._window_end_s = second_of_day("trade_end_time", parameters.trade_end_time)
        self._flat_s = second_of_day("flat_time", parameters.flat_time)
        self._stop_loss = float(parameters.stop_loss_pct)
        self._take_profit = None if parameters.take_profit_pct is None else float(parameters.take_profit_pct)
        self._max_time_ns = parameters.max_time_in_trade_minutes * MINUTE_NS
        self.initialize()

    def initialize(self) -> None:
        """Know no day yet."""
        self._days: dict[str, _Day] = {symbol: _Day() for symbol in self.instance.symbols}
        self._disabled_day = ""
        self._overnight_position_found = 0

    def on_bar(self, bar: Bar, view: View) -> Decision:
        """Take in the bar, then judge exits, then entries."""
        self._take_in(bar, view)
        position = view.position(bar.symbol)
        if position is not None and bar.symbol not in view.exit_pending:
            reason = self._exit_reason(bar, view.moment, position)
            if reason:
                return (Signal(symbol=bar.symbol, action=Action.CLOSE, reason=reason, tag=position.tag),)
        code = self._no_trade(bar, view, position)
        if code is not None:
            return NoTrade(code)
        price = decimal_of(bar.close)
        quantity = self._quantity(price)
        if quantity <= ZERO:
            return NoTrade(NoTradeCode.SIZE_ZERO)
        self._days[bar.symbol].trades += 1
        return (self._entry(bar.symbol, price, quantity),)

    def on_missed_bar(self, bar: Bar, view: View) -> None:
        """Take in the bar; it counts for the average and the warm-up, and no trade is counted for it."""
        self._take_in(bar, view)

    def get_state(self) -> dict[str, Any]:
        """Give each symbol's day and what was found."""
        return {
            "days": {
                symbol: {"day": day.day, "bars": day.bars, "trades": day.trades, "vwap": day.vwap.get_state()}
                for symbol, day in self._days.items()
            },
            "disabled_day": self._disabled_day,
            "overnight_position_found": self._overnight_position_found,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Take back what ``get_state`` gave; symbols that are no longer ours are forgotten."""
        for symbol, kept in state["days"].items():
            if symbol not in self._days:
                continue
            day = self._days[symbol]
            day.day, day.bars, day.trades = kept["day"], kept["bars"], kept["trades"]
            day.vwap.load_state(kept["vwap"])
        self._disabled_day = state["disabled_day"]
        self._overnight_position_found = state["overnight_position_found"]

    def _take_in(self, bar: Bar, view: View) -> None:
        day = self._days[bar.symbol]
        if day.day != view.moment.day:
            position = view.position(bar.symbol)
            if position is not None and position.opened_ns < bar.ts_ns:
                self._overnight_position_found += 1
            day.day, day.bars, day.trades = view.moment.day, 0, 0
            day.vwap.reset()
        day.bars += 1
        day.vwap.add(bar.high, bar.low, bar.close, bar.volume)
        limit = self.parameters.daily_loss_limit_usd
        if limit is not None and view.day_pnl <= -limit:
            self._disabled_day = view.moment.day

    def _exit_reason(self, bar: Bar, moment: Moment, position: Position) -> str:
        """Give the first exit rule that holds, or "" where the position may stay.

        Prices of bars are floats, so these comparisons are too; the order itself carries no price.
        """
        entry = float(position.average_price)
        vwap = self._days[bar.symbol].vwap.value
        if moment.second_of_day >= self._flat_s:
            return "FORCE_FLAT"
        if self._max_time_ns and bar.ts_ns - position.opened_ns >= self._max_time_ns:
            return "MAX_TIME_IN_TRADE"
        if bar.close <= entry * (1.0 - self._stop_loss):
            return "STOP_LOSS"
        if self._take_profit is not None and bar.close >= entry * (1.0 + self._take_profit):
            return "TAKE_PROFIT"
        if vwap is not None and bar.close >= vwap:
            return "MEAN_REVERSION"
        return ""

    def _no_trade(self, bar: Bar, view: View, position: Position | None) -> NoTradeCode | None:  # noqa: PLR0911 - one return a reason, in the order of the specification
        """Give the first reason not to enter, or None."""
        parameters = self.parameters
        day = self._days[bar.symbol]
        vwap = day.vwap.value
        if self._disabled_day == view.moment.day:
            return NoTradeCode.DAILY_LOSS
        if day.bars < parameters.vwap_min_bars:
            return NoTradeCode.WARMUP
        if vwap is None:
            return NoTradeCode.INDICATOR_INVALID
        if not self._window_start_s <= view.moment.second_of_day <= self._window_end_s:
            return NoTradeCode.OUTSIDE_WINDOW
        if parameters.max_trades_per_day is not None and self._trades(view.moment.day) >= parameters.max_trades_per_day:
            return NoTradeCode.MAX_TRADES_REACHED
        if bar.symbol in view.exit_pending:
            return NoTradeCode.EXIT_PENDING
        if position is not None:
            return NoTradeCode.IN_POSITION
        if bar.symbol in view.entry_pending:
            return NoTradeCode.ENTRY_PENDING
        if bar.close >= vwap * (1.0 - parameters.entry_deviation_pct):
            return NoTradeCode.PRICE_ABOVE_THRESHOLD
        return None

    def _trades(self, name: str) -> int:
        """Count the entries sent on this day, over all own symbols."""
        return sum(day.trades for day in self._days.values() if day.day == name)

    def _quantity(self, price: Decimal) -> Decimal:
        """Size the loss at the stop as the risk allowed, capped by the notional; 0 where the price is not positive."""
        if price <= ZERO:
            return ZERO
        quantity = self.parameters.risk_dollars_per_trade / (price * self.parameters.stop_loss_pct)
        if self.parameters.max_notional_usd is not None:
            quantity = min(quantity, self.parameters.max_notional_usd / price)
        return round_down(quantity, QUANTITY_STEP)

    def _entry(self, symbol: str, price: Decimal, quantity: Decimal) -> Signal:
        parameters = self.parameters
        is_limit = parameters.entry_order_type == "limit"
        return Signal(
            symbol=symbol,
            action=Action.BUY,
            quantity=quantity,
            order_type="LIMIT" if is_limit else "MARKET",
            limit_price=price * (ONE - parameters.entry_limit_offset_bps / BPS) if is_limit else None,
            stop_loss=price * (ONE - parameters.stop_loss_pct),
            ttl_s=parameters.entry_limit_ttl_seconds if is_limit else 0,
        )


STRATEGY = VwapMicroMeanReversion


def _require_counts(parameters: VwapParameters) -> None:
    bars, trades = parameters.vwap_min_bars, parameters.max_trades_per_day
    ttl_s, minutes = parameters.entry_limit_ttl_seconds, parameters.max_time_in_trade_minutes
    require("vwap_min_bars", bars, "1 or more", holds=bars >= 1)
    require("max_trades_per_day", trades, "1 or more, or left out", holds=trades is None or trades >= 1)
    require("entry_limit_ttl_seconds", ttl_s, "0 (no limit) or more", holds=ttl_s >= 0)
    require("max_time_in_trade_minutes", minutes, "0 (off) or more", holds=minutes >= 0)
