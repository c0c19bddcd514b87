"""The desk's own rooms with points at their seams: between what is kept and what is sent, and around every call.

The tree is data, so a tree whose entries name these makers is all it takes; nothing of the product knows. A point is a
file in a folder of the process's own (``points_folder``), see ``Points``.

``kept.WHAT.before``, ``.inside`` and ``.behind`` are around the commit that holds WHAT: a table's name, or of a journal
record PURPOSE.STATE, or PURPOSE.fill. ``link.WORD.before`` and ``.sent`` are around a word (its tag) that leaves.
"""

import select
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from typing_extensions import override

from actors import makers
from actors.arguments import GatewayArguments, store_path
from actors.venues.gateway import Gateway
from actors.words import desk_codec
from desk.messages import FillBooked, JournalRecord, OrderChanged
from runtime.bus import Bus
from runtime.bus.links import Hub, Spoke
from runtime.child import Context, Made
from runtime.effects import Append, Delete, Write
from runtime.errors import WireError
from runtime.room import Wiring
from runtime.store import Store
from tests.falls.points import MinedPort, Points
from tests.falls.trouble import Mined

VENUE = "venues/fake"
#: What a word needs to get out of the process, once the socket has it.
LEAVE_S = 0.05


def points_folder(state: Path, path: str) -> Path:
    """Say where the points of one process are armed; a strategy can reach only what lies in its own store."""
    return store_path(state, path) / "points"


def labels(writes: Sequence[Write]) -> Iterator[str]:
    """Name what one commit keeps."""
    for write in writes:
        if isinstance(write, Append):
            try:
                record = desk_codec().decode(write.data)
            except WireError:
                continue  # no word of the desk: what a room keeps for a replay
            body = record.body if isinstance(record, JournalRecord) else record
            if isinstance(body, OrderChanged):
                yield f"{body.order.purpose}.{body.order.state}"
            elif isinstance(body, FillBooked):
                yield f"{body.purpose}.fill"
        elif not isinstance(write, Delete):
            yield write.table


class MinedStore(Store):
    """The real store, with points around and within each commit."""

    points: Points | None = None

    @override
    def commit(self, writes: Sequence[Write], *, is_durable: bool = False) -> None:
        points = self.points
        if points is None or not points.is_armed("kept."):
            super().commit(writes, is_durable=is_durable)
            return
        names = dict.fromkeys(labels(writes))

        def at(where: str) -> None:
            for name in names:
                points.at(f"kept.{name}.{where}")

        at("before")
        super().commit(Mined(writes, partial(at, "inside")), is_durable=is_durable)
        at("behind")


class MinedLinks:
    """Points around each word that leaves this process by a link."""

    def __init__(self, points: Points) -> None:
        """Take the process's points."""
        self._points = points

    def lay(self) -> None:
        """Let every link that the bus opens from here on be one with points."""
        hub, spoke = Bus.hub, Bus.spoke

        def mined_hub(bus: Bus, share: int = 0) -> Hub:
            made = hub(bus, share)
            post = made.post

            def around(peer: str, body: bytes, *, is_sure: bool) -> None:
                self._around(body, lambda: post(peer, body, is_sure=is_sure))

            def all_around(peer: str, bodies: Sequence[bytes]) -> None:
                for body in bodies:
                    around(peer, body, is_sure=True)

            made.post = around  # pyright: ignore[reportAttributeAccessIssue]
            made.post_all = all_around  # pyright: ignore[reportAttributeAccessIssue]
            return made

        def mined_spoke(bus: Bus, peer: str) -> Spoke:
            made = spoke(bus, peer)
            post = made.post

            def around(body: bytes, *, is_sure: bool) -> None:
                self._around(body, lambda: post(body, is_sure=is_sure))

            def all_around(bodies: Sequence[bytes]) -> None:
                for body in bodies:
                    around(body, is_sure=True)

            made.post = around  # pyright: ignore[reportAttributeAccessIssue]
            made.post_all = all_around  # pyright: ignore[reportAttributeAccessIssue]
            return made

        Bus.hub, Bus.spoke = mined_hub, mined_spoke  # pyright: ignore[reportAttributeAccessIssue]

    def _around(self, body: bytes, post: Callable[[], None]) -> None:
        if not self._points.is_armed("link."):
            post()
            return
        word = desk_codec().decode(body).__struct_config__.tag
        self._points.at(f"link.{word}.before")
        post()
        self._points.at(f"link.{word}.sent", lambda: select.select([], [], [], LEAVE_S))


def _mine(context: Context, made: Made) -> Made:
    """Put points at a room's seams, in this process alone; a rehearsal has none."""
    folder = points_folder(context.state, context.path)
    if not folder.is_dir():
        return made
    points = Points(folder)
    if made.store is not None:
        made.store.__class__ = MinedStore
        made.store.points = points  # pyright: ignore[reportAttributeAccessIssue]
    MinedLinks(points).lay()
    points.at("born")
    return made


def execution(context: Context, arguments: bytes) -> Made:
    """Make execution as the desk does, with points."""
    return _mine(context, makers.execution(context, arguments))


def risk(context: Context, arguments: bytes) -> Made:
    """Make risk as the desk does, with points."""
    return _mine(context, makers.risk(context, arguments))


def strategy(context: Context, arguments: bytes) -> Made:
    """Make a strategy as the desk does, with points."""
    return _mine(context, makers.strategy(context, arguments))


def gateway(context: Context, arguments: bytes) -> Made:
    """Make the gateway to the fake exchange, with points in its client's wire."""
    told = msgspec.msgpack.decode(arguments, type=GatewayArguments)
    points = Points(points_folder(context.state, context.path))
    port = MinedPort(told.options, points.at)
    room = Gateway(port, told.symbols, epoch=context.epoch, clock=context.clock, log=context.log)
    wiring = Wiring(has_hub=True)
    return _mine(context, Made(room, wiring, None, desk_codec()))


def made_as(name: str) -> Any:
    """Name a maker of this module, as a tree does."""
    return f"{__name__}:{name}"
