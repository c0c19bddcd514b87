"""Money, quantities and time in the units of the desk: Decimal and integer nanoseconds."""

from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Context, Decimal, InvalidOperation, localcontext

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000
MINUTE_NS = 60 * NS_PER_S
DAY_NS = 86_400 * NS_PER_S

ZERO = Decimal(0)
ONE = Decimal(1)
BPS = Decimal(10_000)

#: The one context of the order path. It traps what would turn into NaN or infinity later.
CONTEXT = Context(prec=28, rounding=ROUND_HALF_EVEN)

#: Units of each timeframe letter, in nanoseconds.
TIMEFRAME_UNIT_NS = {"s": NS_PER_S, "m": MINUTE_NS, "h": 60 * MINUTE_NS, "d": DAY_NS}


def decimal_of(value: float | str | Decimal) -> Decimal:
    """Turn a market figure into the Decimal that its shortest text shows.

    A float goes by its repr, so 271.2399 becomes exactly Decimal("271.2399").

    Raises:
        ValueError: The figure is NaN, infinite or not a number at all.
    """
    try:
        number = value if isinstance(value, Decimal) else Decimal(str(value))
    except InvalidOperation as error:
        msg = f"not a number: {value!r}"
        raise ValueError(msg) from error
    if not number.is_finite():
        msg = f"not a finite number: {value!r}"
        raise ValueError(msg)
    return number


def round_down(value: Decimal, step: Decimal) -> Decimal:
    """Round a non-negative value down to a whole multiple of ``step`` (> 0)."""
    assert step > ZERO, "a step must be positive"
    with localcontext(CONTEXT):
        return (value / step).to_integral_value(rounding=ROUND_DOWN) * step


def timeframe_ns(timeframe: str) -> int:
    """Give the length of a timeframe such as ``1m``, ``5m``, ``1h`` or ``1d`` in nanoseconds.

    Raises:
        ValueError: The text is not a whole positive count followed by s, m, h or d.
    """
    count, unit = timeframe[:-1], timeframe[-1:]
    if unit not in TIMEFRAME_UNIT_NS or not count.isdecimal() or int(count) == 0:
        msg = f"not a timeframe: {timeframe!r}; write a count and s, m, h or d, such as 1m or 5m"
        raise ValueError(msg)
    return int(count) * TIMEFRAME_UNIT_NS[unit]
