"""What `experiments.record` is asked to do."""

import dataclasses
from pathlib import Path

import tyro

from experiments.process.errors import UsageError


@dataclasses.dataclass(frozen=True)
class Recording:
    """Makes the recorded results that are missing or stale, one at a time, and the pages that quote them."""

    names: tyro.conf.Positional[tuple[str, ...]] = ()
    """Records to make, or to check; all by default."""
    check: bool = False
    """Make nothing, but say which are missing or stale; the exit code is 1 if any is that needs no GPU."""
    pages: bool = False
    """Make nothing, but write the tables of README and docs anew, from the records there are."""
    again: bool = False
    """Make the records that are named even if they are current, as where others were at work meanwhile."""
    repository: Path = Path(__file__).parents[2]
    """Whose manifest, sources and results are meant."""

    def verify(self) -> None:
        """Raises a UsageError naming a flag, its value and what it must be, unless all is well."""
        if not self.repository.is_dir():
            raise UsageError(f"--repository must be a directory, got {self.repository}")
        if self.again and not self.names:
            raise UsageError("--again must have the names of records, got none")
        if self.check and self.pages:
            raise UsageError("--pages must be without --check, got both")
