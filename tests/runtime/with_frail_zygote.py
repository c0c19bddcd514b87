"""The bakery whose zygote cannot begin while a file is damaged: ``python -m tests.runtime.with_frail_zygote STATE``."""

import os
import sys
from pathlib import Path

from tests.runtime import bakery

if __name__ == "__main__":
    sys.exit(bakery.main(preload=("tests.runtime.with_frail_zygote",)))

ROOT = Path(f"/proc/{os.getppid()}/cmdline").read_text(encoding="utf-8").split("\0")
if Path(ROOT[-2], "damaged").exists():
    sys.exit(1)
