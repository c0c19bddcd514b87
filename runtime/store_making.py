"""Making many stores at once: one of a kind is formatted, the others are copied from it, and reach the disk together.

A copy comes under another name, is on the disk before it gets its own, and has its witness behind that. So a sudden
end leaves a whole store, or none and nothing that would miss it.
"""

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from runtime.errors import StoreError
from runtime.store import Store
from runtime.store_witness import Witness

#: How many are under way at once; each is an open file.
_BATCH = 64
#: How many wait for the disk at once: it serves them together.
_WAITING_MAX = 8
_FRESH = "data.mdb.new"


def make_stores(wanted: Iterable[tuple[Path, int]]) -> None:
    """Make each store (its folder, its schema) that is not there. What is there is left as it is.

    All of them are on the disk when this returns.

    Raises:
        StoreError: One of them cannot be made.
    """
    copies: dict[int, list[Path]] = {}
    for folder, schema in wanted:
        if os.path.exists(f"{folder}/data.mdb"):  # noqa: PTH110 - for a thousand
            continue
        if _is_new(folder):
            copies.setdefault(schema, []).append(folder)
        else:
            _format(folder, schema)
    for schema, (first, *others) in copies.items():
        _format(first, schema)
        if others:
            _copy((first / "data.mdb").read_bytes(), others)


def _is_new(folder: Path) -> bool:
    """Make a store's folder; say whether it was not there. What an older one may hold, only its opening can judge."""
    try:
        os.makedirs(folder, mode=0o700)  # noqa: PTH103 - for a thousand
    except FileExistsError:
        return False
    except OSError as error:
        raise _unmade(folder, error) from error
    return True


def _format(folder: Path, schema: int) -> None:
    Store.open(folder, schema=schema).close()
    with suppress(FileNotFoundError):
        (folder / _FRESH).unlink()  # a copy that was not finished


def _copy(data: bytes, folders: list[Path]) -> None:
    with ThreadPoolExecutor(_WAITING_MAX) as waiting:
        for start in range(0, len(folders), _BATCH):
            batch = folders[start : start + _BATCH]
            try:
                files = [_written(f"{folder}/{_FRESH}", data) for folder in batch]
                list(waiting.map(_kept, files))
                for folder in batch:
                    os.rename(f"{folder}/{_FRESH}", f"{folder}/data.mdb")  # noqa: PTH104 - for a thousand
                    _witness(folder)
                list(waiting.map(_kept, [_opened(folder) for folder in batch]))
            except OSError as error:
                raise _unmade(batch[0].parent, error) from error
        for parent in {folder.parent for folder in folders}:
            _kept(_opened(parent))


def _written(file: str, data: bytes) -> int:
    """Give a new file that holds this, and is not on the disk yet."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    if os.write(descriptor, data) != len(data):
        os.close(descriptor)
        msg = f"{file}: the disk took only a part"
        raise OSError(msg)
    return descriptor


def _opened(folder: Path) -> int:
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _kept(descriptor: int) -> None:
    """Have it on the disk, and close it."""
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _witness(folder: Path) -> None:
    """Say of a store that it was written to once, when it was formatted."""
    witness = Witness.open(folder)
    witness.write(1)
    witness.close()


def _unmade(folder: Path, error: OSError) -> StoreError:
    return StoreError(f"{folder}: a store cannot be made: {error}")
