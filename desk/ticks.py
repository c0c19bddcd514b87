"""What may enter the desk as a price: the checks of every tick and bar, and the wire of a tick gateway."""

import json
import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any

import msgspec

from desk.messages import Bar, Tick
from desk.units import NS_PER_MS, NS_PER_S

#: The greatest time and the longest message and symbol that the desk takes in.
TS_NS_MAX = 2**63 - 1
WIRE_BYTES_MAX = 4096
SYMBOL_LENGTH_MAX = 64


class RefusalCode(StrEnum):
    """Why a price did not enter the desk."""

    MALFORMED = "MALFORMED"
    NAN = "NAN"
    NEGATIVE = "NEGATIVE"
    CROSSED = "CROSSED"
    INCONSISTENT = "INCONSISTENT"
    OUT_OF_ORDER = "OUT_OF_ORDER"
    DUPLICATE = "DUPLICATE"
    AHEAD = "AHEAD"


class Refusal(msgspec.Struct, frozen=True):
    """A message that is no tick: the code for the counters, the text for the person who runs the gateway."""

    code: RefusalCode
    text: str


def refusal(event: Tick | Bar, last_ts_ns: int | None) -> RefusalCode | None:
    """Give the first reason why this event must not enter the desk, or None.

    Args:
        event: One tick or feed bar of one symbol.
        last_ts_ns: ``ts_ns`` of the last accepted event of the same symbol and kind, or None before the first.

    Returns:
        MALFORMED: no symbol, a time outside 1..2**63-1, a bar that does not end after it began.
        NAN: a figure that is not finite. NEGATIVE: a price at or below zero, a size or quote below zero.
        CROSSED: ask below bid. INCONSISTENT: a bar whose high or low does not contain its open and close.
        OUT_OF_ORDER: older than the last. DUPLICATE: a bar of the same time as the last; ticks may share a time.
    """
    code = _bar_refusal(event) if isinstance(event, Bar) else _tick_refusal(event)
    if code is not None or last_ts_ns is None:
        return code
    if event.ts_ns < last_ts_ns:
        return RefusalCode.OUT_OF_ORDER
    if event.ts_ns == last_ts_ns and isinstance(event, Bar):
        return RefusalCode.DUPLICATE
    return None


def parse_wire(frames: Sequence[bytes]) -> Tick | Refusal:
    """Read one message of a tick gateway: a single frame ``SYMBOL json``, or the frames topic and json.

    The json is an object with ``symbol`` (exactly the topic), ``timestamp`` (ISO text, where no offset means UTC,
    or the epoch in s, ms or ns, told by its magnitude, as number or text) and a price: ``price``, else ``last``,
    else the middle of ``bid`` and ``ask``. Zero in ``last``, ``bid`` or ``ask`` means that there is none.
    ``size``, else ``volume``, is the tick's size. Other keys are ignored. Never raises, whatever the bytes.
    Order in time is not checked here: see ``refusal``.
    """
    if sum(map(len, frames)) > WIRE_BYTES_MAX:
        return _malformed(f"longer than {WIRE_BYTES_MAX} bytes")
    match len(frames):
        case 1:
            topic, _, payload = frames[0].partition(b" ")
        case 2:
            topic, payload = frames
        case _:
            return _malformed(f"{len(frames)} frames; want one 'SYMBOL json' or a topic and a json")
    try:
        symbol = topic.decode()
        body = _DECODER.decode(payload)
        if _may_repeat_a_key(payload):
            json.loads(payload, object_pairs_hook=_refuse_repeated_keys)
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        return _malformed(str(error))
    if symbol != body.symbol:
        return _malformed(f"the topic says {symbol!r}, the body {body.symbol!r}")
    return _tick_of(body)


class _Wire(msgspec.Struct, frozen=True):
    """The json of one message. Strict: a bool or a text is no number."""

    symbol: str
    timestamp: int | float | str
    price: float | None = None
    bid: float | None = None
    ask: float | None = None
    last: float | None = None
    size: float | None = None
    volume: float | None = None


_DECODER = msgspec.json.Decoder(_Wire)
_QUOTED_KEYS = tuple(f'"{name}"'.encode() for name in _Wire.__struct_fields__)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ISO = re.compile(
    r"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d)?)(?:(?<=:\d\d:\d\d)\.(\d{1,9}))?(Z|[+-]\d\d:?\d\d)?", re.ASCII
)
_NUMBER = re.compile(r"\d{1,19}(?:\.\d{1,12})?", re.ASCII)
#: From which epoch figure on it counts what: seconds up to the year 5138, then ms, and ns from 1973 on.
_MS_FROM = Decimal(10) ** 11
_MS_BEFORE = Decimal(10) ** 14
_NS_FROM = Decimal(10) ** 17


def _tick_of(body: _Wire) -> Tick | Refusal:
    if not _is_symbol(body.symbol):
        return _malformed(f"not a symbol: {body.symbol!r}")
    ts_ns = _time_ns(body.timestamp)
    if ts_ns is None:
        return _malformed(f"not a time: {body.timestamp!r:.60}")
    bid, ask = body.bid or 0.0, body.ask or 0.0
    price = body.price if body.price is not None else body.last or None
    if price is None and bid and ask:
        price = (bid + ask) / 2.0
    if price is None:
        return _malformed("no price: want price, or last, or both bid and ask")
    size = body.size if body.size is not None else body.volume or 0.0
    tick = Tick(body.symbol, ts_ns, price, bid, ask, size)
    code = refusal(tick, None)
    return tick if code is None else Refusal(code, f"price {price}, bid {bid}, ask {ask}, size {size}")


def _time_ns(stamp: float | str) -> int | None:
    """Give the time in ns since 1970, UTC, or None where the stamp is no time the desk can hold."""
    if isinstance(stamp, str):
        if _NUMBER.fullmatch(stamp) is None:
            return _iso_ns(stamp)
        number = Decimal(stamp)
    elif isinstance(stamp, int):
        if not 0 < stamp <= TS_NS_MAX:
            return None
        number = Decimal(stamp)
    else:
        number = Decimal(str(stamp))
    if not 0 < number <= TS_NS_MAX:
        return None
    if number >= _NS_FROM:
        return int(number)
    if number >= _MS_BEFORE:
        return None
    return int(number * (NS_PER_MS if number >= _MS_FROM else NS_PER_S)) or None


def _iso_ns(text: str) -> int | None:
    parts = _ISO.fullmatch(text)
    if parts is None:
        return None
    whole, fraction, zone = parts.groups()
    try:
        moment = datetime.fromisoformat(whole + (zone or "Z"))
        seconds = (moment - _EPOCH) // timedelta(seconds=1)
    except (ValueError, OverflowError):
        return None
    ts_ns = seconds * NS_PER_S + int((fraction or "").ljust(9, "0"))
    return ts_ns if 0 < ts_ns <= TS_NS_MAX else None


def _is_symbol(text: str) -> bool:
    return 0 < len(text) <= SYMBOL_LENGTH_MAX and text.isprintable() and " " not in text


def _may_repeat_a_key(payload: bytes) -> bool:
    """Say whether a closer look is worth its time; an escape can hide a key."""
    return b"\\" in payload or any(payload.count(key) > 1 for key in _QUOTED_KEYS)


def _refuse_repeated_keys(pairs: list[tuple[str, Any]]) -> None:
    names = {name for name, _ in pairs}
    if len(names) != len(pairs):
        msg = "the json names a key twice"
        raise ValueError(msg)


def _tick_refusal(tick: Tick) -> RefusalCode | None:
    if not tick.symbol or not 0 < tick.ts_ns <= TS_NS_MAX:
        return RefusalCode.MALFORMED
    if not math.isfinite(tick.price + tick.bid + tick.ask + tick.size):
        return RefusalCode.NAN
    if tick.price <= 0.0 or tick.bid < 0.0 or tick.ask < 0.0 or tick.size < 0.0:
        return RefusalCode.NEGATIVE
    if 0.0 < tick.ask < tick.bid:
        return RefusalCode.CROSSED
    return None


def _bar_refusal(bar: Bar) -> RefusalCode | None:
    if not bar.symbol or not 0 < bar.ts_ns < bar.end_ns <= TS_NS_MAX:
        return RefusalCode.MALFORMED
    if not math.isfinite(bar.open + bar.high + bar.low + bar.close + bar.volume):
        return RefusalCode.NAN
    if bar.low <= 0.0 or bar.high <= 0.0 or bar.open <= 0.0 or bar.close <= 0.0 or bar.volume < 0.0:
        return RefusalCode.NEGATIVE
    if bar.high < max(bar.open, bar.close) or bar.low > min(bar.open, bar.close) or bar.high < bar.low:
        return RefusalCode.INCONSISTENT
    return None


def _malformed(text: str) -> Refusal:
    return Refusal(RefusalCode.MALFORMED, text[:200])
