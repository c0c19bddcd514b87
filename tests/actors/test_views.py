"""The operator's views of the journal: one fold, decimals as text, nothing that JSON cannot say."""

import json
from decimal import Decimal

from msgspec.structs import replace

from actors.views import decimal_words, journal_view, orders_view, positions_view, summary_view, trades_view
from desk.messages import (
    CapitalChanged,
    DeskNoted,
    FillBooked,
    JournalBody,
    JournalRecord,
    LevelsChanged,
    Order,
    OrderChanged,
    OrderState,
    OrderType,
    ProtectiveStop,
    Purpose,
    Side,
)

ENTRY = Order(
    order_id="o-1",
    intent_id="i-1",
    strategy="spy_vwap",
    symbol="SPY",
    tag="t",
    purpose=Purpose.ENTRY,
    side=Side.BUY,
    type=OrderType.LIMIT,
    quantity=Decimal("2.000"),
    limit_price=Decimal("100.50"),
    stop_price=None,
    expires_ns=90,
    oco_group="",
    state=OrderState.PENDING,
    filled_quantity=Decimal(0),
    average_price=Decimal(0),
    fees=Decimal(0),
    venue_order_id="",
    reason="",
    stop_loss=Decimal(99),
    take_profit=None,
    protective_stop=ProtectiveStop.BAR_CLOSE,
    reference_price=Decimal("100.50"),
    created_ns=10,
    changed_ns=10,
    bar_ts_ns=5,
)
EXIT = replace(
    ENTRY,
    order_id="o-2",
    intent_id="i-2",
    purpose=Purpose.EXIT,
    side=Side.SELL,
    type=OrderType.MARKET,
    limit_price=None,
)


def changed(order: Order, state: OrderState, ts_ns: int, reason: str = "") -> OrderChanged:
    filled = order.quantity if state is OrderState.FILLED else order.filled_quantity
    now = replace(order, state=state, changed_ns=ts_ns, reason=reason, filled_quantity=filled)
    return OrderChanged(order=now, previous=order.state.value, source="ours", ts_ns=ts_ns)


def fill(order: Order, execution_id: str, quantity: str, price: str, ts_ns: int) -> FillBooked:
    return FillBooked(
        execution_id=execution_id,
        order_id=order.order_id,
        strategy=order.strategy,
        symbol=order.symbol,
        tag=order.tag,
        purpose=order.purpose,
        side=order.side,
        quantity=Decimal(quantity),
        price=Decimal(price),
        fee=Decimal("0.10"),
        ts_ns=ts_ns,
        exit_reason="" if order.purpose is Purpose.ENTRY else "STOP_LOSS",
        stop_loss=order.stop_loss if order.purpose is Purpose.ENTRY else None,
    )


def journal(*bodies: JournalBody) -> list[JournalRecord]:
    return [
        JournalRecord(sequence=number, written_ns=1_000 + number, body=body) for number, body in enumerate(bodies, 1)
    ]


ROUND = journal(
    CapitalChanged(amount=Decimal("1E+4"), reason="start", ts_ns=1),
    OrderChanged(order=ENTRY, previous="", source="ours", ts_ns=10),
    changed(ENTRY, OrderState.SUBMITTED, 11),
    fill(ENTRY, "e-1", "2", "100", 12),
    changed(ENTRY, OrderState.FILLED, 12),
    OrderChanged(order=EXIT, previous="", source="ours", ts_ns=20),
    fill(EXIT, "e-2", "0.5", "99", 21),
    fill(EXIT, "e-2", "0.5", "99", 21),
    DeskNoted(kind="halt", text="by hand", ts_ns=22, who="operator"),
)


def test_an_order_is_shown_in_its_last_state() -> None:
    first = orders_view(ROUND)[0]

    assert [order["order_id"] for order in orders_view(ROUND)] == ["o-1", "o-2"]
    assert (first["state"], first["side"], first["type"], first["purpose"]) == ("FILLED", "BUY", "LIMIT", "ENTRY")
    assert (first["quantity"], first["limit_price"], first["stop_price"]) == ("2.000", "100.50", None)
    assert (first["created_ns"], first["changed_ns"], first["expires_ns"], first["bar_ts_ns"]) == (10, 12, 90, 5)


def test_an_open_position_is_shown_with_its_levels() -> None:
    moved = LevelsChanged(
        strategy="spy_vwap", symbol="SPY", tag="t", stop_loss=Decimal("99.5"), take_profit=None, ts_ns=30
    )

    (held,) = positions_view([*ROUND, JournalRecord(sequence=10, written_ns=0, body=moved)])

    assert (held["quantity"], held["average_price"], held["stop_loss"], held["take_profit"]) == (
        "1.5",
        "100",
        "99.5",
        None,
    )
    assert (held["strategy"], held["symbol"], held["tag"], held["opened_ns"]) == ("spy_vwap", "SPY", "t", 12)


def test_a_repeated_execution_makes_one_trade() -> None:
    (trade,) = trades_view(ROUND)

    assert (trade["quantity"], trade["entry_price"], trade["exit_price"]) == ("0.5", "100", "99")
    assert (trade["opened_ns"], trade["closed_ns"], trade["exit_reason"]) == (12, 21, "STOP_LOSS")
    assert Decimal(trade["pnl"]) == Decimal("-0.5") - Decimal(trade["fees"])


def test_the_journals_tail_is_its_last_records() -> None:
    tail = journal_view(ROUND, 2)

    assert [row["sequence"] for row in tail] == [8, 9]
    assert tail[1]["text"] == "halt: by hand (by operator)"
    assert journal_view(ROUND, 0) == []
    assert len(journal_view(ROUND)) == len(ROUND)


def test_a_journal_row_names_word_strategy_and_every_field() -> None:
    row = journal_view(ROUND)[2]

    assert (row["word"], row["strategy"], row["ts_ns"]) == ("order.changed", "spy_vwap", 11)
    assert row["text"] == "o-1 BUY 2.000 SPY LIMIT ENTRY: PENDING -> SUBMITTED"
    assert row["body"]["order"]["state"] == "SUBMITTED"


def test_a_summary_counts_by_strategy_and_state() -> None:
    summary = summary_view(ROUND, 390, {"crossed": 3, "nan": 0})

    assert (summary["bars"], summary["trades"], summary["orders"]) == (390, 1, {"FILLED": 1, "PENDING": 1})
    assert summary["refused"] == {"crossed": 3}
    (sums,) = summary["strategies"]
    assert (sums["strategy"], sums["trades"], sums["wins"], sums["net_pnl"]) == ("spy_vwap", 1, 0, summary["net_pnl"])
    assert [held["quantity"] for held in summary["positions"]] == ["1.5"]


def test_every_view_is_json() -> None:
    views = [
        orders_view(ROUND),
        positions_view(ROUND),
        trades_view(ROUND),
        journal_view(ROUND),
        summary_view(ROUND, 1, {}),
    ]

    assert json.loads(json.dumps(views)) == views


def test_an_empty_journal_shows_nothing() -> None:
    assert orders_view([]) == positions_view([]) == trades_view([]) == journal_view([], 5) == []


def test_a_decimal_is_written_without_exponent() -> None:
    assert [decimal_words(Decimal(text)) for text in ("1E+4", "1E-7", "2.50")] == ["10000", "0.0000001", "2.50"]
