"""A parent, a forker between, and its children, to be looked at: ``python -m tests.runtime.forking ACT FOLDER``.

The parent adopts orphans, as root does. It prints what it has found.
"""

import ctypes
import os
import random
import select
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import lmdb

from runtime.fork import Fork
from runtime.process import become_subreaper
from tests.runtime.confined import refuse_calls

#: get_robust_list on x86_64 and on aarch64: without it there is no fork in one step.
UNKNOWN = (274, 100)
HUNG_S = 30


def forked(fork: Fork, act: Callable[[], int]) -> int:
    """Fork a child that acts and ends with what that gives; give its pid."""
    pid = fork.fork()
    if pid == 0:
        code = 99
        try:
            code = act()
        finally:
            os._exit(code)
    return pid


def children_of_a_forker(*acts: Callable[[], int]) -> list[int]:
    """Have a forker make a child for each act, and end; give how each of them ended, which must be ours to learn."""
    out, into = os.pipe()
    forker = os.fork()
    if forker == 0:
        try:
            fork = Fork.find()
            for act in acts:
                os.write(into, forked(fork, act).to_bytes(4, "little"))
        finally:
            os._exit(0)
    os.waitpid(forker, 0)
    pids = [int.from_bytes(os.read(out, 4), "little") for _ in acts]
    return [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]


def reaped() -> str:
    """Have two children that end in their own ways, once the forker is gone."""

    def fall() -> int:
        os.kill(os.getpid(), signal.SIGKILL)
        return 0

    return str(children_of_a_forker(lambda: 7, fall))


def told() -> str:
    """Have two children that look at themselves and start a thread, and some that draw what chance gives them."""

    def look() -> int:
        said: list[int] = []
        thread = threading.Thread(target=lambda: said.append(threading.get_native_id()))
        thread.start()
        thread.join()
        return int(threading.get_native_id() == os.getpid() != said[0])

    known = children_of_a_forker(look, look)
    drawn = children_of_a_forker(*[lambda: random.randrange(90)] * 4)
    return f"{known} {len(set(drawn)) > 1}"


def locked(folder: Path) -> str:
    """Have a child killed that holds a store's lock, and take the lock after it."""
    lock_held, into = os.pipe()

    def hold() -> int:
        with lmdb.open(str(folder), map_size=1 << 20).begin(write=True):
            os.write(into, b".")
            signal.pause()
        return 0

    forker = os.fork()
    if forker == 0:
        fork = Fork.find()
        forked(fork, hold)
        os._exit(0)
    os.waitpid(forker, 0)
    environment = lmdb.open(str(folder), map_size=1 << 20)  # somebody else has it open: nobody makes its lock anew
    os.read(lock_held, 1)
    holder = int(Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="ascii"))
    os.kill(holder, signal.SIGKILL)
    os.waitpid(holder, 0)
    signal.alarm(HUNG_S)
    with environment.begin(write=True) as transaction:
        transaction.put(b"a", b"b")
    return "taken"


def steps() -> str:
    """Say in how many steps this machine forks here."""
    return "two" if Fork.find().calls is None else "one"


def threaded() -> str:
    """Say in how many steps a process forks here that has two threads."""
    is_over = threading.Event()
    thread = threading.Thread(target=is_over.wait)
    thread.start()
    found = steps()
    is_over.set()
    thread.join()
    return found


def orphaned() -> str:
    """Kill a forker that has made a child; say whether the child lives on, as ours."""
    is_born, into = os.pipe()
    ended, until = os.pipe()
    forker = os.fork()
    if forker == 0:
        fork = Fork.find()

        forked(fork, lambda: len(os.read(ended, 1)))
        os.write(into, b".")
        signal.pause()
    os.read(is_born, 1)
    os.kill(forker, signal.SIGKILL)
    os.waitpid(forker, 0)
    (child,) = map(int, Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="ascii").split())
    descriptor = os.pidfd_open(child)
    is_alive = not select.select([descriptor], [], [], 0)[0]
    os.write(until, b".")
    result = os.waitid(os.P_PIDFD, descriptor, os.WEXITED)
    return f"{is_alive} {result.si_status if result else None}"


if __name__ == "__main__":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)
    become_subreaper()
    act, folder, *old = sys.argv[1:]
    if old:
        refuse_calls(*UNKNOWN)
    acts: dict[str, Callable[[], str]] = {
        "reaped": reaped,
        "told": told,
        "locked": lambda: locked(Path(folder)),
        "steps": steps,
        "threaded": threaded,
        "orphaned": orphaned,
    }
    sys.stdout.write(acts[act]())
