"""What is heard from the bus, without the bus."""

from enum import Enum, auto
from typing import NamedTuple

import msgspec


class Address(NamedTuple):
    """Who this process is on the bus."""

    path: str
    epoch: int

    def identity(self) -> bytes:
        """Give the routing identity: path/epoch."""
        return f"{self.path}/{self.epoch}".encode()


class Heard(msgspec.Struct, frozen=True, gc=False):
    """One word from a peer. ``is_sure`` ones are acknowledged by the batch that took them in."""

    peer: str
    epoch: int
    body: bytes
    is_sure: bool


class Said(msgspec.Struct, frozen=True, gc=False):
    """The words that one frame of a peer brought, in order; at least one. See ``Heard``."""

    peer: str
    epoch: int
    bodies: list[bytes]
    is_sure: bool


class StreamItem(msgspec.Struct, frozen=True, gc=False):
    """One item of a stream (``body`` set), or the announcement of its head on this topic (``body`` None).

    For an item ``sequence`` is its own and ``previous`` the one before it on this topic; for a head ``sequence`` is
    the stream's and ``previous`` the topic's last one. A stream without memory numbers its items from 1 at each start.
    """

    topic: str
    sequence: int
    previous: int
    body: bytes | None
    has_memory: bool


class Marked(NamedTuple):
    """One message with what its connection knows of the sender.

    ``user`` is the public key that the connection has proved (40 characters), "" where it had none to prove;
    ``peer`` is the network address, "" where there is none.
    """

    address: bytes
    frames: list[bytes]
    user: str
    peer: str


class Visitor(NamedTuple):
    """Somebody who has proved to own ``key`` and asks to be let in; ``peer`` is its network address."""

    address: bytes
    request: bytes
    key: str
    peer: str


class Connection(Enum):
    """What became of a connection to a guarded door, whether or not it ever proved a key."""

    CAME = auto()
    WENT = auto()
