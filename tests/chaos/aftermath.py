"""What comes behind a storm: calm, rest, the end, and at each what must hold."""

import signal
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress

from actors.strategy_memory import NOW, TABLE, Kept, unsealed
from desk.identity import order_id
from desk.messages import OrderState
from runtime.errors import StoreError
from runtime.folder import socket_folder, store_folders
from runtime.store import Reader
from tests.chaos import verdict
from tests.chaos.ground import BALANCE, TRADERS, WITNESS_CALM, WITNESS_HIT, WITNESSED, Wishes
from tests.chaos.watch import LOOK_S, Watch
from tests.desk_run.falls import evaluated, falls, published
from tests.exchange.client import LINK
from tests.exchange.wire import Dump
from tests.falls.oracle import faults

#: An order that is UNKNOWN still so long after the storm waits for a person.
UNDECIDED_S = 15.0
STOP_S = 60.0
GONE_S = 30.0
#: Ends of root that somebody caused: killed (by us, or by the watchdog), or given up for want of room on the disk.
KILLED, GAVE_UP = -signal.SIGKILL, 1


class Aftermath:
    """Whoever looks after a desk before and behind a storm, and judges it."""

    def __init__(self, watch: Watch) -> None:
        """Look after whatever is watched."""
        self._watch = watch
        self._unknown_since_s: dict[str, float] = {}
        self._held: tuple[Counter[str], int] = (Counter(), 0)
        self.resolved: list[str] = []

    def until_trading(self) -> None:
        """Wait until every strategy has opened something, so that there is something to lose."""
        self._watch.until(lambda: [name for name in TRADERS if not self._has_filled(name)], "nothing filled yet of")
        self._watch.until(self._not_well, "the desk is not well:")
        self._watch.until(self._lacks_spare, "root does not hold yet what it holds as a rule:")
        self._held = self._holdings()
        self._watch.begin()
        self._watch.note("the desk trades; the storm begins")

    def until_executions(self, number: int) -> None:
        """Wait until so many orders were carried out at the exchange."""
        self._watch.until(
            lambda: [] if len(self._watch.ground.dump().executions) >= number else [f"{number} executions"], "no"
        )

    def _has_filled(self, name: str) -> bool:
        with suppress(StoreError):
            return any(
                order.strategy == name and order.filled_quantity for order in self._watch.books().orders.values()
            )
        return False

    def calm(self) -> None:
        """Let nothing go wrong any more, and wait until every strategy trades again, in and out.

        Raises:
            AssertionError: It did not come to that.
        """
        self._watch.note("calm")
        ground = self._watch.ground
        ground.venue.heal()
        ground.feed.heal()
        ground.rates({})
        ground.edit(Wishes())
        self._watch.until(self._not_well, "the desk is not well:")
        self._watch.note("everything runs, and the gate is open")
        since_ns = time.time_ns()
        self._watch.until(
            lambda: [*self._settle_unknown(), *verdict.idle(self._watch.books(), tuple(TRADERS), since_ns)], "no life:"
        )
        self._watch.note("every strategy has opened and closed something again")

    def _not_well(self) -> list[str]:
        """Do what an operator does behind a storm, and say what is not well yet."""
        status = self._watch.ground.status()
        if not status:
            return ["nobody answers"]
        wrong: list[str] = []
        if status["desk"]["halted"]:
            wrong.append(f"halted: {status['desk']['halted']}")
            self._watch.verb("resume", reason="the storm is over")
        overridden = [row["name"] for row in status["strategies"] if row["override"] is False]
        for name in overridden:
            self._watch.verb("enable", name=name, reason="the storm is over")
        rows = {row["path"]: row["state"] for row in status["tree"] if row["kind"] != "node"}
        wrong += [f"{path} is {state}" for path, state in rows.items() if state != "RUNNING"]
        wrong += [f"{name} is disabled" for name in overridden]
        if not rows:
            wrong.append("no process runs")
        names = {row["name"] for row in status["strategies"]}
        if names != {*TRADERS, WITNESS_HIT, WITNESS_CALM}:
            wrong.append(f"the desk has {sorted(names)}")
            self._watch.verb("reload", reason="the storm is over")
        if status["desk"]["gate"]:
            wrong.append(f"the gate is closed: {status['desk']['gate']}")
        return wrong

    def _settle_unknown(self) -> list[str]:
        """Do what a person has to where names are unique for ever: look at the venue, and say that it never was."""
        wrong: list[str] = []
        there = {order.client_id.partition(LINK)[0] for order in self._watch.ground.dump().orders}
        unknown = [o for o in self._watch.books().ledger.working.values() if o.state is OrderState.UNKNOWN]
        now_s = time.monotonic()
        for order in unknown:
            wrong.append(f"in doubt: {order.order_id} ({order.purpose}): {order.reason}")
            since_s = self._unknown_since_s.setdefault(order.order_id, now_s)
            if self._watch.ground.rules == "alpaca" and now_s - since_s > UNDECIDED_S and order.client_id not in there:
                self._watch.verb("resolve", order=order.order_id, outcome="never", reason="the venue has no such order")
                self.resolved.append(order.order_id)
        return wrong

    def rest(self) -> None:
        """Let the market move nothing any more, and wait until the desk is at rest and all of it is right.

        Raises:
            AssertionError: It did not come to that; the text says what is wrong.
        """
        self._watch.ground.market.is_moving = False
        self._watch.note("the market moves nothing any more")
        self._watch.until(self.wrong, "wrong:")
        self._watch.note("at rest, and all is right")

    def wrong(self) -> list[str]:
        """Say what is not as it should be; [] once the desk is at rest and agrees with its exchange."""
        try:
            unheard = list(self._unheard())
        except StoreError as error:
            return [str(error)]
        dump = self._watch.ground.dump()
        if unheard or dump.pending:
            return unheard or [f"{dump.pending} requests are under way"]
        return [*self._books_against(dump), *self._settle_unknown()]

    def _books_against(self, dump: Dump) -> Iterator[str]:
        books = self._watch.books()
        yield from faults(books, dump)
        yield from verdict.money(books, dump, BALANCE)
        yield from verdict.exits(books)

    def _unheard(self) -> Iterator[str]:
        """Say which wishes have not come through to the journal yet, and which of the last bars were not met."""
        booked = self._watch.books().orders
        for name in TRADERS:
            data = self._watch.reader(f"strategies/{name}").get(TABLE, NOW)
            kept = unsealed(data, Kept) if data is not None else None
            pending = kept.pending if kept is not None else ()
            yield from (
                f"{intent.intent_id} of {name} was not judged"
                for intent in pending
                if order_id(intent.intent_id) not in booked
            )
        risk = self._watch.reader("risk")
        waiting = [*risk.scan("waiting"), *risk.scan("unbooked")]
        if waiting:
            yield f"{len(waiting)} verdicts are not booked"

    # --- the end ------------------------------------------------------------------------------

    def end(self, done: Mapping[str, int]) -> list[str]:
        """Bring the desk down and say what is wrong with what it leaves; [] where nothing is."""
        ground = self._watch.ground
        wrong = self._left_open()
        code = ground.stop(STOP_S)
        self._watch.note(f"stopped with {code}")
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
        self._watch.close()
        wrong += list(self._stores())
        wrong += list(self._books_against(ground.dump()))
        wrong += list(self._witnesses())
        wrong += self._unexplained(done)
        return wrong

    def _lacks_spare(self) -> list[str]:
        return [] if "spare" in self._watch.ground.processes() else ["a spare"]

    def _holdings(self) -> tuple[Counter[str], int]:
        """Say what root has open, and how many files there are among the sockets."""
        return self._watch.ground.root_descriptors(), len(list(socket_folder(self._watch.ground.desk.state).iterdir()))

    def _left_open(self) -> list[str]:
        """Say what the running desk holds that it did not hold before the storm, with the same processes."""
        self._watch.until(self._not_well, "the desk is not well:")
        try:
            self._watch.until(lambda: [] if self._holds_no_more() else ["more"], "it holds")
        except AssertionError:
            (had, files), (has, files_now) = self._held, self._holdings()
            more = ", ".join(f"{count} {name}" for name, count in sorted((has - had).items()))
            fewer = ", ".join(f"{count} {name}" for name, count in sorted((had - has).items()))
            before = f"{had.total()} descriptors and {files} socket files before"
            behind = f"{has.total()} and {files_now} behind it"
            return [f"left open: root held {before}, {behind}; more: {more}; fewer: {fewer}"]
        return []

    def _holds_no_more(self) -> bool:
        (had, files), (has, files_now) = self._held, self._holdings()
        return has.total() <= had.total() and files_now <= files

    def _stores(self) -> Iterator[str]:
        for folder in store_folders(self._watch.ground.desk.state):
            reader = Reader.open(folder)
            try:
                reader.verify()
            except StoreError as error:
                yield f"damaged: {error}"
            finally:
                reader.close()

    def _witnesses(self) -> Iterator[str]:
        all_bars = published(self._watch.ground.desk)
        for name in (WITNESS_HIT, WITNESS_CALM):
            state = evaluated(self._watch.ground.desk, name).state
            yield from verdict.bars(name, all_bars, WITNESSED, state)

    def _unexplained(self, done: Mapping[str, int]) -> list[str]:
        """Name ends that nobody caused."""
        caused = {KILLED} | ({GAVE_UP} if done["full_disk"] else set())
        wrong = [f"root ended by itself with {code}" for code in self._watch.ground.ends if code not in caused]
        if done["full_disk"]:
            return wrong  # it cannot keep its bar then and falls, and the log has torn lines
        fallen = falls(self._watch.ground.desk)[f"strategies/{WITNESS_CALM}"]
        if fallen:
            wrong.append(f"{WITNESS_CALM}, whom nothing hit, fell {fallen} times")
        return wrong
