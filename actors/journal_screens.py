"""One order's life, and rows of any kind, as plain text of at most 80 columns."""

from collections.abc import Mapping, Sequence
from typing import Any

from actors.screen_words import plain_text, time_words, wrapped
from actors.screens import Column, orders_text, table

Json = Mapping[str, Any]

_FILLS = (
    Column("market time", "ts_ns", kind="time"),
    Column("execution", "execution_id", most=22),
    Column("quantity", "quantity", is_number=True, most=12),
    Column("price", "price", is_number=True, most=12),
    Column("fee", "fee", is_number=True, kind="money"),
)


def order_text(found: Json) -> str:
    """Show one order: as it is, then each step with both times, then its executions."""
    lines = [orders_text([found["order"]]), ""]
    lines += [f"id {plain_text(found['order']['order_id'])}   intent {plain_text(found['order']['intent_id'])}", ""]
    for step in found["transitions"]:
        lines += _step_lines(step)
    if found["fills"]:
        lines += ["", table(_FILLS, found["fills"])]
    return "\n".join(lines)


def _step_lines(step: Json) -> list[str]:
    moved = f"{step['previous']} -> {step['state']}" if step["previous"] else str(step["state"])
    attempt = f", attempt {step['attempt']} as {step['client_id']}" if step["attempt"] else ""
    deadline = f", refused by the venue behind {time_words(step['deadline_ns'])}" if step["deadline_ns"] else ""
    filled = f", filled {step['filled_quantity']} of {step['quantity']}" if float(step["filled_quantity"]) else ""
    reason = f": {step['reason']}" if step["reason"] else ""
    head = f"{time_words(step['ts_ns'])} {moved} (by {step['source']}){attempt}{deadline}{filled}{reason}"
    written = f"record {step['sequence']}, written {time_words(step['written_ns'])} UTC"
    return [*wrapped(plain_text(head), "    "), f"    {written}"]


def rows_text(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Show rows of a query, one line each, columns parted by two spaces and never cut."""
    cells = [[plain_text(value) for value in row] for row in (columns, *rows)]
    widths = [max(len(row[index]) for row in cells) for index in range(len(columns))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    return "\n".join([*lines, f"({len(rows)} {'row' if len(rows) == 1 else 'rows'})"])
