"""The watchdog: it halts the desk and ends root where root hangs, and raises alarms about everyone else's progress."""

import os
import signal
from pathlib import Path
from typing import Any

from typing_extensions import override

from actors.alarm_board import AlarmBoard
from actors.alarm_rules import AlarmRules
from runtime.clock import NS_PER_S, Clock
from runtime.effects import Effects
from runtime.folder import Sentinel
from runtime.log import Log
from runtime.room import NOTHING, Room
from runtime.words import RootAlive, Watched, WatchTable

#: Root speaks twice a second; this long a silence means that it hangs.
SILENCE_NS_MAX = 10 * NS_PER_S
LOOK_NS = NS_PER_S
#: The most alarms that are shown; the log has all.
ALARMS_SHOWN = 50


class Watchdog(Room):
    """Holds no key and opens no store. Resting stops protect positions while the desk is down.

    An alarm changes nothing by itself: it is logged, and stands in the status until its cause is gone.
    """

    def __init__(self, state: Path, clock: Clock, log: Log) -> None:
        """Begin to count from now."""
        self._sentinel, self._state, self._clock, self._log = Sentinel(state), state, clock, log
        self._root_pid = os.getppid()
        self._turns = -1
        self._heard_ns = self._looked_ns = clock.monotonic_ns()
        self._rules, self._board = AlarmRules(), AlarmBoard()
        self._number = 0
        self._rows: list[Watched] = []
        self._disk_free_bytes = -1

    @override
    def recover(self) -> Effects:
        effects = Effects()
        effects.timer("look", self._clock.monotonic_ns() + LOOK_NS)
        return effects

    @override
    def hear(self, peer: str, epoch: int, word: Any) -> Effects:
        if isinstance(word, RootAlive) and word.turns > self._turns:
            self._turns, self._heard_ns = word.turns, self._clock.monotonic_ns()
        elif isinstance(word, WatchTable):
            self._take(word)
        return NOTHING

    def _take(self, table: WatchTable) -> None:
        """Put the parts of a table together, and judge it when it is complete; of a torn one nothing is judged."""
        if table.number != self._number:
            self._number, self._rows = table.number, []
        self._rows += table.rows
        if not table.is_last:
            return
        now_ns = self._clock.monotonic_ns()
        raised, cleared = self._board.look(self._rules.look(self._rows, self._disk_free_bytes, now_ns), now_ns)
        for alarm in raised:
            self._log.warning("alarm.raised", code=alarm.finding.code, text=alarm.finding.text)
        for alarm in cleared:
            self._log.info("alarm.cleared", code=alarm.finding.code, text=alarm.finding.text)

    @override
    def timer(self, name: str) -> Effects:
        effects = Effects()
        now_ns = self._clock.monotonic_ns()
        if now_ns - self._looked_ns > LOOK_NS + NS_PER_S:
            self._heard_ns = now_ns  # we were the ones who stood still: count anew
        self._looked_ns = now_ns
        if now_ns - self._heard_ns > SILENCE_NS_MAX:
            self._end_root()
        self._disk_free_bytes = _free_bytes(self._state)
        effects.timer("look", now_ns + LOOK_NS)
        return effects

    def _end_root(self) -> None:
        reason = (
            f"the root supervisor made no progress for {SILENCE_NS_MAX // NS_PER_S} s; resume when it is understood"
        )
        self._log.error("root.hangs", pid=self._root_pid)
        try:
            self._sentinel.write(reason)
        finally:  # a disk that takes no sentinel does not save a root that hangs
            os.kill(self._root_pid, signal.SIGKILL)

    @override
    def facts(self) -> dict[str, Any]:
        now_ns = self._clock.monotonic_ns()
        standing = self._board.standing()
        alarms = [
            {
                "code": alarm.finding.code,
                "path": alarm.finding.path,
                "text": alarm.finding.text,
                "since_s": round((now_ns - alarm.since_ns) / NS_PER_S, 1),
            }
            for alarm in standing[:ALARMS_SHOWN]
        ]
        return {
            "root_turns": self._turns,
            "alarms": alarms,
            "alarms_more": max(0, len(standing) - ALARMS_SHOWN),
            "disk_free_bytes": self._disk_free_bytes,
        }


def _free_bytes(folder: Path) -> int:
    """Say what an ordinary user may still write; -1 where the system does not tell."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return -1
    return found.f_bavail * found.f_frsize
