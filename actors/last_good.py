"""The last good configuration, kept in the state folder: what a start with a broken file runs on."""

import os
from pathlib import Path

import msgspec

from actors.settings import Settings

#: For the program, with the paths that the file meant; and for people, as it was written.
SETTINGS_FILE = "last_good.settings"
TEXT_FILE = "last_good.yaml"


class LastGood(msgspec.Struct, frozen=True):
    """Settings that held together, the text that they were read from, and when they were applied (ns, UTC)."""

    settings: Settings
    text: str
    applied_ns: int


def write_last_good(state: Path, good: LastGood) -> None:
    """Keep it, whole or not at all."""
    _replace(state / SETTINGS_FILE, msgspec.msgpack.encode(good))
    _replace(state / TEXT_FILE, good.text.encode())


def read_last_good(state: Path) -> LastGood | None:
    """Give it; None where there is none, or one of a version whose settings meant something else."""
    try:
        return msgspec.msgpack.decode((state / SETTINGS_FILE).read_bytes(), type=LastGood)
    except (OSError, msgspec.DecodeError):
        return None


def _replace(path: Path, data: bytes) -> None:
    new = path.with_name(f"{path.name}.new")
    with new.open("wb") as out:
        out.write(data)
        out.flush()
        os.fsync(out.fileno())
    new.replace(path)
