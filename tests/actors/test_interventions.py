"""What a person may say of an order that nobody knows, and of positions that shall be closed."""

from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from desk.messages import (
    CancelWanted,
    Effect,
    FlatteningWished,
    OrderCancelled,
    OrderState,
    ResolutionWished,
    SubmitOrder,
)
from desk.units import NS_PER_S, ZERO
from desk.venue import ALPACA, KRAKEN
from runtime.words import Peer
from tests.actors.lone_execution import Faults, LoneExecution

ONE = Decimal(1)


@pytest.fixture
def lone(tmp_path: Path) -> Iterator[LoneExecution]:
    lone = LoneExecution(tmp_path, ALPACA)
    lone.run(1)
    yield lone
    assert lone.store is not None
    lone.store.close()


def unknown(lone: LoneExecution, number: int = 1) -> str:
    """Have an entry of which nobody will ever know: it was lost, its intent has died, and nothing has a deadline."""
    lone.faults = Faults(lost=1.0)
    name = lone.enter(number)
    lone.run(0.1)
    lone.pass_time(lone.clock.wall_ns() + 60 * NS_PER_S)
    lone.faults = Faults()
    lone.run(10)
    assert lone.order(name).state is OrderState.UNKNOWN
    return name


def resolution(order: str, outcome: str, quantity: str = "", price: str = "", request: str = "r1") -> ResolutionWished:
    return ResolutionWished(
        request, order, outcome, Decimal(quantity) if quantity else None, Decimal(price) if price else None, ZERO,
        "looked it up", "anna",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("outcome", "state"), [("never", OrderState.EXPIRED), ("cancelled", OrderState.CANCELLED)]
)  # fmt: skip
def test_a_person_may_say_that_nothing_came_of_it(lone: LoneExecution, outcome: str, state: OrderState) -> None:
    name = unknown(lone)

    answer = lone.wish(resolution(name[:6], outcome))
    allowed = lone.enter(2)
    lone.run(1)

    assert (answer.error, lone.order(name).state) == ("", state)
    assert lone.order(allowed).state is OrderState.FILLED, "entries in the symbol are free again"


def test_the_alarms_name_an_order_that_no_question_can_settle_until_a_person_has(lone: LoneExecution) -> None:
    before = lone.room.facts()["notices"]
    name = unknown(lone)
    said = lone.room.facts()["notices"]
    lone.fall()
    lone.run(10)
    after_a_fall = lone.room.facts()["notices"]

    lone.wish(resolution(name, "never"))

    assert before == []
    assert [name in said[0], "ENTRY BUY 1 SPY of alpha" in said[0], f"order {name} resolve" in said[0]] == [True] * 3
    assert after_a_fall == said
    assert lone.room.facts()["notices"] == []


def test_an_exit_in_doubt_whose_position_is_gone_is_never_sent_again_and_waits_for_a_person(
    lone: LoneExecution,
) -> None:
    lone.enter(1)
    lone.run(5)
    stop = next(order for order in lone.exchange.orders if order.is_open)
    lone.faults = Faults(lost=1.0)
    name = lone.leave(2, 1)
    lone.say(OrderCancelled(0, stop.command.order_id, "EXIT", False, 0, ZERO))  # so the exit leaves, and is lost …
    lone.run(0.2)
    lone.exchange.move(Decimal(89))  # … and then the stop trades after all
    lone.faults = Faults()
    lone.sent.clear()
    lone.run(60)

    assert (lone.order(name).state, lone.exchange.positions()) == (OrderState.UNKNOWN, {})
    assert [word for word in lone.sent if isinstance(word, SubmitOrder)] == []
    assert "nothing is held any more" in lone.room.facts()["notices"][0]
    lone.wish(resolution(name, "never"))
    assert (lone.order(name).state, lone.room.facts()["notices"]) == (OrderState.EXPIRED, [])


def test_a_person_may_say_what_it_traded(lone: LoneExecution) -> None:
    name = unknown(lone)

    answer = lone.wish(resolution(name, "filled", "1", "101.5"))

    assert answer.error == ""
    assert (lone.order(name).state, lone.order(name).average_price) == (OrderState.FILLED, Decimal("101.5"))
    assert lone.room._journal.ledger.net_quantities() == {"SPY": ONE}
    assert "anna" in next(str(r.body) for r in lone.journal() if "settled as filled" in str(r.body))


def test_the_same_word_twice_is_one(lone: LoneExecution) -> None:
    name = unknown(lone)
    wish = resolution(name, "filled", "0.4", "100")

    first = lone.wish(wish)
    lone.fall()
    second = lone.wish(wish)

    assert first == second
    assert lone.order(name).filled_quantity == Decimal("0.4")


@pytest.mark.parametrize(
    ("outcome", "quantity", "price", "says"),
    [
        ("filled", "", "", "--quantity"),
        ("filled", "2", "100", "more than the 1"),
        ("filled", "-1", "100", "above 0"),
        ("filled", "1", "NaN", "above 0"),
        ("filled", "1", "1e15", "beyond counting"),
        ("filled", "1", "1e999999", "beyond counting"),
        ("gone", "", "", "one of never, cancelled, filled"),
    ],
)
def test_what_cannot_be_changes_nothing(
    lone: LoneExecution, outcome: str, quantity: str, price: str, says: str
) -> None:
    name = unknown(lone)
    records = len(lone.journal())

    answer = lone.wish(resolution(name, outcome, quantity, price))

    assert says in answer.error
    assert len(lone.journal()) == records


@pytest.mark.parametrize(
    ("price", "fee", "says"),
    [
        ("100", "NaN", "fee must be a finite number"),
        ("100", "-1e20", "beyond counting"),
        ("1e-999999", "100", "beyond counting"),
    ],
)
def test_a_fee_that_cannot_be_changes_nothing(lone: LoneExecution, price: str, fee: str, says: str) -> None:
    name = unknown(lone)
    records = len(lone.journal())

    answer = lone.wish(msgspec.structs.replace(resolution(name, "filled", "1", price), fee=Decimal(fee)))

    assert says in answer.error
    assert len(lone.journal()) == records


def test_an_order_that_is_known_is_not_settled_by_a_word(lone: LoneExecution) -> None:
    name = lone.enter(1, limit="50")
    lone.run(1)

    assert "only an UNKNOWN order" in lone.wish(resolution(name, "never")).error
    assert "no order that works begins" in lone.wish(resolution("nope", "never")).error


def lost_stop(lone: LoneExecution) -> str:
    """Have a position whose confirmed stop the venue finds nowhere any more; give the stop's name."""
    lone.enter(1)
    lone.run(5)
    stop = next(order.order_id for order in lone.room._journal.ledger.working.values())
    lone.exchange.forget_stops()
    lone.run(130)
    return stop


def test_the_alarms_name_a_stop_that_the_venue_has_lost_and_nothing_is_opened_beside_it(lone: LoneExecution) -> None:
    stop = lost_stop(lone)

    said = lone.room.facts()["notices"]
    refused = lone.enter(2)

    assert [f"{stop} is lost at the venue" in said[0], f"order {stop} resolve" in said[0]] == [True] * 2
    assert lone.order(refused).reason.startswith(f"LOST_ORDER: the venue had {stop}")


def test_a_person_ends_an_order_that_the_venue_has_lost_and_another_stop_rests(lone: LoneExecution) -> None:
    stop = lost_stop(lone)

    never = lone.wish(resolution(stop, "never"))
    lone.wish(resolution(stop, "cancelled"))
    lone.run(5)

    assert "had confirmed" in never.error
    assert lone.order(stop).state is OrderState.CANCELLED
    assert [order.quantity for order in lone.exchange.orders if order.is_open] == [ONE]
    assert lone.room.facts()["notices"] == []


def test_an_exit_leaves_once_a_person_has_ended_the_lost_stop_that_it_waited_for(lone: LoneExecution) -> None:
    stop = lost_stop(lone)
    exit_name = lone.leave(2, 1)
    lone.run(60)
    waiting = lone.order(exit_name).state

    lone.wish(resolution(stop, "cancelled"))
    lone.run(5)

    assert (waiting, lone.order(exit_name).state) == (OrderState.PENDING, OrderState.FILLED)
    assert lone.exchange.positions() == {}


def test_what_is_shown_again_is_not_lost_any_more(lone: LoneExecution) -> None:
    lone.enter(1)
    lone.run(5)
    orders = list(lone.exchange.orders)
    lone.exchange.forget_stops()
    lone.run(130)

    lone.exchange.orders = orders
    lone.run(10)

    assert lone.room.facts()["notices"] == []
    assert lone.order(lone.enter(2)).state is OrderState.PENDING


def test_the_rest_of_what_filled_by_a_persons_word_is_settled_by_another_one(lone: LoneExecution) -> None:
    name = unknown(lone)
    lone.wish(resolution(name, "filled", "0.4", "100"))
    lone.run(130)

    answer = lone.wish(resolution(name, "cancelled", request="r2"))

    assert (answer.error, lone.order(name).state) == ("", OrderState.CANCELLED)
    assert lone.order(name).filled_quantity == Decimal("0.4")


def test_flattening_closes_what_is_meant_and_nothing_else(lone: LoneExecution) -> None:
    lone.enter(1)
    lone.enter(2, symbol="QQQ")
    waiting = lone.enter(3, limit="50")
    lone.run(5)

    answer = lone.wish(FlatteningWished("r1", "", "SPY", "enough", "anna"))
    lone.run(10)

    assert msgspec.json.decode(answer.result)["closing"] == [["alpha", "SPY", "t1"], ["alpha", "SPY", "t3"]]
    assert lone.exchange.positions() == {"QQQ": ONE}
    assert lone.order(waiting).state is OrderState.CANCELLED
    assert {o.command.symbol for o in lone.exchange.orders if o.is_open} == {"QQQ"}
    assert lone.room.facts()["wanted_flat"] == []


def test_a_position_is_closed_also_where_its_tag_is_longer_than_a_store_s_key(lone: LoneExecution) -> None:
    lone.enter(1, tag=10**600)
    lone.run(5)
    lone.faults = Faults(lost=1.0)
    lone.wish(FlatteningWished("r1", "", "", "enough", "anna"))
    lone.fall()
    held = lone.room.facts()["wanted_flat"]
    lone.faults = Faults()

    lone.run(200)

    assert held == [["alpha", "SPY", f"t{10**600}"]]
    assert lone.exchange.positions() == {}
    lone.fall()
    assert lone.room.facts()["wanted_flat"] == []


def test_a_wish_for_flatness_outlives_falls_of_everyone_and_a_venue_that_refuses(lone: LoneExecution) -> None:
    lone.enter(1)
    lone.run(5)
    lone.faults = Faults(lost=1.0)
    lone.wish(FlatteningWished("r1", "alpha", "", "enough", "anna"))
    lone.run(3)
    lone.fall()
    lone.gateway_falls()
    lone.run(3)
    held = lone.room.facts()["wanted_flat"]
    lone.faults = Faults()

    lone.run(200)

    assert held == [["alpha", "SPY", "t1"]]
    assert lone.exchange.positions() == {}
    assert lone.room.facts()["wanted_flat"] == []


@pytest.mark.parametrize("before_s", [0.0, 5.0], ids=["on its way", "at rest"])
@pytest.mark.parametrize("filled", ["", "0.4"], ids=["untouched", "filled in part"])
def test_flatness_does_not_wait_for_an_exit_that_waits_for_its_price(
    lone: LoneExecution, before_s: float, filled: str
) -> None:
    lone.enter(1)
    lone.run(5)
    name = lone._decide(2, Effect.CLOSE, "SPY", ONE, "110", "", tag=1)
    lone.run(before_s)
    if filled and before_s:
        resting = next(order for order in lone.exchange.orders if order.is_open)
        lone.exchange._trade(resting, Decimal(filled), Decimal(110))
        lone.run(1)

    lone.wish(FlatteningWished("r1", "alpha", "", "enough", "anna"))
    lone.run(10)

    assert lone.order(name).state is OrderState.CANCELLED
    assert (lone.exchange.positions(), lone.room.facts()["wanted_flat"]) == ({}, [])
    assert not any(order.is_open for order in lone.exchange.orders)


# --- an entry that nobody wants any more ----------------------------------------------------------


def cancelled(lone: LoneExecution) -> None:
    lone._turn(lambda: lone.room.hear("console", 1, CancelWanted("", "OPERATOR")))


def put_away(lone: LoneExecution) -> None:
    lone._turn(lambda: lone.room.peers((Peer("strategies/alpha", 1, "QUARANTINED"),)))


def wanted_flat(lone: LoneExecution) -> None:
    lone.wish(FlatteningWished("r1", "", "", "enough", "anna"))


UNWANTED = pytest.mark.parametrize("do", [cancelled, put_away, wanted_flat])


@UNWANTED
def test_an_entry_that_is_on_its_way_when_its_end_is_wanted_does_not_rest(
    lone: LoneExecution, do: Callable[[LoneExecution], None]
) -> None:
    name = lone.enter(1, limit="99")

    do(lone)
    lone.run(5)

    assert lone.order(name).state is OrderState.CANCELLED
    assert [order.state for order in lone.exchange.orders] == [OrderState.CANCELLED]
    assert lone.room.facts()["wanted_flat"] == []


@UNWANTED
def test_an_entry_in_doubt_whose_end_is_wanted_does_not_rest_once_it_is_found(
    lone: LoneExecution, do: Callable[[LoneExecution], None]
) -> None:
    lone.faults = Faults(dropped=1.0)
    name = lone.enter(1, limit="99")
    lone.run(0.1)
    lone.faults = Faults()
    in_doubt = lone.order(name).state

    do(lone)
    lone.fall()
    lone.run(10)

    assert (in_doubt, lone.order(name).state) == (OrderState.UNKNOWN, OrderState.CANCELLED)
    assert not any(order.is_open for order in lone.exchange.orders)


def test_an_entry_that_never_arrived_is_not_sent_again_where_its_end_is_wanted(lone: LoneExecution) -> None:
    lone.faults = Faults(lost=1.0)
    name = lone.enter(1)
    lone.run(0.1)
    cancelled(lone)
    lone.faults = Faults()
    lone.sent.clear()
    lone.run(10)

    assert [word for word in lone.sent if isinstance(word, SubmitOrder)] == []
    assert (lone.order(name).state, lone.exchange.positions()) == (OrderState.UNKNOWN, {})


@pytest.mark.parametrize("ends", ["expired by the venue's word", "never, by a person's"])
def test_a_wish_for_flatness_ends_with_an_entry_that_never_was(tmp_path: Path, ends: str) -> None:
    lone = LoneExecution(tmp_path, KRAKEN if ends.startswith("expired") else ALPACA)
    lone.run(1)
    lone.faults = Faults(lost=1.0)
    name = lone.enter(1)
    lone.run(0.1)
    wanted_flat(lone)
    lone.faults = Faults()
    lone.run(20)
    if lone.order(name).state is OrderState.UNKNOWN:
        lone.wish(resolution(name, "never", request="r2"))
    ended = lone.order(name).state

    lone._decide(2, Effect.OPEN, "SPY", ONE, "", "90", tag=1)
    lone.run(20)

    assert (ended, lone.room.facts()["wanted_flat"]) == (OrderState.EXPIRED, [])
    assert lone.exchange.positions() == {"SPY": ONE}, "what is bought afterwards is nobody's to close"
    assert lone.store is not None
    lone.store.close()
