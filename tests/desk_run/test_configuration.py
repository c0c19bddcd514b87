"""One file of configuration: a broken one starts nothing and disturbs nothing; ``enabled`` works on the running desk."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.desk_run.command_line import bulkhead
from tests.desk_run.harness import Desk
from tests.desk_run.publisher import Publisher, obedient, with_obedient

BROKEN = """\
strategies:
  - name: spy
    symbol: SPY
    strategy: vwap_micro_mean_reversion
    parameters:
      flat_time: 955
      entry_deviaton_pct: 0.001
  - name: spy
    symbol: SPY
    enabled: maybe
    strategy: vwap_micro_mean_revertion
    symbol: QQQ
global:
  feed: {kind: replay, files: {SPY: nowhere.csv}}
  default_balance: lots
"""
#: What each error says of its line, its path, what it found, and what it wants.
SAID = (
    ':6 strategies[0].parameters.flat_time: got 955 (number); write "15:55" with quotes',
    ":7 strategies[0].parameters.entry_deviaton_pct: unknown key; did you mean entry_deviation_pct?",
    ':8 strategies[1].name: duplicate name "spy"; the strategy that begins in line 2 has it',
    ':10 strategies[1].enabled: got "maybe" (text); write true or false',
    ':11 strategies[1].strategy: unknown strategy "vwap_micro_mean_revertion"; did you mean vwap_micro_mean_reversion?',
    ":12 strategies[1].symbol: duplicate key; the first one is in line 9",
    ':14 global.feed.files.SPY: got "nowhere.csv" (text);',
    ':15 global.default_balance: got "lots" (text); write',
)
QUIET_FEED = "global:\n  feed: {{kind: zmq, url: '{url}', symbols: [AAA, BBB]}}\n"


def test_a_broken_file_starts_nothing_and_says_every_error_with_line_path_and_remedy(tmp_path: Path) -> None:
    file, state = tmp_path / "s.yaml", tmp_path / "var"
    file.write_text(BROKEN, encoding="utf-8")

    done = bulkhead("run", "--config", file, state=state)

    *errors, last = done.err.splitlines()
    assert (done.code, state.exists()) == (3, False)
    assert [said.removeprefix(str(file))[: len(want)] for said, want in zip(errors, SAID, strict=True)] == list(SAID)
    assert last == f"8 errors in {file}: nothing was started, nothing was changed."


def test_a_start_with_a_broken_file_runs_on_the_last_good_one_and_says_so_until_it_is_mended(tmp_path: Path) -> None:
    good = f"strategies:\n{obedient('a', 'SPY')}global:\n  feed: {{kind: synthetic, seed: 1, speed: 60}}\n"
    with Desk(with_obedient(tmp_path / "desk"), good) as desk:
        desk.start().until_up()
        desk.ask("reload")
        desk.ask("stop")
        desk.wait()
        desk.file.write_text(BROKEN, encoding="utf-8")

        alarmed = desk.start().until(lambda status: _complaints(status) and status["desk"]["state"] == "DEGRADED")
        desk.file.write_text(good.replace("name: a", "name: b"), encoding="utf-8")
        mended = desk.until(lambda status: not _complaints(status) and _running(status) == ["b"])

    assert "THE DESK STARTS ON ITS LAST GOOD CONFIGURATION" in desk.said()
    assert "nothing was started" not in desk.said()
    assert f"{desk.file}:15 global.default_balance" in desk.said()
    assert f"{desk.file} has mistakes" in _complaints(alarmed)[0]
    assert [row["name"] for row in alarmed["strategies"]] == ["a"]
    assert (desk.state / "last_good.yaml").read_text(encoding="utf-8") == good.replace("name: a", "name: b")
    assert mended["desk"]["state"] == "RUNNING"


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    done = bulkhead("run", "--config", tmp_path / "none.yaml", state=tmp_path / "var")

    assert done.code == 3
    assert done.err.startswith(f"{tmp_path / 'none.yaml'}: the file is missing")


def test_a_file_behind_a_link_is_the_one_that_the_link_leads_to_by_now(tmp_path: Path) -> None:
    text = f"strategies:\n{obedient('a', 'SPY')}global:\n  feed: {{kind: synthetic, speed: 1}}\n"
    with Desk(with_obedient(tmp_path / "desk"), text) as desk:  # what the link leads to has no strategies beside it
        first, second = (tmp_path / name / "strategies.yaml" for name in ("first", "second"))
        for release in (first, second):
            release.parent.mkdir()
        desk.file.rename(first)
        second.write_text(text.replace("name: a", "name: b"), encoding="utf-8")
        desk.file.symlink_to(first)

        desk.start().until_up()
        same = desk.ask("reload")
        (fresh := tmp_path / "link").symlink_to(second)
        fresh.rename(desk.file)
        swapped = desk.until(lambda status: _running(status) == ["b"])

    assert same["changes"] == []
    assert not swapped["alarms"]


# --- on the running desk ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """Give a running desk of two strategies on a silent market, one with an unquoted time of day."""
    folder = with_obedient(tmp_path_factory.mktemp("configured"))
    timed = "  - name: timed\n    symbol: AAA\n    strategy: vwap_micro_mean_reversion\n    parameters: {flat_time: 15:55}\n"
    with Publisher() as publisher:
        text = f"strategies:\n{timed}{obedient('b', 'BBB')}{QUIET_FEED.format(url=publisher.url)}"
        with Desk(folder, text) as desk:
            desk.start().until_up()
            yield desk


@pytest.fixture
def good(desk: Desk) -> Iterator[str]:
    """Give the good text of the running desk, and put it back afterwards."""
    text = desk.file.read_text(encoding="utf-8")
    yield text
    desk.file.write_text(text, encoding="utf-8")
    desk.until(lambda status: not status["alarms"] and len(_running(status)) == 2)


def _complaints(status: dict[str, Any]) -> list[str]:
    return [alarm for alarm in status["alarms"] if "has mistakes" in alarm]  # "a" may have left an orphan position


def _running(status: dict[str, Any]) -> list[str]:
    return [row["name"] for row in status["strategies"] if row["state"] == "RUNNING"]


def test_an_unquoted_time_of_day_is_a_time(desk: Desk) -> None:
    assert desk.strategy("timed")["state"] == "RUNNING"


GARBAGE: dict[str, tuple[Callable[[str], bytes], str]] = {
    "no YAML": (lambda _good: b"strategies: [}\n", ":1"),
    "no text": (lambda _good: b"\x00\xff\xfe" * 40, ""),
    "empty": (lambda _good: b"", "the file is empty"),
    "unknown key": (
        lambda good: good.replace("enabled: true", "enabeld: true").encode(),
        ":8 strategies[1].enabeld: unknown key; did you mean enabled?",
    ),
    "wrong time": (
        lambda good: good.replace("15:55", "955").encode(),
        ":5 strategies[0].parameters.flat_time: got 955 (number)",
    ),
    "duplicate name": (lambda good: good.replace("name: b", "name: timed").encode(), ':6 strategies[1].name: duplicate name "timed"'),
    "all errors at once": (lambda good: good.replace("15:55", "955").replace("BBB\n", "7\n").encode(), "2 errors in "),
}  # fmt: skip


@pytest.mark.parametrize(("spoil", "said"), GARBAGE.values(), ids=GARBAGE.keys())
def test_a_running_desk_goes_on_with_the_last_good_file(
    desk: Desk, good: str, spoil: Callable[[str], bytes], said: str
) -> None:
    pids = desk.pids()
    desk.file.write_bytes(spoil(good))

    status = desk.until(lambda status: status["alarms"])

    alarms = "\n".join(status["alarms"])
    assert f"{desk.file} has mistakes" in alarms
    assert f"{desk.file}{said}" in alarms or said in alarms
    assert (desk.pids(), status["desk"]["state"]) == (pids, "DEGRADED")

    desk.file.write_text(good, encoding="utf-8")
    assert desk.until(lambda status: not status["alarms"])["desk"]["state"] == "RUNNING"


def test_status_says_degraded_until_a_mistake_in_the_file_is_mended(desk: Desk, good: str) -> None:
    desk.file.write_text(good.replace("15:55", "955"), encoding="utf-8")
    desk.until(lambda status: status["alarms"])

    told, shown = bulkhead("status", "--json", state=desk.state), bulkhead("status", state=desk.state)
    desk.file.write_text(good, encoding="utf-8")
    desk.until(lambda status: not status["alarms"])
    mended = bulkhead("status", "--json", state=desk.state)

    assert (told.code, shown.code, mended.code) == (1, 1, 0)
    assert (told.json["desk"]["state"], mended.json["desk"]["state"]) == ("DEGRADED", "RUNNING")
    assert told.json["desk"]["configuration"] == f"{desk.file} has mistakes and changes nothing until they are mended"
    assert mended.json["desk"]["configuration"] == ""
    assert shown.out.startswith("desk  DEGRADED paper")


def test_a_file_that_is_taken_away_is_an_alarm_and_no_more(desk: Desk, good: str) -> None:
    pids = desk.pids()
    desk.file.unlink()

    alarms = desk.until(lambda status: status["alarms"])["alarms"]
    desk.file.write_text(good, encoding="utf-8")
    desk.until(lambda status: not status["alarms"])

    assert "the file is missing" in "\n".join(alarms)
    assert desk.pids() == pids


def test_editing_enabled_stops_and_starts_that_process_alone(desk: Desk, good: str) -> None:
    pids = desk.pids()
    desk.file.write_text(good.replace("enabled: true", "enabled: false"), encoding="utf-8")
    off = desk.until(lambda status: status["strategies"][1]["state"] == "DISABLED")
    left = desk.pids()
    desk.file.write_text(good, encoding="utf-8")
    desk.until(lambda status: status["strategies"][1]["state"] == "RUNNING")
    again = desk.pids()

    assert left.items() == pids.items() - {("strategies/b", pids["strategies/b"])}
    assert off["strategies"][1]["note"] == "disabled in the configuration"
    assert again.pop("strategies/b") != pids["strategies/b"]
    assert again == left
    assert desk.row("strategies/b")["restarts"] == 0


def test_an_edit_that_only_a_start_can_take_is_an_alarm_and_changes_nothing(desk: Desk, good: str) -> None:
    pids = desk.pids()
    desk.file.write_text(good.replace("global:", "global:\n  default_balance: 5"), encoding="utf-8")

    alarms = desk.until(lambda status: status["alarms"])["alarms"]

    assert alarms == ['global.default_balance: "10000" -> "5": needs a restart of the desk']
    assert desk.pids() == pids


def test_a_verb_goes_before_the_file_until_that_entry_is_edited(desk: Desk, good: str) -> None:
    desk.ask("disable", name="b", reason="lunch")
    disabled = desk.until(lambda status: status["strategies"][1]["state"] == "DISABLED")
    desk.file.write_text(good.replace("15:55", "15:50"), encoding="utf-8")
    desk.ask("reload")
    other_edit = desk.status()
    desk.file.write_text(good.replace("enabled: true", "enabled: false"), encoding="utf-8")
    edited = desk.until(lambda status: not status["desk"]["overrides"])
    desk.file.write_text(good, encoding="utf-8")
    desk.until(lambda status: status["strategies"][1]["state"] == "RUNNING")

    assert disabled["desk"]["overrides"] == other_edit["desk"]["overrides"] == {"strategies/b": False}
    assert disabled["strategies"][1]["note"] == ("disabled by an operator: lunch; the configuration says enabled: true")
    assert edited["strategies"][1]["note"] == "disabled in the configuration"


def test_the_console_s_successor_knows_what_the_file_said_and_what_operators_wished(desk: Desk, good: str) -> None:
    edited = good.replace("enabled: true", "enabled: false")
    desk.file.write_text(edited, encoding="utf-8")
    desk.until(lambda status: status["strategies"][1]["state"] == "DISABLED")
    desk.ask("enable", name="b")
    desk.file.write_text(edited.replace("15:55", "955"), encoding="utf-8")
    desk.until(lambda status: status["alarms"] and status["strategies"][1]["state"] == "RUNNING")

    fallen = desk.kill("console")
    desk.until(lambda status: desk.row("console")["pid"] != fallen and status["alarms"])
    desk.file.write_text(edited, encoding="utf-8")
    kept = desk.until(lambda status: not status["alarms"])
    desk.file.write_text(good, encoding="utf-8")
    mended = desk.until(lambda status: status["strategies"][1]["configured"] and not status["desk"]["overrides"])

    assert kept["desk"]["overrides"] == {"strategies/b": True}
    assert (kept["strategies"][1]["state"], kept["strategies"][1]["configured"]) == ("RUNNING", False)
    assert mended["strategies"][1]["state"] == "RUNNING"


@pytest.mark.slow
def test_an_override_outlives_the_desk_and_ends_with_an_edit_while_it_is_down(tmp_path: Path) -> None:
    text = f"strategies:\n{obedient('a', 'SPY')}global:\n  feed: {{kind: synthetic, seed: 1, speed: 1}}\n"
    with Desk(with_obedient(tmp_path / "desk"), text) as desk:
        desk.start().until_up()
        desk.ask("disable", name="a")
        desk.until(lambda status: status["strategies"][0]["state"] == "DISABLED")
        states: list[tuple[str, dict[str, bool]]] = []
        for edited in (text, text.replace("enabled: true", "enabled: false"), text):
            desk.ask("stop")
            desk.wait()
            desk.file.write_text(edited, encoding="utf-8")
            status = desk.start().until_up()
            states.append((status["strategies"][0]["state"], status["desk"]["overrides"]))

    assert states == [("DISABLED", {"strategies/a": False}), ("DISABLED", {}), ("RUNNING", {})]
