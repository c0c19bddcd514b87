"""A desk of real processes, as an operator has it: a configuration, a state folder, the control socket, signals."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from actors.arguments import store_path
from actors.control_client import DeskDownError, ask
from actors.journal import read_journal
from actors.views import orders_view, positions_view, trades_view
from actors.words import desk_codec
from runtime.clock import NS_PER_S, Clock
from runtime.store import Reader

BULKHEAD = Path(sys.executable).with_name("bulkhead")
#: Bound of every wait; reached only where something hangs.
PATIENCE_S = 120.0
PAUSE_S = 0.02


class Desk:
    """One desk and its folder. Leaving the context ends every process that it started."""

    def __init__(self, folder: Path, configuration: str) -> None:
        """Write the configuration; nothing is started."""
        self.folder = folder
        self.state = folder / "var"
        self.file = folder / "strategies.yaml"
        folder.mkdir(parents=True, exist_ok=True)
        self.file.write_text(configuration, encoding="utf-8")
        self.clock = Clock()
        self.process: subprocess.Popen[bytes] | None = None
        self.output = folder / "output.txt"

    def __enter__(self) -> Self:
        """Give the desk, not yet started."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the desk, hard where it does not leave."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(30)

    def start(self, *arguments: str) -> Self:
        """Start it in a session of its own, as a service manager would."""
        with self.output.open("ab") as out:
            self.process = subprocess.Popen(
                [BULKHEAD, "run", "--config", self.file, "--state", self.state, *arguments],
                stdout=out,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        return self

    @property
    def root_pid(self) -> int:
        """The root supervisor's process."""
        assert self.process is not None, "the desk was not started"
        return self.process.pid

    def wait(self, patience_s: float = PATIENCE_S) -> int:
        """Wait until it has ended by itself; give the exit code."""
        assert self.process is not None, "the desk was not started"
        return self.process.wait(patience_s)

    def run(self) -> Self:
        """Start, and wait for the end of the replay."""
        code = self.start().wait()
        assert code == 0, self.said()
        return self

    def said(self) -> str:
        """Everything that it printed."""
        return self.output.read_text(encoding="utf-8")

    # --- looking ------------------------------------------------------------------------------

    def ask(self, verb: str, **arguments: Any) -> dict[str, Any]:
        """Send a verb to the control socket."""
        return ask(self.state, verb, arguments, self.clock)

    def status(self) -> dict[str, Any]:
        """Give the status document."""
        return self.ask("status")

    def row(self, path: str) -> dict[str, Any]:
        """Give one process's row of the tree."""
        return next(row for row in self.status()["tree"] if row["path"] == path and row["kind"] != "node")

    def strategy(self, name: str) -> dict[str, Any]:
        """Give one strategy of the status."""
        return next(row for row in self.status()["strategies"] if row["name"] == name)

    def pids(self) -> dict[str, int]:
        """Give the pid of every process that runs, by path."""
        return {row["path"]: row["pid"] for row in self.status()["tree"] if row["pid"]}

    def until(self, what: Callable[[dict[str, Any]], Any], patience_s: float = PATIENCE_S) -> dict[str, Any]:
        """Ask for the status until it is as wanted; give that status.

        Raises:
            AssertionError: It did not come to that, or the desk ended first.
        """
        deadline_ns = self.clock.monotonic_ns() + int(patience_s * NS_PER_S)
        status: dict[str, Any] = {}
        while self.clock.monotonic_ns() < deadline_ns:
            assert self.process is not None, "the desk was not started"
            assert self.process.poll() is None, f"the desk ended while it was watched:\n{self.said()}"
            with suppress(DeskDownError):
                status = self.status()
                if what(status):
                    return status
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(PAUSE_S)  # between two looks the desk has the processor, and may end
        msg = f"it did not come to that; the last status was {status}"
        raise AssertionError(msg)

    def until_up(self) -> dict[str, Any]:
        """Wait until every process runs."""
        return self.until(lambda status: status["desk"]["state"] in {"RUNNING", "DEGRADED", "HALTED"})

    # --- hurting ------------------------------------------------------------------------------

    def kill(self, path: str, number: int = signal.SIGKILL) -> int:
        """Signal one process by its path; give its pid."""
        pid = self.pids()[path]
        os.kill(pid, number)
        return pid

    def descendants(self) -> list[int]:
        """Name all living processes of this desk, zombies left out, by the folder in their command or descriptors."""
        return [pid for pid in _living() if _holds(pid, self.state / "lock")]

    # --- results ------------------------------------------------------------------------------

    def _records(self) -> list[Any]:
        reader = Reader.open(store_path(self.state, "execution"))
        try:
            return list(read_journal(reader, desk_codec()))
        finally:
            reader.close()

    def trades(self) -> list[dict[str, Any]]:
        """Give the closed trades."""
        return trades_view(self._records())

    def orders(self) -> list[dict[str, Any]]:
        """Give all orders."""
        return orders_view(self._records())

    def positions(self) -> list[dict[str, Any]]:
        """Give the open positions."""
        return positions_view(self._records())


def _living() -> list[int]:
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError):
                state = (entry / "stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[0]
                if state not in {"Z", "X"}:
                    found.append(int(entry.name))
    return found


def _holds(pid: int, file: Path) -> bool:
    try:
        links = list(Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False
    for link in links:
        with suppress(OSError):  # a descriptor that was closed while we looked
            if link.readlink() == file.resolve():
                return True
    return False
