"""What must hold whatever goes wrong: looked at with each commit, and once more when everything has come to rest."""

from collections import Counter
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from actors.settings import Settings
from actors.simulation.audit import Auditor
from actors.simulation.exchange import Exchange, Resting
from actors.simulation.scenario import Scenario
from actors.strategy_memory import NOW, TABLE, Kept, unsealed
from actors.topics import AWAY, bar_topic, strategy_path
from actors.words import desk_codec
from desk import identity
from desk.conservation import InvariantError
from desk.messages import (
    CapitalChanged,
    Effect,
    FillBooked,
    Intent,
    IntentJudged,
    JournalRecord,
    Order,
    OrderChanged,
    OrderState,
    ProtectiveStop,
    Purpose,
    SubmitOrder,
    VenueSnapshot,
)
from desk.order import REASON_FLATTEN, TERMINAL
from desk.portfolio import EXTERNAL, Ledger
from desk.simulation.paper import FinishedOrder, RestingOrder
from desk.transition import NEXT
from desk.units import NS_PER_S, ZERO
from runtime.effects import Append, Put
from runtime.errors import StoreError
from runtime.words import PeersChanged

if TYPE_CHECKING:
    from actors.simulation.shell import Heard, Shell
    from actors.simulation.world import World

RESTING = frozenset({OrderState.SUBMITTED, OrderState.PARTIALLY_FILLED})
PROTECTIVE = frozenset({Purpose.STOP_LOSS, Purpose.TAKE_PROFIT})
#: How long after its time to live an order may still rest: market time is as old as the last tick.
TTL_GRACE_NS = 15 * NS_PER_S
#: Reasons for which nothing but an entry may be refused.
_FOR_ENTRIES = ("HALTED", "GATE_CLOSED", "UNKNOWN_ORDER", "QUEUE", "BREAKER", "SUPERSEDED")

Key = tuple[str, str, str]
"""Strategy, symbol, tag: what names a position."""


class _AtRest(NamedTuple):
    """One protective order that rests: its quantity, the price that it waits for, and whether it is a stop."""

    quantity: Decimal
    price: Decimal | None
    is_stop: bool


class Judge:
    """Follows the journal of a run as an auditor who keeps books of his own, and compares with the venue's truth."""

    def __init__(self, world: "World", scenario: Scenario, venue: str) -> None:
        """Begin with an empty journal. ``exchange`` is the model of a venue behind a wire, where there is one."""
        self._world, self._scenario, self._venue = world, scenario, venue
        self.exchange: Exchange | None = None
        self.auditor = Auditor(world, scenario)
        self._codec = desk_codec()
        self._positions_max: int | None = None
        #: The incarnation of execution that has compared its books with the venue's.
        self._compared = 0
        self._begin_books()
        self.limits(scenario.settings)

    def _begin_books(self) -> None:
        self.auditor.begin()
        self._ledger = Ledger()
        self._orders: dict[str, Order] = {}
        self._owner: dict[str, str] = {}
        self._head = 0
        #: Every execution that the journal has, oldest first, and their names.
        self.fills: list[FillBooked] = []
        self._executions: set[str] = set()
        self._requests: set[str] = set()
        self._intents: dict[str, str] = {}

    def limits(self, settings: Settings) -> None:
        """Hear that other limits hold; what was opened under the former ones may stay."""
        most = settings.risk.max_positions
        self._positions_max = None if most is None else max(most, self._positions_max or 0)

    def orders_seen(self) -> int:
        """Count the orders that the journal has."""
        return len(self._orders)

    # --- with each commit ---------------------------------------------------------------------

    def committed(self, shell: "Shell", heard: "Heard") -> None:
        """Look at what a process has just kept, and at what it is about to say."""
        path = shell.path
        if path == "execution":
            for word in heard.words:
                if type(word) is VenueSnapshot and not word.failure:
                    self._compared = shell.epoch
            before = frozenset(self._ledger.unknown)
            self._read(shell, heard)
            self._look_at_what_leaves(shell, heard, before)
        elif path == "risk" and heard.effects.posts:
            self._look_at_verdicts(heard)
        self.auditor.heard(shell, heard)

    def _read(self, shell: "Shell", heard: "Heard") -> None:
        has_moved = False
        said = {each.sequence: each.word for each in heard.effects.published}
        for write in heard.effects.writes:
            if type(write) is Append:
                if write.sequence != self._head + 1:
                    self._begin_books()  # after a loss of power the journal may only be read anew
                    assert shell.store is not None, "execution has a store"
                    for _, data in shell.store.records():
                        self._take(self._codec.decode(data))
                    return
                record = said.get(write.sequence)
                if not isinstance(record, JournalRecord):
                    record = self._codec.decode(write.data)
                self._take(record)
                has_moved = has_moved or not isinstance(record.body, OrderChanged)
        if has_moved:  # what an order becomes moves neither money nor quantity
            try:
                self._ledger.audit()
            except InvariantError as error:
                self._world.violate(f"the books contradict themselves: {error}")

    def _take(self, record: JournalRecord) -> None:
        body = record.body
        self._head = record.sequence
        self.auditor.take(record)
        if isinstance(body, FillBooked):
            name = f"{body.venue} {body.account} {body.execution_id}"
            if name in self._executions:
                self._world.violate(f"execution {body.execution_id} is booked twice")
            self._executions.add(name)
            self.fills.append(body)
        try:
            self._ledger.apply(body)
        except InvariantError as error:
            self._world.violate(f"the books contradict themselves: {error}")
            return
        if isinstance(body, OrderChanged):
            self._take_order(body)
        elif isinstance(body, CapitalChanged) and body.request:
            if body.request in self._requests:
                self._world.violate(f"the operator's request {body.request} is carried out twice")
            self._requests.add(body.request)
        elif isinstance(body, FillBooked) and body.purpose is Purpose.ENTRY:
            self._look_at_limits()

    def _take_order(self, changed: OrderChanged) -> None:
        order, before = changed.order, self._orders.get(changed.order.order_id)
        world = self._world
        was = before.state.value if before is not None else ""
        if changed.previous != was or (
            before is not None and order.state is not before.state and order.state not in NEXT[before.state]
        ):
            world.violate(f"order {order.order_id} went from {was} (said {changed.previous}) to {order.state.value}")
        self._orders[order.order_id] = order
        self._owner[order.order_id] = self._owner[order.client_id] = order.order_id
        if before is None:
            if order.order_id.startswith("o"):  # those of execution's own bear the intent of their entry too
                known = self._intents.setdefault(order.intent_id, order.order_id)
                if known != order.order_id:
                    world.violate(f"intent {order.intent_id} became two orders: {known} and {order.order_id}")
        elif order.state is OrderState.REJECTED and order.purpose is not Purpose.ENTRY and before.attempt == 0:
            reason = order.reason.partition(":")[0]
            if changed.source == "ours" and reason in _FOR_ENTRIES:
                world.violate(f"exit {order.order_id} was blocked: {order.reason}")
        is_over = self.exchange is not None and order.client_id in self.exchange.overfilled
        if order.filled_quantity > order.quantity and not is_over:
            world.violate(f"order {order.order_id} filled {order.filled_quantity} of {order.quantity}")

    def _look_at_limits(self) -> None:
        held = [one for one in self._ledger.positions.values() if one.strategy != EXTERNAL]
        if self._positions_max is not None and len(held) > self._positions_max:
            self._world.violate(f"{len(held)} positions are open, and no more than {self._positions_max} may be")

    def _look_at_what_leaves(self, shell: "Shell", heard: "Heard", before: frozenset[str]) -> None:
        """Look at each order that is about to be sent; ``before`` were UNKNOWN as the turn began."""
        for post in heard.effects.posts:
            word = post.word
            if type(word) is not SubmitOrder:
                continue
            order = self._orders.get(self._owner.get(word.order_id, ""))
            if order is None:
                self._world.violate(f"{word.order_id} leaves without a record in the journal")
            elif order.purpose is Purpose.ENTRY:
                self._look_at_entry(shell, order, before)
            elif order.purpose is Purpose.EXIT and order.state is OrderState.PENDING:
                self._look_at_exit(order)

    def _look_at_entry(self, shell: "Shell", order: Order, before: frozenset[str]) -> None:
        """Nothing is opened while halted, before the first look at the venue, or beside an UNKNOWN one."""
        halted = self._world.disk.halt.reason()
        if halted is not None:
            self._world.violate(f"entry {order.order_id} leaves while the desk is halted: {halted}")
        if self.exchange is not None and self._compared != shell.epoch:
            self._world.violate(f"entry {order.order_id} leaves before the books were compared with the venue's")
        for other in self._ledger.unknown.values():
            is_other = other.order_id != order.order_id and other.symbol == order.symbol
            if is_other and other.order_id in before:
                self._world.violate(f"entry {order.order_id} leaves while {other.order_id} is UNKNOWN")

    def _look_at_exit(self, order: Order) -> None:
        """An exit leaves for no more than is held, and once no resting order could close the same again.

        One that a report of the same turn has moved on already is not looked at: that came after it was sent.
        """
        held = self._ledger.position(*order.key)
        if held is None or abs(held.quantity) < order.quantity:
            has = "nothing" if held is None else abs(held.quantity)
            self._world.violate(f"exit {order.order_id} leaves for {order.quantity}, and {has} is held")
        for other in self._ledger.working_around(order.key).values():
            if other.purpose in PROTECTIVE:
                self._world.violate(f"exit {order.order_id} leaves while {other.order_id} is {other.state.value}")
        if self.exchange is not None:
            self._look_at_exit_there(order, self.exchange)

    def _look_at_exit_there(self, order: Order, exchange: Exchange) -> None:
        """What the venue itself has of a position: no more of it may be sold, and nothing may rest beside an exit."""
        held = ZERO
        for theirs in exchange.orders:
            other = self._orders.get(self._owner.get(theirs.command.order_id, ""))
            if other is None or other.key != order.key:
                continue
            held += theirs.filled * theirs.command.side.sign
            if theirs.is_open and other.purpose in PROTECTIVE:
                self._world.violate(f"exit {order.order_id} leaves, and {other.order_id} is open at the venue")
        if abs(held) < order.quantity:
            self._world.violate(f"exit {order.order_id} leaves for {order.quantity}, and the venue has {held}")

    def _look_at_verdicts(self, heard: "Heard") -> None:
        """Risk lets nothing be opened while the desk is halted, or an order of the symbol is UNKNOWN."""
        judged = [post.word for post in heard.effects.posts if type(post.word) is IntentJudged]
        opened = [word for word in judged if word.is_approved and word.intent.effect is Effect.OPEN]
        if not opened:
            return
        fresh = {write.key for write in heard.effects.writes if isinstance(write, Put) and write.table == "unbooked"}
        asked = {word.intent_id for word in heard.words if isinstance(word, Intent)}
        halted = self._world.disk.halt.reason()
        # Without barrier the journal is read as an intent comes; what waited for root's first word is not looked at.
        has_read = self.exchange is not None and not any(isinstance(word, PeersChanged) for word in heard.words)
        for word in opened:
            if word.order_id.encode() in fresh and halted is not None:
                self._world.violate(f"risk lets {word.order_id} be opened while the desk is halted: {halted}")
            if has_read and word.intent.intent_id in asked:
                for other in self._ledger.unknown.values():
                    if other.symbol == word.intent.symbol:
                        self._world.violate(f"risk lets {word.order_id} be opened while {other.order_id} is UNKNOWN")

    # --- at rest ------------------------------------------------------------------------------

    def is_at_rest(self) -> bool:
        """Say whether the desk stands, nothing is under way that will end by itself, and everybody agrees."""
        shells = map(self._world.standing, self._world.paths)
        return all(shell is not None and not shell.is_frozen for shell in shells) and not self.faults()

    def end(self) -> None:
        """Say what is wrong on a desk that does not come to rest: what is wrong now stays wrong."""
        world = self._world
        for path in world.paths:
            if world.standing(path) is None:
                world.violate(f"{path} does not stand again, although nothing goes wrong any more")
        for fault in self.faults():
            world.violate(fault)

    def faults(self) -> list[str]:
        """Say everything in which books, venue, strategies and processes do not agree; [] where all is well."""
        try:
            return [
                *self._at_venue(),
                *self._of_positions(),
                *self._of_execution(),
                *self._of_strategies(),
                *self._of_halt(),
                *self.auditor.faults(),
            ]
        except StoreError as error:  # until it is restored
            return [f"a store cannot be read: {error}"]

    def _at_venue(self) -> Iterable[str]:
        if self.exchange is not None:
            yield from self._executions_of(self.exchange)
            yield from self._orders_of(self.exchange.orders)
            yield from self._positions_of(self.exchange.positions())
            yield from self._stops_of(self.exchange.open_orders())
            return
        yield from self._paper()

    def _executions_of(self, exchange: Exchange) -> Iterable[str]:
        theirs = {fill.execution_id for fill in exchange.fills}
        ours = {name.rpartition(" ")[2] for name in self._executions}
        yield from (f"lost: execution {name} is not booked" for name in sorted(theirs - ours))
        yield from (f"phantom: execution {name} is booked and never was" for name in sorted(ours - theirs))

    def _orders_of(self, orders: Sequence[Resting]) -> Iterable[str]:
        attempts: dict[str, list[Resting]] = {}
        names: Counter[str] = Counter()
        for theirs in orders:
            name = theirs.command.order_id
            names[name] += 1
            owner = self._owner.get(name)
            if owner is None:
                yield f"phantom: {name} is at the venue without a record"
            else:
                attempts.setdefault(owner, []).append(theirs)
        yield from (f"duplicated: client id {name} was taken in {n} times" for name, n in names.items() if n > 1)
        has_deadline = self._scenario.settings.venue.traits.has_deadline
        for order_id, order in self._orders.items():
            theirs_of = attempts.get(order_id, [])
            if len([o for o in theirs_of if o.is_open or o.filled]) > 1:
                yield f"duplicated: {order_id} has {len(theirs_of)} attempts that live or traded"
            is_open = any(o.is_open for o in theirs_of)
            if order.state is OrderState.UNKNOWN and not has_deadline and order.reason:
                continue  # it waits for a person, for a reason that it names
            if is_open != (order.state in RESTING):
                yield f"{order_id} is {order.state.value}, and {'open' if is_open else 'not open'} at the venue"
            if order.state not in TERMINAL and order.purpose in {Purpose.ENTRY, Purpose.EXIT} and not is_open:
                yield f"{order_id} ({order.purpose.value}) never ends: {order.state.value} {order.reason}"
            if is_open and 0 < order.expires_ns < self._world.clock.wall_ns() - TTL_GRACE_NS:
                yield f"{order_id} has outlived its time to live, and is {order.state.value}"

    def _positions_of(self, theirs: dict[str, Decimal]) -> Iterable[str]:
        ours = self._ledger.net_quantities()
        if ours != theirs:
            yield f"lost: the books hold {_figures(ours)}, the venue {_figures(theirs)}"

    def _of_positions(self) -> Iterable[str]:
        """Nobody here sells short; and a target that the price has reached is closed, whoever looks after it."""
        if self._scenario.has_own_feed:
            return
        in_doubt = {order.key for order in self._orders.values() if order.state is OrderState.UNKNOWN}
        for key, position in self._ledger.positions.items():
            if key[0] == EXTERNAL:
                continue
            if position.quantity < ZERO:
                yield f"{key} was sold more often than it was bought: {position.quantity} is held"
            target, entry = position.take_profit, self._entries().get(key)
            is_watched = entry is not None and entry.protective_stop is ProtectiveStop.VENUE and key not in in_doubt
            if self.exchange is not None and is_watched and target and self.exchange.prices[key[1]] >= target:
                yield f"{key} holds {position.quantity}, and its target {target} was reached"

    def _entries(self) -> dict[Key, Order]:
        orders = self._orders.values()
        return {order.key: order for order in orders if order.purpose is Purpose.ENTRY and order.filled_quantity}

    def _stops_of(self, resting: Sequence[Resting]) -> Iterable[str]:
        found: dict[Key, list[_AtRest]] = {}
        for theirs in resting:
            order = self._orders.get(self._owner.get(theirs.command.order_id, ""))
            if order is not None and order.purpose in PROTECTIVE:
                rest = _AtRest(theirs.quantity - theirs.filled, theirs.price, order.purpose is Purpose.STOP_LOSS)
                found.setdefault(order.key, []).append(rest)
        yield from self._protection(found)

    def _protection(self, found: dict[Key, list[_AtRest]]) -> Iterable[str]:
        """Each position whose stop rests at the venue has one, of its quantity and level; nothing held has none."""
        in_doubt = {o.key for o in self._orders.values() if o.state is OrderState.UNKNOWN}
        leaving = {o.key for o in self._orders.values() if o.purpose is Purpose.EXIT and o.state in RESTING}
        entries = self._entries()
        for key, position in self._ledger.positions.items():
            entry = entries.get(key)
            if entry is None or key in in_doubt | leaving:
                found.pop(key, None)
                continue
            stops = [(rest.quantity, rest.price) for rest in found.pop(key, []) if rest.is_stop]
            is_native = entry.protective_stop is ProtectiveStop.VENUE and position.stop_loss is not None
            if is_native and stops != [(abs(position.quantity), position.stop_loss)]:
                has = _listed(f"{quantity} at {price}" for quantity, price in stops)
                yield f"unprotected: {key} holds {position.quantity} with stop {position.stop_loss}, at rest is {has}"
        yield from (
            f"unprotected: {key} holds nothing, and at rest is {_listed(each.quantity for each in rest)}"
            for key, rest in found.items()
            if key not in in_doubt and key not in self._ledger.positions
        )

    def _paper(self) -> Iterable[str]:
        """Compare with what the paper venue has on its disk."""
        store = self._world.store("venue-paper")
        if store is None:
            return
        account = store.get("account", b"now")
        positions: dict[str, Decimal] = {}
        if account is not None:
            positions, cash = msgspec.msgpack.decode(account, type=tuple[dict[str, Decimal], Decimal, int, int, int])[
                :2
            ]
            paid_in = self._ledger.deposits  # the desk's own, of which no venue knows
            if cash != self._ledger.cash - paid_in:
                yield f"lost: the books have {self._ledger.cash} in cash, {paid_in} of it paid in, and the venue {cash}"
        yield from self._positions_of({symbol: held for symbol, held in positions.items() if held})
        resting = [msgspec.msgpack.decode(data, type=RestingOrder) for _, data in store.scan("resting")]
        finished = [msgspec.msgpack.decode(data, type=FinishedOrder) for _, data in store.scan("finished")]
        open_there = {order.command.order_id for order in resting}
        known = open_there | {order.order_id for order in finished}
        yield from (f"phantom: {name} is at the venue without a record" for name in sorted(known - self._owner.keys()))
        found: dict[Key, list[_AtRest]] = {}
        wished = {order.key for order in self._orders.values() if _is_wish(order)}
        for order in self._orders.values():
            is_open = order.client_id in open_there
            # a wish may come when no step will be any more
            waits = _is_wish(order) or (order.state is OrderState.PENDING_CANCEL and order.key in wished)
            if is_open != (order.state in RESTING) and not waits:
                yield f"{order.order_id} is {order.state.value}, and {'open' if is_open else 'not open'} at the venue"
            if is_open and order.purpose in PROTECTIVE:
                left, is_stop = order.quantity - order.filled_quantity, order.purpose is Purpose.STOP_LOSS
                found.setdefault(order.key, []).append(
                    _AtRest(left, order.stop_price if is_stop else order.limit_price, is_stop)
                )
            if order.state not in TERMINAL | RESTING and not waits:
                yield f"{order.order_id} ({order.purpose.value}) never ends: {order.state.value} {order.reason}"
        yield from self._protection(found)

    def _of_execution(self) -> Iterable[str]:
        """The gate is open again once nothing goes wrong, but where something waits for a person."""
        shell = self._world.standing("execution")
        if shell is None:
            return
        gate = shell.room.facts()["gate"]
        if gate and not self._world.disk.halt.reason():
            yield f"the gate stays closed: {gate}"

    def _of_strategies(self) -> Iterable[str]:
        """Look at what each strategy keeps: no bar is lost, and no answer awaited that will never come."""
        market = self._world.store("market")
        if market is None:
            return
        published: dict[str, list[int]] = {}
        for _, data in market.records():
            bar = self._codec.decode(data)
            published.setdefault(bar_topic(bar.symbol, bar.timeframe), []).append(bar.sequence)
        for entry in self._scenario.settings.strategies:
            path = strategy_path(entry.name)
            store = self._world.store(path)
            data = store.get(TABLE, NOW) if store is not None else None
            if self._world.state_of(path) in AWAY or data is None:
                continue
            kept = unsealed(data, Kept)
            met = kept.state.get("bars")
            for topic in (bar_topic(symbol, entry.timeframe) for symbol in entry.symbols):
                wanted = published.get(topic, [])
                if met is None:  # a strategy of somebody's own tells no more than how far it is
                    if kept.last.get(topic, 0) != max(wanted, default=0):
                        yield f"{entry.name} has come to bar {kept.last.get(topic, 0)} of {topic}, of {len(wanted)}"
                    continue
                mine = [number for number, of in met if of == topic]
                if mine != wanted:
                    yield f"{entry.name} met the bars {mine} of {topic}, and published were {wanted}"
            yield from self._unanswered(entry.name, kept)

    def _unanswered(self, name: str, kept: Kept) -> Iterable[str]:
        for intent in kept.pending:
            if identity.order_id(intent.intent_id) not in self._orders:
                yield f"intent {intent.intent_id} of {name} became no order, and was not refused either"

    def _of_halt(self) -> Iterable[str]:
        halted = self._world.disk.halt.reason()
        has_reason = self.exchange is not None and bool(self.exchange.overfilled)
        if halted is not None and not (has_reason and halted.startswith("OVERFILL")):
            yield f"the desk halted itself: {halted}"


def _is_wish(order: Order) -> bool:
    return order.state is OrderState.PENDING and order.exit_reason == REASON_FLATTEN


def _figures(figures: dict[str, Decimal]) -> str:
    return ", ".join(f"{symbol} {quantity}" for symbol, quantity in sorted(figures.items())) or "nothing"


def _listed(quantities: Iterable[Any]) -> str:
    return ", ".join(map(str, quantities)) or "nothing"
