"""Accuracy and training time against epochs: one line a method, a band over seeds, single runs thin."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from experiments.process.files import save_figure
from experiments.runs.styles import method_styles
from experiments.training.rows import ImageRow, Row

SECONDS = "cumulative training time (s)"


def report_epochs(rows: Sequence[ImageRow], directory: Path) -> list[str]:
    """Draws accuracy.png and time.png into a directory: a `Report` without lines.

    Raises:
        OutputError: if a figure can't be written.
    """
    plot_accuracy(rows, directory / "accuracy.png")
    plot_time(rows, directory / "time.png")
    return []


def plot_accuracy(rows: Sequence[ImageRow], path: Path) -> None:
    """Accuracy on the test (or held-out) set, in per cent.

    Raises:
        OutputError: if the figure can't be written.
    """
    _plot(rows, path, accuracy, "accuracy (%)")


def plot_time(rows: Sequence[ImageRow], path: Path) -> None:
    """Cumulative training seconds, without compilation.

    Raises:
        OutputError: if the figure can't be written.
    """
    _plot(rows, path, seconds, SECONDS)


def accuracy(row: ImageRow) -> float:
    """The row's test accuracy in per cent."""
    return 100 * row.test_accuracy


def seconds(row: Row) -> float:
    """The row's cumulative training seconds."""
    return row.train_seconds


def _plot(rows: Sequence[ImageRow], path: Path, value: Callable[[ImageRow], float], label: str) -> None:
    figure = Figure(figsize=(7.5, 4), layout="constrained")
    axes = figure.subplots()
    plot_by_epoch(axes, rows, value, label)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right center")
    save_figure(path, figure)


def plot_by_epoch(axes: Axes, rows: Sequence[ImageRow], value: Callable[[ImageRow], float], label: str) -> None:
    """A value against epochs, in a panel: a line a setting, its deviation over seeds as a band, single runs thin."""
    for method, style in method_styles(row.method for row in rows).items():
        mine = [row for row in rows if row.method == method]
        epochs = sorted({row.epoch for row in mine})
        by_epoch = [[value(row) for row in mine if row.epoch == epoch] for epoch in epochs]
        mean, deviation = (np.array([f(v) for v in by_epoch]) for f in (np.mean, np.std))
        axes.plot(epochs, mean, **style._asdict(), markersize=4, label=method)
        axes.fill_between(epochs, mean - deviation, mean + deviation, color=style.color, alpha=0.2, linewidth=0)
        for seed in {row.seed for row in mine}:
            own = [row for row in mine if row.seed == seed]
            axes.plot([row.epoch for row in own], [value(row) for row in own], style.color, alpha=0.3, linewidth=0.7)
    axes.set(xlabel="epoch", ylabel=label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)


def label_log_axis(axis: Axis) -> None:
    """Gives a logarithmic axis, of which everything is drawn, plain numbers with room between them."""
    low, high = axis.get_view_interval()
    decades = math.log10(high / low)
    digits = range(1, 10) if decades < 0.7 else (1, 2, 5) if decades < 3 else (1,)
    axis.set_major_locator(LogLocator(subs=digits))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_locator(NullLocator())
