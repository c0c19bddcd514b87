"""Who has a successor, or was put away, is heard no more: not by risk, not by execution, not by market data."""

import os
import signal
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from actors.words import desk_codec
from desk.messages import BarsWanted, Effect, EventsWanted, Intent, OrderType, ProtectiveStop, Side
from desk.units import NS_PER_S
from runtime.bus import Bus
from runtime.bus_words import Address
from tests.desk_run.harness import Desk
from tests.desk_run.publisher import START_S, Publisher, obedient, with_obedient
from tests.desk_run.test_operator import Market

HUBS = ("risk", "execution", "market_data")
HOLDER = "strategies/holder"


class Zombie:
    """An incarnation that should be dead, and speaks on the real bus as if it were not."""

    def __init__(self, desk: Desk, epoch: int) -> None:
        """Connect to every hub that strategies speak with."""
        folder = Path((desk.state / "endpoints").read_text(encoding="utf-8").strip())
        self._bus = Bus(folder, Address(HOLDER, epoch))
        self._spokes = {peer: self._bus.spoke(peer) for peer in HUBS}
        self._codec, self._epoch, self._number = desk_codec(), epoch, 0
        for spoke in self._spokes.values():
            spoke.wait_connected(10_000)

    def close(self) -> None:
        self._bus.close()

    def say(self, peer: str, word: msgspec.Struct) -> None:
        self._spokes[peer].post(self._codec.encode(word), is_sure=True)

    def want(self, effect: Effect, side: Side, quantity: Decimal | None) -> str:
        """Send an intent that nobody has seen before; give its id."""
        self._number += 1
        intent = Intent(
            intent_id=f"zombie-{self._epoch}-{self._number}",
            strategy="holder",
            symbol="HHH",
            timeframe="1m",
            bar_ts_ns=START_S * NS_PER_S,
            number=self._number,
            effect=effect,
            side=side,
            order_type=OrderType.MARKET,
            quantity=quantity,
            size_pct=None,
            limit_price=None,
            stop_loss=Decimal(1) if effect is Effect.OPEN else None,
            take_profit=None,
            protective_stop=ProtectiveStop.BAR_CLOSE,
            order_ttl_ns=0,
            decided_ns=START_S * NS_PER_S,
            expires_ns=(START_S + 10**8) * NS_PER_S,
            reference_price=Decimal(101),
            tag="",
            reason="undead",
            epoch=self._epoch,
        )
        self.say("risk", intent)
        return intent.intent_id

    def say_everything(self) -> list[str]:
        """Want to open and to close, and ask for bars and events; give the ids of the intents."""
        self.say("execution", EventsWanted("holder", 0))
        self.say("market_data", BarsWanted("HHH", "1m", 0, 10))
        return [self.want(Effect.OPEN, Side.BUY, Decimal(1)), self.want(Effect.CLOSE, Side.SELL, None)]

    def heard(self) -> list[object]:
        """Give every word and receipt that came back."""
        return [word for spoke in self._spokes.values() for word in spoke.receive()]

    def unanswered(self) -> dict[str, int]:
        """Count what no hub has acknowledged."""
        heard = self.heard()
        assert heard == []
        return {peer: spoke.waiting() for peer, spoke in self._spokes.items()}


@pytest.fixture
def market(tmp_path: Path) -> Iterator[Market]:
    """Give a desk with a position of one strategy and a working entry of the other."""
    often = "    supervision: {intensity: 2, period_s: 3600, backoff_base_s: 0, backoff_cap_s: 0}\n"
    entries = obedient("holder", "HHH") + often + obedient("rester", "RRR", limit=50) + often
    with Publisher() as publisher:
        text = f"strategies:\n{entries}global:\n  zmq_market_url: {publisher.url}\n"
        with Desk(with_obedient(tmp_path / "desk"), text) as desk:
            desk.start().until_up()
            publisher.until_subscribed(["HHH", "RRR"])
            market = Market(desk, publisher)
            market.until(
                lambda: desk.positions() and market.orders(state="SUBMITTED", strategy="rester"), HHH=101, RRR=101
            )
            yield market


def refused(desk: Desk, path: str) -> int:
    """Give how many frames a room has refused so far, as it said last."""
    return int(desk.ask("status", path=path)["node"]["facts"].get("refused_frames", 0))


def until_refused(desk: Desk, before: dict[str, int]) -> None:
    desk.until(lambda _: all(refused(desk, path) > before[path] for path in HUBS))


def fall(desk: Desk, path: str) -> None:
    """Kill a process, and wait until it has a successor or is put away."""
    pid = desk.kill(path)
    desk.until(lambda _: desk.row(path)["pid"] != pid and desk.row(path)["state"] in {"RUNNING", "QUARANTINED"})


def test_whatever_an_outdated_incarnation_says_is_refused_and_counted_and_trades_nothing(market: Market) -> None:
    desk = market.desk
    epoch = desk.row(HOLDER)["epoch"]
    fall(desk, HOLDER)
    before = {path: refused(desk, path) for path in HUBS}

    zombie = Zombie(desk, epoch)
    intents = zombie.say_everything()
    until_refused(desk, before)
    kept = {"risk": 2, "execution": 1, "market_data": 1}

    assert zombie.unanswered() == kept
    assert desk.row(HOLDER)["state"] == "RUNNING"
    assert not {order["intent_id"] for order in desk.orders()} & set(intents)
    assert [(position["strategy"], position["quantity"]) for position in desk.positions()] == [("holder", "1")]
    zombie.close()


@pytest.mark.slow
def test_a_strategy_that_is_stopped_is_seen_to_hang_and_its_late_words_come_to_nothing(market: Market) -> None:
    desk = market.desk
    row = desk.row(HOLDER)
    os.kill(row["pid"], signal.SIGSTOP)

    desk.until(lambda _: desk.row(HOLDER)["epoch"] > row["epoch"] and desk.row(HOLDER)["state"] == "RUNNING")
    zombie = Zombie(desk, row["epoch"])
    late = zombie.want(Effect.OPEN, Side.BUY, Decimal(1))
    before = len(market.orders(strategy="holder", state="FILLED"))
    market.until(lambda: market.orders(strategy="holder", reason="EXIT") or len(desk.trades()) == 1, HHH=80)

    assert desk.row(HOLDER)["last_error"].startswith("no progress for ")
    assert late not in {order["intent_id"] for order in desk.orders()}
    assert len(market.orders(strategy="holder", state="FILLED")) == before + 1
    zombie.close()


def test_quarantine_takes_the_right_to_speak_cancels_entries_rests_the_stop_and_raises_an_alarm(market: Market) -> None:
    desk = market.desk
    position = desk.positions()
    for path in (HOLDER, "strategies/rester"):
        for _ in range(3):
            fall(desk, path)
    rows = {path: desk.row(path) for path in (HOLDER, "strategies/rester")}
    assert {row["state"] for row in rows.values()} == {"QUARANTINED"}

    # First: the last incarnation has no right to speak any more, not even to close.
    zombie = Zombie(desk, rows[HOLDER]["epoch"])
    before = {path: refused(desk, path) for path in HUBS}
    intents = zombie.say_everything()
    until_refused(desk, before)
    assert zombie.unanswered() == {"risk": 2, "execution": 1, "market_data": 1}
    zombie.close()
    # Second and third: its entries are cancelled, and the stop that was recorded rests.
    market.until(lambda: market.orders(purpose="STOP_LOSS", state="SUBMITTED"), HHH=101)
    (entry,) = market.orders(strategy="rester")
    (stop,) = market.orders(purpose="STOP_LOSS")
    assert (entry["state"], entry["reason"]) == ("CANCELLED", "STRATEGY_PUT_AWAY")
    assert (stop["strategy"], stop["side"], stop["quantity"], stop["stop_price"]) == ("holder", "SELL", "1", "25.25")
    assert desk.positions() == position
    assert not {order["intent_id"] for order in desk.orders()} & set(intents)
    # Fourth: the operator is told.
    alarms = " ".join(desk.status()["alarms"])
    assert "strategies/holder is quarantined: signal SIGKILL" in alarms
    assert "strategies/rester is quarantined: signal SIGKILL" in alarms

    # The stop stays while it is away, and goes when it is released.
    desk.ask("release", name="holder")
    market.until(lambda: market.orders(purpose="STOP_LOSS", state="CANCELLED"), HHH=101)
    desk.until(lambda _: desk.row(HOLDER)["state"] == "RUNNING")
    market.until(desk.trades, HHH=80)
