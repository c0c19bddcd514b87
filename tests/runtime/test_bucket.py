"""A token bucket grants its burst at once and its rate in the long run, whenever it is asked."""

from hypothesis import given
from hypothesis import strategies as st

from runtime.bucket import Bucket
from runtime.clock import NS_PER_S

STEPS = st.lists(st.integers(min_value=0, max_value=3 * NS_PER_S), min_size=1, max_size=200)


@given(STEPS, st.integers(min_value=1, max_value=50), st.integers(min_value=1, max_value=50))
def test_never_more_than_the_burst_and_the_rate_is_granted(steps: list[int], rate: int, burst: int) -> None:
    bucket, now_ns, granted = Bucket(rate, burst, 0), 0, 0
    for step_ns in steps:
        now_ns += step_ns
        granted += bucket.take(now_ns)

    assert granted <= burst + rate * now_ns / NS_PER_S + 1e-6


@given(st.integers(min_value=1, max_value=50), st.integers(min_value=1, max_value=50))
def test_the_burst_is_granted_at_once_and_the_rate_when_it_was_earned(rate: int, burst: int) -> None:
    bucket = Bucket(rate, burst, 0)

    assert [bucket.take(0) for _ in range(burst + 1)] == [True] * burst + [False]
    assert not bucket.take(NS_PER_S // rate - NS_PER_S // 1000)
    assert bucket.take(NS_PER_S // rate + NS_PER_S // 1000)


def test_what_is_owed_is_paid_before_anything_is_granted() -> None:
    bucket = Bucket(10, 10, 0)
    bucket.charge(30, 0)

    assert (bucket.left(0), bucket.left(2 * NS_PER_S), bucket.left(3 * NS_PER_S)) == (0, 0, 10)


def test_a_clock_that_stands_or_steps_back_grants_nothing() -> None:
    bucket = Bucket(10, 1, 10 * NS_PER_S)
    assert bucket.take(10 * NS_PER_S)

    assert not bucket.take(10 * NS_PER_S)
    assert not bucket.take(0)


def test_an_unused_bucket_is_full_and_a_used_one_becomes_so() -> None:
    bucket = Bucket(2, 4, 0)
    assert bucket.is_full(0)
    bucket.charge(4, 0)

    assert [bucket.is_full(seconds * NS_PER_S) for seconds in (0, 1, 2)] == [False, False, True]
