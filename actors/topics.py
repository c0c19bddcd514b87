"""Names that rooms share: paths of strategies, stream topics, and the states in which nobody waits for a process."""

#: States in which root has put a process away.
AWAY = frozenset({"DISABLED", "QUARANTINED", "REFUSED", "STOPPED", "REMOVED"})
#: Those in which the desk goes on without it. When one is STOPPED the whole desk leaves, and its orders stay.
PUT_AWAY = AWAY - {"STOPPED"}

_STRATEGIES = "strategies/"
_CANDIDATES = "candidates/"


def strategy_path(name: str) -> str:
    """Give the path in the tree of the strategy of this name."""
    return _STRATEGIES + name


def strategy_at(path: str) -> str:
    """Give the name of the strategy at a path, "" where something else is."""
    return path.removeprefix(_STRATEGIES) if path.startswith(_STRATEGIES) else ""


def candidate_path(name: str) -> str:
    """Give the path in the tree of new code that is tried for the strategy of this name."""
    return _CANDIDATES + name


def runs_strategy(path: str) -> bool:
    """Say whether a strategy's code runs at a path, also where it is only tried."""
    return path.startswith((_STRATEGIES, _CANDIDATES))


def bar_topic(symbol: str, timeframe: str) -> str:
    """Name the stream topic of one symbol's bars."""
    return f"{symbol}/{timeframe}"


def tick_topic(symbol: str) -> str:
    """Name the stream topic of one symbol's raw events; the newest wins."""
    return f"{symbol}/tick"
