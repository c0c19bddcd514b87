"""The commands by which an operator's hand enters the books: capital, what was found at the venue, and comparing."""

from typing import Annotated, Any

import typer

from actors.cli_parts import EXIT_DEGRADED, EXIT_REFUSED, STATE_DEFAULT, Json, Reason, State, ask_or_fail, fail, show
from actors.screen_words import money_words, plain_text

#: A venue behind a wire takes its time to answer.
RECONCILE_S = 30.0

hands = typer.Typer(rich_markup_mode=None)


@hands.command()
def capital(
    action: Annotated[str, typer.Argument(help="deposit or withdraw.")],
    amount: Annotated[str, typer.Argument(help="How much, in account currency, above 0.")],
    reason: Reason = "",
    state: State = STATE_DEFAULT,
    as_json: Json = False,
) -> None:
    """Book cash that came into the account or left it.

    No money is moved anywhere: this tells the books of it. What is not free cannot be withdrawn.
    """
    if action not in {"deposit", "withdraw"}:
        fail(f"{plain_text(action)!r}: write deposit or withdraw; nothing was changed", EXIT_REFUSED)
    answer = ask_or_fail(state, "capital", {"action": action, "amount": amount, "reason": reason})
    show(answer, f"booked; cash is {money_words(answer['cash'])}", as_json=as_json)


@hands.command()
def adopt(  # noqa: PLR0913, PLR0917 - a command has its options
    symbol: str,
    quantity: Annotated[str, typer.Argument(help="How much of it, above 0; also of what is missing.")],
    strategy: Annotated[str, typer.Argument(help="Who gets it.")],
    tag: Annotated[str, typer.Option("--tag", help="The tag of the position.")] = "",
    stop_loss: Annotated[str, typer.Option("--stop-loss", help="The price of its stop, which rests there.")] = "",
    reason: Reason = "",
    state: State = STATE_DEFAULT,
    as_json: Json = False,
) -> None:
    """Give a strategy what stands under EXTERNAL.

    It moves at its cost; nothing is traded.
    """
    arguments: dict[str, Any] = {
        "symbol": symbol,
        "quantity": quantity,
        "strategy": strategy,
        "tag": tag,
        "reason": reason,
    }
    if stop_loss:
        arguments["stop_loss"] = stop_loss
    answer = ask_or_fail(state, "adopt", arguments)
    rest = ", ".join(f"{figure} {name}" for name, figure in answer["external"].items()) or "nothing"
    show(answer, f"{strategy} has it; EXTERNAL holds {rest}", as_json=as_json)


@hands.command()
def reconcile(
    accept: Annotated[bool, typer.Option("--accept", help="Book what differs, also beyond the thresholds.")] = False,
    reason: Reason = "",
    state: State = STATE_DEFAULT,
    as_json: Json = False,
) -> None:
    """Compare the books with the venue's now.

    Nothing is traded. Exit code 0: entries may go on, 1: they may not.
    """
    answer = ask_or_fail(state, "accept" if accept else "reconcile", {"reason": reason}, patience_s=RECONCILE_S)
    show(answer, _reconciliation_text(answer), as_json=as_json)
    raise typer.Exit(EXIT_DEGRADED if answer["against_trading"] else 0)


def _reconciliation_text(answer: dict[str, Any]) -> str:
    lines = [plain_text(line) for line in answer["differences"]]
    more = answer["differences_in_all"] - len(lines)
    if more > 0:
        lines.append(f"and {more} more")
    if not lines:
        lines.append(plain_text(answer["verdict"]))
    lines += [f"EXTERNAL holds {quantity} {symbol}" for symbol, quantity in answer["external"].items()]
    against = answer["against_trading"]
    lines.append(f"no entries: {plain_text(against)}" if against else "entries may go on")
    return "\n".join(lines)
