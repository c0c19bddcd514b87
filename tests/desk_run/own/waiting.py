"""A strategy of the tests that buys, and then waits for a price at which it would sell."""

from decimal import Decimal
from typing import ClassVar

import msgspec
from typing_extensions import override

from desk.messages import Bar, ProtectiveStop
from strategies.base import Action, Decision, NoTrade, NoTradeCode, Signal, Strategy, View


class WaitingParameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How far above the bar it offers what it holds."""

    above: Decimal = Decimal(10)


class Waiting(Strategy):
    """Buys on its first bar, with a stop two below, and offers what it holds above the bar behind."""

    Parameters: ClassVar[type[msgspec.Struct]] = WaitingParameters
    parameters: WaitingParameters
    protective_stop: ClassVar[ProtectiveStop] = ProtectiveStop.VENUE

    @override
    def on_bar(self, bar: Bar, view: View) -> Decision:
        close = Decimal(str(bar.close))
        offer = close + self.parameters.above
        if view.positions and not view.exit_pending:
            return (Signal(symbol=bar.symbol, action=Action.CLOSE, order_type="LIMIT", limit_price=offer),)
        if view.positions or view.entry_pending or view.recent_trades:
            return NoTrade(NoTradeCode.NO_SIGNAL)
        return (Signal(symbol=bar.symbol, action=Action.BUY, quantity=Decimal(1), stop_loss=close - 2),)


STRATEGY = Waiting
