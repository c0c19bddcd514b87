"""The made-up feed and the feed of recorded files: order, refusals, and going on after a break."""

import gzip
from collections.abc import Callable, Iterator
from itertools import islice, pairwise
from pathlib import Path

import pytest

from actors.calendar import NewYork
from actors.feeds.feed import Feed, FeedError
from actors.feeds.replay import ReplayFeed
from actors.feeds.synthetic import START_NS, SyntheticFeed
from desk.messages import Bar, Tick
from desk.ticks import refusal
from desk.units import DAY_NS, MINUTE_NS
from tests.market_files import BAR_HEADER, T0, bar_row, bar_rows, real_data, written

SYMBOLS = ["SPY", "QQQ", "BTCUSD", "ETHUSD"]
#: The 500th bar of these symbols with seed 7. It may change only together with the generator.
GOLDEN_TS_NS = 1_704_729_840_000_000_000
GOLDEN_BAR = Bar(
    "SPY", "1m", 1_704_731_340_000_000_000, 1_704_731_400_000_000_000, 479.73, 479.86, 479.38, 479.48, 137265.0
)


def events(feed: Feed, most: int | None = None) -> list[Bar | Tick]:
    """Take events until the feed ends, or ``most`` of them."""
    return list(islice(iter(feed.next_event, None), most))


def arrival_ns(event: Bar | Tick) -> int:
    return event.end_ns if isinstance(event, Bar) else event.ts_ns


@pytest.fixture
def replay(tmp_path: Path) -> Iterator[Callable[..., ReplayFeed]]:
    """Build replay feeds of {symbol: text}; they are closed at the end of the test."""
    made: list[ReplayFeed] = []

    def build(**texts: str) -> ReplayFeed:
        made.append(ReplayFeed({symbol: written(tmp_path, symbol, text) for symbol, text in texts.items()}))
        return made[-1]

    yield build
    for feed in made:
        feed.close()


# --- the made-up feed -------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_market_on_every_machine() -> None:
    bars = events(SyntheticFeed(SYMBOLS, seed=7), 500)

    assert bars == events(SyntheticFeed(SYMBOLS, seed=7), 500)
    assert bars[499] == GOLDEN_BAR


def test_another_seed_gives_another_market() -> None:
    assert events(SyntheticFeed(["SPY"], seed=1), 10) != events(SyntheticFeed(["SPY"], seed=2), 10)


def test_a_further_symbol_changes_nothing_for_the_others() -> None:
    alone = events(SyntheticFeed(["SPY"]), 50)

    together = [bar for bar in events(SyntheticFeed(SYMBOLS), 500) if bar.symbol == "SPY"]

    assert together[:50] == alone[: len(together)][:50]


def test_made_up_bars_arrive_in_order_and_pass_every_check() -> None:
    last: dict[str, int] = {}

    bars = events(SyntheticFeed(SYMBOLS), 20_000)

    assert all((arrival_ns(a), a.symbol) < (arrival_ns(b), b.symbol) for a, b in pairwise(bars))
    for bar in bars:
        assert refusal(bar, last.get(bar.symbol)) is None
        last[bar.symbol] = bar.ts_ns


def test_coins_trade_from_the_start_and_without_a_pause() -> None:
    bars = events(SyntheticFeed(["BTCUSD"]), 3000)

    assert [bar.ts_ns for bar in bars] == [START_NS + minute * MINUTE_NS for minute in range(3000)]


def test_shares_trade_in_new_yorks_sessions_only_winter_and_summer() -> None:
    calendar = NewYork()
    sessions: dict[str, list[int]] = {}

    for bar in events(SyntheticFeed(["SPY"]), 390 * 80):
        moment = calendar.moment(bar.ts_ns)
        sessions.setdefault(moment.day, []).append(moment.second_of_day)

    assert list(sessions)[:6] == [f"2024-01-{day:02}" for day in (8, 9, 10, 11, 12, 15)]
    assert set(map(tuple, sessions.values())) == {tuple(range(34_200, 57_600, 60))}


def test_a_share_trades_more_at_the_edges_of_the_session() -> None:
    bars = [bar for bar in events(SyntheticFeed(["SPY"]), 390 * 20) if isinstance(bar, Bar)]

    by_minute = [sum(bar.volume for bar in bars[minute::390]) for minute in range(390)]

    assert sum(by_minute[:30]) > 2 * sum(by_minute[180:210]) < sum(by_minute[-30:])


def test_on_most_days_a_share_dips_below_its_average_in_the_morning() -> None:
    bars = [bar for bar in events(SyntheticFeed(["SPY"]), 390 * 60) if isinstance(bar, Bar)]

    days = [bars[start : start + 390] for start in range(0, len(bars), 390)]

    assert sum(dips(day) for day in days) >= 40


def dips(day: list[Bar]) -> bool:
    weighted = volume = 0.0
    found = False
    for minute, bar in enumerate(day[:121]):
        weighted += (bar.high + bar.low + bar.close) / 3.0 * bar.volume
        volume += bar.volume
        found = found or (minute >= 30 and bar.close < weighted / volume * 0.997)
    return found


def test_prices_stay_near_where_they_began_for_years() -> None:
    bars = [bar for bar in events(SyntheticFeed(["SPY"]), 390 * 250) if isinstance(bar, Bar)]

    assert 475 / 2 < min(bar.low for bar in bars) < max(bar.high for bar in bars) < 475 * 2


@pytest.mark.parametrize("cut", [0, 1, 61, 250, 1000])
def test_a_made_up_market_goes_on_where_it_was_broken_off(cut: int) -> None:
    whole, broken, resumed = (SyntheticFeed(SYMBOLS, seed=3) for _ in range(3))
    expected = events(whole, 1500)[cut:]
    events(broken, cut)

    resumed.restore(broken.state())

    assert events(resumed, 1500 - cut) == expected


def test_the_place_of_another_seed_is_refused() -> None:
    with pytest.raises(FeedError, match="seed 1"):
        SyntheticFeed(SYMBOLS, seed=2).restore(SyntheticFeed(SYMBOLS, seed=1).state())


@pytest.mark.parametrize("symbols", [[], ["SPY", "SPY"]], ids=["none", "twice"])
def test_a_made_up_feed_needs_each_symbol_once(symbols: list[str]) -> None:
    with pytest.raises(FeedError, match="each once"):
        SyntheticFeed(symbols)


# --- the feed of recorded files ---------------------------------------------------------------


def test_recorded_bars_come_whole_and_with_the_files_timeframe(replay: Callable[..., ReplayFeed]) -> None:
    feed = replay(SPY=BAR_HEADER + bar_row(0) + bar_row(5))

    assert feed.timeframes == {"SPY": "5m"}
    assert events(feed)[0] == Bar("SPY", "5m", T0, T0 + 5 * MINUTE_NS, 10.0, 12.0, 9.0, 11.0, 100.0)


@pytest.mark.parametrize(
    ("minutes", "timeframe"),
    [
        ([0, 1, 2, 5, 6, 9], "1m"),
        ([0, 2, 4, 5, 6, 8, 9], "1m"),
        ([0, 60, 120], "1h"),
        ([0, 1440, 5760], "1d"),
        ([0, 15, 14, 30], "15m"),
        ([0, 10, 20, 30, 40, 50, 51], "10m"),
    ],
    ids=["gaps", "gaps prevail", "hours", "days", "one out of order", "one too early"],
)
def test_the_smallest_usual_spacing_is_the_timeframe(
    replay: Callable[..., ReplayFeed], minutes: list[int], timeframe: str
) -> None:
    feed = replay(SPY=BAR_HEADER + "".join(bar_row(minute) for minute in minutes))

    assert feed.timeframes["SPY"] == timeframe


def test_recorded_quotes_are_priced_in_the_middle(replay: Callable[..., ReplayFeed]) -> None:
    feed = replay(EURUSD=f"timestamp,ts_ns,bid,ask\nx,{T0},1.0,1.5\n")

    assert feed.timeframes == {"EURUSD": None}
    assert events(feed) == [Tick("EURUSD", T0, 1.25, 1.0, 1.5)]


def test_recorded_trades_keep_price_and_size(replay: Callable[..., ReplayFeed]) -> None:
    feed = replay(SPY=f"ts_ns,price,size,side\n{T0},475.5,100,buy\n{T0},475.6,50,sell\n")

    assert events(feed) == [Tick("SPY", T0, 475.5, 0.0, 0.0, 100.0), Tick("SPY", T0, 475.6, 0.0, 0.0, 50.0)]


def test_files_are_merged_by_arrival_and_then_by_symbol(replay: Callable[..., ReplayFeed]) -> None:
    feed = replay(SPY=bar_rows(3), QQQ=bar_rows(3), GLD=f"ts_ns,price\n{T0 + 60_000_000_000},5\n{T0 + 1},5\n")

    order = [(event.symbol, (arrival_ns(event) - T0) // MINUTE_NS) for event in events(feed)]

    assert order == [("GLD", 1), ("QQQ", 1), ("SPY", 1), ("QQQ", 2), ("SPY", 2), ("QQQ", 3), ("SPY", 3)]


BAD_ROWS = {
    "MALFORMED": "x,y\nx,seven,10,12,9,11,100\n",
    "NAN": f"x,{T0 + 60_000_000_000},10,12,9,nan,100\n",
    "NEGATIVE": f"x,{T0 + 60_000_000_000},10,12,-9,11,100\n",
    "INCONSISTENT": f"x,{T0 + 60_000_000_000},10,9,9,11,100\n",
    "DUPLICATE": f"x,{T0},10,12,9,11,100\n",
    "OUT_OF_ORDER": f"x,{T0 - 60_000_000_000},10,12,9,11,100\n",
}


@pytest.mark.parametrize(("code", "rows"), BAD_ROWS.items(), ids=BAD_ROWS)
def test_a_bad_row_is_counted_and_left_out(replay: Callable[..., ReplayFeed], code: str, rows: str) -> None:
    feed = replay(SPY=BAR_HEADER + bar_row(0) + rows + "\n" + bar_row(1) + bar_row(2))

    assert len(events(feed)) == 3
    assert feed.refused == {code: rows.count("\n")}


def test_crossed_quotes_are_counted_and_left_out(replay: Callable[..., ReplayFeed]) -> None:
    feed = replay(EURUSD=f"ts_ns,bid,ask\n{T0},1.5,1.4\n{T0},1.4,1.4\n{T0},1.5,1.4\n")

    assert len(events(feed)) == 1
    assert feed.refused == {"CROSSED": 2}


def test_bytes_that_are_no_text_and_endless_rows_are_only_bad_rows(tmp_path: Path) -> None:
    path = tmp_path / "SPY.csv"
    path.write_bytes(bar_rows(2).encode() + b"\xff\xfe\x00,1\n" + b"7" * 10_000 + b"\n" + bar_row(2).encode())
    feed = ReplayFeed({"SPY": path})

    assert len(events(feed)) == 3
    assert set(feed.refused) == {"MALFORMED"}
    feed.close()


@pytest.mark.parametrize("cut", range(14))
def test_a_replay_goes_on_where_it_was_broken_off(replay: Callable[..., ReplayFeed], cut: int) -> None:
    texts = {
        "SPY": BAR_HEADER + bar_row(0) + "bad\n" + bar_row(1) + bar_row(4) + "bad\n" + bar_row(5) + "bad\n",
        "QQQ": bar_rows(6) + BAD_ROWS["DUPLICATE"],
        "GLD": f"ts_ns,price\n{T0},1\n{T0},nan\n{T0 + 1},2\n",
    }
    whole, broken, resumed = (replay(**texts) for _ in range(3))
    expected = events(whole)
    before = events(broken, cut)

    resumed.restore(broken.state())

    assert before + events(resumed) == expected
    assert resumed.refused == whole.refused == {"MALFORMED": 3, "NAN": 1, "OUT_OF_ORDER": 1}


def test_a_finished_replay_stays_finished(replay: Callable[..., ReplayFeed]) -> None:
    first, second = replay(SPY=bar_rows(3)), replay(SPY=bar_rows(3))
    events(first)

    second.restore(first.state())

    assert second.next_event() is None


def test_a_packed_file_reads_like_a_plain_one(tmp_path: Path) -> None:
    packed = tmp_path / "SPY.csv.gz"
    packed.write_bytes(gzip.compress(bar_rows(3).encode()))
    feeds = [ReplayFeed({"SPY": packed}), ReplayFeed({"SPY": written(tmp_path, "SPY", bar_rows(3))})]

    assert events(feeds[0]) == events(feeds[1])
    for feed in feeds:
        feed.close()


def test_a_file_that_breaks_off_is_reported_with_the_place(tmp_path: Path) -> None:
    packed = tmp_path / "SPY.csv.gz"
    whole = gzip.compress(bar_rows(5000).encode())
    packed.write_bytes(whole[: len(whole) // 2])
    feed = ReplayFeed({"SPY": packed})

    with pytest.raises(FeedError, match=r"SPY\.csv\.gz is damaged after row \d+"):
        events(feed)
    feed.close()


def test_a_file_that_changed_since_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "SPY", bar_rows(3))
    before = ReplayFeed({"SPY": path})
    place = before.state()
    before.close()
    written(tmp_path, "SPY", bar_rows(4))
    after = ReplayFeed({"SPY": path})

    with pytest.raises(FeedError, match="has changed"):
        after.restore(place)
    after.close()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        (BAR_HEADER, "has a header and no row"),
        ("timestamp,open,close\n1,2,3\n", r"has the columns timestamp, open, close; want ts_ns, open, high"),
        (BAR_HEADER + bar_row(0), "too few rows to tell the length of its bars"),
        (f"{BAR_HEADER}x,{T0},1,1,1,1,1\nx,{T0 + 1},1,1,1,1,1\n", "want a whole number of seconds"),
    ],
    ids=["empty", "header only", "columns", "one bar", "spacing"],
)
def test_a_file_that_cannot_be_replayed_says_what_and_where(tmp_path: Path, text: str, says: str) -> None:
    path = written(tmp_path, "SPY", text)

    with pytest.raises(FeedError, match=rf"SPY.*{says}"):
        ReplayFeed({"SPY": path})


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FeedError, match=r"nowhere\.csv: No such file or directory; correct its path"):
        ReplayFeed({"SPY": tmp_path / "nowhere.csv"})


def test_a_replay_without_files_is_refused() -> None:
    with pytest.raises(FeedError, match="names no file"):
        ReplayFeed({})


def test_the_recorded_ticks_of_a_real_day_hold_their_known_number_of_crossed_quotes() -> None:
    feed = ReplayFeed({"EURUSD": real_data() / "ticks" / "EURUSD_ticks_2014-05-12_fxcm_lean.csv.gz"})

    assert len(events(feed)) == 67_129 - 6_968
    assert feed.refused == {"CROSSED": 6_968}
    feed.close()


def test_real_files_of_several_markets_merge_in_order() -> None:
    bars = real_data() / "bars"
    feed = ReplayFeed(
        {
            "SPY": bars / "SPY_1m_2013-10_2023-08_lean.csv.gz",
            "BTCUSD": bars / "BTCUSD_1m_coinbase_lean.csv.gz",
            "XAUUSD": bars / "XAUUSD_1h_2012-2022_ejtrader.csv.gz",
        }
    )

    merged = events(feed)

    assert len(merged) == 5_786 + 12_423 + 57_600
    assert all((arrival_ns(a), a.symbol) < (arrival_ns(b), b.symbol) for a, b in pairwise(merged))
    assert merged[-1].ts_ns - merged[0].ts_ns > 3000 * DAY_NS
    feed.close()
