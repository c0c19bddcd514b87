"""The indicators against their definitions written out, and their states."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from desk.indicators import Ema, Rsi, SessionVwap, Sma

PRICES = st.lists(st.floats(min_value=0.01, max_value=1e6), min_size=1, max_size=60)
BARS = st.lists(
    st.tuples(*(st.floats(min_value=0.01, max_value=1e5) for _ in range(3)), st.floats(min_value=0.0, max_value=1e6)),
    max_size=40,
)


def test_the_first_value_seeds_an_ema() -> None:
    ema = Ema(9)

    assert ema.value is None
    assert ema.add(100.0) == 100.0


def test_an_ema_moves_by_two_over_span_plus_one() -> None:
    ema = Ema(3)
    ema.add(10.0)

    assert ema.add(20.0) == 15.0


@given(PRICES)
def test_an_ema_equals_its_weighted_sum(prices: list[float]) -> None:
    ema, alpha = Ema(9), 0.2

    for price in prices:
        ema.add(price)

    last = len(prices) - 1
    weighted = [alpha * (1 - alpha) ** (last - at) * price for at, price in enumerate(prices) if at > 0]
    expected = (1 - alpha) ** last * prices[0] + math.fsum(weighted)
    assert ema.value == pytest.approx(expected)


def test_a_mean_is_unknown_until_its_window_is_full() -> None:
    mean = Sma(3)

    assert [mean.add(number) for number in (1.0, 2.0, 6.0, 7.0)] == [None, None, 3.0, 5.0]


@given(PRICES)
def test_a_mean_forgets_without_a_trace_what_left_its_window(prices: list[float]) -> None:
    mean = Sma(2)

    for price in [1e15, *prices, 0.1, 0.3]:
        mean.add(price)

    assert mean.value == 0.2


def test_an_rsi_needs_one_price_more_than_its_period() -> None:
    rsi = Rsi(2)

    assert [rsi.add(price) for price in (10.0, 11.0, 10.0)] == [None, None, 50.0]


@pytest.mark.parametrize(
    ("prices", "expected"),
    [
        pytest.param([1.0, 2.0, 3.0], 100.0, id="nothing fell"),
        pytest.param([3.0, 2.0, 1.0], 0.0, id="nothing rose"),
        pytest.param([2.0, 2.0, 2.0], 50.0, id="nothing moved"),
        pytest.param([10.0, 13.0, 12.0], 75.0, id="three up, one down"),
    ],
)
def test_an_rsi_is_the_share_of_gains(prices: list[float], expected: float) -> None:
    rsi = Rsi(2)

    for price in prices:
        rsi.add(price)

    assert rsi.value == expected


def test_a_vwap_is_unknown_while_nothing_was_traded() -> None:
    vwap = SessionVwap()

    assert vwap.add(10.0, 9.0, 9.5, 0.0) is None
    assert vwap.add(12.0, 9.0, 9.0, 5.0) == 10.0


@given(BARS)
def test_a_vwap_is_the_plain_quotient_of_plain_sums(bars: list[tuple[float, float, float, float]]) -> None:
    vwap = SessionVwap()

    for bar in bars:
        vwap.add(*bar)

    weighted = volumes = 0.0
    for high, low, close, volume in bars:
        weighted += (high + low + close) / 3 * volume
        volumes += volume
    assert vwap.value == (weighted / volumes if volumes else None)


def test_a_reset_vwap_knows_nothing_of_the_day_before() -> None:
    vwap = SessionVwap()
    vwap.add(10.0, 10.0, 10.0, 100.0)

    vwap.reset()

    assert vwap.value is None


@pytest.mark.parametrize("kind", [lambda: Ema(9), lambda: Rsi(14), lambda: Sma(20)], ids=["ema", "rsi", "sma"])
@given(before=PRICES, after=PRICES)
def test_an_indicator_continues_from_its_state_bit_for_bit(kind: Any, before: list[float], after: list[float]) -> None:
    whole, broken, resumed = kind(), kind(), kind()
    for price in before:
        whole.add(price)
        broken.add(price)

    resumed.load_state(broken.get_state())

    assert [resumed.add(price) for price in after] == [whole.add(price) for price in after]


@given(before=BARS, after=BARS)
def test_a_vwap_continues_from_its_state_bit_for_bit(
    before: list[tuple[float, float, float, float]], after: list[tuple[float, float, float, float]]
) -> None:
    whole, resumed = SessionVwap(), SessionVwap()
    for bar in before:
        whole.add(*bar)

    resumed.load_state(whole.get_state())

    assert [resumed.add(*bar) for bar in after] == [whole.add(*bar) for bar in after]
