"""The life of one order."""

from decimal import Decimal
from itertools import permutations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from desk.messages import (
    CancelRejected,
    Effect,
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    OrderRejected,
    OrderState,
    OrderType,
    Purpose,
    Side,
    VenueReport,
)
from desk.order import (
    CONFIRMED,
    NEXT,
    TERMINAL,
    BrokerConfirmationRequiredError,
    DuplicateOrderError,
    InvalidTransitionError,
    OrderStateMachineError,
    TerminalStateError,
    advance,
    after_report,
    child_order_id,
    course,
    intent_id,
    order_from_judgement,
    order_id,
    protective_order,
    require_new,
)
from desk.units import ZERO
from tests.desk.orders import a_judgement, a_report_of_fill, an_order

S = OrderState
EVERY = tuple(product(OrderState, OrderState))
FOUR, TEN, HUNDRED = Decimal(4), Decimal(10), Decimal(100)


def filled_figures(to: OrderState) -> tuple[Decimal | None, Decimal | None]:
    return {S.PARTIALLY_FILLED: (FOUR, HUNDRED), S.FILLED: (TEN, HUNDRED)}.get(to, (None, None))


@pytest.mark.parametrize(("before", "to"), [pair for pair in EVERY if pair[1] in NEXT[pair[0]]])
def test_a_transition_of_the_table_is_taken(before: OrderState, to: OrderState) -> None:
    filled, price = filled_figures(to)

    after = advance(an_order(before), to, ts_ns=3, reason="why", filled_quantity=filled, average_price=price)

    assert (after.state, after.reason, after.changed_ns) == (to, "why", 3)


@pytest.mark.parametrize(
    ("before", "to"), [pair for pair in EVERY if pair[0] not in TERMINAL and pair[1] not in NEXT[pair[0]]]
)
def test_a_transition_outside_the_table_is_invalid(before: OrderState, to: OrderState) -> None:
    order = an_order(before)

    with pytest.raises(InvalidTransitionError):
        advance(order, to, ts_ns=3)


@pytest.mark.parametrize(("before", "to"), [pair for pair in EVERY if pair[0] in TERMINAL])
def test_a_finished_order_goes_nowhere(before: OrderState, to: OrderState) -> None:
    order = an_order(before)

    with pytest.raises(TerminalStateError):
        advance(order, to, ts_ns=3)


@pytest.mark.parametrize(("before", "to"), sorted(CONFIRMED))
def test_a_confirmed_transition_needs_the_venues_id(before: OrderState, to: OrderState) -> None:
    order = replace(an_order(before), venue_order_id="")

    with pytest.raises(BrokerConfirmationRequiredError):
        advance(order, to, ts_ns=3, filled_quantity=ZERO)


def test_a_risk_refusal_and_a_venues_expiry_need_no_confirmation() -> None:
    refused = advance(replace(an_order(S.PENDING), venue_order_id=""), S.REJECTED, ts_ns=1, reason="HALTED: x")
    expired = advance(replace(an_order(S.SUBMITTED), venue_order_id=""), S.EXPIRED, ts_ns=1)

    assert (refused.state, expired.state) == (S.REJECTED, S.EXPIRED)


@pytest.mark.parametrize("figure", ["0", "-1", "NaN", "Infinity"])
@pytest.mark.parametrize("name", ["filled_quantity", "average_price"])
def test_a_fill_needs_figures_above_zero(name: str, figure: str) -> None:
    figures = {"filled_quantity": FOUR, "average_price": HUNDRED, name: Decimal(figure)}

    with pytest.raises(OrderStateMachineError):
        advance(
            an_order(),
            S.PARTIALLY_FILLED,
            ts_ns=1,
            filled_quantity=figures["filled_quantity"],
            average_price=figures["average_price"],
        )


def test_an_order_is_not_filled_short_of_its_quantity() -> None:
    with pytest.raises(OrderStateMachineError):
        advance(an_order(), S.FILLED, ts_ns=1, filled_quantity=FOUR, average_price=HUNDRED)


def test_a_filled_quantity_never_falls() -> None:
    order = advance(an_order(), S.PARTIALLY_FILLED, ts_ns=1, filled_quantity=FOUR, average_price=HUNDRED)

    with pytest.raises(OrderStateMachineError):
        advance(order, S.PARTIALLY_FILLED, ts_ns=1, filled_quantity=Decimal(3))


def test_an_order_that_exists_is_refused_as_a_duplicate() -> None:
    with pytest.raises(DuplicateOrderError):
        require_new("o1", {"o1"})


def test_ids_follow_from_what_they_name_and_fit_a_venue() -> None:
    ids = [
        intent_id("alpha", "SPY", "1m", 60, 0),
        intent_id("alpha", "SPY", "1m", 60, 1),
        intent_id("alpha", "SPY", "1m", 120, 0),
        intent_id("alphaS", "PY", "1m", 60, 0),
        order_id("i1"),
        order_id("i1", 1),
        child_order_id("o1", Purpose.STOP_LOSS),
        child_order_id("o1", Purpose.TAKE_PROFIT),
        child_order_id("o1", Purpose.STOP_LOSS, 1),
    ]

    assert len(set(ids)) == len(ids)
    assert all(len(name) <= 18 and name.isalnum() and name == name.lower() for name in ids)
    assert intent_id("alpha", "SPY", "1m", 60, 0) == ids[0]


def test_an_approval_becomes_a_pending_order_with_its_time_limit() -> None:
    judged = a_judgement()
    intent = replace(judged.intent, order_type=OrderType.LIMIT, limit_price=HUNDRED, order_ttl_ns=90)

    order = order_from_judgement(replace(judged, intent=intent), Purpose.ENTRY, ts_ns=1000)

    assert (order.state, order.quantity, order.limit_price) == (S.PENDING, Decimal(1), HUNDRED)
    assert (order.expires_ns, order.stop_loss, order.exit_reason) == (1090, Decimal(99), "")


def test_an_exit_bears_the_reason_of_its_intent() -> None:
    judged = a_judgement()
    intent = replace(judged.intent, effect=Effect.CLOSE, side=Side.SELL, reason="FORCE_FLAT")

    order = order_from_judgement(replace(judged, intent=intent), Purpose.EXIT, ts_ns=1000)

    assert (order.side, order.exit_reason, order.expires_ns) == (Side.SELL, "FORCE_FLAT", 0)


@pytest.mark.parametrize(
    ("purpose", "type_", "limit", "stop"),
    [
        (Purpose.STOP_LOSS, OrderType.STOP, None, Decimal(99)),
        (Purpose.TAKE_PROFIT, OrderType.LIMIT, Decimal(99), None),
    ],
)
def test_a_protective_order_stands_against_its_entry(
    purpose: Purpose, type_: OrderType, limit: Decimal | None, stop: Decimal | None
) -> None:
    child = protective_order(
        an_order(S.FILLED), purpose, quantity=FOUR, price=Decimal(99), attempt=0, oco_group="g", ts_ns=5
    )

    assert (child.side, child.type, child.limit_price, child.stop_price) == (Side.SELL, type_, limit, stop)
    assert (child.state, child.quantity, child.exit_reason) == (S.PENDING, FOUR, purpose.value)
    assert (child.venue_order_id, child.intent_id, child.oco_group) == ("", "i1", "g")


# --- reports ----------------------------------------------------------------------------------


def accepted(venue_order_id: str = "v1") -> OrderAccepted:
    return OrderAccepted(report=0, order_id="o1", venue_order_id=venue_order_id, ts_ns=1)


def cancelled(reason: str = "asked", *, is_expired: bool = False, ts_ns: int = 1) -> OrderCancelled:
    return OrderCancelled(report=0, order_id="o1", reason=reason, is_expired=is_expired, ts_ns=ts_ns)


REJECTED = OrderRejected(report=0, order_id="o1", reason="no", ts_ns=1)
CANCEL_REJECTED = CancelRejected(report=0, order_id="o1", reason="unknown order", ts_ns=1)


@pytest.mark.parametrize("state", sorted(TERMINAL))
@pytest.mark.parametrize("report", [accepted("v9"), cancelled(), REJECTED, CANCEL_REJECTED], ids=type)
def test_a_late_word_about_a_finished_order_is_ignored(state: OrderState, report: VenueReport) -> None:
    assert after_report(an_order(state), report) is None


@pytest.mark.parametrize("state", sorted(TERMINAL))
def test_a_late_fill_changes_figures_and_not_the_state(state: OrderState) -> None:
    after = after_report(an_order(state), a_report_of_fill(fee=Decimal("0.5")))

    assert after is not None
    assert (after.state, after.filled_quantity, after.average_price, after.fees) == (
        state,
        FOUR,
        HUNDRED,
        Decimal("0.5"),
    )


@pytest.mark.parametrize("state", [S.PENDING, S.UNKNOWN])
def test_an_acceptance_submits_the_order(state: OrderState) -> None:
    after = after_report(replace(an_order(state), venue_order_id=""), accepted("v7"))

    assert after is not None
    assert (after.state, after.venue_order_id) == (S.SUBMITTED, "v7")


def test_a_fill_that_overtakes_its_acceptance_passes_through_submitted() -> None:
    order = replace(an_order(S.PENDING), venue_order_id="")

    steps = course(order, a_report_of_fill())
    late = after_report(steps[-1], accepted("v7"))

    assert [step.state for step in steps] == [S.SUBMITTED, S.PARTIALLY_FILLED]
    assert late is not None
    assert (late.state, late.venue_order_id) == (S.PARTIALLY_FILLED, "v7")


def test_a_repeated_acceptance_changes_nothing() -> None:
    assert after_report(an_order(S.SUBMITTED), accepted("v1")) is None


@pytest.mark.parametrize(("quantity", "state"), [(FOUR, S.PENDING_CANCEL), (TEN, S.FILLED)], ids=["in part", "whole"])
def test_a_fill_races_the_cancel(quantity: Decimal, state: OrderState) -> None:
    after = after_report(an_order(S.PENDING_CANCEL), a_report_of_fill(quantity=quantity))

    assert after is not None
    assert (after.state, after.filled_quantity) == (state, quantity)


@pytest.mark.parametrize(
    ("filled", "venue_order_id", "state"),
    [(ZERO, "v1", S.SUBMITTED), (FOUR, "v1", S.PARTIALLY_FILLED), (ZERO, "", S.UNKNOWN)],
)
def test_a_refused_cancel_gives_the_order_back(filled: Decimal, venue_order_id: str, state: OrderState) -> None:
    order = replace(
        an_order(S.PENDING_CANCEL),
        filled_quantity=filled,
        average_price=HUNDRED if filled else ZERO,
        venue_order_id=venue_order_id,
    )

    after = after_report(order, CANCEL_REJECTED)

    assert after is not None
    assert after.state == state


def test_the_end_of_an_orders_time_is_a_cancel_with_reason_ttl() -> None:
    order = replace(an_order(S.PENDING_CANCEL), reason="TTL")

    after = after_report(order, cancelled("anything"))

    assert after is not None
    assert (after.state, after.reason) == (S.CANCELLED, "TTL")


@pytest.mark.parametrize(
    ("expires_ns", "state", "reason"),
    [(0, S.EXPIRED, "end of day"), (50, S.CANCELLED, "TTL"), (500, S.EXPIRED, "end of day")],
)
def test_expired_is_the_venues_own_word(expires_ns: int, state: OrderState, reason: str) -> None:
    order = replace(an_order(S.SUBMITTED), expires_ns=expires_ns)

    after = after_report(order, cancelled("end of day", is_expired=True, ts_ns=100))

    assert after is not None
    assert (after.state, after.reason) == (state, reason)


@pytest.mark.parametrize("figure", ["0", "-1", "NaN", "Infinity"])
def test_a_fill_that_is_no_number_is_refused(figure: str) -> None:
    with pytest.raises(OrderStateMachineError):
        after_report(an_order(), a_report_of_fill(price=Decimal(figure)))
    with pytest.raises(OrderStateMachineError):
        after_report(an_order(), a_report_of_fill(quantity=Decimal(figure)))


PRICES = st.decimals("0.0001", "90000", places=4)
QUANTITIES = st.decimals("0.001", "5000", places=3)
FEES = st.decimals("-5", "50", places=8)
FILLS = st.lists(st.tuples(QUANTITIES, PRICES, FEES), min_size=1, max_size=6)


def end_of(fills: list[OrderFilled], quantity: Decimal) -> tuple[OrderState, Decimal, Decimal, Decimal]:
    """Give state and figures after a stream of fills of which repeats are dropped by their id."""
    order, seen = an_order(quantity=quantity), set[str]()
    for fill in fills:
        if fill.execution_id not in seen:
            seen.add(fill.execution_id)
            order = after_report(order, fill) or order
    return order.state, order.filled_quantity, order.average_price, order.fees


@given(FILLS, st.data())
def test_any_order_of_the_same_fills_with_repeats_ends_in_one_state(
    figures: list[tuple[Decimal, Decimal, Decimal]], data: st.DataObject
) -> None:
    fills = [a_report_of_fill(f"e{place}", *figure) for place, figure in enumerate(figures)]
    whole = sum((figure[0] for figure in figures), ZERO)
    quantity = data.draw(st.sampled_from([whole, whole * 2, whole / 2]))
    shuffled = data.draw(st.permutations(fills + fills))

    assert end_of(shuffled, quantity) == end_of(fills, quantity)


def test_slipped_prices_of_many_digits_do_not_depend_on_the_order_either() -> None:
    prices = [Decimal("271.2399000000000123") * Decimal("1.0005"), Decimal("0.333333333333333333"), Decimal("99999.1")]
    fills = [a_report_of_fill(f"e{n}", Decimal("1.007"), price, price / 7) for n, price in enumerate(prices)]

    ends = {end_of(list(stream), TEN) for stream in permutations(fills)}

    assert len(ends) == 1


ANY_REPORT = st.one_of(
    st.builds(accepted, st.sampled_from(["v1", "v2"])),
    st.just(REJECTED),
    st.just(CANCEL_REJECTED),
    st.builds(cancelled, st.just("asked"), is_expired=st.booleans(), ts_ns=st.integers(0, 100)),
    st.builds(a_report_of_fill, st.just("e"), QUANTITIES, PRICES, FEES),
)
ANY_WISH = st.sampled_from([S.PENDING_CANCEL, S.PENDING_REPLACE, S.UNKNOWN])


@given(st.lists(st.one_of(ANY_REPORT, ANY_WISH), max_size=12))
def test_no_stream_of_reports_reaches_an_illegal_transition(steps: list[VenueReport | OrderState]) -> None:
    order = replace(an_order(S.PENDING), venue_order_id="", expires_ns=50)
    for step in steps:
        if isinstance(step, OrderState):
            if step in NEXT[order.state]:
                order = advance(order, step, ts_ns=1)
            continue
        for following in course(order, step):
            is_same = following.state is order.state
            assert is_same or following.state in NEXT[order.state]
            assert following.filled_quantity >= order.filled_quantity
            order = following


def test_an_order_bears_every_figure_of_its_intent_under_the_same_name() -> None:
    intent = replace(
        a_judgement().intent,
        order_type=OrderType.LIMIT,
        side=Side.SELL,
        limit_price=Decimal(101),
        take_profit=Decimal(95),
        order_ttl_ns=7,
        bar_ts_ns=11,
        horizon="SWING",
    )
    judged = replace(a_judgement(), intent=intent, quantity=TEN)

    order = order_from_judgement(judged, Purpose.EXIT, ts_ns=13, oco_group="g")

    alike = {"intent_id", "strategy", "symbol", "tag", "side", "limit_price", "stop_loss", "take_profit", "horizon"}
    alike |= {"protective_stop", "reference_price", "bar_ts_ns", "timeframe"}
    assert {name: getattr(order, name) for name in alike} == {name: getattr(intent, name) for name in alike}
    others = {"order_id": "o1", "purpose": Purpose.EXIT, "type": OrderType.LIMIT, "quantity": TEN, "stop_price": None}
    others |= {"expires_ns": 20, "oco_group": "g", "state": S.PENDING, "filled_quantity": ZERO, "average_price": ZERO}
    others |= {"fees": ZERO, "venue_order_id": "", "reason": "", "created_ns": 13, "changed_ns": 13, "attempt": 0}
    others |= {"exit_reason": "SIGNAL", "intent_expires_ns": intent.expires_ns, "new_quantity": None, "new_price": None}
    assert {name: getattr(order, name) for name in others} == others


@pytest.mark.parametrize(
    ("type_", "limit", "stop", "level", "counted"),
    [
        (OrderType.MARKET, None, None, None, HUNDRED),
        (OrderType.LIMIT, FOUR, None, FOUR, FOUR),
        (OrderType.STOP, None, TEN, TEN, HUNDRED),
    ],
)
def test_an_order_rests_at_its_stop_or_limit_and_counts_at_its_limit_or_the_price_it_was_decided_at(
    type_: OrderType, limit: Decimal | None, stop: Decimal | None, level: Decimal | None, counted: Decimal
) -> None:
    order = replace(an_order(), type=type_, limit_price=limit, stop_price=stop)

    assert (order.level, order.counted_price) == (level, counted)


def test_nothing_is_left_of_an_order_of_which_more_filled_than_was_asked_for() -> None:
    assert [replace(an_order(), filled_quantity=Decimal(filled)).left for filled in (0, 4, 11)] == [TEN, Decimal(6), 0]
