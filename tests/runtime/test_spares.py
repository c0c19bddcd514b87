"""Processes that wait to become whoever falls: the same child as any other, only sooner."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runtime.clock import NS_PER_S
from runtime.log import Log
from runtime.spares import FAILURES_MAX, REHEARSAL_NS_MAX, Spares
from runtime.spec import Fence, Limits
from tests.runtime.bakehouse import Bakehouse, Ends, apprentice, descendants, oven, title

TITLE = "bulkhead: spare"
TRACES = """
import ctypes, signal, sys
assert ctypes.CDLL(None).ptrace(0x4206, int(sys.argv[1]), 0, 0) == 0, "it may not be traced"
print("bound", flush=True)
signal.pause()
"""


@pytest.fixture
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("w") / "var"


def spare(house: Bakehouse, besides: int = 0) -> int:
    """Wait for a spare that is ready, another one than this; give its process."""
    found: list[int] = []

    def is_there(_rows: object) -> bool:
        found[:] = [pid for pid in descendants(house.pid) if pid != besides and title(pid).startswith(TITLE)]
        return bool(found) and house.status()["zygote"]["spares"] == 1

    house.until(is_there)
    return found[0]


def rehearsing(house: Bakehouse) -> int:
    """Wait for a spare that is not ready; give its process."""
    found: list[int] = []

    def is_there(_rows: object) -> bool:
        found[:] = [pid for pid in descendants(house.pid) if title(pid).startswith(TITLE)]
        return bool(found)

    house.until(is_there)
    return found[0]


def with_spares(house: Bakehouse, program: str = "with_spares") -> Bakehouse:
    house.program = f"tests.runtime.{program}"
    return house


def test_whoever_falls_is_the_process_that_waited_confined_and_limited_as_any_other(state: Path) -> None:
    limits = Limits(0, 0, 0, 64, 0, processes=1, nice=3)
    calm = apprentice("calm", limits=limits, fence=Fence(writable=("stores/calm", "diary")))
    state.mkdir()
    (state / "diary").touch()
    with with_spares(Bakehouse(state, oven(), calm)) as house:
        forked = house.all_running()["calm"]["pid"]
        waiting = spare(house)
        assert (os.getpgid(waiting), os.sched_getscheduler(waiting)) == (waiting, os.SCHED_OTHER)

        os.kill(forked, signal.SIGKILL)

        assert house.replaced("calm")["pid"] == waiting
        house.until(lambda _: os.getpriority(os.PRIO_PROCESS, waiting) == 3)
        text = Path(f"/proc/{waiting}/status").read_text(encoding="utf-8")
        assert ("Seccomp:\t2" in text) is house.status()["seccomp"]
        assert "\nMax open files            64 " in Path(f"/proc/{waiting}/limits").read_text(encoding="utf-8")
        assert Path(f"/proc/{waiting}/cmdline").read_text(encoding="utf-8").startswith("bulkhead: calm")
        links = {Path(f"/proc/{waiting}/fd/{number}").readlink() for number in (1, 2)}
        assert links == {state / "log" / "calm.out"}
        ends = Ends([spare(house, waiting)])
        assert house.stop() == 0
        assert ends.come_within(0)
        assert not (state / "s" / "spare").exists()


def test_a_room_that_falls_is_forked_anew_and_a_spare_that_is_killed_is_nobodys_fall(state: Path) -> None:
    with with_spares(Bakehouse(state, oven(), apprentice("calm"))) as house:
        pid = house.all_running()["oven"]["pid"]
        waiting = spare(house)
        os.kill(pid, signal.SIGKILL)
        assert house.replaced("oven")["pid"] != waiting

        os.kill(waiting, signal.SIGKILL)

        assert spare(house, waiting) != waiting
        assert [row["restarts"] for row in house.rows().values()] == [0, 1, 0]


def test_where_no_spare_can_rehearse_the_bakery_does_without_and_has_said_why(state: Path) -> None:
    with with_spares(Bakehouse(state, apprentice("calm")), "with_bad_spares") as house:
        pid = house.all_running()["calm"]["pid"]
        house.until(lambda _: house.log().count("spare.ended") == FAILURES_MAX)

        os.kill(pid, signal.SIGKILL)

        house.replaced("calm")
        assert house.log().count('"reason":"DecodeError: ') == FAILURES_MAX
        assert house.status()["zygote"]["spares"] == 0


@contextmanager
def traced(pid: int) -> Generator[None]:
    """Have a tracer that never takes note of a process's end."""
    with subprocess.Popen([sys.executable, "-c", TRACES, str(pid)], stdout=subprocess.PIPE) as tracer:
        assert tracer.stdout is not None, "it was asked for"
        assert tracer.stdout.readline() == b"bound\n"
        try:
            yield
        finally:
            tracer.kill()


@pytest.mark.parametrize("which", ["zygote", "spare"])
def test_one_whose_end_is_held_by_its_tracer_keeps_root_from_nothing_and_is_replaced(state: Path, which: str) -> None:
    with with_spares(Bakehouse(state, apprentice("calm"))) as house:
        house.all_running()
        waiting = spare(house)
        pid = waiting if which == "spare" else house.status()["zygote"]["pid"]
        with traced(pid):
            os.kill(pid, signal.SIGKILL)

            house.until(lambda _: "stranger.undying" in house.log())
            assert house.status()["zygote"]["pid"] != pid
            assert spare(house, besides=pid) != pid
        assert house.stop() == 0


def test_a_spare_does_not_outlive_root(state: Path) -> None:
    with with_spares(Bakehouse(state, apprentice("calm"))) as house:
        house.all_running()
        ends = Ends([spare(house)])

        os.kill(house.pid, signal.SIGKILL)

        assert ends.come_within(10)


def test_a_spare_that_still_rehearses_leaves_its_place_to_the_next_zygote(state: Path) -> None:
    with with_spares(Bakehouse(state, apprentice("calm")), "with_slow_spares") as house:
        house.all_running()
        first = rehearsing(house)
        ends = Ends([first])

        os.kill(house.status()["zygote"]["pid"], signal.SIGKILL)

        assert ends.come_within(10)
        assert rehearsing(house) != first
        assert "spare.ended" not in house.log()


@pytest.fixture
def spares(tmp_path: Path) -> Iterator[Spares]:
    """Give place for one spare."""
    made = Spares(1, Log("root"))
    yield made
    made.close(tmp_path)


def hang_rehearsing(spares: Spares, now_ns: int) -> Ends:
    """Let a spare begin that never ends its rehearsal; give its end."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()
    if pid == 0:
        while True:
            signal.pause()
    theirs.close()
    ends = Ends([pid])
    spares.take_in(pid, ours, now_ns)
    return ends


def test_a_spare_that_hangs_while_it_rehearses_is_ended_and_leaves_its_place_to_the_next(spares: Spares) -> None:
    for begun_ns in range(FAILURES_MAX):
        assert spares.is_wanted
        ends = hang_rehearsing(spares, begun_ns)
        spares.look(begun_ns + REHEARSAL_NS_MAX)
        assert spares.is_rehearsing

        spares.look(begun_ns + REHEARSAL_NS_MAX + 1)

        assert not spares.is_rehearsing
        assert ends.come_within(0)
    assert not spares.is_wanted


def test_a_spare_that_is_kept_waiting_while_it_rehearses_is_not_ended(tmp_path: Path) -> None:
    waited_ns = [7 * NS_PER_S]
    spares = Spares(1, Log("root"), lambda _pid: waited_ns[0])
    ends = hang_rehearsing(spares, 0)

    for now_ns in range(0, 2 * REHEARSAL_NS_MAX, NS_PER_S):
        spares.look(now_ns)
        waited_ns[0] += NS_PER_S * 9 // 10

    assert spares.is_rehearsing
    spares.close(tmp_path)
    assert ends.come_within(0)
