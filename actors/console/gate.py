"""Who a client is, how often it may ask, and what it has asked before. Pure: time comes as an argument."""

from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec

from actors.console.clients import Client, fingerprint
from actors.console.protocol import Reply, Request
from actors.console.verbs import Role
from runtime.bucket import Bucket
from runtime.clock import NS_PER_S

#: The client at the local door: whoever is the desk's user.
LOCAL = "local"
#: How far a request's own time may be from ours, at a door where it must have one.
AGE_NS_MAX = 60 * NS_PER_S
#: Behind this a request of the guarded door is too old, whenever within the allowed future it was written.
REMEMBERED_NS = 2 * AGE_NS_MAX + 10 * NS_PER_S
#: Changes remembered of one client. At the guarded door one more is refused until the oldest is too old to come again.
CHANGES_REMEMBERED = 4096


class Pace(NamedTuple):
    """How often a client may do a thing: so many a second, so many at once after a rest."""

    rate: float
    burst: float


class Paces(NamedTuple):
    """The bounds of one client: requests, changes, and bytes of answers."""

    requests: Pace
    changes: Pace
    answer_bytes: Pace


GUARDED_PACES = Paces(Pace(50, 100), Pace(20, 40), Pace(8 << 20, 16 << 20))
LOCAL_PACES = Paces(Pace(1000, 2000), Pace(200, 400), Pace(64 << 20, 256 << 20))
#: Refused attempts of one client that are recorded; the others are counted, and the count is recorded.
REFUSAL_PACE = Pace(0.1, 40)


class Who(NamedTuple):
    """A client that may speak. ``identity`` is its key's fingerprint, which nobody else can have, or "local"."""

    identity: str
    name: str
    role: Role
    door: str


LOCAL_WHO = Who(LOCAL, LOCAL, Role.ADMIN, LOCAL)


class _Meter:
    """One client's buckets."""

    def __init__(self, paces: Paces, now_ns: int) -> None:
        self.requests = Bucket(*paces.requests, now_ns)
        self.changes = Bucket(*paces.changes, now_ns)
        self.answer_bytes = Bucket(*paces.answer_bytes, now_ns)


class Gate:
    """The list of clients in force, and how often each has spoken."""

    def __init__(self) -> None:
        """Know the local client alone."""
        self.clients: Mapping[str, Client] = {}
        self._meters: dict[str, _Meter] = {}

    def take_list(self, clients: Iterable[Client]) -> None:
        """Put another list in force, for connections that stand as for new ones. Bounds go on where they were."""
        self.clients = {client.key: client for client in clients}

    def who(self, door: str, key: str) -> Who | None:
        """Say who speaks at a door with a proved public key; None for a key that is not listed (any more)."""
        if door == LOCAL:
            return LOCAL_WHO
        client = self.clients.get(key)
        return None if client is None else Who(fingerprint(key), client.name, client.rank, door)

    def may_ask(self, who: Who, now_ns: int) -> bool:
        """Count one request; False where it comes too soon."""
        return self._meter(who, now_ns).requests.take(now_ns)

    def may_change(self, who: Who, now_ns: int) -> bool:
        """Count one change; False where it comes too soon."""
        return self._meter(who, now_ns).changes.take(now_ns)

    def may_read(self, who: Who, now_ns: int) -> bool:
        """Say whether a large answer may be made, after all that were sent."""
        return self._meter(who, now_ns).answer_bytes.left(now_ns) > 0

    def sent(self, who: Who, size_bytes: int, now_ns: int) -> None:
        """Count the bytes of an answer."""
        self._meter(who, now_ns).answer_bytes.charge(size_bytes, now_ns)

    def _meter(self, who: Who, now_ns: int) -> _Meter:
        meter = self._meters.get(who.identity)
        if meter is None:
            paces = LOCAL_PACES if who.door == LOCAL else GUARDED_PACES
            meter = self._meters[who.identity] = _Meter(paces, now_ns)
        return meter


#: What attempts have in common that are counted together: at which door they were refused, and with which code.
Likeness = tuple[str, str]


class Refusals:
    """Which refused attempts are recorded: so many of each client, and of the others the number of each likeness."""

    def __init__(self) -> None:
        """Know of none."""
        self._buckets: dict[str, Bucket] = {}
        self._left_out: dict[str, Counter[Likeness]] = {}

    def records(self, identity: str, likeness: Likeness, now_ns: int) -> int | None:
        """Count one; give how many like it were left out where it is to be recorded, None where it is left out."""
        bucket = self._buckets.setdefault(identity, Bucket(*REFUSAL_PACE, now_ns))
        if bucket.take(now_ns):
            return self._left_out.get(identity, Counter()).pop(likeness, 0)
        self._left_out.setdefault(identity, Counter())[likeness] += 1
        return None

    def due(self, now_ns: int) -> list[tuple[str, Likeness, int]]:
        """Give (identity, likeness, how many were left out) of those whose numbers may be recorded now; forget them.

        All numbers of one client count as one record.
        """
        return self._told([who for who, counts in self._left_out.items() if counts and self._buckets[who].take(now_ns)])

    def rest(self) -> list[tuple[str, Likeness, int]]:
        """Give the same of all, for whoever counts no further."""
        return self._told(list(self._left_out))

    def _told(self, identities: Iterable[str]) -> list[tuple[str, Likeness, int]]:
        counted = [(who, self._left_out.pop(who)) for who in identities]
        return [(who, likeness, count) for who, counts in counted for likeness, count in counts.items()]


class Remembered(msgspec.Struct):
    """One change that was asked for: what it said, when it came, in which run of the desk, and the answer if any.

    ``name`` is the strategy that it names, of one that was read back from the trail, and ``position`` what it says of
    that one's position.
    """

    verb: str
    digest: str
    came_ns: int
    run: str
    reply: Reply | None = None
    name: str = ""
    position: str = ""


class Memory:
    """The changes that clients asked for, so that each is carried out once. A client finds its own alone."""

    def __init__(self) -> None:
        """Remember nothing."""
        self._of: dict[str, OrderedDict[str, Remembered]] = {}

    def find(self, who: Who, request: str) -> Remembered | None:
        """Give what this client asked under this id."""
        return self._of.get(who.identity, {}).get(request)

    def begin(self, who: Who, request: str, change: Remembered) -> bool:
        """Remember a change before it takes effect.

        False: too many are remembered that could still come again, and this one must be refused. Only the guarded
        door refuses so; at the local one the oldest is forgotten.
        """
        kept = self._of.setdefault(who.identity, OrderedDict())
        if len(kept) >= CHANGES_REMEMBERED:
            oldest = next(iter(kept.values()))
            if who.door != LOCAL and change.came_ns - oldest.came_ns < REMEMBERED_NS:
                return False
            kept.popitem(last=False)
        kept[request] = change
        return True

    def forget(self, who: Who, request: str) -> None:
        """Forget a change that came to nothing after all."""
        self._of.get(who.identity, OrderedDict()).pop(request, None)

    def restore(self, identity: str, request: str, change: Remembered) -> None:
        """Remember a change that an incarnation before this one recorded, oldest first."""
        kept = self._of.setdefault(identity, OrderedDict())
        kept[request] = change
        if len(kept) > CHANGES_REMEMBERED:
            kept.popitem(last=False)

    def end(self, identity: str, request: str, reply: Reply) -> None:
        """Remember the answer; a change that was forgotten since stays so."""
        change = self._of.get(identity, {}).get(request)
        if change is not None:
            change.reply = reply


def staleness(request: Request, wall_ns: int) -> str:
    """Say why a request's own time is not ours, "" where it is; one without a time has none."""
    if request.at is None:
        return 'it does not say when it was sent; write "at": milliseconds since 1970'
    off_s = request.at / 1000 - wall_ns / NS_PER_S
    if abs(off_s) * NS_PER_S <= AGE_NS_MAX:
        return ""
    side = "old" if off_s < 0 else "in the future"
    return f"it was sent {abs(off_s):.0f} s {side}; at most {AGE_NS_MAX // NS_PER_S} are taken: compare the clocks"
