"""The logs of the processes, read from their files; also of a desk that does not run."""

import heapq
import re
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

#: Levels from the least to the worst, as the files write them.
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
#: How much of the end of a file is read to find its last entries.
TAIL_BYTES = 1 << 20
_HEAD = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z) (\w+) +(\S+) (.*)")


class Entry(NamedTuple):
    """One entry: its UTC time, level and path as the file has them, and its text, which may have several lines."""

    at: str
    level: str
    path: str
    text: str

    def words(self) -> str:
        """Write it as the file does, without control characters but its line breaks."""
        plain = "".join(c if c.isprintable() or c == "\n" else " " for c in self.text)
        return f"{self.at} {self.level:<7} {self.path} {plain}"


def log_path(state: Path, path: str) -> Path:
    """Say where the log of a process lies; ``root`` is the root supervisor's."""
    return state / "log" / f"{path.replace('/', '.')}.log"


def log_paths(state: Path) -> list[Path]:
    """Name the logs that there are now, without the older ones that were put aside."""
    return sorted(file for file in (state / "log").glob("*.log") if not re.search(r"\.\d{4}-\d\d-\d\d_", file.name))


def parse(text: str) -> Iterator[Entry]:
    """Read entries; a line that begins none belongs to the one before it, and is dropped where there is none."""
    entry: Entry | None = None
    for line in text.splitlines():
        found = _HEAD.fullmatch(line)
        if found is not None:
            if entry is not None:
                yield entry
            entry = Entry(*found.groups())
        elif entry is not None and line.strip():
            entry = entry._replace(text=f"{entry.text}\n{line}")
    if entry is not None:
        yield entry


class LogReader:
    """Reads the end of some logs, and then what is appended, also when one is put aside for a new one, or made later.

    Together the two give each entry once.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        """Note where each file ends now; one that is not there has no entries yet."""
        self._places = {file: _mark(file) for file in files}

    def last(self, count: int, level: str = "DEBUG") -> list[Entry]:
        """Give the last entries up to where the files ended when this reader was made.

        Args:
            count: The most entries that are given, of all files together.
            level: The least level, one of ``LEVELS``.

        Returns:
            Entries, the oldest first. Of each file only the last MiB is looked at.
        """
        if not count:
            return []
        tails = (_tail(file, size) for file, (_, size) in self._places.items())
        found = [list(_at_least(parse(tail), level))[-count:] for tail in tails]
        return list(deque(heapq.merge(*found, key=lambda entry: entry.at), maxlen=count))

    def news(self, level: str = "DEBUG") -> list[Entry]:
        """Give the entries that were completed since the last look, in the order of their times."""
        found: list[Entry] = []
        for file, (inode, offset) in self._places.items():
            now_inode, size = _mark(file)
            start = offset if now_inode == inode and size >= offset else 0
            if now_inode == 0 or (now_inode == inode and size == offset):
                continue
            with file.open("rb") as handle:
                handle.seek(start)
                data = handle.read(TAIL_BYTES)
            whole = data.rfind(b"\n") + 1
            self._places[file] = (now_inode, start + whole)
            found += _at_least(parse(data[:whole].decode(errors="replace")), level)
        return sorted(found, key=lambda entry: entry.at)


def _at_least(entries: Iterator[Entry], level: str) -> Iterator[Entry]:
    least = LEVELS.index(level)
    return (entry for entry in entries if entry.level not in LEVELS or LEVELS.index(entry.level) >= least)


def _tail(file: Path, size: int) -> str:
    try:
        with file.open("rb") as handle:
            handle.seek(max(0, size - TAIL_BYTES))
            return handle.read(min(size, TAIL_BYTES)).decode(errors="replace")
    except OSError:
        return ""


def _mark(file: Path) -> tuple[int, int]:
    try:
        found = file.stat()
    except OSError:
        return 0, 0
    return found.st_ino, found.st_size
