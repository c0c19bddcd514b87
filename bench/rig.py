"""The desk on the bench: a publisher of ticks, and the real desk as a process of its own that listens to it."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path

import zmq

from actors.control_client import DeskDownError, ask
from bench.figures import PATIENCE_S, BenchError, until
from runtime.clock import Clock

SYMBOL = "SPY"
#: What shares one core when the order path is pinned; everything else has the other cores.
ORDER_PATH = ("market_data", "risk", "execution")


class Feed:
    """A publisher that is not the desk's, on a free port of this machine."""

    def __init__(self) -> None:
        """Bind."""
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.PUB)
        self.url = f"tcp://127.0.0.1:{self._socket.bind_to_random_port('tcp://127.0.0.1')}"
        self._last_ns = 0

    def tick(self, size: int, symbol: str = SYMBOL) -> int:
        """Publish a tick of this size and give its time, which no other tick has."""
        ts_ns = self._last_ns = max(time.time_ns(), self._last_ns + 1)
        body = f'{{"symbol":"{symbol}","timestamp":{ts_ns},"price":{450 + size / 100},"size":{size}}}'
        self._socket.send(f"{symbol} {body}".encode())
        return ts_ns

    def close(self) -> None:
        """Let go of the port."""
        self._context.destroy(linger=0)


@contextlib.contextmanager
def running_desk(
    folder: Path,
    configuration: str,
    strategy: tuple[str, str],
    *,
    patience_s: float = PATIENCE_S,
    every_s: float = 0.02,
) -> Generator[Path]:
    """Run a desk on a new folder with one strategy (module name, text); give its state folder once it is up."""
    name, text = strategy
    (folder / "strategies").mkdir(parents=True)
    (folder / "strategies" / f"{name}.py").write_text(text, encoding="utf-8")
    file, state = folder / "desk.yaml", folder / "var"
    file.write_text(configuration, encoding="utf-8")
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-P", Path(__file__).with_name("traced.py"), file, state],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )

    def is_up() -> bool:
        if process.poll() is not None:
            raise BenchError((folder / "output").read_text(encoding="utf-8"))
        with contextlib.suppress(DeskDownError):
            return bool(ask(state, "status", {}, Clock())["desk"]["state"] == "RUNNING")
        return False

    try:
        until(is_up, "the desk to come up", every_s=every_s, patience_s=patience_s)
        yield state
    finally:
        process.terminate()
        process.wait(patience_s)


def pin_desk(state: Path) -> None:
    """Give the order path one core and all other processes of a desk the rest."""
    cores = sorted(os.sched_getaffinity(0))
    rows = ask(state, "status", {}, Clock())["tree"]
    for row in rows:
        if row["kind"] != "node" and row["pid"]:
            is_hot = row["path"] in ORDER_PATH or row["kind"] == "strategy"
            pin_process(row["pid"], {cores[0]} if is_hot else set(cores[1:]))


def pin_process(pid: int, cores: set[int]) -> None:
    """Bind a process with all its threads to some cores."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), cores)
