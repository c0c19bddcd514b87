"""Which word on a strategy is the last: of operators who enable and disable it, and of the file. Pure.

A word may take a while to take effect, and what came behind it may be quicker. So the order in which words were taken,
which is that of the audit trail, is kept here.
"""

from typing import NamedTuple

from runtime.clock import NS_PER_MS

#: Words remembered of one strategy. What comes again comes within seconds.
WORDS_MAX = 256
#: The kernel's clock for the times of files is so coarse: a file may be younger by this than it says.
FILE_TICK_NS = 10 * NS_PER_MS


class Written(NamedTuple):
    """When a file was edited: by its own word in wall time; in this process's time behind one moment, before another.

    The two moments count first: the machine's clock may have been set meanwhile.
    """

    wall_ns: int
    after_ns: int
    before_ns: int


class _Word(NamedTuple):
    """One word: what it wants, when it was taken, in wall time and in this process's own, and whether an edit ended it.

    Of a word that another process took, the latter is 0.
    """

    is_enabled: bool
    wall_ns: int
    monotonic_ns: int
    is_ended: bool = False

    def is_behind(self, written: Written) -> bool:
        """Say whether it was taken after an edit."""
        if self.monotonic_ns >= written.before_ns:
            return True
        return self.monotonic_ns >= written.after_ns and self.wall_ns > written.wall_ns + FILE_TICK_NS


class Wishes:
    """The words of operators on each strategy, in the order in which they were taken."""

    def __init__(self) -> None:
        """Know of none."""
        self._words: dict[str, dict[str, _Word]] = {}
        self._held: dict[str, str] = {}

    def take(self, strategy: str, request: str, *, is_enabled: bool, wall_ns: int, monotonic_ns: int) -> None:
        """Take a word. One that comes again has the place that it had.

        Args:
            strategy: Whom it is about.
            request: Its name, which no other has.
            is_enabled: What it wants.
            wall_ns: When it was taken first, to be compared with the times of files.
            monotonic_ns: The same in this process's time; 0 where another process took it.
        """
        words = self._words.setdefault(strategy, {})
        if request in words:
            return
        words[request] = _Word(is_enabled, wall_ns, monotonic_ns)
        if len(words) > WORDS_MAX:
            del words[next(iter(words))]

    def hold(self, strategy: str, request: str) -> None:
        """Note that a word is on its way to root."""
        if request in self._words.get(strategy, {}):
            self._held[strategy] = request

    def drop(self, strategy: str, request: str) -> None:
        """Forget a word that came to nothing."""
        self._words.get(strategy, {}).pop(request, None)
        if self._held.get(strategy) == request:
            del self._held[strategy]

    def edit(self, strategy: str, written: Written) -> None:
        """Take the file's own word on a strategy: what was taken before it is over."""
        words = self._words.get(strategy, {})
        for request, word in words.items():
            if not word.is_behind(written):
                words[request] = word._replace(is_ended=True)

    def overtaken(self, strategy: str, request: str) -> str:
        """Say what came behind a word and wants the opposite; "" where nothing did."""
        words = self._words.get(strategy, {})
        word = words.get(request)
        if word is None:
            return f"{WORDS_MAX} requests about {strategy} came after this one"
        if word.is_ended:
            return "the file was edited after this was asked, and what it says of enabled holds"
        behind = list(words)[list(words).index(request) + 1 :]
        if any(words[each].is_enabled is not word.is_enabled for each in behind):
            was = "disabled" if word.is_enabled else "enabled"
            return f"{strategy} was {was} by a request that came after this one"
        return ""

    def behind(self, written: Written) -> dict[str, bool]:
        """Give the words that hold against an edit, by strategy: root heard of them, and they were taken after it."""
        held = {strategy: self._words[strategy].get(request) for strategy, request in self._held.items()}
        return {
            strategy: word.is_enabled for strategy, word in held.items() if word is not None and word.is_behind(written)
        }
