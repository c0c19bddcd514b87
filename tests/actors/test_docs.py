"""The documents say what the code does: keys and defaults, commands, verbs, names, links, the README's example."""

import re
from collections.abc import Iterator
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any

import msgspec
import pytest
import typer.main
from typer.core import TyperGroup

import strategies
from actors.cli import app
from actors.console.protocol import PROTOCOL, Code, Reply, Request
from actors.console.verbs import VERBS
from actors.settings import (
    ROOM_SUPERVISION,
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
from actors.settings_file import load
from actors.settings_policy import POLICIES
from desk.transition import CONFIRMED, NEXT
from desk.venue import Instrument
from strategies.ema_crossover_v001 import EmaParameters
from strategies.vwap_micro_mean_reversion import VwapParameters

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
CODE = ("actors", "desk", "runtime", "strategies")

#: Each section of the configuration's document, and the Struct that it describes.
SECTIONS: dict[str, type[msgspec.Struct]] = {
    "`strategies[]`": StrategySettings,
    "`strategies[].risk_config`": RiskConfig,
    "`strategies[].limits`": ProcessLimits,
    "`supervision`": SupervisionSettings,
    "`global`": Settings,
    "`global.feed`": FeedSettings,
    "`global.paper`": PaperSettings,
    "`global.venue`": VenueSettings,
    "`global.risk`": DeskLimits,
    "`global.control`": ControlSettings,
    "`global.execution`": ExecutionSettings,
    "`global.reconciliation`": ReconciliationSettings,
    "`global.instruments`": Instrument,
    "Parameters of `vwap_micro_mean_reversion`": VwapParameters,
    "Parameters of `ema_crossover_v001`": EmaParameters,
}
#: Fields that no file can name, and keys that are no fields.
NOT_IN_THE_FILE: dict[type[msgspec.Struct], set[str]] = {
    StrategySettings: {"refusal", "line", "live_parameters", "wants_ticks", "flat_at"},
    Settings: {"strategies", "strategies_folder", "venues_folder"},
    Instrument: {"symbol"},
}
NOT_IN_THE_STRUCT: dict[type[msgspec.Struct], set[str]] = {StrategySettings: {"symbol"}}

EXAMPLE_CONFIGURATION = """\
strategies:
  - name: dip
    symbol: SPY
    strategy: dip_buyer
    parameters: {falls: 4}
"""


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def sections(text: str) -> dict[str, str]:
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def rows(section: str) -> dict[str, tuple[str, str]]:
    """Give {key: (default, meaning)} of a section's table of keys."""
    cells = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("| `")]
    return {key.strip().strip("`"): (default.strip(), meaning.strip()) for key, _, default, meaning in cells}


def said(default: Any) -> set[str]:
    """Give the ways in which a document may write a default."""
    match default:
        case bool():
            return {str(default).lower()}
        case Enum():
            return {str(default.value)}
        case Decimal() | int() | float():
            return {f"{default:f}", f"{default:g}", str(default)}
        case str() if default:
            return {default}
        case _:
            return {"none"}


def commands() -> Iterator[tuple[str, list[str]]]:
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    for name, command in group.commands.items():
        yield name, [option for parameter in command.params for option in parameter.opts if option.startswith("--")]


# --- configuration ----------------------------------------------------------------------------


@pytest.mark.parametrize("title", SECTIONS)
def test_the_document_names_exactly_the_keys_that_the_file_may_have(title: str) -> None:
    kind = SECTIONS[title]

    documented = set(rows(sections(read("docs/configuration.md"))[title]))

    fields = {field.encode_name for field in msgspec.structs.fields(kind)}
    assert documented == (fields - NOT_IN_THE_FILE.get(kind, set())) | NOT_IN_THE_STRUCT.get(kind, set())


@pytest.mark.parametrize("title", SECTIONS)
def test_the_document_gives_the_defaults_that_hold(title: str) -> None:
    documented = rows(sections(read("docs/configuration.md"))[title])

    wrong = {
        field.encode_name: (documented[field.encode_name][0], said(field.default))
        for field in msgspec.structs.fields(SECTIONS[title])
        if field.encode_name in documented
        and not field.required
        and not isinstance(field.default, msgspec.Struct)
        and field.default_factory is msgspec.NODEFAULT
        and documented[field.encode_name][0] not in said(field.default)
    }

    assert wrong == {}


def test_every_key_of_the_configuration_has_a_meaning() -> None:
    text = sections(read("docs/configuration.md"))

    assert [key for title in SECTIONS for key, (_, meaning) in rows(text[title]).items() if not meaning] == []


def test_the_default_of_the_rooms_supervision_is_told() -> None:
    _, meaning = rows(sections(read("docs/configuration.md"))["`supervision`"])["intensity"]

    assert f"Under `global` the default is {ROOM_SUPERVISION.intensity}." in meaning


def test_what_an_edit_takes_is_told_of_every_key() -> None:
    table = re.findall(
        r"^\| (`.+) \| (.+) \|$", sections(read("docs/configuration.md"))["While the desk runs"], re.MULTILINE
    )
    told = {key: words for keys, words in table for key in re.findall(r"`([^`]+)`", keys)}

    wrong = {
        path: policy
        for path, policy in POLICIES.items()
        if not told.get(path, told.get(path.rpartition(".")[0], "")).startswith(policy)
    }

    assert wrong == {}
    assert [key for key in told if not any(f"{path}.".startswith(f"{key}.") for path in POLICIES)] == []


# --- commands and verbs -----------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name, _ in commands()])
def test_the_readme_lists_every_command(name: str) -> None:
    assert re.search(rf"^\|.*`{name}\b", sections(read("README.md"))["Commands"], re.MULTILINE)


def test_the_readme_names_every_option() -> None:
    text = sections(read("README.md"))["Commands"]

    assert {option for _, options in commands() for option in options if f"{option}" not in text} == set()


def test_the_control_document_lists_exactly_the_verbs() -> None:
    told = re.findall(r"^\| `(\w+)` \|", sections(read("docs/control.md"))["Verbs"], re.MULTILINE)

    assert sorted(told) == sorted(VERBS)


@pytest.mark.parametrize("name", VERBS)
def test_the_control_document_gives_each_verb_its_role_and_its_arguments(name: str) -> None:
    row = re.search(rf"^\| `{name}` \| (\w+) \| (.*?) \|", sections(read("docs/control.md"))["Verbs"], re.MULTILINE)

    assert row is not None
    assert row[1] == VERBS[name].role.word
    assert [field for field in VERBS[name].arguments.__struct_fields__ if f"`{field}`" not in row[2]] == []


def test_the_control_document_explains_exactly_the_codes() -> None:
    text = sections(read("docs/control.md"))["Protocol, version 1"]
    told = re.findall(r"^\| `(\w+)` \|", text[text.index("| code |") :], re.MULTILINE)

    assert told == [code.value for code in Code]


@pytest.mark.parametrize("kind", [Request, Reply])
def test_the_control_document_names_every_key_of_the_protocol(kind: type[msgspec.Struct]) -> None:
    text = sections(read("docs/control.md"))["Protocol, version 1"]

    assert [name for name in kind.__struct_fields__ if f"| `{name}` |" not in text] == []


# --- names, links, example --------------------------------------------------------------------


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_name_in_a_document_is_one_of_the_code(path: Path) -> None:
    code = "\n".join(file.read_text(encoding="utf-8") for folder in CODE for file in (ROOT / folder).rglob("*.py"))

    names = set(re.findall(r"`([A-Z][a-z]+(?:[A-Z][a-z]+)+)`", path.read_text(encoding="utf-8")))

    assert {name for name in names if not re.search(rf"\b{name}\b", code)} == set()


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_that_a_document_names_is_there(path: Path) -> None:
    text = path.read_text(encoding="utf-8")

    linked = [(path.parent, link) for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)]
    named = [(ROOT, name) for name in re.findall(r"`((?:actors|desk|runtime|strategies)/[a-z0-9_/]+\.py)`", text)]

    assert [name for folder, name in linked + named if not (folder / name).exists()] == []


def test_every_decision_is_listed() -> None:
    text = read("docs/decisions/README.md")

    assert [path.name for path in (ROOT / "docs" / "decisions").glob("0*.md") if f"({path.name})" not in text] == []


def test_the_strategy_of_the_readme_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strategies, "__path__", list(strategies.__path__))
    blocks = re.findall(r"^```python\n(.*?)^```$", read("README.md"), re.MULTILINE | re.DOTALL)
    (own,) = [block for block in blocks if "STRATEGY =" in block]
    (tmp_path / "strategies").mkdir()
    (tmp_path / "strategies" / "dip_buyer.py").write_text(own, encoding="utf-8")
    (tmp_path / "strategies.yaml").write_text(EXAMPLE_CONFIGURATION, encoding="utf-8")

    loaded = load(tmp_path / "strategies.yaml")

    assert loaded.problems == ()
    assert loaded.settings is not None
    assert loaded.settings.strategies[0].refusal == ""


def test_the_control_document_is_of_the_version_that_is_spoken() -> None:
    assert f"Protocol, version {PROTOCOL}" in sections(read("docs/control.md"))


# --- what execution promises ------------------------------------------------------------------


def test_the_table_of_transitions_is_the_one_that_orders_obey() -> None:
    rows = re.findall(r"^\| `([A-Z_]+)` \| (.*) \|$", read("docs/execution-invariants.md"), re.MULTILINE)
    told = {before: re.findall(r"(\*\*)?`([A-Z_]+)`", followers) for before, followers in rows}

    assert {before: {after for _, after in followers} for before, followers in told.items()} == {
        before.value: {after.value for after in following} for before, following in NEXT.items()
    }
    assert {(before, after) for before, followers in told.items() for bold, after in followers if bold} == {
        (before.value, after.value) for before, after in CONFIRMED
    }
