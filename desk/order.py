"""The life of one order: how it is born, and what each report of a venue makes of it."""

from decimal import Decimal

from msgspec.structs import replace

from desk.executions import fault_of
from desk.identity import child_order_id, intent_id, order_id
from desk.messages import (
    CancelRejected,
    CancelUnclear,
    ExternalAdopted,
    IntentJudged,
    Order,
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    OrderRejected,
    OrderReplaced,
    OrderState,
    OrderType,
    OrderUnclear,
    ProtectiveStop,
    Purpose,
    ReplaceRejected,
    Side,
    VenueReport,
)
from desk.transition import (
    CONFIRMED,
    NEXT,
    OPEN,
    REASON_TTL,
    TERMINAL,
    WORKING,
    BrokerConfirmationRequiredError,
    DuplicateOrderError,
    InvalidTransitionError,
    OrderStateMachineError,
    TerminalStateError,
    advance,
    require_new,
)
from desk.units import ZERO

S = OrderState
#: What is asked for with each order: to look a member up in its class costs as much as several calls.
_ENTRY, _LIMIT, _PENDING = Purpose.ENTRY, OrderType.LIMIT, OrderState.PENDING

#: Sums over fills are kept to this quantum, so that they do not depend on the order of the fills.
SUM_QUANTUM = Decimal("1e-12")
#: Why a position is closed whose strategy was disabled or removed with the wish to flatten.
REASON_FLATTEN = "FLATTEN"


# --- birth ------------------------------------------------------------------------------------


def order_from_judgement(judged: IntentJudged, purpose: Purpose, *, ts_ns: int, oco_group: str = "") -> Order:
    """Make the PENDING order of a verdict; a refused one is then advanced to REJECTED by the caller.

    Args:
        judged: The verdict. A refusal has quantity 0.
        purpose: ENTRY for what opens, EXIT for what reduces.
        ts_ns: Market time of birth; the order's time to live counts from here.
        oco_group: Orders of one group of which the venue lets one fill only.
    """
    intent, order_type, is_approved = judged.intent, judged.intent.order_type, not judged.reasons
    assert not is_approved or judged.quantity > ZERO, "an approved order has a quantity"
    return Order(  # by position: thirty names take three times as long, and this is on the way of each order
        judged.order_id,
        intent.intent_id,
        intent.strategy,
        intent.symbol,
        intent.tag,
        purpose,
        intent.side,
        order_type,
        judged.quantity if is_approved else intent.quantity or ZERO,
        intent.limit_price if order_type is _LIMIT else None,
        None,  # stop_price
        ts_ns + intent.order_ttl_ns if intent.order_ttl_ns > 0 else 0,
        oco_group,
        _PENDING,
        ZERO,  # filled_quantity
        ZERO,  # average_price
        ZERO,  # fees
        "",  # venue_order_id
        "",  # reason
        intent.stop_loss,
        intent.take_profit,
        intent.protective_stop,
        intent.reference_price,
        ts_ns,  # created_ns
        ts_ns,  # changed_ns
        intent.bar_ts_ns,
        intent.timeframe,
        "" if purpose is _ENTRY else intent.reason,  # exit_reason
        0,  # attempt
        "",  # client_order_id
        0,  # deadline_ns
        intent.expires_ns,
        None,  # new_quantity
        None,  # new_price
        intent.horizon,
    )


def protective_order(  # noqa: PLR0913 - each argument is a figure of its own, and all but two are named
    parent: Order,
    purpose: Purpose,
    *,
    quantity: Decimal,
    price: Decimal,
    attempt: int,
    oco_group: str,
    ts_ns: int,
) -> Order:
    """Make the PENDING stop or target that protects what ``parent`` (an entry) opened.

    A STOP_LOSS is a STOP at ``price``, a TAKE_PROFIT a LIMIT at it; neither has a time limit. The exit's reason
    is the purpose's word.
    """
    assert parent.purpose is Purpose.ENTRY, "only an entry is protected"
    assert purpose in {Purpose.STOP_LOSS, Purpose.TAKE_PROFIT}, "a protective order is a stop or a target"
    assert quantity > ZERO, "a protective order has a quantity"
    assert price > ZERO, "a protective order has a price"
    is_stop = purpose is Purpose.STOP_LOSS
    return replace(
        _closing_order(parent, purpose, quantity=quantity, attempt=attempt, ts_ns=ts_ns, reason=purpose.value),
        type=OrderType.STOP if is_stop else OrderType.LIMIT,
        limit_price=None if is_stop else price,
        stop_price=price if is_stop else None,
        oco_group=oco_group,
        reference_price=price,
    )


def flattening_order(
    parent: Order, *, quantity: Decimal, attempt: int, ts_ns: int, reason: str = REASON_FLATTEN
) -> Order:
    """Make the PENDING market exit of a position that the desk itself closes; ``parent`` is the entry that opened it.

    Args:
        parent: The position's entry.
        quantity: All that is held, > 0.
        attempt: Makes its name one of its own; the journal's next sequence will do.
        ts_ns: When, in market time.
        reason: Why, as the trade will bear it.
    """
    assert parent.purpose is Purpose.ENTRY, "only what was entered is left"
    assert quantity > ZERO, "nothing is held"
    closing = _closing_order(parent, Purpose.EXIT, quantity=quantity, attempt=attempt, ts_ns=ts_ns, reason=reason)
    return replace(closing, stop_loss=None, take_profit=None)


def _closing_order(
    parent: Order, purpose: Purpose, *, quantity: Decimal, attempt: int, ts_ns: int, reason: str
) -> Order:
    """Make a PENDING market order against what ``parent`` opened: nothing of the parent's own life is in it."""
    return replace(
        parent,
        order_id=child_order_id(parent.order_id, purpose, attempt),
        purpose=purpose,
        side=Side.SELL if parent.side is Side.BUY else Side.BUY,
        type=OrderType.MARKET,
        quantity=quantity,
        limit_price=None,
        stop_price=None,
        expires_ns=0,
        oco_group="",
        state=S.PENDING,
        filled_quantity=ZERO,
        average_price=ZERO,
        fees=ZERO,
        venue_order_id="",
        reason="",
        created_ns=ts_ns,
        changed_ns=ts_ns,
        exit_reason=reason,
        attempt=0,
        client_order_id="",
        deadline_ns=0,
        intent_expires_ns=0,
        new_quantity=None,
        new_price=None,
    )


def entry_of_adoption(adopted: ExternalAdopted) -> Order:
    """Make what stands for the entry of a position that nobody entered: its stop and its exit are made from it.

    It never was an order: it is in no journal and leaves for no venue. A stop that came with the adoption rests at the
    venue.
    """
    quantity = abs(adopted.quantity)
    return Order(
        order_id=child_order_id(f"{adopted.strategy}/{adopted.symbol}/{adopted.tag}", Purpose.ENTRY, adopted.ts_ns),
        intent_id="",
        strategy=adopted.strategy,
        symbol=adopted.symbol,
        tag=adopted.tag,
        purpose=Purpose.ENTRY,
        side=Side.BUY if adopted.quantity > ZERO else Side.SELL,
        type=OrderType.MARKET,
        quantity=quantity,
        limit_price=None,
        stop_price=None,
        expires_ns=0,
        oco_group="",
        state=S.FILLED,
        filled_quantity=ZERO,
        average_price=ZERO,
        fees=ZERO,
        venue_order_id="",
        reason=adopted.reason,
        stop_loss=adopted.stop_loss,
        take_profit=adopted.take_profit,
        protective_stop=ProtectiveStop.VENUE,
        reference_price=adopted.cost / quantity,
        created_ns=adopted.ts_ns,
        changed_ns=adopted.ts_ns,
    )


# --- attempts ---------------------------------------------------------------------------------


def next_attempt(order: Order, *, deadline_ns: int, ts_ns: int) -> Order:
    """Give the order as it stands before its next attempt leaves: PENDING, with a client id of its own.

    Args:
        order: PENDING, or UNKNOWN where the venue proved that the last attempt never arrived.
        deadline_ns: Wall time behind which the venue refuses the attempt; 0 where it has no deadlines.
        ts_ns: Market time.
    """
    if order.state is S.UNKNOWN:
        order = advance(order, S.PENDING, ts_ns=ts_ns)
    assert order.state is S.PENDING, "only what is not at the venue is sent"
    number = order.attempt + 1
    client = "" if number == 1 else order_id(order.order_id, number - 1)
    return replace(order, attempt=number, client_order_id=client, deadline_ns=deadline_ns, changed_ns=ts_ns)


# --- reports ----------------------------------------------------------------------------------


def course(order: Order, report: VenueReport) -> tuple[Order, ...]:
    """Give every state that one report leads an order through, in order; () where it changes nothing.

    Each element differs from the one before it (the first from ``order``) by a transition of the table, or only
    by figures where the state stays: a late fill after a terminal state, a fill while a cancel is under
    way. A fill that comes before its acceptance proves it, so the order passes through SUBMITTED. Late acceptances,
    repeated cancels and refusals of what already traded change nothing. The caller drops executions that
    it has seen; then any order of the same fills ends in the same state, quantity, average price and fees.

    Raises:
        OrderStateMachineError: A fill's figures are not finite or not above 0.
    """
    assert report.order_id == order.order_id, "a report belongs to its order"
    match report:
        case OrderAccepted():
            steps = _accepted(order, report)
        case OrderRejected():
            steps = _rejected(order, report)
        case OrderFilled():
            steps = _filled(order, report)
        case OrderCancelled():
            steps = _cancelled(order, report)
        case CancelRejected():
            steps = _cancel_rejected(order, report)
        case OrderUnclear():
            steps = _unclear(order, report)
        case OrderReplaced():
            steps = _replaced(order, report)
        case ReplaceRejected():
            steps = _replace_rejected(order, report)
        case CancelUnclear():  # pragma: no branch - the last of the words
            steps = ()
    return steps


def after_report(order: Order, report: VenueReport) -> Order | None:
    """Give the order as one report leaves it, or None where the report changes nothing (see ``course``)."""
    steps = course(order, report)
    return steps[-1] if steps else None


def working_state(order: Order) -> OrderState:
    """Say where an order stands once nothing is asked of it: PARTIALLY_FILLED, SUBMITTED, or UNKNOWN.

    UNKNOWN where the venue never confirmed it.
    """
    if not order.venue_order_id:
        return S.UNKNOWN
    return S.PARTIALLY_FILLED if order.filled_quantity > ZERO else S.SUBMITTED


def _later_ns(order: Order, ts_ns: int) -> int:
    return max(order.changed_ns, ts_ns)


def _accepted(order: Order, report: OrderAccepted) -> tuple[Order, ...]:
    if order.state in TERMINAL:
        return ()
    ts_ns = _later_ns(order, report.ts_ns)
    is_news = report.venue_order_id != order.venue_order_id
    if order.state in {S.PENDING, S.UNKNOWN} or (order.state is S.PENDING_REPLACE and is_news):
        to = S.PARTIALLY_FILLED if order.filled_quantity > ZERO else S.SUBMITTED
        return (advance(order, to, ts_ns=ts_ns, venue_order_id=report.venue_order_id),)
    return (replace(order, venue_order_id=report.venue_order_id, changed_ns=ts_ns),) if is_news else ()


def _rejected(order: Order, report: OrderRejected) -> tuple[Order, ...]:
    if report.is_deadline or S.REJECTED not in NEXT[order.state] or order.filled_quantity > ZERO:
        return ()
    return (advance(order, S.REJECTED, ts_ns=_later_ns(order, report.ts_ns), reason=report.reason),)


def _filled(order: Order, report: OrderFilled) -> tuple[Order, ...]:
    total, average, fees = _figures_with(order, report)
    ts_ns = _later_ns(order, report.ts_ns)
    if order.new_quantity is not None and order.state not in TERMINAL:
        order = _with_evidence(order, order.new_quantity, total)
    is_whole = total >= order.quantity and order.new_quantity is None
    # Our own id stands in for the venue's until the acceptance that the fill overtook brings it.
    confirmation = order.venue_order_id or order.order_id
    is_in_doubt = order.state is S.UNKNOWN and order.new_quantity is not None
    if (
        order.state in TERMINAL
        or is_in_doubt
        or (order.state in {S.PENDING_CANCEL, S.PENDING_REPLACE} and not is_whole)
    ):
        known = order.venue_order_id if order.state in TERMINAL else confirmation
        return (
            replace(
                order,
                venue_order_id=known,
                filled_quantity=total,
                average_price=average,
                fees=fees,
                changed_ns=ts_ns,
            ),
        )
    passed: tuple[Order, ...] = ()
    if order.state is S.PENDING:
        order = advance(order, S.SUBMITTED, ts_ns=ts_ns, venue_order_id=confirmation)
        passed = (order,)
    last = advance(
        order,
        S.FILLED if is_whole else S.PARTIALLY_FILLED,
        ts_ns=ts_ns,
        venue_order_id=confirmation,
        filled_quantity=total,
        average_price=average,
        fees=fees,
    )
    return (*passed, last)


def _with_evidence(order: Order, wanted: Decimal, total: Decimal) -> Order:
    """Know by what has filled that a replacement went through, where that proves it; else it stays open."""
    if not order.quantity < total <= wanted:
        return order
    return _with_terms(order, wanted, order.new_price)


def _with_terms(order: Order, quantity: Decimal, price: Decimal | None) -> Order:
    """Give an order with the figures that a replacement has brought it; nothing is asked for any more."""
    return replace(
        order,
        quantity=quantity,
        limit_price=price if order.type is OrderType.LIMIT else order.limit_price,
        stop_price=price if order.type is OrderType.STOP else order.stop_price,
        new_quantity=None,
        new_price=None,
    )


def _cancelled(order: Order, report: OrderCancelled) -> tuple[Order, ...]:
    if order.state in TERMINAL:
        return ()
    ts_ns = _later_ns(order, report.ts_ns)
    is_ours = order.state is S.PENDING_CANCEL and bool(order.reason)
    reason = order.reason if is_ours else report.reason
    to = S.CANCELLED
    if report.is_expired:
        is_our_limit = order.expires_ns > 0 and report.ts_ns >= order.expires_ns
        if is_our_limit or (is_ours and order.reason == REASON_TTL):
            reason = REASON_TTL
        elif S.EXPIRED in NEXT[order.state]:
            to = S.EXPIRED
    return (advance(order, to, ts_ns=ts_ns, reason=reason),)


def _cancel_rejected(order: Order, report: CancelRejected) -> tuple[Order, ...]:
    if order.state is not S.PENDING_CANCEL:
        return ()
    return (advance(order, working_state(order), ts_ns=_later_ns(order, report.ts_ns)),)


def _unclear(order: Order, report: OrderUnclear) -> tuple[Order, ...]:
    """Doubt only what nothing has proved yet: an order that was on its way, or whose replacement was."""
    if order.state not in {S.PENDING, S.PENDING_REPLACE}:
        return ()
    return (advance(order, S.UNKNOWN, ts_ns=_later_ns(order, report.ts_ns), reason=report.reason),)


def _replaced(order: Order, report: OrderReplaced) -> tuple[Order, ...]:
    if order.state in TERMINAL:
        return ()
    ts_ns = _later_ns(order, report.ts_ns)
    changed = replace(
        _with_terms(order, report.quantity, report.price),
        venue_order_id=report.venue_order_id or order.venue_order_id,
        changed_ns=ts_ns,
    )
    if order.filled_quantity >= report.quantity > ZERO and order.filled_quantity > ZERO:
        return (advance(changed, S.FILLED, ts_ns=ts_ns),)
    if order.state in {S.PENDING_REPLACE, S.UNKNOWN}:
        return (advance(changed, working_state(changed), ts_ns=ts_ns),)
    return () if replace(changed, changed_ns=order.changed_ns) == order else (changed,)


def _replace_rejected(order: Order, report: ReplaceRejected) -> tuple[Order, ...]:
    if order.state is not S.PENDING_REPLACE:
        return ()
    kept = replace(order, new_quantity=None, new_price=None)
    to = S.FILLED if kept.filled_quantity >= kept.quantity else working_state(order)
    return (advance(kept, to, ts_ns=_later_ns(order, report.ts_ns)),)


def _figures_with(order: Order, fill: OrderFilled) -> tuple[Decimal, Decimal, Decimal]:
    """Add one fill to an order's totals: (filled quantity, average price, fees).

    The first fill's figures are taken as they are. Later ones are summed on a quantum: the sum before them is
    recovered exactly from the average, whose 28 digits reach far below it, so no sequence of fills matters.
    """
    fault = fault_of(fill.quantity, fill.price, fill.fee)
    if fault:
        msg = f"order {order.order_id}: a fill's {fault}"
        raise OrderStateMachineError(msg)
    if order.filled_quantity == ZERO:
        return fill.quantity, fill.price, fill.fee
    total = order.filled_quantity + fill.quantity
    before = (order.filled_quantity * order.average_price).quantize(SUM_QUANTUM)
    notional = before + (fill.quantity * fill.price).quantize(SUM_QUANTUM)
    return total, notional / total, order.fees.quantize(SUM_QUANTUM) + fill.fee.quantize(SUM_QUANTUM)


__all__ = [
    "CONFIRMED",
    "NEXT",
    "OPEN",
    "REASON_FLATTEN",
    "REASON_TTL",
    "TERMINAL",
    "WORKING",
    "BrokerConfirmationRequiredError",
    "DuplicateOrderError",
    "InvalidTransitionError",
    "OrderStateMachineError",
    "TerminalStateError",
    "advance",
    "after_report",
    "child_order_id",
    "course",
    "entry_of_adoption",
    "intent_id",
    "next_attempt",
    "order_from_judgement",
    "order_id",
    "protective_order",
    "require_new",
    "working_state",
]
