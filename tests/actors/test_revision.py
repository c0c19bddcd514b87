"""Which code and which configuration run."""

import subprocess
from pathlib import Path

import msgspec
import pytest

from actors.revision import read_revision, settings_hash
from actors.settings import Settings
from actors.settings_file import load

ROOT = Path(__file__).parents[2]


def git(folder: Path, *words: str) -> str:
    command = ["git", "-c", "user.name=n", "-c", "user.email=e@e", "-C", folder, *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q")
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "first")
    return tmp_path


def test_the_commit_that_is_checked_out_is_named(repository: Path) -> None:
    assert read_revision(repository / ".git") == git(repository, "rev-parse", "HEAD")[:12]


def test_also_where_the_references_are_packed_or_no_branch_is_checked_out(repository: Path) -> None:
    commit = git(repository, "rev-parse", "HEAD")[:12]
    git(repository, "pack-refs", "--all")
    packed = read_revision(repository / ".git")
    git(repository, "checkout", "-q", "--detach")

    assert (packed, read_revision(repository / ".git")) == (commit, commit)


def test_also_in_a_linked_work_tree(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    linked = tmp_path_factory.mktemp("w") / "linked"
    git(repository, "worktree", "add", "-q", "-b", "other", str(linked))
    git(linked, "commit", "-q", "--allow-empty", "-m", "second")

    assert read_revision(linked / ".git") == git(linked, "rev-parse", "HEAD")[:12]


def test_outside_of_a_repository_there_is_none(tmp_path: Path) -> None:
    assert read_revision(tmp_path / ".git") == ""


def settings() -> Settings:
    loaded = load(ROOT / "config" / "strategies.yaml").settings
    assert loaded is not None
    return loaded


def test_the_same_settings_have_the_same_hash_and_others_another() -> None:
    other = msgspec.structs.replace(settings(), default_balance=settings().default_balance + 1)

    assert settings_hash(settings()) == settings_hash(settings()) != settings_hash(other)
