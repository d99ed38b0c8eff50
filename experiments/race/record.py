"""What a race has found so far: a line of JSON for each unit of work, which is then never done again."""

import json
from pathlib import Path
from typing import Any

from experiments.process.errors import UsageError
from experiments.process.files import append_rows, read_rows, write_json


class Lines:
    """The lines of a file.

    Args:
        path: of the file, which need not exist.
        *key: names of what tells a line from all others.
    """

    def __init__(self, path: Path, *key: str):
        self._path, self._key = path, key
        self._lines = {self._key_of(line): line for line in read_rows(path)}

    def get(self, **key: Any) -> dict[str, Any] | None:
        """The line of this key, or None."""
        return self._lines.get(self._key_of(key))

    def add(self, line: dict[str, Any]) -> None:
        """Adds a line.

        Raises:
            OutputError: if it can't be written.
        """
        append_rows(self._path, [line])
        self._lines[self._key_of(line)] = line

    def all(self) -> list[dict[str, Any]]:
        """All lines, in the order in which they came."""
        return list(self._lines.values())

    def _key_of(self, line: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(line[name] for name in self._key)


class Record:
    """The files of one task's race.

    Attributes:
        path: the directory.
        calibration: seconds of a step, by `program` and `batch_size`.
        tuning: accuracy of a trial, by `arm`, `batch_size` and `lr`.
        runs: of the race, by `arm`, `budget` and `seed`.
    """

    def __init__(self, path: Path):
        self.path = path
        self.calibration = Lines(path / "calibration.jsonl", "program", "batch_size")
        self.tuning = Lines(path / "tuning.jsonl", "arm", "batch_size", "lr")
        self.runs = Lines(path / "runs.jsonl", "arm", "budget", "seed")

    @property
    def settings(self) -> dict[str, Any] | None:
        """What the race was begun with; None for one that has not begun."""
        return self._read("settings.json")

    @property
    def predictions(self) -> dict[str, Any]:
        """What the meter said before the first run, by arm."""
        return self._read("predictions.json") or {}

    def begin(self, settings: dict[str, Any], **about: Any) -> None:
        """Keeps the settings, or checks that they are those that the race was begun with.

        Args:
            settings: what must be the same when it is gone on with.
            **about: what else is to be known of its beginning.

        Raises:
            UsageError: if they are not.
            OutputError: if they can't be written.
        """
        settings, before = json.loads(json.dumps(settings, default=str)), self.settings
        if before is None:
            write_json(self.path / "settings.json", {**settings, **about})
            return
        for name, value in settings.items():
            if before.get(name) != value:
                raise UsageError(
                    f"--out must be a new directory for other settings: {self.path} was begun with {name}"
                    f" {before.get(name)}, got {value}"
                )

    def predict(self, predictions: dict[str, Any]) -> None:
        """Keeps predictions, once and for all.

        Raises:
            UsageError: if a run of the race has been made.
            OutputError: if they can't be written.
        """
        if self.runs.all():
            raise UsageError(
                f"--arms must be those of the predictions once a race has begun, {', '.join(self.predictions)},"
                f" got also {', '.join(predictions.keys() - self.predictions.keys())}: use a new --out"
            )
        write_json(self.path / "predictions.json", {**self.predictions, **predictions})

    def _read(self, name: str) -> dict[str, Any] | None:
        path = self.path / name
        return json.loads(path.read_text()) if path.exists() else None
