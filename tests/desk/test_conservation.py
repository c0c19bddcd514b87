"""Money and quantity neither appear nor vanish, and whoever lets them is found out at the next event."""

from collections.abc import Callable
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from desk.conservation import InvariantError
from desk.holdings import Move
from desk.messages import CapitalChanged, OrderChanged, OrderState, Side
from desk.order import course
from desk.portfolio import ClosedTrade, Ledger
from desk.units import ZERO
from tests.desk.orders import a_fill, a_report_of_fill, an_order

BUY, SELL = Side.BUY, Side.SELL
ONE_FILL = st.tuples(
    st.sampled_from(["alpha", "beta"]),
    st.sampled_from([BUY, SELL]),
    st.decimals("0.00000001", "900", places=8),
    st.decimals("0.0000000001", "70000", places=10),
    st.decimals("-3", "30", places=14),
)
KEY = ("alpha", "SPY", "t")


def a_ledger_that_holds() -> Ledger:
    ledger = Ledger()
    ledger.apply(CapitalChanged(Decimal(1000), "start", 0))
    ledger.apply(a_fill("e1", BUY, "4", "100", "2"))
    ledger.apply(a_fill("e2", SELL, "1", "110", "0.25"))
    return ledger


@given(st.lists(ONE_FILL, max_size=25))
def test_whatever_is_filled_nothing_appears_or_vanishes(
    figures: list[tuple[str, Side, Decimal, Decimal, Decimal]],
) -> None:
    ledger = Ledger()
    for place, (strategy, side, quantity, price, fee) in enumerate(figures):
        ledger.apply(a_fill(f"e{place}", side, f"{quantity:f}", f"{price:f}", f"{fee:f}", who=(strategy, "t")))
    ledger.audit()
    came_in = sum((side.sign * quantity for _, side, quantity, _, _ in figures), ZERO)
    dust = ledger.dust_quantities().get("SPY", ZERO)

    assert ledger.net_quantity("SPY") + dust == ledger.venue_quantities().get("SPY", ZERO) == came_in


def lose_cash(ledger: Ledger) -> None:
    ledger.cash -= Decimal("1e-12")


def invent_profit(ledger: Ledger) -> None:
    ledger.realised += 1


def forget_capital(ledger: Ledger) -> None:
    ledger.capital = ZERO


def forget_an_entry_fee(ledger: Ledger) -> None:
    ledger._holdings.positions[KEY] = replace(ledger._holdings.positions[KEY], entry_fees=ZERO)


def forget_a_cost(ledger: Ledger) -> None:
    ledger._holdings.costs[KEY] -= 5


def hold_more(ledger: Ledger) -> None:
    ledger._holdings.positions[KEY] = replace(ledger._holdings.positions[KEY], quantity=Decimal(4))


def miscount_the_net(ledger: Ledger) -> None:
    ledger._holdings.net["SPY"] += 1


def miscount_what_came(ledger: Ledger) -> None:
    ledger._holdings.flow["SPY"] -= 1


def leave_dust(ledger: Ledger) -> None:
    ledger._holdings.dust["SPY"] = Decimal("1e-9")


def book_a_profit_on_nobody(ledger: Ledger) -> None:
    ledger._realised["alpha"] = ZERO


def book_a_fee_on_nobody(ledger: Ledger) -> None:
    ledger._fees["alpha"] += 1


BUGS = (
    lose_cash,
    invent_profit,
    forget_capital,
    forget_an_entry_fee,
    forget_a_cost,
    hold_more,
    miscount_the_net,
    miscount_what_came,
    leave_dust,
    book_a_profit_on_nobody,
    book_a_fee_on_nobody,
)


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.__name__)
def test_an_audit_finds_every_term_that_is_wrong(bug: Callable[[Ledger], None]) -> None:
    ledger = a_ledger_that_holds()
    ledger.audit()

    bug(ledger)

    with pytest.raises(InvariantError):
        ledger.audit()


@pytest.mark.parametrize("bug", BUGS[:3] + BUGS[6:9], ids=lambda bug: bug.__name__)
def test_the_very_next_event_finds_a_wrong_sum(bug: Callable[[Ledger], None]) -> None:
    ledger = a_ledger_that_holds()
    bug(ledger)

    with pytest.raises(InvariantError, match="too much"):
        ledger.apply(a_fill("e3", SELL, "3", "120", "1"))


def test_a_step_that_forgets_the_fee_is_found_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = a_ledger_that_holds()
    honest = ledger._holdings.take_in

    def forgetful(move: Move) -> tuple[ClosedTrade, ...]:
        return honest(replace(move, fee=ZERO))

    monkeypatch.setattr(ledger._holdings, "take_in", forgetful)

    with pytest.raises(InvariantError, match="cash is"):
        ledger.apply(a_fill("e3", BUY, "1", "100", "0.5"))


def test_a_step_that_takes_in_half_is_found_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = a_ledger_that_holds()
    honest = ledger._holdings.take_in

    def halving(move: Move) -> tuple[ClosedTrade, ...]:
        return honest(replace(move, quantity=move.quantity / 2))

    monkeypatch.setattr(ledger._holdings, "take_in", halving)

    with pytest.raises(InvariantError, match="SPY came in"):
        ledger.apply(a_fill("e3", BUY, "1", "100"))


def test_an_order_counts_what_its_executions_are() -> None:
    ledger = Ledger()
    order = an_order(OrderState.PENDING)
    ledger.apply(OrderChanged(order, "", "ours", 1))
    for number in (1, 2, 3):
        report = a_report_of_fill(f"e{number}", Decimal(4))
        ledger.apply(replace(a_fill(f"e{number}", BUY, "4", "100"), order_id="o1"))
        for changed in course(order, report):
            ledger.apply(OrderChanged(changed, order.state.value, "venue", 2))
            order = changed

    held = ledger.order("o1")
    assert held is not None
    assert (held.filled_quantity, held.state, ledger.net_quantity("SPY")) == (
        Decimal(12),
        OrderState.FILLED,
        Decimal(12),
    )


@pytest.mark.parametrize(("booked", "said"), [("4", "5"), ("4", "3"), ("4", "0")])
def test_an_order_that_counts_other_than_its_executions_is_found(booked: str, said: str) -> None:
    ledger = Ledger()
    order = an_order()
    ledger.apply(OrderChanged(order, "", "ours", 1))
    ledger.apply(replace(a_fill("e1", BUY, booked, "100"), order_id="o1"))
    changed = replace(
        order, state=OrderState.PARTIALLY_FILLED, filled_quantity=Decimal(said), average_price=Decimal(100)
    )

    with pytest.raises(InvariantError, match="order o1 says"):
        ledger.apply(OrderChanged(changed, "SUBMITTED", "venue", 2))


def test_an_order_that_says_it_filled_without_an_execution_is_found() -> None:
    ledger = Ledger()
    ledger.apply(OrderChanged(an_order(), "", "ours", 1))
    filled = replace(an_order(OrderState.FILLED), filled_quantity=Decimal(10), average_price=Decimal(100))

    with pytest.raises(InvariantError, match="executions since then come to 0"):
        ledger.apply(OrderChanged(filled, "SUBMITTED", "venue", 2))


def test_figures_finer_than_the_quantum_still_add_up() -> None:
    ledger = Ledger()
    ledger.apply(a_fill("e1", BUY, "1.123456789012345678", "3.1415926535", "0.00000000000001234"))
    ledger.apply(a_fill("e2", SELL, "0.623456789012345678", "3.3333333333", "0.00000000000001"))
    ledger.apply(a_fill("e3", SELL, "1.5", "2.7182818284", "0.1"))

    ledger.audit()

    assert ledger.net_quantity("SPY") == Decimal(-1)


@pytest.mark.parametrize("figures", [("1e15", "1", "0"), ("1", "1e15", "0"), ("1e8", "1e8", "0"), ("1", "1", "1e15")])
def test_a_fill_beyond_counting_is_refused_and_changes_nothing(figures: tuple[str, str, str]) -> None:
    ledger = a_ledger_that_holds()
    before = ledger.state()

    with pytest.raises(ValueError, match="beyond counting"):
        ledger.apply(a_fill("e9", BUY, *figures))

    assert ledger.state() == before


def test_one_execution_of_two_venues_or_accounts_is_two() -> None:
    ledger = Ledger()
    fill = replace(a_fill("e1", BUY, "1", "100"), venue="venues/kraken", account="main")
    ledger.apply(fill)

    ledger.apply(fill)
    ledger.apply(replace(fill, account="other"))
    ledger.apply(replace(fill, venue="venues/alpaca"))

    assert ledger.net_quantity("SPY") == Decimal(3)
    assert ledger.has_execution("e1", "venues/kraken", "main")
    assert not ledger.has_execution("e1", "venues/paper", "main")


def test_an_execution_that_was_written_down_by_its_id_alone_is_known() -> None:
    ledger = Ledger()
    ledger.apply(a_fill("e1", BUY, "1", "100"))

    again = ledger.apply(replace(a_fill("e1", BUY, "1", "100"), venue="venues/paper", account="paper"))

    assert (again, ledger.net_quantity("SPY")) == ((), Decimal(1))
