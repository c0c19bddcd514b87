"""How the bytes of a store are laid out: its keys, the chain over its log, the digests of its table entries."""

import functools
import hashlib
import struct
from typing import NamedTuple, Self

#: Raised with every change of the layout. Format 1 had neither digests nor a summary.
FORMAT = 2
LOG = b"log\x00"
#: The first key behind the log's.
LOG_END = b"log\x01"
#: No table has an empty name, so no table's key is this one.
SUMMARY_KEY = b"\x00summary"
CHAIN_BYTES = 16
DIGEST_BYTES = 8
#: What the chain starts from, before the first record.
GENESIS = bytes(CHAIN_BYTES)
TOTAL_MASK = (1 << 64) - 1
_LOG_KEY = struct.Struct(">4sQ").pack
_SUMMARY = struct.Struct(">HIQ16sQQQ")
#: What links and digests begin as: to copy it costs less than to make it.
_LINK, _DIGEST = hashlib.blake2b(digest_size=CHAIN_BYTES), hashlib.blake2b(digest_size=DIGEST_BYTES)


def log_key(sequence: int) -> bytes:
    """Give the key of one log record."""
    return _LOG_KEY(LOG, sequence)


def log_sequence(key: bytes) -> int:
    """Give the sequence that a log record's key names."""
    return int.from_bytes(key[len(LOG) :], "big")


def table_key(table: str, key: bytes) -> bytes:
    """Give the key of one table entry."""
    return _table_prefix(table) + key


@functools.cache
def _table_prefix(table: str) -> bytes:
    assert table, "a table has a name"
    assert table != "log", "the log is no table"
    return table.encode() + b"\x00"


def chain(previous: bytes, data: bytes) -> bytes:
    """Give the link that binds a record to all before it (16 bytes)."""
    link = _LINK.copy()
    link.update(previous + data)
    return link.digest()


def digest(key: bytes, data: bytes) -> bytes:
    """Give what binds an entry's data to its whole key (8 bytes)."""
    found = _DIGEST.copy()
    found.update(len(key).to_bytes(2, "big") + key + data)
    return found.digest()


def seal(key: bytes, data: bytes) -> bytes:
    """Give what is stored of an entry: its digest, then its data."""
    return digest(key, data) + data


def seal_number(stored: bytes) -> int:
    """Give the digest of what is stored, as a number that sums are made of."""
    return int.from_bytes(stored[:DIGEST_BYTES], "big")


def unseal(key: bytes, stored: bytes) -> bytes | None:
    """Give an entry's data, or None where key or data are not what was stored."""
    data = stored[DIGEST_BYTES:]
    return data if stored[:DIGEST_BYTES] == digest(key, data) else None


def entry_words(key: bytes) -> str:
    """Name a table entry for a person."""
    table, _, name = key.partition(b"\x00")
    return f"entry {name!r} of table {table.decode(errors='replace')!r}"


class Summary(NamedTuple):
    """What a store says of all that is in it, renewed with each commit.

    ``head`` and ``link`` end the log; ``entries`` counts the entries of all tables, and ``total`` is the sum of their
    digests, modulo 2**64. So a log that lost its end, and tables that lost a part, are told from whole ones.
    ``schema`` is the owner's own version of what its records and tables mean, ``commits`` how often it was written to.
    """

    format: int = FORMAT
    schema: int = 1
    head: int = 0
    link: bytes = GENESIS
    entries: int = 0
    total: int = 0
    commits: int = 0

    @classmethod
    def read(cls, stored: bytes) -> Self | None:
        """Read a summary, or None where it is damaged."""
        data = unseal(SUMMARY_KEY, stored)
        return cls(*_SUMMARY.unpack(data)) if data is not None and len(data) == _SUMMARY.size else None

    def write(self) -> bytes:
        """Give what is stored of it."""
        return seal(SUMMARY_KEY, _SUMMARY.pack(*self))
