"""Load ``config/strategies.yaml``: all of its errors at once, each with line and path, or settings that hold."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from actors import settings_rule
from actors.problem import Problem
from actors.settings import ROOM_SUPERVISION, DeskLimits, ExecutionSettings, Settings
from actors.settings_entry import read_entries
from actors.settings_feed import FeedReader
from actors.settings_reader import NO_BRANCH, Reader, Spot
from actors.settings_venue import own_venues, read_venue
from actors.strategy_catalogue import adopt_folder, find_strategy, strategy_names
from actors.yaml_tree import Branch, Leaf, Row, plant, printable
from strategies.base import Strategy

#: A configuration is a few kilobytes; more than this is some other file.
SIZE_MAX = 256 * 1024
#: The list of the control socket's clients, beside the configuration.
CLIENTS_DEFAULT = "control_clients.json"


class Loaded(msgspec.Struct, frozen=True):
    """What came of a file: settings, or the problems for which there are none.

    ``text`` is what was read, and ``lines`` where each key stands in it: ``strategies.NAME.key``, ``global.key``.
    """

    settings: Settings | None
    problems: tuple[Problem, ...]
    text: str = ""
    lines: dict[str, int] = {}


def load(
    path: Path,
    find: Callable[[str], type[Strategy] | None] = find_strategy,
    names: Callable[[], tuple[str, ...]] = strategy_names,
) -> Loaded:
    """Read and check a configuration file.

    Args:
        path: The file. Paths inside it are relative to its folder.
        find: Gives a strategy by its module's name, None for an unknown one.
        names: Names all strategies, for the nearest right one.

    Returns:
        Settings exactly when there are no problems. Whatever the file holds, nothing is raised.
    """
    reader = Reader(str(path))
    own_folder = adopt_folder(path.parent / "strategies")
    text = _read_text(path, reader)
    tree = None if text is None else _planted(text, reader)
    settings = None if tree is None else _read_settings(tree, path, reader, find, names)
    if settings is not None:
        venues_folder = own_venues(path.parent) if settings.venue.is_remote else ""
        settings = msgspec.structs.replace(settings, strategies_folder=own_folder, venues_folder=venues_folder)
    problems = tuple(sorted(dict.fromkeys(reader.problems), key=lambda problem: problem.line))
    if problems or settings is None or text is None:
        return Loaded(settings=None, problems=problems)
    return Loaded(settings=settings, problems=(), text=text, lines={} if tree is None else _lines(tree))


def _lines(tree: Branch) -> dict[str, int]:
    """Give the line of each key of a text that has no problems."""
    lines: dict[str, int] = {}
    for pair in tree.pairs:
        if isinstance(pair.node, Row):
            for node in pair.node.nodes:
                name = node.pair("name") if isinstance(node, Branch) else None
                if name is not None and isinstance(node, Branch) and isinstance(name.node, Leaf):
                    lines[f"{pair.key}.{name.node.value}"] = node.line
                    _note_lines(node, f"{pair.key}.{name.node.value}", lines)
        elif isinstance(pair.node, Branch):
            _note_lines(pair.node, pair.key, lines)
    return lines


def _note_lines(branch: Branch, path: str, lines: dict[str, int]) -> None:
    for pair in branch.pairs:
        lines[f"{path}.{pair.key}"] = pair.line
        if isinstance(pair.node, Branch):
            _note_lines(pair.node, f"{path}.{pair.key}", lines)


def _read_text(path: Path, reader: Reader) -> str | None:
    whole = Spot(0, "")
    try:
        with path.open("rb") as file:
            data = file.read(SIZE_MAX + 1)
    except FileNotFoundError:
        reader.blame(whole, fault="the file is missing", expected="give its path with --config")
        return None
    except (OSError, ValueError) as error:
        words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        reader.blame(whole, fault=f"the file cannot be read: {words}")
        return None
    if len(data) > SIZE_MAX:
        reader.blame(whole, fault=f"the file has more than {SIZE_MAX // 1024} KiB", expected="is it the right one?")
        return None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        reader.blame(
            Spot(line, ""), fault=f"byte 0x{data[error.start]:02x} is not UTF-8", expected="save the file as UTF-8"
        )
        return None


def _planted(text: str, reader: Reader) -> Branch | None:
    """Read the text as far as it is a mapping; it is read once, for that takes longer than all the rest."""
    tree, faults = plant(text)
    for fault in faults:
        reader.blame(Spot(fault.line, fault.path), fault=fault.words)
    if tree is None or (isinstance(tree, Leaf) and tree.value is None):
        if not faults:
            reader.blame(Spot(0, ""), fault="the file is empty", expected="write strategies: and global:")
        return None
    if not isinstance(tree, Branch):
        reader.misfit(Spot(tree.line, ""), tree, "write a mapping with the keys strategies and global")
        return None
    return tree


def _read_settings(
    tree: Branch,
    path: Path,
    reader: Reader,
    find: Callable[[str], type[Strategy] | None],
    names: Callable[[], tuple[str, ...]],
) -> Settings | None:
    reader.refuse_unknown(tree, "", ("strategies", "global"))
    entries = read_entries(reader, tree, path.parent, find, names)

    pair = tree.pair("global")
    spot = Spot(pair.line if pair else tree.line, "global")
    branch = reader.branch(pair.node if pair else None, spot)
    nested = (
        "feed", "paper", "venue", "risk", "supervision", "control", "execution", "reconciliation", "instruments"
    )  # fmt: skip
    values = reader.values(branch, "global", settings_rule.GLOBAL, nested)
    feed = FeedReader(reader, branch, spot.line, entries, path.parent).read(str(values.get("zmq_market_url", "")))
    values["venue"] = read_venue(reader, branch, feed, path.parent)
    values["paper"] = reader.section(branch, "global", "paper", settings_rule.PAPER)
    values["risk"] = reader.section(branch, "global", "risk", settings_rule.DESK_LIMITS, DeskLimits())
    supervision = reader.section(branch, "global", "supervision", settings_rule.SUPERVISION, ROOM_SUPERVISION)
    values["supervision"] = msgspec.structs.asdict(ROOM_SUPERVISION) | supervision
    values["execution"] = reader.section(branch, "global", "execution", settings_rule.EXECUTION, ExecutionSettings())
    values["reconciliation"] = reader.section(branch, "global", "reconciliation", settings_rule.RECONCILIATION)
    values["instruments"] = _instruments(reader, branch)
    values["control"] = _door(reader.section(branch, "global", "control", settings_rule.CONTROL), path.parent)
    settings = reader.build(Settings, {**values, "feed": feed, "strategies": [entry.settings for entry in entries]})
    if settings is None:
        return None
    _check_together(reader, branch, settings)
    recorded = (msgspec.structs.replace(entry, record=entry.record or settings.record) for entry in settings.strategies)
    return msgspec.structs.replace(settings, strategies=tuple(recorded))


def _instruments(reader: Reader, parent: Branch) -> dict[str, Any]:
    """Read what the venue demands of orders, by symbol."""
    pair = parent.pair("instruments")
    path = "global.instruments"
    branch = reader.branch(pair.node, Spot(pair.line, path)) if pair is not None else NO_BRANCH
    found: dict[str, Any] = {}
    for inner in branch.pairs:
        where = Spot(inner.line, f"{path}.{printable(inner.key)}")
        key = Leaf(value=inner.key, text=inner.key, line=inner.line)
        try:
            symbol = settings_rule.SYMBOL_RULE(key)
        except settings_rule.UnfitError as error:
            reader.misfit(where, key, str(error))
            continue
        found[symbol] = {"symbol": symbol, **reader.section(branch, path, inner.key, settings_rule.INSTRUMENT)}
    return found


def _door(section: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Complete the second door's settings; its list of clients lies beside the configuration unless it says where."""
    if "listen" not in section:
        return {}
    return {**section, "clients": str((folder / section.get("clients", CLIENTS_DEFAULT)).absolute())}


def _check_together(reader: Reader, branch: Branch, settings: Settings) -> None:
    """Refuse values that are right alone and wrong beside each other."""
    reserve = settings.risk.min_buying_power_reserve_usd
    if reserve is not None and reserve >= settings.default_balance:
        pair = branch.pair("risk")
        assert pair is not None, "a reserve that was read stands in the file"
        assert isinstance(pair.node, Branch), "a reserve that was read stands in a mapping"
        inner = pair.node.pair("min_buying_power_reserve_usd")
        assert inner is not None, "a reserve that was read has its key"
        expected = f"write less than default_balance ({settings.default_balance}), or nothing can ever be bought"
        reader.misfit(Spot(inner.line, "global.risk.min_buying_power_reserve_usd"), inner.node, expected)
