"""Kill -9 of anything: a child, the zygote, root; and what is too much is put away."""

import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from runtime.clock import NS_PER_S
from runtime.restart import Backoff, RestartLimit
from tests.runtime.bakehouse import Bakehouse, Ends, apprentice, baker, descendants, node, oven, title, worker

#: A file in the state folder with which no zygote of the frail ones can begin.
DAMAGE = "damaged"


@pytest.fixture
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("f") / "var"


def kill(pid: int) -> None:
    """Kill a process, and wait for its end."""
    ends = Ends([pid])
    os.kill(pid, signal.SIGKILL)
    assert ends.come_within(10)


def alive(house: Bakehouse) -> list[int]:
    """Name all processes of root's that live; a zygote leaves short-lived ones."""
    return [pid for pid in descendants(house.pid) if title(pid)]


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


# --- a child ------------------------------------------------------------------------------------------


def test_kill_9_of_one_replaces_it_alone_with_the_next_epoch(state: Path) -> None:
    with Bakehouse(state, oven(), baker("alpha"), apprentice("calm")) as house:
        before = house.all_running()

        kill(before["alpha"]["pid"])

        after = house.until(lambda rows: rows["alpha"]["epoch"] == 2 and rows["alpha"]["state"] == "RUNNING")
        assert after["alpha"]["last_error"] == "signal SIGKILL"
        assert {path: after[path]["pid"] for path in ("window", "oven", "calm")} == {
            path: before[path]["pid"] for path in ("window", "oven", "calm")
        }


def policies(pid: int) -> set[int]:
    """Say how all threads of a process compete for processors."""
    return {os.sched_getscheduler(int(task.name)) for task in Path(f"/proc/{pid}/task").iterdir()}


def test_whoever_had_to_wait_after_its_falls_is_born_standing_back_and_competes_again_once_ready(state: Path) -> None:
    patient = node("shop", worker("door", "door"), backoff=Backoff(NS_PER_S // 5, NS_PER_S // 5, NS_PER_S))
    state.mkdir()
    os.mkfifo(state / "door")
    with Bakehouse(state, patient) as house:
        at_birth: list[set[int]] = []
        for epoch in (1, 2, 3):
            row = house.until(
                lambda rows, epoch=epoch: rows["shop/door"]["epoch"] == epoch and rows["shop/door"]["pid"]
            )
            pid = row["shop/door"]["pid"]
            house.until(lambda _, epoch=epoch: f"started shop/door {epoch}" in house.diary())
            at_birth.append(policies(pid))
            if epoch < 3:
                kill(pid)
        (state / "door").write_text("open", encoding="utf-8")
        house.all_running()

        assert at_birth[0] == at_birth[1] == {os.SCHED_OTHER}
        assert at_birth[2] in ({os.SCHED_IDLE}, {os.SCHED_BATCH})
        assert policies(pid) == {os.SCHED_OTHER}


def test_whoever_is_killed_again_and_again_no_dough_is_lost_or_baked_twice(state: Path) -> None:
    with Bakehouse(state, oven(), baker("alpha"), baker("beta")) as house:
        house.all_running()
        for turn in range(9):
            path = ("oven", "alpha", "beta")[turn % 3]
            goal = house.baked() + 10
            rows = house.until(lambda _, goal=goal: house.baked() >= goal)
            with suppress(ProcessLookupError):
                os.kill(rows[path]["pid"], signal.SIGKILL)
        house.until(lambda rows: [rows[path]["restarts"] for path in ("oven", "alpha", "beta")] == [3, 3, 3])
        house.all_running()
        goal = house.baked() + 50
        house.until(lambda _: house.baked() >= goal)
        assert house.stop() == 0

    for name, loaves in house.loaves().items():
        assert loaves == list(range(1, len(loaves) + 1)), name
        reader = house.reader(name)
        assert int(reader.get("count", b"baked") or 0) <= len(loaves) <= int(reader.get("count", b"sent") or 0)
        reader.close()


def test_rooms_know_of_each_fall_and_a_fallen_room_gets_the_whole_table_again(state: Path) -> None:
    def agree(rows: dict[str, dict[str, Any]]) -> bool:
        told = rows["oven"]["facts"].get("peers", {})
        return told == {path: [row["epoch"], row["state"]] for path, row in rows.items()}

    with Bakehouse(state, oven(), baker("alpha"), apprentice("calm")) as house:
        house.until(agree)
        for path in ("alpha", "calm", "oven", "alpha"):
            epoch = house.rows()[path]["epoch"]
            kill(house.rows()[path]["pid"])
            house.replaced(path, epoch)

            assert house.until(agree)[path]["epoch"] == epoch + 1


def test_all_of_them_at_once_come_back(state: Path) -> None:
    with Bakehouse(state, oven(), baker("alpha"), apprentice("calm")) as house:
        for row in house.all_running().values():
            os.kill(row["pid"], signal.SIGKILL)

        house.until(lambda rows: all((row["epoch"], row["state"]) == (2, "RUNNING") for row in rows.values()))


@pytest.mark.slow
def test_fifty_falls_leave_no_descriptor_in_root(state: Path) -> None:
    with Bakehouse(state, apprentice("calm")) as house:
        pid = house.all_running()["calm"]["pid"]
        before, children = descriptors(house.pid), len(alive(house))

        for epoch in range(1, 51):
            os.kill(pid, signal.SIGKILL)
            pid = house.replaced("calm", epoch)["pid"]

        # The library of the bus closes what belonged to the last one in its own thread, when it gets to it.
        house.until(lambda _: descriptors(house.pid) <= before and len(alive(house)) == children)


# --- too much -----------------------------------------------------------------------------------------


def test_whoever_falls_too_often_is_put_away_for_good_until_it_is_released(state: Path) -> None:
    limit = RestartLimit(2, 60 * NS_PER_S)
    mad = node("mad", apprentice("mad", "raises", until_epoch=3), limit=limit, gives_up="quarantine")
    with Bakehouse(state, oven(), mad) as house:
        rows = house.until(lambda rows: rows["mad"]["state"] == "QUARANTINED")
        assert rows["mad"]["epoch"] == 3
        assert rows["oven"]["restarts"] == 0
        house.stop()

    with Bakehouse(state, oven(), mad) as house:
        house.until(lambda rows: rows["oven"]["state"] == "RUNNING")
        again = house.rows()["mad"]
        assert again["state"] == "QUARANTINED"
        assert again["last_error"].startswith("more than 2 restarts in 60 s; ")
        assert again["last_error"].endswith(rows["mad"]["last_error"])

        assert house.ask("release", path="mad").error == ""

        assert house.replaced("mad", 3)["epoch"] > 3
        assert house.stop() == 0


def test_a_root_whose_children_fall_too_often_gives_up_and_leaves_nothing(state: Path) -> None:
    mad = apprentice("mad", "raises", until_epoch=999)
    many = 60  # so many that root answers once before it has had enough
    with Bakehouse(state, oven(), mad, limit=RestartLimit(many, 60 * NS_PER_S)) as house:
        ends = Ends(descendants(house.pid))

        assert house.wait() == 1
        assert ends.come_within(1)
        assert f'"reason":"more than {many} restarts in 60 s; the last to fall was mad: ' in house.log()


# --- the zygote ---------------------------------------------------------------------------------------


def frail(house: Bakehouse) -> Bakehouse:
    house.program = "tests.runtime.with_frail_zygote"
    return house


def test_kill_9_of_the_zygote_costs_nobody_its_life_and_the_next_fall_is_mended(state: Path) -> None:
    with Bakehouse(state, oven(), apprentice("calm")) as house:
        before = house.all_running()

        kill(house.status()["zygote"]["pid"])
        kill(before["calm"]["pid"])

        house.replaced("calm")
        assert house.status()["zygote"]["starts"] == 2
        assert house.rows()["oven"]["pid"] == before["oven"]["pid"]


def test_kill_9_of_the_zygote_in_the_midst_of_many_starts_is_mended(state: Path) -> None:
    crowd = node("crowd", *(apprentice(f"a{number}") for number in range(20)), start="parallel")
    with Bakehouse(state, crowd) as house:
        house.all_running()
        for row in house.rows().values():
            if row["path"] != "window":
                os.kill(row["pid"], signal.SIGKILL)

        kill(house.status()["zygote"]["pid"])

        rows = house.until(
            lambda rows: all(
                row["state"] == "RUNNING" and row["epoch"] > 1 for row in rows.values() if row["path"] != "window"
            )
        )
        pids = {row["pid"] for row in rows.values()}
        house.until(lambda _: set(alive(house)) == pids | {house.status()["zygote"]["pid"]})


def test_a_zygote_that_ends_at_once_is_tried_ever_more_rarely_and_births_wait_until_one_lives(state: Path) -> None:
    with frail(Bakehouse(state, apprentice("calm"), apprentice("next"))) as house:
        before = house.all_running()
        (state / DAMAGE).touch()
        since_ns = house.clock.monotonic_ns()

        kill(house.status()["zygote"]["pid"])
        kill(before["calm"]["pid"])
        house.until(lambda _: house.log().count('"zygote died') == 5)

        assert house.clock.monotonic_ns() - since_ns > 1.4 * NS_PER_S  # 0, 0.2, 0.4 and 0.8 s
        assert "; all births wait 0." in house.log()
        assert house.rows()["calm"]["pid"] is None
        (state / DAMAGE).unlink()
        house.replaced("calm")
        kill(house.status()["zygote"]["pid"])
        kill(house.rows()["next"]["pid"])
        house.replaced("next")
        assert house.log().count('"zygote died"') == 2  # one that has had a child has its successor at once


def test_a_bakery_without_a_zygote_stops_as_any_other(state: Path) -> None:
    with frail(Bakehouse(state, oven(), apprentice("calm"))) as house:
        pid = house.all_running()["calm"]["pid"]
        (state / DAMAGE).touch()
        kill(house.status()["zygote"]["pid"])
        kill(pid)
        house.until(lambda _: house.log().count('"zygote died') > 3)

        assert house.stop() == 0


def test_a_bakery_that_never_has_a_zygote_gives_up(state: Path) -> None:
    house = frail(Bakehouse(state, oven(), limit=RestartLimit(3, 60 * NS_PER_S)))
    (state / DAMAGE).touch()

    with pytest.raises(AssertionError, match="root has ended"), house:
        pass

    assert house.wait() == 1
    assert house.log().count('"zygote died') == 4


@pytest.mark.slow
def test_a_zygote_that_hangs_is_replaced(state: Path) -> None:
    with Bakehouse(state, oven(), apprentice("calm", start_timeout_ns=3 * NS_PER_S)) as house:
        pid = house.all_running()["calm"]["pid"]
        os.kill(house.status()["zygote"]["pid"], signal.SIGSTOP)

        kill(pid)

        house.replaced("calm")
        assert house.status()["zygote"]["starts"] == 2
        assert house.rows()["oven"]["restarts"] == 0


@pytest.mark.slow
def test_more_children_than_the_zygote_takes_requests_at_once_all_start(state: Path) -> None:
    crowd = node(
        "crowd", *(apprentice(f"a{number}", start_timeout_ns=120 * NS_PER_S) for number in range(300)), start="parallel"
    )
    with Bakehouse(state, crowd) as house:
        house.all_running()

        assert sum(row["restarts"] for row in house.rows().values()) == 0
        assert house.stop() == 0


# --- root ---------------------------------------------------------------------------------------------


def test_a_child_with_megabytes_of_arguments_starts_and_is_replaced(state: Path) -> None:
    calm = apprentice("calm")
    large = structs.replace(calm, arguments=calm.arguments + b" " * (5 << 20))

    with Bakehouse(state, large, apprentice("next")) as house:
        rows = house.all_running()

        kill(rows["calm"]["pid"])

        house.replaced("calm")


def test_kill_9_of_root_leaves_no_process_after_a_second(state: Path) -> None:
    with Bakehouse(state, oven(), baker("alpha"), apprentice("calm")) as house:
        house.all_running()
        pids = descendants(house.pid)
        ends = Ends(pids)

        os.kill(house.pid, signal.SIGKILL)

        assert ends.come_within(1)
        assert len(pids) >= 5


def test_kill_9_of_root_while_its_children_start_leaves_no_process_after_a_second(state: Path) -> None:
    crowd = node("crowd", *(apprentice(f"a{number}") for number in range(20)), start="parallel")
    with Bakehouse(state, crowd) as house:
        ends = Ends(descendants(house.pid))

        os.kill(house.pid, signal.SIGKILL)

        house.wait()
        assert ends.come_within(1)


def test_a_root_that_comes_back_after_kill_9_goes_on_with_later_epochs_and_whole_stores(state: Path) -> None:
    with Bakehouse(state, oven(), baker("alpha")) as house:
        house.until(lambda _: house.baked() > 20)
        os.kill(house.pid, signal.SIGKILL)
        house.wait()

    with Bakehouse(state, oven(), baker("alpha")) as house:
        house.all_running()
        before = house.baked()
        rows = house.until(lambda _: house.baked() > before)
        assert rows.keys() == {"window", "oven", "alpha"}
        assert all(row["epoch"] > 1 for row in rows.values())
        house.stop()

    loaves = house.loaves()["alpha"]
    assert loaves == list(range(1, len(loaves) + 1))
    assert len(loaves) > 20
