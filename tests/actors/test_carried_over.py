"""What a name comes back as while it holds what another strategy left: the one that was at work last, whole."""

from decimal import Decimal
from pathlib import Path

import msgspec

from actors.arguments import store_path
from actors.calendar import NewYork
from actors.carried_over import carry_over
from actors.own_book import OwnBook
from actors.settings import FeedKind, FeedSettings, Settings, StrategySettings
from actors.strategy_memory import VERSION, Kept, Memory
from actors.topics import strategy_path
from actors.tree import desk_tree
from runtime.effects import Effects
from runtime.spec import NodeSpec, WorkerSpec
from runtime.store import Store
from tests.desk.orders import an_intent


def test_a_strategy_that_decides_on_ticks_is_told_them_until_it_has_left_what_it_holds(tmp_path: Path) -> None:
    was = StrategySettings(
        name="one", symbols=("AAA",), strategy="ticker", wants_ticks=True, live_parameters=("note",), line=7
    )
    feed = FeedSettings(kind=FeedKind.REPLAY, symbols=("AAA", "BBB"))
    keep(tmp_path, arguments_of(Settings(strategies=(was,), feed=feed)))
    now = StrategySettings(name="one", symbols=("BBB",), strategy="barred")

    (carried,) = carry_over(Settings(strategies=(now,), feed=feed), tmp_path).strategies

    assert carried == msgspec.structs.replace(was, line=0)


def arguments_of(settings: Settings) -> bytes:
    """Give what the one strategy of these settings is told."""
    tree = desk_tree(settings, "s.yaml")
    strategies = next(child for child in tree.children if isinstance(child, NodeSpec) and child.id == "strategies")
    (node,) = strategies.children
    assert isinstance(node, NodeSpec)
    (worker,) = node.children
    assert isinstance(worker, WorkerSpec)
    return worker.arguments


def keep(state: Path, arguments: bytes) -> None:
    """Leave a strategy's store behind in which it awaits an answer."""
    store = Store.open(store_path(state, strategy_path("one")))
    effects, memory, book = Effects(), Memory(store, "ticker"), OwnBook(Decimal(1000), NewYork())
    book.is_changed = True
    memory.keep_arguments(arguments, effects)
    kept = Kept(VERSION, "ticker", {}, 0, {}, (an_intent(),), {}, {}, 0, {})
    memory.keep(kept, book, effects)
    store.commit(effects.writes)
    store.close()
