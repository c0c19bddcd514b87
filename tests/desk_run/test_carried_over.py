"""The file makes a strategy another one while the desk is down and a position is held: nothing waits for ever."""

from pathlib import Path

import pytest

from runtime.clock import NS_PER_S
from tests.desk_run.harness import Desk
from tests.desk_run.markets import configuration
from tests.desk_run.publisher import obedient, with_obedient

BARS, TURN = 4000, 100
FIRST_NS = 1_704_722_400 * NS_PER_S


def told_market(folder: Path) -> dict[str, Path]:
    """Write a market in which one symbol is to be held for a while, and another one always."""
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[str, Path] = {}
    for symbol, late in (("HHH", 80), ("NEW", 101)):
        rows = ["ts_ns,open,high,low,close,volume"]
        for number in range(BARS):
            price = 101 if number < TURN else late
            rows.append(f"{FIRST_NS + number * 60 * NS_PER_S},{price},{price},{price},{price},1000")
        files[symbol] = folder / f"{symbol}.csv"
        files[symbol].write_text("\n".join(rows) + "\n", encoding="utf-8")
    return files


@pytest.mark.slow
def test_a_strategy_that_became_another_one_while_the_desk_was_down_sells_out_first(tmp_path: Path) -> None:
    files = told_market(tmp_path / "market")
    folder = with_obedient(tmp_path / "desk")
    with Desk(folder, configuration([obedient("holder", "HHH")], files, speed="600")) as desk:
        desk.start().until_up()
        desk.until(lambda _: desk.positions())
        desk.ask("stop")
        assert desk.wait() == 0
        text = configuration([obedient("holder", "NEW")], files, speed="1200")
        desk.file.write_text(text, encoding="utf-8")

        desk.start().until_up()
        waiting = desk.until(lambda status: status["alarms"])
        desk.until(lambda _: desk.trades())
        desk.until(lambda _: [position["symbol"] for position in desk.positions()] == ["NEW"])
        calm = desk.until(lambda status: not status["alarms"])

    assert any("when flat" in alarm for alarm in waiting["alarms"])
    assert [(trade["symbol"], trade["exit_reason"]) for trade in desk.trades()] == [("HHH", "MARKET_TOLD")]
    assert [(row["path"], row["restarts"]) for row in calm["tree"] if row["kind"] == "strategy"] == [
        ("strategies/holder", 0)
    ]
