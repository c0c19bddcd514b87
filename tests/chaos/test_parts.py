"""What a storm is made of does what it says, and its verdict convicts what is wrong."""

import socket
import threading
from collections.abc import Iterator
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from desk.messages import Bar, CapitalChanged, JournalRecord, OrderChanged, OrderState, Purpose
from tests.chaos import verdict
from tests.chaos.schedule import DECK, schedule
from tests.chaos.wire import Wire
from tests.desk.orders import an_order
from tests.exchange.wire import Dump
from tests.falls.oracle import Books

NAMES = ("a", "b")
PATIENCE_S = 30.0

# --- the schedule -----------------------------------------------------------------------------


@given(seed=st.integers(0, 1 << 32), seconds=st.floats(0, 200))
def test_a_schedule_follows_from_its_seed_and_keeps_to_its_time(seed: int, seconds: float) -> None:
    faults = schedule(seed, seconds, NAMES, without=frozenset())

    assert faults == schedule(seed, seconds, NAMES, without=frozenset())
    assert [fault.at_s for fault in faults] == sorted(fault.at_s for fault in faults)
    assert all(fault.at_s <= seconds + 0.005 for fault in faults)  # written down to the hundredth of a second


@given(seed=st.integers(0, 1 << 32))
def test_every_kind_of_fault_is_in_a_storm_of_two_minutes_but_what_the_machine_cannot_do(seed: int) -> None:
    kinds = {fault.kind for fault in schedule(seed, 120.0, NAMES, without=frozenset({"full_disk"}))}

    assert kinds == {kind.name for kind in DECK} - {"full_disk"}


# --- the wire ---------------------------------------------------------------------------------


@pytest.fixture
def echo() -> Iterator[int]:
    """Give the port of somebody who answers each line with the same line."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve(one: socket.socket) -> None:
            with one, one.makefile("rb") as lines:
                for line in lines:
                    one.sendall(line)

        def take() -> None:
            while True:
                try:
                    one, _ = server.accept()
                except OSError:
                    return
                threading.Thread(target=serve, args=(one,), daemon=True).start()

        threading.Thread(target=take, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


def connected(wire: Wire) -> socket.socket:
    assert isinstance(wire.place, int)
    return socket.create_connection(("127.0.0.1", wire.place), PATIENCE_S)


def said(one: socket.socket, line: bytes) -> bytes:
    """Say a line and give what comes back until the line is whole or the other side hangs up."""
    one.sendall(line)
    got = b""
    while not got.endswith(b"\n"):
        try:
            data = one.recv(100)
        except ConnectionError:
            return got
        if not data:
            return got
        got += data
    return got


def test_a_wire_carries_both_ways_and_a_cut_ends_what_stands_and_nothing_new(echo: int) -> None:
    with Wire(echo) as wire, connected(wire) as old:
        assert said(old, b"one\n") == b"one\n"

        wire.cut()

        assert said(old, b"two\n") == b""
        with connected(wire) as new:
            assert said(new, b"three\n") == b"three\n"


def test_a_halved_answer_is_half_an_answer_and_the_end(echo: int) -> None:
    with Wire(echo) as wire, connected(wire) as one, connected(wire) as other:
        assert said(one, b"whole\n") == b"whole\n"
        wire.halve()

        assert said(one, b"123456789\n") == b"12345"
        assert said(other, b"123456789\n") == b"123456789\n"


def test_a_stalled_wire_keeps_everything_until_it_goes_on(echo: int) -> None:
    with Wire(echo) as wire, connected(wire) as one:
        assert said(one, b"one\n") == b"one\n"
        wire.stall(is_on=True)
        one.sendall(b"two\n")
        one.settimeout(0.05)
        with pytest.raises(TimeoutError):
            one.recv(10)
        one.settimeout(PATIENCE_S)

        wire.stall(is_on=False)

        assert one.recv(10) == b"two\n"


def test_a_shut_wire_takes_nobody_until_it_is_open_again(echo: int) -> None:
    with Wire(echo) as wire:
        wire.shut(is_on=True)
        with connected(wire) as one:
            assert said(one, b"one\n") == b""
        wire.heal()
        with connected(wire) as one:
            assert said(one, b"two\n") == b"two\n"


# --- the verdict ------------------------------------------------------------------------------


def books(*bodies: object) -> Books:
    return Books(JournalRecord(number, 0, body) for number, body in enumerate(bodies, 1))  # pyright: ignore[reportArgumentType]


def dump(cash: str = "1000") -> Dump:
    return Dump(
        orders=[],
        executions=[],
        positions={},
        cash=Decimal(cash),
        cash_at_first=Decimal(1000),
        calls={},
        deeds={},
        pending=0,
        time_ns=0,
    )


CAPITAL = CapitalChanged(Decimal(1000), "the start", 0)


def test_money_that_is_where_it_was_is_right_and_a_missing_cent_is_found() -> None:
    assert list(verdict.money(books(CAPITAL), dump(), Decimal(1000))) == []
    assert list(verdict.money(books(CAPITAL), dump("999.99"), Decimal(1000))) == [
        "money: the books' cash moved by 0, the account's by -0.01"
    ]
    assert "nobody brought or took" in next(verdict.money(books(CAPITAL), dump(), Decimal(999)))


@pytest.mark.parametrize(
    ("purpose", "reason", "is_blocked"),
    [
        (Purpose.EXIT, "HALTED: by an operator", True),
        (Purpose.EXIT, "NO_POSITION: nothing is held", False),
        (Purpose.ENTRY, "HALTED: by an operator", False),
    ],
)
def test_an_exit_that_was_refused_for_what_stops_entries_is_found(
    purpose: Purpose, reason: str, is_blocked: bool
) -> None:
    order = replace(an_order(), purpose=purpose, state=OrderState.REJECTED, reason=reason)

    assert bool(list(verdict.exits(books(OrderChanged(order, "", "test", 0))))) == is_blocked


def a_bar(sequence: int, symbol: str = "AAA") -> Bar:
    return Bar(symbol, "1s", 0, 0, 1.0, 1.0, 1.0, 1.0, 0.0, sequence=sequence)


@pytest.mark.parametrize(
    ("evaluated", "missed", "words"),
    [
        ([1, 2, 4], [], ""),
        ([1, 4], [], "never met 1 of 3 bars: [2]"),
        ([1, 2, 2, 4], [], "met [2] twice"),
        ([2, 1, 4], [], "out of their order"),
        ([1, 4], [2], "too late to trade on: [2]"),
    ],
)
def test_a_bar_that_a_witness_met_not_at_all_twice_too_late_or_out_of_order_is_found(
    evaluated: list[int], missed: list[int], words: str
) -> None:
    published = [a_bar(1), a_bar(2), a_bar(3, "BBB"), a_bar(4)]
    found = list(verdict.bars("w", published, ("AAA", "1s"), {"evaluated": evaluated, "missed": missed}))

    assert len(found) == bool(words)
    assert not words or words in found[0]


def test_a_strategy_that_does_not_trade_any_more_is_found() -> None:
    entry = replace(an_order(), strategy="a", purpose=Purpose.ENTRY, state=OrderState.FILLED, bar_ts_ns=5)
    body = OrderChanged(entry, "", "test", 0)

    assert verdict.idle(books(body), ["a"], since_ns=5) == ["a has filled no EXIT since"]
    assert len(verdict.idle(books(body), ["a"], since_ns=6)) == 2
