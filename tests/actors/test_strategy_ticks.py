"""A strategy that decides on ticks: each comes once, behind all bars that are there, and a fall changes nothing."""

from pathlib import Path
from typing import Any, ClassVar

import msgspec
from typing_extensions import override

from actors.topics import bar_topic, tick_topic
from actors.words import StrategyTurn
from desk.messages import Bar, BarsGiven, Intent, Tick
from desk.units import MINUTE_NS, ONE
from runtime.bus_words import StreamItem
from runtime.effects import Effects
from runtime.words import RestartWanted, Turn
from strategies.base import Action, Decision, Signal, View
from tests.actors.lone_strategy import SYMBOLS, Chronicler, ChroniclerParameters, Lone

SYMBOL = SYMBOLS[0]
T0 = 1_704_724_200 * 1_000_000_000


class Ticker(Chronicler):
    """Takes note of ticks, and buys on one where its parameters say so."""

    wants_ticks: ClassVar[bool] = True

    @override
    def on_tick(self, tick: Tick, view: View) -> Decision | None:
        self._take("tick", tick, view)
        if self.parameters.note != "buy":
            return None
        return (Signal(symbol=tick.symbol, action=Action.BUY, quantity=ONE),)


def ticking(folder: Path, *, is_stepped: bool, note: str = "") -> Lone:
    return Lone(folder, 1, is_stepped=is_stepped, kind=Ticker, parameters=ChroniclerParameters(note=note))


def tick(number: int) -> Tick:
    return Tick(SYMBOL, T0 + number, 100.0, 1.0)


def hear_tick(lone: Lone, number: int) -> Effects:
    """Let a tick of a live feed come, and what follows be kept."""
    item = StreamItem(tick_topic(SYMBOL), number, number - 1, b"", has_memory=False)
    effects = lone.room.hear_stream("market_data", item, tick(number))
    assert lone.store is not None
    lone.store.commit(effects.writes)
    return effects


def told(lone: Lone) -> list[str]:
    kept: dict[str, Any] = lone.outcome().state
    return kept["told"]


def test_parameters_that_took_hold_at_a_tick_are_said_once_also_where_it_falls_behind_that(tmp_path: Path) -> None:
    lone = ticking(tmp_path, is_stepped=False)
    lone.step()
    before = told(lone)
    lone.parameters = ChroniclerParameters(one_in=5)
    lone.reconfigure()

    hear_tick(lone, 1)
    lone.fall()

    assert told(lone) == [*before, "parameters", "tick"]
    lone.close()


def test_one_that_waits_to_become_another_strategy_buys_nothing_on_a_tick_any_more(tmp_path: Path) -> None:
    lone = ticking(tmp_path, is_stepped=False, note="buy")
    lone.symbols = (SYMBOL,)
    effects = lone.room.reconfigured(msgspec.msgpack.encode(lone.told()))
    assert [post.word for post in effects.posts if isinstance(post.word, RestartWanted)]

    assert not [post.word for post in hear_tick(lone, 1).posts if isinstance(post.word, Intent)]
    lone.close()


def test_bars_that_were_missed_are_told_before_the_next_tick_of_a_step(tmp_path: Path) -> None:
    lone = ticking(tmp_path, is_stepped=True)
    bars = tuple(
        Bar(SYMBOL, "1m", ts_ns, ts_ns + MINUTE_NS, 1.0, 1.0, 1.0, 1.0, 1.0, sequence=number)
        for number, ts_ns in enumerate((T0 - 2 * MINUTE_NS, T0 - MINUTE_NS), 1)
    )
    head = StreamItem(bar_topic(SYMBOL, "1m"), 2, 2, None, has_memory=True)
    lone.room.hear_stream("market_data", head, None)
    lone.room.hear("market_data", 1, BarsGiven(SYMBOL, "1m", 0, bars, 2, is_complete=True, market_ns=T0))

    lone.room.begin(Turn(9, 2, T0 + 1, b""), StrategyTurn((), tick(1), 0, 0))

    assert told(lone) == ["missed", "missed", "tick"]
    lone.close()
