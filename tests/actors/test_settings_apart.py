"""The file is read in a process of its own: what a strategy's module does there takes nobody along."""

import os
from pathlib import Path

import pytest

from actors import settings_apart
from actors.settings_apart import ReadingApart, read_apart
from actors.settings_file import Loaded, load
from runtime.clock import NS_PER_S, Clock

ROOT = Path(__file__).parents[2]
STRATEGY = """
import msgspec
from strategies.base import NoTrade, NoTradeCode, Strategy
class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True): pass
class Idle(Strategy):
    Parameters = Nothing
    def on_bar(self, bar, view):
        return NoTrade(NoTradeCode.NO_SIGNAL)
STRATEGY = Idle
"""
ENDINGS = {
    "crashes": ("import ctypes; ctypes.string_at(0)", "ends the process that imports it (killed by SIGSEGV)"),
    "leaves": ("import os; os._exit(0)", "ends the process that imports it (exit status 0)"),
    "exits": ("import sys; sys.exit(3)", "ends the process that imports it (exit status 3)"),
    "raises": ("int('x')", "ValueError"),
}


def write(folder: Path, **modules: str) -> Path:
    """Lay down a file that names these modules and one that is good."""
    (folder / "strategies").mkdir()
    entries = [f"  - {{name: {name}, symbol: SPY, strategy: {name}}}\n" for name in (*modules, "fine")]
    for name, text in (modules | {"fine": ""}).items():
        (folder / "strategies" / f"{name}.py").write_text(f"{text}\n{STRATEGY}", encoding="utf-8")
    file = folder / "strategies.yaml"
    file.write_text(f"strategies:\n{''.join(entries)}", encoding="utf-8")
    return file


def refusals(loaded: Loaded) -> dict[str, str]:
    assert loaded.settings is not None, loaded.problems
    return {entry.name: entry.refusal for entry in loaded.settings.strategies}


def test_it_says_what_reading_in_the_own_process_says() -> None:
    file = ROOT / "config" / "strategies.yaml"

    assert read_apart(file, Clock()) == load(file)


def test_mistakes_come_with_their_lines(tmp_path: Path) -> None:
    file = tmp_path / "strategies.yaml"
    file.write_text("strategies:\n  - {name: a, symbol: 7}\n", encoding="utf-8")

    loaded = read_apart(file, Clock())

    assert loaded == load(file)
    assert loaded.problems


def test_a_module_that_ends_its_process_is_refused_alone(tmp_path: Path) -> None:
    file = write(tmp_path, **{name: text for name, (text, _) in ENDINGS.items()})

    told = refusals(read_apart(file, Clock()))

    assert told.pop("fine") == ""
    assert {name: words for name, words in told.items() if ENDINGS[name][1] not in words} == {}
    assert all(words.startswith(f"strategies/{name}.py does not load: ") for name, words in told.items())


def test_a_module_that_hangs_is_refused_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings_apart, "TRY_NS_MAX", 4 * NS_PER_S)
    file = write(tmp_path, sleeps="import time; time.sleep(1000)")

    told = refusals(read_apart(file, Clock()))

    assert told == {"sleeps": "strategies/sleeps.py does not load: importing it takes too long", "fine": ""}


def test_what_a_module_prints_and_starts_is_nobody_s(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = write(
        tmp_path,
        talks="import threading, time\nprint('x' * 100_000)\nthreading.Thread(target=time.sleep, args=(1000,)).start()",
    )

    assert refusals(read_apart(file, Clock())) == {"talks": "", "fine": ""}
    assert capfd.readouterr().out == ""


def test_more_modules_that_crash_than_anyone_would_have_end_the_reading_with_a_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings_apart, "CULPRITS_MAX", 2)
    modules = {f"m{number}": "import os; os._exit(1)" for number in range(3)}

    loaded = read_apart(write(tmp_path, **modules), Clock())

    assert loaded.settings is None
    assert loaded.problems[0].fault == "reading it ended its reader (exit status 1)"


def test_a_reading_that_nobody_wants_any_more_leaves_no_process(tmp_path: Path) -> None:
    reading = ReadingApart(write(tmp_path, sleeps="import time; time.sleep(1000)"), Clock())
    pid = reading._process.pid

    reading.close()

    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.parametrize("is_endless", [False, True])
def test_a_file_that_is_written_to_while_it_is_read_is_read_again(tmp_path: Path, *, is_endless: bool) -> None:
    file = tmp_path / "strategies.yaml"
    half = "strategies:\n  - {name: first, symbol: SPY, strategy: writer}\n"
    whole = f"{half}  - {{name: second, symbol: SPY, strategy: writer}}\n"
    more = "file.open('a').write('#')" if is_endless else f"file.read_text() == {whole!r} or file.write_text({whole!r})"
    write(tmp_path, writer=f"import pathlib\nfile = pathlib.Path({str(file)!r})\n{more}")
    file.write_text(half, encoding="utf-8")

    loaded = read_apart(file, Clock())

    if is_endless:
        assert [problem.fault for problem in loaded.problems] == ["it was written to during each of 10 readings"]
    else:
        assert set(refusals(loaded)) == {"first", "second"}
