"""The operator's screens: 80 columns, plain words, and who is failing and why from one look."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.foreground import Foreground
from actors.screen_words import duration_words, money_words, plain_text, time_words
from actors.screens import (
    journal_text,
    orders_text,
    positions_text,
    reload_text,
    status_text,
    strategies_text,
    summary_text,
    trades_text,
    why_text,
)
from actors.settings_file import load
from runtime.clock import Clock
from runtime.folder import Sentinel
from runtime.supervision_words import ChildState, Row

NOON_NS = 1_700_000_000 * 10**9
STATUS: dict[str, Any] = {
    "desk": {
        "mode": "paper",
        "state": "RUNNING",
        "uptime_s": 273_600.0,
        "feed": "synthetic",
        "market_time": NOON_NS,
        "halted": False,
        "gate": "open",
    },
    "tree": [
        {"path": "venues", "kind": "supervisor", "state": "RUNNING"},
        {"path": "venues/paper", "kind": "venue", "state": "RUNNING", "pid": 101, "rss_bytes": 40 * 2**20, "restarts": 0},
        {"path": "execution", "kind": "room", "state": "RUNNING", "pid": 102, "restarts": 2, "last_exit": "signal 9"},
        {"path": "strategies", "kind": "supervisor", "state": "RUNNING"},
        {"path": "strategies/spy_vwap", "kind": "strategy", "state": "RUNNING", "pid": 103},
        {
            "path": "strategies/qqq_vwap",
            "kind": "strategy",
            "state": "BACKOFF",
            "restarts": 3,
            "headline": "next try in 2 s",
            "last_error": "ValueError: nan in feature rsi_14 of the bar that opened at 14:02 in New York, see the log",
        },
        {"path": "market_data", "kind": "room", "state": "RUNNING", "pid": 104},
    ],
    "strategies": [
        {
            "name": "spy_vwap",
            "symbol": "SPY",
            "enabled": True,
            "state": "RUNNING",
            "bars_evaluated": 800,
            "signals_generated": 2,
            "orders_sent": 2,
            "error_count": 0,
            "pnl_day": "-1.5",
            "why_not": {"PRICE_ABOVE_THRESHOLD": 180, "OUTSIDE_WINDOW": 612, "WARMUP": 6},
        },
        {"name": "qqq_vwap", "symbol": "QQQ", "enabled": True, "state": "BACKOFF", "error_count": 3, "last_error": "ValueError"},
        {"name": "eurusd", "symbol": "EURUSD", "enabled": True, "state": "REFUSED", "refusal": "model file m.json is missing"},
    ],
    "feed": {"refused": {"crossed": 2, "nan": 0}},
    "alarms": ["strategies/qqq_vwap falls again and again"],
}  # fmt: skip


def test_the_status_is_a_plain_tree() -> None:
    said = status_text(STATUS)

    assert said.split("\n") == [
        "desk  RUNNING paper  up 3d04h  feed synthetic  market 2023-11-14 22:13:20",
        "gate open",
        "ALARM strategies/qqq_vwap falls again and again",
        "|- venues      RUNNING",
        "|  `- paper       RUNNING     pid 101 40 MB",
        "|- execution   RUNNING     pid 102 restarts 2",
        "|     last exit: signal 9",
        "|- strategies  RUNNING",
        "|  |- spy_vwap    RUNNING     pid 103 why-not: OUTSIDE_WINDOW 612, PRICE_ABOVE..",
        "|  |- qqq_vwap    BACKOFF     restarts 3 next try in 2 s",
        "|  |     last error: ValueError: nan in feature rsi_14 of the bar that opened at",
        "|  |       14:02 in New York, see the log",
        "|  `- eurusd      REFUSED",
        "|        refused: model file m.json is missing",
        "`- market_data RUNNING     pid 104",
        "refused input: crossed 2",
    ]


def test_a_halt_is_a_word_in_the_first_line_and_its_reason_below() -> None:
    lines = status_text({"desk": {"state": "RUNNING", "mode": "paper", "halted": "by operator: lunch"}}).split("\n")

    assert "HALTED" in lines[0]
    assert lines[1] == "halted: by operator: lunch"


def test_a_status_with_nothing_in_it_is_still_drawn() -> None:
    assert status_text({}) == "desk  - -  up -"


def test_a_parent_that_is_no_node_is_drawn_as_a_name() -> None:
    lines = status_text({"tree": [{"path": "venues/paper", "state": "RUNNING"}]}).split("\n")

    assert lines[1:] == ["`- venues", "   `- paper  RUNNING"]


SCREENS = {
    "status": status_text(STATUS),
    "strategies": strategies_text(STATUS["strategies"]),
    "orders": orders_text(
        [
            {
                "order_id": "0123456789abcdef01",
                "strategy": "a_strategy_with_a_long_name_indeed",
                "symbol": "LONGSYMBOL.s",
                "side": "BUY",
                "type": "MARKET",
                "quantity": "123456.789000",
                "filled_quantity": "0.000000001234",
                "state": "PARTIALLY_FILLED",
            },
            {"order_id": "o-2", "state": "REJECTED", "reason": "MAX_POSITIONS: 1 of 1 is open; STALE: " + "x" * 200},
        ]
    ),
    "positions": positions_text([{"strategy": "s" * 64, "symbol": "S" * 32, "quantity": "-1.5", "average_price": "1E+9"}]),
    "trades": trades_text([{"closed_ns": NOON_NS, "strategy": "s" * 64, "pnl": "-1234567.891", "exit_reason": "MEAN_REVERSION"}]),
    "why": why_text({"name": "spy_vwap", "state": "RUNNING", "why_not": {"OUTSIDE_WINDOW": 3, "WARMUP": 1}}),
    "journal": journal_text([{"sequence": 1, "ts_ns": NOON_NS, "word": "order", "strategy": "a", "text": "word " * 40}]),
    "summary": summary_text({"bars": 1, "trades": 0, "strategies": [{"strategy": "s" * 64, "net_pnl": "1"}]}),
}  # fmt: skip


@pytest.mark.parametrize("screen", SCREENS.values(), ids=SCREENS.keys())
def test_no_screen_is_wider_than_80_columns_or_more_than_ascii(screen: str) -> None:
    assert max(len(line) for line in screen.split("\n")) <= 80
    assert screen.isascii()


def test_the_strategies_name_who_is_failing_and_why() -> None:
    said = SCREENS["strategies"]

    assert "eurusd: model file m.json is missing" in said
    assert "BACKOFF" in said
    assert "-1.50" in said


def test_a_refused_order_says_every_reason() -> None:
    assert "o-2: MAX_POSITIONS: 1 of 1 is open; STALE:" in SCREENS["orders"]


def test_trades_end_with_their_sum() -> None:
    trades = [{"pnl": "1.25", "strategy": "a"}, {"pnl": "-0.50", "strategy": "a"}]

    assert trades_text(trades).split("\n")[-1] == "2 trades, net P&L 0.75"


def test_why_sorts_the_reasons_by_their_count() -> None:
    lines = SCREENS["why"].split("\n")

    assert [line.split()[0] for line in lines if line[:1].isupper()] == ["OUTSIDE_WINDOW", "WARMUP"]
    assert "75 %" in SCREENS["why"]


def test_a_summary_tells_bars_trades_profit_orders_and_refused_input() -> None:
    summary = {
        "bars": 1950,
        "trades": 3,
        "net_pnl": "-4.2",
        "strategies": [{"strategy": "spy", "trades": 3, "wins": 1, "fees": "0", "net_pnl": "-4.2"}],
        "orders": {"FILLED": 6, "CANCELLED": 1},
        "refused": {},
    }

    said = summary_text(summary)

    assert said.split("\n")[0] == "finished: 1950 bars, 3 trades, net P&L -4.20"
    assert "orders: FILLED 6, CANCELLED 1" in said
    assert "refused input: none" in said


def test_empty_tables_say_so() -> None:
    said = [strategies_text([]), orders_text([]), positions_text([]), trades_text([]), journal_text([])]

    assert said == ["no strategies", "no orders", "no open positions", "no trades", "no records"]


def test_nothing_that_a_strategy_says_is_markup_or_reaches_the_terminal_raw() -> None:
    said = strategies_text([{"name": "a", "symbol": "[red]X", "state": "R", "last_error": "\x1b[2J[bold]boom\r\nnext"}])

    assert "\x1b" not in said
    assert "[red]X" in said
    assert "a:  [2J[bold]boom  next" in said


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0s"), (42.9, "42s"), (185, "3m05s"), (7_620, "2h07m"), (273_600, "3d04h"), (None, "-"), (-1, "-"), (float("nan"), "-")],
)  # fmt: skip
def test_durations_are_short(seconds: object, words: str) -> None:
    assert duration_words(seconds) == words


def test_amounts_times_and_texts_that_are_none_are_a_dash() -> None:
    assert [money_words(None), time_words(0), time_words(None), plain_text("")] == ["-", "-", "-", "-"]
    assert money_words("no number") == "no number"


@given(
    st.dictionaries(
        st.sampled_from(["path", "state", "pid", "last_error", "headline", "restarts"]), st.text(max_size=90)
    )
)
def test_any_text_in_a_node_is_drawn_within_the_width(node: dict[str, str]) -> None:
    lines = status_text({"tree": [node]}).split("\n")

    assert all(len(line) <= 80 and line.isprintable() for line in lines)


def test_what_a_process_fell_of_reaches_the_terminal_on_one_line_and_cannot_draw_on_it(tmp_path: Path) -> None:
    settings = load(Path(__file__).parents[2] / "config" / "strategies.yaml").settings
    assert settings is not None
    said: list[str] = []
    foreground = Foreground(settings, Sentinel(tmp_path), Clock(), said.append, "bulkhead status")
    row = Row("strategies/evil", "strategy", ChildState.RUNNING, 1, 0, 0, 3, 1, 0, "", "")

    foreground._show_process(row, 1)
    foreground._show_process(msgspec.structs.replace(row, restarts_total=1, last_error="E: \x1b[2J\nready"), 2)

    assert said[-1] == "strategies/evil fell: E:  [2J ready; restart 1"


def test_what_a_reload_changed_fits_the_terminal_and_cannot_draw_on_it() -> None:
    change = {
        "line": 12, "path": "strategies.spy_vwap.parameters", "was": "a" * 70, "now": "\x1b[2Jb", "is_waiting": True,
        "effect": "holds once the strategy holds nothing and none of its orders works",
    }  # fmt: skip

    said = reload_text(
        {"file": "/etc/bulkhead/strategies.yaml", "changes": [change], "applied": True, "dry_run": False}
    )

    assert max(map(len, said.splitlines())) <= 80
    assert "\x1b" not in said
    assert said.startswith("/etc/bulkhead/strategies.yaml:12 strategies.spy_vwap.parameters:\n  aaaa")


def test_a_trade_of_a_coin_shows_its_whole_quantity() -> None:
    trade = {"closed_ns": NOON_NS, "strategy": "btc", "symbol": "BTCUSD", "quantity": "0.12345678", "pnl": "-1234.5", "exit_reason": "MEAN_REVERSION"}  # fmt: skip

    said = trades_text([trade]).splitlines()[1]

    assert said.split()[2:] == ["btc", "BTCUSD", "0.12345678", "-1,234.50", "MEAN_REVERSION"]
