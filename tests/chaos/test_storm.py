"""Storms over a real desk: processes killed and stopped, wires cut, a disk filled, an operator who does this and that."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos.port import BOOKS_NOTHING, SENDS_TWICE

pytestmark = [pytest.mark.chaos, pytest.mark.slow]
ROOT = Path(__file__).parents[2]
#: ``CHAOS_SEED=7 CHAOS_SECONDS=600 pytest -m chaos`` is another storm, and a longer one.
SEED = int(os.environ.get("CHAOS_SEED", "1"))
SECONDS = float(os.environ.get("CHAOS_SECONDS", "90"))
#: What a storm takes beside what it lasts: to come up, to come to rest, to be judged.
AROUND_S = 400


def storm(*options: str, seconds: float = SECONDS) -> subprocess.CompletedProcess[str]:
    """Run one storm, on a small disk where this machine lets us have one."""
    command = [sys.executable, "-m", "tests.chaos.run", "--seed", str(SEED), "--seconds", str(seconds), *options]
    namespace = ["unshare", "-Urm"]
    try:
        is_allowed = subprocess.run([*namespace, "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        is_allowed = False
    if is_allowed:
        command = [*namespace, *command, "--small-disk"]
    return subprocess.run(
        command,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=seconds + AROUND_S,
        check=False,
        stdin=subprocess.DEVNULL,
    )


@pytest.mark.timeout(SECONDS + AROUND_S + 30)
@pytest.mark.parametrize("rules", ["kraken", "alpaca"])
def test_behind_a_storm_nothing_is_lost_doubled_invented_or_unprotected_and_the_desk_trades_again(rules: str) -> None:
    done = storm("--rules", rules)

    assert done.returncode == 0, f"{done.stdout}{done.stderr}"


@pytest.mark.parametrize(("planted", "words"), [(SENDS_TWICE, "duplicated: "), (BOOKS_NOTHING, "lost: execution")])
def test_a_fault_that_is_built_in_is_found(planted: str, words: str) -> None:
    done = storm("--planted", planted)

    assert done.returncode == 1, f"{done.stdout}{done.stderr}"
    assert "WRONG:" in done.stdout
    assert words in done.stdout.partition("WRONG:")[2]
