"""A simulation is worth what it finds: mistakes that are built in on purpose are found, and shown as small as can be."""

import json
import re

import pytest
from msgspec.structs import replace
from typer.testing import CliRunner

from actors.cli import app
from actors.simulation.campaign import Drawing, again, judged, shrunk
from actors.simulation.scenario import KRAKEN_DESK, Draw
from tests.simulation.planted import MISTAKES, Mistake, built_in, catch

#: A mistake that is no mistake any more after so many seeds: then nothing finds it.
SEEDS_MAX = 5_000
#: From the seed that is known to show a mistake, so many more are tried at once: the desk may change.
NEARBY = 30

by_name = {mistake.name: mistake for mistake in MISTAKES}
known = [mistake for mistake in MISTAKES if mistake.seed is not None]


def test_there_are_enough_mistakes_and_each_has_a_name_of_its_own() -> None:
    assert len(by_name) == len(MISTAKES) >= 24
    assert len(known) >= 24


@pytest.mark.parametrize("mistake", known, ids=lambda mistake: mistake.name)
def test_a_built_in_mistake_is_found_near_a_seed_that_is_known_to_show_it(mistake: Mistake) -> None:
    assert mistake.seed is not None

    found = catch(mistake, mistake.draw, NEARBY, first=mistake.seed)

    assert found is not None, f"nobody notices that {mistake.what}"


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)
def test_a_built_in_mistake_is_found_by_whoever_knows_nothing_of_it(mistake: Mistake) -> None:
    draw = Draw() if mistake.is_common else mistake.draw

    assert catch(mistake, draw, SEEDS_MAX) is not None, f"nobody notices that {mistake.what}"


def test_without_a_mistake_the_same_seeds_break_nothing() -> None:
    for mistake in known[::6]:
        assert mistake.seed is not None
        assert judged(Drawing(mistake.draw)(mistake.seed)).outcome.violations == ()


def test_what_was_swapped_is_put_back() -> None:
    for mistake in MISTAKES:
        before = [getattr(swap.owner, swap.name) for swap in mistake.swaps]
        with built_in(mistake):
            assert [getattr(swap.owner, swap.name) for swap in mistake.swaps] == [swap.wrong for swap in mistake.swaps]
        assert [getattr(swap.owner, swap.name) for swap in mistake.swaps] == before


# --- the report -------------------------------------------------------------------------------

FULL = by_name["full-disk"]


def _simulated(*options: str) -> str:
    assert FULL.seed is not None
    arguments = ["simulate", "--seed", str(FULL.seed), "--desk", KRAKEN_DESK, "--only", "full", *options]
    with built_in(FULL):
        done = CliRunner().invoke(app, [*arguments, "--bars", str(FULL.draw.bars)])
    assert done.exit_code == 1, done.output
    return done.stdout


def test_the_command_shows_the_smallest_run_that_breaks_a_promise_and_how_to_keep_it() -> None:
    shown = _simulated()

    assert f"seed {FULL.seed} (kraken) breaks a promise; the smallest run found that does:" in shown
    assert re.search(r"  bars \d+; faults that are needed: full \(no\. \d+\)\n", shown)
    assert re.search(r"  broken: \S", shown)
    assert re.search(r"  its last \d+ of \d+ events:\n", shown)
    assert "VIOLATION" in shown
    line = shown.strip().splitlines()[-1]
    with built_in(FULL):
        broken = eval(line.partition("): ")[2].removesuffix(" == ()"), {"again": again, "Draw": Draw})
    assert broken, "the line that is to become a test fails as long as the mistake is there"
    assert eval(line.partition("): ")[2], {"again": again, "Draw": Draw}), "and holds without it"


def test_programs_get_the_smallest_run_too() -> None:
    smallest = json.loads(_simulated("--json"))["smallest"]

    assert smallest["seed"] == FULL.seed
    assert smallest["violations"]
    assert smallest["timeline"]
    assert [kind for _, kind in smallest["faults"]] == ["full"]


def test_a_failing_run_becomes_smaller_and_still_fails() -> None:
    mistake = by_name["drops-overtaken"]
    assert mistake.seed is not None
    whole = Drawing(mistake.draw)(mistake.seed)
    with built_in(mistake) as replaced:
        before = judged(whole, replaced).outcome
        small, outcome = shrunk(whole, replaced)
        kept = again(small.seed, replace(mistake.draw, bars=small.bars), only=small.only, makers=replaced)

    assert before.violations
    assert outcome.violations == kept
    assert outcome.violations
    assert small.bars <= whole.bars
    assert small.only is not None
    assert len(small.only) < len(before.occurrences)
    assert outcome.events < before.events
