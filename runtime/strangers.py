"""Orphans of our children's children: root adopts them, for nobody else does, and ends them."""

import os
import signal
from collections.abc import Set as AbstractSet
from contextlib import suppress
from pathlib import Path

from runtime.log import Log
from runtime.process import END_MS, has_ended

#: How often root looks at its own end for orphans that its killing has made.
LAST_ROUNDS_MAX = 1000


class Strangers:
    """Ends whoever is our child and was not started by us. One that cannot be ended is named once, and tried again."""

    def __init__(self, log: Log) -> None:
        """Know of none."""
        self._log = log
        self._undying: set[int] = set()

    def end(self, known: AbstractSet[int]) -> None:
        """End all but these processes of ours."""
        found = _strangers(known)
        self._undying.intersection_update(found)
        for pid in found:
            if pid in self._undying:
                _end(pid, 0)
                continue
            self._log.warning("stranger.killed", pid=pid)
            if not _end(pid, END_MS):
                self._log.error("stranger.undying", pid=pid, meaning="the kernel holds it, or who traces it")
                self._undying.add(pid)

    def leave_none(self, known: AbstractSet[int]) -> None:
        """End what left its process group and was orphaned by the last falls, and what that leaves in turn."""
        left = set(known)
        for _ in range(LAST_ROUNDS_MAX):
            found = _strangers(left)
            for pid in found:
                if not _end(pid, 0 if pid in self._undying else END_MS):
                    left.add(pid)  # whoever comes after us reaps it
            if not found:
                return


def _strangers(known: AbstractSet[int]) -> list[int]:
    """Name our children that we did not start."""
    own = os.getpid()
    try:
        text = Path(f"/proc/self/task/{own}/children").read_text(encoding="ascii")
    except OSError:
        return []
    return [pid for pid in map(int, text.split()) if pid not in known]


def _end(pid: int, patience_ms: int) -> bool:
    """Kill and reap an orphan that root has adopted; False where it is not gone in time.

    The kernel may hold it, as one that waits for a dead disk, or whoever traces it.
    """
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    try:
        pidfd = os.pidfd_open(pid)
        try:
            has_ended(pidfd, patience_ms)
        finally:
            os.close(pidfd)
        return os.waitpid(pid, os.WNOHANG) != (0, 0)
    except (ChildProcessError, ProcessLookupError):
        return True
