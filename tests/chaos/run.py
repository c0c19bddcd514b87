"""One storm: ``python -m tests.chaos.run --rules kraken --seed 7 --seconds 100``. Ends with 0 where all was right.

Real processes are not deterministic: a seed gives the same faults at the same times, the market the same prices, the
strategies the same draws. What meets what is up to the machine, so a seed that failed may pass the next time; run it
some times, and read the timeline. With ``--small-disk`` the state folder lies on a small file system of its own, which
can be filled: run the whole under ``unshare -Urm`` for that.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

from tests.chaos.aftermath import Aftermath
from tests.chaos.ground import TRADERS, WITNESS_HIT, Ground
from tests.chaos.port import BOOKS_NOTHING, PLANTED, SENDS_TWICE
from tests.chaos.schedule import schedule
from tests.chaos.storm import Storm
from tests.chaos.watch import PATIENCE_S, Watch

SMALL_DISK_MIB = 512
#: So many executions show a planted fault; the desk may notice it too, and halt over it before there are more.
PLANTED_EXECUTIONS = {SENDS_TWICE: 2, BOOKS_NOTHING: 3}
#: How long the harness waits for a planted fault to go away, which it must not.
PLANTED_PATIENCE_S = 10.0


def main() -> int:
    """Run one storm; give 0 where all was right, 1 where not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--rules", choices=("kraken", "alpaca"), default="kraken", help="whose rules the exchange plays"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=90.0, help="how long things go wrong")
    parser.add_argument(
        "--planted", choices=sorted(PLANTED), default="", help="no storm, but a fault that must be found"
    )
    parser.add_argument("--small-disk", action="store_true", help="mount a small file system for the state folder")
    parser.add_argument("--tell", action="store_true", help="print the timeline also where all is right")
    parser.add_argument("--keep", action="store_true", help="leave the folder there")
    told = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    without: frozenset[str] = frozenset()
    has_mount = told.small_disk and has_small_disk(folder / "desk" / "var")
    if not has_mount:
        without = frozenset({"full_disk"})
        say("no fault full_disk: the state folder is on no small file system of its own")
    faults = schedule(told.seed, told.seconds, [*TRADERS, WITNESS_HIT], without=without)
    say(f"rules {told.rules}, seed {told.seed}, {told.seconds:g} s, {len(faults)} faults, in {folder}")
    wrong: list[str] = []
    with Ground(folder, told.rules, told.seed, told.planted) as ground:
        watch = Watch(ground, PLANTED_PATIENCE_S if told.planted else PATIENCE_S)
        storm, aftermath = Storm(watch, faults), Aftermath(watch)
        try:
            if told.planted:  # the desk itself may halt over it: what is asked here is whether the harness sees it
                aftermath.until_executions(PLANTED_EXECUTIONS[told.planted])
            else:
                aftermath.until_trading()
                storm.blow()
                aftermath.calm()
            aftermath.rest()
            wrong = aftermath.end(storm.done)
        except AssertionError as error:
            wrong = [str(error)]
        except BaseException:
            wrong = [traceback.format_exc()]
            raise
        finally:
            watch.close()
            report(watch, storm, aftermath, wrong, is_told=told.tell)
    if has_mount:
        take_away_small_disk(folder / "desk" / "var", folder / "var" if wrong or told.keep else None)
    if not told.keep and not wrong:
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if wrong else 0


def has_small_disk(state: Path) -> bool:
    """Mount a small file system of memory at the state folder, where this process may."""
    state.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK_MIB}m,mode=0700", "tmpfs", str(state)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        say(done.stderr.strip())
    return done.returncode == 0


def take_away_small_disk(state: Path, kept: Path | None) -> None:
    """Unmount the small file system, which ends with this process; copy what is on it first, where it shall be kept."""
    if kept is not None:
        shutil.copytree(state, kept, symlinks=True)
        say(f"the state folder is kept as {kept}")
    subprocess.run(["umount", str(state)], check=False)


def report(watch: Watch, storm: Storm, aftermath: Aftermath, wrong: list[str], *, is_told: bool) -> None:
    """Print what was done, and where something is wrong the whole timeline and what is wrong."""
    ground, books = watch.ground, watch.books_so_far()
    say(
        f"{sum(storm.done.values())} faults ({', '.join(f'{n} {kind}' for kind, n in sorted(storm.done.items()))}),"
        f" {ground.starts} starts of the desk, {ground.market.ticks} ticks, {len(books.orders)} orders,"
        f" {len(books.fills)} executions, {len(aftermath.resolved)} resolved by hand"
    )
    if wrong or is_told:
        say(watch.timeline())
    if wrong:
        say("\n  ".join(["WRONG:", *wrong]))


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
