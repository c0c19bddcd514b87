"""What the gateway does at its venue: each call to the port, and into which words its end translates.

These run on threads and block; they share nothing with the room but what they return. No call is ever repeated that
may have left, and no end is guessed.
"""

import threading
from collections import Counter, deque
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from actors.venues.port import Accepted, NotSentError, Refused, UnclearError, UnreachableError, VenueError, VenuePort
from actors.venues.sound import with_figures
from desk.messages import (
    CancelOrder,
    CancelRejected,
    CancelUnclear,
    OrderAccepted,
    OrderRejected,
    OrderReplaced,
    OrdersFound,
    OrdersWanted,
    OrderUnclear,
    ReplaceOrder,
    ReplaceRejected,
    SubmitOrder,
    VenueReport,
    VenueSnapshot,
    VenueWanted,
)
from desk.units import ZERO
from desk.venue import Instrument
from runtime.clock import NS_PER_MS, Clock

#: The pause before what never left is tried once more.
AGAIN_S = 0.1
#: Of how many calls the rate of errors is counted.
RECENT_MAX = 100
#: An answer within this time tells the venue's clock well enough; slower ones are asked for again, so often in all.
QUICK_NS, SKEW_TRIES_MAX = 50 * NS_PER_MS, 3
#: How often an account that moves is read before it is given up for now.
READS_MAX = 4

Answer = TypeVar("Answer")


class Tried(NamedTuple):
    """How a change ended: the words for execution, and what kept it from being answered, "" where it was."""

    words: tuple[VenueReport | OrdersFound, ...]
    failure: str = ""

    @property
    def is_answered(self) -> bool:
        """True where the venue answered."""
        return not self.failure


class Calls:
    """The calls of one gateway. Changes come from one thread and looks from another."""

    def __init__(
        self, port: VenuePort, symbols: tuple[str, ...], clock: Clock, pause: Callable[[float], object]
    ) -> None:
        """Take the port, the symbols whose instruments are asked for, and what lets a call wait (seconds)."""
        self._port, self._symbols, self._clock, self._pause = port, symbols, clock, pause
        self._instruments: Any = None
        self._guard = threading.Lock()
        self._counts: Counter[str] = Counter()
        #: Of the last calls, which ended without an answer.
        self._recent: deque[bool] = deque(maxlen=RECENT_MAX)
        #: From when on (venue time) execution last asked for executions.
        self.since_ns = 0

    def figures(self) -> tuple[dict[str, int], float]:
        """Give how many calls of each kind there were, and which share of the last ones got no answer."""
        with self._guard:
            return dict(self._counts), sum(self._recent) / max(1, len(self._recent))

    def trade(self, symbols: tuple[str, ...]) -> None:
        """Ask for the instruments of these symbols from the next snapshot on."""
        self._symbols, self._instruments = symbols, None

    # --- changes ------------------------------------------------------------------------------

    def submit(self, order: SubmitOrder) -> Tried:
        """Place an order, unless its deadline has passed."""
        order_id = order.order_id
        try:
            if self._is_late(order):
                return self._too_late(order)
            answer = self._try("submit", lambda: self._port.submit(order), lambda: not self._is_late(order))
        except VenueError as error:
            if isinstance(error, NotSentError) and self._is_late(order):
                return self._too_late(order)
            return Tried((OrderUnclear(0, order_id, str(error), self._now_ns()),), str(error))
        if isinstance(answer, Accepted):
            return Tried((OrderAccepted(0, order_id, answer.venue_order_id, self._now_ns()),))
        if answer.is_duplicate:
            return self._what_became_of(order_id, OrderUnclear(0, order_id, answer.reason, self._now_ns()))
        return Tried((OrderRejected(0, order_id, answer.reason, self._now_ns(), answer.is_deadline),))

    def cancel(self, order: CancelOrder) -> Tried:
        """Cancel an order. That it was cancelled is told together with all that it traded before."""
        order_id = order.order_id
        try:
            answer = self._try("cancel", lambda: self._port.cancel(order_id, order.venue_order_id))
        except VenueError as error:
            return Tried((CancelUnclear(0, order_id, str(error), self._now_ns()),), str(error))
        if isinstance(answer, Refused):
            return Tried((CancelRejected(0, order_id, answer.reason, self._now_ns()),))
        unclear = CancelUnclear(0, order_id, "cancelled, but what it traded before is not known", self._now_ns())
        return self._what_became_of(order_id, unclear)

    def replace(self, order: ReplaceOrder) -> Tried:
        """Give an open order other figures."""
        order_id = order.order_id
        try:
            answer = self._try("replace", lambda: self._port.replace(order))
        except NotSentError as error:
            return Tried((ReplaceRejected(0, order_id, f"not sent: {error}", self._now_ns()),), str(error))
        except VenueError as error:
            return Tried((OrderUnclear(0, order_id, str(error), self._now_ns()),), str(error))
        if isinstance(answer, Refused):
            return Tried((ReplaceRejected(0, order_id, answer.reason, self._now_ns()),))
        replaced = OrderReplaced(0, order_id, answer.venue_order_id, order.quantity, order.price, self._now_ns())
        return Tried((replaced,))

    def _try(self, name: str, call: Callable[[], Answer], may_repeat: Callable[[], bool] = lambda: True) -> Answer:
        """Call; what never left is tried once more after a pause.

        Raises:
            NotSentError: It did not leave the second time either.
            UnclearError: Nobody knows. A defect of the adapter is that too.
        """
        try:
            return self._counted(name, call)
        except NotSentError:
            self._pause(AGAIN_S)  # on the line's own thread; the room does not wait
            if not may_repeat():
                raise
        return self._counted(name, call)

    def _counted(self, name: str, call: Callable[[], Answer]) -> Answer:
        has_failed = True
        try:
            answer = call()
            has_failed = False
        except VenueError:
            raise
        except Exception as error:
            msg = f"defect of the adapter in {name}: {type(error).__name__}: {error}"
            raise UnclearError(msg) from error
        finally:
            with self._guard:
                self._counts[name] += 1
                self._recent.append(has_failed)
        return answer

    def _is_late(self, order: SubmitOrder) -> bool:
        return 0 < order.deadline_ns <= self._now_ns()

    def _too_late(self, order: SubmitOrder) -> Tried:
        reason = "DEADLINE: it was not sent, for its deadline had passed"
        return Tried((OrderRejected(0, order.order_id, reason, self._now_ns(), is_deadline=True),))

    def _what_became_of(self, order_id: str, otherwise: VenueReport) -> Tried:
        """Look an order up that the venue has, and tell all of it; ``otherwise`` where that cannot be done."""
        try:
            found = self._found(OrdersWanted(0, (order_id,), self.since_ns))
        except VenueError as error:
            return Tried((otherwise,), str(error))
        return Tried((found,) if found.orders else (otherwise,))

    # --- looks --------------------------------------------------------------------------------

    def find(self, wanted: OrdersWanted) -> OrdersFound:
        """Find out what became of orders; without every answer there is none, only the failure."""
        try:
            return self._found(wanted)
        except VenueError as error:
            return OrdersFound(wanted.query, (), (), (), 0, str(error) or "the venue cannot be asked")

    def _found(self, wanted: OrdersWanted) -> OrdersFound:
        self.since_ns = max(self.since_ns, wanted.since_ns)
        asked_ns = self._look("now", self._port.now_ns)
        orders = self._look("find", lambda: self._port.find(wanted.order_ids))
        has_traded = any(order.filled_quantity > ZERO for order in orders)
        fills = self._look("fills", lambda: self._port.fills(wanted.since_ns)) if has_traded else ()
        there = {order.order_id for order in orders}
        absent = tuple(order_id for order_id in wanted.order_ids if order_id not in there)
        return OrdersFound(wanted.query, orders, absent, fills, asked_ns)

    def snapshot(self, wanted: VenueWanted) -> VenueSnapshot:
        """Read the whole account: orders, executions and holdings that belong together."""
        self.since_ns = max(self.since_ns, wanted.since_ns)
        try:
            return self._snapshot(wanted)
        except VenueError as error:
            failure = str(error) or "the venue cannot be asked"
            return VenueSnapshot(wanted.query, (), {}, ZERO, (), self._now_ns(), failure=failure)

    def _snapshot(self, wanted: VenueWanted) -> VenueSnapshot:
        instruments = self._demands()
        venue_ns, skew_ns = self._measure_skew()
        held = self._look("holdings", self._port.holdings)
        for _ in range(READS_MAX):
            orders = self._look("open_orders", self._port.open_orders)
            fills = self._look("fills", lambda: self._port.fills(wanted.since_ns))
            held, before = self._look("holdings", self._port.holdings), held
            if held.positions == before.positions and held.cash == before.cash:
                break
        else:
            msg = f"the account moved in each of {READS_MAX} looks at it"
            raise UnreachableError(msg)
        return VenueSnapshot(
            wanted.query,
            orders,
            held.positions,
            held.cash,
            fills,
            self._now_ns(),
            account=held.account,
            venue_ns=venue_ns,
            skew_ns=skew_ns,
            instruments=instruments,
        )

    def _demands(self) -> tuple[Instrument, ...]:
        """Give what the venue demands of orders, asked for once."""
        if self._instruments is None:
            self._instruments = self._look("instruments", lambda: self._port.instruments(self._symbols))
        return self._instruments

    def _measure_skew(self) -> tuple[int, int]:
        """Give the venue's time, and how far it is ahead of ours: known to half the time of the quickest answer."""
        best = (0, 0)
        quickest_ns: int | None = None
        for _ in range(SKEW_TRIES_MAX):
            before_ns = self._now_ns()
            venue_ns = self._look("now", self._port.now_ns)
            after_ns = self._now_ns()
            if quickest_ns is None or after_ns - before_ns < quickest_ns:
                quickest_ns, best = after_ns - before_ns, (venue_ns, venue_ns - (before_ns + after_ns) // 2)
            if quickest_ns <= QUICK_NS:
                break
        return best

    def _look(self, name: str, call: Callable[[], Any]) -> Any:
        return with_figures(self._counted(name, call))

    def _now_ns(self) -> int:
        return self._clock.wall_ns()
