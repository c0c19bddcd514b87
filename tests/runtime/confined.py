"""A process that confines itself and then tries what it should not: ``python -m tests.runtime.confined FOLDER``.

It prints, as one JSON object, what each attempt came to: "" where it worked, else the name of the error.
"""

import ctypes
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from runtime import landlock
from runtime.landlock import Ground
from runtime.seccomp import Filter, forbid_processes


def refuse_calls(*numbers: int) -> None:
    """Make this process, and all that it becomes, believe that its kernel does not know these system calls."""
    steps = [(0x20, 0, 0, 0)]
    for number in numbers:
        steps += [(0x15, 0, 1, number), (0x06, 0, 0, 0x00050000 | 38)]
    steps.append((0x06, 0, 0, 0x7FFF0000))
    program = b"".join(bytes(_Step(*step)) for step in steps)
    assert forbid_processes(Filter(program, Filter.prepare().number))


class _Step(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint16), ("yes", ctypes.c_uint8), ("no", ctypes.c_uint8), ("value", ctypes.c_uint32))


def outcome(attempt: Callable[[], object]) -> str:
    """Say what an attempt came to."""
    try:
        attempt()
    except Exception as error:  # noqa: BLE001 - whichever it is, its name is the result
        return type(error).__name__
    return ""


def append(path: Path) -> None:
    """Write at the end of a file, without reading it."""
    with path.open("a", encoding="ascii") as file:
        file.write("x")


def start_thread() -> None:
    """Start a thread and wait for it."""
    thread = threading.Thread(target=lambda: None)
    thread.start()
    thread.join()


def fork() -> None:
    """Fork; a child leaves at once."""
    if os.fork() == 0:
        os._exit(0)


def attempts(folder: Path, tcp_port: int) -> dict[str, Callable[[], object]]:
    """Lay out what is tried: the folders below are own, open, logs and secret."""
    own, shared, logs, secret = (folder / name for name in ("own", "open", "logs", "secret"))
    return {
        "write own": lambda: (own / "new").write_text("x", encoding="ascii"),
        "make a folder of its own": (own / "folder").mkdir,
        "remove own": (own / "old").unlink,
        "read what is open": (shared / "file").read_bytes,
        "write what is open": lambda: append(shared / "file"),
        "append to a log": lambda: append(logs / "own.log"),
        "rotate a log": lambda: (logs / "own.log").rename(logs / "own.1.log"),
        "begin a new log": lambda: append(logs / "own.log"),
        "list the logs": lambda: list(logs.glob("*.log")),
        "read another's log": (logs / "root.log").read_bytes,
        "read a secret": (secret / "key").read_bytes,
        "list the secrets": lambda: list(secret.iterdir()),
        "write a secret": lambda: append(secret / "key"),
        "truncate a secret": lambda: os.truncate(secret / "key", 0),
        "remove a secret": (secret / "key").unlink,
        "take a secret away": lambda: (secret / "key").rename(own / "key"),
        "link to a secret": lambda: (own / "link").hardlink_to(secret / "key"),
        "read a secret by a link of its own": (own / "pointer").read_bytes,
        "read the passwords": Path("/etc/passwd").read_bytes,
        "read the environment of its parent": Path(f"/proc/{os.getppid()}/environ").read_bytes,
        "write to nowhere": lambda: Path(os.devnull).write_text("x", encoding="ascii"),
        "import a module of the library": lambda: __import__("wsgiref.simple_server"),
        "connect by TCP": lambda: socket.create_connection(("127.0.0.1", tcp_port), timeout=5),
        "listen on TCP": lambda: socket.create_server(("127.0.0.1", 0)),
        "signal its parent": lambda: os.kill(os.getppid(), 0),
        "signal itself": lambda: os.kill(os.getpid(), 0),
        "start a thread": start_thread,
        "fork": fork,
        "run a program": lambda: subprocess.run(["true"], check=True),
        "become a program": lambda: os.execv("/bin/true", ["true"]),
    }


def main() -> None:
    """Confine, try, tell."""
    folder, tcp_port, kernel = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    (folder / "own" / "pointer").symlink_to(folder / "secret" / "key")
    if kernel == "old":
        refuse_calls(444)
    held = landlock.confine(Ground.survey(), [str(folder / "open")], [str(folder / "own")], [str(folder / "logs")])
    has_filter = forbid_processes(Filter.prepare() if kernel == "new" else Filter())
    tried = attempts(folder, tcp_port)
    if kernel == "old":
        del tried["become a program"]
    results = {name: outcome(attempt) for name, attempt in tried.items()}
    print(json.dumps({"landlock": held, "filter": has_filter, "tried": results}))  # noqa: T201 - what the test reads


if __name__ == "__main__":
    main()
