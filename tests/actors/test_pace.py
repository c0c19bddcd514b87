"""How execution paces what it sends: the breaker, the queue, and the latencies that it tells."""

from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from actors.execution.breaker import Breaker, BreakerState
from actors.execution.latency import Histogram, Latencies
from actors.execution.pace import Pace
from actors.settings import ExecutionSettings
from desk.messages import DeskNoted, OrderState, OrdersWanted, Purpose, SubmitOrder
from desk.units import DAY_NS, NS_PER_MS, NS_PER_S
from desk.venue import KRAKEN, Instrument
from tests.actors.lone_execution import Faults, LoneExecution
from tests.desk.orders import an_order
from tests.runtime.fakes import HandClock

S = NS_PER_S
SETTINGS = ExecutionSettings()


# --- the breaker ------------------------------------------------------------------------------


def test_a_breaker_opens_after_a_slow_answer_and_closes_after_a_good_one_of_its_probe() -> None:
    breaker = Breaker(SETTINGS)
    breaker.hear_answer("a", 5 * S, 0)
    was = breaker.objection(0)
    breaker.hear_answer("b", 6 * S, S)

    states = [breaker.state(at) for at in (S, 61 * S - 1, 61 * S)]
    breaker.lets_pass("c", 61 * S)
    waits = breaker.objection(61 * S)
    breaker.hear_answer("c", NS_PER_MS, 62 * S)

    assert was == ""
    assert states == [BreakerState.OPEN, BreakerState.OPEN, BreakerState.HALF_OPEN]
    assert "c" in waits
    assert (breaker.state(62 * S), breaker.objection(62 * S)) == (BreakerState.CLOSED, "")


def test_a_breaker_opens_when_enough_orders_in_a_row_got_no_answer() -> None:
    breaker = Breaker(SETTINGS)
    for order_id in ("a", "b"):
        breaker.hear_unclear(order_id, 0)
    breaker.hear_answer("c", S, 0)
    for order_id in ("d", "e"):
        breaker.hear_unclear(order_id, 0)
    was = breaker.state(0)

    breaker.hear_unclear("f", 0)

    assert (was, breaker.state(0)) == (BreakerState.CLOSED, BreakerState.OPEN)
    assert breaker.objection(0).startswith("BREAKER_OPEN: 3 orders in a row without an answer")


def test_each_failed_probe_doubles_the_time_up_to_the_longest_and_a_good_one_begins_anew() -> None:
    breaker, now_ns, spans = Breaker(SETTINGS), 0, list[float]()
    for _ in range(6):
        breaker.hear_slow("a", 6 * S, now_ns)
        breaker.hear_slow("a", 6 * S, now_ns + S)  # while it is open nothing makes it longer
        spans.append(breaker.facts(now_ns)["left_s"])
        now_ns += int(spans[-1] * S)
    breaker.hear_answer("b", S, now_ns)
    breaker.hear_slow("c", 6 * S, now_ns)

    assert spans == [60, 120, 240, 480, 900, 900]
    assert breaker.facts(now_ns)["left_s"] == 60


def test_a_probe_that_ends_without_a_word_of_the_venue_makes_way_for_another() -> None:
    breaker = Breaker(SETTINGS)
    breaker.hear_slow("a", 6 * S, 0)
    breaker.lets_pass("b", 60 * S)
    was = breaker.objection(60 * S)

    breaker.lose("b")

    assert was.startswith("BREAKER_OPEN")
    assert breaker.objection(60 * S) == ""


EVENTS = st.lists(st.tuples(st.sampled_from(["good", "slow", "unclear", "probe", "lost"]), st.integers(0, 200)))


@given(EVENTS)
def test_a_breaker_always_lets_an_entry_pass_again_in_the_end_and_never_while_it_is_open(
    events: list[tuple[str, int]],
) -> None:
    breaker, now_ns = Breaker(SETTINGS), 0
    for number, (event, pause_s) in enumerate(events):
        now_ns += pause_s * S
        match event:
            case "good":
                breaker.hear_answer(f"{number}", S, now_ns)
            case "slow":
                breaker.hear_answer(f"{number}", 6 * S, now_ns)
            case "unclear":
                breaker.hear_unclear(f"{number}", now_ns)
            case "probe":
                breaker.lets_pass("p", now_ns)
            case _:
                breaker.lose("p")
        is_open = breaker.state(now_ns) is BreakerState.OPEN
        assert not is_open or breaker.objection(now_ns)
        assert 0 <= breaker.facts(now_ns)["left_s"] <= SETTINGS.breaker_open_max_s
    breaker.lose("p")

    assert breaker.objection(now_ns + 900 * S) == ""


# --- latencies --------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 3600 * S), min_size=1), st.sampled_from([0.5, 0.9, 0.95, 0.99, 1.0]))
def test_a_percentile_is_at_or_little_above_the_true_one(spans: list[int], share: float) -> None:
    histogram = Histogram()
    for span in spans:
        histogram.add(span)
    true = next(s for n, s in enumerate(sorted(spans), 1) if n >= share * len(spans))

    assert true <= histogram.percentile_ns(share) <= true + max(true / 16, 1024)


def test_a_session_ends_with_the_day_and_says_what_it_came_to() -> None:
    latencies = Latencies()
    assert latencies.pass_time(DAY_NS * 10) is None
    latencies.answer.add(NS_PER_MS)

    same, ended = latencies.pass_time(DAY_NS * 10 + 1), latencies.pass_time(DAY_NS * 11)

    assert same is None
    assert ended is not None
    assert (ended["answer"]["count"], ended["fill"]["count"]) == (1, 0)
    assert latencies.facts()["answer"] == {"count": 0, "p50_ms": 0, "p90_ms": 0, "p95_ms": 0, "p99_ms": 0}


def test_an_answer_counts_from_when_the_attempt_left_and_a_market_orders_fill_from_its_first() -> None:
    clock = HandClock()
    pace, order = Pace(SETTINGS, clock, ()), an_order(OrderState.PENDING)
    pace.follow(order)
    pace.leaves(order)
    clock.advance_ns(8 * NS_PER_MS)
    pace.hear_unclear(order, "no answer")
    pace.follow(replace(order, state=OrderState.UNKNOWN, venue_order_id=""))
    pace.leaves(order)
    clock.advance_ns(2 * NS_PER_MS)
    pace.follow(replace(order, state=OrderState.SUBMITTED))
    clock.advance_ns(2 * NS_PER_MS)
    for filled in (1, 10):
        pace.follow(replace(order, state=OrderState.PARTIALLY_FILLED, filled_quantity=Decimal(filled)))

    facts = pace.facts()["latency"]

    assert (facts["answer"]["count"], facts["fill"]["count"]) == (1, 1)
    assert 2 <= facts["answer"]["p50_ms"] < 2.2
    assert 12 <= facts["fill"]["p50_ms"] < 12.8


def test_the_depth_counts_what_is_journalled_and_not_answered_also_from_before_the_start() -> None:
    unknown = replace(an_order(OrderState.UNKNOWN), order_id="u", venue_order_id="")
    pace = Pace(SETTINGS, HandClock(), (unknown, replace(an_order(), order_id="s")))
    pending = an_order(OrderState.PENDING)
    pace.follow(pending)
    depth = pace.depth
    pace.follow(replace(pending, state=OrderState.REJECTED))
    pace.follow(replace(unknown, state=OrderState.SUBMITTED, venue_order_id="v"))

    assert (depth, pace.depth) == (2, 0)


# --- in the room ------------------------------------------------------------------------------


Begin = Callable[[], LoneExecution]


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Begin]:
    begun: list[LoneExecution] = []

    def begin() -> LoneExecution:
        begun.append(LoneExecution(tmp_path, KRAKEN))
        begun[-1].run(1)
        return begun[-1]

    yield begin
    for one in begun:
        assert one.store is not None
        one.store.close()


def test_beyond_the_depth_entries_are_refused_and_exits_leave(begin: Begin) -> None:
    lone = begin()
    held = lone.enter(0)
    lone.run(2)
    names = [lone.enter(number) for number in range(1, 13)]
    states = [lone.order(name).state for name in names]
    reason = lone.order(names[10]).reason
    leaving = lone.leave(50, 0)
    lone.run(5)
    again = lone.enter(60)
    lone.run(5)

    assert states == [OrderState.PENDING] * 10 + [OrderState.REJECTED] * 2
    assert reason.startswith("BACKPRESSURE: 10 orders wait")
    assert [lone.order(name).state for name in (held, leaving, again)] == [OrderState.FILLED] * 3


def test_behind_an_open_breaker_entries_are_refused_and_what_reduces_or_protects_leaves(begin: Begin) -> None:
    lone = begin()
    for number in range(3):
        lone.enter(number, symbol="SPY" if number < 2 else "QQQ")
    lone.run(2)
    lone.faults = Faults(dropped=1.0)
    for number, symbol in enumerate(("SPY", "QQQ", "IWM"), 10):
        lone.enter(number, symbol=symbol)
    lone.run(0.3)
    lone.faults = Faults()
    lone.run(5)
    refused, leaving = lone.enter(20), lone.leave(50, 0)
    facts = lone.room.facts()["pace"]["breaker"]
    lone.run(10)
    stops = {o.symbol: o.state for o in lone.room._orders.working() if o.purpose is Purpose.STOP_LOSS}
    lone.run(60)
    resumed = lone.enter(30)
    lone.run(5)

    assert lone.order(refused).reason.startswith("BREAKER_OPEN: 3 orders in a row without an answer")
    assert (facts["state"], facts["left_s"] > 0) == ("open", True)
    assert lone.order(leaving).state is OrderState.FILLED
    assert stops == dict.fromkeys(("SPY", "QQQ", "IWM"), OrderState.SUBMITTED)
    assert lone.order(resumed).state is OrderState.FILLED
    assert lone.room.facts()["pace"]["breaker"]["state"] == "closed"


def test_a_thousand_doubtful_orders_cost_ten_questions(begin: Begin) -> None:
    lone = begin()
    lone.room._pace.reconfigure(ExecutionSettings(queue_max=2000, breaker_failures=2000))
    for number in range(1000):
        lone.enter(number, symbol=f"S{number}", limit="1")
    lone.gateway_falls()
    before = len(lone.sent)
    effects = lone.room.timer("resolve")

    asked = [post.word for post in effects.posts if isinstance(post.word, OrdersWanted)]

    assert [len(word.order_ids) for word in asked] == [100] * 10
    assert len({name for word in asked for name in word.order_ids}) == 1000
    assert not any(isinstance(word, SubmitOrder) for word in lone.sent[before:])


# --- what the venue demands -------------------------------------------------------------------


def test_entries_and_what_rests_fit_the_lot_and_the_tick(begin: Begin) -> None:
    lone = begin()
    lone.demands = DEMANDS
    lone.run(70)
    name = lone.enter(1, quantity="1.27", stop="90.3")
    small, poor = lone.enter(2, quantity="0.15", limit="99.9"), lone.enter(3, quantity="2000")
    lone.run(5)

    assert lone.order(name).quantity == Decimal("1.2")
    assert resting(lone) == [(Decimal("1.2"), Decimal("90.5"))]
    assert lone.order(small).reason == "PREVALIDATION: 9.95 for SPY is below the venue's least, 20"
    assert lone.order(poor).reason.startswith("PREVALIDATION: 200000 for SPY is more than the 99")
    assert not {small, poor} & {word.order_id for word in lone.sent if isinstance(word, SubmitOrder)}


def test_an_exit_is_cut_to_the_lot_and_never_refused_and_what_is_left_is_said(begin: Begin) -> None:
    lone = begin()
    lone.enter(1, quantity="1.27", stop="90.3")
    lone.run(5)
    before = resting(lone)
    lone.demands = DEMANDS
    lone.run(70)
    after = resting(lone)
    out = lone.leave(50, 1, quantity="1.27")
    lone.run(5)
    dust = lone.leave(51, 1, quantity="0.07")
    lone.run(130)
    notes = [r.body.text for r in lone.journal() if isinstance(r.body, DeskNoted) and r.body.kind.startswith("dust")]

    assert (before, after) == ([(Decimal("1.27"), Decimal("90.3"))], [(Decimal("1.2"), Decimal("90.5"))])
    assert lone.order(out).filled_quantity == Decimal("1.2")
    assert notes == ["alpha holds 0.07 SPY, less than one lot: it stays, and nothing rests for it"]
    assert lone.order(dust).filled_quantity == Decimal("0.07")  # this venue takes it after all


DEMANDS = (Instrument(symbol="SPY", lot=Decimal("0.1"), tick=Decimal("0.5"), notional_min=Decimal(20)),)


def resting(lone: LoneExecution) -> list[tuple[Decimal, Decimal | None]]:
    stops = [order for order in lone.room._orders.working() if order.purpose is Purpose.STOP_LOSS]
    return [(order.quantity, order.stop_price) for order in stops]
