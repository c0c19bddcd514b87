"""The words of the runtime itself: READY, progress, peers, turns. They carry rooms' words only as bytes."""

import msgspec

#: The state of a process that is no more in the tree.
REMOVED = "REMOVED"


class Word(msgspec.Struct, frozen=True, array_like=True, gc=False, tag_field="word"):
    """Base of the runtime's words; positional and tagged like every word of the wire."""


class Hello(Word, frozen=True, tag="rt.hello"):
    """Event. A spoke is connected (again): what was not acknowledged comes once more."""


class Ready(Word, frozen=True, tag="rt.ready"):
    """Event. A child has recovered its state and opened its inbox."""


class Progress(Word, frozen=True, tag="rt.progress"):
    """Fact. How far a child's own loop has come. ``facts`` is what the room says of itself, for the status dump.

    ``waiting`` counts posts without a receipt. ``depth`` is the most messages that one turn found since the last
    report, ``oldest_ns`` the longest that one which waits now can have waited. The lags are how long a message waited
    and was handled, over the last minute. ``slowest_ns`` is the longest turn since the last report and ``slowest`` its
    last word; ``last`` is the last word of all. ``stuck`` says by peer for how long (ns) the oldest post has waited for
    its receipt. ``cpu_ns`` is the processor time of the process so far.
    """

    path: str
    epoch: int
    turns: int
    handled: int
    waiting: int
    facts: dict[str, object]
    depth: int = 0
    oldest_ns: int = 0
    lag_p50_ns: int = 0
    lag_p99_ns: int = 0
    slowest_ns: int = 0
    slowest: str = ""
    last: str = ""
    stuck: dict[str, int] = {}
    cpu_ns: int = 0


class StopAsked(Word, frozen=True, tag="rt.stop"):
    """Command. End in good order: finish what is in hand, commit, leave."""


class Peer(Word, frozen=True, tag="rt.peer"):
    """Fact. One process as its supervisor sees it; who is of an epoch before ``epoch`` is not heard any more."""

    path: str
    epoch: int
    state: str


class PeersChanged(Word, frozen=True, tag="rt.peers"):
    """Fact. How the processes of the tree are: all of them, or those that are others since the version before.

    A difference follows the word whose ``version`` is one less. In it a process that left the tree is REMOVED.
    """

    version: int
    peers: tuple[Peer, ...]
    is_whole: bool = True


class RootAsked(Word, frozen=True, tag="rt.ask"):
    """Query or command to the root supervisor. The same ``request`` is carried out once."""

    request: str
    verb: str
    arguments: dict[str, object]


class RootAnswered(Word, frozen=True, tag="rt.answer"):
    """Answer of the root supervisor; ``error`` is empty where it was carried out."""

    request: str
    error: str
    result: dict[str, object]


class RootAlive(Word, frozen=True, tag="rt.alive"):
    """Fact. The root supervisor's loop has come this far."""

    turns: int


class Watched(Word, frozen=True, tag="rt.watched"):
    """Fact. One child that is READY, as root sees it: its report, and how old that makes what waits.

    ``stuck`` says by peer for how long (ns) its oldest post has had no receipt; ``soft_bytes`` is 0 where there is no
    limit. ``facts`` is that part of what the room says of itself which root was told to pass on.
    """

    path: str
    epoch: int
    handled: int
    oldest_ns: int
    stuck: dict[str, int]
    rss_bytes: int
    soft_bytes: int
    facts: dict[str, object]


class WatchTable(Word, frozen=True, tag="rt.table"):
    """Fact. A part of all that root knows of its children; with ``is_last`` the table of that number is complete."""

    number: int
    rows: tuple[Watched, ...]
    is_last: bool


class Turn(Word, frozen=True, tag="rt.turn"):
    """Command of the conductor: it is your turn in this phase of this step. ``payload`` is a word, or empty."""

    step: int
    phase: int
    market_ns: int
    payload: bytes


class Settled(Word, frozen=True, tag="rt.settled"):
    """Event. All of this phase is heard, and all that was sent in it is acknowledged. ``sent`` counts the latter."""

    step: int
    phase: int
    sent: int
    facts: bytes


class Reconfigured(Word, frozen=True, tag="rt.reconfigured"):
    """Fact from root. The incarnation ``epoch`` has these arguments from now on, as its successors start with them."""

    arguments: bytes
    epoch: int


class RestartWanted(Word, frozen=True, tag="rt.restart_wanted"):
    """Wish to root: restart me in good order, now that it suits me. Granted once for the same arguments, uncounted."""

    reason: str


RUNTIME_WORDS = (
    Hello
    | Ready
    | Progress
    | StopAsked
    | PeersChanged
    | RootAsked
    | RootAnswered
    | RootAlive
    | Turn
    | Settled
    | Reconfigured
    | RestartWanted
    | WatchTable
)
