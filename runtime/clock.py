"""The one place that asks the machine for time."""

import time

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000


class Clock:
    """The machine's clocks, in integer nanoseconds. A simulation hands rooms another class with the same methods."""

    def monotonic_ns(self) -> int:
        """Time that never steps; for timeouts, backoff and re-sending. It means nothing outside this boot."""
        return time.monotonic_ns()

    def wall_ns(self) -> int:
        """UTC since the epoch; for records that people read. It may step."""
        return time.time_ns()

    def process_ns(self) -> int:
        """Processor time that this process has used so far, on all its threads."""
        return time.process_time_ns()
