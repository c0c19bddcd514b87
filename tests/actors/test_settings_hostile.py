"""Whatever a configuration file holds, reading it ends in settings or problems, never in a fall."""

import tempfile
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from actors.problem import render
from actors.settings import decode_settings, encode_settings
from actors.settings_file import load
from actors.settings_rule import PROCESS_LIMITS, SUPERVISION
from actors.tree import desk_tree
from runtime.spec import NodeSpec

_VOCABULARY = (
    "strategies global name symbol symbols enabled strategy parameters risk_config limits supervision feed kind files "
    "true false on 955 15:55 0.5 -1 1e999 .inf .nan ~ SPY vwap_micro_mean_reversion synthetic replay zmq max flat_time "
    "entry_deviation_pct entry_order_type 0x1F 99999999999999999999999999 '' \"\\ud800\" &a *a << !!int !x %YAML"
)
_WORDS = st.sampled_from(_VOCABULARY.split())
_MARKS = st.sampled_from(
    [": ", ":\n  ", "\n- ", "\n  - ", ",", "{", "}", "[", "]", "\n", "\n    ", "\t", " #", "|\n", "? "]
)
_YAMLISH = st.lists(st.one_of(_WORDS, _MARKS), max_size=40).map("".join)
_SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=12))
_VALUES = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
)


def assert_judged(data: bytes) -> None:
    """Load the bytes as a file: either there are settings that reach a child, or problems that can be printed."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "strategies.yaml"
        path.write_bytes(data)
        loaded = load(path)
    assert (loaded.settings is None) == bool(loaded.problems)
    for problem in loaded.problems:
        assert "\n" not in problem.words
    render(loaded.problems).encode("utf-8")
    if loaded.settings is not None:
        assert decode_settings(encode_settings(loaded.settings)) == loaded.settings


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=200))
@example(b'"\\UFFFFFFFF"')
@example(b"%YAML 9.9\n--- a")
@example(b"!<tag:> a")
def test_any_bytes_are_judged(data: bytes) -> None:
    assert_judged(data)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text(max_size=200))
def test_any_text_is_judged(text: str) -> None:
    assert_judged(text.encode("utf-8", "surrogatepass"))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_YAMLISH)
def test_anything_that_looks_like_yaml_is_judged(text: str) -> None:
    assert_judged(text.encode("utf-8", "surrogatepass"))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    key=st.sampled_from(["enabled", "flat_time", "stop_loss_pct", "entry_order_type", "max_trades_per_day"]),
    value=_SCALARS,
)
def test_any_value_in_any_parameter_is_judged(key: str, value: object) -> None:
    entry = "strategies:\n  - {name: a, symbol: SPY, strategy: vwap_micro_mean_reversion, parameters: {"
    written = str(value).replace("\n", " ")

    assert_judged(f"{entry}{key}: {written}}}}}\n".encode("utf-8", "surrogatepass"))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    section=st.sampled_from(["feed", "paper", "risk", "supervision", "log_level", "default_balance"]),
    value=_VALUES,
)
def test_any_shape_in_any_section_is_judged(section: str, value: object) -> None:
    text = f"strategies: [{{name: a, symbol: SPY, strategy: ema_crossover_v001}}]\nglobal: {{{section}: {value!r}}}\n"

    assert_judged(text.encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize(
    ("section", "key"), [("limits", key) for key in PROCESS_LIMITS] + [("supervision", key) for key in SUPERVISION]
)
@pytest.mark.parametrize("number", ["1e-300", "0.0000000001", "0", "1", "19", "1000000000", "999999999999999", "1e300"])
def test_every_number_that_is_taken_of_a_process_can_be_told_to_its_supervisor(
    tmp_path: Path, section: str, key: str, number: str
) -> None:
    file = tmp_path / "strategies.yaml"
    file.write_text(
        f"strategies: [{{name: a, symbol: SPY, strategy: ema_crossover_v001, {section}: {{{key}: {number}}}}}]\n"
    )

    settings = load(file).settings

    if settings is not None:
        tree = desk_tree(settings, str(file))
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(tree), type=NodeSpec) == tree


@pytest.mark.timeout(20)
def test_aliases_that_unfold_without_end_are_refused_soon() -> None:
    levels = "".join(f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]\n" for level in range(1, 12))

    assert_judged(f"a0: &a0 x\n{levels}".encode())
