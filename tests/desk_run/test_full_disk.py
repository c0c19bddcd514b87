"""A whole desk on a disk that fills up: entries stop, what is held is sold, and with room again it goes on."""

import errno
import io
import shutil
import subprocess
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import pytest
from typing_extensions import override

from actors.arguments import store_path
from runtime.clock import NS_PER_S
from runtime.store import Reader
from tests.desk_run.falls import pause, until_all_run
from tests.desk_run.harness import BULKHEAD, Desk
from tests.desk_run.publisher import Publisher, obedient, with_obedient

DISK_MB = 192
PATIENCE_S = 170.0
SYMBOLS = tuple(f"S{number:02}" for number in range(24))
HIGH, LOW, CALM = 101.0, 89.0, 95.0
CONFIGURATION = """\
strategies:
{entries}global:
  feed: {{kind: zmq, url: "{url}"}}
  default_balance: 1000000
  execution: {{queue_max: 100}}
"""
MOUNT = 'mount -t tmpfs -o size="$2"m none "$1" && echo ready && exec cat'


@contextmanager
def small_disk(folder: Path) -> Generator[tuple[int, Path]]:
    """Mount a small disk on a folder in a namespace of its own; give the process that holds it, and a way to look in."""
    keeper = subprocess.Popen(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", MOUNT, "sh", folder, str(DISK_MB)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert keeper.stdin is not None
    assert keeper.stdout is not None
    try:
        if keeper.stdout.readline() != b"ready\n":
            pytest.skip("no disk can be mounted here: user namespaces are shut")
        yield keeper.pid, Path(f"/proc/{keeper.pid}/root{folder}")
    finally:
        keeper.stdin.close()
        keeper.wait(30)
        keeper.stdout.close()


class DiskDesk(Desk):
    """A desk whose state lies on the small disk; the test looks in from outside."""

    def __init__(self, folder: Path, publisher: Publisher, keeper: int, inside: Path, outside: Path) -> None:
        """Write the configuration; nothing is started."""
        entries = "".join(obedient(f"a{symbol}", symbol, buy_above=100.0, sell_below=90.0) for symbol in SYMBOLS)
        super().__init__(with_obedient(folder), CONFIGURATION.format(entries=entries, url=publisher.url))
        self.keeper, self.inside, self.state = keeper, inside, outside
        self.publisher, self.at_minute = publisher, 0

    @override
    def start(self, *arguments: str) -> Self:
        with self.output.open("ab") as out:
            self.process = subprocess.Popen(
                ["nsenter", "--target", str(self.keeper), "--user", "--mount", "--preserve-credentials",
                 BULKHEAD, "run", "--config", self.file, "--state", self.inside, *arguments],
                stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        return self

    def minute(self, price: float) -> None:
        self.at_minute += 1
        for symbol in SYMBOLS:
            self.publisher.tick(symbol, self.at_minute * 60 + 1, price)
        for symbol in SYMBOLS:
            self.publisher.tick(symbol, self.at_minute * 60 + 60, price)

    def minutes_until(self, prices: tuple[float, ...], what: Callable[[], Any], every_s: float = 0.4) -> None:
        """Let minutes pass, at these prices in turn, until it has come to that."""
        deadline_ns = self.clock.monotonic_ns() + int(PATIENCE_S * NS_PER_S)
        number = 0
        while not what():
            self.minute(prices[number % len(prices)])
            number += 1
            assert self.clock.monotonic_ns() < deadline_ns, f"{self.status()['alarms']}\n{self.said()[-3000:]}"
            pause(self, every_s)

    def fill_up(self) -> Path:
        """Take every byte that the disk has left."""
        filler = self.state / "filler"
        with filler.open("wb", buffering=0) as file:
            for size in (1 << 20, 4096):
                while _is_written(file, size):
                    pass
        return filler


def _is_written(file: io.FileIO, size: int) -> bool:
    try:
        return file.write(bytes(size)) == size
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return False


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("nsenter") is None or shutil.which("unshare") is None, reason="needs util-linux")
def test_a_full_disk_stops_entries_lets_exits_out_and_loses_nothing(tmp_path: Path) -> None:
    inside = tmp_path / "state"
    inside.mkdir()
    with (
        small_disk(inside) as (keeper, outside),
        Publisher() as publisher,
        DiskDesk(tmp_path / "desk", publisher, keeper, inside, outside) as desk,
    ):
        desk.start()
        until_all_run(desk)
        publisher.until_subscribed(SYMBOLS)
        desk.minute(CALM)
        desk.minutes_until((HIGH,), lambda: len(desk.positions()) == len(SYMBOLS))

        filler = desk.fill_up()
        desk.minutes_until((LOW, HIGH), lambda: desk.status()["desk"]["halted"])
        status = desk.status()
        desk.minutes_until((HIGH,), lambda: any("HALTED" in order["reason"] for order in desk.orders()[-200:]))
        desk.minutes_until((LOW,), lambda: not desk.positions())

        assert "the disk was full" in status["desk"]["halted"]
        assert status["desk"]["state"] == "HALTED"
        assert any("disk nearly full" in alarm for alarm in status["alarms"])
        filler.unlink()
        desk.ask("resume", reason="there is room again")
        desk.minutes_until((HIGH,), lambda: len(desk.positions()) == len(SYMBOLS))
        desk.minutes_until((LOW,), lambda: not desk.positions())

        assert desk.status()["desk"]["halted"] == ""
        ledger = Reader.open(store_path(desk.state, "execution"))
        assert ledger.verify() > 0
        ledger.close()
        bought = sum(order["purpose"] == "ENTRY" and order["state"] == "FILLED" for order in desk.orders())
        sold = sum(order["purpose"] == "EXIT" and order["state"] == "FILLED" for order in desk.orders())
        assert bought == sold == len(desk.trades())
