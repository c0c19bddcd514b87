"""A storm: faults as scheduled over a desk that trades, then calm, then what must hold."""

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from actors.arguments import store_path
from actors.journal import read_journal
from actors.strategy_memory import NOW, TABLE, Kept, unsealed
from actors.words import desk_codec
from desk.identity import order_id
from desk.messages import OrderState
from runtime.errors import StoreError
from runtime.folder import socket_folder, store_folders
from runtime.store import Reader
from tests.chaos import verdict
from tests.chaos.ground import BALANCE, TRADERS, WITNESS_CALM, WITNESS_HIT, WITNESSED, Ground, Wishes
from tests.chaos.schedule import Fault
from tests.desk_run.falls import evaluated, falls, published
from tests.exchange.client import LINK
from tests.exchange.wire import Dump
from tests.falls.oracle import Books, faults

LOOK_S = 0.02
#: How long everything may take that must come by itself once nothing goes wrong any more.
PATIENCE_S = 120.0
#: An order that is UNKNOWN still so long after the storm waits for a person.
UNDECIDED_S = 15.0
STOP_S = 60.0
GONE_S = 10.0
#: Ends of root that somebody caused: killed (by us, or by the watchdog), or given up for want of room on the disk.
KILLED, GAVE_UP = -signal.SIGKILL, 1
TROUBLE = {
    "submit.late_cut": 0.05,
    "submit.drop_reply": 0.1,
    "submit.late": 0.1,
    "submit.error_before": 0.05,
    "submit.error_after": 0.1,
    "submit.garbage": 0.02,
    "cancel.drop_reply": 0.1,
    "cancel.race": 0.1,
    "replace.drop_reply": 0.1,
    "look.drop_reply": 0.05,
    "stream.lose": 0.1,
    "stream.repeat": 0.1,
    "stream.reorder": 0.1,
    "stream.cut": 0.03,
    "fill.partial": 0.3,
}


class Storm:
    """One storm over one ground."""

    def __init__(self, ground: Ground, schedule: list[Fault], patience_s: float = PATIENCE_S) -> None:
        """Take what shall go wrong; nothing has yet. What must come by itself is waited for so long."""
        self._ground, self._schedule, self._patience_s = ground, list(schedule), patience_s
        self._began_s = time.monotonic()
        self._timeline: list[str] = []
        self._ends: list[tuple[float, str, Callable[[], object]]] = []
        self._books = Books()
        self._readers: dict[str, Reader] = {}
        self._unknown_since_s: dict[str, float] = {}
        self._wishes = Wishes()
        self._held = (0, 0)
        self.done: Counter[str] = Counter()
        self.resolved: list[str] = []

    def timeline(self) -> str:
        """Give what happened, line by line."""
        return "\n".join(self._timeline)

    def note(self, text: str) -> None:
        """Write a line of the timeline."""
        self._timeline.append(f"{time.monotonic() - self._began_s:8.2f}  {text}")

    def close(self) -> None:
        """Close what was opened to look at the desk."""
        for reader in self._readers.values():
            reader.close()

    # --- the storm ----------------------------------------------------------------------------

    def until_trading(self) -> None:
        """Wait until every strategy has opened something, so that there is something to lose."""
        self._until(lambda: [name for name in TRADERS if not self._has_filled(name)], "nothing filled yet of")
        self._until(self._not_well, "the desk is not well:")
        self._held = self._holdings()
        self._began_s = time.monotonic()
        self.note("the desk trades; the storm begins")

    def until_executions(self, number: int) -> None:
        """Wait until so many orders were carried out at the exchange."""
        self._until(lambda: [] if len(self._ground.dump().executions) >= number else [f"{number} executions"], "no")

    def blow(self) -> None:
        """Let everything go wrong that is scheduled."""
        while self._schedule or self._ends:
            at_s = time.monotonic() - self._began_s
            while self._schedule and self._schedule[0].at_s <= at_s:
                fault = self._schedule.pop(0)
                self.done[fault.kind] += 1
                getattr(self, f"_{fault.kind}")(fault)
            for end in [end for end in self._ends if end[0] <= at_s]:
                self._ends.remove(end)
                self.note(f"   over: {end[1]}")
                end[2]()
            self._pause()

    def _pause(self) -> None:
        code = self._ground.look_after_root()
        if code is not None:
            self.note(f"root ended with {code}; it is started again")
        time.sleep(LOOK_S)

    def _later(self, fault: Fault, end: Callable[[], object]) -> None:
        self._ends.append((time.monotonic() - self._began_s + fault.for_s, str(fault), end))

    def _hit(self, name: str, number: signal.Signals) -> int:
        process = self._ground.send(name, number)
        if process < 0:
            self.note(f"   {name} is down just now")
        return process

    def _kill(self, fault: Fault) -> None:
        self.note(str(fault))
        for name in fault.target.split(", "):
            process = self._hit(name, signal.SIGKILL)
            if process >= 0:
                os.close(process)

    _kill_three = _kill_root = _kill

    def _stop(self, fault: Fault) -> None:
        self.note(str(fault))
        process = self._hit(fault.target, signal.SIGSTOP)
        if process < 0:
            return

        def go_on() -> None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(process, signal.SIGCONT)
            os.close(process)

        self._later(fault, go_on)

    _stop_root = _stop

    def _cut_venue(self, fault: Fault) -> None:
        self.note(str(fault))
        self._ground.venue.cut()

    def _halve_venue(self, fault: Fault) -> None:
        self.note(str(fault))
        self._ground.venue.halve()

    def _stall_venue(self, fault: Fault) -> None:
        self.note(str(fault))
        self._ground.venue.stall(is_on=True)
        self._later(fault, partial(self._ground.venue.stall, is_on=False))

    def _shut_venue(self, fault: Fault) -> None:
        self.note(str(fault))
        self._ground.venue.shut(is_on=True)
        self._later(fault, partial(self._ground.venue.shut, is_on=False))

    def _manners(self, fault: Fault) -> None:
        self.note(f"{fault}: the exchange misbehaves")
        self._ground.rates(TROUBLE, seed=int(fault.at_s * 100))
        self._later(fault, partial(self._ground.rates, {}))

    def _cut_feed(self, fault: Fault) -> None:
        self.note(str(fault))
        self._ground.feed.cut()

    def _stall_feed(self, fault: Fault) -> None:
        self.note(str(fault))
        self._ground.feed.stall(is_on=True)
        self._later(fault, partial(self._ground.feed.stall, is_on=False))

    def _full_disk(self, fault: Fault) -> None:
        self.note(str(fault))
        filler = self._ground.desk.state / "filler"
        fill(filler)

        def make_room() -> None:
            filler.unlink(missing_ok=True)
            self._verb("resume", reason="there is room on the disk again")

        self._later(fault, make_room)

    def _halt(self, fault: Fault) -> None:
        self._verb("halt", reason="a storm")
        self._later(fault, partial(self._verb, "resume", reason="the storm goes on"))

    def _disable(self, fault: Fault) -> None:
        position = "flatten" if int(fault.at_s * 100) % 2 else "hold"
        self._verb("disable", name=fault.target, position=position, reason="a storm")
        self._later(fault, partial(self._verb, "enable", name=fault.target, reason="the storm goes on"))

    def _restart(self, fault: Fault) -> None:
        self._verb("restart", path=fault.target, reason="a storm")

    def _cancel(self, fault: Fault) -> None:
        self._verb("cancel", name=fault.target, reason="a storm")

    def _flatten(self, fault: Fault) -> None:
        self._verb("flatten", strategy=fault.target, reason="a storm")

    def _reconcile(self, _fault: Fault) -> None:
        self._verb("reconcile", reason="a storm")

    def _edit(self, fault: Fault) -> None:
        self.note(str(fault))
        edits = {
            "guest": {"has_guest": True},
            "limits": {"max_positions": 3},
            "parameters": {"pieces": 2},
            "enabled": {"enabled": False},
            "broken": {"is_broken": True},
        }
        self._write(self._wishes._replace(**edits[fault.target]))
        back = edits[fault.target].keys()

        def mend() -> None:
            was = Wishes()
            self._write(self._wishes._replace(**{key: getattr(was, key) for key in back}))

        self._later(fault, mend)

    def _write(self, wishes: Wishes) -> None:
        self._wishes = wishes
        self._ground.edit(wishes)
        self._verb("reload", reason="a storm")

    def _verb(self, verb: str, **arguments: Any) -> None:
        ended = self._ground.ask(verb, **arguments)
        told = " ".join(str(value) for key, value in arguments.items() if key != "reason")
        self.note(f"{verb} {told}: {ended}".replace(" :", ":"))

    # --- calm ---------------------------------------------------------------------------------

    def calm(self) -> None:
        """Let nothing go wrong any more, and wait until every strategy trades again, in and out.

        Raises:
            AssertionError: It did not come to that.
        """
        self.note("calm")
        ground = self._ground
        ground.venue.heal()
        ground.feed.heal()
        ground.rates({})
        self._wishes = Wishes()
        ground.edit(self._wishes)
        self._until(self._not_well, "the desk is not well:")
        self.note("everything runs, and the gate is open")
        since_ns = time.time_ns()
        self._until(lambda: verdict.idle(self.books(), tuple(TRADERS), since_ns) or self._settle_unknown(), "no life:")
        self.note("every strategy has opened and closed something again")

    def _not_well(self) -> list[str]:
        """Do what an operator does behind a storm, and say what is not well yet."""
        status = self._ground.status()
        if not status:
            return ["nobody answers"]
        wrong: list[str] = []
        if status["desk"]["halted"]:
            wrong.append(f"halted: {status['desk']['halted']}")
            self._verb("resume", reason="the storm is over")
        overridden = [row["name"] for row in status["strategies"] if row["override"] is False]
        for name in overridden:
            self._verb("enable", name=name, reason="the storm is over")
        rows = {row["path"]: row["state"] for row in status["tree"] if row["kind"] != "node"}
        wrong += [f"{path} is {state}" for path, state in rows.items() if state != "RUNNING"]
        wrong += [f"{name} is disabled" for name in overridden]
        if not rows:
            wrong.append("no process runs")
        names = {row["name"] for row in status["strategies"]}
        if names != {*TRADERS, WITNESS_HIT, WITNESS_CALM}:
            wrong.append(f"the desk has {sorted(names)}")
            self._verb("reload", reason="the storm is over")
        if status["desk"]["gate"]:
            wrong.append(f"the gate is closed: {status['desk']['gate']}")
        return wrong

    def _settle_unknown(self) -> list[str]:
        """Do what a person has to where names are unique for ever: look at the venue, and say that it never was."""
        wrong: list[str] = []
        there = {order.client_id.partition(LINK)[0] for order in self._ground.dump().orders}
        unknown = [o for o in self.books().ledger.working.values() if o.state is OrderState.UNKNOWN]
        now_s = time.monotonic()
        for order in unknown:
            wrong.append(f"in doubt: {order.order_id} ({order.purpose}): {order.reason}")
            since_s = self._unknown_since_s.setdefault(order.order_id, now_s)
            if self._ground.rules == "alpaca" and now_s - since_s > UNDECIDED_S and order.client_id not in there:
                self._verb("resolve", order=order.order_id, outcome="never", reason="the venue has no such order")
                self.resolved.append(order.order_id)
        return wrong

    def rest(self) -> None:
        """Let the market move nothing any more, and wait until the desk is at rest and all of it is right.

        Raises:
            AssertionError: It did not come to that; the text says what is wrong.
        """
        self._ground.market.is_moving = False
        self.note("the market moves nothing any more")
        self._until(self.wrong, "wrong:")
        self.note("at rest, and all is right")

    def wrong(self) -> list[str]:
        """Say what is not as it should be; [] once the desk is at rest and agrees with its exchange."""
        try:
            unheard = list(self._unheard())
        except StoreError as error:
            return [str(error)]
        dump = self._ground.dump()
        if unheard or dump.pending:
            return unheard or [f"{dump.pending} requests are under way"]
        return [*self._books_against(dump), *self._settle_unknown()]

    def _books_against(self, dump: Dump) -> Iterator[str]:
        books = self.books()
        yield from faults(books, dump)
        yield from verdict.money(books, dump, BALANCE)
        yield from verdict.exits(books)

    def _unheard(self) -> Iterator[str]:
        """Say which wishes have not come through to the journal yet, and which of the last bars were not met."""
        booked = self.books().orders
        for name in TRADERS:
            data = self._reader(f"strategies/{name}").get(TABLE, NOW)
            kept = unsealed(data, Kept) if data is not None else None
            pending = kept.pending if kept is not None else ()
            yield from (
                f"{intent.intent_id} of {name} was not judged"
                for intent in pending
                if order_id(intent.intent_id) not in booked
            )
        risk = self._reader("risk")
        waiting = [*risk.scan("waiting"), *risk.scan("unbooked")]
        if waiting:
            yield f"{len(waiting)} verdicts are not booked"

    # --- the end ------------------------------------------------------------------------------

    def end(self) -> list[str]:
        """Bring the desk down and say what is wrong with what it leaves; [] where nothing is."""
        ground = self._ground
        wrong = self._left_open()
        code = ground.stop(STOP_S)
        self.note(f"stopped with {code}")
        if code != 0:
            wrong.append(f"the desk was stopped and ended with {code}: {ground.desk.said()[-2000:]}")
        until_s = time.monotonic() + GONE_S
        while (left := ground.desk.descendants()) and time.monotonic() < until_s:
            time.sleep(LOOK_S)
        wrong += [f"left behind: process {pid}" for pid in left]
        if (ground.desk.state / "endpoints").exists():
            wrong.append("left behind: endpoints, as if a desk ran")
        sockets = socket_folder(ground.desk.state)
        wrong += [f"left behind: {file}" for file in sockets.iterdir()]
        self.close()
        self._readers.clear()
        wrong += list(self._stores())
        wrong += list(self._books_against(ground.dump()))
        wrong += list(self._witnesses())
        wrong += self._unexplained()
        return wrong

    def _holdings(self) -> tuple[int, int]:
        """Count what root has open, and the files among the sockets."""
        return self._ground.root_descriptors(), len(list(socket_folder(self._ground.desk.state).iterdir()))

    def _left_open(self) -> list[str]:
        """Say what the running desk holds that it did not hold before the storm, with the same processes."""
        self._until(self._not_well, "the desk is not well:")
        try:
            self._until(lambda: [] if self._holds_no_more() else ["more"], "it holds")
        except AssertionError:
            return [
                f"left open: root held {self._held} descriptors and socket files before, {self._holdings()} behind it"
            ]
        return []

    def _holds_no_more(self) -> bool:
        return all(now <= before for now, before in zip(self._holdings(), self._held, strict=True))

    def _stores(self) -> Iterator[str]:
        for folder in store_folders(self._ground.desk.state):
            reader = Reader.open(folder)
            try:
                reader.verify()
            except StoreError as error:
                yield f"damaged: {error}"
            finally:
                reader.close()

    def _witnesses(self) -> Iterator[str]:
        all_bars = published(self._ground.desk)
        for name in (WITNESS_HIT, WITNESS_CALM):
            state = evaluated(self._ground.desk, name).state
            yield from verdict.bars(name, all_bars, WITNESSED, state)

    def _unexplained(self) -> list[str]:
        """Name ends that nobody caused."""
        caused = {KILLED} | ({GAVE_UP} if self.done["full_disk"] else set())
        wrong = [f"root ended by itself with {code}" for code in self._ground.ends if code not in caused]
        if self.done["full_disk"]:
            return wrong  # it cannot keep its bar then and falls, and the log has torn lines
        fallen = falls(self._ground.desk)[f"strategies/{WITNESS_CALM}"]
        if fallen:
            wrong.append(f"{WITNESS_CALM}, whom nothing hit, fell {fallen} times")
        return wrong

    # --- looking ------------------------------------------------------------------------------

    def books(self) -> Books:
        """Give the journal so far, folded."""
        self._books.add(read_journal(self._reader("execution"), desk_codec(), self._books.head))
        return self._books

    def books_so_far(self) -> Books:
        """Give the journal as it was when it was looked at last."""
        return self._books

    def _reader(self, path: str) -> Reader:
        if path not in self._readers:
            self._readers[path] = Reader.open(store_path(self._ground.desk.state, path))
        return self._readers[path]

    def _has_filled(self, name: str) -> bool:
        with suppress(StoreError):
            return any(order.strategy == name and order.filled_quantity for order in self.books().orders.values())
        return False

    def _until(self, what: Callable[[], list[str]], text: str) -> None:
        """Wait until a list of complaints is empty.

        Raises:
            AssertionError: It is not, in a time in which it should.
        """
        deadline_s = time.monotonic() + self._patience_s
        while complaints := what():
            if time.monotonic() > deadline_s:
                raise AssertionError(f"{text} " + "\n  ".join(complaints))
            self._pause()


def fill(file: Path) -> None:
    """Take all the room that a disk has left."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        size = 1 << 20
        length = 0
        while size:
            try:
                os.posix_fallocate(descriptor, length, size)
                length += size
            except OSError:
                size //= 2
    finally:
        os.close(descriptor)
