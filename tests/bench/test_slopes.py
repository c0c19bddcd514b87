"""A leak is told from noise, from a single jump, and from a row that is too short to tell."""

import random

import pytest

from bench.slopes import SPANS, Growth, Slope, slope_of

#: Ten minutes, a reading each second.
TIMES_S = [float(second) for second in range(600)]
BOUND = 4.0


def readings(per_hour: float, noise: float, seed: int) -> list[float]:
    """Give readings that grow so much in an hour and tremble so much, each a little like the one before."""
    chance, drift, row = random.Random(seed), 0.0, []
    for at_s in TIMES_S:
        drift = 0.95 * drift + chance.gauss(0, noise)
        row.append(28.0 + per_hour * at_s / 3600 + drift)
    return row


def growth(row: list[float]) -> Growth:
    slope = slope_of(TIMES_S, row)
    assert slope is not None
    return slope.growth(BOUND)


@pytest.mark.parametrize("seed", range(20))
def test_a_leak_is_recognised_through_noise(seed: int) -> None:
    assert growth(readings(per_hour=40.0, noise=0.05, seed=seed)) is Growth.LEAKS


@pytest.mark.parametrize("seed", range(20))
def test_what_only_trembles_is_never_called_a_leak(seed: int) -> None:
    assert growth(readings(per_hour=0.0, noise=0.05, seed=seed)) is not Growth.LEAKS


def test_what_hardly_trembles_is_flat() -> None:
    assert growth(readings(per_hour=0.0, noise=0.002, seed=1)) is Growth.FLAT


def test_growth_below_the_bound_is_no_leak() -> None:
    assert growth(readings(per_hour=2.0, noise=0.002, seed=1)) is Growth.FLAT


def test_a_row_that_never_changes_has_no_slope_at_all() -> None:
    assert slope_of(TIMES_S, [7.0] * len(TIMES_S)) == Slope(0.0, 0.0, 0.0)


def test_a_straight_line_has_its_own_slope_and_no_doubt() -> None:
    slope = slope_of(TIMES_S, [36.0 * at_s / 3600 for at_s in TIMES_S])

    assert slope is not None
    assert slope.low == pytest.approx(36.0)
    assert slope.per_hour == pytest.approx(36.0)
    assert slope.high == pytest.approx(36.0)


@pytest.mark.parametrize("at_s", [60, 150, 300, 450, 540])
def test_one_jump_is_no_leak_and_no_promise_either(at_s: int) -> None:
    slope = slope_of(TIMES_S, [28.0 if each < at_s else 29.5 for each in TIMES_S])

    assert slope is not None
    assert slope.low == 0.0
    assert slope.growth(BOUND) is not Growth.LEAKS


def test_jumps_that_go_on_are_a_leak() -> None:
    assert growth([28.0 + at_s // 60 for at_s in TIMES_S]) is Growth.LEAKS


def test_of_a_row_that_is_too_short_nothing_is_said() -> None:
    assert slope_of([], []) is None
    assert slope_of([1.0], [1.0]) is None
    assert slope_of(TIMES_S[: SPANS + 3], [1.0] * (SPANS + 3)) is None
    assert slope_of([0.0, 1.0, *[599.0] * 100], [1.0] * 102) is None
