"""The console: the control socket's verbs, and the watch over the configuration file."""

from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from typing_extensions import override

from actors.console.protocol import PROTOCOL, Code, Fault, Reply, Request, read_request, refusal_of, reply_to
from actors.console.verbs import VERBS, read_arguments
from actors.peer_table import PeerTable
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
from runtime.room import NOTHING, ControlRequest, Room
from runtime.words import REMOVED, Peer, RootAnswered, RootAsked

if TYPE_CHECKING:
    from collections.abc import Callable

WATCH_NS = 300 * NS_PER_MS
REQUESTS_REMEMBERED = 1000
HALT_REASON = "halted by an operator"
#: The client at the local socket: whoever is the desk's user.
LOCAL = "local"


class Asked(NamedTuple):
    """One request on its way: who sent it from where, what it says, and its arguments as its verb takes them."""

    client: str
    address: bytes
    request: Request
    arguments: Any


class Console(Room):
    """One set of verbs. Each change is written to the log with its reason before it takes effect."""

    def __init__(self, settings: Settings, file: Path, sentinel: Sentinel, clock: Clock, log: Log) -> None:
        """Take the settings that the desk was started with."""
        self._settings, self._file, self._sentinel = settings, file, sentinel
        self._clock, self._log = clock, log
        self._asked: dict[str, Asked] = {}
        self._replies: OrderedDict[tuple[str, str], Reply] = OrderedDict()
        self._mark: tuple[int, int, int] | None = None  # a successor reads the file anew, and root knows what is news
        self._alarms: tuple[str, ...] = ()
        self._peers = PeerTable()
        self._was_halted = False
        self._serial = 0
        self._methods: dict[str, Callable[[Asked, Effects], Reply | None]] = {
            "ping": self._ping,
            "status": self._status,
            "enable": self._ask_of_strategy,
            "disable": self._ask_of_strategy,
            "release": self._ask_of_strategy,
            "restart": self._restart,
            "stop": self._stop,
            "halt": self._halt,
            "resume": self._resume,
            "cancel": self._cancel,
        }
        assert self._methods.keys() == VERBS.keys(), "a verb has one role and one method"

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
        self._peers.take(peers)
        return NOTHING

    # --- the control socket ---------------------------------------------------------------------

    @override
    def hear_control(self, request: ControlRequest) -> Effects:
        effects = Effects()
        self._hear_request(request.address, request.frames, effects)
        return effects

    def _hear_request(self, address: bytes, frames: list[bytes], effects: Effects) -> None:
        request = read_request(frames)
        if isinstance(request, Fault):
            effects.answer(address, msgspec.json.encode(refusal_of(request.id, request.code, request.words)))
            return
        known = self._replies.get((LOCAL, request.id))
        reply = known if known is not None else self._consider(LOCAL, address, request, effects)
        if reply is not None:
            self._send(LOCAL, address, request, reply, effects)

    def _consider(self, client: str, address: bytes, request: Request, effects: Effects) -> Reply | None:
        """Refuse what is no verb with its arguments; write down a change, then carry it out."""
        if request.v != PROTOCOL:
            words = f"this desk speaks version {PROTOCOL} of the protocol, not {request.v}"
            return refusal_of(request.id, Code.UNSUPPORTED_VERSION, words)
        verb = VERBS.get(request.verb)
        if verb is None:
            words = f"unknown verb {request.verb[:100]!r}; known are {', '.join(sorted(VERBS))}"
            return refusal_of(request.id, Code.UNKNOWN_VERB, words)
        arguments = read_arguments(verb, request.arguments)
        if isinstance(arguments, str):
            return refusal_of(request.id, Code.BAD_ARGUMENTS, f"{request.verb}: {arguments}")
        if verb.is_change:
            told = {plain_text(key): plain_text(value) for key, value in request.arguments.items()}
            self._log.info("verb", verb=request.verb, request=request.id, arguments=told)
        return self._methods[request.verb](Asked(client, address, request, arguments), effects)

    def _send(self, client: str, address: bytes, request: Request, reply: Reply, effects: Effects) -> None:
        verb = VERBS.get(request.verb)
        if verb is not None and verb.is_change:
            self._replies[client, request.id] = reply
            while len(self._replies) > REQUESTS_REMEMBERED:
                self._replies.popitem(last=False)
        effects.answer(address, msgspec.json.encode(reply))

    def _refuse(self, asked: Asked, words: str) -> Reply:
        return refusal_of(asked.request.id, Code.REFUSED, words)

    def _no_strategy(self, name: str) -> str:
        names = ", ".join(entry.name for entry in self._settings.strategies)
        return f"there is no strategy {plain_text(name)!r}; there are {names}"

    def _ask_root(self, asked: Asked, arguments: dict[str, object], effects: Effects) -> None:
        """Let root carry it out; its answer becomes ours. Clients choose ids, so each has its own at root."""
        request = f"{asked.client} {asked.request.id}"
        self._asked[request] = asked
        effects.post("root", RootAsked(request, asked.request.verb, arguments))

    # --- the verbs ------------------------------------------------------------------------------

    def _ping(self, asked: Asked, _effects: Effects) -> Reply:
        return reply_to(asked.request.id, {})

    def _status(self, asked: Asked, effects: Effects) -> None:
        self._ask_root(asked, {}, effects)

    def _stop(self, asked: Asked, effects: Effects) -> None:
        reason = asked.arguments.reason
        self._ask_root(asked, {"reason": plain_text(reason)} if reason else {}, effects)

    def _ask_of_strategy(self, asked: Asked, effects: Effects) -> Reply | None:
        name, verb = asked.arguments.name, asked.request.verb
        entry = self._settings.strategy(name)
        if entry is None:
            return self._refuse(asked, self._no_strategy(name))
        if entry.refusal:
            return self._refuse(asked, f"{name} cannot run: {entry.refusal}")
        state = self._peers.state(f"strategies/{name}")
        if verb == "release" and state not in {REMOVED, "QUARANTINED"}:
            return self._refuse(asked, f"{name} is {state}; only what is in quarantine can be released")
        arguments: dict[str, object] = {
            "reason": plain_text(asked.arguments.reason or f"{verb}d by an operator"),
            "path": f"strategies/{name}",
            "source": "operator",
        }
        self._ask_root(asked, arguments, effects)
        return None

    def _restart(self, asked: Asked, effects: Effects) -> Reply | None:
        """Let root restart what runs or waits; what was put away stays down, and saying so is kinder than silence."""
        path = plain_text(asked.arguments.path)
        state = self._peers.state(path)
        if state in _PUT_AWAY:
            return self._refuse(asked, f"{path} is {state} and stays down; {_PUT_AWAY[state]}")
        self._ask_root(asked, {"path": path, "reason": plain_text(asked.arguments.reason)}, effects)
        return None

    def _halt(self, asked: Asked, effects: Effects) -> Reply:
        """No entries any more, and no working entry order is left; exits and stops are not touched."""
        self._sentinel.write(plain_text(asked.arguments.reason or HALT_REASON))
        self._see_halt(effects)
        return reply_to(asked.request.id, {"halted": self._sentinel.reason()})

    def _see_halt(self, effects: Effects) -> None:
        """Cancel working entries once the desk is halted, whoever wrote the sentinel."""
        is_halted = self._sentinel.reason() is not None
        if is_halted and not self._was_halted:
            effects.post("execution", CancelWanted("", "HALTED"))
        self._was_halted = is_halted

    def _resume(self, asked: Asked, _effects: Effects) -> Reply:
        was = self._sentinel.reason()
        self._sentinel.remove()
        self._was_halted = False
        return reply_to(asked.request.id, {"was_halted": was or ""})

    def _cancel(self, asked: Asked, effects: Effects) -> Reply:
        name = asked.arguments.name
        if name and self._settings.strategy(name) is None:
            return self._refuse(asked, self._no_strategy(name))
        effects.post("execution", CancelWanted(name, "OPERATOR"))
        return reply_to(asked.request.id, {})

    @override
    def hear(self, peer: str, epoch: int, word: Any) -> Effects:
        if peer != "root" or not isinstance(word, RootAnswered):
            return NOTHING
        effects = Effects()
        asked = self._asked.pop(word.request, None)
        if asked is None:
            return effects
        if word.error:
            reply = self._refuse(asked, word.error)
        elif asked.request.verb == "status":
            reply = reply_to(asked.request.id, self._status_document(word.result))
        else:
            reply = reply_to(asked.request.id, dict(word.result))
        self._send(asked.client, asked.address, asked.request, reply, effects)
        return effects

    def _status_document(self, root: dict[str, object]) -> dict[str, Any]:
        return desk_status(
            root,
            self._settings,
            halted=self._sentinel.reason() or "",
            now_ns=self._clock.wall_ns(),
            alarms=self._alarms,
        )

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


#: States in which a restart changes nothing, and what would.
_PUT_AWAY = {"DISABLED": "enable it first", "QUARANTINED": "release it first"}


def _mark_of(file: Path) -> tuple[int, int, int]:
    """Give what changes when a file is edited or replaced; zeros where it is gone."""
    try:
        found = file.stat()
    except OSError:
        return 0, 0, 0
    return found.st_mtime_ns, found.st_size, found.st_ino
