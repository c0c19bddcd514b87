"""The bakery whose spares cannot rehearse, for their room has no arguments: ``python -m tests.runtime.with_bad_spares``."""

import sys

from tests.runtime import bakery

if __name__ == "__main__":
    sys.exit(bakery.main(spares=1, rehearsal="apprentice"))
