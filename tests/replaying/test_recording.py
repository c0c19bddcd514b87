"""A record of all that a strategy is told: bounded, in parts, and enough to decide the same on ticks."""

import random
from pathlib import Path
from typing import Any

import pytest
from typing_extensions import override

from actors.arguments import store_path
from actors.recording import Began, Recording, Streamed, read_part, read_parts
from actors.replaying.parts import Asked
from actors.replaying.recorded import consistent_copy
from actors.replaying.run import Replayed, replay
from actors.words import desk_codec
from desk.messages import Tick
from runtime.bus_words import StreamItem
from runtime.clock import Clock
from runtime.effects import Effects
from runtime.room import NOTHING, Room
from runtime.store import Reader, Store
from tests.desk_run.conftest import own_entry, own_strategies
from tests.desk_run.falls import kill_again, until_step
from tests.desk_run.harness import Desk
from tests.desk_run.markets import PATIENT, PATIENT_ROOMS, configuration, vwap, write_market
from tests.desk_run.publisher import Publisher
from tests.desk_run.test_ticks_replay import as_ticks

CODEC = desk_codec()


class Listener(Room):
    """Hears ticks and wants nothing."""

    @override
    def recover(self) -> Effects:
        return NOTHING

    @override
    def hear_stream(self, peer: str, item: StreamItem, word: Any) -> Effects:
        return NOTHING


class Process:
    """One process after the other on one store, each recorded."""

    def __init__(self, folder: Path, most: int) -> None:
        """Begin with an empty store."""
        self._folder, self._most, self._epoch = folder, most, 0
        self.store = Store.open(folder, is_synced=False)
        self.start()

    def start(self) -> None:
        """End as a kill does, and come back."""
        self.store.close()
        self._epoch += 1
        self.store = Store.open(self._folder, is_synced=False)
        self.room = Recording(Listener(), self.store, CODEC, Clock(), epoch=self._epoch, arguments=b"", most=self._most)
        self.store.commit(self.room.recover().writes)

    def hear(self, ticks: int) -> None:
        """Hear so many ticks, each committed."""
        for number in range(ticks):
            tick = Tick("SPY", number, 470.0 + number)
            effects = self.room.hear_stream("market_data", StreamItem("SPY/tick", number, 0, b"", False), tick)
            self.store.commit(effects.writes)

    @property
    def facts(self) -> dict[str, Any]:
        """What the status shows of the record."""
        return self.room.facts()["recording"]


def test_each_start_begins_a_part_that_holds_what_it_was_told_in_order(tmp_path: Path) -> None:
    process = Process(tmp_path, 1 << 20)
    process.hear(3)
    process.start()
    process.hear(2)

    parts = {number: list(read_part(process.store, number)) for number in read_parts(process.store)}

    assert [[type(word) for word in part] for part in parts.values()] == [
        [Began, *3 * [Streamed]],
        [Began, *2 * [Streamed]],
    ]
    last = parts[2][-1]
    assert isinstance(last, Streamed)
    assert last.body is not None
    assert CODEC.decode(last.body) == Tick("SPY", 1, 471.0)


def test_a_record_stays_within_its_bound_and_lets_go_of_the_oldest_start_first(tmp_path: Path) -> None:
    process = Process(tmp_path, 64_000)
    for _ in range(6):
        process.hear(150)
        process.start()
        assert process.facts["bytes"] <= 64_000 + 400

    parts = read_parts(process.store)
    whole = [number for number, part in parts.items() if not part.gone]
    assert process.facts["parts_dropped"] + len(parts) == process.facts["part"] or min(parts) > 1
    assert whole == sorted(whole)
    assert whole[-1] == 7
    assert len(whole) < 7
    assert all(sum(1 for _ in read_part(process.store, number)) == parts[number].words for number in whole)


def test_a_start_that_fills_the_record_alone_ends_it_and_says_so_and_goes_on_hearing(tmp_path: Path) -> None:
    process = Process(tmp_path, 20_000)
    process.hear(1_000)

    assert "full at 0 MiB; a restart of the strategy begins anew" in process.facts["ended"]
    kept = read_parts(process.store)[1]
    assert kept.is_full
    assert kept.bytes <= 20_000 + 400
    assert (
        process.room.hear_stream("market_data", StreamItem("SPY/tick", 1, 0, b"", False), Tick("SPY", 1, 1.0))
        is NOTHING
    )

    process.start()
    process.hear(5)
    assert process.facts["ended"] == ""
    assert read_parts(process.store)[2].words == 6


def replayed(state: Path, **asked: Any) -> Replayed:
    """Replay a copy of a state folder."""
    with consistent_copy(state, Clock()) as copy:
        return replay(copy, Asked(**asked))


@pytest.mark.slow
def test_a_strategy_that_decides_on_ticks_wants_the_same_again_also_after_falls(tmp_path: Path) -> None:
    files = write_market(tmp_path, 120, symbols=("SPY",))
    ticks = tmp_path / "ticks.csv"
    as_ticks(files["SPY"], ticks)
    entries = [
        own_entry("scalper", "scalp", "SPY", f"{PATIENT}    record: true\n", falls=1),
        own_entry("scalper", "blind", "SPY", PATIENT, falls=1),
        vwap("by_bars", "SPY") + PATIENT,
    ]
    told = configuration(entries, {"SPY": ticks}, more=PATIENT_ROOMS, speed="3600")
    with Desk(tmp_path / "desk", told) as desk:
        own_strategies(desk.folder)
        desk.start().until_up()
        for step in (60, 180, 300):
            until_step(desk, step)
            kill_again(desk, "strategies/scalp")
        assert desk.wait() == 0, desk.said()

    reader = Reader.open(store_path(desk.state, "strategies/scalp"))
    parts = list(read_parts(reader))
    reader.close()
    found = replayed(desk.state)
    other = replayed(desk.state, parameters={"scalp": {"falls": 2}})

    assert parts == [1, 2, 3, 4]
    assert found.changed == ()
    by_name = {one.name: one for one in found.strategies}
    assert by_name["scalp"].intents > 20
    assert by_name["scalp"].words > 500
    assert by_name["scalp"].left_out == ""
    assert "record: true" in by_name["blind"].left_out
    assert found.records == found.journal
    assert other.first is not None
    assert (other.first.who, other.first.what) == ("scalp", "intent")


@pytest.mark.slow
def test_a_live_feed_is_replayed_too_each_bar_after_the_news_that_it_had_then(tmp_path: Path) -> None:
    entries = [
        own_entry("scalper", "scalp", "SPY", f"{PATIENT}    record: true\n", falls=1),
        own_entry("judge", "own", "SPY", PATIENT),
    ]
    chance, price = random.Random(3), 470.0
    with Publisher() as publisher:
        told = f"strategies:\n{''.join(entries)}global:\n  zmq_market_url: {publisher.url}\n{PATIENT_ROOMS}"
        with Desk(tmp_path / "desk", told) as desk:
            own_strategies(desk.folder)
            desk.start().until_up()
            publisher.until_subscribed(["SPY"])
            for number in range(600):
                price *= 1 + chance.gauss(0, 0.0004)
                publisher.tick("SPY", 4.0 * number, price)
                if number == 300:
                    kill_again(desk, "strategies/own")
            desk.until(lambda status: status["feed"]["bars"] >= 39)
            desk.ask("stop")
            assert desk.wait() == 0, desk.said()

    found = replayed(desk.state)

    assert found.changed == ()
    assert {one.name: one.left_out for one in found.strategies} == {"own": "", "scalp": ""}
    assert found.verdicts > 0
    assert found.records + found.taken >= found.journal
