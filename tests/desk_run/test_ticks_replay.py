"""Ticks in simulated time: bars are built from them, and orders meet the next tick."""

from pathlib import Path

import pytest

from desk.units import NS_PER_S
from tests.desk_run.harness import Desk
from tests.desk_run.markets import configuration, vwap, write_market


def as_ticks(bars: Path, ticks: Path) -> None:
    """Write each bar as four ticks, open first and close last, a quarter of the volume each."""
    lines = ["ts_ns,price,size"]
    for row in bars.read_text(encoding="utf-8").splitlines()[1:]:
        ts_ns, opened, high, low, close, volume = row.split(",")
        for place, price in enumerate((opened, high, low, close)):
            lines.append(f"{int(ts_ns) + place * 14 * NS_PER_S},{price},{float(volume) / 4!r}")
    ticks.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _trades(desk: Desk) -> list[tuple[str, ...]]:
    kept = ("entry_price", "exit_price", "quantity", "exit_reason", "opened_ns", "closed_ns")
    return [tuple(str(trade[name]) for name in kept) for trade in desk.trades()]


@pytest.mark.slow
def test_a_replay_of_ticks_trades_as_the_replay_of_their_bars(tmp_path: Path) -> None:
    files = write_market(tmp_path, 150, symbols=("SPY",))
    ticks = tmp_path / "ticks.csv"
    as_ticks(files["SPY"], ticks)
    entries = [vwap("spy", "SPY", vwap_min_bars=5, trade_start_time='"09:30"')]

    with Desk(tmp_path / "bars", configuration(entries, files)) as by_bars:
        by_bars.run()
    with Desk(tmp_path / "ticks", configuration(entries, {"SPY": ticks})) as by_ticks:
        by_ticks.run()

    assert _trades(by_bars)
    assert _trades(by_ticks) == _trades(by_bars)
