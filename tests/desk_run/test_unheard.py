"""Nobody hears what is said: the reader of a pipe has left, or the disk is full to which the output goes."""

import subprocess
from pathlib import Path

import pytest

from tests.desk_run.harness import BULKHEAD, PATIENCE_S

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_desk_lives_on_where_its_output_s_disk_is_full(tmp_path: Path, stream: str) -> None:
    command = [BULKHEAD, "run", "--config", ROOT / "config/strategies.yaml", "--state", tmp_path / "var"]

    with Path("/dev/full").open("wb") as full:
        out, err = (full, subprocess.DEVNULL) if stream == "stdout" else (subprocess.DEVNULL, full)
        done = subprocess.run([*command, "--duration", "1"], stdout=out, stderr=err, timeout=PATIENCE_S, check=False)

    assert done.returncode == 0


def test_a_desk_lives_on_where_the_reader_of_its_output_has_left(tmp_path: Path) -> None:
    command = [BULKHEAD, "run", "--config", ROOT / "config/strategies.yaml", "--state", tmp_path / "var"]
    desk = subprocess.Popen([*command, "--duration", "1"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert desk.stdout is not None
    desk.stdout.readline()

    desk.stdout.close()

    assert desk.wait(PATIENCE_S) == 0


def test_an_answer_that_cannot_be_written_is_said_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "lock").touch()
    with Path("/dev/full").open("wb") as full:
        command = [BULKHEAD, "halt", "--state", tmp_path]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=PATIENCE_S, check=False)

    words = "what was asked for was done, but its answer cannot be written: No space left on device\n"
    assert (done.returncode, done.stderr, (tmp_path / "HALT").exists()) == (3, words, True)
