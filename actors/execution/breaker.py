"""When a venue answers late or not at all, nothing more is opened there for a while. Pure: time comes in.

Closed, it lets everything pass. An answer that took too long, or several orders in a row that got none, opens it: no
entry leaves. After its time it is half open: one entry may go and see. A good answer closes it, a bad one opens it for
twice as long as before. It never concerns what reduces or protects: exits, cancels and stops leave always.
"""

from enum import StrEnum
from typing import Any

from actors.settings import ExecutionSettings
from desk.units import NS_PER_S


class BreakerState(StrEnum):
    """Whether entries pass."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half open"


class Breaker:
    """One venue's. All times are monotonic nanoseconds; a restart of execution begins with it closed."""

    def __init__(self, settings: ExecutionSettings) -> None:
        """Begin closed."""
        self.settings = settings
        self.why = ""
        """Why it is not closed; "" while it is: then everything passes, and nothing need be asked."""
        self._until_ns = 0
        self._opened = 0
        self._failures = 0
        self._probe = ""

    def state(self, now_ns: int) -> BreakerState:
        """Say whether entries pass."""
        if not self.why:
            return BreakerState.CLOSED
        return BreakerState.OPEN if now_ns < self._until_ns else BreakerState.HALF_OPEN

    # --- evidence -----------------------------------------------------------------------------

    def hear_answer(self, order_id: str, span_ns: int, now_ns: int) -> None:
        """Take an answer that came ``span_ns`` after its order had left."""
        limit_s = self.settings.breaker_latency_s
        if span_ns > limit_s * NS_PER_S:
            self.hear_slow(order_id, span_ns, now_ns)
            return
        self._failures = 0
        if self.state(now_ns) is BreakerState.HALF_OPEN:
            self.why, self._opened, self._probe = "", 0, ""

    def hear_slow(self, order_id: str, span_ns: int, now_ns: int) -> None:
        """Take an order that waits, or waited, longer than the venue may take."""
        self._open(
            f"{order_id} took {span_ns / NS_PER_S:.1f} s, more than {self.settings.breaker_latency_s:g} s", now_ns
        )

    def hear_unclear(self, why: str, now_ns: int) -> None:
        """Take an order that left and got no answer, or was refused only because it came too late."""
        self._failures += 1
        if self._failures >= self.settings.breaker_failures or self.state(now_ns) is BreakerState.HALF_OPEN:
            self._open(f"{self._failures} orders in a row without an answer, the last one: {why}", now_ns)

    def _open(self, why: str, now_ns: int) -> None:
        """Open, or open again for longer; while it is open nothing makes it longer."""
        if self.state(now_ns) is BreakerState.OPEN:
            return
        span_s = min(self.settings.breaker_open_s * 2**self._opened, self.settings.breaker_open_max_s)
        self.why, self._until_ns, self._probe = why, now_ns + int(span_s * NS_PER_S), ""
        self._opened += 1

    # --- asking -------------------------------------------------------------------------------

    def objection(self, now_ns: int) -> str:
        """Say why no entry may leave now, "" where one may."""
        if not self.why:
            return ""
        state = self.state(now_ns)
        if state is BreakerState.OPEN:
            left_s = (self._until_ns - now_ns) / NS_PER_S
            return f"BREAKER_OPEN: {self.why}; entries pass again in {left_s:.0f} s, if the venue answers then"
        if state is BreakerState.HALF_OPEN and self._probe:
            return f"BREAKER_OPEN: {self.why}; the venue has not answered {self._probe} yet, which is to show how it is"
        return ""

    def lets_pass(self, order_id: str, now_ns: int) -> None:
        """Note an entry that leaves: the first one while it is half open shows how the venue is."""
        if self.why and self.state(now_ns) is BreakerState.HALF_OPEN and not self._probe:
            self._probe = order_id

    def lose(self, order_id: str) -> None:
        """Let another entry go and see where the one that did so ended without word of the venue."""
        if self._probe == order_id:
            self._probe = ""

    def facts(self, now_ns: int) -> dict[str, Any]:
        """Give state, reason, the seconds until an entry may go and see, and how often it opened in a row."""
        state = self.state(now_ns)
        left_s = max(0, self._until_ns - now_ns) / NS_PER_S if state is BreakerState.OPEN else 0.0
        return {"state": state.value, "reason": self.why, "left_s": round(left_s, 1), "opened": self._opened}
