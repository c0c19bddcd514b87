"""Verdicts that came together are heard to the same effects as one by one, whatever state execution is in."""

from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from actors.execution.room import Execution
from actors.settings import ExecutionSettings
from actors.words import desk_codec
from desk.identity import order_id
from desk.messages import (
    Effect,
    HoldersGiven,
    HoldersWanted,
    IntentJudged,
    OrderAccepted,
    OrderFilled,
    OrderRejected,
    OrderState,
    OrderType,
    OrderUnclear,
    ProtectiveStop,
    Side,
    SubmitOrder,
    Tick,
    VenueSnapshot,
)
from desk.units import NS_PER_S, ZERO
from desk.venue import KRAKEN, PAPER, Instrument
from runtime.bus_words import StreamItem
from runtime.effects import Effects
from runtime.folder import Sentinel
from runtime.log import Log
from runtime.store import Store
from runtime.words import Peer
from tests.actors.lone_execution import CAPITAL, OWNERS, START_NS, VENUE
from tests.desk.orders import an_intent
from tests.runtime.fakes import HandClock

#: What a verdict may be of; a crumb is less than a lot, and the venue refuses it.
KINDS = ("market", "limit", "market", "limit", "crumb", "refused", "close", "modify")
SYMBOLS = {"SPY": Instrument(symbol="SPY"), "QQQ": Instrument(symbol="QQQ", lot=Decimal(1), tick=Decimal("0.5"))}


#: The incarnation that every verdict here is of.
EPOCH = an_intent().epoch


class Scene(NamedTuple):
    """What execution is like, and how many orders may wait for the venue."""

    is_remote: bool = False
    is_stepped: bool = False
    queue_max: int = 1_000


class World:
    """Execution on a ledger of its own, and what its shell would do."""

    def __init__(self, folder: Path, scene: Scene, *, is_together: bool) -> None:
        """Begin; a remote venue is up."""
        self.is_together, self.scene = is_together, scene
        self.clock = HandClock()
        self.clock.advance_ns(START_NS)
        self.sentinel = Sentinel(folder)
        self.store = Store.open(folder / "ledger", is_synced=False, map_bytes=8 << 20)
        self.start_again()

    def start_again(self) -> None:
        """Let execution begin, on what it kept if it fell."""
        scene = self.scene
        self.room = Execution(
            venue=VENUE,
            traits=KRAKEN if scene.is_remote else PAPER,
            capital=CAPITAL,
            store=self.store,
            codec=desk_codec(),
            clock=self.clock,
            sentinel=self.sentinel,
            log=Log("execution"),
            owners=OWNERS,
            is_stepped=scene.is_stepped,
            pace=ExecutionSettings(queue_max=scene.queue_max),
            instruments=SYMBOLS,
        )
        self.effects = Effects()
        self.effects.add(self.room.recover())
        self.effects.add(self.room.peers((Peer(VENUE, 1, "RUNNING"),)))
        self.commit()

    def commit(self) -> None:
        """End the turn."""
        self.store.commit(self.effects.writes)
        self.effects = Effects()

    def judge(self, words: list[IntentJudged]) -> None:
        """Hear verdicts, together or one by one."""
        if self.is_together:
            self.effects.add(self.room.hear_many("risk", 1, words))
        else:
            for word in words:
                self.effects.add(self.room.hear("risk", 1, word))

    def hear(self, word: Any) -> None:
        """Hear the venue."""
        self.effects.add(self.room.hear(VENUE, 1, word))

    def came_to(self) -> tuple[Any, ...]:
        """Give everything that can be told of the turn so far, and of what execution knows."""
        effects, room = self.effects, self.room
        return (
            effects.writes,
            effects.posts,
            effects.published,
            effects.timers,
            room.facts(),
            room._journal.fold(),
            room._journal.given("alpha", 0),
            room.stream_heads(),
        )


def verdict(kind: str, number: int) -> IntentJudged:
    """Give risk's word on the intent of this number: of every third one in another symbol, of each fifth another's."""
    symbol, strategy = ("SPY", "QQQ", "SPY")[number % 3], "beta" if number % 5 == 4 else "alpha"
    intent = replace(
        an_intent(),
        intent_id=f"i{number}",
        strategy=strategy,
        symbol=symbol,
        effect={"close": Effect.CLOSE, "modify": Effect.MODIFY}.get(kind, Effect.OPEN),
        side=Side.SELL if kind == "close" else Side.BUY,
        order_type=OrderType.LIMIT if kind == "limit" else OrderType.MARKET,
        limit_price=Decimal("99.75") if kind == "limit" else None,
        order_ttl_ns=20 * NS_PER_S if kind == "limit" else 0,
        quantity=Decimal("0.4") if kind == "crumb" else Decimal(2),
        decided_ns=START_NS + number * NS_PER_S,
    )
    reasons = ("MAX_ORDERS: enough", "DATA_STALE: old") if kind == "refused" else ()
    return IntentJudged(order_id(intent.intent_id), intent, ZERO if reasons else intent.quantity or ZERO, reasons, 0)


def act(world: World, name: str, number: int) -> None:  # noqa: C901 - one line for each act
    """Let something happen that changes what execution may do."""
    client, ts_ns = order_id(f"i{number}"), START_NS + 60 * NS_PER_S
    match name:
        case "commit":
            world.commit()
        case "reconcile":
            world.hear(VenueSnapshot(1, (), {}, CAPITAL, (), 1))
        case "differ":
            world.hear(VenueSnapshot(1, (), {"SPY": Decimal(1_000_000)}, ZERO, (), 1))
        case "accept":
            world.hear(OrderAccepted(0, client, f"v{number}", ts_ns))
        case "fill":
            two, price = Decimal(2), Decimal(100)
            world.hear(OrderFilled(0, client, f"x{number}", two, price, ZERO, False, ZERO, ts_ns))
        case "reject":
            world.hear(OrderRejected(0, client, "no", ts_ns))
        case "lose":
            world.hear(OrderUnclear(0, client, "no answer", ts_ns))
        case "halt":
            world.commit()
            world.sentinel.write("lunch")
        case "resume":
            world.commit()
            world.sentinel.remove()
        case "supersede":
            world.effects.add(world.room.hear("console", 1, HoldersWanted(number, {"beta": EPOCH - number % 2})))
        case "wait":
            world.clock.advance_ns(number * NS_PER_S)
        case _:
            tick = Tick("SPY", START_NS + number * 10 * NS_PER_S, 100.0)
            world.effects.add(world.room.hear_stream("market_data", StreamItem("SPY/tick", 1, 0, b"", False), tick))


NUMBERS = st.integers(0, 6)
VERDICTS = st.lists(st.tuples(st.sampled_from(KINDS), NUMBERS), min_size=1, max_size=8)
ACTS = st.tuples(
    st.sampled_from(
        (
            "commit",
            "reconcile",
            "differ",
            "accept",
            "fill",
            "reject",
            "lose",
            "halt",
            "resume",
            "wait",
            "supersede",
            "tick",
        )
    ),
    NUMBERS,
)
SCENES = st.builds(
    Scene,
    st.sampled_from((False, False, False, False, True)),
    st.sampled_from((False, False, False, False, True)),
    st.sampled_from((2, 5, 1_000)),
)


@settings(deadline=None)
@example(Scene(), True, [[("market", 0), ("refused", 1), ("market", 0), ("limit", 2), ("limit", 2)]])
@example(Scene(), True, [[("market", 0)], ("lose", 0), [("market", 3), ("market", 1)], ("commit", 0), [("limit", 5)]])
@example(
    Scene(), True, [[("market", 0)], ("wait", 6), [("market", 1), ("limit", 2)], ("wait", 61), [("market", 3)] * 2]
)
@example(Scene(), True, [[("limit", 0), ("crumb", 1), ("limit", 3)], ("halt", 0), [("limit", 4), ("close", 0)]])
@given(SCENES, st.booleans(), st.lists(VERDICTS | ACTS, max_size=12))
def test_verdicts_that_come_together_are_as_one_by_one(scene: Scene, is_reconciled: bool, course: list[Any]) -> None:
    with TemporaryDirectory() as one, TemporaryDirectory() as other:
        worlds = [World(Path(one), scene, is_together=False), World(Path(other), scene, is_together=True)]
        steps: list[Any] = [("reconcile", 0)] * is_reconciled
        for step in steps + course:
            for world in worlds:
                if isinstance(step, list):
                    world.judge([verdict(kind, number) for kind, number in step])
                else:
                    act(world, *step)
            assert worlds[0].came_to() == worlds[1].came_to()
        for world in worlds:
            world.store.close()


@pytest.fixture
def open_desk(tmp_path: Path) -> World:
    """A desk on paper whose gate is open."""
    world = World(tmp_path, Scene(queue_max=3), is_together=True)
    act(world, "reconcile", 0)
    world.commit()
    return world


def test_of_entries_that_come_together_only_so_many_leave_as_may_wait_for_the_venue(open_desk: World) -> None:
    open_desk.judge([verdict("market", number) for number in range(5)])

    states = [order.reason for order in open_desk.room._journal.ledger.orders()]
    assert [post.peer for post in open_desk.effects.posts] == [VENUE] * 3
    assert sum(reason.startswith("BACKPRESSURE") for reason in states) == 2


def test_a_halt_holds_for_all_entries_that_come_together(open_desk: World) -> None:
    open_desk.sentinel.write("lunch")
    open_desk.judge([verdict("limit", number) for number in range(3)])

    assert open_desk.effects.posts == []
    assert [order.reason for order in open_desk.room._journal.ledger.orders()] == ["HALTED: lunch"] * 3


def test_what_was_heard_before_is_passed_over_among_what_is_new(open_desk: World) -> None:
    open_desk.judge([verdict("market", 1)])
    act(open_desk, "fill", 1)
    open_desk.commit()

    open_desk.judge([verdict("market", 1), verdict("market", 2), verdict("market", 2)])

    sent = [post.word for post in open_desk.effects.posts]
    assert [word.order_id for word in sent if isinstance(word, SubmitOrder)] == [order_id("i2")]


def test_what_follows_from_a_report_bears_no_time_before_it(open_desk: World) -> None:
    judged = verdict("market", 0)
    levels = {"stop_loss": Decimal(90), "take_profit": Decimal(110), "protective_stop": ProtectiveStop.VENUE}
    open_desk.judge([replace(judged, intent=replace(judged.intent, **levels))])
    act(open_desk, "fill", 0)
    working = open_desk.room._journal.ledger.working
    stop, target = sorted(working.values(), key=lambda order: order.type is OrderType.LIMIT)
    open_desk.hear(OrderAccepted(0, target.order_id, "v1", target.changed_ns))
    later_ns = target.changed_ns + 3600 * NS_PER_S

    open_desk.hear(OrderFilled(0, stop.order_id, "gap", stop.quantity, Decimal(90), ZERO, False, ZERO, later_ns))

    ended = working[target.order_id]
    assert (ended.state, ended.changed_ns) == (OrderState.PENDING_CANCEL, later_ns)


def holders(world: World, superseded: dict[str, int]) -> tuple[str, ...]:
    """Ask who holds something."""
    (post,) = world.room.hear("console", 1, HoldersWanted(1, superseded)).posts
    assert isinstance(post.word, HoldersGiven)
    return post.word.names


def refusals(world: World) -> list[str]:
    return [order.reason for order in world.room._journal.ledger.orders() if order.state is OrderState.REJECTED]


def test_whoever_is_flat_and_gets_other_code_opens_nothing_more_and_its_successor_does(open_desk: World) -> None:
    assert holders(open_desk, {"alpha": EPOCH}) == ()
    late, beside, successor = verdict("market", 0), verdict("market", 4), verdict("limit", 1)

    open_desk.judge([late, beside, replace(successor, intent=replace(successor.intent, epoch=EPOCH + 1))])

    assert [reason.partition(":")[0] for reason in refusals(open_desk)] == ["SUPERSEDED"]
    sent = [post.word for post in open_desk.effects.posts]
    assert [word.order_id for word in sent if isinstance(word, SubmitOrder)] == [order_id("i4"), order_id("i1")]


def test_whoever_still_holds_something_trades_on_until_it_is_flat(open_desk: World) -> None:
    open_desk.judge([verdict("market", 0)])

    assert holders(open_desk, {"alpha": EPOCH}) == ("alpha",)

    open_desk.judge([verdict("market", 1), verdict("close", 2)])
    assert refusals(open_desk) == []


def test_whoever_keeps_its_code_after_all_opens_as_before(open_desk: World) -> None:
    holders(open_desk, {"alpha": EPOCH})
    holders(open_desk, {"alpha": -1})

    open_desk.judge([verdict("market", 0)])

    assert refusals(open_desk) == []


def test_whoever_is_to_open_nothing_more_opens_nothing_behind_a_fall_of_execution(open_desk: World) -> None:
    for superseded in ({"alpha": EPOCH, "beta": EPOCH}, {"beta": -1}):
        open_desk.effects.add(open_desk.room.hear("console", 1, HoldersWanted(1, superseded)))
        open_desk.commit()

    open_desk.start_again()
    act(open_desk, "reconcile", 0)
    open_desk.judge([verdict("market", 0), verdict("market", 4)])

    assert [reason.partition(":")[0] for reason in refusals(open_desk)] == ["SUPERSEDED"]


def test_nobody_but_the_console_says_who_is_to_open_nothing_more(open_desk: World) -> None:
    open_desk.effects.add(open_desk.room.hear("strategies/beta", 1, HoldersWanted(1, {"alpha": EPOCH})))

    open_desk.judge([verdict("market", 0)])

    assert refusals(open_desk) == []
