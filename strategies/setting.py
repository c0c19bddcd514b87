"""Checks of the settings that a person writes for a strategy."""

import re
from decimal import Decimal

from desk.units import ONE, ZERO

FRACTION = "above 0 and below 1 (0.003 is 0.3 %)"

_CLOCK = re.compile(r"([01]\d|2[0-3]):([0-5]\d)", re.ASCII)


def require(name: str, value: object, want: str, *, holds: bool) -> None:
    """Refuse a setting that does not hold what it must.

    Raises:
        ValueError: Names the setting, what it is and what it must be.
    """
    if not holds:
        msg = f"{name} is {value!s}; it must be {want}"
        raise ValueError(msg)


def require_fraction(name: str, value: Decimal) -> None:
    """Refuse what is not above 0 and below 1."""
    require(name, value, FRACTION, holds=value.is_finite() and ZERO < value < ONE)


def require_positive(name: str, value: Decimal | None) -> None:
    """Refuse a figure that is neither left out nor above 0."""
    require(name, value, "above 0", holds=value is None or (value.is_finite() and value > ZERO))


def second_of_day(name: str, text: str) -> int:
    """Read a wall-clock time ``HH:MM`` (00:00..23:59) as seconds since midnight.

    Raises:
        ValueError: The text is no such time.
    """
    clock = _CLOCK.fullmatch(text)
    if clock is None:
        msg = f'{name} is {text!r}; it must be a time of day such as "10:00"'
        raise ValueError(msg)
    return int(clock[1]) * 3600 + int(clock[2]) * 60
