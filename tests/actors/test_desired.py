"""The file as desired state, round by round: what the console reads and asks, beside real files and no desk."""

from pathlib import Path

import pytest

from actors.console.desired import FLAT_AGAIN_NS, WATCH_NS, Desired
from actors.console.holding import Holding
from actors.settings_file import load
from desk.messages import HoldersGiven, HoldersWanted
from runtime.effects import Effects
from runtime.log import Log
from runtime.words import RootAnswered, RootAsked
from tests.runtime.fakes import HandClock

FILE = "strategies: [{name: a, symbol: SPY, strategy: ema_crossover_v001}]\n"
#: What waits until the strategy is flat.
OTHER_TIMEFRAME = FILE.replace("SPY", "SPY, timeframe: 5m")


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def desired(tmp_path: Path, clock: HandClock) -> Desired:
    (tmp_path / "s.yaml").write_text(FILE)
    settings = load(tmp_path / "s.yaml").settings
    assert settings is not None
    return Desired(settings, tmp_path / "s.yaml", tmp_path, clock, Log("console"))


def test_a_folder_of_strategies_that_cannot_be_looked_at_keeps_nobody_from_reading_the_file(
    tmp_path: Path, clock: HandClock, desired: Desired
) -> None:
    (tmp_path / "strategies").symlink_to("x" * 300)  # which the system refuses even to look up

    for _ in range(2):  # it is read once it stands still
        desired.look(Effects())
        clock.advance_ns(WATCH_NS)

    assert not desired.is_idle
    desired.close()


def holders_wanted(desired: Desired, clock: HandClock) -> HoldersWanted:
    """Look until execution is asked who holds something."""
    effects = Effects()
    while not effects.posts:
        if desired._reading is not None:
            desired._reading._process.wait()
        clock.advance_ns(WATCH_NS)
        desired.look(effects)
    (post,) = effects.posts
    assert isinstance(post.word, HoldersWanted)
    return post.word


def test_who_only_wants_to_know_does_not_put_off_what_waits_until_a_strategy_is_flat(
    tmp_path: Path, clock: HandClock, desired: Desired
) -> None:
    (tmp_path / "s.yaml").write_text(OTHER_TIMEFRAME)
    wanted = holders_wanted(desired, clock)
    desired.hear_holders(HoldersGiven(wanted.query, ("a",), 7), Effects())
    (waiting,) = desired.alarms

    clock.advance_ns(FLAT_AGAIN_NS - 2 * WATCH_NS)
    desired.reload("curious", is_dry=True)
    dry = holders_wanted(desired, clock)
    desired.hear_holders(HoldersGiven(dry.query, ("a",), 7), Effects())
    effects = Effects()
    desired.look(effects)

    assert "when flat" in waiting
    assert [outcome.token for outcome in desired.outcomes()] == ["curious"]
    assert [type(post.word) for post in effects.posts] == [HoldersWanted], "it is asked again in its time"
    desired.close()


def asked_of_root(desired: Desired, wanted: HoldersWanted) -> str:
    """Say that nobody holds anything; give the id of what root is asked for then."""
    effects = Effects()
    desired.hear_holders(HoldersGiven(wanted.query, (), 7), effects)
    (post,) = effects.posts
    assert isinstance(post.word, RootAsked)
    return post.word.request


def barred(desired: Desired, clock: HandClock) -> list[dict[str, int]]:
    """Look twice more; give whom execution is told to bar, and up to which incarnation."""
    effects = Effects()
    for _ in range(2):
        clock.advance_ns(WATCH_NS)
        desired.look(effects)
    return [post.word.superseded for post in effects.posts if isinstance(post.word, HoldersWanted)]


def test_whoever_gets_other_code_once_it_is_flat_is_to_open_nothing_from_then_on(
    tmp_path: Path, clock: HandClock, desired: Desired
) -> None:
    desired.epochs = {"a": 3, "b": 4}
    (tmp_path / "s.yaml").write_text(OTHER_TIMEFRAME)

    wanted = holders_wanted(desired, clock)
    request = asked_of_root(desired, wanted)
    desired.hear_root(RootAnswered(request, "", {}))

    assert wanted.superseded == {"a": 3}
    assert barred(desired, clock) == [], "its successor is another incarnation"
    desired.close()


def test_where_root_refuses_an_edit_whoever_was_to_get_other_code_trades_on(
    tmp_path: Path, clock: HandClock, desired: Desired
) -> None:
    desired.epochs = {"a": 3}
    (tmp_path / "s.yaml").write_text(OTHER_TIMEFRAME)

    request = asked_of_root(desired, holders_wanted(desired, clock))
    desired.hear_root(RootAnswered(request, "the disk is full", {}))

    assert barred(desired, clock) == [{"a": -1}]
    assert barred(desired, clock) == []
    desired.close()


def test_an_edit_of_something_else_bars_nobody(tmp_path: Path, clock: HandClock, desired: Desired) -> None:
    desired.epochs = {"a": 3}
    other = "global: {default_balance: 5}\n"
    (tmp_path / "s.yaml").write_text(FILE.replace("}]", ", limits: {hang_s: 9}}]") + other)

    for _ in range(2):
        assert barred(desired, clock) == []
        if desired._reading is not None:
            desired._reading._process.wait()
    desired.close()


@pytest.mark.parametrize("state", ["STARTING", "RUNNING"])
def test_whoever_a_fallen_console_had_barred_trades_on_where_the_file_was_edited_back_meanwhile(
    clock: HandClock, desired: Desired, state: str
) -> None:
    desired.epochs, desired.states = {"a": 3, "b": 4}, {"a": state, "b": "STOPPING"}

    effects = Effects()
    desired.look(effects)

    assert [post.word for post in effects.posts] == [HoldersWanted(1, {"a": -1})], "b gets other code already"
    assert barred(desired, clock) == []
    desired.close()


def test_whoever_came_back_since_it_was_found_flat_is_asked_about_again(
    tmp_path: Path, clock: HandClock, desired: Desired
) -> None:
    desired.epochs = {"a": 3}
    (tmp_path / "s.yaml").write_text(OTHER_TIMEFRAME)
    wanted, effects = holders_wanted(desired, clock), Effects()

    desired.epochs = {"a": 4}
    desired.hear_holders(HoldersGiven(wanted.query, (), 7), effects)
    clock.advance_ns(FLAT_AGAIN_NS)

    assert effects.posts == [], "it may have opened something"
    assert barred(desired, clock) == [{"a": 4}]
    desired.close()


def test_whoever_keeps_its_code_by_another_edit_trades_on(tmp_path: Path, clock: HandClock, desired: Desired) -> None:
    desired.epochs = {"a": 3}
    (tmp_path / "s.yaml").write_text(OTHER_TIMEFRAME)
    wanted = holders_wanted(desired, clock)
    desired.hear_holders(HoldersGiven(wanted.query, ("a",), 7), Effects())
    clock.advance_ns(FLAT_AGAIN_NS)
    request = asked_of_root(desired, holders_wanted(desired, clock))
    desired.hear_root(RootAnswered(request, "the disk is full", {}))

    (tmp_path / "s.yaml").write_text(FILE.replace("SPY", "SPY, limits: {hang_s: 9}"))
    posts = Effects()
    while not posts.posts:
        if desired._reading is not None:
            desired._reading._process.wait()
        clock.advance_ns(WATCH_NS)
        desired.look(posts)
    (post,) = posts.posts
    assert isinstance(post.word, RootAsked)
    desired.hear_root(RootAnswered(post.word.request, "", {}))

    assert barred(desired, clock) == [{"a": -1}]
    desired.close()


def test_that_somebody_trades_on_is_said_until_execution_has_heard_it_also_where_others_wait(clock: HandClock) -> None:
    holding, effects = Holding(clock), Effects()

    holding.ask({"a": 3, "b": 4}, effects)
    holding.ask({"b": 4}, effects)

    said = [(post.word.superseded, post.is_sure) for post in effects.posts if isinstance(post.word, HoldersWanted)]
    assert said == [({"a": 3, "b": 4}, False), ({"a": -1}, True), ({"b": 4}, False)]
