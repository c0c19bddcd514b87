"""What a storm and its aftermath share: the timeline, the desk's books as they are now, and patience."""

import time
from collections.abc import Callable
from typing import Any

from actors.arguments import store_path
from actors.journal import read_journal
from actors.words import desk_codec
from runtime.store import Reader
from tests.chaos.ground import Ground
from tests.falls.oracle import Books

LOOK_S = 0.02
#: How long everything may take that must come by itself once nothing goes wrong any more.
PATIENCE_S = 120.0


class Watch:
    """Somebody who looks at one ground, and writes down what happens there."""

    def __init__(self, ground: Ground, patience_s: float = PATIENCE_S) -> None:
        """Begin to watch. What must come by itself is waited for so long."""
        self.ground = ground
        self._patience_s = patience_s
        self._began_s = time.monotonic()
        self._timeline: list[str] = []
        self._books = Books()
        self._readers: dict[str, Reader] = {}

    def begin(self) -> None:
        """Count the time of the timeline from here on."""
        self._began_s = time.monotonic()

    def since_s(self) -> float:
        """Give the seconds since it began."""
        return time.monotonic() - self._began_s

    def timeline(self) -> str:
        """Give what happened, line by line."""
        return "\n".join(self._timeline)

    def note(self, text: str) -> None:
        """Write a line of the timeline."""
        self._timeline.append(f"{self.since_s():8.2f}  {text}")

    def close(self) -> None:
        """Close what was opened to look at the desk; it is opened again where it is looked at again."""
        for reader in self._readers.values():
            reader.close()
        self._readers.clear()

    def verb(self, verb: str, **arguments: Any) -> None:
        """Send a verb, and note how that ended."""
        ended = self.ground.ask(verb, **arguments)
        told = " ".join(str(value) for key, value in arguments.items() if key != "reason")
        self.note(f"{verb} {told}: {ended}".replace(" :", ":"))

    def pause(self) -> None:
        """Let a moment pass, and start a desk again that ended."""
        code = self.ground.look_after_root()
        if code is not None:
            self.note(f"root ended with {code}; it is started again")
        time.sleep(LOOK_S)

    def books(self) -> Books:
        """Give the journal so far, folded."""
        self._books.add(read_journal(self.reader("execution"), desk_codec(), self._books.head))
        return self._books

    def books_so_far(self) -> Books:
        """Give the journal as it was when it was looked at last."""
        return self._books

    def reader(self, path: str) -> Reader:
        """Give the store of one process, opened to be looked at."""
        if path not in self._readers:
            self._readers[path] = Reader.open(store_path(self.ground.desk.state, path))
        return self._readers[path]

    def until(self, what: Callable[[], list[str]], text: str) -> None:
        """Wait until a list of complaints is empty.

        Raises:
            AssertionError: It is not, in a time in which it should.
        """
        deadline_s = time.monotonic() + self._patience_s
        while complaints := what():
            if time.monotonic() > deadline_s:
                raise AssertionError(f"{text} " + "\n  ".join(complaints))
            self.pause()
