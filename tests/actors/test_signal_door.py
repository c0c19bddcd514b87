"""What a strategy may send at once: exits are never kept back by entries, and nobody sends without end."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typing_extensions import override

from actors.evaluator import Evaluator
from actors.settings import ProcessLimits, StrategySettings
from actors.signal_door import UNANSWERED_MAX, Door, MalformedSignalError, intent_of, well_formed
from actors.strategy_arguments import StrategyArguments
from desk.messages import Bar, Effect, Intent
from desk.units import MINUTE_NS, NS_PER_S
from runtime.effects import Effects
from runtime.log import Log
from runtime.store import Store
from strategies.base import Action, Decision, Horizon, Instance, NoTrade, NoTradeCode, Signal, Strategy, View

INSTANCE = Instance("flood", ("SPY",), "1m", {})
MANY = 100


class Parameters(msgspec.Struct, frozen=True):
    """How many signals answer each bar."""

    wishes: int = MANY


def a_wish(**more: Any) -> Signal:
    told: dict[str, Any] = {"symbol": "SPY", "action": Action.BUY, "quantity": Decimal(1), "stop_loss": Decimal(1)}
    return Signal(**told | more)


class Flood(Strategy):
    """Wants very much at each bar."""

    Parameters = Parameters
    parameters: Parameters
    wish = a_wish()

    @override
    def on_bar(self, bar: Bar, view: View) -> Decision:
        return (self.wish,) * self.parameters.wishes or NoTrade(NoTradeCode.NO_SIGNAL)

    @override
    def get_state(self) -> dict[str, Any]:
        return {}

    @override
    def load_state(self, state: dict[str, Any]) -> None:
        assert state == {}


ACTIONS = {"o": Action.BUY, "c": Action.CLOSE, "m": Action.MODIFY}


def intents(kinds: str, first: int = 0) -> list[Intent]:
    """Give one intent for each letter: o opens, c closes, m moves a level."""
    size = {"o": Decimal(1)}
    return [
        intent_of(
            Signal(symbol="SPY", action=ACTIONS[kind], quantity=size.get(kind), stop_loss=Decimal(1)),
            strategy=Flood(Parameters(), INSTANCE),
            place=("1m", 0, first + number),
            reference_price=Decimal(1),
            position=None,
            decided_ns=0,
            expires_ns=1,
            epoch=1,
            bar_sequence=1,
        )
        for number, kind in enumerate(kinds)
    ]


KINDS = st.text("ocm", max_size=90)
FEW = st.text("ocm", max_size=30)


def admitted(wanted: list[Intent], unanswered: list[Intent], opens_max: int | None) -> list[Intent]:
    door = Door(unanswered, opens_max)
    found = [intent for intent in wanted if door.admits(intent.effect)]
    assert (door.opened, door.held_back) == (len(opening(found)), len(wanted) - len(found))
    return found


def opening(found: list[Intent]) -> list[Intent]:
    return [intent for intent in found if intent.effect is Effect.OPEN]


@given(wanted=KINDS, unanswered=KINDS, opens_max=st.none() | st.integers(0, 50))
def test_what_leaves_is_the_first_of_its_kind_and_fits_its_window(
    wanted: str, unanswered: str, opens_max: int | None
) -> None:
    want, wait = intents(wanted), intents(unanswered, first=1000)

    found = admitted(want, wait, opens_max)

    assert found == [intent for intent in want if intent in found]
    opens, others = opening(want), [intent for intent in want if intent.effect is not Effect.OPEN]
    room = max(0, UNANSWERED_MAX - len(opening(wait)))
    room = room if opens_max is None else min(room, opens_max)
    assert opening(found) == opens[:room]
    left = max(0, UNANSWERED_MAX - len(wait) + len(opening(wait)))
    assert [intent for intent in found if intent.effect is not Effect.OPEN] == others[:left]


@given(wanted=FEW, entries=KINDS)
def test_a_flood_of_entries_keeps_no_exit_back(wanted: str, entries: str) -> None:
    want, wait = intents(wanted), intents("o" * len(entries), first=1000)

    found = admitted(want, wait, 0)

    assert found == [intent for intent in want if intent.effect is not Effect.OPEN]


def evaluator(store: Store, rate: int | None, wish: Signal | None = None) -> Evaluator:
    """Make one that wants very much at each bar, or this."""
    limits, wishes = ProcessLimits(message_rate=rate), MANY if wish is None else 1
    entry = StrategySettings(
        name="flood", symbols=("SPY",), strategy="flood", limits=limits, parameters={"wishes": wishes}
    )
    told = StrategyArguments(entry, Decimal(1000), is_stepped=True, own_folder="")
    kind = type("Wisher", (Flood,), {"wish": wish or Flood.wish})
    made = Evaluator(kind, told, 1, store, Log("strategies/flood"))
    effects = Effects()
    made.recall(effects)
    store.commit(effects.writes)
    return made


def evaluate(made: Evaluator, store: Store, number: int, span_ns: int = MINUTE_NS) -> list[Intent]:
    """Evaluate one bar; give what was sent to risk."""
    effects = Effects()
    ts_ns = number * span_ns
    made.evaluate_bar(Bar("SPY", "1m", ts_ns, ts_ns + span_ns, 1, 1, 1, 1, 1, sequence=number), effects, is_live=True)
    store.commit(effects.writes)
    return [post.word for post in effects.posts if isinstance(post.word, Intent)]


def test_whoever_gets_no_answer_sends_so_many_and_no_more(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store")
    made = evaluator(store, None)

    sent = [len(evaluate(made, store, number)) for number in (1, 2, 3)]

    assert sent == [UNANSWERED_MAX, 0, 0]
    facts = made.facts()
    assert facts["held_back_signals"] == 3 * MANY - UNANSWERED_MAX
    assert facts["why_not"] == {NoTradeCode.TOO_MANY_INTENTS: 3 * MANY - UNANSWERED_MAX}
    assert facts["intents_waiting"] == UNANSWERED_MAX
    store.close()


def test_a_rate_counts_market_time_and_a_successor_goes_on_counting(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store")

    first = evaluate(evaluator(store, 5), store, 1, NS_PER_S // 4)
    second = evaluate(evaluator(store, 7), store, 2, NS_PER_S // 4)
    third = evaluate(evaluator(store, 7), store, 4, NS_PER_S // 4)

    assert [len(sent) for sent in (first, second, third)] == [5, 2, 7]
    store.close()


#: What a Struct takes for a field without a word, and risk cannot read.
OF_ANOTHER_TYPE = {
    "a time to live with a fraction": {"ttl_s": 90.0},
    "no time to live": {"ttl_s": None},
    "a time to live beyond any integer of the wire": {"ttl_s": 10**30},
    "a time to live that ends beyond any record": {"ttl_s": 18_000_000_000},
    "a confidence in words": {"confidence": "high"},
    "no confidence": {"confidence": None},
    "a number for a reason": {"reason": 7},
    "half a character": {"reason": "\ud800"},
    "a number for a tag": {"tag": 7},
    "a reason that no frame holds": {"reason": "x" * 20_000_000},
    "a tag of many lines": {"tag": "t" * 1001},
    "an action that there is not": {"action": "buy"},
    "a horizon that there is not": {"horizon": "WEEK"},
    "a size that is no Decimal": {"quantity": 1.0},
}


@pytest.mark.parametrize("more", OF_ANOTHER_TYPE.values(), ids=OF_ANOTHER_TYPE)
def test_what_risk_could_not_read_is_malformed_and_nobody_waits_for_its_answer(
    more: dict[str, Any], tmp_path: Path
) -> None:
    store = Store.open(tmp_path / "store")
    made = evaluator(store, None, a_wish(**more))

    sent = evaluate(made, store, 1)

    facts = made.facts()
    assert (sent, facts["intents_waiting"], facts["malformed_signals"]) == ([], 0, 1)
    store.close()


def test_a_malformed_signal_is_told_with_its_fault() -> None:
    with pytest.raises(MalformedSignalError, match="confidence"):
        well_formed(a_wish(confidence=None), ("SPY",))


def test_words_that_are_an_action_and_a_horizon_are_taken_for_them() -> None:
    assert well_formed(a_wish(action="BUY", horizon="SWING"), ("SPY",)) == a_wish(horizon=Horizon.SWING)


def test_what_stays_with_the_strategy_may_be_anything() -> None:
    assert well_formed(a_wish(reasoning=None, slippage_tolerance="much"), ("SPY",)) == a_wish()
