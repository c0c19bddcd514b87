"""A store with room put by goes on for a good while after the disk is full, and says at once that it is."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.effects import Append, Put
from runtime.errors import StoreError
from runtime.folder import SPARE, Sentinel
from runtime.store import Store

RESERVE = 1 << 20

#: Writes records of a kilobyte until that fails; says after how many it was told, and after how many it failed.
FILLER = """
import resource, sys
from pathlib import Path
from runtime.effects import Append
from runtime.errors import StoreError
from runtime.store import Store

resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
number, told = 0, []
store = Store.open(
    Path(sys.argv[1]), is_synced=False, reserve_bytes=int(sys.argv[3]), on_low=lambda why: told.append((number, why))
)
try:
    while number < 100_000:
        number += 1
        store.commit([Append(number, bytes(1000))])
except StoreError as error:
    print(told[0][0] if told else -1, number, len(told), sep="\\n")
    print(told[0][1] if told else "")
    print(error)
assert store.verify() == store.head() == number - 1
"""


def filled(folder: Path, most: int, reserve: int) -> list[str]:
    """Fill a store to the most that its file may have; give when it told, when it failed, how often, and the words."""
    done = subprocess.run(
        [sys.executable, "-c", FILLER, folder, str(most), str(reserve)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def fill(store: Store) -> None:
    """Write until that fails."""
    while True:
        store.commit([Append(store.head() + 1, bytes(1000))])


def test_whoever_writes_is_told_a_good_while_before_the_first_commit_fails(tmp_path: Path) -> None:
    told, failed, times, why, error = filled(tmp_path / "store", 4 << 20, RESERVE)

    assert int(told) > 100
    assert int(failed) - int(told) > 200
    assert "the disk is full (File too large)" in why
    assert "nothing was written" in error
    assert int(times) == 1


#: Opens a store on a small disk of its own, lets another fill that disk, and goes on until it fails.
ON_A_DISK = """
import os, sys
from pathlib import Path
from runtime.effects import Append
from runtime.errors import StoreError
from runtime.store import Store

disk, told, number = Path(sys.argv[1]), [], 0
store = Store.open(disk / "store", is_synced=True, reserve_bytes=1 << 20, on_low=lambda why: told.append((number, why)))
store.commit([Append(1, b"before")])
with (disk / "other").open("wb", buffering=0) as other:
    try:
        while True:
            other.write(bytes(1 << 16))
    except OSError as error:
        print(error.strerror)
number = 1
try:
    while number < 100_000:
        number += 1
        store.commit([Append(number, bytes(1000))])
except StoreError:
    print(told[0][0], number, told[0][1], sep="\\n")
assert store.verify() == number - 1
"""


def test_a_disk_that_another_has_filled_leaves_room_for_hundreds_of_commits(tmp_path: Path) -> None:
    mounted = f'mount -t tmpfs -o size=8m none {tmp_path} && exec {sys.executable} -c "$PROGRAM" {tmp_path}'
    done = subprocess.run(
        ["unshare", "-Urm", "sh", "-c", mounted],
        capture_output=True, text=True, check=False, env={**os.environ, "PROGRAM": ON_A_DISK},
    )  # fmt: skip
    if done.returncode != 0 and not done.stdout:
        pytest.skip(f"the kernel gives no small disk here: {done.stderr.strip()[-200:]}")
    full, told, failed, why = done.stdout.splitlines()

    assert full == "No space left on device"
    assert int(failed) - int(told) > 200
    assert "the disk is full (No space left on device)" in why


@pytest.mark.slow
def test_without_a_reserve_the_first_word_is_the_failure(tmp_path: Path) -> None:
    told, failed, *_ = filled(tmp_path / "store", 4 << 20, 0)

    assert told == "-1"
    assert int(failed) > 1000


def test_a_store_that_nears_its_map_says_so_and_is_roomier_when_it_is_opened_again(tmp_path: Path) -> None:
    told: list[str] = []
    store = Store.open(tmp_path, is_synced=False, map_bytes=RESERVE, reserve_bytes=RESERVE, on_low=told.append)
    while not told:
        store.commit([Append(store.head() + 1, bytes(1000))])
    behind = store.head()
    with pytest.raises(StoreError, match="nothing was written"):
        fill(store)
    head = store.head()
    store.close()

    assert "may not become larger before its process is started again" in told[0]
    assert head - behind > 200
    store = Store.open(tmp_path, is_synced=False, map_bytes=RESERVE, reserve_bytes=RESERVE)
    store.commit([Append(head + 1, bytes(1000)), Put("bread", b"rye", b"baked")])
    assert store.verify() == head + 1
    store.close()


def test_room_is_put_by_on_the_disk_itself(tmp_path: Path) -> None:
    store = Store.open(tmp_path, is_synced=False, reserve_bytes=RESERVE)
    store.commit([Append(1, b"one")])
    found = (tmp_path / "data.mdb").stat()
    store.close()

    assert found.st_size >= RESERVE
    assert found.st_blocks * 512 >= RESERVE


def test_a_halt_holds_where_the_disk_takes_no_reason_and_no_new_file(tmp_path: Path) -> None:
    sentinel = Sentinel(tmp_path)
    sentinel.prepare()
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))  # no file can be opened, so none can be made
    try:
        sentinel.write("the disk is full")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)

    assert not (tmp_path / SPARE).exists()
    assert "the disk was full" in (sentinel.reason() or "")
