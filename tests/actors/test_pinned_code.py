"""What a strategy runs is a copy of its files as they were, whatever becomes of them."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import strategies
from actors.console.swap import Stage, Swap
from actors.pinned_code import CodeShelf, DiskWatch, Pin, digest, sources
from actors.settings import FeedSettings, Settings, StrategySettings
from actors.strategy_catalogue import StrategyBrokenError, find_strategy

OWN = """\
import msgspec
from strategies.base import Strategy
from strategies import lever
from strategies.wheel import turn
from .setting import require


class P(msgspec.Struct):
    pass


class Dig(Strategy):
    Parameters = P
    version = 1


STRATEGY = Dig
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Lay an operator's own strategy with two helpers of its own beside those that ship."""
    folder = tmp_path / "own"
    (folder / "wheel").mkdir(parents=True)
    (folder / "dig.py").write_text(OWN)
    (folder / "lever.py").write_text("from strategies import dig\nlength = 1\n")
    (folder / "wheel" / "__init__.py").write_text("from strategies.wheel.spoke import turn\n")
    (folder / "wheel" / "spoke.py").write_text("def turn(): return 1\n")
    (folder / "unused.py").write_text("")
    monkeypatch.setattr(strategies, "__path__", [*strategies.__path__, str(folder)])
    before = set(sys.modules)
    yield folder
    for name in set(sys.modules) - before:
        if name.startswith("strategies."):
            del sys.modules[name]
    importlib.invalidate_caches()


@pytest.fixture
def shelf(tmp_path: Path) -> CodeShelf:
    return CodeShelf(tmp_path / "var")


def settings_of(own: Path, *entries: StrategySettings) -> Settings:
    return Settings(strategies=entries, feed=FeedSettings(symbols=("SPY",)), strategies_folder=str(own))


def entry(name: str, strategy: str = "dig", refusal: str = "") -> StrategySettings:
    return StrategySettings(name=name, symbols=("SPY",), strategy=strategy, refusal=refusal)


def test_a_strategy_is_all_that_it_imports_of_its_package_without_the_contract(own: Path) -> None:
    texts = sources("dig", str(own))

    assert set(texts) == {"dig.py", "lever.py", "setting.py", "wheel/__init__.py", "wheel/spoke.py"}
    assert texts["dig.py"] == (own / "dig.py").read_bytes()


@pytest.mark.parametrize("file", ["dig.py", "lever.py", "wheel/spoke.py"])
def test_any_change_of_any_of_its_files_is_other_code(file: str, own: Path) -> None:
    before = digest(sources("dig", str(own)))

    (own / file).write_text((own / file).read_text() + "\n")

    assert digest(sources("dig", str(own))) != before


@pytest.mark.parametrize("line", ["from ..spring import tight", "from .. import spring"])
def test_what_a_package_imports_from_beside_it_is_its_code_too(line: str, own: Path) -> None:
    (own / "spring.py").write_text("tight = 1\n")
    (own / "wheel" / "spoke.py").write_text(f"{line}\ndef turn(): return 1\n")

    assert "spring.py" in sources("dig", str(own))


def test_a_file_of_another_strategy_is_not_its_code(own: Path) -> None:
    before = digest(sources("dig", str(own)))

    (own / "unused.py").write_text("x = 1\n")

    assert digest(sources("dig", str(own))) == before


def test_what_was_put_by_is_what_runs_after_the_file_was_edited(
    own: Path, shelf: CodeShelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = shelf.put(sources("dig", str(own)))
    (own / "dig.py").write_text("STRATEGY = half an ed")
    (own / "lever.py").unlink()
    monkeypatch.setattr(strategies, "__path__", list(strategies.__path__))

    shelf.load(code)

    found = find_strategy("dig")
    assert found is not None
    assert found.__dict__["version"] == 1
    assert sys.modules["strategies.lever"].__dict__["length"] == 1


def test_an_importer_that_leaves_forgets_what_it_made_and_nothing_else(own: Path, shelf: CodeShelf) -> None:
    code = shelf.put(sources("dig", str(own)))
    importer = shelf.load(code)
    pinned, foreign = importlib.import_module("strategies.dig"), importlib.import_module("strategies.unused")
    sys.modules["strategies.lever"] = foreign  # another one took its place

    importer.leave()

    assert not {"strategies.dig", "strategies.wheel", "strategies.wheel.spoke"} & set(sys.modules)
    assert not hasattr(strategies, "dig")
    assert sys.modules["strategies.unused"] is sys.modules["strategies.lever"] is foreign
    assert importer not in sys.meta_path
    again = importlib.import_module("strategies.dig")
    assert again is not pinned
    assert again.__file__ != pinned.__file__


def test_an_importer_that_leaves_minds_no_module_that_never_came_to_be(own: Path, shelf: CodeShelf) -> None:
    (own / "dig.py").write_text("1 / 0\n")
    importer = shelf.load(shelf.put(sources("dig", str(own))))
    with pytest.raises(ZeroDivisionError):
        importlib.import_module("strategies.dig")

    importer.leave()

    assert "strategies.dig" not in sys.modules


def test_a_copy_is_private_and_read_only(own: Path, shelf: CodeShelf, tmp_path: Path) -> None:
    code = shelf.put(sources("dig", str(own)))

    folder = tmp_path / "var" / "code"
    modes = {file.name: file.stat().st_mode & 0o777 for file in (folder / code).rglob("*.py")}
    assert folder.stat().st_mode & 0o777 == 0o700
    assert set(modes.values()) == {0o400}


def test_a_copy_that_was_changed_is_refused_and_put_by_anew(own: Path, shelf: CodeShelf, tmp_path: Path) -> None:
    code = shelf.put(sources("dig", str(own)))
    copy = tmp_path / "var" / "code" / code / "lever.py"
    copy.chmod(0o600)
    copy.write_text("length = 2\n")

    with pytest.raises(StrategyBrokenError, match=f"the pinned code {code[:12]} is missing or was changed"):
        shelf.load(code)

    assert not shelf.has(code)
    assert shelf.put(sources("dig", str(own))) == code
    assert shelf.has(code)
    assert (own / "lever.py").read_bytes() == copy.read_bytes()


def test_a_half_written_file_is_put_by_as_it_is(own: Path, shelf: CodeShelf) -> None:
    (own / "dig.py").write_bytes(b"def f(:\n \xff\0")

    code = shelf.put(sources("dig", str(own)))

    assert shelf.has(code)


def test_a_pinned_strategy_keeps_its_code_and_a_new_one_takes_the_files_as_they_are(
    own: Path, shelf: CodeShelf
) -> None:
    first = shelf.pinned(settings_of(own, entry("a"), entry("b", refusal="no")))
    shelf.keep_pins(first)
    (own / "dig.py").write_text(OWN.replace("version = 1", "version = 2"))

    second = shelf.pinned(settings_of(own, entry("a"), entry("c")))

    assert first == {"a": Pin("dig", digest({**sources("dig", str(own)), "dig.py": OWN.encode()}))}
    assert second["a"] == first["a"]
    assert second["c"] == Pin("dig", digest(sources("dig", str(own)))) != first["a"]


def test_another_module_under_the_same_name_is_pinned_anew(own: Path, shelf: CodeShelf) -> None:
    shelf.keep_pins(shelf.pinned(settings_of(own, entry("a"))))

    pins = shelf.pinned(settings_of(own, entry("a", "ema_crossover_v001")))

    assert pins["a"] == Pin("ema_crossover_v001", digest(sources("ema_crossover_v001", "")))


def test_pins_that_were_dropped_or_cannot_be_read_are_none(own: Path, shelf: CodeShelf, tmp_path: Path) -> None:
    shelf.keep_pins(shelf.pinned(settings_of(own, entry("a"))))
    assert set(shelf.pins()) == {"a"}

    shelf.drop_pins()
    assert shelf.pins() == {}

    (tmp_path / "var" / "code" / "pins.json").write_text("{")
    assert shelf.pins() == {}


@pytest.mark.parametrize("is_swapped_first", [True, False])
def test_of_a_module_whose_entries_run_different_code_the_latest_copy_is_asked(
    own: Path, shelf: CodeShelf, *, is_swapped_first: bool
) -> None:
    old = shelf.put(sources("dig", str(own)))
    (own / "dig.py").write_text(OWN.replace("version = 1", "version = 2"))
    new = shelf.put(sources("dig", str(own)))
    codes = (new, old) if is_swapped_first else (old, new)
    shelf.keep_pins({name: Pin("dig", code) for name, code in zip("ab", codes, strict=True)})
    (own / "dig.py").write_text(OWN + "half an ed")

    assert {module: Path(folder).name for module, folder in shelf.folders().items()} == {"dig": new}


@pytest.mark.parametrize(
    ("stage", "pinned", "runs", "ends"),
    [
        (Stage.TRYING, 1, 1, Stage.REFUSED),
        (Stage.SWITCHING, 1, 1, Stage.REFUSED),
        (Stage.SWITCHING, 2, 2, Stage.TAKEN),
        (Stage.PROBATION, 2, 2, Stage.TAKEN),
        (Stage.RETURNING, 2, 1, Stage.RETURNED),
        (Stage.RETURNING, 1, 1, Stage.RETURNED),
        (Stage.REFUSED, 2, 1, Stage.REFUSED),
    ],
)
def test_a_desk_that_was_killed_in_the_middle_of_a_swap_runs_the_code_that_it_says(
    stage: Stage, pinned: int, runs: int, ends: Stage, own: Path, shelf: CodeShelf
) -> None:
    codes = {1: shelf.put(sources("dig", str(own)))}
    (own / "dig.py").write_text(OWN.replace("version = 1", "version = 2"))
    codes[2] = shelf.put(sources("dig", str(own)))
    shelf.keep_pins({"a": Pin("dig", codes[pinned])})
    shelf.keep_swaps({"a": Swap(name="a", module="dig", old=codes[1], new=codes[2], bars=1, began_ns=0, stage=stage)})

    pins = shelf.begin(settings_of(own, entry("a")), 1)

    ended = shelf.swaps()["a"]
    assert pins == shelf.pins() == {"a": Pin("dig", codes[runs])}
    assert (ended.stage, ended.code, ended.is_over) == (ends, codes[runs], True)


def test_a_desk_that_was_stopped_in_good_order_takes_what_was_refused_and_says_so(own: Path, shelf: CodeShelf) -> None:
    old = shelf.put(sources("dig", str(own)))
    (own / "dig.py").write_text(OWN.replace("version = 1", "version = 2"))
    new = shelf.put(sources("dig", str(own)))
    refused = Swap(name="a", module="dig", old=old, new=new, bars=1, began_ns=0, stage=Stage.REFUSED, is_applied=True)
    shelf.keep_swaps({"a": refused})

    pins = shelf.begin(settings_of(own, entry("a")), 1)

    assert pins == {"a": Pin("dig", new)}
    assert shelf.swaps()["a"].stage is Stage.TAKEN


def test_the_watch_of_the_disk_sees_every_edit_also_of_a_file_that_comes_back(own: Path) -> None:
    watch = DiskWatch(str(own))
    before = watch.code("dig")
    text = (own / "lever.py").read_text()

    (own / "lever.py").unlink()
    without = watch.code("dig")
    (own / "lever.py").write_text(text)
    again = watch.code("dig")

    assert before == again == digest(sources("dig", str(own)))
    assert without not in {"", before}
    assert watch.code("nobody") == ""
