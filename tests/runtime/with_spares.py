"""The bakery with a spare process: ``python -m tests.runtime.with_spares STATE``."""

import sys

from tests.runtime import bakery

if __name__ == "__main__":
    sys.exit(bakery.main(spares=1))
