"""A state folder that is another user's, or damaged where the sockets are named: a sentence, and never a traceback."""

import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from actors.cli import main
from actors.control_client import DeskDownError, ask
from runtime.clock import Clock
from tests.desk_run.command_line import bulkhead

NOBODY = 65_534


@pytest.fixture
def theirs(tmp_path: Path) -> Iterator[Path]:
    """Give a state folder on which a desk runs, and of which we may read and write nothing."""
    state = tmp_path / "var"
    for folder in ("log", "ledger", "audit"):
        (state / folder).mkdir(parents=True)
    for file in ("endpoints", "halt.spare", "log/root.log", "ledger/data.mdb", "audit/data.mdb"):
        (state / file).touch()
    state.chmod(0)
    yield state
    state.chmod(0o700)


@contextmanager
def nobody() -> Generator[None]:
    """Be a user who owns nothing, where we are one who may read everything."""
    was = os.geteuid()
    if was == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(was)


def load_all_of(words: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Have a command load what it loads with its first call: that may lie where nobody may read."""
    with pytest.raises(SystemExit):
        main([words, "--state", str(folder / "elsewhere")])
    capsys.readouterr()


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ("status", 4, "endpoints is not for this user to read"),
        ("stop", 4, "endpoints is not for this user to read"),
        ("orders", 3, "data.mdb is not for this user to read"),
        ("audit", 3, "data.mdb is not for this user to read"),
        ("logs", 3, "is not for this user to read"),
        ("halt", 3, "NOTHING WAS HALTED"),
    ],
)
def test_what_is_another_user_s_is_refused_with_a_sentence(
    theirs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: str, code: int, says: str
) -> None:
    load_all_of(words, tmp_path, capsys)

    with pytest.raises(SystemExit) as leaving, nobody():
        main([words, "--state", str(theirs)])

    said = capsys.readouterr()
    assert (leaving.value.code, said.out, says in said.err, "Traceback" in said.err) == (code, "", True, False)


def test_a_store_that_is_another_user_s_is_not_called_damaged(
    theirs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    load_all_of("orders", tmp_path, capsys)
    theirs.chmod(0o755)
    (theirs / "ledger" / "data.mdb").chmod(0)

    with pytest.raises(SystemExit), nobody():
        main(["orders", "--state", str(theirs)])

    said = capsys.readouterr().err
    assert ("not for this user" in said, "damaged" in said) == (True, False)


@pytest.mark.parametrize("names", [b"\xff\xfe", b"/" + b"x" * 200], ids=["no text", "too long a path"])
def test_a_damaged_file_of_endpoints_is_said_and_a_halt_holds_all_the_same(tmp_path: Path, names: bytes) -> None:
    (tmp_path / "lock").touch()
    (tmp_path / "endpoints").write_bytes(names)

    with pytest.raises(DeskDownError, match="names no folder of sockets"):
        ask(tmp_path, "ping", {}, Clock())

    halted = bulkhead("halt", state=tmp_path)
    assert (halted.code, halted.err) == (0, "")
    assert (tmp_path / "HALT").read_text(encoding="utf-8") == "halted by an operator\n"
