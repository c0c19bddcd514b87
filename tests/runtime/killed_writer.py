"""A store whose writer is killed in the middle of its commits, again and again, while somebody else reads it.

Run ``python -m tests.runtime.killed_writer STORE KILLS SEED``. It ends with 0 where each writer went on from the last
commit that anybody could see, and says else what it found. Neither process that kills ever opens the store itself.
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

from runtime.effects import Append, Put
from runtime.store import Reader, Store

LIFE_S = (0.001, 0.02)


def write(path: Path, ready: int) -> None:
    """Append without end; say when the store is open."""
    store = Store.open(path, map_bytes=64 << 20)
    os.write(ready, b".")
    while True:
        number = store.head() + 1
        life = time.monotonic_ns().to_bytes(8, "big")
        store.commit([Append(number, life + b"x" * 200), Put("entries", life, number.to_bytes(8, "big"))])


def read(path: Path, ready: int) -> None:
    """Keep the store open, as risk does with the ledger: while it is, its lock file is not made anew."""
    reader = Reader.open(path)
    reader.head()
    os.write(ready, b".")
    signal.pause()


def check(path: Path) -> None:
    """Walk the whole log, as the next start does."""
    reader = Reader.open(path)
    assert reader.verify() == reader.head() == reader.summary().head, f"{reader.head()}, {reader.summary()}"


def born(act: object, path: Path) -> int:
    """Fork a child that does something with the store; give its pid once that is open."""
    out, ready = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(out)
        try:
            act(path, ready)  # pyright: ignore[reportCallIssue, reportGeneralTypeIssues]
        except BaseException as error:  # noqa: BLE001 - the child's last word
            sys.stderr.write(f"{error!r}\n")
            os._exit(1)
        os._exit(0)
    os.close(ready)
    assert os.read(out, 1) == b".", "a child fell"
    os.close(out)
    return pid


def main() -> int:
    """Kill so many writers; check after each."""
    path, kills, chance = Path(sys.argv[1]), int(sys.argv[2]), random.Random(sys.argv[3])
    os.close(0)
    first = born(write, path)
    reader = born(read, path)
    writer = first
    for _ in range(kills):
        time.sleep(chance.uniform(*LIFE_S))
        os.kill(writer, signal.SIGKILL)
        os.waitpid(writer, 0)
        writer = born(write, path)
    for pid in (writer, reader):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    check(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
