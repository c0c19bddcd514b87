"""Names that follow from what they name, so that a retry bears the same one."""

from hashlib import blake2b

from desk.messages import Purpose

#: A tag is part of keys in the stores, and those are short.
TAG_MAX = 64


def _identity(letter: str, *parts: str | int) -> str:
    text = "\x1f".join(str(part) for part in parts)
    return letter + blake2b(text.encode(), digest_size=8).hexdigest()


def intent_id(strategy: str, symbol: str, timeframe: str, bar_ts_ns: int, number: int, part: str = "") -> str:
    """Name the intent that one evaluation yields; the same evaluation again gives the same name.

    Args:
        strategy: The strategy's name.
        symbol: The symbol of the evaluated bar.
        timeframe: The bar's timeframe.
        bar_ts_ns: The bar's open time (for a tick its sequence).
        number: The signal's place among those of this evaluation, from 0.
        part: What tells the intents of one signal apart, where it becomes several.

    Returns:
        17 characters of [a-z0-9].
    """
    parts = (part,) if part else ()
    return _identity("i", strategy, symbol, timeframe, bar_ts_ns, number, *parts)


def order_id(intent: str, attempt: int = 0) -> str:
    """Name the order of an intent's ``attempt`` (from 0): 17 characters of [a-z0-9]."""
    return _identity("o", intent, attempt)


def child_order_id(parent_order_id: str, purpose: Purpose, attempt: int = 0) -> str:
    """Name an order that execution sends on account of another, such as its stop: 17 characters of [a-z0-9]."""
    return _identity("c", parent_order_id, purpose.value, attempt)
