"""A strategy of the tests that decides on ticks alone."""

from decimal import Decimal
from typing import Any, ClassVar

import msgspec
from typing_extensions import override

from desk.messages import Bar, Tick
from strategies.base import Action, Decision, NoTrade, NoTradeCode, Signal, Strategy, View


class ScalperParameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many falling ticks in a row it waits for."""

    falls: int = 3


class Scalper(Strategy):
    """Buys after some falling ticks in a row, and sells at the first one that rises."""

    Parameters: ClassVar[type[msgspec.Struct]] = ScalperParameters
    parameters: ScalperParameters
    wants_ticks: ClassVar[bool] = True

    @override
    def initialize(self) -> None:
        self._price, self._falls = 0.0, 0

    @override
    def on_bar(self, bar: Bar, view: View) -> Decision:
        return NoTrade(NoTradeCode.NO_SIGNAL)

    @override
    def on_tick(self, tick: Tick, view: View) -> Decision | None:
        self._falls = self._falls + 1 if tick.price < self._price else 0
        rises, self._price = tick.price > self._price, tick.price
        symbol = tick.symbol
        if view.position(symbol) is not None:
            is_over = rises and symbol not in view.exit_pending
            return (Signal(symbol=symbol, action=Action.CLOSE, reason="ROSE"),) if is_over else None
        if self._falls < self.parameters.falls or symbol in view.entry_pending:
            return None
        stop = Decimal(str(round(tick.price / 2, 4)))
        return (Signal(symbol=symbol, action=Action.BUY, quantity=Decimal(1), stop_loss=stop),)

    @override
    def get_state(self) -> dict[str, Any]:
        return {"price": self._price, "falls": self._falls}

    @override
    def load_state(self, state: dict[str, Any]) -> None:
        self._price, self._falls = state["price"], state["falls"]


STRATEGY = Scalper
