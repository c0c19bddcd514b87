"""How the items of a stream travel: what was said together on one topic in one frame. Pure, without a socket.

A frame is the topic, a header, and behind it the body of one item; or a run of items of which each follows the one
before it on their topic: the sequence and the length of each, and its body.
"""

import struct
from collections.abc import Iterable, Iterator, Sequence

from runtime.errors import WireError
from runtime.link import RUN_BYTES_MAX, RUN_MAX

#: topic, sequence (0 on a topic without memory), the sequence before it on its topic (0 for the first), body.
Item = tuple[str, int, int, bytes]
_ONE = struct.Struct("<QI")


def together(items: Iterable[Item]) -> Iterator[list[Item]]:
    """Part items, in order, into those that travel together: one alone, or a run.

    A run is of one topic, each item names the one before it as the one before it on the topic, and it has at most
    ``RUN_MAX`` items and ``RUN_BYTES_MAX`` bytes. The order of the items stays, so whoever hears all topics hears
    them as they were said. Items of a topic without memory always travel alone.
    """
    items, at = list(items), 0
    while at < len(items):
        end = _end_of_run(items, at)
        yield items[at:end]
        at = end


def _end_of_run(items: Sequence[Item], at: int) -> int:
    """Say where the run ends that begins at ``at``."""
    topic, last, _, body = items[at]
    size, most = len(body), min(at + RUN_MAX, len(items))
    for end in range(at + 1, most):
        name, sequence, previous, body = items[end]
        size += len(body)
        if previous != last or not previous or not sequence or name != topic or size > RUN_BYTES_MAX:
            return end
        last = sequence
    return most


def run_of(items: Sequence[Item]) -> bytes:
    """Give what stands behind the header of a run; the header says the first one's sequence and the one before it."""
    parts: list[bytes] = []
    for _, sequence, _, body in items:
        parts += (_ONE.pack(sequence, len(body)), body)
    return b"".join(parts)


def items_of(frame: bytes, at: int) -> list[tuple[int, bytes]]:
    """Give sequence and body of each item of a run that begins in a frame at ``at``, behind the header.

    Raises:
        WireError: The lengths do not add up to the frame.
    """
    found: list[tuple[int, bytes]] = []
    end = len(frame)
    while at + _ONE.size <= end:
        sequence, length = _ONE.unpack_from(frame, at)
        at += _ONE.size + length
        found.append((sequence, frame[at - length : at]))
    if at != end or not found:
        msg = f"a run of items that ends at {at} in a frame of {end} bytes"
        raise WireError(msg)
    return found
