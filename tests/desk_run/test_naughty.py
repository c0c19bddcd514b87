"""Strategies that raise, hang, leak, crash or leave are replaced alone, and no other strategy can tell."""

import os
import signal
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from desk.units import MINUTE_NS
from tests.desk_run.conftest import Calm, own_entry, own_strategies, release
from tests.desk_run.falls import (
    check_books,
    evaluated,
    falls,
    market_step,
    pause,
    pids,
    published,
    until_all_run,
    until_step,
    worker_rows,
)
from tests.desk_run.harness import Desk
from tests.desk_run.markets import PATIENT_ROOMS
from tests.desk_run.misdeeds import ENDS, NAUGHTY_LIMITS
from tests.desk_run.publisher import Publisher

pytestmark = pytest.mark.slow

#: The ways of misbehaving that are over quickly; the twenty meet the others.
WAYS = ("raise", "exit", "segfault", "hang", "spin", "fork", "leak")
SHOWN = {how: text for how, text in ENDS.items() if how in WAYS}
#: The bar at which each of them has its hour: in its name it says whether it does so once or ever.
HOURS = {f"{how}_once": 20 + 10 * place for place, how in enumerate(SHOWN)} | {
    f"{how}_ever": 25 + 10 * place for place, how in enumerate(SHOWN)
}
NAUGHTY = tuple(f"strategies/{name}" for name in HOURS)
FALLS_MAX = 1
#: How often each of them falls until it behaves, or is put away.
FALLS = {path: 1 if path.endswith("once") else FALLS_MAX + 1 for path in NAUGHTY}
STATES = {path: "RUNNING" if path.endswith("once") else "QUARANTINED" for path in NAUGHTY}
LIMITED = f"    supervision: {{intensity: {FALLS_MAX}, period_s: 600, backoff_base_s: 0, backoff_cap_s: 0}}\n"
GOOD = {"spy_a": "SPY", "spy_b": "SPY", "qqq": "QQQ", "btc_ema": "BTCUSD", "btc_vwap": "BTCUSD"}
MINUTES = 120


def naughty_entries(symbol: str, folder: Path) -> list[str]:
    """Give all of them, on one symbol; those that misbehave once leave a marker in the folder."""
    entries: list[str] = []
    for name, at in HOURS.items():
        how, _, times = name.partition("_")
        marker = str(folder / "var" / "strategies" / name / "done") if times == "once" else ""  # where it may write
        more = LIMITED + NAUGHTY_LIMITS.get(how, "")
        entries.append(own_entry("naughty", name, symbol, more, how=how, at=at, marker=marker))
    return entries


def have_all_fallen(status: dict[str, Any]) -> bool:
    """Say whether each has fallen as often as it will, and is back or away for good."""
    rows = worker_rows(status)
    states = {path: rows[path]["state"] for path in NAUGHTY}
    return states == STATES and all(rows[path]["restarts"] for path in NAUGHTY)


class Ran(NamedTuple):
    """A desk that has come to its end, and its status at the start and when all had misbehaved."""

    desk: Desk
    before: dict[str, Any]
    after: dict[str, Any]


@pytest.fixture(scope="module")
def ran(calm: Calm, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """Let all of them misbehave, each at its own bar, beside the strategies of the calm run."""
    folder = tmp_path_factory.mktemp("naughty")
    with calm.desk(folder, naughty_entries("SPY", folder)) as desk:
        before = until_all_run(desk.start())
        until_step(desk, calm.steps)
        after = desk.until(have_all_fallen)
        assert release(desk) == 0
    return Ran(desk, before, after)


@pytest.mark.parametrize("how", SHOWN)
def test_one_that_misbehaves_once_is_replaced_and_meets_every_bar(how: str, ran: Ran, calm: Calm) -> None:
    row = worker_rows(ran.after)[f"strategies/{how}_once"]
    kept = evaluated(ran.desk, f"{how}_once")

    assert row["restarts"] == 1
    assert SHOWN[how] in row["last_error"]
    assert (kept.bars, kept.missed, kept.state) == (calm.bars("SPY"), 0, {"bars": calm.bars("SPY")})


@pytest.mark.parametrize("how", SHOWN)
def test_one_that_always_misbehaves_is_put_away_with_the_reason(how: str, ran: Ran) -> None:
    name = f"{how}_ever"

    assert SHOWN[how] in worker_rows(ran.after)[f"strategies/{name}"]["last_error"]
    assert any(name in alarm and "quarantined" in alarm for alarm in ran.after["alarms"])
    assert evaluated(ran.desk, name).state == {"bars": HOURS[name] - 1}


def test_no_other_process_is_replaced(ran: Ran) -> None:
    assert pids(ran.after, without=NAUGHTY) == pids(ran.before, without=NAUGHTY)
    assert falls(ran.desk) == FALLS


def test_the_others_miss_no_bar(ran: Ran, calm: Calm) -> None:
    for name, symbol in GOOD.items():
        kept = evaluated(ran.desk, name)
        assert (kept.bars, kept.missed) == (calm.bars(symbol), 0)
    sequences = [bar.sequence for bar in published(ran.desk) if bar.symbol == calm.last]
    assert evaluated(ran.desk, "witness").state == {"evaluated": sequences, "missed": []}


def test_the_others_trade_as_if_they_were_alone(ran: Ran, calm: Calm) -> None:
    assert market_step(ran.desk) == calm.steps
    assert ran.desk.trades() == calm.trades
    assert ran.desk.orders() == calm.orders
    check_books(ran.desk)


@pytest.mark.slow
def test_on_a_feed_that_waits_for_nobody_the_others_miss_no_bar_either(tmp_path: Path) -> None:
    symbols = {"eur": "EURUSD", "gbp": "GBPUSD"}
    witnesses = [own_entry("witness", name, symbol) for name, symbol in symbols.items()]
    entries = "".join([*witnesses, *naughty_entries("EURUSD", tmp_path)])
    with Publisher() as publisher:
        glob = f"global:\n  zmq_market_url: {publisher.url}\n{PATIENT_ROOMS}"
        with Desk(tmp_path, f"strategies:\n{entries}{glob}") as desk:
            own_strategies(tmp_path)
            before = until_all_run(desk.start())
            publisher.until_subscribed(symbols.values())
            publish(publisher, desk, tuple(symbols.values()))
            after = desk.until(lambda status: have_all_fallen(status) and bars_met(status, symbols) == {MINUTES})
            os.kill(desk.root_pid, signal.SIGTERM)
            code = desk.wait()

    assert code == 0
    assert pids(after, without=NAUGHTY) == pids(before, without=NAUGHTY)
    assert falls(desk) == FALLS
    for name, symbol in symbols.items():
        bars = [bar for bar in published(desk) if bar.symbol == symbol]
        assert evaluated(desk, name).state == {"evaluated": [bar.sequence for bar in bars], "missed": []}
        assert {after.ts_ns - bar.ts_ns for bar, after in pairwise(bars)} == {MINUTE_NS}
        assert len(bars) == MINUTES


def bars_met(status: dict[str, Any], names: Iterable[str]) -> set[int]:
    return {row["bars_evaluated"] for row in status["strategies"] if row["name"] in names}


def ticks_heard(status: dict[str, Any], names: Iterable[str]) -> set[int]:
    return {row["ticks_processed"] for row in status["strategies"] if row["name"] in names}


def publish(publisher: Publisher, desk: Desk, symbols: tuple[str, ...]) -> None:
    """Send three ticks a minute of each symbol, four minutes a second, and one that ends the last minute.

    Quicker, and who waits for a processor for a moment is later than an intent may be: then it only takes a bar in.
    """
    for minute in range(MINUTES):
        for second in (0, 20, 40):
            for symbol in symbols:
                publisher.tick(symbol, minute * 60 + second, 1.1 + minute / 10_000)
        pause(desk, 0.25)
    for symbol in symbols:
        publisher.tick(symbol, MINUTES * 60, 1.1)
