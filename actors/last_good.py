"""The last good configuration, kept in the state folder: what a start with a broken file runs on."""

from pathlib import Path

import msgspec

from actors.settings import Settings
from runtime.file import replace_file

#: For the program, with the paths that the file meant; and for people, as it was written.
SETTINGS_FILE = "last_good.settings"
TEXT_FILE = "last_good.yaml"


class LastGood(msgspec.Struct, frozen=True):
    """Settings that held together, the text that they were read from, and when they were applied (ns, UTC).

    ``in_force`` is what of them held at once; None where that was not kept.
    """

    settings: Settings
    text: str
    applied_ns: int
    in_force: Settings | None = None


def write_last_good(state: Path, good: LastGood) -> None:
    """Keep it: each of the two files whole or not at all."""
    replace_file(state / SETTINGS_FILE, msgspec.msgpack.encode(good))
    replace_file(state / TEXT_FILE, good.text.encode())


def read_last_good(state: Path) -> LastGood | None:
    """Give it; None where there is none, or one of a version whose settings meant something else."""
    try:
        return msgspec.msgpack.decode((state / SETTINGS_FILE).read_bytes(), type=LastGood)
    except (OSError, msgspec.DecodeError):
        return None
