"""The life of one child process, from the fork to its exit code."""

import ctypes
import faulthandler
import gc
import importlib
import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec
import setproctitle

from runtime.actor import RoomActor
from runtime.bus import Address, Bus
from runtime.clock import Clock
from runtime.codec import Codec
from runtime.log import Log
from runtime.room import Room, Wiring
from runtime.store import Store

PR_SET_PDEATHSIG = 1
#: Exit code of a child whose room raised; the log names the error.
EXIT_FALLEN = 70
#: How far a child raises its own risk of being chosen when memory runs out (the kernel's scale ends at 1000).
OOM_SCORE = 500
#: Past this size a new incarnation begins the file of stacks anew.
STACKS_BYTES_MAX = 1 << 20
_libc = ctypes.CDLL(None, use_errno=True)


class ChildRequest(msgspec.Struct, frozen=True):
    """Everything a child is told at its birth. It carries no secret."""

    path: str
    epoch: int
    title: str
    entry: str
    arguments: bytes
    root_pid: int
    state: str
    sockets: str
    log_level: str
    address_space_bytes: int = 0
    open_files: int = 0
    is_expendable: bool = False


class Context(NamedTuple):
    """What a room's maker may use: who the room is, time, and where its state lies."""

    path: str
    epoch: int
    clock: Clock
    state: Path
    log: Log


class Made(NamedTuple):
    """A room with all that its shell needs."""

    room: Room
    wiring: Wiring
    store: Store | None
    codec: Codec


Maker = Callable[[Context, bytes], Made]


def run(request: ChildRequest) -> int:
    """Live as the child that ``request`` describes; give the exit code."""
    _set_up_process(request)
    log = Log.open(Path(request.state) / "log", request.path, request.log_level)
    clock = Clock()
    try:
        module, _, name = request.entry.partition(":")
        maker: Maker = getattr(importlib.import_module(module), name)
        context = Context(request.path, request.epoch, clock, Path(request.state), log)
        made = maker(context, request.arguments)
        bus = Bus(Path(request.sockets), Address(request.path, request.epoch))
        actor = RoomActor(made.room, made.wiring, made.store, bus, made.codec, clock, log)
        actor._start_actor_loop()  # noqa: SLF001 - pykka's documented hook for new actor types, on our main thread
        failure = actor.failure
    except BaseException as error:  # noqa: BLE001 - the last line of a process: root must hear, by its exit code
        failure = error
    if failure is None:
        return 0
    log.trace("child.fell", failure, reason=f"{type(failure).__name__}: {failure}"[:500], offender=request.path)
    _leave_last_words(request, failure)
    return EXIT_FALLEN


def last_words_file(state: Path, path: str) -> Path:
    """Say where a falling child leaves its reason for root to read."""
    return state / "log" / f"{path.replace('/', '.')}.last_words"


def _leave_last_words(request: ChildRequest, failure: BaseException) -> None:
    words = f"{request.epoch} {type(failure).__name__}: {failure}".replace("\n", " ")[:500]
    last_words_file(Path(request.state), request.path).write_text(words, encoding="utf-8", errors="backslashreplace")


def die_with(parent_pid: int) -> None:
    """Ask the kernel to kill this process when its parent ends, once it is the child of ``parent_pid``.

    The parent's main thread must have made the tie; where the parent is gone already, this process ends at once.
    """
    while os.getppid() != parent_pid:
        if os.getppid() == 1 or not _is_alive(parent_pid):
            os._exit(EXIT_FALLEN)
        os.sched_yield()
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent_pid:
        os._exit(EXIT_FALLEN)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _set_up_process(request: ChildRequest) -> None:
    die_with(request.root_pid)
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    setproctitle.setproctitle(request.title)
    _silence(request)
    stacks = Path(request.state) / "log" / f"{request.path.replace('/', '.')}.stack"
    is_long = stacks.exists() and stacks.stat().st_size > STACKS_BYTES_MAX
    dump = stacks.open("w" if is_long else "a", encoding="utf-8")  # what a predecessor dumped is still to be read
    faulthandler.enable(dump)
    faulthandler.register(signal.SIGUSR2, file=dump, all_threads=True)
    limits = [(resource.RLIMIT_CORE, 0)]
    limits += [(resource.RLIMIT_AS, request.address_space_bytes)] if request.address_space_bytes else []
    limits += [(resource.RLIMIT_NOFILE, request.open_files)] if request.open_files else []
    for kind, most in limits:
        resource.setrlimit(kind, (most, most))
    if request.is_expendable:
        Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE), encoding="ascii")
    gc.unfreeze()
    gc.freeze()


def _silence(request: ChildRequest) -> None:
    """Give the standard streams a file of their own: a full pipe would stop the child, and stdin is nobody's."""
    folder = Path(request.state) / "log"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    nothing = os.open(os.devnull, os.O_RDONLY)
    out = os.open(folder / f"{request.path.replace('/', '.')}.out", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    sys.stdout.flush()
    sys.stderr.flush()
    for target, source in ((0, nothing), (1, out), (2, out)):
        os.dup2(source, target)
    os.close(nothing)
    os.close(out)
