"""The desk on somebody else's ticks: routing by symbol, refusals by code, complete bars only."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from actors.arguments import store_path
from actors.words import desk_codec
from desk.messages import Bar
from runtime.clock import NS_PER_S
from runtime.store import Reader
from tests.desk_run.harness import Desk
from tests.desk_run.publisher import START_S, Publisher, obedient, with_obedient

#: A ``global`` and one entry in the keys of old files: no ``feed`` is named anywhere.
S3_STYLE = """\
  - name: eurusd_trend_v1
    symbol: EURUSD
    model_path: models/baseline_v1.json
    enabled: true
    threshold: 0.55
    risk_config:
      risk_per_trade: 0.02
      max_position_size: 0.10
      stop_loss_atr_multiple: 2.0
      take_profit_risk_reward: 2.0
global:
  zmq_market_url: {url}
  zmq_execution_host: localhost
  zmq_execution_port: 5555
  feature_api_url: http://localhost:8000
  default_balance: 10000.0
  paper_trading: true
"""
#: What is no tick of ours, and the code that each is counted under.
GARBAGE = {
    "not JSON": (b"EURUSD this is not json", "MALFORMED"),
    "no body": (b"EURUSD", "MALFORMED"),
    "an empty body": (b"EURUSD ", "MALFORMED"),
    "no object": (b"EURUSD [1, 2, 3]", "MALFORMED"),
    "null": (b"EURUSD null", "MALFORMED"),
    "NaN": (b'EURUSD {"symbol": "EURUSD", "timestamp": %d, "price": NaN}', "MALFORMED"),
    "infinity": (b'EURUSD {"symbol": "EURUSD", "timestamp": %d, "price": 1e999}', "MALFORMED"),
    "a price below zero": (b'EURUSD {"symbol": "EURUSD", "timestamp": %d, "price": -1.1}', "NEGATIVE"),
    "a price of zero": (b'EURUSD {"symbol": "EURUSD", "timestamp": %d, "price": 0}', "NEGATIVE"),
    "a size below zero": (b'EURUSD {"symbol": "EURUSD", "timestamp": %d, "price": 1, "size": -1}', "NEGATIVE"),
    "ask below bid": (b'EURUSD {"symbol": "EURUSD", "timestamp": %d, "bid": 1.2, "ask": 1.1}', "CROSSED"),
    "a price as text": (b'EURUSD {"symbol": "EURUSD", "timestamp": %d, "price": "1.1"}', "MALFORMED"),
    "a price as bool": (b'EURUSD {"symbol": "EURUSD", "timestamp": %d, "price": true}', "MALFORMED"),
    "a price as list": (b'EURUSD {"symbol": "EURUSD", "timestamp": %d, "price": [1.1]}', "MALFORMED"),
    "no price": (b'EURUSD {"symbol": "EURUSD", "timestamp": %d}', "MALFORMED"),
    "no time": (b'EURUSD {"symbol": "EURUSD", "price": 1.1}', "MALFORMED"),
    "no symbol": (b'EURUSD {"timestamp": %d, "price": 1.1}', "MALFORMED"),
    "a time of words": (b'EURUSD {"symbol": "EURUSD", "timestamp": "yesterday", "price": 1.1}', "MALFORMED"),
    "another's body": (b'EURUSD {"symbol": "GBPUSD", "timestamp": %d, "price": 1.1}', "MALFORMED"),
    "another's topic": (b'EURUSDX {"symbol": "EURUSD", "timestamp": %d, "price": 1.1}', "MALFORMED"),
    "a longer symbol": (b'EURUSDX {"symbol": "EURUSDX", "timestamp": %d, "price": 1.1}', "OTHER_SYMBOL"),
    "a broker's suffix": (b'EURUSD.s {"symbol": "EURUSD.s", "timestamp": %d, "price": 1.1}', "OTHER_SYMBOL"),
    "out of order": (b'EURUSD {"symbol": "EURUSD", "timestamp": 1600000000, "price": 1.1}', "OUT_OF_ORDER"),
    "not UTF-8": (b"EURUSD\xff\xfe \x80\x81{", "MALFORMED"),
    "bytes": (b"EURUSD \x00\x01\x02", "MALFORMED"),
    "deep": (b"EURUSD " + b"[" * 3000, "MALFORMED"),
    "60 kilobytes": (b'EURUSD {"symbol": "EURUSD", "note": "%s"}' % (b"x" * 60_000), "MALFORMED"),
}  # fmt: skip


class Market(NamedTuple):
    """A desk, a publisher, and an hour of the market that no other test has: seconds count from its beginning."""

    desk: Desk
    publisher: Publisher
    hour_s: int

    def tick(self, symbol: str, at_s: float, price: float, **more: Any) -> None:
        """Send one tick of this hour."""
        self.publisher.tick(symbol, self.hour_s + at_s, price, **more)

    def ns(self, at_s: float) -> int:
        """Give a moment of this hour."""
        return int((START_S + self.hour_s + at_s) * NS_PER_S)

    def text(self, at_s: int) -> str:
        """Give a moment of this hour as the status writes it."""
        moment = datetime.fromtimestamp(START_S + self.hour_s + at_s, tz=UTC)
        return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    def settled(self) -> dict[str, Any]:
        """Give the status once every tick that was sent is taken in and counted by its strategy."""
        sent = self.publisher.ticks
        return self.desk.until(
            lambda status: (
                status["feed"]["events"] == sent == sum(row["ticks_processed"] for row in status["strategies"])
            )
        )

    def bars(self, symbol: str) -> list[Bar]:
        """Give the bars that were published so far."""
        reader = Reader.open(store_path(self.desk.state, "market_data"))
        try:
            bars = [desk_codec().decode(data) for _, data in reader.records()]
        finally:
            reader.close()
        return [bar for bar in bars if bar.symbol == symbol]

    def until_evaluated(self, name: str, symbol: str, end_s: int) -> Bar:
        """Wait until a strategy has evaluated its bar that ends then, and give that bar."""

        def is_there(_status: object) -> bool:
            bars = self.bars(symbol)
            last = self.desk.strategy(name)["last_bars"].get(f"{symbol}/1m")
            return bool(bars) and bars[-1].end_ns >= self.ns(end_s) and last == bars[-1].sequence

        self.desk.until(is_there)
        bar = self.bars(symbol)[-1]
        assert bar.end_ns == self.ns(end_s)
        return bar


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Desk, Publisher, Iterator[int]]]:
    """Give a desk that listens to a publisher, as an old file, which names no feed, has it."""
    folder = with_obedient(tmp_path_factory.mktemp("zmq"))
    with Publisher() as publisher:
        entries = obedient("eur", "EURUSD", buy_above=9) + obedient("gbp", "GBPUSD", buy_above=9)
        with Desk(folder, f"strategies:\n{entries}{S3_STYLE.format(url=publisher.url)}") as desk:
            desk.start().until_up()
            publisher.until_subscribed(["EURUSD", "GBPUSD"])
            yield desk, publisher, count(0, 3600)


@pytest.fixture
def market(place: tuple[Desk, Publisher, Iterator[int]]) -> Market:
    """Give an hour of that market."""
    desk, publisher, hours = place
    return Market(desk, publisher, next(hours))


def test_an_url_alone_makes_it_the_zmq_feed_and_a_model_entry_is_refused_alone(market: Market) -> None:
    status = market.desk.status()

    states = {row["name"]: (row["state"], row["refusal"]) for row in status["strategies"]}
    assert status["feed"]["kind"] == "zmq"
    assert states["eur"] == states["gbp"] == ("RUNNING", "")
    assert states["eurusd_trend_v1"][0] == "REFUSED"
    assert "baseline_v1.json is missing" in states["eurusd_trend_v1"][1]


def test_each_strategy_counts_and_sees_its_own_symbol_only_in_both_forms_of_the_wire(market: Market) -> None:
    before = {name: market.desk.strategy(name)["ticks_processed"] for name in ("eur", "gbp")}
    for second in range(10):
        market.tick("EURUSD", second, 1.1, is_multipart=second % 2 == 0)
        market.tick("GBPUSD", second, 1.3, is_multipart=second % 2 == 1)
    for second in range(10, 13):
        market.tick("GBPUSD", second, 1.3)

    market.settled()

    eur, gbp = market.desk.strategy("eur"), market.desk.strategy("gbp")
    assert eur["ticks_processed"] - before["eur"] == 10
    assert gbp["ticks_processed"] - before["gbp"] == 13
    assert (eur["last_tick_time"], gbp["last_tick_time"]) == (market.text(9), market.text(12))


def test_garbage_is_refused_counted_by_code_and_hurts_nobody(market: Market) -> None:
    market.tick("EURUSD", 20, 1.1)
    before, pids = Counter(market.settled()["feed"]["refused"]), market.desk.pids()

    for message, _ in GARBAGE.values():
        market.publisher.raw(message.replace(b"%d", b"%d" % (market.ns(21) // NS_PER_S)))
    market.publisher.raw(b"EURUSD", b'{"symbol": "EURUSD"', b"}")
    market.publisher.raw(
        b"EURUSD", b'{"symbol": "GBPUSD", "timestamp": %d, "price": 1.1}' % (market.ns(21) // NS_PER_S)
    )
    market.tick("EURUSD", 22, 1.1)
    after = market.settled()["feed"]["refused"]

    assert Counter(after) - before == Counter(code for _, code in GARBAGE.values()) + Counter(MALFORMED=2)
    assert market.desk.pids() == pids


def test_only_complete_bars_reach_a_strategy_and_each_is_made_of_its_own_minute(market: Market) -> None:
    for second, price, size in ((120, 1.10, 5), (130, 1.14, 1), (150, 1.08, 2), (179.999, 1.12, 3)):
        market.tick("EURUSD", second, price, size=size)
    market.settled()
    ends = [bar.end_ns for bar in market.bars("EURUSD")]
    market.tick("EURUSD", 180, 1.20, size=7)

    bar = market.until_evaluated("eur", "EURUSD", 180)

    assert max(ends, default=0) <= market.ns(120), "the minute that is not over is no bar"
    assert (bar.open, bar.high, bar.low, bar.close, bar.volume) == (1.10, 1.14, 1.08, 1.12, 11.0)


def test_a_bar_closes_two_seconds_after_its_end_when_no_tick_comes(market: Market) -> None:
    began_ns = market.desk.clock.monotonic_ns()
    market.tick("GBPUSD", 299.5, 1.31)

    bar = market.until_evaluated("gbp", "GBPUSD", 300)

    assert market.desk.clock.monotonic_ns() - began_ns >= 2.5 * NS_PER_S
    assert bar.close == 1.31


def test_a_message_beyond_all_measure_costs_a_connection_that_is_made_anew(market: Market) -> None:
    pids = market.desk.pids()
    market.publisher.raw(b"EURUSD " + b"x" * 1_000_000)
    market.publisher.until_subscribed(["EURUSD", "GBPUSD"])
    market.tick("EURUSD", 400, 1.1)

    status = market.settled()

    assert status["feed"]["refused"]["OVERSIZED"] == 1
    assert market.desk.pids() == pids


def test_an_order_is_filled_at_the_tick_that_follows_the_decision(market: Market) -> None:
    market.tick("GBPUSD", 600, 9.5)
    market.settled()  # or risk might hear of the decision before it hears of any price of this hour
    market.tick("GBPUSD", 660, 9.7)
    market.until_evaluated("gbp", "GBPUSD", 660)
    market.desk.until(lambda status: status["execution"]["orders_working"])
    market.tick("GBPUSD", 661, 9.6)

    market.desk.until(lambda status: status["execution"]["positions"])

    (order,) = market.desk.orders()
    assert (order["strategy"], order["state"]) == ("gbp", "FILLED")
    assert float(order["average_price"]) == pytest.approx(9.6 * 1.0005)


def test_no_process_fell_in_all_of_that(market: Market) -> None:
    assert [row["path"] for row in market.desk.status()["tree"] if row["restarts"]] == []


@pytest.mark.slow
def test_a_publisher_that_comes_late_or_again_is_found(tmp_path: Path) -> None:
    with Publisher() as gone:
        url = gone.url
    feed = f"global:\n  feed: {{kind: zmq, url: '{url}'}}\n"
    with Desk(with_obedient(tmp_path / "desk"), f"strategies:\n{obedient('eur', 'EURUSD')}{feed}") as desk:
        desk.start().until_up()
        for number in (1, 2):
            with Publisher(url) as publisher:
                publisher.until_subscribed(["EURUSD"])
                publisher.tick("EURUSD", number, 1.1)

                desk.until(lambda status, count=number: status["feed"]["events"] == count)
