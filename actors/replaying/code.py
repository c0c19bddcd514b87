"""Which code a strategy is replayed with: the pinned copy that it ran, or what is there today."""

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import strategies
from actors.pinned_code import SHORT, CodeShelf, digest, sources
from actors.replaying.parts import ReplayError
from actors.strategy_arguments import StrategyArguments
from actors.strategy_catalogue import StrategyBrokenError, adopt_folder, find_strategy, imported_strategy
from strategies.base import Strategy

if TYPE_CHECKING:
    from collections.abc import Callable

#: Part of the desk, not of any strategy: it is never loaded twice.
_CONTRACT = "strategies.base"


class CodeRoom:
    """Loads one strategy's code after the other into this process, each without what the one before had loaded."""

    def __init__(self, state: Path, *, is_today: bool) -> None:
        """Take the pinned copies from this state folder."""
        self._shelf, self._is_today = CodeShelf(state), is_today
        self._shipped = list(strategies.__path__)
        self._before = {name: module for name, module in sys.modules.items() if _is_of_strategies(name)}
        self._leave: Callable[[], None] | None = None
        self.news: dict[str, str] = {}
        """By strategy, how today's code differs from what it ran."""

    def load(self, told: StrategyArguments) -> type[Strategy]:
        """Import what a strategy ran under these arguments, and give its class.

        Raises:
            ReplayError: It is not there any more, or does not load.
        """
        module = told.entry.strategy
        self._look_at_today(told)
        self._clear()
        if told.own_folder:
            adopt_folder(Path(told.own_folder))
        try:
            if told.code and not self._is_today:
                self._leave = self._shelf.load(told.code).leave
                return imported_strategy(module)
            found = find_strategy(module)
        except StrategyBrokenError as error:
            if not self._is_today and not self._shelf.has(told.code):
                msg = (
                    f"{told.entry.name}: the code that it ran ({told.code[:SHORT]}) is not in the state folder any"
                    " more, or was changed. Replay with the files as they are now: --code today"
                )
                raise ReplayError(msg) from error
            msg = f"{told.entry.name}: {error}"
            raise ReplayError(msg) from error
        if found is None:
            msg = f"{told.entry.name}: there is no strategy {module} today; leave --code today out"
            raise ReplayError(msg)
        return found

    def _look_at_today(self, told: StrategyArguments) -> None:
        today = digest(sources(told.entry.strategy, told.own_folder))
        if told.code and today != told.code:
            there = f"today's {today[:SHORT]}" if today else "not there today"
            which = "today's is replayed" if self._is_today else "the one that it ran is replayed"
            self.news[told.entry.name] = f"it ran {told.entry.strategy} {told.code[:SHORT]}, {there}: {which}"

    def close(self) -> None:
        """Leave the process's modules as they were."""
        self._clear()
        for name, module in self._before.items():
            sys.modules[name] = module
            if name.count(".") == 1:
                setattr(strategies, name.partition(".")[2], module)

    def _clear(self) -> None:
        if self._leave is not None:
            self._leave()
            self._leave = None
        strategies.__path__[:] = self._shipped
        for name in list(filter(_is_of_strategies, sys.modules)):
            del sys.modules[name]
            if hasattr(strategies, name.partition(".")[2]):
                delattr(strategies, name.partition(".")[2])
        importlib.invalidate_caches()


def _is_of_strategies(name: str) -> bool:
    return name.startswith("strategies.") and name != _CONTRACT
