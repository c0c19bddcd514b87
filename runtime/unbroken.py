"""Calls of the C library, one straight after another, with nothing of Python in between.

Python writes to its own heap whenever it runs, so it cannot copy that heap and put the copy in its place: what it
wrote meanwhile would be lost. A chain of contexts (``makecontext``) can: each ends in the next, the last one here.
"""

import ctypes
import mmap
import struct
from collections.abc import Sequence

#: Room for one context, and for the stack of its call: more than the C library takes for either, on any architecture.
_CONTEXT_BYTES = _STACK_BYTES = 8192
#: Where a context says what comes after it, and what its stack is: this part is the same on every architecture.
_LINK = struct.Struct("<QQQQ")
_LINK_AT = 8

Call = tuple[int, tuple[int, ...]]


class UnbrokenError(Exception):
    """This C library cannot do it; nothing was called."""


def run_unbroken(calls: Sequence[Call]) -> None:
    """Make the calls, each an address and at most six arguments; what they return is lost.

    No signal may come meanwhile, for the stacks are small: block them before.

    Raises:
        UnbrokenError: The C library has no contexts.
    """
    library = ctypes.PyDLL(None)
    try:
        note, make, swap = library.getcontext, library.makecontext, library.swapcontext
    except AttributeError as error:
        msg = f"no contexts: {error}"
        raise UnbrokenError(msg) from error
    note.argtypes, swap.argtypes = [ctypes.c_void_p], [ctypes.c_void_p, ctypes.c_void_p]
    each = _CONTEXT_BYTES + _STACK_BYTES
    with mmap.mmap(-1, each * (len(calls) + 1)) as block:
        start = ctypes.c_char.from_buffer(block)
        places = [ctypes.addressof(start) + each * index for index in range(len(calls) + 1)]
        for index, (function, arguments) in enumerate(calls):
            if note(places[index]):
                msg = "no context was given"
                raise UnbrokenError(msg)
            stack = places[index] + _CONTEXT_BYTES
            _LINK.pack_into(block, each * index + _LINK_AT, places[index + 1], stack, 0, _STACK_BYTES)
            make(
                ctypes.c_void_p(places[index]),
                ctypes.c_void_p(function),
                len(arguments),
                *map(ctypes.c_uint64, arguments),
            )
        swap(places[-1], places[0])
        del start


def address_of(name: str) -> int:
    """Say where a function of the C library is.

    Raises:
        UnbrokenError: It has none of this name.
    """
    try:
        function = getattr(ctypes.PyDLL(None), name)
    except AttributeError as error:
        msg = f"no {name}"
        raise UnbrokenError(msg) from error
    return int(ctypes.cast(function, ctypes.c_void_p).value or 0)
