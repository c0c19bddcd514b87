"""Compare our books with a venue's: pure, and never a reason to trade.

The venue is the truth for quantity, never for ownership: what our books do not explain belongs under EXTERNAL. Where
the two are too far apart nothing is booked either, and nothing may be opened before a person has looked.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from enum import StrEnum

import msgspec

from desk.messages import Order, OrderFilled, OrderState, VenueOrder, VenueSnapshot
from desk.order import OPEN, TERMINAL
from desk.portfolio import EXTERNAL, Ledger
from desk.units import NS_PER_S, ZERO
from desk.venue import Instrument

#: States in which the venue has confirmed the order and must know it.
CONFIRMED = OPEN | {OrderState.PENDING_CANCEL}
#: Names that ``desk.identity`` gives to orders and attempts.
OUR_NAME = re.compile(r"[oc][0-9a-f]{16}")
#: Two sums of money that differ by less are the same: a venue may round where we do not.
CASH_TOLERANCE = Decimal("0.000001")
#: What the account's money is called among what differs.
CASH = "cash"


class ReconciliationError(Exception):
    """The books and the venue are too far apart to trade on."""


class Kind(StrEnum):
    """What differs. Which of them stop the desk, and from what measure on, ``reconcile`` says."""

    MISSING_BROKER = "missing_broker"
    MISSING_LOCAL = "missing_local"
    QUANTITY_MISMATCH = "quantity_mismatch"
    CASH_MISMATCH = "cash_mismatch"
    SETTLING = "settling"
    DUST = "dust"
    FEE_IN_KIND = "fee_in_kind"
    EXTERNAL_MOVED = "external_moved"
    EXTERNAL_ORDER = "external_order"
    FINISHED_BUT_OPEN = "finished_but_open"
    GHOST_ATTEMPT = "ghost_attempt"
    TERMS_DIFFER = "terms_differ"
    FILL_MISSING = "fill_missing"


class Difference(msgspec.Struct, frozen=True):
    """One difference. ``what`` is a symbol or an order's client id; ``ours`` and ``theirs`` are figures or words.

    ``drift`` is |ours - theirs| / max(|ours|, |theirs|) of quantities that both sides have, else 0.
    """

    kind: Kind
    what: str
    ours: str
    theirs: str
    drift: Decimal = ZERO
    is_order: bool = False

    @property
    def text(self) -> str:
        """The difference in one line."""
        far = f", drift {self.drift:.1%}" if self.drift else ""
        return f"{self.kind.value} {self.what}: ours {self.ours or 'none'}, venue {self.theirs or 'none'}{far}"


class Tolerance(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How far an account's books may be from its venue's.

    More than ``missing_max`` things missing on one side, or more than ``drift_max`` of a quantity, and trading stops.
    ``settling_ns`` is how long after a fill a venue may still show what it held before. ``cash_max`` is the most that
    cash may differ by; None is nothing where the account is ours alone, and does not compare it elsewhere.
    """

    missing_max: int = 3
    drift_max: Decimal = Decimal("0.05")
    settling_ns: int = 2 * NS_PER_S
    cash_max: Decimal | None = None


class Finding(msgspec.Struct, frozen=True):
    """What a comparison found. ``against_trading`` is empty where trading may go on.

    ``bookings`` (symbol, signed quantity) make the books agree with the venue under EXTERNAL: all of them where
    trading may go on, or where a person accepts them. ``unwanted`` are open orders of ours that must not stay so; to
    cancel them is all that may be done. ``strangers`` are open orders of other hands, which nobody here touches.
    ``incomplete`` are orders of ours of which the venue has executed more than it has told. ``quantities`` is what the
    venue has more than we, by symbol or ``CASH``, as far as it is neither dust nor explained by executions on their
    way.
    """

    text: str
    against_trading: str
    differences: tuple[Difference, ...]
    bookings: tuple[tuple[str, Decimal], ...] = ()
    unwanted: tuple[VenueOrder, ...] = ()
    strangers: tuple[VenueOrder, ...] = ()
    incomplete: tuple[str, ...] = ()
    quantities: dict[str, Decimal] = {}

    def check(self) -> None:
        """Pass where trading may go on.

        Raises:
            ReconciliationError: It may not.
        """
        if self.against_trading:
            raise ReconciliationError(self.against_trading)


def reconcile(  # noqa: PLR0913 - all but two have defaults
    ledger: Ledger,
    snapshot: VenueSnapshot,
    *,
    seen: int = 0,
    named: Callable[[str], Order | None] | None = None,
    tolerance: Tolerance | None = None,
    prices: Mapping[str, Decimal] | None = None,
    is_cash_ours: bool = False,
    seen_before: Mapping[str, Decimal] | None = None,
) -> Finding:
    """Compare positions, open orders and, where the account is ours alone, cash. Nothing is changed or traded.

    What explains itself does not count: executions that the venue reports and we have not booked yet, those that are so
    fresh that its positions may not show them, fees that it took in what was bought, and less than its least order.

    Args:
        ledger: Our books.
        snapshot: What the venue holds; it has been asked successfully.
        seen: The last numbered report that is booked; executions behind it explain themselves.
        named: Finds the order of which a client id is an attempt; None where ids of orders are all there is.
        tolerance: The thresholds of the account.
        prices: The last prices known, by symbol; for what is less than the venue's least notional.
        is_cash_ours: Whether nobody else moves the account's cash, as at the paper venue, which hears of no deposits.
        seen_before: The ``quantities`` of an earlier look at a venue that answers piece by piece: only what differs as
            it did then counts, for an execution may come between two pieces. None where one look is enough.
    """
    assert not snapshot.failure, "a venue that could not be asked has no books to compare with"
    terms, named = tolerance or Tolerance(), named or ledger.order
    unread = [report for report in snapshot.unread if report.report > seen]
    pending = {
        report.execution_id: (order, report)
        for report in unread
        if isinstance(report, OrderFilled) and not ledger.has_execution(report.execution_id)
        if (order := named(report.order_id)) is not None
    }
    positions = _Positions(ledger, snapshot, _settling(snapshot, terms, named), prices or {}, seen_before)
    for order, report in pending.values():
        positions.expect(order.symbol, report.quantity * order.side.sign)
    differences, bookings, quantities = positions.compare()
    cash_max = CASH_TOLERANCE if is_cash_ours and terms.cash_max is None else terms.cash_max
    if cash_max is not None:
        expected = ledger.cash - ledger.deposits if is_cash_ours else ledger.cash
        for order, report in pending.values():
            expected -= order.side.sign * report.quantity * report.price + report.fee
        if abs(expected - snapshot.cash) > cash_max:
            quantities[CASH] = snapshot.cash - expected
            is_seen = seen_before is None or seen_before.get(CASH) == quantities[CASH]
            kind = Kind.CASH_MISMATCH if is_seen else Kind.SETTLING
            differences.append(Difference(kind, CASH, f"{expected}", f"{snapshot.cash}"))
    orders = _Orders(ledger, snapshot, {report.order_id for report in unread}, named)
    differences += orders.compare()
    against = _against(differences, terms)
    agree = f"ok: {len(ledger.net_quantities())} positions, {len(snapshot.orders)} orders agree"
    return Finding(
        text="; ".join(difference.text for difference in differences) or agree,
        against_trading=against,
        differences=tuple(differences),
        bookings=tuple(bookings),
        unwanted=tuple(orders.unwanted),
        strangers=tuple(orders.strangers),
        incomplete=tuple(orders.incomplete),
        quantities=quantities,
    )


def _against(differences: Iterable[Difference], terms: Tolerance) -> str:
    """Say why nothing may be opened on these differences, "" where it may."""
    faults: list[str] = []
    for kind in (Kind.MISSING_BROKER, Kind.MISSING_LOCAL):
        found = [one for one in differences if one.kind is kind]
        if len(found) > terms.missing_max:
            faults.append(f"{len(found)} {kind.value}, at most {terms.missing_max} are bearable")
    for one in differences:
        is_far = one.kind is Kind.QUANTITY_MISMATCH and one.drift > terms.drift_max
        is_gone = one.kind is Kind.MISSING_BROKER and not one.is_order
        if is_far or is_gone or one.kind in {Kind.CASH_MISMATCH, Kind.GHOST_ATTEMPT}:
            faults.append(one.text)
    return f"books and venue differ: {'; '.join(faults)}" if faults else ""


class _Positions:
    """The quantities of both sides, symbol by symbol."""

    def __init__(
        self,
        ledger: Ledger,
        snapshot: VenueSnapshot,
        settling: Mapping[str, Decimal],
        prices: Mapping[str, Decimal],
        seen_before: Mapping[str, Decimal] | None,
    ) -> None:
        self._seen_before = seen_before
        self._ledger, self._theirs, self._settling, self._prices = ledger, snapshot.positions, settling, prices
        self._ours = ledger.venue_quantities()
        self._instruments: dict[str, Instrument] = {one.symbol: one for one in snapshot.instruments}
        self._external = {held.symbol: held.quantity for held in ledger.positions_of(EXTERNAL)}

    def expect(self, symbol: str, signed: Decimal) -> None:
        """Count an execution that will be booked."""
        self._ours[symbol] = self._ours.get(symbol, ZERO) + signed

    def compare(self) -> tuple[list[Difference], list[tuple[str, Decimal]], dict[str, Decimal]]:
        """Give every difference, what would have to be booked, and what a second look has to find again."""
        differences: list[Difference] = []
        bookings: list[tuple[str, Decimal]] = []
        quantities: dict[str, Decimal] = {}
        for symbol in sorted(self._ours.keys() | self._theirs.keys()):
            ours, theirs = self._ours.get(symbol, ZERO), self._theirs.get(symbol, ZERO)
            if ours == theirs:
                continue
            kind = self._kind(symbol, ours, theirs)
            if kind not in {Kind.SETTLING, Kind.DUST}:
                quantities[symbol] = theirs - ours
                if self._seen_before is not None and self._seen_before.get(symbol) != theirs - ours:
                    kind = Kind.SETTLING
            drift = abs(ours - theirs) / max(abs(ours), abs(theirs)) if kind is Kind.QUANTITY_MISMATCH else ZERO
            differences.append(Difference(kind, symbol, f"{ours}", f"{theirs}", drift))
            if kind not in {Kind.SETTLING, Kind.DUST}:
                bookings.append((symbol, theirs - ours))
        return differences, bookings, quantities

    def _kind(self, symbol: str, ours: Decimal, theirs: Decimal) -> Kind:
        missing = ours - theirs
        own = ours - self._external.get(symbol, ZERO)
        if abs(missing) <= self._settling.get(symbol, ZERO):
            return Kind.SETTLING
        if self._is_dust(symbol, missing):
            return Kind.DUST
        if ZERO < missing <= self._fees_in_kind(symbol):
            return Kind.FEE_IN_KIND
        if ours == ZERO or self._is_dust(symbol, ours):
            return Kind.MISSING_LOCAL
        if own == ZERO:
            return Kind.EXTERNAL_MOVED
        is_gone = theirs == ZERO or self._is_dust(symbol, theirs)
        return Kind.MISSING_BROKER if is_gone else Kind.QUANTITY_MISMATCH

    def _fees_in_kind(self, symbol: str) -> Decimal:
        """Give the most that fees may have taken of what is held: they never explain that all of it is gone.

        A venue that takes them in money never books anything here, so the fees of its fills add up for ever. Only those
        of what is held can be missing from it; twice as much, for what was sold of it took its share of them along.
        """
        held = self._ledger.positions.values()
        own = sum((one.entry_fees / one.average_price for one in held if one.symbol == symbol and one.entry_fees), ZERO)
        return min(self._ledger.base_fees(symbol), 2 * own)

    def _is_dust(self, symbol: str, quantity: Decimal) -> bool:
        """Say whether a quantity is less than the venue would trade."""
        instrument = self._instruments.get(symbol)
        if instrument is None:
            return False
        if abs(quantity) < instrument.quantity_min:
            return True
        price = self._prices.get(symbol)
        return price is not None and abs(quantity) * price < instrument.notional_min


def _settling(snapshot: VenueSnapshot, terms: Tolerance, named: Callable[[str], Order | None]) -> dict[str, Decimal]:
    """Give how much of each symbol was traded so shortly before the venue was asked that it may not show it yet."""
    found: dict[str, Decimal] = {}
    since_ns = snapshot.venue_ns - terms.settling_ns if snapshot.venue_ns else None
    for report in snapshot.unread:
        if isinstance(report, OrderFilled) and since_ns is not None and report.ts_ns > since_ns:
            order = named(report.order_id)
            if order is not None:
                found[order.symbol] = found.get(order.symbol, ZERO) + report.quantity
    return found


class _Orders:
    """The orders of both sides, by client id. What is kept beside the differences is what ``compare`` came upon."""

    def __init__(
        self, ledger: Ledger, snapshot: VenueSnapshot, mentioned: set[str], named: Callable[[str], Order | None]
    ) -> None:
        self._ledger, self._mentioned, self._named = ledger, mentioned, named
        self._open = [theirs for theirs in snapshot.orders if theirs.state in OPEN]
        self._known_there = {theirs.order_id for theirs in snapshot.orders}
        self._instruments: dict[str, Instrument] = {one.symbol: one for one in snapshot.instruments}
        self.unwanted: list[VenueOrder] = []
        self.strangers: list[VenueOrder] = []
        self.incomplete: list[str] = []

    def compare(self) -> list[Difference]:
        """Give every difference."""
        differences = [
            Difference(Kind.MISSING_BROKER, order.client_id, _words(order), "", is_order=True)
            for order in self._ledger.working.values()
            if order.state in CONFIRMED
            and not {order.client_id, order.order_id} & (self._known_there | self._mentioned)
        ]
        for theirs in self._open:
            difference = self._look_at(theirs)
            if difference is not None:
                differences.append(difference)
        return differences

    def _look_at(self, theirs: VenueOrder) -> Difference | None:
        order = self._named(theirs.order_id) if theirs.order_id else None
        if order is None:
            self.strangers.append(theirs)
            is_ours = OUR_NAME.fullmatch(theirs.order_id) is not None
            name = theirs.order_id or theirs.venue_order_id
            kind = Kind.MISSING_LOCAL if is_ours else Kind.EXTERNAL_ORDER
            return Difference(kind, name, "", _words(theirs), is_order=True)
        if theirs.order_id in self._mentioned or order.order_id in self._mentioned:
            return None  # what became of it is on its way
        kind = self._fault(order, theirs)
        if kind is None:
            return None
        if kind is Kind.FILL_MISSING:
            self.incomplete.append(order.order_id)
        else:
            self.unwanted.append(theirs)
        return Difference(kind, theirs.order_id, _words(order), _words(theirs), is_order=True)

    def _fault(self, order: Order, theirs: VenueOrder) -> Kind | None:
        if order.state in TERMINAL:
            return Kind.FINISHED_BUT_OPEN
        if order.client_id != theirs.order_id:
            return Kind.GHOST_ATTEMPT
        if theirs.filled_quantity > order.filled_quantity:
            return Kind.FILL_MISSING
        if order.state not in OPEN:
            return None  # what it is to become is under way
        instrument = self._instruments.get(order.symbol, Instrument(symbol=order.symbol))
        price = order.level
        is_other_size = abs(theirs.quantity - order.quantity) > instrument.lot
        is_other_price = price is not None and theirs.price is not None and abs(theirs.price - price) > instrument.tick
        return Kind.TERMS_DIFFER if is_other_size or is_other_price else None


def _words(order: Order | VenueOrder) -> str:
    """Say in a few words what an order is."""
    if isinstance(order, VenueOrder):
        price, kind = order.price, order.type.value if order.type is not None else ""
    else:
        price, kind = order.level, order.type.value
    at = "" if price is None else f" at {price}"
    what = f"{order.side.value} {order.quantity} {order.symbol} {kind}{at}"
    return f"{what}, {order.filled_quantity} filled, {order.state.value}"
