"""The supervision tree as data: who runs, in which order, and how often each may fall."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from actors.arguments import (
    MARKET_DATA,
    PAPER,
    STRATEGY_STORE_BYTES,
    ConsoleArguments,
    ExecutionArguments,
    GatewayArguments,
    MarketDataArguments,
    Owner,
    PaperArguments,
    RiskArguments,
    store_name,
)
from actors.pinned_code import CodeShelf
from actors.settings import OnDisable, ProcessLimits, Settings, StrategySettings, SupervisionSettings
from actors.step import Route
from actors.strategy_arguments import CandidateArguments, StrategyArguments
from actors.topics import candidate_path, strategy_path
from runtime.clock import NS_PER_S
from runtime.restart import Backoff, RestartLimit, RestartType, Strategy
from runtime.spec import Fence, Limits, NodeSpec, WorkerSpec

ROOM = "room"
STRATEGY = "strategy"
CANDIDATE = "candidate"
#: How long each kind of worker may take to leave in good order. Execution finishes what is in hand.
SHUTDOWN_S = {"execution": 15.0, STRATEGY: 5.0, ROOM: 5.0}
HEALTHY_NS = 60 * NS_PER_S
ROOM_START_S = 30.0
ROOM_SILENCE_S = 5.0
MIB = 1 << 20

#: What the zygote imports before it forks: everything that children share, and no strategy, whose code may change.
PRELOAD = ("actors.makers", "actors.rehearsal")
#: What a process that waits to become a strategy rehearses with.
REHEARSAL = "actors.rehearsal:strategy"
#: (process, fact) that is not empty once the first reconciliation has a verdict.
VERDICT = ("execution", "verdict")


class Try(NamedTuple):
    """New code of one strategy that is tried beside it, for so many bars."""

    name: str
    code: str
    bars: int


def desk_tree(
    settings: Settings, file: str, code: Mapping[str, str] | None = None, tries: Sequence[Try] = ()
) -> NodeSpec:
    """Lay out the desk. Refused strategies have no place in it; disabled ones have.

    Args:
        settings: What the desk shall be.
        file: The configuration file that the console watches.
        code: The pinned code of each strategy, by name; a strategy without takes its module as it lies on the disk.
        tries: The candidates.
    """
    code = code or {}
    is_stepped, symbols = settings.feed.lockstep, settings.feed.symbols
    runnable = [entry for entry in settings.strategies if not entry.refusal]
    balance = settings.default_balance
    rooms = {
        "execution": ExecutionArguments(
            balance,
            symbols,
            is_stepped,
            {e.name: _owner(e) for e in settings.strategies},
            venue_path(settings),
            settings.venue.traits,
            pace=settings.execution,
            instruments=settings.instruments,
            reconciliation=settings.reconciliation,
        ),
        "console": ConsoleArguments(settings, file),
        "risk": RiskArguments(
            {e.name: e.risk_config for e in runnable},
            settings.risk,
            symbols,
            is_stepped,
            venue_path(settings),
            settings.instruments,
        ),
        MARKET_DATA: MarketDataArguments(
            settings.feed,
            tuple(_route(entry) for entry in runnable),
            () if settings.venue.is_remote else (PAPER,),
        ),
        "watchdog": None,
    }
    worker = {name: _room(name, arguments) for name, arguments in rooms.items()}
    venues = _node("venues", settings.supervision, (_venue(settings),))
    strategies = _node(
        "strategies",
        settings.supervision,
        tuple(_strategy(entry, settings, code.get(entry.name, "")) for entry in runnable),
        start="parallel",
    )
    return _node(
        "desk",
        settings.supervision,
        (
            venues,
            worker["execution"],
            worker["console"],
            worker["risk"],
            strategies,
            worker[MARKET_DATA],
            worker["watchdog"],
            *_candidates(runnable, settings, tries),
        ),
    )


def venue_path(settings: Settings) -> str:
    """Name the process of the venue that the desk trades at."""
    return f"venues/{settings.venue.name}"


def configured(settings: Settings) -> dict[str, bool]:
    """Say which strategies the file wants to run, by path."""
    return {strategy_path(entry.name): entry.enabled for entry in settings.strategies if not entry.refusal}


def store_paths(settings: Settings) -> list[str]:
    """Name the processes that keep a store, for whoever makes the folders before they start."""
    own = () if settings.venue.is_remote else (PAPER,)
    return [*own, "execution", "console", "risk", MARKET_DATA, *configured(settings)]


def strategy_paths(tree: NodeSpec) -> list[str]:
    """Name the strategies of a tree, disabled ones too, by path."""
    strategies = next(child for child in tree.children if child.id == "strategies")
    assert isinstance(strategies, NodeSpec), "the strategies stand under a node"
    return [strategy_path(child.id) for child in strategies.children]


def _venue(settings: Settings) -> WorkerSpec:
    """Give the venue's process: the paper venue, or the gateway to one behind a wire."""
    venue, symbols = settings.venue, settings.feed.symbols
    if not venue.is_remote:
        told = PaperArguments(settings.paper, settings.default_balance, symbols, settings.feed.lockstep)
        return _room("paper", told)
    gateway = GatewayArguments(venue.adapter, settings.venues_folder, venue.options, symbols)
    return msgspec.structs.replace(_room("gateway", gateway), id=venue.name)


def _room(name: str, arguments: msgspec.Struct | None) -> WorkerSpec:
    return WorkerSpec(
        id=name,
        kind=ROOM,
        restart=RestartType.PERMANENT,
        shutdown_ns=_ns(SHUTDOWN_S.get(name, SHUTDOWN_S[ROOM])),
        start_timeout_ns=_ns(ROOM_START_S),
        progress_timeout_ns=_ns(ROOM_SILENCE_S),
        limits=Limits(0, 0, 0, 0, 0.0),
        entry=f"actors.makers:{name}",
        arguments=b"" if arguments is None else msgspec.msgpack.encode(arguments),
    )


def _strategy(entry: StrategySettings, settings: Settings, code: str) -> NodeSpec:
    """Give a strategy its own node: when it falls too often it alone is put away."""
    worker = _strategy_worker(entry, settings, code)
    return _node(entry.name, entry.supervision, (worker,), gives_up="quarantine")


def _candidates(entries: Sequence[StrategySettings], settings: Settings, tries: Sequence[Try]) -> tuple[NodeSpec, ...]:
    """Give the candidates a node of their own, where there are any. One that falls is not started again."""
    by_name = {entry.name: entry for entry in entries}
    workers = tuple(_candidate(by_name[each.name], settings, each) for each in tries if each.name in by_name)
    return (_node("candidates", settings.supervision, workers, start="parallel"),) if workers else ()


def _candidate(entry: StrategySettings, settings: Settings, tried: Try) -> WorkerSpec:
    told = CandidateArguments(_strategy_arguments(entry, settings, tried.code), tried.bars)
    return msgspec.structs.replace(
        _strategy_worker(entry, settings, tried.code),
        kind=CANDIDATE,
        restart=RestartType.TEMPORARY,
        entry="actors.makers:candidate",
        arguments=msgspec.msgpack.encode(told),
        fence=_fence(settings, candidate_path(entry.name), tried.code),
    )


def _strategy_worker(entry: StrategySettings, settings: Settings, code: str) -> WorkerSpec:
    limits = entry.limits
    return WorkerSpec(
        id=entry.name,
        kind=STRATEGY,
        restart=RestartType.PERMANENT,
        shutdown_ns=_ns(SHUTDOWN_S[STRATEGY]),
        start_timeout_ns=_ns(limits.start_timeout_s),
        progress_timeout_ns=_ns(limits.hang_s),
        limits=Limits(
            memory_soft_bytes=limits.memory_soft_mb * MIB,
            memory_hard_bytes=limits.memory_hard_mb * MIB,
            address_space_bytes=limits.address_space_mb * MIB,
            open_files=limits.open_files,
            cpu_s_per_handler=limits.cpu_s,
            processes=limits.processes,
            output_bytes=limits.output_mb * MIB,
            file_bytes=STRATEGY_STORE_BYTES,
            nice=limits.nice,
        ),
        entry="actors.makers:strategy",
        arguments=msgspec.msgpack.encode(_strategy_arguments(entry, settings, code)),
        fence=_fence(settings, strategy_path(entry.name), code),
    )


def _strategy_arguments(entry: StrategySettings, settings: Settings, code: str) -> StrategyArguments:
    balance, folder = settings.default_balance, settings.strategies_folder
    return StrategyArguments(_told(entry), balance, settings.feed.lockstep, folder, code)


def _fence(settings: Settings, path: str, code: str) -> Fence:
    """Let a strategy read its code and what lies beside the operator's own, and write its own store."""
    readable = (settings.strategies_folder,) if settings.strategies_folder else ()
    # The code that it ran before too: it may have to stay that strategy until it holds nothing.
    pinned = (CodeShelf.FOLDER,) if code else ()
    return Fence(readable=(*readable, *pinned), writable=(store_name(path),))


def _node(
    name: str,
    supervision: SupervisionSettings,
    children: tuple[WorkerSpec | NodeSpec, ...],
    start: str = "ordered",
    gives_up: str = "escalate",
) -> NodeSpec:
    return NodeSpec(
        id=name,
        strategy=Strategy.ONE_FOR_ONE,
        limit=RestartLimit(supervision.intensity, _ns(supervision.period_s)),
        backoff=Backoff(_ns(supervision.backoff_base_s), _ns(supervision.backoff_cap_s), HEALTHY_NS),
        children=children,
        start="parallel" if start == "parallel" else "ordered",
        gives_up="quarantine" if gives_up == "quarantine" else "escalate",
    )


def _owner(entry: StrategySettings) -> Owner:
    """Tell execution of an entry; one that is refused was not wanted away, so that what it holds is held."""
    return Owner(entry.symbols, OnDisable.HOLD if entry.refusal else entry.on_disable)


def _route(entry: StrategySettings) -> Route:
    return Route(strategy_path(entry.name), entry.symbols, entry.timeframe, entry.wants_ticks)


def _told(entry: StrategySettings) -> StrategySettings:
    """Leave of an entry what its process has to know: what root alone acts upon makes it no other strategy.

    What its class declares stays: a desk on which it has to be this one again knows it from here.
    """
    return msgspec.structs.replace(
        entry,
        enabled=True,
        on_disable=OnDisable.HOLD,
        limits=ProcessLimits(message_rate=entry.limits.message_rate),
        supervision=SupervisionSettings(),
        line=0,
    )


def _ns(seconds: float) -> int:
    return int(seconds * NS_PER_S)
