"""Stores that are made together are what they would be one by one, also where their making ends half way."""

import subprocess
import sys
from pathlib import Path

import pytest

from runtime.effects import Append
from runtime.errors import StoreError
from runtime.store import Reader, Store
from runtime.store_making import make_stores
from runtime.store_witness import witnessed

ROOT = Path(__file__).parents[2]
MANY = 150


def folders(place: Path, number: int = MANY) -> list[Path]:
    """Name folders, of which none is there."""
    return [place / "strategies" / f"s{each}" for each in range(number)]


def test_each_is_whole_empty_of_its_schema_and_known_to_have_been_made(tmp_path: Path) -> None:
    make_stores((folder, 1 + number % 2) for number, folder in enumerate(folders(tmp_path)))

    for number, folder in enumerate(folders(tmp_path)):
        reader = Reader.open(folder)
        assert (reader.verify(), reader.summary().schema, witnessed(folder)) == (0, 1 + number % 2, 1)
        reader.close()


def test_each_is_one_of_its_own_to_which_only_its_owner_has_access(tmp_path: Path) -> None:
    first, second, third = folders(tmp_path, 3)
    make_stores((folder, 1) for folder in (first, second, third))

    store = Store.open(second, schema=1)
    store.commit([Append(1, b"one")])
    store.close()

    for folder, head in ((first, 0), (second, 1), (third, 0)):
        reader = Reader.open(folder)
        assert reader.verify() == head
        reader.close()
        assert (folder.stat().st_mode & 0o777, (folder / "data.mdb").stat().st_mode & 0o777) == (0o700, 0o600)


def test_what_is_there_stays_as_it_is(tmp_path: Path) -> None:
    old, *new = folders(tmp_path, 3)
    store = Store.open(old, schema=1)
    store.commit([Append(1, b"one")])
    store.close()

    make_stores((folder, 2) for folder in (old, *new))

    reader = Reader.open(old)
    assert (reader.record(1), reader.summary().schema) == (b"one", 1)
    reader.close()


def test_one_whose_data_is_gone_is_not_made_anew(tmp_path: Path) -> None:
    make_stores((folder, 1) for folder in folders(tmp_path, 2))
    (folders(tmp_path, 2)[1] / "data.mdb").unlink()

    with pytest.raises(StoreError, match="commits ago"):
        make_stores((folder, 1) for folder in folders(tmp_path, 3))


def test_where_no_folder_can_be_made_the_store_is_named(tmp_path: Path) -> None:
    (tmp_path / "strategies").write_text("a file", encoding="ascii")

    with pytest.raises(StoreError, match="s0: a store cannot be made"):
        make_stores((folder, 1) for folder in folders(tmp_path, 2))


def test_a_maker_that_ends_at_any_of_its_calls_leaves_whole_stores_and_none_that_is_missed(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.runtime.half_made", str(tmp_path)]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (0, "True", "")
