"""The file as desired state, round by round: what the console reads and asks, beside real files and no desk."""

from pathlib import Path

import pytest

from actors.console.desired import WATCH_NS, Desired
from actors.settings import FeedSettings, Settings, StrategySettings
from runtime.effects import Effects
from runtime.log import Log
from tests.runtime.fakes import HandClock

FILE = "strategies: [{name: a, symbol: SPY, strategy: ema_crossover_v001}]\n"


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def desired(tmp_path: Path, clock: HandClock) -> Desired:
    (tmp_path / "s.yaml").write_text(FILE)
    entry = StrategySettings(name="a", symbols=("SPY",), strategy="ema_crossover_v001")
    settings = Settings(strategies=(entry,), feed=FeedSettings(symbols=("SPY",)))
    return Desired(settings, tmp_path / "s.yaml", tmp_path, clock, Log("console"))


def test_a_folder_of_strategies_that_cannot_be_looked_at_keeps_nobody_from_reading_the_file(
    tmp_path: Path, clock: HandClock, desired: Desired
) -> None:
    (tmp_path / "strategies").symlink_to("x" * 300)  # which the system refuses even to look up

    for _ in range(2):  # it is read once it stands still
        desired.look(Effects())
        clock.advance_ns(WATCH_NS)

    assert not desired.is_idle
    desired.close()
