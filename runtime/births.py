"""How root has its children born: who waits, who is under way, and what is to become of one that is not there yet."""

import os
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from runtime.child import ChildRequest
from runtime.clock import NS_PER_S, Clock
from runtime.patience import Patience
from runtime.process import Running, Zygote, ZygoteBusyError, has_ended, waited_ns
from runtime.restart import Backoff
from runtime.spares import Spares

#: How long the zygote may leave requests without an answer.
ZYGOTE_SILENCE_NS_MAX = 10 * NS_PER_S
#: Before a zygote is executed anew. It has no siblings that would come back with it, so there is no chance in it; and
#: all births wait for it, so its waits are short. One that had a child is healthy.
ZYGOTE_BACKOFF = Backoff(base_ns=NS_PER_S // 5, cap_ns=5 * NS_PER_S, healthy_ns=60 * NS_PER_S)
#: How many that are expendable are born at once, and for how long one that is not READY yet counts among them. With a
#: quarter of that the zygote often waits between two forks, and a thousand take an eighth longer.
BIRTHS_MAX = 8 * max(2, os.cpu_count() or 1)
BIRTH_NS_MAX = NS_PER_S


class Born(NamedTuple):
    """A child of which the zygote has told, and what happened to it before."""

    child: Running
    is_gentle: bool
    is_early: bool
    """It was READY before the zygote told of it."""
    is_doomed: bool
    """It was to be killed before anybody knew its pid."""


class Births:
    """The requests on their way to the zygote, the zygote itself, and the spares that make a request needless.

    Those that others build upon are born first. Of those that nobody builds upon so many are born at a time that each
    is born soon: a thousand that share the processors would all come too late.
    """

    def __init__(self, zygote: Zygote, spares: Spares, clock: Clock, waited: Callable[[int], int] = waited_ns) -> None:
        """Take the zygote, which is down, and the spares, of which there are none yet.

        ``waited`` gives how long (ns) a process has waited for a processor so far.
        """
        self._zygote, self._spares, self._clock = zygote, spares, clock
        self._patience = Patience(waited)
        self._waiting: deque[ChildRequest] = deque()
        self._asked: dict[str, ChildRequest] = {}
        self._expendable_ns: dict[str, int] = {}
        self._early: set[tuple[str, int]] = set()
        self._doomed: set[tuple[str, int]] = set()
        self._heard_ns = 0
        self._falls = 0
        self.start_due_ns: int | None = None
        """When the successor of a zygote that has ended is to be executed; None while one lives."""

    # --- the zygote and the spares ------------------------------------------------------------

    def start(self, *, is_crowd: bool) -> tuple[int, int]:
        """Execute the zygote and hand it what waits; give the two descriptors that are readable when it has news.

        With ``is_crowd`` it prepares for very many children: that takes longer, and each then takes less memory.

        Raises:
            OSError: It cannot be executed; ``lose`` it.
        """
        self._zygote.start(is_crowd=is_crowd)
        self.start_due_ns = None
        self.ask()
        return self._zygote.pidfd, self._zygote.fileno()

    @property
    def is_zygote_dead(self) -> bool:
        """Whether it was started and has ended since."""
        return self._zygote.pidfd >= 0 and has_ended(self._zygote.pidfd, 0)

    def lose(self) -> list[ChildRequest]:
        """Bury a dead zygote and give what it was asked for and has not told of; what still waits goes on waiting.

        Its descriptors have to be let go of before. What it forked without saying so is a stranger. ``start`` the
        next one when it is due: at once, and later and later where none has had a child since.
        """
        self._zygote.stop()
        self._spares.clear_stage()  # the next zygote rehearses where they do
        self._falls += 1
        self.start_due_ns = self._clock.monotonic_ns() + ZYGOTE_BACKOFF.span_ns(self._falls)
        lost, self._asked = list(self._asked.values()), {}
        places = {(request.path, request.epoch) for request in lost}
        self._doomed -= places
        self._early -= places
        for request in lost:
            self._expendable_ns.pop(request.path, None)
        return lost

    def close(self, sockets: Path) -> None:
        """End the zygote and the spares for good."""
        self._zygote.stop()
        self._spares.close(sockets)

    def descriptors(self) -> tuple[int, int]:
        """Give the zygote's two descriptors; it is not down."""
        return self._zygote.pidfd, self._zygote.fileno()

    def fileno(self) -> int:
        """Give the descriptor that is readable when there is news of a spare."""
        return self._spares.fileno()

    def hear_spares(self) -> None:
        """Take note of the spares that are ready, and of those that have ended."""
        self._spares.hear()

    def pids(self) -> set[int]:
        """Give the processes that are no children: the zygote's (0 while it is down) and the spares'."""
        return {self._zygote.pid, *self._spares.pids()}

    def words(self) -> dict[str, int]:
        """Say how the zygote is, as plain values."""
        return {"pid": self._zygote.pid, "starts": self._zygote.starts, "spares": self._spares.count}

    # --- asking -------------------------------------------------------------------------------

    def begin(self, request: ChildRequest) -> Running | None:
        """Have a child born; give it at once where a spare becomes it, else its birth is told by ``answers``."""
        if request.is_expendable and not request.is_gentle and (child := self._spares.become(request)) is not None:
            return child
        if request.is_expendable:
            self._waiting.append(request)
        else:
            self._waiting.appendleft(request)  # others build upon it
        self.ask()
        return None

    @property
    def wants_spare(self) -> bool:
        """Whether another process should wait to become a child: nobody else is born, and none rehearses."""
        return not (self._asked or self._waiting or self._spares.is_rehearsing) and self._spares.is_wanted

    def begin_spare(self, request: ChildRequest) -> None:
        """Have another process wait to become a child."""
        self._waiting.append(request)
        self.ask()

    def ask(self) -> None:
        """Hand over the requests that wait. The rest goes with the zygote's next answer, or to its successor."""
        while self._waiting and not (self._waiting[0].is_expendable and self._are_born_enough()):
            try:
                self._zygote.spawn(self._waiting[0])
            except ZygoteBusyError:
                return
            if not self._asked:
                self._heard_ns = self._clock.monotonic_ns()
            request = self._waiting.popleft()
            self._asked[request.path] = request
            if request.is_expendable and not request.is_gentle:
                self._expendable_ns[request.path] = self._clock.monotonic_ns()

    def _are_born_enough(self) -> bool:
        """Say whether as many births are under way as may be; one that takes long holds up nobody."""
        if len(self._expendable_ns) >= BIRTHS_MAX:
            due_ns = self._clock.monotonic_ns() - BIRTH_NS_MAX
            self._expendable_ns = {path: ns for path, ns in self._expendable_ns.items() if ns > due_ns}
        return len(self._expendable_ns) >= BIRTHS_MAX

    def look(self, now_ns: int) -> None:
        """Hand over what waits, and end a zygote or a spare that leaves us without an answer for too long."""
        self.ask()
        self._spares.look(now_ns)
        if self._asked and self._zygote_silent_ns(now_ns) > ZYGOTE_SILENCE_NS_MAX:
            self._zygote.kill()

    def _zygote_silent_ns(self, now_ns: int) -> int:
        """Say for how long it has left us without an answer, of its own doing: one that is killed begins anew."""
        zygote = Running("zygote", self._zygote.starts, self._zygote.pid, self._zygote.pidfd)
        return self._patience.silent_ns(zygote, self._heard_ns, now_ns, ZYGOTE_SILENCE_NS_MAX)

    # --- what becomes of those that are not there yet -----------------------------------------

    def answers(self) -> Iterator[Born]:
        """Give the children that were born since; ``ask`` when all are taken in. A new spare is kept here."""
        for spawned, channel in self._zygote.answers():
            request = self._asked.pop(spawned.path, None)
            assert request is not None, "the zygote answers what was asked"
            self._heard_ns, self._falls = self._clock.monotonic_ns(), 0
            if channel is not None:
                self._spares.take_in(spawned.pid, channel, self._heard_ns)
                continue
            place = (spawned.path, spawned.epoch)
            is_early, is_doomed = place in self._early, place in self._doomed
            self._early.discard(place)
            self._doomed.discard(place)
            child = Running(spawned.path, spawned.epoch, spawned.pid, os.pidfd_open(spawned.pid))
            yield Born(child, request.is_gentle, is_early, is_doomed)

    @property
    def is_awaited(self) -> bool:
        """Whether the zygote was asked for something of which it has not told: a process nobody knows may be it."""
        return bool(self._asked)

    def awaits(self, path: str) -> bool:
        """Say whether the zygote was asked for this child and has not told of it."""
        return path in self._asked

    def under_way(self) -> tuple[ChildRequest, ...]:
        """Give the requests that wait, and those of which the zygote has not told."""
        return (*self._waiting, *self._asked.values())

    def see_ready(self, path: str, epoch: int) -> bool:
        """Note that a child is READY of which the zygote has not told; False where it is no such one."""
        request = self._asked.get(path)
        if request is None or request.epoch != epoch:
            return False
        self._early.add((path, epoch))
        return True

    def end(self, path: str) -> None:
        """Let the next one be born: this one is READY, or has ended."""
        if self._expendable_ns.pop(path, None) is not None and self._waiting:
            self.ask()

    def take_back(self, path: str, epoch: int) -> bool:
        """Drop a request that the zygote has not been told yet; False where there is none."""
        for request in self._waiting:
            if (request.path, request.epoch) == (path, epoch):
                self._waiting.remove(request)
                return True
        return False

    def doom(self, path: str, epoch: int) -> None:
        """Have a child killed as soon as its pid is known."""
        self._doomed.add((path, epoch))
