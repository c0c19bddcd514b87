"""What the operator sees: the desk's JSON as plain text of at most 80 columns.

State is always a word, never only a colour, and no text of the desk is read as markup or reaches the terminal
with control characters in it. Missing fields show as "-".
"""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from io import StringIO
from typing import Any, cast

from rich.console import Console
from rich.table import Table
from rich.text import Text

from actors.screen_tree import tree_lines
from actors.screen_words import (
    WIDTH,
    counts_words,
    cut,
    decimal_or_none,
    duration_words,
    money_words,
    plain_text,
    time_words,
    wrapped,
)

Json = Mapping[str, Any]


class Column:
    """One column of a table: its head, the key it shows, and how."""

    def __init__(self, head: str, key: str, *, is_number: bool = False, most: int = 0, kind: str = "") -> None:
        """Describe a column.

        ``most`` cuts texts; ``kind`` is "time" for nanoseconds, "money" for 2 digits, or "path", which loses its
        beginning: the names of those that are alike stand at the end.
        """
        self.head = head
        self.key = key
        self.is_number = is_number
        self.most = most
        self.kind = kind

    def cell(self, row: Json) -> Text:
        """Give the cell of one row."""
        value = row.get(self.key)
        if self.kind == "time":
            return Text(time_words(value))
        if self.kind == "money":
            return Text(money_words(value))
        said = plain_text(value)
        if self.kind == "path" and len(said) > self.most:
            return Text(f"..{said[2 - self.most :]}")
        return Text(said if not self.most or len(said) <= self.most else said[: self.most - 2] + "..")


_STRATEGIES = (
    Column("name", "name", most=22),
    Column("symbol", "symbol", most=9),
    Column("state", "state"),
    Column("bars", "bars_evaluated", is_number=True),
    Column("signals", "signals_generated", is_number=True),
    Column("orders", "orders_sent", is_number=True),
    Column("errors", "error_count", is_number=True),
    Column("P&L day", "pnl_day", is_number=True, kind="money"),
)
_ORDERS = (
    Column("order", "order_id", most=11),
    Column("strategy", "strategy", most=11),
    Column("symbol", "symbol", most=7),
    Column("", "what", most=16),
    Column("price", "price", is_number=True, most=9),
    Column("filled", "filled", is_number=True, most=11),
    Column("state", "state"),
)
_PURPOSES = {"ENTRY": "entry", "EXIT": "exit", "STOP_LOSS": "stop", "TAKE_PROFIT": "target"}
_POSITIONS = (
    Column("strategy", "strategy", most=18),
    Column("symbol", "symbol", most=9),
    Column("quantity", "quantity", is_number=True, most=12),
    Column("average", "average_price", is_number=True, kind="money"),
    Column("stop", "stop_loss", is_number=True, kind="money"),
    Column("target", "take_profit", is_number=True, kind="money"),
)
_TRADES = (
    Column("closed UTC", "closed_ns", kind="time"),
    Column("strategy", "strategy", most=12),
    Column("symbol", "symbol", most=7),
    Column("quantity", "quantity", is_number=True, most=10),
    Column("P&L", "pnl", is_number=True, kind="money"),
    Column("why", "exit_reason", most=14),
)
_SUMS = (
    Column("strategy", "strategy", most=30),
    Column("trades", "trades", is_number=True),
    Column("wins", "wins", is_number=True),
    Column("fees", "fees", is_number=True, kind="money"),
    Column("net P&L", "net_pnl", is_number=True, kind="money"),
)


def status_text(status: Json) -> str:
    """Draw the desk: one head, the supervisor tree with what each child last died of, alarms, refused input."""
    desk: Json = status.get("desk") or {}
    alarms = [plain_text(_alarm_words(alarm)) for alarm in status.get("alarms") or ()]
    lines = [_head(desk), *_facts(desk, alarms)]
    for alarm in alarms:
        lines += wrapped(f"ALARM {alarm}", "  ")
    lines += tree_lines(status.get("tree") or (), status.get("strategies") or ())
    feed: Json = status.get("feed") or {}
    refused: Json = feed.get("refused") or {}
    if any(refused.values()):
        lines += wrapped(f"refused input: {counts_words(refused)}", "")
    return "\n".join(lines)


def strategies_text(strategies: Sequence[Json]) -> str:
    """Show all strategies, and below the table what went wrong with which."""
    if not strategies:
        return "no strategies"
    lines = [table(_STRATEGIES, strategies)]
    for entry in strategies:
        cause = entry.get("refusal") or entry.get("note") or entry.get("last_error")
        if cause:
            lines += wrapped(f"{plain_text(entry.get('name'))}: {plain_text(cause)}", "  ")
    return "\n".join(lines)


def orders_text(orders: Sequence[Json]) -> str:
    """Show orders, oldest first, and below the table why each refused one was refused."""
    if not orders:
        return "no orders"
    lines = [table(_ORDERS, [_order_cells(order) for order in orders])]
    for order in orders:
        if order.get("state") == "REJECTED" and order.get("reason"):
            lines += wrapped(f"{plain_text(order.get('order_id'))}: {plain_text(order.get('reason'))}", "  ")
    return "\n".join(lines)


def _order_cells(order: Json) -> Json:
    """Say in few words what an order wants, at which price, and how much of it was done."""
    wants = _PURPOSES.get(str(order.get("purpose")), "")
    kind = order.get("type") if wants in {"", "entry", "exit"} else ""
    what = " ".join(str(word).lower() for word in (order.get("side"), kind, wants) if word)
    filled = decimal_or_none(order.get("filled_quantity"))
    prices = (order.get(key) for key in ("average_price" if filled else "", "limit_price", "stop_price"))
    price = next((found for found in prices if found), None)
    done = f"{_short(order.get('filled_quantity'))}/{_short(order.get('quantity'))}"
    return {**order, "what": what, "price": _short(price), "filled": done}


def _short(value: Any) -> str:
    """Write a number without the zeros behind it; "-" for nothing."""
    number = decimal_or_none(value)
    return plain_text(value) if number is None else f"{number.normalize():f}"


def positions_text(positions: Sequence[Json]) -> str:
    """Show open positions."""
    return table(_POSITIONS, positions) if positions else "no open positions"


def trades_text(trades: Sequence[Json]) -> str:
    """Show closed trades and their sum."""
    if not trades:
        return "no trades"
    total = sum((decimal_or_none(trade.get("pnl")) or Decimal(0) for trade in trades), Decimal(0))
    return f"{table(_TRADES, trades)}\n{len(trades)} trades, net P&L {money_words(total)}"


def why_text(why: Json) -> str:
    """Say why a strategy did not trade.

    Args:
        why: ``name``, ``state``, ``bars_evaluated``, ``signals_generated``, ``why_not`` {code: count} and, where
            known, ``refusal``, ``note``, ``last_error``, ``last_reason`` as ``status`` has them, and
            ``orders_refused`` {code: count}.
    """
    counts: Json = why.get("why_not") or {}
    name, state = plain_text(why.get("name")), plain_text(why.get("state"))
    seen, sent = plain_text(why.get("bars_evaluated")), plain_text(why.get("signals_generated"))
    lines = [f"{name} is {state}: {seen} bars evaluated, {sent} signals"]
    for label, key in (
        ("refused", "refusal"),
        ("", "note"),
        ("last error", "last_error"),
        ("last reason", "last_reason"),
    ):
        if why.get(key):
            lines += wrapped(f"{label}: {plain_text(why[key])}" if label else plain_text(why[key]), "  ")
    if why.get("orders_refused"):
        lines += wrapped(f"its orders were refused for: {counts_words(why['orders_refused'])}", "  ")
    if not counts:
        return "\n".join([*lines, "no evaluation ended without a signal"])
    total = sum(int(count) for count in counts.values())
    rows = [
        {"code": code, "count": count, "share": f"{100 * int(count) // max(total, 1)} %"}
        for code, count in sorted(counts.items(), key=lambda item: (-int(item[1]), item[0]))
    ]
    columns = (
        Column("why not", "code", most=40),
        Column("bars", "count", is_number=True),
        Column("", "share", is_number=True),
    )
    return "\n".join([*lines, table(columns, rows)])


def journal_text(rows: Sequence[Json]) -> str:
    """Show journal records, one paragraph each: sequence, market time, word, strategy, words."""
    lines: list[str] = []
    for row in rows:
        head = f"{plain_text(row.get('sequence'))} {time_words(row.get('ts_ns'))} {plain_text(row.get('word'))}"
        whose = f" {plain_text(row['strategy'])}:" if row.get("strategy") else ":"
        lines += wrapped(f"{head}{whose} {plain_text(row.get('text'))}", "    ")
    return "\n".join(lines) or "no records"


def summary_text(summary: Json) -> str:
    """Say how a finished run went: bars, trades, net P&L by strategy, orders by state, refused input."""
    trades = plain_text(summary.get("trades"))
    lines = [
        (
            f"finished: {plain_text(summary.get('bars'))} bars, {trades} trades, "
            f"net P&L {money_words(summary.get('net_pnl'))}"
        )
    ]
    if summary.get("strategies"):
        lines.append(table(_SUMS, summary["strategies"]))
    lines += wrapped(f"orders: {counts_words(summary.get('orders') or {})}", "  ")
    if summary.get("positions"):
        lines += ["still open:", positions_text(summary["positions"])]
    return "\n".join([*lines, *wrapped(f"refused input: {counts_words(summary.get('refused') or {})}", "  ")])


def table(columns: Iterable[Column], rows: Iterable[Json]) -> str:
    """Lay out rows in columns of at most 80 characters together."""
    chosen = list(columns)
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="")
    for column in chosen:
        table.add_column(Text(column.head), justify="right" if column.is_number else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(column.cell(row) for column in chosen))
    paper = StringIO()
    Console(file=paper, width=WIDTH, force_terminal=False, color_system=None, highlight=False, emoji=False).print(table)
    return "\n".join(line.rstrip() for line in paper.getvalue().rstrip("\n").split("\n"))


def _head(desk: Json) -> str:
    said = [f"desk  {plain_text(desk.get('state'))} {plain_text(desk.get('mode'))}"]
    if desk.get("halted") and desk.get("state") != "HALTED":
        said.append("HALTED")
    said.append(f"up {duration_words(desk.get('uptime_s'))}")
    feed = desk.get("feed")
    if feed:
        said.append(f"feed {plain_text(_fields(feed).get('kind', feed))}")
    if desk.get("market_time"):
        said.append(f"market {time_words(desk.get('market_time'))[:19].replace('T', ' ')}")
    return cut("  ".join(said))


def _facts(desk: Json, alarms: Sequence[str]) -> list[str]:
    lines: list[str] = []
    gate = desk.get("gate")
    if gate:
        said = ", ".join(f"{key} {value}" for key, value in _fields(gate).items())
        lines += wrapped(f"gate {plain_text(said or gate)}", "  ")
    halted = desk.get("halted")
    if halted and not isinstance(halted, bool) and not any(plain_text(halted) in alarm for alarm in alarms):
        lines += wrapped(f"halted: {plain_text(halted)}", "  ")
    return lines


def _alarm_words(alarm: Any) -> str:
    fields = _fields(alarm)
    if not fields:
        return str(alarm)
    return " ".join(str(value) for value in fields.values() if value is not None and value != "")


def _fields(value: Any) -> Json:
    """Give a JSON object, {} for anything else."""
    return cast("Json", value) if isinstance(value, Mapping) else {}


def reload_text(answer: Json) -> str:
    """Say what changed in the file, where, and what becomes of it."""
    file, changes = answer["file"], answer["changes"]
    if not changes:
        return f"{file} says what holds already; nothing was changed"
    lines: list[str] = []
    for change in changes:
        place = f"{file}:{change['line']}" if change["line"] else file
        said = f"{change['path']}: {plain_text(change['was'])} -> {plain_text(change['now'])}: {change['effect']}"
        lines += wrapped(f"{plain_text(place)} {said}", "  ")
    if answer["dry_run"]:
        last = "nothing was changed: this was a dry run"
    else:
        waiting = sum(change["is_waiting"] for change in changes)
        last = f"applied{f'; {waiting} of {len(changes)} wait' if waiting else ''}"
        last = last if answer["applied"] else f"nothing can hold now; {waiting} of {len(changes)} wait"
    return "\n".join([*lines, last])
