"""What must hold whatever goes wrong: looked at with each commit, and once more when everything has come to rest."""

from collections import Counter
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec

from actors.settings import Settings
from actors.simulation.exchange import Exchange, Resting
from actors.simulation.scenario import Scenario
from actors.strategy_memory import NOW, TABLE, Kept, unsealed
from actors.topics import AWAY, bar_topic
from actors.words import desk_codec
from desk.conservation import InvariantError
from desk.messages import (
    FillBooked,
    JournalRecord,
    Order,
    OrderChanged,
    OrderState,
    OrderType,
    ProtectiveStop,
    Purpose,
    SubmitOrder,
)
from desk.order import REASON_FLATTEN, TERMINAL
from desk.portfolio import EXTERNAL, Ledger
from desk.simulation.paper import FinishedOrder, RestingOrder
from desk.transition import NEXT
from runtime.effects import Append

if TYPE_CHECKING:
    from actors.simulation.shell import Heard, Shell
    from actors.simulation.world import World

RESTING = frozenset({OrderState.SUBMITTED, OrderState.PARTIALLY_FILLED})
#: Reasons for which nothing but an entry may be refused.
_FOR_ENTRIES = ("HALTED", "GATE_CLOSED", "UNKNOWN_ORDER", "QUEUE", "BREAKER")


class Judge:
    """Follows the journal of a run as an auditor who keeps books of his own, and compares with the venue's truth."""

    def __init__(self, world: "World", scenario: Scenario, venue: str) -> None:
        """Begin with an empty journal. ``exchange`` is the model of a venue behind a wire, where there is one."""
        self._world, self._scenario, self._venue = world, scenario, venue
        self.exchange: Exchange | None = None
        self._codec = desk_codec()
        self._positions_max: int | None = None
        self._begin_books()
        self.limits(scenario.settings)

    def _begin_books(self) -> None:
        self._ledger = Ledger()
        self._orders: dict[str, Order] = {}
        self._owner: dict[str, str] = {}
        self._head = 0
        self._executions: set[str] = set()
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
        if shell.path == "execution":
            before = frozenset(self._ledger.unknown)
            self._read(shell, heard)
            self._look_at_entries(heard, before)

    def _read(self, shell: "Shell", heard: "Heard") -> None:
        changed = False
        said = {each.sequence: each.word for each in heard.effects.published}
        for write in heard.effects.writes:
            if isinstance(write, Append):
                if write.sequence != self._head + 1:
                    self._begin_books()  # after a loss of power the journal may only be read anew
                    assert shell.store is not None, "execution has a store"
                    for _, data in shell.store.records():
                        self._take(self._codec.decode(data))
                    return
                record = said.get(write.sequence)
                self._take(record if isinstance(record, JournalRecord) else self._codec.decode(write.data))
                changed = True
        if changed:
            try:
                self._ledger.audit()
            except InvariantError as error:
                self._world.violate(f"the books contradict themselves: {error}")

    def _take(self, record: JournalRecord) -> None:
        body = record.body
        self._head = record.sequence
        if isinstance(body, FillBooked):
            name = f"{body.venue} {body.account} {body.execution_id}"
            if name in self._executions:
                self._world.violate(f"execution {body.execution_id} is booked twice")
            self._executions.add(name)
        try:
            self._ledger.apply(body)
        except InvariantError as error:
            self._world.violate(f"the books contradict themselves: {error}")
            return
        if isinstance(body, OrderChanged):
            self._take_order(body)
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
        if order.filled_quantity > order.quantity:
            world.violate(f"order {order.order_id} filled {order.filled_quantity} of {order.quantity}")

    def _look_at_limits(self) -> None:
        held = [one for one in self._ledger.positions.values() if one.strategy != EXTERNAL]
        if self._positions_max is not None and len(held) > self._positions_max:
            self._world.violate(f"{len(held)} positions are open, and no more than {self._positions_max} may be")

    def _look_at_entries(self, heard: "Heard", before: frozenset[str]) -> None:
        """Nothing that opens something leaves while the desk is halted, or another order of its symbol is UNKNOWN."""
        for post in heard.effects.posts:
            word = post.word
            if not isinstance(word, SubmitOrder) or word.is_exit or word.type is OrderType.STOP:
                continue
            order = self._orders.get(self._owner.get(word.order_id, ""))
            if order is None:
                self._world.violate(f"{word.order_id} leaves without a record in the journal")
                continue
            if order.purpose is not Purpose.ENTRY:
                continue
            halted = self._world.disk.halt.reason()
            if halted is not None:
                self._world.violate(f"entry {order.order_id} leaves while the desk is halted: {halted}")
            for other in self._ledger.working.values():
                is_other = other.order_id != order.order_id and other.symbol == order.symbol
                if is_other and other.state is OrderState.UNKNOWN and other.order_id in before:
                    self._world.violate(f"entry {order.order_id} leaves while {other.order_id} is UNKNOWN")

    # --- at rest ------------------------------------------------------------------------------

    def is_at_rest(self) -> bool:
        """Say whether the desk stands, and nothing is under way that will end by itself."""
        world = self._world
        for path, shell in world.paths.items():
            if path in world.quarantined:
                continue
            if shell is None or not shell.is_alive or not shell.is_up or shell.is_frozen:
                return False
        return not self.faults()

    def end(self) -> None:
        """Look at everything once more; what is wrong now stays wrong."""
        world = self._world
        for path, shell in world.paths.items():
            if shell is None or not shell.is_alive or not shell.is_up:
                world.violate(f"{path} does not stand again, although nothing goes wrong any more")
        for fault in self.faults():
            world.violate(fault)

    def faults(self) -> list[str]:
        """Say everything in which books, venue, strategies and processes do not agree; [] where all is well."""
        return [*self._at_venue(), *self._of_execution(), *self._of_bars(), *self._of_halt()]

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

    def _positions_of(self, theirs: dict[str, Decimal]) -> Iterable[str]:
        ours = self._ledger.net_quantities()
        if ours != theirs:
            yield f"lost: the books hold {_figures(ours)}, the venue {_figures(theirs)}"

    def _stops_of(self, resting: Sequence[Resting]) -> Iterable[str]:
        found: dict[tuple[str, str, str], list[tuple[Decimal, bool]]] = {}
        for theirs in resting:
            order = self._orders.get(self._owner.get(theirs.command.order_id, ""))
            if order is not None and order.purpose in {Purpose.STOP_LOSS, Purpose.TAKE_PROFIT}:
                key = (order.strategy, order.symbol, order.tag)
                found.setdefault(key, []).append((theirs.quantity - theirs.filled, order.purpose is Purpose.STOP_LOSS))
        yield from self._protection(found)

    def _protection(self, found: dict[tuple[str, str, str], list[tuple[Decimal, bool]]]) -> Iterable[str]:
        """Each position whose stop rests at the venue has one, of its quantity; what holds nothing has none."""
        in_doubt = {o.key for o in self._orders.values() if o.state is OrderState.UNKNOWN}
        leaving = {o.key for o in self._orders.values() if o.purpose is Purpose.EXIT and o.state in RESTING}
        entries = {o.key: o for o in self._orders.values() if o.purpose is Purpose.ENTRY and o.filled_quantity}
        for key, position in self._ledger.positions.items():
            entry = entries.get(key)
            if entry is None or key in in_doubt | leaving:
                found.pop(key, None)
                continue
            stops = [quantity for quantity, is_stop in found.pop(key, []) if is_stop]
            is_native = entry.protective_stop is ProtectiveStop.VENUE and position.stop_loss is not None
            if is_native and stops != [abs(position.quantity)]:
                yield f"unprotected: {key} holds {position.quantity}, and at rest is {_listed(stops)}"
        yield from (
            f"unprotected: {key} holds nothing, and at rest is {_listed(quantity for quantity, _ in rest)}"
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
            positions, cash = msgspec.msgpack.decode(account, type=tuple[dict[str, Decimal], Decimal, int, int])[:2]
            paid_in = self._ledger.deposits  # the desk's own, of which no venue knows
            if cash != self._ledger.cash - paid_in:
                yield f"lost: the books have {self._ledger.cash} in cash, {paid_in} of it paid in, and the venue {cash}"
        yield from self._positions_of({symbol: held for symbol, held in positions.items() if held})
        resting = [msgspec.msgpack.decode(data, type=RestingOrder) for _, data in store.scan("resting")]
        finished = [msgspec.msgpack.decode(data, type=FinishedOrder) for _, data in store.scan("finished")]
        open_there = {order.command.order_id for order in resting}
        known = open_there | {order.order_id for order in finished}
        yield from (f"phantom: {name} is at the venue without a record" for name in sorted(known - self._owner.keys()))
        found: dict[tuple[str, str, str], list[tuple[Decimal, bool]]] = {}
        for order in self._orders.values():
            is_open = order.client_id in open_there
            if is_open != (order.state in RESTING):
                yield f"{order.order_id} is {order.state.value}, and {'open' if is_open else 'not open'} at the venue"
            if is_open and order.purpose in {Purpose.STOP_LOSS, Purpose.TAKE_PROFIT}:
                left = order.quantity - order.filled_quantity
                found.setdefault(order.key, []).append((left, order.purpose is Purpose.STOP_LOSS))
            is_wish = order.state is OrderState.PENDING and order.exit_reason == REASON_FLATTEN
            if order.state not in TERMINAL | RESTING and not is_wish:  # a wish may come when no step will be any more
                yield f"{order.order_id} ({order.purpose.value}) never ends: {order.state.value} {order.reason}"
        yield from self._protection(found)

    def _of_execution(self) -> Iterable[str]:
        """The gate is open again once nothing goes wrong, but where something waits for a person."""
        shell = self._world.paths.get("execution")
        if shell is None or not shell.is_up or not shell.is_alive:
            return
        gate = shell.room.facts()["gate"]
        if gate and not self._world.disk.halt.reason():
            yield f"the gate stays closed: {gate}"

    def _of_bars(self) -> Iterable[str]:
        """No strategy lost a bar: each was evaluated, or taken in late, once and in its order."""
        market = self._world.store("market")
        if market is None:
            return
        published: dict[str, list[int]] = {}
        for _, data in market.records():
            bar = self._codec.decode(data)
            published.setdefault(bar_topic(bar.symbol, bar.timeframe), []).append(bar.sequence)
        for entry in self._scenario.settings.strategies:
            path = f"strategies/{entry.name}"
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

    def _of_halt(self) -> Iterable[str]:
        halted = self._world.disk.halt.reason()
        if halted is not None:
            yield f"the desk halted itself: {halted}"


def _figures(figures: dict[str, Decimal]) -> str:
    return ", ".join(f"{symbol} {quantity}" for symbol, quantity in sorted(figures.items())) or "nothing"


def _listed(quantities: Iterable[Any]) -> str:
    return ", ".join(map(str, quantities)) or "nothing"
