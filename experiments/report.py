"""The directory of a run: config.json, metrics.jsonl, summary.md and its plots."""

import dataclasses
import importlib.metadata
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from experiments.config import RunOptions, UsageError
from experiments.plots import plot_accuracy, plot_time
from experiments.program import output_directory
from experiments.runner import Row

_PACKAGES = ("jaxapprox", "jax", "jaxlib", "flax", "optax", "numpy")


@dataclasses.dataclass(frozen=True)
class MethodSummary:
    """A method's final epoch over its seeds; accuracies in per cent, times and FLOPs relative to the first method."""

    method: str
    seeds: int
    accuracy: str
    accuracy_uncalibrated: str
    accuracy_hashed: str  # empty for a method that hashes nothing
    train_seconds: float
    step_ratio: float
    flops_ratio: float


class RunDirectory:
    """Writes a run as it goes: every row is complete on disk when `add` returns."""

    def __init__(self, config: RunOptions):
        """Makes the directory.

        Raises:
            UsageError: if `--out` holds a run already, or can't be written.
        """
        self.path = config.out or Path("runs") / f"{time.strftime('%Y%m%d-%H%M%S')}-{config.data}"
        self.rows: list[Row] = []
        with output_directory(self.path):
            if (self.path / "metrics.jsonl").exists():
                raise UsageError(f"--out must be a new directory, got {self.path}, which holds a run already")
            facts = {"config": dataclasses.asdict(config), **environment()}
            (self.path / "config.json").write_text(json.dumps(facts, indent=1, default=str) + "\n")
            self._metrics = (self.path / "metrics.jsonl").open("x", buffering=1)  # a line at a time

    def add(self, row: Row) -> None:
        self.rows.append(row)
        self._metrics.write(json.dumps(dataclasses.asdict(row)) + "\n")

    def finish(self, heading: Sequence[str], flops: dict[str, float], sections: Sequence[str]) -> list[MethodSummary]:
        """Writes summary.md and the plots from the rows there are, and closes the directory.

        Args:
            heading: lines before the table: a title, and what was compared.
            flops: a step's, by method.
            sections: lines after all else.
        """
        self._metrics.close()
        summaries = summarise(self.rows, flops)
        (self.path / "summary.md").write_text(_markdown(heading, self.rows, summaries, sections))
        if self.rows:
            plot_accuracy(self.rows, self.path / "accuracy.png")
            plot_time(self.rows, self.path / "time.png")
        return summaries


def environment() -> dict[str, Any]:
    """Versions, device and revision: what else a result depends on."""
    git = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    )
    return {
        "command": shlex.join(["python", "-m", "experiments." + Path(sys.argv[0]).stem, *sys.argv[1:]]),
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in _PACKAGES}},
        "device": device_line(),
        "git_revision": git.stdout.strip() or None,
    }


def device_line() -> str:
    """What runs where, in a line."""
    devices = jax.devices()
    host = f"{os.cpu_count()} {platform.machine()} cores"
    return f"{len(devices)} x {devices[0].device_kind} ({jax.default_backend()}), {host}"


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def summarise(rows: Sequence[Row], flops: dict[str, float]) -> list[MethodSummary]:
    """One summary for each method of `rows`, from the last epoch of each seed."""
    final: dict[str, dict[int, Row]] = {}
    for row in rows:
        final.setdefault(row.method, {})[row.seed] = row
    # The first epoch touches fresh memory: leave it out of step times where there are others.
    steps = {m: [r.step_seconds for r in rows if r.method == m] for m in final}
    step = {m: statistics.median(times[1:] or times) for m, times in steps.items()}
    base = next(iter(final), "")  # not used where there are no rows
    return [
        MethodSummary(
            method,
            len(last),
            mean_and_deviation([100 * row.test_accuracy for row in last.values()]),
            mean_and_deviation([100 * row.test_accuracy_uncalibrated for row in last.values()]),
            mean_and_deviation([100 * a for row in last.values() if (a := row.test_accuracy_hashed) is not None]),
            statistics.mean(row.train_seconds for row in last.values()),
            step[method] / step[base],
            flops[method] / flops[base],
        )
        for method, last in final.items()
    ]


def mean_and_deviation(values: Sequence[float]) -> str:
    if not values:
        return ""
    spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.2f}{spread}"


def _markdown(
    heading: Sequence[str], rows: Sequence[Row], summaries: Sequence[MethodSummary], sections: Sequence[str]
) -> str:
    columns = {
        "method": [s.method for s in summaries],
        "seeds": [str(s.seeds) for s in summaries],
        "accuracy": [s.accuracy for s in summaries],
        "with training's BatchNorm statistics": [s.accuracy_uncalibrated for s in summaries],
        "through the hash": [s.accuracy_hashed for s in summaries],
        "training s": [f"{s.train_seconds:.1f}" for s in summaries],
        "step time": [f"{s.step_ratio:.2f}" for s in summaries],
        "FLOPs": [f"{s.flops_ratio:.2f}" for s in summaries],
    }
    if all(s.accuracy_uncalibrated == s.accuracy for s in summaries):
        del columns["with training's BatchNorm statistics"]
    lines = [*heading, "", f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    lines += [f"| {' | '.join(cells)} |" for cells in zip(*columns.values(), strict=True)]
    return "\n".join([*lines, "", *_diagnostics_lines(rows), *sections, ""])


def _diagnostics_lines(rows: Sequence[Row]) -> list[str]:
    """The hashed layers' diagnostics in the first and the last epoch, mean over seeds."""
    hashed = [row for row in rows if row.diagnostics]
    if not hashed:
        return []
    names = list(next(iter(hashed[0].diagnostics.values())))
    lines = [
        "## Hashed layers",
        "",
        "Mean over an epoch's steps and over seeds; `jaxapprox.diagnostics.Diagnostics` says what each is.",
        "",
        f"| method | layer | epoch | {' | '.join(name.replace('_', ' ') for name in names)} |",
        "|---" * (3 + len(names)) + "|",
    ]
    for method, layer in dict.fromkeys((row.method, layer) for row in hashed for layer in row.diagnostics):
        mine = [row for row in hashed if row.method == method]
        for epoch in sorted({min(row.epoch for row in mine), max(row.epoch for row in mine)}):
            values = [row.diagnostics[layer] for row in mine if row.epoch == epoch]
            means = (f"{statistics.mean(v[name] for v in values):.4g}" for name in names)
            lines.append(f"| {method} | {layer} | {epoch} | {' | '.join(means)} |")
    return [*lines, ""]
