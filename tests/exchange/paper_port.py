"""The paper venue's book as a venue port, so that it is held to the same contract."""

import threading
from collections.abc import Sequence

from actors.venues.port import Accepted, Holdings, NotSentError, Refused, UnreachableError
from desk.messages import (
    CancelOrder,
    CancelRejected,
    OrderFilled,
    OrderRejected,
    ReplaceOrder,
    SubmitOrder,
    Tick,
    VenueOrder,
    VenueReport,
)
from desk.simulation.matching import Outcome, PaperBook
from desk.venue import PAPER, Instrument, VenueTraits


class PaperPort:
    """A port to a book in this process. Its time is the market's: the time of the last price shown."""

    def __init__(self, book: PaperBook) -> None:
        """Take the book; nobody else gives it orders."""
        self._book = book
        self._fills: list[OrderFilled] = []
        self._told: list[VenueReport] = []
        self._news = threading.Condition()
        self._market_ns = 0
        self._is_closed = False

    def show(self, symbol: str, price: float) -> None:
        """Show a price of the market; what it reaches trades."""
        self._market_ns += 1
        self._book_reports(self._book.on_event(Tick(symbol, self._market_ns, price)))

    @property
    def traits(self) -> VenueTraits:
        """See the port."""
        return PAPER

    def submit(self, order: SubmitOrder) -> Accepted | Refused:
        """See the port."""
        self._require_open(NotSentError)
        outcome = self._book.submit(order, ts_ns=self._market_ns)
        if not outcome.reports:
            return Refused("the id is known", is_duplicate=True)
        self._book_reports(outcome)
        first = outcome.reports[0]
        if isinstance(first, OrderRejected):
            return Refused(first.reason)
        return Accepted(f"paper-{order.order_id}")

    def cancel(self, order_id: str, venue_order_id: str) -> Accepted | Refused:
        """See the port."""
        self._require_open(NotSentError)
        outcome = self._book.cancel(CancelOrder(order_id, "asked for"), ts_ns=self._market_ns)
        first = outcome.reports[0]
        if isinstance(first, CancelRejected):
            return Refused(first.reason, is_gone=True)
        self._book_reports(outcome)
        return Accepted(venue_order_id)

    def replace(self, order: ReplaceOrder) -> Accepted | Refused:
        """Refuse: the paper venue changes no order in place."""
        return Refused(f"order {order.order_id}: nothing is replaced here")

    def now_ns(self) -> int:
        """See the port."""
        self._require_open(UnreachableError)
        return self._market_ns

    def find(self, order_ids: Sequence[str]) -> tuple[VenueOrder, ...]:
        """See the port."""
        self._require_open(UnreachableError)
        return tuple(order for each in order_ids if (order := self._book.venue_order(each)) is not None)

    def open_orders(self) -> tuple[VenueOrder, ...]:
        """See the port."""
        self._require_open(UnreachableError)
        return self._book.snapshot().orders

    def fills(self, since_ns: int) -> tuple[OrderFilled, ...]:
        """See the port."""
        self._require_open(UnreachableError)
        return tuple(fill for fill in self._fills if fill.ts_ns >= since_ns)

    def holdings(self) -> Holdings:
        """See the port."""
        self._require_open(UnreachableError)
        return Holdings("paper", self._book.positions, self._book.cash, self._market_ns)

    def instruments(self, symbols: Sequence[str]) -> tuple[Instrument, ...]:
        """See the port."""
        self._require_open(UnreachableError)
        return tuple(Instrument(symbol=symbol) for symbol in symbols if self._book.last_event(symbol) is not None)

    def reports(self, timeout_s: float) -> tuple[VenueReport, ...]:
        """See the port."""
        self._require_open(UnreachableError)
        with self._news:
            self._news.wait_for(lambda: self._told or self._is_closed, timeout_s)
            told, self._told = tuple(self._told), []
        return told

    def close(self) -> None:
        """See the port."""
        with self._news:
            self._is_closed = True
            self._news.notify_all()

    def _book_reports(self, outcome: Outcome) -> None:
        with self._news:
            self._fills += [report for report in outcome.reports if isinstance(report, OrderFilled)]
            self._told += outcome.reports
            self._news.notify_all()

    def _require_open(self, kind: type[NotSentError | UnreachableError]) -> None:
        if self._is_closed:
            msg = "the port is closed"
            raise kind(msg)
