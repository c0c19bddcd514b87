"""The file is edited while positions are held and prices come: who is meant follows it, and nobody else notices."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from actors.control_client import VerbRefusedError
from tests.desk_run.command_line import bulkhead
from tests.desk_run.harness import Desk
from tests.desk_run.market_told import Market
from tests.desk_run.publisher import Publisher, obedient, with_obedient

FLATTENED = "    on_disable: flatten\n"


@pytest.fixture
def market(tmp_path: Path) -> Iterator[Market]:
    """Give a desk with two strategies that hold a piece each."""
    entries = obedient("holder", "HHH") + FLATTENED + obedient("other", "OOO")
    with Publisher() as publisher:
        text = f"strategies:\n{entries}global:\n  zmq_market_url: {publisher.url}\n"
        with Desk(with_obedient(tmp_path / "desk"), text) as desk:
            desk.start().until_up()
            publisher.until_subscribed(["HHH", "OOO"])
            market = Market(desk, publisher)
            market.until(lambda: len(desk.positions()) == 2, HHH=101, OOO=101)
            yield market


def edit(desk: Desk, *changes: tuple[str, str]) -> dict[str, Any]:
    """Edit the file, and give what the desk says that it comes to: nothing of what its watch took in before us."""
    text = desk.file.read_text(encoding="utf-8")
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    desk.file.write_text(text, encoding="utf-8")
    return desk.ask("reload")


def test_a_strategy_that_is_gone_from_the_file_is_sold_out_where_that_was_wanted_and_comes_back_new(
    market: Market,
) -> None:
    desk, pids = market.desk, market.desk.pids()
    entry = obedient("holder", "HHH") + FLATTENED

    answer = edit(desk, (entry, ""))
    market.until(lambda: not market.orders(strategy="holder", state="SUBMITTED") and desk.trades(), HHH=102, OOO=101)
    desk.until(lambda status: len(status["strategies"]) == 1 and not status["alarms"])

    told = {change["path"]: change["effect"] for change in answer["changes"]}
    assert not answer["applied"] or told["strategies.holder"] == "stops, and its position is closed at the market"
    assert [(trade["strategy"], trade["exit_reason"]) for trade in desk.trades()] == [("holder", "FLATTEN")]
    assert [position["strategy"] for position in desk.positions()] == ["other"]
    assert desk.pids().items() == pids.items() - {("strategies/holder", pids["strategies/holder"])}
    assert (desk.state / "strategies" / "holder" / "data.mdb").exists()
    assert "holder holds no HHH any more" in bulkhead("journal", state=desk.state).out

    edit(desk, ("global:", entry + "global:"))
    desk.until(lambda status: [row["state"] for row in status["strategies"]] == ["RUNNING"] * 2)
    market.until(lambda: len(desk.positions()) == 2, HHH=101, OOO=101)


@pytest.mark.slow
def test_one_that_is_gone_and_held_keeps_its_stop_at_the_venue_also_when_execution_falls_meanwhile(
    market: Market,
) -> None:
    desk = market.desk
    entry = obedient("other", "OOO")

    edit(desk, (entry, ""))
    market.until(lambda: market.orders(strategy="other", purpose="STOP_LOSS", state="SUBMITTED"))
    fallen = desk.kill("execution")
    desk.until(lambda _: desk.pids().get("execution", fallen) != fallen)
    desk.until(lambda status: status["desk"]["state"] == "RUNNING")
    (stop,) = market.orders(strategy="other", purpose="STOP_LOSS")
    edit(desk, ("global:", entry + "global:"))
    market.until(lambda: market.orders(strategy="other", purpose="STOP_LOSS", state="CANCELLED"))

    assert (stop["state"], stop["side"], stop["stop_price"]) == ("SUBMITTED", "SELL", "25.25")
    assert len(desk.positions()) == 2


@pytest.mark.slow
def test_an_operator_says_what_becomes_of_the_position_and_goes_before_the_file(market: Market) -> None:
    desk = market.desk

    held = bulkhead("disable", "holder", "--hold", state=desk.state)
    market.until(lambda: market.orders(strategy="holder", purpose="STOP_LOSS", state="SUBMITTED"), HHH=101)
    sold = bulkhead("disable", "other", "--flatten", "--reason", "enough", state=desk.state)
    both = bulkhead("disable", "other", "--flatten", "--hold", state=desk.state)
    waiting = desk.until(lambda status: status["alarms"])["alarms"]
    market.until(desk.trades, HHH=101, OOO=101)

    assert held.out == "holder is disabled, and its position is held: its recorded stop rests at the venue\n"
    assert sold.out == "other is disabled, and its position is closed at the market\n"
    assert (both.code, both.err) == (3, "write --hold or --flatten, not both; nothing was changed\n")
    assert waiting == ["other is to be flat and still holds 1 OOO: its exit is SUBMITTED"]
    assert [(trade["strategy"], trade["exit_reason"]) for trade in desk.trades()] == [("other", "FLATTEN")]
    assert [position["strategy"] for position in desk.positions()] == ["holder"]

    bulkhead("disable", "holder", state=desk.state)  # what the file says: flatten
    market.until(lambda: len(desk.trades()) == 2, HHH=101, OOO=101)
    assert market.orders(strategy="holder", purpose="STOP_LOSS", state="CANCELLED")
    assert not desk.until(lambda status: not status["alarms"])["alarms"]


def test_another_symbol_waits_until_the_strategy_is_flat_and_then_it_alone_is_restarted(market: Market) -> None:
    desk, pids = market.desk, market.desk.pids()

    answer = edit(
        desk, ("symbol: HHH", "symbol: NEW"), ("name: holder", "name: holder\n    risk_config: {max_positions: 7}")
    )
    waiting = desk.until(lambda status: status["alarms"])
    market.publisher.until_subscribed(["NEW"])
    assert desk.pids() == pids

    market.until(desk.trades, HHH=80, OOO=101, NEW=101)
    desk.until(lambda status: not status["alarms"] and status["strategies"][0]["symbol"] == "NEW")
    market.until(lambda: any(row["symbol"] == "NEW" for row in desk.positions()), OOO=101, NEW=101)

    waits = {change["path"]: change["is_waiting"] for change in answer["changes"]}
    assert waits["strategies.holder.symbols"]
    assert not waits.get("strategies.holder.risk_config.max_positions")
    assert waiting["alarms"] == [
        'strategies.holder.symbols: ["HHH"] -> ["NEW"]: when flat, by a restart of this strategy'
    ]
    after = desk.pids()
    assert after.pop("strategies/holder") != pids.pop("strategies/holder")
    assert after == pids
    assert desk.row("strategies/holder")["restarts"] == 0
    assert [(trade["symbol"], trade["exit_reason"]) for trade in desk.trades()] == [("HHH", "MARKET_TOLD")]


@pytest.mark.slow
def test_a_new_strategy_on_a_new_symbol_trades_within_the_limits_that_the_file_says_by_now(market: Market) -> None:
    desk, pids = market.desk, market.desk.pids()
    entry = obedient("late", "LLL") + "    timeframe: 5s\n    risk_config: {max_order_notional_usd: 1}\n"

    edit(desk, ("global:", entry + "global:"))
    market.publisher.until_subscribed(["LLL"])
    desk.until(lambda status: status["strategies"][-1]["state"] == "RUNNING")
    market.until(lambda: market.orders(strategy="late", state="REJECTED"), LLL=101)
    late = desk.pids()["strategies/late"]
    edit(desk, ("max_order_notional_usd: 1}", "max_order_notional_usd: 1000}"))
    market.until(lambda: market.orders(strategy="late", state="FILLED"), LLL=101)

    assert desk.pids() == {**pids, "strategies/late": late}
    reasons = {order["reason"].partition(":")[0] for order in market.orders(strategy="late", state="REJECTED")}
    assert reasons == {"SIZE"}


def test_a_dry_run_says_what_a_reload_would_do_and_a_file_with_mistakes_says_them(market: Market) -> None:
    desk, pids = market.desk, market.desk.pids()
    same = bulkhead("reload", state=desk.state)
    desk.file.write_text(desk.file.read_text(encoding="utf-8").replace("symbol: HHH", "symbol: 7"), encoding="utf-8")

    broken = bulkhead("reload", "--dry-run", state=desk.state)

    assert same.out == f"{desk.file} says what holds already; nothing was changed\n"
    assert (broken.code, broken.out) == (3, "")
    assert f"{desk.file}:3 strategies[0].symbol: got 7 (number)" in broken.err
    with pytest.raises(VerbRefusedError, match="nothing was changed"):
        desk.ask("reload", dry_run=True)
    assert desk.pids() == pids


def test_an_entry_that_is_removed_and_comes_back_with_another_symbol_first_leaves_what_it_holds_and_does_not_fall(
    market: Market,
) -> None:
    desk = market.desk
    entry, witness = obedient("other", "OOO"), obedient("witness", "OOO", buy_above=1000)

    edit(desk, (entry, witness))
    desk.until(lambda status: [row["name"] for row in status["strategies"]] == ["holder", "witness"])
    edit(desk, ("global:", obedient("other", "NEW") + "global:"))
    market.publisher.until_subscribed(["NEW"])
    waiting = desk.until(lambda status: any("symbols" in alarm for alarm in status["alarms"]))
    market.until(desk.trades, HHH=101, OOO=80, NEW=80)
    market.until(lambda: any(row["symbol"] == "NEW" for row in desk.positions()), HHH=101, OOO=80, NEW=101)

    shown = desk.ask("status", path="strategies/other")
    assert 'strategies.other.symbols: ["OOO"] -> ["NEW"]: when flat, by a restart of this strategy' in waiting["alarms"]
    assert [(trade["symbol"], trade["exit_reason"]) for trade in desk.trades()] == [("OOO", "MARKET_TOLD")]
    assert (shown["node"]["restarts"], shown["falls"]) == (0, [])


def test_an_entry_that_was_sold_out_while_it_was_gone_comes_back_with_another_symbol_at_once(market: Market) -> None:
    desk = market.desk
    entry = obedient("holder", "HHH") + FLATTENED

    edit(desk, (entry, ""))
    market.until(desk.trades, HHH=102, OOO=101)
    edit(desk, ("global:", obedient("holder", "NEW") + FLATTENED + "global:"))
    market.publisher.until_subscribed(["NEW"])
    market.until(lambda: any(row["symbol"] == "NEW" for row in desk.positions()), OOO=101, NEW=101)

    shown = desk.ask("status", path="strategies/holder")
    assert (shown["node"]["restarts"], shown["falls"]) == (0, [])
