"""The picture of a race: what each contender has learned, against its training seconds."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from experiments.bench.race_table import hit_after
from experiments.process.files import save_figure
from experiments.runs.plots import label_log_axis
from experiments.runs.styles import method_styles

_POINTS = 40


def draw_race(race: dict[str, Any], path: Path) -> None:
    """hit@10 against seconds, on a logarithmic axis: a line for the mean over seeds, a band for their range.

    Args:
        race: "wide_race" of what `measure_race` returned.
        path: of the file.

    Raises:
        OutputError: if it can't be written.
    """
    figure = Figure(figsize=(7.5, 4.5), layout="constrained")
    axes = figure.subplots()
    styles = method_styles(race["curves"])
    for name, curves in race["curves"].items():
        first = max(curve[0]["seconds"] for curve in curves)
        last = max(first, min(curve[-1]["seconds"] for curve in curves))
        seconds = np.geomspace(first, last, _POINTS)
        hits = np.array([[100 * hit_after(curve, s) for s in seconds] for curve in curves])
        style = styles[name]
        axes.plot(seconds, hits.mean(0), label=name, color=style.color, linestyle=style.linestyle)
        axes.fill_between(seconds, hits.min(0), hits.max(0), color=style.color, alpha=0.2, linewidth=0)
    axes.set_xscale("log")
    axes.set(xlabel="training seconds", ylabel="hit@10 (%)", ylim=(0, None), title=race["title"])
    label_log_axis(axes.xaxis)
    axes.legend()
    save_figure(path, figure)
