"""Names that rooms share: stream topics, and the states in which nobody waits for a process."""

#: States in which root has put a process away.
AWAY = frozenset({"DISABLED", "QUARANTINED", "REFUSED", "STOPPED", "REMOVED"})


def bar_topic(symbol: str, timeframe: str) -> str:
    """Name the stream topic of one symbol's bars."""
    return f"{symbol}/{timeframe}"


def tick_topic(symbol: str) -> str:
    """Name the stream topic of one symbol's raw events; the newest wins."""
    return f"{symbol}/tick"
