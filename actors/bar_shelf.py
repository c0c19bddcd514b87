"""The bar store: every published bar, once, by its sequence and by its topic."""

import msgspec

from actors.topics import bar_topic
from desk.messages import Bar, BarsGiven, BarsWanted
from runtime.codec import Codec
from runtime.effects import Effects
from runtime.store import Store

BARS_GIVEN_MAX = 500


class BarShelf:
    """The bar store: every published bar by its sequence, and by its topic."""

    def __init__(self, store: Store, codec: Codec) -> None:
        """Read where each topic ends."""
        self._store, self._codec = store, codec
        self.head = store.head()
        self.last: dict[str, int] = {}
        for key, _ in store.scan("index"):
            topic, _, sequence = key.rpartition(b"\x00" * 2 + b"#")
            self.last[topic.decode()] = int.from_bytes(sequence, "big")

    def add(self, bar: Bar, effects: Effects) -> Bar:
        """Give the bar its sequence, keep it and publish it."""
        topic = bar_topic(bar.symbol, bar.timeframe)
        self.head += 1
        stamped = msgspec.structs.replace(bar, sequence=self.head)
        effects.append(self.head, self._codec.encode(stamped))
        effects.put("index", _index_key(topic, self.head), b"")
        effects.publish(topic, stamped, self.head, self.last.get(topic, 0))
        self.last[topic] = self.head
        return stamped

    def newest_end_ns(self) -> int:
        """Say when the bar ended that was kept last; there is one."""
        data = self._store.record(self.head)
        assert data is not None, "the log has its head"
        bar: Bar = self._codec.decode(data)
        return bar.end_ns

    def given(self, wanted: BarsWanted, market_ns: int) -> BarsGiven:
        """Answer a reader that missed bars or just came: with those that are kept, up to the last one kept."""
        topic, most = bar_topic(wanted.symbol, wanted.timeframe), min(wanted.most, BARS_GIVEN_MAX)
        bars: list[Bar] = []
        is_complete = True
        prefix = _index_key(topic, 0)[:-8]
        for key, _ in self._store.scan("index", prefix, _index_key(topic, wanted.after + 1)):
            if len(bars) == most:
                is_complete = False
                break
            data = self._store.record(int.from_bytes(key[-8:], "big"))
            assert data is not None, "the index names a bar that the log has"
            bars.append(self._codec.decode(data))
        head = self._store.head()
        return BarsGiven(wanted.symbol, wanted.timeframe, wanted.after, tuple(bars), head, is_complete, market_ns)


def _index_key(topic: str, sequence: int) -> bytes:
    return topic.encode() + b"\x00\x00#" + sequence.to_bytes(8, "big")
