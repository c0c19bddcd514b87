"""What a start takes over from the run before: whoever still holds something goes on as the one that knows of it."""

from pathlib import Path
from typing import Any

import msgspec

from actors.arguments import store_path
from actors.settings import FeedKind, Settings, StrategySettings
from actors.settings_plan import CODE
from actors.strategy_arguments import read_arguments, whole_change
from actors.strategy_memory import Memory
from actors.topics import strategy_path
from runtime.errors import StoreError
from runtime.store import Reader


def carry_over(settings: Settings, state: Path) -> Settings:
    """Give the settings that can hold from the start on.

    Where a strategy became another one (module, symbols or timeframe) while the desk was down and still holds a
    position or awaits an order, it begins as the former one, and its market is given. The running desk takes the file
    over once it is flat. Where the feed does not have the former symbols, the file holds at once.
    """
    entries = tuple(_entry(entry, settings, state) for entry in settings.strategies)
    given = settings.feed.symbols
    more = {symbol: None for entry in entries for symbol in entry.symbols if symbol not in given and not entry.refusal}
    feed = settings.feed
    if feed.kind is FeedKind.ZMQ:
        feed = msgspec.structs.replace(feed, symbols=(*given, *more))
    return msgspec.structs.replace(settings, strategies=entries, feed=feed)


def _entry(entry: StrategySettings, settings: Settings, state: Path) -> StrategySettings:
    former = former_of(entry, state)
    if former is None:
        return entry
    if settings.feed.kind is not FeedKind.ZMQ and not set(former.symbols) <= set(settings.feed.symbols):
        return entry
    kept: dict[str, Any] = {key: getattr(former, key) for key in CODE}
    return msgspec.structs.replace(entry, **kept)


def former_of(entry: StrategySettings, state: Path) -> StrategySettings | None:
    """Give the entry that was at work last, where it is another strategy and, as far as it knew, held something."""
    try:
        store = Reader.open(store_path(state, strategy_path(entry.name)))
    except StoreError:
        return None
    try:
        memory = Memory(store, "")
        kept = memory.arguments()
        if kept is None or not memory.holds_something(entry.flat_at):
            return None
        before = read_arguments(kept)
    except msgspec.DecodeError:  # of another version of the desk
        return None
    finally:
        store.close()
    return before.entry if whole_change(before, msgspec.structs.replace(before, entry=entry)) else None
