"""A strategy of the tests that decides on bars alone, and remembers what it decided on which bar."""

from decimal import Decimal
from typing import Any, ClassVar

import msgspec
from typing_extensions import override

from desk.messages import Bar
from strategies.base import Action, Decision, Instance, NoTrade, NoTradeCode, Signal, Strategy, View


class JudgeParameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many bars it looks back."""

    look_back: int = 3


class Judge(Strategy):
    """Buys what has risen and closes what has fallen, whatever it holds."""

    Parameters: ClassVar[type[msgspec.Struct]] = JudgeParameters
    parameters: JudgeParameters

    def __init__(self, parameters: JudgeParameters, instance: Instance) -> None:
        """Begin with nothing seen."""
        super().__init__(parameters, instance)
        self.closes: list[float] = []
        self.decided: list[tuple[int, str]] = []
        self.missed = 0

    @override
    def on_bar(self, bar: Bar, view: View) -> Decision:
        self.closes = [*self.closes, bar.close][-self.parameters.look_back - 1 :]
        word = "wait"
        if len(self.closes) > self.parameters.look_back:
            word = "buy" if self.closes[-1] > self.closes[0] else "close"
        self.decided.append((bar.ts_ns, word))
        match word:
            case "buy":
                stop = Decimal(str(round(bar.close / 2, 4)))
                return (Signal(symbol=bar.symbol, action=Action.BUY, quantity=Decimal(1), stop_loss=stop),)
            case "close":
                return (Signal(symbol=bar.symbol, action=Action.CLOSE, reason="FELL"),)
            case _:
                return NoTrade(NoTradeCode.WARMUP)

    @override
    def on_missed_bar(self, bar: Bar, view: View) -> None:
        self.missed += 1

    @override
    def get_state(self) -> dict[str, Any]:
        return {"closes": self.closes, "decided": self.decided, "missed": self.missed}

    @override
    def load_state(self, state: dict[str, Any]) -> None:
        self.closes, self.missed = state["closes"], state["missed"]
        self.decided = [(ts_ns, word) for ts_ns, word in state["decided"]]


STRATEGY = Judge
