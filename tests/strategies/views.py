"""Builders of what a strategy is told, for tests that drive a strategy by hand."""

from decimal import Decimal
from typing import Any

import msgspec

from actors.calendar import NewYork
from desk.messages import Bar
from desk.portfolio import Position
from desk.units import MINUTE_NS, NS_PER_S, ZERO, decimal_of
from strategies.base import Instance, Moment, View

#: 2024-01-08T05:00:00Z, New York's midnight of a Monday.
MIDNIGHT_NS = 1_704_690_000 * NS_PER_S
INSTANCE = Instance("tested", ("SPY",), "1m", {})

#: An account that holds nothing, at no time.
EMPTY_VIEW = View(
    moment=Moment(0, "", 0),
    positions=(),
    entry_pending=frozenset(),
    exit_pending=frozenset(),
    cash=Decimal(1000),
    total_value=Decimal(1000),
    day_pnl=ZERO,
    total_pnl=ZERO,
    fees_today=ZERO,
    recent_trades=(),
)


def at(clock: str, day: int = 0) -> int:
    """Give the instant of a wall-clock time ``HH:MM`` of the Monday, or of so many days later."""
    hours, minutes = clock.split(":")
    return MIDNIGHT_NS + (day * 1440 + int(hours) * 60 + int(minutes)) * MINUTE_NS


def bar(ts_ns: int, close: float, volume: float = 100.0, symbol: str = "SPY") -> Bar:
    """Build a one-minute bar in which nothing moved."""
    return Bar(symbol, "1m", ts_ns, ts_ns + MINUTE_NS, close, close, close, close, volume)


def long(price: float, opened_ns: int, symbol: str = "SPY", tag: str = "") -> Position:
    """Build a position of one share."""
    return Position("tested", symbol, tag, Decimal(1), decimal_of(price), ZERO, opened_ns)


def view(ts_ns: int, *positions: Position, **changes: Any) -> View:
    """Build the view at the bar that opens at ``ts_ns``."""
    return msgspec.structs.replace(EMPTY_VIEW, moment=NewYork().moment(ts_ns), positions=positions, **changes)
