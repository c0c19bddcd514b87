"""A backup is of one moment, is believed only where it is whole, and comes back at once or not at all."""

import fcntl
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from actors.arguments import store_path
from actors.backup import UNFINISHED, BackupError, back_up, refuse_unfinished, restore
from actors.desk import check_stores
from actors.journal import LEDGER_SCHEMA
from runtime.clock import Clock
from runtime.effects import Put
from runtime.errors import LockHeldError, StartError, StoreError
from runtime.folder import Sentinel, store_folders
from runtime.store import Reader, Store, at_one_moment
from tests.actors.booked import Book
from tests.desk_run.command_line import bulkhead

#: Commits each record to the first store, and only then to the second.
WRITER = """
import sys
from pathlib import Path
from runtime.effects import Append
from runtime.store import Store
first, second = (Store.open(Path(path), is_synced=False) for path in sys.argv[1:])
number = 0
while True:
    number += 1
    first.commit([Append(number, b"")])
    second.commit([Append(number, b"")])
    if number == 100:
        print("it goes", flush=True)
"""


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Give a state folder with books, another store, and files."""
    state = tmp_path / "var"
    book = Book(store_path(state, "execution"))
    book.capital()
    book.trade(closed=6, open_orders=2)
    book.close()
    risk = Store.open(store_path(state, "risk"))
    risk.commit([Put("known", b"i1", b"")])
    risk.close()
    (state / "feed.json").write_text('{"fingerprint":"f","words":"replay"}', encoding="utf-8")
    (state / "code" / "pins").mkdir(parents=True)
    (state / "code" / "pins" / "alpha.py").write_text("ALPHA = 1\n", encoding="utf-8")
    (state / "log").mkdir()
    (state / "log" / "root.log").write_text("a line\n", encoding="utf-8")
    (state / "keys").mkdir()
    (state / "keys" / "control.secret").write_text("secret", encoding="utf-8")
    return state


def content(state: Path) -> dict[str, object]:
    """Give everything that a state folder's stores and files say."""
    found: dict[str, object] = {}
    for folder in store_folders(state):
        reader = Reader.open(folder)
        found[folder.name] = (reader.verify(), reader.summary(), list(reader.records()))
        reader.close()
    files = ("feed.json", "code/pins/alpha.py")
    return found | {name: (state / name).read_text(encoding="utf-8") for name in files if (state / name).exists()}


def test_stores_are_pinned_at_one_moment_while_their_writer_goes_on(tmp_path: Path) -> None:
    paths = [tmp_path / "a", tmp_path / "b"]
    with subprocess.Popen([sys.executable, "-c", WRITER, *map(str, paths)], stdout=subprocess.PIPE) as writer:
        try:
            assert writer.stdout is not None
            writer.stdout.readline()
            found: list[tuple[int, int]] = []
            for number in range(8):
                with at_one_moment(paths) as pinned:
                    heads = [_copied_head(pin.path, tmp_path / f"{number}", pin.copy_to) for pin in pinned]
                found.append((heads[0], heads[1]))
        finally:
            writer.kill()

    assert all(first - second in {0, 1} for first, second in found), found
    assert found[-1][0] > found[0][0]


def _copied_head(path: Path, target: Path, copy_to: Callable[[Path], None]) -> int:
    copy_to(target / path.name)
    reader = Reader.open(target / path.name)
    try:
        return reader.verify()
    finally:
        reader.close()


def test_a_backup_that_is_restored_elsewhere_says_what_the_desk_said(state: Path, tmp_path: Path) -> None:
    made = back_up(state, tmp_path / "backup", Clock())

    manifest, aside = restore(tmp_path / "backup", tmp_path / "new", Clock(), is_replaced=False)

    assert content(tmp_path / "new") == content(state)
    assert (manifest, aside) == (made, None)
    assert [store.path for store in made.stores] == ["ledger", "risk"]
    assert made.journal == made.stores[0].head > 0
    assert not (tmp_path / "backup" / "keys").exists()
    assert not (tmp_path / "new" / UNFINISHED).exists()
    Store.open(store_path(tmp_path / "new", "execution"), schema=LEDGER_SCHEMA.version).close()


def test_stores_that_are_there_are_put_aside_only_when_told_so_and_logs_and_keys_and_a_halt_stay(
    state: Path, tmp_path: Path
) -> None:
    back_up(state, tmp_path / "backup", Clock())
    before = content(state)
    book = Book(store_path(state, "execution"))
    book.trade(closed=2, open_orders=0)
    book.close()
    later = content(state)
    Sentinel(state).write("a store is damaged")

    with pytest.raises(BackupError, match="has stores already; nothing was changed"):
        restore(tmp_path / "backup", state, Clock(), is_replaced=False)
    assert content(state) == later
    _, aside = restore(tmp_path / "backup", state, Clock(), is_replaced=True)

    assert content(state) == before
    assert aside is not None
    assert content(aside) == later
    assert Sentinel(state).reason() == "a store is damaged"
    assert (state / "log" / "root.log").exists()
    assert (state / "keys" / "control.secret").exists()


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(bytes(data))


def flip_in_a_store(backup: Path) -> None:
    flip(backup / "ledger" / "data.mdb")


def flip_in_a_file(backup: Path) -> None:
    flip(backup / "code" / "pins" / "alpha.py")


def flip_in_the_manifest(backup: Path) -> None:
    flip(backup / "manifest.json")


def cut_a_store(backup: Path) -> None:
    os.truncate(backup / "risk" / "data.mdb", 4096)


def lose_a_store(backup: Path) -> None:
    (backup / "risk" / "data.mdb").unlink()


def lose_the_manifest(backup: Path) -> None:
    (backup / "manifest.json").unlink()


@pytest.mark.parametrize(
    "hurt", [flip_in_a_store, flip_in_a_file, flip_in_the_manifest, cut_a_store, lose_a_store, lose_the_manifest]
)
def test_a_backup_that_is_not_whole_restores_nothing(state: Path, tmp_path: Path, hurt: Callable[[Path], None]) -> None:
    back_up(state, tmp_path / "backup", Clock())
    before = content(state)
    hurt(tmp_path / "backup")

    with pytest.raises((BackupError, StoreError)):
        restore(tmp_path / "backup", state, Clock(), is_replaced=True)

    assert content(state) == before
    refuse_unfinished(state)


def test_a_restore_that_was_cut_off_keeps_every_desk_away_until_it_is_done_again(state: Path, tmp_path: Path) -> None:
    back_up(state, tmp_path / "backup", Clock())
    before = content(state)
    (state / UNFINISHED).write_text(f"{tmp_path / 'backup'}\n", encoding="utf-8")
    (state / "risk").rename(tmp_path / "half moved")

    with pytest.raises(StartError, match=r"was cut off[^$]*bulkhead restore"):
        refuse_unfinished(state)
    restore(tmp_path / "backup", state, Clock(), is_replaced=False)

    refuse_unfinished(state)
    assert content(state) == before


@pytest.mark.slow
def test_the_folder_of_a_running_desk_is_not_restored(state: Path, tmp_path: Path) -> None:
    back_up(state, tmp_path / "backup", Clock())
    before = content(state)
    with (state / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)

        with pytest.raises(LockHeldError):
            restore(tmp_path / "backup", state, Clock(), is_replaced=True)

    assert content(state) == before


def test_what_else_lies_in_a_state_folder_is_no_store_of_it(state: Path, tmp_path: Path) -> None:
    """A restore that was cut off while it copied, a backup, and the folder of another desk keep no desk away."""
    before, stores = content(state), store_folders(state)
    back_up(state, tmp_path / "backup", Clock())
    for name in ("restoring", "monday", "other desk", "backup-before-restore-1"):
        shutil.copytree(tmp_path / "backup", state / name)

    check_stores(state)

    assert store_folders(state) == stores
    assert content(state) == before


def test_the_advice_of_a_backup_and_of_a_restore_that_was_cut_off_can_be_followed_as_it_stands(
    state: Path, tmp_path: Path
) -> None:
    backup, mine = tmp_path / "a backup", state.rename(tmp_path / "my desk")

    made = bulkhead("backup", backup, state=mine)
    (mine / UNFINISHED).write_text(f"{backup}\n", encoding="utf-8")
    with pytest.raises(StartError) as refused:
        refuse_unfinished(mine)
    down = bulkhead("status", state=mine)

    again = ["bulkhead", "restore", str(backup), "--state", str(mine)]
    assert shlex.split(made.out)[-5:] == shlex.split(str(refused.value))[-5:] == again
    assert shlex.split(down.err)[-4:] == ["bulkhead", "run", "--state", str(mine)]


def test_a_backup_does_not_go_into_the_state_folder(state: Path, tmp_path: Path) -> None:
    before = sorted(state.rglob("*"))
    link = tmp_path / "link"
    link.symlink_to(state)

    for folder in (state / "monday", state / "backups" / "monday", link / "monday"):
        with pytest.raises(BackupError, match="lies in the state folder"):
            back_up(state, folder, Clock())

    assert sorted(state.rglob("*")) == before


def test_a_backup_goes_to_a_new_folder_and_a_damaged_store_gives_none(state: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a file").touch()

    with pytest.raises(BackupError, match="not empty; name a new folder"):
        back_up(state, tmp_path / "full", Clock())
    with pytest.raises(BackupError, match="has a desk ever run on it"):
        back_up(tmp_path / "nowhere", tmp_path / "backup", Clock())
    store = Store.open(store_path(state, "execution"))
    with store._environment.begin(write=True) as transaction:
        transaction.delete(b"order\x00s0-1")
    store.close()
    with pytest.raises(StoreError, match="tables hold"):
        back_up(state, tmp_path / "backup", Clock())

    assert sorted(path.name for path in tmp_path.iterdir()) == ["full", "var"]
