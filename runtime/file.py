"""One file: how it is replaced so that a fall leaves the old or the new one, and how a change of it is noticed."""

import os
from pathlib import Path


def replace_file(file: Path, data: bytes, *, mode: int | None = None) -> None:
    """Write a file anew at once: whoever reads it, also after a fall, finds the old one or the new one whole.

    The content is on the disk when this returns; that the name points at it is left to the file system, so a sudden
    end of the machine may bring the old one back. One process writes a file: two at a time may mix.

    Args:
        file: It need not exist; its folder must. A fall may leave a ``.NAME.new`` there, which the next one overwrites.
        data: All of it.
        mode: Its permissions, whatever the process gives a new file; None for those.

    Raises:
        OSError: It cannot be written; the old one is untouched.
    """
    fresh = file.with_name(f".{file.name}.new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666 if mode is None else 0o600)
    with os.fdopen(descriptor, "wb") as out:
        if mode is not None:
            os.fchmod(descriptor, mode)
        out.write(data)
        out.flush()
        os.fsync(out.fileno())
    fresh.rename(file)


def mark_of(file: Path) -> tuple[int, int, int]:
    """Give what changes when a file is edited, replaced or given other rights; zeros where it is gone or out of sight.

    An edit within one tick of the file system's clock that keeps the length is not noticed. What only looks like a
    change, such as another name for the same file, may change it too.
    """
    try:
        found = file.stat()
    except OSError:
        return 0, 0, 0
    return found.st_ctime_ns, found.st_size, found.st_ino  # rights change no time but this one
