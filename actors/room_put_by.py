"""What follows when the room that a store has put by on the disk begins to be used up: entries stop."""

from collections.abc import Callable

from runtime.folder import Sentinel
from runtime.log import Log

#: Root writes a record for each birth; the console one for each command.
SUPERVISOR_RESERVE_BYTES = 2 << 20
AUDIT_RESERVE_BYTES = 1 << 20
#: A strategy writes the same few pages again and again.
STRATEGY_RESERVE_BYTES = 256 << 10


def halting_on_low(sentinel: Sentinel, log: Log) -> Callable[[str], None]:
    """Make what a store tells that its reserve begins to be used up: it halts the desk, which stops entries only."""

    def on_low(why: str) -> None:
        log.error("store.low", why=why)
        sentinel.write(f"NO_ROOM: {why}. Exits and cancels go on; make room, then: bulkhead resume")

    return on_low
