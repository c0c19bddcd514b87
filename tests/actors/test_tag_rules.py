"""Which position a signal speaks of, and the same again when its bar is evaluated again."""

from decimal import Decimal, localcontext
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from typing_extensions import override

from actors.evaluator import Evaluator
from actors.settings import StrategySettings
from actors.strategy_arguments import StrategyArguments
from actors.tag_rules import aims, auto_number, auto_tag
from actors.words import desk_codec
from desk.identity import order_id
from desk.messages import Bar, Effect, FillBooked, Intent, JournalRecord, OrderChanged, OrderState, Purpose, Side
from desk.order import order_from_judgement
from desk.portfolio import Position
from desk.units import MINUTE_NS, ONE, ZERO
from runtime.effects import Effects
from runtime.log import Log
from runtime.store import Store
from strategies.base import Action, Decision, NoTrade, NoTradeCode, Signal, Strategy, View
from tests.desk.orders import a_judgement


def held(tag: str, symbol: str = "BTC/USD", quantity: int = 2) -> Position:
    return Position("scripted", symbol, tag, Decimal(quantity), Decimal(100), ZERO, 0)


def a_signal(action: Action, tag: str = "", **more: Any) -> Signal:
    return Signal(symbol="BTC/USD", action=action, tag=tag, **more)


HELD = (held("other", "ETH/USD"), held("b"), held("a"), held(""))


@pytest.mark.parametrize(
    ("signal", "tags"),
    [
        (a_signal(Action.BUY), ["auto_BTCUSD_007"]),
        (a_signal(Action.BUY, "a"), ["a"]),
        (a_signal(Action.BUY, "new"), ["new"]),
        (a_signal(Action.SELL), ["b"]),
        (a_signal(Action.SELL, "a"), ["a"]),
        (a_signal(Action.CLOSE), ["b", "a", ""]),
        (a_signal(Action.CLOSE, "a"), ["a"]),
        (a_signal(Action.CLOSE, "nobody"), ["nobody"]),
        (a_signal(Action.MODIFY, "a"), ["a"]),
    ],
)
def test_a_signal_speaks_of_the_positions_that_its_tag_means(signal: Signal, tags: list[str]) -> None:
    found = aims(signal, HELD, 7)

    assert [aim.tag for aim in found] == tags
    assert len({aim.part for aim in found}) == len(found)


@pytest.mark.parametrize("action", [Action.SELL, Action.CLOSE])
def test_whoever_holds_nothing_speaks_of_nothing(action: Action) -> None:
    assert [(aim.tag, aim.position) for aim in aims(a_signal(action), HELD[:1], 1)] == [("", None)]


@given(st.text(), st.text(), st.integers(1, 5000))
def test_a_made_tag_has_its_number_and_no_other_tag_has_one(symbol: str, tag: str, number: int) -> None:
    made = auto_tag(symbol, number)

    assert auto_number(symbol, made) == number
    assert auto_number(symbol, tag) == 0 or auto_tag(symbol, auto_number(symbol, tag)) == tag or tag.startswith("auto_")


# --- a strategy that says what it is told ---------------------------------------------------------


class Parameters(msgspec.Struct, frozen=True):
    """Nothing to set."""


class Scripted(Strategy):
    """Answers each bar with the next line of a script."""

    Parameters = Parameters
    script: tuple[tuple[Signal, ...], ...] = ()

    @override
    def on_bar(self, bar: Bar, view: View) -> Decision:
        return self.script[bar.sequence - 1] or NoTrade(NoTradeCode.NO_SIGNAL)


def evaluator(store: Store, *script: tuple[Signal, ...]) -> Evaluator:
    kind = type("Scripted", (Scripted,), {"script": script})
    entry = StrategySettings(name="scripted", symbols=("BTC/USD",), strategy="scripted")
    made = Evaluator(kind, StrategyArguments(entry, Decimal(1000), True, ""), 1, store, Log("strategies/scripted"))
    effects = Effects()
    made.recall(effects)
    store.commit(effects.writes)
    return made


def evaluate(made: Evaluator, store: Store, number: int, *, is_kept: bool = True) -> list[Intent]:
    """Evaluate one bar; give what was sent to risk. A fall before the commit keeps nothing."""
    effects = Effects()
    ts_ns = number * MINUTE_NS
    bar = Bar("BTC/USD", "1m", ts_ns, ts_ns + MINUTE_NS, 100, 100, 100, 100, 1, sequence=number)
    made.evaluate_bar(bar, effects, is_live=True)
    if is_kept:
        store.commit(effects.writes)
    return [post.word for post in effects.posts if isinstance(post.word, Intent)]


class Records:
    """Execution, as far as a strategy sees it: every entry fills at once, every other order is refused."""

    def __init__(self, quantity: Decimal = ONE) -> None:
        self._told: list[JournalRecord] = []
        self._quantity = quantity

    def tell_again(self, made: Evaluator) -> None:
        """Give a successor what it had not kept."""
        for record in self._told:
            if record.sequence > made.journal_sequence:
                made.take(record)

    def answer(self, made: Evaluator, intents: list[Intent]) -> None:
        for intent in intents:
            judged = replace(a_judgement(), intent=intent, order_id=order_id(intent.intent_id), quantity=self._quantity)
            is_entry = intent.effect is Effect.OPEN
            order = order_from_judgement(judged, Purpose.ENTRY if is_entry else Purpose.EXIT, ts_ns=1)
            if not is_entry:
                self._tell(made, OrderChanged(replace(order, state=OrderState.REJECTED), "", "risk", 1))
                continue
            self._tell(made, OrderChanged(order, "", "risk", 1))
            self._tell(made, replace(_fill(intent, order.order_id), quantity=self._quantity))

    def _tell(self, made: Evaluator, body: OrderChanged | FillBooked) -> None:
        self._told.append(JournalRecord(len(self._told) + 1, 0, body))
        made.take(self._told[-1])


def _fill(intent: Intent, order: str) -> FillBooked:
    return FillBooked(
        order,
        order,
        intent.strategy,
        intent.symbol,
        intent.tag,
        Purpose.ENTRY,
        Side.BUY,
        Decimal(1),
        Decimal(100),
        ZERO,
        1,
        "",
        stop_loss=intent.stop_loss,
    )


BUY = a_signal(Action.BUY, quantity=Decimal(1), stop_loss=Decimal(90))


def test_positions_without_a_tag_are_numbered_and_no_number_comes_twice(tmp_path: Path) -> None:
    store, records = Store.open(tmp_path / "store"), Records()
    made = evaluator(store, (BUY, BUY), (a_signal(Action.SELL),), (BUY,))

    first = evaluate(made, store, 1)
    records.answer(made, first)
    sold = evaluate(made, store, 2)
    records.answer(made, sold)
    third = evaluate(made, store, 3)

    assert [intent.tag for intent in first] == ["auto_BTCUSD_001", "auto_BTCUSD_002"]
    assert [intent.tag for intent in sold] == ["auto_BTCUSD_001"]
    assert [intent.tag for intent in third] == ["auto_BTCUSD_003"]
    store.close()


def test_a_bar_that_is_evaluated_again_gives_the_same_tags_and_names(tmp_path: Path) -> None:
    store, records = Store.open(tmp_path / "store"), Records()
    script = ((BUY, BUY), (a_signal(Action.CLOSE), BUY))
    made = evaluator(store, *script)
    records.answer(made, evaluate(made, store, 1))

    lost = evaluate(made, store, 2, is_kept=False)
    successor = evaluator(store, *script)
    records.tell_again(successor)
    again = evaluate(successor, store, 2)

    assert [(intent.intent_id, intent.tag) for intent in again] == [(intent.intent_id, intent.tag) for intent in lost]
    assert len({intent.intent_id for intent in again}) == len(again) == 3
    store.close()


def test_a_close_without_tag_is_one_intent_for_each_position(tmp_path: Path) -> None:
    store, records = Store.open(tmp_path / "store"), Records()
    made = evaluator(store, (BUY, BUY, replace(BUY, tag="own")), (a_signal(Action.CLOSE),))
    records.answer(made, evaluate(made, store, 1))

    closing = evaluate(made, store, 2)

    assert [(intent.tag, intent.effect, intent.side, intent.quantity) for intent in closing] == [
        ("auto_BTCUSD_001", Effect.CLOSE, Side.SELL, Decimal(1)),
        ("auto_BTCUSD_002", Effect.CLOSE, Side.SELL, Decimal(1)),
        ("own", Effect.CLOSE, Side.SELL, Decimal(1)),
    ]
    store.close()


def test_a_strategy_that_counts_with_fewer_digits_still_closes_all_that_it_holds(tmp_path: Path) -> None:
    store, records = Store.open(tmp_path / "store"), Records(Decimal("1234.567"))
    with localcontext() as own:
        own.prec = 3
        made = evaluator(store, (BUY, replace(BUY, tag="b")), (a_signal(Action.CLOSE),))
        records.answer(made, evaluate(made, store, 1))

        closing = evaluate(made, store, 2)

    assert [intent.quantity for intent in closing] == [Decimal("1234.567")] * 2
    assert made.facts()["position"] == {"BTC/USD": "1234.567"}
    store.close()


def test_a_sale_of_a_share_asks_for_that_share_of_the_oldest(tmp_path: Path) -> None:
    store, records = Store.open(tmp_path / "store"), Records()
    made = evaluator(store, (BUY, BUY), (a_signal(Action.SELL, size_pct=Decimal("0.25")),))
    records.answer(made, evaluate(made, store, 1))

    (sale,) = evaluate(made, store, 2)

    assert (sale.tag, sale.quantity) == ("auto_BTCUSD_001", Decimal("0.25"))
    store.close()


def test_a_modify_without_tag_never_leaves(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store")
    made = evaluator(store, (a_signal(Action.MODIFY, stop_loss=Decimal(1)),))

    sent = evaluate(made, store, 1)

    assert (sent, made.facts()["malformed_signals"]) == ([], 1)
    store.close()


@pytest.mark.parametrize(
    "change",
    [
        {"ttl_s": 90.0},
        {"ttl_s": 10**10},
        {"tag": None},
        {"tag": "t" * 65},
        {"reason": None},
        {"confidence": "high"},
        {"quantity": 1.0},
        {"action": "HOLD"},
        {"horizon": "YEAR"},
    ],
)
def test_what_no_other_process_could_read_never_leaves(tmp_path: Path, change: dict[str, Any]) -> None:
    store = Store.open(tmp_path / "store")
    made = evaluator(store, (replace(BUY, **change),))

    sent = evaluate(made, store, 1)

    assert (sent, made.facts()["malformed_signals"], made.facts()["intents_waiting"]) == ([], 1, 0)
    store.close()


@pytest.mark.parametrize("change", [{"confidence": 1}, {"action": "BUY"}, {"horizon": "SWING"}])
def test_what_says_the_same_in_another_type_is_read_by_everybody(tmp_path: Path, change: dict[str, Any]) -> None:
    store, codec = Store.open(tmp_path / "store"), desk_codec()
    made = evaluator(store, (replace(BUY, **change),))

    (sent,) = evaluate(made, store, 1)

    assert codec.decode(codec.encode(sent)) == sent
    store.close()
