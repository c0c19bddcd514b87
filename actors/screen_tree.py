"""The supervisor tree in plain ASCII: who runs, who fell and of what."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from actors.screen_words import WIDTH, cut, plain_text
from actors.topics import strategy_path

Json = Mapping[str, Any]

_ROOT_PATHS = frozenset({"", "root", "desk"})
_NAME_MAX = 28
_CAUSES = (("refused", "refusal"), ("", "note"), ("last exit", "last_exit"), ("last error", "last_error"))
#: Ends in good order, which an operator asked for: no cause of anything.
_GOOD_ENDS = frozenset({"", "exit status 0"})


def tree_lines(nodes: Sequence[Json], strategies: Sequence[Json]) -> list[str]:
    """Draw the tree.

    Args:
        nodes: ``tree`` of the status. A parent that is no node of its own is drawn as a bare name.
        strategies: ``strategies`` of the status; one without a process (refused, disabled) is drawn too.

    Returns:
        The lines, at most 80 columns each. What a node was refused for or last died of stands below it, whole.
    """
    known = {str(node.get("path") or ""): dict(node) for node in nodes}
    for entry in strategies:
        path = strategy_path(str(entry.get("name")))
        known[path] = {**entry, **known.get(path, {})}
    tree = _Tree(known)
    return [
        *(line for root in sorted(_ROOT_PATHS & known.keys()) for line in _cause_lines(known[root], "  ")),
        *tree.below("", ""),
    ]


class _Tree:
    """Nodes by path, and which hang under which."""

    def __init__(self, known: Mapping[str, Json]) -> None:
        self._known = known
        self._children: dict[str, list[str]] = {}
        for path in known:
            self._hang(path)
        names = [path.rsplit("/", 1)[-1] for paths in self._children.values() for path in paths]
        self._width = min(max((len(name) for name in names), default=0), _NAME_MAX)

    def _hang(self, path: str) -> None:
        """Hang a path, and what is missing above it, under its parent."""
        if path in _ROOT_PATHS:
            return
        parent = path.rsplit("/", 1)[0] if "/" in path else ""
        siblings = self._children.setdefault(parent, [])
        if path not in siblings:
            siblings.append(path)
            self._hang(parent)

    def below(self, parent: str, stem: str) -> list[str]:
        """Draw everything under a path; ``stem`` is what stands left of it."""
        lines: list[str] = []
        paths = self._children.get(parent, [])
        for path in paths:
            is_last = path == paths[-1]
            node = self._known.get(path, {})
            name = plain_text(path.rsplit("/", 1)[-1])
            inner = stem + ("   " if is_last else "|  ")
            lines.append(cut(f"{stem}{'`- ' if is_last else '|- '}{name:<{self._width}} {_node_words(node)}"))
            lines += _cause_lines(node, f"{inner}{'|' if path in self._children else ' '}  ")
            lines += self.below(path, inner)
        return lines


def _node_words(node: Json) -> str:
    """Say a node's state, what it is, how often it fell, what it does."""
    said = [f"{plain_text(node['state']):<11}"] if node.get("state") else []
    if node.get("pid"):
        said.append(f"pid {plain_text(node['pid'])}")
    if isinstance(node.get("rss_bytes"), int) and node["rss_bytes"]:
        said.append(f"{node['rss_bytes'] // 2**20} MB")
    if node.get("restarts"):
        said.append(f"restarts {plain_text(node['restarts'])}")
    if node.get("is_late"):
        said.append(f"late {float(node.get('oldest_s') or 0):.0f} s")
    if node.get("headline"):
        said.append(plain_text(node["headline"]))
    elif node.get("why_not"):
        top = sorted(node["why_not"].items(), key=lambda item: -int(item[1]))[:2]
        said.append(f"why-not: {', '.join(f'{plain_text(code)} {count}' for code, count in top)}")
    return " ".join(said)


def _cause_lines(node: Json, stem: str) -> list[str]:
    """Say what a node was refused or put away for, or last died of."""
    lines: list[str] = []
    is_unharmed = node.get("state") == "DISABLED" or (
        node.get("last_exit") in _GOOD_ENDS and not node.get("last_error")
    )
    for label, key in _CAUSES:
        if node.get(key) and not (is_unharmed and key.startswith("last_")):
            words = f"{label}: {plain_text(node[key])}" if label else plain_text(node[key])
            said = textwrap.wrap(words, max(WIDTH - len(stem), 20), subsequent_indent="  ")
            lines += [f"{stem}{line}" for line in said]
    return lines
