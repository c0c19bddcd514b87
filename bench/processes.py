"""What the processes of a desk hold of this machine, as the kernel tells it."""

import contextlib
from pathlib import Path
from typing import NamedTuple

KIB_PER_MIB = 1024
#: What a desk's processes are called: this, and their path in words. Root itself is called as it was started.
TITLE = "bulkhead: "
ROOT = "(root)"


class Memory(NamedTuple):
    """A process's share of memory in KiB: a page that several have counts in parts.

    ``anonymous`` is what it holds itself, ``file`` is what it looks at of files, such as code and stores; of that the
    kernel takes back what it needs.
    """

    anonymous: int
    file: int

    @property
    def whole(self) -> int:
        """All of it, what is called PSS."""
        return self.anonymous + self.file


class Holdings(NamedTuple):
    """What one process holds."""

    memory: Memory
    descriptors: int
    threads: int


def memory_of(pid: int) -> Memory:
    """Read a process's share of memory; nothing where it is gone."""
    found: dict[str, int] = {}
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()[1:]:
            name, _, rest = line.partition(":")
            found[name] = int(rest.split()[0])
    anonymous = found.get("Pss_Anon", 0)
    return Memory(anonymous, found.get("Pss", 0) - anonymous)


def holdings_of(pid: int) -> Holdings | None:
    """Read what a process holds; None where it is gone."""
    try:
        descriptors = len(list(Path(f"/proc/{pid}/fd").iterdir()))
        threads = len(list(Path(f"/proc/{pid}/task").iterdir()))
    except OSError:
        return None
    memory = memory_of(pid)
    return Holdings(memory, descriptors, threads) if memory.whole else None


def children_of(pid: int) -> list[int]:
    """Name the children of a process; none where it is gone."""
    with contextlib.suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]
    return []


def desk_processes(root: int) -> dict[str, int]:
    """Give the pid of each process of a desk by its name, such as "strategy spy_vwap"; root, zygote and spare too."""
    found = {ROOT: root}
    for pid in children_of(root):
        with contextlib.suppress(OSError):
            title = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").decode(errors="replace")
            if title.startswith(TITLE):
                found.setdefault(title.removeprefix(TITLE), pid)  # a birth bears its parent's name for a moment
    return found
