"""A token bucket: how often something may happen, with room for a burst. Pure; time comes as an argument."""

from runtime.clock import NS_PER_S


class Bucket:
    """Holds up to ``burst`` tokens and gains ``rate`` of them a second; full at the start.

    A taker may also owe: ``charge`` takes more than there is, and nothing more is had until that is paid.
    """

    __slots__ = ("_burst", "_filled_ns", "_rate", "_tokens")

    def __init__(self, rate: float, burst: float, now_ns: int) -> None:
        """Start full. ``rate`` is tokens a second, > 0; ``now_ns`` any clock's time, the same one later."""
        self._rate, self._burst = rate, burst
        self._tokens, self._filled_ns = burst, now_ns

    def take(self, now_ns: int) -> bool:
        """Take one token; False where there is none, and nothing is taken."""
        self._fill(now_ns)
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def charge(self, amount: float, now_ns: int) -> None:
        """Take ``amount`` tokens, also where they are not there: the rest is owed."""
        self._fill(now_ns)
        self._tokens -= amount

    def left(self, now_ns: int) -> int:
        """Count the whole tokens there are; 0 while something is owed."""
        self._fill(now_ns)
        return max(0, int(self._tokens))

    def is_full(self, now_ns: int) -> bool:
        """Say whether nothing has been taken for so long that this bucket might as well be a new one."""
        self._fill(now_ns)
        return self._tokens >= self._burst

    def _fill(self, now_ns: int) -> None:
        gained = max(0, now_ns - self._filled_ns) / NS_PER_S * self._rate
        self._tokens = min(self._burst, self._tokens + gained)
        self._filled_ns = now_ns
