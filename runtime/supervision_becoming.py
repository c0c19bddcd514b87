"""How a tree becomes another one: what is gone leaves, what is new comes, what stays takes its new spec in place."""

from dataclasses import dataclass, field

from runtime.spec import ChildSpec, NodeSpec, WorkerSpec
from runtime.supervision_moves import Moves
from runtime.supervision_places import ChildPlace, Memory, NodePlace, WorkerPlace, build, places, stir, workers


@dataclass(slots=True)
class Becoming:
    """One change of the places below a node. Epochs, quarantine and windows of what stays are not touched."""

    moves: Moves
    memory: Memory
    respecified: list[tuple[WorkerPlace, WorkerSpec]] = field(default_factory=list[tuple[WorkerPlace, WorkerSpec]])
    """The workers that stay with another spec, each with the one that it had."""

    def follow(self, node: NodePlace, spec: NodeSpec) -> None:
        """Let a node have the children of ``spec``, and those theirs. Nothing goes down or up before ``advance``."""
        if (node.spec.start, node.spec.strategy) != (spec.start, spec.strategy):
            node.stirred.update(node.children)
        node.spec = spec
        wanted: dict[str, ChildSpec] = {child.id: child for child in spec.children}
        for child in tuple(node.children):
            self._follow_child(child, wanted.get(child.spec.id))
        there = {child.spec.id for child in node.children}
        for new in spec.children:
            if new.id not in there:
                self._come(node, new)
        _put_in_order(node, [child.id for child in spec.children])
        stir(node)

    def _follow_child(self, child: ChildPlace, spec: ChildSpec | None) -> None:
        if child.is_leaving:
            child.successor = spec
        elif isinstance(child, WorkerPlace) and isinstance(spec, WorkerSpec):
            if child.spec != spec:
                self.respecified.append((child, child.spec))
                child.spec = spec
        elif isinstance(child, NodePlace) and isinstance(spec, NodeSpec) and _has_same_paths(child.spec, spec):
            self.follow(child, spec)
        else:
            child.is_leaving = True
            child.successor = spec
            stir(child)
            self.moves.lower(child)

    def _come(self, node: NodePlace, spec: ChildSpec) -> None:
        child = build(spec, node, self.memory)
        node.children.append(child)
        self.moves.shape += 1
        for each in places(child):
            if isinstance(each, WorkerPlace) or each is child:
                self.moves.rest(each)
        for worker in workers(child):
            self.moves.note(worker)


def _has_same_paths(old: NodeSpec, new: NodeSpec) -> bool:
    """Say whether a worker of one name has one path in both: a node that shows as its only child shares its path."""
    return old.is_collapsed == new.is_collapsed


def _put_in_order(node: NodePlace, ids: list[str]) -> None:
    """Order the children as their specs are; one that is about to leave for good stays behind the one before it."""
    rank = {name: index for index, name in enumerate(ids)}
    ranks: dict[str, int] = {}
    last = -1
    for child in node.children:
        last = ranks[child.spec.id] = rank.get(child.spec.id, last)
    node.children.sort(key=lambda child: ranks[child.spec.id])
