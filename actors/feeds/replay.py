"""A feed of recorded files: bars or ticks as CSV, one file a symbol, merged in time."""

import functools
import gzip
import io
import itertools
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import msgspec

from actors.feeds.feed import FeedError
from desk.messages import Bar, Tick
from desk.ticks import RefusalCode, refusal
from desk.units import NS_PER_S, TIMEFRAME_UNIT_NS

#: How many rows tell the timeframe of a file of bars.
SAMPLE_ROWS = 200
#: A longer row is no row of ours; it is read in pieces, and each piece is refused.
ROW_LENGTH_MAX = 4096

BAR_COLUMNS = ("ts_ns", "open", "high", "low", "close", "volume")
QUOTE_COLUMNS = ("ts_ns", "bid", "ask")
TRADE_COLUMNS = ("ts_ns", "price")

Read = Callable[[list[str]], Bar | Tick]


class _Place(msgspec.Struct, frozen=True, array_like=True):
    """Where the reading of one file stands: ``rows`` up to and including the last event given."""

    symbol: str
    bytes_total: int
    rows: int
    last_ts_ns: int | None


class _State(msgspec.Struct, frozen=True, array_like=True):
    """Where the whole replay stands."""

    places: tuple[_Place, ...]
    refused: dict[str, int]


class ReplayFeed:
    """Give the events of {symbol: file}, merged by arrival; one row of each file is in memory at a time.

    A file is CSV or gzipped CSV with a header: ``ts_ns, open, high, low, close, volume`` for bars (``ts_ns`` is
    the open), ``ts_ns, bid, ask`` or ``ts_ns, price[, size]`` for ticks; other columns are ignored. A row that is
    malformed, impossible or out of order is counted in ``refused`` and left out.
    """

    def __init__(self, files: Mapping[str, str | Path]) -> None:
        """Open all files and learn what they hold.

        Raises:
            FeedError: A file is missing, empty, damaged, or lacks columns.
        """
        if not files:
            msg = "the replay feed names no file; give it files: {SYMBOL: path}"
            raise FeedError(msg)
        self.refused: Counter[str] = Counter()
        self._sources: list[_Source] = []
        try:
            for symbol in sorted(files):
                self._sources.append(_Source(symbol, Path(files[symbol])))
        except FeedError:
            self.close()
            raise
        self.timeframes: dict[str, str | None] = {source.symbol: source.timeframe for source in self._sources}

    def next_event(self) -> Bar | Tick | None:
        """Give the next event, or None once every file has ended.

        Raises:
            FeedError: A file is damaged further on.
        """
        first: _Source | None = None
        for source in self._sources:
            if not source.has_more():
                self.refused.update(source.take_refused())
            elif first is None or source.arrival_ns < first.arrival_ns:
                # Sources are in the order of symbols, so of two that arrive together the first one stays.
                first = source
        if first is None:
            return None
        event = first.take()
        self.refused.update(first.take_refused())
        return event

    def state(self) -> bytes:
        """Give the place after the last event given."""
        places = tuple(source.place for source in self._sources)
        return msgspec.msgpack.encode(_State(places, dict(self.refused)))

    def restore(self, state: bytes) -> None:
        """Go to a place that ``state`` gave.

        Raises:
            FeedError: The place names other symbols, or a file has changed since.
        """
        kept = msgspec.msgpack.decode(state, type=_State)
        if [place.symbol for place in kept.places] != [source.symbol for source in self._sources]:
            was = ", ".join(place.symbol for place in kept.places)
            msg = f"the kept place is of a replay of {was}; replay the same files, or use another state folder"
            raise FeedError(msg)
        for source, place in zip(self._sources, kept.places, strict=True):
            source.restore(place)
        self.refused = Counter(kept.refused)

    def close(self) -> None:
        """Close the files."""
        for source in self._sources:
            source.close()


class _Source:
    """One file: reads one event ahead, and knows the place before it."""

    def __init__(self, symbol: str, path: Path) -> None:
        self.symbol = symbol
        self.arrival_ns = 0
        self._path = path
        self._ahead: Bar | Tick | None = None
        self._has_ended = False
        self._refused: Counter[str] = Counter()
        self._rows = 0
        self._last_ts_ns: int | None = None
        try:
            self._bytes_total = path.stat().st_size
            self._file = _open(path)
        except OSError as error:
            msg = f"the replay file of {symbol}, {path}: {error.strerror}; correct its path in feed: files:"
            raise FeedError(msg) from error
        self.place = _Place(symbol, self._bytes_total, 0, None)
        try:
            self._lines = self._rewound()
            self.timeframe, self._read = _reader(symbol, path, self._sample())
            self.restore(self.place)
        except FeedError:
            self.close()
            raise

    def has_more(self) -> bool:
        """Read ahead where needed; while True, ``arrival_ns`` is the time of the event to take."""
        while self._ahead is None and not self._has_ended:
            line = self._next_line()
            if not line:
                self._has_ended = True
                self.place = _Place(self.symbol, self._bytes_total, self._rows, self._last_ts_ns)
                break
            self._rows += 1
            self._ahead = self._event(line)
        return self._ahead is not None

    def take(self) -> Bar | Tick:
        """Take the event that ``has_more`` promised; the place moves behind it."""
        event = self._ahead
        assert event is not None, "has_more() did not promise an event"
        self._ahead = None
        self._last_ts_ns = event.ts_ns
        self.place = _Place(self.symbol, self._bytes_total, self._rows, event.ts_ns)
        return event

    def take_refused(self) -> Counter[str]:
        """Give, once, the rows refused up to the place."""
        refused, self._refused = self._refused, Counter[str]()
        return refused

    def restore(self, place: _Place) -> None:
        """Go to a place of this file."""
        if place.bytes_total != self._bytes_total:
            msg = (
                f"{self._path} has changed: it has {self._bytes_total} bytes and had {place.bytes_total} when its "
                "replay began; bring the old file back, or use another state folder"
            )
            raise FeedError(msg)
        self._lines = self._rewound()
        for _ in range(place.rows + 1):
            if not self._next_line():
                msg = f"{self._path} has fewer rows than were replayed already; bring the old file back"
                raise FeedError(msg)
        self.place = place
        self._ahead = None
        self._has_ended = False
        self._refused = Counter()
        self._rows = place.rows
        self._last_ts_ns = place.last_ts_ns

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _rewound(self) -> Iterator[str]:
        self._file.seek(0)
        return iter(functools.partial(self._file.readline, ROW_LENGTH_MAX), "")

    def _next_line(self) -> str:
        try:
            return next(self._lines, "")
        except (OSError, EOFError, zlib.error) as error:
            msg = f"{self._path} is damaged after row {self._rows} ({error}); fetch the file again"
            raise FeedError(msg) from error

    def _sample(self) -> list[list[str]]:
        lines = (self._next_line() for _ in range(SAMPLE_ROWS + 1))
        return [line.rstrip("\r\n").split(",") for line in lines if line.strip()]

    def _event(self, line: str) -> Bar | Tick | None:
        if line.isspace():
            return None
        try:
            event = self._read(line.split(","))
        except (ValueError, IndexError):
            self._refused[RefusalCode.MALFORMED.value] += 1
            return None
        code = refusal(event, self._last_ts_ns)
        if code is not None:
            self._refused[code.value] += 1
            return None
        self.arrival_ns = event.end_ns if isinstance(event, Bar) else event.ts_ns
        return event


def _open(path: Path) -> io.TextIOWrapper:
    with path.open("rb") as file:
        is_gzip = file.read(2) == b"\x1f\x8b"
    binary = gzip.open(path, "rb") if is_gzip else path.open("rb")  # noqa: SIM115 - the text wrapper owns and closes it
    return io.TextIOWrapper(binary, encoding="utf-8-sig", errors="replace", newline="\n")


def _reader(symbol: str, path: Path, sample: list[list[str]]) -> tuple[str | None, Read]:
    """Give the timeframe (None for ticks) and the function that turns the fields of a row into an event."""
    if not sample:
        msg = f"the replay file of {symbol}, {path}, is empty; fetch the file again"
        raise FeedError(msg)
    header, rows = [name.strip().lower() for name in sample[0]], sample[1:]
    if not rows:
        msg = f"the replay file of {symbol}, {path}, has a header and no row; fetch the file again"
        raise FeedError(msg)
    if set(BAR_COLUMNS) <= set(header):
        length_ns = _spacing_ns(symbol, path, rows, header.index("ts_ns"))
        timeframe = _timeframe_of(symbol, path, length_ns)
        return timeframe, _bar_reader(symbol, timeframe, length_ns, [header.index(name) for name in BAR_COLUMNS])
    if set(QUOTE_COLUMNS) <= set(header):
        return None, _quote_reader(symbol, [header.index(name) for name in QUOTE_COLUMNS])
    if set(TRADE_COLUMNS) <= set(header):
        size = header.index("size") if "size" in header else None
        return None, _trade_reader(symbol, header.index("ts_ns"), header.index("price"), size)
    msg = (
        f"the replay file of {symbol}, {path}, has the columns {', '.join(header)[:200]}; "
        f"want {', '.join(BAR_COLUMNS)} for bars, or {', '.join(QUOTE_COLUMNS)} or {', '.join(TRADE_COLUMNS)} for ticks"
    )
    raise FeedError(msg)


def _bar_reader(symbol: str, timeframe: str, length_ns: int, columns: list[int]) -> Read:
    at_ts, at_open, at_high, at_low, at_close, at_volume = columns

    def read(fields: list[str]) -> Bar:
        ts_ns = int(fields[at_ts])
        return Bar(
            symbol,
            timeframe,
            ts_ns,
            ts_ns + length_ns,
            float(fields[at_open]),
            float(fields[at_high]),
            float(fields[at_low]),
            float(fields[at_close]),
            float(fields[at_volume]),
        )

    return read


def _quote_reader(symbol: str, columns: list[int]) -> Read:
    at_ts, at_bid, at_ask = columns

    def read(fields: list[str]) -> Tick:
        bid, ask = float(fields[at_bid]), float(fields[at_ask])
        return Tick(symbol, int(fields[at_ts]), (bid + ask) / 2.0, bid, ask)

    return read


def _trade_reader(symbol: str, at_ts: int, at_price: int, at_size: int | None) -> Read:
    def read(fields: list[str]) -> Tick:
        size = 0.0 if at_size is None else float(fields[at_size])
        return Tick(symbol, int(fields[at_ts]), float(fields[at_price]), 0.0, 0.0, size)

    return read


def _spacing_ns(symbol: str, path: Path, rows: list[list[str]], at_ts: int) -> int:
    """Give the smallest spacing of the rows that is no rare exception among them."""
    times = [int(fields[at_ts]) for fields in rows if len(fields) > at_ts and fields[at_ts].isdecimal()]
    counts = Counter(later - earlier for earlier, later in itertools.pairwise(times) if later > earlier)
    if not counts:
        msg = f"the replay file of {symbol}, {path}, has too few rows to tell the length of its bars; want two or more"
        raise FeedError(msg)
    most = max(counts.values())
    return min(spacing for spacing, count in counts.items() if 4 * count >= most)


def _timeframe_of(symbol: str, path: Path, length_ns: int) -> str:
    for unit, unit_ns in sorted(TIMEFRAME_UNIT_NS.items(), key=lambda item: -item[1]):
        if length_ns % unit_ns == 0:
            return f"{length_ns // unit_ns}{unit}"
    msg = (
        f"the bars of the replay file of {symbol}, {path}, lie {length_ns / NS_PER_S} s apart; "
        "want a whole number of seconds"
    )
    raise FeedError(msg)
