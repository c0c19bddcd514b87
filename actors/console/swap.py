"""New code for a running strategy, step by step: what is tried, what is taken, what is gone back from. Pure.

A candidate runs the new code beside the strategy, on a copy of what that one keeps, and can send nothing. Only when it
has evaluated its bars does the strategy itself start with the new code, between two bars. If it falls soon after,
it goes back to the code that it had.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import msgspec
from msgspec.structs import replace

from actors.topics import candidate_path, strategy_path
from runtime.clock import NS_PER_S

#: How long the new code is watched after it was taken, in seconds of the machine in which it runs.
PROBATION_NS = 60 * NS_PER_S
#: How long a candidate may take beyond its bars.
PATIENCE_NS = 300 * NS_PER_S

Row = Mapping[str, Any]
_PUT_AWAY = "the strategy itself was put away meanwhile"


class Stage(StrEnum):
    """How far a swap is."""

    TRYING = "trying"
    SWITCHING = "switching"
    PROBATION = "probation"
    RETURNING = "returning"
    TAKEN = "taken"
    REFUSED = "refused"
    RETURNED = "returned"


#: A swap that is in one of these is over.
OVER = frozenset({Stage.TAKEN, Stage.REFUSED, Stage.RETURNED})
#: The stages in which the strategy shall run the new code.
ON_NEW_CODE = frozenset({Stage.SWITCHING, Stage.PROBATION, Stage.TAKEN})
#: The stages that begin with a restart of the strategy.
RESTARTING = frozenset({Stage.SWITCHING, Stage.RETURNING})


class Swap(msgspec.Struct, frozen=True, kw_only=True):
    """One swap of one strategy's code. Times are wall time, so that they mean something after a fall too.

    ``is_applied`` says whether root runs what the stage wants: a candidate or none, and which code. ``falls`` is how
    often the strategy had fallen when the new code was taken. ``words`` say what came of it.
    """

    name: str
    module: str
    old: str
    new: str
    bars: int
    began_ns: int
    patience_ns: int = PATIENCE_NS
    stage: Stage = Stage.TRYING
    since_ns: int = 0
    is_applied: bool = False
    falls: int = 0
    words: str = ""

    @property
    def is_over(self) -> bool:
        """True where nothing more comes of it."""
        return self.stage in OVER and self.is_applied

    @property
    def has_candidate(self) -> bool:
        """True where a candidate shall run."""
        return self.stage is Stage.TRYING

    @property
    def code(self) -> str:
        """The code that the strategy shall run."""
        return self.new if self.stage in ON_NEW_CODE else self.old

    @property
    def paths(self) -> tuple[str, str]:
        """Where the strategy and its candidate stand in the tree."""
        return strategy_path(self.name), candidate_path(self.name)


def applied(swap: Swap, error: str, now_ns: int) -> Swap:
    """Hear that root runs what the stage wants, or, with an ``error``, that it refused to and nothing changed."""
    if error:
        return _refused_by_root(swap, error, now_ns)
    done = replace(swap, is_applied=True)
    if done.stage is Stage.SWITCHING:
        return replace(done, stage=Stage.PROBATION, since_ns=now_ns)
    if done.stage is Stage.RETURNING:
        return replace(done, stage=Stage.RETURNED, since_ns=now_ns)
    return done


def _refused_by_root(swap: Swap, error: str, now_ns: int) -> Swap:
    if swap.stage in OVER or swap.stage is Stage.RETURNING:
        return swap  # it is asked again: the candidate has to leave, the old code to come back
    words = f"refused: root could not take the tree: {error}; the old code runs on"
    return _to(swap, Stage.REFUSED, words, now_ns, is_applied=swap.stage is Stage.TRYING)


def seen(swap: Swap, strategy: Row | None, candidate: Row | None, now_ns: int) -> Swap:
    """Look at the rows of the strategy and its candidate, as root has them; give where the swap is then."""
    if not swap.is_applied:
        if swap.stage is Stage.SWITCHING and strategy is not None:  # the old code falls still
            if strategy["state"] == "QUARANTINED":
                return _to(swap, Stage.REFUSED, f"refused: {_PUT_AWAY}; the old code runs on", now_ns)
            return replace(swap, falls=int(strategy["restarts"]))
        return swap
    if swap.stage is Stage.TRYING:
        return _judged(swap, strategy, candidate, now_ns)
    if swap.stage is Stage.PROBATION:
        return _watched(swap, strategy, now_ns)
    return swap


def _judged(swap: Swap, strategy: Row | None, candidate: Row | None, now_ns: int) -> Swap:
    fault = ""
    verdict = ""
    if candidate is not None and candidate["state"] != "STOPPING":  # that one is of the swap before, and leaves
        verdict = str(candidate["facts"].get("verdict", ""))
    if strategy is None or strategy["state"] in {"DISABLED", "QUARANTINED"}:
        fault = _PUT_AWAY
    elif candidate is None:
        fault = "its candidate is gone"
    elif candidate["state"] in {"STOPPED", "QUARANTINED", "BACKOFF", "DISABLED"}:
        fault = f"the new code fell: {candidate['last_error'] or candidate['last_exit'] or 'it left'}"
    elif verdict not in {"", "ok"}:
        fault = verdict
    elif now_ns - swap.began_ns > swap.patience_ns:
        fault = f"it evaluated no {swap.bars} bar{'s' * (swap.bars > 1)} within {swap.patience_ns / NS_PER_S:.0f} s"
    if fault:
        return _to(swap, Stage.REFUSED, f"refused: {fault}; the old code runs on", now_ns)
    if verdict == "ok" and strategy is not None:
        falls = int(strategy["restarts"])
        return replace(_to(swap, Stage.SWITCHING, "tried well; being taken", now_ns), falls=falls)
    return swap


def _watched(swap: Swap, strategy: Row | None, now_ns: int) -> Swap:
    if strategy is None:
        return _to(swap, Stage.TAKEN, "taken; the strategy is gone from the configuration", now_ns, is_applied=True)
    if int(strategy["restarts"]) > swap.falls or strategy["state"] == "QUARANTINED":
        why = strategy["last_error"] or strategy["last_exit"] or "it fell"
        return _to(swap, Stage.RETURNING, f"went back to the old code: the new one fell on probation: {why}", now_ns)
    is_up_s = float(strategy["since_s"]) if strategy["state"] == "RUNNING" else 0.0  # one put away is not watched
    if min(now_ns - swap.since_ns, is_up_s * NS_PER_S) >= PROBATION_NS:
        return _to(swap, Stage.TAKEN, "taken", now_ns, is_applied=True)
    return swap


def abandoned(swap: Swap, why: str, code: str, now_ns: int) -> Swap:
    """End a swap whose desk has ended. ``code`` is what the strategy runs from the next start on, "" for nothing."""
    if code == swap.new:
        if swap.stage is Stage.TAKEN:
            return swap
        words = "the desk was started with the files as they are"
        if swap.stage in ON_NEW_CODE:
            words = f"{why} before its probation was over"
        return _to(swap, Stage.TAKEN, f"taken; {words}", now_ns, is_applied=True)
    if swap.is_over:
        return swap
    is_return = swap.stage in {Stage.RETURNING, Stage.RETURNED}
    kept = "" if swap.stage in ON_NEW_CODE else swap.words
    runs = "the old code runs on" if code == swap.old else "the new code does not run"
    stage = Stage.RETURNED if is_return else Stage.REFUSED
    return _to(swap, stage, kept or f"abandoned: {why}; {runs}", now_ns, is_applied=True)


def _to(swap: Swap, stage: Stage, words: str, now_ns: int, *, is_applied: bool = False) -> Swap:
    return replace(swap, stage=stage, words=words, since_ns=now_ns, is_applied=is_applied)
