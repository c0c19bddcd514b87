"""What the system refuses is said with a sentence: before a desk is started nothing is, and one that ran has given up."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.desk_run.command_line import bulkhead
from tests.desk_run.harness import PATIENCE_S
from tests.desk_run.publisher import obedient, with_obedient

#: A desk, of whose root something is refused once it looks at its processes.
REFUSED = """
import sys
from pathlib import Path
from actors.desk import run_desk
from actors.settings_file import load
from runtime.clock import Clock

def refuse(_root):
    raise PermissionError(1, "Operation not permitted")

file, state = map(Path, sys.argv[1:])
settings = load(file).settings
sys.exit(10 + run_desk(settings, file=file, state=state, duration_s=60, clock=Clock(), on_round=refuse))
"""


@pytest.mark.parametrize(
    "words",
    ["run", "orders", "audit", "logs", "resume", "reload", "backup elsewhere", "replay", "sql SELECT", "keys new a"],
)
def test_a_folder_that_cannot_be_is_refused_with_a_sentence(tmp_path: Path, words: str) -> None:
    said = bulkhead(*words.split(), state=tmp_path / ("x" * 300))

    assert (said.code in {3, 4}, said.out, "Traceback" in said.err) == (True, "", False)
    assert "xxx" in said.err


@pytest.mark.parametrize(("folder", "file"), [(b"st\xe4te", b"s.yaml"), (b"state", b"\xe4.yaml")])
def test_a_path_that_is_no_text_is_refused_before_anything_is_started(
    tmp_path: Path, folder: bytes, file: bytes
) -> None:
    state, config = tmp_path / os.fsdecode(folder), with_obedient(tmp_path) / os.fsdecode(file)
    config.write_text(f"strategies:\n{obedient('a', 'SPY')}", encoding="utf-8")

    said = bulkhead("run", "--config", config, state=state)

    assert (said.code, said.out) == (3, "")
    assert said.err.endswith(" is not named in UTF-8; nothing was started\n")
    assert not state.exists()


def test_a_desk_whose_folder_cannot_be_made_is_refused(tmp_path: Path) -> None:
    file = with_obedient(tmp_path) / "s.yaml"
    file.write_text(f"strategies:\n{obedient('a', 'SPY')}", encoding="utf-8")

    said = bulkhead("run", "--config", file, state=Path("/proc/nowhere"))

    assert (said.code, "Traceback" in said.err) == (3, False)
    assert said.err.startswith("/proc/nowhere: No such file or directory; nothing was started")


def test_a_desk_that_ran_and_is_refused_something_gives_up_and_may_be_started_again(tmp_path: Path) -> None:
    file, state = with_obedient(tmp_path) / "s.yaml", tmp_path / "var"
    file.write_text(f"strategies:\n{obedient('a', 'SPY')}", encoding="utf-8")
    command = [sys.executable, "-c", REFUSED, file, state]

    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)

    assert done.returncode == 11, done.stderr
    assert "PermissionError" in (state / "log" / "root.log").read_text(encoding="utf-8")
