"""The time of a training step as a function of the batch size."""

from typing import NamedTuple

import numpy as np

from jaxapprox._src.efficiency.jackknife import error


class StepTime(NamedTuple):
    """A step of B examples takes `fixed + per_example * B` seconds.

    >>> from jaxapprox.efficiency import StepTime
    >>> time = StepTime.fit((1, 10, 100), [[0.003, 0.012, 0.102], [0.003, 0.012, 0.102]])
    >>> print(time)
    2 ms + 1 ms for each example
    >>> round(float(time(50)), 4)
    0.052

    Attributes:
        fixed: seconds, not negative.
        per_example: seconds, not negative.
        left_out: `(rounds, 2)`, both fitted without one round each; empty if the time is known.
    """

    fixed: float
    per_example: float
    left_out: tuple[tuple[float, float], ...] = ()

    @classmethod
    def fit(cls, sizes, seconds) -> "StepTime":
        """Fits the relative errors of all rounds, by least squares.

        Args:
            sizes: `(sizes,)` batch sizes, at least two different ones.
            seconds: `(rounds, sizes)` seconds of a step, positive.

        Raises:
            ValueError: if the shapes do not fit, sizes are all the same, or a number is not positive.
        """
        sizes, seconds = np.asarray(sizes, np.float64), np.asarray(seconds, np.float64)
        if sizes.ndim != 1 or seconds.ndim != 2 or seconds.shape[1] != len(sizes) or not len(seconds):
            raise ValueError(f"seconds must be (rounds, {sizes.size}), a column for each size, got {seconds.shape}")
        if len(set(sizes.tolist())) < 2 or not np.all(sizes > 0):
            raise ValueError(f"sizes must be two or more positive batch sizes, got {sizes.tolist()}")
        if not np.all((seconds > 0) & np.isfinite(seconds)):
            raise ValueError(f"seconds must be positive, got {seconds[~((seconds > 0) & np.isfinite(seconds))][0]}")
        rounds = range(len(seconds)) if len(seconds) > 1 else ()
        left_out = tuple(_fitted(sizes, np.delete(seconds, i, 0)) for i in rounds)
        return cls(*_fitted(sizes, seconds), left_out)

    @property
    def fixed_error(self) -> float:
        """The standard error of `fixed`, by the jackknife over rounds."""
        return error(np.array([fixed for fixed, _ in self.left_out]))

    @property
    def per_example_error(self) -> float:
        """The standard error of `per_example`."""
        return error(np.array([per_example for _, per_example in self.left_out]))

    def __call__(self, batch_size):
        """Seconds of a step of that size, or of several."""
        return self.fixed + self.per_example * np.asarray(batch_size, np.float64)

    def __str__(self) -> str:
        return f"{1e3 * self.fixed:.3g} ms + {1e3 * self.per_example:.3g} ms for each example"


def _fitted(sizes: np.ndarray, seconds: np.ndarray) -> tuple[float, float]:
    """Both coefficients, neither negative, such that the squares of (fit - t) / t are least."""
    one, size = (1 / seconds).ravel(), (sizes / seconds).ravel()
    (fixed, per_example), *_ = np.linalg.lstsq(np.stack([one, size], 1), np.ones_like(one))
    if fixed < 0:
        return 0.0, float(size.sum() / (size @ size))
    if per_example < 0:
        return float(one.sum() / (one @ one)), 0.0
    return float(fixed), float(per_example)
