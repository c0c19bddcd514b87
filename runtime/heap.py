"""The heap of a process that is about to fork many others.

A child shares each page with its parent until one of the two writes to it, and Python writes wherever it goes: counts
of references, and notes in the code that it runs. So whatever children write to should lie together. What a child makes
would lie in the holes between what is there, a few bytes to a page: they are filled before the first fork, with what
nobody ever looks at. And the code that every child runs is copied to one place.
"""

import ctypes
import gc
import sys
from collections.abc import Callable, Mapping
from types import CodeType, FrameType, FunctionType

#: How CPython lays out small objects: pools of this size, the first object behind a header of that size, and one kind
#: of pool for each multiple of the step up to the largest.
_POOL_BYTES, _POOL_HEAD = 1 << 14, 48
_STEP, _SMALL_MAX = 16, 512
#: The C library takes larger blocks than this from the kernel, one by one.
_BLOCK_BYTES_MAX = 120 * 1024
#: Up to here holes are looked for in each size, above in leaps.
_FINE_BYTES = 8192
#: Two pools of one kind so often, or as many blocks of one size, are no holes any more but a layout unknown to us.
_ROUNDS_MAX, _BLOCKS_MAX = 256, 20_000

_fillers: list[list[object]] = []


class _Usage(ctypes.Structure):
    """The C library's ``struct mallinfo2``."""

    _fields_ = [(f"field{number}", ctypes.c_size_t) for number in range(9)] + [("keepcost", ctypes.c_size_t)]


def fill_holes() -> None:
    """Take all room between what is in use, for good. Where the layout is unknown nothing happens, or too little.

    Call it once, in a process with one thread, when everything is made that its children shall share.
    """
    _fill_pools()
    _fill_blocks()


def _fill_pools() -> None:
    makers: dict[int, Callable[[], object]] = {16: object, 32: complex}
    for size in range(48, _SMALL_MAX + _STEP, _STEP):
        makers[size] = lambda length=size - bytes.__basicsize__: bytes(length)
    for size, make in makers.items():
        places = (_POOL_BYTES - _POOL_HEAD) // size
        for _ in range(_ROUNDS_MAX):
            _fillers.append([make() for _ in range(2 * places)])  # first all, then a look, which makes objects too
            if _longest_beginning(_fillers[-1], size) >= places // 4:
                break


def _longest_beginning(objects: list[object], size: int) -> int:
    """Count the objects that lie side by side from the beginning of a pool on: in a fresh one nearly all do."""
    longest = run = before = 0
    for place in map(id, objects):
        run = 1 if place % _POOL_BYTES == _POOL_HEAD else run + 1 if run and place == before + size else 0
        longest, before = max(longest, run), place
    return longest


def _fill_blocks() -> None:
    try:
        library = ctypes.CDLL(None)
        usage, take, give_back, end = library.mallinfo2, library.malloc, library.free, library.sbrk
    except AttributeError:  # another C library
        return
    usage.restype = _Usage
    take.restype = end.restype = ctypes.c_void_p
    take.argtypes, give_back.argtypes, end.argtypes = [ctypes.c_size_t], [ctypes.c_void_p], [ctypes.c_ssize_t]
    top = int(end(0) or 0) - int(usage().keepcost)
    size = _BLOCK_BYTES_MAX
    while size > _STEP:
        for _ in range(_BLOCKS_MAX):
            block = int(take(size) or 0)
            if not block or block >= top:
                give_back(block)
                break
        size = size - _STEP if size <= _FINE_BYTES else size * 7 // 8 // _STEP * _STEP


def code_run_by(life: Callable[[], None]) -> dict[int, CodeType]:
    """Live it, and give the code of every function that it ran in this thread, by identity.

    Raises:
        Exception: Whatever it raised.
    """
    codes: dict[int, CodeType] = {}

    def note(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call":
            codes[id(frame.f_code)] = frame.f_code

    sys.setprofile(note)
    try:
        life()
    finally:
        sys.setprofile(None)
    return codes


def lay_together(codes: Mapping[int, CodeType]) -> None:
    """Give all functions with such code a copy of it; the copies lie together where the holes were filled before.

    A function stays the object that it was. What runs at the moment goes on with the code that it has.
    """
    copies: dict[int, CodeType] = {}

    def copied(code: CodeType) -> CodeType:
        if id(code) not in copies:
            inner = (
                copied(each) if isinstance(each, CodeType) and id(each) in codes else each for each in code.co_consts
            )
            copies[id(code)] = code.replace(co_consts=tuple(inner))
        return copies[id(code)]

    functions = [each for each in gc.get_objects() if isinstance(each, FunctionType) and id(each.__code__) in codes]
    for function in functions:
        function.__code__ = copied(function.__code__)
