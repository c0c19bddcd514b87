"""A root that hangs is ended, whatever becomes of the sentinel that is to halt the desk."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

#: The parent stands still; the child is its watchdog, for which a second goes by with each look.
ROOT_THAT_HANGS = """
import os, signal, sys
from pathlib import Path
from actors.watchdog import SILENCE_NS_MAX, Watchdog
from runtime.clock import NS_PER_S, Clock
from runtime.log import Log

class Quick(Clock):
    now_ns = 0
    def monotonic_ns(self):
        return self.now_ns

if os.fork() == 0:
    clock = Quick()
    watchdog = Watchdog(Path(sys.argv[1]), clock, Log("watchdog"))
    for _ in range(SILENCE_NS_MAX // NS_PER_S + 1):
        clock.now_ns += NS_PER_S
        watchdog.timer("look")
    os._exit(0)
signal.alarm(20)
signal.pause()
"""


@pytest.mark.parametrize("folder", ["state", "gone"], ids=["with a sentinel", "where none can be written"])
def test_a_root_that_hangs_is_ended(tmp_path: Path, folder: str) -> None:
    (tmp_path / "state").mkdir()

    root = subprocess.run([sys.executable, "-c", ROOT_THAT_HANGS, str(tmp_path / folder)], check=False)

    assert root.returncode == -signal.SIGKILL
    assert (tmp_path / "state" / "HALT").exists() is (folder == "state")
