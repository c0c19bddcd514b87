"""The bakery whose time is over in the very round in which a hang is told: ``python -m tests.runtime.sudden_end STATE``."""

import sys

from msgspec import structs

from runtime.root import Root
from tests.runtime import bakery


def end_with_the_hang(root: Root) -> None:
    """Let the given time be over at the next round, once a silent child was asked for its stack."""
    if root._watch._dumped:
        root._settings = structs.replace(root._settings, duration_ns=1)


if __name__ == "__main__":
    sys.exit(bakery.main(end_with_the_hang))
