"""A start of execution whose snapshot is gone: the whole journal folded, and the books checked from the ground up.

Ten closed orders for each open one. The floor walks the same chain and decodes the same records, and keeps nothing.
Both are measured in processor time, in turn: a start waits for nothing, and what others do on the machine is no part
of it.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

from actors.journal import LEDGER_SCHEMA, Journal, read_journal
from actors.words import desk_codec
from bench.figures import BenchError, Figure, show
from desk.executions import fill_of
from desk.messages import (
    CapitalChanged,
    Effect,
    Intent,
    IntentJudged,
    Order,
    OrderAccepted,
    OrderChanged,
    OrderFilled,
    OrderType,
    ProtectiveStop,
    Purpose,
    Side,
    VenueReport,
)
from desk.order import course, order_from_judgement
from desk.units import MINUTE_NS, NS_PER_S
from runtime.clock import Clock
from runtime.effects import Effects
from runtime.store import Store

VENUE, ACCOUNT = "venues/paper", "paper"
OPEN_ORDERS, OPEN_ORDERS_QUICK = 1_000, 200
CLOSED_A_OPEN = 10
ROUNDS = 5
#: So many times the bare walk: two seconds, on a slow core, behind a thousand open orders and ten thousand closed ones.
GOAL = 4.0
#: Never reached: no snapshot is kept while the history is written.
NO_SNAPSHOT = 1 << 40


class History:
    """Writes a ledger's journal as execution would: each order's birth, acceptance and fills."""

    def __init__(self, store: Store) -> None:
        """Begin with capital."""
        self.journal = Journal(store, desk_codec(), Clock(), NO_SNAPSHOT)
        self._store, self._at_ns = store, NS_PER_S
        self._write(lambda effects: self.journal.write(CapitalChanged(Decimal(10**9), "bench", 0), effects))

    def _write(self, what: Callable[[Effects], None]) -> None:
        effects = Effects()
        what(effects)
        self._store.commit(effects.writes)

    def place(self, number: int, side: Side) -> Order:
        """Write an order that the venue has accepted."""
        self._at_ns += NS_PER_S
        is_entry = side is Side.BUY
        intent = Intent(
            intent_id=f"i{number}",
            strategy=f"s{(number - 1) // 2 % 4}",  # of both orders of a round trip
            symbol="SPY",
            timeframe="1m",
            bar_ts_ns=self._at_ns,
            number=number,
            effect=Effect.OPEN if is_entry else Effect.CLOSE,
            side=side,
            order_type=OrderType.MARKET,
            quantity=Decimal(10),
            size_pct=None,
            limit_price=None,
            stop_loss=Decimal(90) if is_entry else None,
            take_profit=None,
            protective_stop=ProtectiveStop.BAR_CLOSE,
            order_ttl_ns=0,
            decided_ns=self._at_ns,
            expires_ns=self._at_ns + MINUTE_NS,
            reference_price=Decimal(100),
            tag="t",
            reason="BENCH",
            epoch=1,
        )
        judged = IntentJudged(f"o{number}", intent, Decimal(10), (), self._at_ns)
        order = order_from_judgement(judged, Purpose.ENTRY if is_entry else Purpose.EXIT, ts_ns=self._at_ns)
        self._write(lambda effects: self.journal.write(OrderChanged(order, "", "risk", self._at_ns), effects))
        return self._hear(order, OrderAccepted(0, order.order_id, f"v{number}", self._at_ns))

    def fill(self, order: Order, price: str) -> None:
        """Write the one execution that an order ends with."""
        self._at_ns += NS_PER_S
        report = OrderFilled(
            0, order.order_id, f"e{order.order_id}", order.quantity, Decimal(price), Decimal("0.1"), False, Decimal(0),
            self._at_ns,
        )  # fmt: skip
        booked = fill_of(order, report, VENUE, ACCOUNT)
        self._write(lambda effects: self.journal.write(booked, effects))
        self._hear(order, report)

    def _hear(self, order: Order, report: VenueReport) -> Order:
        for changed in course(order, report):
            written = OrderChanged(changed, order.state.value, VENUE, report.ts_ns)
            self._write(lambda effects, written=written: self.journal.write(written, effects))
            order = changed
        return order


def write_history(folder: Path, open_orders: int) -> None:
    """Write the journal that is started on."""
    store = Store.open(folder, is_synced=False, schema=LEDGER_SCHEMA.version)
    history, number = History(store), 0
    for _ in range(open_orders * CLOSED_A_OPEN // 2):
        for side, price in ((Side.BUY, "100.01"), (Side.SELL, "100.77")):
            number += 1
            history.fill(history.place(number, side), price)
    for _ in range(open_orders):
        number += 1
        history.place(number, Side.BUY)
    store.close()


def main() -> None:
    """Measure both sides in turn and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one object")
    parser.add_argument("--quick", action="store_true", help="finish within a minute")
    told = parser.parse_args()
    open_orders = OPEN_ORDERS_QUICK if told.quick else OPEN_ORDERS
    ours: list[float] = []
    floor: list[float] = []
    records = 0
    with tempfile.TemporaryDirectory() as folder:
        ledger = Path(folder) / "ledger"
        write_history(ledger, open_orders)
        for _ in range(ROUNDS):
            store = Store.open(ledger, is_synced=False, schema=LEDGER_SCHEMA.version)
            began = time.process_time()
            records = sum(1 for _ in read_journal(store, desk_codec()))
            floor.append(time.process_time() - began)
            began = time.process_time()
            journal = Journal(store, desk_codec(), Clock(), NO_SNAPSHOT)
            ours.append(time.process_time() - began)
            if journal.head != records or len(journal.ledger.working) != open_orders:
                msg = f"the fold came to record {journal.head} of {records} with {len(journal.ledger.working)} open"
                raise BenchError(msg)
            store.close()
    figure = Figure(
        "a start", round(1e3 * statistics.median(ours), 1), round(1e3 * statistics.median(floor), 1), GOAL, "ms"
    )
    more: dict[str, object] = {
        "records": records,
        "open_orders": open_orders,
        "closed_orders": open_orders * CLOSED_A_OPEN,
        "us_a_record": round(1e6 * statistics.median(ours) / records, 1),
    }
    title = "a start without snapshot, and a bare walk over the same records"
    show("COLD", title, [figure], more, as_json=told.json)


if __name__ == "__main__":
    main()
