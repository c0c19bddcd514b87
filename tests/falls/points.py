"""Points at which a process can be killed: armed from outside by a file, passed inside by the seams of the order path."""

import os
import select
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from typing_extensions import override

from actors.venues.port import Accepted, Refused
from tests.exchange.client import ExchangePort, _Line
from tests.exchange.wire import Reply, Request, decode

CHANGES = ("submit", "cancel", "replace")
PATIENCE_S = 10.0
FIRED = "+fired"

#: Passes a point; what is done last is done only where the process ends here.
At = Callable[[str, Callable[[], object]], None]


def nothing() -> None:
    """Do nothing before the end."""


def end() -> NoReturn:
    """End this process as ``kill -9`` does."""
    os.kill(os.getpid(), signal.SIGKILL)
    while True:
        signal.pause()


class Points:
    """The points of one process, armed by files ``NAME`` in a folder that hold how many passes are let through.

    A point fires once: its file is moved to ``NAME+fired`` first. What is not armed costs one look for a file.
    """

    def __init__(self, folder: Path) -> None:
        """Take the folder, which is there."""
        self._folder = folder
        self._passed: dict[str, int] = {}

    def is_armed(self, kind: str) -> bool:
        """Say whether any point of this kind is armed."""
        with os.scandir(self._folder) as files:
            return any(file.name.startswith(kind) and not file.name.endswith(FIRED) for file in files)

    def at(self, name: str, last: Callable[[], object] = nothing) -> None:
        """Pass a point, or end here."""
        file = self._folder / name
        try:
            skipped = int(file.read_bytes() or b"0")
        except FileNotFoundError:
            return
        passed = self._passed[name] = self._passed.get(name, 0) + 1
        if passed <= skipped:
            return
        file.rename(self._folder / f"{name}{FIRED}")
        last()
        end()


class MinedPort(ExchangePort):
    """The exchange's client with points around, and within, every request that changes something.

    ``port.CALL.before``: nothing left. ``.half``: half of the bytes did. ``.sent``: all of them. ``.taken``: the
    exchange's answer has come, and nobody has read it. ``.behind``: it was read. CALL is submit, cancel or replace;
    ``port.look.before`` and ``.behind`` are around every question.
    """

    def __init__(self, options: Mapping[str, Any], at: At) -> None:
        """Open the client."""
        super().__init__(options)
        self._at = at

    @override
    def _change(self, request: Request) -> Accepted | Refused:
        return super()._change(request)

    @override
    def _changed(self, request: Request) -> Reply:
        self._at(f"port.{request.call}.before", nothing)
        reply = super()._changed(request)
        self._at(f"port.{request.call}.behind", nothing)
        return reply

    @override
    def _look(self, request: Request) -> Reply:
        self._at("port.look.before", nothing)
        reply = super()._look(request)
        self._at("port.look.behind", nothing)
        return reply

    @override
    def _connected(self) -> _Line:
        line = super()._connected()
        line.__class__ = _MinedLine
        line.at = self._at  # pyright: ignore[reportAttributeAccessIssue]
        return line


class _MinedLine(_Line):
    """One connection, with points between its bytes."""

    at: At
    call: str = ""

    @override
    def send(self, data: bytes) -> None:
        self.call = decode(data, Request).call
        if self.call in CHANGES:
            self.at(f"port.{self.call}.half", lambda: super(_MinedLine, self).send(data[: len(data) // 2]))
        super().send(data)
        if self.call in CHANGES:
            self.at(f"port.{self.call}.sent", nothing)

    @override
    def line(self, timeout_s: float) -> bytes:
        if self.call in CHANGES:
            self.at(f"port.{self.call}.taken", self._until_answered)
        return super().line(timeout_s)

    def _until_answered(self) -> None:
        select.select([self._socket], [], [], PATIENCE_S)
