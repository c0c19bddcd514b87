"""The strategy that means nothing. A spare process takes it up as it would any other: as pinned code, by its text."""

from typing import Any

import msgspec

from desk.messages import Bar, Tick
from strategies.base import Decision, NoTrade, NoTradeCode, Strategy, View


class _Parameters(msgspec.Struct, forbid_unknown_fields=True):
    pass


class Rehearsed(Strategy):
    """Counts what it is told, and wants nothing."""

    Parameters = _Parameters
    wants_ticks = True

    def initialize(self) -> None:
        """Begin at nothing."""
        self._seen = self._last_ns = 0

    def on_bar(self, bar: Bar, view: View) -> Decision:
        """Count a bar."""
        return self._count(bar.ts_ns, view)

    def on_tick(self, tick: Tick, view: View) -> Decision | None:
        """Count a tick."""
        return self._count(tick.ts_ns, view)

    def _count(self, ts_ns: int, view: View) -> Decision:
        self._seen += not view.positions
        self._last_ns = ts_ns
        return NoTrade(NoTradeCode.NO_SIGNAL)

    def get_state(self) -> dict[str, Any]:
        """Give the count."""
        return {"seen": self._seen}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take the count up again."""
        self._seen = state["seen"]


STRATEGY = Rehearsed
