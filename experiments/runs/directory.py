"""The directory of a run: config.json, plans.json, metrics.jsonl, checkpoints, summary.md and its figures."""

import dataclasses
import json
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.process.environment import environment
from experiments.process.errors import OutputError, UsageError
from experiments.process.exits import make_output_directory
from experiments.process.files import append_rows, read_rows, write_json, write_whole
from experiments.runs.summary import SettingSummary, markdown, summarise
from experiments.seeds.planning import Plan
from experiments.training.options import RunOptions
from experiments.training.rows import Row
from experiments.training.task import Report


def run_path(config: RunOptions) -> Path:
    """Where a run is written."""
    data = re.sub(r"\W+", "-", config.data_name)  # tfds:emnist/letters is no file's name
    return config.resume or config.out or Path("runs") / f"{time.strftime('%Y%m%d-%H%M%S')}-{data}"


def make_run(path: Path, config: RunOptions) -> None:
    """Makes a run's directory, with its config.json.

    Raises:
        UsageError: if it holds a run already, or can't be written.
        OutputError: if config.json can't be.
    """
    make_output_directory(path)
    if (path / "config.json").exists():
        raise UsageError(f"--out must be a new directory, got {path}, which holds a run (--resume continues it)")
    write_json(path / "config.json", {"config": dataclasses.asdict(config), **environment()})


class RunDirectory:
    """Writes a run as it goes: every row is complete on disk when `add` returns, and is there once.

    Attributes:
        path: of the directory.
        rows: those of earlier processes of the run, and those added.
    """

    def __init__(self, config: RunOptions):
        """Makes the directory, or opens that of `--resume`.

        Raises:
            UsageError: if `--out` holds a run already or can't be written, or `--resume` holds none or a damaged one.
        """
        self.path = run_path(config)
        self._row = config.row
        self._plans: dict[str, tuple[Plan, float | None]] = {}
        try:
            if config.resume is None:
                self.rows: list[Any] = []
                make_run(self.path, config)
            else:
                self._open()
        except OutputError as error:
            raise UsageError(f"--out must be a writable directory: {error}") from error
        self._there = {(row.method, row.seed, row.epoch) for row in self.rows}

    def _open(self) -> None:
        try:
            self.rows = [self._row(**row) for row in read_rows(self.path / "metrics.jsonl")]
            plans = self.path / "plans.json"
            for name, (plan, flops) in json.loads(plans.read_text()).items() if plans.exists() else ():
                self._plans[name] = Plan(**{**plan, "mesh": plan["mesh"] and tuple(plan["mesh"])}), flops
        except (OSError, ValueError, TypeError) as error:
            raise UsageError(f"--resume must be the directory of a run, got {self.path} ({error})") from error

    def plan(self, setting: str) -> Plan | None:
        """What `keep_plan` was told."""
        return self._plans[setting][0] if setting in self._plans else None

    def keep_plan(self, settings: Sequence[str], plan: Plan, flops: float | None) -> None:
        """Keeps how a family of settings is trained, for when the run is resumed, and the FLOPs of its step, if known.

        Raises:
            OutputError: if it can't be written.
        """
        self._plans |= {name: (plan, flops) for name in settings}
        plans = {name: (dataclasses.asdict(plan), flops) for name, (plan, flops) in self._plans.items()}
        write_json(self.path / "plans.json", plans)

    def add(self, rows: Sequence[Row]) -> None:
        """Adds rows; those that are there already stay as they are.

        Raises:
            OutputError: if they can't be written; then none of them is.
        """
        new = [row for row in rows if (row.method, row.seed, row.epoch) not in self._there]
        append_rows(self.path / "metrics.jsonl", map(dataclasses.asdict, new))
        self.rows += new
        self._there |= {(row.method, row.seed, row.epoch) for row in new}

    def has(self, members: Sequence[tuple[str, int]], epochs: int) -> bool:
        """Whether it has the rows of the first `epochs` epochs of these settings and seeds."""
        return all((name, seed, e) in self._there for name, seed in members for e in range(1, epochs + 1))

    def finish(self, heading: Sequence[str], sections: Sequence[str], report: Report) -> list[SettingSummary]:
        """Writes summary.md and the figures from the rows there are.

        Args:
            heading: lines before the table: a title, and what was compared.
            sections: lines after all else.
            report: draws the figures, where there are rows, and adds lines.

        Raises:
            OutputError: if they can't be written.
        """
        summaries = summarise(self.rows, {name: flops for name, (_, flops) in self._plans.items()})
        lines = report(self.rows, self.path) if self.rows else []
        write_whole(self.path / "summary.md", markdown(heading, self.rows, summaries, [*lines, *sections]))
        return summaries
