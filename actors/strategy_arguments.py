"""What a strategy's process is told, and which of it waits until the strategy holds nothing any more."""

from decimal import Decimal

import msgspec

from actors.settings import StrategySettings


class StrategyArguments(msgspec.Struct, frozen=True):
    """What a strategy's process is told: its own entry, and nothing of its siblings.

    ``code`` names the pinned code that it runs (see ``actors/pinned_code.py``); "" takes the module as it lies in
    ``own_folder`` or among those that ship.
    """

    entry: StrategySettings
    balance: Decimal
    is_stepped: bool
    own_folder: str
    code: str = ""


class CandidateArguments(msgspec.Struct, frozen=True):
    """What a candidate's process is told: the strategy's arguments with the new code, and how many bars to evaluate."""

    told: StrategyArguments
    bars: int


def read_arguments(arguments: bytes) -> StrategyArguments:
    """Take arguments off the wire.

    Raises:
        msgspec.ValidationError: They are not a strategy's.
    """
    return msgspec.msgpack.decode(arguments, type=StrategyArguments)


def whole_change(before: StrategyArguments, after: StrategyArguments) -> str:
    """Say in words what makes it another strategy: its module, symbols or bars; "" where nothing does.

    Such a change waits until the strategy is flat: nobody else would look after what it holds.
    """
    old, new = before.entry, after.entry
    found: list[str] = []
    if old.strategy != new.strategy:
        found.append(f"strategy {old.strategy} becomes {new.strategy}")
    if old.symbols != new.symbols:
        found.append(f"symbols {','.join(old.symbols)} become {','.join(new.symbols)}")
    if old.timeframe != new.timeframe:
        found.append(f"timeframe {old.timeframe} becomes {new.timeframe}")
    return "; ".join(found)
