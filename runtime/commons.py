"""What a child wrote to for nothing, and how it gives that back.

A child shares each page with the zygote until it writes to it, and Python writes wherever it goes: it counts references
up, and down again. Most pages that a child has of its own hold the same as the zygote's. So the zygote lays its objects
out anew before it forks: on a file in memory, of which everyone has a private view. A child that drops its page sees
the zygote's again.

This must never change what a child sees. So a page is dropped only where it holds the same at that moment, but for
counts of references to objects that are never freed: before, the zygote raises the count of each object that it finds
so far that no child ever takes all of it away; such a count has a mark that nothing else there bears. And between the
look at a page and its drop nothing else writes to it:

- There is one thread of Python, and neither a signal nor a collection comes in between. Other threads (ZeroMQ's) never
  touch Python's small objects.
- What is made meanwhile lies elsewhere: a pool of objects is looked at only while it is full.
- What was freed and is kept for the next of its kind lies elsewhere too: such a place differs from the zygote's, where
  nothing of that sort is.
- The code that runs meanwhile lies elsewhere: Python may make it quick at any time, and not on one of its pages only.

What Python notes in code about how it ran is a hint, checked at each use: any that was ever true of these objects will
do. So a page may be dropped though other hints stand there, but only with all of a code object's: an instruction and
its hint belong together, and code is made quick only once.

It knows how CPython 3.11 lays out objects, and does nothing under another one.
"""

import ctypes
import fcntl
import gc
import mmap
import os
import signal
import struct
import sys
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from types import CodeType, FunctionType
from typing import NamedTuple, Self

from runtime.clock import NS_PER_S
from runtime.unbroken import UnbrokenError, address_of, run_unbroken

_PAGE = 4096
#: A pool holds small objects of one size. Its header: how many are taken, the first that was given back, two
#: neighbours, the arena, the size, the next that never was taken, and the last one that can be.
_POOL = 1 << 14
_HEADER = struct.Struct("<IIQQQIIII")
_NEIGHBOURS = {16, 24}  #: which mean nothing while the pool is full
_SIZES, _STEP, _ARENAS_MAX = 32, 16, 1 << 16
#: What stands before an object that the collector may look at.
_GC_HEAD = 16
#: Where a code object keeps the names and the kinds of its variables, to which nothing else leads.
_CODE_HIDDEN = (96, 104)
#: How many instructions it has, which stand at its end, and where it counts its first calls, in the upper half of a
#: word: from here up to 0, at which it becomes quick code.
_INSTRUCTIONS, _WARMTH, _COLDEST, _WARMEST = 16, 48, 0xFFF8, 0xFFFF
#: Where a function has its version.
_VERSION = 128
_CODE_BYTES, _INSTRUCTION_BYTES = CodeType.__basicsize__, CodeType.__itemsize__
#: The upper half of a raised count is the first of these that stands nowhere else; the lower half has room either way.
_MARKS = range(0x29F31, 0x29FFF)
_HALF = 1 << 31
#: What the kernel says of a page: it is there, it is a file's, nobody else has it.
_PRESENT, _OF_FILE, _EXCLUSIVE = 1 << 63, 1 << 61, 1 << 56
_PAGES = "/proc/self/pagemap"
#: How the kernel names the file.
_NAME = "commons"
#: At least so long lies between two times at which a process gives back, and between its birth and the first: it takes
#: some milliseconds, and where many start others wait for a processor.
PAUSE_NS, FIRST_NS = 6 * NS_PER_S, 12 * NS_PER_S
#: Each process has its own of so many seconds: a thousand that come to rest together shall not all do it at once.
SLOTS = 6
#: What a pool's header begins with.
_TAKEN_AND_FREE = 16
_LOWER = (1 << 32) - 1
_WORD = 8
_PART = 256
_WORDS = struct.Struct(f"<{_PART // _WORD}Q")
_BLOCK, _SET = int(signal.SIG_BLOCK), int(signal.SIG_SETMASK)
_OWN, _IN_PLACE = mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE | 0x10
_FAILED = (1 << 64) - 1
_SET_BYTES = 128
_SEALS = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
#: With the lock of Python held, so that no other thread runs meanwhile.
_libc = ctypes.PyDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_ssize_t,
]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
#: These keep no error: where one is kept, Python counts references to that place while the call goes on, and a count is
#: not to be lost with a page.
_plain = ctypes.PyDLL(None)
_compare, _advise, _mask = _plain.memcmp, _plain.madvise, _plain.pthread_sigmask
_compare.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]
_advise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
_mask.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
#: All signals that come from outside, made once for all children: what a process does wrong itself shall still be told.
_ALL, _BEFORE = ctypes.create_string_buffer(_SET_BYTES), ctypes.create_string_buffer(_SET_BYTES)
for _number in signal.valid_signals() - {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT}:
    _plain.sigaddset(_ALL, int(_number))


class Span(NamedTuple):
    """A stretch of memory that lies on the file: its address, its length, and where the file can be read."""

    address: int
    length: int
    image: int


class Commons(NamedTuple):
    """What all children have in common. Without any span there is nothing that a child could give back.

    It holds no number that is an object: to look at one writes to its page.
    """

    spans: "array[int]" = array("Q")
    """The words of each span, one behind another, in ascending order."""
    living: bytes = b""
    """For each pool of all spans, whether it is full of living objects."""
    mark: int = 0
    codes: "array[int]" = array("Q")
    """Where code is, in ascending order."""
    versions: "array[int]" = array("Q")
    """Where functions have a version once a call of them was made quick; without one they get another."""

    @classmethod
    def lay_out(cls) -> Self:
        """Lay the objects of this process out on a file. It has one thread, and has not forked anyone yet.

        Call it when everything is made that children shall share, and no hole is left in between. Objects that are
        there now are never freed any more, neither here nor in a child. Where it cannot be done, nothing is in common.
        """
        if sys.implementation.name != "cpython" or sys.version_info[:2] != (3, 11) or mmap.PAGESIZE != _PAGE:
            return cls()
        try:
            calls = address_of("memcpy"), address_of("mmap")
            objects = _every_object()
            arenas = _arenas_of(objects)
            mark = _mark_for(arenas)
            _raise_counts(objects, arenas, mark)
            codes = array("Q", sorted(at for at, each in objects.items() if type(each) is CodeType))
            versions = array("Q", sorted(at + _VERSION for at, each in objects.items() if type(each) is FunctionType))
            del objects
            spans = _on_file(arenas, *calls)
            images = {span.address: span.image for span in spans}
            living = b"".join(_living(each, images[each.address]) for each in arenas if each.address in images)
            return cls(array("Q", chain.from_iterable(spans)), living, mark, codes, versions)
        except (OSError, StopIteration, UnbrokenError):
            return cls()

    def borrow(self, now_ns: int) -> Callable[[int], int]:
        """Begin a child's life in this process, at that time; give what it calls at rest."""
        return Borrowed(self, now_ns).rest


class _Arena(NamedTuple):
    """A stretch of pools, of which some objects were found in these."""

    address: int
    length: int
    pools: tuple[int, ...]


def _every_object() -> dict[int, object]:
    """Give all objects that can be reached, by address."""
    found: dict[int, object] = {}
    fresh = gc.get_objects()
    while fresh:
        new = dict(zip(map(id, fresh), fresh, strict=True))
        for known in found.keys() & new.keys():
            del new[known]
        found |= new
        fresh = gc.get_referents(*new.values())
        fresh += chain.from_iterable(map(_parts, (each for each in new.values() if isinstance(each, CodeType))))
    return found


def _parts(code: CodeType) -> Iterable[object]:
    """Give what a code object refers to: the collector does not know."""
    hidden = (ctypes.py_object.from_address(id(code) + at).value for at in _CODE_HIDDEN)
    return (
        code.co_consts,
        code.co_names,
        code.co_exceptiontable,
        code.co_linetable,
        code.co_filename,
        code.co_name,
        code.co_qualname,
        *hidden,
    )


def _word(address: int) -> int:
    return ctypes.c_uint64.from_address(address).value


def _arenas_of(objects: Iterable[int]) -> list[_Arena]:
    """Find the pools of these objects, and with them the arenas."""
    places = _places("")
    starts = [start for start, _ in places]
    pools: dict[int, list[int]] = {}
    for pool, address in {address & -_POOL: address for address in objects}.items():
        at = bisect_right(starts, pool) - 1
        if at >= 0 and pool + _POOL <= places[at][1]:
            size, arena = _size_and_arena(pool)
            if size and (address - pool - _HEADER.size) % size in {0, _GC_HEAD}:
                pools.setdefault(arena, []).append(pool)
    found = (tuple(sorted(each)) for each in pools.values())
    return sorted(_Arena(each[0], each[-1] + _POOL - each[0], each) for each in found)


def _places(name: str) -> list[tuple[int, int]]:
    """List the stretches of memory that are this file's, "" for those of no file, no heap and no stack."""
    with open("/proc/self/maps", encoding="ascii") as file:  # noqa: PTH123 - of the kernel's
        lines = [line.split(maxsplit=5) for line in file]
    return [
        (int(start, 16), int(end, 16))
        for place, rights, _, _, _, *named in lines
        if rights == "rw-p" and "".join(named).strip() == name
        for start, _, end in (place.partition("-"),)
    ]


def _size_and_arena(pool: int) -> tuple[int, int]:
    """Give the size of a pool's objects and its arena; (0, 0) where it is no pool."""
    taken, _, _, _, _, arena, kind, _, last = _HEADER.unpack(ctypes.string_at(pool, _HEADER.size))
    size = (kind + 1) * _STEP
    is_pool = kind < _SIZES and last == _POOL - size and arena < _ARENAS_MAX
    return (size, arena) if is_pool and 0 < taken <= (_POOL - _HEADER.size) // size else (0, 0)


def _mark_for(arenas: Iterable[_Arena]) -> int:
    """Choose a mark that is not the upper half of any word there."""
    texts = [ctypes.string_at(arena.address, arena.length) for arena in arenas]
    return next(mark for mark in _MARKS if not any(_stands_in(mark, text) for text in texts))


def _stands_in(mark: int, text: bytes) -> bool:
    wanted, at = struct.pack("<I", mark), -1
    while (at := text.find(wanted, at + 1)) >= 0:
        if at % _WORD == _WORD // 2:
            return True
    return False


def _raise_counts(objects: Iterable[int], arenas: Iterable[_Arena], mark: int) -> None:
    pools = {pool for arena in arenas for pool in arena.pools}
    much = (mark << 32) + _HALF
    at = ctypes.c_uint64.from_address
    for address in objects:
        if address & -_POOL in pools:
            at(address).value += much


class _Undisturbed:
    """Neither a signal nor a collection comes in between.

    The module ``signal`` would do, but turns the signals into objects again at the end, all over the heap.
    """

    def __enter__(self) -> None:
        self._was_collecting = gc.isenabled()
        _mask(_BLOCK, _ALL, _BEFORE)
        gc.disable()

    def __exit__(self, *_: object) -> None:
        _mask(_SET, _BEFORE, None)
        if self._was_collecting:
            gc.enable()


def _on_file(arenas: list[_Arena], copy: int, view: int) -> list[Span]:
    """Put a file in the place of the arenas, with what is in them at that moment."""
    offsets = [0]
    for arena in arenas:
        offsets.append(offsets[-1] + arena.length)
    file = os.memfd_create(_NAME, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(file, offsets[-1])
        written = _view(file, offsets[-1], mmap.PROT_READ | mmap.PROT_WRITE)
        calls = [
            call
            for arena, offset in zip(arenas, offsets, strict=False)
            for call in (
                (copy, (written + offset, arena.address, arena.length)),
                (view, (arena.address, arena.length, _OWN, _IN_PLACE, file, offset)),
            )
        ]
        with _Undisturbed():
            gc.collect()  # with that nothing is kept for later that was freed
            run_unbroken(calls)
        _libc.munmap(written, offsets[-1])
        fcntl.fcntl(file, fcntl.F_ADD_SEALS, _SEALS)  # from now on nobody can write to what all look at
        image = _view(file, offsets[-1], mmap.PROT_READ)
    finally:
        os.close(file)
    places = _places(f"/memfd:{_NAME} (deleted)")
    return [
        Span(arena.address, arena.length, image + offset)
        for arena, offset in zip(arenas, offsets, strict=False)
        if _is_within(arena, places)
    ]


def _is_within(arena: _Arena, places: Iterable[tuple[int, int]]) -> bool:
    """Say whether these places, in ascending order, cover it: a page of anything else would be lost with its drop."""
    at = arena.address
    for start, end in places:
        if start <= at < end:
            at = end
    return at >= arena.address + arena.length


def _living(arena: _Arena, image: int) -> bytes:
    pools = set(arena.pools) - {id(code) & -_POOL for code in _run_meanwhile()}
    return bytes(arena.address + at in pools and _is_full_of_life(image + at) for at in range(0, arena.length, _POOL))


def _view(file: int, length: int, rights: int) -> int:
    address = _libc.mmap(None, length, rights, mmap.MAP_SHARED, file, 0)
    if address in {None, _FAILED}:
        raise OSError(ctypes.get_errno(), "mmap")
    return int(address)


def _is_full_of_life(pool: int) -> bool:
    """Say whether a pool is full, and holds no tuple and no list that was freed and waits to be one again."""
    text = ctypes.string_at(pool, _POOL)
    _, _, free, _, _, _, kind, following, last = _HEADER.unpack_from(text)
    if free or following <= last:
        return False
    size = (kind + 1) * _STEP
    for type_ in (tuple, list):
        dead, at = bytes(_WORD) + id(type_).to_bytes(_WORD, sys.byteorder), -1
        while (at := text.find(dead, at + 1)) >= 0:
            if (at - _HEADER.size - _GC_HEAD) % size == 0:
                return False
    return True


class Borrowed:
    """The pages of the commons that this process has written to.

    Make it before the process is confined: the kernel's word on its pages is opened here.
    """

    def __init__(self, commons: Commons, now_ns: int) -> None:
        """Begin; nothing is looked at yet, nor soon: others may still be starting."""
        self._commons, self._file = commons, os.open(_PAGES, os.O_RDONLY | os.O_CLOEXEC) if commons.spans else -1
        self._due_ns, self._slot = now_ns + FIRST_NS, os.getpid() % SLOTS
        self._undisturbed = _Undisturbed()

    def rest(self, now_ns: int) -> int:
        """Give back, where that is not too soon after the last time and its own second; else say when it is not.

        Times are monotonic. Where nothing is in common nothing is to do.
        """
        if not self._commons.spans:
            return 0
        at_ns = max(now_ns, self._due_ns)
        waits = (self._slot - at_ns // NS_PER_S) % SLOTS
        if waits:
            return (at_ns // NS_PER_S + waits) * NS_PER_S
        if at_ns > now_ns:
            return at_ns
        self._due_ns = now_ns + PAUSE_NS
        self.give_back()
        return 0

    def give_back(self) -> int:
        """Drop the pages that hold what they held; give their number.

        It takes some milliseconds. Where it is not safe, as with a second thread of Python, nothing happens.
        """
        if self._file < 0 or len(sys._current_frames()) != 1 or sys.gettrace() or sys.getprofile():  # noqa: SLF001 - all threads, not only threading's
            return 0
        spans, dropped, pools = self._commons.spans, 0, 0
        with self._undisturbed:
            for at in range(0, len(spans), len(Span._fields)):
                address, length, image = spans[at], spans[at + 1], spans[at + 2]
                dropped += self._give_back_in(address, length, image, pools)
                pools += length // _POOL
        return dropped

    def _give_back_in(self, address: int, length: int, image: int, pools: int) -> int:
        """Look at each page that this process has of its own, in pools of living objects."""
        dropped, far = 0, image - address
        with (
            memoryview((ctypes.c_char * length).from_address(address)) as raw,
            raw.cast("B").cast("I") as words,
        ):
            for page in self._own_pages(address, length):
                pool = page & -_POOL
                if self._commons.living[pools + (pool - address) // _POOL]:
                    dropped += self._drop(page, page + far, pool, pool + far, words, (pool - address) // 4)
        _advise(image, length, mmap.MADV_DONTNEED)
        return dropped

    def _drop(self, page: int, image: int, pool: int, pool_image: int, words: memoryview, header: int) -> bool:
        """Drop a page where it holds the same; say whether it did.

        From the first look at the pool to the drop nothing that was there before may be freed, for the first page of
        a pool notes that; and what is made must not be what just filled the pool. The first look makes only numbers,
        the second only what a call takes, which is never of the same size. So each sees the hole that the other fills.
        """
        if words[header + 2] or words[header + 3] or words[header + 10] <= words[header + 11]:
            return False
        if _compare(pool, pool_image, _TAKEN_AND_FREE):
            return False
        if _compare(page, image, _PAGE) and not self._differs_in_counts(page, image):
            return False
        _advise(page, _PAGE, mmap.MADV_DONTNEED)
        return True

    def _own_pages(self, address: int, length: int) -> list[int]:
        """List the pages that nobody else has."""
        told = os.pread(self._file, length // _PAGE * _WORD, address // _PAGE * _WORD)
        words = memoryview(told).cast("Q")
        return [
            address + index * _PAGE
            for index, word in enumerate(words)
            if word & (_PRESENT | _OF_FILE | _EXCLUSIVE) == _PRESENT | _EXCLUSIVE
        ]

    def _differs_in_counts(self, page: int, image: int) -> bool:
        """Say whether a page is another one only in counts that may be forgotten."""
        ours, theirs = ctypes.string_at(page, _PAGE), ctypes.string_at(image, _PAGE)
        for at in range(0, _PAGE, _PART):
            if ours[at : at + _PART] != theirs[at : at + _PART]:
                words = zip(_WORDS.unpack_from(ours, at), _WORDS.unpack_from(theirs, at), strict=True)
                for index, (own, other) in enumerate(words):
                    if own != other and not self._is_idle(page + at + index * _WORD, own, other):
                        return False
        return True

    def _is_idle(self, place: int, own: int, other: int) -> bool:
        """Say whether a word may as well be the zygote's."""
        commons, upper = self._commons, own >> 32
        if place & (_POOL - 1) in _NEIGHBOURS:
            return True
        if upper == other >> 32 == commons.mark:
            return True
        at = bisect_right(commons.codes, place) - 1
        if at >= 0 and place < (end := _end_of(commons.codes[at])):
            return _is_hint(place, own, other, commons.codes[at], end)
        return not other and not upper and _is_among(commons.versions, place)


def _end_of(code: int) -> int:
    return code + _CODE_BYTES + _word(code + _INSTRUCTIONS) * _INSTRUCTION_BYTES


def _is_hint(place: int, own: int, other: int, code: int, end: int) -> bool:
    """Say whether this word of a code object says only how it ran, and all that belongs to it is on this page."""
    warmth = code + _WARMTH
    is_whole = warmth & -_PAGE == (end - 1) & -_PAGE
    if place == warmth:
        return own & _LOWER == other & _LOWER and (is_whole or _are_cold(own >> 32, other >> 32))
    return is_whole and place >= code + _CODE_BYTES


def _are_cold(one: int, other: int) -> bool:
    """Say whether code was still counting its first calls at both times."""
    return min(one, other) >= _COLDEST and max(one, other) <= _WARMEST


def _is_among(places: "array[int]", place: int) -> bool:
    at = bisect_left(places, place)
    return at < len(places) and places[at] == place


def _run_meanwhile() -> Iterator[CodeType]:
    """Give the code that runs between a look at a page and its drop, and around that."""
    own = (each for each in vars(Borrowed).values() if isinstance(each, FunctionType))
    for function in (*own, _is_among, _is_hint, _end_of, _are_cold, _word, ctypes.string_at):
        yield function.__code__
        yield from (each for each in function.__code__.co_consts if isinstance(each, CodeType))
