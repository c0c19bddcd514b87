"""A process that has been forked ahead, and waits to be told which child it is.

It has done once, with a room of no meaning and files of its own, what every life begins with: so the pages that
functions write to are its own already, and what a fork costs is paid. It knows nothing of any child, holds no socket
and no store, and is confined and limited like any other once it is told.
"""

import gc
import os
import shutil
import signal
import socket
from pathlib import Path

import msgspec

from runtime import child, landlock
from runtime.beacon import Beacon
from runtime.bus import Address, Bus
from runtime.child import ChildRequest
from runtime.clock import Clock
from runtime.log import Log, let_go
from runtime.packets import FOLDER, READY, receive_packet

#: Turns of the rehearsed room's loop: what comes first in a loop is done in two.
TURNS = 2


def wait(channel: socket.socket, request: ChildRequest, walls: child.Walls) -> int:
    """Live as a spare; give the exit code. It ends when root closes its end without a word."""
    child.die_with(request.root_pid)
    try:
        rehearse(request, walls)
    except BaseException as error:  # noqa: BLE001 - root must hear why there is no spare
        channel.send(f"{type(error).__name__}: {error}"[:500].encode())
        return child.EXIT_FALLEN
    channel.send(READY)
    data = receive_packet(channel)
    channel.close()
    if not data:
        return 0
    return child.run(msgspec.msgpack.decode(data, type=ChildRequest), walls)


def rehearse(request: ChildRequest, walls: child.Walls) -> None:
    """Begin and end a life that has no meaning: nothing of it is left, no thread, no file, no descriptor.

    Raises:
        RuntimeError: Something was left, a thread perhaps, which could not be confined any more.
    """
    folder = Path(request.sockets) / FOLDER
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "log").mkdir(mode=0o700, parents=True)
    told = msgspec.structs.replace(request, path="rehearsal", epoch=1, state=str(folder), sockets=str(folder))
    before = _descriptors()
    try:
        _live(told, folder, walls)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    gc.collect()
    if _descriptors() != before or len(os.listdir("/proc/self/task")) != 1:  # noqa: PTH208 - names are enough
        msg = "something outlived the rehearsal"
        raise RuntimeError(msg)
    child.set_title(request.title)


def _descriptors() -> set[str]:
    """Name what this process holds open, and the folder that this question opens."""
    return set(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names are enough


def _live(told: ChildRequest, folder: Path, walls: child.Walls) -> None:
    stacks = child.set_up_process(told)
    log, clock = Log.open(folder / "log", told.path, told.log_level), Clock()
    beacon = Beacon(folder, told.path)
    beacon.word("rehearsal")
    if landlock.abi():
        os.close(landlock.lay_down(walls.ground, (told.sockets,), (told.state,), (str(folder / "log"),)))
    root = Bus(folder, Address("root", 1))
    hub, sink = root.hub(), root.progress_sink()
    bus = Bus(folder, Address(told.path, told.epoch))
    try:
        actor = child.make_actor(told, bus, clock, log, beacon)
        actor.on_start()
        for _ in range(TURNS):
            sink.poll(0)
            for _heard in hub.receive():
                pass
            hub.acknowledge()
            actor.on_receive(actor.actor_inbox.get().message)
        actor.on_stop()
        actor.close_inbox()
    finally:
        bus.close()
        root.close()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    beacon.close()
    let_go()
    child.forget_stacks(stacks)
