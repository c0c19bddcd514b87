"""The read model: the journal as tables of SQLite, for questions in SQL. It is derived, and made anew at any time.

Nothing of the order path knows of it. Whoever brings it up to date reads the journal behind the last record that it
has, in one transaction; who asks sees a whole moment of it, and can change nothing.
"""

import sqlite3
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path

import msgspec

from actors.journal import FOLDED_BY, read_journal, strategy_of
from actors.order_view import source_words
from actors.views import decimal_words, journal_row
from desk.messages import (
    CapitalChanged,
    DeskNoted,
    ExternalAdopted,
    ExternalBooked,
    FillBooked,
    JournalRecord,
    Order,
    OrderChanged,
)
from desk.portfolio import ClosedTrade, Ledger, LedgerState
from runtime.codec import Codec
from runtime.store import Reader

NAME = "read-model.sqlite"
#: Raised with every change of the tables below: an older model is made anew.
VERSION = 1
#: How long one who brings it up to date waits for another who does.
BUSY_S = 60.0
#: After so many steps of its machine SQLite lets Python hear signals: some milliseconds.
HEARD_EVERY = 100_000

_TABLES = """
CREATE TABLE orders (
    order_id TEXT PRIMARY KEY, intent_id TEXT, strategy TEXT, symbol TEXT, tag TEXT, purpose TEXT, side TEXT, type TEXT,
    quantity TEXT, limit_price TEXT, stop_price TEXT, state TEXT, filled_quantity TEXT, average_price TEXT, fees TEXT,
    reason TEXT, exit_reason TEXT, attempt INTEGER, client_id TEXT, venue_order_id TEXT, created_ns INTEGER,
    changed_ns INTEGER, expires_ns INTEGER, bar_ts_ns INTEGER, timeframe TEXT, born INTEGER, sequence INTEGER
) WITHOUT ROWID;
CREATE INDEX orders_of ON orders (strategy, symbol, state);
CREATE TABLE order_transitions (
    sequence INTEGER PRIMARY KEY, order_id TEXT, previous TEXT, state TEXT, source TEXT, reason TEXT, attempt INTEGER,
    client_id TEXT, filled_quantity TEXT, ts_ns INTEGER, written_ns INTEGER
);
CREATE INDEX transitions_of ON order_transitions (order_id);
CREATE TABLE fills (
    sequence INTEGER PRIMARY KEY, venue TEXT, account TEXT, execution_id TEXT, order_id TEXT, strategy TEXT,
    symbol TEXT, tag TEXT, purpose TEXT, side TEXT, quantity TEXT, price TEXT, fee TEXT, exit_reason TEXT,
    ts_ns INTEGER, written_ns INTEGER
);
CREATE UNIQUE INDEX executions ON fills (venue, account, execution_id);
CREATE INDEX fills_of ON fills (order_id);
CREATE TABLE positions (
    strategy TEXT, symbol TEXT, tag TEXT, quantity TEXT, average_price TEXT, entry_fees TEXT, opened_ns INTEGER,
    stop_loss TEXT, take_profit TEXT, PRIMARY KEY (strategy, symbol, tag)
) WITHOUT ROWID;
CREATE TABLE trades (
    number INTEGER PRIMARY KEY, sequence INTEGER, strategy TEXT, symbol TEXT, tag TEXT, side TEXT, quantity TEXT,
    entry_price TEXT, exit_price TEXT, pnl TEXT, fees TEXT, exit_reason TEXT, opened_ns INTEGER, closed_ns INTEGER
);
CREATE INDEX trades_of ON trades (strategy, closed_ns);
CREATE TABLE capital_events (sequence INTEGER PRIMARY KEY, amount TEXT, reason TEXT, ts_ns INTEGER, written_ns INTEGER);
CREATE TABLE desk_notes (
    sequence INTEGER PRIMARY KEY, kind TEXT, text TEXT, who TEXT, ts_ns INTEGER, written_ns INTEGER
);
CREATE TABLE external_events (
    sequence INTEGER PRIMARY KEY, word TEXT, strategy TEXT, symbol TEXT, quantity TEXT, text TEXT, ts_ns INTEGER,
    written_ns INTEGER
);
CREATE TABLE strategies (
    strategy TEXT PRIMARY KEY, realised TEXT, fees TEXT, orders INTEGER, trades INTEGER
) WITHOUT ROWID;
CREATE TABLE system_meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
"""
_NAMES = tuple(line.split()[2] for line in _TABLES.splitlines() if line.startswith("CREATE TABLE"))

#: What a reader of the model may do: read tables, and call functions but for this one.
_ALLOWED = frozenset({sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE})
_FORBIDDEN_FUNCTION = "load_extension"


def open_read_model(path: Path) -> sqlite3.Connection:
    """Open the model for questions: SELECT, and nothing that writes, attaches, or changes how the connection works.

    Raises:
        sqlite3.OperationalError: There is none.
    """
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_S)
    connection.set_authorizer(_authorize)
    connection.set_progress_handler(_nothing, HEARD_EVERY)
    return connection


def _nothing() -> int:
    """Let Python run for a moment: a signal whose handler raises, such as Ctrl-C, ends a question without end."""
    return 0


def _authorize(action: int, _first: str | None, second: str | None, _database: str | None, _by: str | None) -> int:
    is_allowed = action in _ALLOWED and not (action == sqlite3.SQLITE_FUNCTION and second == _FORBIDDEN_FUNCTION)
    return sqlite3.SQLITE_OK if is_allowed else sqlite3.SQLITE_DENY


class ReadModel:
    """The model as the one who brings it up to date holds it."""

    def __init__(self, path: Path) -> None:
        """Open or create it; one of another version, or folded by other code, is emptied with the next update."""
        self._connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
        self._connection.execute("PRAGMA synchronous = OFF")  # what a power cut takes is made anew
        self.path = path

    def close(self) -> None:
        """Close it."""
        self._connection.close()

    def update(self, ledger: Reader, codec: Codec, *, is_anew: bool = False) -> int:
        """Take in what was journalled since; give the sequence of the last record that is in it now.

        It is one transaction: whoever asks meanwhile sees what was before. ``is_anew`` makes it from the first record.

        Raises:
            StoreError, WireError: The journal is damaged, or of another version. Nothing has changed then.
        """
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            cursor, books = self._begin(ledger, is_anew=is_anew)
            for record in read_journal(ledger, codec, cursor):
                self._take(record, books)
                cursor = record.sequence
            self._finish(ledger, cursor, books)
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")
        return cursor

    def _begin(self, ledger: Reader, *, is_anew: bool) -> tuple[int, Ledger]:
        """Go on behind the last record, or from the first where what is there does not belong to this journal."""
        books = Ledger(keep_trades=False, keep_executions=False, finished_orders_max=0)
        if not is_anew and self._is_ours(ledger):
            try:
                books.restore(msgspec.msgpack.decode(self._books(), type=LedgerState))
                return int(self._meta("sequence")), books
            except (msgspec.DecodeError, ValueError):
                books = Ledger(keep_trades=False, keep_executions=False, finished_orders_max=0)
        for name in self._existing():
            self._connection.execute(f'DROP TABLE "{name}"')
        for statement in _TABLES.split(";"):
            if statement.strip():
                self._connection.execute(statement)
        return 0, books

    def _existing(self) -> list[str]:
        return [name for (name,) in self._connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]

    def _is_ours(self, ledger: Reader) -> bool:
        if not set(_NAMES) <= set(self._existing()) or self._meta("made_by") != _made_by():
            return False
        return self._meta("link") == (ledger.link(int(self._meta("sequence"))) or b"").hex()

    def _meta(self, key: str) -> str:
        row = self._connection.execute("SELECT value FROM system_meta WHERE key = ?", (key,)).fetchone()
        return str(row[0]) if row is not None else ""

    def _books(self) -> bytes:
        row = self._connection.execute("SELECT value FROM system_meta WHERE key = 'books'").fetchone()
        return row[0] if row is not None and isinstance(row[0], bytes) else b""

    def _finish(self, ledger: Reader, cursor: int, books: Ledger) -> None:
        """Write what only the end of the journal says: positions, sums, and how far all of it goes."""
        self._connection.execute("DELETE FROM positions")
        for held in books.positions.values():
            row = (held.strategy, held.symbol, held.tag, held.quantity, held.average_price, held.entry_fees)
            self._insert("positions", (*row, held.opened_ns, held.stop_loss, held.take_profit))
        names = [name for (name,) in self._connection.execute("SELECT DISTINCT strategy FROM orders").fetchall()]
        for name in names:
            counts = [
                self._connection.execute(f"SELECT count(*) FROM {table} WHERE strategy = ?", (name,)).fetchone()[0]  # noqa: S608 - our own names
                for table in ("orders", "trades")
            ]
            self._insert("strategies", (name, books.realised_of(name), books.fees_of(name), *counts))
        figures = {
            "made_by": _made_by(),
            "sequence": cursor,
            "link": (ledger.link(cursor) or b"").hex(),
            "books": msgspec.msgpack.encode(books.state()),
            "capital": books.capital,
            "cash": books.cash,
            "realised": books.realised,
            "fees": books.fees,
        }
        for key, value in figures.items():
            self._insert("system_meta", (key, value))

    # --- records --------------------------------------------------------------------------------

    def _take(self, record: JournalRecord, books: Ledger) -> None:
        body, sequence = record.body, record.sequence
        trades = books.apply(body)
        if isinstance(body, OrderChanged):
            self._take_order(record, body)
        elif isinstance(body, FillBooked):
            named = (sequence, body.venue, body.account, body.execution_id, body.order_id, body.strategy, body.symbol)
            what = (body.tag, body.purpose.value, body.side.value, body.quantity, body.price, body.fee)
            self._insert("fills", (*named, *what, body.exit_reason, body.ts_ns, record.written_ns))
        elif isinstance(body, CapitalChanged):
            self._insert("capital_events", (sequence, body.amount, body.reason, body.ts_ns, record.written_ns))
        elif isinstance(body, DeskNoted):
            self._insert("desk_notes", (sequence, body.kind, body.text, body.who, body.ts_ns, record.written_ns))
        elif isinstance(body, ExternalBooked | ExternalAdopted):
            told = journal_row(record)
            named = (sequence, told["word"], strategy_of(body), body.symbol, body.quantity)
            self._insert("external_events", (*named, told["text"], body.ts_ns, record.written_ns))
        for trade in trades:
            self._take_trade(sequence, trade)

    def _take_order(self, record: JournalRecord, body: OrderChanged) -> None:
        order = body.order
        step = (record.sequence, order.order_id, body.previous, order.state.value, source_words(body.source))
        more = (order.reason, order.attempt, order.client_id, order.filled_quantity, body.ts_ns, record.written_ns)
        self._insert("order_transitions", (*step, *more))
        born = self._connection.execute("SELECT born FROM orders WHERE order_id = ?", (order.order_id,)).fetchone()
        self._insert("orders", (*_order_row(order), record.sequence if born is None else born[0], record.sequence))

    def _take_trade(self, sequence: int, trade: ClosedTrade) -> None:
        what = (
            trade.strategy,
            trade.symbol,
            trade.tag,
            trade.side,
            trade.quantity,
            trade.entry_price,
            trade.exit_price,
        )
        came_to = (trade.pnl, trade.fees, trade.exit_reason, trade.opened_ns, trade.closed_ns)
        self._insert("trades", (None, sequence, *what, *came_to))

    def _insert(self, table: str, values: Iterable[object]) -> None:
        """Put a row, in place of one with the same key; decimals as text, so that no digit is lost."""
        row = [decimal_words(value) if isinstance(value, Decimal) else value for value in values]
        marks = ", ".join("?" * len(row))
        self._connection.execute(f"INSERT OR REPLACE INTO {table} VALUES ({marks})", row)  # noqa: S608 - our own names


def _order_row(order: Order) -> tuple[object, ...]:
    named = (order.order_id, order.intent_id, order.strategy, order.symbol, order.tag)
    wants = (
        order.purpose.value,
        order.side.value,
        order.type.value,
        order.quantity,
        order.limit_price,
        order.stop_price,
    )
    has = (order.state.value, order.filled_quantity, order.average_price, order.fees, order.reason, order.exit_reason)
    venue = (order.attempt, order.client_id, order.venue_order_id)
    times = (order.created_ns, order.changed_ns, order.expires_ns, order.bar_ts_ns, order.timeframe)
    return (*named, *wants, *has, *venue, *times)


def _made_by() -> str:
    return f"{VERSION} {FOLDED_BY}"
