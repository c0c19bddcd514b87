"""A store's witness: a small file beside it that says how far it was written, should the store not know any more.

LMDB keeps two roots and takes the newer one that it finds. Where that one is damaged, the store is what it was one
commit ago, and whole. The witness is written behind each commit, so no store is ever older than its own.
"""

import functools
import os
from pathlib import Path
from typing import Self

from runtime.store_format import seal, unseal

NAME = "witness"
_BOOT = "/proc/sys/kernel/random/boot_id"
_KEY = b"\x00witness"
_COUNT_BYTES = 8
#: Far more than either of the two files has.
_BYTES_MAX = 4096


@functools.cache
def boot() -> bytes:
    """Name this boot of the machine; b"" where that cannot be told.

    It is asked for once, and forks know it: whoever is to be confined asks before, for then the file is out of reach.
    """
    try:
        return _read(_BOOT).strip()
    except OSError:
        return b""


def _read(file: str) -> bytes:
    """Read a small file; without any object around it, for every birth does so."""
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, _BYTES_MAX)
    finally:
        os.close(descriptor)


class Witness:
    """Counts the commits of one store, outside of it."""

    def __init__(self, descriptor: int, now: bytes) -> None:
        """Take the open file, and the name of this boot; use ``open``."""
        self._descriptor, self._boot = descriptor, now

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open the witness of a store that is about to be written; where this boot has no name, there is none.

        A witness of an earlier boot says nothing: after a power cut a store may be older, for not all are synced.
        """
        now = boot()
        if not now:
            return cls(-1, now)
        return cls(os.open(f"{folder}/{NAME}", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600), now)

    def write(self, commits: int) -> None:
        """Say that so many commits were made. A disk that is full changes nothing: the file is there already."""
        if self._descriptor >= 0:
            os.pwrite(self._descriptor, seal(_KEY, commits.to_bytes(_COUNT_BYTES, "big") + self._boot), 0)

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def witnessed(folder: Path) -> int:
    """Give how many commits a store has had at least; 0 where nobody can tell."""
    now = boot()
    try:
        data = unseal(_KEY, _read(f"{folder}/{NAME}"))
    except OSError:
        return 0
    if data is None or not now or data[_COUNT_BYTES:] != now:
        return 0
    return int.from_bytes(data[:_COUNT_BYTES], "big")
