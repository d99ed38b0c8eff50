"""Figures of `experiments.mlp`."""

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from experiments.process.files import save_figure
from experiments.runs.plots import SECONDS, accuracy, label_log_axis, plot_by_epoch, seconds
from experiments.runs.statistics import half_interval
from experiments.runs.styles import THROUGH_HASH, method_styles
from experiments.training.rows import ImageRow


def plot_figure(rows: Sequence[ImageRow], title: str, path: Path) -> None:
    """The paper's Figures 15 and 16: cumulative training seconds against epochs; and what was reached in them.

    Raises:
        OutputError: if the figure can't be written.
    """
    figure = Figure(figsize=(13, 4), layout="constrained")
    time, accuracies, both = figure.subplots(1, 3)
    plot_by_epoch(time, rows, seconds, SECONDS)
    time.set_yscale("log")
    label_log_axis(time.yaxis)
    rows = [*rows, *_through_hash(rows)]
    plot_by_epoch(accuracies, rows, accuracy, "accuracy (%)")
    for method, style in method_styles(row.method for row in rows).items():
        for seed in sorted({row.seed for row in rows if row.method == method}):
            own = [row for row in rows if (row.method, row.seed) == (method, seed)]
            line = {**style._asdict(), "linewidth": 0.7, "markersize": 4}
            both.plot(list(map(seconds, own)), list(map(accuracy, own)), **line)
    both.set(xscale="log", xlabel=SECONDS, ylabel="accuracy (%)")
    label_log_axis(both.xaxis)
    both.grid(alpha=0.3)
    figure.suptitle(title)
    figure.legend(*accuracies.get_legend_handles_labels(), loc="outside right center")
    save_figure(path, figure)


def plot_depth(rows: Mapping[int, Sequence[ImageRow]], path: Path) -> None:
    """Final accuracy against the number of hidden layers: means, with 95 % intervals over seeds.

    Args:
        rows: by the number of layers.
        path: of the figure.

    Raises:
        OutputError: if the figure can't be written.
    """
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    with_hashed = {layers: [*some, *_through_hash(some)] for layers, some in sorted(rows.items())}
    styles = method_styles(row.method for some in with_hashed.values() for row in some)
    for method, style in styles.items():
        final = {
            layers: list({row.seed: accuracy(row) for row in some if row.method == method}.values())
            for layers, some in with_hashed.items()
        }
        final = {layers: values for layers, values in final.items() if values}
        means = [statistics.mean(values) for values in final.values()]
        spread = [half_interval(values) or 0 for values in final.values()]
        axes.errorbar(list(final), means, yerr=spread, **style._asdict(), markersize=4, capsize=2, label=method)
    axes.set(xlabel="hidden layers", ylabel="accuracy (%)", ylim=(0, 100), xticks=list(with_hashed))
    axes.grid(alpha=0.3)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right center")
    save_figure(path, figure)


def _through_hash(rows: Sequence[ImageRow]) -> list[ImageRow]:
    """The rows of methods that hash, with the accuracy through the hash as theirs."""
    return [
        dataclasses.replace(row, method=f"{row.method}{THROUGH_HASH}", test_accuracy=row.test_accuracy_hashed)
        for row in rows
        if row.test_accuracy_hashed is not None
    ]
