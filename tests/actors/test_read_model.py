"""The read model says what the journal says, however it was brought up to date, and its readers can change nothing."""

import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from actors.journal import read_journal
from actors.read_model import NAME, ReadModel, open_read_model
from actors.views import orders_view, positions_view, trades_view
from actors.words import desk_codec
from runtime.errors import StoreError
from tests.actors.booked import Book

TABLES = (
    "orders", "order_transitions", "fills", "positions", "trades", "capital_events", "desk_notes", "external_events",
    "strategies", "system_meta",
)  # fmt: skip


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Book]:
    book = Book(tmp_path / "ledger")
    book.capital()
    book.trade(closed=12, open_orders=4)
    yield book
    book.close()


def updated(book: Book, path: Path, *, is_anew: bool = False) -> int:
    model = ReadModel(path)
    try:
        return model.update(book.store, desk_codec(), is_anew=is_anew)
    finally:
        model.close()


def rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    connection = open_read_model(path)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def everything(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    return {table: rows(path, f"SELECT * FROM {table} ORDER BY 1, 2") for table in TABLES}


def test_the_tables_are_what_the_journal_says(book: Book, tmp_path: Path) -> None:
    path = tmp_path / NAME
    updated(book, path)
    records = list(read_journal(book.store, desk_codec()))

    orders = {row["order_id"]: (row["state"], row["filled_quantity"], row["fees"]) for row in orders_view(records)}
    found = rows(path, "SELECT order_id, state, filled_quantity, fees FROM orders")
    assert {name: tuple(rest) for name, *rest in found} == orders
    keys = ("strategy", "symbol", "quantity", "entry_price", "exit_price", "pnl", "fees")
    trades = [tuple(row[key] for key in keys) for row in trades_view(records)]
    assert rows(path, f"SELECT {', '.join(keys)} FROM trades ORDER BY number") == trades
    held = {(row["strategy"], row["quantity"], row["average_price"]) for row in positions_view(records)}
    assert set(rows(path, "SELECT strategy, quantity, average_price FROM positions")) == held
    ledger = book.journal.ledger
    figures = dict(rows(path, "SELECT key, value FROM system_meta WHERE key IN ('cash', 'realised', 'sequence')"))
    assert figures == {"cash": f"{ledger.cash:f}", "realised": f"{ledger.realised:f}", "sequence": book.journal.head}
    assert len(trades) > 5
    assert held


def test_bringing_it_up_to_date_bit_by_bit_gives_what_making_it_anew_gives(book: Book, tmp_path: Path) -> None:
    bit_by_bit, anew = tmp_path / "bits.sqlite", tmp_path / "anew.sqlite"
    updated(book, bit_by_bit)
    for _ in range(3):
        book.trade(closed=2, open_orders=1)
        book.turn(lambda effects: book.journal.note("gate", f"closed at {book.journal.head}", 5, effects))
        assert updated(book, bit_by_bit) == book.journal.head
    updated(book, anew)

    assert everything(bit_by_bit) == everything(anew)
    updated(book, bit_by_bit, is_anew=True)
    assert everything(bit_by_bit) == everything(anew)


def test_a_model_of_another_journal_is_made_anew(book: Book, tmp_path: Path) -> None:
    path = tmp_path / NAME
    other = Book(tmp_path / "other")
    other.capital(5)
    other.trade(closed=30, open_orders=0)
    updated(other, path)
    other.close()

    updated(book, path)

    updated(book, tmp_path / "fresh.sqlite")
    assert everything(path) == everything(tmp_path / "fresh.sqlite")


@pytest.mark.parametrize(
    "query",
    [
        "DELETE FROM orders",
        "UPDATE orders SET state = 'FILLED'",
        "INSERT INTO desk_notes VALUES (1, '', '', '', 0, 0)",
        "DROP TABLE orders",
        "CREATE TABLE mine (a)",
        "PRAGMA writable_schema = 1",
        "PRAGMA query_only = 0",
        "ATTACH DATABASE '/tmp/elsewhere.sqlite' AS elsewhere",
        "VACUUM INTO '/tmp/copied.sqlite'",
        "SELECT load_extension('/tmp/evil.so')",
        "BEGIN",
    ],
)
def test_a_reader_can_change_nothing_and_reach_nothing_else(book: Book, tmp_path: Path, query: str) -> None:
    path = tmp_path / NAME
    updated(book, path)
    before = path.read_bytes()
    connection = open_read_model(path)

    with pytest.raises(sqlite3.DatabaseError, match=r"not authorized|authorization denied|prohibited|no such function"):
        connection.execute(query)

    connection.close()
    assert path.read_bytes() == before


def test_a_question_without_end_is_ended_by_a_signal(book: Book, tmp_path: Path) -> None:
    path = tmp_path / NAME
    updated(book, path)
    endless = "WITH RECURSIVE up(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM up) SELECT count(*) FROM up"
    before = signal.signal(signal.SIGVTALRM, signal.default_int_handler)  # as Ctrl-C, while the question is computed
    signal.setitimer(signal.ITIMER_VIRTUAL, 0.1)
    try:
        with pytest.raises(sqlite3.OperationalError, match="interrupted"):
            rows(path, endless)
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def test_a_reader_may_count_and_join_and_recurse(book: Book, tmp_path: Path) -> None:
    path = tmp_path / NAME
    updated(book, path)

    (fills,) = rows(path, "SELECT count(*), sum(CAST(f.quantity AS REAL)) FROM fills f JOIN orders o USING (order_id)")
    counted = rows(
        path, "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 5) SELECT max(x) FROM n"
    )

    assert fills[0] == len(rows(path, "SELECT 1 FROM fills")) > 0
    assert counted == [(5,)]


def test_a_journal_that_breaks_off_in_the_middle_changes_nothing(book: Book, tmp_path: Path) -> None:
    path = tmp_path / NAME
    updated(book, path)
    before = everything(path)
    book.trade(closed=2, open_orders=0)
    key = b"log\x00" + (book.journal.head - 1).to_bytes(8, "big")
    with book.store._environment.begin(write=True) as transaction:
        transaction.delete(key)

    with pytest.raises(StoreError, match="broken at record"):
        updated(book, path)

    assert everything(path) == before
