"""Whoever takes more than its limit is replaced with the reason, and what each takes stands in its row."""

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime.clock import NS_PER_S
from runtime.spec import Fence, Limits, WorkerSpec
from tests.runtime.bakehouse import PATIENCE_S, Bakehouse, Ends, apprentice, descendants, oven
from tests.runtime.bakery import store_of

MIB = 1 << 20
PATIENT_NS = 120 * NS_PER_S
NONE = {"memory_soft_bytes": 0, "memory_hard_bytes": 0, "address_space_bytes": 0, "open_files": 0}


def limits(**changed: float) -> Limits:
    fields: dict[str, float] = {**NONE, "cpu_s_per_handler": 0.0, **changed}
    return Limits(**fields)  # pyright: ignore[reportArgumentType]


def limited(name: str, mood: str, when: str = "later", **changed: float) -> WorkerSpec:
    return apprentice(name, mood, when, limits=limits(**changed), progress_timeout_ns=PATIENT_NS)


SPINS = limited("spins", "hangs", cpu_s_per_handler=0.3)
#: Root may look while there are not all of five yet.
REASONS = {
    "spins": "a handler used more than 0.3 s of processor time; its stack is in log/spins.stack",
    "forks": r"PermissionError: \[Errno 1\] Operation not permitted",
    "multiplies": "[345] processes, over the limit of 2",
    "chatters": "it printed more than 1 MiB twice in 10 s; the end of it is in log/chatters.out",
    "swells": r"OSError: \[Errno 27\] File too large",
    "hoards": "MemoryError",
}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bakehouse]:
    """Run until each that takes too much has a successor that runs."""
    fallen = [
        SPINS,
        limited("forks", "flees", processes=1),
        limited("multiplies", "multiplies", processes=2),
        limited("chatters", "chatters", output_bytes=MIB),
        limited("swells", "swells", file_bytes=8 * MIB),
        limited("hoards", "hoards", address_space_bytes=1300 * MIB),
    ]
    modest = limited(
        "modest",
        "calm",
        memory_soft_bytes=200 * MIB,
        memory_hard_bytes=300 * MIB,
        open_files=100,
        processes=1,
        output_bytes=MIB,
        cpu_s_per_handler=1,
        nice=7,
    )
    with Bakehouse(tmp_path_factory.mktemp("l") / "var", oven(), modest, *fallen) as house:
        for spec in fallen:
            house.replaced(spec.id)
        yield house


@pytest.mark.parametrize(("name", "reason"), REASONS.items())
def test_whoever_takes_too_much_is_replaced_once_and_the_reason_says_what(
    name: str, reason: str, house: Bakehouse
) -> None:
    row = house.rows()[name]

    assert row["restarts"] == 1
    assert re.fullmatch(reason, row["last_error"])


def test_nobody_else_falls(house: Bakehouse) -> None:
    assert [house.rows()[name]["restarts"] for name in ("window", "oven", "modest")] == [0, 0, 0]


def test_the_stack_shows_where_a_turn_used_its_time_up(house: Bakehouse) -> None:
    assert "in knead_for_ever" in (house.state / "log" / "spins.stack").read_text(encoding="utf-8")


def test_what_was_printed_without_end_is_cut_to_its_end(house: Bakehouse) -> None:
    assert (house.state / "log" / "chatters.out").stat().st_size < MIB
    assert house.log().count('output.cut {"path":"chatters"') == 2


def test_a_file_stays_within_its_limit(house: Bakehouse) -> None:
    assert (house.state / "swollen").stat().st_size == 8 * MIB


def test_the_row_shows_each_limit_and_what_is_used_of_it(house: Bakehouse) -> None:
    shown = house.until(lambda rows: rows["modest"]["limits"]["memory_bytes"]["used"])["modest"]["limits"]

    memory, files = shown.pop("memory_bytes"), shown.pop("open_files")
    assert shown == {
        "processes": {"used": 1, "max": 1},
        "output_bytes": {"used": 0, "max": MIB, "dropped": 0},
        "cpu_s_per_handler": {"used": None, "max": 1.0},
    }
    assert (memory["soft"], memory["max"], files["max"]) == (200 * MIB, 300 * MIB, 100)
    assert 10 * MIB < memory["used"] < 200 * MIB
    assert 10 < files["used"] < 100


def test_one_without_limits_shows_none(house: Bakehouse) -> None:
    assert house.rows()["oven"]["limits"] == {}


def test_a_child_stands_back_as_far_as_it_shall(house: Bakehouse) -> None:
    rows = house.rows()

    assert os.getpriority(os.PRIO_PROCESS, rows["modest"]["pid"]) == os.getpriority(os.PRIO_PROCESS, 0) + 7
    assert os.getpriority(os.PRIO_PROCESS, rows["oven"]["pid"]) == os.getpriority(os.PRIO_PROCESS, 0)


def test_on_a_kernel_that_refuses_nothing_root_says_so_and_counts_instead(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    state = tmp_path_factory.mktemp("o") / "var"
    fence = Fence(writable=("stores/multiplies",))  # not the diary: where that is kept, it cannot even start
    many = apprentice(
        "multiplies", "multiplies", "later", limits=limits(processes=1), fence=fence, progress_timeout_ns=PATIENT_NS
    )
    house = Bakehouse(state, many)
    house.program = "tests.runtime.old_kernel"
    with house:
        row = house.replaced("multiplies")

        assert re.fullmatch("[2345] processes, over the limit of 1", row["last_error"])
        status = house.status()
        assert (status["landlock"], status["seccomp"]) == (False, False)
        assert house.log().count("landlock.missing") == house.log().count("seccomp.missing") == 1
        assert house.stop() == 0


def test_the_end_leaves_nobody_who_left_the_group_of_a_child(state: Path) -> None:
    many = apprentice("multiplies", "multiplies", shutdown_ns=NS_PER_S // 5, progress_timeout_ns=PATIENT_NS)
    with Bakehouse(state, many) as house:
        pid = house.until(lambda rows: rows["multiplies"]["state"] == "RUNNING")["multiplies"]["pid"]
        house.until(lambda _: len(descendants(pid)) == 4)
        ends = Ends(descendants(house.pid))

        assert house.stop() == 0

        assert ends.come_within(1)


def test_an_orphan_that_does_not_end_keeps_root_from_nothing(state: Path) -> None:
    with Bakehouse(state, apprentice("binds", "binds")) as house:
        house.until(lambda _: "stranger.undying" in house.log())
        rounds = house.rows()["window"]["turns"]
        house.until(lambda rows: rows["window"]["turns"] > rounds)
        tracer = int(house.diary()[-1].removeprefix("tracer "))
        ends = Ends(descendants(house.pid))

        os.kill(house.rows()["binds"]["pid"], signal.SIGKILL)  # now its tracer is an orphan as well

        assert Ends([tracer]).come_within(10)
        house.replaced("binds")
        assert house.log().count("stranger.killed") == 2
        assert house.stop() == 0
        assert ends.come_within(1)


def test_a_child_whose_end_is_held_by_its_tracer_keeps_root_from_nothing_and_is_replaced_when_it_is_let_go(
    state: Path,
) -> None:
    with Bakehouse(state, apprentice("bound", "binds itself")) as house:
        house.until(lambda _: any(line.startswith("tracer") for line in house.diary()))
        pid = house.rows()["bound"]["pid"]

        os.kill(pid, signal.SIGKILL)

        assert house.replaced("bound")["last_exit"] == "signal SIGKILL"
        assert f'child.held {{"path":"bound","pid":{pid},' in house.log()
        assert "stranger.killed" in house.log()  # the tracer


def test_a_fenced_child_that_needs_another_file_cannot_start_and_says_which(state: Path) -> None:
    fence = Fence(writable=("stores/fenced",))
    with Bakehouse(state, apprentice("fenced", fence=fence)) as house:
        row = house.until(lambda rows: rows["fenced"]["restarts"])["fenced"]

        assert row["last_error"] == f"PermissionError: [Errno 13] Permission denied: '{house.state}/diary'"
        assert house.status()["landlock"] > 0


def test_a_fenced_child_with_its_files_runs(state: Path) -> None:
    fence = Fence(writable=("stores/fenced", "diary"))
    with Bakehouse(state, apprentice("fenced", fence=fence)) as house:
        house.all_running()

        assert house.stop() == 0


@pytest.fixture
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("f") / "var"


def test_a_fenced_child_that_finds_an_older_copy_of_its_store_behind_a_kill_9_says_so(state: Path) -> None:
    fence = Fence(writable=("stores/fenced", "diary"))
    with Bakehouse(state, apprentice("fenced", fence=fence)) as house:
        first = house.until(lambda rows: rows["fenced"]["facts"].get("kept") == 1)["fenced"]
        file = store_of(house.state, "fenced") / "data.mdb"
        older = file.read_bytes()
        os.kill(first["pid"], signal.SIGKILL)
        second = house.until(lambda rows: rows["fenced"]["facts"].get("kept") == 2)["fenced"]
        os.kill(house.pid, signal.SIGSTOP)
        end = Ends([second["pid"]])
        os.kill(second["pid"], signal.SIGKILL)
        assert end.come_within(PATIENCE_S)
        file.write_bytes(older)
        os.kill(house.pid, signal.SIGCONT)

        row = house.until(lambda rows: rows["fenced"]["restarts"] > 2 or _is_third(rows["fenced"]))["fenced"]

        assert house.status()["landlock"] > 0
        assert "it is as it was 1 commits ago" in row["last_error"]


def _is_third(row: dict[str, Any]) -> bool:
    return row["epoch"] == 3 and bool(row["facts"].get("kept"))
