"""What root knows of its children: what each said last, what it used, how it fell; and the status made of that."""

from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runtime.beacon import Sight, read_beacon
from runtime.clock import NS_PER_S
from runtime.codec import Codec
from runtime.errors import WireError
from runtime.process import Running, resident_bytes, usage
from runtime.report import SILENT_NS, CpuShare, progress_words
from runtime.spec import WorkerSpec
from runtime.supervision_words import Report, Row
from runtime.warden import Warden
from runtime.words import Progress

#: A child that says to have spoken so long from now has not: or one that hangs would be heard of until then.
AHEAD_NS_MAX = NS_PER_S
#: No message waits longer than this (ns). More could not be said on, once the age of its report is added.
OLDEST_NS_MAX = 1 << 62
#: What lies deeper is not said on: a status wraps it again, and so could be nested deeper than any encoder goes.
NESTED_MAX = 32
_NESTS = (dict, list, tuple)
#: Falls of each process that the status of that process shows.
FALLS_KEPT = 10


class Knowledge:
    """Keeps each child's last report with the time it was said at, and what is left of those that fell.

    A process itself is looked at only for a row of the status: what it holds, and of one that is silent what it used
    and what it is at. Nothing here judges anybody.
    """

    def __init__(self, sockets: Path, warden: Warden, codec: Codec) -> None:
        """Know of nobody yet; the beacons lie among the sockets, and the warden measures."""
        self._sockets, self._warden, self._codec = sockets, warden, codec
        self._sights: dict[str, Sight] = {}
        self._reports: dict[str, tuple[Progress, int]] = {}
        self._shares: dict[str, CpuShare] = {}
        self._left: dict[str, dict[str, object]] = {}
        self._falls: dict[str, deque[dict[str, object]]] = {}

    @property
    def reports(self) -> Mapping[str, tuple[Progress, int]]:
        """The last report of each child that lives and is READY, and when (ns, monotonic) it was said. Read only."""
        return self._reports

    # --- taking in ----------------------------------------------------------------------------

    def look(self, child: Running, now_ns: int) -> None:
        """Take in what a child's present incarnation says of itself, where it has said something since."""
        sight = self._sights.get(child.path)
        if sight is None:
            sight = self._sights[child.path] = Sight(self._sockets, child.path)
        said, heard = sight.look(), self._reports.get(child.path)
        if sight.said_ns > now_ns + AHEAD_NS_MAX:
            sight.close()
        elif said is not None:
            report = self._report(said, child)
            if report is None:
                sight.close()
            else:
                self.hear(report, min(sight.said_ns, now_ns))
        elif heard is not None and sight.said_ns > heard[1]:
            self.hear(heard[0], min(sight.said_ns, now_ns))

    def _report(self, said: bytes, child: Running) -> Progress | None:
        """Read a report; None where it is of no form of ours, or of another incarnation, whose file lay there still."""
        try:
            report = self._codec.decode(said)
        except WireError:
            return None
        if not isinstance(report, Progress) or (report.path, report.epoch) != (child.path, child.epoch):
            return None
        return report if 0 <= report.oldest_ns <= OLDEST_NS_MAX and _is_shallow(report.facts) else None

    def hear(self, report: Progress, said_ns: int) -> None:
        """Take in what a child's present incarnation says of itself, and when it said so."""
        self._reports[report.path] = (report, said_ns)
        self._shares.setdefault(report.path, CpuShare()).look(report.epoch, report.cpu_ns, said_ns)

    def see_ready(self, path: str, epoch: int, now_ns: int) -> None:
        """Count READY as a report of nothing; one that came before stays."""
        self._reports.setdefault(path, (Progress(path, epoch, 0, 0, 0, {}), now_ns))

    def see_end(self, path: str) -> None:
        """Keep of a child that has ended what it last said of itself, and forget the rest."""
        heard = self._reports.pop(path, None)
        if heard is not None:
            self._left[path] = dict(heard[0].facts)
        self._shares.pop(path, None)
        sight = self._sights.pop(path, None)
        if sight is not None:
            sight.close()

    def keep_fall(self, report: Report, wall_ns: int) -> None:
        """Keep a fall; of each offender only the last ones."""
        fall: dict[str, object] = {
            "at_ns": wall_ns,
            "supervisor": report.supervisor,
            "context": report.context,
            "reason": report.reason,
        }
        self._falls.setdefault(report.offender, deque(maxlen=FALLS_KEPT)).append(fall)

    # --- telling ------------------------------------------------------------------------------

    def facts(self, path: str) -> dict[str, Any]:
        """Give what a child last said of itself; nothing where it said nothing yet."""
        heard = self._reports.get(path)
        return dict(heard[0].facts) if heard is not None else {}

    def falls(self, path: str) -> list[dict[str, object]]:
        """Give the last falls of a child or node, oldest first, as plain values."""
        return list(self._falls.get(path, ()))

    def row(
        self, row: Row, child: Running | None, spec: WorkerSpec | None, *, last_error: str, now_ns: int
    ) -> dict[str, Any]:
        """Give everything that is known of a worker or node, as plain values.

        Args:
            row: How supervision sees it.
            child: Its process; None for a node and where it is down.
            spec: What it was started with; of no account without a process.
            last_error: Why it fell last, or was put away.
            now_ns: Monotonic time.
        """
        heard = None
        if child is not None:
            self.look(child, now_ns)
            heard = self._reports.get(row.path)
        return {
            "path": row.path,
            "kind": row.kind,
            "pid": child.pid if child is not None else None,
            "state": row.state.value,
            "epoch": row.epoch,
            "restarts": row.restarts_total,
            "restarts_in_window": row.restarts_in_window,
            "restarts_max": row.restarts_max,
            "window_s": row.window_ns / NS_PER_S,
            "since_s": (now_ns - row.since_ns) / NS_PER_S,
            "last_exit": row.last_exit,
            "last_error": last_error,
            "last_facts": self._left.get(row.path, {}) if heard is None else {},
            **self._use(child, spec, heard, now_ns),
            **progress_words(heard, now_ns),
            "current": self._current(child, heard, now_ns),
        }

    def _use(
        self, child: Running | None, spec: WorkerSpec | None, heard: tuple[Progress, int] | None, now_ns: int
    ) -> dict[str, Any]:
        """Say what a process uses. It counts its processor time itself; of a silent one the kernel is asked."""
        if child is None:
            return {"rss_bytes": 0, "cpu_s": 0.0, "cpu_pct": None, "limits": {}}
        assert spec is not None, "a process was started with a spec"
        share = self._shares.setdefault(child.path, CpuShare())
        if heard is None or now_ns - heard[1] > SILENT_NS:
            share.look(child.epoch, int(usage(child.pid).cpu_s * NS_PER_S), now_ns)
        limits = self._warden.uses(child, spec.limits)
        return {
            "rss_bytes": limits.get("memory_bytes", {}).get("used") or resident_bytes(child.pid),
            "cpu_s": share.used_ns / NS_PER_S,
            "cpu_pct": share.percent,
            "limits": limits,
        }

    def _current(
        self, child: Running | None, heard: tuple[Progress, int] | None, now_ns: int
    ) -> dict[str, object] | None:
        """Say what a process is at; only of one that has been silent for a while its beacon is looked at."""
        if child is None or (heard is not None and now_ns - heard[1] <= SILENT_NS):
            return None
        now = read_beacon(self._sockets, child.path)
        if now is None or not now.began_ns:
            return None
        return {"word": now.word, "since_s": max(0, now_ns - now.began_ns) / NS_PER_S}


def _is_shallow(value: Mapping[str, Any]) -> bool:
    """Say whether nothing in a value lies deeper than ``NESTED_MAX``."""
    layer: list[Any] = [value]
    for _ in range(NESTED_MAX):
        below = list[Any]()
        for one in layer:
            below += [inner for inner in one if isinstance(inner, _NESTS)]
            if isinstance(one, dict):
                below += [inner for inner in one.values() if isinstance(inner, _NESTS)]
        if not below:
            return True
        layer = below
    return False


def patience_words(spec: WorkerSpec | None) -> dict[str, float]:
    """Say how long root waits for a worker to start, to be heard of, and to leave; nothing for a node."""
    if spec is None:
        return {}
    return {
        "start_s": spec.start_timeout_ns / NS_PER_S,
        "progress_s": spec.progress_timeout_ns / NS_PER_S,
        "shutdown_s": spec.shutdown_ns / NS_PER_S,
    }
