"""The one place that makes identifiers."""

import hashlib
import os

#: Hexadecimal digits of a fresh identifier: 64 bits of chance.
FRESH_DIGITS = 16


def fresh_id() -> str:
    """Give an identifier that nobody else has; for requests of operators, never for orders."""
    return os.urandom(FRESH_DIGITS // 2).hex()


def digest(*parts: str, digits: int = 16) -> str:
    """Give the identifier that follows from ``parts``: the same on every machine and run.

    The parts are joined with a separator that none of them may contain.
    """
    assert not any("\x1f" in part for part in parts), "a part contains the separator"
    return hashlib.blake2b("\x1f".join(parts).encode(), digest_size=digits // 2).hexdigest()
