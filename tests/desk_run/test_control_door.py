"""Who may command a running desk, and that everybody else moves nothing: keys, roles, repeats, garbage, floods."""

import json
import re
import socket as network
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import zmq
from typer.testing import CliRunner, Result

from actors.cli import app
from actors.console.audit import Entry, entries
from actors.console.clients import Client, fingerprint, write_clients
from actors.console.verbs import VERBS, Role
from actors.control_client import DeskDownError, Remote, ask_remote
from actors.control_keys import KeyFile, keep_server_keys, write_key_file
from actors.control_screens import audit_view
from actors.makers import store_path
from runtime.bus.outside import new_keys
from runtime.clock import NS_PER_MS, NS_PER_S
from runtime.folder import socket_folder
from runtime.ids import fresh_id
from runtime.store import Reader
from tests.desk_run.command_line import PATIENCE_S as COMMAND_S
from tests.desk_run.command_line import Said, bulkhead
from tests.desk_run.harness import PATIENCE_S, PAUSE_S, Desk
from tests.desk_run.publisher import Publisher, obedient, with_obedient

DOCUMENT = Path(__file__).parents[2] / "docs" / "control.md"
#: A strategy that tries to halt its desk through the local door as soon as it is there.
COMMANDER = '''"""Wants to command."""

import json

import msgspec
import zmq

from strategies.base import NoTrade, NoTradeCode, Strategy


class Parameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the sockets are."""

    folder: str


class Commander(Strategy):
    """Sends a command; what it was answered it does not wait for."""

    Parameters = Parameters

    def initialize(self):
        """Halt the desk, if that can be done."""
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.DEALER)
        self.socket.connect(f"ipc://{self.parameters.folder}/control")
        self.socket.send(json.dumps({"v": 1, "id": "mine", "verb": "halt"}).encode())

    def on_bar(self, bar, view):
        """Do nothing else."""
        return NoTrade(NoTradeCode.NO_SIGNAL)


STRATEGY = Commander
'''
LISTED = {"reader": "read", "operator": "operate", "admin": "admin", "leaver": "admin", "flooder": "operate"}


class Doors:
    """A desk with both doors, and the keys of its clients."""

    def __init__(self, desk: Desk, url: str, clients: Path) -> None:
        self.desk, self.url, self.clients = desk, url, clients
        self.server = keep_server_keys(desk.state)
        self.keys = {name: new_keys() for name in (*LISTED, "stranger")}
        self.allow(*LISTED)

    def allow(self, *names: str) -> None:
        """Let these clients alone be listed."""
        write_clients(self.clients, [Client(name, LISTED[name], self.keys[name][0]) for name in names])

    @contextmanager
    def connected(
        self, name: str, server: str = "", identity: bytes = b"", hwm: int = 1000
    ) -> Generator["zmq.Socket[bytes]"]:
        """Give a client's socket; what it does not know of the desk is taken from here."""
        with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
            public, secret = self.keys[name]
            socket.set(zmq.LINGER, 0)
            socket.set(zmq.RCVHWM, hwm)
            socket.set(zmq.RECONNECT_IVL, 200)
            socket.set(zmq.CURVE_PUBLICKEY, public.encode())
            socket.set(zmq.CURVE_SECRETKEY, secret.encode())
            socket.set(zmq.CURVE_SERVERKEY, (server or self.server).encode())
            if identity:
                socket.set(zmq.IDENTITY, identity)
            socket.connect(self.url)
            yield socket

    def ask(self, name: str, *frames: bytes, identity: bytes = b"") -> dict[str, Any]:
        """Send one message as a client and give the answer."""
        with self.connected(name, identity=identity) as socket:
            socket.send_multipart(list(frames))
            return answer(socket)

    def records(self, after: int = 0) -> list[Entry]:
        """Give the audit trail's records behind one."""
        reader = Reader.open(store_path(self.desk.state, "console"))
        try:
            return [entry for _, entry in entries(reader, after)]
        finally:
            reader.close()

    def until_recorded(self, after: int, **wanted: object) -> Entry:
        """Wait for a record that is so."""
        deadline_ns = self.desk.clock.monotonic_ns() + int(PATIENCE_S * NS_PER_S)
        while self.desk.clock.monotonic_ns() < deadline_ns:
            for entry in self.records(after):
                if all(getattr(entry, key) == value for key, value in wanted.items()):
                    return entry
            time.sleep(PAUSE_S)
        msg = f"no record {wanted} in {self.records(after)}"
        raise AssertionError(msg)

    def moved(self) -> dict[str, Any]:
        """Give everything that a refused attempt must not change."""
        status = self.desk.status()
        return {
            "processes": {row["path"]: (row["pid"], row["state"], row["restarts"]) for row in status["tree"]},
            "positions": self.desk.positions(),
            "orders": self.desk.orders(),
            "halted": status["desk"]["halted"],
            "overrides": status["desk"]["overrides"],
        }


def answer(socket: "zmq.Socket[bytes]") -> dict[str, Any]:
    assert socket.poll(int(PATIENCE_S * 1000)), "no answer"
    return json.loads(socket.recv())


def now_ms(desk: Desk, off_s: float = 0) -> int:
    return desk.clock.wall_ns() // NS_PER_MS + int(off_s * 1000)


def request(desk: Desk, verb: str, **more: Any) -> dict[str, Any]:
    return {"v": 1, "id": fresh_id(), "verb": verb, "at": now_ms(desk), **more}


def said(document: dict[str, Any]) -> bytes:
    return json.dumps(document).encode()


def free_port() -> int:
    with network.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    """Give a desk on a silent market, with one position's worth of nothing to lose but its peace."""
    folder = with_obedient(tmp_path_factory.mktemp("guarded"))
    port = free_port()
    with Publisher() as publisher:
        control = f"  control: {{listen: 'tcp://127.0.0.1:{port}'}}\n"
        sockets = socket_folder(folder / "var")
        commander = f"  - {{name: commander, symbol: CCC, strategy: commander, parameters: {{folder: {sockets}}}}}\n"
        (folder / "strategies" / "commander.py").write_text(COMMANDER, encoding="utf-8")
        text = f"strategies:\n{obedient('a', 'AAA')}{obedient('b', 'BBB')}{commander}global:\n  zmq_market_url: {publisher.url}\n"
        with Desk(folder, text + control) as desk:
            doors = Doors(desk, f"tcp://127.0.0.1:{port}", folder / "control_clients.json")
            desk.start().until_up()
            yield doors


@pytest.fixture
def peace(doors: Doors) -> Iterator[int]:
    """Hold that a test moved nothing and that the desk still answers; give the trail's head before it."""
    before, head = doors.moved(), len(doors.records())
    yield head
    assert doors.moved() == before
    assert doors.ask("reader", said(request(doors.desk, "status")))["result"]["desk"]["state"] == "RUNNING"


# --- what a listed client may not say ---------------------------------------------------------------

DEEP = b'{"v": 1, "id": "d", "verb": "stop", "arguments": {"reason": ' + b"[" * 20_000


class Wrong(NamedTuple):
    """One message that comes to nothing: made for a desk, and what the answer's code is."""

    make: Callable[[Desk], list[bytes]]
    code: str


def _stop(off_s: float = 0, **more: Any) -> Callable[[Desk], list[bytes]]:
    """Make a message that would stop the desk, were it not for this."""
    return lambda desk: [said({**request(desk, "stop"), "at": now_ms(desk, off_s), **more})]


def _frames(*frames: bytes) -> Callable[[Desk], list[bytes]]:
    """Make the same message for any desk."""
    return lambda _: list(frames)


def _around(frames: Callable[[bytes], list[bytes]]) -> Callable[[Desk], list[bytes]]:
    """Make frames around a good request to stop."""
    return lambda desk: frames(said(request(desk, "stop")))


WRONG = {
    "nothing": Wrong(_frames(b""), "malformed"),
    "garbage": Wrong(_frames(bytes(range(256))), "malformed"),
    "not UTF-8": Wrong(_frames(b'{"v": 1, "id": "\xff", "verb": "stop"}'), "malformed"),
    "no JSON": Wrong(_frames(b"stop"), "malformed"),
    "another language's JSON": Wrong(_frames(b"{'v': 1, 'id': 'a', 'verb': 'stop'}"), "malformed"),
    "deep nesting": Wrong(_frames(DEEP), "malformed"),
    "a huge number": Wrong(_stop(at=10**300), "malformed"),
    "not a number": Wrong(_stop(at=float("nan")), "malformed"),
    "a key twice": Wrong(_around(lambda good: [good[:-1] + b', "verb": "stop"}']), "malformed"),
    "an id of another type": Wrong(_stop(id=7), "malformed"),
    "a verb of another type": Wrong(_stop(verb=["stop"]), "malformed"),
    "arguments of another type": Wrong(_stop(arguments="all"), "malformed"),
    "an unknown key": Wrong(_stop(role="admin"), "malformed"),
    "an endless id": Wrong(_stop(id="x" * 129), "malformed"),
    "two frames": Wrong(_around(lambda good: [b"", good]), "malformed"),
    "a thousand frames": Wrong(_around(lambda good: [good] * 1000), "malformed"),
    "65 KiB": Wrong(_around(lambda good: [good.ljust(65 * 1024)]), "too_large"),
    "128 KiB": Wrong(_around(lambda good: [good.ljust(128 * 1024)]), "too_large"),
    "another version": Wrong(_stop(v=2), "unsupported_version"),
    "an unknown verb": Wrong(_stop(verb="sell_everything"), "unknown_verb"),
    "an unknown argument": Wrong(_stop(arguments={"force": True}), "bad_arguments"),
    "a missing argument": Wrong(_stop(verb="disable"), "bad_arguments"),
    "an argument of another type": Wrong(_stop(arguments={"reason": {"a": 1}}), "bad_arguments"),
    "an endless reason": Wrong(_stop(arguments={"reason": "x" * 1001}), "bad_arguments"),
    "no time": Wrong(_stop(at=None), "stale"),
    "an old request": Wrong(_stop(off_s=-75), "stale"),
    "a request from the future": Wrong(_stop(off_s=75), "stale"),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG.keys())
def test_even_an_admin_s_malformed_request_is_refused_and_recorded(doors: Doors, peace: int, wrong: Wrong) -> None:
    reply = doors.ask("admin", *wrong.make(doors.desk))

    assert (reply["code"], reply["result"], bool(reply["error"])) == (wrong.code, {}, True)
    assert doors.until_recorded(peace, kind="refused", code=wrong.code, client="admin").peer == "127.0.0.1"


def test_a_client_that_names_its_own_connection_is_refused(doors: Doors, peace: int) -> None:
    reply = doors.ask("admin", said(request(doors.desk, "stop")), identity=b"somebody else")

    assert reply["code"] == "malformed"
    assert doors.until_recorded(peace, kind="refused", code="malformed")


# --- roles ------------------------------------------------------------------------------------------

FORBIDDEN = [(client, verb) for client in ("reader", "operator") for verb in VERBS if VERBS[verb].role > Role[{"reader": "READ", "operator": "OPERATE"}[client]]]  # fmt: skip


@pytest.mark.parametrize(("client", "verb"), FORBIDDEN)
def test_a_role_cannot_send_what_is_above_it(doors: Doors, peace: int, client: str, verb: str) -> None:
    arguments = {"name": "a", "path": "strategies/a", "reason": "because"}
    known = VERBS[verb].arguments.__struct_fields__
    own = {key: value for key, value in arguments.items() if key in known}

    reply = doors.ask(client, said(request(doors.desk, verb, arguments=own)))

    assert (reply["code"], reply["error"]) == (
        "unauthorised",
        f"{verb} needs the role {VERBS[verb].role.word}; {client} has {LISTED[client]}",
    )
    assert doors.until_recorded(peace, kind="refused", verb=verb, client=client, code="unauthorised")


def test_each_role_can_send_what_is_its_own(doors: Doors) -> None:
    desk = doors.desk
    head = len(doors.records())

    seen = doors.ask("reader", said(request(desk, "status")))
    disabled = doors.ask("operator", said(request(desk, "disable", arguments={"name": "a", "reason": "lunch"})))
    desk.until(lambda status: status["strategies"][0]["state"] == "DISABLED")
    enabled = doors.ask("admin", said(request(desk, "enable", arguments={"name": "a"})))
    desk.until(lambda status: status["strategies"][0]["state"] == "RUNNING")

    assert [reply["code"] for reply in (seen, disabled, enabled)] == ["ok", "ok", "ok"]
    asked = doors.until_recorded(head, kind="asked", verb="disable")
    assert (asked.client, asked.role, asked.door, asked.reason, asked.arguments) == (
        "operator",
        "operate",
        "guarded",
        "lunch",
        {"name": "a"},
    )
    assert asked.key == fingerprint(doors.keys["operator"][0])
    assert doors.until_recorded(head, kind="answered", request=asked.request).code == "ok"


# --- once, and once only ----------------------------------------------------------------------------


def test_a_repeated_request_gets_the_first_answer_and_no_second_effect(doors: Doors) -> None:
    desk = doors.desk
    restart = request(desk, "restart", arguments={"path": "strategies/b"})
    before = desk.pids()
    first = doors.ask("operator", said(restart))
    desk.until(lambda _: desk.pids().get("strategies/b") not in {None, before["strategies/b"]})
    after = desk.pids()

    again = [doors.ask("operator", said({**restart, "at": at})) for at in (restart["at"], now_ms(desk), 1)]

    assert [reply["code"] for reply in (first, *again)] == ["ok"] * 4
    assert desk.pids() == after
    records = [entry for entry in doors.records() if entry.request == restart["id"]]
    assert [entry.kind for entry in records] == ["asked", "answered"]


def test_an_id_that_was_used_for_something_else_is_refused(doors: Doors) -> None:
    desk = doors.desk
    cancel = request(desk, "cancel", arguments={"name": "a"})
    assert doors.ask("operator", said(cancel))["code"] == "ok"
    before, head = doors.moved(), len(doors.records())

    reply = doors.ask("operator", said({**cancel, "verb": "halt", "arguments": {}}))

    assert reply["code"] == "replayed"
    assert doors.until_recorded(head, kind="refused", code="replayed", client="operator")
    assert doors.moved() == before


def test_a_client_cannot_find_another_s_answer_by_its_id(doors: Doors) -> None:
    desk = doors.desk
    restart = request(desk, "restart", arguments={"path": "strategies/nobody"})
    refused = doors.ask("operator", said(restart))

    other = doors.ask("admin", said({**restart, "verb": "cancel", "arguments": {"name": "a"}}))

    assert (refused["code"], other["code"]) == ("refused", "ok")


@pytest.mark.slow
def test_a_request_is_carried_out_once_across_a_fall_of_the_console_and_a_restart_of_the_desk(doors: Doors) -> None:
    desk = doors.desk
    restart = request(desk, "restart", arguments={"path": "strategies/a"})
    before = desk.pids()
    doors.ask("operator", said(restart))
    desk.until(lambda _: desk.pids().get("strategies/a") not in {None, before["strategies/a"]})
    desk.until(lambda status: status["desk"]["state"] == "RUNNING")
    console = desk.kill("console")
    desk.until(
        lambda status: desk.pids().get("console") not in {None, console} and status["desk"]["state"] == "RUNNING"
    )
    pids = desk.pids()

    after_fall = doors.ask("operator", said(restart))
    unmoved = desk.pids() == pids
    desk.ask("stop", reason="restart")
    assert desk.wait() == 0
    desk.start().until_up()
    desk.until(lambda status: status["desk"]["state"] == "RUNNING")
    pids = desk.pids()
    after_start = doors.ask("operator", said(restart))

    assert (after_fall["code"], unmoved) == ("ok", True)
    assert (after_start["code"], desk.pids()) == ("ok", pids)


# --- who may not enter ------------------------------------------------------------------------------


def test_a_key_that_is_not_listed_does_not_enter(doors: Doors, peace: int) -> None:
    with doors.connected("stranger") as socket:
        socket.send(said(request(doors.desk, "stop")))
        entry = doors.until_recorded(peace, kind="refused", key=fingerprint(doors.keys["stranger"][0]))
        is_answered = socket.poll(0)

    assert (entry.code, entry.client, entry.peer, is_answered) == ("unauthorised", "", "127.0.0.1", 0)


def test_a_client_that_is_removed_loses_its_open_connection_s_rights_at_once(doors: Doors, peace: int) -> None:
    with doors.connected("leaver") as socket:
        socket.send(said(request(doors.desk, "ping")))
        assert answer(socket)["code"] == "ok"
        doors.allow(*(name for name in LISTED if name != "leaver"))
        doors.until_recorded(peace, error=f"clients: leaver ({fingerprint(doors.keys['leaver'][0])}) is removed")

        socket.send(said(request(doors.desk, "stop")))
        reply = answer(socket)
    doors.allow(*LISTED)
    doors.until_recorded(peace, error=f"clients: leaver ({fingerprint(doors.keys['leaver'][0])}) is added as admin")

    assert (reply["code"], reply["error"]) == ("unauthorised", "this key is not listed any more")
    assert doors.until_recorded(peace, kind="refused", error="this key is not listed any more")


def test_a_wrong_list_of_clients_changes_nothing_and_raises_an_alarm(doors: Doors, peace: int) -> None:
    good = doors.clients.read_text(encoding="utf-8")
    doors.clients.write_text(good.replace('"admin"', '"root"'), encoding="utf-8")
    alarmed = doors.desk.until(lambda status: any("has the role 'root'" in alarm for alarm in status["alarms"]))
    still = doors.ask("admin", said(request(doors.desk, "ping")))
    doors.clients.write_text(good, encoding="utf-8")
    doors.desk.until(lambda status: not any("the role" in alarm for alarm in status["alarms"]))

    assert still["code"] == "ok"
    assert "The clients that were listed before stay so" in str(alarmed["alarms"])
    assert len(doors.records()) >= peace


def _raw(doors: Doors, data: bytes) -> network.socket:
    raw = network.create_connection(("127.0.0.1", int(doors.url.rpartition(":")[2])), timeout=COMMAND_S)
    raw.sendall(data)
    return raw


GREETING = bytes.fromhex("ff00000000000000017f0301") + b"CURVE".ljust(20, b"\0") + bytes(32)
NO_PROOF = {
    "nothing": b"",
    "a browser": b"POST /stop HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n",
    "random bytes": bytes(range(256)) * 8,
    "a mechanism without keys": GREETING.replace(b"CURVE", b"NULL\0") + b"\x04\x05\x05READY",
    "half a greeting": GREETING[:20],
    "half a handshake": GREETING,
    "a false hello": GREETING + b"\x04\xc8" + b"\x05HELLO" + bytes(194),
    "a gigantic frame": GREETING + b"\x02" + b"\x7f" + b"\xff" * 7 + b"x" * 1000,
}


def test_whoever_proves_no_key_is_put_out_and_counted(doors: Doors, peace: int) -> None:
    was = doors.desk.status()["control"]["guarded"]["strangers"]
    raws = [_raw(doors, data) for data in NO_PROOF.values()]
    dribbler = _raw(doors, b"")
    with zmq.Context() as context, context.socket(zmq.DEALER) as plain:
        plain.set(zmq.LINGER, 0)
        plain.set(zmq.RECONNECT_IVL, -1)
        plain.connect(doors.url)
        plain.send(said(request(doors.desk, "stop")))
        sent, is_out = 0, False
        while not is_out:  # one byte of the greeting at a time, for as long as the door bears it
            with suppress(TimeoutError):
                dribbler.settimeout(0.1)
                is_out = sent > len(GREETING) or dribbler.recv(100) == b""
            try:
                dribbler.send(GREETING[sent : sent + 1] or b"\0")
            except OSError:
                is_out = True
            sent += 1
        dribbler.close()
        ended = [_until_put_out(raw) for raw in raws]
        is_answered = plain.poll(0)
    doors.desk.until(lambda status: status["control"]["guarded"]["strangers"] >= was + len(NO_PROOF) + 2)

    assert (is_answered, ended) == (0, [True] * len(NO_PROOF))
    assert doors.until_recorded(peace, kind="refused", door="guarded", code="unauthorised", client="")


def _until_put_out(raw: network.socket) -> bool:
    raw.settimeout(COMMAND_S)
    try:
        while raw.recv(4096):
            pass
    except ConnectionError:
        pass
    except TimeoutError:
        return False
    finally:
        raw.close()
    return True


@pytest.mark.slow
def test_a_client_that_is_led_to_another_desk_says_nothing_there(doors: Doors, peace: int) -> None:
    was = doors.desk.status()["control"]["guarded"]["strangers"]
    with doors.connected("admin", server=new_keys()[0]) as socket:
        socket.send(said(request(doors.desk, "stop")))
        doors.desk.until(lambda status: status["control"]["guarded"]["strangers"] > was)
        is_answered = socket.poll(0)

    assert is_answered == 0
    assert len(doors.records()) >= peace


@pytest.mark.parametrize("size", [2 << 20, 64 << 20], ids=["2 MiB", "64 MiB"])
def test_a_frame_far_too_large_costs_its_own_connection_and_no_other(doors: Doors, peace: int, size: int) -> None:
    with doors.connected("admin") as good, doors.connected("flooder") as bad:
        good.send(said(request(doors.desk, "ping")))
        assert answer(good)["code"] == "ok"
        bad.send(b"x" * size)
        bad.send(said(request(doors.desk, "ping")))
        while not bad.poll(500):  # what is sent into the broken connection is lost; libzmq makes another one
            bad.send(said(request(doors.desk, "ping")))
        after = answer(bad)
        good.send(said(request(doors.desk, "ping")))
        same = answer(good)

    assert (after["code"], same["code"]) == ("ok", "ok")
    assert len(doors.records()) >= peace


def test_a_client_that_never_reads_holds_up_nobody(doors: Doors, peace: int) -> None:
    with doors.connected("flooder", hwm=1) as deaf:
        for _ in range(90):
            deaf.send(said(request(doors.desk, "status")))
        prompt = doors.ask("reader", said(request(doors.desk, "status")))

    assert prompt["code"] == "ok"
    assert len(doors.records()) >= peace


def test_who_asks_too_fast_is_told_so_and_others_are_not(doors: Doors, peace: int) -> None:
    with doors.connected("flooder") as fast:
        codes, prompt = list[str](), list[str]()
        for _ in range(5):  # more answers than a hundred may be lost to a client that does not read
            for _ in range(80):
                fast.send(said(request(doors.desk, "ping")))
            prompt.append(doors.ask("reader", said(request(doors.desk, "ping")))["code"])
            codes += [answer(fast)["code"] for _ in range(80)]

    assert set(prompt) == {"ok"}
    assert set(codes) == {"ok", "rate_limited"}
    assert doors.until_recorded(peace, kind="refused", code="rate_limited", client="flooder")
    assert sum(entry.code == "rate_limited" for entry in doors.records(peace)) < 60


# --- clients as the document shows them ---------------------------------------------------------------


def test_the_client_of_the_document_works_at_both_doors(doors: Doors, tmp_path: Path) -> None:
    (program,) = re.findall(r"^```python\n(.*?)^```$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    file, public, secret = tmp_path / "client.py", *doors.keys["operator"]
    file.write_text(program, encoding="utf-8")
    write_key_file(tmp_path / "key", KeyFile("operator", doors.url, doors.server, public, secret))

    answers = [
        _run(file, where, "cancel", "name=a", "reason=why not") for where in (doors.desk.state, tmp_path / "key")
    ]

    assert [one["code"] for one in answers] == ["ok", "ok"]
    assert [
        (one.client, one.reason) for one in doors.records() if one.request in {a["id"] for a in answers} and one.reason
    ] == [
        ("local", "why not"),
        ("operator", "why not"),
    ]
    assert len(program.strip().splitlines()) < 25


def _run(program: Path, where: Path, *words: str) -> dict[str, Any]:
    command = [sys.executable, str(program), str(where), *words]
    return json.loads(subprocess.run(command, capture_output=True, timeout=COMMAND_S, check=True).stdout)


def test_the_local_door_needs_nothing_but_a_unix_socket_and_json(doors: Doors, peace: int) -> None:
    folder = (doors.desk.state / "endpoints").read_text(encoding="utf-8").strip()
    properties = b"".join(
        bytes([len(key)]) + key + len(value).to_bytes(4, "big") + value
        for key, value in ((b"Socket-Type", b"DEALER"), (b"Identity", b""))
    )
    body = said(request(doors.desk, "ping"))
    with network.socket(network.AF_UNIX) as raw:
        raw.settimeout(COMMAND_S)
        raw.connect(f"{folder}/control")
        raw.sendall(bytes.fromhex("ff00000000000000017f0300") + b"NULL".ljust(20, b"\0") + bytes(32))
        _take(raw, 64)
        raw.sendall(b"\x04" + bytes([len(properties) + 6]) + b"\x05READY" + properties)
        _take(raw, _take(raw, 2)[1])
        raw.sendall(b"\x00" + bytes([len(body)]) + body)
        flags, length = _take(raw, 2)
        reply = json.loads(_take(raw, length))

    assert (flags, reply["code"], reply["id"]) == (0, "ok", json.loads(body)["id"])
    assert len(doors.records()) >= peace


def _take(raw: network.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        data += (more := raw.recv(count - len(data)))
        assert more, "the door was shut"
    return data


def test_a_strategy_cannot_command_the_desk_that_runs_it(doors: Doors) -> None:
    records = [entry for entry in doors.records() if entry.error == "a process of the desk itself sends no commands"]

    assert [(entry.kind, entry.code, entry.door) for entry in records[:1]] == [("refused", "unauthorised", "local")]
    assert doors.desk.strategy("commander")["state"] == "RUNNING"
    assert doors.desk.status()["desk"]["halted"] == ""


# --- the command line with a key --------------------------------------------------------------------


def _with_key(doors: Doors, file: Path, *words: str) -> Said:
    return bulkhead("--key", file, *words, state=doors.desk.folder / "nowhere")


@pytest.mark.slow
def test_an_operator_elsewhere_uses_the_same_commands_with_a_key(doors: Doors, tmp_path: Path) -> None:
    public, secret = doors.keys["operator"]
    file = tmp_path / "operator.key"
    write_key_file(file, KeyFile("operator", doors.url, doors.server, public, secret))

    status = _with_key(doors, file, "status", "--json")
    cancelled = _with_key(doors, file, "cancel", "a")
    refused = _with_key(doors, file, "resume")
    books = _with_key(doors, file, "orders")

    assert (status.code, status.json["desk"]["state"]) == (0, "RUNNING")
    assert (cancelled.code, cancelled.out) == (0, "working entries are being cancelled\n")
    assert (refused.code, refused.err) == (3, "resume needs the role admin; operator has operate\n")
    assert (books.code, "on the desk's own machine alone" in books.err) == (3, True)


def test_a_key_file_that_does_not_fit_gets_a_sentence(doors: Doors, tmp_path: Path) -> None:
    public, secret = doors.keys["stranger"]
    unlisted, strange, open_to_all = (tmp_path / name for name in ("unlisted", "strange", "open"))
    write_key_file(unlisted, KeyFile("stranger", doors.url, doors.server, public, secret))
    write_key_file(strange, KeyFile("stranger", doors.url, new_keys()[0], public, secret))
    write_key_file(open_to_all, KeyFile("stranger", doors.url, doors.server, public, secret))
    open_to_all.chmod(0o644)

    ends = {
        unlisted: "the desk does not list this key",
        strange: "has another key than the key file says, or is no desk",
        open_to_all: "chmod 600 .*; nothing was asked",
        tmp_path / "none": "nothing was asked",
    }
    for file, end in ends.items():
        with pytest.raises(DeskDownError, match=f"{end}$") as caught:
            ask_remote(Remote(file), "status", {}, doors.desk.clock)
        assert secret not in str(caught.value)


def test_keys_are_made_listed_and_removed_by_command(doors: Doors, tmp_path: Path) -> None:
    file, out = doors.desk.file, tmp_path / "ann.key"
    state = ["--state", str(doors.desk.state)]
    made = _keys("new", "ann", "--role", "read", "--config", str(file), "--out", str(out), *state)
    doors.until_recorded(0, error=f"clients: ann ({_listed_key(doors, 'ann')}) is added as read")
    entered = ask_remote(Remote(out), "status", {}, doors.desk.clock)["desk"]["state"]
    again = _keys("new", "ann", "--config", str(file), "--out", str(tmp_path / "2.key"), *state)
    key = _listed_key(doors, "ann")
    removed = _keys("remove", "ann", "--config", str(file))
    doors.until_recorded(0, error=f"clients: ann ({key}) is removed")
    with pytest.raises(DeskDownError, match="does not list this key"):
        ask_remote(Remote(out), "status", {}, doors.desk.clock)

    assert (made.exit_code, out.stat().st_mode & 0o777) == (0, 0o600)
    assert json.loads(out.read_bytes())["secret"] not in made.output
    assert (entered, again.exit_code, removed.exit_code) == ("RUNNING", 3, 0)
    assert "ann is listed in" in again.output
    assert not (tmp_path / "2.key").exists()


def _keys(*words: str) -> Result:
    return CliRunner().invoke(app, ["keys", *words])


def _listed_key(doors: Doors, name: str) -> str:
    listed = json.loads(_keys("list", "--config", str(doors.desk.file), "--json").output)
    return next(row["key"] for row in listed if row["name"] == name)


# --- the trail and the secret -----------------------------------------------------------------------


def test_the_trail_is_shown_with_who_what_why_and_what_came_of_it(doors: Doors) -> None:
    doors.ask("operator", said(request(doors.desk, "cancel", arguments={"name": "b", "reason": "a test of the trail"})))

    shown = bulkhead("audit", state=doors.desk.state)
    rows = audit_view(enumerate(doors.records(), 1), 3)

    text = " ".join(shown.out.split())
    assert shown.code == 0
    assert "operator at 127.0.0.1: cancel name=b (a test of the trail): done" in text
    assert len(rows) == 3
    assert max(map(len, shown.out.splitlines())) <= 80


def test_the_desk_s_secret_is_in_its_own_file_and_nowhere_else(doors: Doors) -> None:
    file = doors.desk.state / "keys" / "control.secret"
    secret = file.read_bytes().strip()
    others = [path for path in doors.desk.folder.rglob("*") if path.is_file() and path != file]
    strategies = [pid for path, pid in doors.desk.pids().items() if path != "console"]

    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert [path for path in others if secret in path.read_bytes()] == []
    assert [pid for pid in strategies if _remembers(pid, secret)] == []
    assert [pid for pid in doors.desk.descendants() if secret in Path(f"/proc/{pid}/environ").read_bytes()] == []
    assert [pid for pid in doors.desk.descendants() if secret in Path(f"/proc/{pid}/cmdline").read_bytes()] == []


def _remembers(pid: int, secret: bytes) -> bool:
    """Look through everything that a process may write to."""
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text(encoding="utf-8").splitlines():
            place, rights, *_ = line.split()
            start, end = (int(part, 16) for part in place.split("-"))
            if "rw" in rights and end - start < 1 << 28:
                with suppress(OSError, ValueError, OverflowError):
                    memory.seek(start)
                    if secret in memory.read(end - start):
                        return True
    return False


# --- floods -----------------------------------------------------------------------------------------

FLOOD_S = 10


def _watched(doors: Doors, flood: Callable[[], None]) -> list[float]:
    """Run a flood for a while; give how long the local door took to answer meanwhile, in seconds."""
    took: list[float] = []
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(flood)
        while not running.done():
            before_ns = doors.desk.clock.monotonic_ns()
            assert doors.desk.status()["desk"]["state"] == "RUNNING"
            took.append((doors.desk.clock.monotonic_ns() - before_ns) / NS_PER_S)
            time.sleep(PAUSE_S)
        running.result()
    return took


def _halts_meanwhile(doors: Doors) -> None:
    """Hold that the console still looks at its files: a halt by hand is seen, and a list of clients is read."""
    (doors.desk.state / "HALT").write_text("by hand\n", encoding="utf-8")
    assert doors.desk.status()["desk"]["halted"] == "by hand"
    (doors.desk.state / "HALT").unlink()


@pytest.mark.slow
def test_a_flood_of_requests_costs_nobody_else_anything(doors: Doors, peace: int) -> None:
    before = doors.desk.row("console")["cpu_s"]

    def flood() -> None:
        body = said(request(doors.desk, "status"))
        end_ns = doors.desk.clock.monotonic_ns() + FLOOD_S * NS_PER_S
        with doors.connected("flooder") as one, doors.connected("flooder") as two:
            while doors.desk.clock.monotonic_ns() < end_ns:
                for socket in (one, two):
                    with suppress(zmq.Again):
                        socket.send(body, zmq.NOBLOCK)
                    while socket.poll(0):
                        socket.recv()

    took = _watched(doors, flood)
    _halts_meanwhile(doors)

    assert max(took) < PATIENCE_S / 4
    assert doors.desk.row("console")["cpu_s"] - before < FLOOD_S
    assert sum(entry.code == "rate_limited" for entry in doors.records(peace)) < 60


@pytest.mark.slow
def test_a_flood_of_connections_shuts_the_guarded_door_for_a_moment_and_nothing_else(doors: Doors, peace: int) -> None:
    port = int(doors.url.rpartition(":")[2])
    most = 0

    def flood() -> None:
        nonlocal most
        held: list[network.socket] = []
        end_ns = doors.desk.clock.monotonic_ns() + FLOOD_S * NS_PER_S
        console = doors.desk.pids()["console"]
        while doors.desk.clock.monotonic_ns() < end_ns:
            with suppress(OSError):
                raw = network.socket()
                held.append(raw)
                raw.setblocking(False)
                raw.connect_ex(("127.0.0.1", port))
            most = max(most, len(list(Path(f"/proc/{console}/fd").iterdir()))) if len(held) % 50 == 0 else most
            if len(held) > 600:
                held.pop(0).close()
        for raw in held:
            raw.close()

    _watched(doors, flood)
    _halts_meanwhile(doors)
    doors.desk.until(lambda status: not status["control"]["guarded"]["fault"])
    shuts = doors.desk.status()["control"]["guarded"]["shuts"]

    assert shuts > 0
    assert most < 1000
    assert any("more than 256 connections" in entry.error for entry in doors.records(peace))


@pytest.mark.slow
def test_an_endless_message_of_many_frames_does_not_eat_the_desk_s_memory(doors: Doors, peace: int) -> None:
    frame = b"x" * 65_536

    def flood() -> None:
        end_ns = doors.desk.clock.monotonic_ns() + FLOOD_S * NS_PER_S
        with doors.connected("flooder") as socket:
            while doors.desk.clock.monotonic_ns() < end_ns:
                with suppress(zmq.Again):
                    socket.send(frame, zmq.SNDMORE | zmq.NOBLOCK)

    most = 0
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(flood)
        while not running.done():
            most = max(most, doors.desk.row("console")["rss_bytes"])
            time.sleep(PAUSE_S)
        running.result()
    doors.desk.until(lambda status: not status["control"]["guarded"]["fault"])

    assert most < 1 << 30
    assert len(doors.records()) >= peace
