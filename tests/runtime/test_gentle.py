"""Standing back on the processors, and up again."""

import ctypes
import os
import resource
import threading
from collections.abc import Callable

import pytest

from runtime.gentle import Way, leave_gently, stand_back, stand_up


def in_a_child(what: Callable[[], bool]) -> bool:
    """Say whether something holds in a process of its own, whose priority dies with it."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = 0 if what() else 2
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_the_way_that_was_found_leads_back() -> None:
    way = Way.find()

    def goes_and_comes_back() -> bool:
        stand_back(way)
        policy = os.sched_getscheduler(0)
        stand_up(0)
        is_back = os.sched_getscheduler(0) == os.SCHED_OTHER
        is_bound = resource.getrlimit(resource.RLIMIT_NICE) == (0, 0)
        return is_back and is_bound and policy == (os.SCHED_IDLE if way is Way.IDLE else os.SCHED_BATCH)

    assert in_a_child(goes_and_comes_back)


def test_long_slices_are_a_way_for_whoever_has_no_rights() -> None:
    def goes_and_comes_back() -> bool:
        stand_back(Way.BATCH)
        is_batch = os.sched_getscheduler(0) == os.SCHED_BATCH
        stand_up(0)
        return is_batch and os.sched_getscheduler(0) == os.SCHED_OTHER and os.getpriority(os.PRIO_PROCESS, 0) == nice

    nice = os.getpriority(os.PRIO_PROCESS, 0)
    assert in_a_child(goes_and_comes_back)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give its rights away")
def test_without_rights_the_way_is_one_that_leads_back_all_the_same() -> None:
    def finds() -> bool:
        resource.setrlimit(resource.RLIMIT_NICE, (0, 0))
        os.setgid(65534)
        os.setuid(65534)
        return Way.find() is Way.BATCH

    assert in_a_child(finds)


def test_nobody_is_let_up_who_is_gone() -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)

    stand_up(pid)


def test_who_leaves_gently_does_so_with_all_its_threads() -> None:
    def leaves() -> bool:
        os.setpgid(0, 0)
        met, end = threading.Barrier(2), threading.Event()
        tasks: list[int] = []

        def wait() -> None:
            tasks.append(threading.get_native_id())
            met.wait()
            end.wait()

        thread = threading.Thread(target=wait)
        thread.start()
        met.wait()
        leave_gently()
        nice = os.getpriority(os.PRIO_PROCESS, tasks[0])
        end.set()
        thread.join()
        return nice == 19 and os.sched_getscheduler(0) == os.SCHED_IDLE

    assert in_a_child(leaves)


def test_whoever_stands_up_has_slices_as_everybody() -> None:
    def goes_and_comes_back() -> bool:
        usual = _slice_ns()
        stand_back(Way.BATCH)
        long = _slice_ns()
        stand_up(0)
        return _slice_ns() == usual and long >= usual

    assert in_a_child(goes_and_comes_back)


def _slice_ns() -> int:
    """Ask the kernel how long our time slices are; 0 where it does not tell (before 6.12)."""
    attributes = ctypes.create_string_buffer(48)
    number = {"x86_64": 315, "aarch64": 275}[os.uname().machine]
    assert ctypes.CDLL(None).syscall(number, 0, attributes, 48, 0) == 0
    return int.from_bytes(attributes.raw[24:32], "little")
