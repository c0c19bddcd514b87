"""P9: how much ten strategies that fall again and again cost the ten beside them.

One desk on a feed without barrier runs twenty strategies on two symbols. Ten note how old each tick is when they get
it. The other ten raise at each tick while they are told to, and are quiet otherwise. Both times alternate in one run;
the calm ones are the floor. Every tick must reach every one of the first ten; a lost one is no figure but an error.
Their supervision never tires, with the usual backoff but a cap of two seconds, so that they never come to rest.
"""

import argparse
import struct
import tempfile
import time
from pathlib import Path

from actors.control_client import ask
from bench.figures import BenchError, Figure, over_rounds, show, until
from bench.rig import SYMBOL, Feed, running_desk
from runtime.clock import Clock

GOAL_P99 = 1.25
EACH = 10
PAIRS, PAIRS_QUICK = 8, 3
PHASE_S, PHASE_S_QUICK = 6.0, 4.0
TICK_EVERY_S = 0.01
#: What the size of a tick says: only look, fall, or write down what was seen.
LOOK, FALL, TELL = 1, 2, 3
#: The symbol of those that fall.
OTHER = "QQQ"
#: So many of the ten have fallen at least in each time in which they shall, or nothing was measured.
FALLS_MIN = 10

STRATEGY = """
import os
import struct
import time

import msgspec

from strategies.base import NoTrade, NoTradeCode, Strategy


class Parameters(msgspec.Struct, forbid_unknown_fields=True):
    file: str = ""


class Sibling(Strategy):
    Parameters = Parameters
    wants_ticks = True

    def initialize(self):
        self.ages_ns = []

    def on_bar(self, bar, view):
        return NoTrade(NoTradeCode.NO_SIGNAL)

    def on_tick(self, tick, view):
        if not self.parameters.file:
            if tick.size == 2:
                raise ValueError("told to")
        elif tick.size == 3:
            data = struct.pack(f"<q{len(self.ages_ns)}q", len(self.ages_ns), *self.ages_ns)
            out = os.open(self.parameters.file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            os.write(out, data)
            os.close(out)
            self.ages_ns = []
        else:
            self.ages_ns.append(time.time_ns() - tick.ts_ns)
        return None

    def get_state(self):
        return {}

    def load_state(self, state):
        pass


STRATEGY = Sibling
"""


def main() -> None:
    """Measure both times in turn and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true")
    told = parser.parse_args()
    pairs, phase_s = (PAIRS_QUICK, PHASE_S_QUICK) if told.quick else (PAIRS, PHASE_S)
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        beside, calm, falls = measure(Path(name), pairs, phase_s)
    p99 = Figure("p99", over_rounds(beside, 0.99), over_rounds(calm, 0.99), GOAL_P99)
    more: dict[str, object] = {
        "p50_us": {"ours": over_rounds(beside, 0.5), "floor": over_rounds(calm, 0.5)},
        "falls": falls,
        "ticks": sum(map(len, beside)) + sum(map(len, calm)),
        "lost": 0,
    }
    show(
        "P9",
        "a tick's age at a strategy beside ten that fall, and beside ten that do not",
        [p99],
        more,
        as_json=told.json,
    )


def measure(folder: Path, pairs: int, phase_s: float) -> tuple[list[list[float]], list[list[float]], int]:
    """Let calm and falling times alternate; give the microseconds of each time's ticks, and the number of falls."""
    feed = Feed()
    state = folder / "desk" / "var"
    files = [state / "strategies" / f"good_{number}" / "ages" for number in range(EACH)]
    entries = [_entry(f"good_{number}", SYMBOL, f"file: {file}") for number, file in enumerate(files)]
    entries += [_entry(f"bad_{number}", OTHER, "") for number in range(EACH)]
    configuration = f"strategies:\n{''.join(entries)}global:\n  zmq_market_url: {feed.url}\n"
    beside: list[list[float]] = []
    calm: list[list[float]] = []
    with running_desk(folder / "desk", configuration, ("bench_sibling", STRATEGY)):
        ages = Ages(files, feed)
        ages.connect()
        began = falls = _restarts(state)
        for _ in range(pairs):
            calm.append(ages.of_a_time(phase_s, LOOK))
            beside.append(ages.of_a_time(phase_s, FALL))
            before, falls = falls, _restarts(state)
            if falls - before < FALLS_MIN:
                msg = f"only {falls - before} falls while all ten should fall again and again"
                raise BenchError(msg)
            until(lambda: _all_run(state), "those that fell to come back")
    feed.close()
    return beside, calm, falls - began


def _entry(name: str, symbol: str, parameters: str) -> str:
    return (
        f"  - name: {name}\n    symbol: {symbol}\n    strategy: bench_sibling\n    parameters: {{{parameters}}}\n"
        "    supervision: {intensity: 1000000, period_s: 60, backoff_base_s: 0.2, backoff_cap_s: 2}\n"
    )


class Ages:
    """What the good ones write down: for each time, how old each of its ticks was."""

    def __init__(self, files: list[Path], feed: Feed) -> None:
        """Begin with nothing written."""
        self._files, self._feed = files, feed
        self._read = dict.fromkeys(files, 0)

    def connect(self) -> None:
        """Publish until each of the good ones has heard a tick."""

        def have_all_heard() -> bool:
            self._feed.tick(LOOK)
            self._feed.tick(TELL)
            return all(file.exists() for file in self._files)

        until(have_all_heard, "the first tick at every strategy")
        time.sleep(1)
        self._read = {file: file.stat().st_size for file in self._files}

    def of_a_time(self, span_s: float, wish: int) -> list[float]:
        """Publish at an even pace for so long; give the microseconds of all ticks at all of the good ones.

        Raises:
            BenchError: One of them did not get every tick.
        """
        count = int(span_s / TICK_EVERY_S)
        next_s = time.monotonic()
        for _ in range(count):
            self._feed.tick(LOOK)
            self._feed.tick(wish, OTHER)
            next_s += TICK_EVERY_S
            time.sleep(max(0.0, next_s - time.monotonic()))
        self._feed.tick(TELL)
        ages: list[float] = []
        for file in self._files:
            until(lambda file=file: file.stat().st_size > self._read[file], f"what {file.parent.name} has seen")
            data = file.read_bytes()[self._read[file] :]
            self._read[file] += len(data)
            (seen,) = struct.unpack_from("<q", data)
            if seen != count:
                msg = f"{file.parent.name} got {seen} of {count} ticks"
                raise BenchError(msg)
            ages += [age_ns / 1000 for age_ns in struct.unpack_from(f"<{seen}q", data, 8)]
        return ages


def _rows(state: Path) -> list[dict[str, object]]:
    rows = ask(state, "status", {}, Clock())["tree"]
    return [row for row in rows if row["kind"] == "strategy"]


def _restarts(state: Path) -> int:
    return sum(int(str(row["restarts"])) for row in _rows(state))


def _all_run(state: Path) -> bool:
    return all(row["state"] == "RUNNING" for row in _rows(state))


if __name__ == "__main__":
    main()
