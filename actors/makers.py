"""What each child process is made of: its room, its sockets, its store. Arguments come as bytes from the tree."""

import os
from pathlib import Path

import msgspec

from actors.arguments import (
    MARKET_DATA,
    STRATEGY_STORE_BYTES,
    ConsoleArguments,
    ExecutionArguments,
    GatewayArguments,
    MarketDataArguments,
    PaperArguments,
    RiskArguments,
    store_name,
    store_path,
)
from actors.candidate import CandidateRoom
from actors.console.audit import MAP_BYTES as AUDIT_BYTES
from actors.console.audit import Audit
from actors.console.desired import Desired
from actors.console.room import Console
from actors.control_keys import keep_server_keys, server_secret_file
from actors.evaluator import Evaluator
from actors.execution.remembering import RememberingExecution
from actors.feeds.feed import Feed
from actors.feeds.replay import ReplayFeed
from actors.feeds.synthetic import SyntheticFeed
from actors.journal import LEDGER_SCHEMA
from actors.market_data import LiveMarketData
from actors.market_steps import SteppedMarketData
from actors.pinned_code import CodeShelf
from actors.recording import Recording
from actors.risk import Risk
from actors.room_put_by import AUDIT_RESERVE_BYTES, STRATEGY_RESERVE_BYTES, halting_on_low
from actors.settings import FeedKind, FeedSettings
from actors.strategy import StrategyRoom
from actors.strategy_arguments import CandidateArguments, StrategyArguments, read_arguments, whole_change
from actors.strategy_catalogue import adopt_folder, adopt_known, find_strategy, imported_strategy
from actors.strategy_memory import Memory
from actors.topics import bar_topic, tick_topic
from actors.venues.adapter import find_adapter
from actors.venues.gateway import Gateway
from actors.venues.paper import PaperVenue
from actors.watchdog import Watchdog
from actors.words import desk_codec
from desk.simulation.matching import PaperTerms
from runtime.child import Context, Made
from runtime.room import DoorState, Room, Wiring
from runtime.store import MAP_BYTES_DEFAULT, Store
from strategies.base import Strategy

#: How many words of one strategy risk hears before it commits, and the others have their turn.
STRATEGY_SHARE = 64
#: Room on the disk that each store of the order path has put by: thousands of commits.
RESERVE_BYTES = 8 << 20


def _order_store(
    context: Context, *, is_synced: bool = True, schema: int | None = None, map_bytes: int = MAP_BYTES_DEFAULT
) -> Store:
    """Open a store without which no exit can leave: with room put by, and a halt of entries once that is used up."""
    return context.disk.store(
        store_path(context.state, context.path),
        is_synced=is_synced,
        map_bytes=map_bytes,
        schema=schema,
        reserve_bytes=RESERVE_BYTES,
        on_low=halting_on_low(context.disk.sentinel(context.state), context.log),
        owner=store_name(context.path),
    )


def _strategy_store(context: Context) -> Store:
    """Open a strategy's store, with room put by to go on evaluating: its exits come of that."""
    return context.disk.store(
        store_path(context.state, context.path),
        is_synced=False,
        map_bytes=STRATEGY_STORE_BYTES,
        reserve_bytes=STRATEGY_RESERVE_BYTES,
        on_low=lambda why: context.log.error("store.low", why=why),
        owner=store_name(context.path),
    )


def warm() -> None:
    """Build once, before the first fork, what would cost each child milliseconds: how words are encoded."""
    desk_codec()
    for kind in (PaperArguments, ExecutionArguments, RiskArguments, StrategyArguments, MarketDataArguments):
        msgspec.msgpack.Decoder(kind)


def _market_streams(symbols: tuple[str, ...], *, is_stepped: bool) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Without barrier the rooms hear the market from its stream; within steps it comes with their turns."""
    return () if is_stepped else ((MARKET_DATA, tuple(tick_topic(symbol) for symbol in symbols)),)


def _barrier(*, is_stepped: bool) -> str:
    return MARKET_DATA if is_stepped else ""


def paper(context: Context, arguments: bytes) -> Made:
    """Make the paper venue."""
    told = msgspec.msgpack.decode(arguments, type=PaperArguments)
    terms = PaperTerms(
        fill=told.terms.fill.value,
        slippage_bps=told.terms.slippage_bps,
        maker_fee_bps=told.terms.maker_fee_bps,
        taker_fee_bps=told.terms.taker_fee_bps,
        starting_cash=told.balance,
    )
    codec = desk_codec()
    store = _order_store(context, is_synced=False)
    room = PaperVenue(terms, store, codec, is_stepped=told.is_stepped)
    wiring = Wiring(
        has_hub=True,
        spokes=(MARKET_DATA,) if told.is_stepped else (),
        streams=_market_streams(told.symbols, is_stepped=told.is_stepped),
        conductor=_barrier(is_stepped=told.is_stepped),
    )
    return Made(room, wiring, store, codec)


def gateway(context: Context, arguments: bytes) -> Made:
    """Make the gateway to a venue behind a wire; its adapter is imported and opened here, in its own process."""
    told = msgspec.msgpack.decode(arguments, type=GatewayArguments)
    port = find_adapter(told.adapter, told.folder)(told.options)
    room = Gateway(port, told.symbols, epoch=context.epoch, clock=context.clock, log=context.log)
    return Made(room, Wiring(has_hub=True), None, desk_codec())


def execution(context: Context, arguments: bytes) -> Made:
    """Make execution."""
    told = msgspec.msgpack.decode(arguments, type=ExecutionArguments)
    codec = desk_codec()
    store = _order_store(context, schema=LEDGER_SCHEMA.version)
    room = RememberingExecution(
        arguments=arguments,
        epoch=context.epoch,
        venue=told.venue,
        traits=told.traits,
        capital=told.balance,
        store=store,
        codec=codec,
        clock=context.clock,
        sentinel=context.disk.sentinel(context.state),
        log=context.log,
        owners=told.owners,
        is_stepped=told.is_stepped,
        pace=told.pace,
        instruments=told.instruments,
        tolerance=told.reconciliation.tolerance,
    )
    wiring = Wiring(
        has_hub=True,
        has_stream=True,
        spokes=(told.venue, MARKET_DATA) if told.is_stepped else (told.venue,),
        streams=_market_streams(told.symbols, is_stepped=told.is_stepped),
        conductor=_barrier(is_stepped=told.is_stepped),
    )
    return Made(room, wiring, store, codec)


def risk(context: Context, arguments: bytes) -> Made:
    """Make risk."""
    told = msgspec.msgpack.decode(arguments, type=RiskArguments)
    codec = desk_codec()
    store = _order_store(context, is_synced=False)
    room = Risk(
        limits=told.limits,
        desk_limits=told.desk_limits,
        store=store,
        ledger=context.disk.reader(store_path(context.state, "execution")),
        codec=codec,
        clock=context.clock,
        sentinel=context.disk.sentinel(context.state),
        is_stepped=told.is_stepped,
        venue=told.venue,
        instruments=told.instruments,
    )
    market = _market_streams(told.symbols, is_stepped=told.is_stepped)
    wiring = Wiring(
        has_hub=True,
        hub_share=STRATEGY_SHARE,
        spokes=("execution", MARKET_DATA) if told.is_stepped else ("execution",),
        streams=market if told.is_stepped else (*market, ("execution", ("",))),
        conductor=_barrier(is_stepped=told.is_stepped),
    )
    return Made(room, wiring, store, codec)


def strategy(context: Context, arguments: bytes) -> Made:
    """Make one strategy's room; its module is imported here, in its own process.

    An entry that became another strategy while this one held something is first that one until it is flat.
    """
    store = _strategy_store(context)
    started_with = read_arguments(arguments)
    told = arguments_in_force(Memory(store, ""), started_with)
    evaluator = Evaluator(_class_of(context, told), told, context.epoch, store, context.log)
    codec = desk_codec()
    is_recorded, later = started_with.entry.record, started_with if told is not started_with else None
    room: Room = StrategyRoom(evaluator, told, context.clock, later, is_recorded=is_recorded)
    if is_recorded:
        room = Recording(room, store, codec, context.clock, epoch=context.epoch, arguments=arguments)
    conductor = _barrier(is_stepped=told.is_stepped)
    on_demand = ("risk", "execution") if conductor else ("risk", "execution", MARKET_DATA)
    wiring = Wiring(
        spokes=(conductor,) if conductor else (),
        on_demand=on_demand,
        streams=_streams_of(told),
        conductor=conductor,
    )
    return Made(room, wiring, store, codec)


def candidate(context: Context, arguments: bytes) -> Made:
    """Make a candidate: a strategy's evaluator with other code and no link to risk, outside of the market's steps."""
    given = msgspec.msgpack.decode(arguments, type=CandidateArguments)
    told = given.told
    store = _strategy_store(context)
    live_from = Memory(store, "").last_bar()
    evaluator = Evaluator(_class_of(context, told), told, context.epoch, store, context.log, is_silent=True)
    room = CandidateRoom(evaluator, told, context.clock, bars=given.bars, live_from=live_from)
    return Made(room, Wiring(on_demand=("execution", MARKET_DATA), streams=_streams_of(told)), store, desk_codec())


def _class_of(context: Context, told: StrategyArguments) -> type[Strategy]:
    """Import the strategy's module, the pinned copy where there is one."""
    if told.code:
        adopt_known(told.own_folder)
        CodeShelf(context.state).load(told.code)
        return imported_strategy(told.entry.strategy)
    if told.own_folder:
        adopt_folder(Path(told.own_folder))
    found = find_strategy(told.entry.strategy)
    assert found is not None, f"strategy {told.entry.strategy} was there when the settings were read"
    return found


def _streams_of(told: StrategyArguments) -> tuple[tuple[str, tuple[str, ...]], ...]:
    entry = told.entry
    topics = [bar_topic(symbol, entry.timeframe) for symbol in entry.symbols]
    topics += [tick_topic(symbol) for symbol in entry.symbols]
    return (MARKET_DATA, tuple(topics)), ("execution", (entry.name,))


def arguments_in_force(memory: Memory, started_with: StrategyArguments) -> StrategyArguments:
    """Give the arguments to work with: the former ones while something is held that only their strategy looks after."""
    kept = memory.arguments()
    if kept is None or not memory.holds_something(started_with.entry.flat_at):
        return started_with
    try:
        before = read_arguments(kept)
    except msgspec.DecodeError:  # of another version of the desk
        return started_with
    return before if whole_change(before, started_with) else started_with


def open_feed(feed: FeedSettings) -> Feed:
    """Open a simulated feed at its beginning.

    Raises:
        FeedError: Its files cannot be read; the text says which and what to do.
    """
    if feed.kind is FeedKind.REPLAY:
        return ReplayFeed({symbol: feed.files[symbol] for symbol in feed.symbols})
    return SyntheticFeed(feed.symbols, seed=feed.seed)


def market_data(context: Context, arguments: bytes) -> Made:
    """Make market data: stepped for simulated feeds, live for a publisher that is not ours."""
    told = msgspec.msgpack.decode(arguments, type=MarketDataArguments)
    codec, feed = desk_codec(), told.feed
    store = _order_store(context, is_synced=False, map_bytes=8 << 30)
    if feed.kind is FeedKind.ZMQ:
        live = LiveMarketData(feed.symbols, told.routes, store, codec, context.clock)
        wiring = Wiring(has_hub=True, has_stream=True, foreign_url=feed.url, foreign_prefixes=feed.symbols)
        return Made(live, wiring, store, codec)
    room = SteppedMarketData(
        open_feed(feed), feed.speed, told.routes, told.venues, store, codec, context.clock, has_barrier=feed.lockstep
    )
    return Made(room, Wiring(has_hub=True, has_stream=True), store, codec)


def console(context: Context, arguments: bytes) -> Made:
    """Make the console."""
    told = msgspec.msgpack.decode(arguments, type=ConsoleArguments)
    sentinel = context.disk.sentinel(context.state)
    trail = Store.open(
        store_path(context.state, context.path),
        map_bytes=AUDIT_BYTES,
        reserve_bytes=AUDIT_RESERVE_BYTES,
        on_low=halting_on_low(sentinel, context.log),
        owner=store_name(context.path),
    )
    audit = Audit(trail, _run_of_the_desk())
    desired = Desired(told.settings, Path(told.file), context.state, context.clock, context.log)
    room = Console(desired, sentinel, audit, context.state, context.clock, context.log)
    listen, secret = told.settings.control.listen, server_secret_file(context.state)
    if listen:
        try:
            keep_server_keys(context.state)
        except (OSError, ValueError) as error:  # without its own key the guarded door stays shut, and says why
            room.hear_door(DoorState(listen, f"it stays shut until the desk is started again: {error}", 0, 0, 0, 0))
            listen = ""
    wiring = Wiring(spokes=("execution",), has_control=True, guarded_listen=listen, guarded_secret_file=str(secret))
    return Made(room, wiring, None, desk_codec())


def _run_of_the_desk() -> str:
    """Name this run of the desk: the root supervisor's process, and when that was started."""
    root = os.getppid()
    fields = Path(f"/proc/{root}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    return f"{root}-{fields[19]}"


def watchdog(context: Context, _arguments: bytes) -> Made:
    """Make the watchdog; it is told root's pid by being its child."""
    room = Watchdog(context.state, context.clock, context.log)
    return Made(room, Wiring(), None, desk_codec())
