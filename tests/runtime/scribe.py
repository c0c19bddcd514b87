"""A room that does what it is ordered to, one order a word; it shows what the shell makes of each effect."""

import os
import signal
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from typing_extensions import override

from runtime.bus.frames import READABLE, Poller, Socket
from runtime.child import Context, Made
from runtime.clock import NS_PER_MS, NS_PER_S
from runtime.codec import Codec
from runtime.effects import Effects
from runtime.room import Room, Wiring
from runtime.store import Store
from runtime.words import RUNTIME_WORDS, Peer, Turn, Word
from tests.runtime.bakery import store_of


class Order(Word, frozen=True, tag="scribe.order"):
    """Command. What to do, in one word."""

    verb: str
    number: int = 0


class Noted(Word, frozen=True, tag="scribe.noted"):
    """Event. What was done, or happened."""

    words: str


CODEC = Codec(RUNTIME_WORDS | Order | Noted)
CONDUCTOR = "market"


def until_ready(socket: Socket[bytes]) -> None:
    """Wait until there is something to receive."""
    poller = Poller()
    poller.register(socket, READABLE)
    assert poller.poll(10_000), "what was sent never came"


class Scribe(Room):
    """Obeys."""

    def __init__(self, context: Context, store: Store) -> None:
        """Take time and a store."""
        self._clock, self._store = context.clock, store
        self._is_done = True
        self._is_signalled = False
        self._boast = ""
        self._wake: Callable[[], None] = lambda: None
        self._fetched: deque[int] = deque()

    @override
    def take_waker(self, wake: Callable[[], None]) -> None:
        self._wake = wake

    @override
    def awake(self) -> Effects:
        effects = Effects()
        while self._fetched:
            effects.add(self._say(f"fetched {self._fetched.popleft()}"))
        return effects

    def _start_threads(self, count: int) -> None:
        for number in range(count):
            threading.Thread(target=self._fetch, args=(number,), daemon=True).start()

    def _fetch(self, number: int) -> None:
        self._fetched.append(number)
        self._wake()

    @override
    def facts(self) -> dict[str, object]:
        return {"boast": self._boast} if self._boast else {}

    @override
    def recover(self) -> Effects:
        effects = Effects()
        effects.append(self._store.head() + 1, b"recovered")
        effects.post(CONDUCTOR, Noted("recovered"))
        return effects

    @override
    def hear(self, peer: str, epoch: int, word: Any) -> Effects:
        effects = Effects()
        assert isinstance(word, Order), "a word for somebody else"
        match word.verb:
            case "keep":
                effects.append(self._store.head() + 1, b"kept")
                effects.post(CONDUCTOR, Noted("kept"), is_gated=False)
            case "break":
                effects.append(self._store.head() + 7, b"out of its order")
                effects.post(CONDUCTOR, Noted("must not be said"), is_gated=False)
            case "raise":
                effects.post(CONDUCTOR, Noted("must not be said"), is_gated=False)
                msg = "ordered to"
                raise ValueError(msg)
            case "gated":
                effects.post(CONDUCTOR, Noted(f"gated {word.number}"))
            case "timers" | "due":
                self._set_timers(word.verb, effects)
            case "unfinished" | "finished" | "signal":
                self._is_done = word.verb != "unfinished"
                self._is_signalled = word.verb == "signal"
            case "boast":
                self._boast = "x" * word.number
            case "threads":
                self._start_threads(word.number)
            case "nowhere":
                effects.post("nobody", Noted("?"))
            case _:
                assert False, word.verb  # noqa: B011, PT015 - every order is above
        return effects

    def _set_timers(self, verb: str, effects: Effects) -> None:
        now_ns = self._clock.monotonic_ns()
        if verb == "due":
            effects.timer("long ago", now_ns - NS_PER_S)
            return
        effects.timer("soon", now_ns + 20 * NS_PER_MS)
        effects.timer("moved", now_ns + 1)
        effects.timer("never", now_ns + 1)
        effects.timer("moved", now_ns + 60 * NS_PER_MS)
        effects.timer("never", 0)

    @override
    def peers(self, peers: tuple[Peer, ...]) -> Effects:
        return self._say(" ".join(["peers", *(f"{peer.path}/{peer.epoch}:{peer.state}" for peer in peers)]))

    @override
    def timer(self, name: str) -> Effects:
        return self._say(f"timer {name}")

    @override
    def begin(self, turn: Turn, payload: Any) -> Effects:
        effects = self._say(f"begin {turn.step} {turn.phase} {payload.words if payload else ''}".strip())
        effects.post(CONDUCTOR, Noted(f"in turn {turn.step} {turn.phase}"))
        return effects

    @override
    def settle(self, turn: Turn) -> bytes | None:
        if self._is_signalled:
            os.kill(os.getpid(), signal.SIGTERM)
        return b"facts" if self._is_done else None

    @override
    def stopping(self) -> Effects:
        effects = self._say("stopping")
        effects.append(self._store.head() + 1, b"last will")
        return effects

    def _say(self, words: str) -> Effects:
        effects = Effects()
        effects.post(CONDUCTOR, Noted(words), is_gated=False)
        return effects


def make(context: Context, arguments: bytes) -> Made:
    """Make a scribe; stepped where the arguments say so."""
    store = Store.open(store_of(context.state, context.path), is_synced=False)
    conductor = CONDUCTOR if arguments == b"stepped" else ""
    return Made(Scribe(context, store), Wiring(spokes=(CONDUCTOR,), conductor=conductor), store, CODEC)
