"""Bars built from ticks or from smaller bars; only complete ones come out."""

import msgspec

from desk.messages import Bar, Tick
from desk.ticks import RefusalCode
from desk.units import timeframe_ns


class BarBuilderState(msgspec.Struct, frozen=True, array_like=True):
    """Everything a builder remembers. ``start_ns`` is the open bar's open, or None where none is open.

    Up to ``closed_ns`` all is told: nothing older may enter any more.
    """

    start_ns: int | None
    open: float
    high: float
    low: float
    close: float
    volume: float
    closed_ns: int


EMPTY = BarBuilderState(start_ns=None, open=0.0, high=0.0, low=0.0, close=0.0, volume=0.0, closed_ns=0)


def next_start_ns(time_ns: int, length_ns: int) -> int:
    """Give the first start of an interval of ``length_ns`` at or behind a time; both > 0."""
    return -(-time_ns // length_ns) * length_ns


class BarBuilder:
    """Build the bars of one symbol and timeframe, aligned to multiples of the timeframe since 1970.

    For every event of the market, whatever its symbol, call ``close_before`` with the event's time first
    (a tick's time, a feed bar's end); then, for an event of this symbol, ``misfit`` and ``add``.
    An interval without an event yields no bar.
    """

    def __init__(self, symbol: str, timeframe: str, source: str | None = None) -> None:
        """Begin with no open bar.

        Args:
            symbol: Whose bars these are.
            timeframe: The bars that shall come out, such as ``5m``.
            source: The timeframe of the feed's bars, or None where the feed gives ticks.

        Raises:
            ValueError: Bars of ``timeframe`` cannot be made of whole bars of ``source``.
        """
        self.symbol = symbol
        self.timeframe = timeframe
        self.source = source
        self._length_ns = timeframe_ns(timeframe)
        source_ns = self._length_ns if source is None else timeframe_ns(source)
        if source_ns > self._length_ns or self._length_ns % source_ns:
            msg = (
                f"bars of {timeframe} cannot be built from the feed's bars of {source} for {symbol}: "
                f"ask for {source} or a whole multiple of it, or use a feed with smaller bars"
            )
            raise ValueError(msg)
        self._passes_through = source is not None and source_ns == self._length_ns
        self._open = EMPTY

    def close_before(self, time_ns: int) -> Bar | None:
        """Close the open bar where no event at or after ``time_ns`` can belong to it any more.

        A tick at a bar's end belongs to the next bar, so a bar of ticks is closed when its end is at or before
        the time. A feed bar arrives at its end and may complete the very bar that ends then, so a bar of bars
        is closed only when its end is strictly before the time.
        """
        start_ns = self._open.start_ns
        if start_ns is None:
            return None
        end_ns = start_ns + self._length_ns
        is_over = end_ns <= time_ns if self.source is None else end_ns < time_ns
        return self._close(start_ns) if is_over else None

    def misfit(self, event: Tick | Bar) -> RefusalCode | None:
        """Say why this event of the own symbol cannot enter any bar, or None where it can."""
        if self._passes_through:
            return None
        if event.ts_ns < self._open.closed_ns:
            return RefusalCode.OUT_OF_ORDER
        start_ns = event.ts_ns - event.ts_ns % self._length_ns
        if self._open.start_ns is not None and start_ns < self._open.start_ns:
            return RefusalCode.OUT_OF_ORDER
        if isinstance(event, Bar) and event.end_ns > start_ns + self._length_ns:
            return RefusalCode.INCONSISTENT
        return None

    def add(self, event: Tick | Bar) -> Bar | None:
        """Take in one event of the own symbol; give the bar that it completes, or None.

        A tick never completes the bar it belongs to. A feed bar of the wanted timeframe comes out unchanged;
        its order in time is the feed's affair.
        """
        assert event.symbol == self.symbol, "an event of another symbol"
        assert isinstance(event, Bar) is (self.source is not None), "an event of another kind than was declared"
        assert self.misfit(event) is None, "an event that misfit() refuses"
        if isinstance(event, Bar):
            return self._add_bar(event)
        self._merge(event.ts_ns, (event.price, event.price, event.price, event.price), event.size)
        return None

    def state(self) -> BarBuilderState:
        """Give all that is remembered."""
        return self._open

    def restore(self, state: BarBuilderState) -> None:
        """Continue from what ``state`` gave."""
        self._open = state

    def _add_bar(self, bar: Bar) -> Bar | None:
        if self._passes_through:
            is_same = bar.timeframe == self.timeframe
            return bar if is_same else msgspec.structs.replace(bar, timeframe=self.timeframe)
        self._merge(bar.ts_ns, (bar.open, bar.high, bar.low, bar.close), bar.volume)
        start_ns = self._open.start_ns
        assert start_ns is not None, "a bar was merged, so one is open"
        return self._close(start_ns) if bar.end_ns == start_ns + self._length_ns else None

    def _merge(self, ts_ns: int, prices: tuple[float, float, float, float], volume: float) -> None:
        """Take (open, high, low, close) and a volume into the open bar, or open one with them."""
        opened, high, low, close = prices
        start_ns = ts_ns - ts_ns % self._length_ns
        was = self._open
        if was.start_ns is None:
            self._open = BarBuilderState(start_ns, opened, high, low, close, volume, was.closed_ns)
            return
        assert was.start_ns == start_ns, "close_before() was not called for this event"
        self._open = BarBuilderState(
            start_ns, was.open, max(was.high, high), min(was.low, low), close, was.volume + volume, was.closed_ns
        )

    def _close(self, start_ns: int) -> Bar:
        was = self._open
        end_ns = start_ns + self._length_ns
        self._open = msgspec.structs.replace(EMPTY, closed_ns=end_ns)
        return Bar(self.symbol, self.timeframe, start_ns, end_ns, was.open, was.high, was.low, was.close, was.volume)
