"""What a real desk recorded, told to the same rooms again."""

from pathlib import Path

import msgspec
import pytest

from actors.replaying.parts import Asked
from actors.replaying.recorded import consistent_copy
from actors.replaying.run import Replayed, replay
from runtime.clock import Clock
from tests.desk_run.harness import Desk
from tests.desk_run.markets import configuration, ema, vwap, write_market

EVENTS = 360
ENTRIES = (vwap("spy_vwap", "SPY"), ema("spy_ema", "SPY"))


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the state folder of a desk that ran to the end of its market."""
    folder = tmp_path_factory.mktemp("replayed")
    files = write_market(folder, EVENTS, symbols=("SPY",))
    with Desk(folder / "desk", configuration(ENTRIES, files)) as desk:
        desk.run()
        assert {order["strategy"] for order in desk.orders()} == {"spy_vwap", "spy_ema"}
    return desk.state


def replayed(state: Path, **asked: object) -> Replayed:
    """Replay a copy of a state folder."""
    with consistent_copy(state, Clock()) as copy:
        return replay(copy, msgspec.convert(asked, Asked))


def contents(folder: Path) -> dict[Path, bytes]:
    """Give every file with what is in it."""
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_desk_decides_the_same_again_byte_for_byte_and_its_folder_is_left_alone(state: Path) -> None:
    before = contents(state)

    found = replayed(state)

    assert found.changed == ()
    assert found.left_out == {}
    assert all(not one.left_out for one in found.strategies)
    assert found.bars == 2 * EVENTS
    assert found.intents == found.verdicts > 0
    assert found.records == found.journal
    assert found.taken == 0
    assert contents(state) == before
