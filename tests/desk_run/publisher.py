"""A tick gateway as others run it: a publisher of ``SYMBOL {json}`` on a port of its own, and a strategy that obeys it."""

import json
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

import zmq

#: 2024-01-08T15:00:00Z, a Monday morning in New York; a whole minute.
START_S = 1_704_726_000
PATIENCE_MS = 60_000


class Publisher:
    """Sends ticks. It is an XPUB, which is a PUB on the wire, so that a test can wait for the subscriptions."""

    def __init__(self, url: str = "") -> None:
        """Bind to an address, or to a free port of this machine."""
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.XPUB)
        self._socket.set(zmq.LINGER, 0)
        self._socket.set(zmq.SNDHWM, 0)
        self._socket.set(zmq.XPUB_VERBOSE, 1)
        if url:
            self._socket.bind(url)
        self.ticks = 0
        self.url = url or f"tcp://127.0.0.1:{self._socket.bind_to_random_port('tcp://127.0.0.1')}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._context.destroy(linger=0)

    def until_subscribed(self, symbols: Iterable[str]) -> None:
        """Wait until somebody subscribed to each of these, counted from the last call."""
        missing = {symbol.encode() for symbol in symbols}
        while missing:
            assert self._socket.poll(PATIENCE_MS), f"nobody subscribed to {missing}"
            word = self._socket.recv()
            if word[:1] == b"\x01":
                missing.discard(word[1:])

    def raw(self, *frames: bytes) -> None:
        """Send any message."""
        self._socket.send_multipart(list(frames))

    def tick(self, symbol: str, at_s: float, price: float, *, is_multipart: bool = False, **more: object) -> None:
        """Send one tick; ``at_s`` counts from ``START_S``."""
        body = {"symbol": symbol, "timestamp": START_S + at_s, "bid": price, "ask": price, **more}
        self.ticks += 1
        topic, payload = symbol.encode(), json.dumps(body).encode()
        self.raw(*((topic, payload) if is_multipart else (topic + b" " + payload,)))


#: Buys one piece while the price is above a mark, sells below another; it falls when it sees another's market.
OBEDIENT = '''"""Buys above one price, sells below another, and insists on its own symbol."""

from decimal import Decimal

import msgspec

from strategies.base import Action, NoTrade, NoTradeCode, Signal, Strategy


class Parameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When to buy, when to sell, and whether entries rest as limit orders."""

    buy_above: float = 100.0
    sell_below: float = 90.0
    limit: float = 0.0


class Obedient(Strategy):
    """Does what the market is told to tell it."""

    Parameters = Parameters

    def on_bar(self, bar, view):
        """Buy above, sell below."""
        if (bar.symbol,) != self.instance.symbols:
            raise ValueError(f"fed with {bar.symbol}")
        told, held = self.parameters, view.position(bar.symbol)
        if held is None and bar.close > told.buy_above and bar.symbol not in view.entry_pending:
            limit = {"order_type": "LIMIT", "limit_price": Decimal(str(told.limit))} if told.limit else {}
            stop = Decimal(str(bar.close)) / 4
            return (Signal(symbol=bar.symbol, action=Action.BUY, quantity=Decimal(1), stop_loss=stop, **limit),)
        if held is not None and bar.close < told.sell_below and bar.symbol not in view.exit_pending:
            return (Signal(symbol=bar.symbol, action=Action.CLOSE, reason="MARKET_TOLD"),)
        return NoTrade(NoTradeCode.NO_SIGNAL)


STRATEGY = Obedient
'''


def obedient(name: str, symbol: str, *, enabled: bool = True, **parameters: object) -> str:
    """Give one entry of the obedient strategy as YAML."""
    told = "".join(f"      {key}: {value}\n" for key, value in parameters.items())
    entry = f"  - name: {name}\n    symbol: {symbol}\n    enabled: {str(enabled).lower()}\n    strategy: obedient\n"
    return entry + (f"    parameters:\n{told}" if told else "")


def with_obedient(folder: Path) -> Path:
    """Put the obedient strategy beside a desk's configuration."""
    (folder / "strategies").mkdir(parents=True)
    (folder / "strategies" / "obedient.py").write_text(OBEDIENT, encoding="utf-8")
    return folder
