"""The simulated machine: time, chance, processes under the real supervision, links between them, and their falls."""

import hashlib
import heapq
import importlib
import random
import signal
import traceback
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import msgspec
from typing_extensions import override

from actors.simulation.clock import VirtualClock
from actors.simulation.faults import Faults, Trouble
from actors.simulation.kill_points import points
from actors.simulation.link import Frame, Out, Way
from actors.simulation.memory import MemoryDisk, MemoryStore
from actors.simulation.shell import Heard, KilledError, Shell
from actors.strategy import EntryChangedError
from runtime.child import Context, Made
from runtime.clock import NS_PER_MS, NS_PER_S
from runtime.codec import Codec
from runtime.errors import StoreError
from runtime.log import Log
from runtime.restart import Exit, ExitKind
from runtime.spec import NodeSpec
from runtime.supervision import Supervision
from runtime.supervision_rows import peer_of
from runtime.supervision_words import (
    Action,
    AllStopped,
    AskStop,
    EpochChanged,
    GiveUp,
    PeersChanged,
    Quarantined,
    Reconfigure,
    Released,
    Report,
    Signal,
    Spawn,
)
from runtime.words import REMOVED, Reconfigured, RestartWanted, StopAsked
from runtime.words import PeersChanged as PeersWord

Maker = Callable[[Context, bytes], Made]
STATE = Path("/simulated")
DELAY_NS_MAX = 3 * NS_PER_S
HANG_NS_MAX = 12 * NS_PER_S
#: Characters of a word that the timeline shows.
SHOWN_MAX = 220
#: More events than this without any passing of time are a circle.
EVENTS_AT_ONCE_MAX = 50_000


class QuietLog(Log):
    """A log that goes into the timeline, or nowhere."""

    def __init__(self, path: str, world: "World") -> None:  # pyright: ignore[reportMissingSuperCall] - no file
        """Speak for the process at ``path``."""
        self._path, self._world = path, world

    def _told(self, event: str, **fields: Any) -> None:
        """Write an entry of the log into the timeline, where one is kept."""
        if self._world.is_told:
            text = " ".join(f"{key}={value}" for key, value in fields.items())
            self._world.tell(self._path, f"log {event} {text}")

    debug = info = warning = error = _told

    @override
    def trace(self, event: str, error: BaseException, **fields: Any) -> None:
        self._told(event, **fields, failure=error)


class World:
    """Everything that is not a room. What happens in it follows from the tree, the faults and the seed alone."""

    def __init__(  # noqa: PLR0913 - a world is made of these, once
        self,
        tree: NodeSpec,
        faults: Faults,
        *,
        seed: int,
        wall_ns: int,
        makers: Mapping[str, Maker] | None = None,
        only: Collection[int] | None = None,
        is_told: bool = False,
    ) -> None:
        """Lay the machine out; nothing runs before ``start``.

        Args:
            tree: The desk, as root would start it.
            faults: How often what goes wrong.
            seed: All chance follows from it.
            wall_ns: The wall time at the beginning.
            makers: What makes a process, by its entry; others are made as on a real machine.
            only: The numbers of the faults that happen; None for all that are drawn.
            is_told: Keep a timeline for people.
        """
        self.clock = VirtualClock(wall_ns)
        self.chance = random.Random(seed)  # noqa: S311 - the seed is to give the same again
        self._random = self.chance.random
        later = random.Random(f"{seed} later")  # noqa: S311 - likewise
        self.trouble = Trouble(faults, random.Random(seed ^ 0x5EED), only, later)  # noqa: S311 - likewise
        self.disk = MemoryDisk(may_lose_power="power" in self.trouble.rates)
        self.is_told = is_told
        self.timeline: list[str] = []
        self.violations: list[str] = []
        self.kill_points: Counter[str] = Counter()
        self.paths: dict[str, Shell | None] = {}
        self.quarantined: dict[str, str] = {}
        self.epochs: dict[str, int] = {}
        self.desired: dict[str, bool] = {}
        self.on_commit: Callable[[Shell, Heard], None] = lambda _shell, _heard: None
        self.tree = tree
        #: Rooms that have no use for how the others are.
        self.deaf: frozenset[str] = frozenset()
        self._makers = dict(makers or {})
        #: What will happen: when, which of those of one time first, and what. Mostly something arrives at a process:
        #: frames, and how often its link had been cut as they left.
        self._heap: list[tuple[int, int, Callable[[], object] | tuple[Shell, list[Frame], int]]] = []
        self._number = 0
        self._cuts: Counter[tuple[str, str]] = Counter()
        #: What makes this run this run, in its order: times with what happened, or with what came from where to whom.
        self._seen: list[tuple[int | str, ...]] = []
        self._granted: dict[str, bytes] = {}
        self._peers_version = 0
        self._informed: dict[str, Shell] = {}
        self._is_news = False
        self.life = 0
        self.is_up = False
        self._timer_ns = 0
        self._payload: tuple[bytes, Any] = (b"", None)

    # --- time ---------------------------------------------------------------------------------

    def at(self, at_ns: int, do: Callable[[], object]) -> None:
        """Let something happen at a monotonic time."""
        self._number += 1
        heapq.heappush(self._heap, (at_ns, self._number, do))

    def later(self, in_ns: int, do: Callable[[], object]) -> None:
        """Let something happen so many ns from now."""
        self._number += 1
        heapq.heappush(self._heap, (self.clock.now_ns + in_ns, self._number, do))

    def draw_ns(self, least_ns: int, most_ns: int) -> int:
        """Draw a span in [least, most)."""
        return least_ns + int(self.chance.random() * (most_ns - least_ns))

    def run(self, until_ns: int) -> None:  # noqa: C901 - the one loop that everything passes through; each call counts
        """Let everything happen that is due until then, or until a promise is broken."""
        heap, clock, violations = self._heap, self.clock, self.violations
        now_ns, at_once, pop = clock.now_ns, 0, heapq.heappop
        while heap:
            entry = pop(heap)
            at_ns, _, what = entry
            if at_ns > now_ns:
                if at_ns > until_ns:
                    heapq.heappush(heap, entry)
                    break
                now_ns, at_once = at_ns, 0
                clock.now_ns = at_ns
            else:
                at_once += 1
                if at_once > EVENTS_AT_ONCE_MAX:
                    break
            if isinstance(what, tuple):
                target, frames, cuts = what
                if target.is_alive and not (self._cuts and self._is_cut(target, frames, cuts)):
                    self._seen.append((at_ns, frames[0].sender, target.path))
                    if self.is_told:
                        self._tell_frames(target, frames)
                    target.arrive(frames)
            else:
                what()
            if violations:
                break
        if at_once > EVENTS_AT_ONCE_MAX:
            self.violate(f"{at_once} events in one moment: the desk runs in a circle")
        if not self.violations:
            clock.now_ns = max(clock.now_ns, until_ns)

    @property
    def events(self) -> int:
        """How much has happened so far."""
        return self._number - len(self._heap)

    def payload(self, codec: Codec, data: bytes) -> Any:
        """Give what is in the payload of a turn; nobody changes a word, and one event goes to many in one step."""
        if data != self._payload[0]:
            self._payload = data, codec.decode(data)
        return self._payload[1]

    # --- what is told -------------------------------------------------------------------------

    def tell(self, who: str, what: str) -> None:
        """Write a line of the timeline."""
        if self.is_told:
            self.timeline.append(f"{(self.clock.now_ns - 1_000 * NS_PER_S) / NS_PER_S:12.6f}  {who:<22} {what}")

    def note(self, what: str) -> None:
        """Let something be part of what makes this run this run."""
        self._seen.append((self.clock.now_ns, what))

    def violate(self, what: str) -> None:
        """Note that a promise was broken."""
        if what not in self.violations:
            self.violations.append(what)
            self.tell("VIOLATION", what)

    def trace_hash(self) -> str:
        """Name this run: all that happened in it, and all that lies on its disk, in 16 hex digits."""
        digest = hashlib.blake2b(msgspec.msgpack.encode(self._seen), digest_size=8)
        for path in sorted(self.disk.stores):
            digest.update(str(path).encode() + self.disk.stores[path].fingerprint())
        return digest.hexdigest()

    def let_go(self) -> None:
        """Be over: what knew of each other does no more, so that it goes with its last reference."""
        for shell in self.paths.values():
            if shell is not None:
                vars(shell).clear()
        vars(self).clear()

    def standing(self, path: str) -> Shell | None:
        """Give a process that has been born and lives; None where there is none just now."""
        shell = self.paths.get(path)
        return shell if shell is not None and shell.is_up and shell.is_alive else None

    def store(self, name: str) -> MemoryStore | None:
        """Give the store of that name below the state folder; None where there is none yet."""
        return self.disk.stores.get(STATE / name)

    def state_of(self, path: str) -> str:
        """Say how root sees a process, REMOVED where it does not know it."""
        rows = self.supervision.tree(self.clock.now_ns) if self.is_up else []
        return next((row.state.value for row in rows if row.path == path and row.kind != "node"), REMOVED)

    # --- the desk -----------------------------------------------------------------------------

    def start(self) -> None:
        """Start the desk as root would: the tree from the left to the right."""
        self.life += 1
        self.is_up = True
        self.supervision = Supervision(
            self.tree,
            self.chance.uniform,
            desired=self.desired,
            quarantined=tuple(self.quarantined),
            epochs=self.epochs,
        )
        self._peers_version, self._is_news = 0, False
        self._informed = {}
        self.paths = {row.path: None for row in self.supervision.tree(self.clock.now_ns) if row.kind != "node"}
        self.do(self.supervision.start(self.clock.now_ns))

    def do(self, actions: list[Action]) -> None:  # noqa: C901, PLR0912 - one case an action
        """Carry out what supervision says."""
        for action in actions:
            match action:
                case Spawn():
                    self._tell_peers()
                    self._spawn(action)
                case EpochChanged():
                    self.epochs[action.path] = action.epoch
                case AskStop():
                    self._to_child(action.path, action.epoch, StopAsked())
                case Signal():
                    if action.number == signal.SIGKILL:
                        shell = self.paths.get(action.path)
                        if shell is not None and shell.epoch == action.epoch:
                            self.ended(shell, Exit(ExitKind.SIGNAL, "killed by root"))
                case Reconfigure():
                    self._to_child(action.path, action.epoch, Reconfigured(action.arguments, action.epoch))
                case Quarantined():
                    self.quarantined[action.path] = action.reason
                    self.tell(action.path, f"quarantined: {action.reason}")
                case Released():
                    self.quarantined.pop(action.path, None)
                case PeersChanged():
                    self._is_news = True
                case GiveUp():
                    self.violate(f"root gave up: {action.reason}")
                case Report() | AllStopped():
                    pass
        self._tell_peers()
        self._set_root_timer()

    def _set_root_timer(self) -> None:
        at_ns = self.supervision.next_timer_ns()
        if at_ns is not None and (at_ns < self._timer_ns or self._timer_ns <= self.clock.now_ns):
            self._timer_ns = at_ns
            life = self.life
            self.at(at_ns, lambda: self._root_timer(life))

    def _root_timer(self, life: int) -> None:
        if life == self.life:
            self.do(self.supervision.on_timer(self.clock.now_ns))

    def _spawn(self, action: Spawn) -> None:
        shell = Shell(self, action.path, action.epoch, action.spec.kind)
        self.paths[action.path] = shell
        self.tell(action.path, f"is born as incarnation {action.epoch}")
        self.later(
            self.draw_ns(2 * NS_PER_MS, 20 * NS_PER_MS), lambda: self.guarded(shell, lambda: self._birth(shell, action))
        )

    def _birth(self, shell: Shell, action: Spawn) -> None:
        if not shell.is_alive:
            return
        spec = action.spec
        context = Context(shell.path, shell.epoch, self.clock, STATE, QuietLog(shell.path, self), self.disk)
        maker = self._makers.get(spec.entry) or _maker(spec.entry)
        shell.may_die("birth")
        shell.be_born(maker, context, spec.arguments)
        shell.may_die("ready")
        self.note(f"{shell.path} {shell.epoch} ready")
        life = self.life
        self.later(self.draw_ns(50_000, 500_000), lambda: self._ready(shell, life))
        for peer in shell.wiring.spokes:
            self.connect_soon(shell, peer)
        for other in self.paths.values():
            if other is not None and other.is_up and other is not shell:
                if shell.path in other.spokes:
                    self.connect_soon(other, shell.path)
                self._listen_soon(other, shell.path)
        for peer, _ in shell.wiring.streams:
            self._listen_soon(shell, peer)

    def _ready(self, shell: Shell, life: int) -> None:
        if not shell.is_alive or life != self.life:
            return
        self.do(self.supervision.on_ready(shell.path, shell.epoch, self.clock.now_ns))
        if shell.kind == "room" and shell.path not in self.deaf:
            self._informed[shell.path] = shell
            self._to_shell(shell, PeersWord(self._peers_version, self.supervision.peers()))

    def _tell_peers(self) -> None:
        if not self._is_news:
            return
        self._is_news = False
        changes = self.supervision.take_changes()
        self._peers_version += 1
        word = PeersWord(
            self._peers_version, tuple(peer_of(one.path, one.epoch, one.state) for one in changes), is_whole=False
        )
        for shell in self._informed.values():
            if shell.is_alive:
                self._to_shell(shell, word)

    def _to_child(self, path: str, epoch: int, word: Any) -> None:
        shell = self.paths.get(path)
        if shell is not None and shell.is_alive and shell.epoch == epoch:
            if isinstance(word, StopAsked) and not shell.is_up:
                self.ended(shell, Exit(ExitKind.NORMAL, "it was not born yet"))
                return
            self._to_shell(shell, word)

    def _to_shell(self, shell: Shell, word: Any) -> None:
        self._arrive(shell, shell.told_way, [Frame("root", 0, word)])

    # --- falls --------------------------------------------------------------------------------

    def guarded(self, shell: Shell, do: Callable[[], object]) -> None:
        """Let a process do something; what it raises ends it, and it alone."""
        if not shell.is_alive:
            return
        try:
            do()
        except KilledError as killed:
            self.killed(shell, killed.place)
        except StoreError as error:
            self.ended(shell, Exit(ExitKind.ABNORMAL, str(error)))
        except EntryChangedError as error:
            self.ended(shell, Exit(ExitKind.ABNORMAL, str(error)))
        except Exception as error:  # noqa: BLE001 - whatever a room raises of itself breaks a promise
            frames = "".join(traceback.format_exception(error)[-4:])
            self.violate(f"{shell.path} raised {type(error).__name__}: {error}\n{frames}")
            self.ended(shell, Exit(ExitKind.ABNORMAL, repr(error)))

    def killed(self, shell: Shell, place: str) -> None:
        """Kill a process where it stands."""
        self.kill_points.update(points(shell, place))
        self.tell(shell.path, f"killed at '{place}'")
        shell.leave()
        self.ended(shell, Exit(ExitKind.SIGNAL, "kill -9"))

    def ended(self, shell: Shell, ended: Exit) -> None:
        """Let a process be gone; root hears of it a moment later."""
        if not shell.is_alive:
            return
        shell.die()
        self.note(f"{shell.path} {shell.epoch} {ended.kind.value}")
        self.tell(shell.path, f"ended: {ended.text}")
        for other in shell.links.values():
            other.links.pop(shell.path, None)
        for other in self.paths.values():
            if other is not None:
                other.unlistened(shell.path)
        if self._informed.get(shell.path) is shell:
            del self._informed[shell.path]
        life = self.life
        self.later(self.draw_ns(100_000, 2 * NS_PER_MS), lambda: self._reaped(shell, ended, life))

    def _reaped(self, shell: Shell, ended: Exit, life: int) -> None:
        if life == self.life:
            self.do(self.supervision.on_exit(shell.path, shell.epoch, ended, self.clock.now_ns))

    def freeze(self, shell: Shell) -> None:
        """Let a process do nothing for a while; root kills it once it has been silent for too long."""
        shell.is_frozen = True
        for_ns = self.draw_ns(50 * NS_PER_MS, HANG_NS_MAX)
        self.tell(shell.path, f"hangs for {for_ns / NS_PER_S:.3f} s")
        spec = self.supervision.spec(shell.path)
        silent_ns = spec.progress_timeout_ns if spec is not None else HANG_NS_MAX
        life = self.life
        if for_ns > silent_ns:
            self.later(silent_ns, lambda: self._hung(shell, life))
        self.later(for_ns, lambda: self._thaw(shell))

    def _hung(self, shell: Shell, life: int) -> None:
        if shell.is_alive and shell.is_frozen and life == self.life:
            self.do(self.supervision.on_hang(shell.path, shell.epoch, self.clock.now_ns, "no progress"))

    def _thaw(self, shell: Shell) -> None:
        if shell.is_alive and shell.is_frozen:
            shell.is_frozen = False
            self.tell(shell.path, "goes on")
            shell.wake()
            self.guarded(shell, shell.turn)

    def fall_whole(self, *, is_power: bool) -> None:
        """Let root die and all with it; with ``is_power`` the machine, and what never reached its disk."""
        self.kill_points["K24" if is_power else "K23"] += 1
        self.tell("root", "the machine loses power" if is_power else "root is killed, and all with it")
        self.life += 1
        self.is_up = False
        for shell in self.paths.values():
            if shell is not None and shell.is_alive:
                shell.die()
                shell.links.clear()
                shell.unlistened()
        self._informed = {}
        if is_power:
            for path in sorted(self.disk.stores):
                lost = self.disk.stores[path].lose_power(self.chance)
                if lost:
                    self.tell(str(path), f"{lost} commits had not reached the disk")
        self.paths = dict.fromkeys(self.paths)
        self.later(self.draw_ns(NS_PER_MS, 3 * NS_PER_S), self.start)

    def fill_disk(self, shell: Shell) -> None:
        """Let the next commits of a process fail."""
        self.kill_points["K25"] += 1
        store = shell.store
        assert isinstance(store, MemoryStore), "every simulated store is one in memory"
        store.full_for = self.chance.randrange(1, 4)
        self.tell(shell.path, f"its disk has no room for the next {store.full_for} commits")

    def fenced(self, shell: Shell, frame: Frame) -> None:
        """Hear that a process has refused to hear an outdated incarnation."""
        self.tell(shell.path, f"does not hear incarnation {frame.epoch} of {frame.sender} any more")

    def told_root(self, shell: Shell, word: Any) -> None:
        """Hear what a process wants of root."""
        if isinstance(word, RestartWanted):
            spec = self.supervision.spec(shell.path)
            arguments = spec.arguments if spec is not None else b""
            if self._granted.get(shell.path) != arguments:
                self._granted[shell.path] = arguments
                life = self.life
                self.later(100_000, lambda: self._restart(shell, life))

    def _restart(self, shell: Shell, life: int) -> None:
        if shell.is_alive and life == self.life:
            self.do(self.supervision.restart(shell.path, self.clock.now_ns))

    # --- links --------------------------------------------------------------------------------

    def connect_soon(self, spoke: Shell, hub_path: str) -> None:
        """Let a spoke come to its hub a little later, where that stands by then; if not, it does so at its birth."""
        self.later(self.draw_ns(100_000, 10 * NS_PER_MS), lambda: self._connect(spoke, hub_path))

    def _connect(self, spoke: Shell, hub_path: str) -> None:
        hub = self.standing(hub_path)
        if hub is None or not spoke.is_alive or spoke.links.get(hub_path) is hub:
            return
        if spoke.is_frozen:
            self.connect_soon(spoke, hub_path)
            return
        self.guarded(spoke, lambda: spoke.connected(hub))

    def _listen_soon(self, listener: Shell, publisher_path: str) -> None:
        topics = tuple(topic for peer, topics in listener.wiring.streams if peer == publisher_path for topic in topics)
        if topics:
            self.later(self.draw_ns(100_000, 10 * NS_PER_MS), lambda: self.follow(listener, publisher_path, topics))

    def follow(self, listener: Shell, publisher_path: str, topics: tuple[str, ...]) -> None:
        """Let a process listen to exactly these topics; the heads come as the confirmation."""
        publisher = self.standing(publisher_path)
        if publisher is None or not listener.is_alive:
            return
        publisher.listened(listener, topics)
        frames = [publisher.head(topic) for topic in topics]
        self._arrive(listener, publisher.stream_ways[listener.path], frames)

    def transmit(self, sender: Shell, out: Out) -> None:
        """Send frames over links and streams, each in its order; what has nobody at its other end is lost."""
        rates, extra_ns = self.trouble.rates, 0
        for way, frames in out.items():
            target = sender.listeners[way.peer][0] if way.is_stream else sender.links.get(way.peer)
            if target is None:
                continue
            if rates:
                if self._goes_under(sender, target, way, frames):
                    continue
                is_late = "delay" in rates and self.trouble.happens("delay")
                extra_ns = self.draw_ns(0, DELAY_NS_MAX) if is_late else 0
            self._arrive(target, way, frames, extra_ns)

    def _goes_under(self, sender: Shell, target: Shell, way: Way, frames: list[Frame]) -> bool:
        """Say whether frames are lost with their link, which breaks; and perhaps let them come twice."""
        if way.is_stream:
            return False
        trouble = self.trouble
        if "cut" in trouble.rates and trouble.happens("cut"):
            self._cut(sender, target)
            return True
        if "repeat" in trouble.rates and trouble.happens("repeat"):
            frames += frames
        return False

    def _arrive(self, target: Shell, way: Way, frames: list[Frame], extra_ns: int = 0) -> None:
        at_ns = self.clock.now_ns + 20_000 + int(self._random() * 80_000) + extra_ns
        if at_ns < way.last_ns:
            at_ns = way.last_ns  # what was sent before comes before
        else:
            way.last_ns = at_ns
        cuts = self._cuts[frames[0].sender, target.path] if self._cuts else 0
        self._number = number = self._number + 1
        heapq.heappush(self._heap, (at_ns, number, (target, frames, cuts)))

    def _is_cut(self, target: Shell, frames: list[Frame], cuts: int) -> bool:
        """Say whether a link was cut since these frames left."""
        return self._cuts[frames[0].sender, target.path] != cuts

    def _tell_frames(self, target: Shell, frames: list[Frame]) -> None:
        for frame in frames:
            if frame.word is not None:
                self.tell(f"{frame.sender}", f"-> {target.path}: {_short(frame.word)}")

    def _cut(self, one: Shell, other: Shell) -> None:
        """Break a link: what is under way is lost; it stands again after a while."""
        self._cuts[one.path, other.path] += 1
        self._cuts[other.path, one.path] += 1
        one.links.pop(other.path, None)
        other.links.pop(one.path, None)
        self.tell(one.path, f"its link to {other.path} breaks")
        spoke, hub = (one, other) if other.path in one.spokes else (other, one)
        self.later(self.draw_ns(5 * NS_PER_MS, 400 * NS_PER_MS), lambda: self._connect(spoke, hub.path))


_MADE: dict[str, Maker] = {}


def _maker(entry: str) -> Maker:
    found = _MADE.get(entry)
    if found is None:
        module, _, name = entry.partition(":")
        found = _MADE[entry] = getattr(importlib.import_module(module), name)
    return found


def _short(word: Any) -> str:
    text = repr(word)
    return text if len(text) <= SHOWN_MAX else f"{text[:SHOWN_MAX]}..."
