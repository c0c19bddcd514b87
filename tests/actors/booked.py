"""A ledger's store with a trading history in it, written by the journal itself."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

from msgspec.structs import replace

from actors.journal import ENTRIES_KEPT, LEDGER_SCHEMA, SNAPSHOT_EVERY, Journal
from actors.words import desk_codec
from desk.executions import fill_of
from desk.messages import (
    CapitalChanged,
    Order,
    OrderAccepted,
    OrderChanged,
    OrderFilled,
    OrderState,
    Purpose,
    Side,
    VenueReport,
)
from desk.order import course
from desk.units import NS_PER_S
from runtime.clock import Clock
from runtime.effects import Effects
from runtime.store import Store
from tests.desk.orders import an_order

VENUE, ACCOUNT = "venues/paper", "main"


class Book:
    """One ledger: closed round trips of several strategies, then open orders; each turn is one commit."""

    def __init__(self, folder: Path, snapshot_every: int = SNAPSHOT_EVERY, entries_kept: int = ENTRIES_KEPT) -> None:
        """Open the ledger in ``folder``, new or old."""
        self.folder, self.snapshot_every, self.entries_kept = folder, snapshot_every, entries_kept
        self.codec, self.clock = desk_codec(), Clock()
        self.store = Store.open(folder, is_synced=False, schema=LEDGER_SCHEMA.version)
        self.journal = Journal(self.store, self.codec, self.clock, snapshot_every, entries_kept=entries_kept)
        self._ns = max(NS_PER_S, self.journal.market_ns)
        self._orders = 0

    def turn(self, what: Callable[[Effects], object]) -> None:
        """Write one turn, and commit it."""
        effects = Effects()
        what(effects)
        self.store.commit(effects.writes)

    def capital(self, amount: int = 100_000) -> None:
        """Book the capital."""
        self.turn(lambda effects: self.journal.write(CapitalChanged(Decimal(amount), "starting balance", 0), effects))

    def place(
        self, strategy: str, side: Side = Side.BUY, purpose: Purpose = Purpose.ENTRY, quantity: int = 10
    ) -> Order:
        """Write an order's birth and its acceptance; give it as it works."""
        self._orders += 1
        self._ns += NS_PER_S
        number = f"{strategy}-{self.journal.head}"
        order = replace(
            an_order(OrderState.PENDING, Decimal(quantity)),
            order_id=number,
            strategy=strategy,
            side=side,
            purpose=purpose,
            venue_order_id="",
            created_ns=self._ns,
            changed_ns=self._ns,
        )
        self.turn(lambda effects: self.journal.write(OrderChanged(order, "", "risk", self._ns), effects))
        self.turn(lambda effects: self.hear(OrderAccepted(0, number, f"v-{number}", self._ns), effects))
        return self.order(number)

    def fill(self, order_id: str, quantity: int, price: str, leaves: int = 0) -> None:
        """Book one execution and what it makes of its order."""
        self._ns += NS_PER_S
        order = self.order(order_id)
        name = f"e-{self.journal.head}"
        report = OrderFilled(
            0, order_id, name, Decimal(quantity), Decimal(price), Decimal("0.1"), False, Decimal(leaves), self._ns
        )
        booked = fill_of(order, report, VENUE, ACCOUNT)

        def both(effects: Effects) -> None:
            self.journal.write(booked, effects)
            self.hear(report, effects)

        self.turn(both)

    def hear(self, report: VenueReport, effects: Effects) -> None:
        """Write what a report makes of its order."""
        order = self.order(report.order_id)
        for changed in course(order, report):
            self.journal.write(OrderChanged(changed, order.state.value, VENUE, report.ts_ns), effects)
            order = changed

    def order(self, order_id: str) -> Order:
        """Give an order that there is."""
        order = self.journal.ledger.order(order_id)
        assert order is not None
        return order

    def round_trip(self, strategy: str, number: int) -> None:
        """Buy in two parts and sell again."""
        price = 100 + number % 7
        entry = self.place(strategy)
        self.fill(entry.order_id, 4, f"{price}.01", leaves=6)
        self.fill(entry.order_id, 6, f"{price}.13")
        leaving = self.place(strategy, Side.SELL, Purpose.EXIT)
        self.fill(leaving.order_id, 10, f"{price}.77")

    def trade(self, closed: int, open_orders: int, strategies: int = 4) -> None:
        """Write so many closed orders (two a round trip), then so many open ones, a tenth of them partly filled."""
        for number in range(closed // 2):
            self.round_trip(f"s{number % strategies}", number)
        for number in range(open_orders):
            order = self.place(f"s{number % strategies}")
            if number % 10 == 0:
                self.fill(order.order_id, 3, "101.5", leaves=7)

    def close(self) -> None:
        """Close the store without any last word, as a fall does."""
        self.store.close()

    def again(self, snapshot_every: int | None = None) -> "Book":
        """Open the ledger anew, as a start after a fall does."""
        self.close()
        return Book(self.folder, snapshot_every or self.snapshot_every, self.entries_kept)
