"""What a run's results come to: a summary of each setting, and summary.md."""

import dataclasses
import statistics
from collections.abc import Mapping, Sequence

from experiments.process.markdown import table
from experiments.runs.statistics import half_interval, paired_difference
from experiments.seeds.segments import Row


@dataclasses.dataclass(frozen=True)
class SettingSummary:
    """A setting's final epoch over its seeds; accuracies in per cent, times and FLOPs relative to the first setting.

    The difference is from the first setting, seed by seed, with half its 95 % interval and the p-value of a t-test of
    the pairs; empty for that setting itself and where a seed is alone.
    """

    method: str
    seeds: int
    accuracy: str
    interval: str
    difference: str
    p_value: str
    accuracy_uncalibrated: str
    accuracy_hashed: str  # empty for a method that hashes nothing
    train_seconds: float
    step_ratio: float
    flops_ratio: float


def summarise(rows: Sequence[Row], flops: dict[str, float]) -> list[SettingSummary]:
    """One summary for each setting of `rows`, from the last epoch of each seed."""
    final: dict[str, dict[int, Row]] = {}
    for row in rows:
        final.setdefault(row.method, {})[row.seed] = row
    # The first epoch touches fresh memory: leave it out of step times where there are others.
    steps = {m: [r.step_seconds for r in rows if r.method == m] for m in final}
    step = {m: statistics.median(times[1:] or times) for m, times in steps.items()}
    base = next(iter(final), "")  # not used where there are no rows
    return [
        SettingSummary(
            method,
            len(last),
            mean_and_deviation([100 * row.test_accuracy for row in last.values()]),
            _limits([100 * row.test_accuracy for row in last.values()]),
            *(("", "") if method == base else _paired(last, final[base])),
            mean_and_deviation([100 * row.test_accuracy_uncalibrated for row in last.values()]),
            mean_and_deviation([100 * a for row in last.values() if (a := row.test_accuracy_hashed) is not None]),
            statistics.mean(row.train_seconds for row in last.values()),
            step[method] / step[base],
            flops[method] / flops[base],
        )
        for method, last in final.items()
    ]


def mean_and_deviation(values: Sequence[float]) -> str:
    """`values` as "mean ± standard deviation"; the mean alone of a single value, and nothing of none."""
    if not values:
        return ""
    spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.2f}{spread}"


def _limits(values: Sequence[float]) -> str:
    """The 95 % interval of the mean (Student); empty for a single value."""
    half, mean = half_interval(values), statistics.mean(values)
    return "" if half is None else f"{mean - half:.2f} to {mean + half:.2f}"


def _paired(own: Mapping[int, Row], base: Mapping[int, Row]) -> tuple[str, str]:
    """The mean difference with half its interval, and the p-value, over the seeds of both."""
    both = [seed for seed in own if seed in base]
    accuracies = ([100 * rows[seed].test_accuracy for seed in both] for rows in (own, base))
    found = paired_difference(*accuracies)
    if found is None:
        return "", ""
    p_value = "" if found.p_value is None else f"{found.p_value:.2g}"
    return f"{found.mean:+.2f} ± {found.half_interval:.2f}", p_value


def markdown(
    heading: Sequence[str], rows: Sequence[Row], summaries: Sequence[SettingSummary], sections: Sequence[str]
) -> str:
    """summary.md: `heading`, a line of the table for each summary, the diagnostics of hashed layers, `sections`."""
    base = summaries[0].method if summaries else ""
    columns = {
        "method": [s.method for s in summaries],
        "seeds": [str(s.seeds) for s in summaries],
        "accuracy": [s.accuracy for s in summaries],
        "95 % interval": [s.interval for s in summaries],
        f"minus {base}, paired": [s.difference for s in summaries],
        "p": [s.p_value for s in summaries],
        "with training's BatchNorm statistics": [s.accuracy_uncalibrated for s in summaries],
        "through the hash": [s.accuracy_hashed for s in summaries],
        "training s": [f"{s.train_seconds:.1f}" for s in summaries],
        "step time": [f"{s.step_ratio:.2f}" for s in summaries],
        "FLOPs": [f"{s.flops_ratio:.2f}" for s in summaries],
    }
    if all(s.accuracy_uncalibrated == s.accuracy for s in summaries):
        del columns["with training's BatchNorm statistics"]
    columns = {name: cells for name, cells in columns.items() if any(cells)}
    lines = table(list(columns), zip(*columns.values(), strict=True))
    return "\n".join([*heading, "", *lines, "", *_diagnostics_lines(rows), *sections, ""])


def _diagnostics_lines(rows: Sequence[Row]) -> list[str]:
    """The hashed layers' diagnostics in the first and the last epoch, mean over seeds."""
    hashed = [row for row in rows if row.diagnostics]
    if not hashed:
        return []
    names = list(next(iter(hashed[0].diagnostics.values())))
    cells = []
    for method, layer in dict.fromkeys((row.method, layer) for row in hashed for layer in row.diagnostics):
        mine = [row for row in hashed if row.method == method]
        for epoch in sorted({min(row.epoch for row in mine), max(row.epoch for row in mine)}):
            values = [row.diagnostics[layer] for row in mine if row.epoch == epoch]
            means = (f"{statistics.mean(v[name] for v in values):.4g}" for name in names)
            cells.append((method, layer, str(epoch), *means))
    return [
        "## Hashed layers",
        "",
        "Mean over an epoch's steps and over seeds; `jaxapprox.diagnostics.Diagnostics` says what each is.",
        "",
        *table(("method", "layer", "epoch", *(name.replace("_", " ") for name in names)), cells),
        "",
    ]
