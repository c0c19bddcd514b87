"""The rehearsal: a life with a room of no meaning and files of its own, begun and ended.

What every life begins with is done once in it. The zygote rehearses before it forks, so its children share what
Python works out at the first run of anything; a spare rehearses again, and its pages are its own before it is anybody.
Nothing of a rehearsal is left, no thread, no file, no descriptor.
"""

import gc
import os
import shutil
import signal
from contextlib import ExitStack
from pathlib import Path

import msgspec

from runtime import child, landlock
from runtime.beacon import Beacon
from runtime.bus import Bus
from runtime.bus_words import Address
from runtime.child import ChildRequest
from runtime.clock import Clock
from runtime.log import Log, let_go
from runtime.packets import FOLDER

#: Turns of the rehearsed room's loop: what comes first in a loop is done in two.
TURNS = 2


def rehearse(request: ChildRequest, walls: child.Walls, *, is_own_process: bool, times: int = 1) -> None:
    """Begin and end lives that have no meaning.

    Args:
        request: Names the maker of the room, and the folder of sockets, in which it has a folder meanwhile.
        walls: What will confine children. Nobody is confined by a rehearsal.
        is_own_process: Found a process group, take the limits and so on, as a child does first. Not for the zygote.
        times: How many lives, one behind another, each with files of its own; at least one.

    Raises:
        RuntimeError: Something was left, a thread perhaps, which could not be confined any more.
        Exception: Whatever the room raised.
    """
    folder = Path(request.sockets) / FOLDER
    _make(folder)
    told = msgspec.structs.replace(request, path="rehearsal", epoch=1, state=str(folder), sockets=str(folder))
    before = _descriptors()
    with ExitStack() as ended:
        ended.callback(shutil.rmtree, folder, ignore_errors=True)
        if is_own_process:
            ended.callback(child.forget_stacks, child.set_up_process(told))
        _live(told, folder, walls)
        for _ in range(1, times):
            _make(folder)
            _live(told, folder, walls)
    gc.collect()
    if _descriptors() != before or len(os.listdir("/proc/self/task")) != 1:  # noqa: PTH208 - names are enough
        msg = "something outlived the rehearsal"
        raise RuntimeError(msg)


def _make(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "log").mkdir(mode=0o700, parents=True)


def _descriptors() -> set[str]:
    """Name what this process holds open, and the folder that this question opens."""
    return set(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names are enough


def _live(told: ChildRequest, folder: Path, walls: child.Walls) -> None:
    log, clock = Log.open(folder / "log", told.path, told.log_level), Clock()
    beacon = Beacon(folder, told.path)
    beacon.word("rehearsal")
    if landlock.abi():
        os.close(landlock.lay_down(walls.ground, (told.sockets,), (told.state,), (str(folder / "log"),)))
    root = Bus(folder, Address("root", 1))
    bus = Bus(folder, Address(told.path, told.epoch))
    with ExitStack() as ended:
        for one in (root, bus):
            ended.callback(one.close)
        hub = root.hub()
        actor = child.make_actor(told, bus, clock, log, beacon)
        actor.on_start()
        for _ in range(TURNS):
            for _heard in hub.receive():
                pass
            hub.acknowledge()
            actor.wake()  # nobody waits here for anything: the next timer may be far
            actor.on_receive(actor.actor_inbox.get().message)
        actor.on_stop()
        actor.close_inbox()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    beacon.close()
    let_go()
