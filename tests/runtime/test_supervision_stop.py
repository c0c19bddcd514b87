"""Waiting and stopping: backoff, a second fall in the midst of a restart, and stop in every state."""

import pytest

from runtime.restart import Strategy
from runtime.supervision_words import (
    AllStopped,
    ChildState,
    Spawn,
)
from tests.runtime.process_table import (
    S,
    abc,
    full_jitter,
    in_backoff,
    node,
    started,
    starts_and_asks,
    table,
    worker,
)

MS = S // 1000


# --- backoff --------------------------------------------------------------------------------------


def test_the_first_restart_is_immediate_and_the_next_ones_wait_twice_as_long_each() -> None:
    desk = started(node("desk", worker("a")), full_jitter)
    waits_ms: list[int] = []

    for _ in range(5):
        desk.end("a")
        due_ns = desk.supervision.next_timer_ns()
        waits_ms.append(0 if due_ns is None else (due_ns - desk.now_ns) // MS)
        desk.pass_ns(2 * S)

    assert waits_ms == [0, 200, 400, 800, 1600]


def test_only_a_birth_that_had_to_wait_is_gentle() -> None:
    desk = in_backoff()
    spawned = [one.is_gentle for one in desk.of(Spawn) if isinstance(one, Spawn)]
    desk.pass_ns(200 * MS)
    desk.end("b")
    desk.restart("b")

    assert not any(spawned)
    assert [one.is_gentle for one in desk.of(Spawn) if isinstance(one, Spawn)][len(spawned) :] == [True, False]


@pytest.mark.parametrize(("healthy_s", "waits"), [(59, True), (60, False)])
def test_sixty_healthy_seconds_make_the_next_restart_immediate(healthy_s: int, *, waits: bool) -> None:
    desk = in_backoff()
    desk.pass_ns(200 * MS)

    desk.pass_ns(healthy_s * S)
    desk.end("b")

    assert (desk.state("b") is ChildState.BACKOFF) is waits


def test_health_is_counted_from_ready_and_not_from_the_start() -> None:
    desk = in_backoff()
    desk.manners("b").is_prompt = False
    desk.pass_ns(200 * MS)
    desk.pass_ns(9 * S)
    desk.ready("b")

    desk.pass_ns(55 * S)
    desk.end("b")

    assert desk.state("b") is ChildState.BACKOFF


def test_health_before_a_stop_by_wish_counts() -> None:
    desk = in_backoff()
    desk.pass_ns(61 * S)
    desk.restart("b")

    desk.end("b")

    assert desk.state("b") is ChildState.RUNNING


def test_a_backoff_ends_at_its_time_and_not_before() -> None:
    desk = in_backoff()

    desk.pass_ns(200 * MS - 1)
    before = list(desk.log)
    desk.pass_ns(1)

    assert before == []
    assert desk.log == ["start b"]


def test_a_sibling_does_not_wait_for_a_backoff_in_a_one_for_one() -> None:
    desk = in_backoff()

    desk.end("c")

    assert desk.state("c") is ChildState.RUNNING


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        (Strategy.REST_FOR_ONE, ["start b", "start c"]),
        (Strategy.ONE_FOR_ALL, ["start a", "start b", "start c"]),
    ],
)
def test_those_who_go_down_together_wait_together(strategy: Strategy, expected: list[str]) -> None:
    desk = in_backoff(strategy)

    desk.pass_ns(200 * MS - 1)
    before = list(desk.log)
    desk.pass_ns(1)

    assert before == []
    assert desk.log == expected


@pytest.mark.parametrize("strategy", [Strategy.REST_FOR_ONE, Strategy.ONE_FOR_ALL])
def test_those_who_go_down_together_wait_together_also_where_they_start_at_once(strategy: Strategy) -> None:
    desk = started(
        node("desk", worker("a"), worker("b"), worker("c"), strategy=strategy, start="parallel"), full_jitter
    )
    desk.end("b")

    desk.end("b")
    is_early = "c" in desk.living
    desk.pass_ns(200 * MS)

    assert not is_early
    assert set(desk.living) == {"a", "b", "c"}


# --- a second fall --------------------------------------------------------------------------------


def test_a_second_fall_during_a_one_for_all_counts_and_starts_over() -> None:
    desk = table(abc(Strategy.ONE_FOR_ALL))
    desk.start()
    desk.forget()
    desk.manners("b").starts_to_fail = 1

    desk.end("a")

    assert starts_and_asks(desk.log) == ["ask c", "ask b", "start a", "start b", "ask a", *abc_starts()]
    assert desk.row("desk").restarts_in_window == 2


def abc_starts() -> list[str]:
    return ["start a", "start b", "start c"]


def test_a_second_fall_during_a_rest_for_one_takes_down_only_those_after_it() -> None:
    desk = table(abc(Strategy.REST_FOR_ONE))
    desk.start()
    desk.forget()
    desk.manners("c").starts_to_fail = 1

    desk.end("b")

    assert starts_and_asks(desk.log) == ["ask c", "start b", "start c", "start c"]


def test_a_sibling_that_dies_while_it_is_to_go_along_is_not_counted() -> None:
    desk = started(abc(Strategy.ONE_FOR_ALL), full_jitter)
    desk.manners("c").obeys = "SIGKILL"
    desk.end("b")

    desk.end("a")
    desk.pass_ns(6 * S)

    assert set(desk.living) == {"a", "b", "c"}
    assert desk.row("desk").restarts_total == 1


def test_nothing_of_a_one_for_all_starts_before_the_last_old_process_is_reaped() -> None:
    desk = started(abc(Strategy.ONE_FOR_ALL), full_jitter)
    desk.manners("a").obeys = "SIGKILL"

    desk.end("b")
    desk.pass_ns(6 * S - 1)
    before = starts_and_asks(desk.log)
    desk.pass_ns(1)

    assert before == ["ask c", "ask a", "SIGTERM a"]
    assert starts_and_asks(desk.log)[-3:] == abc_starts()


# --- stop in every state --------------------------------------------------------------------------


def test_stop_before_start_has_nothing_to_do() -> None:
    desk = table(abc())

    desk.stop()

    assert desk.of(AllStopped) == [AllStopped()]
    assert desk.log == []


@pytest.mark.parametrize("strategy", list(Strategy))
def test_stop_is_heard_during_backoff(strategy: Strategy) -> None:
    desk = in_backoff(strategy)

    desk.stop()

    assert desk.living == {}
    assert desk.of(AllStopped)
    assert desk.supervision.next_timer_ns() is None


def test_stop_is_heard_during_the_first_start() -> None:
    desk = table(abc())
    desk.manners("b").is_prompt = False

    desk.start()
    desk.stop()

    assert starts_and_asks(desk.log) == ["start a", "start b", "ask b", "ask a"]
    assert desk.of(AllStopped)


def test_stop_is_heard_while_a_one_for_all_goes_down() -> None:
    desk = started(abc(Strategy.ONE_FOR_ALL), full_jitter)
    desk.manners("a").obeys = "SIGTERM"
    desk.end("b")

    desk.stop()
    desk.pass_ns(5 * S)

    assert starts_and_asks(desk.log) == ["ask c", "ask a", "SIGTERM a"]
    assert desk.of(AllStopped)


def test_stop_is_heard_while_a_one_for_all_comes_up() -> None:
    desk = started(abc(Strategy.ONE_FOR_ALL), full_jitter)
    desk.manners("b").is_prompt = False
    desk.end("c")

    desk.stop()

    assert starts_and_asks(desk.log)[-2:] == ["ask b", "ask a"]
    assert desk.of(AllStopped)


def test_stop_is_heard_while_a_node_waits_in_backoff() -> None:
    desk = table(node("desk", worker("a"), node("n", worker("x"), restarts_max=0)), full_jitter)
    desk.start()
    desk.end("n/x")
    desk.end("n/x")
    assert desk.state("n") is ChildState.BACKOFF

    desk.stop()

    assert desk.of(AllStopped)


def test_stop_while_a_killed_process_is_not_reaped_waits_for_it_and_no_longer() -> None:
    desk = started(abc(), full_jitter)
    actions = desk.supervision.on_hang("b", 1, desk.now_ns, "no progress")
    assert len(actions) == 2

    desk.stop()
    is_early = bool(desk.of(AllStopped))
    desk.end("b", "signal")

    assert not is_early
    assert desk.of(AllStopped)
    assert desk.row("b").restarts_total == 0


def test_nothing_starts_after_stop_whatever_still_falls() -> None:
    desk = started(node("desk", worker("a"), node("n", worker("x"), worker("y")), worker("z")), full_jitter)
    desk.manners("z").obeys = "SIGTERM"

    desk.stop()
    for path in ("n/x", "n/y", "a"):
        desk.end(path)
    desk.pass_ns(5 * S)

    assert starts_and_asks(desk.log) == ["ask z", "SIGTERM z"]
    assert desk.of(AllStopped)


def test_whoever_waits_is_stopped_at_once_though_its_turn_has_not_come() -> None:
    desk = started(node("desk", node("n", worker("x")), worker("z")), full_jitter)
    desk.manners("z").obeys = "SIGTERM"
    desk.end("n/x")
    desk.end("n/x")
    assert desk.state("n/x") is ChildState.BACKOFF

    desk.stop()

    assert desk.state("n/x") is ChildState.STOPPED
    assert desk.supervision.next_timer_ns() == desk.now_ns + 5 * S


def test_a_second_stop_changes_nothing() -> None:
    desk = started(abc(), full_jitter)
    desk.manners("c").obeys = "SIGTERM"

    desk.stop()
    desk.stop()
    desk.pass_ns(5 * S)
    desk.stop()

    assert desk.log.count("ask c") == 1
    assert len(desk.of(AllStopped)) == 1
