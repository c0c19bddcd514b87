"""The account's day: what it began with, how far equity fell from its peak, how many losses came in a row.

Pure: time and the bounds of a day come in. Equity counts what is held at its last price; money that is paid in or taken
out moves every figure with it and is neither gain nor loss.
"""

from decimal import Decimal

import msgspec
from msgspec.structs import replace

from desk.units import ZERO

DAILY_LOSS = "DAILY_LOSS"
DRAWDOWN = "DRAWDOWN"
CONSECUTIVE_LOSSES = "CONSECUTIVE_LOSSES"


class Day(msgspec.Struct, frozen=True, array_like=True):
    """One day of the account, ``start_ns`` included and ``end_ns`` not (ns since 1970, UTC)."""

    start_ns: int
    end_ns: int


class DayLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What ends a day's entries, or all of them. None does not bind; who reaches a figure has reached its limit.

    ``_usd`` is in account currency, ``_pct`` a share: of the day's first equity for the loss, of the peak for the
    drawdown.
    """

    max_daily_loss_usd: Decimal | None = None
    max_daily_loss_pct: Decimal | None = None
    max_drawdown_pct: Decimal | None = None
    max_consecutive_losses: int | None = None


class DayFigures(msgspec.Struct, frozen=True, array_like=True):
    """What must outlive every fall, or a limit would begin anew.

    ``start_equity`` and ``start_realised`` are as the day began; ``capital``, ``equity`` and ``realised`` as counted
    last, at ``market_ns``. ``peak`` is the highest equity since the first count, or since a person lifted a halt for
    drawdown. ``daily_halt`` says why this day's entries have ended, "" where they have not. ``halted_by`` are the
    codes of the halt that these figures brought about and that nobody has lifted yet. ``forgiven`` is the number
    of closed trades at which a person last lifted a halt for losses in a row.
    """

    day: Day
    start_equity: Decimal
    start_realised: Decimal
    peak: Decimal
    capital: Decimal
    equity: Decimal
    realised: Decimal
    market_ns: int
    daily_halt: str = ""
    halted_by: tuple[str, ...] = ()
    forgiven: int = 0

    @property
    def loss(self) -> Decimal:
        """What equity has fallen by since the day began; negative after a gain."""
        return self.start_equity - self.equity

    @property
    def realised_today(self) -> Decimal:
        """Profit after fees of what was closed since the day began."""
        return self.realised - self.start_realised

    @property
    def drawdown(self) -> Decimal:
        """What equity has fallen by from its peak, as a share of the peak, 0 at the peak."""
        return (self.peak - self.equity) / self.peak if self.peak > ZERO else ZERO


def first_figures(day: Day, *, equity: Decimal, realised: Decimal, capital: Decimal, market_ns: int) -> DayFigures:
    """Begin to count; an account that has lost before has its capital for a peak."""
    return DayFigures(
        day=day,
        start_equity=equity,
        start_realised=realised,
        peak=max(equity, capital),
        capital=capital,
        equity=equity,
        realised=realised,
        market_ns=market_ns,
    )


def counted(figures: DayFigures, *, equity: Decimal, realised: Decimal, capital: Decimal, market_ns: int) -> DayFigures:
    """Take in what the account is worth now.

    A change of ``capital`` since the last count is money, or positions, that came or went: no gain and no loss.
    """
    paid = capital - figures.capital
    return replace(
        figures,
        start_equity=figures.start_equity + paid,
        peak=max(figures.peak + paid, equity),
        capital=capital,
        equity=equity,
        realised=realised,
        market_ns=max(figures.market_ns, market_ns),
    )


def rolled(figures: DayFigures, day: Day) -> DayFigures:
    """Begin another day with what was counted last; its entries are free again, and a halt stays one."""
    return replace(figures, day=day, start_equity=figures.equity, start_realised=figures.realised, daily_halt="")


def daily_loss(figures: DayFigures, limits: DayLimits) -> str:
    """Say which of the day's limits is reached, in figures, or "" where none is."""
    texts: list[str] = []
    if limits.max_daily_loss_usd is not None and figures.loss >= limits.max_daily_loss_usd:
        texts.append(f"max_daily_loss_usd is {limits.max_daily_loss_usd}")
    share = limits.max_daily_loss_pct
    if share is not None and figures.loss > ZERO and figures.loss >= share * figures.start_equity:
        texts.append(f"max_daily_loss_pct is {share}")
    if not texts:
        return ""
    return f"equity fell by {figures.loss:.2f} from {figures.start_equity:.2f} since the day began, {', '.join(texts)}"


def lasting(figures: DayFigures, limits: DayLimits, losses: int) -> dict[str, str]:
    """Say which limits are reached that only a person lifts, by code, in figures.

    Args:
        figures: As counted last.
        limits: The bounds.
        losses: Closed trades in a row that lost, since the last one that did not or since a person lifted such a halt.
    """
    found: dict[str, str] = {}
    share, most = limits.max_drawdown_pct, limits.max_consecutive_losses
    if share is not None and figures.drawdown >= share:
        found[DRAWDOWN] = (
            f"equity {figures.equity:.2f} is {figures.drawdown:.2%} below its peak of {figures.peak:.2f}, "
            f"max_drawdown_pct is {share}"
        )
    if most is not None and losses >= most:
        found[CONSECUTIVE_LOSSES] = f"{losses} trades in a row lost, max_consecutive_losses is {most}"
    return found


def lifted(figures: DayFigures, closed_trades: int) -> DayFigures:
    """Begin anew with what a person's word lifted: the peak from the present equity, the losses from now on."""
    codes = figures.halted_by
    return replace(
        figures,
        peak=figures.equity if DRAWDOWN in codes else figures.peak,
        forgiven=closed_trades if CONSECUTIVE_LOSSES in codes else figures.forgiven,
        halted_by=(),
    )
