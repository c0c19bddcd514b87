"""What a room is: state, and answers to what it hears. It imports neither pykka nor zmq."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec

from runtime.bus_words import StreamItem
from runtime.effects import Effects
from runtime.words import Peer, Turn

#: No effects; never changed by anyone.
NOTHING = Effects()


class ControlRequest(NamedTuple):
    """One message at the control socket, raw.

    ``address`` is what an answer goes to. ``door`` is "local" or "guarded"; at the latter ``user`` is the public key
    that the connection has proved, and ``peer`` its network address.
    """

    address: bytes
    frames: list[bytes]
    door: str
    user: str = ""
    peer: str = ""


class DoorState(msgspec.Struct, frozen=True):
    """How the guarded door of the control socket is; the counts are of this incarnation.

    ``fault`` says why nobody can enter now, "" where it is open. ``strangers`` are connections that never proved any
    key, ``lost`` answers that their client did not read, ``shuts`` how often it was shut against a flood.
    """

    url: str
    fault: str
    connections: int
    strangers: int
    lost: int
    shuts: int


class Wiring(msgspec.Struct, frozen=True):
    """Which sockets the shell opens for a room.

    ``spokes`` are the hubs it connects to (root's is always there), ``on_demand`` those to which it does so as soon as
    it has something to say to them, ``streams`` what it listens to as (peer, topics). ``conductor`` names the peer
    whose turns bind its gated posts; "" means that it is not stepped.
    ``guarded_listen`` is where the control socket's door for clients with keys is, "" where it has none, and
    ``guarded_secret_file`` holds that door's own secret key.
    ``hub_share`` bounds what one peer of the hub may have heard in one turn; 0 leaves it to the number of all.
    """

    has_hub: bool = False
    spokes: tuple[str, ...] = ()
    on_demand: tuple[str, ...] = ()
    has_stream: bool = False
    streams: tuple[tuple[str, tuple[str, ...]], ...] = ()
    conductor: str = ""
    foreign_url: str = ""
    foreign_prefixes: tuple[str, ...] = ()
    has_control: bool = False
    guarded_listen: str = ""
    guarded_secret_file: str = ""
    hub_share: int = 0


class Room:
    """Base of every room. Each method returns effects; the shell commits, acknowledges, sends and publishes them.

    A room judges nothing twice: after a fall it is built anew, and ``recover`` gives what must be said again.
    No method blocks, sleeps or loops for something that has not come yet: it sets a timer.
    """

    def recover(self) -> Effects:
        """Rebuild the state from the store. READY is said once these effects are carried out."""
        return NOTHING

    def stream_heads(self) -> tuple[int, dict[str, int]]:
        """Give the head of the own stream and each topic's last sequence, as they are after ``recover``."""
        return 0, {}

    def hear(self, peer: str, epoch: int, word: Any) -> Effects:
        """Hear a word from a peer; ``peer`` and ``epoch`` are what the link knows, not what the word claims."""
        raise NotImplementedError

    def hear_many(self, peer: str, epoch: int, words: Sequence[Any]) -> Effects:
        """Hear words of one kind that came together, in order, to the same effects as one by one.

        A room overrides it where it has a cheaper way, and a test holds both to the same answer.
        """
        effects = Effects()
        for word in words:
            effects.add(self.hear(peer, epoch, word))
        return effects

    def hear_stream(self, peer: str, item: StreamItem, word: Any) -> Effects:
        """Hear an item (``word`` set) or a head (``word`` None) of a stream."""
        raise NotImplementedError

    def hear_foreign(self, frames: list[bytes]) -> Effects:
        """Hear one message of a foreign publisher, raw."""
        raise NotImplementedError

    def foreign_broke(self) -> Effects:
        """Hear that the foreign publisher sent a frame above the limit; the connection was broken and made anew."""
        return NOTHING

    def hear_control(self, request: ControlRequest) -> Effects:
        """Hear one request at the control socket, raw; answer to its address."""
        raise NotImplementedError

    def admits(self, key: str, peer: str) -> bool:
        """Say whether the owner of this public key may enter the guarded door; it comes from the address ``peer``."""
        return False

    def hear_door(self, state: DoorState) -> Effects:
        """Hear how the guarded door is, once a second."""
        return NOTHING

    def peers(self, peers: tuple[Peer, ...]) -> Effects:
        """Hear how the processes of the tree are: first all of them, later those that are others.

        A process that left the tree comes once more, as REMOVED.
        """
        return NOTHING

    def reconfigured(self, arguments: bytes) -> Effects:
        """Hear that the arguments of the own spec are these from now on, in the form that the own maker reads.

        They hold at once, or when the room sees fit. A successor starts with them. A room that can take them only
        with a start of its own posts ``RestartWanted`` to root when a restart does no harm; root honours that once
        for the same arguments.
        """
        return NOTHING

    def timer(self, name: str) -> Effects:
        """Hear that a timer came due."""
        raise NotImplementedError

    def take_waker(self, wake: Callable[[], None]) -> None:
        """Take what threads of the room's own call, once each time that they have something for it.

        Comes once, before ``recover``. The room itself lives on the loop's thread alone: a thread leaves what it has
        in a queue, calls ``wake``, and ``awake`` fetches it.
        """

    def awake(self) -> Effects:
        """Hear that a thread of the room's own has called its waker, once for all calls since the last time."""
        return NOTHING

    def connected(self, peer: str) -> Effects:
        """Hear that the link to a hub stands (again); sure posts need no care, datagrams may have been lost."""
        return NOTHING

    def begin(self, turn: Turn, payload: Any) -> Effects:
        """Take the turn in one phase of a step. A phase that was already done changes nothing."""
        raise NotImplementedError

    def settle(self, turn: Turn) -> bytes | None:
        """Give the facts that go with Settled, or None while something in this phase is still to be done."""
        return b""

    def stopping(self) -> Effects:
        """Hear that the end has come in good order; these are the last effects that are carried out."""
        return NOTHING

    def facts(self) -> dict[str, Any]:
        """Say of oneself what the status dump shows: plain values, cheap to make, once a second."""
        return {}
