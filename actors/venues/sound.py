"""Are the figures of an answer figures? NaN and the infinite are no quantity, no price and no money.

One of them behind the gateway would end whoever counts with it, at each start anew.
"""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import TypeVar, cast

from actors.venues.port import Holdings, UnreachableError
from desk.messages import OrderCancelled, OrderFilled, OrderReplaced, VenueOrder
from desk.portfolio import fault_of_fill
from desk.units import ZERO
from desk.venue import Instrument

Answer = TypeVar("Answer")


def with_figures(answer: Answer) -> Answer:
    """Give an answer, or a sequence of answers, back where every figure in it is one.

    Raises:
        UnreachableError: One is none; such an answer is as good as no answer.
    """
    answers = cast("Sequence[object]", answer) if isinstance(answer, tuple | list) else (answer,)
    fault = next(filter(None, map(_fault, answers)), "")
    if fault:
        msg = f"the venue's answer has what is no figure: {fault}"
        raise UnreachableError(msg)
    return answer


def _fault(answer: object) -> str:
    if isinstance(answer, OrderFilled):
        fault = fault_of_fill(answer.quantity, answer.price, answer.fee)
        return f"execution {answer.execution_id} of {answer.order_id}: {fault}" if fault else ""
    for name, figure in _figures(answer):
        if figure is not None and not (figure.is_finite() and (figure >= ZERO or isinstance(answer, Holdings))):
            return f"{name} is {figure}"
    return ""


def _figures(answer: object) -> Iterator[tuple[str, Decimal | None]]:
    match answer:
        case VenueOrder():
            name = f"order {answer.order_id or answer.venue_order_id}"
            yield f"the quantity of {name}", answer.quantity
            yield f"what filled of {name}", answer.filled_quantity
            yield f"the price of {name}", answer.price
        case OrderReplaced():
            yield f"the quantity of order {answer.order_id}", answer.quantity
            yield f"the price of order {answer.order_id}", answer.price
        case OrderCancelled():
            yield f"what filled of order {answer.order_id}", answer.filled_quantity
        case Holdings():
            yield "the cash", answer.cash
            for symbol, quantity in answer.positions.items():
                yield f"the position in {symbol}", quantity
        case Instrument():
            for name in ("lot", "tick", "quantity_min", "notional_min"):
                yield f"the {name} of {answer.symbol}", getattr(answer, name)
        case _:
            pass
