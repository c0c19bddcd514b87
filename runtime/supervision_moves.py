"""How the tree moves: going down right to left, coming up left to right, falling, giving up.

Each move looks only at the states of the places, so it may be repeated at any time and does no more than is due.
"""

from collections.abc import Sequence
from heapq import heappop, heappush
from itertools import count
from signal import SIGKILL, SIGTERM

from runtime.restart import (
    Exit,
    ExitKind,
    RestartType,
    Strategy,
    Uniform,
    affected,
    record_restart,
    should_restart,
)
from runtime.supervision_places import (
    ChildPlace,
    Memory,
    NodePlace,
    Place,
    Rung,
    Then,
    WorkerPlace,
    build,
    is_restarted_afresh,
    is_settled,
    places,
    stir,
    workers,
)
from runtime.supervision_words import (
    AllStopped,
    AskStop,
    ChildState,
    Context,
    EpochChanged,
    GiveUp,
    Level,
    Outbox,
    Quarantined,
    Report,
    Signal,
    Spawn,
)

NS_PER_S = 1_000_000_000

TERMINATE_NS = NS_PER_S
"""How long a process may take to leave after SIGTERM; then SIGKILL."""

FEW = 8
"""So many children of a crowd are found one by one; for more of them a walk over all is quicker."""


class Moves:
    """The moves of one tree at one moment. Whoever uses it sets ``now_ns`` before, and calls ``advance`` after."""

    def __init__(self, uniform: Uniform, memory: Memory, outbox: Outbox) -> None:
        """Take the sources of chance and memory. Nothing moves yet."""
        self.now_ns = 0
        self.shape = 0
        """Goes up with each place that enters or leaves the tree."""
        self._uniform = uniform
        self._memory = memory
        self._outbox = outbox
        self._deadlines: list[tuple[int, int, ChildPlace]] = []
        self._serial = count()

    def set_state(self, place: ChildPlace, state: ChildState, deadline_ns: int | None = None) -> None:
        """Put a place into a state, with the time at which that state ends by itself."""
        place.deadline_ns = None
        if deadline_ns is not None:
            self.put_off(place, deadline_ns)
        stir(place)
        if place.state is state:
            return
        place.state = state
        place.since_ns = self.now_ns
        if isinstance(place, WorkerPlace):
            self.note(place)

    def put_off(self, place: ChildPlace, deadline_ns: int) -> None:
        """Let the state of a place end by itself at another time. Nothing moves for that, so nobody looks at it."""
        place.deadline_ns = deadline_ns
        heappush(self._deadlines, (deadline_ns, next(self._serial), place))

    def note(self, worker: WorkerPlace) -> None:
        """Let the rooms hear how a worker is now."""
        self._outbox.change(worker.path, worker.epoch, worker.state)

    def next_deadline_ns(self) -> int | None:
        """Say when the first state ends by itself; None where none does."""
        while self._deadlines:
            deadline_ns, _, place = self._deadlines[0]
            if place.deadline_ns == deadline_ns:
                return deadline_ns
            heappop(self._deadlines)  # that state ended before its time
        return None

    def take_due(self) -> set[ChildPlace]:
        """Give the places whose state ends by now; the caller ends it."""
        due: set[ChildPlace] = set()
        while (deadline_ns := self.next_deadline_ns()) is not None and deadline_ns <= self.now_ns:
            due.add(heappop(self._deadlines)[2])
        return due

    def report(self, node: NodePlace, context: Context, reason: str, offender: Place, level: Level) -> None:
        """Note something for the log."""
        self._outbox.add(
            Report(supervisor=node.path, context=context, reason=reason, offender=offender.path, level=level)
        )

    # --- the whole tree -----------------------------------------------------------------------

    def advance(self, node: NodePlace) -> None:
        """Do all that is due at and below a node: let go what must go down, then bring up what may come up.

        A node below which nothing was stirred is passed over, so that one fall among many costs little.
        """
        if not node.is_stirred:
            return
        node.is_stirred = False
        looked, node.stirred = node.stirred, set()
        for child in _to_look_at(node, looked):
            if isinstance(child, NodePlace):
                self.advance(child)
                if child.state is ChildState.STOPPED and child.then is Then.FALL:
                    self._hear_fallen_node(node, child)
        if node.state is ChildState.STOPPING:
            self._bring_all_down(node, _to_look_at(node, looked))
        self._forget(node, looked)
        # Below a node that goes down nobody moves before its turn, so that right to left holds for the whole.
        if not node.is_open or node.is_closing:
            return
        self._bring_down(node, _to_look_at(node, looked))
        self._forget(node, looked)
        if node.spec.strategy is Strategy.ONE_FOR_ONE or not any(child.is_cycling for child in node.children):
            self._bring_up(node, _to_look_at(node, looked))
        if node.state is ChildState.STARTING and is_settled(node):
            self.set_state(node, ChildState.RUNNING)
            node.up_since_ns = self.now_ns
            node.is_attempted = True

    def _hear_fallen_node(self, node: NodePlace, child: NodePlace) -> None:
        child.then = Then.REST
        if child.is_cycling or child.is_leaving or node.is_closing:
            return
        self.fall(child, Exit(ExitKind.GAVE_UP, child.last_error), "child_terminated")

    def _forget(self, node: NodePlace, looked: set[ChildPlace]) -> None:
        for child in _to_look_at(node, looked):
            if not (child.is_leaving and child.is_down):
                continue
            self.shape += 1
            for worker in workers(child):
                self._outbox.change(worker.path, worker.epoch, None)
            index = node.children.index(child)
            looked.discard(child)
            node.stirred.discard(child)
            if child.successor is None:
                del node.children[index]
            else:
                successor = node.children[index] = build(child.successor, node, self._memory)
                for worker in workers(successor):
                    self.note(worker)
                self.rest(successor)

    # --- down ---------------------------------------------------------------------------------

    def lower(self, place: ChildPlace) -> None:
        """Order a place to go down. A second order changes nothing; an order overrides what a node had in mind."""
        if isinstance(place, NodePlace):
            if place.is_down:
                if place.state is not ChildState.STOPPED:
                    self.set_state(place, ChildState.STOPPED)
            elif place.state is ChildState.STOPPING:
                place.then = Then.REST
            else:
                self.close(place, Then.REST)
                self.advance(place)
        elif place.state in {ChildState.WAITING, ChildState.BACKOFF}:
            self.set_state(place, ChildState.STOPPED)
        elif not place.is_down and place.rung is Rung.NONE:
            self._outbox.add(AskStop(path=place.path, epoch=place.epoch))
            place.rung = Rung.ASKED
            self.set_state(place, ChildState.STOPPING, self.now_ns + place.spec.shutdown_ns)

    def close(self, node: NodePlace, then: Then) -> None:
        """Let a node that is up go down, and say what comes then. Its children go down with the next ``advance``."""
        node.then = then
        self.set_state(node, ChildState.STOPPING)
        node.stirred.update(node.children)
        self.hush(node)

    def hush(self, node: NodePlace) -> None:
        """Let nothing start any more below a node. What runs is not told anything yet."""
        for place in places(node):
            if place is not node and place.state in {ChildState.WAITING, ChildState.BACKOFF}:
                self.set_state(place, ChildState.STOPPED)

    def press(self, worker: WorkerPlace) -> None:
        """Take the next rung with a process that did not leave in time."""
        if worker.rung is Rung.ASKED:
            worker.rung = Rung.TERMINATED
            self._signal(worker, SIGTERM)
            self.set_state(worker, ChildState.STOPPING, self.now_ns + TERMINATE_NS)
        else:
            self.kill(worker, worker.doom)

    def kill(self, worker: WorkerPlace, doom: Exit | None) -> None:
        """End a process by force. ``doom`` says why, where that counts as its own fall.

        The place is not free before the process is reaped.
        """
        worker.rung = Rung.KILLED
        worker.doom = doom
        self._signal(worker, SIGKILL)
        self.set_state(worker, ChildState.STOPPING)

    def _signal(self, worker: WorkerPlace, number: int) -> None:
        self._outbox.add(Signal(path=worker.path, epoch=worker.epoch, number=int(number)))

    def _bring_down(self, node: NodePlace, children: Sequence[ChildPlace]) -> None:
        """Lower the children of an open node that have to go; in an ordered node each when those after it are down."""
        is_turn = True
        for child in reversed(children):
            is_worker = isinstance(child, WorkerPlace)
            is_unwanted = is_worker and child.is_excused and not child.is_down
            if not (child.is_cycling or child.is_leaving or is_unwanted):
                if is_worker and child.is_recalled and child.state is ChildState.STOPPING:
                    is_turn = is_turn and node.spec.start == "parallel"  # it leaves all the same
                continue
            if is_turn:
                self.lower(child)
            if child.is_down and child.is_cycling:
                child.is_cycling = False
                self.rest(child)
            is_turn = is_turn and (child.is_down or node.spec.start == "parallel")

    def _bring_all_down(self, node: NodePlace, children: Sequence[ChildPlace]) -> None:
        for child in reversed(children):
            self.lower(child)
            if not child.is_down and node.spec.start == "ordered":
                return
        if all(child.is_down for child in node.children):
            self._end(node)

    def _end(self, node: NodePlace) -> None:
        if node.then in {Then.REOPEN, Then.QUARANTINE}:
            self.open(node)
            return
        self.set_state(node, ChildState.STOPPED)
        if node.parent is None:
            self._outbox.add(GiveUp(reason=node.last_error) if node.then is Then.FALL else AllStopped())

    # --- up -----------------------------------------------------------------------------------

    def _bring_up(self, node: NodePlace, children: Sequence[ChildPlace]) -> None:
        """Start the children of an open node whose turn has come."""
        if not any(child.state is ChildState.WAITING for child in children):
            return
        strategy = node.spec.strategy
        is_held = strategy is Strategy.ONE_FOR_ALL and any(child.state is ChildState.BACKOFF for child in children)
        is_clear = True
        for child in children:
            # Among independent children only the first start has an order: a child that was up waits for no sibling.
            may_start = is_clear or (strategy is Strategy.ONE_FOR_ONE and child.is_attempted)
            if child.state is ChildState.WAITING and may_start and not is_held:
                self._begin(child)
            is_held = is_held or (strategy is Strategy.REST_FOR_ONE and child.state is ChildState.BACKOFF)
            is_clear = is_clear and (node.spec.start == "parallel" or is_settled(child))

    def _begin(self, child: ChildPlace) -> None:
        if isinstance(child, NodePlace):
            self.open(child)
            self.advance(child)
            return
        child.epoch += 1
        child.rung = Rung.NONE
        child.doom = None
        child.up_since_ns = None
        self._memory.epochs[child.path] = child.epoch
        self._outbox.add(EpochChanged(path=child.path, epoch=child.epoch))
        self._outbox.add(Spawn(path=child.path, epoch=child.epoch, spec=child.spec, is_gentle=child.has_waited))
        child.has_waited = False
        self.set_state(child, ChildState.STARTING, self.now_ns + child.spec.start_timeout_ns)

    def open(self, node: NodePlace) -> None:
        """Let a node begin: a supervisor without a past, whose children wait for their turn.

        Workers in quarantine keep their counts, so that the status still shows why they are there.
        """
        is_aside = node.then is Then.QUARANTINE
        node.then = Then.REST
        node.up_since_ns = None
        node.restarts_ns = ()
        self.set_state(node, ChildState.STARTING)
        for child in node.children:
            child.is_cycling = False
            child.is_attempted = False
            if isinstance(child, WorkerPlace) and not is_aside:
                child.restarts_ns = ()
                child.is_finished = child.is_finished and not is_restarted_afresh(child)
            self.rest(child)

    def rest(self, child: ChildPlace) -> None:
        """Give a child that is down the state that says why it is."""
        assert child.is_down, "a process has no rest"
        assert child.parent is not None, "the root is nobody's child"
        is_worker = isinstance(child, WorkerPlace)
        if is_worker:
            child.has_waited = False
        if is_worker and child.is_quarantined:
            self.set_state(child, ChildState.QUARANTINED)
        elif is_worker and not child.is_enabled:
            self.set_state(child, ChildState.DISABLED)
        elif (is_worker and child.is_finished) or not child.parent.is_open or child.parent.is_closing:
            self.set_state(child, ChildState.STOPPED)
        else:
            self.set_state(child, ChildState.WAITING)

    # --- falls --------------------------------------------------------------------------------

    def end_worker(self, worker: WorkerPlace, ended: Exit) -> None:
        """Take note that a process is reaped, and judge whether it fell or left.

        It left when it was asked to, or when it was about to be: that is reported, and not counted.
        """
        node = worker.parent
        assert node is not None, "a worker has a supervisor"
        told = worker.doom or ended
        is_wished = (
            (worker.rung is not Rung.NONE and worker.doom is None)
            or worker.is_cycling
            or worker.is_excused
            or node.is_closing
        )
        was_up = worker.up_since_ns is not None
        is_kept = worker.spec.restart is not RestartType.TEMPORARY or worker.is_recalled
        worker.rung = Rung.NONE
        worker.doom = None
        worker.is_recalled = False
        worker.last_exit = told.text
        if not is_wished:
            self.fall(worker, told, "child_terminated" if was_up else "start_error")
            return
        if not told.is_normal:
            self.report(node, "shutdown_error", told.text, worker, "warning")
        if self._was_healthy(worker):
            worker.falls_in_row = 0
        worker.is_finished = not is_kept
        self.set_state(worker, ChildState.STOPPED)
        self.rest(worker)

    def fall(self, child: ChildPlace, ended: Exit, context: Context) -> None:
        """Let a child be fallen: count it, and decide who goes down with it and when they come back."""
        node = child.parent
        assert node is not None, "the fall of the root is heard by nobody"
        child.last_exit = ended.text
        for above in places_up(child):
            above.is_attempted = True
        if isinstance(child, WorkerPlace) and not should_restart(child.spec.restart, ended):
            self._finish(node, child, ended, context)
            return
        child.last_error = ended.text
        self.report(node, context, ended.text, child, "warning")
        child.falls_in_row = 1 if self._was_healthy(child) else child.falls_in_row + 1
        node.restarts_total += 1
        node.restarts_ns, is_within = record_restart(node.restarts_ns, self.now_ns, node.spec.limit)
        if isinstance(child, WorkerPlace):
            child.restarts_total += 1
            child.restarts_ns, _ = record_restart(child.restarts_ns, self.now_ns, node.spec.limit)
        self.set_state(child, ChildState.STOPPED)
        if not is_within:
            self._give_up(node, child, ended)
            return
        delay_ns = node.spec.backoff.delay_ns(child.falls_in_row, self._uniform)
        if delay_ns:
            self.set_state(child, ChildState.BACKOFF, self.now_ns + delay_ns)
        else:
            self.set_state(child, ChildState.WAITING)
        self._take_along(node, child)

    def _finish(self, node: NodePlace, worker: WorkerPlace, ended: Exit, context: Context) -> None:
        worker.is_finished = True
        if not ended.is_normal:
            worker.last_error = ended.text
        self.report(node, context, ended.text, worker, "info" if ended.is_normal else "warning")
        self.set_state(worker, ChildState.STOPPED)

    def _take_along(self, node: NodePlace, fallen: ChildPlace) -> None:
        together = affected(node.spec.strategy, [child.spec.id for child in node.children], fallen.spec.id)
        for sibling in node.children:
            if sibling is fallen or sibling.spec.id not in together:
                continue
            sibling.is_cycling = True
            if isinstance(sibling, NodePlace):
                self.hush(sibling)
            elif sibling.is_down:
                sibling.is_finished = sibling.is_finished and not is_restarted_afresh(sibling)

    def _give_up(self, node: NodePlace, offender: ChildPlace, ended: Exit) -> None:
        limit = node.spec.limit
        reason = (
            f"more than {limit.restarts_max} restarts in {limit.window_ns / NS_PER_S:g} s; "
            f"the last to fall was {offender.path}: {ended.text}"
        )
        node.last_exit = reason
        node.last_error = reason
        self.report(node, "shutdown", reason, offender, "error")
        if node.spec.gives_up == "escalate":
            self.close(node, Then.FALL)
            return
        for worker in workers(node):
            if not worker.is_quarantined:
                worker.is_quarantined = True
                self._memory.quarantined.add(worker.path)
                self._outbox.add(Quarantined(path=worker.path, reason=reason))
                self.note(worker)
        self.close(node, Then.QUARANTINE)

    def _was_healthy(self, child: ChildPlace) -> bool:
        """Say whether a child was up for long enough to begin a new row of falls.

        A node gives up because of the falls inside its window, so its health ends with the oldest of them.
        """
        node = child.parent
        assert node is not None, "the root is nobody's child"
        if child.up_since_ns is None:
            return False
        until_ns = self.now_ns
        if isinstance(child, NodePlace) and child.restarts_ns:
            until_ns = child.restarts_ns[-1]
        return until_ns - child.up_since_ns >= node.spec.backoff.healthy_ns


def _to_look_at(node: NodePlace, looked: set[ChildPlace]) -> Sequence[ChildPlace]:
    """Give the children that a move has to look at, in the order of their start.

    In a crowd these are ``looked``, to which those are added that were stirred in the meantime; elsewhere a child's
    turn depends on its siblings, so that all are looked at.
    """
    if not node.is_crowd:
        return tuple(node.children)
    looked |= node.stirred
    if len(looked) <= 1:
        return tuple(looked)
    if len(looked) <= FEW:
        return sorted(looked, key=node.children.index)
    return [child for child in node.children if child in looked]


def places_up(place: Place) -> list[Place]:
    """List a place and all nodes above it, itself first."""
    line = [place]
    while line[-1].parent is not None:
        line.append(line[-1].parent)
    return line
