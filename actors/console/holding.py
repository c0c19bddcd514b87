"""The question to execution who holds something, before code changes under a name; and what is barred meanwhile."""

from collections.abc import Collection, Mapping

from desk.messages import HoldersGiven, HoldersWanted
from runtime.clock import NS_PER_S, Clock
from runtime.effects import Effects

#: How long execution may be silent before every strategy counts as one that holds something.
HOLDERS_NS_MAX = 3 * NS_PER_S
#: The incarnation up to which nobody is barred.
NOBODY = -1


class Holding:
    """One question at a time. Those that are flat, and are to get other code, open nothing from the answer on."""

    def __init__(self, clock: Clock) -> None:
        """Ask nothing yet."""
        self._clock = clock
        self._query = 0
        self._asked_ns: int | None = None
        self._asked: Mapping[str, int] = {}
        self._barred: frozenset[str] = frozenset()
        """Whom execution may have barred, and who may keep their code after all."""
        self._is_taken_up = False

    @property
    def is_asked(self) -> bool:
        """True while an answer is waited for."""
        return self._asked_ns is not None

    def take_up(self, staying: Collection[str]) -> None:
        """Take whoever does not leave for one that a fallen console may have had barred; it is done once."""
        if not self._is_taken_up:
            self._is_taken_up = True
            self._barred = self._barred.union(staying)

    @property
    def is_overdue(self) -> bool:
        """True where the answer has been waited for too long."""
        return self._asked_ns is not None and self._clock.monotonic_ns() - self._asked_ns > HOLDERS_NS_MAX

    def ask(self, superseded: Mapping[str, int], effects: Effects) -> None:
        """Ask who holds something; ``superseded`` are incarnations that end where they hold nothing."""
        self._asked_ns, self._asked = self._clock.monotonic_ns(), superseded
        self._release(self._barred - superseded.keys(), effects)
        self._barred = frozenset(superseded)
        self._post(superseded, effects, is_sure=False)

    def is_answer(self, given: HoldersGiven) -> bool:
        """Say whether this is the answer that is waited for."""
        return self.is_asked and given.query == self._query

    def close(self) -> None:
        """Wait for no answer any more; one that comes late is none."""
        self._asked_ns = None

    def fallen(self, epochs: Mapping[str, int]) -> frozenset[str]:
        """Name those that were asked about and are other incarnations by now: they may have opened something since."""
        return frozenset(name for name, epoch in self._asked.items() if epochs.get(name, epoch) != epoch)

    def see_replaced(self, names: Collection[str]) -> None:
        """Note that these end, and that their successors are not barred."""
        self._barred = self._barred.difference(names)

    def release(self, effects: Effects) -> None:
        """Let those go on as before who were barred and have kept their code after all."""
        self._release(self._barred, effects)
        self._barred = frozenset()

    def _release(self, names: Collection[str], effects: Effects) -> None:
        if names:
            self._post(dict.fromkeys(sorted(names), NOBODY), effects, is_sure=True)

    def _post(self, superseded: Mapping[str, int], effects: Effects, *, is_sure: bool) -> None:
        self._query += 1
        effects.post("execution", HoldersWanted(self._query, dict(superseded)), is_sure=is_sure)
