"""What each plain value of the configuration may be: one rule a key, each with its words for an operator."""

import math
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

from actors.settings import FeedKind, FillMode, OnDisable, VenueRules
from actors.venues.adapter import NAME as ADAPTER
from actors.yaml_tree import Leaf, Node, decimal_text, printable
from desk.units import ONE, ZERO, timeframe_ns

#: Beyond this no amount or count of a desk is meant; it keeps sums inside the order path's 28 digits.
AMOUNT_MAX = Decimal(10) ** 15
WHOLE_MAX = 10**15
MEGABYTES_MAX = 10**9
SECONDS_MAX = 10.0**9
#: Below this a duration comes to nothing in whole nanoseconds, and a bar at that speed has no end.
LEAST = 0.001
PORT_MAX = 65_535
BYTE_MAX = 255
DIGITS_AFTER_POINT_MAX = 18

NAME = re.compile(r"(?!\.{1,2}$|EXTERNAL$)[A-Za-z0-9_.-]{1,64}")
SYMBOL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,31}")
TIMEFRAME = re.compile(r"[1-9][0-9]{0,3}[smhd]")
ZMQ_URL = re.compile(r"tcp://[^\s/:]+:[0-9]{1,5}|tcp://\[[0-9a-fA-F:]+\]:[0-9]{1,5}|ipc://\S{1,100}")
DOOR = re.compile(r"ipc|tcp://127(\.(0|[1-9][0-9]{0,2})){3}:[1-9][0-9]{0,4}")
HTTP_URL = re.compile(r"https?://[^\s/]+(/\S*)?")
HOST = re.compile(r"[^\s/]{1,253}")
LOG_LEVELS = ("TRACE", "DEBUG", "INFO", "SUCCESS", "WARNING", "ERROR", "CRITICAL")


class UnfitError(ValueError):
    """A value is not what its key wants; the text says what it wants."""


Rule = Callable[[Node], Any]
Table = Mapping[str, Rule]


def truth(node: Node) -> bool:
    """Read a boolean: ``true`` or ``false``, nothing else."""
    if isinstance(node, Leaf) and isinstance(node.value, bool):
        return node.value
    msg = "write true or false"
    raise UnfitError(msg)


def whole(least: int = 1, most: int = WHOLE_MAX) -> Rule:
    """Make the rule of whole numbers from ``least`` to ``most``."""
    bounds = f"at least {least}" if most == WHOLE_MAX else f"from {least} to {most}"

    def read(node: Node) -> int:
        if isinstance(node, Leaf) and isinstance(node.value, int) and not isinstance(node.value, bool):  # noqa: SIM102
            if least <= node.value <= most:
                return node.value
        msg = f"write a whole number, {bounds}"
        raise UnfitError(msg)

    return read


def seconds(*, zero: bool = False) -> Rule:
    """Make the rule of durations: numbers from ``LEAST`` on, or from 0 on with ``zero``."""
    least = 0.0 if zero else LEAST

    def read(node: Node) -> float:
        number = _finite(node)
        if number is not None and least <= number <= SECONDS_MAX:
            return number
        msg = f"write seconds as a number, {least:g} or more"
        raise UnfitError(msg)

    return read


def bounded_seconds(least: float, most: float) -> Rule:
    """Make the rule of durations from ``least`` to ``most``."""

    def read(node: Node) -> float:
        number = _finite(node)
        if number is not None and least <= number <= most:
            return number
        msg = f"write seconds as a number, from {least:g} to {most:g}"
        raise UnfitError(msg)

    return read


def amount(*, zero: bool = False, most: Decimal = AMOUNT_MAX, what: str = "an amount") -> Rule:
    """Make the rule of exact amounts: > 0, or >= 0 with ``zero``."""
    bounds = "0 or more" if zero else "more than 0"
    ceiling = "" if most == AMOUNT_MAX else f", at most {most}"

    def read(node: Node) -> Decimal:
        number = decimal_text(node) if isinstance(node, Leaf) else None
        if number is not None and _is_sane(number) and (number > ZERO or (zero and number == ZERO)) and number <= most:
            return number
        msg = f"write {what} as a number, {bounds}{ceiling}"
        raise UnfitError(msg)

    return read


def share(node: Node) -> Decimal:
    """Read a share: more than 0, at most 1."""
    number = decimal_text(node) if isinstance(node, Leaf) else None
    if number is not None and _is_sane(number) and ZERO < number <= ONE:
        return number
    msg = "write a share as a number, more than 0 and at most 1 (0.02 is 2 %)"
    raise UnfitError(msg)


def share_float(node: Node) -> float:
    """Read a share that is no money."""
    return float(share(node))


def text(pattern: re.Pattern[str], expected: str) -> Rule:
    """Make the rule of texts that match ``pattern`` whole."""

    def read(node: Node) -> str:
        if isinstance(node, Leaf) and isinstance(node.value, str):
            if pattern.fullmatch(node.value):
                return node.value
            raise UnfitError(expected)
        raise UnfitError(_quoted(node, expected))

    return read


def timeframe(node: Node) -> str:
    """Read a bar length such as ``5m``."""
    expected = 'write a count and s, m, h or d, such as "1m", "5m" or "1h"'
    if isinstance(node, Leaf) and isinstance(node.value, str) and TIMEFRAME.fullmatch(node.value):
        assert timeframe_ns(node.value) > 0, "what the pattern takes, the desk must take"
        return node.value
    raise UnfitError(expected)


def choice(kind: type[StrEnum]) -> Rule:
    """Make the rule of a closed list of words."""
    expected = f"write one of {', '.join(member.value for member in kind)}"

    def read(node: Node) -> StrEnum:
        if isinstance(node, Leaf) and isinstance(node.value, str):
            for member in kind:
                if member.value == node.value:
                    return member
        raise UnfitError(expected)

    return read


def log_level(node: Node) -> str:
    """Read a log level, in any case."""
    if isinstance(node, Leaf) and isinstance(node.value, str) and node.value.upper() in LOG_LEVELS:
        return node.value.upper()
    msg = f"write one of {', '.join(LOG_LEVELS)}"
    raise UnfitError(msg)


def speed(node: Node) -> float | None:
    """Read a feed's speed; None is ``max``."""
    if isinstance(node, Leaf) and node.value == "max":
        return None
    number = _finite(node)
    if number is not None and LEAST <= number <= SECONDS_MAX:
        return number
    msg = f"write market seconds a second as a number, {LEAST:g} or more, or max"
    raise UnfitError(msg)


def time_zone(node: Node) -> str:
    """Read the name of a time zone of the IANA database."""
    value = node.value if isinstance(node, Leaf) else None
    expected = "write a time zone such as America/New_York, Europe/London or UTC"
    if not isinstance(value, str):
        raise UnfitError(expected)
    try:
        return ZoneInfo(value).key
    except (LookupError, ValueError, OSError) as error:
        raise UnfitError(expected) from error


def door(node: Node) -> str:
    """Read where the control socket's second door is. It is never open to other machines: those come through SSH."""
    expected = (
        "write tcp://127.0.0.1:PORT (other machines reach it through ssh -L), or ipc for a socket beside the local one"
    )
    value = node.value if isinstance(node, Leaf) else None
    if not isinstance(value, str) or not DOOR.fullmatch(value):
        raise UnfitError(expected)
    if value != "ipc":
        *address, port = (int(part) for part in re.split(r"[.:]", value.removeprefix("tcp://")))
        if max(address) > BYTE_MAX or port > PORT_MAX:
            raise UnfitError(expected)
    return value


def paper_only(node: Node) -> bool:
    """Read ``paper_trading``: only true, live venues are not part of this version."""
    if truth(node):
        return True
    msg = "write true: live venues are not part of this version, so the desk trades on paper only"
    raise UnfitError(msg)


def _finite(node: Node) -> float | None:
    if not isinstance(node, Leaf) or isinstance(node.value, bool) or not isinstance(node.value, int | float):
        return None
    return float(node.value) if math.isfinite(node.value) else None


def _is_sane(number: Decimal) -> bool:
    exponent = number.as_tuple().exponent
    return (
        isinstance(exponent, int) and exponent >= -DIGITS_AFTER_POINT_MAX and number.adjusted() <= AMOUNT_MAX.adjusted()
    )


def _quoted(node: Node, expected: str) -> str:
    """Add how a number or boolean becomes text: in quotes."""
    if isinstance(node, Leaf) and node.value is not None:
        return f'write "{printable(node.text)}" with quotes if that is meant; {expected}'
    return expected


_USD = amount()
_BPS = amount(zero=True, most=Decimal(10_000), what="basis points")
_COUNT = whole()
_MEGABYTES = whole(most=MEGABYTES_MAX)

SYMBOL_RULE = text(SYMBOL, "write a symbol such as SPY, BTCUSD or EUR/USD: letters, digits and . _ / -, at most 32")
PATH_RULE = text(re.compile(r"[^\0]{1,4096}"), "write the path of a file")

RISK_LIMITS: Table = {
    "max_order_notional_usd": _USD,
    "max_position_size_usd": _USD,
    "max_positions": _COUNT,
    "max_positions_per_symbol": _COUNT,
    "max_exposure_pct": share,
    "max_exposure_usd": _USD,
    "max_data_age_s": seconds(),
    "default_trade_pct": share,
    "min_buying_power_reserve_usd": amount(zero=True),
}
DESK_LIMITS: Table = {
    **RISK_LIMITS,
    "max_daily_loss_usd": _USD,
    "max_daily_loss_pct": share,
    "max_drawdown_pct": share,
    "max_consecutive_losses": _COUNT,
    "day_boundary_tz": time_zone,
}
RISK_CONFIG: Table = {
    "risk_per_trade": share,
    "max_position_size": share,
    "stop_loss_atr_multiple": amount(what="a multiple"),
    "take_profit_risk_reward": amount(what="a multiple"),
    **RISK_LIMITS,
}
PROCESS_LIMITS: Table = {
    "memory_soft_mb": _MEGABYTES,
    "memory_hard_mb": _MEGABYTES,
    "address_space_mb": _MEGABYTES,
    "open_files": _COUNT,
    "processes": _COUNT,
    "output_mb": _MEGABYTES,
    "cpu_s": seconds(),
    "nice": whole(0, 19),
    "message_rate": _COUNT,
    "hang_s": bounded_seconds(1.0, SECONDS_MAX),  # a process says once a second that it goes on
    "start_timeout_s": seconds(),
}
SUPERVISION: Table = {
    "intensity": _COUNT,
    "period_s": seconds(),
    "backoff_base_s": seconds(zero=True),
    "backoff_cap_s": seconds(zero=True),
}
ENTRY: Table = {
    "name": text(NAME, "write a name of letters, digits and _ . -, at most 64 characters, and not EXTERNAL"),
    "symbol": SYMBOL_RULE,
    "model_path": PATH_RULE,
    "enabled": truth,
    "threshold": share_float,
    "strategy": text(re.compile(r"(?s).{1,200}"), "write the name of a module of strategies/"),
    "timeframe": timeframe,
    "on_disable": choice(OnDisable),
    "record": truth,
}
FEED: Table = {
    "kind": choice(FeedKind),
    "url": text(ZMQ_URL, "write an address such as tcp://localhost:5556"),
    "speed": speed,
    "seed": whole(0),
    "lockstep": truth,
}
PAPER: Table = {
    "fill": choice(FillMode),
    "slippage_bps": _BPS,
    "maker_fee_bps": _BPS,
    "taker_fee_bps": _BPS,
}
INSTRUMENT: Table = {
    "lot": amount(what="a step of quantities"),
    "tick": amount(what="a step of prices"),
    "quantity_min": amount(zero=True, what="a quantity"),
    "notional_min": amount(zero=True),
}
EXECUTION: Table = {
    "queue_max": _COUNT,
    "breaker_latency_s": seconds(),
    "breaker_failures": _COUNT,
    "breaker_open_s": seconds(),
    "breaker_open_max_s": seconds(),
}
RECONCILIATION: Table = {
    "missing_max": whole(0),
    "drift_max_pct": amount(zero=True, most=ONE, what="a share"),
    "cash_max_usd": amount(zero=True),
    "settling_s": bounded_seconds(0.0, 60.0),
}
VENUE: Table = {
    "name": text(
        re.compile(r"(?!paper$)[a-z][a-z0-9_]{0,30}"), "write a name of small letters, digits and _, not paper"
    ),
    "adapter": text(ADAPTER, "write module:function, such as my_kraken:open_port"),
    "rules": choice(VenueRules),
    "deadline_s": bounded_seconds(0.1, 60.0),
    "margin_s": bounded_seconds(0.5, 60.0),
}
CONTROL: Table = {
    "listen": door,
    "clients": PATH_RULE,
}
GLOBAL: Table = {
    "zmq_market_url": text(ZMQ_URL, "write an address such as tcp://localhost:5556"),
    "zmq_execution_host": text(HOST, "write a host name"),
    "zmq_execution_port": whole(1, PORT_MAX),
    "feature_api_url": text(HTTP_URL, "write an address such as http://localhost:8000"),
    "default_balance": _USD,
    "paper_trading": paper_only,
    "log_level": log_level,
    "record": truth,
}
