"""What an edit of each key takes while the desk runs. Every key of the file has exactly one row."""

from collections.abc import Mapping
from enum import StrEnum

from actors.settings import (
    DeskLimits,
    ExecutionSettings,
    FeedSettings,
    PaperSettings,
    ReconciliationSettings,
    RiskConfig,
    SupervisionSettings,
    VenueSettings,
)


class Policy(StrEnum):
    """What a change takes to hold."""

    LIVE = "live"
    WHEN_FLAT = "when flat"
    WHEN_FLAT_RESTART = "when flat, by a restart of this strategy"
    STRATEGY_RESTART = "restart of this strategy"
    DESK_RESTART = "needs a restart of the desk"


ENTRY = "strategies[]"


def _all(path: str, kind: type, policy: Policy) -> dict[str, Policy]:
    return {f"{path}.{name}": policy for name in kind.__struct_fields__}


#: By path; ``strategies[].name`` is none of them, because another name is another strategy.
POLICIES: Mapping[str, Policy] = {
    "strategies[].symbols": Policy.WHEN_FLAT_RESTART,
    "strategies[].strategy": Policy.WHEN_FLAT_RESTART,
    "strategies[].model_path": Policy.WHEN_FLAT_RESTART,
    "strategies[].timeframe": Policy.WHEN_FLAT_RESTART,
    "strategies[].threshold": Policy.WHEN_FLAT_RESTART,
    # Those that the strategy's class names as live hold from its next evaluation on.
    "strategies[].parameters": Policy.WHEN_FLAT,
    "strategies[].enabled": Policy.LIVE,
    "strategies[].on_disable": Policy.LIVE,
    **_all("strategies[].risk_config", RiskConfig, Policy.LIVE),
    **_all("strategies[].supervision", SupervisionSettings, Policy.LIVE),
    # Root itself watches these.
    "strategies[].limits.memory_soft_mb": Policy.LIVE,
    "strategies[].limits.memory_hard_mb": Policy.LIVE,
    "strategies[].limits.output_mb": Policy.LIVE,
    "strategies[].limits.hang_s": Policy.LIVE,
    "strategies[].limits.start_timeout_s": Policy.LIVE,
    # A process takes these upon itself at its start, and cannot give them back.
    "strategies[].limits.address_space_mb": Policy.STRATEGY_RESTART,
    "strategies[].limits.open_files": Policy.STRATEGY_RESTART,
    "strategies[].limits.processes": Policy.STRATEGY_RESTART,
    "strategies[].limits.cpu_s": Policy.STRATEGY_RESTART,
    "strategies[].limits.nice": Policy.STRATEGY_RESTART,
    "strategies[].limits.message_rate": Policy.STRATEGY_RESTART,
    "strategies[].record": Policy.STRATEGY_RESTART,
    **_all("global.risk", DeskLimits, Policy.LIVE),
    **_all("global.supervision", SupervisionSettings, Policy.LIVE),
    **_all("global.execution", ExecutionSettings, Policy.LIVE),
    **_all("global.reconciliation", ReconciliationSettings, Policy.LIVE),
    "global.instruments": Policy.LIVE,
    # Each strategy takes it as its own.
    "global.record": Policy.LIVE,
    **_all("global.paper", PaperSettings, Policy.DESK_RESTART),
    **_all("global.venue", VenueSettings, Policy.DESK_RESTART),
    **_all("global.feed", FeedSettings, Policy.DESK_RESTART),
    "global.feed.speed": Policy.LIVE,
    "global.control.listen": Policy.DESK_RESTART,
    "global.control.clients": Policy.DESK_RESTART,
    "global.default_balance": Policy.DESK_RESTART,
    "global.log_level": Policy.DESK_RESTART,
    "global.zmq_market_url": Policy.DESK_RESTART,
    # Nothing reads these yet, or they can have one value only.
    "global.paper_trading": Policy.LIVE,
    "global.zmq_execution_host": Policy.LIVE,
    "global.zmq_execution_port": Policy.LIVE,
    "global.feature_api_url": Policy.LIVE,
}


def policy_of(path: str, live_parameters: tuple[str, ...] = ()) -> Policy:
    """Say what a change takes.

    Args:
        path: Of one value, its entry written as ``strategies[]``: ``strategies[].limits.hang_s``.
        live_parameters: The parameters that the entry's strategy names as live.
    """
    parameter = path.removeprefix("strategies[].parameters.")
    if parameter != path:
        return Policy.LIVE if parameter.split(".")[0] in live_parameters else POLICIES["strategies[].parameters"]
    while path not in POLICIES:  # a value inside a mapping, such as one of the feed's files
        path, _, last = path.rpartition(".")
        assert last, "every key of the file has a policy"
    return POLICIES[path]
