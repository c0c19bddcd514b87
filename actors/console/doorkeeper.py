"""Between the doors and the verbs: who asks, whether they may, whether it was asked before, and the audit trail.

What it lets through is a change that is on the disk already, or something that changes nothing.
"""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from actors.console.audit import Audit, Entry, digest_of
from actors.console.clients import Client, changes, fingerprint, listing, read_clients
from actors.console.gate import LOCAL, Gate, Likeness, Memory, Refusals, Remembered, Who, staleness
from actors.console.protocol import ID_LENGTH_MAX, Code, Fault, Reply, Request, read_request, refusal_of
from actors.console.verbs import VERBS, Verb, read_arguments
from actors.screen_words import plain_text
from runtime.clock import NS_PER_S, Clock
from runtime.effects import Effects
from runtime.file import mark_of
from runtime.log import Log
from runtime.room import ControlRequest, DoorState

#: Requests of all clients together that may wait for their answers.
WAITING_MAX = 256
#: A request that has waited for so long is forgotten; its client asks again.
WAIT_NS_MAX = 30 * NS_PER_S
#: How often counts of refused attempts are written down, and a trail that could not be written is tried again.
RECORD_NS = 5 * NS_PER_S
STRANGER = "stranger"
#: Of a request's digest so much is part of its name; operators see it in the journal.
DIGEST_SHORT = 8
#: How far up the tree of processes a local client is followed.
ANCESTORS_MAX = 64
#: First byte of the addresses that ZeroMQ gives; one that a client chose itself could be another client's.
OWN_ADDRESS = 0


class Asked(NamedTuple):
    """One request on its way: whose it is, where its answer goes, what it says, its arguments as its verb takes them.

    ``name`` is its own among all clients'. A look's says what it looks at, so that the id of a change, or of another
    look, may be its own too: only a change is held to its id.
    """

    who: Who
    address: bytes
    request: Request
    arguments: Any

    @property
    def name(self) -> str:
        """The request's name at root and execution: clients choose their ids, so the client is part of it.

        So is what it says: an id that is forgotten here may come again for something else, and there no name is.
        """
        name = name_of(self.who.identity, self.request.id, digest_of(self.request))
        return name if VERBS[self.request.verb].is_change else f"look {name}"


class Doorkeeper:
    """Hears every message of a door, answers those that come to nothing, and gives the others on."""

    def __init__(self, audit: Audit, clients_file: Path | None, clock: Clock, log: Log) -> None:
        """Take the audit trail, and the list of clients where there is a guarded door; ``recover`` reads both."""
        self._audit, self._file, self._clock, self._log = audit, clients_file, clock, log
        self._gate, self._memory, self._refusals = Gate(), Memory(), Refusals()
        self._mark: tuple[int, int, int] | None = None
        self._list_fault = ""
        self._has_list = False
        self._door: DoorState | None = None
        self._open: dict[str, tuple[bytes, int]] = {}
        self._counts: dict[str, int] = {}
        self._record_due_ns = 0

    def recover(self) -> list[tuple[str, Remembered]]:
        """Remember the changes that were asked for before, and read the list of clients.

        Gives those changes with the names of their requests, in the order in which they were taken.
        """
        found: list[tuple[str, Remembered]] = []
        for identity, request, change in self._audit.remembered():
            self._memory.restore(identity, request, change)
            found.append((name_of(identity, request, change.digest), change))
        self._read_list()
        return found

    # --- requests -------------------------------------------------------------------------------

    def hear(self, message: ControlRequest, effects: Effects) -> Asked | None:
        """Take one message; give the request that is to be carried out, None where it has its answer already."""
        if message.door != LOCAL:
            self._read_list()
        elif words := why_barred(message.peer):
            self._refuse(STRANGER, message, refusal_of("", Code.UNAUTHORISED, words), effects)
            return None
        who = self._gate.who(message.door, message.user)
        if who is None:
            words = "this key is not listed any more"
            self._refuse(STRANGER, message, refusal_of("", Code.UNAUTHORISED, words), effects)
            return None
        if not self._gate.may_ask(who, self._clock.monotonic_ns()):
            self._refuse(who, message, refusal_of("", Code.RATE_LIMITED, "too many requests; wait a second"), effects)
            return None
        request = read_request(message.frames)
        if message.door != LOCAL and message.address[1] != OWN_ADDRESS:
            words = "the connection has a routing id of its own choice; set none"
            request = Fault(Code.MALFORMED, words, request.id)
        if isinstance(request, Fault):
            self._refuse(who, message, refusal_of(request.id, request.code, request.words), effects)
            return None
        found = self._check(who, request)
        if isinstance(found, Reply):
            self._refuse(who, message, found, effects, request)
            return None
        asked = Asked(who, message.address, request, found)
        is_change = VERBS[request.verb].is_change
        return self._once(asked, message, effects) if is_change else self._look(asked, message, effects)

    def finish(self, asked: Asked, reply: Reply, effects: Effects) -> None:
        """Answer a request that was carried out or refused by its verb; a change's answer is written down first."""
        address, _ = self._open.pop(asked.name, (asked.address, 0))
        verb = VERBS[asked.request.verb]
        if verb.is_change:
            self._memory.end(asked.who.identity, asked.request.id, reply)
            self._audit.answered(asked.who, asked.request.verb, reply, self._clock.wall_ns())
        self._send(asked.who, address, reply, effects)

    def _check(self, who: Who, request: Request) -> Any:
        """Give the arguments of a request that this client may send, or the refusal."""
        verb = VERBS.get(request.verb)
        if verb is None:
            words = f"unknown verb {request.verb[:100]!r}; known are {', '.join(sorted(VERBS))}"
            return refusal_of(request.id, Code.UNKNOWN_VERB, words)
        if who.role < verb.role:
            words = f"{request.verb} needs the role {verb.role.word}; {who.name} has {who.role.word}"
            return refusal_of(request.id, Code.UNAUTHORISED, words)
        arguments = read_arguments(verb, request.arguments)
        if isinstance(arguments, str):
            return refusal_of(request.id, Code.BAD_ARGUMENTS, f"{request.verb}: {arguments}"[:500])
        if self._memory.find(who, request.id) is None and (who.door != LOCAL or request.at is not None):
            stale = staleness(request, self._clock.wall_ns())
            if stale:
                return refusal_of(request.id, Code.STALE, stale)
        return arguments

    def _look(self, asked: Asked, message: ControlRequest, effects: Effects) -> Asked | None:
        """Let through what changes nothing; the same one again while it waits only moves where its answer goes."""
        is_waiting = asked.name in self._open
        words = ""
        if not is_waiting and len(self._open) >= WAITING_MAX:
            words = f"{WAITING_MAX} requests wait for their answers; wait a second"
        elif not self._gate.may_read(asked.who, self._clock.monotonic_ns()):
            words = "too many bytes of answers; wait a second"
        if words:
            refusal = refusal_of(asked.request.id, Code.RATE_LIMITED, words)
            self._refuse(asked.who, message, refusal, effects, asked.request)
            return None
        self._open[asked.name] = asked.address, self._clock.monotonic_ns()
        return None if is_waiting else asked

    def _once(self, asked: Asked, message: ControlRequest, effects: Effects) -> Asked | None:
        """Let a change through the first time, once it is on the disk; later give the first one's answer."""
        who, request = asked.who, asked.request
        verb, digest = VERBS[request.verb], digest_of(request)
        known = self._memory.find(who, request.id)
        if known is None:
            refusal = self._begin(asked, verb, digest, message.peer)
            if refusal is not None:
                self._refuse(who, message, refusal, effects, request)
                return None
        elif known.digest != digest:
            words = f"the id {plain_text(request.id)} was used before, for another request; choose a new one"
            self._refuse(who, message, refusal_of(request.id, Code.REPLAYED, words), effects, request)
            return None
        elif known.reply is not None:
            self._send(who, asked.address, known.reply, effects)
            return None
        elif asked.name not in self._open and not (verb.is_repeatable and known.run == self._audit.run):
            words = "the console fell while this was carried out; look at status, then ask again with a new id"
            self.finish(asked, refusal_of(request.id, Code.INTERRUPTED, words), effects)
            return None
        is_waiting = asked.name in self._open
        self._open[asked.name] = asked.address, self._clock.monotonic_ns()
        return None if is_waiting else asked

    def _begin(self, asked: Asked, verb: Verb, digest: str, peer: str) -> Reply | None:
        """Write a change down; give the refusal where it must not take effect."""
        who, request, now_ns = asked.who, asked.request, self._clock.wall_ns()
        is_full = len(self._open) >= WAITING_MAX and not verb.is_never_barred
        if is_full or not self._gate.may_change(who, self._clock.monotonic_ns()):
            return refusal_of(request.id, Code.RATE_LIMITED, "too many changes; wait a second")
        if not self._memory.begin(who, request.id, Remembered(request.verb, digest, now_ns, self._audit.run)):
            return refusal_of(request.id, Code.RATE_LIMITED, "too many changes within two minutes; wait")
        told = {plain_text(key): plain_text(value) for key, value in request.arguments.items()}
        self._log.info("verb", client=who.name, verb=request.verb, request=request.id, arguments=told)
        if self._audit.asked(who, request, peer, digest, now_ns) or verb.is_never_barred:
            return None
        self._memory.forget(who, request.id)
        words = (
            f"the audit trail cannot be written, so nothing was changed; halt and stop still work: {self._audit.fault}"
        )
        return refusal_of(request.id, Code.NOT_RECORDED, words)

    def _send(self, who: Who, address: bytes, reply: Reply, effects: Effects) -> None:
        data = msgspec.json.encode(reply)
        self._counts[reply.code] = self._counts.get(reply.code, 0) + 1
        self._gate.sent(who, len(data), self._clock.monotonic_ns())
        effects.answer(address, data)

    def _refuse(
        self, who: Who | str, message: ControlRequest, reply: Reply, effects: Effects, request: Request | None = None
    ) -> None:
        """Answer an attempt that comes to nothing, and write it down, or count it."""
        key = fingerprint(message.user) if message.user else ""
        entry = Entry(
            at_ns=self._clock.wall_ns(),
            kind="refused",
            door=message.door,
            client="" if isinstance(who, str) else who.name,
            key=key or (LOCAL if message.door == LOCAL else ""),
            role="" if isinstance(who, str) else who.role.word,
            peer=message.peer,
            request="" if request is None else plain_text(request.id),
            verb="" if request is None else plain_text(request.verb)[:100],
            code=reply.code,
            error=reply.error,
        )
        self._record_refusal(who if isinstance(who, str) else who.identity, entry)
        self._counts[reply.code] = self._counts.get(reply.code, 0) + 1
        effects.answer(message.address, msgspec.json.encode(reply))

    def _record_refusal(self, identity: str, entry: Entry) -> None:
        left_out = self._refusals.records(identity, (entry.door, entry.code), self._clock.monotonic_ns())
        if left_out is not None:
            self._log.warning("control.refused", client=entry.client, code=entry.code, error=plain_text(entry.error))
            self._audit.write(msgspec.structs.replace(entry, left_out=left_out))

    # --- the guarded door -----------------------------------------------------------------------

    def admits(self, key: str, peer: str) -> bool:
        """Say whether a proved key is listed; one that is not is written down."""
        self._read_list()
        if key in self._gate.clients:
            return True
        self._counts[Code.UNAUTHORISED] = self._counts.get(Code.UNAUTHORISED, 0) + 1
        entry = Entry(
            at_ns=self._clock.wall_ns(),
            kind="refused",
            door="guarded",
            key=fingerprint(key),
            peer=peer,
            code=Code.UNAUTHORISED.value,
            error="a key that is not listed",
        )
        self._record_refusal(STRANGER, entry)
        return False

    def hear_door(self, state: DoorState) -> None:
        """Take how the guarded door is; what is new about it is written down."""
        was = self._door
        self._door = state
        strangers = state.strangers - (was.strangers if was is not None else 0)
        if strangers > 0:
            words = f"connections without a key, or with none that is CURVE's: {strangers}"
            entry = self._note("refused", words, Code.UNAUTHORISED.value)
            self._record_refusal(STRANGER, entry)
        if state.fault and (was is None or was.fault != state.fault):
            self._log.warning("control.door", fault=state.fault)
            self._record_refusal("door", self._note("noted", state.fault))

    def tend(self) -> None:
        """Look after the list of clients, requests that nobody answers, and what is still to be written down."""
        self._read_list()
        now_ns = self._clock.monotonic_ns()
        for name in [name for name, (_, since_ns) in self._open.items() if now_ns - since_ns > WAIT_NS_MAX]:
            del self._open[name]
        if now_ns < self._record_due_ns:
            return
        self._record_due_ns = now_ns + RECORD_NS
        if self._audit.fault:
            self._audit.write(self._note("noted", f"the trail has a gap: it could not be written: {self._audit.fault}"))
        self._write_counts(self._refusals.due(now_ns))

    def stop(self) -> None:
        """Write down what was only counted before nobody knows it any more."""
        self._write_counts(self._refusals.rest())

    def _write_counts(self, counts: Iterable[tuple[str, Likeness, int]]) -> None:
        for identity, (door, code), count in counts:
            self._audit.write(self._left_out(identity, door, code, count))

    def _left_out(self, identity: str, door: str, code: str, count: int) -> Entry:
        """Give the record of what was only counted; without a code these were words about the door itself."""
        entry = self._note("refused", "more of the same", code)
        if not code:
            entry = self._note("noted", f"more of the same: the {door} door")
        return msgspec.structs.replace(entry, door=door, key=identity, left_out=count)

    def alarms(self) -> list[str]:
        """Say what an operator should look at."""
        found = [self._list_fault] if self._list_fault else []
        if self._door is not None and self._door.fault:
            found.append(f"the guarded control door: {self._door.fault}")
        if self._audit.fault:
            found.append(f"changes are refused, but halt and stop work: the audit trail: {self._audit.fault}")
        return found

    def facts(self) -> dict[str, Any]:
        """Say how the doors are, for the status document."""
        door = msgspec.structs.asdict(self._door) if self._door is not None else {}
        return {"guarded": door, "clients": len(self._gate.clients), "answers": dict(self._counts)}

    def _read_list(self) -> None:
        """Take in an edited list of clients. One with a fault changes nothing, and one that is gone lists nobody."""
        if self._file is None or (mark := mark_of(self._file)) == self._mark:
            return
        self._mark = mark
        found = read_clients(self._file)
        if isinstance(found, str):
            self._list_fault = f"{found}. The clients that were listed before stay so"
            self._log.warning("control.clients", fault=found)
            return
        self._list_fault = ""
        self._take_list(found)

    def _take_list(self, found: Iterable[Client]) -> None:
        old = self._gate.clients
        self._gate.take_list(found)
        lines = changes(old, self._gate.clients) if self._has_list else listing(self._gate.clients)
        self._has_list = True
        for line in lines:
            self._log.info("control.clients", change=line)
            self._audit.write(self._note("noted", f"clients: {line}"))

    def note(self, words: str) -> None:
        """Write down what came of a change after it was answered."""
        self._audit.write(Entry(at_ns=self._clock.wall_ns(), kind="noted", door="desk", reason=words))

    def _note(self, kind: str, words: str, code: str = "") -> Entry:
        return Entry(at_ns=self._clock.wall_ns(), kind=kind, door="guarded", code=code, error=words)


def name_of(identity: str, request: str, digest: str) -> str:
    """Name a client's request among all clients'. Stores have it as a key: an id of many bytes goes by its digest."""
    said = request.encode()
    if len(said) > ID_LENGTH_MAX:
        request = hashlib.blake2b(said, digest_size=32).hexdigest()
    return f"{identity} {request} {digest[:DIGEST_SHORT]}"


def why_barred(peer: str) -> str:
    """Say why a local peer may not command: it is a process under our own root supervisor, such as a strategy; or "".

    The kernel tells a Unix socket's other side by uid, gid and pid, in that order. One that it cannot name is none of
    ours. Of one that is gone nobody can tell any more, and nobody is there to hear the answer: it could be a strategy
    that said its word and fell.
    """
    ours, sender = os.getppid(), peer.rpartition(":")[2]
    pid = sender
    for _ in range(ANCESTORS_MAX):
        if not pid.isdecimal() or int(pid) <= 1:
            return ""
        try:
            stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
        except OSError:
            if pid == sender:
                return "whoever sent this is gone, so nobody can tell whether it was a process of the desk itself"
            pid = sender  # one between has just ended, and who was below it has another parent
            continue
        pid = stat.rpartition(")")[2].split()[1]
        if int(pid) == ours:
            return "a process of the desk itself sends no commands"
    return ""
