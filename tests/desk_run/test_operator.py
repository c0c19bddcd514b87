"""The operator's verbs on running, halted and stopped desks, by the command line and by the control socket."""

import json
import os
import re
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import zmq

from actors.control_client import VerbRefusedError
from actors.revision import git_revision
from tests.desk_run.command_line import bulkhead
from tests.desk_run.harness import BULKHEAD, PATIENCE_S, Desk
from tests.desk_run.market_told import Market
from tests.desk_run.publisher import Publisher, obedient, with_obedient

#: Names that programs build on.
DESK_NAMES = {"mode", "state", "version", "pid", "uptime_s", "halted", "gate", "restarts", "overrides"}
TREE_NAMES = {"path", "kind", "pid", "state", "restarts", "last_exit", "last_error", "rss_bytes", "since_s"}
STRATEGY_NAMES = {
    "name", "symbol", "enabled", "state", "signals_generated", "orders_sent", "ticks_processed", "last_tick_time",
    "error_count", "why_not",
}  # fmt: skip
ORDER_NAMES = {"order_id", "strategy", "symbol", "side", "type", "quantity", "filled_quantity", "state"}
TRADE_NAMES = {
    "strategy", "symbol", "side", "quantity", "entry_price", "exit_price", "opened_ns", "closed_ns", "pnl", "fees",
    "exit_reason",
}  # fmt: skip


@pytest.fixture
def market(tmp_path: Path) -> Iterator[Market]:
    """Give a desk with one strategy that holds what it buys and one whose entries rest far from the market."""
    entries = obedient("holder", "HHH") + obedient("rester", "RRR", limit=50)
    with Publisher() as publisher:
        text = f"strategies:\n{entries}global:\n  zmq_market_url: {publisher.url}\n"
        with Desk(with_obedient(tmp_path / "desk"), text) as desk:
            desk.start().until_up()
            publisher.until_subscribed(["HHH", "RRR"])
            yield Market(desk, publisher)


@pytest.fixture
def busy(market: Market) -> Market:
    """Give that desk with a position of one strategy and a working entry of the other."""
    market.until(
        lambda: market.desk.positions() and market.orders(state="SUBMITTED", strategy="rester"), HHH=101, RRR=101
    )
    return market


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """Give a desk on a silent market, for looking and for verbs that leave it as it was."""
    patience = "    supervision: {intensity: 1, period_s: 3600}\n"
    refused = "  - {name: model, symbol: AAA, model_path: m.json}\n"
    with Publisher() as publisher:
        text = f"strategies:\n{obedient('a', 'AAA')}{obedient('fragile', 'BBB')}{patience}{refused}"
        folder = with_obedient(tmp_path_factory.mktemp("operated"))
        with Desk(folder, f"{text}global:\n  zmq_market_url: {publisher.url}\n") as desk:
            desk.start().until_up()
            publisher.until_subscribed(["AAA", "BBB"])
            publisher.tick("AAA", 0, 1)
            publisher.tick("AAA", 60, 1)
            desk.until(lambda status: status["strategies"][0]["why_not"])
            yield desk


# --- looking ----------------------------------------------------------------------------------------


def test_the_status_has_every_name_that_programs_build_on(calm: Desk) -> None:
    said = bulkhead("status", "--json", state=calm.state)

    status = said.json
    assert said.code == 0
    assert status["desk"].keys() >= DESK_NAMES
    assert all(row.keys() >= TREE_NAMES for row in status["tree"])
    assert all(row.keys() >= STRATEGY_NAMES for row in status["strategies"])
    assert {"strategies/a", "venues/paper", "execution", "market_data", "watchdog"} <= {
        row["path"] for row in status["tree"]
    }


@pytest.mark.parametrize(
    "words", ["status", "strategies", "orders", "positions", "trades", "journal", "enable a", "cancel a"]
)
def test_every_answer_comes_as_json_too(calm: Desk, words: str) -> None:
    said = bulkhead(*words.split(), "--json", state=calm.state)

    assert (said.code, said.err) == (0, "")
    assert isinstance(said.json, list | dict)


def test_the_screen_shows_the_tree_in_80_columns_with_what_is_refused_and_why(calm: Desk) -> None:
    said = bulkhead("status", state=calm.state)

    lines = said.out.splitlines()
    assert max(map(len, lines)) <= 80
    assert re.match(r"desk  RUNNING paper  up \S+  feed zmq  market 2024-01-08 15:01:00$", lines[0])
    assert re.search(r"\|- a +RUNNING +pid \d+ \d+ MB why-not: NO_SIGNAL \d", said.out)
    assert re.search(r"model +REFUSED\n.*refused: model file", said.out)


def test_the_desk_says_how_to_look_at_it_where_it_keeps_its_state(calm: Desk) -> None:
    (hint,) = re.findall(r"^look at it with: (.*?) {4}", calm.said(), re.MULTILINE)

    assert hint.endswith(f"bulkhead status --state {calm.state}")


def test_the_status_of_one_path_says_all_that_is_known_of_it(calm: Desk) -> None:
    said = bulkhead("status", "strategies/a", state=calm.state)
    told = bulkhead("status", "strategies/a", "--json", state=calm.state).json

    assert said.code == 0
    assert re.match(rf"strategies/a  RUNNING for \S+  pid {calm.pids()['strategies/a']}  epoch \d+\n", said.out)
    assert re.search(r"messages +\d+ handled; mailbox \d", said.out)
    assert re.search(r"last words of its log\n  \S+Z INFO    strategies/a ready\n", said.out)
    assert max(map(len, said.out.splitlines())) <= 80
    assert told["strategy"]["name"] == "a"
    assert told["node"]["facts"]["bars_evaluated"] == told["strategy"]["bars_evaluated"] in {1, 2}  # by a slow hour two
    assert told["patience"]["progress_s"] > 0


def test_the_status_of_a_node_lists_what_is_below_it_and_one_of_no_path_is_refused(calm: Desk) -> None:
    node = bulkhead("status", "strategies", "--json", state=calm.state).json
    nothing = bulkhead("status", "strategies/nobody", state=calm.state)

    assert [row["path"] for row in node["below"]] == ["strategies/a", "strategies/fragile"]
    assert (nothing.code, nothing.err) == (3, "there is no strategies/nobody in the tree\n")


def test_the_status_says_which_code_and_configuration_run(calm: Desk) -> None:
    desk = calm.status()["desk"]

    assert desk["git"] == git_revision()
    assert re.fullmatch(r"[0-9a-f]{12}", desk["config_hash"])


def test_ps_lists_every_process(calm: Desk) -> None:
    said = bulkhead("ps", state=calm.state)

    assert [line.split()[0] for line in said.out.splitlines()[1:] if not line.startswith(" ")] == list(calm.pids())


def test_watching_shows_the_status_again_and_again_and_ends_clean(calm: Desk) -> None:
    command = [BULKHEAD, "status", "--watch", "--every", "0.2", "--state", calm.state]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        heads: list[str] = []
        while len(heads) < 3:
            line = watching.stdout.readline()
            assert line, "it ended by itself"
            heads += [line] if line.startswith("desk ") else []
        watching.send_signal(signal.SIGINT)
        rest, errors = watching.communicate(timeout=PATIENCE_S)

    assert (watching.returncode, errors) == (0, "")
    assert "\x1b" not in rest + "".join(heads)  # no terminal: nothing is redrawn


def test_logs_are_shown_and_followed(calm: Desk) -> None:
    shown = bulkhead("logs", "risk", "--lines", "1", state=calm.state)
    command = [BULKHEAD, "logs", "console", "--follow", "--lines", "0", "--state", calm.state]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as following:
        assert following.stdout is not None
        said = ""
        while "looked at by a test" not in said:
            with suppress(VerbRefusedError):
                calm.ask("release", name="a", reason="looked at by a test")
            if select.select([following.stdout], [], [], 0.2)[0]:
                said = following.stdout.readline()
        following.send_signal(signal.SIGINT)
        following.communicate(timeout=PATIENCE_S)

    assert re.fullmatch(r"\S+Z INFO    risk ready ?\n", shown.out)
    assert following.returncode == 0


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("logs", "nobody"), "'nobody' has no log; there are console, execution, "),
        (("logs", "--level", "loud"), "there is no level 'loud'; there are debug, info, "),
    ],
)
def test_a_log_or_level_that_there_is_not_is_refused(calm: Desk, words: tuple[str, ...], error: str) -> None:
    said = bulkhead(*words, state=calm.state)

    assert (said.code, said.out) == (3, "")
    assert said.err.startswith(error)


def test_why_counts_the_reasons(calm: Desk) -> None:
    said = bulkhead("why", "a", "--json", state=calm.state).json

    assert said["why_not"].keys() == {"NO_SIGNAL"}
    assert said["why_not"]["NO_SIGNAL"] >= 1
    assert re.search(r"NO_SIGNAL +\d+ 100 %", bulkhead("why", "a", state=calm.state).out)


@pytest.mark.parametrize("verb", ["enable", "disable", "release", "cancel"])
def test_an_unknown_strategy_is_refused_with_the_names_that_are_known(calm: Desk, verb: str) -> None:
    with pytest.raises(VerbRefusedError, match=r"^there is no strategy 'nobody'; there are a, fragile, model$"):
        calm.ask(verb, name="nobody")


def test_a_refusal_is_one_sentence_and_exit_code_3(calm: Desk) -> None:
    said = [bulkhead(*words, state=calm.state) for words in (("why", "nobody"), ("disable", "nobody"))]

    assert [(one.code, one.out) for one in said] == [(3, ""), (3, "")]
    assert {one.err for one in said} == {"there is no strategy 'nobody'; there are a, fragile, model\n"}


def test_an_unknown_path_is_refused(calm: Desk) -> None:
    said = bulkhead("restart", "strategies/nobody", state=calm.state)

    assert (said.code, said.err) == (3, "there is no strategies/nobody in the tree\n")


def test_a_refused_strategy_cannot_be_enabled_and_says_why(calm: Desk) -> None:
    said = bulkhead("enable", "model", state=calm.state)

    assert said.code == 3
    assert re.match(r"model cannot run: model file \S+m.json is missing", said.err)


# --- verbs on processes -----------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["strategies/a", "risk", "console", "market_data"])
def test_restart_replaces_that_process_alone_and_is_no_fall(calm: Desk, path: str) -> None:
    before = calm.pids()

    said = bulkhead("restart", path, state=calm.state)
    calm.until(
        lambda status: calm.pids().get(path) not in {None, before[path]} and status["desk"]["state"] == "RUNNING"
    )

    after = calm.pids()
    assert (said.code, said.out) == (0, f"{path} is restarted\n")
    assert {name for name in before if after[name] != before[name]} == {path}
    assert calm.row(path)["restarts"] == 0


def test_a_desk_with_a_strategy_in_quarantine_is_degraded_until_it_is_released(calm: Desk) -> None:
    for _ in range(2):
        pid = calm.kill("strategies/fragile")
        calm.until(lambda _status, pid=pid: calm.row("strategies/fragile")["pid"] != pid and _is_settled(calm))
    degraded = bulkhead("status", state=calm.state)
    refused = bulkhead("restart", "strategies/fragile", state=calm.state)
    enabled = bulkhead("enable", "fragile", state=calm.state)
    released = bulkhead("release", "fragile", state=calm.state)
    calm.until(lambda status: status["desk"]["state"] == "RUNNING")

    assert degraded.code == 1
    assert "ALARM strategies/fragile is quarantined" in degraded.out
    assert refused.err == "strategies/fragile is QUARANTINED and stays down; release it first\n"
    assert enabled.out.startswith("fragile is enabled; it stays down, in quarantine; let it out with: bulkhead release")
    assert (released.code, bulkhead("status", state=calm.state).code) == (0, 0)


def _process_state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]


def _is_settled(desk: Desk) -> bool:
    return desk.row("strategies/fragile")["state"] in {"RUNNING", "QUARANTINED"}


def test_what_is_not_in_quarantine_cannot_be_released(calm: Desk) -> None:
    with pytest.raises(VerbRefusedError, match="a is RUNNING; only what is in quarantine can be released"):
        calm.ask("release", name="a")


def test_a_second_desk_on_the_same_folder_is_refused(calm: Desk) -> None:
    pids = calm.pids()

    said = bulkhead("run", "--config", calm.file, state=calm.state)

    assert said.code == 3
    assert f"{calm.state} is in use by another desk (process {calm.root_pid})" in said.err
    assert calm.pids() == pids


def test_a_paper_desk_holds_no_client_of_a_venue_or_a_model(calm: Desk) -> None:
    names = re.compile(r"ccxt|alpaca|anthropic|aiohttp|httpx")
    program = "import actors.cli, actors.makers, sys; print(*{name.partition('.')[0] for name in sys.modules})"
    imported = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.split()

    mapped = {pid: Path(f"/proc/{pid}/maps").read_text(encoding="utf-8") for pid in calm.descendants()}

    assert [name for name in imported if names.fullmatch(name)] == []
    assert [pid for pid, text in mapped.items() if names.search(text)] == []
    assert len(mapped) >= 9


# --- the control socket -----------------------------------------------------------------------------


def _sockets(desk: Desk) -> Path:
    return Path((desk.state / "endpoints").read_text(encoding="utf-8").strip())


def _raw(desk: Desk, data: bytes) -> dict[str, Any]:
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.set(zmq.LINGER, 0)
        socket.connect(f"ipc://{_sockets(desk) / 'control'}")
        socket.send(data)
        assert socket.poll(int(PATIENCE_S * 1000)), "no answer"
        return json.loads(socket.recv())


def test_the_control_socket_is_the_owner_s_alone(calm: Desk) -> None:
    folder = _sockets(calm)

    assert (folder / "control").stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
    assert calm.state.stat().st_mode & 0o777 == 0o700


MALFORMED = {
    "garbage": (b"\x00\xff garbage", "not a request"),
    "nothing": (b"", "not a request"),
    "no object": (b"[1, 2]", "not a request"),
    "another version": (b'{"v": 2, "id": "x1", "verb": "stop"}', "speaks version 1"),
    "unknown verb": (b'{"v": 1, "id": "x2", "verb": "explode"}', "unknown verb 'explode'; known are"),
    "unknown key": (b'{"v": 1, "id": "x3", "verb": "ping", "more": 1}', "not a request"),
    "no id": (b'{"v": 1, "id": "", "verb": "ping"}', "not a request: its id has 0 characters"),
    "arguments of another type": (b'{"v": 1, "id": "x4", "verb": "halt", "arguments": [1]}', "not a request"),
    "a name of another type": (b'{"v": 1, "id": "x5", "verb": "disable", "arguments": {"name": {"a": 1}}}', "disable: arguments that do not fit"),
    "a path of another type": (b'{"v": 1, "id": "x6", "verb": "restart", "arguments": {"path": [1]}}', "restart: arguments that do not fit"),
    "no arguments": (b'{"v": 1, "id": "x7", "verb": "disable"}', "it takes reason, name"),
    "deep": (b'{"v": 1, "id": "x8", "verb": "ping", "arguments": {"a": ' + b"[" * 50_000, "not a request"),
    "huge": (b'{"v": 1, "id": "x9", "verb": "%s"}' % (b"x" * 500_000), "not a request: 5000"),
}  # fmt: skip


@pytest.mark.parametrize(("data", "error"), MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_request_gets_an_error(calm: Desk, data: bytes, error: str) -> None:
    pids = calm.pids()

    reply = _raw(calm, data)

    assert error in reply["error"]
    assert calm.pids() == pids


def test_the_same_request_is_carried_out_once(calm: Desk) -> None:
    before = calm.pids()
    request = b'{"v": 1, "id": "once", "verb": "restart", "arguments": {"path": "risk"}}'
    _raw(calm, request)
    calm.until(
        lambda status: calm.pids().get("risk") not in {None, before["risk"]} and status["desk"]["state"] == "RUNNING"
    )
    pids = calm.pids()

    reply = _raw(calm, request)

    assert (reply["error"], calm.pids()) == ("", pids)


# --- halt -------------------------------------------------------------------------------------------


def test_a_halt_cancels_entries_and_refuses_new_ones_while_exits_pass_and_outlives_the_desk(busy: Market) -> None:
    desk = busy.desk
    said = bulkhead("halt", "--reason", "lunch", state=desk.state)
    busy.until(lambda: busy.orders(strategy="rester", state="CANCELLED", reason="HALTED"))
    busy.until(lambda: desk.trades() and busy.orders(strategy="rester", state="REJECTED"), HHH=80, RRR=101)
    halted = bulkhead("status", state=desk.state)
    why = bulkhead("why", "rester", state=desk.state).out

    refused = {order["reason"] for order in busy.orders(strategy="rester", state="REJECTED")}
    assert (said.code, said.out) == (0, "halted: lunch\n")
    assert {reason.partition(";")[0] for reason in refused} == {"HALTED: lunch"}
    assert [trade["exit_reason"] for trade in desk.trades()] == ["MARKET_TOLD"]
    assert (halted.code, halted.out.splitlines()[1]) == (2, "ALARM HALTED: lunch")
    assert re.search(r"its orders were refused for:.* HALTED \d", why)

    desk.ask("stop")
    assert desk.wait() == 0
    assert desk.start().until_up()["desk"]["state"] == "HALTED"

    assert bulkhead("resume", state=desk.state).out == "resumed; it was halted: lunch\n"
    busy.until(lambda: busy.orders(strategy="rester", state="SUBMITTED"), RRR=101)
    desk.until(lambda status: status["desk"]["state"] == "RUNNING")


def test_a_halt_needs_no_console(busy: Market) -> None:
    desk = busy.desk
    stopped = desk.kill("console", signal.SIGSTOP)
    command = [BULKHEAD, "halt", "--reason", "fire", "--state", desk.state]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as halting:
        busy.until((desk.state / "HALT").exists)
        busy.until(desk.trades, HHH=80, RRR=101)
        was = _process_state(stopped)
        os.kill(stopped, signal.SIGCONT)
        out, _ = halting.communicate(timeout=PATIENCE_S)

    assert (was, halting.returncode, out) == ("T", 0, "halted: fire\n")
    busy.until(lambda: busy.orders(strategy="rester", state="CANCELLED", reason="HALTED"))
    busy.until(lambda: busy.orders(strategy="rester", state="REJECTED"), RRR=101)
    assert not busy.orders(state="SUBMITTED")


def test_a_flatten_closes_what_is_held_and_says_so_once_it_is_closed(busy: Market) -> None:
    halted = bulkhead("halt", state=busy.desk.state)
    nothing = bulkhead("flatten", state=busy.desk.state)
    command = [BULKHEAD, "flatten", "--strategy", "holder", "--json", "--state", busy.desk.state]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as asking:
        busy.until(lambda: asking.poll() is not None, HHH=101, RRR=101)
        assert asking.stdout is not None
        said = json.loads(asking.stdout.read())

    assert (halted.code, nothing.code, asking.returncode) == (0, 3, 0)
    assert ([key[:2] for key in said["closing"]], said["residue"]) == ([["holder", "HHH"]], [])
    assert busy.desk.positions() == []
    assert "FLATTEN" in str(busy.orders(strategy="holder", purpose="EXIT"))


def test_a_sentinel_that_another_hand_wrote_cancels_working_entries(busy: Market) -> None:
    (busy.desk.state / "HALT").write_text("the watchdog says so\n", encoding="utf-8")

    busy.until(lambda: busy.orders(strategy="rester", state="CANCELLED", reason="HALTED"))

    assert busy.desk.status()["desk"]["halted"] == "the watchdog says so"


# --- disable with a position ------------------------------------------------------------------------


def test_the_recorded_stop_of_a_disabled_strategy_rests_at_the_venue_until_it_is_enabled(busy: Market) -> None:
    desk = busy.desk
    pids = desk.pids()
    desk.ask("disable", name="holder", reason="lunch")
    busy.until(lambda: busy.orders(purpose="STOP_LOSS", state="SUBMITTED"))
    shown = bulkhead("orders", state=desk.state).out
    (stop,) = busy.orders(purpose="STOP_LOSS")
    gone = pids.keys() - desk.pids().keys()

    desk.ask("enable", name="holder")
    busy.until(lambda: busy.orders(purpose="STOP_LOSS", state="CANCELLED"))

    assert gone == {"strategies/holder"}
    assert (stop["strategy"], stop["side"], stop["type"], stop["quantity"]) == ("holder", "SELL", "STOP", "1")
    assert stop["stop_price"] == "25.25"
    assert re.search(r"holder +HHH +sell stop +25\.25 +0/1 +SUBMITTED", shown)
    assert [position["strategy"] for position in desk.positions()] == ["holder"]
    desk.until(lambda status: status["desk"]["state"] == "RUNNING")


def test_the_stop_of_a_disabled_strategy_is_filled_and_the_position_is_closed_once(busy: Market) -> None:
    desk = busy.desk
    desk.ask("disable", name="holder")
    busy.until(lambda: busy.orders(purpose="STOP_LOSS", state="SUBMITTED"))
    busy.until(desk.trades, HHH=20)

    desk.ask("enable", name="holder")
    desk.until(lambda status: status["strategies"][0]["state"] == "RUNNING" and not status["strategies"][0]["position"])

    assert [(trade["strategy"], trade["quantity"], trade["exit_reason"]) for trade in desk.trades()] == [
        ("holder", "1", "STOP_LOSS")
    ]
    assert desk.positions() == []


def test_a_reason_in_another_encoding_than_the_terminal_s_keeps_nothing_from_being_done(busy: Market) -> None:
    state, reason = busy.desk.state, os.fsdecode(b"B\xf6rse")

    halted = bulkhead("halt", "--reason", reason, state=state)
    flat = bulkhead("flatten", "--all", "--reason", reason, "--wait", "0", state=state)
    unknown = bulkhead("restart", reason, state=state)

    assert (halted.code, halted.out, halted.err) == (0, "halted: B rse\n", "")
    assert (flat.code in {0, 1}, flat.err) == (True, "")
    assert (unknown.code, unknown.err) == (3, "there is no B?rse in the tree\n")
    assert "(B?rse): done" in bulkhead("audit", state=state).out


# --- the end ----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_given_duration_ends_the_desk_and_leaves_its_books_readable(tmp_path: Path) -> None:
    entries = obedient("a", "SPY", buy_above=1, sell_below=1_000_000)
    text = f"strategies:\n{entries}global:\n  feed: {{kind: synthetic, seed: 2, speed: max}}\n"
    with Desk(with_obedient(tmp_path / "desk"), text) as desk:
        code = desk.start("--duration", "3").wait()
        said = desk.said()
        left = desk.descendants()
    verbs = ("orders", "positions", "trades", "journal")
    answers = {verb: bulkhead(verb, "--json", state=desk.state) for verb in verbs}
    screens = [bulkhead(verb, state=desk.state).out for verb in ("orders", "trades")]

    assert (code, left) == (0, [])
    assert re.search(r"fill \d+  a: (BUY|SELL) 1 SPY at ", said)
    assert "stopping: the given duration is over" in said
    assert [answer.code for answer in answers.values()] == [0, 0, 0, 0]
    assert all(row.keys() >= ORDER_NAMES for row in answers["orders"].json)
    assert all(row.keys() >= TRADE_NAMES and isinstance(row["pnl"], str) for row in answers["trades"].json)
    assert answers["trades"].json
    assert max(len(line) for screen in screens for line in screen.splitlines()) <= 80


def test_watching_goes_on_where_the_desk_goes_and_comes_back(market: Market) -> None:
    desk = market.desk
    command = [BULKHEAD, "status", "--watch", "--every", "0.2", "--state", desk.state]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        assert watching.stderr is not None
        assert watching.stdout.readline().startswith("desk ")
        desk.ask("stop")
        desk.wait()
        gone = watching.stderr.readline()
        desk.start().until_up()
        shown = next(line for line in watching.stdout if line.startswith("desk ") and "RUNNING" in line)
        watching.send_signal(signal.SIGINT)
        watching.communicate(timeout=PATIENCE_S)

    assert (bool(gone), bool(shown)) == (True, True)
    assert watching.returncode in {0, 1}, (
        "the last look counts, and a desk that has just come up may be late for a moment"
    )


def test_stop_ends_the_desk_in_good_order_and_one_that_is_down_can_be_halted(market: Market) -> None:
    desk = market.desk
    said = bulkhead("stop", state=desk.state)
    code = desk.wait()
    left, status = desk.descendants(), bulkhead("status", state=desk.state)
    halted = bulkhead("halt", "--reason", "storm", "--json", state=desk.state)
    again = desk.start().until_up()["desk"]

    assert (said.code, said.out, code, left) == (0, "the desk is stopping\n", 0, [])
    assert (status.code, status.err[:20]) == (4, "no desk runs on " + str(desk.state)[:4])
    assert (halted.code, halted.json["halted"]) == (0, "storm")
    assert halted.json["note"] == "no desk answers: one that runs sends no entry from now on, one that starts is halted"
    assert (again["state"], again["halted"]) == ("HALTED", "storm")


def test_a_desk_whose_folder_was_moved_away_is_not_said_to_be_halted_and_stops_with_a_sentence(market: Market) -> None:
    desk = market.desk
    moved = desk.state.rename(desk.folder / "moved")

    halted = bulkhead("halt", "--reason", "storm", state=moved)
    stopped = bulkhead("stop", state=moved)
    code = desk.wait()

    assert (halted.code, halted.out) == (3, "")
    assert halted.err == f"NOTHING WAS HALTED: {desk.state / 'HALT'} cannot be made: No such file or directory\n"
    assert (stopped.code, code, "Traceback" in desk.said()) == (0, 3, False)
    assert f"{desk.state / 'market'}: there is no store here" in desk.said()


@pytest.mark.parametrize("words", ["status", "ps", "logs", "why a", "halt", "resume", "orders"])
def test_where_no_desk_ever_was_the_answer_is_a_sentence(tmp_path: Path, words: str) -> None:
    said = bulkhead(*words.split(), state=tmp_path / "none")

    assert (said.code, said.out, len(said.err.splitlines())) == (4, "", 1)
    assert str(tmp_path / "none") in said.err
    assert not (tmp_path / "none").exists()


#: A library that takes its time to load, until whoever started us has seen enough.
SLOW = "import sys; print('loading', flush=True); sys.stdin.read()\n"


def test_a_command_that_is_interrupted_while_it_loads_ends_quietly(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text(SLOW, encoding="utf-8")
    command = subprocess.Popen(
        [BULKHEAD, "status"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert command.stdout is not None
    assert command.stdout.readline() == "loading\n"

    command.send_signal(signal.SIGINT)
    out, err = command.communicate(timeout=PATIENCE_S)

    assert (command.returncode, out, err) == (130, "", "")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_command_whose_streams_are_closed_does_what_it_does(tmp_path: Path, closed: str) -> None:
    (tmp_path / "lock").touch()
    line = f'"{BULKHEAD}" halt --reason storm --state "{tmp_path}" {closed}'

    done = subprocess.run(["/bin/sh", "-c", line], capture_output=True, text=True, timeout=PATIENCE_S, check=False)

    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "HALT").read_text(encoding="utf-8").strip() == "storm"


def test_what_a_terminal_has_no_letters_for_is_shown_without_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lock").touch()
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")

    said = bulkhead("halt", "--reason", "größer … 漢", "--json", state=tmp_path)

    assert (said.code, said.err) == (0, "")
    assert said.json["halted"] == "gr??er ? ?"


@pytest.mark.parametrize("words", ["status --jsn", "status a b", "run --duration x", "order", "halted", "keys"])
def test_wrong_words_are_refused_and_are_no_word_about_the_desk(tmp_path: Path, words: str) -> None:
    said = bulkhead(*words.split(), state=tmp_path / "none")

    assert (said.code, said.out, "Usage: " in said.err) == (3, "", True)


@pytest.mark.parametrize("words", ["run --duration", "flatten --all --wait", "status --watch --every"])
def test_a_time_without_end_is_refused_before_anything_is_done(tmp_path: Path, words: str) -> None:
    said = bulkhead(*words.split(), "inf", state=tmp_path / "none")

    assert (said.code, said.out, words.rsplit(maxsplit=1)[-1] in said.err) == (3, "", True)
    assert not (tmp_path / "none").exists()


def test_a_halt_of_a_folder_on_which_no_desk_ever_ran_does_not_say_that_one_is_halted(tmp_path: Path) -> None:
    said = bulkhead("halt", state=tmp_path)

    assert (said.code, said.out) == (4, "")
    assert said.err.startswith(f"NO DESK WAS HALTED: none has ever run on {tmp_path}; name its folder with --state")


def test_a_state_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "s.yaml").write_text(f"strategies:\n{obedient('a', 'SPY')}", encoding="utf-8")
    with_obedient(tmp_path)

    said = bulkhead("run", "--config", tmp_path / "s.yaml", state=tmp_path / "file")

    assert (said.code, said.err) == (
        3,
        f"{tmp_path / 'file'} is not a folder; nothing was started. Choose a folder with --state\n",
    )
