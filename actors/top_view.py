"""What the live screen writes: the status as lines of text. Pure; state is always a word, never only a colour."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.text import Text

from actors.log_view import Entry
from actors.screen_words import decimal_or_none, duration_words, money_words, plain_text

Json = Mapping[str, Any]
GAUGE_CELLS = 10
#: A picture older than this is said to be old.
OLD_S = 2.0
STYLES = {
    "RUNNING": "green",
    "STARTING": "cyan",
    "WAITING": "cyan",
    "STOPPING": "cyan",
    "BACKOFF": "yellow",
    "DEGRADED": "yellow",
    "HALTED": "bold red",
    "QUARANTINED": "bold red",
    "REFUSED": "red",
    "DISABLED": "dim",
    "STOPPED": "dim",
}
LEVEL_STYLES = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "bold red", "DEBUG": "dim"}


def state_text(state: Any) -> Text:
    """Write a state in its colour; the word alone says everything."""
    return Text(plain_text(state), style=STYLES.get(str(state), ""))


def head_text(status: Json, age_s: float) -> Text:
    """Say in one line how the desk is, and how old the picture is where it is not fresh."""
    desk: Json = status.get("desk") or {}
    line = Text.assemble(f"{plain_text(desk.get('mode')).upper()} desk ", state_text(desk.get("state")))
    if age_s > OLD_S:
        line.append(f"  PICTURE {age_s:.0f} s OLD", style="bold red")
    line.append(f"  up {duration_words(desk.get('uptime_s'))}  cash {money_words(desk.get('cash'))}")
    line.append(f"  realised {money_words(desk.get('realised'))}  {plain_text(desk.get('market_time'))[:19]}")
    return line


def row_text(row: Json) -> Text:
    """Write one line of the tree: name, state, and what is not as it should be."""
    name = plain_text(row.get("path")).rsplit("/", 1)[-1]
    line = Text.assemble(f"{name} ", state_text(row.get("state")))
    if row.get("restarts") and row.get("kind") != "node":
        line.append(f" falls {plain_text(row['restarts'])}")
    if row.get("is_late"):
        line.append(f" late {float(row.get('oldest_s') or 0):.0f} s", style="yellow")
    if row.get("current"):
        line.append(f" at {plain_text(row['current'].get('word'))}", style="yellow")
    return line


def gauge(name: str, used: float, most: float, words: str) -> str:
    """Draw a bar that is full where what is used reaches the limit."""
    share = 0.0 if most <= 0 else max(0.0, min(1.0, used / most))
    filled = round(share * GAUGE_CELLS)
    return f"{name:<10.10} [{'#' * filled}{'.' * (GAUGE_CELLS - filled)}] {words}"


def gauges_text(status: Json, positions: Sequence[Json], row: Json) -> str:
    """Show what is used of what there is: money of the desk, then falls and memory of one process."""
    desk: Json = status.get("desk") or {}
    cash = decimal_or_none(desk.get("cash")) or 0
    held = sum(
        abs((decimal_or_none(position.get("quantity")) or 0) * (decimal_or_none(position.get("average_price")) or 0))
        for position in positions
    )
    risk: Json = status.get("risk") or {}
    judged, approved = int(risk.get("judged") or 0), int(risk.get("approved") or 0)
    lines = [
        gauge("invested", float(held), float(cash + held), f"{money_words(held)} of {money_words(cash + held)}"),
        gauge("refused", judged - approved, judged, f"{judged - approved} of {judged} intents"),
    ]
    if row.get("restarts_max"):
        used, most = int(row.get("restarts_in_window") or 0), int(row["restarts_max"])
        lines.append(gauge("falls", used, most, f"{used} of {most} within {float(row.get('window_s') or 0):.0f} s"))
    memory: Json = (row.get("limits") or {}).get("memory_bytes") or {}
    if memory:
        used_mb, most_mb = int(memory.get("used") or 0) >> 20, int(memory.get("max") or 0) >> 20
        lines.append(gauge("memory", used_mb, most_mb, f"{used_mb} of {most_mb} MB"))
    return "\n".join(lines)


def detail_text(row: Json) -> str:
    """Say of the selected process what a glance needs; enter has the rest."""
    if not row:
        return "nothing is selected"
    lines = [
        f"{plain_text(row.get('path'))}  {plain_text(row.get('state'))} {duration_words(row.get('since_s'))}",
        plain_text(row.get("headline")),
    ]
    if row.get("pid"):
        lines.append(
            f"pid {row['pid']}  {int(row.get('rss_bytes') or 0) >> 20} MB  CPU {plain_text(row.get('cpu_pct'))} %  "
            f"lag p99 {float(row.get('lag_p99_ms') or 0):.1f} ms"
        )
        lines.append(f"mailbox {plain_text(row.get('mailbox'))}, oldest {float(row.get('oldest_s') or 0):.1f} s")
    current: Json = row.get("current") or {}
    if current:
        lines.append(f"at {plain_text(current.get('word'))} for {float(current.get('since_s') or 0):.1f} s")
    if row.get("last_error"):
        lines.append(f"last error: {plain_text(row['last_error'])}")
    return "\n".join(lines)


def books_text(positions: Sequence[Json], orders: Sequence[Json]) -> str:
    """List open positions and working orders, one line each."""
    lines = [f"{len(positions)} positions, {len(orders)} open orders"]
    lines += [
        f"{plain_text(position.get('strategy')):<12.12} holds {plain_text(position.get('quantity'))} "
        f"{plain_text(position.get('symbol'))} at {money_words(position.get('average_price'))}"
        for position in positions
    ]
    lines += [
        f"{plain_text(order.get('strategy')):<12.12} {plain_text(order.get('side'))} "
        f"{plain_text(order.get('quantity'))} {plain_text(order.get('symbol'))} {plain_text(order.get('state'))}"
        for order in orders
    ]
    return "\n".join(lines)


def event_text(entry: Entry) -> Text:
    """Write an event on one line: the time of day, the path, the text."""
    line = f"{entry.at[11:19]} {entry.level:<7} {entry.path} {plain_text(entry.text)}"
    return Text(line, style=LEVEL_STYLES.get(entry.level, ""))
