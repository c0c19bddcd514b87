"""P4: a thousand isolated strategies, against a bare swarm of the same imports in the same run.

The bare swarm is one warm parent that forks children which do nothing but connect a SUB and a PUSH socket and count
what they hear. Measured on both sides: memory after a full collection and some seconds of rest, the time until all are
ready, and a hundred ticks a second to all of them with nothing lost. Restarts are measured with the feed quiet, among
all and among ten.
"""

import argparse
import contextlib
import gc
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec
import zmq

from actors.control_client import ask
from actors.tree import PRELOAD
from bench.figures import BenchError, Figure, percentile, show, until
from bench.processes import KIB_PER_MIB, children_of, memory_of
from bench.rig import SYMBOL, Feed, running_desk
from runtime.clock import NS_PER_S, Clock
from runtime.process import raise_open_files

SWARM = 1000
SWARM_QUICK = 60
FEW = 10
KILLS = 60
KILLS_QUICK = 15
TICKS_PER_S = 100
TICKS = 1000
TICKS_QUICK = 200
GOAL_MEMORY = 1.5
GOAL_READY = 2.0
GOAL_RESTART = 1.5
#: How long a thousand processes may take to start, or to hear what they were sent, before a figure is given up.
PATIENCE_S = 300.0
#: A tick of this size asks whoever hears it for a full collection.
COLLECT = 77
#: So long nobody is spoken to before memory is measured: a child of the desk gives back at rest.
REST_S, REST_QUICK_S = 20.0, 2.0
#: The tick that asks for the collection closes a bar a minute later at most, which all hear; then all rest again.
RESTS_MAX = 6
#: Rooms and bare children tell what they counted once a second.
REPORT_S = 1.5

STRATEGY = f"""
import gc

import msgspec

from strategies.base import Strategy


class Parameters(msgspec.Struct, forbid_unknown_fields=True):
    pass


class Listener(Strategy):
    Parameters = Parameters
    wants_ticks = True

    def initialize(self):
        self.ticks = 0

    def on_bar(self, bar, view):
        return ()

    def on_tick(self, tick, view):
        self.ticks += 1
        if tick.size == {COLLECT}:
            gc.collect()

    def get_state(self):
        return {{"ticks": self.ticks}}

    def load_state(self, state):
        self.ticks = state["ticks"]


STRATEGY = Listener
"""


class Side(msgspec.Struct, frozen=True):
    """What one swarm took."""

    ready_s: float
    pss_mib: float
    lost: int
    """Deliveries that did not come."""
    behind_s: float
    """From the last tick until the last delivery was seen."""


class Swarm(msgspec.Struct, frozen=True):
    """The desk's swarm, and what only it can tell."""

    side: Side
    command_s: float
    """From the command until all were ready, the reading of the configuration and the making of stores included."""
    restarts_ms: list[float]
    status_s: float
    stop_s: float


def main() -> None:
    """Measure both sides and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one object")
    parser.add_argument("--quick", action="store_true", help="finish within a minute")
    parser.add_argument("--number", type=int, default=0, help="how many strategies, instead of a thousand")
    parser.add_argument("--bare", nargs=2, metavar=("FOLDER", "NUMBER"), help=argparse.SUPPRESS)
    told = parser.parse_args()
    if told.bare:
        be_bare(Path(told.bare[0]), int(told.bare[1]))
        return
    raise_open_files()
    number = told.number or (SWARM_QUICK if told.quick else SWARM)
    ticks, kills, rest_s = (TICKS_QUICK, KILLS_QUICK, REST_QUICK_S) if told.quick else (TICKS, KILLS, REST_S)
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        bare = measure_bare(Path(name) / "bare", number, ticks, rest_s)
        many = measure_desk(Path(name) / "many", number, ticks, kills, rest_s)
        few = measure_desk(Path(name) / "few", FEW, ticks, kills, 0)  # its memory is of no account
    deliveries = number * ticks
    figures = (
        Figure("memory", many.side.pss_mib, bare.pss_mib, GOAL_MEMORY, "MiB"),
        Figure("ready", many.side.ready_s, bare.ready_s, GOAL_READY, "s"),
        Figure("lost", deliveries, deliveries - many.side.lost, 1.0, "ticks"),
        Figure("restart", percentile(many.restarts_ms, 0.99), percentile(few.restarts_ms, 0.99), GOAL_RESTART, "ms"),
    )
    more: dict[str, object] = {
        "strategies": number,
        "ready_s_from_the_command": round(many.command_s, 2),
        "mib_a_strategy": round(many.side.pss_mib / number, 2),
        "mib_a_bare_child": round(bare.pss_mib / number, 2),
        "deliveries": deliveries,
        "bare_lost": bare.lost,
        "behind_s": {"desk": round(many.side.behind_s, 2), "bare": round(bare.behind_s, 2)},
        "restart_p50_ms": {
            "many": round(statistics.median(many.restarts_ms), 1),
            "ten": round(statistics.median(few.restarts_ms), 1),
        },
        "status_s": round(many.status_s, 3),
        "stop_s": round(many.stop_s, 2),
    }
    show("P4", f"{number} isolated strategies", figures, more, as_json=told.json)


# --- the desk ---------------------------------------------------------------------------------


def measure_desk(folder: Path, number: int, ticks: int, kills: int, rest_s: float) -> Swarm:
    """Run a desk of so many strategies through everything."""
    feed = Feed()
    names = [f"s{one:04}" for one in range(number)]
    began_ns = time.time_ns()
    stopping = Clock()
    told = configuration(names, feed.url)
    with running_desk(folder, told, ("bench_listener", STRATEGY), patience_s=PATIENCE_S) as state:
        logs = Logs(state)
        up_ns = max(logs.ready_ns(name)[-1] for name in names)
        rooted_ns = logs.line_ns("root", " desk.starts ")[-1]
        until(lambda: collected(feed, state), "a collection", every_s=0.5, patience_s=PATIENCE_S)
        pss_mib = rested_mib(state, rest_s)
        restarts_ms = [restart_ms(logs, random.Random(kill).choice(names), state) for kill in range(kills)]
        base = at_rest(lambda: sum(heard(state)))
        lost, behind_s = stream(feed, ticks, lambda: sum(heard(state)) - base, number)
        asked_ns = stopping.monotonic_ns()
        ask(state, "status", {}, Clock())
        status_s = (stopping.monotonic_ns() - asked_ns) / NS_PER_S
        stop_ns = stopping.monotonic_ns()
    stop_s = (stopping.monotonic_ns() - stop_ns) / NS_PER_S
    feed.close()
    side = Side((up_ns - rooted_ns) / NS_PER_S, pss_mib, lost, behind_s)
    return Swarm(side, (up_ns - began_ns) / NS_PER_S, restarts_ms, status_s, stop_s)


def configuration(names: list[str], url: str) -> str:
    """Write the configuration of a desk whose strategies may fall as often as they like, and come back at once."""
    entry = (
        "  - {{name: {name}, symbol: {symbol}, strategy: bench_listener,"
        " supervision: {{intensity: 100000, period_s: 60, backoff_base_s: 0, backoff_cap_s: 0}}}}\n"
    )
    entries = "".join(entry.format(name=name, symbol=SYMBOL) for name in names)
    return f"strategies:\n{entries}global:\n  zmq_market_url: {url}\n"


def heard(state: Path) -> list[int]:
    """Ask how many ticks each strategy has handled."""
    return [entry["ticks_processed"] for entry in ask(state, "status", {}, Clock())["strategies"]]


def collected(feed: Feed, state: Path) -> bool:
    """Ask all for a full collection; say whether all have heard such a tick."""
    feed.tick(COLLECT)
    return all(heard(state))


def rested_mib(state: Path, rest_s: float) -> float:
    """Give the memory of all processes once no strategy has heard anything for a while, nor meanwhile."""
    rows = tree(state)
    root = pids_parent(next(row["pid"] for row in rows if row["pid"]))
    for _ in range(RESTS_MAX):
        before = handled(rows)
        time.sleep(rest_s)
        pss_mib = sum(memory_of(pid).whole for pid in {*children_of(root), root}) / KIB_PER_MIB
        rows = tree(state)
        if handled(rows) == before:
            return pss_mib
    msg = f"the strategies were spoken to in each of {RESTS_MAX} rests"
    raise BenchError(msg)


def tree(state: Path) -> list[dict[str, Any]]:
    """Give the rows of the desk's tree."""
    return ask(state, "status", {}, Clock())["tree"]


def handled(rows: Iterable[Mapping[str, Any]]) -> int:
    """Say how many messages all strategies have heard."""
    return sum(row["handled"] for row in rows if row["path"].startswith("strategies/"))


def at_rest(count: Callable[[], int]) -> int:
    """Give a count once it stands still for longer than rooms take to report."""
    was = -1
    while (now := count()) != was:
        was = now
        time.sleep(REPORT_S)
    return now


class Logs:
    """The logs of a desk's processes."""

    def __init__(self, state: Path) -> None:
        """Take the desk's state folder."""
        self._folder = state / "log"

    def line_ns(self, path: str, mark: str) -> list[int]:
        """Give the wall times of the lines that hold ``mark``, oldest first."""
        file = self._folder / f"{path.replace('/', '.')}.log"
        with contextlib.suppress(FileNotFoundError):
            return [time_ns(line) for line in file.read_text(encoding="utf-8").splitlines() if mark in line]
        return []

    def ready_ns(self, name: str) -> list[int]:
        """Give when each incarnation of a strategy was READY."""
        return self.line_ns(f"strategies/{name}", f" strategies/{name} ready")


def time_ns(line: str) -> int:
    """Read the time of a line: 2026-11-21T14:15:16.123456Z."""
    seconds = time.mktime(time.strptime(line[:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone
    return int(seconds) * NS_PER_S + int(line[20:26]) * 1000


def restart_ms(logs: Logs, name: str, state: Path) -> float:
    """Kill a strategy with SIGKILL; give the milliseconds until its successor was READY."""
    before = len(logs.ready_ns(name))
    pid = next(row["pid"] for row in tree(state) if row["path"] == f"strategies/{name}" and row["pid"])
    began_ns = time.time_ns()
    os.kill(pid, signal.SIGKILL)
    until(lambda: len(logs.ready_ns(name)) > before, f"{name} to be back", every_s=0.002)
    return (logs.ready_ns(name)[-1] - began_ns) / 1_000_000


def stream(feed: Feed, ticks: int, count: Callable[[], int], number: int) -> tuple[int, float]:
    """Publish ticks at the pace; give how many deliveries are missing, and the seconds until the last one was seen."""
    clock = Clock()
    due_ns = clock.monotonic_ns()
    for _ in range(ticks):
        feed.tick(1)
        due_ns += NS_PER_S // TICKS_PER_S
        time.sleep(max(0, due_ns - clock.monotonic_ns()) / NS_PER_S)
    ended_ns = clock.monotonic_ns()
    counted = -1
    with contextlib.suppress(BenchError):
        until(lambda: count() >= ticks * number, "all deliveries", every_s=0.5, patience_s=PATIENCE_S)
    behind_s = (clock.monotonic_ns() - ended_ns) / NS_PER_S
    counted = count()
    return ticks * number - counted, behind_s


# --- the bare swarm ---------------------------------------------------------------------------


def measure_bare(folder: Path, number: int, ticks: int, rest_s: float) -> Side:
    """Run the bare swarm through the same."""
    folder.mkdir(parents=True)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    market, sink = context.socket(zmq.PUB), context.socket(zmq.PULL)
    for socket, name in ((market, "market"), (sink, "sink")):
        socket.set(zmq.SNDHWM, 50_000)
        socket.set(zmq.RCVHWM, 50_000)
        socket.set(zmq.BACKLOG, 4096)
        socket.bind(f"ipc://{folder / name}")
    clock = Clock()
    began_ns = clock.monotonic_ns()
    with bare_swarm(folder, number) as process:
        for _ in range(number):
            if not sink.poll(int(PATIENCE_S * 1000)):
                raise BenchError((folder / "output").read_text(encoding="utf-8"))
            sink.recv()
        ready_s = (clock.monotonic_ns() - began_ns) / NS_PER_S
        pids = [process, *children_of(process)]
        counts: dict[bytes, int] = {}
        feed = BareFeed(market)
        until(lambda: _collected(sink, counts, feed, number), "a collection", every_s=REPORT_S, patience_s=PATIENCE_S)
        base = at_rest(lambda: _counted(sink, counts))
        time.sleep(rest_s)
        pss_mib = sum(memory_of(pid).whole for pid in pids) / KIB_PER_MIB
        lost, behind_s = stream(feed, ticks, lambda: _counted(sink, counts) - base, number)
    context.destroy(linger=0)
    return Side(ready_s, pss_mib, lost, behind_s)


class BareFeed(Feed):
    """The same ticks, straight to the children."""

    def __init__(self, socket: "zmq.Socket[bytes]") -> None:
        """Take a socket that is bound."""
        self._socket = socket
        self._last_ns = 0


def _counted(sink: "zmq.Socket[bytes]", counts: dict[bytes, int]) -> int:
    with contextlib.suppress(zmq.Again):
        while True:
            pid, _, count = sink.recv(zmq.NOBLOCK).partition(b" ")
            counts[pid] = int(count)
    return sum(counts.values())


def _collected(sink: "zmq.Socket[bytes]", counts: dict[bytes, int], feed: Feed, number: int) -> bool:
    """Ask all for a full collection; say whether all have heard such a tick, so that all are subscribed."""
    feed.tick(COLLECT)
    _counted(sink, counts)
    return len(counts) == number and all(counts.values())


@contextlib.contextmanager
def bare_swarm(folder: Path, number: int) -> Generator[int]:
    """Run the parent of the bare swarm; give its pid."""
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-P", __file__, "--bare", folder, str(number)], stdout=output, stderr=output
        )
    try:
        yield process.pid
    finally:
        for pid in children_of(process.pid):
            os.kill(pid, signal.SIGKILL)
        process.kill()
        process.wait()


def be_bare(folder: Path, number: int) -> None:
    """Be the warm parent: import what the desk's zygote imports, fork all, and wait."""
    raise_open_files()
    for module in PRELOAD:
        prepare = getattr(import_module(module), "warm", None)
        if prepare is not None:
            prepare()
    gc.collect()
    gc.freeze()
    for _ in range(number):
        if os.fork() == 0:
            be_bare_child(folder)
    signal.pause()


def be_bare_child(folder: Path) -> None:
    """Connect, say so, and count ticks for ever; tell the count once a second."""
    gc.unfreeze()
    gc.freeze()
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    ticks, out = context.socket(zmq.SUB), context.socket(zmq.PUSH)
    ticks.set(zmq.RCVHWM, 50_000)
    ticks.set(zmq.SUBSCRIBE, SYMBOL.encode())
    ticks.connect(f"ipc://{folder / 'market'}")
    out.connect(f"ipc://{folder / 'sink'}")
    name = str(os.getpid()).encode()
    out.send(name + b" 0")
    count = told = 0
    while True:
        if not ticks.poll(1000 if count != told else None):
            told = count
            out.send(b"%b %d" % (name, count))
            continue
        if f'"size":{COLLECT}}}'.encode() in ticks.recv():
            gc.collect()
        count += 1
        if count % TICKS_PER_S == 0:
            told = count
            out.send(b"%b %d" % (name, count))


# --- both -------------------------------------------------------------------------------------


def pids_parent(pid: int) -> int:
    """Name the parent of a process."""
    return int(Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[1])


if __name__ == "__main__":
    main()
