"""The service manager is told what it has to know, and nobody waits for one that does not listen."""

import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from runtime.service_manager import ServiceManager


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """Be the service manager: a socket that is only read when a test says so."""
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as own:
        own.bind(str(tmp_path / "notify"))
        yield own


def heard(manager: socket.socket) -> list[str]:
    words: list[str] = []
    with suppress(BlockingIOError):
        while True:
            words.append(manager.recv(4096).decode())
    return words


def filled(service: ServiceManager, manager: socket.socket) -> None:
    """Say so much that the socket is full; return, which a word that waits for its reader would not."""
    for _ in range(5000):
        service.alive()
    assert manager


def test_each_word_is_said_as_the_manager_reads_it(manager: socket.socket) -> None:
    service = ServiceManager()
    service.status("1 of 2\nprocesses  ready")
    service.ready()
    service.alive()
    service.stopping()

    assert heard(manager) == ["STATUS=1 of 2 processes ready", "READY=1", "WATCHDOG=1", "STOPPING=1"]


def test_what_was_taken_is_not_said_again(manager: socket.socket) -> None:
    service = ServiceManager()
    for _ in range(3):
        service.ready()
        service.status("up")
        service.alive()

    assert heard(manager) == ["READY=1", "STATUS=up", "WATCHDOG=1", "WATCHDOG=1", "WATCHDOG=1"]


def test_ready_and_status_that_found_no_room_are_said_with_the_next_sign_of_life(manager: socket.socket) -> None:
    service = ServiceManager()
    filled(service, manager)
    service.status("up")
    service.ready()
    assert set(heard(manager)) == {"WATCHDOG=1"}

    service.alive()

    assert heard(manager) == ["READY=1", "STATUS=up", "WATCHDOG=1"]


def test_who_stops_does_not_say_afterwards_that_it_is_up(manager: socket.socket) -> None:
    service = ServiceManager()
    filled(service, manager)
    service.ready()
    service.stopping()
    heard(manager)

    service.alive()
    service.ready()

    assert heard(manager) == ["WATCHDOG=1"]


def test_where_there_is_no_manager_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    service = ServiceManager()

    service.ready()
    service.alive()

    assert service.is_ready
