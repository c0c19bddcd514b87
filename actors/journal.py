"""The journal: what execution writes, folds and publishes, one record an event.

A start takes up the last snapshot of the fold and folds what was written behind it. What only grows is not in memory:
finished orders and the ids of executions are looked up in the store, which has them for ever.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from types import MappingProxyType

import msgspec
from typing_extensions import override

import desk.conservation
import desk.holdings
import desk.messages
import desk.portfolio
from actors.own_records import OwnRecords, known_up_to
from desk.conservation import InvariantError
from desk.executions import Execution, Executions
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
from desk.order import TERMINAL, entry_of_adoption
from desk.portfolio import Ledger, LedgerState
from desk.units import ZERO
from runtime.clock import Clock
from runtime.codec import Codec
from runtime.effects import Append, Effects, Publish, Put
from runtime.store import Reader, Schema, Store
from runtime.store_format import chain

#: Topic of the records that concern no strategy; none can have this name.
DESK_TOPIC = "(desk)"
EVENTS_GIVEN_MAX = 500
#: Records between two snapshots: so many are folded at a start at most, in some tens of milliseconds.
SNAPSHOT_EVERY = 2_000
#: Finished orders that are at hand without a look into the store.
FINISHED_IN_MEMORY = 1_000
#: Orders behind positions that are closed and have no order at work: so many are kept for fills that come late, and up
#: to twice as many are there.
ENTRIES_KEPT = 1_000
#: order id -> sequence of the record that holds the order as it ended. One that still works is in every fold.
ORDERS = "order"
#: venue, account and execution id -> sequence of the record that booked it.
EXECUTIONS = "execution"
#: Names of executions that are longer stand in the table by their digest: keys of LMDB are short.
EXECUTION_KEY_BYTES_MAX = 256
#: the client id of a later attempt -> the order's id.
CLIENTS = "client"
_SNAPSHOT, _FOLD = "snapshot", b"fold"

Key = tuple[str, str, str]


def _code() -> str:
    """Name the code that folds: books that other code has folded are not taken up."""
    modules = (desk.conservation, desk.holdings, desk.messages, desk.portfolio)
    files = [*(str(module.__file__) for module in modules), __file__]
    return hashlib.blake2b(b"\x00".join(Path(file).read_bytes() for file in files), digest_size=8).hexdigest()


#: Of the code as it was when this process, or the one it was forked from, was started.
FOLDED_BY = _code()


class Fold(msgspec.Struct, frozen=True, array_like=True):
    """Everything that folding the journal up to ``sequence`` gives; ``link`` binds it to that record.

    ``entries`` are the orders behind positions, ``own_last`` each strategy's last record, ``market_ns`` the latest
    market time of an order.
    """

    folded_by: str
    sequence: int
    link: bytes
    ledger: LedgerState
    entries: tuple[Order, ...]
    own_last: dict[str, int]
    last_note: dict[str, str]
    market_ns: int


def read_journal(reader: Reader, codec: Codec, after: int = 0) -> Iterator[JournalRecord]:
    """Give the records behind ``after``, oldest first.

    Raises:
        StoreError: A record is damaged or missing.
        WireError: A record is of a version of the desk that has other words.
    """
    for _, data in reader.records(after):
        yield codec.decode(data)


def read_snapshot(reader: Reader) -> Fold | None:
    """Give the last snapshot, or None where there is none to be believed: then everything is folded.

    One that other code has folded, or that stands at another record than the log has there, is not believed.
    """
    data = reader.get(_SNAPSHOT, _FOLD)
    if data is None:
        return None
    try:
        fold = msgspec.msgpack.decode(data, type=Fold)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    is_ours = fold.folded_by == FOLDED_BY and fold.link == reader.link(fold.sequence)
    return fold if is_ours else None


def strategy_of(body: JournalBody) -> str:
    """Name the strategy that a record concerns, or "" where it concerns none."""
    if isinstance(body, OrderChanged):
        return body.order.strategy
    if isinstance(body, FillBooked | LevelsChanged | ExternalAdopted):
        return body.strategy
    return ""


class StoredArchive:
    """Finished orders and known executions as the ledger's store has them."""

    def __init__(self, store: Reader, codec: Codec) -> None:
        """Look things up in this store."""
        self._store, self._codec = store, codec

    def order(self, order_id: str) -> Order | None:
        """Give an order that is finished, as it is; None where there is no such one.

        Of an order that still works a desk of before may have laid down how it was born: that is given then.
        """
        place = self.place(order_id)
        if not place:
            return None
        data = self._store.record(place)
        assert data is not None, "the index names a record that the log has"
        body = self._codec.decode(data).body
        assert isinstance(body, OrderChanged), "the index names a record of an order"
        return body.order

    def place(self, order_id: str) -> int:
        """Give the record that says how a finished order ended, 0 where there is no such order."""
        return int.from_bytes(self._store.get(ORDERS, order_id.encode()) or b"", "big")

    def bearer(self, client_id: str) -> str:
        """Name the order of an attempt; the first one's name is the order's own."""
        found = self._store.get(CLIENTS, client_id.encode())
        return client_id if found is None else found.decode()

    def knows(self, execution: Execution) -> bool:
        """Say whether an execution was ever booked."""
        return self._store.get(EXECUTIONS, _execution_key(*execution)) is not None


class _Memory(Executions):
    """The archive, and in front of it what this turn has written and the store has not got yet.

    While the journal is folded nothing is asked of the archive: it knows what is still to come.
    """

    def __init__(self, archive: StoredArchive) -> None:
        """Begin with the fold."""
        self.archive = archive
        self.is_folding = True
        self.records: list[bytes] = []
        self._orders: dict[str, Order] = {}
        self._clients: dict[str, str] = {}
        self._executions: set[Execution] = set()

    def clear(self) -> None:
        """Forget what the store has now."""
        self.records.clear()
        self._orders.clear()
        self._clients.clear()
        self._executions.clear()

    def keep(self, order: Order | None) -> None:
        """Remember an order as it is now, where there is one."""
        if order is not None:
            self._orders[order.order_id] = order
            if order.client_order_id:
                self._clients[order.client_order_id] = order.order_id

    def order(self, order_id: str) -> Order | None:
        """Give an order that the books have forgotten."""
        if self.is_folding:
            return None
        return self._orders.get(order_id) or self.archive.order(order_id)

    def known_among(self, order_ids: AbstractSet[str]) -> set[str]:
        """Give those of the ids whose orders are remembered here."""
        return self._orders.keys() & order_ids

    def bearer(self, client_id: str) -> str:
        """Name the order of an attempt."""
        return self._clients.get(client_id) or self.archive.bearer(client_id)

    @override
    def knows(self, execution: Execution) -> bool:
        return execution in self._executions or (not self.is_folding and self.archive.knows(execution))

    @override
    def add(self, execution: Execution) -> None:
        if not self.is_folding:
            self._executions.add(execution)


class Journal:
    """The single writer's view: books of the account, the entry behind each position, each strategy's last record."""

    def __init__(
        self,
        store: Store,
        codec: Codec,
        clock: Clock,
        snapshot_every: int = SNAPSHOT_EVERY,
        on_breach: Callable[[str], None] | None = None,
        entries_kept: int = ENTRIES_KEPT,
    ) -> None:
        """Take up the last snapshot, fold what was written behind it, and check the books from first principles.

        ``on_breach`` is told in words of books that contradict themselves, before ``InvariantError`` is raised.
        """
        self._on_breach = on_breach
        self._store, self._codec, self._clock = store, codec, clock
        self._snapshot_every, self._entries_kept = snapshot_every, entries_kept
        self._memory = _Memory(StoredArchive(store, codec))
        self.ledger = self._new_ledger()
        self.head = self.market_ns = 0
        self.own_last: dict[str, int] = {}
        self.entries: dict[Key, Order] = {}
        self.last_note: dict[str, str] = {}
        self._own = OwnRecords(store)
        self._take_up(read_snapshot(store))
        self.snapshot_at = self.head
        """The record up to which a snapshot is in the store, or on its way there."""
        for record in read_journal(store, codec, self.head):
            self._fold(record, strategy_of(record.body))
        self._memory.is_folding = False
        self.audit()

    def audit(self) -> None:
        """Check the books from first principles.

        Raises:
            InvariantError: They contradict themselves; whoever wanted to know has been told.
        """
        try:
            self.ledger.audit()
        except InvariantError as breach:
            self._tell_of(breach)
            raise

    def _tell_of(self, breach: InvariantError) -> None:
        if self._on_breach is not None:
            self._on_breach(f"INVARIANT: the books contradict themselves: {breach}")

    def _new_ledger(self) -> Ledger:
        return Ledger(
            keep_trades=False,
            finished_orders_max=FINISHED_IN_MEMORY,
            executions=self._memory,
            archive=self._memory.order,
        )

    def write(self, body: JournalBody, effects: Effects) -> None:
        """Append one event, take it into the books, and publish it to whom it concerns."""
        if self._store.head() == self.head:
            self._begin_turn(effects)
        order = body.order if isinstance(body, OrderChanged) else None
        strategy, sequence = strategy_of(body) if order is None else order.strategy, self.head + 1
        topic = strategy or DESK_TOPIC
        previous = self.own_last.get(topic, 0)
        record = JournalRecord(sequence, self._clock.wall_ns(), body)
        if order is None and isinstance(body, FillBooked):
            known = self.ledger.has_execution(body.execution_id, body.venue, body.account)
            assert not known, "an execution is booked once, for ever"
        self._fold(record, strategy)
        data = self._codec.encode(record)
        self._memory.records.append(data)
        effects.writes.append(Append(sequence, data))
        if order is None or order.client_order_id or order.state in TERMINAL:
            self._memory.keep(order)  # of any other order the ledger knows
            effects.writes += _index(record)
        effects.published.append(Publish(topic, record, sequence, previous, data))

    def _begin_turn(self, effects: Effects) -> None:
        """Forget what the store has got meanwhile, and keep the books once in a while."""
        self._memory.clear()
        # What costs as much as there are working orders is done once in as many records.
        if self.head - self.snapshot_at >= max(self._snapshot_every, len(self.ledger.working)):
            self.keep_snapshot(effects)

    def bear(self, orders: Sequence[Order], source: str, effects: Effects) -> None:
        """Write down the births of orders, as ``write`` does one by one.

        Each is PENDING, a strategy's, without an attempt that has a name of its own, and was never journalled before.
        """
        if self._store.head() == self.head:
            self._begin_turn(effects)
        written_ns, encode, own_last = self._clock.wall_ns(), self._codec.encode, self.own_last
        keep, append, publish = self._memory.records.append, effects.writes.append, effects.published.append
        strategy, sequence, market_ns = orders[0].strategy, self.head, self.market_ns
        add = self._own.add_behind(strategy)
        for order in orders:
            sequence += 1
            changed_ns = order.changed_ns
            record = JournalRecord(sequence, written_ns, OrderChanged(order, "", source, changed_ns))
            data = encode(record)
            keep(data)
            append(Append(sequence, data))
            if order.strategy != strategy:
                strategy = order.strategy
                add = self._own.add_behind(strategy)
            add(sequence)
            publish(Publish(strategy, record, sequence, own_last.get(strategy, 0), data))
            own_last[strategy] = sequence
            market_ns = max(market_ns, changed_ns)
        self.head, self.market_ns = sequence, market_ns
        self.ledger.bear(orders)

    def note(self, kind: str, text: str, ts_ns: int, effects: Effects, who: str = "desk") -> None:
        """Write down what an auditor wants to find; the same note again is not repeated."""
        if self.last_note.get(kind) != text:
            self.write(DeskNoted(kind, text, ts_ns, who), effects)

    def keep_snapshot(self, effects: Effects) -> None:
        """Keep the books as they are now, for the next start; nothing where they are kept already."""
        if self.snapshot_at == self.head:
            return
        effects.put(_SNAPSHOT, _FOLD, msgspec.msgpack.encode(self.fold()))
        self._own.put_away(self.head, effects)
        self.snapshot_at = self.head

    def fold(self) -> Fold:
        """Give everything that the journal gave so far."""
        link = self._store.head_link()
        for data in self._memory.records if self._store.head() != self.head else ():
            link = chain(link, data)
        return Fold(
            folded_by=FOLDED_BY,
            sequence=self.head,
            link=link,
            ledger=self.ledger.state(),
            entries=tuple(self.entries.values()),
            own_last=dict(self.own_last),
            last_note=dict(self.last_note),
            market_ns=self.market_ns,
        )

    def _take_up(self, fold: Fold | None) -> None:
        """Go on from a snapshot; one that contradicts itself is as none."""
        if fold is None:
            return
        try:
            self.ledger.restore(fold.ledger)
        except ValueError:
            self.ledger = self._new_ledger()
            return
        self.head, self.market_ns = fold.sequence, fold.market_ns
        self.own_last, self.last_note = dict(fold.own_last), dict(fold.last_note)
        self.entries = {order.key: order for order in fold.entries}

    def _fold(self, record: JournalRecord, strategy: str) -> None:
        body, sequence = record.body, record.sequence
        self.head = sequence
        self.own_last[strategy or DESK_TOPIC] = sequence
        if strategy:
            self._own.add(strategy, sequence)
        try:
            self.ledger.apply(body)
        except InvariantError as breach:
            self._tell_of(breach)
            raise
        if isinstance(body, OrderChanged):
            changed_ns = body.order.changed_ns
            self.market_ns = max(self.market_ns, changed_ns)
        elif isinstance(body, ExternalAdopted):
            self._found_entry(body)
        elif isinstance(body, FillBooked) and body.purpose is Purpose.ENTRY:
            order = self.ledger.order(body.order_id) or self._memory.archive.order(body.order_id)
            assert order is not None, "a fill belongs to an order that was journalled before"
            self._keep_entry((body.strategy, body.symbol, body.tag), _as_placed(order))
        elif isinstance(body, DeskNoted):
            self.last_note[body.kind] = body.text

    def _found_entry(self, adopted: ExternalAdopted) -> None:
        """Give what was adopted an entry, from which its stop and its exit can be made, unless it came to more."""
        key = (adopted.strategy, adopted.symbol, adopted.tag)
        held = self.ledger.position(*key)
        if held is not None and abs(held.quantity) <= abs(adopted.quantity):
            self._keep_entry(key, entry_of_adoption(adopted))

    def _keep_entry(self, key: Key, order: Order) -> None:
        """Keep the order behind a position, and once in a while forget the oldest ones behind nothing.

        What only made a position of the other side smaller is not behind it: stop and exit would be on the wrong side.
        What is open is never forgotten, nor what has an order at work that may still open it.
        """
        held = self.ledger.position(*key)
        if held is not None and held.quantity * order.side.sign < ZERO:
            return
        self.entries.pop(key, None)
        self.entries[key] = order
        if len(self.entries) - len(self.ledger.positions) <= 2 * self._entries_kept:
            return
        ledger = self.ledger
        closed = [each for each in self.entries if not ledger.position(*each) and not ledger.working_around(each)]
        for each in closed[: max(0, len(closed) - self._entries_kept)]:
            del self.entries[each]

    def knows(self, order_id: str) -> bool:
        """Say whether an order of this id was ever journalled."""
        return self.ledger.order(order_id) is not None

    def known_among(self, order_ids: AbstractSet[str]) -> set[str]:
        """Give those of the ids of which ``knows`` says yes."""
        known = self.ledger.known_among(order_ids) | self._memory.known_among(order_ids)
        kept = map(bytes.decode, self._store.among(ORDERS, map(str.encode, order_ids)))
        known.update(name for name in kept if self.knows(name))
        return known

    def named(self, client_id: str) -> Order | None:
        """Give the order one of whose attempts bears, or bore, this name at the venue."""
        return self.ledger.order(self._memory.bearer(client_id))

    def given(self, strategy: str, after: int) -> EventsGiven:
        """Answer a strategy that missed own records or just came."""
        head = self._store.head()
        own = [sequence for sequence in self._own.behind(strategy, after, EVENTS_GIVEN_MAX + 1) if sequence <= head]
        records: list[JournalRecord] = []
        for sequence in own[:EVENTS_GIVEN_MAX]:
            data = self._store.record(sequence)
            assert data is not None, "the index names a record that the log has"
            records.append(self._codec.decode(data))
        return EventsGiven(strategy, after, tuple(records), head, len(own) <= EVENTS_GIVEN_MAX)


def _index(record: JournalRecord) -> tuple[Put, ...]:
    """Give what finds a finished order, an attempt, or an execution again."""
    body = record.body
    if isinstance(body, OrderChanged):
        order = body.order
        is_finished, is_renamed = order.state in TERMINAL, bool(order.client_order_id)
        if not is_finished and not is_renamed:
            return ()
        name = order.order_id.encode()
        ended = (Put(ORDERS, name, record.sequence.to_bytes(8, "big")),) if is_finished else ()
        return (*ended, Put(CLIENTS, order.client_order_id.encode(), name)) if is_renamed else ended
    if isinstance(body, FillBooked):
        key = _execution_key(body.venue, body.account, body.execution_id)
        return (Put(EXECUTIONS, key, record.sequence.to_bytes(8, "big")),)
    return ()


def _as_placed(order: Order) -> Order:
    """Leave out what fills change: the archive gives a finished order as its last fill left it, not as this one did."""
    return msgspec.structs.replace(
        order, filled_quantity=ZERO, average_price=ZERO, fees=ZERO, changed_ns=order.created_ns
    )


def _execution_key(venue: str, account: str, execution_id: str) -> bytes:
    """Name an execution in the table."""
    name = f"{venue}\x00{account}\x00{execution_id}".encode()
    return name if len(name) <= EXECUTION_KEY_BYTES_MAX else hashlib.blake2b(name, digest_size=32).digest()


def _to_2(reader: Reader) -> Iterable[Put]:
    """Index every order's last record, and every execution: before, both were only in memory."""
    codec = Codec(JournalRecord)
    for record in read_journal(reader, codec):
        yield from _index(record)


def _to_3(reader: Reader) -> Iterable[Put]:
    """Say that every record so far is among its strategy's own: before, each was put there as it was written."""
    return (known_up_to(reader.head()),)


#: The versions of the ledger's store. 2: finished orders and executions are looked up. 3: own records come in blocks,
#: some time after they were written, and only what is finished is looked up.
LEDGER_SCHEMA = Schema(3, MappingProxyType({2: _to_2, 3: _to_3}))
