"""A strategy of the tests that takes its own process down at one bar, in one of five ways."""

import ctypes
import os
from pathlib import Path
from typing import Any, ClassVar, Literal, NoReturn

import msgspec
from typing_extensions import override

from desk.messages import Bar
from strategies.base import Decision, Instance, NoTrade, NoTradeCode, Strategy, View

MIB = 1 << 20
#: A leak stops here, so that a desk that does not see it costs the machine no more.
HOARD_MIB_MAX = 500


class NaughtyParameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What it does at bar ``at`` (from 1). With a ``marker`` it does so once: where that file is, it behaves."""

    how: Literal["raise", "hang", "leak", "segfault", "exit"]
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
        marker = Path(self.parameters.marker) if self.parameters.marker else None
        if self.bars == self.parameters.at and not (marker and marker.exists()):
            if marker:
                marker.touch()
            self._misbehave()
        return NoTrade(NoTradeCode.NO_SIGNAL)

    @override
    def get_state(self) -> dict[str, Any]:
        return {"bars": self.bars}

    @override
    def load_state(self, state: dict[str, Any]) -> None:
        self.bars = state["bars"]

    def _misbehave(self) -> NoReturn:
        match self.parameters.how:
            case "raise":
                msg = f"naughty at bar {self.bars}"
                raise ValueError(msg)
            case "hang":
                while True:
                    pass
            case "leak":
                _leak()
            case "segfault":
                ctypes.string_at(0)
            case "exit":
                os._exit(0)
        msg = "it did not work"
        raise AssertionError(msg)


def _leak() -> NoReturn:
    hoard: list[bytes] = []
    while True:
        if len(hoard) < HOARD_MIB_MAX:
            hoard.append(b"x" * MIB)


STRATEGY = Naughty
