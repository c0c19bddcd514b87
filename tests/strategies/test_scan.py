"""Scans: when they happen, what they show, and what they remember."""

from collections.abc import Iterable

import msgspec
import pytest

from desk.messages import Bar
from desk.units import MINUTE_NS
from strategies.base import Action, Decision, Instance, NoTrade, Signal, View
from strategies.scan import ScanStrategy, SymbolData
from tests.strategies.views import at, view

START = at("10:00")


class Watcher(ScanStrategy):
    """Remembers what each scan showed; buys what it is told to."""

    candles_max = 4

    def __init__(self, *symbols: str, wants: Iterable[str] = ()) -> None:
        super().__init__(None, Instance("tested", symbols, "5m", {}))
        self.scans: list[tuple[int, dict[str, SymbolData]]] = []
        self._wants = tuple(wants)

    def analyze(self, markets: dict[str, SymbolData], portfolio: View, timestamp: int) -> list[Signal]:
        assert portfolio.moment.ts_ns >= START
        self.scans.append((timestamp, markets))
        return [Signal(symbol=symbol, action=Action.BUY) for symbol in self._wants]


class HourlyWatcher(Watcher):
    """Scans every hour."""

    scan_interval_minutes = 60


def candle(symbol: str, number: int, close: float = 100.0) -> Bar:
    ts_ns = START + number * 5 * MINUTE_NS
    return Bar(symbol, "5m", ts_ns, ts_ns + 5 * MINUTE_NS, close, close + 1.0, close - 1.0, close, 10.0)


def fed(watcher: Watcher, *bars: Bar) -> list[Decision]:
    return [watcher.on_bar(bar, view(bar.ts_ns)) for bar in bars]


def code_of(decision: Decision) -> str:
    return decision.code if isinstance(decision, NoTrade) else "SIGNAL"


def test_one_market_is_scanned_at_each_of_its_bars() -> None:
    watcher = Watcher("SPY")

    fed(watcher, candle("SPY", 0), candle("SPY", 1))

    assert [timestamp for timestamp, _ in watcher.scans] == [candle("SPY", 0).end_ns, candle("SPY", 1).end_ns]


def test_several_markets_are_scanned_when_the_last_of_them_has_its_bar() -> None:
    watcher = Watcher("SPY", "QQQ", wants=["QQQ"])

    decisions = fed(watcher, candle("QQQ", 0), candle("SPY", 0))

    assert [code_of(decision) for decision in decisions] == ["SCAN_NOT_DUE", "SIGNAL"]
    assert set(watcher.scans[0][1]) == {"SPY", "QQQ"}


def test_a_market_that_stays_out_delays_the_scan_to_the_next_round_and_not_longer() -> None:
    watcher = Watcher("SPY", "QQQ", wants=["QQQ"])

    decisions = fed(watcher, candle("QQQ", 0), candle("SPY", 0), candle("QQQ", 1), candle("QQQ", 2))

    assert [code_of(decision) for decision in decisions] == ["SCAN_NOT_DUE", "SIGNAL", "SCAN_NOT_DUE", "SIGNAL"]
    timestamp, markets = watcher.scans[1]
    assert timestamp == candle("QQQ", 1).end_ns
    assert [bar.ts_ns for bar in markets["QQQ"].candles] == [candle("QQQ", 0).ts_ns, candle("QQQ", 1).ts_ns]
    assert len(markets["SPY"].candles) == 1


def test_a_market_without_any_candle_is_left_out() -> None:
    watcher = Watcher("SPY", "QQQ")

    fed(watcher, candle("QQQ", 0), candle("QQQ", 1))

    assert set(watcher.scans[0][1]) == {"QQQ"}


def test_scans_keep_their_interval() -> None:
    watcher = HourlyWatcher("SPY")

    decisions = fed(watcher, *(candle("SPY", number) for number in range(25)))

    assert len(watcher.scans) == 3
    assert [code_of(decision) for decision in decisions[:2]] == ["NO_SIGNAL", "SCAN_NOT_DUE"]


def test_a_market_shows_a_bounded_window_and_what_follows_from_it() -> None:
    watcher = Watcher("SPY")

    fed(watcher, *(candle("SPY", number, 100.0 + number) for number in range(6)))

    shown = watcher.scans[-1][1]["SPY"]
    assert [bar.close for bar in shown.candles] == [102.0, 103.0, 104.0, 105.0]
    assert (shown.current_price, shown.volume_24h) == (105.0, 40.0)
    assert shown.spread == pytest.approx(2.0 / 103.5, rel=1e-4)
    assert (shown.maker_fee_pct, shown.taker_fee_pct) == (0.25, 0.40)


@pytest.mark.parametrize("cut", range(7))
def test_scans_go_on_from_a_kept_state(cut: int) -> None:
    bars = [candle("QQQ", 0), candle("SPY", 0), candle("QQQ", 1), candle("QQQ", 2), candle("SPY", 2), candle("SPY", 3)]
    whole, broken, resumed = (Watcher("SPY", "QQQ") for _ in range(3))
    fed(whole, *bars)
    fed(broken, *bars[:cut])

    resumed.load_state(msgspec.msgpack.decode(msgspec.msgpack.encode(broken.get_state())))
    fed(resumed, *bars[cut:])

    assert broken.scans + resumed.scans == whole.scans
