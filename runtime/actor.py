"""The actor type that wraps a room: its inbox is the process's sockets, its loop is the main thread's."""

import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, cast

import msgspec
import pykka
from pykka._envelope import Envelope
from pykka._threading import ThreadingFuture
from typing_extensions import override

from runtime.beacon import Beacon
from runtime.bus import Bus
from runtime.bus.frames import DRAIN_MAX, READABLE, Poller, Socket, drain, wait_for
from runtime.bus.links import Hub, Spoke
from runtime.bus.outside import Foreign
from runtime.bus.streams import Publisher, Subscriber
from runtime.clock import NS_PER_MS, NS_PER_S, Clock
from runtime.codec import Codec
from runtime.control_door import ControlDoors, Wanted
from runtime.effects import Effects, Post
from runtime.errors import WireError
from runtime.log import Log
from runtime.measure import Stuck, Turns
from runtime.room import Room, Wiring
from runtime.store import Store
from runtime.words import PeersChanged, Progress, Ready, Reconfigured, Settled, StopAsked, Turn

PROGRESS_NS = NS_PER_S
ANNOUNCE_NS = 100 * NS_PER_MS
#: How long a parcel waits for its receipt before it is repeated on a link that stands.
AGAIN_NS = NS_PER_S
#: How long a start waits for the link to root, so that READY is out before the first word is heard.
CONNECT_MS_MAX = 1000
#: So many reports without a message in between, and a process is at rest.
RESTED = 2
#: How often in a row such a process says the same again before it looks at itself anew.
STILLS = 59
#: For how long one turn hears what has no memory, as ticks: each may take long, and a turn may not.
HEARING_NS = 100 * NS_PER_MS
#: Signals that one poll takes note of; more of them end the next one too.
SIGNALS_MAX = 64
ROOT = "root"


class SocketInbox:
    """pykka's inbox, made of sockets: one poll over all of them, an eventfd for other threads, and signals."""

    def __init__(self) -> None:
        """Open the two descriptors that wake the poll from outside."""
        self._poller = Poller()
        self._others: deque[Envelope[Any]] = deque()
        self._is_woken = False
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poller.register(self._event, READABLE)
        self._wake: tuple[int, ...] = ()
        self.next_timer: Callable[[], int | None] = lambda: None

    def register(self, socket: Socket[bytes]) -> None:
        """Add one socket to the poll."""
        self._poller.register(socket, READABLE)

    def unregister(self, socket: Socket[bytes]) -> None:
        """Take one socket out of the poll; what comes in waits there, and in its senders."""
        self._poller.unregister(socket)

    def wake_on_signals(self) -> None:
        """Let a signal end the poll, so that its handler's flag is seen at once."""
        self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self._wake[1], warn_on_full_buffer=False)
        self._poller.register(self._wake[0], READABLE)

    def close(self) -> None:
        """Let no signal end the poll any more, and close what woke it; only for whoever lives on without a loop."""
        signal.set_wakeup_fd(-1)
        for descriptor in (self._event, *self._wake):
            os.close(descriptor)

    def put(self, envelope: Envelope[Any], /) -> None:
        """Take an envelope from any thread."""
        self._others.append(envelope)
        os.eventfd_write(self._event, 1)

    def wake(self) -> None:
        """End the poll from any thread; many calls are as one until the loop has heard of them."""
        if not self._is_woken:
            self._is_woken = True
            os.eventfd_write(self._event, 1)

    def was_woken(self) -> bool:
        """Say whether somebody called ``wake`` since this was asked last."""
        was, self._is_woken = self._is_woken, False
        return was

    def get(self) -> Envelope[Any]:
        """Wait for the next envelope: one put by a thread, or the set of what is ready now."""
        if self._others:
            return self._others.popleft()
        ready = dict(self._poller.poll(self.next_timer()))
        if self._wake and self._wake[0] in ready:
            os.read(self._wake[0], SIGNALS_MAX)
        if self._event in ready:
            os.eventfd_read(self._event)
            if self._others:
                return self._others.popleft()
        return Envelope(ready)

    def doze(self, say: Callable[[], object], period_ms: int, most: int) -> int:
        """Wait for anything at all, and call ``say`` at the end of each period until it comes; give how often that was.

        It takes nothing of what comes, and ends after ``most`` periods in any case. A process that does nothing but
        this writes to hardly a page: it goes through no other code.
        """
        sockets = self._poller.sockets
        for said in range(most):
            if wait_for(sockets, period_ms):
                return said
            say()
        return most

    def empty(self) -> bool:
        """Say whether nothing that another thread put waits; what waits in sockets is not ours to lose."""
        return not self._others


class RoomActor(pykka.Actor):
    """Runs one room: drains its sockets, hears, commits all records in one transaction, then acknowledges and sends.

    It never restarts anything and swallows nothing: an exception ends the process, and root hears of that.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - the shell is made of these, once
        self,
        room: Room,
        wiring: Wiring,
        store: Store | None,
        bus: Bus,
        codec: Codec,
        clock: Clock,
        log: Log,
        beacon: Beacon,
    ) -> None:
        """Take everything by argument; sockets open in ``on_start``."""
        super().__init__()
        self._inbox = cast("SocketInbox", self.actor_inbox)
        self._room, self._wiring, self._store = room, wiring, store
        self._bus, self._codec, self._clock, self._log = bus, codec, clock, log
        self._shell_hears = frozenset({ROOT, wiring.conductor})
        self._handlers: dict[Any, Callable[[Effects], None]] = {}
        self._spokes: dict[str, Spoke] = {}
        self._subscribers: dict[str, Subscriber] = {}
        self._hub: Hub | None = None
        self._publisher: Publisher | None = None
        self._foreign: Foreign | None = None
        self._doors: ControlDoors | None = None
        self._timers: dict[str, int] = {}
        self._held: list[Post] = []
        self._turn: Turn | None = None
        self._turn_sent = 0
        self._answer: Settled | None = None
        self._turns = self._handled = self._refused = 0
        self._rested = self._rested_since = self._stills = 0
        self._has_rested = False
        self._due_ns = {"progress": 0, "announce": 0, "again": 0}
        self._beacon, self._measure, self._stuck = beacon, Turns(DRAIN_MAX), Stuck()
        self._peers_version: int | None = None
        self._is_stopping = False
        self.failure: BaseException | None = None
        #: Called once READY has been said.
        self.when_ready: Callable[[], object] = lambda: None
        #: Called with the time once nothing has been heard for some seconds. It says when it wants to be called again,
        #: 0 for not before something has been heard; until then a room that only hears others dozes.
        self.at_rest: Callable[[int], int] = lambda now_ns: now_ns
        #: Called as each turn begins; None costs nothing.
        self.before_turn: Callable[[], object] | None = None

    # --- pykka's hooks ------------------------------------------------------------------------

    @override
    @staticmethod
    def _create_actor_inbox() -> Any:
        return SocketInbox()

    @override
    @staticmethod
    def _create_future() -> Any:
        return ThreadingFuture()

    @override
    def _start_actor_loop(self) -> None:
        self._actor_loop()

    @override
    def _handle_failure(self, exception_type: Any, exception_value: Any, traceback: Any) -> None:
        self.failure = self.failure or exception_value
        super()._handle_failure(exception_type, exception_value, traceback)

    @override
    def on_start(self) -> None:
        inbox = self._inbox
        inbox.next_timer = self._next_timer_ms
        inbox.wake_on_signals()
        signal.signal(signal.SIGTERM, self._on_signal)
        self._open_sockets(inbox)
        self._room.take_waker(inbox.wake)
        effects = self._room.recover()
        if self._publisher is not None:
            self._publisher.start(*self._room.stream_heads())
        self._carry_out(effects)
        self._spokes[ROOT].post(self._codec.encode(Ready()), is_sure=True)
        self._spokes[ROOT].wait_connected(CONNECT_MS_MAX)  # or who hangs at its first word was never READY
        self._log.info("ready")
        self.when_ready()

    @override
    def on_receive(self, message: Any) -> None:
        if not message and self._says_still():
            return
        if self.before_turn is not None:
            self.before_turn()
        began_ns, before = self._clock.monotonic_ns(), self._taken()
        self._measure.begin(began_ns)
        self._beacon.turn(began_ns, self._turns)
        effects = Effects()
        for source in message:
            handler = self._handlers.get(source)
            if handler is not None:
                handler(effects)
        self._hear_timers(effects)
        if self._inbox.was_woken():
            self._beacon.word("awake")
            effects.add(self._room.awake())
        if self._doors is not None:
            self._doors.tend(effects)
        is_last = self._is_stopping  # a signal that comes from here on makes the next turn the last one
        if is_last:
            effects.add(self._room.stopping())
        self._carry_out(effects)
        self._settle()
        self._measure.end(self._clock.monotonic_ns(), self._taken() - before, self._beacon.last)
        self._report_progress()
        self._beacon.turn(0, self._turns)
        if is_last:
            self._log.info("stopped in good order")
            self._stop()

    @override
    def on_stop(self) -> None:
        # pykka takes SystemExit and KeyboardInterrupt for a wish to stop; from a room they are a fall like any other.
        self.failure = self.failure or sys.exception()
        if self._store is not None:
            self._store.close()

    def wake(self) -> None:
        """End the wait for what comes next, from any thread."""
        self._inbox.wake()

    def close_inbox(self) -> None:
        """Close what wakes the loop; only for whoever lives on without one."""
        self._inbox.close()

    # --- sockets ------------------------------------------------------------------------------

    def _open_sockets(self, inbox: SocketInbox) -> None:
        wiring = self._wiring
        # In this order a turn hears what is ready: what was published first, for whoever heard it too may already want
        # something of us on account of it.
        for peer, topics in wiring.streams:
            subscriber = self._subscribers[peer] = self._bus.subscriber(peer, topics)
            self._attach(inbox, subscriber.socket, self._stream_handler(peer, subscriber))
        if wiring.has_hub:
            self._hub = self._bus.hub(wiring.hub_share)
            self._attach(inbox, self._hub.socket, self._hear_hub)
        if wiring.has_stream:
            self._publisher = self._bus.publisher()
            publisher = self._publisher
            self._attach(inbox, publisher.socket, lambda _effects: publisher.subscriptions())
        for peer in (ROOT, *wiring.spokes):
            self._connect(peer)
        if wiring.foreign_url:
            foreign = self._foreign = self._bus.foreign(wiring.foreign_url, wiring.foreign_prefixes)
            self._attach(inbox, foreign.socket, lambda effects: self._hear_foreign(foreign, effects))
            self._attach(inbox, foreign.monitor, lambda _effects: foreign.watch())
        if wiring.has_control:
            secret = Path(wiring.guarded_secret_file)
            guarded = Wanted(wiring.guarded_listen, secret) if wiring.guarded_listen else None
            self._doors = ControlDoors(self._bus, guarded, self._room, self._clock, inbox)
            for socket, handler in self._doors.handlers():
                self._attach(inbox, socket, handler)

    def _attach(self, inbox: SocketInbox, socket: Socket[bytes], handler: Callable[[Effects], None]) -> None:
        inbox.register(socket)
        self._handlers[socket] = handler

    def _connect(self, peer: str) -> Spoke:
        spoke = self._spokes[peer] = self._bus.spoke(peer)
        self._attach(self._inbox, spoke.socket, self._spoke_handler(spoke))
        return spoke

    def _spoke_to(self, peer: str) -> Spoke | None:
        """Give the link on which we speak to a hub, from now on where it is one on demand; None where it has ours."""
        spoke = self._spokes.get(peer)
        return self._connect(peer) if spoke is None and peer in self._wiring.on_demand else spoke

    def _hear_hub(self, effects: Effects) -> None:
        assert self._hub is not None, "the handler of a hub that is not there"
        for said in self._hub.frames():
            self._hear(said.peer, said.epoch, said.bodies, effects)

    def _spoke_handler(self, spoke: Spoke) -> Callable[[Effects], None]:
        def handle(effects: Effects) -> None:
            for heard in spoke.receive():
                self._hear(heard.peer, heard.epoch, (heard.body,), effects)
            if spoke.connected() and spoke.peer != ROOT:
                effects.add(self._room.connected(spoke.peer))

        return handle

    def _stream_handler(self, peer: str, subscriber: Subscriber) -> Callable[[Effects], None]:
        def handle(effects: Effects) -> None:
            until_ns = self._clock.monotonic_ns() + HEARING_NS
            for item in subscriber.receive():
                self._handled += 1
                word = None if item.body is None else self._codec.decode(item.body)
                self._beacon.word("head" if word is None else type(word))
                effects.add(self._room.hear_stream(peer, item, word))
                if not item.has_memory and self._clock.monotonic_ns() >= until_ns:
                    return  # it came alone in its frame, so the next one waits in the socket

        return handle

    def _hear_foreign(self, foreign: Foreign, effects: Effects) -> None:
        self._beacon.word("foreign")
        for frames in drain(foreign.socket):
            self._handled += 1
            effects.add(self._room.hear_foreign(frames))

    # --- hearing ------------------------------------------------------------------------------

    def _hear(self, peer: str, epoch: int, bodies: Sequence[bytes], effects: Effects) -> None:
        self._handled += len(bodies)
        words, decode = list[Any](), self._codec.decode
        for body in bodies:
            try:
                words.append(decode(body))
            except WireError as error:
                self._refused += 1
                self._log.warning("wire.refused", peer=peer, reason=str(error))
        if peer in self._shell_hears:
            self._hear_some_itself(peer, epoch, words, effects)
            return
        for kind, alike in groupby(words, type):
            self._beacon.word(kind)
            effects.add(self._room.hear_many(peer, epoch, tuple(alike)))

    def _hear_some_itself(self, peer: str, epoch: int, words: Iterable[Any], effects: Effects) -> None:
        """Hear what may be meant for the shell; what is not, is for the room."""
        for word in words:
            self._beacon.word(type(word))
            if not self._hear_itself(peer, word, effects):
                effects.add(self._room.hear(peer, epoch, word))

    def _hear_itself(self, peer: str, word: Any, effects: Effects) -> bool:
        """Hear what is meant for the shell, and say whether it was."""
        if peer == ROOT and isinstance(word, StopAsked):
            self._is_stopping = True
        elif peer == ROOT and isinstance(word, PeersChanged):
            self._hear_peers(word, effects)
        elif peer == ROOT and isinstance(word, Reconfigured):
            if word.epoch == self._bus.me.epoch:  # one that was meant for a forerunner is older than our own arguments
                effects.add(self._room.reconfigured(word.arguments))
        elif peer == self._wiring.conductor and isinstance(word, Turn):
            self._begin(word, effects)
        else:
            return False
        return True

    def _hear_peers(self, word: PeersChanged, effects: Effects) -> None:
        """Pass on the whole table, then each difference; what was meant for an incarnation before is no news."""
        if self._hub is not None:
            for peer in word.peers:
                self._hub.fence(peer.path, peer.epoch)
        if word.is_whole:
            self._peers_version = word.version
        elif self._peers_version is None:
            return
        else:
            assert word.version == self._peers_version + 1, "a difference without the one before it"
            self._peers_version = word.version
        effects.add(self._room.peers(word.peers))

    def _begin(self, turn: Turn, effects: Effects) -> None:
        """Open the gate for this turn, unless it is an old one, the open one, or one already answered."""
        key, answer, current = (turn.step, turn.phase), self._answer, self._turn
        if answer is not None and key <= (answer.step, answer.phase):
            self._reopen(turn, effects) if key < (answer.step, answer.phase) else self._say_settled(answer)
            return
        if current is not None and key <= (current.step, current.phase):
            return
        self._reopen(turn, effects)

    def _reopen(self, turn: Turn, effects: Effects) -> None:
        self._turn, self._turn_sent, self._answer = turn, 0, None
        effects.posts[:0] = self._held
        self._held = []
        effects.add(self._room.begin(turn, self._codec.decode(turn.payload) if turn.payload else None))

    def _hear_timers(self, effects: Effects) -> None:
        if not self._timers:
            return
        now_ns = self._clock.monotonic_ns()
        for name in [name for name, at_ns in self._timers.items() if at_ns <= now_ns]:
            del self._timers[name]
            self._beacon.word("timer")
            effects.add(self._room.timer(name))

    # --- carrying out -------------------------------------------------------------------------

    def _carry_out(self, effects: Effects) -> None:
        if effects.writes:
            assert self._store is not None, "a room without a store wants to keep something"
            self._store.commit(effects.writes, is_durable=effects.is_durable)
        if self._hub is not None:
            self._hub.acknowledge()
        for spoke in self._spokes.values():
            spoke.acknowledge()
        if effects.posts:
            self._send(effects.posts)
        if effects.published:
            assert self._publisher is not None, "a room without a stream wants to publish"
            encode = self._codec.encode
            self._publisher.publish_all(
                [
                    (said.topic, said.sequence, said.previous, said.body or encode(said.word))
                    for said in effects.published
                ]
            )
        for name, at_ns in effects.timers:
            if at_ns:
                self._timers[name] = at_ns
            else:
                self._timers.pop(name, None)
        self._listen(effects)
        for address, data in effects.answers:
            assert self._doors is not None, "a room without a control socket wants to answer"
            self._doors.answer(address, data)

    def _listen(self, effects: Effects) -> None:
        for peer, topics in effects.listens:
            listener = self._subscribers[peer] if peer else self._foreign
            assert listener is not None, "a room without a foreign publisher wants to listen to one"
            listener.follow(topics)

    def _send(self, posts: Sequence[Post]) -> None:
        """Send what may leave now: to each peer in order, and what must arrive in as few frames as that takes."""
        is_shut = bool(self._wiring.conductor) and self._turn is None
        waiting, gated = dict[str, list[msgspec.Struct]](), 0
        for post in posts:
            if post.is_gated:
                if is_shut:
                    self._held.append(post)
                    continue
                gated += 1
            peer = post.peer
            if post.is_sure:
                before = waiting.get(peer)
                if before is None:
                    before = waiting[peer] = []
                before.append(post.word)
                continue
            self._send_sure(peer, waiting.pop(peer, ()))
            spoke, body = self._spoke_to(peer), self._codec.encode(post.word)
            if spoke is not None:
                spoke.post(body, is_sure=False)
            else:
                self._hub_to(peer).post(peer, body, is_sure=False)
        self._turn_sent += gated
        for peer, words in waiting.items():
            self._send_sure(peer, words)

    def _send_sure(self, peer: str, words: Sequence[msgspec.Struct]) -> None:
        spoke, bodies = self._spoke_to(peer), self._codec.encode_all(words)
        if len(bodies) == 1:
            if spoke is not None:
                spoke.post(bodies[0], is_sure=True)
            else:
                self._hub_to(peer).post(peer, bodies[0], is_sure=True)
        elif bodies:
            if spoke is not None:
                spoke.post_all(bodies)
            else:
                self._hub_to(peer).post_all(peer, bodies)

    def _hub_to(self, peer: str) -> Hub:
        assert self._hub is not None, f"no link leads to {peer}"
        return self._hub

    def _settle(self) -> None:
        """Say Settled once the room has nothing left to do in this phase and all its posts are acknowledged."""
        if self._turn is None or (self._hub is not None and self._hub.waiting()):
            return
        if any(spoke.waiting() for peer, spoke in self._spokes.items() if peer != ROOT):
            return
        facts = self._room.settle(self._turn)
        if facts is None:
            return
        self._answer = Settled(self._turn.step, self._turn.phase, self._turn_sent, facts)
        self._turn = None
        self._say_settled(self._answer)

    def _say_settled(self, answer: Settled) -> None:
        self._spokes[self._wiring.conductor].post(self._codec.encode(answer), is_sure=False)

    def _report_progress(self) -> None:
        self._turns += 1
        now_ns, due_ns = self._clock.monotonic_ns(), self._due_ns
        if now_ns >= due_ns["announce"] and self._publisher is not None:
            due_ns["announce"] = now_ns + ANNOUNCE_NS
            self._publisher.announce()
        if now_ns >= due_ns["again"]:
            due_ns["again"] = now_ns + AGAIN_NS
            self._send_again()
            if self._foreign is not None and self._foreign.mend():
                self._log.warning("foreign.broke", url=self._wiring.foreign_url)
                self._carry_out(self._room.foreign_broke())
        if now_ns >= due_ns["progress"]:
            due_ns["progress"] = now_ns + PROGRESS_NS
            me = self._bus.me
            facts: dict[str, object] = {**self._room.facts(), "refused_words": self._refused}
            if self._hub is not None:
                facts["refused_frames"] = self._hub.refused  # of outdated incarnations, or of no form of ours
            measured = self._measure.report(now_ns)
            report = Progress(
                me.path,
                me.epoch,
                self._turns,
                self._taken(),
                self._waiting(),
                facts,
                *measured,
                self._beacon.last,
                self._stuck.look(self._oldest(), now_ns),
                self._clock.process_ns(),
            )
            body = self._codec.encode(report)
            if not self._beacon.say(body, now_ns):
                short = msgspec.structs.replace(report, facts={"too_large": f"{len(body)} bytes to say of itself"})
                self._beacon.say(self._codec.encode(short), now_ns)
            self._note_rest(now_ns)

    def _note_rest(self, now_ns: int) -> None:
        """Count reports in a row between which nothing was heard; that such a one holds may be said again."""
        is_resting = self._taken() == self._rested_since
        self._rested, self._rested_since = self._rested + 1 if is_resting else 0, self._taken()
        is_plain = self._hub is None and self._publisher is None and self._doors is None
        self._stills = STILLS if is_resting and is_plain and not self._waiting() else 0
        if is_plain:
            self._has_rested = False  # this very report went through much code
        self._rest(now_ns)

    def _rest(self, now_ns: int) -> int:
        """Do what is done at rest, and say until when nothing is to do."""
        if self._rested < RESTED:
            self._has_rested = False
            return now_ns
        again_ns = 0 if self._has_rested else self.at_rest(now_ns)
        self._has_rested = not again_ns
        return again_ns or now_ns + STILLS * PROGRESS_NS

    def _says_still(self) -> bool:
        """Say that the last report holds where nothing has happened since, and whether that was all there was to do.

        A thousand processes at rest do little else. What they do not do costs no time, and writes to no page.
        """
        now_ns, due_ns = self._clock.monotonic_ns(), self._due_ns
        if not self._stills or self._is_stopping or now_ns < due_ns["progress"]:
            return False
        timer_ns = min(self._timers.values(), default=now_ns + STILLS * PROGRESS_NS)
        if self._taken() != self._rested_since or timer_ns <= now_ns:
            return False
        self._say_still()
        self._count_stills(1)
        periods = (min(timer_ns, self._rest(now_ns)) - now_ns) // PROGRESS_NS
        self._count_stills(self._inbox.doze(self._say_still, PROGRESS_NS // NS_PER_MS, min(self._stills, periods)))
        due_ns["progress"] = self._clock.monotonic_ns() + PROGRESS_NS
        return True

    def _say_still(self) -> None:
        self._beacon.say_again(self._clock.monotonic_ns())

    def _count_stills(self, number: int) -> None:
        self._stills -= number
        self._rested += number

    def _send_again(self) -> None:
        if self._hub is not None:
            self._hub.send_again()
        for spoke in self._spokes.values():
            spoke.send_again()

    def _waiting(self) -> int:
        return (self._hub.waiting() if self._hub else 0) + sum(spoke.waiting() for spoke in self._spokes.values())

    def _taken(self) -> int:
        return self._handled if self._doors is None else self._handled + self._doors.heard

    def _oldest(self) -> dict[str, int]:
        spokes = {peer: spoke.oldest() for peer, spoke in self._spokes.items() if spoke.waiting()}
        return spokes | (self._hub.oldest() if self._hub is not None else {})

    def _next_timer_ms(self) -> int:
        now_ns = self._clock.monotonic_ns()
        at_ns = min(self._timers.values(), default=now_ns + PROGRESS_NS)
        at_ns = min(at_ns, self._due_ns["progress"])
        if self._publisher is not None and self._publisher.has_news:
            at_ns = min(at_ns, self._due_ns["announce"])
        if self._doors is not None:
            at_ns = min(at_ns, self._doors.next_ns())
        return max(0, -(-(at_ns - now_ns) // NS_PER_MS))

    def _on_signal(self, _number: int, _frame: object) -> None:
        self._is_stopping = True
