"""Standing back for others on the processors, while nobody waits for what is done; and how that is ended again.

A process that has no privileges may always lower itself, but not always rise again. What can be undone is found out
by trying, once.
"""

import ctypes
import os
import resource
import struct
from contextlib import suppress
from enum import Enum

#: Longest time slice that a process may ask of the kernel, and so the one that others may interrupt soonest.
_SLICE_NS = 100_000_000
#: The nicest that a process can be.
_NICE_MOST = 19
#: The system call that sets a slice, by architecture, and the length of its argument's first version.
_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274}
_ATTRIBUTES = struct.Struct("<IIQiIQQQ")
_SETATTR = _SCHED_SETATTR.get(os.uname().machine)
_NO_PRIORITY = os.sched_param(0)
_libc = ctypes.CDLL(None, use_errno=True)


class Way(Enum):
    """How a process stands back, as far as it can come out of that again."""

    IDLE = "idle"
    """It runs where nobody else wants a processor. It needs CAP_SYS_NICE, or an RLIMIT_NICE that reaches nice 0."""
    BATCH = "batch"
    """It has its fair share, in long slices that whoever wakes up may interrupt."""

    @classmethod
    def find(cls) -> "Way":
        """Try in a process of its own which way back is open. Call it while there is one thread, and few pages."""
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                stand_back(cls.IDLE)
                stand_up(0)
                code = 0
            finally:
                os._exit(code)
        _, status = os.waitpid(pid, 0)
        return cls.IDLE if os.waitstatus_to_exitcode(status) == 0 else cls.BATCH


def stand_back(way: Way) -> None:
    """Let others go first, this thread and whatever it starts from now on. It never fails."""
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_IDLE if way is Way.IDLE else os.SCHED_BATCH, os.sched_param(0))
        if way is Way.BATCH:
            _take_slices(0, os.SCHED_BATCH, _SLICE_NS)


def stand_up(pid: int) -> None:
    """Let a process of this user, with all its threads, compete for processors as any other; 0 is this process.

    From then on it may not rise by itself, should it be lowered again. One that is gone is no error.

    Raises:
        PermissionError: This process may not; the other one stays as it is.
    """
    with suppress(FileNotFoundError, ProcessLookupError):
        for task in os.listdir(f"/proc/{pid or 'self'}/task"):  # noqa: PTH208 - names are enough
            with suppress(ProcessLookupError):
                os.sched_setscheduler(int(task), os.SCHED_OTHER, os.sched_param(0))
                _take_slices(int(task), os.SCHED_OTHER, 0)
        resource.prlimit(pid, resource.RLIMIT_NICE, (0, 0))


def compete() -> None:
    """Compete for processors as any other, this thread and whatever it starts from now on.

    For a process that its parent made while that stood back: it has one thread, and every child does this first.
    """
    os.sched_setscheduler(0, os.SCHED_OTHER, _NO_PRIORITY)
    _take_slices(0, os.SCHED_OTHER, 0)


def leave_gently() -> None:
    """Let others go first from now on, for good, with all threads of this process group: nobody waits for its end.

    The last thread that ends gives back the memory of all, some milliseconds in which the kernel may let nobody else
    in. It never fails, and needs no file of the kernel's: who is fenced cannot read there.
    """
    with suppress(OSError):
        os.setpriority(os.PRIO_PGRP, 0, _NICE_MOST)
    stand_back(Way.IDLE)


def _take_slices(task: int, policy: int, slice_ns: int) -> None:
    """Ask for time slices of this length, 0 for the usual one. A kernel before 6.12 does not mind it."""
    if _SETATTR is not None:
        nice = os.getpriority(os.PRIO_PROCESS, task)
        _libc.syscall(_SETATTR, task, _ATTRIBUTES.pack(_ATTRIBUTES.size, policy, 0, nice, 0, slice_ns, 0, 0), 0)
