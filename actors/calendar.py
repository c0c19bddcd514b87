"""New York's calendar: which local day and which wall-clock second an instant is."""

from bisect import bisect_right
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from desk.units import NS_PER_S
from strategies.base import Moment

ZONE = ZoneInfo("America/New_York")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)


class NewYork:
    """Tell New York's time of an instant; the zone's rules are asked once for each day that is met.

    ``second_of_day`` is the wall clock's, so 10:00 is 36000 on every day of the year. On the day that daylight
    saving ends the hour from 01:00 is met twice; on the day that it begins 02:00 to 03:00 never comes.
    """

    def __init__(self) -> None:
        """Start knowing no day."""
        self._start_ns = 0
        self._end_ns = 0
        self._day = ""
        # Instants from which an offset holds, and for each the ns to add to UTC to get time since local midnight.
        self._from_ns: list[int] = []
        self._shift_ns: list[int] = []

    def moment(self, ts_ns: int) -> Moment:
        """Give New York's day and second of the day of an instant (ns since 1970, UTC)."""
        if not self._start_ns <= ts_ns < self._end_ns:
            self._turn_to(ts_ns)
        shift_ns = self._shift_ns[0]
        if len(self._shift_ns) > 1:
            shift_ns = self._shift_ns[bisect_right(self._from_ns, ts_ns) - 1]
        return Moment(ts_ns, self._day, (ts_ns + shift_ns) // NS_PER_S)

    def _turn_to(self, ts_ns: int) -> None:
        day = (_EPOCH + timedelta(seconds=ts_ns // NS_PER_S)).astimezone(ZONE).date()
        self._day = day.isoformat()
        self._start_ns = instant_ns(day, 0)
        self._end_ns = instant_ns(day + timedelta(days=1), 0)
        midnight_offset_ns = _offset_ns(self._start_ns)
        self._from_ns = _offset_changes(self._start_ns, self._end_ns)
        self._shift_ns = [_offset_ns(at_ns) - midnight_offset_ns - self._start_ns for at_ns in self._from_ns]


def instant_ns(day: date, second_of_day: int) -> int:
    """Give the instant (ns since 1970, UTC) at which New York's wall clock shows this second of this day."""
    local = datetime(day.year, day.month, day.day, tzinfo=ZONE) + timedelta(seconds=second_of_day)
    return (local - _EPOCH) // _SECOND * NS_PER_S


def _offset_ns(ts_ns: int) -> int:
    offset = (_EPOCH + timedelta(seconds=ts_ns // NS_PER_S)).astimezone(ZONE).utcoffset()
    assert offset is not None, "an aware time has an offset"
    return offset // _SECOND * NS_PER_S


def _offset_changes(start_ns: int, end_ns: int) -> list[int]:
    """Give the start and, where the offset changes before the end, the first second of the new one."""
    before_ns = _offset_ns(start_ns)
    if _offset_ns(end_ns - NS_PER_S) == before_ns:
        return [start_ns]
    low, high = start_ns // NS_PER_S, end_ns // NS_PER_S
    while high - low > 1:
        middle = (low + high) // 2
        if _offset_ns(middle * NS_PER_S) == before_ns:
            low = middle
        else:
            high = middle
    return [start_ns, high * NS_PER_S]
