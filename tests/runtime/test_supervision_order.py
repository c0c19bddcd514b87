"""The order in which children come and go, how a process is stopped, and what a failed start means."""

import pytest

from runtime.supervision_words import AllStopped, ChildState
from tests.runtime.process_table import (
    S,
    Table,
    abc,
    full_jitter,
    node,
    started,
    starts_and_asks,
    strategy_node,
    table,
    worker,
)

# --- order ----------------------------------------------------------------------------------------


def test_children_start_left_to_right_each_after_the_one_before_is_ready() -> None:
    desk = table(abc())
    for path in "abc":
        desk.manners(path).is_prompt = False

    desk.start()
    seen = [(list(desk.log), desk.state("b"))]
    desk.ready("a")
    seen.append((list(desk.log), desk.state("b")))
    desk.ready("b")

    assert seen == [(["start a"], ChildState.WAITING), (["start a", "start b"], ChildState.STARTING)]
    assert desk.log == ["start a", "start b", "start c"]


def test_children_stop_right_to_left_each_after_the_one_before_is_reaped() -> None:
    desk = started(abc())
    desk.manners("c").obeys = "SIGTERM"

    desk.stop()
    assert desk.log == ["ask c"]
    desk.pass_ns(5 * S)

    assert desk.log == ["ask c", "SIGTERM c", "stopped c", "ask b", "stopped b", "ask a", "stopped a"]
    assert desk.of(AllStopped) == [AllStopped()]


def test_a_node_is_started_when_all_its_children_are() -> None:
    desk = table(node("desk", node("venues", worker("x"), worker("y")), worker("execution")))
    desk.manners("venues/y").is_prompt = False

    desk.start()
    assert desk.log == ["start venues/x", "start venues/y"]
    desk.ready("venues/y")

    assert desk.log[-1] == "start execution"


def test_nested_nodes_stop_inside_out_and_right_to_left() -> None:
    desk = started(node("desk", worker("a"), node("n", worker("x"), worker("y")), worker("z")))

    desk.stop()

    assert starts_and_asks(desk.log) == ["ask z", "ask n/y", "ask n/x", "ask a"]


def parallel_desk() -> Table:
    crowd = node("strategies", *(strategy_node(name) for name in ("s1", "s2", "s3")), start="parallel")
    return table(node("desk", crowd, worker("market_data")), full_jitter)


def test_children_of_a_parallel_node_start_at_once() -> None:
    desk = parallel_desk()
    for name in ("s1", "s2", "s3"):
        desk.manners(f"strategies/{name}").is_prompt = False

    desk.start()

    assert desk.log == ["start strategies/s1", "start strategies/s2", "start strategies/s3"]


def test_a_parallel_node_waits_for_the_first_start_of_each_child() -> None:
    desk = parallel_desk()
    desk.manners("strategies/s2").is_prompt = False

    desk.start()
    is_held = "start market_data" not in desk.log
    desk.ready("strategies/s2")

    assert is_held
    assert desk.log[-1] == "start market_data"


def test_a_strategy_that_crashes_at_its_start_does_not_hold_up_the_desk() -> None:
    desk = parallel_desk()
    desk.manners("strategies/s2").starts_to_fail = 2

    desk.start()

    assert desk.state("strategies/s2") is ChildState.BACKOFF
    assert desk.state("market_data") is ChildState.RUNNING


def test_a_strategy_that_never_becomes_ready_holds_up_the_desk_for_its_start_timeout_only() -> None:
    desk = parallel_desk()
    desk.manners("strategies/s2").is_prompt = False

    desk.start()
    desk.pass_ns(10 * S)

    assert "start market_data" in desk.log


@pytest.mark.parametrize("way", ["disabled", "quarantined"])
def test_a_strategy_that_shall_not_run_does_not_hold_up_the_desk(way: str) -> None:
    crowd = node("strategies", strategy_node("s1"), strategy_node("s2"), start="parallel")
    spec = node("desk", crowd, worker("market_data"))
    desk = (
        table(spec, desired={"strategies/s1": False})
        if way == "disabled"
        else table(spec, quarantined=["strategies/s1"])
    )

    desk.start()

    assert desk.log == ["start strategies/s2", "start market_data"]
    assert desk.state("strategies/s1").name == way.upper()


def test_disabling_a_strategy_in_its_first_start_lets_the_desk_go_on() -> None:
    desk = parallel_desk()
    desk.manners("strategies/s1").is_prompt = False
    desk.manners("strategies/s1").obeys = "SIGKILL"
    desk.start()

    desk.disable("strategies/s1")

    assert desk.log[-1] == "start market_data"


def test_children_of_a_parallel_node_are_asked_right_to_left_and_stop_side_by_side() -> None:
    desk = parallel_desk()
    desk.start()
    desk.manners("strategies/s3").obeys = "SIGKILL"
    desk.forget()

    desk.stop()

    assert starts_and_asks(desk.log) == [
        "ask market_data",
        "ask strategies/s3",
        "ask strategies/s2",
        "ask strategies/s1",
    ]
    assert set(desk.living) == {"strategies/s3"}


# --- stopping a process ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("obeys", "expected"),
    [
        pytest.param("ask", ["ask a", "stopped a"], id="cooperates"),
        pytest.param("SIGTERM", ["ask a", "SIGTERM a", "stopped a"], id="deaf"),
        pytest.param("SIGKILL", ["ask a", "SIGTERM a", "SIGKILL a", "stopped a"], id="stubborn"),
    ],
)
def test_a_stop_is_asked_then_pressed_then_forced(obeys: str, expected: list[str]) -> None:
    desk = started(node("desk", worker("a")))
    desk.manners("a").obeys = "ask" if obeys == "ask" else "SIGTERM" if obeys == "SIGTERM" else "SIGKILL"

    desk.stop()
    desk.pass_ns(6 * S)

    assert desk.log == expected
    assert desk.of(AllStopped)


def test_each_rung_has_its_time() -> None:
    desk = started(node("desk", worker("a", shutdown_s=15)))
    desk.manners("a").obeys = "SIGKILL"

    desk.stop()
    desk.pass_ns(15 * S - 1)
    before_term = list(desk.log)
    desk.pass_ns(1)
    desk.pass_ns(S - 1)
    before_kill = list(desk.log)
    desk.pass_ns(1)

    assert before_term == ["ask a"]
    assert before_kill == ["ask a", "SIGTERM a"]
    assert desk.log == ["ask a", "SIGTERM a", "SIGKILL a", "stopped a"]


def test_a_process_that_was_asked_before_it_could_listen_is_asked_again() -> None:
    desk = table(node("desk", worker("a")))
    desk.manners("a").is_prompt = False
    desk.start()
    desk.manners("a").obeys = "SIGKILL"
    desk.stop()
    desk.manners("a").obeys = "ask"

    desk.ready("a")

    assert desk.log == ["start a", "ask a", "ask a", "stopped a"]


def test_a_hard_stop_is_reported_and_not_counted() -> None:
    desk = started(node("desk", worker("a")))
    desk.manners("a").obeys = "SIGKILL"

    desk.restart("a")
    desk.pass_ns(6 * S)

    assert desk.contexts() == [("desk", "shutdown_error", "a")]
    assert desk.row("a").restarts_total == 0
    assert desk.row("a").last_exit == "killed by SIGKILL"


# --- starts that fail -----------------------------------------------------------------------------


def test_a_failed_start_counts_and_is_tried_again() -> None:
    desk = table(node("desk", worker("a")))
    desk.manners("a").starts_to_fail = 2

    desk.start()

    assert desk.state("a") is ChildState.RUNNING
    assert desk.row("a").restarts_in_window == 2
    assert desk.contexts() == [("desk", "start_error", "a")] * 2


def test_a_child_that_is_not_ready_in_time_is_killed_and_counted_when_it_is_reaped() -> None:
    desk = table(node("desk", worker("a")))
    desk.manners("a").is_prompt = False

    desk.start()
    desk.pass_ns(10 * S - 1)
    before = list(desk.log)
    desk.pass_ns(1)

    assert before == ["start a"]
    assert desk.log == ["start a", "SIGKILL a", "fell a", "start a"]
    assert desk.row("a").last_error == "not READY within 10 s"


def test_the_next_child_does_not_start_while_the_one_before_fails_to() -> None:
    desk = table(abc())
    desk.manners("a").starts_to_fail = 3

    desk.start()

    assert starts_and_asks(desk.log) == ["start a"] * 4 + ["start b", "start c"]
