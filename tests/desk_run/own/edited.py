"""A strategy of the tests whose file is edited while it runs: it trades by a rule, and notes by which text it did."""

from decimal import Decimal
from typing import Any, ClassVar

import msgspec
from typing_extensions import override

from desk.messages import Bar
from strategies.base import Action, Decision, NoTrade, NoTradeCode, Signal, Strategy, View

#: What a test's edit makes another.
TEXT = "first"


class EditedParameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """It buys at each bar whose number is divisible by ``every`` and sells at the next but one."""

    every: int = 5


class Edited(Strategy):
    """One symbol, long only; counts bars, so that a bar met twice or never shows."""

    Parameters: ClassVar[type[msgspec.Struct]] = EditedParameters
    parameters: EditedParameters

    @override
    def initialize(self) -> None:
        self.bars = 0
        self.texts: dict[str, int] = {}

    @override
    def on_bar(self, bar: Bar, view: View) -> Decision:
        self.bars += 1
        self.texts[TEXT] = self.texts.get(TEXT, 0) + 1
        held = view.position(bar.symbol)
        if held is not None and self.bars % self.parameters.every == 2 and bar.symbol not in view.exit_pending:
            return (Signal(symbol=bar.symbol, action=Action.CLOSE, tag=held.tag),)
        if held is None and self.bars % self.parameters.every == 0 and bar.symbol not in view.entry_pending:
            stop = Decimal(str(bar.close)) / 2
            return (Signal(symbol=bar.symbol, action=Action.BUY, quantity=Decimal(1), stop_loss=stop),)
        return NoTrade(NoTradeCode.NO_SIGNAL)

    @override
    def get_state(self) -> dict[str, Any]:
        return {"bars": self.bars, "texts": self.texts}

    @override
    def load_state(self, state: dict[str, Any]) -> None:
        self.bars, self.texts = state["bars"], state["texts"]


STRATEGY = Edited
