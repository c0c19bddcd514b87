"""Requests of the control socket: what is one, what is none, and that every verb has one role."""

import json
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actors.console import room
from actors.console.audit import Audit
from actors.console.desired import Desired
from actors.console.protocol import ID_LENGTH_MAX, REQUEST_BYTES_MAX, Code, Fault, Request, read_request
from actors.console.room import Console
from actors.console.verbs import VERBS, Arguments, Capital, Reasoned, Role, Verb, read_arguments
from actors.settings_file import load
from runtime.clock import Clock
from runtime.folder import Sentinel
from runtime.log import Log
from runtime.store import Store
from tests.actors.test_control_gate import needed

ROOT = Path(__file__).parents[2]
GOOD = {"v": 1, "id": "a", "verb": "ping"}

NOT_REQUESTS = {
    "nothing": (b"", Code.MALFORMED),
    "garbage": (b"\x00\xff garbage", Code.MALFORMED),
    "not UTF-8": (b'{"v": 1, "id": "\xe9", "verb": "ping"}', Code.MALFORMED),
    "UTF-16": (json.dumps(GOOD).encode("utf-16"), Code.MALFORMED),
    "half a character": (b'{"v": 1, "id": "\\ud800", "verb": "ping"}', Code.MALFORMED),
    "a list": (b"[1, 2]", Code.MALFORMED),
    "two documents": (b'{"v": 1, "id": "a", "verb": "ping"} {}', Code.MALFORMED),
    "a comment": (b'{"v": 1, "id": "a", "verb": "ping"} // so', Code.MALFORMED),
    "deep": (b'{"v": 1, "id": "a", "verb": "ping", "arguments": {"a": ' + b"[" * 30_000, Code.MALFORMED),
    "deep and closed": (b'{"v": 1, "id": "a", "verb": "ping", "arguments": {"a": ' + b"[" * 30_000 + b"]" * 30_000 + b"}}", Code.MALFORMED),
    "NaN": (b'{"v": 1, "id": "a", "verb": "ping", "arguments": {"a": NaN}}', Code.MALFORMED),
    "infinity": (b'{"v": 1, "id": "a", "verb": "ping", "arguments": {"a": -Infinity}}', Code.MALFORMED),
    "a number of ten thousand digits": (b'{"v": 1, "id": "a", "verb": "ping", "at": ' + b"9" * 10_000 + b"}", Code.MALFORMED),
    "a number too large for JSON": (b'{"v": 1, "id": "a", "verb": "ping", "at": 9007199254740993}', Code.MALFORMED),
    "a time before the epoch": (b'{"v": 1, "id": "a", "verb": "ping", "at": -1}', Code.MALFORMED),
    "a key twice": (b'{"v": 1, "id": "a", "verb": "ping", "verb": "stop"}', Code.MALFORMED),
    "an argument twice": (b'{"v": 1, "id": "a", "verb": "disable", "arguments": {"name": "a", "name": "b"}}', Code.MALFORMED),
    "an unknown key": (b'{"v": 1, "id": "a", "verb": "ping", "sudo": true}', Code.MALFORMED),
    "no verb": (b'{"v": 1, "id": "a"}', Code.MALFORMED),
    "a version of another type": (b'{"v": "1", "id": "a", "verb": "ping"}', Code.MALFORMED),
    "a version with a fraction": (b'{"v": 1.5, "id": "a", "verb": "ping"}', Code.MALFORMED),
    "another version": (b'{"v": 2, "id": "a", "verb": "ping"}', Code.UNSUPPORTED_VERSION),
    "another version of another shape": (b'{"v": 2, "id": "a", "verb": ["ping"], "since": 5}', Code.UNSUPPORTED_VERSION),
    "arguments of another type": (b'{"v": 1, "id": "a", "verb": "ping", "arguments": [1]}', Code.MALFORMED),
    "no id": (b'{"v": 1, "id": "", "verb": "ping"}', Code.MALFORMED),
    "a long id": (b'{"v": 1, "id": "' + b"a" * (ID_LENGTH_MAX + 1) + b'", "verb": "ping"}', Code.MALFORMED),
    "one byte too many": (b'{"v": 1, "id": "a", "verb": "ping"}'.ljust(REQUEST_BYTES_MAX + 1), Code.TOO_LARGE),
}  # fmt: skip


@pytest.mark.parametrize(("data", "code"), NOT_REQUESTS.values(), ids=NOT_REQUESTS.keys())
def test_what_is_no_request_is_refused_with_a_code_and_words(data: bytes, code: Code) -> None:
    fault = read_request([data])

    assert isinstance(fault, Fault)
    assert (fault.code, fault.words[:13]) == (code, "not a request")


@pytest.mark.parametrize(
    "words", ['"v": 2, "verb": "ping"', '"v": 1, "verb": "ping", "sudo": true', '"v": "1", "verb": "ping"', '"v": 1'],
)  # fmt: skip
def test_the_answer_to_what_is_no_request_names_it_where_its_id_can_be_read(words: str) -> None:
    fault = read_request([b'{"id": "a", ' + words.encode() + b"}"])

    assert isinstance(fault, Fault)
    assert fault.id == "a"
    assert len(fault.words) <= 500


@pytest.mark.parametrize("count", [0, 2, 3, 1000])
def test_several_frames_are_no_request(count: int) -> None:
    fault = read_request([json.dumps(GOOD).encode()] * count)

    assert fault == Fault(Code.MALFORMED, f"not a request: {count} frames; send one frame of JSON")


def test_the_largest_request_is_read() -> None:
    assert read_request([json.dumps(GOOD).encode().ljust(REQUEST_BYTES_MAX)]) == Request(1, "a", "ping")


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=300))
def test_no_bytes_break_the_reader(data: bytes) -> None:
    assert isinstance(read_request([data]), Fault | Request)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(["v", "id", "verb", "arguments", "at", "more"]), VALUES))
def test_whatever_is_read_is_what_was_sent(document: dict[str, object]) -> None:
    found = read_request([json.dumps(document).encode()])

    if isinstance(found, Request):
        assert document.items() >= {"v": found.v, "id": found.id, "verb": found.verb}.items()
        assert document.keys() <= {"v", "id", "verb", "arguments", "at"}


# --- verbs ------------------------------------------------------------------------------------------


def _console(folder: Path) -> Console:
    settings = load(ROOT / "config" / "strategies.yaml").settings
    assert settings is not None
    audit = Audit(Store.open(folder / "audit"), "1-1")
    desired = Desired(settings, folder / "none.yaml", folder, Clock(), Log("console"))
    return Console(desired, Sentinel(folder), audit, folder, Clock(), Log("console"))


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_has_one_role_and_knows_its_arguments(name: str) -> None:
    verb = VERBS[name]

    assert verb.role in Role
    assert issubclass(verb.arguments, Arguments)
    assert issubclass(verb.arguments, Reasoned) == verb.is_change, "every change takes a reason"


def test_a_console_with_a_verb_that_has_no_role_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "VERBS", {name: verb for name, verb in VERBS.items() if name != "halt"})

    with pytest.raises(AssertionError, match="one role and one method"):
        _console(tmp_path)


def test_a_console_with_a_verb_that_has_no_method_does_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "VERBS", {**VERBS, "sell_everything": Verb(Role.ADMIN, Reasoned)})

    with pytest.raises(AssertionError, match="one role and one method"):
        _console(tmp_path)


@pytest.mark.parametrize("figure", ["1e9999999", "-1e30", "1e-9999999", "0e-9999999", "1." + "0" * 28])
@pytest.mark.parametrize(("verb", "name"), [("capital", "amount"), ("adopt", "stop_loss"), ("resolve", "fee")])
def test_a_figure_with_more_digits_than_the_books_can_count_is_refused(verb: str, name: str, figure: str) -> None:
    needed = {
        "capital": {"action": "deposit"},
        "adopt": {"symbol": "QQQ", "quantity": "3", "strategy": "one"},
        "resolve": {"order": "o", "outcome": "filled"},
    }

    read = read_arguments(VERBS[verb], {**needed[verb], name: figure})

    assert read == f"{name} has more digits than the books can count"


@pytest.mark.parametrize("name", VERBS)
def test_an_argument_that_a_verb_does_not_name_is_refused(name: str) -> None:
    given = needed(name)

    assert isinstance(read_arguments(VERBS[name], given), Arguments)
    assert "unknown field `sudo`" in str(read_arguments(VERBS[name], {**given, "sudo": "yes"}))


def test_a_number_is_read_with_all_its_digits() -> None:
    figure = "123456789012.12345678"
    request = read_request([b'{"v": 1, "id": "a", "verb": "capital", "arguments": {"amount": %s}}' % figure.encode()])

    assert isinstance(request, Request)
    told = read_arguments(VERBS["capital"], {"action": "deposit", **request.arguments})
    assert isinstance(told, Capital)
    assert told.amount == Decimal(figure)


@pytest.mark.parametrize("number", ["1e99999999999999999999", "-1e-99999999999999999999"])
def test_a_number_that_nobody_can_count_with_is_no_request(number: str) -> None:
    found = read_request([b'{"v": 1, "id": "a", "verb": "capital", "arguments": {"amount": %s}}' % number.encode()])

    assert isinstance(found, Fault)
    assert (found.code, found.id) == (Code.MALFORMED, "a")
