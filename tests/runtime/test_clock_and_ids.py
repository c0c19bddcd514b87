"""Time comes from one place, identifiers from another."""

import re

import pytest

from runtime.clock import NS_PER_MS, NS_PER_S, Clock
from runtime.ids import FRESH_DIGITS, fresh_id
from tests.runtime.fakes import HandClock


@pytest.mark.parametrize("clock", [pytest.param(Clock(), id="real"), pytest.param(HandClock(), id="fake")])
def test_monotonic_time_is_whole_nanoseconds_and_never_steps_back(clock: Clock) -> None:
    times = [clock.monotonic_ns() for _ in range(1000)]

    assert times == sorted(times)
    assert all(isinstance(time, int) for time in times)
    assert isinstance(clock.wall_ns(), int)


def test_the_units_agree() -> None:
    assert NS_PER_S == 1000 * NS_PER_MS


def test_no_two_fresh_identifiers_are_the_same() -> None:
    ids = {fresh_id() for _ in range(10_000)}

    assert len(ids) == 10_000
    assert all(re.fullmatch(f"[0-9a-f]{{{FRESH_DIGITS}}}", one) for one in ids)
