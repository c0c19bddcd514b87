"""The whole desk in one process: what goes wrong is drawn from a seed, and what must hold is looked at."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace
from typer.testing import CliRunner

import actors
from actors.cli import app
from actors.simulation.campaign import Drawing, again, campaign, judged
from actors.simulation.faults import Faults
from actors.simulation.kill_points import POINTS
from actors.simulation.scenario import ALPACA_DESK, KRAKEN_DESK, PAPER_DESK, Draw, scenario

DESKS = (PAPER_DESK, KRAKEN_DESK, ALPACA_DESK)


@pytest.mark.parametrize("batch", range(4))
def test_every_promise_holds_in_two_hundred_seeds(batch: int) -> None:
    found = campaign(range(batch * 50, batch * 50 + 50), Drawing(Draw()))

    assert found.failures == ()
    assert found.seeds == 50
    assert sum(found.faults.values()) > 500


@pytest.mark.parametrize("desk", DESKS)
def test_the_same_seed_is_the_same_run_and_another_is_another(desk: str) -> None:
    drawn = Drawing(Draw(desk))
    one, again, other = (judged(drawn(seed)).outcome for seed in (7, 7, 8))

    assert one == again
    assert one.trace_hash != other.trace_hash


def test_neither_the_order_of_a_set_nor_where_the_desk_lies_decides_anything(tmp_path: Path) -> None:
    for package in ("actors", "desk", "runtime", "strategies"):
        shutil.copytree(Path(actors.__file__).parents[1] / package, tmp_path / package)
    program = "import sys, actors.cli as cli; assert cli.__file__.startswith(sys.argv[1]); cli.app(sys.argv[2:])"
    wanted = [
        sys.executable,
        "-P",
        "-c",
        program,
        tmp_path,
        "simulate",
        "--seeds",
        "24",
        "--from",
        "40",
        "--jobs",
        "1",
        "--json",
    ]
    env = {**os.environ, "PYTHONHASHSEED": "4711", "PYTHONPATH": str(tmp_path)}
    elsewhere = json.loads(subprocess.run(wanted, env=env, check=True, capture_output=True).stdout)

    assert elsewhere["trace_hash"] == campaign(range(40, 64), Drawing(Draw())).trace_hash


def test_the_result_of_many_seeds_does_not_depend_on_how_many_processes_run_them() -> None:
    alone, together = (campaign(range(12), Drawing(Draw()), jobs=jobs) for jobs in (1, 2))

    assert alone.trace_hash == together.trace_hash
    assert (alone.faults, alone.kill_points) == (together.faults, together.kill_points)


@pytest.mark.parametrize("desk", DESKS)
def test_a_desk_on_which_nothing_goes_wrong_trades(desk: str) -> None:
    outcome = judged(scenario(3, Draw(desk, (), 24))).outcome

    assert outcome.violations == ()
    assert outcome.faults == {}
    assert len(outcome.trades) >= 8


def test_a_fault_that_is_left_out_by_its_number_does_not_happen() -> None:
    drawn = Drawing(Draw(KRAKEN_DESK, ("lost", "parts")))
    whole = judged(drawn(5)).outcome
    number = whole.occurrences[0][0]
    kept = tuple(other for other, _ in whole.occurrences if other != number)

    changed = replace(drawn(5), only=kept)

    assert judged(changed).outcome.violations == ()
    assert sum(whole.faults.values()) == len(whole.occurrences)


def test_what_is_not_named_never_goes_wrong() -> None:
    drawn = scenario(11, Draw(PAPER_DESK, ("kill",)))

    assert drawn.faults.kill > 0
    assert drawn.faults == Faults(kill=drawn.faults.kill)


def test_the_command_gives_a_document_for_programs() -> None:
    done = CliRunner().invoke(app, ["simulate", "--seeds", "3", "--jobs", "1", "--json"])

    document = json.loads(done.stdout)
    assert done.exit_code == 0
    assert document["seeds"] == 3
    assert document["violations"] == 0
    assert document.keys() >= {"trace_hash", "seeds_per_second", "faults", "kill_points"}


def test_the_command_shows_the_timeline_of_one_seed() -> None:
    done = CliRunner().invoke(app, ["simulate", "--seed", "4", "--desk", "kraken", "--only", "kill,lost", "--trace"])

    assert done.exit_code == 0
    assert "is born as incarnation 1" in done.stdout
    assert "SubmitOrder" in done.stdout
    assert "1 seeds, 0 with broken promises" in done.stdout


def test_the_command_says_what_it_does_not_know() -> None:
    kind = CliRunner().invoke(app, ["simulate", "--only", "kil"])
    desk = CliRunner().invoke(app, ["simulate", "--desk", "nyse"])

    assert (kind.exit_code, desk.exit_code) == (3, 3)
    assert "--only kil: there is no such kind of fault; there are kill, hang" in kind.stderr
    assert "--desk nyse: there is no such desk; choose one of paper, kraken, alpaca" in desk.stderr


def test_the_command_starts_no_more_processes_than_a_machine_can_bear() -> None:
    done = CliRunner().invoke(app, ["simulate", "--seed", "4", "--jobs", "99999"])

    assert (done.exit_code, "--jobs" in done.stderr) == (2, True)


@pytest.mark.slow
def test_every_promise_holds_in_two_thousand_seeds_and_every_place_of_death_is_reached() -> None:
    found = campaign(range(1_000, 3_000), Drawing(Draw()), jobs=2)

    assert found.failures == ()
    assert [name for name in POINTS if name not in found.kill_points] == []


def test_a_change_that_is_refused_does_not_undo_an_earlier_one_that_went_through_unseen() -> None:
    needed = (1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 16, 17, 18, 19, 20, 21, 22, 23, 25, 26, 28)
    assert again(1692, Draw("", None, 2, has_later=False), only=needed) == ()


def test_a_leg_that_the_venue_ended_is_not_placed_again_before_the_other_one_was_asked_for() -> None:
    assert again(5497, Draw(has_later=False)) == ()


def test_a_day_is_over_when_an_execution_comes_from_behind_it_and_the_market_has_not_said_so_yet() -> None:
    assert again(40204, Draw("", None, 6)) == ()


def test_a_strategy_that_falls_while_it_waits_for_others_asks_them_again() -> None:
    assert again(4500, Draw()) == ()


def test_a_risk_that_falls_between_a_fill_and_its_price_counts_the_day_as_one_that_does_not_fall() -> None:
    assert again(10086, Draw()) == ()
