"""The program ``bulkhead``: it can be interrupted quietly from its first moment on, while it still loads itself."""

import importlib
import io
import os
import signal
import sys
from types import FrameType

EXIT_INTERRUPTED = 130


def main() -> None:
    """Load the command line and run it."""
    is_heeded = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # shells have their jobs ignore it
    if is_heeded:
        signal.signal(signal.SIGINT, _leave)
    _open_streams()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal without a letter for it still gets the rest
    command_line = importlib.import_module("actors.cli")
    try:
        if is_heeded:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        command_line.main()
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)


def _open_streams() -> None:
    """Open what we were started without to nowhere, or a file of ours would take its number."""
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
            setattr(sys, name, os.fdopen(descriptor, "r" if name == "stdin" else "w"))


def _leave(_number: int, _frame: FrameType | None) -> None:
    """Leave at once: an exception would be a library's to handle, in the middle of its being loaded."""
    os._exit(EXIT_INTERRUPTED)
