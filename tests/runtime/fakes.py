"""Fakes of the runtime's own things; each passes the contract of the real one."""

from typing_extensions import override

from runtime.clock import Clock


class HandClock(Clock):
    """A clock that moves when it is told to, and by a fixed step whenever it is read."""

    def __init__(self, step_ns: int = 0) -> None:
        """Begin at zero."""
        self._now_ns = 0
        self._step_ns = step_ns

    @override
    def monotonic_ns(self) -> int:
        """Give the time, then let the step pass."""
        now_ns = self._now_ns
        self._now_ns += self._step_ns
        return now_ns

    @override
    def wall_ns(self) -> int:
        """Give the same time; this clock never steps."""
        return self._now_ns

    def advance_ns(self, span_ns: int) -> None:
        """Let time pass."""
        self._now_ns += span_ns
