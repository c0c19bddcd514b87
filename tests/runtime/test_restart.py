"""Restart arithmetic: who comes back, how often, with whom, and after how long."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.restart import (
    Backoff,
    Exit,
    ExitKind,
    RestartLimit,
    RestartType,
    Strategy,
    affected,
    record_restart,
    should_restart,
)

S = 1_000_000_000
ABNORMAL_KINDS = [kind for kind in ExitKind if kind is not ExitKind.NORMAL]
BACKOFF = Backoff(base_ns=S // 5, cap_ns=30 * S, healthy_ns=60 * S)


def highest(_low: float, high: float) -> float:
    return high


def never(_low: float, _high: float) -> float:
    msg = "chance was asked"
    raise AssertionError(msg)


@pytest.mark.parametrize("kind", ExitKind)
def test_a_permanent_child_comes_back_however_it_ended(kind: ExitKind) -> None:
    assert should_restart(RestartType.PERMANENT, Exit(kind, ""))


@pytest.mark.parametrize("kind", ABNORMAL_KINDS)
def test_a_transient_child_comes_back_after_an_abnormal_end(kind: ExitKind) -> None:
    assert should_restart(RestartType.TRANSIENT, Exit(kind, ""))


def test_a_transient_child_that_ended_normally_stays_down() -> None:
    assert not should_restart(RestartType.TRANSIENT, Exit(ExitKind.NORMAL, ""))


@pytest.mark.parametrize("kind", ExitKind)
def test_a_temporary_child_stays_down_however_it_ended(kind: ExitKind) -> None:
    assert not should_restart(RestartType.TEMPORARY, Exit(kind, ""))


@pytest.mark.parametrize(
    ("strategy", "dead", "expected"),
    [
        pytest.param(Strategy.ONE_FOR_ONE, "a", ("a",), id="one_for_one-first"),
        pytest.param(Strategy.ONE_FOR_ONE, "c", ("c",), id="one_for_one-last"),
        pytest.param(Strategy.REST_FOR_ONE, "a", ("a", "b", "c"), id="rest_for_one-first"),
        pytest.param(Strategy.REST_FOR_ONE, "b", ("b", "c"), id="rest_for_one-middle"),
        pytest.param(Strategy.REST_FOR_ONE, "c", ("c",), id="rest_for_one-last"),
        pytest.param(Strategy.ONE_FOR_ALL, "b", ("a", "b", "c"), id="one_for_all-middle"),
    ],
)
def test_the_strategy_says_who_shares_a_fall(strategy: Strategy, dead: str, expected: tuple[str, ...]) -> None:
    assert affected(strategy, ["a", "b", "c"], dead) == expected


def test_the_limit_holds_up_to_restarts_max_and_not_one_further() -> None:
    limit = RestartLimit(restarts_max=2, window_ns=60 * S)

    first, is_within_first = record_restart((), 1 * S, limit)
    second, is_within_second = record_restart(first, 2 * S, limit)
    third, is_within_third = record_restart(second, 3 * S, limit)

    assert (is_within_first, is_within_second, is_within_third) == (True, True, False)
    assert third == (3 * S, 2 * S, 1 * S)


def test_a_limit_of_zero_grants_no_restart() -> None:
    assert record_restart((), 5, RestartLimit(restarts_max=0, window_ns=1)) == ((5,), False)


@pytest.mark.parametrize(
    ("age_ns", "is_counted"), [pytest.param(60 * S, True, id="at-the-edge"), pytest.param(60 * S + 1, False, id="past")]
)
def test_a_restart_counts_until_it_has_left_the_window(age_ns: int, *, is_counted: bool) -> None:
    recent_ns, _ = record_restart((S,), S + age_ns, RestartLimit(restarts_max=5, window_ns=60 * S))

    assert (S in recent_ns) is is_counted


@given(st.lists(st.integers(0, 20 * S), max_size=40), st.integers(0, 5), st.integers(1, 10 * S))
def test_no_window_ever_grants_more_than_restarts_max(gaps_ns: list[int], restarts_max: int, window_ns: int) -> None:
    limit = RestartLimit(restarts_max, window_ns)
    restarts_ns: tuple[int, ...] = ()
    granted_ns: list[int] = []
    now_ns = 0

    for gap_ns in gaps_ns:
        now_ns += gap_ns
        restarts_ns, is_within = record_restart(restarts_ns, now_ns, limit)
        if is_within:
            granted_ns.append(now_ns)

    for end_ns in granted_ns:
        assert sum(end_ns - window_ns <= t <= end_ns for t in granted_ns if t <= end_ns) <= restarts_max


def test_time_that_runs_backwards_is_a_programmers_error() -> None:
    with pytest.raises(AssertionError, match="backwards"):
        record_restart((5,), 4, RestartLimit(1, 1))


def test_the_first_restart_is_immediate_and_asks_no_chance() -> None:
    assert BACKOFF.delay_ns(1, never) == 0


@pytest.mark.parametrize(
    ("falls", "span_ms"),
    [(2, 200), (3, 400), (4, 800), (5, 1_600), (9, 25_600), (10, 30_000), (100_000, 30_000)],
)
def test_the_span_doubles_from_the_second_restart_up_to_the_cap(falls: int, span_ms: int) -> None:
    assert BACKOFF.delay_ns(falls, highest) == span_ms * 1_000_000


def test_a_base_of_zero_never_waits() -> None:
    assert Backoff(base_ns=0, cap_ns=0, healthy_ns=S).delay_ns(50, never) == 0


@given(st.integers(1, 200), st.floats(0, 1))
def test_jitter_is_full_and_stays_inside_its_span(falls: int, share: float) -> None:
    delay_ns = BACKOFF.delay_ns(falls, lambda low, high: low + share * (high - low))

    assert 0 <= delay_ns <= BACKOFF.span_ns(falls)


@pytest.mark.parametrize(("restarts_max", "window_ns"), [(-1, 1), (1, 0), (1, -1)])
def test_a_limit_that_cannot_be_kept_is_refused(restarts_max: int, window_ns: int) -> None:
    with pytest.raises(ValueError, match="must be"):
        RestartLimit(restarts_max, window_ns)


@pytest.mark.parametrize(("base_ns", "cap_ns", "healthy_ns"), [(-1, 1, 1), (2, 1, 1), (1, 1, 0)])
def test_a_backoff_that_cannot_be_drawn_is_refused(base_ns: int, cap_ns: int, healthy_ns: int) -> None:
    with pytest.raises(ValueError, match="must be"):
        Backoff(base_ns, cap_ns, healthy_ns)
