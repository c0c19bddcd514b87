"""A strategy of the simulation: what it does at a bar follows from the bar's time and its own seed alone.

So it decides the same after a fall as if it had never fallen, and each seed trades another course.
"""

from decimal import Decimal
from typing import Any, ClassVar

import msgspec
from typing_extensions import override

from desk.messages import Bar, ProtectiveStop
from strategies.base import Action, Decision, Instance, NoTrade, NoTradeCode, Signal, Strategy, View

_MASK = (1 << 64) - 1
#: It opens no more than so many at once.
POSITIONS_MAX = 3


class RoamerParameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How it roams.

    ``seed`` makes its course. Of a hundred bars it wishes something at ``busy``, ``most`` times in all. ``rests``
    leaves stops to the venue.
    """

    seed: int = 1
    busy: int = 60
    rests: bool = True
    most: int = 100


class Roamer(Strategy):
    """Long only, some positions at once: enters at the market or by limits, changes levels, leaves whole or in part."""

    Parameters: ClassVar[type[msgspec.Struct]] = RoamerParameters
    live_parameters: ClassVar[frozenset[str]] = frozenset({"busy"})
    parameters: RoamerParameters

    def __init__(self, parameters: RoamerParameters, instance: Instance) -> None:
        """Leave the stops to whom the parameters say."""
        super().__init__(parameters, instance)
        kind = ProtectiveStop.VENUE if parameters.rests else ProtectiveStop.BAR_CLOSE
        self.protective_stop = kind  # pyright: ignore[reportAttributeAccessIssue] - a parameter decides here
        self.bars: list[tuple[int, str]] = []
        self.wishes = 0

    @override
    def on_bar(self, bar: Bar, view: View) -> Decision:
        self.bars.append((bar.sequence, f"{bar.symbol}/{bar.timeframe}"))
        dice = _mixed(self.parameters.seed * 1_000_003 + bar.ts_ns // 1_000_000_000)
        if dice % 100 >= self.parameters.busy or self.wishes >= self.parameters.most:
            return NoTrade(NoTradeCode.NO_SIGNAL)
        self.wishes += 1
        dice //= 100
        price = Decimal(str(round(bar.close, 2)))
        held = view.position(bar.symbol)
        if held is None or (dice % 10 in {0, 1, 2} and len(view.positions) < POSITIONS_MAX):
            return (_entry(bar.symbol, price, dice // 10),)
        return (_change(bar.symbol, held.tag, price, held.quantity, dice // 10),)

    @override
    def on_missed_bar(self, bar: Bar, view: View) -> None:
        self.bars.append((bar.sequence, f"{bar.symbol}/{bar.timeframe}"))

    @override
    def get_state(self) -> dict[str, Any]:
        return {"bars": self.bars, "wishes": self.wishes}

    @override
    def load_state(self, state: dict[str, Any]) -> None:
        self.bars = [(number, topic) for number, topic in state["bars"]]
        self.wishes = state["wishes"]


def _mixed(value: int) -> int:
    """Spread a number over 64 bits, the same on every machine. Source: splitmix64 (Steele, Lea, Flood 2014)."""
    value = (value + 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


def _rounded(price: Decimal, share: str) -> Decimal:
    return (price * Decimal(share)).quantize(Decimal("0.01"))


def _entry(symbol: str, price: Decimal, dice: int) -> Signal:
    quantity = Decimal((1, 2, 3, 5)[dice % 4])
    dice //= 4
    target = _rounded(price, "1.006") if dice % 3 == 0 else None
    stop = _rounded(price, ("0.995", "0.99", "0.998")[dice // 3 % 3])
    if dice // 9 % 5 in {0, 1}:
        limit = _rounded(price, ("0.999", "1.0", "1.001")[dice // 45 % 3])
        return Signal(
            symbol=symbol, action=Action.BUY, quantity=quantity, order_type="LIMIT", limit_price=limit,
            stop_loss=stop, take_profit=target, ttl_s=(30, 120, 600)[dice // 135 % 3],
        )  # fmt: skip
    return Signal(symbol=symbol, action=Action.BUY, quantity=quantity, stop_loss=stop, take_profit=target)


def _change(symbol: str, tag: str, price: Decimal, held: Decimal, dice: int) -> Signal:
    match dice % 5:
        case 0:
            return Signal(symbol=symbol, action=Action.MODIFY, tag=tag, stop_loss=_rounded(price, "0.993"))
        case 1 if held > 1:
            return Signal(symbol=symbol, action=Action.SELL, tag=tag, quantity=Decimal(1))
        case 2:
            stop = _rounded(price, "0.99")
            return Signal(symbol=symbol, action=Action.BUY, tag=tag, quantity=Decimal(1), stop_loss=stop)
        case _:
            return Signal(symbol=symbol, action=Action.CLOSE, tag=tag, reason="ROAMED")


STRATEGY = Roamer
