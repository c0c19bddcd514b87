"""A strategy of the tests that misbehaves from one bar on, in one of many ways."""

import ctypes
import os
import signal
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import msgspec
from typing_extensions import override

from desk.messages import Bar
from strategies.base import Action, Decision, Instance, NoTrade, NoTradeCode, Signal, Strategy, View

MIB = 1 << 20
#: A leak stops here, so that a desk that does not see it costs the machine no more.
HOARD_MIB_MAX = 500
CHILDREN = 4
WISHES = 500
NO_SIGNAL = NoTrade(NoTradeCode.NO_SIGNAL)


class NaughtyParameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What it does at bar ``at`` (from 1). With a ``marker`` it does so once: where that file is, it behaves.

    ``intents`` goes on at each bar, and falls at none.
    """

    how: str
    at: int
    marker: str = ""


class Naughty(Strategy):
    """Counts bars until its hour comes."""

    Parameters: ClassVar[type[msgspec.Struct]] = NaughtyParameters
    parameters: NaughtyParameters

    def __init__(self, parameters: NaughtyParameters, instance: Instance) -> None:
        """Begin at no bar."""
        super().__init__(parameters, instance)
        self.bars = 0

    @override
    def on_bar(self, bar: Bar, view: View) -> Decision:
        self.bars += 1
        if self.parameters.how == "intents":
            return (_wish(bar.symbol),) * WISHES if self.bars >= self.parameters.at else NO_SIGNAL
        marker = Path(self.parameters.marker) if self.parameters.marker else None
        if self.bars == self.parameters.at and not (marker and marker.exists()):
            if marker:
                marker.touch()
            self._misbehave()
        return NO_SIGNAL

    @override
    def get_state(self) -> dict[str, Any]:
        return {"bars": self.bars}

    @override
    def load_state(self, state: dict[str, Any]) -> None:
        self.bars = state["bars"]

    def _misbehave(self) -> NoReturn:
        WAYS[self.parameters.how]()
        msg = "it did not work"
        raise AssertionError(msg)


def _wish(symbol: str) -> Signal:
    return Signal(symbol=symbol, action=Action.BUY, quantity=Decimal(1), stop_loss=Decimal("0.01"))


def _raise() -> NoReturn:
    msg = "naughty"
    raise ValueError(msg)


def _wait_for_nobody() -> None:
    while True:
        os.read(os.pipe()[0], 1)


def _fill_a_pipe() -> NoReturn:
    _, write_end = os.pipe()
    while True:
        os.write(write_end, bytes(MIB))


def _spin() -> NoReturn:
    while True:
        pass


def _leak() -> NoReturn:
    hoard: list[bytes] = []
    while True:
        if len(hoard) < HOARD_MIB_MAX:
            hoard.append(b"x" * MIB)
        time.sleep(0.001)


def _brood() -> NoReturn:
    for _ in range(CHILDREN):
        if os.fork() == 0:
            os.setsid()
            break
    while True:
        signal.pause()


def _hoard_files() -> NoReturn:
    held: list[int] = []
    while True:
        held.append(os.open(os.devnull, os.O_RDONLY))


def _print() -> NoReturn:
    while True:
        print("why " * 25)  # noqa: T201 - that is the misdeed


WAYS: dict[str, Callable[[], object]] = {
    "raise": _raise,
    "exit": lambda: os._exit(0),
    "segfault": lambda: ctypes.string_at(0),
    "hang": _wait_for_nobody,
    "freeze": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "spin": _spin,
    "leak": _leak,
    "fork": os.fork,
    "brood": _brood,
    "files": _hoard_files,
    "pipe": _fill_a_pipe,
    "print": _print,
}

STRATEGY = Naughty
