"""What a desk recorded, read from a copy of its state folder."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import msgspec

from actors.arguments import MARKET_DATA, PAPER, store_path
from actors.backup import back_up, refuse_unfinished
from actors.chapters import Chapter, Evaluated, read_chapters
from actors.execution.remembering import Told, read_told
from actors.journal import strategy_of
from actors.judgements import Judgement, LimitsTold, read_judgements
from actors.pinned_code import CodeShelf
from actors.recording import read_parts
from actors.replaying.parts import Asked, ReplayError, Side, utc
from actors.topics import bar_topic, strategy_path
from actors.views import journal_row
from actors.words import desk_codec
from desk.messages import (
    Bar,
    Intent,
    IntentJudged,
    JournalRecord,
    OrderChanged,
    VenueReport,
)
from runtime.clock import Clock
from runtime.errors import StoreError
from runtime.folder import store_folders
from runtime.store import Reader

T = TypeVar("T")

_OF_ANOTHER = "it was written by another version of the desk; replay it with that one"


@contextmanager
def consistent_copy(state: Path, clock: Clock) -> Generator[Path]:
    """Give a copy of a state folder as it is at one moment, also of a desk that runs; it is gone afterwards.

    Of a desk that stands the files are copied as they are, and none can start meanwhile: nothing is written there.

    Raises:
        ReplayError: No desk ever ran there, or a restore into it was cut off.
        StoreError: A store is damaged.
    """
    if not (store_path(state, "execution") / "data.mdb").exists():
        msg = f"{state}: there is no journal here; has a desk ever run on {state}? Name its folder with --state"
        raise ReplayError(msg)
    refuse_unfinished(state)
    with tempfile.TemporaryDirectory(prefix="bulkhead-replay-") as folder:
        copy = Path(folder) / "state"
        with _standing(state) as stands:
            if stands:
                _copy(state, copy)
        if not stands:
            back_up(state, copy, clock)
        yield copy


@contextmanager
def _standing(state: Path) -> Generator[bool]:
    """Keep a desk from starting on a folder; False where one runs."""
    try:
        descriptor = os.open(state / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:  # a folder that was put together from a backup
        yield True
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        yield False
        return
    try:
        yield True
    finally:
        os.close(descriptor)


def _copy(state: Path, copy: Path) -> None:
    for store in store_folders(state):
        target = copy / store.relative_to(state)
        target.mkdir(mode=0o700, parents=True)
        for name in ("data.mdb", "witness"):
            if (store / name).exists():
                shutil.copyfile(store / name, target / name)
    if (state / CodeShelf.FOLDER).is_dir():
        shutil.copytree(state / CodeShelf.FOLDER, copy / CodeShelf.FOLDER)


class Recorded:
    """Everything that a state folder knows of what its desk heard and decided, up to where it is asked for."""

    def __init__(self, state: Path, asked: Asked) -> None:
        """Walk the stores, then read them whole.

        Raises:
            StoreError: One is damaged, or of another version; the text says which record.
            ReplayError: ``asked`` names a record that is not there.
        """
        self.state = state
        self._codec = desk_codec()
        with _opened(store_path(state, "execution")) as ledger:
            self.told: list[tuple[int, Told]] = _decoded(ledger, lambda: list(read_told(ledger)))
            raw = [data for _, data in ledger.records()]
        self.records: list[JournalRecord] = [self._codec.decode(data) for data in raw]
        self.raw = raw
        self.head = self._until(asked)
        with _opened(store_path(state, MARKET_DATA)) as market:
            bars: list[Bar] = [self._codec.decode(data) for _, data in market.records()]
        self.bars = [bar for bar in bars if self._is_wanted(bar, asked)]
        self.judgements: list[LimitsTold | Judgement] = []
        self.waiting: dict[str, Intent] = {}
        if (store_path(state, "risk") / "data.mdb").exists():
            with _opened(store_path(state, "risk")) as risk:
                self.judgements = _decoded(risk, lambda: read_judgements(risk))
                self.waiting = {key.decode(): self._codec.decode(data) for key, data in risk.scan("waiting")}
        self.reports: list[VenueReport] = []
        self.is_paper = (store_path(state, PAPER) / "data.mdb").exists()
        if self.is_paper:
            with _opened(store_path(state, PAPER)) as venue:
                self.reports = [self._codec.decode(data) for _, data in venue.records()]
        self.own = self._own()

    def _until(self, asked: Asked) -> int:
        head = len(self.records)
        if asked.until is not None:
            if not 0 < asked.until <= head:
                msg = f"there is no record {asked.until}; the journal has the records 1 to {head}"
                raise ReplayError(msg)
            head = asked.until
        if asked.until_ns is not None:
            stamps = (stamp_ns(record) for record in self.records[:head])
            head = next((place for place, at_ns in enumerate(stamps) if at_ns > asked.until_ns), head)
        return head

    def _is_wanted(self, bar: Bar, asked: Asked) -> bool:
        if asked.until_ns is not None and bar.end_ns > asked.until_ns:
            return False
        return asked.until is None or bar.journal_sequence <= self.head

    def _own(self) -> dict[str, list[JournalRecord]]:
        own: dict[str, list[JournalRecord]] = {}
        for record in self.records[: self.head]:
            strategy = strategy_of(record.body)
            if strategy:
                own.setdefault(strategy, []).append(record)
        return own

    # --- looking ------------------------------------------------------------------------------

    def strategies(self) -> list[str]:
        """Name the strategies that have a store."""
        folder = self.state / "strategies"
        return sorted(path.name for path in folder.iterdir() if (path / "data.mdb").exists()) if folder.is_dir() else []

    def chapters(self, strategy: str) -> list[Chapter | Evaluated]:
        """Give under what a strategy evaluated."""
        with _opened(store_path(self.state, strategy_path(strategy))) as store:
            return _decoded(store, lambda: read_chapters(store))

    def is_recorded(self, strategy: str) -> bool:
        """Say whether all that a strategy was told was kept, of one start at least."""
        with _opened(store_path(self.state, strategy_path(strategy))) as store:
            return any(not part.gone for part in read_parts(store).values())

    def bars_of(self, symbols: Iterable[str], timeframe: str) -> list[Bar]:
        """Give the bars that a strategy of these symbols hears, in order."""
        topics = {bar_topic(symbol, timeframe) for symbol in symbols}
        return [bar for bar in self.bars if bar_topic(bar.symbol, bar.timeframe) in topics]

    def is_within(self, intent: Intent) -> bool:
        """Say whether an intent was decided at a bar that counts; of a tick nobody can tell, and it counts."""
        if not intent.bar_sequence:
            return True
        return bool(self.bars) and intent.bar_sequence <= self.bars[-1].sequence

    def verdicts(self) -> dict[str, IntentJudged]:
        """Give all verdicts that risk passed, by their order's id."""
        found: dict[str, IntentJudged] = {}
        for each in self.judgements:
            if isinstance(each, Judgement):
                found.update((judged.order_id, judged) for judged in each.verdicts)
        return found


@contextmanager
def _opened(path: Path) -> Generator[Reader]:
    reader = Reader.open(path)
    try:
        reader.verify()
        yield reader
    finally:
        reader.close()


def _decoded(reader: Reader, read: Callable[[], T]) -> T:
    try:
        return read()
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        msg = f"{reader.path}: {_OF_ANOTHER} ({error})"
        raise StoreError(msg) from error


def stamp_ns(record: JournalRecord) -> int:
    """Give the market time that a record bears."""
    return record.body.order.changed_ns if isinstance(record.body, OrderChanged) else record.body.ts_ns


def moment(record: JournalRecord) -> Side:
    """Say one record of the journal in a line."""
    row = journal_row(record)
    text = f"record {record.sequence}: {row['strategy']} {row['text']}".replace(":  ", ": ")
    return Side(utc(stamp_ns(record)), text)
