"""A file is replaced at once, and whoever watches it sees that."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.file import mark_of, replace_file

#: Writes one file over and over, whole pages of one letter at a time, until it is killed.
WRITER = """
import sys
from pathlib import Path
from runtime.file import replace_file
while True:
    for letter in b"ab":
        replace_file(Path(sys.argv[1]), bytes([letter]) * 200_000)
        print(flush=True)
"""


def test_whoever_reads_a_file_that_is_replaced_finds_it_whole_also_when_the_writer_is_killed(tmp_path: Path) -> None:
    file = tmp_path / "file"

    for _ in range(2):
        with subprocess.Popen([sys.executable, "-c", WRITER, str(file)], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            found = [file.read_bytes() for _ in range(40) if writer.stdout.readline()]
            writer.send_signal(signal.SIGKILL)
        found.append(file.read_bytes())

        assert {(len(data), len(set(data))) for data in found} == {(200_000, 1)}


@pytest.mark.parametrize(("mode", "found"), [(None, 0o640), (0o600, 0o600), (0o644, 0o644)])
def test_a_file_has_the_permissions_asked_for_else_those_of_any_new_one(
    tmp_path: Path, mode: int | None, found: int
) -> None:
    before = os.umask(0o027)
    try:
        replace_file(tmp_path / "file", b"text", mode=mode)
    finally:
        os.umask(before)

    assert (tmp_path / "file").stat().st_mode & 0o777 == found
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_a_file_that_cannot_be_written_stays_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"old")
    (tmp_path / ".file.new").mkdir()

    with pytest.raises(IsADirectoryError):
        replace_file(file, b"new")

    assert file.read_bytes() == b"old"


def test_each_replacement_changes_the_mark_and_so_does_the_end(tmp_path: Path) -> None:
    file = tmp_path / "file"
    marks = [mark_of(file)]
    for text in (b"one", b"two"):
        replace_file(file, text)
        marks.append(mark_of(file))

    file.unlink()

    assert len(set(marks)) == 3
    assert marks[0] == mark_of(file) == (0, 0, 0)


def test_other_rights_change_the_mark_so_that_who_could_not_read_a_file_looks_again(tmp_path: Path) -> None:
    file = tmp_path / "file"
    replace_file(file, b"text")
    before = mark_of(file)

    file.chmod(0o600)

    assert mark_of(file) != before
