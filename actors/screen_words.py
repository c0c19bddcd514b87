"""Values in the words of a terminal: plain, short, one line, free of control characters."""

import textwrap
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from desk.units import NS_PER_S

#: Columns of every screen.
WIDTH = 80
#: Longest text of one cause that a screen repeats; the logs have the rest.
CAUSE_MAX = 400

_MINUTE_S, _HOUR_S, _DAY_S = 60, 3_600, 86_400


def plain_text(value: Any) -> str:
    """Say a value on one line, without control characters; "-" for nothing."""
    if value is None or value == "":
        return "-"
    said = str(value)[: CAUSE_MAX + 1]
    cut = said if len(said) <= CAUSE_MAX else said[: CAUSE_MAX - 2] + ".."
    return "".join(c if c.isprintable() else " " for c in cut)


def money_words(value: Any) -> str:
    """Write an amount with two digits and commas; "-" for nothing, the text itself for no number."""
    number = decimal_or_none(value)
    return plain_text(value) if number is None else f"{number:,.2f}"


def time_words(value: Any) -> str:
    """Write epoch nanoseconds as UTC to the second; texts stay, "-" for 0 and nothing."""
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        return "-" if not value else plain_text(value)
    try:
        return datetime.fromtimestamp(value // NS_PER_S, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return plain_text(value)


def duration_words(value: Any) -> str:
    """Write seconds shortly: 42s, 3m05s, 2h07m, 3d04h; "-" for nothing."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= timedelta.max.total_seconds():
        return "-"
    whole = int(value)
    if whole >= _DAY_S:
        return f"{whole // _DAY_S}d{whole % _DAY_S // _HOUR_S:02}h"
    if whole >= _HOUR_S:
        return f"{whole // _HOUR_S}h{whole % _HOUR_S // _MINUTE_S:02}m"
    if whole >= _MINUTE_S:
        return f"{whole // _MINUTE_S}m{whole % _MINUTE_S:02}s"
    return f"{whole}s"


def decimal_or_none(value: Any) -> Decimal | None:
    """Read a finite number, None for anything else."""
    if value is None or isinstance(value, bool):
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def counts_words(counts: Mapping[str, Any]) -> str:
    """Say counts by name, without zeros; "none" where none is left."""
    parts = (f"{plain_text(code)} {plain_text(count)}" for code, count in counts.items() if count)
    return ", ".join(parts) or "none"


def wrapped(line: str, indent: str) -> list[str]:
    """Break a line at the screen's width; what follows is indented."""
    return textwrap.wrap(line, WIDTH, subsequent_indent=indent, break_on_hyphens=False) or [""]


def cut(line: str) -> str:
    """Cut a line at the screen's width."""
    return line.rstrip() if len(line) <= WIDTH else line[: WIDTH - 2] + ".."
