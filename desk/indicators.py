"""Indicators that take in one value at a time and can be put away and taken up again.

Each has ``get_state`` and ``load_state`` with plain numbers and lists. After ``load_state`` an indicator
gives bit for bit what it would have given without the break: windows are summed anew from what they hold,
so nothing depends on values that have left them.
"""

import math
from collections import deque
from typing import Any


class Ema:
    """Exponential moving average, non-adjusted: the first value seeds it, then ``value += alpha * (x - value)``.

    ``alpha`` = 2 / (span + 1). The recurrence is written as ``alpha * x + (1 - alpha) * value``.
    """

    __slots__ = ("_alpha", "value")

    def __init__(self, span: int) -> None:
        """Start empty; ``value`` is None until the first ``add``."""
        assert span >= 1, "an average spans at least one value"
        self._alpha = 2.0 / (span + 1.0)
        self.value: float | None = None

    def add(self, price: float) -> float:
        """Take in one price and give the average that includes it."""
        value = self.value
        self.value = price if value is None else self._alpha * price + (1.0 - self._alpha) * value
        return self.value

    def get_state(self) -> dict[str, Any]:
        """Give what decides the next value."""
        return {"value": self.value}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take back what ``get_state`` gave."""
        self.value = state["value"]


class Sma:
    """Simple mean of the last ``window`` values; None until that many were seen."""

    __slots__ = ("_values",)

    def __init__(self, window: int) -> None:
        """Start empty."""
        assert window >= 1, "a mean needs at least one value"
        self._values: deque[float] = deque(maxlen=window)

    def add(self, number: float) -> float | None:
        """Take in one value and give the mean that includes it."""
        self._values.append(number)
        return self.value

    @property
    def value(self) -> float | None:
        """The mean of the window, or None while it is not full."""
        if len(self._values) != self._values.maxlen:
            return None
        return math.fsum(self._values) / len(self._values)

    def get_state(self) -> dict[str, Any]:
        """Give the window, oldest first."""
        return {"values": list(self._values)}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take back what ``get_state`` gave."""
        self._values.clear()
        self._values.extend(state["values"])


class Rsi:
    """Relative strength index, 0..100, by simple means of the last ``period`` gains and losses.

    None until ``period`` changes were seen. 100 where nothing fell, 50 where nothing moved at all.
    """

    __slots__ = ("_changes", "_last")

    def __init__(self, period: int = 14) -> None:
        """Start empty."""
        assert period >= 1, "a period holds at least one change"
        self._changes: deque[float] = deque(maxlen=period)
        self._last: float | None = None

    def add(self, price: float) -> float | None:
        """Take in one price and give the index that includes it."""
        if self._last is not None:
            self._changes.append(price - self._last)
        self._last = price
        return self.value

    @property
    def value(self) -> float | None:
        """The index, or None while there are too few changes."""
        if len(self._changes) != self._changes.maxlen:
            return None
        gain = math.fsum(change for change in self._changes if change > 0.0)
        loss = -math.fsum(change for change in self._changes if change < 0.0)
        if loss == 0.0:
            return 100.0 if gain > 0.0 else 50.0
        return 100.0 - 100.0 / (1.0 + gain / loss)

    def get_state(self) -> dict[str, Any]:
        """Give the changes, oldest first, and the last price."""
        return {"changes": list(self._changes), "last": self._last}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take back what ``get_state`` gave."""
        self._changes.clear()
        self._changes.extend(state["changes"])
        self._last = state["last"]


class SessionVwap:
    """Volume-weighted average of the typical price (high + low + close) / 3 since the last ``reset``.

    The sums are plain float sums in the order of the bars, as everyone computes them who wants the same figure.
    """

    __slots__ = ("_volume", "_weighted")

    def __init__(self) -> None:
        """Start an empty session."""
        self._weighted = 0.0
        self._volume = 0.0

    def reset(self) -> None:
        """Begin a new session."""
        self._weighted = 0.0
        self._volume = 0.0

    def add(self, high: float, low: float, close: float, volume: float) -> float | None:
        """Take in one bar and give the average that includes it."""
        self._weighted += (high + low + close) / 3.0 * volume
        self._volume += volume
        return self.value

    @property
    def value(self) -> float | None:
        """The average, or None while nothing was traded in this session."""
        return self._weighted / self._volume if self._volume > 0.0 else None

    def get_state(self) -> dict[str, Any]:
        """Give both sums."""
        return {"weighted": self._weighted, "volume": self._volume}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take back what ``get_state`` gave."""
        self._weighted = state["weighted"]
        self._volume = state["volume"]
