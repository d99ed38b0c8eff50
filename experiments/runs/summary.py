"""What a run's results come to: a summary of each setting, and summary.md."""

import dataclasses
import statistics
from collections.abc import Mapping, Sequence

from experiments.process.markdown import table
from experiments.runs.statistics import half_interval, paired_difference
from experiments.training.rows import Measure, Row


@dataclasses.dataclass(frozen=True)
class SettingSummary:
    """A setting's final epoch over its seeds; step times and FLOPs relative to the first setting.

    Attributes:
        method: the setting's name.
        seeds: how many.
        measures: of the rows.
        values: of each measure, mean and standard deviation; empty for what the method has none of.
        interval: of the first measure.
        difference: of the first measure from the first setting's, seed by seed, with half its 95 % interval; empty for
            that setting itself and where a seed is alone.
        p_value: of a t-test of these pairs.
        train_seconds: mean.
        step_ratio: of step times.
        flops_ratio: None where a step's FLOPs are not known.
    """

    method: str
    seeds: int
    measures: tuple[Measure, ...]
    values: tuple[str, ...]
    interval: str
    difference: str
    p_value: str
    train_seconds: float
    step_ratio: float
    flops_ratio: float | None


def summarise(rows: Sequence[Row], flops: Mapping[str, float | None]) -> list[SettingSummary]:
    """One summary for each setting of `rows`, from the last epoch of each seed."""
    final: dict[str, dict[int, Row]] = {}
    for row in rows:
        final.setdefault(row.method, {})[row.seed] = row
    # The first epoch touches fresh memory: leave it out of step times where there are others.
    steps = {m: [r.step_seconds for r in rows if r.method == m] for m in final}
    step = {m: statistics.median(times[1:] or times) for m, times in steps.items()}
    base = next(iter(final), "")  # not used where there are no rows
    measures = rows[0].measures if rows else ()
    return [
        SettingSummary(
            method,
            len(last),
            measures,
            tuple(mean_and_deviation(_values(measure, last)) for measure in measures),
            _limits(_values(measures[0], last)),
            *(("", "") if method == base else _paired(measures[0], last, final[base])),
            statistics.mean(row.train_seconds for row in last.values()),
            step[method] / step[base],
            _quotient(flops[method], flops[base]),
        )
        for method, last in final.items()
    ]


def _values(measure: Measure, rows: Mapping[int, Row]) -> list[float]:
    """Those of the rows that have one."""
    return [value for row in rows.values() if (value := measure.of(row)) is not None]


def _quotient(own: float | None, base: float | None) -> float | None:
    return None if own is None or base is None else own / base


def mean_and_deviation(values: Sequence[float]) -> str:
    """`values` as "mean ± standard deviation"; the mean alone of a single value, and nothing of none."""
    if not values:
        return ""
    spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.2f}{spread}"


def ratio(value: float) -> str:
    """Two decimals, or where that is too coarse two digits."""
    return f"{value:.2f}" if value >= 0.1 else f"{value:.2g}"


def _limits(values: Sequence[float]) -> str:
    """The 95 % interval of the mean (Student); empty for a single value."""
    half, mean = half_interval(values), statistics.mean(values)
    return "" if half is None else f"{mean - half:.2f} to {mean + half:.2f}"


def _paired(measure: Measure, own: Mapping[int, Row], base: Mapping[int, Row]) -> tuple[str, str]:
    """The mean difference with half its interval, and the p-value, over the seeds of both."""
    both = [seed for seed in own if seed in base]
    found = paired_difference(*(_values(measure, {seed: rows[seed] for seed in both}) for rows in (own, base)))
    if found is None:
        return "", ""
    p_value = "" if found.p_value is None else f"{found.p_value:.2g}"
    return f"{found.mean:+.2f} ± {found.half_interval:.2f}", p_value


def markdown(
    heading: Sequence[str], rows: Sequence[Row], summaries: Sequence[SettingSummary], sections: Sequence[str]
) -> str:
    """summary.md: `heading`, a line of the table for each summary, the diagnostics of layers, `sections`."""
    base = summaries[0].method if summaries else ""
    measures = summaries[0].measures if summaries else ()
    by_measure = [(measure.title, [s.values[i] for s in summaries]) for i, measure in enumerate(measures)]
    columns = {
        "method": [s.method for s in summaries],
        "seeds": [str(s.seeds) for s in summaries],
        **dict(by_measure[:1]),
        "95 % interval": [s.interval for s in summaries],
        f"minus {base}, paired": [s.difference for s in summaries],
        "p": [s.p_value for s in summaries],
        **dict(by_measure[1:]),
        "training s": [f"{s.train_seconds:.1f}" for s in summaries],
        "step time": [ratio(s.step_ratio) for s in summaries],
        "FLOPs": ["" if s.flops_ratio is None else ratio(s.flops_ratio) for s in summaries],
    }
    repeating = {title for title, cells in by_measure[1:] if cells == by_measure[0][1]}
    columns = {name: cells for name, cells in columns.items() if any(cells) and name not in repeating}
    lines = table(list(columns), zip(*columns.values(), strict=True))
    return "\n".join([*heading, "", *lines, "", *_diagnostics_lines(rows), *sections, ""])


def _diagnostics_lines(rows: Sequence[Row]) -> list[str]:
    """Diagnostics of layers in the first and the last epoch, mean over seeds."""
    diagnosed = [row for row in rows if row.diagnostics]
    if not diagnosed:
        return []
    names = list(next(iter(diagnosed[0].diagnostics.values())))
    cells = []
    for method, layer in dict.fromkeys((row.method, layer) for row in diagnosed for layer in row.diagnostics):
        mine = [row for row in diagnosed if row.method == method]
        for epoch in sorted({min(row.epoch for row in mine), max(row.epoch for row in mine)}):
            values = [row.diagnostics[layer] for row in mine if row.epoch == epoch]
            means = (f"{statistics.mean(v[name] for v in values):.4g}" for name in names)
            cells.append((method, layer, str(epoch), *means))
    return [
        "## Layers",
        "",
        f"Mean over an epoch's steps and over seeds; `{diagnosed[0].diagnosed}` says what each is.",
        "",
        *table(("method", "layer", "epoch", *(name.replace("_", " ") for name in names)), cells),
        "",
    ]
