"""From the file and the books to what the gate judges by: its bounds, and what working orders may still trade."""

from collections.abc import Iterable

from actors.settings import RiskConfig
from actors.settings import RiskLimits as LimitSettings
from desk.exposure import Reservation, RiskLimits
from desk.messages import Effect, Order, Purpose

#: Age (s) beyond a bar's close, or of the last tick, from which no entry is judged on a price.
DATA_AGE_S_DEFAULT = 65.0
_EFFECTS = {Purpose.ENTRY: Effect.OPEN, Purpose.EXIT: Effect.CLOSE}


def bounds_of(settings: LimitSettings) -> RiskLimits:
    """Turn settings into the gate's bounds: what the file leaves out does not bind, but for a strategy's data age."""
    of_strategy = settings if isinstance(settings, RiskConfig) else None
    age_s = settings.max_data_age_s
    if age_s is None and of_strategy is not None:
        age_s = DATA_AGE_S_DEFAULT
    return RiskLimits(
        max_order_notional_usd=settings.max_order_notional_usd,
        max_position_size_usd=settings.max_position_size_usd,
        max_position_size=None if of_strategy is None else of_strategy.max_position_size,
        max_positions=settings.max_positions,
        max_positions_per_symbol=settings.max_positions_per_symbol,
        max_exposure_pct=settings.max_exposure_pct,
        max_exposure_usd=settings.max_exposure_usd,
        min_buying_power_reserve_usd=settings.min_buying_power_reserve_usd,
        max_data_age_s=age_s,
    )


def reserved_by(orders: Iterable[Order]) -> list[Reservation]:
    """Give what working orders may still trade; stops and targets, which only end what is held, reserve nothing."""
    return [
        Reservation(
            order.order_id,
            order.strategy,
            order.symbol,
            order.tag,
            _EFFECTS[order.purpose],
            order.side,
            order.quantity - order.filled_quantity,
            order.limit_price or order.reference_price,
        )
        for order in orders
        if order.purpose in _EFFECTS
    ]
