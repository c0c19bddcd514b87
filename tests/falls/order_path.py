"""The order path in one process and at a test's pace: the real rooms and stores, a real engine, and one trouble.

It does what the shells and root do for the real desk: words are heard one by one, all records of one are committed,
then it is acknowledged, then what follows is sent. Whoever raises falls: what it had not committed is gone, what was
sent to it surely comes again, and a successor recovers. Time moves only when nobody has anything left to say.
"""

import functools
import re
from collections import deque
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple, cast

from typing_extensions import override

from actors.arguments import Owner
from actors.execution.room import Execution
from actors.journal import LEDGER_SCHEMA, read_journal
from actors.risk import Risk
from actors.settings import DeskLimits, OnDisable, RiskConfig
from actors.venues.port import Accepted, UnclearError, VenueError
from actors.words import desk_codec
from desk.identity import intent_id
from desk.messages import (
    CancelOrder,
    CancelRejected,
    CancelUnclear,
    Effect,
    Intent,
    JournalRecord,
    OrderAccepted,
    OrderCancelled,
    OrderChanged,
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
    ResolutionWished,
    Side,
    SubmitOrder,
    Tick,
    VenueSnapshot,
    VenueWanted,
)
from desk.units import MINUTE_NS, NS_PER_MS, NS_PER_S, ZERO
from desk.venue import IdRule, VenueTraits
from runtime.bus_words import StreamItem
from runtime.effects import Effects, Publish
from runtime.folder import Sentinel
from runtime.log import Log
from runtime.room import Room
from runtime.store import Reader
from runtime.words import Peer
from tests.exchange.client import ExchangePort, report_of
from tests.exchange.engine import Engine, Rules
from tests.exchange.wire import Dump, Reply, Request, decode, encode
from tests.falls.trouble import Trouble, TroubledStore
from tests.runtime.fakes import HandClock

VENUE, STRATEGY = "venues/fake", "strategies/script"
SYMBOLS = ("AAA", "BBB", "CCC")
T0_NS = 1_704_726_000 * NS_PER_S
CASH = Decimal(1_000_000)
RESTING = frozenset({OrderState.SUBMITTED.value, OrderState.PARTIALLY_FILLED.value})
#: A notice that calls for an operator: the order, and its name at the venue.
FOR_GOOD = re.compile(r"(\S+) is in doubt for good: .* Look for (\S+) in the venue's own books")
#: How long a late request takes: longer than the first look for it, shorter than its deadline.
LATE_NS = 350 * NS_PER_MS
#: How often time may move on to the next timer before the desk must have come to rest.
MOVES_MAX = 400
#: The market ticks, and the operator looks, once in so many of them.
MOVES_A_TICK = 10
TRAITS = {
    "kraken": VenueTraits(
        ids=IdRule.WHILE_OPEN,
        is_remote=True,
        deadline_ns=400 * NS_PER_MS,
        margin_ns=200 * NS_PER_MS,
        can_replace=True,
    ),
    "alpaca": VenueTraits(ids=IdRule.FOR_EVER, is_remote=True, has_oco=True, can_replace=True),
}


class EnginePort(ExchangePort):
    """The exchange's client without its wire: the same requests and replies, and a seam on both sides of each."""

    def __init__(self, engine: Engine, path: "OrderPath") -> None:
        """Take the engine that both lives of the client share."""
        super().__init__({"rules": engine.rules.value})
        self._engine, self._path = engine, path
        self.told: deque[Any] = deque()

    @override
    def _changed(self, request: Request) -> Reply:
        if request.call == "submit":
            self._path.check_recorded(request.client_id)
        self._path.trouble.at(f"port.{request.call}.before")
        try:
            self._path.trouble.at(f"port.{request.call}.late")
        except UnclearError:
            self._path.take_later(request)
            raise
        reply = self._path.carry_out(request)
        self._path.trouble.at(f"port.{request.call}.behind")
        return reply

    @override
    def _look(self, request: Request) -> Reply:
        self._path.trouble.at("port.look.before")
        reply = decode(encode(self._engine.look(request, self._path.clock.wall_ns())), Reply)
        self._path.trouble.at("port.look.behind")
        return reply


class Parcel(NamedTuple):
    """One word on its way."""

    sender: str
    epoch: int
    to: str
    word: Any
    is_sure: bool


class Wire(Room):
    """Carries commands to the port one by one, as the gateway does, and says how each call ended. It keeps nothing."""

    def __init__(self, port: EnginePort, epoch: int, clock: HandClock) -> None:
        """Serve execution in this incarnation."""
        self._port, self._epoch, self._clock = port, epoch, clock

    @override
    def recover(self) -> Effects:
        return Effects()

    @override
    def hear(self, peer: str, epoch: int, word: Any) -> Effects:
        effects = Effects()
        match word:
            case SubmitOrder() | CancelOrder() | ReplaceOrder():
                effects.post("execution", self._change(word))
            case VenueWanted():
                effects.post("execution", self._snapshot(word), is_sure=False)
            case OrdersWanted():
                effects.post("execution", self._found(word), is_sure=False)
            case _:
                msg = f"the venue does not know {word}"
                raise AssertionError(msg)
        return effects

    def _change(self, word: SubmitOrder | CancelOrder | ReplaceOrder) -> Any:
        unclear = CancelUnclear if isinstance(word, CancelOrder) else OrderUnclear
        if word.venue_epoch != self._epoch:
            return unclear(0, word.order_id, "it was meant for a forerunner", self._clock.wall_ns())
        try:
            match word:
                case SubmitOrder():
                    return self._submit(word)
                case CancelOrder():
                    return self._cancel(word)
                case ReplaceOrder():
                    return self._replace(word)
        except (VenueError, OSError, ValueError) as error:
            return unclear(0, word.order_id, f"{type(error).__name__}: {error}", self._clock.wall_ns())

    def _submit(self, word: SubmitOrder) -> Any:
        name, now_ns = word.order_id, self._clock.wall_ns()
        if 0 < word.deadline_ns <= now_ns:
            return OrderRejected(0, name, "too late", now_ns, is_deadline=True)
        answer = self._port.submit(word)
        if isinstance(answer, Accepted):
            return OrderAccepted(0, name, answer.venue_order_id, now_ns)
        if answer.is_duplicate:
            return OrderUnclear(0, name, "the venue knows it already", now_ns)
        return OrderRejected(0, name, answer.reason, now_ns, is_deadline=answer.is_deadline)

    def _cancel(self, word: CancelOrder) -> Any:
        answer, now_ns = self._port.cancel(word.order_id, word.venue_order_id), self._clock.wall_ns()
        if isinstance(answer, Accepted):
            return OrderCancelled(0, word.order_id, word.reason, is_expired=False, ts_ns=now_ns)
        return CancelRejected(0, word.order_id, answer.reason, now_ns)

    def _replace(self, word: ReplaceOrder) -> Any:
        answer, now_ns = self._port.replace(word), self._clock.wall_ns()
        if isinstance(answer, Accepted):
            return OrderReplaced(0, word.order_id, answer.venue_order_id, word.quantity, word.price, now_ns)
        return ReplaceRejected(0, word.order_id, answer.reason, now_ns)

    def _snapshot(self, word: VenueWanted) -> VenueSnapshot:
        now_ns = self._clock.wall_ns()
        try:
            orders, held = self._port.open_orders(), self._port.holdings()
            fills = self._port.fills(word.since_ns)
            instruments = self._port.instruments(SYMBOLS)
        except (VenueError, OSError) as error:
            return VenueSnapshot(word.query, (), {}, Decimal(0), (), now_ns, failure=f"{type(error).__name__}: {error}")
        return VenueSnapshot(
            word.query,
            orders,
            held.positions,
            held.cash,
            fills,
            now_ns,
            account=held.account,
            venue_ns=held.venue_ns,
            instruments=instruments,
        )

    def _found(self, word: OrdersWanted) -> OrdersFound:
        try:
            asked_ns = self._port.holdings().venue_ns
            orders = self._port.find(word.order_ids)
            fills = self._port.fills(word.since_ns)
        except (VenueError, OSError) as error:
            return OrdersFound(word.query, (), (), (), 0, f"{type(error).__name__}: {error}")
        found = {order.order_id for order in orders}
        return OrdersFound(
            word.query, orders, tuple(name for name in word.order_ids if name not in found), fills, asked_ns
        )


class _Ledger:
    """Execution's store as risk's reader sees it; one process opens a store only once, so it is the writer's own."""

    def __init__(self, stores: dict[str, TroubledStore], path: Path) -> None:
        self._stores, self._path = stores, path

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def ask(*arguments: Any) -> Any:
            store = self._stores.get("execution")
            reader = store or Reader.open(self._path)
            answer = getattr(reader, name)(*arguments)
            answer = iter(list(answer)) if isinstance(answer, Iterator) else answer
            if store is None:
                reader.close()
            return answer

        return ask


class OrderPath:
    """Risk, execution and a venue's process, one account at an engine, and a strategy's intents."""

    def __init__(
        self,
        folder: Path,
        rules: str,
        trouble: Trouble,
        *,
        is_sent_lost: bool = False,
        traits: VenueTraits | None = None,
    ) -> None:
        """Start everything on a new folder.

        Args:
            folder: Where the stores lie.
            rules: Whose rules the exchange plays.
            trouble: What goes wrong.
            is_sent_lost: What a process had sent and nobody heard before it fell is lost, not still on the way.
            traits: What execution is told of the venue, where that is not the truth.
        """
        self._folder, self.trouble, self._is_sent_lost = folder, trouble, is_sent_lost
        self._traits = traits or TRAITS[rules]
        self.clock = HandClock()
        self.clock.advance_ns(T0_NS)
        self.engine = Engine(Rules(rules), cash=CASH, deadline_ms_least=0)
        self.falls: list[str] = []
        self._rooms: dict[str, Any] = {}
        self._stores: dict[str, TroubledStore] = {}
        self._recorded: set[str] = set()
        self._read = 0
        self._epochs: dict[str, int] = {VENUE: 0, "execution": 0, "risk": 0}
        self._timers: dict[tuple[str, str], int] = {}
        self._parcels: deque[Parcel] = deque()
        self._later: deque[tuple[int, Request]] = deque()
        self._told: set[str] = set()
        self._intents = 0
        self._minute = 0
        for symbol in SYMBOLS:
            self.engine.mark(symbol, Decimal(100), T0_NS)
        for name in self._epochs:
            self._live(name)

    # --- life and death -----------------------------------------------------------------------

    def _live(self, name: str) -> None:
        """Make a process anew, until one has recovered."""
        while True:
            self._epochs[name] += 1
            try:
                self._rooms[name] = self._make(name)
                self._carry_out(name, self._rooms[name].recover())
                self._tell_peers(name)
            except BaseException as error:  # noqa: BLE001 - whatever ends a process
                self._end(name, error)
            else:
                return

    def _make(self, name: str) -> Room:
        if name == VENUE:
            return Wire(EnginePort(self.engine, self), self._epochs[name], self.clock)
        schema = LEDGER_SCHEMA.version if name == "execution" else None
        store = TroubledStore.open(self._folder / name, is_synced=False, map_bytes=64 << 20, schema=schema)
        store.seam = lambda where, _writes: self.trouble.at(f"store.{name}.{where}")
        self._stores[name] = store
        if name == "execution":
            return Execution(
                venue=VENUE,
                traits=self._traits,
                capital=CASH,
                store=store,
                codec=desk_codec(),
                clock=self.clock,
                sentinel=Sentinel(self._folder),
                log=Log("execution"),
                owners={"script": Owner(SYMBOLS, OnDisable.HOLD)},
                is_stepped=False,
            )
        return Risk(
            limits={"script": RiskConfig()},
            desk_limits=DeskLimits(),
            store=store,
            ledger=cast("Any", _Ledger(self._stores, self._folder / "execution")),
            codec=desk_codec(),
            clock=self.clock,
            sentinel=Sentinel(self._folder),
            is_stepped=False,
        )

    def _tell_peers(self, name: str) -> None:
        """Tell a newcomer of all, and all of the newcomer."""
        if len(self._rooms) < len(self._epochs):
            return
        newcomers = set(self._rooms) - self._told or {name}
        self._told |= newcomers
        for each in sorted(newcomers):
            self._carry_out(each, self._rooms[each].peers(self._peers()))
        for other in set(self._rooms) - newcomers:
            self._carry_out(other, self._rooms[other].peers((Peer(name, self._epochs[name], "RUNNING"),)))
        if newcomers & {VENUE, "execution"}:
            self._carry_out("execution", self._rooms["execution"].connected(VENUE))

    def _peers(self) -> tuple[Peer, ...]:
        rooms = tuple(Peer(name, epoch, "RUNNING") for name, epoch in self._epochs.items())
        return (*rooms, Peer(STRATEGY, 1, "RUNNING"))

    def _end(self, name: str, error: BaseException) -> None:
        """Let a process be gone. Only what the trouble raised may end one; anything else is a defect."""
        if not self.trouble.came or name in self.falls:
            raise error
        self.falls.append(name)
        self._rooms.pop(name, None)
        store = self._stores.pop(name, None)
        if store is not None:
            store.close()
        self._timers = {key: at_ns for key, at_ns in self._timers.items() if key[0] != name}
        self._parcels = deque(
            parcel
            for parcel in self._parcels
            if not (parcel.sender == name and self._is_sent_lost) and (parcel.is_sure or parcel.to != name)
        )

    def _fall(self, name: str, error: BaseException) -> None:
        self._end(name, error)
        for other in tuple(self._rooms):
            self._carry_out(other, self._rooms[other].peers((Peer(name, self._epochs[name], "RESTARTING"),)))
        self._live(name)

    def close(self) -> None:
        """Close the stores."""
        for store in self._stores.values():
            store.close()

    # --- carrying out -------------------------------------------------------------------------

    def _do(self, name: str, hear: Callable[[], Effects]) -> bool:
        """Let one process hear something; False where it fell over that."""
        try:
            self._carry_out(name, hear())
        except BaseException as error:  # noqa: BLE001 - whatever ends a process
            self._fall(name, error)
            return False
        return True

    def _carry_out(self, name: str, effects: Effects) -> None:
        if effects.writes:
            self._stores[name].commit(effects.writes)
        self._effects_of(name, effects)

    def _effects_of(self, name: str, effects: Effects) -> None:
        for timer, at_ns in effects.timers:
            self._timers[name, timer] = at_ns
        for post in effects.posts:
            self.trouble.at(f"post.{name}.before")
            self._parcels.append(Parcel(name, self._epochs[name], post.peer, post.word, post.is_sure))
            self.trouble.at(f"post.{name}.behind")
        risk = self._rooms.get("risk")
        for said in effects.published:
            if isinstance(said.word, JournalRecord) and risk is not None:
                self._do("risk", functools.partial(self._tell_risk, said))

    def _tell_risk(self, said: Publish) -> Effects:
        item = StreamItem(said.topic, said.sequence, said.previous, b"", has_memory=True)
        return self._rooms["risk"].hear_stream("execution", item, said.word)

    def check_recorded(self, client_id: str) -> None:
        """Assert that what goes to the venue is in execution's journal, committed."""
        for record in read_journal(self._stores["execution"], desk_codec(), self._read):
            self._read = record.sequence
            if isinstance(record.body, OrderChanged):
                self._recorded.add(record.body.order.client_id)
        assert client_id in self._recorded, f"{client_id} left without its record"

    def carry_out(self, request: Request) -> Reply:
        """Have the engine do what a request says."""
        do = {"submit": self.engine.submit, "cancel": self.engine.cancel, "replace": self.engine.replace}[request.call]
        return decode(encode(do(request, self.clock.wall_ns())), Reply)

    def take_later(self, request: Request) -> None:
        """Let the engine take a request in when time moves on."""
        self._later.append((self.clock.wall_ns() + LATE_NS, request))

    # --- the day ------------------------------------------------------------------------------

    def price(self, symbol: str, price: str) -> None:
        """Let a minute of the market pass, with this price at its end."""
        self._minute += 1
        self.engine.mark(symbol, Decimal(price), self.clock.wall_ns())
        for each in SYMBOLS:
            self._tick(each, float(self.engine.prices[each]))

    def _tick(self, symbol: str, price: float) -> None:
        tick = Tick(symbol, T0_NS + self._minute * MINUTE_NS, price)
        item = StreamItem(f"{symbol}/tick", 0, 0, b"", has_memory=False)
        for name in ("risk", "execution"):
            while not self._do(name, lambda name=name: self._rooms[name].hear_stream("market_data", item, tick)):
                pass

    def wish(  # noqa: PLR0913 - an intent has these
        self,
        effect: Effect,
        symbol: str,
        side: Side = Side.BUY,
        quantity: int | None = None,
        *,
        limit: str = "",
        stop: str = "",
        target: str = "",
        ttl_s: int = 0,
        tag: str = "",
    ) -> None:
        """Post one intent of the strategy; it is sent until risk has taken it."""
        self._intents += 1
        now_ns = T0_NS + self._minute * MINUTE_NS
        intent = Intent(
            intent_id=intent_id("script", symbol, "1m", self._intents, 0),
            strategy="script",
            symbol=symbol,
            timeframe="1m",
            bar_ts_ns=now_ns - MINUTE_NS,
            number=0,
            effect=effect,
            side=side,
            order_type=OrderType.LIMIT if limit else OrderType.MARKET,
            quantity=Decimal(quantity) if quantity is not None else None,
            size_pct=None,
            limit_price=Decimal(limit) if limit else None,
            stop_loss=Decimal(stop) if stop else None,
            take_profit=Decimal(target) if target else None,
            protective_stop=ProtectiveStop.VENUE,
            order_ttl_ns=ttl_s * NS_PER_S,
            decided_ns=now_ns,
            expires_ns=now_ns + MINUTE_NS,
            reference_price=self.engine.prices[symbol],
            tag=tag,
            reason="SCRIPT",
            epoch=1,
        )
        self._parcels.append(Parcel(STRATEGY, 1, "risk", intent, is_sure=True))

    def talk(self) -> None:
        """Let everybody hear everything that was said, and the exchange's reports."""
        while self._parcels or self.engine.told:
            if self._parcels:
                self._deliver(self._parcels.popleft())
            told, self.engine.told = self.engine.told, []
            for report in map(report_of, told):
                self._parcels.append(Parcel(VENUE, self._epochs[VENUE], "execution", report, is_sure=True))

    def _deliver(self, parcel: Parcel) -> None:
        if parcel.to not in self._epochs:
            return
        if parcel.sender in self._epochs and parcel.epoch < self._epochs[parcel.sender]:
            return  # who fell is not heard any more
        room = self._rooms[parcel.to]
        is_heard = self._do(parcel.to, lambda: room.hear(parcel.sender, parcel.epoch, parcel.word))
        if not is_heard and parcel.is_sure:
            self._parcels.appendleft(parcel)

    def rest(self) -> None:
        """Let time pass until nothing is under way any more."""
        for moves in range(MOVES_MAX):
            self.talk()
            if self._is_quiet():
                return
            self._move()
            if moves % MOVES_A_TICK == MOVES_A_TICK - 1:
                for each in SYMBOLS:  # the market goes on: who was down hears of its time
                    self._tick(each, float(self.engine.prices[each]))
                self._settle_by_hand()
        msg = f"the desk never came to rest: {self._rooms['execution'].facts()}, {self._working()}"
        raise AssertionError(msg)

    def reconcile(self) -> None:
        """Let the next comparison with the venue come, and whatever follows from it."""
        at_ns = self._timers["execution", "reconcile"]
        while self.clock.wall_ns() < at_ns:
            self._move()
            self.talk()
        self.rest()

    def _move(self) -> None:
        """Move on to the next timer."""
        (name, timer), at_ns = min(self._timers.items(), key=lambda each: each[1])
        if self._later and self._later[0][0] <= at_ns:
            due_ns, request = self._later.popleft()
            self.clock.advance_ns(max(0, due_ns - self.clock.wall_ns()))
            self.carry_out(request)
            return
        del self._timers[name, timer]
        self.clock.advance_ns(max(0, at_ns - self.clock.wall_ns()))
        self._do(name, lambda: self._rooms[name].timer(timer))

    def _working(self) -> list[tuple[str, str, str]]:
        orders = self._rooms["execution"]._orders.working()
        return [(order.client_id, order.purpose.value, order.state.value) for order in orders]

    def _is_quiet(self) -> bool:
        """Say whether nothing is under way."""
        facts = self._rooms["execution"].facts()
        is_open = any(state not in RESTING for _, _, state in self._working())
        return not self._later and not facts["gate"] and not facts["orders_in_doubt"] and not is_open

    def _settle_by_hand(self) -> None:
        """Do what an operator does: read which order no venue can tell of, look for it there, and settle it."""
        known = {order.client_id for order in self.engine.orders.values()}
        for notice in self._rooms["execution"].facts()["notices"]:
            found = FOR_GOOD.match(notice)
            if found is None or found.group(2) in known or self._later:
                continue
            order = found.group(1)
            wished = ResolutionWished(f"settle-{order}", order, "never", None, None, ZERO, "not in its book", "anna")
            self._parcels.append(Parcel("console", 1, "execution", wished, is_sure=True))

    # --- the end ------------------------------------------------------------------------------

    def dump(self) -> Dump:
        """Give everything that the exchange knows."""
        return self.engine.dump(self.clock.wall_ns(), calls={}, deeds={}, pending=len(self._later))

    def records(self) -> list[JournalRecord]:
        """Give the journal, its chain walked."""
        store = self._stores["execution"]
        store.verify()
        return list(read_journal(store, desk_codec()))

    def reservations(self) -> list[str]:
        """Name what risk still keeps room for though execution has it, or has not been told."""
        risk: Risk = self._rooms["risk"]
        return [*risk._waiting, *risk._unbooked]
