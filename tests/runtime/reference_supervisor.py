"""A second supervisor, written as plain recursion over processes that start and stop within a call.

It knows no states, timers or news: a start succeeds or fails at once, a stop is over when it returns, and no restart
waits. That is how supervisor.erl reads. What it starts and stops, in which order, the engine has to start and stop too.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from runtime.restart import RestartType, Strategy
from runtime.spec import ChildSpec, NodeSpec, WorkerSpec


class RootGaveUpError(Exception):
    """The root fell too often; all is stopped."""


@dataclass
class Child:
    """A worker or a node of the reference."""

    spec: ChildSpec
    path: str
    parent: Child | None
    children: list[Child] = field(default_factory=list["Child"])
    is_up: bool = False
    is_barred: bool = False
    """In quarantine."""
    is_off: bool = False
    """Disabled."""
    is_over: bool = False
    """Ended for good."""
    counted_ns: list[int] = field(default_factory=list[int])

    @property
    def is_due(self) -> bool:
        """Whether it ought to be up."""
        return not (self.is_up or self.is_barred or self.is_off or self.is_over)


class ReferenceSupervisor:
    """The whole tree, with a log of each start and stop."""

    def __init__(self, root: NodeSpec) -> None:
        """Lay out the tree."""
        self.log: list[str] = []
        self.now_ns = 0
        self.starts_to_fail: dict[str, int] = {}
        self.workers: dict[str, Child] = {}
        self._root = self._lay_out(root, None)

    def _lay_out(self, spec: ChildSpec, parent: Child | None) -> Child:
        path = spec.id
        if parent is not None and parent.parent is not None:
            is_alone = isinstance(spec, WorkerSpec) and len(_children(parent.spec)) == 1 and parent.spec.id == spec.id
            path = parent.path if is_alone else f"{parent.path}/{spec.id}"
        child = Child(spec, path, parent)
        if isinstance(spec, NodeSpec):
            child.children = [self._lay_out(each, child) for each in _children(spec)]
        else:
            self.workers[child.path] = child
        return child

    @property
    def running(self) -> set[str]:
        """The paths of the processes."""
        return {path for path, child in self.workers.items() if child.is_up}

    # --- the script ---------------------------------------------------------------------------

    def start(self) -> None:
        """Bring all up."""
        if not self._up(self._root):
            raise RootGaveUpError

    def stop(self) -> None:
        """Bring all down."""
        self._down(self._root)

    def end(self, path: str, *, is_normal: bool) -> None:
        """Let a process end by itself."""
        child = self.workers[path]
        self.log.append(f"fell {path}")
        child.is_up = False
        assert isinstance(child.spec, WorkerSpec)
        if child.spec.restart is RestartType.TEMPORARY or (child.spec.restart is RestartType.TRANSIENT and is_normal):
            child.is_over = True
            return
        self._fallen(child)

    def disable(self, path: str) -> None:
        """Stop one and keep it down."""
        child = self.workers[path]
        self._down(child)
        child.is_off = True

    def enable(self, path: str) -> None:
        """Let one run again."""
        child = self.workers[path]
        if child.is_off:
            child.is_off = child.is_over = False
            self._tend(child.parent)

    def restart(self, path: str) -> None:
        """Stop and start one by wish."""
        child = self.workers[path]
        self._down(child)
        child.is_over = False
        self._tend(child.parent)

    def release(self, path: str) -> None:
        """Let one out of quarantine."""
        child = self.workers[path]
        if child.is_barred:
            child.is_barred = child.is_over = False
            self._tend(child.parent)

    # --- the rules ----------------------------------------------------------------------------

    def _up(self, child: Child) -> bool:
        if isinstance(child.spec, WorkerSpec):
            self.log.append(f"start {child.path}")
            if self.starts_to_fail.get(child.path, 0):
                self.starts_to_fail[child.path] -= 1
                self.log.append(f"fell {child.path}")
                return False
            child.is_up = True
            return True
        child.counted_ns = []
        child.is_up = True
        for each in child.children:
            each.is_over = (
                each.is_over and isinstance(each.spec, WorkerSpec) and each.spec.restart is RestartType.TEMPORARY
            )
        return self._keep_up(child)

    def _keep_up(self, node: Child) -> bool:
        while (
            failed := next((each for each in node.children if each.is_due and not self._up(each)), None)
        ) is not None:
            if isinstance(failed.spec, WorkerSpec) and failed.spec.restart is RestartType.TEMPORARY:
                failed.is_over = True
            elif not self._judge(node, failed):
                return False
        return True

    def _judge(self, node: Child, fallen: Child) -> bool:
        """Count a fall and take down whoever shares it; False when the node fell with it."""
        assert isinstance(node.spec, NodeSpec)
        limit = node.spec.limit
        node.counted_ns = [t for t in [*node.counted_ns, self.now_ns] if t >= self.now_ns - limit.window_ns]
        if len(node.counted_ns) > limit.restarts_max:
            return self._give_up(node)
        before, after = self._split(node, fallen)
        if node.spec.strategy is not Strategy.ONE_FOR_ONE:
            self._take_along(after)
        if node.spec.strategy is Strategy.ONE_FOR_ALL:
            self._take_along(before)
        return True

    def _take_along(self, siblings: list[Child]) -> None:
        for each in reversed(siblings):
            was_over = each.is_over
            self._down(each)
            if was_over and isinstance(each.spec, WorkerSpec) and each.spec.restart is RestartType.TRANSIENT:
                each.is_over = False

    @staticmethod
    def _split(node: Child, fallen: Child) -> tuple[list[Child], list[Child]]:
        place = node.children.index(fallen)
        return node.children[:place], node.children[place + 1 :]

    def _give_up(self, node: Child) -> bool:
        assert isinstance(node.spec, NodeSpec)
        is_put_away = node.spec.gives_up == "quarantine"
        if is_put_away:
            self._bar(node)
        self._down(node)
        node.is_up = is_put_away
        node.counted_ns = []
        return is_put_away and self._keep_up(node)

    def _bar(self, node: Child) -> None:
        for each in node.children:
            each.is_barred = isinstance(each.spec, WorkerSpec)
            self._bar(each)

    def _fallen(self, child: Child) -> None:
        node = child.parent
        if node is None:
            raise RootGaveUpError
        if self._judge(node, child):
            self._tend(node)
        else:
            self._fallen(node)

    def _tend(self, node: Child | None) -> None:
        assert node is not None
        if not self._keep_up(node):
            self._fallen(node)

    def _down(self, child: Child) -> None:
        for each in reversed(child.children):
            self._down(each)
        if isinstance(child.spec, WorkerSpec) and child.is_up:
            self.log.append(f"stopped {child.path}")
            child.is_over = child.spec.restart is RestartType.TEMPORARY
        child.is_up = False


def _children(spec: ChildSpec) -> tuple[ChildSpec, ...]:
    return spec.children if isinstance(spec, NodeSpec) else ()
