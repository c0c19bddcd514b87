"""What an edit of the file comes to while the desk runs: at once, when flat, by which restart; and where it stands."""

from pathlib import Path
from typing import ClassVar

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actors.problem import render
from actors.settings import (
    ControlSettings,
    DeskLimits,
    ExecutionSettings,
    FeedSettings,
    PaperSettings,
    ProcessLimits,
    ReconciliationSettings,
    RiskConfig,
    Settings,
    StrategySettings,
    SupervisionSettings,
    VenueSettings,
)
from actors.settings_file import Loaded, load
from actors.settings_plan import Change, Plan, plan
from actors.settings_policy import POLICIES, Policy, policy_of
from strategies.base import Strategy


class TwoParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One that holds at once, one that waits."""

    size: int = 1
    window: int = 20


class Idler(Strategy):
    """A strategy that never decides anything."""

    Parameters: ClassVar[type[msgspec.Struct]] = TwoParameters
    live_parameters: ClassVar[frozenset[str]] = frozenset({"size"})


class Dozer(Idler):
    """Another one that decides nothing, and wants to hear each tick of it."""

    wants_ticks: ClassVar[bool] = True


KNOWN: dict[str, type[Strategy]] = {"idler": Idler, "dozer": Dozer}
FILE = """\
strategies:
  - name: a
    symbol: SPY
    strategy: idler
    parameters: {size: 1, window: 20}
    limits:
      hang_s: 3
  - name: b.c
    symbols: [QQQ, SPY]
    strategy: idler
    enabled: true
global:
  feed: {kind: synthetic, symbols: [SPY, QQQ, IWM], seed: 1, speed: 60}
"""


def read(folder: Path, text: str) -> Loaded:
    path = folder / "strategies.yaml"
    path.write_text(text, encoding="utf-8")
    loaded = load(path, KNOWN.get, lambda: tuple(KNOWN))
    assert loaded.settings is not None, render(loaded.problems)
    return loaded


def planned(
    folder: Path, edits: dict[str, str], *busy: str, text: str = FILE, running: frozenset[str] = frozenset()
) -> Plan:
    """Plan what some edits of the file come to."""
    old = read(folder, text).settings
    for before, after in edits.items():
        assert before in text
        text = text.replace(before, after)
    new = read(folder, text)
    assert old is not None
    assert new.settings is not None
    return plan(old, new.settings, new.lines, busy, running=running)


def entry(made: Plan, name: str) -> StrategySettings:
    found = made.effective.strategy(name)
    assert found is not None
    return found


# --- the table ------------------------------------------------------------------------------------


def keys(path: str, kind: type[msgspec.Struct], without: frozenset[str]) -> set[str]:
    return {f"{path}.{name}" for name in kind.__struct_fields__ if name not in without}


def test_every_key_of_the_file_has_a_policy_and_no_other_has() -> None:
    derived = frozenset({"name", "line", "refusal", "live_parameters", "wants_ticks", "flat_at"})
    sections = frozenset({"risk_config", "limits", "supervision"})
    known = keys("strategies[]", StrategySettings, derived | sections)
    known |= keys("strategies[].risk_config", RiskConfig, frozenset())
    known |= keys("strategies[].limits", ProcessLimits, frozenset())
    known |= keys("strategies[].supervision", SupervisionSettings, frozenset())
    inner = frozenset(
        {
            "strategies",
            "strategies_folder",
            "venues_folder",
            "feed",
            "paper",
            "venue",
            "risk",
            "supervision",
            "control",
            "execution",
            "reconciliation",
        }
    )
    known |= keys("global", Settings, inner)
    known |= keys("global.feed", FeedSettings, frozenset())
    known |= keys("global.paper", PaperSettings, frozenset())
    known |= keys("global.venue", VenueSettings, frozenset())
    known |= keys("global.risk", DeskLimits, frozenset())
    known |= keys("global.supervision", SupervisionSettings, frozenset())
    known |= keys("global.control", ControlSettings, frozenset())
    known |= keys("global.execution", ExecutionSettings, frozenset())
    known |= keys("global.reconciliation", ReconciliationSettings, frozenset())

    assert set(POLICIES) == known


def test_a_parameter_is_live_where_its_strategy_says_so_and_waits_where_it_does_not() -> None:
    assert policy_of("strategies[].parameters.size", ("size",)) is Policy.LIVE
    assert policy_of("strategies[].parameters.window", ("size",)) is Policy.WHEN_FLAT


def test_a_value_inside_a_parameter_has_the_policy_of_that_parameter() -> None:
    assert policy_of("strategies[].parameters.levels.low", ("levels",)) is Policy.LIVE
    assert policy_of("strategies[].parameters.levels.low", ("low",)) is Policy.WHEN_FLAT


def test_one_of_the_feeds_files_has_the_policy_of_them_all() -> None:
    assert policy_of("global.feed.files.SPY") is Policy.DESK_RESTART


# --- one edit each --------------------------------------------------------------------------------


def test_lines_that_moved_are_no_change(tmp_path: Path) -> None:
    made = planned(tmp_path, {"strategies:": "# a remark\n\nstrategies:"})

    assert (made.changes, made.restart) == ((), frozenset())


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("size: 1", "size: 2", Change("strategies.a.parameters.size", "1", "2", 5, "live")),
        ("window: 20", "window: 30", Change("strategies.a.parameters.window", "20", "30", 5, "when flat")),
        (", window: 20", "", Change("strategies.a.parameters.window", "20", "nothing", 0, "when flat")),
        ("hang_s: 3", "hang_s: 4", Change("strategies.a.limits.hang_s", "3.0", "4.0", 7, "live")),
        ("speed: 60", "speed: 30", Change("global.feed.speed", "60.0", "30.0", 13, "live")),
        (
            "enabled: true",
            "enabled: false",
            Change(
                "strategies.b.c.enabled",
                "true",
                "false",
                11,
                "stops, and its position is held: its recorded stop rests at the venue",
            ),
        ),
    ],
)
def test_what_can_hold_holds_without_any_restart(tmp_path: Path, before: str, after: str, told: Change) -> None:
    made = planned(tmp_path, {before: after}, "a", "b.c")
    wanted = read(tmp_path, FILE.replace(before, after)).settings

    assert made.changes == (told,)
    assert made.effective == wanted
    assert (made.restart, made.waits_for_flat) == (frozenset(), frozenset())


def test_what_a_process_takes_at_its_start_restarts_it_alone(tmp_path: Path) -> None:
    made = planned(tmp_path, {"hang_s: 3": "open_files: 99"}, "a")

    assert made.restart == {"a"}
    assert [change.effect for change in made.changes] == ["restart of this strategy"]


@pytest.mark.parametrize(
    ("before", "after"),
    [("symbol: SPY", "symbol: IWM"), ("strategy: idler\n    parameters", "strategy: dozer\n    parameters")],
)
def test_other_code_or_symbols_wait_for_a_strategy_that_holds_something(
    tmp_path: Path, before: str, after: str
) -> None:
    waits = planned(tmp_path, {before: after, "size: 1": "size: 2", "hang_s: 3": "hang_s: 4"}, "a")
    flat = planned(tmp_path, {before: after, "size: 1": "size: 2", "hang_s: 3": "hang_s: 4"})

    assert (waits.waits_for_flat, waits.restart) == ({"a"}, frozenset())
    held = entry(waits, "a")
    assert (held.symbols, held.strategy, held.parameters) == (("SPY",), "idler", {"size": 1, "window": 20})
    assert held.limits.hang_s == 4
    assert (flat.waits_for_flat, flat.restart) == (frozenset(), {"a"})
    assert entry(flat, "a").parameters["size"] == 2


def test_a_new_entry_starts_and_one_that_is_gone_leaves(tmp_path: Path) -> None:
    made = planned(tmp_path, {"name: b.c": "name: d", "strategy: idler\n    enabled": "strategy: dozer\n    enabled"})

    assert [one.name for one in made.effective.strategies] == ["a", "d"]
    assert made.changes == (
        Change("strategies.d", "nothing", "dozer on QQQ, SPY", 8, "starts"),
        Change(
            "strategies.b.c",
            "idler on QQQ, SPY",
            "nothing",
            0,
            "stops, and its position is held: its recorded stop rests at the venue",
        ),
    )


def test_what_becomes_of_the_position_is_told(tmp_path: Path) -> None:
    text = FILE.replace("    enabled: true", "    enabled: true\n    on_disable: flatten")

    off = planned(tmp_path, {"enabled: true": "enabled: false"}, text=text)
    gone = planned(tmp_path, {"name: b.c": "name: d"}, text=text)

    assert off.changes[0].effect == "stops, and its position is closed at the market"
    assert gone.changes[-1].effect == "stops, and its position is closed at the market"


@pytest.mark.parametrize("edit", ["seed: 2", "seed: 1, lockstep: false"])
def test_another_feed_waits_for_another_state_folder(tmp_path: Path, edit: str) -> None:
    made = planned(tmp_path, {"seed: 1": edit})

    (change,) = made.changes
    assert change.is_waiting
    assert change.effect == "needs a restart of the desk, on another state folder: this one belongs to its feed"
    assert made.effective.feed == read(tmp_path, FILE).settings.feed  # type: ignore[union-attr]


def test_a_strategy_whose_symbol_the_running_feed_does_not_give_waits_and_the_others_do_not(tmp_path: Path) -> None:
    made = planned(
        tmp_path,
        {"symbols: [SPY, QQQ, IWM]": "symbols: [SPY, QQQ, IWM, DIA]", "symbols: [QQQ, SPY]": "symbols: [DIA]"},
    )
    size = planned(
        tmp_path,
        {
            "symbols: [SPY, QQQ, IWM]": "symbols: [SPY, QQQ, IWM, DIA]",
            "symbol: SPY": "symbol: DIA",
            "hang_s: 3": "hang_s: 4",
        },
    )

    assert entry(made, "b.c").symbols == ("QQQ", "SPY")
    assert made.waits_for_flat == frozenset()
    assert "the running feed does not give DIA" in made.changes[0].effect
    assert (entry(size, "a").symbols, entry(size, "a").limits.hang_s) == (("SPY",), 4)


@pytest.mark.parametrize("symbol", ["DIA", "SPY"])
def test_a_disabled_strategy_is_not_enabled_before_the_feed_gives_what_it_wants(tmp_path: Path, symbol: str) -> None:
    text = FILE.replace("symbol: SPY", f"symbol: {symbol}\n    enabled: false")

    made = planned(
        tmp_path,
        {
            "symbols: [SPY, QQQ, IWM]": "symbols: [SPY, QQQ, IWM, DIA]",
            f"symbol: {symbol}": "symbol: DIA",
            "enabled: false": "enabled: true",
        },
        text=text,
    )

    assert (entry(made, "a").symbols, entry(made, "a").enabled) == ((symbol,), False)
    waiting = {change.path: change.effect for change in made.changes if change.is_waiting}
    assert "the running feed does not give DIA" in waiting["strategies.a.enabled"]


def test_the_plan_does_not_say_that_one_starts_which_stays_down(tmp_path: Path) -> None:
    new = read(tmp_path, FILE).settings
    assert new is not None
    entries = [msgspec.structs.replace(entry, refusal="no" if entry.name == "b.c" else "") for entry in new.strategies]
    new = msgspec.structs.replace(new, strategies=tuple(entries))
    off = tuple(msgspec.structs.replace(entry, enabled=False) for entry in entries)

    made = plan(msgspec.structs.replace(new, strategies=off), new, {}, (), quarantined=("a",))

    assert {change.path: change.effect for change in made.changes} == {
        "strategies.a.enabled": "stays down, in quarantine: bulkhead release a",
        "strategies.b.c.enabled": "cannot run: no",
    }


def test_the_plan_leaves_a_position_of_which_an_operator_spoke_to_that_word(tmp_path: Path) -> None:
    new = read(tmp_path, FILE).settings
    assert new is not None
    off = msgspec.structs.replace(new.strategies[0], enabled=False)

    made = plan(new, msgspec.structs.replace(new, strategies=(off,)), {}, (), spoken=("a", "b.c"))

    assert {change.effect for change in made.changes} == {"stops, and its position is as an operator said"}


@pytest.mark.parametrize("busy", [(), ("a",)])
def test_one_that_runs_and_cannot_be_checked_again_goes_on_with_what_it_has(
    tmp_path: Path, busy: tuple[str, ...]
) -> None:
    old, new = read(tmp_path, FILE).settings, read(tmp_path, FILE.replace("window: 20", "window: 30")).settings
    assert old is not None
    assert new is not None
    refused = msgspec.structs.replace(new.strategies[0], refusal="importing it takes too long", live_parameters=())

    made = plan(old, msgspec.structs.replace(new, strategies=(refused, *new.strategies[1:])), {}, busy)

    assert (made.effective, made.restart, made.waits_for_flat) == (old, frozenset(), frozenset())
    words = "goes on with what it has: the code that it runs cannot be checked"
    assert made.changes == (
        Change("strategies.a.parameters.window", "20", "30", 0, words, is_waiting=True),
        Change("strategies.a", "can run", "importing it takes too long", 2, words, is_waiting=True),
    )


@pytest.mark.parametrize(("running", "symbol"), [(frozenset({"a"}), "SPY"), (frozenset({"b.c"}), "DIA")])
def test_a_strategy_that_an_operator_lets_run_keeps_its_market_until_the_feed_gives_the_other(
    tmp_path: Path, running: frozenset[str], symbol: str
) -> None:
    text = FILE.replace("symbol: SPY", "symbol: SPY\n    enabled: false")
    edits = {"symbols: [SPY, QQQ, IWM]": "symbols: [SPY, QQQ, IWM, DIA]", "symbol: SPY": "symbol: DIA"}

    made = planned(tmp_path, edits, "a", text=text, running=running | {"b.c"})
    away = planned(tmp_path, edits, text=text, running=running)

    assert (entry(away, "a").symbols, entry(away, "a").enabled) == ((symbol,), False)
    assert entry(made, "a").symbols == ("SPY",)
    assert made.waits_for_flat == (frozenset() if symbol == "SPY" else frozenset({"a"}))
    waiting = [change.effect for change in away.changes if change.path == "strategies.a.symbols" and change.is_waiting]
    assert ("the running feed does not give DIA" in str(waiting)) is (symbol == "SPY")


def test_a_name_that_comes_back_while_execution_is_silent_waits_for_its_word(tmp_path: Path) -> None:
    old = read(tmp_path, FILE).settings
    loaded = read(tmp_path, FILE.replace("  - name: b.c", "  - {name: c, symbol: SPY, strategy: idler}\n  - name: b.c"))
    assert old is not None
    assert loaded.settings is not None
    former = StrategySettings(name="c", symbols=("GONE",), strategy="idler")

    unheard = plan(old, loaded.settings, loaded.lines, ("a", "b.c", "c"), formers={"c": former})
    heard = plan(old, loaded.settings, loaded.lines, (), 7, {"c": former})

    assert (unheard.effective.strategy("c"), unheard.waits_for_flat) == (None, frozenset({"c"}))
    assert [change.is_waiting for change in unheard.changes] == [True]
    assert (entry(heard, "c").flat_at, heard.waits_for_flat) == (7, frozenset())


def test_symbols_of_a_publisher_that_stays_the_same_hold_at_once(tmp_path: Path) -> None:
    text = FILE.replace(
        "kind: synthetic, symbols: [SPY, QQQ, IWM], seed: 1, speed: 60", "kind: zmq, url: 'tcp://localhost:5'"
    )

    made = planned(tmp_path, {"symbol: SPY": "symbol: IWM"}, text=text)

    assert made.effective.feed.symbols == ("SPY", "QQQ", "IWM")
    assert not [change for change in made.changes if change.is_waiting]


def test_a_publishers_symbol_that_nobody_names_any_more_stays_because_somebody_may_hold_it(tmp_path: Path) -> None:
    text = FILE.replace(
        "kind: synthetic, symbols: [SPY, QQQ, IWM], seed: 1, speed: 60", "kind: zmq, url: 'tcp://localhost:5'"
    )

    made = planned(tmp_path, {"symbols: [QQQ, SPY]": "symbols: [SPY]"}, text=text)

    assert made.effective.feed.symbols == ("SPY", "QQQ")
    assert [change.path for change in made.changes] == ["strategies.b.c.symbols"]


def test_what_only_a_start_of_the_desk_can_change_is_told_and_left(tmp_path: Path) -> None:
    made = planned(
        tmp_path, {"global:": "global:\n  default_balance: 5\n  paper: {slippage_bps: 1}\n  risk: {max_positions: 3}"}
    )

    assert [(change.path, change.line, change.effect, change.is_waiting) for change in made.changes] == [
        ("global.paper.slippage_bps", 14, "needs a restart of the desk", True),
        ("global.risk.max_positions", 15, "live", False),
        ("global.default_balance", 13, "needs a restart of the desk", True),
    ]
    assert (str(made.effective.default_balance), str(made.effective.paper.slippage_bps)) == ("10000", "5")
    assert made.effective.risk.max_positions == 3


# --- any edit -------------------------------------------------------------------------------------

ENTRIES = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.sampled_from(["a", "b", "c", "d.e"]),
            "strategy": st.sampled_from(["idler", "dozer"]),
            "symbols": st.lists(st.sampled_from(["SPY", "QQQ", "IWM"]), min_size=1, max_size=2, unique=True),
            "enabled": st.booleans(),
            "timeframe": st.sampled_from(["1m", "5m"]),
            "parameters": st.dictionaries(st.sampled_from(["size", "window"]), st.integers(1, 3)),
            "limits": st.dictionaries(st.sampled_from(["open_files", "memory_hard_mb"]), st.integers(200, 202)),
            "on_disable": st.sampled_from(["hold", "flatten"]),
        }
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda one: str(one["name"]),
)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(old=ENTRIES, new=ENTRIES, busy=st.sets(st.sampled_from(["a", "b", "c", "d.e"])))
def test_the_plan_of_a_plan_changes_nothing_and_once_flat_the_file_holds(
    tmp_path_factory: pytest.TempPathFactory, old: list[object], new: list[object], busy: set[str]
) -> None:
    folder = tmp_path_factory.mktemp("any")
    feed = {"feed": {"kind": "synthetic", "symbols": ["SPY", "QQQ", "IWM"]}}
    was, now = (
        read(folder, msgspec.json.encode({"strategies": entries, "global": feed}).decode()) for entries in (old, new)
    )
    assert was.settings is not None
    assert now.settings is not None

    first = plan(was.settings, now.settings, now.lines, busy)
    second = plan(first.effective, now.settings, now.lines, busy)
    flat = plan(first.effective, now.settings, now.lines, ())

    assert (second.effective, second.restart) == (first.effective, frozenset())
    assert all(change.is_waiting for change in second.changes)
    assert second.waits_for_flat == first.waits_for_flat <= busy
    assert flat.effective == now.settings
    assert first.restart | first.waits_for_flat | flat.restart == first.restart | flat.restart
