"""A mean with its 95 % interval."""

import statistics
from collections.abc import Sequence


def half_interval(values: Sequence[float]) -> float | None:
    """Half the 95 % interval of the mean (Student), or None for a single value."""
    n = len(values)
    if n < 2:
        return None
    from scipy import stats  # takes half a second, which a program of one seed need not spend

    return float(stats.t.ppf(0.975, n - 1)) * statistics.stdev(values) / n**0.5


def paired_p_value(pairs: Sequence[tuple[float, float]]) -> float:
    """Of a t-test of the pairs, two-sided."""
    from scipy import stats

    return float(stats.ttest_rel(*zip(*pairs, strict=True)).pvalue)


def interval(values: Sequence[float]) -> str:
    """`values` as "mean ± half interval"; empty where there are none."""
    if not values:
        return ""
    half = half_interval(values)
    return f"{statistics.mean(values):.1f}" + (f" ± {half:.1f}" if half is not None else "")
