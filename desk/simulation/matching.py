"""The paper venue as a pure model: resting orders, and what one event of the market does to them."""

from collections.abc import Callable, Iterable
from decimal import Decimal
from math import inf

import msgspec

from desk.holdings import money
from desk.messages import (
    Bar,
    CancelOrder,
    CancelRejected,
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    OrderRejected,
    OrderState,
    OrderType,
    Side,
    SubmitOrder,
    Tick,
    VenueOrder,
    VenueReport,
)
from desk.simulation.paper import (
    NOTHING,
    FinishedOrder,
    Outcome,
    PaperSnapshot,
    PaperState,
    PaperTerms,
    RestingOrder,
)
from desk.units import BPS, ONE, ZERO, decimal_of

#: Finished orders that are at hand without asking the archive: more than one event can finish before they are kept.
FINISHED_IN_MEMORY = 4_000
#: The reason of a cancel because another order of the group filled.
REASON_OCO = "OCO"


class _Prices(msgspec.Struct, frozen=True):
    """One event as the book sees it. Of a tick all prices are one, and it ends when it begins."""

    ts_ns: int
    end_ns: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal


class PaperBook:
    """Match orders against the feed's own events, each order whole and at most once.

    An order is first matched on the event after its submission. At the open: a market order, a stop that the
    open passed, and a limit that the open is through, each at the open. Then in the range: a stop at its price, a
    limit at its price, stops before limits. Market orders and stops pay slippage and the taker's fee, limits neither
    slippage nor more than the maker's fee. Nothing is matched at or after an order's expiry, and so an order whose
    expiry lies inside a bar is live for that bar's open only; the book never cancels on account of time. Volume does
    not bind, cash and holdings do not either: risk caps quantities. An OCO group of which one order filled is
    done for ever: its other orders are cancelled, and one that comes later is cancelled on arrival.
    """

    def __init__(
        self,
        terms: PaperTerms,
        state: PaperState | None = None,
        archive: Callable[[str], FinishedOrder | None] | None = None,
        finished_max: int = FINISHED_IN_MEMORY,
    ) -> None:
        """Open an empty book with the terms' starting cash, or go on from an exported state.

        Args:
            terms: How it deals.
            state: What it knew; finished orders that the archive has may be left out, where their groups are named.
            archive: Who is asked for a finished order that is not in memory, by its id. None where nobody keeps them:
                then all stay in memory.
            finished_max: How many finished orders stay in memory where there is an archive.
        """
        self._terms: PaperTerms = terms
        self._archive = archive
        self._finished_max: int = finished_max
        self._resting: dict[str, RestingOrder] = {}
        self._by_symbol: dict[str, dict[str, RestingOrder]] = {}
        self._finished: dict[str, FinishedOrder] = {}
        self._done_groups: set[str] = set()
        self._last: dict[str, Bar | Tick] = {}
        self._positions: dict[str, Decimal] = {}
        self._sequence: int = 0
        self.cash: Decimal = terms.starting_cash
        if state is not None:
            self._restore(state)

    # --- commands and events ---

    def submit(self, command: SubmitOrder, *, ts_ns: int) -> Outcome:
        """Take one order. The same order id again changes nothing and reports nothing.

        Args:
            command: The order. A quantity or price that is not finite and above 0, or missing, is rejected.
            ts_ns: Market time, which the answer carries.
        """
        if self.order(command.order_id) is not None:
            return NOTHING
        sequence = self._sequence
        self._sequence += 1
        fault = _fault(command)
        if fault:
            self._finish(command, OrderState.REJECTED, reason=fault)
            report = OrderRejected(report=0, order_id=command.order_id, reason=fault, ts_ns=ts_ns)
            return Outcome((report,), (command.order_id,))
        reports: list[VenueReport] = [
            OrderAccepted(
                report=0,
                order_id=command.order_id,
                venue_order_id=venue_order_id(command.order_id),
                ts_ns=ts_ns,
            )
        ]
        if command.oco_group in self._done_groups:
            reports.append(self._cancel(command, REASON_OCO, ts_ns))
            return Outcome(tuple(reports), (command.order_id,))
        self._rest(RestingOrder(command, sequence))
        touched = [command.order_id]
        if self._terms.fill == "close" and (command.type is OrderType.MARKET or not command.oco_group):
            self._match_last_close(command, reports, touched)
        return Outcome(tuple(reports), tuple(touched))

    def cancel(self, command: CancelOrder, *, ts_ns: int) -> Outcome:
        """Take one resting order away; of an unknown or finished one, say that there was nothing to cancel."""
        resting = self._resting.get(command.order_id)
        if resting is not None:
            return Outcome((self._cancel(resting.command, command.reason, ts_ns),), (command.order_id,))
        finished = self._finished_order(command.order_id)
        reason = f"already {finished.state}" if finished else "unknown order"
        return Outcome((CancelRejected(report=0, order_id=command.order_id, reason=reason, ts_ns=ts_ns),))

    def on_event(self, event: Bar | Tick) -> Outcome:
        """Match what rests for the event's symbol; fills bear the event's own time.

        Raises:
            ValueError: A price is not finite and above 0. Nothing has changed then.
        """
        _check(event)
        self._last[event.symbol] = event
        waiting = self._by_symbol.get(event.symbol)
        if not waiting:
            return NOTHING
        prices = _prices(event)
        queue = sorted(waiting.values(), key=_turn)
        reports: list[VenueReport] = []
        touched: list[str] = []
        for price_of in (_price_at_open, _price_in_range):
            for resting in queue:
                command = resting.command
                if command.order_id not in self._resting:
                    continue
                price = price_of(command, prices)
                if price is not None:
                    self._fill(command, price, prices.ts_ns, reports, touched)
        return Outcome(tuple(reports), tuple(touched))

    # --- reading ---

    @property
    def positions(self) -> dict[str, Decimal]:
        """Net positions by symbol, flat ones left out. A copy."""
        return dict(self._positions)

    def position(self, symbol: str) -> Decimal:
        """Give the net position of one symbol, 0 where flat."""
        return self._positions.get(symbol, ZERO)

    def order(self, order_id: str) -> RestingOrder | FinishedOrder | None:
        """Give what the book keeps of one order, for its store."""
        return self._resting.get(order_id) or self._finished_order(order_id)

    def last_event(self, symbol: str) -> Bar | Tick | None:
        """Give the last event shown of one symbol."""
        return self._last.get(symbol)

    def venue_order(self, order_id: str) -> VenueOrder | None:
        """Give one order as the venue answers for it, or None where it never came."""
        kept = self.order(order_id)
        return None if kept is None else _venue_order(kept)

    def snapshot(self, also: Iterable[str] = ()) -> PaperSnapshot:
        """Give open orders, then those named in ``also`` that are finished, with net positions and cash."""
        orders = [_venue_order(resting) for resting in self._resting.values()]
        named = (self._finished_order(name) for name in dict.fromkeys(also))
        orders += [_venue_order(finished) for finished in named if finished is not None]
        return PaperSnapshot(tuple(orders), dict(self._positions), self.cash)

    def export(self) -> PaperState:
        """Give everything, for a store that starts anew; of finished orders those that are in memory."""
        return PaperState(
            resting=tuple(self._resting.values()),
            finished=tuple(self._finished.values()),
            last_events=tuple(self._last.values()),
            positions=dict(self._positions),
            cash=self.cash,
            done_groups=tuple(sorted(self._done_groups)) if self._archive is not None else (),
        )

    # --- inside ---

    def _restore(self, state: PaperState) -> None:
        for resting in sorted(state.resting, key=lambda order: order.sequence):
            self._rest(resting)
        for finished in state.finished:
            self._finished[finished.order_id] = finished
            if finished.done_group:
                self._done_groups.add(finished.done_group)
        self._done_groups.update(state.done_groups)
        # Where every order that came is kept their count is the next sequence; else it has to go on above what rests.
        above = max((resting.sequence + 1 for resting in state.resting), default=0)
        self._sequence = max(above, len(self._resting) + len(self._finished))
        self._last = {event.symbol: event for event in state.last_events}
        self._positions = dict(state.positions)
        self.cash = state.cash

    def _finished_order(self, order_id: str) -> FinishedOrder | None:
        found = self._finished.get(order_id)
        return found if found is not None or self._archive is None else self._archive(order_id)

    def _rest(self, resting: RestingOrder) -> None:
        command = resting.command
        self._resting[command.order_id] = resting
        self._by_symbol.setdefault(command.symbol, {})[command.order_id] = resting

    def _finish(
        self,
        command: SubmitOrder,
        state: OrderState,
        *,
        reason: str = "",
        filled: Decimal = ZERO,
        price: Decimal = ZERO,
    ) -> None:
        if self._resting.pop(command.order_id, None) is not None:
            del self._by_symbol[command.symbol][command.order_id]
        self._finished[command.order_id] = FinishedOrder(
            order_id=command.order_id,
            symbol=command.symbol,
            side=command.side,
            oco_group=command.oco_group,
            state=state,
            quantity=command.quantity,
            filled_quantity=filled,
            average_price=price,
            reason=reason,
        )
        if self._archive is not None and len(self._finished) > self._finished_max:
            del self._finished[next(iter(self._finished))]

    def _cancel(self, command: SubmitOrder, reason: str, ts_ns: int) -> OrderCancelled:
        self._finish(command, OrderState.CANCELLED, reason=reason)
        return OrderCancelled(report=0, order_id=command.order_id, reason=reason, is_expired=False, ts_ns=ts_ns)

    def _match_last_close(self, command: SubmitOrder, reports: list[VenueReport], touched: list[str]) -> None:
        """Fill a market order, or a limit that the last close is through, at that close."""
        event = self._last.get(command.symbol)
        if event is None or command.type is OrderType.STOP:
            return
        prices = _prices(event)
        at_close = _Prices(
            ts_ns=prices.end_ns,
            end_ns=prices.end_ns,
            open=prices.close,
            high=prices.close,
            low=prices.close,
            close=prices.close,
        )
        price = _price_at_open(command, at_close)
        if price is not None:
            self._fill(command, price, prices.ts_ns, reports, touched)

    def _fill(
        self, command: SubmitOrder, price: Decimal, ts_ns: int, reports: list[VenueReport], touched: list[str]
    ) -> None:
        """Fill one order whole, book it, and cancel the rest of its group."""
        terms, sign = self._terms, command.side.sign
        is_maker = command.type is OrderType.LIMIT
        if not is_maker:
            price *= ONE + sign * terms.slippage_bps / BPS
        notional = money(command.quantity * price)
        fee = money(notional * (terms.maker_fee_bps if is_maker else terms.taker_fee_bps) / BPS)
        self.cash -= sign * notional + fee
        net = self._positions.get(command.symbol, ZERO) + sign * command.quantity
        self._positions[command.symbol] = net
        if net == ZERO:
            del self._positions[command.symbol]
        self._finish(command, OrderState.FILLED, filled=command.quantity, price=price)
        if command.order_id not in touched:
            touched.append(command.order_id)
        reports.append(
            OrderFilled(
                report=0,
                order_id=command.order_id,
                execution_id=execution_id(command.order_id, 1),
                quantity=command.quantity,
                price=price,
                fee=fee,
                is_maker=is_maker,
                leaves=ZERO,
                ts_ns=ts_ns,
            )
        )
        if command.oco_group:
            self._end_group(command.oco_group, ts_ns, reports, touched)

    def _end_group(self, group: str, ts_ns: int, reports: list[VenueReport], touched: list[str]) -> None:
        self._done_groups.add(group)
        siblings = [resting.command for resting in self._resting.values() if resting.command.oco_group == group]
        for sibling in siblings:
            reports.append(self._cancel(sibling, REASON_OCO, ts_ns))
            touched.append(sibling.order_id)


def venue_order_id(order_id: str) -> str:
    """Give the paper venue's own name of an order; it follows from ours."""
    return f"paper-{order_id}"


def execution_id(order_id: str, number: int) -> str:
    """Give the name of an order's fill, counted from 1; the same fill has the same name for ever."""
    return f"{order_id}-{number}"


def _turn(resting: RestingOrder) -> tuple[bool, int]:
    """Stops come before all else, then who was submitted first."""
    return resting.command.type is not OrderType.STOP, resting.sequence


def _price_at_open(command: SubmitOrder, prices: _Prices) -> Decimal | None:
    """Give the open where the order trades there, else None."""
    if 0 < command.expires_ns <= prices.ts_ns:
        return None
    level = command.level
    if command.type is OrderType.MARKET or level is None:
        return prices.open
    # A buy stop and a sell limit wait for a price at or above their level, the other two at or below it.
    waits_above = (command.side is Side.BUY) == (command.type is OrderType.STOP)
    is_reached = prices.open >= level if waits_above else prices.open <= level
    return prices.open if is_reached else None


def _price_in_range(command: SubmitOrder, prices: _Prices) -> Decimal | None:
    """Give the order's level where the range touches it while the order lives, else None."""
    if 0 < command.expires_ns < prices.end_ns or 0 < command.expires_ns <= prices.ts_ns:
        return None
    level = command.level
    if command.type is OrderType.MARKET or level is None:
        return None
    waits_above = (command.side is Side.BUY) == (command.type is OrderType.STOP)
    is_reached = prices.high >= level if waits_above else prices.low <= level
    return level if is_reached else None


def _prices(event: Bar | Tick) -> _Prices:
    if isinstance(event, Tick):
        price = decimal_of(event.price)
        return _Prices(event.ts_ns, event.ts_ns, price, price, price, price)
    return _Prices(
        ts_ns=event.ts_ns,
        end_ns=event.end_ns,
        open=decimal_of(event.open),
        high=decimal_of(event.high),
        low=decimal_of(event.low),
        close=decimal_of(event.close),
    )


def _check(event: Bar | Tick) -> None:
    figures = (event.price,) if isinstance(event, Tick) else (event.open, event.high, event.low, event.close)
    is_sound = all(0 < figure < inf for figure in figures)
    if not is_sound:
        msg = f"an event of {event.symbol} at {event.ts_ns} has no sound prices"
        raise ValueError(msg)


def _fault(command: SubmitOrder) -> str:
    """Say what is wrong with an order, or ""."""
    if not (command.quantity.is_finite() and command.quantity > ZERO):
        return f"quantity must be above 0, not {command.quantity}"
    if command.type is OrderType.MARKET:
        return ""
    name, price = "stop price" if command.type is OrderType.STOP else "limit price", command.level
    if price is None or not (price.is_finite() and price > ZERO):
        return f"{name} must be above 0, not {price}"
    return ""


def _venue_order(kept: RestingOrder | FinishedOrder) -> VenueOrder:
    if isinstance(kept, RestingOrder):
        command = kept.command
        return VenueOrder(
            order_id=command.order_id,
            venue_order_id=venue_order_id(command.order_id),
            symbol=command.symbol,
            side=command.side,
            state=OrderState.SUBMITTED,
            quantity=command.quantity,
            filled_quantity=ZERO,
        )
    return VenueOrder(
        order_id=kept.order_id,
        venue_order_id=venue_order_id(kept.order_id),
        symbol=kept.symbol,
        side=kept.side,
        state=kept.state,
        quantity=kept.quantity,
        filled_quantity=kept.filled_quantity,
    )
