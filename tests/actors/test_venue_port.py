"""Every port to a venue is held to the same contract, and ports that break it are found out."""

from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from typing_extensions import override

from actors.venues.port import Accepted, NotSentError, Refused, UnclearError, UnreachableError, VenuePort
from desk.messages import OrderCancelled, OrderFilled, ReplaceOrder, SubmitOrder, VenueOrder, VenueReport
from desk.simulation.matching import PaperBook
from desk.simulation.paper import PaperTerms
from tests.exchange import contract
from tests.exchange.client import ExchangePort, open_port
from tests.exchange.contract import Clause, Stand
from tests.exchange.hand import Exchange
from tests.exchange.paper_port import PaperPort

Kind = Callable[[dict[str, Any]], VenuePort]
VENUES = ("kraken", "alpaca", "paper")


@pytest.fixture(scope="module")
def exchanges() -> Iterator[dict[str, Exchange]]:
    with Exchange("kraken") as kraken, Exchange("alpaca") as alpaca:
        yield {"kraken": kraken, "alpaca": alpaca}


@pytest.fixture
def stand_of(exchanges: dict[str, Exchange]) -> Iterator[Callable[..., Stand]]:
    opened: list[VenuePort] = []

    def keep(port: VenuePort) -> VenuePort:
        opened.append(port)
        return port

    def build(venue: str, kind: Kind = open_port) -> Stand:
        if venue == "paper":
            return _paper_stand(keep)
        exchange = exchanges[venue]
        exchange.anew()
        exchange.mark(contract.SYMBOL, "100")

        def hasty(timeout_s: float) -> VenuePort:
            return keep(kind(exchange.options(timeout_s=timeout_s)))

        return Stand(keep(kind(exchange.options())), exchange.mark, exchange, hasty)

    yield build
    for port in opened:
        port.close()


def _paper_stand(keep: Callable[[VenuePort], VenuePort]) -> Stand:
    terms = PaperTerms(
        fill="close",
        slippage_bps=Decimal(0),
        maker_fee_bps=Decimal(1),
        taker_fee_bps=Decimal(2),
        starting_cash=Decimal(100_000),
    )
    port = PaperPort(PaperBook(terms))

    def show(symbol: str, price: str) -> None:
        port.show(symbol, float(price))

    def same(_timeout_s: float) -> VenuePort:
        return port

    show(contract.SYMBOL, "100")
    return Stand(keep(port), show, None, same)


def _cases(*groups: tuple[tuple[str, ...], Sequence[Clause]]) -> list[Any]:
    return [
        pytest.param(venue, clause, id=f"{venue}-{clause.__name__}")
        for venues, clauses in groups
        for venue in venues
        for clause in clauses
    ]


@pytest.mark.parametrize(
    ("venue", "clause"),
    _cases(
        (VENUES, contract.CLAUSES),
        (("kraken", "alpaca"), contract.REMOTE),
        (("kraken", "alpaca"), contract.REPLACING),
        (("kraken",), contract.DEADLINES),
        (("alpaca", "paper"), contract.GROUPS),
    ),
)
def test_the_port_keeps_the_clause(venue: str, clause: Clause, stand_of: Callable[..., Stand]) -> None:
    clause(stand_of(venue))


# --- ports that are wrong ---------------------------------------------------------------------


class SendsAgain(ExchangePort):
    """Takes a lost answer for a lost order."""

    @override
    def submit(self, order: SubmitOrder) -> Accepted | Refused:
        try:
            return super().submit(order)
        except UnclearError:
            return super().submit(order)


class TakesSilenceForNo(ExchangePort):
    """Takes what nobody knows for a refusal."""

    @override
    def submit(self, order: SubmitOrder) -> Accepted | Refused:
        try:
            return super().submit(order)
        except UnclearError as error:
            return Refused(str(error))


class TakesSilenceForNothingSent(ExchangePort):
    """Says that nothing left where a whole request did."""

    @override
    def cancel(self, order_id: str, venue_order_id: str) -> Accepted | Refused:
        try:
            return super().cancel(order_id, venue_order_id)
        except UnclearError as error:
            raise NotSentError(str(error)) from error


class TakesNoForYes(ExchangePort):
    """Tells of a cancel that did not happen."""

    @override
    def cancel(self, order_id: str, venue_order_id: str) -> Accepted | Refused:
        answer = super().cancel(order_id, venue_order_id)
        return Accepted(venue_order_id) if isinstance(answer, Refused) else answer


class FindsOpenOrdersOnly(ExchangePort):
    """Looks for an order among the open ones."""

    @override
    def find(self, order_ids: Sequence[str]) -> tuple[VenueOrder, ...]:
        return tuple(order for order in self.open_orders() if order.order_id in order_ids)


class TakesSilenceForAbsence(ExchangePort):
    """Finds nothing where it could not look."""

    @override
    def find(self, order_ids: Sequence[str]) -> tuple[VenueOrder, ...]:
        try:
            return super().find(order_ids)
        except UnreachableError:
            return ()


class AsksOneByOne(ExchangePort):
    """Asks for each order."""

    @override
    def find(self, order_ids: Sequence[str]) -> tuple[VenueOrder, ...]:
        return tuple(found for order_id in order_ids for found in super(AsksOneByOne, self).find([order_id]))


class ForgetsTheDeadline(ExchangePort):
    """Gives the engine no deadline."""

    @override
    def submit(self, order: SubmitOrder) -> Accepted | Refused:
        bare = SubmitOrder(
            order.order_id, order.symbol, order.side, order.type, order.quantity, None, None, 0, order.oco_group
        )
        return super().submit(bare)


class ForgetsWhyItWasRefused(ExchangePort):
    """Gives no reason that a program can read."""

    @override
    def submit(self, order: SubmitOrder) -> Accepted | Refused:
        answer = super().submit(order)
        return Refused(answer.reason) if isinstance(answer, Refused) else answer


class NamesExecutionsByTheirOrder(ExchangePort):
    """Lets two parts of one order look like one execution."""

    @override
    def fills(self, since_ns: int) -> tuple[OrderFilled, ...]:
        return tuple(_renamed(fill) for fill in super().fills(since_ns))


def _renamed(fill: OrderFilled) -> OrderFilled:
    return OrderFilled(
        0, fill.order_id, fill.order_id, fill.quantity, fill.price, fill.fee, fill.is_maker, fill.leaves, fill.ts_ns
    )


class TellsNewExecutionsOnly(ExchangePort):
    """Keeps in memory what it told, as if its caller could not fall."""

    def __init__(self, options: dict[str, Any]) -> None:
        super().__init__(options)
        self._told: set[str] = set()

    @override
    def fills(self, since_ns: int) -> tuple[OrderFilled, ...]:
        news = tuple(fill for fill in super().fills(since_ns) if fill.execution_id not in self._told)
        self._told |= {fill.execution_id for fill in news}
        return news


class HidesOtherHands(ExchangePort):
    """Tells of its own orders only."""

    @override
    def open_orders(self) -> tuple[VenueOrder, ...]:
        return tuple(order for order in super().open_orders() if order.order_id)


class HidesBreaks(ExchangePort):
    """Keeps quiet about a stream that broke."""

    @override
    def reports(self, timeout_s: float) -> tuple[VenueReport, ...]:
        try:
            return super().reports(timeout_s)
        except UnreachableError:
            return ()


class TellsCancelsWithoutTheirFills(ExchangePort):
    """Says that nothing had filled whenever an order is cancelled."""

    @override
    def reports(self, timeout_s: float) -> tuple[VenueReport, ...]:
        return tuple(
            msgspec.structs.replace(each, filled_quantity=Decimal(0)) if isinstance(each, OrderCancelled) else each
            for each in super().reports(timeout_s)
        )


class ReplacesByPlacing(ExchangePort):
    """Places another order and leaves the first one where it is."""

    @override
    def replace(self, order: ReplaceOrder) -> Accepted | Refused:
        (present,) = self.find([order.order_id])
        return self.submit(
            SubmitOrder(
                f"{order.order_id}x",
                order.symbol,
                present.side,
                order.type,
                order.quantity,
                order.price,
                None,
                0,
                "",
            )
        )


@pytest.mark.parametrize(
    ("venue", "wrong", "clause"),
    [
        ("kraken", SendsAgain, contract.whatever_breaks_a_submit_is_unclear_and_it_is_sent_once),
        ("kraken", TakesSilenceForNo, contract.whatever_breaks_a_submit_is_unclear_and_it_is_sent_once),
        ("kraken", TakesSilenceForNo, contract.behind_its_deadline_an_order_never_comes_to_life),
        ("alpaca", TakesSilenceForNothingSent, contract.whatever_breaks_a_cancel_is_unclear_and_asking_again_is_safe),
        ("alpaca", TakesNoForYes, contract.what_never_was_or_has_traded_cannot_be_cancelled),
        ("kraken", FindsOpenOrdersOnly, contract.an_order_that_traded_whole_is_found_all_the_same),
        ("kraken", FindsOpenOrdersOnly, contract.what_is_taken_in_late_is_found_then),
        ("kraken", TakesSilenceForAbsence, contract.half_an_answer_proves_no_absence),
        ("alpaca", TakesSilenceForAbsence, contract.a_question_without_answer_is_no_answer),
        ("alpaca", AsksOneByOne, contract.many_ids_are_one_question),
        ("kraken", ForgetsTheDeadline, contract.an_order_behind_its_deadline_is_refused_as_that),
        ("kraken", ForgetsWhyItWasRefused, contract.an_order_behind_its_deadline_is_refused_as_that),
        ("alpaca", ForgetsWhyItWasRefused, contract.an_id_that_is_taken_is_refused_as_a_duplicate),
        ("kraken", NamesExecutionsByTheirOrder, contract.each_part_of_an_order_is_an_execution_of_its_own),
        (
            "kraken",
            TellsNewExecutionsOnly,
            contract.every_execution_is_told_oldest_first_and_as_often_as_it_is_asked_for,
        ),
        ("kraken", HidesOtherHands, contract.orders_and_holdings_of_other_hands_are_told_too),
        ("alpaca", HidesBreaks, contract.a_stream_that_breaks_says_so_and_opens_again),
        (
            "alpaca",
            TellsCancelsWithoutTheirFills,
            contract.a_cancel_is_told_with_all_that_had_filled_or_without_a_figure,
        ),
        ("kraken", ReplacesByPlacing, contract.a_replaced_order_has_its_new_figures_and_there_is_one),
    ],
)
def test_a_port_that_breaks_a_clause_is_found_out(
    venue: str, wrong: Kind, clause: Clause, stand_of: Callable[..., Stand]
) -> None:
    stand = stand_of(venue, wrong)

    with pytest.raises((AssertionError, pytest.fail.Exception, NotSentError)):
        clause(stand)
