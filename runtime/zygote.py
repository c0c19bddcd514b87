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
from collections.abc import Iterable

import msgspec
import setproctitle

from runtime import child, log, spare
from runtime.gentle import stand_back
from runtime.packets import Spawned, receive_packet


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
    while data := receive_packet(channel):
        request = decoder.decode(data)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) if not request.path else (None, None)
        pid = _fork_twice((channel, ours), theirs, request, walls)
        answer = msgspec.msgpack.encode(Spawned(request.path, request.epoch, pid))
        if ours is None or theirs is None:
            channel.send(answer)
        else:
            socket.send_fds(channel, [answer], [ours.fileno()])
            ours.close()
            theirs.close()


def _fork_twice(
    foreign: Iterable[socket.socket | None],
    own: socket.socket | None,
    request: child.ChildRequest,
    walls: child.Walls,
) -> int:
    """Fork a child whose parent will be root; give its pid. Of our sockets it keeps its own, where it is a spare."""
    read_end, write_end = os.pipe()
    middle = os.fork()
    if middle == 0:
        try:
            pid = os.fork()
            if pid == 0:
                _be_child(foreign, own, request, walls, (read_end, write_end))
            os.write(write_end, pid.to_bytes(4, "little"))
        finally:
            os._exit(0)
    os.close(write_end)
    os.waitpid(middle, 0)
    answer = os.read(read_end, 4)
    os.close(read_end)
    assert answer, "the second fork failed; root starts another zygote, and counts a failed start"
    return int.from_bytes(answer, "little")


def _be_child(
    foreign: Iterable[socket.socket | None],
    own: socket.socket | None,
    request: child.ChildRequest,
    walls: child.Walls,
    pipe: tuple[int, int],
) -> None:
    """Live as the child and leave without the zygote's clean-up."""
    code = child.EXIT_FALLEN
    try:
        if request.is_gentle:
            stand_back(walls.way)  # until root hears that it is READY
        for one in foreign:
            if one is not None:
                one.close()
        for descriptor in pipe:
            os.close(descriptor)
        code = child.run(request, walls) if own is None else spare.wait(own, request, walls)
    finally:
        os._exit(code)


if __name__ == "__main__":
    main()
