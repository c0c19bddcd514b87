"""A process that has been forked ahead, and waits to be told which child it is.

It has rehearsed once: so the pages that functions write to are its own already, and what a fork costs is paid. It
knows nothing of any child, holds no socket and no store, and is confined and limited like any other once it is told.
"""

import socket

import msgspec

from runtime import child
from runtime.child import ChildRequest
from runtime.packets import READY, receive_packet
from runtime.rehearsal import rehearse


def wait(channel: socket.socket, request: ChildRequest, walls: child.Walls) -> int:
    """Live as a spare; give the exit code. It ends when root closes its end without a word."""
    child.die_with(request.root_pid)
    try:
        rehearse(request, walls, is_own_process=True)
    except BaseException as error:  # noqa: BLE001 - root must hear why there is no spare
        channel.send(f"{type(error).__name__}: {error}"[:500].encode())
        return child.EXIT_FALLEN
    child.set_title(request.title)
    channel.send(READY)
    data = receive_packet(channel)
    channel.close()
    if not data:
        return 0
    return child.run(msgspec.msgpack.decode(data, type=ChildRequest), walls)
