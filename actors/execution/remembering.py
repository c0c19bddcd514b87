"""Execution with a memory of what no other store has: operators' words, strategies put away, its own starts.

Verdicts are in risk's log and reports in the venue's; from these and from what is kept here the journal follows, and a
replay can show that it does.
"""

from collections.abc import Iterator
from typing import Any

import msgspec
from typing_extensions import override

from actors.execution.room import Execution
from actors.topics import PUT_AWAY, strategy_at
from desk.messages import (
    AdoptionWished,
    AwayWished,
    CancelWanted,
    CapitalWished,
    FlatteningWished,
    ResolutionWished,
)
from runtime.effects import Effects
from runtime.store import Reader, Store
from runtime.words import Peer

_TABLE = "told"
_RUNNING = "RUNNING"
#: What an operator says that changes something; questions change nothing.
_WISHES = (AwayWished, CapitalWished, AdoptionWished, CancelWanted, ResolutionWished, FlatteningWished)


class Started(msgspec.Struct, frozen=True, array_like=True, tag="started"):
    """A process began here, with these arguments."""

    arguments: bytes


class Reconfigured(msgspec.Struct, frozen=True, array_like=True, tag="reconfigured"):
    """These arguments hold from here on."""

    arguments: bytes


class PeersTold(msgspec.Struct, frozen=True, array_like=True, tag="peers"):
    """Which strategies are put away, of all that there are at first, then of those that are otherwise."""

    peers: tuple[Peer, ...]


class WordTold(msgspec.Struct, frozen=True, array_like=True, tag="word"):
    """An operator wished this, in the form of the wire."""

    body: bytes


Told = Started | Reconfigured | PeersTold | WordTold


def read_told(store: Reader) -> Iterator[tuple[int, Told]]:
    """Give what execution was told, in order, each behind the journal's record of that sequence.

    Raises:
        StoreError: An entry is damaged.
        msgspec.DecodeError: An entry is of another version of the desk.
    """
    decoder: msgspec.msgpack.Decoder[Told] = msgspec.msgpack.Decoder(Told)
    for key, data in store.scan(_TABLE):
        yield int.from_bytes(key[:8], "big"), decoder.decode(data)


class RememberingExecution(Execution):
    """Keeps, beside each such word, how far the journal was when it came."""

    def __init__(self, *, arguments: bytes, epoch: int, store: Store, **world: Any) -> None:
        """Take what execution takes, its arguments as root told them, and this process's epoch."""
        super().__init__(store=store, **world)
        self._arguments, self._epoch, self._number = arguments, epoch, 0
        self._states: dict[str, str] | None = None

    def _remember(self, told: Told, effects: Effects) -> None:
        key = self._journal.head.to_bytes(8, "big") + self._epoch.to_bytes(4, "big") + self._number.to_bytes(4, "big")
        self._number += 1
        effects.put(_TABLE, key, msgspec.msgpack.encode(told))

    @override
    def recover(self) -> Effects:
        effects = Effects()
        self._remember(Started(self._arguments), effects)
        effects.add(super().recover())
        return effects

    @override
    def reconfigured(self, arguments: bytes) -> Effects:
        effects = Effects()
        self._remember(Reconfigured(arguments), effects)
        effects.add(super().reconfigured(arguments))
        return effects

    @override
    def _hear_operator(self, word: Any, effects: Effects) -> None:
        if isinstance(word, _WISHES):
            self._remember(WordTold(self._codec.encode(word)), effects)
        super()._hear_operator(word, effects)

    @override
    def peers(self, peers: tuple[Peer, ...]) -> Effects:
        news = self._news(peers)
        if news is None:
            return super().peers(peers)
        effects = Effects()
        self._remember(PeersTold(news), effects)
        effects.add(super().peers(peers))
        return effects

    def _news(self, peers: tuple[Peer, ...]) -> tuple[Peer, ...] | None:
        """Give the strategies that were put away or came back, all at first; None where nothing of that kind is new."""
        is_first, known = self._states is None, self._states or {}
        news: list[Peer] = []
        for peer in peers:
            if strategy_at(peer.path):
                state = peer.state if peer.state in PUT_AWAY else _RUNNING
                if is_first or known.get(peer.path, _RUNNING) != state:
                    news.append(msgspec.structs.replace(peer, state=state))
                known[peer.path] = state
        self._states = known
        return tuple(news) if news or is_first else None
