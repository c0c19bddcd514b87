"""One desk a state folder, a private folder for its sockets, and a file that halts it."""

import os
import select
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runtime.clock import NS_PER_S, Clock
from runtime.errors import LockHeldError
from runtime.folder import (
    LOCK_PATIENCE_NS,
    ORPHANS_PATIENCE_NS,
    SOCKET_PATH_BYTES_MAX,
    FolderLock,
    Sentinel,
    socket_folder,
)
from tests.runtime.fakes import HandClock

# --- the lock -----------------------------------------------------------------------------------------

#: Takes the lock and waits for its end; with "forks", a child of it inherits the lock and waits as well.
HOLDER = """
import os, signal, sys
from pathlib import Path
from runtime.clock import Clock
from runtime.folder import FolderLock
lock = FolderLock(Path(sys.argv[1]))
lock.take(Clock())
child = os.fork() if sys.argv[2] == "forks" else 0
if child or sys.argv[2] != "forks":
    print(child, flush=True)
signal.pause()
"""


@contextmanager
def a_holder(folder: Path, how: str = "alone") -> Generator[tuple[subprocess.Popen[str], int]]:
    """Run a process that holds the lock; give it, and the pid of its child."""
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(folder), how], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    child = int(holder.stdout.readline())
    try:
        yield holder, child
    finally:
        holder.kill()
        holder.communicate()


def end(pid: int) -> None:
    """Kill a process that is not our child, and wait until it has ended."""
    descriptor = os.pidfd_open(pid)
    os.kill(pid, signal.SIGKILL)
    assert select.select([descriptor], [], [], 10)[0], f"{pid} does not end"
    os.close(descriptor)


def own_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def impatient() -> HandClock:
    """Give a clock on which the whole patience passes with the first look."""
    return HandClock(step_ns=LOCK_PATIENCE_NS)


def test_the_lock_of_a_free_folder_is_taken_at_once_and_names_the_holder(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path / "var")

    lock.take(impatient())

    assert (tmp_path / "var" / "lock").read_text(encoding="ascii") == f"{os.getpid()}\n"
    os.close(lock.descriptor)


def test_a_second_desk_is_refused_with_the_pid_of_the_first(tmp_path: Path) -> None:
    with a_holder(tmp_path) as (holder, _), pytest.raises(LockHeldError) as refused:
        FolderLock(tmp_path).take(impatient())

    assert f"in use by another desk (process {holder.pid})" in str(refused.value)


def test_the_advice_to_a_second_desk_stops_the_first_and_no_other_wherever_it_lies(tmp_path: Path) -> None:
    folder = tmp_path / "my desk"
    folder.mkdir()
    with a_holder(folder), pytest.raises(LockHeldError, match="bulkhead stop") as refused:
        FolderLock(folder).take(impatient())

    assert shlex.split(str(refused.value))[-3:] == ["stop", "--state", str(folder)]


def test_a_refused_desk_leaves_no_descriptor_behind(tmp_path: Path) -> None:
    with a_holder(tmp_path):
        before = own_descriptors()
        with pytest.raises(LockHeldError):
            FolderLock(tmp_path).take(impatient())

        assert own_descriptors() == before


def test_a_second_desk_waits_two_seconds_for_the_last_of_the_first(tmp_path: Path) -> None:
    clock = HandClock(step_ns=NS_PER_S // 4)
    with a_holder(tmp_path), pytest.raises(LockHeldError):
        FolderLock(tmp_path).take(clock)

    assert 2 * NS_PER_S <= clock.monotonic_ns() <= 3 * NS_PER_S


def test_a_desk_waits_longer_for_what_a_dead_one_has_left_behind(tmp_path: Path) -> None:
    clock = HandClock(step_ns=NS_PER_S)
    with a_holder(tmp_path, "forks") as (holder, child):
        holder.kill()
        holder.wait()

        with pytest.raises(LockHeldError, match="what another desk has left behind") as refused:
            FolderLock(tmp_path).take(clock)

        end(child)

    assert f"(process {holder.pid})" in str(refused.value)
    assert ORPHANS_PATIENCE_NS <= clock.monotonic_ns() <= ORPHANS_PATIENCE_NS + 2 * NS_PER_S


@pytest.mark.parametrize("said", ["", "nobody", "0" * 30 + "1", "9" * 30])
def test_a_lock_that_does_not_say_whose_it_is_is_waited_for_as_for_a_desk(said: str, tmp_path: Path) -> None:
    clock = HandClock(step_ns=NS_PER_S // 4)
    with a_holder(tmp_path):
        (tmp_path / "lock").write_text(said, encoding="ascii")
        with pytest.raises(LockHeldError):
            FolderLock(tmp_path).take(clock)

    assert clock.monotonic_ns() <= 3 * NS_PER_S


def test_kill_9_of_the_holder_frees_the_lock(tmp_path: Path) -> None:
    with a_holder(tmp_path) as (holder, _):
        holder.kill()
        holder.wait()

        lock = FolderLock(tmp_path)
        lock.take(Clock())

        os.close(lock.descriptor)


def test_a_child_that_outlives_the_holder_keeps_the_lock_until_it_ends(tmp_path: Path) -> None:
    with a_holder(tmp_path, "forks") as (holder, child):
        holder.kill()
        holder.wait()
        with pytest.raises(LockHeldError):
            FolderLock(tmp_path).take(impatient())

        end(child)

        lock = FolderLock(tmp_path)
        lock.take(Clock())
        os.close(lock.descriptor)


def test_the_lock_is_not_inherited_by_what_is_executed_without_being_given_it(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path)
    lock.take(Clock())
    other = subprocess.Popen(["sleep", "60"], close_fds=False)
    os.close(lock.descriptor)

    again = FolderLock(tmp_path)
    again.take(impatient())

    os.close(again.descriptor)
    other.kill()
    other.wait()


# --- sockets ------------------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with a short path."""
    return tmp_path_factory.mktemp("s")


@pytest.fixture
def _no_runtime_folder(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """Leave only the temporary folder."""
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(home))


@pytest.mark.usefixtures("_no_runtime_folder")
def test_the_sockets_lie_in_a_private_folder_of_their_own(home: Path) -> None:
    folder = socket_folder(home / "var")

    assert folder.parent == home
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.usefixtures("_no_runtime_folder")
def test_a_folder_that_was_open_to_others_is_closed_to_them(home: Path) -> None:
    socket_folder(home / "var").chmod(0o777)

    assert socket_folder(home / "var").stat().st_mode & 0o777 == 0o700


@pytest.mark.usefixtures("_no_runtime_folder")
def test_each_state_folder_has_its_own_sockets_whatever_way_it_is_written(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home)

    assert socket_folder(home / "one") == socket_folder(Path("one")) == socket_folder(Path("two/../one"))
    assert socket_folder(home / "one") != socket_folder(home / "two")


@pytest.mark.usefixtures("_no_runtime_folder")
def test_the_folder_of_the_service_manager_goes_before_all_others(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNTIME_DIRECTORY", f"{home}/run:{home}/other")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(home))

    assert socket_folder(home / "var") == home / "run"


@pytest.mark.usefixtures("_no_runtime_folder")
def test_a_folder_whose_sockets_would_have_too_long_a_path_is_passed_over(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(home / ("x" * SOCKET_PATH_BYTES_MAX)))

    folder = socket_folder(home / "var")

    assert folder.parent == home
    assert len(str(folder / "market_data.stream")) <= SOCKET_PATH_BYTES_MAX


@pytest.mark.usefixtures("_no_runtime_folder")
def test_a_path_is_counted_in_bytes_not_in_letters(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(home / ("ö" * 25)))

    assert socket_folder(home / "var").parent == home


@pytest.mark.usefixtures("_no_runtime_folder")
def test_a_folder_that_cannot_be_made_is_passed_over(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "file").write_text("no folder", encoding="utf-8")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(home / "file"))

    assert socket_folder(home / "var").parent == home


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
@pytest.mark.usefixtures("_no_runtime_folder")
def test_a_folder_of_somebody_else_is_not_used(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "foreign").mkdir()
    ours = socket_folder(home / "var")
    (home / "foreign" / ours.name).mkdir()
    os.chown(home / "foreign" / ours.name, 65534, 65534)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(home / "foreign"))

    assert socket_folder(home / "var") == ours


@pytest.mark.usefixtures("_no_runtime_folder")
def test_a_link_that_lies_where_our_folder_should_be_is_not_followed(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = socket_folder(home / "var")
    (home / "precious").mkdir(mode=0o755)
    (home / "open").mkdir()
    (home / "open" / ours.name).symlink_to(home / "precious")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(home / "open"))

    assert socket_folder(home / "var") == ours
    assert (home / "precious").stat().st_mode & 0o777 == 0o755


# --- the sentinel -------------------------------------------------------------------------------------


def test_a_desk_without_a_sentinel_is_not_halted(tmp_path: Path) -> None:
    assert Sentinel(tmp_path).reason() is None


def test_the_first_reason_to_halt_stays(tmp_path: Path) -> None:
    sentinel = Sentinel(tmp_path)

    sentinel.write("the first")
    sentinel.write("the second")

    assert sentinel.reason() == "the first"


def test_a_halt_is_there_for_whoever_looks_later_and_gone_when_it_is_lifted(tmp_path: Path) -> None:
    Sentinel(tmp_path).write("stop")

    assert Sentinel(tmp_path).reason() == "stop"
    Sentinel(tmp_path).remove()
    Sentinel(tmp_path).remove()
    assert Sentinel(tmp_path).reason() is None


@pytest.mark.parametrize("data", [b"", b"\n  \n"], ids=["empty", "blank"])
def test_a_sentinel_without_a_word_halts(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "HALT").write_bytes(data)

    assert Sentinel(tmp_path).reason() == "halted without a reason"


def test_a_sentinel_that_is_no_text_halts(tmp_path: Path) -> None:
    (tmp_path / "HALT").write_bytes(b"\xff\xfe stop")

    assert Sentinel(tmp_path).reason()


def test_a_sentinel_that_cannot_be_read_halts(tmp_path: Path) -> None:
    (tmp_path / "HALT").mkdir()

    assert "cannot be read" in str(Sentinel(tmp_path).reason())


def test_a_sentinel_that_is_a_link_to_nothing_halts(tmp_path: Path) -> None:
    (tmp_path / "HALT").symlink_to(tmp_path / "nowhere")

    assert "cannot be read" in str(Sentinel(tmp_path).reason())


def test_nobody_waits_for_a_sentinel_into_which_somebody_could_still_write(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "HALT")

    assert Sentinel(tmp_path).reason() == "halted without a reason"


def test_of_an_endless_reason_one_page_is_read(tmp_path: Path) -> None:
    (tmp_path / "HALT").write_text("x" * 1_000_000, encoding="utf-8")

    assert Sentinel(tmp_path).reason() == "x" * 4096


def test_a_state_folder_that_is_a_file_halts(tmp_path: Path) -> None:
    (tmp_path / "var").write_text("no folder", encoding="utf-8")

    assert "cannot be read" in str(Sentinel(tmp_path / "var").reason())


def test_only_the_owner_may_write_the_sentinel(tmp_path: Path) -> None:
    Sentinel(tmp_path).write("stop")

    assert (tmp_path / "HALT").stat().st_mode & 0o777 == 0o600


def test_the_longest_wait_of_a_start_beside_another_desk_is_two_seconds() -> None:
    assert LOCK_PATIENCE_NS == 2 * NS_PER_S
