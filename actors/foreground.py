"""What a desk in the foreground shows: its processes coming up, the tree once it is up, and its fills."""

from collections.abc import Callable

from actors.screen_words import plain_text
from actors.screens import status_text
from actors.settings import Settings
from actors.status import desk_status
from runtime.clock import Clock
from runtime.folder import Sentinel
from runtime.root import Root
from runtime.supervision_words import Row


class Foreground:
    """Prints what is new, twice a second. It reads only what root already knows."""

    def __init__(
        self, settings: Settings, sentinel: Sentinel, clock: Clock, say: Callable[[str], None], status: str
    ) -> None:
        """Start with nothing shown; ``status`` is the command that shows the desk where it was started."""
        self._settings, self._sentinel, self._clock, self._say = settings, sentinel, clock, say
        self._status = status
        self._states: dict[str, tuple[str, int]] = {}
        self._fills = 0
        self._is_up = False
        self._is_stopping = False

    def look(self, root: Root) -> None:
        """Show what changed since the last look."""
        if root.stop_reason and not self._is_stopping:
            self._is_stopping = True
            self._say(f"stopping: {plain_text(root.stop_reason)}")
        for worker in root.changed_workers():
            self._show_process(*worker)
        if not self._is_up and root.is_up():
            self._is_up = True
            status = root.status()
            count = sum(1 for row in status["tree"] if row["pid"])
            self._say(f"ready in {status['uptime_s']:.1f} s, {count} actors\n")
            halted = self._sentinel.reason() or ""
            document = desk_status(status, self._settings, halted=halted, now_ns=self._clock.wall_ns())
            self._say(status_text(document))
            self._say(f"\nlook at it with: {self._status}    trades    why NAME    stop with Ctrl-C\n")
        self._show_fills(root.facts("execution"))

    def _show_fills(self, facts: dict[str, object]) -> None:
        """Show the newest fill, and how many came since the last look; a successor counts from nothing."""
        fills = int(str(facts.get("fills", 0)))
        if not fills or fills == self._fills:
            return
        news = fills - self._fills if fills > self._fills else fills
        more = f"  ({news - 1} more before it)" if news > 1 else ""
        self._fills = fills
        self._say(f"fill {fills}  {facts['last_fill']}{more}")

    def _show_process(self, row: Row, pid: int | None) -> None:
        path, state, restarts = row.path, row.state.value, row.restarts_total
        was = self._states.get(path)
        if was == (state, restarts):
            return
        self._states[path] = (state, restarts)
        if was is not None and restarts > was[1]:
            self._say(f"{path} fell: {plain_text(row.last_error)}; restart {restarts}")
        elif not self._is_up and state == "RUNNING":
            self._say(f"  {path:<28} ready  (pid {pid})")
        elif self._is_up and not self._is_stopping and was is not None and was[0] != state:
            self._say(f"{path} is {state}")
