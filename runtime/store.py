"""Durable state: an append-only log with a sequence and a hash chain, and small tables, in one LMDB environment.

One process writes a store, any number read it. Nothing here survives a fork: open after, never before.
LMDB has no checksums: every record is bound by the chain, every table entry by a digest, and all of them by a summary.
"""

import os
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, Self

import lmdb
from typing_extensions import override

from runtime.effects import Append, Put, Write
from runtime.errors import ForeignStoreError, StoreError, StoreVersionError
from runtime.store_format import (
    CHAIN_BYTES,
    FORMAT,
    GENESIS,
    LOG,
    LOG_END,
    SUMMARY_KEY,
    TOTAL_MASK,
    Summary,
    chain,
    entry_words,
    log_key,
    log_sequence,
    seal,
    seal_number,
    table_key,
    unseal,
)
from runtime.store_reserve import Reserve
from runtime.store_witness import Witness, witnessed

#: Address space of a store where its owner names none. Only touched pages take room on the disk.
MAP_BYTES_DEFAULT = 1 << 30
READERS_MAX_DEFAULT = 512
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
#: The two roots of the tree, of which one is the newest.
META_PAGES = 2
#: Where a store says whose it is.
_OWNER = ("whose", b"")
#: Larger than any store: whoever opens all of them need not know how large each may become.
MAP_BYTES_MAX = 16 << 30

#: What turns a store of the version before into one of the next: the writes, made from what it holds.
Step = Callable[["Reader"], Iterable[Write]]


class Schema(NamedTuple):
    """What the records and tables of one owner mean: a number, and how a store comes to it from the one before."""

    version: int = 1
    steps: Mapping[int, Step] = MappingProxyType({})


class Pages(NamedTuple):
    """How a store fills its file, in pages of ``PAGE_BYTES``.

    ``touched`` is how far the file was ever written; it never shrinks. ``used`` holds something now; what lies between
    is free and taken first, unless a reader that stands still keeps it.
    """

    touched: int
    used: int


class Reader:
    """A store opened for reading; sees every commit that its writer has made, at each call anew.

    Whatever is read is checked: a record against the one before it, an entry against its digest.
    """

    def __init__(self, environment: lmdb.Environment, path: Path) -> None:
        """Wrap an opened environment; use ``open``."""
        self._environment = environment
        self.path = path
        with self._reading() as transaction:
            self._is_sealed = _format_of(transaction, path) >= FORMAT

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open an existing store.

        Raises:
            StoreError: There is none, it cannot be read, or a newer version of the desk wrote it.
        """
        environment = _environment(path, writes=False)
        try:
            return cls(environment, path)
        except BaseException:
            environment.close()
            raise

    def close(self) -> None:
        """Close the environment; the store must not be used afterwards."""
        self._environment.close()

    def head(self) -> int:
        """Give the sequence of the newest log record; 0 where there is none."""
        with self._reading() as transaction, transaction.cursor() as cursor:
            return _head(cursor)

    def summary(self) -> Summary:
        """Give what the store says of itself; of one that was never written to, or of format 1, what nothing gives.

        Raises:
            StoreError: It is damaged.
        """
        with self._reading() as transaction:
            return _summary(transaction, self.path) or Summary(format=FORMAT if self._is_sealed else 1)

    def owner(self) -> str:
        """Say whose store it is; "" where nobody has noted that yet.

        Raises:
            StoreError: The note is damaged.
        """
        return (self.get(*_OWNER) or b"").decode(errors="replace")

    def record(self, sequence: int) -> bytes | None:
        """Give one log record's data.

        Raises:
            StoreError: It was changed, or the one before it is missing.
        """
        for _, data in self.records(sequence - 1, 1) if sequence > 0 else ():
            return data
        return None

    def link(self, sequence: int) -> bytes | None:
        """Give the link of one log record (16 bytes), which binds it and all before it; None where it is not there."""
        if sequence == 0:
            return GENESIS
        with self._reading() as transaction:
            stored = transaction.get(log_key(sequence))
        return None if stored is None else bytes(stored)[:CHAIN_BYTES]

    def records(self, after: int = 0, most: int | None = None) -> Iterator[tuple[int, bytes]]:
        """Give (sequence, data) of the log records behind ``after`` (>= 0), oldest first, of one moment in time.

        Raises:
            StoreError: A record is missing or was changed; the message names its sequence.
        """
        with self._reading() as transaction, transaction.cursor() as cursor:
            if not cursor.set_range(log_key(after + 1)):
                return
            left, expected = most, after + 1
            link = GENESIS if after == 0 else bytes(transaction.get(log_key(after)) or b"")[:CHAIN_BYTES]
            for key, value in cursor:
                if bytes(key[: len(LOG)]) != LOG or left == 0:
                    return
                if left is not None:
                    left -= 1
                stored = bytes(value)
                link = chain(link, stored[CHAIN_BYTES:])
                if log_sequence(bytes(key)) != expected or stored[:CHAIN_BYTES] != link:
                    raise _broken(self.path, expected)
                yield expected, stored[CHAIN_BYTES:]
                expected += 1

    def get(self, table: str, key: bytes) -> bytes | None:
        """Give one table entry, or None.

        Raises:
            StoreError: It is not what was stored.
        """
        whole = table_key(table, key)
        try:
            with self._environment.begin() as transaction:
                stored = transaction.get(whole)
        except lmdb.Error as error:
            raise self._unreadable(error) from error
        return None if stored is None else self._unsealed(whole, bytes(stored))

    def scan(self, table: str, prefix: bytes = b"", start: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        """Give (key, data) of a table's entries whose key starts with ``prefix``, in key order, from ``start`` on.

        Raises:
            StoreError: An entry is not what was stored.
        """
        begin = table_key(table, prefix if start is None else start)
        wanted, cut, last = table_key(table, prefix), len(table.encode()) + 1, b""
        with self._reading() as transaction, transaction.cursor() as cursor:
            if not cursor.set_range(begin):
                return
            for raw_key, data in cursor:
                key = bytes(raw_key)
                if not key.startswith(wanted):
                    return
                if key <= last:
                    raise _disordered(self.path, key)
                last = key
                yield key[cut:], self._unsealed(key, bytes(data))

    def verify(self) -> int:
        """Walk everything: the log along its chain, each entry of each table, and the summary; give the head.

        Raises:
            StoreError: Something is missing or was changed; the message names the record or the entry.
        """
        witness = witnessed(self.path)  # before we look: a store that is written to meanwhile is only newer
        with self._reading() as transaction, transaction.cursor() as cursor:
            kept = _summary(transaction, self.path)
            _refuse_older(self.path, kept, witness)
            head, link, entries, total, last = 0, GENESIS, 0, 0, b""
            for raw_key, value in cursor.iternext():
                key, stored = bytes(raw_key), bytes(value)
                if last and key <= last:
                    raise _disordered(self.path, key)
                last = key
                if key.startswith(LOG):
                    head, link = head + 1, chain(link, stored[CHAIN_BYTES:])
                    if log_sequence(key) != head or stored[:CHAIN_BYTES] != link:
                        raise _broken(self.path, head)
                elif key != SUMMARY_KEY and kept is not None:
                    self._unsealed(key, stored)
                    entries, total = entries + 1, total + seal_number(stored)
        if kept is not None and (head, link) != (kept.head, kept.link):
            msg = f"{self.path}: the log ends at record {head}, and was written up to {kept.head}"
            raise StoreError(msg)
        if kept is not None and (entries, total & TOTAL_MASK) != (kept.entries, kept.total):
            msg = f"{self.path}: the tables hold {entries} entries, and are not the {kept.entries} that were put there"
            raise StoreError(msg)
        return head

    def pages(self) -> Pages:
        """Say how the store fills its file, as of its newest commit. Nothing is walked; it costs the same at any size.

        The pages of the list of free pages count as free, a handful at most.

        Raises:
            StoreError: It cannot be read.
        """
        try:
            tree = self._environment.stat()
        except lmdb.Error as error:
            raise self._unreadable(error) from error
        used = tree["branch_pages"] + tree["leaf_pages"] + tree["overflow_pages"]
        return Pages(self._environment.info()["last_pgno"] + 1, META_PAGES + used)

    def copy_to(self, folder: Path) -> None:
        """Copy the store as it is at this moment into a new folder, while its writer goes on. Free pages stay behind.

        Raises:
            StoreError: It cannot be read whole, or not be written there; what is there then is of no use.
        """
        _copy(self._environment, self.path, folder)

    @contextmanager
    def _reading(self) -> Generator[lmdb.Transaction]:
        """Read at one moment in time.

        Raises:
            StoreError: What is on the disk is no tree of LMDB any more.
        """
        try:
            with self._environment.begin() as transaction:
                yield transaction
        except lmdb.Error as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: lmdb.Error) -> StoreError:
        return StoreError(f"{self.path}: cannot be read: {error}")

    def _unsealed(self, key: bytes, stored: bytes) -> bytes:
        if not self._is_sealed:
            return stored
        data = unseal(key, stored)
        if data is None:
            msg = f"{self.path}: {entry_words(key)} is damaged"
            raise StoreError(msg)
        return data


class Store(Reader):
    """A store opened by its one writer."""

    def __init__(self, environment: lmdb.Environment, path: Path, schema: int = 1) -> None:
        """Wrap an opened environment; use ``open``."""
        # A writer that was killed between its root and the word of it in the lock file has committed; whoever reads
        # first does not see that, whoever locks first mends it. We must not go on from what was before.
        environment.begin(write=True).abort()
        super().__init__(environment, path)
        environment.reader_check()
        with self._reading() as transaction:
            kept = _summary(transaction, path)
        _refuse_older(path, kept, witnessed(path))
        if kept is None and not self._is_sealed:
            msg = f"{path}: it is of format 1, and this desk writes format {FORMAT}; a start of the desk converts it"
            raise StoreVersionError(msg)
        self._now = kept or Summary(schema=schema)
        self._witness = Witness.open(path)
        self._reserve: Reserve | None = None
        self._view: lmdb.Transaction | None = None
        """What ``get`` looks into; it ends before a write, or it would keep pages from being used again."""
        if kept is None:
            self.commit(())

    @classmethod
    def open(  # noqa: PLR0913 - all of them by name, and each may be left out
        cls,
        path: Path,
        *,
        is_synced: bool = True,
        map_bytes: int = MAP_BYTES_DEFAULT,
        schema: int | None = None,
        reserve_bytes: int = 0,
        on_low: Callable[[str], object] = lambda _why: None,
        owner: str = "",
    ) -> Self:
        """Open or create a store for writing.

        Args:
            path: Folder of the store.
            is_synced: Every commit reaches the disk before it returns. Without, a commit survives the death of
                the process but perhaps not of the machine.
            map_bytes: Most the store may hold; one that is half full already may become twice as large as it is.
            reserve_bytes: Room on the disk that is put by beforehand, beyond ``map_bytes`` too; 0 for none.
            on_low: Told why the reserve begins to be used up. Commits go on as long as it lasts.
            schema: The owner's version. A new store is of this one; None takes an old one as it is.
            owner: Whose store it is, by a name that no other store of the folder has. One that does not say whose it
                is, as a new one, says so from now on. "" does not ask.

        Raises:
            StoreError: It cannot be created or opened, or is of another version, or another's.
        """
        map_bytes = _roomy(path, map_bytes) + reserve_bytes
        environment = _environment(path, writes=True, is_synced=is_synced, map_bytes=map_bytes)
        try:
            store = cls(environment, path, schema or 1)
            if schema is not None:
                store.require(schema)
            store.put_by(Reserve(path, reserve_bytes, map_bytes, on_low))
            if owner:
                store.belong_to(owner)
        except BaseException:
            environment.close()
            raise
        return store

    def put_by(self, reserve: Reserve) -> None:
        """Keep this much room ahead from now on."""
        self._reserve = reserve
        reserve.keep(self._used())

    def belong_to(self, owner: str) -> None:
        """Go on only with this owner's store. One that nobody has noted yet is noted, where the disk has room for it.

        Raises:
            StoreError: It is another's.
        """
        if not refuse_foreign(self, owner):
            with suppress(StoreError):
                self.commit([Put(*_OWNER, owner.encode())])

    def _used(self) -> int:
        return (self._environment.info()["last_pgno"] + 1) * PAGE_BYTES

    def require(self, schema: int) -> None:
        """Go on only with a store of this version.

        Raises:
            StoreError: It is of another one.
        """
        if self._now.schema > schema:
            now = self._now.schema
            msg = f"{self.path}: a newer version of the desk wrote it, in schema {now}; this one knows {schema}"
            raise StoreVersionError(msg)
        if self._now.schema < schema:
            msg = f"{self.path}: it is of schema {self._now.schema}, and this desk writes {schema}; a start converts it"
            raise StoreVersionError(msg)

    def convert(self, schema: Schema) -> None:
        """Bring the store to a schema, each step in one transaction; one that has it stays as it is.

        Raises:
            StoreError: It is of a newer schema, or damaged. It is what it was before the step that failed.
        """
        while self._now.schema < schema.version:
            number = self._now.schema + 1
            self._commit(tuple(schema.steps[number](self)), self._now._replace(schema=number))
        self.require(schema.version)

    @override
    def close(self) -> None:
        """Close the environment; the store must not be used afterwards."""
        self._look_away()
        self._witness.close()
        if self._reserve is not None:
            self._reserve.close()
        super().close()

    @override
    def head(self) -> int:
        """Give the sequence of the newest log record; 0 where there is none."""
        return self._now.head

    @override
    def get(self, table: str, key: bytes) -> bytes | None:
        """Give one table entry, or None.

        Raises:
            StoreError: It is not what was stored.
        """
        whole = table_key(table, key)
        try:
            stored = self._looking().get(whole)
        except lmdb.Error as error:
            raise self._unreadable(error) from error
        return None if stored is None else self._unsealed(whole, bytes(stored))

    def among(self, table: str, keys: Iterable[bytes]) -> list[bytes]:
        """Give those of the keys that a table has an entry of, in their order. What stands there is not looked at.

        Raises:
            StoreError: It cannot be read.
        """
        prefix = table_key(table, b"")
        try:
            find = self._looking().get
            return [key for key in keys if find(prefix + key) is not None]
        except lmdb.Error as error:
            raise self._unreadable(error) from error

    def _looking(self) -> lmdb.Transaction:
        """Give what looks into the store as it is: nobody else writes here, so one serves until the next commit."""
        view = self._view
        if view is None:
            view = self._view = self._environment.begin()
        return view

    def _look_away(self) -> None:
        """Let go of what ``get`` looked into."""
        view, self._view = self._view, None
        if view is not None:
            view.abort()

    def head_link(self) -> bytes:
        """Give the link of the newest log record (16 bytes)."""
        return self._now.link

    def commit(self, writes: Sequence[Write], *, is_durable: bool = False) -> None:
        """Write everything or nothing.

        Args:
            writes: Appends must continue the log without a gap.
            is_durable: Reach the disk even where the store was opened without ``is_synced``.

        Raises:
            StoreError: Nothing was written: the disk or the map is full, or a record was not the next one.
        """
        self._commit(writes, self._now, is_durable=is_durable)

    def _commit(self, writes: Sequence[Write], now: Summary, *, is_durable: bool = False) -> None:
        self._look_away()
        try:
            with self._environment.begin(write=True) as transaction:
                after = _written(transaction, writes, now, self.path)
            if is_durable:
                self._environment.sync(True)
        except lmdb.Error as error:
            if self._reserve is not None and ("No space" in str(error) or isinstance(error, lmdb.MapFullError)):
                self._reserve.failed(f"nothing was written: {error}")
            msg = f"{self.path}: nothing was written: {error}"
            raise StoreError(msg) from error
        self._now = after
        self._witness.write(after.commits)
        if self._reserve is not None:
            self._reserve.keep(self._used())


class Pinned:
    """One store as it was at a moment, whatever its writer has done since."""

    def __init__(self, environment: lmdb.Environment, transaction: lmdb.Transaction, path: Path) -> None:
        """Wrap a reading transaction; use ``at_one_moment``."""
        self._environment, self._transaction = environment, transaction
        self.path = path

    def copy_to(self, folder: Path) -> None:
        """Copy the store, as it was then, into a new folder. Free pages stay behind.

        Raises:
            StoreError: It cannot be read whole, or not be written there; what is there then is of no use.
        """
        _copy(self._environment, self.path, folder, self._transaction)


@contextmanager
def at_one_moment(paths: Sequence[Path]) -> Generator[list[Pinned]]:
    """Pin stores as they all are at one moment: no writer commits anywhere while the last of them is taken.

    Every writer is kept back for as long as it takes to look at all stores, some tens of microseconds each. What is
    pinned could have been left by an end of all processes at once. The caller sees to it that it dies itself where it
    waits too long for a writer that hangs: the kernel then gives free what it holds.

    Raises:
        StoreError: One of them cannot be opened.
    """
    with ExitStack() as opened:
        environments: list[lmdb.Environment] = []
        for path in sorted(paths):
            if not (path / "data.mdb").exists():
                msg = f"{path}: there is no store here"
                raise StoreError(msg)
            environments.append(_environment(path, writes=True, map_bytes=MAP_BYTES_MAX))
            opened.callback(environments[-1].close)
        with ExitStack() as held:
            for environment in environments:
                held.callback(environment.begin(write=True).abort)
            pins = [opened.enter_context(environment.begin()) for environment in environments]
        yield [Pinned(e, pin, path) for e, pin, path in zip(environments, pins, sorted(paths), strict=True)]


def _copy(environment: lmdb.Environment, path: Path, folder: Path, transaction: lmdb.Transaction | None = None) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True)
        environment.copy(str(folder), compact=True, txn=transaction)
        (folder / "data.mdb").chmod(0o600)
    except (lmdb.Error, OSError) as error:
        msg = f"{path}: it could not be copied to {folder}: {error}"
        raise StoreError(msg) from error


def _written(transaction: lmdb.Transaction, writes: Sequence[Write], now: Summary, path: Path) -> Summary:
    """Write into a transaction; give the summary that goes with it."""
    head, link, entries, total = now.head, now.link, now.entries, now.total
    records: list[tuple[bytes, bytes]] = []
    record = records.append
    for write in writes:
        if isinstance(write, Append):
            sequence, data = write.sequence, write.data
            if sequence != head + 1:
                msg = f"{path}: record {sequence} cannot follow {head}"
                raise StoreError(msg)
            head, link = sequence, chain(link, data)
            record((log_key(sequence), link + data))
            continue
        key = table_key(write.table, write.key)
        if isinstance(write, Put):
            stored = seal(key, write.data)
            before = transaction.replace(key, stored)
            entries, total = entries + 1, total + seal_number(stored)
        else:
            before = transaction.pop(key)
        if before is not None:
            entries, total = entries - 1, total - seal_number(bytes(before))
    if len(records) == 1:
        transaction.put(*records[0])
    elif records:
        with transaction.cursor() as cursor:
            cursor.putmulti(records)
    now = Summary(now.format, now.schema, head, link, entries, total & TOTAL_MASK, now.commits + 1)
    transaction.put(SUMMARY_KEY, now.write())
    return now


def _head(cursor: lmdb.Cursor) -> int:
    """Find the last log key below the end of the log's range."""
    found = cursor.prev() if cursor.set_range(LOG_END) else cursor.last()
    key = bytes(cursor.key())
    return log_sequence(key) if found and key.startswith(LOG) else 0


def _summary(transaction: lmdb.Transaction, path: Path) -> Summary | None:
    stored = transaction.get(SUMMARY_KEY)
    if stored is None:
        return None
    summary = Summary.read(bytes(stored))
    if summary is None:
        msg = f"{path}: its summary is damaged"
        raise StoreError(msg)
    return summary


def _format_of(transaction: lmdb.Transaction, path: Path) -> int:
    """Say which layout a store has.

    Raises:
        StoreError: It is one that this version of the desk does not know.
    """
    summary = _summary(transaction, path)
    if summary is None:
        with transaction.cursor() as cursor:
            return 1 if cursor.first() else FORMAT
    if summary.format > FORMAT:
        msg = f"{path}: a newer version of the desk wrote it, in format {summary.format}; this one knows {FORMAT}"
        raise StoreVersionError(msg)
    return summary.format


def _refuse_older(path: Path, kept: Summary | None, witness: int) -> None:
    """Refuse a store that lacks commits which it has had.

    Raises:
        StoreError: It does.
    """
    commits = 0 if kept is None else kept.commits
    if commits < witness:
        msg = (
            f"{path}: it is as it was {witness - commits} commits ago: its newest root is damaged, or it is an old copy"
        )
        raise StoreError(msg)


def refuse_foreign(store: Reader, owner: str) -> str:
    """Refuse a store that is another's than this owner's; give what it says, "" where nobody has noted that yet.

    Raises:
        ForeignStoreError: It is.
    """
    kept = store.owner()
    if kept not in {"", owner}:
        msg = (
            f"{store.path}: it is the store of {kept}, and lies where that of {owner} was: what the one holds and has"
            " ordered would be taken for the other's. Put its own file back, or restore a backup"
        )
        raise ForeignStoreError(msg)
    return kept


def _broken(path: Path, sequence: int) -> StoreError:
    return StoreError(f"{path}: the log is broken at record {sequence}")


def _disordered(path: Path, key: bytes) -> StoreError:
    return StoreError(f"{path}: {entry_words(key)} stands where it cannot be")


def seal_store(path: Path) -> bool:
    """Bring a store of format 1 to the present one, in one transaction; say whether it was of format 1.

    The caller keeps a copy of it first.

    Raises:
        StoreError: It is damaged, or a newer version wrote it. It is what it was then.
    """
    environment = _environment(path, writes=True)
    try:
        reader = Reader(environment, path)
        if reader.summary().format >= FORMAT:
            return False
        head = reader.verify()
        with environment.begin(write=True) as transaction, transaction.cursor() as cursor:
            total = 0
            entries = [(bytes(key), bytes(data)) for key, data in cursor if not key.startswith(LOG)]
            for key, data in entries:
                if unseal(key, data) is not None:
                    msg = f"{path}: it lost its summary, and is no store of format 1"
                    raise StoreError(msg)
                stored = seal(key, data)
                transaction.put(key, stored)
                total += seal_number(stored)
            now = Summary(
                commits=1, head=head, link=reader.link(head) or GENESIS, entries=len(entries), total=total & TOTAL_MASK
            )
            transaction.put(SUMMARY_KEY, now.write())
        environment.sync(True)
    except lmdb.Error as error:
        msg = f"{path}: it could not be converted and is as it was: {error}"
        raise StoreError(msg) from error
    finally:
        environment.close()
    return True


def _roomy(path: Path, map_bytes: int) -> int:
    """Give a store that has become large more room than it began with."""
    try:
        return max(map_bytes, 2 * os.stat(f"{path}/data.mdb").st_size)  # noqa: PTH116 - at every birth
    except OSError:  # there is none yet; why it cannot be made, says whoever tries
        return map_bytes


def _environment(
    path: Path, *, writes: bool, is_synced: bool = True, map_bytes: int = MAP_BYTES_DEFAULT
) -> lmdb.Environment:
    if not writes and not (path / "data.mdb").exists():
        msg = f"{path}: there is no store here"
        raise StoreError(msg)
    try:
        if writes and not os.path.isdir(path):  # noqa: PTH112 - every birth asks, and nearly always it is there
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
