"""How late a loop is: pure figures of its turns, cheap enough to be kept for each. Nothing here reads a clock."""

from collections import deque
from collections.abc import Mapping
from typing import NamedTuple

#: Buckets in each power of two: a figure is at most 1/16 above the true one.
BUCKET_BITS = 4
#: Figures below this are one bucket each.
LINEAR = 1 << BUCKET_BITS
#: The unit of the buckets, 1.024 us: 2 to the power of this many nanoseconds.
UNIT_BITS = 10
#: One slice of the window, and how many slices are looked back on: together about a minute.
SLICE_NS = 10_000_000_000
SLICES = 6
#: A pause between two turns beyond this was spent waiting: what came then was heard at once.
PAUSE_NS = 200_000


def bucket_of(span_ns: int) -> int:
    """Give the number of the bucket that a span (ns, 0 or more) falls into; it never shrinks as the span grows."""
    units = span_ns >> UNIT_BITS
    if units < LINEAR:
        return units
    shift = units.bit_length() - BUCKET_BITS - 1
    return (shift << BUCKET_BITS) + (units >> shift)


def bucket_top_ns(bucket: int) -> int:
    """Give the largest span (ns) that falls into a bucket."""
    if bucket < LINEAR:
        return ((bucket + 1) << UNIT_BITS) - 1
    shift = (bucket >> BUCKET_BITS) - 1
    units = bucket - (shift << BUCKET_BITS)
    return (((units + 1) << shift) << UNIT_BITS) - 1


class Lags:
    """Quantiles of spans over the last minute or so, in buckets of equal ratio.

    Adding costs the same however many there are. What is older than the window is forgotten a slice at a time, so a
    quantile covers between five and six slices.
    """

    def __init__(self) -> None:
        """Begin with nothing."""
        self._counts: dict[int, int] = {}
        self._slices: deque[tuple[int, dict[int, int]]] = deque()

    def add(self, span_ns: int, now_ns: int) -> None:
        """Count one span (ns) that ended at ``now_ns`` (monotonic, never running backwards)."""
        number = now_ns // SLICE_NS
        if not self._slices or self._slices[-1][0] != number:
            self._counts = {}
            self._slices.append((number, self._counts))
            self._forget(number)
        bucket = bucket_of(span_ns)
        self._counts[bucket] = self._counts.get(bucket, 0) + 1

    def quantiles(self, shares: tuple[float, ...], now_ns: int) -> tuple[int, ...]:
        """Give the spans (ns) that such shares (above 0, at most 1) of all do not exceed; 0 each where there is none.

        Each is the top of its bucket: never below the true quantile, and at most 1/16 or 1 us above it.
        """
        self._forget(now_ns // SLICE_NS)
        counts: dict[int, int] = {}
        for _, slice_counts in self._slices:
            for bucket, count in slice_counts.items():
                counts[bucket] = counts.get(bucket, 0) + count
        total = sum(counts.values())
        if not total:
            return (0,) * len(shares)
        ordered = sorted(counts.items())
        return tuple(_quantile(ordered, share * total) for share in shares)

    def _forget(self, number: int) -> None:
        while self._slices and self._slices[0][0] <= number - SLICES:
            self._slices.popleft()


def _quantile(ordered: list[tuple[int, int]], rank: float) -> int:
    seen = 0
    for bucket, count in ordered:
        seen += count
        if seen >= rank:
            return bucket_top_ns(bucket)
    return bucket_top_ns(ordered[-1][0])


class Measured(NamedTuple):
    """What a loop can say of its turns since the last report; lags are those of the last minute.

    ``depth`` is the most messages that one turn found waiting. ``oldest_ns`` bounds how long a message that waits now
    can have waited: senders stamp nothing, so it counts from the last look at which every socket was found empty.
    ``slowest_ns`` and ``slowest`` are the longest turn and the last word that it began.
    """

    depth: int
    oldest_ns: int
    lag_p50_ns: int
    lag_p99_ns: int
    slowest_ns: int
    slowest: str


class Turns:
    """Measures a loop that drains its sockets in turns.

    The lag of a turn is the longest that a message of it can have waited and been handled: from the start of the turn
    where the loop had been idle, else from the look before, at which every socket was found empty.
    """

    def __init__(self, full: int) -> None:
        """Begin idle. A turn that takes ``full`` messages or more may have left some in its sockets."""
        self._full = full
        self._lags = Lags()
        self._start_ns = self._end_ns = self._since_ns = self._empty_ns = 0
        self._depth = self._slowest_ns = 0
        self._slowest = ""

    def begin(self, now_ns: int) -> None:
        """Note that a turn begins to drain its sockets."""
        self._start_ns = now_ns
        self._since_ns = now_ns if now_ns - self._end_ns > PAUSE_NS else self._empty_ns

    def end(self, now_ns: int, taken: int, last: str) -> None:
        """Note that the turn is over. ``taken`` messages were handled; ``last`` is the last word among them."""
        self._end_ns = now_ns
        self._empty_ns = self._start_ns if taken < self._full else self._since_ns
        if not taken:
            return
        self._lags.add(now_ns - self._since_ns, now_ns)
        self._depth = max(self._depth, taken)
        if now_ns - self._start_ns >= self._slowest_ns:
            self._slowest_ns, self._slowest = now_ns - self._start_ns, last

    def report(self, now_ns: int) -> Measured:
        """Give the figures, between two turns, and begin those that count from report to report anew."""
        p50_ns, p99_ns = self._lags.quantiles((0.5, 0.99), now_ns)
        measured = Measured(self._depth, now_ns - self._empty_ns, p50_ns, p99_ns, self._slowest_ns, self._slowest)
        self._depth = self._slowest_ns = 0
        self._slowest = ""
        return measured


class Stuck:
    """How long the oldest parcel of each link has waited for its receipt, told by looking now and then."""

    def __init__(self) -> None:
        """Begin with no link."""
        self._seen: dict[str, tuple[int, int]] = {}

    def look(self, oldest: Mapping[str, int], now_ns: int) -> dict[str, int]:
        """Compare with the last look.

        Args:
            oldest: The sequence of the oldest parcel without receipt, by peer; peers without one are left out.
            now_ns: Monotonic time.

        Returns:
            For how long (ns) at least that same parcel has been the oldest, by peer; 0 at its first look.
        """
        self._seen = {
            peer: seen if (seen := self._seen.get(peer)) is not None and seen[0] == sequence else (sequence, now_ns)
            for peer, sequence in oldest.items()
        }
        return {peer: now_ns - since_ns for peer, (_, since_ns) in self._seen.items()}
