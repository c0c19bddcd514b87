"""Who is silent, and who is only kept waiting: time that a process waits for a processor is not its silence.

Where a thousand processes share two processors each may wait for seconds before it can say anything. One that hangs
does not wait: it sleeps, or it computes, or it is stopped, and the kernel tells these apart.
"""

from collections.abc import Callable

from runtime.process import Running, waited_ns


class Patience:
    """What is known of the children that are silent at the moment; who reports in time costs nothing."""

    def __init__(self, waited: Callable[[int], int] = waited_ns) -> None:
        """Know of nobody. ``waited`` gives how long (ns) a process has waited for a processor so far."""
        self._waited = waited
        self._looks: dict[str, tuple[int, int, int, int]] = {}

    def silent_ns(self, child: Running, heard_ns: int, now_ns: int, limit_ns: int) -> int:
        """Say how long a child has been silent, of its own doing.

        Args:
            child: The child.
            heard_ns: When it was heard last.
            now_ns: Now, of the same clock.
            limit_ns: From which silence on it would be ended. What it waited is counted from half of that on.

        Returns:
            The time (ns) since it was heard, without what it waited for a processor since the first look.
        """
        silent_ns = now_ns - heard_ns
        if 2 * silent_ns < limit_ns:
            self._looks.pop(child.path, None)
            return silent_ns
        return silent_ns - self._waited_since(child, heard_ns, now_ns)

    def _waited_since(self, child: Running, heard_ns: int, now_ns: int) -> int:
        """Look; give how long it waited since the first look of this silence, at most the time that went by."""
        waited = self._waited(child.pid)
        known = self._looks.get(child.path)
        if known is None or known[:2] != (child.pid, heard_ns):
            known = self._looks[child.path] = (child.pid, heard_ns, now_ns, waited)
        return min(now_ns - known[2], waited - known[3])

    def is_kept_waiting(self, child: Running, now_ns: int) -> bool:
        """Say whether a child that is not READY yet has waited for most of the time since this was asked last."""
        waited = self._waited(child.pid)
        pid, _, since_ns, before = self._looks.get(child.path, (0, 0, now_ns, waited))
        self._looks[child.path] = (child.pid, 0, now_ns, waited)
        return pid == child.pid and 2 * (waited - before) > now_ns - since_ns

    def forget(self, path: str) -> None:
        """Drop what is known of a child that has ended."""
        self._looks.pop(path, None)
