"""Market data: one feed in, ordered ticks and complete bars out."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from typing_extensions import override

from actors.arguments import MarketDataArguments
from actors.bar_shelf import BarShelf
from actors.step import Route
from actors.topics import tick_topic
from desk.bars import BarBuilder, BarBuilderState, next_start_ns
from desk.messages import Bar, BarsWanted, Tick
from desk.ticks import Refusal, RefusalCode, parse_wire, refusal
from desk.units import DAY_NS, NS_PER_MS, NS_PER_S, timeframe_ns
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
#: A tick that is dated so far ahead of this machine's clock and of the market as it was heard has another's date.
AHEAD_NS = DAY_NS

Pair = tuple[str, str]
"""A symbol and the timeframe of its bars."""


class MarketData(Room):
    """What every kind of market data has in common: builders, the shelf of bars, marks, counters."""

    def __init__(
        self, routes: Sequence[Route], sources: dict[str, str | None], store: Store, codec: Codec, clock: Clock
    ) -> None:
        """Make a builder for each (symbol, timeframe) that some strategy wants."""
        self._store, self._codec, self._clock = store, codec, clock
        self._sources = sources
        self._routes: tuple[Route, ...] = ()
        self._builders: dict[Pair, BarBuilder] = {}
        self._by_symbol: dict[str, list[BarBuilder]] = {}
        self._begins_ns: dict[Pair, int] = {}
        """Of each builder that came later: where its first full bar begins, or that its first tick tells."""
        self._unbuilt: dict[Pair, str] = {}
        self._follow(routes)
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
            "heads": dict(self._shelf.last),
            "market_ns": self._market_ns,
            "refused": dict(self._refused),
            "unbuilt": sorted(self._unbuilt.values()),
        }

    def _follow(self, routes: Sequence[Route]) -> list[Pair]:
        """Feed these routes; give the bars that nobody wanted before. What nobody wants any more ends unfinished."""
        self._routes = tuple(routes)
        wanted = sorted({(symbol, route.timeframe) for route in routes for symbol in route.symbols})
        before, self._builders, self._unbuilt = self._builders, {}, {}
        for pair in wanted:
            if pair in before:
                self._builders[pair] = before[pair]
            elif pair[0] in self._sources:
                try:
                    self._builders[pair] = BarBuilder(*pair, source=self._sources[pair[0]])
                except ValueError as error:  # one strategy's wish, and only that one is not fed
                    self._unbuilt[pair] = str(error)
        self._begins_ns = {pair: at_ns for pair, at_ns in self._begins_ns.items() if pair in self._builders}
        self._by_symbol = {}
        for builder in self._builders.values():
            self._by_symbol.setdefault(builder.symbol, []).append(builder)
        return [pair for pair in self._builders if pair not in before]

    def _begin_full(self, pairs: Iterable[Pair], market_ns: int) -> None:
        """Let bars begin with the first whole interval from ``market_ns`` on (0: from the first tick on)."""
        for symbol, timeframe in pairs:
            source, length_ns = self._sources[symbol], timeframe_ns(timeframe)
            if source is None:
                self._begins_ns[symbol, timeframe] = market_ns and next_start_ns(market_ns + 1, length_ns)
            elif source != timeframe:
                self._begins_ns[symbol, timeframe] = next_start_ns(market_ns, length_ns)

    def _taking(self, event: Bar | Tick) -> Sequence[BarBuilder]:
        """Give the builders that take an event in: all of its symbol, but those whose first bar has not begun."""
        builders = self._by_symbol.get(event.symbol, ())
        return [one for one in builders if self._has_begun_bar(one, event)] if self._begins_ns else builders

    def _has_begun_bar(self, builder: BarBuilder, event: Bar | Tick) -> bool:
        pair = (builder.symbol, builder.timeframe)
        begins_ns = self._begins_ns.get(pair)
        if begins_ns is None:
            return True
        if not begins_ns:
            self._begins_ns[pair] = next_start_ns(event.ts_ns + 1, timeframe_ns(builder.timeframe))
            return False
        if event.ts_ns < begins_ns:
            return False
        del self._begins_ns[pair]
        return True

    def _keep_refused(self, effects: Effects) -> None:
        """Keep the counts of refused input where the summary of a stopped desk finds them."""
        effects.put("step", b"refused", msgspec.json.encode(dict(self._refused)))

    def _restore_builders(self, kept: tuple[tuple[str, str, BarBuilderState], ...], market_ns: int) -> None:
        """Go on with what was kept at ``market_ns``; what is not among it came later, or had not begun."""
        for symbol, timeframe, state in kept:
            if (symbol, timeframe) in self._builders:
                self._builders[symbol, timeframe].restore(state)
        known = {(symbol, timeframe) for symbol, timeframe, _ in kept}
        self._begin_full([pair for pair in self._builders if pair not in known], market_ns)

    def _builder_states(self) -> tuple[tuple[str, str, BarBuilderState], ...]:
        return tuple(
            (*pair, builder.state()) for pair, builder in self._builders.items() if pair not in self._begins_ns
        )


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
        #: The latest market time that was heard, also in a life before this one, and the wall clock's time then.
        self._heard_at = (0, 0)
        self._is_dirty = False

    @override
    def recover(self) -> Effects:
        effects = Effects()
        data = self._store.get("step", b"builders")
        if data is not None:
            states, self._events, refused = msgspec.msgpack.decode(
                data, type=tuple[tuple[tuple[str, str, BarBuilderState], ...], int, dict[str, int]]
            )
            self._restore_builders(states, 0)
            self._refused = Counter(refused)
        heard_at = self._store.get("step", b"heard_at")
        if heard_at is not None:
            self._heard_at = msgspec.msgpack.decode(heard_at, type=tuple[int, int])
        elif self._shelf.head:  # a desk of before kept bars and no time
            self._heard_at = (self._shelf.newest_end_ns(), self._clock.wall_ns())
        effects.timer("edges", self._clock.monotonic_ns() + EDGES_NS)
        return effects

    @override
    def reconfigured(self, arguments: bytes) -> Effects:
        """Feed other routes, and listen to other symbols, at once."""
        effects, told = Effects(), msgspec.msgpack.decode(arguments, type=MarketDataArguments)
        self._symbols = frozenset(told.feed.symbols)
        self._sources = dict.fromkeys(told.feed.symbols)
        self._begin_full(self._follow(told.routes), 0)
        effects.listen("", told.feed.symbols)
        self._is_dirty = True
        return effects

    @override
    def hear_foreign(self, frames: list[bytes]) -> Effects:
        tick = parse_wire(frames)
        if isinstance(tick, Refusal):
            return self._refuse(str(tick.code))
        if tick.symbol not in self._symbols:
            return self._refuse("OTHER_SYMBOL")
        if self._is_far_ahead(tick):
            return self._refuse(str(RefusalCode.AHEAD))
        code = refusal(tick, self._last_ts_ns.get(tick.symbol))
        builders = self._taking(tick)
        code = code or next((misfit for builder in builders if (misfit := builder.misfit(tick))), None)
        if code is not None:
            return self._refuse(str(code))
        return self._take(tick)

    @override
    def foreign_broke(self) -> Effects:
        return self._refuse("OVERSIZED")

    def _is_far_ahead(self, tick: Tick) -> bool:
        """Say whether a tick is dated as no market is: it alone would end every bar, and the day of the whole desk.

        The first tick ever says itself what time it is, and so does a market that runs ahead of this machine's clock.
        """
        market_ns, wall_ns = self._heard_at[0] and self._market_now_ns(), self._clock.wall_ns()
        return bool(market_ns) and tick.ts_ns > max(market_ns, wall_ns) + AHEAD_NS

    def _refuse(self, code: str) -> Effects:
        self._refused[code] += 1
        self._is_dirty = True
        return NOTHING

    def _take(self, tick: Tick) -> Effects:
        effects = Effects()
        self._last_ts_ns[tick.symbol] = tick.ts_ns
        self._market_ns = max(self._market_ns, tick.ts_ns)
        self._heard_ns, self._heard_market_ns = self._clock.monotonic_ns(), self._market_ns
        self._heard_at = (self._market_ns, self._clock.wall_ns())
        self._events += 1
        self._is_dirty = True
        closed = [bar for b in self._by_symbol.get(tick.symbol, ()) if (bar := b.close_before(tick.ts_ns)) is not None]
        for builder in self._taking(tick):
            builder.add(tick)
        effects.publish(tick_topic(tick.symbol), tick)
        self._publish(closed, effects)
        return effects

    def _publish(self, bars: list[Bar], effects: Effects) -> None:
        for bar in bars:
            self._shelf.add(bar, effects)
        if bars:
            self._keep(effects)
            effects.is_durable = True  # no number of a bar is given twice, also not across a loss of power

    def _keep(self, effects: Effects) -> None:
        kept = (self._builder_states(), self._events, dict(self._refused))
        effects.put("step", b"builders", msgspec.msgpack.encode(kept))
        effects.put("step", b"heard_at", msgspec.msgpack.encode(self._heard_at))
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
            effects.post(peer, self._shelf.given(word, self._market_now_ns()), is_sure=False)
        return effects

    def _market_now_ns(self) -> int:
        """Say what market time it is for bars that were missed: what was heard last, and what has passed since.

        Before the first tick of a life that is what its predecessor heard, or every bar that is kept would be new.
        """
        market_ns, wall_ns = self._heard_at
        return market_ns + max(0, self._clock.wall_ns() - wall_ns)
