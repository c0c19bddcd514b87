"""The venue behind a wire in the configuration: what holds, and what is refused with its line."""

from pathlib import Path

import pytest

from actors.arguments import PAPER
from actors.problem import render
from actors.settings import Settings, VenueRules
from actors.settings_file import load
from actors.tree import desk_tree, store_paths, venue_path
from actors.venues.adapter import AdapterError, find_adapter
from desk.units import NS_PER_S
from desk.venue import KRAKEN
from desk.venue import PAPER as PAPER_TRAITS
from runtime.spec import NodeSpec

HEAD = """\
strategies:
  - {name: idle, symbol: SPY, strategy: ema_crossover_v001}
global:
  feed: {kind: zmq, url: "tcp://127.0.0.1:5556"}
"""
ADAPTER = "def open_port(options):\n    raise AssertionError('nothing is opened when settings are read')\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "venues").mkdir()
    (tmp_path / "venues" / "my_kraken.py").write_text(ADAPTER)
    return tmp_path


def settings_of(folder: Path, venue: str, head: str = HEAD) -> Settings:
    loaded = load(_written(folder, venue, head))
    assert loaded.settings is not None, render(loaded.problems)
    return loaded.settings


def problems_of(folder: Path, venue: str, head: str = HEAD) -> list[str]:
    loaded = load(_written(folder, venue, head))
    assert loaded.settings is None
    return [f"{p.line} {p.path}: {p.fault} {p.expected}" for p in loaded.problems]


def _written(folder: Path, venue: str, head: str) -> Path:
    path = folder / "strategies.yaml"
    path.write_text(head + venue)
    return path


def test_without_a_venue_the_desk_trades_on_paper(folder: Path) -> None:
    settings = settings_of(folder, "")

    assert (settings.venue.is_remote, settings.venue.traits, venue_path(settings)) == (False, PAPER_TRAITS, PAPER)
    assert PAPER in store_paths(settings)


def test_a_venue_has_its_rules_and_the_files_own_deadline(folder: Path) -> None:
    text = "  venue: {name: kraken, adapter: 'my_kraken:open_port', rules: kraken, deadline_s: 3, options: {pair: [SPY]}}\n"
    venue = settings_of(folder, text).venue

    assert (venue.is_remote, venue.rules, venue.options) == (True, VenueRules.KRAKEN, {"pair": ["SPY"]})
    assert (venue.traits.deadline_ns, venue.traits.margin_ns) == (3 * NS_PER_S, KRAKEN.margin_ns)
    assert venue.traits.ids is KRAKEN.ids


def test_the_venues_process_stands_where_the_paper_venue_stood(folder: Path) -> None:
    settings = settings_of(folder, "  venue: {name: alp, adapter: 'my_kraken:open_port', rules: alpaca}\n")

    tree = desk_tree(settings, "strategies.yaml")

    venues = tree.children[0]
    assert isinstance(venues, NodeSpec)
    assert [child.id for child in venues.children] == ["alp"]
    assert PAPER not in store_paths(settings)


@pytest.mark.parametrize(
    ("venue", "said"),
    [
        ("{adapter: 'my_kraken:open_port', rules: kraken}", "5 global.venue.name: missing"),
        ("{name: kraken, rules: kraken}", "5 global.venue.adapter: missing"),
        ("{name: kraken, adapter: 'my_kraken:open_port'}", "5 global.venue.rules: missing"),
        ("{name: paper, adapter: 'my_kraken:open_port', rules: kraken}", "5 global.venue.name:  write a name"),
        ("{name: k, adapter: my_kraken, rules: kraken}", "5 global.venue.adapter:  write module:function"),
        ("{name: k, adapter: 'my_kraken:shut', rules: kraken}", "my_kraken has no function shut"),
        ("{name: k, adapter: 'no_such_thing:f', rules: kraken}", "nor an installed module of the name no_such_thing"),
        (
            "{name: k, adapter: 'my_kraken:open_port', rules: nyse}",
            "5 global.venue.rules:  write one of kraken, alpaca",
        ),
        (
            "{name: k, adapter: 'my_kraken:open_port', rules: alpaca, deadline_s: 5}",
            "5 global.venue.deadline_s:  leave it out: by the rules of alpaca an order has no deadline",
        ),
        (
            "{name: k, adapter: 'my_kraken:open_port', rules: kraken, margin_s: 0}",
            "5 global.venue.margin_s:  write seconds as a number, from 0.5 to 60",
        ),
        (
            "{name: k, adapter: 'my_kraken:open_port', rules: kraken, options: {api_key: hush}}",
            "5 global.venue.options.api_key: this looks like a secret",
        ),
        (
            "{name: k, adapter: 'my_kraken:open_port', rules: kraken, options: {a: {b: kQH5HW8zR1mVd0Yx3Zb7TqNw9LpGfJc2}}}",
            "5 global.venue.options.a.b: this looks like a secret",
        ),
        ("{name: k, adapter: 'my_kraken:open_port', rules: kraken, colour: red}", "5 global.venue.colour: unknown key"),
    ],
)
def test_a_venue_that_cannot_be_is_refused_with_its_line(folder: Path, venue: str, said: str) -> None:
    problems = problems_of(folder, f"  venue: {venue}\n")

    assert any(said in problem for problem in problems), problems


def test_a_path_or_an_address_among_the_options_is_no_secret(folder: Path) -> None:
    options = "{socket: /run/user/1000/exchange4711/socket, url: 'https://api.example1.invalid/0/private', size: 5}"

    venue = settings_of(
        folder, f"  venue: {{name: k, adapter: 'my_kraken:open_port', rules: kraken, options: {options}}}\n"
    ).venue

    assert venue.options["size"] == 5


def test_a_venue_behind_a_wire_does_not_go_with_simulated_time(folder: Path) -> None:
    head = HEAD.replace('{kind: zmq, url: "tcp://127.0.0.1:5556"}', "{kind: synthetic}")
    venue = "  venue: {name: k, adapter: 'my_kraken:open_port', rules: kraken}\n"

    assert any("lockstep: false" in problem for problem in problems_of(folder, venue, head))
    head = head.replace("{kind: synthetic}", "{kind: synthetic, lockstep: false}")
    assert settings_of(folder, venue, head).venue.is_remote


def test_an_adapter_that_does_not_load_says_why(folder: Path) -> None:
    (folder / "venues" / "broken.py").write_text("raise ValueError('a bad day')\n")
    (folder / "venues" / "needy.py").write_text("import no_such_client\n")

    with pytest.raises(AdapterError, match="broken does not load: ValueError: a bad day"):
        find_adapter("broken:open_port", str(folder / "venues"))
    with pytest.raises(AdapterError, match="it needs no_such_client, which is not installed"):
        find_adapter("needy:open_port", str(folder / "venues"))
