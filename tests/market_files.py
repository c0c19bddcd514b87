"""Small recorded files for tests, and where the large real ones may lie."""

from pathlib import Path

import pytest

from desk.units import MINUTE_NS, NS_PER_S

#: 2024-01-08T14:30:00Z, New York's open of a Monday.
T0 = 1_704_724_200 * NS_PER_S
BAR_HEADER = "timestamp,ts_ns,open,high,low,close,volume\n"


def bar_row(minute: int) -> str:
    """Write one good bar that opens so many minutes after ``T0``."""
    return f"x,{T0 + minute * MINUTE_NS},10,12,9,11,100\n"


def bar_rows(count: int) -> str:
    """Write a file of one-minute bars."""
    return BAR_HEADER + "".join(bar_row(minute) for minute in range(count))


def written(folder: Path, symbol: str, text: str) -> Path:
    """Put the text into the symbol's file."""
    path = folder / f"{symbol}.csv"
    path.write_text(text)
    return path


def real_data() -> Path:
    """Give the folder of recorded markets, or skip the test: it lies beside the repository, not in it."""
    folder = Path(__file__).parents[2] / "shared" / "data"
    if not (folder / "bars").is_dir():
        pytest.skip(f"the recorded markets are not at {folder}")
    return folder
