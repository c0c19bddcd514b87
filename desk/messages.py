"""The words of the desk: commands, events and facts that rooms say to each other.

Every word is a frozen Struct, positional on the wire and tagged with a text that never changes.
A new field comes last and has a default; a changed meaning is a new tag.
Times are integer nanoseconds, UTC. Prices and quantities on the order path are Decimal;
market data (ticks, bars) carries floats.
"""

from decimal import Decimal
from enum import StrEnum

import msgspec

from desk.units import ZERO
from desk.venue import Instrument


class Side(StrEnum):
    """What an order does to the position: BUY adds, SELL takes away."""

    BUY = "BUY"
    SELL = "SELL"

    @property
    def sign(self) -> int:
        """+1 for BUY, -1 for SELL."""
        return 1 if self is Side.BUY else -1


class OrderType(StrEnum):
    """How an order meets the market."""

    MARKET = "MARKET"
    LIMIT = "LIMIT"
    STOP = "STOP"


class Effect(StrEnum):
    """What an intent wants: open exposure, reduce it, or change the levels of a position."""

    OPEN = "OPEN"
    CLOSE = "CLOSE"
    MODIFY = "MODIFY"


class ProtectiveStop(StrEnum):
    """Who watches the stop: the strategy at each bar's close, or an order that rests at the venue."""

    BAR_CLOSE = "bar_close"
    VENUE = "venue"


class Purpose(StrEnum):
    """Why execution sends an order."""

    ENTRY = "ENTRY"
    EXIT = "EXIT"
    STOP_LOSS = "STOP_LOSS"
    TAKE_PROFIT = "TAKE_PROFIT"


class OrderState(StrEnum):
    """Where an order is in its life. The last four of the first line's words are terminal."""

    PENDING = "PENDING"
    SUBMITTED = "SUBMITTED"
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    UNKNOWN = "UNKNOWN"
    PENDING_CANCEL = "PENDING_CANCEL"
    PENDING_REPLACE = "PENDING_REPLACE"
    FILLED = "FILLED"
    CANCELLED = "CANCELLED"
    REJECTED = "REJECTED"
    EXPIRED = "EXPIRED"


class Message(msgspec.Struct, frozen=True, array_like=True, gc=False, tag_field="word"):
    """Base of every word of the desk."""


# --- the market -------------------------------------------------------------------------------


class Tick(Message, frozen=True, tag="market.tick"):
    """Fact. One price of one symbol. ``bid`` and ``ask`` are 0.0 where the feed has none."""

    symbol: str
    ts_ns: int
    price: float
    bid: float = 0.0
    ask: float = 0.0
    size: float = 0.0
    sequence: int = 0


class Bar(Message, frozen=True, tag="market.bar"):
    """Fact. One complete bar; ``ts_ns`` is its open, ``end_ns`` its close (exclusive).

    ``sequence`` counts all published bars of the desk from 1 (0: a feed's own event, not published).
    ``journal_sequence`` is the journal's head after the bar's range was settled: a strategy applies
    its own order events up to it before it evaluates the bar.
    """

    symbol: str
    timeframe: str
    ts_ns: int
    end_ns: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    sequence: int = 0
    journal_sequence: int = 0


# --- desire -----------------------------------------------------------------------------------


class Intent(Message, frozen=True, tag="intent"):
    """Command. What a strategy wants; risk judges it before anything else happens.

    ``intent_id`` follows from (strategy, symbol, timeframe, bar_ts_ns, number), so the same bar
    evaluated again gives the same intent. ``epoch`` is the incarnation that sent it and enters no id.
    Exactly one of ``quantity`` and ``size_pct`` (share of the account's equity, 0..1) says the size of
    an OPEN; a CLOSE without quantity closes the whole position of its tag.
    ``decided_ns`` is the market time of the decision; the intent is refused at or after ``expires_ns``.
    """

    intent_id: str
    strategy: str
    symbol: str
    timeframe: str
    bar_ts_ns: int
    number: int
    effect: Effect
    side: Side
    order_type: OrderType
    quantity: Decimal | None
    size_pct: Decimal | None
    limit_price: Decimal | None
    stop_loss: Decimal | None
    take_profit: Decimal | None
    protective_stop: ProtectiveStop
    order_ttl_ns: int
    decided_ns: int
    expires_ns: int
    reference_price: Decimal
    tag: str
    reason: str
    epoch: int
    confidence: float = 0.5
    horizon: str = "DAY"
    bar_sequence: int = 0


class IntentJudged(Message, frozen=True, tag="intent.judged"):
    """Command. Risk's verdict: with no reasons execution makes an order of it, else books the refusal.

    ``quantity`` is the size to trade (0 on a refusal). ``reasons`` holds every reason that failed, as ``CODE: text``.
    """

    order_id: str
    intent: Intent
    quantity: Decimal
    reasons: tuple[str, ...]
    judged_ns: int

    @property
    def is_approved(self) -> bool:
        """True when no check failed."""
        return not self.reasons


# --- orders -----------------------------------------------------------------------------------


class Order(Message, frozen=True, tag="order"):
    """Fact. One order, whole. ``order_id`` (at most 18 characters) is also its first attempt's client id at the venue.

    ``attempt`` is 0 before anything left for the venue, then counts from 1; ``client_order_id`` is the client id of a
    later attempt ("" for the first), ``deadline_ns`` the wall time behind which the venue refuses this attempt (0: it
    has no deadlines). No further attempt begins at or after ``intent_expires_ns`` (market time; 0: no limit).
    ``new_quantity`` and ``new_price`` are what a replacement that is under way asks for.

    ``expires_ns`` is 0 for an order without time limit. ``position_effect`` tells entries from exits.
    ``oco_group`` names orders of which the venue lets one fill only ("" for none).
    ``average_price`` is 0 until something filled. ``horizon`` is how long the position is meant to be held.
    """

    order_id: str
    intent_id: str
    strategy: str
    symbol: str
    tag: str
    purpose: Purpose
    side: Side
    type: OrderType
    quantity: Decimal
    limit_price: Decimal | None
    stop_price: Decimal | None
    expires_ns: int
    oco_group: str
    state: OrderState
    filled_quantity: Decimal
    average_price: Decimal
    fees: Decimal
    venue_order_id: str
    reason: str
    stop_loss: Decimal | None
    take_profit: Decimal | None
    protective_stop: ProtectiveStop
    reference_price: Decimal
    created_ns: int
    changed_ns: int
    bar_ts_ns: int = 0
    timeframe: str = ""
    exit_reason: str = ""
    attempt: int = 0
    client_order_id: str = ""
    deadline_ns: int = 0
    intent_expires_ns: int = 0
    new_quantity: Decimal | None = None
    new_price: Decimal | None = None
    horizon: str = "DAY"

    @property
    def key(self) -> tuple[str, str, str]:
        """(strategy, symbol, tag): the position that the order opens or reduces."""
        return self.strategy, self.symbol, self.tag

    @property
    def client_id(self) -> str:
        """The name that the present attempt bears at the venue."""
        return self.client_order_id or self.order_id

    @property
    def effect(self) -> Effect:
        """OPEN for an entry, CLOSE for everything that reduces."""
        return Effect.OPEN if self.purpose is Purpose.ENTRY else Effect.CLOSE

    @property
    def level(self) -> Decimal | None:
        """The price at which it trades where it rests; None for what rests nowhere."""
        return self.stop_price if self.type is OrderType.STOP else self.limit_price

    @property
    def left(self) -> Decimal:
        """What may still trade, >= 0, also where more filled than was asked for."""
        return max(self.quantity - self.filled_quantity, ZERO)

    @property
    def counted_price(self) -> Decimal:
        """What it counts at while nothing has filled: its limit, else the price at which it was decided on."""
        return self.limit_price or self.reference_price


class OrderChanged(Message, frozen=True, tag="order.changed"):
    """Event. An order entered ``order.state`` from ``previous`` ("" at birth); carries the new whole."""

    order: Order
    previous: str
    source: str
    ts_ns: int


class FillBooked(Message, frozen=True, tag="fill.booked"):
    """Event. One execution, booked once. ``ts_ns`` is the market time of the fill (a bar's open on bar feeds)."""

    execution_id: str
    order_id: str
    strategy: str
    symbol: str
    tag: str
    purpose: Purpose
    side: Side
    quantity: Decimal
    price: Decimal
    fee: Decimal
    ts_ns: int
    exit_reason: str
    stop_loss: Decimal | None = None
    take_profit: Decimal | None = None
    reference_price: Decimal | None = None
    venue: str = ""
    account: str = ""
    horizon: str = "DAY"


class LevelsChanged(Message, frozen=True, tag="position.levels"):
    """Event. The recorded protective levels of one position changed (by MODIFY or by averaging in).

    ``horizon`` is the position's from now on; "" leaves it.
    """

    strategy: str
    symbol: str
    tag: str
    stop_loss: Decimal | None
    take_profit: Decimal | None
    ts_ns: int
    horizon: str = ""


class CapitalChanged(Message, frozen=True, tag="capital"):
    """Event. Capital came in (> 0) or went out (< 0); the first one is the starting balance.

    ``request`` names what asked for it ("" for the starting balance): one request moves capital once.
    """

    amount: Decimal
    reason: str
    ts_ns: int
    request: str = ""
    who: str = "desk"


class DeskNoted(Message, frozen=True, tag="desk.noted"):
    """Event. Something an auditor wants to find later: a halt, a gate that closed, a reconciliation's verdict."""

    kind: str
    text: str
    ts_ns: int
    who: str = "desk"


class ExternalBooked(Message, frozen=True, tag="external.booked"):
    """Event. The venue holds ``quantity`` (signed, not 0) more than our books explain; it is kept under EXTERNAL.

    It comes into the account in kind: capital changes by its value at ``price`` (>= 0), and no cash moves.
    """

    symbol: str
    quantity: Decimal
    price: Decimal
    venue: str
    account: str
    reason: str
    ts_ns: int


class ExternalAdopted(Message, frozen=True, tag="external.adopted"):
    """Event. An operator gave ``quantity`` (signed, not 0) of what stands under EXTERNAL to a strategy, at ``cost``.

    ``cost`` (>= 0) is the share of EXTERNAL's own cost that goes with it. The position's levels stay where none is
    given. ``request`` names what asked for it: one request gives once.
    """

    symbol: str
    quantity: Decimal
    cost: Decimal
    strategy: str
    tag: str
    reason: str
    ts_ns: int
    request: str = ""
    who: str = "desk"
    stop_loss: Decimal | None = None
    take_profit: Decimal | None = None


JournalBody = OrderChanged | FillBooked | LevelsChanged | CapitalChanged | DeskNoted | ExternalBooked | ExternalAdopted


class JournalRecord(Message, frozen=True, tag="journal"):
    """One record of the journal. ``written_ns`` is wall time, the body's own time is market time."""

    sequence: int
    written_ns: int
    body: JournalBody


# --- execution and venue ----------------------------------------------------------------------


class SubmitOrder(Message, frozen=True, tag="venue.submit"):
    """Command. Place one order; ``order_id`` is the client id of the attempt.

    At the paper venue the same ``order_id`` again is the same order, never a second one. A venue behind a wire of its
    own takes the command only in the incarnation ``venue_epoch`` of its process, and refuses it behind
    ``deadline_ns`` (wall time; 0 for none). With ``is_exit`` it is sent before what opens something.
    """

    order_id: str
    symbol: str
    side: Side
    type: OrderType
    quantity: Decimal
    limit_price: Decimal | None
    stop_price: Decimal | None
    expires_ns: int
    oco_group: str
    deadline_ns: int = 0
    venue_epoch: int = 0
    is_exit: bool = False

    @property
    def level(self) -> Decimal | None:
        """The price at which it trades where it rests; None for what rests nowhere."""
        return self.stop_price if self.type is OrderType.STOP else self.limit_price


class CancelOrder(Message, frozen=True, tag="venue.cancel"):
    """Command. Cancel one order. Cancelling what is already gone does nothing and is answered."""

    order_id: str
    reason: str
    venue_order_id: str = ""
    venue_epoch: int = 0


class ReplaceOrder(Message, frozen=True, tag="venue.replace"):
    """Command. Give an open order another quantity (its whole, with what has filled) and price, in place.

    ``price`` is the stop price of a STOP, the limit of a LIMIT. Twice the same is as once.
    """

    order_id: str
    venue_order_id: str
    symbol: str
    type: OrderType
    quantity: Decimal
    price: Decimal
    venue_epoch: int = 0


class OrderAccepted(Message, frozen=True, tag="venue.accepted"):
    """Report. The venue has the order."""

    report: int
    order_id: str
    venue_order_id: str
    ts_ns: int


class OrderRejected(Message, frozen=True, tag="venue.rejected"):
    """Report. The venue refused the order for good; with ``is_deadline`` only this attempt, for it came too late."""

    report: int
    order_id: str
    reason: str
    ts_ns: int
    is_deadline: bool = False


class OrderFilled(Message, frozen=True, tag="venue.filled"):
    """Report. One execution of the order; ``leaves`` is what still rests (0: filled whole)."""

    report: int
    order_id: str
    execution_id: str
    quantity: Decimal
    price: Decimal
    fee: Decimal
    is_maker: bool
    leaves: Decimal
    ts_ns: int


class OrderCancelled(Message, frozen=True, tag="venue.cancelled"):
    """Report. The order is gone: cancelled on request, by its OCO sibling, or expired at the venue.

    ``filled_quantity`` is all that had filled by then, None where the venue does not say.
    """

    report: int
    order_id: str
    reason: str
    is_expired: bool
    ts_ns: int
    filled_quantity: Decimal | None = None


class CancelRejected(Message, frozen=True, tag="venue.cancel_rejected"):
    """Report. There was nothing to cancel: the order is unknown or already finished."""

    report: int
    order_id: str
    reason: str
    ts_ns: int


class OrderUnclear(Message, frozen=True, tag="venue.unclear"):
    """Report. Nobody knows whether the venue took the order: no answer, a broken one, or a fall of its process."""

    report: int
    order_id: str
    reason: str
    ts_ns: int


class CancelUnclear(Message, frozen=True, tag="venue.cancel_unclear"):
    """Report. Nobody knows whether the venue cancelled the order; to ask it again is safe."""

    report: int
    order_id: str
    reason: str
    ts_ns: int


class OrderReplaced(Message, frozen=True, tag="venue.replaced"):
    """Report. The order has another quantity and price now; ``venue_order_id`` may be another one too."""

    report: int
    order_id: str
    venue_order_id: str
    quantity: Decimal
    price: Decimal
    ts_ns: int


class ReplaceRejected(Message, frozen=True, tag="venue.replace_rejected"):
    """Report. The order stays as it was, or is not open any more."""

    report: int
    order_id: str
    reason: str
    ts_ns: int


VenueReport = (
    OrderAccepted
    | OrderRejected
    | OrderFilled
    | OrderCancelled
    | CancelRejected
    | OrderUnclear
    | CancelUnclear
    | OrderReplaced
    | ReplaceRejected
)


class VenueOrder(Message, frozen=True, tag="venue.order"):
    """Fact. One order as the venue sees it. ``order_id`` is its client id, "" for one that is not ours.

    ``price`` is the stop price of a STOP, the limit of a LIMIT, None where the venue does not say.
    """

    order_id: str
    venue_order_id: str
    symbol: str
    side: Side
    state: OrderState
    quantity: Decimal
    filled_quantity: Decimal
    reason: str = ""
    type: OrderType | None = None
    price: Decimal | None = None


class VenueWanted(Message, frozen=True, tag="venue.wanted"):
    """Query. What does the venue hold? Answered by VenueSnapshot with the same ``query``.

    ``seen`` is the last numbered report that the asker has booked; the venue sends everything behind it once more. A
    venue that numbers nothing gives its executions from ``since_ns`` (venue time) on.
    """

    query: int
    seen: int = 0
    since_ns: int = 0


class VenueSnapshot(Message, frozen=True, tag="venue.snapshot"):
    """Fact. The venue's truth: orders, net positions by symbol, cash.

    ``orders`` are the open ones and those named in ``unread``, the reports behind the asker's last one, oldest first.
    ``skew_ns`` is how far the venue's clock is ahead of the host's, ``venue_ns`` its time (0 where it keeps none of its
    own). With a ``failure`` the venue could not be asked, and everything else is empty and says nothing.
    """

    query: int
    orders: tuple[VenueOrder, ...]
    positions: dict[str, Decimal]
    cash: Decimal
    unread: tuple[VenueReport, ...]
    ts_ns: int
    account: str = ""
    venue_ns: int = 0
    skew_ns: int = 0
    failure: str = ""
    instruments: tuple[Instrument, ...] = ()


class OrdersWanted(Message, frozen=True, tag="venue.orders_wanted"):
    """Query to a venue behind a wire. What has become of these client ids? Answered by OrdersFound, same ``query``."""

    query: int
    order_ids: tuple[str, ...]
    since_ns: int = 0


class OrdersFound(Message, frozen=True, tag="venue.orders_found"):
    """Answer. What the venue knows of the orders asked for, and every execution from the asked time on.

    ``asked_ns`` is venue time before the first look: who is ``absent`` was not there at that time. With a ``failure``
    nothing was found out, and nobody is absent.
    """

    query: int
    orders: tuple[VenueOrder, ...]
    absent: tuple[str, ...]
    fills: tuple[OrderFilled, ...]
    asked_ns: int
    failure: str = ""


# --- catching up ------------------------------------------------------------------------------


class BarsWanted(Message, frozen=True, tag="market.bars_wanted"):
    """Query to market_data. Bars of one topic after ``after`` (a bar sequence), oldest first, at most ``most``."""

    symbol: str
    timeframe: str
    after: int
    most: int


class BarsGiven(Message, frozen=True, tag="market.bars_given"):
    """Answer. ``head`` is the last bar sequence that the desk had kept when this was read, whosever bar it is.

    ``is_complete`` is False where ``most`` cut the list: ask again.
    """

    symbol: str
    timeframe: str
    after: int
    bars: tuple[Bar, ...]
    head: int
    is_complete: bool
    market_ns: int


class EventsWanted(Message, frozen=True, tag="ledger.events_wanted"):
    """Query to execution. The strategy's own journal records after sequence ``after``."""

    strategy: str
    after: int


class EventsGiven(Message, frozen=True, tag="ledger.events_given"):
    """Answer. Own records, oldest first; complete up to ``head`` unless ``is_complete`` is False."""

    strategy: str
    after: int
    records: tuple[JournalRecord, ...]
    head: int
    is_complete: bool


class AwayWished(Message, frozen=True, tag="operator.away_wished"):
    """Command of an operator who is about to disable a strategy: what becomes of its position until it is back.

    ``on_disable`` is "hold", "flatten", or "" for what the configuration says. ``request`` comes back with the answer.
    """

    strategy: str
    on_disable: str
    request: str = ""


class AwayWishKept(Message, frozen=True, tag="operator.away_wish_kept"):
    """Answer. The wish is kept; ``on_disable`` is what will become of the position."""

    strategy: str
    on_disable: str
    request: str = ""


class HoldersWanted(Message, frozen=True, tag="operator.holders_wanted"):
    """Query to execution. Which strategies hold a position or have an order that is not finished?

    ``superseded`` names strategies that get other code once they are flat, and their present incarnation: those that
    are, and up to that one, open nothing any more. It holds until a query names them again, also behind a fall of
    execution; with -1 it bars nobody. Only the console's word counts.
    """

    query: int
    superseded: dict[str, int] = {}


class HoldersGiven(Message, frozen=True, tag="operator.holders_given"):
    """Answer. Their names, in order, as of the journal's ``head``."""

    query: int
    names: tuple[str, ...]
    head: int


class CancelWanted(Message, frozen=True, tag="operator.cancel"):
    """Command of an operator: cancel the working entry orders of one strategy ("" for all)."""

    strategy: str
    reason: str


# --- the operator's hand in the books ----------------------------------------------------------


class CapitalWished(Message, frozen=True, tag="operator.capital_wished"):
    """Command. Book a deposit (> 0) or a withdrawal (< 0) of account currency, once for each ``request``."""

    request: str
    amount: Decimal
    reason: str
    who: str


class AdoptionWished(Message, frozen=True, tag="operator.adoption_wished"):
    """Command. Give ``quantity`` (> 0, unsigned) of what stands under EXTERNAL to a strategy, once for each request."""

    request: str
    symbol: str
    quantity: Decimal
    strategy: str
    tag: str
    reason: str
    who: str
    stop_loss: Decimal | None = None


class ReconciliationWished(Message, frozen=True, tag="operator.reconciliation_wished"):
    """Command. Compare the books with the venue's now.

    With ``is_accepted`` every difference of quantity is booked under EXTERNAL, also one beyond the thresholds.
    """

    request: str
    is_accepted: bool
    who: str


class ResolutionWished(Message, frozen=True, tag="operator.resolution_wished"):
    """Command. Settle an UNKNOWN order by a person's word: what they have found out at the venue themselves.

    ``outcome`` is "never" (it is not there and never will be), "cancelled" (it is gone; what it traded is booked), or
    "filled" (``quantity`` more of it traded, at ``price``, for ``fee``).
    """

    request: str
    order_id: str
    outcome: str
    quantity: Decimal | None
    price: Decimal | None
    fee: Decimal
    reason: str
    who: str


class FlatteningWished(Message, frozen=True, tag="operator.flattening_wished"):
    """Command. Close positions at the market, of one strategy and one symbol, or of all where a name is ""."""

    request: str
    strategy: str
    symbol: str
    reason: str
    who: str


class OperatorAnswered(Message, frozen=True, tag="operator.answered"):
    """Answer of execution to a wish, by its ``request``; with an ``error`` nothing was done. ``result`` is JSON."""

    request: str
    error: str
    result: str
