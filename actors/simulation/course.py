"""One run of a simulated desk from its start to its end: the market, the operator, and what became of it."""

import gc
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
from typing_extensions import override

from actors.arguments import MarketDataArguments
from actors.execution.room import Execution
from actors.feeds.feed import Feed
from actors.feeds.synthetic import SyntheticFeed
from actors.makers import open_feed
from actors.market_steps import SteppedMarketData
from actors.simulation.calls import Steps
from actors.simulation.exchange import Exchange, ModelPort
from actors.simulation.invariants import Judge
from actors.simulation.link import Frame
from actors.simulation.memory import MemoryStore
from actors.simulation.scenario import Scenario
from actors.simulation.shell import Heard, KilledError, Shell
from actors.simulation.world import STATE, Maker, World
from actors.strategy_catalogue import adopt_folder
from actors.topics import strategy_path
from actors.tree import desk_tree, venue_path
from actors.venues.gateway import Gateway
from actors.words import desk_codec
from desk.messages import (
    AwayWished,
    Bar,
    CancelWanted,
    CapitalWished,
    Effect,
    FlatteningWished,
    Intent,
    IntentJudged,
    OperatorAnswered,
    ReconciliationWished,
    SubmitOrder,
    Tick,
    VenueReport,
)
from desk.units import NS_PER_MS, NS_PER_S
from runtime.child import Context, Made
from runtime.effects import Effects
from runtime.restart import Exit, ExitKind
from runtime.room import NOTHING, Room, Wiring

CENT = Decimal("0.01")
#: How long a desk on which nothing goes wrong any more may take to come to rest.
REST_S = 240
START_S = 120
HALF = 0.5
#: What an operator pays in, or takes out.
DEPOSITS = (Decimal(100), Decimal(70_000), Decimal(-20_000))
OPERATOR = "operator"
#: Bars of each symbol for which a desk in simulated time trades on while nothing goes wrong any more.
CALM_BARS = 8
#: Events of a feed that is not cut short.
EVENTS_MAX = 1 << 40
#: So many new objects may live before a run looks for garbage among them.
YOUNG_MAX = 100_000
#: How often a wish without an answer is said.
WISHES_MAX = 60
PRICES = {"SPY": 475.0, "BTCUSD": 44_000.0, "ETHUSD": 2_250.0}


class Trade(msgspec.Struct, frozen=True, array_like=True):
    """One execution as the books have it."""

    strategy: str
    symbol: str
    side: str
    quantity: Decimal
    price: Decimal
    fee: Decimal
    ts_ns: int


class Outcome(msgspec.Struct, frozen=True):
    """What became of a run. ``timeline`` is empty where nobody asked for it."""

    seed: int
    desk: str
    violations: tuple[str, ...]
    trace_hash: str
    faults: dict[str, int]
    kill_points: dict[str, int]
    occurrences: tuple[tuple[int, str], ...]
    trades: tuple[Trade, ...]
    orders: int
    events: int
    timeline: tuple[str, ...] = ()


class _Mute(Room):
    """A process that is there and does nothing: the console and the watchdog stand outside of what is simulated."""

    @override
    def hear(self, peer: str, epoch: int, word: Any) -> Effects:
        """Hear and do nothing."""
        return NOTHING


class _Hand(Room):
    """The console, as far as execution hears of it: it passes on what an operator wishes, and hears the answers."""

    def __init__(self, answers: dict[str, OperatorAnswered]) -> None:
        """Leave the answers here, by request."""
        self._answers = answers

    @override
    def hear(self, peer: str, epoch: int, word: Any) -> Effects:
        """Pass a wish on, or take an answer."""
        effects = Effects()
        if peer == OPERATOR:
            effects.post("execution", word)
        elif isinstance(word, OperatorAnswered):
            self._answers[word.request] = word
        return effects


class _EndedFeed:
    """A feed up to so many events."""

    def __init__(self, feed: Feed, most: int) -> None:
        """Begin where the feed begins."""
        self._feed, self._left = feed, most
        self.timeframes, self.refused = feed.timeframes, feed.refused

    def next_event(self) -> Bar | Tick | None:
        """Give the next event, or None behind the last one."""
        if self._left <= 0:
            return None
        self._left -= 1
        return self._feed.next_event()

    def state(self) -> bytes:
        """Give where it stands."""
        return self._left.to_bytes(8, "big") + self._feed.state()

    def restore(self, state: bytes) -> None:
        """Go on from there."""
        self._left = int.from_bytes(state[:8], "big")
        self._feed.restore(state[8:])
        self.refused = self._feed.refused

    def close(self) -> None:
        """Let go of what the feed holds."""
        self._feed.close()


class Course:
    """Carries one scenario out."""

    def __init__(self, scenario: Scenario, *, is_told: bool = False, makers: dict[str, Maker] | None = None) -> None:
        """Build the world; nothing runs yet.

        ``makers`` take the place of the desk's own, by entry: so a test runs a desk with one of its parts replaced.
        """
        self.scenario = scenario
        if scenario.folder:
            adopt_folder(Path(scenario.folder))
        settings = scenario.settings
        self.tree = desk_tree(settings, "simulated")
        mine: dict[str, Maker] = {
            "actors.makers:console": self._console,
            "actors.makers:watchdog": _mute,
            "actors.makers:gateway": self._gateway,
        }
        if scenario.is_stepped:
            mine["actors.makers:market_data"] = self._market
        self.world = World(
            self.tree,
            scenario.faults,
            seed=scenario.seed,
            wall_ns=scenario.wall_ns,
            makers={**mine, **(makers or {})},
            only=scenario.only,
            is_told=is_told,
        )
        self.world.deaf = frozenset({"console", "watchdog"})
        self.chance = self.world.chance
        self.venue = venue_path(settings)
        self.exchange: Exchange | None = None
        self.prices = {symbol: Decimal(str(PRICES.get(symbol, 100.0))) for symbol in settings.feed.symbols}
        self._steps: Steps | None = None
        self._gateways = 0
        self._serial = 0
        self._feeds: list[Feed] = []
        self._answers: dict[str, OperatorAnswered] = {}
        self._last_step = -1
        self._calm_from = (scenario.bars or EVENTS_MAX) * len(settings.feed.symbols)
        self._settings = settings
        self.judge = Judge(self.world, scenario, self.venue)
        if not scenario.is_stepped:
            exchange = Exchange(settings.venue.traits, self.world.clock, self.world.trouble, self.prices)
            exchange.tell = self._venue_tells
            self.exchange = self.judge.exchange = self.judge.auditor.exchange = exchange
            exchange.seen = self.judge.auditor.saw
        self.world.on_commit = self._committed

    # --- makers -------------------------------------------------------------------------------

    def _gateway(self, context: Context, _arguments: bytes) -> Made:
        assert self.exchange is not None, "a gateway has a venue"
        world = self.world
        shell = world.paths[context.path]
        assert shell is not None, "who is made is born"
        self._gateways += 1
        port = ModelPort(self.exchange, world.trouble, self._late, self.chance)
        self._steps = Steps(world, shell, port.held_ns)
        room = Gateway(
            port,
            self._settings.feed.symbols,
            epoch=context.epoch,
            clock=context.clock,
            log=context.log,
            threads=self._steps,
        )
        return Made(room, Wiring(has_hub=True), None, desk_codec())

    def _console(self, _context: Context, _arguments: bytes) -> Made:
        return Made(_Hand(self._answers), Wiring(spokes=("execution",)), None, desk_codec())

    def _market(self, context: Context, arguments: bytes) -> Made:
        told = msgspec.msgpack.decode(arguments, type=MarketDataArguments)
        codec, feed = desk_codec(), told.feed
        scenario, count = self.scenario, len(feed.symbols)
        if scenario.has_own_feed:
            market = open_feed(feed)
            self._feeds.append(market)
            ended = _EndedFeed(market, (scenario.bars or EVENTS_MAX) * count)
        else:
            market = SyntheticFeed(feed.symbols, feed.seed, scenario.wall_ns)
            ended = _EndedFeed(market, (scenario.bars + CALM_BARS) * count)
        store = context.disk.store(STATE / "market", is_synced=False)
        room = SteppedMarketData(ended, None, told.routes, told.venues, store, codec, context.clock)
        return Made(room, Wiring(has_hub=True, has_stream=True), store, codec)

    def _late(self, in_ns: int, do: Callable[[], object]) -> None:
        before = self._gateways, self.world.epochs.get("execution")

        def arrive() -> None:
            if (self._gateways, self.world.epochs.get("execution")) != before:
                self.world.kill_points["K11"] += 1
            self.world.tell(self.venue, "a call that nobody waits for any more is carried out")
            do()

        self.world.later(in_ns, arrive)

    def _venue_tells(self, report: VenueReport) -> None:
        steps, trouble = self._steps, self.world.trouble
        self.world.note(f"venue {type(report).__name__} {report.order_id}")
        self.world.tell("the venue", str(report))
        stream = steps.stream if steps is not None else None
        if stream is None:
            return
        if trouble.happens("broken"):
            stream.breaks(self.world.draw_ns(100 * NS_PER_MS, 4 * NS_PER_S))
            return
        for _ in range(1 + trouble.happens("retold")):
            if not trouble.happens("untold"):
                longest_ns = (20 * NS_PER_MS, 20 * NS_PER_MS, 600 * NS_PER_MS)[int(self.chance.random() * 3)]
                stream.tell(report, self.world.draw_ns(NS_PER_MS, longest_ns))

    # --- running ------------------------------------------------------------------------------

    def run(self) -> Outcome:
        """Let the scenario happen, and judge it."""
        world = self.world
        world.start()
        if self.scenario.is_stepped:
            self._run_stepped()
        else:
            self._run_live()
        for feed in self._feeds:
            feed.close()
        trouble = world.trouble
        return Outcome(
            self.scenario.seed,
            self.scenario.desk,
            tuple(world.violations),
            world.trace_hash(),
            dict(trouble.counts),
            dict(world.kill_points),
            tuple(trouble.occurrences),
            self.trades(),
            self.judge.orders_seen(),
            world.events,
            tuple(world.timeline),
        )

    def _passes(self, seconds: float) -> None:
        self.world.run(self.world.clock.now_ns + int(seconds * NS_PER_S))

    def _run_stepped(self) -> None:
        world = self.world
        for _ in range(4000):
            self._passes(0.5)
            if world.violations or self._feed_is_over():
                break
        else:
            world.violate("the steps of the market came to no end: somebody never settled")
            return
        self._rest()

    def _calm(self) -> None:
        """Let nothing go wrong any more, and the desk trade on for a while."""
        if not self.world.trouble.is_calm:
            self.world.trouble.calm()
            if self.exchange is not None:
                self.exchange.mend_clock()
            self._let_go_on()

    def _feed_is_over(self) -> bool:
        shell = self.world.standing("market_data")
        room = shell.room if shell is not None else None
        return isinstance(room, SteppedMarketData) and room.is_ended

    def _run_live(self) -> None:
        world = self.world
        for _ in range(START_S * 5):
            self._passes(0.2)
            if world.violations or self._is_open():
                break
        ticks = self.scenario.bars * 2
        for number in range(ticks):
            self._tick(NS_PER_S)
            if world.violations:
                return
            if number == ticks - 1:
                break
            self._disturb()
        self._calm()
        self._rest()

    def _is_open(self) -> bool:
        shell = self.world.standing("execution")
        room = shell.room if shell is not None else None
        is_open = isinstance(room, Execution) and not room.facts()["gate"]
        return is_open and all(map(self.world.standing, self.world.paths))

    def _rest(self) -> None:
        """Let the desk come to rest: whatever was under way ends, and whatever fell stands again."""
        world = self.world
        for _ in range(REST_S // 10):
            if self.scenario.is_stepped:
                self._passes(2.0)
            else:
                for _ in range(4):
                    self._tick(2 * NS_PER_S + NS_PER_S // 2, is_still=True)
                self._passes(0.37)  # or every look would come in the same moment of the bars, which may be a busy one
            if world.violations or self.judge.is_at_rest():
                return
        self.judge.end()

    def _tick(self, pause_ns: int, *, is_still: bool = False) -> None:
        """Let the price of each symbol move, tell of it, and let a while pass."""
        world, exchange = self.world, self.exchange
        assert exchange is not None, "ticks come to a desk with a venue behind a wire"
        for symbol in self._settings.feed.symbols:
            price = self.prices[symbol]
            if not is_still:
                price = (price * Decimal(10_000 + int(self.chance.random() * 41) - 20) / 10_000).quantize(CENT)
            exchange.move(symbol, price)
            if not is_still:
                exchange.end_some()
            body: dict[str, Any] = {
                "symbol": symbol,
                "timestamp": world.clock.wall_ns(),
                "price": float(price),
                "size": 1,
            }
            if world.trouble.happens("nonsense"):
                body["price"] = self.chance.choice((float("1e999"), -1.0, 0.0, "none", None))
            shell = world.standing("market_data")
            if shell is not None:
                frames = (symbol.encode(), json.dumps(body).encode())
                shell.arrive([Frame("feed", 0, frames)])
        world.run(world.clock.now_ns + pause_ns)

    # --- what befalls the whole desk ----------------------------------------------------------

    def _committed(self, shell: Shell, heard: Heard) -> None:
        self.judge.committed(shell, heard)
        if "brake" in self.world.trouble.rates:
            self._brake(heard)
        if shell.path == "market_data" and isinstance(shell.room, SteppedMarketData):
            step = shell.room.step
            if step != self._last_step:
                self._last_step = step
                self.world.later(1, self._disturb if step < self._calm_from else self._calm)

    def _disturb(self) -> None:
        trouble, world = self.world.trouble, self.world
        if world.is_up and trouble.happens("root"):
            world.fall_whole(is_power=False)
        if world.is_up and trouble.happens("power"):
            world.fall_whole(is_power=True)
        if trouble.happens("wish"):
            self._wish()
        if trouble.happens("edit"):
            self._edit()
        if trouble.happens("slow"):
            self._slow()
        if trouble.happens("corrupt"):
            self._corrupt()
        if self.exchange is not None and trouble.happens_later("drift"):
            self._drift(self.exchange)

    def _drift(self, exchange: Exchange) -> None:
        """Let the venue's clock go wrong for a while; its stream breaks, so that it is looked at."""
        trouble, steps = self.world.trouble, self._steps
        ahead_ns = trouble.later_ns(300 * NS_PER_MS, 600 * NS_PER_MS)
        exchange.skew_ns = ahead_ns if trouble.later.random() < HALF else -ahead_ns
        self.world.tell("the venue", f"its clock is {exchange.skew_ns / NS_PER_S:.3f} s ahead")
        if steps is not None and steps.stream is not None:
            steps.stream.breaks(trouble.later_ns(100 * NS_PER_MS, 2 * NS_PER_S))
        self.world.later(trouble.later_ns(5 * NS_PER_S, 30 * NS_PER_S), exchange.mend_clock)

    def _brake(self, heard: Heard) -> None:
        """Halt the desk, or put a strategy away, where an entry was just kept and has not left yet.

        Raises:
            KilledError: Its process dies right then.
        """
        said = [post.word for post in heard.effects.posts]
        entries = [word for word in said if isinstance(word, Intent | IntentJudged | SubmitOrder) and _opens(word)]
        trouble, world = self.world.trouble, self.world
        if not entries or not trouble.happens_later("brake"):
            return
        first = entries[0]
        intent = first.intent if isinstance(first, IntentJudged) else first
        if isinstance(intent, Intent) and trouble.later.random() < HALF:
            world.note(f"brake {intent.strategy}")
            name = intent.strategy
            back_ns = trouble.later_ns(NS_PER_S, 20 * NS_PER_S)
            world.later(1, lambda: self._put_away(name, "", lambda: back_ns))
        else:
            world.note("brake")
            world.tell("operator", "halts the desk")
            world.disk.halt.write("an operator's hand")
            world.later(trouble.later_ns(NS_PER_S, 15 * NS_PER_S), self._resume)
        if trouble.later.random() < HALF:
            place = "brake"
            raise KilledError(place)

    def _slow(self) -> None:
        """Let one process be slow for a while."""
        shells = [shell for shell in self.world.paths.values() if shell is not None and shell.is_alive]
        if not shells:
            return
        shell = shells[int(self.chance.random() * len(shells))]
        shell.slow_ns = self.world.draw_ns(NS_PER_MS, 300 * NS_PER_MS)

        def recover() -> None:
            shell.slow_ns = 0

        self.world.later(self.world.draw_ns(NS_PER_S, 5 * NS_PER_S), recover)

    def _corrupt(self) -> None:
        """Let a process die whose store then cannot be read whole, until it is restored."""
        world = self.world
        shells = [s for s in world.paths.values() if s is not None and s.is_alive and isinstance(s.store, MemoryStore)]
        if not shells:
            return
        shell = shells[int(self.chance.random() * len(shells))]
        store = shell.store
        assert isinstance(store, MemoryStore), "every simulated store is one in memory"
        what = store.damage(self.chance)
        world.tell(shell.path, f"{what} of its store cannot be read any more")
        world.ended(shell, Exit(ExitKind.SIGNAL, "kill -9"))
        world.later(world.draw_ns(100 * NS_PER_MS, 8 * NS_PER_S), store.damaged.clear)

    def _wish(self) -> None:
        """Do what an operator does: halt, resume, put a strategy away, take it back, flatten, cancel, deposit."""
        world, halt = self.world, self.world.disk.halt
        kind = ("halt", "resume", "disable", "enable", "flatten", "cancel", "deposit", "reconcile")[
            int(self.chance.random() * 8)
        ]
        names = [entry.name for entry in self._settings.strategies]
        name = names[int(self.chance.random() * len(names))]
        world.tell("operator", f"{kind} {name}")
        world.note(f"operator {kind} {name}")
        self._serial += 1
        request = f"r{self._serial}"
        match kind:
            case "halt":
                halt.write("an operator's hand")
                world.later(world.draw_ns(NS_PER_S, 15 * NS_PER_S), self._resume)
            case "resume":
                self._resume()
            case "disable":
                how = ("hold", "flatten", "")[int(self.chance.random() * 3)]
                self._put_away(name, how, lambda: world.draw_ns(NS_PER_S, 20 * NS_PER_S))
            case "enable":
                self._enable(name)
            case "flatten":
                self._to_execution(FlatteningWished(request, name, "", "by hand", "operator"), request)
            case "cancel":
                self._to_execution(CancelWanted(name, "by hand"))
            case "deposit":
                amount = DEPOSITS[self._serial % len(DEPOSITS)]
                self._to_execution(CapitalWished(request, amount, "by hand", "operator"), request)
            case _:
                self._to_execution(ReconciliationWished(request, False, "operator"), request)

    def _put_away(self, name: str, how: str, back_ns: Callable[[], int]) -> None:
        """Disable a strategy, and take it back after a while."""
        world = self.world
        self._to_execution(AwayWished(name, how))
        world.desired[strategy_path(name)] = False
        if world.is_up:
            world.do(world.supervision.disable(strategy_path(name), world.clock.now_ns, "by hand"))
        world.later(back_ns(), lambda: self._enable(name))

    def _resume(self) -> None:
        reason = self.world.disk.halt.reason()
        if reason == "an operator's hand":
            self.world.disk.halt.remove()

    def _enable(self, name: str) -> None:
        world = self.world
        world.desired[strategy_path(name)] = True
        if world.is_up:
            world.do(world.supervision.enable(strategy_path(name), world.clock.now_ns))

    def _to_execution(self, word: Any, request: str = "", tries: int = 0) -> None:
        """Say something to execution as the console does: again until it is answered, where it is answered."""
        world = self.world
        if request in self._answers:
            return
        shell = world.standing("console")
        if shell is not None:
            shell.arrive([Frame(OPERATOR, 0, word)])
        if request and tries < WISHES_MAX:
            world.later(2 * NS_PER_S, lambda: self._to_execution(word, request, tries + 1))

    def _edit(self) -> None:
        """Change the file: limits, a parameter, a setting of execution; what runs takes it over."""
        world, settings = self.world, self._settings
        strategies = tuple(
            msgspec.structs.replace(
                entry, parameters={**entry.parameters, "busy": (40, 60, 90)[int(self.chance.random() * 3)]}
            )
            for entry in settings.strategies
        )
        positions = (2, 4, 8)[int(self.chance.random() * 3)]
        risk = msgspec.structs.replace(settings.risk, max_positions=positions)
        self._settings = msgspec.structs.replace(settings, strategies=strategies, risk=risk)
        self.judge.limits(self._settings)
        self.judge.auditor.limits(self._settings.risk)
        self.tree = world.tree = desk_tree(self._settings, "simulated")
        world.tell("operator", f"edits the file: max_positions {positions}")
        world.note(f"edit {positions}")
        if world.is_up:
            world.do(world.supervision.become(self.tree, world.clock.now_ns, reason="the file says so"))

    def _let_go_on(self) -> None:
        """Take back what an operator did: the desk shall come to rest as one that trades."""
        self.world.disk.halt.remove() if self.world.disk.halt.reason() == "an operator's hand" else None
        for entry in self._settings.strategies:
            self._enable(entry.name)
        for shell in self.world.paths.values():
            if shell is not None:
                shell.slow_ns = 0

    # --- looking ------------------------------------------------------------------------------

    def trades(self) -> tuple[Trade, ...]:
        """Give every execution that the journal has, oldest first."""
        return tuple(
            Trade(fill.strategy, fill.symbol, fill.side.value, fill.quantity, fill.price, fill.fee, fill.ts_ns)
            for fill in self.judge.fills
        )


def _opens(word: Intent | IntentJudged | SubmitOrder) -> bool:
    """Say whether this is on the way to open something."""
    if isinstance(word, SubmitOrder):
        return not word.is_exit
    return word.effect is Effect.OPEN if isinstance(word, Intent) else word.is_approved and _opens(word.intent)


def _mute(_context: Context, _arguments: bytes) -> Made:
    return Made(_Mute(), Wiring(), None, desk_codec())


def run(scenario: Scenario, *, is_told: bool = False, makers: dict[str, Maker] | None = None) -> Outcome:
    """Let a scenario happen; with ``is_told`` the outcome has a timeline.

    Nearly all that a run makes is gone with its last reference, or lives until the end. So garbage is looked for
    seldom on the way, and once behind it, among what the run has left alone: nothing of it is left to the next one.
    """
    before = gc.get_threshold()
    gc.set_threshold(YOUNG_MAX, *before[1:])
    try:
        course = Course(scenario, is_told=is_told, makers=makers)
        outcome = course.run()
        course.world.let_go()
        del course
    finally:
        gc.collect(0)
        gc.set_threshold(*before)
    return outcome
