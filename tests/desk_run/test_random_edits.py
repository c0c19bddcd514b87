"""A file edited at random, well and badly, with operators in between: the desk comes to what a small model says."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from actors.control_client import VerbRefusedError
from tests.desk_run.harness import Desk
from tests.desk_run.publisher import Publisher, with_obedient

NAMES = [f"s{number}" for number in range(6)]
SYMBOLS = ["AAA", "BBB", "CCC"]
Entry = dict[str, Any]


class Model:
    """What the last good file and the operators say; it knows nothing of how the desk does it."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.wishes: dict[str, tuple[bool, bool]] = {}
        """What an operator wished, and what the file said then."""
        self.touched: set[str] = set()
        """Whose process may be another one since the last look."""

    def read(self, entries: dict[str, Entry]) -> None:
        """Take in a good file."""
        for name in self.entries.keys() | entries.keys():
            was, now = self.entries.get(name), entries.get(name)
            if (
                was is None
                or now is None
                or any(was[key] != now[key] for key in ("enabled", "symbol", "timeframe", "files"))
            ):
                self.touched.add(name)
        self.entries = {name: dict(entry) for name, entry in entries.items()}
        for name, (_, said) in list(self.wishes.items()):
            if name in entries and entries[name]["enabled"] != said:
                del self.wishes[name]
                self.touched.add(name)

    def wish(self, name: str, *, is_enabled: bool) -> None:
        """Hear an operator."""
        said = self.entries[name]["enabled"]
        self.wishes.pop(name, None)
        if is_enabled != said:
            self.wishes[name] = (is_enabled, said)
        self.touched.add(name)

    def states(self) -> dict[str, str]:
        """Say how each strategy shall be."""
        runs = {name: self.wishes.get(name, (entry["enabled"],))[0] for name, entry in self.entries.items()}
        return {name: "RUNNING" if does_run else "DISABLED" for name, does_run in runs.items()}

    def is_met(self, status: dict[str, Any]) -> bool:
        """Say whether the desk is as it shall be: who became another strategy is that one already, who is gone has left."""
        there = {
            row["path"].removeprefix("strategies/") for row in status["tree"] if row["path"].startswith("strategies/")
        }
        fed = {row["name"]: list(row["last_bars"]) for row in status["strategies"] if row["state"] == "RUNNING"}
        wanted = {name: [f"{self.entries[name]['symbol']}/{self.entries[name]['timeframe']}"] for name in fed}
        return states(status) == self.states() and fed == wanted and there <= self.entries.keys()


def an_entry(chance: random.Random) -> Entry:
    return {
        "enabled": chance.random() < 0.7,
        "symbol": chance.choice(SYMBOLS),
        "timeframe": "1m",
        "buy_above": 1000,
        "files": 256,
        "memory": 300,
        "most": 100,
    }


def change(chance: random.Random, entries: dict[str, Entry]) -> None:
    """Make one good change."""
    name = chance.choice(NAMES)
    if name not in entries:
        entries[name] = an_entry(chance)
    elif len(entries) > 1 and chance.random() < 0.25:
        del entries[name]
    else:
        key = chance.choice(["enabled", "enabled", "timeframe", "buy_above", "files", "memory", "most"])
        other = {"enabled": not entries[name]["enabled"], "timeframe": chance.choice(["1m", "5m"])}
        entries[name][key] = other.get(key, entries[name][key] + 1 if not isinstance(entries[name][key], str) else "5m")


def written(entries: dict[str, Entry], url: str) -> str:
    rows = [
        {
            "name": name,
            "symbol": entry["symbol"],
            "strategy": "obedient",
            "enabled": entry["enabled"],
            "timeframe": entry["timeframe"],
            "parameters": {"buy_above": entry["buy_above"]},
            "limits": {"open_files": entry["files"], "memory_hard_mb": entry["memory"]},
            "risk_config": {"max_positions": entry["most"]},
        }
        for name, entry in entries.items()
    ]
    feed = {"kind": "zmq", "url": url, "symbols": SYMBOLS}
    return json.dumps({"strategies": rows, "global": {"feed": feed}}, indent=1)


def spoil(chance: random.Random, text: str) -> str:
    """Make a mistake."""
    return chance.choice(
        [
            lambda: text[: len(text) // 2],
            lambda: text.replace('"enabled": ', '"enabeld": ', 1),
            lambda: text.replace('"obedient"', '"disobedient"', 1),
            lambda: text.replace('"open_files": ', '"open_files": -', 1),
            lambda: text.replace('"strategies": [', '"strategies": [{"name": "s0", "symbol": "AAA"}, ', 1),
            lambda: "",
        ]
    )()


def play(desk: Desk, url: str, entries: dict[str, Entry], *, seed: int, edits: int) -> None:
    chance, model = random.Random(seed), Model()
    model.read(entries)
    desk.until(model.is_met)
    pids = desk.pids()
    number = 0
    while number < edits:
        model.touched = set()
        for _ in range(chance.randint(1, 3)):
            number += 1
            change(chance, entries)
        text = written(entries, url)
        if chance.random() < 0.3:
            desk.file.write_text(spoil(chance, text), encoding="utf-8")
            with pytest.raises(VerbRefusedError):
                desk.ask("reload")
        else:
            desk.file.write_text(text, encoding="utf-8")
            assert all(not one["is_waiting"] for one in desk.ask("reload")["changes"]), f"edit {number}"
            model.read(entries)
        if chance.random() < 0.3:
            name, is_enabled = chance.choice(sorted(model.entries)), chance.random() < 0.5
            desk.ask("enable" if is_enabled else "disable", name=name)
            model.wish(name, is_enabled=is_enabled)
        desk.until(model.is_met)

        after = desk.pids()
        kept = {path: pid for path, pid in pids.items() if path.removeprefix("strategies/") not in model.touched}
        assert {path: after.get(path) for path in kept} == kept, f"seed {seed}, edit {number}"
        pids = after
    assert all(row["restarts"] == 0 for row in desk.status()["tree"])


def states(status: dict[str, Any]) -> dict[str, str]:
    return {row["name"]: row["state"] for row in status["strategies"]}


@pytest.fixture
def silent(tmp_path: Path) -> Iterator[tuple[Desk, str, dict[str, Entry]]]:
    """Give a desk of some strategies on a publisher that says nothing."""
    chance = random.Random(0)
    entries = {name: an_entry(chance) for name in NAMES[:3]}
    with Publisher() as publisher, Desk(with_obedient(tmp_path / "desk"), written(entries, publisher.url)) as desk:
        desk.start().until_up()
        yield desk, publisher.url, entries


def test_fifteen_edits_come_to_what_the_model_says(silent: tuple[Desk, str, dict[str, Entry]]) -> None:
    desk, url, entries = silent

    play(desk, url, entries, seed=1, edits=15)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_hundred_edits_come_to_what_the_model_says(silent: tuple[Desk, str, dict[str, Entry]]) -> None:
    desk, url, entries = silent

    play(desk, url, entries, seed=2, edits=200)
