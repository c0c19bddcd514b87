"""How a process opens what lies in the state folder. A simulation hands makers another one with the same methods."""

from collections.abc import Callable
from pathlib import Path

from runtime.folder import Sentinel
from runtime.store import MAP_BYTES_DEFAULT, Reader, Store


class Disk:
    """The machine's own disk: stores are LMDB, the sentinel is a file."""

    def store(  # noqa: PLR0913 - whatever a store may be opened with, by name
        self,
        path: Path,
        *,
        is_synced: bool = True,
        map_bytes: int = MAP_BYTES_DEFAULT,
        schema: int | None = None,
        reserve_bytes: int = 0,
        on_low: Callable[[str], object] = lambda _why: None,
        owner: str = "",
    ) -> Store:
        """Open or create a store as its one writer; see ``Store.open``.

        Raises:
            StoreError: It cannot be created or opened, or is of another version, or another's.
        """
        return Store.open(
            path,
            is_synced=is_synced,
            map_bytes=map_bytes,
            schema=schema,
            reserve_bytes=reserve_bytes,
            on_low=on_low,
            owner=owner,
        )

    def reader(self, path: Path) -> Reader:
        """Open a store of another process for reading.

        Raises:
            StoreError: There is none, or it cannot be read.
        """
        return Reader.open(path)

    def sentinel(self, state: Path) -> Sentinel:
        """Give the sentinel that halts the desk of a state folder; nothing is written."""
        return Sentinel(state)


#: The one that every real process uses.
MACHINE = Disk()
