"""A running root takes another tree: real processes come, go, hear of it, or are replaced when it suits them."""

from pathlib import Path

import msgspec
import pytest

from runtime.spec import ChildSpec
from runtime.words import RootAnswered
from tests.runtime.bakehouse import Bakehouse, baker, board, node, oven, window


@pytest.fixture
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("b") / "var"


def apply(house: Bakehouse, *children: ChildSpec, restart: tuple[str, ...] = (), **desired: bool) -> RootAnswered:
    tree = msgspec.msgpack.encode(node("bakery", window(), *children))
    return house.ask("apply", tree=tree, desired=desired, restart=list(restart), reason="another day")


def test_who_is_new_starts_who_is_gone_leaves_and_the_others_go_on(state: Path) -> None:
    with Bakehouse(state, oven(), baker("alpha"), baker("beta")) as house:
        before = house.all_running()

        answer = apply(house, oven(), baker("beta"), baker("gamma"))

        rows = house.until(lambda rows: set(rows) == {"window", "oven", "beta", "gamma"})
        assert answer.error == ""
        rows = house.all_running()
        assert rows["oven"]["pid"] == before["oven"]["pid"]
        assert rows["beta"]["pid"] == before["beta"]["pid"]
        assert "stopping alpha" in house.diary()
        house.until(lambda _: house.loaves().get("gamma"))


def test_a_room_hears_of_its_other_arguments_and_its_successor_starts_with_them(state: Path) -> None:
    with Bakehouse(state, board("menu", "rye")) as house:
        pid = house.all_running()["menu"]["pid"]

        apply(house, board("menu", "spelt"))

        row = house.until(lambda rows: rows["menu"]["facts"].get("text") == "spelt")["menu"]
        assert row["pid"] == pid
        house.ask("restart", path="menu")
        house.until(lambda rows: rows["menu"]["epoch"] > 1 and rows["menu"]["facts"].get("text") == "spelt")
        assert house.diary().count("told menu spelt") == 1


def test_a_room_that_asks_for_its_restart_gets_it_once_and_uncounted(state: Path) -> None:
    with Bakehouse(state, board("menu", "rye"), board("prices", "dear")) as house:
        prices = house.all_running()["prices"]["pid"]

        apply(house, board("menu", "wiped"), board("prices", "dear"))

        row = house.until(lambda rows: rows["menu"]["facts"].get("text") == "wiped")["menu"]
        assert (row["epoch"], row["restarts"]) == (2, 0)
        assert house.rows()["prices"]["pid"] == prices
        assert "stopping menu" in house.diary()
        assert house.log().count("restart.wanted") == 1
        assert house.log().count("restart.refused") == 1


def test_a_path_in_the_list_of_restarts_is_replaced_without_being_told(state: Path) -> None:
    with Bakehouse(state, board("menu", "rye")) as house:
        house.all_running()

        apply(house, board("menu", "spelt"), restart=("menu",))

        row = house.until(lambda rows: rows["menu"]["facts"].get("text") == "spelt")["menu"]
        assert (row["epoch"], row["restarts"]) == (2, 0)
        assert "told menu spelt" not in house.diary()


def test_what_is_desired_comes_with_the_tree_and_an_operators_wish_goes_before_it(state: Path) -> None:
    with Bakehouse(state, oven(), board("menu", "rye")) as house:
        house.all_running()
        house.ask("disable", path="menu", reason="rain")

        apply(house, oven(), board("menu", "rye"), board("prices", "dear"), oven=True, menu=True, prices=False)

        rows = house.until(lambda rows: rows["menu"]["state"] == "DISABLED")
        assert (rows["oven"]["state"], rows["prices"]["state"]) == ("RUNNING", "DISABLED")
        apply(house, oven(), board("menu", "rye"), board("prices", "dear"), oven=True, menu=False, prices=True)
        apply(house, oven(), board("menu", "rye"), board("prices", "dear"), oven=True, menu=True, prices=True)
        house.all_running()


@pytest.mark.parametrize(
    "children",
    [
        (board("bakery", "named as the root is"),),
        (board("a", ""), board("b", ""), board("c", "no chalk for a third one")),
    ],
)
def test_a_tree_that_cannot_be_or_be_prepared_for_is_refused_and_changes_nothing(
    state: Path, children: tuple[ChildSpec, ...]
) -> None:
    with Bakehouse(state, board("menu", "rye")) as house:
        before = house.all_running()

        answer = apply(house, *children, menu=False)

        assert "root's id" in answer.error or "chalk" in answer.error
        after = house.rows()
        assert {path: row["pid"] for path, row in after.items()} == {path: row["pid"] for path, row in before.items()}
        assert house.status()["overrides"] == {}


def test_what_no_program_of_ours_would_send_is_refused_in_words(state: Path) -> None:
    with Bakehouse(state, board("menu", "rye")) as house:
        house.all_running()

        answers = [
            house.ask("apply", tree=b"\xc1", desired={}, restart=[], reason=""),
            house.ask("apply", tree=msgspec.msgpack.encode({"type": "node"}), desired={}, restart=[], reason=""),
            house.ask("apply", reason="and nothing else"),
        ]

        assert all(answer.error for answer in answers)
        assert house.rows()["menu"]["state"] == "RUNNING"
