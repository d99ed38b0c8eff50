"""What the variants come to: collapse.md and collapse.png."""

import statistics
from pathlib import Path

from matplotlib.figure import Figure

from experiments.collapse.results import Results
from experiments.collapse.variants import VARIANTS
from experiments.process.files import save_figure, write_whole
from experiments.process.markdown import table
from experiments.runs.statistics import half_interval, interval

_COLUMNS = {
    "test_accuracy": "evaluated exactly",
    "difference": "minus exact",
    "test_accuracy_hashed": "evaluated through the hash",
    "recall": "recall",
}


def write_report(results: Results, path: Path) -> None:
    """Writes the table and the figure into a directory.

    Raises:
        OutputError: if they can't be written.
    """
    write_whole(path / "collapse.md", markdown(results))
    save_figure(path / "collapse.png", draw(results))


def cells(results: Results, name: str) -> list[str]:
    """A variant's line of the table."""
    return [VARIANTS[name].ingredient, name, *(interval(results.values(name, column)) for column in _COLUMNS)]


def markdown(results: Results) -> str:
    """The table, with what was trained."""
    settings = results.settings
    head = [
        "# ALSH-approx, one ingredient at a time",
        "",
        f"{settings['data']}, {settings['images']} training images, residual blocks"
        f" {settings['blocks']}, width {settings['width']},"
        f" {settings['epochs']} epochs, {settings['seeds']} seed(s).",
        "",
        "Per cent, mean ± half the 95 % interval of the mean (Student). Minus exact: by the seed, at"
        " batch 1 from exact at batch 1. Recall of the true top units: mean over the last epoch.",
        "",
    ]
    lines = table(("ingredient", "variant", *_COLUMNS.values()), (cells(results, name) for name in results.names))
    return "\n".join([*head, *lines, ""])


def draw(results: Results) -> Figure:
    """Accuracy against recall, evaluated exactly and through the hash, with error bars over seeds."""
    figure = Figure(figsize=(12, 5), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, column in zip(panels, ("test_accuracy", "test_accuracy_hashed"), strict=True):
        for name in results.names:
            recall, accuracy = results.values(name, "recall"), results.values(name, column)
            if recall and accuracy:
                ingredient = VARIANTS[name].ingredient
                same = [other for other in VARIANTS if VARIANTS[other].ingredient == ingredient]
                axes.errorbar(
                    statistics.mean(recall),
                    statistics.mean(accuracy),
                    yerr=half_interval(accuracy),
                    fmt="osD^v"[same.index(name)],
                    color=f"C{_INGREDIENTS.index(ingredient)}",
                    capsize=2,
                    label=name,
                )
        for name, style in (("exact", "-"), ("exact, batch 1", ":")):
            if name in results.names:
                axes.axhline(statistics.mean(results.values(name, "test_accuracy")), ls=style, color="0.4", label=name)
        axes.axhline(10.3, ls="--", color="0.7", label="the paper's 10.3 %")
        axes.set(xlabel="recall of the true top units (%)", xscale="log", title=_COLUMNS[column])
        axes.set_xticks(_RECALLS, map(str, _RECALLS))
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("test accuracy (%)")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right center", fontsize=8)
    return figure


_RECALLS = (0.5, 1, 2, 5, 10, 20, 50, 100)
_INGREDIENTS = list(dict.fromkeys(variant.ingredient for variant in VARIANTS.values()))
