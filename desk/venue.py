"""What a venue is like, and how a call to it can end: the rules that the order path is built on."""

from decimal import Decimal
from enum import StrEnum

import msgspec

from desk.units import NS_PER_MS, NS_PER_S

#: From this difference between the host's clock and the venue's on, a deadline is no fence, and nothing is opened.
SKEW_NS_MAX = 250 * NS_PER_MS


class IdRule(StrEnum):
    """How long a venue refuses a second order with the same client id."""

    FOR_EVER = "for_ever"
    WHILE_OPEN = "while_open"


class VenueTraits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a venue deals with client ids, deadlines, groups and changes.

    ``deadline_ns`` is how long after it was sent the venue's engine may still take an order in, 0 where the venue has
    no deadlines; ``margin_ns`` is how long after that its absence is believed. ``is_remote``: it lies behind a wire
    of its own, so a call may end without an answer. ``can_replace``: an order's quantity and price can be changed in
    place. ``has_oco``: the venue cancels the other orders of a group when one of them fills.
    """

    ids: IdRule
    is_remote: bool
    deadline_ns: int = 0
    margin_ns: int = 0
    has_oco: bool = False
    can_replace: bool = False

    @property
    def has_deadline(self) -> bool:
        """True where absence behind the deadline proves that an order never was."""
        return self.deadline_ns > 0


#: The desk's own paper venue: in the house, every id known for ever, groups of its own.
PAPER = VenueTraits(ids=IdRule.FOR_EVER, is_remote=False, has_oco=True)
#: Kraken spot: ids are unique among open orders only, and the engine refuses an order behind its deadline (2..60 s).
KRAKEN = VenueTraits(
    ids=IdRule.WHILE_OPEN, is_remote=True, deadline_ns=5 * NS_PER_S, margin_ns=2 * NS_PER_S, can_replace=True
)
#: Alpaca: ids are unique for ever, and there are no deadlines.
ALPACA = VenueTraits(ids=IdRule.FOR_EVER, is_remote=True, has_oco=True, can_replace=True)

RULES = {"kraken": KRAKEN, "alpaca": ALPACA}


class Instrument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a venue demands of an order in one symbol; 0 demands nothing.

    Quantities are whole multiples of ``lot`` and at least ``quantity_min``, prices whole multiples of ``tick``, the
    notional is at least ``notional_min``, in account currency.
    """

    symbol: str
    lot: Decimal = Decimal(0)
    tick: Decimal = Decimal(0)
    quantity_min: Decimal = Decimal(0)
    notional_min: Decimal = Decimal(0)
