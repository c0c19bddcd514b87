"""What a real desk recorded, told to the same rooms again."""

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from actors.arguments import MARKET_DATA, store_path
from actors.chapters import Chapter, Evaluated
from actors.journal import read_journal
from actors.judgements import Judgement, LimitsTold
from actors.replaying.parts import Asked, Difference, ReplayError
from actors.replaying.recorded import consistent_copy
from actors.replaying.run import Replayed, replay
from actors.replaying.screen import replay_text
from actors.strategy_arguments import read_arguments
from actors.views import positions_view
from actors.words import desk_codec
from desk.messages import FillBooked, JournalRecord, OrderChanged, OrderState
from runtime.clock import Clock
from runtime.effects import Append, Put, Write
from runtime.errors import StoreError
from runtime.store import Reader, Store
from runtime.store_format import LOG, SUMMARY_KEY, unseal
from tests.desk_run.command_line import bulkhead
from tests.desk_run.conftest import own_entry, own_strategies
from tests.desk_run.falls import kill_again, market_step, until_step
from tests.desk_run.harness import Desk
from tests.desk_run.markets import FIVE, PATIENT, PATIENT_ROOMS, configuration, ema, vwap, write_market
from tests.market_files import real_data

EVENTS = 330
FIVES = EVENTS // 5
STOPPED_AT = 130
ENTRIES = (vwap("spy_vwap", "SPY"), ema("spy_ema", "SPY"), own_entry("judge", "own", "SPY", "    timeframe: 5m\n"))
CODEC = desk_codec()


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the state folder of a desk that ran to the end of its market, stopped in between and started again."""
    folder = tmp_path_factory.mktemp("replayed")
    files = write_market(folder, EVENTS, symbols=("SPY",))
    with Desk(folder / "desk", configuration(ENTRIES, files, speed="6000")) as desk:
        own_strategies(desk.folder)
        until_step(desk.start(), STOPPED_AT)
        os.kill(desk.root_pid, signal.SIGTERM)
        assert desk.wait() == 0
        desk.file.write_text(configuration(ENTRIES, files), encoding="utf-8")
        desk.run()
        assert {order["strategy"] for order in desk.orders()} == {"spy_vwap", "spy_ema", "own"}
    return desk.state


def replayed(state: Path, **asked: object) -> Replayed:
    """Replay a copy of a state folder."""
    with consistent_copy(state, Clock()) as copy:
        return replay(copy, msgspec.convert(asked, Asked))


def records(state: Path) -> list[JournalRecord]:
    """Give the journal."""
    reader = Reader.open(store_path(state, "execution"))
    try:
        return list(read_journal(reader, CODEC))
    finally:
        reader.close()


def contents(folder: Path) -> dict[Path, bytes]:
    """Give every file with what is in it."""
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def tampered(state: Path, folder: Path, path: str, change: Callable[[bytes], bytes]) -> Path:
    """Give a copy of a state folder with another store at ``path``: as whole as before, and with other records."""
    copy = folder / "var"
    shutil.copytree(state, copy)
    target = store_path(copy, path)
    writes: list[Write] = []
    reader = Reader.open(store_path(state, path))
    writes += [Append(sequence, change(data)) for sequence, data in reader.records()]
    with reader._environment.begin() as transaction, transaction.cursor() as cursor:
        for raw_key, value in cursor:
            key = bytes(raw_key)
            data = unseal(key, bytes(value))
            if not key.startswith(LOG) and key != SUMMARY_KEY and data is not None:
                table, _, name = key.partition(b"\x00")
                writes.append(Put(table.decode(), name, data))
    schema = reader.summary().schema
    reader.close()
    shutil.rmtree(target)
    store = Store.open(target, schema=schema)
    store.commit(writes)
    store.close()
    return copy


def first_of(found: Replayed) -> Difference:
    """Give the first difference, which there is."""
    assert found.first is not None
    return found.first


# --- equal ----------------------------------------------------------------------------------------


def test_a_desk_decides_the_same_again_byte_for_byte_and_its_folder_is_left_alone(state: Path) -> None:
    before = contents(state)

    found = replayed(state)

    assert found.changed == ()
    assert (found.left_out, found.stopped, found.taken) == ({}, "", 0)
    assert {one.name: one.bars for one in found.strategies} == {"own": FIVES, "spy_ema": EVENTS, "spy_vwap": EVENTS}
    assert {(one.missed, one.left_out, one.code) for one in found.strategies} == {(0, "", "")}
    assert found.intents == found.verdicts > 0
    assert found.records == found.journal == len(records(state))
    assert contents(state) == before


def test_a_stop_that_was_reached_while_an_exit_waited_for_its_price_is_replayed(tmp_path: Path) -> None:
    closes = (100.0, 100.5, 101.0, 97.0, 96.0, 96.5, 97.5)
    rows = [f"{number * 60 * 10**9},{price},{price},{price},{price},100" for number, price in enumerate(closes, 1)]
    file = tmp_path / "SPY.csv"
    file.write_text("\n".join(("ts_ns,open,high,low,close,volume", *rows)) + "\n", encoding="utf-8")
    with Desk(tmp_path / "desk", configuration([own_entry("waiting", "own", "SPY")], {"SPY": file})) as desk:
        own_strategies(desk.folder)
        desk.run()
        trades = [(trade["exit_reason"], trade["exit_price"]) for trade in desk.trades()]

    assert trades == [("STOP_LOSS", "95.95200")], "the open behind the bar that reached it, less slippage"
    found = replayed(desk.state)
    assert (found.changed, found.records) == ((), len(records(desk.state)))


def test_a_desk_that_was_started_twice_before_anything_happened_is_replayed(tmp_path: Path) -> None:
    files = write_market(tmp_path, EVENTS, symbols=("SPY",))
    with Desk(tmp_path / "desk", configuration(ENTRIES[:1], files, speed="1")) as desk:
        for _ in range(2):
            desk.start().until_up()
            os.kill(desk.root_pid, signal.SIGTERM)
            assert desk.wait() == 0

    found = replayed(desk.state)

    assert (found.changed, found.records) == ((), 1)


def test_up_to_a_record_or_a_time_the_books_are_those_of_then(state: Path) -> None:
    journal = records(state)
    bought = next(each for each in journal if isinstance(each.body, FillBooked))

    at_record = replayed(state, until=bought.sequence)
    at_time = replayed(state, until_ns=bought.body.ts_ns)

    assert (at_record.journal, at_record.changed) == (bought.sequence, ())
    assert at_record.state["positions"] == positions_view(journal[: bought.sequence])
    assert [order["strategy"] for order in at_record.state["working"]] != []
    assert at_time.journal >= bought.sequence
    assert at_time.at_ns == bought.body.ts_ns
    assert at_time.state["positions"] == positions_view(journal[: at_time.journal])
    assert set(at_time.state["limits"]) == {"", "spy_vwap", "spy_ema", "own"}


# --- different ------------------------------------------------------------------------------------


def test_a_strategy_that_would_want_something_else_today_is_named_with_bar_and_both_sides(
    state: Path, tmp_path: Path
) -> None:
    def look_further_back(data: bytes) -> bytes:
        chapter = msgspec.msgpack.decode(data, type=Chapter | Evaluated)
        assert isinstance(chapter, Chapter)
        told = read_arguments(chapter.arguments)
        entry = msgspec.structs.replace(told.entry, parameters={"look_back": 4})
        arguments = msgspec.msgpack.encode(msgspec.structs.replace(told, entry=entry))
        return msgspec.msgpack.encode(msgspec.structs.replace(chapter, arguments=arguments))

    found = replayed(tampered(state, tmp_path, "strategies/own", look_further_back))

    assert {each.who for each in found.changed} == {"own"}
    assert {each.what for each in found.changed} == {"intent"}
    assert [one.differences > 0 for one in found.strategies] == [True, False, False]
    first = first_of(found)
    assert first.at.startswith("bar 24 (SPY 5m 2024-01-08 14:45:00, ")
    assert first.recorded is not None
    assert first.recorded["effect"] == "OPEN"
    assert first.replayed is None
    assert found.records == found.journal


def test_a_verdict_that_the_figures_do_not_give_is_named(state: Path, tmp_path: Path) -> None:
    def halve(data: bytes) -> bytes:
        judged = msgspec.msgpack.decode(data, type=LimitsTold | Judgement)
        if not isinstance(judged, Judgement):
            return data
        verdicts = tuple(
            msgspec.structs.replace(each, quantity=each.quantity / 2) if each.intent.strategy == "spy_vwap" else each
            for each in judged.verdicts
        )
        return msgspec.msgpack.encode(msgspec.structs.replace(judged, verdicts=verdicts))

    found = replayed(tampered(state, tmp_path, "risk", halve))

    first = first_of(found)
    assert (first.what, first.who, first.fields) == ("verdict", "spy_vwap", ("quantity",))
    assert any("last prices: SPY" in side.text for side in first.before)
    assert {each.who for each in found.changed} == {"spy_vwap"}
    assert "execution was compared up to record" in found.stopped


def test_a_record_that_does_not_follow_is_named_with_what_led_there(state: Path, tmp_path: Path) -> None:
    filled = next(
        each for each in records(state)
        if isinstance(each.body, OrderChanged) and each.body.order.state is OrderState.FILLED
    )  # fmt: skip

    def cheaper(data: bytes) -> bytes:
        record = CODEC.decode(data)
        if record.sequence != filled.sequence:
            return data
        order = msgspec.structs.replace(record.body.order, average_price=record.body.order.average_price - 1)
        return CODEC.encode(msgspec.structs.replace(record, body=msgspec.structs.replace(record.body, order=order)))

    found = replayed(tampered(state, tmp_path, "execution", cheaper))

    orders = [each for each in found.changed if each.what == "order"]
    assert [(each.journal, each.fields) for each in orders] == [(filled.sequence - 1, ("order.average_price",))]
    assert f"record {filled.sequence - 1}:" in orders[0].before[-1].text
    assert found.records == filled.sequence - 1


# --- what if --------------------------------------------------------------------------------------


def test_what_if_a_limit_had_been_lower_names_the_verdicts_that_change_and_stops_at_the_first(state: Path) -> None:
    said = bulkhead("replay", "--set", "global.risk.max_position_size_usd=450", "--json", state=state)

    assert said.code == 1, said.err
    changed = said.json["changed"]
    assert {(each["what"], each["who"]) for each in changed} == {("verdict", "own")}
    assert all(each["replayed"]["reasons"][0].startswith("POSITION_LIMIT") for each in changed)
    assert said.json["first"] == changed[0]
    assert said.json["records"] == changed[0]["journal"]
    assert said.json["state"]["limits"][""] == {"max_position_size_usd": "450"}


def test_what_changes_is_shown_with_what_was_asked_for_and_where_the_comparison_ends(state: Path) -> None:
    asked = Asked(limits={"own": {"max_order_notional_usd": 1}}, until=len(records(state)))
    with consistent_copy(state, Clock()) as copy:
        text = replay_text(replay(copy, asked), asked)

    assert "what if: strategies.own.risk_config.max_order_notional_usd = 1\n" in text
    assert "behind it the desk would have gone another way\n" in text
    assert "first difference: verdict of own, OPEN BUY SPY at 2024-01-08 " in text
    assert "none -> SIZE: " in text
    assert "decisions that change\n  verdict of own" in text
    assert text.endswith("  own: max_order_notional_usd 1")


def test_what_if_a_parameter_had_been_another_judges_each_bar_on_the_positions_that_there_were(state: Path) -> None:
    found = replayed(state, parameters={"own": {"look_back": 50}})

    assert {(each.what, each.who) for each in found.changed} == {("intent", "own")}
    early = [each for each in found.changed if each.recorded is not None and each.replayed is None]
    assert len(early) > 3, "it wanted nothing for 50 bars"
    assert found.strategies[1].differences == found.strategies[2].differences == 0


# --- code -----------------------------------------------------------------------------------------


def test_the_code_of_then_is_replayed_and_that_todays_is_another_is_said(state: Path) -> None:
    file = state.parent / "strategies" / "judge.py"
    text = file.read_text(encoding="utf-8")
    try:
        file.write_text(text.replace("self.closes[-1] > self.closes[0]", "self.closes[-1] < self.closes[0]"))
        pinned, today = replayed(state), replayed(state, is_today=True)
    finally:
        file.write_text(text)

    assert pinned.changed == ()
    assert "the one that it ran is replayed" in pinned.strategies[0].code
    assert {each.who for each in today.changed} == {"own"}
    assert "today's is replayed" in today.strategies[0].code


def test_code_that_is_gone_is_asked_for_by_name(state: Path, tmp_path: Path) -> None:
    copy = tmp_path / "var"
    shutil.copytree(state, copy, ignore=shutil.ignore_patterns("code"))

    with pytest.raises(
        ReplayError, match=r"own: the code that it ran \(\w+\) is not in the state folder .* --code today"
    ):
        replayed(copy)


# --- what cannot be replayed ----------------------------------------------------------------------


def test_a_folder_on_which_no_desk_ran_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(ReplayError, match="has a desk ever run on"):
        replayed(tmp_path)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"until": 10**9}, "there is no record 1000000000; the journal has the records 1 to"),
        ({"parameters": {"nobody": {"x": 1}}}, "there is no strategy nobody; there are own, spy_ema, spy_vwap"),
        ({"parameters": {"own": {"look_bakc": 1}}}, "own: its code does not take these parameters: .*look_bakc"),
        ({"limits": {"": {"max_posiitons": 1}}}, "global.risk does not take max_posiitons"),
    ],
)
def test_what_is_asked_for_wrongly_is_named(state: Path, asked: dict[str, Any], words: str) -> None:
    with pytest.raises(ReplayError, match=words):
        replayed(state, **asked)


def test_a_damaged_store_is_named_with_its_record(state: Path, tmp_path: Path) -> None:
    copy = tmp_path / "var"
    shutil.copytree(state, copy)
    file = store_path(copy, MARKET_DATA) / "data.mdb"
    data = bytearray(file.read_bytes())
    reader = Reader.open(store_path(state, MARKET_DATA))
    record = reader.record(7)
    reader.close()
    assert record is not None
    place = data.find(record)
    while place >= 0:  # of each copy of the page
        data[place + len(record) // 2] ^= 1
        place = data.find(record)
    file.write_bytes(data)

    with pytest.raises(StoreError, match="broken at record 7"):
        replayed(copy)


# --- falls and a real market ----------------------------------------------------------------------


@pytest.mark.slow
def test_after_falls_of_every_process_and_of_the_whole_desk_it_decides_the_same_again(tmp_path: Path) -> None:
    files = write_market(tmp_path, 480)
    entries = [*FIVE, ema("slow_ema", "SPY", "5m")]
    told = configuration([each + PATIENT for each in entries], files, more=PATIENT_ROOMS, speed="3600")
    paths = ("execution", "risk", "venues/paper", "strategies/spy_a", "market_data", "strategies/btc_ema")
    with Desk(tmp_path / "desk", told) as desk:
        desk.start().until_up()
        for number, path in enumerate(paths):
            until_step(desk, 40 + 40 * number)
            kill_again(desk, path)
        os.kill(desk.root_pid, signal.SIGKILL)
        desk.process = desk.process if desk.wait() else None
        desk.start().until_up()
        desk.ask("disable", name="qqq", position="hold")
        until_step(desk, market_step(desk) + 30)
        desk.ask("enable", name="qqq")
        assert desk.wait() == 0, desk.said()

    found = replayed(desk.state)

    assert found.changed == ()
    assert found.left_out == {}
    assert found.records == found.journal
    assert sum(one.missed for one in found.strategies) > 0


@pytest.mark.slow
def test_a_real_market_is_replayed_to_the_same_decisions(tmp_path: Path) -> None:
    file = real_data() / "bars" / "SPY_1m_2019-02_eqker.csv.gz"
    with Desk(tmp_path / "desk", configuration((vwap("vwap", "SPY"), ema("ema", "SPY", "5m")), {"SPY": file})) as desk:
        desk.run()

    found = replayed(desk.state)

    assert found.changed == ()
    assert found.verdicts > 0
    assert found.records == found.journal
