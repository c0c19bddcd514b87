"""Small markets in files, made by the seeded feed, and the configurations that trade on them."""

from collections.abc import Iterable
from pathlib import Path

from actors.feeds.synthetic import SyntheticFeed
from desk.messages import Bar

SYMBOLS = ("SPY", "QQQ", "BTCUSD")


def write_market(folder: Path, events: int, symbols: Iterable[str] = SYMBOLS, seed: int = 7) -> dict[str, Path]:
    """Write so many one-minute bars of a seeded market, one file a symbol."""
    names = tuple(symbols)
    feed = SyntheticFeed(names, seed=seed)
    rows: dict[str, list[str]] = {name: ["ts_ns,open,high,low,close,volume"] for name in names}
    for _ in range(events):
        bar = feed.next_event()
        assert isinstance(bar, Bar), "the seeded feed gives bars without end"
        rows[bar.symbol].append(f"{bar.ts_ns},{bar.open!r},{bar.high!r},{bar.low!r},{bar.close!r},{bar.volume!r}")
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[str, Path] = {}
    for name, lines in rows.items():
        files[name] = folder / f"{name}.csv"
        files[name].write_text("\n".join(lines) + "\n", encoding="utf-8")
    return files


def vwap(name: str, symbol: str, **parameters: object) -> str:
    """Give one VWAP entry as YAML; it trades often."""
    told = {"entry_deviation_pct": 0.0005, "trade_end_time": '"15:30"', "entry_order_type": "market", **parameters}
    lines = "".join(f"      {key}: {value}\n" for key, value in told.items())
    return f"  - name: {name}\n    symbol: {symbol}\n    strategy: vwap_micro_mean_reversion\n    parameters:\n{lines}"


def ema(name: str, symbol: str, timeframe: str = "1m") -> str:
    """Give one EMA entry as YAML, with its stop resting at the venue."""
    return f"  - name: {name}\n    symbol: {symbol}\n    strategy: ema_crossover_v001\n    timeframe: {timeframe}\n"


def configuration(
    entries: Iterable[str], files: dict[str, Path], *, speed: str = "max", more: str = "", extra: str = ""
) -> str:
    """Give a whole configuration on a replay; ``more`` goes under ``global``, ``extra`` under each strategy."""
    listed = ", ".join(f"{symbol}: {path}" for symbol, path in files.items())
    strategies = "".join(entry + extra for entry in entries)
    return (
        f"strategies:\n{strategies}global:\n"
        f"  feed: {{kind: replay, speed: {speed}, files: {{{listed}}}}}\n"
        f"  paper: {{slippage_bps: 5, taker_fee_bps: 1}}\n{more}"
    )


#: Falls without end: what harnesses that kill again and again need.
PATIENT = "    supervision: {intensity: 100000, period_s: 60, backoff_base_s: 0, backoff_cap_s: 0}\n"
PATIENT_ROOMS = "  supervision: {intensity: 100000, period_s: 60, backoff_base_s: 0, backoff_cap_s: 0}\n"

FIVE = (
    vwap("spy_a", "SPY"),
    vwap("spy_b", "SPY", entry_order_type="limit", entry_deviation_pct=0.0002),
    vwap("qqq", "QQQ"),
    ema("btc_ema", "BTCUSD"),
    vwap("btc_vwap", "BTCUSD", trade_start_time='"09:30"', trade_end_time='"15:50"'),
)
