"""Words on one strategy that come at once, from several clients or beside an edit: the last one that was taken holds."""

import json
import os
import signal
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import pytest
import zmq

from actors.console.audit import Entry, entries
from actors.makers import store_path
from runtime.ids import fresh_id
from runtime.store import Reader
from tests.desk_run.harness import PATIENCE_S, Desk
from tests.desk_run.publisher import Publisher, obedient, with_obedient

PATH = "strategies/a"


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """Give a running desk of one strategy on a silent market."""
    folder = with_obedient(tmp_path_factory.mktemp("last"))
    with Publisher() as publisher:
        text = f"strategies:\n{obedient('a', 'AAA')}global:\n  zmq_market_url: {publisher.url}\n"
        with Desk(folder, text) as desk:
            desk.start().until_up()
            yield desk


@pytest.fixture(autouse=True)
def _as_it_was(desk: Desk) -> Iterator[None]:
    """Begin with the file as it was first, and no operator's wish."""
    text = desk.file.read_text(encoding="utf-8")
    yield
    desk.file.write_text(text, encoding="utf-8")
    desk.ask("reload")
    desk.ask("enable", name="a")
    desk.until(lambda status: desk_of(status) == ("RUNNING", {}))


def desk_of(status: dict[str, Any]) -> tuple[str, dict[str, bool]]:
    """Give how the strategy is, and the operators' wishes that are kept."""
    return status["strategies"][0]["state"], status["desk"]["overrides"]


class Sent(NamedTuple):
    """A request on its way: who sent it, and its id."""

    client: "zmq.Socket[bytes]"
    request: str

    def answer(self) -> dict[str, Any]:
        """Wait for its answer."""
        assert self.client.poll(int(PATIENCE_S * 1000)), "nobody answered"
        reply: dict[str, Any] = json.loads(self.client.recv())
        assert reply["id"] == self.request
        return reply


@contextmanager
def clients(desk: Desk, count: int) -> Generator[list["zmq.Socket[bytes]"]]:
    """Give so many clients of the local door."""
    folder = (desk.state / "endpoints").read_text(encoding="utf-8").strip()
    with zmq.Context() as context, ExitStack() as open_ones:
        context.linger = 0
        sockets = [open_ones.enter_context(context.socket(zmq.DEALER)) for _ in range(count)]
        for socket in sockets:
            socket.connect(f"ipc://{folder}/control")
        yield sockets


def taken(desk: Desk, sent: Sent) -> Entry | None:
    """Give the trail's record of a request, once it is there."""
    reader = Reader.open(store_path(desk.state, "console"))
    try:
        return next((entry for _, entry in entries(reader) if entry.request == sent.request), None)
    finally:
        reader.close()


def send(desk: Desk, client: "zmq.Socket[bytes]", verb: str, **arguments: Any) -> Sent:
    """Send a request, and give it when it stands in the trail; its answer is not waited for, but may be there."""
    sent = Sent(client, fresh_id())
    client.send(json.dumps({"v": 1, "id": sent.request, "verb": verb, "arguments": arguments}).encode())
    while taken(desk, sent) is None:
        if client.poll(1):
            assert taken(desk, sent) is not None, client.recv()
    return sent


@contextmanager
def stopped(desk: Desk, path: str) -> Generator[None]:
    """Hold a process up for as long as the block lasts."""
    pid = desk.kill(path, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize(
    ("verbs", "state"),
    [
        (("disable", "enable"), "RUNNING"),
        (("enable", "disable"), "DISABLED"),
        (("disable", "enable", "disable"), "DISABLED"),
        (("disable", "disable", "enable"), "RUNNING"),
    ],
    ids=["off-on", "on-off", "off-on-off", "off-off-on"],
)
def test_of_words_that_come_at_once_the_last_one_holds(desk: Desk, verbs: tuple[str, ...], state: str) -> None:
    with clients(desk, len(verbs)) as sockets:
        with stopped(desk, "execution"):
            sent = [send(desk, client, verb, name="a") for client, verb in zip(sockets, verbs, strict=True)]
        replies = [each.answer() for each in sent]

    found = desk.until(lambda status: status["strategies"][0]["state"] in {"RUNNING", "DISABLED"})
    assert desk_of(found) == (state, {} if state == "RUNNING" else {PATH: False})
    assert replies[-1]["code"] == "ok"
    overtaken = [reply["error"] for verb, reply in zip(verbs, replies, strict=True) if verb != verbs[-1]]
    assert all(words == "" or f"{verbs[-1]}d" in words for words in overtaken)


def test_a_word_that_comes_while_an_edit_is_taken_in_holds_against_the_edit(desk: Desk) -> None:
    text = desk.file.read_text(encoding="utf-8")
    with clients(desk, 2) as (first, second):
        with stopped(desk, "execution"):
            disabled = send(desk, first, "disable", name="a")
        disabled.answer()
        desk.file.write_text(text.replace("enabled: true", "enabled: false"), encoding="utf-8")
        reloaded = send(desk, first, "reload")
        enabled = send(desk, second, "enable", name="a")

        replies = [reloaded.answer(), enabled.answer()]

    assert [reply["code"] for reply in replies] == ["ok", "ok"]
    assert desk_of(desk.until(lambda status: status["desk"]["state"] == "RUNNING")) == ("RUNNING", {PATH: True})


def test_an_edit_that_comes_while_a_word_waits_for_execution_holds_against_the_word(desk: Desk) -> None:
    text = desk.file.read_text(encoding="utf-8")
    desk.file.write_text(text.replace("enabled: true", "enabled: false"), encoding="utf-8")
    desk.ask("reload")
    desk.ask("enable", name="a")
    with clients(desk, 1) as (client,):
        with stopped(desk, "execution"):
            disabled = send(desk, client, "disable", name="a")
            desk.file.write_text(text, encoding="utf-8")
            desk.ask("reload")

        reply = disabled.answer()

    assert (reply["code"], "the file was edited" in reply["error"]) == ("refused", True)
    assert desk_of(desk.until(lambda status: status["desk"]["state"] == "RUNNING")) == ("RUNNING", {})
