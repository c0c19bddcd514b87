"""Bars from ticks and from smaller bars."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from desk.bars import BarBuilder, BarBuilderState
from desk.messages import Bar, Tick
from desk.units import MINUTE_NS, NS_PER_S

T0 = 1_704_724_200 * NS_PER_S
FIVE = 5 * MINUTE_NS


def tick(after_s: float, price: float, size: float = 1.0) -> Tick:
    return Tick("SPY", T0 + int(after_s * NS_PER_S), price, 0.0, 0.0, size)


def minute(at: int, low: float = 9.0, high: float = 11.0, volume: float = 2.0) -> Bar:
    ts_ns = T0 + at * MINUTE_NS
    return Bar("SPY", "1m", ts_ns, ts_ns + MINUTE_NS, low, high, low, high, volume)


def fed(builder: BarBuilder, *events: Tick | Bar) -> list[Bar]:
    """Give the events to the builder as the market does; give all bars that come out."""
    out: list[Bar] = []
    for event in events:
        time_ns = event.end_ns if isinstance(event, Bar) else event.ts_ns
        out += [bar for bar in (builder.close_before(time_ns), builder.add(event)) if bar is not None]
    return out


def test_ticks_make_a_bar_that_closes_with_the_first_tick_at_its_end() -> None:
    builder = BarBuilder("SPY", "1m")

    bars = fed(builder, tick(1, 10.0), tick(20, 12.0), tick(40, 9.0, 5.0), tick(59.9, 11.0), tick(60, 20.0))

    assert bars == [Bar("SPY", "1m", T0, T0 + MINUTE_NS, 10.0, 12.0, 9.0, 11.0, 8.0)]


def test_a_bar_of_ticks_closes_when_the_time_reaches_its_end_and_not_before() -> None:
    builder = BarBuilder("SPY", "1m")
    fed(builder, tick(1, 10.0))

    assert builder.close_before(T0 + MINUTE_NS - 1) is None
    assert builder.close_before(T0 + MINUTE_NS) == Bar("SPY", "1m", T0, T0 + MINUTE_NS, 10.0, 10.0, 10.0, 10.0, 1.0)
    assert builder.close_before(T0 + MINUTE_NS) is None


def test_minutes_without_a_tick_yield_no_bar() -> None:
    builder = BarBuilder("SPY", "1m")

    bars = fed(builder, tick(1, 10.0), tick(600, 11.0), tick(661, 12.0))

    assert [bar.ts_ns for bar in bars] == [T0, T0 + 10 * MINUTE_NS]


def test_bars_are_aligned_to_multiples_of_the_timeframe_since_1970() -> None:
    builder = BarBuilder("SPY", "1h")

    bars = fed(builder, tick(0, 10.0), tick(3600, 11.0))

    assert bars[0].ts_ns % (60 * MINUTE_NS) == 0
    assert bars[0].ts_ns <= T0 < bars[0].end_ns


def test_the_fifth_minute_completes_a_five_minute_bar_by_itself() -> None:
    builder = BarBuilder("SPY", "5m", "1m")

    bars = fed(builder, minute(0, 10.0, 12.0), minute(1, 8.0, 9.0), minute(2), minute(3), minute(4, 10.0, 10.5))

    assert bars == [Bar("SPY", "5m", T0, T0 + FIVE, 10.0, 12.0, 8.0, 10.5, 10.0)]


def test_the_event_of_another_symbol_at_a_bars_end_does_not_close_it_yet() -> None:
    builder = BarBuilder("SPY", "5m", "1m")
    fed(builder, minute(0), minute(3))

    assert builder.close_before(T0 + FIVE) is None
    assert fed(builder, minute(4)) != []


def test_a_five_minute_bar_whose_last_minute_is_missing_closes_before_the_next_event() -> None:
    builder = BarBuilder("SPY", "5m", "1m")
    fed(builder, minute(0), minute(3))

    closed = builder.close_before(minute(5).end_ns)

    assert closed is not None
    assert (closed.ts_ns, closed.end_ns, closed.volume) == (T0, T0 + FIVE, 4.0)


def test_a_feed_bar_of_the_wanted_timeframe_passes_through_unchanged() -> None:
    builder = BarBuilder("SPY", "1m", "1m")
    bar = minute(0)

    assert fed(builder, bar) == [bar]
    assert builder.close_before(T0 + FIVE) is None


def test_a_feed_bar_of_the_wanted_length_comes_out_under_the_wanted_name() -> None:
    builder = BarBuilder("SPY", "60s", "1m")

    assert [bar.timeframe for bar in fed(builder, minute(0))] == ["60s"]


@pytest.mark.parametrize(("timeframe", "source"), [("1m", "5m"), ("3m", "2m"), ("1h", "1d")])
def test_bars_that_cannot_be_built_from_the_feed_are_refused_with_clear_words(timeframe: str, source: str) -> None:
    with pytest.raises(ValueError, match=rf"bars of {timeframe} cannot be built from the feed's bars of {source}"):
        BarBuilder("SPY", timeframe, source)


def test_a_late_tick_fits_into_no_bar() -> None:
    builder = BarBuilder("SPY", "1m")
    fed(builder, tick(1, 10.0))
    builder.close_before(T0 + MINUTE_NS)

    assert builder.misfit(tick(30, 10.0)) == "OUT_OF_ORDER"
    assert builder.misfit(tick(61, 10.0)) is None


def test_a_tick_from_before_the_open_bar_fits_into_no_bar() -> None:
    builder = BarBuilder("SPY", "1m")
    fed(builder, tick(121, 10.0))

    assert builder.misfit(tick(30, 10.0)) == "OUT_OF_ORDER"


def test_a_bar_that_reaches_over_an_edge_fits_into_no_bar() -> None:
    builder = BarBuilder("SPY", "5m", "1m")
    ts_ns = T0 + FIVE - NS_PER_S

    straddling = Bar("SPY", "1m", ts_ns, ts_ns + MINUTE_NS, 1.0, 1.0, 1.0, 1.0, 1.0)

    assert builder.misfit(straddling) == "INCONSISTENT"


MINUTES = st.lists(st.integers(min_value=0, max_value=60), min_size=1, unique=True).map(sorted)


@given(MINUTES)
def test_no_volume_is_lost_or_told_twice(ats: list[int]) -> None:
    builder = BarBuilder("SPY", "5m", "1m")

    bars = fed(builder, *(minute(at, volume=1.0) for at in ats), minute(100), minute(200))

    assert sum(bar.volume for bar in bars[: len({at // 5 for at in ats})]) == len(ats)
    assert [bar.ts_ns for bar in bars] == sorted({bar.ts_ns for bar in bars})


@given(MINUTES, st.integers(min_value=0, max_value=60))
def test_a_restored_builder_continues_as_if_it_had_never_stopped(ats: list[int], cut: int) -> None:
    whole, first, second = (BarBuilder("SPY", "5m", "1m") for _ in range(3))
    events = [minute(at, volume=float(at)) for at in ats]

    before = fed(first, *events[:cut])
    wire = msgspec.msgpack.encode(first.state())
    second.restore(msgspec.msgpack.decode(wire, type=BarBuilderState))

    assert before + fed(second, *events[cut:]) == fed(whole, *events)
