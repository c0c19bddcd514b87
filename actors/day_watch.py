"""Keeps the account's day: counts, remembers across falls, and says when nothing more may be opened.

What a limit counts from is in risk's store before anything depends on it, so that no end of a process, and no night in
between, begins a limit anew. What happened while nobody counted falls to the day that was not seen to begin.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from msgspec.structs import replace

from actors.settings import DeskLimits
from actors.words import Mark
from desk.day import (
    DAILY_LOSS,
    Day,
    DayFigures,
    DayLimits,
    counted,
    daily_loss,
    first_figures,
    lasting,
    lifted,
    rolled,
)
from desk.portfolio import Ledger
from desk.units import MINUTE_NS, NS_PER_S, decimal_of
from runtime.effects import Effects
from runtime.folder import Sentinel
from runtime.store import Reader

_TABLE, _FIGURES = "day", b"figures"
#: While something is held, equity is counted once in so much market time, besides at each verdict and each fill.
COUNT_NS = NS_PER_S
#: Figures that only followed the market a little are kept once in so much market time.
KEEP_NS = MINUTE_NS
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)


class Kept(msgspec.Struct, frozen=True, array_like=True):
    """The figures with the record of the journal up to which they count, the prices and limits that they rest on."""

    figures: DayFigures
    cursor: int
    marks: tuple[Mark, ...]
    limits: DayLimits


def day_of(ts_ns: int, zone: ZoneInfo) -> Day:
    """Give the local day of an instant: from one midnight to the next, 23 to 25 hours.

    Where the clocks go forward at midnight itself, the day begins when they have.
    """
    date = (_EPOCH + timedelta(seconds=ts_ns // NS_PER_S)).astimezone(zone).date()
    ends = (datetime(each.year, each.month, each.day, tzinfo=zone) for each in (date, date + timedelta(days=1)))
    start_ns, end_ns = ((end - _EPOCH) // _SECOND * NS_PER_S for end in ends)
    return Day(start_ns, end_ns)


class DayWatch:
    """The day's figures of one account, and what follows from them. Exits are none of its business.

    ``reason`` says why this day's entries have ended, "" where they have not. What only a person lifts, it writes into
    the sentinel.
    """

    def __init__(self, ledger: Ledger, store: Reader, sentinel: Sentinel, limits: DeskLimits) -> None:
        """Take up the figures as they were kept; a store without any begins with the first count."""
        self._ledger, self._store, self._sentinel = ledger, store, sentinel
        self._kept: Kept | None = None
        self._figures: DayFigures | None = None
        #: The last prices of what was held at the last count: for what nobody has told a price of since a fall.
        self._last: dict[str, Mark] = {}
        self._limits = DayLimits()
        data = store.get(_TABLE, _FIGURES)
        if data is not None:
            self._kept = msgspec.msgpack.decode(data, type=Kept)
            self._figures, self._limits = self._kept.figures, self._kept.limits
            self._last = {mark.symbol: mark for mark in self._kept.marks}
        self.take_limits(limits)

    @property
    def cursor(self) -> int:
        """The record of the journal up to which the kept figures count, 0 where none are kept."""
        return 0 if self._kept is None else self._kept.cursor

    @property
    def reason(self) -> str:
        """Why nothing more may be opened today."""
        return "" if self._figures is None else self._figures.daily_halt

    @property
    def market_ns(self) -> int:
        """The market time of the last count, 0 before the first."""
        return 0 if self._figures is None else self._figures.market_ns

    def take_limits(self, limits: DeskLimits) -> None:
        """Hold to other limits from the next count on; another time zone from the next day on.

        Where a person has changed the limits, and none that holds now is reached, the day is free again.
        """
        was, self._zone = self._limits, ZoneInfo(limits.day_boundary_tz)
        self._limits = DayLimits(
            max_daily_loss_usd=limits.max_daily_loss_usd,
            max_daily_loss_pct=limits.max_daily_loss_pct,
            max_drawdown_pct=limits.max_drawdown_pct,
            max_consecutive_losses=limits.max_consecutive_losses,
        )
        if self._figures is not None and self._limits != was and not daily_loss(self._figures, self._limits):
            self._figures = replace(self._figures, daily_halt="")

    # --- counting -----------------------------------------------------------------------------

    def skip(self, market_ns: int) -> None:
        """Pass to a time up to which the books were taken up as a whole, so that nobody knows what came when.

        What they gained or lost since the last count then belongs to the day that began in between.
        """
        if self._figures is not None and market_ns >= self._figures.day.end_ns:
            self._figures = rolled(self._figures, day_of(market_ns, self._zone))

    def see(self, mark: Mark, marks: dict[str, Mark]) -> None:
        """Take a new price into ``marks``; one from behind the day's end does not count for the day before."""
        if self._figures is not None and mark.ts_ns > self._figures.day.end_ns:
            self.pass_time(mark.ts_ns, marks)
        marks[mark.symbol] = mark

    def pass_time(self, market_ns: int, marks: Mapping[str, Mark]) -> None:
        """Begin another day where one has ended, with what the account is worth by what is known until now."""
        figures = self._figures
        if figures is not None and market_ns >= figures.day.end_ns:
            figures = self._counted(figures, figures.market_ns, marks)
            self._figures = rolled(figures, day_of(market_ns, self._zone))

    def is_due(self, market_ns: int) -> bool:
        """Say whether the market has moved on enough to be counted while something is held."""
        figures = self._figures
        if figures is None or market_ns >= figures.day.end_ns:
            return True
        return bool(self._ledger.positions) and market_ns - figures.market_ns >= COUNT_NS

    def count(self, market_ns: int, marks: Mapping[str, Mark], cursor: int, effects: Effects) -> None:
        """Count what the account is worth, see which limits are reached, and keep what must outlive a fall.

        Does nothing before the market has a time and the account a capital.
        """
        market_ns = max(market_ns, self.market_ns)
        if market_ns <= 0 or self._ledger.starting_capital is None:
            return
        self.pass_time(market_ns, marks)
        if self._figures is None:
            ledger = self._ledger
            self._figures = first_figures(
                day_of(market_ns, self._zone),
                equity=self._equity(marks),
                realised=ledger.realised,
                capital=ledger.capital,
                market_ns=market_ns,
            )
        self._figures = self._judged(self._counted(self._figures, market_ns, marks))
        self._last = self._known(marks)
        self._keep(cursor, effects)

    def _counted(self, figures: DayFigures, market_ns: int, marks: Mapping[str, Mark]) -> DayFigures:
        ledger = self._ledger
        return counted(
            figures,
            equity=self._equity(marks),
            realised=ledger.realised,
            capital=ledger.capital,
            market_ns=market_ns,
        )

    def _equity(self, marks: Mapping[str, Mark]) -> Decimal:
        return self._ledger.equity({symbol: decimal_of(mark.price) for symbol, mark in self._known(marks).items()})

    def _known(self, marks: Mapping[str, Mark]) -> dict[str, Mark]:
        """Give the last price that anybody told of what is held, in this life or before it."""
        known: dict[str, Mark] = {}
        for _, symbol, _ in self._ledger.positions:
            mark = marks.get(symbol) or self._last.get(symbol)
            if mark is not None:
                known[symbol] = mark
        return known

    def _judged(self, figures: DayFigures) -> DayFigures:
        """Halt where a limit is reached, and begin anew where a person has lifted a halt.

        The sentinel is written before the figures say so: after a fall in between they say it again.
        """
        halted = self._sentinel.reason()
        if figures.halted_by and halted is None:
            figures = lifted(figures, self._ledger.closed_trades)
        texts = lasting(figures, self._limits, self._losses(figures))
        if texts and not figures.halted_by:
            said = "; ".join(f"{code}: {text}" for code, text in texts.items())
            if halted is None:
                self._sentinel.write(said)
                halted = said
            if halted.startswith(tuple(texts)):  # a halt for another reason is lifted for that one alone
                figures = replace(figures, halted_by=tuple(code for code in texts if f"{code}: " in halted))
        if not figures.daily_halt:
            figures = replace(figures, daily_halt=daily_loss(figures, self._limits))
        return figures

    def _losses(self, figures: DayFigures) -> int:
        return self._ledger.closed_trades - max(self._ledger.last_gain, figures.forgiven)

    def _keep(self, cursor: int, effects: Effects) -> None:
        figures, kept = self._figures, self._kept
        assert figures is not None, "what is kept was counted"
        if kept is not None and kept.limits == self._limits and not _is_news(kept.figures, figures):
            return
        self._kept = Kept(figures, cursor, tuple(self._last.values()), self._limits)
        effects.put(_TABLE, _FIGURES, msgspec.msgpack.encode(self._kept))

    # --- looking ------------------------------------------------------------------------------

    def facts(self) -> dict[str, Any]:
        """Give the figures and their limits; JSON values, {} before the first count."""
        figures, limits = self._figures, self._limits
        if figures is None:
            return {}
        return {
            "start_ns": figures.day.start_ns,
            "end_ns": figures.day.end_ns,
            "time_zone": self._zone.key,
            "start_equity": _money(figures.start_equity),
            "equity": _money(figures.equity),
            "loss": _money(figures.loss),
            "realised": _money(figures.realised_today),
            "peak": _money(figures.peak),
            "drawdown_pct": f"{figures.drawdown:.6f}",
            "consecutive_losses": self._losses(figures),
            "blocked": figures.daily_halt,
            "limits": {
                name: None if (limit := getattr(limits, name)) is None else str(limit)
                for name in limits.__struct_fields__
            },
        }

    def notices(self) -> list[str]:
        """Say what an operator should know, and what to do."""
        figures = self._figures
        if figures is None or not figures.daily_halt:
            return []
        ends = (_EPOCH + timedelta(seconds=figures.day.end_ns // NS_PER_S)).astimezone(self._zone)
        until = f"no entries until {ends.isoformat()}, exits and stops leave"
        return [f"{DAILY_LOSS}: {figures.daily_halt}; {until}. A higher limit in the configuration frees them at once"]


def _is_news(kept: DayFigures, figures: DayFigures) -> bool:
    """Say whether a fall now would cost something that a limit counts from."""
    is_other_equity = kept.equity != figures.equity and figures.market_ns - kept.market_ns >= KEEP_NS
    return is_other_equity or replace(figures, equity=kept.equity, market_ns=kept.market_ns) != kept


def _money(amount: Decimal) -> str:
    return f"{amount:.2f}"
