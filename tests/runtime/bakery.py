"""A bakery whose rooms run as real processes: ``python -m tests.runtime.bakery STATE`` is its root.

Bakers send dough to the oven in words that are acknowledged; the oven keeps a record of each. The apprentice does
what its mood says, once: a fallen one's successor is calm. Through the window the test speaks with root.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import msgspec
from typing_extensions import override

from runtime.child import Context, Made
from runtime.clock import NS_PER_MS, NS_PER_S, Clock
from runtime.codec import Codec
from runtime.effects import Effects
from runtime.folder import FolderLock
from runtime.keeper import Keeper
from runtime.log import Log
from runtime.room import ControlRequest, Room, Wiring
from runtime.root import Root, RootSettings
from runtime.spec import NodeSpec, WorkerSpec
from runtime.store import Store
from runtime.words import RUNTIME_WORDS, Peer, RestartWanted, RootAnswered, RootAsked, Word

ROOM = "room"
"""The kind of worker that may ask root, and hears of the others."""

#: For how many boards there is chalk.
BOARDS_MAX = 2
#: How many doughs of one baker may be on their way.
DOUGHS_MAX = 8
PTRACE_SEIZE = 0x4206
PR_SET_PTRACER = 0x59616D61


class DoughSent(Word, frozen=True, tag="bakery.dough"):
    """Event. One dough of a baker; their numbers have no gap."""

    number: int


class Baked(Word, frozen=True, tag="bakery.baked"):
    """Fact. All doughs of a baker up to this number are baked."""

    number: int


class Request(msgspec.Struct, frozen=True):
    """What the test asks root through the window."""

    verb: str
    arguments: dict[str, object]


CODEC = Codec(RUNTIME_WORDS | DoughSent | Baked)


def store_of(state: Path, path: str) -> Path:
    """Say where a room keeps its store."""
    return state / "stores" / path


def note(state: Path, words: str) -> None:
    """Add a line to the diary that all processes share."""
    descriptor = os.open(state / "diary", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, f"{words}\n".encode())
    os.close(descriptor)


class DiaryRoom(Room):
    """A room that notes its start and its end."""

    def __init__(self, context: Context) -> None:
        """Take what every room of the bakery needs."""
        self._context = context
        self._clock = context.clock

    @override
    def recover(self) -> Effects:
        note(self._context.state, f"started {self._context.path} {self._context.epoch}")
        return Effects()

    @override
    def stopping(self) -> Effects:
        note(self._context.state, f"stopping {self._context.path}")
        return Effects()

    @override
    def peers(self, peers: tuple[Peer, ...]) -> Effects:
        return Effects()


class Oven(DiaryRoom):
    """Bakes every dough once, whoever falls."""

    def __init__(self, context: Context, store: Store) -> None:
        """Take the store of what was baked."""
        super().__init__(context)
        self._store = store
        self._last: dict[str, int] = {}
        self._peers: dict[str, list[object]] = {}

    @override
    def recover(self) -> Effects:
        effects = super().recover()
        self._last = {key.decode(): int(data) for key, data in self._store.scan("last")}
        for baker, number in self._last.items():
            effects.post(baker, Baked(number))
        self._head = self._store.head()
        return effects

    @override
    def hear(self, peer: str, epoch: int, word: Any) -> Effects:
        effects = Effects()
        if isinstance(word, DoughSent):
            last = self._last.get(peer, 0)
            assert word.number <= last + 1, f"{peer} skipped from {last} to {word.number}"
            if word.number == last + 1:
                self._last[peer] = word.number
                self._head += 1
                effects.append(self._head, f"{peer} {word.number}".encode())
                effects.put("last", peer.encode(), str(word.number).encode())
            effects.post(peer, Baked(self._last[peer]))
        return effects

    @override
    def facts(self) -> dict[str, Any]:
        return {"baked": self._head, "pid": os.getpid(), "peers": self._peers}

    @override
    def peers(self, peers: tuple[Peer, ...]) -> Effects:
        self._peers |= {peer.path: [peer.epoch, peer.state] for peer in peers}
        return Effects()


class Baker(DiaryRoom):
    """Sends dough without end, and remembers what it has sent."""

    def __init__(self, context: Context, store: Store) -> None:
        """Take the store of what was sent and what came back."""
        super().__init__(context)
        self._store = store
        self._sent = self._baked = 0

    @override
    def recover(self) -> Effects:
        effects = super().recover()
        self._sent = int(self._store.get("count", b"sent") or 0)
        self._baked = int(self._store.get("count", b"baked") or 0)
        for number in range(self._baked + 1, self._sent + 1):
            effects.post("oven", DoughSent(number))
        self._again(effects)
        return effects

    @override
    def timer(self, name: str) -> Effects:
        effects = Effects()
        if self._sent - self._baked < DOUGHS_MAX:
            self._sent += 1
            effects.put("count", b"sent", str(self._sent).encode())
            effects.post("oven", DoughSent(self._sent))
        self._again(effects)
        return effects

    @override
    def hear(self, peer: str, epoch: int, word: Any) -> Effects:
        effects = Effects()
        if isinstance(word, Baked) and word.number > self._baked:
            assert word.number <= self._sent, "more is baked than was sent"
            self._baked = word.number
            effects.put("count", b"baked", str(self._baked).encode())
        return effects

    def _again(self, effects: Effects) -> None:
        effects.timer("bake", self._clock.monotonic_ns() + 2 * NS_PER_MS)

    @override
    def facts(self) -> dict[str, Any]:
        return {"baked": self._baked}


class Window(DiaryRoom):
    """Passes requests on to root, and its answers back."""

    def __init__(self, context: Context) -> None:
        """Know of no request yet."""
        super().__init__(context)
        self._clients: dict[str, bytes] = {}
        self._asked = 0

    @override
    def hear_control(self, request: ControlRequest) -> Effects:
        effects, asked = Effects(), msgspec.msgpack.decode(request.frames[0], type=Request)
        self._asked += 1
        name = f"{self._context.epoch}-{self._asked}"
        self._clients[name] = request.address
        effects.post("root", RootAsked(name, asked.verb, asked.arguments))
        return effects

    @override
    def hear(self, peer: str, epoch: int, word: Any) -> Effects:
        effects = Effects()
        if isinstance(word, RootAnswered) and word.request in self._clients:
            effects.answer(self._clients.pop(word.request), CODEC.encode(word))
        return effects


# --- the apprentice -----------------------------------------------------------------------------------


def knead_for_ever() -> None:
    """Hang, in a frame that a dump must show."""
    while True:
        pass


def flee(state: Path) -> None:
    """Leave a sleeper behind that is nobody's child."""
    if os.fork() == 0:
        if os.fork() == 0:
            os.setsid()
            note(state, f"orphan {os.getpid()}")
            signal.pause()
        os._exit(0)


def bind(state: Path) -> None:
    """Leave a sleeper behind that is nobody's child, and whose end its tracer never takes note of."""
    heard, said = os.pipe()
    tracer = os.fork()
    if tracer:
        note(state, f"tracer {tracer}")
        return
    os.setsid()
    between = os.fork()
    if between == 0:
        os.setsid()
        sleeper = os.fork()
        if sleeper:
            os.write(said, sleeper.to_bytes(4, "little"))
        while True:
            signal.pause()
    sleeper = int.from_bytes(os.read(heard, 4), "little")
    assert ctypes.CDLL(None).ptrace(PTRACE_SEIZE, sleeper, 0, 0) == 0, "it may not be traced"
    os.kill(between, signal.SIGKILL)
    while True:
        signal.pause()


def bind_oneself(state: Path) -> None:
    """Have a tracer that never takes note of one's end."""
    heard, said = os.pipe()
    library, own = ctypes.CDLL(None), os.getpid()
    library.prctl(PR_SET_PTRACER, ctypes.c_ulong(-1), 0, 0, 0)
    tracer = os.fork()
    if tracer == 0:
        os.setsid()
        assert library.ptrace(PTRACE_SEIZE, own, 0, 0) == 0, "it may not be traced"
        os.write(said, b"bound")
        while True:
            signal.pause()
    os.read(heard, 5)
    note(state, f"tracer {tracer}")


def talk() -> None:
    """Write more than any pipe holds."""
    for _ in range(200):
        sys.stdout.write("blah " * 20_000)
        sys.stdout.flush()
        os.write(2, b"blah " * 2_000)


def multiply() -> None:
    """Become five that stay, each in a session of its own."""
    for _ in range(4):
        if os.fork() == 0:
            os.setsid()
            break
    while True:
        signal.pause()


def father() -> None:
    """Have three children in the same group; none of the four hears SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for _ in range(3):
        if os.fork() == 0:
            break
    while True:
        signal.pause()


def chatter() -> None:
    """Print without end, and not too fast for a slow disk."""
    while True:
        print("blah " * 20)  # noqa: T201 - that is the misdeed


def swell(state: Path) -> None:
    """Write a file that has no end."""
    with (state / "swollen").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1 << 20))


def hoard() -> NoReturn:
    """Keep small things without end."""
    kept: list[object] = []
    while True:
        kept.append(object())


class SpeechlessError(Exception):
    """An error that cannot say what it is about."""

    @override
    def __str__(self) -> str:
        msg = "no words"
        raise ValueError(msg)


def fall_silent() -> NoReturn:
    """Raise what cannot be put into words."""
    raise SpeechlessError


MOODS: dict[str, Callable[["Apprentice"], object]] = {
    "calm": lambda one: one.eaten.clear(),
    "hangs": lambda _: knead_for_ever(),
    "leaves": lambda _: os._exit(0),
    "exits": lambda _: sys.exit(0),
    "interrupts itself": lambda _: os.kill(os.getpid(), signal.SIGRTMIN + 1),
    "eats": lambda one: one.eaten.append(bytearray(400 << 20)),
    "flees": lambda one: flee(one.state),
    "binds": lambda one: bind(one.state),
    "binds itself": lambda one: bind_oneself(one.state),
    "talks": lambda _: talk(),
    "multiplies": lambda _: multiply(),
    "fathers": lambda _: father(),
    "chatters": lambda _: chatter(),
    "swells": lambda one: swell(one.state),
    "hoards": lambda _: hoard(),
    "crashes": lambda _: ctypes.string_at(0),
    "raises": lambda _: int("a loaf"),
    "raises half a character": lambda _: int("\udc80"),
    "raises without words": lambda _: fall_silent(),
}


class Apprentice(DiaryRoom):
    """Does what its mood says: when it starts, when it has started, or when it shall stop."""

    def __init__(self, context: Context, store: Store, mood: str, when: str) -> None:
        """Take the mood; it is forgotten where it was acted out before."""
        super().__init__(context)
        self.state = context.state
        self.eaten: list[bytearray] = []
        self._store, self._mood, self._when = store, mood, when

    @override
    def recover(self) -> Effects:
        effects = super().recover()
        if self._when == "starting":
            self._act()
        if self._when == "first":
            effects.timer("act", 1)
        if self._when == "later":
            effects.timer("act", self._clock.monotonic_ns() + 1200 * NS_PER_MS)
        return effects

    @override
    def timer(self, name: str) -> Effects:
        effects = Effects()
        effects.append(self._store.head() + 1, b"must not be kept where the mood raises")
        self._act()
        return effects

    @override
    def stopping(self) -> Effects:
        effects = super().stopping()
        if self._when == "stopping":
            self._act()
        return effects

    @override
    def facts(self) -> dict[str, Any]:
        return {"kept": self._store.head()}

    def _act(self) -> None:
        MOODS[self._mood](self)


class Door(DiaryRoom):
    """Is not READY before somebody opens the door."""

    @override
    def recover(self) -> Effects:
        effects = super().recover()
        (self._context.state / "door").read_text(encoding="utf-8")  # a named pipe
        note(self._context.state, "door opened")
        return effects


class Board(DiaryRoom):
    """Shows what it was told; what begins with "wipe" it can only take by a start of its own, and it asks twice."""

    def __init__(self, context: Context, text: str) -> None:
        """Show the text that it starts with."""
        super().__init__(context)
        self._text = text

    @override
    def reconfigured(self, arguments: bytes) -> Effects:
        effects, text = Effects(), arguments.decode()
        note(self._context.state, f"told {self._context.path} {text}")
        if text.startswith("wipe"):
            effects.post("root", RestartWanted("wet chalk"))
            effects.post("root", RestartWanted("wet chalk"))
        else:
            self._text = text
        return effects

    @override
    def hear(self, peer: str, epoch: int, word: Any) -> Effects:
        return Effects()

    @override
    def facts(self) -> dict[str, Any]:
        return {"text": self._text}


# --- makers -------------------------------------------------------------------------------------------


def _store(context: Context) -> Store:
    return Store.open(store_of(context.state, context.path), is_synced=False)


def make_oven(context: Context, _arguments: bytes) -> Made:
    """Make the oven, whose hub the bakers connect to."""
    store = _store(context)
    return Made(Oven(context, store), Wiring(has_hub=True), store, CODEC)


def make_baker(context: Context, _arguments: bytes) -> Made:
    """Make a baker."""
    store = _store(context)
    return Made(Baker(context, store), Wiring(spokes=("oven",)), store, CODEC)


def make_window(context: Context, _arguments: bytes) -> Made:
    """Make the window."""
    return Made(Window(context), Wiring(has_control=True), None, CODEC)


def make_door(context: Context, _arguments: bytes) -> Made:
    """Make the one that waits for the door."""
    return Made(Door(context), Wiring(), None, CODEC)


def make_board(context: Context, arguments: bytes) -> Made:
    """Make a board; ``arguments`` is its text."""
    return Made(Board(context, arguments.decode()), Wiring(), None, CODEC)


def make_apprentice(context: Context, arguments: bytes) -> Made:
    """Make an apprentice; ``arguments`` is its mood, when it acts, and up to which epoch."""
    mood, when, until_epoch = msgspec.json.decode(arguments, type=tuple[str, str, int])
    store = _store(context)
    if context.epoch > until_epoch:
        mood = "calm"
    if when == "making":
        MOODS[mood](Apprentice(context, store, mood, when))
    return Made(Apprentice(context, store, mood, when), Wiring(), store, CODEC)


def prepare(state: Path, tree: NodeSpec) -> None:
    """Buy chalk for every board that shall be; there is none left for more than two."""
    if sum(child.kind == "board" for child in tree.children if isinstance(child, WorkerSpec)) > BOARDS_MAX:
        msg = "there is no chalk left"
        raise OSError(msg)
    note(state, "prepared")


def main(
    on_round: Callable[[Root], None] = lambda _root: None,
    spares: int = 0,
    rehearsal: str = "board",
    preload: tuple[str, ...] = (),
) -> int:
    """Run the tree that lies in the state folder, with so many spares that rehearse as the maker's name says.

    The zygote imports what is in ``preload`` besides.
    """
    state, clock = Path(sys.argv[1]), Clock()
    tree = msgspec.msgpack.decode((state / "tree").read_bytes(), type=NodeSpec)
    lock = FolderLock(state)
    lock.take(clock)
    sockets = state / "s"
    sockets.mkdir(mode=0o700, exist_ok=True)
    keeper = Keeper(Store.open(state / "supervisor", is_synced=False), {"oven": True})
    settings = RootSettings(
        state=state,
        sockets=sockets,
        lock_descriptor=lock.descriptor,
        preload=("tests.runtime.bakery", *preload),
        log_level="INFO",
        told_kinds=frozenset({ROOM}),
        spares=spares,
        rehearsal=rehearsal if ":" in rehearsal else f"tests.runtime.bakery:make_{rehearsal}",
        gentle_ns=60 * NS_PER_S,
    )
    log = Log.open(state / "log", "root", "INFO")
    root = Root(tree, settings, keeper, CODEC, clock, log, on_round, lambda tree: prepare(state, tree))
    code = root.run()
    keeper.close()
    return code


if __name__ == "__main__":
    sys.exit(main())
