"""A process that waits for a processor is not silent; one that sleeps or computes without end is."""

import os
import subprocess
import sys

import pytest

from runtime.clock import NS_PER_S, Clock
from runtime.patience import Patience
from runtime.process import Running, usage, waited_ns

CHILD = Running("strategies/alpha", 1, 4711, -1)
LIMIT_NS = 3 * NS_PER_S


class Kernel:
    """Tells what it is told to tell, of any process."""

    def __init__(self) -> None:
        self.waited_ns = 7 * NS_PER_S

    def waited(self, _pid: int) -> int:
        return self.waited_ns


@pytest.mark.parametrize(("share", "is_over"), [(0.0, True), (0.4, True), (0.9, False), (1.0, False)])
def test_only_time_that_was_its_own_is_silence(share: float, is_over: bool) -> None:
    kernel = Kernel()
    patience, silent_ns = Patience(kernel.waited), 0

    for round_ns in range(0, 10 * NS_PER_S, NS_PER_S // 2):
        silent_ns = patience.silent_ns(CHILD, 0, round_ns, LIMIT_NS)
        kernel.waited_ns += int(share * NS_PER_S / 2)

    assert (silent_ns >= LIMIT_NS) is is_over


def test_a_word_in_between_ends_the_silence_and_what_was_waited_before_counts_no_more() -> None:
    kernel = Kernel()
    patience = Patience(kernel.waited)
    patience.silent_ns(CHILD, 0, 2 * NS_PER_S, LIMIT_NS)
    kernel.waited_ns += 100 * NS_PER_S

    assert patience.silent_ns(CHILD, 2 * NS_PER_S, 4 * NS_PER_S, LIMIT_NS) == 2 * NS_PER_S
    assert patience.silent_ns(CHILD, 2 * NS_PER_S, 6 * NS_PER_S, LIMIT_NS) == 4 * NS_PER_S


def test_threads_that_wait_at_once_excuse_no_more_than_the_time_that_went_by() -> None:
    kernel = Kernel()
    patience = Patience(kernel.waited)
    patience.silent_ns(CHILD, 0, 2 * NS_PER_S, LIMIT_NS)
    kernel.waited_ns += 50 * NS_PER_S

    assert patience.silent_ns(CHILD, 0, 6 * NS_PER_S, LIMIT_NS) == 2 * NS_PER_S


def test_a_start_is_kept_waiting_where_it_waited_for_most_of_the_time() -> None:
    kernel = Kernel()
    patience = Patience(kernel.waited)

    assert not patience.is_kept_waiting(CHILD, 0)
    kernel.waited_ns += NS_PER_S * 3 // 4
    assert patience.is_kept_waiting(CHILD, NS_PER_S)
    kernel.waited_ns += NS_PER_S // 4
    assert not patience.is_kept_waiting(CHILD, 2 * NS_PER_S)
    assert not patience.is_kept_waiting(CHILD._replace(pid=4712), 3 * NS_PER_S)


def test_the_kernel_tells_who_shares_a_processor_from_who_sleeps() -> None:
    core = min(os.sched_getaffinity(0))
    busy = "import os, sys; os.sched_setaffinity(0, {int(sys.argv[1])}); print(flush=True)\nwhile True: pass"
    asleep = "import time; print(flush=True); time.sleep(600)"
    children = [
        subprocess.Popen([sys.executable, "-c", text, str(core)], stdout=subprocess.PIPE)
        for text in (busy, busy, asleep)
    ]
    try:
        for child in children:
            assert child.stdout is not None
            child.stdout.readline()
        before = [waited_ns(child.pid) for child in children]
        deadline_ns = Clock().monotonic_ns() + 60 * NS_PER_S
        while waited_ns(children[0].pid) - before[0] < NS_PER_S // 5:
            assert Clock().monotonic_ns() < deadline_ns
        assert waited_ns(children[2].pid) - before[2] < NS_PER_S // 20
        assert waited_ns(2**22) == 0
    finally:
        for child in children:
            child.kill()
            child.communicate()


THREADS_THAT_COMPUTE = """
import hashlib, os, signal, sys, threading
os.sched_setaffinity(0, {int(sys.argv[1])})
computes = threading.Barrier(5)
def compute():
    computes.wait()
    while True:
        hashlib.pbkdf2_hmac("sha256", b"salt", b"dough", 1_000_000)
for _ in range(4):
    threading.Thread(target=compute, daemon=True).start()
computes.wait()
print(flush=True)
signal.pause()
"""


def test_a_loop_that_sleeps_is_silent_however_long_other_threads_of_its_process_wait() -> None:
    core = min(os.sched_getaffinity(0))
    child = subprocess.Popen([sys.executable, "-c", THREADS_THAT_COMPUTE, str(core)], stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        child.stdout.readline()
        before, used = waited_ns(child.pid), usage(child.pid).cpu_s
        deadline_ns = Clock().monotonic_ns() + 60 * NS_PER_S
        while usage(child.pid).cpu_s - used < 1:
            assert Clock().monotonic_ns() < deadline_ns

        assert waited_ns(child.pid) - before < NS_PER_S // 5
    finally:
        child.kill()
        child.communicate()
