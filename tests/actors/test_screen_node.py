"""One process with all that is known of it, in 80 columns and plain words."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.screen_node import node_text, processes_text

ROW: dict[str, Any] = {
    "path": "strategies/spy_vwap", "kind": "strategy", "pid": 4711, "state": "RUNNING", "epoch": 3, "restarts": 2,
    "restarts_in_window": 1, "restarts_max": 3, "window_s": 60.0, "since_s": 125.0, "last_exit": "signal SIGKILL",
    "last_error": "signal SIGKILL", "headline": "why-not: WARMUP 8", "note": "", "rss_bytes": 31 * 2**20, "cpu_s": 1.25,
    "cpu_pct": 0.7, "handled": 4001, "mailbox": 3, "oldest_s": 0.01, "unacknowledged": 1, "stuck_s": {"risk": 12.0},
    "lag_p50_ms": 0.2, "lag_p99_ms": 3.4, "slowest": {"word": "bar", "ms": 2.0}, "last_word": "bar", "current": None,
    "progress_age_s": 0.4, "is_late": False, "limits": {"memory_bytes": {"used": 31 * 2**20, "max": 300 * 2**20}},
}  # fmt: skip
STATUS: dict[str, Any] = {
    "node": {**ROW, "facts": {"bars_evaluated": 8, "why_not": {"WARMUP": 8}}},
    "below": [],
    "falls": [{"at": "2026-01-05T10:00:00.000000Z", "context": "child_terminated", "reason": "signal SIGKILL"}],
    "patience": {"start_s": 10.0, "progress_s": 3.0, "shutdown_s": 5.0},
}


def test_one_look_answers_state_since_when_falls_use_and_last_words() -> None:
    said = node_text(STATUS, ["10:00 INFO ready"])

    assert said.splitlines()[0] == "strategies/spy_vwap  RUNNING for 2m05s  pid 4711  epoch 3"
    for words in (
        "2 in all, 1 of 3 allowed within 60 s",
        "4,001 handled; mailbox 3, oldest 0.0 s; 1 without receipt (risk",
        "p50 0.2 ms, p99 3.4 ms within the last minute",
        "memory 31 MB of 300 MB",
        "2026-01-05 10:00:00 child_terminated: signal SIGKILL",
        "  10:00 INFO ready",
    ):
        assert words in said


def test_risk_and_execution_say_what_the_runbook_looks_for() -> None:
    day = {"end_ns": 1_704_776_400 * 10**9, "equity": "9990.5", "blocked": "", "limits": {"max_drawdown_pct": None}}
    breaker = {"reason": "LATENCY", "left_s": 12.5}
    pace = {"unanswered": 3, "breaker": breaker, "latency": {"answer": {"p50_ms": 3.9}, "fill": {}}}
    flat = [["holder", "HHH", ""], ["other", "RRR", "t1"]]

    said = node_text({"node": {**ROW, "facts": {"day": day, "pace": pace, "wanted_flat": flat}}})

    for words in (
        "  day         end 2024-01-09 05:00:00, equity 9990.5",
        "  pace        unanswered 3, breaker (reason LATENCY, left s 12.5), latency",
        "  wanted flat holder HHH; other RRR t1",
    ):
        assert words in said.splitlines()


def test_what_hangs_is_named_with_what_it_hangs_at() -> None:
    hanging = {**ROW, "current": {"word": "bar", "since_s": 4.25}, "oldest_s": 6.0, "is_late": True}

    assert "strategies/spy_vwap has been at bar for 4.2 s" in node_text({"node": hanging}).replace(
        "\n             ", ""
    )
    assert "strategies/spy_vwap: a message may have waited 6 s" in processes_text([hanging])


def test_the_table_has_one_line_for_each_process_and_none_for_a_node() -> None:
    said = processes_text([{"path": "strategies", "kind": "node", "state": "RUNNING"}, ROW]).splitlines()

    assert len(said) == 2
    assert said[1].split() == ["strategies/spy_vwap", "RUNNING", "4711", "2m05s", "2", "0.7", "31", "3", "3.4"]


def test_strategies_whose_names_begin_alike_can_be_told_apart() -> None:
    alike = [{**ROW, "path": f"strategies/mean_reversion_{symbol}"} for symbol in ("spy", "qqq")]

    said = processes_text(alike).splitlines()[1:]

    assert [line.split()[0] for line in said] == ["..ies/mean_reversion_spy", "..ies/mean_reversion_qqq"]


@pytest.mark.parametrize("state", ["BACKOFF", "QUARANTINED", "DISABLED"])
def test_what_is_down_shows_no_figures_of_a_process(state: str) -> None:
    down = {**ROW, "pid": None, "state": state}

    assert processes_text([down]).splitlines()[1].split() == [
        "strategies/spy_vwap",
        state,
        "-",
        "-",
        "2",
        "-",
        "-",
        "-",
        "-",
    ]
    assert "mailbox" not in node_text({"node": down})


@given(st.dictionaries(st.sampled_from(sorted(ROW)), st.none() | st.just("")), st.text(max_size=300))
def test_no_line_is_wider_than_the_terminal_and_what_is_missing_is_no_error(gaps: dict[str, Any], text: str) -> None:
    row = {**ROW, "last_error": text, "headline": text, **gaps}

    for line in node_text({"node": row, "below": [row], "falls": [{"reason": text}]}, [text]).splitlines():
        assert len(line) <= 80
        assert line.isprintable()
