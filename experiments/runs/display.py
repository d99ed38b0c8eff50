"""What a run shows on screen: a header, live progress, and a table at the end."""

import os
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from experiments.process.environment import device_line, environment
from experiments.runs.summary import SettingSummary, ratio
from experiments.training.rows import Row

_WIDTH_OF_FILES = 140


class Display:
    """Live progress on a terminal; elsewhere a line an epoch."""

    def __init__(self) -> None:
        as_wide_as = None if sys.stdout.isatty() or "COLUMNS" in os.environ else _WIDTH_OF_FILES
        self.console = Console(width=as_wide_as)
        columns = ("{task.description}", "loss {task.fields[loss]:.3f}", "{task.fields[measure]}")
        self._progress = Progress(
            *map(TextColumn, columns),
            BarColumn(),
            TextColumn("{task.completed:.0f}/{task.total:.0f} runs"),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=self.console,
            disable=not self.console.is_terminal,
            speed_estimate_period=600,
        )
        self._task = self._progress.add_task("", total=1, loss=float("nan"), measure="")

    def header(self, title: str) -> None:
        versions = environment()["versions"]
        self.console.print(f"{title}\n{device_line()}; {', '.join(f'{k} {v}' for k, v in versions.items() if v)}")

    def line(self, text: str) -> None:
        self.console.print(text, highlight=False, soft_wrap=True)

    def start(self, runs: int, done: int) -> None:
        """Begins the progress of all settings and seeds; `done` of the runs are there already."""
        self._progress.reset(self._task, total=runs, completed=done)

    def advance(self, name: str, runs: float, loss: float) -> None:
        """Setting `name` has come further by so much of a run."""
        self._progress.start()
        self._progress.update(self._task, advance=runs, description=name, loss=loss)

    def add(self, rows: Sequence[Row]) -> None:
        for row in rows:
            measure = row.measures[0].said(row)
            self._progress.update(self._task, measure=measure)
            self.line(
                f"{row.method} seed {row.seed} {row.when}: loss {row.train_loss:.4f}"
                f", {measure}, {row.train_seconds:.1f} s"
            )

    def stop(self) -> None:
        self._progress.stop()

    def table(self, summaries: Sequence[SettingSummary]) -> None:
        base = summaries[0].method if summaries else ""
        paired = any(s.difference for s in summaries)
        title = summaries[0].measures[0].title if summaries else ""
        counted = all(s.flops_ratio is not None for s in summaries)
        columns = ["method", "seeds", title, *([f"minus {base}, paired", "p"] if paired else [])]
        table = Table(*columns, "training (s)", f"step time / {base}", *([f"FLOPs / {base}"] if counted else []))
        for s in summaries:
            cells = [s.method, str(s.seeds), s.values[0], *([s.difference, s.p_value] if paired else [])]
            flops = [] if s.flops_ratio is None else [ratio(s.flops_ratio)]
            table.add_row(*cells, f"{s.train_seconds:.1f}", ratio(s.step_ratio), *flops)
        self.console.print(table)
