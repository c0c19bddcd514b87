"""What the warden says of a child, of real processes and real files."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.child import log_file
from runtime.clock import NS_PER_S
from runtime.log import Log
from runtime.process import Running, open_files
from runtime.spec import Limits
from runtime.warden import FAMILY_NS, FLOOD_NS, TAIL_BYTES, Warden, cut

MIB = 1 << 20
ME = Running("me", 1, os.getpid(), -1)
FREE = Limits(0, 0, 0, 0, 0.0)
TALKATIVE = Limits(0, 0, 0, 0, 0.0, output_bytes=1000)


@pytest.fixture
def warden(tmp_path: Path) -> Warden:
    (tmp_path / "log").mkdir()
    return Warden(tmp_path, Log("root"))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return log_file(tmp_path, "me", "out")


@pytest.fixture
def mother() -> Iterator[Running]:
    """Have a process with one child; both wait for their end."""
    process = subprocess.Popen(
        ["sh", "-c", "sleep infinity & echo; wait"], stdout=subprocess.PIPE, start_new_session=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"\n"
    yield Running("mother", 1, process.pid, -1)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def test_who_has_no_limits_is_never_ended_and_shows_nothing(warden: Warden) -> None:
    assert warden.look(ME, FREE, 0) == ""
    assert warden.uses(ME, FREE) == {}


def test_memory_counts_the_children_too(warden: Warden, mother: Running) -> None:
    wide = Limits(0, 1 << 40, 0, 0, 0.0, processes=2)
    alone = Limits(0, 1 << 40, 0, 0, 0.0)

    warden.look(mother, alone, 0)
    one = warden.uses(mother, alone)["memory_bytes"]["used"]
    warden.look(mother, wide, FAMILY_NS * 2)
    two = warden.uses(mother, wide)["memory_bytes"]["used"]

    assert 0 < one < two
    assert warden.uses(mother, wide)["processes"] == {"used": 2, "max": 2}


def test_memory_over_the_hard_limit_is_the_end(warden: Warden) -> None:
    assert warden.look(ME, Limits(MIB, 2 * MIB, 0, 0, 0.0), 0).endswith(" MiB of memory, over the hard limit of 2 MiB")


def test_one_process_too_many_is_the_end(warden: Warden, mother: Running) -> None:
    alone = Limits(0, 0, 0, 0, 0.0, processes=1)
    warden.look(mother, alone, 0)

    assert warden.look(mother, alone, 2 * FAMILY_NS) == "2 processes, over the limit of 1"


def test_output_within_its_limit_is_left_alone(warden: Warden, out: Path) -> None:
    out.write_bytes(b"x" * 1000)

    assert warden.look(ME, TALKATIVE, 0) == ""
    assert out.stat().st_size == 1000


@pytest.mark.parametrize(
    ("after_ns", "is_the_end"), [(0, True), (FLOOD_NS, True), (FLOOD_NS + 1, False), (3600 * NS_PER_S, False)]
)
def test_output_over_its_limit_is_cut_and_soon_again_is_the_end(
    warden: Warden, out: Path, after_ns: int, *, is_the_end: bool
) -> None:
    out.write_bytes(b"x" * 200_000)
    assert warden.look(ME, TALKATIVE, 5) == ""
    assert warden.uses(ME, TALKATIVE)["output_bytes"]["dropped"] == 200_000 - TAIL_BYTES
    out.write_bytes(b"x" * 200_000)

    assert bool(warden.look(ME, TALKATIVE, 5 + after_ns)) is is_the_end


def test_output_over_its_limit_that_cannot_be_cut_is_the_end(warden: Warden, out: Path) -> None:
    out.mkdir()  # as good as a file that is not ours to open, or has gone when it is to be
    (out / ("x" * 250)).touch()
    narrow = Limits(0, 0, 0, 0, 0.0, output_bytes=1)

    assert warden.look(ME, narrow, 0) == "its output in log/me.out, over the limit, cannot be cut: Is a directory"


def test_a_successor_begins_with_a_clean_slate(warden: Warden, out: Path) -> None:
    out.write_bytes(b"x" * 200_000)
    warden.look(ME, TALKATIVE, 5)
    out.write_bytes(b"x" * 200_000)

    assert warden.look(ME._replace(epoch=2), TALKATIVE, 6) == ""


def test_a_cut_keeps_the_end_and_the_writer_goes_on_behind_it(out: Path, warden: Warden) -> None:
    assert warden
    writer = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(writer, b"a" * 100_000 + b"b" * TAIL_BYTES)

    assert cut(out) == 100_000

    os.write(writer, b"c")
    os.close(writer)
    assert out.read_bytes() == b"[100000 bytes were dropped here]\n" + b"b" * TAIL_BYTES + b"c"


def test_who_was_forgotten_is_measured_anew_and_leaves_no_file_open(warden: Warden) -> None:
    limits = Limits(MIB, 1 << 40, 0, 0, 0.0)
    open_before = open_files(os.getpid())
    for epoch in range(3):
        warden.look(ME._replace(epoch=epoch), limits, 0)
        assert warden.memory_bytes("me") > MIB
    warden.forget("me")

    assert warden.memory_bytes("me") == 0
    assert open_files(os.getpid()) == open_before


def test_where_no_file_may_be_kept_open_memory_is_measured_all_the_same(tmp_path: Path) -> None:
    thrifty = Warden(tmp_path, Log("root"), files_max=0)

    thrifty.look(ME, Limits(MIB, 1 << 40, 0, 0, 0.0), 0)

    assert thrifty.memory_bytes("me") > MIB


FORKS_THEN_MAY_NOT = """
import os, signal
from runtime.seccomp import Filter, forbid_processes
if os.fork() == 0:
    signal.pause()
print(forbid_processes(Filter.prepare()), flush=True)
signal.pause()
"""


def test_a_filter_does_not_hide_what_was_forked_before_it(warden: Warden) -> None:
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", FORKS_THEN_MAY_NOT], stdout=subprocess.PIPE, start_new_session=True
    )
    child = Running("forker", 1, process.pid, -1)
    alone = Limits(0, 0, 0, 0, 0.0, processes=1)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"True\n"
        warden.look(child, alone, 0)

        assert warden.look(child, alone, 2 * FAMILY_NS) == "2 processes, over the limit of 1"
        assert warden.look(child, alone, 4 * FAMILY_NS) == "2 processes, over the limit of 1"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
