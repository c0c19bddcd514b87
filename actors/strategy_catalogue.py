"""Which strategies there are: the modules of ``strategies/``, each with one ``STRATEGY``."""

import importlib
import importlib.util
import pkgutil
import re
from pathlib import Path

import msgspec

import strategies
from desk.messages import ProtectiveStop
from strategies.base import Strategy

_MODULE = re.compile(r"[a-z][a-z0-9_]{0,63}")
_DECLARATION = re.compile(rb"^STRATEGY\b", re.MULTILINE)


class StrategyBrokenError(Exception):
    """A strategy's module is there but cannot be used; the text says why."""


def adopt_folder(folder: Path) -> str:
    """Make the modules of an operator's own folder modules of ``strategies`` too, behind those that ship.

    Returns:
        The folder's absolute path, "" where there is no such folder or it is the one that ships.
    """
    own = folder.resolve()
    shipped = Path(strategies.__file__ or "").parent.resolve()
    if not own.is_dir() or own == shipped:
        return ""
    if str(own) not in strategies.__path__:
        strategies.__path__.append(str(own))
        importlib.invalidate_caches()
    return str(own)


def adopt_known(folder: str) -> None:
    """Adopt a folder that ``adopt_folder`` has named before, for imports of pinned code: nothing is looked at."""
    if folder and folder not in strategies.__path__:
        strategies.__path__.append(folder)


def strategy_names() -> tuple[str, ...]:
    """Name every module of ``strategies/`` that declares a ``STRATEGY``. Imports none of them."""
    found = (module.name for module in pkgutil.iter_modules(strategies.__path__))
    return tuple(sorted(name for name in found if _declares_strategy(name)))


def find_strategy(name: str) -> type[Strategy] | None:
    """Import ``strategies.NAME`` and give its ``STRATEGY``; None where there is no module that declares one.

    Raises:
        StrategyBrokenError: The module does not load, or its strategy is not usable.
    """
    return imported_strategy(name) if _declares_strategy(name) else None


def imported_strategy(name: str) -> type[Strategy]:
    """Import ``strategies.NAME``, of which it is known that it declares one, and give its ``STRATEGY``.

    Raises:
        StrategyBrokenError: The module does not load, or its strategy is not usable.
    """
    try:
        module = importlib.import_module(f"strategies.{name}")
    except (
        Exception
    ) as error:  # The module's own text decides what it raises, and one strategy's fault is only its own.
        msg = f"strategies/{name}.py does not load: {type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise StrategyBrokenError(msg) from error
    strategy: object = getattr(module, "STRATEGY", None)
    if not (isinstance(strategy, type) and issubclass(strategy, Strategy)):
        msg = f"strategies/{name}.py has a STRATEGY that is no Strategy"
        raise StrategyBrokenError(msg)
    parameters: object = getattr(strategy, "Parameters", None)
    if not (isinstance(parameters, type) and issubclass(parameters, msgspec.Struct)):
        msg = f"strategies/{name}.py: the strategy declares no Parameters"
        raise StrategyBrokenError(msg)
    if strategy.protective_stop not in tuple(ProtectiveStop):
        msg = f"strategies/{name}.py: protective_stop is {strategy.protective_stop!r}, and not one of ProtectiveStop"
        raise StrategyBrokenError(msg)
    foreign = strategy.live_parameters - frozenset(parameters.__struct_encode_fields__)
    if foreign:
        msg = (
            f"strategies/{name}.py: live_parameters names {', '.join(sorted(foreign))}, which Parameters does not have"
        )
        raise StrategyBrokenError(msg)
    return strategy


def _declares_strategy(name: str) -> bool:
    """Say whether there is such a module, with the declaration in its text."""
    spec = importlib.util.find_spec(f"strategies.{name}") if _MODULE.fullmatch(name) else None
    if spec is None or spec.origin is None:
        return False
    try:
        text = Path(spec.origin).read_bytes()
    except OSError:
        return False
    place = text.find(b"STRATEGY")  # what is found many times faster than a line that begins so
    return place >= 0 and _DECLARATION.search(text, place) is not None
