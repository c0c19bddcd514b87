"""The books as a fold over the journal."""

from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from desk.messages import CapitalChanged, DeskNoted, LevelsChanged, OrderChanged, OrderState, Side
from desk.portfolio import Ledger, LedgerState
from desk.units import ZERO
from tests.desk.orders import a_fill, an_order

BUY, SELL = Side.BUY, Side.SELL


def a_ledger(capital: int = 1000) -> Ledger:
    ledger = Ledger()
    ledger.apply(CapitalChanged(Decimal(capital), "start", 0))
    return ledger


def test_a_buy_opens_a_position_with_its_levels_and_takes_cash() -> None:
    ledger = a_ledger()

    trades = ledger.apply(replace(a_fill("e1", BUY, "2", "100", "1"), stop_loss=Decimal(99), take_profit=Decimal(104)))

    held = ledger.position("alpha", "SPY", "t")
    assert trades == ()
    assert held is not None
    assert (held.quantity, held.average_price, held.entry_fees) == (Decimal(2), Decimal(100), Decimal(1))
    assert (held.stop_loss, held.take_profit, ledger.cash) == (Decimal(99), Decimal(104), Decimal(799))


def test_averaging_in_keeps_levels_that_are_not_given() -> None:
    ledger = a_ledger()
    ledger.apply(replace(a_fill("e1", BUY, "2", "100"), stop_loss=Decimal(99), take_profit=Decimal(104)))

    ledger.apply(replace(a_fill("e2", BUY, "2", "110"), stop_loss=Decimal(105)))

    held = ledger.position("alpha", "SPY", "t")
    assert held is not None
    assert (held.quantity, held.average_price) == (Decimal(4), Decimal(105))
    assert (held.stop_loss, held.take_profit) == (Decimal(105), Decimal(104))


def test_a_partial_exit_bears_its_share_of_the_entrys_fee() -> None:
    ledger = a_ledger()
    ledger.apply(a_fill("e1", BUY, "4", "100", "2"))

    (trade,) = ledger.apply(a_fill("e2", SELL, "1", "110", "0.25"))

    held = ledger.position("alpha", "SPY", "t")
    assert held is not None
    assert (trade.quantity, trade.fees, trade.pnl) == (Decimal(1), Decimal("0.75"), Decimal("9.25"))
    assert (trade.side, trade.entry_price, trade.exit_price) == ("LONG", Decimal(100), Decimal(110))
    assert (held.quantity, held.entry_fees) == (Decimal(3), Decimal("1.5"))


def test_a_short_earns_when_the_price_falls() -> None:
    ledger = a_ledger()
    ledger.apply(a_fill("e1", SELL, "2", "100", "1"))

    (trade,) = ledger.apply(a_fill("e2", BUY, "2", "90", "1"))

    assert (trade.side, trade.pnl, ledger.cash) == ("SHORT", Decimal(18), Decimal(1018))
    assert dict(ledger.positions) == {}


def test_a_flip_closes_and_opens() -> None:
    ledger = a_ledger()
    ledger.apply(a_fill("e1", BUY, "1", "100"))

    (trade,) = ledger.apply(a_fill("e2", SELL, "3", "110", "3"))

    held = ledger.position("alpha", "SPY", "t")
    assert held is not None
    assert (trade.quantity, trade.fees, trade.pnl) == (Decimal(1), Decimal(1), Decimal(9))
    assert (held.quantity, held.average_price, held.entry_fees) == (Decimal(-2), Decimal(110), Decimal(2))
    assert ledger.net_quantity("SPY") == Decimal(-2)


def test_a_remainder_of_dust_closes_the_position() -> None:
    ledger = a_ledger()
    ledger.apply(a_fill("e1", BUY, "1", "100"))

    ledger.apply(a_fill("e2", SELL, "0.999999", "100"))

    assert (dict(ledger.positions), ledger.net_quantities(), ledger.open_cost()) == ({}, {}, ZERO)


@pytest.mark.parametrize(("opens", "closes"), [(BUY, SELL), (SELL, BUY)])
def test_an_exit_whose_last_part_is_dust_opens_nothing_on_the_other_side(opens: Side, closes: Side) -> None:
    ledger = a_ledger()
    ledger.apply(a_fill("e1", opens, "1", "100", "1"))
    exit_ = replace(a_fill("e2", closes, "0.9999995", "100", "1"), exit_reason="SIGNAL")
    ledger.apply(exit_)
    losses = ledger.closed_trades - ledger.last_gain

    ledger.apply(replace(exit_, execution_id="e3", quantity=Decimal("0.0000005"), fee=ZERO))

    assert (dict(ledger.positions), ledger.dust_quantities(), ledger.venue_quantities()) == ({}, {}, {})
    assert (ledger.cash, ledger.realised) == (Decimal(998), Decimal(-2))
    assert (losses, ledger.closed_trades - ledger.last_gain) == (1, 1), "what dust brought ends no streak"


def test_a_repeated_execution_is_booked_once() -> None:
    ledger = a_ledger()
    fill = a_fill("e1", BUY, "1", "100", "1")
    ledger.apply(fill)

    again = ledger.apply(fill)

    assert (again, ledger.cash, ledger.net_quantity("SPY")) == ((), Decimal(899), Decimal(1))


def test_strategies_and_tags_hold_apart_and_net_together() -> None:
    ledger = a_ledger()
    ledger.apply(a_fill("e1", BUY, "3", "100"))
    ledger.apply(a_fill("e2", BUY, "1", "100", who=("alpha", "u")))
    ledger.apply(a_fill("e3", SELL, "2", "110", who=("beta", "t")))

    assert (len(ledger.positions), len(ledger.positions_of("alpha"))) == (3, 2)
    assert ledger.net_quantity("SPY") == Decimal(2)
    assert ledger.equity({"SPY": Decimal(110)}) == Decimal(1040)


def test_levels_change_only_where_there_is_a_position() -> None:
    ledger = a_ledger()
    ledger.apply(a_fill("e1", BUY, "3", "100"))

    ledger.apply(LevelsChanged("alpha", "SPY", "t", Decimal(98), None, 9))
    ledger.apply(LevelsChanged("beta", "SPY", "t", Decimal(98), None, 9))

    held = ledger.position("alpha", "SPY", "t")
    assert held is not None
    assert (held.stop_loss, held.take_profit, len(ledger.positions)) == (Decimal(98), None, 1)


def test_a_longer_horizon_is_never_shortened_by_a_day() -> None:
    ledger = a_ledger()
    horizons: list[str] = []
    levels = LevelsChanged("alpha", "SPY", "t", None, None, 9)
    bodies = [
        replace(a_fill("e1", BUY, "1", "100"), horizon="SWING"),
        a_fill("e2", BUY, "1", "100"),
        levels,
        replace(levels, horizon="POSITION"),
        replace(a_fill("e3", BUY, "1", "100"), horizon="SWING"),
    ]
    for body in bodies:
        ledger.apply(body)
        held = ledger.position("alpha", "SPY", "t")
        assert held is not None
        horizons.append(held.horizon)

    assert horizons == ["SWING", "SWING", "SWING", "POSITION", "SWING"]


def test_an_order_works_until_it_is_finished() -> None:
    ledger = a_ledger()
    ledger.apply(OrderChanged(an_order(OrderState.SUBMITTED), "", "desk", 1))
    working = dict(ledger.working)

    ledger.apply(OrderChanged(an_order(OrderState.FILLED), "SUBMITTED", "venue", 2))

    order = ledger.order("o1")
    assert list(working) == ["o1"]
    assert dict(ledger.working) == {}
    assert order is not None
    assert order.state == OrderState.FILLED


def test_finished_orders_are_forgotten_beyond_the_bound() -> None:
    ledger = Ledger(finished_orders_max=2)
    for name in ("a", "b", "c"):
        ledger.apply(OrderChanged(replace(an_order(OrderState.FILLED), order_id=name), "", "desk", 1))

    assert [order.order_id for order in ledger.orders()] == ["b", "c"]


def test_trades_are_counted_even_where_they_are_not_kept() -> None:
    ledger = Ledger(keep_trades=False)
    ledger.apply(a_fill("e1", BUY, "1", "100"))
    ledger.apply(a_fill("e2", SELL, "1", "101"))

    ledger.apply(DeskNoted("halt", "why", 1))

    assert (ledger.trades, ledger.trade_count, ledger.realised_of("alpha")) == ([], 1, Decimal(1))


@pytest.mark.parametrize("figure", ["NaN", "Infinity", "-1", "0"])
def test_a_fill_that_is_no_number_changes_nothing(figure: str) -> None:
    ledger = a_ledger()

    with pytest.raises(ValueError, match="quantity"):
        ledger.apply(replace(a_fill("e1", BUY, "1", "1"), quantity=Decimal(figure)))
    with pytest.raises(ValueError, match="price"):
        ledger.apply(replace(a_fill("e1", BUY, "1", "1"), price=Decimal(figure)))

    assert (ledger.cash, dict(ledger.positions), ledger.has_execution("e1")) == (Decimal(1000), {}, False)


@pytest.mark.parametrize("figure", ["NaN", "-Infinity"])
def test_fees_and_capital_that_are_no_number_are_refused(figure: str) -> None:
    ledger = a_ledger()

    with pytest.raises(ValueError, match="fee"):
        ledger.apply(a_fill("e1", BUY, "1", "1", figure))
    with pytest.raises(ValueError, match="capital"):
        ledger.apply(CapitalChanged(Decimal(figure), "deposit", 1))

    assert (ledger.cash, ledger.capital) == (Decimal(1000), Decimal(1000))


ONE_FILL = st.tuples(
    st.sampled_from(["alpha", "beta"]),
    st.sampled_from(["t", "u"]),
    st.sampled_from([BUY, SELL]),
    st.decimals("0.001", "900", places=3),
    st.decimals("0.0001", "70000", places=4),
    st.decimals("-3", "30", places=6),
)


@given(st.lists(ONE_FILL, max_size=25), st.decimals("0", "1000000", places=2))
def test_cash_is_capital_plus_realised_less_what_is_open(
    figures: list[tuple[str, str, Side, Decimal, Decimal, Decimal]], capital: Decimal
) -> None:
    ledger = Ledger()
    ledger.apply(CapitalChanged(capital, "start", 0))
    flow, fees, net = ZERO, ZERO, ZERO
    for place, (strategy, tag, side, quantity, price, fee) in enumerate(figures):
        fill = a_fill(f"e{place}", side, str(quantity), str(price), str(fee), who=(strategy, tag))
        ledger.apply(fill)
        flow -= side.sign * quantity * price
        fees += fee
        net += side.sign * quantity

    assert ledger.cash == capital + flow - fees
    assert ledger.cash == capital + ledger.realised - ledger.open_cost()
    assert ledger.realised == sum((trade.pnl for trade in ledger.trades), ZERO)
    assert ledger.realised == ledger.realised_of("alpha") + ledger.realised_of("beta")
    assert ledger.fees == ledger.fees_of("alpha") + ledger.fees_of("beta") == fees
    assert ledger.net_quantity("SPY") == net
    assert sum((held.quantity for held in ledger.positions.values()), ZERO) == net


@given(st.lists(ONE_FILL, max_size=12), st.data())
def test_repeats_of_fills_never_change_the_books(
    figures: list[tuple[str, str, Side, Decimal, Decimal, Decimal]], data: st.DataObject
) -> None:
    fills = [
        a_fill(f"e{place}", side, str(quantity), str(price), str(fee), who=(strategy, tag))
        for place, (strategy, tag, side, quantity, price, fee) in enumerate(figures)
    ]
    once, repeated = Ledger(), Ledger()
    for place, fill in enumerate(fills):
        once.apply(fill)
        repeated.apply(fill)
        repeated.apply(fills[data.draw(st.integers(0, place))])

    assert (once.cash, dict(once.positions), once.trades) == (
        repeated.cash,
        dict(repeated.positions),
        repeated.trades,
    )


@given(st.lists(ONE_FILL, max_size=8), st.data())
def test_fills_of_one_side_end_in_one_position_whatever_their_order(
    figures: list[tuple[str, str, Side, Decimal, Decimal, Decimal]], data: st.DataObject
) -> None:
    fills = [
        a_fill(f"e{place}", BUY, str(quantity), str(price), str(fee))
        for place, (_, _, _, quantity, price, fee) in enumerate(figures)
    ]
    straight, shuffled = Ledger(), Ledger()
    for fill in fills:
        straight.apply(fill)
    for fill in data.draw(st.permutations(fills + fills)):
        shuffled.apply(fill)

    assert (straight.cash, straight.open_cost()) == (shuffled.cash, shuffled.open_cost())
    assert dict(straight.positions) == dict(shuffled.positions)


def test_a_ledger_that_was_put_away_folds_on_to_the_last_digit() -> None:
    rows = [("e1", BUY, "4", "100.1", "2"), ("e2", SELL, "1", "110", "0.25"), ("e3", BUY, "0.7", "99.37", "0.1")]
    whole, first, second = (Ledger(keep_trades=False, keep_executions=False, finished_orders_max=0) for _ in range(3))
    for body in [OrderChanged(an_order(), "", "ours", 1), *(a_fill(*row) for row in rows[:2])]:
        whole.apply(body)
        first.apply(body)

    second.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(first.state()), type=LedgerState))

    assert whole.apply(a_fill(*rows[2])) == second.apply(a_fill(*rows[2]))
    assert second.state() == whole.state()
    assert msgspec.msgpack.encode(second.state()) == msgspec.msgpack.encode(whole.state())


def test_a_state_that_contradicts_itself_is_not_taken_up() -> None:
    ledger = a_ledger()
    state = replace(ledger.state(), costs=(ZERO,))

    with pytest.raises(ValueError, match="0 positions with 1 costs"):
        Ledger().restore(state)


def test_a_state_that_was_kept_without_what_came_in_is_taken_up() -> None:
    ledger = a_ledger()
    ledger.apply(a_fill("e1", BUY, "2", "100"))
    restored = Ledger()

    restored.restore(replace(ledger.state(), flow=None))

    assert restored.venue_quantities() == ledger.venue_quantities() == {"SPY": Decimal(2)}


@given(st.lists(st.sampled_from(["SPY", "QQQ"]), max_size=6))
def test_orders_that_are_born_together_are_in_the_books_as_one_by_one(symbols: list[str]) -> None:
    known = replace(an_order(OrderState.FILLED), order_id="known")
    born = [
        replace(an_order(OrderState.PENDING), order_id=f"o{number}", symbol=symbol, venue_order_id="")
        for number, symbol in enumerate(symbols)
    ]
    together, one_by_one = a_ledger(), a_ledger()
    for ledger in (together, one_by_one):
        ledger.apply(OrderChanged(known, "", "desk", 1))

    together.bear(born)
    for order in born:
        one_by_one.apply(OrderChanged(order, "", "risk", 1))

    names = {order.order_id for order in born} | {"known"}
    assert together.state() == one_by_one.state()
    assert list(together.orders()) == list(one_by_one.orders())
    for symbol in ("SPY", "QQQ"):
        key = ("alpha", symbol, "t")
        assert list(together.working_around(key)) == list(one_by_one.working_around(key))
    assert together.known_among(names | {"stranger"}) == names
