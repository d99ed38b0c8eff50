"""Figures of a race: accuracy against the budget, and the measured against the predicted ratios of all tasks."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from experiments.process.files import save_figure
from experiments.race.agreement import Triple
from experiments.runs.plots import label_log_axis
from experiments.runs.styles import method_styles

_MARKERS = "osD^vPX*"


def draw_accuracies(
    title: str, measure: str, accuracies: Mapping[str, Mapping[float, Sequence[float]]], path: Path
) -> None:
    """A line for the median over seeds, a band for their range.

    Args:
        title: of the task.
        measure: what is drawn.
        accuracies: by arm and budget, of each seed.
        path: of the file.

    Raises:
        OutputError: if it can't be written.
    """
    figure = Figure(figsize=(7.5, 4.5), layout="constrained")
    axes = figure.subplots()
    styles = method_styles(accuracies)
    for arm, by_budget in accuracies.items():
        budgets, values = list(by_budget), list(by_budget.values())
        axes.plot(budgets, [np.median(v) for v in values], **styles[arm]._asdict(), markersize=4, label=arm)
        low, high = [min(v) for v in values], [max(v) for v in values]
        axes.fill_between(budgets, low, high, color=styles[arm].color, alpha=0.2, linewidth=0)
    axes.set(xscale="log", xlabel="training time, all charged (s)", ylabel=measure, title=title)
    label_log_axis(axes.xaxis)
    axes.grid(alpha=0.3)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right center")
    save_figure(path, figure)


def draw_predictions(triples: Sequence[Triple], path: Path) -> None:
    """Each task's triples; hollow where the outcome is a bound, or no more than a sign.

    Raises:
        OutputError: if it can't be written.
    """
    figure = Figure(figsize=(7, 5), layout="constrained")
    axes = figure.subplots()
    for number, task in enumerate(dict.fromkeys(triple.task for triple in triples)):
        own = [triple for triple in triples if triple.task == task]
        for i, (_, _, _, foretold, found) in enumerate(own):
            below, above = found.ratio - found.low, found.high - found.ratio
            error = [[max(0.0, below)], [max(0.0, above)]]  # no interval is one of width 0, but for rounding
            color, hollow = f"C{number}", bool(found.bound) or not found.known
            axes.errorbar(
                foretold,
                found.ratio,
                yerr=error,
                fmt=_MARKERS[number % len(_MARKERS)],
                color=color,
                markerfacecolor="white" if hollow else color,
                capsize=2,
                label=task if i == 0 else None,
            )
    axes.axhline(1, color="0.6", linewidth=0.8)
    axes.axvline(1, color="0.6", linewidth=0.8)
    predicted, measured = zip(*((triple.predicted, triple.measured.ratio) for triple in triples), strict=True)
    axes.axline((1, 1), (10, 10), color="0.6", linestyle=":")
    axes.set(
        xscale="log",
        yscale="log",
        xlim=(min(predicted) / 1.5, max(predicted) * 1.5),
        ylim=(min(measured) / 3, max(measured) * 3),
        xlabel="predicted: progress per second, over exact training's",
        ylabel="measured: exact training's seconds, over the arm's",
    )
    label_log_axis(axes.xaxis)
    label_log_axis(axes.yaxis)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right center")
    save_figure(path, figure)
