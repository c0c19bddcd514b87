"""Logs as an operator reads them: the last entries of all, in order, and each later one exactly once."""

from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.log_view import LEVELS, Entry, LogReader, log_path, log_paths, parse


def line(second: int, words: str, level: str = "INFO", path: str = "risk") -> str:
    return f"2026-01-05T10:00:{second:02}.000000Z {level:<7} {path} {words}\n"


def write(file: Path, lines: Iterable[str]) -> Path:
    file.parent.mkdir(exist_ok=True)
    with file.open("a", encoding="utf-8") as out:
        out.writelines(lines)
    return file


def texts(entries: Iterable[Entry]) -> list[str]:
    return [entry.text for entry in entries]


def test_a_traceback_belongs_to_its_entry() -> None:
    said = list(parse("half a line\n" + line(1, "fell") + "Traceback:\n  File x\n\n" + line(2, "next")))

    assert texts(said) == ["fell\nTraceback:\n  File x", "next"]


@given(st.text())
def test_any_file_can_be_read(text: str) -> None:
    for entry in parse(text):
        assert entry.words()


@given(st.lists(st.tuples(st.integers(0, 59), st.sampled_from(LEVELS)), max_size=30))
def test_an_entry_is_read_as_it_was_written(entries: list[tuple[int, str]]) -> None:
    text = "".join(line(second, f"event {second}", level) for second, level in entries)

    assert "".join(f"{entry.words()}\n" for entry in parse(text)) == text


def test_the_last_entries_of_several_logs_come_in_the_order_of_their_times(tmp_path: Path) -> None:
    risk = write(tmp_path / "log" / "risk.log", [line(1, "a"), line(4, "d")])
    root = write(tmp_path / "log" / "root.log", [line(2, "b"), line(3, "c"), line(5, "e")])

    assert texts(LogReader([risk, root, tmp_path / "log" / "none.log"]).last(4)) == ["b", "c", "d", "e"]


@pytest.mark.parametrize(("level", "said"), [("DEBUG", ["a", "b", "c"]), ("WARNING", ["b", "c"]), ("ERROR", ["c"])])
def test_what_is_below_the_level_is_left_out(tmp_path: Path, level: str, said: list[str]) -> None:
    file = write(tmp_path / "log" / "risk.log", [line(1, "a"), line(2, "b", "WARNING"), line(3, "c", "ERROR")])

    assert texts(LogReader([file]).last(10, level)) == said


def test_each_entry_is_given_once_also_where_it_comes_between_two_looks(tmp_path: Path) -> None:
    file = write(tmp_path / "log" / "risk.log", [line(1, "a")])
    reader = LogReader([file])
    write(file, [line(2, "b")])

    said = texts(reader.last(10))
    write(file, [line(3, "c"), line(4, "half")[:-5]])

    assert said == ["a"]
    assert texts(reader.news()) == ["b", "c"]
    write(file, ["half"[-4:] + "\n"])
    assert texts(reader.news()) == [line(4, "half")[:-5].split("risk ")[1] + "half"]
    assert reader.news() == []


def test_a_log_that_was_put_aside_for_a_new_one_is_followed_into_the_new_one(tmp_path: Path) -> None:
    file = write(tmp_path / "log" / "risk.log", [line(1, "a"), line(2, "b")])
    reader = LogReader([file])

    file.rename(file.with_name("risk.2026-01-05_10-00-00_000000.log"))
    write(file, [line(3, "c")])

    assert texts(reader.news()) == ["c"]
    assert log_paths(tmp_path) == [file]


def test_a_log_that_is_made_later_is_read_from_its_beginning(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    reader = LogReader([log_path(tmp_path, "strategies/late")])

    write(tmp_path / "log" / "strategies.late.log", [line(1, "a")])

    assert texts(reader.news()) == ["a"]


def test_control_characters_do_not_reach_the_terminal(tmp_path: Path) -> None:
    file = write(tmp_path / "log" / "risk.log", [line(1, "red \x1b[31m alarm")])

    assert "\x1b" not in LogReader([file]).last(1)[0].words()
