"""Twenty strategies, ten of which misbehave without end: the other ten cannot tell, on either kind of feed."""

import math
import os
import signal
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from desk.units import MINUTE_NS
from tests.desk_run.conftest import own_entry, own_strategies
from tests.desk_run.falls import check_books, evaluated, pause, pids, published, until_all_run, worker_rows
from tests.desk_run.harness import Desk
from tests.desk_run.markets import FIVE, PATIENT, PATIENT_ROOMS, configuration, ema, vwap, write_market
from tests.desk_run.misdeeds import ENDS, NAUGHTY_LIMITS
from tests.desk_run.publisher import Publisher

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

WAYS = ("raise", "freeze", "spin", "hang", "leak", "brood", "print", "pipe", "files", "intents")
NAUGHTY = tuple(f"strategies/{how}" for how in WAYS)
FALLING = tuple(how for how in WAYS if how != "intents")
#: How often each has to fall at least, on a feed that waits for nobody.
FALLS_MIN = 3
AT = 10
MINUTES = 240
EVENTS = 480
SYMBOLS = ("EURUSD", "GBPUSD", "USDJPY", "AUDUSD")
JUDGES = {f"judge_{number}": SYMBOLS[number % len(SYMBOLS)] for number in range(10)}

#: On a feed that waits for nobody they fall as long as it lasts; where steps wait for them they are put away.
CRASH_LOOP = "    supervision: {intensity: 100000, period_s: 60, backoff_base_s: 0.05, backoff_cap_s: 0.5}\n"
PUT_AWAY = "    supervision: {intensity: 2, period_s: 600, backoff_base_s: 0, backoff_cap_s: 0}\n"

TEN = (
    *FIVE,
    vwap("spy_c", "SPY", entry_deviation_pct=0.001),
    vwap("qqq_b", "QQQ", entry_order_type="limit"),
    vwap("btc_b", "BTCUSD", entry_deviation_pct=0.002),
    ema("spy_ema", "SPY"),
    ema("qqq_ema", "QQQ", timeframe="2m"),
)


def naughty(symbol: str, more: str) -> list[str]:
    return [own_entry("naughty", how, symbol, more + NAUGHTY_LIMITS.get(how, ""), how=how, at=AT) for how in WAYS]


# --- a feed that waits for nobody ---------------------------------------------------------------------


class Ran(NamedTuple):
    """A desk that has come to its end, with its status when all ran and at the end."""

    desk: Desk
    before: dict[str, Any]
    after: dict[str, Any]


def price(symbol: str, second: int) -> float:
    """Give a price that goes up and down, each symbol at a pace of its own."""
    return 100 + 10 * math.sin(second / (300 + 70 * SYMBOLS.index(symbol)))


def publish(publisher: Publisher, desk: Desk) -> None:
    """Send three ticks a minute of each symbol, a minute every so often, and one that ends the last minute."""
    for minute in range(MINUTES):
        for second in (0, 20, 40):
            for symbol in SYMBOLS:
                publisher.tick(symbol, minute * 60 + second, price(symbol, minute * 60 + second))
        pause(desk, 0.08)
    for symbol in SYMBOLS:
        publisher.tick(symbol, MINUTES * 60, price(symbol, MINUTES * 60))


def bars_met(status: dict[str, Any], names: Iterable[str]) -> set[int]:
    return {row["bars_evaluated"] for row in status["strategies"] if row["name"] in names}


def have_fallen(status: dict[str, Any]) -> bool:
    """Say whether each that is there and falls has done so often enough; whoever meets its bar again falls again."""
    rows = worker_rows(status)
    return all(rows[path]["restarts"] >= FALLS_MIN for path in map("strategies/{}".format, FALLING) if path in rows)


def live(folder: Path, others: Iterable[str] = ()) -> Ran:
    entries = [own_entry("judge", name, symbol) for name, symbol in JUDGES.items()]
    with Publisher() as publisher:
        glob = f"global:\n  default_balance: 1000000\n  zmq_market_url: {publisher.url}\n{PATIENT_ROOMS}"
        with Desk(folder, f"strategies:\n{''.join([*entries, *others])}{glob}") as desk:
            own_strategies(folder)
            before = until_all_run(desk.start())
            publisher.until_subscribed(SYMBOLS)
            publish(publisher, desk)
            after = desk.until(lambda status: bars_met(status, JUDGES) == {MINUTES} and have_fallen(status))
            os.kill(desk.root_pid, signal.SIGTERM)
            assert desk.wait() == 0, desk.said()
    return Ran(desk, before, after)


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """Run the ten good ones alone."""
    return live(tmp_path_factory.mktemp("calm"))


@pytest.fixture(scope="module")
def twenty(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """Run them beside ten that misbehave as long as there are bars."""
    return live(tmp_path_factory.mktemp("twenty"), naughty(SYMBOLS[0], CRASH_LOOP))


def test_each_of_the_ten_misbehaves_again_and_again(twenty: Ran) -> None:
    rows = worker_rows(twenty.after)
    for how in FALLING:
        row = rows[f"strategies/{how}"]
        assert ENDS[how] in row["last_error"], how
    assert rows["strategies/intents"]["restarts"] == 0
    (flood,) = [row for row in twenty.after["strategies"] if row["name"] == "intents"]
    assert flood["why_not"]["TOO_MANY_INTENTS"] > 10_000


def test_the_other_ten_miss_no_bar_and_decide_as_if_they_were_alone(calm: Ran, twenty: Ran) -> None:
    for name, symbol in JUDGES.items():
        bars = [bar for bar in published(twenty.desk) if bar.symbol == symbol]
        assert len(bars) == MINUTES
        assert {after.ts_ns - bar.ts_ns for bar, after in pairwise(bars)} == {MINUTE_NS}
        kept = evaluated(twenty.desk, name)
        assert (kept.bars, kept.missed, kept.state["missed"]) == (MINUTES, 0, 0)
        assert kept.state == evaluated(calm.desk, name).state
        assert {word for _, word in kept.state["decided"]} == {"wait", "buy", "close"}


def test_no_other_process_is_replaced(calm: Ran, twenty: Ran) -> None:
    for ran, loopers in ((calm, ()), (twenty, NAUGHTY)):
        assert pids(ran.after, without=loopers) == pids(ran.before, without=loopers)


def test_the_books_agree_and_the_disk_holds_no_flood(twenty: Ran) -> None:
    check_books(twenty.desk)
    log = twenty.desk.state / "log"
    assert (log / "strategies.print.out").stat().st_size < 300 << 20
    assert sum(file.stat().st_size for file in log.iterdir() if file.suffix != ".out") < 60 << 20
    assert twenty.desk.descendants() == []


# --- a feed whose steps wait ----------------------------------------------------------------------


def stepped(folder: Path, files: dict[str, Path], others: Iterable[str] = ()) -> Desk:
    desk = Desk(folder, configuration([*(entry + PATIENT for entry in TEN), *others], files, more=PATIENT_ROOMS))
    own_strategies(folder)
    with desk:
        desk.run()
    return desk


def unnumbered(desk: Desk) -> list[dict[str, Any]]:
    """Give the good ones' orders without their names: those of resting stops count the records of the journal."""
    names = {"order_id", "venue_order_id"}
    return [
        {key: value for key, value in order.items() if key not in names}
        for order in desk.orders()
        if order["strategy"] not in WAYS
    ]


def test_in_steps_the_ten_trade_as_if_they_were_alone(tmp_path: Path) -> None:
    files = write_market(tmp_path, EVENTS)

    alone = stepped(tmp_path / "calm", files)
    beside = stepped(tmp_path / "twenty", files, naughty("SPY", PUT_AWAY))

    assert beside.trades() == alone.trades()
    assert unnumbered(beside) == unnumbered(alone)
    assert {trade["strategy"] for trade in alone.trades()} >= {"spy_a", "spy_b", "qqq", "btc_ema", "btc_vwap"}
    check_books(beside)
