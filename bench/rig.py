"""The desk on the bench: a publisher of ticks, and the real desk as a process of its own that listens to it."""

import contextlib
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path

import zmq

from actors.control_client import DeskDownError, ask
from bench.figures import PATIENCE_S, BenchError, until
from runtime.clock import NS_PER_S, Clock

SYMBOL = "SPY"
#: What shares one core when the order path is pinned; everything else has the other cores.
ORDER_PATH = ("market_data", "risk", "execution")
#: Longer than any notice to a service manager.
NOTICE_BYTES_MAX = 1 << 16


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
    folder: Path, configuration: str, strategy: tuple[str, str], *, patience_s: float = PATIENCE_S
) -> Generator[Path]:
    """Run a desk on a new folder with one strategy (module name, text); give its state folder once it is up.

    It says itself when it is up, as to a service manager: to ask it meanwhile would cost it what is measured.
    """
    name, text = strategy
    (folder / "strategies").mkdir(parents=True)
    (folder / "strategies" / f"{name}.py").write_text(text, encoding="utf-8")
    file, state = folder / "desk.yaml", folder / "var"
    file.write_text(configuration, encoding="utf-8")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notices, (folder / "output").open("wb") as output:
        notices.bind(str(folder / "notify"))
        process = subprocess.Popen(
            [sys.executable, "-P", Path(__file__).with_name("traced.py"), file, state],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, "NOTIFY_SOCKET": str(folder / "notify")},
        )
        try:
            _await_ready(process, notices, folder / "output", patience_s)
            notices.close()  # what nobody reads would hold root up
            until(lambda: _is_running(state), "the desk to come up", patience_s=patience_s)
            yield state
        finally:
            process.terminate()
            process.wait(patience_s)


def _await_ready(process: "subprocess.Popen[bytes]", notices: socket.socket, output: Path, patience_s: float) -> None:
    """Wait until a desk says that it is up.

    Raises:
        BenchError: It ended instead, or did not come up in time; the text is what it printed.
    """
    deadline_ns = Clock().monotonic_ns() + int(patience_s * NS_PER_S)
    ended = os.pidfd_open(process.pid)
    try:
        while True:
            left_s = (deadline_ns - Clock().monotonic_ns()) / NS_PER_S
            readable, _, _ = select.select([notices, ended], [], [], max(0.0, left_s))
            if notices not in readable:
                raise BenchError(output.read_text(encoding="utf-8") or "the desk did not come up")
            if b"READY=1" in notices.recv(NOTICE_BYTES_MAX).splitlines():
                return
    finally:
        os.close(ended)


def _is_running(state: Path) -> bool:
    with contextlib.suppress(DeskDownError):
        return bool(ask(state, "status", {}, Clock())["desk"]["state"] == "RUNNING")
    return False


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
