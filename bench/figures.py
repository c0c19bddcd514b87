"""What every benchmark prints: figures of both sides, their ratio, the goal, and whether it holds."""

import statistics
from collections.abc import Callable, Iterable, Sequence
from time import sleep

import msgspec

from runtime.clock import NS_PER_S, Clock

NS_PER_US = 1_000
#: Bound of every wait; reached only where something hangs.
PATIENCE_S = 60.0


class BenchError(Exception):
    """A side did not do what is measured, so there is no figure."""


class Figure(msgspec.Struct, frozen=True):
    """One row of the table: the desk against its floor."""

    name: str
    ours: float
    floor: float
    goal: float
    unit: str = "us"

    @property
    def ratio(self) -> float:
        """How many times the floor the desk takes."""
        return round(self.ours / self.floor, 3)

    @property
    def holds(self) -> bool:
        """True where the ratio is within the goal."""
        return self.ratio <= self.goal


def percentile(samples: Iterable[float], share: float) -> float:
    """Give the smallest sample that ``share`` (0..1) of all samples do not exceed."""
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def over_rounds(rounds: Sequence[Sequence[float]], share: float) -> float:
    """Give the median over the rounds of each round's percentile: one disturbed round does not decide."""
    return round(statistics.median(percentile(samples, share) for samples in rounds), 1)


def until(what: Callable[[], object], name: str, *, every_s: float = 0.02, patience_s: float = PATIENCE_S) -> None:
    """Look again and again until it is so.

    Raises:
        BenchError: It did not come to that in time.
    """
    clock = Clock()
    deadline_ns = clock.monotonic_ns() + int(patience_s * NS_PER_S)
    while not what():
        if clock.monotonic_ns() > deadline_ns:
            msg = f"waited {patience_s:.0f} s for {name}"
            raise BenchError(msg)
        sleep(every_s)


def show(bench: str, title: str, figures: Sequence[Figure], more: dict[str, object], *, as_json: bool) -> None:
    """Print one object, or a table; the first figure is the benchmark's own."""
    first = figures[0]
    document: dict[str, object] = {
        "id": bench,
        "ours": first.ours,
        "floor": first.floor,
        "ratio": first.ratio,
        "goal": first.goal,
        "holds": all(figure.holds for figure in figures),
        "unit": first.unit,
        "figures": {
            figure.name: {
                "ours": figure.ours,
                "floor": figure.floor,
                "ratio": figure.ratio,
                "goal": figure.goal,
                "holds": figure.holds,
                "unit": figure.unit,
            }
            for figure in figures
        },
        **more,
    }
    if as_json:
        print(msgspec.json.encode(document).decode())
        return
    print(f"{bench}  {title}")
    print(f"  {'':<10} {'desk':>10} {'floor':>10} {'':<5} {'ratio':>7} {'goal':>7}")
    for figure in figures:
        holds = "holds" if figure.holds else "MISSED"
        print(
            f"  {figure.name:<10} {figure.ours:>10.1f} {figure.floor:>10.1f} {figure.unit:<5}"
            f" {figure.ratio:>7.2f} {figure.goal:>7.2f}  {holds}"
        )
    for name, value in more.items():
        print(f"  {name}: {value}")
