"""How orders are made to fit what a venue demands, and what is said of those that cannot be."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from desk.instruments import Instruments, committed, faults, fitted, later, sellable, sooner
from desk.messages import Order, OrderState, OrderType, Purpose, Side
from desk.units import ZERO
from desk.venue import Instrument
from tests.desk.orders import an_order

D = Decimal
COIN = Instrument(symbol="SPY", lot=D("0.01"), tick=D("0.05"), quantity_min=D("0.1"), notional_min=D(20))
figures = st.decimals("0.000001", "1000000", places=6)
steps = st.sampled_from([D("0.00000001"), D("0.001"), D("0.05"), D("0.25"), D(1), D(7)])


def order(quantity: str = "1", limit: str = "", purpose: Purpose = Purpose.ENTRY, side: Side = Side.BUY) -> Order:
    price = D(limit) if limit else None
    kind = OrderType.LIMIT if limit else OrderType.MARKET
    made = an_order(OrderState.PENDING, D(quantity))
    return replace(made, limit_price=price, type=kind, purpose=purpose, side=side, reference_price=D(100))


@given(figures, steps)
def test_what_can_be_sold_is_whole_lots_and_leaves_less_than_one(quantity: Decimal, lot: Decimal) -> None:
    sold = sellable(quantity, Instrument(symbol="X", lot=lot))

    assert sold % lot == ZERO
    assert ZERO <= quantity - sold < lot


@given(figures, steps, st.sampled_from(Side), st.sampled_from([OrderType.LIMIT, OrderType.STOP]))
def test_what_reduces_is_priced_to_trade_sooner_and_what_opens_to_pay_no_more(
    price: Decimal, tick: Decimal, side: Side, kind: OrderType
) -> None:
    instrument = Instrument(symbol="X", tick=tick)
    soon, late = sooner(price, side, kind, instrument), later(price, side, instrument)

    toward = side.sign if kind is OrderType.LIMIT else -side.sign
    for found, sign in ((soon, toward), (late, -side.sign)):
        assert found % tick == ZERO
        assert found > ZERO
        assert abs(found - price) < tick or found == tick
        assert (found - price) * sign >= ZERO or found == tick


@given(figures, figures, steps, steps, st.sampled_from(Purpose), st.sampled_from(Side))
def test_an_order_that_was_made_to_fit_fits_and_is_never_larger(
    quantity: Decimal, limit: Decimal, lot: Decimal, tick: Decimal, purpose: Purpose, side: Side
) -> None:
    instrument = Instrument(symbol="SPY", lot=lot, tick=tick)
    made = fitted(order(str(quantity), str(limit), purpose, side), instrument)

    assert fitted(made, instrument) == made
    assert made.quantity <= quantity
    assert made.quantity > ZERO or purpose is Purpose.ENTRY
    if purpose is not Purpose.ENTRY:
        assert faults(made, instrument, asked=quantity, cash=ZERO) == ()


@pytest.mark.parametrize(
    ("made", "cash", "said"),
    [
        pytest.param(order("0.009"), None, "quantity 0.009 of SPY is less than one lot of 0.01", id="no lot"),
        pytest.param(order("0.05", "500"), None, "quantity 0.05 of SPY is below the venue's least, 0.1", id="quantity"),
        pytest.param(order("0.1", "150"), None, "15 for SPY is below the venue's least, 20", id="value"),
        pytest.param(order("2"), D("199.99"), "200 for SPY is more than the 199.99 left", id="cash"),
        pytest.param(order("2"), D(-5), "200 for SPY is more than the 0 left", id="debt"),
    ],
)
def test_an_entry_that_cannot_fit_is_refused_with_the_figures(made: Order, cash: Decimal | None, said: str) -> None:
    fit = fitted(made, COIN)

    assert faults(fit, COIN, asked=made.quantity, cash=cash) == (f"PREVALIDATION: {said}",)


def test_an_entry_that_fits_has_no_faults() -> None:
    made = fitted(order("1.239", "99.99"), COIN)

    assert (made.quantity, made.limit_price) == (D("1.23"), D("99.95"))
    assert faults(made, COIN, asked=D("1.239"), cash=D("122.9385")) == ()
    assert faults(replace(made, side=Side.SELL), COIN, asked=D(1), cash=ZERO) == ()


def test_the_venues_word_on_an_instrument_goes_before_the_configurations() -> None:
    theirs = replace(COIN, lot=D(1))
    registry = Instruments({"SPY": COIN, "QQQ": COIN})

    was = registry.of("SPY")
    news = registry.tell((theirs,)), registry.tell((theirs,))
    registry.configure({})

    assert was == COIN
    assert news == ((theirs,), ())
    assert registry.of("SPY") == theirs
    assert registry.of("QQQ") == Instrument(symbol="QQQ")


def test_of_a_symbol_in_which_nothing_is_demanded_none_is_given_until_something_is() -> None:
    lots = Instrument(symbol="SPY", lot=Decimal(1))
    instruments = Instruments({"QQQ": Instrument(symbol="QQQ", tick=Decimal("0.01"))})

    before = [instruments.demanding(symbol) for symbol in ("SPY", "QQQ", "SPY")]
    instruments.configure({"SPY": lots})
    after = [instruments.demanding(symbol) for symbol in ("SPY", "QQQ")]
    instruments.tell([Instrument(symbol="SPY")])

    assert before == [None, Instrument(symbol="QQQ", tick=Decimal("0.01")), None]
    assert after == [lots, None]
    assert instruments.demanding("SPY") is None


def test_working_entries_to_buy_hold_the_cash_that_they_may_still_take() -> None:
    part = replace(order("3", "50"), filled_quantity=D(1))
    others = [order("5", side=Side.SELL), order("5", purpose=Purpose.EXIT)]

    assert committed([part, order("1"), *others]) == D(200)
