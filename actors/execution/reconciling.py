"""Are the books the venue's? The verdict, the gate that it opens and closes, and what is booked under EXTERNAL."""

from decimal import Decimal
from typing import Any

from actors.execution.orders import Orders
from actors.execution.resolving import Resolver
from desk.messages import ExternalBooked, OrderState, VenueOrder, VenueSnapshot
from desk.reconcile import CONFIRMED, Finding, Tolerance, reconcile
from desk.units import NS_PER_S, ZERO, decimal_of
from desk.venue import SKEW_NS_MAX
from runtime.clock import Clock
from runtime.effects import Effects
from runtime.log import Log

REASON_TERMS_DIFFER = "TERMS_DIFFER: the venue has it with other figures"
#: The timer behind which the venue is asked once more.
ASK = "ask"
#: When a venue that answers piece by piece is looked at again for what differed.
LOOK_AGAIN_NS = 3 * NS_PER_S
REASON_LOOK_AGAIN = "books and venue differ at a first look; a second one comes in seconds"
#: Differences and orders of others that the status shows; the journal has all of them.
SHOWN_MAX = 20


class Reconciler:
    """Compares, says, closes the gate. It never trades: it books what the venue has, and cancels what is not wanted.

    ``gate`` says why nothing may be opened, "" where it may; ``verdict`` is the outcome of the last comparison.
    """

    def __init__(
        self, orders: Orders, resolver: Resolver, clock: Clock, log: Log, tolerance: Tolerance | None = None
    ) -> None:
        """Nothing is reconciled before the first answer of the venue."""
        self._orders, self._journal, self._resolver = orders, orders.journal, resolver
        self._clock, self._log = clock, log
        self._tolerance = tolerance or Tolerance()
        self._prices: dict[str, Decimal] = {}
        self._finding: Finding | None = None
        self._compared_ns = 0
        self._quantities: dict[str, Decimal] = {}
        self.is_reconciled = False
        self.gate = "not reconciled yet"
        self.verdict = ""

    def tolerate(self, tolerance: Tolerance) -> None:
        """Hold to other thresholds from the next comparison on."""
        self._tolerance = tolerance

    def mark(self, symbol: str, price: float) -> None:
        """Note a symbol's last price: what is found at the venue is booked at it."""
        self._prices[symbol] = decimal_of(price)

    def lose_venue(self, why: str) -> None:
        """Close the gate until the venue has been compared anew."""
        self.is_reconciled, self.gate = False, why

    def facts(self) -> dict[str, Any]:
        """Say when the books were compared last, and what came of it; JSON values."""
        found = self._finding
        held = self._journal.ledger.external()
        return {
            "at_ns": self._compared_ns,
            "verdict": self.verdict,
            "against_trading": self.gate,
            "differences": [difference.text for difference in found.differences[:SHOWN_MAX]] if found else [],
            "differences_in_all": len(found.differences) if found else 0,
            "external": {one.symbol: str(one.quantity) for one in held},
            "external_orders": [_order_row(theirs) for theirs in found.strangers[:SHOWN_MAX]] if found else [],
        }

    # --- comparing ----------------------------------------------------------------------------

    def compare(self, snapshot: VenueSnapshot, seen: int, effects: Effects, *, is_accepted: bool = False) -> None:
        """Compare the books with the venue's, counting what it has said and we have not booked yet.

        Differences of quantity within the thresholds are booked under EXTERNAL; with ``is_accepted`` all are, because
        a person has looked at them.

        Raises:
            InvariantError: Our own books contradict themselves; the desk is halted.
        """
        if snapshot.failure:
            self._close(f"the venue cannot be asked: {snapshot.failure}")
            return
        self._journal.audit()
        if self._orders.traits.is_remote:
            self._doubt_what_is_missing(snapshot, effects)
        before = self._quantities if self._orders.traits.is_remote and not is_accepted else None
        finding = self._found(snapshot, seen, before)
        self._quantities = finding.quantities
        if finding.differences:
            self._journal.note("reconciliation", finding.text, self._orders.market_ns, effects)
        if finding.bookings and (is_accepted or not finding.against_trading):
            self._book(finding, snapshot.account, effects)
            after = self._found(snapshot, seen, before)
            assert not after.bookings, "what was booked differs no more"
            against = after.against_trading
        else:
            against = finding.against_trading
        if before is not None and any(before.get(name) != figure for name, figure in finding.quantities.items()):
            effects.timer(ASK, self._clock.monotonic_ns() + LOOK_AGAIN_NS)
            against = against or (REASON_LOOK_AGAIN if self.gate else "")  # what trades goes on trading for now
        for theirs in finding.unwanted:
            self._end(theirs, effects)
        for order_id in finding.incomplete:
            self._resolver.doubt(order_id, effects)
        self._conclude(finding, against or self._against_clock(snapshot))

    def _found(self, snapshot: VenueSnapshot, seen: int, seen_before: dict[str, Decimal] | None) -> Finding:
        return reconcile(
            self._journal.ledger,
            snapshot,
            seen=seen,
            named=self._journal.named,
            tolerance=self._tolerance,
            prices=self._prices,
            is_cash_ours=not self._orders.traits.is_remote,
            seen_before=seen_before,
        )

    def _against_clock(self, snapshot: VenueSnapshot) -> str:
        if not self._orders.traits.has_deadline or abs(snapshot.skew_ns) <= SKEW_NS_MAX:
            return ""
        ahead_ms = snapshot.skew_ns // 1_000_000
        return f"the venue's clock is {ahead_ms} ms ahead of ours: a deadline would be no fence"

    def _conclude(self, finding: Finding, against: str) -> None:
        was = self.gate
        self.is_reconciled, self.gate, self.verdict = True, against, finding.text
        self._finding, self._compared_ns = finding, self._clock.wall_ns()
        if was != self.gate:
            self._log.info("reconciled", verdict=finding.text, gate=self.gate or "open")

    def _doubt_what_is_missing(self, snapshot: VenueSnapshot, effects: Effects) -> None:
        """Ask for each order that should be open and is not: it ended while nobody listened."""
        open_there = {theirs.order_id for theirs in snapshot.orders}
        for order in self._orders.working():
            if order.state in CONFIRMED | {OrderState.PENDING_REPLACE} and order.client_id not in open_there:
                self._resolver.doubt(order.order_id, effects)

    def _close(self, why: str) -> None:
        if not self.verdict:
            self.verdict = why  # the first reconciliation has a verdict: against trading
        if self.gate != why:
            self._log.warning("reconcile.failed", why=why)
        self.is_reconciled, self.gate = True, why

    # --- what follows -------------------------------------------------------------------------

    def _book(self, finding: Finding, account: str, effects: Effects) -> None:
        """Keep under EXTERNAL what the venue has more, or less, than our books explain."""
        kinds = {difference.what: difference.kind.value for difference in finding.differences}
        for symbol, quantity in finding.bookings:
            self._journal.write(
                ExternalBooked(
                    symbol,
                    quantity,
                    self.price_of(symbol),
                    self._orders.venue,
                    account,
                    kinds[symbol],
                    self._orders.market_ns,
                ),
                effects,
            )
            self._log.warning("external.booked", symbol=symbol, quantity=str(quantity), kind=kinds[symbol])

    def price_of(self, symbol: str) -> Decimal:
        """Give the last price of a symbol, else what somebody paid for it, else 0: then it counts as worth nothing."""
        price = self._prices.get(symbol)
        if price is not None and price > ZERO:
            return price
        held = self._journal.ledger.positions.values()
        return max((one.average_price for one in held if one.symbol == symbol), default=ZERO)

    def _end(self, theirs: VenueOrder, effects: Effects) -> None:
        """Cancel an open order of ours that must not stay so; what follows from its end is seen to elsewhere."""
        order = self._journal.named(theirs.order_id)
        assert order is not None, "an order of another hand is never touched"
        text = f"{theirs.order_id} is open at the venue as {theirs.quantity} {theirs.symbol}: it is cancelled"
        self._journal.note("unwanted_order", text, self._orders.market_ns, effects)
        if order.order_id in self._journal.ledger.working and order.client_id == theirs.order_id:
            self._orders.cancel(order, REASON_TERMS_DIFFER, effects)
        else:
            self._orders.cancel_stranger(theirs.order_id, theirs.venue_order_id, effects)


def _order_row(order: VenueOrder) -> dict[str, Any]:
    """Give an order of another hand as JSON."""
    return {
        "venue_order_id": order.venue_order_id,
        "client_id": order.order_id,
        "symbol": order.symbol,
        "side": order.side.value,
        "quantity": str(order.quantity),
        "price": None if order.price is None else str(order.price),
    }
