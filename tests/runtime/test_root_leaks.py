"""A thousand falls leave nothing behind: no descriptor, no memory, no file, no zombie."""

import os
import signal
from pathlib import Path
from typing import NamedTuple

import pytest

from runtime.clock import NS_PER_S
from runtime.process import resident_bytes
from runtime.restart import RestartLimit
from tests.runtime.bakehouse import Bakehouse, apprentice, baker, descendants, oven, state_of, title

VICTIMS = ("one", "two", "three", "four")
MIB = 1 << 20
#: What the supervisor may have grown by in a thousand falls: its allocator breathes, its books of falls are bounded.
GROWTH_BYTES_MAX = 6 * MIB


class Holdings(NamedTuple):
    """What a bakery has of this machine."""

    descriptors: int
    processes: int
    zombies: int
    sockets: list[str]
    files: set[str]
    shared_memory: int
    resident_bytes: int


def holdings(house: Bakehouse) -> Holdings:
    below = descendants(house.pid)
    states = [state_of(pid) for pid in below]
    zygotes = [pid for pid in below if "zygote" in title(pid)]
    return Holdings(
        descriptors=len(list(Path(f"/proc/{house.pid}/fd").iterdir())),
        processes=len(below),
        zombies=states.count("Z"),
        sockets=sorted(file.name for file in (house.state / "s").iterdir()),
        files={str(file.relative_to(house.state)) for file in house.state.rglob("*") if file.is_file()},
        shared_memory=Path(f"/proc/{house.pid}/maps").read_text(encoding="utf-8").count("/dev/shm/"),
        resident_bytes=sum(resident_bytes(pid) for pid in (house.pid, *zygotes)),
    )


def fall(house: Bakehouse, rounds: int) -> None:
    """Kill all victims at once, again and again, each time when all are back."""
    for _ in range(rounds):
        # A child may be READY before the zygote's answer has told root its pid.
        before = house.until(lambda rows: all(rows[name]["pid"] for name in VICTIMS))
        for name in VICTIMS:
            os.kill(before[name]["pid"], signal.SIGKILL)
        house.until(
            lambda rows, before=before: all(
                rows[name]["epoch"] > before[name]["epoch"] and rows[name]["state"] == "RUNNING" for name in VICTIMS
            )
        )


def falls_leave_nothing(state: Path, rounds: int) -> None:
    tireless = RestartLimit(1_000_000, 60 * NS_PER_S)
    with Bakehouse(state, oven(), baker("alpha"), *map(apprentice, VICTIMS), limit=tireless) as house:
        house.all_running()
        fall(house, max(5, rounds // 5))
        before, baked = holdings(house), house.baked()

        fall(house, rounds)

        after = holdings(house)
        assert after.descriptors <= before.descriptors
        assert (after.processes, after.zombies) == (before.processes, 0)
        assert after.sockets == before.sockets
        assert after.files == before.files
        assert after.shared_memory <= before.shared_memory
        assert after.resident_bytes - before.resident_bytes < GROWTH_BYTES_MAX
        house.until(lambda _: house.baked() > baked)
        assert house.stop() == 0


@pytest.mark.slow
def test_sixty_falls_leave_nothing_behind(tmp_path_factory: pytest.TempPathFactory) -> None:
    falls_leave_nothing(tmp_path_factory.mktemp("b"), 15)


@pytest.mark.slow
def test_a_thousand_falls_leave_nothing_behind(tmp_path_factory: pytest.TempPathFactory) -> None:
    falls_leave_nothing(tmp_path_factory.mktemp("b"), 250)
