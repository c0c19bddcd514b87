"""What a confined process may do, and what the kernel refuses it."""

import json
import os
import platform
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from runtime import landlock
from runtime.errors import StartError
from runtime.landlock import Ground

REPOSITORY = Path(__file__).parents[2]
LISTED = Path("/sys/kernel/security/lsm")

MAY = (
    "write own",
    "make a folder of its own",
    "remove own",
    "read what is open",
    "append to a log",
    "rotate a log",
    "begin a new log",
    "list the logs",
    "write to nowhere",
    "import a module of the library",
    "signal itself",
    "start a thread",
)
MAY_NOT = {
    "write what is open": "PermissionError",
    "read another's log": "PermissionError",
    "read a secret": "PermissionError",
    "list the secrets": "PermissionError",
    "write a secret": "PermissionError",
    "remove a secret": "PermissionError",
    "take a secret away": "PermissionError",
    "link to a secret": "OSError",
    "read a secret by a link of its own": "PermissionError",
    "read the passwords": "PermissionError",
    "read the environment of its parent": "PermissionError",
    "fork": "PermissionError",
    "run a program": "PermissionError",
    "become a program": "PermissionError",
}
#: What only later versions of Landlock refuse.
SINCE = {"truncate a secret": 3, "connect by TCP": 4, "listen on TCP": 4, "signal its parent": 6}


def confined(folder: Path, kernel: str) -> dict[str, Any]:
    for name in ("own", "open", "logs", "secret"):
        (folder / name).mkdir()
    for name in ("own/old", "open/file", "logs/own.log", "logs/root.log", "secret/key"):
        (folder / name).write_text("the key", encoding="ascii")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        command = [sys.executable, "-m", "tests.runtime.confined", str(folder), port, kernel]
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Let a process confine itself and try everything, where the kernel was built to refuse."""
    release = tuple(int(part) for part in platform.release().split(".")[:2])
    if release < (5, 13) or (LISTED.exists() and "landlock" not in LISTED.read_text(encoding="ascii")):
        pytest.skip(f"Linux {platform.release()} has no Landlock")
    return confined(tmp_path_factory.mktemp("confined"), "new")


def test_a_kernel_that_has_landlock_and_filters_is_made_use_of(told: dict[str, Any]) -> None:
    assert told["landlock"] == landlock.abi() > 0
    assert told["filter"] is True


@pytest.mark.parametrize("attempt", MAY)
def test_a_confined_process_does_its_work(attempt: str, told: dict[str, Any]) -> None:
    assert told["tried"][attempt] == ""


@pytest.mark.parametrize(("attempt", "error"), MAY_NOT.items())
def test_a_confined_process_is_refused_everything_else(attempt: str, error: str, told: dict[str, Any]) -> None:
    assert told["tried"][attempt] == error


@pytest.mark.parametrize(("attempt", "since"), SINCE.items())
def test_later_kernels_refuse_more(attempt: str, since: int, told: dict[str, Any]) -> None:
    assert told["tried"][attempt] == ("PermissionError" if told["landlock"] >= since else "")


def test_every_attempt_is_judged_here(told: dict[str, Any]) -> None:
    assert set(told["tried"]) == {*MAY, *MAY_NOT, *SINCE}


def test_on_a_kernel_without_both_nothing_is_refused_and_that_is_said(tmp_path: Path) -> None:
    told = confined(tmp_path, "old")

    assert (told["landlock"], told["filter"]) == (0, False)
    assert {told["tried"][attempt] for attempt in (*MAY, "fork", "run a program", "write a secret")} == {""}


def test_what_shall_be_written_must_be_there(tmp_path: Path) -> None:
    ground = Ground()

    with pytest.raises(StartError, match=f"{tmp_path}/missing is not there"):
        landlock.confine(ground, [], [str(tmp_path / "missing")])

    (tmp_path / "free").write_text("still free", encoding="ascii")


def test_the_ground_holds_no_folder_in_which_a_package_merely_lies() -> None:
    ground = Ground.survey()
    paths = {Path(f"/proc/self/fd/{descriptor}").readlink() for descriptor, _ in ground.places}
    ground.close()

    assert Path(landlock.__file__).parent in paths
    assert Path(os.__file__).parent in paths or any(Path(os.__file__).is_relative_to(path) for path in paths)
    assert REPOSITORY not in paths
    assert not any(REPOSITORY.is_relative_to(path) for path in paths)
