"""Compare a file that was read with the settings in force: what holds at once, what waits, and for what. Pure."""

from collections.abc import Collection, Iterator, Mapping
from types import MappingProxyType
from typing import Any, cast

import msgspec

from actors.settings import FeedKind, FeedSettings, OnDisable, Settings, StrategySettings
from actors.settings_policy import Policy, policy_of

#: What belongs to the strategy itself: where one of the first four is another, all of them wait together.
STRUCTURE = ("symbols", "strategy", "model_path", "timeframe", "threshold")
CODE = (*STRUCTURE, "parameters", "live_parameters", "wants_ticks", "refusal")
#: What is no key of the file but follows from it, and is compared by what it follows from.
DERIVED = frozenset(
    {"name", "line", "refusal", "live_parameters", "wants_ticks", "flat_at", "strategies_folder", "venues_folder"}
)
NOTHING = "nothing"
_UNCHECKED = "goes on with what it has: the code that it runs cannot be checked"
_UNHEARD = "when execution says that it knows what was left under this name"


class Change(msgspec.Struct, frozen=True):
    """One value that is another one. ``was`` and ``now`` are JSON, or ``nothing``; ``line`` is 0 for a key that left.

    ``path`` is like ``strategies.NAME.limits.hang_s``. ``is_waiting``: it does not hold yet, and ``effect`` says why.
    """

    path: str
    was: str
    now: str
    line: int
    effect: str
    is_waiting: bool = False


class Plan(msgspec.Struct, frozen=True):
    """What comes of a file: the settings that can hold now, and the strategies that take theirs by a restart."""

    effective: Settings
    restart: frozenset[str]
    changes: tuple[Change, ...]
    waits_for_flat: frozenset[str]
    """The strategies whose code waits until they hold nothing, or until execution says what is held."""


def plan(  # noqa: PLR0913 - a plan compares what is in force, what is wanted, and who is at what
    old: Settings,
    new: Settings,
    lines: Mapping[str, int],
    busy: Collection[str],
    journal_head: int = -1,
    formers: Mapping[str, StrategySettings] = MappingProxyType({}),
    *,
    running: Collection[str] = (),
    quarantined: Collection[str] = (),
    spoken: Collection[str] = (),
) -> Plan:
    """Compare the settings in force with those of a file.

    Args:
        old: In force.
        new: What the file says.
        lines: The line of each path of the file (``strategies.NAME.key``, ``global.key``).
        busy: Names of strategies that hold a position or have a working order: their code does not change under them.
        journal_head: The head of the journal at which that was so; -1 where execution has not said it.
        formers: Of names that are new in the file, the strategies that bore them before and left something behind.
        running: Names of strategies that run, also where the settings say that they shall not and an operator does.
        quarantined: Names of strategies in quarantine: no edit lets them out.
        spoken: Names of strategies that are away, and of whose position an operator has said what becomes of it.

    Returns:
        A plan whose ``effective`` is ``old`` where no change can hold now, but for lines that moved.
    """
    where = _Lines(lines)
    feed = _feed(old.feed, new.feed)
    known = {entry.name: entry for entry in old.strategies}
    changes: list[Change] = []
    entries: list[StrategySettings] = []
    restart: set[str] = set()
    waiting: set[str] = set()
    for entry in new.strategies:
        former = formers.get(entry.name)
        was = known.get(entry.name) or _heir(former, entry, feed, busy)
        is_run_by_hand = was is not None and not was.enabled and entry.name in running
        missing = _not_given(entry, feed) if entry.enabled or is_run_by_hand else ""
        if was is None:
            if former is not None and journal_head < 0 and not missing:  # it would take itself for the former one
                missing = _UNHEARD
                waiting.add(entry.name)
            changes.append(_new(entry, where, missing))
            flat_at = entry.flat_at if former is None else journal_head
            entries += [] if missing else [msgspec.structs.replace(entry, flat_at=flat_at)]
            continue
        is_busy = entry.name in busy and not missing
        hindrance = f"stays down, in quarantine: bulkhead release {entry.name}" if entry.name in quarantined else ""
        hindrance = f"cannot run: {entry.refusal}" if entry.refusal else hindrance
        fate = hindrance or "starts" if entry.enabled else _stops(entry, spoken)
        merged, told, is_restarted = _merge(was, entry, where, missing, fate, is_busy=is_busy)
        changes += told
        is_other_code = (
            not is_busy and not missing and any(getattr(was, key) != getattr(entry, key) for key in STRUCTURE)
        )
        flat_at = journal_head if is_other_code else was.flat_at
        entries.append(msgspec.structs.replace(merged, flat_at=flat_at))
        if is_restarted:
            restart.add(entry.name)
        if is_busy and any(change.is_waiting and change.effect != _UNCHECKED for change in told):
            waiting.add(entry.name)
    gone = [entry for entry in old.strategies if new.strategy(entry.name) is None]
    changes += [_gone(entry, spoken) for entry in gone]
    told, globals_ = _merge_globals(old, new, where)
    effective = msgspec.structs.replace(globals_, strategies=tuple(entries), feed=feed)
    return Plan(effective, frozenset(restart), (*changes, *told), frozenset(waiting))


class _Lines:
    """Where a path stands in the file: its own line, or that of the nearest mapping around it."""

    def __init__(self, lines: Mapping[str, int]) -> None:
        self._lines = lines

    def of(self, path: str) -> int:
        if path.endswith(".symbols") and path not in self._lines:
            path = path.removesuffix("s")
        return self._lines.get(path, 0)


def _heir(
    former: StrategySettings | None, entry: StrategySettings, feed: FeedSettings, busy: Collection[str]
) -> StrategySettings | None:
    """Give what an entry comes back as where its name still holds what another strategy left; None where it is new.

    Where the feed does not give that one's market any more, nobody could leave it in good order.
    """
    if former is None or entry.refusal or entry.name not in busy or not set(former.symbols) <= set(feed.symbols):
        return None
    return msgspec.structs.replace(entry, **{key: getattr(former, key) for key in CODE})


def _new(entry: StrategySettings, where: _Lines, missing: str) -> Change:
    effect = "starts" if entry.enabled else "is there, disabled"
    if entry.refusal:
        effect = f"cannot run: {entry.refusal}"
    said = f"{entry.strategy or entry.model_path} on {', '.join(entry.symbols)}"
    path = f"strategies.{entry.name}"
    return Change(path, NOTHING, said, where.of(path), missing or effect, is_waiting=bool(missing))


def _gone(entry: StrategySettings, spoken: Collection[str]) -> Change:
    said = f"{entry.strategy or entry.model_path} on {', '.join(entry.symbols)}"
    return Change(f"strategies.{entry.name}", said, NOTHING, 0, _stops(entry, spoken))


def _stops(entry: StrategySettings, spoken: Collection[str]) -> str:
    """Say what becomes of a strategy that shall not run; an operator's word on its position lasts while it is away."""
    position = "its position is as an operator said" if entry.name in spoken else position_words(entry.on_disable)
    return f"stops, and {position}"


def position_words(on_disable: OnDisable) -> str:
    """Say what becomes of the position of a strategy that is disabled or removed."""
    if on_disable is OnDisable.FLATTEN:
        return "its position is closed at the market"
    return "its position is held: its recorded stop rests at the venue"


def _merge(
    was: StrategySettings, now: StrategySettings, where: _Lines, missing: str, fate: str, *, is_busy: bool
) -> tuple[StrategySettings, list[Change], bool]:
    """Give the entry that can hold now, what changed of it, and whether it takes that by a restart."""
    old, new = _plain(was), _plain(now)
    is_other_code = any(getattr(was, key) != getattr(now, key) for key in STRUCTURE)
    is_unchecked = bool(now.refusal) and not was.refusal and not is_other_code
    waits = missing or (Policy.WHEN_FLAT_RESTART.value if is_other_code and is_busy and not was.refusal else "")
    waits = _UNCHECKED if is_unchecked else waits
    is_held_back = bool(missing) and not was.enabled
    merged = msgspec.structs.replace(now, **{key: getattr(was, key) for key in CODE}) if waits else now
    if is_held_back:  # it shall not begin as what it was: that is disabled, and may have no market either
        merged = msgspec.structs.replace(merged, enabled=False)
    told: list[Change] = []
    is_restarted = is_other_code and not waits
    for key, before, after in _leaves("", old, new):
        policy = policy_of(f"strategies[].{key}", now.live_parameters)
        is_code = key.split(".")[0] in CODE
        effect: str = policy.value
        if (is_other_code or is_unchecked) and is_code:
            effect = waits or Policy.WHEN_FLAT_RESTART.value
        elif key == "enabled" and is_held_back:
            effect = missing
        elif key == "enabled":
            effect = fate
        is_restarted = is_restarted or policy is Policy.STRATEGY_RESTART
        path = f"strategies.{now.name}.{key}"
        is_waiting = bool(waits) and (is_code or effect == waits)
        told.append(Change(path, before, after, where.of(path), effect, is_waiting=is_waiting))
    if was.refusal != now.refusal and (is_unchecked or not waits):
        effect = waits or (f"cannot run: {now.refusal}" if now.refusal else "can run now")
        before, after = was.refusal or "can run", now.refusal or "can run"
        told.append(Change(f"strategies.{now.name}", before, after, now.line, effect, is_waiting=is_unchecked))
    return merged, told, is_restarted


def _not_given(entry: StrategySettings, feed: FeedSettings) -> str:
    """Say why a strategy cannot have its market in the running desk, "" where it can."""
    lacking = [symbol for symbol in entry.symbols if symbol not in feed.symbols]
    if not lacking or entry.refusal:
        return ""
    return f"{Policy.DESK_RESTART.value}: the running feed does not give {', '.join(lacking)}"


def _feed(old: FeedSettings, new: FeedSettings) -> FeedSettings:
    """Give the feed that can hold now: another speed, and more symbols of a publisher that is the same.

    A symbol that is given stays until the desk starts again: somebody may hold it still.
    """
    changed: dict[str, Any] = {"speed": new.speed} if old.kind is new.kind else {}
    if _is_same_publisher(old, new):
        changed["symbols"] = (*old.symbols, *(symbol for symbol in new.symbols if symbol not in old.symbols))
    return msgspec.structs.replace(old, **changed)


def _is_same_publisher(old: FeedSettings, new: FeedSettings) -> bool:
    return old.kind is new.kind is FeedKind.ZMQ and old.url == new.url


def _merge_globals(old: Settings, new: Settings, where: _Lines) -> tuple[list[Change], Settings]:
    """Give what changed outside the entries, and the new settings with what must wait as it was."""
    told: list[Change] = []
    kept: dict[str, Any] = {}
    is_same = _is_same_publisher(old.feed, new.feed)
    compared = msgspec.structs.replace(new, feed=_feed(old.feed, new.feed)) if is_same else new
    for key, before, after in _leaves("", _plain(old), _plain(compared)):
        policy = Policy.LIVE if key == "feed.symbols" and is_same else policy_of(f"global.{key}")
        if policy is Policy.DESK_RESTART:
            top = key.split(".")[0]
            kept[top] = getattr(old, top)
        effect: str = policy.value
        if key.startswith("feed.") and policy is Policy.DESK_RESTART:
            effect = f"{effect}, on another state folder: this one belongs to its feed"
        path = f"global.{key}"
        told.append(Change(path, before, after, where.of(path), effect, is_waiting=policy is Policy.DESK_RESTART))
    return told, msgspec.structs.replace(new, **kept)


def _plain(struct: msgspec.Struct) -> dict[str, Any]:
    values: dict[str, Any] = msgspec.to_builtins(struct)
    return {key: value for key, value in values.items() if key not in DERIVED and key != "strategies"}


def _leaves(path: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Give (path, before, after) of every value that is another one."""
    for key in [*old, *(key for key in new if key not in old)]:
        below = f"{path}.{key}" if path else key
        was, now = old.get(key), new.get(key)
        if isinstance(was, dict) and isinstance(now, dict):
            yield from _leaves(below, cast("dict[str, Any]", was), cast("dict[str, Any]", now))
        elif _said(was) != _said(now):
            yield below, _said(was), _said(now)


def _said(value: Any) -> str:
    return NOTHING if value is None else msgspec.json.encode(value).decode()
