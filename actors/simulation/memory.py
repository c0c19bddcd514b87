"""What lies on the disk of the simulated machine: stores that survive a fall, and what a power cut leaves of them."""

import bisect
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
from typing_extensions import override

from runtime.disk import Disk
from runtime.effects import Append, Put, Write
from runtime.errors import StoreError
from runtime.folder import Sentinel
from runtime.store import MAP_BYTES_DEFAULT, Reader, Store
from runtime.store_format import GENESIS, chain

Undo = tuple[int, list[tuple[str, bytes, bytes | None]]]
"""What takes one commit back: the log's head before it, and what each entry of a table was."""


class MemoryStore(Store):
    """A store with the promises of the real one, without its disk: all or nothing, read at once, kept across falls.

    A commit of a store that is not synced, and not durable itself, may be taken back by ``lose_power``, of a machine
    that may lose its power.
    """

    def __init__(self, path: Path, *, is_synced: bool, may_lose_power: bool = True) -> None:  # pyright: ignore[reportMissingSuperCall] - no disk
        """Begin empty."""
        self.path = path
        self._is_synced, self._may_lose_power = is_synced, may_lose_power
        self._log: list[bytes] = []
        self._tables: defaultdict[str, dict[bytes, bytes]] = defaultdict(dict)
        #: The sorted keys of tables, until their keys change.
        self._keys: dict[str, list[bytes]] = {}
        self._undo: list[Undo] = []
        self._links: list[bytes] = [GENESIS]
        #: While this is more than 0, commits fail as on a full disk.
        self.full_for = 0
        self.commits = 0
        #: What cannot be read: records by their sequence, entries by table and key.
        self.damaged: set[int | tuple[str, bytes]] = set()

    # --- reading ------------------------------------------------------------------------------

    @override
    def close(self) -> None:
        """Nothing has to be let go."""

    @override
    def head(self) -> int:
        return len(self._log)

    @override
    def head_link(self) -> bytes:
        return self._link(len(self._log))

    @override
    def link(self, sequence: int) -> bytes | None:
        return self._link(sequence) if sequence <= len(self._log) else None

    def _link(self, sequence: int) -> bytes:
        links = self._links
        while len(links) <= sequence:
            links.append(chain(links[-1], self._log[len(links) - 1]))
        return links[sequence]

    @override
    def record(self, sequence: int) -> bytes | None:
        if sequence in self.damaged:
            raise self._unreadable_record(sequence)
        return self._log[sequence - 1] if 0 < sequence <= len(self._log) else None

    @override
    def records(self, after: int = 0, most: int | None = None) -> Iterator[tuple[int, bytes]]:
        end = len(self._log) if most is None else min(len(self._log), after + most)
        for sequence in sorted(place for place in self.damaged if isinstance(place, int)):
            if after < sequence <= end:
                raise self._unreadable_record(sequence)
        return enumerate(self._log[after:end], after + 1)

    def _unreadable_record(self, sequence: int) -> StoreError:
        return StoreError(f"{self.path}: the log is broken at record {sequence}")

    @override
    def get(self, table: str, key: bytes) -> bytes | None:
        if self.damaged and (table, key) in self.damaged:
            msg = f"{self.path}: entry {key!r} of {table} is damaged"
            raise StoreError(msg)
        entries = self._tables.get(table)
        return None if entries is None else entries.get(key)

    @override
    def scan(self, table: str, prefix: bytes = b"", start: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        entries = self._tables.get(table)
        if not entries:
            return
        keys = self._keys.get(table)
        if keys is None:
            keys = self._keys[table] = sorted(entries)
        for key in keys[bisect.bisect_left(keys, prefix if start is None else start) :]:
            if not key.startswith(prefix):
                return
            if self.damaged and (table, key) in self.damaged:
                msg = f"{self.path}: entry {key!r} of {table} is damaged"
                raise StoreError(msg)
            yield key, entries[key]

    def fingerprint(self) -> bytes:
        """Give bytes that no other log has, nor one that came about by another number of commits."""
        return msgspec.msgpack.encode((self.commits, self._log))

    @override
    def verify(self) -> int:
        return len(self._log)

    # --- writing ------------------------------------------------------------------------------

    @override
    def commit(self, writes: Sequence[Write], *, is_durable: bool = False) -> None:
        if self.full_for > 0:
            self.full_for -= 1
            msg = f"{self.path}: nothing was written: no space left on the device"
            raise StoreError(msg)
        head, is_final = len(self._log), self._is_synced or is_durable or not self._may_lose_power
        before: list[tuple[str, bytes, bytes | None]] = []
        tables, keys = self._tables, self._keys
        for write in writes:
            if type(write) is Put:
                table, key = write.table, write.key
                entries = tables[table]
                if table in keys and key not in entries:
                    del keys[table]
                if not is_final:
                    before.append((table, key, entries.get(key)))
                entries[key] = write.data
            elif isinstance(write, Append):
                self._append(write, head)
            else:
                was = tables[write.table].pop(write.key, None)
                keys.pop(write.table, None)
                if not is_final:
                    before.append((write.table, write.key, was))
        self.commits += 1
        if is_final:
            self._undo.clear()
        else:
            self._undo.append((head, before))

    def _append(self, write: Append, head: int) -> None:
        log = self._log
        if write.sequence != len(log) + 1:
            del log[head:]
            msg = f"{self.path}: record {write.sequence} cannot follow {head}"
            raise StoreError(msg)
        log.append(write.data)

    def damage(self, chance: random.Random) -> str:
        """Make one record or entry unreadable, as a bad block would; say which. "" where there is nothing yet."""
        places: list[int | tuple[str, bytes]] = [*range(1, len(self._log) + 1)]
        places += [(table, key) for table in sorted(self._tables) for key in sorted(self._tables[table])]
        if not places:
            return ""
        place = places[int(chance.random() * len(places))]
        self.damaged.add(place)
        return f"record {place}" if isinstance(place, int) else f"entry {place[1]!r} of {place[0]}"

    def lose_power(self, chance: random.Random) -> int:
        """Take back some of the last commits that never reached the disk, the newest first; give how many."""
        assert self._may_lose_power, "what is to be taken back was noted down"
        lost = chance.randrange(len(self._undo) + 1)
        for _ in range(lost):
            head, entries = self._undo.pop()
            del self._log[head:]
            del self._links[head + 1 :]
            for table, key, was in reversed(entries):
                if was is None:
                    self._tables[table].pop(key, None)
                else:
                    self._tables[table][key] = was
        self._undo.clear()
        self._keys.clear()
        return lost


class MemorySentinel(Sentinel):
    """The halt sentinel of the simulated machine."""

    def __init__(self) -> None:  # pyright: ignore[reportMissingSuperCall] - no file
        """Begin without a halt."""
        self._reason: str | None = None

    @override
    def reason(self) -> str | None:
        return self._reason

    @override
    def write(self, reason: str) -> None:
        self._reason = self._reason or reason

    @override
    def prepare(self) -> None:
        """There is always room for this one."""

    @override
    def remove(self) -> None:
        self._reason = None


class MemoryDisk(Disk):
    """The simulated machine's disk: one store a path, and one sentinel."""

    def __init__(self, *, may_lose_power: bool = True) -> None:
        """Begin with an empty disk. Of a machine that never loses its power no commit is ever taken back."""
        self._may_lose_power = may_lose_power
        self.stores: dict[Path, MemoryStore] = {}
        self.halt = MemorySentinel()

    @override
    def store(
        self,
        path: Path,
        *,
        is_synced: bool = True,
        map_bytes: int = MAP_BYTES_DEFAULT,
        schema: int | None = None,
        reserve_bytes: int = 0,
        on_low: Callable[[str], object] = lambda _why: None,
        owner: str = "",
    ) -> MemoryStore:
        found = self.stores.get(path)
        if found is None:
            found = self.stores[path] = MemoryStore(path, is_synced=is_synced, may_lose_power=self._may_lose_power)
        return found

    @override
    def reader(self, path: Path) -> Reader:
        found = self.stores.get(path)
        if found is None:
            msg = f"{path}: there is no store here"
            raise StoreError(msg)
        return found

    @override
    def sentinel(self, state: Path) -> Sentinel:
        return self.halt
