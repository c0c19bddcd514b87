"""How long the venue takes: percentiles of all spans of a session, in memory that does not grow with them."""

from typing import Any

from desk.units import DAY_NS, NS_PER_MS
from runtime.measure import bucket_of, bucket_top_ns

SHARES = {"p50_ms": 0.5, "p90_ms": 0.9, "p95_ms": 0.95, "p99_ms": 0.99}


class Histogram:
    """Counts spans in buckets of equal ratio: a percentile is never below the true one, and at most 1/16 above it."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._counts: dict[int, int] = {}
        self.count = 0

    def add(self, span_ns: int) -> None:
        """Count one span (ns, 0 or more)."""
        bucket = bucket_of(span_ns)
        self._counts[bucket] = self._counts.get(bucket, 0) + 1
        self.count += 1

    def percentile_ns(self, share: float) -> int:
        """Give the span (ns) that ``share`` (above 0, at most 1) of all do not exceed; 0 where there is none."""
        seen, top_ns = 0, 0
        for bucket, count in sorted(self._counts.items()):
            top_ns = bucket_top_ns(bucket)
            seen += count
            if seen >= share * self.count:
                break
        return top_ns

    def facts(self) -> dict[str, Any]:
        """Give the count and the percentiles in milliseconds."""
        spans = {name: round(self.percentile_ns(share) / NS_PER_MS, 3) for name, share in SHARES.items()}
        return {"count": self.count, **spans}


class Latencies:
    """What a session's orders took: from being sent to the venue's answer, and of market orders to the first fill.

    A session is a day of the market's time (UTC), or less where execution started within it.
    """

    def __init__(self) -> None:
        """Begin the first session."""
        self._day = 0
        self.answer, self.fill = Histogram(), Histogram()

    def pass_time(self, market_ns: int) -> dict[str, Any] | None:
        """Begin another session where the day is another one, and give what the one before came to, if anything."""
        day = market_ns // DAY_NS
        if day <= self._day:
            return None
        ended = self.facts() if self.answer.count else None
        self._day = day
        self.answer, self.fill = Histogram(), Histogram()
        return ended

    def facts(self) -> dict[str, Any]:
        """Give both sets of percentiles."""
        return {"answer": self.answer.facts(), "fill": self.fill.facts()}
