"""What a replay came to, as plain text."""

from collections.abc import Mapping, Sequence
from typing import Any

from actors.replaying.parts import SHOWN_MAX, Asked, Difference, utc
from actors.replaying.run import Replayed
from actors.screen_words import plain_text
from actors.screens import Column, orders_text, positions_text, table

#: Changed decisions that are listed; --json has all.
LISTED_MAX = 20
_STRATEGIES = (
    Column("strategy", "name", most=30),
    Column("bars", "bars", is_number=True),
    Column("missed", "missed", is_number=True),
    Column("words", "words", is_number=True),
    Column("intents", "intents", is_number=True),
    Column("differences", "differences", is_number=True),
)


def replay_text(found: Replayed, asked: Asked) -> str:
    """Show a whole replay: what was compared, what differs, and the state where it was asked for."""
    lines = [f"replayed up to record {found.journal}, market time {utc(found.at_ns)}"]
    lines += [f"what if: {words}" for words in _wishes(asked)]
    rows = [{name: getattr(one, name) for name in one.__struct_fields__} for one in found.strategies]
    lines += [table(_STRATEGIES, rows)] if rows else []
    lines += [f"  {one.name}: {plain_text(one.code)}" for one in found.strategies if one.code]
    lines += [f"  {one.name} was not compared: {plain_text(one.left_out)}" for one in found.strategies if one.left_out]
    lines += [f"  {part} was not compared: {plain_text(why)}" for part, why in found.left_out.items()]
    if found.taken:
        lines.append(
            f"  {found.taken} records came from outside (a halt, what reconciliation found) and were taken over"
        )
    lines += [f"  {found.stopped}"] if found.stopped else []
    lines.append(
        f"bars {found.bars}, intents {found.intents}, verdicts {found.verdicts}, orders {found.orders}"
        f" ({found.records} records) compared; differences {len(found.changed)}"
    )
    if found.first is not None:
        lines += ["", *_timeline(found.first)]
    if asked.is_what_if and found.changed:
        lines += ["", "decisions that change", *(f"  {_line(each)}" for each in found.changed[:LISTED_MAX])]
        left = len(found.changed) - LISTED_MAX
        lines += [f"  and {left} more; --json has them all"] if left > 0 else []
    if asked.until is not None or asked.until_ns is not None:
        lines += ["", *_state(found.state)]
    return "\n".join(lines)


def _wishes(asked: Asked) -> list[str]:
    parameters = [
        f"strategies.{name}.parameters.{key} = {value}"
        for name, values in asked.parameters.items()
        for key, value in values.items()
    ]
    limits = [
        f"{f'strategies.{name}.risk_config' if name else 'global.risk'}.{key} = {value}"
        for name, values in asked.limits.items()
        for key, value in values.items()
    ]
    return [*parameters, *limits]


# --- a difference -----------------------------------------------------------------------------


def _timeline(found: Difference) -> list[str]:
    """Show what led to a difference, then both sides."""
    lines = [f"first difference: {found.what} of {found.who or 'the desk'}, {found.at}"]
    lines += [f"  {side.at}  {plain_text(side.text)}" for side in found.before]
    lines += [f"  {'recorded':>20}  {_short(found.recorded)}", f"  {'replayed':>20}  {_short(found.replayed)}"]
    for name in found.fields:
        then, now = (_value(side, name) for side in (found.recorded, found.replayed))
        lines.append(f"  {name:>20}  {then} -> {now}")
    return lines


def _value(side: Mapping[str, Any] | None, name: str) -> str:
    value = "nothing" if side is None else side.get(name)
    said = "; ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return plain_text(said or "none")[:SHOWN_MAX]


def _short(side: Mapping[str, Any] | None) -> str:
    """Say one side in few words."""
    if side is None:
        return "nothing"
    named = {name.rpartition(".")[2]: value for name, value in side.items()}
    keys = (
        "effect",
        "purpose",
        "side",
        "quantity",
        "size_pct",
        "symbol",
        "price",
        "state",
        "tag",
        "reason",
        "kind",
        "text",
    )
    words = [str(named[key]) for key in keys if named.get(key) not in {None, ""}]
    reasons = named.get("reasons")
    return plain_text(" ".join([*words, *(("refused",) if reasons else ())]))[:SHOWN_MAX]


def _line(found: Difference) -> str:
    if found.recorded is None or found.replayed is None:
        change = f"{_short(found.recorded)} -> {_short(found.replayed)}"
    else:
        pairs = (f"{name} {_value(found.recorded, name)} -> {_value(found.replayed, name)}" for name in found.fields)
        change = ", ".join(pairs)
    return f"{found.what} of {found.who}, {found.at}: {change}"


# --- the state --------------------------------------------------------------------------------


def _state(state: Mapping[str, Any]) -> list[str]:
    limits: Mapping[str, Mapping[str, Any]] = state["limits"]
    working: Sequence[Mapping[str, Any]] = state["working"]
    lines = [f"cash {state['cash']}, capital {state['capital']}, realised {state['realised']}"]
    lines += ["positions", positions_text(state["positions"]), "working orders", orders_text(working), "limits"]
    for name, bounds in limits.items():
        words = ", ".join(f"{key} {value}" for key, value in bounds.items()) or "none"
        lines.append(f"  {name or 'desk'}: {words}")
    return lines
