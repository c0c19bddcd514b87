"""The desk under a service manager, which the test plays: what it is told, when, and what it is not told any more."""

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.desk_run.harness import PATIENCE_S, Desk
from tests.desk_run.publisher import Publisher, obedient, with_obedient


class Manager:
    """Hears what a service says."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self.heard: list[str] = []

    def until(self, word: str) -> None:
        self._socket.settimeout(PATIENCE_S)
        while word not in self.heard:
            self.heard.append(self._socket.recv(4096).decode())

    def hears_within(self, seconds: float) -> bool:
        self._socket.settimeout(seconds)
        try:
            self.heard.append(self._socket.recv(4096).decode())
        except TimeoutError:
            return False
        return True

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    path = tmp_path_factory.mktemp("n") / "notify"
    monkeypatch.setenv("NOTIFY_SOCKET", str(path))
    manager = Manager(path)
    yield manager
    manager.close()


@pytest.fixture
def desk(tmp_path: Path, manager: Manager) -> Iterator[Desk]:  # noqa: ARG001 - who listens comes first
    with Publisher() as publisher:
        text = f"strategies:\n{obedient('a', 'AAA')}global:\n  zmq_market_url: {publisher.url}\n"
        with Desk(with_obedient(tmp_path / "desk"), text) as desk:
            yield desk.start()


def test_the_manager_hears_ready_when_all_is_reconciled_then_watchdog_and_stopping_at_the_end(
    desk: Desk, manager: Manager
) -> None:
    manager.until("READY=1")
    status = desk.status()
    environments = [Path(f"/proc/{pid}/environ").read_bytes() for pid in desk.pids().values()]
    manager.heard.clear()
    manager.until("WATCHDOG=1")
    desk.ask("stop", reason="maintenance\nat noon")
    manager.until("STOPPING=1")
    manager.until("STATUS=stopping: maintenance at noon")

    assert desk.wait() == 0
    assert {row["state"] for row in status["tree"]} == {"RUNNING"}
    assert status["desk"]["reconciled"]
    assert "READY=1" not in manager.heard
    assert not [environment for environment in environments if b"NOTIFY_SOCKET" in environment]


@pytest.mark.slow
def test_the_manager_hears_nothing_of_a_root_that_stands_still_and_the_watchdog_ends_it_halted(
    desk: Desk, manager: Manager
) -> None:
    manager.until("READY=1")
    os.kill(desk.root_pid, signal.SIGSTOP)
    while manager.hears_within(2):
        pass

    assert desk.wait() == -signal.SIGKILL
    assert "READY=1" in manager.heard
    assert manager.heard.count("STOPPING=1") == 0
    assert (desk.state / "HALT").read_text(encoding="utf-8").startswith("the root supervisor made no progress for 10 s")
    again = desk.start().until_up()["desk"]
    assert again["state"] == "HALTED"


class Unheard(Desk):
    """A desk whose output goes to a disk that is full."""

    def said(self) -> str:
        return "nobody can say"


def test_a_desk_whose_output_finds_no_room_comes_up_and_leaves_in_good_order(tmp_path: Path) -> None:
    with Publisher() as publisher:
        text = f"strategies:\n{obedient('a', 'AAA')}global:\n  zmq_market_url: {publisher.url}\n"
        with Unheard(with_obedient(tmp_path / "desk"), text) as desk:
            desk.output = Path("/dev/full")
            desk.start().until_up()
            desk.ask("stop", reason="done")

            assert desk.wait() == 0
