"""The way to the exchange of the tests, and two ways with a fault built in, which the harness has to convict."""

from collections.abc import Mapping, Sequence
from typing import Any

from typing_extensions import override

from actors.venues.port import Accepted, Refused
from desk.messages import OrderFilled, SubmitOrder, VenueReport
from tests.exchange.client import ExchangePort

SENDS_TWICE, BOOKS_NOTHING = "sends_twice", "books_nothing"


class SendsTwice(ExchangePort):
    """Sends each market order once more, as who retries without asking does."""

    @override
    def submit(self, order: SubmitOrder) -> Accepted | Refused:
        answer = super().submit(order)
        if order.limit_price is None and order.stop_price is None:
            super().submit(order)
        return answer


class BooksNothing(ExchangePort):
    """Keeps every third execution to itself."""

    @override
    def fills(self, since_ns: int) -> tuple[OrderFilled, ...]:
        return tuple(fill for fill in super().fills(since_ns) if _is_told(fill))

    @override
    def reports(self, timeout_s: float) -> tuple[VenueReport, ...]:
        told = super().reports(timeout_s)
        return tuple(report for report in told if not isinstance(report, OrderFilled) or _is_told(report))


def _is_told(fill: OrderFilled) -> bool:
    return int(fill.execution_id.removeprefix("E")) % 3 != 0


PLANTED = {"": ExchangePort, SENDS_TWICE: SendsTwice, BOOKS_NOTHING: BooksNothing}


def open_port(options: Mapping[str, Any]) -> ExchangePort:
    """Open a client of the exchange; option ``planted`` names the fault, "" or left out for none."""
    return PLANTED[str(options.get("planted", ""))](options)


__all__: Sequence[str] = ["open_port"]
