"""A child of our own parent: in one step, and in two where the machine knows no better."""

import os
import platform
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.runtime.bakehouse import Bakehouse, Ends, apprentice, descendants, node, oven

ROOT = Path(__file__).parents[2]
IN_ONE_STEP, IN_TWO = (), ("old",)
each_way = pytest.mark.parametrize("old", [IN_ONE_STEP, IN_TWO], ids=["one step", "two steps"])


def found(act: str, folder: Path, old: tuple[str, ...]) -> str:
    """Give what the program found."""
    command = [sys.executable, "-m", "tests.runtime.forking", act, str(folder), *old]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library forks in two steps")
def test_one_step_does_on_this_machine_and_two_where_the_kernel_does_not_tell_enough(tmp_path: Path) -> None:
    assert (found("steps", tmp_path, IN_ONE_STEP), found("steps", tmp_path, IN_TWO)) == ("one", "two")


def test_whoever_has_two_threads_forks_in_two_steps_as_the_library_does(tmp_path: Path) -> None:
    assert found("threaded", tmp_path, IN_ONE_STEP) == "two"


@each_way
def test_the_forkers_parent_reaps_the_children_and_learns_how_they_ended(tmp_path: Path, old: tuple[str, ...]) -> None:
    assert found("reaped", tmp_path, old) == f"[7, {-signal.SIGKILL}]"


@each_way
def test_a_child_outlives_the_forker_that_is_killed(tmp_path: Path, old: tuple[str, ...]) -> None:
    assert found("orphaned", tmp_path, old) == "True 1"


@each_way
def test_children_know_themselves_and_have_threads_and_chance_of_their_own(
    tmp_path: Path, old: tuple[str, ...]
) -> None:
    assert found("told", tmp_path, old) == "[1, 1] True"


@each_way
def test_a_lock_that_a_child_held_when_it_was_killed_is_free_for_the_next(tmp_path: Path, old: tuple[str, ...]) -> None:
    assert found("locked", tmp_path, old) == "taken"


def test_a_bakery_that_forks_in_two_steps_loses_its_zygote_among_many_births_and_leaves_nobody(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    crowd = node("crowd", *(apprentice(f"a{number}") for number in range(8)), start="parallel")
    house = Bakehouse(tmp_path_factory.mktemp("k") / "var", oven(), crowd)
    house.program = "tests.runtime.forked_twice"
    with house:
        before = house.all_running()
        for number in range(8):
            os.kill(before[f"crowd/a{number}"]["pid"], signal.SIGKILL)
        os.kill(house.status()["zygote"]["pid"], signal.SIGKILL)

        rows = house.until(
            lambda rows: all(
                row["state"] == "RUNNING" and row["epoch"] > before[path]["epoch"]
                for path, row in rows.items()
                if path.startswith("crowd")
            )
        )

        assert rows["oven"]["pid"] == before["oven"]["pid"]
        ends = Ends(descendants(house.pid))
        assert house.stop() == 0
        assert ends.come_within(0)


#: Who asks to be called around a fork: all for their locks, but ``random``, which is seeded anew in each child.
ASKING = {"concurrent.futures.thread", "logging", "loguru._locks_machinery", "random", "threading"}
ASKED = """
import importlib, os, sys
names, register = set(), os.register_at_fork
def note(**hooks):
    names.add(sys._getframe(1).f_globals["__name__"])
    register(**hooks)
os.register_at_fork = note
importlib.import_module("runtime.zygote")
for module in importlib.import_module("actors.tree").PRELOAD:
    importlib.import_module(module)
print(" ".join(names))
"""


def test_nobody_in_the_zygote_asks_to_be_called_around_a_fork_for_more_than_locks_and_chance() -> None:
    command = [sys.executable, "-P", "-c", ASKED]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)

    assert set(done.stdout.split()) <= ASKING
