"""The status dump: what root knows of the processes and what the rooms say of themselves, as one document."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from actors.revision import git_revision, settings_hash
from actors.screen_words import money_words
from actors.settings import Settings
from actors.strategy_facts import believed
from actors.topics import strategy_at, strategy_path
from desk.units import NS_PER_S

Json = Mapping[str, Any]
#: A message that may have waited longer than this makes a process late, and the desk degraded.
OLDEST_S_MAX = 5.0
DEGRADED = frozenset({"BACKOFF", "QUARANTINED", "STARTING", "WAITING", "STOPPING"})


def iso(ts_ns: int) -> str:
    """Write a time (ns, UTC) as ISO text; "" for 0."""
    return datetime.fromtimestamp(ts_ns / NS_PER_S, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ") if ts_ns else ""


def desk_status(
    root: Json, settings: Settings, *, halted: str, now_ns: int, alarms: Sequence[str] = (), configuration: str = ""
) -> dict[str, Any]:
    """Compose the document.

    Args:
        root: What the root supervisor answered.
        settings: The settings in force.
        halted: Why the desk is halted, "" where it is not.
        now_ns: Wall time.
        alarms: What an operator should know first, in words.
        configuration: Why the file as it is does not hold, "" where it does.

    Returns:
        ``{"desk", "tree", "strategies", "feed", "store", "watch", "alarms", …}``; plain JSON values, decimals as text.
        ``watch`` is what the watchdog raised, ``alarms`` everything in words.
    """
    rows = _rows(root)
    market = _facts(rows, "market_data")
    execution = _facts(rows, "execution")
    watch = _facts(rows, "watchdog")
    overrides: Mapping[str, bool] = root["overrides"]
    strategies = [_strategy(rows.get(strategy_path(entry.name)), entry, overrides) for entry in settings.strategies]
    notes = {strategy_path(entry["name"]): entry["note"] for entry in strategies}
    state = _state(root, rows, halted, execution, configuration)
    tree = [
        {**_shown(row), "note": notes.get(row["path"], "") if row["kind"] != "node" else ""} for row in rows.values()
    ]
    return {
        "desk": {
            "mode": "paper",
            "state": state,
            "version": version("bulkhead"),
            "git": git_revision(),
            "config_hash": settings_hash(settings),
            "pid": root["pid"],
            "feed": settings.feed.kind.value,
            "started_at": iso(now_ns - int(root["uptime_s"] * NS_PER_S)),
            "uptime_s": round(root["uptime_s"], 1),
            "market_time": iso(int(market.get("market_ns", 0))),
            "halted": halted,
            "configuration": configuration,
            "gate": execution.get("gate", "execution is not up"),
            "reconciled": execution.get("verdict", ""),
            "cash": execution.get("cash", ""),
            "realised": execution.get("realised", ""),
            "restarts": sum(int(row["restarts"]) for row in rows.values() if row["kind"] != "node"),
            "overrides": root["overrides"],
        },
        "tree": tree,
        "strategies": strategies,
        "feed": {
            "kind": settings.feed.kind.value,
            "events": market.get("events", 0),
            "bars": market.get("bars", 0),
            "step": market.get("step", 0),
            "is_ended": market.get("is_ended", False),
            "refused": market.get("refused", {}),
            "waits_for": market.get("waits_for") or market.get("waits_to_begin_for") or [],
        },
        "risk": _facts(rows, "risk"),
        "execution": execution,
        "venues": {path: _facts(rows, path) for path in rows if path.startswith("venues/")},
        "store": {"journal_sequence": execution.get("journal", 0), "disk_free_bytes": watch.get("disk_free_bytes")},
        "watch": list(watch.get("alarms", ())),
        "alarms": [*alarms, *_alarms(rows, halted), *(str(alarm["text"]) for alarm in watch.get("alarms", ()))],
    }


def node_status(root: Json, path: str, settings: Settings) -> dict[str, Any]:
    """Compose what is known of one path.

    Args:
        root: What the root supervisor answered for that path.
        path: The path, of a process or of a supervisor node.
        settings: The settings in force.

    Returns:
        ``{"node", "below", "falls", "patience", "strategy"}``: the row of the path itself with what it says of
        itself under ``facts``, the rows of all below it, its last falls (oldest first), root's patience with it, and
        its entry of ``strategies`` ({} where it is none).
    """
    rows = _rows(root)
    row = rows[path]
    entry = settings.strategy(name) if (name := strategy_at(path)) else None
    strategy = _strategy(row, entry, root["overrides"]) if entry is not None else {}
    return {
        "node": {**_shown(row), "facts": row["facts"] or row["last_facts"], "note": strategy.get("note", "")},
        "below": [_shown(rows[below]) for below in rows if below != path],
        "falls": [{**fall, "at": iso(fall["at_ns"])} for fall in root["falls"]],
        "patience": root["patience"],
        "strategy": strategy,
    }


def _rows(root: Json) -> dict[str, Json]:
    """Give the rows by path, with what their processes say of themselves as far as it is believed."""
    told = ("facts", "last_facts")
    return {row["path"]: {**row, **{key: believed(row["path"], row[key]) for key in told}} for row in root["tree"]}


def _shown(row: Json) -> dict[str, Any]:
    """Give a row without what the room says of itself; that stands under other keys, and in its headline."""
    plain = {key: value for key, value in row.items() if key not in {"facts", "last_facts"}}
    return {**plain, "headline": _headline(row), "is_late": _is_late(row)}


def _is_late(row: Json) -> bool:
    """Say whether a message waits too long in a process that runs."""
    return row["state"] == "RUNNING" and row["oldest_s"] > OLDEST_S_MAX


def _facts(rows: Mapping[str, Json], path: str) -> dict[str, Any]:
    row = rows.get(path)
    return dict(row["facts"]) if row is not None else {}


def _strategy(row: Json | None, entry: Any, overrides: Mapping[str, bool]) -> dict[str, Any]:
    facts: Json = (row["facts"] or row["last_facts"]) if row is not None else {}
    is_live = row is None or row["pid"] is not None  # what a process that is down said of its money may be outdated
    override = overrides.get(strategy_path(entry.name))
    restarts = int(row["restarts"]) if row is not None else 0
    return {
        "name": entry.name,
        "symbol": entry.symbols[0] if len(entry.symbols) == 1 else ",".join(entry.symbols),
        "symbols": list(entry.symbols),
        "enabled": row is not None and row["state"] != "DISABLED",
        "configured": entry.enabled,
        "override": override,
        "note": _note(row, entry, override),
        "state": row["state"] if row is not None else "REFUSED",
        "refusal": entry.refusal,
        "signals_generated": facts.get("signals_generated", 0),
        "orders_sent": facts.get("orders_sent", 0),
        "ticks_processed": facts.get("ticks_processed", 0),
        "bars_evaluated": facts.get("bars_evaluated", 0),
        "bars_missed": facts.get("bars_missed", 0),
        "last_bars": facts.get("last_bars", {}),
        "last_tick_time": iso(int(facts.get("last_tick_ns", 0))) or None,
        "error_count": restarts + int(facts.get("malformed_signals", 0)),
        "last_error": row["last_error"] if row is not None and row["state"] != "DISABLED" else "",
        "position": facts.get("position", {}) if is_live else None,
        "pnl_day": facts.get("pnl_day", "0") if is_live else None,
        "pnl": facts.get("pnl", "0") if is_live else None,
        "why_not": facts.get("why_not", {}),
        "code_hash": facts.get("code", ""),
        "pending_parameters": facts.get("pending_parameters", {}),
        "refused_parameters": facts.get("refused_parameters", ""),
        "waits_to_become": facts.get("waits_to_become", ""),
        "rebuilt": facts.get("rebuilt", 0),
        "rebuilt_reason": facts.get("rebuilt_reason", ""),
        "code": facts.get("code", ""),
        "recording": facts.get("recording", {}),
        "uptime_s": round(float(row["since_s"]), 1) if row is not None and row["state"] == "RUNNING" else 0.0,
    }


def _note(row: Json | None, entry: Any, override: bool | None) -> str:
    """Say who disabled a strategy and why, or that an operator goes before the configuration; "" where neither."""
    if row is None:
        return ""
    said = f"the configuration says enabled: {str(entry.enabled).lower()}"
    if row["state"] != "DISABLED":
        return f"enabled by an operator; {said}" if override else ""
    if override is None:
        return "disabled in the configuration"
    why = str(row["last_error"]).removeprefix("disabled: ").removeprefix("disabled by an operator")
    return f"disabled by an operator{': ' + why if why else ''}; {said}"


def _state(root: Json, rows: Mapping[str, Json], halted: str, execution: Json, configuration: str) -> str:
    if root["stopping"]:
        return "STOPPING"
    if halted:
        return "HALTED"
    if not root["is_up"]:
        comes_up = any(row["state"] in {"WAITING", "STARTING"} and not row["restarts"] for row in rows.values())
        return "STARTING" if comes_up or not execution.get("verdict") else "DEGRADED"
    is_degraded = any(row["state"] in DEGRADED or _is_late(row) for row in rows.values())
    return "DEGRADED" if is_degraded or configuration or execution.get("gate") else "RUNNING"


def _venue_headline(facts: Json) -> str:
    if "connected" not in facts:  # the paper venue
        return f"{facts.get('orders_resting', 0)} resting  cash {money_words(facts.get('cash'))}"
    link = "connected" if facts["connected"] else "NOT CONNECTED"
    return f"{link}  {facts['orders_open']} open  {facts['under_way']} under way  {facts['unclear']} unclear"


def _headline(row: Json) -> str:
    """Say in a few words what a process is about."""
    facts: Json = row["facts"]
    match row["path"]:
        case "execution":
            gate = facts.get("gate")
            breaker = (facts.get("pace") or {}).get("breaker") or {}
            tail = f"gate: {gate}" if gate else "gate open"
            if breaker.get("state", "closed") != "closed":
                tail = f"{tail}  breaker {breaker['state']}"
            return f"{facts.get('orders_working', 0)} working  journal {facts.get('journal', 0)}  {tail}"
        case "risk":
            day: Json = facts.get("day") or {}
            said = f"judged {facts.get('judged', 0)}  approved {facts.get('approved', 0)}"
            return said + _day_words(day)
        case "market_data":
            return f"bars {facts.get('bars', 0)}  {iso(int(facts.get('market_ns', 0)))[:19]}"
        case path if path.startswith("venues/"):
            return _venue_headline(facts)
        case path if strategy_at(path) and facts:
            why = sorted(facts.get("why_not", {}).items(), key=lambda pair: -pair[1])[:2]
            held = ",".join(f"{quantity} {symbol}" for symbol, quantity in facts.get("position", {}).items())
            said = f"why-not: {', '.join(f'{code} {count}' for code, count in why)}" if why else ""
            return f"{'holds ' + held + '  ' if held else ''}{said}".rstrip()
        case _:
            return ""


def _day_words(day: Json) -> str:
    """Say how near the account is to the limits of its day, as far as any bind."""
    limits: Json = day.get("limits") or {}
    words: list[str] = []
    if limits.get("max_daily_loss_usd"):
        words.append(f"day loss {day['loss']} of {limits['max_daily_loss_usd']}")
    elif limits.get("max_daily_loss_pct"):
        words.append(f"day loss {day['loss']} of {100 * float(limits['max_daily_loss_pct']):g}%")
    if limits.get("max_drawdown_pct"):
        most = 100 * float(limits["max_drawdown_pct"])
        words.append(f"drawdown {100 * float(day['drawdown_pct']):.1f}% of {most:g}%")
    if limits.get("max_consecutive_losses"):
        words.append(f"{day['consecutive_losses']} of {limits['max_consecutive_losses']} losses in a row")
    return "".join(f"  {each}" for each in words)


def _pace_alarms(pace: Json) -> list[str]:
    """Say that nothing more is opened because of the venue's pace, and until when."""
    breaker: Json = pace.get("breaker") or {}
    if breaker.get("state") == "open":
        left = f"for {float(breaker['left_s']):.0f} s more"
        return [f"BREAKER_OPEN: {breaker['reason']}; nothing is opened {left}, exits and stops leave"]
    if breaker.get("state") == "half open":
        return [f"BREAKER_OPEN: {breaker['reason']}; the next entry shows whether the venue answers again"]
    return []


def _alarms(rows: Mapping[str, Json], halted: str) -> list[str]:
    found = [f"HALTED: {halted}"] if halted else []
    found += _facts(rows, "execution").get("residue", ())
    found += _facts(rows, "execution").get("notices", ())
    found += _facts(rows, "risk").get("notices", ())
    found += _pace_alarms(_facts(rows, "execution").get("pace") or {})
    found += [f"a strategy gets no bars: {words}" for words in _facts(rows, "market_data").get("unbuilt", ())]
    for row in rows.values():
        if row["state"] == "QUARANTINED" and row["kind"] != "node":
            found.append(f"{row['path']} is quarantined: {row['last_error']}")
        elif row["state"] == "BACKOFF" and row["kind"] != "node":
            found.append(f"{row['path']} waits to be restarted: {row['last_error']}")
    return found
