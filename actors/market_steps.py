"""Market data in simulated time: each event of the feed is one step, and the next begins when all are settled."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec
from typing_extensions import override

from actors.arguments import MarketDataArguments
from actors.feeds.feed import Feed
from actors.market_data import MarketData
from actors.peer_table import PeerTable
from actors.step import EXECUTION, RISK, STRATEGIES, Barrier, Route, is_execution, is_venues
from actors.topics import AWAY, strategy_at, tick_topic
from actors.words import Joined, JournalHead, Mark, RiskTurn, StrategyTurn
from desk.bars import BarBuilderState
from desk.messages import Bar, BarsWanted, Tick
from desk.units import NS_PER_MS
from runtime.clock import Clock
from runtime.codec import Codec
from runtime.effects import Effects
from runtime.store import Store
from runtime.words import Peer, RootAsked, Settled, Turn

#: How long a turn goes unanswered before it is given again.
TURN_AGAIN_NS = 100 * NS_PER_MS
#: Moves of the step in one go, before the inbox has its turn.
EVENTS_AT_ONCE_MAX = 64


class _Kept(msgspec.Struct, frozen=True, array_like=True):
    """Everything that a successor needs to go on with the very same step."""

    number: int
    event: Bar | Tick | None
    market_ns: int
    due: tuple[Bar, ...]
    published: tuple[int, ...]
    queue: tuple[tuple[Bar, ...], ...]
    feed_state: bytes
    builders: tuple[tuple[str, str, BarBuilderState], ...]
    marks: tuple[Mark, ...]
    events: int
    journal_head: int
    refused: dict[str, int]
    is_ended: bool


class SteppedMarketData(MarketData):
    """Simulated time: each event of the feed is one step, and the next begins only when all are settled."""

    def __init__(  # noqa: PLR0913, PLR0917 - a room's constructor takes its world
        self,
        feed: Feed,
        speed: float | None,
        routes: Sequence[Route],
        venues: Sequence[str],
        store: Store,
        codec: Codec,
        clock: Clock,
        *,
        has_barrier: bool = True,
    ) -> None:
        """Take the feed at its beginning; ``recover`` moves it to where the last incarnation was.

        Without barrier (for load tests) nobody is waited for: events go out at the pace of ``speed``.
        """
        super().__init__(routes, dict(feed.timeframes), store, codec, clock)
        self._feed, self._speed, self._venues = feed, speed, tuple(venues)
        self._has_barrier = has_barrier
        self._peers = PeerTable()
        self._joined: dict[str, int] = {}
        self._kept: _Kept | None = None
        self._barrier: Barrier | None = None
        self._turns: dict[str, Turn] = {}
        #: A step's number, and its event as every turn of it carries it.
        self._encoded = (0, b"")
        self._own_last: dict[str, int] = {}
        self._has_begun = False
        self._began_ns = 0
        self._is_told = False
        self._misfits: Counter[str] = Counter()
        self._told: MarketDataArguments | None = None
        self._ahead: tuple[Bar | Tick | None, bytes] | None = None
        self._kept_decoder = msgspec.msgpack.Decoder(_Kept)

    # --- life ---------------------------------------------------------------------------------

    @override
    def recover(self) -> Effects:
        effects = Effects()
        data = self._store.get("step", b"now")
        if data is not None:
            kept = self._kept = self._kept_decoder.decode(data)
            self._feed.restore(kept.feed_state)
            self._restore_builders(kept.builders, kept.market_ns)
            self._marks = {mark.symbol: mark for mark in kept.marks}
            self._events, self._market_ns = kept.events, kept.market_ns
            self._refused = Counter(kept.refused)
            self._misfits = self._refused - Counter(self._feed.refused)
            if not kept.is_ended:
                self._barrier = Barrier(kept.number, is_repeated=True)
        effects.timer("again", self._clock.monotonic_ns() + TURN_AGAIN_NS)
        return effects

    @override
    def reconfigured(self, arguments: bytes) -> Effects:
        """Feed other routes, at another pace, from the next step on."""
        effects = Effects()
        self._told = msgspec.msgpack.decode(arguments, type=MarketDataArguments)
        self._go_on(effects)
        return effects

    def _follow_told(self) -> None:
        """Take over what was told, between two steps."""
        told, self._told = self._told, None
        if told is None:
            return
        self._speed = told.feed.speed
        if self._ahead is not None:  # it was held against the former builders
            self._feed.restore(self._ahead[1])
            self._ahead = None
        self._begin_full(self._follow(told.routes), self._market_ns)

    @property
    def step(self) -> int:
        """The number of the step that goes on, or went on last; 0 before the first."""
        return self._kept.number if self._kept is not None else 0

    @property
    def is_ended(self) -> bool:
        """Whether the feed has ended, and the last step with it."""
        return self._kept is not None and self._kept.is_ended

    @override
    def facts(self) -> dict[str, Any]:
        barrier = self._barrier
        waits = {"phase": barrier.phase, "waits_for": sorted(barrier.waiting)} if barrier else {}
        missing = [] if self._has_begun else self._missing()
        return {**super().facts(), "step": self.step, "is_ended": self.is_ended, "waits_to_begin_for": missing, **waits}

    @override
    def peers(self, peers: tuple[Peer, ...]) -> Effects:
        effects = Effects()
        self._peers.take(peers)
        barrier = self._barrier
        if barrier is not None:
            for path in sorted(barrier.waiting):
                if strategy_at(path) and self._is_away(path):
                    barrier.excuse(path)
        self._go_on(effects)
        return effects

    @override
    def hear(self, peer: str, epoch: int, word: Any) -> Effects:
        effects = Effects()
        if isinstance(word, Settled):
            self._hear_settled(peer, epoch, word, effects)
        elif isinstance(word, BarsWanted):
            effects.post(peer, self._shelf.given(word, self._market_ns), is_sure=False, is_gated=False)
        elif isinstance(word, Joined):
            self._joined[peer] = epoch
            if peer in self._turns and self._barrier is not None and peer in self._barrier.waiting:
                effects.post(peer, self._turns[peer], is_sure=False)
            self._go_on(effects)
        return effects

    @override
    def timer(self, name: str) -> Effects:
        effects = Effects()
        if name == "again":
            if self._barrier is not None:
                for path in sorted(self._barrier.waiting):
                    effects.post(path, self._turns[path], is_sure=False)
            if not self.is_ended:
                effects.timer("again", self._clock.monotonic_ns() + TURN_AGAIN_NS)
        self._go_on(effects)
        return effects

    # --- the step -----------------------------------------------------------------------------

    def _is_away(self, path: str) -> bool:
        return self._peers.state(path) in AWAY

    def _missing(self) -> list[str]:
        """Name the members that have not caught up yet."""
        needed = [*self._venues, "execution", "risk", *(r.path for r in self._routes if not self._is_away(r.path))]
        if not self._has_barrier:
            return [path for path in needed if path not in self._peers or self._peers[path].state != "RUNNING"]
        epochs = {path: peer.epoch for path, peer in self._peers.items()}
        return [path for path in needed if path not in epochs or self._joined.get(path, -1) < epochs[path]]

    def _hear_settled(self, peer: str, epoch: int, word: Settled, effects: Effects) -> None:
        barrier = self._barrier
        if barrier is None or not barrier.settled(peer, epoch, word.step, word.phase, word.sent):
            return
        if word.phase == EXECUTION:
            head: JournalHead = self._codec.decode(word.facts)
            self._own_last = head.own_last
            self._stamp(head.head, effects)
        self._go_on(effects)

    def _stamp(self, journal_head: int, effects: Effects) -> None:
        """Give this step's bars their sequences and the settled journal's head; a bar is never stamped twice."""
        kept = self._kept
        assert kept is not None, "a phase was settled outside a step"
        if not kept.due or kept.published:
            return
        bars = [
            self._shelf.add(msgspec.structs.replace(bar, journal_sequence=journal_head), effects) for bar in kept.due
        ]
        self._keep(
            msgspec.structs.replace(
                kept, published=tuple(bar.sequence for bar in bars), due=tuple(bars), journal_head=journal_head
            ),
            effects,
        )

    def _keep(self, kept: _Kept, effects: Effects) -> None:
        if self._kept is None or kept.refused != self._kept.refused:
            self._keep_refused(effects)
        self._kept = kept
        effects.put("step", b"now", msgspec.msgpack.encode(kept))

    def _go_on(self, effects: Effects) -> None:
        """Do whatever can be done now: begin, move to the next phase, end the step, begin the next one."""
        for _ in range(EVENTS_AT_ONCE_MAX):
            barrier = self._barrier
            if barrier is None:
                self._follow_told()
            if not self._has_begun and not self._may_begin():
                return
            if barrier is None:
                if not self._begin_step(effects):
                    return
            elif not self._has_barrier:
                self._stamp(0, effects)
                self._barrier = None
            elif barrier.waiting:
                return
            else:
                following = barrier.next_phase(self._is_anyone_fed)
                if following is None:
                    self._barrier = None
                else:
                    self._begin_phase(following, effects)
                    if barrier.waiting:
                        return
        effects.timer("pace", self._clock.monotonic_ns())

    def _may_begin(self) -> bool:
        """Say whether all members are there; once they were, nobody is waited for but in a step."""
        self._has_begun = bool(self._peers) and not self._missing()
        return self._has_begun

    def _is_anyone_fed(self) -> bool:
        return bool(self._fed())

    def _fed(self) -> list[tuple[Route, tuple[int, ...]]]:
        """Name the strategies that this step's event feeds, with the bars that are theirs."""
        kept = self._kept
        assert kept is not None, "there is no step"
        is_tick = isinstance(kept.event, Tick)
        fed: list[tuple[Route, tuple[int, ...]]] = []
        for route in self._routes:
            bars = tuple(
                bar.sequence for bar in kept.due if bar.symbol in route.symbols and bar.timeframe == route.timeframe
            )
            wants = route.wants_ticks and is_tick and kept.event is not None and kept.event.symbol in route.symbols
            if (bars or wants) and not self._is_away(route.path):
                fed.append((route, bars))
        return fed

    def _begin_phase(self, phase: int, effects: Effects) -> None:
        kept, barrier = self._kept, self._barrier
        assert kept is not None, "there is no step"
        assert barrier is not None, "there is no step"
        payloads: dict[str, bytes] = {}
        if is_venues(phase):
            payloads = dict.fromkeys(self._venues, self._event_of(kept))
        elif is_execution(phase):
            payloads = {"execution": self._event_of(kept)}
        elif phase == RISK:
            payloads = {"risk": self._codec.encode(RiskTurn(kept.marks, kept.journal_head))}
        elif phase == STRATEGIES:
            tick = kept.event if isinstance(kept.event, Tick) else None
            for route, bars in self._fed():
                name = strategy_at(route.path)
                word = StrategyTurn(
                    bars, tick if route.wants_ticks else None, kept.journal_head, self._own_last.get(name, 0)
                )
                payloads[route.path] = self._codec.encode(word)
        turns: dict[str, Turn] = {}
        members: dict[str, int] = {}
        for path, payload in payloads.items():
            turn = turns[path] = Turn(kept.number, phase, kept.market_ns, payload)
            members[path] = self._joined.get(path, 0)
            effects.post(path, turn, is_sure=False)
        self._turns = turns
        barrier.begin(phase, members)

    def _event_of(self, kept: _Kept) -> bytes:
        """Give a step's event as its turns carry it, b"" where it has none."""
        if self._encoded[0] != kept.number:
            self._encoded = kept.number, self._codec.encode(kept.event) if kept.event is not None else b""
        return self._encoded[1]

    def _begin_step(self, effects: Effects) -> bool:
        """Take the next event into a new step; False where it is not due yet or there is none."""
        kept = self._kept
        if kept is not None and kept.is_ended:
            self._tell_the_end(effects)
            return False
        if kept is not None and kept.queue:
            self._start(kept, kept.queue[0], None, kept.queue[0][0].end_ns, kept.queue[1:], kept.feed_state, effects)
            return True
        event, before = self._look_ahead()
        if event is None:
            return self._end(before, effects)
        arrival_ns = event.end_ns if isinstance(event, Bar) else event.ts_ns
        if not self._is_due(arrival_ns, effects):
            return False
        closing = [bar for builder in self._builders.values() if (bar := builder.close_before(arrival_ns)) is not None]
        if closing:
            ends = sorted({bar.end_ns for bar in closing})
            queue = tuple(tuple(bar for bar in closing if bar.end_ns == end_ns) for end_ns in ends)
            self._start(kept, queue[0], None, ends[0], queue[1:], before, effects)
            return True
        self._ahead = None
        completed = (builder.add(event) for builder in self._taking(event))
        due = tuple(bar for bar in completed if bar is not None)
        price = event.close if isinstance(event, Bar) else event.price
        self._marks[event.symbol] = Mark(event.symbol, price, arrival_ns)
        self._events += 1
        self._start(kept, due, event, arrival_ns, (), self._feed.state(), effects)
        effects.publish(tick_topic(event.symbol), event)
        return True

    def _start(  # noqa: PLR0913, PLR0917 - the parts of a step
        self,
        kept: _Kept | None,
        due: tuple[Bar, ...],
        event: Bar | Tick | None,
        market_ns: int,
        queue: tuple[tuple[Bar, ...], ...],
        feed_state: bytes,
        effects: Effects,
    ) -> None:
        self._market_ns = max(self._market_ns, market_ns)
        number = kept.number + 1 if kept is not None else 1
        for bar in due:  # a bar's close is news of its symbol, also where its last event came earlier
            self._marks[bar.symbol] = Mark(bar.symbol, bar.close, max(bar.end_ns, self._marks[bar.symbol].ts_ns))
        self._count_refused()
        began = _Kept(
            number=number,
            event=event,
            market_ns=self._market_ns,
            due=due,
            published=(),
            queue=queue,
            feed_state=feed_state,
            builders=self._builder_states(),
            marks=tuple(self._marks.values()),
            events=self._events,
            journal_head=kept.journal_head if kept is not None else 0,
            refused=dict(self._refused),
            is_ended=False,
        )
        self._keep(began, effects)
        self._barrier = Barrier(number, is_repeated=False)
        self._began_ns = self._clock.monotonic_ns()

    def _count_refused(self) -> None:
        """Add up what the feed and the builders have refused so far; no count ever goes back."""
        if self._feed.refused or self._misfits:
            self._refused = Counter(self._feed.refused) + self._misfits

    def _is_due(self, arrival_ns: int, effects: Effects) -> bool:
        """Say whether the pace allows the next event; where not, a timer is set."""
        if self._speed is None or not self._began_ns:
            return True
        due_ns = self._began_ns + int(max(0, arrival_ns - self._market_ns) / self._speed)
        if self._clock.monotonic_ns() >= due_ns:
            return True
        effects.timer("pace", due_ns)
        return False

    def _look_ahead(self) -> tuple[Bar | Tick | None, bytes]:
        """Give the next event that every builder can take in, and the feed's place before it.

        Events that no builder could take in are counted and passed over.
        """
        while self._ahead is None:
            before = self._feed.state()
            event = self._feed.next_event()
            builders = self._taking(event) if event is not None else ()
            misfit = next((code for builder in builders if event and (code := builder.misfit(event))), None)
            if misfit is None:
                self._ahead = (event, before)
            else:
                self._misfits[misfit] += 1
        return self._ahead

    def _end(self, feed_state: bytes, effects: Effects) -> bool:
        kept = self._kept
        number = kept.number if kept is not None else 0
        self._count_refused()
        if kept is None:
            kept = _Kept(number, None, 0, (), (), (), feed_state, (), (), 0, 0, {}, is_ended=True)
        self._keep(msgspec.structs.replace(kept, refused=dict(self._refused), is_ended=True), effects)
        self._tell_the_end(effects)
        return False

    def _tell_the_end(self, effects: Effects) -> None:
        if not self._is_told:
            self._is_told = True
            reason = f"the feed has ended after {self._events} events"
            effects.post("root", RootAsked("feed-ended", "finish", {"reason": reason}), is_gated=False)
