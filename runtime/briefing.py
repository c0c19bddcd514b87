"""What the watchdog hears: that root's loop goes on, and how the children are."""

from runtime.bus.links import Hub
from runtime.codec import Codec
from runtime.process import Running
from runtime.report import oldest_ns
from runtime.words import Progress, RootAlive, Watched, WatchTable

#: Rounds from one table to the next.
ROUNDS_A_TABLE = 2
#: The most rows of one part of a table: it has to fit a frame.
ROWS_A_PART = 200


class Briefing:
    """Tells one process of each child that root looks at in a round, in parts, and then that these were all."""

    def __init__(self, hub: Hub, codec: Codec, facts: frozenset[str]) -> None:
        """Tell nobody yet. ``facts`` names what is passed on of what rooms say of themselves."""
        self._hub, self._codec, self._facts = hub, codec, facts
        self._number = 0
        self._to: Running | None = None
        self._rows: list[Watched] = []

    def begin(self, watchdog: Running | None, turns: int) -> None:
        """Say to the watchdog, where there is one, how far root's loop is; each second time a table begins."""
        self._to, self._rows = None, []
        if watchdog is None:
            return
        self._hub.post(watchdog.path, self._codec.encode(RootAlive(turns)), is_sure=False)
        self._number += 1
        if self._number % ROUNDS_A_TABLE == 0:
            self._to = watchdog

    def add(self, report: Progress, age_ns: int, memory: tuple[int, int]) -> None:
        """Take in how a child is, where a table is under way.

        Args:
            report: Its last report.
            age_ns: How long ago that was heard.
            memory: What it holds, and its soft limit (bytes); 0 where there is none.
        """
        if self._to is None:
            return
        self._rows.append(watched(report, age_ns, memory, self._facts))
        if len(self._rows) >= ROWS_A_PART:
            self._send(self._to, is_last=False)

    def end(self) -> None:
        """End the table that is under way: all children of the round have been looked at."""
        if self._to is not None:
            self._send(self._to, is_last=True)
        self._to = None

    def see_end(self, path: str) -> None:
        """Break off what is meant for a process that has ended; its successor would lack the parts before."""
        if self._to is not None and self._to.path == path:
            self._to = None

    def _send(self, to: Running, *, is_last: bool) -> None:
        rows, self._rows = tuple(self._rows), []
        self._hub.post(to.path, self._codec.encode(WatchTable(self._number, rows, is_last)), is_sure=False)


def watched(report: Progress, age_ns: int, memory: tuple[int, int], facts: frozenset[str]) -> Watched:
    """Give the row of a child for whoever watches.

    Args:
        report: Its last report.
        age_ns: How long ago that was heard.
        memory: What it holds, and its soft limit (bytes); 0 where there is none.
        facts: Which of the facts that its room says are passed on.
    """
    return Watched(
        path=report.path,
        epoch=report.epoch,
        handled=report.handled,
        oldest_ns=oldest_ns(report, age_ns),
        stuck=report.stuck,
        rss_bytes=memory[0],
        soft_bytes=memory[1],
        facts={name: value for name, value in report.facts.items() if name in facts},
    )
