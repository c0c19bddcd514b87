"""What is heard from the bus, without the bus."""

from typing import NamedTuple


class Heard(NamedTuple):
    """One word from a peer. ``is_sure`` ones are acknowledged by the batch that took them in."""

    peer: str
    epoch: int
    body: bytes
    is_sure: bool


class StreamItem(NamedTuple):
    """One item of a stream (``body`` set), or the announcement of its head on this topic (``body`` None).

    For an item ``sequence`` is its own and ``previous`` the one before it on this topic; for a head ``sequence`` is
    the stream's and ``previous`` the topic's last one. A stream without memory numbers its items from 1 at each start.
    """

    topic: str
    sequence: int
    previous: int
    body: bytes | None
    has_memory: bool
