"""The real desk with two rooms that note when they heard: market data of each tick, execution of each order.

The rooms are the product's own; the tree is data, so a tree whose entries name the makers below is all it takes.
Run as a program: ``traced.py CONFIGURATION STATE``.
"""

import mmap
import struct
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from typing_extensions import override

import actors.desk
from actors import makers
from actors.execution.room import Execution
from actors.market_data import LiveMarketData
from actors.settings import Settings
from actors.settings_file import load
from actors.tree import Try, desk_tree
from desk.messages import IntentJudged
from runtime.child import Context, Made
from runtime.clock import Clock
from runtime.effects import Effects
from runtime.spec import NodeSpec, WorkerSpec

TRACED = ("market_data", "execution")
#: When the last tick was heard; when the last order was, approved or not, and of which tick (by its time).
_SLOTS = struct.Struct("<QQQQ")
_TICK = struct.Struct("<Q")
_ORDER = struct.Struct("<QQQ")


class Seen(msgspec.Struct, frozen=True):
    """What the rooms noted last, in monotonic nanoseconds."""

    tick_heard_ns: int
    order_heard_ns: int
    order_tick_ns: int
    is_approved: bool


class Trace:
    """A page shared by the traced rooms and the benchmark."""

    def __init__(self, file: Path) -> None:
        """Open the page, and make it where it is not there."""
        if not file.exists():
            file.write_bytes(bytes(mmap.PAGESIZE))
        with file.open("r+b") as opened:
            self._page = mmap.mmap(opened.fileno(), mmap.PAGESIZE)

    def note_tick(self) -> None:
        """Note that a tick came in just now."""
        _TICK.pack_into(self._page, 0, time.monotonic_ns())

    def note_order(self, tick_ns: int, *, is_approved: bool) -> None:
        """Note that the order of a tick was decoded just now."""
        _ORDER.pack_into(self._page, _TICK.size, time.monotonic_ns(), tick_ns, is_approved)

    def seen(self) -> Seen:
        """Read what was noted last."""
        tick_heard_ns, order_heard_ns, order_tick_ns, is_approved = _SLOTS.unpack_from(self._page, 0)
        return Seen(tick_heard_ns, order_heard_ns, order_tick_ns, bool(is_approved))


def trace_file(state: Path) -> Path:
    """Say where the trace of a desk lies."""
    return state / "trace"


class _TracedMarketData(LiveMarketData):
    trace: Trace

    @override
    def hear_foreign(self, frames: list[bytes]) -> Effects:
        self.trace.note_tick()
        return super().hear_foreign(frames)


class _TracedExecution(Execution):
    trace: Trace

    @override
    def hear_many(self, peer: str, epoch: int, words: Sequence[Any]) -> Effects:
        for word in words:
            if isinstance(word, IntentJudged):
                self.trace.note_order(word.intent.bar_ts_ns, is_approved=word.is_approved)
        return super().hear_many(peer, epoch, words)


def market_data(context: Context, arguments: bytes) -> Made:
    """Make market data as the desk does, with a trace."""
    made = makers.market_data(context, arguments)
    made.room.__class__ = _TracedMarketData
    made.room.trace = Trace(trace_file(context.state))  # pyright: ignore[reportAttributeAccessIssue]
    return made


def execution(context: Context, arguments: bytes) -> Made:
    """Make execution as the desk does, with a trace."""
    made = makers.execution(context, arguments)
    made.room.__class__ = _TracedExecution
    made.room.trace = Trace(trace_file(context.state))  # pyright: ignore[reportAttributeAccessIssue]
    return made


def traced_tree(
    settings: Settings, file: str, code: Mapping[str, str] | None = None, tries: Sequence[Try] = ()
) -> NodeSpec:
    """Lay out the desk, with the makers of this module for the traced rooms."""
    tree = desk_tree(settings, file, code, tries)
    children = tuple(
        msgspec.structs.replace(child, entry=f"bench.traced:{child.id}")
        if isinstance(child, WorkerSpec) and child.id in TRACED
        else child
        for child in tree.children
    )
    return msgspec.structs.replace(tree, children=children)


def main() -> int:
    """Run the desk until it is told to stop."""
    file, state = Path(sys.argv[1]), Path(sys.argv[2])
    settings = load(file).settings
    assert settings is not None, "the benchmark's own configuration is well-formed"
    actors.desk.desk_tree = traced_tree
    return actors.desk.run_desk(
        settings, file=file, state=state, duration_s=0.0, clock=Clock(), on_round=lambda _root: None
    )


if __name__ == "__main__":
    sys.exit(main())
