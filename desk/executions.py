"""Which executions are booked, and as what: a venue tells of one as often as it likes, and the books take it once."""

from decimal import Decimal
from typing import Protocol

from desk.holdings import HORIZON_DEFAULT
from desk.messages import FillBooked, Order, OrderFilled, Purpose
from desk.units import ZERO

#: (venue, account, the venue's id): what names one execution in all the world.
Execution = tuple[str, str, str]


class Executions(Protocol):
    """A memory of executions, of whatever kind. What was once added is known for ever."""

    def knows(self, execution: Execution) -> bool:
        """Say whether it was added."""
        ...

    def add(self, execution: Execution) -> None:
        """Remember it; twice is as once."""
        ...


class ExecutionSet:
    """A memory that grows with the history."""

    def __init__(self) -> None:
        """Know none."""
        self._known: set[Execution] = set()

    def knows(self, execution: Execution) -> bool:
        """Say whether it was added."""
        return execution in self._known

    def add(self, execution: Execution) -> None:
        """Remember it."""
        self._known.add(execution)


class NoExecutions:
    """No memory: for a reader that takes in each record of the journal once, in order."""

    def knows(self, execution: Execution) -> bool:  # noqa: ARG002 - the contract names it
        """Say no."""
        return False

    def add(self, execution: Execution) -> None:
        """Forget it at once."""


def names_of(venue: str, account: str, execution_id: str) -> tuple[Execution, ...]:
    """Give every name under which this execution may be booked, its own first.

    Records of a desk that wrote down no venue, or no account, know executions by less; the id alone still counts.
    """
    return tuple(dict.fromkeys(((venue, account, execution_id), (venue, "", execution_id), ("", "", execution_id))))


def fault_of(quantity: Decimal, price: Decimal, fee: Decimal) -> str:
    """Say what is wrong with the figures of an execution, or "".

    Quantity and price are finite and above 0. A fee is finite; below 0 it is what the venue pays.
    """
    if not (quantity.is_finite() and quantity > ZERO):
        return f"quantity must be above 0, not {quantity}"
    if not (price.is_finite() and price > ZERO):
        return f"price must be above 0, not {price}"
    return "" if fee.is_finite() else f"fee must be a finite number, not {fee}"


def fill_of(order: Order, report: OrderFilled, venue: str, account: str) -> FillBooked:
    """Make what the books take in of one execution: the order says whose it is, the report how much for how much.

    Levels and horizon come with an entry only: what leaves a position changes neither. Nothing is checked here; the
    ledger refuses a figure that is none, and an execution that it has.

    Args:
        order: The order that the report names, as it was before.
        report: The execution. Its time is the market's.
        venue: The name of the venue's process; "" where none is written down.
        account: The account at that venue; "" where none is written down.
    """
    is_entry = order.purpose is Purpose.ENTRY
    return FillBooked(
        execution_id=report.execution_id,
        order_id=order.order_id,
        strategy=order.strategy,
        symbol=order.symbol,
        tag=order.tag,
        purpose=order.purpose,
        side=order.side,
        quantity=report.quantity,
        price=report.price,
        fee=report.fee,
        ts_ns=report.ts_ns,
        exit_reason=order.exit_reason,
        stop_loss=order.stop_loss if is_entry else None,
        take_profit=order.take_profit if is_entry else None,
        reference_price=order.reference_price,
        venue=venue,
        account=account,
        horizon=order.horizon if is_entry else HORIZON_DEFAULT,
    )
