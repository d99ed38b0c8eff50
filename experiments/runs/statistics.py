"""Means over seeds, and paired differences, with their 95 % intervals (Student)."""

import dataclasses
import math
import statistics
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True)
class PairedDifference:
    """A mean difference of pairs.

    Attributes:
        mean: of the differences.
        half_interval: half the mean's 95 % interval.
        p_value: of the two-sided t-test that the mean is 0; None where all differences are the same but for rounding.
    """

    mean: float
    half_interval: float
    p_value: float | None


def half_interval(values: Sequence[float]) -> float | None:
    """Half the 95 % interval of the mean, or None for a single value."""
    if len(values) < 2:
        return None
    from scipy import stats  # takes half a second, which a program of one seed need not spend

    return float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))


def paired_difference(own: Sequence[float], reference: Sequence[float]) -> PairedDifference | None:
    """`own - reference`, pair by pair; None for a single pair."""
    differences = [a - b for a, b in zip(own, reference, strict=True)]
    if len(differences) < 2:
        return None
    mean = statistics.mean(differences)
    if math.isclose(min(differences), max(differences), rel_tol=1e-9, abs_tol=1e-12):  # a t-test has nothing to go by
        return PairedDifference(mean, 0.0, None)
    from scipy import stats

    test = stats.ttest_rel(own, reference)
    low, high = test.confidence_interval()
    return PairedDifference(mean, float(high - low) / 2, float(test.pvalue))


def interval(values: Sequence[float]) -> str:
    """`values` as "mean ± half interval"; empty where there are none."""
    if not values:
        return ""
    half = half_interval(values)
    return f"{statistics.mean(values):.1f}" + (f" ± {half:.1f}" if half is not None else "")


def first_reached(aim: float, seconds: Sequence[float], values: Sequence[float]) -> float | None:
    """When values that were found at these seconds first are as high as `aim`; None if they never are.

    Between two of them they are taken to go up with the logarithm of the seconds; before the first one nothing is
    known, and its seconds are an upper bound.
    """
    for i, value in enumerate(values):
        if value >= aim:
            if i == 0 or value == aim:
                return seconds[i]
            share = (aim - values[i - 1]) / (value - values[i - 1])
            return seconds[i - 1] * (seconds[i] / seconds[i - 1]) ** share
    return None
