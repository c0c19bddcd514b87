"""Each child is looked at once a round, and so few at a time that nobody waits for it."""

from itertools import pairwise

import pytest

from runtime.process import Running
from runtime.rounds import FEW, ROUND_NS, Rounds


def children(number: int) -> list[Running]:
    return [Running(f"s{one}", 1, one, one) for one in range(number)]


def looks(rounds: Rounds, until_ns: int) -> list[tuple[int, int]]:
    """Take whenever it is due; give when that was, and how many were taken."""
    taken = [(rounds.due_ns, len(rounds.take(rounds.due_ns)))]
    while rounds.due_ns < until_ns:
        taken.append((rounds.due_ns, len(rounds.take(rounds.due_ns))))
    return taken


def test_the_first_round_is_due_at_once_and_has_nobody() -> None:
    rounds = Rounds(7)

    assert rounds.due_ns == 7
    assert rounds.is_over(7)
    assert rounds.take(7) == ()


@pytest.mark.parametrize("number", [0, 1, FEW])
def test_a_few_children_are_one_look_at_the_beginning_of_the_round(number: int) -> None:
    rounds = Rounds(0)
    rounds.begin(children(number), 0)

    assert len(rounds.take(0)) == number
    assert rounds.is_complete
    assert rounds.due_ns == ROUND_NS


@pytest.mark.parametrize("number", [FEW + 1, 1000, 1024, 5000])
def test_many_children_are_looked_at_a_few_at_a_time_all_through_the_round(number: int) -> None:
    rounds = Rounds(0)
    rounds.begin(children(number), 0)
    first = len(rounds.take(0))

    taken = looks(rounds, ROUND_NS)

    assert first + sum(count for _, count in taken) == number
    assert max(first, *(count for _, count in taken)) <= FEW
    assert rounds.due_ns == ROUND_NS
    gaps = {after - before for (before, _), (after, _) in pairwise(taken)}
    assert max(gaps, default=0) <= -(-ROUND_NS // (number // FEW))


def test_whoever_is_late_looks_at_all_that_were_due_meanwhile() -> None:
    rounds = Rounds(0)
    rounds.begin(children(10 * FEW), 0)
    rounds.take(0)

    assert len(rounds.take(ROUND_NS // 2)) == 5 * FEW
    assert not rounds.is_complete
    assert len(rounds.take(9 * ROUND_NS)) == 4 * FEW
    assert rounds.is_complete
    assert rounds.is_over(9 * ROUND_NS)


def test_each_child_has_its_turn_at_the_same_time_of_every_round() -> None:
    rounds, some = Rounds(0), children(1000)
    turns: dict[Running, list[int]] = {child: [] for child in some}
    for number in range(3):
        rounds.begin(some, number * ROUND_NS)
        now_ns = number * ROUND_NS
        while not rounds.is_over(now_ns):
            for child in rounds.take(now_ns):
                turns[child].append(now_ns)
            now_ns = rounds.due_ns

    assert all(len(at_ns) == 3 for at_ns in turns.values())
    assert all(after - before == ROUND_NS for at_ns in turns.values() for before, after in pairwise(at_ns))
