"""Errors of estimates by the jackknife, and the intervals that they give."""

import math
from typing import NamedTuple

import numpy as np

_Z = 1.959964  # of the normal distribution, for 95 %


class Estimate(NamedTuple):
    """A number that was estimated.

    Attributes:
        value: the estimate; NaN where there is none.
        error: its standard error.
    """

    value: float
    error: float

    def __str__(self) -> str:
        return "-" if math.isnan(self.value) else f"{self.value:.3g} ± {self.error:.1g}"


class Interval(NamedTuple):
    """An estimate with a 95 % interval.

    Attributes:
        value: the estimate.
        low, high: the interval's ends.
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f})"


def totals(groups: np.ndarray) -> np.ndarray:
    """Sums over groups `(R,)`, or over all pairs of groups `(R, R)`: of all, then each time without one, `(R + 1,)`."""
    if groups.ndim == 1:
        return np.concatenate([[groups.sum()], groups.sum() - groups])
    without = groups.sum() - groups.sum(0) - groups.sum(1) + np.diagonal(groups)
    return np.concatenate([[groups.sum()], without])


def estimate(replicates: np.ndarray) -> Estimate:
    """What `(R + 1,)` statistics say, the first of all groups, each other one without one of them."""
    return Estimate(float(replicates[0]), error(replicates[1:]))


def error(left_out: np.ndarray) -> float:
    """The standard error of a statistic, of which `(R,)` values each leave one of R groups out."""
    rest = len(left_out) - 1
    return float(np.sqrt(rest * np.var(left_out))) if rest > 0 else 0.0


def quantile(groups: int) -> float:
    """Standard errors in half of a 95 % interval: Student's t for so many groups, by its expansion at the normal's."""
    degrees = groups - 1
    first = (_Z**3 + _Z) / (4 * degrees)
    return _Z + first + (5 * _Z**5 + 16 * _Z**3 + 3 * _Z) / (96 * degrees**2)
