"""The gate that every intent passes: a fixed table of checks, of which each failed one gives its reason.

What opens is refused when anything is unknown. What reduces is judged only by whether it is well-formed, new, sent
by the living incarnation, and has a position to reduce: nothing else may keep a position from being closed.
"""

from collections.abc import Callable
from decimal import Decimal

import msgspec

from desk.day import DAILY_LOSS
from desk.exposure import COUNTED_MAX, ROOMS, Case, MissingFigureError, RiskLimits, RiskPicture, case_of, reducible
from desk.messages import Effect, Intent, OrderType, Side
from desk.portfolio import HORIZON_DEFAULT
from desk.sizing import quantity_of_notional
from desk.units import NS_PER_S, ONE, ZERO

#: What a pure check can raise. Of an opening intent it is a refusal, of a reducing one it blocks nothing.
FAULTS = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)

ALL = frozenset(Effect)
OPENING = frozenset({Effect.OPEN})
REDUCING = frozenset({Effect.CLOSE, Effect.MODIFY})


class Judgement(msgspec.Struct, frozen=True):
    """The verdict: how much may be traded, or every reason why nothing may.

    ``quantity`` is 0 on a refusal and for MODIFY. ``reasons`` holds ``CODE: text`` in the order of the table.
    """

    quantity: Decimal
    reasons: tuple[str, ...]

    @property
    def is_approved(self) -> bool:
        """True when no check failed."""
        return not self.reasons


class Check(msgspec.Struct, frozen=True):
    """One row of the gate: its code, what it looks at, and for which effects it is asked.

    ``judge`` gives the reason of a failure, in figures, or "" where all is well.
    """

    code: str
    judge: Callable[[Case], str]
    effects: frozenset[Effect]


def judge(intent: Intent, picture: RiskPicture, limits: RiskLimits) -> Judgement:
    """Judge one intent against the figures and limits of this moment.

    Nothing is remembered and nothing is asked for: the same arguments give the same verdict. Where the limits say
    ``clamp``, an entry that is too big is cut to the room that is left instead of being refused.

    Args:
        intent: What a strategy wants.
        picture: All figures that the gate looks at.
        limits: The bounds; one that is None does not bind.

    Returns:
        The quantity to trade and no reason, or quantity 0 and every reason that failed.
    """
    case = case_of(intent, picture, limits)
    is_opening = intent.effect is Effect.OPEN
    if is_opening and limits.oversize == "clamp":
        case = _clamped(case)
    reasons: list[str] = []
    for check in CHECKS:
        if intent.effect not in check.effects:
            continue
        try:
            text = check.judge(case)
        except FAULTS as fault:
            text = f"cannot be judged: {fault or type(fault).__name__}" if is_opening else ""
        if text:
            reasons.append(f"{check.code}: {text}")
    if reasons:
        return Judgement(ZERO, tuple(reasons))
    if intent.effect is Effect.MODIFY:
        return Judgement(ZERO, ())
    if case.quantity is None or case.quantity <= ZERO:
        return Judgement(ZERO, ("SIZE: there is no quantity to trade",))
    return Judgement(case.quantity, ())


def _clamped(case: Case) -> Case:
    """Cut an entry to the least room that a limit leaves; unknown figures leave it to the checks."""
    if case.quantity is None or case.price is None:
        return case
    quantity = case.quantity
    for room in ROOMS:
        try:
            left = room.left(case)
            if left is not None:
                quantity = min(quantity, quantity_of_notional(left, case.price, case.limits.quantity_step))
        except FAULTS:  # the room's own check meets the same fault and refuses
            continue
    return msgspec.structs.replace(case, quantity=quantity)


# --- who may speak ----------------------------------------------------------------------------


def _halted(case: Case) -> str:
    return case.picture.halt_reason


def _stop_entry(case: Case) -> str:
    return case.picture.stop_entry_reason


def _gate_closed(case: Case) -> str:
    return case.picture.gate_reason


def _day_ended(case: Case) -> str:
    return case.picture.day_reason


def _strategy_disabled(case: Case) -> str:
    return "" if case.picture.is_enabled else f"strategy {case.intent.strategy} is disabled"


def _stale_epoch(case: Case) -> str:
    sent, highest = case.intent.epoch, case.picture.epoch_highest
    return f"sent by incarnation {sent}, the living one is {highest}" if sent < highest else ""


def _duplicate_intent(case: Case) -> str:
    return f"intent {case.intent.intent_id} is known already" if case.picture.is_known else ""


def _expired_intent(case: Case) -> str:
    now_ns, expires_ns = case.picture.market_ns, case.intent.expires_ns
    if now_ns < expires_ns:
        return ""
    return f"good until {expires_ns}, market time is {now_ns}"


# --- is it well-formed ------------------------------------------------------------------------


def _is_positive(figure: Decimal | None) -> bool:
    return figure is not None and figure.is_finite() and figure > ZERO


def _malformed(case: Case) -> str:
    intent = case.intent
    prices = (
        ("limit_price", intent.limit_price),
        ("stop_loss", intent.stop_loss),
        ("take_profit", intent.take_profit),
        ("reference_price", intent.reference_price),
    )
    faults = [
        *(f"{name} is empty" for name in ("intent_id", "strategy", "symbol") if not getattr(intent, name)),
        *(
            f"{name} must be a finite number above 0, not {figure}"
            for name, figure in (("quantity", intent.quantity), ("size_pct", intent.size_pct), *prices)
            if figure is not None and not _is_positive(figure)
        ),
        *(
            f"{name} must be at most {COUNTED_MAX:f}, not {figure}"
            for name, figure in prices
            if figure is not None and _is_positive(figure) and figure > COUNTED_MAX
        ),
    ]
    if not faults:
        faults += _SHAPES[intent.effect](case)
    return "; ".join(faults)


def _order_faults(intent: Intent) -> list[str]:
    faults: list[str] = []
    if intent.order_type is OrderType.STOP:
        faults.append("an intent has no trigger price and so cannot be a STOP")
    if intent.order_type is OrderType.LIMIT and intent.limit_price is None:
        faults.append("a LIMIT needs a limit_price")
    if intent.size_pct is not None and intent.size_pct > ONE:
        faults.append(f"size_pct must be at most 1, not {intent.size_pct}")
    return faults


def _open_faults(case: Case) -> list[str]:
    intent = case.intent
    faults = _order_faults(intent)
    if (intent.quantity is None) == (intent.size_pct is None):
        faults.append("exactly one of quantity and size_pct says the size")
    entry = intent.reference_price
    if intent.order_type is OrderType.LIMIT and intent.limit_price is not None:
        entry = min(entry, intent.limit_price) if intent.side is Side.BUY else max(entry, intent.limit_price)
    return faults + _level_faults(intent, entry, intent.side.sign)


def _level_faults(intent: Intent, price: Decimal, sign: int) -> list[str]:
    """Say which level lies on the wrong side of ``price`` for a position of this sign."""
    faults: list[str] = []
    stop, target = intent.stop_loss, intent.take_profit
    if stop is not None and (price - stop) * sign <= ZERO:
        faults.append(f"stop_loss {stop} must be {'below' if sign > 0 else 'above'} the price {price}")
    if target is not None and (target - price) * sign <= ZERO:
        faults.append(f"take_profit {target} must be {'above' if sign > 0 else 'below'} the price {price}")
    return faults


def _close_faults(case: Case) -> list[str]:
    intent = case.intent
    faults = _order_faults(intent)
    if intent.quantity is not None and intent.size_pct is not None:
        faults.append("at most one of quantity and size_pct says the size")
    return faults


def _modify_faults(case: Case) -> list[str]:
    intent, held = case.intent, case.held
    if intent.stop_loss is None and intent.take_profit is None and intent.horizon == HORIZON_DEFAULT:
        return ["a MODIFY names a stop_loss, a take_profit or a longer horizon"]
    if held is None:
        return []
    return _level_faults(intent, intent.reference_price, 1 if held.quantity > ZERO else -1)


_SHAPES: dict[Effect, Callable[[Case], list[str]]] = {
    Effect.OPEN: _open_faults,
    Effect.CLOSE: _close_faults,
    Effect.MODIFY: _modify_faults,
}


def _stop_missing(case: Case) -> str:
    held = case.held
    if case.intent.stop_loss is not None or (held is not None and held.stop_loss is not None):
        return ""  # who averages in keeps the recorded stop
    return "an entry carries a stop_loss"


# --- does it fit ------------------------------------------------------------------------------


def _no_position(case: Case) -> str:
    intent, held = case.intent, case.held
    if held is None:
        return f"{intent.strategy} holds nothing of {intent.symbol} under tag {intent.tag!r}"
    if intent.effect is Effect.MODIFY:
        return ""
    if (held.quantity > ZERO) == (intent.side is Side.BUY):
        return f"a {intent.side} does not reduce a position of {held.quantity}"
    if reducible(case) <= ZERO:
        return f"exits of all {abs(held.quantity)} are under way"
    return ""


def _size(case: Case) -> str:
    least = case.limits.quantity_step
    if case.size_fault:
        return case.size_fault
    if case.quantity is not None and case.quantity < least:
        return f"quantity {case.quantity} is below the least of {least}"
    if case.quantity is not None and case.quantity > COUNTED_MAX:
        return f"quantity {case.quantity} is beyond what can be counted"
    return _over(case, "SIZE")


def _over(case: Case, code: str) -> str:
    """Say which of the rooms of one code the entry does not fit into."""
    if case.quantity is None or case.price is None:
        return ""  # what is missing has been refused as MALFORMED or SIZE
    notional = case.quantity * case.price
    figure = f"{notional:.2f}" if notional <= COUNTED_MAX else f"{notional:.2e}"
    texts: list[str] = []
    for room in ROOMS:
        if room.code == code:
            left = room.left(case)
            if left is not None and notional > left:
                texts.append(f"{figure} USD at {case.price} does not fit into {left:.2f} USD of {room.name}")
    return "; ".join(texts)


def _position_limit(case: Case) -> str:
    texts = [_over(case, "POSITION_LIMIT")]
    intent, limits = case.intent, case.limits
    key = (intent.strategy, intent.symbol, intent.tag)
    if key not in case.keys:
        for name, limit, count in (
            ("max_positions", limits.max_positions, len(case.keys)),
            (
                "max_positions_per_symbol",
                limits.max_positions_per_symbol,
                sum(1 for _, symbol, _ in case.keys if symbol == intent.symbol),
            ),
            (
                "max_positions_per_strategy",
                limits.max_positions_per_strategy,
                sum(1 for strategy, _, _ in case.keys if strategy == intent.strategy),
            ),
        ):
            if limit is not None and count >= limit:
                texts.append(f"{count} positions are open or approved, {name} is {limit}")
    return "; ".join(text for text in texts if text)


def _exposure(case: Case) -> str:
    return _over(case, "EXPOSURE")


def _buying_power(case: Case) -> str:
    return _over(case, "BUYING_POWER")


def _data_stale(case: Case) -> str:
    picture, age_s_max = case.picture, case.limits.max_data_age_s
    if picture.last_price is None or picture.last_price_ns is None:
        return f"no price of {case.intent.symbol} is known"
    if not _is_positive(picture.last_price):
        return f"the last price of {case.intent.symbol} is {picture.last_price}"
    age_ns = picture.market_ns - picture.last_price_ns
    if age_s_max is None or age_ns <= age_s_max * NS_PER_S:
        return ""
    return f"the last price is {age_ns / NS_PER_S:.3f} s old, max_data_age_s is {age_s_max}"


def _unknown_outcome(case: Case) -> str:
    unknown = case.picture.unknown_orders
    return f"the outcome of {', '.join(unknown)} is unknown" if unknown else ""


#: The gate, in its one order.
CHECKS: tuple[Check, ...] = (
    Check("HALTED", _halted, OPENING),
    Check("STOP_ENTRY", _stop_entry, OPENING),
    Check("GATE_CLOSED", _gate_closed, OPENING),
    Check(DAILY_LOSS, _day_ended, OPENING),
    Check("STRATEGY_DISABLED", _strategy_disabled, OPENING),
    Check("STALE_EPOCH", _stale_epoch, ALL),
    Check("MALFORMED", _malformed, ALL),
    Check("DUPLICATE_INTENT", _duplicate_intent, ALL),
    Check("EXPIRED_INTENT", _expired_intent, OPENING),
    Check("STOP_MISSING", _stop_missing, OPENING),
    Check("NO_POSITION", _no_position, REDUCING),
    Check("SIZE", _size, OPENING),
    Check("POSITION_LIMIT", _position_limit, OPENING),
    Check("DATA_STALE", _data_stale, OPENING),
    Check("EXPOSURE", _exposure, OPENING),
    Check("BUYING_POWER", _buying_power, OPENING),
    Check("UNKNOWN_OUTCOME", _unknown_outcome, OPENING),
)

__all__ = [
    "CHECKS",
    "Check",
    "Judgement",
    "MissingFigureError",
    "RiskLimits",
    "RiskPicture",
    "judge",
]
