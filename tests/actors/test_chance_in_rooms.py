"""No room asks what another run, or another machine, would answer otherwise.

The import contracts keep modules of clocks, chance and threads out. These here need no import, or one that has other uses.
"""

import ast
from pathlib import Path

import pytest

import actors
import desk
import strategies

ROOTS = (Path(actors.__file__).parent, Path(desk.__file__).parent, Path(strategies.__file__).parent)
#: Hashes of texts and addresses of objects are others in each process.
FUNCTIONS = frozenset({"hash", "id"})
#: The machine's clock and its noise: of datetime and date, and of os.
METHODS = frozenset({"now", "utcnow", "today", "urandom", "getrandom"})


def asks(text: str) -> list[int]:
    """Give the lines of a module that ask for what no input of it says."""
    calls = [node.func for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
    named = [each for each in calls if isinstance(each, ast.Name) and each.id in FUNCTIONS]
    owned = [each for each in calls if isinstance(each, ast.Attribute) and each.attr in METHODS]
    return sorted(each.lineno for each in (*named, *owned))


@pytest.mark.parametrize(
    "text",
    ["hash('a')", "x = id(order)", "datetime.now(UTC)", "date.today()", "import os\n\nos.urandom(8)"],
)
def test_the_check_finds_what_is_other_in_each_run(text: str) -> None:
    assert len(asks(text)) == 1


def test_nothing_asks_for_what_is_other_in_each_run() -> None:
    found = [
        f"{file.relative_to(root.parent)}:{line}"
        for root in ROOTS
        for file in sorted(root.rglob("*.py"))
        for line in asks(file.read_text(encoding="utf-8"))
    ]

    assert found == []
