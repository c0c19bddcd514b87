"""Alarms: what stays is raised once, what goes is cleared, and each rule finds its own trouble and nothing else."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.alarm_board import CLEAR_NS, RAISE_NS_DEFAULT, Alarm, AlarmBoard, Finding
from actors.alarm_rules import BAR_NS_MAX, DISK_FREE_MIN, FEED_SILENT_NS, STEP_NS_MAX, AlarmRules
from runtime.words import Watched

S = 1_000_000_000
PLENTY = 1 << 40
A = Finding("late", "risk", "risk is late")


# --- the board --------------------------------------------------------------------------------------


def looks(board: AlarmBoard, found: list[tuple[int, bool]]) -> list[tuple[int, str]]:
    """Let a finding come and go; give what was raised and cleared, and when (s)."""
    said: list[tuple[int, str]] = []
    for at_s, is_found in found:
        raised, cleared = board.look([A] if is_found else [], at_s * S)
        said += [(at_s, "raised")] * len(raised) + [(at_s, "cleared")] * len(cleared)
    return said


def test_what_is_found_for_long_enough_is_raised_once_and_cleared_when_it_stays_away() -> None:
    assert looks(AlarmBoard(), [(second, second < 10) for second in range(30)]) == [(3, "raised"), (19, "cleared")]


def test_what_comes_for_a_moment_is_no_alarm() -> None:
    assert looks(AlarmBoard(), [(second, second % 3 == 0) for second in range(60)]) == []


def test_an_alarm_does_not_flap() -> None:
    found = [(second, second < 5 or second % 4 == 0) for second in range(60)]

    assert looks(AlarmBoard(), found) == [(3, "raised")]


def test_a_full_disk_is_raised_at_once() -> None:
    raised, _ = AlarmBoard().look([Finding("disk_low", "", "disk nearly full")], 5 * S)

    assert [alarm.finding.code for alarm in raised] == ["disk_low"]


@given(st.lists(st.tuples(st.integers(0, 6 * S), st.sets(st.sampled_from(["a", "b", "c"]))), min_size=1, max_size=60))
def test_raised_and_cleared_alternate_and_what_stands_is_what_was_raised_and_not_cleared(
    steps: list[tuple[int, set[str]]],
) -> None:
    board, now_ns = AlarmBoard(), 0
    standing: dict[str, Alarm] = {}
    away_since_ns: dict[str, int] = {}
    for pause_ns, paths in steps:
        now_ns += pause_ns + 1
        raised, cleared = board.look([Finding("late", path, path) for path in sorted(paths)], now_ns)

        for alarm in raised:
            assert alarm.finding.path in paths - standing.keys()
            assert now_ns - alarm.since_ns >= RAISE_NS_DEFAULT
            standing[alarm.finding.path] = alarm
        for alarm in cleared:
            assert alarm.finding.path not in paths
            assert now_ns - away_since_ns[alarm.finding.path] >= CLEAR_NS
            del standing[alarm.finding.path]
        for path in paths:
            away_since_ns[path] = now_ns
        assert {alarm.finding.path for alarm in board.standing()} == standing.keys()


# --- the rules --------------------------------------------------------------------------------------


def row(path: str, *, epoch: int = 1, **more: Any) -> Watched:
    fields: dict[str, Any] = {"handled": 0, "oldest_ns": 0, "stuck": {}, "rss_bytes": 0, "soft_bytes": 0, "facts": {}}
    return Watched(path=path, epoch=epoch, **(fields | more))


def live(events: int, heads: dict[str, int] | None = None) -> Watched:
    return row("market_data", facts={"events": events, "heads": heads or {}})


def stepped(step: int, waits_for: list[str]) -> Watched:
    return row("market_data", facts={"step": step, "waits_for": waits_for, "events": 1})


def codes(tables: list[tuple[int, list[Watched]]], free_bytes: int = PLENTY) -> list[str]:
    """Let the rules look at tables at times (ns); give the codes that the last one is found with."""
    rules = AlarmRules()
    found = [rules.look(rows, free_bytes, now_ns) for now_ns, rows in tables]
    return [finding.code for finding in found[-1]]


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        pytest.param([(0, [live(5)]), (FEED_SILENT_NS, [live(5)])], ["feed_silent"], id="no tick for a minute"),
        pytest.param([(0, [live(5)]), (FEED_SILENT_NS, [live(6)])], [], id="a tick"),
        pytest.param([(0, [live(5)]), (FEED_SILENT_NS - 1, [live(5)])], [], id="not yet a minute"),
        pytest.param(
            [(0, [stepped(7, ["risk"])]), (STEP_NS_MAX, [stepped(7, ["risk"])])], ["market_stands"], id="a step stands"
        ),
        pytest.param([(0, [stepped(7, ["risk"])]), (STEP_NS_MAX, [stepped(8, ["risk"])])], [], id="the next step"),
        pytest.param([(0, [stepped(7, [])]), (STEP_NS_MAX, [stepped(7, [])])], [], id="a slow market waits for nobody"),
        pytest.param(
            [(0, [row("market_data", facts={"events": 1, "is_ended": True})])] * 2
            + [(FEED_SILENT_NS, [row("market_data", facts={"events": 1, "is_ended": True})])],
            [],
            id="a market that is over",
        ),
        pytest.param([(0, [row("risk", oldest_ns=6 * S)])], ["mailbox_old"], id="an old message"),
        pytest.param([(0, [row("risk", stuck={"execution": 11 * S})])], ["no_receipt"], id="no receipt"),
        pytest.param([(0, [row("risk", stuck={"execution": 9 * S})])], [], id="a receipt may take a while"),
        pytest.param([(0, [row("s", rss_bytes=11, soft_bytes=10)])], ["memory_soft"], id="memory"),
        pytest.param([(0, [row("s", rss_bytes=11)])], [], id="memory without limit"),
    ],
)
def test_a_rule_finds_its_trouble_and_no_other(tables: list[tuple[int, list[Watched]]], said: list[str]) -> None:
    assert codes(tables) == said


def strategy(sequence: int, epoch: int = 1) -> Watched:
    return row("strategies/a", epoch=epoch, facts={"last_bars": {"bar.SPY.1m": sequence}})


def market(head: int) -> Watched:
    return live(head, {"bar.SPY.1m": head})


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        pytest.param([(0, [market(9), strategy(8)]), (BAR_NS_MAX, [market(9), strategy(8)])], ["no_bar"], id="left"),
        pytest.param(
            [(0, [market(9), strategy(8)]), (BAR_NS_MAX, [market(20), strategy(8)])], ["no_bar"], id="many left"
        ),
        pytest.param([(0, [market(9), strategy(8)]), (BAR_NS_MAX, [market(20), strategy(9)])], [], id="slow but at it"),
        pytest.param(
            [(0, [market(9), strategy(9)]), (BAR_NS_MAX, [market(10), strategy(9)])], [], id="a new bar just came"
        ),
        pytest.param([(0, [market(9), strategy(9)]), (BAR_NS_MAX, [market(9), strategy(9)])], [], id="no bar came"),
        pytest.param([(0, [market(9), strategy(8)]), (BAR_NS_MAX, [market(9), strategy(8, 2)])], [], id="a successor"),
        pytest.param([(0, [market(9), strategy(8)]), (BAR_NS_MAX, [strategy(8)])], [], id="no market to compare with"),
    ],
)
def test_a_strategy_that_leaves_its_bars_is_found(tables: list[tuple[int, list[Watched]]], said: list[str]) -> None:
    assert codes(tables) == said


@pytest.mark.parametrize("told", [7, ["bar.SPY.1m"], {"bar.SPY.1m": "8"}, {"bar.SPY.1m": None}, {"bar.SPY.1m": -1}])
def test_a_strategy_that_says_of_its_bars_what_cannot_be_harms_nobody(told: object) -> None:
    liar, honest = row("strategies/b", facts={"last_bars": told}), strategy(8)

    assert codes([(0, [market(9), liar, honest]), (BAR_NS_MAX, [market(9), liar, honest])]) == ["no_bar"]


@pytest.mark.parametrize(("free_bytes", "said"), [(DISK_FREE_MIN - 1, ["disk_low"]), (DISK_FREE_MIN, []), (-1, [])])
def test_a_disk_that_is_nearly_full_is_found(free_bytes: int, said: list[str]) -> None:
    assert codes([(0, [])], free_bytes) == said
