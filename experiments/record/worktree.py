"""A revision of the repository, apart from what is edited while it runs."""

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from experiments.process.errors import UsageError


def head(root: Path) -> str:
    """The revision that is checked out.

    Raises:
        UsageError: if this is no git repository, or one without commits.
    """
    return _git(root, "rev-parse", "--verify", "HEAD")


@contextlib.contextmanager
def worktree(root: Path, revision: str, path: Path) -> Iterator[Path]:
    """A worktree of the revision, which is removed afterwards.

    Args:
        root: of the repository.
        revision: of it.
        path: of the worktree; one that a killed process has left there is replaced.

    Raises:
        UsageError: if git can't make it.
    """
    shutil.rmtree(path, ignore_errors=True)
    _git(root, "worktree", "prune")
    _git(root, "worktree", "add", "--detach", str(path), revision)
    try:
        yield path
    finally:
        _git(root, "worktree", "remove", "--force", str(path))


def _git(root: Path, *arguments: str) -> str:
    process = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
    if process.returncode:
        last = (process.stderr.strip().splitlines() or ["no word"])[-1]
        raise UsageError(f"--repository must be a git repository, got {root} (git {arguments[0]}: {last})")
    return process.stdout.strip()
