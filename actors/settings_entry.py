"""Read the entries under ``strategies:``, each held against its strategy's own parameters."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from actors import settings_rule
from actors.parameters import ParameterFault, parameter_faults, parameter_names, settled
from actors.settings import ProcessLimits, RiskConfig, StrategySettings, SupervisionSettings
from actors.settings_reader import Reader, Spot, placed
from actors.settings_rule import SYMBOL_RULE, UnfitError
from actors.strategy_catalogue import StrategyBrokenError
from actors.yaml_tree import Branch, Node, plain, printable, shown
from strategies.base import Strategy

_NESTED = ("symbols", "parameters", "risk_config", "limits", "supervision")
_NO_MODELS = "model strategies are not built into this version yet"


class Wish(msgspec.Struct, frozen=True):
    """A symbol that an entry names, and where."""

    symbol: str
    spot: Spot


class EntryRead(msgspec.Struct, frozen=True):
    """One entry. ``settings`` is None where anything in the file was refused before; the wishes are there anyway."""

    settings: StrategySettings | None
    wishes: tuple[Wish, ...]
    will_run: bool


class EntryReader:
    """Reads entries one by one and remembers the names taken."""

    def __init__(
        self,
        reader: Reader,
        folder: Path,
        find: Callable[[str], type[Strategy] | None],
        names: Callable[[], tuple[str, ...]],
    ) -> None:
        """Keep where problems go, where paths begin and who knows the strategies."""
        self._reader = reader
        self._folder = folder
        self._find = find
        self._names = names
        self._taken: dict[str, int] = {}

    def read(self, node: Node, path: str) -> EntryRead:
        """Read one entry; ``path`` is like ``strategies[0]``."""
        spot = Spot(node.line, path)
        if not isinstance(node, Branch):
            self._reader.misfit(spot, node, "write a mapping that begins with name:")
            return EntryRead(settings=None, wishes=(), will_run=False)
        values = self._reader.values(node, path, settings_rule.ENTRY, _NESTED)
        self._check_name(node, spot, values)
        wishes = self._wishes(node, spot, values)
        if "model_path" in values:
            values["model_path"] = placed(self._folder, values["model_path"])
        values["parameters"] = self._parameters(node, spot)
        values["refusal"] = self._refusal(node, spot, values)
        for key, table, defaults in (
            ("risk_config", settings_rule.RISK_CONFIG, RiskConfig()),
            ("limits", settings_rule.PROCESS_LIMITS, ProcessLimits()),
            ("supervision", settings_rule.SUPERVISION, SupervisionSettings()),
        ):
            values[key] = self._reader.section(node, path, key, table, defaults)
        values.pop("symbol", None)
        values |= {"symbols": tuple(wish.symbol for wish in wishes), "line": node.line}
        will_run = values.get("enabled", True) and not values["refusal"]
        return EntryRead(self._reader.build(StrategySettings, values), wishes, will_run)

    def _check_name(self, node: Branch, spot: Spot, values: dict[str, Any]) -> None:
        pair = node.pair("name")
        if pair is None:
            self._reader.blame(spot.below("name"), fault="missing", expected="give the strategy a name of its own")
            return
        name = values.get("name")
        if name in self._taken:
            expected = f"the strategy that begins in line {self._taken[name]} has it; every name stands once"
            where = Spot(pair.line, spot.below("name").path)
            self._reader.blame(where, value=shown(pair.node), fault=f'duplicate name "{name}"', expected=expected)
        elif name is not None:
            self._taken[name] = node.line

    def _wishes(self, node: Branch, spot: Spot, values: dict[str, Any]) -> tuple[Wish, ...]:
        one, many = node.pair("symbol"), node.pair("symbols")
        if one is not None and many is not None:
            where = Spot(many.line, spot.below("symbols").path)
            self._reader.blame(
                where, value=shown(many.node), fault="symbol and symbols are both there", expected="keep one"
            )
        if one is None and many is None:
            self._reader.blame(spot.below("symbol"), fault="missing", expected="name the symbol the strategy trades")
        wishes: list[Wish] = []
        if one is not None and "symbol" in values:
            wishes.append(Wish(values["symbol"], Spot(one.line, spot.below("symbol").path)))
        if many is not None:
            wishes += read_symbols(self._reader, many.node, Spot(many.line, spot.below("symbols").path))
        return tuple(wishes)

    def _parameters(self, node: Branch, spot: Spot) -> dict[str, Any]:
        pair = node.pair("parameters")
        if pair is None:
            return {}
        return plain(self._reader.branch(pair.node, Spot(pair.line, spot.below("parameters").path)))

    def _refusal(self, node: Branch, spot: Spot, values: dict[str, Any]) -> str:
        """Say why this strategy alone cannot run, "" where it can (or where the file has a problem there)."""
        if node.pair("strategy") is not None:
            return self._strategy_refusal(node, spot, values)
        if node.pair("model_path") is None:
            self._reader.blame(
                spot.below("strategy"), fault="missing", expected="name a module of strategies/, or a model_path"
            )
            return ""
        if "model_path" not in values:
            return ""
        model = values["model_path"]
        return _NO_MODELS if _is_file(model) else f"model file {printable(model, 200)} is missing"

    def _strategy_refusal(self, node: Branch, spot: Spot, values: dict[str, Any]) -> str:
        pair = node.pair("strategy")
        if pair is None or "strategy" not in values:
            return ""
        name = str(values["strategy"])
        try:
            strategy = self._find(name)
        except StrategyBrokenError as error:
            return str(error)
        if strategy is None:
            where = Spot(pair.line, spot.below("strategy").path)
            self._reader.unknown(where, name, self._names(), what=f'unknown strategy "{printable(name)}"')
            return ""
        values["parameters"] = settled(strategy.Parameters, values["parameters"])
        values["live_parameters"] = tuple(sorted(strategy.live_parameters))
        values["wants_ticks"] = strategy.wants_ticks
        self._check_parameters(node, spot.below("parameters"), strategy, values["parameters"])
        return ""

    def _check_parameters(self, node: Branch, spot: Spot, strategy: type[Strategy], values: dict[str, Any]) -> None:
        pair = node.pair("parameters")
        section = pair.node if pair is not None and isinstance(pair.node, Branch) else None
        place = Spot(pair.line, spot.path) if pair is not None else spot
        for fault in parameter_faults(strategy.Parameters, values):
            self._blame_parameter(fault, place, section, parameter_names(strategy.Parameters))

    def _blame_parameter(
        self, fault: ParameterFault, place: Spot, section: Branch | None, known: tuple[str, ...]
    ) -> None:
        pair = section.pair(fault.key) if section is not None else None
        if pair is None:
            where = place.below(fault.key) if fault.key else place
            self._reader.blame(where, fault=fault.fault, expected=fault.expected)
            return
        where = Spot(pair.line, place.below(printable(fault.key)).path)
        if fault.is_unknown:
            self._reader.unknown(where, fault.key, known)
        else:
            self._reader.misfit(where, pair.node, fault.fault or fault.expected)


def read_symbols(reader: Reader, node: Node, spot: Spot) -> tuple[Wish, ...]:
    """Read a list of symbols, each there once."""
    wishes: dict[str, Wish] = {}
    for index, item in enumerate(reader.rows(node, spot, "write a list of symbols such as [SPY, QQQ]")):
        where = Spot(item.line, f"{spot.path}[{index}]")
        try:
            symbol = SYMBOL_RULE(item)
        except UnfitError as error:
            reader.misfit(where, item, str(error))
            continue
        if symbol in wishes:
            reader.misfit(where, item, "name each symbol once")
        wishes[symbol] = Wish(symbol, where)
    return tuple(wishes.values())


def _is_file(path: str) -> bool:
    try:
        return Path(path).is_file()
    except OSError:
        return False


def read_entries(
    reader: Reader,
    tree: Branch,
    folder: Path,
    find: Callable[[str], type[Strategy] | None],
    names: Callable[[], tuple[str, ...]],
) -> tuple[EntryRead, ...]:
    """Read all entries under ``strategies:``; there must be at least one."""
    pair = tree.pair("strategies")
    if pair is None:
        reader.blame(Spot(tree.line, "strategies"), fault="missing", expected="write a list of at least one strategy")
        return ()
    rows = reader.rows(pair.node, Spot(pair.line, "strategies"), "write a list of at least one strategy")
    entries = EntryReader(reader, folder, find, names)
    return tuple(entries.read(node, f"strategies[{index}]") for index, node in enumerate(rows))
