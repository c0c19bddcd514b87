"""One simulated process: a room, and around it what the real shell does, in virtual time.

In one turn it hears what has come, commits all records in one transaction, acknowledges, then sends and publishes. It
may die between any two of these. Links are those of ``runtime/link.py``; words pass as they are, without the wire.
"""

from collections.abc import Callable
from operator import attrgetter
from typing import TYPE_CHECKING, Any, cast

import msgspec

from actors.simulation.faults import NEVER
from actors.simulation.link import ITEM, PARCEL, RECEIPT, Frame, Out, Sides, Way, Ways
from actors.words import desk_codec
from desk.messages import OrderRejected, VenueSnapshot
from runtime.bus_words import StreamItem
from runtime.child import Context, Made
from runtime.effects import Effects, Post, Publish
from runtime.restart import Exit, ExitKind
from runtime.room import NOTHING
from runtime.words import PeersChanged, Reconfigured, Settled, StopAsked, Turn

if TYPE_CHECKING:
    from actors.simulation.world import World
    from runtime.store import Store

ROOT = "root"
#: The share of turns that begin a little later, so that more has come by then.
LATER_SHARE = 0.3
ANNOUNCE_NS = 100_000_000
AGAIN_NS = 1_000_000_000
#: Where an item of a stream is lost, by this share of the chances all that follows within a while is lost with it.
DEAF_SHARE, DEAF_NS_MAX = 0.25, 3_000_000_000
#: So long behind an item its topic's head is said, and said again. The real one says it more often.
SAID_AGAIN_NS = (ANNOUNCE_NS, 8 * ANNOUNCE_NS, 50 * ANNOUNCE_NS)


class KilledError(Exception):
    """This process dies here and now, as by kill -9."""

    def __init__(self, place: str) -> None:
        """Say where in its turn."""
        super().__init__(place)
        self.place = place


class Heard(msgspec.Struct):
    """What one turn is about, for whoever names the places of death."""

    words: list[Any]
    effects: Effects

    def add(self, effects: Effects) -> None:
        """Take over what a room wants, behind what it wanted before in this turn."""
        if self.effects is NOTHING:
            self.effects = effects
        elif effects is not NOTHING:
            self.effects.add(effects)


class Shell:
    """A process of the simulated desk, from its birth to its end."""

    def __init__(self, world: "World", path: str, epoch: int, kind: str) -> None:
        """Be nobody yet: ``be_born`` makes the room."""
        self.world, self.path, self.epoch, self.kind = world, path, epoch, kind
        self.is_alive, self.is_frozen = True, False
        self.is_up = False
        self.slow_ns = 0
        self.inbox: list[Frame] = []
        self.sides = Sides(path, epoch)
        self.unanswered: set[str] = set()
        self.links: dict[str, Shell] = {}
        self.spokes: set[str] = set()
        """The hubs to which it connects: those of its wiring, and those on demand to which it had something to say."""
        self.listeners: dict[str, tuple[Shell, tuple[str, ...]]] = {}
        #: Who listens to which topic, until somebody comes or goes.
        self._listening_to: dict[str, list[str]] = {}
        self.ways, self.stream_ways = Ways(), Ways(are_streams=True)
        self.told_way = Way(path)
        self.timers: dict[str, int] = {}
        self.store: Store | None = None
        self.heard = Heard([], NOTHING)
        self._out: Out = {}
        self._has_turn_to_come = False
        self._timer_at = 0
        self._rings_at = NEVER
        self._is_woken = False
        self._turn: Turn | None = None
        self._turn_sent = 0
        self._answer: Settled | None = None
        self._held: list[Post] = []
        self._is_stopping = False
        self._head = 0
        self._last: dict[str, int] = {}
        self._volatile: dict[str, int] = {}
        self._deaf_until: dict[str, int] = {}
        self._fresh: dict[str, list[int]] = {}
        """Of each topic with a new item: when its head is to be said, the next time first."""
        self._announces_at = NEVER
        self._is_repeating = False
        self._peers_version: int | None = None

    # --- life ---------------------------------------------------------------------------------

    def be_born(self, maker: Callable[[Context, bytes], Made], context: Context, arguments: bytes) -> None:
        """Make the room, let it recover, and carry out what that brings."""
        self.made = maker(context, arguments)
        self.room, self.wiring, self.store = self.made.room, self.made.wiring, self.made.store
        self.codec = self.made.codec
        self.spokes.update(self.wiring.spokes)
        self.room.take_waker(self._on_waker)
        heard = self.heard = Heard([], self.room.recover())
        self._head, last = self.room.stream_heads()
        self._last = dict(last)
        self._carry_out(heard)
        self.leave()
        self.is_up = True

    def die(self) -> None:
        """Be gone: nothing of it happens any more."""
        self.is_alive = False
        self.inbox.clear()
        self.timers.clear()
        self._rings_at = NEVER

    def may_die(self, place: str) -> None:
        """Die here, where the chance of the world wants it.

        Raises:
            KilledError: It does.
        """
        trouble = self.world.trouble
        if not trouble.kills:
            return
        trouble.kill_in -= 1
        if trouble.kill_in <= 0:
            trouble.draw_kill()
            if trouble.takes_place("kill"):
                raise KilledError(place)

    # --- hearing ------------------------------------------------------------------------------

    def arrive(self, frames: list[Frame]) -> None:
        """Take what has come; a turn follows, now or a little later. Receipts alone need none."""
        first = frames[0]
        if first.kind == RECEIPT and len(frames) == 1 and not self.inbox and self.is_up and not self.is_frozen:
            self._takes(first.sender, first)
            if self._turn is not None:
                self.world.guarded(self, self._settle)
                if self._out:
                    self.leave()
            return
        self.inbox += frames
        if not self._has_turn_to_come and self.is_up:
            self._wake()

    def wake(self) -> None:
        """Have a turn: at once, or as soon as a busy process comes to it."""
        if not self._has_turn_to_come and self.is_up:
            self._wake()

    def _wake(self) -> None:
        world = self.world
        luck = world.chance.random()
        if luck < LATER_SHARE or self.slow_ns:
            self._has_turn_to_come = True
            world.later(self.slow_ns or int(luck * 200_000), self._woken)
        else:
            world.guarded(self, self.turn)

    def _woken(self) -> None:
        self._has_turn_to_come = False
        if self.is_alive and self.is_up and not self.is_frozen:
            self.world.guarded(self, self.turn)

    def _on_waker(self) -> None:
        self._is_woken = True
        if self.is_alive:
            self.wake()

    def turn(self) -> None:
        """Hear, commit, acknowledge, send: once over.

        Raises:
            KilledError: It died on the way.
        """
        if self.is_frozen or not self.is_alive:
            return
        world, trouble = self.world, self.world.trouble
        if "hang" in trouble.rates and trouble.happens("hang"):
            world.freeze(self)
            return
        heard = self.heard = Heard([], NOTHING)
        if self.inbox:
            self._hear_all(heard)
        if self._rings_at <= world.clock.now_ns or self._is_woken or self._is_stopping:
            self._hear_itself(heard)
        if trouble.kills:
            self.may_die("heard")
        if heard.effects is not NOTHING or self.unanswered:
            self._carry_out(heard)
        if self._turn is not None:
            self._settle()
        if self._out:
            out, self._out = self._out, {}
            world.transmit(self, out)
        if self._is_stopping:
            world.ended(self, Exit(ExitKind.NORMAL, "stopped in good order"))

    def _hear_all(self, heard: Heard) -> None:
        inbox, self.inbox = self.inbox, []
        for frame in inbox:
            item = frame.item
            if item is None:
                self._hear(frame, heard)
            else:
                heard.words.append(frame.word)
                heard.add(self.room.hear_stream(frame.sender, item, frame.word))

    def _hear_itself(self, heard: Heard) -> None:
        """Hear what nobody has sent: timers, threads of the room's own, and that the end has come."""
        if self._rings_at <= self.world.clock.now_ns:
            self._ring(heard)
        if self._is_woken:
            self._is_woken = False
            heard.add(self.room.awake())
        if self._is_stopping:
            heard.add(self.room.stopping())

    def _ring(self, heard: Heard) -> None:
        now_ns = self.world.clock.now_ns
        for name in [name for name, at_ns in self.timers.items() if at_ns <= now_ns]:
            del self.timers[name]
            heard.add(self.room.timer(name))
        self._set_timer()

    def _hear(self, frame: Frame, heard: Heard) -> None:
        word, sender = frame.word, frame.sender
        if sender == ROOT:
            self._hear_root(word, heard)
            return
        if not self._takes(sender, frame):
            return
        heard.words.append(word)
        kind = type(word)
        if kind is Turn and sender == self.wiring.conductor:
            self._begin(word, heard)
        elif kind is tuple:
            heard.add(self.room.hear_foreign(list(cast("tuple[bytes, ...]", word))))
        else:
            heard.add(self.room.hear(sender, frame.epoch, word))

    def _takes(self, sender: str, frame: Frame) -> bool:
        """Say whether a frame has something to hear; a receipt is taken in here."""
        side = self.sides[sender]
        if frame.epoch != side.other and not side.saw(frame.epoch):
            self.world.fenced(self, frame)
            return False
        kind = frame.kind
        if kind == PARCEL:
            self.unanswered.add(sender)
            return side.takes(frame)
        if kind == RECEIPT:
            side.acknowledged(frame)
            return False
        return True

    def _hear_root(self, word: Any, heard: Heard) -> None:
        heard.words.append(word)
        if isinstance(word, StopAsked):
            self._is_stopping = True
        elif isinstance(word, PeersChanged):
            if word.is_whole:
                self._peers_version = word.version
            elif self._peers_version is None:
                return
            else:
                self._peers_version = word.version
            if self.wiring.has_hub:
                for peer in word.peers:
                    self.sides[peer.path].saw(peer.epoch)
            heard.add(self.room.peers(word.peers))
        elif isinstance(word, Reconfigured) and word.epoch == self.epoch:
            heard.add(self.room.reconfigured(word.arguments))

    # --- turns of a step ----------------------------------------------------------------------

    def _begin(self, turn: Turn, heard: Heard) -> None:
        key, answer, current = (turn.step, turn.phase), self._answer, self._turn
        if answer is not None and key <= (answer.step, answer.phase):
            if key < (answer.step, answer.phase):
                self._reopen(turn, heard)
            else:
                self._say_settled(answer)
            return
        if current is not None and key <= (current.step, current.phase):
            return
        self._reopen(turn, heard)

    def _reopen(self, turn: Turn, heard: Heard) -> None:
        self._turn, self._turn_sent, self._answer = turn, 0, None
        effects = self.room.begin(turn, self.world.payload(self.codec, turn.payload) if turn.payload else None)
        if self._held:
            held = Effects()
            held.posts, self._held = self._held, []
            held.add(heard.effects)
            heard.effects = held
        heard.add(effects)

    def _settle(self) -> None:
        """Say that a turn is done, once all that was said in it has been acknowledged, and the room agrees."""
        turn = self._turn
        assert turn is not None, "what is settled is a turn"
        if any(map(_WAITING, self.sides.values())):
            return
        facts = self.room.settle(turn)
        if facts is None:
            return
        self._answer = Settled(turn.step, turn.phase, self._turn_sent, facts)
        self._turn = None
        self._say_settled(self._answer)

    def _say_settled(self, answer: Settled) -> None:
        self._leaves(self.ways[self.wiring.conductor], Frame(self.path, self.epoch, answer))

    # --- carrying out -------------------------------------------------------------------------

    def _carry_out(self, heard: Heard) -> None:
        effects = heard.effects
        if effects.writes:
            self._commit(heard)
        elif any(type(word) is VenueSnapshot for word in heard.words):
            self.world.on_commit(self, heard)  # the books were compared, and nothing new had to be kept
        if self.unanswered:
            self._acknowledge()
            if self.world.trouble.kills:
                self.may_die("acknowledged")
        if effects.posts or effects.published:
            self._say(heard)
        if effects.timers:
            self._take_timers(effects)
        for peer, topics in effects.listens:
            if peer:
                self.world.follow(self, peer, topics)

    def _take_timers(self, effects: Effects) -> None:
        for name, at_ns in effects.timers:
            if at_ns:
                self.timers[name] = at_ns
            else:
                self.timers.pop(name, None)
        self._set_timer()

    def _commit(self, heard: Heard) -> None:
        world, effects, trouble = self.world, heard.effects, self.world.trouble
        assert self.store is not None, "a room without a store wants to keep something"
        if trouble.rates:
            self.may_die("commit")
            if "recoil" in trouble.rates and any(type(word) is OrderRejected for word in heard.words):
                self._may_recoil()
            if "full" in trouble.rates and trouble.happens("full"):
                world.fill_disk(self)
        self.store.commit(effects.writes, is_durable=effects.is_durable)
        world.on_commit(self, heard)
        if trouble.kills:
            self.may_die("committed")

    def _may_recoil(self) -> None:
        """Die where a refusal has been read and is not kept yet, if the chance of the world wants it.

        Raises:
            KilledError: It does.
        """
        if self.world.trouble.happens_later("recoil"):
            place = "commit"
            raise KilledError(place)

    def _say(self, heard: Heard) -> None:
        """Send and publish; a death between two of them leaves the rest unsaid."""
        trouble, holds = self.world.trouble, self._turn is None and bool(self.wiring.conductor)
        for post in heard.effects.posts:
            if post.is_gated:
                if holds:
                    self._held.append(post)
                    continue
                self._turn_sent += 1
            self._post(post)
            if trouble.kills:
                self.may_die("sent")
        for each in heard.effects.published:
            self._publish(each)
        if trouble.kills:
            self.may_die("said")

    def leave(self) -> None:
        """Let go what was said: what one turn has for one peer comes there together. Also of one that has just died."""
        if self._out:
            out, self._out = self._out, {}
            self.world.transmit(self, out)

    def _leaves(self, way: Way, frame: Frame) -> None:
        """Let a frame leave with this turn."""
        frames = self._out.get(way)
        if frames is None:
            self._out[way] = [frame]
        else:
            frames.append(frame)

    def _set_timer(self) -> None:
        """Be woken as the next timer is due."""
        at_ns = self._rings_at = min(self.timers.values(), default=NEVER)
        if at_ns != NEVER and not self.world.clock.now_ns < self._timer_at <= at_ns:
            self._timer_at = at_ns
            self.world.at(at_ns, self._timer_due)

    def _timer_due(self) -> None:
        if not self.is_alive:
            return
        if self._rings_at > self.world.clock.now_ns:
            self._set_timer()
        elif not (self._has_turn_to_come or self.is_frozen):  # or the turn that comes sees to it
            self.world.guarded(self, self.turn)

    def _post(self, post: Post) -> None:
        peer = post.peer
        if peer == ROOT:
            self.world.told_root(self, post.word)
            return
        if peer not in self.spokes and peer in self.wiring.on_demand:
            self.spokes.add(peer)
            self.world.connect_soon(self, peer)
        word = post.word
        if _MUTABLE.get(type(word), True):
            word = portable(word)
        if post.is_sure:
            frame = self.sides[peer].parcel(word)
            if not self._is_repeating:
                self._repeat_later()
        else:
            frame = Frame(self.path, self.epoch, word)
        self._leaves(self.ways[peer], frame)

    def _acknowledge(self) -> None:
        unanswered = self.unanswered
        for peer in sorted(unanswered) if len(unanswered) > 1 else unanswered:
            receipt = self.sides[peer].receipt()
            if receipt is not None:
                self._leaves(self.ways[peer], receipt)
        unanswered.clear()

    def send_again(self, peer: str) -> None:
        """Repeat what this peer has not acknowledged."""
        frames = self.sides[peer].again()
        if frames:
            self.world.transmit(self, {self.ways[peer]: frames})

    def _repeat_later(self) -> None:
        if not self._is_repeating:
            self._is_repeating = True
            self.world.later(AGAIN_NS, self._repeat)

    def _repeat(self) -> None:
        self._is_repeating = False
        if not self.is_alive:
            return
        if self.is_frozen:
            self._repeat_later()
            return
        for peer in [peer for peer, side in self.sides.items() if side.waiting]:
            self.send_again(peer)
            self._repeat_later()

    # --- links --------------------------------------------------------------------------------

    def connected(self, hub: "Shell") -> None:
        """Hear that the link to a hub stands (again)."""
        if not (self.is_alive and hub.is_alive):
            return
        self.links[hub.path] = hub
        hub.links[self.path] = self
        self.send_again(hub.path)
        hub.send_again(self.path)
        heard = self.heard = Heard([], self.room.connected(hub.path))
        self._carry_out(heard)
        self.leave()

    # --- the stream ---------------------------------------------------------------------------

    def _publish(self, each: Publish) -> None:
        topic, sequence, previous = each.topic, each.sequence, each.previous
        if sequence:
            self._head = self._last[topic] = sequence
            now_ns = self.world.clock.now_ns
            soon_ns, later_ns, last_ns = SAID_AGAIN_NS
            self._fresh[topic] = [now_ns + soon_ns, now_ns + later_ns, now_ns + last_ns]
            if now_ns + soon_ns < self._announces_at:
                self._announce_at(now_ns + soon_ns)
        else:
            previous = self._volatile.get(topic, 0)
            self._volatile[topic] = sequence = previous + 1
        paths = self._listening(topic)
        if not paths:
            return
        item = StreamItem(topic, sequence, previous, b"", bool(each.sequence))
        frame = Frame(self.path, self.epoch, each.word, ITEM, 0, 0, item)
        may_lose = "drop" in self.world.trouble.rates
        for path in paths:
            if not (may_lose and self._loses(path)):
                self._leaves(self.stream_ways[path], frame)

    def listened(self, listener: "Shell", topics: tuple[str, ...]) -> None:
        """Have a listener, to exactly these topics."""
        self.listeners[listener.path] = (listener, topics)
        self._listening_to.clear()

    def unlistened(self, path: str = "") -> None:
        """Have a listener no more; with "" none at all."""
        if path:
            self.listeners.pop(path, None)
        else:
            self.listeners.clear()
        self._listening_to.clear()

    def _listening(self, topic: str) -> list[str]:
        """Name those who listen to a topic and hear just now."""
        paths = self._listening_to.get(topic)
        if paths is None:
            paths = [path for path, (_, topics) in self.listeners.items() if topic in topics or "" in topics]
            self._listening_to[topic] = paths
        if self._deaf_until:
            now_ns = self.world.clock.now_ns
            paths = [path for path in paths if now_ns >= self._deaf_until.get(path, 0)]
        return paths

    def _loses(self, listener: str) -> bool:
        """Say whether an item does not come to a listener, and perhaps let it hear nothing for a while."""
        world = self.world
        if not world.trouble.happens("drop"):
            return False
        if world.chance.random() < DEAF_SHARE:
            self._deaf_until[listener] = world.clock.now_ns + world.draw_ns(0, DEAF_NS_MAX)
        return True

    def _announce_at(self, at_ns: int) -> None:
        if at_ns < self._announces_at:
            self._announces_at = at_ns
            self.world.at(at_ns, self._announce_due)

    def _announce_due(self) -> None:
        now_ns = self.world.clock.now_ns
        if not self.is_alive or now_ns < self._announces_at:
            return
        self._announces_at = NEVER
        if self.is_frozen:
            self._announce_at(now_ns + ANNOUNCE_NS)
            return
        for topic, due in list(self._fresh.items()):
            if due[0] <= now_ns:
                self._announce(topic, due)
        self.leave()
        if self._fresh:
            self._announce_at(min(due[0] for due in self._fresh.values()))

    def _announce(self, topic: str, due: list[int]) -> None:
        """Say the head of a topic, as it was to be said next."""
        del due[0]
        if not due:
            del self._fresh[topic]
        head = self.head(topic)
        for path in self._listening(topic):
            self._leaves(self.stream_ways[path], head)

    def head(self, topic: str) -> Frame:
        """Give the head of a topic of the own stream."""
        item = StreamItem(topic, self._head, self._last.get(topic, 0), None, has_memory=True)
        return Frame(self.path, self.epoch, None, ITEM, item=item)


_WAITING = attrgetter("waiting")
_MUTABLE: dict[type, bool] = {}


def portable(word: msgspec.Struct) -> msgspec.Struct:
    """Give a word as the other side would get it: what could change behind the sender's back is copied."""
    kind = type(word)
    is_mutable = _MUTABLE.get(kind)
    if is_mutable is None:
        texts = (str(field.type) for field in msgspec.structs.fields(kind))
        is_mutable = _MUTABLE[kind] = any("dict" in text or "list" in text for text in texts)
    if not is_mutable:
        return word
    codec = desk_codec()
    return codec.decode(codec.encode(word))
