"""Imports of pinned code: modules of ``strategies`` are made from texts that were read and compared with their digest.

So what runs is what was compared, whatever becomes of the files meanwhile. And a birth has little to do: no folder is
searched, and of a text that was compiled when it was put by the compiled form is taken.
"""

import importlib.util
import marshal
import os
import sys
from collections.abc import Mapping, Sequence
from importlib.abc import Loader
from importlib.machinery import ModuleSpec
from types import CodeType, ModuleType

from typing_extensions import override

import strategies

PACKAGE = "strategies."
_TAG = f".{sys.implementation.cache_tag}.pyc"
#: A compiled file begins with this: our interpreter's number, and that it goes with a text by the text's hash.
_HEAD = importlib.util.MAGIC_NUMBER + (3).to_bytes(4, "little")
_HASH_END = 16


class PinnedImporter(Loader):
    """Finds and makes the modules of one copy, before anything else is searched."""

    def __init__(self, folder: str, texts: Mapping[str, bytes]) -> None:
        """Take the texts by their name relative to ``folder``; nothing is found yet."""
        self._folder, self._texts = folder, texts
        self._made: list[str] = []

    def enter(self) -> None:
        """Let the modules be found from now on, in this process."""
        strategies.__path__.insert(0, self._folder)
        sys.meta_path.insert(0, self)

    def leave(self) -> None:
        """Let them be found no more, and forget those that were imported."""
        strategies.__path__.remove(self._folder)
        sys.meta_path.remove(self)
        for name in self._made:
            module, parent, last = sys.modules.get(name), *name.rpartition(".")[::2]
            if module is None or module.__loader__ is not self:  # its text raised, or another one took its place
                continue
            del sys.modules[name]
            if parent in sys.modules:
                delattr(sys.modules[parent], last)
        self._made.clear()

    def find_spec(
        self, name: str, _path: Sequence[str] | None = None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Answer the import system; None for what is not in the copy."""
        if not name.startswith(PACKAGE):
            return None
        place = name.removeprefix(PACKAGE).replace(".", "/")
        for file in (f"{place}/__init__.py", f"{place}.py"):
            if file in self._texts:
                spec = ModuleSpec(name, self, origin=f"{self._folder}/{file}", is_package=file.endswith("/__init__.py"))
                spec.has_location = True
                spec.cached = compiled_file(self._folder, file)
                if spec.submodule_search_locations is not None:
                    spec.submodule_search_locations.append(f"{self._folder}/{place}")
                return spec
        return None

    @override
    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Leave it to the import system."""
        return None

    @override
    def exec_module(self, module: ModuleType) -> None:
        """Run a module's text."""
        origin = str(module.__file__)
        self._made.append(module.__name__)
        exec(self._code(origin, origin.removeprefix(f"{self._folder}/")), module.__dict__)  # noqa: S102 - an import

    def _code(self, origin: str, file: str) -> CodeType:
        text = self._texts[file]
        try:
            data = read_file(compiled_file(self._folder, file))
            if data.startswith(_HEAD) and data[len(_HEAD) : _HASH_END] == importlib.util.source_hash(text):
                code = marshal.loads(data[_HASH_END:])  # noqa: S302 - as private as the text, and bound to it
                if isinstance(code, CodeType) and code.co_filename == origin:
                    return code
        except (OSError, ValueError, EOFError, TypeError):  # there is none, or it is damaged
            pass
        return compile(text, origin, "exec", dont_inherit=True)


def compiled_file(folder: str, file: str) -> str:
    """Say where the compiled form of a text lies."""
    parent, slash, name = file.rpartition("/")
    return f"{folder}/{parent}{slash}__pycache__/{name.removesuffix('.py')}{_TAG}"


def read_file(file: str) -> bytes:
    """Read a whole file; without any object around it, for every birth does so.

    Raises:
        OSError: It cannot be read.
    """
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, os.fstat(descriptor).st_size)
    finally:
        os.close(descriptor)
