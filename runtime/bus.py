"""ZeroMQ, and nothing else that knows it: hubs, spokes, streams, foreign feeds, the control socket.

No link of a queue alone is durable. A hub or spoke repeats a parcel until its receipt comes; a stream numbers its
items so that whoever misses one sees the gap and asks its owner. High-water marks are set on purpose on every socket.
"""

from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import zmq
from zmq.backend import Socket as _Raw
from zmq.backend import zmq_poll
from zmq.utils import z85
from zmq.utils.monitor import parse_monitor_message

from runtime.bus_words import Connection, Heard, Marked, Said, StreamItem, Visitor
from runtime.errors import WireError
from runtime.link import HEADER_BYTES, Header, Incoming, Kind, Outgoing, bodies_of, pack_header, unpack_header
from runtime.stream import Item, items_of, run_of, together

#: Parcels one link may have waiting for receipts. More means that the other side is gone for good.
WAITING_MAX = 20_000
#: Frames a link's socket may queue. Lost ones come again, so this bounds memory only.
LINK_HWM = 20_000
#: Frames a stream may queue for each subscriber. A slower reader loses the newest, sees the gap and asks the owner.
STREAM_HWM = 50_000
#: Largest body any of our sockets takes in; the status of a thousand strategies has about two megabytes. libzmq drops
#: a connection that brings a frame that is larger than it may be, and never makes it again.
FRAME_BYTES_MAX = 16 << 20
#: What a frame may have beside its body: topic, header, lengths.
BESIDE_BYTES_MAX = 4096
#: Largest frame a foreign feed may send; a tick has a few hundred bytes.
FOREIGN_FRAME_BYTES_MAX = 64 * 1024
#: Largest frame that the control socket takes in, from the desk's own user and from a client with a key. Both are far
#: above the largest request, so that one which is somewhat too large still gets an answer.
CONTROL_FRAME_BYTES_MAX = 1 << 20
GUARDED_FRAME_BYTES_MAX = 128 * 1024
#: Requests that may wait at the control socket, and answers for one client that does not read; more are lost.
CONTROL_HWM = 256
GUARDED_HWM = 128
#: How long a stranger may take to prove its key.
HANDSHAKE_MS = 3000
#: The kernel asks a client of whom nothing came for so long whether it is there, so often, and as many times. libzmq's
#: own heartbeats would end this process: it aborts where one is due on a connection that broke while it was not read.
ALIVE_IDLE_S, ALIVE_AGAIN_S, ALIVE_TIMES = 10, 2, 3
#: For so long what was sent to a client may lie there unread, or not arrive, before the kernel breaks the connection.
DEAF_MS = 15_000
#: Connections to the guarded door that the kernel holds until they are taken.
GUARDED_BACKLOG = 64
#: Connections that may wait to be taken by a hub, for swarms of children that start at once.
BACKLOG = 4096
RECONNECT_MS = 5
RECONNECT_MS_MAX = 200
#: Messages taken from one socket before the others have their turn; a run of parcels is never torn.
DRAIN_MAX = 256
#: Identities of peers that a hub remembers the meaning of, and topics of which a publisher remembers the key.
NAMED_MAX = 10_000

TOPIC_END = b"\x00"

#: Plain numbers: to combine pyzmq's own flags costs as much as to send.
_NOW, _NOW_AND_MORE = int(zmq.NOBLOCK), int(zmq.NOBLOCK | zmq.SNDMORE)
#: pyzmq's calls as they are below its own layer of Python, which costs as much again as the call.
_send, _receive = _Raw.send, _Raw.recv
_READABLE = int(zmq.POLLIN)
#: Begins the subscription by which one subscriber asks for the head of a topic, for itself alone: this, the topic's
#: key, who asks. No topic begins like it, and a connection that is made anew says it behind all topics.
ASK = b"\xff"
#: The head is said again at these turns behind an item, ever more rarely, and not beyond the last.
SAID_AGAIN = frozenset({1, 2, 4, 8, 16, 32, 50})

_KEY_BYTES = 32
_PARCEL, _RUN = int(Kind.PARCEL), int(Kind.RUN)
_ITEM, _ITEMS, _VOLATILE = int(Kind.ITEM), int(Kind.ITEMS), int(Kind.VOLATILE)
_PARCELS = frozenset({_PARCEL, _RUN})
_FAILURES = zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL

#: For whoever runs a loop: the poll over sockets and descriptors, and what it waits for.
Poller = zmq.Poller
READABLE = zmq.POLLIN
Socket = zmq.Socket


class Address(NamedTuple):
    """Who this process is on the bus."""

    path: str
    epoch: int

    def identity(self) -> bytes:
        """Give the routing identity: path/epoch."""
        return f"{self.path}/{self.epoch}".encode()


class Bus:
    """The sockets of one process. Make it after the last fork; close it before leaving."""

    def __init__(self, folder: Path, me: Address) -> None:
        """Prepare a context; no socket is opened yet."""
        self._context = zmq.Context()
        self._context.set(zmq.MAX_SOCKETS, 256)
        self._outside: list[zmq.Context[zmq.Socket[bytes]]] = []
        self._folder = folder
        self.me = me

    def close(self) -> None:
        """Close every socket at once; what was not sent is lost, what was not acknowledged comes again."""
        for context in (*self._outside, self._context):
            context.destroy(linger=0)

    def _socket(self, kind: int, send_hwm: int, receive_hwm: int) -> zmq.Socket[bytes]:
        socket = self._context.socket(kind)
        socket.set(zmq.LINGER, 0)
        socket.set(zmq.SNDHWM, send_hwm)
        socket.set(zmq.RCVHWM, receive_hwm)
        socket.set(zmq.MAXMSGSIZE, FRAME_BYTES_MAX + BESIDE_BYTES_MAX)
        socket.set(zmq.RECONNECT_IVL, RECONNECT_MS)
        socket.set(zmq.RECONNECT_IVL_MAX, RECONNECT_MS_MAX)
        return socket

    def _endpoint(self, name: str) -> str:
        return f"ipc://{self._folder}/{name.replace('/', '.')}"

    def hub(self, share: int = 0) -> "Hub":
        """Open this process's own hub, to which its peers connect; ``share`` bounds one peer's part of a turn."""
        socket = self._socket(zmq.ROUTER, LINK_HWM, LINK_HWM)
        socket.set(zmq.ROUTER_MANDATORY, 1)
        socket.set(zmq.PROBE_ROUTER, 1)  # by an empty frame each spoke learns that its connection stands
        socket.set(zmq.BACKLOG, BACKLOG)
        socket.bind(self._endpoint(f"{self.me.path}.hub"))
        return Hub(socket, self.me, share)

    def spoke(self, peer: str) -> "Spoke":
        """Connect to the hub of ``peer``, which need not be there yet."""
        socket = self._socket(zmq.DEALER, LINK_HWM, LINK_HWM)
        socket.set(zmq.IDENTITY, self.me.identity())
        socket.set(zmq.IMMEDIATE, 1)
        socket.connect(self._endpoint(f"{peer}.hub"))
        return Spoke(socket, peer, self.me)

    def publisher(self) -> "Publisher":
        """Open this process's own stream."""
        socket = self._socket(zmq.XPUB, STREAM_HWM, LINK_HWM)
        socket.set(zmq.XPUB_VERBOSE, 1)
        socket.set(zmq.BACKLOG, BACKLOG)
        socket.bind(self._endpoint(f"{self.me.path}.stream"))
        return Publisher(socket, self.me.epoch)

    def subscriber(self, peer: str, topics: tuple[str, ...]) -> "Subscriber":
        """Listen to ``topics`` of the stream of ``peer``; "" is everything."""
        socket = self._socket(zmq.SUB, LINK_HWM, STREAM_HWM)
        subscriber = Subscriber(socket, self.me)
        subscriber.follow(topics)
        socket.connect(self._endpoint(f"{peer}.stream"))
        return subscriber

    def foreign(self, url: str, prefixes: tuple[str, ...]) -> "Foreign":
        """Subscribe to a publisher that is not ours, by prefix; its frames are raw and not to be trusted."""
        socket = self._socket(zmq.SUB, LINK_HWM, STREAM_HWM)  # a subscription beyond the mark would be lost silently
        socket.set(zmq.MAXMSGSIZE, FOREIGN_FRAME_BYTES_MAX)
        socket.set(zmq.RECONNECT_IVL_MAX, 2000)
        monitor = socket.get_monitor_socket(zmq.EVENT_DISCONNECTED | zmq.EVENT_CONNECT_RETRIED)
        foreign = Foreign(socket, monitor, url)
        foreign.follow(prefixes)
        socket.connect(url)
        return foreign

    def control_server(self) -> "zmq.Socket[bytes]":
        """Open the control socket for operators: ROUTER, 0600 in the 0700 folder."""
        socket = self._socket(zmq.ROUTER, CONTROL_HWM, CONTROL_HWM)
        socket.set(zmq.MAXMSGSIZE, CONTROL_FRAME_BYTES_MAX)
        path = self._folder / "control"
        socket.bind(f"ipc://{path}")
        path.chmod(0o600)
        return socket

    def guarded_server(self, secret: str) -> "Guarded":
        """Prepare the control socket's door for clients with keys: CURVE, with ``secret`` as our own key.

        It has a context and so an I/O thread of its own: what floods it delays no other socket of this process. Until
        it is told where to listen nobody can reach it, and it admits nobody of whom its visitors' answers say no.
        """
        context = zmq.Context()
        self._outside.append(context)
        visitors = context.socket(zmq.ROUTER)
        visitors.set(zmq.LINGER, 0)
        visitors.bind("inproc://zeromq.zap.01")  # without this one CURVE admits every key, so it comes first
        socket = context.socket(zmq.ROUTER)
        for option, value in (
            (zmq.LINGER, 0),
            (zmq.SNDHWM, GUARDED_HWM),
            (zmq.RCVHWM, GUARDED_HWM),
            (zmq.MAXMSGSIZE, GUARDED_FRAME_BYTES_MAX),
            (zmq.ROUTER_MANDATORY, 1),
            (zmq.HANDSHAKE_IVL, HANDSHAKE_MS),
            (zmq.TCP_KEEPALIVE, 1),
            (zmq.TCP_KEEPALIVE_IDLE, ALIVE_IDLE_S),
            (zmq.TCP_KEEPALIVE_INTVL, ALIVE_AGAIN_S),
            (zmq.TCP_KEEPALIVE_CNT, ALIVE_TIMES),
            (zmq.TCP_MAXRT, DEAF_MS),
            (zmq.BACKLOG, GUARDED_BACKLOG),
            (zmq.CURVE_SERVER, 1),
        ):
            socket.set(option, value)
        socket.set(zmq.CURVE_SECRETKEY, secret.encode())
        socket.set(zmq.ZAP_DOMAIN, b"control")
        monitor = socket.get_monitor_socket(zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED)
        return Guarded(socket, visitors, monitor)

    def guarded_url(self) -> str:
        """Say where the guarded door is that listens beside the local one."""
        return f"ipc://{self._folder / 'control.guarded'}"

    def guarded_client(self, url: str, server: str, keys: tuple[str, str]) -> "GuardedClient":
        """Connect to a guarded door.

        Args:
            url: Where it listens.
            server: Its public key; a door with another one learns nothing and is not spoken to.
            keys: The client's own (public, secret) pair.

        Raises:
            ValueError: The address or a key is none.
        """
        socket = self._socket(zmq.DEALER, 100, 100)
        socket.set(zmq.RECONNECT_IVL, 100)
        socket.set(zmq.RECONNECT_IVL_MAX, 1000)
        monitor = socket.get_monitor_socket(_FAILURES)
        try:
            socket.set(zmq.CURVE_SERVERKEY, server.encode())
            socket.set(zmq.CURVE_PUBLICKEY, keys[0].encode())
            socket.set(zmq.CURVE_SECRETKEY, keys[1].encode())
            socket.connect(url)
        except zmq.ZMQError as error:
            raise ValueError(error.strerror) from error
        return GuardedClient(socket, monitor)

    def control_client(self) -> "zmq.Socket[bytes]":
        """Connect to the control socket.

        Raises:
            ValueError: The folder is none that could hold one.
        """
        socket = self._socket(zmq.DEALER, 100, 100)
        try:
            socket.connect(f"ipc://{self._folder / 'control'}")
        except zmq.ZMQError as error:
            raise ValueError(error.strerror) from error
        return socket


def drain(socket: "zmq.Socket[bytes]") -> Iterator[list[bytes]]:
    """Give what waits in a socket, at most a fair share of it."""
    for _ in range(DRAIN_MAX):
        try:
            frame = _receive(socket, _NOW, copy=False)
        except zmq.Again:
            return
        frames = [frame.bytes]
        while frame.more:
            frame = _receive(socket, _NOW, copy=False)
            frames.append(frame.bytes)
        yield frames


def _single(socket: "zmq.Socket[bytes]") -> bytes:
    """Give the next frame, b"" in place of several that belong together: that is no form of ours.

    Raises:
        zmq.Again: Nothing waits.
    """
    frame = _receive(socket, _NOW, copy=False)
    return _none_of(socket, frame) if frame.more else frame.bytes


def _none_of(socket: "zmq.Socket[bytes]", frame: zmq.Frame) -> bytes:
    """Take the frames that belong to this one, and give b"" in place of all."""
    while frame.more:
        frame = _receive(socket, _NOW, copy=False)
    return b""


def _singles(socket: "zmq.Socket[bytes]") -> Iterator[bytes]:
    """Give the frames that wait in a socket, at most a fair share of them; see ``_single``."""
    for number in range(DRAIN_MAX):
        if number == 1 and not _has_more(socket):
            return
        try:
            frame = _single(socket)
        except zmq.Again:
            return
        yield frame


def _has_more(socket: "zmq.Socket[bytes]") -> bool:
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


def new_keys() -> tuple[str, str]:
    """Make a CURVE key pair: (public, secret), each 40 characters of Z85."""
    public, secret = zmq.curve_keypair()
    return public.decode(), secret.decode()


def public_key(secret: str) -> str:
    """Give the public key of a secret one.

    Raises:
        ValueError: It is no key.
    """
    try:
        return zmq.curve_public(secret.encode()).decode()
    except (zmq.ZMQError, ValueError) as error:
        msg = "not a key: 40 characters of Z85 are one"
        raise ValueError(msg) from error


def try_send(socket: "zmq.Socket[bytes]", frames: list[bytes]) -> bool:
    """Send now or not at all; False where there is nobody or no room."""
    try:
        if len(frames) > 1:
            for frame in frames[:-1]:
                _send(socket, frame, _NOW_AND_MORE)
        _send(socket, frames[-1], _NOW)
    except zmq.Again:  # of the first frame only: what has begun to leave leaves whole
        return False
    except zmq.ZMQError as error:
        if error.errno == zmq.EHOSTUNREACH:
            return False
        raise
    return True


def _subscribed(socket: "zmq.Socket[bytes]", keys: AbstractSet[bytes], wanted: AbstractSet[bytes]) -> frozenset[bytes]:
    """Turn one set of subscriptions into another."""
    for key in sorted(wanted - keys):
        socket.set(zmq.SUBSCRIBE, key)
    for key in sorted(keys - wanted):
        socket.set(zmq.UNSUBSCRIBE, key)
    return frozenset(wanted)


def _fits(body: bytes, *, is_sure: bool) -> bool:
    """Say whether a body may go out: one above the limit would cost its receiver the connection, maybe for good."""
    assert not is_sure or len(body) <= FRAME_BYTES_MAX, f"{len(body)} bytes are too large for any wire"
    return len(body) <= FRAME_BYTES_MAX


class _Channel:
    """One link as one of its sides sees it."""

    def __init__(self, epoch: int) -> None:
        self.outgoing = Outgoing(epoch, WAITING_MAX)
        self.incoming = Incoming()
        self.identity = b""
        """The address of the other side at a hub; b"" where it has none."""
        self.is_spoke = False


def _send_frames(socket: "zmq.Socket[bytes]", channel: _Channel, frames: Iterable[bytes]) -> None:
    """Send frames on a link until there is nobody or no room; what did not leave waits and comes again."""
    if not channel.identity and not channel.is_spoke:
        return
    address = [channel.identity] if channel.identity else []
    for frame in frames:
        if not try_send(socket, [*address, frame]):
            return


class Hub:
    """The side of a link that waits: a ROUTER that knows each peer by its path and keeps the highest epoch seen."""

    def __init__(self, socket: "zmq.Socket[bytes]", me: Address, share: int = 0) -> None:
        """Take a bound socket. ``share`` bounds what one peer may have taken in one ``receive``; 0 does not."""
        self.socket = socket
        self._me = me
        self._share = share or DRAIN_MAX
        self._datagram = Header(Kind.DATAGRAM, me.epoch, 0, 0).encode()
        self._channels: dict[str, _Channel] = {}
        self._named: dict[bytes, tuple[str, int]] = {}
        """The identities that spoke, by path and epoch."""
        self._speaking: dict[bytes, tuple[str, int, _Channel]] = {}
        """The identity that each peer has now: its path, its epoch, its link."""
        self._unanswered: dict[str, _Channel] = {}
        """Those whose parcels may want a receipt."""
        self._waiting: dict[str, _Channel] = {}
        """Those that have parcels without a receipt."""
        self.refused = 0

    def receive(self) -> Iterator[Heard]:
        """Give what was heard, word by word; see ``frames``."""
        for said in self.frames():
            for body in said.bodies:
                yield Heard(said.peer, said.epoch, body, said.is_sure)

    def frames(self) -> Iterator[Said]:
        """Give what was heard; frames that are not of our form, and outdated incarnations, are counted and dropped.

        It ends early where one peer has had its share. What waits is taken in turn from all peers, so whoever has
        something to say was heard by then, and what the flood has left waits for the next call.
        """
        socket, taken, left = self.socket, dict[bytes, int](), DRAIN_MAX
        while left > 0:
            try:
                identity = _receive(socket, _NOW)  # a router's first frame is always followed by another
                part = _receive(socket, _NOW, copy=False)
            except zmq.Again:
                return
            frame, count = _none_of(socket, part) if part.more else part.bytes, 1
            said = self._usual(identity, frame)
            if said is not None:
                count = len(said.bodies)
                yield said
            else:
                try:
                    named = self._named.get(identity) or self._name(identity)
                    header = Header.decode(frame)
                    bodies = bodies_of(frame) if header.kind == _RUN else [frame[HEADER_BYTES:]]
                except (ValueError, WireError):
                    self.refused += 1
                else:
                    count = len(bodies)
                    said = self._take(*named, identity, header, bodies)
                    if said is not None:
                        yield said
            left -= count
            count = taken[identity] = taken.get(identity, 0) + count
            if count >= self._share or (left == DRAIN_MAX - 1 and not _has_more(socket)):
                return

    def _usual(self, identity: bytes, frame: bytes) -> Said | None:
        """Hear the next parcels of somebody who speaks on, which nearly all frames are; None for any other."""
        speaker = self._speaking.get(identity)
        if speaker is None or len(frame) < HEADER_BYTES:
            return None
        path, epoch, channel = speaker
        kind, said, sequence, oldest = unpack_header(frame)
        incoming = channel.incoming
        if kind not in _PARCELS or not said == epoch == incoming.epoch:
            return None
        try:
            bodies = bodies_of(frame) if kind == _RUN else [frame[HEADER_BYTES:]]
        except WireError:
            return None
        if not incoming.follows(sequence, oldest, len(bodies)):
            return None
        self._unanswered[path] = channel
        return Said(path, epoch, bodies, is_sure=True)

    def _name(self, identity: bytes) -> tuple[str, int]:
        """Give path and epoch of an identity.

        Raises:
            ValueError: It has another form.
        """
        path, _, epoch_text = identity.decode().rpartition("/")
        if len(self._named) >= NAMED_MAX:
            self._named.clear()
        named = self._named[identity] = (path, int(epoch_text))
        return named

    def _take(self, path: str, epoch: int, identity: bytes, header: Header, bodies: list[bytes]) -> Said | None:
        channel = self._channel(path)
        if header.epoch != epoch or not channel.incoming.saw(epoch):
            self.refused += 1
            return None
        is_new = channel.identity != identity
        if is_new:
            self._speaking.pop(channel.identity, None)
            self._speaking[identity] = (path, epoch, channel)
            channel.identity = identity
        kind = header.kind
        is_greeting = kind == Kind.DATAGRAM and not bodies[0]
        if is_new or is_greeting:
            self._send_again(channel)
        if kind in _PARCELS:
            self._unanswered[path] = channel
            news = channel.incoming.takes(header, len(bodies))
            return Said(path, epoch, bodies[len(bodies) - news :], is_sure=True) if news else None
        if kind == Kind.RECEIPT:
            channel.outgoing.acknowledged(header)
            if not channel.outgoing.waiting:
                self._waiting.pop(path, None)
        elif kind == Kind.DATAGRAM and not is_greeting:
            return Said(path, epoch, bodies, is_sure=False)
        return None

    def post(self, peer: str, body: bytes, *, is_sure: bool) -> None:
        """Send to one peer. A sure post waits where the peer is not there; another is dropped."""
        if not _fits(body, is_sure=is_sure):
            return
        channel = self._channel(peer)
        if is_sure:
            frame = channel.outgoing.add(body)
            self._waiting[peer] = channel
        else:
            frame = self._datagram + body
        if channel.identity:
            try_send(self.socket, [channel.identity, frame])

    def post_all(self, peer: str, bodies: Sequence[bytes]) -> None:
        """Send sure posts to one peer, as ``post`` does one by one, in as few frames as that takes."""
        assert max(map(len, bodies), default=0) <= FRAME_BYTES_MAX, "one of them is too large for any wire"
        channel = self._channel(peer)
        frames = channel.outgoing.add_all(bodies)
        self._waiting[peer] = channel
        _send_frames(self.socket, channel, frames)

    def fence(self, path: str, epoch: int) -> None:
        """Refuse every incarnation of ``path`` before ``epoch`` from now on, also where the new one never spoke yet.

        What was taken from an older one before stays taken; what it still sends is counted and not acknowledged.
        """
        self._channel(path).incoming.saw(epoch)

    def _channel(self, path: str) -> _Channel:
        channel = self._channels.get(path)
        if channel is None:
            channel = self._channels[path] = _Channel(self._me.epoch)
        return channel

    def acknowledge(self) -> None:
        """Send the receipts that are due; call it after the commit."""
        if not self._unanswered:
            return
        unanswered, self._unanswered = self._unanswered, {}
        for channel in unanswered.values():
            receipt = channel.incoming.receipt(self._me.epoch)
            if receipt is not None:
                try_send(self.socket, [channel.identity, receipt])

    def send_again(self) -> None:
        """Repeat everything that waits for a receipt."""
        for channel in self._waiting.values():
            self._send_again(channel)

    def _send_again(self, channel: _Channel) -> None:
        _send_frames(self.socket, channel, channel.outgoing.again())

    def waiting(self, peer: str | None = None) -> int:
        """Count the posts without a receipt, of one peer or of all."""
        if peer is not None:
            return len(self._channels[peer].outgoing.waiting) if peer in self._channels else 0
        return sum(len(channel.outgoing.waiting) for channel in self._waiting.values()) if self._waiting else 0

    def oldest(self) -> dict[str, int]:
        """Give the sequence of the oldest post without a receipt, by peer; peers without one are left out."""
        return {peer: each.outgoing.waiting[0][0] for peer, each in self._channels.items() if each.outgoing.waiting}


class Spoke:
    """The side of a link that connects: a DEALER to one hub. It greets at each connection, and repeats what waits.

    That a connection stands the hub says itself, by an empty frame before any other, as soon as its loop has seen it.
    """

    def __init__(self, socket: "zmq.Socket[bytes]", peer: str, me: Address) -> None:
        """Take a connecting socket."""
        self.socket = socket
        self.peer = peer
        self._me = me
        self._channel = _Channel(me.epoch)
        self._channel.is_spoke = True
        self._datagram = Header(Kind.DATAGRAM, me.epoch, 0, 0).encode()
        self._is_new = False

    def connected(self) -> bool:
        """Say whether ``receive`` has come upon a new connection since this was asked last; greet and repeat then."""
        is_new, self._is_new = self._is_new, False
        if is_new:
            try_send(self.socket, [self._datagram])
            self.send_again()
        return is_new

    def wait_connected(self, milliseconds: int) -> None:
        """Wait, at most so long, until something can leave, and send what waits; only for the time before the loop.

        ``connected`` comes all the same: the hub may not have seen the connection yet.
        """
        if self.socket.poll(milliseconds, zmq.POLLOUT):
            self.send_again()

    def receive(self) -> Iterator[Heard]:
        """Give what the hub said; outdated incarnations of it are dropped."""
        left, incoming = DRAIN_MAX, self._channel.incoming
        for frame in _singles(self.socket):
            if not frame:
                self._is_new = True
                continue
            header = Header.decode(frame)
            if not incoming.saw(header.epoch):
                continue
            if header.kind in _PARCELS:
                bodies = bodies_of(frame) if header.kind == Kind.RUN else (frame[HEADER_BYTES:],)
                left -= len(bodies)
                for body in bodies[len(bodies) - incoming.takes(header, len(bodies)) :]:
                    yield Heard(self.peer, header.epoch, body, is_sure=True)
                if left <= 0:
                    return
            elif header.kind == Kind.RECEIPT:
                self._channel.outgoing.acknowledged(header)
            else:
                yield Heard(self.peer, header.epoch, frame[HEADER_BYTES:], is_sure=False)

    def post(self, body: bytes, *, is_sure: bool) -> None:
        """Send to the hub. A sure post waits where it is not there; another is dropped."""
        if not _fits(body, is_sure=is_sure):
            return
        try_send(self.socket, [self._channel.outgoing.add(body) if is_sure else self._datagram + body])

    def post_all(self, bodies: Sequence[bytes]) -> None:
        """Send sure posts, as ``post`` does one by one, in as few frames as that takes."""
        assert max(map(len, bodies), default=0) <= FRAME_BYTES_MAX, "one of them is too large for any wire"
        _send_frames(self.socket, self._channel, self._channel.outgoing.add_all(bodies))

    def acknowledge(self) -> None:
        """Send the receipt that is due; call it after the commit."""
        receipt = self._channel.incoming.receipt(self._me.epoch)
        if receipt is not None:
            try_send(self.socket, [receipt])

    def send_again(self) -> None:
        """Repeat everything that waits for a receipt."""
        _send_frames(self.socket, self._channel, self._channel.outgoing.again())

    def waiting(self) -> int:
        """Count the posts without a receipt."""
        return len(self._channel.outgoing.waiting)

    def oldest(self) -> int:
        """Give the sequence of the oldest post without a receipt; 0 where there is none."""
        waiting = self._channel.outgoing.waiting
        return waiting[0][0] if waiting else 0


class Foreign:
    """A subscription to a publisher that is not ours.

    libzmq connects again by itself when the publisher goes, but never after a frame above the limit: it takes that
    for a breach of the protocol and drops the connection for good. So a loss that it does not mend is mended here.
    """

    def __init__(self, socket: "zmq.Socket[bytes]", monitor: "zmq.Socket[bytes]", url: str) -> None:
        """Take a connecting socket and its monitor."""
        self.socket = socket
        self.monitor = monitor
        self._url = url
        self._is_lost = False
        self._keys: frozenset[bytes] = frozenset()

    def follow(self, prefixes: Iterable[str]) -> None:
        """Subscribe to exactly these prefixes; what arrived under another one before may still be given."""
        self._keys = _subscribed(self.socket, self._keys, {prefix.encode() for prefix in prefixes})

    def watch(self) -> None:
        """Take the monitor's events: a retry always follows a loss at once, where there is one."""
        for frames in drain(self.monitor):
            self._is_lost = parse_monitor_message(frames)["event"] == zmq.EVENT_DISCONNECTED

    def mend(self) -> bool:
        """Connect again where libzmq gave up, and say so. Call it now and then, not at once: it has no backoff."""
        if not self._is_lost:
            return False
        self._is_lost = False
        self.socket.disconnect(self._url)
        self.socket.connect(self._url)
        return True


class Guarded:
    """The control socket's door for clients with keys: who knocks, who is in, what they say.

    Whoever holds it answers each visitor, at once, or they wait until their handshake times out.
    """

    def __init__(
        self, socket: "zmq.Socket[bytes]", visitors: "zmq.Socket[bytes]", monitor: "zmq.Socket[bytes]"
    ) -> None:
        """Take the door's three sockets; nobody can reach it yet."""
        self.socket, self.visitors, self.monitor = socket, visitors, monitor
        self._listens = ""

    def listen(self, url: str) -> str:
        """Let clients come; give "" or why that is not possible now."""
        try:
            self.socket.bind(url)
        except zmq.ZMQError as error:
            return f"{url}: {error.strerror or error}"
        self._listens = url
        if url.startswith("ipc://"):
            Path(url.removeprefix("ipc://")).chmod(0o600)
        return ""

    def shut(self) -> None:
        """Let nobody come, and break every connection that stands. Clients connect again by themselves."""
        if self._listens:
            with suppress(zmq.ZMQError):
                self.socket.unbind(self._listens)
        self._listens = ""

    def knocking(self) -> "Iterator[Visitor]":
        """Give those whose keys wait for an answer. What is no CURVE handshake does not come so far."""
        for frames in drain(self.visitors):
            try:
                address, _, version, request, _domain, peer, _identity, mechanism, key = frames
            except ValueError:
                continue
            if version == b"1.0" and mechanism == b"CURVE" and len(key) == _KEY_BYTES:
                text = z85.encode(key).decode()
                yield Visitor(address, request, text, peer.decode(errors="replace"))
            else:
                self._say(address, request, b"400", b"")

    def admit(self, visitor: Visitor, *, is_welcome: bool) -> None:
        """Let a visitor in or not. What it says later is marked with its public key."""
        status, user = (b"200", visitor.key.encode()) if is_welcome else (b"400", b"")
        self._say(visitor.address, visitor.request, status, user)

    def _say(self, address: bytes, request: bytes, status: bytes, user: bytes) -> None:
        text = b"OK" if status == b"200" else b"this key is not listed"
        try_send(self.visitors, [address, b"", b"1.0", request, status, text, user, b""])

    def arrivals(self) -> "Iterator[Connection]":
        """Give what became of connections since."""
        for frames in drain(self.monitor):
            came = parse_monitor_message(frames)["event"] == zmq.EVENT_ACCEPTED
            yield Connection.CAME if came else Connection.WENT


class GuardedClient:
    """The other side of a guarded door."""

    def __init__(self, socket: "zmq.Socket[bytes]", monitor: "zmq.Socket[bytes]") -> None:
        """Take a connecting socket and its monitor."""
        self.socket, self.monitor = socket, monitor

    def refusals(self) -> "Iterator[bool]":
        """Give each try that failed since: True where the door refused our key, False where its own was not proved."""
        for frames in drain(self.monitor):
            yield parse_monitor_message(frames)["event"] == zmq.EVENT_HANDSHAKE_FAILED_AUTH


class Publisher:
    """A stream: numbered items on topics. Each new subscriber is told the topic's head, and nobody else is."""

    def __init__(self, socket: "zmq.Socket[bytes]", epoch: int) -> None:
        """Take a bound XPUB socket."""
        self.socket = socket
        self._epoch = epoch
        self._head = 0
        self._last: dict[bytes, int] = {}
        self._volatile: dict[bytes, int] = {}
        self._fresh: dict[bytes, int] = {}
        self._keys: dict[str, bytes] = {}

    def start(self, head: int, last: dict[str, int]) -> None:
        """Continue a stream that has a memory: its head and each topic's last sequence."""
        self._head = head
        self._last = {topic.encode() + TOPIC_END: sequence for topic, sequence in last.items()}

    def publish(self, topic: str, sequence: int, previous: int, body: bytes) -> None:
        """Say an item. Sequence 0 means a topic without memory, which is numbered here."""
        if len(body) > FRAME_BYTES_MAX and not _fits(body, is_sure=bool(sequence)):
            return
        key = self._keys.get(topic) or self._key(topic)
        if sequence:
            kind, self._head = _ITEM, sequence
            self._last[key], self._fresh[key] = sequence, 0
        else:
            kind, previous = _VOLATILE, self._volatile.get(key, 0)
            sequence = self._volatile[key] = previous + 1
        try_send(self.socket, [key + pack_header(kind, self._epoch, sequence, previous) + body])

    def publish_all(self, items: Iterable[Item]) -> None:
        """Say items, as ``publish`` does one by one, in as few frames as that takes; each arrives by itself."""
        for run in together(items):
            topic, first, previous, body = run[0]
            if len(run) == 1:
                self.publish(topic, first, previous, body)
                continue
            key = self._keys.get(topic) or self._key(topic)
            self._head = self._last[key] = run[-1][1]
            self._fresh[key] = 0
            try_send(self.socket, [key + pack_header(_ITEMS, self._epoch, first, previous) + run_of(run)])

    def _key(self, topic: str) -> bytes:
        if len(self._keys) >= NAMED_MAX:
            self._keys.clear()
        key = self._keys[topic] = topic.encode() + TOPIC_END
        return key

    def subscriptions(self) -> None:
        """Answer those who ask for a topic's head; the answer also confirms their subscription to it."""
        for (frame,) in drain(self.socket):
            if frame[:2] == b"\x01" + ASK:
                topic, end, _ = frame[2:].partition(TOPIC_END)
                self._announce(topic + end, frame[1:])

    @property
    def has_news(self) -> bool:
        """Whether a head is to be announced some time."""
        return bool(self._fresh)

    def announce(self) -> None:
        """Announce the heads of topics that said something lately (call it every 100 ms; seven times after an item)."""
        for key, turn in list(self._fresh.items()):
            self._fresh[key] = turn + 1
            if turn + 1 in SAID_AGAIN:
                self._announce(key, key)
            if turn + 1 >= max(SAID_AGAIN):
                del self._fresh[key]

    def _announce(self, key: bytes, to: bytes) -> None:
        head = Header(Kind.HEAD, self._epoch, self._head, self._last.get(key, 0))
        try_send(self.socket, [to + head.encode()])


class Subscriber:
    """The reader of a stream."""

    def __init__(self, socket: "zmq.Socket[bytes]", me: Address) -> None:
        """Take a connecting SUB socket."""
        self.socket = socket
        self._me = me.identity()
        self._keys: frozenset[bytes] = frozenset()

    def follow(self, topics: Iterable[str]) -> None:
        """Listen to exactly these topics ("" is everything); what arrived of another one before may still be given.

        A new topic's head comes as its confirmation, as at the start.
        """
        wanted = {topic.encode() + (TOPIC_END if topic else b"") for topic in topics}
        asked = {ASK + (key or TOPIC_END) + self._me for key in wanted}
        self._keys = _subscribed(self.socket, self._keys, wanted | asked)

    def receive(self) -> Iterator[StreamItem]:
        """Give items and heads in the order of their arrival; it ends early where there are very many."""
        left = DRAIN_MAX
        for frame in _singles(self.socket):
            at = len(frame) - HEADER_BYTES if frame[:1] == ASK else frame.index(TOPIC_END) + 1
            header = Header.decode(frame, at)
            topic, _, asker = frame[:at].removeprefix(ASK).partition(TOPIC_END)
            if asker not in {b"", self._me}:
                continue  # whoever hears everything hears what others asked too
            name, at, previous = topic.decode(), at + HEADER_BYTES, header.second
            if header.kind == _ITEMS:
                items = items_of(frame, at)
                left -= len(items)
                for sequence, body in items:
                    yield StreamItem(name, sequence, previous, body, True)
                    previous = sequence
                if left <= 0:
                    return
                continue
            body = None if header.kind == Kind.HEAD else frame[at:]
            yield StreamItem(name, header.sequence, previous, body, header.kind != Kind.VOLATILE)
