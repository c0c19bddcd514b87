"""A storm: faults as scheduled, over a desk that trades."""

import os
import signal
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from tests.chaos.ground import Wishes
from tests.chaos.schedule import Fault
from tests.chaos.watch import Watch

TROUBLE = {
    "submit.late_cut": 0.05,
    "submit.drop_reply": 0.1,
    "submit.late": 0.1,
    "submit.error_before": 0.05,
    "submit.error_after": 0.1,
    "submit.garbage": 0.02,
    "cancel.drop_reply": 0.1,
    "cancel.race": 0.1,
    "replace.drop_reply": 0.1,
    "look.drop_reply": 0.05,
    "stream.lose": 0.1,
    "stream.repeat": 0.1,
    "stream.reorder": 0.1,
    "stream.cut": 0.03,
    "fill.partial": 0.3,
}


class Storm:
    """One storm: each kind of fault of the schedule is a method of its name here."""

    def __init__(self, watch: Watch, schedule: list[Fault]) -> None:
        """Take what shall go wrong; nothing has yet."""
        self._watch, self._schedule = watch, list(schedule)
        self._ends: list[tuple[float, str, Callable[[], object]]] = []
        self._wishes = Wishes()
        self.done: Counter[str] = Counter()

    def blow(self) -> None:
        """Let everything go wrong that is scheduled."""
        while self._schedule or self._ends:
            at_s = self._watch.since_s()
            while self._schedule and self._schedule[0].at_s <= at_s:
                fault = self._schedule.pop(0)
                self.done[fault.kind] += 1
                getattr(self, f"_{fault.kind}")(fault)
            for end in [end for end in self._ends if end[0] <= at_s]:
                self._ends.remove(end)
                self._watch.note(f"   over: {end[1]}")
                end[2]()
            self._watch.pause()

    def _later(self, fault: Fault, end: Callable[[], object]) -> None:
        self._ends.append((self._watch.since_s() + fault.for_s, str(fault), end))

    def _hit(self, name: str, number: signal.Signals) -> int:
        process = self._watch.ground.send(name, number)
        if process < 0:
            self._watch.note(f"   {name} is down just now")
        return process

    def _kill(self, fault: Fault) -> None:
        self._watch.note(str(fault))
        for name in fault.target.split(", "):
            process = self._hit(name, signal.SIGKILL)
            if process >= 0:
                os.close(process)

    _kill_three = _kill_root = _kill

    def _stop(self, fault: Fault) -> None:
        self._watch.note(str(fault))
        process = self._hit(fault.target, signal.SIGSTOP)
        if process < 0:
            return

        def go_on() -> None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(process, signal.SIGCONT)
            os.close(process)

        self._later(fault, go_on)

    _stop_root = _stop

    def _cut_venue(self, fault: Fault) -> None:
        self._watch.note(str(fault))
        self._watch.ground.venue.cut()

    def _halve_venue(self, fault: Fault) -> None:
        self._watch.note(str(fault))
        self._watch.ground.venue.halve()

    def _stall_venue(self, fault: Fault) -> None:
        self._watch.note(str(fault))
        self._watch.ground.venue.stall(is_on=True)
        self._later(fault, partial(self._watch.ground.venue.stall, is_on=False))

    def _shut_venue(self, fault: Fault) -> None:
        self._watch.note(str(fault))
        self._watch.ground.venue.shut(is_on=True)
        self._later(fault, partial(self._watch.ground.venue.shut, is_on=False))

    def _manners(self, fault: Fault) -> None:
        self._watch.note(f"{fault}: the exchange misbehaves")
        self._watch.ground.rates(TROUBLE, seed=int(fault.at_s * 100))
        self._later(fault, partial(self._watch.ground.rates, {}))

    def _cut_feed(self, fault: Fault) -> None:
        self._watch.note(str(fault))
        self._watch.ground.feed.cut()

    def _stall_feed(self, fault: Fault) -> None:
        self._watch.note(str(fault))
        self._watch.ground.feed.stall(is_on=True)
        self._later(fault, partial(self._watch.ground.feed.stall, is_on=False))

    def _full_disk(self, fault: Fault) -> None:
        self._watch.note(str(fault))
        filler = self._watch.ground.desk.state / "filler"
        fill(filler)

        def make_room() -> None:
            filler.unlink(missing_ok=True)
            self._watch.verb("resume", reason="there is room on the disk again")

        self._later(fault, make_room)

    def _halt(self, fault: Fault) -> None:
        self._watch.verb("halt", reason="a storm")
        self._later(fault, partial(self._watch.verb, "resume", reason="the storm goes on"))

    def _disable(self, fault: Fault) -> None:
        position = "flatten" if int(fault.at_s * 100) % 2 else "hold"
        self._watch.verb("disable", name=fault.target, position=position, reason="a storm")
        self._later(fault, partial(self._watch.verb, "enable", name=fault.target, reason="the storm goes on"))

    def _restart(self, fault: Fault) -> None:
        self._watch.verb("restart", path=fault.target, reason="a storm")

    def _cancel(self, fault: Fault) -> None:
        self._watch.verb("cancel", name=fault.target, reason="a storm")

    def _flatten(self, fault: Fault) -> None:
        self._watch.verb("flatten", strategy=fault.target, reason="a storm")

    def _reconcile(self, _fault: Fault) -> None:
        self._watch.verb("reconcile", reason="a storm")

    def _edit(self, fault: Fault) -> None:
        self._watch.note(str(fault))
        edits = {
            "guest": {"has_guest": True},
            "limits": {"max_positions": 3},
            "parameters": {"pieces": 2},
            "enabled": {"enabled": False},
            "broken": {"is_broken": True},
        }
        self._write(self._wishes._replace(**edits[fault.target]))
        back = edits[fault.target].keys()

        def mend() -> None:
            was = Wishes()
            self._write(self._wishes._replace(**{key: getattr(was, key) for key in back}))

        self._later(fault, mend)

    def _write(self, wishes: Wishes) -> None:
        self._wishes = wishes
        self._watch.ground.edit(wishes)
        self._watch.verb("reload", reason="a storm")


def fill(file: Path) -> None:
    """Take all the room that a disk has left."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        size = 1 << 20
        length = 0
        while size:
            try:
                os.posix_fallocate(descriptor, length, size)
                length += size
            except OSError:
                size //= 2
    finally:
        os.close(descriptor)
