"""The states of an order as a table, and the one way from a state to the next."""

from collections.abc import Container
from decimal import Decimal

from msgspec.structs import replace

from desk.messages import Order, OrderState
from desk.units import ZERO

S = OrderState

#: The reason that an order bears when its time ran out.
REASON_TTL = "TTL"

#: From each state, the states that may follow. A state without followers is terminal: a fill that raced the
#: cancel is an event of the ledger, and changes figures only. UNKNOWN is left on evidence of the venue (or by
#: an operator), never by a timer; it becomes PENDING again where the venue proved that an attempt never arrived.
NEXT: dict[OrderState, frozenset[OrderState]] = {
    S.PENDING: frozenset({S.SUBMITTED, S.REJECTED, S.CANCELLED, S.UNKNOWN, S.PENDING_CANCEL}),
    S.SUBMITTED: frozenset(
        {
            S.PARTIALLY_FILLED,
            S.FILLED,
            S.CANCELLED,
            S.REJECTED,
            S.EXPIRED,
            S.UNKNOWN,
            S.PENDING_CANCEL,
            S.PENDING_REPLACE,
        }
    ),
    S.PARTIALLY_FILLED: frozenset(
        {
            S.PARTIALLY_FILLED,
            S.FILLED,
            S.CANCELLED,
            S.EXPIRED,
            S.UNKNOWN,
            S.PENDING_CANCEL,
            S.PENDING_REPLACE,
        }
    ),
    S.UNKNOWN: frozenset({S.PENDING, S.SUBMITTED, S.PARTIALLY_FILLED, S.FILLED, S.CANCELLED, S.REJECTED, S.EXPIRED}),
    S.PENDING_CANCEL: frozenset(
        {S.SUBMITTED, S.PARTIALLY_FILLED, S.FILLED, S.CANCELLED, S.REJECTED, S.EXPIRED, S.UNKNOWN}
    ),
    S.PENDING_REPLACE: frozenset({S.SUBMITTED, S.PARTIALLY_FILLED, S.FILLED, S.CANCELLED, S.EXPIRED, S.UNKNOWN}),
    S.FILLED: frozenset(),
    S.CANCELLED: frozenset(),
    S.REJECTED: frozenset(),
    S.EXPIRED: frozenset(),
}
assert set(NEXT) == set(OrderState), "every state must have a row"

TERMINAL: frozenset[OrderState] = frozenset(state for state, following in NEXT.items() if not following)
#: What rests at the venue with nothing asked of it: it may fill, and can be cancelled or changed.
OPEN: frozenset[OrderState] = frozenset({S.SUBMITTED, S.PARTIALLY_FILLED})
WORKING: frozenset[OrderState] = frozenset(OrderState) - TERMINAL

#: The transitions that need the venue's own id: from a state that the venue confirmed, every end that it
#: reports; from any state, the entry into one that it must have confirmed.
CONFIRMED: frozenset[tuple[OrderState, OrderState]] = frozenset(
    (before, after)
    for before, following in NEXT.items()
    for after in following
    if after in {S.SUBMITTED, S.PARTIALLY_FILLED, S.FILLED} or (before in OPEN and after in {S.CANCELLED, S.REJECTED})
)


class OrderStateMachineError(Exception):
    """An order was asked for what its life does not allow."""


class InvalidTransitionError(OrderStateMachineError):
    """The table has no such transition."""


class BrokerConfirmationRequiredError(OrderStateMachineError):
    """The transition needs the venue's id of the order, and none is known."""


class TerminalStateError(OrderStateMachineError):
    """The order is finished; its state never changes again."""


class DuplicateOrderError(OrderStateMachineError):
    """An order with this id exists already."""


def require_new(order: str, known: Container[str]) -> None:
    """Pass when the order id is not among the ``known`` ones.

    Raises:
        DuplicateOrderError: It is.
    """
    if order in known:
        msg = f"order {order} exists already"
        raise DuplicateOrderError(msg)


def _check_quantities(order: Order, to: OrderState, filled: Decimal, price: Decimal, fees: Decimal) -> None:
    for name, figure in (("filled quantity", filled), ("average price", price), ("fees", fees)):
        if not figure.is_finite():
            msg = f"order {order.order_id}: {name} {figure} is not a finite number"
            raise OrderStateMachineError(msg)
    if filled < order.filled_quantity:
        msg = f"order {order.order_id}: filled quantity would fall from {order.filled_quantity} to {filled}"
        raise OrderStateMachineError(msg)
    has_to_be_filled = to in {S.PARTIALLY_FILLED, S.FILLED} or filled != order.filled_quantity
    if has_to_be_filled and (filled <= ZERO or price <= ZERO):
        msg = f"order {order.order_id}: {to} needs a filled quantity and a price above 0, not {filled} at {price}"
        raise OrderStateMachineError(msg)
    if to is S.FILLED and filled < order.quantity:
        msg = f"order {order.order_id}: FILLED with {filled} of {order.quantity}"
        raise OrderStateMachineError(msg)


def advance(  # noqa: PLR0913 - the optional figures are what a transition may bring
    order: Order,
    to: OrderState,
    *,
    ts_ns: int,
    reason: str = "",
    venue_order_id: str = "",
    filled_quantity: Decimal | None = None,
    average_price: Decimal | None = None,
    fees: Decimal | None = None,
) -> Order:
    """Take an order to its next state, or say why it may not go there.

    Checks in this order: terminal, table, confirmation, quantities. Figures that are not given stay. More
    may be filled than was ordered: what the venue did is true.

    Args:
        order: The order as it is; it does not change.
        to: The wanted state.
        ts_ns: Market time of the change.
        reason: Why; "" keeps the order's reason.
        venue_order_id: The venue's name of the order; "" keeps the known one, which confirms as well.
        filled_quantity: Total filled so far, > 0, never less than before.
        average_price: Average price of all that is filled, > 0.
        fees: Total fees so far; negative where the venue pays.

    Raises:
        TerminalStateError: The order is finished.
        InvalidTransitionError: The table has no such transition.
        BrokerConfirmationRequiredError: The venue's id is needed and unknown.
        OrderStateMachineError: A figure is not finite, not above 0, or fell.
    """
    if order.state in TERMINAL:
        msg = f"order {order.order_id} is {order.state} for good and cannot become {to}"
        raise TerminalStateError(msg)
    if to not in NEXT[order.state]:
        msg = f"order {order.order_id} cannot go from {order.state} to {to}"
        raise InvalidTransitionError(msg)
    confirmation = venue_order_id or order.venue_order_id
    if not confirmation and (order.state, to) in CONFIRMED:
        msg = f"order {order.order_id} cannot go from {order.state} to {to} without the venue's order id"
        raise BrokerConfirmationRequiredError(msg)
    filled = order.filled_quantity if filled_quantity is None else filled_quantity
    price = order.average_price if average_price is None else average_price
    paid = order.fees if fees is None else fees
    _check_quantities(order, to, filled, price, paid)
    return replace(
        order,
        state=to,
        reason=reason or order.reason,
        venue_order_id=confirmation,
        filled_quantity=filled,
        average_price=price,
        fees=paid,
        changed_ns=ts_ns,
    )
