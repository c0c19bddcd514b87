"""Read ``global.feed``: which market the desk sees, and whether it gives what the strategies want."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from actors import settings_rule
from actors.settings import FeedKind, FeedSettings
from actors.settings_entry import EntryRead, Wish, read_symbols
from actors.settings_reader import Reader, Spot, placed
from actors.settings_rule import PATH_RULE, SYMBOL_RULE, Rule, UnfitError
from actors.yaml_tree import Branch, Leaf, Node, Pair, printable

#: Market seconds a second of the synthetic feed, where the file does not say.
SYNTHETIC_SPEED = 60.0
#: Of a long list an error shows only the beginning.
SYMBOLS_SHOWN_MAX = 20


class FeedReader:
    """Reads the feed of one file; what the entries want is held against what it gives."""

    def __init__(
        self, reader: Reader, parent: Branch, parent_line: int, entries: Sequence[EntryRead], folder: Path
    ) -> None:
        """Find the feed below ``parent``; files begin at ``folder``."""
        pair = parent.pair("feed")
        self._reader = reader
        self._entries = entries
        self._folder = folder
        self._spot = Spot(pair.line if pair else parent_line, "global.feed")
        self._feed = reader.branch(pair.node if pair else None, self._spot)

    def read(self, market_url: str) -> FeedSettings | None:
        """Give the feed with its defaults, or None where anything in the file was refused.

        Without a feed in the file it is ``zmq`` where ``market_url`` is set, else ``synthetic``.
        """
        values = self._reader.values(self._feed, self._spot.path, settings_rule.FEED, ("files", "symbols"))
        kind = self._kind(values, market_url)
        is_replay = kind is FeedKind.REPLAY
        problems_before = len(self._reader.problems)
        files = self._files(is_needed=is_replay)
        symbols = self._symbols(files, is_replay=is_replay)
        if kind is not None and len(self._reader.problems) == problems_before:
            # Elsewhere it is unknown what the feed would give.
            self._check_wishes(symbols)
        if is_replay:
            self._check_files(files)
        if kind is FeedKind.ZMQ:
            self._settle_zmq(values, market_url)
        values.setdefault("speed", SYNTHETIC_SPEED if kind is FeedKind.SYNTHETIC else None)
        return self._reader.build(FeedSettings, {**values, "kind": kind, "files": files, "symbols": symbols})

    def _kind(self, values: dict[str, Any], market_url: str) -> FeedKind | None:
        if not self._feed.pairs:
            return FeedKind.ZMQ if market_url else FeedKind.SYNTHETIC
        if self._feed.pair("kind") is None:
            kinds = ", ".join(kind.value for kind in FeedKind)
            self._reader.blame(self._spot.below("kind"), fault="missing", expected=f"write one of {kinds}")
        return values.get("kind")

    def _settle_zmq(self, values: dict[str, Any], market_url: str) -> None:
        """Give a zmq feed its address; it has no barrier and its own pace."""
        if not values.setdefault("url", market_url) and self._feed.pair("url") is None:
            expected = "write an address such as tcp://localhost:5556"
            self._reader.blame(self._spot.below("url"), fault="missing", expected=expected)
        pair = self._feed.pair("lockstep")
        if pair is not None and values.get("lockstep"):
            self._misfit(pair, "lockstep", "write false, or leave it out: a zmq feed waits for nobody")
        values |= {"lockstep": False, "speed": None}

    def _files(self, *, is_needed: bool) -> dict[str, str]:
        """Read ``files``: for each symbol a path, absolute afterwards."""
        pair = self._feed.pair("files")
        where = Spot(pair.line if pair else self._spot.line, self._spot.below("files").path)
        problems_before = len(self._reader.problems)
        branch = self._reader.branch(pair.node if pair else None, where)
        if is_needed and not branch.pairs and len(self._reader.problems) == problems_before:
            expected = "give a replay its files, such as {SPY: ../data/SPY_1m.csv.gz}"
            self._reader.blame(where, fault="missing", expected=expected)
        files: dict[str, str] = {}
        for inner in branch.pairs:
            at = Spot(inner.line, where.below(printable(inner.key)).path)
            key = Leaf(value=inner.key, text=inner.key, line=inner.line)
            symbol, path = self._fitting(SYMBOL_RULE, key, at), self._fitting(PATH_RULE, inner.node, at)
            if symbol is not None and path is not None:
                files[symbol] = placed(self._folder, path)
        return files

    def _fitting(self, rule: Rule, node: Node, at: Spot) -> str | None:
        try:
            return rule(node)
        except UnfitError as error:
            self._reader.misfit(at, node, str(error))
            return None

    def _check_files(self, files: dict[str, str]) -> None:
        """Refuse each file that cannot be read."""
        pair = self._feed.pair("files")
        for inner in pair.node.pairs if pair is not None and isinstance(pair.node, Branch) else ():
            trouble = _file_trouble(Path(files[inner.key])) if inner.key in files else ""
            if trouble:
                self._misfit(inner, f"files.{inner.key}", f"{printable(files[inner.key], 300)} {trouble}")

    def _symbols(self, files: dict[str, str], *, is_replay: bool) -> tuple[str, ...]:
        """Read ``symbols``, or derive them: a replay's files, else everything the entries name."""
        pair = self._feed.pair("symbols")
        if pair is None:
            wanted = (wish.symbol for entry in self._entries for wish in entry.wishes)
            return tuple(files) if is_replay else tuple(dict.fromkeys(wanted))
        wishes = read_symbols(self._reader, pair.node, Spot(pair.line, self._spot.below("symbols").path))
        for wish in wishes:
            if is_replay and wish.symbol not in files:
                self._blame_wish(wish, "a replay gives a symbol only from its file under files")
        return tuple(wish.symbol for wish in wishes)

    def _check_wishes(self, symbols: tuple[str, ...]) -> None:
        """Refuse a symbol that an entry which will run wants and the feed does not give."""
        given = f"it gives {', '.join(symbols[:SYMBOLS_SHOWN_MAX])}" if symbols else "it gives none"
        for entry in self._entries:
            for wish in entry.wishes if entry.will_run else ():
                if wish.symbol not in symbols:
                    self._blame_wish(wish, f"the feed does not give it; {given}")

    def _blame_wish(self, wish: Wish, expected: str) -> None:
        self._reader.blame(wish.spot, value=f'"{wish.symbol}" (text)', expected=expected)

    def _misfit(self, pair: Pair, key: str, expected: str) -> None:
        self._reader.misfit(Spot(pair.line, self._spot.below(key).path), pair.node, expected)


def _file_trouble(path: Path) -> str:
    """Say what keeps a feed's file from being read, "" for nothing."""
    try:
        if not path.exists():
            return "is missing"
        if not path.is_file():
            return "is not a file"
        with path.open("rb") as file:
            return "" if file.read(1) else "is empty"
    except (OSError, ValueError) as error:
        words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return f"cannot be read: {words}"
