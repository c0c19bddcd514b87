"""The wire format: one version byte, then a tagged positional Struct in MessagePack."""

from collections.abc import Iterable
from typing import Any

import msgspec

from runtime.errors import WireError

#: Raised by one when a word changes its meaning on the wire without changing its tag.
WIRE_VERSION = 1
_PREFIX = bytes([WIRE_VERSION])


class Codec:
    """Encode and decode the words that it was given, and refuse every other.

    A word decoded here has the types its Struct declares: NaN in a Decimal field is not refused here
    (rooms check figures), an unknown tag, a missing field or a wrong type is.
    """

    def __init__(self, words: Any) -> None:
        """Take the union of Struct types that this wire may carry."""
        self._decode = msgspec.msgpack.Decoder(words).decode
        self._encode = msgspec.msgpack.Encoder().encode

    def encode(self, word: msgspec.Struct) -> bytes:
        """Give the bytes of one word."""
        return _PREFIX + self._encode(word)

    def encode_all(self, words: Iterable[msgspec.Struct]) -> list[bytes]:
        """Give the bytes of each word."""
        encode = self._encode
        return [_PREFIX + encode(word) for word in words]

    def decode(self, data: bytes) -> Any:
        """Give the word in ``data``.

        Raises:
            WireError: Another version, an unknown tag, or a shape that the word does not have.
        """
        if data[:1] != _PREFIX:
            msg = f"wire version {data[:1]!r} is not {_PREFIX!r}"
            raise WireError(msg)
        try:
            return self._decode(data[1:])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            msg = f"not a word of this wire: {error}"
            raise WireError(msg) from error
