"""What execution does while nobody knows what has become of an order, and what ends that."""

from collections.abc import Callable, Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from desk.identity import order_id
from desk.messages import (
    CancelOrder,
    DeskNoted,
    Effect,
    IntentJudged,
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    OrderRejected,
    OrderState,
    OrdersWanted,
    OrderUnclear,
    Purpose,
    ReplaceOrder,
    SubmitOrder,
    VenueWanted,
)
from desk.units import NS_PER_S, ZERO
from desk.venue import ALPACA, KRAKEN, Instrument, VenueTraits
from runtime.effects import Effects
from tests.actors.lone_execution import VENUE, Faults, LoneExecution
from tests.desk.orders import an_intent

Begin = Callable[..., LoneExecution]
ONE = Decimal(1)


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Begin]:
    begun: list[LoneExecution] = []

    def begin(traits: VenueTraits = KRAKEN, *, seed: int = 0, **faults: float) -> LoneExecution:
        folder = tmp_path / str(len(begun))
        folder.mkdir()
        begun.append(LoneExecution(folder, traits, seed=seed, faults=Faults(**faults)))
        begun[-1].run(1)
        return begun[-1]

    yield begin
    for one in begun:
        assert one.store is not None
        with closing(one.store):
            pass


def faults(lone: LoneExecution, **rates: float) -> None:
    lone.faults = Faults(**rates)


def sent(lone: LoneExecution, kind: type[msgspec.Struct]) -> list[msgspec.Struct]:
    return [word for word in lone.sent if isinstance(word, kind)]


def submits(lone: LoneExecution) -> list[str]:
    return [word.order_id for word in lone.sent if isinstance(word, SubmitOrder) and word.stop_price is None]


BOTH = pytest.mark.parametrize("traits", [KRAKEN, ALPACA], ids=["ids while open", "ids for ever"])


@BOTH
def test_an_order_whose_answer_was_lost_is_found_and_not_sent_again(begin: Begin, traits: VenueTraits) -> None:
    lone = begin(traits)
    faults(lone, dropped=1.0)

    name = lone.enter(1)
    lone.run(0.1)
    was = lone.order(name).state
    faults(lone)
    lone.run(10)

    assert was in {OrderState.UNKNOWN, OrderState.FILLED}
    assert (lone.order(name).state, submits(lone)) == (OrderState.FILLED, [name])
    assert lone.exchange.positions() == {"SPY": ONE}


def test_an_order_that_never_arrived_is_sent_under_another_name_behind_the_fence(begin: Begin) -> None:
    lone = begin()
    faults(lone, lost=1.0)
    name = lone.enter(1)
    lone.run(0.1)
    faults(lone)

    lone.run((KRAKEN.deadline_ns + KRAKEN.margin_ns) / NS_PER_S - 0.2)
    before = submits(lone)
    lone.run(10)

    assert before == [name]
    assert len(submits(lone)) == len(set(submits(lone))) == 2
    order = lone.order(name)
    assert (order.state, order.attempt, order.filled_quantity) == (OrderState.FILLED, 2, ONE)
    assert lone.exchange.positions() == {"SPY": ONE}


def test_an_entry_whose_intent_has_died_ends_as_expired_behind_the_fence(begin: Begin) -> None:
    lone = begin()
    faults(lone, lost=1.0)
    name = lone.enter(1)
    lone.run(0.1)
    faults(lone)
    lone.room._pass_time(lone.clock.wall_ns() + 40 * NS_PER_S, lone.room.timer("none"))

    lone.run(20)

    assert lone.order(name).state is OrderState.EXPIRED
    assert (submits(lone), lone.exchange.orders) == ([name], [])


def test_a_late_order_is_found_before_the_fence_closes_and_never_doubled(begin: Begin) -> None:
    for seed in range(10):
        lone = begin(seed=seed)
        faults(lone, late=1.0)
        name = lone.enter(1)
        lone.run(0.1)
        faults(lone)

        lone.run(60)

        assert lone.order(name).state is OrderState.FILLED
        assert lone.exchange.positions() == {"SPY": ONE}


def test_a_deadline_refusal_ends_the_attempt_and_not_the_order(begin: Begin) -> None:
    lone = begin()
    lone.exchange.skew_ns = 6 * NS_PER_S
    name = lone.enter(1)
    lone.run(0.03)
    lone.exchange.skew_ns = 0

    lone.run(10)

    order = lone.order(name)
    assert (order.state, len(submits(lone)) > 1) == (OrderState.FILLED, True)
    assert lone.exchange.positions() == {"SPY": ONE}


def test_where_ids_are_unique_for_ever_the_same_name_is_sent_again(begin: Begin) -> None:
    lone = begin(ALPACA)
    faults(lone, lost=1.0)
    name = lone.enter(1)
    lone.run(0.1)
    faults(lone)

    lone.run(10)

    assert set(submits(lone)) == {name}
    assert (lone.order(name).state, lone.exchange.positions()) == (OrderState.FILLED, {"SPY": ONE})


def test_without_deadline_an_absent_order_stays_unknown_once_its_intent_has_died(begin: Begin) -> None:
    lone = begin(ALPACA)
    faults(lone, lost=1.0)
    name = lone.enter(1)
    lone.run(0.1)
    lone.room._pass_time(lone.clock.wall_ns() + 40 * NS_PER_S, lone.room.timer("none"))
    faults(lone)

    lone.run(600)
    refused = lone.enter(2)
    elsewhere = lone.enter(3, symbol="QQQ")
    lone.run(1)

    assert lone.order(name).state is OrderState.UNKNOWN
    assert lone.order(refused).reason.startswith("UNKNOWN_ORDER")
    assert lone.order(elsewhere).state is OrderState.FILLED


@BOTH
@pytest.mark.parametrize("fault", ["falls_before", "falls_after"])
def test_a_fall_around_the_write_ahead_leaves_one_order(begin: Begin, traits: VenueTraits, fault: str) -> None:
    lone, filled = begin(traits), ZERO
    for number in range(1, 6):
        faults(lone, **{fault: 0.4})
        name = lone.enter(number)
        faults(lone)
        lone.run(30)
        order = lone.order(name)
        filled += order.filled_quantity
        assert order.state is OrderState.FILLED or order.reason.startswith("GATE_CLOSED")

    assert filled > ZERO
    assert lone.exchange.positions() == {"SPY": filled}
    assert sorted(f.execution_id for f in lone.booked()) == sorted(f.execution_id for f in lone.exchange.fills)


@BOTH
def test_what_was_under_way_when_the_venues_process_fell_is_asked_for(begin: Begin, traits: VenueTraits) -> None:
    lone = begin(traits)
    name = lone.enter(1)

    lone.gateway_falls()
    was = lone.order(name).state
    lone.run(30)

    assert was is OrderState.UNKNOWN
    assert lone.order(name).state is OrderState.FILLED
    assert lone.exchange.positions() == {"SPY": ONE}


def test_an_attempt_that_was_proved_absent_and_lives_all_the_same_halts_the_desk(begin: Begin) -> None:
    lone = begin()
    faults(lone, lost=1.0)
    name = lone.enter(1)
    lone.run(0.1)
    faults(lone)
    lone.run(10)
    filled = lone.order(name).filled_quantity

    lone.say(OrderAccepted(0, name, "ghost", 0))
    lone.say(OrderFilled(0, name, "ghost-1", ONE, Decimal(100), ZERO, False, ZERO, 0))

    assert "GHOST_ATTEMPT" in (lone.sentinel.reason() or "")
    assert [word.venue_order_id for word in lone.sent if isinstance(word, CancelOrder)][-1:] == ["ghost"]
    assert lone.order(name).filled_quantity == filled + 1, "what traded is booked all the same"


def test_more_than_was_ordered_is_booked_and_halts_the_desk(begin: Begin) -> None:
    lone = begin()
    name = lone.enter(1)
    lone.run(1)

    lone.say(OrderFilled(0, name, "more", ONE, Decimal(100), ZERO, False, ZERO, 0))

    assert "OVERFILL" in (lone.sentinel.reason() or "")
    assert lone.order(name).filled_quantity == 2


def an_approval(lone: LoneExecution, number: int) -> IntentJudged:
    now_ns = lone.clock.wall_ns()
    intent = msgspec.structs.replace(
        an_intent(), intent_id=f"i{number}", decided_ns=now_ns, expires_ns=now_ns + 30 * NS_PER_S, tag=f"t{number}"
    )
    return IntentJudged(order_id(intent.intent_id), intent, ONE, (), now_ns)


def test_a_halt_that_comes_within_a_turn_stops_the_entries_that_the_turn_judges_behind_it(begin: Begin) -> None:
    lone = begin()
    name = lone.enter(1)
    lone.run(1)
    before, behind = an_approval(lone, 2), an_approval(lone, 3)
    too_much = OrderFilled(0, name, "more", ONE, Decimal(100), ZERO, False, ZERO, 0)

    def turn() -> Effects:
        effects = lone.room.hear("risk", 1, before)
        effects.add(lone.room.hear(VENUE, lone.epoch, too_much))
        effects.add(lone.room.hear("risk", 1, behind))
        return effects

    lone._do(turn)

    assert lone.order(before.order_id).state is OrderState.PENDING
    assert "HALTED: OVERFILL" in lone.order(behind.order_id).reason


def test_a_halt_that_comes_between_two_turns_stops_the_entries_of_the_second(begin: Begin) -> None:
    lone = begin()
    first, second = an_approval(lone, 2), an_approval(lone, 3)

    lone.hear_risk(first)
    lone.sentinel.write("enough")
    lone.hear_risk(second)

    assert lone.order(first.order_id).state is OrderState.PENDING
    assert lone.order(second.order_id).reason == "HALTED: enough"


def test_what_other_hands_trade_in_the_account_is_noted_once(begin: Begin) -> None:
    lone = begin()
    theirs = OrderFilled(0, "", "e-theirs", ONE, Decimal(100), ZERO, False, ZERO, 0)

    for _ in range(3):
        lone.say(theirs)

    kinds = [body.kind for record in lone.journal() if isinstance(body := record.body, DeskNoted)]
    assert kinds.count("unknown_order") == 1


def test_clocks_that_differ_close_the_gate_where_deadlines_are_the_fence(begin: Begin) -> None:
    lone = begin()
    lone.exchange.skew_ns = NS_PER_S
    lone.run(61)

    name = lone.enter(1)

    assert lone.order(name).state is OrderState.REJECTED
    assert "ahead of ours" in lone.order(name).reason


@BOTH
def test_a_stop_rests_as_soon_as_the_first_part_fills_and_grows_with_it(begin: Begin, traits: VenueTraits) -> None:
    lone = begin(traits, parts=1.0)
    name = lone.enter(1, quantity="4", limit="99")
    lone.run(1)
    resting: list[tuple[Decimal, Decimal]] = []
    for price in ("98", "97", "96", "95"):
        lone.exchange.move(Decimal(price))
        lone.run(5)
        stops = [o for o in lone.exchange.orders if o.is_open and o.command.stop_price is not None]
        assert len(stops) == 1
        resting.append((stops[0].quantity, lone.exchange.positions()["SPY"]))

    assert len({held for _, held in resting}) > 1
    assert all(quantity == held for quantity, held in resting)
    assert len(sent(lone, ReplaceOrder)) >= 2
    assert lone.order(name).purpose is Purpose.ENTRY


@BOTH
def test_a_stop_that_the_venue_cancelled_is_placed_again(begin: Begin, traits: VenueTraits) -> None:
    lone = begin(traits)
    lone.enter(1)
    lone.run(5)
    stop = next(o for o in lone.exchange.orders if o.command.stop_price is not None)
    lone.exchange.cancel(stop.name)

    lone.run(120)

    stops = [o for o in lone.exchange.orders if o.is_open and o.command.stop_price is not None]
    assert [o.quantity for o in stops] == [ONE]


@BOTH
def test_an_exit_leaves_only_after_its_stop_is_gone_and_closes_what_is_held(begin: Begin, traits: VenueTraits) -> None:
    lone = begin(traits)
    lone.enter(1)
    lone.run(5)

    exit_name = lone.leave(2, 1)
    lone.run(5)

    assert lone.order(exit_name).state is OrderState.FILLED
    assert lone.exchange.positions() == {}
    assert not [o for o in lone.exchange.orders if o.is_open]


@BOTH
def test_a_look_that_still_finds_open_what_was_cancelled_has_it_cancelled_once_more(
    begin: Begin, traits: VenueTraits
) -> None:
    lone = begin(traits)
    lone.enter(1)
    lone.run(5)
    open_still = lone._snapshot(VenueWanted(99))
    faults(lone, lost=1.0)
    lone.leave(2, 1)
    before = len(lone.sent)

    lone.say(open_still)

    assert len([word for word in lone.sent[before:] if isinstance(word, CancelOrder)]) == 1


@BOTH
def test_an_exit_whose_stop_traded_in_part_before_its_cancel_closes_what_is_left(
    begin: Begin, traits: VenueTraits
) -> None:
    lone = begin(traits)
    lone.enter(1)
    lone.run(5)

    exit_name = lone.leave(2, 1)
    lone.exchange.trade_stop(Decimal("0.4"))
    lone.run(5)

    left = lone.order(exit_name)
    assert (left.state, left.quantity) == (OrderState.FILLED, Decimal("0.6"))
    assert left.reason == "CAPPED: 0.6 of 1 is held any more"
    assert lone.exchange.positions() == {}


def test_an_exit_whose_stop_left_less_than_a_lot_ends_and_sells_nothing(begin: Begin) -> None:
    lone = begin(KRAKEN)
    lone.demands = (Instrument(symbol="SPY", lot=Decimal("0.5")),)
    lone.run(130)
    lone.enter(1)
    lone.run(5)

    exit_name = lone.leave(2, 1)
    lone.exchange.trade_stop(Decimal("0.6"))
    lone.run(5)

    assert lone.order(exit_name).state is OrderState.CANCELLED
    assert lone.exchange.positions() == {"SPY": Decimal("0.4")}


def test_a_target_closes_the_position_also_where_it_cannot_rest_beside_the_stop(begin: Begin) -> None:
    lone = begin(KRAKEN)
    lone.enter(1, target="103")
    lone.run(5)
    resting = [o.command.stop_price for o in lone.exchange.orders if o.is_open]

    lone.exchange.move(Decimal("103.5"))
    lone.pass_time(lone.clock.wall_ns(), 103.5)
    lone.run(10)

    assert resting == [Decimal(90)]
    assert lone.exchange.positions() == {}
    assert not [o for o in lone.exchange.orders if o.is_open]
    assert lone.booked()[-1].exit_reason == "TAKE_PROFIT"


@BOTH
@pytest.mark.parametrize("is_felled", [False, True], ids=["undisturbed", "felled"])
def test_a_stop_is_watched_while_an_exit_that_waits_for_its_price_rests_in_its_place(
    begin: Begin, traits: VenueTraits, is_felled: bool
) -> None:
    lone = begin(traits)
    lone.enter(1)
    lone.run(5)
    exit_name = lone._decide(2, Effect.CLOSE, "SPY", Decimal("0.5"), "110", "", tag=1)
    lone.run(5)
    resting = [order.command.order_id for order in lone.exchange.orders if order.is_open]

    lone.exchange.move(Decimal(89))
    lone.pass_time(lone.clock.wall_ns(), 89.0)
    if is_felled:
        lone.fall()
    lone.run(10)

    assert resting == [exit_name]
    waited = lone.order(exit_name)
    assert (waited.state, waited.reason) == (OrderState.CANCELLED, "STOP_REACHED")
    assert (lone.exchange.positions(), lone.booked()[-1].exit_reason) == ({}, "STOP_LOSS")
    assert not [order for order in lone.exchange.orders if order.is_open]


@BOTH
def test_a_stop_that_the_venue_refuses_because_it_is_passed_closes_the_position(
    begin: Begin, traits: VenueTraits
) -> None:
    lone = begin(traits)
    lone.exchange.refuses_passed_stops = True
    lone.exchange.move(Decimal(89))
    lone.pass_time(lone.clock.wall_ns(), 89.0)

    lone.enter(1)
    lone.run(1)

    assert (lone.exchange.positions(), lone.booked()[-1].exit_reason) == ({}, "STOP_LOSS")
    assert not [order for order in lone.exchange.orders if order.is_open]


def test_a_stop_that_is_passed_while_the_venue_refuses_it_closes_the_position(begin: Begin) -> None:
    lone = begin(KRAKEN)
    lone.exchange.refuses_passed_stops = True
    lone.exchange.move(Decimal(89))
    lone.enter(1)
    lone.run(20)
    held = lone.exchange.positions()

    lone.pass_time(lone.clock.wall_ns(), 89.0)
    lone.run(1)

    assert held == {"SPY": ONE}, "the price that was heard last is above the stop"
    assert lone.exchange.positions() == {}


def test_a_target_whose_exit_is_refused_is_tried_again_with_the_next_look_and_the_stop_rests_meanwhile(
    begin: Begin,
) -> None:
    lone = begin(KRAKEN)
    lone.enter(1, target="103")
    lone.run(5)
    lone.exchange.refuses_exits = True
    lone.exchange.move(Decimal("103.5"))
    exits: list[str] = []
    for _ in range(100):
        lone.pass_time(lone.clock.wall_ns(), 103.5)
        lone.run(0.2)
        exits += [name for name in submits(lone) if name not in exits]
    stops = [order.quantity for order in lone.exchange.orders if order.is_open]
    lone.exchange.refuses_exits = False
    lone.run(60)
    lone.pass_time(lone.clock.wall_ns(), 103.5)
    lone.run(5)

    assert len(exits) - 1 <= 2, "the entry, and an exit at each look"
    assert stops == [ONE]
    assert lone.exchange.positions() == {}


def test_stop_and_target_are_one_group_where_the_venue_knows_groups(begin: Begin) -> None:
    lone = begin(ALPACA)
    lone.enter(1, target="103")
    lone.run(5)
    groups = {o.command.oco_group for o in lone.exchange.orders if o.is_open}

    lone.exchange.move(Decimal("103.5"))
    lone.run(10)

    assert len(groups) == 1
    assert groups != {""}
    assert (lone.exchange.positions(), [o for o in lone.exchange.orders if o.is_open]) == ({}, [])


def test_a_stop_that_is_placed_anew_joins_the_group_of_the_target_that_rests(begin: Begin) -> None:
    lone = begin(ALPACA)
    lone.enter(1, target="103")
    lone.run(5)
    stop = next(o for o in lone.exchange.orders if o.is_open and o.command.stop_price)
    lone.exchange.cancel(stop.name)

    lone.say(OrderCancelled(0, stop.command.order_id, "the venue's own", False, 0, stop.filled))
    lone.run(5)

    resting = [o for o in lone.exchange.orders if o.is_open]
    assert len(resting) == 2
    assert len({o.command.oco_group for o in resting}) == 1


def test_nothing_joins_a_group_of_which_the_venue_has_ended_both_legs(begin: Begin) -> None:
    lone = begin(ALPACA)
    lone.enter(1, target="103")
    lone.run(5)
    first = next(o for o in lone.exchange.orders if o.is_open).command.oco_group
    for is_stop in (True, False):
        leg = next(o for o in lone.exchange.orders if o.is_open and (o.command.stop_price is not None) == is_stop)
        lone.exchange.cancel(leg.name)
        lone.say(OrderCancelled(0, leg.command.order_id, "the group is over", False, 0, leg.filled))
        lone.run(5)

    resting = [o for o in lone.exchange.orders if o.is_open]
    assert len(resting) == 2
    assert {o.command.oco_group for o in resting}.isdisjoint({first, ""})
    assert len({o.command.oco_group for o in resting}) == 1


@BOTH
def test_a_change_that_is_refused_is_not_asked_for_again_before_the_venue_has_told_why(
    begin: Begin, traits: VenueTraits
) -> None:
    lone = begin(traits)
    lone.enter(1)
    lone.run(5)
    faults(lone, unheard=1.0)
    lone.exchange.move(Decimal(89))
    lone.sent.clear()

    lone.modify(2, 1, stop="85")
    lone.run(30)

    assert 1 <= len(sent(lone, ReplaceOrder)) <= 2
    assert lone.room._journal.ledger.net_quantities() == {}


def test_a_thousand_doubtful_orders_cost_ten_questions(begin: Begin) -> None:
    lone = begin()
    for number in range(1000):
        lone.enter(number, stop="", symbol=f"S{number}")
    lone.sent.clear()

    lone.gateway_falls()
    lone.run(0.3)

    assert len(sent(lone, OrdersWanted)) <= 20
    lone.run(60)
    assert not lone.room._resolver.in_doubt()


def test_unclear_words_about_what_is_certain_change_nothing(begin: Begin) -> None:
    lone = begin()
    name = lone.enter(1)
    lone.run(5)

    lone.say(OrderUnclear(0, name, "late word", 0))

    assert lone.order(name).state is OrderState.FILLED


def test_the_refusal_of_a_second_sending_says_nothing_of_the_first_one(begin: Begin) -> None:
    lone = begin(ALPACA)
    faults(lone, lost=1.0)
    name = lone.enter(1)
    while not (sent(lone, OrderUnclear) or lone.order(name).state is OrderState.UNKNOWN):
        lone.run(0.01)
    faults(lone)
    while submits(lone) != [name, name]:  # it was not found, and so it is sent again, under the same id
        lone.run(0.01)

    lone.say(OrderRejected(0, name, "insufficient buying power", 0))

    assert lone.order(name).state is OrderState.UNKNOWN  # the first one may still come
    lone.fall()
    lone.say(OrderRejected(0, name, "insufficient buying power", 0))
    assert lone.order(name).state is OrderState.UNKNOWN
    lone.run(30)
    assert lone.order(name).state is OrderState.FILLED
    assert [fill.order_id for fill in lone.booked()] == [name]


def test_the_refusal_of_the_only_sending_ends_the_order(begin: Begin) -> None:
    lone = begin(ALPACA)

    name = lone.enter(1)
    lone.say(OrderRejected(0, name, "insufficient buying power", 0))

    assert lone.order(name).state is OrderState.REJECTED


@BOTH
def test_of_orders_that_are_finished_nothing_is_remembered_as_on_its_way(begin: Begin, traits: VenueTraits) -> None:
    lone = begin(traits, seed=3, dropped=0.1)

    for number in range(1, 9):
        lone.enter(number)
        lone.run(20)
    faults(lone)
    lone.run(60)

    working = {order.client_id for order in lone.room._orders.working()}
    assert len(submits(lone)) > 4
    assert lone.room._orders._on_wire <= working
