"""The room of execution: it hears, books, and hands on to those who know what follows."""

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec
from typing_extensions import override

from actors.arguments import MARKET_DATA, ExecutionArguments, Owner
from actors.execution.interventions import Interventions
from actors.execution.orders import Orders, is_late
from actors.execution.pace import Pace
from actors.execution.protection import PROTECTIVE, Protection, waits_for_its_price
from actors.execution.reconciling import ASK, Reconciler
from actors.execution.resolving import TIMER as RESOLVE
from actors.execution.resolving import Resolver
from actors.execution.wishes import Wishes
from actors.instruments import keep_instrument, kept_instruments
from actors.journal import Journal, Key
from actors.owners import Owners
from actors.peer_table import PeerTable
from actors.settings import ExecutionSettings, OnDisable
from actors.step import EXECUTION
from actors.topics import PUT_AWAY, strategy_at, strategy_path, tick_topic
from actors.words import Joined, JournalHead
from desk.executions import fill_of
from desk.instruments import Instruments, committed, faults, fitted
from desk.messages import (
    AdoptionWished,
    AwayWished,
    AwayWishKept,
    Bar,
    CancelRejected,
    CancelUnclear,
    CancelWanted,
    CapitalChanged,
    CapitalWished,
    Effect,
    EventsWanted,
    FlatteningWished,
    HoldersGiven,
    HoldersWanted,
    Intent,
    IntentJudged,
    LevelsChanged,
    OperatorAnswered,
    Order,
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    OrderRejected,
    OrderReplaced,
    OrdersFound,
    OrderState,
    OrderUnclear,
    Purpose,
    ReconciliationWished,
    ReplaceRejected,
    ResolutionWished,
    Tick,
    VenueReport,
    VenueSnapshot,
    VenueWanted,
)
from desk.order import OPEN, REASON_FLATTEN, REASON_TTL, course, order_from_judgement
from desk.portfolio import EXTERNAL, HORIZON_DEFAULT, Position
from desk.reconcile import Tolerance
from desk.units import NS_PER_S, ZERO, decimal_of
from desk.venue import Instrument, VenueTraits
from runtime.bus_words import StreamItem
from runtime.clock import Clock
from runtime.codec import Codec
from runtime.effects import Effects
from runtime.folder import Sentinel
from runtime.log import Log
from runtime.room import Room
from runtime.store import Store
from runtime.words import REMOVED, Peer, Turn

RECONCILE, PROTECT = "reconcile", "protect"
RECONCILE_NS = 60 * NS_PER_S
#: After a refused stop the position is looked after again in this time, doubled with each refusal up to the longest.
PROTECT_NS_MIN, PROTECT_NS_MAX = NS_PER_S, 30 * NS_PER_S
#: A venue that could not be asked is asked again in this time, doubled each time up to the longest.
ASK_NS_MIN, ASK_NS_MAX = NS_PER_S // 2, 30 * NS_PER_S
#: How far behind the last look at the venue executions are asked for again, for those that it tells late.
OVERLAP_NS = 300 * NS_PER_S
#: What belongs to no order of ours is remembered up to this many, so that it is noted once.
STRANGERS_MAX = 10_000

#: What holds where nobody says otherwise.
PACE_DEFAULT = ExecutionSettings()

#: What is asked for with each order: to look a member up in its class costs as much as several calls.
_ENTRY, _EXIT, _OPEN, _MODIFY = Purpose.ENTRY, Purpose.EXIT, Effect.OPEN, Effect.MODIFY
_SUPERSEDED = "superseded"
_REPORTS = (
    OrderAccepted,
    OrderRejected,
    OrderFilled,
    OrderCancelled,
    CancelRejected,
    OrderUnclear,
    CancelUnclear,
    OrderReplaced,
    ReplaceRejected,
)


class Execution(Room):
    """The single writer of the ledger."""

    def __init__(  # noqa: PLR0913 - a room's constructor takes its world
        self,
        *,
        venue: str,
        traits: VenueTraits,
        capital: Decimal,
        store: Store,
        codec: Codec,
        clock: Clock,
        sentinel: Sentinel,
        log: Log,
        owners: Mapping[str, Owner],
        is_stepped: bool,
        pace: ExecutionSettings = PACE_DEFAULT,
        instruments: Mapping[str, Instrument] | None = None,
        tolerance: Tolerance | None = None,
    ) -> None:
        """Fold the journal; nothing is sent before ``recover``."""
        self._venue, self._traits, self._capital = venue, traits, capital
        self._store, self._codec, self._clock, self._log = store, codec, clock, log
        self._sentinel, self._is_stepped = sentinel, is_stepped
        self._account = (store.get("account", venue.encode()) or b"").decode()
        self._journal = Journal(store, codec, clock, on_breach=sentinel.write)
        self._seen, self._since_ns = self._cursor("seen"), self._cursor("since")
        self._withheld: set[str] = set()
        self._strangers: set[str] = set()
        self._queries = 0
        self._peers = PeerTable()
        self._owners, self._configured = Owners(store, owners), owners
        self._pace = Pace(pace, clock, self._journal.ledger.working.values(), has_breaker=not is_stepped)
        self._held: dict[str, None] = {}
        self._instruments = Instruments(instruments or {}, kept_instruments(store, venue).values())
        self._orders = Orders(venue, traits, self._journal, clock, self._pace)
        self._orders.recall(store)
        self._protection = Protection(self._orders, self._owners, self._peers.state, self._instruments)
        self._protection.recall(store)
        self._resolver = Resolver(
            self._orders,
            clock,
            self._hear_report,
            self._is_entry_allowed,
            lambda order, effects: self._protection.settle(order.key, effects),
            self._ask_since_ns,
        )
        self._interventions = Interventions(
            self._orders, self._protection, store, self._hear_report, self._resolver.lost
        )
        self._reconciler = Reconciler(self._orders, self._resolver, clock, log, tolerance)
        self._wishes = Wishes(self._orders, store, self._owners.owns, self._reconciler.price_of)
        self._reconciliations: list[ReconciliationWished] = []
        self._protect_ns, self._ask_ns = PROTECT_NS_MIN, ASK_NS_MIN
        self._looked = 0
        #: Of strategies that get other code and were flat: the incarnation up to which they open nothing any more.
        self._superseded = {name.decode(): int.from_bytes(data, "big") for name, data in store.scan(_SUPERSEDED)}
        self._halted: str | None = None
        self._late_fills = self._fills = 0
        self._last_fill = ""

    def _cursor(self, table: str) -> int:
        data = self._store.get(table, self._venue.encode())
        return int.from_bytes(data, "big") if data is not None else 0

    # --- life ---------------------------------------------------------------------------------

    @override
    def recover(self) -> Effects:
        effects = Effects()
        self._owners.reconfigure(self._configured, effects)
        if self._journal.head == 0:
            self._journal.write(CapitalChanged(self._capital, "starting balance", 0), effects)
        if self._traits.is_remote:
            self._orders.lose_venue(effects)
            self._resolver.wake(effects)
        if self._sentinel.reason():
            entries = (order for order in self._orders.working() if order.purpose is Purpose.ENTRY)
            self._withheld |= {order.order_id for order in entries if order.state is OrderState.PENDING}
        if not self._traits.is_remote:
            self._leave(effects)
        for key in tuple(self._journal.ledger.positions):
            self._protection.settle(key, effects)
        effects.timer(RECONCILE, self._clock.monotonic_ns() + RECONCILE_NS)
        return effects

    def _leave(self, effects: Effects) -> None:
        """Send what never left, but for entries that a halt keeps back."""
        for order in self._orders.working():
            if order.state is OrderState.PENDING_CANCEL:
                self._orders.ask_cancel(order, effects)
            elif order.state is OrderState.PENDING and order.order_id not in self._withheld:
                self._submit(order, effects)

    @override
    def stream_heads(self) -> tuple[int, dict[str, int]]:
        return self._journal.head, dict(self._journal.own_last)

    @override
    def facts(self) -> dict[str, Any]:
        ledger, reconciler = self._journal.ledger, self._reconciler
        return {
            "verdict": reconciler.verdict,
            "gate": reconciler.gate,
            "journal": self._journal.head,
            "orders_working": len(ledger.working),
            "orders_in_doubt": len(self._resolver.in_doubt()),
            "positions": len(ledger.positions),
            "cash": str(ledger.cash),
            "realised": str(ledger.realised),
            "capital": str(ledger.capital),
            "reconciliation": reconciler.facts(),
            "notices": self._notices(),
            "late_fills": self._late_fills,
            "fills": self._fills,
            "last_fill": self._last_fill,
            "residue": self._protection.residue(),
            "pace": self._pace.facts(),
            "wanted_flat": [list(key) for key in self._protection.wanted_flat()],
        }

    def _notices(self) -> list[str]:
        """Say what an operator should know of the books, in words; what needs no hand is left out."""
        notices: list[str] = []
        start = self._journal.ledger.starting_capital
        if start is not None and start != self._capital:
            notices.append(
                f"default_balance {self._capital} has no effect: this desk began with {start}; "
                "use bulkhead capital deposit or withdraw"
            )
        for held in self._journal.ledger.positions.values():
            if held.strategy == EXTERNAL:
                how = "no strategy trades it; give it to one with bulkhead adopt"
                notices.append(f"EXTERNAL holds {held.quantity} {held.symbol}: {how}")
            elif not self._owners.owns(held.strategy, held.symbol):
                what = f"{held.strategy} holds {held.quantity} {held.symbol} and does not trade it by the configuration"
                notices.append(f"orphan position: {what}")
        return notices + self._resolver.notices()

    @override
    def connected(self, peer: str) -> Effects:
        effects = Effects()
        if peer == self._venue:
            self._ask_venue(effects)
        elif peer == MARKET_DATA:
            effects.post(peer, Joined(), is_gated=False)
        return effects

    @override
    def timer(self, name: str) -> Effects:
        effects = Effects()
        if name == RESOLVE:
            self._resolver.timer(effects)
            return effects
        if name == ASK:
            self._ask_venue(effects)
            return effects
        for key in tuple(self._journal.ledger.positions):
            self._protection.flatten(key, effects)  # again, where an exit was refused
            self._protection.settle(key, effects)
        if name == RECONCILE:
            self._protection.look_again()
            self._ask_venue(effects)
            effects.timer(RECONCILE, self._clock.monotonic_ns() + RECONCILE_NS)
        return effects

    @override
    def stopping(self) -> Effects:
        """Leave the books as they are for the next start, which then has nothing to fold."""
        effects = Effects()
        self._journal.keep_snapshot(effects)
        return effects

    def _ask_venue(self, effects: Effects) -> None:
        self._queries += 1
        wanted = VenueWanted(self._queries, self._seen, self._ask_since_ns())
        effects.post(self._venue, wanted, is_sure=False, is_gated=False)

    def _ask_since_ns(self) -> int:
        """Say from when on executions are asked for."""
        return max(0, self._since_ns - OVERLAP_NS)

    @override
    def reconfigured(self, arguments: bytes) -> Effects:
        """Hear the time of other symbols too; look after what strategies do not look after any more."""
        effects, told = Effects(), msgspec.msgpack.decode(arguments, type=ExecutionArguments)
        self._owners.reconfigure(told.owners, effects)
        self._pace.reconfigure(told.pace)
        self._reconciler.tolerate(told.reconciliation.tolerance)
        self._instruments.configure(told.instruments)
        self._protection.look_after_all(effects)
        if not self._is_stepped:
            effects.listen(MARKET_DATA, tuple(map(tick_topic, told.symbols)))
        return effects

    @override
    def peers(self, peers: tuple[Peer, ...]) -> Effects:
        """Close the gate while the venue is down; look after what strategies that were put away leave behind."""
        effects = Effects()
        self._peers.take(peers)
        self._hear_of_venue(effects)
        was = self._protection.away
        news = {name for peer in peers if (name := strategy_at(peer.path))}
        gone = {name for name in news if self._peers.state(strategy_path(name)) in PUT_AWAY}
        if was is None:  # of one that was removed before this start, no news will come
            gone |= {name for name in self._holders() if self._peers.state(strategy_path(name)) == REMOVED}
        away = self._protection.away = ((was or frozenset()) - news) | gone
        for name in sorted((was or frozenset()) - away):
            self._owners.wish(name, None, effects)  # it is back, and its absence over
        if away == was and len(news) == len(peers):
            return effects
        self._protection.look_after_all(effects)
        return effects

    def _hear_of_venue(self, effects: Effects) -> None:
        """Doubt what a venue's process that is gone was asked to do; address the one that is there."""
        is_up = self._peers.state(self._venue) == "RUNNING"
        if not is_up and not self._is_stepped:
            self._reconciler.lose_venue(f"{self._venue} is down")
        if not self._traits.is_remote:
            return
        epoch = self._peers[self._venue].epoch if is_up else 0
        if epoch != self._orders.venue_epoch:
            self._orders.lose_venue(effects)
            self._orders.venue_epoch = epoch
            self._reconciler.lose_venue(f"{self._venue} has not been asked yet" if epoch else f"{self._venue} is down")
            self._resolver.wake(effects)
            if epoch:
                self._ask_venue(effects)

    # --- steps and time -----------------------------------------------------------------------

    @override
    def begin(self, turn: Turn, payload: Any) -> Effects:
        effects = Effects()
        self._pass_time(turn.market_ns, effects)
        if isinstance(payload, Bar | Tick):
            price = payload.close if isinstance(payload, Bar) else payload.price
            self._protection.watch(payload.symbol, decimal_of(price), effects)
        return effects

    @override
    def settle(self, turn: Turn) -> bytes | None:
        if not self._reconciler.is_reconciled:
            return None
        if turn.phase != EXECUTION:
            return b""
        return self._codec.encode(JournalHead(self._journal.head, self._journal.own_last))

    @override
    def hear_stream(self, peer: str, item: StreamItem, word: Any) -> Effects:
        effects = Effects()
        if isinstance(word, Bar | Tick):
            price, ts_ns = (word.close, word.end_ns) if isinstance(word, Bar) else (word.price, word.ts_ns)
            self._reconciler.mark(word.symbol, price)
            self._pass_time(ts_ns, effects)
            if self._reconciler.is_reconciled:
                self._protection.watch(word.symbol, decimal_of(price), effects)
        return effects

    def _pass_time(self, market_ns: int, effects: Effects) -> None:
        """Cancel what has lived its time."""
        self._orders.market_ns, self._orders.is_time_heard = max(self._orders.market_ns, market_ns), True
        ended = self._pace.pass_time(self._orders.market_ns)
        if ended is not None:
            self._log.info("session.latency", **ended)
        for order in self._orders.working():
            if 0 < order.expires_ns <= self._orders.market_ns:
                self._orders.cancel(order, REASON_TTL, effects)

    # --- hearing ------------------------------------------------------------------------------

    @override
    def hear(self, peer: str, epoch: int, word: Any) -> Effects:
        effects = Effects()
        if isinstance(word, IntentJudged) and peer == "risk":
            self._hear_judgement(word, effects)
        elif peer == self._venue:
            self._hear_venue(word, effects)
        elif peer == "console":
            self._hear_operator(word, effects)
        else:
            self._hear_question(peer, word, effects)
        return effects

    @override
    def hear_many(self, peer: str, epoch: int, words: Sequence[Any]) -> Effects:
        if peer != "risk" or not isinstance(words[0], IntentJudged):
            return super().hear_many(peer, epoch, words)
        effects, at = Effects(), 0
        known = self._journal.known_among({judged.order_id for judged in words})
        while (at := self._bear(words, at, known, effects)) < len(words):
            self._hear_judgement(words[at], effects)
            known.add(words[at].order_id)
            at += 1
        return effects

    def _hear_operator(self, word: Any, effects: Effects) -> None:
        if isinstance(word, ResolutionWished | FlatteningWished):
            effects.post("console", self._interventions.hear(word, effects), is_gated=False)
        elif isinstance(word, EventsWanted | HoldersWanted):
            self._hear_question("console", word, effects)
        else:
            self._hear_console(word, effects)

    def _hear_question(self, peer: str, word: Any, effects: Effects) -> None:
        """Answer whoever asks what the journal has, or who holds something."""
        if isinstance(word, EventsWanted):
            effects.post(peer, self._journal.given(word.strategy, word.after), is_sure=False, is_gated=False)
        elif isinstance(word, HoldersWanted):
            holders = self._holders()
            if peer == "console":
                self._supersede({n: -1 if n in holders else epoch for n, epoch in word.superseded.items()}, effects)
            given = HoldersGiven(word.query, holders, self._journal.head)
            effects.post(peer, given, is_sure=False, is_gated=False)

    def _hear_console(self, word: Any, effects: Effects) -> None:
        if isinstance(word, AwayWished):
            self._hear_away_wish(word, effects)
        elif isinstance(word, CapitalWished | AdoptionWished):
            effects.post("console", self._wishes.hear(word, effects), is_gated=False)
            self._protection.look_after_all(effects)
        elif isinstance(word, ReconciliationWished):
            self._hear_reconciliation_wish(word, effects)
        elif isinstance(word, CancelWanted):
            for order in self._orders.working():
                if order.purpose is Purpose.ENTRY and word.strategy in {"", order.strategy}:
                    self._orders.cancel(order, word.reason, effects)

    def _hear_venue(self, word: Any, effects: Effects) -> None:
        if isinstance(word, OrderRejected) and self._orders.is_repeated(word.order_id):
            self._resolver.wake(effects)  # an earlier sending may still arrive: it stays in doubt
        elif isinstance(word, _REPORTS):
            self._hear_report(word, effects)
        elif isinstance(word, VenueSnapshot):
            self._hear_snapshot(word, effects)
        elif isinstance(word, OrdersFound):
            self._resolver.hear(word, effects)
            if self._reconciler.gate and not self._resolver.in_doubt():
                self._ask_venue(effects)  # what closed it may be cleared up

    def _hear_away_wish(self, wished: AwayWished, effects: Effects) -> None:
        name = wished.strategy
        self._owners.wish(name, OnDisable(wished.on_disable) if wished.on_disable else None, effects)
        self._protection.look_after_all(effects)
        kept = AwayWishKept(name, self._owners.on_disable(name).value, wished.request)
        effects.post("console", kept, is_gated=False)

    def _holders(self) -> tuple[str, ...]:
        """Name the strategies that hold a position or have an order that is not finished."""
        ledger = self._journal.ledger
        names = {key[0] for key in ledger.positions} | {order.strategy for order in ledger.working.values()}
        return tuple(sorted(names - {EXTERNAL}))

    # --- verdicts of risk ---------------------------------------------------------------------

    def _hear_judgement(self, judged: IntentJudged, effects: Effects) -> None:
        """Make an order of a verdict, once; a refusal is booked as an order that was REJECTED."""
        if self._journal.knows(judged.order_id):
            return
        intent, reasons = judged.intent, judged.reasons
        effect, ts_ns = intent.effect, intent.decided_ns
        ts_ns = max(ts_ns, self._orders.market_ns)
        order = order_from_judgement(judged, _ENTRY if effect is _OPEN else _EXIT, ts_ns=ts_ns)
        if not reasons and effect is not _MODIFY:
            order = fitted(order, self._instruments.of(order.symbol))
        self._orders.write(order, None, "risk", effects)
        if not reasons and self._is_superseded(intent):
            reasons = ("SUPERSEDED: other code takes this one's place, and it was flat",)
        reasons = reasons or self._reasons_against_new(order, judged.quantity)
        if reasons:
            source = "risk" if judged.reasons else "ours"
            self._orders.change(order, OrderState.REJECTED, "; ".join(reasons), source, effects)
        elif effect is _MODIFY:
            key = (intent.strategy, intent.symbol, intent.tag)
            self._journal.write(_levels(intent, self._journal.ledger.position(*key), order.created_ns), effects)
            self._orders.change(order, OrderState.CANCELLED, "LEVELS_CHANGED", "ours", effects)
            self._protection.settle(key, effects)
        else:
            self._submit(order, effects)

    def _bear(self, verdicts: Sequence[IntentJudged], at: int, known: set[str], effects: Effects) -> int:
        """Make orders of verdicts from the one at ``at`` on, in one sweep, as ``_hear_judgement`` does one by one.

        It goes as far as they are approvals of entries that nothing is against, passes over those that are ``known``,
        and says how far it came: no verdict or more. In steps, and for a remote venue, each is heard by itself.
        """
        orders, market_ns, demanding = self._orders, self._orders.market_ns, self._instruments.demanding
        if self._is_stepped or self._traits.is_remote or self._reconciler.gate or orders.unknown:
            return at
        most, born, names = self._pace.welcome(), list[Order](), set[str]()
        for number in range(at, len(verdicts)):
            judged = verdicts[number]
            name, intent = judged.order_id, judged.intent
            if name in known or name in names:
                continue
            if judged.reasons or intent.effect is not _OPEN or len(born) >= most or self._is_superseded(intent):
                break
            if not born and self._halt_reason(is_written=True) is not None:
                break
            order = order_from_judgement(judged, _ENTRY, ts_ns=max(intent.decided_ns, market_ns))
            instrument = demanding(order.symbol)
            if instrument is not None:
                order = fitted(order, instrument)
                if faults(order, instrument, asked=judged.quantity, cash=None):
                    break
            names.add(name)
            born.append(order)
        else:
            number = len(verdicts)
        if born:
            orders.bear(born, "risk", effects)
            known |= names
        return number

    def _supersede(self, last: Mapping[str, int], effects: Effects) -> None:
        """Let incarnations up to these open nothing more, also behind a fall of this process; -1 bars nobody."""
        for name, epoch in last.items():
            if epoch == self._superseded.get(name, -1):
                continue
            if epoch < 0:
                del self._superseded[name]
                effects.delete(_SUPERSEDED, name.encode())
            else:
                self._superseded[name] = epoch
                effects.put(_SUPERSEDED, name.encode(), epoch.to_bytes(8, "big"))

    def _is_superseded(self, intent: Intent) -> bool:
        """Say whether this would open something for an incarnation that was flat when its end was decided on."""
        return intent.effect is _OPEN and intent.epoch <= self._superseded.get(intent.strategy, -1)

    def _reasons_against(self, order: Order) -> tuple[str, ...]:
        """Say what forbids an entry here and now; nothing here ever forbids an exit."""
        if order.purpose is not _ENTRY:
            return ()
        halted = self._halt_reason()
        if halted is not None:
            return (f"HALTED: {halted}",)
        gate = self._reconciler.gate
        if gate and (self._reconciler.is_reconciled or not self._is_stepped):
            return (f"GATE_CLOSED: {gate}",)
        if self._orders.unknown:
            unknown = [name for name in self._orders.unknown_in(order.symbol) if name != order.order_id]
            if unknown:
                return (f"UNKNOWN_ORDER: nobody knows whether the venue has {', '.join(unknown)}",)
        lost = [each.order_id for each in self._resolver.lost() if each.symbol == order.symbol]
        if lost:
            return (f"LOST_ORDER: the venue had {', '.join(lost)} and finds it nowhere any more",)
        return ()

    def _halt(self, reason: str) -> None:
        """Halt the desk: from here on no entry leaves, also none of this turn that is judged behind this."""
        self._sentinel.write(reason)
        self._looked = 0

    def _halt_reason(self, *, is_written: bool = False) -> str | None:
        """Look at the sentinel, once for all commands that are committed, and so leave, together.

        ``is_written`` says that this commit has a record in any case, though it may not be written yet.
        """
        first = self._store.head() + 1  # the next commit's first record, if there is one
        if self._looked != first or self._journal.head < first:
            is_written = is_written or self._journal.head >= first
            self._looked, self._halted = first if is_written else 0, self._sentinel.reason()
        return self._halted

    def _reasons_against_new(self, order: Order, asked: Decimal) -> tuple[str, ...]:
        """Say what forbids to begin with an entry; for the pace of the venue simulated time waits instead."""
        if order.purpose is not _ENTRY:
            return ()
        reasons = self._reasons_against(order) or faults(
            order,
            self._instruments.of(order.symbol),
            asked=asked,
            cash=self._cash_left(order) if self._traits.is_remote else None,  # on paper the venue lends
        )
        if reasons or self._is_stepped:
            return reasons
        objection = self._pace.objection(order)
        return (objection,) if objection else ()

    def _cash_left(self, order: Order) -> Decimal:
        """Give the cash that no other working entry may take."""
        others = (other for other in self._orders.working() if other.order_id != order.order_id)
        return self._journal.ledger.cash - committed(others)

    def _is_entry_allowed(self, order: Order) -> bool:
        is_wanted = not self._orders.is_unwanted(order)
        return is_wanted and not self._reasons_against(order) and not self._pace.breaker_objection()

    def _submit(self, order: Order, effects: Effects) -> None:
        """Put a PENDING order on the wire; an exit first waits until no resting order could sell the same again."""
        purpose = order.purpose
        if purpose is _EXIT:
            self._protection.settle(order.key, effects)
        elif self._is_stepped and purpose is _ENTRY and (self._held or not self._pace.has_room()):
            self._held[order.order_id] = None
        else:
            self._orders.send(order, effects)

    def _send_held(self, effects: Effects) -> None:
        """Put entries on the wire that waited within the step for the venue's answers to others, oldest first."""
        while self._held and self._pace.has_room():
            order_id = next(iter(self._held))
            del self._held[order_id]
            order = self._journal.ledger.working.get(order_id)
            if order is not None and order.state is OrderState.PENDING:
                self._orders.send(order, effects)

    # --- reports of the venue -----------------------------------------------------------------

    def _hear_report(self, report: VenueReport, effects: Effects) -> None:
        """Book what the venue says; what was booked before changes nothing."""
        if report.report:
            if report.report <= self._seen:
                return
            self._seen = report.report
            effects.put("seen", self._venue.encode(), self._seen.to_bytes(8, "big"))
        if not self._traits.is_remote:  # what follows from it is no older, and its clock is the market's
            self._orders.market_ns = max(self._orders.market_ns, report.ts_ns)
        order = self._journal.named(report.order_id)
        if order is None:
            self._note_stranger(report, effects)
            return
        if report.order_id != order.client_id and not self._hear_of_old_attempt(order, report, effects):
            return
        report = msgspec.structs.replace(report, order_id=order.order_id)
        if isinstance(report, OrderFilled) and not self._book(order, report, effects):
            return
        is_one_of_many = isinstance(report, ReplaceRejected) and self._orders.is_replaced_again(order.client_id)
        if self._traits.is_remote and (is_one_of_many or _leaves_open_how_it_ended(order, report)):
            self._resolver.doubt(order.order_id, effects)
            return
        previous = order
        for changed in course(order, report):
            self._orders.write(changed, previous.state, self._venue, effects)
            previous = changed
        self._follow(order, previous, report, effects)
        self._send_held(effects)

    def _hear_of_old_attempt(self, order: Order, report: VenueReport, effects: Effects) -> bool:
        """Say whether a report on an attempt that was given up is booked; that it is alive is against all rules."""
        if not isinstance(report, OrderFilled | OrderAccepted):
            return False
        text = f"{order.order_id}: the venue has attempt {report.order_id}, which had been proved never to have arrived"
        self._journal.note("ghost_attempt", text, report.ts_ns, effects)
        self._halt(f"GHOST_ATTEMPT: {text}")
        if isinstance(report, OrderAccepted):
            self._orders.cancel_stranger(report.order_id, report.venue_order_id, effects)
        return isinstance(report, OrderFilled)

    def _note_stranger(self, report: VenueReport, effects: Effects) -> None:
        """Note what belongs to no order of ours, once in a life, however often the venue tells of it.

        What an account behind a wire did before our first look at it is no news: it had no order of ours then.
        """
        is_history = self._traits.is_remote and not self._since_ns
        name = report.execution_id if isinstance(report, OrderFilled) else report.order_id
        stranger = f"{type(report).__name__} for {name}"
        if is_history or stranger in self._strangers:
            return
        if len(self._strangers) >= STRANGERS_MAX:
            self._strangers.clear()
        self._strangers.add(stranger)
        self._journal.note("unknown_order", f"{type(report).__name__} for {report.order_id}", report.ts_ns, effects)

    def _book(self, order: Order, report: OrderFilled, effects: Effects) -> bool:
        """Book one execution, once, and say whether it was new."""
        account = self._venue.rpartition("/")[2]  # each account has a process, and so a name, of its own
        if self._journal.ledger.has_execution(report.execution_id, self._venue, account):
            return False
        self._journal.write(fill_of(order, report, self._venue, account), effects)
        self._fills += 1
        self._last_fill = f"{order.strategy}: {order.side.value} {report.quantity} {order.symbol} at {report.price}"
        if is_late(order):
            self._late_fills += 1
            self._journal.note("late_fill", f"{order.order_id} filled after {order.state.value}", report.ts_ns, effects)
        if order.filled_quantity + report.quantity > max(order.quantity, order.new_quantity or order.quantity):
            text = f"{order.order_id} filled {order.filled_quantity + report.quantity} of {order.quantity}"
            self._journal.note("overfill", text, report.ts_ns, effects)
            self._halt(f"OVERFILL: {text}: the venue traded more than was ordered")
        return True

    def _follow(self, before: Order, order: Order, report: VenueReport, effects: Effects) -> None:
        """Do what follows from a report: the next attempt, another question, the orders around the position."""
        key = order.key
        if isinstance(report, OrderRejected) and report.is_deadline and before.state in _UNSEEN:
            self._pace.hear_unclear(order, report.reason)
            self._orders.forget(order)
            self._resolver.end_attempt(order, effects)
        elif isinstance(report, OrderUnclear):
            if before.state is OrderState.PENDING:
                self._pace.hear_unclear(order, report.reason)
            self._resolver.wake(effects)
        elif isinstance(report, CancelUnclear | ReplaceRejected) and self._traits.is_remote:
            self._resolver.doubt(order.order_id, effects)
        elif isinstance(report, OrderCancelled) and self._traits.is_remote and before.state in OPEN:
            self._doubt_siblings(order, effects)
        self._protection.see_end(before, order)
        is_exit_done = order.exit_reason == REASON_FLATTEN and self._journal.ledger.position(*key) is None
        self._protection.see_flat(key, effects)
        if is_exit_done:
            self._protection.note_flat(key, effects)
        elif order.purpose is Purpose.ENTRY or waits_for_its_price(order):
            self._protection.close_behind(order, effects)
            self._orders.end_unwanted(order, effects)
        if isinstance(report, OrderRejected) and order.purpose in PROTECTIVE:
            self._wait_to_protect(key, report, effects)
            self._protection.stop_out(key, effects)
        else:
            self._protection.settle(key, effects)
            if order.purpose in PROTECTIVE and isinstance(report, OrderAccepted):
                self._protect_ns = PROTECT_NS_MIN

    def _doubt_siblings(self, order: Order, effects: Effects) -> None:
        """Ask for the other of stop and target where the venue ended one unasked: perhaps the other has traded."""
        if order.purpose in PROTECTIVE:
            for other in self._orders.around(order.key, PROTECTIVE):
                self._resolver.doubt(other.order_id, effects)

    def _wait_to_protect(self, key: Key, report: OrderRejected, effects: Effects) -> None:
        """Place a refused stop again, but not at once each time."""
        if self._journal.ledger.position(*key) is not None:
            text = f"{key[0]} holds {key[1]} without its stop: {report.reason}"
            self._journal.note("unprotected", text, report.ts_ns, effects)
            effects.timer(PROTECT, self._clock.monotonic_ns() + self._protect_ns)
            self._protect_ns = min(2 * self._protect_ns, PROTECT_NS_MAX)

    # --- reconciliation -----------------------------------------------------------------------

    def _hear_snapshot(self, snapshot: VenueSnapshot, effects: Effects) -> None:
        """Take what the venue holds: evidence first, then the comparison, then what waited for it leaves."""
        if self._traits.is_remote and not snapshot.failure:
            snapshot = self._of_our_account(snapshot, effects)
        if self._traits.is_remote and not snapshot.failure:
            self._resolver.see(snapshot.orders, effects)
            for report in snapshot.unread:
                self._hear_report(report, effects)
            for each in self._instruments.tell(snapshot.instruments):
                keep_instrument(self._venue, each, effects)
            if snapshot.venue_ns > self._since_ns:
                self._since_ns = snapshot.venue_ns
                effects.put("since", self._venue.encode(), self._since_ns.to_bytes(8, "big"))
        if snapshot.failure:
            effects.timer(ASK, self._clock.monotonic_ns() + self._ask_ns)
            self._ask_ns = min(2 * self._ask_ns, ASK_NS_MAX)
        else:
            self._ask_ns = ASK_NS_MIN
        is_accepted = any(wished.is_accepted for wished in self._reconciliations)
        self._reconciler.compare(snapshot, self._seen, effects, is_accepted=is_accepted)
        self._answer_reconciliations(snapshot, effects)
        self._drop_withheld({order.order_id for order in snapshot.orders}, effects)
        if self._traits.is_remote and not snapshot.failure:
            self._leave(effects)
            self._protection.look_after_all(effects)

    def _of_our_account(self, snapshot: VenueSnapshot, effects: Effects) -> VenueSnapshot:
        """Remember whose account this is, once; of another one nothing is believed, and nothing is sent there.

        What it holds is not ours, that it lacks our orders proves nothing, and what sells here would open there.
        """
        account = snapshot.account
        if account and self._account and account != self._account:
            why = f"ACCOUNT_CHANGED: {self._venue} was {self._account}, and is {account} now"
            self._halt(why)
            self._orders.lose_venue(effects)
            self._resolver.wake(effects)
            return VenueSnapshot(snapshot.query, (), {}, ZERO, (), 0, failure=why)
        if account and not self._account:
            self._account = account
            effects.put("account", self._venue.encode(), account.encode())
        if not self._orders.venue_epoch and self._peers.state(self._venue) == "RUNNING":
            self._orders.venue_epoch = self._peers[self._venue].epoch
        return snapshot

    def _hear_reconciliation_wish(self, wished: ReconciliationWished, effects: Effects) -> None:
        """Ask the venue now; the answer comes with what it says."""
        state = self._peers.state(self._venue)
        if state != "RUNNING":
            answer = OperatorAnswered(wished.request, f"{self._venue} is {state}: nothing can be compared", "")
            effects.post("console", answer, is_gated=False)
            return
        self._reconciliations.append(wished)
        self._ask_venue(effects)

    def _answer_reconciliations(self, snapshot: VenueSnapshot, effects: Effects) -> None:
        wishes, self._reconciliations = self._reconciliations, []
        result = json.dumps(self._reconciler.facts()) if wishes else ""
        error = f"the venue cannot be asked: {snapshot.failure}" if snapshot.failure else ""
        for wished in wishes:
            answer = OperatorAnswered(wished.request, error, "" if error else result)
            effects.post("console", answer, is_gated=False)

    def _drop_withheld(self, at_venue: set[str], effects: Effects) -> None:
        """End the entries that a halt kept back at the start, unless the venue has had them all along."""
        withheld, self._withheld = self._withheld, set()
        for order_id in sorted(withheld - at_venue):
            order = self._journal.ledger.order(order_id)
            if order is not None and order.state is OrderState.PENDING:
                self._orders.change(order, OrderState.CANCELLED, "HALTED", "ours", effects)


def _leaves_open_how_it_ended(order: Order, report: VenueReport) -> bool:
    """Say whether an order is gone and may have traded more than we have heard: what is held is not known then."""
    if isinstance(report, OrderCancelled):
        return report.filled_quantity != order.filled_quantity
    return isinstance(report, CancelRejected)


#: States in which nothing has proved yet that the venue took the order.
_UNSEEN = frozenset({OrderState.PENDING, OrderState.UNKNOWN})


def _levels(intent: Intent, held: Position | None, ts_ns: int) -> LevelsChanged:
    """Change what a MODIFY names and leave the rest: nothing takes a stop away, and a DAY shortens no horizon."""
    stop, target = (None, None) if held is None else (held.stop_loss, held.take_profit)
    return LevelsChanged(
        intent.strategy,
        intent.symbol,
        intent.tag,
        stop if intent.stop_loss is None else intent.stop_loss,
        target if intent.take_profit is None else intent.take_profit,
        ts_ns,
        "" if intent.horizon == HORIZON_DEFAULT else intent.horizon,
    )
