"""Which records of the journal concern whom: blocks of sequences in the store, and what is newer in memory.

A strategy that comes back asks for its own records behind the last one that it knows. The store is told of them once in
a while, so an order costs its record and nothing else; what is not there yet is found again when the journal is folded.
"""

import struct
from collections.abc import Callable

from runtime.effects import Effects, Put
from runtime.store import Reader

#: strategy, 0, the block's last sequence -> all its sequences; nothing stands for that one alone.
OWN = "own"
#: Up to which record of the journal the blocks say everything.
OWN_KNOWN = "own_known"
#: Sequences that one block holds at most.
BLOCK_MAX = 500
_MARK = b"upto"
_SEQUENCE_BYTES = 8


class OwnRecords:
    """The own records of each strategy, in order."""

    def __init__(self, store: Reader) -> None:
        """Know what the store says; whoever folds the journal adds what is behind that."""
        self._store = store
        self._known = int.from_bytes(store.get(OWN_KNOWN, _MARK) or b"", "big")
        self._newer: dict[str, list[int]] = {}
        self._leaving: dict[str, list[int]] = {}

    def add(self, strategy: str, sequence: int) -> None:
        """Take in the next record; one that the store knows already changes nothing."""
        if sequence > self._known:
            own = self._newer.get(strategy)
            if own is None:
                own = self._newer[strategy] = []
            own.append(sequence)

    def add_behind(self, strategy: str) -> Callable[[int], None]:
        """Give what takes in records of one strategy, each behind all that the store knows, until they are put away."""
        own = self._newer.get(strategy)
        if own is None:
            own = self._newer[strategy] = []
        return own.append

    def put_away(self, head: int, effects: Effects) -> None:
        """Keep in the store what is known up to ``head``, the last record that was added."""
        for strategy, own in self._newer.items():
            for begin in range(0, len(own), BLOCK_MAX):
                block = own[begin : begin + BLOCK_MAX]
                effects.put(OWN, own_key(strategy, block[-1]), struct.pack(f">{len(block)}Q", *block))
        effects.writes.append(known_up_to(head))
        self._known = head
        # Until the commit the store does not have it; whoever asks before the next time gets it from here.
        self._leaving, self._newer = self._newer, {}

    def behind(self, strategy: str, after: int, most: int) -> list[int]:
        """Give the sequences of own records behind ``after``, oldest first, at most ``most``; of all that is added."""
        found: list[int] = []
        for key, data in self._store.scan(OWN, own_key(strategy, 0)[:-_SEQUENCE_BYTES], own_key(strategy, after + 1)):
            last = int.from_bytes(key[-_SEQUENCE_BYTES:], "big")
            block = struct.unpack(f">{len(data) // _SEQUENCE_BYTES}Q", data) or (last,)
            found += [sequence for sequence in block if sequence > after]
            if len(found) >= most:
                return found[:most]
        for newer in (self._leaving, self._newer):
            last = found[-1] if found else after
            found += [sequence for sequence in newer.get(strategy, ()) if sequence > last]
        return found[:most]


def own_key(strategy: str, sequence: int) -> bytes:
    """Give the key of the block that ends with this record."""
    return strategy.encode() + b"\x00" + sequence.to_bytes(_SEQUENCE_BYTES, "big")


def known_up_to(head: int) -> Put:
    """Give what says that everything up to ``head`` is in the store."""
    return Put(OWN_KNOWN, _MARK, head.to_bytes(_SEQUENCE_BYTES, "big"))
