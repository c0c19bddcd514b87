"""The keys of the guarded control door: the desk's own in the state folder, a client's in a file of its own."""

import os
import stat
from contextlib import suppress
from pathlib import Path

import msgspec

from runtime.bus.outside import new_keys, public_key
from runtime.ids import fresh_id


class KeyFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a client needs: its own pair, the desk's public key, and where the desk's door is ("" where unknown)."""

    name: str
    connect: str
    server: str
    public: str
    secret: str


def why_not(error: OSError | ValueError) -> str:
    """Say in words what was refused, and of which file, without an error's number."""
    return f"{error.filename}: {error.strerror}" if isinstance(error, OSError) and error.filename else str(error)


def server_secret_file(state: Path) -> Path:
    """Say where the desk's own secret key lies. Only the console's process reads it."""
    return state / "keys" / "control.secret"


def keep_server_keys(state: Path) -> str:
    """Make the desk's own key pair where there is none yet; give the public key.

    Two processes that do so at once end up with the same pair.

    Raises:
        ValueError: The secret key's file holds none, or others may read it; nothing is changed.
        OSError: It cannot be read or made.
    """
    file = server_secret_file(state)
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not file.exists():
        _, secret = new_keys()
        fresh = file.with_name(f".{fresh_id()}")
        write_secret(fresh, secret.encode() + b"\n")
        with suppress(FileExistsError):
            os.link(fresh, file)  # at once, or somebody could read half a key
        fresh.unlink()
    return public_key(_read_secret(file).decode("ascii", errors="replace").strip())


def write_secret(file: Path, data: bytes) -> None:
    """Write a new file that only its owner can read.

    Raises:
        FileExistsError: There is one of that name; it is untouched.
        OSError: It cannot be written.
    """
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        out.write(data)
        out.flush()
        os.fsync(out.fileno())


def write_key_file(file: Path, keys: KeyFile) -> None:
    """Write a client's new key file, 0600.

    Raises:
        FileExistsError: There is one of that name; it is untouched.
        OSError: It cannot be written.
    """
    write_secret(file, msgspec.json.format(msgspec.json.encode(keys), indent=1) + b"\n")


def read_key_file(file: Path) -> KeyFile:
    """Read a client's key file.

    Raises:
        ValueError: It is none, or others may read it.
        OSError: It cannot be read.
    """
    data = _read_secret(file)
    try:
        keys = msgspec.json.decode(data, type=KeyFile)
    except (ValueError, RecursionError) as error:
        msg = f"{file} is no key file: {error}"
        raise ValueError(msg) from None  # its text may show what the file holds
    if public_key(keys.secret) != keys.public:
        msg = f"{file}: its public key does not belong to its secret key"
        raise ValueError(msg)
    return keys


def _read_secret(file: Path) -> bytes:
    with file.open("rb") as source:
        mode = os.fstat(source.fileno()).st_mode
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            msg = f"{file} is a secret that others may read; take that away with: chmod 600 {file}"
            raise ValueError(msg)
        return source.read(64 * 1024)
