"""What a storm goes over: a real desk that is started again as systemd would, an exchange, a market, and the wires."""

import os
import random
import shutil
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from actors.control_client import DeskDownError, VerbRefusedError, ask
from bench.processes import ROOT, desk_processes
from tests.chaos.wire import Wire
from tests.desk_run.harness import Desk
from tests.desk_run.markets import PATIENT, PATIENT_ROOMS
from tests.desk_run.publisher import START_S, Publisher
from tests.exchange.hand import Exchange
from tests.exchange.wire import Dump

HERE = Path(__file__).parent
WITNESS = HERE.parent / "desk_run" / "own" / "witness.py"
SYMBOLS = ("AAA", "BBB", "CCC")
BALANCE = Decimal(1_000_000)
#: What the strategies are called that trade, and what each trades. Chance may hit all of them.
TRADERS: Mapping[str, tuple[str, ...]] = {
    "amber": ("AAA",),
    "birch": ("BBB",),
    "cedar": ("AAA", "CCC"),
    "dune": ("CCC",),
}
#: Watches its own stop itself; the others have theirs at the venue.
OWN_STOP = "dune"
#: Two that note every bar: chance hits the first one, nothing but the end of root the other.
WITNESS_HIT, WITNESS_CALM = "echo", "faith"
WITNESSED = ("AAA", "1s")
GUEST = "guest"
#: How long systemd would wait before it starts a desk again; here less, to get more storms into a minute.
START_AGAIN_S = 0.5
ASK_S = 2.0
REFUSED, WRONG_WORDS = 3, 2
ADAPTER = '"""The exchange of the tests."""\n\nfrom tests.chaos.port import open_port\n\n__all__ = ["open_port"]\n'


class Wishes(NamedTuple):
    """What the configuration says just now, as far as it is edited in a storm."""

    enabled: bool = True
    has_guest: bool = False
    max_positions: int = 50
    pieces: int = 5
    is_broken: bool = False


class Market:
    """Ticks of three symbols, on a thread of their own; the exchange trades at the same prices."""

    EVERY_S = 0.02

    def __init__(self, exchange: Exchange, guard: threading.Lock, seed: int) -> None:
        """Stand still."""
        self._exchange, self._guard = exchange, guard
        self._chance = random.Random(seed)
        self._prices = dict.fromkeys(SYMBOLS, 100.0)
        self._thread = threading.Thread(target=self._run, name="market", daemon=True)
        self._is_ready, self._is_over = threading.Event(), threading.Event()
        #: Where it does not move, prices stay as they are and bars have no volume: nothing is traded any more.
        self.is_moving = True
        self.port = 0
        self.ticks = 0
        self.fault: BaseException | None = None

    def __enter__(self) -> Self:
        """Begin."""
        for symbol in SYMBOLS:
            self._exchange.mark(symbol, "100")
        self._thread.start()
        assert self._is_ready.wait(30), "the market did not open"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End."""
        self._is_over.set()
        self._thread.join(30)

    def _run(self) -> None:
        try:
            with Publisher() as publisher:
                self.port = int(publisher.url.rpartition(":")[2])
                self._is_ready.set()
                while not self._is_over.wait(self.EVERY_S):
                    self._tick(publisher)
        except BaseException as error:  # told by whoever looks at the market next
            self.fault = error
            raise

    def _tick(self, publisher: Publisher) -> None:
        symbol = SYMBOLS[self.ticks % len(SYMBOLS)]
        if self.is_moving:
            drift = 0.01 * (100 - self._prices[symbol])
            price = round(self._prices[symbol] + drift + self._chance.gauss(0, 0.12), 2)
            self._prices[symbol] = price
            with self._guard:
                self._exchange.mark(symbol, str(price))
        publisher.tick(symbol, time.time() - START_S, self._prices[symbol], size=1 if self.is_moving else 0)
        self.ticks += 1


class Ground:
    """Everything a storm goes over, for as long as the context lasts."""

    def __init__(self, folder: Path, rules: str, seed: int, planted: str = "") -> None:
        """Lay out the folder; nothing runs yet."""
        self.rules, self._planted = rules, planted
        self.folder = folder
        self._guard = threading.Lock()
        self._exchange = Exchange(rules, cash=str(BALANCE))
        self.market = Market(self._exchange, self._guard, seed)
        self._stack = ExitStack()
        self.starts = 0
        self._down_since_s = 0.0
        #: Exit codes of root, in the order of its lives.
        self.ends: list[int] = []

    def __enter__(self) -> Self:
        """Open exchange, market and wires, and start the desk."""
        with ExitStack() as stack:
            stack.enter_context(self._exchange)
            stack.enter_context(self.market)
            self.venue = stack.enter_context(Wire(self._exchange.socket, self._exchange.socket.with_name("w")))
            self.feed = stack.enter_context(Wire(self.market.port))
            desk_folder = self.folder / "desk"
            (desk_folder / "strategies").mkdir(parents=True, exist_ok=True)
            (desk_folder / "venues").mkdir(exist_ok=True)
            (desk_folder / "venues" / "chaos.py").write_text(ADAPTER, encoding="utf-8")
            code = (HERE / "own" / "chaotic.py").read_text(encoding="utf-8")
            own_stop = code.replace("ProtectiveStop.VENUE", "ProtectiveStop.BAR_CLOSE")
            (desk_folder / "strategies" / "chaotic.py").write_text(code, encoding="utf-8")
            (desk_folder / "strategies" / "chaotic_own_stop.py").write_text(own_stop, encoding="utf-8")
            shutil.copy(WITNESS, desk_folder / "strategies" / "witness.py")
            self.desk = stack.enter_context(Desk(desk_folder, self.configuration(Wishes())))
            self._stack = stack.pop_all()
        self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End everything."""
        self._stack.close()

    # --- the configuration --------------------------------------------------------------------

    def configuration(self, wishes: Wishes) -> str:
        """Give the configuration's text."""
        if wishes.is_broken:
            return "strategies:\n  - name: [\n"
        names = {**TRADERS, **({GUEST: ("BBB",)} if wishes.has_guest else {})}
        entries = "".join(self._trader(name, symbols, wishes) for name, symbols in names.items())
        witnesses = "".join(
            f"  - name: {name}\n    symbol: {WITNESSED[0]}\n    strategy: witness\n    timeframe: {WITNESSED[1]}\n"
            f"    limits: {{hang_s: 60}}\n{PATIENT}"
            for name in (WITNESS_HIT, WITNESS_CALM)
        )
        deadline = "    deadline_s: 1\n    margin_s: 0.5\n" if self.rules == "kraken" else ""
        return (
            f"strategies:\n{entries}{witnesses}global:\n  default_balance: {BALANCE}\n"
            f'  feed: {{kind: zmq, url: "tcp://127.0.0.1:{self.feed.place}", symbols: [{", ".join(SYMBOLS)}]}}\n'
            f"  risk: {{max_positions: {wishes.max_positions}}}\n{PATIENT_ROOMS}"
            "  execution: {breaker_open_s: 2, breaker_open_max_s: 8}\n"
            f"  venue:\n    name: fake\n    adapter: chaos:open_port\n    rules: {self.rules}\n{deadline}"
            f"    options: {{rules: {self.rules}, socket: {self.venue.place}, timeout_s: 1, planted: '{self._planted}'}}\n"
        )

    def _trader(self, name: str, symbols: tuple[str, ...], wishes: Wishes) -> str:
        code = "chaotic_own_stop" if name == OWN_STOP else "chaotic"
        is_enabled = wishes.enabled or name != "birch"
        return (
            f"  - name: {name}\n    symbols: [{', '.join(symbols)}]\n    strategy: {code}\n    timeframe: 1s\n"
            f"    enabled: {str(is_enabled).lower()}\n    parameters: {{pieces: {wishes.pieces}}}\n{PATIENT}"
        )

    def edit(self, wishes: Wishes) -> None:
        """Write the configuration as an editor does: at once."""
        fresh = self.desk.file.with_suffix(".new")
        fresh.write_text(self.configuration(wishes), encoding="utf-8")
        fresh.rename(self.desk.file)

    # --- the desk -----------------------------------------------------------------------------

    def _start(self) -> None:
        self.desk.start()
        self.starts += 1

    def look_after_root(self) -> int | None:
        """Start the desk again a moment after it ended; give the exit code where it ended just now.

        A desk that refuses to start is not started again, as systemd does not.
        """
        process = self.desk.process
        assert process is not None, "the desk was started"
        if self.market.fault is not None:
            msg = f"the market of the tests is broken: {self.market.fault!r}"
            raise AssertionError(msg)
        code = process.poll()
        if code is None:
            return None
        now_s = time.monotonic()
        if not self._down_since_s:
            self._down_since_s = now_s
            self.ends.append(code)
            return code
        if now_s - self._down_since_s >= START_AGAIN_S and code not in {REFUSED, WRONG_WORDS}:
            self._down_since_s = 0.0
            self._start()
        return None

    def processes(self) -> dict[str, int]:
        """Give the desk's processes by name; none while root is down."""
        process = self.desk.process
        assert process is not None, "the desk was started"
        return desk_processes(process.pid) if process.poll() is None else {}

    def root_descriptors(self) -> Counter[str]:
        """Say what root has open: kinds and files, and how many descriptors of each."""
        found: Counter[str] = Counter()
        for each in Path(f"/proc/{self.processes()[ROOT]}/fd").iterdir():
            with suppress(OSError):  # it was closed between the two looks
                found[each.readlink().name.partition(":[")[0]] += 1
        return found

    def send(self, name: str, number: signal.Signals) -> int:
        """Signal one process; give a descriptor of it, which the caller closes. -1 where there is none just now."""
        pid = self.processes().get(name)
        if pid is None:
            return -1
        try:
            process = os.pidfd_open(pid)
        except ProcessLookupError:
            return -1
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(process, number)
        return process

    def ask(self, verb: str, **arguments: Any) -> str:
        """Send a verb; give in words how that ended."""
        try:
            ask(self.desk.state, verb, arguments, self.desk.clock, ASK_S)
        except (DeskDownError, VerbRefusedError) as error:
            return f"{type(error).__name__}: {error}".splitlines()[0][:160]
        return "done"

    def status(self) -> dict[str, Any]:
        """Give the status, {} where nobody answers just now."""
        with suppress(DeskDownError, VerbRefusedError):
            return ask(self.desk.state, "status", {}, self.desk.clock, ASK_S)
        return {}

    # --- the exchange -------------------------------------------------------------------------

    def dump(self) -> Dump:
        """Give the exchange's whole truth."""
        with self._guard:
            return self._exchange.dump()

    def rates(self, rates: dict[str, float], seed: int = 0) -> None:
        """Let the exchange misbehave at random; {} is good manners."""
        with self._guard:
            self._exchange.rates(rates, seed)

    # --- the end ------------------------------------------------------------------------------

    def stop(self, patience_s: float) -> int:
        """Bring the desk down in good order; give its exit code."""
        process = self.desk.process
        assert process is not None, "the desk was started"
        process.terminate()
        try:
            return process.wait(patience_s)
        except subprocess.TimeoutExpired:
            return -1
