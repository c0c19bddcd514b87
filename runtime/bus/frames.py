"""Frames as they go through a socket: taken, sent, counted, bounded. All sockets of the bus use these."""

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from typing import Any

import zmq
from zmq.backend import Socket as _Raw
from zmq.backend import zmq_poll

from runtime.bus_words import Marked

#: Largest body any of our sockets takes in; the status of a thousand strategies has about two megabytes. libzmq drops
#: a connection that brings a frame that is larger than it may be, and never makes it again.
FRAME_BYTES_MAX = 16 << 20
#: Messages taken from one socket before the others have their turn; a run of parcels is never torn.
DRAIN_MAX = 256

#: Plain numbers: to combine pyzmq's own flags costs as much as to send.
NOW, _NOW_AND_MORE = int(zmq.NOBLOCK), int(zmq.NOBLOCK | zmq.SNDMORE)
#: pyzmq's calls as they are below its own layer of Python, which costs as much again as the call.
_send, receive = _Raw.send, _Raw.recv
_READABLE = int(zmq.POLLIN)

#: For whoever runs a loop: the poll over sockets and descriptors, and what it waits for.
Poller = zmq.Poller
READABLE = zmq.POLLIN
Socket = zmq.Socket


def drain(socket: "zmq.Socket[bytes]") -> Iterator[list[bytes]]:
    """Give what waits in a socket, at most a fair share of it."""
    for _ in range(DRAIN_MAX):
        try:
            frame = receive(socket, NOW, copy=False)
        except zmq.Again:
            return
        frames = [frame.bytes]
        while frame.more:
            frame = receive(socket, NOW, copy=False)
            frames.append(frame.bytes)
        yield frames


def single(socket: "zmq.Socket[bytes]") -> bytes:
    """Give the next frame, b"" in place of several that belong together: that is no form of ours.

    Raises:
        zmq.Again: Nothing waits.
    """
    frame = receive(socket, NOW, copy=False)
    return none_of(socket, frame) if frame.more else frame.bytes


def none_of(socket: "zmq.Socket[bytes]", frame: zmq.Frame) -> bytes:
    """Take the frames that belong to this one, and give b"" in place of all."""
    while frame.more:
        frame = receive(socket, NOW, copy=False)
    return b""


def singles(socket: "zmq.Socket[bytes]") -> Iterator[bytes]:
    """Give the frames that wait in a socket, at most a fair share of them; see ``single``."""
    for number in range(DRAIN_MAX):
        if number == 1 and not has_more(socket):
            return
        try:
            frame = single(socket)
        except zmq.Again:
            return
        yield frame


def has_more(socket: "zmq.Socket[bytes]") -> bool:
    """Say whether something waits: to try and to find nothing costs three times as much."""
    return bool(zmq_poll([(socket, _READABLE)], 0))


def drain_marked(socket: "zmq.Socket[bytes]", most: int) -> Iterator[Marked]:
    """Give what waits in a socket, at most ``most`` messages, with what their connection knows of the sender."""
    for _ in range(most):
        try:
            frames = socket.recv_multipart(zmq.NOBLOCK, copy=False)
        except zmq.Again:
            return
        address, *rest = (frame.bytes for frame in frames)
        yield Marked(address, rest, _mark(frames[-1], "User-Id"), _mark(frames[-1], "Peer-Address"))


def _mark(frame: zmq.Frame, name: str) -> str:
    try:
        return str(frame.get(name))
    except zmq.ZMQError:  # this connection knows nothing of the kind
        return ""


def wait_for(sockets: "list[tuple[Any, int]]", timeout_ms: int) -> bool:
    """Wait until something is ready on any of a poller's sockets, and take nothing; False where the time went by."""
    return bool(zmq_poll(sockets, timeout_ms))


def try_send(socket: "zmq.Socket[bytes]", frames: list[bytes]) -> bool:
    """Send now or not at all; False where there is nobody or no room."""
    try:
        if len(frames) > 1:
            for frame in frames[:-1]:
                _send(socket, frame, _NOW_AND_MORE)
        _send(socket, frames[-1], NOW)
    except zmq.Again:  # of the first frame only: what has begun to leave leaves whole
        return False
    except zmq.ZMQError as error:
        if error.errno == zmq.EHOSTUNREACH:
            return False
        raise
    return True


def subscribed(socket: "zmq.Socket[bytes]", keys: AbstractSet[bytes], wanted: AbstractSet[bytes]) -> frozenset[bytes]:
    """Turn one set of subscriptions into another."""
    for key in sorted(wanted - keys):
        socket.set(zmq.SUBSCRIBE, key)
    for key in sorted(keys - wanted):
        socket.set(zmq.UNSUBSCRIBE, key)
    return frozenset(wanted)


def fits(body: bytes, *, is_sure: bool) -> bool:
    """Say whether a body may go out: one above the limit would cost its receiver the connection, maybe for good."""
    assert not is_sure or len(body) <= FRAME_BYTES_MAX, f"{len(body)} bytes are too large for any wire"
    return len(body) <= FRAME_BYTES_MAX
