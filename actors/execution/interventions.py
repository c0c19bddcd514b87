"""The operator's hand in orders and positions: what became of an order that nobody knows, and what shall be flat.

Each wish bears the name of its request, which is kept with it: one request is carried out once, however often it comes.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from actors.execution.once import Once
from actors.execution.orders import Orders
from actors.execution.protection import Protection
from desk.messages import (
    FlatteningWished,
    OperatorAnswered,
    Order,
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    OrderState,
    ResolutionWished,
    VenueReport,
)
from desk.portfolio import fault_of_fill
from desk.units import ZERO
from runtime.effects import Effects
from runtime.store import Store

if TYPE_CHECKING:
    from decimal import Decimal

OUTCOMES = ("never", "cancelled", "filled")
REASON_OPERATOR = "OPERATOR"


class Interventions:
    """Carries out what an operator wants of orders and positions, or says why not."""

    def __init__(
        self,
        orders: Orders,
        protection: Protection,
        store: Store,
        hear_report: Callable[[VenueReport, Effects], None],
        lost: Callable[[], list[Order]],
    ) -> None:
        """Take the orders, what stands around positions, the store, what books a report, and which orders are lost."""
        self._orders, self._journal, self._protection = orders, orders.journal, protection
        self._once, self._hear_report, self._lost = Once(store, "intervention"), hear_report, lost

    def hear(self, wish: ResolutionWished | FlatteningWished, effects: Effects) -> OperatorAnswered:
        """Carry out a wish once, and give its answer; a refused one changed nothing and may be asked again."""
        answered = self._once.answered(wish.request)
        if answered is not None:
            return answered
        if isinstance(wish, FlatteningWished):
            return self._once.carried_out(wish.request, self._flatten(wish, effects), effects)
        found = self._find(wish)
        if isinstance(found, str):
            return OperatorAnswered(wish.request, found, "")
        return self._once.carried_out(wish.request, self._resolve(found, wish, effects), effects)

    # --- what nobody knows --------------------------------------------------------------------

    def _find(self, wish: ResolutionWished) -> Order | str:
        """Find the order that is meant, by the beginning of its id or of its client id, or say what is wrong."""
        found = [
            order
            for order in self._orders.working()
            if order.order_id.startswith(wish.order_id) or order.client_id.startswith(wish.order_id)
        ]
        if len(found) != 1:
            count = "no order that works begins" if not found else f"{len(found)} orders that work begin"
            return f"{count} with {wish.order_id!r}; see: bulkhead orders"
        order = found[0]
        return self._refusal(order, wish) or order

    def _refusal(self, order: Order, wish: ResolutionWished) -> str:
        is_lost = order.state is not OrderState.UNKNOWN
        if is_lost and order.order_id not in {each.order_id for each in self._lost()}:
            what = "only an UNKNOWN order, or one that its venue has lost, is settled by a person's word"
            return f"{order.order_id} is {order.state}: {what}"
        if wish.outcome not in OUTCOMES:
            return f"the outcome is one of {', '.join(OUTCOMES)}, not {wish.outcome!r}"
        if wish.outcome == "never" and is_lost:
            return f"the venue had confirmed {order.order_id}: it was cancelled or filled, not never there"
        if wish.outcome == "never" and order.filled_quantity > ZERO:
            return f"{order.order_id} has filled {order.filled_quantity}: it cannot never have been"
        return self._fault_of_fill(order, wish) if wish.outcome == "filled" else ""

    @staticmethod
    def _fault_of_fill(order: Order, wish: ResolutionWished) -> str:
        figures: tuple[Decimal | None, ...] = (wish.quantity, wish.price)
        if any(figure is None or not figure.is_finite() or figure <= ZERO for figure in figures):
            return "what filled has a --quantity and a --price above 0"
        assert wish.quantity is not None, "it was just looked at"
        if wish.quantity > order.left:
            return f"{wish.quantity} is more than the {order.left} that {order.order_id} could still fill"
        assert wish.price is not None, "it was just looked at"
        return fault_of_fill(wish.quantity, wish.price, wish.fee)

    def _resolve(self, order: Order, wish: ResolutionWished, effects: Effects) -> dict[str, object]:
        """Book a person's word like a venue's report; the journal says whose word it was."""
        ts_ns = self._orders.market_ns
        text = f"{order.order_id} settled as {wish.outcome} by {wish.who}: {wish.reason}"
        self._journal.note("resolved", text, ts_ns, effects, wish.who)
        name = order.client_id
        if wish.outcome == "never":
            self._orders.change(order, OrderState.EXPIRED, REASON_OPERATOR, "operator", effects)
            self._protection.settle(order.key, effects)
        elif wish.outcome == "cancelled":
            if not order.venue_order_id:
                self._hear_report(OrderAccepted(0, name, f"{REASON_OPERATOR}-{name}", ts_ns), effects)
            cancelled = OrderCancelled(0, name, REASON_OPERATOR, False, ts_ns, order.filled_quantity)
            self._hear_report(cancelled, effects)
        else:
            assert wish.quantity is not None, "it was looked at before"
            assert wish.price is not None, "it was looked at before"
            left = order.left - wish.quantity
            fill = OrderFilled(
                0, name, f"operator/{wish.request}", wish.quantity, wish.price, wish.fee, False, left, ts_ns
            )  # fmt: skip
            self._hear_report(fill, effects)
        now = self._journal.ledger.order(order.order_id)
        assert now is not None, "what was just changed is known"
        return {"order": now.order_id, "state": now.state.value, "filled": str(now.filled_quantity)}

    # --- flat ---------------------------------------------------------------------------------

    def _flatten(self, wish: FlatteningWished, effects: Effects) -> dict[str, object]:
        """Begin to close what is meant; what could open it again is cancelled first."""
        held = [
            key
            for key in self._journal.ledger.positions
            if wish.strategy in {"", key[0]} and wish.symbol in {"", key[1]} and key in self._journal.entries
        ]
        opening = {
            order.key
            for order in self._orders.working()
            if wish.strategy in {"", order.strategy} and wish.symbol in {"", order.symbol}
        }
        keys = [*held, *sorted(opening - set(held))]
        if keys:
            what = ", ".join(f"{strategy} {symbol} {tag}".strip() for strategy, symbol, tag in keys)
            self._journal.note(
                "flatten", f"{what}: {wish.reason} ({wish.request})", self._orders.market_ns, effects, wish.who
            )
        for key in keys:
            self._protection.want_flat(key, effects)
            self._protection.see_flat(key, effects)
        return {
            "closing": [list(key) for key in keys],
            "residue": self._protection.residue(),
            "journal": self._journal.head,
        }
