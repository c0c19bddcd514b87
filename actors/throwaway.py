"""Doing in a process that may die of it what reads a store: a page that is missing ends its reader with SIGBUS."""

import os
import signal
import sys
from collections.abc import Callable
from typing import NamedTuple, Never

from runtime.child import die_with

#: Exit code of the child where it ended by an error of its own making.
_EXIT_ERROR = 70


class Died(NamedTuple):
    """How the child ended, where it did not end by itself: the signal's name."""

    signal: str


def in_child(work: Callable[[], int]) -> int | Died:
    """Run ``work`` in a child of this process, with its standard streams; give the exit code that it returns.

    The caller has no other thread, and has opened no store: neither survives a fork. Ctrl-C reaches the child alone,
    and what it does with it counts. Where this process is killed, the child ends with it.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent_pid = os.getpid()
    try:
        pid = os.fork()
        if pid == 0:
            die_with(parent_pid)
            signal.signal(signal.SIGINT, before)
            _live(work)
        _, status = os.waitpid(pid, 0)
    finally:
        signal.signal(signal.SIGINT, before)
    if os.WIFSIGNALED(status):
        return Died(signal.Signals(os.WTERMSIG(status)).name)
    return os.WEXITSTATUS(status)


def _live(work: Callable[[], int]) -> Never:
    """Be the child: do the work, leave without what the parent wants to do at its own end."""
    code = _EXIT_ERROR
    try:
        code = work()
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:  # whoever read along has seen enough
        code = 0
    except Exception as error:  # noqa: BLE001 - the last line of a process: its parent hears by the code
        sys.excepthook(type(error), error, error.__traceback__)
        sys.stderr.flush()
    finally:
        os._exit(code)
