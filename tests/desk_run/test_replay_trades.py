"""A replay through the whole desk makes exactly the trades of an independent loop, and of the simulated desk."""

import os
import signal
from pathlib import Path

import pytest

from actors.journal import read_journal
from actors.settings import encode_settings
from actors.settings_file import load
from actors.simulation.campaign import OwnDesk, judged
from actors.simulation.course import Trade as Execution
from actors.words import desk_codec
from desk.messages import FillBooked
from runtime.store import Reader
from tests.desk_run.falls import pids, until_all_run
from tests.desk_run.harness import Desk
from tests.desk_run.markets import vwap, write_market
from tests.market_files import real_data
from tests.strategies.oracle_vwap import Rules, Trade, trades_of

FILLS = ("next_open", "close")
DEVIATIONS = {"three": 0.003, "one": 0.001}
EXIT_REFUSED = 3
RECORDED = ("SPY_1m_2019-02_eqker", "SPY_1m_2025-05_bswdemo")


def replay(file: Path, fill: str, speed: str = "max") -> str:
    """Give a configuration of two strategies on one file, at the rules' own settings, without costs."""
    hours = {"trade_start_time": '"10:00"', "trade_end_time": '"11:30"'}
    entries = (vwap(name, "SPY", entry_deviation_pct=share, **hours) for name, share in DEVIATIONS.items())
    return (
        f"strategies:\n{''.join(entries)}global:\n"
        f'  feed: {{kind: replay, speed: {speed}, files: {{SPY: "{file}"}}}}\n'
        f"  paper: {{fill: {fill}, slippage_bps: 0, taker_fee_bps: 0, maker_fee_bps: 0}}\n"
    )


def traded(desk: Desk, strategy: str) -> list[Trade]:
    """Give one strategy's trades as the loop gives them."""
    return [
        Trade(
            row["opened_ns"],
            float(row["entry_price"]),
            row["closed_ns"],
            float(row["exit_price"]),
            float(row["quantity"]),
            row["exit_reason"],
        )
        for row in desk.trades()
        if row["strategy"] == strategy
    ]


def check_against_the_loop(desk: Desk, file: Path, fill: str) -> None:
    for name, deviation in DEVIATIONS.items():
        assert traded(desk, name) == trades_of(file, fill, Rules(deviation=deviation))
    assert traded(desk, "one")


def check_against_the_simulation(desk: Desk) -> None:
    """The same configuration on the same file, simulated without a fault, makes the same executions, one by one."""
    settings = load(desk.file).settings
    assert settings is not None
    outcome = judged(OwnDesk(encode_settings(settings), is_calm=True)(0)).outcome

    journal = Reader.open(desk.state / "ledger")
    bodies = [record.body for record in read_journal(journal, desk_codec())]
    journal.close()
    real = tuple(
        Execution(body.strategy, body.symbol, body.side.value, body.quantity, body.price, body.fee, body.ts_ns)
        for body in bodies
        if isinstance(body, FillBooked)
    )
    assert outcome.violations == ()
    assert outcome.trades == real
    assert real


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Write a part of a session."""
    return write_market(tmp_path / "market", 200, ["SPY"])["SPY"]


@pytest.mark.parametrize("fill", [FILLS[0], pytest.param(FILLS[1], marks=pytest.mark.slow)])
def test_on_a_made_up_market_the_trades_are_those_of_the_loop(fill: str, tmp_path: Path) -> None:
    file = write_market(tmp_path / "market", 390, ["SPY"], seed=11)["SPY"]

    with Desk(tmp_path / "desk", replay(file, fill)) as desk:
        desk.run()

    check_against_the_loop(desk, file, fill)
    check_against_the_simulation(desk)


@pytest.mark.slow
@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("name", RECORDED)
def test_on_recorded_days_the_trades_are_those_of_the_loop(name: str, fill: str, tmp_path: Path) -> None:
    file = real_data() / "bars" / f"{name}.csv.gz"

    with Desk(tmp_path / "desk", replay(file, fill)) as desk:
        desk.run()

    check_against_the_loop(desk, file, fill)
    check_against_the_simulation(desk)


@pytest.mark.slow
def test_a_finished_replay_that_is_run_again_trades_no_more_and_says_the_same(small: Path, tmp_path: Path) -> None:
    with Desk(tmp_path / "desk", replay(small, "next_open")) as desk:
        trades = desk.run().trades()
        first = desk.said()
        desk.run()
        second = desk.said().removeprefix(first)

    assert desk.trades() == trades
    assert first[first.index("finished: 200 bars") :] == second[second.index("finished: 200 bars") :]


def test_another_feed_on_the_same_state_folder_is_refused_with_words(small: Path, tmp_path: Path) -> None:
    other = write_market(tmp_path / "other", 30, ["SPY"])["SPY"]
    with Desk(tmp_path / "desk", replay(small, "next_open")) as desk:
        trades = desk.run().trades()
        desk.file.write_text(replay(other, "next_open"), encoding="utf-8")
        code = desk.start().wait()

    assert code == EXIT_REFUSED
    assert f"{desk.state} belongs to another feed" in desk.said()
    assert str(small) in desk.said()
    assert str(other) in desk.said()
    assert desk.trades() == trades


@pytest.mark.slow
def test_a_second_desk_on_the_same_state_folder_is_refused_and_disturbs_nothing(small: Path, tmp_path: Path) -> None:
    with Desk(tmp_path / "desk", replay(small, "next_open", speed="60")) as first:
        before = until_all_run(first.start())
        with Desk(tmp_path / "desk", replay(small, "next_open", speed="60")) as second:
            second.output = tmp_path / "second.txt"
            code = second.start().wait()
        after = until_all_run(first)
        os.kill(first.root_pid, signal.SIGTERM)
        ended = first.wait()

    assert code == EXIT_REFUSED
    assert f"is in use by another desk (process {first.root_pid})" in second.said()
    assert pids(after) == pids(before)
    assert ended == 0
