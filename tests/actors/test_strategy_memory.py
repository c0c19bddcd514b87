"""A strategy that fell goes on as if it had not: the same views, the same intents, to the last byte."""

import tempfile
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar, cast

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from typing_extensions import override

from actors.strategy import EntryChangedError
from actors.strategy_memory import BOOK, NOW, TABLE, TRADES, Kept, Memory, copied, sealed, unsealed
from actors.strategy_parameters import changes, in_force_next
from desk.messages import Bar, OrderState
from desk.portfolio import Ledger, Position
from desk.units import ONE
from runtime.effects import Delete, Put
from runtime.log import Log, let_go
from runtime.store import Store
from strategies.base import Action, Decision, NoTrade, NoTradeCode, Signal, View
from tests.actors.lone_strategy import SYMBOLS, Chronicler, ChroniclerParameters, Lone, Outcome

FALLS = ("", "", "before", "heard", "uncommitted", "unsent")


def run(seed: int, falls: list[str], *, is_stepped: bool, hears_strays: bool = False) -> Outcome:
    with tempfile.TemporaryDirectory() as folder:
        lone = Lone(Path(folder), seed, is_stepped=is_stepped, hears_strays=hears_strays)
        for fall in falls:
            lone.step(fall)
        outcome = lone.outcome()
        lone.close()
    return outcome


@given(
    seed=st.integers(0, 2**32),
    falls=st.lists(st.sampled_from(FALLS), min_size=1, max_size=60),
    is_stepped=st.booleans(),
    hears_strays=st.booleans(),
)
@example(seed=139, falls=[""] * 6 + ["heard"], is_stepped=False, hears_strays=True)
@example(seed=7203, falls=["", "", "heard"], is_stepped=False, hears_strays=True)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_strategy_that_falls_anywhere_is_told_and_wants_the_same_as_one_that_never_fell(
    seed: int, falls: list[str], is_stepped: bool, hears_strays: bool
) -> None:
    calm = run(seed, [""] * len(falls), is_stepped=is_stepped)

    fallen = run(seed, falls, is_stepped=is_stepped, hears_strays=hears_strays)

    assert fallen == calm


@pytest.mark.parametrize("fall", ["before", "heard", "uncommitted", "unsent"])
def test_answers_that_a_predecessor_asked_for_teach_its_successor_nothing_wrong(fall: str) -> None:
    falls = ["", "", "", fall] * 8
    calm = run(5, [""] * len(falls), is_stepped=True)

    assert run(5, falls, is_stepped=True, hears_strays=True) == calm


# --- what cannot be gone on from ------------------------------------------------------------------


@pytest.fixture
def lone(tmp_path: Path) -> Iterator[Lone]:
    """Give a strategy that has traded for a while on a stepped market."""
    lone = Lone(tmp_path, 3, is_stepped=True)
    for _ in range(40):
        lone.step()
    yield lone
    lone.close()


def spoil(lone: Lone, key: bytes, data: bytes | None) -> None:
    assert lone.store is not None
    lone.store.commit([Delete(TABLE, key) if data is None else Put(TABLE, key, data)])


def kept(lone: Lone) -> Kept:
    assert lone.store is not None
    data = lone.store.get(TABLE, NOW)
    assert data is not None
    return unsealed(data, Kept)


def flipped(lone: Lone, key: bytes) -> bytes:
    assert lone.store is not None
    data = lone.store.get(TABLE, key)
    assert data is not None
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def folded(lone: Lone) -> tuple[str, list[Position]]:
    """Fold the journal independently: profit and positions."""
    ledger = Ledger()
    for record in lone.journal:
        ledger.apply(record.body)
    return str(ledger.realised), list(ledger.positions.values())


def money(lone: Lone) -> tuple[str, list[Position]]:
    return lone.evaluator.facts()["pnl"], list(lone.evaluator._book.positions)


SPOILT: dict[str, tuple[Callable[[Lone], tuple[bytes, bytes | None]], str]] = {
    "one bit of the state": (lambda lone: (NOW, flipped(lone, NOW)), "now is damaged"),
    "one bit of the book": (lambda lone: (BOOK, flipped(lone, BOOK)), "book is damaged"),
    "one bit of the trades": (lambda lone: (TRADES, flipped(lone, TRADES)), "trades is damaged"),
    "a book that is gone": (lambda _: (BOOK, None), "its book is missing"),
    "an empty state": (lambda _: (NOW, b""), "now is damaged"),
    "what an older desk kept": (lambda _: (NOW, msgspec.msgpack.encode([{"SPY/1m": 1}, 0, {}])), "now is damaged"),
    "another shape": (lambda _: (NOW, sealed([1, 2])), "now is of another version of the desk"),
    "a later version": (
        lambda lone: (NOW, sealed(msgspec.structs.replace(kept(lone), version=99))),
        "now is of version 99, and this is 2",
    ),
    "a state of another time": (
        lambda lone: (NOW, sealed(msgspec.structs.replace(kept(lone), journal_sequence=1))),
        "its state of record 1",
    ),
    "a state that the strategy refuses": (
        lambda lone: (NOW, sealed(msgspec.structs.replace(kept(lone), state={"digest": ""}))),
        "load_state raised KeyError: 'told'",
    ),
}


@pytest.mark.parametrize("name", SPOILT)
def test_a_memory_that_does_not_hold_is_left_aside_and_everything_is_folded_anew(name: str, lone: Lone) -> None:
    make, says = SPOILT[name]
    bars = lone.evaluator.facts()["bars_evaluated"]
    spoil(lone, *make(lone))

    lone.fall()

    facts = lone.evaluator.facts()
    assert says in facts["rebuilt_reason"]
    assert (facts["rebuilt"], facts["bars_evaluated"], facts["bars_missed"]) == (1, 0, 0)
    lone.step()
    facts = lone.evaluator.facts()
    assert (facts["bars_evaluated"], facts["bars_missed"]) == (1, bars)
    assert money(lone) == folded(lone)


class SpeechlessError(Exception):
    """An error that cannot say what it is about."""

    @override
    def __str__(self) -> str:
        msg = "no words"
        raise ValueError(msg)


class Refusing(Chronicler):
    """Refuses what it gave, and does not say why."""

    @override
    def load_state(self, state: dict[str, Any]) -> None:
        raise SpeechlessError


def test_a_state_that_is_refused_without_words_is_left_aside_as_any_other(tmp_path: Path) -> None:
    lone = Lone(tmp_path, 1, is_stepped=True, kind=Refusing)
    lone.step()

    lone.fall()

    assert "load_state raised SpeechlessError" in lone.evaluator.facts()["rebuilt_reason"]
    lone.close()


class Forgetful(Chronicler):
    """Gives a state that could not be given back."""

    state: ClassVar[object] = {}

    @override
    def get_state(self) -> dict[str, Any]:
        return cast("dict[str, Any]", self.state)


@pytest.mark.parametrize(
    ("state", "says"),
    [([1], "a list"), (None, "a NoneType"), ({1: 2}, "a dict with a key that is no text")],
    ids=["a list", "nothing", "a number as key"],
)
def test_a_state_that_could_not_be_given_back_falls_at_once_and_is_not_kept(
    tmp_path: Path, state: object, says: str
) -> None:
    lone = Lone(tmp_path, 1, is_stepped=True, kind=type("Told", (Forgetful,), {"state": state}))

    with pytest.raises(TypeError, match=f"get_state gave {says}; write a dict with texts as keys"):
        lone.step()

    assert lone.store is not None
    assert lone.store.get(TABLE, NOW) is None
    lone.store.close()


@pytest.mark.parametrize(
    ("value", "kind", "plain"),
    [
        (Decimal("1.5"), "Decimal", "1.5"),
        ({1}, "set", [1]),
        (OrderState.FILLED, "OrderState", "FILLED"),
        ({Decimal(1): 2}, "Decimal", {"1": 2}),
    ],
    ids=["money", "a set", "a word of an enumeration", "money as a key"],
)
def test_a_state_that_comes_back_as_something_else_is_kept_and_the_log_names_it_once(
    tmp_path: Path, value: object, kind: str, plain: object
) -> None:
    state: dict[str, Any] = {"days": [{"of": ("SPY", 1)}, {"of": value}]}
    lone = Lone(tmp_path, 1, is_stepped=True, kind=type("Told", (Forgetful,), {"state": state}))
    Log.open(tmp_path / "log", "lone", "INFO")

    lone.step()
    lone.step()

    let_go()
    assert lone.store is not None
    kept = unsealed(lone.store.get(TABLE, NOW) or b"", Kept)
    lone.store.close()
    told = [line for line in (tmp_path / "log" / "lone.log").read_text().splitlines() if "state.converted" in line]
    assert kept.state == {"days": [{"of": ["SPY", 1]}, {"of": plain}]}
    assert [f'"kind":"{kind}"' in line for line in told] == [True]


class Wordless(Chronicler):
    """Answers with what is no decision."""

    answer: ClassVar[object] = None

    @override
    def on_bar(self, bar: Bar, view: View) -> Decision:
        return cast("Decision", self.answer)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (None, "on_bar gave a NoneType; give a tuple of Signal"),
        ("BUY", "on_bar gave a str; give a tuple of Signal"),
        ((1,), "on_bar, in its answer, gave a int; give a tuple of Signal"),
        (NoTrade(cast("NoTradeCode", None)), "on_bar gave a NoTrade with a NoneType for its code; give a NoTradeCode"),
    ],
    ids=["nothing", "a word", "a number among signals", "no reason"],
)
def test_an_answer_that_is_no_decision_falls_at_once_and_says_what_to_give(
    tmp_path: Path, answer: object, says: str
) -> None:
    lone = Lone(tmp_path, 1, is_stepped=True, kind=type("Told", (Wordless,), {"answer": answer}))

    with pytest.raises(TypeError, match=says):
        lone.step()

    assert lone.store is not None
    lone.store.close()


def test_a_memory_that_was_rebuilt_is_whole_again(lone: Lone) -> None:
    spoil(lone, NOW, b"")
    lone.fall()
    for _ in range(5):
        lone.step()
    told = lone.outcome()

    lone.fall()

    assert lone.outcome().state == told.state
    assert lone.evaluator.facts()["rebuilt"] == 1
    assert lone.evaluator.facts()["rebuilt_reason"] == ""


def test_a_memory_ahead_of_the_journal_is_not_believed(lone: Lone) -> None:
    lone.lose_records(3)

    lone.fall()

    assert "of a journal that ends at" in lone.evaluator.facts()["rebuilt_reason"]
    lone.step()
    assert lone.evaluator.journal_sequence <= lone.journal[-1].sequence


def test_what_another_module_kept_waits_until_that_one_comes_back(lone: Lone) -> None:
    until(lone, is_flat=True)
    before = lone.outcome().state
    lone.module = "another"
    lone.fall()
    for _ in range(3):
        lone.step()
    between = lone.evaluator.facts()

    until(lone, is_flat=True)
    lone.module = "chronicler"
    lone.fall()

    assert between["rebuilt_reason"] == "it was kept by chronicler 1m 1, and this is another 1m 1"
    assert lone.evaluator.facts()["rebuilt_reason"] == ""
    told = lone.evaluator._strategy.get_state()["told"]
    assert told[: len(before["told"])] == before["told"]
    lone.step()
    state = lone.outcome().state
    lone.fall()
    assert lone.outcome().state == state


class Eager(Chronicler):
    """Wants a piece of one symbol with each bar of it that is not decided yet."""

    @override
    def on_bar(self, bar: Bar, view: View) -> Decision:
        if bar.symbol != SYMBOLS[0] or bar.symbol in view.entry_pending:
            return NoTrade(NoTradeCode.NO_SIGNAL)
        return (Signal(symbol=bar.symbol, action=Action.BUY, quantity=ONE, stop_loss=ONE),)


def test_what_nobody_has_heard_of_a_former_symbol_is_not_opened_any_more(tmp_path: Path) -> None:
    lone = Lone(tmp_path, 1, is_stepped=False, kind=Eager)
    lone.step("unsent")
    wanted = lone.evaluator.facts()["intents_waiting"]
    lone._intents.clear()

    lone.symbols, lone.flat_at = SYMBOLS[1:], 0  # execution knows of nothing that it holds or wants
    lone.fall()

    assert (wanted, lone._intents) == (1, {})
    assert lone.evaluator.is_flat
    lone.close()


def become_another_module(lone: Lone) -> None:
    lone.module = "another"


def come_back_to_the_symbol(lone: Lone) -> None:
    """Trade another symbol alone for a bar, and the former one again."""
    both, lone.symbols = lone.symbols, lone.symbols[1:]
    lone.fall()
    lone._bars.append(msgspec.structs.replace(lone._bars[-1], sequence=3))
    lone.fall()
    lone.symbols = both


def lose_its_memory(lone: Lone) -> None:
    spoil(lone, NOW, flipped(lone, NOW))


@pytest.mark.parametrize("happens", [become_another_module, come_back_to_the_symbol, lose_its_memory])
def test_a_bar_on_which_a_life_before_decided_is_not_decided_again_by_one_that_knows_nothing_of_it(
    tmp_path: Path, happens: Callable[[Lone], None]
) -> None:
    lone = Lone(tmp_path, 1, is_stepped=False, kind=Eager)
    lone.step()
    (intent,) = lone._intents
    lone._due = {2: [(intent, 0, "reject")]}
    lone.step()
    first = lone._bars[0]
    lone._bars[1] = msgspec.structs.replace(lone._bars[1], ts_ns=first.ts_ns, end_ns=first.end_ns)  # none is old

    happens(lone)
    lone.fall()

    assert lone.evaluator.is_flat, "nobody would answer the same intent again"
    for _ in SYMBOLS:
        lone.step()
    assert len(lone._intents) == 2, "the next bar is decided as ever"
    lone.close()


# --- parameters -----------------------------------------------------------------------------------


def change(lone: Lone, **values: Any) -> None:
    lone.parameters = msgspec.structs.replace(lone.parameters, **values)


def until(lone: Lone, *, is_flat: bool) -> None:
    for _ in range(300):
        if lone.evaluator.is_flat is is_flat:
            return
        lone.step()
    msg = f"never came to is_flat={is_flat}"
    raise AssertionError(msg)


def in_force(lone: Lone) -> Any:
    return lone.evaluator._strategy.parameters


def test_a_live_parameter_holds_from_the_next_bar_on_and_another_waits_until_flat(lone: Lone) -> None:
    until(lone, is_flat=False)
    change(lone, note="new", one_in=5)
    lone.fall()
    first = lone.evaluator.facts()["pending_parameters"]

    lone.step()

    assert first == {"one_in": 5, "note": "new"}
    assert (in_force(lone).note, in_force(lone).one_in) == ("new", 3)
    assert lone.evaluator.facts()["pending_parameters"] == {"one_in": 5}
    for _ in range(300):
        if not lone.evaluator.facts()["pending_parameters"]:
            break
        lone.step()
    assert in_force(lone).one_in == 5
    assert lone.outcome().state["flat_with"]["5"]
    assert lone.outcome().state["told"].count("parameters") == 2


def test_a_fall_makes_no_waiting_parameter_hold_and_does_not_say_a_change_twice(lone: Lone) -> None:
    until(lone, is_flat=False)
    change(lone, note="new", one_in=5)

    for fall in ("before", "uncommitted", "unsent", "heard"):
        lone.step(fall)

    state = lone.outcome().state
    assert state["flat_with"].get("5", True)
    assert state["told"].count("parameters") == 1 + ("5" in state["flat_with"])


def test_a_memory_left_aside_leaves_the_parameters_in_force(lone: Lone) -> None:
    until(lone, is_flat=False)
    change(lone, one_in=5)
    spoil(lone, NOW, b"")

    lone.fall()

    assert in_force(lone).one_in == 3


def test_a_running_strategy_takes_changed_parameters_as_one_that_is_started_with_them(lone: Lone) -> None:
    until(lone, is_flat=False)
    change(lone, note="new", one_in=5)

    lone.reconfigure()

    assert in_force(lone).note == ""
    lone.step()
    assert (in_force(lone).note, in_force(lone).one_in) == ("new", 3)
    state = lone.outcome().state
    lone.fall()
    assert lone.outcome().state == state
    assert lone.evaluator.facts()["pending_parameters"] == {"one_in": 5}


def test_parameters_that_the_running_code_does_not_take_change_nothing_and_are_named(lone: Lone) -> None:
    lone.unknown = {"window": 7}

    lone.reconfigure()
    running = lone.evaluator.facts()["refused_parameters"]
    lone.fall()

    assert "unknown field `window`" in running
    assert lone.evaluator.facts()["refused_parameters"] == running
    lone.step()
    assert in_force(lone) == ChroniclerParameters()


# --- becoming another strategy --------------------------------------------------------------------


def test_other_symbols_wait_until_nothing_is_held_and_then_ask_for_the_restart_once(lone: Lone) -> None:
    until(lone, is_flat=False)
    lone.symbols = ("SPY",)
    lone.reconfigure()
    waits = lone.room.facts()["waits_to_become"]

    for _ in range(300):
        assert not lone.wants_restart or lone.evaluator.is_flat
        if lone.wants_restart:
            break
        lone.step()

    assert waits == "symbols SPY,QQQ become SPY"
    bars = lone.evaluator.facts()["bars_evaluated"]
    lone.fall()
    assert lone.evaluator.facts()["bars_evaluated"] == bars
    assert set(lone.evaluator.last) == {"SPY/1m"}
    assert lone.room.facts()["waits_to_become"] == ""


def test_a_turn_that_was_begun_for_whoever_bore_the_name_before_holds_nobody_up(lone: Lone) -> None:
    until(lone, is_flat=False)
    lone.symbols = ("SPY",)
    lone.reconfigure()
    while not lone.wants_restart:
        lone.step()
    lone.fall()
    met = lone.evaluator.facts()["bars_evaluated"]

    lone.offer_what_is_none_of_its_own()

    assert lone.evaluator.facts()["bars_evaluated"] == met
    assert set(lone.evaluator.last) == {"SPY/1m"}


def test_a_strategy_that_falls_while_it_waits_to_become_another_holds_on_and_asks_when_it_is_flat(
    lone: Lone,
) -> None:
    until(lone, is_flat=False)
    lone.symbols = ("SPY",)
    lone.reconfigure()

    lone.fall()

    assert set(lone.evaluator.last) == {"SPY/1m", "QQQ/1m"}
    assert lone.room.facts()["waits_to_become"] == "symbols SPY,QQQ become SPY"
    while not lone.wants_restart:
        lone.step()
    with pytest.raises(EntryChangedError, match="symbols SPY,QQQ become SPY"):
        lone.room.timer("leave")
    lone.fall()
    assert set(lone.evaluator.last) == {"SPY/1m"}


def test_one_that_has_become_another_strategy_falls_as_that_one(lone: Lone) -> None:
    until(lone, is_flat=True)
    lone.symbols = SYMBOLS[::-1]
    lone.fall()
    lone.step()
    until(lone, is_flat=False)

    lone.fall()

    assert lone.room.facts()["waits_to_become"] == ""


def test_one_that_waits_to_become_another_runs_the_code_that_it_had_last(lone: Lone) -> None:
    for code in ("old", "new"):
        lone.code = code
        lone.fall()
        lone.step()
    until(lone, is_flat=False)
    lone.symbols = ("SPY",)

    lone.fall()

    assert lone.room.facts()["waits_to_become"] == "symbols SPY,QQQ become SPY"
    assert lone.evaluator.facts()["code"] == "new"


def test_a_change_that_is_taken_back_leaves_the_strategy_as_it_is(lone: Lone) -> None:
    until(lone, is_flat=False)
    lone.symbols = ("SPY",)
    lone.reconfigure()
    lone.symbols = SYMBOLS
    lone.reconfigure()

    for _ in range(40):
        lone.step()

    assert not lone.wants_restart
    assert lone.room.facts()["waits_to_become"] == ""


def test_parameters_that_only_fit_together_wait_together() -> None:
    old, new = Window(start=1, end=5), Window(start=7, end=9)

    mixed = in_force_next(old, new, frozenset({"start"}), is_flat=False)

    assert mixed is old
    assert in_force_next(old, new, frozenset({"start", "end"}), is_flat=False) == new
    assert in_force_next(old, new, frozenset(), is_flat=True) is new
    assert changes(old, new) == ("start", "end")


class Window(msgspec.Struct, frozen=True):
    start: int
    end: int

    def __post_init__(self) -> None:
        if self.start > self.end:
            msg = "it ends before it begins"
            raise ValueError(msg)


# --- a copy ---------------------------------------------------------------------------------------


def test_a_copy_is_of_one_moment_while_the_strategy_evaluates_on(lone: Lone, tmp_path: Path) -> None:
    assert lone.store is not None
    before = kept(lone)
    reading = iter(copied(lone.store))
    writes = [next(reading)]
    while kept(lone).journal_sequence == before.journal_sequence:
        lone.step()
    writes += reading
    copy = Store.open(tmp_path / "copy", is_synced=False, map_bytes=64 << 20)
    copy.commit(writes)

    recalled = Memory(copy, before.maker).recall()

    assert recalled is not None
    assert recalled.kept == before
    copy.close()
