"""The journal: what execution writes, folds and publishes, one record an event."""

from collections.abc import Iterator

from desk.messages import (
    DeskNoted,
    EventsGiven,
    ExternalAdopted,
    FillBooked,
    JournalBody,
    JournalRecord,
    LevelsChanged,
    Order,
    OrderChanged,
    Purpose,
)
from desk.portfolio import Ledger
from runtime.clock import Clock
from runtime.codec import Codec
from runtime.effects import Effects
from runtime.store import Reader, Store

#: Topic of the records that concern no strategy.
DESK_TOPIC = "desk"
EVENTS_GIVEN_MAX = 500

Key = tuple[str, str, str]


def read_journal(reader: Reader, codec: Codec, after: int = 0) -> Iterator[JournalRecord]:
    """Give the records behind ``after``, oldest first."""
    for _, data in reader.records(after):
        yield codec.decode(data)


def strategy_of(body: JournalBody) -> str:
    """Name the strategy that a record concerns, or "" where it concerns none."""
    if isinstance(body, OrderChanged):
        return body.order.strategy
    if isinstance(body, FillBooked | LevelsChanged | ExternalAdopted):
        return body.strategy
    return ""


class Journal:
    """The single writer's view: books of the account, the entry behind each position, each strategy's last record."""

    def __init__(self, store: Store, codec: Codec, clock: Clock) -> None:
        """Fold the whole journal."""
        self._store, self._codec, self._clock = store, codec, clock
        self.ledger = Ledger(keep_trades=False)
        self.head = 0
        self.own_last: dict[str, int] = {}
        self.entries: dict[Key, Order] = {}
        self.last_note: dict[str, str] = {}
        self._clients: dict[str, str] = {}
        for record in read_journal(store, codec):
            self._fold(record)

    def write(self, body: JournalBody, effects: Effects) -> None:
        """Append one event, take it into the books, and publish it to whom it concerns."""
        strategy = strategy_of(body)
        previous = self.own_last.get(strategy or DESK_TOPIC, 0)
        record = JournalRecord(self.head + 1, self._clock.wall_ns(), body)
        self._fold(record)
        data = self._codec.encode(record)
        effects.append(record.sequence, data)
        if strategy:
            effects.put("own", _own_key(strategy, record.sequence), b"")
        if isinstance(body, OrderChanged) and not body.previous:
            effects.put("order", body.order.order_id.encode(), record.sequence.to_bytes(8, "big"))
        if isinstance(body, OrderChanged) and body.order.client_order_id:
            effects.put("client", body.order.client_order_id.encode(), body.order.order_id.encode())
        effects.publish(strategy or DESK_TOPIC, record, record.sequence, previous, data)

    def note(self, kind: str, text: str, ts_ns: int, effects: Effects, who: str = "desk") -> None:
        """Write down what an auditor wants to find; the same note again is not repeated."""
        if self.last_note.get(kind) != text:
            self.write(DeskNoted(kind, text, ts_ns, who), effects)

    def _fold(self, record: JournalRecord) -> None:
        body = record.body
        self.head = record.sequence
        self.own_last[strategy_of(body) or DESK_TOPIC] = record.sequence
        self.ledger.apply(body)
        if isinstance(body, OrderChanged) and body.order.client_order_id:
            self._clients[body.order.client_order_id] = body.order.order_id
        if isinstance(body, FillBooked) and body.purpose is Purpose.ENTRY:
            order = self.ledger.order(body.order_id)
            assert order is not None, "a fill belongs to an order that was journalled before"
            self.entries[body.strategy, body.symbol, body.tag] = order
        elif isinstance(body, DeskNoted):
            self.last_note[body.kind] = body.text

    def knows(self, order_id: str) -> bool:
        """Say whether an order of this id was ever journalled."""
        return self.ledger.order(order_id) is not None or self._store.get("order", order_id.encode()) is not None

    def named(self, client_id: str) -> Order | None:
        """Give the order one of whose attempts bears, or bore, this name at the venue."""
        return self.ledger.order(self._clients.get(client_id, client_id))

    def given(self, strategy: str, after: int) -> EventsGiven:
        """Answer a strategy that missed own records or just came."""
        records: list[JournalRecord] = []
        is_complete = True
        for key, _ in self._store.scan("own", _own_key(strategy, 0)[:-8], _own_key(strategy, after + 1)):
            if len(records) == EVENTS_GIVEN_MAX:
                is_complete = False
                break
            data = self._store.record(int.from_bytes(key[-8:], "big"))
            assert data is not None, "the index names a record that the log has"
            records.append(self._codec.decode(data))
        return EventsGiven(strategy, after, tuple(records), self._store.head(), is_complete)


def _own_key(strategy: str, sequence: int) -> bytes:
    return strategy.encode() + b"\x00" + sequence.to_bytes(8, "big")
