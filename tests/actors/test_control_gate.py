"""The doorkeeper and its parts: lists of clients, repeats, floods, and a trail that cannot be written."""

import json
import os
import subprocess
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import lmdb
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.console.audit import READ_BACK, Audit, Entry, digest_of, entries
from actors.console.clients import Client, fingerprint, read_clients, write_clients
from actors.console.doorkeeper import WAITING_MAX, Asked, Doorkeeper
from actors.console.gate import (
    AGE_NS_MAX,
    CHANGES_REMEMBERED,
    GUARDED_PACES,
    REMEMBERED_NS,
    Gate,
    Memory,
    Refusals,
    Remembered,
    Who,
    staleness,
)
from actors.console.protocol import ID_LENGTH_MAX, Request, reply_to
from actors.console.verbs import VERBS, Role
from actors.control_screens import audit_text, audit_view
from actors.execution.once import Once
from desk.messages import OperatorAnswered
from runtime.bus.outside import new_keys
from runtime.clock import NS_PER_MS, NS_PER_S
from runtime.effects import Append, Effects
from runtime.errors import StoreError
from runtime.log import Log
from runtime.room import ControlRequest, DoorState
from runtime.store import Store
from tests.desk_run.command_line import Said, bulkhead
from tests.runtime.fakes import HandClock

ANN = Who("ann's key", "ann", Role.ADMIN, "guarded")
HERE = Who("local", "local", Role.ADMIN, "local")
KEY, OTHER = new_keys()[0], new_keys()[0]


class House:
    """A doorkeeper on a folder of its own, as the console holds it; ``fall`` gives its successor."""

    def __init__(self, folder: Path, run: str = "1-1", map_bytes: int = 64 << 20) -> None:
        self.folder = folder
        self.clock = HandClock()
        self.clock.advance_ns(1_000_000 * NS_PER_S)
        self.store = Store.open(folder / "audit", map_bytes=map_bytes)
        self.open(run)

    def open(self, run: str) -> None:
        self.file = self.folder / "clients.json"
        self.keeper = Doorkeeper(Audit(self.store, run), self.file, self.clock, Log("console"))
        self.keeper.recover()

    def hear(self, document: dict[str, Any], key: str = "", peer: str = "") -> tuple[Asked | None, dict[str, Any]]:
        """Give what is let through, and what was answered at once."""
        effects = Effects()
        message = ControlRequest(
            b"\x01\x00abc",
            [json.dumps(document).encode()],
            "guarded" if key else "local",
            key,
            peer or ("127.0.0.1" if key else ""),
        )
        asked = self.keeper.hear(message, effects)
        return asked, json.loads(effects.answers[0][1]) if effects.answers else {}

    def finish(self, asked: Asked | None, **result: Any) -> dict[str, Any]:
        assert asked is not None, "nothing was let through"
        effects = Effects()
        self.keeper.finish(asked, reply_to(asked.request.id, result), effects)
        return json.loads(effects.answers[0][1])

    def kinds(self) -> list[str]:
        return [entry.kind for _, entry in entries(self.store)]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    yield house
    house.store.close()


def change(verb: str = "resume", name: str = "once", **arguments: Any) -> dict[str, Any]:
    return {"v": 1, "id": name, "verb": verb, "arguments": arguments}


# --- repeats ----------------------------------------------------------------------------------------


def test_a_change_is_on_the_disk_before_it_is_let_through(house: House) -> None:
    asked, answered = house.hear(change(reason="all is well"))

    ((_, entry),) = list(entries(house.store))
    assert (asked is not None, answered) == (True, {})
    assert (entry.kind, entry.verb, entry.reason, entry.client) == ("asked", "resume", "all is well", "local")


def test_the_same_request_while_the_first_is_under_way_is_one_change_with_one_answer(house: House) -> None:
    first, _ = house.hear(change("stop"))
    second, answered = house.hear(change("stop"))

    assert (second, answered) == (None, {})
    assert house.finish(first)["code"] == "ok"
    assert house.kinds() == ["asked", "answered"]


@pytest.mark.parametrize("run", ["1-1", "2-2"])
def test_an_answer_survives_the_console_and_the_desk(house: House, run: str) -> None:
    asked, _ = house.hear(change(reason="x"))
    given_first = house.finish(asked, was_halted="lunch")
    house.open(run)

    again, answered = house.hear(change(reason="x"))

    assert (again, answered) == (None, given_first)


@pytest.mark.parametrize(
    ("verb", "run", "code"),
    [("resume", "1-1", "interrupted"), ("resume", "2-2", "interrupted"), ("stop", "2-2", "interrupted")],
)
def test_what_was_interrupted_is_not_done_again_where_that_could_do_harm(
    house: House, verb: str, run: str, code: str
) -> None:
    house.hear(change(verb))
    house.open(run)

    again, answered = house.hear(change(verb))
    later, same = house.hear(change(verb))

    assert (again, later) == (None, None)
    assert (answered["code"], same) == (code, answered)


def test_what_root_does_once_is_asked_again_in_the_same_run_of_the_desk(house: House) -> None:
    first, _ = house.hear(change("stop"))
    house.open("1-1")

    again, _ = house.hear(change("stop"))

    assert first is not None
    assert again is not None
    assert again.name == first.name
    assert house.kinds() == ["asked"]


def test_what_was_carried_out_can_be_kept_under_the_widest_id(house: House) -> None:
    asked, _ = house.hear(change("flatten", "\U0001d11e" * ID_LENGTH_MAX))
    other, _ = house.hear(change("flatten", "\U0001d11e" * (ID_LENGTH_MAX - 1)))
    assert asked is not None
    assert other is not None
    effects = Effects()
    Once(house.store, "intervention").carried_out(asked.name, {"closing": []}, effects)
    house.store.commit(effects.writes)

    again = Once(house.store, "intervention")

    assert again.answered(asked.name) == OperatorAnswered(asked.name, "", '{"closing": []}')
    assert again.answered(other.name) is None


def test_what_may_still_come_again_is_remembered_across_a_fall_behind_however_many_records(house: House) -> None:
    write_clients(house.file, [Client("ann", "operate", KEY)])
    house.keeper.tend()
    restart = change("restart", path="strategies/a") | {"at": house.clock.wall_ns() // NS_PER_MS}
    given_first = house.finish(house.hear(restart, KEY)[0])
    many, head = 2 * READ_BACK, house.store.head()
    other = msgspec.json.encode(Entry(at_ns=house.clock.wall_ns(), kind="noted"))
    house.store.commit([Append(head + number, other) for number in range(1, many + 1)])
    house.clock.advance_ns(AGE_NS_MAX)
    house.open("1-1")

    again, answered = house.hear(restart, KEY)

    assert (again, answered) == (None, given_first)


def test_the_order_in_which_arguments_are_written_makes_no_other_request() -> None:
    one = Request(1, "a", "disable", {"name": "x", "reason": "y"})
    two = Request(1, "a", "disable", {"reason": "y", "name": "x"}, at=5)

    assert digest_of(one) == digest_of(two)
    assert digest_of(one) != digest_of(msgspec.structs.replace(one, verb="enable"))


@given(
    arrival_ns=st.integers(min_value=2 * AGE_NS_MAX, max_value=2**60),
    off_ms=st.integers(min_value=-AGE_NS_MAX // NS_PER_MS, max_value=AGE_NS_MAX // NS_PER_MS),
    later_ns=st.integers(min_value=REMEMBERED_NS, max_value=2**60),
)
def test_a_request_that_may_be_forgotten_is_too_old_to_come_again(arrival_ns: int, off_ms: int, later_ns: int) -> None:
    request = Request(1, "a", "stop", at=max(0, arrival_ns // NS_PER_MS + off_ms))

    assert staleness(request, arrival_ns + later_ns) != ""


def test_a_client_at_the_guarded_door_cannot_wash_out_what_it_asked() -> None:
    memory = Memory()
    kept = [memory.begin(ANN, str(n), Remembered("stop", "d", n, "1-1")) for n in range(CHANGES_REMEMBERED)]
    full = memory.begin(ANN, "more", Remembered("stop", "d", CHANGES_REMEMBERED, "1-1"))
    later = memory.begin(ANN, "later", Remembered("stop", "d", REMEMBERED_NS, "1-1"))

    assert (all(kept), full, later) == (True, False, True)
    assert memory.find(ANN, "0") is None
    assert memory.find(ANN, "1") is not None


def test_at_the_local_door_the_oldest_is_forgotten() -> None:
    memory = Memory()
    for number in range(CHANGES_REMEMBERED + 1):
        assert memory.begin(HERE, str(number), Remembered("stop", "d", number, "1-1"))

    assert memory.find(HERE, "0") is None
    assert memory.find(HERE, str(CHANGES_REMEMBERED)) is not None


# --- a trail that cannot be written -----------------------------------------------------------------


def test_where_no_record_can_be_written_nothing_but_halt_and_stop_is_done(tmp_path: Path) -> None:
    house = House(tmp_path, map_bytes=256 * 1024)
    _fill(house.store)
    let_through = {
        verb: house.hear({"v": 1, "id": verb, "verb": verb, "arguments": needed(verb)})
        for verb in VERBS
        if VERBS[verb].is_change
    }
    alarms = house.keeper.alarms()
    house.store.close()

    assert {verb for verb, (asked, _) in let_through.items() if asked is not None} == {"halt", "stop"}
    assert {answered["code"] for asked, answered in let_through.values() if asked is None} == {"not_recorded"}
    assert alarms[0].startswith("changes are refused, but halt and stop work: the audit trail: ")


def _fill(store: Store) -> None:
    """Write until the disk is as good as full, for small records too."""
    for size in (4000, 300, 60):
        with suppress(StoreError):
            while True:
                store.commit([Append(store.head() + 1, b'{"at_ns":1,"kind":"noted"}'.ljust(size))])


def needed(verb: str) -> dict[str, str]:
    """Give a verb what it cannot do without."""
    fields = [field for field in msgspec.structs.fields(VERBS[verb].arguments) if field.required]
    return {field.name: _any_of(field.type) for field in fields}


def _any_of(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return get_args(kind)[0]
    return "1" if kind is Decimal else "a"


def test_a_trail_that_somebody_changed_is_found(tmp_path: Path) -> None:
    house = House(tmp_path)
    for number in range(5):
        house.finish(house.hear(change(name=str(number), reason="why"))[0])
    house.store.close()
    whole = bulkhead("audit", state=tmp_path)
    with lmdb.open(str(tmp_path / "audit")) as environment, environment.begin(write=True) as transaction:
        with transaction.cursor() as cursor:
            assert cursor.set_range(b"log\x00" + (3).to_bytes(8, "big"))
            key, value = cursor.item()
        transaction.put(bytes(key), bytes(value).replace(b'"why"', b'"lie"'))

    changed = bulkhead("audit", state=tmp_path)

    assert (whole.code, whole.out.count("(why): done")) == (0, 5)
    assert (changed.code, "the log is broken at record 3" in changed.out + changed.err) == (3, True)


# --- who stands at the local door --------------------------------------------------------------------


def test_whoever_is_gone_before_its_word_is_heard_commands_nothing(house: House) -> None:
    with subprocess.Popen(["true"]) as sender:
        pass

    living, _ = house.hear(change("halt", "living"), peer=f":0:0:{os.getppid()}")
    gone, answered = house.hear(change("halt", "gone"), peer=f":0:0:{sender.pid}")

    assert (living is not None, gone, answered["code"]) == (True, None, "unauthorised")
    assert house.kinds() == ["asked", "refused"]


# --- floods -----------------------------------------------------------------------------------------


@given(
    st.lists(
        st.tuples(st.integers(min_value=0, max_value=30), st.sampled_from(["stale", "malformed"])),
        min_size=1,
        max_size=300,
    )
)
def test_every_refused_attempt_is_recorded_or_counted_in_a_record_of_its_code(attempts: list[tuple[int, str]]) -> None:
    refusals, now_ns, recorded, told = Refusals(), 0, 0, Counter[str]()
    for gap_s, code in attempts:
        now_ns += gap_s * NS_PER_S
        left_out = refusals.records("x", ("local", code), now_ns)
        recorded += left_out is not None
        told[code] += 0 if left_out is None else left_out + 1
    for identity, (door, code), count in refusals.due(now_ns + 3600 * NS_PER_S):
        assert (identity, door) == ("x", "local")
        told[code] += count

    assert told == Counter(code for _, code in attempts)
    assert recorded <= 41 + sum(gap_s for gap_s, _ in attempts) / 10


def test_a_flood_of_refused_requests_writes_little(house: House) -> None:
    for number in range(90):
        house.hear({"v": 1, "id": str(number), "verb": "explode"})
    written = len(house.kinds())
    house.clock.advance_ns(60 * NS_PER_S)
    house.keeper.tend()

    (*_, last) = (entry for _, entry in entries(house.store))
    assert (written, last.left_out) == (40, 50)


def test_a_refused_request_writes_little_however_large_it_is(house: House) -> None:
    _, answered = house.hear(change("stop", **{"x" * 60_000: "y"}))
    ((_, entry),) = list(entries(house.store))

    assert (answered["code"], entry.error) == ("bad_arguments", answered["error"])
    assert len(entry.error) <= 500


def test_who_may_not_even_look_now_is_in_the_trail(house: House) -> None:
    many = int(GUARDED_PACES.requests.burst)
    listed = [Client(f"client-{number}", "read", new_keys()[0]) for number in range(WAITING_MAX // many + 1)]
    write_clients(house.file, listed)
    house.keeper.tend()
    look = {"v": 1, "verb": "status", "at": house.clock.wall_ns() // NS_PER_MS}
    told = [house.hear({**look, "id": str(number)}, one.key) for one in listed for number in range(many)]

    refused = [entry for _, entry in entries(house.store) if entry.kind == "refused"]
    assert sum(asked is not None for asked, _ in told) == WAITING_MAX
    assert {entry.code for entry in refused} == {"rate_limited"}
    assert refused[0].client == listed[-1].name


def test_clients_that_may_only_look_cannot_keep_an_operator_from_halting(house: House) -> None:
    listed = [Client(f"client-{number}", "read", new_keys()[0]) for number in range(3)]
    write_clients(house.file, listed)
    house.keeper.tend()
    look = {"v": 1, "verb": "status", "at": house.clock.wall_ns() // NS_PER_MS}
    for number in range(WAITING_MAX):
        house.hear({**look, "id": str(number)}, listed[number % 3].key)

    let_through = {verb for verb in ("halt", "stop", "cancel") if house.hear(change(verb, verb))[0] is not None}

    assert let_through == {"halt", "stop"}


def test_attempts_that_were_only_counted_are_told_with_their_codes_and_their_door(house: House) -> None:
    for number in range(40):
        house.hear({"v": 1, "id": str(number), "verb": "explode"})
    for number in range(7):
        house.hear({"v": 1, "id": str(number), "verb": "explode"})
        house.hear({"v": 2, "id": str(number), "verb": "ping"})
    house.clock.advance_ns(60 * NS_PER_S)
    house.keeper.tend()

    told = [entry for _, entry in entries(house.store)][40:]
    shown = audit_text(audit_view(entries(house.store)))
    assert [(entry.code, entry.left_out, entry.door) for entry in told] == [
        ("unknown_verb", 7, "local"),
        ("unsupported_version", 7, "local"),
    ]
    assert "key local: refused: unknown_verb: more of the same (7 more were left out)" in shown.replace("\n    ", " ")


def test_what_came_of_a_change_after_its_answer_is_shown(house: House) -> None:
    house.keeper.note("swap of a from 1 to 2: it failed")

    assert "swap of a from 1 to 2: it failed" in audit_text(audit_view(entries(house.store)))


def test_faults_of_the_door_that_were_only_counted_are_no_refusals(house: House) -> None:
    for number in range(45):
        house.keeper.hear_door(
            DoorState(url="ipc", fault=f"fault {number}", connections=0, strangers=0, lost=0, shuts=0)
        )
    house.clock.advance_ns(60 * NS_PER_S)
    house.keeper.tend()

    (*_, last) = (entry for _, entry in entries(house.store))
    assert (last.kind, last.left_out, last.error) == ("noted", 5, "more of the same: the guarded door")


def test_who_asks_too_fast_is_refused_and_the_others_are_not(house: House) -> None:
    write_clients(house.file, [Client("ann", "read", KEY), Client("bob", "read", OTHER)])
    house.keeper.tend()
    ping = {"v": 1, "id": "p", "verb": "ping", "at": house.clock.wall_ns() // NS_PER_MS}
    burst = int(GUARDED_PACES.requests.burst)

    for _ in range(burst):
        house.finish(house.hear(ping, KEY)[0])

    assert house.hear(ping, KEY)[1]["code"] == "rate_limited"
    assert house.hear(ping, OTHER)[0] is not None


def test_large_answers_are_bounded_for_each_client() -> None:
    gate, now_ns = Gate(), 0
    gate.sent(ANN, 20 << 20, now_ns)

    assert [gate.may_read(ANN, seconds * NS_PER_S) for seconds in (0, 1)] == [False, True]
    assert gate.may_read(Who("bob's", "bob", Role.READ, "guarded"), now_ns)


def test_what_the_door_says_of_strangers_is_written_down_once(house: House) -> None:
    state = DoorState(url="tcp://127.0.0.1:1", fault="", connections=3, strangers=7, lost=0, shuts=0)

    for _ in range(3):
        house.keeper.hear_door(state)

    ((_, entry),) = list(entries(house.store))
    assert (entry.kind, entry.error) == ("refused", "connections without a key, or with none that is CURVE's: 7")


# --- the list of clients ----------------------------------------------------------------------------


def listed(*clients: dict[str, str]) -> str:
    return json.dumps({"clients": clients})


WRONG = {
    "no JSON": ("clients: []", "no list of clients"),
    "a list": ("[]", "no list of clients"),
    "an unknown key": ('{"clients": [], "admins": []}', "unknown field `admins`"),
    "an unknown role": (listed({"name": "a", "role": "root", "key": KEY}), "the role 'root'"),
    "a short key": (listed({"name": "a", "role": "read", "key": KEY[:-1]}), "the key of a is none"),
    "a secret's spaces": (listed({"name": "a", "role": "read", "key": f" {KEY}"}), "the key of a is none"),
    "a name twice": (listed({"name": "a", "role": "read", "key": KEY}, {"name": "a", "role": "read", "key": OTHER}), "a comes twice"),
    "a key twice": (listed({"name": "a", "role": "read", "key": KEY}, {"name": "b", "role": "admin", "key": KEY}), "the key of b comes twice"),
    "the local name": (listed({"name": "local", "role": "read", "key": KEY}), "and not local"),
    "a name with a line break": (listed({"name": "a\nb", "role": "read", "key": KEY}), "write letters"),
    "too much": (" " * 300_000, "more than 256 KiB"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "fault"), WRONG.values(), ids=WRONG.keys())
def test_a_list_with_a_fault_says_where_it_is(tmp_path: Path, text: str, fault: str) -> None:
    file = tmp_path / "clients.json"
    file.write_text(text, encoding="utf-8")

    found = read_clients(file)

    assert isinstance(found, str)
    assert fault in found
    assert str(file) in found


def test_a_list_that_everybody_may_write_says_nothing(tmp_path: Path) -> None:
    file = tmp_path / "clients.json"
    write_clients(file, [Client("a", "admin", KEY)])
    file.chmod(0o666)

    assert "chmod o-w" in str(read_clients(file))


def test_a_list_is_taken_as_soon_as_its_rights_are_as_the_alarm_wants_them(house: House) -> None:
    write_clients(house.file, [Client("a", "admin", KEY)])
    house.file.chmod(0o666)
    house.keeper.tend()
    alarms = house.keeper.alarms()

    house.file.chmod(0o644)
    house.keeper.tend()

    assert "chmod o-w" in alarms[0]
    assert house.keeper.alarms() == []
    assert house.keeper._gate.clients.keys() == {KEY}


def test_a_list_that_is_not_there_lists_nobody_and_one_that_was_written_is_read(tmp_path: Path) -> None:
    file = tmp_path / "clients.json"
    before = read_clients(file)
    clients = (Client("a", "admin", KEY), Client("b", "read", OTHER))
    write_clients(file, clients)

    assert (before, read_clients(file), file.stat().st_mode & 0o777) == ((), clients, 0o644)


def test_what_keeps_a_key_from_being_made_or_used_is_said_in_words(tmp_path: Path) -> None:
    where = ("--clients", tmp_path / "clients.json", "--config", tmp_path / "none.yaml", "--out", tmp_path / "ann.key")
    (tmp_path / "ann.key").touch()

    made = bulkhead("keys", "new", "ann", *where, state=tmp_path / "var")
    used = bulkhead("--key", tmp_path / "bob.key", "status", state=tmp_path / "var")

    assert made.err == f"{tmp_path / 'ann.key'}: File exists; ann is not listed\n"
    assert used.err == f"{tmp_path / 'bob.key'}: No such file or directory; nothing was asked\n"


def test_keys_that_are_made_at_once_are_all_listed(tmp_path: Path) -> None:
    file, names = tmp_path / "clients.json", ("ann", "bob", "eve", "joe")
    where = ("--clients", file, "--config", tmp_path / "none.yaml")

    def make(name: str) -> Said:
        return bulkhead("keys", "new", name, *where, "--out", tmp_path / name, state=tmp_path / "var")

    with ThreadPoolExecutor() as pool:
        made = list(pool.map(make, names))

    assert [said.code for said in made] == [0, 0, 0, 0]
    assert {client.name for client in read_clients(file) if isinstance(client, Client)} == set(names)


def test_a_key_that_was_removed_commands_nothing_from_that_moment_on(house: House) -> None:
    write_clients(house.file, [Client("ann", "operate", KEY), Client("bob", "operate", OTHER)])
    entered = house.keeper.admits(KEY, "127.0.0.1")
    write_clients(house.file, [Client("bob", "operate", OTHER)])

    asked, answered = house.hear(change("halt"), KEY)

    assert (entered, asked, answered["code"]) == (True, None, "unauthorised")


def test_a_list_that_a_console_finds_at_its_start_is_no_edit(house: House) -> None:
    write_clients(house.file, [Client("ann", "operate", KEY)])
    house.keeper.tend()
    house.open("1-1")
    write_clients(house.file, [])
    house.keeper.tend()

    ann = f"clients: ann ({fingerprint(KEY)})"
    told = [entry.error for _, entry in entries(house.store)]
    assert told == [f"{ann} is added as operate", f"{ann} is listed as operate", f"{ann} is removed"]


def test_a_key_that_was_listed_again_under_another_role_has_that_role_at_once(house: House) -> None:
    write_clients(house.file, [Client("ann", "admin", KEY)])
    house.keeper.tend()
    first = house.keeper._gate.who("guarded", KEY)
    write_clients(house.file, [Client("annabel", "read", KEY)])
    house.keeper.tend()

    second = house.keeper._gate.who("guarded", KEY)

    assert (first, second) == (
        Who(fingerprint(KEY), "ann", Role.ADMIN, "guarded"),
        Who(fingerprint(KEY), "annabel", Role.READ, "guarded"),
    )
