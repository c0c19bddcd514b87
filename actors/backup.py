"""Backups of a state folder: all stores as they were at one moment, while the desk runs, and the way back.

At that moment nobody could commit. So a backup is what an end of all processes at once would have left, and a desk that
is started on it does what it does after such an end: it recovers, and reconciles.
"""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from shlex import quote

import msgspec

from runtime.clock import Clock
from runtime.errors import OperatingError, StartError, StoreError
from runtime.folder import ASIDE_PREFIX, SPARE, FolderLock, store_folders
from runtime.store import Reader, at_one_moment

MANIFEST = "manifest.json"
#: There while a restore is under way, or was cut off: no desk starts on such a folder.
UNFINISHED = "RESTORE-UNFINISHED"
_STAGE = "restoring"
#: What belongs to the machine or to the run, not to the books: never backed up, and left where it is by a restore.
STAYS = frozenset({"log", "lock", "endpoints", "keys", "HALT", SPARE, UNFINISHED, _STAGE})
#: New code that was being tried: it is tried again, or not.
_LEFT_OUT = frozenset({"candidates"})
_FILES = ("feed.json", "last_good.yaml", "last_good.settings", "HALT")
_FOLDERS = ("code", "strategies")
_CHUNK = 1 << 20


class BackupError(OperatingError):
    """A backup that cannot be made or used; the text says why and what to do. Nothing was changed."""


class FileKept(msgspec.Struct, frozen=True):
    """One file: its path inside the folder, its size and its digest (BLAKE2b, 32 hex digits)."""

    path: str
    bytes: int
    digest: str


class StoreKept(msgspec.Struct, frozen=True):
    """One store: its file, and what it says of itself."""

    path: str
    file: FileKept
    format: int
    schema: int
    head: int
    link: str
    entries: int


class Manifest(msgspec.Struct, frozen=True):
    """What a backup consists of. ``journal`` is the ledger's last record, ``feed`` what the folder is bound to."""

    version: int
    desk: str
    created_ns: int
    journal: int
    feed: str
    stores: tuple[StoreKept, ...]
    files: tuple[FileKept, ...]


class _Signed(msgspec.Struct, frozen=True):
    """The manifest and its own digest."""

    manifest: Manifest
    digest: str


# --- making -----------------------------------------------------------------------------------


def back_up(state: Path, folder: Path, clock: Clock, when_pinned: Callable[[], object] = lambda: None) -> Manifest:
    """Make a backup of a state folder, of a desk that runs or of one that does not.

    Args:
        state: The state folder.
        folder: Where the backup shall be; it is there whole, or not at all.
        clock: For the time in the manifest.
        when_pinned: Called once no writer is kept back any more.

    Raises:
        BackupError: There is something already, or no desk ever ran here.
        StoreError: A store is damaged or cannot be read.
    """
    stores = [path for path in store_folders(state) if path.relative_to(state).parts[0] not in _LEFT_OUT]
    if not stores:
        msg = f"there are no stores in {state}; has a desk ever run on it? Nothing was written"
        raise BackupError(msg)
    if folder.resolve().is_relative_to(state.resolve()):
        msg = f"{folder} lies in the state folder, which a restore puts aside; name one outside. Nothing was written"
        raise BackupError(msg)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        msg = f"{folder} is there already, and not empty; name a new folder. Nothing was written"
        raise BackupError(msg)
    stage = folder.with_name(f"{folder.name}.unfinished")
    shutil.rmtree(stage, ignore_errors=True)
    try:
        manifest = _fill(stage, state, stores, clock, when_pinned)
        folder.parent.mkdir(parents=True, exist_ok=True)
        stage.rename(folder)
    except OSError as error:
        shutil.rmtree(stage, ignore_errors=True)
        msg = f"{folder} cannot be written: {error}. There is no backup"
        raise BackupError(msg) from error
    except StoreError:
        shutil.rmtree(stage, ignore_errors=True)
        raise
    _sync(folder.parent)
    return manifest


def _fill(stage: Path, state: Path, stores: list[Path], clock: Clock, when_pinned: Callable[[], object]) -> Manifest:
    stage.mkdir(mode=0o700, parents=True)
    with at_one_moment(stores) as pinned:
        when_pinned()
        created_ns = clock.wall_ns()
        for store in pinned:
            store.copy_to(stage / store.path.relative_to(state))
    kept = tuple(_look(stage, stage / path.relative_to(state)) for path in stores)
    files = tuple(_copied(stage, state, path) for path in _plain_files(state))
    journal = next((store.head for store in kept if store.path == "ledger"), 0)
    feed = (state / "feed.json").read_text(encoding="utf-8") if (state / "feed.json").exists() else ""
    manifest = Manifest(1, version("bulkhead"), created_ns, journal, feed, kept, files)
    signed = _Signed(manifest, _digest(msgspec.json.encode(manifest)))
    (stage / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(signed)))
    for path in (stage, *stage.rglob("*")):
        _sync(path)
    return manifest


def _plain_files(state: Path) -> Iterator[Path]:
    yield from (state / name for name in _FILES if (state / name).is_file())
    for folder in _FOLDERS:
        for path in sorted((state / folder).rglob("*")):
            if path.is_file() and not path.is_symlink() and path.name not in {"data.mdb", "lock.mdb", "witness"}:
                yield path


def _copied(stage: Path, state: Path, path: Path) -> FileKept:
    target = stage / path.relative_to(state)
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    shutil.copyfile(path, target)
    return _file(stage, target)


def _look(root: Path, folder: Path) -> StoreKept:
    """Walk a store whole, and say what it is.

    Raises:
        StoreError: It is damaged.
    """
    reader = Reader.open(folder)
    try:
        reader.verify()
        found = reader.summary()
        head = reader.head()
    finally:
        reader.close()
    (folder / "lock.mdb").unlink(missing_ok=True)
    return StoreKept(
        str(folder.relative_to(root)),
        _file(root, folder / "data.mdb"),
        found.format,
        found.schema,
        head,
        found.link.hex(),
        found.entries,
    )


# --- using ------------------------------------------------------------------------------------


def check(folder: Path) -> Manifest:
    """Hold a backup against its manifest: every file's digest, every store from its first record to its last.

    Raises:
        BackupError: It is no backup, it is not whole, or something in it was changed.
        StoreError: A store in it is damaged.
    """
    try:
        signed = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=_Signed)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        msg = f"{folder} is no backup that can be used: {error}"
        raise BackupError(msg) from error
    manifest = signed.manifest
    if manifest.version != 1:
        msg = f"{folder}: a newer version of the desk, {manifest.desk}, made this backup; restore it with that one"
        raise BackupError(msg)
    if signed.digest != _digest(msgspec.json.encode(manifest)):
        msg = f"{folder / MANIFEST} was changed since the backup was made"
        raise BackupError(msg)
    for kept in (*manifest.files, *(store.file for store in manifest.stores)):
        _check_file(folder, kept)
    for store in manifest.stores:
        if _look(folder, folder / store.path) != store:
            msg = f"{folder / store.path} is not the store that was backed up"
            raise BackupError(msg)
    return manifest


def _check_file(folder: Path, kept: FileKept) -> None:
    path = folder / kept.path
    if ".." in Path(kept.path).parts or Path(kept.path).is_absolute():
        msg = f"{folder / MANIFEST} names {kept.path}, which is not in it"
        raise BackupError(msg)
    if not path.is_file() or _file(folder, path) != kept:
        msg = f"{path} is missing, or not what was backed up"
        raise BackupError(msg)


def restore(folder: Path, state: Path, clock: Clock, *, is_replaced: bool) -> tuple[Manifest, Path | None]:
    """Put a backup in the place of a state folder's stores; give its manifest, and where the former ones are now.

    Everything is checked and copied before anything is moved. A restore that is cut off leaves a mark, and no desk
    starts on the folder before it was done again. Logs, keys and a halt stay.

    Args:
        folder: The backup.
        state: The state folder; it need not be there.
        clock: For the wait for the folder's lock, and the name of what is put aside.
        is_replaced: Whether stores that are there may be put aside.

    Raises:
        BackupError: The backup cannot be used, or there are stores already.
        LockHeldError: A desk runs there.
        StoreError: A store of the backup is damaged.
    """
    manifest = check(folder)
    lock = FolderLock(state)
    lock.take(clock)
    try:
        if any(_there(state)) and not is_replaced and not (state / UNFINISHED).exists():
            msg = (
                f"{state} has stores already; nothing was changed. Name another folder with --state, or put them aside"
                " with --replace"
            )
            raise BackupError(msg)
        return manifest, _replace(folder, manifest, state, clock)
    except OSError as error:
        msg = f"{state} could not be written: {error}. The backup is unhurt; do it again once that is mended"
        raise BackupError(msg) from error
    finally:
        os.close(lock.descriptor)


def _replace(folder: Path, manifest: Manifest, state: Path, clock: Clock) -> Path | None:
    stage = state / _STAGE
    shutil.rmtree(stage, ignore_errors=True)
    for kept in (*manifest.files, *(store.file for store in manifest.stores)):
        target = stage / kept.path
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        shutil.copyfile(folder / kept.path, target)
        target.chmod(0o600)
        _check_file(stage, kept)
    for path in (stage, *stage.rglob("*")):
        _sync(path)
    (state / UNFINISHED).write_text(f"{folder.absolute()}\n", encoding="utf-8")
    _sync(state / UNFINISHED)
    _sync(state)
    aside = state / f"{ASIDE_PREFIX}before-restore-{clock.wall_ns()}"
    former = list(_there(state))
    for path in former:
        aside.mkdir(mode=0o700, exist_ok=True)
        path.rename(aside / path.name)
    for path in stage.iterdir():
        if path.name != "HALT" or not (state / "HALT").exists():
            path.rename(state / path.name)
    _sync(state)
    shutil.rmtree(stage)
    (state / UNFINISHED).unlink()
    _sync(state)
    return aside if former else None


def _there(state: Path) -> Iterator[Path]:
    """Give what a restore puts aside: everything that is not of the machine, and no older copy."""
    for path in sorted(state.iterdir()):
        if path.name not in STAYS and not path.name.startswith(ASIDE_PREFIX):
            yield path


def refuse_unfinished(state: Path) -> None:
    """Refuse a state folder whose restore was cut off.

    Raises:
        StartError: It was; the text says what to do.
    """
    if (state / UNFINISHED).exists():
        source = (state / UNFINISHED).read_text(encoding="utf-8", errors="replace").strip()
        msg = (
            f"a restore into {state} was cut off, so its stores may be of different times. Nothing was started.\n"
            f"  Do it again: bulkhead restore {quote(source)} --state {quote(str(state))}"
        )
        raise StartError(msg)


# --- files ------------------------------------------------------------------------------------


def _file(root: Path, path: Path) -> FileKept:
    found, size = hashlib.blake2b(digest_size=16), 0
    with path.open("rb") as file:
        while data := file.read(_CHUNK):
            found.update(data)
            size += len(data)
    return FileKept(str(path.relative_to(root)), size, found.hexdigest())


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
