"""A strategy's own room, told its recorded words again, tick by tick: does it want the same on each?"""

from pathlib import Path
from typing import Any

import msgspec

from actors.arguments import STRATEGY_STORE_BYTES, store_path
from actors.evaluator import Evaluator
from actors.makers import arguments_in_force
from actors.recording import (
    Began,
    Heard,
    Linked,
    Rearranged,
    Streamed,
    Timed,
    Told,
    Turned,
    Wanted,
    read_part,
    read_parts,
)
from actors.replaying.code import CodeRoom
from actors.replaying.parts import Asked, Difference, RecordedClock, ReplayError, Side, difference, utc
from actors.replaying.strategies import Outcome
from actors.strategy import StrategyRoom
from actors.strategy_arguments import read_arguments
from actors.strategy_memory import TABLE, Memory
from actors.topics import strategy_path
from actors.words import desk_codec
from desk.messages import Bar, EventsGiven, Intent, JournalRecord, Tick
from runtime.bus_words import StreamItem
from runtime.effects import Effects, Put
from runtime.log import Log
from runtime.store import Reader, Store

#: Words that are shown before a difference.
SHOWN_BEFORE = 5


class ToldReplay:
    """Tells a strategy's room what its record has, part by part: each is one process, on the memory it began on."""

    def __init__(self, name: str, state: Path, asked: Asked, code: CodeRoom, scratch: Path) -> None:
        """Read from a copy of a state folder; ``scratch`` is an empty folder for the strategy's own stores."""
        self._name, self._state, self._asked, self._code, self._scratch = name, state, asked, code, scratch
        self._codec, self._clock, self._log = desk_codec(), RecordedClock(), Log(f"replay/{name}")
        self._others = dict(asked.parameters.get(name, {}))
        self._room: StrategyRoom | None = None
        self._store: Store | None = None
        self._last: list[Side] = []
        self._ts_ns = self._journal = 0
        self.outcome = Outcome(name)

    def run(self) -> Outcome:
        """Replay all parts that are whole.

        Raises:
            ReplayError: The code that it ran is not to be had, or does not take the parameters.
        """
        reader = Reader.open(store_path(self._state, strategy_path(self._name)))
        try:
            for number, part in read_parts(reader).items():
                if not part.gone and not self._replay_part(number, reader):
                    break
        finally:
            reader.close()
            if self._store is not None:
                self._store.close()
        return self.outcome

    def _replay_part(self, number: int, reader: Reader) -> bool:
        """Replay one part; False where what was asked for ends in it."""
        wanted: tuple[Intent, ...] = ()
        place, at = 0, ""
        for told in read_part(reader, number):
            if isinstance(told, Wanted):
                self._compare(at, told.intents, wanted)
                wanted = ()
                continue
            self._compare(at, (), wanted)
            if self._is_behind(told) or (self._asked.is_what_if and self.outcome.differences):
                return False
            place += 1
            at = f"word {place} of part {number}: {self._words(told)}"
            wanted = self._keep(self._tell(told, number))
        self._compare(at, (), wanted)
        return True

    # --- telling ------------------------------------------------------------------------------

    def _tell(self, told: Told, number: int) -> Effects:
        if isinstance(told, Began):
            return self._begin(told, number)
        room, effects = self._room, Effects()
        assert room is not None, "a part begins with a process"
        match told:
            case Heard():
                effects = room.hear(told.peer, told.epoch, self._codec.decode(told.body))
            case Streamed():
                word = None if told.body is None else self._codec.decode(told.body)
                item = StreamItem(told.topic, told.sequence, told.previous, told.body, told.has_memory)
                effects = room.hear_stream(told.peer, item, word)
            case Turned():
                effects = room.begin(told.turn, self._codec.decode(told.payload) if told.payload else None)
            case Rearranged():
                effects = room.reconfigured(self._changed(told.arguments))
            case Linked():
                effects = room.connected(told.peer)
            case Timed():
                effects = room.timer(told.name)
            case Wanted():
                pass
        return effects

    def _begin(self, told: Began, number: int) -> Effects:
        """Make the process that began a part, on the memory of then."""
        if self._store is not None:
            self._store.close()
        folder = self._scratch / str(number)
        store = self._store = Store.open(folder, is_synced=False, map_bytes=STRATEGY_STORE_BYTES)
        store.commit([Put(TABLE, key, data) for key, data in told.kept.items()])
        started_with = read_arguments(self._changed(told.arguments))
        in_force = arguments_in_force(Memory(store, ""), started_with)
        kind = self._code.load(in_force)
        self._clock.now_ns = told.wall_ns
        try:
            evaluator = Evaluator(kind, in_force, told.epoch, store, self._log)
        except ValueError as error:
            msg = f"{self._name}: its code does not take these parameters: {error}. Nothing of it was replayed"
            raise ReplayError(msg) from error
        later = started_with if in_force is not started_with else None
        self._room = StrategyRoom(evaluator, in_force, self._clock, later)
        return self._room.recover()

    def _changed(self, arguments: bytes) -> bytes:
        """Give arguments with what shall be other than it was."""
        if not self._others:
            return arguments
        told = read_arguments(arguments)
        entry = msgspec.structs.replace(told.entry, parameters={**told.entry.parameters, **self._others})
        return msgspec.msgpack.encode(msgspec.structs.replace(told, entry=entry))

    def _keep(self, effects: Effects) -> tuple[Intent, ...]:
        assert self._store is not None, "a part begins with a process"
        if effects.writes:
            self._store.commit(effects.writes)
        return tuple(post.word for post in effects.posts if isinstance(post.word, Intent))

    def _is_behind(self, told: Told) -> bool:
        """Say whether a word is behind the last one that counts."""
        asked = self._asked
        if asked.until is not None and any(record.sequence > asked.until for record in self._records(told)):
            return True
        return asked.until_ns is not None and self._time_of(told) > asked.until_ns

    def _time_of(self, told: Told) -> int:
        """Give the market time that a word brings, at least that of the words before."""
        word = self._word(told)
        if isinstance(told, Turned):
            return max(self._ts_ns, told.turn.market_ns)
        return max(self._ts_ns, word.ts_ns if isinstance(word, Tick) else word.end_ns if isinstance(word, Bar) else 0)

    def _records(self, told: Told) -> tuple[JournalRecord, ...]:
        word = self._word(told)
        if isinstance(word, JournalRecord):
            return (word,)
        return word.records if isinstance(word, EventsGiven) else ()

    def _word(self, told: Told) -> Any:
        body = told.body if isinstance(told, Heard | Streamed) else None
        return self._codec.decode(body) if body else None

    def _words(self, told: Told) -> str:
        """Say a word in a few; remember it for whoever wants to know what led to a difference."""
        word, self._ts_ns = self._word(told), self._time_of(told)
        self._journal = max((self._journal, *(record.sequence for record in self._records(told))))
        said = str(told.__struct_config__.tag)
        if isinstance(word, Tick):
            said = f"tick {word.symbol} {word.price:g} at {utc(word.ts_ns)}"
        elif isinstance(word, Bar):
            said = f"bar {word.sequence} ({word.symbol} {word.timeframe} {utc(word.ts_ns)}, close {word.close:g})"
        elif isinstance(told, Turned):
            said = f"turn of step {told.turn.step}"
        elif word is not None:
            said = str(word.__struct_config__.tag)
        self.outcome.bars += isinstance(word, Bar)
        self.outcome.words += 1
        self._last = [*self._last, Side(utc(self._ts_ns), said)][-SHOWN_BEFORE - 1 :]
        return said

    # --- comparing ----------------------------------------------------------------------------

    def _compare(self, at: str, recorded: tuple[Intent, ...], replayed: tuple[Intent, ...]) -> None:
        """Hold what was wanted on one word against what is wanted now, in order."""
        self.outcome.intents += max(len(recorded), len(replayed))
        for place in range(max(len(recorded), len(replayed))):
            then = recorded[place] if place < len(recorded) else None
            now = replayed[place] if place < len(replayed) else None
            if msgspec.msgpack.encode(then) != msgspec.msgpack.encode(now):
                self._differ(at, then, now)

    def _differ(self, at: str, then: Intent | None, now: Intent | None) -> None:
        before = () if self.outcome.differences else tuple(self._last[:-1])
        found: Difference = difference(
            "intent", self._name, at, self._journal, recorded=then, replayed=now, before=before
        )
        self.outcome.differences = [*self.outcome.differences, found]
