"""What a strategy may see of itself: its positions, pending wishes, profit of the day."""

from collections import deque
from collections.abc import Iterable
from decimal import Decimal

from actors.calendar import NewYork
from desk.messages import (
    CapitalChanged,
    Effect,
    FillBooked,
    Intent,
    JournalBody,
    OrderChanged,
    Purpose,
)
from desk.portfolio import ClosedTrade, Ledger, Position
from desk.units import ZERO, decimal_of
from strategies.base import Action, Signal, Strategy, View

RECENT_TRADES_MAX = 100


class OwnBook:
    """A fold over the strategy's own journal records, with the profit of each New York day."""

    def __init__(self, balance: Decimal, calendar: NewYork) -> None:
        """Start with the balance that the strategy's sizes are shares of."""
        self._ledger = Ledger(keep_trades=False)
        self._ledger.apply(CapitalChanged(balance, "allocation", 0))
        self._calendar = calendar
        self._marks: dict[str, Decimal] = {}
        self._recent: deque[ClosedTrade] = deque(maxlen=RECENT_TRADES_MAX)
        self._day = ""
        self._pnl: dict[str, Decimal] = {}
        self._fees: dict[str, Decimal] = {}
        self._recent_view: tuple[ClosedTrade, ...] = ()

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

    def take(self, body: JournalBody, strategy: Strategy | None) -> None:
        """Take in one own record, and tell ``strategy`` of it where it is given."""
        trades = self._ledger.apply(body)
        if isinstance(body, FillBooked):
            day = self._calendar.moment(body.ts_ns).day
            self._fees[day] = self._fees.get(day, ZERO) + body.fee
        for trade in trades:
            day = self._calendar.moment(trade.closed_ns).day
            self._pnl[day] = self._pnl.get(day, ZERO) + trade.pnl
            self._recent.append(trade)
        self._recent_view = tuple(self._recent) if trades else self._recent_view
        if strategy is None:
            return
        if isinstance(body, OrderChanged):
            strategy.on_order(body.order)
        elif isinstance(body, FillBooked):
            strategy.on_fill(body)
        for trade in trades:
            strategy.on_position_closed(trade)

    def mark(self, symbol: str, price: float) -> None:
        """Note a symbol's last price."""
        self._marks[symbol] = decimal_of(price)

    def mark_of(self, symbol: str) -> Decimal:
        """Give a symbol's last price, 0 before the first one."""
        return self._marks.get(symbol, ZERO)

    def held(self, signal: Signal) -> Position | None:
        """Give the own position that a signal speaks of: of its tag, or the oldest of its symbol for a sale without."""
        mine = [p for p in self._ledger.positions.values() if p.symbol == signal.symbol]
        tagged = [p for p in mine if p.tag == signal.tag]
        if tagged or signal.tag or signal.action is Action.BUY:
            return tagged[0] if tagged else None
        return mine[0] if mine else None

    def view(self, ts_ns: int, pending: Iterable[Intent]) -> View:
        """Give what the strategy sees at the evaluation of the event at ``ts_ns``."""
        moment = self._calendar.moment(ts_ns)
        if moment.day != self._day:
            self._day = moment.day
            for kept in (self._pnl, self._fees):
                for day in sorted(kept)[:-7]:
                    del kept[day]
        entries = {intent.symbol for intent in pending if intent.effect is Effect.OPEN}
        exits = {intent.symbol for intent in pending if intent.effect is Effect.CLOSE}
        for order in self._ledger.working.values():
            if order.purpose is Purpose.ENTRY:
                entries.add(order.symbol)
            elif order.purpose is Purpose.EXIT:
                exits.add(order.symbol)
        return View(
            moment=moment,
            positions=tuple(self._ledger.positions.values()),
            entry_pending=frozenset(entries),
            exit_pending=frozenset(exits),
            cash=self._ledger.cash,
            total_value=self._ledger.equity(self._marks),
            day_pnl=self._pnl.get(moment.day, ZERO),
            total_pnl=self._ledger.realised,
            fees_today=self._fees.get(moment.day, ZERO),
            recent_trades=self._recent_view,
        )
