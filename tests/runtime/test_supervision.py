"""Supervision keeps OTP's promises: the conformance table, on a clock that moves only when told."""

import pytest

from runtime.restart import RestartType, Strategy
from runtime.spec import NodeSpec
from runtime.supervision_words import ChildState, GiveUp, Quarantined
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

TYPES = list(RestartType)
STRATEGIES = list(Strategy)
ENDS = ["normal", "abnormal", "signal", "hang"]

COMES_BACK = {
    RestartType.PERMANENT: {"normal", "abnormal", "signal", "hang"},
    RestartType.TRANSIENT: {"abnormal", "signal", "hang"},
    RestartType.TEMPORARY: set[str](),
}
"""Rows of the OTP manual, "Tuning the restart type": which ends are undone."""

GOES_ALONG = {
    Strategy.ONE_FOR_ONE: ["start b"],
    Strategy.REST_FOR_ONE: ["ask c", "start b", "start c"],
    Strategy.ONE_FOR_ALL: ["ask c", "ask a", "start a", "start b", "start c"],
}
"""What the fall of the middle one of three brings about."""


# --- who comes back, and with whom ----------------------------------------------------------------


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("restart", TYPES)
@pytest.mark.parametrize("end", ENDS)
def test_type_and_strategy_decide_who_comes_back(strategy: Strategy, restart: RestartType, end: str) -> None:
    desk = started(node("desk", worker("a"), worker("b", restart), worker("c"), strategy=strategy))
    is_undone = end in COMES_BACK[restart]

    desk.end("b", end)

    expected = (["SIGKILL b"] if end == "hang" else []) + (GOES_ALONG[strategy] if is_undone else [])
    assert starts_and_asks(desk.log) == expected
    assert set(desk.living) == ({"a", "b", "c"} if is_undone else {"a", "c"})
    assert desk.row("desk").restarts_total == int(is_undone)


@pytest.mark.parametrize("strategy", [Strategy.REST_FOR_ONE, Strategy.ONE_FOR_ALL])
def test_a_temporary_child_that_goes_along_is_gone_for_good(strategy: Strategy) -> None:
    desk = started(node("desk", worker("a"), worker("b", RestartType.TEMPORARY), worker("c"), strategy=strategy))

    desk.end("a")
    desk.end("a")

    assert set(desk.living) == {"a", "c"}
    assert desk.log.count("start b") == 0
    assert desk.state("b") is ChildState.STOPPED


def test_a_temporary_child_whose_first_turn_has_not_come_still_gets_it() -> None:
    desk = table(node("desk", worker("a"), worker("b", RestartType.TEMPORARY), strategy=Strategy.ONE_FOR_ALL))
    desk.manners("a").starts_to_fail = 1

    desk.start()

    assert set(desk.living) == {"a", "b"}


def test_a_transient_child_that_had_ended_is_started_with_the_others() -> None:
    desk = started(node("desk", worker("a"), worker("b", RestartType.TRANSIENT), strategy=Strategy.ONE_FOR_ALL))
    desk.end("b", "normal")
    assert set(desk.living) == {"a"}

    desk.end("a")

    assert set(desk.living) == {"a", "b"}


def test_a_disabled_sibling_stays_down_in_a_one_for_all() -> None:
    desk = started(abc(Strategy.ONE_FOR_ALL))
    desk.disable("b")

    desk.end("c")

    assert set(desk.living) == {"a", "c"}
    assert desk.state("b") is ChildState.DISABLED


# --- intensity ------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("restarts_max", [0, 1, 3])
def test_restarts_max_falls_are_granted_and_one_more_is_not(strategy: Strategy, restarts_max: int) -> None:
    desk = started(abc(strategy, restarts_max))

    for _ in range(restarts_max):
        desk.end("b")
    is_up = set(desk.living) == {"a", "b", "c"}
    desk.end("b")

    assert is_up
    assert desk.living == {}
    assert len(desk.of(GiveUp)) == 1


def test_the_root_stops_all_children_right_to_left_before_it_gives_up() -> None:
    desk = started(abc(restarts_max=0))
    desk.manners("c").obeys = "SIGTERM"

    desk.end("b")
    is_early = bool(desk.of(GiveUp))
    desk.pass_ns(5 * S)

    assert not is_early
    assert starts_and_asks(desk.log) == ["ask c", "SIGTERM c", "ask a"]
    assert isinstance(desk.actions[-1], GiveUp)


@pytest.mark.parametrize(("gap_s", "is_granted"), [(30, False), (31, True)], ids=["inside", "slid-out"])
def test_the_window_slides(gap_s: int, *, is_granted: bool) -> None:
    desk = started(abc(restarts_max=2))

    desk.end("a")
    desk.pass_ns(30 * S)
    desk.end("b")
    desk.pass_ns(gap_s * S)
    desk.end("c")

    assert (set(desk.living) == {"a", "b", "c"}) is is_granted


def test_falls_of_siblings_share_one_limit() -> None:
    desk = started(abc(restarts_max=2))

    for path in "abc":
        desk.end(path)

    assert desk.living == {}


def test_ends_that_are_not_undone_are_not_counted() -> None:
    spec = node("desk", *(worker(name, RestartType.TEMPORARY) for name in "ab"), worker("c"), restarts_max=0)
    desk = started(spec)

    desk.end("a")
    desk.end("b")

    assert set(desk.living) == {"c"}
    assert desk.row("desk").restarts_in_window == 0


def test_the_counts_in_the_rows_leave_with_the_window() -> None:
    desk = started(abc())
    desk.end("b")

    desk.pass_ns(60 * S)
    at_the_edge = desk.supervision.restarts_in_window("b")
    desk.pass_ns(1)

    assert at_the_edge == 1
    assert desk.supervision.restarts_in_window("b") == 0
    assert desk.row("b").restarts_total == 1


# --- escalation -----------------------------------------------------------------------------------


def two_levels(root_max: int = 10, strategy: Strategy = Strategy.ONE_FOR_ONE) -> NodeSpec:
    inner = node("n", worker("x"), worker("y"), restarts_max=1)
    return node("desk", worker("a"), inner, worker("z"), restarts_max=root_max, strategy=strategy)


def test_a_node_past_its_limit_falls_as_a_whole_and_comes_back_as_a_whole() -> None:
    desk = started(two_levels())
    desk.end("n/x")
    desk.forget()

    desk.end("n/x")

    assert starts_and_asks(desk.log) == ["ask n/y", "start n/x", "start n/y"]
    assert desk.row("desk").restarts_total == 1
    assert desk.row("n").restarts_in_window == 0


def test_the_fall_of_a_node_takes_its_siblings_along_by_the_strategy_above() -> None:
    desk = started(two_levels(strategy=Strategy.REST_FOR_ONE))
    desk.end("n/x")
    desk.forget()

    desk.end("n/x")

    assert starts_and_asks(desk.log) == ["ask n/y", "ask z", "start n/x", "start n/y", "start z"]


def test_intensities_multiply_over_two_levels() -> None:
    desk = started(two_levels(root_max=2))

    falls = 0
    while desk.living:
        desk.end("n/x")
        falls += 1

    assert falls == (1 + 1) * (2 + 1)
    assert desk.of(GiveUp)


def test_a_node_waits_in_backoff_as_a_whole_from_its_second_fall() -> None:
    inner = node("n", worker("x"), worker("y"), restarts_max=0)
    desk = table(node("desk", worker("a"), inner, worker("z")), full_jitter)
    desk.start()
    desk.end("n/x")
    is_back_at_once = "n/x" in desk.living

    desk.end("n/x")

    assert is_back_at_once
    assert desk.state("n") is ChildState.BACKOFF
    assert set(desk.living) == {"a", "z"}


def test_a_node_that_gave_up_is_not_counted_once_a_sibling_takes_it_along() -> None:
    inner = node("n", worker("x"), worker("y"), restarts_max=0)
    desk = started(node("desk", inner, worker("b"), worker("c"), strategy=Strategy.ONE_FOR_ALL))
    for path in ("n/y", "c"):
        desk.manners(path).obeys = "SIGKILL"
    desk.end("n/x")
    desk.end("b")

    desk.end("n/y")
    desk.pass_ns(6 * S)

    assert set(desk.living) == {"n/x", "n/y", "b", "c"}
    assert desk.row("desk").restarts_total == 1


def test_the_health_of_a_node_ends_with_the_first_of_the_falls_that_made_it_give_up() -> None:
    desk = table(node("desk", node("n", worker("x"), worker("y"), restarts_max=1)), full_jitter)
    desk.start()

    for gap_s in (40, 30, 40, 30):
        desk.pass_ns(gap_s * S)
        desk.end("n/x")

    assert desk.state("n") is ChildState.BACKOFF


def test_a_sibling_that_dies_while_its_node_goes_down_is_not_counted() -> None:
    desk = started(two_levels())
    desk.manners("n/y").obeys = "SIGKILL"
    desk.end("n/x")
    desk.end("n/x")

    desk.end("n/y")

    assert desk.row("desk").restarts_total == 1
    assert set(desk.living) == {"a", "z", "n/x", "n/y"}


# --- quarantine -----------------------------------------------------------------------------------


def two_strategies() -> NodeSpec:
    crowd = node("strategies", strategy_node("alpha"), strategy_node("beta"), start="parallel")
    return node("desk", worker("risk"), crowd, worker("market_data"))


def crash(desk: Table, path: str, times: int) -> None:
    for _ in range(times):
        desk.end(path)


def test_a_strategy_past_its_limit_is_put_away_and_nobody_else_notices() -> None:
    desk = started(two_strategies())

    crash(desk, "strategies/alpha", 4)

    assert desk.state("strategies/alpha") is ChildState.QUARANTINED
    assert starts_and_asks(desk.log) == ["start strategies/alpha"] * 3
    assert desk.row("strategies").restarts_total == 0
    assert desk.row("desk").restarts_total == 0
    assert [type(action) for action in desk.of(Quarantined)] == [Quarantined]


def test_restarts_max_falls_do_not_put_a_strategy_away() -> None:
    desk = started(two_strategies())

    crash(desk, "strategies/alpha", 3)

    assert desk.state("strategies/alpha") is ChildState.RUNNING


def test_a_strategy_in_quarantine_still_shows_why() -> None:
    desk = started(two_strategies())

    crash(desk, "strategies/alpha", 4)

    row = desk.row("strategies/alpha")
    assert (row.restarts_in_window, row.restarts_max, row.last_error) == (4, 3, "exit status 1")


@pytest.mark.parametrize("verb", ["enable", "restart"])
def test_only_a_release_ends_a_quarantine(verb: str) -> None:
    desk = started(two_strategies())
    crash(desk, "strategies/alpha", 4)

    (desk.enable if verb == "enable" else desk.restart)("strategies/alpha")

    assert desk.state("strategies/alpha") is ChildState.QUARANTINED


def test_a_release_starts_the_strategy_with_a_clean_sheet() -> None:
    desk = started(two_strategies())
    crash(desk, "strategies/alpha", 4)

    desk.release("strategies/alpha")
    crash(desk, "strategies/alpha", 3)

    assert desk.state("strategies/alpha") is ChildState.RUNNING


def test_a_release_forgets_the_row_of_falls() -> None:
    desk = table(two_strategies(), full_jitter)
    desk.start()
    for _ in range(4):
        desk.end("strategies/alpha")
        desk.pass_ns(S)

    desk.release("strategies/alpha")
    desk.end("strategies/alpha")

    assert desk.state("strategies/alpha") is ChildState.RUNNING


def test_a_release_does_not_start_what_is_disabled() -> None:
    desk = started(two_strategies())
    crash(desk, "strategies/alpha", 4)
    desk.disable("strategies/alpha")

    desk.release("strategies/alpha")

    assert desk.state("strategies/alpha") is ChildState.DISABLED


def test_quarantine_outlives_the_root() -> None:
    desk = table(two_strategies(), quarantined=["strategies/alpha"])

    desk.start()

    assert desk.state("strategies/alpha") is ChildState.QUARANTINED
    assert "strategies/beta" in desk.living


def test_quarantine_outlives_removal_from_the_tree() -> None:
    desk = started(two_strategies())
    crash(desk, "strategies/alpha", 4)

    desk.remove("strategies/alpha")
    desk.add("strategies", strategy_node("alpha"))

    assert desk.state("strategies/alpha") is ChildState.QUARANTINED


def test_a_quarantine_of_several_workers_stops_them_right_to_left_and_says_so_first() -> None:
    pair = node("pair", worker("x"), worker("y"), worker("z"), restarts_max=0, gives_up="quarantine")
    desk = started(node("desk", pair, worker("b")))

    desk.end("pair/y")

    assert starts_and_asks(desk.log) == ["ask pair/z", "ask pair/x"]
    assert [str(a.path) for a in desk.of(Quarantined) if isinstance(a, Quarantined)] == ["pair/x", "pair/y", "pair/z"]
    assert set(desk.living) == {"b"}
    assert all(desk.state(f"pair/{name}") is ChildState.QUARANTINED for name in "xyz")
