"""Supervision: the whole tree as one state machine. Inputs are what happened and when; outputs are what to do.

It starts no process, reads no clock and draws no chance of its own, so that a fall can be told as data. Semantics are
those of Erlang/OTP's supervisor; on top of them come backoff, disabled and quarantined workers, and epochs.
"""

from collections.abc import Iterable, Mapping

from runtime.errors import SpecError
from runtime.restart import Exit, ExitKind, Uniform
from runtime.spec import ChildSpec, NodeSpec, WorkerSpec
from runtime.supervision_becoming import Becoming
from runtime.supervision_moves import NS_PER_S, Moves
from runtime.supervision_places import (
    ChildPlace,
    Memory,
    NodePlace,
    Rung,
    Then,
    WorkerPlace,
    build,
    build_root,
    check_root,
    places,
    stir,
    workers,
)
from runtime.supervision_rows import peer_of, row
from runtime.supervision_words import Action, AskStop, Change, ChildState, Outbox, Reconfigure, Released, Row
from runtime.words import Peer

TOLD = (ChildState.STARTING, ChildState.RUNNING)
"""The states in which a worker hears of other arguments; in all others it has them with its next start."""


class Supervision:
    """All supervisors of the root process and the state of each of their workers.

    Every input returns the actions that it causes, to be carried out in their order. Times are monotonic and never
    run backwards. News of a path or an epoch that is no more is not an error: it is ignored.
    """

    def __init__(
        self,
        root: NodeSpec,
        uniform: Uniform,
        *,
        desired: Mapping[str, bool],
        quarantined: Iterable[str],
        epochs: Mapping[str, int],
    ) -> None:
        """Lay out the tree. Nothing starts before ``start``.

        Args:
            root: The tree. The root's id is its path, and is no part of its children's paths.
            uniform: Chance for the jitter of backoff.
            desired: Whether a worker shall run, by its path or that of a node above it; True where nothing is said.
            quarantined: Paths of workers in quarantine.
            epochs: The last epoch of each worker that was ever started. The next Spawn has one more.

        Raises:
            SpecError: A tree that could not be told apart, or a root that would be put into quarantine.
        """
        self._memory = Memory(desired, frozenset(quarantined), epochs)
        self._root = build_root(root, self._memory)
        self._outbox = Outbox()
        self._moves = Moves(uniform, self._memory, self._outbox)
        self._is_begun = False
        self._shown: dict[str, ChildPlace] = {}
        self._shown_shape = -1
        self._due_ns: int | None = None
        for worker in workers(self._root):
            self._outbox.absent.add(worker.path)
            self._moves.rest(worker)
        _ = self._outbox.take()

    # --- what happened ------------------------------------------------------------------------

    def start(self, now_ns: int) -> list[Action]:
        """Bring the desk up, left to right. It can be done once."""
        assert not self._is_begun, "a tree starts once"
        self._is_begun = True
        self._at(now_ns)
        self._moves.open(self._root)
        return self._advanced()

    def on_ready(self, path: str, epoch: int, now_ns: int) -> list[Action]:
        """A process has recovered its state and opened its inbox."""
        self._at(now_ns)
        worker = self._living(path, epoch)
        if worker is None:
            return []
        if worker.state is ChildState.STARTING:
            worker.up_since_ns = now_ns
            worker.is_attempted = True
            self._moves.set_state(worker, ChildState.RUNNING)
        elif worker.rung is Rung.ASKED:
            # It was asked when nobody could listen yet.
            self._outbox.add(AskStop(path=path, epoch=epoch))
        return self._advanced()

    def on_unborn(self, path: str, epoch: int, now_ns: int) -> None:
        """A process was spawned and is not there yet, as where many start at once: its time to start begins anew.

        It causes no action. One that is not starting is left as it is.
        """
        self._at(now_ns)
        worker = self._living(path, epoch)
        if worker is not None and worker.state is ChildState.STARTING:
            self._moves.put_off(worker, now_ns + worker.spec.start_timeout_ns)
            self._due_ns = self._moves.next_deadline_ns()

    def on_exit(self, path: str, epoch: int, ended: Exit, now_ns: int) -> list[Action]:
        """A process is reaped, or never came to be."""
        self._at(now_ns)
        worker = self._living(path, epoch)
        if worker is None:
            return []
        self._moves.end_worker(worker, ended)
        return self._advanced()

    def on_hang(self, path: str, epoch: int, now_ns: int, text: str) -> list[Action]:
        """A process makes no progress. It is killed; the fall is counted when it is reaped.

        One that is stopping already is left to its own deadline.
        """
        self._at(now_ns)
        worker = self._living(path, epoch)
        if worker is None or worker.state is ChildState.STOPPING:
            return []
        self._moves.kill(worker, Exit(ExitKind.HANG, text))
        return self._advanced()

    def on_timer(self, now_ns: int) -> list[Action]:
        """Do what is due by now. It may be called at any time."""
        self._at(now_ns)
        if self._due_ns is None or now_ns < self._due_ns:
            return []
        due = self._moves.take_due()
        in_order = due if len(due) == 1 else [place for place in places(self._root) if place in due]
        for place in in_order:
            if place.deadline_ns is not None and place.deadline_ns <= now_ns:
                self._expire(place)
        return self._advanced()

    def _expire(self, place: ChildPlace) -> None:
        if place.state is ChildState.BACKOFF:
            self._moves.set_state(place, ChildState.WAITING)
            if isinstance(place, WorkerPlace):
                place.has_waited = True
            return
        assert isinstance(place, WorkerPlace), "a node waits for nothing but its backoff"
        if place.state is ChildState.STARTING:
            text = f"not READY within {place.spec.start_timeout_ns / NS_PER_S:g} s"
            self._moves.kill(place, Exit(ExitKind.START_TIMEOUT, text))
        else:
            self._moves.press(place)

    # --- what an operator wants ---------------------------------------------------------------

    def stop(self, now_ns: int) -> list[Action]:
        """Bring the desk down, right to left, whatever it is at. AllStopped comes when no process is left.

        Nothing starts any more, and no fall counts. A second stop changes nothing.
        """
        self._at(now_ns)
        if self._is_begun and self._root.state is ChildState.STOPPED:
            return []
        self._is_begun = True
        self._moves.close(self._root, Then.REST)
        return self._advanced()

    def enable(self, path: str, now_ns: int) -> list[Action]:
        """Let the workers at and below a path run. One that is enabled already is left alone, also where it is down.

        It does not end a quarantine.

        Raises:
            SpecError: There is no such path.
        """
        self._at(now_ns)
        for worker in workers(self._place(path)):
            self._enable(worker)
        return self._advanced()

    def _enable(self, worker: WorkerPlace) -> None:
        self._memory.desired[worker.path] = True
        if worker.is_enabled:
            return
        worker.is_enabled = True
        worker.is_finished = False
        worker.is_recalled = not worker.is_down
        worker.last_error = ""
        if worker.is_down:
            self._moves.rest(worker)

    def disable(self, path: str, now_ns: int, reason: str) -> list[Action]:
        """Stop the workers at and below a path in good order, and keep them down. Nothing is counted.

        Raises:
            SpecError: There is no such path.
        """
        self._at(now_ns)
        place = self._place(path)
        for worker in workers(place):
            self._disable(worker, reason)
        if isinstance(place, WorkerPlace):
            self._moves.lower(place)
        return self._advanced()

    def _disable(self, worker: WorkerPlace, reason: str) -> None:
        self._memory.desired[worker.path] = False
        if not worker.is_enabled:
            return
        worker.is_enabled = False
        worker.is_recalled = False
        stir(worker)
        worker.last_error = f"disabled: {reason}"
        assert worker.parent is not None, "a worker has a supervisor"
        self._moves.report(worker.parent, "shutdown", worker.last_error, worker, "info")
        if worker.is_down:
            self._moves.rest(worker)

    def restart(self, path: str, now_ns: int) -> list[Action]:
        """Stop a worker or a node in good order and start it again, at once where it waits in backoff.

        It is not counted, and takes no sibling along. A worker that is disabled or in quarantine stays down.

        Raises:
            SpecError: There is no such path.
        """
        self._at(now_ns)
        self._restart(self._place(path))
        return self._advanced()

    def _restart(self, place: ChildPlace) -> None:
        if place.is_leaving or (place.parent is not None and not place.parent.is_open):
            return
        if isinstance(place, NodePlace):
            self._restart_node(place)
        elif place.is_down:
            place.is_finished = False
            self._moves.rest(place)
        elif not place.is_excused:
            place.is_cycling = True
            place.is_recalled = True
            self._moves.lower(place)

    def _restart_node(self, node: NodePlace) -> None:
        if node.is_open:
            for worker in workers(node):
                worker.is_recalled = not worker.is_down
                worker.is_finished = False
            self._moves.close(node, Then.REOPEN)
        elif node.state is ChildState.BACKOFF:
            self._moves.set_state(node, ChildState.WAITING)

    def release(self, path: str, now_ns: int) -> list[Action]:
        """End the quarantine of the workers at and below a path; their past falls are forgotten.

        One that is disabled does not start. A path that is in quarantine but not in the tree is released as well.

        Raises:
            SpecError: There is no such path.
        """
        self._at(now_ns)
        if path in self._memory.quarantined and self._find(path) is None:
            self._memory.quarantined.discard(path)
            self._outbox.add(Released(path=path))
            return self._advanced()
        for worker in workers(self._place(path)):
            if not worker.is_quarantined:
                continue
            self._memory.quarantined.discard(worker.path)
            self._outbox.add(Released(path=worker.path))
            worker.is_quarantined = False
            worker.is_finished = False
            worker.is_recalled = not worker.is_down
            worker.falls_in_row = 0
            worker.restarts_ns = ()
            if worker.is_down:
                self._moves.rest(worker)
        return self._advanced()

    def add_child(
        self, parent_path: str, spec: ChildSpec, now_ns: int, *, is_enabled: bool | None = None
    ) -> list[Action]:
        """Put a child behind the last one of a node, or in the place of one of the same id that is about to leave.

        It starts when its turn comes. Its epochs, and a quarantine, go on where they were when it was last in the tree.

        Args:
            parent_path: Path of the node, or the root's id.
            spec: The new child.
            now_ns: Monotonic time.
            is_enabled: Whether its workers shall run; None leaves it at what is desired of their paths.

        Raises:
            SpecError: There is no such node, it shows as one with its only child, or the id is taken.
        """
        self._at(now_ns)
        node = self._find(parent_path)
        if not isinstance(node, NodePlace):
            msg = f"{parent_path} is no node that could have another child"
            raise SpecError(msg)
        twin = next((child for child in node.children if child.spec.id == spec.id), None)
        if (twin is not None and not twin.is_leaving) or (node is self._root and spec.id == node.spec.id):
            msg = f"{parent_path} has a child {spec.id} already"
            raise SpecError(msg)
        child = build(spec, node, self._memory)
        if is_enabled is not None:
            for worker in workers(child):
                self._memory.desired[worker.path] = worker.is_enabled = is_enabled
        if twin is not None:
            twin.successor = spec
            return self._advanced()
        node.children.append(child)
        self._moves.shape += 1
        for each in places(child):
            if isinstance(each, WorkerPlace) or each is child:
                self._moves.rest(each)
        for worker in workers(child):
            self._moves.note(worker)
        return self._advanced()

    def remove_child(self, path: str, now_ns: int) -> list[Action]:
        """Stop a worker or a node in good order and forget it. Nothing is counted. Its epochs are not forgotten.

        Raises:
            SpecError: There is no such path, or it is the root.
        """
        self._at(now_ns)
        place = self._place(path)
        if isinstance(place, WorkerPlace) and place.parent is not None and place.parent.path == path:
            place = place.parent
        if place is self._root:
            msg = "the root cannot be removed"
            raise SpecError(msg)
        place.is_leaving = True
        stir(place)
        place.successor = None
        self._moves.lower(place)
        return self._advanced()

    def become(
        self,
        tree: NodeSpec,
        now_ns: int,
        *,
        restart: frozenset[str] = frozenset(),
        desired: Mapping[str, bool] | None = None,
        reason: str = "",
    ) -> list[Action]:
        """Let the tree in force become another one, in one go.

        What is missing leaves as with ``remove_child``, what is new comes as with ``add_child``. What stays keeps its
        process, its epoch, its quarantine and its windows, and has its new spec from now on: limits, shutdown and
        start times at once, arguments with its next start; a running worker whose arguments are others is told of
        them by ``Reconfigure``. A worker that became a node, or changed its entry, is replaced. No fall is counted.

        Args:
            tree: The tree that shall be; its root has the id of the one in force.
            now_ns: Monotonic time.
            restart: Paths of workers that take another spec by a restart in good order instead of being told.
            desired: Whether workers shall run, by their path, also of such as come now; others stay as they are.
            reason: Why workers are disabled by this.

        Raises:
            SpecError: The tree cannot be told apart, or has another root. Then nothing has changed.
        """
        check_root(tree)
        if tree.id != self._root.spec.id:
            msg = f"the root of a running tree keeps its id: {self._root.spec.id}, not {tree.id}"
            raise SpecError(msg)
        self._at(now_ns)
        if self._is_begun and not self._root.is_open:
            return []  # it goes down, and nothing changes that
        for path, is_enabled in (desired or {}).items():
            if not isinstance(self._find(path), WorkerPlace):
                self._memory.desired[path] = is_enabled
        becoming = Becoming(self._moves, self._memory)
        becoming.follow(self._root, tree)
        for worker in workers(self._root):
            wanted = (desired or {}).get(worker.path, worker.is_enabled)
            if wanted is not worker.is_enabled:
                _ = self._enable(worker) if wanted else self._disable(worker, reason)
        for worker, was in becoming.respecified:
            if worker.path in restart or worker.spec.entry != was.entry:
                self._restart(worker)
            elif worker.spec.arguments != was.arguments and worker.state in TOLD:
                told = Reconfigure(path=worker.path, epoch=worker.epoch, arguments=worker.spec.arguments)
                self._outbox.add(told)
        return self._advanced()

    # --- what can be read ---------------------------------------------------------------------

    def take_changes(self) -> list[Change]:
        """Give what rooms have to hear: each worker that is another than at the last call, as it is now.

        Who applies them, in order, to the table of all workers (see ``tree``) has the table as it is now.
        """
        return self._outbox.take_changes()

    @property
    def is_settled(self) -> bool:
        """Whether every worker runs, but for those that were put away."""
        return not self._outbox.absent

    def in_quarantine(self, path: str) -> list[str]:
        """Name those whose quarantine ``release`` of this path would end.

        Raises:
            SpecError: There is no such path.
        """
        if path in self._memory.quarantined and self._find(path) is None:
            return [path]
        return [worker.path for worker in workers(self._place(path)) if worker.is_quarantined]

    def next_timer_ns(self) -> int | None:
        """Say when ``on_timer`` has something to do; None while only news can change anything."""
        return self._due_ns

    def spec(self, path: str) -> WorkerSpec | None:
        """Give what holds for a worker now; None where there is no such worker."""
        place = self._find(path)
        return place.spec if isinstance(place, WorkerPlace) else None

    def tree(self, now_ns: int | None = None) -> list[Row]:
        """List all nodes and workers in the order of their start, each node before its children.

        Args:
            now_ns: Monotonic time to which the windows are counted; None takes that of the last input.
        """
        at_ns = self._moves.now_ns if now_ns is None else now_ns
        return [
            row(place, at_ns)
            for place in places(self._root)
            if isinstance(place, WorkerPlace) or place is self._root or not place.spec.is_collapsed
        ]

    def row(self, path: str) -> Row | None:
        """Say how the worker or node at a path is, as of the last input; None where there is none."""
        place = self._find(path)
        return None if place is None else row(place, self._moves.now_ns)

    def peers(self) -> tuple[Peer, ...]:
        """Say of all workers how they are, in the order of their start, as one is told who has just come up."""
        return tuple(peer_of(each.path, each.epoch, each.state) for each in workers(self._root))

    def restarts_in_window(self, path: str, now_ns: int | None = None) -> int:
        """Count the restarts of a worker, or those that a node granted, inside the node's window.

        Raises:
            SpecError: There is no such path.
        """
        return row(self._place(path), self._moves.now_ns if now_ns is None else now_ns).restarts_in_window

    # --- within -------------------------------------------------------------------------------

    def _at(self, now_ns: int) -> None:
        assert now_ns >= self._moves.now_ns, "monotonic time ran backwards"
        self._moves.now_ns = now_ns

    def _advanced(self) -> list[Action]:
        self._moves.advance(self._root)
        self._due_ns = self._moves.next_deadline_ns()
        return self._outbox.take()

    def _find(self, path: str) -> ChildPlace | None:
        """Find what shows under a path: of a node and its only child that share one, the child."""
        if self._shown_shape != self._moves.shape:
            self._shown = {place.path: place for place in places(self._root)}
            self._shown_shape = self._moves.shape
        return self._shown.get(path)

    def _place(self, path: str) -> ChildPlace:
        place = self._find(path)
        if place is None:
            msg = f"there is no {path} in the tree"
            raise SpecError(msg)
        return place

    def _living(self, path: str, epoch: int) -> WorkerPlace | None:
        place = self._find(path)
        if not isinstance(place, WorkerPlace) or place.is_down or place.epoch != epoch:
            return None
        return place
