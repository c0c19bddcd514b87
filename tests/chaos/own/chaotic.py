"""A strategy of the tests that does a bit of everything: what it does follows from its name and the bar's time."""

import random
from decimal import Decimal
from typing import ClassVar

import msgspec
from typing_extensions import override

from desk.messages import Bar, ProtectiveStop
from desk.portfolio import Position
from strategies.base import Action, Decision, NoTrade, NoTradeCode, Signal, Strategy, View

CENT = Decimal("0.01")


class ChaoticParameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The most pieces of one entry."""

    pieces: int = 5


class Chaotic(Strategy):
    """Trades while the market moves anything; a bar without volume is nothing to trade on."""

    Parameters: ClassVar[type[msgspec.Struct]] = ChaoticParameters
    live_parameters: ClassVar[frozenset[str]] = frozenset({"pieces"})
    protective_stop: ClassVar[ProtectiveStop] = ProtectiveStop.VENUE
    parameters: ChaoticParameters

    @override
    def on_bar(self, bar: Bar, view: View) -> Decision:
        if not bar.volume:
            return NoTrade(NoTradeCode.NO_SIGNAL)
        chance = random.Random(f"{self.instance.name} {bar.symbol} {bar.ts_ns}")
        price = Decimal(repr(bar.close))
        held = view.position(bar.symbol)
        if held is not None:
            if bar.symbol in view.exit_pending:
                return NoTrade(NoTradeCode.EXIT_PENDING)
            return self._holding(held, price, chance)
        if bar.symbol in view.entry_pending:
            return NoTrade(NoTradeCode.ENTRY_PENDING)
        return self._entering(bar.symbol, price, chance)

    def _entering(self, symbol: str, price: Decimal, chance: random.Random) -> Decision:
        draw, quantity = chance.random(), Decimal(chance.randint(1, self.parameters.pieces))
        stop = (price * Decimal("0.985")).quantize(CENT)
        if draw < 0.5:
            return (Signal(symbol=symbol, action=Action.BUY, quantity=quantity, stop_loss=stop),)
        if draw < 0.75:
            limit = (price * Decimal("0.9985")).quantize(CENT)
            return (
                Signal(
                    symbol=symbol,
                    action=Action.BUY,
                    quantity=quantity,
                    stop_loss=stop,
                    order_type="LIMIT",
                    limit_price=limit,
                    ttl_s=5,
                ),
            )
        return NoTrade(NoTradeCode.NO_SIGNAL)

    def _holding(self, held: Position, price: Decimal, chance: random.Random) -> Decision:
        draw, symbol, tag = chance.random(), held.symbol, held.tag
        stop = (price * Decimal(chance.choice(("0.98", "0.985", "0.992")))).quantize(CENT)
        if draw < 0.15:
            return (Signal(symbol=symbol, action=Action.BUY, quantity=Decimal(1), stop_loss=stop, tag=tag),)
        if draw < 0.3:
            return (Signal(symbol=symbol, action=Action.MODIFY, stop_loss=stop, tag=tag),)
        if draw < 0.4:
            return (Signal(symbol=symbol, action=Action.SELL, quantity=Decimal(1), tag=tag, reason="PART"),)
        if draw < 0.65:
            return (Signal(symbol=symbol, action=Action.CLOSE, reason="CHANCE"),)
        return NoTrade(NoTradeCode.IN_POSITION)

    @override
    def on_missed_bar(self, bar: Bar, view: View) -> None:
        """Trade nothing that is over."""


STRATEGY = Chaotic
