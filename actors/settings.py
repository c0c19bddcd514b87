"""The settings of a desk: what ``config/strategies.yaml`` says, decoded once, frozen, ready for the wire.

Money and shares are Decimal, times are seconds as the file has them. A limit that is None does not bind.
"""

import hashlib
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec

from desk.reconcile import Tolerance
from desk.units import NS_PER_S
from desk.venue import PAPER, RULES, Instrument, VenueTraits


class FeedKind(StrEnum):
    """Where market data comes from."""

    SYNTHETIC = "synthetic"
    REPLAY = "replay"
    ZMQ = "zmq"


class FillMode(StrEnum):
    """At which price of a bar feed the paper venue fills a market order."""

    NEXT_OPEN = "next_open"
    CLOSE = "close"


class OnDisable(StrEnum):
    """What becomes of a strategy's position when it is disabled or removed."""

    HOLD = "hold"
    FLATTEN = "flatten"


class RiskLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of one strategy, or of the whole desk. ``…_pct`` are shares of equity in (0, 1]."""

    max_order_notional_usd: Decimal | None = None
    max_position_size_usd: Decimal | None = None
    max_positions: int | None = None
    max_positions_per_symbol: int | None = None
    max_exposure_pct: Decimal | None = None
    max_exposure_usd: Decimal | None = None
    max_data_age_s: float | None = None
    default_trade_pct: Decimal | None = None
    min_buying_power_reserve_usd: Decimal | None = None


class DeskLimits(RiskLimits, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of the whole desk: those of its orders and positions, and those of the account's day.

    ``max_daily_loss_pct`` is a share of the equity at the day's beginning, ``max_drawdown_pct`` of the highest equity.
    ``day_boundary_tz`` is the IANA time zone whose midnight divides the account's days.
    """

    max_daily_loss_usd: Decimal | None = None
    max_daily_loss_pct: Decimal | None = None
    max_drawdown_pct: Decimal | None = None
    max_consecutive_losses: int | None = None
    day_boundary_tz: str = "America/New_York"


class RiskConfig(RiskLimits, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A strategy's ``risk_config``: its limits, and the four keys that size a model strategy's orders.

    ``risk_per_trade`` and ``max_position_size`` are shares of the balance in (0, 1].
    """

    risk_per_trade: Decimal | None = None
    max_position_size: Decimal | None = None
    stop_loss_atr_multiple: Decimal | None = None
    take_profit_risk_reward: Decimal | None = None


class ProcessLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a strategy's process may use. Over ``memory_soft_mb`` it is warned of, over hard it is replaced.

    ``hang_s`` is the longest silence; ``cpu_s`` the processor time of one turn (what waits is heard, answered and
    kept); ``message_rate`` the most intents a second that open something; ``nice`` 0..19.
    """

    memory_soft_mb: int = 150
    memory_hard_mb: int = 300
    address_space_mb: int = 1200
    open_files: int = 256
    processes: int = 1
    output_mb: int = 16
    cpu_s: float = 2.0
    nice: int = 5
    message_rate: int | None = None
    hang_s: float = 3.0
    start_timeout_s: float = 10.0


class SupervisionSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How often a child may fall: more than ``intensity`` restarts in ``period_s`` and its node gives up."""

    intensity: int = 3
    period_s: float = 60.0
    backoff_base_s: float = 0.2
    backoff_cap_s: float = 30.0


#: What holds for a room where the file says nothing.
ROOM_SUPERVISION = SupervisionSettings(intensity=10)


class StrategySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entry. ``strategy`` is a module of ``strategies/`` ("" for a model strategy).

    ``model_path`` is absolute. ``parameters`` are the file's plain values, checked against the
    strategy's own ``Parameters``. ``live_parameters`` and ``wants_ticks`` are what its class declares.
    ``refusal`` says why this one strategy cannot run ("" where it can); the others are not touched by it.
    ``line`` is where the entry begins in the file. ``flat_at`` is the journal's head at which it held nothing, when
    its code was last changed on the running desk; -1 where it never was. With ``record`` all that it is told is kept.
    """

    name: str
    symbols: tuple[str, ...]
    strategy: str = ""
    model_path: str = ""
    enabled: bool = True
    timeframe: str = "1m"
    threshold: float = 0.5
    parameters: dict[str, Any] = {}
    risk_config: RiskConfig = RiskConfig()
    limits: ProcessLimits = ProcessLimits()
    supervision: SupervisionSettings = SupervisionSettings()
    on_disable: OnDisable = OnDisable.HOLD
    refusal: str = ""
    line: int = 0
    live_parameters: tuple[str, ...] = ()
    wants_ticks: bool = False
    flat_at: int = -1
    record: bool = False


class FeedSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The market's door. ``files`` are absolute; ``speed`` is market seconds a second, None = as fast as possible.

    ``symbols`` is everything the feed gives, in order, never empty in settings that were loaded.
    """

    kind: FeedKind = FeedKind.SYNTHETIC
    files: dict[str, str] = {}
    url: str = ""
    symbols: tuple[str, ...] = ()
    speed: float | None = None
    seed: int = 1
    lockstep: bool = True


class PaperSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The paper venue. Fees are none unless the file names them: US equities, which ship as the example, have none."""

    fill: FillMode = FillMode.NEXT_OPEN
    slippage_bps: Decimal = Decimal(5)
    maker_fee_bps: Decimal = Decimal(0)
    taker_fee_bps: Decimal = Decimal(0)


class ExecutionSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When nothing more is opened because of the venue's pace; exits, cancels and stops always leave.

    At ``queue_max`` orders without an answer, no entry is added. An answer after more than ``breaker_latency_s``, or
    ``breaker_failures`` orders in a row without any, opens the breaker for ``breaker_open_s``; each time that it opens
    again at its first try, for twice as long, at most ``breaker_open_max_s``.
    """

    queue_max: int = 10
    breaker_latency_s: float = 5.0
    breaker_failures: int = 3
    breaker_open_s: float = 60.0
    breaker_open_max_s: float = 900.0


class ReconciliationSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How far the books may be from the venue's before nothing is opened any more.

    ``drift_max_pct`` is a share of the larger of two quantities. ``cash_max_usd`` is None where cash is compared to the
    last digit at the paper venue, and not at all at another.
    """

    missing_max: int = 3
    drift_max_pct: Decimal = Decimal("0.05")
    cash_max_usd: Decimal | None = None
    settling_s: float = 2.0

    @property
    def tolerance(self) -> Tolerance:
        """The same in the words of the comparison."""
        return Tolerance(
            missing_max=self.missing_max,
            drift_max=self.drift_max_pct,
            cash_max=self.cash_max_usd,
            settling_ns=int(self.settling_s * NS_PER_S),
        )


class VenueRules(StrEnum):
    """After which venue's rules an adapter deals."""

    KRAKEN = "kraken"
    ALPACA = "alpaca"


class VenueSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The venue that the desk trades at; without an ``adapter`` it is its own paper venue.

    ``adapter`` is ``module:function``. ``deadline_s`` and ``margin_s`` are None where the rules' own hold. ``options``
    are the adapter's own plain values.
    """

    name: str = "paper"
    adapter: str = ""
    rules: VenueRules | None = None
    deadline_s: float | None = None
    margin_s: float | None = None
    options: dict[str, Any] = {}

    @property
    def is_remote(self) -> bool:
        """True where the venue lies behind a wire."""
        return bool(self.adapter)

    @property
    def traits(self) -> VenueTraits:
        """What the venue is like, with the file's own deadline."""
        if self.rules is None:
            return PAPER
        known = RULES[self.rules.value]
        given = {"deadline_ns": self.deadline_s, "margin_ns": self.margin_s}
        changed = {key: int(seconds * NS_PER_S) for key, seconds in given.items() if seconds is not None}
        return msgspec.structs.replace(known, **changed)


class ControlSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The control socket's second door, for clients with keys. ``listen`` is "" where there is only the local one.

    ``listen`` is ``tcp://127.N.N.N:PORT``, or ``ipc`` for a socket beside the local one. ``clients`` is the absolute
    path of the file that lists who may enter, "" where there is no second door.
    """

    listen: str = ""
    clients: str = ""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything the file says. The keys of ``global`` stand beside ``strategies``; URLs are "" where unset."""

    strategies: tuple[StrategySettings, ...]
    feed: FeedSettings
    paper: PaperSettings = PaperSettings()
    venue: VenueSettings = VenueSettings()
    risk: DeskLimits = DeskLimits()
    supervision: SupervisionSettings = ROOM_SUPERVISION
    control: ControlSettings = ControlSettings()
    execution: ExecutionSettings = ExecutionSettings()
    reconciliation: ReconciliationSettings = ReconciliationSettings()
    instruments: dict[str, Instrument] = {}
    default_balance: Decimal = Decimal(10_000)
    paper_trading: bool = True
    log_level: str = "INFO"
    record: bool = False
    zmq_market_url: str = ""
    zmq_execution_host: str = ""
    zmq_execution_port: int = 0
    feature_api_url: str = ""
    strategies_folder: str = ""
    """The operator's own strategies, beside the file; "" where there are none."""
    venues_folder: str = ""
    """The operator's own adapters to venues, likewise."""

    def strategy(self, name: str) -> StrategySettings | None:
        """Give the entry of that name, or None."""
        return next((entry for entry in self.strategies if entry.name == name), None)


def encode_settings(settings: Settings) -> bytes:
    """Give settings as bytes for a child process."""
    return msgspec.msgpack.encode(settings)


def decode_settings(data: bytes) -> Settings:
    """Take back what ``encode_settings`` gave."""
    return msgspec.msgpack.decode(data, type=Settings)


def settings_fingerprint(feed: FeedSettings) -> str:
    """Name a feed in 16 hex digits, to bind a state folder to it.

    Enters: the kind; of a replay its files' symbols, absolute paths and sizes; of a synthetic feed its seed and
    symbols; of a zmq feed its url. Speed and barrier do not.
    """
    match feed.kind:
        case FeedKind.REPLAY:
            detail: Any = [[symbol, name, _size_of(Path(name))] for symbol, name in sorted(feed.files.items())]
        case FeedKind.SYNTHETIC:
            detail = [feed.seed, sorted(feed.symbols)]
        case FeedKind.ZMQ:
            detail = [feed.url]
    text = msgspec.json.encode([feed.kind.value, detail])
    return hashlib.blake2b(text, digest_size=8).hexdigest()


def _size_of(path: Path) -> int:
    """Give a file's size in bytes, -1 where there is none to see."""
    try:
        return path.stat().st_size
    except OSError:
        return -1
