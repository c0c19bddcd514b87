"""The paper venue's matching."""

from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from desk.messages import (
    Bar,
    CancelOrder,
    CancelRejected,
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    OrderRejected,
    OrderState,
    OrderType,
    Side,
    SubmitOrder,
    Tick,
    VenueReport,
)
from desk.simulation.matching import PaperBook
from desk.simulation.paper import NOTHING, FinishedOrder, Outcome, PaperState, PaperTerms
from desk.units import MINUTE_NS, NS_PER_S, ZERO
from tests.desk.orders import a_bar, a_command

BUY, SELL = Side.BUY, Side.SELL
LIMIT, STOP = OrderType.LIMIT, OrderType.STOP
TERMS = PaperTerms(starting_cash=Decimal(1000))


def a_book(terms: PaperTerms = TERMS) -> PaperBook:
    """Open a book that was shown bar 0, which closed at 100."""
    book = PaperBook(terms)
    book.on_event(a_bar(0, 100, 101, 99, 100))
    return book


def a_limit(order_id: str, side: Side, price: str, expires_ns: int = 0, group: str = "") -> SubmitOrder:
    return replace(a_command(order_id, side, LIMIT), limit_price=Decimal(price), expires_ns=expires_ns, oco_group=group)


def a_stop(order_id: str, side: Side, price: str, expires_ns: int = 0, group: str = "") -> SubmitOrder:
    return replace(a_command(order_id, side, STOP), stop_price=Decimal(price), expires_ns=expires_ns, oco_group=group)


def fills(reports: tuple[VenueReport, ...]) -> list[tuple[str, Decimal, int]]:
    """Give order, price and time of the fills among the reports."""
    return [(one.order_id, one.price, one.ts_ns) for one in reports if isinstance(one, OrderFilled)]


def test_an_order_decided_on_a_bar_meets_the_open_of_the_next() -> None:
    book = a_book()

    answer = book.submit(a_command(), ts_ns=MINUTE_NS)
    outcome = book.on_event(a_bar(1, 102, 103, 101, 102))

    assert [type(report) for report in answer.reports] == [OrderAccepted]
    assert fills(outcome.reports) == [("o1", Decimal(102), MINUTE_NS)]
    assert (book.cash, book.position("SPY"), outcome.touched) == (Decimal(796), Decimal(2), ("o1",))


def test_a_protective_order_sent_after_a_fill_is_first_matched_on_the_next_bar() -> None:
    book = a_book()
    book.submit(a_command(), ts_ns=MINUTE_NS)
    book.on_event(a_bar(1, 100, 101, 90, 95))

    answer = book.submit(a_stop("s1", SELL, "94"), ts_ns=MINUTE_NS)
    outcome = book.on_event(a_bar(2, 96, 97, 93, 96))

    assert fills(answer.reports) == []
    assert fills(outcome.reports) == [("s1", Decimal(94), 2 * MINUTE_NS)]


@pytest.mark.parametrize(
    ("command", "bar", "price"),
    [
        (a_limit("o1", BUY, "98"), a_bar(1, 97, 99, 96, 98), "97"),
        (a_limit("o1", BUY, "98"), a_bar(1, 99, 100, 97.5, 99), "98"),
        (a_limit("o1", BUY, "98"), a_bar(1, 99, 100, 98, 99), "98"),
        (a_limit("o1", BUY, "98"), a_bar(1, 99, 100, 98.01, 99), None),
        (a_limit("o1", SELL, "102"), a_bar(1, 103, 104, 101, 102), "103"),
        (a_limit("o1", SELL, "102"), a_bar(1, 101, 102, 100, 101), "102"),
        (a_limit("o1", SELL, "102"), a_bar(1, 101, 101.99, 100, 101), None),
        (a_stop("o1", SELL, "98"), a_bar(1, 97, 99, 96, 98), "97"),
        (a_stop("o1", SELL, "98"), a_bar(1, 99, 100, 98, 99), "98"),
        (a_stop("o1", SELL, "98"), a_bar(1, 99, 100, 98.01, 99), None),
        (a_stop("o1", BUY, "102"), a_bar(1, 103, 104, 101, 102), "103"),
        (a_stop("o1", BUY, "102"), a_bar(1, 101, 102, 100, 101), "102"),
        (a_stop("o1", BUY, "102"), a_bar(1, 101, 101.99, 100, 101), None),
    ],
)
def test_limits_and_stops_fill_at_their_level_or_at_the_open(command: SubmitOrder, bar: Bar, price: str | None) -> None:
    book = a_book()
    book.submit(command, ts_ns=MINUTE_NS)

    outcome = book.on_event(bar)

    assert fills(outcome.reports) == ([] if price is None else [("o1", Decimal(price), MINUTE_NS)])


def test_the_stop_comes_before_the_target_when_a_bar_touches_both() -> None:
    book = a_book()
    book.submit(a_limit("target", SELL, "104", group="g"), ts_ns=MINUTE_NS)
    book.submit(a_stop("stop", SELL, "98", group="g"), ts_ns=MINUTE_NS)

    outcome = book.on_event(a_bar(1, 100, 105, 97, 100))

    assert fills(outcome.reports) == [("stop", Decimal(98), MINUTE_NS)]
    cancelled = outcome.reports[1]
    assert isinstance(cancelled, OrderCancelled)
    assert (cancelled.order_id, cancelled.reason, outcome.touched) == ("target", "OCO", ("stop", "target"))


def test_an_open_through_the_target_comes_before_a_stop_in_the_range() -> None:
    book = a_book()
    book.submit(a_limit("target", SELL, "104", group="g"), ts_ns=MINUTE_NS)
    book.submit(a_stop("stop", SELL, "98", group="g"), ts_ns=MINUTE_NS)

    outcome = book.on_event(a_bar(1, 105, 106, 97, 100))

    assert fills(outcome.reports) == [("target", Decimal(105), MINUTE_NS)]


def test_an_order_that_joins_a_group_after_its_fill_is_cancelled_on_arrival() -> None:
    book = a_book()
    book.submit(a_stop("stop", SELL, "98", group="g"), ts_ns=MINUTE_NS)
    book.on_event(a_bar(1, 97, 98, 96, 97))

    outcome = book.submit(a_limit("target", SELL, "104", group="g"), ts_ns=2 * MINUTE_NS)

    assert [type(report) for report in outcome.reports] == [OrderAccepted, OrderCancelled]


@pytest.mark.parametrize(
    ("expires_ns", "is_filled"),
    [(MINUTE_NS, False), (MINUTE_NS + 1, False), (2 * MINUTE_NS - 1, False), (2 * MINUTE_NS, True), (0, True)],
    ids=["at the open", "just inside", "just before the end", "at the end", "never"],
)
@pytest.mark.parametrize("command", [a_limit("o1", BUY, "98"), a_stop("o1", SELL, "98")], ids=["limit", "stop"])
def test_the_range_of_a_bar_needs_an_order_that_lives_to_its_end(
    command: SubmitOrder,
    expires_ns: int,
    is_filled: bool,
) -> None:
    book = a_book()
    book.submit(replace(command, expires_ns=expires_ns), ts_ns=MINUTE_NS)

    outcome = book.on_event(a_bar(1, 99, 100, 97, 99))

    assert bool(fills(outcome.reports)) is is_filled


@pytest.mark.parametrize(("expires_ns", "is_filled"), [(MINUTE_NS, False), (MINUTE_NS + 1, True)])
@pytest.mark.parametrize(
    "command", [a_command(), a_limit("o1", BUY, "98"), a_stop("o1", SELL, "98")], ids=["market", "limit", "stop"]
)
def test_an_order_whose_time_ends_inside_a_bar_is_live_for_its_open(
    command: SubmitOrder,
    expires_ns: int,
    is_filled: bool,
) -> None:
    book = a_book()
    book.submit(replace(command, expires_ns=expires_ns), ts_ns=MINUTE_NS)

    outcome = book.on_event(a_bar(1, 97, 98, 96, 97))

    assert bool(fills(outcome.reports)) is is_filled


def test_the_venue_does_not_cancel_on_account_of_time() -> None:
    book = a_book()
    book.submit(a_limit("o1", BUY, "98", MINUTE_NS), ts_ns=MINUTE_NS)
    book.on_event(a_bar(1, 97, 98, 96, 97))

    outcome = book.cancel(CancelOrder("o1", "TTL"), ts_ns=2 * MINUTE_NS)

    assert outcome.reports == (
        OrderCancelled(report=0, order_id="o1", reason="TTL", is_expired=False, ts_ns=2 * MINUTE_NS),
    )


@pytest.mark.parametrize(
    ("command", "bar", "price", "fee"),
    [
        (a_command(side=BUY), a_bar(1, 100, 101, 99, 100), "100.05", "0.8004"),
        (a_command(side=SELL), a_bar(1, 100, 101, 99, 100), "99.95", "0.7996"),
        (a_stop("o1", SELL, "98"), a_bar(1, 99, 100, 97, 99), "97.951", "0.783608"),
        (a_limit("o1", BUY, "98"), a_bar(1, 99, 100, 97, 99), "98", "0.49"),
        (a_limit("o1", BUY, "98"), a_bar(1, 97, 98, 96, 97), "97", "0.485"),
    ],
    ids=["market buy", "market sell", "stop", "limit", "limit at the open"],
)
def test_takers_pay_slippage_and_limits_the_makers_fee(command: SubmitOrder, bar: Bar, price: str, fee: str) -> None:
    terms = PaperTerms(slippage_bps=Decimal(5), maker_fee_bps=Decimal(25), taker_fee_bps=Decimal(40))
    book = a_book(terms)
    book.submit(command, ts_ns=MINUTE_NS)

    (report,) = book.on_event(bar).reports

    assert isinstance(report, OrderFilled)
    assert (report.price, report.fee, report.leaves) == (Decimal(price), Decimal(fee), ZERO)
    assert report.is_maker is (command.type is LIMIT)


def test_a_tick_is_a_bar_of_one_price() -> None:
    book = PaperBook(TERMS)
    book.on_event(Tick("SPY", 1, 100.0))
    book.submit(a_command("m"), ts_ns=1)
    book.submit(a_limit("l", BUY, "99.5"), ts_ns=1)

    first = book.on_event(Tick("SPY", 2, 100.25))
    second = book.on_event(Tick("SPY", 3, 99.25))

    assert fills(first.reports) == [("m", Decimal("100.25"), 2)]
    assert fills(second.reports) == [("l", Decimal("99.25"), 3)]


def test_an_order_without_any_event_of_its_symbol_waits_for_the_first() -> None:
    book = PaperBook(PaperTerms(fill="close"))
    answer = book.submit(a_command(), ts_ns=0)

    other = book.on_event(a_bar(0, 50, 51, 49, 50, symbol="QQQ"))
    outcome = book.on_event(a_bar(0, 100, 101, 99, 100))

    assert (fills(answer.reports), other) == ([], NOTHING)
    assert fills(outcome.reports) == [("o1", Decimal(100), 0)]


@pytest.mark.parametrize(
    ("command", "is_filled"),
    [
        (a_command(), True),
        (a_limit("o1", BUY, "100"), True),
        (a_limit("o1", BUY, "99.99"), False),
        (a_limit("o1", SELL, "99"), True),
        (a_limit("o1", SELL, "99", group="g"), False),
        (a_stop("o1", SELL, "101"), False),
        (replace(a_command(), expires_ns=MINUTE_NS), False),
    ],
)
def test_in_mode_close_an_order_meets_the_close_it_was_decided_on(command: SubmitOrder, is_filled: bool) -> None:
    book = a_book(PaperTerms(fill="close"))

    outcome = book.submit(command, ts_ns=MINUTE_NS)

    assert fills(outcome.reports) == ([("o1", Decimal(100), 0)] if is_filled else [])


def test_the_same_order_again_is_the_same_order() -> None:
    book = a_book()
    book.submit(a_command(), ts_ns=MINUTE_NS)
    resting = book.submit(a_command(), ts_ns=MINUTE_NS)
    first = book.on_event(a_bar(1, 100, 101, 99, 100))

    finished = book.submit(a_command(), ts_ns=MINUTE_NS)
    second = book.on_event(a_bar(2, 100, 101, 99, 100))

    assert (resting, finished, second) == (NOTHING, NOTHING, NOTHING)
    assert len(fills(first.reports)) == 1


@pytest.mark.parametrize("order_id", ["o1", "unheard"])
def test_cancelling_what_is_gone_is_answered(order_id: str) -> None:
    book = a_book()
    book.submit(a_command(), ts_ns=MINUTE_NS)
    book.on_event(a_bar(1, 100, 101, 99, 100))

    outcome = book.cancel(CancelOrder(order_id, "TTL"), ts_ns=2 * MINUTE_NS)

    assert [type(report) for report in outcome.reports] == [CancelRejected]
    assert outcome.touched == ()


@pytest.mark.parametrize(
    "command",
    [
        replace(a_command(), quantity=ZERO),
        replace(a_command(), quantity=Decimal("NaN")),
        replace(a_command(), type=LIMIT),
        replace(a_command(), type=STOP, stop_price=Decimal("Infinity")),
        replace(a_command(), type=LIMIT, limit_price=Decimal(-1)),
    ],
)
def test_an_order_that_is_no_order_is_rejected_for_good(command: SubmitOrder) -> None:
    book = a_book()

    outcome = book.submit(command, ts_ns=MINUTE_NS)

    assert [type(report) for report in outcome.reports] == [OrderRejected]
    assert book.submit(command, ts_ns=MINUTE_NS) == NOTHING


@pytest.mark.parametrize("price", [float("nan"), float("inf"), 0.0, -1.0])
def test_an_event_without_sound_prices_is_refused_whole(price: float) -> None:
    book = a_book()
    book.submit(a_command(), ts_ns=MINUTE_NS)
    before = book.export()

    with pytest.raises(ValueError, match="sound"):
        book.on_event(a_bar(1, price, 101, 99, 100))

    assert book.export() == before


def test_terms_that_are_no_terms_are_refused() -> None:
    with pytest.raises(ValueError, match="slippage_bps"):
        PaperTerms(slippage_bps=Decimal("NaN"))


def test_a_snapshot_names_open_orders_and_those_asked_for() -> None:
    book = a_book()
    for name in ("a", "b"):
        book.submit(a_command(name), ts_ns=MINUTE_NS)
    book.on_event(a_bar(1, 100, 101, 99, 100))
    book.submit(a_limit("c", BUY, "90"), ts_ns=2 * MINUTE_NS)

    shown = book.snapshot(also=["a", "a", "unheard"])

    assert [(order.order_id, order.state) for order in shown.orders] == [
        ("c", OrderState.SUBMITTED),
        ("a", OrderState.FILLED),
    ]
    assert (shown.positions, shown.cash) == ({"SPY": Decimal(4)}, Decimal(600))


def test_a_restored_book_remembers_orders_and_groups_that_are_done() -> None:
    book = a_book()
    book.submit(a_stop("stop", SELL, "98", group="g"), ts_ns=MINUTE_NS)
    book.on_event(a_bar(1, 97, 98, 96, 97))

    again = PaperBook(TERMS, book.export())

    assert again.submit(a_stop("stop", SELL, "98", group="g"), ts_ns=MINUTE_NS) == NOTHING
    late = again.submit(a_limit("target", SELL, "104", group="g"), ts_ns=2 * MINUTE_NS)
    assert [type(report) for report in late.reports] == [OrderAccepted, OrderCancelled]


EIGHTHS = st.integers(8 * 90, 8 * 110).map(lambda eighths: eighths / 8)
BARS = st.lists(st.tuples(EIGHTHS, EIGHTHS, EIGHTHS, EIGHTHS), min_size=1, max_size=6)


def bar_of(minute: int, four: tuple[float, float, float, float]) -> Bar:
    return a_bar(minute, four[0], max(four), min(four), four[1])


LEVELS = st.integers(90, 110).map(Decimal)


def any_command(side: Side, type_: OrderType, level: Decimal, group: str, expires_s: int) -> SubmitOrder:
    return replace(
        a_command(side=side, type_=type_),
        limit_price=level if type_ is LIMIT else None,
        stop_price=level if type_ is STOP else None,
        oco_group=group,
        expires_ns=expires_s * NS_PER_S,
    )


COMMANDS = st.lists(
    st.builds(
        any_command,
        st.sampled_from(Side),
        st.sampled_from(OrderType),
        LEVELS,
        st.sampled_from(["", "g", "h"]),
        st.sampled_from([0, 90, 120, 400]),
    ),
    max_size=6,
).map(lambda commands: [replace(command, order_id=f"o{place}") for place, command in enumerate(commands)])


@given(BARS, COMMANDS, st.integers(0, 5), st.sampled_from(["next_open", "close"]))
def test_a_book_that_was_stored_and_restored_goes_on_alike(
    bars: list[tuple[float, float, float, float]], commands: list[SubmitOrder], stop_at: int, fill: str
) -> None:
    terms = msgspec.convert({"fill": fill, "slippage_bps": "5", "starting_cash": "100"}, PaperTerms)
    straight, stored = PaperBook(terms), PaperBook(terms)
    for place, four in enumerate(bars):
        for command in commands[place : place + 2]:
            assert straight.submit(command, ts_ns=0) == stored.submit(command, ts_ns=0)
        if place == stop_at:
            packed = msgspec.msgpack.encode(stored.export())
            stored = PaperBook(terms, msgspec.msgpack.decode(packed, type=PaperState))

        assert straight.on_event(bar_of(place, four)) == stored.on_event(bar_of(place, four))

    assert straight.export() == stored.export()


@given(BARS, COMMANDS, st.booleans())
def test_a_book_that_asks_an_archive_for_what_is_finished_goes_on_as_one_that_remembers_everything(
    bars: list[tuple[float, float, float, float]], commands: list[SubmitOrder], is_restored: bool
) -> None:
    kept: dict[str, FinishedOrder] = {}
    book, whole = PaperBook(TERMS, archive=kept.get), PaperBook(TERMS)

    def agree(outcome: Outcome, expected: Outcome) -> None:
        nonlocal book
        assert outcome == expected
        finished = [order for order in map(book.order, outcome.touched) if isinstance(order, FinishedOrder)]
        kept.update({order.order_id: order for order in finished})
        state = replace(book.export(), finished=())
        book = PaperBook(TERMS, state, kept.get) if is_restored else book

    for place, four in enumerate(bars):
        for command in commands[place::2]:
            agree(book.submit(command, ts_ns=place), whole.submit(command, ts_ns=place))
        agree(book.on_event(bar_of(place, four)), whole.on_event(bar_of(place, four)))
        for command in commands:
            cancel = CancelOrder(command.order_id, "enough")
            if int(command.quantity) % 2:
                agree(book.cancel(cancel, ts_ns=place), whole.cancel(cancel, ts_ns=place))
        assert [book.venue_order(c.order_id) for c in commands] == [whole.venue_order(c.order_id) for c in commands]
    names = [command.order_id for command in commands]
    assert set(book.snapshot(names).orders) == set(whole.snapshot(names).orders)
    assert (book.cash, book.positions) == (whole.cash, whole.positions)


def test_of_finished_orders_no_more_than_the_bound_stays_in_memory() -> None:
    kept: dict[str, FinishedOrder] = {}
    book = PaperBook(TERMS, archive=kept.get, finished_max=3)
    for number in range(10):
        name = f"o{number}"
        book.submit(a_limit(name, Side.BUY, "1"), ts_ns=0)
        book.cancel(CancelOrder(name, "enough"), ts_ns=0)
        order = book.order(name)
        assert isinstance(order, FinishedOrder)
        kept[name] = order

    assert [order.order_id for order in book.export().finished] == ["o7", "o8", "o9"]
    assert book.submit(a_limit("o0", Side.BUY, "1"), ts_ns=0) == NOTHING


@given(BARS, COMMANDS)
def test_cash_and_positions_are_the_sum_of_the_fills(
    bars: list[tuple[float, float, float, float]], commands: list[SubmitOrder]
) -> None:
    terms = PaperTerms(slippage_bps=Decimal(5), maker_fee_bps=Decimal(1), taker_fee_bps=Decimal(4))
    book, side_of = PaperBook(terms), {command.order_id: command.side for command in commands}
    seen: list[OrderFilled] = []
    for command in commands:
        book.submit(command, ts_ns=0)
    for place, four in enumerate(bars):
        seen += [one for one in book.on_event(bar_of(place, four)).reports if isinstance(one, OrderFilled)]

    signed = [(side_of[one.order_id].sign * one.quantity, one) for one in seen]
    assert book.cash == -sum((quantity * one.price + one.fee for quantity, one in signed), ZERO)
    assert book.position("SPY") == sum((quantity for quantity, _ in signed), ZERO)
    assert len({one.execution_id for one in seen}) == len({one.order_id for one in seen}) == len(seen)


@given(BARS, COMMANDS)
def test_no_fill_is_better_than_the_market_or_worse_than_the_limit(
    bars: list[tuple[float, float, float, float]], commands: list[SubmitOrder]
) -> None:
    book, by_id = PaperBook(TERMS), {command.order_id: command for command in commands}
    for command in commands:
        book.submit(command, ts_ns=0)
    groups: list[str] = []
    for place, four in enumerate(bars):
        for one in book.on_event(bar_of(place, four)).reports:
            if not isinstance(one, OrderFilled):
                continue
            command = by_id[one.order_id]
            groups += [command.oco_group] if command.oco_group else []
            assert Decimal(min(four)) <= one.price <= Decimal(max(four))
            assert command.expires_ns == 0 or one.ts_ns < command.expires_ns
            if command.limit_price is not None:
                assert (command.limit_price - one.price) * command.side.sign >= ZERO
            if command.stop_price is not None:
                assert (one.price - command.stop_price) * command.side.sign >= ZERO

    assert len(groups) == len(set(groups))
