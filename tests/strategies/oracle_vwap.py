"""The VWAP strategy once more, as a plain loop over a file: written from the rules, sharing no code with the desk.

Rules, all judged at a bar's close, times by New York's clock at the bar's open, both ends included:
the average is sum(typical * volume) / sum(volume) of the day so far, this bar included; exits first, in the order
flat time, stop, average; then the daily loss, the warm-up, the window, the number of trades, the position; then
enter where the close lies below average * (1 - deviation). Orders fill whole, at market, without cost: at the next
bar's open (which may be the next day's), or at the close they were decided on.
"""

import csv
import gzip
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

NEW_YORK = ZoneInfo("America/New_York")
MINUTE = 60


class Trade(NamedTuple):
    """One round trip. Prices and quantity as floats."""

    entry_ts_ns: int
    entry_price: float
    exit_ts_ns: int
    exit_price: float
    quantity: float
    exit_reason: str


class Rules(NamedTuple):
    """The settings, as plain numbers; None switches a rule off."""

    deviation: float = 0.003
    stop: float = 0.003
    risk: float = 1.20
    bars_min: int = 20
    start: int = 10 * 60 * MINUTE
    end: int = 11 * 60 * MINUTE + 30 * MINUTE
    flat: int = 15 * 60 * MINUTE + 55 * MINUTE
    notional_max: float | None = None
    trades_max: int | None = None
    loss_max: float | None = None


def trades_of(path: Path, fill: str, rules: Rules) -> list[Trade]:
    """Give the closed trades of a file of bars, oldest first.

    Args:
        path: CSV or gzipped CSV with ts_ns, open, high, low, close, volume.
        fill: ``next_open`` or ``close``.
        rules: The settings.
    """
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
        rows = list(csv.DictReader(file))
    done: list[Trade] = []
    wanted: tuple[str, float] | None = None
    held: tuple[int, float, float] | None = None
    today = ""
    weighted = volume = profit = 0.0
    bars = entries = 0
    profit_day = ""

    def act(order: tuple[str, float], ts: int, price: float, day: str) -> None:
        nonlocal held, profit, profit_day
        what, quantity = order
        if what == "ENTER":
            held = (ts, price, quantity)
            return
        assert held is not None
        done.append(Trade(held[0], held[1], ts, price, held[2], what))
        profit = (profit if day == profit_day else 0.0) + (price - held[1]) * held[2]
        profit_day = day
        held = None

    for row in rows:
        ts = int(row["ts_ns"])
        opened, high, low, close, traded = (float(row[name]) for name in ("open", "high", "low", "close", "volume"))
        clock = datetime.fromtimestamp(ts // 10**9, UTC).astimezone(NEW_YORK)
        day, second = clock.date().isoformat(), clock.hour * 3600 + clock.minute * 60 + clock.second
        if wanted is not None:
            act(wanted, ts, opened, day)
            wanted = None
        if day != today:
            today, weighted, volume, bars, entries = day, 0.0, 0.0, 0, 0
        weighted += (high + low + close) / 3 * traded
        volume += traded
        bars += 1
        average = weighted / volume if volume else None
        entry = None if held is None else held[1]
        today_profit = profit if profit_day == day else 0.0
        order = _judge(rules, _Seen(close, second, average, entry, bars, entries, today_profit))
        if order is None:
            continue
        entries += order[0] == "ENTER"
        if fill == "next_open":
            wanted = order
        else:
            act(order, ts, close, day)
    return done


class _Seen(NamedTuple):
    """What is known at a close. ``entry`` is the held position's price; ``profit`` is the day's, realised."""

    close: float
    second: int
    average: float | None
    entry: float | None
    bars: int
    entries: int
    profit: float


def _judge(rules: Rules, seen: _Seen) -> tuple[str, float] | None:
    if seen.entry is not None:
        return _leave(rules, seen, seen.entry)
    if rules.loss_max is not None and seen.profit <= -rules.loss_max:
        return None
    if seen.bars < rules.bars_min or seen.average is None or not rules.start <= seen.second <= rules.end:
        return None
    if rules.trades_max is not None and seen.entries >= rules.trades_max:
        return None
    quantity = _quantity(rules, seen.close)
    is_low = seen.close < seen.average * (1 - rules.deviation)
    return ("ENTER", quantity) if is_low and quantity > 0 else None


def _leave(rules: Rules, seen: _Seen, entry: float) -> tuple[str, float] | None:
    if seen.second >= rules.flat:
        return "FORCE_FLAT", 0.0
    if seen.close <= entry * (1 - rules.stop):
        return "STOP_LOSS", 0.0
    if seen.average is not None and seen.close >= seen.average:
        return "MEAN_REVERSION", 0.0
    return None


def _quantity(rules: Rules, close: float) -> float:
    """Size in whole thousandths; fractions, because a float quotient would fall on the wrong side of a round one."""
    price = Fraction(str(close))
    quantity = Fraction(str(rules.risk)) / (price * Fraction(str(rules.stop)))
    if rules.notional_max is not None:
        quantity = min(quantity, Fraction(str(rules.notional_max)) / price)
    return int(quantity * 1000) / 1000
