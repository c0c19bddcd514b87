"""P2: from an approval on the wire to its order in the journal, synced, and the receipt that says so.

The desk's side is execution as the desk runs it: its own process, room, shell, store and links. It gets approvals that
were made before; what it says to the venue is taken in and acknowledged, and never answered, for what comes after the
order is on the disk is not measured. The floor is as little as can do the same: a process that drains a socket, puts
records of the same size into LMDB in one synced transaction, and acknowledges them with one frame. Both hear the same
sender, in turns: A B A B. It sends together what is due together, as risk's shell does, and naps between two looks: it
shares two cores with what it measures. Back-pressure and breaker are out of the way: no venue answers here.
"""

import argparse
import os
import struct
import subprocess
import sys
import tempfile
import time
from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from decimal import Decimal
from itertools import repeat
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, NamedTuple, Protocol

import lmdb
import msgspec
import zmq

from actors.arguments import PAPER, ExecutionArguments, store_path
from actors.settings import ExecutionSettings
from actors.words import desk_codec
from bench.figures import NS_PER_US, PATIENCE_S, BenchError, Figure, over_rounds, show, until
from desk.identity import intent_id, order_id
from desk.messages import (
    Effect,
    Intent,
    IntentJudged,
    OrderType,
    ProtectiveStop,
    Side,
    VenueSnapshot,
    VenueWanted,
)
from runtime.bus import Bus
from runtime.bus_words import Address
from runtime.child import ChildRequest, log_file, run
from runtime.clock import NS_PER_S
from runtime.store import Reader
from runtime.words import Ready

if TYPE_CHECKING:
    from collections.abc import Callable

#: Approvals a second that are offered for the figures of latency, where the floor can take them.
OFFERED = 20_000
#: Approvals that may be on their way at full speed; the same for both sides.
WINDOW = 1_000
#: Records of the journal that are no order's, at most.
RECORDS_BESIDE = 10
#: What is sent before anything counts.
WARM_UP = 500
#: How long the sender leaves the cores to others between two looks at what is due and what has come back.
NAP_S = 500e-6
#: What of the floor's full speed is offered at most, so that its own queue stays short.
SHARE_OFFERED = 0.8
GOAL_THROUGHPUT, GOAL_P50 = 1 / 0.7, 1.5
SYMBOLS = ("SPY", "QQQ", "IWM", "DIA")
BALANCE = Decimal(1_000_000)
_NUMBER = struct.Struct("<Q")


class OneSide(Protocol):
    """One side: takes bodies, and says how many of them are on the disk."""

    def send(self, bodies: Sequence[bytes]) -> None:
        """Send the next bodies, one or more, which are due together."""
        ...

    def acknowledged(self, timeout_ms: int) -> int:
        """Wait at most so long for news, and give how many bodies are acknowledged in all."""
        ...

    def check(self) -> None:
        """Look whether its process lives still.

        Raises:
            BenchError: It fell.
        """
        ...

    def cpu_ns(self) -> int:
        """Give the processor time that its process has taken so far."""
        ...

    def close(self) -> None:
        """End its process."""
        ...


class Run(NamedTuple):
    """One passage of a side: bodies a second, and the microseconds of each from being sent to being acknowledged.

    ``cpu_us`` is the processor time that the side took for one; it says most where others share the machine.
    """

    rate: float
    latencies_us: list[float]
    cpu_us: float


def cpu_ns_of(process: subprocess.Popen[bytes]) -> int:
    """Give the processor time that all threads of a process have taken so far."""
    tasks = Path(f"/proc/{process.pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text(encoding="ascii").split()[0]) for task in tasks)


# --- the desk ---------------------------------------------------------------------------------


class Desk:
    """Execution in a process of its own; this process is root, risk and the venue to it."""

    def __init__(self, folder: Path) -> None:
        """Start it and wait until its books are reconciled."""
        self._state, sockets = folder / "var", folder / "run"
        for place in (self._state / "log", sockets):
            place.mkdir(parents=True, mode=0o700)
        self._buses = {name: Bus(sockets, Address(name, 1)) for name in ("root", "risk", PAPER)}
        self._root, self._venue = self._buses["root"].hub(), self._buses[PAPER].hub()
        self._process = subprocess.Popen([sys.executable, "-P", __file__, "--part", "desk", "--folder", folder])
        self._link = self._buses["risk"].spoke("execution")
        self._codec, self._sent, self._is_ready, self._is_reconciled = desk_codec(), 0, False, False
        self._poller = zmq.Poller()
        self._handlers: dict[zmq.Socket[bytes], Callable[[], object]] = {
            self._link.socket: self._hear_execution,
            self._venue.socket: self._hear_as_venue,
            self._root.socket: self._hear_as_root,
        }
        for socket in self._handlers:
            self._poller.register(socket, zmq.POLLIN)
        until(self._is_up, "execution", every_s=0)

    def _is_up(self) -> bool:
        """Say whether execution has heard that the venue holds nothing either: before, it refuses entries."""
        self.check()
        self.acknowledged(10)
        return self._is_ready and self._is_reconciled and not self._venue.waiting("execution")

    def check(self) -> None:
        """Look whether it lives still.

        Raises:
            BenchError: It fell; the text is its last words.
        """
        if self._process.poll() is not None:
            texts = [log_file(self._state, "execution", kind) for kind in ("out", "last_words")]
            raise BenchError("; ".join(text.read_text(encoding="utf-8") for text in texts if text.exists()))

    def send(self, bodies: Sequence[bytes]) -> None:
        """Post them as risk's shell does what one turn has for one peer; they are repeated until acknowledged."""
        self._link.post_all(bodies)
        self._sent += len(bodies)

    def acknowledged(self, timeout_ms: int) -> int:
        """Take in whatever execution says to whomever, and acknowledge it."""
        for socket, _ in self._poller.poll(timeout_ms):
            self._handlers[socket]()
        return self._sent - self._link.waiting()

    def _hear_execution(self) -> None:
        for _ in self._link.receive():
            pass  # receipts only; they are in ``waiting``
        self._link.connected()

    def _hear_as_venue(self) -> None:
        for heard in self._venue.receive():
            if not self._is_reconciled:
                self._answer(self._codec.decode(heard.body))
        self._venue.acknowledge()

    def _hear_as_root(self) -> None:
        for heard in self._root.receive():
            self._is_ready = self._is_ready or isinstance(self._codec.decode(heard.body), Ready)
        self._root.acknowledge()

    def _answer(self, word: object) -> None:
        """Say once, at the start, that the venue holds nothing either: the gate opens."""
        if isinstance(word, VenueWanted):
            snapshot = VenueSnapshot(word.query, (), {}, BALANCE, (), 1)
            self._venue.post("execution", self._codec.encode(snapshot), is_sure=True)
            self._is_reconciled = True

    def record_bytes(self, orders: int) -> int:
        """Look whether so many orders are in the journal, and give the size of one's record.

        Raises:
            BenchError: They were acknowledged, and are not there.
        """
        reader = Reader.open(store_path(self._state, "execution"))
        head = reader.head()
        sizes = [len(data) for _, data in reader.records(max(0, head - WARM_UP))]
        reader.close()
        if not orders <= head <= orders + RECORDS_BESIDE:  # an order that is refused has two records
            msg = f"{orders} orders were acknowledged, and the journal has {head} records"
            raise BenchError(msg)
        return sum(sizes) // len(sizes)

    def cpu_ns(self) -> int:
        """Give the processor time of execution."""
        return cpu_ns_of(self._process)

    def close(self) -> None:
        """End execution, and all links to it."""
        self._process.kill()
        self._process.wait()
        for bus in self._buses.values():
            bus.close()


def be_desk(folder: Path) -> int:
    """Be execution, until killed."""
    pace = ExecutionSettings(queue_max=1_000_000_000, breaker_latency_s=1_000_000.0)
    told = ExecutionArguments(BALANCE, SYMBOLS, is_stepped=False, owners={}, pace=pace)
    request = ChildRequest(
        path="execution",
        epoch=1,
        title="bench-execution",
        entry="actors.makers:execution",
        arguments=msgspec.msgpack.encode(told),
        root_pid=os.getppid(),
        state=str(folder / "var"),
        sockets=str(folder / "run"),
        log_level="INFO",
    )
    return run(request)


# --- the floor --------------------------------------------------------------------------------


class Floor:
    """The least that drains, syncs and acknowledges, in a process of its own."""

    def __init__(self, folder: Path) -> None:
        """Start it and wait until it answers."""
        folder.mkdir(parents=True)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.set(zmq.LINGER, 0)
        self._socket.bind(f"ipc://{folder / 'floor'}")
        self._process = subprocess.Popen([sys.executable, "-P", __file__, "--part", "floor", "--folder", folder])
        self._sent = self._done = 0
        if not self._socket.poll(int(PATIENCE_S * 1000)):
            msg = "the floor does not come up"
            raise BenchError(msg)
        self._socket.recv()

    def send(self, bodies: Sequence[bytes]) -> None:
        """Send each with its number."""
        for body in bodies:
            self._sent += 1
            self._socket.send_multipart([_NUMBER.pack(self._sent), body])

    def acknowledged(self, timeout_ms: int) -> int:
        """Take in the numbers that come back."""
        while self._socket.poll(timeout_ms):
            self._done, timeout_ms = _NUMBER.unpack(self._socket.recv())[0], 0
        return self._done

    def check(self) -> None:
        """Look whether it lives still.

        Raises:
            BenchError: It fell.
        """
        if self._process.poll() is not None:
            msg = "the floor fell"
            raise BenchError(msg)

    def cpu_ns(self) -> int:
        """Give its processor time."""
        return cpu_ns_of(self._process)

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        self._context.destroy(linger=0)


def be_floor(folder: Path) -> None:
    """Be the floor, until killed: all that waits becomes one synced transaction and one frame back."""
    store = folder / "store"
    store.mkdir()
    environment = lmdb.open(str(store), map_size=1 << 30, meminit=False)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.connect(f"ipc://{folder / 'floor'}")
    socket.send(_NUMBER.pack(0))
    while True:
        batch = [socket.recv_multipart()]
        try:
            while True:
                batch.append(socket.recv_multipart(zmq.NOBLOCK))
        except zmq.Again:
            pass
        with environment.begin(write=True) as transaction:
            for number, body in batch:
                transaction.put(number[::-1], body, append=True)
        socket.send(batch[-1][0])


# --- both -------------------------------------------------------------------------------------


def at_rate(side: OneSide, bodies: list[bytes], rate: float) -> Run:
    """Offer bodies at an even rate, whatever comes back; late ones count from when they were to be sent."""
    began_ns = time.monotonic_ns()
    due_ns = [began_ns + int(number * NS_PER_S / rate) for number in range(len(bodies))]
    return _pass(side, bodies, due_ns, len(bodies))


def at_full_speed(side: OneSide, bodies: list[bytes]) -> Run:
    """Send as fast as a window of unacknowledged ones allows."""
    return _pass(side, bodies, [], WINDOW)


def _pass(side: OneSide, bodies: list[bytes], due_ns: list[int], most: int) -> Run:
    """Send each body when it is due (without ``due_ns`` at once), while fewer than ``most`` are on their way."""
    began_ns, cpu_ns = time.monotonic_ns(), side.cpu_ns()
    since: deque[int] = deque()
    latencies: list[float] = []
    sent, before = 0, side.acknowledged(0)
    while len(latencies) < len(bodies):
        now_ns = time.monotonic_ns()
        end = bisect_right(due_ns, now_ns, sent) if due_ns else len(bodies)
        end = min(end, sent + most - len(since))
        if end > sent:
            side.send(bodies[sent:end])
            since += due_ns[sent:end] or repeat(now_ns, end - sent)
            sent = end
        if is_more := bool(due_ns) and sent < len(bodies):
            time.sleep(NAP_S)
        after = side.acknowledged(0 if is_more else 1)
        now_ns = time.monotonic_ns()
        latencies += [(now_ns - since.popleft()) / NS_PER_US for _ in range(after - before)]
        before = after
        _check_patience(began_ns, side)
    return _run(side, latencies, began_ns, cpu_ns)


def _run(side: OneSide, latencies: list[float], began_ns: int, cpu_ns: int) -> Run:
    count = len(latencies)
    spent_us = (side.cpu_ns() - cpu_ns) / NS_PER_US
    return Run(count * NS_PER_S / (time.monotonic_ns() - began_ns), latencies, spent_us / count)


def _check_patience(began_ns: int, side: OneSide) -> None:
    if time.monotonic_ns() - began_ns > PATIENCE_S * NS_PER_S:
        side.check()
        msg = f"not everything was acknowledged within {PATIENCE_S:.0f} s"
        raise BenchError(msg)


def approvals(number: int, count: int) -> list[bytes]:
    """Make ``count`` approvals of entries, each its own order; ``number`` sets those of one round apart."""
    codec = desk_codec()
    found: list[bytes] = []
    for index in range(count):
        symbol, bar_ts_ns = SYMBOLS[index % len(SYMBOLS)], (number * 10_000_000 + index) * NS_PER_S
        name = intent_id("bench", symbol, "1Min", bar_ts_ns, 0)
        intent = Intent(
            intent_id=name,
            strategy="bench",
            symbol=symbol,
            timeframe="1Min",
            bar_ts_ns=bar_ts_ns,
            number=0,
            effect=Effect.OPEN,
            side=Side.BUY,
            order_type=OrderType.LIMIT,
            quantity=Decimal("1.250"),
            size_pct=None,
            limit_price=Decimal("450.25"),
            stop_loss=Decimal("448.10"),
            take_profit=Decimal("455.75"),
            protective_stop=ProtectiveStop.VENUE,
            order_ttl_ns=0,
            decided_ns=bar_ts_ns,
            expires_ns=bar_ts_ns + 60 * NS_PER_S,
            reference_price=Decimal("450.27"),
            tag="main",
            reason="crossed upwards",
            epoch=1,
        )
        found.append(codec.encode(IntentJudged(order_id(name), intent, Decimal("1.250"), (), bar_ts_ns)))
    return found


class Runs(NamedTuple):
    """All passages of one side."""

    fast: list[Run]
    even: list[Run]

    def us_an_order(self) -> float:
        """Give the microseconds that one order takes at the offered rate: the median of the rounds."""
        return round(NS_PER_S / NS_PER_US / median(run.rate for run in self.even), 1)

    def cpu_us(self) -> float:
        """Give the microseconds of processor time that one order takes: the median of all passages."""
        return round(median(run.cpu_us for run in self.fast + self.even), 1)

    def latency(self, share: float) -> float:
        """Give the median over the rounds of one percentile of the acknowledgement, at the offered rate."""
        return over_rounds([run.latencies_us for run in self.even], share)

    def rates(self) -> dict[str, int]:
        """Give orders a second at the offered rate, and at full speed."""
        return {
            "sustained": round(median(run.rate for run in self.even)),
            "full_speed": round(median(run.rate for run in self.fast)),
        }


def measure(folder: Path, rounds: int, count: int) -> tuple[Runs, Runs, float]:
    """Measure both sides in turn, at full speed and then at one rate that the floor can take; give that rate too."""
    ours, theirs = Runs([], []), Runs([], [])
    offered = float(OFFERED)
    for number in range(rounds):
        bodies = approvals(number, WARM_UP + 2 * count)
        desk = Desk(folder / f"{number}d")
        try:
            at_full_speed(desk, bodies[:WARM_UP])
            ours.fast.append(at_full_speed(desk, bodies[WARM_UP : WARM_UP + count]))
            record = bytes(desk.record_bytes(WARM_UP + count))
            floor = Floor(folder / f"{number}f")
            try:
                at_full_speed(floor, [record] * WARM_UP)
                theirs.fast.append(at_full_speed(floor, [record] * count))
                offered = min(offered, SHARE_OFFERED * theirs.fast[-1].rate)
                ours.even.append(at_rate(desk, bodies[WARM_UP + count :], offered))
                theirs.even.append(at_rate(floor, [record] * count, offered))
            finally:
                floor.close()
        finally:
            desk.close()
    return ours, theirs, offered


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one object")
    parser.add_argument("--quick", action="store_true", help="finish within a minute")
    parser.add_argument("--part", default="", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    told = parser.parse_args()
    if told.part == "desk":
        sys.exit(be_desk(told.folder))
    if told.part == "floor":
        be_floor(told.folder)
    rounds, count = (3, 10_000) if told.quick else (7, 20_000)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        ours, theirs, offered = measure(Path(folder), rounds, count)
    figures = (
        Figure("an order", ours.us_an_order(), theirs.us_an_order(), GOAL_THROUGHPUT),
        Figure("p50 ack", ours.latency(0.5), theirs.latency(0.5), GOAL_P50),
    )
    more: dict[str, object] = {
        "offered_per_s": round(offered),
        "ours_per_s": ours.rates(),
        "floor_per_s": theirs.rates(),
        "cpu_us_an_order": {"ours": ours.cpu_us(), "floor": theirs.cpu_us()},
        "p99_ack_us": {"ours": ours.latency(0.99), "floor": theirs.latency(0.99)},
        "orders_a_side": 2 * rounds * count,
    }
    show("P2", "approval to synced and acknowledged order", figures, more, as_json=told.json)


if __name__ == "__main__":
    main()
