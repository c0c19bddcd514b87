"""Falls of a desk's processes at chosen places of its market, and what its stores say afterwards."""

import json
import os
import signal
import subprocess
from collections import Counter
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from actors.arguments import MARKET_DATA, PAPER, store_path
from actors.journal import read_journal
from actors.strategy_memory import NOW, TABLE, Kept, unsealed
from actors.words import desk_codec
from desk.messages import Bar, FillBooked, JournalBody, Order, OrderChanged, OrderFilled
from desk.portfolio import Ledger
from desk.simulation.matching import FinishedOrder, RestingOrder
from runtime.clock import NS_PER_S
from runtime.errors import StoreError
from runtime.store import Reader
from tests.desk_run.harness import Desk

ZYGOTE = "zygote"
#: How often a condition is looked at that nobody announces.
LOOK_S = 0.005
PATIENCE_S = 60.0
#: How long the children of a killed root may outlive it on a machine that is busy with other things.
GONE_S = 30.0


def pause(desk: Desk, seconds: float = LOOK_S) -> None:
    """Let the desk live for a moment.

    Raises:
        AssertionError: It ended.
    """
    assert desk.process is not None, "the desk was not started"
    with suppress(subprocess.TimeoutExpired):
        code = desk.process.wait(seconds)
        msg = f"the desk ended with {code} while it was watched:\n{desk.said()}"
        raise AssertionError(msg)


# --- where the market is --------------------------------------------------------------------------


def market_step(desk: Desk) -> int:
    """Give the number of the market's step, from its own store; 0 before the first."""
    try:
        reader = Reader.open(store_path(desk.state, MARKET_DATA))
    except StoreError:
        return 0
    try:
        data = reader.get("step", b"now")
    finally:
        reader.close()
    return 0 if data is None else int(msgspec.msgpack.decode(data)[0])


def until_step(desk: Desk, step: int) -> None:
    """Wait until the market has come to this step.

    Raises:
        AssertionError: It stands still, or the desk ended first.
    """
    deadline_ns = desk.clock.monotonic_ns() + int(PATIENCE_S * NS_PER_S)
    while market_step(desk) < step:
        pause(desk)
        if desk.clock.monotonic_ns() > deadline_ns:
            msg = f"the market stands at step {market_step(desk)}, wanted {step}: {desk.status()['feed']}"
            raise AssertionError(msg)


def until_all_run(desk: Desk) -> dict[str, Any]:
    """Wait until every process runs; give that status."""
    return desk.until(lambda status: {row["state"] for row in worker_rows(status).values()} == {"RUNNING"})


# --- hurting --------------------------------------------------------------------------------------


def zygote_pid(desk: Desk) -> int:
    """Give the process from which root's children are forked, 0 while there is none."""
    children = Path(f"/proc/{desk.root_pid}/task/{desk.root_pid}/children").read_text(encoding="ascii")
    for pid in children.split():
        with suppress(OSError):
            if ZYGOTE.encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                return int(pid)
    return 0


def kill_again(desk: Desk, path: str) -> None:
    """Kill one process and wait for its successor."""
    if path != ZYGOTE:
        pid = desk.kill(path)
        while not has_successor(desk.status(), path, pid):
            pause(desk)
        return
    pid = zygote_pid(desk)
    os.kill(pid, signal.SIGKILL)
    while zygote_pid(desk) in {0, pid}:
        pause(desk)


def has_successor(status: dict[str, Any], path: str, pid: int) -> bool:
    """Say whether another process than ``pid`` runs at a path."""
    row = worker_rows(status)[path]
    return row["state"] == "RUNNING" and row["pid"] != pid


def worker_rows(status: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Give the rows of processes, by path."""
    return {row["path"]: row for row in status["tree"] if row["kind"] != "node"}


def restarts(status: dict[str, Any]) -> dict[str, int]:
    """Give how often each process was replaced, those left out that never were."""
    return {path: row["restarts"] for path, row in worker_rows(status).items() if row["restarts"]}


def pids(status: dict[str, Any], without: tuple[str, ...] = ()) -> dict[str, int]:
    """Give the processes that run, by path."""
    return {path: row["pid"] for path, row in worker_rows(status).items() if row["pid"] and path not in without}


def until_gone(desk: Desk) -> None:
    """Wait until no process of an ended desk is left.

    Raises:
        AssertionError: Some are left in the end.
    """
    deadline_ns = desk.clock.monotonic_ns() + int(GONE_S * NS_PER_S)
    while left := desk.descendants():
        assert desk.clock.monotonic_ns() < deadline_ns, f"left after {GONE_S} s: {left}"


# --- what is in the stores ------------------------------------------------------------------------


class Books(NamedTuple):
    """An account: net quantity by symbol, cash, executions in order, (state, filled) of each order."""

    positions: dict[str, Decimal]
    cash: Decimal
    executions: list[str]
    orders: dict[str, tuple[str, Decimal]]


class _Account(msgspec.Struct, frozen=True, array_like=True):
    positions: dict[str, Decimal]
    cash: Decimal


def venue_books(desk: Desk) -> Books:
    """Read the paper venue's own store."""
    reader = Reader.open(store_path(desk.state, PAPER))
    try:
        kept = reader.get("account", b"now")
        assert kept is not None, "the venue keeps its account"
        account = msgspec.msgpack.decode(kept, type=_Account)
        codec = desk_codec()
        reports = [codec.decode(data) for _, data in reader.records()]
        orders: dict[str, tuple[str, Decimal]] = {}
        for _, data in reader.scan("resting"):
            orders[msgspec.msgpack.decode(data, type=RestingOrder).command.order_id] = ("SUBMITTED", Decimal(0))
        for _, data in reader.scan("finished"):
            order = msgspec.msgpack.decode(data, type=FinishedOrder)
            assert order.order_id not in orders, "an order rests or is finished"
            orders[order.order_id] = (order.state.value, order.filled_quantity)
    finally:
        reader.close()
    fills = [report.execution_id for report in reports if isinstance(report, OrderFilled)]
    return Books(account.positions, account.cash, fills, orders)


def _touched(body: JournalBody, ledger: Ledger) -> list[Order]:
    """Give the order that an event is about as it then is: books forget those that finished long ago."""
    if isinstance(body, OrderChanged):
        return [body.order]
    order = ledger.order(body.order_id) if isinstance(body, FillBooked) else None
    return [] if order is None else [order]


def desk_books(desk: Desk) -> Books:
    """Fold the desk's journal."""
    reader = Reader.open(store_path(desk.state, "execution"))
    try:
        records = list(read_journal(reader, desk_codec()))
    finally:
        reader.close()
    ledger, orders = Ledger(), dict[str, tuple[str, Decimal]]()
    for record in records:
        ledger.apply(record.body)
        orders |= {each.order_id: (each.state.value, each.filled_quantity) for each in _touched(record.body, ledger)}
    fills = [record.body.execution_id for record in records if isinstance(record.body, FillBooked)]
    return Books(ledger.net_quantities(), ledger.cash, fills, orders)


def check_books(desk: Desk) -> None:
    """Hold the desk's books against the venue's: the same account, every fill once, no order in the air."""
    ours, theirs = desk_books(desk), venue_books(desk)
    assert ours.positions == theirs.positions
    assert ours.cash == theirs.cash
    assert ours.executions == theirs.executions
    assert len(set(ours.executions)) == len(ours.executions)
    assert {order: ours.orders[order] for order in theirs.orders} == theirs.orders
    unsent = {order: kept for order, kept in ours.orders.items() if order not in theirs.orders}
    assert {state for state, _ in unsent.values()} <= {"REJECTED", "CANCELLED"}


class Evaluated(NamedTuple):
    """What a strategy's own store says: how many bars it met, its last bar by topic, its own state."""

    bars: int
    missed: int
    last: dict[str, int]
    state: dict[str, Any]


def evaluated(desk: Desk, name: str) -> Evaluated:
    """Read a strategy's store."""
    reader = Reader.open(store_path(desk.state, f"strategies/{name}"))
    try:
        data = reader.get(TABLE, NOW)
    finally:
        reader.close()
    assert data is not None, f"{name} keeps what it evaluated"
    kept = unsealed(data, Kept)
    return Evaluated(kept.counters.get("bars", 0), kept.counters.get("missed", 0), kept.last, kept.state)


def published(desk: Desk) -> list[Bar]:
    """Give all bars that market data published, oldest first."""
    reader = Reader.open(store_path(desk.state, MARKET_DATA))
    codec = desk_codec()
    try:
        return [codec.decode(data) for _, data in reader.records()]
    finally:
        reader.close()


def falls(desk: Desk) -> Counter[str]:
    """Count the lines on falls in root's log, by offender."""
    found: Counter[str] = Counter()
    for line in (desk.state / "log" / "root.log").read_text(encoding="utf-8").splitlines():
        fields = json.loads(line[line.index("{") :]) if "{" in line else {}
        if fields.get("context") in {"child_terminated", "start_error"}:
            found[fields["offender"]] += 1
    return found
