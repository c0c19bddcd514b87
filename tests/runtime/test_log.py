"""One log a process, of lines that a program can read and that give no secret away."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from loguru import logger

from runtime.clock import NS_PER_S
from runtime.log import ROTATIONS_KEPT, TRACE_CHARS_MAX, WARNINGS_A_SECOND, WARNINGS_AT_ONCE, Log, silence
from tests.runtime.fakes import HandClock


@pytest.fixture(autouse=True)
def _silenced() -> Iterator[None]:
    """Let go of the log's file when the test is over."""
    yield
    silence()


def lines_of(folder: Path, name: str) -> list[str]:
    return (folder / f"{name}.log").read_text(encoding="utf-8").splitlines()


def fields_of(line: str) -> Any:
    return json.loads(line[line.index("{") :])


def test_a_line_has_time_level_place_event_and_fields(tmp_path: Path) -> None:
    log = Log.open(tmp_path, "strategies/alpha", "INFO")

    log.warning("order.late", order="o-1", late_ms=12)

    (line,) = lines_of(tmp_path, "strategies.alpha")
    time, level, path, event, _ = line.split(maxsplit=4)
    assert time.endswith("Z")
    assert len(time) == len("2026-01-01T00:00:00.000000Z")
    assert (level, path, event) == ("WARNING", "strategies/alpha", "order.late")
    assert fields_of(line) == {"order": "o-1", "late_ms": 12}


def test_each_process_has_a_file_of_its_own(tmp_path: Path) -> None:
    script = "import sys; from pathlib import Path; from runtime.log import Log; Log.open(Path(sys.argv[1]), sys.argv[2], 'INFO').info('here')"
    paths = ["execution", "strategies/alpha", "strategies/beta"]

    children = [subprocess.Popen([sys.executable, "-c", script, str(tmp_path), path]) for path in paths]

    assert [child.wait() for child in children] == [0, 0, 0]
    assert [lines_of(tmp_path, path.replace("/", "."))[0].split()[2] for path in paths] == paths


def test_what_is_below_the_level_is_not_written(tmp_path: Path) -> None:
    log = Log.open(tmp_path, "root", "WARNING")

    log.debug("a")
    log.info("b")
    log.warning("c")
    log.error("d")

    assert [line.split()[3] for line in lines_of(tmp_path, "root")] == ["c", "d"]


def test_a_fall_is_told_in_the_four_fields_of_every_supervisor_report(tmp_path: Path) -> None:
    log = Log.open(tmp_path, "root", "INFO")

    log.fall(supervisor="desk", context="child_terminated", reason="signal SIGKILL", offender="risk")

    assert fields_of(lines_of(tmp_path, "root")[0]) == {
        "supervisor": "desk",
        "context": "child_terminated",
        "reason": "signal SIGKILL",
        "offender": "risk",
    }


HOSTILE = [
    pytest.param("two\nlines\r\nand\u2028more\x85or\x0bless", id="line-breaks"),
    pytest.param("{0} {} {extra[path]} {{", id="braces"),
    pytest.param("<red>red</red> \\<b>", id="markup"),
    pytest.param("%s %(path)s %", id="percent"),
    pytest.param("\x1b[31mred\x00\x07", id="control-characters"),
    pytest.param('"quoted" \\ "}', id="quotes"),
]


@pytest.mark.parametrize("value", HOSTILE)
def test_no_value_can_break_its_line(tmp_path: Path, value: str) -> None:
    log = Log.open(tmp_path, "root", "INFO")

    log.info("heard", value=value)
    log.info("after")

    text = (tmp_path / "root.log").read_text(encoding="utf-8").split("\n")
    assert [line.split()[3] for line in text[:-1]] == ["heard", "after"]
    assert fields_of(text[0]) == {"value": value}


def test_half_a_character_does_not_lose_its_line(tmp_path: Path) -> None:
    log = Log.open(tmp_path, "root", "INFO")

    log.trace("child.fell", ValueError("no such file: \udc80"), reason="no such file: \udc80", offender="risk")

    first, *trace = lines_of(tmp_path, "root")
    assert "no such file: \\udc80" in fields_of(first)["unreadable"]
    assert trace[-1] == "ValueError: no such file: \\udc80"


VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.decimals() | st.dates()
FIELDS = st.recursive(VALUES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner))


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=FIELDS)
def test_whatever_the_value_there_is_one_line_of_json(tmp_path_factory: pytest.TempPathFactory, value: object) -> None:
    folder = tmp_path_factory.mktemp("log")
    log = Log.open(folder, "root", "INFO")

    log.info("heard", value=value)

    (line,) = (folder / "root.log").read_text(encoding="utf-8").split("\n")[:-1]
    assert set(fields_of(line)) == {"value"}


def test_a_traceback_names_the_place_and_shows_no_value_of_a_variable(tmp_path: Path) -> None:
    log = Log.open(tmp_path, "root", "INFO")

    def sign(api_secret: str) -> None:
        scrambled = api_secret[::-1]
        raise ValueError(len(scrambled))

    secret = bytes([104, 117, 110, 116, 101, 114, 50]).decode()
    try:
        sign(secret)
    except ValueError as error:
        log.trace("child.fell", error, offender="venues/kraken")

    text = (tmp_path / "root.log").read_text(encoding="utf-8")
    assert "raise ValueError(len(scrambled))" in text
    assert "hunter2" not in text
    assert "2retnuh" not in text


def test_an_error_that_says_megabytes_is_written_with_its_place_and_the_beginning(tmp_path: Path) -> None:
    log = Log.open(tmp_path, "strategies/alpha", "INFO")
    try:
        {}["x" * 10_000_000]
    except KeyError as error:
        log.trace("child.fell", error, offender="strategies/alpha")

    lines = lines_of(tmp_path, "strategies.alpha")
    assert any("test_log.py" in line for line in lines)
    assert lines[-1].endswith("characters were left out here]")
    assert sum(map(len, lines)) < 2 * TRACE_CHARS_MAX


def test_what_a_strategy_says_through_the_library_is_a_line_of_its_log(tmp_path: Path) -> None:
    Log.open(tmp_path, "strategies/alpha", "INFO")

    logger.info("bought {} at {{}}", 7)

    (line,) = filter(None, lines_of(tmp_path, "strategies.alpha"))
    assert line.split(maxsplit=3)[1:] == ["INFO", "strategies/alpha", "said bought 7 at {}"]


def test_the_library_of_actors_writes_nowhere_else(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    Log.open(tmp_path, "root", "INFO")

    logging.getLogger("pykka").error("Unhandled exception with %s", "hunter2")

    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("is_echoed", [True, False])
def test_only_warnings_of_a_root_in_the_foreground_are_echoed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], is_echoed: bool
) -> None:
    log = Log.open(tmp_path, "root", "INFO", is_echoed=is_echoed)

    log.info("quiet")
    log.warning("loud")

    out, err = capfd.readouterr()
    assert out == ""
    assert "quiet" not in err
    assert ("loud" in err) == is_echoed


@pytest.fixture(params=["gone", "stuck", "full"])
def deaf(request: pytest.FixtureRequest) -> Iterator[int]:
    """Give a descriptor whose reader has left, or reads no more, or that has no room on its disk."""
    ours, theirs = os.pipe()
    if request.param == "gone":
        os.close(ours)
    elif request.param == "stuck":
        os.set_blocking(theirs, False)
        with suppress(BlockingIOError):
            while True:
                os.write(theirs, bytes(1))
        os.set_blocking(theirs, True)
    else:
        os.close(ours)
        os.close(theirs)
        theirs = os.open("/dev/full", os.O_WRONLY)
    yield theirs
    os.close(theirs)
    if request.param == "stuck":
        os.close(ours)


SPEAKS_TO_TWO = """
import sys
from pathlib import Path
from runtime.log import Log, offer
log = Log.open(Path(sys.argv[1]), "root", "INFO", is_echoed=True)
offer(1, "the desk is up")
log.warning("loud")
log.info("done")
"""


def test_nobody_falls_or_waits_because_nobody_takes_what_is_shown(tmp_path: Path, deaf: int) -> None:
    command = [sys.executable, "-c", SPEAKS_TO_TWO, str(tmp_path)]
    ended = subprocess.run(command, check=False, stdout=deaf, stderr=deaf, timeout=60)

    assert ended.returncode == 0
    assert [line.split()[3] for line in lines_of(tmp_path, "root")] == ["loud", "done"]
    assert os.get_blocking(deaf)


def test_only_the_owner_may_look_into_the_logs(tmp_path: Path) -> None:
    Log.open(tmp_path / "log", "root", "INFO").info("here")

    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o700


def test_a_warning_without_end_is_cut_short_and_the_next_line_counts_the_rest(tmp_path: Path) -> None:
    log = Log.open(tmp_path, "root", "INFO")
    clock = HandClock()
    log._clock = clock

    for number in range(5000):
        log.warning("wire.refused", number=number)
    log.warning("memory.soft")
    log.error("fall")
    clock.advance_ns(NS_PER_S // WARNINGS_A_SECOND)
    log.warning("wire.refused", number=5000)
    log.warning("wire.refused", number=5001)

    lines = lines_of(tmp_path, "root")
    assert len(lines) == WARNINGS_AT_ONCE + 3
    assert fields_of(lines[-1]) == {"number": 5000, "suppressed": 5000 - WARNINGS_AT_ONCE}
    assert [line.split()[3] for line in lines[-3:-1]] == ["memory.soft", "fall"]


def test_errors_and_what_happens_in_the_course_of_things_are_never_cut(tmp_path: Path) -> None:
    log = Log.open(tmp_path, "root", "INFO")

    for _ in range(300):
        log.info("report")
        log.error("fall")

    assert len(lines_of(tmp_path, "root")) == 600


def test_a_full_file_is_put_aside_and_the_newest_five_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.log.ROTATION_BYTES", 1000)
    stranger = tmp_path / "root.more.log"
    stranger.write_text("not of this process\n", encoding="utf-8")
    log = Log.open(tmp_path, "root", "INFO")

    for number in range(200):
        log.info("said", number=number)

    aside = sorted(file for file in tmp_path.glob("root.*.log") if file != stranger)
    assert len(aside) == ROTATIONS_KEPT
    assert all(file.stat().st_size <= 1000 for file in [*aside, tmp_path / "root.log"])
    lines = [line for file in [*aside, tmp_path / "root.log"] for line in file.read_text(encoding="utf-8").splitlines()]
    numbers = [fields_of(line)["number"] for line in lines]
    assert numbers == list(range(200 - len(numbers), 200))
    assert len(numbers) > 5 * 10


def test_a_disk_that_is_full_costs_lines_and_not_their_writer(tmp_path: Path) -> None:
    file = tmp_path / "root.log"
    file.symlink_to("/dev/full")
    log = Log.open(tmp_path, "root", "INFO")

    log.info("lost")
    log.trace("lost.too", ValueError("no room"))
    file.unlink()
    log = Log.open(tmp_path, "root", "INFO")
    log.info("there.is.room.again")

    assert [line.split()[3] for line in lines_of(tmp_path, "root")] == ["there.is.room.again"]
