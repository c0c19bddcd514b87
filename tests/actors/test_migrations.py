"""A start converts the stores of an older desk, each after a copy was put aside, and refuses those of a newer one."""

from pathlib import Path

import pytest

from actors.arguments import store_path
from actors.migrations import convert_stores
from runtime.effects import Put
from runtime.errors import StartError
from runtime.folder import store_folders
from runtime.store import Reader, Store
from tests.actors.booked import Book
from tests.runtime.test_store import of_format_1


def an_old_state(state: Path) -> list[str]:
    """Lay down a ledger and another store as desks once wrote them; give the ledger's records."""
    book = Book(store_path(state, "execution"))
    book.capital()
    book.trade(closed=6, open_orders=2)
    records = [data.hex() for _, data in book.store.records()]
    book.close()
    risk = Store.open(store_path(state, "risk"))
    risk.commit([Put("known", b"i1", b"")])
    risk.close()
    for folder in store_folders(state):
        of_format_1(folder)
    return records


def records(folder: Path) -> list[str]:
    reader = Reader.open(folder)
    try:
        reader.verify()
        return [data.hex() for _, data in reader.records()]
    finally:
        reader.close()


def test_stores_of_an_older_desk_are_converted_once_and_their_copies_are_no_stores_of_the_desk(tmp_path: Path) -> None:
    before = an_old_state(tmp_path)
    ledger = store_path(tmp_path, "execution")

    converted = convert_stores(tmp_path)

    assert converted == [ledger, tmp_path / "risk"] == store_folders(tmp_path)
    assert convert_stores(tmp_path) == []
    assert records(ledger) == records(tmp_path / "backup-before-v2" / "ledger" / "v1.1") == before
    book = Book(ledger)
    assert len(book.journal.ledger.working) == 2
    book.close()


def test_a_copy_that_was_not_finished_is_made_anew(tmp_path: Path) -> None:
    before = an_old_state(tmp_path)
    unfinished = tmp_path / "backup-before-v2" / "ledger" / "v1.1.unfinished"
    unfinished.mkdir(parents=True)
    (unfinished / "data.mdb").write_bytes(b"half a copy")

    convert_stores(tmp_path)

    assert records(tmp_path / "backup-before-v2" / "ledger" / "v1.1") == before


def test_a_ledger_of_a_newer_desk_is_refused_in_words_that_say_what_to_do(tmp_path: Path) -> None:
    Store.open(store_path(tmp_path, "execution"), schema=99).close()

    with pytest.raises(StartError, match=r"a newer version of the desk wrote it, in schema 99[^$]*Nothing was started"):
        convert_stores(tmp_path)
