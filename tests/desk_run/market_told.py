"""A desk whose market does what a test says."""

import subprocess
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from runtime.clock import NS_PER_S
from tests.desk_run.harness import PATIENCE_S, PAUSE_S, Desk
from tests.desk_run.publisher import Publisher

#: Market seconds between the ticks that a test lets pass.
TICK_S = 5


class Market:
    """A desk on a publisher of ours: what the market does is what a test says."""

    def __init__(self, desk: Desk, publisher: Publisher) -> None:
        self.desk, self.publisher = desk, publisher
        self._at_s = 0

    def orders(self, **wanted: object) -> list[dict[str, Any]]:
        """Give the orders of the journal that are so."""
        return [order for order in self.desk.orders() if all(order[key] == value for key, value in wanted.items())]

    def until(self, what: Callable[[], object], **prices: float) -> None:
        """Let the market go on at these prices until the journal is as wanted; the console is not needed for that."""
        assert self.desk.process is not None, "the desk was not started"
        deadline_ns = self.desk.clock.monotonic_ns() + int(PATIENCE_S * NS_PER_S)
        while not what():
            assert self.desk.clock.monotonic_ns() < deadline_ns, self.desk.orders()
            for symbol, price in prices.items():
                self.publisher.tick(symbol, self._at_s, price)
            self._at_s += TICK_S
            with suppress(subprocess.TimeoutExpired):
                self.desk.process.wait(PAUSE_S)
