"""Whichever call fails, at whichever seam of the order path: nothing is lost, nothing is done twice, all is protected."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from actors.venues.port import NotSentError, UnclearError, UnreachableError
from desk.units import NS_PER_S
from desk.venue import VenueTraits
from runtime.errors import StoreError
from tests.falls.day import live_a_day
from tests.falls.oracle import Books, faults
from tests.falls.order_path import TRAITS, VENUE, OrderPath
from tests.falls.trouble import Killed, Trouble

#: Of a quick run's calls only every so many-th fails.
STRIDE = 9
CHANGES = ("submit", "cancel", "replace")


class Case(NamedTuple):
    """What fails where; after a kill, what the fallen had sent and nobody heard can be lost, or still come."""

    seam: str
    what: Callable[[], BaseException] = Killed
    is_sent_lost: bool = False
    is_quick: bool = True

    def __str__(self) -> str:
        return f"{self.seam}-{type(self.what()).__name__}{'-lost' if self.is_sent_lost else ''}"


def _full() -> BaseException:
    return StoreError("nothing was written: the disk is full")


def _cases() -> Iterator[Case]:
    for room in ("execution", "risk"):
        yield Case(f"store.{room}.before", is_quick=False)
        yield Case(f"store.{room}.inside")
        yield Case(f"store.{room}.behind")
        yield Case(f"store.{room}.behind", is_sent_lost=True, is_quick=False)
        for what in (_full, OSError, MemoryError):
            yield Case(f"store.{room}.before", what, is_quick=what is _full)
    for room in ("execution", "risk", VENUE):
        for where in ("before", "behind"):
            yield Case(f"post.{room}.{where}", is_quick=False)
            yield Case(f"post.{room}.{where}", is_sent_lost=True)
        for what in (OSError, MemoryError):
            yield Case(f"post.{room}.before", what, is_quick=False)
    for call in CHANGES:
        for where in ("before", "behind"):
            yield Case(f"port.{call}.{where}")
            yield Case(f"port.{call}.{where}", is_sent_lost=True, is_quick=False)
            for what in (UnclearError, OSError, MemoryError):
                yield Case(f"port.{call}.{where}", what, is_quick=what is UnclearError)
        yield Case(f"port.{call}.before", NotSentError)
        yield Case(f"port.{call}.late", UnclearError)
    for where in ("before", "behind"):
        yield Case(f"port.look.{where}")
        yield Case(f"port.look.{where}", UnreachableError)
        yield Case(f"port.look.{where}", OSError, is_quick=False)


CASES = tuple(_cases())


def try_day(
    rules: str, case: Case, nth: int, *, is_patient: bool, traits: VenueTraits | None = None
) -> tuple[bool, list[str]]:
    """Live a day on which the n-th call fails; say whether there was an n-th one, and what is wrong afterwards."""
    trouble = Trouble(case.seam, nth, case.what)
    with tempfile.TemporaryDirectory() as folder:
        path = OrderPath(Path(folder), rules, trouble, is_sent_lost=case.is_sent_lost, traits=traits)
        try:
            live_a_day(path, is_patient=is_patient)
            found = [
                *faults(Books(path.records()), path.dump()),
                *(f"reserved: {name}" for name in path.reservations()),
            ]
        finally:
            path.close()
    return trouble.came, found


@pytest.mark.parametrize("is_patient", [True, False])
@pytest.mark.parametrize("rules", TRAITS)
def test_a_day_without_trouble_trades_and_ends_in_order(rules: str, is_patient: bool, tmp_path: Path) -> None:
    path = OrderPath(tmp_path, rules, Trouble())
    live_a_day(path, is_patient=is_patient)

    records, dump = path.records(), path.dump()
    path.close()

    assert faults(Books(records), dump) == []
    assert path.reservations() == []
    assert len(dump.executions) >= 8
    assert path.falls == []


def test_a_desk_that_believes_in_absence_too_early_is_convicted() -> None:
    hasty = msgspec.structs.replace(TRAITS["kraken"], margin_ns=-NS_PER_S)
    late = Case("port.submit.late", UnclearError)

    found = [try_day("kraken", late, nth, is_patient=True, traits=hasty)[1] for nth in (1, 4)]

    assert [[fault.partition(":")[0] for fault in each] for each in found] == [["duplicated"], ["duplicated"]]


def fail_each(rules: str, case: Case, numbers: Iterator[int], *, is_patient: bool) -> None:
    wrong: dict[int, list[str]] = {}
    for nth in numbers:
        came, found = try_day(rules, case, nth, is_patient=is_patient)
        if found:
            wrong[nth] = found
        if not came:
            break
    assert wrong == {}


@pytest.mark.parametrize("rules", TRAITS)
@pytest.mark.parametrize("case", [case for case in CASES if case.is_quick], ids=str)
def test_a_call_that_fails_is_as_if_it_had_been_late(case: Case, rules: str) -> None:
    first = 1 + CASES.index(case) % STRIDE
    fail_each(rules, case, iter(range(first, 10_000, STRIDE)), is_patient=CASES.index(case) % 2 == 0)


@pytest.mark.slow
@pytest.mark.parametrize("is_patient", [True, False])
@pytest.mark.parametrize("rules", TRAITS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_single_call_that_fails_is_as_if_it_had_been_late(case: Case, rules: str, is_patient: bool) -> None:
    fail_each(rules, case, iter(range(1, 10_000)), is_patient=is_patient)
