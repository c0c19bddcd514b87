"""The barrier of simulated time: whose turn it is within one step, and when the step is over. Pure."""

from collections.abc import Callable, Mapping

import msgspec

VENUES, EXECUTION, STRATEGIES, RISK, EXECUTION_AGAIN = range(5)
#: Turns of execution and venues in one step. A step that needs more runs in a circle.
PHASES_MAX = 1000


class StepCircleError(Exception):
    """Execution and venue answer each other without end; the desk must not go on."""


def is_execution(phase: int) -> bool:
    """Say whether execution has this phase; behind risk it takes turns with the venues."""
    return phase == EXECUTION or (phase >= EXECUTION_AGAIN and (phase - EXECUTION_AGAIN) % 2 == 0)


def is_venues(phase: int) -> bool:
    """Say whether the venues have this phase."""
    return phase == VENUES or (phase > EXECUTION_AGAIN and (phase - EXECUTION_AGAIN) % 2 == 1)


class Barrier:
    """Who must still say Settled, and which phase comes next.

    A room that fell within its phase may have sent what its successor does not count, so a phase that another
    incarnation settled than the one that began it counts as one that sent something.
    """

    def __init__(self, number: int, *, is_repeated: bool) -> None:
        """Begin step ``number``; ``is_repeated`` after a fall of whoever owns the step."""
        self.number = number
        self.phase = -1
        self.waiting: set[str] = set()
        self._began: Mapping[str, int] = {}
        self._sent: dict[int, int] = {}
        self._is_repeated = is_repeated

    def begin(self, phase: int, members: Mapping[str, int]) -> None:
        """Open a phase for its members, given as their epochs by their paths."""
        if phase > PHASES_MAX:
            msg = f"step {self.number} has taken {phase} phases; execution and venue answer each other in a circle"
            raise StepCircleError(msg)
        self.phase = phase
        self._began = members
        self.waiting = set(members)
        self._sent[phase] = 0

    def settled(self, path: str, epoch: int, step: int, phase: int, sent: int) -> bool:
        """Note a Settled; False where it belongs to another step or phase, or was noted before."""
        if step != self.number or phase != self.phase or path not in self.waiting:
            return False
        self.waiting.discard(path)
        self._sent[phase] += sent + (epoch != self._began[path])
        return True

    def excuse(self, path: str) -> bool:
        """Wait no longer for a member that is put away; True where it was waited for."""
        if path not in self.waiting:
            return False
        self.waiting.discard(path)
        self._sent[self.phase] += 1
        return True

    def next_phase(self, is_anyone_fed: Callable[[], bool]) -> int | None:
        """Give the phase behind the one that is over (or the first one), or None where the step is done.

        Whether the step feeds any strategy is asked where it decides; where it feeds none, risk has nothing to judge.
        Behind risk execution and venues take turns for as long as there is something to carry out or to answer.
        """
        phase = self.phase
        if phase == EXECUTION and not is_anyone_fed():
            phase = RISK
        if phase < RISK:
            return phase + 1
        has_sent = self._sent[self.phase] > 0
        if phase <= EXECUTION_AGAIN:  # what execution asked for before the decisions is answered behind them
            has_sent = has_sent or self._sent.get(EXECUTION, 0) > 0 or self._is_repeated
        return phase + 1 if has_sent else None


class Route(msgspec.Struct, frozen=True):
    """What one strategy is fed."""

    path: str
    symbols: tuple[str, ...]
    timeframe: str
    wants_ticks: bool
