"""Time that passes only when the simulation lets it pass."""

from typing_extensions import override

from runtime.clock import NS_PER_S, Clock

#: What the monotonic clock shows at the beginning; it means nothing, as on a real machine.
BEGIN_NS = 1_000 * NS_PER_S


class VirtualClock(Clock):
    """One clock for all rooms: monotonic and wall time go together, and wall time never steps."""

    def __init__(self, wall_ns: int) -> None:
        """Begin at this wall time."""
        self.now_ns = BEGIN_NS
        self._offset_ns = wall_ns - BEGIN_NS

    @override
    def monotonic_ns(self) -> int:
        return self.now_ns

    @override
    def wall_ns(self) -> int:
        return self.now_ns + self._offset_ns

    @override
    def process_ns(self) -> int:
        return 0
