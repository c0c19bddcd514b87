"""The bakery comes up left to right and goes down right to left, whatever its processes think of it."""

import os
import signal
import socket
import time
from pathlib import Path

import pytest

from runtime.births import BIRTHS_MAX
from runtime.clock import NS_PER_S
from runtime.restart import Backoff, RestartLimit, RestartType
from tests.runtime.bakehouse import (
    Bakehouse,
    Ends,
    apprentice,
    baker,
    descendants,
    node,
    oven,
    worker,
)


@pytest.fixture
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("b") / "var"


# --- up -----------------------------------------------------------------------------------------------


def test_nobody_starts_before_the_one_before_it_is_ready(state: Path) -> None:
    state.mkdir()
    os.mkfifo(state / "door")
    with Bakehouse(state, worker("door", "door"), apprentice("next")) as house:
        rows = house.until(lambda _: "started door 1" in house.diary())
        assert (rows["door"]["state"], rows["next"]["state"]) == ("STARTING", "WAITING")

        (state / "door").write_text("", encoding="utf-8")

        house.all_running()
        assert house.diary() == ["started window 1", "started door 1", "door opened", "started next 1"]


def test_children_of_a_parallel_node_wait_for_nobody(state: Path) -> None:
    state.mkdir()
    os.mkfifo(state / "door")
    crowd = node("crowd", worker("door", "door"), apprentice("next"), start="parallel")
    with Bakehouse(state, crowd) as house:
        rows = house.until(lambda rows: rows["crowd/next"]["state"] == "RUNNING")

        assert rows["crowd/door"]["state"] == "STARTING"


def test_more_than_may_be_born_at_once_that_hang_at_their_birth_hold_up_nobody_and_a_stop_spares_the_unborn(
    state: Path,
) -> None:
    state.mkdir()
    os.mkfifo(state / "door")
    doors = [worker(f"door{number:02}", "door", shutdown_ns=NS_PER_S // 10) for number in range(8 * BIRTHS_MAX)]
    crowd = node("crowd", *doors[:BIRTHS_MAX], apprentice("next"), *doors[BIRTHS_MAX:], start="parallel")
    with Bakehouse(state, crowd) as house:
        house.until(lambda rows: rows["crowd/next"]["state"] == "RUNNING")

        assert house.stop() == 0

        started = sum(line.startswith("started crowd/door") for line in house.diary())
        assert BIRTHS_MAX <= started < len(doors)


def test_the_service_manager_hears_ready_once_everything_runs_and_stopping_at_the_end(state: Path) -> None:
    notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notices.settimeout(30)
    house = Bakehouse(state, oven(), baker("alpha"))
    notices.bind(str(state / "notify"))
    house.start(NOTIFY_SOCKET=str(state / "notify"))

    heard = {notices.recv(100)}
    while b"READY=1" not in heard:
        heard.add(notices.recv(100))
    assert {row["state"] for row in house.rows().values()} == {"RUNNING"}

    assert house.stop() == 0
    while b"STOPPING=1" not in heard:
        heard.add(notices.recv(100))
    said = {each for each in heard if not each.startswith(b"STATUS=")}
    assert said == {b"WATCHDOG=1", b"READY=1", b"STOPPING=1"}
    assert b"STATUS=3 of 3 processes ready" in heard
    notices.close()
    house.__exit__(None, None, None)


def test_whoever_is_not_ready_in_time_has_failed_to_start_and_is_killed(state: Path) -> None:
    late = apprentice("late", "hangs", "starting", start_timeout_ns=NS_PER_S)
    with Bakehouse(state, late) as house:
        row = house.replaced("late")

        assert row["last_error"] == "not READY within 1 s"
        assert '"context":"start_error"' in house.log()


def test_whoever_cannot_be_imported_says_so_and_holds_up_only_those_behind_it(state: Path) -> None:
    limit, slowly = RestartLimit(3, 60 * NS_PER_S), Backoff(0, 0, NS_PER_S)
    nobody = node(
        "nobody",
        worker("nobody", "tests.runtime.bakery:make_nobody"),
        limit=limit,
        backoff=slowly,
        gives_up="quarantine",
    )
    with Bakehouse(state, nobody) as house:
        row = house.until(lambda rows: rows["nobody"]["state"] == "QUARANTINED")["nobody"]

        assert "has no attribute 'make_nobody'" in row["last_error"]


# --- down ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_the_end_comes_in_reverse_order_and_leaves_nothing(state: Path, number: signal.Signals) -> None:
    with Bakehouse(state, oven(), apprentice("one"), apprentice("two")) as house:
        house.all_running()
        ends = Ends(descendants(house.pid))

        os.kill(house.pid, number)

        assert house.wait() == 0
        assert ends.come_within(1)
        assert house.diary()[-4:] == ["stopping two", "stopping one", "stopping oven", "stopping window"]
        assert house.said() == ""


def test_a_signal_of_the_terminal_to_all_of_the_foreground_stops_in_order_too(state: Path) -> None:
    with Bakehouse(state, oven(), apprentice("one")) as house:
        pids = [row["pid"] for row in house.all_running().values()]

        for pid in (*pids, house.pid):
            os.kill(pid, signal.SIGINT)

        assert house.wait() == 0
        assert house.diary()[-3:] == ["stopping one", "stopping oven", "stopping window"]
        assert "fall" not in house.log()


def test_the_verb_stop_ends_as_a_signal_does(state: Path) -> None:
    with Bakehouse(state, oven()) as house:
        house.all_running()

        assert house.ask("stop", reason="the day is over").error == ""

        assert house.wait() == 0
        assert '"reason":"the day is over"' in house.log()


def test_stop_is_heard_while_somebody_waits_in_backoff(state: Path) -> None:
    slow = Backoff(600 * NS_PER_S, 600 * NS_PER_S, 3600 * NS_PER_S)
    with Bakehouse(state, apprentice("raises", "raises", until_epoch=99), backoff=slow) as house:
        house.until(lambda rows: rows["raises"]["state"] == "BACKOFF")

        assert house.stop() == 0


def test_stop_is_heard_while_somebody_is_not_ready(state: Path) -> None:
    late = apprentice("late", "hangs", "starting", shutdown_ns=NS_PER_S // 5)
    with Bakehouse(state, late, apprentice("never")) as house:
        house.until(lambda _: "started late 1" in house.diary())

        assert house.stop() == 0
        assert "started never 1" not in house.diary()


def test_whoever_does_not_leave_is_killed_after_its_time(state: Path) -> None:
    stubborn = apprentice("stubborn", "hangs", "stopping", shutdown_ns=NS_PER_S // 5)
    with Bakehouse(state, oven(), stubborn) as house:
        pid = house.all_running()["stubborn"]["pid"]
        ends = Ends([pid])
        before_ns = house.clock.monotonic_ns()

        assert house.stop() == 0

        assert ends.come_within(0)
        # Asked, 0.2 s, SIGTERM, 1 s, SIGKILL.
        assert house.clock.monotonic_ns() - before_ns >= 1_200_000_000
        assert '"context":"shutdown_error","reason":"signal SIGKILL","offender":"stubborn"' in house.log()
        assert house.diary()[-3:] == ["stopping stubborn", "stopping oven", "stopping window"]


def test_a_process_that_is_stopped_by_a_signal_is_ended_all_the_same(state: Path) -> None:
    with Bakehouse(state, apprentice("frozen", shutdown_ns=NS_PER_S // 5)) as house:
        os.kill(house.all_running()["frozen"]["pid"], signal.SIGSTOP)

        assert house.stop() == 0


@pytest.mark.slow
def test_while_root_itself_was_late_nobody_was_silent_and_whoever_starts_has_its_time_anew(state: Path) -> None:
    state.mkdir()
    os.mkfifo(state / "door")
    door = worker("door", "door", start_timeout_ns=4 * NS_PER_S)
    with Bakehouse(state, apprentice("calm", progress_timeout_ns=2 * NS_PER_S), door) as house:
        house.until(lambda _: "started door 1" in house.diary())
        os.kill(house.pid, signal.SIGSTOP)
        time.sleep(4.5)  # longer than the door may take, and than the other may be silent

        os.kill(house.pid, signal.SIGCONT)
        (state / "door").write_text("", encoding="utf-8")

        assert [(row["epoch"], row["restarts"]) for row in house.all_running().values()] == [(1, 0)] * 3


@pytest.mark.slow
def test_whoever_is_kept_waiting_for_a_processor_may_start_later_while_another_hangs_and_is_replaced(
    state: Path,
) -> None:
    state.mkdir()
    os.mkfifo(state / "door")
    silent = apprentice("silent", "hangs", shutdown_ns=NS_PER_S // 10, progress_timeout_ns=NS_PER_S // 2)
    house = Bakehouse(state, silent, worker("door", "door", start_timeout_ns=2 * NS_PER_S))
    house.program = "tests.runtime.busy_machine"
    with house:
        house.until(lambda _: "started door 1" in house.diary())
        deadline = time.monotonic() + 4

        house.until(lambda rows: rows["silent"]["epoch"] == 2 and time.monotonic() > deadline)
        (state / "door").write_text("", encoding="utf-8")

        rows = house.all_running()
        assert [(rows[name]["epoch"], rows[name]["restarts"]) for name in ("silent", "door")] == [(2, 1), (1, 0)]


def test_among_very_many_children_each_is_heard_and_one_that_hangs_is_replaced(state: Path) -> None:
    """Each is looked at in a turn of its own then."""
    silent = apprentice("silent", "hangs", shutdown_ns=NS_PER_S // 10, progress_timeout_ns=NS_PER_S)
    house = Bakehouse(state, oven(), silent, baker("alpha"))
    house.program = "tests.runtime.crowded"
    with house:
        row = house.replaced("silent")
        house.until(lambda rows: all(rows[name]["turns"] > 0 for name in ("oven", "alpha")))

        rows = house.all_running()
        assert row["last_error"].startswith("no progress for ")
        assert [rows[name]["restarts"] for name in ("oven", "silent", "alpha")] == [0, 1, 0]


def test_an_end_in_the_round_in_which_a_hang_is_told_is_an_end_in_good_order(state: Path) -> None:
    silent = apprentice("silent", "hangs", shutdown_ns=NS_PER_S // 10, progress_timeout_ns=NS_PER_S // 2)
    house = Bakehouse(state, silent)
    house.program = "tests.runtime.sudden_end"
    house.start()
    code = house.wait()
    house.__exit__(None, None, None)

    assert (code, house.said()) == (0, "")
    assert '"reason":"the given duration is over"' in house.log()


def test_sigterm_to_one_child_is_a_stop_in_good_order_after_which_it_comes_back(state: Path) -> None:
    with Bakehouse(state, apprentice("one")) as house:
        os.kill(house.all_running()["one"]["pid"], signal.SIGTERM)

        row = house.replaced("one")

        assert row["last_error"] == "exit status 0"
        assert "stopping one" in house.diary()


def test_a_transient_child_that_left_in_good_order_stays_away_and_a_temporary_one_after_any_end(state: Path) -> None:
    transient = apprentice("transient", "leaves", restart=RestartType.TRANSIENT)
    temporary = apprentice("temporary", "raises", restart=RestartType.TEMPORARY)
    with Bakehouse(state, transient, temporary) as house:
        rows = house.until(lambda rows: rows["transient"]["state"] == rows["temporary"]["state"] == "STOPPED")

        assert (rows["transient"]["epoch"], rows["temporary"]["epoch"]) == (1, 1)


# --- again --------------------------------------------------------------------------------------------


def test_a_bakery_that_was_stopped_goes_on_where_it_was(state: Path) -> None:
    with Bakehouse(state, oven(), baker("alpha")) as house:
        house.until(lambda _: house.baked() > 20)
        house.stop()
    before = house.baked()

    with Bakehouse(state, oven(), baker("alpha")) as house:
        rows = house.until(lambda _: house.baked() > before + 20)
        assert min(rows["oven"]["epoch"], rows["alpha"]["epoch"]) > 1
        house.stop()

    loaves = house.loaves()["alpha"]
    assert loaves == list(range(1, len(loaves) + 1))


def test_a_wish_to_disable_outlives_root(state: Path) -> None:
    with Bakehouse(state, oven()) as house:
        house.all_running()
        assert house.ask("disable", path="oven", reason="too hot").error == ""
        house.until(lambda rows: rows["oven"]["state"] == "DISABLED")
        house.stop()

    with Bakehouse(state, oven()) as house:
        assert house.rows()["oven"]["state"] == "DISABLED"
        assert house.status()["overrides"] == {"oven": False}
        house.ask("enable", path="oven")
        house.all_running()


def test_what_root_cannot_do_is_refused_in_words_and_not_kept(state: Path) -> None:
    with Bakehouse(state) as house:
        answers = [house.ask(verb, path="nobody") for verb in ("enable", "disable", "restart", "release", "dance")]

        assert [answer.error for answer in answers] == [
            *["there is no nobody in the tree"] * 4,
            "root knows no verb 'dance'",
        ]
        assert house.status()["overrides"] == {}
