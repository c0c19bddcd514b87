"""What the paper venue knows, keeps and answers: its terms, its orders, its state."""

from decimal import Decimal
from typing import Literal

import msgspec

from desk.messages import Bar, OrderState, Side, SubmitOrder, Tick, VenueOrder, VenueReport
from desk.units import BPS, ZERO

INFINITY = Decimal("Infinity")


class PaperTerms(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the paper venue deals.

    ``fill`` says what a new order meets: the open of the next event, or the close of the last one shown.
    Slippage and fees are in basis points of the price and of the notional, 0 to below 10 000; cash is in account
    currency, >= 0.
    """

    fill: Literal["next_open", "close"] = "next_open"
    slippage_bps: Decimal = ZERO
    maker_fee_bps: Decimal = ZERO
    taker_fee_bps: Decimal = ZERO
    starting_cash: Decimal = ZERO

    def __post_init__(self) -> None:
        """Refuse figures out of range.

        Raises:
            ValueError: A figure is not finite or out of range; msgspec shows it as a ValidationError.
        """
        for name in ("slippage_bps", "maker_fee_bps", "taker_fee_bps", "starting_cash"):
            figure: Decimal = getattr(self, name)
            most = INFINITY if name == "starting_cash" else BPS
            if not (figure.is_finite() and ZERO <= figure < most):
                msg = f"{name} must be at least 0 and below {most}, not {figure}"
                raise ValueError(msg)


class RestingOrder(msgspec.Struct, frozen=True, array_like=True):
    """An order that waits. ``sequence`` grows with each submission and decides who is matched first."""

    command: SubmitOrder
    sequence: int


class FinishedOrder(msgspec.Struct, frozen=True, array_like=True):
    """What is remembered of an order that waits no more; ``average_price`` is 0 where nothing filled."""

    order_id: str
    symbol: str
    side: Side
    oco_group: str
    state: OrderState
    quantity: Decimal
    filled_quantity: Decimal
    average_price: Decimal
    reason: str

    @property
    def done_group(self) -> str:
        """The OCO group that this order's fill has done for, "" where there is none."""
        return self.oco_group if self.state is OrderState.FILLED else ""


class PaperState(msgspec.Struct, frozen=True, array_like=True):
    """Everything that a book knows; given back, it goes on as if nothing had happened.

    ``done_groups`` are OCO groups that are done, beyond those of which a filled order is among ``finished``.
    """

    resting: tuple[RestingOrder, ...]
    finished: tuple[FinishedOrder, ...]
    last_events: tuple[Bar | Tick, ...]
    positions: dict[str, Decimal]
    cash: Decimal
    done_groups: tuple[str, ...] = ()


class PaperSnapshot(msgspec.Struct, frozen=True, array_like=True):
    """The venue's truth for reconciliation; positions are net by symbol, flat ones left out."""

    orders: tuple[VenueOrder, ...]
    positions: dict[str, Decimal]
    cash: Decimal


class Outcome(msgspec.Struct, frozen=True, array_like=True):
    """What one call did: reports in order, each numbered 0 for the caller to number, and the orders that changed."""

    reports: tuple[VenueReport, ...] = ()
    touched: tuple[str, ...] = ()


NOTHING = Outcome()
