"""The spares as root holds them: processes that are nobody yet, and become a child faster than a fork could."""

import os
import select
import shutil
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import msgspec

from runtime.child import ChildRequest
from runtime.clock import NS_PER_S
from runtime.gentle import stand_up
from runtime.log import Log
from runtime.packets import FOLDER, READY, send_packet
from runtime.patience import Patience
from runtime.process import END_MS, Running, has_ended, waited_ns

#: So many spares in a row that end before they are anybody, and none is asked for any more.
FAILURES_MAX = 3
#: How long one may rehearse, which is some ten milliseconds of a processor for which it stands back.
REHEARSAL_NS_MAX = 60 * NS_PER_S


class _Spare(NamedTuple):
    """One spare as root holds it."""

    pid: int
    pidfd: int
    channel: socket.socket
    since_ns: int


class Spares:
    """Root's end of the spares: some that rehearse, some that are ready."""

    def __init__(self, most: int, log: Log, waited: Callable[[int], int] = waited_ns) -> None:
        """Keep at most so many; none is there yet.

        ``waited`` gives how long (ns) a process has waited for a processor so far.
        """
        self._most, self._log = most, log
        self._patience = Patience(waited)
        self._epoll = select.epoll()
        self._rehearsing: dict[int, _Spare] = {}
        self._ready: list[_Spare] = []
        self._failures = 0

    def fileno(self) -> int:
        """Give the descriptor that is readable when there is news of a spare."""
        return self._epoll.fileno()

    @property
    def is_wanted(self) -> bool:
        """Whether there should be another one."""
        return len(self._ready) + len(self._rehearsing) < self._most and self._failures < FAILURES_MAX

    @property
    def is_rehearsing(self) -> bool:
        """Whether one is not ready yet; there is one folder to rehearse in."""
        return bool(self._rehearsing)

    @property
    def count(self) -> int:
        """How many are ready."""
        return len(self._ready)

    def pids(self) -> Iterator[int]:
        """Name their processes."""
        return (spare.pid for spare in (*self._rehearsing.values(), *self._ready))

    def take_in(self, pid: int, channel: socket.socket, now_ns: int) -> None:
        """Take a new one, of which it is not known yet whether it will be ready."""
        spare = _Spare(pid, os.pidfd_open(pid), channel, now_ns)
        self._rehearsing[spare.channel.fileno()] = spare
        self._epoll.register(spare.channel.fileno(), select.EPOLLIN)

    def hear(self) -> None:
        """Take note of those that are ready, and of those that have ended."""
        for descriptor, _ in self._epoll.poll(0):
            spare = self._rehearsing.pop(descriptor, None)
            if spare is None:
                ended = next(one for one in self._ready if one.channel.fileno() == descriptor)
                self._ready.remove(ended)
                self._bury(ended, "it ended while it waited")
                continue
            try:
                said = spare.channel.recv(1024)
            except ConnectionError:
                said = b""
            if said == READY:
                self._failures = 0
                self._ready.append(spare)
                with suppress(PermissionError):
                    stand_up(spare.pid)
            else:
                self._bury(spare, said.decode(errors="replace") or "it ended while it rehearsed")

    def look(self, now_ns: int) -> None:
        """End those that have rehearsed for too long, without what they waited for a processor."""
        for descriptor, spare in tuple(self._rehearsing.items()):
            child = Running("spare", 0, spare.pid, spare.pidfd)
            if self._patience.silent_ns(child, spare.since_ns, now_ns, REHEARSAL_NS_MAX) > REHEARSAL_NS_MAX:
                del self._rehearsing[descriptor]
                self._bury(spare, "it hung while it rehearsed")

    def clear_stage(self) -> None:
        """End those that still rehearse, for another is about to: there is one folder for it."""
        rehearsing, self._rehearsing = self._rehearsing, {}
        for spare in rehearsing.values():
            self._end(spare)

    def _bury(self, spare: _Spare, reason: str) -> None:
        self._failures += 1
        self._log.warning("spare.ended", pid=spare.pid, reason=reason)
        self._end(spare)

    def _end(self, spare: _Spare) -> None:
        """End one. Where who traces it holds it, it is a stranger from now on."""
        self._epoll.unregister(spare.channel.fileno())
        spare.channel.close()
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(spare.pidfd, signal.SIGKILL)
        has_ended(spare.pidfd, END_MS)
        os.waitid(os.P_PIDFD, spare.pidfd, os.WEXITED | os.WNOHANG)
        os.close(spare.pidfd)

    def become(self, request: ChildRequest) -> Running | None:
        """Let one that is ready be this child from now on; None where there is none."""
        while self._ready:
            spare = self._ready.pop(0)
            try:
                send_packet(spare.channel, msgspec.msgpack.encode(request))
            except OSError as error:
                self._bury(spare, str(error))
                continue
            self._epoll.unregister(spare.channel.fileno())
            spare.channel.close()
            return Running(request.path, request.epoch, spare.pid, spare.pidfd)
        return None

    def close(self, sockets: Path) -> None:
        """End them all, and remove what one may have left. There is no news of spares any more."""
        for spare in (*self._rehearsing.values(), *self._ready):
            self._end(spare)
        self._rehearsing, self._ready, self._most = {}, [], 0
        self._epoll.close()
        shutil.rmtree(sockets / FOLDER, ignore_errors=True)
