"""Space that a store has put by: its file is longer than what is used, so a full disk does not end its writing."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

#: What a file system says that has no room: full, over the quota, or at the longest file that is allowed.
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class Reserve:
    """Keeps a store's file ahead of its used pages, and says so when that is not possible any more.

    Between half of the reserve and all of it lies ahead while there is room on the disk. When it can be made up no
    more, about half is left: whoever is told then still has so many commits before the first one fails.
    """

    def __init__(self, folder: Path, size: int, map_bytes: int, on_low: Callable[[str], object]) -> None:
        """Put nothing by yet.

        Args:
            folder: The store's; its file is there.
            size: Bytes to put by; 0 puts nothing by, ever.
            map_bytes: Most that the store's pages may come to.
            on_low: Called with the reason, each time that the reserve begins to be used up.
        """
        self._folder, self._size, self._map_bytes, self._on_low = folder, size, map_bytes, on_low
        self._descriptor = os.open(f"{folder}/data.mdb", os.O_RDWR | os.O_CLOEXEC) if size else -1
        self._is_low = False

    def keep(self, used: int) -> None:
        """Make up what was used.

        Args:
            used: Bytes of the file that the store uses.
        """
        if not self._size:
            return
        if used > self._map_bytes - self._size:
            self._tell(f"it holds {used >> 20} MiB and may not become larger before its process is started again")
            return
        length = os.fstat(self._descriptor).st_size
        if length - used >= self._size // 2:
            return
        try:
            os.posix_fallocate(self._descriptor, length, used + self._size - length)
        except OSError as error:
            if error.errno in _FULL:
                self._tell(f"the disk is full ({error.strerror}); {max(0, length - used) >> 10} KiB are put by")
            return  # where files cannot be lengthened so, there is no reserve, and the first failed commit tells
        self._is_low = False

    def failed(self, why: str) -> None:
        """Hear that a commit failed for want of room."""
        if self._size:
            self._tell(why)

    def _tell(self, why: str) -> None:
        if not self._is_low:
            self._is_low = True
            self._on_low(f"{self._folder}: {why}")

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
