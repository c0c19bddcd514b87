"""A desk on live ticks that trades at an exchange behind a wire: its books are the exchange's, whatever falls."""

import time
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from actors.arguments import store_path
from actors.journal import read_journal
from actors.words import desk_codec
from desk.messages import FillBooked, Order, OrderChanged
from desk.order import TERMINAL
from runtime.store import Reader
from tests.desk_run.harness import Desk
from tests.desk_run.publisher import START_S, Publisher, with_obedient
from tests.exchange.hand import Exchange
from tests.exchange.wire import Dump

SYMBOL = "SPY"
HIGH, LOW, NEUTRAL = 101.0, 89.0, 95.0
#: Ticks come so often, and a bar is a second.
TICK_S = 0.15
#: How long each price holds: a bar that is whole, and time for an order.
HOLD_S = 1.4
PATIENCE_S = 150.0
DESK = """\
strategies:
  - name: obedient
    symbol: SPY
    strategy: obedient
    timeframe: 1s
global:
  feed: {{kind: zmq, url: "{url}"}}
  supervision: {{intensity: 100, backoff_base_s: 0}}
  venue:
    name: fake
    adapter: fake:open_port
    rules: {rules}
    {deadline}
    options: {{rules: {rules}, socket: {socket}, timeout_s: 1}}
"""
ADAPTER = '"""The exchange of the tests."""\n\nfrom tests.exchange.client import open_port\n\n__all__ = ["open_port"]\n'
TROUBLE = {
    "submit.late_cut": 0.1,
    "submit.drop_reply": 0.1,
    "submit.late": 0.1,
    "submit.error_before": 0.1,
    "submit.error_after": 0.1,
    "cancel.drop_reply": 0.2,
    "look.drop_reply": 0.05,
    "stream.lose": 0.2,
    "stream.repeat": 0.2,
    "stream.reorder": 0.1,
    "stream.cut": 0.05,
    "fill.partial": 0.3,
}


class Trading(NamedTuple):
    desk: Desk
    publisher: Publisher
    exchange: Exchange

    def at(self, price: float, for_s: float = HOLD_S) -> None:
        """Let the market stand at a price for so long, at the exchange too."""
        self.exchange.mark(SYMBOL, str(price))
        until_s = time.monotonic() + for_s
        while time.monotonic() < until_s:
            self.publisher.tick(SYMBOL, time.time() - START_S, price)
            time.sleep(TICK_S)

    def trade_until(self, executions: int) -> None:
        """Go up and down until the exchange has carried out so many executions."""
        until_s = time.monotonic() + PATIENCE_S
        while len(self.exchange.dump().executions) < executions:
            assert time.monotonic() < until_s, f"nothing is traded any more: {self.desk.status()}"
            for price in (HIGH, LOW):
                self.at(price)

    def come_to_rest(self) -> list[Order]:
        """Let nothing new begin and wait until no order is at work; give all orders as the journal has them."""
        until_s = time.monotonic() + PATIENCE_S
        while True:
            self.at(NEUTRAL)
            orders, fills = self.books()
            self.exchange.settled()
            is_flat = sum(fill.quantity * fill.side.sign for fill in fills) == 0
            if is_flat and all(order.state in TERMINAL for order in orders):
                return orders
            self.at(LOW)
            assert time.monotonic() < until_s, f"it never came to rest: {self.desk.status()}"

    def books(self) -> tuple[list[Order], list[FillBooked]]:
        reader = Reader.open(store_path(self.desk.state, "execution"))
        try:
            bodies: list[Any] = [record.body for record in read_journal(reader, desk_codec())]
        finally:
            reader.close()
        orders = {body.order.order_id: body.order for body in bodies if isinstance(body, OrderChanged)}
        return list(orders.values()), [body for body in bodies if isinstance(body, FillBooked)]


@contextmanager
def exchange_and_desk(folder: Path, rules: str) -> Generator[Trading]:
    """Give an exchange that plays by these rules, a publisher, and a desk that was not started yet."""
    with_obedient(folder / "desk")
    (folder / "desk" / "venues").mkdir()
    (folder / "desk" / "venues" / "fake.py").write_text(ADAPTER, encoding="utf-8")
    with Exchange(rules) as exchange, Publisher() as publisher:
        exchange.mark(SYMBOL, str(NEUTRAL))
        deadline = "deadline_s: 1\n    margin_s: 0.5" if rules == "kraken" else "# no deadlines"
        text = DESK.format(url=publisher.url, rules=rules, deadline=deadline, socket=exchange.socket)
        with Desk(folder / "desk", text) as desk:
            yield Trading(desk, publisher, exchange)


@pytest.mark.slow
@pytest.mark.parametrize("rules", ["kraken", "alpaca"])
def test_the_journal_holds_what_the_exchange_holds_though_the_gateway_falls_in_the_midst(
    tmp_path: Path, rules: str
) -> None:
    with exchange_and_desk(tmp_path, rules) as trading:
        desk, exchange = trading.desk, trading.exchange
        desk.start().until_up()
        trading.trade_until(2)
        exchange.rates(TROUBLE, seed=11)
        trading.trade_until(5)

        desk.kill("venues/fake")
        trading.trade_until(10)
        exchange.rates({})

        trading.come_to_rest()
        agree(*trading.books(), exchange.settled())
        status = desk.until(lambda status: not status["execution"]["gate"])
        assert status["execution"]["orders_in_doubt"] == 0


def agree(orders: list[Order], fills: list[FillBooked], there: Dump) -> None:
    """Hold the books against the exchange's: every execution once, and for each order no more than was ordered."""
    ours = Counter((fill.execution_id, fill.quantity, fill.price, fill.fee) for fill in fills)
    theirs = Counter((each.execution_id, each.quantity, each.price, each.fee) for each in there.executions)
    assert ours == theirs
    by_name = {order.client_id: order for order in there.orders}
    filled: Counter[str] = Counter()
    for fill in fills:
        filled[fill.order_id] += fill.quantity  # pyright: ignore[reportArgumentType]
    for order in orders:
        assert filled[order.order_id] == order.filled_quantity <= order.quantity
        if order.filled_quantity:
            assert by_name[order.client_id].filled == order.filled_quantity
    names = Counter(order.client_id for order in there.orders)
    assert not [name for name, count in names.items() if count > 1]
    assert {order.client_id for order in there.orders if order.filled} == {
        order.client_id for order in orders if order.filled_quantity
    }
    net = sum((fill.quantity * fill.side.sign for fill in fills), Decimal(0))
    assert there.positions.get(SYMBOL, Decimal(0)) == net


@pytest.mark.slow
def test_a_desk_whose_venue_cannot_be_reached_is_up_and_closed_and_opens_by_itself(tmp_path: Path) -> None:
    with exchange_and_desk(tmp_path, "kraken") as trading:
        trading.exchange.outage(is_on=True)
        trading.desk.start().until(lambda status: "cannot be asked" in status["execution"].get("gate", ""))
        status = trading.desk.until_up()
        assert not status["venues"]["venues/fake"]["connected"]

        trading.exchange.outage(is_on=False)

        trading.desk.until(lambda status: not status["execution"]["gate"])
        trading.trade_until(1)


@pytest.mark.slow
def test_a_venue_whose_clock_is_ahead_is_not_traded_at_where_deadlines_are_the_fence(tmp_path: Path) -> None:
    with exchange_and_desk(tmp_path, "kraken") as trading:
        trading.exchange.skew(ms=2_000)
        status = trading.desk.start().until(lambda status: "ms ahead of ours" in status["execution"].get("gate", ""))
        assert "a deadline would be no fence" in status["execution"]["gate"]
