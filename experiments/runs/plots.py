"""Accuracy and training time against epochs: one line a method, a band over seeds, single runs thin."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from experiments.process.files import save_figure
from experiments.seeds.segments import Row


def plot_accuracy(rows: Sequence[Row], path: Path) -> None:
    """Accuracy on the test (or held-out) set, in per cent."""
    _plot(rows, path, accuracy, "accuracy (%)")


def plot_time(rows: Sequence[Row], path: Path) -> None:
    """Cumulative training seconds, without compilation."""
    _plot(rows, path, seconds, SECONDS)


SECONDS = "cumulative training time (s)"


def accuracy(row: Row) -> float:
    return 100 * row.test_accuracy


def seconds(row: Row) -> float:
    return row.train_seconds


def _plot(rows: Sequence[Row], path: Path, value: Callable[[Row], float], label: str) -> None:
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    plot_by_epoch(axes, rows, value, label)
    axes.legend()
    save_figure(path, figure)


def plot_by_epoch(axes: Axes, rows: Sequence[Row], value: Callable[[Row], float], label: str) -> None:
    """A value against epochs, in a panel: a line a method, its deviation over seeds as a band, single runs thin."""
    for color, method in enumerate(dict.fromkeys(row.method for row in rows)):
        mine = [row for row in rows if row.method == method]
        epochs = sorted({row.epoch for row in mine})
        by_epoch = [[value(row) for row in mine if row.epoch == epoch] for epoch in epochs]
        mean, deviation = (np.array([f(v) for v in by_epoch]) for f in (np.mean, np.std))
        axes.plot(epochs, mean, f"C{color}", marker=".", label=method)
        axes.fill_between(epochs, mean - deviation, mean + deviation, color=f"C{color}", alpha=0.2, linewidth=0)
        for seed in {row.seed for row in mine}:
            own = [row for row in mine if row.seed == seed]
            axes.plot([row.epoch for row in own], [value(row) for row in own], f"C{color}", alpha=0.3, linewidth=0.7)
    axes.set(xlabel="epoch", ylabel=label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
