"""Streams: numbered items on topics, so that whoever misses one sees the gap and asks its owner."""

from collections.abc import Iterable, Iterator

from runtime.bus.frames import DRAIN_MAX, FRAME_BYTES_MAX, Socket, drain, fits, singles, subscribed, try_send
from runtime.bus_words import Address, StreamItem
from runtime.link import HEADER_BYTES, Header, Kind, pack_header
from runtime.stream import Item, items_of, run_of, together

TOPIC_END = b"\x00"
#: Begins the subscription by which one subscriber asks for the head of a topic, for itself alone: this, the topic's
#: key, who asks. No topic begins like it, and a connection that is made anew says it behind all topics.
ASK = b"\xff"
#: The head is said again at these turns behind an item, ever more rarely, and not beyond the last.
SAID_AGAIN = frozenset({1, 2, 4, 8, 16, 32, 50})
#: Topics of which a publisher remembers the key.
NAMED_MAX = 10_000

_ITEM, _ITEMS, _VOLATILE = int(Kind.ITEM), int(Kind.ITEMS), int(Kind.VOLATILE)


class Publisher:
    """A stream: numbered items on topics. Each new subscriber is told the topic's head, and nobody else is."""

    def __init__(self, socket: "Socket[bytes]", epoch: int) -> None:
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
        if len(body) > FRAME_BYTES_MAX and not fits(body, is_sure=bool(sequence)):
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

    def __init__(self, socket: "Socket[bytes]", me: Address) -> None:
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
        self._keys = subscribed(self.socket, self._keys, wanted | asked)

    def receive(self) -> Iterator[StreamItem]:
        """Give items and heads in the order of their arrival; it ends early where there are very many."""
        left = DRAIN_MAX
        for frame in singles(self.socket):
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
