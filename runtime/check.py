"""Walk every store of a state folder, in a process that may die of it: ``python -m runtime.check FOLDER``."""

import sys
from pathlib import Path

from runtime.errors import StoreError, StoreVersionError
from runtime.folder import store_folders
from runtime.store import Reader


def main() -> int:
    """Print each store before it is read; give 0 where all are whole, 1 where one says that it is broken."""
    for folder in store_folders(Path(sys.argv[1])):
        sys.stdout.write(f"{folder}\n")
        sys.stdout.flush()
        try:
            reader = Reader.open(folder)
            reader.verify()
            reader.close()
        except StoreVersionError:
            continue  # not damaged: whoever opens it for writing says what to do
        except StoreError as error:
            sys.stdout.write(f"{error}\n")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
