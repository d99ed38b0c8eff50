"""A mean with its 95 % interval."""

import statistics
from collections.abc import Sequence

from scipy import stats


def half_interval(values: Sequence[float]) -> float | None:
    """Half the 95 % interval of the mean (Student), or None for a single value."""
    n = len(values)
    return float(stats.t.ppf(0.975, n - 1)) * statistics.stdev(values) / n**0.5 if n > 1 else None


def interval(values: Sequence[float]) -> str:
    """`values` as "mean ± half interval"; empty where there are none."""
    if not values:
        return ""
    half = half_interval(values)
    return f"{statistics.mean(values):.1f}" + (f" ± {half:.1f}" if half is not None else "")
