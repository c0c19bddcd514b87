"""One order's life is told whole, and any unambiguous beginning of a name of it is enough."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from actors.journal import read_journal
from actors.journal_screens import order_text, rows_text
from actors.order_view import NoSuchOrderError, order_view
from actors.words import desk_codec
from desk.messages import JournalRecord, OrderChanged, OrderState
from tests.actors.booked import Book


@pytest.fixture
def records(tmp_path: Path) -> Iterator[list[JournalRecord]]:
    """Give a journal with two orders of alpha, of which the first filled in two parts, and one of beta."""
    book = Book(tmp_path)
    book.capital()
    first = book.place("alpha")
    book.fill(first.order_id, 4, "100.5", leaves=6)
    book.place("alpha")
    book.place("beta")
    book.fill(first.order_id, 6, "100.7")
    yield list(read_journal(book.store, desk_codec()))
    book.close()


def test_an_order_is_told_with_every_step_and_every_execution(records: list[JournalRecord]) -> None:
    found = order_view(records, "alpha-1")

    assert [(step["previous"], step["state"], step["source"]) for step in found["transitions"]] == [
        ("", "PENDING", "risk"),
        ("PENDING", "SUBMITTED", "venue paper"),
        ("SUBMITTED", "PARTIALLY_FILLED", "venue paper"),
        ("PARTIALLY_FILLED", "FILLED", "venue paper"),
    ]
    assert [(fill["quantity"], fill["price"], fill["account"]) for fill in found["fills"]] == [
        ("4", "100.5", "main"),
        ("6", "100.7", "main"),
    ]
    assert found["order"]["state"] == "FILLED"
    assert [step["sequence"] for step in found["transitions"]] == [2, 3, 5, 11]
    assert all(step["written_ns"] > step["ts_ns"] > 0 for step in found["transitions"])


@pytest.mark.parametrize("name", ["beta", "b", "v-beta", "beta-7"])
def test_a_beginning_of_any_of_its_names_means_an_order(records: list[JournalRecord], name: str) -> None:
    assert order_view(records, name)["order"]["strategy"] == "beta"


def test_a_client_id_of_a_later_attempt_means_its_order(records: list[JournalRecord]) -> None:
    last = records[-1].body
    assert isinstance(last, OrderChanged)
    again = replace(last.order, attempt=2, client_order_id="zweite-7", state=OrderState.PENDING, deadline_ns=5)
    records.append(JournalRecord(99, 1, OrderChanged(again, "UNKNOWN", "ours", 9)))

    found = order_view(records, "zweite")

    assert found["order"]["order_id"] == "alpha-1"
    assert "attempt 2 as zweite-7" in order_text(found).replace("\n    ", " ")


def test_a_name_that_could_be_several_is_answered_with_them(records: list[JournalRecord]) -> None:
    with pytest.raises(NoSuchOrderError, match=r"'alpha' could be alpha-1, alpha-5; write more of it"):
        order_view(records, "alpha")


@pytest.mark.parametrize("name", ["gamma", "", "lpha"])
def test_a_name_of_nobody_is_answered_with_where_names_stand(records: list[JournalRecord], name: str) -> None:
    with pytest.raises(NoSuchOrderError, match="bulkhead orders"):
        order_view(records, name)


def test_the_text_of_an_order_keeps_to_eighty_columns(records: list[JournalRecord]) -> None:
    text = order_text(order_view(records, "alpha-1"))

    assert max(map(len, text.splitlines())) <= 80
    assert "PENDING -> SUBMITTED (by venue paper)" in text


def test_rows_are_shown_under_their_names_and_never_cut() -> None:
    assert rows_text(("a", "name"), [(1, "x" * 90), (None, "ende")]).splitlines() == [
        "a  name",
        f"1  {'x' * 90}",
        "-  ende",
        "(2 rows)",
    ]
