"""A desk that is killed point by point, an exchange that never is, and the market between them."""

import os
import random
import re
import signal
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec
from typing_extensions import override

from actors.arguments import MARKET_DATA, store_path
from actors.control_client import DeskDownError, VerbRefusedError
from actors.journal import read_journal
from actors.strategy_memory import NOW, TABLE, Kept, unsealed
from actors.words import desk_codec
from desk.identity import order_id
from desk.messages import OrderState
from desk.units import NS_PER_S
from desk.venue import Instrument
from runtime.errors import StoreError
from runtime.store import Reader
from tests.desk_run.falls import has_successor, pause, until_all_run, until_gone
from tests.desk_run.harness import Desk
from tests.desk_run.markets import PATIENT, PATIENT_ROOMS
from tests.desk_run.publisher import START_S, Publisher
from tests.exchange.hand import Exchange
from tests.falls.oracle import Books, faults, name_of
from tests.falls.points import FIRED
from tests.falls.rooms import VENUE, points_folder
from tests.falls.scenes import Scene

ROOT = Path(__file__).parents[2]
SYMBOL = "AAA"
SCRIPT = "strategies/script"
MINED = (SCRIPT, "risk", "execution", VENUE)
MINUTE_S = 60
#: How long a desk may take to come to rest after an act and its falls. Reached only where something is wrong.
PATIENCE_S = 60.0
LOOK_S = 0.02
#: The market goes on ticking while the desk is waited for, once in so many looks.
LOOKS_A_TICK = 10
#: Within so long behind a minute of the market chance kills: an act takes about as long.
MOMENT_S = 0.06
#: How long a point may be waited for behind an act; then the act did not lead to it.
FIRE_S = 2.0
#: How often an act is tried that was refused because the desk did not know enough just then.
ACTS_MAX = 20
#: Reasons of a refusal for which an act is tried again: the desk knew that it did not know enough.
NOT_NOW = ("GATE_CLOSED", "UNKNOWN_ORDER", "UNKNOWN_OUTCOME", "STRATEGY_DISABLED", "DATA_STALE", "PREVALIDATION")
#: An alarm that calls for an operator: the order, and its name at the venue.
FOR_GOOD = re.compile(r"(\S+) is in doubt for good: .* Look for (\S+) in the venue's own books")

#: The acts of the script, by name; act 1 is the first.
ACTS: dict[str, list[dict[str, Any]]] = {
    "enter": [{"action": "BUY", "quantity": "4", "stop_loss": "90", "tag": "a"}],
    "add": [{"action": "BUY", "quantity": "2", "stop_loss": "91", "tag": "a"}],
    "levels": [{"action": "MODIFY", "stop_loss": "92", "tag": "a"}],
    "part": [{"action": "CLOSE", "quantity": "1", "tag": "a"}],
    "leave": [{"action": "CLOSE", "tag": "a"}],
    "rest": [
        {
            "action": "BUY",
            "quantity": "3",
            "order_type": "LIMIT",
            "limit_price": "95",
            "stop_loss": "80",
            "ttl_s": MINUTE_S,
            "tag": "b",
        }
    ],
    "leave_b": [{"action": "CLOSE", "tag": "b"}],
}
CONFIGURATION = """\
strategies:
  - name: script
    symbol: {symbol}
    strategy: scripted
    timeframe: 1m
    parameters: {parameters}
{patient}global:
  feed: {{kind: zmq, url: "{url}"}}
  default_balance: 100000
{patient_rooms}"""


class FallingDesk(Desk):
    """One desk with points, its exchange, and its market. A fall of root itself is mended by ``start``."""

    def __init__(self, folder: Path, exchange: Exchange, publisher: Publisher) -> None:
        """Write the configuration; nothing is started."""
        parameters = msgspec.json.encode({"acts": list(ACTS.values())}).decode()
        text = CONFIGURATION.format(
            symbol=SYMBOL, parameters=parameters, url=publisher.url, patient=PATIENT, patient_rooms=PATIENT_ROOMS
        )
        super().__init__(folder, text)
        (folder / "strategies").mkdir()
        scripted = Path(__file__).parent / "own" / "scripted.py"
        (folder / "strategies" / "scripted.py").write_bytes(scripted.read_bytes())
        for path in MINED:
            points_folder(self.state, path).mkdir(parents=True)
        self.exchange, self.publisher = exchange, publisher
        self.fired: Counter[str] = Counter()
        self.kills = 0
        #: Orders that were settled by an operator's word.
        self.settled: list[str] = []
        self._named_before: set[str] = set()
        #: The market's first minute: it is always at or ahead of the exchange's time, as after a quiet hour.
        self._first_s = (self.clock.wall_ns() // NS_PER_S // MINUTE_S + 1) * MINUTE_S
        self._minute = 0
        self._now_s, self._price = 0.0, 100.0
        self._readers: dict[str, Reader] = {}
        self._books = Books()
        exchange.mark(SYMBOL, "100")

    @override
    def start(self, *arguments: str) -> Self:
        options = msgspec.json.encode(self.exchange.options(deadline_s=0.4, margin_s=0.2, timeout_s=5.0)).decode()
        program = [sys.executable, "-P", str(Path(__file__).with_name("falling_desk.py"))]
        with self.output.open("ab") as out:
            self.process = subprocess.Popen(
                [*program, self.file, self.state, options, *arguments],
                stdout=out,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        return self

    @override
    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, value, trace)
        for reader in self._readers.values():
            reader.close()

    def begin(self) -> Self:
        """Wait until it listens to the market, and show the first minute, which is not whole."""
        until_all_run(self)
        self.publisher.until_subscribed([SYMBOL])
        self._tick(1, 100.0, 0)
        return self

    # --- points -------------------------------------------------------------------------------

    def arm(self, path: str, point: str, skipped: int = 0) -> None:
        """Arm one point of one process; it fires at the pass behind the ``skipped`` ones."""
        file = points_folder(self.state, path) / point
        fresh = file.with_name(f"new{FIRED}")
        fresh.write_text(str(skipped), encoding="ascii")
        fresh.rename(file)

    def disarm(self) -> tuple[list[str], list[str]]:
        """Take every point away; give those that fired and those that did not."""
        fired: list[str] = []
        idle: list[str] = []
        for path in MINED:
            for file in points_folder(self.state, path).iterdir():
                (fired if file.name.endswith(FIRED) else idle).append(f"{path} {file.name.removesuffix(FIRED)}")
                file.unlink(missing_ok=True)
        self.fired.update(fired)
        self.kills += len(fired)
        return fired, idle

    def _until_fired(self) -> None:
        """Give what the act led to a moment to come to its points."""
        deadline_ns = self.clock.monotonic_ns() + int(FIRE_S * NS_PER_S)
        while self.clock.monotonic_ns() < deadline_ns:
            armed = [file for path in MINED for file in points_folder(self.state, path).iterdir()]
            if all(file.name.endswith(FIRED) for file in armed):
                return
            pause(self, LOOK_S)

    # --- the market ---------------------------------------------------------------------------

    def minute(self, act: str = "", price: str = "100") -> int:
        """Let a minute of the market pass in which the script does something; give its bar's open."""
        self._minute += 1
        self.exchange.mark(SYMBOL, price)
        size = list(ACTS).index(act) + 1 if act else 0
        at_s = self._minute * MINUTE_S
        self._tick(at_s + 1, float(price), size)
        self._tick(at_s + MINUTE_S, float(price), 0)
        self._now_s, self._price = at_s + MINUTE_S, float(price)
        return at_s

    def _tick_on(self) -> None:
        """Let the market go on a little: who was down when it last moved hears of it now."""
        self._now_s += 0.001
        self._tick(self._now_s, self._price, 0)

    def _tick(self, at_s: float, price: float, size: int) -> None:
        self.publisher.tick(SYMBOL, self._first_s - START_S + at_s, price, size=size)

    # --- looking ------------------------------------------------------------------------------

    def books(self) -> Books:
        """Give the journal so far, folded."""
        self._books.add(read_journal(self._reader("execution"), desk_codec(), self._books.head))
        return self._books

    def _reader(self, path: str) -> Reader:
        if path not in self._readers:
            self._readers[path] = Reader.open(store_path(self.state, path))
        return self._readers[path]

    def unheard(self) -> list[str]:
        """Say what has not come through from the market to the journal yet."""
        try:
            data = self._reader(MARKET_DATA).record(self._reader(MARKET_DATA).head())
            kept = self._reader(SCRIPT).get(TABLE, NOW)
            waiting = [*self._reader("risk").scan("waiting"), *self._reader("risk").scan("unbooked")]
        except StoreError as error:
            return [str(error)]
        bar = desk_codec().decode(data) if data is not None else None
        if bar is None or bar.ts_ns < (self._first_s + self._minute * MINUTE_S) * NS_PER_S or kept is None:
            return [f"the market's last bar is {bar}"]
        script = unsealed(kept, Kept)
        if max(script.last.values(), default=0) < bar.sequence:
            return [f"the script has evaluated {script.last}, the last bar is {bar.sequence}"]
        booked = self.books().orders
        missing = [intent.intent_id for intent in script.pending if order_id(intent.intent_id) not in booked]
        if missing or waiting:
            return [f"{missing} were not judged, {len(waiting)} verdicts are not booked"]
        return []

    def wrong(self) -> list[str]:
        """Say what is not as it should be in the end; [] once the desk is at rest and agrees with its exchange."""
        unheard = self.unheard()
        if unheard:
            return unheard
        dump = self.exchange.dump()
        if dump.pending:
            return [f"{dump.pending} requests are under way"]
        return [*faults(self.books(), dump), *self._outlived(), *self._in_doubt()]

    def _in_doubt(self) -> list[str]:
        """Name the orders of which nobody knows yet; their intents live on while the market stands still."""
        working = self.books().ledger.working.values()
        return [f"in doubt: {order.order_id}" for order in working if order.state is OrderState.UNKNOWN]

    def _outlived(self) -> list[str]:
        """Name the orders that rest still though the market's time is past theirs."""
        now_ns = (self._first_s + (self._minute + 1) * MINUTE_S) * NS_PER_S
        working = self.books().ledger.working.values()
        return [f"stuck: {order.order_id} outlived its time" for order in working if 0 < order.expires_ns <= now_ns]

    def until_right(self) -> None:
        """Wait until the desk is at rest, and nothing is lost, doubled, made up, or unprotected.

        Raises:
            AssertionError: It did not come to that; the text says what is wrong.
        """
        deadline_ns = self.clock.monotonic_ns() + int(PATIENCE_S * NS_PER_S)
        looks = 0
        while wrong := self.wrong():
            looks += 1
            if looks % LOOKS_A_TICK == 0:
                self._tick_on()
                if all(fault.startswith("in doubt: ") for fault in wrong):
                    self._settle_by_hand()
            if self.clock.monotonic_ns() > deadline_ns:
                msg = f"minute {self._minute}: {wrong}\n{self._orders_text()}\n{self.said()[-2000:]}"
                raise AssertionError(msg)
            pause(self, LOOK_S)

    def _settle_by_hand(self) -> None:
        """Do what the operator does: read in the alarms which order no venue can tell of, look, and settle it.

        An alarm may be older than what was done about it: who settles an order twice is refused.
        """
        with suppress(DeskDownError, VerbRefusedError):
            named = {
                found.group(1): found.group(2) for alarm in self.status()["alarms"] if (found := FOR_GOOD.match(alarm))
            }
            dump = self.exchange.dump()
            there = {name_of(order.client_id) for order in dump.orders}
            for order, client_id in named.items():
                if order in self._named_before and client_id not in there and not dump.pending:
                    self.ask(
                        "resolve", order=order, outcome="never", reason=f"{client_id} is not in the exchange's book"
                    )
                    self.settled.append(order)
            self._named_before = set(named)

    def _orders_text(self) -> str:
        books = self.books()
        last = list(books.orders.values())[-8:]
        return "\n".join(
            f"{o.order_id} {o.purpose} {o.state} {o.attempt} {o.filled_quantity}/{o.quantity} {o.reason}" for o in last
        )

    def was_refused(self, at_s: int) -> bool:
        """Say whether the act of a bar was refused only because the desk did not know enough just then."""
        at_ns = (self._first_s + at_s) * NS_PER_S
        orders = [order for order in self.books().orders.values() if order.bar_ts_ns == at_ns]
        return any(order.reason.startswith(NOT_NOW) for order in orders)

    # --- falls --------------------------------------------------------------------------------

    def act(self, act: str, price: str = "100") -> None:
        """Do one act until all is right again; one that was refused for want of knowledge is done again."""
        for _ in range(ACTS_MAX):
            at_s = self.minute(act, price)
            self.until_right()
            if not act or not self.was_refused(at_s):
                return
            pause(self, LOOK_S)

    def play(self, scene: Scene) -> bool:
        """Play one scene, until all is right again; say whether all of its points were passed.

        Raises:
            AssertionError: Something is not right in the end.
        """
        self._prepare(scene.held)
        for point in scene.points:
            self.arm(*point)
        for deed in scene.deeds:
            self.exchange.next(deed.call, deed.deed, ms=deed.ms, parts=deed.parts)
        if scene.demand:
            self.exchange.instrument(Instrument(symbol=SYMBOL, quantity_min=Decimal(scene.demand)))
        try:
            self.act(scene.act)
            self._until_fired()
            self.until_right()
            for _ in range(sum(len(deed.parts) for deed in scene.deeds)):
                self.exchange.go_on()
                self.until_right()
        except AssertionError as error:
            msg = f"{scene}: {error}"
            raise AssertionError(msg) from error
        if scene.demand:
            self.exchange.instrument(Instrument(symbol=SYMBOL))
            self.kill_and_wait(VENUE)  # the successor asks anew what the exchange demands
        _, idle = self.disarm()
        return not idle

    def _prepare(self, held: str) -> None:
        """Come to what a scene begins with: nothing held, or something under one tag."""
        if self.position("b"):
            self.act("leave_b")
        if held == "a":
            if not self.position("a"):
                self.act("enter")
        elif self.position("a"):
            self.act("leave")
        if held == "b":
            self.act("rest")

    def kill_and_wait(self, path: str) -> None:
        """Kill one process from outside, and wait for its successor, and for the market where it lost that."""
        pid = self.kill(path)
        self.kills += 1
        while not has_successor(self.status(), path, pid):
            pause(self)
        if path == MARKET_DATA:
            self.publisher.until_subscribed([SYMBOL])

    def kill_root(self) -> None:
        """Kill the supervisor, see everything end with it, and start anew."""
        os.kill(self.root_pid, signal.SIGKILL)
        self.wait()
        self.kills += 1
        until_gone(self)
        self.start()
        until_all_run(self)
        self.publisher.until_subscribed([SYMBOL])

    def kill_some(self, chance: random.Random) -> None:
        """Kill one to three processes at once, at a moment of chance behind the last minute of the market."""
        self.until_heard()
        pause(self, chance.random() * MOMENT_S)
        living = self.pids()
        for path in chance.sample((*MINED, "console", "watchdog"), chance.randint(1, 3)):
            if path in living:
                with suppress(ProcessLookupError):
                    os.kill(living[path], signal.SIGKILL)
                    self.kills += 1

    def until_heard(self) -> None:
        """Wait until the market's last minute is kept; from then on nothing of it can be lost."""
        deadline_ns = self.clock.monotonic_ns() + int(PATIENCE_S * NS_PER_S)
        while not self._is_heard():
            assert self.clock.monotonic_ns() < deadline_ns, "the market was not heard"
            pause(self)

    def _is_heard(self) -> bool:
        with suppress(StoreError):
            reader = self._reader(MARKET_DATA)
            data = reader.record(reader.head())
            end_ns = (self._first_s + self._minute * MINUTE_S) * NS_PER_S
            return data is not None and desk_codec().decode(data).ts_ns >= end_ns
        return False

    def position(self, tag: str) -> Decimal:
        """Give what the script holds under a tag."""
        position = self.books().ledger.position("script", SYMBOL, tag)
        return position.quantity if position is not None else Decimal(0)
