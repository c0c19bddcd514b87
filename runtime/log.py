"""One log a process: an event name and fields, never prose with values in it. Set up once, here."""

import logging
import os
import re
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from loguru import logger

from runtime.bucket import Bucket
from runtime.clock import NS_PER_S, Clock

ROTATION_BYTES = 10 * 1000 * 1000
ROTATIONS_KEPT = 5
#: How much is written of one traceback: what an error says of itself may be megabytes.
TRACE_CHARS_MAX = 1 << 16
WARNINGS_AT_ONCE = 100
WARNINGS_A_SECOND = 10
#: What a file that is full is named by, before its ending: when it was put aside.
_ASIDE = "%Y-%m-%d_%H-%M-%S_%f"
_IS_ASIDE = re.compile(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d_\d{6}")
_LEVELS = {
    name: logger.level(name).no for name in ("TRACE", "DEBUG", "INFO", "SUCCESS", "WARNING", "ERROR", "CRITICAL")
}
_STDERR = 2
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC


class Log:
    """The log of one process: ``var/log/PATH.log``, rotated at 10 MB, five old ones kept."""

    def __init__(self, path: str) -> None:
        """Speak for the process at ``path`` of the tree."""
        self._path = path
        self._clock = Clock()
        self._buckets: dict[str, Bucket] = {}
        self._suppressed: dict[str, int] = {}

    @classmethod
    def open(cls, folder: Path, path: str, level: str, *, is_echoed: bool = False) -> "Log":
        """Direct everything this process logs to its own file.

        Args:
            folder: Where the logs lie; made where it is missing.
            path: The process's place in the tree; its file is named after it.
            level: Least level that is written, in loguru's words.
            is_echoed: Warnings and worse go to standard error too (the root of a desk in the foreground).

        Raises:
            OSError: The file cannot be opened.
        """
        warm()
        if not os.path.isdir(folder):  # noqa: PTH112 - every birth asks, and nearly always it is there
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _own.direct(str(folder), path, _LEVELS[level], is_echoed=is_echoed)
        return cls(path)

    def debug(self, event: str, **fields: Any) -> None:
        """Say what only a debugging engineer wants."""
        self._say("DEBUG", event, fields)

    def info(self, event: str, **fields: Any) -> None:
        """Say what happened in the course of things."""
        self._say("INFO", event, fields)

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
            self._suppressed[event] = self._suppressed.get(event, 0) + 1
            return
        if event in self._suppressed:
            fields["suppressed"] = self._suppressed.pop(event)
        self._say("WARNING", event, fields)

    def error(self, event: str, **fields: Any) -> None:
        """Say what failed."""
        self._say("ERROR", event, fields)

    def fall(self, *, supervisor: str, context: str, reason: str, offender: str) -> None:
        """Say that a child fell, in the four fields that every supervisor report has."""
        self.error("fall", supervisor=supervisor, context=context, reason=reason, offender=offender)

    def trace(self, event: str, error: BaseException, **fields: Any) -> None:
        """Say what failed, with its traceback; values of variables are never shown."""
        if _own.wants(_LEVELS["ERROR"]):
            logger.opt(exception=error).bind(line=self._line("ERROR", event, fields)).error("")

    def _say(self, level: str, event: str, fields: dict[str, Any]) -> None:
        number = _LEVELS[level]
        if _own.wants(number):
            _own.write(self._line(level, event, fields) + "\n", number)

    def _line(self, level: str, event: str, fields: dict[str, Any]) -> str:
        """Form one line; the fields are JSON, so that braces and line breaks in values cannot break it."""
        seconds, rest_ns = divmod(self._clock.wall_ns(), NS_PER_S)
        at = datetime.fromtimestamp(seconds, UTC).isoformat()[:19]
        return f"{at}.{rest_ns // 1000:06}Z {level: <7} {self._path} {event} {_json(fields) if fields else ''}"


class _Own:
    """The file of this process. Before a fork it is none, so that each child directs its lines to its own.

    A line is written whole by one call of the kernel, or not: where the disk is full it is lost, and nobody falls.
    """

    def __init__(self) -> None:
        self.is_warm = False
        self._folder = self._path = self._name = ""
        self._least = 0
        self._is_echoed = False
        self._descriptor = -1
        self._size = 0

    def direct(self, folder: str, path: str, least: int, *, is_echoed: bool) -> None:
        """Write lines of this level and above to the file of the process at this path from now on."""
        self.let_go()
        self._folder, self._path, self._name = folder, path, path.replace("/", ".")
        self._least, self._is_echoed = least, is_echoed
        self._open()

    def _open(self) -> None:
        self._descriptor = os.open(f"{self._folder}/{self._name}.log", _FLAGS, 0o600)
        self._size = os.fstat(self._descriptor).st_size

    @property
    def form(self) -> str:
        """How a line of the library's own becomes one of this file's."""
        return f"{{time:YYYY-MM-DDTHH:mm:ss.SSSSSS!UTC}}Z {{level: <7}} {self._path} said {{message}}\n{{exception}}"

    def let_go(self) -> None:
        """Close the file, where there is one."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def wants(self, number: int) -> bool:
        """Say whether a line of this level is to be written."""
        return self._descriptor >= 0 and number >= self._least

    def trace(self, text: Any) -> None:
        """Write a line with the traceback that the library has formed behind it, or its beginning."""
        whole = str(text)
        more = len(whole) - TRACE_CHARS_MAX
        said = whole if more <= 0 else f"{whole[:TRACE_CHARS_MAX]}\n[{more} characters were left out here]\n"
        self.write(said, _LEVELS["ERROR"])

    def write(self, text: str, number: int) -> None:
        """Write lines; the file is put aside first where it is full."""
        data = text.encode("utf-8", "backslashreplace")
        try:
            if self._size and self._size + len(data) > ROTATION_BYTES:
                self._rotate()
            self._size += os.write(self._descriptor, data)
        except OSError:
            pass
        if self._is_echoed and number >= _LEVELS["WARNING"]:
            offer(_STDERR, text)

    def _rotate(self) -> None:
        """Put the file aside and begin a new one. Where there can be no new one, the old one becomes longer."""
        folder, now = Path(self._folder), datetime.fromtimestamp(Clock().wall_ns() / NS_PER_S, UTC)
        (folder / f"{self._name}.log").rename(folder / f"{self._name}.{now.strftime(_ASIDE)}.log")
        full = self._descriptor
        self._open()
        os.close(full)
        old = sorted(
            file for file in folder.glob("*.log") if _IS_ASIDE.fullmatch(file.stem.removeprefix(f"{self._name}."))
        )
        for file in old[:-ROTATIONS_KEPT]:
            file.unlink()


def offer(descriptor: int, text: str) -> None:
    """Show a text to whoever reads there now. What is not taken at once, or not any more, is lost.

    A terminal that is closed or held, a pipe that nobody reads and a disk that is full end nobody and stop nobody.
    """
    with suppress(OSError):
        is_blocking = os.get_blocking(descriptor)
        os.set_blocking(descriptor, False)
        try:
            data = text.encode("utf-8", "backslashreplace")
            while data:
                data = data[os.write(descriptor, data) :]
        finally:
            os.set_blocking(descriptor, is_blocking)


def warm() -> None:
    """Set up once, before the first fork, what would cost each child milliseconds. No file is opened."""
    if _own.is_warm:
        return
    _own.is_warm = True
    logger.remove()
    logger.add(_own.trace, level=0, format=_traced, catch=True, backtrace=False, diagnose=False)
    library = logging.getLogger("pykka")
    library.addHandler(logging.NullHandler())
    library.propagate = False


def let_go() -> None:
    """Let go of the file; nothing is logged any more until ``Log.open``, which is as quick as it was."""
    _own.let_go()


def silence() -> None:
    """Let go of the file, and of standard error; nothing is logged any more until ``Log.open``."""
    logger.remove()
    _own.let_go()
    _own.is_warm = False


def _traced(record: Any) -> str:
    """Form a line of ours with its traceback, or what a strategy says through the library by itself."""
    return "{extra[line]}\n{exception}" if "line" in record["extra"] else _own.form


def _json(fields: dict[str, Any]) -> str:
    try:
        return msgspec.json.encode(fields, enc_hook=str).decode()
    except UnicodeEncodeError:  # half a character, as in names of files that are no text
        return msgspec.json.encode({"unreadable": ascii(fields)}).decode()


_own = _Own()
