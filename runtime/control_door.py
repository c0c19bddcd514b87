"""The control socket as the shell holds it: a local door, and a guarded one where the room's wiring wants it.

What comes in is read at a bounded rate, so that a flood costs this process a bounded share of its time, and backs up
in the senders. What goes out never waits. A guarded door that is flooded with connections, or costs too much memory,
is shut for a while; the local one never is.
"""

import os
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol

from runtime.bucket import Bucket
from runtime.bus import HANDSHAKE_MS, Bus
from runtime.bus.frames import Socket, drain_marked, try_send
from runtime.bus.outside import Guarded
from runtime.bus_words import Connection
from runtime.clock import NS_PER_MS, NS_PER_S, Clock
from runtime.effects import Effects
from runtime.room import ControlRequest, DoorState, Room

LOCAL, GUARDED = "local", "guarded"
#: Requests a second that are read at a door, and how many at once after a rest.
LOCAL_RATE, LOCAL_BURST = 2000.0, 2000.0
GUARDED_RATE, GUARDED_BURST = 500.0, 500.0
#: Requests taken from one door before the others have their turn, and for how long it is read then: on a slow disk
#: each change takes a while until it is written down, and a loop that takes too long would count as hung.
READ_MAX = 64
TURN_NS = 100 * NS_PER_MS
#: How long a door is not read once its budget is spent.
PAUSE_NS = 50 * NS_PER_MS
#: Connections to the guarded door, clients and strangers together; with more it is shut.
CONNECTIONS_MAX = 256
#: What this process may grow by while the door is open; with more it is shut, which frees what its clients have sent.
GROWTH_BYTES_MAX = 256 << 20
#: How long a door stays shut, and how long until another try where it could not be opened.
SHUT_NS = 2 * NS_PER_S
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
#: After so long a connection that has shown no key never will: its handshake has timed out.
PROOF_NS = (HANDSHAKE_MS + 1000) * NS_PER_MS
#: How often the guarded door is looked after while nothing happens.
TEND_NS = 200 * NS_PER_MS


class Wanted(NamedTuple):
    """A guarded door: where it listens (``ipc`` is beside the local one), and the file of its secret key."""

    listen: str
    secret_file: Path


class Polled(Protocol):
    """Whatever runs the loop, as far as a door needs it."""

    def register(self, socket: Socket[bytes]) -> None:
        """Add one socket to the poll."""
        ...

    def unregister(self, socket: Socket[bytes]) -> None:
        """Take one socket out of the poll."""
        ...


class _Door:
    """One ROUTER that is read at a bounded rate."""

    def __init__(self, name: str, socket: Socket[bytes], budget: Bucket) -> None:
        self.name, self.socket, self.budget = name, socket, budget
        self.paused_until_ns = 0
        self.heard = self.lost = 0


class ControlDoors:
    """All doors of one room, and the care for them. Answers find their way back by their address alone."""

    def __init__(self, bus: Bus, wanted: Wanted | None, room: Room, clock: Clock, inbox: Polled) -> None:
        """Open the local door, and the guarded one where it is wanted and can be opened."""
        self._room, self._clock, self._inbox = room, clock, inbox
        now_ns = clock.monotonic_ns()
        self._doors = [_Door(LOCAL, bus.control_server(), Bucket(LOCAL_RATE, LOCAL_BURST, now_ns))]
        self._guarded: Guarded | None = None
        self._url = self._fault = ""
        self._connections = self._came = self._knocked = self._strangers = self._shuts = 0
        self._came_lately: deque[tuple[int, int]] = deque()
        self._baseline_bytes = 0
        self._told_ns = 0
        self._reopen_ns = now_ns
        if wanted is not None:
            self._guarded = bus.guarded_server(wanted.secret_file.read_text(encoding="ascii").strip())
            self._doors.append(_Door(GUARDED, self._guarded.socket, Bucket(GUARDED_RATE, GUARDED_BURST, now_ns)))
            self._url = bus.guarded_url() if wanted.listen == "ipc" else wanted.listen
            self._open(now_ns)

    @property
    def heard(self) -> int:
        """How many requests were taken in."""
        return sum(door.heard for door in self._doors)

    def handlers(self) -> list[tuple[Socket[bytes], Callable[[Effects], None]]]:
        """Give each socket with what is to be done when it can be read."""
        found: list[tuple[Socket[bytes], Callable[[Effects], None]]] = [
            (door.socket, lambda effects, door=door: self._hear(door, effects)) for door in self._doors
        ]
        if self._guarded is not None:
            found.append((self._guarded.visitors, lambda _effects: self._meet()))
            found.append((self._guarded.monitor, lambda _effects: self._count()))
        return found

    def answer(self, address: bytes, data: bytes) -> None:
        """Send an answer now or never; a client that does not read loses it, and asks again."""
        door = self._doors[address[0]]
        if not try_send(door.socket, [address[1:], data]):
            door.lost += 1

    def tend(self, effects: Effects) -> None:
        """Do what is due: read on where a pause is over, shut a door that is flooded, open one that was shut."""
        now_ns = self._clock.monotonic_ns()
        for door in self._doors:
            if door.paused_until_ns and now_ns >= door.paused_until_ns:
                door.paused_until_ns = 0
                self._inbox.register(door.socket)
        if self._guarded is None:
            return
        self._count_strangers(now_ns)
        if now_ns >= self._told_ns + NS_PER_S:
            self._told_ns = now_ns
            effects.add(self._room.hear_door(self._state(self._guarded)))
        if self._reopen_ns:
            if now_ns >= self._reopen_ns:
                self._open(now_ns)
        elif self._connections > CONNECTIONS_MAX:
            self._shut(f"more than {CONNECTIONS_MAX} connections at once", now_ns)
        elif _own_bytes() - self._baseline_bytes > GROWTH_BYTES_MAX:
            self._shut(f"its clients sent more than {GROWTH_BYTES_MAX >> 20} MiB that is no request", now_ns)

    def next_ns(self) -> int:
        """Say when to be tended next, at the latest (monotonic)."""
        now_ns = self._clock.monotonic_ns()
        due = [door.paused_until_ns for door in self._doors if door.paused_until_ns]
        if self._guarded is not None:
            due.append(self._reopen_ns or now_ns + TEND_NS)
        return min(due, default=now_ns + NS_PER_S)

    def _state(self, guarded: Guarded) -> DoorState:
        return DoorState(
            url=self._url,
            fault=self._fault,
            connections=self._connections,
            strangers=self._strangers,
            lost=sum(door.lost for door in self._doors if door.socket is guarded.socket),
            shuts=self._shuts,
        )

    # --- what comes in ------------------------------------------------------------------------

    def _hear(self, door: _Door, effects: Effects) -> None:
        now_ns = self._clock.monotonic_ns()
        most = min(READ_MAX, door.budget.left(now_ns))
        mark = bytes([self._doors.index(door)])
        for marked in drain_marked(door.socket, most):
            door.budget.take(now_ns)
            door.heard += 1
            request = ControlRequest(mark + marked.address, marked.frames, door.name, marked.user, marked.peer)
            effects.add(self._room.hear_control(request))
            if self._clock.monotonic_ns() - now_ns >= TURN_NS:
                break
        if not door.budget.left(now_ns):
            door.paused_until_ns = now_ns + PAUSE_NS
            self._inbox.unregister(door.socket)

    def _meet(self) -> None:
        assert self._guarded is not None, "the visitors of a door that is not there"
        began_ns = self._clock.monotonic_ns()
        for visitor in self._guarded.knocking():
            self._knocked += 1
            self._guarded.admit(visitor, is_welcome=self._room.admits(visitor.key, visitor.peer))
            if self._clock.monotonic_ns() - began_ns >= TURN_NS:
                break

    def _count(self) -> None:
        assert self._guarded is not None, "the connections of a door that is not there"
        for became in self._guarded.arrivals():
            if became is Connection.CAME:
                self._came += 1
                self._connections += 1
            elif became is Connection.WENT:
                self._connections = max(0, self._connections - 1)

    def _count_strangers(self, now_ns: int) -> None:
        """Count who came long enough ago to have shown a key and has not; exact once nobody new comes for a while."""
        lately = self._came_lately
        lately.append((now_ns, self._came))
        while len(lately) > 1 and lately[1][0] <= now_ns - PROOF_NS:
            lately.popleft()
        if lately[0][0] <= now_ns - PROOF_NS:
            self._strangers = max(self._strangers, lately[0][1] - self._knocked)

    # --- opening and shutting -----------------------------------------------------------------

    def _open(self, now_ns: int) -> None:
        assert self._guarded is not None, "a door that is not there cannot be opened"
        self._fault = self._guarded.listen(self._url)
        self._reopen_ns = now_ns + SHUT_NS if self._fault else 0
        self._connections = 0
        self._baseline_bytes = _own_bytes()

    def _shut(self, fault: str, now_ns: int) -> None:
        assert self._guarded is not None, "a door that is not there cannot be shut"
        self._guarded.shut()
        self._shuts += 1
        self._fault = f"{self._url} is shut for a moment: {fault}"
        self._reopen_ns = now_ns + SHUT_NS


def _own_bytes() -> int:
    """Say how much memory this process holds."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * PAGE_BYTES
