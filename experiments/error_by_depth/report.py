"""What was measured and predicted: error_by_depth.md and error_by_depth.png."""

from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from experiments.process.markdown import table
from experiments.runs.plots import label_log_axis
from experiments.runs.styles import method_styles

_QUANTITIES = {"error": "relative error of the activations", "cosine": "cosine with the exact activations"}


def markdown(record: dict[str, Any]) -> str:
    """Tables of the error and of the cosine by layer."""
    settings = record["settings"]
    lines = [
        "# The error of an estimated forward pass, by depth",
        "",
        f"ReLU networks of width {settings['width']} as initialised by He's rule, normal inputs; mean ± standard"
        f" deviation over {settings['networks']} network(s), of {settings['examples']} examples and"
        f" {settings['draws']} draws each. Predicted: in the limit of wide layers.",
    ]
    for quantity, title in _QUANTITIES.items():
        rows: list[list[str]] = []
        for name, result in record["results"].items():
            measured = result["measured"][quantity]
            cells = [f"{value:.3g}" for value in measured["mean"]]
            if measured["std"] is not None:
                deviations = (f"{float(f'{value:.1g}'):g}" for value in measured["std"])  # 1e+01 as 10
                cells = [f"{cell} ± {deviation}" for cell, deviation in zip(cells, deviations, strict=True)]
            predicted = (f"{value:.3g}" for value in result["predicted"][quantity])
            rows += [[name, "measured", *cells], ["", "predicted", *predicted]]
        header = ("method", "", *(f"layer {layer + 1}" for layer in range(settings["layers"])))
        lines += ["", f"## {title}", "", *table(header, rows)]
    return "\n".join([*lines, ""])


def draw(record: dict[str, Any]) -> Figure:
    """Measured as markers with error bars over networks, predicted as lines."""
    figure = Figure(figsize=(12, 5), layout="constrained")
    panels = figure.subplots(1, 2)
    layers = range(1, record["settings"]["layers"] + 1)
    for axes, (quantity, title) in zip(panels, _QUANTITIES.items(), strict=True):
        for name, (color, line, marker) in method_styles(record["results"]).items():
            measured, predicted = (record["results"][name][kind][quantity] for kind in ("measured", "predicted"))
            axes.errorbar(layers, measured["mean"], measured["std"], fmt=marker, color=color, capsize=2, label=name)
            axes.plot(layers, predicted, line, color=color)
        axes.set(xlabel="hidden layers", ylabel=title)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
    panels[0].set_yscale("log")
    label_log_axis(panels[0].yaxis)
    panels[1].set_ylim(0, 1)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right center", title="lines: predicted")
    return figure
