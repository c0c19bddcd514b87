"""A writer that is killed within a commit leaves a store from which its successor goes on."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_a_writer_killed_within_its_commits_is_followed_by_one_that_knows_the_last_of_them(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.runtime.killed_writer", str(tmp_path / "store"), "40", "5"]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)

    assert (done.returncode, done.stderr) == (0, "")
