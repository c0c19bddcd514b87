"""One process or supervisor node with everything that is known of it, in 80 columns; and all processes as a table."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from actors.screen_words import WIDTH, counts_words, cut, duration_words, plain_text, time_words, wrapped
from actors.screens import Column, table

Json = Mapping[str, Any]
MIB = 1 << 20
#: A process reports once a second; beyond this it is worth a word.
SILENT_S = 2.5
_LABEL = 13
_PROCESSES = (
    Column("path", "path", most=24, kind="path"),
    Column("state", "state", most=11),
    Column("pid", "pid", is_number=True),
    Column("up", "up", is_number=True),
    Column("falls", "restarts", is_number=True),
    Column("CPU%", "cpu", is_number=True),
    Column("MB", "memory", is_number=True),
    Column("box", "mailbox", is_number=True),
    Column("p99 ms", "lag", is_number=True),
)


def processes_text(tree: Sequence[Json]) -> str:
    """Show all processes, one line each; what is late or hangs is said below the table."""
    rows = [row for row in tree if row.get("kind") != "node"]
    lines = [table(_PROCESSES, [_cells(row) for row in rows])]
    for row in rows:
        lines += [f"  {line}" for line in _now_lines(row)]
    return "\n".join(lines)


def node_text(status: Json, log: Sequence[str] = ()) -> str:
    """Show one path.

    Args:
        status: What ``status`` says of one path.
        log: The last lines of its log.
    """
    node: Json = status.get("node") or {}
    lines = [
        cut(f"{plain_text(node.get('path'))}  {plain_text(node.get('state'))} {_since(node)}  {_who(node)}".rstrip())
    ]
    for label, said in _facts(node, status):
        lines += _labelled(label, said)
    if status.get("below"):
        lines += ["", processes_text(status["below"])]
    falls: Sequence[Json] = status.get("falls") or ()
    if falls:
        lines += ["", "last falls"]
        for fall in falls:
            head = f"{plain_text(fall.get('at'))[:19].replace('T', ' ')} {plain_text(fall.get('context'))}"
            lines += [f"  {line}" for line in wrapped(f"{head}: {plain_text(fall.get('reason'))}", "    ")]
    if log:
        lines += ["", "last words of its log", *(cut(f"  {plain_text(line)}") for line in log)]
    return "\n".join(lines)


def _since(node: Json) -> str:
    return f"for {duration_words(node.get('since_s'))}" if node.get("since_s") is not None else ""


def _who(node: Json) -> str:
    pid = f"pid {plain_text(node['pid'])}  " if node.get("pid") else ""
    return pid + (f"epoch {plain_text(node['epoch'])}" if node.get("epoch") else "")


def _facts(node: Json, status: Json) -> list[tuple[str, str]]:
    falls = (
        f"{plain_text(node.get('restarts'))} in all, {plain_text(node.get('restarts_in_window'))} of "
        f"{plain_text(node.get('restarts_max'))} allowed within {_short(node.get('window_s'))} s"
    )
    facts = [("does", str(node.get("headline") or "")), ("note", str(node.get("note") or "")), ("restarts", falls)]
    facts += [(key.replace("_", " "), str(node.get(key) or "")) for key in ("last_exit", "last_error")]
    if node.get("pid"):
        patience: Json = status.get("patience") or {}
        facts += [
            ("now", "; ".join(_now_lines(node)) or f"waits; its last word was {plain_text(node.get('last_word'))}"),
            ("messages", _messages(node)),
            ("lag", _lag(node)),
            ("uses", _uses(node)),
            ("patience", ", ".join(f"{key.removesuffix('_s')} {_short(value)} s" for key, value in patience.items())),
        ]
    told: Json = node.get("facts") or {}
    counts = {key: value for key, value in told.items() if isinstance(value, int) and not isinstance(value, bool)}
    why: Json = told.get("why_not") or {}
    facts += [("counts", counts_words({k: v for k, v in counts.items() if not k.endswith("_ns")}))] if counts else []
    facts += [("why not", counts_words(why))] if why else []
    facts += [(key, _told(told[key])) for key in ("day", "pace") if told.get(key)]
    facts += [("wanted flat", "; ".join(" ".join(map(str, key)).strip() for key in told.get("wanted_flat") or ()))]
    facts += [("recording", _recording(told["recording"]))] if told.get("recording") else []
    return [(label, said) for label, said in facts if said]


def _told(told: Json) -> str:
    """Say figures by name, those that belong together in brackets, and leave out what is not there."""
    parts: list[str] = []
    for key, value in told.items():
        name = key.removesuffix("_ns").replace("_", " ")
        if isinstance(value, Mapping):
            inner = _told(cast("Json", value))
            parts += [f"{name} ({inner})"] if inner else []
        elif value is not None and value != "":
            parts.append(f"{name} {time_words(value) if key.endswith('_ns') else plain_text(value)}")
    return ", ".join(parts)


def _recording(told: Json) -> str:
    """Say how much is recorded, and whether nothing more is."""
    used, most = (int(told.get(key) or 0) // MIB for key in ("bytes", "most"))
    size = f"{_short(told.get('words'))} words, {used} of {most} MB"
    ended = plain_text(told.get("ended"))
    return f"{size}; it ended: {ended}" if ended else size


def _now_lines(row: Json) -> list[str]:
    """Say what a process hangs in, and that it is late."""
    lines: list[str] = []
    current: Json = row.get("current") or {}
    name = plain_text(row.get("path"))
    if current:
        lines.append(f"{name} has been at {plain_text(current.get('word'))} for {_short(current.get('since_s'))} s")
    elif float(row.get("progress_age_s") or 0) > SILENT_S:
        lines.append(f"{name} has said nothing for {_short(row.get('progress_age_s'))} s and is at no word")
    if row.get("is_late"):
        lines.append(f"{name}: a message may have waited {_short(row.get('oldest_s'))} s")
    return lines


def _messages(node: Json) -> str:
    said = f"{_short(node.get('handled'))} handled; mailbox {plain_text(node.get('mailbox'))}"
    said += f", oldest {_short(node.get('oldest_s'))} s; {plain_text(node.get('unacknowledged'))} without receipt"
    stuck: Json = node.get("stuck_s") or {}
    slow = [f"{plain_text(peer)} for {_short(span)} s" for peer, span in stuck.items() if float(span) >= 1]
    return said + (f" ({', '.join(slow)})" if slow else "")


def _lag(node: Json) -> str:
    slowest: Json = node.get("slowest") or {}
    said = f"p50 {_short(node.get('lag_p50_ms'))} ms, p99 {_short(node.get('lag_p99_ms'))} ms within the last minute"
    if slowest.get("word"):
        said += f"; longest turn now {_short(slowest.get('ms'))} ms ({plain_text(slowest['word'])})"
    return said


def _uses(node: Json) -> str:
    said = [f"{int(node.get('rss_bytes') or 0) // MIB} MB", f"CPU {_short(node.get('cpu_pct'))} %"]
    said.append(f"{_short(node.get('cpu_s'))} s of processor time")
    for name, limit in (node.get("limits") or {}).items():
        used, most = limit.get("used"), limit.get("max")
        if str(name).endswith("bytes"):
            used, most = (None if value is None else f"{value / MIB:.0f} MB" for value in (used, most))
        what = plain_text(name).removesuffix("_bytes").replace("_", " ")
        said.append(
            f"{what} {plain_text(used)} of {plain_text(most)}" if used is not None else f"{what} at most {most}"
        )
    return ", ".join(said)


def _cells(row: Json) -> Json:
    is_up = bool(row.get("pid"))
    return {
        **row,
        "up": duration_words(row.get("since_s")) if row.get("state") == "RUNNING" else "",
        "cpu": _short(row.get("cpu_pct")) if is_up else "",
        "memory": str(int(row.get("rss_bytes") or 0) // MIB) if is_up else "",
        "mailbox": row.get("mailbox") if is_up else "",
        "lag": _short(row.get("lag_p99_ms")) if is_up else "",
    }


def _labelled(label: str, said: str) -> list[str]:
    return [cut(line) for line in wrapped(f"  {label:<{_LABEL - 2}} {plain_text(said)}", " " * (_LABEL + 1))]


def _short(value: Any) -> str:
    """Write a figure with at most one digit behind the point; "-" for nothing."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "-"
    return f"{value:,.0f}" if value >= WIDTH or value == int(value) else f"{value:.1f}"
