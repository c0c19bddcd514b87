"""The bakery with a root that treats any number of children as very many: ``python -m tests.runtime.crowded STATE``."""

import sys

from runtime import rounds
from tests.runtime import bakery

if __name__ == "__main__":
    rounds.FEW = 1
    sys.exit(bakery.main())
