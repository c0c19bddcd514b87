"""Compare our books with a venue's: pure, and never a reason to trade by itself."""

from decimal import Decimal

import msgspec

from desk.messages import OrderFilled, OrderState, VenueSnapshot
from desk.portfolio import Ledger
from desk.units import ZERO

#: More missing orders than this, or more drift than that share of a position, and trading stops.
MISSING_MAX = 3
DRIFT_MAX = Decimal("0.05")
#: States in which the venue has confirmed the order and must know it.
CONFIRMED = frozenset({OrderState.SUBMITTED, OrderState.PARTIALLY_FILLED, OrderState.PENDING_CANCEL})


class Finding(msgspec.Struct, frozen=True):
    """What a comparison found. ``against_trading`` is empty where trading may go on."""

    text: str
    against_trading: str
    differences: tuple[str, ...]


def reconcile(ledger: Ledger, snapshot: VenueSnapshot, seen: int) -> Finding:
    """Compare positions and open orders.

    Fills that the venue reports and we have not booked yet (behind report ``seen``) explain themselves.
    Drift is |local - venue| / max(|local|, |venue|). Nothing is changed and nothing is traded.

    Source: the thresholds are the second seed's: more than 3 missing, or more than 5 % of a quantity.
    """
    local = ledger.net_quantities()
    unread = [report for report in snapshot.unread if report.report > seen]
    for report in unread:
        if isinstance(report, OrderFilled) and not ledger.has_execution(report.execution_id):
            order = ledger.order(report.order_id)
            if order is not None:
                local[order.symbol] = local.get(order.symbol, ZERO) + report.quantity * order.side.sign
    differences: list[str] = []
    worst = ZERO
    for symbol in sorted(local.keys() | snapshot.positions.keys()):
        here, there = local.get(symbol, ZERO), snapshot.positions.get(symbol, ZERO)
        if here != there:
            drift = abs(here - there) / max(abs(here), abs(there))
            worst = max(worst, drift)
            differences.append(f"quantity_mismatch {symbol}: ours {here}, venue {there}, drift {drift:.1%}")
    mentioned = {report.order_id for report in unread}
    theirs_by_id = {order.order_id: order for order in snapshot.orders}
    missing_venue = [
        order.order_id
        for order in ledger.working.values()
        if order.state in CONFIRMED and order.client_id not in theirs_by_id and order.client_id not in mentioned
    ]
    ours = {order.client_id for order in ledger.working.values()}
    missing_local = [name for name in theirs_by_id if name not in ours and ledger.order(name) is None]
    differences += [f"missing_broker order {name}" for name in missing_venue]
    differences += [f"missing_local order {name}" for name in missing_local]
    missing = max(len(missing_venue), len(missing_local))
    against = f"books and venue differ: {'; '.join(differences)}" if worst > DRIFT_MAX or missing > MISSING_MAX else ""
    text = "; ".join(differences) or f"ok: {len(local)} positions, {len(snapshot.orders)} orders agree"
    return Finding(text, against, tuple(differences))
