"""A fake exchange as a program of its own: the engine behind a socket, and everything that goes wrong between.

Run ``python -m tests.exchange.server --rules kraken --socket PATH``. It says ``ready`` on its output, serves the front
door at PATH (or ``--port`` on the loopback) and its hand's back door at ``PATH.hand``, and ends when its input does.
It keeps its book in memory and is the oracle: whoever kills something else compares with what it dumps.
"""

import argparse
import asyncio
import random
import sys
import time
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from pathlib import Path

import msgspec

from desk.units import NS_PER_MS
from tests.exchange.engine import Engine, Rules
from tests.exchange.wire import BROKEN, Dump, Order, Reply, Request, State, Told, decode, encode

#: Requests that change something; every other one only looks.
CHANGES = ("submit", "cancel", "replace")
#: What can happen to a request. The last two are of a cancel alone.
REQUEST_DEEDS = (
    "late",  # taken in later, answered then
    "late_cut",  # the connection is cut, and it is taken in later
    "slow",  # taken in at once, answered later
    "drop_reply",  # taken in, and the connection cut before the answer
    "cut",  # the connection is cut, and it is never taken in
    "error_before",  # not taken in, answered with a 5xx
    "error_after",  # taken in, answered with a 5xx
    "garbage",  # taken in, answered with what nobody can read
    "race",  # the order trades whole just before
    "late_fill",  # the order trades a little later all the same
)
FILL_DEEDS = ("partial", "overfill")
STREAM_DEEDS = ("lose", "repeat", "reorder", "cut")
#: How late is late where nothing else is said, in milliseconds.
LATE_MS = (50, 450)
HELD_BACK_S = 0.05
PART_S = 0.02


class Server:
    """The doors of one exchange."""

    def __init__(self, settings: argparse.Namespace) -> None:
        """Begin with an empty book and good manners."""
        self._settings = settings
        self._front: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._streams: set[asyncio.StreamWriter] = set()
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._engine = Engine(
            Rules(self._settings.rules),
            cash=Decimal(self._settings.cash),
            deadline_ms_least=self._settings.deadline_ms_least,
        )
        self._engine.parts_of = self._parts_of
        self._rates: dict[str, float] = {}
        self._chance = random.Random(0)
        self._next: deque[Order] = deque()
        self._calls: Counter[str] = Counter()
        self._deeds: Counter[str] = Counter()
        self._pending = 0
        self._skew_ns = 0
        self._held: list[Told] = []

    def _now_ns(self) -> int:
        return time.time_ns() + self._skew_ns

    # --- doors --------------------------------------------------------------------------------

    async def serve(self) -> None:
        """Open both doors and serve until the input ends."""
        back = await asyncio.start_unix_server(self._serve_hand, f"{self._settings.socket}.hand")
        await self._open()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        ended = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(ended), sys.stdin)
        await ended.read()
        back.close()
        self._shut()

    async def _open(self) -> None:
        if self._settings.port:
            self._front = await asyncio.start_server(self._serve_client, "127.0.0.1", self._settings.port)
        else:
            self._front = await asyncio.start_unix_server(self._serve_client, self._settings.socket)

    def _shut(self) -> None:
        if self._front is not None:
            self._front.close()
            self._front = None
        for writer in self._writers:
            writer.transport.abort()
        self._streams.clear()

    async def _serve_client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        with suppress(OSError, asyncio.IncompleteReadError):
            while line := await reader.readline():
                try:
                    request = decode(line, Request)
                except msgspec.DecodeError as error:
                    writer.write(encode(Reply(status=400, code="invalid", text=str(error))))
                    break
                if request.call == "stream":
                    self._streams.add(writer)
                    writer.write(encode(Reply()))
                elif not await self._answer(request, writer):
                    break
        self._writers.discard(writer)
        self._streams.discard(writer)
        writer.close()

    async def _serve_hand(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while line := await reader.readline():
                writer.write(encode(await self._obey(decode(line, Order))))
        writer.close()

    # --- requests -----------------------------------------------------------------------------

    async def _answer(self, request: Request, writer: asyncio.StreamWriter) -> bool:
        """Carry out one request, with what goes wrong; say whether the connection lives on."""
        kind = request.call if request.call in CHANGES else "look"
        self._calls[request.call] += 1
        deed = self._deed(kind, REQUEST_DEEDS)
        name, late_s = (deed.deed, deed.ms / 1000) if deed is not None else ("", 0.0)
        engine = self._engine
        if name == "cut":
            return False
        if name == "error_before":
            writer.write(encode(Reply(status=BROKEN, text="try again later")))
            return True
        if name in {"late", "late_cut"}:
            self._pending += 1
            if name == "late_cut":
                writer.transport.abort()
            await asyncio.sleep(late_s)
            if engine is not self._engine:
                return False
            self._pending -= 1
        reply = self._carry_out(request, name, late_s)
        if name in {"late_cut", "drop_reply"}:
            return False
        if name == "slow":
            await asyncio.sleep(late_s)
        if name == "error_after":
            reply = Reply(status=BROKEN, text="upstream sent nothing")
        writer.write(b'{"status": 2' + b"\n" if name == "garbage" else encode(reply))
        return True

    def _carry_out(self, request: Request, deed: str, late_s: float) -> Reply:
        engine, now_ns = self._engine, self._now_ns()
        order = engine.order_of(request) if request.call == "cancel" else None
        is_open = order is not None and order.state is State.OPEN
        if order is not None and is_open and deed == "race":
            engine.fill_anyway(order.venue_id, order.quantity - order.filled, now_ns)
        match request.call:
            case "submit":
                reply = engine.submit(request, now_ns)
            case "cancel":
                reply = engine.cancel(request, now_ns)
            case "replace":
                reply = engine.replace(request, now_ns)
            case _:
                return engine.look(request, now_ns)
        if order is not None and is_open and deed == "late_fill":
            leaves = order.quantity - order.filled
            self._later(late_s, lambda: engine.fill_anyway(order.venue_id, leaves, self._now_ns()))
        self._tell()
        return reply

    def _later(self, seconds: float, do: Callable[[], object]) -> None:
        engine = self._engine
        self._pending += 1

        async def wait() -> None:
            await asyncio.sleep(seconds)
            if engine is self._engine:
                self._pending -= 1
                do()
                self._tell()

        task = asyncio.ensure_future(wait())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- what goes wrong ----------------------------------------------------------------------

    def _deed(self, kind: str, deeds: tuple[str, ...]) -> Order | None:
        """Draw what happens now to one request, fill or report of this kind, if anything."""
        ordered = next((each for each in self._next if each.call == kind), None)
        if ordered is not None:
            ordered.times -= 1
            if ordered.times <= 0:
                self._next.remove(ordered)
        else:
            drawn = self._chance.random() if self._rates else 1.0
            for deed in deeds:
                drawn -= self._rates.get(f"{kind}.{deed}", 0.0)
                if drawn < 0:
                    ordered = Order(do="next", call=kind, deed=deed)
                    break
        if ordered is None:
            return None
        self._deeds[f"{kind}.{ordered.deed}"] += 1
        ms = ordered.ms or self._chance.randint(*LATE_MS)
        return msgspec.structs.replace(ordered, ms=ms)

    def _parts_of(self, quantity: Decimal) -> list[Decimal]:
        deed = self._deed("fill", FILL_DEEDS)
        if deed is None:
            return [quantity]
        if deed.deed == "overfill":
            return deed.parts or [quantity * Decimal("1.5")]
        if deed.parts:
            return list(deed.parts)
        first = (quantity * Decimal(self._chance.randint(1, 9)) / 10).quantize(Decimal("0.00000001"))
        self._later(PART_S, self._go_on)
        return [first, quantity - first]

    def _go_on(self) -> None:
        if self._engine.go_on(self._now_ns()):
            self._later(PART_S, self._go_on)

    def _tell(self) -> None:
        """Tell the streams what happened, in the manner of a network."""
        told, self._engine.told = self._engine.told, []
        for each in told:
            deed = self._deed("stream", STREAM_DEEDS)
            name = deed.deed if deed is not None else ""
            if name == "lose":
                continue
            if name == "cut":
                for writer in tuple(self._streams):
                    writer.transport.abort()
                self._streams.clear()
                continue
            if name == "reorder":
                self._held.append(each)
                self._later(HELD_BACK_S, self._let_go)
                continue
            self._say(each)
            if name == "repeat":
                self._say(each)
            self._let_go()

    def _let_go(self) -> None:
        held, self._held = self._held, []
        for each in reversed(held):
            self._say(each)

    def _say(self, told: Told) -> None:
        for writer in self._streams:
            writer.write(encode(told))

    # --- the hand -----------------------------------------------------------------------------

    async def _obey(self, order: Order) -> msgspec.Struct:
        """Do what the hand at the back door says."""
        if order.do == "dump":
            return self._dump()
        if order.do == "outage":
            self._shut()
            for _ in range(3):  # a connection is cut in the next round of the loop: be done before the hand hears of it
                await asyncio.sleep(0)
            if not order.is_on:
                await self._open()
            return Reply()
        if order.do == "anew" and self._front is None:
            await self._open()
        deeds: dict[str, Callable[[], object]] = {
            "mark": lambda: self._engine.mark(order.symbol, order.price, self._now_ns()),
            "go_on": lambda: self._engine.go_on(self._now_ns()),
            "next": lambda: self._next.append(order),
            "rates": lambda: self._misbehave(order),
            "skew": lambda: self._misbehave(order),
            "external": lambda: self._engine.submit(_external(order), self._now_ns(), is_external=True),
            "fill_anyway": lambda: self._fill_anyway(order),
            "instrument": lambda: self._demand(order),
            "anew": self._begin_anew,
        }
        deed = deeds.get(order.do)
        if deed is None:
            return Reply(status=400, text=f"the hand knows no {order.do}")
        done = deed()
        self._tell()
        return done if isinstance(done, Reply) else Reply()

    def _misbehave(self, order: Order) -> None:
        if order.do == "skew":
            self._skew_ns = order.ms * NS_PER_MS
        else:
            self._rates, self._chance = order.rates, random.Random(order.seed)

    def _fill_anyway(self, order: Order) -> Reply:
        found = self._engine.order_of(Request(call="", client_id=order.client_id))
        if found is None:
            return Reply(status=400, text=f"no order {order.client_id}")
        self._engine.fill_anyway(found.venue_id, order.quantity, self._now_ns())
        return Reply()

    def _demand(self, order: Order) -> None:
        assert order.instrument is not None, "an instrument was promised"
        self._engine.instruments[order.instrument.symbol] = order.instrument

    def _dump(self) -> Dump:
        return self._engine.dump(
            self._now_ns(), calls=dict(self._calls), deeds=dict(self._deeds), pending=self._pending
        )


def _external(order: Order) -> Request:
    is_limit = order.type is not order.type.MARKET
    return Request(
        call="submit",
        client_id=order.client_id,
        symbol=order.symbol,
        side=order.side,
        type=order.type,
        quantity=order.quantity,
        limit_price=order.price if is_limit else None,
        stop_price=order.price if is_limit else None,
    )


def main() -> None:
    """Serve until the input ends."""
    parser = argparse.ArgumentParser(description="A fake exchange for tests, on the loopback or a local socket.")
    parser.add_argument("--rules", choices=[rules.value for rules in Rules], required=True)
    parser.add_argument("--socket", required=True, help="the front door; the hand's is beside it")
    parser.add_argument("--port", type=int, default=0, help="open the front door on this port of the loopback instead")
    parser.add_argument("--cash", default="100000")
    parser.add_argument("--deadline-ms-least", type=int, default=0)
    settings = parser.parse_args()
    assert Path(settings.socket).parent.is_dir(), "the socket's folder is there"
    asyncio.run(Server(settings).serve())


if __name__ == "__main__":
    main()
