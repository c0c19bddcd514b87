"""Under what a strategy evaluated each bar: the log of its own store, by which a replay tells it the same again."""

import msgspec

from runtime.effects import Effects
from runtime.store import Reader

#: What a strategy is under: how often its memory was left aside, whether the bar is live, and its arguments.
Under = tuple[int, bool, bytes]


class Chapter(msgspec.Struct, frozen=True, array_like=True, tag="chapter"):
    """From the bar of sequence ``bar`` on, something is other than before; written with that bar.

    ``journal_sequence`` is the last own record that the strategy had been told of. ``epoch`` is the process's, so each
    start begins a chapter. ``rebuilt`` counts how often the memory was left aside: where it grew, all bars came again.
    ``is_live`` is False where bars are taken in without trading. ``arguments`` are those in force, as root tells them.
    """

    bar: int
    journal_sequence: int
    epoch: int
    rebuilt: int
    is_live: bool
    arguments: bytes


class Evaluated(msgspec.Struct, frozen=True, array_like=True, tag="evaluated"):
    """One bar without a step, where own records are told as they come: ``journal_sequence`` was the last one."""

    bar: int
    journal_sequence: int


def read_chapters(store: Reader) -> list[Chapter | Evaluated]:
    """Give everything that a strategy's store says of how it evaluated, oldest first.

    Raises:
        StoreError: A record is damaged or missing.
        msgspec.DecodeError: A record is of another version of the desk.
    """
    decoder = msgspec.msgpack.Decoder(Chapter | Evaluated)
    return [decoder.decode(data) for _, data in store.records()]


class Chapters:
    """Writes them: one where something is new, and without steps one a bar."""

    def __init__(self, store: Reader, epoch: int, *, is_stepped: bool) -> None:
        """Go on behind what is there; the first bar of each process begins a chapter."""
        self._head = store.head()
        self._epoch, self._is_stepped = epoch, is_stepped
        self._under: Under | None = None

    def evaluates(self, bar: int, journal_sequence: int, under: Under, effects: Effects) -> None:
        """Note that a bar is evaluated, by its sequence."""
        if under != self._under:
            self._under = under
            self._append(Chapter(bar, journal_sequence, self._epoch, *under), effects)
        elif not self._is_stepped:
            self._append(Evaluated(bar, journal_sequence), effects)

    def _append(self, record: Chapter | Evaluated, effects: Effects) -> None:
        self._head += 1
        effects.append(self._head, msgspec.msgpack.encode(record))
