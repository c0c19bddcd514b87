"""Execution: orders, the journal, positions and cash, time limits, resting stops, reconciliation.

The order is in the journal before it is on the wire. Everything that must still be said to a venue follows from
the journal alone: a PENDING order is submitted (again), a PENDING_CANCEL one is cancelled (again), a position that
wants a resting stop and has none gets one. So every start, after whatever end, is the same code.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

import msgspec
from typing_extensions import override

from actors.arguments import MARKET_DATA, ExecutionArguments, Owner
from actors.journal import Journal, Key
from actors.owners import WANTED_AWAY, Owners
from actors.peer_table import PeerTable
from actors.settings import OnDisable
from actors.step import EXECUTION
from actors.topics import PUT_AWAY, tick_topic
from actors.words import Joined, JournalHead
from desk.messages import (
    AwayWished,
    AwayWishKept,
    Bar,
    CancelOrder,
    CancelRejected,
    CancelWanted,
    CapitalChanged,
    Effect,
    EventsWanted,
    FillBooked,
    HoldersGiven,
    HoldersWanted,
    IntentJudged,
    LevelsChanged,
    Order,
    OrderAccepted,
    OrderCancelled,
    OrderChanged,
    OrderFilled,
    OrderRejected,
    OrderState,
    OrderType,
    ProtectiveStop,
    Purpose,
    SubmitOrder,
    Tick,
    VenueReport,
    VenueSnapshot,
    VenueWanted,
)
from desk.order import (
    REASON_FLATTEN,
    REASON_TTL,
    advance,
    course,
    flattening_order,
    order_from_judgement,
    protective_order,
)
from desk.portfolio import Position
from desk.reconcile import reconcile
from desk.units import NS_PER_S, ZERO
from runtime.bus_words import StreamItem
from runtime.clock import Clock
from runtime.codec import Codec
from runtime.effects import Effects
from runtime.folder import Sentinel
from runtime.log import Log
from runtime.room import Room
from runtime.store import Store
from runtime.words import REMOVED, Peer, Turn

RECONCILE_NS = 60 * NS_PER_S
PROTECTIVE = frozenset({Purpose.STOP_LOSS, Purpose.TAKE_PROFIT})
CANCELLABLE = frozenset({OrderState.SUBMITTED, OrderState.PARTIALLY_FILLED})
REASON_POSITION_CLOSED = "POSITION_CLOSED"


class Execution(Room):
    """The single writer of the ledger."""

    def __init__(  # noqa: PLR0913 - a room's constructor takes its world
        self,
        *,
        venue: str,
        capital: Decimal,
        store: Store,
        codec: Codec,
        clock: Clock,
        sentinel: Sentinel,
        log: Log,
        owners: Mapping[str, Owner],
        is_stepped: bool,
    ) -> None:
        """Fold the journal; nothing is sent before ``recover``."""
        self._venue, self._capital = venue, capital
        self._store, self._codec, self._clock, self._log = store, codec, clock, log
        self._sentinel, self._is_stepped = sentinel, is_stepped
        self._journal = Journal(store, codec, clock)
        seen = store.get("seen", venue.encode())
        self._seen = int.from_bytes(seen, "big") if seen is not None else 0
        self._market_ns = max((order.changed_ns for order in self._journal.ledger.orders()), default=0)
        self._submitted: set[str] = set()
        self._withheld: set[str] = set()
        self._queries = 0
        self._is_reconciled = False
        self._gate = "not reconciled yet"
        self._verdict = ""
        self._peers = PeerTable()
        self._away: frozenset[str] | None = None
        self._owners, self._configured = Owners(store, owners), owners
        self._late_fills = self._fills = 0
        self._last_fill = ""

    # --- life ---------------------------------------------------------------------------------

    @override
    def recover(self) -> Effects:
        effects = Effects()
        self._owners.reconfigure(self._configured, effects)
        if self._journal.head == 0:
            self._journal.write(CapitalChanged(self._capital, "starting balance", 0), effects)
        for order in tuple(self._journal.ledger.working.values()):
            if order.state is OrderState.PENDING and order.purpose is Purpose.ENTRY and self._sentinel.reason():
                self._withheld.add(order.order_id)
            elif order.state is OrderState.PENDING:
                self._submit(order, effects)
            elif order.state is OrderState.PENDING_CANCEL:
                effects.post(self._venue, CancelOrder(order.order_id, order.reason))
        for key in tuple(self._journal.ledger.positions):
            self._settle_key(key, effects)
        effects.timer("reconcile", self._clock.monotonic_ns() + RECONCILE_NS)
        return effects

    @override
    def stream_heads(self) -> tuple[int, dict[str, int]]:
        return self._journal.head, dict(self._journal.own_last)

    @override
    def facts(self) -> dict[str, Any]:
        ledger = self._journal.ledger
        return {
            "verdict": self._verdict,
            "gate": self._gate,
            "journal": self._journal.head,
            "orders_working": len(ledger.working),
            "positions": len(ledger.positions),
            "cash": str(ledger.cash),
            "realised": str(ledger.realised),
            "late_fills": self._late_fills,
            "fills": self._fills,
            "last_fill": self._last_fill,
            "residue": self._residue(),
        }

    @override
    def connected(self, peer: str) -> Effects:
        effects = Effects()
        if peer == self._venue:
            self._ask_venue(effects)
        elif peer == "market_data":
            effects.post(peer, Joined(), is_gated=False)
        return effects

    @override
    def timer(self, name: str) -> Effects:
        effects = Effects()
        self._ask_venue(effects)
        for key in tuple(self._journal.ledger.positions):
            self._flatten(key, effects)  # again, where an exit was refused
        effects.timer("reconcile", self._clock.monotonic_ns() + RECONCILE_NS)
        return effects

    def _ask_venue(self, effects: Effects) -> None:
        self._queries += 1
        effects.post(self._venue, VenueWanted(self._queries, self._seen), is_sure=False, is_gated=False)

    @override
    def reconfigured(self, arguments: bytes) -> Effects:
        """Hear the time of other symbols too; look after what strategies do not look after any more."""
        effects, told = Effects(), msgspec.msgpack.decode(arguments, type=ExecutionArguments)
        self._owners.reconfigure(told.owners, effects)
        self._look_after_all(effects)
        if not self._is_stepped:
            effects.listen(MARKET_DATA, tuple(map(tick_topic, told.symbols)))
        return effects

    @override
    def peers(self, peers: tuple[Peer, ...]) -> Effects:
        """Close the gate while the venue is down; look after what strategies that were put away leave behind."""
        effects = Effects()
        self._peers.take(peers)
        if self._peers.state(self._venue) != "RUNNING" and not self._is_stepped:
            self._is_reconciled, self._gate = False, f"{self._venue} is down"
        was = self._away
        news = {peer.path.removeprefix("strategies/") for peer in peers if peer.path.startswith("strategies/")}
        gone = {name for name in news if self._peers.state(f"strategies/{name}") in PUT_AWAY}
        if was is None:  # of one that was removed before this start, no news will come
            gone |= {name for name in self._holders() if self._peers.state(f"strategies/{name}") == REMOVED}
        self._away = ((was or frozenset()) - news) | gone
        for name in (was or frozenset()) - self._away:
            self._owners.wish(name, None, effects)  # it is back, and its absence over
        if self._away == was and len(news) == len(peers):
            return effects
        self._look_after_all(effects)
        return effects

    def _look_after_all(self, effects: Effects) -> None:
        """Cancel the entries of strategies that are away, and bring what surrounds positions to what it should be."""
        for order in tuple(self._journal.ledger.working.values()):
            if order.strategy in (self._away or ()) and order.purpose is Purpose.ENTRY:
                self._cancel(order, "STRATEGY_PUT_AWAY", effects)
        for key in tuple(self._journal.ledger.positions):
            self._flatten(key, effects)
            self._settle_key(key, effects)

    # --- steps and time -----------------------------------------------------------------------

    @override
    def begin(self, turn: Turn, payload: Any) -> Effects:
        effects = Effects()
        self._pass_time(turn.market_ns, effects)
        return effects

    @override
    def settle(self, turn: Turn) -> bytes | None:
        if not self._is_reconciled:
            return None
        if turn.phase != EXECUTION:
            return b""
        return self._codec.encode(JournalHead(self._journal.head, self._journal.own_last))

    @override
    def hear_stream(self, peer: str, item: StreamItem, word: Any) -> Effects:
        effects = Effects()
        if isinstance(word, Bar | Tick):
            self._pass_time(word.end_ns if isinstance(word, Bar) else word.ts_ns, effects)
        return effects

    def _pass_time(self, market_ns: int, effects: Effects) -> None:
        """Cancel what has lived its time."""
        self._market_ns = max(self._market_ns, market_ns)
        for order in tuple(self._journal.ledger.working.values()):
            if 0 < order.expires_ns <= self._market_ns:
                self._cancel(order, REASON_TTL, effects)

    # --- hearing ------------------------------------------------------------------------------

    @override
    def hear(self, peer: str, epoch: int, word: Any) -> Effects:
        effects = Effects()
        if isinstance(word, IntentJudged) and peer == "risk":
            self._hear_judgement(word, effects)
        elif isinstance(word, VenueSnapshot) and peer == self._venue:
            self._reconcile(word, effects)
        elif isinstance(word, OrderAccepted | OrderRejected | OrderFilled | OrderCancelled | CancelRejected):
            self._hear_report(word, effects)
        elif isinstance(word, EventsWanted):
            effects.post(peer, self._journal.given(word.strategy, word.after), is_sure=False, is_gated=False)
        elif isinstance(word, AwayWished) and peer == "console":
            self._hear_away_wish(word, effects)
        elif isinstance(word, HoldersWanted):
            effects.post(
                peer, HoldersGiven(word.query, self._holders(), self._journal.head), is_sure=False, is_gated=False
            )
        elif isinstance(word, CancelWanted) and peer == "console":
            for order in tuple(self._journal.ledger.working.values()):
                if order.purpose is Purpose.ENTRY and word.strategy in {"", order.strategy}:
                    self._cancel(order, word.reason, effects)
        return effects

    def _hear_away_wish(self, wished: AwayWished, effects: Effects) -> None:
        name = wished.strategy
        self._owners.wish(name, OnDisable(wished.on_disable) if wished.on_disable else None, effects)
        self._look_after_all(effects)
        effects.post("console", AwayWishKept(name, self._owners.on_disable(name).value), is_gated=False)

    def _holders(self) -> tuple[str, ...]:
        """Name the strategies that hold a position or have an order that is not finished."""
        ledger = self._journal.ledger
        return tuple(sorted({key[0] for key in ledger.positions} | {o.strategy for o in ledger.working.values()}))

    def _hear_judgement(self, judged: IntentJudged, effects: Effects) -> None:
        """Make an order of a verdict, once; a refusal is booked as an order that was REJECTED."""
        if self._journal.knows(judged.order_id):
            return
        intent = judged.intent
        purpose = Purpose.ENTRY if intent.effect is Effect.OPEN else Purpose.EXIT
        order = order_from_judgement(judged, purpose, ts_ns=max(self._market_ns, intent.decided_ns))
        self._journal.write(OrderChanged(order, "", "risk", order.created_ns), effects)
        reasons = judged.reasons or self._reasons_against(intent.effect)
        if reasons:
            self._change(order, OrderState.REJECTED, "; ".join(reasons), "risk" if judged.reasons else "ours", effects)
        elif intent.effect is Effect.MODIFY:
            key = (intent.strategy, intent.symbol, intent.tag)
            levels = LevelsChanged(*key, intent.stop_loss, intent.take_profit, order.created_ns)
            self._journal.write(levels, effects)
            self._change(order, OrderState.CANCELLED, "LEVELS_CHANGED", "ours", effects)
            self._settle_key(key, effects)
        else:
            self._submit(order, effects)

    def _reasons_against(self, effect: Effect) -> tuple[str, ...]:
        """Say what forbids an entry here and now; nothing here ever forbids an exit."""
        if effect is not Effect.OPEN:
            return ()
        halted = self._sentinel.reason()
        if halted is not None:
            return (f"HALTED: {halted}",)
        if self._gate and (self._is_reconciled or not self._is_stepped):
            return (f"GATE_CLOSED: {self._gate}",)
        return ()

    def _hear_report(self, report: VenueReport, effects: Effects) -> None:
        """Book what the venue says; what was booked before changes nothing."""
        if report.report <= self._seen:
            return
        self._seen = report.report
        effects.put("seen", self._venue.encode(), self._seen.to_bytes(8, "big"))
        order = self._journal.ledger.order(report.order_id)
        if order is None:
            self._journal.note("unknown_order", f"{type(report).__name__} for {report.order_id}", report.ts_ns, effects)
            return
        is_late = isinstance(report, OrderFilled) and order.state in {OrderState.CANCELLED, OrderState.REJECTED}
        if isinstance(report, OrderFilled):
            if self._journal.ledger.has_execution(report.execution_id):
                return
            self._journal.write(_fill(order, report), effects)
            self._fills += 1
            self._last_fill = f"{order.strategy}: {order.side.value} {report.quantity} {order.symbol} at {report.price}"
        previous = order
        for changed in course(order, report):
            self._journal.write(OrderChanged(changed, previous.state.value, self._venue, report.ts_ns), effects)
            previous = changed
        if is_late:
            self._late_fills += 1
            self._journal.note("late_fill", f"{order.order_id} filled after {order.state.value}", report.ts_ns, effects)
        key = (order.strategy, order.symbol, order.tag)
        if order.purpose is Purpose.ENTRY:
            self._flatten(key, effects)  # an entry that was filled while its strategy left
        elif order.exit_reason == REASON_FLATTEN and self._journal.ledger.position(*key) is None:
            self._journal.note("flattened", f"{order.strategy} holds no {order.symbol} any more", report.ts_ns, effects)
        self._settle_key(key, effects)

    # --- sending ------------------------------------------------------------------------------

    def _submit(self, order: Order, effects: Effects) -> None:
        """Put a PENDING order on the wire; an exit first waits until no resting order could sell the same again."""
        if order.purpose is Purpose.EXIT:
            self._settle_key((order.strategy, order.symbol, order.tag), effects)
        else:
            self._send(order, effects)

    def _send(self, order: Order, effects: Effects) -> None:
        if order.order_id in self._submitted:
            return
        self._submitted.add(order.order_id)
        effects.post(
            self._venue,
            SubmitOrder(
                order.order_id,
                order.symbol,
                order.side,
                order.type,
                order.quantity,
                order.limit_price,
                order.stop_price,
                order.expires_ns,
                order.oco_group,
            ),
        )

    def _cancel(self, order: Order, reason: str, effects: Effects) -> None:
        """Ask for an order's end; one that never left ends at once."""
        if order.state in CANCELLABLE:
            changed = self._change(order, OrderState.PENDING_CANCEL, reason, "ours", effects)
            effects.post(self._venue, CancelOrder(changed.order_id, reason))
        elif order.state is OrderState.PENDING and order.order_id not in self._submitted:
            self._change(order, OrderState.CANCELLED, reason, "ours", effects)

    def _change(self, order: Order, to: OrderState, reason: str, source: str, effects: Effects) -> Order:
        ts_ns = max(self._market_ns, order.changed_ns)
        changed = advance(order, to, ts_ns=ts_ns, reason=reason, venue_order_id=order.venue_order_id)
        self._journal.write(OrderChanged(changed, order.state.value, source, ts_ns), effects)
        return changed

    # --- one position and the orders around it --------------------------------------------------

    def _orders_of(self, key: Key, purposes: Iterable[Purpose]) -> list[Order]:
        return [
            order
            for order in self._journal.ledger.working.values()
            if (order.strategy, order.symbol, order.tag) == key and order.purpose in purposes
        ]

    def _flatten(self, key: Key, effects: Effects) -> None:
        """Begin to close a position whose strategy is wanted away, and flat; an exit that is at work may finish first.

        ``_settle_key`` sends it. One that the venue refuses is not made again before the next look at all.
        """
        position = self._journal.ledger.position(*key)
        if position is None or not self._is_to_be_flat(key) or self._orders_of(key, {Purpose.EXIT}):
            return
        entry = self._journal.entries.get(key)
        assert entry is not None, "what is held was entered"
        order = flattening_order(
            entry,
            quantity=abs(position.quantity),
            attempt=self._journal.head + 1,
            ts_ns=max(self._market_ns, position.opened_ns),
        )
        self._journal.write(OrderChanged(order, "", "ours", order.created_ns), effects)
        self._settle_key(key, effects)

    def _is_to_be_flat(self, key: Key) -> bool:
        """Say whether a position's strategy is away, was wanted away, and shall hold nothing meanwhile."""
        if self._away is None or key[0] not in self._away:
            return False
        is_wanted = self._peers.state(f"strategies/{key[0]}") in WANTED_AWAY
        return is_wanted and self._owners.on_disable(key[0]) is OnDisable.FLATTEN

    def _residue(self) -> list[str]:
        """Say what is held still though it shall not be, and what of its exit."""
        residue: list[str] = []
        for key, position in self._journal.ledger.positions.items():
            if self._is_to_be_flat(key):
                exits = self._orders_of(key, {Purpose.EXIT})
                how = f"its exit is {exits[0].state.value}" if exits else "its exit was refused and is tried again"
                residue.append(f"{key[0]} is to be flat and still holds {position.quantity} {key[1]}: {how}")
        return residue

    def _settle_key(self, key: Key, effects: Effects) -> None:
        """Bring the orders around one position to what they should be; doing it again changes nothing.

        While an exit waits, resting stops and targets go first; then the exit leaves, for no more than is held.
        Without exit, a position whose stop rests at the venue has exactly its recorded levels resting.
        """
        position = self._journal.ledger.position(*key)
        exits = self._orders_of(key, {Purpose.EXIT})
        resting = self._orders_of(key, PROTECTIVE)
        if exits or position is None:
            for order in resting:
                self._cancel(order, "EXIT" if exits else REASON_POSITION_CLOSED, effects)
            if not self._orders_of(key, PROTECTIVE):
                self._release(exits, position, effects)
            return
        if self._away is None and not self._is_native(key):
            return  # whether its strategy runs is not known yet: what rests stays
        wanted = self._wanted_levels(key, position)
        fitting = {order.purpose: order for order in resting if _fits(order, wanted, position)}
        for order in resting:
            if order is not fitting.get(order.purpose):
                self._cancel(order, "LEVELS_CHANGED", effects)
        if len(fitting) == len(resting) and self._journal.entries.get(key) is not None:
            self._rest(key, position, {p: level for p, level in wanted.items() if p not in fitting}, effects)

    def _wanted_levels(self, key: Key, position: Position) -> dict[Purpose, Decimal]:
        """Say which levels of a position should rest at the venue now."""
        is_native = self._is_native(key)
        is_away = self._away is not None and (key[0] in self._away or self._owners.is_foreign(key[0], key[1]))
        wanted: dict[Purpose, Decimal] = {}
        if position.stop_loss is not None and (is_native or is_away):
            wanted[Purpose.STOP_LOSS] = position.stop_loss
        if position.take_profit is not None and is_native:
            wanted[Purpose.TAKE_PROFIT] = position.take_profit
        return wanted

    def _is_native(self, key: Key) -> bool:
        """Say whether the position's stop rests at the venue while its strategy runs."""
        entry = self._journal.entries.get(key)
        return entry is not None and entry.protective_stop is ProtectiveStop.VENUE

    def _rest(self, key: Key, position: Position, levels: dict[Purpose, Decimal], effects: Effects) -> None:
        entry = self._journal.entries[key]
        attempt = self._journal.head + 1
        group = f"{entry.order_id}-{attempt}" if levels else ""
        for purpose, level in levels.items():
            order = protective_order(
                entry,
                purpose,
                quantity=abs(position.quantity),
                price=level,
                attempt=attempt,
                oco_group=group,
                ts_ns=max(self._market_ns, position.opened_ns),
            )
            self._journal.write(OrderChanged(order, "", "ours", order.created_ns), effects)
            self._send(order, effects)

    def _release(self, exits: list[Order], position: Position | None, effects: Effects) -> None:
        """Send the exits that wait, capped to what is held and not already being sold."""
        left = abs(position.quantity) if position is not None else ZERO
        left -= sum((o.quantity - o.filled_quantity for o in exits if o.order_id in self._submitted), ZERO)
        for order in exits:
            if order.state is not OrderState.PENDING or order.order_id in self._submitted:
                continue
            if left < order.quantity:
                self._change(order, OrderState.CANCELLED, REASON_POSITION_CLOSED, "ours", effects)
            else:
                left -= order.quantity
                self._send(order, effects)

    # --- reconciliation -----------------------------------------------------------------------

    def _reconcile(self, snapshot: VenueSnapshot, effects: Effects) -> None:
        """Compare the books with the venue's, counting what it has said and we have not booked yet."""
        ledger = self._journal.ledger
        finding = reconcile(ledger, snapshot, self._seen)
        self._drop_withheld({order.order_id for order in snapshot.orders}, effects)
        was = self._gate
        self._is_reconciled, self._gate, self._verdict = True, finding.against_trading, finding.text
        if finding.differences:
            self._journal.note("reconciliation", finding.text, self._market_ns, effects)
        if was != self._gate:
            self._log.info("reconciled", verdict=finding.text, gate=self._gate or "open")

    def _drop_withheld(self, at_venue: set[str], effects: Effects) -> None:
        """End the entries that a halt kept back at the start, unless the venue has had them all along."""
        withheld, self._withheld = self._withheld, set()
        for order_id in sorted(withheld - at_venue):
            order = self._journal.ledger.order(order_id)
            if order is not None and order.state is OrderState.PENDING:
                self._change(order, OrderState.CANCELLED, "HALTED", "ours", effects)


def _fits(order: Order, wanted: dict[Purpose, Decimal], position: Position) -> bool:
    level = order.stop_price if order.type is OrderType.STOP else order.limit_price
    return wanted.get(order.purpose) == level and order.quantity == abs(position.quantity)


def _fill(order: Order, report: OrderFilled) -> FillBooked:
    is_entry = order.purpose is Purpose.ENTRY
    return FillBooked(
        execution_id=report.execution_id,
        order_id=order.order_id,
        strategy=order.strategy,
        symbol=order.symbol,
        tag=order.tag,
        purpose=order.purpose,
        side=order.side,
        quantity=report.quantity,
        price=report.price,
        fee=report.fee,
        ts_ns=report.ts_ns,
        exit_reason=order.exit_reason,
        stop_loss=order.stop_loss if is_entry else None,
        take_profit=order.take_profit if is_entry else None,
        reference_price=order.reference_price,
    )
