"""The audit trail: every change that was asked for, before it takes effect, what came of it, and who was refused.

It is a store with a chained log, written by the console alone. Nothing in it is ever changed or removed.
"""

import hashlib
from collections.abc import Iterator
from typing import Any

import msgspec

from actors.console.gate import REMEMBERED_NS, Remembered, Who
from actors.console.protocol import Reply, Request
from runtime.effects import Append
from runtime.errors import StoreError
from runtime.store import Reader, Store

#: Records that a new incarnation reads, for the changes that it must not carry out again; more where so many are
#: younger than a request that may still come again.
READ_BACK = 20_000
#: Largest answer that is kept with its change.
RESULT_BYTES_MAX = 16 * 1024
MAP_BYTES = 4 << 30


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One record, as JSON.

    ``kind`` is ``asked`` (a change, before its effect), ``answered`` (what came of it), ``refused`` (an attempt that
    was none) or ``noted`` (something about the doors). ``key`` is the fingerprint of the client's key. ``run`` names
    the run of the desk. ``left_out`` counts refused attempts like this one that were not recorded.
    """

    at_ns: int
    kind: str
    run: str = ""
    door: str = ""
    client: str = ""
    key: str = ""
    role: str = ""
    peer: str = ""
    request: str = ""
    verb: str = ""
    arguments: dict[str, Any] = {}
    reason: str = ""
    digest: str = ""
    code: str = ""
    error: str = ""
    result: dict[str, Any] = {}
    left_out: int = 0


def digest_of(request: Request) -> str:
    """Name what a request wants, 32 hex digits: its verb and its arguments, in whatever order they were written."""
    said = msgspec.json.encode([request.verb, request.arguments], order="deterministic")
    return hashlib.blake2b(said, digest_size=16).hexdigest()


def entries(reader: Reader, after: int = 0) -> Iterator[tuple[int, Entry]]:
    """Give (number, record) of the trail behind ``after``, oldest first."""
    for sequence, data in reader.records(after):
        yield sequence, msgspec.json.decode(data, type=Entry)


class Audit:
    """The trail as its one writer holds it. Each record is on the disk when its method returns True."""

    def __init__(self, store: Store, run: str) -> None:
        """Continue the trail in ``store``; ``run`` names this run of the desk."""
        self._store = store
        self.run = run
        self.fault = ""
        """Why the last record could not be written; "" where it could."""

    def write(self, entry: Entry) -> bool:
        """Write one record; False where that is not possible, and ``fault`` says why."""
        data = msgspec.json.encode(msgspec.structs.replace(entry, run=self.run))
        try:
            self._store.commit([Append(self._store.head() + 1, data)])
        except StoreError as error:
            self.fault = str(error)
            return False
        self.fault = ""
        return True

    def asked(self, who: Who, request: Request, peer: str, digest: str, now_ns: int) -> bool:
        """Write down a change before it takes effect."""
        reason = request.arguments.get("reason") or f"{request.verb} without a stated reason"
        return self.write(
            Entry(
                at_ns=now_ns,
                kind="asked",
                door=who.door,
                client=who.name,
                key=who.identity,
                role=who.role.word,
                peer=peer,
                request=request.id,
                verb=request.verb,
                arguments={key: value for key, value in request.arguments.items() if key != "reason"},
                reason=str(reason),
                digest=digest,
            )
        )

    def answered(self, who: Who, verb: str, reply: Reply, now_ns: int) -> bool:
        """Write down what came of a change."""
        result = reply.result if len(msgspec.json.encode(reply.result)) <= RESULT_BYTES_MAX else {}
        return self.write(
            Entry(
                at_ns=now_ns,
                kind="answered",
                client=who.name,
                key=who.identity,
                request=reply.id,
                verb=verb,
                code=reply.code,
                error=reply.error,
                result=result,
            )
        )

    def remembered(self) -> Iterator[tuple[str, str, Remembered]]:
        """Give (identity, id, change) of the changes that were asked for lately, oldest first, with their answers."""
        found: dict[tuple[str, str], Remembered] = {}
        for _, entry in entries(self._store, self._read_from()):
            place = entry.key, entry.request
            if entry.kind == "asked":
                name, position = (str(entry.arguments.get(key, "")) for key in ("name", "position"))
                found[place] = Remembered(
                    entry.verb, entry.digest, entry.at_ns, entry.run, name=name, position=position
                )
            elif entry.kind == "answered" and place in found:
                found[place].reply = Reply(1, entry.request, entry.error, entry.result, entry.code)
        for (identity, request), change in found.items():
            yield identity, request, change

    def _read_from(self) -> int:
        """Say behind which record everything is that a request could still repeat."""
        head = self._store.head()
        newest_ns, after = self._at_ns(head), max(0, head - READ_BACK)
        while after and abs(newest_ns - self._at_ns(after)) < REMEMBERED_NS:  # a clock may have been set back
            after = max(0, after - READ_BACK)
        return after

    def _at_ns(self, sequence: int) -> int:
        return next((entry.at_ns for _, entry in entries(self._store, sequence - 1)), 0) if sequence else 0
