"""What the parts of a replay share: what is asked for, what differs, and time as it was."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from typing_extensions import override

from runtime.clock import NS_PER_S, Clock
from runtime.errors import OperatingError
from runtime.folder import Sentinel

#: How long two sides of one figure may be before they are cut, for people.
SHOWN_MAX = 160


class ReplayError(OperatingError):
    """Nothing can be replayed; the text says why and what to do. Nothing was changed."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What a replay is asked for.

    ``until`` is the last record of the journal that counts, ``until_ns`` the last market time; None for the end.
    ``parameters`` are others by strategy, ``limits`` others by strategy ("" for the desk's): what if they had been so.
    With ``is_today`` strategies run the code that is there today, not that which they ran.
    """

    until: int | None = None
    until_ns: int | None = None
    parameters: Mapping[str, Mapping[str, Any]] = {}
    limits: Mapping[str, Mapping[str, Any]] = {}
    is_today: bool = False

    @property
    def is_what_if(self) -> bool:
        """Whether something shall be other than it was."""
        return bool(self.parameters or self.limits)


class Side(msgspec.Struct, frozen=True):
    """One moment before a difference, for a person: when, and what happened."""

    at: str
    text: str


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One decision that came out otherwise.

    ``journal`` is how far the journal was when it was taken. ``what`` is ``intent``, ``verdict`` or
    ``order``, ``who`` the strategy, ``at`` where. ``recorded`` and ``replayed`` are the two sides as plain values,
    None where there is nothing on one side, ``fields`` what of them differs. ``before`` is what led there, oldest
    first.
    """

    journal: int
    what: str
    who: str
    at: str
    recorded: dict[str, Any] | None
    replayed: dict[str, Any] | None
    fields: tuple[str, ...]
    before: tuple[Side, ...] = ()


def difference(  # noqa: PLR0913 - the two sides and where they part
    what: str,
    who: str,
    at: str,
    journal: int,
    *,
    recorded: msgspec.Struct | None,
    replayed: msgspec.Struct | None,
    before: tuple[Side, ...] = (),
) -> Difference:
    """Hold two words against each other, field by field."""
    left, right = _plain(recorded), _plain(replayed)
    fields = () if left is None or right is None else tuple(k for k in (left | right) if left.get(k) != right.get(k))
    return Difference(
        journal=journal, what=what, who=who, at=at, recorded=left, replayed=right, fields=fields, before=before
    )


def _plain(word: msgspec.Struct | None) -> dict[str, Any] | None:
    """Give a word as names and plain values, the words inside it likewise, their fields by dotted names."""
    if word is None:
        return None
    found: dict[str, Any] = {}
    for name in word.__struct_fields__:
        value: Any = getattr(word, name)
        if isinstance(value, msgspec.Struct):
            found.update({f"{name}.{inner}": each for inner, each in (_plain(value) or {}).items()})
        else:
            found[name] = msgspec.to_builtins(value)
    return found


def utc(ns: int) -> str:
    """Give a market time for a person."""
    return datetime.fromtimestamp(ns // NS_PER_S, UTC).strftime("%Y-%m-%d %H:%M:%S")


class RecordedClock(Clock):
    """The time that was: whoever replays sets it, and nothing asks the machine."""

    def __init__(self) -> None:
        """Begin at zero."""
        self.now_ns = 0

    @override
    def monotonic_ns(self) -> int:
        return self.now_ns

    @override
    def wall_ns(self) -> int:
        return self.now_ns

    @override
    def process_ns(self) -> int:
        return 0


class RecordedHalt(Sentinel):
    """The halt that was; a new one halts only the replay."""

    def __init__(self, state: Path) -> None:
        """Begin without a halt; no file is read or written."""
        super().__init__(state)
        self.why = ""

    @override
    def reason(self) -> str | None:
        return self.why or None

    @override
    def write(self, reason: str) -> None:
        self.why = self.why or reason

    @override
    def prepare(self) -> None:
        """Nothing is put by."""

    @override
    def remove(self) -> None:
        self.why = ""
