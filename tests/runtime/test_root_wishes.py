"""A wish that root cannot keep was not carried out, and may be said again."""

import os
import resource
import signal
from pathlib import Path

import msgspec
import pytest

from runtime.clock import NS_PER_S
from runtime.keeper import EPOCHS_AHEAD
from runtime.restart import Backoff, RestartLimit
from runtime.store import Reader
from tests.runtime.bakehouse import Bakehouse, apprentice, board, node, window


@pytest.fixture
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("w") / "var"


def let_write(house: Bakehouse, most: int) -> None:
    """Bound how long a file may be that root writes to."""
    resource.prlimit(house.pid, resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))


def kept(state: Path) -> list[str]:
    """Name those whose quarantine is kept."""
    reader = Reader.open(state / "supervisor")
    paths = [key.decode() for key, _ in reader.scan("quarantine")]
    reader.close()
    return paths


def test_a_release_that_the_disk_does_not_take_leaves_the_quarantine_and_the_next_one_ends_it(state: Path) -> None:
    weary = node("shop", apprentice("shop", "raises"), limit=RestartLimit(0, 60 * NS_PER_S), gives_up="quarantine")
    with Bakehouse(state, weary) as house:
        house.until(lambda rows: rows["shop"]["state"] == "QUARANTINED")
        let_write(house, 0)
        refused = house.ask("release", path="shop")
        after = house.rows()["shop"]["state"]
        let_write(house, resource.RLIM_INFINITY)

        assert "nothing was written" in refused.error
        assert after == "QUARANTINED"
        assert house.ask("release", path="shop").error == ""
        assert house.all_running()["shop"]["epoch"] == 2


def test_an_edit_that_the_disk_does_not_take_is_refused_and_every_wish_stays_as_it_is_kept(state: Path) -> None:
    tree = msgspec.msgpack.encode(node("bakery", window(), board("menu", "rye"), board("prices", "dear")))
    with Bakehouse(state, board("menu", "rye"), board("prices", "dear")) as house:
        house.all_running()
        house.ask("disable", path="menu")
        house.until(lambda rows: rows["menu"]["state"] == "DISABLED")

        let_write(house, 4096)  # the diary has room
        told = {"menu": False, "prices": True}
        refused = house.ask("apply", tree=tree, desired=told, restart=[], reason="", wishes={"prices": False})
        unheard = house.ask("enable", path="menu")
        after = house.status()
        let_write(house, resource.RLIM_INFINITY)

        assert "nothing was written" in refused.error
        assert "nothing was written" in unheard.error
        assert after["overrides"] == {"menu": False}
        assert house.ask("apply", tree=tree, desired=told, restart=[], reason="", wishes={"prices": False}).error == ""
        assert house.status()["overrides"] == {"prices": False}
        house.until(lambda rows: rows["prices"]["state"] == "DISABLED")


@pytest.mark.parametrize("is_wanted", [True, False])
def test_a_birth_that_the_disk_does_not_take_is_a_failed_start_and_comes_when_there_is_room(
    state: Path, is_wanted: bool
) -> None:
    with Bakehouse(state, board("menu", "rye"), backoff=Backoff(NS_PER_S, NS_PER_S, 60 * NS_PER_S)) as house:
        house.all_running()
        for epoch in range(1, EPOCHS_AHEAD):  # all that are put by
            house.ask("restart", path="menu")
            house.replaced("menu", epoch)
        before = house.rows()

        let_write(house, 0)
        if is_wanted:
            assert house.ask("restart", path="menu").error == ""
        else:
            os.kill(before["menu"]["pid"], signal.SIGKILL)
        down = house.until(lambda rows: rows["menu"]["state"] == "BACKOFF")
        let_write(house, resource.RLIM_INFINITY)

        assert "its epoch cannot be kept" in down["menu"]["last_error"]
        assert house.replaced("menu", EPOCHS_AHEAD)["last_exit"] == down["menu"]["last_exit"]
        assert house.rows()["window"]["pid"] == before["window"]["pid"]


WEARY = node("shop", board("shop", "open"), limit=RestartLimit(0, 60 * NS_PER_S), gives_up="quarantine")


def fall_where_nothing_can_be_kept(house: Bakehouse) -> None:
    """Have the shop put into quarantine while root's disk takes nothing."""
    pid = house.all_running()["shop"]["pid"]
    let_write(house, 0)
    os.kill(pid, signal.SIGKILL)
    house.until(lambda rows: rows["shop"]["state"] == "QUARANTINED")


def test_a_quarantine_that_the_disk_does_not_take_holds_and_is_kept_when_there_is_room(state: Path) -> None:
    with Bakehouse(state, WEARY) as house:
        fall_where_nothing_can_be_kept(house)
        let_write(house, resource.RLIM_INFINITY)
        house.until(lambda _: kept(state))
        os.kill(house.pid, signal.SIGKILL)
        house.wait()

    with Bakehouse(state, WEARY) as house:
        assert house.rows()["shop"]["state"] == "QUARANTINED"


def test_a_quarantine_that_was_never_kept_is_released_as_any_other(state: Path) -> None:
    with Bakehouse(state, WEARY) as house:
        fall_where_nothing_can_be_kept(house)

        assert house.ask("release", path="shop").error == ""

        house.replaced("shop")
