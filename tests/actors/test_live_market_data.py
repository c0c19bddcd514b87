"""Market data of a live feed: what it says of the age of bars to those who missed them, across its own falls."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.market_data import LiveMarketData
from actors.step import Route
from actors.words import desk_codec
from desk.messages import BarsGiven, BarsWanted
from desk.units import DAY_NS, MINUTE_NS, NS_PER_S
from runtime.effects import Delete, Effects
from runtime.store import Store
from tests.runtime.fakes import HandClock

SYMBOL, STRATEGY = "BTCUSD", "strategies/one"
T0 = 1_704_724_200 * NS_PER_S


class Feed:
    """A live feed's room on a real store, and a publisher."""

    def __init__(self, folder: Path) -> None:
        """Start it for the first time."""
        self.folder, self.clock = folder, HandClock()
        self.start()

    def start(self) -> None:
        self.store = Store.open(self.folder / "market", is_synced=False, map_bytes=16 << 20)
        routes = (Route(STRATEGY, (SYMBOL,), "1m", wants_ticks=False),)
        self.room = LiveMarketData((SYMBOL,), routes, self.store, desk_codec(), self.clock)
        self.carry_out(self.room.recover())

    def carry_out(self, effects: Effects) -> None:
        self.store.commit(effects.writes)

    def stop(self) -> None:
        self.store.close()

    def tick(self, ts_ns: int) -> None:
        """Let a tick come at its own time."""
        said = {"symbol": SYMBOL, "price": 100.0, "volume": 1.0, "timestamp": ts_ns}
        self.carry_out(self.room.hear_foreign([f"{SYMBOL} {json.dumps(said)}".encode()]))

    def given(self) -> BarsGiven:
        effects = self.room.hear(STRATEGY, 1, BarsWanted(SYMBOL, "1m", 0, 500))
        word = effects.posts[0].word
        assert isinstance(word, BarsGiven)
        return word


@pytest.fixture
def feed(tmp_path: Path) -> Iterator[Feed]:
    feed = Feed(tmp_path)
    for minute in range(4):
        feed.clock.advance_ns(MINUTE_NS)
        feed.tick(T0 + minute * MINUTE_NS)
    yield feed
    feed.stop()


def test_before_the_first_tick_of_a_new_life_a_night_has_passed_for_bars_that_were_missed(feed: Feed) -> None:
    feed.stop()
    feed.clock.advance_ns(DAY_NS)
    feed.start()

    given = feed.given()

    assert len(given.bars) == 3
    assert given.market_ns >= given.bars[-1].end_ns + DAY_NS


def test_a_fall_of_a_moment_makes_no_bar_old(feed: Feed) -> None:
    feed.stop()
    feed.start()

    given = feed.given()

    assert 0 <= given.market_ns - given.bars[-1].end_ns < MINUTE_NS


def test_a_store_of_a_desk_before_says_no_time_and_its_last_bar_does(feed: Feed) -> None:
    feed.store.commit([Delete("step", b"heard_at")])
    feed.stop()
    feed.start()

    given = feed.given()

    assert given.market_ns == given.bars[-1].end_ns


def test_a_feed_that_was_silent_for_long_has_no_new_bars(feed: Feed) -> None:
    feed.clock.advance_ns(DAY_NS)

    given = feed.given()

    assert given.market_ns >= given.bars[-1].end_ns + DAY_NS


@pytest.mark.parametrize("falls", [False, True])
def test_a_tick_dated_far_ahead_moves_no_time_and_the_next_right_one_is_taken(feed: Feed, *, falls: bool) -> None:
    if falls:
        feed.stop()
        feed.start()

    feed.tick(T0 + 400 * DAY_NS)

    assert feed.room.facts()["refused"] == {"AHEAD": 1}
    assert len(feed.given().bars) == 3
    feed.tick(T0 + 4 * MINUTE_NS)
    assert len(feed.given().bars) == 4
    assert feed.given().market_ns == T0 + 4 * MINUTE_NS


def test_a_market_that_went_on_for_a_year_without_the_desk_is_believed(feed: Feed) -> None:
    feed.stop()
    feed.clock.advance_ns(365 * DAY_NS)
    feed.start()

    feed.tick(T0 + 366 * DAY_NS)

    assert feed.room.facts()["refused"] == {}
    assert len(feed.given().bars) == 4
