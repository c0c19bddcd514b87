"""A start takes up the books where the last snapshot left them, and knows every order and execution for ever."""

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from actors.journal import EVENTS_GIVEN_MAX, LEDGER_SCHEMA, Fold, Journal, read_journal, read_snapshot, strategy_of
from actors.own_records import own_key
from actors.settings_rule import NAME
from actors.words import desk_codec
from desk.messages import FillBooked, LevelsChanged, OrderChanged, OrderState, Purpose, Side
from runtime.clock import Clock
from runtime.effects import Append, Delete, Effects, Put, Write
from runtime.errors import StoreError
from runtime.store import Reader, Store
from tests.actors.booked import ACCOUNT, VENUE, Book

NEVER = 1 << 30


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Book]:
    book = Book(tmp_path / "ledger", snapshot_every=50)
    book.capital()
    yield book
    book.close()


def whole(folder: Path) -> bytes:
    """Fold the whole journal of a store, and nothing else."""
    store = Store.open(folder, is_synced=False)
    try:
        store.commit([Delete("snapshot", b"fold")])
        return msgspec.msgpack.encode(Journal(store, desk_codec(), Clock()).fold())
    finally:
        store.close()


@pytest.mark.parametrize("more", [0, 3, 11])
def test_a_snapshot_and_what_follows_it_are_the_whole_journal_to_the_last_bit(book: Book, more: int) -> None:
    book.trade(closed=30 + 2 * more, open_orders=10 + more)
    live = msgspec.msgpack.encode(book.journal.fold())

    again = book.again()
    taken_up, tail = msgspec.msgpack.encode(again.journal.fold()), again.journal.head - again.journal.snapshot_at
    again.close()

    assert 0 < tail < 100
    assert taken_up == live == whole(book.folder)


def test_what_concerns_no_strategy_is_on_a_topic_that_none_can_have_by_its_name(book: Book) -> None:
    assert book.journal.head
    assert not [topic for topic in book.journal.own_last if NAME.fullmatch(topic)]


def test_recovering_twice_gives_the_same_bytes(book: Book) -> None:
    book.trade(closed=20, open_orders=5)

    once = book.again()
    first = msgspec.msgpack.encode(once.journal.fold())
    twice = once.again()
    second = msgspec.msgpack.encode(twice.journal.fold())
    twice.close()

    assert first == second


@pytest.mark.parametrize("snapshot_every", [7, 10_000], ids=["from a snapshot", "from the records"])
def test_orders_behind_closed_positions_are_forgotten_but_the_last_ones_and_never_one_that_is_held_or_at_work(
    snapshot_every: int, tmp_path: Path
) -> None:
    book = Book(tmp_path / "ledger", snapshot_every, entries_kept=3)
    book.capital()
    for name in ("holder", "seller"):
        book.fill(book.place(name).order_id, 10, "100")
    leaving = book.place("seller", Side.SELL, Purpose.EXIT)
    doubted = book.place("seller", Side.SELL, Purpose.EXIT)
    book.fill(leaving.order_id, 10, "101")
    for number in range(40):
        book.round_trip(f"s{number}", number)
    kept = {key[0] for key in book.journal.entries}
    again = book.again()
    kept_again = {key[0] for key in again.journal.entries}
    again.close()

    assert doubted.order_id in again.journal.ledger.working
    assert {"holder", "seller", "s39", "s38", "s37"} <= kept
    assert len(kept) <= 2 + 2 * 3
    assert kept_again == kept


def test_a_late_fill_of_a_finished_order_is_booked_after_a_start_as_it_is_without_one(book: Book) -> None:
    book.trade(closed=2, open_orders=0)
    closed = next(
        record.body.order
        for record in read_journal(book.store, desk_codec())
        if isinstance(record.body, OrderChanged) and record.body.order.state is OrderState.FILLED
    )
    book.trade(closed=60, open_orders=0)
    again = book.again()
    assert again.journal.ledger.order(closed.order_id) is not None

    again.fill(closed.order_id, 1, "99.5")
    live = msgspec.msgpack.encode(again.journal.fold())
    again.close()

    assert live == whole(book.folder)


def test_an_order_and_an_execution_are_known_for_ever(book: Book) -> None:
    book.trade(closed=60, open_orders=3)
    written = list(read_journal(book.store, desk_codec()))
    orders = {r.body.order.order_id: r.body.order for r in written if isinstance(r.body, OrderChanged)}
    fills = [r.body for r in written if isinstance(r.body, FillBooked)]

    again = book.again()
    ledger = again.journal.ledger
    found = {name: ledger.order(name) for name in orders}
    known = all(ledger.has_execution(fill.execution_id, VENUE, ACCOUNT) for fill in fills)
    elsewhere = any(ledger.has_execution(fill.execution_id, VENUE, "other account") for fill in fills)
    again.close()

    assert found == orders
    assert known
    assert not elsewhere


def test_what_a_turn_has_written_is_known_before_it_is_committed(book: Book) -> None:
    order = book.place("alpha")
    effects = Effects()
    book.fill(order.order_id, 4, "100.5", leaves=6)
    fill = [r.body for r in read_journal(book.store, desk_codec()) if isinstance(r.body, FillBooked)][-1]
    repeated = replace(fill, execution_id="once")

    book.journal.write(repeated, effects)

    assert book.journal.ledger.has_execution("once", VENUE, ACCOUNT)
    with pytest.raises(AssertionError, match="booked once"):
        book.journal.write(repeated, effects)


def by_other_code(fold: Fold) -> msgspec.Struct:
    return replace(fold, folded_by="other code")


def of_another_journal(fold: Fold) -> msgspec.Struct:
    return replace(fold, link=bytes(16))


def ahead_of_the_journal(fold: Fold) -> msgspec.Struct:
    return replace(fold, sequence=fold.sequence + 10_000)


def of_another_form(fold: Fold) -> msgspec.Struct:
    return fold.ledger


@pytest.mark.parametrize("spoil", [by_other_code, of_another_journal, ahead_of_the_journal, of_another_form])
def test_a_snapshot_that_is_not_to_be_believed_costs_a_whole_fold_and_nothing_else(
    book: Book, spoil: Callable[[Fold], msgspec.Struct]
) -> None:
    book.trade(closed=40, open_orders=4)
    live, fold = book.journal.fold(), read_snapshot(book.store)
    assert fold is not None
    spoilt = msgspec.msgpack.encode(spoil(replace(fold, ledger=replace(fold.ledger, cash=fold.ledger.cash + 1))))
    book.store.commit([Put("snapshot", b"fold", spoilt)])

    again = book.again()
    taken_up, snapshot_at = again.journal.fold(), again.journal.snapshot_at
    again.close()

    assert snapshot_at == 0
    assert taken_up == live


def test_a_snapshot_at_the_end_leaves_the_next_start_nothing_to_fold(book: Book) -> None:
    book.trade(closed=4, open_orders=1)
    book.turn(book.journal.keep_snapshot)

    again = book.again()
    at = again.journal.snapshot_at
    again.close()

    assert at == again.journal.head


def test_a_snapshot_in_the_turn_of_its_last_record_stands_at_that_record(book: Book) -> None:
    book.place("alpha")

    def last_turn(effects: Effects) -> None:
        book.journal.note("stop", "stopped by an operator", 1, effects)
        book.journal.keep_snapshot(effects)

    book.turn(last_turn)

    fold = read_snapshot(book.store)
    assert fold is not None
    assert (fold.sequence, fold.link) == (book.store.head(), book.store.head_link())


def test_a_ledger_of_the_first_schema_gets_its_tables_from_its_journal(tmp_path: Path) -> None:
    book = Book(tmp_path / "new", snapshot_every=NEVER)
    book.capital()
    book.trade(closed=20, open_orders=3)
    live = msgspec.msgpack.encode(book.journal.fold())
    old = Store.open(tmp_path / "old", is_synced=False)
    old.commit([w for n, data in book.store.records() for w in _as_before(n, data)])
    book.close()

    old.convert(LEDGER_SCHEMA)
    journal = Journal(old, desk_codec(), Clock())
    found = {table: list(old.scan(table)) for table in ("order", "execution")}
    old.close()

    reader = Reader.open(tmp_path / "new")
    assert msgspec.msgpack.encode(journal.fold()) == live
    assert found["execution"] == list(reader.scan("execution"))
    working = {
        order_id.encode() for order_id in journal.ledger.working
    }  # how they were born is known, and not asked for
    assert [one for one in found["order"] if one[0] not in working] == list(reader.scan("order"))
    reader.close()


def own_of(book: Book, strategy: str) -> list[int]:
    """Find the own records of a strategy by reading everything."""
    records = read_journal(book.store, desk_codec())
    return [record.sequence for record in records if strategy_of(record.body) == strategy]


def given_of(journal: Journal, strategy: str, after: int) -> list[int]:
    """Ask for own records until there are no more, as a strategy does."""
    found: list[int] = []
    is_complete = False
    while not is_complete:
        given = journal.given(strategy, found[-1] if found else after)
        found += [record.sequence for record in given.records]
        is_complete = given.is_complete
    return found


@pytest.mark.parametrize("snapshot_every", [1, 7, 50, NEVER])
def test_a_strategy_is_given_exactly_its_own_records_wherever_the_last_snapshot_stands(
    tmp_path: Path, snapshot_every: int
) -> None:
    book = Book(tmp_path / "ledger", snapshot_every=snapshot_every)
    book.capital()
    book.trade(closed=40, open_orders=4)
    own = own_of(book, "s1")
    places = range(0, own[-1] + 2, 11)

    found = [given_of(book.journal, "s1", after) for after in places]
    again = book.again()
    found_again = [given_of(again.journal, "s1", after) for after in places]
    again.close()

    assert found == found_again == [[one for one in own if one > after] for after in places]


def test_more_records_than_one_answer_holds_come_in_several(book: Book) -> None:
    for _ in range(EVENTS_GIVEN_MAX // 2 + 20):
        book.place("alpha")

    first = book.journal.given("alpha", 0)

    assert (len(first.records), first.is_complete) == (EVENTS_GIVEN_MAX, False)
    assert given_of(book.journal, "alpha", 0) == own_of(book, "alpha")


def test_what_a_turn_has_put_away_and_not_committed_yet_is_given_as_far_as_it_is_in_the_store(book: Book) -> None:
    book.place("alpha")
    own, effects = own_of(book, "alpha"), Effects()
    book.journal.write(LevelsChanged("alpha", "BTC", "main", None, None, 1), effects)
    book.journal.keep_snapshot(effects)

    given = book.journal.given("alpha", 0)

    assert [record.sequence for record in given.records] == own
    assert given.head == book.store.head()


def test_own_records_of_the_second_schema_are_given_beside_newer_ones(tmp_path: Path) -> None:
    book = Book(tmp_path / "ledger", snapshot_every=NEVER)
    book.capital()
    book.trade(closed=20, open_orders=3)
    own = own_of(book, "s1")
    book.store.commit([Put("own", own_key("s1", sequence), b"") for sequence in own])
    book.store.commit(list(LEDGER_SCHEMA.steps[3](book.store)))
    again = book.again()

    again.trade(closed=8, open_orders=1)
    again.turn(again.journal.keep_snapshot)
    again.place("s1")
    found, expected = given_of(again.journal, "s1", own[3]), own_of(again, "s1")
    again.close()

    assert found == expected[4:]
    assert len(expected) > len(own)


def _as_before(sequence: int, data: bytes) -> Iterator[Write]:
    yield Append(sequence, data)
    body = desk_codec().decode(data).body
    if isinstance(body, OrderChanged) and not body.previous:
        yield Put("order", body.order.order_id.encode(), sequence.to_bytes(8, "big"))


def test_a_snapshot_that_the_disk_has_changed_is_an_error_and_not_believed(book: Book) -> None:
    book.trade(closed=40, open_orders=4)
    with book.store._environment.begin(write=True) as transaction:
        key = b"snapshot\x00fold"
        stored = bytes(transaction.get(key) or b"")
        transaction.put(key, stored[:-3] + bytes([stored[-3] ^ 1]) + stored[-2:])

    with pytest.raises(StoreError, match="'fold' of table 'snapshot' is damaged"):
        read_snapshot(book.store)


def test_every_part_of_a_fold_is_in_its_snapshot(book: Book) -> None:
    book.trade(closed=8, open_orders=2)
    book.turn(lambda effects: book.journal.note("gate", "closed", 5, effects))

    fold = msgspec.msgpack.decode(msgspec.msgpack.encode(book.journal.fold()), type=Fold)

    assert fold == book.journal.fold()
    assert fold.last_note == {"gate": "closed"}
    assert fold.market_ns > 0
    assert {order.strategy for order in fold.entries} == {"s0", "s1", "s2", "s3"}
