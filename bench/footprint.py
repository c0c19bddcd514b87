"""P8: the memory of the default desk on paper, against fresh interpreters with zmq, msgspec and lmdb.

The desk is the one of ``make run``, with the configuration that ships. Memory is PSS, in which what several processes
share counts once. The floor is as many fresh interpreters as the desk has processes: one is started beside the running
desk, with which it shares the code that both have on the disk, so it is the smaller for it and the goal the harder.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from actors.control_client import DeskDownError, ask
from bench.figures import BenchError, Figure, show, until
from bench.processes import KIB_PER_MIB, desk_processes, holdings_of, memory_of
from runtime.clock import Clock

GOAL = 1.0
#: How long the desk trades before it is looked at, so that every process has done what it does.
REST_S, REST_S_QUICK = 60.0, 15.0
LOOKS = 5
CONFIGURATION = Path(__file__).parents[1] / "config" / "strategies.yaml"
BULKHEAD = Path(sys.executable).with_name("bulkhead")
FRESH = "import zmq, msgspec, lmdb\nprint('ready', flush=True)\ninput()"
STOP_S = 60.0


def main() -> None:
    """Measure both sides in turn and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one object")
    parser.add_argument("--quick", action="store_true", help="finish within a minute")
    told = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        looks, fresh = measure(Path(name), REST_S_QUICK if told.quick else REST_S)
    each = {name: statistics.median(look[name] for look in looks) / KIB_PER_MIB for name in looks[0]}
    one = statistics.median(fresh) / KIB_PER_MIB
    figure = Figure("pss", round(sum(each.values()), 1), round(one * len(each), 1), GOAL, "MiB")
    more: dict[str, object] = {
        "processes": len(each),
        "mib_a_process": round(sum(each.values()) / len(each), 1),
        "mib_a_fresh_interpreter": round(one, 1),
        "mib": {name: round(mib, 1) for name, mib in each.items()},
    }
    show("P8", "the default desk on paper, and as many fresh interpreters", [figure], more, as_json=told.json)


def measure(folder: Path, rest_s: float) -> tuple[list[dict[str, int]], list[int]]:
    """Run the desk; give what each of its processes took at each look (KiB), and each fresh interpreter beside it."""
    looks: list[dict[str, int]] = []
    fresh: list[int] = []
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(
            [BULKHEAD, "run", "--config", CONFIGURATION, "--state", folder / "var"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        until(lambda: _runs(process, folder), "the desk to come up")
        time.sleep(rest_s)
        for _ in range(LOOKS):
            looks.append(_whole(lambda: _look(process.pid)))
            fresh.append(fresh_interpreter())
    finally:
        process.terminate()
        process.wait(STOP_S)
    return looks, fresh


def fresh_interpreter() -> int:
    """Start a bare interpreter that has imported what every process of a desk needs; give its PSS in KiB."""
    with subprocess.Popen(
        [sys.executable, "-c", FRESH], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    ) as bare:
        assert bare.stdout is not None, "its output is a pipe"
        if bare.stdout.readline() != b"ready\n":
            msg = "the fresh interpreter did not start"
            raise BenchError(msg)
        kib = memory_of(bare.pid).whole
        bare.communicate(b"\n")
    return kib


def _look(root: int) -> dict[str, int] | None:
    """Read all processes once; None where one of them went meanwhile."""
    held = {name: holdings_of(pid) for name, pid in desk_processes(root).items()}
    found = {name: each.memory.whole for name, each in held.items() if each is not None}
    return found if len(found) == len(held) else None


def _whole(look: Callable[[], dict[str, int] | None]) -> dict[str, int]:
    found: dict[str, int] = {}

    def is_whole() -> bool:
        nonlocal found
        found = look() or {}
        return bool(found)

    until(is_whole, "a look at all processes")
    return found


def _runs(process: subprocess.Popen[bytes], folder: Path) -> bool:
    if process.poll() is not None:
        raise BenchError((folder / "output").read_text(encoding="utf-8"))
    try:
        return bool(ask(folder / "var", "status", {}, Clock())["desk"]["state"] == "RUNNING")
    except DeskDownError:
        return False


if __name__ == "__main__":
    main()
