"""Order paths as one meets them, each a program that is killed again and again, for the oracle to judge.

Run ``python -m tests.falls.naive PROTOCOL FOLDER SEED ORDERS OPTIONS``: lives follow each other, each killed with
SIGKILL after some steps, until one has sent everything; then ``FOLDER/claims`` says what the program believes.
"""

import os
import random
import select
import sys
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from actors.venues.port import NotSentError, Refused, UnclearError, UnreachableError
from desk.identity import order_id
from desk.messages import OrderType, Side, SubmitOrder
from desk.units import NS_PER_MS
from runtime.effects import Put
from runtime.store import Store
from tests.exchange.client import TIMEOUT_S
from tests.falls.points import MinedPort, end, nothing

SYMBOL = "AAA"
#: A life has this many steps at most; sending one order takes about eight.
STEPS_MAX = 16
DEADLINE_NS, MARGIN_NS = 250 * NS_PER_MS, 100 * NS_PER_MS
INTENT, DONE = "intent", "done"


class Kept(msgspec.Struct, frozen=True):
    """What the program has written down about one order."""

    state: str
    attempt: int = 0
    deadline_ns: int = 0


class Claimed(msgspec.Struct, frozen=True):
    """What the program says in the end: it sent the order under these names, and it is filled."""

    order: str
    names: list[str]
    filled: Decimal


class Fate:
    """Ends the process at a step that chance has chosen."""

    def __init__(self, seed: str) -> None:
        """Choose."""
        self._left = random.Random(seed).randint(1, STEPS_MAX)

    def at(self, _point: str, last: Callable[[], object] = nothing) -> None:
        """Take a step, perhaps the last one."""
        self._left -= 1
        if self._left == 0:
            last()
            end()


class Path0:
    """Send, then record: what was sent and not recorded is sent again."""

    deadline_ns = 0

    def __init__(self, port: MinedPort, store: Store, fate: Fate) -> None:
        """Take up what the last life left."""
        self._port, self._store, self._fate = port, store, fate

    def kept(self, order: str) -> Kept | None:
        """Read what is written down about an order."""
        data = self._store.get("orders", order.encode())
        return None if data is None else msgspec.msgpack.decode(data, type=Kept)

    def keep(self, order: str, kept: Kept) -> Kept:
        """Write it down."""
        self._fate.at("store.before")
        self._store.commit([Put("orders", order.encode(), msgspec.msgpack.encode(kept))])
        self._fate.at("store.behind")
        return kept

    def name(self, order: str, attempt: int) -> str:
        """Give the name of an attempt at the exchange."""
        return order_id(order, attempt)

    def send(self, order: str, kept: Kept) -> Refused | None:
        """Send one attempt; None where the exchange took it."""
        name = self.name(order, kept.attempt)
        buy = SubmitOrder(name, SYMBOL, Side.BUY, OrderType.MARKET, Decimal(1), None, None, 0, "", kept.deadline_ns)
        answer = self._port.submit(buy)
        return answer if isinstance(answer, Refused) else None

    def deal(self, order: str) -> None:
        """Bring one order to its end."""
        while self.kept(order) is None:
            try:
                self.send(order, Kept(INTENT))
            except (UnclearError, NotSentError):
                continue
            self.keep(order, Kept(DONE))


class Path1(Path0):
    """Record, then send; after a doubt send the same name again and trust the exchange to know it."""

    def deal(self, order: str) -> None:
        """Bring one order to its end."""
        kept = self.kept(order) or self.keep(order, Kept(INTENT))
        while kept.state != DONE:
            try:
                self.send(order, kept)
            except (UnclearError, NotSentError):
                continue
            kept = self.keep(order, Kept(DONE))


class Path2(Path0):
    """Record, then send; after a doubt ask, and send the same name again where nothing is found."""

    def deal(self, order: str) -> None:
        """Bring one order to its end."""
        kept = self.kept(order)
        is_in_doubt = kept is not None
        kept = kept or self.keep(order, Kept(INTENT))
        while kept.state != DONE:
            try:
                if not is_in_doubt or not self._port.find([self.name(order, 0)]):
                    self.send(order, kept)
                kept = self.keep(order, Kept(DONE))
            except (UnclearError, NotSentError, UnreachableError):
                is_in_doubt = True


class Path3(Path0):
    """Record with a deadline, then send; after a doubt ask behind the deadline, and only then try another name."""

    is_refusal_success = False

    def deal(self, order: str) -> None:
        """Bring one order to its end."""
        kept = self.kept(order)
        is_in_doubt = kept is not None
        kept = kept or self.keep(order, self._attempt(0))
        while kept.state != DONE:
            try:
                refusal = self._resolved(order, kept) if is_in_doubt else self.send(order, kept)
            except (UnclearError, NotSentError, UnreachableError):
                is_in_doubt = True
                continue
            is_in_doubt = False
            is_late = refusal is not None and refusal.is_deadline and not self.is_refusal_success
            again = self._attempt(kept.attempt + 1)
            kept = self.keep(order, again if is_late else Kept(DONE, kept.attempt))

    def _attempt(self, number: int) -> Kept:
        return Kept(INTENT, number, time.time_ns() + DEADLINE_NS)

    def _resolved(self, order: str, kept: Kept) -> Refused | None:
        """Ask until the exchange has the attempt, or can have it no more."""
        while not self._port.find([self.name(order, kept.attempt)]):
            asked_ns = time.time_ns()
            if asked_ns > kept.deadline_ns + MARGIN_NS and not self._port.find([self.name(order, kept.attempt)]):
                return Refused("it never was", is_deadline=True)
            select.select([], [], [], 0.05)
        return None


class Path3Deaf(Path3):
    """The same, but a refusal behind the deadline is an answer, and an answer is taken for success."""

    is_refusal_success = True

    def _resolved(self, order: str, kept: Kept) -> Refused | None:
        refusal = super()._resolved(order, kept)
        return refusal if refusal is None else self.send(order, kept)


PROTOCOLS: dict[str, type[Path0]] = {"p0": Path0, "p1": Path1, "p2": Path2, "p3": Path3, "p3_deaf": Path3Deaf}


def live(protocol: str, folder: Path, orders: int, options: dict[str, Any], fate: Fate) -> None:
    """Live until everything is sent, or fate strikes."""
    store = Store.open(folder / "store", is_synced=False, map_bytes=16 << 20)
    path = PROTOCOLS[protocol](MinedPort({"timeout_s": TIMEOUT_S, **options}, fate.at), store, fate)
    claims: list[Claimed] = []
    for number in range(orders):
        order = f"{protocol}-{number}"
        path.deal(order)
        kept = path.kept(order)
        assert kept is not None, "it was dealt with"
        names = [path.name(order, attempt) for attempt in range(kept.attempt + 1)]
        claims.append(Claimed(order, names, Decimal(1)))
    (folder / "claims").write_bytes(msgspec.json.encode(claims))


def main() -> None:
    """Let one life follow the other."""
    protocol, folder, seed, orders, options = sys.argv[1:6]
    lives = 0
    while True:
        lives += 1
        pid = os.fork()
        if pid == 0:
            live(protocol, Path(folder), int(orders), msgspec.json.decode(options), Fate(f"{seed} {lives}"))
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        if os.waitstatus_to_exitcode(status) == 0:
            break
        assert os.waitstatus_to_exitcode(status) == -9, "a life ends by kill -9 only"
    sys.stdout.write(f"{lives - 1}\n")


if __name__ == "__main__":
    main()
