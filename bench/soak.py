"""SOAK: does anything of a desk grow that should not, over minutes or hours at ten times its usual rate.

The desk is the one that ships, its invented market ten times as fast, with two strategies more: one that keeps
something of each bar for ever and one that keeps nothing. Once a second everything is looked at that a process holds:
memory of its own (PSS without what belongs to files), descriptors, threads; of each store how many pages of its file
hold something and how many are free; and the files of the desk. Through each row goes a slope with its confidence.
What grows surely beyond its bound *leaks*; where the run was too short to tell, it is *unclear*. The planted leak must
be found and the other one must not, or the run says nothing.

A store's used pages grow with what it shall keep, and have no bound here. Free ones grow where a reader stands still.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from actors.control_client import DeskDownError, ask
from bench.figures import BenchError, until
from bench.footprint import BULKHEAD, CONFIGURATION, STOP_S
from bench.processes import KIB_PER_MIB, desk_processes, holdings_of
from bench.slopes import Growth, Slope, slope_of
from runtime.clock import Clock
from runtime.errors import StoreError
from runtime.folder import socket_folder
from runtime.store import PAGE_BYTES, Reader

MINUTES, MINUTES_QUICK = 10.0, 0.75
RATE = 10
EVERY_S = 1.0
#: The first part of a run is not judged: caches fill, every branch is taken for the first time.
WARM_UP_SHARE = 1 / 3
SHIPPED_SPEED = 120
#: What each reading may grow by in an hour at this rate, surely: MiB of one process, one of its descriptors, …
BOUNDS = {"memory": 4.0, "descriptors": 6.0, "threads": 6.0, "free": 8.0, "files": 12.0}
UNITS = {"memory": "MiB", "free": "MiB", "used": "MiB"}
LEAKY, STEADY = "strategy soak_leaky", "strategy soak_steady"
MIB = 1 << 20

STRATEGY = '''"""Keeps so many bytes of each bar for ever, or nothing."""

import msgspec

from strategies.base import NoTrade, NoTradeCode, Strategy


class Parameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is kept of each bar."""

    bytes_a_bar: int = 0


class Hoard(Strategy):
    """Never trades."""

    Parameters = Parameters

    def initialize(self):
        self.kept = []

    def on_bar(self, bar, view):
        if self.parameters.bytes_a_bar:
            self.kept.append(b"x" * self.parameters.bytes_a_bar)
        return NoTrade(NoTradeCode.NO_SIGNAL)

    def get_state(self):
        return {}

    def load_state(self, state):
        pass


STRATEGY = Hoard
'''
ENTRY = (
    "  - {{name: {name}, symbol: BTCUSD, strategy: hoard, timeframe: 1m, parameters: {{bytes_a_bar: {size}}},"
    " limits: {{memory_soft_mb: 4000, memory_hard_mb: 4000, address_space_mb: 8000}}}}\n"
)
BYTES_A_BAR = 600


class Key(NamedTuple):
    """What a row of readings is of: a reading's name, and whose."""

    what: str
    whose: str


class Row(NamedTuple):
    """What was found about one row of readings."""

    key: Key
    first: float
    last: float
    slope: Slope | None
    growth: Growth | None


class Readings:
    """Everything that was read, each row with its times."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._rows: dict[Key, tuple[list[float], list[float]]] = {}
        self._pids: dict[str, int] = {}
        self.falls = 0

    def add(self, key: Key, at_s: float, reading: float) -> None:
        """Take one reading in."""
        times_s, values = self._rows.setdefault(key, ([], []))
        times_s.append(at_s)
        values.append(reading)

    def add_processes(self, processes: Mapping[str, int], at_s: float) -> None:
        """Read every process. One that was replaced begins anew, and is counted."""
        for name, pid in processes.items():
            held = holdings_of(pid)
            if held is None:
                continue
            if self._pids.setdefault(name, pid) != pid:
                self._pids[name] = pid
                self.falls += 1
                self._rows = {key: row for key, row in self._rows.items() if key.whose != name}
            self.add(Key("memory", name), at_s, held.memory.anonymous / KIB_PER_MIB)
            self.add(Key("descriptors", name), at_s, held.descriptors)
            self.add(Key("threads", name), at_s, held.threads)

    def lines(self) -> Iterator[str]:
        """Give each reading as a line of CSV: what, whose, seconds, reading."""
        for key, row in sorted(self._rows.items()):
            for at_s, reading in zip(*row, strict=True):
                yield f"{key.what},{key.whose},{at_s:.1f},{reading:.4f}"

    def judged(self) -> Iterator[Row]:
        """Judge each row by what came behind the warm-up."""
        for key, (times_s, values) in sorted(self._rows.items()):
            begin = int(len(times_s) * WARM_UP_SHARE)
            slope = slope_of(times_s[begin:], values[begin:])
            bound = BOUNDS.get(key.what)
            growth = slope.growth(bound) if slope is not None and bound is not None else None
            yield Row(key, values[begin], values[-1], slope, growth)


class Stores:
    """The stores of a desk, opened to be looked at."""

    def __init__(self, state: Path) -> None:
        """Open all that are there."""
        self._readers: dict[str, Reader] = {}
        for file in sorted(state.rglob("data.mdb")):
            try:
                self._readers[str(file.parent.relative_to(state))] = Reader.open(file.parent)
            except StoreError as error:
                msg = f"a store of the desk cannot be read: {error}"
                raise BenchError(msg) from error

    def add_to(self, readings: Readings, at_s: float) -> None:
        """Read how each fills its file."""
        for name, reader in self._readers.items():
            pages = reader.pages()
            readings.add(Key("used", f"store {name}"), at_s, pages.used * PAGE_BYTES / MIB)
            readings.add(Key("free", f"store {name}"), at_s, (pages.touched - pages.used) * PAGE_BYTES / MIB)

    def close(self) -> None:
        """Close them."""
        for reader in self._readers.values():
            reader.close()


class Soaked(msgspec.Struct, frozen=True):
    """What a run gave."""

    rows: list[Row]
    falls: int
    bars: int
    bars_a_second: float
    readings: list[str]
    """Each reading as a line of CSV."""


def main() -> None:
    """Soak, and print what grows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one object")
    parser.add_argument("--quick", action="store_true", help="under a minute; tells only of large leaks")
    parser.add_argument("--minutes", type=float, default=0.0, help=f"how long, instead of {MINUTES:g}")
    parser.add_argument("--readings", type=Path, help="write every single reading to this file, as CSV")
    told = parser.parse_args()
    minutes = told.minutes or (MINUTES_QUICK if told.quick else MINUTES)
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        soaked = soak(Path(name), minutes)
    if told.readings is not None:
        told.readings.write_text("\n".join(["what,whose,at_s,reading", *soaked.readings, ""]), encoding="utf-8")
    show(soaked, minutes, as_json=told.json)
    growth = {row.key: row.growth for row in soaked.rows}
    leaky, steady = (growth.get(Key("memory", name)) for name in (LEAKY, STEADY))
    if leaky is not Growth.LEAKS or steady is Growth.LEAKS:
        print(f"this run tells nothing: the planted leak is {leaky}, and what keeps nothing {steady}", file=sys.stderr)
        sys.exit(1)


def soak(folder: Path, minutes: float) -> Soaked:
    """Run a desk for so long and look at it all the time.

    Raises:
        BenchError: It did not come up, or ended by itself.
    """
    (folder / "strategies").mkdir()
    (folder / "strategies" / "hoard.py").write_text(STRATEGY, encoding="utf-8")
    file, state, output = folder / "desk.yaml", folder / "var", folder / "output"
    file.write_text(configuration(CONFIGURATION.read_text(encoding="utf-8")), encoding="utf-8")
    with output.open("wb") as out:
        process = subprocess.Popen(
            [BULKHEAD, "run", "--config", file, "--state", state], stdin=subprocess.DEVNULL, stdout=out, stderr=out
        )
    readings = Readings()
    try:
        until(lambda: _status(process, state, output)["desk"]["state"] == "RUNNING", "the desk to come up")
        stores, sockets = Stores(state), socket_folder(state)
        began_s = time.monotonic()
        bars = _bars(_status(process, state, output))
        while (at_s := time.monotonic() - began_s) < minutes * 60:
            readings.add_processes(desk_processes(process.pid), at_s)
            stores.add_to(readings, at_s)
            files = [each for below in (state, sockets) for each in below.rglob("*") if not each.is_dir()]
            readings.add(Key("files", "desk"), at_s, len(files))
            if process.poll() is not None:
                raise BenchError(output.read_text(encoding="utf-8"))
            time.sleep(max(0.0, EVERY_S - (time.monotonic() - began_s - at_s)))
        bars = _bars(_status(process, state, output)) - bars
        span_s = time.monotonic() - began_s
        stores.close()
    finally:
        process.terminate()
        process.wait(STOP_S)
    return Soaked(list(readings.judged()), readings.falls, bars, round(bars / span_s, 1), list(readings.lines()))


def configuration(shipped: str) -> str:
    """Give the shipped configuration at ten times its speed, with the two strategies that are measured beside."""
    faster = shipped.replace(f"speed: {SHIPPED_SPEED} ", f"speed: {SHIPPED_SPEED * RATE} ", 1)
    assert faster != shipped, "the configuration that ships has a speed"
    entries = ENTRY.format(name="soak_leaky", size=BYTES_A_BAR) + ENTRY.format(name="soak_steady", size=0)
    head, mark, rest = faster.partition("\nglobal:")
    assert mark, "the configuration that ships has a part for the whole desk"
    return f"{head}{entries}{mark}{rest}"


def _status(process: "subprocess.Popen[bytes]", state: Path, output: Path) -> dict[str, Any]:
    if process.poll() is not None:
        raise BenchError(output.read_text(encoding="utf-8"))
    try:
        return ask(state, "status", {}, Clock())
    except DeskDownError:
        return {"desk": {"state": "DOWN"}}


def _bars(status: Mapping[str, Any]) -> int:
    return int(status["feed"]["bars"])


def show(soaked: Soaked, minutes: float, *, as_json: bool) -> None:
    """Print one object, or a table of what grows surely, what may grow, and how much was flat."""
    own = [row for row in soaked.rows if row.key.whose != LEAKY]
    leaks = [row for row in own if row.growth is Growth.LEAKS]
    if as_json:
        document = {
            "id": "SOAK",
            "minutes": minutes,
            "rate": RATE,
            "bars": soaked.bars,
            "bars_a_second": soaked.bars_a_second,
            "falls": soaked.falls,
            "bounds_per_hour": BOUNDS,
            "leaks": [" of ".join(row.key) for row in leaks],
            "unclear": [" of ".join(row.key) for row in own if row.growth is Growth.UNCLEAR],
            "planted": "found",
            "holds": not leaks and not soaked.falls,
            "rows": [_entry(row) for row in soaked.rows],
        }
        print(msgspec.json.encode(document).decode())
        return
    print(f"SOAK  {minutes:g} min at {RATE}x: {soaked.bars:,} bars, {soaked.bars_a_second}/s, {soaked.falls} falls")
    print(f"  {'':<12} {'':<26} {'from':>9} {'to':>9} {'an hour':>9} {'95 % of it':>19} {'bound':>7}")
    for row in soaked.rows:
        if row.slope is None or (row.growth is Growth.FLAT and row.key.what != "memory"):
            continue
        bound = f"{BOUNDS[row.key.what]:7.1f}" if row.key.what in BOUNDS else "       "
        span = f"{row.slope.low:9.2f} {row.slope.high:9.2f}"
        print(
            f"  {row.key.what:<12} {row.key.whose:<26} {row.first:>9.2f} {row.last:>9.2f} {row.slope.per_hour:>9.2f}"
            f" {span} {bound}  {row.growth or ''}{'  (planted)' if row.key.whose == LEAKY else ''}"
        )
    flat = sum(row.growth is Growth.FLAT and row.key.what != "memory" for row in soaked.rows)
    print(f"  and {flat} rows of {', '.join(BOUNDS)} that are flat; memory, used and free are in MiB")
    print(f"  {'holds' if not leaks and not soaked.falls else 'LEAKS: ' + ', '.join(row.key.whose for row in leaks)}")


def _entry(row: Row) -> dict[str, object]:
    slope = row.slope
    return {
        "what": row.key.what,
        "whose": row.key.whose,
        "unit": UNITS.get(row.key.what, "count"),
        "from": round(row.first, 2),
        "to": round(row.last, 2),
        "per_hour": None if slope is None else [round(each, 2) for each in slope],
        "growth": row.growth,
    }


if __name__ == "__main__":
    main()
