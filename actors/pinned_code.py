"""Pinned code: what a strategy runs is a copy under the state folder, named by the digest of its content.

A file that is being edited is read by nobody but who takes it in on purpose. A strategy that falls comes back with the
code that it had; so does a desk that was killed.
"""

import ast
import hashlib
import os
import py_compile
import shutil
import stat
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

import strategies
from actors.console.swap import Swap, abandoned
from actors.pinned_import import PinnedImporter, read_file
from actors.settings import Settings
from actors.strategy_catalogue import StrategyBrokenError
from runtime.file import mark_of, replace_file

#: How much of a digest people are shown.
SHORT = 12
#: A strategy's own text; more than this is some other file.
SOURCE_BYTES_MAX = 4 << 20
_CONTRACT = "base"


class Pin(msgspec.Struct, frozen=True):
    """Which code one strategy runs: a module, and the digest of its text with all of ours that it imports."""

    module: str
    code: str


class CodeShelf:
    """The copies under ``STATE/code``: a folder for each digest, only ever written whole, never changed."""

    #: Where they lie, from the state folder on.
    FOLDER = "code"

    def __init__(self, state: Path) -> None:
        """Speak of a state folder; nothing is read or made."""
        self._folder = state / self.FOLDER

    @property
    def _pins(self) -> Path:
        return self._folder / "pins.json"

    @property
    def _swaps(self) -> Path:
        return self._folder / "swaps.json"

    # --- which strategy runs what ---------------------------------------------------------------

    def pins(self) -> dict[str, Pin]:
        """Give the pins in force by strategy; none where none were kept, or what was kept cannot be read."""
        try:
            return msgspec.json.decode(self._pins.read_bytes(), type=dict[str, Pin])
        except (OSError, msgspec.DecodeError):
            return {}

    def keep_pins(self, pins: Mapping[str, Pin]) -> None:
        """Keep the pins in force, at once and whole."""
        self._keep(self._pins, pins)

    def drop_pins(self) -> None:
        """Forget the pins: the next start takes the files as they are then."""
        self._pins.unlink(missing_ok=True)

    def folders(self) -> dict[str, str]:
        """Give the folder of each module's code in force; where some run other code than others, what came last.

        A module whose copies are all damaged is left out.
        """
        found: dict[str, Path] = {}
        for pin in self.pins().values():
            folder, before = self._folder / pin.code, found.get(pin.module)
            if self.has(pin.code) and (before is None or _age(before) < _age(folder)):
                found[pin.module] = folder
        return {module: str(folder) for module, folder in found.items()}

    def pinned(self, settings: Settings) -> dict[str, Pin]:
        """Give each strategy of the settings its pin, as far as it can run.

        One that was pinned, of the same module, stays with what it has; the others take the files as they are now.
        """
        known = self.pins()
        pins: dict[str, Pin] = {}
        fresh: dict[str, str] = {}
        for entry in settings.strategies:
            before = known.get(entry.name)
            if entry.refusal:
                continue
            if before is not None and before.module == entry.strategy and self.has(before.code):
                pins[entry.name] = before
            else:
                if entry.strategy not in fresh:
                    fresh[entry.strategy] = self.put(sources(entry.strategy, settings.strategies_folder))
                pins[entry.name] = Pin(entry.strategy, fresh[entry.strategy])
        return pins

    def begin(self, settings: Settings, now_ns: int) -> dict[str, Pin]:
        """Give and keep the pins of a desk that starts; swaps that its last run had under way are over.

        Pins are there already where the last run did not end in good order: it comes back with what it ran, but for
        new code that it was about to leave.
        """
        known, swaps = self.pins(), self.swaps()
        left = {
            name: Pin(swap.module, swap.old)
            for name, swap in swaps.items()
            if not swap.is_over and swap.code == swap.old and known.get(name) == Pin(swap.module, swap.new)
        }
        if left:
            self.keep_pins({**known, **left})
        pins = self.pinned(settings)
        self.keep_pins(pins)
        codes = {name: pin.code for name, pin in pins.items()}
        if swaps:
            self.keep_swaps({n: abandoned(s, "the desk ended", codes.get(n, ""), now_ns) for n, s in swaps.items()})
        return pins

    # --- swaps ----------------------------------------------------------------------------------

    def swaps(self) -> dict[str, Swap]:
        """Give the last swap of each strategy; none where none were kept, or what was kept cannot be read."""
        return self._read_swaps() or {}

    def has_lost_swaps(self) -> bool:
        """Say whether what was kept of swaps cannot be read."""
        return self._swaps.exists() and self._read_swaps() is None

    def _read_swaps(self) -> dict[str, Swap] | None:
        try:
            return msgspec.json.decode(self._swaps.read_bytes(), type=dict[str, Swap])
        except (OSError, msgspec.DecodeError):
            return None

    def keep_swaps(self, swaps: Mapping[str, Swap]) -> None:
        """Keep the last swap of each strategy, at once and whole."""
        self._keep(self._swaps, swaps)

    # --- the copies -----------------------------------------------------------------------------

    def has(self, code: str) -> bool:
        """Say whether there is a copy of this digest, undamaged."""
        return bool(code) and digest(_texts(f"{self._folder}/{code}")) == code

    def put(self, texts: Mapping[str, bytes]) -> str:
        """Put a copy by; give its digest, "" of nothing. What is there already, undamaged, is left as it is.

        Raises:
            OSError: It cannot be written; then there is no copy of that digest.
        """
        code = digest(texts)
        target = self._folder / code
        if not code or self.has(code):
            return code
        self._make()
        fresh = self._folder / f"new.{os.getpid()}"
        for stale in (fresh, target):
            if stale.exists():
                shutil.rmtree(stale)
        for name, text in texts.items():
            file = fresh / name
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
            with os.fdopen(descriptor, "wb") as out:
                out.write(text)
                out.flush()
                os.fsync(out.fileno())
            _compile(file, target / name)
        fresh.rename(target)
        return code

    def load(self, code: str) -> PinnedImporter:
        """Let modules of ``strategies`` be found in the copy first, in this process from now on.

        Returns:
            Who finds them; for whoever wants to let go of them again.

        Raises:
            StrategyBrokenError: There is no such copy, or it was changed; the text says what to do.
        """
        folder = f"{self._folder}/{code}"
        texts = _texts(folder) if code else {}
        if not texts or digest(texts) != code:
            msg = (
                f"the pinned code {code[:SHORT]} is missing or was changed: {folder}. Nothing of it was run; stop the"
                " desk and start it again to take the files of the strategies as they are now"
            )
            raise StrategyBrokenError(msg)
        importer = PinnedImporter(folder, texts)
        importer.enter()
        return importer

    def _keep(self, file: Path, value: Mapping[str, msgspec.Struct]) -> None:
        self._make()
        replace_file(file, msgspec.json.format(msgspec.json.encode(dict(value))), mode=0o600)

    def _make(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder.chmod(stat.S_IRWXU)


def _age(folder: Path) -> tuple[int, str]:
    """Order the copies by when they were put by."""
    return folder.stat().st_mtime_ns, folder.name


def digest(texts: Mapping[str, bytes]) -> str:
    """Name texts by their content and names, as 64 hex digits; "" for none."""
    if not texts:
        return ""
    whole = hashlib.sha256()
    for name, text in sorted(texts.items()):
        whole.update(f"{len(name.encode())} {len(text)} ".encode() + name.encode() + text)
    return whole.hexdigest()


def sources(module: str, own_folder: str) -> dict[str, bytes]:
    """Read a module of ``strategies`` and all of its package that it imports, by file name. Runs none of it.

    Found are those that ship, and behind them those of the operator's ``own_folder`` ("" for none). The contract
    itself (``strategies.base``) is part of the desk and not of a strategy. A text that does not parse
    is read as it is, and its imports are not followed.
    """
    return _survey(module, _folders(own_folder))[0]


def _folders(own_folder: str) -> list[Path]:
    shipped = Path(strategies.__file__ or "").parent
    return [shipped, Path(own_folder)] if own_folder else [shipped]


def _survey(module: str, folders: Sequence[Path]) -> tuple[dict[str, bytes], set[str]]:
    """Read as ``sources`` says, and name all modules that were looked for, also in vain."""
    texts: dict[str, bytes] = {}
    names: set[str] = set()
    wanted = [module]
    while wanted:
        name = wanted.pop()
        if name in names:
            continue
        names.add(name)
        for file, text in _module_texts(name, folders).items():
            texts[file] = text
            wanted += _imports(text)
    return texts, names


def _module_texts(name: str, folders: Sequence[Path]) -> dict[str, bytes]:
    """Read one module, or a whole package; nothing where it is none of ours."""
    if not name.isidentifier() or name == _CONTRACT:
        return {}
    for folder in folders:
        package = folder / name
        if (package / "__init__.py").is_file():
            return {f"{name}/{inner}": text for inner, text in _texts(str(package)).items()}
        with suppress(OSError):
            return {f"{name}.py": _read(f"{folder}/{name}.py")}
    return {}


def _texts(folder: str) -> dict[str, bytes]:
    """Read all Python of a folder, by relative name; nothing where it cannot be read."""
    texts: dict[str, bytes] = {}
    below = [""]
    try:
        while below:
            prefix = below.pop()
            with os.scandir(f"{folder}/{prefix}") as found:
                for entry in found:
                    if entry.is_dir(follow_symlinks=False):
                        below.append(f"{prefix}{entry.name}/")
                    elif entry.name.endswith(".py"):
                        texts[prefix + entry.name] = _read(f"{folder}/{prefix}{entry.name}")
    except OSError:
        return {}
    return dict(sorted(texts.items()))


def _read(file: str) -> bytes:
    """Read a text.

    Raises:
        OSError: It cannot be read, or is no file: a pipe of that name would wait for a writer.
    """
    if not stat.S_ISREG(os.stat(file).st_mode):  # noqa: PTH116 - see read_file
        raise FileNotFoundError(file)
    return read_file(file)[:SOURCE_BYTES_MAX]


def _imports(text: bytes) -> Iterable[str]:
    """Name the modules of ``strategies`` that a text imports, wherever in it."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                parent, _, rest = alias.name.partition(".")
                if parent == "strategies" and rest:
                    yield rest.partition(".")[0]
        elif isinstance(node, ast.ImportFrom):
            parent, _, rest = (node.module or "").partition(".")
            if node.level == 0 and parent == "strategies":
                yield from [rest.partition(".")[0]] if rest else [alias.name for alias in node.names]
            elif node.level:  # of the package itself, or from inside of it what lies beside it
                yield from [parent] if parent else [alias.name for alias in node.names]


def _compile(file: Path, target: Path) -> None:
    """Spare each start the compiler; a text that does not compile says so itself when it is imported.

    ``target`` is where the file will lie when it is imported.
    """
    with suppress(py_compile.PyCompileError, ValueError, RecursionError, MemoryError):
        py_compile.compile(
            str(file),
            dfile=str(target),
            doraise=True,
            quiet=2,
            invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH,
        )


class DiskWatch:
    """Says what the files of a module would be pinned as now; reads them only where they changed."""

    def __init__(self, own_folder: str) -> None:
        """Know nothing yet; ``own_folder`` is the operator's, "" for none."""
        self._folders = _folders(own_folder)
        self._known: dict[str, tuple[tuple[tuple[str, int, int, int], ...], str]] = {}

    def code(self, module: str) -> str:
        """Give the digest of a module's files as they are now, "" where there are none."""
        known = self._known.get(module)
        if known is not None and known[0] == _marks(name for name, *_ in known[0]):
            return known[1]
        texts, names = _survey(module, self._folders)
        found = digest(texts)
        files = [*texts, *(f"{name}.py" for name in names), *names]
        places = {str(folder / file) for folder in self._folders for file in files}
        self._known[module] = (_marks(sorted(places)), found)
        return found


def _marks(places: Iterable[str]) -> tuple[tuple[str, int, int, int], ...]:
    return tuple((place, *mark_of(Path(place))) for place in places)
