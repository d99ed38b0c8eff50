"""The last epochs of the variants trained so far: collapse.json."""

import json
from pathlib import Path
from typing import Any

from experiments.collapse.variants import VARIANTS
from experiments.process.environment import environment
from experiments.process.errors import UsageError
from experiments.process.exits import make_output_directory
from experiments.process.files import write_json


class Results:
    """The rows of the last epochs by variant, in the order of `VARIANTS`, and on disk."""

    def __init__(self, path: Path, settings: dict[str, Any]):
        """Makes the directory, or reads the results that it holds.

        Args:
            path: of the directory.
            settings: of all variants, as JSON has them.

        Raises:
            UsageError: if the directory can't be written, or holds damaged results or those of other settings.
        """
        self._file = path / "collapse.json"
        self._record: dict[str, Any] = {"settings": settings, "runs": {}}
        make_output_directory(path)
        if not self._file.exists():
            return
        try:
            self._record = json.loads(self._file.read_text())
            before, _ = self._record["settings"], self._record["runs"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UsageError(f"--out must hold no damaged collapse.json, got {path} ({error!r})") from error
        if before != settings:
            raise UsageError(f"--out must be a directory for {settings}, got {path}, of {before}")

    def add(self, name: str, rows: list[dict[str, Any]]) -> None:
        """Adds a variant's rows, or replaces them, on disk as well.

        Raises:
            OutputError: if it can't be written.
        """
        runs = {**self._record["runs"], name: {**environment(), "rows": rows}}
        self._record["runs"] = {known: runs[known] for known in VARIANTS if known in runs}
        write_json(self._file, self._record)

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that all variants share."""
        return self._record["settings"]

    @property
    def names(self) -> list[str]:
        """The variants there are."""
        return list(self._record["runs"])

    def values(self, name: str, column: str) -> list[float]:
        """A quantity of the variant by seed, in per cent; empty where the variant has none.

        Args:
            name: of the variant.
            column: a field of the rows, "recall" (that of the hidden layer), or "difference" (test accuracy, minus that
                of the reference).
        """
        rows = self._record["runs"][name]["rows"]
        if column == "difference":
            reference = VARIANTS[name].reference
            if name == reference or reference not in self._record["runs"]:
                return []
            pairs = zip(self.values(name, "test_accuracy"), self.values(reference, "test_accuracy"), strict=True)
            return [own - exact for own, exact in pairs]
        if column == "recall":
            return [100 * row["diagnostics"]["hidden"]["recall"] for row in rows if row["diagnostics"]]
        return [100 * row[column] for row in rows if row[column] is not None]
