"""The real desk is killed at every point of the order path, and its exchange tells whether anybody could notice."""

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.arguments import MARKET_DATA
from tests.desk_run.publisher import Publisher
from tests.exchange.hand import Exchange
from tests.falls.harness import FallingDesk
from tests.falls.scenes import KILLS, SCENES, TELLING, Scene

pytestmark = pytest.mark.kill
#: How often a scene is played again whose points were not passed.
TRIES_MAX = 3
#: How often each kill is tried in a long run, under each kind of rules.
OFTEN = 30
ROUNDS = 60


@pytest.fixture(params=["kraken", "alpaca"])
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FallingDesk]:
    """Give a desk that trades at a fake exchange under one kind of rules."""
    with (
        Exchange(request.param) as exchange,
        Publisher() as publisher,
        FallingDesk(tmp_path / "desk", exchange, publisher) as desk,
    ):
        desk.start()
        yield desk.begin()


def play(desk: FallingDesk, scene: Scene) -> bool:
    return any(desk.play(scene) for _ in range(TRIES_MAX))


def test_a_fall_at_any_point_of_the_order_path_loses_doubles_and_invents_nothing(desk: FallingDesk) -> None:
    missed = [str(scene) for scene in TELLING if not play(desk, scene)]

    assert missed == []
    assert desk.kills >= len(TELLING)


def test_the_fall_of_everything_or_of_what_sends_no_order_changes_no_order(desk: FallingDesk) -> None:
    for path in (MARKET_DATA, "watchdog", "console"):
        desk.minute("enter")
        desk.until_heard()
        desk.kill_and_wait(path)
        desk.until_right()
        desk.act("leave")
    desk.minute("enter")
    desk.until_heard()

    desk.kill_root()

    desk.until_right()
    desk.act("leave")
    assert desk.position("a") == 0


@pytest.mark.slow
def test_every_scene_of_a_fall_ends_well(desk: FallingDesk) -> None:
    assert [str(scene) for scene in SCENES if not play(desk, scene)] == []


@pytest.mark.slow
@pytest.mark.parametrize("part", [KILLS[:8], KILLS[8:13], KILLS[13:17], KILLS[17:]], ids="-".join)
def test_each_kill_thirty_times_in_any_order_ends_well(part: tuple[str, ...], desk: FallingDesk) -> None:
    chance = random.Random("-".join(part))
    plays: list[Scene] = []
    for kill in part:
        scenes = [scene for scene in SCENES if scene.kill == kill]
        plays += [scenes[number % len(scenes)] for number in range(OFTEN)]
    chance.shuffle(plays)

    passed = Counter(scene.kill for scene in plays if play(desk, scene))

    assert passed == dict.fromkeys(part, OFTEN)


@pytest.mark.slow
def test_processes_killed_at_any_moment_one_or_three_at_once_lose_double_and_invent_nothing(desk: FallingDesk) -> None:
    chance = random.Random(desk.exchange.rules)
    for number in range(ROUNDS):
        act = ("enter", "add", "part", "levels", "leave", "rest", "", "leave_b")[number % 8]
        desk.minute(act)
        desk.kill_some(chance)
        desk.until_right()
        if number % 20 == 19:
            desk.kill_root()
            desk.until_right()

    assert desk.kills > ROUNDS
