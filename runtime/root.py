"""The root supervisor's process: one thread, one loop; it does what the pure supervision decides."""

import gc
import os
import random
import select
import signal
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from runtime import landlock
from runtime.beacon import beacon_file
from runtime.births import Births
from runtime.briefing import Briefing
from runtime.bus import Bus
from runtime.bus.frames import READABLE, Poller
from runtime.bus_words import Address
from runtime.child import ChildRequest, last_words_file, log_file, nobody
from runtime.clock import NS_PER_MS, NS_PER_S, Clock
from runtime.codec import Codec
from runtime.errors import StoreError, WireError
from runtime.gentle import stand_up
from runtime.keeper import Keeper
from runtime.knowledge import Knowledge, patience_words
from runtime.log import Log
from runtime.peer_news import PeerNews
from runtime.process import (
    Running,
    Zygote,
    become_subreaper,
    is_held,
    raise_open_files,
    reap,
    signal_group,
)
from runtime.requests import Powers, Requests
from runtime.restart import Exit, ExitKind
from runtime.rounds import ROUND_NS, Rounds
from runtime.seccomp import Filter
from runtime.service_manager import ServiceManager
from runtime.spares import Spares
from runtime.spec import NodeSpec, WorkerSpec
from runtime.strangers import Strangers
from runtime.supervision import Supervision
from runtime.supervision_words import (
    Action,
    AllStopped,
    AskStop,
    ChildState,
    EpochChanged,
    GiveUp,
    PeersChanged,
    Quarantined,
    Reconfigure,
    Released,
    Report,
    Row,
    Signal,
    Spawn,
)
from runtime.watch import Watch
from runtime.words import Ready, Reconfigured, RestartWanted, RootAsked, StopAsked

#: Root's own lateness that excuses everyone's.
LAG_NS = NS_PER_S
#: With fewer workers there is little that giving pages back would spare.
CROWD = 32


class RootSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How root runs a tree. ``told_kinds`` are the kinds of workers that hear how the others are.

    ``verdict`` is (path, fact): the service is up when every enabled worker is RUNNING and that fact is not empty.
    ``watchdog`` is the worker that watches root itself ("" for none); once a second it is told how the children are,
    with those of their facts that ``watched_facts`` names.
    """

    state: Path
    sockets: Path
    lock_descriptor: int
    preload: tuple[str, ...]
    log_level: str
    told_kinds: frozenset[str]
    verdict: tuple[str, str] = ("", "")
    watchdog: str = ""
    watched_facts: frozenset[str] = frozenset()
    duration_ns: int = 0
    spares: int = 0
    """How many processes wait to become an expendable child that fell."""
    rehearsal: str = ""
    """``module:function`` of the room with which a spare rehearses; without one there are no spares."""
    crowd: int = CROWD
    """From so many workers on memory is worth half a second at the zygote's start."""
    gentle_ns: int = 2 * NS_PER_S
    """How long a birth may stand back for others. Where they leave it nothing, it goes on as any other then."""


class Root:
    """Runs one tree of processes until it is told to stop, or gives up.

    It opens no store but its own, imports no room, and never waits for anything but its poll.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - the parts of a process, made by the entry point
        self,
        tree: NodeSpec,
        settings: RootSettings,
        keeper: Keeper,
        codec: Codec,
        clock: Clock,
        log: Log,
        on_round: Callable[["Root"], None],
        prepare: Callable[[NodeSpec], None] = lambda _tree: None,
    ) -> None:
        """Lay out the tree with what the keeper remembers; nothing starts before ``run``.

        ``prepare`` makes what the workers of another tree find at their first start; it may refuse with an OSError or
        a StoreError, and then the tree stays.
        """
        self._settings, self._keeper, self._codec, self._clock, self._log = settings, keeper, codec, clock, log
        self._supervision = Supervision(
            tree,
            random.SystemRandom().uniform,
            desired=keeper.desired(),
            quarantined=keeper.quarantined(),
            epochs=keeper.epochs(),
        )
        self._on_round = on_round
        powers = Powers(self._do, self.stop, self.status, self._take_specs, prepare)
        self._requests = Requests(tree.id, self._supervision, keeper, clock, log, powers)
        self._unkept: dict[str, str] = {}
        self._strangers = Strangers(log)
        self._held: set[str] = set()
        self._gentle: dict[str, int] = {}
        self._running: dict[str, Running] = {}
        self._by_pidfd: dict[int, str] = {}
        self._specs: dict[str, WorkerSpec] = {}
        self._watch = Watch(settings.state, settings.sockets, log)
        self._known = Knowledge(settings.sockets, self._watch.warden, codec)
        rehearsal = (settings.rehearsal if settings.spares else "", str(settings.sockets))
        zygote = Zygote(settings.preload, (settings.lock_descriptor,), rehearsal)
        self._births = Births(zygote, Spares(settings.spares if settings.rehearsal else 0, log), clock)
        self._poller = Poller()
        self._epoll = select.epoll()
        self._is_warm = self._is_ended = False
        self._manager = ServiceManager()
        self._changed: dict[str, None] = {}
        self._turns = 0
        self._rounds = Rounds(clock.monotonic_ns())
        self._landlock, self._has_seccomp = 0, False
        self.started_ns = clock.monotonic_ns()
        self.stop_reason = ""
        self.exit_code = 0

    # --- the loop -----------------------------------------------------------------------------

    def warm_up(self) -> None:
        """Have the zygote begin already, while whoever calls makes what its children will find; no child is born yet.

        Then comes ``run``, or ``abandon``.
        """
        become_subreaper()
        raise_open_files()
        self._start_zygote()
        self._is_warm = True

    def abandon(self) -> None:
        """End the zygote of a tree that will not be run after all."""
        self._births.close(self._settings.sockets)

    def run(self) -> int:
        """Bring the tree up, keep it up, bring it down; give the exit code."""
        if not self._is_warm:
            self.warm_up()
        self._look_at_kernel()
        self._wake = self._wake_on_signals()
        self._bus = Bus(self._settings.sockets, Address("root", self._keeper.next_epoch("root")))
        self._hub = self._bus.hub()
        self._news = PeerNews(self._supervision, self._hub, self._codec, self._clock)
        self._briefing = Briefing(self._hub, self._codec, self._settings.watched_facts)
        self._poller.register(self._hub.socket, READABLE)
        self._poller.register(self._epoll.fileno(), READABLE)
        self._poller.register(self._wake, READABLE)
        self._epoll.register(self._births.fileno(), select.EPOLLIN)
        gc.freeze()  # what the desk was made of stays, so that no collection looks through it
        self._do(self._supervision.start(self._now()))
        turned_ns = self._now()
        while not self._is_ended:
            before_ns = self._now()
            timers_ns = (self._rounds.due_ns, self._supervision.next_timer_ns(), self._births.start_due_ns)
            due_ns = min(timer_ns for timer_ns in timers_ns if timer_ns is not None)
            if self._news.is_waiting:
                due_ns = min(due_ns, self._news.due_ns)
            ready = dict(self._poller.poll(max(0, -(-(due_ns - before_ns) // NS_PER_MS))))
            heard_ns = self._now()
            self._turns += 1
            self._hear(ready)
            now_ns = self._now()
            if heard_ns - max(due_ns, before_ns) > LAG_NS or now_ns - turned_ns > ROUND_NS + LAG_NS:
                self._excuse_all(now_ns)
            turned_ns = now_ns
            self._end_deadlines()
            self._start_zygote_anew()
            if self._now() >= self._rounds.due_ns:
                self._look()
            if self._news.is_waiting and self._are_news_due:
                self._tell_peers()
        self._births.close(self._settings.sockets)
        self._strangers.leave_none({child.pid for child in self._running.values()})
        self._manager.stopping()
        self._bus.close()
        return self.exit_code

    def _end_deadlines(self) -> None:
        """Do what is due by now; who is not born yet has its time to start anew, for the zygote has its own limit."""
        now_ns, due_ns = self._now(), self._supervision.next_timer_ns()
        if due_ns is None or now_ns < due_ns:
            return
        for request in self._births.under_way():
            self._supervision.on_unborn(request.path, request.epoch, now_ns)
        self._do(self._supervision.on_timer(now_ns))

    def _excuse_all(self, now_ns: int) -> None:
        """Root itself was late: nobody is silent for a while, and who starts has its time anew."""
        self._watch.excuse_all(now_ns)
        for child in self._running.values():
            if child.path not in self._known.reports:
                self._supervision.on_unborn(child.path, child.epoch, now_ns)

    def _look_at_kernel(self) -> None:
        """Say once what this kernel cannot refuse; whoever would be confined by it then runs without."""
        self._landlock, self._has_seccomp = landlock.abi(), bool(Filter.prepare().program)
        if not self._landlock:
            self._log.warning("landlock.missing", meaning="a fenced process can touch every file that this user can")
        if not self._has_seccomp:
            self._log.warning("seccomp.missing", meaning="a process may fork; root counts it, and ends it afterwards")

    def stop(self, reason: str) -> None:
        """Begin the orderly end; asking again changes nothing."""
        if not self.stop_reason:
            self.stop_reason = reason
            self._log.info("stopping", reason=reason)
            self._manager.stopping()
            self._manager.status(f"stopping: {reason}")
            self._do(self._supervision.stop(self._now()))

    def _now(self) -> int:
        return self._clock.monotonic_ns()

    def _wake_on_signals(self) -> int:
        wake, out = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(out, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda _number, _frame: None)
        return wake

    def _hear(self, ready: Mapping[Any, int]) -> None:
        if self._wake in ready:
            for number in os.read(self._wake, 64):
                if number in {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}:
                    self.stop(f"signal {signal.Signals(number).name}")
        if self._epoll.fileno() in ready:
            self._hear_descriptors()
        if self._hub.socket in ready:
            self._hear_hub()

    # --- children -----------------------------------------------------------------------------

    def _start_zygote(self) -> None:
        workers = sum(row.kind != "node" for row in self._supervision.tree(self._now()))
        for descriptor in self._births.start(is_crowd=workers >= self._settings.crowd):
            self._epoll.register(descriptor, select.EPOLLIN)

    def _hear_descriptors(self) -> None:
        ready = [descriptor for descriptor, _ in self._epoll.poll(0)]
        for descriptor in ready:
            path = self._by_pidfd.get(descriptor)
            if path is not None:
                self._bury(path)
            elif descriptor == self._births.fileno():
                self._births.hear_spares()
        self._take_answers()
        if self._births.is_zygote_dead:
            self._replace_zygote()

    def _take_answers(self) -> None:
        for born in self._births.answers():
            child = born.child
            self._take_in(child)
            self._supervision.on_unborn(child.path, child.epoch, self._now())  # now it is: its time begins
            if born.is_gentle:
                self._gentle[child.path] = self._now()
            if born.is_early:
                self._begin_watch(child.path, child.epoch)
            if born.is_doomed:
                signal_group(child.pid, signal.SIGKILL)
        self._births.ask()

    def _take_in(self, child: Running) -> None:
        self._running[child.path] = child
        self._by_pidfd[child.pidfd] = child.path
        self._epoll.register(child.pidfd, select.EPOLLIN)

    def _ask_for_spare(self) -> None:
        """Have another process wait to become a child, while nobody else is born; it rehearses standing back."""
        if self._births.wants_spare and not self._is_busy:
            settings = self._settings
            self._births.begin_spare(nobody(settings.rehearsal, str(settings.sockets), os.getpid(), settings.log_level))

    @property
    def _is_busy(self) -> bool:
        """Whether the tree comes up or goes down."""
        return bool(self.stop_reason) or not self.is_up()

    def _replace_zygote(self) -> None:
        """Have a new zygote. What the old one may have forked without saying so is a stranger, and a failed start."""
        for descriptor in self._births.descriptors():
            self._epoll.unregister(descriptor)
        lost = self._births.lose()
        self._report_zygote("child_terminated", "zygote died")
        self._end_strangers()
        self._end_strangers()  # where it forks twice, the process between may have made the child before it ended
        for request in lost:
            ended = Exit(ExitKind.START_FAILED, "the zygote died while it was asked")
            self._do(self._supervision.on_exit(request.path, request.epoch, ended, self._now()))

    def _start_zygote_anew(self) -> None:
        """Execute the zygote whose time has come; where that cannot be, wait for the next time."""
        due_ns = self._births.start_due_ns
        if due_ns is None or self._now() < due_ns or self._is_ended:
            return
        try:
            self._start_zygote()
        except OSError as error:
            self._births.lose()
            self._report_zygote("start_error", str(error))

    def _report_zygote(self, context: str, reason: str) -> None:
        due_ns = self._births.start_due_ns
        assert due_ns is not None, "only of a zygote that is down"
        wait_s = max(0, due_ns - self._now()) / NS_PER_S
        text = f"{reason}; all births wait {wait_s:.1f} s for the next one" if wait_s else reason
        self._log.fall(supervisor="root", context=context, reason=text, offender="zygote")

    def _bury(self, path: str) -> None:
        """Take note that a child has ended; one that is held by who traces it is looked at again each round."""
        child = self._running[path]
        if path not in self._held:
            self._epoll.unregister(child.pidfd)
        if is_held(child):
            if path not in self._held:
                self._held.add(path)
                self._log.error("child.held", path=path, pid=child.pid, meaning="who traces it has to let it go")
            return
        self._held.discard(path)
        del self._running[path]
        self._known.look(child, self._now())  # what it said last before its end counts
        self._gentle.pop(path, None)
        self._births.end(path)
        self._news.forget(path)
        self._briefing.see_end(path)
        del self._by_pidfd[child.pidfd]
        ended = reap(child)
        text = _last_words(self._settings.state, child) or self._explained(child, ended.text)
        ended = Exit(ended.kind, text)
        self._known.see_end(path)
        self._watch.forget(path)
        beacon_file(self._settings.sockets, path).unlink(missing_ok=True)
        self._do(self._supervision.on_exit(path, child.epoch, ended, self._now()))

    def _explained(self, child: Running, text: str) -> str:
        """Say in an operator's words what the alarm of a turn's processor time means; leave every other text."""
        if text != f"signal {signal.SIGPROF.name}":
            return text
        cpu_s = self._specs[child.path].limits.cpu_s_per_handler
        stack = log_file(self._settings.state, child.path, "stack").name
        return f"a handler used more than {cpu_s:g} s of processor time; its stack is in log/{stack}"

    def _end_strangers(self) -> None:
        if not self._births.is_awaited:
            self._strangers.end({child.pid for child in self._running.values()} | self._births.pids())

    # --- what supervision wants -----------------------------------------------------------------

    def _do(self, actions: list[Action]) -> None:
        """Carry out what supervision wants, and then what it wants of those that could not be begun."""
        unbegun = self._do_each(actions)
        for path, epoch, ended in unbegun:  # grows while it is walked
            unbegun += self._do_each(self._supervision.on_exit(path, epoch, ended, self._now()))

    def _do_each(self, actions: list[Action]) -> list[tuple[str, int, Exit]]:  # noqa: C901, PLR0912 - one case an action
        """Carry out each; give the children that are not there, and why."""
        unkept = self._keep_epochs({one.path: one.epoch for one in actions if isinstance(one, EpochChanged)})
        unbegun: list[tuple[str, int, Exit]] = []
        for action in actions:
            match action:
                case Spawn() if unkept is not None:
                    unbegun.append((action.path, action.epoch, unkept))
                case Spawn():
                    self._spawn(action)
                case Reconfigure():
                    word = Reconfigured(action.arguments, action.epoch)
                    self._hub.post(action.path, self._codec.encode(word), is_sure=True)
                case AskStop() if self._births.take_back(action.path, action.epoch):
                    unbegun.append((action.path, action.epoch, Exit(ExitKind.NORMAL, "it was not born yet")))
                case AskStop():
                    self._hub.post(action.path, self._codec.encode(StopAsked()), is_sure=False)
                case Signal():
                    self._signal(action)
                case EpochChanged():
                    pass  # all of the list are kept: one write serves them
                case Report():
                    self._report(action)
                case Quarantined():
                    self._unkept[action.path] = action.reason
                    self._keep_quarantines()
                    if action.path in self._unkept:
                        self._log.error("quarantine.unkept", path=action.path, meaning="root would not know it again")
                case Released():
                    self._unkept.pop(action.path, None)
                    self._keeper.drop_quarantine(action.path)
                case PeersChanged():
                    self._news.is_waiting = True  # told before the next Spawn, as a rule at the end of this turn
                case AllStopped():
                    self._is_ended = True
                case GiveUp():
                    self._log.error("gave up", reason=action.reason)
                    self.stop_reason, self.exit_code, self._is_ended = f"gave up: {action.reason}", 1, True
        return unbegun

    def _keep_epochs(self, epochs: Mapping[str, int]) -> Exit | None:
        """Keep epochs; where the disk does not take them nobody may be born with one, and each start has failed."""
        try:
            if epochs:
                self._keeper.keep_epochs(epochs)
        except StoreError as error:
            return Exit(ExitKind.START_FAILED, f"its epoch cannot be kept: {error}")
        return None

    def _keep_quarantines(self) -> None:
        """Keep what is not kept yet; it holds all the same, and is tried again each round."""
        for path, reason in tuple(self._unkept.items()):
            with suppress(StoreError):
                self._keeper.keep_quarantine(path, reason)
                del self._unkept[path]

    def _spawn(self, action: Spawn) -> None:
        self._tell_peers()
        self._news.forget(action.path)
        spec = self._specs[action.path] = action.spec
        words = last_words_file(self._settings.state, action.path)
        words.unlink(missing_ok=True)
        is_expendable = spec.kind not in self._settings.told_kinds
        request = ChildRequest(
            path=action.path,
            epoch=action.epoch,
            title=f"bulkhead: {action.path.replace('/', ' ').replace('strategies ', 'strategy ', 1)}",
            entry=spec.entry,
            arguments=spec.arguments,
            root_pid=os.getpid(),
            state=str(self._settings.state),
            sockets=str(self._settings.sockets),
            log_level=self._settings.log_level,
            limits=spec.limits,
            fence=spec.fence,
            is_expendable=is_expendable,
            is_gentle=action.is_gentle and is_expendable,
        )
        child = self._births.begin(request)
        if child is not None:
            self._take_in(child)

    def _signal(self, action: Signal) -> None:
        child = self._running.get(action.path)
        if child is not None and child.epoch == action.epoch:
            signal_group(child.pid, action.number)
        elif action.number == signal.SIGKILL:
            self._births.doom(action.path, action.epoch)  # it is not born yet

    def _report(self, report: Report) -> None:
        if report.level == "info":
            self._log.info(
                "report",
                supervisor=report.supervisor,
                context=report.context,
                reason=report.reason,
                offender=report.offender,
            )
        else:
            self._log.fall(
                supervisor=report.supervisor, context=report.context, reason=report.reason, offender=report.offender
            )
            self._known.keep_fall(report, self._clock.wall_ns())

    @property
    def _are_news_due(self) -> bool:
        """Whether rooms shall hear at once: always but while the tree comes up for the first time."""
        is_coming_up = not (self._manager.is_ready or self._supervision.is_settled)
        return not is_coming_up or self._now() >= self._news.due_ns

    def _tell_peers(self) -> None:
        self._changed.update(dict.fromkeys(self._news.tell()))

    # --- hearing children -----------------------------------------------------------------------

    def _begin_watch(self, path: str, epoch: int) -> None:
        """Count READY as progress: a child may hang in its first turn, and never report any."""
        if self._births.see_ready(path, epoch):
            return  # it was quicker than the zygote's answer
        child = self._running.get(path)
        if child is not None and child.epoch == epoch:
            self._let_stand_up(child)
            self._known.see_ready(path, epoch, self._now())

    def _let_stand_up(self, child: Running) -> None:
        """Let a child that was born gently compete for processors as any other from now on."""
        if self._gentle.pop(child.path, None) is not None:
            with suppress(PermissionError):  # then it stands back for as long as it lives
                stand_up(child.pid)

    def _is_told(self, path: str) -> bool:
        """Say whether this is a room, which hears how the others are and may ask for things."""
        spec = self._specs.get(path)
        return spec is not None and spec.kind in self._settings.told_kinds

    def _hear_hub(self) -> None:
        for heard in self._hub.receive():
            try:
                word = self._codec.decode(heard.body)
            except WireError as error:
                self._log.warning("wire.refused", peer=heard.peer, reason=str(error))
                continue
            if isinstance(word, Ready):
                self._take_answers()
                self._births.end(heard.peer)
                self._begin_watch(heard.peer, heard.epoch)
                self._do(self._supervision.on_ready(heard.peer, heard.epoch, self._now()))
                self._ask_for_spare()  # the next to fall may do so before the next round
                is_here = heard.peer in self._running or self._births.awaits(heard.peer)
                if is_here and self._is_told(heard.peer):
                    self._news.inform(heard.peer)
            elif isinstance(word, RootAsked):
                answer = self._requests.answer(heard.peer, word, may_ask=self._is_told(heard.peer))
                self._hub.post(heard.peer, self._codec.encode(answer), is_sure=False)
            elif isinstance(word, RestartWanted):
                child = self._running.get(heard.peer)
                is_living = child is not None and child.epoch == heard.epoch
                self._requests.restart(heard.peer, self._specs[heard.peer].arguments if is_living else None, word)
        self._hub.acknowledge()

    def _take_specs(self) -> None:
        """Watch each child by what it is to be from now on."""
        for path in self._running:
            self._specs[path] = self._supervision.spec(path) or self._specs[path]

    # --- the rounds -----------------------------------------------------------------------------

    def _look(self) -> None:
        """Look at the children whose turn has come, and begin a round where the one before is over."""
        now_ns = self._now()
        is_over = self._rounds.is_over(now_ns)
        self._look_at(self._rounds.take(now_ns), now_ns)
        if is_over:
            if self._settings.duration_ns and now_ns - self.started_ns >= self._settings.duration_ns:
                self.stop("the given duration is over")
            self._rounds.begin(self._running.values(), now_ns)
            self._briefing.begin(self._running.get(self._settings.watchdog), self._turns)
            self._look_at(self._rounds.take(now_ns), now_ns)
            self._round(now_ns)

    def _look_at(self, children: Iterable[Running], now_ns: int) -> None:
        for child in children:
            if self._running.get(child.path) is child:
                self._watch_one(child, now_ns)
        if self._rounds.is_complete:
            self._briefing.end()

    def _round(self, now_ns: int) -> None:
        """Do what is done once a round."""
        for path in [path for path, since_ns in self._gentle.items() if now_ns - since_ns > self._settings.gentle_ns]:
            self._let_stand_up(self._running[path])
        self._births.look(now_ns)
        self._keep_quarantines()
        for path in tuple(self._held):
            self._bury(path)
        self._end_strangers()
        self._ask_for_spare()
        self._hub.send_again()
        if self.is_up():
            self._manager.ready()
        if not self.stop_reason:
            self._manager.status(f"{len(self._known.reports)} of {len(self._running)} processes ready")
        self._manager.alive()
        self._on_round(self)

    def _watch_one(self, child: Running, now_ns: int) -> None:
        """Look for silence and for limits that are not kept; either ends the child, and counts as a fall."""
        path, spec = child.path, self._specs[child.path]
        self._known.look(child, now_ns)
        reason = self._watch.excess(child, spec, now_ns)
        if reason:
            self._do(self._supervision.on_hang(path, child.epoch, self._now(), reason))
        heard = self._known.reports.get(path)
        if heard is None:
            if self._watch.is_kept_waiting(child, now_ns):
                self._supervision.on_unborn(path, child.epoch, self._now())  # another's fall may lie in between
            return
        reason = self._watch.silence(child, spec, heard[1], now_ns)
        if reason:
            self._do(self._supervision.on_hang(path, child.epoch, self._now(), reason))
        memory = (self._watch.warden.memory_bytes(path), spec.limits.memory_soft_bytes)
        self._briefing.add(heard[0], now_ns - heard[1], memory)

    def is_up(self) -> bool:
        """Say whether everything that shall run runs, and the first verdict is there."""
        if not self._supervision.is_settled:
            return False
        path, fact = self._settings.verdict
        return not path or bool(self.facts(path).get(fact))

    def facts(self, path: str) -> dict[str, Any]:
        """Give what a child last said of itself; nothing where it said nothing yet."""
        child = self._running.get(path)
        if child is not None:
            self._known.look(child, self._now())
        return self._known.facts(path)

    def changed_workers(self) -> list[tuple[Row, int | None]]:
        """Give the row and the pid of each worker that is another than when this was asked last.

        It costs no look at a process, and none at a worker that is as it was.
        """
        changed, self._changed = self._changed, {}
        rows = [self._supervision.row(path) for path in changed]
        running = self._running
        return [
            (row, running[row.path].pid if row.path in running else None) for row in rows if row and row.kind != "node"
        ]

    def status(self, path: str = "") -> dict[str, Any]:
        """Give the tree with all that is known of each process, as plain values.

        Args:
            path: Give only this worker or node, with all below it and its last falls; "" is the whole tree.

        Raises:
            LookupError: There is no such path.
        """
        now_ns = self._now()
        rows = self._supervision.tree(now_ns)
        if path:
            rows = [row for row in rows if row.path == path or row.path.startswith(f"{path}/")]
            if not rows:
                msg = f"there is no {path} in the tree"
                raise LookupError(msg)
        status: dict[str, Any] = {
            "pid": os.getpid(),
            "uptime_s": (now_ns - self.started_ns) / NS_PER_S,
            "is_up": self.is_up(),
            "stopping": self.stop_reason,
            "zygote": self._births.words(),
            "landlock": self._landlock or False,
            "seccomp": self._has_seccomp,
            "overrides": self._keeper.overrides(),
            "tree": [self._row(row, now_ns) for row in rows],
        }
        if path:
            status |= {"falls": self._known.falls(path), "patience": patience_words(self._specs.get(path))}
        return status

    def _row(self, row: Row, now_ns: int) -> dict[str, Any]:
        child = self._running.get(row.path) if row.kind != "node" else None
        last_error = row.last_error
        if row.state is ChildState.QUARANTINED and not last_error:
            last_error = self._keeper.quarantine_reason(row.path)
        return self._known.row(row, child, self._specs.get(row.path), last_error=last_error, now_ns=now_ns)


def _last_words(state: Path, child: Running) -> str:
    """Read the reason that a fallen child left; "" where it left none for this epoch."""
    try:
        epoch, _, text = last_words_file(state, child.path).read_text(encoding="utf-8", errors="replace").partition(" ")
    except OSError:
        return ""
    return text if epoch == str(child.epoch) else ""
