"""The contract between a strategy and the desk.

A strategy is pure: it opens nothing, asks no clock and draws no chance. It is told about complete bars
(and ticks, where it declares them), about its own orders and fills, and answers every evaluation with
signals or with one coded reason why not.
"""

from decimal import Decimal
from enum import StrEnum
from typing import Any, ClassVar

import msgspec

from desk.messages import Bar, FillBooked, Order, ProtectiveStop, Tick
from desk.portfolio import ClosedTrade, Position
from desk.units import ZERO


class Action(StrEnum):
    """What a signal asks for."""

    BUY = "BUY"
    SELL = "SELL"
    CLOSE = "CLOSE"
    MODIFY = "MODIFY"


class Horizon(StrEnum):
    """How long a position is meant to be held."""

    DAY = "DAY"
    SWING = "SWING"
    POSITION = "POSITION"


class NoTradeCode(StrEnum):
    """Why an evaluation yielded no signal."""

    DISABLED = "DISABLED"
    DAILY_LOSS = "DAILY_LOSS"
    WARMUP = "WARMUP"
    INDICATOR_INVALID = "INDICATOR_INVALID"
    OUTSIDE_WINDOW = "OUTSIDE_WINDOW"
    MAX_TRADES_REACHED = "MAX_TRADES_REACHED"
    IN_POSITION = "IN_POSITION"
    PRICE_ABOVE_THRESHOLD = "PRICE_ABOVE_THRESHOLD"
    SIZE_ZERO = "SIZE_ZERO"
    ENTRY_PENDING = "ENTRY_PENDING"
    EXIT_PENDING = "EXIT_PENDING"
    NO_CROSSOVER = "NO_CROSSOVER"
    RSI_OUT_OF_RANGE = "RSI_OUT_OF_RANGE"
    VOLUME_TOO_LOW = "VOLUME_TOO_LOW"
    NO_POSITION = "NO_POSITION"
    MISSED_BAR = "MISSED_BAR"
    MALFORMED_SIGNAL = "MALFORMED_SIGNAL"
    TOO_MANY_INTENTS = "TOO_MANY_INTENTS"
    SCAN_NOT_DUE = "SCAN_NOT_DUE"
    NO_SIGNAL = "NO_SIGNAL"


class Signal(msgspec.Struct, frozen=True, kw_only=True):
    """One wish of a strategy. It becomes an intent, and only risk can turn that into an order.

    A BUY names its size by exactly one of ``quantity`` and ``size_pct`` (share of the desk's equity, 0..1).
    A SELL or CLOSE without size closes the whole position; a SELL's ``size_pct`` is a share of it. A BUY without
    ``tag`` opens a new position, named ``auto_<SYMBOL without slash>_NNN``; with the tag of one that is held it
    averages in, and recorded levels stay unless given. A SELL without tag speaks of the oldest position of the symbol,
    a CLOSE of all of them. MODIFY needs a tag and changes the levels and the horizon that it names, nothing else; a
    DAY never shortens a longer horizon.
    Prices are absolute, > 0. ``ttl_s`` limits a LIMIT order's life in market time (0: no limit).
    ``reason`` names an exit in the words of the journal (STOP_LOSS, MEAN_REVERSION, FORCE_FLAT, SIGNAL …).
    """

    symbol: str
    action: Action
    quantity: Decimal | None = None
    size_pct: Decimal | None = None
    order_type: str = "MARKET"
    limit_price: Decimal | None = None
    stop_loss: Decimal | None = None
    take_profit: Decimal | None = None
    ttl_s: int = 0
    horizon: Horizon = Horizon.DAY
    confidence: float = 0.5
    reason: str = "SIGNAL"
    reasoning: str = ""
    slippage_tolerance: float | None = None
    tag: str = ""


class NoTrade(msgspec.Struct, frozen=True):
    """The one coded reason why an evaluation yielded no signal."""

    code: NoTradeCode
    detail: str = ""


Decision = tuple[Signal, ...] | NoTrade


class Moment(msgspec.Struct, frozen=True):
    """When, in market time and on New York's calendar.

    ``ts_ns`` is the evaluated bar's open, UTC. ``day`` is New York's date (ISO) and ``second_of_day`` the
    second that New York's wall clock shows then (0..86399).
    """

    ts_ns: int
    day: str
    second_of_day: int


class View(msgspec.Struct, frozen=True):
    """What the desk lets a strategy see of itself at one evaluation.

    ``positions`` are its own open ones; ``working`` its orders that are not finished, including intents that
    nobody has answered yet (``entry_pending`` and ``exit_pending`` sum them up per symbol).
    ``day_pnl`` is the net realised profit of the evaluated bar's New York day, after fees.
    """

    moment: Moment
    positions: tuple[Position, ...]
    entry_pending: frozenset[str]
    exit_pending: frozenset[str]
    cash: Decimal
    total_value: Decimal
    day_pnl: Decimal
    total_pnl: Decimal
    fees_today: Decimal
    recent_trades: tuple[ClosedTrade, ...]

    def position(self, symbol: str, tag: str | None = None) -> Position | None:
        """Give the own position in ``symbol`` (of ``tag``, or the oldest), or None."""
        for position in self.positions:
            if position.symbol == symbol and (tag is None or position.tag == tag) and position.quantity != ZERO:
                return position
        return None


class Instance(msgspec.Struct, frozen=True):
    """Who a strategy is: its entry of the configuration, without the parameters."""

    name: str
    symbols: tuple[str, ...]
    timeframe: str
    risk_config: dict[str, Any]


class Strategy:
    """Base of every strategy. Subclasses declare ``Parameters`` and answer ``on_bar``.

    The desk calls, in this order: the constructor, ``initialize``, ``load_state`` where a state was kept,
    then for every market event first ``on_order``, ``on_fill`` and ``on_position_closed`` for what happened
    to its own orders up to the event, then ``on_bar`` or ``on_tick``. After each evaluation ``get_state`` is
    kept durably, before any signal leaves. No method is called concurrently. An exception ends the process:
    the strategy is restarted alone, with the state before the event, and meets the event once more.

    Where its parameters change while it runs, the desk does what a fall does, between two events and without
    the process ending: a new object is made with the new parameters, ``initialize`` and ``load_state`` give it
    the state of the old one, then ``on_parameters`` tells it what held before.

    A kept state is given back to the module that made it, and only while ``state_version`` is what it was.
    One that does not fit, or that ``load_state`` refuses by raising, is left aside: the strategy then meets all
    bars of the bar store and all its own events anew, without trading on them.
    """

    #: The settings the YAML may name under ``parameters``; a Struct with forbid_unknown_fields.
    Parameters: ClassVar[type[msgspec.Struct]]
    #: Parameters of which a change holds from the next evaluation on. A change of any other waits until the
    #: strategy has neither position nor working order nor unanswered intent: what was bought by one rule is
    #: sold by the same rule.
    live_parameters: ClassVar[frozenset[str]] = frozenset()
    #: Raise it with every change of what ``get_state`` gives that an older ``load_state`` cannot read, or a
    #: newer one of an older state.
    state_version: ClassVar[int] = 1
    #: Who watches the protective stop.
    protective_stop: ClassVar[ProtectiveStop] = ProtectiveStop.BAR_CLOSE
    #: True where ``on_tick`` wants to be called.
    wants_ticks: ClassVar[bool] = False
    #: Bars a strategy needs before it can decide; shown in status while it warms up.
    bars_needed: ClassVar[int] = 0

    def __init__(self, parameters: Any, instance: Instance) -> None:
        """Keep parameters (an instance of ``Parameters``) and identity; nothing else happens here."""
        self.parameters = parameters
        self.instance = instance

    def initialize(self) -> None:
        """Prepare empty state. Called once, before ``load_state``."""

    def on_bar(self, bar: Bar, view: View) -> Decision:
        """Evaluate one complete bar of an own symbol and timeframe."""
        raise NotImplementedError

    def on_tick(self, tick: Tick, view: View) -> Decision | None:
        """Evaluate one tick of an own symbol; None says that a tick is nothing to evaluate."""
        return None

    def on_missed_bar(self, bar: Bar, view: View) -> None:
        """Take in a bar that is too old to trade upon. The default evaluates it and drops the signals."""
        self.on_bar(bar, view)

    def on_order(self, order: Order) -> None:
        """Hear that an own order changed its state."""

    def on_fill(self, fill: FillBooked) -> None:
        """Hear of one execution of an own order."""

    def on_position_closed(self, trade: ClosedTrade) -> None:
        """Hear that (a part of) an own position was closed."""

    def get_state(self) -> dict[str, Any]:
        """Give everything that decides, as plain numbers, texts, lists and dicts.

        The outermost is a dict with texts as keys. What is nothing of these comes back in its plain form, as a Decimal
        as a text and a tuple or a set as a list, and the log names such a kind once; what has none is not kept: the
        strategy falls at once.
        """
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take back what ``get_state`` gave; afterwards the strategy decides as if it had never stopped."""

    def on_parameters(self, before: Any) -> None:
        """Hear that the parameters were changed while it ran; ``before`` are the former ones.

        Called once for each change, behind ``load_state``, never after a fall. A strategy whose state means nothing
        under the new parameters (another span of an average) empties it here.
        """

    def shutdown(self) -> None:
        """Say good-bye. Nothing may be traded any more."""
