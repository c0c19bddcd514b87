"""The bakery as a test has it: its tree, its processes, and what they have left behind."""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from runtime.bus import Bus
from runtime.bus.frames import READABLE, Poller
from runtime.bus_words import Address
from runtime.clock import NS_PER_MS, NS_PER_S, Clock
from runtime.errors import StoreError
from runtime.restart import Backoff, RestartLimit, RestartType, Strategy
from runtime.spec import ChildSpec, Limits, NodeSpec, WorkerSpec
from runtime.store import Reader
from runtime.words import RootAnswered
from tests.runtime.bakery import CODEC, ROOM, Request, store_of

#: Bound of every wait; reached only where something hangs.
PATIENCE_S = 60.0
REPOSITORY = Path(__file__).parents[2]
AT_ONCE = Backoff(0, 0, NS_PER_S)
MANY = RestartLimit(1000, 60 * NS_PER_S)


def worker(name: str, entry: str, kind: str = "test", arguments: bytes = b"", **changed: Any) -> WorkerSpec:
    """Describe a process of the bakery."""
    fields: dict[str, Any] = {
        "restart": RestartType.PERMANENT,
        "shutdown_ns": 5 * NS_PER_S,
        "start_timeout_ns": 20 * NS_PER_S,
        "progress_timeout_ns": 20 * NS_PER_S,
        "limits": Limits(0, 0, 0, 0, 0),
    }
    made = f"tests.runtime.bakery:make_{entry}" if ":" not in entry else entry
    return WorkerSpec(id=name, kind=kind, entry=made, arguments=arguments, **(fields | changed))


def window() -> WorkerSpec:
    """Describe the window; it stands first, so that the test can always look in."""
    return worker("window", "window", ROOM)


def oven() -> WorkerSpec:
    """Describe the oven."""
    return worker("oven", "oven", ROOM)


def baker(name: str) -> WorkerSpec:
    """Describe a baker."""
    return worker(name, "baker")


def board(name: str, text: str) -> WorkerSpec:
    """Describe a board and its text."""
    return worker(name, "board", "board", text.encode())


def apprentice(name: str, mood: str = "calm", when: str = "first", until_epoch: int = 1, **changed: Any) -> WorkerSpec:
    """Describe an apprentice that acts out its mood up to an epoch."""
    return worker(name, "apprentice", arguments=msgspec.json.encode((mood, when, until_epoch)), **changed)


def node(name: str, *children: ChildSpec, **changed: Any) -> NodeSpec:
    """Describe a supervisor that never tires."""
    fields: dict[str, Any] = {"strategy": Strategy.ONE_FOR_ONE, "limit": MANY, "backoff": AT_ONCE}
    return NodeSpec(id=name, children=children, **(fields | changed))


class Ends:
    """Processes whose end is waited for; they need not be our children."""

    def __init__(self, pids: Iterable[int]) -> None:
        """Hold on to each, so that its number cannot be given to another."""
        self._descriptors: list[int] = []
        for pid in pids:
            with suppress(ProcessLookupError):
                self._descriptors.append(os.pidfd_open(pid))

    def come_within(self, patience_s: float) -> bool:
        """Say whether all have ended in time."""
        clock = Clock()
        deadline_ns = clock.monotonic_ns() + int(patience_s * NS_PER_S)
        have_ended = all(
            select.select([descriptor], [], [], max(0, deadline_ns - clock.monotonic_ns()) / NS_PER_S)[0]
            for descriptor in self._descriptors
        )
        for descriptor in self._descriptors:
            os.close(descriptor)
        return have_ended


def descendants(pid: int) -> list[int]:
    """Name all processes below one."""
    found: list[int] = []
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text(encoding="ascii").split():
                found += [int(child), *descendants(int(child))]
    return found


def title(pid: int) -> str:
    """Give a process's command line, "" where it has ended since it was listed."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def state_of(pid: int) -> str:
    """Give the kernel's letter for what a process does, "" where it has ended since it was listed."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def is_stopped(pid: int) -> bool:
    """Say whether a process is stopped by a signal."""
    return state_of(pid) == "T"


class Bakehouse:
    """One bakery and its state folder. Leaving the context ends every process of it."""

    def __init__(self, state: Path, *children: ChildSpec, **changed: Any) -> None:
        """Lay down the tree; nothing is started."""
        self.state = state
        self.clock = Clock()
        state.mkdir(parents=True, exist_ok=True)
        (state / "tree").write_bytes(msgspec.msgpack.encode(node("bakery", window(), *children, **changed)))
        self._bus = Bus(state / "s", Address("test", 1))
        #: The program that is root; it takes the state folder.
        self.program = "tests.runtime.bakery"
        self._root: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start it, and wait until root answers."""
        self.start()
        try:
            self.status()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End whatever is left of it."""
        self._bus.close()
        if self._root is not None and self._root.poll() is None:
            ends = Ends(descendants(self.pid))
            self._root.kill()
            self._root.wait()
            ends.come_within(PATIENCE_S)

    def start(self, **environment: str) -> None:
        """Start root."""
        with (self.state / "root.out").open("ab") as out:
            self._root = subprocess.Popen(
                [sys.executable, "-m", self.program, str(self.state)],
                cwd=REPOSITORY,
                env=os.environ | environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Root's process."""
        assert self._root is not None, "nothing was started"
        return self._root.pid

    def wait(self) -> int:
        """Wait until root has ended; give its exit code."""
        assert self._root is not None, "nothing was started"
        return self._root.wait(PATIENCE_S)

    def stop(self) -> int:
        """Ask root to end as a service manager does; give its exit code."""
        os.kill(self.pid, signal.SIGTERM)
        return self.wait()

    # --- asking -------------------------------------------------------------------------------

    def ask(self, verb: str, **arguments: object) -> RootAnswered:
        """Ask root through the window, again where the window fell in between.

        Raises:
            AssertionError: Root has ended, or does not answer.
        """
        deadline_ns = self.clock.monotonic_ns() + int(PATIENCE_S * NS_PER_S)
        data = msgspec.msgpack.encode(Request(verb, arguments))
        while self.clock.monotonic_ns() < deadline_ns:
            assert self._root is not None, "nothing was started"
            assert self._root.poll() is None, f"root has ended: {self.said()}"
            client = self._bus.control_client()
            poller = Poller()
            poller.register(client, READABLE)
            client.send(data)
            answer = client.recv() if poller.poll(1000) else None
            client.close(linger=0)
            if answer is not None:
                return CODEC.decode(answer)
        msg = f"root does not answer: {self.said()}"
        raise AssertionError(msg)

    def status(self) -> dict[str, Any]:
        """Give what root knows of its tree."""
        return self.ask("status").result

    def rows(self) -> dict[str, dict[str, Any]]:
        """Give the rows of all processes by path."""
        return {row["path"]: row for row in self.status()["tree"] if row["kind"] != "node"}

    def until(self, claim: Callable[[dict[str, dict[str, Any]]], object]) -> dict[str, dict[str, Any]]:
        """Look at the rows until they are as claimed; give them."""
        deadline_ns = self.clock.monotonic_ns() + int(PATIENCE_S * NS_PER_S)
        rows: dict[str, dict[str, Any]] = {}
        while self.clock.monotonic_ns() < deadline_ns:
            rows = self.rows()
            if claim(rows):
                return rows
            assert self._root is not None, "nothing was started"
            with suppress(subprocess.TimeoutExpired):  # let root work, and hear at once of its end
                self._root.wait(20 * NS_PER_MS / NS_PER_S)
        msg = f"it never came to that: {rows}"
        raise AssertionError(msg)

    def all_running(self) -> dict[str, dict[str, Any]]:
        """Wait until everything runs."""
        return self.until(lambda rows: all(row["state"] == "RUNNING" for row in rows.values()))

    def replaced(self, path: str, epoch: int = 1) -> dict[str, Any]:
        """Wait until a process later than that epoch runs; give its row."""
        return self.until(lambda rows: rows[path]["state"] == "RUNNING" and rows[path]["epoch"] > epoch)[path]

    # --- looking ------------------------------------------------------------------------------

    def said(self) -> str:
        """Everything that root printed, which is nothing where all is well."""
        return (self.state / "root.out").read_text(encoding="utf-8")

    def diary(self) -> list[str]:
        """Give what the rooms noted."""
        return (self.state / "diary").read_text(encoding="utf-8").splitlines()

    def log(self, path: str = "root") -> str:
        """Give the log of one process."""
        return (self.state / "log" / f"{path.replace('/', '.')}.log").read_text(encoding="utf-8")

    def reader(self, path: str) -> Reader:
        """Open the store of a room."""
        return Reader.open(store_of(self.state, path))

    def baked(self) -> int:
        """Count what was baked so far; status knows it a second later."""
        try:
            reader = self.reader("oven")
        except StoreError:
            return 0
        head = reader.head()
        reader.close()
        return head

    def loaves(self) -> dict[str, list[int]]:
        """Give the numbers of what was baked, for each baker, in the order in which it was."""
        reader = self.reader("oven")
        reader.verify()
        loaves: dict[str, list[int]] = {}
        for _, data in reader.records():
            name, _, number = data.decode().partition(" ")
            loaves.setdefault(name, []).append(int(number))
        reader.close()
        return loaves
