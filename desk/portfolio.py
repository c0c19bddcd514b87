"""Virtual sub-accounts: positions, trades and cash as a fold over booked fills."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from decimal import Decimal

import msgspec

from desk.conservation import InvariantError, check_books, check_order
from desk.executions import Executions, ExecutionSet, NoExecutions, fault_of, names_of
from desk.holdings import (
    DUST,
    EXTERNAL,
    HORIZON_DEFAULT,
    SHARE_QUANTUM,
    ClosedTrade,
    Holdings,
    Key,
    Move,
    Position,
    money,
    share,
)
from desk.messages import (
    CapitalChanged,
    ExternalAdopted,
    ExternalBooked,
    FillBooked,
    JournalBody,
    LevelsChanged,
    Order,
    OrderChanged,
    OrderState,
    Side,
)
from desk.order import TERMINAL
from desk.units import ZERO

#: No figure of a fill, and no amount of money that follows from one, reaches this.
FIGURE_MAX = Decimal(10**15)
#: What is asked for with each order: to look a member up in its class costs as much as several calls.
_UNKNOWN = OrderState.UNKNOWN
#: Why a trade was closed that came of a difference between our books and a venue's.
REASON_RECONCILIATION = "RECONCILIATION"


class LedgerState(msgspec.Struct, frozen=True, array_like=True):
    """What decides how a ledger folds on and what it says, apart from trades, finished orders and executions.

    ``costs`` stand in the order of ``positions``, which are those of the ledger: oldest first. ``flow`` is None in a
    state of a ledger that did not keep it: what is held explains it then.
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
    dust: dict[str, Decimal] = {}
    flow: dict[str, Decimal] | None = None
    ahead: dict[str, Decimal] = {}
    base_fees: dict[str, Decimal] = {}
    starting_capital: Decimal | None = None
    deposits: Decimal = ZERO
    closed_trades: int = 0
    last_gain: int = 0


class Ledger:
    """The books of one account: a fold over the journal's bodies, the same for every reader.

    Cash = capital + signed flow of all fills - fees, which is also capital + realised - open cost - fees of what
    is open. This and that nothing is held that did not come, and that no order counts more or less than its
    executions, is checked after every event, to the last digit. Every event costs the same however long the history.
    What grows with it: the ids of executions (a repeat must be known for ever) and, where wanted, the trades.
    Finished orders beyond ``finished_orders_max`` are forgotten, oldest first. A reader that takes in each record of
    the journal once, in order, needs no memory of executions (``keep_executions``): the journal has each of them once.
    """

    def __init__(
        self,
        *,
        keep_trades: bool = True,
        keep_executions: bool = True,
        finished_orders_max: int = 10_000,
        executions: Executions | None = None,
        is_whole: bool = True,
        archive: Callable[[str], Order | None] | None = None,
    ) -> None:
        """Start with empty books and no capital.

        Args:
            keep_trades: Whether ``trades`` grows.
            keep_executions: Whether repeats are known; where not, ``executions`` is not asked.
            finished_orders_max: How many finished orders are kept, >= 0.
            executions: The memory of executions; None for one of its own.
            is_whole: False for the books of one strategy, which see an adoption without what stood under EXTERNAL.
            archive: Who is asked for an order that is not in memory, by its id; None where nobody is.
        """
        assert finished_orders_max >= 0, "a bound is not negative"
        self.capital: Decimal = ZERO
        self.cash: Decimal = ZERO
        self.fees: Decimal = ZERO
        self.realised: Decimal = ZERO
        self.trade_count: int = 0
        self.trades: list[ClosedTrade] = []
        #: The first capital that came in; None before.
        self.starting_capital: Decimal | None = None
        #: Cash that came in since, less what went out.
        self.deposits: Decimal = ZERO
        #: Trades that strategies closed, and how many there were when one last came that lost nothing.
        self.closed_trades: int = 0
        self.last_gain: int = 0
        self._keep_trades: bool = keep_trades
        self._executions: Executions = (executions or ExecutionSet()) if keep_executions else NoExecutions()
        self._finished_orders_max: int = finished_orders_max
        self._is_whole: bool = is_whole
        self._archive: Callable[[str], Order | None] | None = archive
        self._is_new: bool = True
        self._holdings: Holdings = Holdings()
        self._realised: dict[str, Decimal] = {}
        self._fees: dict[str, Decimal] = {}
        self._base_fees: dict[str, Decimal] = {}
        self._ahead: dict[str, Decimal] = {}
        self._working: dict[str, Order] = {}
        self._around: dict[Key, dict[str, Order]] = {}
        self._unknown: dict[str, Order] = {}
        self._finished: dict[str, Order] = {}

    # --- reading ---

    @property
    def positions(self) -> Mapping[Key, Position]:
        """Open positions, oldest first. Read only."""
        return self._holdings.positions

    @property
    def working(self) -> Mapping[str, Order]:
        """Orders that are not finished, by id, oldest first. Read only."""
        return self._working

    @property
    def unknown(self) -> Mapping[str, Order]:
        """The working orders in doubt, by id, those first that came into doubt first. Read only."""
        return self._unknown

    def working_around(self, key: Key) -> Mapping[str, Order]:
        """Give the working orders of one position, by id, oldest first. Read only."""
        return self._around.get(key, {})

    def position(self, strategy: str, symbol: str, tag: str) -> Position | None:
        """Give the open position of one key, or None."""
        return self._holdings.positions.get((strategy, symbol, tag))

    def positions_of(self, strategy: str) -> tuple[Position, ...]:
        """Give the open positions of one strategy, oldest first."""
        return tuple(held for held in self._holdings.positions.values() if held.strategy == strategy)

    def external(self) -> tuple[Position, ...]:
        """Give what stands under EXTERNAL, oldest first."""
        return self.positions_of(EXTERNAL)

    def external_cost(self, symbol: str, quantity: Decimal) -> Decimal:
        """Give the share of its cost that goes with ``quantity`` (signed) of what stands under EXTERNAL.

        Raises:
            ValueError: So much does not stand there, or on the other side.
        """
        held = self._holdings.positions.get((EXTERNAL, symbol, ""))
        has = ZERO if held is None else held.quantity
        if held is None or not quantity.is_finite() or quantity * has <= ZERO or abs(quantity) > abs(has):
            msg = f"EXTERNAL holds {has} {symbol}, not {quantity}"
            raise ValueError(msg)
        cost = self._holdings.costs[EXTERNAL, symbol, ""]
        return cost if quantity == has else share(cost, quantity, has)

    def order(self, order_id: str) -> Order | None:
        """Give one order, working or finished, or None; of finished ones without archive only the last."""
        found = self._working.get(order_id) or self._finished.get(order_id)
        return found if found is not None or self._archive is None else self._archive(order_id)

    def orders(self) -> Iterator[Order]:
        """Give the finished orders that are still kept, then the working ones."""
        yield from self._finished.values()
        yield from self._working.values()

    def has_execution(self, execution_id: str, venue: str = "", account: str = "") -> bool:
        """Say whether this execution is booked, under its whole name or as a desk that kept less wrote it down."""
        return any(map(self._executions.knows, names_of(venue, account, execution_id)))

    def net_quantity(self, symbol: str) -> Decimal:
        """Give the signed sum over all strategies, EXTERNAL among them, and tags of one symbol."""
        return self._holdings.net.get(symbol, ZERO)

    def net_quantities(self) -> dict[str, Decimal]:
        """Give the signed net quantity of each symbol that is not flat."""
        return dict(self._holdings.net)

    def dust_quantities(self) -> dict[str, Decimal]:
        """Give what closed positions left over by symbol: the venue still has it, and it counts as nothing."""
        return dict(self._holdings.dust)

    def venue_quantities(self) -> dict[str, Decimal]:
        """Give what a venue must hold by our books, by symbol, flat ones left out: net quantity and dust."""
        return dict(self._holdings.flow)

    def base_fees(self, symbol: str) -> Decimal:
        """Give what the fees of a symbol's fills come to in the symbol itself, since its last external booking.

        A venue that takes its fees in what was bought holds so much less.
        """
        return self._base_fees.get(symbol, ZERO)

    def realised_of(self, strategy: str) -> Decimal:
        """Give one strategy's realised profit after fees."""
        return self._realised.get(strategy, ZERO)

    def fees_of(self, strategy: str) -> Decimal:
        """Give all fees that one strategy's fills cost."""
        return self._fees.get(strategy, ZERO)

    def open_cost(self) -> Decimal:
        """Give what the open positions took out of the cash: cost of longs - proceeds of shorts + entry fees."""
        return sum(self._holdings.each_cost(), ZERO)

    def equity(self, marks: Mapping[str, Decimal]) -> Decimal:
        """Give cash + the value of all positions; a symbol without mark counts at its average price."""
        total = self.cash
        for held in self._holdings.positions.values():
            total += held.quantity * marks.get(held.symbol, held.average_price)
        return total

    # --- putting away and taking up ---

    def state(self) -> LedgerState:
        """Give what ``restore`` takes; trades, finished orders and executions are not in it."""
        held = self._holdings
        return LedgerState(
            capital=self.capital,
            cash=self.cash,
            fees=self.fees,
            realised=self.realised,
            trade_count=self.trade_count,
            positions=tuple(held.positions.values()),
            costs=tuple(held.costs[key] for key in held.positions),
            net=dict(held.net),
            realised_of=dict(self._realised),
            fees_of=dict(self._fees),
            working=tuple(self._working.values()),
            dust=dict(held.dust),
            flow=dict(held.flow),
            ahead=dict(self._ahead),
            base_fees=dict(self._base_fees),
            starting_capital=self.starting_capital,
            deposits=self.deposits,
            closed_trades=self.closed_trades,
            last_gain=self.last_gain,
        )

    def restore(self, state: LedgerState) -> None:
        """Take up an empty ledger where another one was put away; it folds on to the last digit as that one would.

        Raises:
            InvariantError: The state contradicts itself. The ledger is of no use then.
        """
        assert self._is_new, "only a ledger that has folded nothing takes up another's state"
        self._is_new = False
        self._holdings.restore(state.positions, state.costs, state.net, state.dust, state.flow)
        self.capital, self.cash, self.fees = state.capital, state.cash, state.fees
        self.realised, self.trade_count = state.realised, state.trade_count
        self.starting_capital = self.starting_capital if state.starting_capital is None else state.starting_capital
        self.deposits = state.deposits
        self.closed_trades, self.last_gain = state.closed_trades, state.last_gain
        self._realised, self._fees = dict(state.realised_of), dict(state.fees_of)
        self._ahead, self._base_fees = dict(state.ahead), dict(state.base_fees)
        for order in state.working:
            self._keep_working(order)
        self.audit()

    # --- folding ---

    def apply(self, body: JournalBody) -> tuple[ClosedTrade, ...]:
        """Take in one event and give the trades that it closed.

        An execution that is booked already changes nothing. Bodies that concern no book are passed over.

        Raises:
            InvariantError: Money or quantity appeared or vanished, or an order contradicts its executions. The
                ledger is of no use then.
            ValueError: A figure of the event is none: not finite, not above 0 where it must be, or too large.
                Nothing has changed then.
        """
        match body:
            case OrderChanged():
                self._keep(body.order, body.previous)
            case FillBooked():
                return self._book(body)
            case LevelsChanged():
                self._change_levels(body)
            case CapitalChanged(amount=amount):
                if not amount.is_finite():
                    msg = f"capital {amount} is not a finite number"
                    raise ValueError(msg)
                self.capital += amount
                self.cash += amount
                if self.starting_capital is None:
                    self.starting_capital = amount
                else:
                    self.deposits += amount
                self._check()
            case ExternalBooked():
                return self._book_external(body)
            case ExternalAdopted():
                return self._adopt(body)
            case _:
                pass
        return ()

    def audit(self) -> None:
        """Check everything from first principles; it costs as much as there are positions and strategies.

        Raises:
            InvariantError: The books contradict themselves, in figures.
        """
        self._holdings.audit()
        for name, whole, parts in (("realised", self.realised, self._realised), ("fees", self.fees, self._fees)):
            if whole != sum(parts.values(), ZERO):
                msg = f"{name}: the strategies' add up to {sum(parts.values(), ZERO)}, the account's is {whole}"
                raise InvariantError(msg)
        self._check()

    def _check(self) -> None:
        check_books(self.cash, self.capital, self.realised, self._holdings.open_cost)

    def _keep(self, order: Order, previous: str) -> None:
        """Take in an order as it is now; one that is born here (``previous`` is "") is looked for in no archive."""
        name = order.order_id
        known = self._working.get(name) or (self.order(name) if previous else self._finished.get(name))
        if known is not None or self._ahead:
            ahead = check_order(order, known, self._ahead.pop(name, ZERO))
            if ahead != ZERO:
                self._ahead[name] = ahead
        if order.state not in TERMINAL:
            self._keep_working(order)
            return
        if name in self._working:
            self._let_go(order)
        self._finished[name] = order
        if len(self._finished) > self._finished_orders_max:
            del self._finished[next(iter(self._finished))]

    def bear(self, orders: Iterable[Order]) -> None:
        """Take in orders that are PENDING and were never heard of before, as ``apply`` does with the record of each."""
        working, around = self._working, self._around
        for order in orders:
            name, key = order.order_id, (order.strategy, order.symbol, order.tag)
            working[name] = order
            beside = around.get(key)
            if beside is None:
                beside = around[key] = {}
            beside[name] = order

    def known_among(self, order_ids: AbstractSet[str]) -> set[str]:
        """Give those of the ids whose orders are in memory, working or finished."""
        return (self._working.keys() & order_ids) | (self._finished.keys() & order_ids)

    def _keep_working(self, order: Order) -> None:
        name, key = order.order_id, (order.strategy, order.symbol, order.tag)
        self._working[name] = order
        around = self._around.get(key)
        if around is None:
            around = self._around[key] = {}
        around[name] = order
        if order.state is _UNKNOWN:
            self._unknown[name] = order
        elif self._unknown:
            self._unknown.pop(name, None)

    def _let_go(self, order: Order) -> None:
        del self._working[order.order_id]
        self._unknown.pop(order.order_id, None)
        key = order.key
        del self._around[key][order.order_id]
        if not self._around[key]:
            del self._around[key]

    def _change_levels(self, levels: LevelsChanged) -> None:
        key = (levels.strategy, levels.symbol, levels.tag)
        held = self._holdings.positions.get(key)
        if held is not None:
            self._holdings.positions[key] = msgspec.structs.replace(
                held,
                stop_loss=levels.stop_loss,
                take_profit=levels.take_profit,
                horizon=levels.horizon or held.horizon,
            )

    # --- what comes and goes ---

    def _book(self, fill: FillBooked) -> tuple[ClosedTrade, ...]:
        _check(fill)
        if self.has_execution(fill.execution_id, fill.venue, fill.account):
            return ()
        self._is_new = False
        self._executions.add((fill.venue, fill.account, fill.execution_id))
        self._ahead[fill.order_id] = self._ahead.get(fill.order_id, ZERO) + fill.quantity
        value, fee = money(fill.quantity * fill.price), money(fill.fee)
        self.cash -= fill.side.sign * value + fee
        self.fees += fee
        self._fees[fill.strategy] = self._fees.get(fill.strategy, ZERO) + fee
        base_fee = (fill.fee / fill.price).quantize(SHARE_QUANTUM)
        self._base_fees[fill.symbol] = self._base_fees.get(fill.symbol, ZERO) + max(base_fee, ZERO)
        self._holdings.count(fill.symbol, fill.quantity * fill.side.sign)
        move = Move(
            key=(fill.strategy, fill.symbol, fill.tag),
            side=fill.side,
            quantity=fill.quantity,
            price=fill.price,
            value=value,
            fee=fee,
            ts_ns=fill.ts_ns,
            exit_reason=fill.exit_reason,
            stop_loss=fill.stop_loss,
            take_profit=fill.take_profit,
            horizon=fill.horizon,
        )
        return self._settle(move)

    def _book_external(self, external: ExternalBooked) -> tuple[ClosedTrade, ...]:
        """Take in what the venue has: in kind, so that no cash moves."""
        _check_external(f"{external.symbol} of EXTERNAL", external.quantity, external.price)
        side = Side.BUY if external.quantity > ZERO else Side.SELL
        quantity = abs(external.quantity)
        value = money(quantity * external.price)
        self.capital += side.sign * value
        self._holdings.count(external.symbol, external.quantity)
        _ = self._base_fees.pop(external.symbol, None)
        key = (EXTERNAL, external.symbol, "")
        return self._settle(
            Move(key, side, quantity, external.price, value, ZERO, external.ts_ns, REASON_RECONCILIATION)
        )

    def _adopt(self, adopted: ExternalAdopted) -> tuple[ClosedTrade, ...]:
        """Move what stands under EXTERNAL to its new owner, at its cost: neither cash nor net quantity changes."""
        symbol, quantity = adopted.symbol, abs(adopted.quantity)
        _check_external(f"adoption of {symbol}", adopted.quantity, adopted.cost)
        side = Side.BUY if adopted.quantity > ZERO else Side.SELL
        if self._is_whole:
            _ = self.external_cost(symbol, adopted.quantity)  # refuses what is not there
            self._holdings.give_away((EXTERNAL, symbol, ""), adopted.quantity, adopted.cost)
        else:
            self.capital += side.sign * adopted.cost
            self._holdings.count(symbol, adopted.quantity)
        return self._settle(
            Move(
                key=(adopted.strategy, symbol, adopted.tag),
                side=side,
                quantity=quantity,
                price=adopted.cost / quantity,
                value=adopted.cost,
                fee=ZERO,
                ts_ns=adopted.ts_ns,
                exit_reason=REASON_RECONCILIATION,
                stop_loss=adopted.stop_loss,
                take_profit=adopted.take_profit,
            )
        )

    def _settle(self, move: Move) -> tuple[ClosedTrade, ...]:
        """Let one key take in a move, then check that what is held agrees with what came and what it cost."""
        trades = self._holdings.take_in(move)
        for trade in trades:
            self.realised += trade.pnl
            self._realised[trade.strategy] = self._realised.get(trade.strategy, ZERO) + trade.pnl
            self.trade_count += 1
            is_own = trade.strategy != EXTERNAL and trade.exit_reason != REASON_RECONCILIATION
            if is_own and trade.quantity > DUST:
                self.closed_trades += 1
                self.last_gain = self.closed_trades if trade.pnl >= ZERO else self.last_gain
            if self._keep_trades:
                self.trades.append(trade)
        self._holdings.check(move.key[1])
        self._check()
        return trades


def fault_of_fill(quantity: Decimal, price: Decimal, fee: Decimal) -> str:
    """Say why the books do not take an execution of these figures, or ""."""
    fault = fault_of(quantity, price, fee)
    if fault:
        return fault
    if max(quantity, price, abs(fee)) >= FIGURE_MAX or quantity * price >= FIGURE_MAX or abs(fee) >= FIGURE_MAX * price:
        return f"{quantity} at {price} with a fee of {fee} is beyond counting"
    return ""


def _check(fill: FillBooked) -> None:
    fault = fault_of_fill(fill.quantity, fill.price, fill.fee)
    if fault:
        msg = f"fill {fill.execution_id}: {fault}"
        raise ValueError(msg)


def _check_external(what: str, quantity: Decimal, money: Decimal) -> None:
    """Refuse a signed quantity or an amount (>= 0) that is none."""
    is_figure = quantity.is_finite() and money.is_finite() and quantity != ZERO and money >= ZERO
    if not is_figure or max(abs(quantity), money, abs(quantity) * money) >= FIGURE_MAX:
        msg = f"{what}: {quantity} at {money} cannot be booked"
        raise ValueError(msg)


__all__ = [
    "DUST",
    "EXTERNAL",
    "HORIZON_DEFAULT",
    "REASON_RECONCILIATION",
    "SHARE_QUANTUM",
    "ClosedTrade",
    "InvariantError",
    "Key",
    "Ledger",
    "LedgerState",
    "Position",
    "fault_of_fill",
]
