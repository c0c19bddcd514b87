"""Which executions are booked, and as what: a venue tells of one as often as it likes, and the books take it once."""

from typing import Protocol

from desk.holdings import HORIZON_DEFAULT
from desk.messages import FillBooked, Order, OrderFilled, Purpose

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
