"""What a strategy's process keeps of itself: written with each evaluated event, checked before it is believed."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, TypeVar, cast

import msgspec

from actors.own_book import BookState, OwnBook
from desk.messages import Intent
from desk.portfolio import ClosedTrade
from runtime.effects import Effects, Put
from runtime.store import Reader

#: Raised with every change of the Structs below, or of what they hold.
VERSION = 2
TABLE = "kept"
#: Where the memory of another maker lies until that one comes back.
ASIDE = "aside"
NOW, BOOK, TRADES, REBUILT = b"now", b"book", b"trades", b"rebuilt"
PARAMETERS, ARGUMENTS = b"parameters", b"arguments"
_SEAL_BYTES = 16
#: What comes back from the store as it was.
_PLAIN = frozenset({int, float, str, bool, bytes, type(None)})

T = TypeVar("T")


class MemoryUnfitError(Exception):
    """What was kept cannot be gone on from; the text says why."""


class Kept(msgspec.Struct, frozen=True, array_like=True):
    """What changes with each evaluated event.

    ``maker`` names who made ``state``. ``last`` is the last evaluated bar of each topic, ``journal_sequence`` the
    last own record that the strategy was told of.
    """

    version: int
    maker: str
    last: dict[str, int]
    journal_sequence: int
    state: dict[str, Any]
    pending: tuple[Intent, ...]
    why_not: dict[str, int]
    counters: dict[str, int]
    last_tick_ns: int
    marks: dict[str, Decimal]


class _KeptBook(msgspec.Struct, frozen=True, array_like=True):
    """The book as it was after ``journal_sequence``; between two own records it does not change."""

    journal_sequence: int
    book: BookState


class Recalled(msgspec.Struct, frozen=True):
    """A memory that holds together."""

    kept: Kept
    book: BookState
    trades: tuple[ClosedTrade, ...]
    was_aside: bool

    def restore(self, book: OwnBook) -> None:
        """Give an empty book what it knew.

        Raises:
            ValueError: It contradicts itself.
        """
        book.restore(self.book, self.kept.marks, self.trades)
        book.is_changed = book.has_new_trades = self.was_aside  # what lies in its place is another maker's


class Rebuilt(msgspec.Struct, frozen=True, array_like=True):
    """How often a memory had to be left aside, and why the last time."""

    count: int = 0
    reason: str = ""


class Memory:
    """Reads and writes one strategy's own store. Each value is sealed with a digest: LMDB has no checksum."""

    def __init__(self, store: Reader, maker: str) -> None:
        """Speak for what ``maker`` names: a module, the length of its bars, the version of its state."""
        self._store = store
        self.maker = maker

    def recall(self) -> Recalled | None:
        """Give what was kept, or None where nothing was.

        Where another maker was at work last, it is what this one had kept before that.

        Raises:
            MemoryUnfitError: It is of another version or another maker, damaged, or its parts are of different times.
        """
        kept = self._read(TABLE, NOW, Kept)
        if kept is None or kept.maker == self.maker:
            return None if kept is None else self._whole(kept, TABLE, b"")
        mine = self.maker.encode() + b"\x00"
        before = self._read(ASIDE, mine + NOW, Kept)
        if before is None:
            msg = f"it was kept by {kept.maker}, and this is {self.maker}"
            raise MemoryUnfitError(msg)
        return self._whole(before, ASIDE, mine)

    def _whole(self, kept: Kept, table: str, prefix: bytes) -> Recalled:
        book = self._read(table, prefix + BOOK, _KeptBook)
        if book is None or book.journal_sequence != kept.journal_sequence:
            upto = "missing" if book is None else f"of record {book.journal_sequence}"
            msg = f"its book is {upto}, its state of record {kept.journal_sequence}"
            raise MemoryUnfitError(msg)
        trades = self._read(table, prefix + TRADES, tuple[ClosedTrade, ...]) or ()
        return Recalled(kept, book.book, trades, was_aside=table == ASIDE)

    def parameters(self, module: str) -> dict[str, Any] | None:
        """Give the parameters that were in force, as plain values; None where none were kept of this module."""
        try:
            kept = self._read(TABLE, PARAMETERS, tuple[str, dict[str, Any]])
        except MemoryUnfitError:
            return None
        return kept[1] if kept is not None and kept[0] == module else None

    def arguments(self) -> bytes | None:
        """Give the arguments that were in force when something was evaluated last; None where there are none."""
        try:
            return self._read(TABLE, ARGUMENTS, bytes)
        except MemoryUnfitError:
            return None

    def last_bar(self) -> int | None:
        """Give the sequence of the bar that was evaluated last, whoever did; None where nobody can tell."""
        try:
            kept = self._read(TABLE, NOW, Kept)
        except MemoryUnfitError:
            return None
        return None if kept is None else max(kept.last.values(), default=0)

    def holds_something(self, flat_at: int = -1) -> bool:
        """Say whether whoever was at work last held a position, or awaited anything; False where nobody can tell.

        What was kept at or before ``flat_at`` does not count: execution knew of nothing then.
        """
        try:
            kept, book = self._read(TABLE, NOW, Kept), self._read(TABLE, BOOK, _KeptBook)
        except MemoryUnfitError:
            return False
        if kept is None or book is None or kept.journal_sequence <= flat_at:
            return False
        return bool(kept.pending or book.book.ledger.positions or book.book.ledger.working)

    def rebuilt(self) -> Rebuilt:
        """Give how often the memory was left aside."""
        try:
            return self._read(TABLE, REBUILT, Rebuilt) or Rebuilt()
        except MemoryUnfitError:
            return Rebuilt()

    def keep(self, kept: Kept, book: OwnBook, effects: Effects) -> None:
        """Keep what changed since the last time."""
        effects.put(TABLE, NOW, sealed(kept))
        if book.is_changed:
            effects.put(TABLE, BOOK, sealed(_KeptBook(kept.journal_sequence, book.state())))
            book.is_changed = False
        if book.has_new_trades:
            effects.put(TABLE, TRADES, sealed(book.recent_trades))
            book.has_new_trades = False

    def keep_parameters(self, module: str, values: Mapping[str, Any], effects: Effects) -> None:
        """Keep the parameters in force."""
        effects.put(TABLE, PARAMETERS, sealed((module, values)))

    def keep_arguments(self, arguments: bytes, effects: Effects) -> None:
        """Keep the arguments in force."""
        effects.put(TABLE, ARGUMENTS, sealed(arguments))

    def leave_aside(self, reason: str, effects: Effects) -> Rebuilt:
        """Go on without what was kept of state and book, and count that. The parameters in force stay.

        What another maker kept is put where that one finds it again.
        """
        rebuilt = Rebuilt(self.rebuilt().count + 1, reason)
        maker = self._maker_of_now()
        for key in (NOW, BOOK, TRADES):
            data = self._store.get(TABLE, key)
            if data is not None and maker not in {"", self.maker}:
                effects.put(ASIDE, maker.encode() + b"\x00" + key, data)
            effects.delete(TABLE, key)
        effects.put(TABLE, REBUILT, sealed(rebuilt))
        return rebuilt

    def _maker_of_now(self) -> str:
        try:
            kept = self._read(TABLE, NOW, Kept)
        except MemoryUnfitError:
            return ""
        return "" if kept is None else kept.maker

    def _read(self, table: str, key: bytes, kind: type[T]) -> T | None:
        data = self._store.get(table, key)
        return None if data is None else unsealed(data, kind, key.rpartition(b"\x00")[2].decode())


def copied(kept: Reader) -> Iterable[Put]:
    """Give the writes that make a fresh store one of a strategy that keeps the same, as of one moment."""
    return (Put(TABLE, key, data) for key, data in kept.scan(TABLE))


def not_plain(value: Any) -> str:
    """Name the first kind in a state that would come back as another one, as money does as text; "" where none would.

    A tuple comes back as a list, and counts as one.
    """
    if isinstance(value, dict):
        held = cast("dict[object, object]", value)
        inner = (*held, *held.values())
    elif isinstance(value, list | tuple):
        inner = cast("Sequence[object]", value)
    else:
        return "" if type(value) in _PLAIN else type(value).__name__
    if _PLAIN.issuperset(map(type, inner)):
        return ""
    return next(filter(None, map(not_plain, inner)), "")


def sealed(value: Any) -> bytes:
    """Give a value as bytes that show any damage."""
    body = msgspec.msgpack.encode(value)
    return hashlib.blake2b(body, digest_size=_SEAL_BYTES).digest() + body


def unsealed(data: bytes, kind: type[T], name: str = "value") -> T:
    """Take a value back.

    Raises:
        MemoryUnfitError: It is damaged, or of another version.
    """
    seal, body = data[:_SEAL_BYTES], data[_SEAL_BYTES:]
    if hashlib.blake2b(body, digest_size=_SEAL_BYTES).digest() != seal:
        msg = f"{name} is damaged, or of another version of the desk"
        raise MemoryUnfitError(msg)
    try:
        value = msgspec.msgpack.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        msg = f"{name} is of another version of the desk: {error}"
        raise MemoryUnfitError(msg) from error
    if isinstance(value, Kept) and value.version != VERSION:
        msg = f"{name} is of version {value.version}, and this is {VERSION}"
        raise MemoryUnfitError(msg)
    return value
