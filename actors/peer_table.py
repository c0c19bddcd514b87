"""How the processes of the tree are, as one room knows it from root's words."""

from collections.abc import Iterable

from runtime.words import REMOVED, Peer


class PeerTable(dict[str, Peer]):
    """All processes by path. The first word of root brings all, later ones only those that are others."""

    def take(self, peers: Iterable[Peer]) -> None:
        """Take in news; one that is REMOVED loses its row."""
        for peer in peers:
            if peer.state == REMOVED:
                self.pop(peer.path, None)
            else:
                self[peer.path] = peer

    def state(self, path: str) -> str:
        """Give a process's state, REMOVED where it has no row."""
        peer = self.get(path)
        return REMOVED if peer is None else peer.state
