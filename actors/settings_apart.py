"""Read the configuration in a throw-away process: a strategy's module that hangs or crashes takes nobody along.

``python -m actors.settings_apart FILE RESULT PROGRESS WITHOUT CODE PARENT`` is that process; RESULT and PROGRESS are
descriptors, WITHOUT and CODE objects of JSON.
"""

import importlib
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

import strategies
from actors.problem import Problem
from actors.settings_file import Loaded, load
from actors.strategy_catalogue import StrategyBrokenError, find_strategy
from runtime.child import die_with
from runtime.clock import NS_PER_S, Clock
from runtime.file import mark_of
from strategies.base import Strategy

#: How long one try may take; then the module that is being imported is to blame.
TRY_NS_MAX = 20 * NS_PER_S
#: Processor time of one try, and its address space.
TRY_CPU_S_MAX = 30
TRY_BYTES_MAX = 4 << 30
#: So many modules that hang or crash are left aside one by one; with more of them the file is refused.
CULPRITS_MAX = 8
#: How often a start reads a file that is being written to.
READINGS_MAX = 10
NAME_BYTES_MAX = 200
RESULT_BYTES_MAX = 64 << 20


class ReadingApart:
    """One file being read by a process of its own; ``poll`` says when it is done. Nothing here waits."""

    def __init__(self, file: Path, clock: Clock, code: Mapping[str, str] | None = None) -> None:
        """Start to read. ``code`` names the folder of each pinned module: that copy is asked, for it is what runs."""
        self._file, self._clock, self._code = file, clock, dict(code or {})
        self._without: dict[str, str] = {}
        self._start()

    def _start(self) -> None:
        self._result, self._progress = os.memfd_create("loaded"), os.memfd_create("importing")
        self._began_ns = self._clock.monotonic_ns()
        descriptors = (self._result, self._progress)
        command = [sys.executable, "-P", "-m", "actors.settings_apart", str(self._file), *map(str, descriptors)]
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            [
                *command,
                msgspec.json.encode(self._without).decode(),
                msgspec.json.encode(self._code).decode(),
                str(os.getpid()),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=descriptors,
            start_new_session=True,
        )

    def poll(self) -> Loaded | None:
        """Give what came of it, or None while it is not done. Whatever the modules do, it comes to an end."""
        code = self._process.poll()
        if code is None and self._clock.monotonic_ns() - self._began_ns < TRY_NS_MAX:
            return None
        ended = "takes too long" if code is None else f"ends the process that imports it ({_ended(code)})"
        self._end_process()
        loaded = self._read_result() if code == 0 else None
        culprit = os.pread(self._progress, NAME_BYTES_MAX, 0).rstrip(b"\0").decode()
        os.close(self._result)
        os.close(self._progress)
        if loaded is not None:
            return loaded
        if not culprit or len(self._without) == CULPRITS_MAX:
            fault = f"reading it {'took too long' if code is None else f'ended its reader ({_ended(code)})'}"
            return Loaded(None, (Problem(file=str(self._file), line=0, path="", expected="", fault=fault),))
        self._without[culprit] = f"strategies/{culprit}.py does not load: importing it {ended}"
        self._start()
        return None

    def wait(self) -> Loaded:
        """Wait for what comes of it; for a start, which has nothing else to do."""
        while (loaded := self.poll()) is None:
            left_s = (self._began_ns + TRY_NS_MAX - self._clock.monotonic_ns()) / NS_PER_S
            try:
                self._process.wait(max(left_s, 0.0))
            except subprocess.TimeoutExpired:
                continue
        return loaded

    def close(self) -> None:
        """End the reading; what comes of it is not wanted any more."""
        self._end_process()
        os.close(self._result)
        os.close(self._progress)

    def _end_process(self) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _read_result(self) -> Loaded | None:
        try:
            return msgspec.msgpack.decode(os.pread(self._result, RESULT_BYTES_MAX, 0), type=Loaded)
        except msgspec.DecodeError:
            return None


def read_apart(file: Path, clock: Clock, code: Mapping[str, str] | None = None) -> Loaded:
    """Read and check a configuration file, in a process of its own, and wait for it.

    Half of an edit may hold together, and mean much: what was written to meanwhile is read again.
    """
    for _ in range(READINGS_MAX):
        mark = mark_of(file)
        loaded = ReadingApart(file, clock, code).wait()
        if mark_of(file) == mark:
            return loaded
    fault = f"it was written to during each of {READINGS_MAX} readings"
    return Loaded(None, (Problem(file=str(file), line=0, path="", expected="leave it as it is", fault=fault),))


def _ended(code: int) -> str:
    return f"exit status {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"


# --- the process that reads -----------------------------------------------------------------------


class _Finder:
    """Finds strategies, and leaves word of the one that is being imported."""

    def __init__(self, progress: int, without: Mapping[str, str], code: Mapping[str, str]) -> None:
        self._progress, self._without, self._code = progress, without, code

    def find(self, name: str) -> type[Strategy] | None:
        if name in self._without:
            raise StrategyBrokenError(self._without[name])
        os.pwrite(self._progress, name.encode()[:NAME_BYTES_MAX].ljust(NAME_BYTES_MAX, b"\0"), 0)
        folder = self._code.get(name)
        found = find_strategy(name) if folder is None else _find_in(folder, name)
        os.pwrite(self._progress, bytes(NAME_BYTES_MAX), 0)
        return found


def _find_in(folder: str, name: str) -> type[Strategy] | None:
    """Find a strategy in its pinned copy; what it imports of its package is the copy's, and no other strategy's."""
    places = list(strategies.__path__)
    strategies.__path__[:] = [folder, *places]
    _forget_all_but_the_contract()
    try:
        return find_strategy(name)
    finally:
        strategies.__path__[:] = places
        _forget_all_but_the_contract()


def _forget_all_but_the_contract() -> None:
    importlib.invalidate_caches()
    for module in [name for name in sys.modules if name.startswith("strategies.") and name != "strategies.base"]:
        del sys.modules[module]


def main() -> None:
    """Read the file that the arguments name, and write what came of it."""
    file, result, progress, without, code, parent = sys.argv[1:]
    die_with(int(parent))
    for kind, most in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_CPU, TRY_CPU_S_MAX),
        (resource.RLIMIT_AS, TRY_BYTES_MAX),
    ):
        resource.setrlimit(kind, (most, most))
    finder = _Finder(
        int(progress),
        msgspec.json.decode(without, type=dict[str, str]),
        msgspec.json.decode(code, type=dict[str, str]),
    )
    data = msgspec.msgpack.encode(load(Path(file), finder.find))
    with os.fdopen(int(result), "wb") as out:
        out.write(data)
    os._exit(0)  # whatever a module has left running ends with it


if __name__ == "__main__":
    main()
