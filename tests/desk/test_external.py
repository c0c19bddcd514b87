"""What the venue holds and our books do not explain: kept apart, counted, and given to a strategy by a person only."""

from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from desk.messages import CapitalChanged, ExternalAdopted, ExternalBooked, Side
from desk.portfolio import EXTERNAL, Ledger, LedgerState
from desk.units import ZERO
from tests.desk.orders import a_fill

BUY, SELL = Side.BUY, Side.SELL


def found(quantity: str, price: str = "100") -> ExternalBooked:
    return ExternalBooked("SPY", Decimal(quantity), Decimal(price), "venues/paper", "", "reconciliation", 9)


def adopted(quantity: str, cost: Decimal, strategy: str = "alpha", stop: str | None = None) -> ExternalAdopted:
    level = None if stop is None else Decimal(stop)
    return ExternalAdopted("SPY", Decimal(quantity), cost, strategy, "t", "mine", 10, stop_loss=level)


def a_ledger() -> Ledger:
    ledger = Ledger()
    ledger.apply(CapitalChanged(Decimal(1000), "start", 0))
    ledger.apply(a_fill("e1", BUY, "2", "100"))
    return ledger


def test_what_is_found_counts_for_the_account_and_for_no_strategy() -> None:
    ledger = a_ledger()

    ledger.apply(found("3", "110"))

    (held,) = ledger.external()
    assert (held.quantity, held.average_price, ledger.net_quantity("SPY")) == (Decimal(3), Decimal(110), Decimal(5))
    assert (ledger.cash, ledger.capital) == (Decimal(800), Decimal(1330))
    assert ledger.equity({"SPY": Decimal(120)}) == Decimal(1400)
    assert len(ledger.positions_of("alpha")) == 1


def test_what_is_missing_stands_against_what_the_strategies_hold() -> None:
    ledger = a_ledger()

    ledger.apply(found("-0.05"))

    held = ledger.position("alpha", "SPY", "t")
    assert held is not None
    assert (held.quantity, ledger.net_quantity("SPY"), ledger.cash) == (Decimal(2), Decimal("1.95"), Decimal(800))
    assert ledger.equity({"SPY": Decimal(100)}) == Decimal(995)


def test_what_was_found_and_is_gone_again_leaves_its_gain() -> None:
    ledger = a_ledger()
    ledger.apply(found("3", "100"))

    (trade,) = ledger.apply(found("-3", "110"))

    assert (trade.strategy, trade.pnl, trade.exit_reason) == (EXTERNAL, Decimal(30), "RECONCILIATION")
    assert (ledger.external(), ledger.cash, ledger.capital) == ((), Decimal(800), Decimal(970))


def test_a_strategy_adopts_at_cost_and_no_money_moves() -> None:
    ledger = a_ledger()
    ledger.apply(found("4", "110"))
    cost = ledger.external_cost("SPY", Decimal(1))

    trades = ledger.apply(adopted("1", cost, stop="90"))

    held = ledger.position("alpha", "SPY", "t")
    assert held is not None
    assert (trades, cost, ledger.cash, ledger.capital) == ((), Decimal(110), Decimal(800), Decimal(1440))
    assert (held.quantity, held.average_price, held.stop_loss) == (Decimal(3), Decimal(310) / 3, Decimal(90))
    assert ([one.quantity for one in ledger.external()], ledger.net_quantity("SPY")) == ([Decimal(3)], Decimal(6))


def test_who_takes_over_what_is_missing_holds_less_and_books_the_difference() -> None:
    ledger = a_ledger()
    ledger.apply(found("-1", "90"))

    (trade,) = ledger.apply(adopted("-1", ledger.external_cost("SPY", Decimal(-1))))

    held = ledger.position("alpha", "SPY", "t")
    assert held is not None
    assert (held.quantity, trade.pnl, trade.exit_reason) == (Decimal(1), Decimal(-10), "RECONCILIATION")
    assert (ledger.external(), ledger.cash, ledger.net_quantity("SPY")) == ((), Decimal(800), Decimal(1))


@pytest.mark.parametrize("quantity", ["5", "-1", "0", "NaN"])
def test_only_what_stands_there_is_adopted(quantity: str) -> None:
    ledger = a_ledger()
    ledger.apply(found("4", "110"))
    before = ledger.state()

    with pytest.raises(ValueError, match=r"EXTERNAL holds 4 SPY|cannot be booked"):
        ledger.apply(adopted(quantity, Decimal(1)))
    with pytest.raises(ValueError, match="EXTERNAL holds 4 SPY"):
        ledger.external_cost("SPY", Decimal(quantity))
    with pytest.raises(ValueError, match="EXTERNAL holds 0 QQQ"):
        ledger.external_cost("QQQ", Decimal(1))

    assert ledger.state() == before


@pytest.mark.parametrize(
    ("quantity", "price"), [("0", "1"), ("NaN", "1"), ("1", "-1"), ("1", "Infinity"), ("1e15", "1")]
)
def test_what_is_no_figure_is_not_found(quantity: str, price: str) -> None:
    ledger = a_ledger()

    with pytest.raises(ValueError, match="cannot be booked"):
        ledger.apply(found(quantity, price))

    assert ledger.external() == ()


def test_a_strategys_own_book_sees_an_adoption_as_capital_in_kind() -> None:
    book = Ledger(keep_executions=False, finished_orders_max=0, is_whole=False)
    book.apply(CapitalChanged(Decimal(500), "allocation", 0))

    book.apply(adopted("2", Decimal(220), stop="100"))
    (trade,) = book.apply(a_fill("e1", SELL, "2", "115"))

    assert (trade.pnl, book.cash, book.capital, book.realised) == (Decimal(10), Decimal(730), Decimal(720), Decimal(10))


def test_a_fee_that_is_taken_in_what_was_bought_is_known_until_it_was_booked() -> None:
    ledger = Ledger()
    ledger.apply(a_fill("e1", BUY, "2", "100", "0.8"))
    before = ledger.base_fees("SPY")

    ledger.apply(found("-0.008"))

    assert (before, ledger.base_fees("SPY")) == (Decimal("0.008"), ZERO)


EVENT = st.one_of(
    st.tuples(st.just("fill"), st.sampled_from([BUY, SELL]), st.decimals("0.001", "50", places=3)),
    st.tuples(st.just("found"), st.sampled_from([BUY, SELL]), st.decimals("0.001", "50", places=3)),
    st.tuples(st.just("adopt"), st.sampled_from(["alpha", "beta"]), st.decimals("0.001", "1", places=3)),
)


@given(st.lists(st.tuples(EVENT, st.decimals("0.01", "900", places=2)), max_size=25))
def test_the_sum_of_all_with_external_is_what_the_venue_holds(
    events: list[tuple[tuple[str, Side | str, Decimal], Decimal]],
) -> None:
    ledger, venue, gains = Ledger(), ZERO, ZERO
    for place, ((kind, what, figure), price) in enumerate(events):
        if kind == "adopt":
            held = ledger.external()
            if held:
                quantity = (held[0].quantity * figure).quantize(Decimal("0.001")) or held[0].quantity
                cost = ledger.external_cost("SPY", quantity)
                ledger.apply(replace(adopted(str(quantity), cost), strategy=str(what)))
            continue
        side = Side(what)
        venue += side.sign * figure
        gains -= side.sign * figure * price
        if kind == "fill":
            ledger.apply(a_fill(f"e{place}", side, str(figure), str(price)))
        else:
            ledger.apply(found(str(side.sign * figure), str(price)))
    ledger.audit()
    restored = Ledger()
    restored.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(ledger.state()), type=LedgerState))

    dust = ledger.dust_quantities().get("SPY", ZERO)
    assert sum((one.quantity for one in ledger.positions.values()), ZERO) + dust == venue
    assert ledger.cash - ledger.capital == gains
    assert restored.state() == ledger.state()
