"""Durable state: an append-only log with a sequence and a hash chain, and small tables, in one LMDB environment.

One process writes a store, any number read it. Nothing here survives a fork: open after, never before.
"""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

import lmdb

from runtime.effects import Append, Put, Write
from runtime.errors import StoreError

_LOG = b"log\x00"
_CHAIN_BYTES = 16
#: What the chain starts from, before the first record.
GENESIS = bytes(_CHAIN_BYTES)
#: Address space of a store where its owner names none. Only touched pages take room on the disk.
MAP_BYTES_DEFAULT = 1 << 30
READERS_MAX_DEFAULT = 512


def _log_key(sequence: int) -> bytes:
    return _LOG + sequence.to_bytes(8, "big")


def _table_key(table: str, key: bytes) -> bytes:
    assert table != "log", "the log is no table"
    return table.encode() + b"\x00" + key


def chain(previous: bytes, data: bytes) -> bytes:
    """Give the link that binds a record to all before it (16 bytes)."""
    return hashlib.blake2b(previous + data, digest_size=_CHAIN_BYTES).digest()


class Reader:
    """A store opened for reading; sees every commit that its writer has made, at each call anew."""

    def __init__(self, environment: lmdb.Environment, path: Path) -> None:
        """Wrap an opened environment; use ``open``."""
        self._environment = environment
        self.path = path

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open an existing store.

        Raises:
            StoreError: There is none, or it cannot be read.
        """
        return cls(_environment(path, writes=False), path)

    def close(self) -> None:
        """Close the environment; the store must not be used afterwards."""
        self._environment.close()

    def head(self) -> int:
        """Give the sequence of the newest log record; 0 where there is none."""
        with self._environment.begin() as transaction, transaction.cursor() as cursor:
            return _head(cursor)

    def record(self, sequence: int) -> bytes | None:
        """Give one log record's data."""
        with self._environment.begin() as transaction:
            data = transaction.get(_log_key(sequence))
        return None if data is None else bytes(data)[_CHAIN_BYTES:]

    def records(self, after: int = 0, most: int | None = None) -> Iterator[tuple[int, bytes]]:
        """Give (sequence, data) of the log records behind ``after``, oldest first, of one moment in time."""
        with self._environment.begin() as transaction, transaction.cursor() as cursor:
            if not cursor.set_range(_log_key(after + 1)):
                return
            left = most
            for key, data in cursor:
                if not key.startswith(_LOG) or left == 0:
                    return
                if left is not None:
                    left -= 1
                yield int.from_bytes(key[len(_LOG) :], "big"), bytes(data)[_CHAIN_BYTES:]

    def get(self, table: str, key: bytes) -> bytes | None:
        """Give one table entry, or None."""
        with self._environment.begin() as transaction:
            return transaction.get(_table_key(table, key))

    def scan(self, table: str, prefix: bytes = b"", start: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        """Give (key, data) of a table's entries whose key starts with ``prefix``, in key order, from ``start`` on."""
        begin = _table_key(table, prefix if start is None else start)
        wanted = _table_key(table, prefix)
        with self._environment.begin() as transaction, transaction.cursor() as cursor:
            if not cursor.set_range(begin):
                return
            cut = len(table) + 1
            for key, data in cursor:
                if not key.startswith(wanted):
                    return
                yield key[cut:], bytes(data)

    def verify(self) -> int:
        """Walk the whole log and check its chain; give the head.

        Raises:
            StoreError: A record is missing or was changed; the message names its sequence.
        """
        link, expected = GENESIS, 1
        with self._environment.begin() as transaction, transaction.cursor() as cursor:
            if not cursor.set_range(_LOG):
                return 0
            for key, value in cursor:
                if not key.startswith(_LOG):
                    break
                sequence, stored = int.from_bytes(key[len(_LOG) :], "big"), bytes(value)
                link = chain(link, stored[_CHAIN_BYTES:])
                if sequence != expected or stored[:_CHAIN_BYTES] != link:
                    msg = f"{self.path}: the log is broken at record {expected}"
                    raise StoreError(msg)
                expected += 1
        return expected - 1


class Store(Reader):
    """A store opened by its one writer."""

    def __init__(self, environment: lmdb.Environment, path: Path) -> None:
        """Wrap an opened environment; use ``open``."""
        super().__init__(environment, path)
        environment.reader_check()
        self._head = super().head()
        self._link = GENESIS
        if self._head:
            with environment.begin() as transaction:
                newest = transaction.get(_log_key(self._head))
            assert newest is not None, "the head was just read"
            self._link = bytes(newest)[:_CHAIN_BYTES]

    @classmethod
    def open(cls, path: Path, *, is_synced: bool = True, map_bytes: int = MAP_BYTES_DEFAULT) -> Self:
        """Open or create a store for writing.

        Args:
            path: Folder of the store.
            is_synced: Every commit reaches the disk before it returns. Without, a commit survives the death of
                the process but perhaps not of the machine.
            map_bytes: Most the store may ever hold.

        Raises:
            StoreError: It cannot be created or opened.
        """
        return cls(_environment(path, writes=True, is_synced=is_synced, map_bytes=map_bytes), path)

    def head(self) -> int:
        """Give the sequence of the newest log record; 0 where there is none."""
        return self._head

    def commit(self, writes: Sequence[Write], *, is_durable: bool = False) -> None:
        """Write everything or nothing.

        Args:
            writes: Appends must continue the log without a gap.
            is_durable: Reach the disk even where the store was opened without ``is_synced``.

        Raises:
            StoreError: Nothing was written: the disk or the map is full, or a record was not the next one.
        """
        head, link = self._head, self._link
        try:
            with self._environment.begin(write=True) as transaction:
                for write in writes:
                    if isinstance(write, Append):
                        if write.sequence != head + 1:
                            msg = f"{self.path}: record {write.sequence} cannot follow {head}"
                            raise StoreError(msg)
                        head, link = write.sequence, chain(link, write.data)
                        transaction.put(_log_key(head), link + write.data, append=False)
                    elif isinstance(write, Put):
                        transaction.put(_table_key(write.table, write.key), write.data)
                    else:
                        transaction.delete(_table_key(write.table, write.key))
            if is_durable:
                self._environment.sync(True)
        except lmdb.Error as error:
            msg = f"{self.path}: nothing was written: {error}"
            raise StoreError(msg) from error
        self._head, self._link = head, link


def _head(cursor: lmdb.Cursor) -> int:
    """Find the last log key below the end of the log's range."""
    found = cursor.prev() if cursor.set_range(b"log\x01") else cursor.last()
    key = bytes(cursor.key())
    return int.from_bytes(key[len(_LOG) :], "big") if found and key.startswith(_LOG) else 0


def _environment(
    path: Path, *, writes: bool, is_synced: bool = True, map_bytes: int = MAP_BYTES_DEFAULT
) -> lmdb.Environment:
    if not writes and not (path / "data.mdb").exists():
        msg = f"{path}: there is no store here"
        raise StoreError(msg)
    try:
        if writes:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return lmdb.open(
            str(path),
            map_size=map_bytes,
            readonly=not writes,
            create=writes,
            mode=0o600,
            sync=is_synced,
            metasync=is_synced,
            max_readers=READERS_MAX_DEFAULT,
            readahead=False,
            meminit=False,
        )
    except (lmdb.Error, OSError) as error:
        msg = f"{path}: cannot be opened: {error}"
        raise StoreError(msg) from error
