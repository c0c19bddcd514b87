"""The state folder: who holds it, where its sockets lie, and the sentinel that halts the desk."""

import fcntl
import hashlib
import os
import select
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from shlex import quote

from runtime.clock import NS_PER_S, Clock
from runtime.errors import LockHeldError, StartError

#: How long a start waits for the children of a desk that has just died.
LOCK_PATIENCE_NS = 2 * NS_PER_S
#: How long a start waits where the process that took the lock is gone: what it left behind is about to go too, and a
#: service manager starts nobody again who was refused.
ORPHANS_PATIENCE_NS = 30 * NS_PER_S
#: Longest path a Unix socket may have, without the closing zero.
SOCKET_PATH_BYTES_MAX = 107
#: How the names of folders begin in which a state folder keeps older copies of its stores.
ASIDE_PREFIX = "backup-"
#: A sentinel that waits to be one.
SPARE = "halt.spare"
#: The longest reason that is read.
REASON_BYTES_MAX = 4096
#: Folders of a state folder that hold a store for each of many processes.
_GROUPS = ("strategies", "candidates")
_LONGEST_SOCKET_NAME = "spare/market_data.stream"


class FolderLock:
    """The lock that refuses a second desk on one state folder.

    It is a ``flock``: it ends with the last process that inherited it, however that process ends.
    """

    def __init__(self, folder: Path) -> None:
        """Prepare; nothing is locked yet."""
        self._path = folder / "lock"
        self.descriptor = -1

    def take(self, clock: Clock) -> None:
        """Take the lock, waiting up to two seconds, or thirty for what a desk that has ended has left behind.

        Raises:
            LockHeldError: Another desk, or a child that outlives one, holds it.
        """
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        began_ns = clock.monotonic_ns()
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
                has_ended = _has_ended(holder)
                if clock.monotonic_ns() - began_ns >= (ORPHANS_PATIENCE_NS if has_ended else LOCK_PATIENCE_NS):
                    os.close(descriptor)
                    whose = "what another desk has left behind" if has_ended else "another desk"
                    msg = (
                        f"{self._path.parent} is in use by {whose} (process {holder}). Nothing was started and no"
                        " order was touched. Choose another folder with --state, or stop that desk with:"
                        f" bulkhead stop --state {quote(str(self._path.parent))}"
                    )
                    raise LockHeldError(msg) from None
                _wait_20_ms(descriptor)
            else:
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
                self.descriptor = descriptor
                return


def _has_ended(holder: str) -> bool:
    """Say whether the process that took the lock is gone; False where nobody can tell."""
    try:
        os.kill(int(holder), 0)
    except ProcessLookupError:
        return True
    except (ValueError, OverflowError, PermissionError):
        return False
    return False


def _wait_20_ms(_descriptor: int) -> None:
    """Give the holder time to go; flock offers no wait with a limit."""
    select.select([], [], [], 0.02)


def socket_folder(state: Path) -> Path:
    """Make the private folder (0700) in which the sockets of this state folder lie, and give its path.

    Under systemd that is RuntimeDirectory; else a folder in the user's runtime or temporary folder, whose name
    follows from the state folder's path.

    Raises:
        StartError: No folder with a short enough path can be had, or it belongs to somebody else.
    """
    name = hashlib.blake2b(str(state.resolve()).encode(), digest_size=6).hexdigest()
    given = os.environ.get("RUNTIME_DIRECTORY", "").split(":")[0]
    candidates = [Path(given)] if given else []
    candidates += [
        Path(base) / f"bulkhead-{os.getuid()}-{name}"
        for base in (os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir(), "/tmp")  # noqa: S108 - its subfolder is ours, 0700
        if base
    ]
    for folder in candidates:
        if len(str(folder / _LONGEST_SOCKET_NAME).encode()) > SOCKET_PATH_BYTES_MAX:
            continue
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if (given and folder == candidates[0]) or _is_ours(folder):
                folder.chmod(0o700)
                return folder
        except OSError:
            continue
    msg = f"no private folder with a short path for sockets among: {', '.join(map(str, candidates))}"
    raise StartError(msg)


def _is_ours(folder: Path) -> bool:
    """Say whether this is a folder that belongs to us, and no link that somebody laid where anyone may write."""
    found = folder.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()


def keep_from_cleaners(folder: Path) -> int:
    """Lock a folder so that a cleaner of temporary files passes it by; give the descriptor that holds the lock.

    Source: systemd-tmpfiles skips directories on which a BSD lock is held.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    return descriptor


def store_folders(state: Path) -> list[Path]:
    """Name the folders of all stores of a state folder, in order.

    Whatever else lies in it is not its own: what was put aside, a backup, the folder of another desk.
    """
    places = ("*", *(f"{group}/*" for group in _GROUPS))
    return sorted(data.parent for place in places for data in state.glob(f"{place}/data.mdb"))


class Sentinel:
    """A file whose presence halts the desk. It needs no socket, and survives every restart."""

    def __init__(self, state: Path) -> None:
        """Point at the sentinel of a state folder; nothing is written."""
        self._path = state / "HALT"
        self._text = str(self._path)
        self._spare = state / SPARE

    def reason(self) -> str | None:
        """Say why the desk is halted, or None where it is not. A sentinel that cannot be read halts too."""
        try:
            os.lstat(self._text)  # most of the time there is none, and nothing says that more cheaply
            return self._read() or "halted without a reason"
        except FileNotFoundError:
            return None
        except OSError as error:
            return f"the sentinel cannot be read: {error}"

    def _read(self) -> str:
        """Read the reason; whatever stands there, nobody waits for it, and none is longer than a page.

        No link is followed: one to nothing would be no sentinel, and could not be told from one that is just removed.
        """
        descriptor = os.open(self._text, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            return os.read(descriptor, REASON_BYTES_MAX).decode("utf-8", "replace").strip()
        finally:
            os.close(descriptor)

    def write(self, reason: str) -> None:
        """Halt. A reason that is already there stays: the first halt is the one to explain.

        A disk that is full takes the reason perhaps, never the halt: where it cannot be written, or no file be made any
        more, the spare sentinel takes its place, and an empty one halts too.
        """
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return
        except OSError:
            if not self._spare.exists():
                raise
            self._spare.rename(self._path)
            return
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(reason + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            with suppress(OSError):
                self._spare.rename(self._path)

    def prepare(self) -> None:
        """Put a spare sentinel by, for a disk without room for a new file."""
        words = "halted while the disk was full, and had no room for the reason: make room, then resume\n"
        self._spare.write_text(words, encoding="utf-8")

    def remove(self) -> None:
        """Lift the halt; nothing happens where there is none.

        Raises:
            OSError: Something stands there that is no file, or is not ours to remove: the halt holds.
        """
        self._path.unlink(missing_ok=True)
