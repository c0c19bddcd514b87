"""Risk: every intent in, one verdict out. Nothing reaches execution but through here."""

from collections import Counter
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import msgspec
from typing_extensions import override

from actors.arguments import MARKET_DATA, PAPER, RiskArguments
from actors.day_watch import DayWatch
from actors.instruments import kept_instrument
from actors.journal import StoredArchive, read_journal, read_snapshot
from actors.judgements import Judgements
from actors.peer_table import PeerTable
from actors.risk_limits import bounds_of, reserved_by
from actors.settings import DeskLimits, RiskConfig
from actors.topics import AWAY, strategy_path, tick_topic
from actors.words import Joined, Mark, RiskTurn
from desk.exposure import Reservation, RiskLimits, RiskPicture
from desk.identity import order_id
from desk.instruments import Instruments
from desk.messages import (
    Bar,
    Effect,
    FillBooked,
    Intent,
    IntentJudged,
    JournalRecord,
    OrderChanged,
    OrderState,
    Tick,
)
from desk.portfolio import Ledger
from desk.risk import judge
from desk.units import ONE, ZERO, decimal_of
from desk.venue import Instrument
from runtime.bus_words import StreamItem
from runtime.clock import Clock
from runtime.codec import Codec
from runtime.effects import Effects
from runtime.folder import Sentinel
from runtime.room import Room
from runtime.store import Reader, Store
from runtime.words import REMOVED, Peer, Turn


class Risk(Room):
    """Commits each intent on receipt, judges in a fixed order, commits the verdict, and only then speaks.

    Positions and orders come from the ledger's journal, read up to where the step settled it. A verdict that
    execution has not journalled is said again after every fall.
    """

    def __init__(  # noqa: PLR0913 - a room's constructor takes its world
        self,
        *,
        limits: Mapping[str, RiskConfig],
        desk_limits: DeskLimits,
        store: Store,
        ledger: Reader,
        codec: Codec,
        clock: Clock,
        sentinel: Sentinel,
        is_stepped: bool,
        venue: str = PAPER,
        instruments: Mapping[str, Instrument] | None = None,
        watch: Callable[[Ledger, Reader, Sentinel, DeskLimits], DayWatch] = DayWatch,
    ) -> None:
        """Take the limits of each strategy and of the desk; both bind. ``watch`` makes what keeps the account's day."""
        self._take_limits(limits, desk_limits)
        self._begun_with = (limits, desk_limits, instruments or {})
        self._judgements = Judgements(store)
        self._store, self._reader, self._codec, self._clock = store, ledger, codec, clock
        self._sentinel, self._is_stepped = sentinel, is_stepped
        self._venue, self._instruments = venue, Instruments(instruments or {})
        self._ledger = Ledger(keep_trades=False, keep_executions=False, finished_orders_max=0)
        self._booked = StoredArchive(ledger, codec)
        self._cursor = self._counted_to = 0
        self._day = watch(self._ledger, store, sentinel, desk_limits)
        self._waiting: dict[str, Intent] = {}
        self._unbooked: dict[str, IntentJudged] = {}
        self._marks: dict[str, Mark] = {}
        self._market_ns = 0
        self._peers: PeerTable | None = None
        self._is_held = False
        self._is_first_turn = True
        self._refusals: Counter[str] = Counter()
        self._judged = self._approved = self._repeated = 0
        self._gate = self._halted = ""

    def _take_limits(self, limits: Mapping[str, RiskConfig], desk_limits: DeskLimits) -> None:
        self._desk_limits = bounds_of(desk_limits)
        self._limits = {name: (bounds_of(config), self._desk_limits) for name, config in limits.items()}

    # --- life ---------------------------------------------------------------------------------

    @override
    def recover(self) -> Effects:
        effects = Effects()
        self._judgements.limits(*self._begun_with, effects, is_start=True)
        for _, data in self._store.scan("waiting"):
            intent: Intent = self._codec.decode(data)
            self._waiting[intent.intent_id] = intent
        for _, data in self._store.scan("unbooked"):
            judged: IntentJudged = self._codec.decode(data)
            self._unbooked[judged.order_id] = judged
        self._counted_to = min(self._day.cursor, self._reader.head())
        self._take_up_ledger(effects)
        self._read_ledger(effects)
        if not self._is_stepped:  # within steps each turn counts first, with the prices that belong to these books
            self._day.count(self._day.market_ns, self._marks, self._cursor, effects)
        for judged in sorted(
            self._unbooked.values(), key=lambda judged: (judged.intent.decided_ns, _turn(judged.intent))
        ):
            effects.post("execution", judged)  # in the order in which they were judged, not in that of their names
        return effects

    @override
    def facts(self) -> dict[str, Any]:
        return {
            "judged": self._judged,
            "approved": self._approved,
            "repeated": self._repeated,
            "refusals": dict(self._refusals),
            "waiting": len(self._waiting),
            "halted": self._sentinel.reason() or "",
            "day": self._day.facts(),
            "notices": self._day.notices(),
        }

    @override
    def connected(self, peer: str) -> Effects:
        effects = Effects()
        if peer == "market_data":
            effects.post(peer, Joined(), is_gated=False)
        return effects

    @override
    def reconfigured(self, arguments: bytes) -> Effects:
        """Judge by other limits from the next intent on; what was judged before stays as it was judged."""
        effects, told = Effects(), msgspec.msgpack.decode(arguments, type=RiskArguments)
        self._take_limits(told.limits, told.desk_limits)
        self._day.take_limits(told.desk_limits)
        self._day.count(self._market_ns, self._marks, self._cursor, effects)
        self._judgements.limits(told.limits, told.desk_limits, told.instruments, effects)
        self._instruments.configure(told.instruments)
        if not self._is_stepped:
            effects.listen(MARKET_DATA, tuple(map(tick_topic, told.symbols)))
        return effects

    @override
    def peers(self, peers: tuple[Peer, ...]) -> Effects:
        if self._peers is None:
            self._peers = PeerTable()
        self._peers.take(peers)
        is_down = self._peers.state("execution") not in {"RUNNING", REMOVED}
        self._gate = "execution is down" if is_down and not self._is_stepped else ""
        effects = Effects()
        if self._is_held or not self._is_stepped:
            self._is_held = False
            self._judge_all(effects)
        return effects

    # --- hearing ------------------------------------------------------------------------------

    @override
    def hear(self, peer: str, epoch: int, word: Any) -> Effects:
        effects = Effects()
        if isinstance(word, Intent) and peer == strategy_path(word.strategy):
            self._receive(msgspec.structs.replace(word, epoch=epoch), effects)
        return effects

    @override
    def hear_stream(self, peer: str, item: StreamItem, word: Any) -> Effects:
        effects = Effects()
        has_news = word is None and peer == "execution" and item.sequence > self._cursor  # nobody was heard saying it
        if isinstance(word, JournalRecord) or has_news:
            self._read_ledger(effects)
            self._count(effects)
        elif isinstance(word, Bar):
            self._mark(Mark(word.symbol, word.close, word.end_ns), effects)
        elif isinstance(word, Tick):
            self._mark(Mark(word.symbol, word.price, word.ts_ns), effects)
        return effects

    def _mark(self, mark: Mark, effects: Effects) -> None:
        self._day.see(mark, self._marks)
        self._market_ns = max(self._market_ns, mark.ts_ns)
        if not self._is_stepped and self._day.is_due(self._market_ns):
            self._count(effects)

    def _count(self, effects: Effects) -> None:
        self._day.count(self._market_ns, self._marks, self._cursor, effects)

    def _receive(self, intent: Intent, effects: Effects) -> None:
        """Keep an intent, once; without barrier it is judged at once."""
        if intent.intent_id in self._waiting or self._store.get("known", intent.intent_id.encode()) is not None:
            self._repeated += 1
            return
        self._waiting[intent.intent_id] = intent
        effects.put("known", intent.intent_id.encode(), b"")
        effects.put("waiting", intent.intent_id.encode(), self._codec.encode(intent))
        if not self._is_stepped and self._peers is not None:
            self._read_ledger(effects)
            self._judge_all(effects)

    @override
    def begin(self, turn: Turn, payload: Any) -> Effects:
        effects = Effects()
        assert isinstance(payload, RiskTurn), "risk's turn carries the last prices"
        self._read_ledger(effects)
        for mark in payload.marks:
            self._day.see(mark, self._marks)
        self._market_ns = max(self._market_ns, turn.market_ns)
        if not (self._is_first_turn and self._cursor > payload.journal_head):  # else a life before has counted it
            self._count(effects)
        self._is_first_turn = False
        self._is_held = self._peers is None
        if not self._is_held:
            self._judge_all(effects)
        return effects

    @override
    def settle(self, turn: Turn) -> bytes | None:
        """Judge nothing, and so settle nothing, before root has said which strategies may trade."""
        return None if self._is_held else b""

    # --- judging ------------------------------------------------------------------------------

    def _take_up_ledger(self, effects: Effects) -> None:
        """Begin with execution's own snapshot of the books, where there is one; only the rest is read then."""
        fold = read_snapshot(self._reader)
        if fold is None:
            return
        self._ledger.restore(fold.ledger)
        self._cursor = fold.sequence
        if fold.sequence > self._counted_to:
            self._day.skip(fold.market_ns)
        for name in filter(self._is_booked, tuple(self._unbooked)):
            del self._unbooked[name]
            effects.delete("unbooked", name.encode())

    def _read_ledger(self, effects: Effects) -> None:
        """Take in what execution has journalled; verdicts that are booked need no memory any more."""
        for record in read_journal(self._reader, self._codec, self._cursor):
            self._cursor = record.sequence
            if isinstance(record.body, FillBooked) and record.sequence > self._counted_to:
                self._day.pass_time(record.body.ts_ns, self._marks)
            self._ledger.apply(record.body)
            if isinstance(record.body, OrderChanged):
                name = record.body.order.order_id
                if self._unbooked.pop(name, None) is not None:
                    effects.delete("unbooked", name.encode())

    def _is_booked(self, name: str) -> bool:
        """Say whether the journal, as far as it was read, has this order: as one that works, or as one that is over."""
        return self._ledger.order(name) is not None or 0 < self._booked.place(name) <= self._cursor

    def _forget_booked(self, effects: Effects) -> None:
        """Leave unjudged what was judged in a life that risk's store has lost with the machine's power.

        The journal is synced and risk's store is not. Nobody would book a second verdict on the same order, and what
        it reserves would stay reserved.
        """
        for name in [name for name in self._waiting if self._is_booked(order_id(name))]:
            del self._waiting[name]
            effects.delete("waiting", name.encode())
            self._repeated += 1

    def _judge_all(self, effects: Effects) -> None:
        self._forget_booked(effects)
        queue = sorted(self._waiting.values(), key=_turn)
        if not queue:
            return
        if not self._is_stepped:
            self._count(effects)
        self._halted = self._sentinel.reason() or ""
        verdicts: list[IntentJudged] = []
        for intent in queue:
            judged = self._judge(intent)
            verdicts.append(judged)
            del self._waiting[intent.intent_id]
            self._unbooked[judged.order_id] = judged
            effects.delete("waiting", intent.intent_id.encode())
            effects.put("unbooked", judged.order_id.encode(), self._codec.encode(judged))
            effects.post("execution", judged)
            self._judged += 1
            self._approved += judged.is_approved
            self._refusals.update(reason.partition(":")[0] for reason in judged.reasons)
        away = tuple({intent.strategy: None for intent in queue if not self._is_enabled(intent.strategy)})
        self._judgements.judged(
            self._cursor,
            self._market_ns,
            self._marks,
            self._halted,
            self._gate,
            away,
            tuple(verdicts),
            self._day.reason,
            effects,
        )

    def _is_enabled(self, strategy: str) -> bool:
        peer = (self._peers or {}).get(strategy_path(strategy))
        return peer is not None and peer.state not in AWAY

    def _judge(self, intent: Intent) -> IntentJudged:
        """Judge by the strategy's limits on what it holds itself, then by the desk's on everything; both must agree."""
        picture, lot = self._picture(intent), self._lot(intent.symbol)
        own_limits, desk_limits = self._limits.get(intent.strategy) or (RiskLimits(), self._desk_limits)
        own = msgspec.structs.replace(
            picture,
            positions=tuple(one for one in picture.positions if one.strategy == intent.strategy),
            reservations=tuple(one for one in picture.reservations if one.strategy == intent.strategy),
        )
        verdicts = (judge(intent, own, _in_lots(own_limits, lot)), judge(intent, picture, _in_lots(desk_limits, lot)))
        reasons = tuple(dict.fromkeys(reason for verdict in verdicts for reason in verdict.reasons))
        quantity = ZERO if reasons else min(verdict.quantity for verdict in verdicts)
        if not reasons and intent.effect is Effect.MODIFY:
            quantity = ONE
        return IntentJudged(order_id(intent.intent_id), intent, quantity, reasons, self._market_ns)

    def _lot(self, symbol: str) -> Decimal:
        """Give the step of quantities that the venue takes, 0 where nobody says."""
        told = kept_instrument(self._reader, self._venue, symbol)
        return (told or self._instruments.of(symbol)).lot

    def _picture(self, intent: Intent) -> RiskPicture:
        ledger, mark = self._ledger, self._marks.get(intent.symbol)
        marks = {symbol: decimal_of(known.price) for symbol, known in self._marks.items()}
        limits = self._limits.get(intent.strategy, ())
        has_reserve = any(one.min_buying_power_reserve_usd is not None for one in limits)
        return RiskPicture(
            halt_reason=self._halted,
            stop_entry_reason="",
            gate_reason=self._gate,
            day_reason=self._day.reason,
            is_enabled=self._is_enabled(intent.strategy),
            epoch_highest=intent.epoch,
            is_known=False,
            market_ns=max(self._market_ns, intent.decided_ns if self._is_stepped else 0),
            last_price=decimal_of(mark.price) if mark is not None else None,
            last_price_ns=mark.ts_ns if mark is not None else None,
            equity=ledger.equity(marks),
            cash=ledger.cash if has_reserve else None,
            positions=tuple(ledger.positions.values()),
            reservations=tuple(self._reservations()),
            unknown_orders=tuple(
                order.order_id
                for order in ledger.working.values()
                if order.state is OrderState.UNKNOWN and order.symbol == intent.symbol
            ),
            marks=marks,
        )

    def _reservations(self) -> list[Reservation]:
        """List what approved orders may still trade: those that work, and those that execution has not booked yet."""
        found = reserved_by(self._ledger.working.values())
        for judged in self._unbooked.values():
            intent = judged.intent
            if judged.is_approved and intent.effect is not Effect.MODIFY:
                found.append(
                    Reservation(
                        judged.order_id,
                        intent.strategy,
                        intent.symbol,
                        intent.tag,
                        intent.effect,
                        intent.side,
                        judged.quantity,
                        intent.limit_price or intent.reference_price,
                    )
                )
        return found


def _turn(intent: Intent) -> tuple[str, str, str, int, int, str]:
    """Say whose turn it is among the intents of one moment: the same on every run."""
    return (intent.strategy, intent.symbol, intent.timeframe, intent.bar_ts_ns, intent.number, intent.tag)


def _in_lots(limits: RiskLimits, lot: Decimal) -> RiskLimits:
    is_fitting = not lot or lot == limits.quantity_step
    return limits if is_fitting else msgspec.structs.replace(limits, quantity_step=lot)
