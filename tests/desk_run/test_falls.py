"""Processes are killed without warning, and nobody who reads the books can tell."""

import os
import random
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from tests.desk_run.conftest import Calm, release
from tests.desk_run.falls import (
    ZYGOTE,
    check_books,
    falls,
    kill_again,
    market_step,
    pids,
    restarts,
    until_all_run,
    until_gone,
    until_step,
    zygote_pid,
)
from tests.desk_run.harness import Desk

KILLS = 10
STRATEGIES = tuple(f"strategies/{name}" for name in ("spy_a", "spy_b", "qqq", "btc_ema", "btc_vwap"))
ROOMS = ("execution", "risk", "market_data", "venues/paper")


def check_like_calm(desk: Desk, calm: Calm) -> None:
    assert desk.trades() == calm.trades
    assert desk.orders() == calm.orders
    check_books(desk)


def test_the_undisturbed_run_has_something_to_lose(calm: Calm) -> None:
    assert {trade["strategy"] for trade in calm.trades} == {path.removeprefix("strategies/") for path in STRATEGIES}
    assert len(calm.trades) > 20


@pytest.mark.parametrize(
    "victim",
    [
        "strategies/spy_b",
        *(pytest.param(room, marks=pytest.mark.slow if room != "execution" else ()) for room in ROOMS),
    ],
)
def test_a_process_killed_again_and_again_is_replaced_alone_and_changes_no_trade(
    victim: str, calm: Calm, tmp_path: Path
) -> None:
    chance = random.Random(victim)
    with calm.desk(tmp_path) as desk:
        before = until_all_run(desk.start())
        for _ in range(KILLS):
            until_step(desk, min(calm.steps, market_step(desk) + chance.randrange(1, 2 * calm.steps // KILLS)))
            kill_again(desk, victim)
        until_step(desk, calm.steps)
        after = until_all_run(desk)
        code = release(desk)

    assert code == 0
    assert pids(after, without=(victim,)) == pids(before, without=(victim,))
    assert restarts(after) == falls(desk) == {victim: KILLS}
    check_like_calm(desk, calm)


@pytest.mark.slow
def test_a_zygote_killed_again_and_again_costs_no_process_its_life(calm: Calm, tmp_path: Path) -> None:
    chance = random.Random(ZYGOTE)
    with calm.desk(tmp_path) as desk:
        before = until_all_run(desk.start())
        for _ in range(KILLS):
            until_step(desk, min(calm.steps, market_step(desk) + chance.randrange(1, 2 * calm.steps // KILLS)))
            kill_again(desk, ZYGOTE)
        kill_again(desk, "strategies/qqq")
        until_step(desk, calm.steps)
        after = until_all_run(desk)
        code = release(desk)

    assert code == 0
    assert pids(after, without=("strategies/qqq",)) == pids(before, without=("strategies/qqq",))
    assert falls(desk) == {ZYGOTE: KILLS, "strategies/qqq": 1}
    check_like_calm(desk, calm)


def kill_some(desk: Desk, chance: random.Random) -> int:
    """Kill one to three processes at once, wherever they are in their own recovery; give how many."""
    living = {**desk.pids(), ZYGOTE: zygote_pid(desk)}
    victims = [
        pid for path in chance.sample((*STRATEGIES, *ROOMS, ZYGOTE), chance.randint(1, 3)) if (pid := living.get(path))
    ]
    for pid in victims:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return len(victims)


@pytest.mark.parametrize(
    ("rounds", "seed"),
    [
        pytest.param(8, 1, marks=pytest.mark.slow),
        pytest.param(60, 2, marks=pytest.mark.slow),
        pytest.param(60, 3, marks=pytest.mark.slow),
    ],
)
def test_several_processes_killed_at_once_at_any_moment_change_no_trade(
    rounds: int, seed: int, calm: Calm, tmp_path: Path
) -> None:
    chance, kills = random.Random(seed), 0
    with calm.desk(tmp_path) as desk:
        before = until_all_run(desk.start())
        for _ in range(rounds):
            until_step(desk, min(calm.steps, market_step(desk) + chance.randrange(1, 2 * calm.steps // rounds)))
            kills += kill_some(desk, chance)
        until_step(desk, calm.steps)
        after = until_all_run(desk)
        code = release(desk)

    assert code == 0
    assert kills >= rounds
    unhurt = (*STRATEGIES, *ROOMS)
    assert pids(after, without=unhurt) == pids(before, without=unhurt)
    check_like_calm(desk, calm)


def test_nothing_outlives_a_killed_root_and_the_next_start_goes_on(calm: Calm, tmp_path: Path) -> None:
    with calm.desk(tmp_path) as desk:
        for part in (1, 2):
            until_all_run(desk.start())
            until_step(desk, part * calm.steps // 3)
            assert len(desk.descendants()) > len(STRATEGIES) + len(ROOMS)
            os.kill(desk.root_pid, signal.SIGKILL)
            assert desk.wait() == -signal.SIGKILL
            until_gone(desk)
        desk.start()
        code = release(desk)

    assert code == 0
    check_like_calm(desk, calm)


@pytest.mark.slow
def test_a_desk_that_was_stopped_in_good_order_leaves_no_process_and_goes_on_where_it_was(
    calm: Calm, tmp_path: Path
) -> None:
    ends: list[tuple[int, list[int]]] = []
    with calm.desk(tmp_path) as desk:
        for part, number in ((1, signal.SIGINT), (2, signal.SIGTERM)):
            until_all_run(desk.start())
            until_step(desk, part * calm.steps // 3)
            os.killpg(desk.root_pid, number)
            ends.append((desk.wait(), desk.descendants()))
        desk.start()
        code = release(desk)

    assert [*ends, code] == [(0, []), (0, []), 0]
    assert desk.said().count("stopped in good order") == 3
    check_like_calm(desk, calm)
