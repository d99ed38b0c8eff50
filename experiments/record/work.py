"""The directory of a record that is being made, and how it becomes the record."""

import contextlib
import fcntl
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from experiments.process.errors import OutputError, UsageError
from experiments.process.files import write_json
from experiments.record.state import FACTS, RESULTS

UNFINISHED = Path(".recording")
"""Of a repository: what is under way, in the same file system as the results."""


class Work:
    """What has been done for a record so far; it goes on after an interruption.

    Attributes:
        out: the directory that commands write to.
        seconds: how long they took.
        busy: by how many cores others kept the machine busy, as a mean; None if that can't be told.
        starts: how often it was begun or gone on with.
        done: how many commands have ended well.
    """

    def __init__(self, root: Path, name: str, **begun_with: Any):
        """Makes the directory, or goes on in it where it was begun with the same; anew otherwise.

        Args:
            root: of the repository.
            name: of the record.
            **begun_with: what must not change until it is finished, as JSON has it.
        """
        self._place, self._here = root / RESULTS / name, root / UNFINISHED / name
        self.out, self._aside, self._file = self._here / "out", self._here / "before", self._here / "work.json"
        self._begun_with = begun_with
        self.seconds, self.starts, self.done = 0.0, 0, 0
        self.busy: float | None = 0.0
        self._put_back()
        with contextlib.suppress(OSError, ValueError, KeyError):
            before = json.loads(self._file.read_text())
            if before["begun_with"] == begun_with:
                self.seconds, self.busy, self.starts, self.done = before["so_far"]
        if not self.starts:
            shutil.rmtree(self._here, ignore_errors=True)
        self.out.mkdir(parents=True, exist_ok=True)

    def begin(self) -> None:
        """Counts a start, on disk."""
        self.starts += 1
        self._save()

    def add(self, seconds: float, busy: float | None, *, done: bool) -> None:
        """Adds the time of a command, and whether it has ended well, on disk."""
        if busy is None or self.busy is None:
            self.busy = None
        else:
            self.busy = (self.busy * self.seconds + busy * seconds) / (self.seconds + seconds)
        self.seconds += seconds
        self.done += done
        self._save()

    def finish(self, files: tuple[str, ...], facts: dict[str, Any]) -> None:
        """Makes it the record, in the place of an older one; whenever it is killed, one of them is there.

        Args:
            files: patterns of what is kept.
            facts: of the record.

        Raises:
            OutputError: if nothing matches a pattern, or it can't be written.
        """
        try:
            self._keep(files)
            write_json(self.out / FACTS, facts)
            self._place.parent.mkdir(parents=True, exist_ok=True)
            if self._place.exists():
                self._place.rename(self._aside)
            self.out.rename(self._place)
            shutil.rmtree(self._here)
        except OSError as error:
            raise OutputError(f"{self._place} could not be written ({error.strerror})") from error

    def _keep(self, files: tuple[str, ...]) -> None:
        kept = {pattern: [path for path in self.out.glob(pattern) if path.is_file()] for pattern in files}
        if empty := [pattern for pattern, paths in kept.items() if not paths]:
            raise OutputError(f"{self.out} must have {', '.join(empty)}, and has not")
        wanted = {path for paths in kept.values() for path in paths}
        for path in sorted(self.out.rglob("*"), reverse=True):
            if path.is_dir() and not path.is_symlink():
                with contextlib.suppress(OSError):
                    path.rmdir()  # if it is empty by now
            elif path not in wanted:
                path.unlink()

    def _put_back(self) -> None:
        """The old record, if a process was killed before the new one was in its place."""
        if self._aside.exists() and not self._place.exists():
            self._aside.rename(self._place)

    def _save(self) -> None:
        so_far = self.seconds, self.busy, self.starts, self.done
        write_json(self._file, {"begun_with": self._begun_with, "so_far": so_far})


@contextlib.contextmanager
def alone(root: Path) -> Iterator[None]:
    """Keeps other processes from recording.

    Raises:
        UsageError: if one does.
    """
    (root / UNFINISHED).mkdir(parents=True, exist_ok=True)
    with (root / UNFINISHED / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(f"only one process can record into {root / RESULTS}, and another one does") from error
        yield
