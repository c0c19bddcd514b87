"""Root remembers epochs, quarantine and wishes across its own death."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.keeper import Keeper
from runtime.store import Store

Reopen = Callable[..., Keeper]


@pytest.fixture
def reopened(tmp_path: Path) -> Iterator[Reopen]:
    """Give the keeper of one store, opened anew at each call with what the configuration then says."""
    keepers: list[Keeper] = []

    def reopen(**configured: bool) -> Keeper:
        if keepers:
            keepers.pop().close()
        keepers.append(Keeper(Store.open(tmp_path, is_synced=False), configured))
        return keepers[-1]

    yield reopen
    keepers.pop().close()


def test_without_a_wish_the_configuration_decides(reopened: Reopen) -> None:
    keeper = reopened(alpha=True, beta=False)

    assert keeper.desired() == {"alpha": True, "beta": False}
    assert keeper.overrides() == {}


def test_an_operators_wish_goes_before_the_configuration_and_outlives_root(reopened: Reopen) -> None:
    reopened(alpha=True, beta=False).keep_desired("alpha", is_enabled=False)

    keeper = reopened(alpha=True, beta=False)

    assert keeper.desired() == {"alpha": False, "beta": False}
    assert keeper.overrides() == {"alpha": False}


def test_a_wish_that_is_kept_already_is_not_written_again(tmp_path: Path) -> None:
    store = Store.open(tmp_path, is_synced=False)
    keeper = Keeper(store, {"alpha": True})
    commits: list[int] = []

    for is_enabled in (True, False, False, True, True):
        keeper.keep_desired("alpha", is_enabled=is_enabled)
        commits.append(store.summary().commits)

    keeper.close()
    assert commits == [1, 2, 2, 3, 3]


def test_an_edit_while_the_desk_was_down_ends_the_wish_for_good(reopened: Reopen) -> None:
    reopened(alpha=True).keep_desired("alpha", is_enabled=False)

    assert reopened(alpha=False).overrides() == {}
    assert reopened(alpha=True).desired() == {"alpha": True}


def test_an_edit_while_the_desk_is_up_ends_the_wish(reopened: Reopen) -> None:
    keeper = reopened(alpha=True)
    keeper.keep_desired("alpha", is_enabled=False)

    keeper.configure({"alpha": False})

    assert keeper.overrides() == {}
    assert keeper.desired() == {"alpha": False}
    assert reopened(alpha=False).overrides() == {}


def test_what_another_configuration_says_ends_the_wishes_of_the_paths_that_it_changes(reopened: Reopen) -> None:
    keeper = reopened(alpha=True, beta=True)
    keeper.keep_desired("alpha", is_enabled=False)
    keeper.keep_desired("beta", is_enabled=False)

    keeper.configure({"alpha": False, "beta": True, "gamma": False})
    keeper.configure({"alpha": True, "beta": True, "gamma": False})

    assert keeper.overrides() == {"beta": False}
    assert keeper.desired() == {"alpha": True, "beta": False, "gamma": False}
    assert reopened(alpha=True, beta=True).overrides() == {"beta": False}


def test_a_wish_that_is_younger_than_the_edit_beside_it_holds_against_it(reopened: Reopen) -> None:
    keeper = reopened(alpha=True, beta=True)
    keeper.keep_desired("alpha", is_enabled=False)

    keeper.configure({"alpha": False, "beta": False}, {"alpha": True, "beta": False, "gamma": True})

    assert keeper.overrides() == {"alpha": True}
    assert reopened(alpha=False, beta=False).overrides() == {"alpha": True}


def test_the_wish_of_a_path_that_goes_and_comes_back_unedited_holds_again(reopened: Reopen) -> None:
    keeper = reopened(alpha=True, beta=True)
    keeper.keep_desired("alpha", is_enabled=False)

    keeper.configure({"beta": True})
    assert keeper.desired() == {"beta": True}
    keeper.configure({"alpha": True, "beta": True})

    assert keeper.desired() == {"alpha": False, "beta": True}


def test_an_edit_of_another_entry_leaves_the_wish(reopened: Reopen) -> None:
    reopened(alpha=True, beta=True).keep_desired("alpha", is_enabled=False)

    keeper = reopened(alpha=True, beta=False)

    assert keeper.desired() == {"alpha": False, "beta": False}


def test_the_last_of_two_wishes_holds(reopened: Reopen) -> None:
    keeper = reopened(alpha=True)
    keeper.keep_desired("alpha", is_enabled=False)
    keeper.keep_desired("alpha", is_enabled=True)

    assert keeper.desired() == reopened(alpha=True).desired() == {"alpha": True}


def test_a_wish_for_something_that_left_the_configuration_does_nothing(reopened: Reopen) -> None:
    reopened(alpha=True, beta=True).keep_desired("beta", is_enabled=False)

    assert reopened(alpha=True).desired() == {"alpha": True}


def test_epochs_go_on_behind_where_they_were(reopened: Reopen) -> None:
    keeper = reopened()
    keeper.keep_epochs({"strategies/alpha": 41})

    assert keeper.next_epoch("strategies/alpha") == 42
    assert keeper.next_epoch("root") == 1
    assert keeper.epochs() == {"strategies/alpha": 42, "root": 1}
    keeper = reopened()
    assert keeper.epochs()["strategies/alpha"] >= 42
    assert keeper.next_epoch("root") > 1


@given(st.lists(st.sampled_from(["alpha", "beta", "come back"]), max_size=80))
def test_no_epoch_comes_twice_whenever_root_comes_back(script: list[str]) -> None:
    with TemporaryDirectory() as folder:
        store = Store.open(Path(folder), is_synced=False)
        keeper, seen = Keeper(store, {}), {"alpha": 0, "beta": 0}
        for word in script:
            if word == "come back":  # what was only in its memory is gone, as after a power cut
                keeper = Keeper(store, {})
                continue
            epoch = keeper.epochs().get(word, 0) + 1
            keeper.keep_epochs({word: epoch})
            assert epoch > seen[word]
            seen[word] = epoch
        store.close()


def test_a_quarantine_outlives_root_until_it_is_released(reopened: Reopen) -> None:
    reopened().keep_quarantine("strategies/alpha", "fell too often")
    assert reopened().quarantined() == ["strategies/alpha"]

    reopened().drop_quarantine("strategies/alpha")

    assert reopened().quarantined() == []


#: Keeps one of each, and is killed by its own hand.
ROOT = """
import os, signal, sys
from pathlib import Path
from runtime.keeper import Keeper
from runtime.store import Store
keeper = Keeper(Store.open(Path(sys.argv[1]), is_synced=False), {"alpha": True})
keeper.keep_desired("alpha", is_enabled=False)
keeper.keep_quarantine("beta", "fell too often")
keeper.keep_epochs({"alpha": 7})
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_kill_9_of_root_right_after_it_kept_something_loses_nothing(reopened: Reopen, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", ROOT, str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL

    keeper = reopened(alpha=True)

    assert keeper.overrides() == {"alpha": False}
    assert keeper.quarantined() == ["beta"]
    assert keeper.epochs()["alpha"] >= 7
