"""No new processes: a filter that the kernel runs before each system call of a process, and of its threads.

Threads stay possible. What is refused fails with EPERM, so Python raises ``PermissionError`` where it was tried.
"""

import ctypes
import errno
import os
import struct
from typing import NamedTuple, Self

from runtime.errors import StartError

_PR_SET_NO_NEW_PRIVS = 38
_SET_MODE_FILTER, _GET_ACTION_AVAILABLE = 1, 2
#: Do not make the processor careful about speculation for this: the filter keeps no secret.
_SPEC_ALLOW = 1 << 2
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000
_CLONE_THREAD = 0x00010000
_X32 = 0x40000000
#: Where the kernel's description of a call has its number, its architecture, and the low half of the first argument.
_NUMBER_AT, _MACHINE_AT, _FLAGS_AT = 0, 4, 16
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_libc = ctypes.CDLL(None, use_errno=True)
_prctl = _libc.prctl  # looked up once, and not by each child


class _Machine(NamedTuple):
    """One architecture's numbers of the calls that matter here."""

    audit: int
    seccomp: int
    clone: int
    refused: tuple[int, ...]


#: ``clone3`` hides its flags from filters, so it is said to be missing, and libraries fall back to ``clone``.
_CLONE3 = 435
#: fork, vfork, execve, execveat: the latter two would put another program into this one's place.
_MACHINES = {
    "x86_64": _Machine(0xC000003E, 317, 56, (57, 58, 59, 322)),
    "aarch64": _Machine(0xC00000B7, 277, 220, (221, 281)),
}


class Filter(NamedTuple):
    """The filter of this machine, ready to be handed to the kernel; empty where the kernel takes none."""

    program: bytes = b""
    number: int = 0

    @classmethod
    def prepare(cls) -> Self:
        """Write it, where this kernel and architecture can refuse new processes."""
        machine = _MACHINES.get(os.uname().machine)
        action = ctypes.c_uint32(_REFUSE)
        if machine is None or _libc.syscall(machine.seccomp, _GET_ACTION_AVAILABLE, 0, ctypes.byref(action)) != 0:
            return cls()
        return cls(_program(machine), machine.seccomp)


def forbid_processes(prepared: Filter) -> bool:
    """Refuse this process every fork and every other program, for good. Call it while there is one thread.

    Returns:
        False where the filter is empty, and nothing is refused.

    Raises:
        StartError: The kernel did not take the filter.
    """
    if not prepared.program:
        return False
    program = ctypes.create_string_buffer(prepared.program, len(prepared.program))
    description = struct.pack("@HP", len(prepared.program) // 8, ctypes.addressof(program))
    _prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if _libc.syscall(prepared.number, _SET_MODE_FILTER, _SPEC_ALLOW, description) != 0:
        msg = f"the kernel did not take the filter against new processes: {os.strerror(ctypes.get_errno())}"
        raise StartError(msg)
    return True


def _program(machine: _Machine) -> bytes:
    """Write the filter: foreign calls and new processes are refused, a clone passes where it makes a thread."""
    refuse = [(_RETURN, 0, 0, _REFUSE | errno.EPERM)]
    steps = [
        (_LOAD, 0, 0, _MACHINE_AT),
        (_EQUAL, 1, 0, machine.audit),
        *refuse,
        (_LOAD, 0, 0, _NUMBER_AT),
        (_AT_LEAST, 0, 1, _X32),
        *refuse,
        (_EQUAL, 0, 1, _CLONE3),
        (_RETURN, 0, 0, _REFUSE | errno.ENOSYS),
    ]
    for number in machine.refused:
        steps += [(_EQUAL, 0, 1, number), *refuse]
    steps += [
        (_EQUAL, 0, 3, machine.clone),
        (_LOAD, 0, 0, _FLAGS_AT),
        (_ANY_BIT, 1, 0, _CLONE_THREAD),
        *refuse,
        (_RETURN, 0, 0, _ALLOW),
    ]
    return b"".join(struct.pack("<HBBI", *step) for step in steps)
