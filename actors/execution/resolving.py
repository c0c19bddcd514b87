"""What nobody knows: orders whose fate only the venue can tell, until it has told.

An attempt is doubted when its call ended without an answer, or when a process fell around it. The venue is asked for it
by its client id, among open, closed and traded orders. It is found, and goes on as what it is; or it is absent at a
time behind its deadline and margin, and then it never was: the venue's engine refuses it from there on. Only then may
another attempt begin, under another name. Where ids are unique for ever and nothing has a deadline, the same name may
be sent again. What can be decided neither way stays UNKNOWN, and blocks entries in its symbol, until a person decides.
So does what the venue had confirmed and finds nowhere any more: it is lost, and what it was for is not safe.
"""

from collections.abc import Callable

from actors.execution.orders import Orders
from desk.messages import (
    Order,
    OrderAccepted,
    OrderCancelled,
    OrderRejected,
    OrderReplaced,
    OrdersFound,
    OrderState,
    OrdersWanted,
    Purpose,
    VenueOrder,
    VenueReport,
)
from desk.order import OPEN, TERMINAL
from desk.units import NS_PER_MS, NS_PER_S, ZERO
from desk.venue import IdRule
from runtime.clock import Clock
from runtime.effects import Effects

TIMER = "resolve"
#: The pause between two looks for the same orders, doubled each time up to the longest.
PAUSE_NS_MIN = 250 * NS_PER_MS
PAUSE_NS_MAX = 5 * NS_PER_S
#: Attempts of an entry, in all. An exit has no limit, but pauses from here on.
ATTEMPTS_MAX = 3
#: How long a venue may not find what it had confirmed, before it is taken for lost: orders can be shown late.
LOST_NS = 30 * NS_PER_S
#: Client ids in one question.
ASKED_MAX = 100
REASON_NEVER_ARRIVED = "NEVER_ARRIVED: the venue proved that it does not have it, and its time is over"
REASON_TOO_LATE = "DEADLINE: it came to the venue too late, and is not wanted any more"

#: Asked for of each order that works: to look a member up in its class costs as much as several calls.
_UNKNOWN = OrderState.UNKNOWN
_ENDED = frozenset({OrderState.CANCELLED, OrderState.EXPIRED})


class Resolver:
    """Asks the venue for what is in doubt, and draws the conclusions that evidence allows, and no other."""

    def __init__(
        self,
        orders: Orders,
        clock: Clock,
        hear_report: Callable[[VenueReport, Effects], None],
        is_entry_allowed: Callable[[Order], bool],
        settle: Callable[[Order, Effects], None],
        since_ns: Callable[[], int],
    ) -> None:
        """Take what books a report, allows an entry another attempt, looks after a position, and the fills' cursor."""
        self._orders, self._journal, self._clock = orders, orders.journal, clock
        self._hear_report, self._is_entry_allowed, self._since_ns = hear_report, is_entry_allowed, since_ns
        self._settle = settle
        self._doubted = orders.doubted
        self._again_ns: dict[str, int] = {}
        #: Orders that the venue does not find, which proves nothing of them: nothing more can be asked or sent.
        self._undecided: set[str] = set()
        #: How often each was sent again under its own name in this life.
        self._sent_again: dict[str, int] = {}
        #: Since when the venue finds neither open nor closed nor traded what it had confirmed, by the order's id.
        self._absent_since_ns: dict[str, int] = {}
        self._pause_ns = PAUSE_NS_MIN
        self._query = 0

    # --- asking -------------------------------------------------------------------------------

    def doubt(self, order_id: str, effects: Effects) -> None:
        """Ask the venue what has become of an order whose state is known, but perhaps outdated."""
        self._doubted.add(order_id)
        self.wake(effects)

    def wake(self, effects: Effects) -> None:
        """Look soon, if there is anything to look for; a new doubt does not wait for the pause of an old one."""
        orders = self.in_doubt()
        if orders or self._again_ns:
            self._pause_ns = PAUSE_NS_MIN
            self._set_timer(orders, effects)

    def in_doubt(self) -> list[Order]:
        """Give the orders that the venue has to be asked for, oldest first."""
        self._doubted.intersection_update(self._journal.ledger.working)
        return [
            order
            for order in self._orders.working()
            if order.state is _UNKNOWN
            or (order.new_quantity is not None and order.state in OPEN)
            or order.order_id in self._doubted
        ]

    def undecided(self) -> list[Order]:
        """Give the orders in doubt that no further question can settle, oldest first: a person has to look."""
        unknown = self._journal.ledger.unknown
        self._undecided.intersection_update(unknown)
        self._sent_again = {name: count for name, count in self._sent_again.items() if name in unknown}
        return [order for name, order in unknown.items() if name in self._undecided]

    def lost(self) -> list[Order]:
        """Give the orders that the venue had confirmed and finds nowhere any more, oldest first."""
        if not self._absent_since_ns:
            return []
        working, now_ns = self._journal.ledger.working, self._clock.monotonic_ns()
        self._absent_since_ns = {name: ns for name, ns in self._absent_since_ns.items() if name in working}
        return [
            order
            for name, order in working.items()
            if order.state is not _UNKNOWN and now_ns - self._absent_since_ns.get(name, now_ns) >= LOST_NS
        ]

    def notices(self) -> list[str]:
        """Say of each undecided and each lost order what it is, and what a person does about it."""
        return self._undecided_notices() + [
            f"{order.order_id} is lost at the venue: {order.purpose.value} {order.side.value} {order.left} "
            f"{order.symbol} of {order.strategy}. The venue had confirmed it as {order.venue_order_id} and finds it "
            f"neither open nor closed nor traded. An exit or a new stop that waits for its end does not leave, and "
            f"entries in {order.symbol} are refused. Look for {order.client_id} in the venue's own books, then: "
            f"bulkhead order {order.order_id} resolve --outcome cancelled|filled"
            for order in self.lost()
        ]

    def _undecided_notices(self) -> list[str]:
        return [
            f"{order.order_id} is in doubt for good: {order.purpose.value} {order.side.value} {order.left} "
            f"{order.symbol} of {order.strategy}; {order.reason or 'nobody knows whether it arrived'}. "
            f"The venue does not find it, which is no proof, and it is not sent again, for {self._why_not(order)}. "
            f"Entries in {order.symbol} are refused. Look for {order.client_id} in the venue's own books, then: "
            f"bulkhead order {order.order_id} resolve --outcome never|cancelled|filled"
            for order in self.undecided()
        ]

    def _why_not(self, order: Order) -> str:
        if order.venue_order_id:
            return "the venue had confirmed it"
        if self._sent_again.get(order.order_id, 0) >= ATTEMPTS_MAX:
            return f"it was sent again {ATTEMPTS_MAX} times to no avail"
        if order.purpose is Purpose.ENTRY:
            return "its intent has expired, or no entry may leave now"
        held = self._journal.ledger.position(*order.key)
        return f"{'nothing' if held is None else abs(held.quantity)} is held any more"

    def timer(self, effects: Effects) -> None:
        """Send what waited for its next attempt, and ask."""
        now_ns = self._clock.monotonic_ns()
        for order_id in [name for name, at_ns in self._again_ns.items() if at_ns <= now_ns]:
            del self._again_ns[order_id]
            order = self._journal.ledger.working.get(order_id)
            if order is not None and order.state is OrderState.PENDING and not self._orders.has_left(order):
                self._orders.try_again(order, effects)
        self.ask(effects)

    def ask(self, effects: Effects) -> None:
        """Ask for everything in doubt in as few questions as possible; the next look comes by itself."""
        orders = self.in_doubt()
        if self._orders.venue_epoch:
            names = [order.client_id for order in orders]
            for begin in range(0, len(names), ASKED_MAX):
                self._query += 1
                wanted = OrdersWanted(self._query, tuple(names[begin : begin + ASKED_MAX]), self._since_ns())
                effects.post(self._orders.venue, wanted, is_sure=False, is_gated=False)
        if orders or self._again_ns:
            self._set_timer(orders, effects)
            self._pause_ns = min(2 * self._pause_ns, PAUSE_NS_MAX)

    def _set_timer(self, in_doubt: list[Order], effects: Effects) -> None:
        """Wake after the pause, or as soon as the first of the waiting may be sent or believed absent."""
        now_ns = self._clock.monotonic_ns()
        at_ns = [now_ns + self._pause_ns, *self._again_ns.values()]
        wall_ns, margin_ns = self._clock.wall_ns(), self._orders.traits.margin_ns
        fences_ns = [order.deadline_ns + margin_ns for order in in_doubt if order.deadline_ns]
        at_ns += [now_ns + fence_ns - wall_ns + NS_PER_MS for fence_ns in fences_ns if fence_ns > wall_ns]
        effects.timer(TIMER, min(at_ns))

    # --- evidence -----------------------------------------------------------------------------

    def hear(self, found: OrdersFound, effects: Effects) -> None:
        """Draw the conclusions of one answer: what is there, then what it traded, how it ended, and what is absent."""
        if found.failure:
            return
        self.see(found.orders, effects)
        for fill in found.fills:
            self._hear_report(fill, effects)
        for theirs in found.orders:
            self._see_end(theirs, effects)
        for client_id in found.absent:
            order = self._present(client_id)
            if order is not None:
                self._believe_absent(order, found.asked_ns, effects)

    def see(self, orders: tuple[VenueOrder, ...], effects: Effects) -> None:
        """Take note that the venue has these orders: whatever became of them, they arrived."""
        for theirs in orders:
            order = self._present(theirs.order_id)
            if order is None or order.state in TERMINAL:
                continue
            _ = self._absent_since_ns.pop(order.order_id, None)
            ts_ns = self._orders.market_ns
            if theirs.state is OrderState.REJECTED:
                self._hear_report(OrderRejected(0, theirs.order_id, theirs.reason or "REJECTED", ts_ns), effects)
            elif order.new_quantity is not None or theirs.quantity != order.quantity:
                price = theirs.price if theirs.price is not None else order.level or ZERO
                report = OrderReplaced(0, theirs.order_id, theirs.venue_order_id, theirs.quantity, price, ts_ns)
                self._hear_report(report, effects)
            else:
                self._hear_report(OrderAccepted(0, theirs.order_id, theirs.venue_order_id, ts_ns), effects)
            if theirs.state in OPEN:
                self._see_open(order.order_id, effects)

    def _present(self, client_id: str) -> Order | None:
        """Give the order whose present attempt bears this name; None for a stranger's, and for an attempt given up."""
        order = self._journal.named(client_id) if client_id else None
        return order if order is not None and order.client_id == client_id else None

    def _see_open(self, order_id: str, effects: Effects) -> None:
        """Let go of a doubt about what is open; a cancel that should have ended it is asked for again."""
        was_doubted = order_id in self._doubted
        self._doubted.discard(order_id)
        order = self._journal.ledger.working.get(order_id)
        if order is not None and order.state is OrderState.PENDING_CANCEL:
            self._orders.ask_cancel(order, effects)
            self._doubted.add(order_id)
        elif order is not None and was_doubted:
            self._settle(order, effects)  # what waited for this may go on

    def _see_end(self, theirs: VenueOrder, effects: Effects) -> None:
        """Take over an end once every execution that belongs to it is booked."""
        order = self._present(theirs.order_id)
        if order is None or order.state in TERMINAL:
            return
        if theirs.state in _ENDED and order.filled_quantity >= theirs.filled_quantity:
            is_expired = theirs.state is OrderState.EXPIRED
            report = OrderCancelled(
                0, theirs.order_id, theirs.reason, is_expired, self._orders.market_ns, order.filled_quantity
            )
            self._hear_report(report, effects)
        elif theirs.state not in OPEN:
            self._doubted.add(order.order_id)  # it ended, and not all of what it traded has come yet

    def _believe_absent(self, order: Order, asked_ns: int, effects: Effects) -> None:
        """Conclude from an absence what it proves: behind the fence, that the attempt never was."""
        if order.state is not _UNKNOWN:
            if order.venue_order_id and order.state not in TERMINAL:
                self._absent_since_ns.setdefault(order.order_id, self._clock.monotonic_ns())
            return
        if order.purpose is Purpose.ENTRY and not self._orders.is_time_heard:
            return  # whether its intent lives still is not known before the market is heard
        if order.venue_order_id:  # the venue has confirmed it once: that it does not find it proves nothing
            self._undecided.add(order.order_id)
            return
        traits = self._orders.traits
        if order.deadline_ns:
            if asked_ns > order.deadline_ns + traits.margin_ns:
                self.end_attempt(order, effects)
        elif traits.ids is IdRule.FOR_EVER:
            self._send_again(order, effects)

    def _send_again(self, order: Order, effects: Effects) -> None:
        """Send the same id again where the order is still wanted, for no more than is held by now.

        If the first one is there after all, this one is refused, and the venue says what the first one was for. A venue
        that refuses it and finds neither has refused the first one too, or has lost it: an entry is not sent for ever.
        """
        if order.purpose is not Purpose.ENTRY:
            held = self._journal.ledger.position(*order.key)
            if held is not None and abs(held.quantity) < order.quantity and order.filled_quantity == ZERO:
                order = self._orders.fit(order, abs(held.quantity), effects)
        count = self._sent_again.get(order.order_id, 0)
        is_tired = count >= ATTEMPTS_MAX
        may_leave = self._may_try_again(order) and not (is_tired and order.purpose is Purpose.ENTRY)
        if is_tired or not may_leave:
            self._undecided.add(order.order_id)
        else:
            self._undecided.discard(order.order_id)
        if may_leave:
            self._sent_again[order.order_id] = count + 1
            self._orders.send_again(order, effects)

    # --- attempts -----------------------------------------------------------------------------

    def end_attempt(self, order: Order, effects: Effects) -> None:
        """Go on after an attempt that the venue never took and never will: another one, or the end of the order."""
        is_tired = order.attempt >= ATTEMPTS_MAX
        if self._may_try_again(order) and not (is_tired and order.purpose is Purpose.ENTRY):
            if is_tired and order.state is OrderState.PENDING:  # refused at once each time: not without a pause
                self._orders.forget(order)
                self._again_ns[order.order_id] = self._clock.monotonic_ns() + PAUSE_NS_MAX
                self._set_timer(self.in_doubt(), effects)
            else:
                self._orders.try_again(order, effects)
        elif order.state is OrderState.UNKNOWN:
            self._orders.change(order, OrderState.EXPIRED, REASON_NEVER_ARRIVED, "ours", effects)
            self._settle(order, effects)
        else:
            self._orders.change(order, OrderState.REJECTED, REASON_TOO_LATE, self._orders.venue, effects)

    def _may_try_again(self, order: Order) -> bool:
        """Say whether an order is still wanted: an entry while its intent lives, others while as much is held."""
        if order.purpose is Purpose.ENTRY:
            is_alive = not order.intent_expires_ns or self._orders.market_ns < order.intent_expires_ns
            is_in_time = not order.expires_ns or self._orders.market_ns < order.expires_ns
            return is_alive and is_in_time and self._is_entry_allowed(order)
        held = self._journal.ledger.position(*order.key)
        return held is not None and abs(held.quantity) >= order.quantity
