"""Damages the stores of a state folder, one bit or one cut at a time, and says what a reader makes of each.

``python -m tests.actors.damaging STATE COUNT SEED``; with COUNT ``roots`` every bit of LMDB's two roots in turn. Each
damage is done to a copy, and read in a process of its own. The answer is JSON: how many damages were ``harmless`` (all is
read as before), ``named`` (an error of the store), ``killed`` or ``hung`` their reader, or were ``silent``; ``unguarded``
counts those of the named that LMDB alone would have read as something else; ``examples`` are silent ones.
"""

import hashlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from runtime.errors import StoreError
from runtime.folder import store_folders
from runtime.store import Reader

#: Where LMDB's roots end inside the first two pages.
ROOT_BYTES = 152
PAGE = 4096
PATIENCE_S = 20
SAME, NAMED, OTHER, UNFORESEEN = 0, 1, 3, 4


class Damage(NamedTuple):
    """One bit turned over at ``offset``, or with bit -1 the file cut off there."""

    store: Path
    offset: int
    bit: int

    def done_to(self, data: bytes) -> bytes:
        """Give what is left of a file."""
        if self.bit < 0:
            return data[: self.offset]
        hurt = bytearray(data)
        hurt[self.offset] ^= 1 << self.bit
        return bytes(hurt)


def content(folder: Path, *, is_guarded: bool) -> str:
    """Say in a digest what a reader of a store finds, checked or as LMDB gives it."""
    reader = Reader.open(folder)
    if is_guarded:
        reader.verify()
    found = hashlib.blake2b()
    with reader._environment.begin() as transaction, transaction.cursor() as cursor:
        for key, value in cursor.iternext():
            found.update(len(key).to_bytes(4, "big") + bytes(key) + len(value).to_bytes(4, "big") + bytes(value))
    reader.close()
    return found.hexdigest()


def used(store: Path) -> int:
    """Say how many bytes of its file a store uses; what lies behind is put by."""
    reader = Reader.open(store)
    try:
        return (reader._environment.info()["last_pgno"] + 1) * PAGE
    finally:
        reader.close()


def in_child(work: Callable[[], int]) -> int:
    """Run in a process that may die; give its exit code, or minus the signal that ended it."""
    pid = os.fork()
    if pid == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        signal.alarm(PATIENCE_S)
        code = UNFORESEEN
        try:
            code = work()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def read(folder: Path, whole: str, *, is_guarded: bool) -> int:
    """Read a store whole, and say how that went."""
    try:
        return SAME if content(folder, is_guarded=is_guarded) == whole else OTHER
    except StoreError:
        return NAMED


def damages(stores: list[Path], count: str, seed: int) -> Iterator[Damage]:
    """Choose what to damage."""
    if count == "roots":
        for store in stores:
            for offset in (*range(ROOT_BYTES), *range(PAGE, PAGE + ROOT_BYTES)):
                yield from (Damage(store, offset, bit) for bit in range(8))
        return
    chance = random.Random(seed)
    for number in range(int(count)):
        store = stores[number % len(stores)]
        yield Damage(store, chance.randrange(used(store)), -1 if chance.random() < 0.15 else chance.randrange(8))


def main() -> None:
    """Damage, read, count."""
    state, count, seed = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    stores = store_folders(state)
    whole = {store: content(store, is_guarded=True) for store in stores}
    data = {store: (store / "data.mdb").read_bytes()[: used(store)] for store in stores}
    found: Counter[str] = Counter()
    examples: list[str] = []
    with tempfile.TemporaryDirectory() as work:
        for damage in damages(stores, count, seed):
            copy, original = Path(work) / "store", whole[damage.store]
            shutil.rmtree(copy, ignore_errors=True)
            copy.mkdir()
            shutil.copy(damage.store / "witness", copy)
            (copy / "data.mdb").write_bytes(damage.done_to(data[damage.store]))
            code = in_child(lambda copy=copy, original=original: read(copy, original, is_guarded=True))
            if code == OTHER:
                examples.append(f"{damage.store.name}: byte {damage.offset}, bit {damage.bit}")
            elif code == NAMED:
                alone = in_child(lambda copy=copy, original=original: read(copy, original, is_guarded=False))
                found["unguarded"] += alone == OTHER
            kind = {SAME: "harmless", NAMED: "named", OTHER: "silent", UNFORESEEN: "unforeseen"}.get(code, "killed")
            found["hung" if code == -signal.SIGALRM else kind] += 1
    sys.stdout.write(json.dumps({**found, "examples": examples[:10]}))


if __name__ == "__main__":
    main()
