"""The rules of a supervisor, kept by real processes: who goes down with whom, in which order, and when it is too much."""

import os
import signal
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from runtime.clock import NS_PER_S
from runtime.restart import RestartLimit, RestartType, Strategy
from tests.runtime.bakehouse import Bakehouse, Ends, apprentice, descendants, node

MINUTE_NS = 60 * NS_PER_S
SHORT_NS = 2 * NS_PER_S
NEVER = 99


@pytest.fixture
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("c") / "var"


def kill(house: Bakehouse, path: str) -> None:
    os.kill(house.rows()[path]["pid"], signal.SIGKILL)


def running(rows: dict[str, dict[str, Any]], **epochs: int) -> bool:
    """Say whether these run in these epochs."""
    found = {path.rpartition("/")[2]: (row["epoch"], row["state"]) for path, row in rows.items()}
    return all(found[name] == (epoch, "RUNNING") for name, epoch in epochs.items())


def trio(strategy: Strategy, **changed: Any) -> Any:
    return node("trio", apprentice("a"), apprentice("b", **changed), apprentice("c"), strategy=strategy)


# --- who goes down with whom --------------------------------------------------------------------------


def test_one_for_one_replaces_the_fallen_one_alone(state: Path) -> None:
    with Bakehouse(state, trio(Strategy.ONE_FOR_ONE)) as house:
        house.all_running()
        kill(house, "trio/b")

        house.until(lambda rows: running(rows, a=1, b=2, c=1))
        assert house.diary()[-1] == "started trio/b 2"


def test_rest_for_one_takes_those_behind_it_down_from_the_right_and_brings_them_back_from_the_left(state: Path) -> None:
    with Bakehouse(state, trio(Strategy.REST_FOR_ONE)) as house:
        house.all_running()
        kill(house, "trio/b")

        house.until(lambda rows: running(rows, a=1, b=2, c=2))
        assert house.diary()[-3:] == ["stopping trio/c", "started trio/b 2", "started trio/c 2"]


def test_one_for_all_takes_everyone_down_from_the_right_and_brings_them_back_from_the_left(state: Path) -> None:
    with Bakehouse(state, trio(Strategy.ONE_FOR_ALL)) as house:
        house.all_running()
        kill(house, "trio/b")

        house.until(lambda rows: running(rows, a=2, b=2, c=2))
        assert house.diary()[-5:] == [
            "stopping trio/c",
            "stopping trio/a",
            "started trio/a 2",
            "started trio/b 2",
            "started trio/c 2",
        ]


def test_a_temporary_one_that_a_sibling_took_down_stays_away(state: Path) -> None:
    with Bakehouse(state, trio(Strategy.ONE_FOR_ALL, restart=RestartType.TEMPORARY)) as house:
        house.all_running()
        kill(house, "trio/a")

        rows = house.until(lambda rows: running(rows, a=2, c=2))
        assert (rows["trio/b"]["epoch"], rows["trio/b"]["state"]) == (1, "STOPPED")


# --- who comes back -----------------------------------------------------------------------------------


TYPES = {
    ("permanent", "leaves"): True,
    ("permanent", "raises"): True,
    ("transient", "leaves"): False,
    ("transient", "raises"): True,
    ("transient", "crashes"): True,
    ("temporary", "leaves"): False,
    ("temporary", "raises"): False,
    ("temporary", "crashes"): False,
}


def test_the_type_of_restart_decides_who_comes_back_after_which_end(state: Path) -> None:
    all_of_them = [apprentice(f"{kind}-{mood}", mood, restart=RestartType(kind)) for kind, mood in TYPES]
    wanted = {
        f"{kind}-{mood}": (2, "RUNNING") if comes_back else (1, "STOPPED") for (kind, mood), comes_back in TYPES.items()
    }
    with Bakehouse(state, *all_of_them) as house:
        house.until(lambda rows: {name: (rows[name]["epoch"], rows[name]["state"]) for name in wanted} == wanted)


def test_a_transient_one_that_hangs_comes_back(state: Path) -> None:
    frozen = apprentice("frozen", restart=RestartType.TRANSIENT, progress_timeout_ns=SHORT_NS)
    with Bakehouse(state, frozen) as house:
        os.kill(house.all_running()["frozen"]["pid"], signal.SIGSTOP)

        assert house.replaced("frozen")["last_error"].startswith("no progress for ")


# --- when it is too much ------------------------------------------------------------------------------


def test_as_many_falls_as_are_granted_are_borne_and_one_more_is_not(state: Path) -> None:
    with Bakehouse(state, apprentice("one"), limit=RestartLimit(3, MINUTE_NS)) as house:
        house.all_running()
        for epoch in (1, 2, 3):
            kill(house, "one")
            house.replaced("one", epoch)
        assert house.rows()["one"]["restarts_in_window"] == 3

        kill(house, "one")

        assert house.wait() == 1


def test_a_start_that_fails_counts_like_a_fall(state: Path) -> None:
    broken = apprentice("broken", "raises", "making", until_epoch=NEVER)
    house = Bakehouse(state, broken, limit=RestartLimit(2, MINUTE_NS))
    with ExitStack() as stack:
        stack.push(house)  # it may have given up before anybody could ask
        house.start()

        assert house.wait() == 1
        assert house.log().count('"context":"start_error"') == 3


def test_a_start_that_takes_too_long_counts_like_a_fall(state: Path) -> None:
    late = apprentice("late", "hangs", "starting", until_epoch=NEVER, start_timeout_ns=NS_PER_S)
    limited = node("late", late, limit=RestartLimit(1, MINUTE_NS), gives_up="quarantine")
    with Bakehouse(state, limited) as house:
        row = house.until(lambda rows: rows["late"]["state"] == "QUARANTINED")["late"]

        assert (row["epoch"], row["last_error"]) == (2, "not READY within 1 s")


def test_a_node_that_gives_up_takes_all_its_children_down_and_its_parent_brings_all_of_them_back(state: Path) -> None:
    inner = node("inner", apprentice("a"), apprentice("b"), limit=RestartLimit(1, MINUTE_NS))
    with Bakehouse(state, apprentice("calm"), inner) as house:
        house.all_running()
        kill(house, "inner/b")
        house.until(lambda rows: running(rows, calm=1, a=1, b=2))

        kill(house, "inner/b")

        house.until(lambda rows: running(rows, calm=1, a=2, b=3))
        assert house.diary()[-3:] == ["stopping inner/a", "started inner/a 2", "started inner/b 3"]


# --- groups -------------------------------------------------------------------------------------------


def test_whatever_a_child_forked_into_its_group_ends_with_it(state: Path) -> None:
    with Bakehouse(state, apprentice("father", "fathers")) as house:
        pid = house.until(lambda rows: rows["father"]["state"] == "RUNNING")["father"]["pid"]
        house.until(lambda _: len(descendants(pid)) == 3)
        ends = Ends(descendants(pid))

        kill(house, "father")

        assert ends.come_within(10)
        house.replaced("father")


def test_a_group_that_ignores_sigterm_is_killed_when_the_end_comes(state: Path) -> None:
    stubborn = apprentice("father", "fathers", shutdown_ns=NS_PER_S // 5, progress_timeout_ns=MINUTE_NS)
    with Bakehouse(state, stubborn) as house:
        pid = house.until(lambda rows: rows["father"]["state"] == "RUNNING")["father"]["pid"]
        house.until(lambda _: len(descendants(pid)) == 3)
        ends = Ends([pid, *descendants(pid)])

        assert house.stop() == 0

        assert ends.come_within(1)
        assert '"reason":"signal SIGKILL","offender":"father"' in house.log()
