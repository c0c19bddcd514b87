"""What the watchdog takes for a sign of trouble, judged from what root knows of each process. Pure: time comes in."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from actors.alarm_board import Finding
from actors.strategy_facts import believed
from desk.units import NS_PER_S
from runtime.words import Watched

MIB = 1 << 20
MARKET_DATA = "market_data"
#: A live feed that gives nothing for so long is silent.
FEED_SILENT_NS = 60 * NS_PER_S
#: A step of the market that takes so long stands still.
STEP_NS_MAX = 20 * NS_PER_S
#: A strategy that leaves a published bar for so long evaluates none.
BAR_NS_MAX = 15 * NS_PER_S
#: A message that may have waited so long is old.
OLDEST_NS_MAX = 5 * NS_PER_S
#: A message that has no receipt for so long is one that the other side does not take.
RECEIPT_NS_MAX = 10 * NS_PER_S
#: Below this the disk is nearly full: the journal and the logs need room.
DISK_FREE_MIN = 500 * MIB
#: What the rules read of what rooms say of themselves; root passes on nothing else.
WATCHED_FACTS = frozenset({"heads", "last_bars", "events", "is_ended", "step", "waits_for"})


class AlarmRules:
    """Remembers since when each figure stands still; a figure of another incarnation counts as one that moved."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self._still: dict[tuple[str, str], tuple[object, int]] = {}

    def look(self, rows: Sequence[Watched], disk_free_bytes: int, now_ns: int) -> list[Finding]:
        """Judge one table of root's.

        Args:
            rows: What root knows of every process that is READY.
            disk_free_bytes: What an ordinary user may still write below the state folder; -1 where nobody knows.
            now_ns: Monotonic time.

        Returns:
            What is not as it should be now. Nothing of a process that is not READY: root says that itself.
        """
        running = {row.path: row for row in rows}
        self._still = {key: still for key, still in self._still.items() if key[0] in running}
        found: list[Finding] = []
        if 0 <= disk_free_bytes < DISK_FREE_MIN:
            found.append(Finding("disk_low", "", f"disk nearly full: {disk_free_bytes // MIB} MiB are left"))
        market = running.get(MARKET_DATA)
        if market is not None:
            found += self._market(market, now_ns)
        heads = cast("Mapping[str, Any]", market.facts.get("heads") or {}) if market is not None else {}
        for row in running.values():
            found += _links(row)
            found += self._bars(row, heads, now_ns)
        return found

    def _market(self, row: Watched, now_ns: int) -> Iterator[Finding]:
        facts = row.facts
        if facts.get("is_ended"):
            return
        if "step" not in facts:
            silent_ns = self._still_ns(row, "events", facts.get("events"), now_ns)
            if silent_ns >= FEED_SILENT_NS:
                yield Finding("feed_silent", row.path, f"feed silent: no tick for {silent_ns // NS_PER_S} s")
            return
        waits_for = cast("Sequence[object]", facts.get("waits_for") or ())
        stands_ns = self._still_ns(row, "step", (facts.get("step"), bool(waits_for)), now_ns)
        if waits_for and stands_ns >= STEP_NS_MAX:
            names = ", ".join(map(str, waits_for[:3])) + (" …" if len(waits_for) > 3 else "")  # noqa: PLR2004 - a line
            yield Finding("market_stands", row.path, f"the market has waited {stands_ns // NS_PER_S} s for {names}")

    def _bars(self, row: Watched, heads: Mapping[str, Any], now_ns: int) -> Iterator[Finding]:
        last: Mapping[str, int] = believed(row.path, row.facts).get("last_bars") or {}
        for topic, sequence in last.items():
            is_behind = heads.get(topic, 0) > sequence
            behind_ns = self._still_ns(row, topic, (sequence, is_behind), now_ns)
            if is_behind and behind_ns >= BAR_NS_MAX:
                text = f"{row.path} evaluated no bar for {behind_ns // NS_PER_S} s though {topic} advanced"
                yield Finding("no_bar", f"{row.path} {topic}", text)

    def _still_ns(self, row: Watched, name: str, value: object, now_ns: int) -> int:
        """Say for how long a figure of a process has been the same."""
        key, mark = (row.path, name), (row.epoch, value)
        known = self._still.get(key)
        if known is None or known[0] != mark:
            known = self._still[key] = (mark, now_ns)
        return now_ns - known[1]


def _links(row: Watched) -> Iterator[Finding]:
    if row.oldest_ns > OLDEST_NS_MAX:
        text = f"{row.path} is late: a message may have waited {row.oldest_ns // NS_PER_S} s for it"
        yield Finding("mailbox_old", row.path, text)
    for peer, stuck_ns in row.stuck.items():
        if stuck_ns > RECEIPT_NS_MAX:
            text = f"{peer} acknowledges nothing: {row.path} has waited {stuck_ns // NS_PER_S} s for a receipt"
            yield Finding("no_receipt", f"{row.path} {peer}", text)
    if 0 < row.soft_bytes < row.rss_bytes:
        text = f"{row.path} uses {row.rss_bytes // MIB} MiB of memory, over the soft limit of {row.soft_bytes // MIB}"
        yield Finding("memory_soft", row.path, text)
