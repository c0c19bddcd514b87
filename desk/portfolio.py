"""Virtual sub-accounts: positions, trades and cash as a fold over booked fills."""

from decimal import Decimal

import msgspec


class Position(msgspec.Struct, frozen=True, array_like=True):
    """What one (strategy, symbol, tag) holds. ``quantity`` is signed (> 0 long); ``average_price`` without fees."""

    strategy: str
    symbol: str
    tag: str
    quantity: Decimal
    average_price: Decimal
    entry_fees: Decimal
    opened_ns: int
    stop_loss: Decimal | None = None
    take_profit: Decimal | None = None


class ClosedTrade(msgspec.Struct, frozen=True, array_like=True):
    """One exit: the quantity closed, at what it was bought and sold, and what was left of it after fees.

    ``pnl`` = (exit - entry) x quantity x direction - ``fees``; ``fees`` = the entry's share + the exit's fee.
    """

    strategy: str
    symbol: str
    tag: str
    side: str
    quantity: Decimal
    entry_price: Decimal
    exit_price: Decimal
    opened_ns: int
    closed_ns: int
    pnl: Decimal
    fees: Decimal
    exit_reason: str
