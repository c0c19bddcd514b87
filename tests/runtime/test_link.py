"""Whatever is lost, repeated, overtaken or killed: each parcel is heard, in order, once for each incarnation."""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, Phase, example, find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample
from typing_extensions import override

from runtime.errors import WireError
from runtime.link import HEADER_BYTES, RUN_BYTES_MAX, RUN_MAX, Header, Incoming, Kind, Outgoing, bodies_of

NAMES = ("left", "right")


# --- a model of two rooms and the wires between them --------------------------------------------------


class Frame(NamedTuple):
    """One frame on its way to a side."""

    to: int
    data: bytes


class Hearing(NamedTuple):
    """One parcel as one incarnation of a side heard it."""

    hearer_epoch: int
    sender_epoch: int
    body: int


@dataclass
class Side:
    """One room: what it keeps on its disk, and what dies with its process."""

    make_incoming: Callable[[], Incoming]
    epoch: int = 0
    posted: int = 0
    """How many parcels it has made so far; kept."""
    heard: list[Hearing] = field(default_factory=list[Hearing])
    committed: set[int] = field(default_factory=set[int])
    """Bodies that some incarnation heard and committed; kept."""

    def __post_init__(self) -> None:
        self.start([])

    def start(self, again: Sequence[bytes]) -> None:
        """Be a new incarnation, whose room posts again what had no receipt."""
        self.epoch += 1
        self.outgoing = Outgoing(self.epoch, 1000)
        self.incoming = self.make_incoming()
        self.pending: list[int] = []
        for body in again:
            self.outgoing.add(body)


class World:
    """Both sides, and every frame that is on its way."""

    def __init__(self, make_incoming: Callable[[], Incoming]) -> None:
        self.sides = (Side(make_incoming), Side(make_incoming))
        self.wire: list[Frame] = []

    def do(self, verb: str, who: int, which: int) -> None:
        if verb == "post":
            self.post(who)
        elif verb == "run":
            self.post_run(who, which)
        elif verb == "again":
            self.again(who)
        elif verb == "commit":
            self.commit(who)
        elif verb == "kill":
            self.sides[who].start([body for _, body in self.sides[who].outgoing.waiting])
        elif self.wire:
            frame = self.wire[which % len(self.wire)]
            if verb != "repeat":
                self.wire.remove(frame)
            if verb != "lose":
                self.deliver(frame)

    def post(self, who: int) -> None:
        side = self.sides[who]
        side.posted += 1
        body = side.posted.to_bytes(2, "big")
        self.wire.append(Frame(1 - who, side.outgoing.add(body)))

    def post_run(self, who: int, count: int) -> None:
        side = self.sides[who]
        numbers = range(side.posted + 1, side.posted + count + 1)
        side.posted += count
        frames = side.outgoing.add_all([number.to_bytes(2, "big") for number in numbers])
        self.wire += [Frame(1 - who, data) for data in frames]

    def again(self, who: int) -> None:
        self.wire += [Frame(1 - who, data) for data in self.sides[who].outgoing.again()]

    def commit(self, who: int) -> None:
        side = self.sides[who]
        side.committed |= set(side.pending)
        side.pending.clear()
        receipt = side.incoming.receipt(side.epoch)
        if receipt is not None:
            self.wire.append(Frame(1 - who, receipt))

    def deliver(self, frame: Frame) -> None:
        side, header = self.sides[frame.to], Header.decode(frame.data)
        if not side.incoming.saw(header.epoch):
            return
        if header.kind == Kind.RECEIPT:
            side.outgoing.acknowledged(header)
            return
        bodies = bodies_of(frame.data) if header.kind == Kind.RUN else [frame.data[HEADER_BYTES:]]
        for data in bodies[len(bodies) - side.incoming.takes(header, len(bodies)) :]:
            body = int.from_bytes(data, "big")
            side.heard.append(Hearing(side.epoch, header.epoch, body))
            side.pending.append(body)

    def calm(self) -> None:
        """Let nothing be lost any more, and go on until nothing is left to do."""
        for _ in range(4):
            for who in (0, 1):
                self.again(who)
            while self.wire:
                self.deliver(self.wire.pop(0))
            for who in (0, 1):
                self.commit(who)
            while self.wire:
                self.deliver(self.wire.pop(0))


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["post", "run", "again", "commit", "commit", "kill", "take", "take", "take", "repeat", "lose"]),
        st.integers(0, 1),
        st.integers(0, 7),
    ),
    max_size=60,
)
Step = tuple[str, int, int]


def play(steps: Sequence[Step], make_incoming: Callable[[], Incoming]) -> World:
    world = World(make_incoming)
    for verb, who, which in steps:
        world.do(verb, who, which)
    world.calm()
    return world


def is_everything_heard(world: World) -> bool:
    return all(
        hearer.committed == set(range(1, sender.posted + 1)) for sender, hearer in (world.sides, reversed(world.sides))
    )


def is_nothing_left(world: World) -> bool:
    return not any(side.outgoing.waiting for side in world.sides)


def is_in_order_and_once(world: World) -> bool:
    for side in world.sides:
        newest: dict[tuple[int, int], int] = {}
        for heard in side.heard:
            pair = (heard.hearer_epoch, heard.sender_epoch)
            if heard.body <= newest.get(pair, 0):
                return False
            newest[pair] = heard.body
    return True


#: A receipt of the fallen receiver comes only after its successor has got a parcel that was sent before it.
LATE_RECEIPT: list[Step] = [
    ("post", 1, 0),
    ("take", 0, 0),
    ("commit", 0, 0),
    ("post", 1, 0),
    ("kill", 0, 0),
    ("take", 0, 1),
    ("take", 1, 0),
]
CLAIMS = [is_everything_heard, is_nothing_left, is_in_order_and_once]
QUIETLY = settings(max_examples=200, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize("claim", CLAIMS)
def test_whatever_happens_on_the_way_the_link_keeps_its_promise(claim: Callable[[World], bool]) -> None:
    @QUIETLY
    @example(LATE_RECEIPT)
    @given(STEPS)
    def holds(steps: list[Step]) -> None:
        assert claim(play(steps, Incoming))

    holds()


# --- the model sees what is wrong ---------------------------------------------------------------------


class TakesEverything(Incoming):
    """Does not look at the sequence."""

    @override
    def takes(self, header: Header, count: int = 1) -> int:
        is_known = self.saw(header.epoch)
        self.taken = header.sequence + count - 1
        return count if is_known else 0


class TakesWhatIsNewer(Incoming):
    """Lets a parcel overtake another, which is then lost."""

    @override
    def takes(self, header: Header, count: int = 1) -> int:
        last = header.sequence + count - 1
        if not self.saw(header.epoch) or last <= self.taken:
            return 0
        before, self.taken = max(self.taken, header.sequence - 1), last
        return last - before


class WaitsForWhatIsGone(Incoming):
    """Waits for a parcel that its predecessor has acknowledged, and that nobody sends any more."""

    @override
    def takes(self, header: Header, count: int = 1) -> int:
        if not self.saw(header.epoch):
            return 0
        if self.taken < 0:
            self.taken = self._acknowledged = header.second - 1
        return super().takes(header._replace(second=0), count)


class AcknowledgesOnce(Incoming):
    """Does not repeat a receipt that was lost."""

    @override
    def receipt(self, own_epoch: int) -> bytes | None:
        self._acknowledged = max(self._acknowledged, self._said)
        receipt = super().receipt(own_epoch)
        self._said = self._acknowledged
        return receipt

    _said = -1


@pytest.mark.parametrize(
    ("naive", "claim"),
    [
        pytest.param(TakesEverything, is_in_order_and_once, id="repeated"),
        pytest.param(TakesWhatIsNewer, is_everything_heard, id="overtaken"),
        pytest.param(AcknowledgesOnce, is_nothing_left, id="receipt-lost"),
    ],
)
def test_the_model_finds_what_is_wrong_with_a_naive_receiver(
    naive: type[Incoming], claim: Callable[[World], bool]
) -> None:
    thorough = settings(QUIETLY, max_examples=20_000, phases=[Phase.generate])

    def is_told_apart(steps: list[Step]) -> bool:
        try:
            return not claim(play(steps, naive))
        except struct.error:  # it got so far that it names a parcel that no frame can name
            return True

    try:
        steps = find(STEPS, is_told_apart, settings=thorough)
    except NoSuchExample:
        pytest.fail(f"the model is content with a receiver that {naive.__doc__}")

    assert claim(play(steps, Incoming))


def test_a_late_receipt_leaves_a_naive_receiver_waiting_for_ever() -> None:
    assert not is_everything_heard(play(LATE_RECEIPT, WaitsForWhatIsGone))
    assert is_everything_heard(play(LATE_RECEIPT, Incoming))


# --- what the parts promise for themselves ------------------------------------------------------------


@given(st.sampled_from(Kind), st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_a_header_comes_back_as_it_went(kind: Kind, epoch: int, sequence: int, second: int) -> None:
    header = Header(kind, epoch, sequence, second)

    assert Header.decode(header.encode()) == header


@pytest.mark.parametrize("data", [b"", b"\x01" * 20])
def test_what_is_too_short_for_a_header_is_refused(data: bytes) -> None:
    with pytest.raises(WireError, match=f"{len(data)} bytes are no header"):
        Header.decode(data)


@given(st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(1, 3), st.booleans()), max_size=12))
def test_what_follows_in_the_usual_way_is_taken_as_anything_else(parcels: list[tuple[int, int, int, bool]]) -> None:
    short, long = Incoming(), Incoming()
    for incoming in (short, long):
        assert incoming.takes(Header(Kind.PARCEL, 1, 1, 1)) == 1
    for sequence, oldest, count, is_committed in parcels:
        header = Header(Kind.RUN, 1, sequence, oldest)
        news = count if short.follows(sequence, oldest, count) else short.takes(header, count)
        assert news == long.takes(header, count)
        if is_committed:
            assert short.receipt(1) == long.receipt(1)


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=3 * RUN_MAX))
def test_parcels_travel_in_as_few_frames_as_that_takes_and_come_apart_again(bodies: list[bytes]) -> None:
    frames = list(Outgoing(1, 1000).add_all(bodies))

    found: list[bytes] = []
    for number, frame in enumerate(frames):
        header = Header.decode(frame)
        assert (header.sequence, header.second) == (number * RUN_MAX + 1, 1)
        found += bodies_of(frame) if header.kind == Kind.RUN else [frame[HEADER_BYTES:]]
    assert found == bodies
    assert len(frames) == -(-len(bodies) // RUN_MAX)


def test_large_parcels_do_not_travel_together() -> None:
    large = bytes(RUN_BYTES_MAX // 2 + 1)

    frames = list(Outgoing(1, 1000).add_all([large, large, b"small"]))

    assert [Header.decode(frame).kind for frame in frames] == [Kind.PARCEL, Kind.RUN]


@given(st.binary(max_size=60))
def test_a_run_whose_lengths_do_not_add_up_is_refused(data: bytes) -> None:
    frame = Header(Kind.RUN, 1, 1, 1).encode() + data
    try:
        bodies = bodies_of(frame)
    except WireError:
        return
    assert len(data) == sum(4 + len(body) for body in bodies)
    assert bodies


def test_a_sender_that_is_not_heard_for_too_long_refuses_loudly() -> None:
    outgoing = Outgoing(1, waiting_max=2)
    outgoing.add(b"one")
    outgoing.add(b"two")

    with pytest.raises(OverflowError, match="2 parcels wait"):
        outgoing.add(b"three")
    with pytest.raises(OverflowError, match="2 parcels wait"):
        outgoing.add_all([b"three"])
    assert len(outgoing.waiting) == 2


def test_a_receipt_for_an_earlier_incarnation_says_nothing() -> None:
    outgoing = Outgoing(2, waiting_max=10)
    outgoing.add(b"one")

    outgoing.acknowledged(Header(Kind.RECEIPT, 1, 1, 1))

    assert len(outgoing.waiting) == 1


def test_a_predecessor_is_not_heard_once_its_successor_was() -> None:
    incoming = Incoming()
    incoming.saw(2)

    assert not incoming.takes(Header(Kind.PARCEL, 1, 1, 1))
    assert incoming.takes(Header(Kind.PARCEL, 2, 1, 1))


def test_nothing_is_acknowledged_twice_without_need() -> None:
    incoming = Incoming()
    incoming.takes(Header(Kind.PARCEL, 1, 1, 1))

    assert incoming.receipt(1) is not None
    assert incoming.receipt(1) is None
