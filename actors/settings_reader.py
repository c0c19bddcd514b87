"""Walk a configuration's tree by tables of rules and keep every problem met on the way."""

import difflib
import os.path
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from actors.problem import Problem
from actors.settings_rule import Table, UnfitError
from actors.yaml_tree import Branch, Leaf, Node, Row, printable, shown

S = TypeVar("S", bound=msgspec.Struct)

#: Pairs of keys of one mapping: the first must not exceed the second.
ORDERED = (
    ("memory_soft_mb", "memory_hard_mb"),
    ("backoff_base_s", "backoff_cap_s"),
    ("max_positions_per_symbol", "max_positions"),
    ("default_trade_pct", "max_position_size"),
    ("breaker_open_s", "breaker_open_max_s"),
)

#: Stands for a value that was refused, where the walk goes on to find more.
NO_BRANCH = Branch(pairs=(), line=0)


class Spot(msgspec.Struct, frozen=True):
    """Where in the file: line (from 1, 0 for the whole file) and path."""

    line: int
    path: str

    def below(self, key: str) -> "Spot":
        """Name a key inside this mapping that the file does not have."""
        return Spot(self.line, f"{self.path}.{key}" if self.path else key)


class Reader:
    """Reads one file's tree; ``problems`` grows, nothing is raised for what the file says."""

    def __init__(self, file: str) -> None:
        """Start with no problems; ``file`` is the name that they show."""
        self.file = file
        self.problems: list[Problem] = []

    def blame(self, spot: Spot, *, fault: str = "", expected: str = "", value: str = "", nearest: str = "") -> None:
        """Note one problem."""
        self.problems.append(
            Problem(
                file=self.file,
                line=spot.line,
                path=spot.path,
                expected=expected,
                value=value,
                fault=fault,
                nearest=nearest,
            )
        )

    def misfit(self, spot: Spot, node: Node, expected: str) -> None:
        """Note that the value there is not what its key wants."""
        self.blame(spot, value=shown(node), expected=expected)

    def unknown(self, spot: Spot, key: str, known: Iterable[str], *, what: str = "unknown key") -> None:
        """Note a word that nobody knows, with the nearest right one, or all right ones."""
        words = list(known)
        close = difflib.get_close_matches(key[:100], words, n=1, cutoff=0.55)
        expected = "" if close else f"known are {', '.join(words)}" if words else "none is known"
        value = f'"{printable(key)}" (text)'
        self.blame(spot, fault=what, value=value, nearest=close[0] if close else "", expected=expected)

    def refuse_unknown(self, branch: Branch, path: str, known: Iterable[str]) -> None:
        """Note each key of the mapping that is not among the known ones."""
        words = list(known)
        for pair in branch.pairs:
            if pair.key not in words:
                self.unknown(Spot(pair.line, _join(path, pair.key)), pair.key, words)

    def branch(self, node: Node | None, spot: Spot) -> Branch:
        """Take a node as a mapping. One that is absent or left empty has no keys; anything else is a problem."""
        if isinstance(node, Branch):
            return node
        if node is not None and not (isinstance(node, Leaf) and node.value is None):
            self.misfit(spot, node, "write a mapping, its keys indented below")
        return NO_BRANCH

    def values(self, branch: Branch, path: str, table: Table, nested: Iterable[str] = ()) -> dict[str, Any]:
        """Read the plain values of a mapping by their rules.

        Args:
            branch: The mapping.
            path: Where it stands.
            table: The rule of each key.
            nested: Keys that are known too, and read elsewhere.

        Returns:
            The values that fit. A key that is unknown or does not fit is left out and noted.
        """
        self.refuse_unknown(branch, path, [*table, *nested])
        values: dict[str, Any] = {}
        for pair in branch.pairs:
            rule = table.get(pair.key)
            if rule is None:
                continue
            try:
                values[pair.key] = rule(pair.node)
            except UnfitError as error:
                self.misfit(Spot(pair.line, _join(path, pair.key)), pair.node, str(error))
        return values

    def section(
        self, parent: Branch, path: str, key: str, table: Table, defaults: msgspec.Struct | None = None
    ) -> dict[str, Any]:
        """Read the mapping under ``key`` of a mapping; bounds that belong together are held against ``defaults``."""
        pair = parent.pair(key)
        if pair is None:
            return {}
        below = _join(path, key)
        section = self.branch(pair.node, Spot(pair.line, below))
        values = self.values(section, below, table)
        if defaults is not None:
            self._check_order(section, below, values, defaults)
        return values

    def rows(self, node: Node, spot: Spot, expected: str) -> tuple[Node, ...]:
        """Take a node as a list with at least one item; anything else is a problem."""
        if isinstance(node, Row) and node.nodes:
            return node.nodes
        if isinstance(node, Row):
            self.blame(spot, value="an empty list", expected=expected)
        else:
            self.misfit(spot, node, expected)
        return ()

    def build(self, kind: type[S], values: Mapping[str, Any]) -> S | None:
        """Make the Struct of values that were read, or None where a problem was noted before.

        ``values`` may hold plain dicts for Structs inside.
        """
        return None if self.problems else msgspec.convert(values, kind)

    def _check_order(self, section: Branch, path: str, values: Mapping[str, Any], defaults: msgspec.Struct) -> None:
        """Refuse a lower bound above its upper one. The default stands for what the file leaves out."""
        whole = msgspec.structs.asdict(defaults) | dict(values)
        for low, high in ORDERED:
            small, large = whole.get(low), whole.get(high)
            if small is None or large is None or small <= large:
                continue
            key, expected = (low, f"write at most {high} ({large})")
            if low not in values:
                key, expected = (high, f"write at least {low} ({small})")
            pair = section.pair(key)
            if pair is not None:
                self.misfit(Spot(pair.line, _join(path, key)), pair.node, expected)


def placed(folder: Path, text: str) -> str:
    """Make a path of the file absolute; it begins at ``folder``."""
    return os.path.normpath((folder / text).absolute())


def _join(path: str, key: str) -> str:
    return f"{path}.{printable(key)}" if path else printable(key)
