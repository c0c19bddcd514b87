"""The list of the control socket's clients: who may enter the guarded door, with which key, to do what."""

import fcntl
import hashlib
import os
import re
import stat
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from actors.console.verbs import ROLES, Role
from runtime.file import replace_file

NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
#: 32 bytes in ZeroMQ's own writing, Z85.
KEY = re.compile(r"[0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}")
#: A list of clients is a few kilobytes; more than this is some other file.
SIZE_MAX = 256 * 1024


class Client(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One client: its name for people, its role (read, operate or admin), its public key."""

    name: str
    role: str
    key: str

    @property
    def rank(self) -> Role:
        """The role as a number that can be compared."""
        return ROLES[self.role]


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    clients: tuple[Client, ...]


def fingerprint(key: str) -> str:
    """Give the short name of a public key: 16 hex digits, the same everywhere that a key is shown."""
    return hashlib.blake2b(key.encode(), digest_size=8).hexdigest()


def read_clients(path: Path) -> tuple[Client, ...] | str:
    """Read a list of clients; where it does not hold, say why not.

    A file that is not there lists nobody. Refused as a whole are one that everybody may write, an unknown role or
    key of JSON, a malformed name or public key, and a name or public key that comes twice.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(SIZE_MAX + 1)
    except FileNotFoundError:
        return ()
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}"
    if mode & stat.S_IWOTH:
        return f"{path} may be written by everybody, so it says nothing; take that away with: chmod o-w {path}"
    if len(data) > SIZE_MAX:
        return f"{path} has more than {SIZE_MAX // 1024} KiB; is it the right file?"
    try:
        clients = msgspec.json.decode(data, type=_File).clients
    except (ValueError, RecursionError) as error:
        return f"{path} is no list of clients: {error}"
    fault = _fault(clients)
    return f"{path}: {fault}" if fault else clients


@contextmanager
def alone_with(path: Path) -> Generator[None]:
    """Let one process at a time read a list and write it anew; whoever else wants to waits.

    Raises:
        OSError: Its folder cannot be opened.
    """
    folder = os.open(path.absolute().parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def write_clients(path: Path, clients: Sequence[Client]) -> None:
    """Replace a list of clients at once: whoever reads it finds the old one or the new one.

    It holds no secret, so everybody may read it: the desk's user need not be the one who writes it.

    Raises:
        OSError: It cannot be written; the old one is untouched.
    """
    data = msgspec.json.format(msgspec.json.encode(_File(tuple(clients))), indent=1)
    replace_file(path, data + b"\n", mode=0o644)


def changes(old: Mapping[str, Client], new: Mapping[str, Client]) -> list[str]:
    """Say how one list, by key, differs from another: a line for each client that came, went or changed."""
    lines = [f"{client.name} ({fingerprint(key)}) is removed" for key, client in old.items() if key not in new]
    for key, client in new.items():
        was = old.get(key)
        if was is None:
            lines.append(f"{client.name} ({fingerprint(key)}) is added as {client.role}")
        elif was != client:
            lines.append(
                f"{was.name} ({fingerprint(key)}), {was.role}, is now {client.name}, {client.role}",
            )
    return lines


def listing(clients: Mapping[str, Client]) -> list[str]:
    """Say who is in a list, by key, of which nobody knows how it came about: a line for each client."""
    return [f"{client.name} ({fingerprint(key)}) is listed as {client.role}" for key, client in clients.items()]


def _fault(clients: Sequence[Client]) -> str:
    names: set[str] = set()
    keys: set[str] = set()
    for client in clients:
        if not NAME.fullmatch(client.name) or client.name == "local":
            return f"the name {client.name[:100]!r}; write letters, digits and _ . -, at most 64, and not local"
        if client.role not in ROLES:
            return f"{client.name} has the role {client.role[:100]!r}; write one of {', '.join(ROLES)}"
        if not KEY.fullmatch(client.key):
            return f"the key of {client.name} is none; copy the 40 characters of its public key"
        if client.name in names:
            return f"{client.name} comes twice"
        if client.key in keys:
            return f"the key of {client.name} comes twice"
        names.add(client.name)
        keys.add(client.key)
    return ""
