"""Many seeds, one after another or on several cores: what was found, how much was covered, and the smallest failure."""

import hashlib
import multiprocessing
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import zip_longest

import msgspec

from actors.simulation.course import Outcome, Trade, run
from actors.simulation.faults import Faults
from actors.simulation.scenario import AS_DRAWN, Draw, Scenario, of_settings, scenario
from actors.simulation.world import Maker

#: Runs that making a failure smaller may take.
SHRINK_RUNS_MAX = 120
#: Of so many seeds whose faults must change no trade, one is held against a run without any.
TWIN_EVERY = 3

Drawn = Callable[[int], Scenario]


class Found(msgspec.Struct, frozen=True):
    """One seed's result. ``twin`` is how many executions a run without faults had, None where none was made."""

    outcome: Outcome
    twin: int | None = None


class Summary(msgspec.Struct, frozen=True):
    """What a campaign came to. ``failures`` are (seed, what was violated), in the order of the seeds."""

    seeds: int
    violations: int
    trace_hash: str
    seeds_per_second: float
    orders: int
    executions: int
    twins: int
    faults: dict[str, int]
    kill_points: dict[str, int]
    desks: dict[str, int]
    failures: tuple[tuple[int, tuple[str, ...]], ...]


def judged(drawn: Scenario, makers: Mapping[str, Maker] | None = None, *, is_told: bool = False) -> Found:
    """Run a scenario; where nothing that goes wrong may change a trade, now and then beside one where nothing does."""
    outcome = run(drawn, is_told=is_told, makers=dict(makers or {}))
    is_disturbed = bool(outcome.faults) and drawn.is_harmless and not outcome.violations
    if not is_disturbed or (drawn.seed % TWIN_EVERY and not drawn.has_own_feed):
        return Found(outcome)
    twin = run(msgspec.structs.replace(drawn, faults=Faults(), only=None), makers=dict(makers or {}))
    ours, undisturbed = _by_moment(outcome.trades), _by_moment(twin.trades)
    if ours != undisturbed:
        text = _difference(ours, undisturbed)
        outcome = msgspec.structs.replace(outcome, violations=(text,))
    return Found(outcome, len(twin.trades))


def _by_moment(trades: Iterable[Trade]) -> list[Trade]:
    """Order executions by their times, and those of one moment by whose they are: a fall may let two change places."""
    return sorted(trades, key=lambda trade: (trade.ts_ns, trade.strategy, trade.symbol))


def _difference(ours: list[Trade], undisturbed: list[Trade]) -> str:
    pairs = enumerate(zip_longest(ours, undisturbed, fillvalue="none"), start=1)
    place, (mine, other) = next((number, pair) for number, pair in pairs if pair[0] != pair[1])
    return f"it traded otherwise than if nothing had gone wrong: execution {place} is {mine}, and undisturbed {other}"


def campaign(
    seeds: Iterable[int],
    drawn: Drawn,
    *,
    jobs: int = 1,
    makers: Mapping[str, Maker] | None = None,
    on_found: Callable[[Found], object] = lambda _found: None,
    failures_max: int = 0,
) -> Summary:
    """Run many seeds.

    Args:
        seeds: Which ones.
        drawn: Gives each its scenario.
        jobs: Processes at once; the result is the same for any number of them.
        makers: Parts that take the place of the desk's own (with one job only).
        on_found: Told of each result, in the order of the seeds.
        failures_max: Stop behind so many failures; 0 goes on to the end.
    """
    began = time.perf_counter()
    digest = hashlib.blake2b(digest_size=8)
    faults: Counter[str] = Counter()
    points: Counter[str] = Counter()
    desks: Counter[str] = Counter()
    failures: list[tuple[int, tuple[str, ...]]] = []
    count = orders = executions = twins = 0
    for found in _results(seeds, drawn, jobs, makers):
        outcome = found.outcome
        on_found(found)
        count += 1
        orders += outcome.orders
        executions += len(outcome.trades)
        twins += found.twin is not None
        digest.update(f"{outcome.seed} {outcome.trace_hash}\n".encode())
        faults.update(outcome.faults)
        points.update(outcome.kill_points)
        desks[outcome.desk] += 1
        if outcome.violations:
            failures.append((outcome.seed, outcome.violations))
            if failures_max and len(failures) >= failures_max:
                break
    took = max(time.perf_counter() - began, 1e-9)
    return Summary(
        count, len(failures), digest.hexdigest(), round(count / took, 2), orders, executions, twins,
        dict(sorted(faults.items())), dict(sorted(points.items(), key=lambda pair: int(pair[0][1:]))),
        dict(sorted(desks.items())), tuple(failures),
    )  # fmt: skip


def _results(seeds: Iterable[int], drawn: Drawn, jobs: int, makers: Mapping[str, Maker] | None) -> Iterator[Found]:
    if jobs == 1 or makers:
        for seed in seeds:
            yield judged(drawn(seed), makers)
        return
    with multiprocessing.get_context("fork").Pool(jobs) as pool:
        yield from pool.imap(_Worker(drawn), seeds, chunksize=4)


class _Worker:
    """What a process of the pool does with a seed."""

    def __init__(self, drawn: Drawn) -> None:
        self._drawn = drawn

    def __call__(self, seed: int) -> Found:
        return judged(self._drawn(seed))


class Drawing(msgspec.Struct, frozen=True):
    """Gives each seed its scenario, out of ``draw``; a value, so that it travels to another process."""

    draw: Draw = Draw()

    def __call__(self, seed: int) -> Scenario:
        """Draw one."""
        return scenario(seed, self.draw)


class OwnDesk(msgspec.Struct, frozen=True):
    """Lets what a seed draws go wrong on somebody's own desk, up to ``bars`` events of its feed (0: all)."""

    settings: bytes
    bars: int = 0
    is_calm: bool = False

    def __call__(self, seed: int) -> Scenario:
        """Draw what goes wrong."""
        return of_settings(self.settings, seed, self.bars, is_calm=self.is_calm)


def shrunk(failing: Scenario, makers: Mapping[str, Maker] | None = None) -> tuple[Scenario, Outcome]:
    """Make a failing scenario smaller as long as it still breaks a promise: fewer bars, then fewer faults.

    Source: delta debugging (Zeller, Hildebrandt 2002), on the numbers of the faults.
    """
    runs = 0

    def tried(smaller: Scenario) -> Outcome | None:
        nonlocal runs
        if runs >= SHRINK_RUNS_MAX:
            return None
        runs += 1
        outcome = judged(smaller, makers).outcome
        return outcome if outcome.violations else None

    best = judged(failing, makers).outcome
    assert best.violations, "only what fails can be made smaller"
    replace = msgspec.structs.replace
    for bars in (1, 2, 4, 8, 12, 16, 24):
        if failing.bars and bars < failing.bars and (outcome := tried(replace(failing, bars=bars))) is not None:
            failing, best = replace(failing, bars=bars), outcome
            break
    numbers = [number for number, _ in best.occurrences if failing.only is None or number in failing.only]
    parts = 2
    while len(numbers) > 1 and runs < SHRINK_RUNS_MAX:
        size = -(-len(numbers) // parts)
        for begin in range(0, len(numbers), size):
            kept = numbers[:begin] + numbers[begin + size :]
            outcome = tried(replace(failing, only=tuple(kept)))
            if outcome is not None:
                best, numbers, parts = outcome, kept, max(parts - 1, 2)
                failing = replace(failing, only=tuple(kept))
                break
        else:
            if parts >= len(numbers):
                break
            parts = min(2 * parts, len(numbers))
    if numbers and (outcome := tried(replace(failing, only=()))) is not None:
        failing, best = replace(failing, only=()), outcome
    return failing, best


def told(failing: Scenario, makers: Mapping[str, Maker] | None = None) -> Outcome:
    """Run a scenario once more, with its timeline."""
    return judged(failing, makers, is_told=True).outcome


def again(
    seed: int, draw: Draw = AS_DRAWN, *, only: tuple[int, ...] | None = None, makers: Mapping[str, Maker] | None = None
) -> tuple[str, ...]:
    """Run one seed as a report named it, and give the promises that it breaks: what a regression test says in a line.

    Args:
        seed: The seed.
        draw: The desk, the kinds of faults and the bars, where the report names them.
        only: The numbers of the faults that happen; None for all that are drawn.
        makers: Parts that take the place of the desk's own.
    """
    return judged(msgspec.structs.replace(scenario(seed, draw), only=only), makers).outcome.violations
