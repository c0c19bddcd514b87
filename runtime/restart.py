"""How often may a child fall, who goes down with it, and how long to wait: restart arithmetic as pure functions."""

from collections.abc import Callable, Sequence
from enum import StrEnum

import msgspec

from runtime.errors import SpecError

Uniform = Callable[[float, float], float]
"""Chance, handed in: a float drawn evenly from [a, b]."""


class RestartType(StrEnum):
    """When a fallen child is started again."""

    PERMANENT = "permanent"
    """Always, also after exit 0."""
    TRANSIENT = "transient"
    """Only after an abnormal end."""
    TEMPORARY = "temporary"
    """Never, also not when the fall of a sibling took it down."""


class Strategy(StrEnum):
    """Which siblings go down with a fallen child and come back with it."""

    ONE_FOR_ONE = "one_for_one"
    REST_FOR_ONE = "rest_for_one"
    ONE_FOR_ALL = "one_for_all"


class ExitKind(StrEnum):
    """How a child ended. Everything but NORMAL is abnormal."""

    NORMAL = "normal"
    """Exit status 0."""
    ABNORMAL = "abnormal"
    """Any other exit status."""
    SIGNAL = "signal"
    """Ended by a signal that its supervisor did not send."""
    HANG = "hang"
    """Alive without progress, therefore killed."""
    START_TIMEOUT = "start_timeout"
    """Not READY in time, therefore killed."""
    START_FAILED = "start_failed"
    """No process came to be."""
    GAVE_UP = "gave_up"
    """A node that stopped all its children because they fell too often."""


class Exit(msgspec.Struct, frozen=True):
    """How a child ended, and the words for it that an operator reads."""

    kind: ExitKind
    text: str

    @property
    def is_normal(self) -> bool:
        """True for exit status 0 only."""
        return self.kind is ExitKind.NORMAL


class RestartLimit(msgspec.Struct, frozen=True):
    """A supervisor's allowance: so many restarts inside a sliding window, and not one more."""

    restarts_max: int
    """At least 0; with 0 the first fall is already too many."""
    window_ns: int

    def __post_init__(self) -> None:
        """Refuse a limit that cannot be kept.

        Raises:
            SpecError: A negative count, or a window that is not positive.
        """
        if self.restarts_max < 0:
            msg = f"restarts_max must be at least 0, not {self.restarts_max}"
            raise SpecError(msg)
        if self.window_ns <= 0:
            msg = f"window_ns must be positive, not {self.window_ns}"
            raise SpecError(msg)


class Backoff(msgspec.Struct, frozen=True):
    """How long a fallen child waits: not at all the first time, then full jitter over a doubling span."""

    base_ns: int
    """Span of the second restart in a row; 0 means that no restart ever waits."""
    cap_ns: int
    """The span grows no further than this."""
    healthy_ns: int
    """A child that was READY for this long starts counting anew."""

    def __post_init__(self) -> None:
        """Refuse spans that cannot be drawn from.

        Raises:
            SpecError: A negative base, a cap below the base, or a health that is not positive.
        """
        if self.base_ns < 0:
            msg = f"base_ns must be at least 0, not {self.base_ns}"
            raise SpecError(msg)
        if self.cap_ns < self.base_ns:
            msg = f"cap_ns must be at least base_ns {self.base_ns}, not {self.cap_ns}"
            raise SpecError(msg)
        if self.healthy_ns <= 0:
            msg = f"healthy_ns must be positive, not {self.healthy_ns}"
            raise SpecError(msg)

    def span_ns(self, falls_in_row: int) -> int:
        """Say the longest wait before the restart that follows this fall.

        Args:
            falls_in_row: Falls since the child was last healthy, this one included; at least 1.

        Returns:
            0 for the first fall, then base, 2 base, 4 base and so on, never above the cap.
        """
        assert falls_in_row >= 1, "a restart follows a fall"
        doublings = falls_in_row - 2
        if doublings < 0 or self.base_ns == 0:
            return 0
        # Past this many doublings even a base of 1 ns is above the cap: the shift stays small for ever.
        if doublings >= self.cap_ns.bit_length():
            return self.cap_ns
        return min(self.cap_ns, self.base_ns << doublings)

    def delay_ns(self, falls_in_row: int, uniform: Uniform) -> int:
        """Draw the wait before the restart that follows this fall, from U(0, span).

        The first fall draws nothing: its restart is immediate, so a run without repeated falls uses no chance.

        Args:
            falls_in_row: Falls since the child was last healthy, this one included; at least 1.
            uniform: Where the draw comes from.

        Returns:
            Nanoseconds in [0, span].

        Source: "Exponential Backoff And Jitter", full jitter (aws.amazon.com/blogs/architecture).
        """
        span_ns = self.span_ns(falls_in_row)
        if span_ns == 0:
            return 0
        delay_ns = int(uniform(0.0, float(span_ns)))
        assert 0 <= delay_ns <= span_ns, "a draw left its span"
        return delay_ns


def record_restart(restarts_ns: tuple[int, ...], now_ns: int, limit: RestartLimit) -> tuple[tuple[int, ...], bool]:
    """Add one restart and say whether the limit still holds.

    Args:
        restarts_ns: Monotonic times of earlier restarts, newest first, in nanoseconds.
        now_ns: Monotonic time of this restart, in nanoseconds.
        limit: The supervisor's allowance.

    Returns:
        The restarts still inside the window, newest first, and True while their count is
        within the limit. On False the supervisor must give up and tell its own supervisor.

    Source: Erlang/OTP supervisor.erl, add_restart/1.
    """
    assert not restarts_ns or now_ns >= restarts_ns[0], "monotonic time ran backwards"
    recent_ns = (now_ns, *(t for t in restarts_ns if now_ns - t <= limit.window_ns))
    return recent_ns, len(recent_ns) <= limit.restarts_max


def should_restart(restart: RestartType, ended: Exit) -> bool:
    """Say whether a child that ended by itself comes back.

    It does not ask who ended it: a child that was told to stop is not judged here.
    """
    if restart is RestartType.PERMANENT:
        return True
    return restart is RestartType.TRANSIENT and not ended.is_normal


def affected(strategy: Strategy, child_ids: Sequence[str], dead: str) -> tuple[str, ...]:
    """Say who goes down and comes back when one child falls.

    Args:
        strategy: The supervisor's strategy.
        child_ids: All children in the order of their start.
        dead: The one that fell.

    Returns:
        The fallen child and those that share its fate, in the order of their start. They are stopped
        in the reverse of it. Siblings that are not named stay as they are.
    """
    assert dead in child_ids, "only a child of this supervisor can fall"
    if strategy is Strategy.ONE_FOR_ONE:
        return (dead,)
    if strategy is Strategy.REST_FOR_ONE:
        return tuple(child_ids[child_ids.index(dead) :])
    return tuple(child_ids)
