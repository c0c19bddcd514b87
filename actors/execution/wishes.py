"""The operator's hand in the books: capital that comes and goes, and who owns what was found at the venue.

Each wish bears the name of its request, which is in the journal's store with it: one request is carried out once,
however often it comes.
"""

from collections.abc import Callable
from decimal import Decimal

from actors.execution.once import Once
from actors.execution.orders import Orders
from desk.identity import TAG_MAX
from desk.messages import (
    AdoptionWished,
    CapitalChanged,
    CapitalWished,
    ExternalAdopted,
    OperatorAnswered,
    Purpose,
)
from desk.portfolio import EXTERNAL
from desk.units import ZERO
from runtime.effects import Effects
from runtime.store import Store

#: No money is written with more; without a bound a deposit could be lost in the last digit of the cash.
DECIMALS_MAX = 8


class Wishes:
    """Carries out what an operator wants of the books, or says why not."""

    def __init__(
        self,
        orders: Orders,
        store: Store,
        owns: Callable[[str, str], bool],
        price_of: Callable[[str], Decimal],
    ) -> None:
        """Take the orders, the store, what says whether a strategy trades a symbol, and the last price of one, or 0."""
        self._orders, self._journal, self._owns, self._price_of = orders, orders.journal, owns, price_of
        self._once = Once(store, "wish")

    def hear(self, wish: CapitalWished | AdoptionWished, effects: Effects) -> OperatorAnswered:
        """Carry out a wish once, and give its answer; a refused one changed nothing and may be asked again."""
        answered = self._once.answered(wish.request)
        if answered is not None:
            return answered
        refusal = self._capital(wish, effects) if isinstance(wish, CapitalWished) else self._adopt(wish, effects)
        if refusal:
            return OperatorAnswered(wish.request, refusal, "")
        return self._once.carried_out(wish.request, self._account(), effects)

    def _account(self) -> dict[str, object]:
        ledger = self._journal.ledger
        return {
            "cash": str(ledger.cash),
            "capital": str(ledger.capital),
            "external": {held.symbol: str(held.quantity) for held in ledger.external()},
        }

    # --- capital ------------------------------------------------------------------------------

    def _capital(self, wish: CapitalWished, effects: Effects) -> str:
        if not wish.amount.is_finite() or wish.amount == ZERO or abs(wish.amount) >= Decimal(10**12):
            return f"{wish.amount} is no amount of money"
        if round(wish.amount, DECIMALS_MAX) != wish.amount:  # the books add exactly, as far as their digits go
            return f"{wish.amount} has more than {DECIMALS_MAX} decimals, and is no amount of money"
        free = self.free_cash()
        if wish.amount < ZERO and -wish.amount > free:
            return f"{-wish.amount} cannot be withdrawn: {free} of {self._journal.ledger.cash} in cash is free"
        change = CapitalChanged(wish.amount, wish.reason, self._orders.market_ns, wish.request, wish.who)
        self._journal.write(change, effects)
        return ""

    def free_cash(self) -> Decimal:
        """Give the cash that nothing is owed from: not to working entries, and not to shorts.

        The proceeds of a short are owed, and as much again stands against it.
        """
        ledger = self._journal.ledger
        free = ledger.cash
        for held in ledger.positions.values():
            if held.quantity < ZERO:
                free += 2 * held.quantity * held.average_price
        for order in self._orders.working():
            if order.purpose is Purpose.ENTRY:
                free -= order.left * order.counted_price
        return free

    # --- what was found -----------------------------------------------------------------------

    def _adopt(self, wish: AdoptionWished, effects: Effects) -> str:
        held = self._journal.ledger.position(EXTERNAL, wish.symbol, "")
        if held is None:
            return f"nothing of {wish.symbol} stands under {EXTERNAL}"
        if not self._owns(wish.strategy, wish.symbol):
            return f"{wish.strategy} does not trade {wish.symbol} by the configuration"
        if not wish.quantity.is_finite() or not ZERO < wish.quantity <= abs(held.quantity):
            return f"{EXTERNAL} holds {held.quantity} {wish.symbol}: {wish.quantity} of it cannot be given"
        signed = wish.quantity.copy_sign(held.quantity)
        if wish.stop_loss is not None and (fault := self._fault_of_stop(wish, wish.stop_loss, signed)):
            return fault
        if len(wish.tag) > TAG_MAX:
            return f"a tag has at most {TAG_MAX} characters, not {len(wish.tag)}"
        adopted = ExternalAdopted(
            wish.symbol,
            signed,
            self._journal.ledger.external_cost(wish.symbol, signed),
            wish.strategy,
            wish.tag,
            wish.reason,
            self._orders.market_ns,
            wish.request,
            wish.who,
            stop_loss=wish.stop_loss,
        )
        self._journal.write(adopted, effects)
        return ""

    def _fault_of_stop(self, wish: AdoptionWished, stop: Decimal, signed: Decimal) -> str:
        """Say why a level is no stop of what is held behind an adoption: of a short it lies above the price."""
        if not (stop.is_finite() and stop > ZERO):
            return f"{stop} is no price of a stop"
        own = self._journal.ledger.position(wish.strategy, wish.symbol, wish.tag)
        quantity = signed if own is None else own.quantity + signed
        price = self._price_of(wish.symbol)
        if ZERO in {price, quantity} or (price - stop) * quantity > ZERO:
            return ""
        side = "below" if quantity > ZERO else "above"
        return f"the stop of {quantity} {wish.symbol} lies {side} {price}, the last price known, not at {stop}"
