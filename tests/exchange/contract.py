"""The contract of a venue port, clause by clause; each clause is a test that any port can be put to."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from typing import NamedTuple

import pytest

from actors.venues.port import Accepted, NotSentError, Refused, UnclearError, UnreachableError, VenueError, VenuePort
from desk.messages import (
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    OrderState,
    OrderType,
    ReplaceOrder,
    Side,
    SubmitOrder,
    VenueOrder,
    VenueReport,
)
from desk.units import NS_PER_MS, NS_PER_S
from desk.venue import IdRule
from tests.exchange.hand import Exchange

PATIENCE_S = 30.0
SYMBOL = "SPY"
#: After which nobody knows whether the venue took what was asked.
UNCLEAR_DEEDS = ("drop_reply", "cut", "error_before", "error_after", "garbage", "late_cut")


class Stand(NamedTuple):
    """A port, and the market of its venue; ``exchange`` is the hand at it where the venue lies behind a wire.

    ``opened`` gives another port to the same account with this time limit.
    """

    port: VenuePort
    show: Callable[[str, str], None]
    exchange: Exchange | None
    opened: Callable[[float], VenuePort]

    @property
    def hand(self) -> Exchange:
        """The hand at the exchange."""
        assert self.exchange is not None, "this venue has no wire"
        return self.exchange


Clause = Callable[[Stand], None]
#: For every port.
CLAUSES: list[Clause] = []
#: For ports to venues behind a wire.
REMOTE: list[Clause] = []
#: For ports that can replace, whose venue has deadlines, and has groups.
REPLACING: list[Clause] = []
DEADLINES: list[Clause] = []
GROUPS: list[Clause] = []


def _clause(group: list[Clause]) -> Callable[[Clause], Clause]:
    def add(clause: Clause) -> Clause:
        group.append(clause)
        return clause

    return add


def order(order_id: str, *, side: Side = Side.BUY, quantity: str = "2", deadline_ns: int = 0) -> SubmitOrder:
    """Give a market order."""
    return SubmitOrder(order_id, SYMBOL, side, OrderType.MARKET, Decimal(quantity), None, None, 0, "", deadline_ns)


def resting(order_id: str, price: str = "90", quantity: str = "2", group: str = "") -> SubmitOrder:
    """Give a limit order to buy; the market stands at 100."""
    return SubmitOrder(order_id, SYMBOL, Side.BUY, OrderType.LIMIT, Decimal(quantity), Decimal(price), None, 0, group)


def stop(order_id: str, price: str = "80", quantity: str = "2", group: str = "") -> SubmitOrder:
    """Give a stop order to sell."""
    return SubmitOrder(order_id, SYMBOL, Side.SELL, OrderType.STOP, Decimal(quantity), None, Decimal(price), 0, group)


def trade(stand: Stand, wanted: SubmitOrder, price: str = "100") -> None:
    """Place an order and let it trade."""
    assert isinstance(stand.port.submit(wanted), Accepted)
    stand.show(SYMBOL, price)


def _one(stand: Stand, order_id: str) -> VenueOrder:
    found = stand.port.find([order_id])
    assert [each.order_id for each in found] == [order_id]
    return found[0]


def _only_one_live(stand: Stand) -> VenueOrder:
    live = stand.port.open_orders()
    assert len(live) == 1
    return live[0]


def _live(port: VenuePort, order_id: str) -> list[VenueOrder]:
    return [each for each in port.open_orders() if each.order_id == order_id]


def _refused(answer: Accepted | Refused) -> Refused:
    assert isinstance(answer, Refused)
    return answer


def _heard(port: VenuePort, is_enough: Callable[[list[VenueReport]], bool]) -> list[VenueReport]:
    """Listen until it is enough, for as long as patience lasts; a break is bridged."""
    heard: list[VenueReport] = []
    until_s = time.monotonic() + PATIENCE_S
    while not is_enough(heard) and time.monotonic() < until_s:
        with suppress(UnreachableError):
            heard += port.reports(0.2)
    return heard


# --- every port -------------------------------------------------------------------------------


@_clause(CLAUSES)
def what_the_venue_is_like_never_changes(stand: Stand) -> None:
    before = stand.port.traits

    trade(stand, order("o1"))

    assert stand.port.traits == before


@_clause(CLAUSES)
def an_order_that_was_taken_is_found_under_its_client_id(stand: Stand) -> None:
    answer = stand.port.submit(resting("o1"))

    assert isinstance(answer, Accepted)
    found = _one(stand, "o1")
    assert (found.order_id, found.venue_order_id) == ("o1", answer.venue_order_id)
    assert (found.symbol, found.side, found.quantity) == (SYMBOL, Side.BUY, Decimal(2))
    assert (found.state, found.filled_quantity) == (OrderState.SUBMITTED, Decimal(0))


@_clause(CLAUSES)
def an_order_that_traded_whole_is_found_all_the_same(stand: Stand) -> None:
    trade(stand, order("o1"))

    assert (_one(stand, "o1").state, _one(stand, "o1").filled_quantity) == (OrderState.FILLED, Decimal(2))


@_clause(CLAUSES)
def of_many_ids_those_that_are_there_are_found(stand: Stand) -> None:
    trade(stand, order("o1"))
    stand.port.submit(resting("o2"))

    assert {found.order_id for found in stand.port.find(["o1", "o2", "o3"])} == {"o1", "o2"}
    assert stand.port.find([]) == ()


@_clause(CLAUSES)
def an_id_that_is_taken_is_refused_as_a_duplicate(stand: Stand) -> None:
    stand.port.submit(resting("o1"))

    again = _refused(stand.port.submit(resting("o1")))

    assert (again.is_duplicate, again.is_deadline) == (True, False)
    assert len(_live(stand.port, "o1")) == 1


@_clause(CLAUSES)
def where_ids_are_unique_for_ever_that_of_a_filled_order_is_refused_too(stand: Stand) -> None:
    if stand.port.traits.ids is not IdRule.FOR_EVER:
        return
    trade(stand, order("o1"))

    assert _refused(stand.port.submit(order("o1"))).is_duplicate
    stand.show(SYMBOL, "100")
    assert stand.port.holdings().positions == {SYMBOL: Decimal(2)}


@_clause(CLAUSES)
def an_order_that_makes_no_sense_is_refused_for_good(stand: Stand) -> None:
    refused = _refused(stand.port.submit(order("o1", quantity="0")))

    assert refused.reason
    assert (refused.is_duplicate, refused.is_deadline) == (False, False)
    assert stand.port.open_orders() == ()


@_clause(CLAUSES)
def a_cancelled_order_is_gone_and_says_so(stand: Stand) -> None:
    answer = stand.port.submit(resting("o1"))
    assert isinstance(answer, Accepted)

    assert isinstance(stand.port.cancel("o1", answer.venue_order_id), Accepted)

    assert _one(stand, "o1").state is OrderState.CANCELLED
    assert stand.port.open_orders() == ()


@_clause(CLAUSES)
def an_order_can_be_cancelled_by_its_client_id_alone(stand: Stand) -> None:
    stand.port.submit(resting("o1"))

    assert isinstance(stand.port.cancel("o1", ""), Accepted)
    assert stand.port.open_orders() == ()


@_clause(CLAUSES)
def a_second_cancel_is_refused_as_gone(stand: Stand) -> None:
    stand.port.submit(resting("o1"))
    stand.port.cancel("o1", "")

    assert _refused(stand.port.cancel("o1", "")).is_gone


@_clause(CLAUSES)
def what_never_was_or_has_traded_cannot_be_cancelled(stand: Stand) -> None:
    trade(stand, order("o1"))

    assert _refused(stand.port.cancel("o1", "")).is_gone
    assert _refused(stand.port.cancel("o2", "")).is_gone
    assert _one(stand, "o1").state is OrderState.FILLED


@_clause(CLAUSES)
def only_open_orders_are_among_the_open_ones(stand: Stand) -> None:
    trade(stand, order("o1"))
    stand.port.submit(resting("o2"))
    stand.port.submit(resting("o3"))
    stand.port.cancel("o3", "")

    assert [each.order_id for each in stand.port.open_orders()] == ["o2"]


@_clause(CLAUSES)
def every_execution_is_told_oldest_first_and_as_often_as_it_is_asked_for(stand: Stand) -> None:
    trade(stand, order("o1"))
    trade(stand, order("o2", side=Side.SELL, quantity="1"), "110")

    fills = stand.port.fills(0)

    assert [(fill.order_id, fill.quantity) for fill in fills] == [("o1", Decimal(2)), ("o2", Decimal(1))]
    assert len({fill.execution_id for fill in fills}) == 2
    assert all(fill.price > 0 and fill.leaves == 0 for fill in fills)
    assert stand.port.fills(0) == fills


@_clause(CLAUSES)
def executions_are_told_from_a_time_on(stand: Stand) -> None:
    trade(stand, order("o1"))
    trade(stand, order("o2"))
    first, last = stand.port.fills(0)

    assert stand.port.fills(last.ts_ns)[-1] == last
    assert stand.port.fills(last.ts_ns + 1) == ()
    assert stand.port.fills(first.ts_ns) == (first, last)


@_clause(CLAUSES)
def holdings_are_signed_and_without_what_is_flat(stand: Stand) -> None:
    before = stand.port.holdings()
    trade(stand, order("o1"))
    held = stand.port.holdings()
    trade(stand, order("o2", side=Side.SELL, quantity="5"))
    short = stand.port.holdings()
    trade(stand, order("o3", quantity="3"))
    fills = stand.port.fills(0)

    assert before.positions == {}
    assert held.positions == {SYMBOL: Decimal(2)}
    assert short.positions == {SYMBOL: Decimal(-3)}
    assert stand.port.holdings().positions == {}
    bought, sold = (sum(f.quantity * f.price for f in fills if f.order_id in ids) for ids in (("o1", "o3"), ("o2",)))
    assert stand.port.holdings().cash == before.cash - bought + sold - sum(fill.fee for fill in fills)
    assert stand.port.holdings().account == before.account != ""


@_clause(CLAUSES)
def what_is_not_traded_has_no_instrument(stand: Stand) -> None:
    assert [each.symbol for each in stand.port.instruments([SYMBOL, "NOTHING"])] == [SYMBOL]


@_clause(CLAUSES)
def the_stream_tells_of_orders_fills_and_cancels_and_of_nothing_else(stand: Stand) -> None:
    assert stand.port.reports(0.01) == ()
    trade(stand, order("o1"))
    stand.port.submit(resting("o2"))
    stand.port.cancel("o2", "")

    heard = _heard(stand.port, lambda heard: any(isinstance(each, OrderCancelled) for each in heard))

    assert [each.order_id for each in heard if isinstance(each, OrderFilled)] == ["o1"]
    assert [each.order_id for each in heard if isinstance(each, OrderCancelled)] == ["o2"]
    assert {each.order_id for each in heard if isinstance(each, OrderAccepted)} == {"o1", "o2"}
    assert [each for each in heard if isinstance(each, OrderFilled)] == list(stand.port.fills(0))
    assert all(each.report == 0 for each in heard)


@_clause(CLAUSES)
def a_closed_port_does_nothing_and_wakes_who_waits_in_it(stand: Stand) -> None:
    stand.port.reports(0.01)
    waiter = threading.Thread(target=_listen_until_closed, args=(stand.port,), daemon=True)
    waiter.start()

    stand.port.close()
    stand.port.close()

    waiter.join(PATIENCE_S)
    assert not waiter.is_alive(), "somebody still waits in a closed port"
    with pytest.raises(VenueError):
        stand.port.submit(order("o1"))
    with pytest.raises(UnreachableError):
        stand.port.holdings()


def _listen_until_closed(port: VenuePort) -> None:
    with suppress(VenueError):
        while True:
            port.reports(600.0)


# --- behind a wire ----------------------------------------------------------------------------


@_clause(REMOTE)
def whatever_breaks_a_submit_is_unclear_and_it_is_sent_once(stand: Stand) -> None:
    for number, deed in enumerate(UNCLEAR_DEEDS, 1):
        stand.hand.next("submit", deed, ms=20)
        with pytest.raises(UnclearError):
            stand.port.submit(resting(f"o{number}"))
        assert stand.hand.dump().calls["submit"] == number, f"after {deed} it was sent again"


@_clause(REMOTE)
def whatever_breaks_a_cancel_is_unclear_and_asking_again_is_safe(stand: Stand) -> None:
    for number, deed in enumerate(UNCLEAR_DEEDS, 1):
        name = f"o{number}"
        answer = stand.port.submit(resting(name))
        assert isinstance(answer, Accepted)
        stand.hand.next("cancel", deed, ms=20)
        with pytest.raises(UnclearError):
            stand.port.cancel(name, answer.venue_order_id)
        stand.hand.settled()

        again = stand.port.cancel(name, answer.venue_order_id)

        assert isinstance(again, Accepted) or again.is_gone
        assert not _live(stand.port, name)


@_clause(REMOTE)
def an_answer_that_takes_too_long_is_unclear(stand: Stand) -> None:
    hasty = stand.opened(0.05)
    stand.hand.next("submit", "slow", ms=600)
    with pytest.raises(UnclearError):
        hasty.submit(resting("o1"))

    assert len(_live(stand.port, "o1")) == 1


@_clause(REMOTE)
def what_is_taken_in_late_is_found_then(stand: Stand) -> None:
    stand.hand.next("submit", "late_cut", ms=150)
    with pytest.raises(UnclearError):
        stand.port.submit(order("o1"))

    stand.hand.settled()

    assert _one(stand, "o1").state is OrderState.FILLED


@_clause(REMOTE)
def without_a_connection_nothing_is_sent(stand: Stand) -> None:
    answer = stand.port.submit(resting("o1"))
    assert isinstance(answer, Accepted)
    stand.hand.outage(is_on=True)
    try:
        with pytest.raises(NotSentError):
            stand.port.submit(order("o2"))
        with pytest.raises(NotSentError):
            stand.port.cancel("o1", answer.venue_order_id)
    finally:
        stand.hand.outage(is_on=False)

    assert stand.hand.dump().calls == {"submit": 1}
    assert isinstance(stand.port.submit(order("o2")), Accepted), "it comes back by itself"


@_clause(REMOTE)
def a_question_without_answer_is_no_answer(stand: Stand) -> None:
    stand.port.submit(resting("o1"))
    port = stand.port
    questions: list[Callable[[], object]] = [
        lambda: port.find(["o1"]),
        port.open_orders,
        lambda: port.fills(0),
        port.holdings,
        port.now_ns,
        lambda: port.instruments([SYMBOL]),
    ]
    for deed in ("drop_reply", "cut", "error_before", "garbage"):
        for question in questions:
            stand.hand.next("look", deed)
            with pytest.raises(UnreachableError):
                question()
    stand.hand.outage(is_on=True)
    try:
        for question in questions:
            with pytest.raises(UnreachableError):
                question()
    finally:
        stand.hand.outage(is_on=False)


@_clause(REMOTE)
def half_an_answer_proves_no_absence(stand: Stand) -> None:
    trade(stand, order("o1"))
    before = _looks(stand)
    port = stand.port
    assert port.find(["o1", "o2"])
    asked = _looks(stand) - before
    for last in range(asked):
        for _ in range(last):
            stand.hand.next("look", "slow", ms=1)
        stand.hand.next("look", "drop_reply")
        with pytest.raises(UnreachableError):
            port.find(["o1", "o2"])


@_clause(REMOTE)
def many_ids_are_one_question(stand: Stand) -> None:
    names = [f"o{number}" for number in range(20)]
    for name in names:
        stand.port.submit(resting(name))
    before = _looks(stand)

    assert len(stand.port.find(names)) == 20

    assert _looks(stand) - before < 5


def _looks(stand: Stand) -> int:
    return sum(count for call, count in stand.hand.dump().calls.items() if call not in {"submit", "cancel", "replace"})


@_clause(REMOTE)
def each_part_of_an_order_is_an_execution_of_its_own(stand: Stand) -> None:
    stand.hand.next("fill", "partial", parts=("0.5", "0.7", "0.8"))
    stand.port.submit(order("o1"))
    part = _one(stand, "o1")
    stand.hand.go_on()
    stand.hand.go_on()

    fills = stand.port.fills(0)

    assert (part.state, part.filled_quantity) == (OrderState.PARTIALLY_FILLED, Decimal("0.5"))
    assert [fill.quantity for fill in fills] == [Decimal("0.5"), Decimal("0.7"), Decimal("0.8")]
    assert [fill.leaves for fill in fills] == [Decimal("1.5"), Decimal("0.8"), Decimal(0)]
    assert len({fill.execution_id for fill in fills}) == 3
    assert _one(stand, "o1").state is OrderState.FILLED


@_clause(REMOTE)
def a_cancel_is_told_with_all_that_had_filled_or_without_a_figure(stand: Stand) -> None:
    stand.port.reports(0.01)
    stand.hand.next("fill", "partial", parts=("0.5", "1.5"))
    stand.port.submit(resting("o1", price="100"))
    stand.port.cancel("o1", "")

    heard = _heard(stand.port, lambda heard: any(isinstance(each, OrderCancelled) for each in heard))

    (cancelled,) = (each for each in heard if isinstance(each, OrderCancelled))
    assert cancelled.filled_quantity in {None, Decimal("0.5")}


@_clause(REMOTE)
def orders_and_holdings_of_other_hands_are_told_too(stand: Stand) -> None:
    stand.hand.external(SYMBOL, Side.BUY, "3", type=OrderType.LIMIT, price="90")
    stand.hand.external(SYMBOL, Side.SELL, "1")

    assert [(each.order_id, each.quantity) for each in stand.port.open_orders()] == [("", Decimal(3))]
    assert stand.port.holdings().positions == {SYMBOL: Decimal(-1)}
    assert [fill.order_id for fill in stand.port.fills(0)] == [""]


@_clause(REMOTE)
def what_the_stream_lost_is_among_the_executions(stand: Stand) -> None:
    stand.port.reports(0.01)
    stand.hand.next("stream", "lose", times=2)
    trade(stand, order("o1"))
    trade(stand, order("o2"))

    heard = _heard(stand.port, lambda heard: any(isinstance(each, OrderFilled) for each in heard))

    assert {each.order_id for each in heard} == {"o2"}
    assert [fill.order_id for fill in stand.port.fills(0)] == ["o1", "o2"]


@_clause(REMOTE)
def a_stream_that_breaks_says_so_and_opens_again(stand: Stand) -> None:
    stand.port.reports(0.01)
    stand.hand.outage(is_on=True)
    try:
        with pytest.raises(UnreachableError):
            stand.port.reports(PATIENCE_S)
        with pytest.raises(UnreachableError):
            stand.port.reports(PATIENCE_S)
    finally:
        stand.hand.outage(is_on=False)
    stand.port.reports(0.01)
    trade(stand, order("o1"))

    assert _heard(stand.port, lambda heard: any(isinstance(each, OrderFilled) for each in heard))


@_clause(REMOTE)
def the_venues_own_time_is_told(stand: Stand) -> None:
    stand.hand.skew(ms=3_600_000)

    for ahead_ns in (stand.port.now_ns() - time.time_ns(), stand.port.holdings().venue_ns - time.time_ns()):
        assert abs(ahead_ns - 3_600 * NS_PER_S) < 60 * NS_PER_S


# --- deadlines --------------------------------------------------------------------------------


@_clause(DEADLINES)
def an_order_behind_its_deadline_is_refused_as_that(stand: Stand) -> None:
    stand.hand.next("submit", "late", ms=150)
    deadline_ns = stand.port.holdings().venue_ns + 100 * NS_PER_MS

    refused = _refused(stand.port.submit(order("o1", deadline_ns=deadline_ns)))

    assert refused.is_deadline
    assert stand.port.find(["o1"]) == ()


@_clause(DEADLINES)
def behind_its_deadline_an_order_never_comes_to_life(stand: Stand) -> None:
    stand.hand.next("submit", "late_cut", ms=150)
    deadline_ns = stand.port.holdings().venue_ns + 100 * NS_PER_MS
    with pytest.raises(UnclearError):
        stand.port.submit(order("o1", deadline_ns=deadline_ns))

    stand.hand.settled()

    assert stand.port.find(["o1"]) == ()


@_clause(DEADLINES)
def before_its_deadline_an_order_is_taken(stand: Stand) -> None:
    deadline_ns = stand.port.holdings().venue_ns + 60 * NS_PER_S

    assert isinstance(stand.port.submit(order("o1", deadline_ns=deadline_ns)), Accepted)


# --- replacing --------------------------------------------------------------------------------


def _replacement(stand: Stand, venue_order_id: str, quantity: str = "3", price: str = "85") -> Accepted | Refused:
    wanted = ReplaceOrder("o1", venue_order_id, SYMBOL, OrderType.LIMIT, Decimal(quantity), Decimal(price))
    return stand.port.replace(wanted)


def _placed(stand: Stand, wanted: SubmitOrder) -> str:
    answer = stand.port.submit(wanted)
    assert isinstance(answer, Accepted)
    return answer.venue_order_id


@_clause(REPLACING)
def a_replaced_order_has_its_new_figures_and_there_is_one(stand: Stand) -> None:
    answer = _replacement(stand, _placed(stand, resting("o1")))

    assert isinstance(answer, Accepted)
    live = _only_one_live(stand)
    assert (live.order_id, live.venue_order_id) == ("o1", answer.venue_order_id)
    assert (live.quantity, live.price) == (Decimal(3), Decimal(85))
    assert stand.port.find(["o1"]) == (live,)


@_clause(REPLACING)
def replacing_twice_is_as_once_even_where_the_first_answer_was_lost(stand: Stand) -> None:
    for deed in UNCLEAR_DEEDS:
        stand.hand.anew()
        stand.show(SYMBOL, "100")
        first = _placed(stand, resting("o1"))
        stand.hand.next("replace", deed, ms=20)
        with pytest.raises(UnclearError):
            _replacement(stand, first)
        stand.hand.settled()

        assert isinstance(_replacement(stand, first), Accepted)
        assert isinstance(_replacement(stand, first), Accepted)

        live = _only_one_live(stand)
        assert (live.order_id, live.quantity, live.price) == ("o1", Decimal(3), Decimal(85)), deed


@_clause(REPLACING)
def what_has_filled_counts_towards_the_new_quantity(stand: Stand) -> None:
    stand.hand.next("fill", "partial", parts=("0.5", "1.5"))
    first = _placed(stand, resting("o1", price="100"))

    assert isinstance(_replacement(stand, first, quantity="3", price="85"), Accepted)

    live = _only_one_live(stand)
    assert (live.quantity, live.filled_quantity) == (Decimal(3), Decimal("0.5"))
    stand.show(SYMBOL, "80")
    assert sum(fill.quantity for fill in stand.port.fills(0) if fill.order_id == "o1") == Decimal(3)


@_clause(REPLACING)
def a_replaced_order_is_cancelled_under_its_former_name_too(stand: Stand) -> None:
    first = _placed(stand, resting("o1"))
    _replacement(stand, first)
    _replacement(stand, first, price="86")

    assert isinstance(stand.port.cancel("o1", first), Accepted)

    assert stand.port.open_orders() == ()


@_clause(REPLACING)
def what_is_not_open_is_not_replaced(stand: Stand) -> None:
    first = _placed(stand, resting("o1"))
    stand.port.cancel("o1", first)

    assert _refused(_replacement(stand, first)).is_gone
    assert stand.port.open_orders() == ()


# --- groups -----------------------------------------------------------------------------------


@_clause(GROUPS)
def of_a_group_one_order_trades(stand: Stand) -> None:
    trade(stand, order("o1"))
    stand.port.submit(stop("o2", group="g"))
    stand.port.submit(SubmitOrder("o3", SYMBOL, Side.SELL, OrderType.LIMIT, Decimal(2), Decimal(120), None, 0, "g"))

    stand.show(SYMBOL, "75")
    stand.show(SYMBOL, "130")

    assert _one(stand, "o2").state is OrderState.FILLED
    assert _one(stand, "o3").state is OrderState.CANCELLED
    assert stand.port.holdings().positions == {}
