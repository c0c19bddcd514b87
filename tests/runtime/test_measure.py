"""How late a loop is: the figures are never below the truth, and hardly above it."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.measure import PAUSE_NS, SLICE_NS, SLICES, Lags, Stuck, Turns, bucket_of, bucket_top_ns

spans = st.integers(min_value=0, max_value=1 << 42)


@given(spans, spans)
def test_a_longer_span_is_never_in_a_lower_bucket(one: int, other: int) -> None:
    low, high = sorted((one, other))

    assert bucket_of(low) <= bucket_of(high)


@given(spans)
def test_the_top_of_a_bucket_is_in_it_and_the_next_span_is_not(span: int) -> None:
    bucket = bucket_of(span)

    assert bucket_of(bucket_top_ns(bucket)) == bucket
    assert bucket_of(bucket_top_ns(bucket) + 1) == bucket + 1


@given(st.lists(spans, min_size=1, max_size=200), st.floats(min_value=0.01, max_value=1.0))
def test_a_quantile_is_never_below_the_true_one_and_at_most_a_sixteenth_above(found: list[int], share: float) -> None:
    lags = Lags()
    for span in found:
        lags.add(span, 0)

    (said,) = lags.quantiles((share,), 0)

    true = sorted(found)[max(0, math.ceil(share * len(found)) - 1)]
    assert true <= said <= true + true // 16 + 1024


@given(st.lists(st.tuples(spans, st.integers(min_value=0, max_value=3 * SLICE_NS)), min_size=1, max_size=60))
def test_what_is_older_than_the_window_is_forgotten_and_what_is_younger_is_not(steps: list[tuple[int, int]]) -> None:
    lags, now_ns, added = Lags(), 0, list[tuple[int, int]]()
    for span, pause_ns in steps:
        now_ns += pause_ns
        lags.add(span, now_ns)
        added.append((span, now_ns))

    (said,) = lags.quantiles((1.0,), now_ns)

    young = [span for span, at_ns in added if now_ns - at_ns < (SLICES - 1) * SLICE_NS]
    remembered = [span for span, at_ns in added if now_ns - at_ns < SLICES * SLICE_NS]
    assert said >= max(young)
    assert said <= max(remembered) + max(remembered) // 16 + 1024


def test_where_nothing_was_counted_lately_the_lags_are_zero() -> None:
    lags = Lags()
    lags.add(5_000_000, 0)

    assert lags.quantiles((0.5, 0.99), SLICES * SLICE_NS) == (0, 0)


MS = 1_000_000


def test_a_turn_after_an_idle_time_counts_from_its_start() -> None:
    turns = Turns(full=256)
    turns.begin(100 * MS)
    turns.end(103 * MS, 1, "bar")

    measured = turns.report(103 * MS)

    assert measured.lag_p99_ns == bucket_top_ns(bucket_of(3 * MS))
    assert (measured.depth, measured.slowest_ns, measured.slowest) == (1, 3 * MS, "bar")


def test_a_turn_right_behind_a_long_one_counts_the_wait_behind_it() -> None:
    turns = Turns(full=256)
    turns.begin(100 * MS)
    turns.end(600 * MS, 1, "slow")
    turns.begin(600 * MS + PAUSE_NS)
    turns.end(601 * MS, 3, "quick")

    measured = turns.report(601 * MS)

    assert measured.lag_p99_ns == bucket_top_ns(bucket_of(501 * MS))
    assert (measured.depth, measured.slowest) == (3, "slow")


def test_what_waits_is_as_old_as_the_last_look_that_found_the_sockets_empty() -> None:
    turns = Turns(full=10)
    turns.begin(100 * MS)
    turns.end(101 * MS, 9, "a")
    assert turns.report(101 * MS).oldest_ns == 1 * MS

    turns.begin(101 * MS)
    turns.end(105 * MS, 10, "a")  # ten taken: more may be left behind
    turns.begin(105 * MS)
    turns.end(110 * MS, 10, "a")

    assert turns.report(110 * MS).oldest_ns == 10 * MS


def test_a_turn_without_messages_is_no_lag() -> None:
    turns = Turns(full=10)
    turns.begin(100 * MS)
    turns.end(900 * MS, 0, "timer")

    measured = turns.report(900 * MS)

    assert (measured.lag_p99_ns, measured.depth, measured.slowest_ns) == (0, 0, 0)


@given(st.lists(st.tuples(st.integers(0, 5 * MS), st.integers(0, 5 * MS), st.integers(0, 20)), min_size=1, max_size=50))
def test_a_lag_is_never_shorter_than_its_turn_and_no_message_is_older_than_it_is_said(
    steps: list[tuple[int, int, int]],
) -> None:
    turns, now_ns, began_ns, longest = Turns(full=10), 10**9, 0, 0
    for pause_ns, span_ns, taken in steps:
        began_ns = now_ns + pause_ns
        turns.begin(began_ns)
        now_ns = began_ns + span_ns
        turns.end(now_ns, taken, "x")
        longest = max(longest, span_ns if taken else 0)

    measured = turns.report(now_ns)

    assert measured.slowest_ns == longest
    assert measured.oldest_ns >= now_ns - began_ns
    (high,) = turns._lags.quantiles((1.0,), now_ns)
    assert high >= longest or not any(taken for _, _, taken in steps)


def test_the_figures_between_two_reports_begin_anew_and_the_lags_go_on() -> None:
    turns = Turns(full=10)
    turns.begin(100 * MS)
    turns.end(103 * MS, 4, "bar")
    first = turns.report(103 * MS)

    second = turns.report(104 * MS)

    assert (second.depth, second.slowest_ns, second.slowest) == (0, 0, "")
    assert second.lag_p50_ns == first.lag_p50_ns > 0


@pytest.mark.parametrize(
    ("looks", "ages"),
    [
        pytest.param([({"a": 1}, 10), ({"a": 1}, 25)], {"a": 15}, id="the same one still waits"),
        pytest.param([({"a": 1}, 10), ({"a": 2}, 25)], {"a": 0}, id="the next one waits"),
        pytest.param([({"a": 1}, 10), ({}, 20), ({"a": 1}, 25)], {"a": 0}, id="nothing waited in between"),
        pytest.param([({"a": 1, "b": 4}, 10), ({"b": 4}, 25)], {"b": 15}, id="each link for itself"),
    ],
)
def test_a_link_is_stuck_for_as_long_as_the_same_parcel_is_its_oldest(
    looks: list[tuple[dict[str, int], int]], ages: dict[str, int]
) -> None:
    stuck = Stuck()

    said = [stuck.look(oldest, now_ns) for oldest, now_ns in looks]

    assert said[-1] == ages
