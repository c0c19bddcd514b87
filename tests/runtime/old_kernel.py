"""The bakery on a kernel that knows neither Landlock nor filters: ``python -m tests.runtime.old_kernel STATE``."""

import sys

from tests.runtime import bakery
from tests.runtime.confined import refuse_calls

#: landlock_create_ruleset, and seccomp on x86_64 and on aarch64.
UNKNOWN = (444, 317, 277)

if __name__ == "__main__":
    refuse_calls(*UNKNOWN)
    sys.exit(bakery.main())
