"""What an execution is booked as: an entry's brings its levels and horizon, an exit's changes neither."""

from decimal import Decimal

from msgspec.structs import replace

from desk.executions import fill_of
from desk.messages import FillBooked, OrderState, Purpose, Side
from desk.portfolio import HORIZON_DEFAULT, Ledger
from tests.desk.orders import a_report_of_fill, an_order


def test_an_execution_is_booked_whose_the_order_is_and_for_what_the_report_says() -> None:
    report = a_report_of_fill("e7", Decimal(4), Decimal("101.5"), Decimal("0.3"))

    booked = fill_of(an_order(), report, "venues/paper", "main")

    assert booked == FillBooked(
        execution_id="e7",
        order_id="o1",
        strategy="alpha",
        symbol="SPY",
        tag="t",
        purpose=Purpose.ENTRY,
        side=Side.BUY,
        quantity=Decimal(4),
        price=Decimal("101.5"),
        fee=Decimal("0.3"),
        ts_ns=7,
        exit_reason="",
        stop_loss=Decimal(99),
        take_profit=None,
        reference_price=Decimal(100),
        venue="venues/paper",
        account="main",
    )


def test_the_execution_of_an_exit_leaves_levels_and_horizon_as_they_are() -> None:
    ledger = Ledger()
    entry = replace(an_order(), take_profit=Decimal(104), horizon="SWING")
    ledger.apply(fill_of(entry, a_report_of_fill("e1"), "", ""))
    leaving = replace(
        an_order(OrderState.PARTIALLY_FILLED), side=Side.SELL, purpose=Purpose.EXIT, stop_loss=Decimal(1), horizon="DAY"
    )

    booked = fill_of(leaving, a_report_of_fill("e2", Decimal(1)), "", "")
    ledger.apply(booked)

    assert (booked.stop_loss, booked.take_profit, booked.horizon) == (None, None, HORIZON_DEFAULT)
    (held,) = ledger.positions.values()
    assert (held.stop_loss, held.take_profit, held.horizon) == (Decimal(99), Decimal(104), "SWING")
