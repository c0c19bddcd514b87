"""A venue behind a wire, as a model: its engine, whose book is the truth, and a port that fails as real ones do."""

import random
from collections.abc import Callable, Sequence
from decimal import Decimal

from typing_extensions import override

from actors.simulation.clock import VirtualClock
from actors.simulation.faults import Trouble
from actors.venues.port import Accepted, Holdings, NotSentError, Refused, UnclearError, UnreachableError, VenuePort
from desk.messages import (
    OrderCancelled,
    OrderFilled,
    OrderState,
    OrderType,
    ReplaceOrder,
    Side,
    SubmitOrder,
    VenueOrder,
    VenueReport,
)
from desk.transition import OPEN
from desk.units import NS_PER_MS, NS_PER_S, ZERO
from desk.venue import IdRule, Instrument, VenueTraits

#: Least quantity of which a part may be executed alone.
PART_MIN = Decimal("0.1")
#: By how many of the chances what the venue ends has traded once more, and is called expired.
PART_SHARE = 0.5
#: How long an outage lasts at most.
OUTAGE_NS_MAX = 8 * NS_PER_S
#: How far a look for orders may be behind the engine: less than the margin behind which an absence is believed.
BEHIND_NS = 3 * NS_PER_S // 2
#: How long behind its deadline an order may still be carried out that came before it: within the desk's margin.
BRINK_NS = 1_900 * NS_PER_MS
#: What an execution costs, as a share of its value.
FEE = Decimal("0.0002")
FEE_QUANTUM = Decimal("1e-8")


class Resting:
    """One order in the engine's book, also when it is over."""

    __slots__ = ("command", "filled", "name", "price", "quantity", "state", "taken_ns")

    def __init__(self, command: SubmitOrder, name: str, taken_ns: int) -> None:
        """Take an order in, at this time of the venue."""
        self.command, self.name, self.taken_ns = command, name, taken_ns
        self.state = OrderState.SUBMITTED
        self.quantity, self.filled = command.quantity, ZERO
        self.price = command.level

    @property
    def is_open(self) -> bool:
        """True while it may still trade."""
        return self.state in OPEN

    def seen(self) -> VenueOrder:
        """Give it as the venue shows it."""
        command = self.command
        return VenueOrder(
            command.order_id, self.name, command.symbol, command.side, self.state, self.quantity, self.filled,
            "", command.type, self.price,
        )  # fmt: skip


class Exchange:
    """The engine: ids after its rule, deadlines held against its own clock, market orders at once, parts by chance."""

    def __init__(self, traits: VenueTraits, clock: VirtualClock, trouble: Trouble, prices: dict[str, Decimal]) -> None:
        """Begin with an empty book. ``prices`` are the last ones by symbol, and change with ``move``."""
        self.traits, self._clock, self._trouble, self.prices = traits, clock, trouble, prices
        self.orders: list[Resting] = []
        self.fills: list[OrderFilled] = []
        self.skew_ns = int(trouble.faults.skew * NS_PER_S)
        #: Told of everything that happens by itself.
        self.tell: Callable[[VenueReport], None] = lambda _report: None
        self._named: dict[str, list[Resting]] = {}
        self._open: dict[str, Resting] = {}
        self._net: dict[str, Decimal] = {}
        self.cash = ZERO
        #: Client ids of which more was executed than was ordered.
        self.overfilled: set[str] = set()
        #: Groups of which an order has traded: nothing joins them any more.
        self.done_groups: set[str] = set()
        #: The latest time that anybody was told: a clock that is set back does not undo what was over by it.
        self.shown_ns = 0
        #: Told of each order that was taken in, and of each that has traded.
        self.seen: Callable[[Resting], None] = lambda _order: None

    def now_ns(self) -> int:
        """Give the venue's own time."""
        return self._clock.wall_ns() + self.skew_ns

    def mend_clock(self) -> None:
        """Show the time again that the scenario wants."""
        self.skew_ns = int(self._trouble.faults.skew * NS_PER_S)

    def named(self, client_id: str) -> list[Resting]:
        """Give all orders that ever bore this client id."""
        return self._named.get(client_id, [])

    def open_orders(self) -> list[Resting]:
        """Give what rests."""
        return [order for order in self._open.values() if order.is_open]

    def positions(self) -> dict[str, Decimal]:
        """Give the net quantities that are not zero."""
        return {symbol: quantity for symbol, quantity in self._net.items() if quantity}

    def take(self, command: SubmitOrder) -> Accepted | Refused:
        """Take an order in, or refuse it."""
        if command.deadline_ns and self.now_ns() > command.deadline_ns:
            return Refused("deadline exceeded", is_deadline=True)
        return self._enter(command, self.now_ns())

    def carry_out(self, command: SubmitOrder) -> None:
        """Take in what came before its deadline, also a little behind it; later than that it is refused."""
        if max(self.now_ns(), self.shown_ns) <= command.deadline_ns + BRINK_NS:
            self._enter(command, min(self.now_ns(), command.deadline_ns))

    def _enter(self, command: SubmitOrder, taken_ns: int) -> Accepted | Refused:
        known = [o for o in self.named(command.order_id) if self.traits.ids is IdRule.FOR_EVER or o.is_open]
        if known:
            return Refused("client id in use", is_duplicate=self.traits.ids is IdRule.FOR_EVER)
        order = Resting(command, f"v{len(self.orders) + 1}", taken_ns)
        self.orders.append(order)
        self._named.setdefault(command.order_id, []).append(order)
        self._open[order.name] = order
        self.seen(order)
        if self.traits.has_oco and command.oco_group in self.done_groups:  # another order of its group has traded
            self._end(order)
            self.tell(OrderCancelled(0, command.order_id, "OCO", False, self.now_ns(), ZERO))
            return Accepted(order.name)
        price = self.prices[command.symbol]
        if command.type is OrderType.MARKET:
            is_over = command.side is Side.BUY and self._trouble.happens_later("over")
            self._trade(order, order.quantity + is_over, price)
        else:
            self._touch(order, price)
        return Accepted(order.name)

    def move(self, symbol: str, price: Decimal) -> None:
        """Let a symbol's price be another one: what it touches trades, whole or in part."""
        self.prices[symbol] = price
        for order in list(self._open.values()):
            if order.command.symbol == symbol and order.is_open:
                self._touch(order, price)

    def end_some(self) -> None:
        """End what rests for reasons of the venue's own, perhaps behind a last execution."""
        for order in self.open_orders():
            if not (order.is_open and self._trouble.happens_later("ended")):
                continue
            left = order.quantity - order.filled
            if left > PART_MIN and self._trouble.later.random() < PART_SHARE:
                assert order.price is not None, "what rests has a price"
                self._execute(order, left / 2, order.price)
            is_expired = self._trouble.later.random() < PART_SHARE
            if order.is_open:
                self._end(order)
                order.state = OrderState.EXPIRED if is_expired else OrderState.CANCELLED
                name, filled = order.command.order_id, order.filled
                self.tell(OrderCancelled(0, name, "the venue's own", is_expired, self.now_ns(), filled))

    def _touch(self, order: Resting, price: Decimal) -> None:
        assert order.price is not None, "what rests has a price"
        sign = order.command.side.sign if order.command.type is OrderType.LIMIT else -order.command.side.sign
        if (order.price - price) * sign >= ZERO:
            left = order.quantity - order.filled
            is_part = left > PART_MIN and self._trouble.happens("parts")
            self._trade(order, left / 2 if is_part else left, order.price)

    def _trade(self, order: Resting, quantity: Decimal, price: Decimal) -> None:
        while quantity > ZERO and order.is_open:
            part = quantity / 2 if quantity > PART_MIN and self._trouble.happens("parts") else quantity
            quantity -= part
            self._execute(order, part, price)

    def _execute(self, order: Resting, part: Decimal, price: Decimal) -> None:
        order.filled += part
        is_over = order.filled >= order.quantity
        order.state = OrderState.FILLED if is_over else OrderState.PARTIALLY_FILLED
        command = order.command
        if order.filled > order.quantity:
            self.overfilled.add(command.order_id)
        signed, fee = part * command.side.sign, (part * price * FEE).quantize(FEE_QUANTUM)
        self._net[command.symbol] = self._net.get(command.symbol, ZERO) + signed
        self.cash -= signed * price + fee
        fill = OrderFilled(
            0, command.order_id, f"x{len(self.fills) + 1}", part, price, fee, False,
            max(order.quantity - order.filled, ZERO), self.now_ns(),
        )  # fmt: skip
        self.fills.append(fill)
        if is_over:
            self._open.pop(order.name, None)
        self.seen(order)
        self.tell(fill)
        self._end_group(order)

    def _end_group(self, filled: Resting) -> None:
        group = filled.command.oco_group
        if not (self.traits.has_oco and group):
            return
        self.done_groups.add(group)
        for order in list(self._open.values()):
            if order.is_open and order is not filled and order.command.oco_group == group:
                self._end(order)
                self.tell(OrderCancelled(0, order.command.order_id, "OCO", False, self.now_ns(), order.filled))

    def _end(self, order: Resting) -> None:
        order.state = OrderState.CANCELLED
        self._open.pop(order.name, None)

    def cancel(self, order_id: str, venue_order_id: str) -> Accepted | Refused:
        """Cancel what is open under either name."""
        found = self._open.get(venue_order_id) or next((o for o in self.named(order_id) if o.is_open), None)
        if found is None or not found.is_open:
            return Refused("not open", is_gone=True)
        self._end(found)
        return Accepted(found.name)

    def replace(self, word: ReplaceOrder) -> Accepted | Refused:
        """Give an open order other figures."""
        order = self._open.get(word.venue_order_id) or next((o for o in self.named(word.order_id) if o.is_open), None)
        if order is None or not order.is_open:
            return Refused("not open", is_gone=True)
        if word.quantity <= order.filled:
            return Refused("less than what has filled")
        order.quantity, order.price = word.quantity, word.price
        self._touch(order, self.prices[word.symbol])
        return Accepted(order.name)


class ModelPort(VenuePort):
    """The adapter to the model, as ``actors/venues/port.py`` wants it; what fails here is drawn from the seed."""

    def __init__(
        self,
        exchange: Exchange,
        trouble: Trouble,
        later: Callable[[int, Callable[[], object]], None],
        random_source: random.Random,
    ) -> None:
        """Take the engine, what goes wrong, and what lets something happen later (ns from now)."""
        self.exchange, self._trouble, self._later, self._chance = exchange, trouble, later, random_source
        self.dark_until_ns = 0
        self._hold_ns = 0
        self._is_lagging = False

    def held_ns(self) -> int:
        """Give how much longer than others the answer to the last call takes, once."""
        held_ns, self._hold_ns = self._hold_ns, 0
        return held_ns

    @property
    @override
    def traits(self) -> VenueTraits:
        """Say how the venue deals with ids and deadlines."""
        return self.exchange.traits

    @override
    def submit(self, order: SubmitOrder) -> Accepted | Refused:
        """Place one order."""
        self._stand("submit")
        trouble = self._trouble
        if trouble.happens("refused"):
            return Refused("insufficient funds")
        if trouble.happens("late"):
            self._later(self._chance.randrange(50, 9_000) * NS_PER_MS, lambda: self.exchange.take(order))
            msg = "no answer in time"
            raise UnclearError(msg)
        left_ns = order.deadline_ns - self.exchange.now_ns()
        if left_ns > 0 and trouble.happens_later("brink"):
            self._later(max(left_ns + trouble.later_ns(-NS_PER_S, BRINK_NS), 0), lambda: self.exchange.carry_out(order))
            self._hold_ns = max(left_ns + trouble.later_ns(-NS_PER_S, BRINK_NS), 0)
            msg = "no answer before its deadline"
            raise UnclearError(msg)
        return self._read(self.exchange.take(order))

    @override
    def cancel(self, order_id: str, venue_order_id: str) -> Accepted | Refused:
        """Cancel one open order."""
        self._stand("cancel")
        return self._read(self.exchange.cancel(order_id, venue_order_id))

    @override
    def replace(self, order: ReplaceOrder) -> Accepted | Refused:
        """Change one open order in place."""
        self._stand("replace")
        return self._read(self.exchange.replace(order))

    @override
    def now_ns(self) -> int:
        """Give the venue's time."""
        exchange = self.exchange
        exchange.shown_ns = max(exchange.shown_ns, exchange.now_ns())
        return exchange.now_ns()

    @override
    def find(self, order_ids: Sequence[str]) -> tuple[VenueOrder, ...]:
        """Look orders up by client id."""
        self._look()
        self._is_lagging = self._trouble.happens_later("lagging")
        upto_ns = self.exchange.now_ns() - (BEHIND_NS if self._trouble.happens("behind") else 0)
        found = (order for name in order_ids for order in self.exchange.named(name))
        return tuple(order.seen() for order in found if order.taken_ns <= upto_ns)

    @override
    def open_orders(self) -> tuple[VenueOrder, ...]:
        """Give what rests."""
        self._look()
        self._is_lagging = False
        return tuple(order.seen() for order in self.exchange.open_orders())

    @override
    def fills(self, since_ns: int) -> tuple[OrderFilled, ...]:
        """Give every execution from a time on."""
        self._look()
        fills = (fill for fill in self.exchange.fills if fill.ts_ns >= since_ns)
        if not self._is_lagging:
            return tuple(fills)
        upto_ns = self.exchange.now_ns() - BEHIND_NS
        return tuple(fill for fill in fills if fill.ts_ns <= upto_ns)

    @override
    def holdings(self) -> Holdings:
        """Give positions and cash."""
        exchange = self.exchange
        return Holdings("model", exchange.positions(), exchange.cash, exchange.now_ns())

    @override
    def instruments(self, symbols: Sequence[str]) -> tuple[Instrument, ...]:
        """Demand nothing."""
        return ()

    @override
    def reports(self, timeout_s: float) -> tuple[VenueReport, ...]:
        """Nothing waits here: what the engine tells comes by the line that the simulation made of the stream."""
        return ()

    @override
    def close(self) -> None:
        """Nothing has to be let go."""

    def _stand(self, _call: str) -> None:
        """Let a call fail before it came to the engine."""
        trouble, now_ns = self._trouble, self.exchange.now_ns()
        if now_ns < self.dark_until_ns:
            msg = "the venue is down"
            raise UnclearError(msg)
        if trouble.happens("outage"):
            self.dark_until_ns = now_ns + self._chance.randrange(OUTAGE_NS_MAX)
        if trouble.happens("unsent"):
            msg = "no route"
            raise NotSentError(msg)
        if trouble.happens("limited"):
            msg = "too many requests"
            raise NotSentError(msg)
        if trouble.happens("lost"):
            msg = "connection lost"
            raise UnclearError(msg)

    def _read(self, answer: Accepted | Refused) -> Accepted | Refused:
        """Let an answer be lost on its way, or be one that nobody can read."""
        if self._trouble.happens("unread"):
            msg = "no answer"
            raise UnclearError(msg)
        if self._trouble.happens("garbled"):
            msg = "an answer that is no JSON"
            raise UnclearError(msg)
        return answer

    def _look(self) -> None:
        if self.exchange.now_ns() < self.dark_until_ns or self._trouble.happens("lost"):
            msg = "the venue does not answer"
            raise UnreachableError(msg)
