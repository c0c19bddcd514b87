"""Hubs, spokes and streams over real sockets, across the death of either side."""

import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Generic, TypeVar

import pytest
import zmq
from typing_extensions import override

from runtime.bus import BESIDE_BYTES_MAX, FOREIGN_FRAME_BYTES_MAX, Bus
from runtime.bus.frames import DRAIN_MAX, FRAME_BYTES_MAX, Poller, Socket, drain, drain_marked, try_send
from runtime.bus.links import Hub, Spoke
from runtime.bus.outside import Foreign, Guarded, new_keys
from runtime.bus.streams import Publisher, Subscriber
from runtime.bus_words import Address, Connection, Heard, Said, StreamItem
from runtime.clock import NS_PER_S, Clock
from runtime.link import Header, Kind
from tests.runtime.bakehouse import REPOSITORY

PATIENCE_NS = 30 * NS_PER_S
CLOCK = Clock()


class KeptBus(Bus):
    """A bus that nobody has to hold in order to keep its sockets open."""

    def __init__(self, folder: Path, me: Address) -> None:
        super().__init__(folder, me)
        self._kept: list[object] = []

    @override
    def _socket(self, kind: int, send_hwm: int, receive_hwm: int) -> Socket[bytes]:
        socket = super()._socket(kind, send_hwm, receive_hwm)
        self._kept.append(socket)
        return socket

    @override
    def spoke(self, peer: str) -> Spoke:
        spoke = super().spoke(peer)
        self._kept.append(spoke)
        return spoke

    @override
    def guarded_server(self, secret: str) -> Guarded:
        door = super().guarded_server(secret)
        self._kept.append(door)
        return door

    @override
    def foreign(self, url: str, prefixes: tuple[str, ...]) -> Foreign:
        foreign = super().foreign(url, prefixes)
        self._kept.append(foreign)
        return foreign


class Post:
    """The buses of a test, all in one folder; a process is a bus, and its death is the close of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._buses: list[Bus] = []

    def bus(self, path: str, epoch: int = 1) -> Bus:
        self._buses.append(KeptBus(self.folder, Address(path, epoch)))
        return self._buses[-1]

    def close(self) -> None:
        for bus in self._buses:
            bus.close()


@pytest.fixture
def post(tmp_path: Path) -> Iterator[Post]:
    post = Post(tmp_path)
    yield post
    post.close()


def until(claim: Callable[[], object], *sockets: Socket[bytes]) -> None:
    """Ask again whenever one of the sockets has something, until the claim holds."""
    poller = Poller()
    for socket in sockets:
        poller.register(socket, zmq.POLLIN)
    deadline_ns = CLOCK.monotonic_ns() + PATIENCE_NS
    while not claim():
        assert CLOCK.monotonic_ns() < deadline_ns, "it never came to that"
        poller.poll(20)


S = TypeVar("S", Hub, Spoke)


class Room(Generic[S]):
    """One side of a link that commits at once whatever it hears."""

    def __init__(self, side: S) -> None:
        self.side = side
        self.heard: list[Heard] = []

    def turn(self) -> None:
        """Do what the shell does in one turn."""
        self.heard += self.side.receive()
        if isinstance(self.side, Spoke):
            self.side.connected()
        self.side.acknowledge()

    @property
    def bodies(self) -> list[bytes]:
        return [heard.body for heard in self.heard]


def together(claim: Callable[[], object], *rooms: Room[Any]) -> None:
    """Let all sides have their turns until the claim holds."""
    sockets = [room.side.socket for room in rooms]

    def turn() -> object:
        for room in rooms:
            room.turn()
        return claim()

    until(turn, *sockets)


# --- links --------------------------------------------------------------------------------------------


def test_what_is_posted_is_heard_in_order_and_acknowledged_both_ways(post: Post) -> None:
    oven = Room(post.bus("oven").hub())
    baker = Room(post.bus("baker").spoke("oven"))
    for number in range(5):
        baker.side.post(b"dough %d" % number, is_sure=True)
    oven.side.post("baker", b"bread", is_sure=True)

    together(lambda: not oven.side.waiting() and not baker.side.waiting(), oven, baker)

    assert oven.heard == [Heard("baker", 1, b"dough %d" % number, is_sure=True) for number in range(5)]
    assert baker.heard == [Heard("oven", 1, b"bread", is_sure=True)]


def test_a_hub_may_be_opened_long_after_its_spokes_have_posted(post: Post) -> None:
    spoke = post.bus("baker").spoke("oven")
    spoke.post(b"dough", is_sure=True)
    assert spoke.waiting() == 1
    baker, oven = Room(spoke), Room(post.bus("oven").hub())

    together(lambda: not spoke.waiting(), oven, baker)

    assert oven.bodies == [b"dough"]


def test_a_spoke_is_told_once_of_each_connection_and_of_none_before_the_hub_has_seen_it(post: Post) -> None:
    first, told = post.bus("oven", epoch=1), list[int]()
    hub, spoke = first.hub(), post.bus("baker").spoke("oven")
    spoke.wait_connected(10_000)

    def is_told(hub: Hub, epoch: int) -> bool:
        told.extend(epoch for _ in hub.receive())
        assert not list(spoke.receive())
        told.extend([epoch] * spoke.connected())
        return epoch in told

    assert not list(spoke.receive())
    assert not spoke.connected()
    until(lambda: is_told(hub, 1), hub.socket, spoke.socket)
    first.close()
    second = post.bus("oven", epoch=2).hub()
    until(lambda: is_told(second, 2), second.socket, spoke.socket)
    assert not is_told(second, 3)

    assert told == [1, 2]


def test_what_is_for_a_peer_that_nobody_knows_waits_for_it(post: Post) -> None:
    hub = post.bus("oven").hub()
    hub.post("baker", b"bread", is_sure=True)
    hub.post("baker", b"a word in the wind", is_sure=False)
    assert hub.waiting("baker") == hub.waiting() == 1
    assert hub.waiting("nobody") == 0
    oven, baker = Room(hub), Room(post.bus("baker").spoke("oven"))

    together(lambda: not hub.waiting(), oven, baker)

    assert baker.bodies == [b"bread"]


def test_nothing_is_acknowledged_before_the_commit(post: Post) -> None:
    hub = post.bus("oven").hub()
    baker = Room(post.bus("baker").spoke("oven"))
    baker.side.post(b"dough", is_sure=True)
    heard: list[Heard] = []

    def hears() -> bool:
        baker.turn()
        heard.extend(hub.receive())
        return bool(heard)

    until(hears, hub.socket, baker.side.socket)
    baker.turn()
    assert baker.side.waiting() == 1

    hub.acknowledge()

    together(lambda: not baker.side.waiting(), baker)


def test_a_hub_that_falls_before_its_commit_hears_everything_again_in_its_next_life(post: Post) -> None:
    first = post.bus("oven", epoch=1)
    hub = first.hub()
    baker = Room(post.bus("baker").spoke("oven"))
    heard: list[Heard] = []
    for number in range(10):
        baker.side.post(b"%d" % number, is_sure=True)

    def hears() -> bool:
        baker.turn()
        heard.extend(hub.receive())
        return len(heard) == 10

    until(hears, hub.socket, baker.side.socket)
    first.close()
    oven = Room(post.bus("oven", epoch=2).hub())

    together(lambda: not baker.side.waiting(), oven, baker)

    assert oven.bodies == [b"%d" % number for number in range(10)]


def test_a_hub_that_falls_after_its_commit_does_not_hear_it_again(post: Post) -> None:
    first = post.bus("oven", epoch=1)
    oven, baker = Room(first.hub()), Room(post.bus("baker").spoke("oven"))
    baker.side.post(b"one", is_sure=True)
    together(lambda: not baker.side.waiting(), oven, baker)
    first.close()
    baker.side.post(b"two", is_sure=True)
    successor = Room(post.bus("oven", epoch=2).hub())

    together(lambda: not baker.side.waiting(), successor, baker)

    assert successor.bodies == [b"two"]


def test_a_spoke_that_falls_before_its_commit_hears_everything_again_in_its_next_life(post: Post) -> None:
    hub = post.bus("oven").hub()
    oven, first = Room(hub), post.bus("baker", epoch=1)
    spoke = first.spoke("oven")
    heard: list[Heard] = []
    for number in range(10):
        hub.post("baker", b"%d" % number, is_sure=True)

    def hears() -> bool:
        oven.turn()
        heard.extend(spoke.receive())
        spoke.connected()
        return len(heard) == 10

    until(hears, hub.socket, spoke.socket)
    first.close()
    successor = Room(post.bus("baker", epoch=2).spoke("oven"))

    together(lambda: not hub.waiting(), oven, successor)

    assert successor.bodies == [b"%d" % number for number in range(10)]


def test_what_is_posted_while_the_other_side_is_down_arrives_behind_what_waited(post: Post) -> None:
    first = post.bus("oven", epoch=1)
    first.hub()
    baker = Room(post.bus("baker").spoke("oven"))
    baker.side.post(b"one", is_sure=True)
    first.close()
    baker.turn()
    baker.side.post(b"two", is_sure=True)
    oven = Room(post.bus("oven", epoch=2).hub())

    together(lambda: not baker.side.waiting(), oven, baker)

    assert oven.bodies == [b"one", b"two"]


def test_a_predecessor_that_comes_back_to_life_is_not_heard(post: Post) -> None:
    hub = post.bus("oven").hub()
    oven = Room(hub)
    zombie = Room(post.bus("baker", epoch=1).spoke("oven"))
    zombie.side.post(b"before", is_sure=True)
    together(lambda: oven.heard and not zombie.side.waiting(), oven, zombie)
    successor = Room(post.bus("baker", epoch=2).spoke("oven"))
    successor.side.post(b"from the successor", is_sure=True)
    together(lambda: len(oven.heard) == 2, oven, successor)

    zombie.side.post(b"order", is_sure=True)
    zombie.side.post(b"order", is_sure=False)
    together(lambda: hub.refused >= 2, oven, zombie)

    assert oven.bodies == [b"before", b"from the successor"]
    assert zombie.side.waiting() == 1


def test_a_predecessor_is_not_heard_any_more_once_its_successor_is_known_of(post: Post) -> None:
    hub = post.bus("oven").hub()
    oven = Room(hub)
    zombie = Room(post.bus("baker", epoch=1).spoke("oven"))
    zombie.side.post(b"before", is_sure=True)
    together(lambda: oven.heard and not zombie.side.waiting(), oven, zombie)

    hub.fence("baker", 2)
    zombie.side.post(b"late", is_sure=True)
    zombie.side.post(b"late", is_sure=False)
    together(lambda: hub.refused >= 2, oven, zombie)
    successor = Room(post.bus("baker", epoch=2).spoke("oven"))
    successor.side.post(b"from the successor", is_sure=True)
    together(lambda: len(oven.heard) > 1 and not successor.side.waiting(), oven, successor)

    assert oven.bodies == [b"before", b"from the successor"]
    assert zombie.side.waiting() == 1


def test_a_spoke_gives_no_ear_to_a_hub_that_has_a_successor(post: Post) -> None:
    first = post.bus("oven", epoch=5)
    oven, baker = Room(first.hub()), Room(post.bus("baker").spoke("oven"))
    oven.side.post("baker", b"new", is_sure=True)
    together(lambda: baker.heard, oven, baker)
    first.close()
    older = Room(post.bus("oven", epoch=4).hub())
    older.side.post("baker", b"old", is_sure=True)
    baker.side.post(b"dough", is_sure=True)

    together(lambda: older.heard, older, baker)

    assert baker.bodies == [b"new"]
    assert baker.side.waiting() == 1


def test_whoever_claims_another_epoch_than_its_address_says_is_not_heard(post: Post) -> None:
    hub = post.bus("oven").hub()
    liar = post.bus("baker", epoch=3).spoke("oven")
    liar.post(b"known", is_sure=True)
    together(lambda: not liar.waiting(), Room(hub), Room(liar))

    try_send(liar.socket, [Header(Kind.PARCEL, 9, 2, 2).encode() + b"order"])

    oven = Room(hub)
    together(lambda: hub.refused, oven)
    assert oven.heard == []


MALFORMED = [
    pytest.param([b"short"], id="short-header"),
    pytest.param([b"x" * 21, b"", b""], id="three-frames"),
    pytest.param([Header(Kind.PARCEL, 1, 1, 1).encode(), b"body"], id="two-frames"),
    pytest.param([Header(Kind.RUN, 1, 1, 1).encode() + b"\x09\x00\x00\x00body"], id="torn-run"),
    pytest.param([b"", b""], id="empty"),
]


@pytest.mark.parametrize("frames", MALFORMED)
@pytest.mark.parametrize("identity", [b"baker/1", b"baker", b"baker/x", b"\xff\xfe/1", b"/1"])
def test_what_is_not_of_our_form_is_counted_and_does_no_harm(post: Post, frames: list[bytes], identity: bytes) -> None:
    hub = post.bus("oven").hub()
    stranger = post.bus("stranger")._socket(zmq.DEALER, 10, 10)
    stranger.set(zmq.IDENTITY, identity)
    stranger.connect(f"ipc://{post.folder}/oven.hub")
    oven, friend = Room(hub), Room(post.bus("friend").spoke("oven"))
    friend.side.post(b"dough", is_sure=True)

    stranger.send_multipart(frames)

    together(lambda: hub.refused and oven.heard, oven, friend)
    assert oven.bodies == [b"dough"]


def test_a_torn_run_of_one_who_was_heard_before_is_counted_and_what_follows_is_heard(post: Post) -> None:
    hub = post.bus("oven").hub()
    baker = post.bus("baker").spoke("oven")
    oven, there = Room(hub), Room(baker)
    baker.post(b"dough", is_sure=True)
    together(lambda: not baker.waiting(), oven, there)

    try_send(baker.socket, [Header(Kind.RUN, 1, 2, 2).encode() + b"\x09\x00\x00\x00body"])
    baker.post_all([b"salt", b"water"])

    together(lambda: not baker.waiting(), oven, there)
    assert (hub.refused, oven.bodies) == (1, [b"dough", b"salt", b"water"])


def test_what_one_frame_brought_is_heard_together(post: Post) -> None:
    hub = post.bus("oven").hub()
    baker = post.bus("baker").spoke("oven")
    baker.wait_connected(10_000)
    baker.post_all([b"dough", b"salt"])
    baker.post(b"water", is_sure=True)
    baker.post(b"news", is_sure=False)
    said: list[Said] = []

    until(lambda: said.extend(hub.frames()) or len(said) >= 3, hub.socket)

    assert said == [
        Said("baker", 1, [b"dough", b"salt"], True),
        Said("baker", 1, [b"water"], True),
        Said("baker", 1, [b"news"], False),
    ]


def test_a_frame_that_is_too_large_costs_its_sender_the_connection_and_nobody_else(post: Post) -> None:
    hub = post.bus("oven").hub()
    glutton = post.bus("glutton").spoke("oven")
    oven, friend = Room(hub), Room(post.bus("friend").spoke("oven"))
    glutton.post(b"hello", is_sure=True)
    together(lambda: not glutton.waiting(), oven, Room(glutton))

    glutton.socket.send(bytes(FRAME_BYTES_MAX + BESIDE_BYTES_MAX + 1))
    glutton.post(b"small", is_sure=True)
    friend.side.post(b"dough", is_sure=True)

    together(lambda: not glutton.waiting() and not friend.side.waiting(), oven, friend, Room(glutton))
    assert sorted(oven.bodies) == [b"dough", b"hello", b"small"]


def test_what_must_arrive_and_is_too_large_for_any_wire_is_a_mistake_of_its_sender(post: Post) -> None:
    spoke, hub = post.bus("baker").spoke("oven"), post.bus("oven").hub()
    publisher, huge = post.bus("market").publisher(), bytes(FRAME_BYTES_MAX + 1)

    with pytest.raises(AssertionError, match="too large"):
        spoke.post(huge, is_sure=True)
    with pytest.raises(AssertionError, match="too large"):
        hub.post("baker", huge, is_sure=True)
    with pytest.raises(AssertionError, match="too large"):
        publisher.publish("BTC", 1, 0, huge)

    assert spoke.waiting() == hub.waiting() == 0


def test_what_may_be_lost_and_is_too_large_for_any_wire_does_not_leave(post: Post) -> None:
    hub = post.bus("oven").hub()
    oven, baker = Room(hub), Room(post.bus("baker").spoke("oven"))
    hub.post("baker", b"hello", is_sure=True)
    together(lambda: not hub.waiting(), oven, baker)

    hub.post("baker", bytes(FRAME_BYTES_MAX + 1), is_sure=False)
    hub.post("baker", b"still here", is_sure=True)

    together(lambda: not hub.waiting(), oven, baker)
    assert baker.bodies == [b"hello", b"still here"]


def test_the_largest_frame_passes(post: Post) -> None:
    oven, baker = Room(post.bus("oven").hub()), Room(post.bus("baker").spoke("oven"))
    baker.side.post(bytes(FRAME_BYTES_MAX), is_sure=True)

    together(lambda: not baker.side.waiting(), oven, baker)

    assert [len(body) for body in oven.bodies] == [FRAME_BYTES_MAX]


def test_what_is_posted_together_is_heard_as_if_it_had_been_posted_one_by_one(post: Post) -> None:
    oven = Room(post.bus("oven").hub())
    baker = Room(post.bus("baker").spoke("oven"))
    dough = [b"dough %d" % number for number in range(3 * DRAIN_MAX)]
    baker.side.post_all(dough)
    oven.side.post("baker", b"first", is_sure=True)
    oven.side.post_all("baker", [b"bread %d" % number for number in range(100)])

    together(lambda: not oven.side.waiting() and not baker.side.waiting(), oven, baker)

    assert oven.bodies == dough
    assert baker.bodies == [b"first", *(b"bread %d" % number for number in range(100))]


def test_one_that_talks_without_end_leaves_the_others_their_turn(post: Post) -> None:
    hub = post.bus("oven").hub()
    talker = post.bus("talker").spoke("oven")
    oven = Room(hub)
    talker.post(b"hello", is_sure=True)
    together(lambda: oven.heard and not talker.waiting(), oven, Room(talker))
    for _ in range(4 * DRAIN_MAX):
        talker.post(b"blah", is_sure=False)
    until(lambda: hub.socket.poll(0), hub.socket)

    turns: list[int] = []

    def listens() -> bool:
        turns.append(len(list(hub.receive())))
        return sum(turns) == 4 * DRAIN_MAX

    until(listens, hub.socket)

    assert max(turns) <= DRAIN_MAX


def test_a_lost_receipt_is_asked_for_again(post: Post) -> None:
    hub = post.bus("oven").hub()
    baker = Room(post.bus("baker").spoke("oven"))
    baker.side.post(b"dough", is_sure=True)
    heard: list[Heard] = []

    def hears() -> bool:
        baker.turn()
        heard.extend(hub.receive())
        return bool(heard)

    until(hears, hub.socket, baker.side.socket)
    assert hub._channels["baker"].incoming.receipt(1) is not None  # made, and never sent

    baker.side.send_again()

    together(lambda: not baker.side.waiting(), Room(hub), baker)
    assert len(heard) == 1


# --- streams ------------------------------------------------------------------------------------------


class Listener:
    """A reader of a stream, and the publisher's turn with it."""

    def __init__(self, publisher: Publisher, subscriber: Subscriber) -> None:
        self.publisher, self.subscriber = publisher, subscriber
        self.items: list[StreamItem] = []

    def until(self, claim: Callable[[], object]) -> None:
        def turn() -> object:
            self.publisher.subscriptions()
            self.items += self.subscriber.receive()
            return claim()

        until(turn, self.publisher.socket, self.subscriber.socket)


def test_a_subscription_is_confirmed_by_the_head_of_its_topic(post: Post) -> None:
    publisher = post.bus("market").publisher()
    publisher.start(70, {"BTC": 68, "ETH": 70})
    listener = Listener(publisher, post.bus("alpha").subscriber("market", ("BTC", "ADA")))

    listener.until(lambda: len(listener.items) == 2)

    listener.items.sort(key=lambda item: item.topic)
    assert listener.items == [StreamItem("ADA", 70, 0, None, True), StreamItem("BTC", 70, 68, None, True)]


def test_a_new_subscriber_is_confirmed_alone_so_that_a_thousand_that_come_wake_nobody(post: Post) -> None:
    publisher = post.bus("market").publisher()
    early = Listener(publisher, post.bus("alpha").subscriber("market", ("BTC",)))
    everything = Listener(publisher, post.bus("console").subscriber("market", ("",)))
    for one in (early, everything):
        one.until(lambda one=one: one.items)

    late = [Listener(publisher, post.bus(f"late{number}").subscriber("market", ("BTC",))) for number in range(20)]
    for one in late:
        one.until(lambda one=one: one.items)
    publisher.publish("BTC", 1, 0, b"a")

    for one in (early, everything, *late):
        one.until(lambda one=one: one.items[-1].body == b"a")
        assert [item.body for item in one.items] == [None, b"a"]


def test_whoever_left_a_topic_and_comes_back_to_it_is_confirmed_again(post: Post) -> None:
    publisher = post.bus("market").publisher()
    subscriber = post.bus("alpha").subscriber("market", ("BTC",))
    listener = Listener(publisher, subscriber)
    listener.until(lambda: listener.items)

    subscriber.follow(("ETH",))
    listener.until(lambda: listener.items[-1].topic == "ETH")
    publisher.publish("BTC", 1, 0, b"a")
    subscriber.follow(("BTC", "ETH"))

    listener.until(lambda: listener.items[-1].topic == "BTC")
    assert listener.items[1:] == [StreamItem("ETH", 0, 0, None, True), StreamItem("BTC", 1, 1, None, True)]


def test_whoever_waits_for_the_head_misses_nothing_that_is_said_behind_it(post: Post) -> None:
    publisher = post.bus("market").publisher()
    listener = Listener(publisher, post.bus("alpha").subscriber("market", ("BTC",)))
    listener.until(lambda: listener.items)

    for number in range(1, 101):
        publisher.publish("BTC", number, number - 1, b"%d" % number)

    listener.until(lambda: len(listener.items) == 101)
    assert [item.sequence for item in listener.items[1:]] == list(range(1, 101))
    assert [item.body for item in listener.items[1:]] == [b"%d" % number for number in range(1, 101)]


def test_an_item_names_the_one_before_it_on_its_topic_so_that_a_gap_is_seen(post: Post) -> None:
    publisher = post.bus("market").publisher()
    listener = Listener(publisher, post.bus("alpha").subscriber("market", ("BTC",)))
    listener.until(lambda: listener.items)

    publisher.publish("BTC", 1, 0, b"a")
    publisher.publish("ETH", 2, 0, b"b")
    publisher.publish("BTC", 3, 1, b"c")
    publisher.publish("BTC", 9, 8, b"d")

    listener.until(lambda: len(listener.items) == 4)
    steps = [(item.previous, item.sequence) for item in listener.items[1:]]
    assert steps == [(0, 1), (1, 3), (8, 9)]
    gaps = [one for one, other in zip(steps[1:], steps, strict=False) if one[0] != other[1]]
    assert gaps == [(8, 9)]


def test_what_is_said_together_arrives_as_if_it_had_been_said_one_by_one(post: Post) -> None:
    publisher = post.bus("market").publisher()
    some = Listener(publisher, post.bus("alpha").subscriber("market", ("BTC",)))
    everything = Listener(publisher, post.bus("console").subscriber("market", ("",)))
    for one in (some, everything):
        one.until(lambda one=one: one.items)
        one.items.clear()

    head = 2 * DRAIN_MAX
    bars = [("BTC", number + 1, number, b"%d" % number) for number in range(head)]
    beside = [("ETH", head + 1, 0, b"x"), ("quote", 0, 0, b"v"), ("quote", 0, 0, b"w")]
    last = ("BTC", head + 2, head, b"")
    publisher.publish_all([*bars, *beside, last])
    publisher.announce()

    some.until(lambda: some.items and some.items[-1].body is None)
    assert some.items == [
        *(StreamItem(*bar, True) for bar in (*bars, last)),
        StreamItem("BTC", head + 2, head + 2, None, True),
    ]
    everything.until(lambda: len(everything.items) >= len(bars) + 4)
    quotes = [StreamItem("quote", 1, 0, b"v", False), StreamItem("quote", 2, 1, b"w", False)]
    said = [*(StreamItem(*each, True) for each in (*bars, beside[0])), *quotes, StreamItem(*last, True)]
    assert everything.items[: len(said)] == said


def test_a_publisher_that_was_started_anew_confirms_with_what_it_remembers(post: Post) -> None:
    first = post.bus("market", epoch=1)
    listener = Listener(first.publisher(), post.bus("alpha").subscriber("market", ("BTC",)))
    listener.until(lambda: listener.items)
    first.close()
    listener.items.clear()

    successor = post.bus("market", epoch=2).publisher()
    successor.start(40, {"BTC": 39})
    listener.publisher = successor
    listener.until(lambda: listener.items)

    assert listener.items == [StreamItem("BTC", 40, 39, None, True)]


def test_a_topic_is_not_taken_for_a_longer_one_that_begins_like_it(post: Post) -> None:
    publisher = post.bus("market").publisher()
    listener = Listener(publisher, post.bus("alpha").subscriber("market", ("BTC", "end")))
    listener.until(lambda: len(listener.items) == 2)

    for number, topic in enumerate(("BTC/USD", "BT", "BTC", "BTC2", "end"), 1):
        publisher.publish(topic, number, 0, b"")

    listener.until(lambda: listener.items[-1].topic == "end" and listener.items[-1].body is not None)
    assert [item.topic for item in listener.items if item.body is not None] == ["BTC", "end"]


def test_whoever_asks_for_nothing_in_particular_hears_everything(post: Post) -> None:
    publisher = post.bus("market").publisher()
    listener = Listener(publisher, post.bus("console").subscriber("market", ("",)))
    listener.until(lambda: listener.items)

    publisher.publish("BTC", 1, 0, b"a")
    publisher.publish("ETH", 0, 0, b"b")

    listener.until(lambda: len(listener.items) == 3)
    assert listener.items == [
        StreamItem("", 0, 0, None, True),
        StreamItem("BTC", 1, 0, b"a", True),
        StreamItem("ETH", 1, 0, b"b", False),
    ]


def test_a_topic_without_memory_is_numbered_by_the_stream(post: Post) -> None:
    publisher = post.bus("market").publisher()
    listener = Listener(publisher, post.bus("alpha").subscriber("market", ("quote",)))
    listener.until(lambda: listener.items)

    for body in (b"a", b"b", b"c"):
        publisher.publish("quote", 0, 0, body)

    listener.until(lambda: len(listener.items) == 4)
    assert listener.items[1:] == [
        StreamItem("quote", number, number - 1, body, False) for number, body in ((1, b"a"), (2, b"b"), (3, b"c"))
    ]


def test_the_head_is_announced_again_after_items_so_that_a_lost_last_one_is_missed(post: Post) -> None:
    publisher = post.bus("market").publisher()
    listener = Listener(publisher, post.bus("alpha").subscriber("market", ("BTC",)))
    listener.until(lambda: listener.items)
    publisher.publish("BTC", 1, 0, b"a")
    publisher.publish("ETH", 2, 0, b"b")

    publisher.announce()

    listener.until(lambda: len(listener.items) == 3)
    assert listener.items[-1] == StreamItem("BTC", 2, 1, None, True)


def test_announcing_ends_some_time_after_the_last_item(post: Post) -> None:
    publisher = post.bus("market").publisher()
    listener = Listener(publisher, post.bus("alpha").subscriber("market", ("BTC", "end")))
    listener.until(lambda: len(listener.items) == 2)
    publisher.publish("BTC", 1, 0, b"a")

    for _ in range(1000):
        publisher.announce()

    publisher.publish("end", 2, 0, b"")
    listener.until(lambda: listener.items[-1].body == b"")
    assert len(listener.items) < 100


def test_a_subscriber_that_does_not_read_holds_up_nobody(post: Post) -> None:
    publisher = post.bus("market").publisher()
    listener = Listener(publisher, post.bus("alpha").subscriber("market", ("BTC",)))
    listener.until(lambda: listener.items)
    before_ns = CLOCK.monotonic_ns()

    for number in range(1, 120_001):
        publisher.publish("BTC", number, number - 1, b"")

    assert CLOCK.monotonic_ns() - before_ns < PATIENCE_NS
    listener.until(lambda: len(listener.items) > 40_000)
    assert listener.items[1].sequence == 1


# --- the other sockets --------------------------------------------------------------------------------


def test_the_control_socket_is_for_the_owner_only_and_answers_each_client_for_itself(post: Post) -> None:
    server = post.bus("console").control_server()
    clients = [post.bus(f"client {number}").control_client() for number in range(2)]
    for number, client in enumerate(clients):
        client.send(b"question %d" % number)
    asked: dict[bytes, bytes] = {}

    def hears() -> bool:
        asked.update((frames[0], frames[1]) for frames in drain(server))
        return len(asked) == 2

    until(hears, server)
    for address, question in asked.items():
        assert try_send(server, [address, question.replace(b"question", b"answer")])

    assert [client.recv() for client in clients] == [b"answer 0", b"answer 1"]
    mode = (post.folder / "control").stat().st_mode
    assert stat.S_ISSOCK(mode)
    assert mode & 0o777 == 0o600


def test_a_client_that_left_is_answered_in_vain_and_without_an_error(post: Post) -> None:
    server = post.bus("console").control_server()
    bus = post.bus("client")
    bus.control_client().send(b"question")
    asked: list[list[bytes]] = []

    def hears() -> bool:
        asked.extend(drain(server))
        return bool(asked)

    until(hears, server)

    bus.close()

    try_send(server, [asked[0][0], b"answer"])


def a_feed(post: Post) -> tuple[Socket[bytes], Foreign]:
    """Open a publisher that is not ours, and an ear that it knows of."""
    url = f"ipc://{post.folder}/foreign"
    feed = post.bus("feed")._socket(zmq.XPUB, 1000, 10)
    feed.set(zmq.XPUB_VERBOSE, 1)  # an ear that comes back may be heard before its old connection is gone
    feed.bind(url)
    ears = post.bus("market").foreign(url, ("tick.",))
    until(lambda: list(drain(feed)), feed)
    return feed, ears


def heard_of(ears: Foreign, count: int) -> list[list[bytes]]:
    heard: list[list[bytes]] = []

    def hears() -> bool:
        heard.extend(drain(ears.socket))
        return len(heard) >= count

    until(hears, ears.socket)
    return heard


def test_a_foreign_feed_is_heard_raw_and_by_prefix(post: Post) -> None:
    feed, ears = a_feed(post)

    feed.send_multipart([b"other", b"?"])
    feed.send(b"tick.BTC 1")
    feed.send_multipart([b"tick.BTC", b"{}", b"more"])

    assert heard_of(ears, 2) == [[b"tick.BTC 1"], [b"tick.BTC", b"{}", b"more"]]


def test_a_foreign_feed_is_heard_again_after_a_frame_that_was_too_large(post: Post) -> None:
    feed, ears = a_feed(post)
    feed.send_multipart([b"tick.BTC", bytes(FOREIGN_FRAME_BYTES_MAX + 1)])

    def mends() -> bool:
        ears.watch()
        return ears.mend()

    until(mends, ears.monitor)
    until(lambda: b"\x01tick." in [frame for (frame,) in drain(feed)], feed)
    feed.send(b"tick.BTC 2")

    assert heard_of(ears, 1) == [[b"tick.BTC 2"]]
    assert not ears.mend()


def test_one_who_floods_a_hub_is_heard_by_shares_and_another_is_heard_in_the_first(post: Post) -> None:
    hub = post.bus("risk").hub(share=10)
    flood, quiet = post.bus("strategies/flood").spoke("risk"), post.bus("strategies/quiet").spoke("risk")
    poller = Poller()
    poller.register(hub.socket, zmq.POLLIN)
    for spoke in (flood, quiet):
        spoke.wait_connected(10_000)
    for number in range(45):
        flood.post(str(number).encode(), is_sure=True)
    quiet.post(b"here", is_sure=True)
    heard: list[list[Heard]] = []
    deadline_ns = CLOCK.monotonic_ns() + PATIENCE_NS
    while sum(len(turn) for turn in heard) < 46:
        assert CLOCK.monotonic_ns() < deadline_ns
        if poller.poll(100):
            heard.append(list(hub.receive()))

    assert max(sum(one.peer == "strategies/flood" for one in turn) for turn in heard) <= 10
    flooded = [one.body for turn in heard for one in turn if one.peer == "strategies/flood"]
    assert flooded == [str(number).encode() for number in range(45)]
    assert [one.body for turn in heard for one in turn if one.peer == "strategies/quiet"] == [b"here"]


#: A door that nobody reads, and a client that sends until nothing more goes, and leaves. Longer than libzmq's timers
#: were once set to, the door waits for another one.
LEFT_UNREAD = """
import sys
from contextlib import suppress
from pathlib import Path
import zmq
from runtime.bus import Bus
from runtime.bus.frames import READABLE, Poller
from runtime.bus.outside import new_keys
from runtime.bus_words import Address

folder = Path(sys.argv[1])
(public, secret), keys = new_keys(), new_keys()
bus, outside = Bus(folder, Address("console", 1)), Bus(folder, Address("client", 1))
door = bus.guarded_server(secret)
assert not door.listen(bus.guarded_url())
client = outside.guarded_client(bus.guarded_url(), public, keys)
poller = Poller()
poller.register(door.visitors, READABLE)
assert poller.poll(10_000)
for visitor in door.knocking():
    door.admit(visitor, is_welcome=True)
assert client.socket.poll(10_000, zmq.POLLOUT)
while client.socket.poll(1000, zmq.POLLOUT):
    with suppress(zmq.Again):
        for _ in range(1000):
            client.socket.send(bytes(10_000), zmq.NOBLOCK)
outside.close()
assert not poller.poll(16_000)
print("the door stands", flush=True)
bus.close()
"""


@pytest.mark.slow
def test_a_client_that_sends_more_than_is_read_and_leaves_does_not_end_the_process_with_the_door(
    tmp_path: Path,
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LEFT_UNREAD, str(tmp_path)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert (done.stdout, done.stderr) == ("the door stands\n", "")


@pytest.mark.slow
def test_a_client_that_lets_its_answers_lie_loses_its_connection_and_one_that_is_silent_does_not(post: Post) -> None:
    (public, secret), deaf_keys, silent_keys = new_keys(), new_keys(), new_keys()
    door = post.bus("console").guarded_server(secret)
    assert not door.listen("tcp://127.0.0.1:*")
    url = door.socket.get_string(zmq.LAST_ENDPOINT)
    became: list[Connection] = []
    addresses: list[bytes] = []

    def hears() -> int:
        for visitor in door.knocking():
            door.admit(visitor, is_welcome=True)
        became.extend(door.arrivals())
        addresses.extend(marked.address for marked in drain_marked(door.socket, 10))
        return len(addresses)

    clients = [post.bus("client").guarded_client(url, public, keys) for keys in (silent_keys, deaf_keys)]
    for number, client in enumerate(clients, 1):
        client.socket.send(b"say much")
        until(lambda number=number: hears() == number, door.socket, door.visitors, door.monitor)

    def is_broken() -> bool:
        for _ in range(50):
            try_send(door.socket, [addresses[1], bytes(100_000)])
        hears()
        return Connection.WENT in became

    until(is_broken, door.monitor, door.visitors)

    assert became.count(Connection.WENT) == 1
    assert try_send(door.socket, [addresses[0], b"here"])
