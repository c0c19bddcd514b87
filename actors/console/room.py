"""The console: the control socket's verbs, and the watch over the configuration file."""

from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from typing_extensions import override

from actors.problem import render
from actors.screen_words import plain_text
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
from runtime.words import Peer, RootAnswered, RootAsked

if TYPE_CHECKING:
    from collections.abc import Callable

PROTOCOL = 1
WATCH_NS = 300 * NS_PER_MS
REQUESTS_REMEMBERED = 1000
#: Largest request that is looked at; a verb has a few hundred bytes.
REQUEST_BYTES_MAX = 64 * 1024
#: Longest name that a client may give a request.
ID_LENGTH_MAX = 128
HALT_REASON = "halted by an operator"


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
        self._mark: tuple[int, int, int] | None = None  # a successor reads the file anew, and root knows what is news
        self._alarms: tuple[str, ...] = ()
        self._states: dict[str, str] = {}
        self._was_halted = False
        self._serial = 0
        self._verbs: dict[str, Callable[[Request, bytes, Effects], Reply | None]] = {
            "ping": lambda request, _address, _effects: self._reply(request, {}),
            "status": self._ask_root,
            "enable": self._ask_root_of_strategy,
            "disable": self._ask_root_of_strategy,
            "release": self._ask_root_of_strategy,
            "restart": self._restart,
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

    @override
    def peers(self, peers: tuple[Peer, ...]) -> Effects:
        self._states = {peer.path: peer.state for peer in peers}
        return NOTHING

    # --- the control socket ---------------------------------------------------------------------

    @override
    def hear_control(self, address: bytes, data: bytes) -> Effects:
        effects = Effects()
        request = _request_of(data)
        if isinstance(request, str):
            effects.answer(address, msgspec.json.encode(Reply(PROTOCOL, "", request, {})))
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
            told = {plain_text(key): plain_text(value) for key, value in request.arguments.items()}
            self._log.info("verb", verb=request.verb, request=request.id, arguments=told)
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

    def _no_strategy(self, name: str) -> str:
        names = ", ".join(entry.name for entry in self._settings.strategies)
        return f"there is no strategy {plain_text(name)!r}; there are {names}"

    def _ask_root(self, request: Request, address: bytes, effects: Effects) -> None:
        told: dict[str, object] = {
            plain_text(key): plain_text(value) for key, value in request.arguments.items() if value
        }
        self._asked[request.id] = (address, request.verb)
        effects.post("root", RootAsked(request.id, request.verb, told))

    def _ask_root_of_strategy(self, request: Request, address: bytes, effects: Effects) -> Reply | None:
        name = str(request.arguments.get("name", ""))
        entry = self._settings.strategy(name)
        if entry is None:
            return self._refuse(request, self._no_strategy(name))
        if entry.refusal:
            return self._refuse(request, f"{name} cannot run: {entry.refusal}")
        state = self._states.get(f"strategies/{name}")
        if request.verb == "release" and state not in {None, "QUARANTINED"}:
            return self._refuse(request, f"{name} is {state}; only what is in quarantine can be released")
        arguments: dict[str, object] = {
            "reason": plain_text(request.arguments.get("reason") or f"{request.verb}d by an operator"),
            "path": f"strategies/{name}",
            "source": "operator",
        }
        self._asked[request.id] = (address, request.verb)
        effects.post("root", RootAsked(request.id, request.verb, arguments))
        return None

    def _restart(self, request: Request, address: bytes, effects: Effects) -> Reply | None:
        """Let root restart what runs or waits; what was put away stays down, and saying so is kinder than silence."""
        path = plain_text(request.arguments.get("path"))
        state = self._states.get(path)
        if state in _PUT_AWAY:
            return self._refuse(request, f"{path} is {state} and stays down; {_PUT_AWAY[state]}")
        self._ask_root(request, address, effects)
        return None

    def _halt(self, request: Request, _address: bytes, effects: Effects) -> Reply:
        """No entries any more, and no working entry order is left; exits and stops are not touched."""
        self._sentinel.write(plain_text(request.arguments.get("reason") or HALT_REASON))
        self._see_halt(effects)
        return self._reply(request, {"halted": self._sentinel.reason()})

    def _see_halt(self, effects: Effects) -> None:
        """Cancel working entries once the desk is halted, whoever wrote the sentinel."""
        is_halted = self._sentinel.reason() is not None
        if is_halted and not self._was_halted:
            effects.post("execution", CancelWanted("", "HALTED"))
        self._was_halted = is_halted

    def _resume(self, request: Request, _address: bytes, _effects: Effects) -> Reply:
        was = self._sentinel.reason()
        self._sentinel.remove()
        self._was_halted = False
        return self._reply(request, {"was_halted": was or ""})

    def _cancel(self, request: Request, _address: bytes, effects: Effects) -> Reply:
        name = str(request.arguments.get("name") or "")
        if name and self._settings.strategy(name) is None:
            return self._refuse(request, self._no_strategy(name))
        effects.post("execution", CancelWanted(name, "OPERATOR"))
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
        self._see_halt(effects)
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


def _request_of(data: bytes) -> Request | str:
    """Read a request; where it is none, say why not."""
    if len(data) > REQUEST_BYTES_MAX:
        return f"not a request: {len(data)} bytes; a request has at most {REQUEST_BYTES_MAX}"
    try:
        request = msgspec.json.decode(data, type=Request)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return f"not a request: {error}"
    if not 0 < len(request.id) <= ID_LENGTH_MAX:
        return f"not a request: its id has {len(request.id)} characters; write 1 to {ID_LENGTH_MAX}"
    return request


#: States in which a restart changes nothing, and what would.
_PUT_AWAY = {"DISABLED": "enable it first", "QUARANTINED": "release it first"}


def _mark_of(file: Path) -> tuple[int, int, int]:
    """Give what changes when a file is edited or replaced; zeros where it is gone."""
    try:
        found = file.stat()
    except OSError:
        return 0, 0, 0
    return found.st_mtime_ns, found.st_size, found.st_ino
