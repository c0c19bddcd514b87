"""A start with a long history behind it comes to the first verdict, and twice to the same books."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from actors.execution.room import Execution
from actors.journal import LEDGER_SCHEMA
from actors.words import desk_codec
from desk.messages import OrderState, VenueOrder, VenueSnapshot
from desk.venue import PAPER
from runtime.effects import Delete
from runtime.folder import Sentinel
from runtime.log import Log
from runtime.store import Store
from runtime.words import Peer
from tests.actors.booked import VENUE, Book
from tests.runtime.fakes import HandClock

SIZES = [pytest.param(100, 10, id="small"), pytest.param(10_000, 1_000, id="full", marks=pytest.mark.slow)]


class Start:
    """One start of execution on a ledger, up to its first verdict."""

    def __init__(self, folder: Path) -> None:
        """Open the store and recover."""
        self.store = Store.open(folder, is_synced=False, schema=LEDGER_SCHEMA.version)
        self.room = Execution(
            venue=VENUE,
            traits=PAPER,
            capital=Decimal(1),
            store=self.store,
            codec=desk_codec(),
            clock=HandClock(),
            sentinel=Sentinel(folder),
            log=Log("execution"),
            owners={},
            is_stepped=False,
        )
        self.taken_up = self.room._journal.snapshot_at
        self.effects = self.room.recover()
        up = tuple(Peer(path, 1, "RUNNING") for path in (VENUE, *(f"strategies/s{n}" for n in range(4))))
        self.effects.add(self.room.peers(up))

    def verdict(self) -> str:
        """Let the venue say what it has, which is what the books say; give what comes of it."""
        ledger = self.room._journal.ledger
        orders = tuple(
            VenueOrder(
                o.order_id, o.venue_order_id, o.symbol, o.side, OrderState.SUBMITTED, o.quantity, o.filled_quantity
            )
            for o in ledger.working.values()
        )
        snapshot = VenueSnapshot(1, orders, ledger.venue_quantities(), ledger.cash, (), 0)
        self.effects.add(self.room.hear(VENUE, 1, snapshot))
        return str(self.room.facts()["verdict"])

    def told(self) -> tuple[bytes, list[Any], list[Any]]:
        """Give everything that a start comes to: books, records, words."""
        fold = msgspec.msgpack.encode(self.room._journal.fold())
        return fold, list(self.effects.writes), [(post.peer, post.word) for post in self.effects.posts]

    def close(self) -> None:
        """Fall without having committed anything."""
        self.store.close()


@pytest.mark.parametrize(("closed", "working"), SIZES)
def test_a_start_behind_a_long_history_agrees_with_the_venue_and_is_the_same_each_time(
    tmp_path: Path, closed: int, working: int
) -> None:
    book = Book(tmp_path / "ledger")
    book.capital(10_000_000)
    book.trade(closed, working)
    book.turn(book.journal.keep_snapshot)
    book.close()

    results: list[tuple[str, int, Any]] = []
    for _ in range(2):
        start = Start(tmp_path / "ledger")
        results.append((start.verdict(), start.taken_up, start.told()))
        start.close()
    store = Store.open(tmp_path / "ledger", is_synced=False)
    store.commit([Delete("snapshot", b"fold")])
    store.close()
    whole = Start(tmp_path / "ledger")
    verdict, folded = whole.verdict(), whole.told()
    whole.close()

    assert results[0] == results[1]
    assert results[0][0].startswith("ok"), results[0][0]
    assert results[0][1] > closed
    assert (verdict, folded, whole.taken_up) == (results[0][0], results[0][2], 0)
