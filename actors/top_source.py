"""Where the live screen has its picture from: the control socket, the journal, and the logs. It changes nothing."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from actors.arguments import store_path
from actors.control_client import DeskDownError, VerbRefusedError, ask
from actors.journal import read_journal
from actors.log_view import Entry, LogReader, log_paths
from actors.views import orders_view, positions_view
from actors.words import desk_codec
from runtime.clock import Clock
from runtime.errors import OperatingError
from runtime.store import Reader

if TYPE_CHECKING:
    from desk.messages import JournalRecord

Json = Mapping[str, Any]
#: Seconds that one look waits for an answer; the screen says how old its picture is.
PATIENCE_S = 3.0
#: Entries from before its start that the event log begins with.
FIRST_ENTRIES = 50
#: States of orders that still may fill.
WORKING = frozenset({"PENDING", "SUBMITTED", "PARTIAL", "PENDING_CANCEL", "UNKNOWN"})


class Source(Protocol):
    """What the screen needs. Every method may take a while and is called off the screen's own thread."""

    def status(self, path: str = "") -> Json:
        """Give the status document, or that of one path.

        Raises:
            DeskDownError, VerbRefusedError: There is none; the text says why.
        """
        ...

    def act(self, verb: str, arguments: Json) -> str:
        """Send a verb; give "" where it was accepted, else why not."""
        ...

    def books(self) -> tuple[Sequence[Json], Sequence[Json]]:
        """Give the open positions and the orders that still may fill, as the journal has them."""
        ...

    def news(self) -> Sequence[Entry]:
        """Give the log entries since the last call; the first one gives some of those before it."""
        ...


class DeskSource:
    """The desk of one state folder."""

    def __init__(self, state: Path, clock: Clock) -> None:
        """Name the folder; nothing is opened."""
        self._state, self._clock = state, clock
        self._codec = desk_codec()
        self._records: list[JournalRecord] = []
        self._logs: LogReader | None = None
        self._files: list[Path] = []

    def status(self, path: str = "") -> Json:
        """Ask the console."""
        return ask(self._state, "status", {"path": path} if path else {}, self._clock, PATIENCE_S)

    def act(self, verb: str, arguments: Json) -> str:
        """Send a verb to the console."""
        try:
            ask(self._state, verb, arguments, self._clock, PATIENCE_S)
        except (DeskDownError, VerbRefusedError) as error:
            return str(error)
        return ""

    def books(self) -> tuple[Sequence[Json], Sequence[Json]]:
        """Read what is new in the journal."""
        try:
            reader = Reader.open(store_path(self._state, "execution"))
        except OperatingError:
            return (), ()
        try:
            after = self._records[-1].sequence if self._records else 0
            self._records += read_journal(reader, self._codec, after)
        finally:
            reader.close()
        orders = [order for order in orders_view(self._records) if order["state"] in WORKING]
        return positions_view(self._records), orders

    def news(self) -> Sequence[Entry]:
        """Read what was appended to the logs; those of processes that are new are taken in."""
        files = log_paths(self._state)
        entries: list[Entry] = []
        if self._logs is not None:
            entries = self._logs.news()
        if files != self._files:
            fresh = [file for file in files if file not in self._files]
            entries += LogReader(fresh).last(FIRST_ENTRIES)
            self._files, self._logs = files, LogReader(files)
        return entries
