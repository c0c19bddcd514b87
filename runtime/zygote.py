"""The process from which every child is forked: warm imports, one thread, no socket of ours, no store.

Root executes it (it is never forked from root, which holds sockets and stores). It rehearses a child's life once, so
that its children share what Python works out at the first run of anything. For each request it forks a child of root's
(`runtime/fork.py`): root reaps it and reads its exit status, and the death of the zygote costs no child its life.
"""

import codecs
import ctypes
import functools
import gc
import importlib
import io
import os
import signal
import socket
import sys
from collections.abc import Iterable
from contextlib import suppress

import msgspec
import setproctitle

from runtime import child, heap, log, spare
from runtime.fork import Fork
from runtime.gentle import Way, compete, stand_back
from runtime.packets import Spawned, receive_packet
from runtime.rehearsal import rehearse
from runtime.store_witness import boot

#: The C library takes ever larger blocks from its heap once it has seen some freed. Large ones that a child asks for
#: and hardly touches, as a store does, shall come as untouched pages.
_M_MMAP_THRESHOLD = -3
_MMAP_BYTES = 128 * 1024
#: It gives each thread an arena of its own, each with a beginning that a child writes to. The two threads of ZeroMQ
#: take little and seldom, so one arena serves all.
_M_ARENA_MAX = -8
#: So many lives are rehearsed with the code that children run. Python notes how code runs from its eighth call on; then
#: it looks fewer names up, and so counts fewer references on pages that children share.
LIVES = 10


def main() -> None:
    """Serve requests on the inherited socket until root closes it."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    child.die_with(int(sys.argv[2]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])  # children have the same
    os.setpgid(0, 0)
    is_crowd, entry, sockets, *preload = sys.argv[3:]
    _warm_up(preload)
    walls, fork = child.Walls.prepare(), Fork.find()
    if entry:
        _rehearse(child.nobody(entry, sockets, int(sys.argv[2]), "INFO"), walls)
    setproctitle.setproctitle("bulkhead: zygote")
    gc.collect()
    heap.fill_holes()
    commons = importlib.import_module("runtime.commons") if is_crowd else None  # so late that all of it lies together
    gc.freeze()
    if commons is not None:
        walls = walls._replace(borrow=commons.Commons.lay_out().borrow)
    stand_back(Way.BATCH)  # a fork copies for a millisecond, and whoever wakes up meanwhile shall not wait for it
    decoder = msgspec.msgpack.Decoder(child.ChildRequest)
    while data := receive_packet(channel):
        request = decoder.decode(data)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) if not request.path else (None, None)
        pid = fork.fork()
        if pid == 0:
            _be_child((channel, ours), theirs, request, walls)
        answer = msgspec.msgpack.encode(Spawned(request.path, request.epoch, pid))
        if ours is None or theirs is None:
            channel.send(answer)
        else:
            socket.send_fds(channel, [answer], [ours.fileno()])
            ours.close()
            theirs.close()


def _warm_up(preload: Iterable[str]) -> None:
    """Import all, and do what each child would do first."""
    log.warm()
    boot()  # children know it from us
    for encoding in ("ascii", "utf-8"):  # each is a module, which a child would import when it opens a file
        codecs.lookup(encoding)
    for module in preload:
        warm = getattr(importlib.import_module(module), "warm", None)
        if warm is not None:
            warm()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True)  # a child leaves without flushing


def _rehearse(request: child.ChildRequest, walls: child.Walls) -> None:
    """Begin and end a life, and lay together what it ran; further lives work out anew what the copies lack.

    Where that fails this process begins anew and does without: nothing of it may be left.
    """
    with suppress(AttributeError):  # another C library has no such switches
        library = ctypes.CDLL(None)
        library.mallopt(_M_MMAP_THRESHOLD, _MMAP_BYTES)
        library.mallopt(_M_ARENA_MAX, 1)
    life = functools.partial(rehearse, request, walls, is_own_process=False)
    try:
        codes = heap.code_run_by(life)
        gc.collect()
        heap.fill_holes()
        heap.lay_together(codes)
        life(times=LIVES)
    except Exception as error:  # noqa: BLE001 - the room's maker decides what it raises
        sys.stderr.write(f"zygote: no rehearsal: {type(error).__name__}: {error}\n")
        sys.stderr.flush()
        os.execv(sys.executable, [sys.executable, "-P", "-m", "runtime.zygote", *sys.argv[1:4], "", *sys.argv[5:]])  # noqa: S606


def _be_child(
    foreign: Iterable[socket.socket | None],
    own: socket.socket | None,
    request: child.ChildRequest,
    walls: child.Walls,
) -> None:
    """Live as the child and leave without the zygote's clean-up. A spare keeps its own of our sockets."""
    code = child.EXIT_FALLEN
    try:
        if request.is_gentle:
            stand_back(walls.way)  # until root hears that it is READY
        else:
            compete()
        for one in foreign:
            if one is not None:
                one.close()
        code = child.run(request, walls) if own is None else spare.wait(own, request, walls)
    finally:
        os._exit(code)


if __name__ == "__main__":
    main()
