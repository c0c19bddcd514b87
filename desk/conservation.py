"""What no event may break: money and quantity neither appear nor vanish, and an order is the sum of its executions."""

from decimal import Decimal

from desk.messages import Order, OrderState
from desk.units import ZERO


class InvariantError(ValueError):
    """Our own books contradict themselves: nothing may be traded on them before a person has looked."""


def check_books(cash: Decimal, capital: Decimal, realised: Decimal, open_cost: Decimal) -> None:
    """Pass where cash is capital + realised - open cost, to the last digit.

    Cash follows from the fills, realised from the trades, open cost from the positions: three ways to one figure.

    Raises:
        InvariantError: It is not.
    """
    expected = capital + realised - open_cost
    if cash != expected:
        msg = (
            f"cash is {cash}, but capital {capital} + realised {realised} - open cost {open_cost} is {expected}: "
            f"{cash - expected} too much"
        )
        raise InvariantError(msg)


def check_symbol(symbol: str, flow: Decimal, net: Decimal, dust: Decimal) -> None:
    """Pass where all that came in of a symbol is held, or is dust that closed positions left.

    Raises:
        InvariantError: It is not.
    """
    if flow != net + dust:
        msg = f"{flow} {symbol} came in, but positions hold {net} and dust is {dust}: {net + dust - flow} too much"
        raise InvariantError(msg)


def check_order(order: Order, known: Order | None, ahead: Decimal) -> Decimal:
    """Pass where an order's filled quantity grew by exactly what was booked on it since it was last heard of.

    Args:
        order: The order as it is now.
        known: The order as it was, None where it is new or was forgotten.
        ahead: What was booked since.

    Returns:
        What is still to be heard of: an order may first pass through SUBMITTED, which its fill proved.

    Raises:
        InvariantError: It counts more or less than its executions.
    """
    if known is None:
        return ZERO
    grown = order.filled_quantity - known.filled_quantity
    if grown == ahead:
        return ZERO
    if grown == ZERO and order.state is OrderState.SUBMITTED:
        return ahead
    msg = (
        f"order {order.order_id} says {order.filled_quantity} filled, {known.filled_quantity} before: "
        f"its executions since then come to {ahead}"
    )
    raise InvariantError(msg)
