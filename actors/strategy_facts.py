"""What a strategy's process says of itself, as far as it is believed: it may say whatever it likes."""

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

from actors.topics import runs_strategy

_Count = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]


class _Facts(msgspec.Struct, omit_defaults=True):
    """The forms of all that somebody reads, as ``StrategyRoom.facts`` and its like give it."""

    signals_generated: _Count = 0
    orders_sent: _Count = 0
    ticks_processed: _Count = 0
    bars_evaluated: _Count = 0
    bars_missed: _Count = 0
    malformed_signals: _Count = 0
    held_back_signals: _Count = 0
    last_tick_ns: _Count = 0
    rebuilt: _Count = 0
    bars_tried: _Count = 0
    last_bars: dict[str, _Count] = {}
    why_not: dict[str, _Count] = {}
    position: dict[str, str] = {}
    pending_parameters: dict[str, Any] = {}
    recording: dict[str, Any] = {}
    pnl_day: str = "0"
    pnl: str = "0"
    code: str = ""
    refused_parameters: str = ""
    rebuilt_reason: str = ""
    waits_to_become: str = ""
    verdict: str = ""


def believed(path: str, facts: Mapping[str, Any]) -> Mapping[str, Any]:
    """Give what the process at a path says of itself; nothing of it where a strategy's has another form than ours.

    A room's own words are believed: no foreign code runs in it.
    """
    if not runs_strategy(path):
        return facts
    try:
        msgspec.convert(facts, _Facts)
    except (msgspec.ValidationError, RecursionError):
        return {}
    return facts
