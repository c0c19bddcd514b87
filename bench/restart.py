"""P3: kill -9 of a strategy until its replacement has its state back and has handled the next tick.

One fall at a time, each from rest. The floor is a warm parent that forks: its child opens a store of 1,000 records,
reads them all, connects a SUB and a DEALER socket, and handles the next tick. Both sides are killed in turn, by the
same publisher's ticks.
"""

import argparse
import os
import select
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import lmdb
import zmq

from actors.control_client import ask
from bench.figures import NS_PER_US, Figure, percentile, show, until
from bench.rig import SYMBOL, Feed, running_desk
from runtime.clock import Clock

ROUNDS = 60
ROUNDS_QUICK = 20
GOAL_P50 = 2.0
RECORDS = 1000
#: The feed is quiet but for a tick every so often: the next tick must not be what is waited for.
TICK_EVERY_S = 0.0005
#: Between two falls of the same side, for the desk's next spare process to be ready: falls in a row are not measured.
REST_S = 1.0

STRATEGY = """
import os
import time

import msgspec

from strategies.base import NoTrade, NoTradeCode, Strategy


class Parameters(msgspec.Struct, forbid_unknown_fields=True):
    mark: str


class Counter(Strategy):
    Parameters = Parameters
    wants_ticks = True

    def initialize(self):
        self.ticks = 0
        self.was_told = False

    def on_bar(self, bar, view):
        return NoTrade(NoTradeCode.NO_SIGNAL)

    def on_tick(self, tick, view):
        self.ticks += 1
        if not self.was_told:
            self.was_told = True
            out = os.open(self.parameters.mark, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            os.write(out, f"{time.monotonic_ns()} {self.ticks}\\n".encode())
            os.close(out)
        return NoTrade(NoTradeCode.NO_SIGNAL)

    def get_state(self):
        return {"ticks": self.ticks}

    def load_state(self, state):
        self.ticks = state["ticks"]


STRATEGY = Counter
"""


def main() -> None:
    """Measure both sides in turn and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--floor", nargs=3, metavar=("FOLDER", "URL", "MARK"), help=argparse.SUPPRESS)
    told = parser.parse_args()
    if told.floor:
        be_floor(*told.floor)
        return
    rounds = ROUNDS_QUICK if told.quick else ROUNDS
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        ours, floor = measure(Path(name), rounds)
    p50 = Figure("p50", statistics.median(ours), statistics.median(floor), GOAL_P50)
    p99 = {"ours": percentile(ours, 0.99), "floor": percentile(floor, 0.99)}
    show("P3", "kill -9 to the next tick handled", [p50], {"p99_us": p99, "kills_a_side": rounds}, as_json=told.json)


def measure(folder: Path, rounds: int) -> tuple[list[float], list[float]]:
    """Kill each side in turn; give the microseconds of each kill."""
    feed = Feed()
    mark = folder / "desk" / "var" / "strategies" / "counter" / "mark"  # where a strategy may write
    configuration = (
        f"strategies:\n  - name: counter\n    symbol: {SYMBOL}\n    strategy: bench_counter\n"
        f"    parameters: {{mark: {mark}}}\n"
        "    supervision: {intensity: 100000, period_s: 60, backoff_base_s: 0, backoff_cap_s: 0}\n"
        f"global:\n  zmq_market_url: {feed.url}\n"
    )
    ours: list[float] = []
    theirs: list[float] = []
    command = [sys.executable, "-P", __file__, "--floor", folder, feed.url, folder / "floor.mark"]
    with running_desk(folder / "desk", configuration, ("bench_counter", STRATEGY)) as state:
        floor = subprocess.Popen(command)
        try:
            desk_mark, floor_mark = Mark(mark, feed), Mark(folder / "floor.mark", feed)
            desk_mark.next()
            floor_mark.next()
            for _ in range(rounds):
                time.sleep(REST_S)
                ours.append(kill(strategy_pid(state), desk_mark))
                theirs.append(kill(int((folder / "floor.pid").read_text(encoding="ascii")), floor_mark))
        finally:
            floor.terminate()
            floor.wait(10)
    feed.close()
    return ours, theirs


def strategy_pid(state: Path) -> int:
    """Ask the desk for the strategy's process, once it runs."""
    pids: list[int] = []

    def is_running() -> bool:
        rows = ask(state, "status", {}, Clock())["tree"]
        row = next(row for row in rows if row["path"] == "strategies/counter" and row["kind"] != "node")
        pids[:] = [row["pid"]] if row["state"] == "RUNNING" else []
        return bool(pids)

    until(is_running, "the strategy to run")
    return pids[0]


class Mark:
    """A file to which each incarnation writes one line when it has handled its first tick."""

    def __init__(self, file: Path, feed: Feed) -> None:
        """Begin before the first line."""
        self._file, self._feed, self._lines = file, feed, 0

    def next(self) -> int:
        """Publish ticks until there is a new line; give its monotonic time in nanoseconds."""

        def is_there() -> bool:
            self._feed.tick(1)
            return self._file.exists() and len(self._file.read_text(encoding="ascii").splitlines()) > self._lines

        until(is_there, f"a line in {self._file.name}", every_s=TICK_EVERY_S)
        self._lines += 1
        return int(self._file.read_text(encoding="ascii").splitlines()[self._lines - 1].split()[0])


def kill(pid: int, mark: Mark) -> float:
    """Kill and wait for the successor's first tick; give microseconds between the two."""
    began_ns = Clock().monotonic_ns()
    os.kill(pid, signal.SIGKILL)
    return (mark.next() - began_ns) / NS_PER_US


def be_floor(folder: str, url: str, mark: str) -> None:
    """Be the floor: fork a child, and another as soon as it dies."""
    store = Path(folder) / "floor"
    store.mkdir()
    environment = lmdb.open(str(store), sync=False)
    with environment.begin(write=True) as transaction:
        for number in range(RECORDS):
            transaction.put(number.to_bytes(8, "big"), bytes(100))
    environment.close()
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(0))
    child = 0
    try:
        while True:
            child = os.fork()
            if child == 0:
                be_floors_child(store, url, Path(mark))
            fresh = Path(folder) / "floor.pid.new"
            fresh.write_text(str(child), encoding="ascii")
            fresh.rename(Path(folder) / "floor.pid")
            pidfd = os.pidfd_open(child)
            select.select([pidfd], [], [])
            os.waitpid(child, 0)
            os.close(pidfd)
    finally:
        if child:
            os.kill(child, signal.SIGKILL)


def be_floors_child(store: Path, url: str, mark: Path) -> None:
    """Read the store, connect, handle ticks for ever; tell of the first."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    environment = lmdb.open(str(store), sync=False)
    with environment.begin() as transaction:
        records = sum(1 for _ in transaction.cursor())
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    ticks, out = context.socket(zmq.SUB), context.socket(zmq.DEALER)
    out.connect(f"ipc://{store}.out")
    ticks.set(zmq.SUBSCRIBE, SYMBOL.encode())
    ticks.connect(url)
    _ = ticks.recv()
    with mark.open("a", encoding="ascii") as file:
        file.write(f"{Clock().monotonic_ns()} {records}\n")
    while True:
        _ = ticks.recv()


if __name__ == "__main__":
    main()
