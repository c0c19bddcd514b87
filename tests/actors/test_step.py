"""The barrier of simulated time: which phase comes next, and who is waited for."""

from collections.abc import Iterable

import pytest

from actors.step import (
    EXECUTION,
    EXECUTION_AGAIN,
    PHASES_MAX,
    RISK,
    STRATEGIES,
    VENUES,
    Barrier,
    StepCircleError,
    is_execution,
    is_venues,
)

STEP = 7


def test_a_step_in_which_nobody_sends_anything_ends_behind_risk() -> None:
    assert phases_of(()) == [VENUES, EXECUTION, STRATEGIES, RISK]


def test_a_step_that_feeds_nobody_and_sends_nothing_ends_behind_execution() -> None:
    assert phases_of((), is_fed=False) == [VENUES, EXECUTION]


def test_what_risk_lets_pass_is_carried_out_and_answered_in_the_same_step() -> None:
    sending = (RISK, EXECUTION_AGAIN, EXECUTION_AGAIN + 1)

    phases = phases_of(sending)

    assert phases == [VENUES, EXECUTION, STRATEGIES, RISK, *range(EXECUTION_AGAIN, EXECUTION_AGAIN + 3)]
    assert [is_execution(phase) for phase in phases[4:]] == [True, False, True]
    assert [is_venues(phase) for phase in phases[4:]] == [False, True, False]


def test_a_refusal_of_risk_is_heard_and_needs_no_venue() -> None:
    assert phases_of((RISK,)) == [VENUES, EXECUTION, STRATEGIES, RISK, EXECUTION_AGAIN]


@pytest.mark.parametrize("is_fed", [True, False])
def test_what_execution_asks_for_before_the_decisions_is_answered_behind_them(is_fed: bool) -> None:
    phases = phases_of((EXECUTION,), is_fed=is_fed)

    assert phases[-2:] == [EXECUTION_AGAIN, EXECUTION_AGAIN + 1]
    assert (RISK in phases) is is_fed


def test_a_step_that_is_run_again_gives_execution_and_venue_another_turn_each() -> None:
    assert phases_of((), is_repeated=True)[-2:] == [EXECUTION_AGAIN, EXECUTION_AGAIN + 1]


def test_a_room_that_fell_in_its_phase_may_have_sent_what_its_successor_does_not_count() -> None:
    barrier = at_phase(RISK)

    assert barrier.settled("member", 2, STEP, RISK, 0)

    assert barrier.next_phase(fed) == EXECUTION_AGAIN


def test_a_member_that_is_put_away_is_waited_for_no_longer_and_may_have_sent_something() -> None:
    barrier = at_phase(RISK)

    assert barrier.excuse("member")
    assert not barrier.excuse("member")

    assert not barrier.waiting
    assert barrier.next_phase(fed) == EXECUTION_AGAIN


def test_only_the_first_answer_of_a_member_to_the_present_phase_counts() -> None:
    barrier = at_phase(RISK)

    assert not barrier.settled("stranger", 1, STEP, RISK, 1)
    assert not barrier.settled("member", 1, STEP - 1, RISK, 1)
    assert not barrier.settled("member", 1, STEP, EXECUTION, 1)
    assert barrier.waiting == {"member"}
    assert barrier.settled("member", 1, STEP, RISK, 0)
    assert not barrier.settled("member", 1, STEP, RISK, 1)

    assert barrier.next_phase(fed) is None


def test_execution_and_venue_that_answer_each_other_without_end_stop_the_step() -> None:
    with pytest.raises(StepCircleError, match="in a circle"):
        phases_of(range(PHASES_MAX + 1))


def fed() -> bool:
    """Say that the step feeds a strategy."""
    return True


def at_phase(phase: int) -> Barrier:
    """Give a barrier that waits for its one member in this phase."""
    barrier = Barrier(STEP, is_repeated=False)
    for each in range(phase + 1):
        barrier.begin(each, {"member": 1})
        if each < phase:
            barrier.settled("member", 1, STEP, each, 0)
    return barrier


def phases_of(sending: Iterable[int], *, is_fed: bool = True, is_repeated: bool = False) -> list[int]:
    """Run a step with one member, which sends something in these phases; give all its phases."""
    barrier, found = Barrier(STEP, is_repeated=is_repeated), list[int]()
    sends = frozenset(sending)
    while (phase := barrier.next_phase(lambda: is_fed)) is not None:
        found.append(phase)
        barrier.begin(phase, {"member": 1})
        barrier.settled("member", 1, STEP, phase, int(phase in sends))
    return found
