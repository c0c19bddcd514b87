"""What is wrong with a configuration file, one line each, in words an operator can act upon."""

from collections.abc import Sequence

import msgspec


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One error of a file.

    ``line`` counts from 1 (0: the file as a whole), ``path`` is like ``strategies[0].parameters.flat_time``.
    ``value`` is the offending value as shown (``955 (number)``), "" where there is none;
    ``fault`` names what is wrong where "got VALUE" would not say it; ``nearest`` is the right word that comes
    closest to a wrong one.
    """

    file: str
    line: int
    path: str
    expected: str
    value: str = ""
    fault: str = ""
    nearest: str = ""

    @property
    def words(self) -> str:
        """The whole line."""
        place = f"{self.file}:{self.line}" if self.line else self.file
        where = f"{place} {self.path}" if self.path else place
        hint = f"did you mean {self.nearest}?" if self.nearest else ""
        said = self.fault or f"got {self.value}"
        return f"{where}: {'; '.join(part for part in (said, hint, self.expected) if part)}"


def render(problems: Sequence[Problem]) -> str:
    """Say all problems, one line each, and last that nothing came of the file. "" where there are none."""
    if not problems:
        return ""
    count = "1 error" if len(problems) == 1 else f"{len(problems)} errors"
    closing = f"{count} in {problems[0].file}: nothing was started, nothing was changed."
    return "\n".join([*(problem.words for problem in problems), closing])
