"""What a room knows of the processes of the tree."""

from hypothesis import given
from hypothesis import strategies as st

from actors.peer_table import PeerTable
from runtime.words import REMOVED, Peer

NEWS = st.builds(
    Peer, st.sampled_from("abcd"), st.integers(0, 5), st.sampled_from(["RUNNING", "DISABLED", "BACKOFF", REMOVED])
)


@given(st.lists(st.lists(NEWS)))
def test_the_newest_word_on_each_process_counts_whatever_came_together(words: list[list[Peer]]) -> None:
    table = PeerTable()
    for peers in words:
        table.take(tuple(peers))

    newest = {peer.path: peer for peers in words for peer in peers}
    assert table == {path: peer for path, peer in newest.items() if peer.state != REMOVED}
    assert {path: table.state(path) for path in "abcd"} == {
        path: newest[path].state if path in newest else REMOVED for path in "abcd"
    }
