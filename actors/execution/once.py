"""An operator's request is carried out once, however often it comes: its answer is kept with what it did."""

import json

from desk.messages import OperatorAnswered
from runtime.effects import Effects
from runtime.store import Store


class Once:
    """The requests that were carried out, each with the answer that it got, in one table of the store."""

    def __init__(self, store: Store, table: str) -> None:
        """Take the store and the table's name; nothing is read yet."""
        self._store, self._table = store, table
        self._answers: dict[str, str] = {}

    def answered(self, request: str) -> OperatorAnswered | None:
        """Give the answer of a request that was carried out, also before a fall; None where it was not."""
        known = self._answers.get(request)
        if known is None:
            kept = self._store.get(self._table, request.encode())
            known = None if kept is None else kept.decode()
        return None if known is None else OperatorAnswered(request, "", known)

    def carried_out(self, request: str, result: dict[str, object], effects: Effects) -> OperatorAnswered:
        """Keep what came of a request together with its effects, and give its answer."""
        answer = self._answers[request] = json.dumps(result)
        effects.put(self._table, request.encode(), answer.encode())
        return OperatorAnswered(request, "", answer)
