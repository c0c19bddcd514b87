"""What is at stake: the figures and limits of one judgement, and how much room each limit leaves."""

from collections.abc import Callable
from decimal import Decimal
from typing import Literal

import msgspec

from desk.messages import Effect, Intent, OrderType, Side
from desk.portfolio import Key, Position
from desk.sizing import QUANTITY_STEP, quantity_of_share, shortened
from desk.units import BPS, ONE, ZERO, round_down

#: No price and no quantity or worth of an entry is above this, whatever the limits: the books count thousands of such
#: to the last digit.
COUNTED_MAX = Decimal(10) ** 12


class MissingFigureError(ValueError):
    """A limit binds, and a figure that it needs is unknown."""


class RiskLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The bounds of entries. None does not bind; a figure binds up to and including itself.

    Money is in account currency, shares are parts of the equity (0.1 is ten per cent), counts are of open or
    approved positions. ``max_position_size`` and its USD sister bound what one strategy holds of one symbol, over
    all tags. Exposure is the gross value of all strategies. ``max_data_age_s`` counts from the end of the last bar,
    or from the last tick. ``oversize`` says whether an entry that is too big is refused or cut to size.
    """

    max_order_notional_usd: Decimal | None = None
    max_position_size_usd: Decimal | None = None
    max_position_size: Decimal | None = None
    max_positions: int | None = None
    max_positions_per_symbol: int | None = None
    max_positions_per_strategy: int | None = None
    max_exposure_pct: Decimal | None = None
    max_exposure_usd: Decimal | None = None
    min_buying_power_reserve_usd: Decimal | None = None
    max_data_age_s: float | None = 65.0
    quantity_step: Decimal = QUANTITY_STEP
    oversize: Literal["refuse", "clamp"] = "refuse"

    def __post_init__(self) -> None:
        """Refuse limits that are no limits.

        Raises:
            ValueError: A limit is negative or not finite; msgspec shows it as a ValidationError.
        """
        for name in self.__struct_fields__:
            figure: object = getattr(self, name)
            if not isinstance(figure, Decimal | int | float):
                continue
            number = Decimal(figure)
            if not number.is_finite() or number < ZERO:
                msg = f"{name} must be a finite number of at least 0, not {figure}"
                raise ValueError(msg)
        if self.quantity_step == ZERO:
            msg = "quantity_step must be above 0"
            raise ValueError(msg)


class Reservation(msgspec.Struct, frozen=True, array_like=True):
    """What an approved order may still trade: ``quantity`` (> 0, unsigned, not yet filled) at ``price``."""

    order_id: str
    strategy: str
    symbol: str
    tag: str
    effect: Effect
    side: Side
    quantity: Decimal
    price: Decimal


class RiskPicture(msgspec.Struct, frozen=True, kw_only=True):
    """All that a judgement looks at, as it stands at this moment.

    A reason that is "" does not hold. ``last_price_ns`` is the end of the bar that gave the last price, or the tick's
    time. A figure that is None is unknown, and refuses an entry where a limit needs it; ``cash`` None where the
    account's cash does not bind. ``positions`` and ``reservations`` are those of all strategies of the account;
    resting protective orders are no reservations. ``unknown_orders`` are those whose outcome is unknown, for this
    account and symbol. A symbol without mark counts at its position's average price. ``fee_bps`` is what an entry
    costs beyond its notional.
    """

    halt_reason: str
    stop_entry_reason: str
    gate_reason: str
    is_enabled: bool
    epoch_highest: int
    is_known: bool
    market_ns: int
    last_price: Decimal | None
    last_price_ns: int | None
    equity: Decimal | None
    cash: Decimal | None
    positions: tuple[Position, ...]
    reservations: tuple[Reservation, ...]
    unknown_orders: tuple[str, ...]
    marks: dict[str, Decimal] = {}
    fee_bps: Decimal = ZERO
    day_reason: str = ""


class Case(msgspec.Struct, frozen=True):
    """One intent with all that belongs to it, worked out once.

    ``held`` is the position of the intent's own key. ``keys`` are those of all open or approved positions. ``price``
    is the worst price that a notional is counted at and ``quantity`` what would be traded; None where the intent or
    a figure does not allow to say, ``size_fault`` then says what is missing beyond the intent's own form.
    """

    intent: Intent
    picture: RiskPicture
    limits: RiskLimits
    held: Position | None
    keys: frozenset[Key]
    price: Decimal | None
    quantity: Decimal | None
    size_fault: str


class Room(msgspec.Struct, frozen=True):
    """One limit in money. ``left`` gives what may still be added to it, or None where it does not bind.

    ``left`` raises MissingFigureError where a figure that it needs is unknown.
    """

    code: str
    name: str
    left: Callable[[Case], Decimal | None]


def case_of(intent: Intent, picture: RiskPicture, limits: RiskLimits) -> Case:
    """Work out price, quantity and position of an intent. A malformed intent raises nothing here."""
    key = (intent.strategy, intent.symbol, intent.tag)
    opening = tuple(one for one in picture.reservations if one.effect is Effect.OPEN)
    held = {(one.strategy, one.symbol, one.tag): one for one in picture.positions if one.quantity != ZERO}
    case = Case(
        intent=intent,
        picture=picture,
        limits=limits,
        held=held.get(key),
        keys=frozenset(held) | {(one.strategy, one.symbol, one.tag) for one in opening},
        price=_worst_price(intent, picture),
        quantity=None,
        size_fault="",
    )
    quantity, fault = _wanted(case)
    return msgspec.structs.replace(case, quantity=quantity, size_fault=fault)


def reducible(case: Case) -> Decimal:
    """Give how much of the own position no approved exit takes already; 0 without a position."""
    if case.held is None:
        return ZERO
    intent = case.intent
    leaving = sum(
        (
            one.quantity
            for one in case.picture.reservations
            if one.effect is Effect.CLOSE
            and (one.strategy, one.symbol, one.tag) == (intent.strategy, intent.symbol, intent.tag)
        ),
        ZERO,
    )
    return max(abs(case.held.quantity) - leaving, ZERO)


def _is_figure(figure: Decimal | None) -> bool:
    return figure is not None and figure.is_finite() and figure > ZERO


def _worst_price(intent: Intent, picture: RiskPicture) -> Decimal | None:
    """Give the highest price that the notional of an entry may come to before slippage."""
    figures = [intent.reference_price]
    if picture.last_price is not None and _is_figure(picture.last_price):
        figures.append(picture.last_price)
    if intent.order_type is OrderType.LIMIT:
        if intent.limit_price is None:
            return None
        figures = [intent.limit_price] if intent.side is Side.BUY else [*figures, intent.limit_price]
    if not all(_is_figure(figure) for figure in figures):
        return None
    return max(figures)


def _wanted(case: Case) -> tuple[Decimal | None, str]:
    """Give the quantity that an intent asks for, in steps for an entry, and what is missing to say it."""
    intent = case.intent
    sizes = [size for size in (intent.quantity, intent.size_pct) if size is not None]
    if len(sizes) > 1 or not all(_is_figure(size) for size in sizes):
        return None, ""
    if intent.size_pct is not None and intent.size_pct > ONE:
        return None, ""
    if intent.effect is Effect.OPEN:
        return _wanted_entry(case)
    if intent.effect is Effect.MODIFY:
        return ZERO, ""
    whole = ZERO if case.held is None else abs(case.held.quantity)
    asked = whole if intent.quantity is None else intent.quantity
    if intent.size_pct is not None:
        asked = whole * intent.size_pct
    most = reducible(case)
    return (most if asked >= most else shortened(asked)), ""


def _wanted_entry(case: Case) -> tuple[Decimal | None, str]:
    intent, step, equity = case.intent, case.limits.quantity_step, case.picture.equity
    try:
        if intent.quantity is not None:
            return round_down(intent.quantity, step), ""
        if intent.size_pct is None or case.price is None:
            return None, ""
        if equity is None or not equity.is_finite():
            return None, f"size_pct {intent.size_pct} needs an equity, and it is {equity or 'unknown'}"
        return quantity_of_share(intent.size_pct, equity, case.price, step), ""
    except ArithmeticError:
        return None, f"a size of {intent.quantity or intent.size_pct} at {case.price} is beyond what can be counted"


# --- room -------------------------------------------------------------------------------------


def _needed(figure: Decimal | None, name: str) -> Decimal:
    if figure is None or not figure.is_finite():
        msg = f"{name} is {'unknown' if figure is None else figure}"
        raise MissingFigureError(msg)
    return figure


def _value(case: Case, held: Position) -> Decimal:
    mark = case.picture.marks.get(held.symbol, held.average_price)
    return abs(held.quantity) * _needed(mark, f"the mark of {held.symbol}")


def _engaged(case: Case, strategy: str = "", symbol: str = "") -> Decimal:
    """Give the gross value of positions and approved entries, of one strategy and symbol where they are named."""
    total = ZERO
    for held in case.picture.positions:
        if strategy in ("", held.strategy) and symbol in ("", held.symbol):
            total += _value(case, held)
    for reserved in case.picture.reservations:
        is_meant = strategy in ("", reserved.strategy) and symbol in ("", reserved.symbol)
        if is_meant and reserved.effect is Effect.OPEN:
            total += reserved.quantity * reserved.price
    return total


def _order_room(case: Case) -> Decimal | None:
    return case.limits.max_order_notional_usd


def _position_room_usd(case: Case) -> Decimal | None:
    limit = case.limits.max_position_size_usd
    return None if limit is None else limit - _engaged(case, case.intent.strategy, case.intent.symbol)


def _position_room_share(case: Case) -> Decimal | None:
    limit = case.limits.max_position_size
    if limit is None:
        return None
    most = limit * _needed(case.picture.equity, "the equity")
    return most - _engaged(case, case.intent.strategy, case.intent.symbol)


def _exposure_room_share(case: Case) -> Decimal | None:
    limit = case.limits.max_exposure_pct
    return None if limit is None else limit * _needed(case.picture.equity, "the equity") - _engaged(case)


def _exposure_room_usd(case: Case) -> Decimal | None:
    limit = case.limits.max_exposure_usd
    return None if limit is None else limit - _engaged(case)


def _cash_room(case: Case) -> Decimal | None:
    """Give the cash that an entry may take after its fee.

    The proceeds of a short are owed, and as much again stands against it: each takes twice its value.
    """
    picture, reserve = case.picture, case.limits.min_buying_power_reserve_usd
    if picture.cash is None and reserve is None:
        return None
    free = _needed(picture.cash, "the cash") - (reserve or ZERO)
    for held in picture.positions:
        if held.quantity < ZERO:
            free -= 2 * _value(case, held)
    for reserved in picture.reservations:
        if reserved.effect is Effect.OPEN:
            free -= reserved.quantity * reserved.price
    return free * BPS / (BPS + _needed(picture.fee_bps, "the fee"))


#: Every bound in money, with the code that it is refused under.
ROOMS: tuple[Room, ...] = (
    Room("SIZE", "what any order may be worth", lambda _case: COUNTED_MAX),
    Room("SIZE", "max_order_notional_usd", _order_room),
    Room("POSITION_LIMIT", "max_position_size_usd", _position_room_usd),
    Room("POSITION_LIMIT", "max_position_size", _position_room_share),
    Room("EXPOSURE", "max_exposure_pct", _exposure_room_share),
    Room("EXPOSURE", "max_exposure_usd", _exposure_room_usd),
    Room("BUYING_POWER", "buying power", _cash_room),
)
