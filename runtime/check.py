"""Walk every store of a state folder, in a process that may die of it: ``python -m runtime.check FOLDER``."""

import sys
from pathlib import Path

from runtime.errors import StoreError
from runtime.store import Reader


def main() -> int:
    """Print each store before it is read; give 0 where all are whole, 1 where one says that it is broken."""
    for data in sorted(Path(sys.argv[1]).rglob("data.mdb")):
        sys.stdout.write(f"{data.parent}\n")
        sys.stdout.flush()
        try:
            reader = Reader.open(data.parent)
            reader.verify()
            reader.close()
        except StoreError as error:
            sys.stdout.write(f"{error}\n")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
