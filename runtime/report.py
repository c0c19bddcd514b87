"""What root tells of a child's progress report: plain values for the status, and shares of the processor."""

from typing import Any

from runtime.clock import NS_PER_MS, NS_PER_S
from runtime.words import Progress

#: A child that reports once a second and was not heard for so long is looked at from outside.
SILENT_NS = 2 * NS_PER_S
#: The least time between two looks from which a share of the processor is told.
CPU_LOOK_NS = 900 * NS_PER_MS


class CpuShare:
    """What share of one processor a process used between two looks at least a second apart."""

    def __init__(self) -> None:
        """Begin with no look."""
        self._epoch, self._since_ns, self._base_ns = 0, 0, 0
        self.used_ns = 0
        self.percent: float | None = None

    def look(self, epoch: int, used_ns: int, now_ns: int) -> None:
        """Take in how much (ns) the process of an epoch has used so far."""
        self.used_ns = used_ns
        if epoch != self._epoch:
            self._epoch, self._since_ns, self._base_ns, self.percent = epoch, now_ns, used_ns, None
        elif now_ns - self._since_ns >= CPU_LOOK_NS:
            self.percent = round(100 * max(0, used_ns - self._base_ns) / (now_ns - self._since_ns), 1)
            self._since_ns, self._base_ns = now_ns, used_ns


def oldest_ns(report: Progress, age_ns: int) -> int:
    """Say how long a message may have waited by now, ``age_ns`` after a report; a silent child's wait goes on."""
    return report.oldest_ns + (age_ns if age_ns > SILENT_NS else 0)


def progress_words(heard: tuple[Progress, int] | None, now_ns: int) -> dict[str, Any]:
    """Say how far a loop has come and how late it is, in plain values; None and zeros where nothing was heard."""
    report = heard[0] if heard is not None else Progress("", 0, 0, 0, 0, {})
    age_ns = now_ns - heard[1] if heard is not None else 0
    return {
        "turns": report.turns,
        "handled": report.handled,
        "mailbox": report.depth,
        "oldest_s": oldest_ns(report, age_ns) / NS_PER_S,
        "unacknowledged": report.waiting,
        "stuck_s": {peer: span_ns / NS_PER_S for peer, span_ns in report.stuck.items()},
        "lag_p50_ms": report.lag_p50_ns / NS_PER_MS,
        "lag_p99_ms": report.lag_p99_ns / NS_PER_MS,
        "slowest": {"word": report.slowest, "ms": report.slowest_ns / NS_PER_MS},
        "last_word": report.last,
        "progress_age_s": age_ns / NS_PER_S if heard is not None else None,
        "facts": dict(report.facts),
    }
