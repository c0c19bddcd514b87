"""Plain orders, intents and reports for the tests of the order path."""

from decimal import Decimal

from desk.messages import (
    Bar,
    Effect,
    FillBooked,
    Intent,
    IntentJudged,
    Order,
    OrderFilled,
    OrderState,
    OrderType,
    ProtectiveStop,
    Purpose,
    Side,
    SubmitOrder,
)
from desk.units import MINUTE_NS, ZERO


def an_intent() -> Intent:
    """Buy one SPY at 100 with a stop at 99."""
    return Intent(
        intent_id="i1",
        strategy="alpha",
        symbol="SPY",
        timeframe="1m",
        bar_ts_ns=0,
        number=0,
        effect=Effect.OPEN,
        side=Side.BUY,
        order_type=OrderType.MARKET,
        quantity=Decimal(1),
        size_pct=None,
        limit_price=None,
        stop_loss=Decimal(99),
        take_profit=None,
        protective_stop=ProtectiveStop.BAR_CLOSE,
        order_ttl_ns=0,
        decided_ns=MINUTE_NS,
        expires_ns=2 * MINUTE_NS,
        reference_price=Decimal(100),
        tag="t",
        reason="SIGNAL",
        epoch=1,
    )


def a_judgement() -> IntentJudged:
    """Approve that intent whole."""
    return IntentJudged(order_id="o1", intent=an_intent(), quantity=Decimal(1), reasons=(), judged_ns=MINUTE_NS)


def an_order(state: OrderState = OrderState.SUBMITTED, quantity: Decimal = Decimal(10)) -> Order:
    """Give an entry of ten SPY in some state, confirmed by the venue, nothing filled."""
    return Order(
        order_id="o1",
        intent_id="i1",
        strategy="alpha",
        symbol="SPY",
        tag="t",
        purpose=Purpose.ENTRY,
        side=Side.BUY,
        type=OrderType.MARKET,
        quantity=quantity,
        limit_price=None,
        stop_price=None,
        expires_ns=0,
        oco_group="",
        state=state,
        filled_quantity=ZERO,
        average_price=ZERO,
        fees=ZERO,
        venue_order_id="v1",
        reason="",
        stop_loss=Decimal(99),
        take_profit=None,
        protective_stop=ProtectiveStop.BAR_CLOSE,
        reference_price=Decimal(100),
        created_ns=0,
        changed_ns=0,
    )


def a_report_of_fill(
    execution_id: str = "e1", quantity: Decimal = Decimal(4), price: Decimal = Decimal(100), fee: Decimal = ZERO
) -> OrderFilled:
    """Report one execution of that order."""
    return OrderFilled(
        report=0,
        order_id="o1",
        execution_id=execution_id,
        quantity=quantity,
        price=price,
        fee=fee,
        is_maker=False,
        leaves=ZERO,
        ts_ns=7,
    )


def a_fill(
    execution_id: str, side: Side, quantity: str, price: str, fee: str = "0", who: tuple[str, str] = ("alpha", "t")
) -> FillBooked:
    """Book one execution in SPY for a strategy and tag; a BUY is an entry."""
    return FillBooked(
        execution_id=execution_id,
        order_id=execution_id,
        strategy=who[0],
        symbol="SPY",
        tag=who[1],
        purpose=Purpose.ENTRY if side is Side.BUY else Purpose.EXIT,
        side=side,
        quantity=Decimal(quantity),
        price=Decimal(price),
        fee=Decimal(fee),
        ts_ns=5,
        exit_reason="" if side is Side.BUY else "SIGNAL",
    )


def a_bar(minute: int, open_: float, high: float, low: float, close: float, symbol: str = "SPY") -> Bar:
    """Give the bar of one minute."""
    return Bar(symbol, "1m", minute * MINUTE_NS, (minute + 1) * MINUTE_NS, open_, high, low, close, 1.0)


def a_command(order_id: str = "o1", side: Side = Side.BUY, type_: OrderType = OrderType.MARKET) -> SubmitOrder:
    """Place one order for two SPY without time limit; a limit or stop gets its price by replacing it."""
    return SubmitOrder(
        order_id=order_id,
        symbol="SPY",
        side=side,
        type=type_,
        quantity=Decimal(2),
        limit_price=None,
        stop_price=None,
        expires_ns=0,
        oco_group="",
    )
