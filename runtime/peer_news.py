"""What rooms hear of the others: the whole table once they are READY, and from then on each difference."""

from runtime.bus.links import Hub
from runtime.clock import NS_PER_MS, Clock
from runtime.codec import Codec
from runtime.supervision import Supervision
from runtime.supervision_rows import peer_of
from runtime.words import PeersChanged

#: While the tree comes up rooms hear at most so often how it goes on: each of them hears of each child.
NEWS_NS = 100 * NS_PER_MS


class PeerNews:
    """Numbers the versions of the table, and knows who has it. Who missed a difference falls, and hears the whole."""

    def __init__(self, supervision: Supervision, hub: Hub, codec: Codec, clock: Clock) -> None:
        """Begin with a table of which nobody has heard."""
        self._supervision, self._hub, self._codec, self._clock = supervision, hub, codec, clock
        self._version = 0
        self._informed: set[str] = set()
        self.is_waiting = False
        """Whether something is another than rooms have heard."""
        self.due_ns = 0
        """When they may hear it, while the tree comes up; afterwards they hear it at once."""

    def inform(self, path: str) -> None:
        """Tell a room that is READY the whole table, and from now on each difference."""
        self._informed.add(path)
        word = PeersChanged(self._version, self._supervision.peers())
        self._hub.post(path, self._codec.encode(word), is_sure=True)

    def forget(self, path: str) -> None:
        """Tell a room nothing any more: it has ended, or begins anew."""
        self._informed.discard(path)

    def tell(self) -> list[str]:
        """Tell those that have the whole table what is another than in the version before; give the paths of that."""
        if not self.is_waiting:
            return []
        self.is_waiting = False
        self.due_ns = self._clock.monotonic_ns() + NEWS_NS
        changes = self._supervision.take_changes()
        self._version += 1
        peers = tuple(peer_of(one.path, one.epoch, one.state) for one in changes)
        body = self._codec.encode(PeersChanged(self._version, peers, is_whole=False))
        for path in self._informed:
            self._hub.post(path, body, is_sure=True)
        return [one.path for one in changes]
