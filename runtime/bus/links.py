"""Links: hubs and spokes that repeat what has no receipt yet, and know an outdated incarnation of their peer."""

from collections.abc import Iterable, Iterator, Sequence

import zmq

from runtime.bus.frames import DRAIN_MAX, FRAME_BYTES_MAX, NOW, fits, has_more, none_of, receive, singles, try_send
from runtime.bus_words import Address, Heard, Said
from runtime.errors import WireError
from runtime.link import HEADER_BYTES, Header, Incoming, Kind, Outgoing, bodies_of, unpack_header

#: Parcels one link may have waiting for receipts. More means that the other side is gone for good.
WAITING_MAX = 20_000
#: Identities of peers that a hub remembers the meaning of.
NAMED_MAX = 10_000

_RUN = int(Kind.RUN)
_PARCELS = frozenset({int(Kind.PARCEL), _RUN})


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
                identity = receive(socket, NOW)  # a router's first frame is always followed by another
                part = receive(socket, NOW, copy=False)
            except zmq.Again:
                return
            frame, count = none_of(socket, part) if part.more else part.bytes, 1
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
            if count >= self._share or (left == DRAIN_MAX - 1 and not has_more(socket)):
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
        if not fits(body, is_sure=is_sure):
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
        for frame in singles(self.socket):
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
        if not fits(body, is_sure=is_sure):
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
