"""The door from signals to intents: what is malformed, or too much, goes no further."""

from collections.abc import Iterable
from decimal import Decimal, localcontext

import msgspec

from desk.identity import TAG_MAX, intent_id
from desk.messages import Effect, Intent, OrderType, Side
from desk.portfolio import Position
from desk.units import CONTEXT, NS_PER_S, ONE, ZERO
from strategies.base import Action, Signal, Strategy

#: How many intents of one strategy may be without an answer: so many that open something, and as many others.
UNANSWERED_MAX = 32
#: Some thirty years; the time at which an order ends has room in every record then.
TTL_S_MAX = 10**9
#: A reason stands in each record of a position.
REASON_CHARS_MAX = 1000


class Door:
    """Counts what may still leave at one event; the rest is too much and is never sent.

    What closes or moves a stop has a window of its own and no rate: a flood of entries keeps no exit back.
    """

    __slots__ = ("_left", "held_back", "opened")

    def __init__(self, unanswered: Iterable[Intent], opens_max: int | None) -> None:
        """Begin an event.

        Args:
            unanswered: What was sent before and has no order yet.
            opens_max: How many that open something may still leave in this second of market time; None: any number.
        """
        waiting = [intent.effect is Effect.OPEN for intent in unanswered]
        opens = UNANSWERED_MAX - sum(waiting)
        self._left = {True: opens, False: UNANSWERED_MAX - len(waiting) + sum(waiting)}
        if opens_max is not None:
            self._left[True] = min(opens, opens_max)
        self.opened = self.held_back = 0

    def admits(self, effect: Effect) -> bool:
        """Say whether one more intent may leave, and count it."""
        is_open = effect is Effect.OPEN
        if self._left[is_open] <= 0:
            self.held_back += 1
            return False
        self._left[is_open] -= 1
        self.opened += is_open
        return True


class MalformedSignalError(ValueError):
    """A signal is none that the desk could act on; the text says why."""


def effect_of(signal: Signal) -> Effect:
    """Say what a signal does to a position: SELL and CLOSE reduce, whatever its side."""
    return {Action.BUY: Effect.OPEN, Action.MODIFY: Effect.MODIFY}.get(signal.action, Effect.CLOSE)


def well_formed(said: Signal, symbols: tuple[str, ...]) -> Signal:
    """Give a signal as whoever reads it off the wire will see it.

    A Struct takes whatever it is made of. What is of another type risk could not read, and nobody would ever answer.

    Raises:
        MalformedSignalError: It is malformed.
    """
    sent = msgspec.structs.replace(said, reasoning="", slippage_tolerance=None)  # these stay here
    try:
        signal = msgspec.msgpack.decode(msgspec.msgpack.encode(sent), type=Signal)
    except (ArithmeticError, RecursionError, TypeError, ValueError) as error:
        raise MalformedSignalError(str(error)) from error
    fault = malformed(sent, symbols)
    if fault:
        raise MalformedSignalError(fault)
    return signal


def malformed(signal: Signal, symbols: tuple[str, ...]) -> str:  # noqa: PLR0911 - one return a fault
    """Say what is wrong with a signal, or "" where it is well-formed.

    Required are an own symbol and an order type, for a BUY exactly one size; prices and sizes are finite and > 0.
    """
    if signal.symbol not in symbols:
        return f"{signal.symbol} is not one of this strategy's symbols"
    if signal.order_type not in {"MARKET", "LIMIT"}:
        return f"order type {signal.order_type!r}"
    for name in ("quantity", "size_pct", "limit_price", "stop_loss", "take_profit"):
        figure: Decimal | None = getattr(signal, name)
        if figure is not None and not (isinstance(figure, Decimal) and figure.is_finite() and figure > ZERO):
            return f"{name} {figure}"
    if len(signal.tag) > TAG_MAX or len(signal.reason) > REASON_CHARS_MAX:
        return f"a tag of more than {TAG_MAX} characters, or a reason of more than {REASON_CHARS_MAX}"
    if signal.order_type == "LIMIT" and signal.limit_price is None and signal.action != Action.MODIFY:
        return "a LIMIT without limit_price"
    if signal.action == Action.BUY and (signal.quantity is None) == (signal.size_pct is None):
        return "a BUY names exactly one of quantity and size_pct"
    if signal.action == Action.MODIFY and not signal.tag:
        return "a MODIFY without the tag of its position"
    if signal.size_pct is not None and signal.size_pct > ONE:
        return f"size_pct {signal.size_pct} is above 1"
    return "" if 0 <= signal.ttl_s <= TTL_S_MAX else f"a time to live of {signal.ttl_s} s"


def intent_of(  # noqa: PLR0913 - an intent has these parts
    signal: Signal,
    *,
    strategy: Strategy,
    place: tuple[str, int, int],
    reference_price: Decimal,
    position: Position | None,
    tag: str | None = None,
    part: str = "",
    decided_ns: int,
    expires_ns: int,
    epoch: int,
    bar_sequence: int,
) -> Intent:
    """Make the intent of a well-formed signal; ``place`` is (timeframe, event time, number of the signal).

    ``tag`` None leaves it to the position, or the signal. SELL and CLOSE reduce, whatever the side of the position;
    without quantity they close all of it.
    """
    timeframe, ts_ns, number = place
    name = strategy.instance.name
    if tag is None:
        tag = position.tag if position is not None else signal.tag
    effect = effect_of(signal)
    is_short = position is not None and position.quantity < ZERO
    side = Side.BUY if effect is Effect.OPEN or is_short else Side.SELL
    quantity = signal.quantity
    if effect is Effect.CLOSE and quantity is None and position is not None:
        share = signal.size_pct if signal.action is Action.SELL and signal.size_pct is not None else ONE
        with localcontext(CONTEXT):
            quantity = abs(position.quantity) * share
    return Intent(
        intent_id=intent_id(name, signal.symbol, timeframe, ts_ns, number, part),
        strategy=name,
        symbol=signal.symbol,
        timeframe=timeframe,
        bar_ts_ns=ts_ns,
        number=number,
        effect=effect,
        side=side,
        order_type=OrderType(signal.order_type),
        quantity=quantity,
        size_pct=signal.size_pct if effect is Effect.OPEN else None,
        limit_price=signal.limit_price,
        stop_loss=signal.stop_loss,
        take_profit=signal.take_profit,
        protective_stop=strategy.protective_stop,
        order_ttl_ns=signal.ttl_s * NS_PER_S,
        decided_ns=decided_ns,
        expires_ns=expires_ns,
        reference_price=reference_price,
        tag=tag,
        reason=signal.reason,
        epoch=epoch,
        confidence=signal.confidence,
        horizon=signal.horizon.value,
        bar_sequence=bar_sequence,
    )
