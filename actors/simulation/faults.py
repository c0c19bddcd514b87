"""What can go wrong, how often, and what did."""

import math
import random
from collections import Counter
from collections.abc import Collection

import msgspec


class Faults(msgspec.Struct, frozen=True, kw_only=True):
    """How often what goes wrong, each in 0..1. What is 0 draws no chance.

    ``kill`` counts for each place of a turn where a process may die, ``hang`` for each turn. Links, for what leaves
    together: ``delay``, ``cut`` (what is under way is lost, then the link stands again) and ``repeat``; ``drop`` for
    each item of a stream, and now and then for what follows it. ``full`` is a disk without room, for each commit.
    The venue, for each call: ``refused``, ``lost`` (it never arrived), ``unread`` (done, and the answer lost), ``late``
    (done after the caller gave up), ``unsent``, ``garbled`` (an answer that cannot be read), ``limited`` (too many
    requests), ``outage`` (nothing answers for a while), ``behind`` (a look for orders does not see the last moments
    yet), ``sluggish`` (a call, or its answer, takes seconds). What it tells of its own accord: ``untold``, ``retold``,
    ``broken`` (the stream breaks). ``parts``: an execution is a part only. ``nonsense`` is a message of the market that
    is no tick. Of the whole desk, for each event of the market: ``root`` (the supervisor dies, and all with it),
    ``power`` (the machine loses power), ``slow`` (a process is, for a while), ``wish`` (an operator does something),
    ``edit`` (the configuration changes), ``corrupt`` (a process dies, and something in its store cannot be read until
    it is restored). ``skew`` is by how many seconds the venue's clock is ahead.

    What came later, and draws from a chance of its own: ``brink`` (a call arrives at the last moment before its
    deadline, is carried out a little behind it, and is answered late or never), ``ended`` (the venue ends what rests,
    perhaps after one more execution), ``over`` (it executes more than was ordered), ``drift`` (its clock goes wrong
    for a while, and its stream breaks). ``brake``: in the very moment in which an entry is approved or journalled, the
    desk is halted or the strategy put away, and perhaps the process dies before it says so. ``lagging``: what an order
    has traded is shown in the order before it is in the list of executions. ``recoil``: a process dies when it has read
    a refusal of the venue, and before it keeps anything of it.
    """

    kill: float = 0.0
    hang: float = 0.0
    slow: float = 0.0
    delay: float = 0.0
    cut: float = 0.0
    repeat: float = 0.0
    drop: float = 0.0
    full: float = 0.0
    refused: float = 0.0
    lost: float = 0.0
    unread: float = 0.0
    late: float = 0.0
    unsent: float = 0.0
    garbled: float = 0.0
    limited: float = 0.0
    outage: float = 0.0
    untold: float = 0.0
    retold: float = 0.0
    broken: float = 0.0
    parts: float = 0.0
    nonsense: float = 0.0
    root: float = 0.0
    power: float = 0.0
    wish: float = 0.0
    edit: float = 0.0
    corrupt: float = 0.0
    skew: float = 0.0
    behind: float = 0.0
    sluggish: float = 0.0
    brink: float = 0.0
    ended: float = 0.0
    over: float = 0.0
    drift: float = 0.0
    brake: float = 0.0
    lagging: float = 0.0
    recoil: float = 0.0


#: Every kind, in the order of the Struct.
KINDS: tuple[str, ...] = Faults.__struct_fields__
#: Those that came later. Their chance and their numbers are apart, so that what an earlier seed draws stays as it was.
LATER: tuple[str, ...] = ("brink", "ended", "over", "drift", "brake", "lagging", "recoil")
#: The number of the first occurrence of a kind that came later.
LATER_FIRST = 1_000_000
NEVER = 1 << 62


class Trouble:
    """Decides, each time that something could go wrong, whether it does; counts what did.

    Occurrences are numbered over all kinds. With ``only``, an occurrence of another number is drawn and does not
    happen: so a failing run is made smaller without drawing its chance anew.
    """

    def __init__(
        self, faults: Faults, chance: random.Random, only: Collection[int] | None, later: random.Random
    ) -> None:
        """Take the rates and where the draws come from; ``later`` is for the kinds that came later."""
        self.faults, self.chance, self.later, self._only = faults, chance, later, only
        self._later_count = 0
        self.counts: Counter[str] = Counter()
        self.occurrences: list[tuple[int, str]] = []
        self.is_calm = False
        #: What can happen, with its rate; while it is empty nobody needs to ask whether anything happens.
        self.rates = {kind: rate for kind in KINDS if (rate := float(getattr(faults, kind)))}
        #: Whether a process may die between two acts.
        self.kills = "kill" in self.rates
        self.kill_in = 0
        self.draw_kill()

    def happens(self, kind: str) -> bool:
        """Say whether it happens now."""
        rate = self.rates.get(kind)
        return rate is not None and self.chance.random() < rate and self.takes_place(kind)

    def happens_later(self, kind: str) -> bool:
        """Say whether one of the kinds that came later happens now."""
        rate = self.rates.get(kind)
        if rate is None or self.later.random() >= rate:
            return False
        number = LATER_FIRST + self._later_count
        self._later_count += 1
        return self._is_counted(number, kind)

    def later_ns(self, least_ns: int, most_ns: int) -> int:
        """Draw a span in [least, most) for a kind that came later."""
        return least_ns + int(self.later.random() * (most_ns - least_ns))

    def takes_place(self, kind: str) -> bool:
        """Number an occurrence that was drawn; say whether it is one of those that happen."""
        return self._is_counted(len(self.occurrences) - self._later_count, kind)

    def _is_counted(self, number: int, kind: str) -> bool:
        self.occurrences.append((number, kind))
        if self._only is not None and number not in self._only:
            return False
        self.counts[kind] += 1
        return True

    def draw_kill(self) -> None:
        """Draw after how many places the next death comes: as if each had been asked for itself."""
        rate = self.rates.get("kill")
        if rate is None:
            self.kill_in = NEVER
        else:
            self.kill_in = 1 + int(math.log(1.0 - self.chance.random()) / math.log(1.0 - rate))

    def calm(self) -> None:
        """Let nothing go wrong from here on."""
        self.is_calm, self.kills, self.kill_in = True, False, NEVER
        self.rates.clear()
