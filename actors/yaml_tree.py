"""YAML text as a small tree that knows its lines: plain values by YAML 1.2's core rules, all faults collected.

``15:55`` and ``on`` are text, ``955`` is a number, only ``true`` and ``false`` are booleans. Whatever a
``%YAML 1.1`` line or the parser's own habits say, these rules decide.
"""

import re
import warnings
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, ReusedAnchorWarning, YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode

#: No sane configuration comes near these; they stop a file whose aliases unfold without end.
DEPTH_MAX = 12
NODES_MAX = 20_000
#: Digits of a whole number that surely fits 64 bits.
DIGITS_MAX = 18

_TRUE = frozenset({"true", "True", "TRUE"})
_FALSE = frozenset({"false", "False", "FALSE"})
_NOTHING = frozenset({"", "~", "null", "Null", "NULL"})
_WHOLE = re.compile(r"[-+]?[0-9]+")
_BASED = re.compile(r"0o[0-7]{1,20}|0x[0-9a-fA-F]{1,15}")
_NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_CORE = "tag:yaml.org,2002:"
_TEXT_TAG = f"{_CORE}str"
_PLAIN_TAGS = frozenset(
    f"{_CORE}{word}" for word in ("str", "int", "float", "bool", "null", "timestamp", "value", "merge")
)
_BRANCH_TAGS = frozenset({f"{_CORE}map", f"{_CORE}seq"})

#: What the parser raises on hostile text beside its own errors.
_PARSER_FALLS = (
    YAMLError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    NotImplementedError,
    RecursionError,
)


class Fault(msgspec.Struct, frozen=True):
    """One thing wrong with the text itself. ``line`` counts from 1; ``path`` is "" for the whole file."""

    line: int
    path: str
    words: str


class Leaf(msgspec.Struct, frozen=True):
    """A plain value. ``text`` is what the file says, so a Decimal can be read from it without a float between."""

    value: str | int | float | bool | None
    text: str
    line: int


class Pair(msgspec.Struct, frozen=True):
    """One ``key: value`` of a mapping. ``line`` is the key's."""

    key: str
    line: int
    node: "Node"


class Branch(msgspec.Struct, frozen=True):
    """A mapping. Of a key that is there twice, the first one counts (and a fault tells)."""

    pairs: tuple[Pair, ...]
    line: int

    def pair(self, key: str) -> Pair | None:
        """Give the pair of ``key``, or None."""
        return next((pair for pair in self.pairs if pair.key == key), None)


class Row(msgspec.Struct, frozen=True):
    """A list."""

    nodes: tuple["Node", ...]
    line: int


Node = Leaf | Branch | Row


def plant(text: str) -> tuple[Node | None, tuple[Fault, ...]]:
    """Read YAML text.

    Returns:
        The tree and everything wrong with the text. The tree is None where the text is no YAML at all,
        or holds nothing. Never raises on any text.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ReusedAnchorWarning)
            parser: Any = YAML(typ="safe", pure=True)
            root = parser.compose(text)
        if root is None:
            return None, ()
        gardener = _Gardener()
        tree = gardener.grow(root, "", 0)
        return (None if gardener.is_cut else tree), tuple(gardener.faults)
    except MarkedYAMLError as error:
        return None, (_syntax_fault(error),)
    except _PARSER_FALLS as error:
        words = " ".join(str(error).split())[:200] or type(error).__name__
        return None, (Fault(line=0, path="", words=f"not readable as YAML: {words}"),)


def plain(node: Node) -> Any:
    """Give a tree back as plain scalars, lists and dicts."""
    match node:
        case Leaf():
            return node.value
        case Row():
            return [plain(inner) for inner in node.nodes]
        case Branch():
            return {pair.key: plain(pair.node) for pair in node.pairs}


def shown(node: Node) -> str:
    """Say a value in the words of an error: ``955 (number)``, ``"on" (text)``, ``a list``."""
    match node:
        case Row():
            return "a list"
        case Branch():
            return "a mapping"
        case Leaf(value=None):
            return "nothing (empty)"
        case Leaf(value=bool()):
            return f"{node.text} (true/false)"
        case Leaf(value=str()):
            return f'"{printable(node.text)}" (text)'
        case _:
            return f"{printable(node.text)} (number)"


def printable(text: str, most: int = 60) -> str:
    """Make text safe to print on one line: no control characters, at most ``most`` characters."""
    cut = text if len(text) <= most else text[: most - 3] + "..."
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in cut)


def decimal_text(leaf: Leaf) -> Decimal | None:
    """Give the exact Decimal that a number in the file shows, or None where it is no finite number."""
    if isinstance(leaf.value, bool) or not isinstance(leaf.value, int | float):
        return None
    if isinstance(leaf.value, int):
        return Decimal(leaf.value)
    try:
        number = Decimal(leaf.text)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _syntax_fault(error: Any) -> Fault:
    mark = error.problem_mark or error.context_mark
    line = 0 if mark is None else int(mark.line) + 1
    words = " ".join(part.strip() for part in (error.context, error.problem) if part)
    hint = "; indent with spaces, not tabs" if "\\t" in words else ""
    return Fault(line=line, path="", words=f"YAML syntax: {printable(words, 200)}{hint}")


def _plain_value(text: str) -> str | int | float | bool | None:  # noqa: PLR0911 - one return a row of the schema
    """Resolve unquoted text by the core schema of YAML 1.2.

    Source: YAML 1.2.2, section 10.3.2. Whole numbers too long for 64 bits become floats.
    """
    if text in _NOTHING:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    if _WHOLE.fullmatch(text):
        return int(text) if len(text.lstrip("+-")) <= DIGITS_MAX else float(text)
    if _BASED.fullmatch(text):
        return int(text, 0)
    if _NUMBER.fullmatch(text):
        return float(text)
    if _NOT_FINITE.fullmatch(text):
        return float(text.replace(".", ""))
    return text


class _Gardener:
    """Turns the parser's nodes into ours, keeping count and faults."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self.is_cut = False
        self._nodes = 0

    def grow(self, node: Any, path: str, depth: int) -> Node:
        line = int(node.start_mark.line) + 1
        self._nodes += 1
        if self.is_cut or depth > DEPTH_MAX or self._nodes > NODES_MAX:
            if not self.is_cut:
                self._blame(line, path, f"nested deeper than {DEPTH_MAX} levels, or more than {NODES_MAX} values")
            self.is_cut = True
            return Leaf(value=None, text="", line=line)
        if _is_kind(node, ScalarNode):
            return self._leaf(node, path, line)
        self._check_tag(node, path, _BRANCH_TAGS)
        if _is_kind(node, MappingNode):
            return Branch(pairs=tuple(self._pairs(node, path, depth)), line=line)
        assert _is_kind(node, SequenceNode), "YAML has scalars, mappings and sequences"
        inner = (self.grow(value, f"{path}[{index}]", depth + 1) for index, value in enumerate(node.value))
        return Row(nodes=tuple(inner), line=line)

    def _pairs(self, node: Any, path: str, depth: int) -> list[Pair]:
        first: dict[str, int] = {}
        pairs: list[Pair] = []
        for key_node, value_node in node.value:
            line = int(key_node.start_mark.line) + 1
            if not _is_kind(key_node, ScalarNode):
                self._blame(line, path, "a key must be plain text")
                continue
            key = str(key_node.value)
            below = f"{path}.{printable(key)}" if path else printable(key)
            if key == "<<" and key_node.style is None:
                self._blame(line, below, "merge keys are not read here; write the keys out")
                continue
            if not _is_unicode(key):
                self._blame(line, below, "not valid Unicode text")
                continue
            if key in first:
                self._blame(line, below, f"duplicate key; the first one is in line {first[key]}; keep one of them")
                continue
            first[key] = line
            pairs.append(Pair(key=key, line=line, node=self.grow(value_node, below, depth + 1)))
        return pairs

    def _leaf(self, node: Any, path: str, line: int) -> Leaf:
        self._check_tag(node, path, _PLAIN_TAGS)
        text = str(node.value)
        if not _is_unicode(text):
            self._blame(line, path, "not valid Unicode text")
            return Leaf(value="", text="", line=line)
        value = _plain_value(text) if node.style is None else text
        if node.tag == _TEXT_TAG and value is not None and not isinstance(value, str):
            value = text  # Only an explicit !!str makes a number text.
        return Leaf(value=value, text=text, line=line)

    def _check_tag(self, node: Any, path: str, allowed: frozenset[str]) -> None:
        if str(node.tag) not in allowed:
            self._blame(
                int(node.start_mark.line) + 1, path, f"tag {printable(str(node.tag))} is not read here; leave it out"
            )

    def _blame(self, line: int, path: str, words: str) -> None:
        self.faults.append(Fault(line=line, path=path, words=words))


def _is_kind(node: Any, kind: type) -> bool:
    """Say whether a parser's node is of a kind, without taking over the parser's untyped attributes."""
    return isinstance(node, kind)


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
