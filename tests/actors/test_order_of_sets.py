"""No room does anything in the order of a set: another process would do it in another one."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import actors
import desk

ROOTS = (Path(actors.__file__).parent, Path(desk.__file__).parent)
#: What takes a set's members and comes to the same in whatever order it meets them.
BLIND = frozenset({"all", "any", "frozenset", "len", "max", "min", "set", "sorted", "sum", "Counter"})
SETS = frozenset({"set", "frozenset", "Set", "AbstractSet"})
#: Sets that belong to an object of another module, by the file that looks into it.
SHARED = {"market_steps.py": frozenset({"waiting"})}
UNIONS = (ast.BitOr, ast.BitAnd, ast.Sub, ast.BitXor)


def _bound(node: ast.AST) -> Iterator[tuple[ast.expr | ast.arg, bool]]:
    """Give what a node gives a value or a type to, and whether that is a set."""
    if isinstance(node, ast.AnnAssign):
        yield node.target, _is_set_type(node.annotation)
    elif isinstance(node, ast.arg) and node.annotation is not None:
        yield node, _is_set_type(node.annotation)
    elif isinstance(node, ast.Assign):
        yield from ((target, _is_new_set(node.value)) for target in node.targets)


def _attributes(tree: ast.AST) -> set[str]:
    """Name the attributes that hold sets."""
    bound = (each for node in ast.walk(tree) for each in _bound(node))
    return {target.attr for target, is_set in bound if is_set and isinstance(target, ast.Attribute)}


def _names(scope: ast.AST) -> set[str]:
    """Name the variables and arguments of a function that hold sets."""
    bound = [target for node in ast.walk(scope) for target, is_set in _bound(node) if is_set]
    named = {target.id for target in bound if isinstance(target, ast.Name)}
    return named | {target.arg for target in bound if isinstance(target, ast.arg)}


def _is_set_type(annotation: ast.expr) -> bool:
    if isinstance(annotation, ast.BinOp):
        return _is_set_type(annotation.left) or _is_set_type(annotation.right)
    outer = annotation.value if isinstance(annotation, ast.Subscript) else annotation
    return isinstance(outer, ast.Name) and outer.id in SETS


def _is_new_set(value: ast.expr) -> bool:
    is_made = isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id in SETS
    return is_made or isinstance(value, ast.Set | ast.SetComp)


def _is_set(value: ast.expr, names: set[str], attributes: set[str]) -> bool:
    if isinstance(value, ast.BinOp) and isinstance(value.op, UNIONS):
        sides = (value.left, value.right)
        return any(_is_set(side, names, attributes) or _is_keys(side) for side in sides)
    if isinstance(value, ast.BoolOp):
        return any(_is_set(each, names, attributes) for each in value.values)
    if isinstance(value, ast.Name):
        return value.id in names
    if isinstance(value, ast.Attribute):
        return value.attr in attributes
    return _is_new_set(value)


def _is_keys(value: ast.expr) -> bool:
    """Say whether these are the keys of a dict: what is left of them, or common to two, is a set."""
    return isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute) and value.func.attr == "keys"


def walks(text: str, shared: frozenset[str] = frozenset()) -> list[int]:
    """Give the lines in which a module goes through a set, and the order in which it meets its members matters.

    ``shared`` are attributes of others that hold sets.
    """
    tree = ast.parse(text)
    attributes = _attributes(tree) | shared
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    return sorted({line for scope in functions for line in _walks_in(scope, _names(scope), attributes)})


def _walks_in(scope: ast.AST, names: set[str], attributes: set[str]) -> Iterator[int]:
    blind: set[ast.AST] = set()
    for node in ast.walk(scope):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in BLIND:
            blind.update(node.args)
    met: list[ast.expr] = []
    for node in ast.walk(scope):
        if isinstance(node, ast.For):
            met.append(node.iter)
        elif isinstance(node, ast.ListComp | ast.GeneratorExp | ast.DictComp) and node not in blind:
            met += [each.iter for each in node.generators]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"list", "tuple"}:
            met += node.args
        elif isinstance(node, ast.Starred):
            met.append(node.value)
    for each in met:
        if _is_set(each, names, attributes):
            yield each.lineno


@pytest.mark.parametrize(
    "text",
    [
        """
class Room:
    def __init__(self):
        self.waiting: set[str] = set()

    def ask(self):
        for each in self.waiting:
            self.post(each)
""",
        "def gone(was: frozenset[str], news):\n    return [one for one in was - news]",
        "def gone(was: set[str] | None, news):\n    for one in (was or frozenset()) - news:\n        print(one)",
        "def unknown(one: dict[str, int], other: dict[str, int]):\n    return tuple(one.keys() - other)",
        "def letters(text):\n    found = set(text)\n    return [*found]",
    ],
)
def test_the_check_finds_a_walk_through_a_set(text: str) -> None:
    assert len(walks(text)) == 1


@pytest.mark.parametrize(
    "text",
    [
        "def f(a: set[str]):\n    return sorted(a), {one for one in a}, any(one for one in a), len(a), max(a)",
        "def f(a: dict[str, int]):\n    return [one for one in a], tuple(a.keys())",
    ],
)
def test_the_check_leaves_alone_what_comes_to_the_same_in_any_order(text: str) -> None:
    assert walks(text) == []


def test_nothing_that_a_room_does_follows_the_order_of_a_set() -> None:
    found = [
        f"{file.relative_to(root.parent)}:{line}"
        for root in ROOTS
        for file in sorted(root.rglob("*.py"))
        for line in walks(file.read_text(encoding="utf-8"), SHARED.get(file.name, frozenset()))
    ]

    assert found == []
