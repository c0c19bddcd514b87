"""What must hold behind a storm, beyond what the oracle of the order path asks for: money, exits, bars, life. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal

from desk.messages import Bar, OrderState, Purpose
from tests.exchange.wire import Dump
from tests.falls.oracle import Books

#: Reasons that may refuse an entry and must never refuse an exit.
BARS_TO_ENTRIES = (
    "HALTED",
    "STOP_ENTRY",
    "GATE_CLOSED",
    "STRATEGY_DISABLED",
    "EXPIRED_INTENT",
    "DATA_STALE",
    "EXPOSURE",
    "BUYING_POWER",
    "POSITION_LIMIT",
    "UNKNOWN_OUTCOME",
    "UNKNOWN_ORDER",
    "BACKPRESSURE",
    "BREAKER_OPEN",
    "PREVALIDATION",
)


def money(books: Books, dump: Dump, balance: Decimal) -> Iterator[str]:
    """Say where money appeared or vanished, to the last digit."""
    ledger = books.ledger
    if ledger.capital != balance:
        yield f"money: capital is {ledger.capital}, and nobody brought or took any of the {balance}"
    earned, theirs = ledger.cash - ledger.capital, dump.cash - dump.cash_at_first
    if earned != theirs:
        yield f"money: the books' cash moved by {earned}, the account's by {theirs}"


def exits(books: Books) -> Iterator[str]:
    """Name exits that were refused for a reason that stops entries only."""
    for order in books.orders.values():
        is_refused = order.purpose is Purpose.EXIT and order.state is OrderState.REJECTED
        if is_refused and order.reason.startswith(BARS_TO_ENTRIES):
            yield f"blocked: exit {order.order_id} of {order.strategy} was refused: {order.reason}"


def bars(
    name: str, published: Sequence[Bar], pair: tuple[str, str], state: Mapping[str, Sequence[int]]
) -> Iterator[str]:
    """Say which bars of its topic a witness met not at all, twice, or out of their order."""
    met = [*state["evaluated"], *state["missed"]]
    due = [bar.sequence for bar in published if (bar.symbol, bar.timeframe) == pair]
    lost = sorted(set(due) - set(met))
    if lost:
        yield f"bars: {name} never met {len(lost)} of {len(due)} bars: {lost[:10]}"
    if len(set(met)) != len(met):
        twice = sorted({each for each in met if met.count(each) > 1})
        yield f"bars: {name} met {twice[:10]} twice"
    if list(state["evaluated"]) != sorted(state["evaluated"]):
        yield f"bars: {name} met its bars out of their order"
    if state["missed"]:
        yield f"bars: {name} met {len(state['missed'])} bars too late to trade on: {list(state['missed'])[:10]}"


def idle(books: Books, strategies: Sequence[str], since_ns: int) -> list[str]:
    """Name the strategies that have not both opened and closed something since then, and what of it they have not."""
    done = {
        (order.strategy, order.purpose)
        for order in books.orders.values()
        if order.state is OrderState.FILLED and order.bar_ts_ns >= since_ns
    }
    return [
        f"{name} has filled no {purpose.value} since"
        for name in strategies
        for purpose in (Purpose.ENTRY, Purpose.EXIT)
        if (name, purpose) not in done
    ]
