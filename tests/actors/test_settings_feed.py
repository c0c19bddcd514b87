"""The feed and the other global keys of the configuration; what changes between two readings of a file."""

from decimal import Decimal
from pathlib import Path
from typing import ClassVar

import msgspec
import pytest

from actors.problem import render
from actors.settings import (
    ControlSettings,
    FeedKind,
    FillMode,
    Settings,
    settings_fingerprint,
)
from actors.settings_file import load
from strategies.base import Strategy


class NoParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Nothing to set, but a window."""

    window: int = 20


class Idler(Strategy):
    """A strategy that never decides anything."""

    Parameters: ClassVar[type[msgspec.Struct]] = NoParameters


TWO = """\
strategies:
  - {name: a, symbol: SPY, strategy: idler}
  - {name: b, symbols: [QQQ, SPY], strategy: idler}
"""


def find(name: str) -> type[Strategy] | None:
    return Idler if name == "idler" else None


def lines_of(folder: Path, text: str) -> list[str]:
    """Give each problem as ``LINE PATH: words``."""
    path = folder / "strategies.yaml"
    path.write_text(text)
    problems = load(path, find, lambda: ("idler",)).problems
    return [problem.words.removeprefix(f"{path}:") for problem in problems]


def settings_of(folder: Path, text: str) -> Settings:
    path = folder / "strategies.yaml"
    path.write_text(text)
    loaded = load(path, find, lambda: ("idler",))
    assert loaded.settings is not None, render(loaded.problems)
    return loaded.settings


def bars(folder: Path, name: str, text: str = "ts_ns,open\n") -> str:
    (folder / name).write_text(text)
    return name


def test_a_synthetic_feed_gives_what_the_entries_name(tmp_path: Path) -> None:
    feed = settings_of(tmp_path, f"{TWO}global: {{feed: {{kind: synthetic}}}}\n").feed

    assert feed.symbols == ("SPY", "QQQ")
    assert (feed.speed, feed.seed, feed.lockstep) == (60.0, 1, True)


def test_a_replay_reads_files_beside_the_configuration_as_fast_as_it_can(tmp_path: Path) -> None:
    folder = tmp_path / "with space"
    folder.mkdir()
    for name in ("SPY.csv", "QQQ.csv"):
        bars(tmp_path, name)

    feed = settings_of(
        folder, f"{TWO}global: {{feed: {{kind: replay, files: {{SPY: ../SPY.csv, QQQ: ../QQQ.csv}}}}}}\n"
    ).feed

    assert feed.files == {"SPY": str(tmp_path / "SPY.csv"), "QQQ": str(tmp_path / "QQQ.csv")}
    assert (feed.symbols, feed.speed, feed.lockstep) == (("SPY", "QQQ"), None, True)


@pytest.mark.parametrize(("written", "read"), [("max", None), ("60", 60.0), ("0.5", 0.5)])
def test_a_speed_is_a_number_or_max(tmp_path: Path, written: str, read: float | None) -> None:
    feed = settings_of(tmp_path, f"{TWO}global: {{feed: {{kind: synthetic, speed: {written}}}}}\n").feed

    assert feed.speed == read


def test_a_zmq_feed_has_no_barrier_and_takes_the_market_url_where_it_has_none(tmp_path: Path) -> None:
    feed = settings_of(tmp_path, f"{TWO}global: {{zmq_market_url: 'tcp://h:1', feed: {{kind: zmq}}}}\n").feed

    assert (feed.kind, feed.url, feed.lockstep, feed.speed) == (FeedKind.ZMQ, "tcp://h:1", False, None)


def test_a_market_url_beside_another_feed_makes_no_zmq_feed(tmp_path: Path) -> None:
    feed = settings_of(tmp_path, f"{TWO}global: {{zmq_market_url: 'tcp://h:1', feed: {{kind: synthetic}}}}\n").feed

    assert feed.kind is FeedKind.SYNTHETIC


@pytest.mark.parametrize(
    ("feed", "expected"),
    [
        ("kind: replai", '4 global.feed.kind: got "replai" (text); write one of synthetic, replay, zmq'),
        ("seed: 1", "4 global.feed.kind: missing; write one of synthetic, replay, zmq"),
        ("kind: replay", "4 global.feed.files: missing; give a replay its files"),
        ("kind: replay, files: {}", "4 global.feed.files: missing; give a replay its files"),
        ("kind: replay, files: [a]", "4 global.feed.files: got a list; write a mapping"),
        ("kind: zmq", "4 global.feed.url: missing; write an address"),
        ("kind: zmq, url: localhost", '4 global.feed.url: got "localhost" (text); write an address'),
        ("kind: zmq, url: 'tcp://h:1', lockstep: true", "4 global.feed.lockstep: got true (true/false); write false"),
        ("kind: synthetic, speed: 0", "4 global.feed.speed: got 0 (number); write market seconds"),
        ("kind: synthetic, speed: 1e-300", "4 global.feed.speed: got 1e-300 (number); write market seconds"),
        ("kind: synthetic, speed: fast", '4 global.feed.speed: got "fast" (text); write market seconds'),
        ("kind: synthetic, seed: x", '4 global.feed.seed: got "x" (text); write a whole number'),
        ("kind: synthetic, symbol: SPY", "4 global.feed.symbol: unknown key; did you mean symbols?"),
        ("kind: synthetic, symbols: [SPY, Q Q]", '4 global.feed.symbols[1]: got "Q Q" (text); write a symbol'),
    ],
)
def test_a_wrong_feed_is_named_with_its_line(tmp_path: Path, feed: str, expected: str) -> None:
    first = lines_of(tmp_path, f"{TWO}global: {{feed: {{{feed}}}}}\n")[0]

    assert first.startswith(expected), first


def test_each_file_of_a_replay_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    bars(tmp_path, "empty.csv", "")
    files = "SPY: no.csv\n      QQQ: folder.csv\n      IWM: empty.csv\n      DIA: 7"

    said = lines_of(tmp_path, f"{TWO}global:\n  feed:\n    kind: replay\n    files:\n      {files}\n")

    assert said == [
        f'8 global.feed.files.SPY: got "no.csv" (text); {tmp_path}/no.csv is missing',
        f'9 global.feed.files.QQQ: got "folder.csv" (text); {tmp_path}/folder.csv is not a file',
        f'10 global.feed.files.IWM: got "empty.csv" (text); {tmp_path}/empty.csv is empty',
        '11 global.feed.files.DIA: got 7 (number); write "7" with quotes if that is meant; write the path of a file',
    ]


def test_a_symbol_that_the_feed_does_not_give_is_named_where_it_is_wanted(tmp_path: Path) -> None:
    bars(tmp_path, "SPY.csv")

    said = lines_of(tmp_path, f"{TWO}global: {{feed: {{kind: replay, files: {{SPY: SPY.csv}}}}}}\n")

    assert said == ['3 strategies[1].symbols[0]: got "QQQ" (text); the feed does not give it; it gives SPY']


def test_a_disabled_entry_may_want_what_the_feed_does_not_give(tmp_path: Path) -> None:
    bars(tmp_path, "SPY.csv")
    text = TWO.replace("name: b", "name: b, enabled: false")

    settings = settings_of(tmp_path, f"{text}global: {{feed: {{kind: replay, files: {{SPY: SPY.csv}}}}}}\n")

    assert settings.feed.symbols == ("SPY",)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("paper_trading: false", "4 global.paper_trading: got false (true/false); write true: live venues are not part"),
        ("default_balance: 0", "4 global.default_balance: got 0 (number); write an amount"),
        ("default_balance: -1.5", "4 global.default_balance: got -1.5 (number); write an amount"),
        ("zmq_execution_port: 70000", "4 global.zmq_execution_port: got 70000 (number); write a whole number"),
        ("feature_api_url: x", '4 global.feature_api_url: got "x" (text); write an address'),
        ("log_level: LOUD", '4 global.log_level: got "LOUD" (text); write one of'),
        ("paper: {fill: open}", '4 global.paper.fill: got "open" (text); write one of next_open, close'),
        ("paper: {taker_fee_bps: -1}", "4 global.paper.taker_fee_bps: got -1 (number); write basis points"),
        ("control: {listen: 'tcp://0.0.0.0:5599'}", '4 global.control.listen: got "tcp://0.0.0.0:5599" (text); write tcp://127.0.0.1:PORT (other'),
        ("control: {listen: 'tcp://127.0.0.256:5599'}", '4 global.control.listen: got "tcp://127.0.0.256:5599" (text)'),
        ("control: {listen: 'tcp://127.0.0.1:65536'}", '4 global.control.listen: got "tcp://127.0.0.1:65536" (text)'),
        ("control: {listen: 'ipc:///tmp/x'}", '4 global.control.listen: got "ipc:///tmp/x" (text)'),
        ("control: {listen: 5599}", "4 global.control.listen: got 5599 (number)"),
        ("control: {keys: a}", "4 global.control.keys: unknown key"),
        ("risk: {max_exposure_pct: 1.1}", "4 global.risk.max_exposure_pct: got 1.1 (number); write a share"),
        ("risk: {risk_per_trade: 0.1}", "4 global.risk.risk_per_trade: unknown key"),
        ("risk: {min_buying_power_reserve_usd: 10000}", "4 global.risk.min_buying_power_reserve_usd: got 10000 (number)"),
        ("supervision: {period_s: 0}", "4 global.supervision.period_s: got 0 (number); write seconds"),
        ("feeds: {}", "4 global.feeds: unknown key; did you mean feed?"),
    ],
)  # fmt: skip
def test_a_wrong_global_value_is_named_with_its_line(tmp_path: Path, line: str, expected: str) -> None:
    first = lines_of(tmp_path, f"{TWO}global: {{{line}}}\n")[0]

    assert first.startswith(expected), first


def test_right_global_values_are_kept_exactly(tmp_path: Path) -> None:
    text = "default_balance: 2500.10, log_level: debug, paper: {fill: close, taker_fee_bps: 40}, risk: {max_exposure_pct: 0.8}"

    settings = settings_of(tmp_path, f"{TWO}global: {{{text}}}\n")

    assert (settings.default_balance, settings.log_level) == (Decimal("2500.10"), "DEBUG")
    assert (settings.paper.fill, settings.paper.taker_fee_bps) == (FillMode.CLOSE, 40)
    assert settings.risk.max_exposure_pct == Decimal("0.8")


@pytest.mark.parametrize(
    ("text", "listen", "clients"),
    [
        ("listen: 'tcp://127.0.0.1:5599'", "tcp://127.0.0.1:5599", "control_clients.json"),
        ("listen: ipc, clients: keys/ours.json", "ipc", "keys/ours.json"),
        ("listen: ipc, clients: /etc/ours.json", "ipc", "/etc/ours.json"),
    ],
)
def test_the_list_of_the_second_doors_clients_lies_beside_the_file(
    tmp_path: Path, text: str, listen: str, clients: str
) -> None:
    settings = settings_of(tmp_path, f"{TWO}global: {{control: {{{text}}}}}\n")

    assert settings.control == ControlSettings(listen=listen, clients=str(tmp_path / clients))


@pytest.mark.parametrize("text", ["{}", "{control: {clients: keys.json}}"])
def test_without_an_address_there_is_no_second_door(tmp_path: Path, text: str) -> None:
    assert settings_of(tmp_path, f"{TWO}global: {text}\n").control == ControlSettings()


def fingerprint(folder: Path, feed: str) -> str:
    return settings_fingerprint(settings_of(folder, f"{TWO}global: {{feed: {{{feed}}}}}\n").feed)


def test_a_feeds_fingerprint_tells_its_seed_and_symbols_but_not_its_speed(tmp_path: Path) -> None:
    base = fingerprint(tmp_path, "kind: synthetic, symbols: [SPY, QQQ]")

    assert fingerprint(tmp_path, "kind: synthetic, symbols: [QQQ, SPY], speed: max, lockstep: false") == base
    assert fingerprint(tmp_path, "kind: synthetic, symbols: [SPY, QQQ], seed: 2") != base
    assert fingerprint(tmp_path, "kind: synthetic, symbols: [SPY, QQQ, IWM]") != base


def test_a_replays_fingerprint_tells_its_files(tmp_path: Path) -> None:
    files = "{SPY: SPY.csv, QQQ: QQQ.csv}"
    for name in ("SPY.csv", "QQQ.csv"):
        bars(tmp_path, name)
    before = fingerprint(tmp_path, f"kind: replay, files: {files}")

    bars(tmp_path, "SPY.csv", "ts_ns,open\n1,2\n")

    assert fingerprint(tmp_path, f"kind: replay, files: {files}") != before
