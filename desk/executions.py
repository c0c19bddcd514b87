"""Which executions are booked: a venue tells of one as often as it likes, and the books take it once."""

from typing import Protocol

#: (venue, account, the venue's id): what names one execution in all the world.
Execution = tuple[str, str, str]


class Executions(Protocol):
    """A memory of executions, of whatever kind. What was once added is known for ever."""

    def knows(self, execution: Execution) -> bool:
        """Say whether it was added."""
        ...

    def add(self, execution: Execution) -> None:
        """Remember it; twice is as once."""
        ...


class ExecutionSet:
    """A memory that grows with the history."""

    def __init__(self) -> None:
        """Know none."""
        self._known: set[Execution] = set()

    def knows(self, execution: Execution) -> bool:
        """Say whether it was added."""
        return execution in self._known

    def add(self, execution: Execution) -> None:
        """Remember it."""
        self._known.add(execution)


class NoExecutions:
    """No memory: for a reader that takes in each record of the journal once, in order."""

    def knows(self, execution: Execution) -> bool:  # noqa: ARG002 - the contract names it
        """Say no."""
        return False

    def add(self, execution: Execution) -> None:
        """Forget it at once."""


def names_of(venue: str, account: str, execution_id: str) -> tuple[Execution, ...]:
    """Give every name under which this execution may be booked, its own first.

    Records of a desk that wrote down no venue, or no account, know executions by less; the id alone still counts.
    """
    return tuple(dict.fromkeys(((venue, account, execution_id), (venue, "", execution_id), ("", "", execution_id))))
