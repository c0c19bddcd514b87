"""A store keeps all of a commit or nothing, and says which record is not what it was."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime.effects import Append, Delete, Put, Write
from runtime.errors import StoreError, StoreVersionError
from runtime.store import PAGE_BYTES, Reader, Schema, Store, seal_store
from runtime.store_format import DIGEST_BYTES, SUMMARY_KEY, Summary, seal
from runtime.store_witness import witnessed


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store.open(tmp_path / "store", is_synced=False)
    yield store
    store.close()


def log_of(reader: Reader) -> list[tuple[int, bytes]]:
    return list(reader.records())


# --- writing ------------------------------------------------------------------------------------------


def test_records_are_given_back_in_the_order_of_their_sequence(store: Store) -> None:
    store.commit([Append(1, b"one"), Append(2, b"two")])
    store.commit([Append(3, b"three")])

    assert log_of(store) == [(1, b"one"), (2, b"two"), (3, b"three")]
    assert store.head() == 3


@pytest.mark.parametrize("sequence", [0, 1, 3, -1], ids=["zero", "again", "gap", "below"])
def test_a_record_that_is_not_the_next_one_is_refused(store: Store, sequence: int) -> None:
    store.commit([Append(1, b"one")])

    with pytest.raises(StoreError, match=f"record {sequence} cannot follow 1"):
        store.commit([Append(sequence, b"other")])

    assert log_of(store) == [(1, b"one")]


def test_a_commit_that_fails_half_way_leaves_nothing(store: Store) -> None:
    with pytest.raises(StoreError):
        store.commit([Append(1, b"one"), Put("bread", b"rye", b"baked"), Append(3, b"three")])

    assert log_of(store) == []
    assert store.get("bread", b"rye") is None
    store.commit([Append(1, b"one")])
    assert store.verify() == 1


def test_a_full_map_leaves_nothing_and_says_so(tmp_path: Path) -> None:
    store = Store.open(tmp_path, is_synced=False, map_bytes=256 * 1024)
    store.commit([Append(1, b"one")])

    with pytest.raises(StoreError, match="nothing was written"):
        store.commit([Put("bread", b"rye", b"baked"), Append(2, bytes(1 << 20))])

    store.commit([Append(2, b"two")])
    assert log_of(store) == [(1, b"one"), (2, b"two")]
    assert store.get("bread", b"rye") is None
    assert store.verify() == 2
    store.close()


def test_a_key_that_is_too_long_is_an_error_of_the_store_and_leaves_nothing(store: Store) -> None:
    with pytest.raises(StoreError, match="nothing was written"):
        store.commit([Append(1, b"one"), Put("bread", bytes(4096), b"rye")])

    assert log_of(store) == []


def test_the_log_is_no_table(store: Store) -> None:
    with pytest.raises(AssertionError):
        store.commit([Put("log", (1).to_bytes(8, "big"), b"smuggled")])

    assert store.head() == 0


# --- tables -------------------------------------------------------------------------------------------


def test_a_table_gives_what_was_put_last_and_nothing_that_was_deleted(store: Store) -> None:
    store.commit([Put("bread", b"rye", b"dough"), Put("bread", b"oat", b"dough")])
    store.commit([Put("bread", b"rye", b"baked"), Delete("bread", b"oat"), Delete("bread", b"never there")])

    assert list(store.scan("bread")) == [(b"rye", b"baked")]


def test_tables_do_not_see_each_other_even_where_one_name_begins_another(store: Store) -> None:
    store.commit([Put("bread", b"rye", b"1"), Put("breads", b"rye", b"2"), Put("brea", b"d\x00rye", b"3")])

    assert list(store.scan("bread")) == [(b"rye", b"1")]
    assert list(store.scan("breads")) == [(b"rye", b"2")]
    assert list(store.scan("brea")) == [(b"d\x00rye", b"3")]


def test_a_scan_keeps_to_its_prefix_and_begins_where_it_is_told(store: Store) -> None:
    store.commit([Put("bread", key, b"") for key in (b"oat", b"rye 1", b"rye 2", b"rye 3", b"wheat")])

    assert [key for key, _ in store.scan("bread", b"rye")] == [b"rye 1", b"rye 2", b"rye 3"]
    assert [key for key, _ in store.scan("bread", b"rye", b"rye 2")] == [b"rye 2", b"rye 3"]


def test_tables_before_and_behind_the_log_do_not_disturb_its_head(store: Store) -> None:
    store.commit([Put("a", b"x", b""), Put("z", b"x", b""), Append(1, b"one")])

    assert store.head() == Reader.head(store) == store.verify() == 1
    assert log_of(store) == [(1, b"one")]


def test_records_can_be_read_in_parts(store: Store) -> None:
    store.commit([Append(n, b"%d" % n) for n in range(1, 301)])

    assert [n for n, _ in store.records(after=100, most=3)] == [101, 102, 103]
    assert [n for n, _ in store.records(after=298)] == [299, 300]
    assert list(store.records(after=300)) == []
    assert list(store.records(most=0)) == []
    assert store.record(256) == b"256"
    assert store.record(301) is None


TABLES = st.sampled_from(["a", "ab", "m", "z"])
KEYS = st.binary(min_size=1, max_size=3)
WRITES = st.lists(
    st.builds(Put, TABLES, KEYS, st.binary(max_size=4)) | st.builds(Delete, TABLES, KEYS) | st.binary(max_size=4),
    max_size=6,
)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(commits=st.lists(st.tuples(WRITES, st.booleans()), max_size=8))
def test_a_store_is_a_list_and_some_dictionaries(
    commits: list[tuple[list[Put | Delete | bytes], bool]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("store")
    log: list[bytes] = []
    tables: dict[tuple[str, bytes], bytes] = {}
    store = Store.open(path, is_synced=False)
    for wanted, is_reopened in commits:
        writes: list[Write] = []
        for one in wanted:
            if isinstance(one, bytes):
                log.append(one)
                writes.append(Append(len(log), one))
            else:
                writes.append(one)
                tables.pop((one.table, one.key), None)
                if isinstance(one, Put):
                    tables[one.table, one.key] = one.data
        store.commit(writes)
        if is_reopened:
            store.close()
            store = Store.open(path, is_synced=False)

    assert log_of(store) == list(enumerate(log, 1))
    assert store.verify() == store.head() == len(log)
    for table in ("a", "ab", "m", "z"):
        assert list(store.scan(table)) == sorted((key, data) for (name, key), data in tables.items() if name == table)
    store.close()


# --- the chain ----------------------------------------------------------------------------------------


def changed(store: Store, key: bytes, value: bytes | None) -> None:
    """Write past the store, as a bad disk or a hand would."""
    with store._environment.begin(write=True) as transaction:
        if value is None:
            transaction.delete(key)
        else:
            transaction.put(key, value)


def key_of(sequence: int) -> bytes:
    return b"log\x00" + sequence.to_bytes(8, "big")


def raw(store: Store, sequence: int) -> bytes:
    """Read a record past the store, with its link."""
    with store._environment.begin() as transaction:
        value = transaction.get(key_of(sequence))
    assert value is not None, "there is no such record"
    return bytes(value)


def changed_data(value: bytes) -> bytes | None:
    return value[:-1] + b"!"


def changed_link(value: bytes) -> bytes | None:
    return b"!" + value[1:]


def cut_short(value: bytes) -> bytes | None:
    return value[:7]


def missing(_value: bytes) -> bytes | None:
    return None


@pytest.mark.parametrize("sequence", [1, 5, 9])
@pytest.mark.parametrize("spoil", [changed_data, changed_link, cut_short, missing])
def test_a_record_that_is_not_what_it_was_is_named(
    store: Store, sequence: int, spoil: Callable[[bytes], bytes | None]
) -> None:
    store.commit([Append(n, b"record %d" % n) for n in range(1, 11)])
    changed(store, key_of(sequence), spoil(raw(store, sequence)))

    with pytest.raises(StoreError, match=f"broken at record {sequence}$"):
        store.verify()


def test_two_records_that_changed_places_are_found(store: Store) -> None:
    store.commit([Append(1, b"one"), Append(2, b"two")])
    one, two = raw(store, 1), raw(store, 2)
    changed(store, key_of(1), two)
    changed(store, key_of(2), one)

    with pytest.raises(StoreError, match=r"broken at record 1$"):
        store.verify()


# --- entries, and the whole ---------------------------------------------------------------------------


@pytest.mark.parametrize("spoil", [changed_data, changed_link, cut_short], ids=["data", "digest", "short"])
def test_an_entry_that_is_not_what_was_put_is_an_error_wherever_it_is_read(
    store: Store, spoil: Callable[[bytes], bytes | None]
) -> None:
    store.commit([Put("bread", b"rye", b"baked in the morning")])
    with store._environment.begin() as transaction:
        stored = bytes(transaction.get(b"bread\x00rye") or b"")
    changed(store, b"bread\x00rye", spoil(stored))

    for read in (lambda: store.get("bread", b"rye"), lambda: list(store.scan("bread")), store.verify):
        with pytest.raises(StoreError, match="entry b'rye' of table 'bread' is damaged"):
            read()


def test_which_keys_a_table_has_is_told_as_of_the_last_commit(store: Store) -> None:
    store.commit([Put("bread", b"rye", b""), Put("bread", b"oat", b"x"), Put("cake", b"nut", b"x")])
    keys = (b"rye", b"nut", b"oat", b"", b"bre")
    had = store.among("bread", keys)

    store.commit([Delete("bread", b"oat"), Put("bread", b"nut", b"x")])

    assert (had, store.among("bread", keys)) == ([b"rye", b"oat"], [b"rye", b"nut"])


def test_an_entry_under_another_key_is_an_error(store: Store) -> None:
    store.commit([Put("bread", b"rye", b"baked")])
    with store._environment.begin() as transaction:
        stored = bytes(transaction.get(b"bread\x00rye") or b"")
    changed(store, b"bread\x00oat", stored)

    with pytest.raises(StoreError, match="entry b'oat' of table 'bread' is damaged"):
        store.get("bread", b"oat")


def test_entries_that_are_gone_are_missed(store: Store) -> None:
    store.commit([Put("bread", b"rye", b"1"), Put("bread", b"oat", b"2"), Put("bread", b"wheat", b"3")])
    store.commit([Delete("bread", b"oat"), Put("bread", b"rye", b"4")])
    changed(store, b"bread\x00rye", None)

    with pytest.raises(StoreError, match="tables hold 1 entries, and are not the 2 that were put there"):
        store.verify()


def test_an_older_entry_in_the_place_of_a_newer_one_is_found(store: Store) -> None:
    store.commit([Put("bread", b"rye", b"dough")])
    with store._environment.begin() as transaction:
        older = bytes(transaction.get(b"bread\x00rye") or b"")
    store.commit([Put("bread", b"rye", b"baked")])
    changed(store, b"bread\x00rye", older)

    with pytest.raises(StoreError, match="are not the 1 that were put there"):
        store.verify()


def test_a_log_that_lost_its_end_is_found(store: Store) -> None:
    store.commit([Append(n, b"record %d" % n) for n in range(1, 11)])
    for sequence in (9, 10):
        changed(store, key_of(sequence), None)

    with pytest.raises(StoreError, match="ends at record 8, and was written up to 10"):
        store.verify()


def test_a_changed_record_is_an_error_also_where_it_is_only_read(store: Store) -> None:
    store.commit([Append(n, b"record %d" % n) for n in range(1, 11)])
    changed(store, key_of(5), changed_data(raw(store, 5)))

    with pytest.raises(StoreError, match=r"broken at record 5$"):
        store.record(5)
    with pytest.raises(StoreError, match=r"broken at record 5$"):
        list(store.records(after=3))
    assert [sequence for sequence, _ in store.records(after=6)] == [7, 8, 9, 10]


# --- versions -----------------------------------------------------------------------------------------


def of_format_1(path: Path) -> None:
    """Turn a store into what desks wrote before entries were sealed."""
    store = Store.open(path)
    with store._environment.begin(write=True) as transaction:
        entries = [(bytes(key), bytes(value)) for key, value in transaction.cursor()]
        for key, value in entries:
            if not key.startswith((b"log\x00", SUMMARY_KEY)):
                transaction.put(key, value[DIGEST_BYTES:])
        transaction.delete(SUMMARY_KEY)
    store.close()
    (path / "witness").unlink()


def test_a_store_of_format_1_is_read_and_converted_and_not_written_before(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    store.commit([Append(1, b"one"), Append(2, b"two"), Put("bread", b"rye", b"baked"), Put("oven", b"1", b"")])
    store.close()
    of_format_1(tmp_path)

    reader = Reader.open(tmp_path)
    assert (reader.get("bread", b"rye"), reader.verify()) == (b"baked", 2)
    reader.close()
    with pytest.raises(StoreVersionError, match="a start of the desk converts it"):
        Store.open(tmp_path)
    assert seal_store(tmp_path)
    assert not seal_store(tmp_path)
    store = Store.open(tmp_path)
    store.commit([Append(3, b"three"), Put("bread", b"rye", b"eaten")])

    assert store.verify() == 3
    assert (store.get("bread", b"rye"), store.get("oven", b"1")) == (b"eaten", b"")
    store.close()


def test_a_store_that_lost_its_summary_is_not_taken_for_an_old_one(store: Store) -> None:
    store.commit([Append(1, b"one"), Put("bread", b"rye", b"baked")])
    changed(store, SUMMARY_KEY, None)
    store.close()

    with pytest.raises(StoreError, match="it is as it was 2 commits ago"):
        seal_store(store.path)
    (store.path / "witness").unlink()
    with pytest.raises(StoreError, match="it lost its summary"):
        seal_store(store.path)


def test_a_store_whose_newest_root_is_damaged_is_not_taken_for_what_it_was_before(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    for number in range(1, 6):
        store.commit([Append(number, b"record %d" % number)])
    store.close()
    data = bytearray((tmp_path / "data.mdb").read_bytes())
    roots = [int.from_bytes(data[at : at + 8], "little") for at in (16 + 24 + 48 * 2 + 8, 4096 + 16 + 24 + 48 * 2 + 8)]
    newest = roots.index(max(roots))
    at = newest * 4096 + 16 + 24 + 48 * 2 + 8
    data[at : at + 8] = (max(roots) - 2).to_bytes(8, "little")
    (tmp_path / "data.mdb").write_bytes(bytes(data))

    reader = Reader.open(tmp_path)
    assert reader.head() == 4
    with pytest.raises(StoreError, match="it is as it was 1 commits ago"):
        reader.verify()
    reader.close()
    with pytest.raises(StoreError, match="it is as it was 1 commits ago"):
        Store.open(tmp_path)


def test_a_witness_of_an_earlier_boot_or_a_damaged_one_says_nothing(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    store.commit([Append(1, b"one")])
    store.close()
    kept = (tmp_path / "witness").read_bytes()

    assert witnessed(tmp_path) == 2
    (tmp_path / "witness").write_bytes(kept[:-1] + b"!")
    assert witnessed(tmp_path) == 0
    other = seal(b"\x00witness", (99).to_bytes(8, "big") + b"00000000-0000-0000-0000-000000000000")
    (tmp_path / "witness").write_bytes(other)
    assert witnessed(tmp_path) == 0
    (tmp_path / "witness").unlink()
    assert witnessed(tmp_path) == 0
    Store.open(tmp_path).close()


def test_a_store_that_was_put_in_the_place_of_another_is_refused(tmp_path: Path) -> None:
    for name, count in (("alpha", 1), ("beta", 9)):
        store = Store.open(tmp_path / name, owner=name)
        for number in range(1, count + 1):
            store.commit([Append(number, b"record")])
        store.close()
    shutil.copyfile(tmp_path / "beta" / "data.mdb", tmp_path / "alpha" / "data.mdb")

    with pytest.raises(StoreError, match="it is the store of beta, and lies where that of alpha was"):
        Store.open(tmp_path / "alpha", owner="alpha")
    reader = Reader.open(tmp_path / "alpha")
    assert (reader.owner(), reader.verify()) == ("beta", 9)
    reader.close()


def test_a_store_of_which_nobody_noted_whose_it_is_is_taken_and_noted(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    store.commit([Append(1, b"one"), Put("bread", b"rye", b"baked")])
    store.close()

    store = Store.open(tmp_path, owner="alpha")
    assert (store.owner(), store.verify(), store.get("bread", b"rye")) == ("alpha", 1, b"baked")
    store.close()
    with pytest.raises(StoreError, match="it is the store of alpha"):
        Store.open(tmp_path, owner="beta")
    store = Store.open(tmp_path, owner="alpha")  # nothing was written meanwhile
    assert store.summary().commits == 3
    store.close()


def test_a_store_of_a_newer_version_is_refused_by_all(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "format")
    changed(store, SUMMARY_KEY, Summary(format=3).write())
    store.close()
    Store.open(tmp_path / "schema", schema=5).close()

    with pytest.raises(StoreVersionError, match="in format 3; this one knows 2"):
        Reader.open(tmp_path / "format")
    with pytest.raises(StoreVersionError, match="in schema 5; this one knows 4"):
        Store.open(tmp_path / "schema", schema=4)


def test_a_store_comes_to_a_schema_step_by_step_and_a_step_that_fails_leaves_it_at_the_one_before(
    tmp_path: Path,
) -> None:
    def to_2(reader: Reader) -> list[Put]:
        return [Put("loaf", key, data) for key, data in reader.scan("bread")]

    def to_3(reader: Reader) -> list[Put]:
        return [Put("count", b"", b"%d" % len(list(reader.scan("loaf")))), Put("", b"a table without a name", b"")]

    store = Store.open(tmp_path, schema=1)
    store.commit([Put("bread", b"rye", b"baked"), Put("bread", b"oat", b"dough")])

    with pytest.raises(AssertionError, match="a table has a name"):
        store.convert(Schema(3, {2: to_2, 3: to_3}))

    assert store.summary().schema == 2
    assert list(store.scan("loaf")) == [(b"oat", b"dough"), (b"rye", b"baked")]
    assert list(store.scan("count")) == []
    store.verify()

    def rightly_to_3(reader: Reader) -> list[Put]:
        return to_3(reader)[:1]

    store.convert(Schema(3, {3: rightly_to_3}))
    assert store.get("count", b"") == b"2"
    store.close()


# --- opening ------------------------------------------------------------------------------------------


def test_a_store_that_is_opened_again_continues(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    store.commit([Append(1, b"one")], is_durable=True)
    store.close()

    store = Store.open(tmp_path)
    store.commit([Append(2, b"two")])

    assert store.verify() == 2
    store.close()


def test_a_reader_of_a_store_that_is_not_there_is_told_and_makes_none(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no store here"):
        Reader.open(tmp_path / "nowhere")

    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_an_error_of_the_store(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder", encoding="utf-8")

    with pytest.raises(StoreError):
        Store.open(tmp_path / "file")


def test_a_file_that_is_no_store_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data.mdb").write_bytes(b"x" * 8192)

    with pytest.raises(StoreError, match="cannot be opened"):
        Reader.open(tmp_path)


def test_only_the_owner_may_look_into_a_store(tmp_path: Path) -> None:
    Store.open(tmp_path / "store").close()

    assert (tmp_path / "store").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "store" / "data.mdb").stat().st_mode & 0o777 == 0o600


def test_the_check_of_a_folder_names_the_store_and_the_record_that_are_broken(tmp_path: Path) -> None:
    for name in ("good", "poor"):
        store = Store.open(tmp_path / name)
        store.commit([Append(1, b"one"), Append(2, b"two")])
        if name == "poor":
            changed(store, key_of(2), bytes(20))
        store.close()

    done = subprocess.run(
        [sys.executable, "-m", "runtime.check", str(tmp_path)], capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == f"{tmp_path / 'poor'}: the log is broken at record 2"


def test_the_check_dies_of_a_store_that_was_cut_off_and_its_last_word_names_it(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "cut")
    store.commit([Append(n, bytes(3000)) for n in range(1, 50)])
    store.close()
    os.truncate(tmp_path / "cut" / "data.mdb", 3 * 4096)

    done = subprocess.run(
        [sys.executable, "-m", "runtime.check", str(tmp_path)], capture_output=True, text=True, check=False
    )

    assert done.returncode != 0
    assert str(tmp_path / "cut") in done.stdout.splitlines()[-1]


# --- other processes ----------------------------------------------------------------------------------

#: Commits a record and a table entry that must agree for each line it is given; "" without end.
WRITER = """
import sys
from pathlib import Path
from runtime.effects import Append, Put
from runtime.store import Store
store = Store.open(Path(sys.argv[1]), is_synced=False)
is_endless = sys.argv[2] == "endless"
print(store.head(), flush=True)
while is_endless or sys.stdin.readline():
    number = store.head() + 1
    store.commit([Append(number, b"record %d" % number), Put("last", b"n", b"%d" % number)])
    print(number, flush=True)
"""


class Writer:
    """A store's one writer in a process of its own."""

    def __init__(self, path: Path, *, is_endless: bool = False) -> None:
        """Start it, and wait until its store is open."""
        self.process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), "endless" if is_endless else "asked"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.head = self.heard()

    def __enter__(self) -> Self:
        """Give the writer."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it."""
        self.process.kill()
        self.process.communicate()

    def heard(self) -> int:
        """Wait for its next word."""
        assert self.process.stdout is not None
        return int(self.process.stdout.readline())

    def commit(self) -> int:
        """Let it commit once; give the record's sequence."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.heard()


def test_a_reader_sees_each_commit_as_soon_as_it_is_made(tmp_path: Path) -> None:
    with Writer(tmp_path) as writer:
        reader = Reader.open(tmp_path)
        for _ in range(3):
            number = writer.commit()

            assert reader.head() == number
            assert reader.record(number) == b"record %d" % number
            assert reader.get("last", b"n") == b"%d" % number
        reader.close()


def test_what_a_reader_walks_through_is_of_one_moment(tmp_path: Path) -> None:
    with Writer(tmp_path) as writer:
        writer.commit()
        reader = Reader.open(tmp_path)
        walk = reader.records()
        assert next(walk) == (1, b"record 1")

        writer.commit()

        assert list(walk) == []
        assert [number for number, _ in reader.records()] == [1, 2]
        reader.close()


@pytest.mark.parametrize("commits", [1, 20, 300])
def test_kill_9_of_the_writer_leaves_a_whole_store(tmp_path: Path, commits: int) -> None:
    with Writer(tmp_path, is_endless=True) as writer:
        seen = [writer.heard() for _ in range(commits)][-1]
        os.kill(writer.process.pid, signal.SIGKILL)
        writer.process.wait()

    store = Store.open(tmp_path)
    assert store.verify() == store.head() >= seen
    assert store.get("last", b"n") == b"%d" % store.head()
    store.close()


def test_a_successor_of_a_killed_writer_continues_behind_its_last_record(tmp_path: Path) -> None:
    with Writer(tmp_path) as writer:
        writer.commit()
        os.kill(writer.process.pid, signal.SIGKILL)
    with Writer(tmp_path) as successor:
        assert successor.head == 1
        assert successor.commit() == 2

    reader = Reader.open(tmp_path)
    assert reader.verify() == 2
    reader.close()


def test_pages_that_hold_nothing_any_more_are_free_and_are_taken_again(store: Store) -> None:
    for number in range(100):
        store.commit([Put("large", b"%d" % number, bytes(3 * PAGE_BYTES))])
    full = store.pages()
    for number in range(100):
        store.commit([Delete("large", b"%d" % number)])
    empty = store.pages()
    for number in range(50):
        store.commit([Put("large", b"%d" % number, bytes(3 * PAGE_BYTES))])
    again = store.pages()

    assert full.used > 300
    assert empty.used < 20
    assert full.touched <= empty.touched == again.touched
    assert 150 < again.used < empty.touched


def test_a_writer_that_looks_before_each_commit_sees_all_that_it_wrote_and_keeps_no_page(store: Store) -> None:
    for number in range(200):
        assert store.get("bread", b"rye") == (b"%d" % (number - 1) * 1000 if number else None)
        store.commit([Put("bread", b"rye", b"%d" % number * 1000)])
        assert store.get("bread", b"rye") == b"%d" % number * 1000

    assert store.pages().touched < 20


def test_a_writer_sees_what_was_there_when_a_commit_fails(store: Store) -> None:
    store.commit([Put("bread", b"rye", b"baked")])
    assert store.get("bread", b"rye") == b"baked"

    with pytest.raises(StoreError):
        store.commit([Put("bread", b"rye", b"burnt"), Append(2, b"two")])

    assert store.get("bread", b"rye") == b"baked"
