"""Swaps as the console carries them out: what it asks root for, and what it makes of the answers."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from actors.arguments import STRATEGY_STORE_BYTES, store_path
from actors.console.desired import Desired
from actors.console.swap import ON_NEW_CODE, Stage, Swap
from actors.console.swapping import AGAIN_NS, LOOK_NS, Swapping
from actors.pinned_code import CodeShelf
from actors.settings import FeedSettings, Settings, StrategySettings
from runtime.effects import Effects
from runtime.log import Log
from runtime.store import Store
from runtime.words import RootAnswered, RootAsked
from tests.runtime.fakes import HandClock

DIG = """\
from strategies.base import Strategy


class Dig(Strategy):
    version = 1


STRATEGY = Dig
"""
STRATEGY, CANDIDATE = "strategies/a", "candidates/a"


class PlayedRoot:
    """A root that does what it is asked, and says of processes what the test wants."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, Any]] = {}
        self.asked: list[RootAsked] = []

    def say(self, path: str, state: str, restarts: int = 0, verdict: str = "") -> None:
        self.rows[path] = {
            "path": path,
            "kind": "strategy",
            "state": state,
            "restarts": restarts,
            "since_s": 1.0,
            "last_error": "",
            "last_exit": "",
            "facts": {"verdict": verdict},
        }

    def answer(self, asked: RootAsked) -> RootAnswered:
        if asked.verb != "status":
            self.asked.append(asked)
            return RootAnswered(asked.request, "", {})
        row = self.rows.get(str(asked.arguments["path"]))
        return RootAnswered(asked.request, "" if row else "there is none", {"tree": [row]} if row else {})


class LoneSwapping:
    """The swaps of a desk with one strategy, ``a``, whose file has just been edited."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.own = folder, folder / "own"
        self.own.mkdir()
        (self.own / "dig.py").write_text(DIG)
        entry = StrategySettings(name="a", symbols=("SPY",), strategy="dig")
        self.settings = Settings(
            strategies=(entry,), feed=FeedSettings(symbols=("SPY",)), strategies_folder=str(self.own)
        )
        self.shelf = CodeShelf(folder)
        self.shelf.keep_pins(self.shelf.pinned(self.settings))
        Store.open(store_path(folder, STRATEGY), is_synced=False, map_bytes=STRATEGY_STORE_BYTES).close()
        self.clock, self.root = HandClock(), PlayedRoot()
        self.late: list[RootAnswered] = []
        self.root.say(STRATEGY, "RUNNING")
        self.root.say(CANDIDATE, "STARTING")
        self.start()
        self.edit(2)

    def edit(self, version: int) -> None:
        (self.own / "dig.py").write_text(DIG.replace("version = 1", f"version = {version}"))

    def start(self) -> None:
        """Start the console, anew where it fell."""
        self.desired = Desired(self.settings, self.folder / "s.yaml", self.folder, self.clock, Log("console"))
        self.swapping = Swapping(self.desired, self.folder, self.clock, Log("console"), lambda _: None)

    def look(self, *, late: bool = False) -> Swap:
        """Look once, with all answers of root; give the swap as it is then. ``late`` ones come with the next look."""
        self.clock.advance_ns(LOOK_NS)
        effects = Effects()
        self.swapping.look(effects)
        answers = [self.root.answer(post.word) for post in effects.posts if isinstance(post.word, RootAsked)]
        answers, self.late = (self.late, answers) if late else ([*self.late, *answers], [])
        for answer in answers:
            self.swapping.hear_root(answer)
        return self.swap

    @property
    def swap(self) -> Swap:
        return self.shelf.swaps()["a"]

    def begin(self) -> None:
        assert isinstance(self.swapping.begin("a", 1, "RUNNING"), Swap)
        self.root.say(CANDIDATE, "RUNNING")
        assert self.look().stage is Stage.TRYING

    def take(self) -> None:
        """Let the new code be tried well and taken; it is on probation then."""
        self.begin()
        self.root.say(CANDIDATE, "RUNNING", verdict="ok")
        assert self.look().stage is Stage.SWITCHING
        assert self.look().stage is Stage.PROBATION


@pytest.fixture
def lone(tmp_path: Path) -> LoneSwapping:
    return LoneSwapping(tmp_path)


def verbs(asked: list[RootAsked]) -> list[tuple[str, object]]:
    return [(each.verb, each.arguments.get("path")) for each in asked]


@pytest.mark.parametrize(
    ("seen", "falls"), [("QUARANTINED", True), ("BACKOFF", False)], ids=["the console falls", "root is quicker"]
)
def test_a_strategy_that_goes_back_comes_out_of_the_quarantine_that_the_new_code_earned(
    seen: str, lone: LoneSwapping, *, falls: bool
) -> None:
    lone.take()
    lone.root.say(STRATEGY, seen, restarts=1)
    assert lone.look().stage is Stage.RETURNING
    lone.root.say(STRATEGY, "QUARANTINED", restarts=4)
    lone.root.asked.clear()
    if falls:
        lone.start()

    assert lone.look().stage is Stage.RETURNED
    assert verbs(lone.root.asked) == [("apply", None), ("release", STRATEGY)]


@pytest.mark.parametrize("is_taken", [False, True], ids=["while it is tried", "on probation"])
def test_an_entry_that_names_another_module_ends_the_swap_and_keeps_that_modules_code(
    lone: LoneSwapping, *, is_taken: bool
) -> None:
    _ = lone.take() if is_taken else lone.begin()
    (lone.own / "dug.py").write_text(DIG)
    other = msgspec.structs.replace(lone.settings.strategies[0], strategy="dug")
    lone.desired.settings = msgspec.structs.replace(lone.settings, strategies=(other,))
    pins = lone.shelf.pinned(lone.desired.settings)
    lone.shelf.keep_pins(pins)
    (lone.own / "dug.py").write_text(DIG + "half an ed")
    lone.root.say(STRATEGY, "BACKOFF", restarts=1)

    for _ in range(3):
        lone.look()

    assert (lone.swap.stage, lone.swap.is_over) == (Stage.TAKEN if is_taken else Stage.REFUSED, True)
    assert lone.shelf.pins() == pins


def test_an_entry_that_is_taken_away_leaves_no_pin_behind(lone: LoneSwapping) -> None:
    lone.begin()
    lone.desired.settings = msgspec.structs.replace(lone.settings, strategies=())
    lone.shelf.keep_pins({})
    del lone.root.rows[STRATEGY]

    for _ in range(3):
        lone.look()

    assert (lone.swap.stage, lone.swap.is_over) == (Stage.REFUSED, True)
    assert lone.shelf.pins() == {}


@pytest.mark.parametrize("file", ["swaps.json", "pins.json"])
def test_a_disk_that_takes_nothing_holds_a_swap_up_and_ends_no_console(file: str, lone: LoneSwapping) -> None:
    lone.begin()
    lone.root.say(CANDIDATE, "RUNNING", verdict="ok")
    in_its_way = lone.folder / "code" / f".{file}.new"
    in_its_way.mkdir()

    for _ in range(5):
        lone.look()

    assert lone.swap.stage in {Stage.TRYING, Stage.SWITCHING}
    assert any("cannot go on" in alarm and str(in_its_way) in alarm for alarm in lone.swapping.alarms())

    in_its_way.rmdir()
    for _ in range(3):
        lone.look()

    assert lone.swap.stage is Stage.PROBATION
    assert not any("cannot go on" in alarm for alarm in lone.swapping.alarms())


def test_a_swap_that_cannot_be_kept_is_not_begun(lone: LoneSwapping) -> None:
    (lone.folder / "code" / ".swaps.json.new").mkdir()

    begun = lone.swapping.begin("a", 1, "RUNNING")

    assert isinstance(begun, str)
    assert "the new code cannot be tried" in begun
    assert lone.swapping.alarms() == []


def test_a_root_that_is_slower_than_the_looks_is_heard_all_the_same(lone: LoneSwapping) -> None:
    lone.begin()
    lone.root.say(CANDIDATE, "RUNNING", verdict="ok")

    for _ in range(10):
        lone.look(late=True)

    assert lone.swap.stage is Stage.PROBATION


def test_a_look_whose_answer_is_lost_is_asked_again(lone: LoneSwapping) -> None:
    lone.begin()
    lone.root.say(CANDIDATE, "RUNNING", verdict="ok")
    lone.look(late=True)
    lone.late.clear()

    for _ in range(AGAIN_NS // LOOK_NS + 2):
        lone.look()

    assert lone.swap.stage in ON_NEW_CODE


def test_a_fall_of_the_old_code_behind_the_verdict_is_not_held_against_the_new_one(lone: LoneSwapping) -> None:
    lone.begin()
    lone.root.say(CANDIDATE, "RUNNING", verdict="ok")
    assert lone.look().stage is Stage.SWITCHING
    lone.root.say(STRATEGY, "BACKOFF", restarts=1)
    assert lone.look().stage is Stage.PROBATION

    lone.root.say(STRATEGY, "RUNNING", restarts=1)
    assert lone.look().stage is Stage.PROBATION
    lone.root.say(STRATEGY, "BACKOFF", restarts=2)
    assert lone.look().stage is Stage.RETURNING


def test_a_quarantine_that_the_old_code_earned_behind_the_verdict_stays(lone: LoneSwapping) -> None:
    lone.begin()
    lone.root.say(CANDIDATE, "RUNNING", verdict="ok")
    assert lone.look().stage is Stage.SWITCHING
    lone.root.say(STRATEGY, "QUARANTINED", restarts=3)

    for _ in range(3):
        lone.look()

    assert (lone.swap.stage, lone.swap.is_over) == (Stage.REFUSED, True)
    assert "release" not in [verb for verb, _ in verbs(lone.root.asked)]
    assert lone.shelf.pins()["a"].code == lone.swap.old


def test_a_candidate_of_which_nothing_can_be_read_any_more_is_ended_once(lone: LoneSwapping) -> None:
    lone.begin()
    (lone.folder / "code" / "swaps.json").write_text("{")
    asked: list[RootAsked] = []

    for _ in range(2):
        lone.start()
        for _ in range(2):
            effects = Effects()
            lone.swapping.look(effects)
            asked += [post.word for post in effects.posts if isinstance(post.word, RootAsked)]

    (told,) = asked
    tree = told.arguments["tree"]
    assert isinstance(tree, bytes)
    assert (told.verb, b"candidates" in tree, told.arguments["restart"]) == ("apply", False, [])
    assert lone.shelf.pins()["a"].code
