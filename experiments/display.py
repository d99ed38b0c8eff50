"""What a run shows on screen: a header, live progress, and a table at the end."""

import time
from collections.abc import Sequence

import jax
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from experiments.report import MethodSummary, device_line, environment
from experiments.runner import Row


class Display:
    """Live progress on a terminal; elsewhere a line an epoch.

    `on_step` is called from the runtime's own thread, the rest from the program's.
    """

    def __init__(self) -> None:
        self.console = Console()
        self._accuracy, self._loss, self._steps, self._started = float("nan"), float("nan"), 0, 0.0
        self._batch_size = self._every = 0
        columns = ("{task.description}", "loss {task.fields[loss]:.3f}", "accuracy {task.fields[accuracy]:.1%}")
        self._progress = Progress(
            *map(TextColumn, columns),
            BarColumn(),
            TextColumn("{task.fields[rate]:.0f} images/s"),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self._task = self._progress.add_task("", loss=self._loss, accuracy=self._accuracy, rate=0.0)

    def header(self, title: str) -> None:
        versions = environment()["versions"]
        self.console.print(f"{title}\n{device_line()}; {', '.join(f'{k} {v}' for k, v in versions.items() if v)}")

    def compiling(self, method: str) -> None:
        self.console.print(f"{method}: compiling ...")

    def start(self, method: str, total_steps: int, batch_size: int, every: int) -> None:
        """Begins the progress of one method, of all its seeds together; `on_step` is called every `every` steps."""
        self._batch_size, self._every = batch_size, every
        self._steps, self._started = 0, time.perf_counter()
        self._accuracy = float("nan")
        self._progress.reset(self._task, total=total_steps, description=method)
        self._progress.start()

    def on_step(self, loss: jax.Array) -> None:
        self._loss, self._steps = float(loss), self._steps + self._every
        rate = self._batch_size * self._steps / (time.perf_counter() - self._started)
        self._progress.update(self._task, advance=self._every, loss=self._loss, accuracy=self._accuracy, rate=rate)

    def add(self, row: Row) -> None:
        self._accuracy = row.test_accuracy
        line = (
            f"{row.method} seed {row.seed} epoch {row.epoch}: loss {row.train_loss:.4f}"
            f", accuracy {row.test_accuracy:.2%}"
            f", {row.train_seconds:.1f} s"
        )
        self.console.print(line, highlight=False, soft_wrap=True)

    def stop(self) -> None:
        self._progress.stop()

    def table(self, summaries: Sequence[MethodSummary]) -> None:
        base = summaries[0].method if summaries else ""
        columns = ("method", "seeds", "accuracy (%)", "training (s)", f"step time / {base}", f"FLOPs / {base}")
        table = Table(*columns)
        for s in summaries:
            numbers = (f"{s.train_seconds:.1f}", f"{s.step_ratio:.2f}", f"{s.flops_ratio:.2f}")
            table.add_row(s.method, str(s.seeds), s.accuracy, *numbers)
        self.console.print(table)
