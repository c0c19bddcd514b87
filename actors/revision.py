"""Which version of the code and of the configuration runs."""

import hashlib
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

_SHOWN = 12


@cache
def git_revision() -> str:
    """Give the first digits of the commit that is checked out; "" where the code lies in no repository.

    It is read once: what is checked out later does not run before the next start.
    """
    return read_revision(Path(__file__).parents[1] / ".git")


def read_revision(git: Path) -> str:
    """Read the commit from a repository's folder, or from the file that stands for it in a linked work tree."""
    with suppress(OSError, IndexError, UnicodeDecodeError):
        if git.is_file():
            git = (git.parent / git.read_text(encoding="utf-8").partition(":")[2].strip()).resolve()
        head = (git / "HEAD").read_text(encoding="utf-8").strip()
        kind, _, name = head.partition(": ")
        if kind != "ref":
            return head[:_SHOWN]
        common = git / "commondir"
        home = (git / common.read_text(encoding="utf-8").strip()).resolve() if common.exists() else git
        if (home / name).exists():
            return (home / name).read_text(encoding="utf-8").strip()[:_SHOWN]
        packed = (home / "packed-refs").read_text(encoding="utf-8").splitlines()
        return next((line[:_SHOWN] for line in packed if line.endswith(f" {name}")), "")
    return ""


def settings_hash(settings: Any) -> str:
    """Give the first digits of a hash over all settings in force, defaults included; the same settings, the same."""
    return hashlib.sha256(msgspec.json.encode(settings, order="sorted")).hexdigest()[:_SHOWN]
