"""When each child is looked at: twice a second, and never so many in one turn that somebody else waits for it."""

from collections.abc import Iterable

from runtime.clock import NS_PER_S
from runtime.process import Running

ROUND_NS = NS_PER_S // 2
#: The most children of one turn; as many more as are overdue where root itself is late.
FEW = 64


class Rounds:
    """Goes round the children, in each round once, a few at a time.

    A few children are one look, at the beginning of the round; a thousand are so many looks, spread evenly over it.
    """

    def __init__(self, now_ns: int) -> None:
        """Let the first round be due at once."""
        self._children: tuple[Running, ...] = ()
        self._taken = 0
        self._began_ns = now_ns - ROUND_NS
        self.due_ns = now_ns

    def is_over(self, now_ns: int) -> bool:
        """Say whether another round may begin; what is left of this one has to be taken before."""
        return now_ns - self._began_ns >= ROUND_NS

    @property
    def is_complete(self) -> bool:
        """Whether all of this round have been taken."""
        return self._taken == len(self._children)

    def begin(self, children: Iterable[Running], now_ns: int) -> None:
        """Begin a round with all that live now; who comes later has its turn in the next one."""
        self._children, self._taken, self._began_ns = tuple(children), 0, now_ns

    def take(self, now_ns: int) -> tuple[Running, ...]:
        """Give those whose turn has come, and set the time of the next ones; some may have ended meanwhile."""
        looks = max(1, -(-len(self._children) // FEW))
        number = min(looks, max(0, now_ns - self._began_ns) * looks // ROUND_NS + 1)
        upto = min(len(self._children), number * FEW)
        some = self._children[self._taken : upto]
        self._taken = max(self._taken, upto)
        self.due_ns = self._began_ns + -(-ROUND_NS * number // looks)
        return some
