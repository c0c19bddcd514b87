"""The audit trail and the list of clients, as rows for programs and as text for people."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from actors.console.audit import Entry
from actors.screen_words import plain_text, time_words, wrapped

Row = dict[str, Any]


def audit_view(trail: Iterable[tuple[int, Entry]], tail: int | None = None) -> list[Row]:
    """Give the trail as plain rows, oldest first, at most ``tail`` of them.

    An answer joins the change that it belongs to, as its ``code``, ``error`` and ``result``; a change without one
    has the code "" (it is under way, or nobody knows what came of it).
    """
    rows: list[Row] = []
    asked: dict[tuple[str, str], Row] = {}
    for number, entry in trail:
        place = entry.key, entry.request
        row = {"number": number, **msgspec.to_builtins(msgspec.structs.asdict(entry))}
        if entry.kind == "answered" and place in asked:
            asked[place].update(code=entry.code, error=entry.error, result=entry.result, answered_ns=entry.at_ns)
            continue
        if entry.kind == "asked":
            asked[place] = row
        rows.append(row)
    return rows[-tail:] if tail else rows


def audit_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Show the trail, one paragraph a record: number, time, who, what, why, and what came of it."""
    lines: list[str] = []
    for row in rows:
        lines += wrapped(f"{row['number']} {time_words(row['at_ns'])} {plain_text(_sentence(row))}", "    ")
    return "\n".join(lines) or "nothing was changed, and nobody was refused"


def keys_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Show the clients, one line each."""
    lines = [f"{plain_text(row['name']):<24} {plain_text(row['role']):<8} {plain_text(row['key'])}" for row in rows]
    return "\n".join([f"{'name':<24} {'role':<8} key", *lines]) if lines else "no client is listed"


def _sentence(row: Mapping[str, Any]) -> str:
    who = row["client"] or (f"key {row['key']}" if row["key"] else "somebody")
    if row["peer"]:
        place = "process" if row["door"] == "local" else "at"  # the kernel names a local peer: host, uid, gid, pid
        who += f" {place} {row['peer'].rpartition(':')[2]}"
    more = f" ({row['left_out']} more were left out)" if row["left_out"] else ""
    if row["kind"] == "noted":
        return f"{row['error'] or row['reason']}{more}"
    if row["kind"] == "refused":
        what = f" {row['verb']}" if row["verb"] else ""
        return f"{who}: refused{what}: {row['code']}: {row['error']}{more}"
    told = " ".join(f"{key}={value}" for key, value in row["arguments"].items())
    came = {"": "no answer yet", "ok": "done"}.get(row["code"], f"{row['code']}: {row['error']}")
    return f"{who}: {' '.join(filter(None, (row['verb'], told)))} ({row['reason']}): {came}"
