"""What a venue demands of orders, and how an order is made to fit before it leaves.

What opens is made smaller and less eager, or refused with the reason; what reduces or protects is never refused. It is
rounded towards trading sooner, and what is less than a lot stays behind as dust.
"""

from collections.abc import Iterable, Mapping
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, localcontext

from msgspec.structs import replace

from desk.messages import Order, OrderType, Purpose, Side
from desk.units import CONTEXT, ZERO, round_down
from desk.venue import Instrument

REASON = "PREVALIDATION"
#: Asked for with each order: to look a member up in its class costs as much as several calls.
_ENTRY = Purpose.ENTRY


class Instruments:
    """All instruments by symbol. What the venue says of one holds whole, before what the configuration says.

    A symbol that nobody describes demands nothing.
    """

    def __init__(self, configured: Mapping[str, Instrument], told: Iterable[Instrument] = ()) -> None:
        """Take the configuration's, and what the venue told."""
        self._configured = dict(configured)
        self._told = {each.symbol: each for each in told}
        self._known: dict[str, Instrument] = {}
        """What holds of each symbol that was asked for."""
        self._demanding: dict[str, Instrument | None] = {}
        """The same, with None for those that demand nothing."""

    def of(self, symbol: str) -> Instrument:
        """Give what is demanded in one symbol."""
        found = self._known.get(symbol)
        if found is None:
            found = self._told.get(symbol) or self._configured.get(symbol) or Instrument(symbol=symbol)
            self._known[symbol] = found
        return found

    def demanding(self, symbol: str) -> Instrument | None:
        """Give what is demanded in one symbol; None where nothing is, so that any order fits and has no fault."""
        try:
            return self._demanding[symbol]
        except KeyError:
            each = self.of(symbol)
            found = self._demanding[symbol] = None if each == Instrument(symbol=symbol) else each
            return found

    def configure(self, configured: Mapping[str, Instrument]) -> None:
        """Take another configuration; what the venue told stays before it."""
        self._configured = dict(configured)
        self._known.clear()
        self._demanding.clear()

    def tell(self, told: Iterable[Instrument]) -> tuple[Instrument, ...]:
        """Take what the venue says now, and give what of it is news."""
        news = tuple(each for each in told if self._told.get(each.symbol) != each)
        self._told |= {each.symbol: each for each in news}
        self._known.clear()
        self._demanding.clear()
        return news


def sellable(quantity: Decimal, instrument: Instrument) -> Decimal:
    """Give what of a quantity (0 or more) is whole lots; the rest is dust that no order can carry."""
    return round_down(quantity, instrument.lot) if instrument.lot > ZERO else quantity


def sooner(price: Decimal, side: Side, kind: OrderType, instrument: Instrument) -> Decimal:
    """Round a price to the tick so that the order trades no later: what reduces or protects is priced like this.

    A limit to sell and a stop to buy go down, a limit to buy and a stop to sell up; never to 0.
    """
    is_up = (side is Side.BUY) == (kind is OrderType.LIMIT)
    return _to_tick(price, instrument.tick, is_up=is_up)


def later(price: Decimal, side: Side, instrument: Instrument) -> Decimal:
    """Round an entry's limit to the tick so that it pays no more: a bid goes down, an offer up; never to 0."""
    return _to_tick(price, instrument.tick, is_up=side is Side.SELL)


def _to_tick(price: Decimal, tick: Decimal, *, is_up: bool) -> Decimal:
    if tick <= ZERO:
        return price
    with localcontext(CONTEXT):
        ticks = (price / tick).to_integral_value(rounding=ROUND_CEILING if is_up else ROUND_FLOOR)
        return max(ticks, Decimal(1)) * tick


def fitted(order: Order, instrument: Instrument) -> Order:
    """Give a new order with its quantity in whole lots and its limit on the tick.

    An exit of less than a lot keeps its quantity: the venue has the last word on it. Levels to protect stay as they
    were wished for; they are rounded when an order rests for them.
    """
    lot, tick = instrument.lot, instrument.tick
    if (not lot or lot <= ZERO) and (not tick or tick <= ZERO):  # whether a figure is 0 costs a third of a comparison
        return order
    quantity, limit = sellable(order.quantity, instrument), order.limit_price
    is_entry = order.purpose is Purpose.ENTRY
    if quantity == ZERO and not is_entry:
        quantity = order.quantity
    if limit is not None:
        limit = later(limit, order.side, instrument) if is_entry else sooner(limit, order.side, order.type, instrument)
    if (quantity, limit) == (order.quantity, order.limit_price):
        return order
    return replace(order, quantity=quantity, limit_price=limit)


def faults(order: Order, instrument: Instrument, *, asked: Decimal, cash: Decimal | None) -> tuple[str, ...]:
    """Say why a venue would refuse an entry that was made to fit; () where nothing is known against it.

    Args:
        order: After ``fitted``. What is no entry has no faults.
        instrument: What the venue demands.
        asked: The quantity before it was made to fit.
        cash: What is left to buy with; None where the venue lends.

    Returns:
        Every reason, as ``PREVALIDATION: text``.
    """
    if order.purpose is not _ENTRY:
        return ()
    demands_nothing = not instrument.quantity_min and not instrument.notional_min
    if demands_nothing and cash is None and order.quantity > ZERO:
        return ()
    price = order.counted_price
    notional = order.quantity * price
    found: list[str] = []
    if order.quantity <= ZERO:
        found.append(f"quantity {asked} of {order.symbol} is less than one lot of {instrument.lot}")
    elif order.quantity < instrument.quantity_min:
        found.append(
            f"quantity {order.quantity} of {order.symbol} is below the venue's least, {instrument.quantity_min}"
        )
    if ZERO < notional < instrument.notional_min:
        found.append(
            f"{notional.normalize():f} for {order.symbol} is below the venue's least, {instrument.notional_min}"
        )
    if cash is not None and order.side is Side.BUY and notional > cash:
        found.append(
            f"{notional.normalize():f} for {order.symbol} is more than the {max(cash, ZERO).normalize():f} left"
        )
    return tuple(f"{REASON}: {text}" for text in found)


def committed(orders: Iterable[Order]) -> Decimal:
    """Give the cash that working entries to buy may still take."""
    return sum(
        (
            order.left * order.counted_price
            for order in orders
            if order.purpose is Purpose.ENTRY and order.side is Side.BUY
        ),
        ZERO,
    )
