"""A life that means nothing is begun and ended as often as is asked, and nothing of it is left."""

import subprocess
import sys
from pathlib import Path

import pytest

LIVES = """\
import os, sys
from pathlib import Path
from runtime import child
from runtime.rehearsal import rehearse

sockets, maker, times = sys.argv[1:]
request = child.nobody(maker, sockets, os.getppid(), "INFO")
rehearse(request, child.Walls.prepare(), is_own_process=False, times=int(times))
print(sorted(os.listdir(sockets)), len(os.listdir("/proc/self/task")))
"""


@pytest.mark.parametrize("times", [1, 3])
def test_each_life_makes_its_own_room_and_leaves_nothing(times: int, tmp_path: Path) -> None:
    command = [sys.executable, "-c", LIVES, str(tmp_path), "tests.runtime.rehearsed:make_said", str(times)]

    said = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    assert (said.stderr, said.stdout) == ("", "a room was made\n" * times + "[] 1\n")


def test_a_room_that_leaves_something_is_told_of(tmp_path: Path) -> None:
    command = [sys.executable, "-c", LIVES, str(tmp_path), "tests.runtime.rehearsed:make_lingering", "2"]

    said = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    assert said.returncode == 1
    assert said.stderr.endswith("RuntimeError: something outlived the rehearsal\n")
