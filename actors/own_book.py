"""What a strategy may see of itself: its positions, pending wishes, profit of the day."""

from collections import deque
from collections.abc import Iterable
from decimal import Decimal, localcontext

import msgspec

from actors.calendar import NewYork
from actors.tag_rules import Aim, aims, auto_number, number_after
from desk.messages import (
    CapitalChanged,
    Effect,
    FillBooked,
    Intent,
    JournalBody,
    OrderChanged,
    Purpose,
)
from desk.portfolio import ClosedTrade, Ledger, LedgerState, Position
from desk.units import CONTEXT, ZERO, decimal_of
from strategies.base import Signal, Strategy, View

RECENT_TRADES_MAX = 100
#: Days of which profit and fees are remembered.
DAYS_MAX = 7


class BookState(msgspec.Struct, frozen=True, array_like=True):
    """Everything of an own book but its marks and its recent trades, which change at other times."""

    ledger: LedgerState
    day: str
    pnl: dict[str, Decimal]
    fees: dict[str, Decimal]
    autos: dict[str, int] = {}


class OwnBook:
    """A fold over the strategy's own journal records, with the profit of each New York day.

    It counts in the desk's own context: the strategy may have set another for itself, with fewer digits.
    ``is_changed`` and ``has_new_trades`` say what has to be kept anew; who keeps it sets them back.
    """

    def __init__(self, balance: Decimal, calendar: NewYork) -> None:
        """Start with the balance that the strategy's sizes are shares of."""
        self._ledger = Ledger(keep_trades=False, keep_executions=False, finished_orders_max=0, is_whole=False)
        with localcontext(CONTEXT):
            self._ledger.apply(CapitalChanged(balance, "allocation", 0))
        self._calendar = calendar
        self._marks: dict[str, Decimal] = {}
        self._recent: deque[ClosedTrade] = deque(maxlen=RECENT_TRADES_MAX)
        self._day = ""
        self._pnl: dict[str, Decimal] = {}
        self._fees: dict[str, Decimal] = {}
        self._autos: dict[str, int] = {}
        self._recent_view: tuple[ClosedTrade, ...] = ()
        self.is_changed = False
        self.has_new_trades = False

    # --- putting away and taking up -----------------------------------------------------------

    def state(self) -> BookState:
        """Give the book without marks and recent trades."""
        return BookState(self._ledger.state(), self._day, dict(self._pnl), dict(self._fees), dict(self._autos))

    @property
    def marks(self) -> dict[str, Decimal]:
        """Each symbol's last price. Read only."""
        return self._marks

    @property
    def recent_trades(self) -> tuple[ClosedTrade, ...]:
        """The last closed trades, oldest first."""
        return self._recent_view

    def restore(self, state: BookState, marks: dict[str, Decimal], recent: tuple[ClosedTrade, ...]) -> None:
        """Take up an empty book where another one was put away; every view is what it would have been.

        Raises:
            ValueError: The state contradicts itself.
        """
        with localcontext(CONTEXT):
            self._ledger.restore(state.ledger)
        self._day, self._pnl, self._fees = state.day, dict(state.pnl), dict(state.fees)
        self._autos = dict(state.autos)
        self._marks = dict(marks)
        self._recent.extend(recent)
        self._recent_view = tuple(self._recent)

    # --- reading ------------------------------------------------------------------------------

    @property
    def positions(self) -> tuple[Position, ...]:
        """Own open positions, oldest first."""
        return tuple(self._ledger.positions.values())

    @property
    def day_pnl(self) -> Decimal:
        """Net realised profit of the last evaluated day."""
        return self._pnl.get(self._day, ZERO)

    @property
    def total_pnl(self) -> Decimal:
        """Net realised profit since the beginning."""
        return self._ledger.realised

    @property
    def is_flat(self) -> bool:
        """True where it holds no position and no order works."""
        return not self._ledger.positions and not self._ledger.working

    # --- folding ------------------------------------------------------------------------------

    def take(self, body: JournalBody, strategy: Strategy) -> None:
        """Take in one own record, and tell ``strategy`` of it."""
        with localcontext(CONTEXT):
            trades = self._fold(body)
        if isinstance(body, OrderChanged):
            order = body.order
            number = max(self._autos.get(order.symbol, 0), auto_number(order.symbol, order.tag))
            if number:
                self._autos[order.symbol] = number
            strategy.on_order(order)
        elif isinstance(body, FillBooked):
            strategy.on_fill(body)
        for trade in trades:
            strategy.on_position_closed(trade)

    def _fold(self, body: JournalBody) -> tuple[ClosedTrade, ...]:
        trades = self._ledger.apply(body)
        self.is_changed = True
        self.has_new_trades = self.has_new_trades or bool(trades)
        if isinstance(body, FillBooked):
            day = self._calendar.moment(body.ts_ns).day
            self._fees[day] = self._fees.get(day, ZERO) + body.fee
        for trade in trades:
            day = self._calendar.moment(trade.closed_ns).day
            self._pnl[day] = self._pnl.get(day, ZERO) + trade.pnl
            self._recent.append(trade)
        self._recent_view = tuple(self._recent) if trades else self._recent_view
        return trades

    def mark(self, symbol: str, price: float) -> None:
        """Note a symbol's last price."""
        self._marks[symbol] = decimal_of(price)

    def mark_of(self, symbol: str) -> Decimal:
        """Give a symbol's last price, 0 before the first one."""
        return self._marks.get(symbol, ZERO)

    def aims(self, signal: Signal, unanswered: Iterable[Intent]) -> tuple[Aim, ...]:
        """Give the own positions that a signal speaks of, where these intents have no order yet."""
        number = number_after(signal.symbol, self._autos.get(signal.symbol, 0), unanswered)
        return aims(signal, self.positions, number)

    def view(self, ts_ns: int, pending: Iterable[Intent]) -> View:
        """Give what the strategy sees at the evaluation of the event at ``ts_ns``."""
        moment = self._calendar.moment(ts_ns)
        if moment.day != self._day:
            self._day = moment.day
            self.is_changed = True
            for kept in (self._pnl, self._fees):
                for day in sorted(kept)[:-DAYS_MAX]:
                    del kept[day]
        entries = {intent.symbol for intent in pending if intent.effect is Effect.OPEN}
        exits = {intent.symbol for intent in pending if intent.effect is Effect.CLOSE}
        for order in self._ledger.working.values():
            if order.purpose is Purpose.ENTRY:
                entries.add(order.symbol)
            elif order.purpose is Purpose.EXIT:
                exits.add(order.symbol)
        with localcontext(CONTEXT):
            total_value = self._ledger.equity(self._marks)
        return View(
            moment=moment,
            positions=tuple(self._ledger.positions.values()),
            entry_pending=frozenset(entries),
            exit_pending=frozenset(exits),
            cash=self._ledger.cash,
            total_value=total_value,
            day_pnl=self._pnl.get(moment.day, ZERO),
            total_pnl=self._ledger.realised,
            fees_today=self._fees.get(moment.day, ZERO),
            recent_trades=self._recent_view,
        )
