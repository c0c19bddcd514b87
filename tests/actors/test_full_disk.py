"""A disk that fills up stops entries before anything fails; what closes a position still goes out and is written."""

import resource
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from actors.execution.room import Execution
from actors.journal import LEDGER_SCHEMA
from actors.words import desk_codec
from desk.messages import Effect, IntentJudged, OrderState, Side, SubmitOrder, VenueSnapshot
from desk.venue import PAPER
from runtime.effects import Effects
from runtime.folder import Sentinel
from runtime.log import Log
from runtime.store import Store
from runtime.words import Peer
from tests.actors.booked import VENUE, Book
from tests.desk.orders import an_intent
from tests.runtime.fakes import HandClock

RESERVE = 1 << 20


@pytest.fixture
def disk() -> Iterator[None]:
    """Give the process's limit of a file's length back when the test is over."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def judged(number: int, effect: Effect) -> IntentJudged:
    """Let risk approve an entry, or the exit from the whole position."""
    side, quantity = (Side.BUY, Decimal(1)) if effect is Effect.OPEN else (Side.SELL, Decimal(10))
    intent = replace(
        an_intent(), intent_id=f"i{number}", effect=effect, side=side, quantity=quantity, expires_ns=1 << 62
    )
    return IntentJudged(f"{effect.value.lower()}-{number}", intent, quantity, (), 0)


class Room:
    """Execution on a ledger with room put by, with its shell's commits."""

    def __init__(self, folder: Path) -> None:
        """Begin with a position of ten, reconciled."""
        book = Book(folder / "ledger")
        book.capital()
        book.fill(book.place("alpha").order_id, 10, "100")
        book.close()
        self.sentinel = Sentinel(folder)
        self.store = Store.open(
            folder / "ledger",
            is_synced=False,
            schema=LEDGER_SCHEMA.version,
            reserve_bytes=RESERVE,
            on_low=self.sentinel.write,
        )
        self.room = Execution(
            venue=VENUE,
            traits=PAPER,
            capital=Decimal(1),
            store=self.store,
            codec=desk_codec(),
            clock=HandClock(),
            sentinel=self.sentinel,
            log=Log("execution"),
            owners={},
            is_stepped=False,
        )
        self.carried_out(self.room.recover())
        self.carried_out(self.room.peers((Peer(VENUE, 1, "RUNNING"), Peer("strategies/alpha", 1, "RUNNING"))))
        self.carried_out(self.room.hear(VENUE, 1, VenueSnapshot(1, (), {"SPY": Decimal(10)}, Decimal(0), (), 0)))

    def carried_out(self, effects: Effects) -> list[Any]:
        """Commit, and give the words that leave."""
        if effects.writes:
            self.store.commit(effects.writes)
        return [post.word for post in effects.posts]

    def hears(self, word: IntentJudged) -> list[Any]:
        """Hear a verdict of risk."""
        return self.carried_out(self.room.hear("risk", 1, word))

    def state(self, order_id: str) -> tuple[OrderState, str]:
        """Give an order's state and why it has it."""
        order = self.room._journal.ledger.order(order_id)
        assert order is not None
        return order.state, order.reason


@pytest.mark.usefixtures("disk")
def test_a_full_disk_halts_entries_before_a_commit_fails_and_an_exit_still_leaves(tmp_path: Path) -> None:
    desk = Room(tmp_path)
    room = (tmp_path / "ledger" / "data.mdb").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))

    for number in range(10_000):
        desk.hears(judged(number, Effect.OPEN))
        if desk.sentinel.reason() is not None:
            break
    refused = desk.hears(judged(90_000, Effect.OPEN))
    leaving = desk.hears(judged(90_001, Effect.CLOSE))

    assert "the disk is full" in (desk.sentinel.reason() or "")
    assert [word for word in refused if isinstance(word, SubmitOrder)] == []
    assert desk.state("open-90000")[0] is OrderState.REJECTED
    assert desk.state("open-90000")[1].startswith("HALTED: ")
    assert [word.order_id for word in leaving if isinstance(word, SubmitOrder)] == ["close-90001"]
    assert desk.store.verify() == desk.room._journal.head
    desk.store.close()
