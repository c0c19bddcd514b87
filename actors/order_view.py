"""The life of one order as the journal tells it: every step, every attempt, every execution."""

from collections.abc import Iterable
from typing import Any

from actors.views import json_value, order_row
from desk.messages import FillBooked, JournalRecord, Order, OrderChanged

Row = dict[str, Any]

#: Names of an order that are shown where more than one begins as was asked.
NAMED_MAX = 20


class NoSuchOrderError(Exception):
    """No order is meant, or more than one could be; the text says which."""


class _Life:
    """What the journal has of one order."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.order: Order | None = None
        self.steps: list[Row] = []
        self.fills: list[Row] = []
        self.names: set[str] = set()


def order_view(records: Iterable[JournalRecord], name: str) -> Row:
    """Give the one order that ``name`` means.

    Args:
        records: The whole journal, oldest first.
        name: The beginning of its id, of a client id that one of its attempts had, or of the venue's id for it. A whole
            id means that order, also where another one begins with it.

    Returns:
        ``{"order", "transitions", "fills"}``: the order as it is; each step {sequence, written_ns, ts_ns, previous,
        state, source, reason, attempt, client_id, deadline_ns, quantity, filled_quantity}; each execution {sequence,
        written_ns, ts_ns, execution_id, quantity, price, fee, venue, account}. Plain JSON values, oldest first.

    Raises:
        NoSuchOrderError: No order is meant, or more than one.
    """
    lives: dict[str, _Life] = {}
    for record in records:
        body = record.body
        if isinstance(body, OrderChanged):
            life = lives.setdefault(body.order.order_id, _Life())
            life.order = body.order
            life.names.update(filter(None, (body.order.order_id, body.order.client_id, body.order.venue_order_id)))
            life.steps.append(_step(record, body))
        elif isinstance(body, FillBooked):
            lives.setdefault(body.order_id, _Life()).fills.append(_fill(record, body))
    life = lives[_meant(lives, name)]
    assert life.order is not None, "an execution belongs to an order that was journalled before"
    return {"order": order_row(life.order), "transitions": life.steps, "fills": life.fills}


def _meant(lives: dict[str, _Life], name: str) -> str:
    whole = [order_id for order_id, life in lives.items() if name in life.names]
    begun = [o for o, life in lives.items() if name and any(known.startswith(name) for known in life.names)]
    found = whole or begun
    if len(found) == 1:
        return found[0]
    if not found:
        msg = f"no order's id begins with {name!r}; the ids stand in: bulkhead orders"
        raise NoSuchOrderError(msg)
    more = f" and {len(found) - NAMED_MAX} more" if len(found) > NAMED_MAX else ""
    msg = f"{name!r} could be {', '.join(found[:NAMED_MAX])}{more}; write more of it"
    raise NoSuchOrderError(msg)


def _step(record: JournalRecord, body: OrderChanged) -> Row:
    order = body.order
    return {
        "sequence": record.sequence,
        "written_ns": record.written_ns,
        "ts_ns": body.ts_ns,
        "previous": body.previous,
        "state": order.state.value,
        "source": source_words(body.source),
        "reason": order.reason,
        "attempt": order.attempt,
        "client_id": order.client_id,
        "venue_order_id": order.venue_order_id,
        "deadline_ns": order.deadline_ns,
        "quantity": json_value(order.quantity),
        "filled_quantity": json_value(order.filled_quantity),
    }


def _fill(record: JournalRecord, body: FillBooked) -> Row:
    keys = ("execution_id", "quantity", "price", "fee", "venue", "account")
    row = {key: json_value(getattr(body, key)) for key in keys}
    return {"sequence": record.sequence, "written_ns": record.written_ns, "ts_ns": body.ts_ns, **row}


def source_words(source: str) -> str:
    """Say who moved an order: ours, risk, operator or venue, and which venue."""
    return f"venue {source.removeprefix('venues/')}" if source.startswith("venues/") else source
