"""A made-up market: one-minute bars that are realistic enough to trade upon, the same on every machine.

Each symbol has its own chance, drawn from the seed and its name, so adding a symbol changes no other. A price is a
fair value that wanders times one plus a displacement that is pulled back to zero over some twenty minutes; hence
prices stray from the volume-weighted average and come back. Only + - * / and integers are used, which give the
same bits everywhere. Shares trade in New York's sessions (09:30-16:00 on weekdays, holidays are not known);
everything else trades around the clock.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

import msgspec

from actors.calendar import instant_ns
from actors.feeds.feed import FeedError
from desk.messages import Bar
from desk.units import DAY_NS, MINUTE_NS, NS_PER_S

#: Monday 2024-01-08 14:20Z: shares open ten minutes later.
START_NS = 1_704_723_600 * NS_PER_S
#: The feed ends before times outgrow 64 bits.
END_NS = int(datetime(2200, 1, 1, tzinfo=UTC).timestamp()) * NS_PER_S
TIMEFRAME = "1m"

SESSION_OPEN_S = 9 * 3600 + 30 * 60
SESSION_CLOSE_S = 16 * 3600
SESSION_MINUTES = 390
SATURDAY = 5


class Profile(msgspec.Struct, frozen=True):
    """How one symbol behaves.

    ``fair_step`` and ``stray_step`` are standard deviations of one minute's relative move of the fair value and of
    the displacement; ``stray_pull`` is the share of the displacement that a minute takes back. ``ticks_per_unit``
    is the reciprocal of the price step.
    """

    price: float
    ticks_per_unit: int
    volume: int
    fair_step: float
    stray_step: float
    stray_pull: float = 0.05
    is_share: bool = False


PROFILES: dict[str, Profile] = {
    "SPY": Profile(475.0, 100, 180_000, 0.000_10, 0.000_90, is_share=True),
    "QQQ": Profile(402.0, 100, 110_000, 0.000_13, 0.001_05, is_share=True),
    "BTCUSD": Profile(44_000.0, 100, 14, 0.000_25, 0.001_00),
    "ETHUSD": Profile(2_250.0, 100, 190, 0.000_30, 0.001_10),
    "EURUSD": Profile(1.0950, 100_000, 900, 0.000_04, 0.000_35),
    "GBPUSD": Profile(1.2720, 100_000, 800, 0.000_05, 0.000_40),
    "XAUUSD": Profile(2_030.0, 100, 600, 0.000_07, 0.000_60),
}


class _Kept(msgspec.Struct, array_like=True, gc=False):
    """What decides all further bars of one symbol."""

    symbol: str
    chance: int
    next_ns: int
    fair: float
    stray: float
    close_ticks: int


class _State(msgspec.Struct, frozen=True, array_like=True):
    """Where the whole feed stands."""

    seed: int
    kept: list[_Kept]


class SyntheticFeed:
    """Give the one-minute bars of the symbols, merged by arrival, without end (until the year 2200).

    A symbol without a profile of its own is treated as a share where its name is one to five capital letters, and
    as traded around the clock otherwise; its price follows from its name.
    """

    def __init__(self, symbols: Sequence[str], seed: int = 1, start_ns: int = START_NS) -> None:
        """Stand before the first bar.

        Args:
            symbols: The symbols, each once.
            seed: 0..2**64-1; another seed is another market.
            start_ns: No bar opens before this time (ns since 1970, UTC).

        Raises:
            FeedError: No symbol, a symbol twice, or a seed or start out of range.
        """
        if not symbols or len(set(symbols)) != len(symbols):
            msg = f"the synthetic feed needs one or more symbols, each once; it got {list(symbols)}"
            raise FeedError(msg)
        if not 0 <= seed < 2**64:
            msg = f"the synthetic feed's seed must lie in 0..2**64-1; it is {seed}"
            raise FeedError(msg)
        if not 0 < start_ns < END_NS:
            msg = f"the synthetic feed must start between 1970 and 2200; start_ns is {start_ns}"
            raise FeedError(msg)
        self.refused: Counter[str] = Counter()
        self.timeframes: dict[str, str | None] = dict.fromkeys(sorted(symbols), TIMEFRAME)
        self._seed = seed
        self._sessions = _Sessions()
        self._walks = [_Walk(symbol, seed, start_ns, self._sessions) for symbol in sorted(symbols)]

    def next_event(self) -> Bar | None:
        """Give the next bar, or None in the year 2200."""
        walks = self._walks
        first = walks[0]
        for walk in walks:
            # Walks are in the order of symbols, so of two that arrive together the first one stays.
            if walk.kept.next_ns < first.kept.next_ns:
                first = walk
        return first.step() if first.kept.next_ns < END_NS else None

    def state(self) -> bytes:
        """Give the place after the last bar given."""
        return msgspec.msgpack.encode(_State(self._seed, [walk.kept for walk in self._walks]))

    def restore(self, state: bytes) -> None:
        """Go to a place that ``state`` gave.

        Raises:
            FeedError: The place is of another seed or of other symbols.
        """
        place = msgspec.msgpack.decode(state, type=_State)
        symbols = [kept.symbol for kept in place.kept]
        if place.seed != self._seed or symbols != list(self.timeframes):
            msg = (
                f"the kept place is of seed {place.seed} and {', '.join(symbols)}; "
                "configure the same seed and symbols again, or use another state folder"
            )
            raise FeedError(msg)
        for walk, kept in zip(self._walks, place.kept, strict=True):
            walk.kept = kept

    def close(self) -> None:
        """Do nothing: there is no file."""


class _Sessions:
    """New York's sessions, asked of the calendar once a day for all shares."""

    def __init__(self) -> None:
        self._day: date = date.min
        self.open_ns = 0
        self.close_ns = 0

    def turn_to(self, ts_ns: int) -> None:
        """Let ``open_ns`` and ``close_ns`` be the first session that closes after this time."""
        if self.open_ns <= ts_ns < self.close_ns:
            return
        # New York's midnight is later than UTC's, so the session wanted is on this day or after it.
        day = date.fromordinal(date(1970, 1, 1).toordinal() + ts_ns // DAY_NS)
        while True:
            if day.weekday() < SATURDAY:
                self._turn_to_day(day)
                if ts_ns < self.close_ns:
                    return
            day += timedelta(days=1)

    def _turn_to_day(self, day: date) -> None:
        if day != self._day:
            self._day = day
            self.open_ns = instant_ns(day, SESSION_OPEN_S)
            self.close_ns = instant_ns(day, SESSION_CLOSE_S)


class _Walk:
    """The prices of one symbol, minute by minute."""

    def __init__(self, symbol: str, seed: int, start_ns: int, sessions: _Sessions) -> None:
        self._profile = PROFILES.get(symbol.replace("/", "")) or _profile_of(symbol)
        self._sessions = sessions
        digest = hashlib.sha256(f"{seed} {symbol}".encode()).digest()
        first_ns = self._trading_time(start_ns + -start_ns % MINUTE_NS)
        ticks = round(self._profile.price * self._profile.ticks_per_unit)
        self.kept = _Kept(symbol, int.from_bytes(digest[:8]), first_ns, self._profile.price, 0.0, ticks)

    def step(self) -> Bar:
        """Give the bar that opens at ``next_ns`` and go to the next."""
        kept, profile = self.kept, self._profile
        minute, is_first = self._minute(kept.next_ns)
        bits = self._draw()
        kept.fair += kept.fair * (profile.fair_step * _normal(bits) - 0.000_01 * (kept.fair / profile.price - 1.0))
        if is_first:
            # Overnight the displacement is forgotten and the fair value jumps.
            kept.fair += kept.fair * 20.0 * profile.fair_step * _normal(self._draw())
            kept.stray = 0.0
        open_ticks = _ticks(kept.fair, profile) if is_first else kept.close_ticks
        kept.stray += profile.stray_step * _normal(self._draw()) - profile.stray_pull * kept.stray
        close_ticks = _ticks(kept.fair * (1.0 + kept.stray), profile)
        bits = self._draw()
        wick = profile.price * profile.ticks_per_unit * profile.stray_step * 0.6 / 65_536.0
        high_ticks = max(open_ticks, close_ticks) + int(wick * (bits & 0xFFFF))
        low_ticks = max(1, min(open_ticks, close_ticks) - int(wick * (bits >> 16 & 0xFFFF)))
        kept.close_ticks = close_ticks
        ts_ns = kept.next_ns
        kept.next_ns = self._trading_time(ts_ns + MINUTE_NS)
        scale = profile.ticks_per_unit
        volume = self._volume(minute, bits >> 32, high_ticks - low_ticks)
        return Bar(
            kept.symbol,
            TIMEFRAME,
            ts_ns,
            ts_ns + MINUTE_NS,
            open_ticks / scale,
            high_ticks / scale,
            low_ticks / scale,
            close_ticks / scale,
            volume,
        )

    def _minute(self, ts_ns: int) -> tuple[int, bool]:
        """Give the minute of the session, and whether it is the first one of a share's session."""
        if not self._profile.is_share:
            return ts_ns // MINUTE_NS % SESSION_MINUTES, False
        self._sessions.turn_to(ts_ns)
        minute = (ts_ns - self._sessions.open_ns) // MINUTE_NS
        return minute, minute == 0

    def _volume(self, minute: int, bits: int, range_ticks: int) -> float:
        """Trade more near the open and the close, and more when prices move; always at least one."""
        profile = self._profile
        edge = (minute - SESSION_MINUTES / 2) / (SESSION_MINUTES / 2) if profile.is_share else 0.0
        chance = 0.5 + (bits & 0xFFFF) / 65_536.0
        motion = range_ticks / (profile.price * profile.ticks_per_unit * profile.stray_step)
        volume = profile.volume * (0.6 + 2.0 * edge * edge) * chance * (0.5 + 0.5 * motion)
        # Coins trade in parts; a thousandth is fine enough.
        return float(1 + int(volume)) if profile.is_share else (1 + int(volume * 1000.0)) / 1000.0

    def _trading_time(self, ts_ns: int) -> int:
        """Give this minute, or the open of the next session where the market is shut."""
        if not self._profile.is_share:
            return ts_ns
        self._sessions.turn_to(ts_ns)
        return max(ts_ns, self._sessions.open_ns)

    def _draw(self) -> int:
        """Give 64 bits of chance. Source: Steele, Lea, Flood, SplitMix64 (OOPSLA 2014)."""
        self.kept.chance = state = (self.kept.chance + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
        mixed = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
        mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB & 0xFFFFFFFFFFFFFFFF
        return mixed ^ mixed >> 31


def _normal(bits: int) -> float:
    """Give a number that is nearly normal (mean 0, deviation 1, within 3.5): four uniform parts of 64 bits, summed."""
    parts = (bits & 0xFFFF) + (bits >> 16 & 0xFFFF) + (bits >> 32 & 0xFFFF) + (bits >> 48)
    return (parts - 131_070) / 37_837.2


def _ticks(price: float, profile: Profile) -> int:
    return max(1, int(price * profile.ticks_per_unit + 0.5))


def _profile_of(symbol: str) -> Profile:
    """Make up a profile for a name that the table does not have."""
    digest = hashlib.sha256(symbol.encode()).digest()
    is_share = symbol.isascii() and symbol.isalpha() and symbol.isupper() and len(symbol) <= 5  # noqa: PLR2004 - tickers
    price = 20.0 + int.from_bytes(digest[:2]) / 256.0
    return Profile(price, 100, 50_000 if is_share else 500, 0.000_15, 0.001_00, is_share=is_share)
