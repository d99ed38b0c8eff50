"""What programs that train for seconds show of a run: how good a network is by seconds and steps, and when others were
where the first method ended."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.process.files import save_figure
from experiments.process.markdown import table
from experiments.runs.plots import label_log_axis
from experiments.runs.statistics import first_reached, interval
from experiments.runs.styles import method_styles
from experiments.training.rows import StepRow


class Curve(NamedTuple):
    """A setting's evaluations by the first measure, mean over the seeds that came so far."""

    seconds: np.ndarray
    steps: np.ndarray
    values: np.ndarray
    deviation: np.ndarray


def report(rows: Sequence[StepRow], directory: Path) -> list[str]:
    """Draws the first measure into a directory, a figure named by its column, and returns lines on the seconds to what
    the first method ended with.

    Raises:
        OutputError: if the figure can't be written.
    """
    measure, base = rows[0].measures[0], rows[0].method
    plot_by_time(rows, directory / f"{measure.column}.png")
    reached = {method: seconds_to_base(rows, method) for method in dict.fromkeys(row.method for row in rows)}
    cells = []
    for method, by_seed in reached.items():
        times = [own for own, _ in by_seed if own is not None]
        ratios = [base_seconds / own for own, base_seconds in by_seed if own is not None]
        never = f" ({len(by_seed) - len(times)} of {len(by_seed)} seeds never)" if len(times) < len(by_seed) else ""
        cells.append((method, f"{interval(times)}{never}", interval(ratios)))
    return [
        f"## Seconds to the {measure.name} that {base} ended with",
        "",
        f"Training seconds, by interpolation between evaluations, seed by seed; and {base}'s whole training time in"
        " terms of them. Mean with half the 95 % interval.",
        "",
        *table(("method", "seconds", f"{base} / method"), cells),
        "",
    ]


def seconds_to_base(rows: Sequence[StepRow], method: str) -> list[tuple[float | None, float]]:
    """For each seed of both, when `method` first was as good as the first one in the end, if ever, and when that was.

    Interpolated between evaluations, linearly in the logarithm of the seconds.
    """
    base, found = rows[0].method, []
    for seed in dict.fromkeys(row.seed for row in rows if row.method == method):
        reference = [row for row in rows if (row.method, row.seed) == (base, seed)]
        own = [row for row in rows if (row.method, row.seed) == (method, seed)]
        if not reference:
            continue
        aim = _value(reference[-1])
        reached = first_reached(aim, [row.train_seconds for row in own], [_value(row) for row in own])
        found.append((reached, reference[-1].train_seconds))
    return found


def plot_by_time(rows: Sequence[StepRow], path: Path) -> None:
    """The first measure against training seconds, and against steps, on logarithmic axes.

    Raises:
        OutputError: if the figure can't be written.
    """
    figure = Figure(figsize=(10, 4), layout="constrained")
    by_seconds, by_steps = figure.subplots(1, 2, sharey=True)
    curves = {method: _curve([row for row in rows if row.method == method]) for method in _methods(rows)}
    for method, style in method_styles(curves).items():
        curve = curves[method]
        for axes, along in ((by_seconds, curve.seconds), (by_steps, curve.steps)):
            axes.plot(along, curve.values, **style._asdict(), markersize=4, label=method)
            low, high = curve.values - curve.deviation, curve.values + curve.deviation
            axes.fill_between(along, low, high, color=style.color, alpha=0.2, linewidth=0)
    _mark_base(by_seconds, curves)
    for axes, label in ((by_seconds, "training time (s)"), (by_steps, "steps")):
        axes.set(xscale="log", xlabel=label, ylim=(0, None))
        label_log_axis(axes.xaxis)
        axes.grid(alpha=0.3)
    by_seconds.set_ylabel(rows[0].measures[0].title)
    figure.legend(*by_seconds.get_legend_handles_labels(), loc="outside right center")
    save_figure(path, figure)


def _value(row: StepRow) -> float:
    """By the measure that methods are compared by."""
    value = row.measures[0].of(row)
    assert value is not None
    return value


def _methods(rows: Sequence[StepRow]) -> list[str]:
    return list(dict.fromkeys(row.method for row in rows))


def _curve(rows: Sequence[StepRow]) -> Curve:
    by_epoch = [[row for row in rows if row.epoch == epoch] for epoch in sorted({row.epoch for row in rows})]

    def over_seeds(of: Callable[[StepRow], float], statistic=np.mean) -> np.ndarray:
        return np.array([statistic([of(row) for row in same]) for same in by_epoch])

    return Curve(
        over_seeds(lambda row: row.train_seconds),
        over_seeds(lambda row: row.steps),
        over_seeds(_value),
        over_seeds(_value, np.std),
    )


def _mark_base(axes: Axes, curves: dict[str, Curve]) -> None:
    """Says how much sooner another setting was where the first one ended."""
    first, *others = curves.values()
    aim, end = first.values[-1], first.seconds[-1]
    soonest = None
    for curve in others:
        above = np.flatnonzero(curve.values >= aim)
        if above.size and (i := int(above[0])):
            logs = np.log(curve.seconds[i - 1 : i + 1])
            at = math.exp(np.interp(aim, curve.values[i - 1 : i + 1], logs))
            soonest = at if soonest is None else min(soonest, at)
    if soonest is not None and soonest < end:
        axes.annotate("", (soonest, aim), (end, aim), arrowprops={"arrowstyle": "->", "color": "0.3"})
        times = f"{end / soonest:.0f}" if end > 10 * soonest else f"{end / soonest:.1f}"
        paper = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1}
        axes.annotate(
            f"{times} times sooner",
            (end, aim),
            (-4, 5),
            textcoords="offset points",
            ha="right",
            color="0.3",
            bbox=paper,
        )
