"""The process from which every child is forked: warm imports, one thread, no socket of ours, no store.

Root executes it (it is never forked from root, which holds sockets and stores). For each request it forks twice,
so that root, the subreaper, becomes the parent: root reaps and reads the exit status, and the death of the zygote
costs no child its life.
"""

import codecs
import gc
import importlib
import os
import signal
import socket
import sys

import msgspec
import setproctitle

from runtime import child, log
from runtime.gentle import stand_back

#: A larger request comes as a file: the kernel takes no packet above the socket's buffer, ever.
PACKET_BYTES_MAX = 1 << 16


class Spawned(msgspec.Struct, frozen=True):
    """The answer to one request: the pid of the new child."""

    path: str
    epoch: int
    pid: int


def main() -> None:
    """Serve requests on the inherited socket until root closes it."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    child.die_with(int(sys.argv[2]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.setpgid(0, 0)
    log.warm()
    for encoding in ("ascii", "utf-8"):  # each is a module, which a child would import when it opens a file
        codecs.lookup(encoding)
    for module in sys.argv[3:]:
        warm = getattr(importlib.import_module(module), "warm", None)
        if warm is not None:
            warm()
    setproctitle.setproctitle("bulkhead: zygote")
    gc.collect()
    gc.freeze()
    walls = child.Walls.prepare()
    decoder = msgspec.msgpack.Decoder(child.ChildRequest)
    while data := _receive(channel):
        request = decoder.decode(data)
        pid = _fork_twice(channel, request, walls)
        channel.send(msgspec.msgpack.encode(Spawned(request.path, request.epoch, pid)))


def _receive(channel: socket.socket) -> bytes:
    """Wait for the next request; nothing is the end."""
    data, descriptors, _, _ = socket.recv_fds(channel, PACKET_BYTES_MAX, 1)
    if not descriptors:
        return data
    with os.fdopen(descriptors[0], "rb") as file:
        file.seek(0)
        return file.read()


def _fork_twice(channel: socket.socket, request: child.ChildRequest, walls: child.Walls) -> int:
    """Fork a child whose parent will be root; give its pid."""
    read_end, write_end = os.pipe()
    middle = os.fork()
    if middle == 0:
        try:
            pid = os.fork()
            if pid == 0:
                _be_child(channel, request, walls, (read_end, write_end))
            os.write(write_end, pid.to_bytes(4, "little"))
        finally:
            os._exit(0)
    os.close(write_end)
    os.waitpid(middle, 0)
    answer = os.read(read_end, 4)
    os.close(read_end)
    assert answer, "the second fork failed; root starts another zygote, and counts a failed start"
    return int.from_bytes(answer, "little")


def _be_child(channel: socket.socket, request: child.ChildRequest, walls: child.Walls, pipe: tuple[int, int]) -> None:
    """Live as the child and leave without the zygote's clean-up."""
    code = child.EXIT_FALLEN
    try:
        if request.is_gentle:
            stand_back(walls.way)  # until root hears that it is READY
        channel.close()
        for descriptor in pipe:
            os.close(descriptor)
        code = child.run(request, walls)
    finally:
        os._exit(code)


if __name__ == "__main__":
    main()
