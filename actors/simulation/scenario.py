"""What one seed is about: which desk, which market, what goes wrong how often."""

import random
from collections.abc import Collection
from decimal import Decimal
from pathlib import Path

import msgspec

from actors.settings import (
    DeskLimits,
    ExecutionSettings,
    FeedKind,
    FeedSettings,
    FillMode,
    OnDisable,
    PaperSettings,
    ProcessLimits,
    RiskConfig,
    Settings,
    StrategySettings,
    SupervisionSettings,
    VenueRules,
    VenueSettings,
    decode_settings,
)
from actors.simulation.faults import KINDS, LATER, Faults
from desk.units import NS_PER_S

OWN = Path(__file__).parent / "own"
SYMBOLS = ("SPY", "BTCUSD", "ETHUSD")
#: About what one of each costs.
UNITS_USD = {"SPY": Decimal(475), "BTCUSD": Decimal(44_000), "ETHUSD": Decimal(2_250)}
BALANCE = Decimal(1_000_000)
#: Falls are the trade here: nobody gives up on account of them, and a restart waits for little.
PATIENT = SupervisionSettings(intensity=100_000, period_s=60.0, backoff_base_s=0.02, backoff_cap_s=0.5)
#: Wall times at which runs begin: an ordinary day, New York's midnight, and the two nights on which its clocks change.
BEGINNINGS_S = (1_704_724_200, 1_704_776_385, 1_710_053_985, 1_730_613_585, 1_709_269_185)
PAPER_DESK, KRAKEN_DESK, ALPACA_DESK = "paper", "kraken", "alpaca"
#: How often, where a kind goes wrong at all. Of the rates one is drawn for each kind.
RATES: dict[str, tuple[float, ...]] = {
    "kill": (0.001, 0.005, 0.02),
    "hang": (0.0005, 0.002),
    "slow": (0.05, 0.2),
    "delay": (0.005, 0.03),
    "cut": (0.002, 0.01),
    "repeat": (0.02, 0.1),
    "drop": (0.01, 0.1),
    "full": (0.002, 0.01),
    "refused": (0.1, 0.4),
    "lost": (0.05, 0.15, 0.4),
    "unread": (0.05, 0.15, 0.4),
    "late": (0.05, 0.15),
    "unsent": (0.05, 0.2),
    "garbled": (0.02, 0.1),
    "limited": (0.05, 0.2),
    "outage": (0.01, 0.05),
    "untold": (0.1, 0.4),
    "retold": (0.1, 0.4),
    "broken": (0.01, 0.05),
    "parts": (0.3, 0.6),
    "nonsense": (0.02, 0.1),
    "root": (0.003, 0.01),
    "power": (0.003, 0.01),
    "wish": (0.02, 0.1),
    "edit": (0.01, 0.05),
    "corrupt": (0.01, 0.05),
    "skew": (0.05, -0.1, 0.2),
    "behind": (0.1, 0.4),
    "sluggish": (0.02, 0.1),
    "brink": (0.15, 0.4),
    "ended": (0.02, 0.1),
    "over": (0.05, 0.2),
    "drift": (0.02, 0.1),
    "brake": (0.05, 0.2),
    "lagging": (0.2, 0.5),
    "recoil": (0.05, 0.3),
}
#: What concerns a venue behind a wire, and a feed of ticks, only.
REMOTE = frozenset({
    "refused", "lost", "unread", "late", "unsent", "garbled", "limited", "outage", "untold", "retold", "broken",
    "parts", "nonsense", "skew", "behind", "sluggish", "brink", "ended", "over", "drift",
    "lagging", "recoil",
})  # fmt: skip
#: What a desk in simulated time has to bear without trading otherwise than if nothing had gone wrong.
HARMLESS = ("kill", "hang", "slow", "delay", "cut", "repeat", "drop", "full", "root")
#: The share of desks in simulated time on which nothing else goes wrong, and then of the kinds that do.
HARMLESS_SHARE, KIND_SHARE = 0.6, 0.5
#: How often falls go together with one other kind alone: what the two do to each other is seldom seen in a crowd.
PAIR_SHARE = 0.1
#: The kinds among which a seed drew from the beginning.
FIRST = tuple(kind for kind in KINDS if kind not in LATER)
#: In which share of its runs a kind that came later goes wrong, by how much else does.
LATER_SHARES = (0.0, 0.3, 0.5, 0.8)
#: The share of runs whose limits are so close that they bind.
CLOSE_SHARE = 0.4
#: The share of strategies whose stops rest at the venue.
RESTS_SHARE = 0.7


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """One run: the same scenario is the same run, on every machine.

    ``desk`` is paper, kraken or alpaca; ``bars`` are the bars of each symbol while things go wrong; ``only`` are the
    numbers of the faults that happen, None for all that are drawn. With ``has_own_feed`` the market is the feed of the
    settings, and ``bars`` its events of each symbol (0: all). ``folder`` is where the strategies lie; the settings do
    not name it, for then a run would be another where the desk lies elsewhere.
    """

    seed: int
    desk: str
    settings: Settings
    faults: Faults
    bars: int
    wall_ns: int
    only: tuple[int, ...] | None = None
    has_own_feed: bool = False
    folder: str = str(OWN)

    @property
    def is_stepped(self) -> bool:
        """True in simulated time, with its barrier."""
        return self.desk == PAPER_DESK

    @property
    def is_harmless(self) -> bool:
        """True where the trades have to be those of a run in which nothing goes wrong."""
        return self.is_stepped and all(kind in HARMLESS for kind in KINDS if getattr(self.faults, kind))


class Draw(msgspec.Struct, frozen=True):
    """What a caller may fix of what a seed would draw: the desk, the kinds of faults, the bars.

    Without ``has_later`` the kinds that came later and close limits are left out: so a run is what it was before them.
    """

    desk: str = ""
    kinds: tuple[str, ...] | None = None
    bars: int = 0
    has_later: bool = True


#: Everything is left to the seed.
AS_DRAWN = Draw()


def scenario(seed: int, draw: Draw = AS_DRAWN) -> Scenario:
    """Draw what a seed is about.

    Args:
        seed: Any whole number from 0 on.
        draw: What is not left to the seed.
    """
    chance = random.Random(seed * 2 + 1)  # noqa: S311 - the seed is to give the same again
    desk = chance.choice((PAPER_DESK, KRAKEN_DESK, KRAKEN_DESK, ALPACA_DESK))
    bars = chance.choice((6, 10, 16))
    wall_s = chance.choice(BEGINNINGS_S)
    desk, bars = draw.desk or desk, draw.bars or bars
    kinds = draw.kinds
    if kinds is None and chance.random() < HARMLESS_SHARE and desk == PAPER_DESK:
        kinds = tuple(kind for kind in HARMLESS if chance.random() < KIND_SHARE)
    if kinds is None and chance.random() < PAIR_SHARE:
        kinds = ("kill", chance.choice(FIRST))
    later = random.Random(f"{seed} drawn later")  # noqa: S311 - likewise
    faults = _faults(chance, desk, kinds)
    if draw.has_later:
        faults = _with_later(seed, later, desk, kinds, faults)
    symbols = SYMBOLS[: chance.choice((1, 1, 2))]
    strategies = tuple(_entry(number, seed, symbols, desk, chance) for number in range(chance.choice((1, 2))))
    feed = FeedSettings(kind=FeedKind.SYNTHETIC, symbols=symbols, seed=seed)
    venue = VenueSettings()
    if desk != PAPER_DESK:
        feed = FeedSettings(kind=FeedKind.ZMQ, url="simulated", symbols=symbols, lockstep=False)
        venue = VenueSettings(name="model", adapter="simulated:model", rules=VenueRules(desk))
    settings = Settings(
        strategies=strategies,
        feed=feed,
        paper=PaperSettings(fill=chance.choice((FillMode.NEXT_OPEN, FillMode.CLOSE)), taker_fee_bps=Decimal(2)),
        venue=venue,
        risk=_limits(later, chance.choice((2, 4, 8)), symbols, is_free=draw.kinds is None and draw.has_later),
        supervision=PATIENT,
        execution=ExecutionSettings(queue_max=chance.choice((2, 10)), breaker_open_s=5.0, breaker_open_max_s=10.0),
        default_balance=BALANCE,
    )
    return Scenario(seed=seed, desk=desk, settings=settings, faults=faults, bars=bars, wall_ns=wall_s * NS_PER_S)


def of_settings(settings: bytes, seed: int, bars: int, *, is_calm: bool = False) -> Scenario:
    """Let what a seed draws go wrong on a desk of somebody's own, on its own simulated feed.

    Only what must change no trade goes wrong. Falls are not counted: nobody is put away for them.

    Args:
        settings: What ``encode_settings`` gave; the feed is a replay or the invented market, in simulated time.
        seed: Any whole number from 0 on.
        bars: Events of each symbol; 0 for all that the feed has.
        is_calm: Nothing goes wrong.
    """
    given = decode_settings(settings)
    assert given.feed.lockstep, "only simulated time can be simulated"
    patient = tuple(msgspec.structs.replace(entry, supervision=PATIENT) for entry in given.strategies)
    chance = random.Random(seed * 2 + 1)  # noqa: S311 - the seed is to give the same again
    faults = Faults() if is_calm else _faults(chance, PAPER_DESK, HARMLESS)
    return Scenario(
        seed=seed,
        desk=PAPER_DESK,
        settings=msgspec.structs.replace(given, strategies=patient, supervision=PATIENT, strategies_folder=""),
        folder=given.strategies_folder,
        faults=faults,
        bars=bars,
        wall_ns=BEGINNINGS_S[0] * NS_PER_S,
        has_own_feed=True,
    )


def _faults(chance: random.Random, desk: str, kinds: Collection[str] | None) -> Faults:
    """Let some kinds go wrong, each at one of its rates: a run in which everything does finds less."""
    share = chance.choice((0.0, 0.15, 0.3, 0.6))
    found: dict[str, float] = {}
    for kind in FIRST:
        is_drawn, rate = chance.random() < share, chance.choice(RATES[kind])
        is_wanted = is_drawn if kinds is None else kind in kinds
        if is_wanted and (desk != PAPER_DESK or kind not in REMOTE):
            found[kind] = rate
    return Faults(**found)


def _with_later(seed: int, later: random.Random, desk: str, kinds: Collection[str] | None, faults: Faults) -> Faults:
    """Let some of the kinds that came later go wrong too."""
    share = later.choice(LATER_SHARES)
    found: dict[str, float] = {}
    for kind in LATER:
        if kind == "lagging":  # came last, and leaves what was drawn for the others as it was
            later = random.Random(f"{seed} lagging")  # noqa: S311 - likewise
        is_drawn, rate = later.random() < share, later.choice(RATES[kind])
        is_wanted = is_drawn if kinds is None else kind in kinds
        if is_wanted and (desk != PAPER_DESK or kind not in REMOTE):
            found[kind] = rate
    return msgspec.structs.replace(faults, **found)


def _limits(later: random.Random, positions: int, symbols: tuple[str, ...], *, is_free: bool) -> DeskLimits:
    """Draw the desk's limits: wide ones, or in some runs close ones, counted in units of the dearest symbol."""
    unit = max(UNITS_USD[symbol] for symbol in symbols)
    close = DeskLimits(
        max_positions=positions,
        max_order_notional_usd=later.choice((None, 3 * unit)),
        max_position_size_usd=later.choice((None, 4 * unit)),
        max_exposure_usd=later.choice((None, 4 * unit, 7 * unit)),
        max_positions_per_symbol=later.choice((None, 1, 2)),
        min_buying_power_reserve_usd=later.choice((None, None, BALANCE - 6 * unit)),
        max_daily_loss_usd=later.choice((None, unit / 200, unit / 50)),
    )
    if is_free and later.random() < CLOSE_SHARE:
        return close
    return DeskLimits(max_positions=positions, max_order_notional_usd=Decimal(400_000))


def _entry(number: int, seed: int, symbols: tuple[str, ...], desk: str, chance: random.Random) -> StrategySettings:
    return StrategySettings(
        name=f"roamer{number}",
        symbols=symbols,
        strategy="roamer",
        timeframe="1m" if desk == PAPER_DESK else "2s",
        parameters={
            "seed": seed * 10 + number,
            "busy": chance.choice((50, 80)),
            "rests": chance.random() < RESTS_SHARE,
            "most": chance.choice((3, 8, 100)),
        },
        risk_config=RiskConfig(max_positions=3),
        limits=ProcessLimits(hang_s=3.0),
        supervision=PATIENT,
        on_disable=chance.choice((OnDisable.HOLD, OnDisable.FLATTEN)),
    )
