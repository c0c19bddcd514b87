"""The one place that makes identifiers out of chance; those of orders follow from what they are for."""

import os

#: Hexadecimal digits of a fresh identifier: 64 bits of chance.
FRESH_DIGITS = 16


def fresh_id() -> str:
    """Give an identifier that nobody else has; for requests of operators, never for orders."""
    return os.urandom(FRESH_DIGITS // 2).hex()
