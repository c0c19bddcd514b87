"""Everything goes wrong at once, each thing in a process of its own; each is dealt with, and nobody else notices."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from runtime.clock import NS_PER_S
from runtime.spec import Limits
from tests.runtime.bakehouse import PATIENCE_S, Bakehouse, apprentice, baker, is_stopped, oven

MIB = 1 << 20
SHORT_NS = 2 * NS_PER_S

FALLEN = [
    apprentice("leaves", "leaves"),
    apprentice("exits", "exits"),
    apprentice("exits-starting", "exits", "starting"),
    apprentice("interrupts", "interrupts itself"),
    apprentice("crashes", "crashes"),
    apprentice("raises", "raises", "later"),
    apprentice("raises-starting", "raises", "starting"),
    apprentice("raises-making", "raises", "making"),
    apprentice("half-a-character", "raises half a character"),
    apprentice("speechless", "raises without words"),
    apprentice("hangs-at-once", "hangs", "first", progress_timeout_ns=SHORT_NS, start_timeout_ns=2 * SHORT_NS),
    apprentice("hangs-later", "hangs", "later", progress_timeout_ns=SHORT_NS),
    apprentice("eats", "eats", "later", limits=Limits(100 * MIB, 300 * MIB, 0, 0, 0)),
]
BUSY = [apprentice("stopped", progress_timeout_ns=SHORT_NS)]
UNHARMED = [apprentice("calm"), apprentice("talks", "talks"), apprentice("flees", "flees"), oven(), baker("alpha")]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bakehouse]:
    """Run until each that falls has a successor that runs."""
    state = tmp_path_factory.mktemp("m") / "var"
    with Bakehouse(state, *UNHARMED, *FALLEN, *BUSY) as house:
        pid = house.until(lambda rows: rows["stopped"]["state"] == "RUNNING")["stopped"]["pid"]
        os.kill(pid, signal.SIGSTOP)
        for spec in (*FALLEN, *BUSY):
            house.replaced(spec.id)
        house.until(lambda rows: "orphan" in "".join(house.diary()) and rows["flees"]["progress_age_s"] is not None)
        yield house


def row(house: Bakehouse, path: str) -> dict[str, Any]:
    return house.rows()[path]


@pytest.mark.parametrize("name", [spec.id for spec in (*FALLEN, *BUSY)])
def test_whoever_falls_is_replaced_once_and_the_successor_lives(house: Bakehouse, name: str) -> None:
    assert (row(house, name)["epoch"], row(house, name)["restarts"]) == (2, 1)


@pytest.mark.parametrize("name", [spec.id for spec in UNHARMED])
def test_nobody_else_falls(house: Bakehouse, name: str) -> None:
    assert (row(house, name)["epoch"], row(house, name)["restarts"]) == (1, 0)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("leaves", "exit status 0"),
        ("exits", "SystemExit: 0"),
        ("exits-starting", "SystemExit: 0"),
        ("interrupts", f"signal {signal.SIGRTMIN + 1}"),
        ("crashes", "signal SIGSEGV"),
        ("raises", "ValueError: invalid literal for int() with base 10: 'a loaf'"),
        ("raises-starting", "ValueError: invalid literal for int() with base 10: 'a loaf'"),
        ("raises-making", "ValueError: invalid literal for int() with base 10: 'a loaf'"),
        ("half-a-character", "ValueError: invalid literal for int() with base 10: '\\udc80'"),
        ("speechless", "SpeechlessError: it raised again when it was asked what is wrong"),
    ],
)
def test_the_last_words_of_a_fallen_one_say_why(house: Bakehouse, name: str, words: str) -> None:
    assert row(house, name)["last_error"] == words


@pytest.mark.parametrize(
    ("name", "stack"),
    [
        ("hangs-later", "its stack is in log/hangs-later.stack"),
        ("stopped", "it wrote no stack, as one that is stopped"),
    ],
)
def test_whoever_makes_no_progress_is_killed_for_it_and_its_stack_is_named_where_there_is_one(
    house: Bakehouse, name: str, stack: str
) -> None:
    error = row(house, name)["last_error"]

    assert error.startswith("no progress for ")
    assert error.endswith(stack)


def test_the_word_at_which_it_hung_is_named(house: Bakehouse) -> None:
    assert ", at timer; its stack is in " in row(house, "hangs-later")["last_error"]


def test_the_status_of_one_path_has_its_falls_and_limits_and_nothing_of_the_others(house: Bakehouse) -> None:
    status = house.ask("status", path="eats").result

    assert [each["path"] for each in cast("list[dict[str, Any]]", status["tree"])] == ["eats"]
    (fall,) = cast("list[dict[str, Any]]", status["falls"])
    assert (fall["supervisor"], fall["context"]) == ("bakery", "child_terminated")
    assert fall["reason"] == row(house, "eats")["last_error"]
    assert fall["at_ns"] > 0
    assert cast("dict[str, Any]", status["patience"])["progress_s"] == 20


def test_the_status_of_a_path_that_is_not_there_is_refused(house: Bakehouse) -> None:
    assert house.ask("status", path="nobody").error == "there is no nobody in the tree"


def test_a_row_says_what_a_process_uses_and_how_late_it_is(house: Bakehouse) -> None:
    rows = house.until(
        lambda rows: rows["oven"]["cpu_pct"] is not None and rows["oven"]["mailbox"] and rows["alpha"]["cpu_pct"]
    )

    assert rows["oven"]["rss_bytes"] > MIB
    assert 0 < rows["oven"]["cpu_s"] < 3600
    assert 0 < rows["oven"]["lag_p50_ms"] <= rows["oven"]["lag_p99_ms"]
    assert rows["oven"]["oldest_s"] < PATIENCE_S
    assert rows["oven"]["last_word"]


def test_what_waits_for_one_that_is_stopped_from_outside_grows_old(house: Bakehouse) -> None:
    pid = row(house, "oven")["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        rows = house.until(lambda rows: (rows["oven"]["progress_age_s"] or 0) > 2)
    finally:
        os.kill(pid, signal.SIGCONT)

    assert rows["oven"]["oldest_s"] >= rows["oven"]["progress_age_s"]


def test_whoever_hangs_in_its_first_turn_is_killed_too(house: Bakehouse) -> None:
    # Whether its READY had left by then is a matter of microseconds.
    assert row(house, "hangs-at-once")["last_error"].startswith(("no progress for ", "not READY within 4 s"))


def test_the_stack_of_whoever_hung_is_still_there_when_its_successor_runs(house: Bakehouse) -> None:
    stack = (house.state / "log" / "hangs-later.stack").read_text(encoding="utf-8")

    assert "in knead_for_ever" in stack


def test_the_stack_of_a_crash_is_kept(house: Bakehouse) -> None:
    assert "Segmentation fault" in (house.state / "log" / "crashes.stack").read_text(encoding="utf-8")


def test_a_process_that_was_stopped_is_gone_and_its_successor_is_not_stopped(house: Bakehouse) -> None:
    assert not is_stopped(row(house, "stopped")["pid"])


@pytest.mark.parametrize("name", ["raises", "exits"])
def test_what_a_room_wanted_before_it_raised_was_not_kept(house: Bakehouse, name: str) -> None:
    assert house.until(lambda rows: "kept" in rows["calm"]["facts"])["calm"]["facts"]["kept"] == 1
    reader = house.reader(name)

    # The successor is calm, so its own record is kept: had the first been, there would be two.
    assert house.until(lambda rows: rows[name]["facts"].get("kept"))[name]["facts"]["kept"] == 1
    assert reader.head() == 1
    reader.close()


def test_whoever_eats_more_than_its_hard_limit_is_killed_and_the_soft_one_was_told(house: Bakehouse) -> None:
    assert "over the hard limit of 300 MiB" in row(house, "eats")["last_error"]
    assert row(house, "eats")["rss_bytes"] < 300 * MIB


def test_a_fall_is_logged_by_the_child_with_its_place_and_by_root_in_four_fields(house: Bakehouse) -> None:
    own = house.log("raises")
    (line,) = [line for line in house.log().splitlines() if '"offender":"raises"' in line]

    assert "child.fell" in own
    assert 'lambda _: int("a loaf")' in own
    assert json.loads(line[line.index("{") :]) == {
        "supervisor": "bakery",
        "context": "child_terminated",
        "reason": "ValueError: invalid literal for int() with base 10: 'a loaf'",
        "offender": "raises",
    }


def test_the_place_of_a_fall_without_words_is_logged_all_the_same(house: Bakehouse) -> None:
    assert "raise SpeechlessError" in house.log("speechless")


def test_who_falls_before_it_is_ready_has_failed_to_start(house: Bakehouse) -> None:
    (line,) = [line for line in house.log().splitlines() if '"offender":"raises-starting"' in line]

    assert '"context":"start_error"' in line


def test_a_flood_on_the_standard_streams_lands_in_a_file(house: Bakehouse) -> None:
    flood = (house.state / "log" / "talks.out").stat().st_size

    assert flood == 200 * (5 * 20_000 + 5 * 2_000)


def test_an_orphan_of_a_child_is_killed(house: Bakehouse) -> None:
    (pid,) = [int(line.split()[1]) for line in house.diary() if line.startswith("orphan")]

    house.until(lambda _: not Path(f"/proc/{pid}").exists())


def test_the_bakery_bakes_on_without_a_gap(house: Bakehouse) -> None:
    before = house.baked()
    house.until(lambda _: house.baked() > before)

    loaves = house.loaves()["alpha"]
    assert loaves == list(range(1, len(loaves) + 1))


def test_root_itself_prints_nothing_and_started_its_zygote_once(house: Bakehouse) -> None:
    assert house.said() == ""
    assert house.status()["zygote"]["starts"] == 1
