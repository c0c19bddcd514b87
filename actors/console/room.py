"""The console: the control socket's verbs, and the watch over the configuration file."""

from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from typing_extensions import override

from actors.problem import render
from actors.settings import Settings, differences
from actors.settings_file import load
from actors.status import desk_status
from desk.messages import CancelWanted
from runtime.clock import NS_PER_MS, Clock
from runtime.effects import Effects
from runtime.folder import Sentinel
from runtime.keeper import FROM_CONFIGURATION
from runtime.log import Log
from runtime.room import NOTHING, Room
from runtime.words import RootAnswered, RootAsked

if TYPE_CHECKING:
    from collections.abc import Callable

PROTOCOL = 1
WATCH_NS = 300 * NS_PER_MS
REQUESTS_REMEMBERED = 1000


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One request at the control socket, as JSON. The same ``id`` is carried out once."""

    v: int
    id: str
    verb: str
    arguments: dict[str, Any] = {}


class Reply(msgspec.Struct, frozen=True):
    """The answer: ``error`` is "" where the verb was carried out."""

    v: int
    id: str
    error: str
    result: dict[str, Any]


class Console(Room):
    """One set of verbs. Each change is written to the log with its reason before it takes effect."""

    def __init__(self, settings: Settings, file: Path, sentinel: Sentinel, clock: Clock, log: Log) -> None:
        """Take the settings that the desk was started with."""
        self._settings, self._file, self._sentinel = settings, file, sentinel
        self._clock, self._log = clock, log
        self._asked: dict[str, tuple[bytes, str]] = {}
        self._replies: OrderedDict[str, Reply] = OrderedDict()
        self._mark = _mark_of(file)
        self._alarms: tuple[str, ...] = ()
        self._serial = 0
        self._verbs: dict[str, Callable[[Request, bytes, Effects], Reply | None]] = {
            "ping": lambda request, _address, _effects: self._reply(request, {}),
            "status": self._ask_root,
            "enable": self._ask_root_of_strategy,
            "disable": self._ask_root_of_strategy,
            "release": self._ask_root_of_strategy,
            "restart": self._ask_root,
            "stop": self._ask_root,
            "halt": self._halt,
            "resume": self._resume,
            "cancel": self._cancel,
        }

    @override
    def recover(self) -> Effects:
        effects = Effects()
        effects.timer("watch", self._clock.monotonic_ns() + WATCH_NS)
        return effects

    @override
    def facts(self) -> dict[str, Any]:
        return {"alarms": list(self._alarms)}

    # --- the control socket ---------------------------------------------------------------------

    @override
    def hear_control(self, address: bytes, data: bytes) -> Effects:
        effects = Effects()
        try:
            request = msgspec.json.decode(data, type=Request)
        except (msgspec.DecodeError, RecursionError) as error:
            effects.answer(address, msgspec.json.encode(Reply(PROTOCOL, "", f"not a request: {error}", {})))
            return effects
        known = self._replies.get(request.id)
        if known is not None and request.verb != "status":
            effects.answer(address, msgspec.json.encode(known))
            return effects
        reply = self._carry_out(request, address, effects)
        if reply is not None:
            self._send(address, reply, effects)
        return effects

    def _carry_out(self, request: Request, address: bytes, effects: Effects) -> Reply | None:
        if request.v != PROTOCOL:
            return self._refuse(request, f"this desk speaks version {PROTOCOL} of the protocol, not {request.v}")
        verb = self._verbs.get(request.verb)
        if verb is None:
            return self._refuse(request, f"unknown verb {request.verb!r}; known are {', '.join(sorted(self._verbs))}")
        if request.verb not in {"ping", "status"}:
            self._log.info("verb", verb=request.verb, request=request.id, arguments=request.arguments)
        return verb(request, address, effects)

    def _send(self, address: bytes, reply: Reply, effects: Effects) -> None:
        self._replies[reply.id] = reply
        while len(self._replies) > REQUESTS_REMEMBERED:
            self._replies.popitem(last=False)
        effects.answer(address, msgspec.json.encode(reply))

    def _reply(self, request: Request, result: dict[str, Any]) -> Reply:
        return Reply(PROTOCOL, request.id, "", result)

    def _refuse(self, request: Request, error: str) -> Reply:
        return Reply(PROTOCOL, request.id, error, {})

    def _ask_root(self, request: Request, address: bytes, effects: Effects) -> None:
        self._asked[request.id] = (address, request.verb)
        effects.post("root", RootAsked(request.id, request.verb, request.arguments))

    def _ask_root_of_strategy(self, request: Request, address: bytes, effects: Effects) -> Reply | None:
        name = str(request.arguments.get("name", ""))
        entry = self._settings.strategy(name)
        if entry is None:
            names = ", ".join(sorted(one.name for one in self._settings.strategies))
            return self._refuse(request, f"there is no strategy {name!r}; there are {names}")
        if entry.refusal:
            return self._refuse(request, f"{name} cannot run: {entry.refusal}")
        arguments: dict[str, object] = {**request.arguments, "path": f"strategies/{name}", "source": "operator"}
        self._asked[request.id] = (address, request.verb)
        effects.post("root", RootAsked(request.id, request.verb, arguments))
        return None

    def _halt(self, request: Request, _address: bytes, effects: Effects) -> Reply:
        """No entries any more, and no working entry order is left; exits and stops are not touched."""
        reason = str(request.arguments.get("reason") or "halted by an operator")
        self._sentinel.write(reason)
        effects.post("execution", CancelWanted("", "HALTED"))
        return self._reply(request, {"halted": self._sentinel.reason()})

    def _resume(self, request: Request, _address: bytes, _effects: Effects) -> Reply:
        was = self._sentinel.reason()
        self._sentinel.remove()
        return self._reply(request, {"was_halted": was or ""})

    def _cancel(self, request: Request, _address: bytes, effects: Effects) -> Reply:
        effects.post("execution", CancelWanted(str(request.arguments.get("name", "")), "OPERATOR"))
        return self._reply(request, {})

    @override
    def hear(self, peer: str, epoch: int, word: Any) -> Effects:
        if peer != "root" or not isinstance(word, RootAnswered):
            return NOTHING
        effects = Effects()
        address, verb = self._asked.pop(word.request, (b"", ""))
        if not address:
            return effects
        result = word.result
        if verb == "status" and not word.error:
            result = desk_status(
                result,
                self._settings,
                halted=self._sentinel.reason() or "",
                now_ns=self._clock.wall_ns(),
                alarms=self._alarms,
            )
        self._send(address, Reply(PROTOCOL, word.request, word.error, dict(result)), effects)
        return effects

    # --- the configuration file -----------------------------------------------------------------

    @override
    def timer(self, name: str) -> Effects:
        effects = Effects()
        mark = _mark_of(self._file)
        if mark != self._mark:
            self._mark = mark
            self._read_again(effects)
        effects.timer("watch", self._clock.monotonic_ns() + WATCH_NS)
        return effects

    def _read_again(self, effects: Effects) -> None:
        """Take in an edited file: what is wrong changes nothing, ``enabled`` takes effect, the rest waits."""
        loaded = load(self._file)
        if loaded.settings is None:
            words = render(loaded.problems)
            self._alarms = (
                f"{self._file} has mistakes and changes nothing until they are mended:",
                *words.splitlines(),
            )
            self._log.warning("configuration.refused", problems=words)
            return
        switched, others = differences(self._settings, loaded.settings)
        self._alarms = others
        for change in switched:
            self._serial += 1
            verb = "enable" if change.enabled else "disable"
            self._log.info("configuration.changed", strategy=change.name, verb=verb)
            request = f"configuration-{self._clock.wall_ns()}-{self._serial}"
            arguments: dict[str, object] = {
                "path": f"strategies/{change.name}",
                "source": FROM_CONFIGURATION,
                "reason": f"enabled: false in {self._file.name}",
            }
            effects.post("root", RootAsked(request, verb, arguments))
        by_name = {change.name: change.enabled for change in switched}
        self._settings = msgspec.structs.replace(
            self._settings,
            strategies=tuple(
                msgspec.structs.replace(entry, enabled=by_name.get(entry.name, entry.enabled))
                for entry in self._settings.strategies
            ),
        )


def _mark_of(file: Path) -> tuple[int, int, int]:
    """Give what changes when a file is edited or replaced; zeros where it is gone."""
    try:
        found = file.stat()
    except OSError:
        return 0, 0, 0
    return found.st_mtime_ns, found.st_size, found.st_ino
