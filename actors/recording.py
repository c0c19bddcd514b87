"""A strategy's process with a record of all that it is told: what decides on ticks is replayed from nothing else.

The record lies in the strategy's own store, in parts: each start begins one, with the memory that it begins on. It is
bounded; what is oldest goes first, and a part that fills it alone ends, and says so.
"""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from typing_extensions import override

from actors.strategy_memory import copied
from desk.messages import Intent
from runtime.bus_words import StreamItem
from runtime.clock import Clock
from runtime.codec import Codec
from runtime.effects import Effects
from runtime.room import NOTHING, Room
from runtime.store import Reader, Store
from runtime.words import Peer, Turn

#: How large all parts together may become, as they are counted here. A strategy's store may become four times as large.
RECORD_BYTES_MAX = 64 << 20
#: What each word takes besides itself: its key, its digest, its place in a page.
WORD_BYTES = 48
#: Words of the oldest part that go for each new one, so that no turn takes long.
DROPPED_AT_ONCE = 200
_WORDS, _PARTS = "told", "told_parts"


class _Told(msgspec.Struct, frozen=True, array_like=True, tag_field="told"):
    """Base of what a strategy's process is told."""


class Began(_Told, frozen=True, tag="began"):
    """A process began, on this memory and with these arguments; ``kept`` is what its store held of it."""

    epoch: int
    arguments: bytes
    kept: dict[bytes, bytes]
    wall_ns: int


class Heard(_Told, frozen=True, tag="heard"):
    """A word of a peer."""

    peer: str
    epoch: int
    body: bytes


class Streamed(_Told, frozen=True, tag="streamed"):
    """An item of a stream, or its head where ``body`` is None."""

    peer: str
    topic: str
    sequence: int
    previous: int
    has_memory: bool
    body: bytes | None


class Turned(_Told, frozen=True, tag="turned"):
    """A turn in a step."""

    turn: Turn
    payload: bytes


class Rearranged(_Told, frozen=True, tag="rearranged"):
    """Other arguments."""

    arguments: bytes


class Linked(_Told, frozen=True, tag="linked"):
    """A link to a hub stands."""

    peer: str


class Timed(_Told, frozen=True, tag="timed"):
    """A timer came due."""

    name: str


class Wanted(_Told, frozen=True, tag="wanted"):
    """What the strategy wanted on the word before."""

    intents: tuple[Intent, ...]


Told = Began | Heard | Streamed | Turned | Rearranged | Linked | Timed | Wanted


class Part(msgspec.Struct, frozen=True, array_like=True):
    """One part of the record: full, it ended before its process did; of one that goes, ``gone`` words went."""

    words: int = 0
    bytes: int = 0
    is_full: bool = False
    gone: int = 0


def read_parts(store: Reader) -> dict[int, Part]:
    """Give the parts that there are, oldest first, by number; also one that is going.

    Raises:
        StoreError: One is damaged.
    """
    return {int.from_bytes(key, "big"): msgspec.msgpack.decode(data, type=Part) for key, data in store.scan(_PARTS)}


def read_part(store: Reader, number: int) -> Iterator[Told]:
    """Give the words of a part, oldest first.

    Raises:
        StoreError: One is damaged.
        msgspec.DecodeError: One is of another version of the desk.
    """
    decoder: msgspec.msgpack.Decoder[Told] = msgspec.msgpack.Decoder(Told)
    for _, data in store.scan(_WORDS, number.to_bytes(4, "big")):
        yield decoder.decode(data)


class Recording(Room):
    """Is the room that it is given, and keeps what that is told, with each commit of its own."""

    def __init__(  # noqa: PLR0913 - the room, and what a record needs besides
        self,
        room: Room,
        store: Store,
        codec: Codec,
        clock: Clock,
        *,
        epoch: int,
        arguments: bytes,
        most: int = RECORD_BYTES_MAX,
    ) -> None:
        """Take the room, before ``recover``, with the store that it keeps its memory in; ``most`` is in bytes."""
        self._room, self._store, self._codec, self._clock = room, store, codec, clock
        self._epoch, self._arguments, self._most = epoch, arguments, most
        self._parts = read_parts(store)
        self._number = max(self._parts, default=0) + 1
        self._part = Part()
        self._dropped = 0

    # --- the record ---------------------------------------------------------------------------

    def _keep(self, told: Told, effects: Effects) -> Effects:
        """Keep a word and what was wanted on it, and give the effects with both."""
        if self._part.is_full:
            return effects
        if effects is NOTHING:
            effects = Effects()
        intents = tuple(post.word for post in effects.posts if isinstance(post.word, Intent))
        self._write(told, effects)
        if intents:
            self._write(Wanted(intents), effects)
        if self._bytes() > self._most:
            self._part = msgspec.structs.replace(self._part, is_full=not self._drop(effects))
        effects.put(_PARTS, self._number.to_bytes(4, "big"), msgspec.msgpack.encode(self._part))
        return effects

    def _write(self, told: Told, effects: Effects) -> None:
        data = msgspec.msgpack.encode(told)
        part = self._part
        effects.put(_WORDS, self._number.to_bytes(4, "big") + part.words.to_bytes(8, "big"), data)
        self._part = msgspec.structs.replace(part, words=part.words + 1, bytes=part.bytes + len(data) + WORD_BYTES)

    def _bytes(self) -> int:
        return self._part.bytes + sum(part.bytes for part in self._parts.values())

    def _drop(self, effects: Effects) -> bool:
        """Remove some of the oldest part; False where there is none but the present one."""
        oldest = min(self._parts, default=None)
        if oldest is None:
            return False
        key, part = oldest.to_bytes(4, "big"), self._parts[oldest]
        upto = min(part.words, part.gone + DROPPED_AT_ONCE)
        for number in range(part.gone, upto):
            effects.delete(_WORDS, key + number.to_bytes(8, "big"))
        if upto == part.words:
            del self._parts[oldest]
            effects.delete(_PARTS, key)
            self._dropped += 1
            return True
        left = part.bytes * (part.words - upto) // (part.words - part.gone)
        self._parts[oldest] = msgspec.structs.replace(part, bytes=left, gone=upto)
        effects.put(_PARTS, key, msgspec.msgpack.encode(self._parts[oldest]))
        return True

    # --- the room -----------------------------------------------------------------------------

    @override
    def recover(self) -> Effects:
        kept = {each.key: each.data for each in copied(self._store)}
        began = Began(self._epoch, self._arguments, kept, self._clock.wall_ns())
        return self._keep(began, self._room.recover())

    @override
    def hear(self, peer: str, epoch: int, word: Any) -> Effects:
        return self._keep(Heard(peer, epoch, self._codec.encode(word)), self._room.hear(peer, epoch, word))

    @override
    def hear_stream(self, peer: str, item: StreamItem, word: Any) -> Effects:
        body = None if word is None else self._codec.encode(word)
        told = Streamed(peer, item.topic, item.sequence, item.previous, item.has_memory, body)
        return self._keep(told, self._room.hear_stream(peer, item, word))

    @override
    def begin(self, turn: Turn, payload: Any) -> Effects:
        body = b"" if payload is None else self._codec.encode(payload)
        told = Turned(msgspec.structs.replace(turn, payload=b""), body)
        return self._keep(told, self._room.begin(turn, payload))

    @override
    def reconfigured(self, arguments: bytes) -> Effects:
        return self._keep(Rearranged(arguments), self._room.reconfigured(arguments))

    @override
    def connected(self, peer: str) -> Effects:
        return self._keep(Linked(peer), self._room.connected(peer))

    @override
    def timer(self, name: str) -> Effects:
        return self._keep(Timed(name), self._room.timer(name))

    @override
    def peers(self, peers: tuple[Peer, ...]) -> Effects:
        return self._room.peers(peers)

    @override
    def take_waker(self, wake: Callable[[], None]) -> None:
        self._room.take_waker(wake)

    @override
    def awake(self) -> Effects:
        return self._room.awake()

    @override
    def settle(self, turn: Turn) -> bytes | None:
        return self._room.settle(turn)

    @override
    def stopping(self) -> Effects:
        return self._room.stopping()

    @override
    def facts(self) -> dict[str, Any]:
        part = self._part
        why = f"full at {self._most >> 20} MiB; a restart of the strategy begins anew" if part.is_full else ""
        recording = {
            "part": self._number,
            "words": part.words,
            "bytes": self._bytes(),
            "most": self._most,
            "parts_dropped": self._dropped,
            "ended": why,
        }
        return {**self._room.facts(), "recording": recording}
