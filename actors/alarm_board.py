"""Alarms with hysteresis: what is found for long enough is raised, what is gone for long enough is cleared. Pure."""

from collections.abc import Iterable
from typing import NamedTuple

from desk.units import NS_PER_S

#: How long something must be found before it is an alarm, by its code.
RAISE_NS = {"disk_low": 0, "memory_soft": 5 * NS_PER_S}
RAISE_NS_DEFAULT = 3 * NS_PER_S
#: How long an alarm's cause must be gone before the alarm is.
CLEAR_NS = 10 * NS_PER_S


class Finding(NamedTuple):
    """Something that is not as it should be at this moment; of one ``code`` and ``path`` there is one at a time."""

    code: str
    path: str
    text: str


class Alarm(NamedTuple):
    """A finding that stayed. ``since_ns`` is when it was first found (monotonic); ``text`` is the newest."""

    finding: Finding
    since_ns: int


class AlarmBoard:
    """Which alarms stand. A finding that comes and goes neither flaps nor is lost: it stands until it stays away."""

    def __init__(self) -> None:
        """Begin with none."""
        self._found: dict[tuple[str, str], Alarm] = {}
        self._seen_ns: dict[tuple[str, str], int] = {}
        self._standing: set[tuple[str, str]] = set()

    def look(self, findings: Iterable[Finding], now_ns: int) -> tuple[list[Alarm], list[Alarm]]:
        """Take in all that is found at ``now_ns`` (monotonic); give the alarms that this raised and cleared."""
        for finding in findings:
            key = (finding.code, finding.path)
            known = self._found.get(key)
            self._found[key] = Alarm(finding, known.since_ns if known is not None else now_ns)
            self._seen_ns[key] = now_ns
        raised: list[Alarm] = []
        cleared: list[Alarm] = []
        for key, alarm in list(self._found.items()):
            is_here = self._seen_ns[key] == now_ns
            if key in self._standing:
                if not is_here and now_ns - self._seen_ns[key] >= CLEAR_NS:
                    cleared.append(alarm)
                    self._standing.discard(key)
                    self._forget(key)
            elif not is_here:
                self._forget(key)
            elif now_ns - alarm.since_ns >= RAISE_NS.get(alarm.finding.code, RAISE_NS_DEFAULT):
                raised.append(alarm)
                self._standing.add(key)
        return raised, cleared

    def standing(self) -> list[Alarm]:
        """Give all alarms that stand, the oldest first."""
        return sorted((self._found[key] for key in self._standing), key=lambda alarm: (alarm.since_ns, alarm.finding))

    def _forget(self, key: tuple[str, str]) -> None:
        del self._found[key], self._seen_ns[key]
