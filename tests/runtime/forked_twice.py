"""The bakery where a fork takes two steps: ``python -m tests.runtime.forked_twice STATE``."""

import sys

from tests.runtime import bakery
from tests.runtime.confined import refuse_calls
from tests.runtime.forking import UNKNOWN

if __name__ == "__main__":
    refuse_calls(*UNKNOWN)
    sys.exit(bakery.main())
