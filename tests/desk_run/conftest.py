"""One undisturbed run, against which the runs with falls are held."""

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.desk_run.falls import market_step, published
from tests.desk_run.harness import Desk
from tests.desk_run.markets import FIVE, PATIENT, PATIENT_ROOMS, configuration, write_market

EVENTS = 480
OWN = Path(__file__).parent / "own"


def own_entry(strategy: str, name: str, symbol: str, more: str = PATIENT, **parameters: object) -> str:
    """Give one entry of a strategy that belongs to the tests."""
    return (
        f"  - name: {name}\n    symbol: {symbol}\n    strategy: {strategy}\n"
        f"    parameters: {json.dumps(parameters)}\n{more}"
    )


def own_strategies(folder: Path) -> None:
    """Lay the tests' own strategies beside a configuration, as an operator does."""
    shutil.copytree(OWN, folder / "strategies", ignore=shutil.ignore_patterns("__pycache__"))


class Calm(NamedTuple):
    """Five strategies on three symbols that nobody disturbed, and the market on which they ran."""

    files: dict[str, Path]
    last: str
    steps: int
    trades: list[dict[str, Any]]
    orders: list[dict[str, Any]]

    def bars(self, symbol: str) -> int:
        """Count a symbol's bars."""
        return len(self.files[symbol].read_text(encoding="utf-8").splitlines()) - 1

    def desk(self, folder: Path, others: Iterable[str] = ()) -> Desk:
        """Give the same desk anew. A witness holds its market at the last step until ``release``."""
        return a_desk(folder, self.files, (self.last, self.bars(self.last)), others)


def release(desk: Desk) -> int:
    """Let a held market end; give the exit code."""
    (desk.folder / "go").touch()
    return desk.wait()


def a_desk(folder: Path, files: dict[str, Path], hold: tuple[str, int], others: Iterable[str]) -> Desk:
    """Lay out five strategies that trade and a witness that holds the market at a bar until it is released."""
    symbol, bar = hold
    patient = PATIENT + "    limits: {hang_s: 600}\n"
    witness = own_entry("witness", "witness", symbol, patient, hold_at=bar, hold_until=str(folder / "go"))
    entries = [*(entry + PATIENT for entry in FIVE), witness, *others]
    desk = Desk(folder, configuration(entries, files, more=PATIENT_ROOMS))
    own_strategies(folder)
    return desk


@pytest.fixture(scope="session")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Calm:
    """Run the desk once without any fall."""
    files = write_market(tmp_path_factory.mktemp("market"), EVENTS)
    folder = tmp_path_factory.mktemp("calm")
    with a_desk(folder, files, ("SPY", 0), ()) as desk:
        desk.run()
    return Calm(files, published(desk)[-1].symbol, market_step(desk), desk.trades(), desk.orders())
