"""What every simulated feed is: the market's events one at a time, with a place that can be kept."""

from collections.abc import Mapping
from typing import Protocol

from desk.messages import Bar, Tick


class FeedError(ValueError):
    """A feed that cannot be had; the text says what, where, and what to do."""


class Feed(Protocol):
    """Events in the order of their arrival: a bar arrives at its end, a tick at its time; ties go by symbol.

    Events carry ``sequence`` 0. The same feed from the same place gives the same events, on any machine.
    """

    @property
    def timeframes(self) -> Mapping[str, str | None]:
        """The timeframe of the feed's bars for each symbol, or None where it gives ticks."""
        ...

    @property
    def refused(self) -> Mapping[str, int]:
        """How many rows were refused up to the last event given, by code."""
        ...

    def next_event(self) -> Bar | Tick | None:
        """Give the next event, or None for ever once the feed has ended.

        Raises:
            FeedError: The source broke on the way.
        """
        ...

    def state(self) -> bytes:
        """Give the place after the last event given, for ``restore``."""
        ...

    def restore(self, state: bytes) -> None:
        """Go to a place that ``state`` gave, so that the event after it comes next.

        Raises:
            FeedError: The place belongs to another feed.
        """
        ...

    def close(self) -> None:
        """Let go of files. No event may be asked for afterwards."""
        ...
