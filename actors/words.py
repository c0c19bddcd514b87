"""The words that rooms say about the step itself, and the one codec of the desk."""

import functools

import msgspec

from desk import messages as desk
from runtime.codec import Codec
from runtime.words import (
    Hello,
    PeersChanged,
    Progress,
    Ready,
    Reconfigured,
    RestartWanted,
    RootAlive,
    RootAnswered,
    RootAsked,
    Settled,
    StopAsked,
    Turn,
    WatchTable,
)


class StepWord(msgspec.Struct, frozen=True, array_like=True, gc=False, tag_field="word"):
    """Base of the words about steps."""


class Joined(StepWord, frozen=True, tag="step.joined"):
    """Event to market_data. This member has caught up and can take turns."""


class Mark(StepWord, frozen=True, tag="step.mark"):
    """Fact. The last price of a symbol; ``ts_ns`` is the tick's time or the bar's close."""

    symbol: str
    price: float
    ts_ns: int


class RiskTurn(StepWord, frozen=True, tag="step.risk"):
    """Payload of risk's turn: the last prices, and how far the journal is settled."""

    marks: tuple[Mark, ...]
    journal_head: int


class StrategyTurn(StepWord, frozen=True, tag="step.strategy"):
    """Payload of a strategy's turn: the bars to evaluate (by sequence), and the tick if it wants ticks.

    ``own_last`` is its last own journal record at or before ``journal_head``.
    """

    bars: tuple[int, ...]
    tick: desk.Tick | None
    journal_head: int
    own_last: int


class JournalHead(StepWord, frozen=True, tag="step.journal_head"):
    """Facts of execution's Settled: the journal's head, and each strategy's last own record."""

    head: int
    own_last: dict[str, int]


WORDS = (
    desk.Bar
    | desk.Tick
    | desk.Intent
    | desk.IntentJudged
    | desk.JournalRecord
    | desk.SubmitOrder
    | desk.CancelOrder
    | desk.OrderAccepted
    | desk.OrderRejected
    | desk.OrderFilled
    | desk.OrderCancelled
    | desk.CancelRejected
    | desk.ReplaceOrder
    | desk.OrderUnclear
    | desk.CancelUnclear
    | desk.OrderReplaced
    | desk.ReplaceRejected
    | desk.OrdersWanted
    | desk.OrdersFound
    | desk.VenueWanted
    | desk.VenueSnapshot
    | desk.BarsWanted
    | desk.BarsGiven
    | desk.EventsWanted
    | desk.EventsGiven
    | desk.CancelWanted
    | desk.AwayWished
    | desk.AwayWishKept
    | desk.HoldersWanted
    | desk.HoldersGiven
    | desk.ResolutionWished
    | desk.FlatteningWished
    | desk.CapitalWished
    | desk.AdoptionWished
    | desk.ReconciliationWished
    | desk.OperatorAnswered
    | Joined
    | RiskTurn
    | StrategyTurn
    | JournalHead
    | Hello
    | PeersChanged
    | Progress
    | Ready
    | Reconfigured
    | RestartWanted
    | RootAlive
    | WatchTable
    | RootAnswered
    | RootAsked
    | Settled
    | StopAsked
    | Turn
)


@functools.cache
def desk_codec() -> Codec:
    """Give the codec that knows every word of the desk and no other. It is built once and has no state."""
    return Codec(WORDS)
