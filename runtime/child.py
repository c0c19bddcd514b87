"""The life of one child process, from the fork to its exit code."""

import ctypes
import faulthandler
import functools
import gc
import importlib
import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Self

import msgspec
import setproctitle

from runtime import landlock
from runtime.actor import RoomActor
from runtime.beacon import Beacon
from runtime.bus import Bus
from runtime.bus_words import Address
from runtime.clock import Clock
from runtime.codec import Codec
from runtime.disk import MACHINE, Disk
from runtime.errors import words_of
from runtime.gentle import Way, leave_gently
from runtime.landlock import Ground
from runtime.log import Log
from runtime.room import Room, Wiring
from runtime.seccomp import Filter, forbid_processes
from runtime.spec import Fence, Limits
from runtime.store import Store
from runtime.store_witness import boot

PR_SET_PDEATHSIG = 1
#: Exit code of a child whose room raised; the log names the error.
EXIT_FALLEN = 70
#: How far a child raises its own risk of being chosen when memory runs out (the kernel's scale ends at 1000).
OOM_SCORE = 500
#: Files that a process may open beyond its limit when it falls: its last words, and the code that its log quotes.
FILES_SPARE = 16
#: Memory that it may take beyond its limit then, for the same: what filled it is still there.
MEMORY_SPARE_BYTES = 32 << 20
#: Past this size a new incarnation begins the file of stacks anew.
STACKS_BYTES_MAX = 1 << 20
_APPENDING = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
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
    limits: Limits = Limits(0, 0, 0, 0, 0.0)
    fence: Fence | None = None
    is_expendable: bool = False
    is_gentle: bool = False


def nobody(entry: str, sockets: str, root_pid: int, log_level: str) -> ChildRequest:
    """Give the request of a process that rehearses with the room of this maker, and is no child yet."""
    return ChildRequest(
        path="",
        epoch=0,
        title="bulkhead: spare",
        entry=entry,
        arguments=b"",
        root_pid=root_pid,
        state="",
        sockets=sockets,
        log_level=log_level,
        is_gentle=True,
    )


class Context(NamedTuple):
    """What a room's maker may use: who the room is, time, and where its state lies."""

    path: str
    epoch: int
    clock: Clock
    state: Path
    log: Log
    disk: Disk = MACHINE


def _with_nothing(_now_ns: int) -> Callable[[int], int]:
    return lambda _now_ns: 0


class Walls(NamedTuple):
    """What confines a child, and what it shares with others: made once, before the first fork."""

    ground: Ground = Ground()
    no_processes: Filter = Filter()
    way: Way = Way.BATCH
    borrow: Callable[[int], Callable[[int], int]] = _with_nothing
    """Takes the time of a birth, and gives what the child's actor calls at rest."""

    @classmethod
    def prepare(cls) -> Self:
        """Survey what every child reads, write the filter against new processes, and try how one can stand back."""
        return cls(Ground.survey(), Filter.prepare(), Way.find())


class Made(NamedTuple):
    """A room with all that its shell needs."""

    room: Room
    wiring: Wiring
    store: Store | None
    codec: Codec


Maker = Callable[[Context, bytes], Made]


def run(request: ChildRequest, walls: Walls | None = None) -> int:
    """Live as the child that ``request`` describes; give the exit code."""
    stacks = set_up_process(request)
    sockets, clock = Path(request.sockets), Clock()
    log = Log.open(Path(f"{request.state}/log"), request.path, request.log_level)
    try:
        beacon = Beacon(sockets, request.path)  # while it may still make a file there
        beacon.word("start")
        beacon.turn(clock.monotonic_ns(), 0)
        walls = walls or Walls()
        at_rest = walls.borrow(clock.monotonic_ns())
        _confine(request, walls)  # before the first line of the room's own code, and before any thread
        actor = make_actor(request, Bus(sockets, Address(request.path, request.epoch)), clock, log, beacon)
        actor.at_rest = at_rest
        actor.before_turn = _turn_limit(request.limits.cpu_s_per_handler, stacks)
        if request.is_gentle:  # nobody waits for its start, and root shall not let it up at the same moment
            os.nice(request.limits.nice)
        else:
            actor.when_ready = functools.partial(os.nice, request.limits.nice)
        actor._start_actor_loop()  # noqa: SLF001 - pykka's documented hook for new actor types, on our main thread
        failure = actor.failure
    except BaseException as error:  # noqa: BLE001 - the last line of a process: root must hear, by its exit code
        failure = error
    if failure is None:
        return 0
    if request.is_gentle:
        leave_gently()  # nobody waits for its end either
    _take_spares()
    words = words_of(failure)
    log.trace("child.fell", failure, reason=words, offender=request.path)
    _leave_last_words(request, words)
    return EXIT_FALLEN


def make_actor(request: ChildRequest, bus: Bus, clock: Clock, log: Log, beacon: Beacon) -> RoomActor:
    """Make the room that a request names, in its shell. It opens its store, and no socket."""
    module, _, name = request.entry.partition(":")
    maker: Maker = getattr(importlib.import_module(module), name)
    context = Context(request.path, request.epoch, clock, Path(request.state), log)
    made = maker(context, request.arguments)
    return RoomActor(made.room, made.wiring, made.store, bus, made.codec, clock, log, beacon)


def last_words_file(state: Path, path: str) -> Path:
    """Say where a falling child leaves its reason for root to read."""
    return log_file(state, path, "last_words")


def log_file(state: Path, path: str, suffix: str) -> Path:
    """Say where a child's file of one kind lies: ``log``, ``out``, ``stack`` or ``last_words``."""
    return state / "log" / f"{path.replace('/', '.')}.{suffix}"


def _leave_last_words(request: ChildRequest, words: str) -> None:
    file = last_words_file(Path(request.state), request.path)
    file.write_text(f"{request.epoch} {words}", encoding="utf-8", errors="backslashreplace")


def _log_name(request: ChildRequest, suffix: str) -> str:
    """Say the same as ``log_file``, for those first files of a child that are opened by their names."""
    return f"{request.state}/log/{request.path.replace('/', '.')}.{suffix}"


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


def set_title(title: str) -> None:
    """Show this process under a name."""
    setproctitle.setproctitle(title)


def forget_stacks(stacks: int) -> None:
    """Dump no stack to this file any more, and close it."""
    faulthandler.unregister(signal.SIGUSR2)
    faulthandler.disable()
    os.close(stacks)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def set_up_process(request: ChildRequest) -> int:
    """Found a process group, take the limits; give the file of stacks, which is open as long as the process lives.

    Every child does this first, on pages that it shares: so files are opened by their names, without objects. That
    no signal is blocked and an interrupt is nothing to it, it has from the zygote.
    """
    die_with(request.root_pid)
    os.setpgid(0, 0)
    set_title(request.title)
    _silence(request)
    dump = os.open(_log_name(request, "stack"), _APPENDING, 0o666)  # what a predecessor dumped is still to be read
    if os.fstat(dump).st_size > STACKS_BYTES_MAX:
        os.ftruncate(dump, 0)
    faulthandler.enable(dump)
    faulthandler.register(signal.SIGUSR2, file=dump, all_threads=True)
    _set_limits(request)
    if request.is_expendable:
        score = os.open("/proc/self/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC)
        os.write(score, b"%d" % OOM_SCORE)
        os.close(score)
    gc.unfreeze()
    gc.freeze()
    return dump


def _set_limits(request: ChildRequest) -> None:
    """Give the kernel what it enforces itself; memory, processes and output are looked at by root."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if not request.is_gentle:  # such a one must still be let up again; then this is done from outside
        resource.setrlimit(resource.RLIMIT_NICE, (0, 0))
    limits = request.limits
    spare = {resource.RLIMIT_AS: MEMORY_SPARE_BYTES, resource.RLIMIT_NOFILE: FILES_SPARE}
    for kind, most in (
        (resource.RLIMIT_AS, limits.address_space_bytes),
        (resource.RLIMIT_NOFILE, limits.open_files),
        (resource.RLIMIT_FSIZE, limits.file_bytes),
    ):
        if most:
            known = resource.getrlimit(kind)[1]
            hard = most + spare.get(kind, 0)
            hard = hard if known == resource.RLIM_INFINITY else min(hard, known)
            resource.setrlimit(kind, (min(most, hard), hard))


def _take_spares() -> None:
    """Let a process that holds all the memory or files it may hold still say why it falls."""
    for kind in (resource.RLIMIT_AS, resource.RLIMIT_NOFILE):
        hard = resource.getrlimit(kind)[1]
        resource.setrlimit(kind, (hard, hard))


def _confine(request: ChildRequest, walls: Walls) -> None:
    """Let the kernel refuse what this child has no business with; where it cannot, root has said so."""
    fence = request.fence
    if fence is not None:
        join, state = os.path.join, request.state  # an absolute path stays what it is
        readable = [join(state, path) for path in fence.readable]
        writable = [join(state, path) for path in fence.writable]
        for path in writable:
            if not os.path.exists(path):  # noqa: PTH110 - see set_up_process
                Path(path).mkdir(mode=0o700, parents=True)
        logs = join(state, "log")  # a log makes new files beside the old ones, so it needs the folder
        boot()  # a witness of a store names it, and its file will be out of reach
        landlock.confine(walls.ground, (*readable, request.sockets), writable, (logs,))
    walls.ground.close()
    if request.limits.processes == 1:
        forbid_processes(walls.no_processes)


def _turn_limit(cpu_s: float, stacks: int) -> Callable[[], object] | None:
    """Give what is called before each turn: it sets an alarm that only this process's own processor time brings near.

    The alarm writes all stacks and ends the process by SIGPROF, also inside a library that never returns to Python.
    """
    if not cpu_s:
        return None
    faulthandler.register(signal.SIGPROF, file=stacks, all_threads=True, chain=True)
    return functools.partial(signal.setitimer, signal.ITIMER_PROF, cpu_s)


def _silence(request: ChildRequest) -> None:
    """Give the standard streams a file of their own: a full pipe would stop the child, and stdin is nobody's."""
    if not os.path.isdir(f"{request.state}/log"):  # noqa: PTH112 - see set_up_process
        Path(request.state, "log").mkdir(mode=0o700, parents=True, exist_ok=True)
    nothing = os.open(os.devnull, os.O_RDONLY)
    # Appending: root may cut the file, and what comes then goes to its new end.
    out = os.open(_log_name(request, "out"), _APPENDING | os.O_TRUNC, 0o600)
    sys.stdout.flush()
    sys.stderr.flush()
    for target, source in ((0, nothing), (1, out), (2, out)):
        os.dup2(source, target)
    os.close(nothing)
    os.close(out)
