"""Sockets to those who are not ours: a foreign publisher, and the control door for clients with keys."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import zmq
from zmq.utils import z85
from zmq.utils.monitor import parse_monitor_message

from runtime.bus.frames import drain, subscribed, try_send
from runtime.bus_words import Connection, Visitor

_KEY_BYTES = 32


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
        self._keys = subscribed(self.socket, self._keys, {prefix.encode() for prefix in prefixes})

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
