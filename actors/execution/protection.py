"""What stands around a position: its exits, its resting stop and target, and its fate without its strategy."""

from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from hashlib import blake2b

import msgspec

from actors.execution.orders import Orders
from actors.journal import Key
from actors.owners import WANTED_AWAY, Owners
from actors.settings import OnDisable
from actors.topics import strategy_path
from desk.instruments import Instruments, sellable, sooner
from desk.messages import Order, OrderState, OrderType, ProtectiveStop, Purpose, Side
from desk.order import OPEN, REASON_FLATTEN, TERMINAL, flattening_order, protective_order
from desk.portfolio import Position
from desk.units import ZERO
from runtime.effects import Effects
from runtime.store import Store

#: The positions that an operator wants flat.
_FLAT = "flat"
#: The longest key of that table that is the position's own; others are digests.
PLACE_BYTES_MAX = 256
PROTECTIVE = frozenset({Purpose.STOP_LOSS, Purpose.TAKE_PROFIT})
REASON_POSITION_CLOSED = "POSITION_CLOSED"
REASON_LEVELS_CHANGED = "LEVELS_CHANGED"
#: Why an exit that waits for its price does not wait any longer: the market has come to the stop instead.
REASON_STOP_REACHED = "STOP_REACHED"
#: So many legs of a group that the venue has ended unasked, and no other joins it: it does not live there any more.
ENDS_MAX = 2


class Protection:
    """The one owner of every order that rests for a position, and the gate through which every exit leaves.

    Everything here may be asked for again and changes nothing where all is as it should be. ``away`` are the strategies
    that do not run, None before root has said so.
    """

    def __init__(
        self, orders: Orders, owners: Owners, state_of: Callable[[str], str], instruments: Instruments
    ) -> None:
        """Take the orders, who owns what, and root's word on a process."""
        self._orders, self._journal = orders, orders.journal
        self._owners, self._state_of, self._instruments = owners, state_of, instruments
        self.away: frozenset[str] | None = None
        self._wanted_flat: set[Key] = set()
        #: The positions whose exit the venue has refused since the last look at all.
        self._refused: set[Key] = set()
        #: Each symbol's last price, as far as ``watch`` has been told.
        self._prices: dict[str, Decimal] = {}
        #: Of each position: the groups of which the venue has ended a leg unasked, and how often.
        self._ends: dict[Key, Counter[str]] = {}

    # --- the whole ----------------------------------------------------------------------------

    def look_after_all(self, effects: Effects) -> None:
        """Cancel the entries of strategies that are away, and bring what surrounds positions to what it should be."""
        for order in self._orders.working():
            if order.strategy in (self.away or ()) and order.purpose is Purpose.ENTRY:
                self._orders.cancel(order, "STRATEGY_PUT_AWAY", effects)
        for key in tuple(self._journal.ledger.positions):
            self.flatten(key, effects)
            self.settle(key, effects)
        self.release_exits(effects)

    def release_exits(self, effects: Effects) -> None:
        """Give exits that wait a turn, also those whose position is gone, and end what protects nothing any more."""
        keys = {
            order.key
            for order in self._orders.working()
            if (order.purpose is Purpose.EXIT and not self._orders.has_left(order)) or self._is_orphan(order)
        }
        for key in sorted(keys):
            self.settle(key, effects)

    def _is_orphan(self, order: Order) -> bool:
        """Say whether a stop or target rests without a position."""
        return order.purpose in PROTECTIVE and self._journal.ledger.position(*order.key) is None

    # --- flattening ---------------------------------------------------------------------------

    def recall(self, store: Store) -> None:
        """Read which positions an operator wanted flat before a fall."""
        self._wanted_flat = {(*msgspec.msgpack.decode(said or place, type=Key),) for place, said in store.scan(_FLAT)}

    def want_flat(self, key: Key, effects: Effects) -> None:
        """Close a position because an operator says so, again and again until it is closed."""
        if key not in self._wanted_flat:
            self._wanted_flat.add(key)
            effects.put(_FLAT, _place(key), msgspec.msgpack.encode(key))
        for order in self._orders.around(key, {Purpose.ENTRY}):
            self._orders.cancel(order, REASON_FLATTEN, effects)
        self.flatten(key, effects)

    def wanted_flat(self) -> list[Key]:
        """Name the positions that an operator wants flat and that are not yet."""
        return sorted(self._wanted_flat)

    def see_flat(self, key: Key, effects: Effects) -> bool:
        """Let go of an operator's wish once nothing is held and nothing can open it again; say whether it ended now.

        What is less than one lot counts as nothing: no order can carry it.
        """
        position = self._journal.ledger.position(*key)
        if key not in self._wanted_flat or (position is not None and self._sellable(position) > ZERO):
            return False
        if self._orders.around(key, {Purpose.ENTRY}):
            return False
        self._wanted_flat.discard(key)
        effects.delete(_FLAT, _place(key))
        self.note_flat(key, effects)
        return True

    def note_flat(self, key: Key, effects: Effects) -> None:
        """Note that a position which should be flat is."""
        self._journal.note("flattened", f"{key[0]} holds no {key[1]} any more", self._orders.market_ns, effects)

    def flatten(self, key: Key, effects: Effects) -> None:
        """Begin to close a position that shall be flat; an exit at the market that is at work may finish first.

        ``settle`` sends it. One that the venue refuses is not made again before the next look at all.
        """
        if self.is_to_be_flat(key):
            for order in filter(waits_for_its_price, self._orders.around(key, {Purpose.EXIT})):
                self._orders.cancel(order, REASON_FLATTEN, effects)
            self.close(key, effects)

    def close_behind(self, order: Order, effects: Effects) -> None:
        """Close what shall be flat behind an entry that was filled, or an exit that does not wait any more."""
        self.flatten(order.key, effects)
        if order.reason == REASON_STOP_REACHED and order.state in TERMINAL:
            self.close(order.key, effects, Purpose.STOP_LOSS.value)

    def watch(self, symbol: str, price: Decimal, effects: Effects) -> None:
        """Close positions whose stop or target the price has reached while the venue does not watch it itself."""
        self._prices[symbol] = price
        for key, position in tuple(self._journal.ledger.positions.items()):
            if key[1] == symbol and not self.stop_out(key, effects):
                self._take_profit(key, position, price, effects)

    def stop_out(self, key: Key, effects: Effects) -> bool:
        """Close a position whose stop the last price has reached and does not rest; say whether that is so.

        It does not rest beside an exit that waits for its price, which is cancelled, nor where the venue has refused
        it.
        """
        position = self._journal.ledger.position(*key)
        if position is None or not self._is_stop_reached(key, position):
            return False
        waiting = [*filter(waits_for_its_price, self._orders.around(key, {Purpose.EXIT}))]
        if not waiting and (key in self._refused or self._orders.around(key, {Purpose.STOP_LOSS})):
            return False
        for order in waiting:
            self._orders.cancel(order, REASON_STOP_REACHED, effects)
        self.close(key, effects, Purpose.STOP_LOSS.value)
        return True

    def _is_stop_reached(self, key: Key, position: Position) -> bool:
        price, stop = self._prices.get(key[1]), position.stop_loss
        if price is None or stop is None:
            return False
        level = sooner(stop, _closing_side(position), OrderType.STOP, self._instruments.of(key[1]))
        is_reached = (level - price) * position.quantity >= ZERO
        return is_reached and self._rests_stop(key) and key in self._journal.entries

    def _take_profit(self, key: Key, position: Position, price: Decimal, effects: Effects) -> None:
        """Close a position whose target is reached, where the venue lets a target not rest beside a stop."""
        target = position.take_profit
        if self._orders.traits.has_oco or target is None or position.stop_loss is None or not self._is_native(key):
            return
        if key not in self._refused and (price - target) * position.quantity >= ZERO:
            self.close(key, effects, Purpose.TAKE_PROFIT.value)

    def close(self, key: Key, effects: Effects, reason: str = REASON_FLATTEN) -> None:
        """Begin to close a position at the market, unless an exit is at work already."""
        position = self._journal.ledger.position(*key)
        if position is None or self._orders.around(key, {Purpose.EXIT}):
            return
        quantity = self._sellable(position)
        if quantity == ZERO:
            return
        entry = self._journal.entries.get(key)
        assert entry is not None, "what is held was entered"
        order = flattening_order(
            entry,
            quantity=quantity,
            attempt=self._journal.head + 1,
            ts_ns=max(self._orders.market_ns, position.opened_ns),
            reason=reason,
        )
        self._orders.write(order, None, "ours", effects)
        self.settle(key, effects)

    def is_to_be_flat(self, key: Key) -> bool:
        """Say whether an operator wants it so, or its strategy is away, was wanted away, and shall hold nothing."""
        if key in self._wanted_flat:
            return True
        if self.away is None or key[0] not in self.away:
            return False
        is_wanted = self._state_of(strategy_path(key[0])) in WANTED_AWAY
        return is_wanted and self._owners.on_disable(key[0]) is OnDisable.FLATTEN

    def residue(self) -> list[str]:
        """Say what is held still though it shall not be, and what of its exit."""
        residue: list[str] = []
        for key, position in self._journal.ledger.positions.items():
            if self.is_to_be_flat(key):
                exits = self._orders.around(key, {Purpose.EXIT})
                how = f"its exit is {exits[0].state.value}" if exits else "its exit was refused and is tried again"
                if not exits and self._sellable(position) == ZERO:
                    how = "less than one lot, which no order can carry"
                residue.append(f"{key[0]} is to be flat and still holds {position.quantity} {key[1]}: {how}")
        return residue

    # --- one position -------------------------------------------------------------------------

    def look_again(self) -> None:
        """Let exits that the venue refused be made again."""
        self._refused.clear()

    def see_end(self, before: Order, order: Order) -> None:
        """Note a refused exit, and what a venue's word on a leg says of its group; one that traded ends it at once.

        It is not kept: who falls learns it anew, by a leg that joins in vain.
        """
        if order.purpose is Purpose.EXIT and order.state is OrderState.REJECTED:
            self._refused.add(order.key)
        is_asked = before.state is OrderState.PENDING_CANCEL
        has_traded = order.filled_quantity > before.filled_quantity
        if order.oco_group and (has_traded or (order.state in TERMINAL and not is_asked)):
            ends = self._ends.setdefault(order.key, Counter())
            ends[order.oco_group] += ENDS_MAX if has_traded else 1

    def settle(self, key: Key, effects: Effects) -> None:
        """Bring the orders around one position to what they should be; doing it again changes nothing.

        While an exit waits, resting stops and targets go first; then the exit leaves, for no more than is held.
        Without exit, a position whose stop rests at the venue has exactly its recorded levels resting.
        """
        position = self._journal.ledger.position(*key)
        exits = self._orders.around(key, {Purpose.EXIT})
        resting = self._orders.around(key, PROTECTIVE)
        if position is None:
            self._ends.pop(key, None)
            self.see_flat(key, effects)
        if exits or position is None:
            for order in resting:
                self._orders.cancel(order, "EXIT" if exits else REASON_POSITION_CLOSED, effects)
            if position is None or not self._orders.around(key, PROTECTIVE):
                self._release(exits, position, effects)
            return
        if self.away is None and not self._is_native(key):
            return  # whether its strategy runs is not known yet: what rests stays
        self._rest(key, position, resting, effects)

    def _rest(self, key: Key, position: Position, resting: list[Order], effects: Effects) -> None:
        """Let exactly the wanted levels rest, each for all that is held: changed in place, or cancelled and new."""
        wanted = self._wanted_levels(key, position)
        held = self._sellable(position)
        if held == ZERO:
            text = f"{key[0]} holds {position.quantity} {key[1]}, less than one lot: it stays, and nothing rests for it"
            self._journal.note(f"dust {key[0]} {key[1]} {key[2]}", text, self._orders.market_ns, effects)
        is_sure = self._journal.entries.get(key) is not None
        is_sure = is_sure and not any(order.order_id in self._orders.doubted for order in resting)  # or one has traded
        if is_sure and not wanted.keys() <= {order.purpose for order in resting} and self._is_group_over(key, resting):
            for order in resting:
                self._orders.cancel(order, REASON_LEVELS_CHANGED, effects)
            return
        kept: set[Purpose] = set()
        for order in resting:
            level = wanted.get(order.purpose) if order.side.sign * position.quantity < ZERO else None
            if level is not None and order.purpose not in kept:
                if (_level_to_be(order), _left_to_be(order)) == (level, held):
                    kept.add(order.purpose)
                    continue
                if self._orders.traits.can_replace:
                    kept.add(order.purpose)
                    if order.state in OPEN and order.order_id not in self._orders.doubted:
                        self._orders.resize(order, order.filled_quantity + held, level, effects)
                    continue
            self._orders.cancel(order, REASON_LEVELS_CHANGED, effects)
        if is_sure and len(kept) == len(resting):
            missing = {purpose: level for purpose, level in wanted.items() if purpose not in kept}
            self._place(key, position, missing, resting, effects)

    def _is_group_over(self, key: Key, resting: list[Order]) -> bool:
        """Say whether what rests belongs to a group that takes nobody in any more."""
        ends = self._ends.get(key, {})
        return any(order.filled_quantity > ZERO or ends.get(order.oco_group, 0) >= ENDS_MAX for order in resting)

    def _wanted_levels(self, key: Key, position: Position) -> dict[Purpose, Decimal]:
        """Say which levels of a position should rest at the venue now.

        Where the venue knows no groups only the stop rests, and ``watch`` looks after the target: of two orders of
        which each could close the position both may fill.
        """
        if self._sellable(position) == ZERO:
            return {}
        wanted: dict[Purpose, Decimal] = {}
        if position.stop_loss is not None and self._rests_stop(key):
            wanted[Purpose.STOP_LOSS] = position.stop_loss
        has_target = self._is_native(key) and (self._orders.traits.has_oco or position.stop_loss is None)
        if position.take_profit is not None and has_target:
            wanted[Purpose.TAKE_PROFIT] = position.take_profit
        side, instrument = _closing_side(position), self._instruments.of(key[1])
        return {
            purpose: sooner(
                level, side, OrderType.STOP if purpose is Purpose.STOP_LOSS else OrderType.LIMIT, instrument
            )
            for purpose, level in wanted.items()
        }

    def _sellable(self, position: Position) -> Decimal:
        """Give what of a position an order can carry."""
        return sellable(abs(position.quantity), self._instruments.of(position.symbol))

    def _is_native(self, key: Key) -> bool:
        """Say whether the position's stop rests at the venue while its strategy runs."""
        entry = self._journal.entries.get(key)
        return entry is not None and entry.protective_stop is ProtectiveStop.VENUE

    def _rests_stop(self, key: Key) -> bool:
        """Say whether the position's stop rests at the venue now, for it itself or in its strategy's absence."""
        is_away = self.away is not None and (key[0] in self.away or self._owners.is_foreign(key[0], key[1]))
        return is_away or self._is_native(key)

    def _place(
        self, key: Key, position: Position, levels: dict[Purpose, Decimal], beside: list[Order], effects: Effects
    ) -> None:
        """Let these levels rest too; what is placed beside a leg that rests joins its group, or both could fill."""
        entry = self._journal.entries[key]
        attempt = self._journal.head + 1
        group = f"{entry.order_id}-{attempt}" if levels and self._orders.traits.has_oco else ""
        group = next((order.oco_group for order in beside if order.oco_group), group)
        for purpose, level in levels.items():
            order = protective_order(
                entry,
                purpose,
                quantity=self._sellable(position),
                price=level,
                attempt=attempt,
                oco_group=group,
                ts_ns=max(self._orders.market_ns, position.opened_ns),
            )
            self._orders.write(order, None, "ours", effects)
            self._orders.send(order, effects)

    def _release(self, exits: list[Order], position: Position | None, effects: Effects) -> None:
        """Send the exits that wait, capped to what is held and not already being sold.

        Less is held than was wanted where a stop traded in part before its cancel: what is left still has to go.
        """
        left = abs(position.quantity) if position is not None else ZERO
        left -= sum((order.left for order in exits if self._orders.has_left(order)), ZERO)
        for order in exits:
            if order.state is not OrderState.PENDING or self._orders.has_left(order):
                continue
            leaving = order
            if left < order.quantity:
                most = sellable(max(left, ZERO), self._instruments.of(order.symbol))
                if most == ZERO:
                    self._orders.change(order, OrderState.CANCELLED, REASON_POSITION_CLOSED, "ours", effects)
                    continue
                leaving = self._orders.cap(order, most, effects)
            left -= leaving.quantity
            self._orders.send(leaving, effects)


def waits_for_its_price(order: Order) -> bool:
    """Say whether an order is an exit that may not trade for as long as the market stays away."""
    return order.purpose is Purpose.EXIT and order.type is OrderType.LIMIT


def _closing_side(position: Position) -> Side:
    return Side.SELL if position.quantity > ZERO else Side.BUY


def _level_to_be(order: Order) -> Decimal | None:
    return order.level if order.new_price is None else order.new_price


def _left_to_be(order: Order) -> Decimal:
    """Give what of a protective order will rest once its replacement, if any, is through."""
    quantity = order.quantity if order.new_quantity is None else order.new_quantity
    return quantity - order.filled_quantity


def _place(key: Key) -> bytes:
    """Say where a position that shall be flat stands in its table: a tag may be longer than a store's key."""
    said = msgspec.msgpack.encode(key)
    return said if len(said) <= PLACE_BYTES_MAX else blake2b(said, digest_size=32).digest()
