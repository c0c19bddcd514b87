"""What root knows of a child outlives its fall as far as an operator needs it, and no further."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.beacon import Beacon
from runtime.clock import NS_PER_S
from runtime.knowledge import FALLS_KEPT, Knowledge
from runtime.log import Log
from runtime.process import Running
from runtime.supervision_words import Report, Row
from runtime.warden import Warden
from runtime.words import Progress, RootAnswered
from tests.runtime.process_table import abc, started, worker
from tests.runtime.scribe import CODEC, Noted


@pytest.fixture
def child() -> Iterator[Running]:
    """Give this very process as a child."""
    pidfd = os.pidfd_open(os.getpid())
    yield Running("a", 1, os.getpid(), pidfd)
    os.close(pidfd)


@pytest.fixture
def known(tmp_path: Path) -> Knowledge:
    return Knowledge(tmp_path, Warden(tmp_path, Log("root")), CODEC)


def row() -> Row:
    return next(row for row in started(abc()).supervision.tree() if row.path == "a")


def test_what_a_child_said_before_its_end_is_told_until_its_successor_speaks(known: Knowledge, child: Running) -> None:
    known.hear(Progress("a", 1, 1, 1, 0, {"orders": 3}), 0)
    known.see_end("a")
    down = known.row(row(), None, None, last_error="it fell", now_ns=NS_PER_S)

    known.see_ready("a", 2, NS_PER_S)
    up = known.row(row(), child._replace(epoch=2), worker("a"), last_error="", now_ns=NS_PER_S)

    assert (down["last_facts"], down["facts"], down["pid"], down["last_error"]) == ({"orders": 3}, {}, None, "it fell")
    assert (up["last_facts"], up["facts"], up["pid"]) == ({}, {}, os.getpid())


def test_ready_does_not_undo_a_report_that_was_quicker(known: Knowledge) -> None:
    known.hear(Progress("a", 1, 5, 5, 0, {"orders": 3}), 7)

    known.see_ready("a", 1, 9)

    assert (known.facts("a"), known.reports["a"][1]) == ({"orders": 3}, 7)


def test_the_processor_time_of_a_silent_child_is_asked_of_the_kernel(known: Knowledge, child: Running) -> None:
    known.hear(Progress("a", 1, 1, 1, 0, {}), 0)

    fresh = known.row(row(), child, worker("a"), last_error="", now_ns=NS_PER_S)
    silent = known.row(row(), child, worker("a"), last_error="", now_ns=60 * NS_PER_S)

    assert fresh["cpu_s"] == 0
    assert silent["cpu_s"] > 0


def test_what_a_child_says_is_read_where_it_lies_with_the_time_it_was_said_at(
    tmp_path: Path, known: Knowledge, child: Running
) -> None:
    beacon = Beacon(tmp_path, "a")
    known.look(child, 1)
    unheard = known.facts("a")
    beacon.say(CODEC.encode(Progress("a", 1, 1, 1, 0, {"orders": 3})), 5)
    known.look(child, 9)
    said = (known.facts("a"), known.reports["a"][1])
    beacon.say_again(12)
    known.look(child, 14)

    assert (unheard, said, known.reports["a"][1]) == ({}, ({"orders": 3}, 5), 12)


def test_a_child_that_says_to_have_spoken_long_from_now_is_not_heard_until_it_speaks_again(
    tmp_path: Path, known: Knowledge, child: Running
) -> None:
    beacon, report = Beacon(tmp_path, "a"), CODEC.encode(Progress("a", 1, 1, 1, 0, {"orders": 3}))
    beacon.say(report, 10**18)
    known.look(child, 9)
    never = dict(known.reports)
    beacon.say(report, 11)
    known.look(child, 10)  # root's time is a little older than what it reads
    heard = known.reports["a"][1]
    beacon.say_again(10**18)
    known.look(child, 60 * NS_PER_S)

    assert (never, heard, known.reports["a"][1]) == ({}, 10, 10)


@pytest.mark.parametrize(
    "said",
    [b"", b"garbage", CODEC.encode(Noted("a word of another kind"))]
    + [CODEC.encode(Progress(path, epoch, 1, 1, 0, {})) for path, epoch in (("b", 1), ("a", 2))]
    + [CODEC.encode(Progress("a", 1, 1, 1, 0, {}, oldest_ns=figure)) for figure in (-1, 2**64 - 1)],
    ids=["nothing", "garbage", "another word", "another's", "another incarnation's", "less than none", "beyond time"],
)
def test_what_is_no_report_of_this_incarnation_is_not_heard_and_the_next_one_is(
    tmp_path: Path, known: Knowledge, child: Running, said: bytes
) -> None:
    Beacon(tmp_path, "a").say(said, 5)
    known.look(child, 9)
    before = dict(known.reports)
    Beacon(tmp_path, "a").say(CODEC.encode(Progress("a", 1, 1, 1, 0, {"orders": 3})), 11)

    known.look(child, 12)

    assert (before, known.facts("a")) == ({}, {"orders": 3})


def test_of_many_falls_the_last_ones_are_told_oldest_first(known: Knowledge) -> None:
    for number in range(FALLS_KEPT + 2):
        known.keep_fall(Report("desk", "child_terminated", f"fall {number}", "a", "error"), number)

    assert [fall["reason"] for fall in known.falls("a")] == [f"fall {number}" for number in range(2, FALLS_KEPT + 2)]
    assert known.falls("b") == []


@pytest.mark.parametrize(
    ("before", "opening", "behind"), [(b"", b"\x91", b""), (b"", b"\x81\x01", b""), (b"\x81", b"\x91", b"\x01")]
)
def test_what_is_nested_deeper_than_a_status_could_say_on_is_not_heard(
    tmp_path: Path, known: Knowledge, child: Running, before: bytes, opening: bytes, behind: bytes
) -> None:
    beacon = Beacon(tmp_path, "a")
    for depth in range(1, 1000):
        said = CODEC.encode(Progress("a", 1, depth, depth, 0, {"depth": depth, "nested": b"here"}))
        beacon.say(said.replace(b"\xc4\x04here", before + opening * depth + b"\x01" + behind), depth)
        known.look(child, depth)

        CODEC.encode(
            RootAnswered("", "", {"tree": [known.row(row(), child, worker("a"), last_error="", now_ns=depth)]})
        )

    assert 10 < known.facts("a")["depth"] < 100
    beacon.close()
