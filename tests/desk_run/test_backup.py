"""A desk is backed up while it trades, restored elsewhere, and trades on; and what damage does to its stores."""

from pathlib import Path

import pytest

from tests.actors.test_damage import damaged
from tests.desk_run.command_line import bulkhead
from tests.desk_run.conftest import Calm, a_desk, release
from tests.desk_run.falls import desk_books, market_step, until_all_run, until_step, venue_books


@pytest.mark.slow
@pytest.mark.parametrize("part", [0.3, 0.7])
def test_a_trading_desk_that_is_backed_up_and_restored_elsewhere_trades_on_as_if_nothing_had_been(
    calm: Calm, tmp_path: Path, part: float
) -> None:
    backup = tmp_path / "backup"
    held_at = calm.last, int(calm.bars(calm.last) * part)  # the same symbol as where it goes on: so bars are counted on
    with a_desk(tmp_path / "a", calm.files, held_at, ()) as desk:
        until_all_run(desk.start())
        until_step(desk, int(calm.steps * (part - 0.1)))
        made = bulkhead("backup", backup, "--json", state=desk.state)
        assert made.code == 0, made.err
        refused = bulkhead("restore", backup, "--replace", state=desk.state)
        assert release(desk) == 0, desk.said()
    assert (desk.trades(), desk.orders()) == (calm.trades, calm.orders)
    assert refused.code == 3
    assert "a desk runs on" in refused.err

    with calm.desk(tmp_path / "b") as other:
        restored = bulkhead("restore", backup, state=other.state)
        assert restored.code == 0, restored.err
        step = market_step(other)
        until_all_run(other.start())
        verdict = other.until(lambda status: status["desk"]["reconciled"])["desk"]["reconciled"]
        until_step(other, calm.steps)
        assert release(other) == 0, other.said()

    assert 0 < step < calm.steps
    assert verdict.startswith("ok")
    assert (other.trades(), other.orders()) == (calm.trades, calm.orders)
    ours, theirs = desk_books(other), venue_books(other)
    assert (ours.positions, ours.executions) == (theirs.positions, theirs.executions)


@pytest.mark.slow
def test_five_hundred_damages_to_the_stores_of_a_desk_that_traded_are_each_told_or_harmless(
    calm: Calm, tmp_path: Path
) -> None:
    with calm.desk(tmp_path / "a") as desk:
        until_all_run(desk.start())
        until_step(desk, calm.steps)
        assert release(desk) == 0, desk.said()

    found = damaged(desk.state, "500", 11)

    assert (found["silent"], found["examples"], found["unforeseen"]) == (0, [], 0)
    assert found["unguarded"] > 0
