"""Virtual sub-accounts: positions, trades and cash as a fold over booked fills."""

from collections.abc import Iterator, Mapping
from decimal import Decimal

import msgspec
from msgspec.structs import replace

from desk.messages import (
    CapitalChanged,
    FillBooked,
    JournalBody,
    LevelsChanged,
    Order,
    OrderChanged,
)
from desk.order import TERMINAL
from desk.units import ZERO

#: What is left of a position at or below this after an exit counts as nothing; its cost goes to that exit.
DUST = Decimal("1e-6")

#: Shares of a cost or a fee are cut to this quantum, and the rest stays with the rest: sums stay exact.
SHARE_QUANTUM = Decimal("1e-12")

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


class LedgerState(msgspec.Struct, frozen=True, array_like=True):
    """What decides how a ledger folds on and what it says, apart from trades, finished orders and executions.

    ``costs`` stand in the order of ``positions``, which are those of the ledger: oldest first.
    """

    capital: Decimal
    cash: Decimal
    fees: Decimal
    realised: Decimal
    trade_count: int
    positions: tuple[Position, ...]
    costs: tuple[Decimal, ...]
    net: dict[str, Decimal]
    realised_of: dict[str, Decimal]
    fees_of: dict[str, Decimal]
    working: tuple[Order, ...]


class Ledger:
    """The books of one account: a fold over the journal's bodies, the same for every reader.

    Cash = capital + signed flow of all fills - fees, which is also capital + realised - open cost - fees of what
    is open. Every event costs the same however long the history. What grows with it: the ids of
    executions (a repeat must be known for ever) and, where wanted, the trades. Finished orders beyond
    ``finished_orders_max`` are forgotten, oldest first. A reader that takes in each record of the journal once, in
    order, needs no memory of executions (``keep_executions``): the journal has each of them once.
    """

    def __init__(
        self, *, keep_trades: bool = True, keep_executions: bool = True, finished_orders_max: int = 10_000
    ) -> None:
        """Start with empty books and no capital."""
        assert finished_orders_max >= 0, "a bound is not negative"
        self.capital: Decimal = ZERO
        self.cash: Decimal = ZERO
        self.fees: Decimal = ZERO
        self.realised: Decimal = ZERO
        self.trade_count: int = 0
        self.trades: list[ClosedTrade] = []
        self._keep_trades: bool = keep_trades
        self._keep_executions: bool = keep_executions
        self._finished_orders_max: int = finished_orders_max
        self._positions: dict[Key, Position] = {}
        self._costs: dict[Key, Decimal] = {}
        self._net: dict[str, Decimal] = {}
        self._realised: dict[str, Decimal] = {}
        self._fees: dict[str, Decimal] = {}
        self._executions: set[str] = set()
        self._working: dict[str, Order] = {}
        self._finished: dict[str, Order] = {}

    # --- reading ---

    @property
    def positions(self) -> Mapping[Key, Position]:
        """Open positions, oldest first. Read only."""
        return self._positions

    @property
    def working(self) -> Mapping[str, Order]:
        """Orders that are not finished, by id, oldest first. Read only."""
        return self._working

    def position(self, strategy: str, symbol: str, tag: str) -> Position | None:
        """Give the open position of one key, or None."""
        return self._positions.get((strategy, symbol, tag))

    def positions_of(self, strategy: str) -> tuple[Position, ...]:
        """Give the open positions of one strategy, oldest first."""
        return tuple(held for held in self._positions.values() if held.strategy == strategy)

    def order(self, order_id: str) -> Order | None:
        """Give one order, working or among the last finished ones, or None."""
        return self._working.get(order_id) or self._finished.get(order_id)

    def orders(self) -> Iterator[Order]:
        """Give the finished orders that are still kept, then the working ones."""
        yield from self._finished.values()
        yield from self._working.values()

    def has_execution(self, execution_id: str) -> bool:
        """Say whether this execution is booked."""
        return execution_id in self._executions

    def net_quantity(self, symbol: str) -> Decimal:
        """Give the signed sum over all strategies and tags of one symbol."""
        return self._net.get(symbol, ZERO)

    def net_quantities(self) -> dict[str, Decimal]:
        """Give the signed net quantity of each symbol that is not flat."""
        return dict(self._net)

    def realised_of(self, strategy: str) -> Decimal:
        """Give one strategy's realised profit after fees."""
        return self._realised.get(strategy, ZERO)

    def fees_of(self, strategy: str) -> Decimal:
        """Give all fees that one strategy's fills cost."""
        return self._fees.get(strategy, ZERO)

    def open_cost(self) -> Decimal:
        """Give what the open positions took out of the cash: cost of longs - proceeds of shorts + entry fees."""
        total = ZERO
        for key, held in self._positions.items():
            total += self._costs[key].copy_sign(held.quantity) + held.entry_fees
        return total

    def equity(self, marks: Mapping[str, Decimal]) -> Decimal:
        """Give cash + the value of all positions; a symbol without mark counts at its average price."""
        total = self.cash
        for held in self._positions.values():
            total += held.quantity * marks.get(held.symbol, held.average_price)
        return total

    # --- putting away and taking up ---

    def state(self) -> LedgerState:
        """Give what ``restore`` takes; trades, finished orders and executions are not in it."""
        return LedgerState(
            capital=self.capital,
            cash=self.cash,
            fees=self.fees,
            realised=self.realised,
            trade_count=self.trade_count,
            positions=tuple(self._positions.values()),
            costs=tuple(self._costs[key] for key in self._positions),
            net=dict(self._net),
            realised_of=dict(self._realised),
            fees_of=dict(self._fees),
            working=tuple(self._working.values()),
        )

    def restore(self, state: LedgerState) -> None:
        """Take up an empty ledger where another one was put away; it folds on to the last digit as that one would.

        Raises:
            ValueError: The state contradicts itself. Nothing has changed then.
        """
        assert not self._executions, "only a ledger that has folded nothing takes up another's state"
        if len(state.costs) != len(state.positions):
            msg = f"{len(state.positions)} positions with {len(state.costs)} costs"
            raise ValueError(msg)
        self.capital, self.cash, self.fees = state.capital, state.cash, state.fees
        self.realised, self.trade_count = state.realised, state.trade_count
        keys = [(held.strategy, held.symbol, held.tag) for held in state.positions]
        self._positions = dict(zip(keys, state.positions, strict=True))
        self._costs = dict(zip(keys, state.costs, strict=True))
        self._net, self._realised, self._fees = dict(state.net), dict(state.realised_of), dict(state.fees_of)
        self._working = {order.order_id: order for order in state.working}

    # --- folding ---

    def apply(self, body: JournalBody) -> tuple[ClosedTrade, ...]:
        """Take in one event and give the trades that it closed.

        An execution that is booked already changes nothing. Bodies that concern no book are passed over.

        Raises:
            ValueError: A fill's or a capital's figure is not finite, or a quantity or price is not above 0.
                Nothing has changed then.
        """
        match body:
            case FillBooked():
                return self._book(body)
            case OrderChanged(order=order):
                self._keep(order)
            case LevelsChanged():
                self._change_levels(body)
            case CapitalChanged(amount=amount):
                if not amount.is_finite():
                    msg = f"capital {amount} is not a finite number"
                    raise ValueError(msg)
                self.capital += amount
                self.cash += amount
            case _:
                pass
        return ()

    def _keep(self, order: Order) -> None:
        if order.state not in TERMINAL:
            self._working[order.order_id] = order
            return
        if order.order_id in self._working:
            del self._working[order.order_id]
        self._finished[order.order_id] = order
        if len(self._finished) > self._finished_orders_max:
            del self._finished[next(iter(self._finished))]

    def _change_levels(self, levels: LevelsChanged) -> None:
        key = (levels.strategy, levels.symbol, levels.tag)
        held = self._positions.get(key)
        if held is not None:
            self._positions[key] = replace(held, stop_loss=levels.stop_loss, take_profit=levels.take_profit)

    def _book(self, fill: FillBooked) -> tuple[ClosedTrade, ...]:
        _check(fill)
        if fill.execution_id in self._executions:
            return ()
        if self._keep_executions:
            self._executions.add(fill.execution_id)
        signed = fill.quantity * fill.side.sign
        self.cash -= signed * fill.price + fill.fee
        self.fees += fill.fee
        self._fees[fill.strategy] = self._fees.get(fill.strategy, ZERO) + fill.fee
        held = self._positions.get((fill.strategy, fill.symbol, fill.tag))
        if held is None or (held.quantity > ZERO) == (signed > ZERO):
            self._open(fill, fill.quantity, fill.fee)
            return ()
        closing = min(fill.quantity, abs(held.quantity))
        opening = fill.quantity - closing
        fee = fill.fee if opening == ZERO else _share(fill.fee, closing, fill.quantity)
        trade = self._close(fill, held, closing, fee)
        if opening > ZERO:
            self._open(fill, opening, fill.fee - fee)
        return (trade,)

    def _open(self, fill: FillBooked, quantity: Decimal, fee: Decimal) -> None:
        """Open a position or average into it; recorded levels stay unless the fill brings new ones."""
        key = (fill.strategy, fill.symbol, fill.tag)
        signed = quantity * fill.side.sign
        held = self._positions.get(key)
        if held is None:
            self._costs[key] = quantity * fill.price
            held = Position(
                strategy=fill.strategy,
                symbol=fill.symbol,
                tag=fill.tag,
                quantity=signed,
                average_price=fill.price,
                entry_fees=fee,
                opened_ns=fill.ts_ns,
                stop_loss=fill.stop_loss,
                take_profit=fill.take_profit,
            )
        else:
            self._costs[key] += quantity * fill.price
            total = held.quantity + signed
            held = replace(
                held,
                quantity=total,
                average_price=self._costs[key] / abs(total),
                entry_fees=held.entry_fees + fee,
                stop_loss=held.stop_loss if fill.stop_loss is None else fill.stop_loss,
                take_profit=held.take_profit if fill.take_profit is None else fill.take_profit,
            )
        self._positions[key] = held
        self._shift(fill.symbol, signed)

    def _close(self, fill: FillBooked, held: Position, quantity: Decimal, fee: Decimal) -> ClosedTrade:
        """Take ``quantity`` (at most what is held) out of a position and give the trade of it."""
        key = (fill.strategy, fill.symbol, fill.tag)
        is_long = held.quantity > ZERO
        size = abs(held.quantity)
        left = size - quantity
        if left <= DUST:
            cost, entry_fee, gone = self._costs.pop(key), held.entry_fees, held.quantity
            del self._positions[key]
        else:
            cost, entry_fee = _share(self._costs[key], quantity, size), _share(held.entry_fees, quantity, size)
            gone = quantity.copy_sign(held.quantity)
            self._costs[key] -= cost
            self._positions[key] = replace(held, quantity=held.quantity - gone, entry_fees=held.entry_fees - entry_fee)
        self._shift(fill.symbol, -gone)
        fees = entry_fee + fee
        gain = quantity * fill.price - cost
        trade = ClosedTrade(
            strategy=fill.strategy,
            symbol=fill.symbol,
            tag=fill.tag,
            side="LONG" if is_long else "SHORT",
            quantity=quantity,
            entry_price=held.average_price,
            exit_price=fill.price,
            opened_ns=held.opened_ns,
            closed_ns=fill.ts_ns,
            pnl=(gain if is_long else -gain) - fees,
            fees=fees,
            exit_reason=fill.exit_reason,
        )
        self.realised += trade.pnl
        self._realised[fill.strategy] = self._realised.get(fill.strategy, ZERO) + trade.pnl
        self.trade_count += 1
        if self._keep_trades:
            self.trades.append(trade)
        return trade

    def _shift(self, symbol: str, signed: Decimal) -> None:
        net = self._net.get(symbol, ZERO) + signed
        self._net[symbol] = net
        if net == ZERO:
            del self._net[symbol]


def _share(whole: Decimal, part: Decimal, of: Decimal) -> Decimal:
    """Give ``whole`` x ``part`` / ``of``, cut to the quantum of shares."""
    return (whole * part / of).quantize(SHARE_QUANTUM)


def _check(fill: FillBooked) -> None:
    if not (fill.quantity.is_finite() and fill.quantity > ZERO):
        msg = f"fill {fill.execution_id}: quantity must be above 0, not {fill.quantity}"
        raise ValueError(msg)
    if not (fill.price.is_finite() and fill.price > ZERO):
        msg = f"fill {fill.execution_id}: price must be above 0, not {fill.price}"
        raise ValueError(msg)
    if not fill.fee.is_finite():
        msg = f"fill {fill.execution_id}: fee {fill.fee} is not a finite number"
        raise ValueError(msg)
