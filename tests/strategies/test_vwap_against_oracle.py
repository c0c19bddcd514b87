"""The VWAP strategy makes exactly the trades of an independent loop over the same bars."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from actors.feeds.feed import Feed
from actors.feeds.replay import ReplayFeed
from actors.feeds.synthetic import SyntheticFeed
from desk.messages import Bar
from strategies.vwap_micro_mean_reversion import VwapMicroMeanReversion, VwapParameters
from tests.market_files import BAR_HEADER, real_data
from tests.strategies.backtest import Backtest
from tests.strategies.oracle_vwap import Rules, Trade, trades_of
from tests.strategies.views import INSTANCE

FILLS = ["next_open", "close"]
FILES = ["SPY_1m_2013-10_2023-08_lean", "SPY_1m_2019-02_eqker", "SPY_1m_2025-05_bswdemo"]
LIMITS = {"max_trades_per_day": 2, "daily_loss_limit_usd": 1.0, "max_notional_usd": 250.0}


def bars_of(feed: Feed) -> Iterator[Bar]:
    for event in iter(feed.next_event, None):
        assert isinstance(event, Bar)
        yield event


def traded(path: Path, fill: str, **settings: Any) -> list[Trade]:
    parameters = msgspec.convert({"entry_order_type": "market"} | settings, VwapParameters)
    feed = ReplayFeed({"SPY": path})
    trades = Backtest(VwapMicroMeanReversion(parameters, INSTANCE), fill).run(bars_of(feed))
    feed.close()
    return trades


@pytest.fixture(scope="module")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write fifty made-up sessions."""
    path = tmp_path_factory.mktemp("market") / "SPY.csv"
    feed = SyntheticFeed(["SPY"], seed=11)
    with path.open("w") as file:
        file.write(BAR_HEADER)
        for _ in range(50 * 390):
            bar = feed.next_event()
            assert bar is not None
            file.write(f"x,{bar.ts_ns},{bar.open},{bar.high},{bar.low},{bar.close},{bar.volume}\n")
    return path


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("deviation", [0.003, 0.001])
@pytest.mark.parametrize("name", FILES)
def test_on_recorded_days_the_trades_are_those_of_the_loop(name: str, deviation: float, fill: str) -> None:
    path = real_data() / "bars" / f"{name}.csv.gz"

    trades = traded(path, fill, entry_deviation_pct=deviation)

    assert trades == trades_of(path, fill, Rules(deviation=deviation))


def test_the_recorded_days_have_trades_to_compare() -> None:
    folder = real_data() / "bars"

    trades = [
        trade for name in FILES for trade in traded(folder / f"{name}.csv.gz", "close", entry_deviation_pct=0.001)
    ]

    assert {"STOP_LOSS", "MEAN_REVERSION"} <= {trade.exit_reason for trade in trades}


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("deviation", [0.003, 0.001])
def test_on_made_up_days_the_trades_are_those_of_the_loop(made_up: Path, deviation: float, fill: str) -> None:
    trades = traded(made_up, fill, entry_deviation_pct=deviation)

    assert trades == trades_of(made_up, fill, Rules(deviation=deviation))
    assert len(trades) > 50


@pytest.mark.parametrize("fill", FILLS)
def test_with_limits_the_trades_are_those_of_the_loop(made_up: Path, fill: str) -> None:
    trades = traded(made_up, fill, **LIMITS)

    rules = Rules(trades_max=2, loss_max=1.0, notional_max=250.0)
    assert trades == trades_of(made_up, fill, rules)
    assert len(trades) < len(traded(made_up, fill))


@pytest.mark.parametrize("fill", FILLS)
def test_a_position_that_outlives_the_stop_and_the_average_leaves_at_the_flat_time(made_up: Path, fill: str) -> None:
    trades = traded(made_up, fill, stop_loss_pct=0.02, trade_end_time="15:50")

    assert trades == trades_of(made_up, fill, Rules(stop=0.02, end=15 * 3600 + 50 * 60))
    assert "FORCE_FLAT" in {trade.exit_reason for trade in trades}
