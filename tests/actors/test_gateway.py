"""The gateway between execution's words and a venue's calls, against real exchanges, on its own threads."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from typing_extensions import override

from actors.venues.gateway import CALL_NS_MAX, WATCH, Gateway, HungError
from actors.venues.port import Accepted, Holdings, Refused, VenuePort
from desk.messages import (
    CancelOrder,
    CancelRejected,
    CancelUnclear,
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    OrderRejected,
    OrderReplaced,
    OrdersFound,
    OrderState,
    OrdersWanted,
    OrderType,
    OrderUnclear,
    ReplaceOrder,
    ReplaceRejected,
    Side,
    SubmitOrder,
    VenueOrder,
    VenueReport,
    VenueSnapshot,
    VenueWanted,
)
from desk.units import NS_PER_MS, NS_PER_S
from runtime.clock import Clock
from runtime.effects import Effects
from runtime.log import Log
from tests.exchange.client import ExchangePort, open_port
from tests.exchange.hand import Exchange

PATIENCE_S = 60.0
EPOCH = 7
SPY = "SPY"
NAN = Decimal("NaN")


class LateClock(Clock):
    """The machine's clock, as it will be."""

    ahead_ns = 0

    @override
    def monotonic_ns(self) -> int:
        return super().monotonic_ns() + self.ahead_ns


class Loop:
    """Plays the shell: gives the gateway words and turns, and keeps what it says to execution."""

    def __init__(self, port: VenuePort, folder: Path) -> None:
        self.clock = LateClock()
        self.said: list[Any] = []
        self.gateway = Gateway(
            port, (SPY,), epoch=EPOCH, clock=self.clock, log=Log.open(folder, "venues/fake", "ERROR")
        )
        self._is_woken = threading.Event()
        self.gateway.take_waker(self._is_woken.set)
        self._take(self.gateway.recover())

    def tell(self, *words: Any) -> None:
        for word in words:
            self._take(self.gateway.hear("execution", 1, word))

    def until(self, is_enough: Callable[[], object]) -> None:
        """Give turns until it is so."""
        until_s = time.monotonic() + PATIENCE_S
        while not is_enough():
            assert time.monotonic() < until_s, f"it never came to that: {self.said}"
            if self._is_woken.wait(0.05):
                self._is_woken.clear()
                self._take(self.gateway.awake())

    def hear(self, kind: type[Any]) -> Any:
        """Wait for a word of this kind and give the first."""
        self.until(lambda: self.all(kind))
        return self.all(kind)[0]

    def all(self, kind: type[Any]) -> list[Any]:
        return [word for word in self.said if isinstance(word, kind)]

    def watch(self) -> None:
        """Let the watch's time come."""
        self._take(self.gateway.timer(WATCH))

    def _take(self, effects: Effects) -> None:
        assert all(post.peer == "execution" and not post.is_gated for post in effects.posts)
        self.said += [post.word for post in effects.posts]


@pytest.fixture(scope="module")
def exchanges() -> Iterator[dict[str, Exchange]]:
    with Exchange("kraken") as kraken, Exchange("alpaca") as alpaca:
        yield {"kraken": kraken, "alpaca": alpaca}


@pytest.fixture(params=["kraken", "alpaca"])
def exchange(request: pytest.FixtureRequest, exchanges: dict[str, Exchange]) -> Exchange:
    return _anew(exchanges[request.param])


@pytest.fixture
def kraken(exchanges: dict[str, Exchange]) -> Exchange:
    return _anew(exchanges["kraken"])


@pytest.fixture
def alpaca(exchanges: dict[str, Exchange]) -> Exchange:
    return _anew(exchanges["alpaca"])


@pytest.fixture
def loop_of(tmp_path: Path) -> Iterator[Callable[..., Loop]]:
    loops: list[Loop] = []

    def build(exchange: Exchange, kind: Callable[[dict[str, Any]], VenuePort] = open_port) -> Loop:
        loops.append(Loop(kind(exchange.options()), tmp_path))
        return loops[-1]

    yield build
    for loop in loops:
        loop.gateway.stopping()


def _anew(exchange: Exchange) -> Exchange:
    exchange.anew()
    exchange.mark(SPY, "100")
    return exchange


def market(order_id: str, *, deadline_ns: int = 0, epoch: int = EPOCH, is_exit: bool = False) -> SubmitOrder:
    return SubmitOrder(
        order_id,
        SPY,
        Side.BUY,
        OrderType.MARKET,
        Decimal(2),
        None,
        None,
        0,
        "",
        deadline_ns,
        epoch,
        is_exit,
    )


def limit(order_id: str, price: str = "90") -> SubmitOrder:
    return SubmitOrder(order_id, SPY, Side.BUY, OrderType.LIMIT, Decimal(2), Decimal(price), None, 0, "", 0, EPOCH)


# --- changes ----------------------------------------------------------------------------------


def test_an_order_is_placed_and_what_becomes_of_it_is_told(exchange: Exchange, loop_of: Callable[..., Loop]) -> None:
    loop = loop_of(exchange)
    loop.until(lambda: loop.gateway.facts()["connected"])

    loop.tell(market("o1"))

    accepted, filled = loop.hear(OrderAccepted), loop.hear(OrderFilled)
    (there,) = exchange.dump().executions
    assert accepted.venue_order_id == there.venue_id
    assert (filled.order_id, filled.execution_id, filled.quantity) == ("o1", there.execution_id, there.quantity)


def test_what_the_venue_refuses_is_rejected(exchange: Exchange, loop_of: Callable[..., Loop]) -> None:
    loop = loop_of(exchange)

    loop.tell(SubmitOrder("o1", "NOTHING", Side.BUY, OrderType.MARKET, Decimal(2), None, None, 0, "", 0, EPOCH))

    rejected = loop.hear(OrderRejected)
    assert (rejected.order_id, rejected.is_deadline) == ("o1", False)
    assert "NOTHING" in rejected.reason


def test_a_command_to_another_incarnation_is_not_carried_out(exchange: Exchange, loop_of: Callable[..., Loop]) -> None:
    loop = loop_of(exchange)

    loop.tell(market("o1", epoch=EPOCH - 1), CancelOrder("o2", "", "", EPOCH - 1))
    loop.tell(ReplaceOrder("o3", "", SPY, OrderType.LIMIT, Decimal(1), Decimal(80), EPOCH - 1))

    assert [word.order_id for word in loop.said] == ["o1", "o2", "o3"]
    assert [type(word) for word in loop.said] == [OrderUnclear, CancelUnclear, OrderUnclear]
    loop.tell(market("o4"))
    loop.hear(OrderAccepted)
    assert exchange.dump().calls["submit"] == 1


def test_an_order_behind_its_deadline_is_not_even_sent(kraken: Exchange, loop_of: Callable[..., Loop]) -> None:
    loop = loop_of(kraken)

    loop.tell(market("o1", deadline_ns=loop.clock.wall_ns() - 1))

    assert loop.hear(OrderRejected).is_deadline
    assert "submit" not in kraken.dump().calls


def test_a_deadline_that_the_engine_refused_ends_the_attempt_only(
    kraken: Exchange, loop_of: Callable[..., Loop]
) -> None:
    loop = loop_of(kraken)
    kraken.next("submit", "late", ms=150)
    kraken.skew(ms=60_000)

    loop.tell(market("o1", deadline_ns=loop.clock.wall_ns() + 30 * NS_PER_S))

    assert loop.hear(OrderRejected).is_deadline


@pytest.mark.parametrize("deed", ["drop_reply", "cut", "error_before", "error_after", "garbage"])
def test_whatever_is_not_answered_is_unclear(deed: str, kraken: Exchange, loop_of: Callable[..., Loop]) -> None:
    loop = loop_of(kraken)
    loop.tell(limit("o1"))
    loop.hear(OrderAccepted)
    for call in ("submit", "cancel", "replace"):
        kraken.next(call, deed)

    loop.tell(
        market("o2"),
        ReplaceOrder("o1", "", SPY, OrderType.LIMIT, Decimal(1), Decimal(80), EPOCH),
        CancelOrder("o1", "", "", EPOCH),
    )

    loop.until(lambda: len(loop.all(OrderUnclear)) == 2 and loop.all(CancelUnclear))
    assert {word.order_id for word in loop.all(OrderUnclear)} == {"o1", "o2"}
    assert kraken.dump().calls["submit"] == 2


def test_what_never_left_is_tried_once_more_and_then_unclear(alpaca: Exchange, loop_of: Callable[..., Loop]) -> None:
    loop = loop_of(alpaca)
    alpaca.outage(is_on=True)

    loop.tell(market("o1"))

    assert "not sent" in loop.hear(OrderUnclear).reason
    assert loop.gateway.facts()["calls"]["submit"] == 2
    alpaca.outage(is_on=False)
    loop.tell(market("o1"))
    loop.hear(OrderAccepted)


def test_the_same_id_never_leaves_twice_where_that_could_be_two_orders(
    kraken: Exchange, loop_of: Callable[..., Loop]
) -> None:
    loop = loop_of(kraken)
    loop.tell(market("o1"))
    loop.hear(OrderAccepted)

    loop.tell(market("o1"))

    assert loop.hear(OrderUnclear).order_id == "o1"
    assert len(kraken.dump().orders) == 1


def test_a_duplicate_is_told_as_what_it_has_become(alpaca: Exchange, loop_of: Callable[..., Loop]) -> None:
    loop = loop_of(alpaca)
    alpaca.next("submit", "drop_reply")
    loop.tell(market("o1"))
    loop.hear(OrderUnclear)

    loop.tell(market("o1"))

    found = loop.hear(OrdersFound)
    assert [(order.order_id, order.state) for order in found.orders] == [("o1", OrderState.FILLED)]
    assert [fill.order_id for fill in found.fills] == ["o1"]
    assert found.absent == ()


def test_a_cancel_tells_what_was_traded_before_it(exchange: Exchange, loop_of: Callable[..., Loop]) -> None:
    loop = loop_of(exchange)
    exchange.next("fill", "partial", parts=("0.5", "1.5"))
    loop.tell(limit("o1", price="100"))
    loop.hear(OrderAccepted)
    exchange.next("stream", "lose", times=5)

    loop.tell(CancelOrder("o1", "TTL", "", EPOCH))

    found = loop.hear(OrdersFound)
    assert [(order.state, order.filled_quantity) for order in found.orders] == [(OrderState.CANCELLED, Decimal("0.5"))]
    assert [fill.quantity for fill in found.fills] == [Decimal("0.5")]


def test_a_cancel_that_comes_too_late_is_refused(exchange: Exchange, loop_of: Callable[..., Loop]) -> None:
    loop = loop_of(exchange)
    loop.until(lambda: loop.gateway.facts()["connected"])
    loop.tell(limit("o1"))
    accepted = loop.hear(OrderAccepted)
    exchange.next("cancel", "race")

    loop.tell(CancelOrder("o1", "TTL", accepted.venue_order_id, EPOCH))

    assert loop.hear(CancelRejected).order_id == "o1"
    assert loop.hear(OrderFilled).order_id == "o1"


def test_a_replacement_is_told_with_its_new_name(exchange: Exchange, loop_of: Callable[..., Loop]) -> None:
    loop = loop_of(exchange)
    loop.tell(limit("o1"))
    loop.hear(OrderAccepted)

    loop.tell(ReplaceOrder("o1", "", SPY, OrderType.LIMIT, Decimal(1), Decimal(80), EPOCH))
    loop.tell(ReplaceOrder("o2", "", SPY, OrderType.LIMIT, Decimal(1), Decimal(80), EPOCH))

    replaced = loop.hear(OrderReplaced)
    live = [order for order in exchange.dump().orders if order.state == "open"]
    assert [(order.venue_id, order.quantity, order.limit_price) for order in live] == [
        (replaced.venue_order_id, Decimal(1), Decimal(80))
    ]
    assert loop.hear(ReplaceRejected).order_id == "o2"


def test_cancels_come_before_exits_and_exits_before_entries(exchange: Exchange, loop_of: Callable[..., Loop]) -> None:
    loop = loop_of(exchange)
    loop.tell(limit("o0"))
    loop.hear(OrderAccepted)
    exchange.next("submit", "slow", ms=300)

    loop.tell(limit("o1"))
    loop.until(lambda: exchange.dump().calls["submit"] == 2)
    loop.tell(limit("o2"), market("o3", is_exit=True), CancelOrder("o0", "", "", EPOCH))

    loop.until(lambda: {word.order_id for word in loop.all(OrderAccepted)} >= {"o1", "o2", "o3"})
    dump = exchange.dump()
    taken = [order.client_id for order in sorted(dump.orders, key=lambda order: order.taken_ns)]
    assert taken == ["o0", "o1", "o3", "o2"]


def test_a_cancel_does_not_overtake_the_order_that_it_is_about(
    exchange: Exchange, loop_of: Callable[..., Loop]
) -> None:
    loop = loop_of(exchange)
    exchange.next("submit", "slow", ms=200)

    loop.tell(limit("o1"), limit("o2"), CancelOrder("o2", "", "", EPOCH))

    loop.hear(OrdersFound)
    assert {order.client_id: order.state for order in exchange.dump().orders} == {"o1": "open", "o2": "canceled"}


def test_the_room_never_waits_for_a_call(exchange: Exchange, loop_of: Callable[..., Loop]) -> None:
    loop = loop_of(exchange)
    exchange.next("submit", "slow", ms=5_000)
    loop.tell(market("o1"))

    loop.tell(VenueWanted(1))
    loop.watch()

    snapshot = loop.hear(VenueSnapshot)
    assert snapshot.query == 1
    assert loop.gateway.facts()["under_way"] == 1


# --- looks ------------------------------------------------------------------------------------


def test_a_snapshot_holds_the_whole_account(exchange: Exchange, loop_of: Callable[..., Loop]) -> None:
    loop = loop_of(exchange)
    loop.tell(market("o1"), limit("o2"))
    loop.until(lambda: {word.order_id for word in loop.all(OrderAccepted)} == {"o1", "o2"})
    exchange.external(SPY, Side.SELL, "5")
    exchange.skew(ms=5_000)

    loop.tell(VenueWanted(3))

    snapshot = loop.hear(VenueSnapshot)
    assert (snapshot.query, snapshot.failure, snapshot.account) == (3, "", f"{exchange.rules}-1")
    assert [order.order_id for order in snapshot.orders] == ["o2"]
    assert snapshot.positions == {SPY: Decimal(-3)}
    assert [report.order_id for report in snapshot.unread] == ["o1", ""]
    assert abs(snapshot.skew_ns - 5 * NS_PER_S) < 2 * NS_PER_S
    assert [each.symbol for each in snapshot.instruments] == [SPY]
    assert snapshot.cash == exchange.dump().cash


def test_a_venue_that_cannot_be_asked_says_so_and_nothing_else(
    exchange: Exchange, loop_of: Callable[..., Loop]
) -> None:
    loop = loop_of(exchange)
    exchange.outage(is_on=True)
    try:
        loop.tell(VenueWanted(1), OrdersWanted(2, ("o1",)))

        snapshot, found = loop.hear(VenueSnapshot), loop.hear(OrdersFound)
    finally:
        exchange.outage(is_on=False)
    assert (snapshot.query, snapshot.orders, snapshot.positions, snapshot.unread) == (1, (), {}, ())
    assert (found.query, found.orders, found.absent, found.fills) == (2, (), (), ())
    assert snapshot.failure
    assert found.failure


def test_who_is_absent_was_not_there_when_it_was_asked(exchange: Exchange, loop_of: Callable[..., Loop]) -> None:
    loop = loop_of(exchange)
    loop.tell(market("o1"))
    loop.hear(OrderAccepted)
    exchange.skew(ms=1_000_000)
    before_ns = exchange.dump().time_ns

    loop.tell(OrdersWanted(1, ("o1", "o2")))

    found = loop.hear(OrdersFound)
    assert ([order.order_id for order in found.orders], found.absent) == (["o1"], ("o2",))
    assert [fill.order_id for fill in found.fills] == ["o1"]
    assert before_ns < found.asked_ns < exchange.dump().time_ns


def test_what_is_still_on_its_way_is_not_absent(exchange: Exchange, loop_of: Callable[..., Loop]) -> None:
    loop = loop_of(exchange)
    exchange.next("submit", "late", ms=5_000)

    loop.tell(market("o1"), OrdersWanted(1, ("o1", "o2")))

    assert loop.hear(OrdersFound).absent == ("o2",)


def test_after_a_broken_stream_the_account_is_told_unasked(exchange: Exchange, loop_of: Callable[..., Loop]) -> None:
    loop = loop_of(exchange)
    loop.until(lambda: loop.gateway.facts()["connected"])
    loop.tell(VenueWanted(1))
    loop.hear(VenueSnapshot)
    loop.said.clear()
    exchange.next("stream", "cut", times=3)

    loop.tell(market("o1"))

    loop.until(lambda: any(_fills(word) == ["o1"] for word in loop.all(VenueSnapshot)))
    assert loop.gateway.facts()["stream_breaks"] >= 1


def _fills(snapshot: VenueSnapshot) -> list[str]:
    return [report.order_id for report in snapshot.unread if isinstance(report, OrderFilled)]


def test_an_outage_is_told_and_its_end_too(exchange: Exchange, loop_of: Callable[..., Loop]) -> None:
    loop = loop_of(exchange)
    loop.tell(VenueWanted(1))
    loop.until(lambda: loop.all(VenueSnapshot) and loop.gateway.facts()["connected"])
    loop.said.clear()

    exchange.outage(is_on=True)
    loop.until(lambda: any(word.failure for word in loop.all(VenueSnapshot)))
    loop.until(lambda: not loop.gateway.facts()["connected"])
    loop.said.clear()
    exchange.outage(is_on=False)

    loop.until(lambda: any(not word.failure for word in loop.all(VenueSnapshot)))
    loop.until(lambda: loop.gateway.facts()["connected"])


def test_a_snapshot_that_a_fill_overtook_is_taken_again(exchange: Exchange, loop_of: Callable[..., Loop]) -> None:
    loop = loop_of(exchange, SlowlyLooking)
    loop.until(lambda: loop.gateway.facts()["connected"])

    loop.tell(VenueWanted(1))
    SlowlyLooking.has_looked.wait(PATIENCE_S)
    loop.tell(market("o1"))
    loop.hear(OrderFilled)
    SlowlyLooking.may_answer.set()

    snapshot = loop.hear(VenueSnapshot)
    assert snapshot.positions == {SPY: Decimal(2)}
    assert _fills(snapshot) == ["o1"]


class SlowlyLooking(ExchangePort):
    """A port whose answers about holdings take their time after they were read."""

    has_looked: threading.Event
    may_answer: threading.Event

    def __init__(self, options: dict[str, Any]) -> None:
        super().__init__(options)
        SlowlyLooking.has_looked, SlowlyLooking.may_answer = threading.Event(), threading.Event()
        self._reads = 0

    @override
    def holdings(self) -> Any:
        held = super().holdings()
        self._reads += 1
        if self._reads == 2:
            self.has_looked.set()
            self.may_answer.wait(PATIENCE_S)
        return held


# --- adapters that are wrong ------------------------------------------------------------------


class Raising(ExchangePort):
    """An adapter with a defect: it places the order and then stumbles."""

    @override
    def submit(self, order: SubmitOrder) -> Accepted | Refused:
        super().submit(order)
        msg = "a bug"
        raise KeyError(msg)


class Hanging(ExchangePort):
    """An adapter that does not come back."""

    @override
    def submit(self, order: SubmitOrder) -> Accepted | Refused:
        while not self._is_closed:
            time.sleep(0.01)
        return Refused("the desk has stopped")


def test_a_defect_of_the_adapter_is_unclear(exchange: Exchange, loop_of: Callable[..., Loop]) -> None:
    loop = loop_of(exchange, Raising)

    loop.tell(market("o1"))

    assert "KeyError" in loop.hear(OrderUnclear).reason


class Garbling(ExchangePort):
    """An adapter that reads some of the venue's figures as none."""

    garbled = ""

    @override
    def holdings(self) -> Holdings:
        held = super().holdings()
        return replace(held, cash=Decimal("Infinity")) if self.garbled == "holdings" else held

    @override
    def open_orders(self) -> tuple[VenueOrder, ...]:
        orders = super().open_orders()
        return tuple(replace(one, quantity=NAN) for one in orders) if self.garbled == "open_orders" else orders

    @override
    def find(self, order_ids: Sequence[str]) -> tuple[VenueOrder, ...]:
        orders = super().find(order_ids)
        return tuple(replace(one, price=NAN) for one in orders) if self.garbled == "find" else orders

    @override
    def fills(self, since_ns: int) -> tuple[OrderFilled, ...]:
        fills = super().fills(since_ns)
        return tuple(replace(one, price=NAN) for one in fills) if self.garbled == "fills" else fills

    @override
    def reports(self, timeout_s: float) -> tuple[VenueReport, ...]:
        reports = super().reports(timeout_s)
        is_garbled = self.garbled == "reports"
        return tuple(replace(one, fee=NAN) if is_garbled and isinstance(one, OrderFilled) else one for one in reports)


@pytest.mark.parametrize("what", ["holdings", "open_orders", "fills"])
def test_a_look_at_figures_that_are_none_fails(alpaca: Exchange, loop_of: Callable[..., Loop], what: str) -> None:
    loop = loop_of(alpaca, Garbling)
    loop.tell(market("o1"), limit("o2"))
    loop.until(lambda: {word.order_id for word in loop.all(OrderAccepted)} == {"o1", "o2"})
    loop.gateway._port.garbled = what  # type: ignore[attr-defined]

    loop.tell(VenueWanted(3))
    loop.until(lambda: any(word.query == 3 for word in loop.all(VenueSnapshot)))

    snapshot = next(word for word in loop.all(VenueSnapshot) if word.query == 3)
    assert "NaN" in snapshot.failure or "Infinity" in snapshot.failure
    assert (snapshot.orders, snapshot.positions, snapshot.unread) == ((), {}, ())


def test_an_order_that_is_found_with_figures_that_are_none_is_not_found_out(
    alpaca: Exchange, loop_of: Callable[..., Loop]
) -> None:
    loop = loop_of(alpaca, Garbling)
    loop.tell(limit("o1"))
    loop.hear(OrderAccepted)
    loop.gateway._port.garbled = "find"  # type: ignore[attr-defined]

    loop.tell(OrdersWanted(4, ("o1",)))

    found = loop.hear(OrdersFound)
    assert ("NaN" in found.failure, found.orders, found.absent) == (True, (), ())


def test_a_report_with_figures_that_are_none_is_a_break_after_which_the_venue_is_asked(
    alpaca: Exchange, loop_of: Callable[..., Loop]
) -> None:
    loop = loop_of(alpaca, Garbling)
    loop.tell(VenueWanted(1))
    loop.until(lambda: loop.all(VenueSnapshot) and loop.gateway.facts()["connected"])
    loop.gateway._port.garbled = "reports"  # type: ignore[attr-defined]

    loop.tell(market("o1"))
    loop.until(lambda: loop.gateway.facts()["stream_breaks"])
    loop.until(lambda: any(_fills(snapshot) == ["o1"] for snapshot in loop.all(VenueSnapshot)))

    assert loop.all(OrderFilled) == []


def test_a_gateway_that_stops_leaves_no_thread(exchange: Exchange, loop_of: Callable[..., Loop]) -> None:
    before = set(threading.enumerate())
    loop = loop_of(exchange)
    loop.tell(VenueWanted(1))
    loop.hear(VenueSnapshot)
    own = set(threading.enumerate()) - before

    loop.gateway.stopping()

    assert own
    for thread in own:
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


def test_a_call_that_does_not_come_back_ends_the_process(exchange: Exchange, loop_of: Callable[..., Loop]) -> None:
    loop = loop_of(exchange, Hanging)
    loop.until(lambda: loop.gateway.facts()["connected"])
    loop.tell(market("o1"))
    loop.watch()

    loop.clock.ahead_ns = CALL_NS_MAX + 100 * NS_PER_MS

    with pytest.raises(HungError, match="has not come back"):
        loop.watch()


def test_nobody_but_execution_is_obeyed(exchange: Exchange, loop_of: Callable[..., Loop]) -> None:
    loop = loop_of(exchange)

    loop.gateway.hear("strategies/vwap", 1, market("o1"))
    loop.tell(market("o2"))
    loop.hear(OrderAccepted)

    assert [order.client_id for order in exchange.dump().orders] == ["o2"]
    assert not loop.all(OrderCancelled)
