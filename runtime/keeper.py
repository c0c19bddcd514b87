"""What root remembers across its own death: epochs, quarantine, and what operators wanted of the tree."""

from collections.abc import Mapping

import msgspec

from runtime.effects import Delete, Put, Write
from runtime.store import Store

#: Epochs put by at once. Whoever comes back after a power cut goes on behind the last one put by, never at one in use.
EPOCHS_AHEAD = 16


class _Override(msgspec.Struct, frozen=True):
    """An operator's wish, and what the configuration said when it was made."""

    is_enabled: bool
    configured: bool


class Keeper:
    """Root's own store. Root is its only writer; everything is on the disk before anyone acts upon it."""

    def __init__(self, store: Store, configured: Mapping[str, bool]) -> None:
        """Compare what operators wanted with what the configuration says now: an edit there ends the wish."""
        self._store = store
        self._tops = {key.decode(): int.from_bytes(data, "big") for key, data in store.scan("epoch")}
        self._epochs: dict[str, int] = {}
        self._configured: dict[str, bool] = {}
        self._overrides: dict[str, _Override] = {}
        self.configure(configured)

    def desired(self) -> dict[str, bool]:
        """Say which paths shall run: the configuration, and above it the operators' wishes."""
        return self._configured | {path: kept.is_enabled for path, kept in self._overrides.items()}

    def overrides(self) -> dict[str, bool]:
        """Give the wishes that go before the configuration."""
        return {path: kept.is_enabled for path, kept in self._overrides.items()}

    def configure(self, configured: Mapping[str, bool], wishes: Mapping[str, bool] | None = None) -> None:
        """Take what the configuration says now of each path; an edit of a path ends its wish, for good.

        The wish of a path that it does not name waits, and holds again where the path comes back as it was. With it
        come ``wishes`` of operators that are younger; those of paths that it does not name mean nothing.

        Raises:
            StoreError: It cannot be kept, and all is as it was.
        """
        younger = {path: wish for path, wish in (wishes or {}).items() if path in configured}
        overrides = {
            path: _Override(wish, configured[path]) for path, wish in younger.items() if wish != configured[path]
        }
        before = {
            key.decode(): msgspec.msgpack.decode(data, type=_Override) for key, data in self._store.scan("override")
        }
        overrides |= {
            path: kept
            for path, kept in before.items()
            if path not in younger and configured.get(path) == kept.configured
        }
        ended = [path for path in before if path in configured and path not in overrides]  # also if it is edited back
        writes: list[Write] = [_delete("override", path) for path in ended]
        writes += [_override(path, kept) for path, kept in overrides.items() if before.get(path) != kept]
        if writes:
            self._store.commit(writes, is_durable=True)
        self._configured, self._overrides = dict(configured), overrides

    def keep_desired(self, path: str, *, is_enabled: bool) -> None:
        """Keep an operator's wish. One that agrees with the configuration needs no memory, and ends the one before.

        One that is kept already costs no write: each has root wait for the disk.

        Raises:
            StoreError: It cannot be kept, and all is as it was.
        """
        configured = self._configured.get(path, True)
        if configured == is_enabled:
            if self._store.get("override", path.encode()) is not None:
                self._store.commit([_delete("override", path)], is_durable=True)
            self._overrides.pop(path, None)
            return
        kept = _Override(is_enabled, configured)
        if self._overrides.get(path) != kept:
            self._store.commit([_override(path, kept)], is_durable=True)
            self._overrides[path] = kept

    def epochs(self) -> dict[str, int]:
        """Give an epoch of every path that ever ran: the last one or, for a root that came back, a later one.

        Epochs only have to rise. They are put by in blocks, so a successor of root goes on behind the whole block.
        """
        return self._epochs | {path: top for path, top in self._tops.items() if path not in self._epochs}

    def keep_epochs(self, epochs: Mapping[str, int]) -> None:
        """Keep epochs before their processes are started; most of them are on the disk already, in a block."""
        self._epochs.update(epochs)
        tops = {path: epoch + EPOCHS_AHEAD - 1 for path, epoch in epochs.items() if epoch > self._tops.get(path, 0)}
        if tops:
            self._store.commit(
                [_put("epoch", path, top.to_bytes(8, "big")) for path, top in tops.items()], is_durable=True
            )
            self._tops.update(tops)

    def next_epoch(self, path: str) -> int:
        """Give the epoch behind the last one of ``path``, and keep it."""
        epoch = self.epochs().get(path, 0) + 1
        self.keep_epochs({path: epoch})
        return epoch

    def quarantined(self) -> list[str]:
        """Name the paths in quarantine."""
        return [key.decode() for key, _ in self._store.scan("quarantine")]

    def quarantine_reason(self, path: str) -> str:
        """Say why a path was put into quarantine, also by a root before this one; "" where it is not in it."""
        data = self._store.get("quarantine", path.encode())
        return data.decode(errors="replace") if data is not None else ""

    def keep_quarantine(self, path: str, reason: str) -> None:
        """Keep a quarantine and its reason."""
        self._put("quarantine", path, reason.encode())

    def drop_quarantine(self, *paths: str) -> None:
        """Forget quarantines, all or none. What is forgotten already costs no write."""
        kept = [path for path in paths if self._store.get("quarantine", path.encode()) is not None]
        if kept:
            self._store.commit([_delete("quarantine", path) for path in kept], is_durable=True)

    def close(self) -> None:
        """Close the store."""
        self._store.close()

    def _put(self, table: str, path: str, data: bytes) -> None:
        self._store.commit([_put(table, path, data)], is_durable=True)


def _put(table: str, path: str, data: bytes) -> Put:
    return Put(table, path.encode(), data)


def _override(path: str, kept: _Override) -> Put:
    return _put("override", path, msgspec.msgpack.encode(kept))


def _delete(table: str, path: str) -> Delete:
    return Delete(table, path.encode())
