"""What an operator wants is heard in every state, news that come too late are not, and the status dump tells all."""

import pytest

from runtime.restart import Exit, ExitKind, RestartType, Strategy
from runtime.spec import NodeSpec
from runtime.supervision import Supervision
from runtime.supervision_rows import peer_of
from runtime.supervision_words import (
    ChildState,
    EpochChanged,
    PeersChanged,
    Report,
    Spawn,
)
from runtime.words import Peer
from tests.runtime.process_table import (
    S,
    abc,
    full_jitter,
    in_backoff,
    no_jitter,
    node,
    started,
    starts_and_asks,
    strategy_node,
    table,
    worker,
)

MS = S // 1000


# --- disable and enable ---------------------------------------------------------------------------


def test_disable_stops_in_good_order_and_is_not_counted() -> None:
    desk = started(abc(Strategy.ONE_FOR_ALL), full_jitter)

    desk.disable("b")

    assert desk.log == ["ask b", "stopped b"]
    assert desk.state("b") is ChildState.DISABLED
    assert desk.row("desk").restarts_total == 0
    assert desk.row("b").last_error == "disabled: by wish"


@pytest.mark.parametrize("obeys", ["ask", "SIGTERM", "SIGKILL"])
def test_however_it_leaves_a_disabled_child_stays_down(obeys: str) -> None:
    desk = started(abc(), full_jitter)
    desk.manners("b").obeys = "ask" if obeys == "ask" else "SIGTERM" if obeys == "SIGTERM" else "SIGKILL"

    desk.disable("b")
    desk.pass_ns(6 * S)

    assert desk.state("b") is ChildState.DISABLED
    assert set(desk.living) == {"a", "c"}


def test_disable_ends_a_backoff() -> None:
    desk = in_backoff()

    desk.disable("b")
    desk.pass_ns(S)

    assert desk.log == []
    assert desk.state("b") is ChildState.DISABLED


def test_enable_starts_a_disabled_child() -> None:
    desk = started(abc(), full_jitter)
    desk.disable("b")

    desk.enable("b")

    assert desk.state("b") is ChildState.RUNNING
    assert desk.log[-1] == "start b"


def test_enable_of_a_child_that_is_still_leaving_starts_it_after_it_is_reaped() -> None:
    desk = started(abc(), full_jitter)
    desk.manners("b").obeys = "SIGTERM"
    desk.disable("b")

    desk.enable("b")
    is_early = "start b" in desk.log
    desk.pass_ns(5 * S)

    assert not is_early
    assert desk.log == ["ask b", "SIGTERM b", "stopped b", "start b"]


def test_a_temporary_child_that_is_enabled_while_it_leaves_comes_back() -> None:
    desk = started(node("desk", worker("a", RestartType.TEMPORARY)), full_jitter)
    desk.manners("a").obeys = "SIGTERM"
    desk.disable("a")

    desk.enable("a")
    desk.pass_ns(5 * S)

    assert desk.state("a") is ChildState.RUNNING


def test_disable_is_heard_at_once_though_a_sibling_is_slow_to_leave() -> None:
    desk = started(abc(), full_jitter)
    desk.manners("c").obeys = "SIGKILL"
    desk.disable("c")

    desk.disable("a")

    assert desk.state("a") is ChildState.DISABLED


def test_a_hung_child_that_is_disabled_before_it_is_reaped_is_not_counted() -> None:
    desk = started(abc(), full_jitter)
    assert desk.supervision.on_hang("b", 1, desk.now_ns, "no progress")

    desk.disable("b")
    desk.end("b", "signal")

    assert desk.state("b") is ChildState.DISABLED
    assert desk.row("b").restarts_total == 0
    assert desk.row("b").last_exit == "no progress"


def test_elder_siblings_stop_behind_a_leaving_child_that_is_enabled_meanwhile() -> None:
    desk = started(node("root", abc()), full_jitter)
    desk.manners("desk/c").obeys = "SIGKILL"
    desk.disable("desk")

    desk.enable("desk/c")
    desk.pass_ns(6 * S)

    asked = [line for line in desk.log if not line.startswith("start")]
    assert asked[:5] == ["ask desk/c", "SIGTERM desk/c", "SIGKILL desk/c", "stopped desk/c", "ask desk/b"]
    assert set(desk.living) == {"desk/c"}


def test_enable_of_what_is_enabled_does_nothing() -> None:
    desk = started(node("desk", worker("a", RestartType.TEMPORARY)), full_jitter)
    desk.end("a")

    desk.enable("a")

    assert desk.living == {}


def test_disabling_a_node_disables_all_below_it_right_to_left() -> None:
    desk = started(node("desk", node("n", worker("x"), worker("y")), worker("z")), full_jitter)

    desk.disable("n")

    assert starts_and_asks(desk.log) == ["ask n/y", "ask n/x"]
    assert set(desk.living) == {"z"}


def test_what_is_desired_of_a_node_holds_for_the_workers_below_it() -> None:
    desk = table(node("desk", node("n", worker("x"), worker("y"))), desired={"n": False, "n/y": True})

    desk.start()

    assert set(desk.living) == {"n/y"}


def test_a_path_that_is_not_in_the_tree_is_refused() -> None:
    desk = started(abc(), full_jitter)

    with pytest.raises(ValueError, match="there is no nobody in the tree"):
        desk.disable("nobody")


# --- restart by wish ------------------------------------------------------------------------------


def test_a_restart_by_wish_is_not_counted_and_takes_nobody_along() -> None:
    desk = started(abc(Strategy.ONE_FOR_ALL), full_jitter)

    desk.restart("a")

    assert desk.log == ["ask a", "stopped a", "start a"]
    assert desk.row("desk").restarts_total == 0


def test_a_restart_by_wish_ends_a_backoff_at_once() -> None:
    desk = in_backoff()

    desk.restart("b")

    assert desk.log == ["start b"]


def test_a_restart_by_wish_brings_back_a_temporary_child() -> None:
    desk = started(node("desk", worker("a", RestartType.TEMPORARY), worker("b", RestartType.TEMPORARY)), full_jitter)
    desk.end("a")

    desk.restart("a")
    desk.restart("b")

    assert set(desk.living) == {"a", "b"}


def test_a_restart_by_wish_of_a_node_stops_and_starts_all_of_it_in_order() -> None:
    desk = started(node("desk", node("n", worker("x"), worker("y", RestartType.TEMPORARY)), worker("z")), full_jitter)

    desk.restart("n")

    assert starts_and_asks(desk.log) == ["ask n/y", "ask n/x", "start n/x", "start n/y"]


def test_a_disabled_child_is_not_restarted_by_wish() -> None:
    desk = started(abc(), full_jitter)
    desk.disable("b")

    desk.restart("b")

    assert desk.state("b") is ChildState.DISABLED


def test_a_wish_while_a_sibling_waits_in_backoff_leaves_nobody_down() -> None:
    desk = in_backoff()

    desk.restart("c")

    assert desk.state("c") is ChildState.RUNNING


# --- children that come and go --------------------------------------------------------------------


def test_a_child_can_be_added_while_the_desk_runs() -> None:
    desk = started(node("desk", node("strategies", strategy_node("s1"), start="parallel")), full_jitter)

    desk.add("strategies", strategy_node("s2"))

    assert desk.log == ["start strategies/s2"]
    assert [row.path for row in desk.supervision.tree()] == ["desk", "strategies", "strategies/s1", "strategies/s2"]


def test_a_removed_child_leaves_in_good_order_and_is_forgotten() -> None:
    desk = started(
        node("desk", node("strategies", strategy_node("s1"), strategy_node("s2"), start="parallel")), full_jitter
    )

    desk.remove("strategies/s1")

    assert desk.log == ["ask strategies/s1", "stopped strategies/s1"]
    assert [row.path for row in desk.supervision.tree()] == ["desk", "strategies", "strategies/s2"]


def test_a_removed_child_that_is_down_is_forgotten_at_once() -> None:
    desk = started(abc(), full_jitter)
    desk.disable("b")

    desk.remove("b")

    assert [row.path for row in desk.supervision.tree()] == ["desk", "a", "c"]


def test_a_node_that_is_slow_to_leave_does_not_hold_up_the_desk() -> None:
    desk = table(node("desk", node("n", worker("x")), worker("b")))
    desk.manners("n/x").is_prompt = False
    desk.start()
    desk.manners("n/x").obeys = "SIGKILL"

    desk.remove("n")

    assert desk.log[-1] == "start b"


def test_a_child_that_comes_back_under_its_name_waits_for_the_old_one_and_has_the_next_epoch() -> None:
    desk = started(node("desk", node("strategies", strategy_node("s1"), start="parallel")), full_jitter)
    desk.manners("strategies/s1").obeys = "SIGTERM"
    desk.remove("strategies/s1")

    desk.add("strategies", strategy_node("s1"))
    is_early = "start strategies/s1" in desk.log
    desk.pass_ns(5 * S)

    assert not is_early
    assert desk.living == {"strategies/s1": 2}


def test_a_child_can_be_added_disabled() -> None:
    desk = started(abc(), full_jitter)

    desk.supervision.add_child("desk", worker("d"), desk.now_ns, is_enabled=False)

    assert desk.state("d") is ChildState.DISABLED


@pytest.mark.parametrize("parent", ["desk", "nowhere", "a", "solo"])
def test_a_child_without_a_place_is_refused(parent: str) -> None:
    desk = started(node("desk", worker("a"), strategy_node("solo")), full_jitter)

    with pytest.raises(ValueError, match=parent):
        desk.add(parent, worker("a"))


def test_the_root_cannot_be_removed() -> None:
    desk = started(abc(), full_jitter)

    with pytest.raises(ValueError, match="root"):
        desk.remove("desk")


# --- epochs and late news -------------------------------------------------------------------------


def test_epochs_go_on_from_the_last_durable_one_and_up_by_one() -> None:
    supervision = Supervision(abc(), no_jitter, desired={}, quarantined=[], epochs={"a": 41})

    actions = supervision.start(0)

    assert actions == [EpochChanged("a", 42), PeersChanged(), Spawn("a", 42, worker("a"))]


def test_peers_are_told_of_a_fall_before_the_replacement_starts() -> None:
    supervision = Supervision(abc(), no_jitter, desired={}, quarantined=[], epochs={})
    supervision.start(0)
    supervision.on_ready("a", 1, 1)

    actions = supervision.on_exit("a", 1, Exit(ExitKind.ABNORMAL, "exit status 1"), 2)

    assert [type(action) for action in actions] == [Report, EpochChanged, PeersChanged, Spawn]


@pytest.mark.parametrize("state", [*ChildState, None], ids=str)
def test_only_of_what_is_put_away_or_gone_the_last_incarnation_is_heard_no_more(state: ChildState | None) -> None:
    told = peer_of("a", 7, state)

    is_over = state in {ChildState.DISABLED, ChildState.QUARANTINED, None}
    assert told == Peer("a", 8 if is_over else 7, "REMOVED" if state is None else state.value)


def test_news_of_an_older_epoch_is_ignored() -> None:
    desk = started(abc(), full_jitter)
    desk.end("b")
    before = desk.supervision.tree()

    late = [
        desk.supervision.on_ready("b", 1, desk.now_ns),
        desk.supervision.on_exit("b", 1, Exit(ExitKind.SIGNAL, "late"), desk.now_ns),
        desk.supervision.on_hang("b", 1, desk.now_ns, "late"),
        desk.supervision.on_exit("gone", 1, Exit(ExitKind.SIGNAL, "late"), desk.now_ns),
    ]

    assert late == [[], [], [], []]
    assert desk.supervision.tree() == before


def test_the_replacement_of_a_hung_process_waits_until_it_is_reaped() -> None:
    supervision = Supervision(node("desk", worker("a")), no_jitter, desired={}, quarantined=[], epochs={})
    supervision.start(0)
    supervision.on_ready("a", 1, 1)

    hang = supervision.on_hang("a", 1, 2, "no progress for 3 s")
    later = supervision.on_timer(100 * S)
    reaped = supervision.on_exit("a", 1, Exit(ExitKind.SIGNAL, "killed by SIGKILL"), 100 * S)

    assert not any(isinstance(action, Spawn) for action in [*hang, *later])
    assert any(isinstance(action, Spawn) for action in reaped)
    assert Report("desk", "child_terminated", "no progress for 3 s", "a", "warning") in reaped


# --- the status dump ------------------------------------------------------------------------------


def test_the_tree_lists_nodes_before_their_children_and_collapses_nodes_of_one() -> None:
    crowd = node("strategies", strategy_node("spy_vwap"), start="parallel")
    desk = started(node("desk", node("venues", worker("paper")), worker("execution"), crowd), full_jitter)

    rows = [(row.path, row.kind, row.state.value) for row in desk.supervision.tree()]

    assert rows == [
        ("desk", "node", "RUNNING"),
        ("venues", "node", "RUNNING"),
        ("venues/paper", "test", "RUNNING"),
        ("execution", "test", "RUNNING"),
        ("strategies", "node", "RUNNING"),
        ("strategies/spy_vwap", "test", "RUNNING"),
    ]


def test_a_row_says_since_when_and_why() -> None:
    desk = started(abc(), full_jitter)
    desk.pass_ns(7 * S)

    desk.end("b", "signal")

    row = desk.row("b")
    assert (row.since_ns, row.epoch, row.last_exit, row.last_error) == (
        7 * S,
        2,
        "killed by SIGSEGV",
        "killed by SIGSEGV",
    )


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param(node("desk", worker("desk"), worker("a")), id="child-named-like-the-root"),
        pytest.param(node("desk", worker("a"), gives_up="quarantine"), id="root-in-quarantine"),
    ],
)
def test_a_root_that_cannot_be_served_is_refused(spec: NodeSpec) -> None:
    with pytest.raises(ValueError, match="root"):
        table(spec)
