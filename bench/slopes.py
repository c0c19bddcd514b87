"""Whether a row of readings grows: a slope that a single jump does not decide, with its confidence. Pure."""

import math
import statistics
from collections.abc import Sequence
from enum import StrEnum
from itertools import combinations
from typing import NamedTuple

#: The readings are cut into so many spans of equal length; each counts with its median. What lies close together in
#: time resembles each other, so single readings would promise more confidence than there is.
SPANS = 15
#: Fewer readings than this in a span and nothing is said.
READINGS_MIN = 2
#: The normal distribution's bound of 95 %.
Z_95 = 1.96
S_PER_HOUR = 3600.0


class Growth(StrEnum):
    """What can be said of a row of readings and a bound."""

    FLAT = "flat"
    """It grows less than the bound, surely."""
    LEAKS = "leaks"
    """It grows more than the bound, surely."""
    UNCLEAR = "unclear"
    """Both are possible: a longer run tells."""


class Slope(NamedTuple):
    """How much a reading grows in an hour, and between which figures that lies with a confidence of 95 %."""

    per_hour: float
    low: float
    high: float

    def growth(self, bound: float) -> Growth:
        """Hold it against the most that it may grow in an hour."""
        if self.low > bound:
            return Growth.LEAKS
        return Growth.FLAT if self.high <= bound else Growth.UNCLEAR


def slope_of(times_s: Sequence[float], readings: Sequence[float]) -> Slope | None:
    """Fit a slope: the median of the slopes between any two spans (Theil and Sen), its bounds from their ranks.

    A single jump, such as an allocator's next piece of memory, leaves most pairs of spans as they were, and the lower
    bound at nothing; two in a row and more begin to look like growth, as they should.

    Args:
        times_s: When each reading was taken, in seconds, ascending.
        readings: The readings, one for each time.

    Returns:
        The slope, or None where there are too few readings for any.
    """
    assert len(times_s) == len(readings), "each reading has its time"
    spans = _spans(times_s, readings)
    if spans is None:
        return None
    slopes = sorted((b - a) / (t - s) * S_PER_HOUR for (s, a), (t, b) in combinations(spans, 2))
    away = Z_95 * math.sqrt(SPANS * (SPANS - 1) * (2 * SPANS + 5) / 18)
    rank = int((len(slopes) - away) / 2)
    return Slope(statistics.median(slopes), slopes[rank], slopes[-1 - rank])


def _spans(times_s: Sequence[float], readings: Sequence[float]) -> list[tuple[float, float]] | None:
    """Give (median time, median reading) of each span; None where one of them holds too few readings."""
    if not times_s or times_s[-1] <= times_s[0]:
        return None
    width_s = (times_s[-1] - times_s[0]) / SPANS
    held: list[list[tuple[float, float]]] = [[] for _ in range(SPANS)]
    for at_s, reading in zip(times_s, readings, strict=True):
        held[min(SPANS - 1, int((at_s - times_s[0]) / width_s))].append((at_s, reading))
    if min(map(len, held)) < READINGS_MIN:
        return None
    return [
        (statistics.median(at for at, _ in each), statistics.median(reading for _, reading in each)) for each in held
    ]
