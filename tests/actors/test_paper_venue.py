"""The paper venue's room."""

from decimal import Decimal
from pathlib import Path
from typing import Any

from actors.venues.paper import PaperVenue
from actors.words import desk_codec
from desk.messages import Bar, OrderFilled, OrderType, Side, SubmitOrder, VenueSnapshot, VenueWanted
from desk.simulation.matching import PaperTerms
from desk.units import NS_PER_S, ZERO
from runtime.effects import Effects
from runtime.store import Store

TERMS = PaperTerms(
    fill="close", slippage_bps=ZERO, maker_fee_bps=ZERO, taker_fee_bps=ZERO, starting_cash=Decimal(1_000)
)
BAR = Bar("SPY", "1m", 60 * NS_PER_S, 120 * NS_PER_S, 10.0, 11.0, 9.0, 10.0, 5.0, 1, 0)
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


def _kept(store: Store, effects: Effects) -> None:
    store.commit(effects.writes)


def _said(effects: Effects) -> list[Any]:
    return [post.word for post in effects.posts]
