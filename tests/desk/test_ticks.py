"""What may enter the desk as a price, and what is said of the rest."""

import json
import math
import string
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from desk.messages import Bar, Tick
from desk.ticks import WIRE_BYTES_MAX, Refusal, parse_wire, refusal
from desk.units import MINUTE_NS, NS_PER_S

T0 = 1_704_724_200 * NS_PER_S
GOOD_TICK = Tick("SPY", T0, 475.0, 474.99, 475.01, 100.0)
GOOD_BAR = Bar("SPY", "1m", T0, T0 + MINUTE_NS, 10.0, 12.0, 9.0, 11.0, 100.0)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({}, None),
        ({"symbol": ""}, "MALFORMED"),
        ({"ts_ns": 0}, "MALFORMED"),
        ({"ts_ns": 2**63}, "MALFORMED"),
        ({"price": math.nan}, "NAN"),
        ({"size": math.inf}, "NAN"),
        ({"bid": -math.inf, "ask": math.inf}, "NAN"),
        ({"price": 0.0}, "NEGATIVE"),
        ({"price": -1.0}, "NEGATIVE"),
        ({"size": -1.0}, "NEGATIVE"),
        ({"bid": -1.0}, "NEGATIVE"),
        ({"ask": 474.98}, "CROSSED"),
        ({"ask": 474.99}, None),
        ({"ask": 0.0}, None),
        ({"ts_ns": T0 - 1}, "OUT_OF_ORDER"),
    ],
)
def test_a_tick_is_refused_for_its_first_fault(changes: dict[str, Any], code: str | None) -> None:
    tick = msgspec.structs.replace(GOOD_TICK, **changes)

    assert refusal(tick, T0) == code


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({}, None),
        ({"symbol": ""}, "MALFORMED"),
        ({"end_ns": T0 + MINUTE_NS}, "MALFORMED"),
        ({"high": math.nan}, "NAN"),
        ({"volume": math.inf}, "NAN"),
        ({"low": 0.0}, "NEGATIVE"),
        ({"volume": -1.0}, "NEGATIVE"),
        ({"high": 10.9}, "INCONSISTENT"),
        ({"low": 10.1}, "INCONSISTENT"),
        ({"ts_ns": T0}, "DUPLICATE"),
        ({"ts_ns": T0 - 1}, "OUT_OF_ORDER"),
    ],
)
def test_a_bar_is_refused_for_its_first_fault(changes: dict[str, Any], code: str | None) -> None:
    good = msgspec.structs.replace(GOOD_BAR, ts_ns=T0 + MINUTE_NS, end_ns=T0 + 2 * MINUTE_NS)
    bar = msgspec.structs.replace(good, **changes)

    assert refusal(bar, T0) == code


def test_the_first_event_of_a_symbol_is_never_out_of_order() -> None:
    assert refusal(GOOD_BAR, None) is None


def wire(**body: Any) -> list[bytes]:
    """Build a single frame for SPY at a good time, with these keys changed; None leaves a key out."""
    keys = {"symbol": "SPY", "timestamp": T0} | body
    return [b"SPY " + json.dumps({name: value for name, value in keys.items() if value is not None}).encode()]


def code_of(frames: list[bytes]) -> str:
    parsed = parse_wire(frames)
    return parsed.code if isinstance(parsed, Refusal) else "ACCEPTED"


def test_a_single_frame_and_a_topic_with_its_json_read_alike() -> None:
    single = wire(price=475.5)

    multipart = single[0].split(b" ", 1)

    assert parse_wire(single) == parse_wire(multipart) == Tick("SPY", T0, 475.5)


@pytest.mark.parametrize(
    ("body", "price"),
    [
        ({"price": 5, "last": 4, "bid": 2, "ask": 3}, 5.0),
        ({"last": 4, "bid": 2, "ask": 3}, 4.0),
        ({"bid": 2, "ask": 3}, 2.5),
        ({"last": 0, "bid": 2, "ask": 3}, 2.5),
    ],
    ids=["price first", "then last", "then the middle", "a last of zero is none"],
)
def test_the_price_is_price_else_last_else_the_middle(body: dict[str, float], price: float) -> None:
    parsed = parse_wire(wire(**body))

    assert isinstance(parsed, Tick)
    assert parsed.price == price


@pytest.mark.parametrize(
    ("stamp", "ts_ns"),
    [
        ("2024-01-08T14:30:00", T0),
        ("2024-01-08 14:30", T0),
        ("2024-01-08T14:30:00Z", T0),
        ("2024-01-08T14:30:00+00:00", T0),
        ("2024-01-08T09:30:00-05:00", T0),
        ("2024-01-08T09:30:00-0500", T0),
        ("2024-01-08T14:30:00.5Z", T0 + NS_PER_S // 2),
        ("2024-01-08T14:30:00.123456789Z", T0 + 123_456_789),
        (1_704_724_200, T0),
        (1_704_724_200.25, T0 + NS_PER_S // 4),
        ("1704724200", T0),
        ("1704724200.123456789", T0 + 123_456_789),
        (1_704_724_200_007, T0 + 7_000_000),
        (1_704_724_200_007.5, T0 + 7_500_000),
        (T0 + 7, T0 + 7),
        (str(T0 + 7), T0 + 7),
    ],
)
def test_a_time_is_read_by_its_form_and_magnitude(stamp: float | str, ts_ns: int) -> None:
    parsed = parse_wire(wire(timestamp=stamp, price=1))

    assert isinstance(parsed, Tick)
    assert parsed.ts_ns == ts_ns


@pytest.mark.parametrize(
    "stamp",
    [
        *("", "now", "2024-13-08T14:30:00Z", "2024-01-08", "2024-01-08T14:30:00 Z", "NaN", "Infinity", "-5", "1e9"),
        *("٢٠٢٤-01-08T14:30:00Z", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+23:59", "1960-01-01T00:00:00Z"),
        *(0, -1, 1_704_724_200_000_000, 2**63, 10**300, 1e300, -1.5, True, [], {}),
    ],
)
def test_what_is_no_time_is_refused(stamp: Any) -> None:
    assert code_of(wire(timestamp=stamp, price=1)) == "MALFORMED"


@pytest.mark.parametrize(
    "payload",
    [
        b'{"symbol":"SPY","timestamp":1704724200,"price":NaN}',
        b'{"symbol":"SPY","timestamp":1704724200,"price":Infinity}',
        b'{"symbol":"SPY","timestamp":1704724200,"price":1e999}',
        b'{"symbol":"SPY","timestamp":1704724200,"price":' + b"9" * 400 + b"}",
        b'{"symbol":"SPY","timestamp":1704724200,"price":"1"}',
        b'{"symbol":"SPY","timestamp":1704724200,"price":true}',
        b'{"symbol":"SPY","timestamp":true,"price":1}',
        b'{"symbol":"SPY","timestamp":1704724200,"price":1,"price":2}',
        b'{"symbol":"SPY","timestamp":1704724200,"price":1,"pric\\u0065":2}',
        b'{"symbol":"SPY","timestamp":1704724200,"x":' + b"[" * 3000,
        b'{"symbol":"SPY","timestamp":1704724200,"bid":1}',
        b'{"symbol":"SPY","timestamp":1704724200}',
        b'{"symbol":"SPYG","timestamp":1704724200,"price":1}',
        b'{"symbol":"spy","timestamp":1704724200,"price":1}',
        b'{"timestamp":1704724200,"price":1}',
        b'["SPY",1704724200,1]',
        b"\xff\xfe",
        b"",
    ],
    ids=lambda payload: payload[-40:].decode("latin-1"),
)
def test_a_body_that_is_no_tick_of_its_topic_is_refused(payload: bytes) -> None:
    assert code_of([b"SPY " + payload]) == "MALFORMED"
    assert code_of([b"SPY", payload]) == "MALFORMED"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"bid": 3, "ask": 2}, "CROSSED"),
        ({"price": 2.5, "bid": 3, "ask": 2}, "CROSSED"),
        ({"price": 0}, "NEGATIVE"),
        ({"price": -1}, "NEGATIVE"),
        ({"bid": -2, "ask": 3}, "NEGATIVE"),
    ],
)
def test_an_impossible_price_is_refused_by_its_name(body: dict[str, float], code: str) -> None:
    assert code_of(wire(**body)) == code


def test_a_text_that_only_looks_like_a_repeated_key_does_no_harm() -> None:
    assert code_of(wire(price=1, kind="price", note='said "price"')) == "ACCEPTED"


def test_a_json_without_a_topic_is_refused() -> None:
    assert code_of([wire(price=1)[0].removeprefix(b"SPY ")]) == "MALFORMED"


def test_a_message_that_is_too_long_is_refused() -> None:
    assert code_of(wire(price=1, note="x" * WIRE_BYTES_MAX)) == "MALFORMED"


@pytest.mark.parametrize("frames", [[], [b"SPY", b"{}", b""]], ids=["none", "three"])
def test_any_other_number_of_frames_is_refused(frames: list[bytes]) -> None:
    assert code_of(frames) == "MALFORMED"


@given(st.lists(st.binary(max_size=200), max_size=4))
def test_no_bytes_make_the_parser_fall(frames: list[bytes]) -> None:
    assert isinstance(parse_wire(frames), Refusal)


TEXT = st.text(string.printable, max_size=30)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
KEYS = st.sampled_from(["symbol", "timestamp", "price", "bid", "ask", "last", "size", "volume", "else"])


@given(st.dictionaries(KEYS, JSON | st.floats(min_value=0.0) | st.just("SPY"), max_size=9))
def test_no_json_makes_the_parser_fall_and_what_it_accepts_is_sound(body: dict[str, Any]) -> None:
    parsed = parse_wire([b"SPY " + json.dumps({"symbol": "SPY", "timestamp": T0} | body).encode()])

    assert isinstance(parsed, Refusal) or refusal(parsed, None) is None
