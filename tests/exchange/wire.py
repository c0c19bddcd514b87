"""What goes over the exchange's wire: one JSON object a line, a reply for each request, and reports on a stream."""

from decimal import Decimal
from enum import StrEnum
from typing import TypeVar

import msgspec

from desk.messages import OrderType, Side
from desk.venue import Instrument

Kind = TypeVar("Kind", bound=msgspec.Struct)

#: Statuses, in the manner of HTTP: done, refused, and nobody knows.
OK, REFUSED, BROKEN = 200, 422, 502


class State(StrEnum):
    """Where an order is, in the exchange's own words."""

    OPEN = "open"
    FILLED = "filled"
    CANCELLED = "canceled"
    REPLACED = "replaced"


class WireOrder(msgspec.Struct, kw_only=True):
    """One order. ``client_id`` is "" where its owner gave none; ``taken_ns`` is when the engine took it in."""

    client_id: str
    venue_id: str
    symbol: str
    side: Side
    type: OrderType
    quantity: Decimal
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    filled: Decimal = Decimal(0)
    state: State = State.OPEN
    group: str = ""
    reason: str = ""
    replaced_by: str = ""
    taken_ns: int = 0
    is_external: bool = False


class Execution(msgspec.Struct, frozen=True, kw_only=True):
    """One execution of one order; ``leaves`` is what still rests."""

    execution_id: str
    venue_id: str
    client_id: str
    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal
    fee: Decimal
    is_maker: bool
    leaves: Decimal
    time_ns: int
    is_external: bool = False


class Request(msgspec.Struct, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One request at the front door. ``price`` is of a replacement; ``where`` is open, closed or all."""

    call: str
    client_id: str = ""
    venue_id: str = ""
    new_client_id: str = ""
    symbol: str = ""
    side: Side = Side.BUY
    type: OrderType = OrderType.MARKET
    quantity: Decimal = Decimal(0)
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    price: Decimal = Decimal(0)
    group: str = ""
    deadline_ns: int = 0
    client_ids: list[str] = []
    venue_ids: list[str] = []
    where: str = "all"
    since_ns: int = 0
    symbols: list[str] = []


class Reply(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The answer. A refusal has a ``code``: duplicate, deadline, gone or invalid."""

    status: int = OK
    code: str = ""
    text: str = ""
    venue_id: str = ""
    replaced_by: str = ""
    time_ns: int = 0
    account: str = ""
    cash: Decimal = Decimal(0)
    positions: dict[str, Decimal] = {}
    orders: list[WireOrder] = []
    executions: list[Execution] = []
    instruments: list[Instrument] = []


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """One report on the stream: the order as it is, and the execution where ``kind`` is fill (else new, canceled)."""

    kind: str
    order: WireOrder
    time_ns: int
    execution: Execution | None = None


class Order(msgspec.Struct, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One order to the exchange's hand, at its back door. ``do`` says what; the rest is what that needs."""

    do: str
    symbol: str = ""
    price: Decimal = Decimal(0)
    side: Side = Side.BUY
    type: OrderType = OrderType.MARKET
    quantity: Decimal = Decimal(0)
    call: str = ""
    deed: str = ""
    ms: int = 0
    times: int = 1
    parts: list[Decimal] = []
    rates: dict[str, float] = {}
    seed: int = 0
    is_on: bool = False
    client_id: str = ""
    instrument: Instrument | None = None


class Dump(msgspec.Struct, kw_only=True):
    """Everything that the exchange knows: the oracle. ``pending`` requests are written and not yet taken in."""

    orders: list[WireOrder]
    executions: list[Execution]
    positions: dict[str, Decimal]
    cash: Decimal
    cash_at_first: Decimal
    calls: dict[str, int]
    deeds: dict[str, int]
    pending: int
    time_ns: int


def encode(message: msgspec.Struct) -> bytes:
    """Give one line."""
    return msgspec.json.encode(message) + b"\n"


def decode(line: bytes, kind: type[Kind]) -> Kind:
    """Read one line.

    Raises:
        msgspec.DecodeError: It is no such message.
    """
    return msgspec.json.decode(line, type=kind)
