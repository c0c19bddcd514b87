"""Execution and the books: what is found at the venue, what an operator does about it, and a contradiction."""

import json
from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from actors.settings import ReconciliationSettings
from actors.simulation.exchange import Resting
from desk.conservation import InvariantError
from desk.messages import (
    AdoptionWished,
    Bar,
    CancelOrder,
    CapitalChanged,
    CapitalWished,
    Effect,
    ExternalBooked,
    FlatteningWished,
    OrderState,
    OrdersWanted,
    OrderType,
    ReconciliationWished,
    Side,
    SubmitOrder,
)
from desk.units import ZERO
from desk.venue import ALPACA, KRAKEN, PAPER, VenueTraits
from runtime.bus_words import StreamItem
from runtime.words import Peer
from tests.actors.lone_execution import VENUE, Faults, LoneExecution
from tests.actors.test_execution_in_doubt import Begin, begin

__all__ = ["begin"]

RECONCILED_S = 130.0
"""Two looks at the venue, and the third that believes them."""


@pytest.fixture
def lone(begin: Begin) -> LoneExecution:
    return begin(KRAKEN)


def external(lone: LoneExecution) -> dict[str, Decimal]:
    return {held.symbol: held.quantity for held in lone.room._journal.ledger.external()}


def bookings(lone: LoneExecution) -> list[tuple[str, Decimal]]:
    return [(r.body.symbol, r.body.quantity) for r in lone.journal() if isinstance(r.body, ExternalBooked)]


def gate(lone: LoneExecution) -> str:
    return lone.room.facts()["gate"]


def look(lone: LoneExecution, *, is_accepted: bool = False) -> dict[str, Any]:
    """Ask for a comparison by hand; give the answer."""
    request = f"look {len(lone.answers)}"
    lone._turn(lambda: lone.room.hear("console", 1, ReconciliationWished(request, is_accepted, "local")))
    lone.run(10)
    answer = next(word for word in lone.answers if word.request == request)
    return json.loads(answer.result) if answer.result else {"error": answer.error}


# --- what is found ------------------------------------------------------------------------------


def test_what_was_bought_by_hand_is_kept_apart_and_trading_goes_on(lone: LoneExecution) -> None:
    lone.exchange.by_hand["QQQ"] = Decimal(3)

    lone.run(RECONCILED_S)

    assert (external(lone), bookings(lone), gate(lone)) == ({"QQQ": Decimal(3)}, [("QQQ", Decimal(3))], "")
    assert lone.room.facts()["notices"] == [
        "EXTERNAL holds 3 QQQ: no strategy trades it; give it to one with bulkhead adopt"
    ]
    lone.enter(1)
    lone.run(5)
    assert len(lone.booked()) == 1


def test_what_was_found_is_booked_once_through_falls_and_starts(lone: LoneExecution) -> None:
    lone.exchange.by_hand["QQQ"] = Decimal(3)
    lone.run(RECONCILED_S)

    for _ in range(3):
        lone.fall()
        lone.run(RECONCILED_S)

    assert (bookings(lone), gate(lone)) == ([("QQQ", Decimal(3))], "")


def test_a_position_that_the_venue_does_not_have_closes_the_gate_until_a_person_accepts(lone: LoneExecution) -> None:
    lone.enter(1, quantity="10")
    lone.run(5)
    lone.exchange.by_hand["SPY"] = Decimal(-10)
    lone.run(RECONCILED_S)
    shut = gate(lone)

    refused = lone.enter(2)
    told = look(lone, is_accepted=True)
    lone.run(5)

    assert shut.startswith("books and venue differ: missing_broker SPY: ours 10, venue 0")
    assert lone.order(refused).reason.startswith("GATE_CLOSED: books and venue differ")
    assert (told["against_trading"], told["external"], gate(lone)) == ("", {"SPY": "-10"}, "")
    assert lone.room._journal.ledger.net_quantity("SPY") == ZERO


def test_a_look_by_hand_says_what_differs_and_books_nothing_beyond_the_thresholds(lone: LoneExecution) -> None:
    lone.enter(1, quantity="10")
    lone.run(5)
    lone.exchange.by_hand["SPY"] = Decimal(5)
    look(lone)

    told = look(lone)

    assert told["differences"] == ["quantity_mismatch SPY: ours 10, venue 15, drift 33.3%"]
    assert (told["external"], told["against_trading"] != "") == ({}, True)


def test_thresholds_told_while_it_runs_hold_from_the_next_look_on(lone: LoneExecution) -> None:
    lone.enter(1, quantity="10")
    lone.run(5)
    lone.exchange.by_hand["SPY"] = Decimal(5)
    lone.run(RECONCILED_S)
    before = (gate(lone) != "", bookings(lone))

    lone.reconfigure(ReconciliationSettings(drift_max_pct=Decimal("0.5")))
    lone.run(RECONCILED_S)

    assert before == (True, [])
    assert (gate(lone), bookings(lone)) == ("", [("SPY", Decimal(5))])


def test_a_look_by_hand_while_the_venue_is_down_is_refused(lone: LoneExecution) -> None:
    lone._turn(lambda: lone.room.peers((Peer(VENUE, 1, "RESTARTING"),)))

    told = look(lone)

    assert "nothing can be compared" in told["error"]


def test_an_order_of_another_hand_is_listed_and_never_touched(lone: LoneExecution) -> None:
    command = SubmitOrder(
        "", "SPY", lone.order(lone.enter(1)).side, OrderType.LIMIT, Decimal(1), Decimal(5), None, 0, ""
    )
    lone.exchange.orders.append(Resting(command, "v99", lone.exchange.now_ns()))

    lone.run(RECONCILED_S)

    told = lone.room.facts()["reconciliation"]
    assert [order["venue_order_id"] for order in told["external_orders"]] == ["v99"]
    assert (gate(lone), lone.exchange.orders[-1].state) == ("", OrderState.SUBMITTED)
    assert told["at_ns"] > 0


def test_an_order_of_ours_that_we_believe_finished_is_cancelled_there(lone: LoneExecution) -> None:
    name = lone.enter(1, limit="50")
    lone.run(1)
    lone.exchange.cancel(name)
    lone.run(RECONCILED_S)
    ended = lone.order(name).state
    resting = next(order for order in lone.exchange.orders if order.command.order_id == name)
    resting.state = OrderState.SUBMITTED  # it comes back from the dead, as after a venue's own recovery

    lone.run(RECONCILED_S)

    assert (ended, resting.state) == (OrderState.CANCELLED, OrderState.CANCELLED)
    assert any(isinstance(word, CancelOrder) and word.reason == "NOT_IN_USE" for word in lone.sent)


def test_a_resting_stop_with_other_figures_is_cancelled_and_placed_again(lone: LoneExecution) -> None:
    lone.enter(1, quantity="10", stop="90")
    lone.run(5)
    stop = next(order for order in lone.exchange.orders if order.is_open)
    stop.price = Decimal(80)

    lone.run(RECONCILED_S)

    open_there = [(order.price, order.quantity) for order in lone.exchange.orders if order.is_open]
    assert open_there == [(Decimal(90), Decimal(10))]
    assert stop.state is OrderState.CANCELLED


# --- the operator's hand ------------------------------------------------------------------------


def capital(request: str, amount: str) -> CapitalWished:
    return CapitalWished(request, Decimal(amount), "because", "local")


def test_a_deposit_is_booked_once_for_each_request(lone: LoneExecution) -> None:
    first = lone.wish(capital("r1", "500"))
    again = lone.wish(capital("r1", "500"))
    lone.fall()
    later = lone.wish(capital("r1", "500"))

    moves = [record.body for record in lone.journal() if isinstance(record.body, CapitalChanged)]
    assert first == again == later
    assert json.loads(first.result)["cash"] == "100500"
    assert [(move.amount, move.request, move.who) for move in moves][1:] == [(Decimal(500), "r1", "local")]


def test_what_is_not_free_cannot_be_withdrawn(lone: LoneExecution) -> None:
    lone.enter(1, quantity="900", limit="50")
    lone.run(1)

    too_much = lone.wish(capital("r1", "-55000.01"))
    all_that_is_free = lone.wish(capital("r2", "-55000"))

    assert too_much.error == "55000.01 cannot be withdrawn: 55000 of 100000 in cash is free"
    assert (all_that_is_free.error, json.loads(all_that_is_free.result)["cash"]) == ("", "45000")


@pytest.mark.parametrize("amount", ["NaN", "0", "Infinity", "1e12", "1e-40", "0.123456789"])
def test_what_is_no_amount_changes_nothing(lone: LoneExecution, amount: str) -> None:
    before = lone.room._journal.head

    answer = lone.wish(capital("r1", amount))

    assert answer.error.endswith("is no amount of money")
    assert lone.room._journal.head == before


def adoption(request: str, **change: Any) -> AdoptionWished:
    wish = AdoptionWished(request, "QQQ", Decimal(2), "alpha", "mine", "found", "local", Decimal(90))
    return replace(wish, **change)


def test_what_is_adopted_belongs_to_its_strategy_with_a_stop_that_rests(lone: LoneExecution) -> None:
    lone.exchange.by_hand["QQQ"] = Decimal(3)
    lone.run(RECONCILED_S)

    answer = lone.wish(adoption("r1"))
    lone.wish(adoption("r1"))
    lone.run(5)
    lone.fall()
    lone.run(5)

    held = lone.room._journal.ledger.position("alpha", "QQQ", "mine")
    assert held is not None
    assert (held.quantity, external(lone), answer.error) == (Decimal(2), {"QQQ": Decimal(1)}, "")
    stops = [order for order in lone.exchange.orders if order.is_open]
    assert [(order.command.symbol, order.price, order.quantity) for order in stops] == [
        ("QQQ", Decimal(90), Decimal(2))
    ]


def test_what_was_adopted_can_be_closed(lone: LoneExecution) -> None:
    lone.exchange.by_hand["QQQ"] = Decimal(2)
    lone.run(RECONCILED_S)
    lone.wish(adoption("r1"))
    lone.run(5)

    lone.wish(FlatteningWished("r2", "", "", "enough", "local"))
    lone.run(20)

    assert lone.exchange.positions() == {}
    assert lone.room._journal.ledger.position("alpha", "QQQ", "mine") is None
    assert [order.command.symbol for order in lone.exchange.orders if order.is_open] == []


def short(lone: LoneExecution) -> list[tuple[Side, Decimal]]:
    """Have alpha take over more of what is missing than it holds itself; give what rests then."""
    lone.enter(1, symbol="QQQ", quantity="5")
    lone.run(5)
    lone.exchange.by_hand["QQQ"] = Decimal(-8)
    lone.run(RECONCILED_S)
    look(lone, is_accepted=True)
    lone.wish(adoption("r1", quantity=Decimal(8), tag="t1", stop_loss=Decimal(110)))
    lone.run(5)
    return resting(lone)


def resting(lone: LoneExecution) -> list[tuple[Side, Decimal]]:
    return [(order.command.side, order.quantity) for order in lone.exchange.orders if order.is_open]


def test_a_position_that_an_adoption_turned_round_has_its_stop_on_the_other_side(lone: LoneExecution) -> None:
    stops = short(lone)

    lone.wish(FlatteningWished("r2", "alpha", "", "enough", "local"))
    lone.run(20)

    assert stops == [(Side.BUY, Decimal(3))]
    assert (lone.exchange.positions(), resting(lone)) == ({}, [])


def test_an_entry_that_covers_a_part_of_a_short_leaves_the_rest_its_stop(lone: LoneExecution) -> None:
    short(lone)

    lone._decide(2, Effect.OPEN, "QQQ", Decimal(1), "", "", tag=1)
    lone.run(20)

    assert (lone.exchange.positions(), resting(lone)) == ({"QQQ": Decimal(-2)}, [(Side.BUY, Decimal(2))])


def test_flattening_leaves_what_stands_under_external(lone: LoneExecution) -> None:
    lone.exchange.by_hand["QQQ"] = Decimal(2)
    lone.run(RECONCILED_S)

    lone.wish(FlatteningWished("r2", "", "", "enough", "local"))
    lone.run(20)

    assert (external(lone), lone.exchange.orders) == ({"QQQ": Decimal(2)}, [])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"symbol": "SPY"}, "nothing of SPY stands under EXTERNAL"),
        ({"strategy": "beta"}, "beta does not trade QQQ by the configuration"),
        ({"quantity": Decimal(4)}, "EXTERNAL holds 3 QQQ: 4 of it cannot be given"),
        ({"quantity": Decimal("NaN")}, "EXTERNAL holds 3 QQQ: NaN of it cannot be given"),
        ({"quantity": Decimal(-1)}, "EXTERNAL holds 3 QQQ: -1 of it cannot be given"),
        ({"stop_loss": Decimal(0)}, "0 is no price of a stop"),
        ({"tag": "t" * 65}, "a tag has at most 64 characters, not 65"),
    ],
)
def test_only_what_is_there_goes_to_who_may_have_it(lone: LoneExecution, change: dict[str, Any], words: str) -> None:
    lone.exchange.by_hand["QQQ"] = Decimal(3)
    lone.run(RECONCILED_S)

    answer = lone.wish(adoption("r1", **change))

    assert (answer.error, external(lone)) == (words, {"QQQ": Decimal(3)})


@pytest.mark.parametrize("has_own", [False, True], ids=["all of it", "beside its own"])
def test_a_stop_on_the_wrong_side_of_the_market_is_refused_and_nothing_is_given(
    lone: LoneExecution, has_own: bool
) -> None:
    if has_own:
        lone.enter(1, quantity="5")
        lone.run(5)
    lone.exchange.by_hand["SPY"] = Decimal(-2)
    lone.run(RECONCILED_S)
    look(lone, is_accepted=True)
    held, side, wrong = ("3", "below", "110") if has_own else ("-2", "above", "90")

    answer = lone.wish(adoption("r1", symbol="SPY", tag="t1", stop_loss=Decimal(wrong)))
    kept = external(lone)
    taken = lone.wish(adoption("r2", symbol="SPY", tag="t1", stop_loss=Decimal(200) - Decimal(wrong)))

    says = f"the stop of {held} SPY lies {side} 100.0, the last price known, not at {wrong}"
    assert (answer.error, kept) == (says, {"SPY": Decimal(-2)})
    assert (taken.error, external(lone)) == ("", {})


# --- a contradiction ----------------------------------------------------------------------------


@pytest.mark.parametrize("traits", [KRAKEN, ALPACA], ids=["ids while open", "ids for ever"])
def test_books_that_contradict_themselves_halt_the_desk_and_end_the_process(begin: Begin, traits: VenueTraits) -> None:
    lone = begin(traits)
    lone.room._journal.ledger.cash += Decimal("0.01")

    with pytest.raises(InvariantError, match=r"0\.01 too much"):
        lone.wish(capital("r1", "500"))

    reason = lone.sentinel.reason()
    assert reason is not None
    assert reason.startswith("INVARIANT: the books contradict themselves: cash is")
    assert [r for r in lone.journal() if isinstance(r.body, CapitalChanged)][1:] == []
    lone.fall()
    assert lone.room._journal.ledger.cash == Decimal(100_000)
    refused = lone.enter(1)
    assert lone.order(refused).reason.startswith("HALTED: INVARIANT")


def test_a_comparison_finds_a_contradiction_that_no_event_touched(lone: LoneExecution) -> None:
    lone.enter(1)
    lone.run(5)
    held = lone.room._journal.ledger._holdings
    held.costs[next(iter(held.costs))] -= 1

    with pytest.raises(InvariantError, match="costs of positions add up"):
        lone.run(RECONCILED_S)

    assert (lone.sentinel.reason() or "").startswith("INVARIANT")


def test_a_venue_that_cannot_be_asked_closes_the_gate_and_says_so(lone: LoneExecution) -> None:
    lone.faults = Faults(lost=1.0)

    told = look(lone)

    assert told["error"] == "the venue cannot be asked: no answer"
    assert gate(lone) == "the venue cannot be asked: no answer"


def test_of_another_account_nothing_is_believed_and_nothing_is_sent_there(lone: LoneExecution) -> None:
    lone.enter(1)
    lone.run(5)
    orders, lone.exchange.orders = lone.exchange.orders, []
    fills, lone.exchange.fills = lone.exchange.fills, []
    lone.exchange.account, lone.exchange.by_hand = "another", {"QQQ": Decimal(7)}
    lone.run(RECONCILED_S)
    records = len(lone.journal())
    waiting = lone.leave(2, 1)
    lone.run(5)

    assert gate(lone) == "the venue cannot be asked: ACCOUNT_CHANGED: venues/model was model, and is another now"
    assert (lone.sentinel.reason() or "").startswith("ACCOUNT_CHANGED")
    assert (external(lone), records) == ({}, len(lone.journal()) - 2), "the exit and its stop's wanted end are all"
    assert lone.exchange.orders == []

    lone.exchange.orders, lone.exchange.fills = orders, fills
    lone.exchange.account, lone.exchange.by_hand = "model", {}
    lone.run(RECONCILED_S)

    assert (gate(lone), lone.order(waiting).state) == ("", OrderState.FILLED)


def test_the_first_look_that_fails_is_a_verdict_too(begin: Begin) -> None:
    never = begin(KRAKEN, lost=1.0)

    never.run(5)

    facts = never.room.facts()["reconciliation"]
    assert facts["verdict"] == facts["against_trading"] == "the venue cannot be asked: no answer"
    assert (facts["differences"], facts["external_orders"]) == ([], [])


def test_what_is_found_is_booked_at_the_last_price_else_at_what_somebody_paid(lone: LoneExecution) -> None:
    bar = Bar("SPY", "1m", 0, 60, 99, 99, 99, 99, 1)
    lone._turn(lambda: lone.room.hear_stream("market_data", StreamItem("SPY/1m", 1, 0, b"", False), bar))
    lone.enter(1, symbol="QQQ", quantity="100")
    lone.run(5)
    lone.exchange.by_hand |= {"SPY": Decimal(1), "QQQ": Decimal(1), "IWM": Decimal(1)}

    lone.run(RECONCILED_S)

    prices = {r.body.symbol: r.body.price for r in lone.journal() if isinstance(r.body, ExternalBooked)}
    assert prices == {"SPY": Decimal("99.0"), "QQQ": Decimal(100), "IWM": ZERO}


def test_an_execution_that_the_venue_shows_and_has_not_told_is_asked_for(lone: LoneExecution) -> None:
    name = lone.enter(1, quantity="10", limit="50")
    lone.run(1)
    order = next(one for one in lone.exchange.orders if one.command.order_id == name)
    order.filled, order.state = Decimal(1), OrderState.PARTIALLY_FILLED
    before = len([word for word in lone.sent if isinstance(word, OrdersWanted)])

    told = look(lone)

    assert told["differences"][0].startswith(f"fill_missing {name}")
    assert len([word for word in lone.sent if isinstance(word, OrdersWanted)]) > before


def test_what_a_short_owes_is_not_free(lone: LoneExecution) -> None:
    lone.exchange.by_hand["QQQ"] = Decimal(-2)
    bar = Bar("QQQ", "1m", 0, 60, 100, 100, 100, 100, 1)
    lone._turn(lambda: lone.room.hear_stream("market_data", StreamItem("QQQ/1m", 1, 0, b"", False), bar))
    lone.run(RECONCILED_S)
    lone.enter(1, quantity="10")
    lone.run(5)

    answer = lone.wish(capital("r1", "-99999"))

    assert "98600" in answer.error


def test_cash_that_differs_at_the_paper_venue_closes_the_gate(begin: Begin) -> None:
    lone = begin(PAPER)

    lone.run(RECONCILED_S)

    assert gate(lone) == "books and venue differ: cash_mismatch cash: ours 100000, venue 0"
