"""What `experiments.words` shows of a run: hit@10 by seconds and steps, and when others were where the first ended."""

import math
from collections.abc import Sequence
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
from experiments.words.rows import WordsRow


class Curve(NamedTuple):
    """A setting's evaluations, mean over the seeds that came so far; hit@10 in per cent."""

    seconds: np.ndarray
    steps: np.ndarray
    hits: np.ndarray
    deviation: np.ndarray


def report(rows: Sequence[WordsRow], directory: Path) -> list[str]:
    """Draws hit_at_10.png into a directory, and returns lines on the seconds to what the first method ended with.

    Raises:
        OutputError: if the figure can't be written.
    """
    plot_hits(rows, directory / "hit_at_10.png")
    base = rows[0].method
    reached = {method: seconds_to_base(rows, method) for method in dict.fromkeys(row.method for row in rows)}
    cells = []
    for method, by_seed in reached.items():
        times = [own for own, _ in by_seed if own is not None]
        ratios = [base_seconds / own for own, base_seconds in by_seed if own is not None]
        never = f" ({len(by_seed) - len(times)} of {len(by_seed)} seeds never)" if len(times) < len(by_seed) else ""
        cells.append((method, f"{interval(times)}{never}", interval(ratios)))
    return [
        f"## Seconds to the hit@10 that {base} ended with",
        "",
        f"Training seconds, by interpolation between evaluations, seed by seed; and {base}'s whole training time in"
        " terms of them. Mean with half the 95 % interval.",
        "",
        *table(("method", "seconds", f"{base} / method"), cells),
        "",
    ]


def seconds_to_base(rows: Sequence[WordsRow], method: str) -> list[tuple[float | None, float]]:
    """For each seed of both, when `method` first had the final hit@10 of the first method, if ever, and when that had.

    Interpolated between evaluations, linearly in the logarithm of the seconds.
    """
    base, found = rows[0].method, []
    for seed in dict.fromkeys(row.seed for row in rows if row.method == method):
        reference = [row for row in rows if (row.method, row.seed) == (base, seed)]
        own = [row for row in rows if (row.method, row.seed) == (method, seed)]
        if not reference:
            continue
        aim = reference[-1].hit_at_10
        reached = first_reached(aim, [row.train_seconds for row in own], [row.hit_at_10 for row in own])
        found.append((reached, reference[-1].train_seconds))
    return found


def plot_hits(rows: Sequence[WordsRow], path: Path) -> None:
    """hit@10 against training seconds, and against steps, on logarithmic axes.

    Raises:
        OutputError: if the figure can't be written.
    """
    figure = Figure(figsize=(10, 4), layout="constrained")
    by_seconds, by_steps = figure.subplots(1, 2, sharey=True)
    curves = {method: _curve([row for row in rows if row.method == method]) for method in _methods(rows)}
    for method, style in method_styles(curves).items():
        curve = curves[method]
        for axes, along in ((by_seconds, curve.seconds), (by_steps, curve.steps)):
            axes.plot(along, curve.hits, **style._asdict(), markersize=4, label=method)
            low, high = curve.hits - curve.deviation, curve.hits + curve.deviation
            axes.fill_between(along, low, high, color=style.color, alpha=0.2, linewidth=0)
    _mark_base(by_seconds, curves)
    for axes, label in ((by_seconds, "training time (s)"), (by_steps, "steps")):
        axes.set(xscale="log", xlabel=label, ylim=(0, None))
        label_log_axis(axes.xaxis)
        axes.grid(alpha=0.3)
    by_seconds.set_ylabel("held-out words among the first ten (%)")
    figure.legend(*by_seconds.get_legend_handles_labels(), loc="outside right center")
    save_figure(path, figure)


def _methods(rows: Sequence[WordsRow]) -> list[str]:
    return list(dict.fromkeys(row.method for row in rows))


def _curve(rows: Sequence[WordsRow]) -> Curve:
    by_epoch = [[row for row in rows if row.epoch == epoch] for epoch in sorted({row.epoch for row in rows})]

    def over_seeds(of: str, statistic=np.mean) -> np.ndarray:
        return np.array([statistic([getattr(row, of) for row in same]) for same in by_epoch])

    return Curve(
        over_seeds("train_seconds"),
        over_seeds("steps"),
        100 * over_seeds("hit_at_10"),
        100 * over_seeds("hit_at_10", np.std),
    )


def _mark_base(axes: Axes, curves: dict[str, Curve]) -> None:
    """Says how much sooner another setting was where the first one ended."""
    first, *others = curves.values()
    aim, end = first.hits[-1], first.seconds[-1]
    soonest = None
    for curve in others:
        above = np.flatnonzero(curve.hits >= aim)
        if above.size and (i := int(above[0])):
            logs = np.log(curve.seconds[i - 1 : i + 1])
            at = math.exp(np.interp(aim, curve.hits[i - 1 : i + 1], logs))
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
