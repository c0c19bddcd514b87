"""Which files a process may touch: Landlock, asked of the kernel by its three system calls.

The kernel refuses what no rule allows, also to whatever the process starts later, and nothing takes that back.
Looking up what a file is (``stat``) is not covered, nor is the connection to a Unix socket whose path one can reach.
"""

import ctypes
import os
import stat
import struct
import sys
import sysconfig
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Self

from runtime.errors import StartError

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_FLAG, _PATH_BENEATH = 1, 1
_PR_SET_NO_NEW_PRIVS = 38

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REMOVE_FILE, _MAKE_FILE, _TRUNCATE, _IOCTL_DEV = 1 << 5, 1 << 8, 1 << 14, 1 << 15
#: All rights over files that each version of the interface knows.
_FILE_RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1, 5: (1 << 16) - 1}
_NEWEST_KNOWN = 5
#: Rights that a single file can have; the others belong to folders.
_OF_A_FILE = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
_READING = _EXECUTE | _READ_FILE | _READ_DIR
_LOGGING = _WRITE_FILE | _READ_DIR | _REMOVE_FILE | _MAKE_FILE | _TRUNCATE
_ALL_TCP, _TCP_SINCE = 0b11, 4
#: No signal to anyone outside, no abstract socket of theirs.
_ALL_SCOPES, _SCOPES_SINCE = 0b11, 6

#: What an interpreter and its libraries read of the machine.
MACHINE = (
    "/usr",
    "/lib",
    "/lib64",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/dev/urandom",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/sys/devices/system/cpu",
)
_libc = ctypes.CDLL(None, use_errno=True)
_prctl = _libc.prctl  # looked up once, and not by each child


def abi() -> int:
    """Give the kernel's version of the interface; 0 where it has none or it is switched off."""
    return max(0, int(_libc.syscall(_CREATE_RULESET, None, 0, _VERSION_FLAG)))


class Ground(NamedTuple):
    """What every process of this interpreter reads, opened once: (descriptor, rule that lets it be read) of each."""

    places: tuple[tuple[int, bytes], ...] = ()

    @classmethod
    def survey(cls) -> Self:
        """Open the interpreter, its libraries and the packages loaded so far. Forks inherit the descriptors.

        A package that lies beside other things is named alone, never the folder around it.
        """
        found = dict.fromkeys([*MACHINE, sys.prefix, sys.base_prefix, *sysconfig.get_paths().values()])
        packages = [module for name, module in tuple(sys.modules.items()) if "." not in name]
        for module in packages:
            with suppress(TypeError):  # a namespace that was made by hand
                found |= dict.fromkeys(str(Path(folder).resolve()) for folder in getattr(module, "__path__", ()))
        found = dict.fromkeys(str(Path(path).resolve()) for path in found)  # /lib lies below /usr on many machines
        places = [_opened(path) for path in found if Path(path).exists() and not _is_below(path, found)]
        return cls(tuple((place[0], _rule(place, _READING)) for place in places))

    def close(self) -> None:
        """Close the descriptors of this process."""
        for descriptor, _ in self.places:
            os.close(descriptor)


def _is_below(path: str, folders: Iterable[str]) -> bool:
    return any(path != folder and Path(path).is_relative_to(folder) for folder in folders)


def _opened(path: str) -> tuple[int, bool]:
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    return descriptor, stat.S_ISDIR(os.fstat(descriptor).st_mode)


def confine(ground: Ground, readable: Iterable[str], writable: Iterable[str], logs: Iterable[str] = ()) -> int:
    """Refuse this thread, and all that comes from it, every file but these; TCP and signals to others with it.

    Call it while there is one thread. ``/dev/null`` is always there. A readable path that does not exist is left out.

    Args:
        ground: What may be read, listed and executed besides.
        readable: Files and folders of which the same holds.
        writable: Files and folders that may also be written, made and removed.
        logs: Folders in which files may be made, written, listed, renamed and removed, but not read.

    Returns:
        The version of the interface that holds; 0 where the kernel has none, and nothing is refused.

    Raises:
        StartError: The kernel has it and refused the rules, or a writable path does not exist.
    """
    version = abi()
    if not version:
        return 0
    ruleset = lay_down(ground, readable, writable, logs)
    try:
        _prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        _ask(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)
    return version


def lay_down(ground: Ground, readable: Iterable[str], writable: Iterable[str], logs: Iterable[str] = ()) -> int:
    """Write the rules of ``confine`` and give their descriptor. Nobody is confined by them yet.

    Raises:
        StartError: The kernel has none or refused them, or a writable path does not exist.
    """
    version = abi()
    everything = _FILE_RIGHTS[min(version, _NEWEST_KNOWN)]
    tcp = _ALL_TCP if version >= _TCP_SINCE else 0
    scopes = _ALL_SCOPES if version >= _SCOPES_SINCE else 0
    size = 24 if scopes else 16 if tcp else 8
    ruleset = _ask(_CREATE_RULESET, struct.pack("<QQQ", everything, tcp, scopes)[:size], size, 0)
    try:
        for _, rule in ground.places:
            _ask(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0)
        for path in readable:
            with suppress(FileNotFoundError):
                _allow_path(ruleset, path, _READING)
        for path in writable:
            _allow_path(ruleset, path, everything)
        for path in logs:
            _allow_path(ruleset, path, _LOGGING & everything)
        _allow_path(ruleset, os.devnull, _READ_FILE | _WRITE_FILE)
    except FileNotFoundError as error:
        os.close(ruleset)
        msg = f"Landlock: {error.filename} is not there, so nothing can be written to it"
        raise StartError(msg) from error
    except StartError:
        os.close(ruleset)
        raise
    return ruleset


def _allow_path(ruleset: int, path: str, rights: int) -> None:
    place = _opened(path)
    try:
        _ask(_ADD_RULE, ruleset, _PATH_BENEATH, _rule(place, rights), 0)
    finally:
        os.close(place[0])


def _rule(place: tuple[int, bool], rights: int) -> bytes:
    descriptor, is_folder = place
    return struct.pack("<Qi", rights if is_folder else rights & _OF_A_FILE, descriptor)


def _ask(*arguments: int | bytes | None) -> int:
    result = int(_libc.syscall(*arguments))
    if result < 0:
        msg = f"Landlock: system call {arguments[0]!r} refused: {os.strerror(ctypes.get_errno())}"
        raise StartError(msg)
    return result
