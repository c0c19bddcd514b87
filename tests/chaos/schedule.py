"""What goes wrong, and when: a schedule that follows from one number. Pure."""

import random
from collections.abc import Iterator, Sequence
from typing import NamedTuple

#: Processes that chance may hit. What is not here is hit by nothing but the end of root.
ROOMS = ("venues fake", "execution", "console", "risk", "market_data", "watchdog", "zygote", "spare")
ROOT = "(root)"
#: What may be edited in the configuration.
EDITS = ("guest", "limits", "parameters", "enabled", "broken")
#: The least and the most seconds from one fault to the next.
GAP_S = (0.3, 2.4)


class Fault(NamedTuple):
    """One thing that goes wrong: when it begins, what it is, whom it hits, and how long it lasts (s; 0: no time)."""

    at_s: float
    kind: str
    target: str
    for_s: float

    def __str__(self) -> str:
        """Tell it in words."""
        span = f" for {self.for_s:.1f} s" if self.for_s else ""
        return f"{self.kind} {self.target}{span}".replace("  ", " ").rstrip()


class Kind(NamedTuple):
    """A kind of fault: how often it is in one deck, and how long it may last."""

    name: str
    times: int
    least_s: float = 0.0
    most_s: float = 0.0


#: One deck. Decks follow each other, each shuffled, so that a storm of some length has everything in it.
DECK = (
    Kind("kill", 10),
    Kind("kill_three", 2),
    Kind("kill_root", 1),
    Kind("stop", 5, 0.2, 6.0),
    Kind("stop_root", 1, 0.5, 4.0),
    Kind("cut_venue", 3),
    Kind("stall_venue", 2, 0.5, 5.0),
    Kind("halve_venue", 2),
    Kind("shut_venue", 1, 0.5, 4.0),
    Kind("manners", 3, 1.0, 6.0),
    Kind("cut_feed", 2),
    Kind("stall_feed", 1, 0.5, 4.0),
    Kind("full_disk", 1, 0.5, 4.0),
    Kind("halt", 1, 0.5, 3.0),
    Kind("disable", 2, 0.5, 5.0),
    Kind("restart", 1),
    Kind("cancel", 1),
    Kind("flatten", 1),
    Kind("edit", 3, 1.0, 6.0),
    Kind("reconcile", 1),
)


def schedule(seed: int, seconds: float, strategies: Sequence[str], *, without: frozenset[str]) -> list[Fault]:
    """Give all faults of a storm, in order; the same arguments give the same ones.

    Args:
        seed: What everything follows from.
        seconds: How long the storm lasts; no fault begins later.
        strategies: The names of the strategies that may be hit.
        without: Kinds that this machine cannot do.
    """
    chance = random.Random(seed)
    processes = (*ROOMS, *(f"strategy {name}" for name in strategies))
    faults: list[Fault] = []
    at_s = 0.0
    for kind in _decks(chance, without):
        at_s += chance.uniform(*GAP_S)
        if at_s > seconds:
            return faults
        for_s = chance.uniform(kind.least_s, kind.most_s)
        faults.append(Fault(round(at_s, 2), kind.name, _target(kind.name, chance, processes, strategies), for_s))
    return faults


def _decks(chance: random.Random, without: frozenset[str]) -> Iterator[Kind]:
    while True:
        deck = [kind for kind in DECK if kind.name not in without for _ in range(kind.times)]
        chance.shuffle(deck)
        yield from deck


def _target(kind: str, chance: random.Random, processes: Sequence[str], strategies: Sequence[str]) -> str:
    if kind == "kill_three":
        return ", ".join(chance.sample(processes, 3))
    paths = ("execution", "risk", "market_data", *(f"strategies/{name}" for name in strategies))
    choices: dict[str, Sequence[str]] = {
        "kill": processes,
        "stop": processes,
        "kill_root": (ROOT,),
        "stop_root": (ROOT,),
        "disable": strategies,
        "flatten": strategies,
        "cancel": strategies,
        "restart": paths,
        "edit": EDITS,
    }
    return chance.choice(choices.get(kind, ("",)))
