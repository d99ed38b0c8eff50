"""How the contenders of a race are compared: at equal seconds, and by the seconds to what exact training reaches."""

import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from experiments.runs.statistics import first_reached

_BASE = "exact"
_PUBLISHED = (
    "SLIDE (Chen et al., MLSys 2020, arXiv:1903.03129): on 44 CPU cores more than 10 times as fast as TensorFlow's"
    " full softmax on the same, more than 3.5 times as fast as on a Tesla V100 (1 hour against 3.5), at any accuracy.",
    "MONGOOSE (Chen et al., ICLR 2021): against earlier training by hashing up to 8 % better in accuracy, 6.5 times as"
    " fast, a sixth of the memory.",
)
"""What the papers' abstracts say of hashed output layers: other machines, data and networks."""


def show_race(results: dict[str, Any], console: Console) -> None:
    """Prints a table of medians over seeds, with their ranges; `results` is what `measure_race` returned."""
    race = results["wide_race"]
    exact, seconds = race["curves"][_BASE], race["seconds"]
    targets = [hit_after(curve, seconds) for curve in exact]
    table = Table("", "batch", "rate", "steps", "hit@10 (%)", "/ exact", "s to exact's", "exact / it")
    table.box, table.title = box.SIMPLE_HEAD, f"{race['title']}: {seconds:g} s each"
    for name, curves in race["curves"].items():
        setting = race["settings"][name]
        hits = [hit_after(curve, seconds) for curve in curves]
        times = [seconds_to(curve, target) for curve, target in zip(curves, targets, strict=True)]
        own = [seconds_to(curve, target) for curve, target in zip(exact, targets, strict=True)]
        table.add_row(
            name,
            str(setting["batch_size"]),
            f"{setting['lr']:g}",
            str(round(statistics.median(curve[-1]["steps"] for curve in curves))),
            _spread([100 * hit for hit in hits], ".1f"),
            _spread(list(map(_ratio, hits, targets)), ".2f"),
            _spread(times, ".3g"),
            _spread(list(map(_ratio, own, times)), ".3g"),
        )
    console.print(table)
    console.print(race["notes"])
    console.print("Published:", *_PUBLISHED, sep="\n")


def hit_after(curve: Sequence[dict[str, float]], seconds: float) -> float:
    """hit@10 after so many training seconds; between two evaluations as `seconds_to` takes it, after the last its."""
    points = np.array([(np.log(point["seconds"]), point["hit@10"]) for point in curve])
    return float(np.interp(np.log(seconds), *points.T))


def seconds_to(curve: Sequence[dict[str, float]], target: float) -> float | None:
    """Training seconds until hit@10 is first as high as `target`; None if it never is."""
    return first_reached(target, [point["seconds"] for point in curve], [point["hit@10"] for point in curve])


def _ratio(value: float | None, base: float | None) -> float | None:
    return None if value is None or not base else value / base


def _spread(values: Sequence[float | None], form: str) -> str:
    """The median and, of several seeds, the range; where some have no value, how many have."""
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return f"{len(known)} of {len(values)}" if known else "never"
    median = f"{statistics.median(known):{form}}"
    return median if len(known) == 1 else f"{median} ({min(known):{form}} to {max(known):{form}})"
