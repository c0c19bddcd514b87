"""Execution's own room, told verdicts, reports and wishes again: does it write the same journal, byte for byte?

What comes next is asked of the journal itself: a record that a verdict begot is answered with that verdict, one that a
report begot with the venue's next report, and so on. What the room then writes must be what is recorded.
"""

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
from typing_extensions import override

from actors.arguments import ExecutionArguments
from actors.execution.protection import REASON_STOP_REACHED
from actors.execution.remembering import PeersTold, Reconfigured, Started, Told
from actors.execution.room import PROTECT, Execution
from actors.replaying.parts import Difference, RecordedClock, RecordedHalt, difference, utc
from actors.replaying.recorded import Recorded, moment, stamp_ns
from actors.step import EXECUTION
from actors.words import desk_codec
from desk.messages import (
    DeskNoted,
    ExternalBooked,
    FillBooked,
    JournalBody,
    JournalRecord,
    Order,
    OrderChanged,
    OrderState,
)
from desk.order import REASON_TTL
from desk.portfolio import Ledger
from runtime.effects import Append, Effects
from runtime.log import Log
from runtime.store import Store
from runtime.words import Turn

#: Why an entry was refused by what nobody recorded: it is taken from the journal's own word.
MOMENTARY = ("HALTED", "GATE_CLOSED", "BACKPRESSURE", "BREAKER", "NO_ROOM", "SUPERSEDED")
#: Notes that one report begets, and nothing else.
_OF_REPORTS = frozenset({"unknown_order"})
_OURS, _RISK = "ours", "risk"
#: Records that are shown before the first difference.
SHOWN_BEFORE = 8


class Outcome(msgspec.Struct):
    """What became of execution's replay: records and orders that came out as recorded, and ``taken`` ones.

    Taken is what has its cause outside of everything recorded: what reconciliation found, a halt's refusals.
    """

    records: int = 0
    orders: int = 0
    taken: int = 0
    difference: Difference | None = None
    left_out: str = ""


class _Clock(RecordedClock):
    """Wall time is when the next record was written."""

    def __init__(self, records: Sequence[JournalRecord]) -> None:
        super().__init__()
        self._records = records
        self.room: _Room | None = None

    @override
    def wall_ns(self) -> int:
        head = 0 if self.room is None else self.room.head
        return self._records[min(head, len(self._records) - 1)].written_ns


class _Room(Execution):
    """Execution, whose market time can be set, and which refuses for the moment's reasons what was refused then."""

    momentary: dict[str, str]

    def stand_at(self, market_ns: int) -> None:
        """Let the market's time be at least this; nothing follows from it."""
        self._orders.market_ns = max(self._orders.market_ns, market_ns)

    def open_gate(self) -> None:
        """Count as reconciled: what reconciliation found is in the journal."""
        self._reconciler.is_reconciled, self._reconciler.gate = True, ""

    def take(self, body: JournalBody) -> Effects:
        """Write what has its cause outside."""
        effects = Effects()
        if isinstance(body, OrderChanged):
            self._orders.write(body.order, OrderState(body.previous) if body.previous else None, body.source, effects)
        else:
            self._journal.write(body, effects)
        return effects

    def reach_stop(self, order: Order) -> Effects:
        """Let the price come to the stop of the position that this exit belongs to."""
        effects, position = Effects(), self.books.position(*order.key)
        if position is not None and position.stop_loss is not None:
            self._protection.watch(order.symbol, position.stop_loss, effects)
        return effects

    @property
    def seen(self) -> int:
        """The last report that was booked."""
        return self._seen

    @property
    def head(self) -> int:
        """The journal's last record."""
        return self._journal.head

    @property
    def books(self) -> Ledger:
        """The books as they are now."""
        return self._journal.ledger

    @override
    def _reasons_against_new(self, order: Order, asked: Decimal) -> tuple[str, ...]:
        then = self.momentary.get(order.order_id)
        if then is not None:
            return (then,)
        is_stepped, self._is_stepped = self._is_stepped, True  # the venue's pace of then is not known
        try:
            return super()._reasons_against_new(order, asked)
        finally:
            self._is_stepped = is_stepped


class OrderReplay:
    """Writes the journal again, cause by cause."""

    def __init__(self, recorded: Recorded, scratch: Path, upto: int) -> None:
        """Take what was recorded; ``scratch`` is an empty folder for the ledger, ``upto`` the last record to write."""
        self._recorded, self._upto = recorded, upto
        self._records = recorded.records
        self._codec = desk_codec()
        self._clock = _Clock(self._records)
        self._halt = RecordedHalt(recorded.state)
        self._store = Store.open(scratch / "store", is_synced=False)
        self._verdicts = recorded.verdicts()
        self._told = list(recorded.told)
        self._turns = [(bar.journal_sequence, bar.end_ns) for bar in recorded.bars if bar.journal_sequence]
        self._reports = {report.report: report for report in recorded.reports}
        self._momentary = _momentary(self._records)
        self._room: _Room | None = None
        self._venue = ""
        self._place = 0
        self._orders: set[str] = set()
        self.outcome = Outcome()

    def run(self) -> Outcome:
        """Replay it to its end, or to the first record that is otherwise."""
        if not self._recorded.is_paper:
            self.outcome.left_out = "its venue lies behind a wire, and what that reported is not recorded"
        elif not any(isinstance(told, Started) for _, told in self._told):
            self.outcome.left_out = "nothing says with what it began: an older version of the desk did"
        else:
            while self.outcome.difference is None and self._place < self._upto:
                self._go_on()
        self.outcome.orders = len(self._orders)
        self._store.close()
        return self.outcome

    # --- causes -------------------------------------------------------------------------------

    def _go_on(self) -> None:
        """Find what begot the next record, and tell the room."""
        place = self._place
        self._halt.why = ""  # what a halt refused is taken over, and when it was lifted nobody recorded
        while self._told and self._told[0][0] <= self._place < self._upto:
            self._tell(self._told.pop(0)[1])
            if self.outcome.difference is not None:
                return
        if self._place != place:
            return
        room = self._room
        assert room is not None, "execution was told that it starts before anything else"
        while self._turns and self._turns[0][0] <= self._place:
            _, end_ns = self._turns.pop(0)
            self._write(room.begin(Turn(0, EXECUTION, end_ns, b""), None))
            if self._place != place or self.outcome.difference is not None:
                return
        record = self._records[place]
        room.stand_at(self._time_of_consequences())
        self._cause(room, record)
        if self._place == place and self.outcome.difference is None:
            self._differ(record, None)

    def _cause(self, room: _Room, record: JournalRecord) -> None:
        body = record.body
        if isinstance(body, FillBooked) or (isinstance(body, DeskNoted) and body.kind in _OF_REPORTS):
            self._tell_reports(room)
        elif isinstance(body, DeskNoted | ExternalBooked) or _is_momentary(body):
            self.outcome.taken += 1
            self._write(room.take(body))
        elif isinstance(body, OrderChanged) and body.source == self._venue:
            self._tell_reports(room)
        elif isinstance(body, OrderChanged) and body.source == _RISK and not body.previous:
            judged = self._verdicts.get(body.order.order_id)
            if judged is not None:
                self._write(room.hear("risk", 1, judged))
        elif isinstance(body, OrderChanged) and body.order.reason == REASON_TTL:
            self._write(room.begin(Turn(0, EXECUTION, body.order.changed_ns, b""), None))
        elif isinstance(body, OrderChanged) and body.order.reason == REASON_STOP_REACHED:
            self._write(room.reach_stop(body.order))
        else:
            self._write(room.timer(PROTECT))

    def _tell(self, told: Told) -> None:
        if isinstance(told, Started):
            self._start(told.arguments)
            return
        assert self._room is not None, "execution was told that it starts before anything else"
        if self._is_next_of_told():
            self._room.stand_at(self._time_of_consequences())
        if isinstance(told, Reconfigured):
            self._write(self._room.reconfigured(told.arguments))
        elif isinstance(told, PeersTold):
            self._write(self._room.peers(told.peers))
        else:
            self._write(self._room.hear("console", 1, self._codec.decode(told.body)))

    def _is_next_of_told(self) -> bool:
        """Say whether the next record may follow from a word or a state that execution was told."""
        body = self._records[self._place].body
        is_other = isinstance(body, FillBooked) or (
            isinstance(body, OrderChanged) and body.source in {_RISK, self._venue}
        )
        return not is_other

    def _start(self, arguments: bytes) -> None:
        """Begin a process; what it knows is what the ledger says so far."""
        told = msgspec.msgpack.decode(arguments, type=ExecutionArguments)
        self._venue = told.venue
        room = self._room = _Room(
            venue=told.venue,
            traits=told.traits,
            capital=told.balance,
            store=self._store,
            codec=self._codec,
            clock=self._clock,
            sentinel=self._halt,
            log=Log("replay/execution"),
            owners=told.owners,
            is_stepped=told.is_stepped,
            pace=told.pace,
            instruments=told.instruments,
        )
        room.momentary, self._clock.room = self._momentary, room
        if self._is_next_of_told():
            room.stand_at(self._time_of_consequences())
        self._write(room.recover())
        room.open_gate()

    def _tell_reports(self, room: _Room) -> None:
        """Tell the venue's next reports, up to the first one of which anything follows."""
        place = self._place
        while self._place == place and self.outcome.difference is None:
            report = self._reports.get(room.seen + 1)
            if report is None:
                return
            self._write(room.hear(self._venue, 1, report))

    def _time_of_consequences(self) -> int:
        """Give the market's time at which the next cause was heard, as the records that follow from it bear it.

        What execution does of its own accord bears that time, or a later one of the order concerned; 0 where nothing
        that follows bears it.
        """
        begin = self._place
        first = self._records[begin].body
        stamps = [stamp_ns(self._records[begin])] if _bears_time(first) else []
        has_ours = False
        for record in self._records[begin : self._upto]:
            body = record.body
            if isinstance(body, OrderChanged) and body.source == _OURS:
                has_ours = True
                stamps.append(stamp_ns(record))
            elif record.sequence > begin + 1 and (has_ours or not _follows(body, first)):
                break
        return min(stamps, default=0)

    # --- comparing ----------------------------------------------------------------------------

    def _write(self, effects: Effects) -> None:
        """Hold what the room writes against what was written, then keep it."""
        for write in effects.writes:
            if not isinstance(write, Append) or self.outcome.difference is not None:
                continue
            if write.sequence > self._upto:
                break  # what follows is behind the last record that counts
            record = self._records[write.sequence - 1]
            if write.data != self._recorded.raw[write.sequence - 1]:
                self._differ(record, self._codec.decode(write.data))
                return
            self._place = write.sequence
            self.outcome.records += 1
            if isinstance(record.body, OrderChanged):
                self._orders.add(record.body.order.order_id)
        if effects.writes:
            self._store.commit(effects.writes)

    def _differ(self, then: JournalRecord, now: JournalRecord | None) -> None:
        body = then.body
        who = body.order.strategy if isinstance(body, OrderChanged) else str(getattr(body, "strategy", ""))
        at = f"record {then.sequence} at {utc(stamp_ns(then))}"
        begin = max(0, then.sequence - 1 - SHOWN_BEFORE)
        before = tuple(moment(record) for record in self._records[begin : then.sequence - 1])
        replayed = None if now is None else now.body
        self.outcome.difference = difference(
            "order", who, at, then.sequence - 1, recorded=body, replayed=replayed, before=before
        )


def _bears_time(body: JournalBody) -> bool:
    """Say whether a record bears the time at which its cause was heard, and not the time of what was reported."""
    if isinstance(body, OrderChanged):
        return body.source == _RISK
    return not isinstance(body, FillBooked)


def _follows(body: JournalBody, first: JournalBody) -> bool:
    """Say whether a record may follow from the same cause as the first one, though execution did not do it itself."""
    if isinstance(body, DeskNoted):
        return True
    if not isinstance(body, OrderChanged):
        return False
    if isinstance(first, FillBooked):
        return body.order.order_id == first.order_id
    return isinstance(first, OrderChanged) and (body.order.order_id, body.source) == (
        first.order.order_id,
        first.source,
    )


def _momentary(records: Sequence[JournalRecord]) -> dict[str, str]:
    found: dict[str, str] = {}
    for record in records:
        body = record.body
        if isinstance(body, OrderChanged) and body.order.state is OrderState.REJECTED and _is_momentary(body):
            found[body.order.order_id] = body.order.reason
    return found


def _is_momentary(body: Any) -> bool:
    """Say whether an order was ended by what nobody recorded."""
    if not isinstance(body, OrderChanged) or body.source != _OURS:
        return False
    return body.order.reason.startswith((*MOMENTARY, "TERMS_DIFFER"))
