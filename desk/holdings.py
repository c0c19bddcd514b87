"""Who holds what, and what it cost: virtual positions that add up, symbol by symbol, to what came in."""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal

import msgspec
from msgspec.structs import replace

from desk.conservation import InvariantError, check_symbol
from desk.messages import Side
from desk.units import ZERO

#: What is left of a position at or below this after an exit counts as nothing; its cost goes to that exit.
DUST = Decimal("1e-6")

#: Money is kept to this quantum, and so are shares of a cost or a fee, of which the rest stays with the rest: with 28
#: digits all sums are exact up to 10 ** 16.
SHARE_QUANTUM = Decimal("1e-12")
#: Who holds what the venue has and our books do not explain. No strategy bears this name, and none trades it.
EXTERNAL = "EXTERNAL"
#: How long a position is meant to be held where nobody says more; it never shortens what was said before.
HORIZON_DEFAULT = "DAY"

Key = tuple[str, str, str]
"""(strategy, symbol, tag): who holds what."""


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
    horizon: str = HORIZON_DEFAULT


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


class Move(msgspec.Struct, frozen=True):
    """A quantity (> 0) that a key takes in on one side, for ``value`` (>= 0) without ``fee``."""

    key: Key
    side: Side
    quantity: Decimal
    price: Decimal
    value: Decimal
    fee: Decimal
    ts_ns: int
    exit_reason: str
    stop_loss: Decimal | None = None
    take_profit: Decimal | None = None
    horizon: str = HORIZON_DEFAULT


class Holdings:
    """Positions with their costs.

    What comes in is counted at the door (``count``); what positions and their costs add up to follows from the
    positions alone, so a step that forgets something shows as a difference between the two.
    """

    def __init__(self) -> None:
        """Hold nothing."""
        self.positions: dict[Key, Position] = {}
        self.costs: dict[Key, Decimal] = {}
        self.open_cost: Decimal = ZERO
        self.net: dict[str, Decimal] = {}
        self.dust: dict[str, Decimal] = {}
        self.flow: dict[str, Decimal] = {}

    def restore(
        self,
        positions: Sequence[Position],
        costs: Sequence[Decimal],
        net: Mapping[str, Decimal],
        dust: Mapping[str, Decimal],
        flow: Mapping[str, Decimal] | None,
    ) -> None:
        """Take up what another one held; a ``flow`` that nobody kept is what is held.

        Raises:
            InvariantError: It contradicts itself.
        """
        if len(costs) != len(positions):
            msg = f"{len(positions)} positions with {len(costs)} costs"
            raise InvariantError(msg)
        keys = [(held.strategy, held.symbol, held.tag) for held in positions]
        self.positions = dict(zip(keys, positions, strict=True))
        self.costs = dict(zip(keys, costs, strict=True))
        self.net, self.dust = dict(net), dict(dust)
        if flow is None:
            flow = {name: net.get(name, ZERO) + dust.get(name, ZERO) for name in {**net, **dust}}
        self.flow = dict(flow)
        self.open_cost = sum(self.each_cost(), ZERO)

    def each_cost(self) -> Iterator[Decimal]:
        """Give what each position took out of the cash: cost of a long, - proceeds of a short, + entry fees."""
        for key, held in self.positions.items():
            yield self.costs[key].copy_sign(held.quantity) + held.entry_fees

    def check(self, symbol: str) -> None:
        """Pass where what came in of a symbol is held, or is dust.

        Raises:
            InvariantError: It is not.
        """
        flow, net, dust = (sums.get(symbol, ZERO) for sums in (self.flow, self.net, self.dust))
        check_symbol(symbol, flow, net, dust)

    def audit(self) -> None:
        """Check every symbol and the cost of all from the positions up.

        Raises:
            InvariantError: They do not add up.
        """
        net: dict[str, Decimal] = {}
        for (_, symbol, _), held in self.positions.items():
            net[symbol] = net.get(symbol, ZERO) + held.quantity
        for symbol in sorted(net.keys() | self.net.keys() | self.flow.keys() | self.dust.keys()):
            sums, whole = net.get(symbol, ZERO), self.net.get(symbol, ZERO)
            if sums != whole:
                msg = f"positions in {symbol} add up to {sums}, the net is {whole}"
                raise InvariantError(msg)
            self.check(symbol)
        cost = sum(self.each_cost(), ZERO)
        if cost != self.open_cost:
            msg = f"the costs of positions add up to {cost}, the open cost is {self.open_cost}"
            raise InvariantError(msg)

    # --- what comes and goes ---

    def count(self, symbol: str, signed: Decimal) -> None:
        """Count what came in at the account's door, whoever takes it."""
        _add(self.flow, symbol, signed)

    def take_in(self, move: Move) -> tuple[ClosedTrade, ...]:
        """Open a position, average into it, or close (a part of) it; a flip closes one and opens the other."""
        key = move.key
        before = self._weight(key)
        trades = self._taken(move)
        self._shift(key[1], before, self._weight(key))
        return trades

    def give_away(self, key: Key, quantity: Decimal, cost: Decimal) -> None:
        """Take ``quantity`` (signed, at most what is held) out of a position for ``cost``, without a trade."""
        before = self._weight(key)
        held = self.positions[key]
        if held.quantity == quantity:
            del self.positions[key], self.costs[key]
        else:
            self.costs[key] -= cost
            self.positions[key] = replace(held, quantity=held.quantity - quantity)
        self._shift(key[1], before, self._weight(key))

    def _weight(self, key: Key) -> tuple[Decimal, Decimal]:
        """Give what one key holds and what that took out of the cash."""
        held = self.positions.get(key)
        if held is None:
            return ZERO, ZERO
        return held.quantity, self.costs[key].copy_sign(held.quantity) + held.entry_fees

    def _shift(self, symbol: str, before: tuple[Decimal, Decimal], after: tuple[Decimal, Decimal]) -> None:
        _add(self.net, symbol, after[0] - before[0])
        self.open_cost += after[1] - before[1]

    def _taken(self, move: Move) -> tuple[ClosedTrade, ...]:
        held = self.positions.get(move.key)
        if held is None and self._is_of_dust(move):
            return (self._close_dust(move),)
        if held is None or (held.quantity > ZERO) == (move.side is Side.BUY):
            self._open(move, held)
            return ()
        closing = min(move.quantity, abs(held.quantity))
        opening = move.quantity - closing
        if opening == ZERO:
            return (self._close(move, held),)
        closed = replace(
            move, quantity=closing, value=money(closing * move.price), fee=share(move.fee, closing, move.quantity)
        )
        trade = self._close(closed, held)
        left = replace(move, quantity=opening, value=move.value - closed.value, fee=move.fee - closed.fee)
        self._open(left, None)
        return (trade,)

    def _is_of_dust(self, move: Move) -> bool:
        """Say whether an exit goes on with what its first executions had left as dust."""
        if not move.exit_reason or move.quantity > DUST:
            return False
        return move.quantity <= -self.dust.get(move.key[1], ZERO) * move.side.sign

    def _close_dust(self, move: Move) -> ClosedTrade:
        """Take dust away and give the trade of it: its cost went to the exit that left it."""
        strategy, symbol, tag = move.key
        _add(self.dust, symbol, move.quantity * move.side.sign)
        return ClosedTrade(
            strategy=strategy,
            symbol=symbol,
            tag=tag,
            side="LONG" if move.side is Side.SELL else "SHORT",
            quantity=move.quantity,
            entry_price=ZERO,
            exit_price=move.price,
            opened_ns=move.ts_ns,
            closed_ns=move.ts_ns,
            pnl=-move.side.sign * move.value - move.fee,
            fees=move.fee,
            exit_reason=move.exit_reason,
        )

    def _open(self, move: Move, held: Position | None) -> None:
        """Open a position or average into it; recorded levels stay unless the move brings new ones."""
        signed = move.quantity * move.side.sign
        if held is None:
            strategy, symbol, tag = move.key
            self.costs[move.key] = move.value
            held = Position(
                strategy=strategy,
                symbol=symbol,
                tag=tag,
                quantity=signed,
                average_price=move.price,
                entry_fees=move.fee,
                opened_ns=move.ts_ns,
                stop_loss=move.stop_loss,
                take_profit=move.take_profit,
                horizon=move.horizon,
            )
        else:
            self.costs[move.key] += move.value
            total = held.quantity + signed
            held = replace(
                held,
                quantity=total,
                average_price=self.costs[move.key] / abs(total),
                entry_fees=held.entry_fees + move.fee,
                stop_loss=held.stop_loss if move.stop_loss is None else move.stop_loss,
                take_profit=held.take_profit if move.take_profit is None else move.take_profit,
                horizon=held.horizon if move.horizon == HORIZON_DEFAULT else move.horizon,
            )
        self.positions[move.key] = held

    def _close(self, move: Move, held: Position) -> ClosedTrade:
        """Take the move's quantity (at most what is held) out of a position and give the trade of it."""
        key, quantity = move.key, move.quantity
        is_long = held.quantity > ZERO
        size = abs(held.quantity)
        left = size - quantity
        if left <= DUST:
            cost, entry_fee = self.costs.pop(key), held.entry_fees
            del self.positions[key]
            _add(self.dust, held.symbol, left.copy_sign(held.quantity))
        else:
            cost, entry_fee = share(self.costs[key], quantity, size), share(held.entry_fees, quantity, size)
            gone = quantity.copy_sign(held.quantity)
            self.costs[key] -= cost
            self.positions[key] = replace(held, quantity=held.quantity - gone, entry_fees=held.entry_fees - entry_fee)
        fees = entry_fee + move.fee
        gain = move.value - cost
        return ClosedTrade(
            strategy=held.strategy,
            symbol=held.symbol,
            tag=held.tag,
            side="LONG" if is_long else "SHORT",
            quantity=quantity,
            entry_price=held.average_price,
            exit_price=move.price,
            opened_ns=held.opened_ns,
            closed_ns=move.ts_ns,
            pnl=(gain if is_long else -gain) - fees,
            fees=fees,
            exit_reason=move.exit_reason,
        )


def _add(sums: dict[str, Decimal], symbol: str, signed: Decimal) -> None:
    """Add to one symbol's sum; a sum of 0 is not kept."""
    total = sums.get(symbol, ZERO) + signed
    sums[symbol] = total
    if total == ZERO:
        del sums[symbol]


def money(amount: Decimal) -> Decimal:
    """Give an amount of money (below 10 ** 16), cut to the quantum where it has more digits than that."""
    cut = amount.quantize(SHARE_QUANTUM)
    return amount if cut == amount else cut


def share(whole: Decimal, part: Decimal, of: Decimal) -> Decimal:
    """Give ``whole`` x ``part`` / ``of``, cut to the quantum of shares."""
    return (whole * part / of).quantize(SHARE_QUANTUM)
