"""A crowd of independent children is looked at child by child: the same moves, at the cost of one."""

import random

import pytest

from runtime.restart import Strategy
from runtime.spec import NodeSpec
from runtime.supervision_places import NodePlace
from runtime.supervision_words import ChildState
from tests.runtime.process_table import ENDS, S, Table, full_jitter, node, strategy_node, table, worker

NAMES = [f"s{number}" for number in range(7)]


def a_desk(strategy: Strategy) -> NodeSpec:
    crowd = node(
        "strategies",
        *(strategy_node(name) for name in NAMES),
        strategy=strategy,
        start="parallel",
        restarts_max=4,
    )
    return node("desk", worker("first"), crowd, worker("last"), restarts_max=8)


def disturb(chance: random.Random, desk: Table) -> None:
    """Let anything happen to the crowd, members coming and going included."""
    present = [row.path for row in desk.supervision.tree() if row.path.startswith("strategies/")]
    path = chance.choice([*present, "strategies", "first"])
    manners = desk.manners(path)
    manners.is_prompt = chance.random() < 0.7
    manners.obeys = chance.choice(["ask", "SIGTERM", "SIGKILL"])
    manners.starts_to_fail = chance.choice([0, 0, 0, 1, 4])
    desk.pass_ns(chance.choice([0, 0, S // 10, S, 7 * S, 61 * S]))
    verb = chance.choices(
        ["end", "ready", "disable", "enable", "restart", "release", "remove", "add"], [8, 6, 2, 3, 2, 2, 1, 2]
    )[0]
    if verb == "add":
        absent = [name for name in NAMES if f"strategies/{name}" not in present]
        if absent and any(row.path == "strategies" for row in desk.supervision.tree()):
            desk.add("strategies", strategy_node(chance.choice(absent)))
    elif verb == "remove":
        if path.startswith("strategies/"):
            desk.remove(path)
    elif verb in {"end", "ready"}:
        if path in desk.living:
            desk.ready(path) if verb == "ready" else desk.end(path, chance.choice([*ENDS, "hang"]))
    else:
        getattr(desk, verb)(path)


def story(seed: int) -> Table:
    """Play one script, down to the end of the desk."""
    chance = random.Random(seed)
    desk = table(a_desk(chance.choice([Strategy.ONE_FOR_ONE, Strategy.ONE_FOR_ONE, Strategy.ONE_FOR_ALL])), full_jitter)
    desk.start()
    for _ in range(80):
        disturb(chance, desk)
    desk.stop()
    desk.pass_ns(200 * S)
    return desk


@pytest.mark.parametrize("block", range(4))
def test_a_crowd_moves_as_if_all_of_it_were_looked_at_each_time(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    seeds = range(block * 20, block * 20 + 20)
    one_by_one = [story(seed).actions for seed in seeds]

    monkeypatch.setattr(NodePlace, "is_crowd", property(lambda _node: False))

    for seed, actions in zip(seeds, one_by_one, strict=True):
        assert actions == story(seed).actions, f"seed {seed}"


def test_whoever_takes_all_changes_in_order_has_the_table_of_the_tree() -> None:
    for seed in range(40):
        chance = random.Random(seed)
        desk = table(a_desk(Strategy.ONE_FOR_ONE), full_jitter)
        told = {row.path: (row.epoch, row.state) for row in desk.supervision.tree() if row.kind != "node"}
        desk.start()
        for _ in range(60):
            disturb(chance, desk)
            for change in desk.supervision.take_changes():
                if change.state is None:
                    del told[change.path]
                else:
                    told[change.path] = (change.epoch, change.state)

            rows = {row.path: (row.epoch, row.state) for row in desk.supervision.tree() if row.kind != "node"}
            assert told == rows, f"seed {seed}"
        assert desk.supervision.take_changes() == []


def test_whether_all_that_shall_run_do_is_told_change_by_change_as_the_tree_has_it() -> None:
    away = {ChildState.RUNNING, ChildState.QUARANTINED, ChildState.DISABLED}
    for seed in range(40):
        chance = random.Random(seed)
        desk = table(a_desk(Strategy.ONE_FOR_ONE), full_jitter)
        desk.start()
        for _ in range(60):
            disturb(chance, desk)

            states = {row.state for row in desk.supervision.tree() if row.kind != "node"}
            assert desk.supervision.is_settled is (states <= away), f"seed {seed}"


def test_a_crowd_is_up_when_none_of_it_holds_up_the_start_whoever_was_asked_first() -> None:
    """The order in which they come up, and go, differs; what is told of the node does not depend on it."""
    for seed in range(40):
        chance = random.Random(seed)
        desk = table(node("desk", node("strategies", *(strategy_node(name) for name in NAMES), start="parallel")))
        for name in NAMES:
            desk.manners(f"strategies/{name}").is_prompt = False
        desk.start()
        order = chance.sample(NAMES, len(NAMES))
        for number, name in enumerate(order):
            assert desk.row("strategies").state is ChildState.STARTING, f"seed {seed}"
            verb = chance.choice([desk.ready, desk.ready, desk.disable, desk.remove])
            verb(f"strategies/{name}")
            assert (desk.row("strategies").state is ChildState.RUNNING) is (number == len(NAMES) - 1), f"seed {seed}"


def test_one_fall_among_a_thousand_stirs_one_place() -> None:
    crowd = node("strategies", *(strategy_node(f"s{i}") for i in range(1000)), start="parallel")
    desk = table(node("desk", worker("first"), crowd))
    desk.start()
    desk.supervision.take_changes()

    desk.end("strategies/s500")

    (change,) = desk.supervision.take_changes()
    assert (change.path, change.epoch, change.state) == ("strategies/s500", 2, ChildState.RUNNING)
    desk.stop()
    assert desk.living == {}


def test_a_child_that_is_not_born_yet_is_not_late() -> None:
    desk = table(node("desk", worker("slow")))
    desk.manners("slow").is_prompt = False
    desk.start()

    for _ in range(30):  # it may take ten seconds
        desk.pass_ns(5 * S)
        desk.supervision.on_unborn("slow", 1, desk.now_ns)
    assert desk.state("slow") is ChildState.STARTING

    desk.pass_ns(10 * S)
    assert desk.row("slow").last_error == "not READY within 10 s"


def test_whoever_is_ready_gets_no_deadline_by_being_called_unborn() -> None:
    desk = table(node("desk", worker("quick")))
    desk.start()

    desk.supervision.on_unborn("quick", 1, desk.now_ns)

    assert desk.supervision.next_timer_ns() is None
    assert desk.state("quick") is ChildState.RUNNING
