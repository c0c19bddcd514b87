"""What a room wants to happen: records to keep, words to send, words to publish, timers."""

from typing import NamedTuple

import msgspec


class Append(msgspec.Struct, frozen=True, gc=False):
    """Write the record of ``sequence`` (the store's head + 1) into the log."""

    sequence: int
    data: bytes


class Put(msgspec.Struct, frozen=True, gc=False):
    """Write one entry of a table."""

    table: str
    key: bytes
    data: bytes


class Delete(msgspec.Struct, frozen=True, gc=False):
    """Remove one entry of a table; one that is not there is no error."""

    table: str
    key: bytes


Write = Append | Put | Delete


class Post(msgspec.Struct, frozen=True, gc=False):
    """Send ``word`` to ``peer``.

    ``is_sure``: again and again until acknowledged, across the peer's falls (not across our own: what must
    survive those is posted again in ``recover``). ``is_gated``: in stepped time it leaves only in our own turn.
    """

    peer: str
    word: msgspec.Struct
    is_sure: bool = True
    is_gated: bool = True


class Publish(msgspec.Struct, frozen=True, gc=False):
    """Say ``word`` to everyone who listens to ``topic`` (sequence 0: a stream without memory, newest wins).

    ``body`` is the word as the codec encodes it, for whoever has that at hand; b"" leaves it to the shell.
    """

    topic: str
    word: msgspec.Struct
    sequence: int = 0
    previous: int = 0
    body: bytes = b""


class Listen(NamedTuple):
    """Listen to exactly these topics of a peer's stream from now on; peer "" is the foreign publisher's prefixes."""

    peer: str
    topics: tuple[str, ...]


class Timer(NamedTuple):
    """Have ``timer(name)`` called at ``at_ns`` (monotonic). One of the same name is replaced; 0 takes it away."""

    name: str
    at_ns: int


class Effects(msgspec.Struct, eq=False):
    """The effects of one message, in order. A failed commit drops them all and the room falls."""

    writes: list[Write] = []
    posts: list[Post] = []
    published: list[Publish] = []
    timers: tuple[Timer, ...] = ()  # the last three are seldom used, and a list for each costs every word
    listens: tuple[Listen, ...] = ()
    answers: tuple[tuple[bytes, bytes], ...] = ()
    is_durable: bool = False

    def append(self, sequence: int, data: bytes) -> None:
        """Keep a log record."""
        self.writes.append(Append(sequence, data))

    def put(self, table: str, key: bytes, data: bytes) -> None:
        """Keep a table entry."""
        self.writes.append(Put(table, key, data))

    def delete(self, table: str, key: bytes) -> None:
        """Remove a table entry."""
        self.writes.append(Delete(table, key))

    def post(self, peer: str, word: msgspec.Struct, *, is_sure: bool = True, is_gated: bool = True) -> None:
        """Send a word to one peer."""
        self.posts.append(Post(peer, word, is_sure, is_gated))

    def publish(
        self, topic: str, word: msgspec.Struct, sequence: int = 0, previous: int = 0, body: bytes = b""
    ) -> None:
        """Say a word to all who listen; see ``Publish``."""
        self.published.append(Publish(topic, word, sequence, previous, body))

    def timer(self, name: str, at_ns: int) -> None:
        """Set, move or (with 0) take away a timer."""
        self.timers += (Timer(name, at_ns),)

    def listen(self, peer: str, topics: tuple[str, ...]) -> None:
        """Listen to these topics of a stream that the wiring has, and to no other of it."""
        self.listens += (Listen(peer, topics),)

    def answer(self, address: bytes, data: bytes) -> None:
        """Answer a client of the control socket."""
        self.answers += ((address, data),)

    def add(self, other: "Effects") -> None:
        """Take over everything of ``other``, behind what is here."""
        if other.writes:
            self.writes += other.writes
        if other.posts:
            self.posts += other.posts
        if other.published:
            self.published += other.published
        if other.timers:
            self.timers += other.timers
        if other.listens:
            self.listens += other.listens
        if other.answers:
            self.answers += other.answers
        if other.is_durable:
            self.is_durable = True
