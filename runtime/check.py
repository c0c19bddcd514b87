"""Walk every store of a state folder, in a process that may die of it: ``python -m runtime.check FOLDER``."""

import sys
from pathlib import Path

from runtime.errors import ForeignStoreError, StoreError, StoreVersionError
from runtime.folder import store_folders
from runtime.store import Reader, refuse_foreign

#: What is given where a store lies in another's place.
FOREIGN = 3


def main() -> int:
    """Print each store before it is read, and what is wrong with it.

    Gives 0 where all are whole, 1 where one says that it is broken, 3 where one lies in another's place.
    """
    state = Path(sys.argv[1])
    for folder in store_folders(state):
        sys.stdout.write(f"{folder}\n")
        sys.stdout.flush()
        try:
            reader = Reader.open(folder)
            reader.verify()
            refuse_foreign(reader, str(folder.relative_to(state)))
            reader.close()
        except StoreVersionError:
            continue  # not damaged: whoever opens it for writing says what to do
        except ForeignStoreError as error:
            sys.stdout.write(f"{error}\n")
            return FOREIGN
        except StoreError as error:
            sys.stdout.write(f"{error}\n")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
