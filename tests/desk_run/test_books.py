"""The commands that read the books, on a state folder of a desk that ran, whole or damaged."""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from actors.arguments import store_path
from tests.actors.booked import Book
from tests.desk_run.command_line import bulkhead
from tests.desk_run.harness import BULKHEAD


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a state folder with two round trips and a working order."""
    state = tmp_path_factory.mktemp("books") / "var"
    book = Book(store_path(state, "execution"))
    book.capital()
    book.trade(closed=4, open_orders=1, strategies=2)
    book.close()
    return state


def damaged(folder: Path) -> Path:
    """Give a ledger of many pages whose end is cut off."""
    state = folder / "var"
    book = Book(store_path(state, "execution"))
    book.capital()
    book.trade(closed=40, open_orders=0)
    book.close()
    os.truncate(store_path(state, "execution") / "data.mdb", 5 * 4096)
    return state


def test_the_journal_can_be_asked_for_a_part(state: Path) -> None:
    fills = bulkhead("journal", "--kind", "fill", "--strategy", "s1", "--after", "5", "--json", state=state)

    assert fills.code == 0, fills.err
    assert {(row["word"], row["strategy"]) for row in fills.json} == {("fill.booked", "s1")}
    assert len(fills.json) == 3


@pytest.mark.slow
def test_a_kind_that_there_is_not_is_answered_with_those_that_there_are(state: Path) -> None:
    said = bulkhead("journal", "--kind", "bread", state=state)

    assert (said.code, said.out) == (3, "")
    assert "order.changed, fill.booked" in said.err


@pytest.mark.slow
def test_an_order_is_found_by_the_beginning_of_its_name(state: Path) -> None:
    whole = bulkhead("orders", "--json", state=state).json
    wanted = whole[0]["order_id"]

    said = bulkhead("order", wanted, "--json", state=state)

    assert said.json["order"]["order_id"] == wanted
    assert [step["state"] for step in said.json["transitions"]][-1] == "FILLED"


@pytest.mark.slow
def test_a_folder_without_a_desk_is_told_from_one_with(tmp_path: Path) -> None:
    said = bulkhead("order", "a", state=tmp_path)

    assert said.code == 4
    assert "has a desk ever run on" in said.err


def test_the_books_answer_in_sql_and_to_nothing_but_select(state: Path) -> None:
    said = bulkhead("sql", "SELECT strategy, count(*) AS n FROM trades GROUP BY 1 ORDER BY 1", "--json", state=state)
    refused = bulkhead("sql", "DELETE FROM trades", state=state)

    assert said.json == [{"strategy": "s0", "n": 1}, {"strategy": "s1", "n": 1}]
    assert (refused.code, refused.err) == (3, "only SELECT is allowed here; nothing was changed\n")


@pytest.mark.slow
def test_a_read_model_that_is_damaged_is_made_anew(state: Path) -> None:
    made = bulkhead("read-model", state=state)
    (state / "read-model.sqlite").write_bytes(b"no database" * 1000)

    again = bulkhead("read-model", "--json", state=state)

    assert (made.code, again.code) == (0, 0), again.err
    assert f"up to record {again.json['sequence']}" in made.out


def test_a_ledger_that_kills_its_reader_is_named_with_what_to_do(tmp_path: Path) -> None:
    state = damaged(tmp_path)

    said = bulkhead("trades", state=state)

    assert said.code == 3
    assert f"a store is damaged: {store_path(state, 'execution')}" in said.err
    assert "bulkhead restore BACKUP" in said.err
    assert "Traceback" not in said.err


@pytest.mark.slow
def test_a_journal_that_is_followed_shows_each_record_once_as_it_comes(tmp_path: Path) -> None:
    state = tmp_path / "var"
    book = Book(store_path(state, "execution"))
    book.capital()
    command = [BULKHEAD, "journal", "--follow", "--json", "--kind", "order", "--state", state]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as follower:
        assert follower.stdout is not None
        seen: list[int] = []
        for _ in range(5):
            book.place("alpha")
            seen += [json.loads(follower.stdout.readline())["sequence"] for _ in range(2)]
        os.killpg(follower.pid, signal.SIGINT)
        rest = follower.stdout.read()
        assert follower.wait(60) == 0
    book.close()

    assert (seen, rest) == (list(range(2, 12)), "")
