"""Which position a signal speaks of: by its tag, and by rules where it bears none."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from desk.messages import Intent
from desk.portfolio import Position
from strategies.base import Action, Signal

_AUTO = "auto_"


class Aim(NamedTuple):
    """One position that a signal speaks of: its tag, the position where it is held, and what tells intents apart.

    ``part`` is "" but where one signal becomes several intents: it then enters the name of each.
    """

    tag: str
    position: Position | None
    part: str = ""


def aims(signal: Signal, positions: Sequence[Position], number_next: int) -> tuple[Aim, ...]:
    """Give every position that a signal speaks of, at least one; the same arguments give the same.

    A BUY with a tag averages into the position of that tag, or opens it; without tag it opens a new one. A SELL without
    tag speaks of the oldest position of its symbol, a CLOSE without tag of all of them. Where nothing is held that a
    signal speaks of, it aims at its own tag, and risk refuses what reduces.

    Args:
        signal: A well-formed signal.
        positions: The strategy's own open positions, oldest first.
        number_next: The number that the next position without tag bears in this symbol.
    """
    if signal.action is Action.BUY and not signal.tag:
        return (Aim(auto_tag(signal.symbol, number_next), None),)
    mine = [held for held in positions if held.symbol == signal.symbol]
    if signal.tag or not mine:
        return (Aim(signal.tag, next((held for held in mine if held.tag == signal.tag), None)),)
    if signal.action is Action.CLOSE:
        return tuple(Aim(held.tag, held, held.tag) for held in mine)
    return (Aim(mine[0].tag, mine[0]),)


def auto_tag(symbol: str, number: int) -> str:
    """Name the ``number``-th position (from 1) that a strategy opens in a symbol without a tag of its own."""
    return f"{_AUTO}{symbol.replace('/', '')}_{number:03d}"


def auto_number(symbol: str, tag: str) -> int:
    """Give the number in a tag that ``auto_tag`` made for a symbol, 0 for any other tag."""
    number = tag.removeprefix(f"{_AUTO}{symbol.replace('/', '')}_")
    return int(number) if number != tag and number.isascii() and number.isdecimal() else 0


def number_after(symbol: str, last: int, intents: Iterable[Intent]) -> int:
    """Give the next number, behind the last one of the journal and those of intents that nobody has answered."""
    numbers = (auto_number(symbol, intent.tag) for intent in intents if intent.symbol == symbol)
    return 1 + max((last, *numbers))
