"""The file as desired state: an edit is read apart, checked as a whole, compared, and applied as a whole or not at all.

One round is: wait until the file stands still, for somebody may be half way through writing it; read it; where code
would change under a position, ask execution who holds one; let root apply the tree; keep the file as the last good one.
A mistake on the way ends the round, and the settings in force stay.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from actors.carried_over import former_of
from actors.console.holding import Holding
from actors.console.wishes import Wishes, Written
from actors.last_good import LastGood, read_last_good, write_last_good
from actors.pinned_code import CodeShelf
from actors.problem import render
from actors.settings import Settings, StrategySettings
from actors.settings_apart import ReadingApart
from actors.settings_file import Loaded
from actors.settings_plan import Change, Plan, plan
from actors.topics import AWAY, strategy_path
from actors.tree import Try, configured, desk_tree
from desk.messages import HoldersGiven
from runtime.clock import NS_PER_MS, NS_PER_S, Clock
from runtime.effects import Effects
from runtime.file import mark_of
from runtime.log import Log
from runtime.words import RootAnswered, RootAsked

#: How often the file is looked at, and how soon something that is on its way.
WATCH_NS = 300 * NS_PER_MS
SOON_NS = 30 * NS_PER_MS
#: How long an answer may take before the same is asked again.
AGAIN_NS = 2 * NS_PER_S
#: How often it is asked whether a strategy is flat by now.
FLAT_AGAIN_NS = NS_PER_S
#: How long the first reading, of what the desk itself has just read, waits until the desk is up: it takes a processor
#: for seconds where there are many strategies.
COMING_UP_NS_MAX = 30 * NS_PER_S


class Outcome(msgspec.Struct, frozen=True):
    """What came of one reload: ``error`` is "" where the file holds together and was applied, or would be."""

    token: str
    error: str
    result: dict[str, Any]


class _Applying(NamedTuple):
    """A plan on its way to root. ``edited`` are the strategies of which the file says another ``enabled``."""

    request: str
    plan: Plan
    arguments: dict[str, object]
    edited: tuple[str, ...]


class Desired:
    """Keeps the desk what the file says. It reads no file itself and waits for nothing."""

    def __init__(self, settings: Settings, file: Path, state: Path, clock: Clock, log: Log) -> None:
        """Take the settings in force; the first look reads the file anew."""
        self.settings = settings
        self.wishes = Wishes()
        self.alarms: tuple[str, ...] = ()
        #: Why the file as it is does not hold, in one line; "" where it does, or waits for its time.
        self.fault = ""
        #: True while somebody else changes the tree: two changes on their way would undo each other.
        self.is_held = False
        #: True while the desk comes up.
        self.is_coming_up = False
        #: How the strategies are, whatever the settings say.
        self.states: dict[str, str] = {}
        #: The present incarnation of each strategy.
        self.epochs: dict[str, int] = {}
        #: Of whose position an operator has said what becomes of it while they are away.
        self.spoken: frozenset[str] = frozenset()
        self._began_ns, self._shelf = clock.monotonic_ns(), CodeShelf(state)
        self._file, self._state, self._clock, self._log = file, state, clock, log
        self._mark: tuple[int, int, int] | None = None
        """Of the file as it was read last, but for those who only wanted to know."""
        self._seen: tuple[int, int, int] | None = None
        """Of the file as it was at the last look."""
        self._read: tuple[int, int, int] | None = None
        """Of the file as the reading under way found it."""
        self._same_ns = 0
        """When the file was last seen to be as it was read last."""
        self._written = Written(0, 0, 0)
        """When it was edited, as far as that is known, of the round under way."""
        self._later_ns = 0
        """When the first reload came that waits for its round."""
        self._later_mark: tuple[int, int, int] | None = None
        """Of the file as it was then."""
        self._beside: tuple[tuple[str, int, int, int], ...] = ()
        """Of the strategies beside it, before it was read last."""
        self._is_refused = False
        """Whether it had mistakes then; one of them may be mended in a strategy's file."""
        self._is_torn = False
        """Whether it was written to while it was read."""
        self._wanted: dict[str, bool] = {}
        """The reloads of this round by token, and whether each only wants to know."""
        self._later: dict[str, bool] = {}
        self._outcomes: list[Outcome] = []
        self._reading: ReadingApart | None = None
        self._loaded: Loaded | None = None
        """What the round under way is about."""
        self._standing: Loaded | None = None
        """The last one that held together, but for those of who only wanted to know; what waits is taken from it."""
        self._formers: dict[str, StrategySettings] = {}
        self._holding = Holding(clock)
        self._applying: _Applying | None = None
        self._asked_ns = 0
        self._serial = 0
        self._waits_for_flat: frozenset[str] = frozenset()
        self._flat_due_ns = 0
        self._good = read_last_good(state)

    # --- from outside ---------------------------------------------------------------------------

    def reload(self, token: str, *, is_dry: bool) -> None:
        """Read the file anew with the next look; the same token again is the same reload."""
        if not self._later:
            self._later_ns, self._later_mark = self._clock.monotonic_ns(), mark_of(self._file)
        if token not in self._wanted:
            self._later[token] = is_dry

    def look(self, effects: Effects) -> int:
        """Do what can be done now; say in how many nanoseconds to look again."""
        now_ns = self._clock.monotonic_ns()
        if self.is_held:
            return SOON_NS
        if self._reading is not None:
            loaded = self._reading.poll()
            if loaded is not None:
                self._reading = None
                self._is_torn = mark_of(self._file) != self._read
                if self._is_torn:
                    self._read_again()
                else:
                    self._take(loaded, effects)
        elif self._holding.is_asked:
            if self._holding.is_overdue:
                self._decide(None, effects)
        elif self._applying is not None:
            if now_ns - self._asked_ns > AGAIN_NS:
                self._post(self._applying, effects)
        else:
            self._begin(now_ns, effects)
        return SOON_NS if self._is_on_its_way else WATCH_NS

    def hear_holders(self, given: HoldersGiven, effects: Effects) -> None:
        """Go on with what waited for execution's word."""
        if self._holding.is_answer(given):
            self._decide(self._holding.fallen(self.epochs).union(given.names), effects, given.head)

    def hear_root(self, answered: RootAnswered) -> None:
        """Hear what came of the plan on its way; an answer to anything else is none of ours."""
        applying = self._applying
        if applying is None or answered.request != applying.request:
            return
        self._applying = None
        if answered.error:
            words = (
                f"{self._file} could not be applied and changes nothing: {answered.error}; what held before holds on"
            )
            self._log.error("configuration.failed", reason=answered.error)
            self._end(words, fault=words, alarms=(words,))
            return
        before = {entry.name for entry in self.settings.strategies}
        came = {entry.name for entry in applying.plan.effective.strategies} - before
        self._holding.see_replaced(applying.plan.restart | came)
        for name in applying.edited:
            self.wishes.edit(name, self._written)
        self.settings = applying.plan.effective
        self._drop_pins()
        for change in applying.plan.changes:
            self._log.info(
                "configuration.changed", path=change.path, was=change.was, now=change.now, effect=change.effect
            )
        self._finish(applying.plan, is_applied=True)

    def _drop_pins(self) -> None:
        """Forget the code of those that are gone; where the disk is full, behind the next change."""
        names = {entry.name for entry in self.settings.strategies}
        pins = self._shelf.pins()
        left = {name: pin for name, pin in pins.items() if name in names}
        if left == pins:
            return
        try:
            self._shelf.keep_pins(left)
        except OSError as error:
            self._log.warning("code.not_dropped", reason=str(error))

    def change(self, settings: Settings, *, restart: list[str], reason: str) -> dict[str, object]:
        """Give what root is asked for, so that the desk becomes one with these settings.

        Its strategies run the code that is pinned, the new ones what lies there; candidates run as swaps want it.

        Raises:
            OSError: New code cannot be put by.
        """
        pins = {**self._shelf.pins(), **self._shelf.pinned(settings)}
        self._shelf.keep_pins(pins)
        tries = [Try(swap.name, swap.new, swap.bars) for swap in self._shelf.swaps().values() if swap.has_candidate]
        tree = desk_tree(settings, str(self._file), {name: pin.code for name, pin in pins.items()}, tries)
        return {
            "tree": msgspec.msgpack.encode(tree),
            "desired": configured(settings),
            "restart": restart,
            "reason": reason,
        }

    @property
    def is_idle(self) -> bool:
        """True while nothing of the file is on its way."""
        return not (self._reading or self._holding.is_asked or self._applying)

    def outcomes(self) -> Sequence[Outcome]:
        """Hand over what came of reloads since the last call."""
        outcomes, self._outcomes = self._outcomes, []
        return outcomes

    def close(self) -> None:
        """End what reads the file."""
        if self._reading is not None:
            self._reading.close()

    # --- one round ------------------------------------------------------------------------------

    @property
    def _is_on_its_way(self) -> bool:
        return not self.is_idle or bool(self._later)

    def _begin(self, now_ns: int, effects: Effects) -> None:
        mark = mark_of(self._file)
        is_still, self._seen = mark == self._seen, mark
        if self.epochs:
            self._holding.take_up([name for name, state in self.states.items() if name and state != "STOPPING"])
        if not self._waits_for_flat:  # else the next question says who is barred
            self._holding.release(effects)
        if self._mark is None and not self._later and self._is_early(now_ns):
            return
        if mark == self._mark:
            self._same_ns = now_ns
        is_other = mark != self._mark or (self._is_refused and _marks_beside(self._file) != self._beside)
        if (is_still and is_other) or (self._later and (is_still or not self._is_torn)):
            is_as_asked = bool(self._later) and mark == self._later_mark
            self._written = Written(mark[0], self._same_ns, self._later_ns if is_as_asked else now_ns)
            self._wanted, self._later = self._later, {}
            self._read = mark
            if not self._is_dry:
                self._mark, self._beside = mark, _marks_beside(self._file)
            self._reading = ReadingApart(self._file, self._clock, self._shelf.folders())
        elif self._waits_for_flat and now_ns >= self._flat_due_ns:
            assert self._standing is not None, "what waits was read"
            assert self._standing.settings is not None, "what waits holds together"
            self._loaded, self._formers = self._standing, self._read_formers(self._standing.settings)
            self._ask_holders(effects)

    def _is_early(self, now_ns: int) -> bool:
        """Say whether the first reading has time, for the desk comes up and needs its processors."""
        return self.is_coming_up and now_ns - self._began_ns < COMING_UP_NS_MAX

    def _read_again(self) -> None:
        """Take nothing of a file that was written to meanwhile: half of an edit may hold together, and mean much."""
        self._mark = None
        self._later, self._wanted = {**self._wanted, **self._later}, {}

    @property
    def _is_dry(self) -> bool:
        """True where this round was begun by those only who want to know."""
        return bool(self._wanted) and all(self._wanted.values())

    def _take(self, loaded: Loaded, effects: Effects) -> None:
        if loaded.settings is None:
            words = render(loaded.problems)
            self._log.warning("configuration.refused", problems=words)
            head = f"{self._file} has mistakes and changes nothing until they are mended"
            if self._is_dry:
                self._end(words, fault=self.fault, alarms=self.alarms)
                return
            self._is_refused = True
            self._end(words, fault=head, alarms=(f"{head}:", *words.splitlines()))
            self._take_up_good()
            return
        self._is_refused = self._is_refused and self._is_dry
        if not self._is_dry:
            self._standing = loaded
        self._loaded = loaded
        self._formers = self._read_formers(loaded.settings)
        if self._formers or self._plan(loaded.settings, None).waits_for_flat:
            self._ask_holders(effects)
        else:
            self._decide(frozenset(), effects)

    def _take_up_good(self) -> None:
        """Let what waited of the last good file wait on, where a console fell and the file is broken by now.

        Where other settings are in force than those behind that file, nobody knows what it was edited to since.
        """
        good = self._good
        if self._standing is not None or good is None or good.in_force is None:
            return
        if _essence(good.in_force) == _essence(self.settings):
            self._standing = self._loaded = Loaded(good.settings, (), good.text)
            self._formers = self._read_formers(good.settings)
            self._waits_for_flat = self._plan(good.settings, None).waits_for_flat

    def _read_formers(self, wanted: Settings) -> dict[str, StrategySettings]:
        """Look who bore the names before that come into the file, and went while they held something."""
        new = [entry for entry in wanted.strategies if self.settings.strategy(entry.name) is None]
        found = {entry.name: former_of(entry, self._state) for entry in new}
        return {name: former for name, former in found.items() if former is not None}

    def _plan(self, wanted: Settings, holders: frozenset[str] | None, head: int = -1) -> Plan:
        assert self._loaded is not None, "a plan is made of a file"
        busy = {entry.name for entry in self.settings.strategies} | self._formers.keys() if holders is None else holders
        return plan(
            self.settings,
            wanted,
            self._loaded.lines,
            busy,
            head,
            self._formers,
            running={name for name, state in self.states.items() if state not in AWAY},
            quarantined={name for name, state in self.states.items() if state == "QUARANTINED"},
            spoken=self.spoken,
        )

    def _ask_holders(self, effects: Effects) -> None:
        assert self._loaded is not None, "a question is about a file"
        assert self._loaded.settings is not None, "a question is about a file that holds together"
        waiting = () if self._is_dry else self._plan(self._loaded.settings, None).waits_for_flat
        self._holding.ask({name: self.epochs[name] for name in sorted(waiting) if name in self.epochs}, effects)

    def _decide(self, holders: frozenset[str] | None, effects: Effects, head: int = -1) -> None:
        """Apply what can hold now; ``holders`` is None where nobody knows who holds something."""
        self._holding.close()
        assert self._loaded is not None, "a decision is about a file"
        assert self._loaded.settings is not None, "a decision is about a file that holds together"
        decided = self._plan(self._loaded.settings, holders, head)
        if self._is_dry:
            self._report(decided, is_applied=False)
            return
        self._flat_due_ns = self._clock.monotonic_ns() + FLAT_AGAIN_NS
        if _essence(decided.effective) == _essence(self.settings):
            self._finish(decided, is_applied=False)
            return
        try:
            arguments = self.change(
                decided.effective,
                restart=[strategy_path(name) for name in sorted(decided.restart)],
                reason=f"enabled: false in {self._file.name}",
            )
        except OSError as error:
            words = f"{self._file} could not be applied and changes nothing: no code can be put by: {error}"
            self._end(words, fault=words, alarms=(words,))
            return
        wishes = self.wishes.behind(self._written)
        arguments["wishes"] = {strategy_path(name): is_enabled for name, is_enabled in wishes.items()}
        self._serial += 1
        request = f"configuration-{self._clock.wall_ns()}-{self._serial}"
        before, after = configured(self.settings), configured(decided.effective)
        edited = tuple(
            entry.name
            for entry in decided.effective.strategies
            if before.get(path := strategy_path(entry.name)) is not after.get(path)
        )
        self._applying = _Applying(request, decided, arguments, edited)
        self._post(self._applying, effects)

    def _post(self, applying: _Applying, effects: Effects) -> None:
        """Let root apply it; root carries the same request out once."""
        self._asked_ns = self._clock.monotonic_ns()
        effects.post("root", RootAsked(applying.request, "apply", applying.arguments))

    def _finish(self, done: Plan, *, is_applied: bool) -> None:
        """Keep the file as the last good one, and say what of it does not hold yet."""
        self._waits_for_flat = done.waits_for_flat
        if not self._is_refused:  # where it is, this was what still waited of the one before
            self.fault = ""
            self.alarms = tuple(_words(change) for change in done.changes if change.is_waiting)
        self._keep_good(done.effective)
        self._report(done, is_applied=is_applied)

    def _keep_good(self, in_force: Settings) -> None:
        """Keep the file as the last good one; where the disk is full the desk goes on, and says so."""
        loaded = self._loaded
        assert loaded is not None, "what is done came of a file"
        assert loaded.settings is not None, "what is done came of a file that holds together"
        was = self._good
        if was is not None and (was.text, was.in_force) == (loaded.text, in_force):
            return
        good = LastGood(loaded.settings, loaded.text, self._clock.wall_ns(), in_force)
        try:
            write_last_good(self._state, good)
        except OSError as error:
            self._log.warning("configuration.not_kept", reason=str(error))
            words = f"{self._file} holds, but is not kept as the last good one: {error}; reload tries it again"
            self.alarms = (*self.alarms, words)
            return
        self._good = good

    def _report(self, done: Plan, *, is_applied: bool) -> None:
        result: dict[str, Any] = {
            "file": str(self._file),
            "applied": is_applied,
            "changes": [msgspec.to_builtins(change) for change in done.changes],
        }
        self._outcomes += [Outcome(token, "", {**result, "dry_run": is_dry}) for token, is_dry in self._wanted.items()]
        self._wanted = {}

    def _end(self, error: str, *, fault: str, alarms: tuple[str, ...]) -> None:
        self.fault, self.alarms = fault, alarms
        self._outcomes += [Outcome(token, error, {}) for token in self._wanted]
        self._wanted = {}


def _words(change: Change) -> str:
    return f"{change.path}: {change.was} -> {change.now}: {change.effect}"


def _marks_beside(file: Path) -> tuple[tuple[str, int, int, int], ...]:
    """Give what changes when a strategy of the operator's own is added, edited or taken away; nothing out of sight."""
    try:
        found = sorted((file.parent / "strategies").glob("*.py"))
    except OSError:
        return ()
    return tuple((str(each), *mark_of(each)) for each in found)


def _essence(settings: Settings) -> Settings:
    """Leave out where things stand in the file: lines that moved are no change."""
    entries = tuple(msgspec.structs.replace(entry, line=0) for entry in settings.strategies)
    return msgspec.structs.replace(settings, strategies=entries)
