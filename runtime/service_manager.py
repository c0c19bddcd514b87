"""What the service manager is told, where there is one; whether it listens or not, nobody waits for it."""

import os
import socket
from contextlib import suppress


class ServiceManager:
    """The other end of ``NOTIFY_SOCKET``. What finds no room there is dropped, and said again where it counts."""

    def __init__(self) -> None:
        """Have nothing to say yet."""
        self._is_ready_due = False
        self._is_ready = False
        self._status = self._said = ""

    def ready(self) -> None:
        """Say once that the service is up; where that is not taken, with each ``alive`` again."""
        if not self._is_ready:
            self._is_ready = self._is_ready_due = True
            self._say_due()

    @property
    def is_ready(self) -> bool:
        """Whether it was to be said that the service is up."""
        return self._is_ready

    def status(self, text: str) -> None:
        """Say in one line how the service is; where that is not taken, with the next ``alive``."""
        self._status = " ".join(text.split())
        self._say_due()

    def alive(self) -> None:
        """Say that the service is alive, and what was not taken before."""
        self._say_due()
        _ = _tell("WATCHDOG=1")

    def stopping(self) -> None:
        """Say that the service goes down; that it was up is of no account then."""
        self._is_ready, self._is_ready_due = True, False
        _ = _tell("STOPPING=1")

    def _say_due(self) -> None:
        if self._is_ready_due and _tell("READY=1"):
            self._is_ready_due = False
        if self._status != self._said and _tell(f"STATUS={self._status}"):
            self._said = self._status


def _tell(text: str) -> bool:
    """Hand over a datagram; False where it finds no room at the moment, so that it may be tried again."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return True
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as out:
        out.sendto(text.encode(), "\0" + address[1:] if address.startswith("@") else address)
        return True
    return False
