"""Doubt, replacement and attempts: what each report makes of an order behind a wire."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from desk.messages import (
    CancelRejected,
    CancelUnclear,
    Order,
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    OrderRejected,
    OrderReplaced,
    OrderState,
    OrderType,
    OrderUnclear,
    ReplaceRejected,
    VenueReport,
)
from desk.order import NEXT, TERMINAL, OrderStateMachineError, course, next_attempt, require_new
from desk.units import ZERO
from tests.desk.orders import a_report_of_fill, an_order

S = OrderState
LIMIT = replace(an_order(), type=OrderType.LIMIT, limit_price=Decimal(100))
STOP = replace(an_order(), type=OrderType.STOP, stop_price=Decimal(90))
REPLACING = replace(STOP, state=S.PENDING_REPLACE, new_quantity=Decimal(14), new_price=Decimal(95))
UNCLEAR = OrderUnclear(0, "o1", "no answer", 5)
REPLACED = OrderReplaced(0, "o1", "v2", Decimal(14), Decimal(95), 5)


def last(order: Order, report: VenueReport) -> Order:
    return course(order, report)[-1]


def figures(order: Order) -> tuple[OrderState, Decimal, Decimal | None, Decimal | None]:
    return order.state, order.quantity, order.stop_price, order.new_quantity


@pytest.mark.parametrize("state", [S.PENDING, S.PENDING_REPLACE])
def test_what_is_under_way_without_an_answer_is_unknown(state: OrderState) -> None:
    after = last(replace(LIMIT, state=state), UNCLEAR)

    assert (after.state, after.reason) == (S.UNKNOWN, "no answer")


@pytest.mark.parametrize("state", sorted(set(S) - {S.PENDING, S.PENDING_REPLACE}))
def test_what_the_venue_has_proved_is_not_doubted(state: OrderState) -> None:
    assert course(replace(LIMIT, state=state), UNCLEAR) == ()
    assert course(replace(LIMIT, state=state), CancelUnclear(0, "o1", "no answer", 5)) == ()


@pytest.mark.parametrize("state", [S.PENDING_REPLACE, S.UNKNOWN])
def test_a_replacement_that_went_through_gives_the_new_figures(state: OrderState) -> None:
    after = last(replace(REPLACING, state=state), REPLACED)

    assert figures(after) == (S.SUBMITTED, Decimal(14), Decimal(95), None)
    assert after.venue_order_id == "v2"


def test_a_replacement_changes_the_price_that_the_order_has() -> None:
    after = last(LIMIT, REPLACED)

    assert (after.state, after.limit_price, after.stop_price) == (S.SUBMITTED, Decimal(95), None)
    assert course(after, REPLACED) == ()
    assert course(replace(LIMIT, state=S.FILLED), REPLACED) == ()


def test_a_replacement_to_what_has_filled_ends_the_order() -> None:
    half = replace(REPLACING, filled_quantity=Decimal(4), average_price=Decimal(100))

    after = last(half, replace(REPLACED, quantity=Decimal(4)))

    assert (after.state, after.quantity) == (S.FILLED, Decimal(4))


@pytest.mark.parametrize(("filled", "state"), [("0", S.SUBMITTED), ("4", S.PARTIALLY_FILLED), ("10", S.FILLED)])
def test_a_refused_replacement_leaves_what_there_was(filled: str, state: OrderState) -> None:
    order = replace(REPLACING, filled_quantity=Decimal(filled), average_price=Decimal(100))

    after = last(order, ReplaceRejected(0, "o1", "no", 5))

    assert figures(after) == (state, Decimal(10), Decimal(90), None)
    assert course(STOP, ReplaceRejected(0, "o1", "no", 5)) == ()


@pytest.mark.parametrize(
    ("order", "price"), [(REPLACING, Decimal(90)), (replace(REPLACING, type=OrderType.LIMIT), None)]
)
def test_more_than_the_old_quantity_proves_that_the_replacement_went_through(
    order: Order, price: Decimal | None
) -> None:
    after = last(order, a_report_of_fill("e1", Decimal(12)))

    assert (after.quantity, after.filled_quantity, after.new_quantity) == (Decimal(14), Decimal(12), None)
    assert after.stop_price == (Decimal(95) if order.type is OrderType.STOP else price or order.stop_price)


def test_less_than_that_proves_nothing() -> None:
    after = last(REPLACING, a_report_of_fill("e1", Decimal(4)))

    assert (after.state, after.quantity, after.new_quantity) == (S.PENDING_REPLACE, Decimal(10), Decimal(14))


def test_attempts_bear_names_of_their_own_and_the_first_the_orders() -> None:
    names: list[str] = []
    order = replace(LIMIT, state=S.PENDING, venue_order_id="")
    for deadline_ns in (5, 6, 7):
        order = next_attempt(order, deadline_ns=deadline_ns, ts_ns=deadline_ns)
        names.append(order.client_id)
        assert (order.state, order.deadline_ns) == (S.PENDING, deadline_ns)
        order = last(order, UNCLEAR)

    assert (names[0], len(set(names)), order.attempt) == ("o1", 3, 3)


QUANTITIES = st.sampled_from([Decimal(3), Decimal(4), Decimal(10), Decimal(14)])
REPORT = st.one_of(
    st.builds(OrderAccepted, st.just(0), st.just("o1"), st.sampled_from(["v1", "v2"]), st.integers(0, 9)),
    st.builds(OrderRejected, st.just(0), st.just("o1"), st.just("no"), st.integers(0, 9), st.booleans()),
    st.builds(OrderCancelled, st.just(0), st.just("o1"), st.just("x"), st.booleans(), st.integers(0, 9)),
    st.builds(CancelRejected, st.just(0), st.just("o1"), st.just("no"), st.integers(0, 9)),
    st.builds(CancelUnclear, st.just(0), st.just("o1"), st.just("no"), st.integers(0, 9)),
    st.builds(OrderUnclear, st.just(0), st.just("o1"), st.just("no"), st.integers(0, 9)),
    st.builds(ReplaceRejected, st.just(0), st.just("o1"), st.just("no"), st.integers(0, 9)),
    st.builds(
        OrderReplaced, st.just(0), st.just("o1"), st.just("v2"), QUANTITIES, st.just(Decimal(95)), st.integers(0, 9)
    ),
    st.builds(a_report_of_fill, st.just("e"), QUANTITIES),
)
START = st.sampled_from(
    [replace(LIMIT, state=S.PENDING, venue_order_id=""), LIMIT, STOP, REPLACING, replace(STOP, state=S.UNKNOWN)]
)


@given(START, st.lists(st.one_of(REPORT, st.just("again")), max_size=14))
def test_no_story_behind_a_wire_takes_a_step_that_the_table_does_not_know(
    order: Order, story: list[VenueReport | str]
) -> None:
    filled = ZERO
    for report in story:
        if isinstance(report, str):
            if order.state is S.PENDING or (order.state is S.UNKNOWN and not order.venue_order_id):
                order = next_attempt(order, deadline_ns=0, ts_ns=9)
            continue
        for after in course(order, report):
            assert after.state == order.state or after.state in NEXT[order.state]
            assert order.state not in TERMINAL or after.state == order.state
            assert after.filled_quantity >= order.filled_quantity
            assert after.changed_ns >= order.changed_ns
            order = after
        filled += report.quantity if isinstance(report, OrderFilled) else ZERO
        assert order.filled_quantity == filled


@pytest.mark.parametrize("figure", ["NaN", "Infinity"])
def test_a_fee_that_is_no_number_is_refused(figure: str) -> None:
    with pytest.raises(OrderStateMachineError, match="fee must be a finite number"):
        course(LIMIT, a_report_of_fill("e1", Decimal(4), fee=Decimal(figure)))


def test_an_order_with_a_new_name_is_no_duplicate() -> None:
    known = {"o1"}

    require_new("o2", known)

    assert known == {"o1"}
