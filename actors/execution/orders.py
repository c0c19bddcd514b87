"""How one order changes and leaves: the journal first, then the wire."""

from collections import Counter
from collections.abc import Iterable, Sequence
from decimal import Decimal

from msgspec.structs import replace

from actors.execution.pace import Pace
from actors.journal import Journal, Key
from desk.messages import (
    CancelOrder,
    Order,
    OrderChanged,
    OrderState,
    Purpose,
    ReplaceOrder,
    SubmitOrder,
)
from desk.order import OPEN, TERMINAL, advance, next_attempt
from desk.units import ZERO
from desk.venue import VenueTraits
from runtime.clock import Clock
from runtime.effects import Effects, Post
from runtime.store import Store

#: Attempts that were sent more than once under the same id, by that id.
_REPEATED = "repeated"
#: Entries whose end is wanted while they cannot be cancelled, with the reason, by the order's id.
_UNWANTED = "unwanted"
#: Asked for with each order: to look a member up in its class costs as much as several calls.
_ENTRY = Purpose.ENTRY
REASON_CAPPED = "CAPPED"
REASON_VENUE_FELL = "VENUE_FELL: the venue's process fell while this was under way"


class Orders:
    """The working orders, what of them is on the wire now, and every way in which execution itself changes one.

    ``market_ns`` is the market's time, and until the market is heard in this life (``is_time_heard``) the journal's,
    which may be long past. ``venue_epoch`` names the venue's process that commands are addressed to, 0
    while none is up; only a remote venue needs it. ``doubted`` are orders whose state is known, but perhaps
    outdated: the venue is being asked. ``unknown`` are those of which nobody knows whether the venue has them, by id.
    """

    def __init__(self, venue: str, traits: VenueTraits, journal: Journal, clock: Clock, pace: Pace) -> None:
        """Know nothing to be on the wire: after a fall that is what ``recover`` and the venue have to say."""
        self.venue, self.traits, self.journal, self._clock, self._pace = venue, traits, journal, clock, pace
        self.market_ns = journal.market_ns
        self.is_time_heard = False
        self.venue_epoch = 0
        self.doubted: set[str] = set()
        self.unknown = journal.ledger.unknown
        self._on_wire: set[str] = set()
        self._repeated: set[str] = set()
        self._unwanted: dict[str, str] = {}
        self._replaces: Counter[str] = Counter()

    def recall(self, store: Store) -> None:
        """Read which attempts were sent more than once, and which entries nobody wants any more."""
        self._repeated = {name.decode() for name, _ in store.scan(_REPEATED)}
        self._unwanted = {name.decode(): reason.decode() for name, reason in store.scan(_UNWANTED)}

    # --- looking ------------------------------------------------------------------------------

    def working(self) -> tuple[Order, ...]:
        """Give all orders that are not finished, oldest first, as they are now."""
        return tuple(self.journal.ledger.working.values())

    def around(self, key: Key, purposes: Iterable[Purpose]) -> list[Order]:
        """Give the working orders of one position with these purposes, oldest first."""
        return [order for order in self.journal.ledger.working_around(key).values() if order.purpose in purposes]

    def has_left(self, order: Order) -> bool:
        """Say whether the present attempt may be at the venue: sent in this life, or before it."""
        return order.client_id in self._on_wire or order.state is not OrderState.PENDING

    def unknown_in(self, symbol: str) -> list[str]:
        """Name the orders of a symbol of which nobody knows whether the venue has them."""
        return [order.order_id for order in self.unknown.values() if order.symbol == symbol]

    # --- changing -----------------------------------------------------------------------------

    def write(self, order: Order, previous: OrderState | None, source: str, effects: Effects) -> None:
        """Put a changed or new order into the journal."""
        before = "" if previous is None else previous.value
        self.journal.write(OrderChanged(order, before, source, order.changed_ns), effects)
        self._pace.follow(order)
        if order.state in TERMINAL:
            self._let_go(order.order_id, order.client_id, effects)

    def _let_go(self, order_id: str, client_id: str, effects: Effects) -> None:
        """Remember nothing of the last attempt of an order that is finished: nothing is sent for it any more."""
        if self._unwanted.pop(order_id, None) is not None:
            effects.delete(_UNWANTED, order_id.encode())
        self._on_wire.discard(client_id)
        self._replaces.pop(client_id, None)
        if client_id in self._repeated:
            self._repeated.discard(client_id)
            effects.delete(_REPEATED, client_id.encode())

    def change(self, order: Order, to: OrderState, reason: str, source: str, effects: Effects) -> Order:
        """Take an order to another state on our own account, and give it as it then is."""
        ts_ns = max(self.market_ns, order.changed_ns)
        changed = advance(order, to, ts_ns=ts_ns, reason=reason, venue_order_id=order.venue_order_id)
        self.write(changed, order.state, source, effects)
        return changed

    def send(self, order: Order, effects: Effects) -> None:
        """Put a PENDING order on the wire, once for each attempt.

        To a remote venue each attempt is in the journal before it leaves; while that venue is down nothing happens, and
        the order leaves after the next look at the venue.
        """
        if order.client_id in self._on_wire:
            return
        if self.traits.is_remote:
            if not self.venue_epoch:
                return
            order = self._attempted(order, effects)
        self._post(order, effects)

    def bear(self, orders: Sequence[Order], source: str, effects: Effects) -> None:
        """Put new entries into the journal and on the wire, as ``write`` and ``send`` do one by one.

        None of them was ever journalled, and nothing objects to any of them. The venue is one of our own house.
        """
        assert not self.traits.is_remote, "to a remote venue each attempt is in the journal before it leaves"
        self.journal.bear(orders, source, effects)
        self._pace.bear(orders)
        self._on_wire.update([order.order_id for order in orders])
        venue, epoch, post = self.venue, self.venue_epoch, effects.posts.append
        for order in orders:
            post(
                Post(
                    venue,
                    SubmitOrder(
                        order.order_id,
                        order.symbol,
                        order.side,
                        order.type,
                        order.quantity,
                        order.limit_price,
                        None,  # stop_price
                        order.expires_ns,
                        "",  # oco_group
                        0,  # deadline_ns
                        epoch,
                        False,  # is_exit
                    ),
                )
            )

    def send_again(self, order: Order, effects: Effects) -> None:
        """Put the same attempt on the wire once more, where ids are unique for ever and so two are one."""
        if self.venue_epoch:
            if order.client_id not in self._repeated:
                self._repeated.add(order.client_id)
                effects.put(_REPEATED, order.client_id.encode(), b"")
            self._post(order, effects)

    def is_repeated(self, client_id: str) -> bool:
        """Say whether an attempt was sent more than once: a refusal of one sending says nothing of the others then."""
        return client_id in self._repeated

    def is_replaced_again(self, client_id: str) -> bool:
        """Say whether more than one replacement was asked for: a refusal of one says nothing of the others then."""
        return self._replaces[client_id] > 1

    def forget(self, order: Order) -> None:
        """Let go of an attempt that ended without effect; the next one may leave."""
        self._on_wire.discard(order.client_id)

    def fit(self, order: Order, quantity: Decimal, effects: Effects) -> Order:
        """Make an order smaller before it is sent again; the larger one may be there while nobody knows."""
        assert quantity < order.quantity, "an order only ever shrinks on its way"
        larger = order.quantity if order.new_quantity is None else order.new_quantity
        fitted = replace(
            order,
            quantity=quantity,
            new_quantity=larger,
            new_price=order.level or ZERO,
            changed_ns=max(self.market_ns, order.changed_ns),
        )
        self.write(fitted, order.state, "ours", effects)
        return fitted

    def cap(self, order: Order, quantity: Decimal, effects: Effects) -> Order:
        """Make an exit smaller before it leaves, for no more is held; give it as it then is."""
        assert ZERO < quantity < order.quantity, "what is capped gets smaller, and there is something left"
        assert not self.has_left(order), "what is on its way is not changed here"
        reason = f"{REASON_CAPPED}: {quantity} of {order.quantity} is held any more"
        capped = replace(order, quantity=quantity, reason=reason, changed_ns=max(self.market_ns, order.changed_ns))
        self.write(capped, order.state, "ours", effects)
        return capped

    def try_again(self, order: Order, effects: Effects) -> None:
        """Begin another attempt of an order whose last one never arrived; the old name is not used again."""
        self.forget(order)
        if self.venue_epoch:
            self._post(self._attempted(order, effects), effects)

    def _attempted(self, order: Order, effects: Effects) -> Order:
        limit_ns = self.traits.deadline_ns
        deadline_ns = self._clock.wall_ns() + limit_ns if limit_ns else 0
        before = order.state
        order = next_attempt(order, deadline_ns=deadline_ns, ts_ns=max(self.market_ns, order.changed_ns))
        self.write(order, before, "ours", effects)
        return order

    def _post(self, order: Order, effects: Effects) -> None:
        client_id = order.client_id
        self._on_wire.add(client_id)
        self._pace.leaves(order)
        submit = SubmitOrder(
            client_id,
            order.symbol,
            order.side,
            order.type,
            order.quantity,
            order.limit_price,
            order.stop_price,
            order.expires_ns,
            order.oco_group,
            order.deadline_ns,
            self.venue_epoch,
            order.purpose is not _ENTRY,
        )
        effects.posts.append(Post(self.venue, submit))

    def cancel(self, order: Order, reason: str, effects: Effects) -> None:
        """Ask for an order's end; one that never left ends at once.

        One on its way, in doubt or in change is left alone for now; of an entry it is remembered, also across falls.
        """
        if order.state in OPEN:
            self.ask_cancel(self.change(order, OrderState.PENDING_CANCEL, reason, "ours", effects), effects)
        elif not self.has_left(order):
            self.change(order, OrderState.CANCELLED, reason, "ours", effects)
        elif order.purpose is _ENTRY and order.order_id not in self._unwanted:
            self._unwanted[order.order_id] = reason
            effects.put(_UNWANTED, order.order_id.encode(), reason.encode())

    def is_unwanted(self, order: Order) -> bool:
        """Say whether the end of an entry was asked for while it could not be cancelled."""
        return order.order_id in self._unwanted

    def end_unwanted(self, order: Order, effects: Effects) -> None:
        """Cancel an entry whose end was asked for before, now that the venue is known to have it."""
        if order.state in OPEN and self.is_unwanted(order):
            self.cancel(order, self._unwanted[order.order_id], effects)

    def ask_cancel(self, order: Order, effects: Effects) -> None:
        """Say (again) to the venue that it should cancel; twice is as once, and in one turn it is said once."""
        if self.venue_epoch or not self.traits.is_remote:
            cancel = CancelOrder(order.client_id, order.reason, order.venue_order_id, self.venue_epoch)
            if all(post.word != cancel for post in effects.posts):
                effects.post(self.venue, cancel)

    def cancel_stranger(self, client_id: str, venue_order_id: str, effects: Effects) -> None:
        """Cancel at the venue what bears a name of ours that is not in use any more."""
        effects.post(self.venue, CancelOrder(client_id, "NOT_IN_USE", venue_order_id, self.venue_epoch))

    def resize(self, order: Order, quantity: Decimal, price: Decimal, effects: Effects) -> None:
        """Change an order that rests at a venue which can do that in place: there are never two of it."""
        assert self.traits.can_replace, "a venue that cannot replace gets a cancel and a new order"
        assert order.state in OPEN, "only what rests can be changed"
        wanted = replace(order, new_quantity=quantity, new_price=price)
        self.ask_replace(self.change(wanted, OrderState.PENDING_REPLACE, "", "ours", effects), effects)

    def ask_replace(self, order: Order, effects: Effects) -> None:
        """Say (again) to the venue what a resting order should become; twice is as once."""
        assert order.new_quantity is not None, "a replacement under way has its figures"
        assert order.new_price is not None, "a replacement under way has its figures"
        if self.venue_epoch:
            self._replaces[order.client_id] += 1
            effects.post(
                self.venue,
                ReplaceOrder(
                    order.client_id,
                    order.venue_order_id,
                    order.symbol,
                    order.type,
                    order.new_quantity,
                    order.new_price,
                    self.venue_epoch,
                ),
            )

    # --- the venue's process ------------------------------------------------------------------

    def lose_venue(self, effects: Effects) -> None:
        """Doubt everything that was on its way when the venue's process, or ours, ended."""
        for order in self.working():
            is_under_way = order.state is OrderState.PENDING and order.attempt > 0
            if is_under_way or order.state is OrderState.PENDING_REPLACE:
                self.change(order, OrderState.UNKNOWN, REASON_VENUE_FELL, "ours", effects)
        self._on_wire.clear()
        self.venue_epoch = 0


def is_late(order: Order) -> bool:
    """Say whether a fill that comes now comes for an order that was thought to have ended without it."""
    return order.state in TERMINAL - {OrderState.FILLED}
