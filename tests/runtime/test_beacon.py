"""What a process says of itself can be read from outside, whatever it does meanwhile, and is trusted in nothing."""

import os
import resource
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.beacon import REPORT_BYTES_MAX, Beacon, Sight, beacon_file, read_beacon

PATH = "strategies/alpha"


@pytest.fixture
def beacon(tmp_path: Path) -> Iterator[Beacon]:
    beacon = Beacon(tmp_path, PATH)
    yield beacon
    beacon.close()


@pytest.fixture
def sight(tmp_path: Path) -> Iterator[Sight]:
    sight = Sight(tmp_path, PATH)
    yield sight
    sight.close()


def test_a_report_is_given_once_and_that_it_holds_moves_only_its_time(beacon: Beacon, sight: Sight) -> None:
    before = sight.look()
    beacon.say(b"one", 5)
    said = (sight.look(), sight.said_ns)
    beacon.say_again(9)

    assert before is None
    assert said == (b"one", 5)
    assert (sight.look(), sight.said_ns) == (None, 9)


def test_of_many_reports_only_the_last_is_there(beacon: Beacon, sight: Sight) -> None:
    for number in range(5):
        beacon.say(b"report %d" % number, number)

    assert (sight.look(), sight.look()) == (b"report 4", None)


@given(sizes=st.lists(st.integers(0, 30_000), min_size=1, max_size=6))
def test_a_report_of_any_size_arrives_whole(tmp_path_factory: pytest.TempPathFactory, sizes: list[int]) -> None:
    folder = tmp_path_factory.mktemp("sockets")
    beacon, sight = Beacon(folder, PATH), Sight(folder, PATH)

    for number, size in enumerate(sizes, 1):
        report = os.urandom(size)
        beacon.say(report, number)

        assert (sight.look(), sight.said_ns) == (report, number)

    beacon.close()
    sight.close()


def test_a_report_that_is_too_large_is_not_said_and_the_one_before_stays(beacon: Beacon, sight: Sight) -> None:
    small = beacon.say(b"small", 1)
    large = beacon.say(bytes(REPORT_BYTES_MAX + 1), 2)

    assert (small, large) == (True, False)
    assert (sight.look(), sight.said_ns) == (b"small", 1)


def test_a_report_for_which_the_disk_has_no_room_is_not_said_and_the_next_small_one_is(
    beacon: Beacon, sight: Sight
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    large = beacon.say(bytes(9000), 1)
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    small = beacon.say(b"small", 2)

    assert (large, small) == (False, True)
    assert (sight.look(), sight.said_ns) == (b"small", 2)


def test_a_reader_never_sees_half_a_report(beacon: Beacon, sight: Sight) -> None:
    over, seen, interval = threading.Event(), list[bytes](), sys.getswitchinterval()

    def speak() -> None:
        number = 0
        while not over.is_set():
            number += 1
            beacon.say(bytes([number % 256]) * (number % 5000), number)

    speaker = threading.Thread(target=speak)
    sys.setswitchinterval(1e-6)
    speaker.start()
    while len(seen) < 500:
        report = sight.look()
        if report is not None:
            seen.append(report)
    over.set()
    speaker.join()
    sys.setswitchinterval(interval)

    assert all(len(set(report)) <= 1 for report in seen)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"short",
        b"\xff" * 4096,
        bytes(64) + (7).to_bytes(8, "little") + (1).to_bytes(4, "little") + b"\xff\xff\xff\x7f" + bytes(4020),
        bytes(64) + (7).to_bytes(8, "little") + (1).to_bytes(4, "little") + (3).to_bytes(4, "little") + b"\x01bad",
    ],
    ids=["nothing", "cut off", "ones", "longer than the file", "wrong checksum"],
)
def test_what_is_no_report_is_nothing_said(tmp_path: Path, sight: Sight, content: bytes) -> None:
    beacon_file(tmp_path, PATH).write_bytes(content)

    assert (sight.look(), sight.said_ns) == (None, 0)


def test_a_process_that_cuts_its_file_off_under_its_reader_is_not_heard_and_hurts_nobody(
    tmp_path: Path, beacon: Beacon, sight: Sight
) -> None:
    beacon.say(b"one", 1)
    sight.look()
    os.truncate(beacon_file(tmp_path, PATH), 0)

    assert (sight.look(), sight.said_ns) == (None, 1)


def test_a_reader_that_came_before_the_file_finds_it_and_after_a_close_another_one(
    tmp_path: Path, sight: Sight
) -> None:
    early = sight.look()
    first = Beacon(tmp_path, PATH)
    silent = sight.look()
    first.say(b"of the first", 1)
    one = sight.look()
    second = Beacon(tmp_path, PATH)
    second.say(b"of the second", 1)
    still = sight.look()
    sight.close()

    assert (early, silent, one, still, sight.look()) == (None, None, b"of the first", None, b"of the second")


def test_a_reader_of_a_file_in_which_nobody_spoke_turns_to_the_one_that_takes_its_place(
    tmp_path: Path, beacon: Beacon, sight: Sight
) -> None:
    beacon.word("start")
    sight.look()
    Beacon(tmp_path, PATH).say(b"of the second", 1)

    assert sight.look() == b"of the second"


@pytest.mark.parametrize("left", [b"", b"\xff" * 4096], ids=["nothing", "half a report"])
def test_a_reader_of_what_a_killed_process_left_turns_to_the_one_that_takes_its_place(
    tmp_path: Path, sight: Sight, left: bytes
) -> None:
    beacon_file(tmp_path, PATH).write_bytes(left)
    sight.look()
    Beacon(tmp_path, PATH).say(b"of the second", 1)

    assert sight.look() == b"of the second"


def test_what_a_process_is_at_is_there_beside_its_report(tmp_path: Path, beacon: Beacon) -> None:
    beacon.turn(12, 3)
    beacon.word("market.tick")
    beacon.say(b"x" * 9000, 1)

    assert read_beacon(tmp_path, PATH) == (12, 3, "market.tick")
    assert read_beacon(tmp_path, "nobody") is None
