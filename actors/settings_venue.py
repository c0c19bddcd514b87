"""Read ``global.venue``: the venue behind a wire that the desk trades at, instead of its own paper venue."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from actors import settings_rule
from actors.settings import FeedSettings, VenueRules
from actors.settings_reader import Reader, Spot
from actors.venues.adapter import AdapterError, find_adapter
from actors.yaml_tree import Branch, Leaf, Node, Pair, Row, plain, printable

#: The folder of the operator's own adapters, beside the configuration.
OWN_FOLDER = "venues"
REQUIRED = {
    "name": "give the venue's process a name, such as kraken",
    "adapter": "name the function that opens it, as module:function",
    "rules": f"write one of {', '.join(rules.value for rules in VenueRules)}",
}
_SECRET_KEY = re.compile(r"(?i)secret|passw|passphrase|token|credential|private|(^|_)(api)?_?key(_id)?$")
#: A long run of letters and digits without a word in it: what keys look like. A path begins otherwise.
_SECRET_VALUE = re.compile(r"(?=.*[0-9])(?=.*[A-Za-z])[A-Za-z0-9+=_-][A-Za-z0-9+/=_-]{31,}")
_ELSEWHERE = (
    "a secret does not belong into this file: leave it to the service manager as a credential, and have the adapter"
    " read $CREDENTIALS_DIRECTORY/NAME"
)


def own_venues(folder: Path) -> str:
    """Give the absolute path of the operator's own adapters beside the configuration, "" where there are none."""
    own = (folder / OWN_FOLDER).absolute()
    return str(own) if own.is_dir() else ""


def read_venue(reader: Reader, parent: Branch, feed: FeedSettings | None, folder: Path) -> dict[str, Any]:
    """Read the venue below ``parent``; {} where the file has none, and the desk trades on paper.

    The adapter's module is imported, in this process; nothing is opened.
    """
    pair = parent.pair("venue")
    if pair is None:
        return {}
    spot = Spot(pair.line, "global.venue")
    branch = reader.branch(pair.node, spot)
    values = reader.values(branch, spot.path, settings_rule.VENUE, ("options",))
    for key, expected in REQUIRED.items():
        if branch.pair(key) is None:
            reader.blame(spot.below(key), fault="missing", expected=expected)
    if values.get("rules") is not VenueRules.KRAKEN:
        _refuse_deadlines(reader, branch, values.get("rules"))
    if feed is not None and feed.lockstep:
        expected = (
            "use a zmq feed, or write lockstep: false under feed: no venue behind a wire waits for simulated time"
        )
        reader.blame(spot, fault="the feed waits for everybody", expected=expected)
    if "adapter" in values:
        _check_adapter(reader, branch, values["adapter"], folder)
    return {**values, "options": _options(reader, branch)}


def _refuse_deadlines(reader: Reader, branch: Branch, rules: VenueRules | None) -> None:
    for key in ("deadline_s", "margin_s") if rules is not None else ():
        pair = branch.pair(key)
        if pair is not None:
            expected = f"leave it out: by the rules of {rules} an order has no deadline"
            reader.misfit(Spot(pair.line, f"global.venue.{key}"), pair.node, expected)


def _check_adapter(reader: Reader, branch: Branch, adapter: str, folder: Path) -> None:
    pair = branch.pair("adapter")
    assert pair is not None, "an adapter that was read stands in the file"
    try:
        find_adapter(adapter, own_venues(folder))
    except AdapterError as error:
        where = Spot(pair.line, "global.venue.adapter")
        expected = f"put MODULE.py into a folder {OWN_FOLDER} beside this file, or install the module"
        reader.blame(where, value=f'"{printable(adapter)}" (text)', fault=str(error), expected=expected)


def _options(reader: Reader, branch: Branch) -> dict[str, Any]:
    """Read the adapter's own options: whatever YAML can say, but no secret."""
    pair = branch.pair("options")
    if pair is None:
        return {}
    options = reader.branch(pair.node, Spot(pair.line, "global.venue.options"))
    for inner, path in _pairs(options, "global.venue.options"):
        if _looks_secret(inner):
            reader.blame(Spot(inner.line, path), fault="this looks like a secret", expected=_ELSEWHERE)
    return plain(options)


def _pairs(node: Node, path: str) -> Iterator[tuple[Pair, str]]:
    for pair in node.pairs if isinstance(node, Branch) else ():
        below = f"{path}.{printable(pair.key)}"
        yield pair, below
        yield from _pairs(pair.node, below)


def _looks_secret(pair: Pair) -> bool:
    leaves = pair.node.nodes if isinstance(pair.node, Row) else (pair.node,)
    texts = [leaf.value for leaf in leaves if isinstance(leaf, Leaf) and isinstance(leaf.value, str)]
    return any(texts) and (
        bool(_SECRET_KEY.search(pair.key)) or any(_SECRET_VALUE.fullmatch(text) is not None for text in texts)
    )
