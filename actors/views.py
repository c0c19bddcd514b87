"""What an operator asks of the journal: orders, positions, trades and records as plain JSON values.

Pure functions over journal records, oldest first; the books are kept by the ledger alone. Decimals become text.
"""

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from decimal import Decimal
from enum import Enum
from typing import Any, cast

import msgspec

from desk.messages import (
    CapitalChanged,
    DeskNoted,
    ExternalAdopted,
    ExternalBooked,
    FillBooked,
    JournalBody,
    JournalRecord,
    LevelsChanged,
    Order,
    OrderChanged,
    OrderState,
)
from desk.portfolio import EXTERNAL, ClosedTrade, Ledger, Position
from desk.units import ZERO

#: An operator's JSON object.
Row = dict[str, Any]

_ORDER_KEYS = (
    "order_id",
    "strategy",
    "symbol",
    "side",
    "type",
    "quantity",
    "filled_quantity",
    "state",
    "limit_price",
    "stop_price",
    "average_price",
    "fees",
    "purpose",
    "reason",
    "exit_reason",
    "tag",
    "created_ns",
    "changed_ns",
    "expires_ns",
    "bar_ts_ns",
    "venue_order_id",
    "intent_id",
)
_TRADE_KEYS = (
    "strategy",
    "symbol",
    "side",
    "quantity",
    "entry_price",
    "exit_price",
    "opened_ns",
    "closed_ns",
    "pnl",
    "fees",
    "exit_reason",
    "tag",
)
_POSITION_KEYS = (
    "strategy",
    "symbol",
    "tag",
    "quantity",
    "average_price",
    "opened_ns",
    "stop_loss",
    "take_profit",
    "entry_fees",
)


def orders_view(records: Iterable[JournalRecord]) -> list[Row]:
    """Give every order in its last state, in the order of their births."""
    orders: dict[str, Order] = {}
    for record in records:
        if isinstance(record.body, OrderChanged):
            orders[record.body.order.order_id] = record.body.order
    return [order_row(order) for order in orders.values()]


def refusals_view(records: Iterable[JournalRecord], strategy: str) -> dict[str, int]:
    """Count why orders of one strategy were rejected, by the code of each reason, most frequent first."""
    found: Counter[str] = Counter()
    for record in records:
        if isinstance(record.body, OrderChanged):
            order = record.body.order
            if order.strategy == strategy and order.state is OrderState.REJECTED:
                found.update(_codes(order.reason))
    return dict(found.most_common())


def _codes(reason: str) -> set[str]:
    codes = {part.partition(":")[0].strip() for part in reason.split("; ")}
    return {code for code in codes if code.isupper()} or {"OTHER"}


def positions_view(records: Iterable[JournalRecord]) -> list[Row]:
    """Give the open positions, oldest first."""
    ledger = Ledger(keep_trades=False)
    for record in records:
        ledger.apply(record.body)
    return [position_row(held) for held in ledger.positions.values() if held.quantity != ZERO]


def trades_view(records: Iterable[JournalRecord]) -> list[Row]:
    """Give every closed trade, oldest exit first."""
    ledger = Ledger(keep_trades=False)
    return [trade_row(trade) for record in records for trade in ledger.apply(record.body)]


def journal_view(records: Iterable[JournalRecord], tail: int | None = None) -> list[Row]:
    """Give the records, oldest first, or only the last ``tail`` (>= 0) of them.

    Each row has ``sequence``, ``written_ns``, ``ts_ns`` (market time), ``word``, ``strategy`` ("" for the desk's
    own), ``text`` for people and ``body`` with all fields.
    """
    assert tail is None or tail >= 0, "a tail is a count"
    return [journal_row(record) for record in deque(records, maxlen=tail)]


def summary_view(records: Iterable[JournalRecord], bars: int, refused: Mapping[str, int]) -> Row:
    """Sum up a finished run.

    Args:
        records: The whole journal, oldest first.
        bars: How many bars were published.
        refused: Refused input by code.

    Returns:
        ``bars``, ``trades``, ``net_pnl``, ``fees``, ``strategies`` [{strategy, trades, wins, net_pnl, fees}],
        ``orders`` {state: count}, ``positions`` still open, ``refused``.
    """
    ledger = Ledger()
    states: dict[str, str] = {}
    names: dict[str, None] = {}
    for record in records:
        ledger.apply(record.body)
        if isinstance(record.body, OrderChanged):
            states[record.body.order.order_id] = record.body.order.state.value
            names[record.body.order.strategy] = None
    held = [position_row(position) for position in ledger.positions.values()]
    return {
        "bars": bars,
        "trades": ledger.trade_count,
        "net_pnl": decimal_words(ledger.realised),
        "fees": decimal_words(ledger.fees),
        "strategies": [_strategy_sum(name, ledger) for name in names],
        "orders": dict(sorted(Counter(states.values()).items())),
        "positions": held,
        "refused": {code: count for code, count in sorted(refused.items()) if count},
    }


def order_row(order: Order) -> Row:
    """Give one order as JSON."""
    return _picked(order, _ORDER_KEYS)


def trade_row(trade: ClosedTrade) -> Row:
    """Give one closed trade as JSON."""
    return _picked(trade, _TRADE_KEYS)


def position_row(position: Position) -> Row:
    """Give one position as JSON."""
    return _picked(position, _POSITION_KEYS)


def journal_row(record: JournalRecord) -> Row:
    """Give one journal record as JSON."""
    body = record.body
    strategy, text = _told(body)
    return {
        "sequence": record.sequence,
        "written_ns": record.written_ns,
        "ts_ns": body.ts_ns,
        "word": body.__struct_config__.tag,
        "strategy": strategy,
        "text": text,
        "body": json_value(body),
    }


def json_value(value: Any) -> Any:
    """Turn a word of the desk into plain JSON values: Structs by field name, decimals and enums as text."""
    match value:
        case msgspec.Struct():
            return {key: json_value(inner) for key, inner in msgspec.structs.asdict(value).items()}
        case Decimal():
            return decimal_words(value)
        case Enum():
            return value.value
        case tuple() | list():
            return [json_value(inner) for inner in cast("Iterable[Any]", value)]
        case dict():
            return {str(key): json_value(inner) for key, inner in cast("Mapping[Any, Any]", value).items()}
        case _:
            return value


def decimal_words(value: Decimal) -> str:
    """Write a Decimal plainly, never with an exponent: 1E+3 is 1000."""
    return f"{value:f}"


def _picked(struct: msgspec.Struct, keys: tuple[str, ...]) -> Row:
    return {key: json_value(getattr(struct, key)) for key in keys}


def _strategy_sum(name: str, ledger: Ledger) -> Row:
    trades = [trade for trade in ledger.trades if trade.strategy == name]
    return {
        "strategy": name,
        "trades": len(trades),
        "wins": sum(trade.pnl > ZERO for trade in trades),
        "net_pnl": decimal_words(ledger.realised_of(name)),
        "fees": decimal_words(ledger.fees_of(name)),
    }


def _told(body: JournalBody) -> tuple[str, str]:
    """Give whose record it is and what it says, for people."""
    match body:
        case OrderChanged(order=order):
            what = f"{order.order_id} {order.side.value} {order.quantity:f} {order.symbol} {order.type.value}"
            moved = f"{body.previous} -> {order.state.value}" if body.previous else order.state.value
            why = f" ({order.reason})" if order.reason else ""
            return order.strategy, f"{what} {order.purpose.value}: {moved}{why}"
        case FillBooked():
            why = f" ({body.exit_reason})" if body.exit_reason else ""
            what = f"{body.order_id} {body.side.value} {body.quantity:f} {body.symbol} at {body.price:f}"
            return body.strategy, f"{what}, fee {body.fee:f}{why}"
        case LevelsChanged():
            stop, target = (_or_none(level) for level in (body.stop_loss, body.take_profit))
            return body.strategy, f"{body.symbol} {body.tag}: stop {stop}, target {target}"
        case CapitalChanged():
            return "", f"{body.amount:+f} {body.reason}"
        case ExternalBooked() | ExternalAdopted():
            return _told_of_external(body)
        case DeskNoted():
            return "", f"{body.kind}: {body.text} (by {body.who})"


def _told_of_external(body: ExternalBooked | ExternalAdopted) -> tuple[str, str]:
    if isinstance(body, ExternalBooked):
        return EXTERNAL, f"EXTERNAL takes {body.quantity:+f} {body.symbol} at {body.price:f}: {body.reason}"
    what = f"adopts {body.quantity:+f} {body.symbol} of EXTERNAL, tag {body.tag!r}, cost {body.cost:f}"
    return body.strategy, f"{what} (by {body.who}) {body.reason}".rstrip()


def _or_none(level: Decimal | None) -> str:
    return "none" if level is None else f"{level:f}"
