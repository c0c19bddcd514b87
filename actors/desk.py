"""Starting a desk on its state folder: the lock, the binding to a feed, the stores, the root supervisor."""

import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from shlex import quote
from shutil import rmtree
from subprocess import TimeoutExpired
from subprocess import run as run_process
from typing import NoReturn

import msgspec

from actors.alarm_rules import WATCHED_FACTS
from actors.arguments import store_path
from actors.backup import refuse_unfinished
from actors.carried_over import carry_over
from actors.migrations import convert_stores, schema_of
from actors.pinned_code import CodeShelf
from actors.room_put_by import SUPERVISOR_RESERVE_BYTES, halting_on_low
from actors.settings import Settings, settings_fingerprint
from actors.tree import PRELOAD, REHEARSAL, ROOM, VERDICT, configured, desk_tree, store_paths, strategy_paths
from actors.words import desk_codec
from runtime.beacon import SUFFIX
from runtime.check import FOREIGN
from runtime.clock import NS_PER_S, Clock
from runtime.errors import OperatingError, StartError
from runtime.file import replace_file
from runtime.folder import FolderLock, Sentinel, keep_from_cleaners, socket_folder
from runtime.keeper import Keeper
from runtime.log import Log
from runtime.root import Root, RootSettings
from runtime.store import Reader, Store
from runtime.store_making import make_stores
from runtime.store_witness import NAME as WITNESS

CHECK_TIMEOUT_S = 300
#: Where root's own store lies.
SUPERVISOR = "supervisor"


class Binding(msgspec.Struct, frozen=True):
    """Which feed a state folder belongs to."""

    fingerprint: str
    words: str


def run_desk(
    settings: Settings,
    *,
    file: Path,
    state: Path,
    duration_s: float,
    clock: Clock,
    on_round: Callable[[Root], None],
) -> int:
    """Run a desk until it stops; give the exit code.

    Raises:
        StartError, LockHeldError: It cannot start, and nothing was started; the text says what to do.
        OSError: The same; the system refused something.
    """
    lock = FolderLock(state)
    lock.take(clock)
    log = Log.open(state / "log", "root", settings.log_level, is_echoed=True)
    refuse_unfinished(state)
    Sentinel(state).prepare()
    _bind(state, settings)
    rmtree(state / "candidates", ignore_errors=True)  # no swap outlives a desk, and what it left is nobody's books
    check_stores(state)
    converted = convert_stores(state)
    if converted:
        log.info("stores.converted", stores=", ".join(str(folder.relative_to(state)) for folder in converted))
    settings = carry_over(settings, state)
    wanted = configured(settings)
    refuse_missing(state, [path for path in store_paths(settings) if path not in wanted])
    sockets = socket_folder(state)
    _clear(sockets)
    keep_from_cleaners(sockets)
    replace_file(state / "endpoints", f"{sockets}\n".encode())  # at once, or a client could read half of it
    on_low = halting_on_low(Sentinel(state), log)
    kept = Store.open(
        state / SUPERVISOR,
        is_synced=False,
        reserve_bytes=SUPERVISOR_RESERVE_BYTES,
        on_low=on_low,
        owner=SUPERVISOR,
    )
    keeper = Keeper(kept, wanted)
    shelf = CodeShelf(state)
    pins = shelf.begin(settings, clock.wall_ns())
    root = Root(
        desk_tree(settings, str(file.absolute()), {name: pin.code for name, pin in pins.items()}),
        RootSettings(
            state=state.resolve(),
            sockets=sockets,
            lock_descriptor=lock.descriptor,
            preload=PRELOAD,
            spares=1,
            rehearsal=REHEARSAL,
            log_level=settings.log_level,
            told_kinds=frozenset({ROOM}),
            verdict=VERDICT,
            watchdog="watchdog",
            watched_facts=WATCHED_FACTS,
            duration_ns=int(duration_s * NS_PER_S),
        ),
        keeper,
        desk_codec(),
        clock,
        log,
        on_round,
        lambda tree: _make_stores(state, strategy_paths(tree)),
    )
    log.info("desk.starts", **_summary(settings))
    try:
        root.warm_up()
        try:
            _make_stores(state, store_paths(settings))  # before the first child
        except BaseException:
            root.abandon()
            raise
        code = _run(root, log)
        if code == 0:
            shelf.drop_pins()  # whoever stops a desk in good order takes the files as they are at the next start
        return code
    finally:
        keeper.close()
        with suppress(OSError):  # systemd's own folder stays, and what cannot be removed the next start removes
            (state / "endpoints").unlink(missing_ok=True)
            _clear(sockets)
            sockets.rmdir()


def _run(root: Root, log: Log) -> int:
    """Run a tree; one that fell of what the system refused has begun, so that is no refusal to start it."""
    try:
        return root.run()
    except (OSError, OperatingError) as error:
        log.trace("root.fell", error)
        return 1


def _clear(sockets: Path) -> None:
    """Remove the sockets and the beacons of a desk that is down."""
    for stale in sockets.iterdir():
        if stale.is_socket() or stale.suffix == SUFFIX:
            stale.unlink()


def _summary(settings: Settings) -> dict[str, object]:
    """Give all limits in one line for the log."""
    return {
        "feed": msgspec.to_builtins(settings.feed),
        "venue": settings.venue.name,
        "paper": msgspec.to_builtins(settings.paper),
        "risk": msgspec.to_builtins(settings.risk),
        "balance": str(settings.default_balance),
        "strategies": {
            entry.name: {"enabled": entry.enabled, "risk": msgspec.to_builtins(entry.risk_config)}
            for entry in settings.strategies
        },
    }


def _bind(state: Path, settings: Settings) -> None:
    """Bind a new state folder to its feed; refuse another feed on an old one."""
    path = state / "feed.json"
    feed = settings.feed
    source = feed.url or ", ".join(f"{s}: {p}" for s, p in feed.files.items()) or f"seed {feed.seed}"
    venue = f"@{settings.venue.name}:{settings.venue.rules}" if settings.venue.is_remote else ""
    ours = Binding(settings_fingerprint(feed) + venue, f"{feed.kind.value} ({source}), venue {settings.venue.name}")
    if not path.exists():
        if any(state.glob("*/data.mdb")):
            msg = (
                f"{path} is missing, which says of which market the orders and positions in {state} are.\n"
                f"  Nothing was started. Keep a copy of the folder, then: {_restoring(state)}"
            )
            raise StartError(msg)
        path.write_bytes(msgspec.json.encode(ours))
        return
    try:
        kept = msgspec.json.decode(path.read_bytes(), type=Binding)
    except msgspec.DecodeError as error:
        msg = f"{path} cannot be read ({error}); choose another folder with --state, nothing was started"
        raise StartError(msg) from error
    if kept.fingerprint != ours.fingerprint:
        msg = (
            f"{state} belongs to another feed or venue.\n  It was made with:   {kept.words}\n"
            f"  The file now says:  {ours.words}\n"
            "  Its positions and orders live in that market. Nothing was started. Choose another folder with"
            " --state, or restore the feed and the venue in the configuration"
        )
        raise StartError(msg)


def check_stores(state: Path) -> None:
    """Open and walk every store in a throw-away process first: a damaged one may kill its reader.

    Raises:
        StartError: A store is damaged, or another's. The desk is halted until a person resumes it.
    """
    if not any(state.glob("*/data.mdb")):
        return
    command = [sys.executable, "-P", "-m", "runtime.check", str(state)]
    try:
        done = run_process(command, capture_output=True, timeout=CHECK_TIMEOUT_S, check=False)  # noqa: S603 - our own module
        code, said = done.returncode, done.stdout
    except TimeoutExpired as error:
        code, said = None, error.stdout or b""
    if code == 0:
        return
    last = (said.decode(errors="replace").strip().splitlines() or [f"{state}: the check died"])[-1]
    late = f"it could not be read within {CHECK_TIMEOUT_S} s"
    ended = late if code is None else f"reading it killed the reader (status {code})"
    if code == FOREIGN:
        _refuse(state, f"a store is in another's place: {last}")
    _refuse(state, f"a store is damaged: {last if code == 1 else f'{last}: {ended}'}")


def refuse_missing(state: Path, paths: Iterable[str]) -> None:
    """Refuse a folder on which a desk has run, and of which a store is gone: it would begin anew, and trade on.

    Every store was made before the first of them got a record, so one that never was is told from one that is gone. Of
    strategies' stores, which come with their entries, the witness tells.

    Args:
        state: The folder; every store that is there is whole.
        paths: The processes, but for strategies, that keep a store in it.

    Raises:
        StartError: A store is missing. The desk is halted until a person resumes it.
    """
    stores = [state / SUPERVISOR, *(store_path(state, path) for path in paths)]
    missing = [folder for folder in stores if not _has_data(folder)]
    if not any(_has_records(folder) for folder in stores if folder not in missing):
        missing = []
    missing += [witness.parent for witness in state.glob(f"strategies/*/{WITNESS}") if not _has_data(witness.parent)]
    if missing:
        _refuse(state, f"a store is missing: {', '.join(map(str, sorted(missing)))}")


def _has_data(folder: Path) -> bool:
    return (folder / "data.mdb").exists()


def _has_records(folder: Path) -> bool:
    reader = Reader.open(folder)
    try:
        return reader.head() > 0
    finally:
        reader.close()


def _refuse(state: Path, reason: str) -> NoReturn:
    """Halt the desk, and say what to do."""
    Sentinel(state).write(reason)
    msg = (
        f"{reason}\n  Nothing was started and no order was sent; resting stops at venues stay."
        f"\n  The desk is halted until you resume it. Keep a copy of the folder, then: {_restoring(state)}"
    )
    raise StartError(msg)


def _restoring(state: Path) -> str:
    """Say how a backup comes into this folder, and into no other."""
    return f"bulkhead restore BACKUP --replace --state {quote(str(state))}"


def _make_stores(state: Path, paths: Iterable[str]) -> None:
    """Make every store before its child starts, so that readers find it. What is there is left as it is."""
    folders = [store_path(state, path) for path in paths]
    make_stores((folder, schema_of(state, folder).version) for folder in folders)
