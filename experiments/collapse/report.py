"""What the variants come to: collapse.md and collapse.png."""

import statistics
from pathlib import Path

from matplotlib.figure import Figure

from experiments.collapse.results import Results
from experiments.collapse.variants import VARIANTS
from experiments.process.files import save_figure, write_whole
from experiments.process.markdown import table
from experiments.runs.plots import label_log_axis
from experiments.runs.statistics import half_interval, interval
from experiments.runs.styles import method_color

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
    """Accuracy against recall, evaluated exactly and through the hash, with error bars over seeds.

    Variants of batch 1 have the colour and marker of the same variant at the usual batch size, but hollow.
    """
    figure = Figure(figsize=(12, 5), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, column in zip(panels, ("test_accuracy", "test_accuracy_hashed"), strict=True):
        for name in results.names:
            recall, accuracy = results.values(name, "recall"), results.values(name, column)
            if recall and accuracy:
                color, marker = _STYLES[name.removesuffix(_BATCH_1)]
                axes.errorbar(
                    statistics.mean(recall),
                    statistics.mean(accuracy),
                    yerr=half_interval(accuracy),
                    fmt=marker,
                    color=color,
                    markerfacecolor="white" if name.endswith(_BATCH_1) else color,
                    capsize=2,
                    label=name,
                )
        for name, style in (("exact", "-"), (f"exact{_BATCH_1}", ":")):
            if name in results.names:
                mean = statistics.mean(results.values(name, "test_accuracy"))
                axes.axhline(mean, ls=style, color=method_color("exact"), label=name)
        axes.axhline(10.3, ls="--", color="0.6", label="the paper's 10.3 %")
        axes.set(xlabel="recall of the true top units (%)", xscale="log", title=_COLUMNS[column])
        label_log_axis(axes.xaxis)
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("test accuracy (%)")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right center", fontsize=8)
    return figure


_BATCH_1 = ", batch 1"
# Variants that are methods of other figures have their colours, the others one for each ingredient.
_METHOD_OF = {"paper": "alsh", "oracle": "oracle", "random": "random"}
_COLORS = {
    "active set": "darkgoldenrod",
    "K and L": "teal",
    "a better hash": "navy",
    "rehash": "olive",
    "defects": "saddlebrown",
    "output layer": "magenta",
}


def _styles() -> dict[str, tuple[str, str]]:
    """Colour and marker by variant."""
    styles, used = {}, dict.fromkeys(_COLORS, 0)
    for name, variant in VARIANTS.items():
        if name in _METHOD_OF:
            styles[name] = method_color(_METHOD_OF[name]), "o"
        elif variant.ingredient in _COLORS:
            styles[name] = _COLORS[variant.ingredient], "sD^"[used[variant.ingredient]]
            used[variant.ingredient] += 1
    return styles


_STYLES = _styles()
