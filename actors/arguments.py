"""What each process is told at its start, and again when that changes: the arguments of its spec."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from actors.settings import (
    DeskLimits,
    ExecutionSettings,
    FeedSettings,
    OnDisable,
    PaperSettings,
    ReconciliationSettings,
    RiskConfig,
    Settings,
)
from actors.step import Route
from desk.venue import PAPER as PAPER_TRAITS
from desk.venue import Instrument, VenueTraits

PAPER = "venues/paper"
MARKET_DATA = "market_data"
#: How large a strategy's own store may become, and so any file of its process.
STRATEGY_STORE_BYTES = 256 << 20


def store_path(state: Path, path: str) -> Path:
    """Say where the store of a process lies."""
    return state / {PAPER: "venue-paper", "execution": "ledger", MARKET_DATA: "market", "console": "audit"}.get(
        path, path
    )


def store_name(path: str) -> str:
    """Say what a process's store calls its owner: where it lies in the state folder."""
    return str(store_path(Path(), path))


class PaperArguments(msgspec.Struct, frozen=True):
    """What the paper venue is told."""

    terms: PaperSettings
    balance: Decimal
    symbols: tuple[str, ...]
    is_stepped: bool


class GatewayArguments(msgspec.Struct, frozen=True):
    """What the gateway to a venue is told: the adapter, where to look for it first, and the adapter's own options."""

    adapter: str
    folder: str
    options: dict[str, Any]
    symbols: tuple[str, ...]


class Owner(msgspec.Struct, frozen=True):
    """What execution has to know of a strategy: what it trades, and what becomes of that when it is put away."""

    symbols: tuple[str, ...]
    on_disable: OnDisable


class ExecutionArguments(msgspec.Struct, frozen=True):
    """What execution is told; the owners are all entries, also refused ones. ``venue`` is the path of its process."""

    balance: Decimal
    symbols: tuple[str, ...]
    is_stepped: bool
    owners: dict[str, Owner]
    venue: str = PAPER
    traits: VenueTraits = PAPER_TRAITS
    pace: ExecutionSettings = ExecutionSettings()
    instruments: dict[str, Instrument] = {}
    reconciliation: ReconciliationSettings = ReconciliationSettings()


class RiskArguments(msgspec.Struct, frozen=True):
    """What risk is told: the limits of each strategy and of the desk."""

    limits: dict[str, RiskConfig]
    desk_limits: DeskLimits
    symbols: tuple[str, ...]
    is_stepped: bool
    venue: str = PAPER
    instruments: dict[str, Instrument] = {}


class MarketDataArguments(msgspec.Struct, frozen=True):
    """What market data is told: the feed, who is fed what, and which venues match against it."""

    feed: FeedSettings
    routes: tuple[Route, ...]
    venues: tuple[str, ...] = (PAPER,)


class ConsoleArguments(msgspec.Struct, frozen=True):
    """What the console is told: the settings in force, and the file it watches."""

    settings: Settings
    file: str
