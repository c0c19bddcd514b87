"""What ``bulkhead simulate`` does: which scenarios it runs, and how what they came to is shown."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from actors.cli_parts import EXIT_DEGRADED, EXIT_REFUSED, fail, say
from actors.problem import render
from actors.settings import FeedKind, Settings, encode_settings
from actors.settings_apart import read_apart
from actors.simulation.campaign import Drawing, Drawn, Found, OwnDesk, Summary, campaign, shrunk, told
from actors.simulation.course import Outcome
from actors.simulation.faults import KINDS
from actors.simulation.kill_points import POINTS
from actors.simulation.scenario import ALPACA_DESK, KRAKEN_DESK, PAPER_DESK, Draw, Scenario
from runtime.clock import NS_PER_S, Clock

DESKS = (PAPER_DESK, KRAKEN_DESK, ALPACA_DESK)
#: Lines of a failing run's timeline that are shown where nobody asked for all of it.
TIMELINE_LINES = 60
PROGRESS_NS = 2 * NS_PER_S
TENTHS = 10
COLUMNS = 80


def run_simulation(numbers: Sequence[int], drawn: Drawn, jobs: int, *, is_traced: bool, as_json: bool) -> int:
    """Run the seeds and show what they came to; give the exit code."""
    if is_traced:
        for number in numbers:
            say("\n".join(told(drawn(number)).timeline))
    progress = _Progress(len(numbers), is_silent=as_json or len(numbers) == 1)
    workers = min(jobs or os.cpu_count() or 1, len(numbers))
    summary = campaign(numbers, drawn, jobs=workers, on_found=progress.hear)
    smallest = _smallest(drawn(summary.failures[0][0])) if summary.failures else None
    if as_json:
        say(msgspec.json.encode(_document(summary, smallest), order="deterministic").decode())
    else:
        say(summary_text(summary))
        if smallest is not None:
            say(failure_text(*smallest, drawn.draw if isinstance(drawn, Drawing) else None))
    return EXIT_DEGRADED if summary.failures else 0


def drawing(desk: str, only: str, config: Path | None, bars: int) -> Drawn:
    """Say what the options ask for; what they say wrongly ends the command."""
    if desk and desk not in DESKS:
        fail(f"--desk {desk}: there is no such desk; choose one of {', '.join(DESKS)}", EXIT_REFUSED)
    kinds = None if not only else () if only == "none" else tuple(only.split(","))
    for kind in kinds or ():
        if kind not in KINDS:
            fail(f"--only {kind}: there is no such kind of fault; there are {', '.join(KINDS)}", EXIT_REFUSED)
    if config is None:
        return Drawing(Draw(desk, kinds, bars))
    if desk:
        fail("--desk and --config do not go together: the file says which desk it is", EXIT_REFUSED)
    return OwnDesk(encode_settings(_settings(config)), bars, is_calm=kinds == ())


def _settings(file: Path) -> Settings:
    loaded = read_apart(file, Clock())
    if loaded.settings is None:
        fail(render(loaded.problems), EXIT_REFUSED)
    settings = loaded.settings
    if settings.feed.kind is FeedKind.ZMQ or not settings.feed.lockstep or settings.venue.is_remote:
        fail(
            f"{file}: only a desk on a replay or the synthetic feed, in lockstep and at the paper venue, can be "
            "simulated from its file; leave --config out for desks at venues behind a wire",
            EXIT_REFUSED,
        )
    return settings


class _Progress:
    """Says now and then how far a campaign has come: on a terminal in one line, else a line each tenth."""

    def __init__(self, count: int, *, is_silent: bool) -> None:
        self._count, self._is_silent = count, is_silent
        self._clock = Clock()
        self._began_ns = self._said_ns = self._clock.monotonic_ns()
        self._done = self._failed = self._tenths = 0

    def hear(self, found: Found) -> None:
        """Count one seed."""
        self._done += 1
        self._failed += bool(found.outcome.violations)
        if self._is_silent:
            return
        now_ns = self._clock.monotonic_ns()
        rate = self._done / max((now_ns - self._began_ns) / NS_PER_S, 1e-9)
        text = f"{self._done} of {self._count} seeds, {rate:.1f} a second, {self._failed} failed"
        if sys.stderr.isatty():
            if now_ns - self._said_ns >= PROGRESS_NS or self._done == self._count:
                self._said_ns = now_ns
                sys.stderr.write(f"\r{text}" + ("\n" if self._done == self._count else ""))
                sys.stderr.flush()
        elif self._done * TENTHS // self._count > self._tenths:
            self._tenths = self._done * TENTHS // self._count
            sys.stderr.write(f"{text}\n")


def _smallest(failing: Scenario) -> tuple[Scenario, Outcome]:
    smaller, _ = shrunk(failing)
    return smaller, told(smaller)


def _document(summary: Summary, smallest: tuple[Scenario, Outcome] | None) -> dict[str, Any]:
    document: dict[str, Any] = msgspec.to_builtins(summary)
    document["kill_points_never_reached"] = [name for name in POINTS if name not in summary.kill_points]
    if smallest is not None:
        scenario, outcome = smallest
        document["smallest"] = {
            "seed": scenario.seed,
            "desk": scenario.desk,
            "bars": scenario.bars,
            "faults": [list(pair) for pair in _happened(scenario, outcome)],
            "violations": list(outcome.violations),
            "timeline": list(outcome.timeline),
        }
    return document


def _happened(scenario: Scenario, outcome: Outcome) -> list[tuple[int, str]]:
    return [pair for pair in outcome.occurrences if scenario.only is None or pair[0] in scenario.only]


def summary_text(summary: Summary) -> str:
    """Give what a campaign came to, in at most 80 columns."""
    lines = [
        f"{summary.seeds} seeds, {summary.violations} with broken promises, {summary.seeds_per_second:g} a second",
        f"trace        {summary.trace_hash}",
        f"traded       {summary.orders} orders, {summary.executions} executions",
        f"compared     {summary.twins} with a run in which nothing went wrong",
        "desks        " + _counts(summary.desks),
        *_wrapped("faults", summary.faults),
        *_wrapped("killed at", summary.kill_points),
    ]
    missing = [name for name in POINTS if name not in summary.kill_points]
    if missing:
        lines.append("not reached  " + " ".join(missing))
    return "\n".join(lines)


def _counts(counts: dict[str, int]) -> str:
    return "  ".join(f"{name} {count}" for name, count in counts.items()) or "none"


def _wrapped(name: str, counts: dict[str, int]) -> list[str]:
    lines, line = list[str](), f"{name:<13}"
    for kind, count in counts.items():
        piece = f"{kind} {count}  "
        if len(line) + len(piece) > COLUMNS:
            lines.append(line.rstrip())
            line = " " * 13
        line += piece
    return [*lines, line.rstrip()]


def failure_text(scenario: Scenario, outcome: Outcome, draw: Draw | None = None) -> str:
    """Show the smallest run that still breaks a promise, how to see all of it, and how to keep it as a test.

    ``draw`` is what was not left to the seed; None for a desk of somebody's own.
    """
    happened = ", ".join(f"{kind} (no. {number})" for number, kind in _happened(scenario, outcome)) or "none"
    tail = outcome.timeline[-TIMELINE_LINES:]
    return "\n".join((
        "",
        f"seed {scenario.seed} ({scenario.desk}) breaks a promise; the smallest run found that does:",
        f"  bars {scenario.bars}; faults that are needed: {happened}",
        *(f"  broken: {text}" for text in outcome.violations),
        f"  its last {len(tail)} of {len(outcome.timeline)} events:",
        *(f"  {line[:200]}" for line in tail),
        *_how_to_go_on(scenario, draw),
    ))  # fmt: skip


def _how_to_go_on(scenario: Scenario, draw: Draw | None) -> tuple[str, ...]:
    seed = scenario.seed
    if draw is None:
        return (f"all of seed {seed}: bulkhead simulate --seed {seed} --trace --config FILE",)
    options = f" --desk {draw.desk}" if draw.desk else ""
    options += f" --only {','.join(draw.kinds) or 'none'}" if draw.kinds is not None else ""
    options += f" --bars {draw.bars}" if draw.bars else ""
    only = f", only={scenario.only}" if scenario.only is not None else ""
    return (
        f"all of seed {seed}: bulkhead simulate --seed {seed}{options} --trace",
        f"as a test (docs/testing.md): again({seed}, Draw({draw.desk!r}, {draw.kinds}, {scenario.bars}){only}) == ()",
    )
