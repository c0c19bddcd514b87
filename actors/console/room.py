"""The console: the control socket's verbs, and the watch over the configuration file."""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from typing_extensions import override

from actors.arguments import ConsoleArguments
from actors.console.audit import Audit
from actors.console.desired import Desired
from actors.console.doorkeeper import Asked, Doorkeeper
from actors.console.protocol import Code, Reply, refusal_of, reply_to
from actors.console.swapping import Swapping
from actors.console.verbs import VERBS
from actors.peer_table import PeerTable
from actors.pinned_code import SHORT
from actors.screen_words import plain_text
from actors.settings import OnDisable, Settings
from actors.settings_plan import position_words
from actors.status import desk_status, node_status
from actors.topics import PUT_AWAY, strategy_at, strategy_path
from desk.messages import (
    AdoptionWished,
    AwayWished,
    AwayWishKept,
    CancelWanted,
    CapitalWished,
    FlatteningWished,
    HoldersGiven,
    OperatorAnswered,
    ReconciliationWished,
    ResolutionWished,
)
from runtime.clock import NS_PER_S, Clock
from runtime.effects import Effects
from runtime.folder import Sentinel
from runtime.log import Log
from runtime.room import NOTHING, ControlRequest, DoorState, Room
from runtime.words import REMOVED, Peer, RootAnswered, RootAsked

if TYPE_CHECKING:
    from collections.abc import Callable

#: How long root may take for an answer before it is asked again; its answers may be lost.
ROOT_NS_MAX = 2 * NS_PER_S
HALT_REASON = "halted by an operator"


Wish = FlatteningWished | ResolutionWished | CapitalWished | AdoptionWished | ReconciliationWished


class Console(Room):
    """One set of verbs for all doors. The doorkeeper has recorded each change before it takes effect here."""

    def __init__(self, desired: Desired, sentinel: Sentinel, audit: Audit, state: Path, clock: Clock, log: Log) -> None:
        """Take what keeps the desk as its file says, with the settings in force."""
        self._desired, self._sentinel = desired, sentinel
        self._clock, self._log = clock, log
        control = desired.settings.control
        clients = Path(control.clients) if control.listen else None
        self._doorkeeper = Doorkeeper(audit, clients, clock, log)
        self._swapping = Swapping(desired, state, clock, log, self._doorkeeper.note)
        self._asked: dict[str, Asked] = {}
        self._unanswered: dict[str, tuple[RootAsked, int]] = {}
        """What root was asked for clients, and when last."""
        self._leaving: dict[str, dict[str, Asked]] = {}
        """Who wants a strategy away and waits for execution, by strategy and by request."""
        self._positions: dict[str, str] = {}
        self._spoken: dict[str, int] = {}
        """Of whose position an operator said something, and the epoch that was to leave; -1 where nobody knows."""
        self._lookers: list[Asked] = []
        self._looking: tuple[str, int, list[Asked]] | None = None
        self._peers = PeerTable()
        self._was_halted = False
        self._serial = 0
        self._methods: dict[str, Callable[[Asked, Effects], Reply | None]] = {
            "ping": self._ping,
            "status": self._status,
            "enable": self._enable,
            "disable": self._disable,
            "release": self._ask_of_strategy,
            "restart": self._restart,
            "stop": self._stop,
            "halt": self._halt,
            "resume": self._resume,
            "cancel": self._cancel,
            "flatten": self._flatten,
            "resolve": self._resolve,
            "reload": self._reload,
            "swap": self._swap,
            "capital": self._capital,
            "adopt": self._adopt,
            "reconcile": self._reconcile,
            "accept": self._reconcile,
        }
        assert self._methods.keys() == VERBS.keys(), "a verb has one role and one method"

    @override
    def recover(self) -> Effects:
        for name, change in self._doorkeeper.recover():
            if change.verb == "disable":
                self._note_position(change.name, change.position, -1)
            if change.verb in _WORDS and change.name and (change.reply is None or change.reply.code == Code.OK):
                self._desired.wishes.take(
                    change.name, name, is_enabled=_WORDS[change.verb], wall_ns=change.came_ns, monotonic_ns=0
                )
                if change.reply is not None:  # root has heard it
                    self._desired.wishes.hold(change.name, name)
        effects = Effects()
        effects.timer("watch", self._clock.monotonic_ns())
        return effects

    @override
    def stopping(self) -> Effects:
        self._doorkeeper.stop()
        self._desired.close()
        return NOTHING

    @override
    def reconfigured(self, arguments: bytes) -> Effects:
        self._desired.settings = msgspec.msgpack.decode(arguments, type=ConsoleArguments).settings
        return NOTHING

    @override
    def facts(self) -> dict[str, Any]:
        return {"alarms": self._all_alarms(), "control": self._doorkeeper.facts()}

    @override
    def peers(self, peers: tuple[Peer, ...]) -> Effects:
        self._peers.take(peers)
        self._desired.epochs = {strategy_at(peer.path): peer.epoch for peer in self._peers.values()}
        effects = Effects()
        self._see_back(effects)
        return effects

    # --- the control socket ---------------------------------------------------------------------

    @override
    def hear_control(self, request: ControlRequest) -> Effects:
        effects = Effects()
        asked = self._doorkeeper.hear(request, effects)
        if asked is not None:
            reply = self._methods[asked.request.verb](asked, effects)
            if reply is not None:
                self._doorkeeper.finish(asked, reply, effects)
        return effects

    @override
    def admits(self, key: str, peer: str) -> bool:
        return self._doorkeeper.admits(key, peer)

    @override
    def hear_door(self, state: DoorState) -> Effects:
        self._doorkeeper.hear_door(state)
        return NOTHING

    def _all_alarms(self) -> list[str]:
        return [*self._doorkeeper.alarms(), *self._desired.alarms, *self._swapping.alarms()]

    def _refuse(self, asked: Asked, words: str) -> Reply:
        return refusal_of(asked.request.id, Code.REFUSED, words)

    def _no_strategy(self, name: str) -> str:
        names = ", ".join(entry.name for entry in self._settings.strategies)
        return f"there is no strategy {plain_text(name)!r}; there are {names}"

    def _ask_root(self, asked: Asked, arguments: dict[str, object], effects: Effects) -> None:
        """Let root carry it out, once for each name; its answer becomes ours."""
        self._asked[asked.name] = asked
        word = RootAsked(asked.name, asked.request.verb, arguments)
        self._unanswered[asked.name] = word, self._clock.monotonic_ns()
        effects.post("root", word)

    def _ask_root_again(self, effects: Effects) -> None:
        """Repeat what root has not answered; its answers may be lost."""
        now_ns = self._clock.monotonic_ns()
        for name, (word, asked_ns) in self._unanswered.items():
            if now_ns - asked_ns > ROOT_NS_MAX:
                self._unanswered[name] = word, now_ns
                effects.post("root", word)

    # --- the verbs ------------------------------------------------------------------------------

    def _ping(self, asked: Asked, _effects: Effects) -> Reply:
        return reply_to(asked.request.id, {})

    def _status(self, asked: Asked, effects: Effects) -> None:
        """Ask root for one status at a time. Who asks meanwhile shares the next, so none is older than its request.

        One path is a small question, and asked at once.
        """
        if asked.arguments.path:
            self._ask_root(asked, {"path": plain_text(asked.arguments.path)}, effects)
            return
        self._lookers.append(asked)
        if self._looking is None:
            self._look(effects)

    def _look(self, effects: Effects) -> None:
        self._serial += 1
        lookers, self._lookers = self._lookers, []
        name = f"status {self._clock.wall_ns()} {self._serial}"
        self._looking = name, self._clock.monotonic_ns(), lookers
        effects.post("root", RootAsked(name, "status", {}))

    def _look_again(self, effects: Effects) -> None:
        """Ask root once more where its answer was lost."""
        if self._looking is not None and self._clock.monotonic_ns() - self._looking[1] > ROOT_NS_MAX:
            self._lookers[:0] = self._looking[2]
            self._look(effects)

    def _show(self, answer: RootAnswered, lookers: list[Asked], effects: Effects) -> None:
        document = {} if answer.error else self._status_document(answer.result)
        for asked in lookers:
            reply = self._refuse(asked, answer.error) if answer.error else reply_to(asked.request.id, document)
            self._doorkeeper.finish(asked, reply, effects)
        self._looking = None
        if self._lookers:
            self._look(effects)

    def _stop(self, asked: Asked, effects: Effects) -> None:
        reason = asked.arguments.reason
        self._ask_root(asked, {"reason": plain_text(reason)} if reason else {}, effects)

    def _enable(self, asked: Asked, effects: Effects) -> Reply | None:
        refusal = self._refusal(asked) or self._market_refusal(asked) or self._take_word(asked, effects)
        if refusal:
            return self._refuse(asked, refusal)
        self._ask_root_of_strategy(asked, effects)
        return None

    def _disable(self, asked: Asked, effects: Effects) -> Reply | None:
        """Let execution keep what becomes of the position before root puts its strategy away."""
        refusal = self._refusal(asked) or self._take_word(asked, effects)
        if refusal:
            return self._refuse(asked, refusal)
        self._leaving.setdefault(asked.arguments.name, {})[asked.name] = asked
        effects.post("execution", AwayWished(asked.arguments.name, asked.arguments.position, asked.name))
        return None

    def _take_word(self, asked: Asked, effects: Effects) -> str:
        """Take a word on a strategy in its turn, and end those before it that now come too late.

        Gives what overtook the word itself: it may come again, from a client that had no answer.
        """
        wishes, name = self._desired.wishes, asked.arguments.name
        wishes.take(
            name,
            asked.name,
            is_enabled=_WORDS[asked.request.verb],
            wall_ns=self._clock.wall_ns(),
            monotonic_ns=self._clock.monotonic_ns(),
        )
        overtaken = wishes.overtaken(name, asked.name)
        if asked.request.verb == "enable" and not overtaken:
            late = self._leaving.pop(name, {})
            for one in late.values():
                words = wishes.overtaken(name, one.name)
                self._doorkeeper.finish(one, self._refuse(one, words), effects)
            if late:
                self._take_back_position(name, effects)
        return overtaken

    def _take_back_position(self, name: str, effects: Effects) -> None:
        """Leave the position to the configuration again, where no absence came of a disable that said otherwise.

        A later disable has said its own. Of a strategy that is away the word stays: it ends when that one is back.
        """
        if not self._leaving.get(name) and self._peers.state(strategy_path(name)) not in PUT_AWAY:
            effects.post("execution", AwayWished(name, ""))

    def _note_position(self, name: str, position: str, epoch: int) -> None:
        """Remember that an operator said what becomes of a position, or left it to the configuration."""
        if position:
            self._spoken[name] = epoch
        else:
            self._spoken.pop(name, None)

    def _see_back(self, effects: Effects) -> None:
        """Leave the position of a strategy that runs again, or still, to the configuration.

        Execution does so itself where it saw the strategy away. It does not where that one was enabled while it was
        stopping, or where the console fell before root heard that it shall go.
        """
        leaving = {asked.arguments.name for asked in self._asked.values() if asked.request.verb == "disable"}
        leaving |= {name for name, asked in self._leaving.items() if asked}
        for name in sorted(self._spoken.keys() - leaving):
            peer = self._peers.get(strategy_path(name))
            if peer is not None and peer.state == "RUNNING" and peer.epoch > self._spoken[name]:
                del self._spoken[name]
                effects.post("execution", AwayWished(name, ""))

    def _hear_away_wish(self, kept: AwayWishKept, effects: Effects) -> None:
        """Let root put the strategy away, where nothing has come in between that wants it to run."""
        asked = self._leaving.get(kept.strategy, {}).pop(kept.request, None)
        if asked is None:
            return
        words = self._desired.wishes.overtaken(kept.strategy, asked.name)
        if words:
            self._doorkeeper.finish(asked, self._refuse(asked, words), effects)
            self._take_back_position(kept.strategy, effects)
        else:
            self._positions[asked.name] = position_words(OnDisable(kept.on_disable))
            self._ask_root_of_strategy(asked, effects)

    def _refusal(self, asked: Asked) -> str:
        entry = self._settings.strategy(asked.arguments.name)
        if entry is None:
            return self._no_strategy(asked.arguments.name)
        return f"{entry.name} cannot run: {entry.refusal}" if entry.refusal else ""

    def _market_refusal(self, asked: Asked) -> str:
        entry = self._settings.strategy(asked.arguments.name)
        assert entry is not None, "a strategy that is not there is refused before"
        lacking = [symbol for symbol in entry.symbols if symbol not in self._settings.feed.symbols]
        words = f"{entry.name} would have no market: the running feed does not give {', '.join(lacking)}"
        return f"{words}; see that global.feed gives it, and start the desk again" if lacking else ""

    def _ask_of_strategy(self, asked: Asked, effects: Effects) -> Reply | None:
        name, verb = asked.arguments.name, asked.request.verb
        refusal = self._refusal(asked)
        if refusal:
            return self._refuse(asked, refusal)
        state = self._peers.state(strategy_path(name))
        if verb == "release" and state not in {REMOVED, _QUARANTINED}:
            return self._refuse(asked, f"{name} is {state}; only what is in quarantine can be released")
        self._ask_root_of_strategy(asked, effects)
        return None

    def _ask_root_of_strategy(self, asked: Asked, effects: Effects) -> None:
        self._desired.wishes.hold(asked.arguments.name, asked.name)
        reason = plain_text(asked.arguments.reason or f"{asked.request.verb}d by an operator")
        self._ask_root(asked, {"reason": reason, "path": strategy_path(asked.arguments.name)}, effects)

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
        try:
            self._sentinel.write(plain_text(asked.arguments.reason or HALT_REASON))
        except OSError as error:
            name = error.filename2 or error.filename
            return self._refuse(asked, f"NOTHING WAS HALTED: {name} cannot be made: {error.strerror}")
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
        try:
            self._sentinel.remove()
        except OSError as error:
            return self._refuse(asked, f"the halt holds: {error.strerror}: remove {error.filename} by hand")
        with suppress(OSError):  # the halt may have taken the spare; where there is no room, there is no more to do
            self._sentinel.prepare()
        self._was_halted = False
        return reply_to(asked.request.id, {"was_halted": was or ""})

    def _cancel(self, asked: Asked, effects: Effects) -> Reply:
        name = asked.arguments.name
        if name and self._settings.strategy(name) is None:
            return self._refuse(asked, self._no_strategy(name))
        effects.post("execution", CancelWanted(name, "OPERATOR"))
        return reply_to(asked.request.id, {})

    def _flatten(self, asked: Asked, effects: Effects) -> Reply | None:
        wanted = asked.arguments
        if wanted.strategy and self._settings.strategy(wanted.strategy) is None:
            return self._refuse(asked, self._no_strategy(wanted.strategy))
        self._wish(
            asked,
            FlatteningWished(asked.name, wanted.strategy, wanted.symbol, plain_text(wanted.reason), asked.who.identity),
            effects,
        )
        return None

    def _resolve(self, asked: Asked, effects: Effects) -> Reply | None:
        told = asked.arguments
        if not told.order:  # every id begins with nothing
            return self._refuse(asked, "an order is named by the beginning of its id; see: bulkhead orders")
        self._wish(
            asked,
            ResolutionWished(
                asked.name,
                told.order,
                told.outcome,
                told.quantity,
                told.price,
                told.fee,
                plain_text(told.reason),
                asked.who.identity,
            ),
            effects,
        )
        return None

    def _wish(self, asked: Asked, wish: Wish, effects: Effects) -> None:
        """Ask execution; it carries out what bears one name once, and answers each time."""
        self._asked[asked.name] = asked
        effects.post("execution", wish)

    def _hear_operator_answer(self, answer: OperatorAnswered, effects: Effects) -> None:
        asked = self._asked.pop(answer.request, None)
        if asked is not None:
            words = answer.error
            result = msgspec.json.decode(answer.result) if answer.result else {}
            reply = self._refuse(asked, words) if words else reply_to(asked.request.id, result)
            self._doorkeeper.finish(asked, reply, effects)

    # --- the books ------------------------------------------------------------------------------

    def _capital(self, asked: Asked, effects: Effects) -> Reply | None:
        told = asked.arguments
        if not told.amount.is_finite() or told.amount <= 0:
            return self._refuse(asked, f"{told.amount} is no amount; write one above 0, such as 250.00")
        amount = told.amount if told.action == "deposit" else -told.amount
        reason = plain_text(told.reason or told.action)
        self._wish(asked, CapitalWished(asked.name, amount, reason, asked.who.name), effects)
        return None

    def _adopt(self, asked: Asked, effects: Effects) -> Reply | None:
        told = asked.arguments
        if self._settings.strategy(told.strategy) is None:
            return self._refuse(asked, self._no_strategy(told.strategy))
        if told.tag and told.tag != plain_text(told.tag):
            return self._refuse(asked, "a tag has no control characters")
        wish = AdoptionWished(
            asked.name,
            told.symbol,
            told.quantity,
            told.strategy,
            told.tag,
            plain_text(told.reason),
            asked.who.name,
            told.stop_loss,
        )
        self._wish(asked, wish, effects)
        return None

    def _reconcile(self, asked: Asked, effects: Effects) -> None:
        is_accepted = asked.request.verb == "accept"
        self._wish(asked, ReconciliationWished(asked.name, is_accepted, asked.who.name), effects)

    @override
    def hear(self, peer: str, epoch: int, word: Any) -> Effects:
        effects = Effects()
        if peer == "execution" and isinstance(word, OperatorAnswered):
            self._hear_operator_answer(word, effects)
            return effects
        if peer == "execution" and isinstance(word, HoldersGiven):
            self._desired.hear_holders(word, effects)
        elif peer == "execution" and isinstance(word, AwayWishKept):
            self._hear_away_wish(word, effects)
        elif peer == "root" and isinstance(word, RootAnswered):
            self._hear_root(word, effects)
        self._answer_reloads(effects)
        return effects

    def _hear_root(self, word: RootAnswered, effects: Effects) -> None:
        if self._looking is not None and word.request == self._looking[0]:
            self._show(word, self._looking[2], effects)
            return
        self._desired.hear_root(word)
        self._swapping.hear_root(word)
        self._unanswered.pop(word.request, None)
        asked = self._asked.pop(word.request, None)
        if asked is not None:
            if word.error and asked.request.verb in _WORDS:
                self._desired.wishes.drop(asked.arguments.name, asked.name)
            if asked.request.verb == "disable":
                peer = self._peers.get(strategy_path(asked.arguments.name))
                epoch = -1 if peer is None or word.error else peer.epoch
                self._note_position(asked.arguments.name, asked.arguments.position, epoch)
                self._see_back(effects)
            position = self._positions.pop(asked.name, "")
            result = {"position": position} if position else dict(word.result)
            result |= self._note(asked)
            words = f"{word.error}{self._hint(asked)}" if word.error else ""
            reply = self._refuse(asked, words) if words else reply_to(asked.request.id, result)
            if asked.request.verb == "status" and not word.error:
                path = plain_text(asked.arguments.path)
                reply = reply_to(asked.request.id, node_status(word.result, path, self._settings))
            self._doorkeeper.finish(asked, reply, effects)

    def _hint(self, asked: Asked) -> str:
        """Say which path is meant where a strategy's name is no path."""
        name = getattr(asked.arguments, "path", "")
        return f"; did you mean {strategy_path(name)}?" if self._settings.strategy(name) else ""

    def _note(self, asked: Asked) -> dict[str, object]:
        """Say of a strategy that was enabled and is in quarantine that it stays there."""
        name = asked.arguments.name if asked.request.verb == "enable" else ""
        if not name or self._peers.state(strategy_path(name)) != _QUARANTINED:
            return {}
        return {"note": f"it stays down, in quarantine; let it out with: bulkhead release {name}"}

    def _status_document(self, root: dict[str, object]) -> dict[str, Any]:
        document = desk_status(
            root,
            self._settings,
            halted=self._sentinel.reason() or "",
            now_ns=self._clock.wall_ns(),
            alarms=self._all_alarms(),
            configuration=self._desired.fault,
        )
        return self._swapping.shown({**document, "control": self._doorkeeper.facts()})

    # --- the configuration file -----------------------------------------------------------------

    @property
    def _settings(self) -> Settings:
        return self._desired.settings

    @override
    def timer(self, name: str) -> Effects:
        effects = Effects()
        later_ns = self._swapping.look(effects)
        self._desired.states = {strategy_at(peer.path): peer.state for peer in self._peers.values()}
        self._desired.spoken = frozenset(self._spoken)
        self._desired.is_coming_up = any(peer.state in _COMING for peer in self._peers.values())
        due_ns = self._clock.monotonic_ns() + min(self._desired.look(effects), later_ns or NS_PER_S)
        self._answer_reloads(effects)
        self._see_halt(effects)
        self._doorkeeper.tend()
        self._look_again(effects)
        self._ask_root_again(effects)
        effects.timer("watch", due_ns)
        return effects

    def _swap(self, asked: Asked, effects: Effects) -> Reply:
        """Begin to try the file of a strategy as it is now; what comes of it shows in the status."""
        name = asked.arguments.name
        if self._settings.strategy(name) is None:
            return self._refuse(asked, self._no_strategy(name))
        begun = self._swapping.begin(name, asked.arguments.bars, self._peers.state(strategy_path(name)))
        if isinstance(begun, str):
            return self._refuse(asked, begun)
        effects.timer("watch", self._clock.monotonic_ns())
        return reply_to(asked.request.id, {"name": name, "old": begun.old[:SHORT], "new": begun.new[:SHORT]})

    def _reload(self, asked: Asked, effects: Effects) -> None:
        """Read the file now; the answer comes when all of it is applied, or refused."""
        self._asked[asked.name] = asked
        self._desired.reload(asked.name, is_dry=asked.arguments.dry_run)
        effects.timer("watch", self._clock.monotonic_ns())

    def _answer_reloads(self, effects: Effects) -> None:
        for outcome in self._desired.outcomes():
            asked = self._asked.pop(outcome.token)
            words = outcome.error
            reply = self._refuse(asked, words) if words else reply_to(asked.request.id, outcome.result)
            self._doorkeeper.finish(asked, reply, effects)


_QUARANTINED = "QUARANTINED"
#: The verbs that are a word on whether a strategy runs, and what they say.
_WORDS = {"enable": True, "disable": False}
#: The states in which a process is not up yet, and may be soon.
_COMING = frozenset({"WAITING", "STARTING"})
#: States in which a restart changes nothing, and what would.
_PUT_AWAY = {"DISABLED": "enable it first", _QUARANTINED: "release it first"}
