"""How many orders may wait for the venue, how long it takes, and when nothing more is opened there.

Depth counts the orders that are in the journal and not yet answered by the venue, whatever they are for. At the limit
a live desk refuses entries; in simulated time entries wait within the step until the venue has answered others.
"""

from collections.abc import Iterable
from typing import Any

from actors.execution.breaker import Breaker
from actors.execution.latency import Latencies
from actors.settings import ExecutionSettings
from desk.messages import Order, OrderState, OrderType, Purpose
from desk.order import TERMINAL
from desk.units import NS_PER_S, ZERO
from runtime.clock import Clock

#: What is asked for with each order: to look a member up in its class costs as much as several calls.
_ENTRY, _MARKET, _PENDING, _UNKNOWN = Purpose.ENTRY, OrderType.MARKET, OrderState.PENDING, OrderState.UNKNOWN


class Pace:
    """What execution knows of the venue's pace. It decides on entries only, and changes no order.

    ``has_breaker`` is False in simulated time: there the step itself waits for the venue's answers.
    """

    def __init__(
        self, settings: ExecutionSettings, clock: Clock, orders: Iterable[Order], *, has_breaker: bool = True
    ) -> None:
        """Count what the journal has; of what left before this start nobody knows when."""
        self._settings, self._clock = settings, clock
        self._breaker, self._latencies = Breaker(settings) if has_breaker else None, Latencies()
        self._unanswered = {order.order_id for order in orders if _is_unanswered(order)}
        self._left: dict[str, int] = {}
        self._unfilled: dict[str, int] = {}

    def reconfigure(self, settings: ExecutionSettings) -> None:
        """Take other limits from now on; a breaker that is open stays so until its time."""
        self._settings = settings
        if self._breaker is not None:
            self._breaker.settings = settings

    # --- following ----------------------------------------------------------------------------

    def leaves(self, order: Order) -> None:
        """Note that an attempt of an order leaves for the venue now."""
        now_ns = self._clock.monotonic_ns()
        self._left[order.order_id] = now_ns
        if order.type is _MARKET:
            self._unfilled.setdefault(order.order_id, now_ns)
        breaker = self._breaker
        if breaker is not None and breaker.why and order.purpose is _ENTRY:
            breaker.lets_pass(order.order_id, now_ns)

    def bear(self, orders: Iterable[Order]) -> None:
        """Take entries that were just journalled for the first time and leave now, while the breaker is closed."""
        left = dict.fromkeys([order.order_id for order in orders], self._clock.monotonic_ns())
        self._unanswered.update(left)
        self._left.update(left)
        self._unfilled.update({order.order_id: left[order.order_id] for order in orders if order.type is _MARKET})

    def follow(self, order: Order) -> None:
        """Take an order as it was just journalled."""
        if order.state is _PENDING:
            self._unanswered.add(order.order_id)
            return
        if _is_unanswered(order):
            self._unanswered.add(order.order_id)
        else:
            self._unanswered.discard(order.order_id)
        now_ns = self._clock.monotonic_ns()
        left_ns = self._left.pop(order.order_id, None)
        if left_ns is not None and order.state is not _UNKNOWN:
            self._latencies.answer.add(now_ns - left_ns)
            if self._breaker is not None:
                self._breaker.hear_answer(order.order_id, now_ns - left_ns, now_ns)
        if self._breaker is not None:
            self._breaker.lose(order.order_id)
        if order.filled_quantity > ZERO or order.state in TERMINAL:
            sent_ns = self._unfilled.pop(order.order_id, None)
            if sent_ns is not None and order.filled_quantity > ZERO:
                self._latencies.fill.add(now_ns - sent_ns)

    def hear_unclear(self, order: Order, why: str) -> None:
        """Note that an attempt which had left got no answer, or was refused only for coming too late."""
        self._left.pop(order.order_id, None)
        if self._breaker is not None:
            self._breaker.hear_unclear(f"{order.order_id}: {why}", self._clock.monotonic_ns())

    def pass_time(self, market_ns: int) -> dict[str, Any] | None:
        """Let the market's time be this; give the latencies of a session that ended by it."""
        return self._latencies.pass_time(market_ns)

    # --- asking -------------------------------------------------------------------------------

    @property
    def depth(self) -> int:
        """How many orders are in the journal and not yet answered by the venue."""
        return len(self._unanswered)

    def has_room(self) -> bool:
        """Say whether another order may leave for the venue: in simulated time an entry waits for this."""
        return len(self._left) < self._settings.queue_max

    def objection(self, order: Order) -> str:
        """Say why a live desk does not open anything now, "" where it may; ``order`` itself does not count."""
        depth, most = len(self._unanswered), self._settings.queue_max
        if depth >= most and (depth := depth - (order.order_id in self._unanswered)) >= most:
            return f"BACKPRESSURE: {depth} orders wait for the venue's answer, and queue_max is {most}"
        return self.breaker_objection()

    def welcome(self) -> int:
        """Say how many new entries in a row may leave now without objection; 0 while the breaker is not closed."""
        if self._breaker is not None:
            self._look()
            if self._breaker.why:
                return 0
        return max(0, self._settings.queue_max - len(self._unanswered))

    def breaker_objection(self) -> str:
        """Say why the breaker lets no entry leave now, "" where it does."""
        breaker = self._breaker
        if breaker is None:
            return ""
        now_ns = self._look()  # which may open it
        return breaker.objection(now_ns) if breaker.why else ""

    def facts(self) -> dict[str, Any]:
        """Give depth, breaker and latencies; plain values."""
        now_ns = self._look()
        return {
            "unanswered": self.depth,
            "queue_max": self._settings.queue_max,
            "breaker": self._breaker.facts(now_ns) if self._breaker is not None else {},
            "latency": self._latencies.facts(),
        }

    def _look(self) -> int:
        """Hear the breaker of an order that waits too long already; give the time."""
        now_ns = self._clock.monotonic_ns()
        if self._breaker is not None and self._left:
            order_id = next(iter(self._left))
            waited_ns = now_ns - self._left[order_id]
            if waited_ns > self._settings.breaker_latency_s * NS_PER_S:
                self._breaker.hear_slow(order_id, waited_ns, now_ns)
        return now_ns


def _is_unanswered(order: Order) -> bool:
    return order.state is _PENDING or (order.state is _UNKNOWN and not order.venue_order_id)
