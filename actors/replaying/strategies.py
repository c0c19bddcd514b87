"""A strategy's own room, told its bars and its own records again: does it want the same?"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from actors.arguments import STRATEGY_STORE_BYTES, store_path
from actors.chapters import Chapter, Evaluated
from actors.evaluator import INTENT_TTL_NS, Evaluator
from actors.replaying.code import CodeRoom
from actors.replaying.parts import Asked, Difference, RecordedClock, ReplayError, Side, difference, utc
from actors.replaying.recorded import Recorded, moment
from actors.step import STRATEGIES
from actors.strategy import BARS_LEFT, StrategyRoom
from actors.strategy_arguments import StrategyArguments, read_arguments
from actors.strategy_memory import NOW, TABLE, Kept, MemoryUnfitError, unsealed
from actors.topics import strategy_path
from actors.words import StrategyTurn
from desk.messages import Bar, BarsGiven, BarsWanted, EventsGiven, EventsWanted, Intent
from runtime.effects import Effects
from runtime.log import Log
from runtime.store import Reader, Store
from runtime.words import Turn

#: Records of its own that are shown before a strategy's first difference.
SHOWN_BEFORE = 6


class Place(NamedTuple):
    """One bar as it was evaluated: under which chapter, and after which own record."""

    chapter: Chapter
    bar: Bar
    journal_sequence: int


class Outcome(msgspec.Struct):
    """What became of one strategy's replay. ``left_out`` says why nothing of it was compared, "" where it was.

    ``words`` were recorded and told again, of a strategy that decides on ticks. ``wants_ticks`` tells one that does.
    """

    name: str
    bars: int = 0
    missed: int = 0
    intents: int = 0
    differences: list[Difference] = []
    left_out: str = ""
    words: int = 0
    wants_ticks: bool = False


class StrategyReplay:
    """Tells one strategy everything again, in the order and under the arguments of then."""

    def __init__(self, name: str, recorded: Recorded, asked: Asked, code: CodeRoom, scratch: Path) -> None:
        """Take what was recorded; ``scratch`` is an empty folder for the strategy's own store."""
        self._name, self._recorded, self._asked, self._code = name, recorded, asked, code
        self._clock = RecordedClock()
        self._log = Log(f"replay/{name}")
        self._store = Store.open(scratch / "store", is_synced=False, map_bytes=STRATEGY_STORE_BYTES)
        self._own = recorded.own.get(name, [])
        self._told_own = 0
        #: Behind what the room asked last for its own records, and for the bars of each symbol: an answer says so.
        self._events_after = 0
        self._bars_after: dict[str, int] = {}
        self._wanted = _wanted(recorded, name)
        self._found: dict[str, Intent] = {}
        self._others = dict(asked.parameters.get(name, {}))
        self.outcome = Outcome(name)

    # --- the whole ----------------------------------------------------------------------------

    def run(self) -> Outcome:
        """Replay it to its end.

        Raises:
            ReplayError: The code that it ran is not to be had, or the code does not take the parameters.
        """
        chapters = self._recorded.chapters(self._name)
        if not chapters:
            self.outcome.left_out = "nothing says what it evaluated: it never did, or an older version of the desk did"
            return self.outcome
        last = _last_evaluated(self._recorded.state, self._name)
        chapter: Chapter | None = None
        missed: list[Place] = []
        for place in _places(chapters, self._recorded, last):
            if place.chapter is not chapter:
                self._enter(place.chapter, chapter)
                chapter = place.chapter
            if self._evaluator.wants_ticks:
                self.outcome = Outcome(self._name, wants_ticks=True)
                self.outcome.left_out = "it decides on ticks, and was not recorded; write record: true at its entry"
                break
            if self._told.is_stepped and not place.chapter.is_live:
                missed.append(place)  # they come with the next one that is live
                continue
            self._tell([*missed, place])
            missed.clear()
        if not self.outcome.wants_ticks:
            self._look_for_missing()
        self._store.close()
        return self.outcome

    def _enter(self, chapter: Chapter, before: Chapter | None) -> None:
        """Become what the process was from here on."""
        told = self._changed(read_arguments(chapter.arguments))
        if before is None or chapter.epoch != before.epoch:
            kind = self._code.load(told)
            try:
                self._evaluator = Evaluator(kind, told, chapter.epoch, self._store, self._log)
            except ValueError as error:
                msg = f"{self._name}: its code does not take these parameters: {error}. Nothing of it was replayed"
                raise ReplayError(msg) from error
            self._room = StrategyRoom(self._evaluator, told, self._clock)
            self._told_own = 0
            self._keep(self._room.recover())
            self._keep(self._room.connected("execution"))
            self._keep(self._room.connected("market_data"))
            self._hear_own(self._evaluator.journal_sequence)
        elif chapter.rebuilt != before.rebuilt:
            after = self._events_after
            gone = EventsGiven(self._name, after, (), -1, is_complete=True)  # a journal that ends before what it knows
            self._keep(self._room.hear("execution", 1, gone))
            self._told_own = 0
            self._hear_own(0)
        if before is not None and chapter.epoch == before.epoch and chapter.arguments != before.arguments:
            self._keep(self._room.reconfigured(msgspec.msgpack.encode(told)))
        self._told = told
        for symbol in told.entry.symbols:
            self._hear_bars(symbol, (), 0)

    def _changed(self, told: StrategyArguments) -> StrategyArguments:
        """Give the arguments with what shall be other than it was."""
        if not self._others:
            return told
        entry = msgspec.structs.replace(told.entry, parameters={**told.entry.parameters, **self._others})
        return msgspec.structs.replace(told, entry=entry)

    # --- telling ------------------------------------------------------------------------------

    def _hear_own(self, upto: int) -> None:
        """Let the room hear its own records up to one of the journal; it waits for those that it knows."""
        begin = self._told_own
        while self._told_own < len(self._own) and self._own[self._told_own].sequence <= upto:
            self._told_own += 1
        records = tuple(self._own[begin : self._told_own])
        given = EventsGiven(self._name, self._events_after, records, upto, is_complete=True)
        self._keep(self._room.hear("execution", 1, given))

    def _hear_bars(self, symbol: str, bars: tuple[Bar, ...], market_ns: int) -> None:
        timeframe = self._told.entry.timeframe
        head = bars[-1].sequence if bars else 0
        after = self._bars_after.get(symbol, 0)
        given = BarsGiven(symbol, timeframe, after, bars, head, is_complete=True, market_ns=market_ns)
        self._keep(self._room.hear("market_data", 1, given))

    def _tell(self, places: list[Place]) -> None:
        """Let the last of these bars be evaluated, those before it be taken in without trading."""
        place = places[-1]
        bar = place.bar
        self._clock.now_ns = bar.end_ns
        self._hear_own(max(place.journal_sequence, 0))
        before = len(self._found)
        if self._told.is_stepped:
            for each in places:
                self._hear_bars(each.bar.symbol, (each.bar,), each.bar.end_ns)
            own_last = self._own[self._told_own - 1].sequence if self._told_own else 0
            offer = StrategyTurn((bar.sequence,), None, bar.journal_sequence, own_last)
            self._keep(self._room.begin(Turn(bar.sequence, STRATEGIES, bar.end_ns, b""), offer))
        else:
            market_ns = bar.end_ns if place.chapter.is_live else bar.end_ns + INTENT_TTL_NS
            self._hear_bars(bar.symbol, (bar,), market_ns)
        self.outcome.bars += 1
        self.outcome.missed += len(places) - 1
        self._compare(place, list(self._found.values())[before:])

    def _keep(self, effects: Effects) -> None:
        """Keep what the room keeps; hear what it wants, and let it go on where it has not done all at once."""
        self._take(effects)
        while BARS_LEFT in dict(effects.timers):
            effects = self._room.timer(BARS_LEFT)
            self._take(effects)

    def _take(self, effects: Effects) -> None:
        if effects.writes:
            self._store.commit(effects.writes)
        for post in effects.posts:
            if isinstance(post.word, Intent):
                self._found.setdefault(post.word.intent_id, post.word)
            elif isinstance(post.word, EventsWanted):
                self._events_after = post.word.after
            elif isinstance(post.word, BarsWanted):
                self._bars_after[post.word.symbol] = post.word.after

    # --- comparing ----------------------------------------------------------------------------

    def _compare(self, place: Place, intents: list[Intent]) -> None:
        """Hold what it wants at one bar against what it wanted then."""
        replayed = {intent.intent_id: intent for intent in intents}
        recorded = self._wanted.pop((place.bar.sequence, place.bar.ts_ns), {})
        self.outcome.intents += len(recorded.keys() | replayed.keys())
        for name in [*recorded, *(name for name in replayed if name not in recorded)]:
            then, now = recorded.get(name), replayed.get(name)
            if then is not None and now is not None:
                now = msgspec.structs.replace(now, epoch=then.epoch)
            if then != now or msgspec.msgpack.encode(then) != msgspec.msgpack.encode(now):
                self._differ(place, then, now)
        if self._asked.is_what_if and recorded.keys() != replayed.keys():
            self._evaluator.owe(place.bar.sequence, recorded.values())

    def _differ(self, place: Place, then: Intent | None, now: Intent | None) -> None:
        bar = place.bar
        at = f"bar {bar.sequence} ({bar.symbol} {bar.timeframe} {utc(bar.ts_ns)}, close {bar.close:g})"
        sequence = max(bar.journal_sequence, place.journal_sequence)
        before = () if self.outcome.differences else self._before(sequence)
        found = difference("intent", self._name, at, sequence, recorded=then, replayed=now, before=before)
        self.outcome.differences = [*self.outcome.differences, found]

    def _before(self, sequence: int) -> tuple[Side, ...]:
        """Say what the strategy's own records say last before a difference."""
        records = [record for record in self._own if record.sequence <= sequence]
        return tuple(moment(record) for record in records[-SHOWN_BEFORE:])

    def _look_for_missing(self) -> None:
        """What was recorded and belongs to no bar that was replayed, was wanted by nobody now."""
        last = max((bar for bar, _ in self._wanted), default=0)
        for (sequence, _), intents in sorted(self._wanted.items()):
            for intent in intents.values():
                self.outcome.intents += 1
                at = f"bar {sequence or last} ({intent.symbol} {intent.timeframe} {utc(intent.bar_ts_ns)})"
                found = difference("intent", self._name, at, 0, recorded=intent, replayed=None)
                self.outcome.differences = [*self.outcome.differences, found]


def _wanted(recorded: Recorded, name: str) -> dict[tuple[int, int], dict[str, Intent]]:
    """Give what a strategy wanted, by the bar's sequence and time, as risk received it."""
    found: dict[tuple[int, int], dict[str, Intent]] = {}
    intents = [judged.intent for judged in recorded.verdicts().values()]
    for intent in [*intents, *recorded.waiting.values(), *_pending(recorded.state, name)]:
        if intent.strategy == name and recorded.is_within(intent):
            found.setdefault((intent.bar_sequence, intent.bar_ts_ns), {}).setdefault(intent.intent_id, intent)
    return found


def _kept(state: Path, name: str) -> Kept | None:
    store = Reader.open(store_path(state, strategy_path(name)))
    try:
        data = store.get(TABLE, NOW)
        return None if data is None else unsealed(data, Kept)
    except MemoryUnfitError:
        return None
    finally:
        store.close()


def _pending(state: Path, name: str) -> tuple[Intent, ...]:
    kept = _kept(state, name)
    return () if kept is None else kept.pending


def _last_evaluated(state: Path, name: str) -> Mapping[str, int]:
    kept = _kept(state, name)
    return {} if kept is None else kept.last


def _places(chapters: list[Chapter | Evaluated], recorded: Recorded, last: Mapping[str, int]) -> Iterator[Place]:
    """Give every bar that a strategy evaluated, in the order in which it did."""
    known = {bar.sequence: bar for bar in recorded.bars}
    upto = max(last.values(), default=0)
    heads = [(place, each) for place, each in enumerate(chapters) if isinstance(each, Chapter)]
    for number, (place, chapter) in enumerate(heads):
        told = read_arguments(chapter.arguments)
        following = chapters[place + 1 : heads[number + 1][0] if number + 1 < len(heads) else None]
        if not told.is_stepped:
            for each in (chapter, *following):
                if each.bar in known:
                    yield Place(chapter, known[each.bar], each.journal_sequence)
            continue
        end = _end(chapter, [each for _, each in heads[number + 1 :]], upto)
        for bar in recorded.bars_of(told.entry.symbols, told.entry.timeframe):
            if chapter.bar <= bar.sequence <= end:
                yield Place(chapter, bar, bar.journal_sequence)


def _end(chapter: Chapter, later: list[Chapter], upto: int) -> int:
    """Give the last bar of a chapter; where the memory was left aside behind it, all bars came again."""
    if not later:
        return upto
    if later[0].rebuilt == chapter.rebuilt:
        return later[0].bar - 1
    going_on = next((each for each in later if each.is_live and each.bar > chapter.bar), None)
    return upto if going_on is None else going_on.bar - 1
