"""The paper venue: a book that matches against the feed's own events, with its own durable truth."""

from decimal import Decimal
from typing import Any

import msgspec
from typing_extensions import override

from actors.arguments import MARKET_DATA, PaperArguments
from actors.step import EXECUTION_AGAIN
from actors.topics import tick_topic
from actors.words import Joined
from desk.messages import Bar, CancelOrder, SubmitOrder, Tick, VenueReport, VenueSnapshot, VenueWanted
from desk.simulation.matching import FinishedOrder, Outcome, PaperBook, PaperState, PaperTerms, RestingOrder
from runtime.bus_words import StreamItem
from runtime.codec import Codec
from runtime.effects import Effects
from runtime.room import NOTHING, Room
from runtime.store import Store
from runtime.words import Turn


class _Account(msgspec.Struct, frozen=True, array_like=True):
    """The part of the book that every fill changes, and the last step whose event was matched.

    ``matched`` is the last report that came of the market; those behind it answer commands.
    """

    positions: dict[str, Decimal]
    cash: Decimal
    step: int
    market_ns: int
    matched: int = 0


class PaperVenue(Room):
    """Accepts, matches, fills, cancels. It commits before it answers, and repeats what nobody has booked.

    Execution names, at each connection, the last report that it booked; everything behind it is sent (again). In steps
    an answer to a command leaves only behind the decisions, as undisturbed: after a fall a step begins again, and what
    execution asked for in it must not be answered before risk has judged.
    """

    def __init__(self, terms: PaperTerms, store: Store, codec: Codec, *, is_stepped: bool) -> None:
        """Read the book from its store; a new store starts with the terms' cash."""
        self._store, self._codec, self._is_stepped = store, codec, is_stepped
        account = store.get("account", b"now")
        kept = msgspec.msgpack.decode(account, type=_Account) if account is not None else None
        state = _read_state(store, codec, kept) if kept is not None else None
        self._book = PaperBook(terms, state, self._finished)
        self._step = kept.step if kept is not None else 0
        self._market_ns = kept.market_ns if kept is not None else 0
        self._reports = store.head()
        self._matched_to = kept.matched if kept is not None else 0
        self._posted = -1
        self._unsent: list[VenueReport] = []
        #: Answers that wait for a turn behind the decisions, and whether the present turn is one.
        self._answers: list[VenueReport] = []
        self._may_answer = not is_stepped
        #: Those of the present turn, which are not in the store yet.
        self._fresh: list[VenueReport] = []

    def _finished(self, order_id: str) -> FinishedOrder | None:
        data = self._store.get("finished", order_id.encode())
        return None if data is None else msgspec.msgpack.decode(data, type=FinishedOrder)

    @override
    def facts(self) -> dict[str, Any]:
        snapshot = self._book.snapshot()
        return {
            "orders_resting": len(snapshot.orders),
            "positions": {symbol: str(quantity) for symbol, quantity in snapshot.positions.items()},
            "cash": str(snapshot.cash),
            "reports": self._reports,
        }

    @override
    def reconfigured(self, arguments: bytes) -> Effects:
        """Hear the market of other symbols too; the book's terms stay as they are until the desk starts again."""
        effects, told = Effects(), msgspec.msgpack.decode(arguments, type=PaperArguments)
        if not self._is_stepped:
            effects.listen(MARKET_DATA, tuple(map(tick_topic, told.symbols)))
        return effects

    @override
    def connected(self, peer: str) -> Effects:
        effects = Effects()
        effects.post(peer, Joined(), is_gated=False)
        return effects

    @override
    def hear(self, peer: str, epoch: int, word: Any) -> Effects:
        if isinstance(word, SubmitOrder):
            return self._booked(self._book.submit(word, ts_ns=self._market_ns))
        if isinstance(word, CancelOrder):
            return self._booked(self._book.cancel(word, ts_ns=self._market_ns))
        if isinstance(word, VenueWanted):
            return self._snapshot(word)
        return NOTHING

    @override
    def hear_stream(self, peer: str, item: StreamItem, word: Any) -> Effects:
        if isinstance(word, Bar | Tick):
            self._market_ns = max(self._market_ns, word.end_ns if isinstance(word, Bar) else word.ts_ns)
            return self._matched(word)
        return NOTHING

    @override
    def begin(self, turn: Turn, payload: Any) -> Effects:
        self._may_answer = turn.phase > EXECUTION_AGAIN
        effects = Effects()
        if self._may_answer:
            for report in self._answers:
                effects.post("execution", report)
            self._answers = []
        if turn.step <= self._step:
            return effects
        self._step = turn.step
        self._market_ns = max(self._market_ns, turn.market_ns)
        if payload is not None:
            effects.add(self._matched(payload))
        self._keep_account(effects)
        return effects

    @override
    def settle(self, turn: Turn) -> bytes | None:
        """Wait for execution's word on what it has booked: until then an earlier report may be unsent."""
        return b"" if self._posted >= 0 else None

    def _matched(self, event: Bar | Tick) -> Effects:
        effects = self._booked(self._book.on_event(event), is_market=True)
        if self._is_stepped or effects.writes:
            effects.put("last", event.symbol.encode(), self._codec.encode(event))
        return effects

    def _booked(self, outcome: Outcome, *, is_market: bool = False) -> Effects:
        """Number the reports, keep everything that changed, then report."""
        effects = Effects()
        if not outcome.reports:
            return effects
        self._forget_kept()
        for report in outcome.reports:
            self._reports += 1
            numbered = msgspec.structs.replace(report, report=self._reports)
            effects.append(self._reports, self._codec.encode(numbered))
            self._fresh.append(numbered)
            if is_market:
                self._matched_to = self._reports
            if self._posted < 0:
                self._unsent.append(numbered)
            else:
                self._post(numbered, effects)
                self._posted = self._reports
        for order_id in outcome.touched:
            kept = self._book.order(order_id)
            table, other = ("resting", "finished") if isinstance(kept, RestingOrder) else ("finished", "resting")
            effects.delete(other, order_id.encode())
            effects.put(table, order_id.encode(), msgspec.msgpack.encode(kept))
        self._keep_account(effects)
        effects.is_durable = True
        return effects

    def _post(self, report: VenueReport, effects: Effects) -> None:
        if self._may_answer or report.report <= self._matched_to:
            effects.post("execution", report)
        else:
            self._answers.append(report)

    def _forget_kept(self) -> None:
        head = self._store.head()
        self._fresh = [report for report in self._fresh if report.report > head]

    def _keep_account(self, effects: Effects) -> None:
        account = _Account(self._book.positions, self._book.cash, self._step, self._market_ns, self._matched_to)
        effects.put("account", b"now", msgspec.msgpack.encode(account))

    def _snapshot(self, wanted: VenueWanted) -> Effects:
        effects = Effects()
        unread: dict[int, VenueReport] = {
            number: self._codec.decode(data) for number, data in self._store.records(wanted.seen)
        }
        self._forget_kept()
        unread |= {r.report: r for r in (*self._unsent, *self._fresh) if r.report > wanted.seen}
        for number, report in unread.items():
            if number > self._posted:
                self._post(report, effects)
        self._posted, self._unsent = self._reports, []
        snapshot = self._book.snapshot(also=(report.order_id for report in unread.values()))
        answer = VenueSnapshot(
            wanted.query, snapshot.orders, snapshot.positions, snapshot.cash, tuple(unread.values()), self._market_ns
        )
        effects.post("execution", answer, is_sure=False, is_gated=False)
        return effects


def _read_state(store: Store, codec: Codec, account: _Account) -> PaperState:
    """Read what a book goes on from; of finished orders, which may be many, only which groups they have done for."""
    finished = (msgspec.msgpack.decode(data, type=FinishedOrder) for _, data in store.scan("finished"))
    return PaperState(
        resting=tuple(msgspec.msgpack.decode(data, type=RestingOrder) for _, data in store.scan("resting")),
        finished=(),
        last_events=tuple(codec.decode(data) for _, data in store.scan("last")),
        positions=account.positions,
        cash=account.cash,
        done_groups=tuple(sorted({order.done_group for order in finished} - {""})),
    )
