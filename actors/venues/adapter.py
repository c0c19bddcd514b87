"""Find the adapter that a configuration names: a module of the operator's own, or an installed one, and its opener."""

import importlib
import importlib.util
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from actors.venues.port import VenuePort

Opener = Callable[[Mapping[str, Any]], VenuePort]

NAME = re.compile(r"([A-Za-z_]\w{0,63}(?:\.[A-Za-z_]\w{0,63}){0,7}):([A-Za-z_]\w{0,63})")
#: What the modules of the operator's folder are called inside the process.
OWN_PREFIX = "own_venue_adapter_"


class AdapterError(Exception):
    """An adapter is not there or cannot be used; the text says why."""


def find_adapter(name: str, folder: str) -> Opener:
    """Import an adapter's module and give its opener. Nothing is opened.

    Args:
        name: ``module:function``.
        folder: Where the operator's own adapters lie, "" where there are none; its files win over installed modules.

    Returns:
        What makes a port of the configuration's options.

    Raises:
        AdapterError: There is no such module, it does not load, or it has no such function.
    """
    match = NAME.fullmatch(name)
    if match is None:
        msg = f"{name!r} is not module:function"
        raise AdapterError(msg)
    module_name, function = match.groups()
    own = Path(folder, f"{module_name}.py") if folder else None
    try:
        module = (
            _import_file(own, module_name)
            if own is not None and own.is_file()
            else importlib.import_module(module_name)
        )
    except ModuleNotFoundError as error:
        if error.name is not None and (module_name == error.name or module_name.startswith(f"{error.name}.")):
            where = f"neither {own} nor an installed module" if own is not None else "no installed module"
            msg = f"there is {where} of the name {module_name}"
        else:
            msg = f"{module_name} does not load: it needs {error.name}, which is not installed"
        raise AdapterError(msg) from error
    except Exception as error:  # the module's own text decides what it raises
        said = " ".join(str(error).split())[:200]
        msg = f"{module_name} does not load: {type(error).__name__}: {said}"
        raise AdapterError(msg) from error
    opener: object = getattr(module, function, None)
    if not callable(opener):
        msg = f"{module_name} has no function {function}"
        raise AdapterError(msg)
    return cast("Opener", opener)


def _import_file(path: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"{OWN_PREFIX}{name}", path)
    assert spec is not None, "a file of Python has a way to be loaded"
    assert spec.loader is not None, "a file of Python has a way to be loaded"
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
