"""A strategy of the tests that does what the market tells it: a bar's volume is the number of the act."""

from typing import Any, ClassVar

import msgspec
from typing_extensions import override

from desk.messages import Bar, ProtectiveStop
from strategies.base import Decision, NoTrade, NoTradeCode, Signal, Strategy, View


class ScriptedParameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The acts, each a list of signals without their symbol; act 1 is the first."""

    acts: list[list[dict[str, Any]]]


class Scripted(Strategy):
    """Pure in the bar: the same bar again is the same wish again."""

    Parameters: ClassVar[type[msgspec.Struct]] = ScriptedParameters
    protective_stop: ClassVar[ProtectiveStop] = ProtectiveStop.VENUE
    parameters: ScriptedParameters

    @override
    def on_bar(self, bar: Bar, view: View) -> Decision:
        act = int(bar.volume)
        if act == 0:
            return NoTrade(NoTradeCode.NO_SIGNAL)
        signals = self.parameters.acts[act - 1]
        return tuple(msgspec.convert({"symbol": bar.symbol, **signal}, Signal, strict=False) for signal in signals)

    @override
    def on_missed_bar(self, bar: Bar, view: View) -> None:
        """Trade nothing that is over."""


STRATEGY = Scripted
