"""Names that rooms share: stream topics, and the states in which nobody waits for a process."""

#: States in which root has put a process away.
AWAY = frozenset({"DISABLED", "QUARANTINED", "REFUSED", "STOPPED", "REMOVED"})
#: Those in which the desk goes on without it. When one is STOPPED the whole desk leaves, and its orders stay.
PUT_AWAY = AWAY - {"STOPPED"}


def bar_topic(symbol: str, timeframe: str) -> str:
    """Name the stream topic of one symbol's bars."""
    return f"{symbol}/{timeframe}"


def tick_topic(symbol: str) -> str:
    """Name the stream topic of one symbol's raw events; the newest wins."""
    return f"{symbol}/tick"
