"""The matching engine of a fake exchange: a real book, under the rules of one kind of venue. It reads no clock."""

from collections.abc import Callable, Iterable
from decimal import Decimal
from enum import StrEnum

import msgspec

from desk.messages import OrderType, Side
from desk.units import BPS, NS_PER_MS, ZERO
from desk.venue import Instrument
from tests.exchange.wire import OK, REFUSED, Dump, Execution, Reply, Request, State, Told, WireOrder

FEE_BPS = Decimal(10)


class Rules(StrEnum):
    """Which venue's rules are played."""

    KRAKEN = "kraken"
    ALPACA = "alpaca"


class Engine:
    """One account's orders, executions, positions and cash.

    Kraken's rules: a client id is refused only while an order with it is open; an order is refused behind its
    deadline, judged when the engine takes it in; an amendment changes the order in place. Alpaca's: a client id is
    good once; deadlines are unknown; a replacement is an order of its own, under a client id of its own; orders of one
    group are cancelled when one of them trades. Under both a market order trades at once at the last price that the
    market showed, stops trigger and limits trade when the price comes there.
    """

    def __init__(self, rules: Rules, *, cash: Decimal, deadline_ms_least: int) -> None:
        """Open an empty book.

        Args:
            rules: Whose rules are played.
            cash: What the account begins with.
            deadline_ms_least: A deadline nearer than this is refused, as behind it.
        """
        self.rules, self.cash, self.cash_at_first = rules, cash, cash
        self.orders: dict[str, WireOrder] = {}
        self.executions: list[Execution] = []
        self.positions: dict[str, Decimal] = {}
        self.prices: dict[str, Decimal] = {}
        self.instruments: dict[str, Instrument] = {}
        #: What it has to tell since it was last asked.
        self.told: list[Told] = []
        #: Into which parts the next order is filled; all but the first wait for the next price, or for ``go_on``.
        self.parts_of: Callable[[Decimal], list[Decimal]] = lambda quantity: [quantity]
        self._open: dict[str, WireOrder] = {}
        self._parts: dict[str, list[Decimal]] = {}
        self._triggered: set[str] = set()
        self._by_client: dict[str, list[str]] = {}
        self._least_ns = deadline_ms_least * NS_PER_MS

    # --- what changes something ---------------------------------------------------------------

    def submit(self, wanted: Request, now_ns: int, *, is_external: bool = False) -> Reply:
        """Take one order in, or refuse it."""
        fault = self._fault(wanted)
        if fault:
            return Reply(status=REFUSED, code="invalid", text=fault)
        known = [self.orders[each] for each in self._by_client.get(wanted.client_id, ())] if wanted.client_id else []
        is_spent = bool(known) if self.rules is Rules.ALPACA else any(each.state is State.OPEN for each in known)
        if is_spent:
            return Reply(status=REFUSED, code="duplicate", text="client order id must be unique")
        if wanted.deadline_ns and now_ns + self._least_ns > wanted.deadline_ns:
            return Reply(status=REFUSED, code="deadline", text="deadline exceeded")
        order = WireOrder(
            client_id=wanted.client_id,
            venue_id=self._new_id(),
            symbol=wanted.symbol,
            side=wanted.side,
            type=wanted.type,
            quantity=wanted.quantity,
            limit_price=wanted.limit_price,
            stop_price=wanted.stop_price,
            group=wanted.group,
            taken_ns=now_ns,
            is_external=is_external,
        )
        self._keep(order)
        self._tell("new", order, now_ns)
        self._match(order, now_ns)
        return Reply(venue_id=order.venue_id)

    def cancel(self, wanted: Request, now_ns: int) -> Reply:
        """Take one open order away."""
        order = self.order_of(wanted)
        if order is None or order.state is not State.OPEN:
            return _gone(order)
        self._end(order, "cancelled on request", now_ns)
        return Reply(venue_id=order.venue_id)

    def replace(self, wanted: Request, now_ns: int) -> Reply:
        """Give an open order another whole quantity and price: in place, or by an order that takes its place."""
        order = self.order_of(wanted)
        if order is None or order.state is not State.OPEN:
            return _gone(order)
        if wanted.quantity <= order.filled or wanted.price <= ZERO or order.type is OrderType.MARKET:
            return Reply(status=REFUSED, code="invalid", text="no such quantity or price for this order")
        if self.rules is Rules.ALPACA:
            if self._by_client.get(wanted.new_client_id):
                return Reply(status=REFUSED, code="duplicate", text="client order id must be unique")
            successor = msgspec.structs.replace(order, venue_id=self._new_id(), client_id=wanted.new_client_id)
            order.state, order.replaced_by = State.REPLACED, successor.venue_id
            self._leave(order)
            order = successor
            order.taken_ns = now_ns
            self._keep(order)
        order.quantity = wanted.quantity
        if order.type is OrderType.STOP:
            order.stop_price = wanted.price
        else:
            order.limit_price = wanted.price
        self._parts.pop(order.venue_id, None)
        self._tell("new", order, now_ns)
        self._match(order, now_ns)
        return Reply(venue_id=order.venue_id)

    def mark(self, symbol: str, price: Decimal, now_ns: int) -> None:
        """Show a price of the market; what it reaches trades."""
        assert price > ZERO, "a price is above 0"
        self.prices[symbol] = price
        for order in tuple(self._open.values()):
            if order.symbol == symbol:
                self._match(order, now_ns)

    def go_on(self, now_ns: int) -> bool:
        """Trade the next part of each order that was filled in part; say whether more parts wait."""
        for venue_id in tuple(self._parts):
            self._match(self.orders[venue_id], now_ns)
        return bool(self._parts)

    def dump(self, now_ns: int, *, calls: dict[str, int], deeds: dict[str, int], pending: int) -> Dump:
        """Give all that is in the book, and what its holder adds: requests by call, deeds done, requests not read."""
        return Dump(
            orders=list(self.orders.values()),
            executions=self.executions,
            positions=self.positions,
            cash=self.cash,
            cash_at_first=self.cash_at_first,
            calls=calls,
            deeds=deeds,
            pending=pending,
            time_ns=now_ns,
        )

    def fill_anyway(self, venue_id: str, quantity: Decimal, now_ns: int) -> None:
        """Trade that much of an order whatever its state is: behind its cancel, or more than was ordered."""
        order = self.orders[venue_id]
        price = self.prices.get(order.symbol) or order.limit_price or order.stop_price
        assert price is not None, "an order without price trades in a market with one"
        self._trade(order, quantity, price, now_ns)

    # --- what only looks ----------------------------------------------------------------------

    def order_of(self, wanted: Request) -> WireOrder | None:
        """Find an order by the exchange's id, else the last one with the client id."""
        if wanted.venue_id:
            return self.orders.get(wanted.venue_id)
        known = self._by_client.get(wanted.client_id, ()) if wanted.client_id else ()
        return self.orders[known[-1]] if known else None

    def look(self, wanted: Request, now_ns: int) -> Reply:
        """Answer a question."""
        reply = Reply(status=OK, time_ns=now_ns, account=f"{self.rules}-1")
        match wanted.call:
            case "time":
                pass
            case "orders":
                reply.orders = list(self._looked_up(wanted))
            case "executions":
                reply.executions = [each for each in self.executions if each.time_ns >= wanted.since_ns]
            case "holdings":
                reply.positions, reply.cash = dict(self.positions), self.cash
            case "instruments":
                traded = [symbol for symbol in wanted.symbols if symbol in self.prices]
                reply.instruments = [self.instruments.get(symbol, Instrument(symbol=symbol)) for symbol in traded]
            case _:
                return Reply(status=REFUSED, code="invalid", text=f"no such call: {wanted.call}")
        return reply

    def _looked_up(self, wanted: Request) -> Iterable[WireOrder]:
        if wanted.venue_ids:
            named = wanted.venue_ids
        elif wanted.client_ids:
            named = [venue_id for client_id in wanted.client_ids for venue_id in self._by_client.get(client_id, ())]
        else:
            named = list(self._open if wanted.where == "open" else self.orders)
        for venue_id in named:
            order = self.orders.get(venue_id)
            if order is not None and wanted.where in {"all", "open" if order.state is State.OPEN else "closed"}:
                yield order

    # --- inside -------------------------------------------------------------------------------

    def _fault(self, wanted: Request) -> str:
        """Say what of an order the venue does not take, "" where it takes all."""
        if wanted.symbol not in self.prices:
            return f"unknown symbol {wanted.symbol}"
        demands = self.instruments.get(wanted.symbol, Instrument(symbol=wanted.symbol))
        price = {OrderType.LIMIT: wanted.limit_price, OrderType.STOP: wanted.stop_price}.get(wanted.type)
        has_price = wanted.type is not OrderType.MARKET
        level = price or ZERO
        faults = {
            "quantity must be above 0": wanted.quantity <= ZERO,
            "price must be above 0": has_price and level <= ZERO,
            "no groups of orders here": bool(wanted.group) and self.rules is Rules.KRAKEN,
            "no deadlines here": bool(wanted.deadline_ns) and self.rules is Rules.ALPACA,
            f"quantity must be a multiple of {demands.lot}": bool(demands.lot and wanted.quantity % demands.lot),
            f"price must be a multiple of {demands.tick}": bool(demands.tick and has_price and level % demands.tick),
            f"quantity minimum not met: {demands.quantity_min}": wanted.quantity < demands.quantity_min,
            f"cost minimum not met: {demands.notional_min}": wanted.quantity * (level or self.prices[wanted.symbol])
            < demands.notional_min,
        }
        return next((text for text, is_so in faults.items() if is_so), "")

    def _new_id(self) -> str:
        return f"{self.rules.value[0].upper()}{len(self.orders) + 1:06d}"

    def _keep(self, order: WireOrder) -> None:
        self.orders[order.venue_id] = self._open[order.venue_id] = order
        if order.client_id:
            self._by_client.setdefault(order.client_id, []).append(order.venue_id)

    def _tell(self, kind: str, order: WireOrder, now_ns: int, execution: Execution | None = None) -> None:
        self.told.append(Told(kind=kind, order=msgspec.structs.replace(order), time_ns=now_ns, execution=execution))

    def _match(self, order: WireOrder, now_ns: int) -> None:
        """Trade one part of an open order where the market is at its price."""
        price = self._price_for(order)
        if order.state is not State.OPEN or price is None:
            return
        parts = self._parts.pop(order.venue_id, None) or self.parts_of(order.quantity - order.filled)
        if parts[1:]:
            self._parts[order.venue_id] = parts[1:]
        self._trade(order, parts[0], price, now_ns)

    def _price_for(self, order: WireOrder) -> Decimal | None:
        price = self.prices.get(order.symbol)
        if price is None or order.type is OrderType.MARKET or order.venue_id in self._triggered:
            return price
        level = order.stop_price if order.type is OrderType.STOP else order.limit_price
        assert level is not None, "what is no market order has a level"
        waits_above = (order.side is Side.BUY) == (order.type is OrderType.STOP)
        if not (price >= level if waits_above else price <= level):
            return None
        if order.type is OrderType.STOP:
            self._triggered.add(order.venue_id)
        return price

    def _trade(self, order: WireOrder, quantity: Decimal, price: Decimal, now_ns: int) -> None:
        is_maker = order.type is OrderType.LIMIT and order.taken_ns < now_ns
        notional = quantity * price
        fee = notional * FEE_BPS / BPS
        sign = order.side.sign
        order.filled += quantity
        if order.state is State.OPEN and order.filled >= order.quantity:
            order.state = State.FILLED
            self._leave(order)
        execution = Execution(
            execution_id=f"E{len(self.executions) + 1:06d}",
            venue_id=order.venue_id,
            client_id=order.client_id,
            symbol=order.symbol,
            side=order.side,
            quantity=quantity,
            price=price,
            fee=fee,
            is_maker=is_maker,
            leaves=max(order.quantity - order.filled, ZERO) if order.state is State.OPEN else ZERO,
            time_ns=now_ns,
            is_external=order.is_external,
        )
        self.executions.append(execution)
        self.cash -= sign * notional + fee
        self.positions[order.symbol] = self.positions.get(order.symbol, ZERO) + sign * quantity
        if self.positions[order.symbol] == ZERO:
            del self.positions[order.symbol]
        self._tell("fill", order, now_ns, execution)
        for sibling in tuple(self._open.values()) if order.group else ():
            if sibling.group == order.group and sibling is not order:
                self._end(sibling, "another order of its group traded", now_ns)

    def _leave(self, order: WireOrder) -> None:
        self._open.pop(order.venue_id, None)
        self._parts.pop(order.venue_id, None)

    def _end(self, order: WireOrder, reason: str, now_ns: int) -> None:
        order.state, order.reason = State.CANCELLED, reason
        self._leave(order)
        self._tell("canceled", order, now_ns)


def _gone(order: WireOrder | None) -> Reply:
    if order is None:
        return Reply(status=REFUSED, code="gone", text="unknown order")
    return Reply(status=REFUSED, code="gone", text=f"order is {order.state.value}", replaced_by=order.replaced_by)
