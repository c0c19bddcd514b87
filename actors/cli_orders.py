"""The commands by which an operator takes orders and positions into their own hands."""

import select
from pathlib import Path
from typing import Annotated, Any

import typer

from actors.cli_parts import (
    EXIT_DEGRADED,
    EXIT_REFUSED,
    SECONDS_MAX,
    STATE_DEFAULT,
    Json,
    Reason,
    State,
    ask_or_fail,
    fail,
    show,
    until_interrupted,
)
from runtime.clock import NS_PER_S, Clock

commands = typer.Typer(rich_markup_mode=None)

#: How long a flatten waits for the venue before it leaves the rest to the desk, and how often it looks.
FLAT_PATIENCE_S = 30.0
_LOOK_S = 0.25


@commands.command()
def flatten(  # noqa: PLR0913, PLR0917 - a command has its options
    strategy: Annotated[str, typer.Option("--strategy", help="Only what this strategy holds.")] = "",
    symbol: Annotated[str, typer.Option("--symbol", help="Only this symbol.")] = "",
    is_all: Annotated[bool, typer.Option("--all", help="Everything that any strategy holds.")] = False,
    wait_s: Annotated[
        float, typer.Option("--wait", min=0, max=SECONDS_MAX, help="Seconds to wait until it is flat.")
    ] = FLAT_PATIENCE_S,
    reason: Reason = "",
    state: State = STATE_DEFAULT,
    as_json: Json = False,
) -> None:
    """Close positions at the market, and look until they are closed.

    Entries and resting stops of these positions are cancelled first. It does not keep a strategy from opening a new
    position afterwards: `halt` or `disable` it before. Exit code 1: something is still held; the desk goes on trying.
    """
    if not (strategy or symbol or is_all):
        fail("name --strategy, --symbol, or --all; nothing was closed", EXIT_REFUSED)
    answer = ask_or_fail(state, "flatten", {"strategy": strategy, "symbol": symbol, "reason": reason})
    closing = {tuple(key) for key in answer["closing"]}
    left = _held_after(state, closing, answer["journal"], wait_s) if closing else set[tuple[str, ...]]()
    result = {"closing": sorted(map(list, closing)), "residue": sorted(map(list, left))}
    names = ", ".join(" ".join(filter(None, key)) for key in sorted(left or closing))
    text = f"closed: {names}" if closing else "nothing was held"
    if left:
        text = f"still held: {names}; the desk goes on trying, see: bulkhead status execution"
    show(result, text, as_json=as_json)
    if left:
        raise typer.Exit(EXIT_DEGRADED)


def _held_after(state: Path, keys: set[tuple[str, ...]], head: int, wait_s: float) -> set[tuple[str, ...]]:
    """Look until none of these is wanted flat any more, or the time is over; give what is left."""
    clock = Clock()
    until_ns = clock.monotonic_ns() + int(wait_s * NS_PER_S)
    with until_interrupted():
        while True:
            facts = ask_or_fail(state, "status", {"path": "execution"})["node"].get("facts", {})
            is_news = facts.get("journal", 0) >= head  # what it said before, or while it is down, says nothing
            left = keys & {tuple(key) for key in facts["wanted_flat"]} if is_news else keys
            if not left or clock.monotonic_ns() >= until_ns:
                return left
            select.select([], [], [], _LOOK_S)
    return keys


def resolve_order(  # noqa: PLR0913 - what a person may have found out
    state: Path, order: str, outcome: str, *, quantity: str, price: str, fee: str, reason: str, as_json: bool
) -> None:
    """Settle an order that is UNKNOWN by a person's word."""
    told: dict[str, Any] = {"order": order, "outcome": outcome, "reason": reason, "fee": fee or "0"}
    told |= {name: figure for name, figure in (("quantity", quantity), ("price", price)) if figure}
    answer = ask_or_fail(state, "resolve", told)
    show(answer, f"{answer['order']} is {answer['state']}, {answer['filled']} filled", as_json=as_json)
