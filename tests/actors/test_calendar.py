"""New York's calendar against the zone's own rules."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.calendar import NewYork, instant_ns
from desk.units import NS_PER_S

ZONE = ZoneInfo("America/New_York")
SECONDS = st.integers(min_value=1, max_value=4_102_444_800)
DST_DAYS = [date(2024, 3, 10), date(2024, 11, 3), date(1974, 1, 6), date(2006, 4, 2), date(2006, 10, 29)]


def asked_of_the_zone(second: int) -> tuple[str, int]:
    local = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=second)).astimezone(ZONE)
    return local.date().isoformat(), local.hour * 3600 + local.minute * 60 + local.second


@given(st.lists(SECONDS, min_size=1, max_size=5))
def test_any_moments_in_any_order_are_those_of_the_zone(seconds: list[int]) -> None:
    calendar = NewYork()

    moments = [calendar.moment(second * NS_PER_S + 999_999_999) for second in seconds]

    assert [(moment.day, moment.second_of_day) for moment in moments] == [asked_of_the_zone(at) for at in seconds]


@pytest.mark.parametrize("day", DST_DAYS, ids=str)
def test_every_minute_of_a_day_on_which_the_clock_changes_is_that_of_the_zone(day: date) -> None:
    calendar = NewYork()
    start = instant_ns(day, 0) // NS_PER_S
    seconds = range(start - 3600, start + 26 * 3600, 60)

    moments = [calendar.moment(second * NS_PER_S) for second in seconds]

    assert [(moment.day, moment.second_of_day) for moment in moments] == [asked_of_the_zone(at) for at in seconds]


def test_a_moment_keeps_its_instant() -> None:
    assert NewYork().moment(1_704_724_200_000_000_007).ts_ns == 1_704_724_200_000_000_007


@pytest.mark.parametrize("day", [*DST_DAYS, date(2024, 1, 8), date(2024, 7, 8)], ids=str)
def test_the_instant_of_a_wall_clock_shows_that_wall_clock(day: date) -> None:
    moment = NewYork().moment(instant_ns(day, 9 * 3600 + 30 * 60))

    assert (moment.day, moment.second_of_day) == (day.isoformat(), 34_200)
