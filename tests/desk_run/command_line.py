"""The command line, as an operator types it."""

import json
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

from tests.desk_run.harness import BULKHEAD

PATIENCE_S = 60


class Said(NamedTuple):
    """What a command answered."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Give the answer of ``--json``."""
        return json.loads(self.out)


def bulkhead(*words: object, state: Path) -> Said:
    """Run one command to its end."""
    command = [BULKHEAD, *map(str, words), "--state", state]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    return Said(done.returncode, done.stdout, done.stderr)
