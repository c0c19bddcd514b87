"""The day's arithmetic: what counts as lost, from what, and what a person's word begins anew."""

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from desk.day import (
    CONSECUTIVE_LOSSES,
    DRAWDOWN,
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
from desk.units import ZERO

TODAY, TOMORROW = Day(0, 10), Day(10, 20)
AMOUNTS = st.integers(-500, 500).map(Decimal)


def figures(equity: str = "1000") -> DayFigures:
    """Begin a day with 1000 and count this."""
    begun = first_figures(TODAY, equity=Decimal(1000), realised=ZERO, capital=Decimal(1000), market_ns=1)
    return counted(begun, equity=Decimal(equity), realised=ZERO, capital=Decimal(1000), market_ns=2)


@pytest.mark.parametrize(
    ("equity", "limits", "is_reached"),
    [
        ("1000", DayLimits(), False),
        ("1", DayLimits(), False),
        ("990.01", DayLimits(max_daily_loss_usd=Decimal(10)), False),
        ("990", DayLimits(max_daily_loss_usd=Decimal(10)), True),
        ("980", DayLimits(max_daily_loss_pct=Decimal("0.02")), True),
        ("980.01", DayLimits(max_daily_loss_pct=Decimal("0.02")), False),
        ("1500", DayLimits(max_daily_loss_usd=Decimal(10), max_daily_loss_pct=Decimal("0.01")), False),
    ],
)
def test_a_day_is_lost_at_its_limit_and_never_by_a_gain(equity: str, limits: DayLimits, is_reached: bool) -> None:
    assert bool(daily_loss(figures(equity), limits)) is is_reached


def test_an_account_without_equity_is_not_a_lost_day_by_a_share_alone() -> None:
    begun = first_figures(TODAY, equity=ZERO, realised=ZERO, capital=ZERO, market_ns=1)

    assert daily_loss(begun, DayLimits(max_daily_loss_pct=Decimal("0.01"))) == ""
    assert begun.drawdown == ZERO


@pytest.mark.parametrize(
    ("equity", "losses", "reached"),
    [("901", 2, set()), ("900", 2, {DRAWDOWN}), ("901", 3, {CONSECUTIVE_LOSSES})],
)
def test_what_only_a_person_lifts_is_reached_at_its_figure(equity: str, losses: int, reached: set[str]) -> None:
    limits = DayLimits(max_drawdown_pct=Decimal("0.1"), max_consecutive_losses=3)

    assert set(lasting(figures(equity), limits, losses)) == reached
    assert lasting(figures("1"), DayLimits(), 99) == {}


def test_an_account_that_had_lost_before_it_was_counted_has_its_capital_for_a_peak() -> None:
    begun = first_figures(TODAY, equity=Decimal(900), realised=Decimal(-100), capital=Decimal(1000), market_ns=1)

    assert (begun.drawdown, begun.loss) == (Decimal("0.1"), ZERO)


@settings(deadline=None)
@given(st.lists(st.tuples(AMOUNTS, AMOUNTS), max_size=12))
def test_only_what_the_market_does_is_gain_loss_or_drawdown(moves: list[tuple[Decimal, Decimal]]) -> None:
    """Money comes and goes between moves of the market; loss and peak are those of the moves alone."""
    paid = gained = best = ZERO
    now = figures("10000")
    start = now.loss
    for payment, gain in moves:
        paid += payment
        gained += gain
        best = max(best, gained)
        now = counted(
            now, equity=10_000 + paid + gained, realised=gained, capital=1000 + paid, market_ns=now.market_ns + 1
        )

    assert now.loss == start - gained
    assert now.peak - now.equity == best - gained


def test_another_day_begins_with_what_was_last_known_and_frees_its_entries_only() -> None:
    lost = counted(figures(), equity=Decimal(800), realised=Decimal(-150), capital=Decimal(1000), market_ns=9)
    halted = replace(lost, daily_halt="lost", halted_by=(DRAWDOWN,), forgiven=4)

    new = rolled(halted, TOMORROW)

    assert (new.day, new.loss, new.realised_today, new.daily_halt) == (TOMORROW, ZERO, ZERO, "")
    assert (new.peak, new.halted_by, new.forgiven) == (Decimal(1000), (DRAWDOWN,), 4)


def test_a_persons_word_begins_anew_with_what_had_halted_and_nothing_else() -> None:
    low = figures("800")
    by = {code: replace(low, halted_by=(code,)) for code in (DRAWDOWN, CONSECUTIVE_LOSSES)}

    drawdown, losses = lifted(by[DRAWDOWN], 7), lifted(by[CONSECUTIVE_LOSSES], 7)

    assert (drawdown.peak, drawdown.forgiven, drawdown.halted_by) == (Decimal(800), 0, ())
    assert (losses.peak, losses.forgiven, losses.halted_by) == (Decimal(1000), 7, ())
