"""P1: from a tick at market data to the approved order at execution, with the whole gate in between.

The desk is the real one, on a foreign feed without barrier; one tick is in flight at a time. The floor is the same
path of four processes with nothing but pyzmq's ipc sockets and msgspec. Both hear the same publisher at the same
pace, in turns: A B A B.
"""

import argparse
import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from pathlib import Path

import msgspec
import zmq

from bench.figures import NS_PER_US, BenchError, Figure, over_rounds, show, until
from bench.rig import SYMBOL, Feed, pin_desk, pin_process, running_desk
from bench.traced import Seen, Trace, trace_file

#: From one tick to the next: by then both sides have come to rest.
PACE_S = 0.006
#: How long the desk gets to book what was filled.
REST_S = 0.03
WARM_UP = 40
GOAL_P50, GOAL_P99 = 1.0, 1.25
#: Entries in a row, each under a tag of its own; then all are closed at once.
ENTRIES = 8
QUIET, CLOSING = 0, ENTRIES + 1

STRATEGY = '''"""Buys on each tick whose size names a tag, and closes everything on the tick behind them."""

from decimal import Decimal

import msgspec

from desk.messages import Bar, Tick
from strategies.base import Action, Decision, NoTrade, NoTradeCode, Signal, Strategy, View


class Parameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """None."""


class TickByTick(Strategy):
    """Does on each tick what its size says."""

    Parameters = Parameters
    wants_ticks = True

    def on_bar(self, bar: Bar, view: View) -> Decision:
        return NoTrade(NoTradeCode.NO_SIGNAL)

    def on_tick(self, tick: Tick, view: View) -> Decision | None:
        wish = int(tick.size)
        if wish == 0:
            return None
        if wish > 8:
            return tuple(Signal(symbol=p.symbol, action=Action.CLOSE, tag=p.tag) for p in view.positions)
        stop = Decimal(str(tick.price)) - 5
        return (Signal(symbol=tick.symbol, action=Action.BUY, quantity=Decimal(1), stop_loss=stop, tag=str(wish)),)


STRATEGY = TickByTick
'''

CONFIGURATION = """\
strategies:
  - name: bench
    symbol: {symbol}
    strategy: tick_by_tick
    risk_config:
      max_order_notional_usd: 100000
      max_position_size_usd: 200000
      max_positions: 10
      max_exposure_pct: 0.5
      min_buying_power_reserve_usd: 1000
      max_data_age_s: 60
global:
  default_balance: 10000000
  feed: {{kind: zmq, url: "{url}", symbols: [{symbol}]}}
"""


class Word(msgspec.Struct, frozen=True, array_like=True, tag="word"):
    """What the floor's processes tell each other: 156 bytes on the wire."""

    symbol: str
    ts_ns: int
    price: float
    quantity: float
    identity: str
    filling: str


# --- the desk ---------------------------------------------------------------------------------


@contextlib.contextmanager
def desk(folder: Path, feed: Feed, *, is_pinned: bool) -> Generator[Trace]:
    """Run the desk; give its trace once ticks come through to orders."""
    configuration = CONFIGURATION.format(symbol=SYMBOL, url=feed.url)
    with running_desk(folder, configuration, ("tick_by_tick", STRATEGY)) as state:
        if is_pinned:
            pin_desk(state)
        trace = Trace(trace_file(state))
        until(lambda: _comes_through(feed, trace), "the first order")
        yield trace


def _comes_through(feed: Feed, trace: Trace) -> bool:
    """Open, then close whatever is open: an approved order shows that the whole path stands."""
    ts_ns = feed.tick(1)
    time.sleep(0.05)
    seen = trace.seen()
    _close_all(feed)
    return seen.order_tick_ns == ts_ns and seen.is_approved


def _close_all(feed: Feed) -> None:
    """Let everything be filled, closed and filled again, and the desk come to rest."""
    for wish in (QUIET, CLOSING, QUIET):
        feed.tick(wish)
        time.sleep(REST_S)


def measure_desk(trace: Trace, feed: Feed, count: int) -> list[float]:
    """Give the microseconds of ``count`` entries; the exits between them keep the book small and do not count."""
    samples: list[float] = []
    number = 0
    while len(samples) < count:
        for wish in range(1, ENTRIES + 1):
            seen = _passage(trace, feed, wish)
            if not seen.is_approved:
                msg = f"entry {number} was refused"
                raise BenchError(msg)
            if number >= WARM_UP:
                samples.append((seen.order_heard_ns - seen.tick_heard_ns) / NS_PER_US)
            number += 1
            feed.tick(QUIET)  # the entry is filled by this tick, and so not while the next one is on its way
            time.sleep(PACE_S)
        _close_all(feed)
    return samples


def _passage(trace: Trace, feed: Feed, wish: int) -> Seen:
    """Send one tick and give what was seen of it and of its order, once both sides have come to rest."""
    ts_ns = feed.tick(wish)
    time.sleep(PACE_S)
    until(lambda: trace.seen().order_tick_ns == ts_ns, "an order")
    return trace.seen()


# --- the floor --------------------------------------------------------------------------------


@contextlib.contextmanager
def floor(folder: Path, feed: Feed, *, is_pinned: bool) -> Generator[Trace]:
    """Run the bare pipeline; give its trace once ticks come through."""
    folder.mkdir(parents=True)
    trace = Trace(folder / "trace")
    processes = [
        subprocess.Popen([sys.executable, "-P", __file__, "--part", part, "--folder", folder, "--url", feed.url])
        for part in ("execution", "risk", "strategy", "market_data")
    ]
    try:
        until(lambda: _floor_comes_through(feed, trace), "the floor's first order")
        if is_pinned:
            for process in processes:
                pin_process(process.pid, {0})
        yield trace
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _floor_comes_through(feed: Feed, trace: Trace) -> bool:
    ts_ns = feed.tick(1)
    time.sleep(0.05)
    return trace.seen().order_tick_ns == ts_ns


def measure_floor(trace: Trace, feed: Feed, count: int) -> list[float]:
    """Give the microseconds of ``count`` passages."""
    samples: list[float] = []
    for number in range(count + WARM_UP):
        seen = _passage(trace, feed, 1)
        if number >= WARM_UP:
            samples.append((seen.order_heard_ns - seen.tick_heard_ns) / NS_PER_US)
        time.sleep(PACE_S)
    return samples


def floor_part(part: str, folder: Path, url: str) -> None:
    """Be one process of the bare pipeline, until killed."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    decoder, encoder = msgspec.msgpack.Decoder(Word), msgspec.msgpack.Encoder()
    trace = Trace(folder / "trace")
    ends = {name: f"ipc://{folder / name}" for name in ("market", "risk", "execution")}
    if part == "market_data":
        source, target = context.socket(zmq.SUB), context.socket(zmq.PUB)
        source.set(zmq.SUBSCRIBE, SYMBOL.encode())
        source.connect(url)
        target.bind(ends["market"])
        while True:
            frame = source.recv()
            trace.note_tick()
            ts_ns = int(frame[frame.index(b"timestamp") + 11 :].split(b",", 1)[0])
            target.send(encoder.encode(Word(SYMBOL, ts_ns, 450.0, 1.0, "i0123456789abcdef", "x" * 100)))
    if part == "execution":
        source = context.socket(zmq.PULL)
        source.bind(ends["execution"])
        while True:
            trace.note_order(decoder.decode(source.recv()).ts_ns, is_approved=True)
    source = context.socket(zmq.SUB if part == "strategy" else zmq.PULL)
    target = context.socket(zmq.PUSH)
    if part == "strategy":
        source.set(zmq.SUBSCRIBE, b"")
        source.connect(ends["market"])
        target.connect(ends["risk"])
    else:
        source.bind(ends["risk"])
        target.connect(ends["execution"])
    while True:
        target.send(encoder.encode(decoder.decode(source.recv())))


# --- both -------------------------------------------------------------------------------------


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one object")
    parser.add_argument("--quick", action="store_true", help="finish within a minute")
    parser.add_argument("--part", default="", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--url", default="", help=argparse.SUPPRESS)
    told = parser.parse_args()
    if told.part:
        floor_part(told.part, told.folder, told.url)
    rounds, count = (3, 120) if told.quick else (7, 400)
    kinds = (("desk", False), ("floor", False), ("desk", True), ("floor", True))
    samples: dict[tuple[str, bool], list[list[float]]] = {kind: [] for kind in kinds}
    feed = Feed()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        for number in range(rounds):
            for side, is_pinned in kinds:
                place = Path(folder) / f"{number}{side[0]}{int(is_pinned)}"
                run, measure = (desk, measure_desk) if side == "desk" else (floor, measure_floor)
                with run(place, feed, is_pinned=is_pinned) as trace:
                    samples[side, is_pinned].append(measure(trace, feed, count))
    feed.close()
    p50, p99 = ({kind: over_rounds(found, share) for kind, found in samples.items()} for share in (0.5, 0.99))
    ours, base, our_pinned, base_pinned = kinds
    figures = (
        Figure("p50", p50[ours], p50[base], GOAL_P50),
        Figure("p99", p99[ours], p99[base], GOAL_P99),
        Figure("p50 pinned", p50[our_pinned], p50[base], GOAL_P50),
        Figure("p99 pinned", p99[our_pinned], p99[base], GOAL_P99),
    )
    more: dict[str, object] = {
        "floor_pinned_us": {"p50": p50[base_pinned], "p99": p99[base_pinned]},
        "samples_a_side": rounds * count,
    }
    show("P1", "tick to approved order, whole gate", figures, more, as_json=told.json)


if __name__ == "__main__":
    main()
