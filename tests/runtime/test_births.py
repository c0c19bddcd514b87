"""The zygote as root holds it."""

import os
import resource
import select
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.births import Births
from runtime.clock import Clock
from runtime.log import Log
from runtime.process import Zygote, raise_open_files
from runtime.spares import Spares


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
    os.close(births.fileno())
