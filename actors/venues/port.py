"""The port to a venue: what an adapter offers, how each call can end, and what calling twice does.

An adapter is a plain blocking client of one account. The gateway (``actors/venues/gateway.py``) calls it from threads
of its own, never two calls that change something at the same time, and turns what it says into words for execution.
Orders bear client ids (at most 18 characters of [a-z0-9]); the adapter passes them on and gives them back unchanged.

How a call that changes something ends is one of three things, and an adapter never guesses between them:

* it returns: the venue answered. ``Accepted`` and ``Refused`` are definitive;
* it raises ``UnclearError``: nobody knows whether the venue took it: a timeout, a lost or cut connection, a 5xx, an
  answer that cannot be read. The adapter has not sent it a second time;
* it raises ``NotSentError``: not one byte of it left. Sending it later, or again, is safe.

Calls that only look raise ``UnreachableError`` where they cannot answer, and never give half an answer. One in which a
figure is NaN or infinite, or an execution of nothing, is taken for none.
Any other exception is a defect of the adapter; the gateway takes it for unclear.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Protocol

import msgspec

from desk.messages import OrderFilled, ReplaceOrder, SubmitOrder, VenueOrder, VenueReport
from desk.venue import Instrument, VenueTraits


class VenueError(Exception):
    """A call to a venue did not end with an answer."""


class UnclearError(VenueError):
    """Nobody knows whether the venue did what it was asked to do."""


class NotSentError(VenueError):
    """Nothing left this machine."""


class UnreachableError(VenueError):
    """A question got no answer."""


class Accepted(msgspec.Struct, frozen=True):
    """The venue did it. ``venue_order_id`` is its own name of the order (the new one, after a replacement)."""

    venue_order_id: str


class Refused(msgspec.Struct, frozen=True):
    """The venue definitely did not do it, and never will on account of this call.

    ``is_deadline``: because it came behind its deadline; this ends the attempt and says nothing about the order.
    ``is_duplicate``: an order with this client id is known already; the one that is there is not changed.
    ``is_gone``: for a cancel or a replacement: the venue has no such open order (any more).
    """

    reason: str
    is_deadline: bool = False
    is_duplicate: bool = False
    is_gone: bool = False


class Holdings(msgspec.Struct, frozen=True):
    """What the account holds: signed net quantity by symbol without flat ones, cash, and the venue's time."""

    account: str
    positions: dict[str, Decimal]
    cash: Decimal
    venue_ns: int


class VenuePort(Protocol):
    """One account at one venue. Every method may block for as long as its own time limit, some seconds at most."""

    @property
    def traits(self) -> VenueTraits:
        """Say how the venue deals with ids and deadlines. Fixed for the life of the adapter; asks nobody."""
        ...

    def submit(self, order: SubmitOrder) -> Accepted | Refused:
        """Place one order.

        ``expires_ns`` is market time and the desk's own business: the venue is not told. ``oco_group`` is passed on
        where ``traits.has_oco`` and left out elsewhere, ``deadline_ns`` where ``traits.has_deadline``.

        The same client id again: where ids are unique for ever it is refused as a duplicate, and there is one order.
        Where they are unique among open orders only, it may become a second order: the caller does not do that.
        ``deadline_ns`` (venue time, 0 for none) is given to the venue's engine, which refuses the order behind it.

        Raises:
            UnclearError: The order may be live, now or later, but no more behind its deadline.
            NotSentError: It is not.
        """
        ...

    def cancel(self, order_id: str, venue_order_id: str) -> Accepted | Refused:
        """Cancel one open order. Twice is as once: the second one is refused with ``is_gone``.

        ``venue_order_id`` is "" where the caller never learned it; then the client id alone has to do. It may be that
        of a forerunner, where a replacement gave the order another one.

        ``is_gone`` says that it is not open: it may have filled, or never have been. It does not say that nothing
        filled.

        Raises:
            UnclearError: It may be cancelled or not. Calling again is safe.
            NotSentError: Nothing left.
        """
        ...

    def replace(self, order: ReplaceOrder) -> Accepted | Refused:
        """Change quantity and price of one open order in place; there are never two live orders.

        Only where ``traits.can_replace``. Twice with the same figures is as once, also where the first answer was lost
        and ``order.venue_order_id`` is that of a forerunner. Under every name of its own that the venue gives the
        replacement, the adapter goes on to call it by the client id that the caller knows.

        Raises:
            UnclearError: It has the old figures or the new ones.
            NotSentError: It has the old ones.
        """
        ...

    def now_ns(self) -> int:
        """Give the venue's own time, UTC, as its engine holds deadlines against it. One cheap question.

        Raises:
            UnreachableError: The venue did not answer.
        """
        ...

    def find(self, order_ids: Sequence[str]) -> tuple[VenueOrder, ...]:
        """Look up orders by client id among the open, the closed and the traded ones; the absent are left out.

        One question for many ids wherever the venue allows that. Where several places have to be looked at, open orders
        come first: an order moves from there to the others and never back.

        Raises:
            UnreachableError: Not every place could be looked at; an absence would prove nothing.
        """
        ...

    def open_orders(self) -> tuple[VenueOrder, ...]:
        """Give all open orders of the account, also those of other hands (their ``order_id`` may be "").

        Raises:
            UnreachableError: The venue did not answer.
        """
        ...

    def fills(self, since_ns: int) -> tuple[OrderFilled, ...]:
        """Give every execution of the account from ``since_ns`` (venue time) on, oldest first, each with its own id.

        Executions of one order may come in several calls, and more than once: the caller drops what it has booked.

        Raises:
            UnreachableError: The list may have holes.
        """
        ...

    def holdings(self) -> Holdings:
        """Give positions, cash and the venue's time of this answer.

        Raises:
            UnreachableError: The venue did not answer.
        """
        ...

    def instruments(self, symbols: Sequence[str]) -> tuple[Instrument, ...]:
        """Give what the venue demands of orders in these symbols; one that it does not trade is not in the answer.

        Raises:
            UnreachableError: The venue did not answer.
        """
        ...

    def reports(self, timeout_s: float) -> tuple[VenueReport, ...]:
        """Wait for what the venue tells of its own accord (fills, cancels), at most so long; () where nothing came.

        A cancel bears all that had filled by then, or None; never a guess. Words may be lost, late, repeated and out of
        order: after each break the caller asks anew.

        Raises:
            UnreachableError: The stream broke; the next call opens it again.
        """
        ...

    def close(self) -> None:
        """Let go of every connection; a blocked call of another thread ends soon. Twice is as once."""
        ...
