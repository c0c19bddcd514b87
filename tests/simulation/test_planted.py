"""A simulation is worth what it finds: mistakes that are built in on purpose are found, and shown as small as can be."""

import json
import re

import pytest
from msgspec.structs import replace
from typer.testing import CliRunner

from actors import makers
from actors.cli import app
from actors.simulation.campaign import Drawing, again, judged, shrunk
from actors.simulation.scenario import KRAKEN_DESK, Draw
from tests.simulation.planted import ELUSIVE, MISTAKES, QUICK, Mistake, Swap, TakesPartsForWholes, built_in, catch

#: A mistake that is no mistake any more after so many seeds: then nothing finds it.
SEEDS_MAX = 5_000
#: And those that show at once do so after no more than these.
QUICK_MAX = 100

by_name = {mistake.name: mistake for mistake in MISTAKES}
findable = [mistake for mistake in MISTAKES if mistake.name not in ELUSIVE]
quick = [mistake for mistake in MISTAKES if mistake.name in QUICK]


def test_there_are_enough_mistakes_and_each_has_a_name_of_its_own() -> None:
    assert len(by_name) == len(MISTAKES) >= 24
    assert by_name.keys() >= QUICK


@pytest.mark.parametrize("mistake", quick, ids=lambda mistake: mistake.name)
def test_a_built_in_mistake_is_found_soon_under_the_faults_that_are_best_for_it(mistake: Mistake) -> None:
    assert catch(mistake, mistake.draw, QUICK_MAX) is not None, f"nobody notices that {mistake.what}"


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("mistake", findable, ids=lambda mistake: mistake.name)
def test_every_built_in_mistake_is_found(mistake: Mistake) -> None:
    assert catch(mistake, mistake.draw, SEEDS_MAX) is not None, f"nobody notices that {mistake.what}"


def test_without_a_mistake_the_seeds_that_show_one_break_nothing() -> None:
    for name in ("books-twice", "exit-beside-stop", "sends-twice"):
        mistake = by_name[name]
        found = catch(mistake, mistake.draw, QUICK_MAX)
        assert found is not None
        assert judged(Drawing(mistake.draw)(found.seed)).outcome.violations == ()


def test_what_was_swapped_is_put_back() -> None:
    for mistake in MISTAKES:
        before = [getattr(swap.owner, swap.name) for swap in mistake.swaps]
        with built_in(mistake):
            assert [getattr(swap.owner, swap.name) for swap in mistake.swaps] == [swap.wrong for swap in mistake.swaps]
        assert [getattr(swap.owner, swap.name) for swap in mistake.swaps] == before


# --- the report -------------------------------------------------------------------------------

#: The command takes no makers: so the mistake is swapped in.
WHOLE = by_name["parts-are-wholes"]._replace(
    makers={}, swaps=(Swap(makers, "RememberingExecution", TakesPartsForWholes),)
)


def _seed() -> int:
    found = catch(WHOLE, WHOLE.draw, QUICK_MAX)
    assert found is not None
    return found.seed


def _simulated(seed: int, *options: str) -> str:
    arguments = ["simulate", "--seed", str(seed), "--desk", KRAKEN_DESK, "--only", "parts", "--bars", "16", *options]
    with built_in(WHOLE):
        done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 1, done.output
    return done.stdout


def test_the_command_shows_the_smallest_run_that_breaks_a_promise_and_the_line_that_keeps_it() -> None:
    seed = _seed()

    shown = _simulated(seed)
    smallest = json.loads(_simulated(seed, "--json"))["smallest"]

    assert f"seed {seed} (kraken) breaks a promise; the smallest run found that does:" in shown
    assert re.search(r"  bars \d+; faults that are needed: parts \(no\. \d+\)", shown)
    assert re.search(r"  broken: \S", shown)
    assert re.search(r"  its last \d+ of \d+ events:\n", shown)
    assert "VIOLATION" in shown
    assert (smallest["seed"], bool(smallest["violations"]), bool(smallest["timeline"])) == (seed, True, True)
    assert {kind for _, kind in smallest["faults"]} == {"parts"}
    line = shown.strip().splitlines()[-1].partition("): ")[2]
    with built_in(WHOLE):
        assert not eval(line, {"again": again, "Draw": Draw}), "the line fails as long as the mistake is there"
    assert eval(line, {"again": again, "Draw": Draw}), "and holds once it is mended"


def _without(numbers: tuple[int, ...], one: int) -> tuple[int, ...]:
    return tuple(number for number in numbers if number != one)


def test_a_failing_run_becomes_smaller_and_still_fails() -> None:
    mistake = by_name["books-twice"]
    found = catch(mistake, mistake.draw, QUICK_MAX)
    assert found is not None
    whole = Drawing(mistake.draw)(found.seed)
    with built_in(mistake) as replaced:
        small, outcome = shrunk(whole, replaced)
        kept = again(small.seed, replace(mistake.draw, bars=small.bars), only=small.only, makers=replaced)

    assert found.outcome.violations
    assert outcome.violations == kept != ()
    assert small.bars < whole.bars
    numbers = tuple(number for number, _ in outcome.occurrences)
    assert len(numbers) <= len(found.outcome.occurrences)
    with built_in(mistake) as replaced:
        draw = replace(mistake.draw, bars=small.bars)
        needless = [each for each in numbers if again(small.seed, draw, only=_without(numbers, each), makers=replaced)]
    assert needless == [], "each fault that is left is needed"
