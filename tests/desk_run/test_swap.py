"""The code of a strategy: what runs is pinned, and new code comes in only when it was tried."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from actors.control_client import VerbRefusedError
from tests.desk_run.conftest import own_entry, own_strategies
from tests.desk_run.falls import evaluated, kill_again, pids, restarts, until_all_run, until_gone
from tests.desk_run.harness import Desk
from tests.desk_run.markets import PATIENT, PATIENT_ROOMS, configuration, vwap, write_market

EVENTS = 2000


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    return write_market(tmp_path / "market", EVENTS, ["SPY"])


def a_desk(folder: Path, files: dict[str, Path], speed: str = "1200") -> Desk:
    entries = [own_entry("edited", "edited", "SPY", every=5), vwap("other", "SPY") + PATIENT]
    desk = Desk(folder, configuration(entries, files, speed=speed, more=PATIENT_ROOMS))
    own_strategies(folder)
    return desk


def edit(desk: Desk, old: str, new: str) -> None:
    """Edit the strategy's file as an editor does: at once."""
    file = desk.folder / "strategies" / "edited.py"
    fresh = file.with_suffix(".tmp")
    fresh.write_text(file.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    fresh.rename(file)


def edit_speed(desk: Desk) -> None:
    """Let the rest of the market come as fast as it can, at the next start."""
    desk.ask("stop")
    assert desk.wait() == 0
    text = desk.file.read_text(encoding="utf-8")
    desk.file.write_text(text.replace("speed: 6000", "speed: max"), encoding="utf-8")
    desk.start()


def until_evaluated(desk: Desk, bars: int) -> None:
    desk.until(lambda status: next(r for r in status["strategies"] if r["name"] == "edited")["bars_evaluated"] >= bars)


@pytest.mark.slow
def test_a_half_edited_file_enters_neither_by_a_fall_nor_by_the_death_of_the_desk(
    files: dict[str, Path], tmp_path: Path
) -> None:
    with a_desk(tmp_path / "desk", files) as desk:
        until_all_run(desk.start())
        until_evaluated(desk, 3)
        edit(desk, 'TEXT = "first"', "TEXT = half an edi")

        kill_again(desk, "strategies/edited")
        until_evaluated(desk, evaluated(desk, "edited").bars + 2)
        row = desk.strategy("edited")
        os.kill(desk.root_pid, signal.SIGKILL)
        desk.wait()
        until_gone(desk)
        again = until_all_run(desk.start())
        until_evaluated(desk, evaluated(desk, "edited").bars + 2)

    state = evaluated(desk, "edited").state
    assert row["code_differs"]
    assert any("edited" in alarm and "bulkhead swap edited" in alarm for alarm in again["alarms"])
    assert set(state["texts"]) == {"first"}
    assert state["texts"]["first"] == state["bars"]


@pytest.mark.slow
def test_a_desk_that_was_stopped_in_good_order_starts_with_the_files_as_they_are(
    files: dict[str, Path], tmp_path: Path
) -> None:
    with a_desk(tmp_path / "desk", files) as desk:
        until_all_run(desk.start())
        until_evaluated(desk, 2)
        before = desk.strategy("edited")["code_hash"]
        desk.ask("stop")
        assert desk.wait() == 0
        edit(desk, 'TEXT = "first"', 'TEXT = "second"')
        until_all_run(desk.start())
        until_evaluated(desk, evaluated(desk, "edited").bars + 2)
        after = desk.strategy("edited")

    assert set(evaluated(desk, "edited").state["texts"]) == {"first", "second"}
    assert len(before) == 12
    assert after["code_hash"] != before
    assert not after["code_differs"]


def swap_of(status: dict[str, Any]) -> dict[str, Any]:
    return next((swap for swap in status["swaps"] if swap["name"] == "edited"), {})


def until_stage(desk: Desk, *stages: str) -> dict[str, Any]:
    """Wait until the swap is in one of these stages; give that status."""
    return desk.until(lambda status: swap_of(status).get("stage") in stages)


def siblings(status: dict[str, Any]) -> dict[str, int]:
    return {path: pid for path, pid in pids(status, without=("strategies/edited",)).items() if "candidates" not in path}


def test_new_code_is_tried_beside_the_old_and_taken_between_two_bars(files: dict[str, Path], tmp_path: Path) -> None:
    with a_desk(tmp_path / "desk", files) as desk:
        before = until_all_run(desk.start())
        until_evaluated(desk, 3)
        edit(desk, 'TEXT = "first"', 'TEXT = "second"')

        answer = desk.ask("swap", name="edited", bars=3, reason="a better one")
        taken = until_stage(desk, "probation", "refused")
        until_evaluated(desk, evaluated(desk, "edited").bars + 3)
        after = until_all_run(desk)

    state = evaluated(desk, "edited").state
    assert swap_of(taken)["stage"] == "probation", swap_of(taken)
    assert desk_row(after)["code_hash"] == answer["new"] != answer["old"]
    assert siblings(after) == siblings(before)
    assert restarts(after) == {}
    assert "candidates/edited" not in pids(after)
    assert sum(state["texts"].values()) == state["bars"] == evaluated(desk, "edited").bars
    assert state["texts"]["second"] >= 3


def desk_row(status: dict[str, Any]) -> dict[str, Any]:
    return next(row for row in status["strategies"] if row["name"] == "edited")


@pytest.mark.slow
def test_code_that_decides_the_same_trades_the_same_through_a_swap(files: dict[str, Path], tmp_path: Path) -> None:
    with a_desk(tmp_path / "calm", files, speed="max") as desk:
        calm = desk.run().trades()
    with a_desk(tmp_path / "desk", files, speed="6000") as desk:
        until_all_run(desk.start())
        until_evaluated(desk, 3)
        edit(desk, 'TEXT = "first"', 'TEXT = "second"')
        desk.ask("swap", name="edited")
        until_stage(desk, "probation")
        edit_speed(desk)
        assert desk.wait() == 0

    assert len(evaluated(desk, "edited").state["texts"]) == 2
    assert desk.trades() == calm
    assert len([trade for trade in calm if trade["strategy"] == "edited"]) > 20


#: Of the ways to be broken this one is always tried, the others by the slow tests.
QUICK = "it raises at its second bar"
BROKEN = {
    "it does not parse": ('TEXT = "first"', "TEXT = half an edi", "SyntaxError"),
    "it raises at import": ('TEXT = "first"', "raise ValueError('not today')", "not today"),
    "it raises at its second bar": (
        "        self.bars += 1\n",
        (
            "        self.bars += 1\n        self.fresh = getattr(self, 'fresh', 0) + 1\n"
            "        assert self.fresh < 2, 'two are too many'\n"
        ),
        "two are too many",
    ),
    "it hangs": (
        "        self.bars += 1\n",
        "        self.bars += 1\n        while True:\n            self.bars += 0\n",
        "",
    ),
    "it takes no such parameters": ("every: int = 5", "other: int = 5", "unknown field `every`"),
}


@pytest.mark.parametrize(
    "name", [name if name == QUICK else pytest.param(name, marks=pytest.mark.slow) for name in BROKEN]
)
def test_code_that_does_not_do_well_changes_nothing(name: str, files: dict[str, Path], tmp_path: Path) -> None:
    old, new, says = BROKEN[name]
    with a_desk(tmp_path / "desk", files) as desk:
        before = until_all_run(desk.start())
        until_evaluated(desk, 3)
        edit(desk, old, new)

        desk.ask("swap", name="edited", bars=4)
        refused = until_stage(desk, "probation", "refused")
        after = desk.until(lambda status: swap_of(status)["is_over"] and "candidates/edited" not in pids(status))

    assert swap_of(refused)["stage"] == "refused"
    assert says in swap_of(refused)["words"]
    assert "the old code runs on" in swap_of(refused)["words"]
    assert pids(after) == pids(before)
    assert restarts(after) == {}
    assert any(swap_of(refused)["words"] in alarm for alarm in after["alarms"])


def test_code_that_was_refused_after_some_bars_is_tried_again_once_it_is_mended(
    files: dict[str, Path], tmp_path: Path
) -> None:
    old, new, _ = BROKEN[QUICK]
    with a_desk(tmp_path / "desk", files) as desk:
        until_all_run(desk.start())
        until_evaluated(desk, 3)
        edit(desk, old, new.replace("self.fresh < 2", "self.fresh < 6"))
        desk.ask("swap", name="edited", bars=9)
        until_stage(desk, "refused")
        desk.until(lambda status: swap_of(status)["is_over"] and "candidates/edited" not in pids(status))
        edit(desk, "self.fresh < 6", "self.fresh < 6000")

        desk.ask("swap", name="edited", bars=2)
        tried = until_stage(desk, "probation", "refused")

    assert swap_of(tried)["stage"] == "probation", swap_of(tried)


@pytest.mark.slow
def test_code_that_falls_on_probation_is_gone_back_from(files: dict[str, Path], tmp_path: Path) -> None:
    with a_desk(tmp_path / "desk", files) as desk:
        before = until_all_run(desk.start())
        until_evaluated(desk, 3)
        edit(
            desk,
            "        self.bars += 1\n",
            "        self.bars += 1\n        self.fresh = getattr(self, 'fresh', 0) + 1\n"
            "        assert self.fresh < 30, 'not for long'\n",
        )

        answer = desk.ask("swap", name="edited")
        until_stage(desk, "probation")
        returned = until_stage(desk, "returned", "taken")
        until_all_run(desk)
        after = desk.until(lambda status: desk_row(status)["code_hash"])
        until_evaluated(desk, evaluated(desk, "edited").bars + 2)

    assert swap_of(returned)["stage"] == "returned"
    assert "not for long" in swap_of(returned)["words"]
    assert desk_row(after)["code_hash"] == answer["old"]
    assert desk_row(after)["code_differs"]
    assert siblings(after) == siblings(before)
    assert set(restarts(after)) == {"strategies/edited"}
    state = evaluated(desk, "edited").state
    assert sum(state["texts"].values()) == state["bars"]


@pytest.mark.slow
def test_a_console_that_falls_in_the_middle_goes_on_with_the_swap(files: dict[str, Path], tmp_path: Path) -> None:
    with a_desk(tmp_path / "desk", files) as desk:
        before = until_all_run(desk.start())
        until_evaluated(desk, 3)
        edit(desk, 'TEXT = "first"', 'TEXT = "second"')
        answer = desk.ask("swap", name="edited", bars=20)

        kill_again(desk, "console")
        until_stage(desk, "probation")
        kill_again(desk, "console")
        after = until_stage(desk, "probation")

    assert desk_row(after)["code_hash"] == answer["new"]
    assert pids(after, without=("console", "strategies/edited")) == pids(
        before, without=("console", "strategies/edited")
    )
    assert set(restarts(after)) == {"console"}


@pytest.mark.slow
def test_there_is_nothing_to_swap_where_nothing_was_edited(files: dict[str, Path], tmp_path: Path) -> None:
    with a_desk(tmp_path / "desk", files) as desk:
        until_all_run(desk.start())

        with pytest.raises(VerbRefusedError, match="there is nothing to swap"):
            desk.ask("swap", name="edited")
        with pytest.raises(VerbRefusedError, match="there is no strategy 'nobody'"):
            desk.ask("swap", name="nobody")
