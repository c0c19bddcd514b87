"""A control socket is read for a while and no longer, however long each request takes."""

from pathlib import Path

import pytest
from typing_extensions import override

from runtime.bus import Bus
from runtime.bus.frames import Socket
from runtime.bus.outside import new_keys
from runtime.bus_words import Address
from runtime.clock import NS_PER_MS
from runtime.control_door import READ_MAX, TURN_NS, ControlDoors, Wanted
from runtime.effects import Effects
from runtime.room import ControlRequest, Room
from tests.runtime.fakes import HandClock

REQUESTS, VISITORS = 200, 20


class Slow(Room):
    """Takes its time with each request, as one that writes to a slow disk."""

    def __init__(self, clock: HandClock, takes_ns: int) -> None:
        self._clock, self._takes_ns = clock, takes_ns
        self.heard = 0

    @override
    def hear_control(self, request: ControlRequest) -> Effects:
        self.heard += 1
        self._clock.advance_ns(self._takes_ns)
        return Effects()

    @override
    def admits(self, key: str, peer: str) -> bool:
        self.heard += 1
        self._clock.advance_ns(self._takes_ns)
        return False


class Inbox:
    """A loop that polls by hand."""

    def register(self, socket: Socket[bytes]) -> None:
        """Take note of nothing."""

    def unregister(self, socket: Socket[bytes]) -> None:
        """Take note of nothing."""


@pytest.mark.parametrize(
    ("takes_ns", "most"),
    [(0, READ_MAX), (TURN_NS // 4, 4), (10 * TURN_NS, 1)],
    ids=["no-time", "some", "much"],
)
def test_a_turn_takes_in_as_many_requests_as_its_time_allows_and_at_least_one(
    tmp_path: Path, takes_ns: int, most: int
) -> None:
    clock = HandClock()
    bus, elsewhere = Bus(tmp_path, Address("console", 1)), Bus(tmp_path, Address("operator", 0))
    room = Slow(clock, takes_ns)
    doors = ControlDoors(bus, None, room, clock, Inbox())
    client = elsewhere.control_client()
    for _ in range(REQUESTS):
        client.send(b"request")
    (socket, hear), *_ = doors.handlers()
    taken: list[int] = []

    while room.heard < REQUESTS:
        assert socket.poll(10_000), "what was sent never came"
        before = room.heard
        hear(Effects())
        taken.append(room.heard - before)
        clock.advance_ns(50 * NS_PER_MS)

    client.close(linger=0)
    bus.close()
    elsewhere.close()
    assert max(taken) == most


def test_whoever_knocks_is_met_for_as_long_as_a_turn_takes_and_no_longer(tmp_path: Path) -> None:
    clock = HandClock()
    bus, elsewhere = Bus(tmp_path, Address("console", 1)), Bus(tmp_path, Address("operator", 0))
    room = Slow(clock, TURN_NS // 2)
    (server, secret), file = new_keys(), tmp_path / "secret"
    file.write_text(secret, encoding="ascii")
    doors = ControlDoors(bus, Wanted("ipc", file), room, clock, Inbox())
    clients = [elsewhere.guarded_client(bus.guarded_url(), server, new_keys()) for _ in range(VISITORS)]
    *_, (visitors, meet), _ = doors.handlers()
    met: list[int] = []

    while room.heard < VISITORS:
        assert visitors.poll(10_000), "whoever knocked never came"
        before = room.heard
        meet(Effects())
        met.append(room.heard - before)

    for client in clients:
        client.socket.close(linger=0)
    bus.close()
    elsewhere.close()
    assert max(met) <= 2
