"""The account's day on a desk of real processes: kill -9 of risk, of everything, and a night in between."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runtime.clock import NS_PER_S
from tests.desk_run.falls import has_successor, pause, until_all_run, until_gone
from tests.desk_run.harness import PATIENCE_S, Desk
from tests.desk_run.publisher import Publisher, obedient, with_obedient

DAY_MINUTES = 24 * 60
CONFIGURATION = """\
strategies:
{entry}global:
  feed: {{kind: zmq, url: "{url}"}}
  default_balance: 1000
  paper: {{slippage_bps: 0}}
  risk: {{max_daily_loss_usd: 5}}
"""


class Lossy(Desk):
    """A desk that buys above 100 and sells below 50, and a market that moves by whole minutes."""

    def __init__(self, folder: Path, publisher: Publisher) -> None:
        """Write the configuration; nothing is started."""
        entry = obedient("alpha", "SPY", buy_above=100.0, sell_below=50.0)
        super().__init__(with_obedient(folder), CONFIGURATION.format(entry=entry, url=publisher.url))
        self.publisher, self.at_minute = publisher, 0

    def begin(self) -> None:
        """Start, and show the rest of a minute that is not whole."""
        self.start()
        until_all_run(self)
        self.publisher.until_subscribed(["SPY"])
        self.minute(60.0)

    def minute(self, price: float) -> None:
        self.at_minute += 1
        self.publisher.tick("SPY", self.at_minute * 60 + 1, price)
        self.publisher.tick("SPY", self.at_minute * 60 + 60, price)

    def minutes_until(self, price: float, what: Callable[[], Any]) -> None:
        """Let minutes pass at this price until it has come to that."""
        deadline_ns = self.clock.monotonic_ns() + int(PATIENCE_S * NS_PER_S)
        looks = 0
        while not what():
            if looks % 50 == 0:
                self.minute(price)
            looks += 1
            assert self.clock.monotonic_ns() < deadline_ns, f"{self.orders()}\n{self.said()[-2000:]}"
            pause(self, 0.02)

    def refused(self) -> int:
        return sum("DAILY_LOSS: " in order["reason"] for order in self.orders())

    def day(self) -> dict[str, Any]:
        return self.status()["risk"]["day"]

    def fall(self) -> None:
        """Kill the supervisor, see everything end with it, and start anew."""
        os.kill(self.root_pid, signal.SIGKILL)
        self.wait()
        until_gone(self)
        self.begin()


@pytest.mark.slow
def test_a_lost_day_outlives_kill_9_of_risk_and_of_everything_and_ends_at_midnight(tmp_path: Path) -> None:
    with Publisher() as publisher, Lossy(tmp_path / "desk", publisher) as desk:
        desk.begin()
        desk.minutes_until(101.0, desk.positions)
        desk.minutes_until(95.0, lambda: desk.day()["blocked"])
        desk.minutes_until(40.0, lambda: not desk.positions())  # an exit leaves on a lost day
        desk.minutes_until(101.0, lambda: desk.refused() and desk.day()["realised"] != "0.00")  # risk says so later
        lost = desk.day()

        pid = desk.kill("risk")
        while not has_successor(desk.status(), "risk", pid):
            pause(desk)
        before = desk.refused()
        desk.minutes_until(101.0, lambda: desk.refused() > before)
        after_risk = desk.day()
        desk.fall()
        before = desk.refused()
        desk.minutes_until(101.0, lambda: desk.refused() > before)
        after_all = desk.day()
        assert not desk.positions()
        desk.at_minute += DAY_MINUTES
        desk.fall()
        desk.minutes_until(101.0, desk.positions)
        tomorrow = desk.day()

        kept = ("start_ns", "start_equity", "peak", "realised", "blocked", "consecutive_losses")
        assert [[day[name] for name in kept] for day in (after_risk, after_all)] == [[lost[name] for name in kept]] * 2
        assert (lost["start_equity"], lost["realised"], lost["consecutive_losses"]) == ("1000.00", "-61.00", 1)
        assert (tomorrow["start_equity"], tomorrow["realised"], tomorrow["blocked"]) == ("939.00", "0.00", "")
        assert tomorrow["start_ns"] == lost["end_ns"]
