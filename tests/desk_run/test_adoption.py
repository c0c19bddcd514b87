"""What another hand bought in the account is given to a strategy, through the control socket of a real desk."""

import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from actors.control_client import VerbRefusedError
from desk.messages import OrderType, Side
from tests.desk_run.falls import has_successor, pause
from tests.desk_run.test_remote_venue import LOW, NEUTRAL, SYMBOL, Trading, exchange_and_desk
from tests.exchange.wire import State, WireOrder

PATIENCE_S = 120.0


def until(trading: Trading, price: float, what: Callable[[], Any]) -> None:
    """Let the market stand at this price until it has come to that."""
    until_s = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < until_s, f"it did not come to that: {trading.desk.status()}"
        trading.at(price, 0.5)


def stops(trading: Trading) -> list[WireOrder]:
    orders = trading.exchange.dump().orders
    return [order for order in orders if order.type is OrderType.STOP and order.state is State.OPEN]


def external(trading: Trading) -> dict[str, str]:
    return trading.desk.status()["execution"].get("reconciliation", {}).get("external", {})


def held(trading: Trading) -> dict[str, Decimal]:
    return {row["strategy"]: Decimal(row["quantity"]) for row in trading.desk.positions()}


@pytest.mark.slow
@pytest.mark.parametrize("rules", ["kraken", "alpaca"])
def test_what_stands_under_external_is_adopted_protected_kept_through_a_fall_and_sold_by_its_new_owner(
    tmp_path: Path, rules: str
) -> None:
    with exchange_and_desk(tmp_path, rules) as trading:
        desk, exchange = trading.desk, trading.exchange
        desk.start().until(lambda status: status["execution"].get("gate") == "")
        exchange.external(SYMBOL, Side.BUY, "3")

        desk.ask("reconcile", reason="a hand was in the account")
        until(trading, NEUTRAL, lambda: external(trading) == {SYMBOL: "3"})
        assert any("EXTERNAL holds 3 SPY" in alarm for alarm in desk.status()["alarms"])
        trading.at(LOW)  # where the strategy would sell what is its own
        assert (exchange.settled().positions, stops(trading)) == ({SYMBOL: Decimal(3)}, [])
        with pytest.raises(VerbRefusedError, match="EXTERNAL holds 3 SPY: 4 of it cannot be given"):
            desk.ask("adopt", symbol=SYMBOL, quantity="4", strategy="obedient", reason="too much")
        with pytest.raises(VerbRefusedError, match="nobody"):
            desk.ask("adopt", symbol=SYMBOL, quantity="1", strategy="nobody", reason="nobody's")
        trading.at(NEUTRAL)

        answer = desk.ask(
            "adopt", symbol=SYMBOL, quantity="2", strategy="obedient", stop_loss="50", reason="it is its own"
        )
        assert answer["external"] == {SYMBOL: "1"}
        until(trading, NEUTRAL, lambda: [(stop.quantity, stop.stop_price) for stop in stops(trading)] == [(2, 50)])

        pid = desk.kill("execution")
        while not has_successor(desk.status(), "execution", pid):
            pause(desk)
        assert held(trading) == {"obedient": Decimal(2), "EXTERNAL": Decimal(1)}
        until(trading, LOW, lambda: held(trading) == {"EXTERNAL": Decimal(1)})

        there = exchange.settled()
        assert (there.positions, stops(trading)) == ({SYMBOL: Decimal(1)}, [])
        assert [trade["strategy"] for trade in desk.trades()] == ["obedient"]
        until(trading, NEUTRAL, lambda: desk.status()["execution"].get("gate") == "")
