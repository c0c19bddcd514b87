"""Processes as root holds them: the zygote that forks them, a pidfd for each, and the reaping."""

import ctypes
import os
import resource
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

import msgspec

from runtime.child import ChildRequest
from runtime.packets import Spawned, send_packet
from runtime.restart import Exit, ExitKind

PR_SET_CHILD_SUBREAPER = 36
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
#: Seven numbers of the kernel's, and their blanks, are never longer.
_STATM_BYTES = 256
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
#: How long root waits for the end of a process that it has killed; it stands still meanwhile.
END_MS = 500
#: What the zygote and so every child finds in its environment: enough to run, no secret. The last one says where the
#: service manager has put its credentials; who is fenced cannot read there.
ENVIRONMENT_KEPT = ("PATH", "LANG", "LC_ALL", "TZ", "HOME", "CREDENTIALS_DIRECTORY")


class ZygoteBusyError(Exception):
    """The zygote takes no request now: too many wait already, or it has died."""


class Running(NamedTuple):
    """One child that lives, or died and was not reaped yet."""

    path: str
    epoch: int
    pid: int
    pidfd: int


class Usage(NamedTuple):
    """What a process uses: resident bytes, and processor seconds so far."""

    rss_bytes: int
    cpu_s: float


def become_subreaper() -> None:
    """Make the orphans of all our descendants our children."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def raise_open_files() -> None:
    """Take as many descriptors as the machine lets this process have: a thousand children take some thousands."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Zygote:
    """Root's end of the zygote. It is executed anew whenever it has died; no child dies with it."""

    def __init__(
        self, preload: Sequence[str], kept_descriptors: Sequence[int], rehearsal: tuple[str, str] = ("", "")
    ) -> None:
        """Take what it does before its first fork.

        Args:
            preload: The modules that it imports.
            kept_descriptors: What every child inherits (the lock).
            rehearsal: The maker of the room with which it rehearses ("" for none), and the folder of sockets.
        """
        self._preload, self._kept, self._rehearsal = tuple(preload), tuple(kept_descriptors), rehearsal
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self.pidfd = -1
        self.starts = 0

    @property
    def pid(self) -> int:
        """Its process id, 0 while it is down."""
        return self._process.pid if self._process is not None else 0

    def fileno(self) -> int:
        """Give the descriptor on which answers come."""
        assert self._socket is not None, "the zygote is down"
        return self._socket.fileno()

    def start(self, *, is_crowd: bool) -> None:
        """Execute it, for a crowd of children or a few. It is usable at once: requests wait until it is ready.

        Raises:
            OSError: There is no room for another process, or its program cannot be read; ``stop`` what there is of it.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        environment = {name: os.environ[name] for name in ENVIRONMENT_KEPT if name in os.environ}
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [
                sys.executable,
                "-P",
                "-m",
                "runtime.zygote",
                str(theirs.fileno()),
                str(os.getpid()),
                "crowd" if is_crowd else "",
                *self._rehearsal,
                *self._preload,
            ],
            pass_fds=(theirs.fileno(), *self._kept),
            stdin=subprocess.DEVNULL,
            env={**environment, "PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "1"},
        )
        theirs.close()
        ours.setblocking(False)
        self._socket = ours
        self.pidfd = os.pidfd_open(self._process.pid)
        self.starts += 1

    def spawn(self, request: ChildRequest) -> None:
        """Ask for a child; its pid comes as an answer.

        Raises:
            ZygoteBusyError: Nothing was asked.
        """
        try:
            assert self._socket is not None, "the zygote was never started"
            send_packet(self._socket, msgspec.msgpack.encode(request))
        except (OSError, AssertionError) as error:
            raise ZygoteBusyError(str(error)) from error

    def answers(self) -> Iterator[tuple[Spawned, socket.socket | None]]:
        """Give the children that were made since; with a spare the socket through which it is told who it is."""
        while self._socket is not None:
            try:
                data, descriptors, _, _ = socket.recv_fds(self._socket, 4096, 1, socket.MSG_CMSG_CLOEXEC)
            except (BlockingIOError, ConnectionError):
                return
            if not data:
                return
            channel = socket.socket(fileno=descriptors[0]) if descriptors else None
            yield msgspec.msgpack.decode(data, type=Spawned), channel

    def kill(self) -> None:
        """End it by force; its pidfd tells when it is dead."""
        if self._process is not None:
            self._process.kill()

    def bury(self) -> None:
        """Reap a dead zygote. One that is held by who traces it is a stranger from now on."""
        if self._process is not None:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(END_MS / 1000)
            self._process = None
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def stop(self) -> None:
        """End it for good."""
        self.kill()
        self.bury()


def has_ended(pidfd: int, patience_ms: int) -> bool:
    """Say whether a process has ended, or does so in time. ``select`` would take no descriptor above 1023."""
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    return bool(poller.poll(patience_ms))


def is_held(child: Running) -> bool:
    """Say whether a child that has ended cannot be reaped yet: whoever traces it has to take note of its end first."""
    return os.waitid(os.P_PIDFD, child.pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None


def reap(child: Running) -> Exit:
    """End what is left of a dead child's process group, reap the child, and say how it ended."""
    signal_group(child.pid, signal.SIGKILL)
    result = os.waitid(os.P_PIDFD, child.pidfd, os.WEXITED)
    os.close(child.pidfd)
    assert result is not None, "a child whose pidfd is readable has ended"
    if result.si_code == os.CLD_EXITED:
        kind = ExitKind.NORMAL if result.si_status == 0 else ExitKind.ABNORMAL
        return Exit(kind, f"exit status {result.si_status}")
    return Exit(ExitKind.SIGNAL, f"signal {_signal_name(result.si_status)}")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # one of those between SIGRTMIN and SIGRTMAX
        return str(number)


def signal_group(pid: int, number: int) -> None:
    """Signal a child's whole process group, and the child itself in case it has not founded its group yet."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def usage(pid: int) -> Usage:
    """Read what a process uses; zeros where it is gone."""
    try:
        fields = _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
        return Usage(resident_bytes(pid), (int(fields[11]) + int(fields[12])) / TICKS_PER_S)
    except (OSError, IndexError, ValueError):
        return Usage(0, 0.0)


def resident_bytes(pid: int, opened: int = -1) -> int:
    """Read how much memory a process holds; 0 where it is gone. ``opened`` is its ``statm``, where that is open."""
    try:
        text = os.pread(opened, _STATM_BYTES, 0) if opened >= 0 else _read(f"/proc/{pid}/statm")
        return int(text.split(maxsplit=2)[1]) * PAGE_BYTES
    except (OSError, IndexError, ValueError):
        return 0


def filters(pid: int) -> int:
    """Count the filters of system calls that a process has taken, for good; 0 where nobody can tell."""
    with suppress(OSError):
        _, mark, rest = _read(f"/proc/{pid}/status").partition(b"\nSeccomp_filters:")
        return int(rest.split(maxsplit=1)[0]) if mark else 0
    return 0


def _read(file: str) -> bytes:
    """Read a small file of the kernel's; without any object around it, for root does so a thousand times a round."""
    descriptor, text = os.open(file, os.O_RDONLY | os.O_CLOEXEC), b""
    try:
        while part := os.read(descriptor, 1 << 16):
            text += part
    finally:
        os.close(descriptor)
    return text


def family(pid: int) -> list[int]:
    """Name a process and all that descend from it and live below it, whichever of its threads forked them."""
    found = [pid]
    for one in found:  # grows while it is walked
        with suppress(OSError):
            for task in os.listdir(f"/proc/{one}/task"):  # noqa: PTH208 - names are enough
                with suppress(OSError):
                    found += map(int, _read(f"/proc/{one}/task/{task}/children").split())
    return found


def waited_ns(pid: int) -> int:
    """Read how long a process has waited for a processor so far, on its main thread, where its loop runs.

    Other threads may wait without end while the loop hangs. It is 0 where nobody can tell.
    """
    with suppress(OSError, IndexError, ValueError):
        return int(_read(f"/proc/{pid}/schedstat").split()[1])
    return 0


def open_files(pid: int) -> int:
    """Count what a process holds open; 0 where it is gone. A kernel from 6.2 on tells without listing it."""
    folder = f"/proc/{pid}/fd"
    try:
        return os.stat(folder).st_size or len(os.listdir(folder))  # noqa: PTH116, PTH208 - for each row of a status
    except OSError:
        return 0
