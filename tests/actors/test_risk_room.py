"""Risk's room."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from msgspec.structs import replace

from actors.risk import Risk
from actors.settings import DeskLimits, RiskConfig
from actors.words import desk_codec
from desk.identity import order_id
from desk.messages import Intent, IntentJudged, OrderChanged, OrderState, Purpose, Tick
from desk.units import MINUTE_NS
from runtime.bus_words import StreamItem
from runtime.effects import Effects
from runtime.folder import Sentinel
from runtime.store import Store
from runtime.words import Peer
from tests.actors.booked import Book
from tests.desk.orders import an_intent, an_order
from tests.runtime.fakes import HandClock

NAMES = ("alpha", "beta", "gamma")


def test_after_a_fall_verdicts_are_said_again_in_the_order_in_which_they_were_judged(tmp_path: Path) -> None:
    codec = desk_codec()
    ledger = Store.open(tmp_path / "ledger", is_synced=False)
    store = Store.open(tmp_path / "risk", is_synced=False)
    effects = Effects()
    for number, name in zip(("o9", "o5", "o1"), NAMES, strict=True):  # their names sort the other way round
        judged = IntentJudged(number, replace(an_intent(), intent_id=number, strategy=name), Decimal(1), (), 0)
        effects.put("unbooked", number.encode(), codec.encode(judged))
    store.commit(effects.writes)

    room = Risk(
        limits={name: RiskConfig() for name in NAMES},
        desk_limits=DeskLimits(),
        store=store,
        ledger=ledger,
        codec=codec,
        clock=HandClock(),
        sentinel=Sentinel(tmp_path),
        is_stepped=True,
    )
    said = [post.word for post in room.recover().posts]

    assert [word.intent.strategy for word in said if isinstance(word, IntentJudged)] == list(NAMES)
    store.close()
    ledger.close()


# --- a store of before ------------------------------------------------------------------------


class Forgetful:
    """Risk as it is behind a loss of power that took all of its store, beside a journal that lost nothing."""

    def __init__(self, folder: Path) -> None:
        """Let one position be held or approved at most."""
        self.book = Book(folder / "ledger")
        self.book.capital()
        self.store = Store.open(folder / "risk", is_synced=False)
        self.room = Risk(
            limits={"alpha": RiskConfig()},
            desk_limits=DeskLimits(max_positions=1),
            store=self.store,
            ledger=self.book.store,
            codec=self.book.codec,
            clock=HandClock(),
            sentinel=Sentinel(folder),
            is_stepped=False,
        )

    def book_as(self, intent: Intent, state: OrderState) -> None:
        """Let the journal have the order that an intent became, as one in this state."""
        born = replace(
            an_order(OrderState.PENDING, Decimal(1)),
            order_id=order_id(intent.intent_id),
            intent_id=intent.intent_id,
            strategy=intent.strategy,
            tag=intent.tag,
            purpose=Purpose.ENTRY,
        )
        self.book.turn(lambda effects: self.book.journal.write(OrderChanged(born, "", "risk", 0), effects))
        if state is not OrderState.PENDING:
            ended = replace(born, state=state)
            changed = OrderChanged(ended, OrderState.PENDING.value, "ours", 0)
            self.book.turn(lambda effects: self.book.journal.write(changed, effects))

    def start(self) -> None:
        self._commit(self.room.recover())
        self._commit(self.room.peers((Peer("execution", 1, "RUNNING"), Peer("strategies/alpha", 1, "RUNNING"))))
        item = StreamItem("SPY/tick", 1, 0, b"", has_memory=False)
        self._commit(self.room.hear_stream("market_data", item, Tick("SPY", MINUTE_NS, 100.0)))

    def hear(self, intent: Intent) -> list[IntentJudged]:
        """Let a strategy say an intent, perhaps once more; give the verdicts that follow."""
        return self._commit(self.room.hear("strategies/alpha", 1, intent))

    def _commit(self, effects: Effects) -> list[IntentJudged]:
        self.store.commit(effects.writes)
        return [post.word for post in effects.posts if isinstance(post.word, IntentJudged)]

    def close(self) -> None:
        self.store.close()
        self.book.close()


@pytest.fixture
def forgetful(tmp_path: Path) -> Iterator[Forgetful]:
    room = Forgetful(tmp_path)
    yield room
    room.close()


@pytest.mark.parametrize("state", [OrderState.PENDING, OrderState.CANCELLED])
def test_what_the_journal_has_already_is_not_judged_once_more(forgetful: Forgetful, state: OrderState) -> None:
    forgetful.book_as(an_intent(), state)
    forgetful.start()

    assert forgetful.hear(an_intent()) == []
    assert (forgetful.room.facts()["waiting"], forgetful.room.facts()["repeated"]) == (0, 1)


def test_an_order_that_is_over_reserves_nothing_when_its_intent_comes_once_more(forgetful: Forgetful) -> None:
    forgetful.book_as(an_intent(), OrderState.CANCELLED)
    forgetful.start()
    forgetful.hear(an_intent())

    (judged,) = forgetful.hear(replace(an_intent(), intent_id="i2", tag="u"))

    assert judged.reasons == ()


def test_an_intent_that_waited_is_not_judged_when_the_journal_has_its_order(forgetful: Forgetful) -> None:
    effects = Effects()
    effects.put("waiting", b"i1", forgetful.book.codec.encode(an_intent()))
    forgetful.store.commit(effects.writes)
    forgetful.book_as(an_intent(), OrderState.CANCELLED)

    forgetful.start()

    assert list(forgetful.store.scan("waiting")) == []
    assert forgetful.room.facts()["judged"] == 0
