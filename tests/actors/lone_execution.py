"""Execution's room without its process: an exchange, a gateway to it, a clock, falls, and chance from one seed.

The exchange and the gateway are models of what the real ones may do, in virtual time; the store is a real one. Everything
that follows from one seed is the same each time. The exchange's own book is the oracle.
"""

import heapq
import random
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from actors.arguments import ExecutionArguments, Owner
from actors.execution.room import Execution
from actors.settings import OnDisable, ReconciliationSettings
from actors.simulation.exchange import Resting
from actors.words import desk_codec
from desk.identity import order_id
from desk.messages import (
    CancelOrder,
    CancelRejected,
    CancelUnclear,
    Effect,
    FillBooked,
    IntentJudged,
    JournalRecord,
    OperatorAnswered,
    Order,
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    OrderRejected,
    OrderReplaced,
    OrdersFound,
    OrderState,
    OrdersWanted,
    OrderType,
    OrderUnclear,
    ProtectiveStop,
    ReplaceOrder,
    ReplaceRejected,
    Side,
    SubmitOrder,
    Tick,
    VenueSnapshot,
    VenueWanted,
)
from desk.units import NS_PER_MS, NS_PER_S, ZERO
from desk.venue import IdRule, Instrument, VenueTraits
from runtime.bus_words import StreamItem
from runtime.effects import Effects
from runtime.folder import Sentinel
from runtime.log import Log
from runtime.store import Store
from runtime.words import Peer
from tests.desk.orders import an_intent
from tests.runtime.fakes import HandClock

VENUE = "venues/model"
START_NS = 1_000 * NS_PER_S
CAPITAL = Decimal(100_000)
OWNERS = {"alpha": Owner(("SPY", "QQQ"), OnDisable.HOLD)}


class Exchange:
    """A venue's engine: ids after its rule, deadlines at the moment it takes an order in, market orders at once.

    It is the oracle, and so another one than the engine of the simulation: what it holds it counts anew from its
    executions, and what it answers is what a gateway says. They share only how an order rests and is shown.
    """

    def __init__(self, traits: VenueTraits, clock: HandClock, chance: random.Random) -> None:
        self.traits, self._clock, self._chance = traits, clock, chance
        self.orders: list[Resting] = []
        self.fills: list[OrderFilled] = []
        self.price = Decimal(100)
        self.tell: Callable[[Any], None] = lambda _word: None
        self.parts = 0.0
        self.skew_ns = 0
        self.refuses_exits = False
        self.refuses_passed_stops = False
        self.by_hand: dict[str, Decimal] = {}
        self.account = "model"

    def now_ns(self) -> int:
        return self._clock.wall_ns() + self.skew_ns

    def named(self, client_id: str) -> list[Resting]:
        return [order for order in self.orders if order.command.order_id == client_id]

    def take(self, command: SubmitOrder) -> OrderAccepted | OrderRejected:
        """Take an order in, or refuse it."""
        name = command.order_id
        known = [o for o in self.named(name) if self.traits.ids is IdRule.FOR_EVER or o.is_open]
        if command.deadline_ns and self.now_ns() > command.deadline_ns:
            return OrderRejected(0, name, "deadline exceeded", 0, is_deadline=True)
        if self.refuses_exits and command.is_exit and command.type is OrderType.MARKET:
            return OrderRejected(0, name, "no", 0)
        if self.refuses_passed_stops and command.stop_price is not None and self._is_passed(command):
            return OrderRejected(0, name, "stop price is beyond the market", 0)
        if known:
            if self.traits.ids is IdRule.FOR_EVER:  # the gateway takes a duplicate for what it is, and asks
                return OrderAccepted(0, name, known[0].name, 0)
            return OrderRejected(0, name, "client id in use", 0)
        order = Resting(command, f"v{len(self.orders) + 1}", self.now_ns())
        self.orders.append(order)
        if command.type is OrderType.MARKET:
            self._trade(order, order.quantity, self.price)
        return OrderAccepted(0, name, order.name, 0)

    def _is_passed(self, command: SubmitOrder) -> bool:
        assert command.stop_price is not None
        return (self.price - command.stop_price) * command.side.sign >= ZERO

    def _trade(self, order: Resting, quantity: Decimal, price: Decimal) -> None:
        while quantity > ZERO and order.is_open:
            part = quantity / 2 if self._chance.random() < self.parts and quantity > Decimal("0.1") else quantity
            quantity -= part
            order.filled += part
            order.state = OrderState.FILLED if order.filled >= order.quantity else OrderState.PARTIALLY_FILLED
            fill = OrderFilled(
                0, order.command.order_id, f"x{len(self.fills) + 1}", part, price, ZERO, False,
                order.quantity - order.filled, self.now_ns(),
            )  # fmt: skip
            self.fills.append(fill)
            self.tell(fill)
            self._end_group(order)

    def trade_stop(self, quantity: Decimal) -> None:
        """Let so much of the one stop that rests here trade at its level."""
        stop = next(order for order in self.orders if order.is_open and order.command.stop_price is not None)
        assert stop.price is not None
        left, stop.quantity = stop.quantity, stop.filled + quantity
        self._trade(stop, quantity, stop.price)
        stop.quantity, stop.state = left, OrderState.PARTIALLY_FILLED

    def forget_stops(self) -> None:
        """Lose every stop that rests here, without an end that anybody could find."""
        self.orders = [order for order in self.orders if order.command.stop_price is None]

    def move(self, price: Decimal) -> None:
        """Let the price be another one: limits and stops that it touches trade, whole or in part."""
        self.price = price
        for order in self.orders:
            if not order.is_open or order.price is None:
                continue
            sign = order.command.side.sign if order.command.type is OrderType.LIMIT else -order.command.side.sign
            if (order.price - price) * sign >= ZERO:
                left = order.quantity - order.filled
                self._trade(order, left / 2 if self._chance.random() < self.parts else left, order.price)

    def _end_group(self, filled: Resting) -> None:
        """Cancel the other orders of a group of which one filled, where the venue knows groups."""
        for order in self.orders:
            group = order.command.oco_group
            if self.traits.has_oco and group and group == filled.command.oco_group and order.is_open:
                order.state = OrderState.CANCELLED
                self.tell(OrderCancelled(0, order.command.order_id, "OCO", False, 0, order.filled))

    def cancel(self, name: str) -> bool:
        order = next((o for o in self.orders if o.name == name or (o.command.order_id == name and o.is_open)), None)
        if order is None or not order.is_open:
            return False
        order.state = OrderState.CANCELLED
        return True

    def replace(self, word: ReplaceOrder) -> OrderReplaced | ReplaceRejected:
        order = next((o for o in self.orders if o.name == word.venue_order_id), None)
        if order is None or not order.is_open or word.quantity <= order.filled:
            return ReplaceRejected(0, word.order_id, "not open", 0)
        order.quantity, order.price = word.quantity, word.price
        return OrderReplaced(0, word.order_id, order.name, word.quantity, word.price, 0)

    def positions(self) -> dict[str, Decimal]:
        net: dict[str, Decimal] = {}
        sides = {order.command.order_id: order.command for order in self.orders}
        for fill in self.fills:
            command = sides[fill.order_id]
            net[command.symbol] = net.get(command.symbol, ZERO) + fill.quantity * command.side.sign
        for symbol, quantity in self.by_hand.items():
            net[symbol] = net.get(symbol, ZERO) + quantity
        return {symbol: quantity for symbol, quantity in net.items() if quantity}


class Faults(msgspec.Struct, frozen=True):
    """How often what goes wrong, each 0..1: at each call, each word told unasked, each commit of execution."""

    lost: float = 0.0
    late: float = 0.0
    dropped: float = 0.0
    unheard: float = 0.0
    repeated: float = 0.0
    gateway_falls: float = 0.0
    falls_before: float = 0.0
    falls_after: float = 0.0
    parts: float = 0.0


class LoneExecution:
    """The room, its store, and the world around it on one heap of due events."""

    def __init__(self, folder: Path, traits: VenueTraits, *, seed: int = 0, faults: Faults | None = None) -> None:
        self.folder, self.traits = folder, traits
        self.faults = faults or Faults()
        self.chance = random.Random(seed)
        self.clock = HandClock()
        self.clock.advance_ns(START_NS)
        self.exchange = Exchange(traits, self.clock, self.chance)
        self.exchange.parts = self.faults.parts
        self.exchange.tell = self._told_unasked
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._number = 0
        self.epoch = 1
        self.demands: tuple[Instrument, ...] = ()
        self.sent: list[Any] = []
        self.answers: list[OperatorAnswered] = []
        self.falls = 0
        self.steps = 0
        self.store: Store | None = None
        self._last = Tick("SPY", 0, 100.0)
        if not self._start():
            self.fall()

    # --- life ---------------------------------------------------------------------------------

    def _start(self) -> bool:
        self.store = Store.open(self.folder / "ledger", is_synced=False, map_bytes=64 << 20)
        self.sentinel = Sentinel(self.folder)
        self.room = Execution(
            venue=VENUE,
            traits=self.traits,
            capital=CAPITAL,
            store=self.store,
            codec=desk_codec(),
            clock=self.clock,
            sentinel=self.sentinel,
            log=Log("execution"),
            owners=OWNERS,
            is_stepped=False,
        )
        self.timers: dict[str, int] = {}
        up = (Peer(VENUE, self.epoch, "RUNNING"), Peer("strategies/alpha", 1, "RUNNING"))
        up_and_heard = (self.room.recover, lambda: self.room.peers(up), lambda: self.room.connected(VENUE), self._tick)
        return all(self._do(do) == "done" for do in up_and_heard)

    def fall(self) -> None:
        """Kill the process: what was not committed is gone, and what was not sent. It may fall again at its start."""
        while True:
            self.falls += 1
            assert self.store is not None
            self.store.close()
            if self._start():
                return

    def gateway_falls(self) -> None:
        """Kill the venue's process: calls under way get no answer; another one comes."""
        self.epoch += 1
        down = Peer(VENUE, self.epoch - 1, "RESTARTING")
        self._turn(lambda: self.room.peers((down,)))
        self._turn(lambda: self.room.peers((Peer(VENUE, self.epoch, "RUNNING"),)))
        self._turn(lambda: self.room.connected(VENUE))

    def _turn(self, do: Callable[[], Effects]) -> bool:
        """Do what the shell does in one turn; say whether it was committed, also where it fell right behind that."""
        came_to = self._do(do)
        if came_to != "done":
            self.fall()
        return came_to != "fell before"

    def _do(self, do: Callable[[], Effects]) -> str:
        effects = do()
        if self._happens("falls_before"):
            return "fell before"
        assert self.store is not None
        self.store.commit(effects.writes, is_durable=effects.is_durable)
        if self._happens("falls_after"):
            return "fell after"
        self.timers |= {name: at_ns for name, at_ns in effects.timers if at_ns}
        self.answers += [post.word for post in effects.posts if isinstance(post.word, OperatorAnswered)]
        for post in effects.posts:
            if post.peer == VENUE:
                self.sent.append(post.word)
                self.at(self._pause_ns(), lambda word=post.word: self._at_gateway(word))
        return "done"

    def _happens(self, fault: str) -> bool:
        return self.chance.random() < getattr(self.faults, fault)

    def _pause_ns(self) -> int:
        return self.chance.randrange(1, 20) * NS_PER_MS

    def at(self, in_ns: int, do: Callable[[], None]) -> None:
        """Let something happen in so many virtual nanoseconds."""
        self._number += 1
        heapq.heappush(self._heap, (self.clock.monotonic_ns() + in_ns, self._number, do))

    def run(self, for_s: float = 120.0) -> None:
        """Let everything happen that is due within this time."""
        until_ns = self.clock.monotonic_ns() + int(for_s * NS_PER_S)
        while True:
            self.steps += 1
            due = min((at_ns for at_ns in self.timers.values()), default=until_ns + 1)
            first = self._heap[0][0] if self._heap else until_ns + 1
            if min(due, first) > until_ns:
                self.clock.advance_ns(until_ns - self.clock.monotonic_ns())
                return
            self.clock.advance_ns(max(0, min(due, first) - self.clock.monotonic_ns()))
            if first <= due:
                heapq.heappop(self._heap)[2]()
            else:
                name = next(name for name, at_ns in self.timers.items() if at_ns == due)
                del self.timers[name]
                self._turn(lambda name=name: self.room.timer(name))

    # --- words --------------------------------------------------------------------------------

    def say(self, word: Any) -> None:
        """Let the gateway say something, until it is acknowledged; after a fall before the commit it says it again."""
        epoch = self.epoch
        while not self._turn(lambda: self.room.hear(VENUE, epoch, word)):
            pass

    def pass_time(self, market_ns: int, price: float = 100.0) -> None:
        """Let the market's time be this, by a tick at this price; whoever starts later hears one like it."""
        self._last = Tick("SPY", market_ns, price)
        while not self._turn(self._tick):
            pass

    def _tick(self) -> Effects:
        return self.room.hear_stream("market_data", StreamItem("SPY/tick", 1, 0, b"", False), self._last)

    def wish(self, word: Any) -> OperatorAnswered:
        """Let the console ask for something, until it is acknowledged; give the answer that it gets."""
        while not self._turn(lambda: self.room.hear("console", 1, word)):
            pass
        return self.answers[-1]

    def reconfigure(self, reconciliation: ReconciliationSettings) -> None:
        """Let the root tell other thresholds, until they are taken over; all else as it is."""
        told = ExecutionArguments(
            CAPITAL, ("SPY", "QQQ"), False, OWNERS, VENUE, self.traits, reconciliation=reconciliation
        )
        while not self._turn(lambda: self.room.reconfigured(msgspec.msgpack.encode(told))):
            pass

    def hear_risk(self, judged: IntentJudged) -> None:
        """Let risk say its verdict, until it is acknowledged."""
        while not self._turn(lambda: self.room.hear("risk", 1, judged)):
            pass

    def _answer(self, word: Any, epoch: int) -> None:
        def arrive() -> None:
            if epoch == self.epoch:
                self.say(word)

        self.at(self._pause_ns(), arrive)

    def _told_unasked(self, word: Any) -> None:
        epoch = self.epoch
        for _ in range(1 + self._happens("repeated")):
            if not self._happens("unheard"):
                self.at(
                    self._pause_ns() * self.chance.choice((1, 1, 30)),
                    lambda: self.say(word) if epoch == self.epoch else None,
                )

    def _at_gateway(self, word: Any) -> None:
        if self._happens("gateway_falls"):
            self.gateway_falls()
        epoch = self.epoch
        addressed = getattr(word, "venue_epoch", epoch)
        if isinstance(word, SubmitOrder):
            if addressed != epoch:
                self._answer(OrderUnclear(0, word.order_id, "another incarnation", 0), epoch)
            else:
                self._call_submit(word, epoch)
        elif isinstance(word, CancelOrder):
            self._call_cancel(word, epoch)
        elif isinstance(word, ReplaceOrder):
            if self._happens("lost"):
                self._answer(OrderUnclear(0, word.order_id, "no answer", 0), epoch)
            else:
                answer = self.exchange.replace(word)
                unclear = OrderUnclear(0, word.order_id, "dropped", 0)
                self._answer(unclear if self._happens("dropped") else answer, epoch)
        elif isinstance(word, OrdersWanted):
            self._answer(self._found(word), epoch)
        elif isinstance(word, VenueWanted):
            # A snapshot is never older than what was told before it: the gateway looks again where it would be.
            self.at(self._pause_ns(), lambda: self.say(self._snapshot(word)) if epoch == self.epoch else None)

    def _call_submit(self, word: SubmitOrder, epoch: int) -> None:
        unclear = OrderUnclear(0, word.order_id, "no answer", 0)
        if self._happens("lost"):
            self._answer(unclear, epoch)
        elif self._happens("late"):
            self.at(self.chance.randrange(50, 9_000) * NS_PER_MS, lambda: self._discard(self.exchange.take(word)))
            self._answer(unclear, epoch)
        else:
            answer = self.exchange.take(word)
            self._answer(unclear if self._happens("dropped") else answer, epoch)

    @staticmethod
    def _discard(_answer: Any) -> None:
        """Nobody reads the answer of what was executed late."""

    def _call_cancel(self, word: CancelOrder, epoch: int) -> None:
        if self._happens("lost"):
            self._answer(CancelUnclear(0, word.order_id, "no answer", 0), epoch)
            return
        is_done = self.exchange.cancel(word.venue_order_id or word.order_id)
        if self._happens("dropped"):
            self._answer(CancelUnclear(0, word.order_id, "dropped", 0), epoch)
        elif is_done:
            self._answer(OrderCancelled(0, word.order_id, word.reason, False, 0, self._filled(word)), epoch)
        else:
            self._answer(CancelRejected(0, word.order_id, "not open", 0), epoch)

    def _filled(self, word: CancelOrder) -> Decimal | None:
        """Give what had filled when the cancel came; some venues do not say."""
        if self.chance.random() < 0.5:
            return None
        names = (word.venue_order_id, word.order_id)
        return next(o.filled for o in self.exchange.orders if o.name in names or o.command.order_id in names)

    def _found(self, word: OrdersWanted) -> OrdersFound:
        if self._happens("lost"):
            return OrdersFound(word.query, (), (), (), 0, "no answer")
        found = [order for name in word.order_ids for order in self.exchange.named(name)]
        names = {order.command.order_id for order in found}
        absent = tuple(name for name in word.order_ids if name not in names)
        fills = tuple(fill for fill in self.exchange.fills if fill.ts_ns >= word.since_ns)
        return OrdersFound(word.query, tuple(o.seen() for o in found), absent, fills, self.exchange.now_ns())

    def _snapshot(self, word: VenueWanted) -> VenueSnapshot:
        exchange = self.exchange
        if self._happens("lost"):
            return VenueSnapshot(word.query, (), {}, ZERO, (), 0, failure="no answer")
        return VenueSnapshot(
            word.query,
            tuple(order.seen() for order in exchange.orders if order.is_open),
            exchange.positions(),
            ZERO,
            tuple(fill for fill in exchange.fills if fill.ts_ns >= word.since_ns),
            0,
            account=exchange.account,
            venue_ns=exchange.now_ns(),
            skew_ns=exchange.skew_ns,
            instruments=self.demands,
        )

    # --- work ---------------------------------------------------------------------------------

    def enter(  # noqa: PLR0913 - an entry has its figures
        self,
        number: int,
        *,
        symbol: str = "SPY",
        quantity: str = "1",
        limit: str = "",
        stop: str = "90",
        target: str = "",
        tag: int = -1,
    ) -> str:
        """Let risk approve an entry whose stop rests at the venue; give the order's id."""
        return self._decide(number, Effect.OPEN, symbol, Decimal(quantity), limit, stop, tag, target)

    def modify(self, number: int, tag: int, *, stop: str = "", target: str = "", symbol: str = "SPY") -> str:
        """Let risk approve other levels for what entry ``tag`` bought."""
        return self._decide(number, Effect.MODIFY, symbol, Decimal(1), "", stop, tag, target)

    def leave(self, number: int, tag: int, *, symbol: str = "SPY", quantity: str = "1") -> str:
        """Let risk approve an exit of what entry ``tag`` bought."""
        return self._decide(number, Effect.CLOSE, symbol, Decimal(quantity), "", "", tag)

    def _decide(  # noqa: PLR0913, PLR0917 - a decision has its figures
        self,
        number: int,
        effect: Effect,
        symbol: str,
        quantity: Decimal,
        limit: str,
        stop: str,
        tag: int = -1,
        target: str = "",
    ) -> str:
        market_ns = self.clock.wall_ns()
        intent = msgspec.structs.replace(
            an_intent(),
            intent_id=f"i{number}",
            symbol=symbol,
            number=number,
            effect=effect,
            side=Side.BUY if effect is Effect.OPEN else Side.SELL,
            order_type=OrderType.LIMIT if limit else OrderType.MARKET,
            limit_price=Decimal(limit) if limit else None,
            quantity=quantity,
            stop_loss=Decimal(stop) if stop else None,
            take_profit=Decimal(target) if target else None,
            protective_stop=ProtectiveStop.VENUE,
            decided_ns=market_ns,
            expires_ns=market_ns + 30 * NS_PER_S,
            order_ttl_ns=20 * NS_PER_S if limit else 0,
            tag=f"t{number if tag < 0 else tag}",
        )
        name = order_id(intent.intent_id)
        self.hear_risk(IntentJudged(name, intent, quantity, (), market_ns))
        return name

    # --- looking ------------------------------------------------------------------------------

    def order(self, name: str) -> Order:
        """Give an order as execution knows it."""
        order = self.room._journal.ledger.order(name)
        assert order is not None, f"{name} was never booked"
        return order

    def journal(self) -> list[JournalRecord]:
        """Give every record of the journal."""
        assert self.store is not None
        codec = desk_codec()
        return [codec.decode(data) for _, data in self.store.records()]

    def booked(self) -> list[FillBooked]:
        """Give every booked execution."""
        return [record.body for record in self.journal() if isinstance(record.body, FillBooked)]
