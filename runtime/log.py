"""One log a process: an event name and fields, never prose with values in it. Set up once, here."""

import logging
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
from loguru import logger
from loguru._file_sink import FileSink

from runtime.bucket import Bucket
from runtime.clock import Clock

ROTATION_BYTES = 10 * 1000 * 1000
ROTATIONS_KEPT = 5
WARNINGS_AT_ONCE = 100
WARNINGS_A_SECOND = 10


class Log:
    """The log of one process: ``var/log/PATH.log``, rotated at 10 MB, five old ones kept."""

    def __init__(self, path: str) -> None:
        """Speak for the process at ``path`` of the tree."""
        self._logger = logger.bind(path=path)
        self._clock = Clock()
        self._buckets: dict[str, Bucket] = {}
        self._suppressed: Counter[str] = Counter()

    @classmethod
    def open(cls, folder: Path, path: str, level: str, *, is_echoed: bool = False) -> "Log":
        """Direct everything this process logs to its own file.

        Args:
            folder: Where the logs lie; made where it is missing.
            path: The process's place in the tree; its file is named after it.
            level: Least level that is written, in loguru's words.
            is_echoed: Warnings and worse go to standard error too (the root of a desk in the foreground).
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        warm()
        _own.direct(folder / f"{path.replace('/', '.')}.log", level)
        logger.configure(extra={"path": path})
        if _own.echo:
            logger.remove(_own.echo)
            _own.echo = 0
        if is_echoed:
            _own.echo = logger.add(
                sys.stderr, level="WARNING", format=_line, colorize=False, backtrace=False, diagnose=False
            )
        return cls(path)

    def debug(self, event: str, **fields: Any) -> None:
        """Say what only a debugging engineer wants."""
        self._logger.debug("{}", event, fields=fields)

    def info(self, event: str, **fields: Any) -> None:
        """Say what happened in the course of things."""
        self._logger.info("{}", event, fields=fields)

    def warning(self, event: str, **fields: Any) -> None:
        """Say what an operator should look at.

        Of one event a hundred lines go out at once, then ten a second; the next line that goes out says how many
        were left out before it (``suppressed``). Whoever makes others warn without end fills no disk.
        """
        now_ns = self._clock.monotonic_ns()
        bucket = self._buckets.get(event)
        if bucket is None:
            bucket = self._buckets[event] = Bucket(WARNINGS_A_SECOND, WARNINGS_AT_ONCE, now_ns)
        if not bucket.take(now_ns):
            self._suppressed[event] += 1
            return
        if event in self._suppressed:
            fields["suppressed"] = self._suppressed.pop(event)
        self._logger.warning("{}", event, fields=fields)

    def error(self, event: str, **fields: Any) -> None:
        """Say what failed."""
        self._logger.error("{}", event, fields=fields)

    def fall(self, *, supervisor: str, context: str, reason: str, offender: str) -> None:
        """Say that a child fell, in the four fields that every supervisor report has."""
        self.error("fall", supervisor=supervisor, context=context, reason=reason, offender=offender)

    def trace(self, event: str, error: BaseException, **fields: Any) -> None:
        """Say what failed, with its traceback; values of variables are never shown."""
        self._logger.opt(exception=error).error("{}", event, fields=fields)


class _Own:
    """The file of this process. Before a fork it is none, so that each child directs its lines to its own."""

    def __init__(self) -> None:
        self.is_warm = False
        self.rehearses = False
        """Whether a line is formed and not written."""
        self.echo = 0
        self._least = 0
        self._sink: FileSink | None = None

    def direct(self, file: Path, level: str) -> None:
        """Write lines of this level and above to ``file`` from now on."""
        self.let_go()
        self._least = logger.level(level).no
        self._sink = FileSink(
            file, rotation=ROTATION_BYTES, retention=ROTATIONS_KEPT, encoding="utf-8", errors="backslashreplace"
        )

    def let_go(self) -> None:
        """Close the file, where there is one."""
        if self._sink is not None:
            self._sink.stop()
            self._sink = None

    def close(self) -> None:
        """Begin anew, without a file."""
        self.let_go()
        self.is_warm, self.echo = False, 0

    def wants(self, record: Any) -> bool:
        """Say whether a line is to be written."""
        return self.rehearses or (self._sink is not None and record["level"].no >= self._least)

    def write(self, line: Any) -> None:
        """Write one line; the file is rotated where it is full."""
        if self._sink is not None:
            self._sink.write(line)


def warm() -> None:
    """Set up once, before the first fork, what would cost each child ten milliseconds. No file is opened."""
    if _own.is_warm:
        return
    _own.is_warm = True
    logger.remove()
    logger.add(_own.write, level=0, filter=_own.wants, format=_line, catch=True, backtrace=False, diagnose=False)
    logger.configure(extra={"path": ""})
    _own.rehearses = True
    logger.info("{}", "rehearsal", fields={"of": "a line, whose form is worked out at the first one"})
    _own.rehearses = False
    library = logging.getLogger("pykka")
    library.addHandler(logging.NullHandler())
    library.propagate = False


def let_go() -> None:
    """Let go of the file; nothing is logged any more until ``Log.open``, which is as quick as it was."""
    _own.let_go()


def silence() -> None:
    """Let go of the file, and of standard error; nothing is logged any more until ``Log.open``."""
    logger.remove()
    _own.close()


def _line(record: Any) -> str:
    """Format one line; the fields are JSON, so that braces and line breaks in values cannot break it."""
    fields = record["extra"].get("fields")
    record["extra"]["text"] = _json(fields) if fields else ""
    return "{time:YYYY-MM-DDTHH:mm:ss.SSSSSS!UTC}Z {level: <7} {extra[path]} {message} {extra[text]}\n{exception}"


def _json(fields: dict[str, Any]) -> str:
    try:
        return msgspec.json.encode(fields, enc_hook=str).decode()
    except UnicodeEncodeError:  # half a character, as in names of files that are no text
        return msgspec.json.encode({"unreadable": ascii(fields)}).decode()


_own = _Own()
