"""What root makes of one look at a child: it keeps its limits and is heard, or it must be ended, and why."""

import signal
from contextlib import suppress
from pathlib import Path

from runtime.beacon import read_beacon
from runtime.child import log_file
from runtime.clock import NS_PER_S
from runtime.log import Log
from runtime.patience import Patience
from runtime.process import Running
from runtime.spec import WorkerSpec
from runtime.warden import Warden, file_bytes

#: For how long root's own lateness excuses everyone's.
EXCUSE_NS = 3 * NS_PER_S


class Watch:
    """Looks for silence and for limits that are not kept. It ends nobody: it says why one must end."""

    def __init__(self, state: Path, sockets: Path, log: Log) -> None:
        """Know of no child yet; the logs lie in the state folder, the beacons among the sockets."""
        self._state, self._sockets = state, sockets
        self.warden = Warden(state, log)
        self._patience = Patience()
        self._excused_until_ns = 0
        #: How long the file of stacks was when a silent child was asked for its own.
        self._dumped: dict[str, int] = {}

    def excuse_all(self, now_ns: int) -> None:
        """Root itself was late: nobody is silent for a while."""
        self._excused_until_ns = now_ns + EXCUSE_NS

    def forget(self, path: str) -> None:
        """Drop what is known of a child that has ended."""
        self._dumped.pop(path, None)
        self.warden.forget(path)
        self._patience.forget(path)

    def is_kept_waiting(self, child: Running, now_ns: int) -> bool:
        """Say whether a child that is not READY yet has mostly waited for a processor since the last look."""
        return self._patience.is_kept_waiting(child, now_ns)

    def excess(self, child: Running, spec: WorkerSpec, now_ns: int) -> str:
        """Say which limit a child does not keep; "" where it keeps all of them."""
        return self.warden.look(child, spec.limits, now_ns)

    def silence(self, child: Running, spec: WorkerSpec, heard_ns: int, now_ns: int) -> str:
        """Say that a child hangs, and where; "" where it does not, or was only now asked for its stack.

        Args:
            child: The child.
            spec: What it was started with.
            heard_ns: When it was heard last.
            now_ns: Now, of the same clock.
        """
        limit_ns = spec.progress_timeout_ns
        silent_ns = self._patience.silent_ns(child, heard_ns, now_ns, limit_ns)
        if now_ns < self._excused_until_ns or silent_ns < limit_ns:
            self._dumped.pop(child.path, None)
            return ""
        stacks = log_file(self._state, child.path, "stack")
        if child.path not in self._dumped:
            self._dumped[child.path] = file_bytes(stacks)
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(child.pidfd, signal.SIGUSR2)
            return ""  # until the next round it may write its stack
        text = f"no progress for {silent_ns / NS_PER_S:.1f} s{self._at_what(child.path)}"
        has_written = file_bytes(stacks) > self._dumped[child.path]
        return text + (
            f"; its stack is in log/{stacks.name}" if has_written else "; it wrote no stack, as one that is stopped"
        )

    def _at_what(self, path: str) -> str:
        """Say at which word a process that is silent stands still, where it said so."""
        now = read_beacon(self._sockets, path)
        return f", at {now.word}" if now is not None and now.began_ns and now.word else ""
