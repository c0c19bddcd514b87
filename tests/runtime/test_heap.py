"""Before it forks, a process sees to it that what children write to lies together."""

import subprocess
import sys
from collections.abc import Callable

import pytest

from runtime.heap import code_run_by, lay_together

#: Holes are made among small objects and among large ones; then so many of each are made anew, and their pages counted.
SCRIPT = """
import sys
from runtime.heap import fill_holes

def pages(objects):
    return len({(id(one) + at) >> 12 for one in objects for at in range(0, sys.getsizeof(one), 4096)})

small, large = [bytes(40) for _ in range(40_000)], [bytes(1500) for _ in range(4000)]
del small[::2], large[::2]
if sys.argv[1] == "filled":
    fill_holes()
print(pages([bytes(40) for _ in range(1000)]), pages([bytes(1500) for _ in range(100)]))
"""


def pages_of_a_thousand(how: str) -> tuple[int, int]:
    said = subprocess.run(
        [sys.executable, "-c", SCRIPT, how], check=True, capture_output=True, text=True
    ).stdout.split()
    return int(said[0]), int(said[1])


def test_what_is_made_once_the_holes_are_filled_lies_together() -> None:
    small, large = pages_of_a_thousand("filled")
    small_before, large_before = pages_of_a_thousand("as it is")

    assert small <= 1000 * 80 // 4096 + 4
    assert large <= 100 * 1600 // 4096 + 8
    assert small < small_before
    assert large < large_before


def counter(start: int) -> Callable[[], list[int]]:
    seen = [start]

    def count() -> list[int]:
        seen.append(max(each + 1 for each in seen))
        return [each for each in seen if each]

    return count


def never_run() -> int:
    return 1


def test_functions_with_copied_code_are_the_same_functions_and_do_the_same() -> None:
    count = counter(3)
    codes = code_run_by(lambda: (count(), None)[1])
    before, untouched = (count, count.__code__), never_run.__code__

    lay_together(codes)

    assert count is before[0]
    assert count.__code__ is not before[1]
    assert count.__code__ == before[1]
    assert count.__code__.co_filename == __file__
    assert (count(), counter(0)()) == ([3, 4, 5], [1])
    assert never_run.__code__ is untouched


def test_whoever_watches_a_life_that_fails_is_told_and_watches_no_more() -> None:
    def fails() -> None:
        raise KeyError

    with pytest.raises(KeyError):
        code_run_by(fails)

    assert sys.getprofile() is None
