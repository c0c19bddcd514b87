"""The shell of a room: commit, then acknowledge, then send; and every end of it is heard of."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from runtime.actor import RESTED, STILLS, SocketInbox
from runtime.beacon import Sight
from runtime.bus import Bus
from runtime.bus.frames import READABLE, Poller
from runtime.bus.links import Hub
from runtime.bus_words import Address
from runtime.child import EXIT_FALLEN, ChildRequest, last_words_file
from runtime.clock import NS_PER_S, Clock
from runtime.store import Reader
from runtime.words import REMOVED, Peer, PeersChanged, Progress, Ready, Settled, StopAsked, Turn
from tests.runtime.bakehouse import REPOSITORY
from tests.runtime.bakery import store_of
from tests.runtime.scribe import CODEC, Noted, Order

PATIENCE_NS = 30 * NS_PER_S
CHILD = """
import os, sys, msgspec
from runtime.child import ChildRequest, run
os._exit(run(msgspec.msgpack.decode(bytes.fromhex(sys.argv[1]), type=ChildRequest)))
"""


class Stage:
    """A scribe in a process of its own; the test is its root and its conductor."""

    def __init__(self, state: Path) -> None:
        self.state, self.clock = state, Clock()
        self.root_bus, self.bus = Bus(state / "s", Address("root", 1)), Bus(state / "s", Address("market", 1))
        (state / "s").mkdir(parents=True, mode=0o700)
        self.root, self.market = self.root_bus.hub(), self.bus.hub()
        self.sight = Sight(state / "s", "scribe")
        self.poller = Poller()
        for socket in (self.root.socket, self.market.socket):
            self.poller.register(socket, READABLE)
        self.heard: list[Any] = []
        self.noted: list[str] = []
        self.progress: list[Progress] = []
        self.acknowledges = True
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, arguments: bytes = b"", epoch: int = 1) -> None:
        """Start the scribe, and wait until it is READY."""
        request = ChildRequest(
            path="scribe",
            epoch=epoch,
            title="scribe",
            entry="tests.runtime.scribe:make",
            arguments=arguments,
            root_pid=os.getpid(),
            state=str(self.state),
            sockets=str(self.state / "s"),
            log_level="INFO",
        )
        data = msgspec.msgpack.encode(request).hex()
        self.process = subprocess.Popen([sys.executable, "-c", CHILD, data], cwd=REPOSITORY)
        self.until(lambda: Ready() in self.heard)

    def close(self) -> None:
        self.root_bus.close()
        self.bus.close()
        self.sight.close()
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def turn(self) -> None:
        """Hear whatever the scribe said."""
        for hub in (self.root, self.market):
            for heard in hub.receive():
                word = CODEC.decode(heard.body)
                self.heard.append(word)
                if isinstance(word, Noted):
                    self.noted.append(word.words)
            if self.acknowledges:
                hub.acknowledge()
        report = self.sight.look()
        if report is not None:
            self.progress.append(CODEC.decode(report))

    def until(self, claim: Callable[[], object]) -> None:
        deadline_ns = self.clock.monotonic_ns() + PATIENCE_NS
        self.turn()
        while not claim():
            assert self.clock.monotonic_ns() < deadline_ns, f"it never came to that: {self.heard}"
            self.poller.poll(50)
            self.turn()

    def order(self, verb: str, number: int = 0) -> None:
        self.say(self.market, Order(verb, number))

    def say(self, hub: Hub, word: msgspec.Struct) -> None:
        hub.post("scribe", CODEC.encode(word), is_sure=True)

    def until_noted(self, words: str) -> None:
        self.until(lambda: words in self.noted)

    def end(self) -> int:
        """Wait until it has ended; give its exit code."""
        assert self.process is not None
        process = self.process
        self.until(lambda: process.poll() is not None)
        self.turn()
        return process.returncode

    def last_words(self) -> str:
        return last_words_file(self.state, "scribe").read_text(encoding="utf-8")

    def records(self) -> list[bytes]:
        reader = Reader.open(store_of(self.state, "scribe"))
        records = [data for _, data in reader.records()]
        reader.close()
        return records


def played(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Let a script play with an actor in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.fixture
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    stage = Stage(tmp_path_factory.mktemp("a"))
    yield stage
    stage.close()


# --- effects ------------------------------------------------------------------------------------------


def test_ready_is_said_when_what_recovery_wanted_is_kept(stage: Stage) -> None:
    stage.start()

    assert stage.records() == [b"recovered"]
    stage.until_noted("recovered")


def test_a_word_is_acknowledged_when_its_record_is_kept(stage: Stage) -> None:
    stage.start()

    stage.order("keep")

    stage.until(lambda: not stage.market.waiting())
    assert stage.records() == [b"recovered", b"kept"]


@pytest.mark.parametrize(
    ("verb", "words"),
    [
        pytest.param("break", "1 StoreError: ", id="commit-fails"),
        pytest.param("raise", "1 ValueError: ordered to", id="room-raises"),
        pytest.param("nowhere", "1 AssertionError: no link leads to nobody", id="no-such-peer"),
    ],
)
def test_a_fall_is_told_by_the_exit_code_and_the_last_words(stage: Stage, verb: str, words: str) -> None:
    stage.start()

    stage.order(verb)

    assert stage.end() == EXIT_FALLEN
    assert stage.last_words().startswith(words)


@pytest.mark.parametrize("verb", ["break", "raise"])
def test_of_a_message_that_fails_nothing_is_kept_acknowledged_or_sent(stage: Stage, verb: str) -> None:
    stage.start()
    stage.until_noted("recovered")

    stage.order(verb)

    stage.end()
    assert stage.market.waiting("scribe") == 1
    assert stage.noted == ["recovered"]
    assert stage.records() == [b"recovered"]


def test_what_a_fallen_one_has_not_acknowledged_reaches_its_successor(stage: Stage) -> None:
    stage.start()
    assert stage.process is not None
    os.kill(stage.process.pid, signal.SIGKILL)
    stage.end()
    stage.order("keep")
    stage.heard.clear()

    stage.start(epoch=2)

    stage.until_noted("kept")
    assert stage.records() == [b"recovered", b"recovered", b"kept"]


def test_what_is_no_word_is_counted_and_the_next_one_heard(stage: Stage) -> None:
    stage.start()

    stage.market.post("scribe", b"\x01\x91\xa8rt.hell\xff", is_sure=True)
    stage.market.post("scribe", b"", is_sure=True)
    stage.order("keep")

    stage.until_noted("kept")
    stage.until(lambda: stage.progress and stage.progress[-1].facts["refused_words"] == 2)


def test_of_the_others_a_room_hears_the_whole_first_and_then_what_changed(stage: Stage) -> None:
    stage.start()
    early, changed = (Peer("early", 3, "RUNNING"),), (Peer("a", 2, "STARTING"), Peer("b", 1, REMOVED))

    stage.say(stage.root, PeersChanged(6, early, is_whole=False))  # was meant for its forerunner
    stage.say(stage.root, PeersChanged(7, (Peer("a", 1, "RUNNING"), Peer("b", 1, "RUNNING"))))
    stage.say(stage.root, PeersChanged(8, changed, is_whole=False))

    stage.until_noted("peers a/2:STARTING b/1:REMOVED")
    assert [words for words in stage.noted if words.startswith("peers")] == [
        "peers a/1:RUNNING b/1:RUNNING",
        "peers a/2:STARTING b/1:REMOVED",
    ]


def test_a_room_that_missed_a_difference_falls_so_that_it_gets_the_whole_again(stage: Stage) -> None:
    stage.start()

    stage.say(stage.root, PeersChanged(7, ()))
    stage.say(stage.root, PeersChanged(9, (), is_whole=False))

    assert stage.end() == EXIT_FALLEN
    assert "a difference without the one before it" in stage.last_words()


def test_timers_fire_once_may_be_moved_and_taken_away(stage: Stage) -> None:
    stage.start()

    stage.order("timers")

    stage.until_noted("timer moved")
    stage.order("keep")
    stage.until_noted("kept")
    assert [words for words in stage.noted if words.startswith("timer")] == ["timer soon", "timer moved"]


def test_a_timer_that_is_due_already_fires_at_once(stage: Stage) -> None:
    stage.start()

    stage.order("due")

    stage.until_noted("timer long ago")


def test_progress_is_reported_from_the_loop_with_what_the_room_handled(stage: Stage) -> None:
    stage.start()
    stage.order("keep")

    stage.until(lambda: stage.progress and stage.progress[-1].handled == 1)

    first, last = stage.progress[0], stage.progress[-1]
    assert (last.path, last.epoch) == ("scribe", 1)
    assert last.turns >= first.turns >= 1


def test_a_room_that_has_far_too_much_to_say_of_itself_is_heard_without_that(stage: Stage) -> None:
    stage.start()

    stage.order("boast", 2 << 20)

    stage.until(lambda: stage.progress and "too_large" in stage.progress[-1].facts)
    assert "boast" not in stage.progress[-1].facts


# --- the end ------------------------------------------------------------------------------------------


def test_a_room_that_is_asked_to_stop_keeps_and_says_its_last_will(stage: Stage) -> None:
    stage.start()

    stage.say(stage.root, StopAsked())

    assert stage.end() == 0
    assert stage.records() == [b"recovered", b"last will"]
    assert not last_words_file(stage.state, "scribe").exists()


def test_sigterm_ends_as_a_word_does(stage: Stage) -> None:
    stage.start()
    assert stage.process is not None

    stage.process.terminate()

    assert stage.end() == 0
    assert stage.records() == [b"recovered", b"last will"]


def test_sigterm_in_the_midst_of_a_turn_does_not_cost_the_last_will(stage: Stage) -> None:
    stage.start(b"stepped")
    stage.order("signal")

    stage.say(stage.market, Turn(1, 0, 5, b""))

    assert stage.end() == 0
    assert stage.records() == [b"recovered", b"last will"]


def test_only_root_may_ask_to_stop(stage: Stage) -> None:
    stage.start()

    stage.say(stage.market, StopAsked())

    assert stage.end() == EXIT_FALLEN
    assert "a word for somebody else" in stage.last_words()


# --- turns --------------------------------------------------------------------------------------------


def settled(stage: Stage) -> list[Settled]:
    return [word for word in stage.heard if isinstance(word, Settled)]


def begun(stage: Stage) -> list[str]:
    return [words for words in stage.noted if words.startswith("begin")]


def test_gated_posts_wait_for_the_turn_and_others_do_not(stage: Stage) -> None:
    stage.start(b"stepped")
    stage.order("gated", 1)
    stage.order("keep")
    stage.until_noted("kept")
    assert "gated 1" not in stage.noted
    assert "recovered" not in stage.noted

    stage.say(stage.market, Turn(1, 0, 5, CODEC.encode(Noted("tick"))))

    stage.until(lambda: settled(stage))
    assert stage.noted == ["kept", "recovered", "gated 1", "begin 1 0 tick", "in turn 1 0"]
    assert settled(stage) == [Settled(1, 0, 3, b"facts")]


def test_settled_waits_for_the_receipts_of_what_was_sent(stage: Stage) -> None:
    stage.start(b"stepped")
    stage.acknowledges = False
    stage.say(stage.market, Turn(1, 0, 5, b""))
    stage.order("keep")
    stage.until_noted("kept")
    assert settled(stage) == []

    stage.acknowledges = True

    stage.until(lambda: settled(stage))


def test_settled_waits_until_the_room_has_done_its_part(stage: Stage) -> None:
    stage.start(b"stepped")
    stage.order("unfinished")
    stage.say(stage.market, Turn(1, 0, 5, b""))
    stage.order("keep")
    stage.until_noted("kept")
    assert settled(stage) == []

    stage.order("finished")

    stage.until(lambda: settled(stage))


def test_a_turn_that_is_given_again_is_answered_again_and_not_taken_again(stage: Stage) -> None:
    stage.start(b"stepped")
    stage.say(stage.market, Turn(1, 0, 5, b""))
    stage.until(lambda: settled(stage))

    stage.say(stage.market, Turn(1, 0, 5, b""))

    stage.until(lambda: len(settled(stage)) == 2)
    assert settled(stage)[0] == settled(stage)[1]
    assert begun(stage) == ["begin 1 0"]


def test_a_turn_that_is_given_again_while_it_is_open_changes_nothing(stage: Stage) -> None:
    stage.start(b"stepped")
    stage.order("unfinished")
    for _ in range(3):
        stage.say(stage.market, Turn(1, 0, 5, b""))
    stage.order("finished")

    stage.until(lambda: settled(stage))

    assert begun(stage) == ["begin 1 0"]
    assert len(settled(stage)) == 1


def test_a_conductor_that_fell_may_begin_a_step_anew(stage: Stage) -> None:
    stage.start(b"stepped")
    for phase in (0, 1):
        stage.say(stage.market, Turn(1, phase, 5, b""))
        stage.until(lambda phase=phase: len(settled(stage)) == phase + 1)

    stage.say(stage.market, Turn(1, 0, 5, b""))

    stage.until(lambda: len(settled(stage)) == 3)
    assert [(word.step, word.phase) for word in settled(stage)] == [(1, 0), (1, 1), (1, 0)]


# --- other threads ------------------------------------------------------------------------------------


def test_what_threads_of_its_own_leave_for_a_room_reaches_it_though_nothing_else_happens(stage: Stage) -> None:
    stage.start()

    stage.order("threads", 200)

    stage.until(lambda: len(stage.noted) == 201)
    assert sorted(stage.noted[1:]) == sorted(f"fetched {number}" for number in range(200))


#: Runs a scribe's actor on the main thread; a second thread does what the argument says with its reference.
THREADS = """
import os, sys, threading
from pathlib import Path
from runtime.actor import RoomActor
from runtime.beacon import Beacon
from runtime.bus import Bus
from runtime.bus_words import Address
from runtime.child import Context
from runtime.clock import Clock
from runtime.log import Log
from tests.runtime import scribe

state = Path(sys.argv[1])
clock, log = Clock(), Log.open(state / "log", "scribe", "INFO")
made = scribe.make(Context("scribe", 1, clock, state, log), b"")
bus = Bus(state / "s", Address("scribe", 1))
actor = RoomActor(made.room, made.wiring, made.store, bus, made.codec, clock, log, Beacon(state / "s", "scribe"))

def speak() -> None:
    reference = actor.actor_ref
    for _ in range(3):
        assert reference.ask({}, timeout=10) is None
    print("heard", flush=True)
    if sys.argv[2] == "stop":
        reference.stop(block=False)
    elif sys.argv[2] == "tell":
        reference.tell(7)
    else:
        try:
            reference.ask(7, timeout=10)
        except TypeError:
            print("raised to the caller", flush=True)
        assert reference.ask({}, timeout=10) is None
        print("lives", flush=True)
        reference.stop(block=False)

thread = threading.Thread(target=speak)
thread.start()
actor._start_actor_loop()
thread.join()
print(type(actor.failure).__name__, flush=True)
bus.close()
"""


@pytest.mark.parametrize(
    ("how", "words"),
    [
        pytest.param("stop", ["heard", "NoneType"], id="stop"),
        pytest.param("tell", ["heard", "TypeError"], id="a-tell-that-fails-ends-it"),
        pytest.param("ask", ["heard", "raised to the caller", "lives", "NoneType"], id="an-ask-that-fails-does-not"),
    ],
)
def test_another_thread_reaches_the_actor_while_it_waits_for_its_sockets(
    stage: Stage, how: str, words: list[str]
) -> None:
    done = played(THREADS, str(stage.state), how)

    assert done.stdout.split("\n")[:-1] == words, done.stderr


# --- streams and links --------------------------------------------------------------------------------


#: Lets a room have a word of a peer and an item of a stream ready for one turn, the word first; prints what it heard.
BOTH = """
import sys
from pathlib import Path
from runtime.actor import RoomActor
from runtime.beacon import Beacon
from runtime.bus import Bus
from runtime.bus_words import Address
from runtime.clock import Clock
from runtime.effects import Effects
from runtime.log import Log
from runtime.room import Room, Wiring
from tests.runtime.scribe import CODEC, Noted, until_ready

class Listener(Room):
    heard = []
    def hear(self, peer, epoch, word):
        self.heard.append(word.words)
        return Effects()
    def hear_stream(self, peer, item, word):
        self.heard.append("head" if word is None else word.words)
        return Effects()

state = Path(sys.argv[1])
(state / "s").mkdir(parents=True, mode=0o700)
clock, log = Clock(), Log.open(state / "log", "risk", "INFO")
buses = [Bus(state / "s", Address(name, 1)) for name in ("root", "market", "strategy", "risk")]
root, publisher = buses[0].hub(), buses[1].publisher()
wiring = Wiring(has_hub=True, streams=(("market", ("SPY",)),))
actor = RoomActor(Listener(), wiring, None, buses[3], CODEC, clock, log, Beacon(state / "s", "risk"))
actor.on_start()
spoke = buses[2].spoke("risk")
until_ready(publisher.socket)
publisher.subscriptions()
while "head" not in Listener.heard:
    actor.on_receive(actor.actor_inbox.get().message)
spoke.post(CODEC.encode(Noted("intent")), is_sure=True)
spoke.wait_connected(10_000)
until_ready(actor._hub.socket)
publisher.publish("SPY", 1, 0, CODEC.encode(Noted("tick")))
until_ready(actor._subscribers["market"].socket)
del Listener.heard[:]
while len(Listener.heard) < 2:
    actor.on_receive(actor.actor_inbox.get().message)
print(*Listener.heard, flush=True)
for bus in buses:
    bus.close()
"""


def test_what_was_published_is_heard_before_what_somebody_wants_on_account_of_it(stage: Stage) -> None:
    done = played(BOTH, str(stage.state / "both"))

    assert done.stdout == "tick intent\n", done.stderr


#: Lets a room hear items without memory, of which each takes it half of a turn's time. Prints whether it heard at
#: most two in a turn, and all that it heard.
SLOWLY = """
import sys
from pathlib import Path
from runtime.actor import HEARING_NS, RoomActor
from runtime.beacon import Beacon
from runtime.bus import Bus
from runtime.bus_words import Address
from runtime.effects import Effects
from runtime.log import Log
from runtime.room import Room, Wiring
from tests.runtime.fakes import HandClock
from tests.runtime.scribe import CODEC, Noted, until_ready

class Listener(Room):
    heard = []
    def hear_stream(self, peer, item, word):
        self.heard.append("head" if word is None else word.words)
        clock.advance_ns(HEARING_NS // 2)
        return Effects()

state = Path(sys.argv[1])
(state / "s").mkdir(parents=True, mode=0o700)
clock, log = HandClock(), Log.open(state / "log", "risk", "INFO")
buses = [Bus(state / "s", Address(name, 1)) for name in ("root", "market", "risk")]
root, publisher = buses[0].hub(), buses[1].publisher()
wiring = Wiring(streams=(("market", ("SPY",)),))
actor = RoomActor(Listener(), wiring, None, buses[2], CODEC, clock, log, Beacon(state / "s", "risk"))
actor.on_start()
until_ready(publisher.socket)
publisher.subscriptions()
while "head" not in Listener.heard:
    actor.on_receive(actor.actor_inbox.get().message)
del Listener.heard[:]
for number in range(10):
    publisher.publish("SPY", 0, 0, CODEC.encode(Noted(str(number))))
most = 0
while len(Listener.heard) < 10:
    before = len(Listener.heard)
    actor.on_receive(actor.actor_inbox.get().message)
    most = max(most, len(Listener.heard) - before)
print(most <= 2, *Listener.heard, flush=True)
for bus in buses:
    bus.close()
"""


def test_items_that_each_take_long_are_heard_in_turns_that_each_end_soon(stage: Stage) -> None:
    done = played(SLOWLY, str(stage.state / "slowly"))

    assert done.stdout == "True 0 1 2 3 4 5 6 7 8 9\n", done.stderr


#: A room that has somebody to whom it has nothing to say at first. Prints how many connections market's hub has before
#: it spoke, behind that, and what came.
ON_DEMAND = """
import sys
from pathlib import Path
from runtime.actor import RoomActor
from runtime.beacon import Beacon
from runtime.bus import Bus
from runtime.bus_words import Address
from runtime.clock import Clock
from runtime.effects import Effects
from runtime.log import Log
from runtime.room import Room, Wiring
from tests.runtime.scribe import CODEC, Noted

class Shy(Room):
    linked = []
    def hear(self, peer, epoch, word):
        effects = Effects()
        effects.post("market", Noted("sure"))
        return effects
    def connected(self, peer):
        self.linked.append(peer)
        return Effects()

def connections():
    rows = Path("/proc/net/unix").read_text().splitlines()
    return sum(row.endswith(f" {state}/s/market.hub") for row in rows) - 1  # one listens

def turn():
    actor.on_receive(actor.actor_inbox.get().message)

state = Path(sys.argv[1])
(state / "s").mkdir(parents=True, mode=0o700)
buses = [Bus(state / "s", Address(name, 1)) for name in ("root", "market", "shy")]
root, market = buses[0].hub(), buses[1].hub()
clock, log, beacon = Clock(), Log.open(state / "log", "shy", "INFO"), Beacon(state / "s", "shy")
actor = RoomActor(Shy(), Wiring(on_demand=("market",)), None, buses[2], CODEC, clock, log, beacon)
actor.on_start()
while not any(root.receive()):
    root.socket.poll(10_000)
root.acknowledge()
print(connections(), end=" ")
root.post("shy", CODEC.encode(Noted("speak")), is_sure=True)
heard = []
while not (heard and Shy.linked):
    turn()
    heard += [CODEC.decode(each.body).words for each in market.receive()]
market.acknowledge()
while actor._waiting():
    turn()
print(connections(), *heard, *Shy.linked, flush=True)
for bus in buses:
    bus.close()
"""


def test_a_hub_on_demand_is_connected_to_with_the_first_word_for_it(stage: Stage) -> None:
    done = played(ON_DEMAND, str(stage.state / "shy"))

    assert done.stdout == "0 1 sure market\n", done.stderr


# --- rest ---------------------------------------------------------------------------------------------


#: Lets seconds pass for a room to which nobody says anything, but for one word in the middle. Of each second it prints
#: "new" where it says another report and "same" where the last one holds, and "rests" where the shell says that the
#: room is at rest.
REST = """
import sys
from pathlib import Path
from runtime.actor import STILLS, RoomActor
from runtime.beacon import Beacon, Sight
from runtime.bus import Bus
from runtime.bus.frames import READABLE
from runtime.bus_words import Address
from runtime.clock import NS_PER_S, Clock
from runtime.effects import Effects
from runtime.log import Log
from runtime.room import Room, Wiring
from tests.runtime.scribe import CODEC, Noted, until_ready

class Quiet(Room):
    def facts(self):
        return {"asked": seconds}
    def hear(self, peer, epoch, word):
        return Effects()

class Told(Clock):
    now_ns = 1_000 * NS_PER_S
    def monotonic_ns(self):
        return self.now_ns

state, seconds, said = Path(sys.argv[1]), 0, []
(state / "s").mkdir(parents=True, mode=0o700)
clock, log = Told(), Log.open(state / "log", "risk", "INFO")
root_bus, peer_bus, bus = (Bus(state / "s", Address(name, 1)) for name in ("root", "market", "risk"))
root, market, sight = root_bus.hub(), peer_bus.hub(), Sight(state / "s", "risk")
actor = RoomActor(
    Quiet(), Wiring(spokes=("market",)), None, bus, CODEC, clock, log, Beacon(state / "s", "risk")
)
actor.at_rest = lambda now_ns: said.append("rests") or now_ns  # or it would doze, in seconds of ours
actor.on_start()
socket = actor._spokes["market"].socket
for hub, spoke in ((market, actor._spokes["market"]), (root, actor._spokes["root"])):
    is_heard = False
    while spoke.waiting() or not is_heard:
        list(hub.receive())  # in its turn a hub says that the connection stands
        hub.acknowledge()
        if spoke.socket.poll(10):
            actor.on_receive({spoke.socket: READABLE})
            is_heard = True
until_ready(market.socket)
list(market.receive())
sight.look()
for seconds in range(1, STILLS + 12):
    clock.now_ns += NS_PER_S
    if seconds == 4:
        market.post("risk", CODEC.encode(Noted("something")), is_sure=False)
        until_ready(socket)
    actor.on_receive(actor.actor_inbox.get().message)
    said.append("new" if sight.look() is not None else "same" if sight.said_ns == clock.now_ns else "nothing")
print(*said, flush=True)
for one in (root_bus, peer_bus, bus):
    one.close()
"""


def test_a_room_to_which_nobody_speaks_says_the_same_again_and_is_at_rest(stage: Stage) -> None:
    done = played(REST, str(stage.state / "rest"))

    assert done.stdout.split() == [
        *("rests", "new", *["rests", "same"] * 2),
        *("new", "new", *["rests", "same"] * STILLS),  # something was heard
        *("rests", "new", *["rests", "same"] * 5),
    ], done.stderr


def test_a_room_that_dozes_says_so_again_and_again_and_hears_whoever_speaks_to_it(stage: Stage) -> None:
    stage.start()
    said: list[int] = []

    def is_dozing() -> bool:
        if not said or said[-1] != stage.sight.said_ns:
            said.append(stage.sight.said_ns)
        return len(said) - len(stage.progress) > RESTED

    stage.until(is_dozing)
    stage.order("keep")

    stage.until_noted("kept")
    stage.until(lambda: stage.progress[-1].handled == 1)


def test_a_doze_ends_with_whatever_comes_and_takes_nothing_of_it() -> None:
    inbox, said = SocketInbox(), list[str]()

    undisturbed = inbox.doze(lambda: said.append("again"), 0, 3)
    inbox.wake()
    woken = inbox.doze(lambda: said.append("never"), 60_000, 3)

    assert (undisturbed, woken, said) == (3, 0, ["again"] * 3)
    assert list(inbox.get().message.values()) == [READABLE]
    inbox.close()


def test_a_signal_that_a_room_handles_itself_ends_one_poll_and_not_all_that_follow() -> None:
    inbox, handled = SocketInbox(), list[int]()
    before = signal.signal(signal.SIGUSR1, lambda number, _frame: handled.append(number))
    inbox.next_timer = lambda: 20
    inbox.wake_on_signals()
    try:
        os.kill(os.getpid(), signal.SIGUSR1)
        woken, after = inbox.get().message, inbox.get().message
    finally:
        signal.signal(signal.SIGUSR1, before)
        inbox.close()

    assert handled == [signal.SIGUSR1]
    assert (bool(woken), after) == (True, {})
