"""A child gives back the pages that it wrote to for nothing, and nothing that it can see is another thing by that."""

import ctypes
import json
import mmap
import os
import subprocess
import sys
from array import array
from typing import Any

import pytest

from runtime.clock import NS_PER_S
from runtime.commons import FIRST_NS, PAUSE_NS, SLOTS, Borrowed, Commons
from runtime.unbroken import UnbrokenError, address_of, run_unbroken
from tests.runtime.bakehouse import REPOSITORY

SEEDS = 12

pytestmark = pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="objects lie in another way there")


def told_by(*children: str) -> list[Any]:
    ended = subprocess.run(
        [sys.executable, "-m", "tests.runtime.with_commons", *children],
        cwd=REPOSITORY,
        env={"PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return [json.loads(line) for line in ended.stdout.splitlines()]


def test_a_child_that_gives_back_at_each_step_goes_on_as_one_that_never_does() -> None:
    lives = told_by(*(f"lives,{seed},{how}" for seed in range(SEEDS) for how in ("giving", "keeping")))

    for (giving, given), (keeping, _) in zip(lives[::2], lives[1::2], strict=True):
        assert giving == keeping
        assert given > 100
    assert len({digest for digest, _ in lives}) == SEEDS


def test_a_child_that_has_only_looked_gives_most_of_its_pages_back() -> None:
    [(before, pages, after)] = told_by("reads")

    assert pages > 200
    assert after < before / 2


def test_a_child_of_two_threads_keeps_its_pages_until_there_is_one() -> None:
    [(together, alone)] = told_by("threads")

    assert together == 0
    assert alone > 20


def test_no_child_can_write_to_what_all_look_at() -> None:
    assert told_by("writes") == [[-1]]


def test_whoever_has_nothing_in_common_gives_nothing_back_and_is_at_rest_at_once() -> None:
    borrowed = Borrowed(Commons(), 0)

    assert (borrowed.give_back(), borrowed.rest(0)) == (0, 0)


def test_before_the_first_time_and_between_two_lies_a_pause_and_each_process_has_its_second() -> None:
    pool = mmap.mmap(-1, 1 << 14)
    address = ctypes.addressof(ctypes.c_char.from_buffer(pool))
    commons = Commons(array("Q", (address, len(pool), address)), living=b"\0")
    borrowed, given, waits = Borrowed(commons, 0), list[int](), list[tuple[int, int]]()

    for second in range(10 * SLOTS):
        again_ns = borrowed.rest(second * NS_PER_S)
        if again_ns:
            waits.append((second, again_ns // NS_PER_S))
        else:
            given.append(second)

    assert given[0] >= FIRST_NS // NS_PER_S
    assert given == [*range(given[0], 10 * SLOTS, PAUSE_NS // NS_PER_S)]
    assert given[0] % SLOTS == os.getpid() % SLOTS
    assert all(until == next(one for one in given if one > second) for second, until in waits if second < given[-1])


def test_calls_are_made_one_after_another() -> None:
    here = (ctypes.c_char * 8)(*b"abcdefgh")
    place, copy = ctypes.addressof(here), address_of("memmove")

    run_unbroken([(copy, (place + 1, place, 2)), (copy, (place + 4, place, 4)), (address_of("memset"), (place, 46, 1))])

    assert here.raw == b".abdaabd"


def test_a_function_that_is_not_there_is_told_before_anything_is_called() -> None:
    with pytest.raises(UnbrokenError, match="no such_a_thing"):
        address_of("such_a_thing")
