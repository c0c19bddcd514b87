"""The bakery on a machine on which whoever starts waits for a processor: ``python -m tests.runtime.busy_machine STATE``."""

import sys

from runtime import patience, watch
from runtime.process import Running
from tests.runtime import bakery


class Kept(patience.Patience):
    """Finds that whoever starts is kept waiting."""

    def is_kept_waiting(self, child: Running, now_ns: int) -> bool:
        """Say so of everyone."""
        super().is_kept_waiting(child, now_ns)
        return True


if __name__ == "__main__":
    watch.Patience = Kept
    sys.exit(bakery.main())
