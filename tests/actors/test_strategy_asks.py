"""A strategy asks again what goes unanswered, and waits quietly for whoever is not up yet."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.strategy import StrategyRoom
from desk.messages import EventsGiven
from runtime.effects import Effects
from tests.actors.lone_strategy import NAME, Lone


@pytest.fixture
def room(tmp_path: Path) -> Iterator[StrategyRoom]:
    lone = Lone(tmp_path, 1, is_stepped=False)
    room = StrategyRoom(lone.evaluator, lone.told(), lone.clock)
    room.recover()
    yield room
    lone.close()


def peers_asked(effects: Effects) -> set[str]:
    return {post.peer for post in effects.posts}


def asks_again(effects: Effects) -> bool:
    return "ask" in {timer.name for timer in effects.timers}


def test_what_execution_does_not_answer_is_asked_again(room: StrategyRoom) -> None:
    first = room.connected("execution")
    assert (peers_asked(first), asks_again(first)) == ({"execution"}, True)

    again = room.timer("ask")

    assert "execution" in peers_asked(again)
    assert asks_again(again)


def test_while_market_data_is_not_up_nothing_is_asked_again_and_it_is_asked_as_soon_as_it_is(
    room: StrategyRoom,
) -> None:
    room.connected("execution")
    room.hear("execution", 1, EventsGiven(NAME, 0, (), 0, is_complete=True))
    quiet = room.timer("ask")
    assert (peers_asked(quiet), asks_again(quiet)) == (set(), False)

    met = room.connected("market_data")

    assert (peers_asked(met), asks_again(met)) == ({"market_data"}, True)
