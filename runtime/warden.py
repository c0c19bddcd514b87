"""What each child uses, held against its limits: memory, processes and output, looked at in root's rounds.

What the kernel enforces by itself (files, processor time of a turn, address space) is only shown here.
"""

import os
import resource
from contextlib import suppress
from pathlib import Path
from typing import Any

from runtime.child import log_file
from runtime.clock import NS_PER_S
from runtime.log import Log
from runtime.process import Running, family, filters, open_files, resident_bytes
from runtime.spec import Limits

#: How often the descendants of a child that may not fork are looked for, as long as no filter of its own keeps it
#: from that: its start is not that far, or the kernel not that new.
FAMILY_NS = 2 * NS_PER_S
#: What share of the files that root may open it keeps open in order to measure: to open one costs more than to read it.
KEPT_SHARE = 8
#: Within how long a second cut of the same file is one too many.
FLOOD_NS = 10 * NS_PER_S
#: How much of the end of a file of output is kept when it is cut.
TAIL_BYTES = 64 * 1024
MIB = 1 << 20


class _Watched:
    """What is known of one incarnation."""

    __slots__ = (
        "cut_ns",
        "dropped_bytes",
        "epoch",
        "family",
        "family_due_ns",
        "is_filtered",
        "is_warned",
        "memory",
        "output",
        "rss_bytes",
    )

    def __init__(self, child: Running, output: Path, now_ns: int) -> None:
        self.epoch = child.epoch
        self.output = str(output)
        self.memory = -1
        """The kernel's file of its memory, kept open; -1 where it is not."""
        self.is_filtered = False
        """Whether the kernel keeps it from having descendants, so that none have to be looked for."""
        self.family = [child.pid]
        self.family_due_ns = now_ns + child.pid % 4 * FAMILY_NS // 4  # not all in the same round
        self.rss_bytes = self.dropped_bytes = 0
        self.cut_ns: int | None = None
        self.is_warned = False


class Warden:
    """Measures the children that have limits. It ends nobody: it says why one must end."""

    def __init__(self, state: Path, log: Log, files_max: int | None = None) -> None:
        """Know of no child yet; at most ``files_max`` files are kept open, by themselves a share of those allowed."""
        self._state, self._log = state, log
        self._watched: dict[str, _Watched] = {}
        self._own_filters = filters(os.getpid())
        allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        self._kept, self._kept_max = 0, allowed // KEPT_SHARE if files_max is None else files_max

    def look(self, child: Running, limits: Limits, now_ns: int) -> str:
        """Measure one child.

        Memory is that of the child and of all its descendants, what they share counted for each. Output over its
        limit is cut to its last 64 KiB, with a word in root's log; a second time within ten seconds is too much.

        Returns:
            Why it must be ended, in an operator's words; "" where it keeps its limits.
        """
        watched = self._watched.get(child.path)
        if watched is None or watched.epoch != child.epoch:
            self.forget(child.path)
            watched = self._watched[child.path] = _Watched(child, log_file(self._state, child.path, "out"), now_ns)
        return (
            self._processes(child, limits, watched, now_ns)
            or self._memory(child, limits, watched)
            or self._output(child, limits, watched, now_ns)
        )

    def forget(self, path: str) -> None:
        """Drop what is known of a child that has ended."""
        watched = self._watched.pop(path, None)
        if watched is not None and watched.memory >= 0:
            os.close(watched.memory)
            self._kept -= 1

    def memory_bytes(self, path: str) -> int:
        """Give the memory that a child held at the last look; 0 where its memory is not limited."""
        watched = self._watched.get(path)
        return watched.rss_bytes if watched is not None else 0

    def uses(self, child: Running, limits: Limits) -> dict[str, Any]:
        """Give, for each limit that the child has, what it uses and how much it may; what is not limited is left out.

        ``used`` is None where the kernel enforces a limit without telling.
        """
        watched = self._watched.get(child.path)
        rows: dict[str, tuple[float | None, float]] = {
            "memory_bytes": (watched.rss_bytes if watched else 0, limits.memory_hard_bytes),
            "address_space_bytes": (None, limits.address_space_bytes),
            "open_files": (open_files(child.pid) if limits.open_files else 0, limits.open_files),
            "processes": (len(watched.family) if watched else 1, limits.processes),
            "output_bytes": (file_bytes(watched.output) if watched else 0, limits.output_bytes),
            "cpu_s_per_handler": (None, limits.cpu_s_per_handler),
        }
        shown: dict[str, Any] = {name: {"used": used, "max": most} for name, (used, most) in rows.items() if most}
        if "memory_bytes" in shown:
            shown["memory_bytes"]["soft"] = limits.memory_soft_bytes
        if "output_bytes" in shown:
            shown["output_bytes"]["dropped"] = watched.dropped_bytes if watched else 0
        return shown

    def _processes(self, child: Running, limits: Limits, watched: _Watched, now_ns: int) -> str:
        """Count descendants: of whoever may fork in each round, of the others until their filter is seen."""
        if not limits.processes or (limits.processes == 1 and (watched.is_filtered or now_ns < watched.family_due_ns)):
            return ""
        watched.family_due_ns = now_ns + FAMILY_NS
        has_filter = limits.processes == 1 and filters(child.pid) > self._own_filters
        watched.family = family(child.pid)  # after the filter, which is for good: what was born before it is seen now
        watched.is_filtered = has_filter and len(watched.family) == 1
        if len(watched.family) <= limits.processes:
            return ""
        return f"{len(watched.family)} processes, over the limit of {limits.processes}"

    def _memory(self, child: Running, limits: Limits, watched: _Watched) -> str:
        hard, soft = limits.memory_hard_bytes, limits.memory_soft_bytes
        if not (hard or soft):
            return ""
        watched.rss_bytes = self._resident(child, watched)
        if hard and watched.rss_bytes > hard:
            return f"{watched.rss_bytes // MIB} MiB of memory, over the hard limit of {hard // MIB} MiB"
        if soft and watched.rss_bytes > soft and not watched.is_warned:
            watched.is_warned = True
            self._log.warning("memory.soft", path=child.path, rss_bytes=watched.rss_bytes, limit_bytes=soft)
        return ""

    def _resident(self, child: Running, watched: _Watched) -> int:
        """Read what a family holds; of most there is one process, whose file is open already."""
        if watched.memory < 0 and self._kept < self._kept_max:
            with suppress(OSError):
                watched.memory = os.open(f"/proc/{child.pid}/statm", os.O_RDONLY | os.O_CLOEXEC)
                self._kept += 1
        own = resident_bytes(child.pid, watched.memory)
        return own if len(watched.family) == 1 else own + sum(map(resident_bytes, watched.family[1:]))

    def _output(self, child: Running, limits: Limits, watched: _Watched, now_ns: int) -> str:
        most = limits.output_bytes
        if not most or file_bytes(watched.output) <= most:
            return ""
        file = Path(watched.output)
        try:
            dropped = cut(file)
        except OSError as error:  # it may remove the file, or take the rights to it away
            return f"its output in log/{file.name}, over the limit, cannot be cut: {error.strerror}"
        watched.dropped_bytes += dropped
        self._log.warning("output.cut", path=child.path, dropped_bytes=dropped, limit_bytes=most)
        before_ns, watched.cut_ns = watched.cut_ns, now_ns
        if before_ns is None or now_ns - before_ns > FLOOD_NS:
            return ""
        mib, name = most / MIB, file.name
        return f"it printed more than {mib:g} MiB twice in {FLOOD_NS // NS_PER_S} s; the end of it is in log/{name}"


def cut(file: Path) -> int:
    """Shorten a file to its last 64 KiB while another process appends to it; give how many bytes were dropped.

    What is appended in that very moment may be dropped too.
    """
    with file.open("r+b") as handle:
        size = handle.seek(0, os.SEEK_END)
        handle.seek(max(0, size - TAIL_BYTES))
        tail = handle.read(TAIL_BYTES)
        handle.truncate(0)
    with file.open("ab") as handle:
        handle.write(f"[{size - len(tail)} bytes were dropped here]\n".encode() + tail)
    return size - len(tail)


def file_bytes(file: str | Path) -> int:
    """Give how long a file is; 0 where there is none, or nobody can tell."""
    try:
        return os.stat(file).st_size  # noqa: PTH116 - a thousand of these a round
    except OSError:
        return 0
