"""A fake table of processes that obeys supervision or not, on a clock that moves only when told."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from signal import SIGKILL, SIGTERM, Signals
from typing import Literal

from runtime.restart import Backoff, Exit, ExitKind, RestartLimit, RestartType, Strategy, Uniform
from runtime.spec import ChildSpec, GivesUp, Limits, NodeSpec, Start, WorkerSpec
from runtime.supervision import Supervision
from runtime.supervision_words import (
    Action,
    AskStop,
    ChildState,
    EpochChanged,
    PeersChanged,
    Report,
    Row,
    Signal,
    Spawn,
)

S = 1_000_000_000

ENDS = {
    "normal": Exit(ExitKind.NORMAL, "exit status 0"),
    "abnormal": Exit(ExitKind.ABNORMAL, "exit status 1"),
    "signal": Exit(ExitKind.SIGNAL, "killed by SIGSEGV"),
}
TERMINATED = Exit(ExitKind.SIGNAL, "killed by SIGTERM")
KILLED = Exit(ExitKind.SIGNAL, "killed by SIGKILL")


def no_jitter(low: float, _high: float) -> float:
    """Draw the least there is: no restart waits."""
    return low


def full_jitter(_low: float, high: float) -> float:
    """Draw the most there is: each restart waits its whole span."""
    return high


def worker(
    name: str, restart: RestartType = RestartType.PERMANENT, shutdown_s: int = 5, arguments: bytes = b""
) -> WorkerSpec:
    """Build a worker that may take 5 s to leave and 10 s to become READY."""
    return WorkerSpec(
        id=name,
        kind="test",
        restart=restart,
        shutdown_ns=shutdown_s * S,
        start_timeout_ns=10 * S,
        progress_timeout_ns=3 * S,
        limits=Limits(0, 0, 0, 0, 0),
        entry="module:function",
        arguments=arguments,
    )


def node(
    name: str,
    *children: ChildSpec,
    strategy: Strategy = Strategy.ONE_FOR_ONE,
    restarts_max: int = 10,
    window_s: int = 60,
    start: Start = "ordered",
    gives_up: GivesUp = "escalate",
) -> NodeSpec:
    """Build a node with the desk's usual backoff."""
    return NodeSpec(
        id=name,
        strategy=strategy,
        limit=RestartLimit(restarts_max, window_s * S),
        backoff=Backoff(base_ns=S // 5, cap_ns=30 * S, healthy_ns=60 * S),
        children=children,
        start=start,
        gives_up=gives_up,
    )


def strategy_node(name: str, restarts_max: int = 3) -> NodeSpec:
    """Build a worker under a node of its own that puts it into quarantine."""
    return node(name, worker(name), restarts_max=restarts_max, gives_up="quarantine")


@dataclass
class Manners:
    """How the processes of one path behave."""

    is_prompt: bool = True
    """Whether it says READY at once."""
    obeys: Literal["ask", "SIGTERM", "SIGKILL"] = "ask"
    """The gentlest thing that makes it leave at once."""
    starts_to_fail: int = 0
    """So many of its next starts exit with status 1 before they are READY."""


@dataclass
class Table:
    """A supervision with the processes that it believes in."""

    supervision: Supervision
    now_ns: int = 0
    living: dict[str, int] = field(default_factory=dict[str, int])
    """The epoch of each process that is not reaped."""
    asked: set[str] = field(default_factory=set[str])
    log: list[str] = field(default_factory=list[str])
    """Each start, ask, signal and reaped stop, in order."""
    actions: list[Action] = field(default_factory=list[Action])
    _manners: dict[str, Manners] = field(default_factory=dict[str, Manners])
    _durable: dict[str, int] = field(default_factory=dict[str, int])
    _news: deque[Callable[[], list[Action]]] = field(default_factory=deque[Callable[[], list[Action]]])

    def manners(self, path: str) -> Manners:
        """Give the manners of a path, to be changed."""
        return self._manners.setdefault(path, Manners())

    # --- inputs -------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the tree."""
        self._hear(self.supervision.start(self.now_ns))

    def stop(self) -> None:
        """Stop the tree."""
        self._hear(self.supervision.stop(self.now_ns))

    def ready(self, path: str) -> None:
        """Let a process become READY that was not prompt."""
        self._hear(self.supervision.on_ready(path, self.living[path], self.now_ns))

    def end(self, path: str, how: str = "abnormal") -> None:
        """Let a process end by itself; ``hang`` lets it live and make no progress."""
        if how == "hang":
            self._hear(self.supervision.on_hang(path, self.living[path], self.now_ns, "no progress"))
        else:
            self._hear(self._reap(path, ENDS[how]))

    def enable(self, path: str) -> None:
        """Enable a path."""
        self._hear(self.supervision.enable(path, self.now_ns))

    def disable(self, path: str) -> None:
        """Disable a path."""
        self._hear(self.supervision.disable(path, self.now_ns, "by wish"))

    def restart(self, path: str) -> None:
        """Restart a path by wish."""
        self._hear(self.supervision.restart(path, self.now_ns))

    def release(self, path: str) -> None:
        """Release a path from quarantine."""
        self._hear(self.supervision.release(path, self.now_ns))

    def add(self, parent: str, spec: ChildSpec) -> None:
        """Add a child."""
        self._hear(self.supervision.add_child(parent, spec, self.now_ns))

    def remove(self, path: str) -> None:
        """Remove a child."""
        self._hear(self.supervision.remove_child(path, self.now_ns))

    def become(self, tree: NodeSpec, *restart: str, **desired: bool) -> None:
        """Let the tree become another one; ``restart`` takes its spec by a restart."""
        self._hear(
            self.supervision.become(
                tree, self.now_ns, restart=frozenset(restart), desired=desired or None, reason="by the file"
            )
        )

    def pass_ns(self, span_ns: int) -> None:
        """Let time pass, and each timer fire at its time."""
        target_ns = self.now_ns + span_ns
        while (due_ns := self.supervision.next_timer_ns()) is not None and due_ns <= target_ns:
            self.now_ns = max(self.now_ns, due_ns)
            self._hear(self.supervision.on_timer(self.now_ns))
        self.now_ns = target_ns
        self._hear(self.supervision.on_timer(self.now_ns))

    # --- what can be seen ---------------------------------------------------------------------

    def row(self, path: str) -> Row:
        """Give the row of a path."""
        (found,) = (row for row in self.supervision.tree() if row.path == path)
        return found

    def state(self, path: str) -> ChildState:
        """Give the state of a path."""
        return self.row(path).state

    def contexts(self) -> list[tuple[str, str, str]]:
        """Give the supervisor, context and offender of each report."""
        return [(r.supervisor, r.context, r.offender) for r in self.actions if isinstance(r, Report)]

    def of(self, *kinds: type[Action]) -> list[Action]:
        """Give the actions of these kinds."""
        return [action for action in self.actions if isinstance(action, kinds)]

    def forget(self) -> None:
        """Begin a new log."""
        self.log.clear()
        self.actions.clear()

    # --- the processes ------------------------------------------------------------------------

    def _hear(self, actions: list[Action]) -> None:
        self._carry_out(actions)
        rounds = 0
        while self._news:
            self._carry_out(self._news.popleft()())
            rounds += 1
            assert rounds < 10_000, "a supervision without an end"

    def _carry_out(self, actions: list[Action]) -> None:
        self.actions.extend(actions)
        assert sum(isinstance(action, PeersChanged) for action in actions) <= 1, "peers are told once"
        for action in actions:
            match action:
                case EpochChanged():
                    assert action.epoch == self._durable.get(action.path, 0) + 1, "epochs go up by one"
                    self._durable[action.path] = action.epoch
                case Spawn():
                    self._spawn(action.path, action.epoch)
                case AskStop():
                    self._ask(action.path, action.epoch)
                case Signal():
                    self._signal(action.path, action.epoch, Signals(action.number))
                case _:
                    pass

    def _spawn(self, path: str, epoch: int) -> None:
        assert path not in self.living, "a replacement starts after its forerunner is reaped"
        assert self._durable[path] == epoch, "an epoch is durable before its process starts"
        self.living[path] = epoch
        self.asked.discard(path)
        self.log.append(f"start {path}")
        manners = self.manners(path)
        if manners.starts_to_fail:
            manners.starts_to_fail -= 1
            self._news.append(lambda: self._reap_epoch(path, epoch, ENDS["abnormal"]))
        elif manners.is_prompt:
            self._news.append(lambda: self.supervision.on_ready(path, epoch, self.now_ns))

    def _ask(self, path: str, epoch: int) -> None:
        assert self.living[path] == epoch, "only the living are asked"
        self.asked.add(path)
        self.log.append(f"ask {path}")
        if self.manners(path).obeys == "ask":
            self._news.append(lambda: self._reap_epoch(path, epoch, ENDS["normal"]))

    def _signal(self, path: str, epoch: int, number: Signals) -> None:
        assert self.living[path] == epoch, "only the living get signals"
        self.log.append(f"{number.name} {path}")
        if number is SIGKILL:
            self._news.append(lambda: self._reap_epoch(path, epoch, KILLED))
        elif number is SIGTERM and self.manners(path).obeys == "SIGTERM":
            self._news.append(lambda: self._reap_epoch(path, epoch, TERMINATED))

    def _reap_epoch(self, path: str, epoch: int, ended: Exit) -> list[Action]:
        if self.living.get(path) != epoch:
            return []
        return self._reap(path, ended)

    def _reap(self, path: str, ended: Exit) -> list[Action]:
        epoch = self.living.pop(path)
        self.log.append(f"{'stopped' if path in self.asked else 'fell'} {path}")
        return self.supervision.on_exit(path, epoch, ended, self.now_ns)


def table(
    root: NodeSpec,
    uniform: Uniform = no_jitter,
    *,
    desired: Mapping[str, bool] | None = None,
    quarantined: Iterable[str] = (),
) -> Table:
    """Build a tree with well-behaved processes, not started."""
    return Table(Supervision(root, uniform, desired=desired or {}, quarantined=quarantined, epochs={}))


def abc(strategy: Strategy = Strategy.ONE_FOR_ONE, restarts_max: int = 10) -> NodeSpec:
    """Describe three workers under one node."""
    return node("desk", worker("a"), worker("b"), worker("c"), strategy=strategy, restarts_max=restarts_max)


def started(spec: NodeSpec, uniform: Uniform = no_jitter) -> Table:
    """Build a tree that runs, and forget how it came up."""
    desk = table(spec, uniform)
    desk.start()
    desk.forget()
    return desk


def in_backoff(strategy: Strategy = Strategy.ONE_FOR_ONE) -> Table:
    """Build a tree whose b waits 200 ms."""
    desk = started(abc(strategy), full_jitter)
    desk.end("b")
    desk.end("b")
    desk.forget()
    assert desk.state("b") is ChildState.BACKOFF
    return desk


def starts_and_asks(log: list[str]) -> list[str]:
    """Leave only what supervision did by itself."""
    return [line for line in log if line.partition(" ")[0] not in {"fell", "stopped"}]
