"""Market data: one feed in, ordered ticks and complete bars out."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from typing_extensions import override

from actors.bar_shelf import BarShelf
from actors.step import Route
from actors.topics import tick_topic
from desk.bars import BarBuilder, BarBuilderState
from desk.messages import Bar, BarsWanted, Tick
from desk.ticks import Refusal, parse_wire, refusal
from desk.units import NS_PER_MS, NS_PER_S
from runtime.clock import Clock
from runtime.codec import Codec
from runtime.effects import Effects
from runtime.room import NOTHING, Room
from runtime.store import Store

if TYPE_CHECKING:
    from actors.words import Mark

#: How long after its end a bar of a live feed waits for a tick that closes it.
LIVE_BAR_GRACE_NS = 2 * NS_PER_S
EDGES_NS = 200 * NS_PER_MS


class MarketData(Room):
    """What every kind of market data has in common: builders, the shelf of bars, marks, counters."""

    def __init__(
        self, routes: Sequence[Route], sources: dict[str, str | None], store: Store, codec: Codec, clock: Clock
    ) -> None:
        """Make a builder for each (symbol, timeframe) that some strategy wants."""
        self._routes, self._store, self._codec, self._clock = tuple(routes), store, codec, clock
        wanted = {(symbol, route.timeframe) for route in routes for symbol in route.symbols}
        self._builders = {
            pair: BarBuilder(*pair, source=sources[pair[0]]) for pair in sorted(wanted) if pair[0] in sources
        }
        self._by_symbol: dict[str, list[BarBuilder]] = {}
        for builder in self._builders.values():
            self._by_symbol.setdefault(builder.symbol, []).append(builder)
        self._shelf = BarShelf(store, codec)
        self._marks: dict[str, Mark] = {}
        self._refused: Counter[str] = Counter()
        self._events = 0
        self._market_ns = 0

    @override
    def stream_heads(self) -> tuple[int, dict[str, int]]:
        return self._shelf.head, dict(self._shelf.last)

    @override
    def facts(self) -> dict[str, Any]:
        return {
            "events": self._events,
            "bars": self._shelf.head,
            "market_ns": self._market_ns,
            "refused": dict(self._refused),
        }

    def _keep_refused(self, effects: Effects) -> None:
        """Keep the counts of refused input where the summary of a stopped desk finds them."""
        effects.put("step", b"refused", msgspec.json.encode(dict(self._refused)))

    def _restore_builders(self, kept: tuple[tuple[str, str, BarBuilderState], ...]) -> None:
        for symbol, timeframe, state in kept:
            if (symbol, timeframe) in self._builders:
                self._builders[symbol, timeframe].restore(state)

    def _builder_states(self) -> tuple[tuple[str, str, BarBuilderState], ...]:
        return tuple((symbol, timeframe, builder.state()) for (symbol, timeframe), builder in self._builders.items())


class LiveMarketData(MarketData):
    """A feed without barrier: ticks of a foreign publisher, taken at their own pace."""

    def __init__(
        self, symbols: Sequence[str], routes: Sequence[Route], store: Store, codec: Codec, clock: Clock
    ) -> None:
        """Subscribe to nothing yet; the shell connects to the publisher."""
        super().__init__(routes, dict.fromkeys(symbols), store, codec, clock)
        self._symbols = frozenset(symbols)
        self._last_ts_ns: dict[str, int] = {}
        self._heard_ns = 0
        self._heard_market_ns = 0
        self._is_dirty = False

    @override
    def recover(self) -> Effects:
        effects = Effects()
        data = self._store.get("step", b"builders")
        if data is not None:
            states, self._events, refused = msgspec.msgpack.decode(
                data, type=tuple[tuple[tuple[str, str, BarBuilderState], ...], int, dict[str, int]]
            )
            self._restore_builders(states)
            self._refused = Counter(refused)
        effects.timer("edges", self._clock.monotonic_ns() + EDGES_NS)
        return effects

    @override
    def hear_foreign(self, frames: list[bytes]) -> Effects:
        tick = parse_wire(frames)
        if isinstance(tick, Refusal):
            return self._refuse(str(tick.code))
        if tick.symbol not in self._symbols:
            return self._refuse("OTHER_SYMBOL")
        code = refusal(tick, self._last_ts_ns.get(tick.symbol))
        builders = self._by_symbol.get(tick.symbol, ())
        code = code or next((misfit for builder in builders if (misfit := builder.misfit(tick))), None)
        if code is not None:
            return self._refuse(str(code))
        return self._take(tick)

    @override
    def foreign_broke(self) -> Effects:
        return self._refuse("OVERSIZED")

    def _refuse(self, code: str) -> Effects:
        self._refused[code] += 1
        self._is_dirty = True
        return NOTHING

    def _take(self, tick: Tick) -> Effects:
        effects = Effects()
        self._last_ts_ns[tick.symbol] = tick.ts_ns
        self._market_ns = max(self._market_ns, tick.ts_ns)
        self._heard_ns, self._heard_market_ns = self._clock.monotonic_ns(), self._market_ns
        self._events += 1
        self._is_dirty = True
        closed = [bar for b in self._by_symbol.get(tick.symbol, ()) if (bar := b.close_before(tick.ts_ns)) is not None]
        for builder in self._by_symbol.get(tick.symbol, ()):
            builder.add(tick)
        effects.publish(tick_topic(tick.symbol), tick)
        self._publish(closed, effects)
        return effects

    def _publish(self, bars: list[Bar], effects: Effects) -> None:
        for bar in bars:
            self._shelf.add(bar, effects)
        if bars:
            self._keep(effects)

    def _keep(self, effects: Effects) -> None:
        kept = (self._builder_states(), self._events, dict(self._refused))
        effects.put("step", b"builders", msgspec.msgpack.encode(kept))
        self._keep_refused(effects)
        self._is_dirty = False

    @override
    def timer(self, name: str) -> Effects:
        effects = Effects()
        now_ns = self._clock.monotonic_ns()
        if self._heard_ns:
            market_ns = self._heard_market_ns + now_ns - self._heard_ns
            closed = [b.close_before(market_ns - LIVE_BAR_GRACE_NS) for b in self._builders.values()]
            self._publish([bar for bar in closed if bar is not None], effects)
        if self._is_dirty:
            self._keep(effects)
        effects.timer("edges", now_ns + EDGES_NS)
        return effects

    @override
    def hear(self, peer: str, epoch: int, word: Any) -> Effects:
        effects = Effects()
        if isinstance(word, BarsWanted):
            effects.post(peer, self._shelf.given(word, self._market_ns), is_sure=False)
        return effects
