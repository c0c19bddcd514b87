"""The strategy that means nothing: a spare process rehearses with it what every strategy's process begins with."""

from decimal import Decimal
from pathlib import Path

import msgspec
from typing_extensions import override

from actors.arguments import MARKET_DATA, STRATEGY_STORE_BYTES, store_path
from actors.evaluator import Evaluator
from actors.pinned_code import CodeShelf
from actors.settings import StrategySettings
from actors.strategy import StrategyRoom
from actors.strategy_arguments import StrategyArguments, read_arguments
from actors.strategy_catalogue import imported_strategy
from actors.topics import bar_topic, tick_topic
from actors.words import desk_codec
from desk.messages import Bar, BarsGiven, EventsGiven, Tick
from desk.units import NS_PER_S
from runtime.bus_words import StreamItem
from runtime.child import Context, Made
from runtime.effects import Effects
from runtime.room import Wiring
from runtime.store import Store
from strategies.base import Strategy

SYMBOL = "REHEARSAL"
#: Its module, and where its text lies.
MODULE = "rehearsed"
TEXT = Path(__file__).with_name(f"{MODULE}.py")
MINUTE_NS = 60 * NS_PER_S


class _Rehearsal(StrategyRoom):
    """Hears at its start what others hear in their first turns, each word by way of the wire's form."""

    @override
    def recover(self) -> Effects:
        effects, codec = super().recover(), desk_codec()
        bar = Bar(SYMBOL, "1m", MINUTE_NS, 2 * MINUTE_NS, 1.0, 1.0, 1.0, 1.0, 1.0, 1)
        tick = Tick(SYMBOL, 2 * MINUTE_NS, 1.0)
        for peer in ("execution", MARKET_DATA):
            effects.add(self.connected(peer))
        words = (
            ("execution", EventsGiven(SYMBOL, 0, (), 0, is_complete=True)),
            (MARKET_DATA, BarsGiven(SYMBOL, "1m", 0, (bar,), 1, is_complete=True, market_ns=2 * MINUTE_NS)),
        )
        for peer, word in words:
            effects.add(self.hear(peer, 1, codec.decode(codec.encode(word))))
        item = StreamItem(tick_topic(SYMBOL), 1, 0, b"", has_memory=False)
        effects.add(self.hear_stream(MARKET_DATA, item, codec.decode(codec.encode(tick))))
        return effects


def _class_of(context: Context) -> type[Strategy]:
    """Import the module as pinned code, and let nothing of it be found any more."""
    shelf = CodeShelf(context.state)
    importer = shelf.load(shelf.put({f"{MODULE}.py": TEXT.read_bytes()}))
    try:
        return imported_strategy(MODULE)
    finally:
        importer.leave()


def strategy(context: Context, _arguments: bytes) -> Made:
    """Make the room with which a spare rehearses. Nothing of it is kept, and no strategy's module is imported."""
    entry = StrategySettings(name=context.path, symbols=(SYMBOL,), strategy=MODULE, wants_ticks=True)
    told = read_arguments(msgspec.msgpack.encode(StrategyArguments(entry, Decimal(1), is_stepped=False, own_folder="")))
    path = store_path(context.state, context.path)
    store = Store.open(path, is_synced=False, map_bytes=STRATEGY_STORE_BYTES, owner=context.path)
    room = _Rehearsal(Evaluator(_class_of(context), told, context.epoch, store, context.log), told, context.clock)
    streams = ((MARKET_DATA, (bar_topic(SYMBOL, "1m"), tick_topic(SYMBOL))), ("execution", (context.path,)))
    return Made(room, Wiring(on_demand=("execution", MARKET_DATA), streams=streams), store, desk_codec())
