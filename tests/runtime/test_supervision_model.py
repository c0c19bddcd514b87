"""Random trees and scripts: against a second supervisor, and with processes that obey or not."""

import random

import pytest

from runtime.restart import RestartType, Strategy
from runtime.spec import ChildSpec, NodeSpec, WorkerSpec
from runtime.supervision_words import AllStopped, ChildState, GiveUp, Row, Spawn
from tests.runtime.process_table import ENDS, S, Table, full_jitter, no_jitter, node, table, worker
from tests.runtime.reference_supervisor import ReferenceSupervisor, RootGaveUpError

SEEDS = 300
STEPS = 25
STORMS = 120
PLAIN_ENDS = list(ENDS)


def a_worker(chance: random.Random, name: str) -> WorkerSpec:
    return worker(name, chance.choices(list(RestartType), [6, 2, 2])[0])


def a_node(chance: random.Random, name: str, depth: int) -> NodeSpec:
    children: list[ChildSpec] = []
    for index in range(chance.randint(1, 4)):
        is_node = depth > 0 and chance.random() < 0.4
        # A child named like its node makes the two collapse where it is alone.
        child_name = name if not is_node and chance.random() < 0.2 and not children else f"{name}{index}"
        children.append(a_node(chance, child_name, depth - 1) if is_node else a_worker(chance, child_name))
    return node(
        name,
        *children,
        strategy=chance.choice(list(Strategy)),
        restarts_max=chance.randint(0, 4),
        window_s=chance.choice([5, 60]),
        gives_up="quarantine" if chance.random() < 0.3 else "escalate",
    )


def a_root(chance: random.Random) -> NodeSpec:
    inner = [a_node(chance, f"n{index}", 1) for index in range(chance.randint(1, 3))]
    return node(
        "desk",
        a_worker(chance, "first"),
        *inner,
        a_worker(chance, "last"),
        strategy=chance.choice(list(Strategy)),
        restarts_max=chance.randint(1, 6),
    )


# --- the same starts and stops as the reference -----------------------------------------------------


def play_step(chance: random.Random, desk: Table, reference: ReferenceSupervisor) -> None:
    """Do one thing to both."""
    path = chance.choice(sorted(reference.workers))
    for failing in chance.sample(sorted(reference.workers), chance.randint(0, 2)):
        count = chance.randint(0, 2)
        desk.manners(failing).starts_to_fail = count
        reference.starts_to_fail[failing] = count
    span_ns = chance.choice([0, S, 3 * S, 30 * S])
    desk.pass_ns(span_ns)
    reference.now_ns += span_ns
    verb = chance.choices(["end", "disable", "enable", "restart", "release"], [12, 1, 2, 1, 3])[0]
    if verb != "end":
        getattr(desk, verb)(path)
        getattr(reference, verb)(path)
    elif path in reference.running:
        how = chance.choice(PLAIN_ENDS)
        desk.end(path, how)
        reference.end(path, is_normal=how == "normal")


def play(seed: int) -> tuple[Table, ReferenceSupervisor]:
    """Play one script on both until it ends or the root gives up, comparing after each step."""
    chance = random.Random(seed)
    spec = a_root(chance)
    desk, reference = table(spec, no_jitter), ReferenceSupervisor(spec)
    try:
        desk.start()
        reference.start()
        for _ in range(STEPS):
            play_step(chance, desk, reference)
            assert set(desk.living) == reference.running
        desk.stop()
        reference.stop()
    except RootGaveUpError:
        assert desk.of(GiveUp)
    else:
        assert desk.of(AllStopped)
        assert not desk.of(GiveUp)
    return desk, reference


def without_asks(log: list[str]) -> list[str]:
    return [line for line in log if not line.startswith("ask ")]


@pytest.mark.parametrize("block", range(10))
def test_the_engine_starts_and_stops_what_the_reference_does_in_its_order(block: int) -> None:
    for seed in range(block * SEEDS // 10, (block + 1) * SEEDS // 10):
        desk, reference = play(seed)

        assert without_asks(desk.log) == reference.log, f"seed {seed}"
        assert set(desk.living) == reference.running == set(), f"seed {seed}"


def test_the_scripts_reach_what_they_are_for() -> None:
    games = [play(seed) for seed in range(SEEDS // 4)]

    gave_up = sum(bool(desk.of(GiveUp)) for desk, _ in games)
    put_away = sum(any(row.state is ChildState.QUARANTINED for row in desk.supervision.tree()) for desk, _ in games)
    escalated = sum(any(context == "shutdown" for _, context, _ in desk.contexts()) for desk, _ in games)

    assert gave_up >= 3
    assert put_away >= 7
    assert escalated >= 18


# --- processes that obey or not ---------------------------------------------------------------------


def a_parallel(chance: random.Random) -> NodeSpec:
    """Build a desk whose strategies start side by side."""
    crowd = node(
        "strategies",
        *(node(f"s{i}", a_worker(chance, f"s{i}"), restarts_max=2, gives_up="quarantine") for i in range(3)),
        start="parallel",
        strategy=chance.choice(list(Strategy)),
    )
    return node(
        "desk", a_worker(chance, "first"), a_node(chance, "n", 1), crowd, a_worker(chance, "last"), restarts_max=8
    )


def disturb(chance: random.Random, desk: Table) -> None:
    """Let anything happen, at any moment."""
    paths = [row.path for row in desk.supervision.tree() if row.kind != "node"]
    path = chance.choice(paths)
    manners = desk.manners(path)
    manners.is_prompt = chance.random() < 0.7
    manners.obeys = chance.choice(["ask", "SIGTERM", "SIGKILL"])
    manners.starts_to_fail = chance.choice([0, 0, 0, 1, 2])
    desk.pass_ns(chance.choice([0, 0, S // 10, S, 7 * S, 12 * S]))
    verb = chance.choices(["end", "ready", "disable", "enable", "restart", "release"], [8, 6, 1, 3, 1, 2])[0]
    if verb == "end" and path in desk.living:
        desk.end(path, chance.choice([*PLAIN_ENDS, "hang"]))
    elif verb == "ready" and path in desk.living:
        desk.ready(path)
    elif verb not in {"end", "ready"}:
        getattr(desk, verb)(chance.choice([row.path for row in desk.supervision.tree()]))


def assert_rows_agree_with_processes(desk: Table) -> None:
    """Hold the table of the engine against the table of the machine."""
    with_process = {ChildState.STARTING, ChildState.RUNNING, ChildState.STOPPING}
    rows = [row for row in desk.supervision.tree() if row.kind != "node"]
    assert {row.path: row.epoch for row in rows if row.state in with_process} == desk.living
    assert all(row.restarts_in_window <= row.restarts_max + 1 for row in rows)


def calm(desk: Table) -> None:
    """Let all processes behave, and wait until nothing is left to do."""
    for row in desk.supervision.tree():
        manners = desk.manners(row.path)
        manners.is_prompt, manners.obeys, manners.starts_to_fail = True, "ask", 0
    for path in tuple(desk.living):
        if path in desk.living:
            desk.ready(path)
    desk.pass_ns(200 * S)


def is_at_rest(row: Row) -> bool:
    """Whether a worker needs nothing: it runs, or somebody or something wants it down."""
    return row.state in {ChildState.RUNNING, ChildState.DISABLED, ChildState.QUARANTINED, ChildState.STOPPED}


def storm(seed: int) -> Table:
    chance = random.Random(seed)
    spec = a_parallel(chance) if seed % 2 else a_root(chance)
    desk = table(spec, full_jitter)
    desk.start()
    for _ in range(60):
        disturb(chance, desk)
        assert_rows_agree_with_processes(desk)
    return desk


@pytest.mark.parametrize("block", range(10))
def test_after_a_storm_everything_that_shall_run_runs(block: int) -> None:
    for seed in range(block * STORMS // 10, (block + 1) * STORMS // 10):
        desk = storm(seed)

        calm(desk)

        rows = desk.supervision.tree()
        assert all(is_at_rest(row) for row in rows), f"seed {seed}"
        if not desk.of(GiveUp):
            assert rows[0].state is ChildState.RUNNING, f"seed {seed}"
            assert not stopped_for_no_reason(desk), f"seed {seed}"


def stopped_for_no_reason(desk: Table) -> list[str]:
    """Name the permanent workers that are STOPPED though the desk is up."""
    spawned = {action.path: action.spec for action in desk.actions if isinstance(action, Spawn)}
    return [
        row.path
        for row in desk.supervision.tree()
        if row.kind != "node"
        and row.state is ChildState.STOPPED
        and row.path in spawned
        and spawned[row.path].restart is RestartType.PERMANENT
    ]


@pytest.mark.parametrize("block", range(10))
def test_from_the_midst_of_a_storm_stop_ends_with_no_process_and_starts_none(block: int) -> None:
    for seed in range(block * STORMS // 10, (block + 1) * STORMS // 10):
        desk = storm(seed)
        is_over = bool(desk.of(GiveUp))
        desk.forget()

        desk.stop()
        desk.pass_ns(200 * S)

        assert desk.living == {}, f"seed {seed}"
        assert desk.of(Spawn) == [], f"seed {seed}"
        assert len(desk.of(AllStopped, GiveUp)) == (0 if is_over else 1), f"seed {seed}"
        assert desk.supervision.next_timer_ns() is None, f"seed {seed}"


def test_the_same_seed_is_the_same_story() -> None:
    assert storm(7).actions == storm(7).actions
