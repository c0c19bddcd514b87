"""The configuration file: what loads, and every error of a broken one, at once and with its place."""

import re
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar, Literal

import msgspec
import pytest

import strategies
from actors.problem import Problem, render
from actors.settings import FeedKind, FillMode, Settings, decode_settings, encode_settings
from actors.settings_file import SIZE_MAX, load
from actors.strategy_catalogue import StrategyBrokenError, adopt_folder, find_strategy, strategy_names
from strategies.base import Strategy

ROOT = Path(__file__).parents[2]
SEED = ROOT.parent / "shared" / "seeds" / "002_a18c73d9e756f22b.txt"

MODEL_EXAMPLE = """\
strategies:
  - name: eurusd_trend_v1
    symbol: EURUSD
    model_path: models/baseline_v1.json
    enabled: true
    threshold: 0.55
    risk_config:
      risk_per_trade: 0.02
      max_position_size: 0.10
      stop_loss_atr_multiple: 2.0
      take_profit_risk_reward: 2.0
  - name: gbpusd_pairtrading_v1
    symbol: GBPUSD
    model_path: models/baseline_v1.json
    enabled: true
    threshold: 0.50
    risk_config: {risk_per_trade: 0.01, max_position_size: 0.08, stop_loss_atr_multiple: 1.5, take_profit_risk_reward: 2.5}
  - name: xauusd_scalping_v1
    symbol: XAUUSD
    model_path: models/baseline_v1.json
    enabled: false
    threshold: 0.60
global:
  zmq_market_url: tcp://localhost:5556
  zmq_execution_host: localhost
  zmq_execution_port: 5555
  feature_api_url: http://localhost:8000
  default_balance: 10000.0
  paper_trading: true
"""


class Parameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters with one field of each kind."""

    entry_deviation_pct: float = 0.003
    stop_loss_pct: Decimal = Decimal("0.003")
    max_trades_per_day: int | None = None
    trade_start_time: str = "10:00"
    trade_end_time: str = "11:30"
    flat_time: str = "15:55"
    is_bold: bool = False
    entry_order_type: Literal["limit", "market"] = "limit"

    def __post_init__(self) -> None:
        """Refuse what no type says."""
        for name in ("entry_deviation_pct", "stop_loss_pct"):
            if not 0 < getattr(self, name) < 1:
                msg = f"{name} must be above 0 and below 1"
                raise ValueError(msg)
        if self.trade_start_time > self.trade_end_time:
            msg = "trade_start_time must not be after trade_end_time"
            raise ValueError(msg)


class Dipper(Strategy):
    """A strategy that never decides anything."""

    Parameters: ClassVar[type[msgspec.Struct]] = Parameters


def find(name: str) -> type[Strategy] | None:
    if name == "broken":
        msg = "strategies/broken.py does not load: SyntaxError: invalid syntax"
        raise StrategyBrokenError(msg)
    return Dipper if name == "dipper" else None


def problems_of(folder: Path, text: str) -> tuple[Problem, ...]:
    path = folder / "strategies.yaml"
    path.write_text(text)
    return load(path, find, lambda: ("dipper", "diver")).problems


def lines_of(folder: Path, text: str) -> list[str]:
    """Give each problem as ``LINE PATH: words``."""
    return [problem.words.removeprefix(f"{folder}/strategies.yaml:") for problem in problems_of(folder, text)]


def settings_of(folder: Path, text: str) -> Settings:
    path = folder / "strategies.yaml"
    path.write_text(text)
    loaded = load(path, find, lambda: ("dipper",))
    assert loaded.settings is not None, render(loaded.problems)
    return loaded.settings


def entry_with(parameters: str) -> str:
    return f"strategies:\n  - name: a\n    symbol: SPY\n    strategy: dipper\n    parameters:\n      {parameters}\n"


def test_the_model_example_loads_unchanged_and_refuses_each_model_entry_alone(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, MODEL_EXAMPLE)

    first = settings.strategies[0]
    assert (first.name, first.symbols, first.threshold) == ("eurusd_trend_v1", ("EURUSD",), 0.55)
    assert first.risk_config.max_position_size == Decimal("0.10")
    assert [entry.enabled for entry in settings.strategies] == [True, True, False]
    assert all(entry.refusal.endswith("models/baseline_v1.json is missing") for entry in settings.strategies)
    assert (settings.feed.kind, settings.feed.url) == (FeedKind.ZMQ, "tcp://localhost:5556")
    assert settings.feed.symbols == ("EURUSD", "GBPUSD", "XAUUSD")
    assert not settings.feed.lockstep
    assert (settings.zmq_execution_host, settings.zmq_execution_port) == ("localhost", 5555)


def test_a_model_that_is_there_is_refused_in_other_words(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "baseline_v1.json").write_text("{}")

    settings = settings_of(tmp_path, MODEL_EXAMPLE)

    assert settings.strategies[0].refusal == "model strategies are not built into this version yet"


@pytest.mark.skipif(not SEED.exists(), reason="the folder of seeds is not on this machine")
def test_the_seeds_own_example_loads_unchanged(tmp_path: Path) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", SEED.read_text(), re.DOTALL)

    settings = settings_of(tmp_path, next(block for block in blocks if "strategies:" in block))

    assert len(settings.strategies) == 3
    assert settings.default_balance == Decimal(10_000)


def test_the_shipped_configuration_loads_and_refuses_no_strategy() -> None:
    loaded = load(ROOT / "config" / "strategies.yaml")

    assert render(loaded.problems) == ""
    assert loaded.settings is not None
    assert [entry.refusal for entry in loaded.settings.strategies] == ["", "", ""]
    assert loaded.settings.feed.symbols == ("SPY", "QQQ", "BTCUSD", "ETHUSD")


def test_what_is_left_out_has_its_default(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, "strategies:\n  - {name: a, symbol: SPY, strategy: dipper}\n")

    entry = settings.strategies[0]
    assert (entry.enabled, entry.threshold, entry.timeframe, entry.parameters) == (True, 0.5, "1m", {})
    assert (entry.limits.memory_soft_mb, entry.limits.memory_hard_mb, entry.limits.hang_s) == (150, 300, 3.0)
    assert (entry.supervision.intensity, settings.supervision.intensity) == (3, 10)
    assert (settings.feed.kind, settings.feed.speed, settings.feed.lockstep) == (FeedKind.SYNTHETIC, 60.0, True)
    assert settings.paper.fill is FillMode.NEXT_OPEN
    assert settings.paper.slippage_bps == 5
    assert settings.paper.maker_fee_bps == settings.paper.taker_fee_bps == 0


def test_settings_reach_a_child_as_bytes_unchanged(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, entry_with("stop_loss_pct: 0.0025"))

    assert decode_settings(encode_settings(settings)) == settings


@pytest.mark.parametrize(
    ("written", "read"),
    [("15:40", "15:40"), ('"15:40"', "15:40"), ("9:30", "09:30"), ("'09:30'", "09:30")],
)
def test_an_unquoted_time_is_a_time(tmp_path: Path, written: str, read: str) -> None:
    settings = settings_of(tmp_path, entry_with(f"flat_time: {written}"))

    assert settings.strategies[0].parameters == {"flat_time": read}


def test_yaml_1_1_makes_no_number_of_a_time(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, f"%YAML 1.1\n---\n{entry_with('flat_time: 15:55')}")

    assert settings.strategies[0].parameters == {"flat_time": "15:55"}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("flat_time: 955", '.flat_time: got 955 (number); write "15:55" with quotes'),
        ("trade_start_time: 600", '.trade_start_time: got 600 (number); write "10:00" with quotes'),
        ("flat_tme: 15:55", ".flat_tme: unknown key; did you mean flat_time?"),
        ("entry_deviation_pct: big", '.entry_deviation_pct: got "big" (text); write a number'),
        ("entry_deviation_pct: .nan", ".entry_deviation_pct: got .nan (number); write a finite number"),
        ("max_trades_per_day: 1.5", ".max_trades_per_day: got 1.5 (number); write a whole number"),
        ("is_bold: on", '.is_bold: got "on" (text); write true or false'),
        ("entry_order_type: stop", '.entry_order_type: got "stop" (text); write one of limit, market'),
        ("stop_loss_pct: 3", ".stop_loss_pct: got 3 (number); stop_loss_pct must be above 0 and below 1"),
    ],
)
def test_a_wrong_parameter_is_named_with_its_line(tmp_path: Path, line: str, expected: str) -> None:
    assert lines_of(tmp_path, entry_with(line)) == [f"6 strategies[0].parameters{expected}"]


def test_every_parameter_that_the_strategy_itself_refuses_is_named(tmp_path: Path) -> None:
    both = "entry_deviation_pct: 3\n      flat_time: 955\n      stop_loss_pct: -1"

    assert [problem.line for problem in problems_of(tmp_path, entry_with(both))] == [6, 7, 8]


def test_a_refusal_of_two_parameters_together_stands_at_the_one_named_first(tmp_path: Path) -> None:
    text = entry_with('flat_time: "15:00"\n      trade_start_time: "12:00"')

    expected = '7 strategies[0].parameters.trade_start_time: got "12:00" (text); '
    assert lines_of(tmp_path, text) == [expected + "trade_start_time must not be after trade_end_time"]


def test_a_key_above_its_place_is_unknown_there(tmp_path: Path) -> None:
    text = "strategies:\n  - name: a\n    symbol: SPY\n    strategy: dipper\n    treshold: 0.5\n"

    assert lines_of(tmp_path, text) == ["5 strategies[0].treshold: unknown key; did you mean threshold?"]


ENTRY = "strategies:\n  - name: a\n    symbol: SPY\n    strategy: dipper\n    "


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        ("enabled: on", '5 strategies[0].enabled: got "on" (text); write true or false'),
        ("enabled: 1", "5 strategies[0].enabled: got 1 (number); write true or false"),
        ("threshold: 1.5", "5 strategies[0].threshold: got 1.5 (number); write a share as a number"),
        ("timeframe: 5", "5 strategies[0].timeframe: got 5 (number); write a count and s, m, h or d"),
        ("timeframe: 0m", '5 strategies[0].timeframe: got "0m" (text); write a count and s, m, h or d'),
        ("parameters: 3", "5 strategies[0].parameters: got 3 (number); write a mapping"),
        ("risk_config: [1]", "5 strategies[0].risk_config: got a list; write a mapping"),
        ("risk_config: {risk_per_trade: 2}", "5 strategies[0].risk_config.risk_per_trade: got 2 (number); write a share"),
        ("risk_config: {max_positions: 0}", "5 strategies[0].risk_config.max_positions: got 0 (number); write a whole"),
        ("risk_config: {max_position: 1}", "5 strategies[0].risk_config.max_position: unknown key; did you mean max_positions?"),
        ("risk_config: {max_exposure_usd: 1e400}", "5 strategies[0].risk_config.max_exposure_usd: got 1e400 (number)"),
        ("limits: {memory_mb: 9}", "5 strategies[0].limits.memory_mb: unknown key; did you mean memory_soft_mb?"),
        ("limits: {hang_s: 0.9}", "5 strategies[0].limits.hang_s: got 0.9 (number); write seconds as a number, from 1 to"),
        ("limits: {memory_soft_mb: 400}", "5 strategies[0].limits.memory_soft_mb: got 400 (number); write at most"),
        ("supervision: {intensity: 0}", "5 strategies[0].supervision.intensity: got 0 (number); write a whole"),
        ("supervision: {backoff_base_s: -1}", "5 strategies[0].supervision.backoff_base_s: got -1 (number)"),
        ("enabled:", "5 strategies[0].enabled: got nothing (empty); write true or false"),
        ("symbols: [QQQ]", "5 strategies[0].symbols: symbol and symbols are both there; keep one"),
        ("symbol: QQQ", "5 strategies[0].symbol: duplicate key; the first one is in line 3; keep one of them"),
        ("enabled: !!python/none x", "5 strategies[0].enabled: tag tag:yaml.org,2002:python/none is not read here"),
        ("<<: {enabled: true}", "5 strategies[0].<<: merge keys are not read here; write the keys out"),
    ],
)  # fmt: skip
def test_a_wrong_value_of_an_entry_is_named_with_its_line(tmp_path: Path, rest: str, expected: str) -> None:
    first = lines_of(tmp_path, ENTRY + rest)[0]

    assert first.startswith(expected), first


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("{symbol: SPY, strategy: dipper}", "2 strategies[0].name: missing"),
        ("{name: a b, symbol: SPY, strategy: dipper}", '2 strategies[0].name: got "a b" (text); write a name'),
        ("{name: .., symbol: SPY, strategy: dipper}", '2 strategies[0].name: got ".." (text); write a name'),
        ("{name: 7, symbol: SPY, strategy: dipper}", '2 strategies[0].name: got 7 (number); write "7" with quotes'),
        ("{name: a, strategy: dipper}", "2 strategies[0].symbol: missing"),
        ("{name: a, symbol: S PY, strategy: dipper}", '2 strategies[0].symbol: got "S PY" (text); write a symbol'),
        ("{name: a, symbols: [], strategy: dipper}", "2 strategies[0].symbols: got an empty list"),
        ("{name: a, symbols: SPY, strategy: dipper}", '2 strategies[0].symbols: got "SPY" (text); write a list'),
        ("{name: a, symbols: [SPY, SPY], strategy: dipper}", '2 strategies[0].symbols[1]: got "SPY" (text); name each'),
        ("{name: a, symbol: SPY}", "2 strategies[0].strategy: missing; name a module of strategies/, or a model_path"),
        ("{name: a, symbol: SPY, strategy: diper}", '2 strategies[0].strategy: unknown strategy "diper"; did you mean dipper?'),
        ("{name: a, symbol: SPY, strategy: zzz}", '2 strategies[0].strategy: unknown strategy "zzz"; known are dipper, diver'),
        ("just text", '2 strategies[0]: got "just text" (text); write a mapping'),
    ],
)  # fmt: skip
def test_an_entry_that_lacks_or_misnames_something_is_refused(tmp_path: Path, entry: str, expected: str) -> None:
    first = lines_of(tmp_path, f"strategies:\n  - {entry}\n")[0]

    assert first.startswith(expected), first


def test_a_strategy_that_does_not_load_is_refused_alone(tmp_path: Path) -> None:
    text = "strategies:\n  - {name: a, symbol: SPY, strategy: broken}\n  - {name: b, symbol: SPY, strategy: dipper}\n"

    settings = settings_of(tmp_path, text)

    assert settings.strategies[0].refusal.startswith("strategies/broken.py does not load")
    assert settings.strategies[1].refusal == ""


def test_a_name_stands_once(tmp_path: Path) -> None:
    text = "strategies:\n  - {name: a, symbol: SPY, strategy: dipper}\n  - {name: a, symbol: QQQ, strategy: dipper}\n"

    expected = '3 strategies[1].name: duplicate name "a"; the strategy that begins in line 2 has it'
    assert lines_of(tmp_path, text)[0].startswith(expected)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", ": the file is empty"),
        (b"# nothing\n", ": the file is empty"),
        (b"---\nnull\n", ": the file is empty"),
        (b"- a\n", ":1: got a list; write a mapping"),
        (b"text\n", ':1: got "text" (text); write a mapping'),
        (b"strategies:\n\t- name: a\n", ":2: YAML syntax:"),
        (b"strategies: [\n", ":2: YAML syntax:"),
        (b"a: 1\n---\nb: 1\n", ":2: YAML syntax: expected a single document"),
        (b"a: 1\nb: \xff\n", ":2: byte 0xff is not UTF-8"),
        (b"global: {}\n", ":1 strategies: missing"),
        (b"strategies:\nglobal: {}\n", ":1 strategies: got nothing (empty)"),
        (b"strategies: {}\n", ":1 strategies: got a mapping"),
        (b"a: &a [*a, *a]\n", ":1 a[0]"),
        (b" " * SIZE_MAX + b"# \n", ": the file has more than"),
        (b"a: " + b"[" * 5000, ""),
        (b'a: "\\ud800"\nstrategies: 1\n', ":1 a: not valid Unicode"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused_with_its_line(tmp_path: Path, data: bytes, expected: str) -> None:
    path = tmp_path / "strategies.yaml"
    path.write_bytes(data)

    loaded = load(path, find)

    assert loaded.settings is None
    assert loaded.problems[0].words.startswith(f"{path}{expected}"), loaded.problems[0].words


def test_a_tab_is_called_a_tab(tmp_path: Path) -> None:
    assert "not tabs" in lines_of(tmp_path, "strategies:\n\t- name: a\n")[0]


def test_a_file_that_is_missing_or_a_folder_is_refused(tmp_path: Path) -> None:
    missing, folder = load(tmp_path / "no.yaml"), load(tmp_path)

    assert missing.problems[0].words == f"{tmp_path}/no.yaml: the file is missing; give its path with --config"
    assert "cannot be read" in folder.problems[0].words


def test_all_errors_come_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = """\
strategies:
  - name: a
    name: b
    symbol: SPY
    enabled: on
    strategy: diper
  - name: a
    symbol: Q Q
    strategy: dipper
    parameters:
      flat_time: 955
      nope: 1
  - {}
global:
  feed: {kind: replay, files: {SPY: none.csv}, sped: 1}
  paper: {fill: never, slippage_bps: -1}
  paper_trading: false
  defualt_balance: 0
other: 1
"""

    found = [(problem.line, problem.path) for problem in problems_of(tmp_path, text)]

    assert found == [
        (3, "strategies[0].name"),
        (5, "strategies[0].enabled"),
        (6, "strategies[0].strategy"),
        (7, "strategies[1].name"),
        (8, "strategies[1].symbol"),
        (11, "strategies[1].parameters.flat_time"),
        (12, "strategies[1].parameters.nope"),
        (13, "strategies[2].name"),
        (13, "strategies[2].symbol"),
        (13, "strategies[2].strategy"),
        (15, "global.feed.sped"),
        (15, "global.feed.files.SPY"),
        (16, "global.paper.fill"),
        (16, "global.paper.slippage_bps"),
        (17, "global.paper_trading"),
        (18, "global.defualt_balance"),
        (19, "other"),
    ]


def test_rendered_problems_end_with_what_did_not_happen() -> None:
    value: dict[str, Any] = {"value": "955 (number)", "expected": 'write "15:55" with quotes'}
    problem = Problem(file="config/strategies.yaml", line=14, path="strategies[0].flat_time", **value)

    said = render([problem])

    assert said.split("\n") == [
        'config/strategies.yaml:14 strategies[0].flat_time: got 955 (number); write "15:55" with quotes',
        "1 error in config/strategies.yaml: nothing was started, nothing was changed.",
    ]


def test_the_catalogue_knows_strategies_and_no_other_module() -> None:
    names = strategy_names()

    assert {"vwap_micro_mean_reversion", "ema_crossover_v001"} <= set(names)
    assert "base" not in names
    assert find_strategy("base") is None
    assert find_strategy("../actors") is None
    assert find_strategy("ema_crossover_v001") is not None


def test_live_parameters_that_there_are_not_break_the_strategy_that_names_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strategies, "__path__", list(strategies.__path__))
    (tmp_path / "mistaken_live.py").write_text(
        "import msgspec\nfrom strategies.base import Strategy\n"
        "class P(msgspec.Struct):\n    size: int = 1\n"
        "class S(Strategy):\n    Parameters = P\n    live_parameters = frozenset({'sise'})\n"
        "STRATEGY = S\n",
        encoding="utf-8",
    )
    adopt_folder(tmp_path)

    with pytest.raises(StrategyBrokenError, match="live_parameters names sise, which Parameters does not have"):
        find_strategy("mistaken_live")


def test_a_stop_that_nobody_would_watch_breaks_the_strategy_that_wants_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strategies, "__path__", list(strategies.__path__))
    (tmp_path / "mistaken_stop.py").write_text(
        "import msgspec\nfrom strategies.base import Strategy\n"
        "class P(msgspec.Struct):\n    size: int = 1\n"
        "class S(Strategy):\n    Parameters = P\n    protective_stop = 'VENUE'\n"
        "STRATEGY = S\n",
        encoding="utf-8",
    )
    adopt_folder(tmp_path)

    with pytest.raises(StrategyBrokenError, match="protective_stop is 'VENUE', and not one of ProtectiveStop"):
        find_strategy("mistaken_stop")


@pytest.mark.parametrize("zone", ["America", "Mars/Olympus", "/etc/passwd", "../UTC", '""', "5"])
def test_a_day_without_a_time_zone_that_there_is_is_refused(tmp_path: Path, zone: str) -> None:
    first = lines_of(tmp_path, f"{ENTRY}enabled: true\nglobal:\n  risk:\n    day_boundary_tz: {zone}\n")[0]

    assert "global.risk.day_boundary_tz: got" in first
    assert "write a time zone such as" in first
