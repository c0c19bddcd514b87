"""The bakery whose spares never end their rehearsal: ``python -m tests.runtime.with_slow_spares STATE``."""

import os
import signal
import sys

from runtime.child import Context, Made
from tests.runtime import bakery

#: The zygote, which rehearses first.
rehearsed_first: list[int] = []


def make_board(context: Context, arguments: bytes) -> Made:
    """Make a board, in the zygote; wait for ever in a spare."""
    rehearsed_first.append(os.getpid())
    while rehearsed_first[0] != os.getpid():
        signal.pause()
    return bakery.make_board(context, arguments)


if __name__ == "__main__":
    sys.exit(bakery.main(spares=1, rehearsal="tests.runtime.with_slow_spares:make_board"))
