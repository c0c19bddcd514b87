"""What a journal says about an exchange, held against what the exchange itself says: lost, duplicated, phantom."""

from collections import Counter
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import NamedTuple

from desk.messages import FillBooked, JournalRecord, Order, OrderChanged, OrderState, OrderType, ProtectiveStop, Purpose
from desk.portfolio import Ledger
from desk.transition import NEXT, TERMINAL
from desk.units import ZERO
from tests.exchange.client import LINK
from tests.exchange.wire import Dump, Execution, State, WireOrder

RESTING = frozenset({OrderState.SUBMITTED, OrderState.PARTIALLY_FILLED})
PROTECTIVE = frozenset({Purpose.STOP_LOSS, Purpose.TAKE_PROFIT})


class Claim(NamedTuple):
    """What somebody who sent an order says about it: under which names, how much at most, and how much traded."""

    names: frozenset[str]
    quantity: Decimal
    filled: Decimal


class Verdict(NamedTuple):
    """Which claims the exchange does not bear out: traded more than once, or not at all though they say so."""

    duplicated: tuple[str, ...]
    lost: tuple[str, ...]


def name_of(client_id: str) -> str:
    """Give the name under which an order was sent; a replacement at the exchange adds to it."""
    return client_id.partition(LINK)[0]


def try_claims(claims: dict[str, Claim], dump: Dump) -> Verdict:
    """Hold claims against the exchange's executions."""
    traded: Counter[str] = Counter()
    for execution in dump.executions:
        traded[name_of(execution.client_id)] += execution.quantity  # pyright: ignore[reportArgumentType]
    duplicated: list[str] = []
    lost: list[str] = []
    for key, claim in sorted(claims.items()):
        quantity = sum((Decimal(traded[name]) for name in claim.names), ZERO)
        if quantity > claim.quantity:
            duplicated.append(key)
        elif quantity != claim.filled:
            lost.append(key)
    return Verdict(tuple(duplicated), tuple(lost))


# --- the desk's books -----------------------------------------------------------------------------


class Books:
    """The journal, folded, with everything that the orders in it were ever called at the exchange."""

    def __init__(self, records: Iterable[JournalRecord] = ()) -> None:
        """Take these records in."""
        self.ledger = Ledger()
        self.orders: dict[str, Order] = {}
        self.fills: list[FillBooked] = []
        self.owner_of: dict[str, str] = {}
        self.faults: list[str] = []
        self.head = 0
        self.add(records)

    def add(self, records: Iterable[JournalRecord]) -> None:
        """Fold more records, and note where an order made a step that its life does not allow."""
        for record in records:
            self.head = record.sequence
            self.ledger.apply(record.body)
            if isinstance(record.body, FillBooked):
                self.fills.append(record.body)
            elif isinstance(record.body, OrderChanged):
                self._take(record.body)

    def _take(self, changed: OrderChanged) -> None:
        order = changed.order
        before = self.orders.get(order.order_id)
        was = before.state.value if before is not None else ""
        is_allowed = before is None or order.state is before.state or order.state in NEXT[before.state]
        if changed.previous != was or not is_allowed:
            self.faults.append(f"illegal: {order.order_id} went from {was} ({changed.previous}) to {order.state}")
        self.orders[order.order_id] = order
        self.owner_of[order.order_id] = self.owner_of[order.client_id] = order.order_id

    def claims(self) -> dict[str, Claim]:
        """Give what the journal says about each order."""
        names: dict[str, set[str]] = {}
        for name, order_id in self.owner_of.items():
            names.setdefault(order_id, set()).add(name)
        booked: dict[str, Decimal] = {}
        for fill in self.fills:
            booked[fill.order_id] = booked.get(fill.order_id, ZERO) + fill.quantity
        return {
            order_id: Claim(frozenset(names[order_id]), order.quantity, booked.get(order_id, ZERO))
            for order_id, order in self.orders.items()
        }


def faults(books: Books, dump: Dump) -> list[str]:
    """Say everything in which a desk that has come to rest and its exchange do not agree; [] where all is well."""
    verdict = try_claims(books.claims(), dump)
    ours = [order for order in dump.orders if not order.is_external]
    return [
        *books.faults,
        *(f"duplicated: {order_id} traded more than its quantity" for order_id in verdict.duplicated),
        *(f"lost: {order_id} traded otherwise than is booked" for order_id in verdict.lost),
        *_executions(books, dump),
        *_names(books, ours),
        *_intents(books),
        *_states(books, ours),
        *_positions(books, dump),
        *_protection(books, ours),
    ]


def _executions(books: Books, dump: Dump) -> Iterable[str]:
    """Each execution is booked exactly once, as it was, and none that was not."""
    theirs = {execution.execution_id: execution for execution in dump.executions if not execution.is_external}
    booked = Counter(fill.execution_id for fill in books.fills)
    yield from (f"lost: execution {name} is not booked" for name in theirs.keys() - booked.keys())
    yield from (f"phantom: execution {name} is booked and never was" for name in booked.keys() - theirs.keys())
    yield from (f"duplicated: execution {name} is booked {n} times" for name, n in booked.items() if n > 1)
    for fill in books.fills:
        execution = theirs.get(fill.execution_id)
        if execution is not None and not _is_same(books, fill, execution):
            yield f"phantom: execution {fill.execution_id} is booked as {fill}, and was {execution}"


def _is_same(books: Books, fill: FillBooked, execution: Execution) -> bool:
    return (
        books.owner_of.get(name_of(execution.client_id)) == fill.order_id
        and (fill.symbol, fill.side) == (execution.symbol, execution.side)
        and (fill.quantity, fill.price, fill.fee) == (execution.quantity, execution.price, execution.fee)
    )


def _names(books: Books, ours: Sequence[WireOrder]) -> Iterable[str]:
    """What is at the exchange was in the journal first, and no name was taken in twice."""
    yield from (
        f"phantom: {order.client_id} is at the exchange without a record"
        for order in ours
        if name_of(order.client_id) not in books.owner_of
    )
    used = Counter(order.client_id for order in ours)
    yield from (f"duplicated: the name {name} was taken in {n} times" for name, n in used.items() if n > 1)


def _intents(books: Books) -> Iterable[str]:
    """An intent is one order."""
    made = Counter(
        o.intent_id for o in books.orders.values() if o.purpose not in PROTECTIVE and o.exit_reason != "FLATTEN"
    )
    yield from (f"duplicated: intent {name} became {n} orders" for name, n in made.items() if n > 1)


def _states(books: Books, ours: Sequence[WireOrder]) -> Iterable[str]:
    """An order is finished on both sides, or rests on both with the same figures, or waits for a named reason."""
    open_there = {books.owner_of.get(name_of(o.client_id), ""): o for o in ours if o.state is State.OPEN}
    for order in books.orders.values():
        there = open_there.get(order.order_id)
        if order.state in TERMINAL and there is not None:
            yield f"lost: {order.order_id} is {order.state} and still open at the exchange"
        elif order.state in RESTING and there is None:
            yield f"phantom: {order.order_id} is {order.state} and not open at the exchange"
        elif order.state in RESTING and there is not None:
            here = (order.quantity, order.filled_quantity, order.limit_price, order.stop_price)
            if here != (there.quantity, there.filled, there.limit_price, there.stop_price):
                yield f"phantom: {order.order_id} is {here} and at the exchange {there}"
        elif order.state not in TERMINAL | RESTING and not (order.state is OrderState.UNKNOWN and order.reason):
            yield f"stuck: {order.order_id} ({order.purpose}) is {order.state}"


def _positions(books: Books, dump: Dump) -> Iterable[str]:
    """The sub-positions add up to what the account holds."""
    theirs = dict(dump.positions)
    for execution in dump.executions:
        if execution.is_external:
            theirs[execution.symbol] = theirs.get(execution.symbol, ZERO) - execution.quantity * execution.side.sign
    theirs = {symbol: quantity for symbol, quantity in theirs.items() if quantity}
    if dict(books.ledger.net_quantities()) != theirs:
        yield f"lost: the books hold {books.ledger.net_quantities()}, the account {theirs}"


def _protection(books: Books, ours: Sequence[WireOrder]) -> Iterable[str]:
    """Each protected position has exactly one resting stop, of its quantity, at its level; nothing else rests for it."""
    stops: dict[tuple[str, str, str], list[WireOrder]] = {}
    for there in ours:
        order = books.orders.get(books.owner_of.get(name_of(there.client_id), ""))
        if there.state is State.OPEN and order is not None and there.type is OrderType.STOP:
            stops.setdefault((order.strategy, order.symbol, order.tag), []).append(there)
    entries = {
        (order.strategy, order.symbol, order.tag): order
        for order in books.orders.values()
        if order.purpose is Purpose.ENTRY and order.filled_quantity
    }
    for key, position in books.ledger.positions.items():
        if key not in entries:
            yield f"lost: {key} holds {position.quantity}, and no order of ours bought it"
            continue
        is_native = entries[key].protective_stop is ProtectiveStop.VENUE
        resting = stops.pop(key, [])
        wanted = [(abs(position.quantity), position.stop_loss)] if is_native and position.stop_loss else []
        if [(stop.quantity - stop.filled, stop.stop_price) for stop in resting] != wanted:
            yield f"unprotected: {key} holds {position.quantity} and wants {wanted}, there rest {resting}"
    yield from (f"unprotected: {key} holds nothing, and there rest {resting}" for key, resting in stops.items())
