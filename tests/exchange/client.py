"""The fake exchange's client: a venue port over plain blocking sockets with time limits."""

import socket
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from actors.venues.port import Accepted, Holdings, NotSentError, Refused, UnclearError, UnreachableError
from desk.messages import (
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    OrderState,
    OrderType,
    ReplaceOrder,
    SubmitOrder,
    VenueOrder,
    VenueReport,
)
from desk.units import ZERO
from desk.venue import RULES, IdRule, Instrument, VenueTraits
from tests.exchange.wire import BROKEN, OK, Execution, Reply, Request, State, Told, WireOrder, decode, encode

TIMEOUT_S = 5.0
#: Joins our client id and the number of a replacement under rules that give each replacement an id of its own.
LINK = "~"
LINE_BYTES_MAX = 64 << 20


def open_port(options: Mapping[str, Any]) -> "ExchangePort":
    """Open the client. Options: ``rules``, ``socket`` or ``port``, ``timeout_s``. Nothing is connected yet."""
    return ExchangePort(options)


class ExchangePort:
    """One account at a fake exchange. One connection for each call that is under way, and one for the stream."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        """Take the options; see ``open_port``."""
        self._traits = RULES[str(options["rules"])]
        port, path = int(options.get("port", 0)), str(options.get("socket", ""))
        self._address: str | tuple[str, int] = ("127.0.0.1", port) if port else path
        self._timeout_s = float(options.get("timeout_s", TIMEOUT_S))
        self._idle: deque[_Line] = deque()
        self._lines: set[_Line] = set()
        self._guard = threading.Lock()
        self._stream: _Line | None = None
        self._is_closed = False

    @property
    def traits(self) -> VenueTraits:
        """Give the traits of the venue whose rules are played."""
        return self._traits

    # --- what changes something ---------------------------------------------------------------

    def submit(self, order: SubmitOrder) -> Accepted | Refused:
        """See the port."""
        return self._change(
            Request(
                call="submit",
                client_id=order.order_id,
                symbol=order.symbol,
                side=order.side,
                type=order.type,
                quantity=order.quantity,
                limit_price=order.limit_price,
                stop_price=order.stop_price,
                group=order.oco_group if self._traits.has_oco else "",
                deadline_ns=order.deadline_ns if self._traits.has_deadline else 0,
            )
        )

    def cancel(self, order_id: str, venue_order_id: str) -> Accepted | Refused:
        """See the port. An order that was replaced is cancelled under the name that it bears now."""
        request = Request(call="cancel", venue_id=venue_order_id or self._named(order_id))
        if not request.venue_id:
            return Refused("unknown order", is_gone=True)
        while True:
            reply = self._changed(request)
            if not reply.replaced_by:
                return _verdict(reply)
            request = Request(call="cancel", venue_id=reply.replaced_by)

    def replace(self, order: ReplaceOrder) -> Accepted | Refused:
        """See the port."""
        try:
            present = self._present(order.order_id)
        except UnreachableError as error:
            raise NotSentError(str(error)) from error
        if present is None or present.state is not State.OPEN:
            return Refused("no such open order", is_gone=True)
        if present.quantity == order.quantity and _price(present) == order.price:
            return Accepted(present.venue_id)
        new_client_id = ""
        if self._traits.ids is IdRule.FOR_EVER:
            name, _, number = present.client_id.partition(LINK)
            new_client_id = f"{name}{LINK}{int(number or 0) + 1}"
        return self._change(
            Request(
                call="replace",
                venue_id=present.venue_id,
                new_client_id=new_client_id,
                quantity=order.quantity,
                price=order.price,
            )
        )

    # --- what only looks ----------------------------------------------------------------------

    def now_ns(self) -> int:
        """See the port."""
        return self._look(Request(call="time")).time_ns

    def find(self, order_ids: Sequence[str]) -> tuple[VenueOrder, ...]:
        """See the port. The open ones are looked at before the closed ones: that is how an order moves."""
        if not order_ids:
            return ()
        if self._traits.ids is IdRule.FOR_EVER:
            return tuple(map(_order, self._present_ones(order_ids)))
        found: dict[str, WireOrder] = {}
        for where in ("open", "closed"):
            reply = self._look(Request(call="orders", client_ids=list(order_ids), where=where))
            found |= {order.venue_id: order for order in reply.orders}
        return tuple(map(_order, found.values()))

    def open_orders(self) -> tuple[VenueOrder, ...]:
        """See the port."""
        return tuple(map(_order, self._look(Request(call="orders", where="open")).orders))

    def fills(self, since_ns: int) -> tuple[OrderFilled, ...]:
        """See the port."""
        return tuple(map(_fill, self._look(Request(call="executions", since_ns=since_ns)).executions))

    def holdings(self) -> Holdings:
        """See the port."""
        reply = self._look(Request(call="holdings"))
        return Holdings(reply.account, reply.positions, reply.cash, reply.time_ns)

    def instruments(self, symbols: Sequence[str]) -> tuple[Instrument, ...]:
        """See the port."""
        return tuple(self._look(Request(call="instruments", symbols=list(symbols))).instruments)

    # --- the stream ---------------------------------------------------------------------------

    def reports(self, timeout_s: float) -> tuple[VenueReport, ...]:
        """See the port."""
        try:
            if self._stream is None:
                self._stream = self._connected()
                self._stream.send(encode(Request(call="stream")))
                decode(self._stream.line(self._timeout_s), Reply)
            return tuple(report_of(decode(line, Told)) for line in self._stream.lines(timeout_s))
        except (OSError, msgspec.DecodeError) as error:
            if self._stream is not None:
                self._drop(self._stream)
                self._stream = None
            msg = f"the stream broke: {error}"
            raise UnreachableError(msg) from error

    def close(self) -> None:
        """See the port."""
        with self._guard:
            self._is_closed = True
            for line in tuple(self._lines):
                line.end()
            self._lines.clear()
            self._idle.clear()

    # --- inside -------------------------------------------------------------------------------

    def _change(self, request: Request) -> Accepted | Refused:
        return _verdict(self._changed(request))

    def _changed(self, request: Request) -> Reply:
        try:
            line = self._free()
        except OSError as error:
            msg = f"not sent: {error}"
            raise NotSentError(msg) from error
        try:
            line.send(encode(request))
            reply = decode(line.line(self._timeout_s), Reply)
        except _NothingSentError as error:
            self._drop(line)
            msg = f"not sent: {error}"
            raise NotSentError(msg) from error
        except (OSError, msgspec.DecodeError) as error:
            self._drop(line)
            msg = f"no answer to {request.call}: {error}"
            raise UnclearError(msg) from error
        self._idle.append(line)
        if reply.status >= BROKEN:
            msg = f"{request.call} was answered with {reply.status}: {reply.text}"
            raise UnclearError(msg)
        return reply

    def _look(self, request: Request) -> Reply:
        try:
            line = self._free()
        except OSError as error:
            raise UnreachableError(str(error)) from error
        try:
            line.send(encode(request))
            reply = decode(line.line(self._timeout_s), Reply)
        except (OSError, msgspec.DecodeError) as error:
            self._drop(line)
            msg = f"no answer to {request.call}: {error}"
            raise UnreachableError(msg) from error
        self._idle.append(line)
        if reply.status != OK:
            msg = f"{request.call} was answered with {reply.status}: {reply.text}"
            raise UnreachableError(msg)
        return reply

    def _named(self, order_id: str) -> str:
        """Give the exchange's name of an order, "" where it knows none."""
        try:
            present = self._present(order_id)
        except UnreachableError as error:
            raise NotSentError(str(error)) from error
        return "" if present is None else present.venue_id

    def _present(self, order_id: str) -> WireOrder | None:
        """Give the last order of that client id as it is now, the replacement of a replaced one."""
        present = self._present_ones([order_id])
        return next((each for each in present if each.state is State.OPEN), present[-1] if present else None)

    def _present_ones(self, order_ids: Sequence[str]) -> list[WireOrder]:
        present = self._look(Request(call="orders", client_ids=list(order_ids))).orders
        while replaced := [order.replaced_by for order in present if order.state is State.REPLACED]:
            present = [order for order in present if order.state is not State.REPLACED]
            present += self._look(Request(call="orders", venue_ids=replaced)).orders
        return present

    def _free(self) -> "_Line":
        """Give a connection that nobody uses, a new one where there is none that lives."""
        while self._idle:
            with suppress(IndexError):
                line = self._idle.popleft()
                if line.is_quiet():
                    return line
                self._drop(line)
        return self._connected()

    def _connected(self) -> "_Line":
        line = None if self._is_closed else _Line(self._address, self._timeout_s)
        with self._guard:
            if line is not None and not self._is_closed:
                self._lines.add(line)
                return line
        if line is not None:
            line.end()
        msg = "the port is closed"
        raise ConnectionError(msg)

    def _drop(self, line: "_Line") -> None:
        line.end()
        with self._guard:
            self._lines.discard(line)


class _NothingSentError(OSError):
    """Not one byte left."""


class _Line:
    """One connection, line by line."""

    def __init__(self, address: str | tuple[str, int], timeout_s: float) -> None:
        kind = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self._socket = socket.socket(kind)
        self._socket.settimeout(timeout_s)
        self._timeout_s = timeout_s
        self._kept = b""
        try:
            self._socket.connect(address)
        except OSError:
            self._socket.close()
            raise

    def send(self, data: bytes) -> None:
        """Write it whole, within the connection's time limit.

        Raises:
            _NothingSentError: The connection was gone before the first byte.
            OSError: Some of it may have left.
        """
        self._socket.settimeout(self._timeout_s)
        try:
            sent = self._socket.send(data)
        except OSError as error:
            raise _NothingSentError(str(error)) from error
        self._socket.sendall(data[sent:])

    def line(self, timeout_s: float) -> bytes:
        """Wait for one line.

        Raises:
            OSError: It did not come in time, or the other side hung up.
        """
        until_s = time.monotonic() + timeout_s
        while b"\n" not in self._kept:
            self._receive(until_s - time.monotonic())
        line, _, self._kept = self._kept.partition(b"\n")
        return line

    def lines(self, timeout_s: float) -> Iterator[bytes]:
        """Wait for the first line so long; give it and all whole ones behind it. Nothing where none came.

        Raises:
            OSError: The other side hung up.
        """
        with suppress(TimeoutError):
            yield self.line(timeout_s)
            while b"\n" in self._kept:
                yield self.line(timeout_s)

    def is_quiet(self) -> bool:
        """Say whether the connection stands and nothing waits in it."""
        try:
            self._socket.setblocking(False)
            self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def end(self) -> None:
        """Hang up; who waits in it is woken."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _receive(self, timeout_s: float) -> None:
        if timeout_s <= 0:
            msg = "the time is up"
            raise TimeoutError(msg)
        self._socket.settimeout(timeout_s)
        data = self._socket.recv(1 << 20)
        if not data:
            msg = "the other side hung up"
            raise ConnectionError(msg)
        self._kept += data
        if len(self._kept) > LINE_BYTES_MAX:
            msg = "a line without end"
            raise ConnectionError(msg)


def _verdict(reply: Reply) -> Accepted | Refused:
    if reply.status == OK:
        return Accepted(reply.venue_id)
    return Refused(
        reply.text,
        is_deadline=reply.code == "deadline",
        is_duplicate=reply.code == "duplicate",
        is_gone=reply.code == "gone",
    )


def _ours(client_id: str) -> str:
    return client_id.partition(LINK)[0]


def _price(order: WireOrder) -> Any:
    return order.stop_price if order.type is OrderType.STOP else order.limit_price


def _order(order: WireOrder) -> VenueOrder:
    is_part = order.filled > ZERO
    open_state = OrderState.PARTIALLY_FILLED if is_part else OrderState.SUBMITTED
    state = {State.OPEN: open_state, State.FILLED: OrderState.FILLED}.get(order.state, OrderState.CANCELLED)
    return VenueOrder(
        _ours(order.client_id),
        order.venue_id,
        order.symbol,
        order.side,
        state,
        order.quantity,
        order.filled,
        order.reason,
        order.type,
        _price(order),
    )


def _fill(execution: Execution) -> OrderFilled:
    return OrderFilled(
        0,
        _ours(execution.client_id),
        execution.execution_id,
        execution.quantity,
        execution.price,
        execution.fee,
        execution.is_maker,
        execution.leaves,
        execution.time_ns,
    )


def report_of(told: Told) -> VenueReport:
    """Say in the desk's words what the exchange told: a trade, an end, else that the order is there."""
    client_id = _ours(told.order.client_id)
    if told.execution is not None:
        return _fill(told.execution)
    if told.kind == "canceled":
        return OrderCancelled(0, client_id, told.order.reason, False, told.time_ns, told.order.filled)
    return OrderAccepted(0, client_id, told.order.venue_id, told.time_ns)
