"""A strategy that missed nothing asks nobody; one that did asks whoever has it, until it is answered."""

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import msgspec
import pytest
from typing_extensions import override

from actors.candidate import CandidateRoom
from actors.strategy import BARS_AT_ONCE_MAX, BARS_LEFT, HEADS_NS, WORK_NS, StrategyRoom
from actors.strategy_arguments import CandidateArguments, StrategyArguments
from actors.topics import bar_topic
from actors.words import StrategyTurn
from desk.messages import Bar, BarsGiven, BarsWanted, EventsGiven, EventsWanted
from desk.units import DAY_NS, MINUTE_NS
from runtime.bus_words import StreamItem
from runtime.effects import Effects
from runtime.words import Turn
from strategies.base import Decision, NoTrade, NoTradeCode, View
from tests.actors.lone_strategy import NAME, SYMBOLS, Chronicler, Lone
from tests.runtime.fakes import HandClock

ONE, OTHER = SYMBOLS


@pytest.fixture
def lone(tmp_path: Path) -> Iterator[Lone]:
    lone = Lone(tmp_path, 1, is_stepped=False)
    yield lone
    lone.close()


def born(lone: Lone) -> StrategyRoom:
    """Make a process that remembers what the lone strategy does, and has heard nothing yet."""
    room = StrategyRoom(lone.evaluator, lone.told(), lone.clock)
    room.recover()
    return room


def own_head(room: StrategyRoom, last: int, journal: int) -> Effects:
    return room.hear_stream("execution", StreamItem(NAME, journal, last, None, has_memory=True), None)


def bars_head(room: StrategyRoom, symbol: str, last: int, store: int) -> Effects:
    item = StreamItem(bar_topic(symbol, "1m"), store, last, None, has_memory=True)
    return room.hear_stream("market_data", item, None)


def bar(symbol: str, sequence: int) -> Bar:
    begin_ns = sequence * MINUTE_NS
    return Bar(symbol, "1m", begin_ns, begin_ns + MINUTE_NS, 1.0, 1.0, 1.0, 1.0, 1.0, sequence=sequence)


def published(room: StrategyRoom, symbol: str, sequence: int, previous: int) -> Effects:
    item = StreamItem(bar_topic(symbol, "1m"), sequence, previous, b"", has_memory=True)
    return room.hear_stream("market_data", item, bar(symbol, sequence))


def asked(*effects: Effects) -> list[object]:
    return [post.word for each in effects for post in each.posts]


def asks_again(effects: Effects) -> bool:
    return any(name == "ask" and at_ns for name, at_ns in effects.timers)


def test_one_that_has_missed_nothing_asks_nobody_and_evaluates_the_next_bar(lone: Lone) -> None:
    room = born(lone)

    heads = (own_head(room, 0, 40), bars_head(room, ONE, 0, 7), bars_head(room, OTHER, 0, 7))
    next_bar = published(room, ONE, 8, 0)

    assert asked(*heads, next_bar) == []
    assert not any(asks_again(each) for each in (*heads, next_bar))
    assert next_bar.writes, "an evaluated bar is kept"


def test_a_bar_that_comes_before_all_heads_have_is_evaluated_behind_them(lone: Lone) -> None:
    room = born(lone)
    bars_head(room, ONE, 0, 0)

    early = published(room, ONE, 1, 0)
    own_head(room, 0, 0)
    last_head = bars_head(room, OTHER, 0, 0)

    assert (bool(early.writes), bool(last_head.writes)) == (False, True)


def test_what_the_head_of_the_own_topic_shows_as_missing_is_asked_of_execution_alone(lone: Lone) -> None:
    room = born(lone)

    found = own_head(room, 3, 40)

    assert (asked(found), asks_again(found)) == ([EventsWanted(NAME, 0)], True)
    assert asked(own_head(room, 3, 41)) == [], "one question is enough while it waits"
    assert asked(room.timer("ask")) == [EventsWanted(NAME, 0)]


def test_what_the_head_of_a_bars_topic_shows_as_missing_is_asked_of_market_data_alone(lone: Lone) -> None:
    room = born(lone)

    found, complete = bars_head(room, ONE, 3, 4), bars_head(room, OTHER, 0, 4)

    assert (asked(found), asks_again(found)) == ([BarsWanted(ONE, "1m", 0, 500)], True)
    assert asked(complete) == []
    assert asked(room.timer("ask")) == [BarsWanted(ONE, "1m", 0, 500)]


def test_nothing_is_evaluated_until_the_answer_is_there_and_then_nothing_is_asked_any_more(lone: Lone) -> None:
    room = born(lone)
    own_head(room, 0, 0)
    bars_head(room, OTHER, 0, 1)
    bars_head(room, ONE, 1, 1)
    waiting = published(room, OTHER, 2, 0)

    answer = BarsGiven(ONE, "1m", 0, (bar(ONE, 1),), 1, is_complete=True, market_ns=2 * MINUTE_NS)
    answered = room.hear("market_data", 1, answer)

    assert (bool(waiting.writes), bool(answered.writes)) == (False, True)
    assert asked(room.timer("ask")) == []


def many_bars(room: StrategyRoom, count: int) -> Effects:
    """Let market data have so many bars of one symbol, and give them as it does; the last answer's effects."""
    own_head(room, 0, 0)
    bars_head(room, OTHER, 0, count)
    effects = bars_head(room, ONE, count, count)
    for after in range(0, count, 500):
        bars = tuple(bar(ONE, number) for number in range(after + 1, min(count, after + 500) + 1))
        answer = BarsGiven(ONE, "1m", after, bars, count, is_complete=bars[-1].sequence == count, market_ns=DAY_NS)
        effects = room.hear("market_data", 1, answer)
    return effects


def evaluated(lone: Lone) -> int:
    return lone.evaluator.last[bar_topic(ONE, "1m")]


def goes_on(effects: Effects) -> bool:
    return BARS_LEFT in dict(effects.timers)


def test_a_year_of_missed_bars_is_evaluated_in_turns_that_each_end_soon(lone: Lone) -> None:
    room = born(lone)

    first = many_bars(room, 2 * BARS_AT_ONCE_MAX + 3)
    far = [(evaluated(lone), goes_on(first))]
    published(room, ONE, 2 * BARS_AT_ONCE_MAX + 4, 2 * BARS_AT_ONCE_MAX + 3)
    while far[-1][1]:
        effects = room.timer(BARS_LEFT)
        far.append((evaluated(lone), goes_on(effects)))

    most = BARS_AT_ONCE_MAX
    assert far == [(most, True), (2 * most, True), (2 * most + 4, False)]


class Slow(Chronicler):
    """Takes a quarter of a turn's time for each bar, whether it trades upon it or not."""

    clock: ClassVar[HandClock]

    @override
    def on_missed_bar(self, bar: Bar, view: View) -> None:
        self.clock.advance_ns(WORK_NS // 4)

    @override
    def on_bar(self, bar: Bar, view: View) -> Decision:
        self.clock.advance_ns(WORK_NS // 4)
        return NoTrade(NoTradeCode.NO_SIGNAL)


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[Lone]:
    lone = Lone(tmp_path, 1, is_stepped=False, kind=Slow)
    Slow.clock = lone.clock
    yield lone
    lone.close()


def test_missed_bars_that_each_take_long_are_evaluated_in_turns_that_each_end_soon(slow: Lone) -> None:
    room = born(slow)

    far, effects = list[int](), many_bars(room, 10)
    while goes_on(effects):
        far.append(evaluated(slow))
        effects = room.timer(BARS_LEFT)

    assert [*far, evaluated(slow)] == [4, 8, 10]


def test_what_is_recorded_evaluates_as_many_on_a_word_as_its_replay_will(slow: Lone) -> None:
    room = StrategyRoom(slow.evaluator, slow.told(), slow.clock, is_recorded=True)
    room.recover()

    assert (goes_on(many_bars(room, 10)), evaluated(slow)) == (False, 10)


def test_bars_that_queued_while_it_was_slow_are_left_for_the_next_turn(slow: Lone) -> None:
    room = born(slow)
    own_head(room, 0, 0)
    bars_head(room, OTHER, 0, 0)
    bars_head(room, ONE, 0, 0)

    last = [published(room, ONE, number, number - 1) for number in range(1, 7)][-1]
    before = evaluated(slow)
    room.timer(BARS_LEFT)

    assert (before, goes_on(last), evaluated(slow)) == (4, False, 6)


def test_a_step_ends_when_the_last_of_many_missed_bars_is_evaluated(tmp_path: Path) -> None:
    lone = Lone(tmp_path, 1, is_stepped=True)
    count = BARS_AT_ONCE_MAX + 2
    room = born(lone)
    many_bars(room, count)
    turn = Turn(1, 2, DAY_NS, b"")

    effects = room.begin(turn, StrategyTurn((count,), None, 0, 0))
    is_open = (room.settle(turn), goes_on(effects), evaluated(lone))
    room.timer(BARS_LEFT)

    assert is_open == (None, True, BARS_AT_ONCE_MAX)
    assert (room.settle(turn), evaluated(lone), lone.evaluator.facts()["bars_evaluated"]) == (b"", count, 1)
    lone.close()


def test_a_link_that_breaks_behind_a_question_asks_it_again(lone: Lone) -> None:
    room = born(lone)
    own_head(room, 3, 40)

    assert asked(room.connected("execution")) == [EventsWanted(NAME, 0)]


def test_a_journal_that_ends_before_what_is_known_is_asked_about(lone: Lone) -> None:
    while not lone.evaluator.journal_sequence:
        lone.step()
    known = lone.evaluator.journal_sequence
    room = born(lone)

    found = own_head(room, 0, known - 1)
    assert asked(found) == [EventsWanted(NAME, known)]

    gone = room.hear("execution", 1, EventsGiven(NAME, known, (), known - 1, is_complete=True))

    assert lone.evaluator.facts()["rebuilt"] == 1
    assert EventsWanted(NAME, 0) in asked(gone), "it begins anew, with its first own record"
    assert {word.symbol for word in asked(gone) if isinstance(word, BarsWanted)} == set(SYMBOLS)


def test_a_candidate_whose_strategy_is_quiet_beside_others_asks_how_far_the_journal_is(tmp_path: Path) -> None:
    lone = Lone(tmp_path, 1, is_stepped=True)
    room = CandidateRoom(lone.evaluator, lone.told(), lone.clock, bars=1, live_from=0)
    room.recover()
    own_head(room, 0, 0)
    for symbol in SYMBOLS:
        bars_head(room, symbol, 0, 0)
    behind = bar(ONE, 1)
    item = StreamItem(bar_topic(ONE, "1m"), 1, 0, b"", has_memory=True)

    waits = room.hear_stream("market_data", item, msgspec.structs.replace(behind, journal_sequence=9))
    assert asks_again(waits), "others have written nine records, of which it hears nothing by itself"
    assert asked(room.timer("ask")) == [EventsWanted(NAME, 0)]
    room.hear("execution", 1, EventsGiven(NAME, 0, (), 9, is_complete=True))

    assert room.facts()["verdict"] == "ok"
    lone.close()


def test_a_candidate_whose_entry_becomes_another_strategy_says_so_and_a_parameter_is_none_of_its_business(
    lone: Lone,
) -> None:
    room = CandidateRoom(lone.evaluator, lone.told(), lone.clock, bars=1, live_from=0)
    room.recover()

    def hear_of(told: StrategyArguments) -> str:
        room.reconfigured(msgspec.msgpack.encode(CandidateArguments(told, 1)))
        return str(room.facts()["verdict"])

    lone.unknown = {"note": "another"}
    assert hear_of(lone.told()) == ""
    lone.symbols = (ONE,)
    assert "symbols SPY,QQQ become" in hear_of(lone.told())


class Ticker(Chronicler):
    wants_ticks: ClassVar[bool] = True


@pytest.mark.parametrize(
    ("is_stepped", "has_ticks", "verdict"),
    [(True, False, "it waits for ticks"), (True, True, "ok"), (False, False, "ok")],
)
def test_code_that_waits_for_ticks_is_not_taken_where_the_market_would_give_it_none(
    verdict: str, tmp_path: Path, *, is_stepped: bool, has_ticks: bool
) -> None:
    lone = Lone(tmp_path, 1, is_stepped=is_stepped, kind=Ticker)
    told = lone.told()
    told = msgspec.structs.replace(told, entry=msgspec.structs.replace(told.entry, wants_ticks=has_ticks))
    room = CandidateRoom(lone.evaluator, told, lone.clock, bars=0, live_from=0)

    assert str(room.facts()["verdict"]).startswith(verdict)
    lone.close()


def test_heads_that_do_not_come_are_not_waited_for_for_ever(lone: Lone) -> None:
    room = StrategyRoom(lone.evaluator, lone.told(), lone.clock)
    patience = dict(room.recover().timers)["heads"]
    bars_head(room, OTHER, 0, 0)

    late = room.timer("heads")

    assert patience == lone.clock.monotonic_ns() + HEADS_NS
    assert asked(late) == [EventsWanted(NAME, 0), BarsWanted(ONE, "1m", 0, 500)]
    assert asks_again(late)


def test_once_all_heads_have_come_their_patience_is_over(lone: Lone) -> None:
    room = born(lone)
    own_head(room, 0, 0)
    bars_head(room, ONE, 0, 0)

    assert ("heads", 0) in [tuple(timer) for timer in bars_head(room, OTHER, 0, 0).timers]
