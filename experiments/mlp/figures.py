"""Figures of `experiments.mlp`."""

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from experiments.process.files import save_figure
from experiments.runs.plots import SECONDS, accuracy, plot_by_epoch, seconds
from experiments.runs.statistics import half_interval
from experiments.seeds.segments import Row


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
    save_figure(path, figure)


def plot_depth(rows: Mapping[int, Sequence[Row]], path: Path) -> None:
    """Final accuracy against the number of hidden layers: means, with 95 % intervals over seeds.

    Args:
        rows: by the number of layers.
        path: of the figure.
    """
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    with_hashed = {layers: [*some, *_through_hash(some)] for layers, some in sorted(rows.items())}
    for method in dict.fromkeys(row.method for some in with_hashed.values() for row in some):
        final = {
            layers: list({row.seed: accuracy(row) for row in some if row.method == method}.values())
            for layers, some in with_hashed.items()
        }
        final = {layers: values for layers, values in final.items() if values}
        means = [statistics.mean(values) for values in final.values()]
        spread = [half_interval(values) or 0 for values in final.values()]
        axes.errorbar(list(final), means, yerr=spread, marker=".", capsize=2, label=method)
    axes.set(xlabel="hidden layers", ylabel="accuracy (%)", ylim=(0, 100), xticks=list(with_hashed))
    axes.grid(alpha=0.3)
    axes.legend()
    save_figure(path, figure)


def _through_hash(rows: Sequence[Row]) -> list[Row]:
    """The rows of methods that hash, with the accuracy through the hash as theirs."""
    return [
        dataclasses.replace(row, method=f"{row.method}, through the hash", test_accuracy=row.test_accuracy_hashed)
        for row in rows
        if row.test_accuracy_hashed is not None
    ]
