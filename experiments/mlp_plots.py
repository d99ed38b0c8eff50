"""Figures of `experiments.mlp`."""

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from experiments.intervals import half_interval
from experiments.plots import SECONDS, accuracy, plot_by_epoch, seconds
from experiments.runner import Row


def plot_figure(rows: Sequence[Row], title: str, path: Path) -> None:
    """The paper's Figures 15 and 16: cumulative training seconds against epochs; and what was reached in them."""
    figure = Figure(figsize=(13, 4), layout="constrained")
    time, accuracies, both = figure.subplots(1, 3)
    plot_by_epoch(time, rows, seconds, SECONDS)
    time.set_yscale("log")
    rows = [*rows, *_through_hash(rows)]
    plot_by_epoch(accuracies, rows, accuracy, "accuracy (%)")
    for color, method in enumerate(dict.fromkeys(row.method for row in rows)):
        for seed in sorted({row.seed for row in rows if row.method == method}):
            own = [row for row in rows if (row.method, row.seed) == (method, seed)]
            both.plot(list(map(seconds, own)), list(map(accuracy, own)), f"C{color}", marker=".", linewidth=0.7)
    both.set(xscale="log", xlabel=SECONDS, ylabel="accuracy (%)")
    both.grid(alpha=0.3)
    figure.suptitle(title)
    figure.legend(*accuracies.get_legend_handles_labels(), loc="outside right center")
    figure.savefig(path, dpi=150)


def plot_depth(rows: Mapping[int, Sequence[Row]], path: Path) -> None:
    """Final accuracy and training seconds against the number of hidden layers: means, with 95 % intervals over seeds.

    Args:
        rows: by the number of layers.
        path: of the figure.
    """
    figure = Figure(figsize=(10, 4), layout="constrained")
    panels = figure.subplots(1, 2)
    with_hashed = {layers: [*some, *_through_hash(some)] for layers, some in rows.items()}
    shown = ((panels[0], with_hashed, accuracy, "accuracy (%)"), (panels[1], rows, seconds, SECONDS))
    for axes, by_layers, value, label in shown:
        for method in dict.fromkeys(row.method for some in by_layers.values() for row in some):
            last = {
                layers: {row.seed: value(row) for row in some if row.method == method}
                for layers, some in by_layers.items()
            }
            by_depth = {layers: list(values.values()) for layers, values in sorted(last.items()) if values}
            axes.errorbar(
                list(by_depth),
                [statistics.mean(values) for values in by_depth.values()],
                yerr=[half_interval(values) or 0 for values in by_depth.values()],
                marker=".",
                capsize=2,
                label=method,
            )
        axes.set(xlabel="hidden layers", ylabel=label, xticks=sorted(rows))
        axes.grid(alpha=0.3)
    panels[1].set_yscale("log")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right center")
    figure.savefig(path, dpi=150)


def _through_hash(rows: Sequence[Row]) -> list[Row]:
    """The rows of methods that hash, with the accuracy through the hash as theirs."""
    return [
        dataclasses.replace(row, method=f"{row.method}, through the hash", test_accuracy=row.test_accuracy_hashed)
        for row in rows
        if row.test_accuracy_hashed is not None
    ]
