"""The supervision tree as data: who runs, in which order, and how often each may fall."""

from pathlib import Path

import msgspec

from actors.arguments import (
    MARKET_DATA,
    PAPER,
    STRATEGY_STORE_BYTES,
    ConsoleArguments,
    ExecutionArguments,
    MarketDataArguments,
    Owner,
    PaperArguments,
    RiskArguments,
    store_path,
)
from actors.settings import OnDisable, ProcessLimits, Settings, StrategySettings, SupervisionSettings
from actors.step import Route
from actors.strategy_arguments import StrategyArguments
from runtime.clock import NS_PER_S
from runtime.restart import Backoff, RestartLimit, RestartType, Strategy
from runtime.spec import Fence, Limits, NodeSpec, WorkerSpec

ROOM = "room"
STRATEGY = "strategy"
#: How long each kind of worker may take to leave in good order. Execution finishes what is in hand.
SHUTDOWN_S = {"execution": 15.0, STRATEGY: 5.0, ROOM: 5.0}
HEALTHY_NS = 60 * NS_PER_S
ROOM_START_S = 30.0
ROOM_SILENCE_S = 5.0
MIB = 1 << 20

#: What the zygote imports before it forks: everything that children share, and no strategy, whose code may change.
PRELOAD = ("actors.makers",)
#: (process, fact) that is not empty once the first reconciliation has a verdict.
VERDICT = ("execution", "verdict")


def desk_tree(settings: Settings, file: str) -> NodeSpec:
    """Lay out the desk. Refused strategies have no place in it; disabled ones have."""
    is_stepped, symbols = settings.feed.lockstep, settings.feed.symbols
    runnable = [entry for entry in settings.strategies if not entry.refusal]
    balance = settings.default_balance
    rooms = {
        "paper": PaperArguments(settings.paper, balance, symbols, is_stepped),
        "execution": ExecutionArguments(balance, symbols, is_stepped, {e.name: _owner(e) for e in settings.strategies}),
        "console": ConsoleArguments(settings, file),
        "risk": RiskArguments({e.name: e.risk_config for e in runnable}, settings.risk, symbols, is_stepped),
        MARKET_DATA: MarketDataArguments(settings.feed, tuple(_route(entry) for entry in runnable)),
        "watchdog": None,
    }
    worker = {name: _room(name, arguments) for name, arguments in rooms.items()}
    venues = _node("venues", settings.supervision, (worker["paper"],))
    strategies = _node(
        "strategies",
        settings.supervision,
        tuple(_strategy(entry, settings) for entry in runnable),
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
        ),
    )


def configured(settings: Settings) -> dict[str, bool]:
    """Say which strategies the file wants to run, by path."""
    return {f"strategies/{entry.name}": entry.enabled for entry in settings.strategies if not entry.refusal}


def store_paths(settings: Settings) -> list[str]:
    """Name the processes that keep a store, for whoever makes the folders before they start."""
    return [PAPER, "execution", "console", "risk", MARKET_DATA, *configured(settings)]


def strategy_paths(tree: NodeSpec) -> list[str]:
    """Name the strategies of a tree, disabled ones too, by path."""
    strategies = next(child for child in tree.children if child.id == "strategies")
    assert isinstance(strategies, NodeSpec), "the strategies stand under a node"
    return [f"strategies/{child.id}" for child in strategies.children]


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


def _strategy(entry: StrategySettings, settings: Settings) -> NodeSpec:
    """Give a strategy its own node: when it falls too often it alone is put away."""
    limits = entry.limits
    worker = WorkerSpec(
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
        arguments=msgspec.msgpack.encode(
            StrategyArguments(
                _told(entry), settings.default_balance, settings.feed.lockstep, settings.strategies_folder
            )
        ),
        fence=Fence(
            readable=("code", settings.strategies_folder) if settings.strategies_folder else ("code",),
            writable=(str(store_path(Path(), f"strategies/{entry.name}")),),
        ),
    )
    return _node(entry.name, entry.supervision, (worker,), gives_up="quarantine")


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
    return Route(f"strategies/{entry.name}", entry.symbols, entry.timeframe, entry.wants_ticks)


def _told(entry: StrategySettings) -> StrategySettings:
    """Leave of an entry what its process has to know: what root alone acts upon makes it no other strategy."""
    return msgspec.structs.replace(
        entry,
        enabled=True,
        on_disable=OnDisable.HOLD,
        limits=ProcessLimits(message_rate=entry.limits.message_rate),
        supervision=SupervisionSettings(),
        line=0,
        live_parameters=(),
        wants_ticks=False,
    )


def _ns(seconds: float) -> int:
    return int(seconds * NS_PER_S)
