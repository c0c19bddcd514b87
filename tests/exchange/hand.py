"""The hand at a fake exchange: starts it, moves its market, orders what goes wrong, reads its whole truth."""

import shutil
import socket
import subprocess
import sys
import tempfile
import time
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from desk.messages import OrderType, Side
from desk.venue import Instrument
from tests.exchange.wire import OK, Dump, Order, Reply, decode, encode

ROOT = Path(__file__).parents[2]
PATIENCE_S = 60.0
PAUSE_S = 0.005


class Exchange:
    """One exchange's process, for as long as the context lasts."""

    def __init__(self, rules: str, *, deadline_ms_least: int = 0, cash: str = "100000") -> None:
        """Choose whose rules it plays; nothing runs yet. Its sockets lie in a short folder of their own."""
        self.rules = rules
        self._more = ["--deadline-ms-least", str(deadline_ms_least), "--cash", cash]

    def __enter__(self) -> Self:
        """Start it and wait until it is ready."""
        self._folder = Path(tempfile.mkdtemp(prefix="xch"))
        self.socket = self._folder / "x"
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.exchange.server",
                "--rules",
                self.rules,
                "--socket",
                self.socket,
                *self._more,
            ],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._process.stdout is not None, "its output is a pipe"
        assert self._process.stdout.readline() == b"ready\n", "the exchange did not start"
        self._hand = socket.socket(socket.AF_UNIX)
        self._hand.settimeout(PATIENCE_S)
        self._hand.connect(f"{self.socket}.hand")
        self._lines = self._hand.makefile("rb")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it."""
        self._lines.close()
        self._hand.close()
        assert self._process.stdin is not None, "its input is a pipe"
        assert self._process.stdout is not None, "its output is a pipe"
        self._process.stdin.close()
        self._process.wait(PATIENCE_S)
        self._process.stdout.close()
        shutil.rmtree(self._folder)

    def options(self, **more: Any) -> dict[str, Any]:
        """Give what a client is opened with."""
        return {"rules": self.rules, "socket": str(self.socket), **more}

    def mark(self, symbol: str, price: str | Decimal) -> None:
        """Show a price of the market; what it reaches trades, and from then on the symbol is one that is traded."""
        self._tell(Order(do="mark", symbol=symbol, price=Decimal(price)))

    def next(self, call: str, deed: str, *, ms: int = 0, times: int = 1, parts: tuple[str, ...] = ()) -> None:
        """Order what happens to the next request (submit, cancel, replace, look), fill or stream report.

        ``ms`` is how late, where that matters. ``parts`` are the quantities of the fill's parts: the first trades at
        once, the others one by one with each mark of the symbol and each ``go_on``.
        """
        self._tell(Order(do="next", call=call, deed=deed, ms=ms, times=times, parts=[Decimal(each) for each in parts]))

    def rates(self, rates: dict[str, float], seed: int = 0) -> None:
        """Let it misbehave at random: ``{"submit.late": 0.25, "stream.lose": 0.1}``; {} is good manners again."""
        self._tell(Order(do="rates", rates=rates, seed=seed))

    def go_on(self) -> None:
        """Trade the next part of each order that was filled in part."""
        self._tell(Order(do="go_on"))

    def skew(self, ms: int) -> None:
        """Set its clock ahead of the machine's."""
        self._tell(Order(do="skew", ms=ms))

    def outage(self, *, is_on: bool) -> None:
        """Shut its front door and cut every connection, or open it again. The engine goes on."""
        self._tell(Order(do="outage", is_on=is_on))

    def external(
        self,
        symbol: str,
        side: Side,
        quantity: str,
        *,
        type: OrderType = OrderType.MARKET,  # noqa: A002 - the word of the desk
        price: str = "0",
        client_id: str = "",
    ) -> None:
        """Have another hand place an order in the same account."""
        self._tell(
            Order(
                do="external",
                symbol=symbol,
                side=side,
                quantity=Decimal(quantity),
                type=type,
                price=Decimal(price),
                client_id=client_id,
            )
        )

    def fill_anyway(self, client_id: str, quantity: str) -> None:
        """Trade that much of an order whatever its state is."""
        self._tell(Order(do="fill_anyway", client_id=client_id, quantity=Decimal(quantity)))

    def instrument(self, instrument: Instrument) -> None:
        """Demand this of orders in one symbol from now on."""
        self._tell(Order(do="instrument", instrument=instrument))

    def anew(self) -> None:
        """Begin with an empty book, good manners and open doors; connections stay."""
        self._tell(Order(do="anew"))

    def dump(self) -> Dump:
        """Give everything that it knows."""
        return decode(self._ask(Order(do="dump")), Dump)

    def settled(self) -> Dump:
        """Wait until every request that was written has been taken in and every part has traded; give everything."""
        until_s = time.monotonic() + PATIENCE_S
        while (dump := self.dump()).pending and time.monotonic() < until_s:
            time.sleep(PAUSE_S)
        assert not dump.pending, "the exchange never came to rest"
        return dump

    def _tell(self, order: Order) -> None:
        reply = decode(self._ask(order), Reply)
        assert reply.status == OK, f"the exchange's hand: {reply.text}"

    def _ask(self, order: Order) -> bytes:
        self._hand.sendall(encode(order))
        return self._lines.readline()
