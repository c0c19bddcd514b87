"""Items that were said together travel in few frames, and are the same items."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.errors import WireError
from runtime.link import RUN_BYTES_MAX, RUN_MAX
from runtime.stream import Item, items_of, run_of, together

#: topic, whether its sequence is the next one (else one is left out), length of the body.
SAID = st.lists(st.tuples(st.sampled_from(["BTC", "ETH", ""]), st.booleans(), st.integers(0, 3)), max_size=150)


def _items(said: list[tuple[str, bool, int]]) -> list[Item]:
    """Number items as an owner does; topic "" has no memory. Where one is left out, its successor names it."""
    items: list[Item] = []
    last = {"BTC": 0, "ETH": 0}
    sequence = 0
    for topic, is_next, length in said:
        if not topic:
            items.append((topic, 0, 0, bytes(length)))
            continue
        for number in range(1 if is_next else 2):
            sequence += 1
            previous, last[topic] = last[topic], sequence
            if is_next or number:
                items.append((topic, sequence, previous, b"%d" % sequence * length))
    return items


@given(SAID)
def test_whatever_is_said_together_is_heard_whole_and_in_order_with_every_gap(
    said: list[tuple[str, bool, int]],
) -> None:
    items = _items(said)
    heard: list[Item] = []
    for run in together(items):
        topic, first, previous, body = run[0]
        if len(run) == 1:
            heard.append((topic, first, previous, body))
            continue
        assert topic, "what has no memory travels alone"
        for sequence, each in items_of(b"beside" + run_of(run), len(b"beside")):
            heard.append((topic, sequence, previous, each))
            previous = sequence

    assert heard == items


def test_no_run_is_larger_than_runs_may_be_and_one_that_may_be_one_is_not_parted() -> None:
    half = bytes(RUN_BYTES_MAX // 2)
    assert [len(run) for run in together(("t", n + 1, n, b"") for n in range(2 * RUN_MAX + 3))] == [RUN_MAX, RUN_MAX, 3]
    assert [len(run) for run in together(("t", n + 1, n, half) for n in range(5))] == [2, 2, 1]
    large = [("t", 1, 0, b""), ("t", 2, 1, 3 * half), ("t", 3, 2, b"")]
    assert [len(run) for run in together(large)] == [1, 1, 1]


@given(st.lists(st.binary(max_size=4), min_size=2, max_size=4), st.data())
def test_a_run_that_lost_its_end_or_got_another_is_refused(bodies: list[bytes], data: st.DataObject) -> None:
    run = run_of([("t", number + 1, number, body) for number, body in enumerate(bodies)])
    ends, at = {0}, 0
    for body in bodies:
        at += 12 + len(body)
        ends.add(at)
    short = data.draw(st.integers(0, len(run) - 1))
    if short not in ends or not short:
        with pytest.raises(WireError, match="a run of items"):
            items_of(run[:short], 0)
    with pytest.raises(WireError, match="a run of items"):
        items_of(run + b"x", 0)
