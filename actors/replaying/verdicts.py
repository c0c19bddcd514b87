"""Risk's own room, told the intents again on the figures of then: does it judge the same?"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
from typing_extensions import override

from actors.arguments import MARKET_DATA, PAPER, RiskArguments, store_path
from actors.day_watch import DayWatch
from actors.judgements import Judgement, LimitsTold
from actors.replaying.parts import (
    Asked,
    Difference,
    RecordedClock,
    RecordedHalt,
    ReplayError,
    Side,
    difference,
    utc,
)
from actors.replaying.recorded import Recorded
from actors.risk import Risk
from actors.settings import DeskLimits, RiskConfig, RiskLimits
from actors.step import RISK
from actors.topics import strategy_path
from actors.words import Mark, RiskTurn, desk_codec
from desk.day import DayLimits
from desk.messages import IntentJudged, Tick
from desk.portfolio import Ledger
from runtime.bus_words import StreamItem
from runtime.effects import Effects
from runtime.folder import Sentinel
from runtime.store import Reader, Store
from runtime.words import Peer, Turn

_AWAY, _RUNNING, _DOWN = "QUARANTINED", "RUNNING", "BACKOFF"


class LedgerThen(Reader):
    """The ledger as it was when its log ended at ``upto``; it has no snapshot."""

    upto = 0

    @override
    def head(self) -> int:
        return self.upto

    @override
    def get(self, table: str, key: bytes) -> bytes | None:
        return None if table == "snapshot" else super().get(table, key)

    @override
    def records(self, after: int = 0, most: int | None = None) -> Iterator[tuple[int, bytes]]:
        left = max(0, self.upto - after)
        return super().records(after, left if most is None else min(left, most))


class DayThen(DayWatch):
    """The account's day as it was judged then: what it counts from is not in the records, what it said is."""

    said = ""

    @property
    @override
    def reason(self) -> str:
        return self.said

    @override
    def count(self, market_ns: int, marks: Mapping[str, Mark], cursor: int, effects: Effects) -> None:
        """Count nothing: the prices between two judgements are not known."""


class Outcome(msgspec.Struct):
    """What became of risk's replay; ``limits`` are those in force at the end, by strategy, "" for the desk's."""

    verdicts: int = 0
    differences: list[Difference] = []
    left_out: str = ""
    limits: dict[str, dict[str, Any]] = {}


class VerdictReplay:
    """Judges again, judgement by judgement."""

    def __init__(self, recorded: Recorded, asked: Asked, scratch: Path, *, is_stepped: bool) -> None:
        """Take what was recorded; ``scratch`` is an empty folder for the room's own store."""
        self._recorded, self._asked, self._is_stepped = recorded, asked, is_stepped
        self._codec = desk_codec()
        self._clock, self._halt = RecordedClock(), RecordedHalt(recorded.state)
        self._store = Store.open(scratch / "store", is_synced=False)
        self._ledger = LedgerThen.open(store_path(recorded.state, "execution"))
        self._room: Risk | None = None
        self._day: DayThen | None = None
        self._marks: dict[str, Mark] = {}
        self._version = 0
        self.outcome = Outcome()

    def run(self) -> Outcome:
        """Replay it to its end.

        Raises:
            ReplayError: A limit that shall be other than it was does not exist.
        """
        judgements = self._recorded.judgements
        if not judgements:
            self.outcome.left_out = "nothing says what risk judged: nothing was, or by an older version of the desk"
        for each in judgements:
            if isinstance(each, LimitsTold):
                self._tell_limits(each)
            elif each.journal > self._recorded.head or each.market_ns > (self._asked.until_ns or each.market_ns):
                break
            else:
                self._judge(each)
        self._ledger.close()
        self._store.close()
        return self.outcome

    def _tell_limits(self, told: LimitsTold) -> None:
        """Let these limits hold; a process that began knew no price."""
        limits = {name: _with(each, self._asked.limits.get(name, {}), name) for name, each in told.limits.items()}
        for name in self._asked.limits:
            if name and name not in told.limits:
                msg = f"there is no strategy {name}; there are {', '.join(sorted(told.limits))}. Nothing was replayed"
                raise ReplayError(msg)
        for name in sorted(self._asked.limits.get("", {}).keys() & {*DayLimits.__struct_fields__}):
            msg = (
                f"global.risk.{name} counts from every price of a day, and those are not recorded. Nothing was replayed"
            )
            raise ReplayError(msg)
        desk = _with(told.desk, self._asked.limits.get("", {}), "global.risk")
        self.outcome.limits = {"": _bounds(desk), **{name: _bounds(each) for name, each in limits.items()}}
        if told.is_start:
            self._marks = {}
            self._begin(limits, desk, told)
            return
        assert self._room is not None, "limits change in a process that began"
        arguments = RiskArguments(limits, desk, (), self._is_stepped, PAPER, told.instruments)
        self._keep(self._room.reconfigured(msgspec.msgpack.encode(arguments)))

    def _begin(self, limits: Mapping[str, RiskConfig], desk: DeskLimits, told: LimitsTold) -> None:
        """Begin a process; what it had approved and nobody has booked yet lies in its store."""
        self._room = Risk(
            limits=limits,
            desk_limits=desk,
            store=self._store,
            ledger=self._ledger,
            codec=self._codec,
            clock=self._clock,
            sentinel=self._halt,
            is_stepped=self._is_stepped,
            instruments=told.instruments,
            watch=self._watch,
        )
        self._keep(self._room.recover())
        self._peers((), is_down=False)

    def _watch(self, ledger: Ledger, store: Reader, sentinel: Sentinel, limits: DeskLimits) -> DayWatch:
        self._day = DayThen(ledger, store, sentinel, limits)
        return self._day

    def _peers(self, away: tuple[str, ...], *, is_down: bool) -> None:
        assert self._room is not None, "a process began"
        states = dict.fromkeys(self.outcome.limits.keys() - {""}, _RUNNING) | dict.fromkeys(away, _AWAY)
        peers = [Peer(strategy_path(name), 0, state) for name, state in sorted(states.items())]
        self._keep(self._room.peers((*peers, Peer("execution", 1, _DOWN if is_down else _RUNNING))))

    def _judge(self, then: Judgement) -> None:
        room = self._room
        assert room is not None, "a process began"
        self._ledger.upto = then.journal
        self._halt.why = then.halted
        if self._day is not None:
            self._day.said = then.day
        self._clock.now_ns = then.market_ns
        self._peers((*then.away, *self._unknown(then)), is_down=bool(then.gate))
        self._marks.update((mark.symbol, mark) for mark in then.marks)
        found: dict[str, IntentJudged] = {}
        if not self._is_stepped:
            for mark in then.marks:
                item = StreamItem(mark.symbol, 0, 0, b"", has_memory=False)
                self._keep(room.hear_stream(MARKET_DATA, item, Tick(mark.symbol, mark.ts_ns, mark.price)))
        for judged in then.verdicts:
            intent = judged.intent
            effects = room.hear(strategy_path(intent.strategy), intent.epoch, intent)
            found.update(self._verdicts(effects))
        if self._is_stepped:
            payload = RiskTurn(tuple(self._marks.values()), then.journal)
            effects = room.begin(Turn(0, RISK, then.market_ns, b""), payload)
            found.update(self._verdicts(effects))
        self._compare(then, found)

    def _unknown(self, then: Judgement) -> tuple[str, ...]:
        """Name who was judged without limits of its own: root knew of no such strategy."""
        known = {*self.outcome.limits, *then.away}
        return tuple(sorted({judged.intent.strategy for judged in then.verdicts} - known))

    def _verdicts(self, effects: Effects) -> dict[str, IntentJudged]:
        self._keep(effects)
        words = [post.word for post in effects.posts if isinstance(post.word, IntentJudged)]
        return {word.order_id: word for word in words}

    def _compare(self, then: Judgement, found: dict[str, IntentJudged]) -> None:
        for judged in then.verdicts:
            self.outcome.verdicts += 1
            now = found.pop(judged.order_id, None)
            if now is None or self._codec.encode(judged) != self._codec.encode(now):
                self._differ(then, judged, now)
        assert not found, "nothing else was judged"

    def _differ(self, then: Judgement, judged: IntentJudged, now: IntentJudged | None) -> None:
        intent = judged.intent
        what = f"{intent.effect.value} {intent.side.value} {intent.symbol}"
        at = f"{what} at {utc(judged.judged_ns)}, journal {then.journal}"
        before = () if self.outcome.differences else self._before(then)
        found = difference(
            "verdict", intent.strategy, at, then.journal, recorded=judged, replayed=now, before=before
        )  # fmt: skip
        self.outcome.differences = [*self.outcome.differences, found]

    def _before(self, then: Judgement) -> tuple[Side, ...]:
        """Say on what was judged."""
        at = utc(then.market_ns)
        marks = ", ".join(f"{mark.symbol} {mark.price:g}" for mark in self._marks.values())
        halted = [Side(at, f"halted: {then.halted}")] if then.halted else []
        return (Side(at, f"last prices: {marks}"), *halted)

    def _keep(self, effects: Effects) -> None:
        if effects.writes:
            self._store.commit(effects.writes)


def _with(limits: Any, others: Mapping[str, Any], where: str) -> Any:
    """Give limits of which some are others.

    Raises:
        ReplayError: There is no such limit, or it does not take the value.
    """
    if not others:
        return limits
    plain: dict[str, Any] = msgspec.to_builtins(limits)
    try:
        return msgspec.convert({**plain, **others}, type=type(limits), strict=False)
    except (msgspec.ValidationError, ValueError) as error:
        msg = f"{where} does not take {', '.join(others)}: {error}. Nothing was replayed"
        raise ReplayError(msg) from error


def _bounds(limits: RiskLimits) -> dict[str, Any]:
    """Give what binds, as plain values; midnight's place is no bound."""
    plain: dict[str, Any] = msgspec.to_builtins(limits)
    return {name: value for name, value in plain.items() if value is not None and name != "day_boundary_tz"}
