"""Which word on a strategy is the last one: the order of the trail, and against an edit the moments that are known."""

import pytest

from actors.console.wishes import FILE_TICK_NS, Wishes, Written
from runtime.clock import NS_PER_S

#: An edit at 100 s by the file, noticed between 10 s and 12 s of the console's own time.
EDIT = Written(100 * NS_PER_S, 10 * NS_PER_S, 12 * NS_PER_S)


@pytest.mark.parametrize(
    ("wall_s", "monotonic_s", "is_behind"),
    [
        (99, 11, False),
        (101, 11, True),
        (101, 9, False),
        (99, 13, True),
        (101, 12, True),
    ],
    ids=["before", "behind", "the-clock-was-set-back", "the-clock-was-set-ahead", "while-it-was-read"],
)
def test_a_word_holds_against_an_edit_that_it_came_behind(wall_s: int, monotonic_s: int, is_behind: bool) -> None:
    wishes = Wishes()
    wishes.take("a", "one", is_enabled=True, wall_ns=wall_s * NS_PER_S, monotonic_ns=monotonic_s * NS_PER_S)
    wishes.hold("a", "one")

    found = wishes.behind(EDIT)
    wishes.edit("a", EDIT)

    assert found == ({"a": True} if is_behind else {})
    assert bool(wishes.overtaken("a", "one")) is not is_behind


def test_a_word_within_one_tick_of_the_file_s_clock_counts_as_the_earlier_one() -> None:
    wishes = Wishes()
    wishes.take("a", "one", is_enabled=True, wall_ns=EDIT.wall_ns + FILE_TICK_NS, monotonic_ns=11 * NS_PER_S)

    wishes.edit("a", EDIT)

    assert wishes.overtaken("a", "one") == "the file was edited after this was asked, and what it says of enabled holds"


def test_a_word_that_came_to_nothing_overtakes_nobody() -> None:
    wishes = Wishes()
    wishes.take("a", "one", is_enabled=False, wall_ns=1, monotonic_ns=1)
    wishes.take("a", "two", is_enabled=True, wall_ns=2, monotonic_ns=2)

    wishes.drop("a", "two")

    assert wishes.overtaken("a", "one") == ""
