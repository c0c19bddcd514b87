"""Forking a child of our own parent: in one step where kernel and C library let us, else in two.

A zygote's children shall be root's, who reaps them. The kernel can make a child of the caller's parent at once
(``CLONE_PARENT``), and no function of the C library asks it to. So we ask it ourselves, and do around it what the
library does for the one thread that forks: that thread's number stands where its locks look for it, and the kernel
knows the list of robust locks that it holds.

What library and interpreter do besides is about locks that other threads might hold. Whoever forks here has one thread,
and each lock is in the child as that thread left it: so nobody is asked to take all locks before and to make them anew
after, which costs both sides a hundred pages. Only chance must not be the same in all children.
"""

import ctypes
import os
import random
import signal
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple, Self

_PR_GET_TID_ADDRESS = 40
_CLONE_PARENT, _CLONE_CHILD_CLEARTID, _CLONE_CHILD_SETTID = 0x00008000, 0x00200000, 0x01000000
_FLAGS = _CLONE_PARENT | _CLONE_CHILD_SETTID | _CLONE_CHILD_CLEARTID | signal.SIGCHLD
#: Exit codes of the child that a trial makes.
_RIGHT, _WRONG = 0, 1


class _Calls(NamedTuple):
    """One architecture's numbers of the calls, and which of clone's arguments is the place of the child's number."""

    clone: int
    set_robust_list: int
    get_robust_list: int
    place: int


_CALLS = {"x86_64": _Calls(56, 273, 274, 3), "aarch64": _Calls(220, 99, 100, 4)}
#: It keeps the interpreter's lock: who forks holds it, and so does the child.
_library = ctypes.PyDLL(None)
_call: Callable[..., int] = _library.syscall
_library.syscall.argtypes = [ctypes.c_long] * 6
_library.syscall.restype = ctypes.c_long


class Fork(NamedTuple):
    """How this process forks, found out once. Without calls it is in two steps."""

    calls: _Calls | None = None
    number_at: int = 0
    """Where the C library has the number of its thread."""
    robust: tuple[int, int] = (0, 0)
    """Where the list of robust locks begins, and how long that beginning is."""

    @classmethod
    def find(cls) -> Self:
        """Find out whether one step will do, and try it. Call it while there is one thread, and few pages."""
        found = cls._looked_up()
        return found if found.calls is not None and found.is_right() else cls()

    @classmethod
    def _looked_up(cls) -> Self:
        calls = _CALLS.get(os.uname().machine)
        threads = len(os.listdir("/proc/self/task"))  # noqa: PTH208 - names are enough
        if calls is None or struct.calcsize("P") != struct.calcsize("q") or threads != 1:
            return cls()
        number_at, head, length = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_size_t()
        if _library.prctl(_PR_GET_TID_ADDRESS, ctypes.byref(number_at), 0, 0, 0) != 0:
            return cls()
        places = ctypes.addressof(head), ctypes.addressof(length)
        if _call(calls.get_robust_list, 0, *places, 0, 0) != 0:
            return cls()
        if not (number_at.value and head.value and _number(number_at.value) == threading.get_native_id()):
            return cls()  # another C library has something else there
        return cls(calls, number_at.value, (head.value, length.value))

    def is_right(self) -> bool:
        """Let a process in between make a child of ours, which looks whether it is that."""
        own = os.getpid()
        out, into = os.pipe()
        between = os.fork()
        if between == 0:
            try:
                with suppress(OSError):
                    pid = self.fork()
                    if pid == 0:
                        os._exit(_RIGHT if os.getppid() == own and self._is_known_here() else _WRONG)
                    os.write(into, pid.to_bytes(4, "little"))
            finally:
                os._exit(0)
        os.close(into)
        os.waitpid(between, 0)
        told = os.read(out, 4)
        os.close(out)
        try:
            _, status = os.waitpid(int.from_bytes(told, "little"), 0) if told else (0, -1)
        except ChildProcessError:
            return False
        return bool(told) and os.waitstatus_to_exitcode(status) == _RIGHT

    def _is_known_here(self) -> bool:
        """Whether library and kernel know in this child what they know in any."""
        return _number(self.number_at) == threading.get_native_id() and self._looked_up() == self

    def fork(self) -> int:
        """Fork a child of our parent; give its pid, and 0 in the child.

        Raises:
            OSError: There is none.
        """
        return _fork_twice() if self.calls is None else self._fork_once(self.calls)

    def _fork_once(self, calls: _Calls) -> int:
        told = [_FLAGS, 0, 0, 0, 0]
        told[calls.place] = self.number_at
        pid = _call(calls.clone, *told)
        if pid == 0:
            _call(calls.set_robust_list, *self.robust, 0, 0, 0)
            random.seed()
            return 0
        if pid < 0:
            msg = "the kernel gives no process"
            raise ChildProcessError(msg)
        return pid


def _number(place: int) -> int:
    return ctypes.c_int.from_address(place).value


def _fork_twice() -> int:
    """Fork by way of a process that ends at once, so that our parent, a subreaper, adopts the child."""
    out, into = os.pipe()
    between = os.fork()
    if between == 0:
        pid = -1
        try:
            pid = os.fork()
            if pid:
                os.write(into, pid.to_bytes(4, "little"))
        finally:
            if pid:
                os._exit(0)
        os.close(out)
        os.close(into)
        return 0
    os.close(into)
    os.waitpid(between, 0)
    told = os.read(out, 4)
    os.close(out)
    if not told:
        msg = "the second fork failed"
        raise ChildProcessError(msg)
    return int.from_bytes(told, "little")
