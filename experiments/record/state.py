"""Whether a record is current: it is there, whole, and from the commands and sources that there are now."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from experiments.record.manifest import Entry

RESULTS = Path("experiments/results")
"""Of a repository: a directory for each record."""

FACTS = "record.json"
"""Of a record: where it comes from. It is written last."""

_NAMED = 3


class Status(NamedTuple):
    """Of a record.

    Attributes:
        kind: as a word.
        why: it is not current, or what a reader must know of it; empty if there is nothing.
    """

    kind: str
    why: str = ""

    @property
    def current(self) -> bool:
        """Whether nothing is to be done."""
        return self.kind == "current"

    def __str__(self) -> str:
        return f"{self.kind}: {self.why}" if self.why else self.kind


def read_facts(root: Path, name: str) -> dict[str, Any] | None:
    """What a record says of itself; None where there is none, or no whole one."""
    try:
        return json.loads((root / RESULTS / name / FACTS).read_text())
    except (OSError, ValueError):
        return None


def status(root: Path, entry: Entry, sources_of: Path | None = None) -> Status:
    """Compares a record with what would be recorded now.

    Args:
        root: of the repository.
        entry: of its manifest.
        sources_of: another worktree of the repository, whose sources count instead.
    """
    facts = read_facts(root, entry.name)
    if facts is None:
        return Status("missing")
    if facts["sources"] is None:
        return Status("stale", "recorded before hashes")
    reasons = []
    if different := differing(facts["sources"], entry.sources(sources_of or root)):
        more = f" and {len(different) - _NAMED} more" if len(different) > _NAMED else ""
        reasons.append(f"other sources ({', '.join(different[:_NAMED])}{more})")
    if facts["commands"] != list(entry.commands):
        reasons.append("another command")
    here = root / RESULTS / entry.name
    reasons += [f"no {pattern}" for pattern in entry.files if not any(here.glob(pattern))]
    if reasons:
        return Status("stale", "; ".join(reasons))
    disturbed = entry.seconds and not facts["quiet"]
    return Status("current", f"others kept {facts['cores_of_others']} cores busy" if disturbed else "")


def differing(before: dict[str, str], now: dict[str, str]) -> list[str]:
    """The sources that are not the same."""
    return [path for path in sorted(before.keys() | now.keys()) if before.get(path) != now.get(path)]
