"""What differs between our books and a venue's, what of it explains itself, and when nothing may be traded."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from desk.identity import order_id
from desk.messages import (
    CapitalChanged,
    ExternalBooked,
    Order,
    OrderChanged,
    OrderFilled,
    OrderState,
    OrderType,
    Side,
    VenueOrder,
    VenueSnapshot,
)
from desk.portfolio import Ledger
from desk.reconcile import Difference, Kind, ReconciliationError, Tolerance, reconcile
from desk.units import NS_PER_S, ZERO
from desk.venue import Instrument
from tests.desk.orders import a_fill, a_report_of_fill, an_order

BUY, SELL = Side.BUY, Side.SELL
S = OrderState


def a_ledger(held: str = "10", fee: str = "0") -> Ledger:
    """Hold some SPY bought at 100."""
    ledger = Ledger()
    ledger.apply(CapitalChanged(Decimal(10_000), "start", 0))
    if Decimal(held):
        ledger.apply(a_fill("e1", BUY if Decimal(held) > ZERO else SELL, held.lstrip("-"), "100", fee))
    return ledger


def a_snapshot(positions: dict[str, str] | None = None, **more: Any) -> VenueSnapshot:
    """Show a venue that holds ten SPY, unless it is told otherwise."""
    held = {symbol: Decimal(figure) for symbol, figure in (positions or {"SPY": "10"}).items()}
    blank = VenueSnapshot(1, (), {symbol: figure for symbol, figure in held.items() if figure}, ZERO, (), 0)
    return replace(blank, **more)


def kinds(differences: tuple[Difference, ...]) -> list[Kind]:
    return [difference.kind for difference in differences]


# --- positions --------------------------------------------------------------------------------


def test_books_that_agree_are_ok() -> None:
    finding = reconcile(a_ledger(), a_snapshot())

    finding.check()
    assert (finding.text, finding.differences, finding.bookings) == ("ok: 1 positions, 0 orders agree", (), ())


@pytest.mark.parametrize(
    ("theirs", "kind", "is_against", "booking"),
    [
        ("9.6", Kind.QUANTITY_MISMATCH, False, "-0.4"),
        ("10.4", Kind.QUANTITY_MISMATCH, False, "0.4"),
        ("9.5", Kind.QUANTITY_MISMATCH, False, "-0.5"),
        ("9.49", Kind.QUANTITY_MISMATCH, True, "-0.51"),
        ("20", Kind.QUANTITY_MISMATCH, True, "10"),
        ("-10", Kind.QUANTITY_MISMATCH, True, "-20"),
        ("0", Kind.MISSING_BROKER, True, "-10"),
    ],
)
def test_a_quantity_that_differs_is_booked_within_five_per_cent_and_stops_the_desk_beyond(
    theirs: str, kind: Kind, is_against: bool, booking: str
) -> None:
    finding = reconcile(a_ledger(), a_snapshot({"SPY": theirs}))

    assert (kinds(finding.differences), finding.bookings) == ([kind], (("SPY", Decimal(booking)),))
    assert bool(finding.against_trading) == is_against
    if is_against:
        with pytest.raises(ReconciliationError, match=rf"books and venue differ: {kind} SPY: ours 10, venue"):
            finding.check()


def test_the_drift_is_measured_by_the_larger_side() -> None:
    (down,) = reconcile(a_ledger(), a_snapshot({"SPY": "8"})).differences
    (up,) = reconcile(a_ledger("8"), a_snapshot({"SPY": "10"})).differences

    assert down.drift == up.drift == Decimal("0.2")
    assert down.text == "quantity_mismatch SPY: ours 10, venue 8, drift 20.0%"


@pytest.mark.parametrize(("strange", "is_against"), [(3, False), (4, True)])
def test_a_few_symbols_that_we_do_not_know_are_kept_apart_and_more_stop_the_desk(
    strange: int, is_against: bool
) -> None:
    held = {"SPY": "10"} | {f"X{number}": "1" for number in range(strange)}

    finding = reconcile(a_ledger(), a_snapshot(held))

    assert kinds(finding.differences) == [Kind.MISSING_LOCAL] * strange
    assert (len(finding.bookings), bool(finding.against_trading)) == (strange, is_against)


def test_the_thresholds_are_the_accounts_own() -> None:
    snapshot = a_snapshot({"SPY": "9", "X": "1"})

    wide = reconcile(a_ledger(), snapshot, tolerance=Tolerance(drift_max=Decimal("0.1")))
    strict = reconcile(a_ledger(), snapshot, tolerance=Tolerance(drift_max=Decimal("0.1"), missing_max=0))

    assert (wide.against_trading, strict.against_trading) == (
        "",
        "books and venue differ: 1 missing_local, at most 0 are bearable",
    )


def test_what_stands_under_external_may_change_without_stopping_anybody() -> None:
    ledger = a_ledger("0")
    ledger.apply(ExternalBooked("BTC/USD", Decimal(2), Decimal(100), "v", "", "found", 1))

    gone = reconcile(ledger, a_snapshot({"SPY": "0"}))
    less = reconcile(ledger, a_snapshot({"BTC/USD": "1"}))

    assert kinds(gone.differences) == kinds(less.differences) == [Kind.EXTERNAL_MOVED]
    assert (gone.against_trading, less.against_trading, gone.bookings) == ("", "", (("BTC/USD", Decimal(-2)),))


def test_what_was_booked_differs_no_more() -> None:
    ledger = a_ledger()
    snapshot = a_snapshot({"SPY": "9.8", "X": "3"})
    for symbol, quantity in reconcile(ledger, snapshot).bookings:
        ledger.apply(ExternalBooked(symbol, quantity, Decimal(100), "v", "", "found", 1))

    after = reconcile(ledger, snapshot)

    assert (after.differences, after.bookings) == ((), ())


def test_dust_that_closed_positions_left_is_no_difference() -> None:
    ledger = a_ledger("1")
    ledger.apply(a_fill("e2", SELL, "0.9999999", "100"))

    finding = reconcile(ledger, a_snapshot({"SPY": "0.0000001"}))

    assert finding.differences == ()


@pytest.mark.parametrize(
    ("theirs", "kind"),
    [("10.0009", Kind.DUST), ("9.996", Kind.DUST), ("9.99", Kind.QUANTITY_MISMATCH)],
)
def test_less_than_the_venue_would_trade_is_dust(theirs: str, kind: Kind) -> None:
    terms = Instrument(symbol="SPY", quantity_min=Decimal("0.001"), notional_min=Decimal("0.5"))

    finding = reconcile(a_ledger(), a_snapshot({"SPY": theirs}, instruments=(terms,)), prices={"SPY": Decimal(100)})

    assert (kinds(finding.differences), finding.against_trading) == ([kind], "")
    assert bool(finding.bookings) == (kind is not Kind.DUST)


def test_a_rest_of_dust_at_the_venue_is_as_nothing() -> None:
    terms = Instrument(symbol="SPY", quantity_min=Decimal("0.001"))

    ours = reconcile(a_ledger(), a_snapshot({"SPY": "0.0005"}, instruments=(terms,)))
    theirs = reconcile(a_ledger("0.0005"), a_snapshot({"SPY": "10"}, instruments=(terms,)))

    assert (kinds(ours.differences), kinds(theirs.differences)) == ([Kind.MISSING_BROKER], [Kind.MISSING_LOCAL])


def test_a_fee_that_was_taken_in_what_was_bought_explains_what_is_missing() -> None:
    ledger = a_ledger("10", fee="60")

    explained = reconcile(ledger, a_snapshot({"SPY": "9.4"}))
    more = reconcile(ledger, a_snapshot({"SPY": "9.39"}))

    assert (kinds(explained.differences), explained.against_trading) == ([Kind.FEE_IN_KIND], "")
    assert explained.bookings == (("SPY", Decimal("-0.6")),)
    assert kinds(more.differences) == [Kind.QUANTITY_MISMATCH]


def test_the_fees_of_what_was_sold_long_ago_do_not_explain_that_all_of_it_is_gone() -> None:
    ledger = a_ledger("10", fee="600")
    ledger.apply(a_fill("e8", SELL, "10", "100"))
    ledger.apply(a_fill("e9", BUY, "1", "100", "0.4"))

    gone = reconcile(ledger, a_snapshot({"SPY": "0"}))

    assert ledger.base_fees("SPY") > Decimal(1)
    assert kinds(gone.differences) == [Kind.MISSING_BROKER]
    assert gone.against_trading


# --- executions on their way --------------------------------------------------------------------


def a_working_ledger() -> Ledger:
    ledger = a_ledger("0")
    ledger.apply(OrderChanged(an_order(), "", "ours", 1))
    return ledger


def test_an_execution_that_is_reported_and_not_booked_explains_itself() -> None:
    report = replace(a_report_of_fill("e9", Decimal(4), Decimal(50), Decimal(1)), report=8)
    snapshot = a_snapshot({"SPY": "4"}, unread=(report,), cash=Decimal(9799))

    behind = reconcile(a_working_ledger(), snapshot, seen=7, is_cash_ours=True)
    booked = reconcile(a_working_ledger(), snapshot, seen=8)

    assert behind.differences == ()
    assert kinds(booked.differences) == [Kind.MISSING_LOCAL, Kind.MISSING_BROKER]


def test_an_execution_is_not_expected_twice() -> None:
    ledger = a_working_ledger()
    ledger.apply(replace(a_fill("e9", BUY, "4", "50"), order_id="o1"))
    report = replace(a_report_of_fill("e9", Decimal(4), Decimal(50)), report=8)
    stranger = replace(report, order_id="nobody", execution_id="e10")

    finding = reconcile(ledger, a_snapshot({"SPY": "4"}, unread=(report, report, stranger)), seen=7)

    assert finding.differences == ()


@pytest.mark.parametrize(("age_s", "kind"), [(1, Kind.SETTLING), (3, Kind.QUANTITY_MISMATCH)])
def test_what_was_traded_within_two_seconds_may_not_show_yet(age_s: int, kind: Kind) -> None:
    ledger = a_working_ledger()
    ledger.apply(a_fill("e0", BUY, "96", "50"))
    ledger.apply(replace(a_fill("e9", BUY, "4", "50"), order_id="o1"))
    report = replace(a_report_of_fill("e9", Decimal(4)), ts_ns=100 * NS_PER_S - age_s * NS_PER_S)
    stranger = replace(report, order_id="nobody", execution_id="e10")
    there = (VenueOrder("o1", "v1", "SPY", BUY, S.SUBMITTED, Decimal(10), ZERO),)

    finding = reconcile(
        ledger, a_snapshot({"SPY": "96"}, unread=(report, stranger), venue_ns=100 * NS_PER_S, orders=there)
    )

    assert kinds(finding.differences) == [kind]
    assert (bool(finding.bookings), finding.against_trading) == (kind is not Kind.SETTLING, "")


def test_a_venue_that_answers_piece_by_piece_is_believed_at_the_second_look() -> None:
    snapshot = a_snapshot({"SPY": "9", "X": "1"})

    first = reconcile(a_ledger(), snapshot, seen_before={})
    moved = reconcile(a_ledger(), a_snapshot({"SPY": "8", "X": "1"}), seen_before=first.quantities)
    second = reconcile(a_ledger(), snapshot, seen_before=first.quantities)

    assert (kinds(first.differences), first.bookings, first.against_trading) == ([Kind.SETTLING] * 2, (), "")
    assert first.quantities == {"SPY": Decimal(-1), "X": Decimal(1)}
    assert kinds(moved.differences) == [Kind.SETTLING, Kind.MISSING_LOCAL]
    assert kinds(second.differences) == [Kind.QUANTITY_MISMATCH, Kind.MISSING_LOCAL]
    assert (len(second.bookings), bool(second.against_trading)) == (2, True)


def test_cash_is_compared_where_nobody_else_moves_it() -> None:
    ledger = a_ledger("0")
    ledger.apply(CapitalChanged(Decimal(500), "deposit", 1, "r1", "operator"))
    flat = a_snapshot({"SPY": "0"}, cash=Decimal(10_000))

    assert reconcile(ledger, flat, is_cash_ours=True).differences == ()
    wrong = reconcile(ledger, replace(flat, cash=Decimal("9999.99")), is_cash_ours=True)
    assert kinds(wrong.differences) == [Kind.CASH_MISMATCH]
    assert wrong.against_trading == "books and venue differ: cash_mismatch cash: ours 10000, venue 9999.99"
    assert reconcile(ledger, replace(flat, cash=Decimal(3))).differences == ()


def test_cash_may_differ_by_what_the_configuration_bears_and_elsewhere_counts_at_the_second_look() -> None:
    ledger, terms = a_ledger("0"), Tolerance(cash_max=Decimal(2))
    off = [a_snapshot({"SPY": "0"}, cash=ledger.cash - short) for short in (Decimal(2), Decimal("2.01"))]

    near = reconcile(ledger, off[0], tolerance=terms, is_cash_ours=True)
    first = reconcile(ledger, off[1], tolerance=terms, seen_before={})
    second = reconcile(ledger, off[1], tolerance=terms, seen_before=first.quantities)

    assert near.differences == ()
    assert (kinds(first.differences), first.against_trading) == ([Kind.SETTLING], "")
    assert (kinds(second.differences), bool(second.against_trading)) == ([Kind.CASH_MISMATCH], True)


# --- orders -------------------------------------------------------------------------------------


def a_ledger_with(order: Order) -> Ledger:
    ledger = a_ledger("0")
    ledger.apply(OrderChanged(order, "", "ours", 1))
    return ledger


def theirs(**change: Any) -> VenueOrder:
    """Show the order of ``an_order`` as the venue has it."""
    shown = VenueOrder("o1", "v1", "SPY", BUY, S.SUBMITTED, Decimal(10), ZERO, "", OrderType.LIMIT, Decimal(100))
    return replace(shown, **change)


OURS_RESTS = replace(an_order(), type=OrderType.LIMIT, limit_price=Decimal(100))
FLAT = a_snapshot({"SPY": "0"})


@pytest.mark.parametrize("state", [S.SUBMITTED, S.PENDING_CANCEL, S.PARTIALLY_FILLED])
def test_an_order_that_the_venue_confirmed_and_does_not_have_is_missing(state: OrderState) -> None:
    finding = reconcile(a_ledger_with(replace(OURS_RESTS, state=state)), FLAT)

    (difference,) = finding.differences
    assert (difference.kind, difference.what, difference.is_order) == (Kind.MISSING_BROKER, "o1", True)
    assert finding.against_trading == ""


@pytest.mark.parametrize("state", [S.PENDING, S.UNKNOWN, S.PENDING_REPLACE, S.FILLED, S.REJECTED])
def test_an_order_that_need_not_be_there_is_not_missing(state: OrderState) -> None:
    assert reconcile(a_ledger_with(replace(OURS_RESTS, state=state)), FLAT).differences == ()


def test_more_than_three_missing_orders_stop_the_desk() -> None:
    ledger = a_ledger("0")
    against: list[bool] = []
    for number in range(4):
        ledger.apply(OrderChanged(replace(OURS_RESTS, order_id=f"o{number}"), "", "ours", 1))
        against.append(bool(reconcile(ledger, FLAT).against_trading))

    assert against == [False, False, False, True]


@pytest.mark.parametrize(
    ("ours", "seen", "kind"),
    [
        (OURS_RESTS, theirs(), None),
        (OURS_RESTS, theirs(price=None), None),
        (OURS_RESTS, theirs(quantity=Decimal(11)), Kind.TERMS_DIFFER),
        (OURS_RESTS, theirs(price=Decimal(101)), Kind.TERMS_DIFFER),
        (
            replace(OURS_RESTS, type=OrderType.STOP, limit_price=None, stop_price=Decimal(90)),
            theirs(),
            Kind.TERMS_DIFFER,
        ),
        (an_order(), theirs(), None),
        (replace(OURS_RESTS, state=S.PENDING_CANCEL), theirs(quantity=Decimal(11)), None),
        (OURS_RESTS, theirs(filled_quantity=Decimal(3)), Kind.FILL_MISSING),
        (replace(OURS_RESTS, state=S.CANCELLED), theirs(), Kind.FINISHED_BUT_OPEN),
        (replace(OURS_RESTS, state=S.FILLED), theirs(state=S.FILLED), None),
        (replace(OURS_RESTS, attempt=2, client_order_id="o1b"), theirs(), Kind.GHOST_ATTEMPT),
    ],
)
def test_an_open_order_of_ours_is_what_we_think_it_is(ours: Order, seen: VenueOrder, kind: Kind | None) -> None:
    finding = reconcile(a_ledger_with(ours), replace(FLAT, orders=(seen,)))

    assert kinds(finding.differences) == ([] if kind is None else [kind])
    assert bool(finding.unwanted) == (kind not in {None, Kind.FILL_MISSING})
    assert finding.incomplete == (("o1",) if kind is Kind.FILL_MISSING else ())
    assert bool(finding.against_trading) == (kind is Kind.GHOST_ATTEMPT)


def test_figures_within_a_step_of_the_venue_are_the_same() -> None:
    terms = Instrument(symbol="SPY", lot=Decimal("0.1"), tick=Decimal("0.01"))
    seen = theirs(quantity=Decimal("9.9"), price=Decimal("99.99"))

    assert reconcile(a_ledger_with(OURS_RESTS), replace(FLAT, orders=(seen,), instruments=(terms,))).differences == ()


def test_an_order_of_which_word_is_on_its_way_is_not_judged() -> None:
    report = replace(a_report_of_fill("e9", Decimal(3)), report=5)
    snapshot = a_snapshot({"SPY": "3"}, orders=(theirs(filled_quantity=Decimal(3)),), unread=(report,))

    assert reconcile(a_ledger_with(OURS_RESTS), snapshot, seen=4).differences == ()


def test_orders_of_other_hands_are_listed_and_never_touched() -> None:
    by_hand = theirs(order_id="", venue_order_id="v77")
    other_desk = theirs(order_id="somebody-else")

    finding = reconcile(a_ledger("0"), replace(FLAT, orders=(by_hand, other_desk)))

    assert kinds(finding.differences) == [Kind.EXTERNAL_ORDER, Kind.EXTERNAL_ORDER]
    assert (finding.strangers, finding.unwanted, finding.against_trading) == ((by_hand, other_desk), (), "")
    assert finding.differences[0].text == (
        "external_order v77: ours none, venue BUY 10 SPY LIMIT at 100, 0 filled, SUBMITTED"
    )


def test_orders_that_bear_our_names_and_are_in_no_journal_are_missing_here() -> None:
    names = [order_id(f"i{number}") for number in range(4)]
    orders = tuple(theirs(order_id=name) for name in names)

    few = reconcile(a_ledger("0"), replace(FLAT, orders=orders[:3]))
    many = reconcile(a_ledger("0"), replace(FLAT, orders=orders))

    assert kinds(few.differences) == [Kind.MISSING_LOCAL] * 3
    assert (few.against_trading, bool(many.against_trading), many.unwanted) == ("", True, ())


def test_an_order_is_found_by_the_name_of_any_attempt() -> None:
    order = replace(OURS_RESTS, attempt=2, client_order_id="o1b")
    ledger = a_ledger_with(order)

    finding = reconcile(
        ledger,
        replace(FLAT, orders=(theirs(order_id="o1b"),)),
        named=lambda name: order if name in {"o1", "o1b"} else None,
    )

    assert finding.differences == ()


QUANTITIES = st.dictionaries(
    st.sampled_from(["SPY", "QQQ", "IWM"]), st.decimals("-50", "50", places=2).filter(bool), max_size=3
)


@given(QUANTITIES, QUANTITIES, st.booleans())
def test_whatever_differs_is_booked_so_that_all_agrees(
    ours: dict[str, Decimal], theirs_hold: dict[str, Decimal], is_accepted: bool
) -> None:
    ledger = Ledger()
    for place, (symbol, quantity) in enumerate(ours.items()):
        side = BUY if quantity > ZERO else SELL
        ledger.apply(replace(a_fill(f"e{place}", side, str(abs(quantity)), "10"), symbol=symbol))
    snapshot = VenueSnapshot(1, (), theirs_hold, ZERO, (), 0)
    cash = ledger.cash

    finding = reconcile(ledger, snapshot)
    if is_accepted or not finding.against_trading:
        for symbol, quantity in finding.bookings:
            ledger.apply(ExternalBooked(symbol, quantity, Decimal(10), "v", "", "found", 1))

    ledger.audit()
    is_far = any(
        symbol in ours
        and (
            not theirs_hold.get(symbol)
            or abs(ours[symbol] - theirs_hold[symbol])
            > Decimal("0.05") * max(abs(ours[symbol]), abs(theirs_hold[symbol]))
        )
        for symbol in ours
    )
    assert bool(finding.against_trading) == is_far
    assert ledger.cash == cash
    if is_accepted or not is_far:
        assert ledger.venue_quantities() == theirs_hold
        assert reconcile(ledger, snapshot).differences == ()


def test_a_whole_fill_on_its_way_explains_position_cash_and_order() -> None:
    report = OrderFilled(3, "o1", "e9", Decimal(10), Decimal(100), ZERO, False, ZERO, 7)
    snapshot = a_snapshot({"SPY": "10"}, unread=(report,), cash=Decimal(9000))

    assert reconcile(a_ledger_with(OURS_RESTS), snapshot, seen=2, is_cash_ours=True).differences == ()
