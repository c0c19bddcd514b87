"""ZeroMQ, and nothing else that knows it: hubs, spokes, streams, foreign feeds, the control socket.

No link of a queue alone is durable. A hub or spoke repeats a parcel until its receipt comes; a stream numbers its
items so that whoever misses one sees the gap and asks its owner. High-water marks are set on purpose on every socket.
"""

from pathlib import Path

import zmq

from runtime.bus.frames import FRAME_BYTES_MAX
from runtime.bus.links import Hub, Spoke
from runtime.bus.outside import Foreign, Guarded, GuardedClient
from runtime.bus.streams import Publisher, Subscriber
from runtime.bus_words import Address

#: Frames a link's socket may queue. Lost ones come again, so this bounds memory only.
LINK_HWM = 20_000
#: Frames a stream may queue for each subscriber. A slower reader loses the newest, sees the gap and asks the owner.
STREAM_HWM = 50_000
#: What a frame may have beside its body: topic, header, lengths.
BESIDE_BYTES_MAX = 4096
#: Largest frame a foreign feed may send; a tick has a few hundred bytes.
FOREIGN_FRAME_BYTES_MAX = 64 * 1024
#: Largest frame that the control socket takes in, from the desk's own user and from a client with a key. Both are far
#: above the largest request, so that one which is somewhat too large still gets an answer.
CONTROL_FRAME_BYTES_MAX = 1 << 20
GUARDED_FRAME_BYTES_MAX = 128 * 1024 + 33  # so many bytes CURVE puts around a frame
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

_FAILURES = zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL


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

    def hub(self, share: int = 0) -> Hub:
        """Open this process's own hub, to which its peers connect; ``share`` bounds one peer's part of a turn."""
        socket = self._socket(zmq.ROUTER, LINK_HWM, LINK_HWM)
        socket.set(zmq.ROUTER_MANDATORY, 1)
        socket.set(zmq.PROBE_ROUTER, 1)  # by an empty frame each spoke learns that its connection stands
        socket.set(zmq.BACKLOG, BACKLOG)
        socket.bind(self._endpoint(f"{self.me.path}.hub"))
        return Hub(socket, self.me, share)

    def spoke(self, peer: str) -> Spoke:
        """Connect to the hub of ``peer``, which need not be there yet."""
        socket = self._socket(zmq.DEALER, LINK_HWM, LINK_HWM)
        socket.set(zmq.IDENTITY, self.me.identity())
        socket.set(zmq.IMMEDIATE, 1)
        socket.connect(self._endpoint(f"{peer}.hub"))
        return Spoke(socket, peer, self.me)

    def publisher(self) -> Publisher:
        """Open this process's own stream."""
        socket = self._socket(zmq.XPUB, STREAM_HWM, LINK_HWM)
        socket.set(zmq.XPUB_VERBOSE, 1)
        socket.set(zmq.BACKLOG, BACKLOG)
        socket.bind(self._endpoint(f"{self.me.path}.stream"))
        return Publisher(socket, self.me.epoch)

    def subscriber(self, peer: str, topics: tuple[str, ...]) -> Subscriber:
        """Listen to ``topics`` of the stream of ``peer``; "" is everything."""
        socket = self._socket(zmq.SUB, LINK_HWM, STREAM_HWM)
        subscriber = Subscriber(socket, self.me)
        subscriber.follow(topics)
        socket.connect(self._endpoint(f"{peer}.stream"))
        return subscriber

    def foreign(self, url: str, prefixes: tuple[str, ...]) -> Foreign:
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

    def guarded_server(self, secret: str) -> Guarded:
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

    def guarded_client(self, url: str, server: str, keys: tuple[str, str]) -> GuardedClient:
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
