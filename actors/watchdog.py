"""The watchdog: if root makes no progress it halts the desk and ends root, so that it is started anew."""

import os
import signal
from typing import Any

from typing_extensions import override

from runtime.clock import NS_PER_S, Clock
from runtime.effects import Effects
from runtime.folder import Sentinel
from runtime.log import Log
from runtime.room import NOTHING, Room
from runtime.words import RootAlive

#: Root speaks twice a second; this long a silence means that it hangs.
SILENCE_NS_MAX = 10 * NS_PER_S
LOOK_NS = NS_PER_S


class Watchdog(Room):
    """Holds no key and opens no store. Resting stops protect positions while the desk is down."""

    def __init__(self, sentinel: Sentinel, clock: Clock, log: Log) -> None:
        """Begin to count from now."""
        self._sentinel, self._clock, self._log = sentinel, clock, log
        self._root_pid = os.getppid()
        self._turns = -1
        self._heard_ns = self._looked_ns = clock.monotonic_ns()

    @override
    def recover(self) -> Effects:
        effects = Effects()
        effects.timer("look", self._clock.monotonic_ns() + LOOK_NS)
        return effects

    @override
    def hear(self, peer: str, epoch: int, word: Any) -> Effects:
        if isinstance(word, RootAlive) and word.turns > self._turns:
            self._turns, self._heard_ns = word.turns, self._clock.monotonic_ns()
        return NOTHING

    @override
    def timer(self, name: str) -> Effects:
        effects = Effects()
        now_ns = self._clock.monotonic_ns()
        if now_ns - self._looked_ns > LOOK_NS + NS_PER_S:
            self._heard_ns = now_ns  # we were the ones who stood still: count anew
        self._looked_ns = now_ns
        if now_ns - self._heard_ns > SILENCE_NS_MAX:
            self._end_root()
        effects.timer("look", now_ns + LOOK_NS)
        return effects

    def _end_root(self) -> None:
        reason = (
            f"the root supervisor made no progress for {SILENCE_NS_MAX // NS_PER_S} s; resume when it is understood"
        )
        self._log.error("root.hangs", pid=self._root_pid)
        self._sentinel.write(reason)
        os.kill(self._root_pid, signal.SIGKILL)

    @override
    def facts(self) -> dict[str, Any]:
        return {"root_turns": self._turns}
