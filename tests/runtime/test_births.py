"""The zygote as root holds it."""

import os
import resource
import select
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from runtime.births import ZYGOTE_SILENCE_NS_MAX, Births
from runtime.child import nobody
from runtime.clock import NS_PER_S, Clock
from runtime.log import Log
from runtime.process import Zygote, has_ended, raise_open_files
from runtime.spares import Spares
from tests.runtime.fakes import HandClock


@pytest.fixture
def crowded() -> Iterator[None]:
    """Let this process hold as many descriptors as root does of a thousand children."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    raise_open_files()
    opened = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    yield
    for descriptor in opened:
        os.close(descriptor)
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.usefixtures("crowded")
def test_the_end_of_a_zygote_is_seen_also_beside_a_thousand_children(tmp_path: Path) -> None:
    zygote, spares = Zygote((), ()), Spares(0, Log("root"))
    births = Births(zygote, spares, Clock())
    pidfd, _ = births.start(is_crowd=False)
    lives = not births.is_zygote_dead

    zygote.kill()
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    poller.poll(10_000)

    assert lives
    assert births.is_zygote_dead
    births.close(tmp_path)


@pytest.mark.parametrize(("share", "is_over"), [(0.0, True), (0.9, False)], ids=["of its own doing", "kept waiting"])
def test_a_zygote_that_leaves_a_request_unanswered_is_ended_only_where_that_is_its_own_doing(
    tmp_path: Path, share: float, is_over: bool
) -> None:
    zygote, spares, clock = Zygote((), ()), Spares(0, Log("root")), HandClock()
    waited_ns = [7 * NS_PER_S]
    births = Births(zygote, spares, clock, lambda _pid: waited_ns[0])
    pidfd, answers = births.start(is_crowd=False)
    os.kill(zygote.pid, signal.SIGSTOP)
    births.begin(nobody("", "", os.getpid(), "INFO"))

    while clock.monotonic_ns() <= 2 * ZYGOTE_SILENCE_NS_MAX:
        births.look(clock.monotonic_ns())
        clock.advance_ns(NS_PER_S)
        waited_ns[0] += int(share * NS_PER_S)
    with suppress(ProcessLookupError):  # it was ended, and may be reaped already
        os.kill(zygote.pid, signal.SIGCONT)
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    poller.register(answers, select.POLLIN)
    poller.poll(60_000)

    assert has_ended(pidfd, 60_000 if is_over else 0) is is_over
    births.close(tmp_path)
