"""New code is tried before it is taken, and left again when it falls: every way through a swap."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.console.swap import (
    ON_NEW_CODE,
    OVER,
    PATIENCE_NS,
    PROBATION_NS,
    RESTARTING,
    Stage,
    Swap,
    abandoned,
    applied,
    seen,
)


def a_swap(**changes: Any) -> Swap:
    return Swap(name="a", module="m", old="o" * 64, new="n" * 64, bars=1, began_ns=0, **changes)


def row(
    state: str = "RUNNING", verdict: str = "", restarts: int = 0, last_error: str = "", since_s: float = 1e9
) -> dict[str, Any]:
    return {
        "state": state,
        "since_s": since_s,
        "restarts": restarts,
        "last_error": last_error,
        "last_exit": "",
        "facts": {"verdict": verdict} if verdict else {},
    }


def on_probation() -> Swap:
    swap = seen(applied(a_swap(), "", 1), row(restarts=2), row(verdict="ok"), 2)
    return applied(swap, "", 3)


def test_nothing_is_judged_before_the_candidate_is_there() -> None:
    swap = a_swap()

    assert seen(swap, row(), None, 10**18) is swap
    assert (swap.has_candidate, swap.code) == (True, swap.old)


def test_a_candidate_without_verdict_is_waited_for() -> None:
    swap = applied(a_swap(), "", 1)

    assert seen(swap, row(), row("STARTING"), 2) is swap
    assert seen(swap, row(), row(), PATIENCE_NS) is swap


@pytest.mark.parametrize("verdict", ["ok", "it refuses its parameters"])
def test_the_candidate_of_the_swap_before_has_no_say_while_it_leaves(verdict: str) -> None:
    swap = applied(a_swap(), "", 1)

    assert seen(swap, row(), row("STOPPING", verdict=verdict), 2) is swap


def test_a_good_verdict_takes_the_new_code_by_a_restart_and_puts_it_on_probation() -> None:
    swap = seen(applied(a_swap(), "", 1), row(restarts=2), row(verdict="ok"), 2)

    assert (swap.stage, swap.code, swap.has_candidate, swap.falls) == (Stage.SWITCHING, swap.new, False, 2)
    assert swap.stage in RESTARTING
    swap = applied(swap, "", 3)
    assert (swap.stage, swap.since_ns, swap.is_over) == (Stage.PROBATION, 3, False)


@pytest.mark.parametrize(
    ("strategy", "candidate", "now_ns", "says"),
    [
        (row(), row("STOPPED", last_error="ValueError: no"), 2, "the new code fell: ValueError: no"),
        (row(), row("STOPPED"), 2, "the new code fell: it left"),
        (row(), None, 2, "its candidate is gone"),
        (row("QUARANTINED"), row(), 2, "the strategy itself was put away"),
        (row("DISABLED"), row(verdict="ok"), 2, "the strategy itself was put away"),
        (None, row(), 2, "the strategy itself was put away"),
        (row(), row(verdict="it refuses its parameters"), 2, "it refuses its parameters"),
        (row(), row(), PATIENCE_NS + 1, "it evaluated no 1 bar within 300 s"),
    ],
)
def test_anything_else_leaves_the_old_code_where_it_is(
    strategy: dict[str, Any] | None, candidate: dict[str, Any] | None, now_ns: int, says: str
) -> None:
    swap = seen(applied(a_swap(), "", 1), strategy, candidate, now_ns)

    assert (swap.stage, swap.code, swap.has_candidate) == (Stage.REFUSED, swap.old, False)
    assert says in swap.words
    assert swap.stage not in RESTARTING
    assert not swap.is_over
    assert applied(swap, "", now_ns).is_over


def test_a_fall_on_probation_goes_back_and_names_the_fall() -> None:
    swap = seen(on_probation(), row(restarts=3, last_error="KeyError: 'x'"), None, 4)

    assert (swap.stage, swap.code, swap.stage in RESTARTING) == (Stage.RETURNING, swap.old, True)
    assert "KeyError: 'x'" in swap.words
    swap = applied(swap, "", 5)
    assert (swap.stage, swap.code, swap.is_over) == (Stage.RETURNED, swap.old, True)


def test_a_quarantine_on_probation_goes_back_too() -> None:
    assert seen(on_probation(), row("QUARANTINED", restarts=2), None, 4).stage is Stage.RETURNING


def test_a_quarantine_that_the_old_code_earned_behind_the_verdict_ends_the_swap_and_is_not_released() -> None:
    swap = seen(applied(a_swap(), "", 1), row(restarts=2), row(verdict="ok"), 2)

    swap = seen(swap, row("QUARANTINED", restarts=3), None, 3)

    assert (swap.stage, swap.code, swap.stage in RESTARTING) == (Stage.REFUSED, swap.old, False)
    assert swap.words == "refused: the strategy itself was put away meanwhile; the old code runs on"
    assert applied(swap, "", 4).is_over


def test_a_restart_by_an_operator_on_probation_is_no_fall() -> None:
    swap = on_probation()

    assert seen(swap, row("STARTING", restarts=2), None, 4) is swap


def test_new_code_that_lives_through_its_probation_is_taken() -> None:
    swap = on_probation()

    assert seen(swap, row(restarts=2), None, swap.since_ns + PROBATION_NS - 1) is swap
    swap = seen(swap, row(restarts=2), None, swap.since_ns + PROBATION_NS)

    assert (swap.stage, swap.code, swap.is_over) == (Stage.TAKEN, swap.new, True)


def test_new_code_that_was_put_away_on_probation_is_watched_once_it_runs_again() -> None:
    swap = on_probation()
    late_ns = swap.since_ns + 10 * PROBATION_NS

    assert seen(swap, row("DISABLED", restarts=2), None, late_ns) is swap
    assert seen(swap, row(restarts=2, since_s=59.0), None, late_ns) is swap
    assert seen(swap, row(restarts=3, since_s=59.0), None, late_ns).stage is Stage.RETURNING
    assert seen(swap, row(restarts=2, since_s=60.0), None, late_ns).stage is Stage.TAKEN


def test_a_fall_after_its_probation_is_a_fall_like_any_other() -> None:
    swap = on_probation()
    taken = seen(swap, row(restarts=2), None, swap.since_ns + PROBATION_NS)

    assert seen(taken, row(restarts=3), None, taken.since_ns + 1) is taken


def test_a_tree_that_root_refuses_leaves_the_old_code() -> None:
    trying = applied(a_swap(), "no such node", 1)
    switching = applied(seen(applied(a_swap(), "", 1), row(), row(verdict="ok"), 2), "no such node", 3)

    assert (trying.stage, trying.is_over) == (Stage.REFUSED, True)
    assert (switching.stage, switching.code, switching.is_over) == (Stage.REFUSED, switching.old, False)


@pytest.mark.parametrize("stage", [Stage.REFUSED, Stage.RETURNING])
def test_what_undoes_a_swap_is_asked_until_root_takes_it(stage: Stage) -> None:
    swap = a_swap(stage=stage)

    assert applied(swap, "busy", 1) is swap


ROWS = st.none() | st.builds(
    row,
    state=st.sampled_from(["RUNNING", "STARTING", "STOPPED", "QUARANTINED", "DISABLED", "BACKOFF"]),
    verdict=st.sampled_from(["", "ok", "bad"]),
    restarts=st.integers(0, 3),
)


@given(st.lists(st.tuples(st.booleans(), ROWS, ROWS, st.integers(0, PROBATION_NS)), max_size=20), st.booleans())
def test_whatever_happens_a_swap_ends_on_one_code_and_an_end_is_for_good(
    events: list[tuple[bool, Any, Any, int]], is_left: bool
) -> None:
    swap, now_ns = a_swap(), 0
    for is_answer, strategy, candidate, passed_ns in events:
        now_ns += passed_ns
        before = swap
        swap = applied(swap, "", now_ns) if is_answer else seen(swap, strategy, candidate, now_ns)
        if before.stage in OVER:
            assert swap.stage is before.stage
        assert swap.code in {swap.old, swap.new}
        assert not (swap.has_candidate and swap.code == swap.new)
    if is_left:
        ended = abandoned(swap, "the desk was stopped", swap.code, now_ns)
        assert ended.is_over
        assert ended.code == swap.code
        assert (ended.stage in ON_NEW_CODE) == (swap.stage in ON_NEW_CODE)
        assert ended.words


def returning() -> Swap:
    return seen(on_probation(), row(restarts=3, last_error="KeyError: 'x'"), None, 4)


def switching() -> Swap:
    return seen(applied(a_swap(), "", 1), row(), row(verdict="ok"), 2)


@pytest.mark.parametrize(
    ("swap", "code", "stage", "says"),
    [
        (a_swap(), "o" * 64, Stage.REFUSED, "abandoned: the desk ended; the old code runs on"),
        (a_swap(), "x" * 64, Stage.REFUSED, "abandoned: the desk ended; the new code does not run"),
        (a_swap(), "n" * 64, Stage.TAKEN, "taken; the desk was started with the files as they are"),
        (switching(), "o" * 64, Stage.REFUSED, "abandoned: the desk ended; the old code runs on"),
        (on_probation(), "n" * 64, Stage.TAKEN, "taken; the desk ended before its probation was over"),
        (returning(), "o" * 64, Stage.RETURNED, "went back to the old code"),
        (returning(), "n" * 64, Stage.TAKEN, "taken; the desk was started with the files as they are"),
    ],
)
def test_what_is_said_of_a_swap_that_a_start_ends_is_what_the_strategy_runs(
    swap: Swap, code: str, stage: Stage, says: str
) -> None:
    ended = abandoned(swap, "the desk ended", code, 9)

    assert (ended.stage, ended.is_over) == (stage, True)
    assert says in ended.words


def test_new_code_that_was_refused_and_comes_in_by_a_start_in_good_order_is_refused_no_more() -> None:
    refused = applied(seen(applied(a_swap(), "", 1), row(), row("STOPPED"), 2), "", 3)

    assert abandoned(refused, "the desk ended", refused.old, 4) is refused
    assert abandoned(refused, "the desk ended", refused.new, 4).stage is Stage.TAKEN
