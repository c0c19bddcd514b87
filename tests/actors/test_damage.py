"""Whatever happens to the bytes of a store is told, or changes nothing that is read."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from actors.arguments import store_path
from actors.desk import check_stores, refuse_missing
from runtime.effects import Append, Put
from runtime.errors import StartError
from runtime.folder import Sentinel
from runtime.store import Store
from runtime.store_witness import NAME as WITNESS
from tests.actors.booked import Book
from tests.desk_run.harness import Desk
from tests.desk_run.markets import configuration, vwap, write_market

ROOT = Path(__file__).parents[2]
PATHS = ("venues/paper", "execution", "risk", "market_data")


def a_state(folder: Path) -> Path:
    """Give a state folder with books and with the stores of others, some of many pages."""
    state = folder / "var"
    book = Book(store_path(state, "execution"), snapshot_every=100)
    book.capital()
    book.trade(closed=20, open_orders=5)
    book.close()
    for name, count in (("risk", 30), ("market", 200), ("venue-paper", 80), ("supervisor", 5)):
        store = Store.open(state / name, is_synced=False)
        for number in range(1, count + 1):
            store.commit([Append(number, b"report %d" % number * 9), Put("known", b"%d" % number, b"x" * number)])
        store.close()
    return state


def damaged(state: Path, count: str, seed: int = 7) -> dict[str, Any]:
    """Damage the stores of a folder; say what a reader made of it."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.actors.damaging", state, count, str(seed)],
        capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return {"silent": 0, "unforeseen": 0, "hung": 0, "killed": 0, **json.loads(done.stdout)}


def test_forty_damages_are_each_told_or_harmless(tmp_path: Path) -> None:
    found = damaged(a_state(tmp_path), "40")

    assert (found["silent"], found["examples"], found["unforeseen"]) == (0, [], 0)
    assert found["named"] >= 5
    assert found["unguarded"] >= 1


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_five_hundred_damages_are_each_told_or_harmless(tmp_path: Path, seed: int) -> None:
    found = damaged(a_state(tmp_path), "500", seed)

    assert (found["silent"], found["examples"], found["unforeseen"]) == (0, [], 0)
    assert found["unguarded"] >= 50


@pytest.mark.slow
def test_every_bit_of_both_roots_is_told_or_harmless(tmp_path: Path) -> None:
    state = tmp_path / "var"
    book = Book(store_path(state, "execution"))
    book.capital()
    book.trade(closed=4, open_orders=1)
    book.close()

    found = damaged(state, "roots")

    assert (found["silent"], found["examples"], found["unforeseen"]) == (0, [], 0)


def test_a_damaged_entry_keeps_the_desk_from_starting_and_halts_it(tmp_path: Path) -> None:
    state = a_state(tmp_path)
    check_stores(state)
    store = Store.open(state / "risk")
    with store._environment.begin(write=True) as transaction:
        transaction.put(b"known\x007", b"digested" + b"x" * 7)
    store.close()

    with pytest.raises(StartError, match=r"entry b'7' of table 'known' is damaged[^$]*Nothing was started"):
        check_stores(state)

    assert "risk: entry b'7' of table 'known' is damaged" in (Sentinel(state).reason() or "")


@pytest.mark.parametrize("store", ["ledger", "market", "risk", "venue-paper", "supervisor"])
@pytest.mark.parametrize("has_folder", [True, False], ids=["its data", "all of it"])
def test_a_store_that_is_gone_keeps_the_desk_from_starting_and_halts_it(
    tmp_path: Path, store: str, *, has_folder: bool
) -> None:
    state = a_state(tmp_path)
    refuse_missing(state, PATHS)
    if has_folder:
        (state / store / "data.mdb").unlink()
    else:
        shutil.rmtree(state / store)

    with pytest.raises(StartError, match=rf"a store is missing: .*{store}\n[^$]*bulkhead restore"):
        refuse_missing(state, PATHS)

    assert (Sentinel(state).reason() or "").startswith("a store is missing")


def test_a_strategys_store_is_missed_where_it_was_written_and_not_where_it_is_new(tmp_path: Path) -> None:
    state = a_state(tmp_path)
    Store.open(state / "strategies" / "alpha").close()
    assert (state / "strategies" / "alpha" / WITNESS).exists()
    (state / "strategies" / "new").mkdir()
    refuse_missing(state, PATHS)
    (state / "strategies" / "alpha" / "data.mdb").unlink()

    with pytest.raises(StartError, match=r"a store is missing: .*strategies/alpha"):
        refuse_missing(state, PATHS)


def test_a_first_start_that_was_cut_off_between_two_stores_goes_on(tmp_path: Path) -> None:
    Store.open(tmp_path / "supervisor").close()
    Store.open(tmp_path / "risk").close()

    refuse_missing(tmp_path, PATHS)

    assert Sentinel(tmp_path).reason() is None


def test_without_the_word_of_which_market_its_books_are_nothing_starts(tmp_path: Path) -> None:
    files = write_market(tmp_path, 10, symbols=("SPY",))
    with Desk(tmp_path, configuration((vwap("one", "SPY"),), files)) as desk:
        a_state(tmp_path)

        code = desk.start().wait()

        assert code == 3
        assert "feed.json is missing" in desk.said()
        assert not (desk.state / "feed.json").exists()


def test_a_desk_with_the_store_of_one_strategy_in_the_place_of_another_starts_nothing_and_is_halted(
    tmp_path: Path,
) -> None:
    files = write_market(tmp_path, 120, symbols=("SPY",))
    with Desk(tmp_path, configuration((vwap("one", "SPY"), vwap("two", "SPY")), files)) as desk:
        assert desk.start().wait() == 0
        first, second = (desk.state / "strategies" / name / "data.mdb" for name in ("one", "two"))
        shutil.copyfile(second, first)

        code = desk.start().wait()

    words = f"{first.parent}: it is the store of strategies/two, and lies where that of strategies/one was"
    assert code == 3
    assert f"a store is in another's place: {words}" in desk.said()
    assert "no order was sent" in desk.said()
    assert words in (Sentinel(desk.state).reason() or "")


def test_what_is_left_of_a_candidate_keeps_no_desk_from_starting_however_damaged(tmp_path: Path) -> None:
    files = write_market(tmp_path, 10, symbols=("SPY",))
    with Desk(tmp_path, configuration((vwap("one", "SPY"),), files)) as desk:
        left = desk.state / "candidates" / "one"
        left.mkdir(parents=True)
        (left / "data.mdb").write_bytes(b"\xff" * 8192)

        assert desk.start().wait() == 0, desk.said()

    assert not left.exists()
    assert Sentinel(desk.state).reason() is None
