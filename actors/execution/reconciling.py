"""Are the books the venue's? The verdict, and the gate that it opens and closes."""

from actors.execution.orders import Orders
from actors.execution.resolving import Resolver
from desk.messages import OrderState, VenueSnapshot
from desk.reconcile import CONFIRMED, reconcile
from desk.venue import SKEW_NS_MAX
from runtime.effects import Effects
from runtime.log import Log


class Reconciler:
    """Compares, says, closes the gate. It never trades, and never changes what is held.

    ``gate`` says why nothing may be opened, "" where it may; ``verdict`` is the outcome of the last comparison.
    """

    def __init__(self, orders: Orders, resolver: Resolver, log: Log) -> None:
        """Nothing is reconciled before the first answer of the venue."""
        self._orders, self._journal, self._resolver, self._log = orders, orders.journal, resolver, log
        self.is_reconciled = False
        self.gate = "not reconciled yet"
        self.verdict = ""

    def lose_venue(self, why: str) -> None:
        """Close the gate until the venue has been compared anew."""
        self.is_reconciled, self.gate = False, why

    def compare(self, snapshot: VenueSnapshot, seen: int, effects: Effects) -> None:
        """Compare the books with the venue's, counting what it has said and we have not booked yet."""
        if snapshot.failure:
            self._close(f"the venue cannot be asked: {snapshot.failure}")
            return
        if self._orders.traits.is_remote:
            self._doubt_what_is_missing(snapshot, effects)
        finding = reconcile(self._journal.ledger, snapshot, seen)
        against = finding.against_trading
        if self._orders.traits.has_deadline and abs(snapshot.skew_ns) > SKEW_NS_MAX:
            ahead_ms = snapshot.skew_ns // 1_000_000
            against = against or f"the venue's clock is {ahead_ms} ms ahead of ours: a deadline would be no fence"
        was = self.gate
        self.is_reconciled, self.gate, self.verdict = True, against, finding.text
        if finding.differences:
            self._journal.note("reconciliation", finding.text, self._orders.market_ns, effects)
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
