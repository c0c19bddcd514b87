"""The paper venue's room."""

from decimal import Decimal
from pathlib import Path
from typing import Any

from actors.step import EXECUTION_AGAIN, VENUES
from actors.venues.paper import PaperVenue
from actors.words import desk_codec
from desk.messages import (
    Bar,
    CancelOrder,
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    OrderType,
    Side,
    SubmitOrder,
    VenueSnapshot,
    VenueWanted,
)
from desk.simulation.matching import PaperTerms
from desk.units import NS_PER_S, ZERO
from runtime.effects import Effects
from runtime.store import Store
from runtime.words import Turn

TERMS = PaperTerms(
    fill="close", slippage_bps=ZERO, maker_fee_bps=ZERO, taker_fee_bps=ZERO, starting_cash=Decimal(1_000)
)
BAR = Bar("SPY", "1m", 60 * NS_PER_S, 120 * NS_PER_S, 10.0, 11.0, 9.0, 10.0, 5.0, 1, 0)
LOWER = Bar("SPY", "1m", 120 * NS_PER_S, 180 * NS_PER_S, 9.0, 9.0, 7.0, 8.0, 5.0, 2, 0)
RESTS = SubmitOrder("o2", "SPY", Side.BUY, OrderType.LIMIT, Decimal(2), Decimal(8), None, 0, "")
CANCEL = CancelOrder("o2", "TTL")
ORDER = SubmitOrder("o1", "SPY", Side.BUY, OrderType.MARKET, Decimal(2), None, None, 0, "")


def test_a_look_within_the_turn_of_a_fill_knows_that_nobody_has_read_of_it_yet(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "venue", is_synced=False)
    venue = PaperVenue(TERMS, store, desk_codec(), is_stepped=False)
    _kept(store, venue.hear("execution", 1, VenueWanted(1, 0, 0)))
    _kept(store, venue._matched(BAR))

    effects = Effects()
    for word in (ORDER, VenueWanted(2, 0, 0)):  # both are heard before anything is kept
        effects.add(venue.hear("execution", 1, word))
    snapshot = next(word for word in _said(effects) if isinstance(word, VenueSnapshot))

    assert snapshot.positions == {"SPY": Decimal(2)}
    assert [type(report) for report in snapshot.unread][-1] is OrderFilled
    store.close()


def test_a_first_turn_that_comes_again_answers_nothing_that_was_asked_in_its_step(tmp_path: Path) -> None:
    codec, store = desk_codec(), Store.open(tmp_path / "venue", is_synced=False)
    venue = PaperVenue(TERMS, store, codec, is_stepped=True)
    _kept(store, venue.hear("execution", 1, VenueWanted(1, 0, 0)))
    _kept(store, venue.begin(_turn(VENUES), BAR))
    at_once = venue.hear("execution", 1, RESTS)
    _kept(store, at_once)
    accepted = venue.begin(_turn(EXECUTION_AGAIN + 1), BAR)
    _kept(store, venue.hear("execution", 1, CANCEL))

    fallen = PaperVenue(TERMS, store, codec, is_stepped=True)
    looked = fallen.hear("execution", 1, VenueWanted(2, 1, 0))
    again = fallen.begin(_turn(VENUES), BAR)
    behind = fallen.begin(_turn(EXECUTION_AGAIN + 1), BAR)

    assert [type(word) for word in (*_said(at_once), *_said(accepted))] == [OrderAccepted]
    assert [type(word) for word in (*_said(looked), *_said(again))] == [VenueSnapshot]
    assert [type(word) for word in _said(behind)] == [OrderCancelled]
    store.close()


def test_what_the_market_filled_before_a_fall_is_said_in_the_first_turn(tmp_path: Path) -> None:
    codec, store = desk_codec(), Store.open(tmp_path / "venue", is_synced=False)
    venue = PaperVenue(TERMS, store, codec, is_stepped=True)
    _kept(store, venue.hear("execution", 1, VenueWanted(1, 0, 0)))
    _kept(store, venue.begin(_turn(VENUES), BAR))
    _kept(store, venue.begin(_turn(EXECUTION_AGAIN + 1), BAR))
    _kept(store, venue.hear("execution", 1, RESTS))
    _kept(store, venue.begin(_turn(VENUES, step=2), LOWER))

    fallen = PaperVenue(TERMS, store, codec, is_stepped=True)
    looked = fallen.hear("execution", 1, VenueWanted(2, 1, 0))

    assert [type(word) for word in _said(looked)] == [OrderFilled, VenueSnapshot]
    store.close()


def _turn(phase: int, step: int = 1) -> Turn:
    return Turn(step, phase, step * BAR.end_ns, b"")


def _kept(store: Store, effects: Effects) -> None:
    store.commit(effects.writes)


def _said(effects: Effects) -> list[Any]:
    return [post.word for post in effects.posts]
