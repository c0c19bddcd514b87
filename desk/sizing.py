"""How much to trade: quantities that follow from a share of the equity, from a risk, or from the room that is left."""

from decimal import ROUND_DOWN, Decimal

from desk.units import ONE, ZERO, round_down

#: The least quantity that the desk trades, and the step of all quantities that it works out.
QUANTITY_STEP = Decimal("0.001")
#: No quantity has more digits: with all 28 of a third of a position, sums of quantities would depend on their order.
QUANTITY_QUANTUM = Decimal("1e-12")


def quantity_of_share(share: Decimal, equity: Decimal, price: Decimal, step: Decimal = QUANTITY_STEP) -> Decimal:
    """Give how much a share of the equity buys, rounded down; 0 where it buys less than one step.

    Args:
        share: Part of the equity, 0 < share <= 1.
        equity: Value of the account, in its currency. At or below 0 it buys nothing.
        price: Price of one unit, > 0.
        step: Step of quantities, > 0.
    """
    assert ZERO < share <= ONE, "a share lies above 0 and at most at 1"
    assert price > ZERO, "a price is positive"
    return quantity_of_notional(share * equity, price, step)


def quantity_of_notional(notional_usd: Decimal, price: Decimal, step: Decimal = QUANTITY_STEP) -> Decimal:
    """Give how much an amount of money buys at ``price`` (> 0), rounded down; 0 for no or negative money."""
    assert price > ZERO, "a price is positive"
    if notional_usd <= ZERO:
        return ZERO
    return round_down(notional_usd / price, step)


def shortened(quantity: Decimal) -> Decimal:
    """Give a quantity (0 or more) as it is, or rounded down where it has more digits than sums keep."""
    cut = quantity.quantize(QUANTITY_QUANTUM, rounding=ROUND_DOWN)
    return quantity if cut == quantity else cut


def quantity_of_risk(
    risk_usd: Decimal,
    price: Decimal,
    stop_loss_pct: Decimal,
    notional_usd_max: Decimal | None = None,
    step: Decimal = QUANTITY_STEP,
) -> Decimal:
    """Give how much loses ``risk_usd`` when the stop is hit, capped by a notional, rounded down.

    min(risk / (price x stop), notional / price). A gap through the stop loses more: it is sized for, not promised.

    Args:
        risk_usd: Money at risk, > 0.
        price: Entry price, > 0.
        stop_loss_pct: Distance of the stop as a share of the price, > 0.
        notional_usd_max: Most money in the position; None does not bind.
        step: Step of quantities, > 0.
    """
    assert price > ZERO, "a price is positive"
    assert stop_loss_pct > ZERO, "a stop lies away from the price"
    quantity = risk_usd / (price * stop_loss_pct)
    if notional_usd_max is not None:
        quantity = min(quantity, notional_usd_max / price)
    return round_down(max(quantity, ZERO), step)
