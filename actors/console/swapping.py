"""Swaps under way: asks root what the machine of ``swap.py`` wants to know, and for the trees that it wants."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from actors.arguments import STRATEGY_STORE_BYTES, store_path
from actors.console.desired import Desired
from actors.console.swap import PATIENCE_NS, RESTARTING, Stage, Swap, applied, seen
from actors.pinned_code import SHORT, CodeShelf, DiskWatch, Pin, sources
from actors.strategy_memory import copied
from actors.topics import candidate_path, strategy_path
from desk.units import timeframe_ns
from runtime.clock import NS_PER_MS, NS_PER_S, Clock
from runtime.effects import Effects
from runtime.errors import StoreError
from runtime.log import Log
from runtime.store import Reader, Store
from runtime.store_witness import NAME as WITNESS
from runtime.words import RootAnswered, RootAsked

#: How often root is asked how a swap stands.
LOOK_NS = 200 * NS_PER_MS
#: How long an answer may take before the same is asked again.
AGAIN_NS = 2 * NS_PER_S


class _Applying(NamedTuple):
    """A tree on its way to root, for the stage that a swap is in."""

    name: str
    stage: Stage
    request: str
    arguments: dict[str, object]


class Swapping:
    """All swaps of a desk. What it needs to go on is on the disk before anything is asked of root."""

    def __init__(self, desired: Desired, state: Path, clock: Clock, log: Log, note: Callable[[str], None]) -> None:
        """Take up the swaps that a fallen console had under way; ``note`` writes what came of one into the trail."""
        self._desired, self._state, self._clock, self._log, self._note = desired, state, clock, log, note
        self._shelf = CodeShelf(state)
        self._swaps = self._shelf.swaps()
        self._has_lost = self._shelf.has_lost_swaps()
        """Whether a candidate may run of which nobody knows."""
        self._watches: dict[str, DiskWatch] = {}
        self._applying: _Applying | None = None
        self._asked_ns = 0
        self._looked_ns = 0
        self._rows: dict[str, Mapping[str, Any] | None] = {}
        self._looking: dict[str, str] = {}
        self._serial = 0
        #: What the disk said where it did not take what has to be kept before a swap goes on.
        self._fault = ""

    # --- the verb -----------------------------------------------------------------------------

    def begin(self, name: str, bars: int, state: str) -> Swap | str:
        """Begin to try the file of a strategy as it is now, beside the one that runs; where not, say why."""
        entry, pin = self._desired.settings.strategy(name), self._shelf.pins().get(name)
        if entry is None or pin is None or entry.refusal:
            return f"{name} cannot run, so there is no code to swap; mend it, then edit the configuration"
        if state != "RUNNING":
            return f"{name} is {state}; only what runs can be compared with. A restart would take no other code"
        known = self._swaps.get(name)
        if known is not None and not known.is_over:
            return f"a swap of {name} is under way: {known.stage.value}"
        try:
            code = self._shelf.put(sources(entry.strategy, self._desired.settings.strategies_folder))
            if code == pin.code:
                return f"the files of strategies/{entry.strategy}.py are what {name} runs; there is nothing to swap"
            self._copy_memory(name)
        except (OSError, StoreError) as error:
            return _cannot_try(str(error))
        now_ns = self._clock.wall_ns()
        patience_ns = PATIENCE_NS + 3 * bars * timeframe_ns(entry.timeframe)
        swap = Swap(
            name=name,
            module=entry.strategy,
            old=pin.code,
            new=code,
            bars=bars,
            began_ns=now_ns,
            since_ns=now_ns,
            patience_ns=patience_ns,
        )
        return swap if self._keep(swap) else _cannot_try(self._fault)

    def _copy_memory(self, name: str) -> None:
        """Give the candidate a store of its own that holds what the strategy keeps now."""
        path = store_path(self._state, candidate_path(name))
        for stale in (*path.glob("*.mdb"), path / WITNESS):  # of an earlier candidate, which wrote more than this one
            stale.unlink(missing_ok=True)
        kept = Reader.open(store_path(self._state, strategy_path(name)))
        try:
            writes = list(copied(kept))
        finally:
            kept.close()
        copy = Store.open(path, is_synced=False, map_bytes=STRATEGY_STORE_BYTES)
        try:
            copy.commit(writes)
        finally:
            copy.close()

    # --- going on -----------------------------------------------------------------------------

    def look(self, effects: Effects) -> int | None:
        """Do what can be done now; say in how many nanoseconds to look again, None where nothing is under way."""
        going = [swap for swap in self._swaps.values() if not swap.is_over]
        self._desired.is_held = self._applying is not None
        if self._has_lost and self._desired.is_idle:
            self._end_candidates(effects)
        if not going:
            return None
        now_ns = self._clock.monotonic_ns()
        if now_ns - self._looked_ns >= (AGAIN_NS if self._looking else LOOK_NS):
            self._looked_ns = now_ns
            self._ask(going, effects)  # before the tree: how often a strategy fell until then is its old code's
        if self._applying is not None:
            if now_ns - self._asked_ns > AGAIN_NS:
                self._post(self._applying, effects)
        elif self._desired.is_idle:
            waiting = next((swap for swap in going if not swap.is_applied), None)
            if waiting is not None:
                try:
                    self._apply(waiting, effects)
                except OSError as error:
                    self._fault = str(error)
        return LOOK_NS

    def _end_candidates(self, effects: Effects) -> None:
        """Ask root for a tree with no candidate but those that are known; each strategy goes on with its code."""
        words = (
            "what was kept of swaps cannot be read; candidates are ended, and strategies run the code that they have"
        )
        try:
            arguments = self._desired.change(self._desired.settings, restart=[], reason=words)
            self._shelf.keep_swaps(self._swaps)
        except OSError:  # the next look tries it again
            return
        self._has_lost = False
        self._serial += 1
        effects.post("root", RootAsked(f"swaps-lost-{self._clock.wall_ns()}-{self._serial}", "apply", arguments))
        self._log.warning("swaps.lost", words=words)
        self._note(words)

    def _apply(self, swap: Swap, effects: Effects) -> None:
        """Ask root for the tree that a stage wants; what the strategy runs from here on is kept first."""
        settings = self._desired.settings
        if self._is_there(swap):
            self._shelf.keep_pins({**self._shelf.pins(), swap.name: Pin(swap.module, swap.code)})
        strategy, _ = swap.paths
        restart = [strategy] if swap.stage in RESTARTING else []
        reason = f"swap of {swap.name}: {swap.stage.value}"
        arguments = self._desired.change(settings, restart=restart, reason=reason)
        self._serial += 1
        request = f"swap-{swap.name}-{self._clock.wall_ns()}-{self._serial}"
        self._applying = _Applying(swap.name, swap.stage, request, arguments)
        self._desired.is_held = True
        self._post(self._applying, effects)
        if swap.stage is Stage.RETURNING:  # where the new code has earned it a quarantine by then, seen or not
            effects.post("root", RootAsked(f"{request}-release", "release", {"path": strategy}))

    def _post(self, applying: _Applying, effects: Effects) -> None:
        self._asked_ns = self._clock.monotonic_ns()
        effects.post("root", RootAsked(applying.request, "apply", applying.arguments))

    def _ask(self, going: list[Swap], effects: Effects) -> None:
        """Ask for the rows that are looked at; what was asked before counts as lost."""
        self._looking.clear()
        for swap in going:
            for path in swap.paths:
                self._serial += 1
                request = f"swap-look-{self._clock.wall_ns()}-{self._serial}"
                self._looking[request] = path
                effects.post("root", RootAsked(request, "status", {"path": path}), is_sure=False)

    def hear_root(self, answered: RootAnswered) -> None:
        """Hear root; an answer to anything else is none of ours."""
        applying = self._applying
        if applying is not None and answered.request == applying.request:
            self._applying = None
            swap = self._swaps[applying.name]
            if swap.stage is applying.stage:
                self._keep(applied(swap, answered.error, self._clock.wall_ns()))
            self._rows.pop(candidate_path(applying.name), None)
            return
        path = self._looking.pop(answered.request, None)
        if path is None:
            return
        self._rows[path] = _row_of(answered, path)
        name = path.partition("/")[2]
        swap = self._swaps[name]
        strategy, candidate = swap.paths
        if path == candidate and strategy in self._rows:
            row = self._rows[strategy] if self._is_there(swap) else None
            self._keep(seen(swap, row, self._rows[candidate], self._clock.wall_ns()))

    def _is_there(self, swap: Swap) -> bool:
        """Say whether the configuration still has the strategy whose code it is."""
        entry = self._desired.settings.strategy(swap.name)
        return entry is not None and entry.strategy == swap.module

    def _keep(self, swap: Swap) -> bool:
        """Keep where a swap is; what an operator should know of it is said once.

        Gives False where the disk does not take it: it is where it was then, and the next look comes to the same.
        """
        before = self._swaps.get(swap.name)
        if before == swap:
            return True
        swaps = {**self._swaps, swap.name: swap}
        try:
            self._shelf.keep_swaps(swaps)
        except OSError as error:
            self._fault = str(error)
            return False
        self._swaps, self._fault = swaps, ""
        if before is None or before.stage is not swap.stage:
            words = f"swap of {swap.name} from {swap.old[:SHORT]} to {swap.new[:SHORT]}: {swap.words or 'being tried'}"
            self._log.info("swap", strategy=swap.name, stage=swap.stage.value, words=words)
            self._note(words)
        return True

    # --- showing ------------------------------------------------------------------------------

    def alarms(self) -> list[str]:
        """Say what an operator should know first: swaps that did not come to good, or are on their way."""
        found: list[str] = []
        for swap in self._swaps.values():
            if not swap.is_over:
                words = swap.words or f"{swap.new[:SHORT]} is being tried beside it"
                fault = f"; it cannot go on before this can be written: {self._fault}" if self._fault else ""
                found.append(f"swap of {swap.name} is under way ({swap.stage.value}): {words}{fault}")
            elif swap.stage is not Stage.TAKEN and self._runs(swap):
                found.append(f"swap of {swap.name}: {swap.words}")
        return found

    def _runs(self, swap: Swap) -> bool:
        """Say whether the files are still what was refused: an edit makes it old news."""
        return self._is_there(swap) and self._on_disk(swap.module) == swap.new

    def _on_disk(self, module: str) -> str:
        folder = self._desired.settings.strategies_folder
        return self._watches.setdefault(folder, DiskWatch(folder)).code(module)

    def shown(self, document: dict[str, Any]) -> dict[str, Any]:
        """Add to a status document which strategies run other code than lies on the disk, and what came of swaps."""
        pins = self._shelf.pins()
        alarms: list[str] = list(document["alarms"])
        for row in document["strategies"]:
            pin = pins.get(row["name"])
            differs = pin is not None and bool(row["code_hash"]) and self._on_disk(pin.module) != pin.code
            row["code_differs"] = differs
            if differs and pin is not None:
                alarms.append(
                    f"{row['name']} runs {pin.code[:SHORT]}, and strategies/{pin.module}.py is another text by now:"
                    f" bulkhead swap {row['name']} tries and takes it"
                )
            if row["rebuilt_reason"]:
                alarms.append(
                    f"{row['name']} could not go on from what it kept and began anew: {row['rebuilt_reason']}"
                )
            if row["refused_parameters"]:
                alarms.append(f"{row['name']} keeps its parameters: {row['refused_parameters']}")
        swaps = [
            {
                "name": swap.name,
                "stage": swap.stage.value,
                "is_over": swap.is_over,
                "old": swap.old[:SHORT],
                "new": swap.new[:SHORT],
                "words": swap.words,
            }
            for swap in self._swaps.values()
        ]
        return {**document, "alarms": alarms, "swaps": swaps}


def _cannot_try(why: str) -> str:
    return f"the new code cannot be tried: {why}; the old code runs on"


def _row_of(answered: RootAnswered, path: str) -> Mapping[str, Any] | None:
    """Give the row of a process; None where root has none of that path."""
    rows: Any = answered.result.get("tree", ()) if not answered.error else ()
    return next((row for row in rows if row["path"] == path and row["kind"] != "node"), None)
