"""Stores whose maker ends at each of its calls in turn: ``python -m tests.runtime.half_made FOLDER``.

It ends with 0 where every end left whole stores and none that would be missed, and the next maker made the others.
"""

import os
import shutil
import sys
from pathlib import Path

from runtime.store import Reader, Store
from runtime.store_making import make_stores

STORES, SCHEMA = 5, 3
CALLS = frozenset({"open", "os.mkdir", "os.rename", "os.remove"})
DONE, ENDED = 0, 9


def make(folders: list[Path], ends_at: int) -> None:
    """Make the stores; end at the call of this number."""
    calls = 0

    def count(event: str, _arguments: object) -> None:
        nonlocal calls
        calls += event in CALLS
        if calls == ends_at:
            os._exit(ENDED)

    sys.addaudithook(count)
    make_stores((folder, SCHEMA) for folder in folders)


def look(folders: list[Path], after: int) -> None:
    """See that what is there is whole, and that nothing is missed."""
    for folder in folders:
        assert (folder / "data.mdb").exists() or not (folder / "witness").exists(), f"{folder} is missed after {after}"
        if (folder / "data.mdb").exists() and (folder / "data.mdb").stat().st_size:
            reader = Reader.open(folder)
            assert reader.verify() == 0, f"{folder} is not new after {after}"
            reader.close()


def main(place: Path) -> int:
    """Let one maker after the other end; give 0 where the last one did not."""
    number, code = 0, ENDED
    while code == ENDED:
        number += 1
        folders = [place / f"{number}" / f"store{each}" for each in range(STORES)]
        pid = os.fork()
        if pid == 0:
            try:
                make(folders, number)
            except BaseException as error:  # noqa: BLE001 - the child's last word
                sys.stderr.write(f"{error!r}\n")
                os._exit(1)
            os._exit(DONE)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        look(folders, number)
        make_stores((folder, SCHEMA) for folder in folders)
        for folder in folders:
            assert {file.name for file in folder.iterdir()} <= {"data.mdb", "lock.mdb", "witness"}, folder
            store = Store.open(folder, schema=SCHEMA)  # its owner finds it whole, or formats it
            assert store.verify() == 0, f"{folder} is not whole after {number}"
            store.close()
        shutil.rmtree(place / f"{number}")
    sys.stdout.write(f"{number > 4 * STORES}")
    return code


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
