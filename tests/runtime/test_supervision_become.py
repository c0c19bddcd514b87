"""A tree becomes another one in one go, and who is in both does not notice."""

import random
from collections.abc import Iterable

import msgspec
import pytest

from runtime.errors import SpecError
from runtime.restart import RestartType, Strategy
from runtime.spec import ChildSpec, NodeSpec, WorkerSpec
from runtime.supervision import Supervision
from runtime.supervision_words import ChildState, GiveUp, PeersChanged, Reconfigure, Spawn
from tests.runtime.process_table import S, Table, full_jitter, no_jitter, node, started, strategy_node, table, worker

SEEDS = 300


def desk_of(*names: str, arguments: bytes = b"") -> NodeSpec:
    """Build a desk of two rooms around strategies."""
    strategies = node("strategies", *map(strategy_node, names), start="parallel")
    return node("desk", worker("first", arguments=arguments), strategies, worker("last"))


def paths(desk: Table) -> list[str]:
    return [row.path for row in desk.supervision.tree()]


# --- one change each ------------------------------------------------------------------------------


def test_what_is_new_starts_and_what_is_missing_leaves_in_good_order() -> None:
    desk = started(desk_of("a", "b"))

    desk.become(desk_of("b", "c"))

    assert sorted(desk.log) == ["ask strategies/a", "start strategies/c", "stopped strategies/a"]
    assert paths(desk) == ["desk", "first", "strategies", "strategies/b", "strategies/c", "last"]
    assert desk.row("strategies").restarts_total == 0


def test_the_children_come_into_the_order_of_the_new_tree() -> None:
    desk = started(desk_of("a", "b", "c"))

    desk.become(desk_of("c", "d", "a"))

    assert paths(desk)[3:6] == ["strategies/c", "strategies/d", "strategies/a"]


def test_a_running_worker_is_told_of_other_arguments_and_keeps_its_process() -> None:
    desk = started(desk_of("a", arguments=b"old"))

    desk.become(desk_of("a", arguments=b"new"))

    assert desk.actions == [Reconfigure(path="first", epoch=1, arguments=b"new")]
    assert desk.log == []


def test_one_that_fell_before_it_could_be_told_starts_with_the_new_arguments() -> None:
    desk = started(desk_of("a", arguments=b"old"))
    desk.become(desk_of("a", arguments=b"new"))
    desk.forget()

    desk.end("first")

    (spawn,) = desk.of(Spawn)
    assert isinstance(spawn, Spawn)
    assert (spawn.epoch, spawn.spec.arguments) == (2, b"new")


def test_a_worker_in_the_list_of_restarts_takes_its_spec_by_one_that_is_not_counted() -> None:
    desk = started(desk_of("a", arguments=b"old"))

    desk.become(desk_of("a", arguments=b"new"), "first")

    assert desk.log == ["ask first", "stopped first", "start first"]
    assert desk.of(Reconfigure) == []
    assert (desk.row("first").epoch, desk.row("desk").restarts_total) == (2, 0)


def test_a_worker_in_the_list_of_restarts_whose_spec_is_the_same_is_left_alone() -> None:
    desk = started(desk_of("a"))

    desk.become(desk_of("a"), "first", "strategies/a")

    assert desk.actions == []


def test_other_limits_hold_at_once_and_need_no_word() -> None:
    desk = started(node("desk", worker("a", shutdown_s=5)))

    desk.become(node("desk", worker("a", shutdown_s=1)))
    assert desk.actions == []
    desk.manners("a").obeys = "SIGKILL"
    desk.disable("a")
    desk.pass_ns(S)

    assert desk.log == ["ask a", "SIGTERM a"]


def test_another_allowance_of_falls_holds_at_once_and_the_window_is_kept() -> None:
    desk = started(node("desk", strategy_node("a", restarts_max=9)))
    for _ in range(2):
        desk.end("a")
        desk.pass_ns(S)

    desk.become(node("desk", strategy_node("a", restarts_max=2)))
    assert desk.state("a") is ChildState.RUNNING
    desk.end("a")

    assert desk.state("a") is ChildState.QUARANTINED


def test_a_quarantine_outlives_another_tree_and_also_a_while_outside_of_it() -> None:
    desk = started(node("desk", strategy_node("a", restarts_max=0), worker("b")))
    desk.end("a")

    desk.become(node("desk", strategy_node("a", restarts_max=5), worker("b")))
    assert desk.state("a") is ChildState.QUARANTINED
    desk.become(node("desk", worker("b")))
    desk.become(node("desk", strategy_node("a"), worker("b")))

    assert desk.state("a") is ChildState.QUARANTINED


def test_who_comes_back_while_it_still_leaves_starts_when_it_has_left() -> None:
    desk = started(desk_of("a"))
    desk.manners("strategies/a").obeys = "SIGTERM"

    desk.become(desk_of())
    desk.become(desk_of("a", "b"))
    assert desk.state("strategies/a") is ChildState.STOPPING
    desk.pass_ns(10 * S)

    assert desk.log[-2:] == ["stopped strategies/a", "start strategies/a"]
    assert (desk.state("strategies/a"), desk.row("strategies/a").epoch) == (ChildState.RUNNING, 2)


def test_who_was_to_come_back_and_is_not_wanted_after_all_stays_away() -> None:
    desk = started(desk_of("a"))
    desk.manners("strategies/a").obeys = "SIGTERM"

    desk.become(desk_of())
    desk.become(desk_of("a"))
    desk.become(desk_of())
    desk.pass_ns(10 * S)

    assert paths(desk) == ["desk", "first", "strategies", "last"]


def test_a_worker_that_becomes_a_node_is_replaced() -> None:
    desk = started(node("desk", worker("a"), worker("b")))

    desk.become(node("desk", node("a", worker("x")), worker("b")))

    assert desk.log == ["ask a", "stopped a", "start a/x"]


def test_another_entry_is_a_restart() -> None:
    desk = started(node("desk", worker("a")))
    other = node("desk", msgspec.structs.replace(worker("a"), entry="module:other"))

    desk.become(other)

    assert desk.log == ["ask a", "stopped a", "start a"]


def test_what_is_desired_holds_for_a_worker_that_comes_where_a_node_was() -> None:
    desk = started(node("desk", node("room", worker("inner")), worker("last")))

    desk.become(node("desk", worker("room"), worker("last")), room=False)

    assert desk.state("room") is ChildState.DISABLED
    assert set(desk.living) == {"last"}


def test_what_is_desired_comes_with_the_tree_also_for_who_is_new() -> None:
    desk = started(node("desk", worker("a"), worker("b")))

    desk.become(node("desk", worker("a"), worker("b"), worker("c")), a=False, b=True, c=False)

    assert desk.log == ["ask a", "stopped a"]
    assert [desk.state(name) for name in "abc"] == [ChildState.DISABLED, ChildState.RUNNING, ChildState.DISABLED]
    assert desk.row("a").last_error == "disabled: by the file"

    desk.become(node("desk", worker("a"), worker("b"), worker("c")), a=True, b=True, c=True)

    assert {desk.state(name) for name in "abc"} == {ChildState.RUNNING}


def test_peers_are_told_of_who_came_and_who_went() -> None:
    desk = started(desk_of("a"))

    desk.become(desk_of("a", "b"))
    desk.become(desk_of("b"))

    assert len(desk.of(PeersChanged)) >= 2


@pytest.mark.parametrize(
    "tree",
    [
        node("another", worker("a")),
        node("desk", worker("desk")),
        node("desk", worker("a"), gives_up="quarantine"),
    ],
)
def test_a_tree_that_cannot_be_changes_nothing(tree: NodeSpec) -> None:
    desk = started(desk_of("a"))
    before = desk.supervision.tree()

    with pytest.raises(SpecError):
        desk.become(tree)

    assert desk.actions == []
    assert desk.supervision.tree() == before


def test_a_desk_that_goes_down_takes_no_other_tree() -> None:
    desk = started(desk_of("a"))
    desk.manners("last").obeys = "SIGTERM"
    desk.stop()

    desk.become(desk_of("a", "b"))
    desk.pass_ns(60 * S)

    assert desk.living == {}
    assert "start strategies/b" not in desk.log


# --- any change -----------------------------------------------------------------------------------


def a_worker(chance: random.Random, name: str) -> WorkerSpec:
    return worker(
        name,
        chance.choices(list(RestartType), [8, 1, 1])[0],
        shutdown_s=chance.choice([1, 5]),
        arguments=chance.choice([b"", b"x", b"y"]),
    )


def a_child(chance: random.Random, name: str, depth: int) -> ChildSpec:
    if depth and chance.random() < 0.5:
        return a_node(chance, name, depth - 1)
    return a_worker(chance, name)


def a_node(chance: random.Random, name: str, depth: int) -> NodeSpec:
    names = chance.sample(sorted({"p", "q", "r", "s", name}), chance.randint(1, 4))
    if chance.random() < 0.3:
        names = [name]
    return node(
        name,
        *(a_child(chance, child, depth) for child in names),
        strategy=chance.choice(list(Strategy)),
        restarts_max=chance.randint(2, 9),
        start=chance.choice(["ordered", "parallel"]),
        gives_up=chance.choice(["escalate", "quarantine"]),
    )


def a_root(chance: random.Random) -> NodeSpec:
    names = chance.sample(["a", "b", "c", "d", "e"], chance.randint(1, 5))
    return node("desk", *(a_child(chance, name, 2) for name in names), strategy=chance.choice(list(Strategy)))


def shape(desk: Supervision) -> list[tuple[str, str]]:
    return [(row.path, row.kind) for row in desk.tree()]


def specs(supervision: Supervision) -> dict[str, WorkerSpec | None]:
    return {path: supervision.spec(path) for path, kind in shape(supervision) if kind != "node"}


def assert_is(desk: Table, tree: NodeSpec, told: Iterable[Reconfigure]) -> None:
    """Hold the tree in force against one that was built new."""
    fresh = table(tree).supervision
    assert shape(desk.supervision) == shape(fresh)
    assert specs(desk.supervision) == specs(fresh)
    known = {path: spec.arguments for path, spec in specs(fresh).items() if spec is not None}
    assert all(known[word.path] == word.arguments for word in told if desk.living.get(word.path) == word.epoch)


@pytest.mark.parametrize("block", range(6))
def test_any_tree_becomes_any_other_and_who_is_equal_in_both_keeps_its_process(block: int) -> None:
    for seed in range(block * SEEDS // 6, (block + 1) * SEEDS // 6):
        chance = random.Random(seed)
        old, new = a_root(chance), a_root(chance)
        desk = started(old)
        before, epochs = specs(desk.supervision), dict(desk.living)

        desk.become(new)
        desk.pass_ns(60 * S)

        assert_is(desk, new, [word for word in desk.of(Reconfigure) if isinstance(word, Reconfigure)])
        after = specs(desk.supervision)
        assert set(desk.living) == set(after), f"seed {seed}"
        untouched = {path for path in before if path in after and _is_same_place(old, new, path)}
        assert all(desk.living[path] == epochs[path] for path in untouched), f"seed {seed}"


def _is_same_place(old: NodeSpec, new: NodeSpec, path: str) -> bool:
    """Say whether nothing on the way to a worker makes it another place: nodes stay nodes, of one shape of path."""
    return _way(old, path) == _way(new, path)


def _way(tree: NodeSpec, path: str) -> list[tuple[str, str]] | None:
    rest, way, at = path.split("/"), [("desk", "node")], tree
    while rest:
        found = next((child for child in at.children if child.id == rest[0]), None)
        if found is None:
            return None
        if isinstance(found, WorkerSpec):
            return [*way, (found.id, found.entry)]
        way.append((found.id, "collapsed" if found.is_collapsed else "node"))
        at = found
        if not found.is_collapsed:
            rest.pop(0)
    return way


@pytest.mark.parametrize("block", range(4))
def test_in_the_midst_of_falls_it_still_becomes_what_it_shall(block: int) -> None:
    for seed in range(block * 25, (block + 1) * 25):
        chance = random.Random(seed)
        desk = table(a_root(chance), full_jitter)
        desk.start()
        for _ in range(12):
            disturb(chance, desk)
            desk.become(a_root(chance), *chance.sample(paths(desk), min(2, len(paths(desk)))))
            if desk.of(GiveUp):
                break
        else:
            final = a_root(chance)
            desk.become(final)
            desk.pass_ns(600 * S)
            assert desk.of(GiveUp) or shape(desk.supervision) == shape(table(final).supervision), f"seed {seed}"
        desk.stop()
        desk.pass_ns(600 * S)
        assert desk.living == {}, f"seed {seed}"


def disturb(chance: random.Random, desk: Table) -> None:
    for path in paths(desk):
        manners = desk.manners(path)
        manners.obeys = chance.choice(["ask", "SIGTERM", "SIGKILL"])
        manners.is_prompt = chance.random() < 0.8
    if desk.living and chance.random() < 0.6:
        desk.end(chance.choice(sorted(desk.living)), chance.choice(["abnormal", "normal", "hang"]))
    desk.pass_ns(chance.choice([0, S // 10, 3 * S]))


def test_the_same_tree_again_does_nothing_at_all() -> None:
    for seed in range(60):
        tree = a_root(random.Random(seed))
        desk = table(tree, no_jitter)
        desk.start()
        desk.forget()

        desk.become(tree)

        assert desk.actions == []
